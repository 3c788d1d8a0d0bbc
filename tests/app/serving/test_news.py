"""What a live stream is told is what two looks at the pages differ by."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from crypto_tracker.app.serving.account_book import AccountBook
from crypto_tracker.app.serving.desk import HomeDesk
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.desk.source import DecisionFilter, TradeFilter
from crypto_tracker.desk.views import live
from crypto_tracker.desk.views.base import View
from crypto_tracker.desk.views.controls import CommandWish
from crypto_tracker.store.bars import BarStore
from tests.app.serving.accounts import MEDDLED_MINUTES, NOW_MS, book_of, load, new_desk, trade_on
from tests.store.shelf import drawn_minute
from tests.trading import worlds

SYMBOL = Symbol("BTC", "USD")
BARS = f"bars:{SYMBOL}@15m"
EVERYTHING = frozenset({"trades", "decisions", "positions", "equity", "regime", "log", "health", BARS})
EventT = TypeVar("EventT", bound=View)


@pytest.fixture
def desk(home: Path) -> Iterator[HomeDesk]:
    found = new_desk(home)
    yield found
    found.close()


@pytest.fixture
def book(desk: HomeDesk) -> AccountBook:
    return book_of(desk)


def only(kind: type[EventT], events: object) -> EventT:
    assert isinstance(events, list | tuple)
    (found,) = [event for event in events if isinstance(event, kind)]
    return found


def trades_of(book: AccountBook) -> list[str]:
    return [each.trade_group_id for each in book.trades(TradeFilter(), limit=500, cursor=None).items]


def decisions_of(book: AccountBook) -> list[tuple[int, str, str]]:
    page = book.decisions(DecisionFilter(), limit=500, cursor=None)
    return [(each.time_ms, each.symbol, each.strategy) for each in page.items]


def test_the_first_call_tells_the_present_of_what_has_one(book: AccountBook) -> None:
    watch = book.watch()
    events = watch.news(EVERYTHING)
    assert {type(event) for event in events} == {
        live.PositionsEvent,
        live.EquityEvent,
        live.RegimeEvent,
        live.LogEvent,
    }
    assert only(live.PositionsEvent, events).positions == book.positions()
    equity = only(live.EquityEvent, events)
    assert equity.status == book.status()
    assert [point.time_ms for point in equity.points] == [equity.status.until_ms]
    assert only(live.LogEvent, events).items == book.log(60).items
    assert only(live.RegimeEvent, events).regime.regime == book.status().regime
    assert watch.news(EVERYTHING) == []


def test_events_are_what_two_looks_at_the_pages_differ_by(home: Path, book: AccountBook) -> None:
    watch = book.watch()
    watch.news(EVERYTHING)
    trades, decisions, before = trades_of(book), decisions_of(book), book.status()
    trade_on(home, MEDDLED_MINUTES + 65)
    events = watch.news(EVERYTHING)
    assert not any(isinstance(event, live.Resync) for event in events)

    new_trades = [each.trade_group_id for each in only(live.TradesEvent, events).items]
    assert new_trades
    assert trades_of(book) == [*new_trades[::-1], *trades]
    shown = {each.trade_group_id: each for each in book.trades(TradeFilter(), limit=500, cursor=None).items}
    assert all(each == shown[each.trade_group_id] for each in only(live.TradesEvent, events).items)

    told = only(live.DecisionsEvent, events).items
    keys = [(each.time_ms, each.symbol, each.strategy) for each in told]
    assert decisions_of(book) == [*keys[::-1], *decisions][:500]
    newest = book.decisions(DecisionFilter(), limit=len(told), cursor=None).items
    assert newest == told[::-1]

    equity = only(live.EquityEvent, events)
    curve = book.equity(5_000, before.until_ms, None)
    assert [point.time_ms for point in equity.points] == curve.time_ms
    assert [point.equity_quote for point in equity.points] == curve.equity_quote
    whole = np.array(book.equity(5_000, None, None).equity_quote)
    peak = np.maximum.accumulate(np.maximum(whole, before.capital_quote))
    assert [point.drawdown for point in equity.points] == pytest.approx(
        ((peak - whole) / peak)[-len(equity.points) :].tolist()
    )
    assert equity.status == book.status()
    assert only(live.PositionsEvent, events).positions == book.positions()
    assert only(live.LogEvent, events).items == book.log(60).items
    assert only(live.RegimeEvent, events).regime.regime == book.status().regime == "PANIC"
    assert watch.news(EVERYTHING) == []


def test_bars_are_the_closed_candles_and_the_one_that_grows(home: Path, book: AccountBook) -> None:
    watch = book.watch()
    topics = frozenset({BARS, f"bars:{SYMBOL}@1m"})
    assert watch.news(topics) == []
    before_ms = book.status().until_ms
    trade_on(home, MEDDLED_MINUTES + 27)  # 06:40 to 07:07: the bars of 06:30 and 06:45 close
    events = {
        event.items[0].timeframe: event.items
        for event in watch.news(topics)
        if isinstance(event, live.BarsEvent)
    }
    candles = book.candles(SYMBOL, Timeframe.M15, 2, None)
    *closed, grows = events["15m"]
    assert [bar.time_ms for bar in closed] == candles.time_ms
    assert [(bar.open, bar.high, bar.low, bar.close, bar.closed) for bar in closed] == [
        (*row, True) for row in zip(candles.open, candles.high, candles.low, candles.close, strict=True)
    ]
    minutes = book.candles(SYMBOL, Timeframe.M1, 7, None)
    assert grows.time_ms == minutes.time_ms[0] == candles.time_ms[-1] + Timeframe.M15.ms
    assert not grows.closed
    assert (grows.open, grows.high, grows.low, grows.close) == (
        minutes.open[0],
        max(minutes.high),
        min(minutes.low),
        minutes.close[-1],
    )
    every = book.candles(SYMBOL, Timeframe.M1, 27, None)
    assert every.time_ms[0] == before_ms
    assert [bar.time_ms for bar in events["1m"]] == every.time_ms
    assert all(bar.closed for bar in events["1m"])


def write_minute(home: Path, minute_ms: int, price: float) -> None:
    """Store a minute with this one price, where another one stands, or none."""
    with BarStore.open(home, market_data=worlds.market_data(), clock=ManualClock(worlds.NOW)) as store:
        bar = drawn_minute(minute_ms, price)
        store.write(worlds.PROVIDER, SYMBOL, Timeframe.M1, bar, [(minute_ms, minute_ms + MINUTE_MS)])


def test_a_bar_that_came_late_is_told_together_with_all_that_are_made_of_it(
    home: Path, book: AccountBook
) -> None:
    watch, until_ms = book.watch(), book.status().until_ms
    assert until_ms % Timeframe.M15.ms == 10 * MINUTE_MS
    topics = frozenset(f"bars:{SYMBOL}@{timeframe}" for timeframe in ("1m", "5m", "15m"))
    assert watch.news(topics) == []
    five = book.candles(SYMBOL, Timeframe.M5, 1, None)
    low = 0.999 * min(five.low)
    write_minute(home, until_ms - 2 * MINUTE_MS, low)
    told = {
        bar.timeframe: bar
        for event in watch.news(topics)
        if isinstance(event, live.BarsEvent)
        for bar in event.items
    }
    assert {name: (bar.time_ms, bar.low, bar.closed) for name, bar in told.items()} == {
        "1m": (until_ms - 2 * MINUTE_MS, low, True),
        "5m": (until_ms - 5 * MINUTE_MS, low, True),
        "15m": (until_ms - 10 * MINUTE_MS, low, False),
    }
    assert told["5m"].close == five.close[0]
    assert book.candles(SYMBOL, Timeframe.M5, 1, None).low == [low]
    assert watch.news(topics) == []


def test_what_came_late_beside_a_new_minute_is_told_and_nothing_else_is_told_again(
    home: Path, book: AccountBook
) -> None:
    watch, until_ms = book.watch(), book.status().until_ms
    topics = frozenset({f"bars:{SYMBOL}@1m"})
    watch.news(topics)
    price = book.candles(SYMBOL, Timeframe.M1, 1, None).close[0]
    write_minute(home, until_ms - 30 * MINUTE_MS, price)
    trade_on(home, MEDDLED_MINUTES + 2)
    (event,) = watch.news(topics)
    assert isinstance(event, live.BarsEvent)
    assert [bar.time_ms for bar in event.items] == [until_ms - 30 * MINUTE_MS, until_ms, until_ms + MINUTE_MS]


def test_of_bars_that_were_mended_further_back_the_span_is_told_once(home: Path, book: AccountBook) -> None:
    watch, until_ms = book.watch(), book.status().until_ms
    topics = frozenset(f"bars:{SYMBOL}@{timeframe}" for timeframe in ("1m", "15m"))
    assert watch.news(topics) == []
    price = book.candles(SYMBOL, Timeframe.M1, 1, None).close[0]
    for minutes in (61, 200, 90):
        write_minute(home, until_ms - minutes * MINUTE_MS, price)
    events = [event for event in watch.news(topics) if isinstance(event, live.MendedEvent)]
    assert [(each.symbol, each.timeframe, each.start_ms, each.end_ms) for each in events] == [
        (str(SYMBOL), "15m", until_ms - 205 * MINUTE_MS, until_ms - 70 * MINUTE_MS),
        (str(SYMBOL), "1m", until_ms - 200 * MINUTE_MS, until_ms - 60 * MINUTE_MS),
    ]
    assert watch.news(topics) == []
    shown = dict(
        zip(
            *(
                book.candles(SYMBOL, Timeframe.M1, 201, None).model_dump()[each]
                for each in ("time_ms", "low")
            ),
            strict=True,
        )
    )
    assert {shown[until_ms - minutes * MINUTE_MS] for minutes in (61, 200, 90)} == {price}


def test_bars_of_another_symbol_are_no_news(home: Path, book: AccountBook) -> None:
    watch, until_ms = book.watch(), book.status().until_ms
    topics = frozenset({"bars:SOL/USD@1m"})
    assert Symbol("SOL", "USD") != SYMBOL
    watch.news(topics)
    write_minute(home, until_ms - 90 * MINUTE_MS, book.candles(SYMBOL, Timeframe.M1, 1, None).close[0])
    assert watch.news(topics) == []


def test_who_missed_more_notes_than_are_kept_is_to_fetch_anew(
    home: Path, book: AccountBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crypto_tracker.store.mended.KEPT", 2)
    watch, until_ms = book.watch(), book.status().until_ms
    topics = frozenset({f"bars:{SYMBOL}@1m"})
    watch.news(topics)
    price = book.candles(SYMBOL, Timeframe.M1, 1, None).close[0]
    for minutes in (90, 91, 92):
        write_minute(home, until_ms - minutes * MINUTE_MS, price)
    (event,) = watch.news(topics)
    assert isinstance(event, live.Resync)


def test_a_command_that_waits_shows_in_the_status(book: AccountBook) -> None:
    watch = book.watch()
    watch.news(frozenset({"equity"}))
    book.tell(CommandWish(kind="pause", arguments={}), "web:anna")
    (event,) = watch.news(frozenset({"equity"}))
    assert isinstance(event, live.EquityEvent)
    assert event.points == []
    assert event.status.waiting_commands == book.status().waiting_commands


def test_a_topic_that_is_taken_up_again_begins_with_its_present(home: Path, book: AccountBook) -> None:
    watch = book.watch()
    watch.news(frozenset({"trades", "positions"}))
    watch.news(frozenset({"regime"}))
    trade_on(home, MEDDLED_MINUTES + 40)
    (event,) = watch.news(frozenset({"trades", "positions"}))
    assert isinstance(event, live.PositionsEvent)


def test_two_streams_are_told_the_same(home: Path, book: AccountBook) -> None:
    first, second = book.watch(), book.watch()
    topics = EVERYTHING - {"health"}
    assert first.news(topics) == second.news(topics)
    trade_on(home, MEDDLED_MINUTES + 20)
    assert first.news(topics) == second.news(topics) != []


def test_an_account_that_is_made_anew_is_to_be_fetched_anew(home: Path, book: AccountBook) -> None:
    watch = book.watch()
    watch.news(EVERYTHING)
    folder = worlds.account_folder(home)
    shutil.rmtree(folder)
    assert watch.news(EVERYTHING) == ()
    worlds.trade(home, end_ms=worlds.START_MS + 5 * MINUTE_MS)
    events = watch.news(EVERYTHING)
    assert isinstance(events[0], live.Resync)
    assert not any(isinstance(event, live.TradesEvent | live.DecisionsEvent) for event in events)
    assert only(live.EquityEvent, events).status.until_ms == worlds.START_MS + 5 * MINUTE_MS


def test_what_was_missed_for_long_is_to_be_fetched_anew(
    home: Path, book: AccountBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crypto_tracker.app.serving.news.AT_ONCE", 5)
    watch = book.watch()
    watch.news(frozenset({"decisions"}))
    trade_on(home, MEDDLED_MINUTES + 60)
    (event,) = watch.news(frozenset({"decisions"}))
    assert isinstance(event, live.Resync)


@pytest.mark.parametrize("topic", ["weather", "bars:BTC/USD", "bars:BTC/USD@7m", "bars:XRP/USD@15m"])
def test_a_topic_that_there_is_not_brings_nothing_and_keeps_nobody_from_theirs(
    book: AccountBook, topic: str
) -> None:
    assert [event.type for event in book.watch().news(frozenset({topic, "regime"}))] == ["regime"]  # type: ignore[attr-defined]


def test_an_account_that_is_damaged_or_stays_away_is_told(home: Path) -> None:
    now_ms = [NOW_MS]
    desk = HomeDesk(home, load, lambda: now_ms[0], NOW_MS, "test")
    watch, path = book_of(desk).watch(), worlds.account_folder(home) / "trading.db"
    watch.news(frozenset({"regime"}))
    path.rename(path.with_suffix(".away"))
    assert watch.news(frozenset({"regime"})) == ()
    now_ms[0] += 40_000
    with pytest.raises(StoreError, match="there is no account"):
        watch.news(frozenset({"regime"}))
    path.write_bytes(b"no database" * 500)
    with pytest.raises(StoreError, match="cannot be read"):
        watch.news(frozenset({"regime"}))
    path.unlink()
    path.with_suffix(".away").rename(path)
    assert isinstance(watch.news(frozenset({"regime"}))[0], live.Resync)
    desk.close()
