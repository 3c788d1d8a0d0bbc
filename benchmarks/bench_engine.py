"""How fast minutes are traded: live while another process brings bars, in replays, and how soon it is ready.

Four measurements on a synthetic market in a temporary folder (`--only NAME` takes one of them, `--long` takes
100 symbols over a whole month for the replay):

    live     100 symbols; another process commits a minute's bars, then the trader steps it, durably. Between
             minutes lies a pause, so that caches, disk and the database's version are as they are in life.
    medians  the worst case of the first setup of a day: the 30 days of minutes of all 100 symbols
    start    the whole process of `crypto-tracker trade` on an account of a year with 100,000 trades
    replay   minutes a second at full speed, and the memory after each replayed day

Times are wall times. Each is held against a limit that is measured in the same run.
"""

import argparse
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter, sleep
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import numpy as np

from crypto_tracker.app.trading import FullSpeed, Session, Wish, trading_session
from crypto_tracker.config.tree import Configuration, load_configuration
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.resample import resample
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms, month_start_ms, to_ms
from crypto_tracker.market.providers.synthetic import SyntheticMarket
from crypto_tracker.market.providers.synthetic_settings import SyntheticCoin, SyntheticSettings, default_coins
from crypto_tracker.portfolio.regime import MarketCarry, Regime
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.choice import Choice
from crypto_tracker.store.feed import MinuteFeed
from crypto_tracker.store.sources import side_by_side
from crypto_tracker.store.trading import TradingStore
from crypto_tracker.store.trading_records import REFERENCE, TRADED, StepRecord
from crypto_tracker.strategies.needs import scan_timeframe
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.strategies.scan import scan
from crypto_tracker.trading.medians import RangeMedians
from crypto_tracker.trading.pace import AT_ONCE, Pace
from crypto_tracker.trading.recovery import ledger_audit, recover
from crypto_tracker.trading.seen import SeenRows, bars_digest, encode_revisions, encode_rows
from crypto_tracker.trading.setting import configuration_row
from crypto_tracker.trading.state import TraderState
from crypto_tracker.trading.window import Needs

PROVIDER = SyntheticMarket.name
GENESIS = datetime(2024, 5, 1, tzinfo=UTC)
MINUTES_FROM = datetime(2025, 6, 1, tzinfo=UTC)  # of all coins; before them only coarser bars are fetched
EARLY, LATE = datetime(2025, 7, 2, 23, 43, tzinfo=UTC), datetime(2025, 7, 30, 23, 43, tzinfo=UTC)
MINUTES_AGAIN = datetime(2025, 7, 27, tzinfo=UTC)
MEDIANS = 8  # symbols whose 30 days of minutes are there
REPLAY_START, NEXT_MONTH = datetime(2025, 7, 1, tzinfo=UTC), datetime(2025, 8, 1, tzinfo=UTC)
PAUSE_SECONDS = 0.5
PIECE_DAYS = 31
YEAR_START, YEAR_END = datetime(2025, 9, 1, 22, tzinfo=UTC), datetime(2026, 8, 30, 13, 37, tzinfo=UTC)
SECONDS_READY = 3.0
GOAL_MS = 100.0
P = ParamSpec("P")
R = TypeVar("R")


# --- the market ------------------------------------------------------------------------------------------


def market(n_symbols: int) -> SyntheticMarket:
    """The synthetic market, with as many coins as asked for: the default ones, again under other names."""
    named = default_coins()
    coins: list[SyntheticCoin] = []
    for number in range(n_symbols):
        coin = named[number % len(named)]
        again = number // len(named)
        symbol = coin.symbol if not again else Symbol(f"{coin.symbol.base}{again}", coin.symbol.quote)
        coins.append(coin.model_copy(update={"symbol": symbol}))
    return SyntheticMarket(
        SyntheticSettings(seed=7, genesis_ms=to_ms(GENESIS), coins=tuple(coins), outages_per_day=0.0)
    )


def configuration(made: SyntheticMarket) -> Configuration:
    """The defaults, with the grids of the market's prices."""
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    ticks = [f'instruments."{coin.symbol}".tick={coin.tick:.10f}' for coin in made.settings.coins]
    return load_configuration(models, file=None, environment={}, assignments=ticks).tree


@contextmanager
def writing(home: Path, tree: Configuration, now: datetime) -> Iterator[BarStore]:
    """The store of bars as it writes at `now`."""
    with BarStore.open(home, market_data=tree.market_data, clock=ManualClock(now)) as store:
        yield store


def bring_before(home: Path, made: SyntheticMarket, tree: Configuration) -> None:
    """The warm-up before the minutes as fetched bars of 4h, and of 1d for the reference."""
    before = to_ms(GENESIS), to_ms(MINUTES_FROM)
    with writing(home, tree, MINUTES_FROM) as store:
        days = resample(made.panel(made.symbols[:1], *before), Timeframe.D1)
        store.write(
            PROVIDER, made.symbols[0], Timeframe.D1, BarBatch.of_column(days, made.symbols[0]), [before]
        )
        span = to_ms(MINUTES_FROM - timedelta(days=25)), to_ms(MINUTES_FROM)
        for symbol in made.symbols:
            bars = resample(made.panel([symbol], *span), Timeframe.H4)
            store.write(PROVIDER, symbol, Timeframe.H4, BarBatch.of_column(bars, symbol), [span])


def bring_coarse(
    home: Path, made: SyntheticMarket, tree: Configuration, start: datetime, end: datetime
) -> None:
    """Fetched bars of 5m, 15m and 4h over [start, end), in files."""
    span = to_ms(start), to_ms(end)
    with writing(home, tree, NEXT_MONTH) as store:
        for symbol in made.symbols:
            minutes = made.panel([symbol], *span)
            for timeframe in (Timeframe.M5, Timeframe.M15, Timeframe.H4):
                bars = BarBatch.of_column(resample(minutes, timeframe), symbol)
                store.write(PROVIDER, symbol, timeframe, bars, [span])


def bring_minutes(
    home: Path,
    made: SyntheticMarket,
    tree: Configuration,
    start: datetime,
    end: datetime,
    symbols: Sequence[Symbol] = (),
    *,
    now: datetime | None = None,
) -> None:
    """The minutes of [start, end), brought at `now` (at their end): finished months go into files."""
    with writing(home, tree, now or end) as store:
        for symbol, bars, covered in made.batches(
            symbols or made.symbols, to_ms(start), to_ms(end), days=PIECE_DAYS
        ):
            store.write(PROVIDER, symbol, Timeframe.M1, bars, covered)


def month_of(moment: datetime) -> datetime:
    """The start of its calendar month."""
    return from_ms(month_start_ms(to_ms(moment)))


@contextmanager
def account(
    home: Path, name: str, made: SyntheticMarket, start: datetime, end: datetime | None, *, durable: bool
) -> Iterator[Session]:
    """An account that trades all coins from `start` on; with an end it is a replay."""
    wish = Wish(
        kind="paper" if end is None else "replay",
        choice=Choice(
            symbols=made.symbols,
            reference_symbol=made.symbols[0],
            provider_of=dict.fromkeys(made.symbols, PROVIDER),
            base=Timeframe.M1,
            start_ms=to_ms(start),
            end_ms=to_ms(end or start),
            notes=(),
        ),
        start_ms=to_ms(start),
        end_ms=None if end is None else to_ms(end),
    )
    with trading_session(
        home,
        home / "accounts" / name,
        builtin(),
        configuration(made),
        lambda: wish,
        now=lambda: datetime.now(UTC),
        wait_ms=0,
        durable=durable,
    ) as session:
        yield session


# --- a collector in another process ----------------------------------------------------------------------


def collect(orders: Connection, home: Path, n_symbols: int, start_ms: int, end_ms: int) -> None:
    """Commit one minute of bars for each order, symbol by symbol as they come in; answers with the time."""
    made = market(n_symbols)
    tree = configuration(made)
    bars = made.panel(made.symbols, start_ms, end_ms)
    clock = ManualClock(from_ms(start_ms))
    with BarStore.open(home, market_data=tree.market_data, clock=clock) as store:
        orders.send(perf_counter())
        for row in range(len(bars)):
            orders.recv()
            minute = bars.rows(row, row + 1)
            close_ms = int(minute.close_time_ms[0])
            clock.advance(from_ms(close_ms + 1_000) - clock.now())
            for symbol in made.symbols:
                batch = BarBatch.of_column(minute, symbol)
                store.write(PROVIDER, symbol, Timeframe.M1, batch, [(close_ms - MINUTE_MS, close_ms)])
            orders.send(perf_counter())
        orders.recv()


@contextmanager
def collector(home: Path, made: SyntheticMarket, start_ms: int, end_ms: int) -> Iterator[Connection]:
    """Another process that is ready to bring the minutes of [start_ms, end_ms)."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=collect, args=(theirs, home, len(made.symbols), start_ms, end_ms))
    process.start()
    theirs.close()  # so that we notice where the other process ends early
    try:
        ours.recv()
        yield ours
        ours.send(None)
        process.join()
    finally:
        process.terminate()


# --- one minute live -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Watch:
    """Adds up how long named parts of one minute take."""

    seconds: dict[str, float] = field(default_factory=dict)

    def around(self, name: str, work: Callable[P, R]) -> Callable[P, R]:
        """`work`, with its time added to the part `name`."""

        def timed(*args: P.args, **values: P.kwargs) -> R:
            began = perf_counter()
            try:
                return work(*args, **values)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - began

        return timed


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute as it went: milliseconds of all and of each part, and what was written."""

    close_ms: int
    whole: float
    parts: Mapping[str, float]
    written: int

    @property
    def kind(self) -> str:
        """What scans its close brings."""
        if (self.close_ms - MINUTE_MS) % DAY_MS == 0:
            return "the day's first"
        if self.close_ms % Timeframe.M15.ms == 0:
            return "scans of 5m and 15m"
        return "scan of 5m" if self.close_ms % Timeframe.M5.ms == 0 else "no scan"


PARTS = ("read", "scan", "step", "record", "commit")
KINDS = ("no scan", "scan of 5m", "scans of 5m and 15m", "the day's first")


def bytes_of(record: StepRecord) -> int:
    """About how many bytes a step hands to the database."""
    blocks = [block.block for block in (*record.rows, *record.healed)] + [
        block for *_, block in record.blocks
    ]
    return (
        sum(map(len, blocks)) + len(record.state) + len(record.state_before or b"") + len(record.seen) + 150
    )


def traded_minutes(session: Session, orders: Connection, count: int) -> Iterator[Minute]:
    """Step `count` minutes, each as soon as the other process has committed its bars."""
    watch = Watch()
    trader, feed, store = session.trader, session.feed, session.store
    # The parts of a step are timed from outside: nothing in the engine knows of it.
    for owner, name, part in (
        (feed, "minute", "read"),
        (trader, "_scan", "scan"),
        (trader._stepper, "step", "step"),  # noqa: SLF001
        (trader, "step", "trader"),
        (store, "commit", "commit"),
    ):
        setattr(owner, name, watch.around(part, getattr(owner, name)))
    pace = Pace(feed, AT_ONCE)
    is_due = watch.around("read", pace.is_due)
    for _ in range(count):
        sleep(PAUSE_SECONDS)
        minute_ms = trader.state.cursor_ms
        orders.send(minute_ms)
        committed: float = orders.recv()
        watch.seconds.clear()
        if not is_due(minute_ms, minute_ms + 2 * MINUTE_MS):
            raise RuntimeError(f"the minute {from_ms(minute_ms)} is not due, though its bars are there")
        waited = watch.seconds["read"]
        record = trader.step()
        store.commit(record, recorded_at_ms=minute_ms)
        session.orders.answer(record)
        whole = perf_counter() - committed
        took = {name: watch.seconds.get(name, 0.0) for name in PARTS}
        took["record"] = watch.seconds["trader"] - (took["read"] - waited) - took["scan"] - took["step"]
        yield Minute(
            trader.state.cursor_ms,
            1e3 * whole,
            {name: 1e3 * seconds for name, seconds in took.items()},
            bytes_of(record),
        )


def bare_commits(folder: Path, sizes: Sequence[int]) -> list[float]:
    """Milliseconds of bare SQLite for a transaction of one row of so many bytes, flushed to the disk."""
    took = []
    with (
        tempfile.TemporaryDirectory(dir=folder) as own,
        closing(sqlite3.connect(Path(own) / "bare.db", isolation_level=None)) as bare,
    ):
        bare.execute("PRAGMA journal_mode=WAL")
        bare.execute("PRAGMA synchronous=FULL")
        bare.execute("CREATE TABLE steps (content BLOB)")
        for size in sizes:
            sleep(PAUSE_SECONDS / 10)
            content = os.urandom(size)
            began = perf_counter()
            bare.execute("BEGIN")
            bare.execute("INSERT INTO steps VALUES (?)", (content,))
            bare.execute("COMMIT")
            took.append(1e3 * (perf_counter() - began))
    return took


def whole_scans(session: Session) -> dict[str, tuple[float, int]]:
    """For each strategy the milliseconds of one scan over the month so far, and how many closes it has."""
    trader = session.trader
    active, found = trader.setting, {}
    for entry in active.entries:
        timeframe = scan_timeframe(entry.strategy, Timeframe.M1)
        close_ms = timeframe.floor(trader.state.cursor_ms)
        start_ms = month_start_ms(close_ms - timeframe.ms)
        view = trader._window.view(  # noqa: SLF001
            entry.strategy,
            timeframe,
            close_ms,
            active.instruments,
            active.configuration.protection.slow_regime,
        )
        began = perf_counter()
        for _ in scan(entry.strategy, view, entry.parameters, start_ms, close_ms):
            pass
        found[entry.strategy.name] = (1e3 * (perf_counter() - began), (close_ms - start_ms) // timeframe.ms)
    return found


def told(minutes: Sequence[Minute]) -> None:
    """The table of one sitting."""
    print(f"{'':22}{'n':>4}{'median':>9}{'p90':>8}{'p99':>8}{'max':>8}   median of: {', '.join(PARTS)}")
    for kind in ("all", *KINDS):
        chosen = [each for each in minutes if kind in {"all", each.kind}]
        if not chosen:
            continue
        whole = np.array([each.whole for each in chosen])
        middle, high, higher = np.percentile(whole, [50, 90, 99])
        parts = "  ".join(f"{np.median([each.parts[name] for each in chosen]):.1f}" for name in PARTS)
        print(f"  {kind:20}{len(chosen):4}{middle:9.1f}{high:8.1f}{higher:8.1f}{whole.max():8.1f}   {parts}")


def live(folder: Path, n_minutes: int) -> None:
    """The first days of a calendar month and its last ones, when most of it lies behind."""
    made = market(100)
    tree, home = configuration(made), folder / "live"
    began = perf_counter()
    bring_before(home, made, tree)
    bring_minutes(home, made, tree, MINUTES_FROM, EARLY)
    sitting(home, "early", made, EARLY, n_minutes, perf_counter() - began)
    began = perf_counter()
    # The month between comes as fetched coarser bars, but for the last days, and for the coins of MEDIANS.
    bring_coarse(home, made, tree, month_of(EARLY), MINUTES_AGAIN)
    bring_minutes(home, made, tree, EARLY + timedelta(minutes=n_minutes), LATE, made.symbols[:MEDIANS])
    bring_minutes(home, made, tree, MINUTES_AGAIN, LATE, made.symbols[MEDIANS:])
    sitting(home, "late", made, LATE, n_minutes, perf_counter() - began)
    medians(home, made)


def sitting(
    home: Path, name: str, made: SyntheticMarket, start: datetime, n_minutes: int, prepared: float
) -> None:
    """Open an account at `start`, trade some minutes, and print what they took."""
    end_ms = to_ms(start) + n_minutes * MINUTE_MS
    began = perf_counter()
    with (
        collector(home, made, to_ms(start), end_ms) as orders,
        account(home, name, made, start, None, durable=True) as session,
    ):
        opened = perf_counter() - began
        first, *minutes = traded_minutes(session, orders, n_minutes)
        print(
            f"\nlive, {len(made.symbols)} symbols, {name} in the month ({start:%Y-%m-%d %H:%M}), "
            f"{PAUSE_SECONDS:g} s and {len(made.symbols)} commits of bars between minutes\n"
            f"  (bars brought in {prepared:.0f} s, account opened in {opened:.1f} s; the first minute, which "
            f"loads compiled code, took {first.whole:.0f} ms and is left out)\n"
            "  ms from the last commit of bars to the commit of the step:"
        )
        told(minutes)
        whole, commit = (
            float(np.median(each))
            for each in ([each.whole for each in minutes], [each.parts["commit"] for each in minutes])
        )
        sizes = [each.written for each in minutes]
        bare = float(np.median(bare_commits(home, sizes)))
        print(
            f"  limit of the disk: bare SQLite commits the same {np.median(sizes):,.0f} bytes in "
            f"{bare:.2f} ms: the commit takes {commit / bare:.1f} x, the whole step {whole / bare:.1f} x\n"
            f"  goal: {GOAL_MS:g} ms median, {whole:.1f} is {whole / GOAL_MS:.2f} x"
        )
        for strategy, (batch, closes) in whole_scans(session).items():
            print(
                f"  {strategy}: a batch over the month so far takes {batch:.0f} ms for {closes} closes; "
                "a live scan is that batch, as values are defined from the month's anchor on"
            )


def medians(home: Path, made: SyntheticMarket) -> None:
    """What the first setup of a day costs for each symbol: the range median of 30 days of minutes."""
    with MinuteFeed.open(home, dict.fromkeys(made.symbols, PROVIDER)) as feed:
        for tier, moment in (("hot rows", LATE), ("files", month_of(EARLY))):
            began = perf_counter()
            RangeMedians(made.symbols, 0, {}).of(range(MEDIANS), to_ms(moment), feed.source, 30)
            seconds = (perf_counter() - began) / MEDIANS
            print(
                f"range median of 30 days, once a day for each symbol with a setup, from {tier}: "
                f"{1e3 * seconds:.0f} ms, so {100 * seconds:.1f} s where 100 symbols have their first at once"
            )


# --- replays ---------------------------------------------------------------------------------------------


def replay(answers: Connection, home: Path, name: str, n_symbols: int, start: datetime, days: int) -> None:
    """Replay some days at full speed; sends the memory and the seconds of each."""
    made = market(n_symbols)
    end = start + timedelta(days=days)
    with account(home, name, made, start, end, durable=False) as session:
        answers.send((rss_mib(), 0.0, 0))
        session.run(FullSpeed(), AT_ONCE, Days(answers), now=lambda: datetime.now(UTC))


@dataclass(slots=True)
class Days:
    """Tells of every replayed day how much memory there is at its end, how long it took, and its trades."""

    answers: Connection
    began: float = field(default_factory=perf_counter)
    trades: int = 0

    def stepped(self, record: StepRecord, seconds: float) -> None:
        """Tell at the end of a day."""
        del seconds
        self.trades += len(record.trades)
        if (record.time_ms + MINUTE_MS) % DAY_MS == 0:
            self.answers.send((rss_mib(), perf_counter() - self.began, self.trades))
            self.began = perf_counter()

    def waiting(self, minute_ms: int, now_ms: int) -> None:
        """Never: all bars are there."""
        raise RuntimeError(f"the minute {minute_ms} is waited for at {now_ms}")

    def alarm(self, sentence: str) -> None:
        """Never: nothing is checked."""
        raise RuntimeError(sentence)


def rss_mib() -> float:
    """The resident memory of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status does not tell the resident memory: measure on Linux")


def window_mib(n_symbols: int, days: int) -> float:
    """The bars of 5m and 15m that are held after so many days of a month; the next one drops them."""
    rows = days * DAY_MS // Timeframe.M5.ms + days * DAY_MS // Timeframe.M15.ms
    return float(rows * n_symbols * 5 * 8 / 2**20)


def replays(folder: Path, *, long: bool) -> None:
    """Speed and memory of replays of bars that lie in files."""
    made = market(100)
    tree, home = configuration(made), folder / "replay"
    days = 31 if long else 7
    end = REPLAY_START + timedelta(days=days)
    bring_before(home, made, tree)
    bring_minutes(home, made, tree, MINUTES_FROM, end, now=NEXT_MONTH)
    wanted = [(3, days), (100, days)] if long else [(3, days), (20, days), (100, 2)]
    print("\nreplays at full speed, each in a process of its own; MiB at the end of each day")
    for n_symbols, n_days in wanted:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        arguments = (theirs, home, f"replay{n_symbols}", n_symbols, REPLAY_START, n_days)
        process = context.Process(target=replay, args=arguments)
        process.start()
        theirs.close()
        told_days = [ours.recv() for _ in range(n_days + 1)]
        process.join()
        memory = [each[0] for each in told_days]
        seconds = [each[1] for each in told_days[1:]]
        rate = 1440 * n_days / sum(seconds)
        print(
            f"  {n_symbols:3} symbols x {n_days} d: {rate:7,.0f} minutes/s ({rate / 1440:.2f} days/s), "
            f"first day {1440 / seconds[0]:,.0f}, last day {1440 / seconds[-1]:,.0f}; "
            f"{told_days[-1][2]} trades\n"
            f"      opened {memory[0]:.0f} | {' '.join(f'{each:.0f}' for each in memory[1:])} | "
            f"last day / first day {memory[-1] / memory[1]:.2f} x, of which the month's window is "
            f"{window_mib(n_symbols, n_days) - window_mib(n_symbols, 1):.0f} MiB"
        )


# --- starting from a long ledger -------------------------------------------------------------------------


def ledger_maker() -> ModuleType:
    """The maker of ledgers that the tests have."""
    path = Path(__file__).parents[1] / "tests" / "store" / "ledger_maker.py"
    spec = spec_from_file_location("ledger_maker", path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{path} is not there")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def renamed(made: SyntheticMarket, names: Sequence[str]) -> SyntheticMarket:
    """The same market with coins of other names."""
    coins = [
        coin.model_copy(update={"symbol": Symbol.parse(name)})
        for coin, name in zip(made.settings.coins, names, strict=True)
    ]
    return SyntheticMarket(made.settings.model_copy(update={"coins": tuple(coins)}))


def bring_year(home: Path, trades: int) -> None:
    """An account of a year with so many trades, which waits for its next minute late in a month.

    The ledger is that of the tests; the journal of seen bars, as far as a start reads it, and the state are
    added so that all of it fits together, and the bars lie in the store.
    """
    maker = ledger_maker()
    made = renamed(market(100), [f"C{number:03d}/USD" for number in range(100)])
    trees = [changed(configuration(made), number) for number in range(2)]

    def stored(number: int, first_ms: int) -> tuple[str, str, str, int]:
        row = configuration_row(trees[number])
        return row.version, row.canonical, row.document, first_ms

    maker.STRATEGIES, maker._configuration = trees[0].trading.strategies, stored  # noqa: SLF001
    minutes = (to_ms(YEAR_END) - maker.START_MS) // MINUTE_MS
    ledger = maker.make_ledger(trades, symbols=100, minutes=minutes)
    account, cursor_ms = ledger.account, ledger.cursor_ms
    provider = account.providers[account.symbols[0]]
    with BarStore.open(
        home, market_data=trees[0].market_data, clock=ManualClock(from_ms(cursor_ms))
    ) as store:
        for symbol, bars, covered in made.batches(
            made.symbols, cursor_ms - 4 * DAY_MS, cursor_ms, days=PIECE_DAYS
        ):
            store.write(provider, symbol, Timeframe.M1, bars, covered)
    state = TraderState(
        cursor_ms=cursor_ms,
        version=ledger.version,
        portfolio=ledger.portfolio,
        carry=MarketCarry(
            regime=Regime.NORMAL,
            switched_on=(True,) * len(account.strategies),
            first_ms=account.start_ms - DAY_MS,
        ),
        was_setup=np.zeros((len(account.strategies), len(account.symbols)), dtype=np.bool_),
        next_setup=ledger.setups,
        next_fill=ledger.fills,
        next_trade=ledger.trades,
        setup_versions={
            int(slot["setup"]): ledger.version for slot in ledger.portfolio.slots if slot["phase"]
        },
    ).to_bytes()
    for table, columns in ledger.rows.items():
        if "state" in columns[0]:
            place = columns[0].index("state")
            rows = [(*row[:place], state, *row[place + 1 :]) for row in columns[1]]
            ledger.rows[table] = columns[0], rows
    needs = Needs.of(
        list(builtin().values()), trees[0].protection.slow_regime, has_reference=account.reference is not None
    )
    bars = history_and_seen(made, needs, account.symbols, account.start_ms, cursor_ms)
    ledger.rows["history"] = ["part", "timeframe", "time_ms", "block"], bars["history"]
    ledger.rows["seen_rows"] = ["part", "timeframe", "time_ms", "block"], bars["seen_rows"]
    with (
        TradingStore.open(home / "accounts" / "paper", wait_ms=0) as store,
        MinuteFeed.open(home, dict.fromkeys(account.watched, provider)) as feed,
    ):
        write = store._connection  # noqa: SLF001 - rows that no trader would write
        with write.begin():
            for table, (names, rows) in ledger.rows.items():
                places = ", ".join("?" * len(names))
                insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})"  # noqa: S608
                write.exec_driver_sql(insert, rows)
        with write.begin():
            for time_ms in range(cursor_ms - 4 * DAY_MS, cursor_ms, MINUTE_MS):
                minute = feed.minute(time_ms)
                write.exec_driver_sql(
                    "UPDATE minutes SET seen = ?, bars_digest = ? WHERE time_ms = ?",
                    (encode_revisions(minute.revision), bars_digest(minute.values), time_ms),
                )
        digests = list(store.journal.recomputed_digests(cursor_ms - 2 * DAY_MS, cursor_ms))
        with write.begin():
            for time_ms, _, digest in digests:
                write.exec_driver_sql("UPDATE minutes SET digest = ? WHERE time_ms = ?", (digest, time_ms))


def changed(tree: Configuration, number: int) -> Configuration:
    """The configuration with another reserve."""
    return tree.model_copy(update={"limits": tree.limits.model_copy(update={"reserve": 0.2 + 0.01 * number})})


def history_and_seen(
    made: SyntheticMarket, needs: Needs, symbols: Sequence[Symbol], start_ms: int, cursor_ms: int
) -> dict[str, list[tuple[str, str, int, bytes]]]:
    """The journal of coarser bars, as far as it is looked at after `cursor_ms`: rows for both tables."""
    found: dict[str, list[tuple[str, str, int, bytes]]] = {"history": [], "seen_rows": []}
    for part, names in ((TRADED, tuple(symbols)), (REFERENCE, tuple(symbols[:1]))):
        for timeframe in needs.coarse(part):
            first_ms = needs.start_ms(part, timeframe, cursor_ms)
            panel = coarse(made, names, timeframe, first_ms, timeframe.floor(cursor_ms))
            before = panel.between(0, timeframe.floor(start_ms))
            if len(before):
                rows = encode_rows(SeenRows.of_panel(before))
                found["history"].append((part, timeframe.value, int(before.open_time_ms[0]), rows))
            for row in range(len(before), len(panel)):
                one = panel.rows(row, row + 1)
                found["seen_rows"].append(
                    (part, timeframe.value, int(one.open_time_ms[0]), encode_rows(SeenRows.of_panel(one)))
                )
    return found


def coarse(
    made: SyntheticMarket, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int
) -> Panel:
    """Bars of a timeframe, made of the market's minutes symbol by symbol."""
    return side_by_side([resample(made.panel([symbol], start_ms, end_ms), timeframe) for symbol in symbols])


def starts(folder: Path) -> None:
    """The whole process, from its start until it says what it trades, and what its parts take."""
    began = perf_counter()
    home = folder / "start"
    bring_year(home, 100_000)
    print(
        f"\nstart of `crypto-tracker trade` on an account of 100 symbols, {(YEAR_END - YEAR_START).days} "
        f"days and 100,000 trades (made in {perf_counter() - began:.0f} s; "
        f"trading.db {(home / 'accounts' / 'paper' / 'trading.db').stat().st_size / 2**20:.0f} MiB)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    whole = [started(home, environment) for _ in range(6)][1:]  # the first one compiles Python files
    bare = [imported(environment) for _ in range(6)][1:]
    print(
        f"  from exec to ready: {min(whole):.2f} s best, {np.median(whole):.2f} s median of 5; of it Python "
        f"and `import crypto_tracker.app.trading`: {min(bare):.2f} s"
    )
    print(f"  goal: {SECONDS_READY:g} s, {np.median(whole):.2f} is {np.median(whole) / SECONDS_READY:.2f} x")
    path = home / "accounts" / "paper"
    watch = Watch()
    with TradingStore.open(path, wait_ms=0) as store:
        account = store.journal.account()
        if account is None:
            raise RuntimeError("the account is not there")
        watched = {symbol: account.providers[symbol] for symbol in account.watched}
        with MinuteFeed.open(home, watched) as feed:
            trader = watch.around("all", recover)(store.journal, feed, builtin(), Nobody())
            wrong = watch.around("ledger", ledger_audit(store.journal, account))(trader.state)
            cursor_ms = trader.state.cursor_ms
            digests = store.journal.recomputed_digests(cursor_ms - cursor_ms % DAY_MS, cursor_ms)
            watch.around("digests", list)(digests)
    if wrong is not None:
        raise RuntimeError(wrong)
    with closing(sqlite3.connect(path / "trading.db")) as bare_database:
        walk = watch.around("walk", bare_database.execute)
        for column in ("fills.notional_quote", "trades.pnl_quote", "orders.quote", "minutes.equity_quote"):
            walk(f"SELECT total({column}) FROM {column.partition('.')[0]}").fetchall()  # noqa: S608
    took = watch.seconds
    print(
        f"  inside: all of `recover` {took['all']:.2f} s; alone the ledger takes {took['ledger']:.2f} s and "
        f"the day's digests {took['digests']:.2f} s, the window is filled beside the ledger\n"
        f"  limit: SQLite adds up one column of each ledger table in {took['walk']:.2f} s; to prove the "
        f"ledger takes {took['ledger'] / took['walk']:.1f} x"
    )


class Nobody:
    """People who say nothing."""

    def commands(self) -> Sequence[Any]:
        """None."""
        return ()

    def configuration(self, version: str) -> None:
        """None was offered."""
        del version


def started(home: Path, environment: Mapping[str, str]) -> float:
    """Seconds from exec until the process says that it goes on."""
    command = [sys.executable, "-m", "crypto_tracker", "--home", str(home), "trade"]
    began = perf_counter()
    with subprocess.Popen(  # noqa: S603 - our own command
        command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        if process.stderr is None:
            raise RuntimeError("there is nothing to read")
        line = process.stderr.readline()
        seconds = perf_counter() - began
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    if "goes on" not in line:
        raise RuntimeError(line + rest)
    return seconds


def imported(environment: Mapping[str, str]) -> float:
    """Seconds of a process that only imports what trading needs."""
    began = perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import crypto_tracker.app.trading"], env=dict(environment), check=True
    )
    return perf_counter() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=("live", "start", "replay"))
    parser.add_argument("--long", action="store_true", help="replay a month, and trade for longer")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if asked.only in {None, "live"}:
            live(folder, 180 if asked.long else 48)
        if asked.only in {None, "start"}:
            starts(folder)
        if asked.only in {None, "replay"}:
            replays(folder, long=asked.long)
