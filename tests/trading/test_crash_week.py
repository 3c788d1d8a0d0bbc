"""The week of the crash of October 2025, real minutes, with late, missing and revised bars and people who meddle."""

import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crypto_tracker.app.trading import AT_ONCE, FullSpeed, Wish, trading_session
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.choice import choose
from crypto_tracker.store.control import Command, ControlStore
from crypto_tracker.store.feed import UNKNOWN
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.trading_journal import TradingJournal
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.trading.seen import decode_revisions
from crypto_tracker.trading.setting import configuration_row
from tests.app.conftest import run_command
from tests.trading.worlds import Quiet, configuration

pytestmark = pytest.mark.market_data

NOW = datetime(2025, 11, 1, tzinfo=UTC)
HISTORY_MS = to_ms(datetime(2025, 8, 20, tzinfo=UTC))
START_MS = to_ms(datetime(2025, 10, 8, tzinfo=UTC))
END_MS = to_ms(datetime(2025, 10, 15, tzinfo=UTC))
SYMBOLS = (Symbol("BTC", "USDT"), Symbol("ETH", "USDT"), Symbol("SUI", "USDT"))
PROVIDER = "binance"
ACCOUNT = "crash-week"
LATER = configuration(
    ["strategies.DCA.size_quote=150", "limits.min_confidence=0.40", "costs.taker_fee=0.002"]
)


class Minutes:
    """The real minutes of one symbol, to be written in any order."""

    def __init__(self, folder: Path, symbol: Symbol) -> None:
        table = pl.read_parquet(folder / "1m" / f"{symbol.base}{symbol.quote}.parquet")
        times = table["ts"].dt.epoch("ms")
        inside = ((times >= HISTORY_MS) & (times < END_MS)).to_numpy()
        self.time_ms = times.to_numpy()[inside].astype(np.int64)
        self.values = {
            name: table[name].to_numpy()[inside].astype(np.float64)
            for name in ("open", "high", "low", "close", "volume")
        }

    def batch(self, rows: np.ndarray, *, factor: float = 1.0) -> BarBatch:
        values = {
            name: array[rows] * (1.0 if name == "volume" else factor) for name, array in self.values.items()
        }
        return BarBatch(open_time_ms=self.time_ms[rows], **values)


class Collector:
    """Writes bars into the store as if it had them late: what is due after each minute that was stepped."""

    def __init__(self, home: Path, minutes: dict[Symbol, Minutes]) -> None:
        self._home = home
        self._minutes = minutes
        self._due: dict[int, list[tuple[Symbol, int, float]]] = defaultdict(list)
        self.late = self.missing = self.revised = 0

    def begin(self) -> None:
        """History, and the week without what will be late or never comes."""
        rng = np.random.default_rng(20251010)
        with self._store() as store:
            for symbol, minutes in self._minutes.items():
                week = np.flatnonzero(minutes.time_ms >= START_MS)
                held_back = set()
                for row in rng.choice(week, size=150, replace=False).tolist():
                    delay = int(rng.choice([1, 2, 7, 45, 300, 2_000]))
                    held_back.add(row)
                    self._later(minutes, symbol, row, delay)
                gap = int(rng.choice(week[:-400]))
                broken = (
                    set(range(gap, gap + 25)) - held_back
                )  # a stream that was broken, fetched hours later
                for row in sorted(broken):
                    held_back.add(row)
                    self._later(minutes, symbol, row, 180)
                never = set(rng.choice(week, size=20, replace=False).tolist()) - held_back
                self.missing += len(never)
                rows = np.array(
                    [row for row in range(len(minutes.time_ms)) if row not in held_back and row not in never]
                )
                store.write(PROVIDER, symbol, Timeframe.M1, minutes.batch(rows))
                for row in rng.choice(week[:-60], size=15, replace=False).tolist():
                    if row not in held_back and row not in never:
                        self.revised += 1
                        self._due[int(minutes.time_ms[row]) + 30 * MINUTE_MS].append((symbol, row, 1.001))

    def after(self, minute_ms: int) -> None:
        """What comes in once the minute was stepped."""
        due = self._due.pop(minute_ms, [])
        if due:
            with self._store() as store:
                for symbol, row, factor in due:
                    batch = self._minutes[symbol].batch(np.array([row]), factor=factor)
                    store.write(PROVIDER, symbol, Timeframe.M1, batch)

    def _later(self, minutes: Minutes, symbol: Symbol, row: int, delay: int) -> None:
        arrives_ms = int(minutes.time_ms[row]) + delay * MINUTE_MS
        if arrives_ms < END_MS:
            self.late += 1
        else:
            self.missing += 1
        self._due[arrives_ms].append((symbol, row, 1.0))

    def _store(self):
        data = configuration([]).market_data
        return BarStore.open(self._home, market_data=data, clock=ManualClock(NOW))


def people(folder: Path) -> None:
    """Pauses, forced regimes, closes, blocks and another configuration, at exact minutes of the week."""
    folder.mkdir(parents=True)
    wishes = [
        (10 * HOUR_MS, "block", {"symbol": "SUI/USDT"}),
        (20 * HOUR_MS, "unblock", {"symbol": "SUI/USDT"}),
        (30 * HOUR_MS, "configure", {"version": configuration_row(LATER).version}),
        (40 * HOUR_MS, "pause", {}),
        (44 * HOUR_MS, "resume", {}),
        (69 * HOUR_MS, "regime_force", {"regime": "normal"}),
        (70 * HOUR_MS, "close_worst", {"count": 1}),
        (72 * HOUR_MS, "regime_release", {}),
        (90 * HOUR_MS, "regime_force", {"regime": "caution"}),
        (120 * HOUR_MS, "regime_release", {}),
        (130 * HOUR_MS, "strategy_off", {"strategy": "SWING"}),
    ]
    with ControlStore.open(folder) as control:
        control.offer_configuration(configuration_row(LATER), source="test", actor="test", created_at_ms=0)
        for offset_ms, kind, arguments in wishes:
            control.add(
                Command.new(
                    kind, arguments, actor="test", created_at_ms=0, not_before_ms=START_MS + offset_ms
                )
            )


@pytest.fixture(scope="module")
def week(market_data: Path, tmp_path_factory: pytest.TempPathFactory):
    """The week as it was traded, with restarts in the middle; the home and the collector that fed it."""
    home = tmp_path_factory.mktemp("week") / "home"
    collector = Collector(home, {symbol: Minutes(market_data / "bars", symbol) for symbol in SYMBOLS})
    collector.begin()
    folder = home / "accounts" / ACCOUNT
    people(folder)
    tree = configuration([])

    def wish() -> Wish:
        with BarReader.open(home) as reader:
            choice = choose(
                reader.series(),
                tree,
                pairs=(),
                timeframe="1m",
                provider=None,
                start_ms=START_MS,
                end_ms=END_MS,
            )
        return Wish(kind="replay", choice=choice, start_ms=START_MS, end_ms=END_MS)

    restarts = {START_MS + 777 * MINUTE_MS, START_MS + 3 * DAY_MS, START_MS + 4 * DAY_MS + 12_345 * 60_000}

    def after(record):
        collector.after(record.time_ms)
        return record.time_ms in restarts

    while True:
        watcher = Quiet(after)
        with trading_session(
            home, folder, builtin(), tree, wish, now=lambda: NOW, wait_ms=0, durable=False
        ) as session:
            watcher.session = session
            session.run(FullSpeed(), AT_ONCE, watcher, now=lambda: NOW)
            if session.trader.state.cursor_ms >= END_MS:
                return home, collector


def test_the_week_was_not_a_quiet_one(week):
    home, collector = week
    assert collector.late > 350
    assert collector.missing >= 60
    assert collector.revised > 30
    with TradingJournal.open(home / "accounts" / ACCOUNT) as journal:
        minutes = journal.minutes(START_MS, END_MS)
        assert len(minutes) == 7 * 1_440
        unknown = sum(int((decode_revisions(seen) == UNKNOWN).sum()) for seen in minutes.seen)
        assert unknown > 400
        assert len(journal.trades(START_MS, END_MS)) >= 5
        assert len(journal.healed(START_MS, END_MS)) >= 1
        assert len(set(minutes.version)) == 2
        statuses = [result.status for _, result in journal.command_results(START_MS, END_MS)]
        assert len(statuses) == 11


@pytest.fixture(scope="module")
def parity(week):
    """Exit code and document of `parity` over the whole week."""
    code, out, err = run_command(week[0], "parity", "--account", ACCOUNT, "--json")
    return code, json.loads(out), err


def test_what_was_seen_and_told_re_runs_to_zero_difference(parity):
    code, document, err = parity
    assert code == 0, err
    assert document["differences"] == 0
    assert document["compared"]["minutes"] == 7 * 1_440
    assert document["compared"]["trades"] >= 5


def test_what_late_data_cost_is_a_figure_beside_it(week, parity):
    complete = parity[1]["complete_history"]
    minutes = complete["minutes"]
    assert minutes["late"] == week[1].late
    assert 1 <= minutes["revised"] <= week[1].revised
    assert minutes["missing"] == week[1].missing
    assert complete["equity_quote"]["as_seen"] != complete["equity_quote"]["complete"]
