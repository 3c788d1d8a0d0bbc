"""Reading history page by page from exchanges of all manners, and minutes made of candles and of trades."""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.errors import ProviderUnavailable
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.market.providers.exchange.markets import DECIMAL_PLACES, TICK_SIZE, market_infos
from crypto_tracker.market.providers.exchange.minutes import (
    Candle,
    OpenMinutes,
    Trade,
    TradedMinute,
    TradedMinutes,
)
from crypto_tracker.market.providers.exchange.paging import Manners, PageReader, Pages

M = MINUTE_MS
BTC = Symbol("BTC", "USD")
Answers = Callable[[int, int], Sequence[Any]]


def row(minute: int) -> list[Any]:
    return [minute * M, 1.0, 2.0, 0.5, 1.5, 10.0, {"minute": minute}]


def read(
    answers: Answers,
    start: int,
    end: int,
    *,
    now: int = 10_000,
    page_bars: int = 100,
    manners: Manners | None = None,
) -> Pages:
    async def ask(since_ms: int, limit: int) -> Sequence[Any]:
        return answers(since_ms // M, limit)

    reader = PageReader(
        "somewhere", ask, Timeframe.M1, page_bars=page_bars, now_ms=now * M, manners=manners or Manners()
    )
    return asyncio.run(reader.read(start * M, end * M))


def found(pages: Pages) -> list[int]:
    return sorted(time_ms // M for time_ms in pages.rows)


def window(minutes: Sequence[int]) -> Answers:
    """Answers with what lies in the stretch that is asked for, as KuCoin and Coinbase do."""
    return lambda since, limit: [row(minute) for minute in minutes if since <= minute < since + limit]


def onward(minutes: Sequence[int], most: int = 10_000) -> Answers:
    """Answers with the first bars from there on, however far away they are, as Binance does."""
    return lambda since, limit: [row(minute) for minute in minutes if minute >= since][: min(limit, most)]


def newest(minutes: Sequence[int], most: int) -> Answers:
    """Answers with its newest bars, whatever is asked for."""
    return lambda _since, _limit: [row(minute) for minute in minutes][-most:]


@pytest.mark.parametrize("manner", [window, onward])
@given(
    minutes=st.sets(st.integers(min_value=0, max_value=400)),
    bounds=st.tuples(st.integers(0, 400), st.integers(0, 400)),
)
def test_every_bar_of_a_stretch_is_read_wherever_its_holes_are(manner, minutes, bounds):
    start, end = min(bounds), max(bounds)
    pages = read(manner(sorted(minutes)), start, end)
    assert found(pages) == [minute for minute in sorted(minutes) if start <= minute < end]
    assert pages.proven_from_ms == start * M


def test_an_empty_page_in_the_middle_of_a_history_is_not_its_end():
    history = [*range(100), *range(350, 500)]
    pages = read(window(history), 0, 500)
    assert found(pages) == history
    assert pages.requests == 5


def test_pages_that_overlap_give_each_bar_once_and_as_it_came_last():
    def overlapping(since: int, limit: int) -> list[Any]:
        return [[minute * M, 1.0, 2.0, 0.5, float(since), 10.0] for minute in range(since - 5, since + limit)]

    pages = read(overlapping, 200, 400, now=10_000)
    assert found(pages) == list(range(200, 400))
    assert pages.rows[300 * M][4] == 300.0  # the page that began with it


def test_an_exchange_that_gives_fewer_bars_than_asked_is_asked_on_from_its_last():
    pages = read(onward(range(1000), most=30), 0, 200)
    assert found(pages) == list(range(200))


def test_an_exchange_that_cuts_the_old_end_of_a_page_is_asked_for_it():
    def cut(since: int, limit: int) -> list[Any]:
        return [row(minute) for minute in range(since, since + limit)][-60:]

    pages = read(cut, 0, 200)
    assert found(pages) == list(range(200))


def test_an_exchange_that_only_ever_gives_its_newest_bars_proves_nothing_about_older_ones():
    now = 1000
    pages = read(newest(range(now), most=80), 500, now, now=now)
    assert found(pages) == list(range(920, 1000))
    assert pages.proven_from_ms == 920 * M


def test_an_exchange_that_has_lost_its_older_bars_proves_nothing_about_them():
    kept = range(920, 1000)
    pages = read(window(kept), 0, 1000, now=1000, page_bars=1000)
    assert found(pages) == list(kept)
    assert pages.proven_from_ms == 920 * M


def test_an_exchange_known_to_go_back_proves_a_hole_by_its_silence():
    kept = range(920, 1000)
    pages = read(
        window(kept), 0, 1000, now=1000, page_bars=1000, manners=Manners(goes_back=True, whole_rows=1000)
    )
    assert pages.proven_from_ms == 0


def test_bars_of_another_time_are_refused_until_the_exchange_makes_up_its_mind():
    answers = iter([[row(700), row(701)], [row(900), row(901)]])
    with pytest.raises(ProviderUnavailable, match="other bars each time"):
        read(lambda _since, _limit: next(answers), 0, 50)


def test_older_bars_than_asked_for_are_taken_for_the_newest_only_where_they_are():
    assert found(read(lambda _since, _limit: [row(10), row(11)], 50, 60, now=12)) == []
    with pytest.raises(ProviderUnavailable, match="another time"):
        read(lambda _since, _limit: [row(10), row(11)], 50, 60, now=5000)


# ------------------------------------------------------------------------------------------ minutes


def candle(close: float) -> Candle:
    return Candle(1.0, 9.0, 0.5, close, 10.0)


def closes(given_out: Any) -> list[tuple[int, float]]:
    return [(time_ms // M, bar.close) for _, bars in given_out for time_ms, bar in bars.items()]


def test_a_minute_is_given_out_when_a_later_one_appears():
    minutes = OpenMinutes(settle_ms=2000)
    assert closes(minutes.take(BTC, {0: candle(1.0)})) == []
    assert closes(minutes.take(BTC, {0: candle(2.0)})) == []
    assert closes(minutes.take(BTC, {M: candle(5.0)})) == [(0, 2.0)]


def test_a_minute_is_given_out_once_it_has_been_over_for_long_enough():
    minutes = OpenMinutes(settle_ms=2000)
    minutes.take(BTC, {0: candle(2.0)})
    assert minutes.next_settling_ms() == 62_000
    assert closes(minutes.settle(61_999)) == []
    assert closes(minutes.settle(62_000)) == [(0, 2.0)]
    assert minutes.next_settling_ms() is None


def test_a_minute_that_changes_after_it_was_given_out_is_given_out_again_and_one_that_does_not_is_not():
    minutes = OpenMinutes(settle_ms=2000)
    minutes.take(BTC, {0: candle(2.0), M: candle(3.0)})
    assert closes(minutes.take(BTC, {0: candle(2.0), M: candle(3.5)})) == []
    assert closes(minutes.take(BTC, {0: candle(2.25)})) == [(0, 2.25)]
    assert closes(minutes.take(BTC, {0: candle(2.25)})) == []


def trade(time_ms: int, price: str, quantity: str = "1", trade_id: str | None = None) -> Trade:
    return Trade(time_ms=time_ms, price=Decimal(price), quantity=Decimal(quantity), id=trade_id)


def test_a_candle_of_trades_is_exact_where_binary_sums_are_not():
    minute = TradedMinute()
    for number in range(10):
        minute.take(trade(number, "100.1", "0.1", str(number)))
    made = minute.candle()
    assert made is not None
    assert (made.volume, made.vwap, made.n_trades) == (1.0, 100.1, 10.0)


def test_trades_of_one_millisecond_stand_in_the_order_of_their_ids():
    minute = TradedMinute()
    for trade_id, price in (("10", "3"), ("9", "2"), ("11", "4")):
        minute.take(trade(500, price, trade_id=trade_id))
    made = minute.candle()
    assert made is not None
    assert (made.open, made.high, made.low, made.close) == (2.0, 4.0, 2.0, 4.0)


@given(order=st.permutations(range(12)), again=st.lists(st.integers(0, 11), max_size=5))
def test_the_order_of_trades_and_their_repetition_change_nothing(order, again):
    prices = [101, 99, 105, 98, 100, 107, 103, 96, 104, 102, 95, 100]
    made = []
    for sequence in (range(12), [*order, *again]):
        minute = TradedMinute()
        for number in sequence:
            minute.take(trade(number * 1000, str(prices[number]), "0.3", str(number)))
        made.append(minute.candle())
    assert made[0] == made[1]


def test_the_minute_in_which_trades_began_to_come_is_left_out():
    traded = TradedMinutes(OpenMinutes(settle_ms=2000))
    assert traded.take(BTC, [trade(10_000, "1", trade_id="a")]) == []  # nothing was promised yet
    traded.begin(BTC, 30_000)
    out = traded.take(BTC, [trade(40_000, "1", trade_id="b"), trade(M, "2", trade_id="c")])
    out += traded.take(BTC, [trade(2 * M, "3", trade_id="d")])
    assert closes(out) == [(1, 2.0)]


def test_a_trade_that_comes_late_corrects_its_minute_and_one_that_comes_twice_does_not():
    traded = TradedMinutes(OpenMinutes(settle_ms=2000))
    traded.begin(BTC, 0)
    assert closes(traded.take(BTC, [trade(M, "2", "1", "1"), trade(2 * M, "3", "1", "2")])) == [(1, 2.0)]
    out = traded.take(BTC, [trade(M + 500, "2.5", "4", "3")])
    assert closes(out) == [(1, 2.5)]
    assert out[0][1][M].volume == 5.0
    assert traded.take(BTC, [trade(M + 500, "2.5", "4", "3")]) == []


def test_trades_of_minutes_that_nobody_remembers_are_counted():
    traded = TradedMinutes(OpenMinutes(settle_ms=2000))
    traded.begin(BTC, 0)
    traded.take(BTC, [trade(M, "2", "1", "1"), trade(200 * M, "3", "1", "2")])
    assert traded.take(BTC, [trade(M + 1, "2", "1", "3")]) == []
    assert traded.late == 1


# ------------------------------------------------------------------------------------------ markets


def market(symbol: str, **more: Any) -> dict[str, Any]:
    return {
        "id": symbol.lower(),
        "symbol": symbol,
        "spot": True,
        "swap": False,
        "precision": {"price": 0.1, "amount": 1e-08},
        "limits": {"amount": {"min": 5e-05}, "cost": {"min": None}},
        "taker": 0.0026,
        "maker": 0.0016,
    } | more


def test_numbers_of_markets_are_exact_though_ccxt_has_them_as_floats():
    (info,), _ = market_infos({"BTC/USD": market("BTC/USD")}, TICK_SIZE, {})
    assert (info.tick, info.lot) == (Decimal("0.1"), Decimal("0.00000001"))
    assert (info.quantity_min, info.notional_min) == (Decimal("0.00005"), None)
    assert (info.taker_fee, info.maker_fee) == (Decimal("0.0026"), Decimal("0.0016"))
    assert info.active


def test_places_after_the_point_become_steps():
    places = {"price": 2, "amount": 0}
    (info,), _ = market_infos({"BTC/USD": market("BTC/USD", precision=places)}, DECIMAL_PLACES, {})
    assert (info.tick, info.lot) == (Decimal("0.01"), Decimal(1))


def test_the_turnover_of_a_day_is_taken_or_computed():
    markets = {"BTC/USD": market("BTC/USD"), "ETH/USD": market("ETH/USD"), "X/USD": market("X/USD")}
    tickers = {
        "BTC/USD": {"quoteVolume": 12.5},
        "ETH/USD": {"baseVolume": 3, "vwap": 2.5},
        "X/USD": {"baseVolume": 3},
    }
    infos, _ = market_infos(markets, TICK_SIZE, tickers)
    assert [(info.symbol.base, info.volume_quote) for info in infos] == [
        ("BTC", 12.5),
        ("ETH", 7.5),
        ("X", None),
    ]


def test_markets_that_no_symbol_of_ours_can_name_are_left_out_and_counted():
    markets = {
        "BTC/USDT:USDT": market("BTC/USDT:USDT", spot=False, swap=True, linear=True, contractSize=1),
        "BTC/USD:BTC": market("BTC/USD:BTC", spot=False, swap=True, linear=False, contractSize=100),
        "ETH/USDT:USDT": market("ETH/USDT:USDT", spot=False, swap=True, linear=True, contractSize=0.01),
        "$A/USD": market("$A/USD"),
        "B-C/USD": market("B-C/USD"),
        "BTC/USD-261225": market("BTC/USD-261225", spot=False, future=True),
    }
    infos, left_out = market_infos(markets, TICK_SIZE, {})
    assert [str(info.symbol) for info in infos] == ["BTC/USDT:USDT"]
    assert left_out == {
        "contracts that are settled in the coin": 1,
        "contracts of more or less than one coin": 1,
        "codes that are no coin codes": 2,
        "options and contracts that expire": 1,
    }
