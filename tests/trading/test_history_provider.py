"""History of one provider and live minutes of another: one past for strategies, one trader of minutes."""

from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.app.trading import AT_ONCE, FullSpeed, Wish, history_of, trading_session
from crypto_tracker.config.market_data import MarketData
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.resample import resample
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.choice import Choice, choose
from crypto_tracker.store.feed import MinuteFeed
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.sources import StoredBars
from crypto_tracker.store.trading_journal import TradingJournal
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.trading.parity import check
from tests.trading import worlds
from tests.trading.worlds import GENESIS_MS, LIVELY, MINUTES_FROM_MS, NOW, PAIRS, START_MS

LIVE, HISTORY = "kraken", "massive"
LIVE_FROM_MS = START_MS - 2 * HOUR_MS  # what the exchange still gave when the collector began
STOP_MS = START_MS + 11 * HOUR_MS
TWO = (*LIVELY, f"market_data.history={HISTORY}")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the exchange has minutes only of late, and the other provider all that was before."""
    home = tmp_path_factory.mktemp("two") / "home"
    made = worlds.synthetic_market()
    market_data: MarketData = worlds.market_data()
    with BarStore.open(home, market_data=market_data, clock=ManualClock(NOW)) as store:
        for symbol in made.symbols:
            earlier = made.panel([symbol], GENESIS_MS, MINUTES_FROM_MS)
            for timeframe in (Timeframe.M15, Timeframe.H4, Timeframe.D1):
                bars = BarBatch.of_column(resample(earlier, timeframe), symbol)
                store.write(HISTORY, symbol, timeframe, bars, [(GENESIS_MS, MINUTES_FROM_MS)])
            for _, minutes, covered in made.batches([symbol], MINUTES_FROM_MS, LIVE_FROM_MS, days=31):
                store.write(HISTORY, symbol, Timeframe.M1, minutes, covered)
            for _, minutes, covered in made.batches([symbol], LIVE_FROM_MS, STOP_MS + HOUR_MS, days=31):
                store.write(LIVE, symbol, Timeframe.M1, minutes, covered)
    return home


def chosen(home: Path, assignments: tuple[str, ...] = TWO, *, provider: str | None = None) -> Choice:
    with BarReader.open(home) as reader:
        return choose(
            reader.series(), worlds.configuration(assignments), pairs=(), timeframe="1m", provider=provider,
            start_ms=None, end_ms=None,
        )  # fmt: skip


def test_the_other_provider_is_traded_and_the_history_stands_in(home: Path):
    choice = chosen(home)
    assert set(choice.provider_of.values()) == {LIVE}
    assert choice.history == HISTORY
    assert any(
        note.startswith("bars of massive stand in where kraken has none: 89.4 %") for note in choice.notes
    ), choice.notes
    assert choice.start_ms == MINUTES_FROM_MS  # the history reaches that far back
    with BarReader.open(home) as reader:
        bars = StoredBars(reader, choice.provider_of, choice.history)
        panel = bars.panel(PAIRS, Timeframe.M1, LIVE_FROM_MS - HOUR_MS, LIVE_FROM_MS + HOUR_MS)
    made = worlds.synthetic_market().panel(PAIRS, LIVE_FROM_MS - HOUR_MS, LIVE_FROM_MS + HOUR_MS)
    np.testing.assert_array_equal(panel.close, made.close)


def test_naming_the_exchange_leaves_its_history_in_place(home: Path):
    assert chosen(home, provider=LIVE) == chosen(home)


def test_without_a_history_a_symbol_of_two_providers_is_asked_about(home: Path):
    with pytest.raises(UsageError, match=r"several providers .*kraken, massive"):
        chosen(home, LIVELY)


def test_an_account_trades_the_live_minutes_with_the_whole_past_and_parity_finds_nothing(home: Path):
    """It trades to the last record what it trades where one provider has everything."""
    results = []
    for place, assignments, providers in (
        (home, TWO, {LIVE}),
        (worlds.new_home(home.parent / "one"), LIVELY, {worlds.PROVIDER}),
    ):
        choice = chosen(place, assignments)
        assert set(choice.provider_of.values()) == providers
        watcher = worlds.Quiet(lambda record: record.time_ms >= STOP_MS - MINUTE_MS)
        folder = worlds.account_folder(place)
        wish = Wish(kind="paper", choice=choice, start_ms=START_MS, end_ms=None)
        with trading_session(
            place, folder, builtin(), worlds.configuration(assignments), lambda wish=wish: wish,
            now=lambda: NOW, wait_ms=0, durable=False,
        ) as session:  # fmt: skip
            watcher.session = session
            session.run(FullSpeed(), AT_ONCE, watcher, now=lambda: NOW)
        with TradingJournal.open(folder) as journal:
            account = journal.account()
            assert account is not None
            history = history_of(journal, builtin())
            fills, trades = journal.fills(0, STOP_MS), journal.trades(0, STOP_MS)
            watched = {name: account.providers[name] for name in account.watched}
            with MinuteFeed.open(place, watched, history=history) as feed:
                outcome = check(
                    journal, feed, builtin(), start_ms=None, end_ms=None, code_version="0.1.0",
                    complete=False, tell=lambda _: None,
                )  # fmt: skip
        assert outcome.proof.differences == []
        results.append((fills, trades))
    assert len(results[0][0]) > 20
    assert results[0] == results[1]
