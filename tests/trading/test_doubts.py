"""A symbol whose bars are doubtful opens nothing while they are; its exits go on, and parity sees the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.app.trading import AT_ONCE, FullSpeed, Wish, trading_session
from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.orders import FillKind
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from crypto_tracker.store.choice import choose
from crypto_tracker.store.feed import MinuteFeed
from crypto_tracker.store.quality import QualityRow, write_quality
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.trading_journal import TradingJournal
from crypto_tracker.store.trading_records import Doubt, StepRecord
from crypto_tracker.strategies.base import EVENT_SETUP, SETUP_DTYPE
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.trading.doubts import withhold_doubtful
from crypto_tracker.trading.parity import check
from tests.app.conftest import run_command
from tests.trading import worlds
from tests.trading.worlds import PAIRS, START_MS

DOUBTED = (Symbol("SOL", "USD"), Symbol("PEPE", "USD"))
DOUBTED_FROM_MS, DOUBTED_UNTIL_MS = START_MS + 3 * HOUR_MS, START_MS + 10 * HOUR_MS + 30 * MINUTE_MS
STOP_MS = START_MS + 12 * HOUR_MS
EVERY_MS = 5 * MINUTE_MS


def score(home: Path, value: float, measured_at_ms: int) -> None:
    rows = [
        QualityRow(
            provider=worlds.PROVIDER,
            symbol=symbol,
            measured_at_ms=measured_at_ms,
            score=value,
            freshness=1.0,
            completeness=value,
            soundness=1.0,
            agreement=None,
        )
        for symbol in DOUBTED
    ]
    write_quality(home, rows)


class Measurer(worlds.Quiet):
    """Measures every five minutes, as a collector beside the trader; two coins are doubtful for a while."""

    def __init__(self, home: Path) -> None:
        super().__init__(lambda record: record.time_ms >= STOP_MS)
        self._home = home
        self._value = 0.95

    def stepped(self, record: StepRecord, seconds: float) -> None:
        super().stepped(record, seconds)
        after_ms = record.time_ms + MINUTE_MS
        if after_ms in {DOUBTED_FROM_MS, DOUBTED_UNTIL_MS}:
            self._value = 0.5 if after_ms == DOUBTED_FROM_MS else 0.95
        if after_ms in {DOUBTED_FROM_MS, DOUBTED_UNTIL_MS} or after_ms % EVERY_MS == 0:
            score(self._home, self._value, after_ms)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = worlds.new_home(tmp_path_factory.mktemp("doubts") / "home")
    score(home, 0.95, START_MS)
    tree = worlds.configuration()

    def wish() -> Wish:
        with BarReader.open(home) as reader:
            choice = choose(
                reader.series(), tree, pairs=(), timeframe=str(Timeframe.M1), provider=None,
                start_ms=None, end_ms=None,
            )  # fmt: skip
        return Wish(kind="paper", choice=choice, start_ms=START_MS, end_ms=None)

    watcher = Measurer(home)
    with trading_session(
        home,
        worlds.account_folder(home),
        builtin(),
        tree,
        wish,
        now=lambda: worlds.NOW,
        wait_ms=0,
        durable=False,
    ) as session:
        watcher.session = session
        session.run(FullSpeed(), AT_ONCE, watcher, now=lambda: worlds.NOW)
    return home


def test_setups_of_doubtful_symbols_are_withheld_and_only_theirs(home: Path):
    with TradingJournal.open(worlds.account_folder(home)) as journal:
        setups = [
            each for each in journal.setups(START_MS, STOP_MS + HOUR_MS) if each.setup_number is not None
        ]
        doubts = journal.doubts(START_MS, STOP_MS + HOUR_MS)
    withheld = [each for each in setups if each.reason is Reason.DATA_DOUBTFUL]
    assert withheld
    during = [
        each
        for each in setups
        if each.symbol in DOUBTED and DOUBTED_FROM_MS < each.time_ms <= DOUBTED_UNTIL_MS
    ]
    assert withheld == during
    assert all(each.verdict is Verdict.SKIP for each in withheld)
    assert {(time_ms + MINUTE_MS, each.symbol) for time_ms, each in doubts} == {
        (each.time_ms, each.symbol) for each in withheld
    }
    assert {(each.score, each.score_min) for _, each in doubts} == {(0.5, 0.8)}
    others = [
        each for each in setups if DOUBTED_FROM_MS < each.time_ms <= DOUBTED_UNTIL_MS and each not in during
    ]
    assert any(each.reason is Reason.ACCEPTED for each in others)


def test_a_doubtful_symbol_that_is_held_is_still_sold(home: Path):
    with TradingJournal.open(worlds.account_folder(home)) as journal:
        fills = [fill for fill in journal.fills(START_MS, STOP_MS + HOUR_MS) if fill.symbol in DOUBTED]
    during = [
        fill
        for fill in fills
        if DOUBTED_FROM_MS <= int(fill.bar_open_time.timestamp() * 1_000) <= DOUBTED_UNTIL_MS
    ]
    assert any(fill.kind is FillKind.EXIT for fill in during)
    assert not any(fill.kind is FillKind.ENTRY for fill in during)


def test_parity_withholds_the_same_setups(home: Path):
    folder = worlds.account_folder(home)
    with TradingJournal.open(folder) as journal:
        account = journal.account()
        assert account is not None
        with MinuteFeed.open(home, {name: account.providers[name] for name in account.watched}) as feed:
            outcome = check(
                journal, feed, builtin(), start_ms=None, end_ms=None, code_version="0.1.0",
                complete=False, tell=lambda _: None,
            )  # fmt: skip
    assert outcome.proof.differences == []


def test_a_symbol_that_nobody_measured_is_not_doubted():
    setups = np.zeros(3, dtype=SETUP_DTYPE)
    setups["kind"] = EVENT_SETUP
    setups["symbol"] = [0, 1, 2]
    found = withhold_doubtful(setups, PAIRS, np.array([np.nan, 0.79, 0.80]), 0.80)
    assert found == [Doubt(symbol=PAIRS[1], score=0.79, score_min=0.80)]
    assert setups["withheld"].tolist() == [0, Reason.DATA_DOUBTFUL, 0]


def test_a_score_that_was_measured_long_before_or_after_a_minute_doubts_nobody_then(home: Path):
    """Staleness is a gate of its own: what the trader sees of the bars, not what was once said of them."""
    close_ms = STOP_MS
    with MinuteFeed.open(home, dict.fromkeys(DOUBTED, worlds.PROVIDER)) as feed:
        for minutes, doubted in ((-16, False), (-15, True), (0, True), (15, True), (16, False)):
            score(home, 0.5, close_ms + minutes * MINUTE_MS)
            setups = np.zeros(2, dtype=SETUP_DTYPE)
            setups["kind"] = EVENT_SETUP
            setups["symbol"] = [0, 1]
            found = withhold_doubtful(setups, DOUBTED, feed.scores(close_ms, 15.0), 0.80)
            assert [each.symbol for each in found] == (list(DOUBTED) if doubted else [])
            assert (setups["withheld"] == Reason.DATA_DOUBTFUL).all() == doubted


def test_protection_names_the_symbols_that_are_doubtful_now_with_their_score_and_the_cure(home: Path):
    now_ms = STOP_MS + MINUTE_MS  # the close of the last minute that was stepped
    score(home, 0.5, now_ms)
    shown, words = run_command(home, "protection", "--json"), run_command(home, "protection")
    score(home, 0.5, now_ms - 16 * MINUTE_MS)
    old = run_command(home, "protection", "--json")
    score(home, 0.95, now_ms)
    calm = run_command(home, "protection", "--json")
    assert {
        each["symbol"]: each["data_quality"]
        for each in json.loads(shown[1])["symbols"]
        if each["data_quality"] is not None
    } == {str(symbol): 0.5 for symbol in DOUBTED}
    assert "heal-gaps" in words[1]
    for document in (old, calm):
        assert all(each["data_quality"] is None for each in json.loads(document[1])["symbols"])
