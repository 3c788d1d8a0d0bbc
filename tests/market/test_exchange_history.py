"""Past bars and markets of four exchanges, each from a local server that speaks its wire format."""

import dataclasses
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from crypto_tracker.config.market_data import Exchange
from crypto_tracker.core.errors import (
    CryptoTrackerError,
    ProviderRefused,
    ProviderUnavailable,
    UnknownToProvider,
    UsageError,
)
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, Timeframe
from crypto_tracker.market.providers.exchange.provider import open_exchange
from crypto_tracker.market.recording.recorder import Recorder
from crypto_tracker.market.recording.replay import Replay
from tests.market.exchanges import (
    BTC,
    COLLECTOR,
    FETCHING,
    NOON,
    Clock,
    at,
    expected,
    fetched,
    opened,
    rows,
    run,
)
from tests.servers.binance import BinanceServer
from tests.servers.coinbase import CoinbaseServer
from tests.servers.exchange import Bar, Deal, ExchangeServer, Fault, coarser, minutes
from tests.servers.kraken import KrakenServer
from tests.servers.kucoin import KucoinServer

SERVERS: dict[str, Callable[..., ExchangeServer]] = {
    "kraken": KrakenServer,
    "kucoin": KucoinServer,
    "coinbase": CoinbaseServer,
    "binance": BinanceServer,
}
CANDLES = {"kraken": "/OHLC", "kucoin": "/market/candles", "coinbase": "/candles", "binance": "/klines"}
each_exchange = pytest.mark.parametrize("name", SERVERS)
NOW = at(700) + 30_000


@pytest.fixture(scope="module", autouse=True)
def ccxt_is_loaded() -> None:
    """Which takes seconds, that no deadline of a test is to be charged with."""
    importlib.import_module("ccxt.async_support")


# ---------------------------------------------------------------------------------- candles and pages


@each_exchange
@pytest.mark.parametrize("timeframe", [Timeframe.M1, Timeframe.M15, Timeframe.H1, Timeframe.D1])
def test_bars_of_each_timeframe_come_as_the_exchange_has_them_and_never_an_open_one(name, timeframe):
    market = minutes(NOON - 2 * DAY_MS + 12 * HOUR_MS, 3 * 1440, without=range(3000, 3003))
    clock = Clock(NOON + HOUR_MS + 30_000)
    end = timeframe.floor(clock.ms) + timeframe.ms
    start = max(timeframe.floor(market[0].time_ms), end - 700 * timeframe.ms)
    with SERVERS[name]({"BTC/USD": market}, now_ms=clock).running() as server:
        answer = fetched(server, clock, start, end, timeframe=timeframe)
    bars = [
        bar
        for bar in coarser(market, timeframe.ms)
        if start <= bar.time_ms and bar.time_ms + timeframe.ms <= clock.ms
    ]
    assert rows(answer.bars) == expected(bars)
    assert answer.covered == ((start, timeframe.floor(clock.ms)),)
    assert answer.lacking == ()


@pytest.mark.parametrize(("name", "pages"), [("kucoin", 2), ("coinbase", 8), ("binance", 2)])
def test_a_long_stretch_takes_as_many_requests_as_the_pages_of_the_exchange_are_long(name, pages):
    market = minutes(at(0), 2000, without=range(1000, 1400))
    clock = Clock(at(2010))
    with SERVERS[name]({"BTC/USD": market}, now_ms=clock).running() as server:
        answer = fetched(server, clock, at(0), at(2000))
        asked = server.asked(CANDLES[name])
    assert rows(answer.bars) == expected(market)
    assert answer.covered == ((at(0), at(2000)),)
    # The pages stand on the grid of the first; a hole of 400 minutes is no end.
    assert answer.requests == len(asked) <= pages


@pytest.mark.parametrize("name", ["kucoin", "coinbase", "binance"])
def test_what_lies_before_the_first_bar_of_a_symbol_is_lacking_and_a_hole_after_it_is_not(name):
    market = minutes(at(100), 600, without=range(100, 200))
    clock = Clock(NOW)
    with SERVERS[name]({"BTC/USD": market}, now_ms=clock).running() as server:
        listed = fetched(server, clock, at(0), at(400))
        never = fetched(server, clock, at(0), at(50))
        hole = fetched(server, clock, at(210), at(290))
    assert [(lack.start_ms, lack.end_ms) for lack in listed.lacking] == [(at(0), at(100))]
    assert "was not traded" in listed.lacking[0].reason
    assert listed.covered == ((at(100), at(400)),)
    assert len(listed.bars) == 200
    assert len(never.bars) == 0
    assert (hole.covered, hole.lacking) == (((at(210), at(290)),), ())


def test_krakens_hours_begin_with_the_first_one_and_its_newest_minutes_were_not_traded():
    market = minutes(at(100) - 2 * DAY_MS, 60) + minutes(at(100), 600)
    clock = Clock(NOW)
    with KrakenServer({"BTC/USD": market}, now_ms=clock).running() as server:
        hours = fetched(server, clock, at(0) - 3 * DAY_MS, at(600), timeframe=Timeframe.H1)
        minutes_of_now = fetched(server, clock, at(0), at(600))
    begin = at(60) - 2 * DAY_MS
    assert [(lack.start_ms, lack.end_ms) for lack in hours.lacking] == [(at(0) - 3 * DAY_MS, begin)]
    assert hours.covered == ((begin, at(600)),)
    assert (minutes_of_now.covered, minutes_of_now.lacking) == (((at(0), at(600)),), ())


def test_the_first_day_of_a_symbol_is_looked_for_once():
    market = minutes(at(100), 600)
    clock = Clock(NOW)

    async def twice(server: ExchangeServer) -> list[int]:
        provider = opened(server, clock)
        try:
            return [
                (await provider.history.fetch(BTC, Timeframe.M1, at(0), at(200))).requests for _ in range(2)
            ]
        finally:
            await provider.close()

    with KucoinServer({"BTC/USD": market}, now_ms=clock).running() as server:
        first, second = run(twice(server))
    assert first > second == 1


def test_a_bar_that_closed_this_moment_and_is_not_there_yet_is_not_taken_for_a_minute_without_trades():
    market = minutes(at(0), 99)
    clock = Clock(at(100) + 500)
    with BinanceServer({"BTC/USD": market}, now_ms=clock).running() as server:
        early = fetched(server, clock, at(90), at(100))
        clock.ms = at(100) + 14_999  # of 15 s in which a stream may still bring one
        settled = fetched(server, clock, at(90), at(100))
        clock.ms = at(100) + 15_000
        later = fetched(server, clock, at(90), at(100))
    assert early.covered == settled.covered == ((at(90), at(99)),)
    assert later.covered == ((at(90), at(100)),)


def test_a_bar_counts_at_once_and_proves_nothing_of_the_minute_before_it():
    market = minutes(at(0), 100, without=range(98, 99))
    clock = Clock(at(100) + 2_500)
    slow = COLLECTOR.model_copy(update={"quiet_seconds": 90.0})
    with BinanceServer({"BTC/USD": market}, now_ms=clock).running() as server:
        early = fetched(server, clock, at(90), at(100), collector=slow)
        clock.ms = at(100) + 30_000
        later = fetched(server, clock, at(90), at(100), collector=slow)
    assert early.covered == ((at(90), at(98)), (at(99), at(100)))
    assert later.covered == ((at(90), at(100)),)


def test_behind_the_newest_candle_of_an_exchange_that_fills_silence_nothing_is_known():
    clock = Clock(at(110))
    with KrakenServer({"BTC/USD": minutes(at(0), 99)}, now_ms=clock).running() as server:
        answer = fetched(server, clock, at(90), at(105))
        nothing = fetched(server, clock, at(100), at(105))
    assert answer.covered == ((at(90), at(99)),)
    assert (nothing.covered, nothing.lacking) == ((), ())


def test_average_prices_trades_and_raw_rows_come_along_where_the_exchange_has_them():
    clock = Clock(NOW)
    with KrakenServer({"BTC/USD": minutes(at(0), 701)}, now_ms=clock).running() as server:
        answer = fetched(server, clock, at(10), at(20))
    assert answer.bars.n_trades is not None
    assert answer.bars.n_trades.tolist() == [float(1 + minute % 9) for minute in range(10, 20)]
    assert answer.bars.vwap is not None
    assert answer.raw is not None
    assert answer.raw(3)["row"][:3] == [at(13) // 1000, "106.0", "111.0"]


def test_candles_that_kraken_writes_for_minutes_without_trades_are_no_bars():
    market = [
        dataclasses.replace(bar, n_trades=0, volume=0.0) if bar.time_ms in {at(5), at(6)} else bar
        for bar in minutes(at(0), 60)
    ]
    clock = Clock(at(60))
    with KrakenServer({"BTC/USD": market}, now_ms=clock).running() as server:
        answer = fetched(server, clock, at(5), at(20))
    assert rows(answer.bars) == expected(market[7:20])
    assert (answer.covered, answer.lacking) == (((at(5), at(20)),), ())


# ------------------------------------------------------------------------------------------ reach


def test_kraken_says_how_far_back_it_goes_why_and_what_helps():
    clock = Clock(NOW)
    with KrakenServer({"BTC/USD": minutes(at(0), 10)}, now_ms=clock).running() as server:
        plain = opened(server, clock).history.reach(Timeframe.M1, clock.ms)
        hours = opened(server, clock).history.reach(Timeframe.H1, clock.ms)
        of_trades = opened(server, clock, trades_hours=24.0).history.reach(Timeframe.M1, clock.ms)
    assert (plain.page_bars, plain.oldest_ms) == (720, at(700) - 719 * 60_000)
    assert hours.oldest_ms == Timeframe.H1.floor(NOW) - 719 * HOUR_MS
    assert "720 bars of each timeframe" in plain.why_oldest
    assert "OHLCVT" in plain.why_oldest
    assert "market_data.history" in plain.why_oldest
    assert of_trades.oldest_ms == at(700) - 24 * HOUR_MS
    assert "made of its trades for 24 h" in of_trades.why_oldest


@pytest.mark.parametrize(("name", "page"), [("kucoin", 1500), ("coinbase", 300), ("binance", 1000)])
def test_other_exchanges_have_pages_of_their_own_and_no_end(name, page):
    clock = Clock(NOW)
    with SERVERS[name]({"BTC/USD": minutes(at(0), 10)}, now_ms=clock).running() as server:
        reach = opened(server, clock).history.reach(Timeframe.M1, clock.ms)
    assert (reach.page_bars, reach.oldest_ms) == (page, None)


def test_what_has_fallen_out_of_krakens_reach_while_it_waited_is_lacking():
    clock = Clock(at(2000))
    with KrakenServer({"BTC/USD": minutes(at(0), 2000)}, now_ms=clock).running() as server:
        answer = fetched(server, clock, at(1270), at(1990))
    assert answer.lacking[0].start_ms == at(1270)
    assert answer.lacking[0].end_ms == answer.covered[0][0] == answer.bars.open_time_ms[0]
    assert "720" in answer.lacking[0].reason


# ----------------------------------------------------------------------------------- made of trades


def deals_of(start: int, count: int, *, every_ms: int = 7_000, without: range = range(0)) -> list[Deal]:
    """Trades that stand on no minute, with sums that binary numbers get wrong."""
    return [
        Deal(
            time_ms=time_ms,
            price=f"{100 + number % 13 * 0.1:.5f}",
            quantity=f"{0.1 + number % 7 * 0.01:.8f}",
            id=1000 + number,
        )
        for number in range(count)
        if ((time_ms := start + number * every_ms + 137) - NOON) // 60_000 not in without
    ]


def candles_of(deals: list[Deal]) -> list[Bar]:
    """The slow and obvious way."""
    groups: dict[int, list[Deal]] = {}
    for deal in deals:
        groups.setdefault(deal.time_ms // 60_000 * 60_000, []).append(deal)
    return [
        Bar(
            time_ms,
            float(group[0].price),
            max(float(deal.price) for deal in group),
            min(float(deal.price) for deal in group),
            float(group[-1].price),
            float(sum(Decimal(deal.quantity) for deal in group)),
            len(group),
        )
        for time_ms, group in sorted(groups.items())
    ]


def test_minutes_older_than_krakens_candles_are_made_of_its_trades_and_are_the_same():
    deals = deals_of(at(-120), 24_000, without=range(30, 33))
    market = candles_of(deals)
    clock = Clock(at(1000) + 20_000)
    with KrakenServer({"BTC/USD": market}, now_ms=clock, deals={"BTC/USD": deals}).running() as server:
        answer = fetched(server, clock, at(0), at(999), trades_hours=24.0)
        refused = fetched(server, clock, at(0), at(999))
    assert answer.covered == ((at(0), at(999)),)
    assert answer.lacking == ()
    assert rows(answer.bars) == expected([bar for bar in market if at(0) <= bar.time_ms < at(999)])
    assert answer.bars.n_trades is not None
    assert answer.bars.n_trades.tolist() == [bar.n_trades for bar in market if at(0) <= bar.time_ms < at(999)]
    assert answer.raw is not None
    assert answer.raw(0) == {"made_of_trades": 9}
    assert "row" in answer.raw(900)
    assert refused.lacking[0].start_ms == at(0)


def test_candles_of_trades_equal_krakens_own_where_both_are():
    deals = deals_of(at(0), 6_000)
    clock = Clock(at(690))
    with KrakenServer(
        {"BTC/USD": candles_of(deals)}, now_ms=clock, deals={"BTC/USD": deals}
    ).running() as server:

        async def both() -> tuple[Any, Any]:
            provider = opened(server, clock)
            try:
                own = await provider.history.fetch(BTC, Timeframe.M1, at(10), at(600))
                made = await provider.history._of_trades(BTC, at(10), at(600))
                return own, made
            finally:
                await provider.close()

        own, made = run(both())
    assert rows(own.bars) == rows(made.bars)
    assert own.covered == made.covered == ((at(10), at(600)),)


def test_a_minute_without_a_trade_before_it_or_after_it_is_not_taken_for_whole():
    deals = deals_of(at(5), 600)  # from 12:05 to 13:15
    clock = Clock(at(1000))
    with KrakenServer(
        {"BTC/USD": candles_of(deals)}, now_ms=clock, deals={"BTC/USD": deals}
    ).running() as server:
        answer = fetched(server, clock, at(0), at(120), trades_hours=24.0)
    assert answer.covered == ((at(6), at(74)),)
    assert rows(answer.bars) == expected(candles_of(deals)[1:69])


# ------------------------------------------------------------------------------------------ faults


@each_exchange
@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, body='{"error": ["EAPI:Rate limit exceeded"]}', headers={"Retry-After": "0"}),
        Fault(status=502, body="<html>Bad Gateway</html>"),
        Fault(status=503, body=""),
        Fault(cut=True),
        Fault(disconnect=True),
        Fault(slow_seconds=3_600.0),
        Fault(body="<html>We are under maintenance</html>"),
        Fault(body="{}"),
        Fault(body="null"),
    ],
    ids=["429", "502", "503", "truncated", "disconnect", "slow", "maintenance", "empty", "null"],
)
def test_what_goes_wrong_once_is_tried_again_and_costs_no_bar(name, fault):
    market = minutes(at(0), 200)
    clock = Clock(at(200))
    fault = dataclasses.replace(fault, path=CANDLES[name])
    impatient = FETCHING.model_copy(update={"timeout_seconds": 1.0, "attempts": 20})
    fetching = impatient if fault.slow_seconds else FETCHING
    with SERVERS[name]({"BTC/USD": market}, now_ms=clock, faults=[fault]).running() as server:
        answer = fetched(server, clock, at(0), at(190), fetching=fetching)
        assert server.faults == []
        asked = len(server.asked(CANDLES[name]))
    assert asked == 2 or (asked > 2 and fault.slow_seconds)  # on a machine that stands still it asks again
    assert rows(answer.bars) == expected(market[:190])
    assert answer.covered == ((at(0), at(190)),)


@each_exchange
def test_what_goes_wrong_for_good_is_said_in_one_sentence(name):
    clock = Clock(NOW)
    faults = [Fault(path=CANDLES[name], status=502, body="<html>no</html>") for _ in range(3)]
    said = pytest.raises(ProviderUnavailable, match=f"{name}.* all 3 attempts failed.*try again later")
    market = {"BTC/USD": minutes(at(0), 10)}
    with SERVERS[name](market, now_ms=clock, faults=faults).running() as server, said:
        fetched(server, clock, at(0), at(5))


@each_exchange
def test_a_symbol_that_the_exchange_does_not_have_is_unknown_to_it(name):
    clock = Clock(NOW)
    said = pytest.raises(UnknownToProvider, match=f"{name} does not trade NOPE/USD")
    with SERVERS[name]({"BTC/USD": minutes(at(0), 10)}, now_ms=clock).running() as server, said:
        fetched(server, clock, at(0), at(5), symbol=Symbol("NOPE", "USD"))


def test_a_symbol_that_was_delisted_since_is_unknown_too():
    clock = Clock(NOW)
    fault = Fault(path="/OHLC", body='{"error": ["EQuery:Unknown asset pair"]}')
    said = pytest.raises(UnknownToProvider, match="BTC/USD")
    market = {"BTC/USD": minutes(at(0), 10)}
    with KrakenServer(market, now_ms=clock, faults=[fault]).running() as server, said:
        fetched(server, clock, at(0), at(5))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kraken", '{"error": ["EAPI:Invalid key"]}'),
        ("kucoin", '{"code": "400003", "msg": "KC-API-KEY not exists"}'),
        ("binance", '{"code": -2014, "msg": "API-key format invalid."}'),
        ("coinbase", '{"errors": [{"id": "authentication_error", "message": "invalid auth"}]}'),
    ],
)
def test_a_refusal_is_not_tried_again(name, said):
    clock = Clock(NOW)
    fault = Fault(path=CANDLES[name], status=401, body=said)
    with SERVERS[name]({"BTC/USD": minutes(at(0), 10)}, now_ms=clock, faults=[fault]).running() as server:
        with pytest.raises(ProviderRefused, match=f"{name} refuses access"):
            fetched(server, clock, at(0), at(5))
        assert len(server.asked(CANDLES[name])) == 1


def test_maintenance_passes_when_it_is_over():
    clock = Clock(at(60))
    fault = Fault(path="/OHLC", body='{"error": ["EService:Unavailable"]}')
    with KrakenServer({"BTC/USD": minutes(at(0), 60)}, now_ms=clock, faults=[fault]).running() as server:
        assert len(fetched(server, clock, at(0), at(50)).bars) == 50


def test_an_exchange_that_asks_for_a_pause_is_given_it():
    clock = Clock(at(60))
    fault = Fault(path="/OHLC", status=429, body="slow down", headers={"Retry-After": "1"})
    with KrakenServer({"BTC/USD": minutes(at(0), 60)}, now_ms=clock, faults=[fault]).running() as server:
        began = time.monotonic()
        patient = FETCHING.model_copy(update={"wait_max_seconds": 1.0})
        assert len(fetched(server, clock, at(0), at(50), fetching=patient).bars) == 50
        assert time.monotonic() - began >= 1.0


def test_an_exchange_that_asks_for_a_long_pause_is_left_alone_at_once():
    clock = Clock(at(60))
    fault = Fault(path="/OHLC", status=429, body="slow down", headers={"Retry-After": "86400"})
    with KrakenServer({"BTC/USD": minutes(at(0), 60)}, now_ms=clock, faults=[fault]).running() as server:
        with pytest.raises(ProviderUnavailable, match="kraken is left alone for another 900 s") as error:
            fetched(server, clock, at(0), at(50))
        assert len(server.asked("/OHLC")) == 1
    assert "wants to be left alone for 86400 s, and is asked again after 15 minutes" in str(error.value)


def test_rows_that_come_twice_or_in_any_order_are_one_bar_each_in_the_order_of_time():
    def shuffled(document: Any) -> Any:
        bars = document["data"]
        return document | {"data": [*bars[5:], *bars[:9], bars[3]]}

    market = minutes(at(0), 60)
    clock = Clock(at(60))
    fault = Fault(path="/market/candles", edit=shuffled)
    with KucoinServer({"BTC/USD": market}, now_ms=clock, faults=[fault]).running() as server:
        assert rows(fetched(server, clock, at(0), at(50)).bars) == expected(market[:50])


def test_an_answer_about_another_symbol_is_not_taken_for_minutes_without_trades():
    def other(document: Any) -> Any:
        return {"error": [], "result": {"ETHUSD": document["result"]["BTCUSD"], "last": 1}}

    market = minutes(at(0), 60)
    clock = Clock(at(60))
    fault = Fault(path="/OHLC", edit=other)
    with KrakenServer({"BTC/USD": market}, now_ms=clock, faults=[fault]).running() as server:
        assert len(fetched(server, clock, at(0), at(50)).bars) == 50
        assert len(server.asked("/OHLC")) == 2


def test_an_exchange_that_goes_on_failing_is_left_alone():
    clock = Clock(NOW)
    fetching = FETCHING.model_copy(update={"attempts": 1, "breaker_failures": 2})
    faults = [Fault(path="/OHLC", status=502) for _ in range(9)]
    with KrakenServer({"BTC/USD": minutes(at(0), 10)}, now_ms=clock, faults=faults).running() as server:

        async def work() -> list[str]:
            provider = opened(server, clock, fetching=fetching)
            said = []
            for _ in range(4):
                with pytest.raises(ProviderUnavailable) as error:
                    await provider.history.fetch(BTC, Timeframe.M1, at(0), at(5))
                said.append(str(error.value))
            await provider.close()
            return said

        said = run(work())
        assert len(server.asked("/OHLC")) == 2
    assert "kraken is left alone" in said[3]


# ----------------------------------------------------------------------------------------- markets


def markets_of(server: ExchangeServer, clock: Clock) -> Any:
    async def work() -> Any:
        provider = opened(server, clock)
        try:
            return await provider.history.markets(), dict(provider.history.left_out)
        finally:
            await provider.close()

    return run(work())


@pytest.mark.parametrize(
    ("name", "tick", "lot", "least", "taker", "maker"),
    [
        ("kraken", "0.1", "0.00000001", "0.00005", "0.004", "0.0025"),
        ("kucoin", "0.1", "0.00000001", "0.00001", "0.001", "0.0005"),
        ("coinbase", "0.01", "0.00000001", "0.00000001", "0.012", "0.006"),
        ("binance", "0.01", "0.00001", "0.00001", "0.001", "0.001"),
    ],
)
def test_markets_come_with_their_rules_their_fees_and_the_turnover_of_a_day(
    name, tick, lot, least, taker, maker
):
    clock = Clock(NOW)
    with SERVERS[name](
        {"BTC/USD": minutes(at(0), 10), "A_B/USD": minutes(at(0), 1)}, now_ms=clock
    ).running() as server:
        infos, left_out = markets_of(server, clock)
    by_symbol = {str(info.symbol): info for info in infos}
    info = by_symbol["BTC/USD"]
    assert (info.tick, info.lot, info.quantity_min) == (Decimal(tick), Decimal(lot), Decimal(least))
    assert (info.taker_fee, info.maker_fee) == (Decimal(taker), Decimal(maker))
    assert info.volume_quote == pytest.approx(30_000, rel=1e-4)
    assert info.active
    assert "A_B/USD" not in by_symbol
    assert sum(left_out.values()) + len(infos) == 2 or name in {"kucoin", "coinbase"}


def test_perpetuals_have_symbols_of_their_own_and_bars_too():
    clock = Clock(NOW)
    market = {"BTC/USDT": minutes(at(0), 10), "BTC/USDT:USDT": minutes(at(0), 10, price=200.0)}
    with BinanceServer(market, now_ms=clock).running() as server:
        infos, _ = markets_of(server, clock)
        answer = fetched(server, clock, at(0), at(10), symbol=Symbol("BTC", "USDT", "USDT"))
    assert [str(info.symbol) for info in infos] == ["BTC/USDT", "BTC/USDT:USDT"]
    assert rows(answer.bars) == expected(market["BTC/USDT:USDT"])


def test_a_market_that_is_closed_is_not_active():
    clock = Clock(NOW)
    with KucoinServer({"BTC/USD": minutes(at(0), 10)}, now_ms=clock).running() as server:
        server.refusing.add("BTC/USD")
        infos, _ = markets_of(server, clock)
    assert [info.active for info in infos] == [False]


# ------------------------------------------------------------------------- opening, and ccxt itself


def open_named(name: str, settings: str = "{}") -> Any:
    return open_exchange(name, Exchange(settings=settings), FETCHING, COLLECTOR, now_ms=Clock(NOW))


def test_a_name_that_ccxt_does_not_have_is_refused_with_those_near_it():
    with pytest.raises(UsageError, match="no exchange 'krakn': did you mean kraken"):
        open_named("krakn")


def test_settings_that_ccxt_does_not_understand_are_refused():
    provider = open_named("kraken", json.dumps({"urls": "nonsense"}))

    async def work() -> None:
        try:
            await provider.history.fetch(BTC, Timeframe.M1, at(0), at(1))
        finally:
            await provider.close()

    with pytest.raises(CryptoTrackerError, match="kraken"):
        run(work())


def test_without_ccxt_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ccxt", None)
    with pytest.raises(UsageError, match=r'pip install "crypto-tracker\[exchange\]"'):
        open_named("kraken")


def test_help_and_the_rooms_below_load_no_ccxt():
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "import crypto_tracker.app.cli.main as main\n"
        "import crypto_tracker.market.providers.exchange.provider\n"
        "try:\n"
        "    main.main(['--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'ccxt'], 'ccxt is loaded'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_a_recorded_fetch_plays_again_with_its_failures_and_without_the_exchange(tmp_path: Path):
    market = minutes(at(0), 200)
    clock = Clock(at(200))
    faults = [Fault(path="/OHLC", status=502), Fault(path="/OHLC", cut=True)]
    path = tmp_path / "session.jsonl.zst"
    with KrakenServer({"BTC/USD": market}, now_ms=clock, faults=faults).running() as server:
        with Recorder(path, provider="kraken", now_ns=lambda: clock.ms * 1_000_000) as recorder:
            live = fetched(server, clock, at(0), at(190), recorder=recorder)
        n_requests = len(server.requests)
        replayed = fetched(server, clock, at(0), at(190), replay=Replay(path))
        assert len(server.requests) == n_requests
    assert rows(live.bars) == rows(replayed.bars) == expected(market[:190])
    assert live.covered == replayed.covered


# ------------------------------------------------------------------------------------------ clocks


@each_exchange
def test_a_candle_that_is_open_by_the_clock_of_the_exchange_is_left_out_and_unknown(name):
    theirs = Clock(at(5) + 55_000)
    with SERVERS[name]({"BTC/USD": minutes(at(0), 10)}, now_ms=theirs).running() as server:
        answer = fetched(server, lambda: theirs.ms + 10_000, at(1), at(6))
    assert rows(answer.bars) == expected(minutes(at(0), 10)[1:5])
    assert answer.covered == ((at(1), at(5)),)


@each_exchange
def test_a_minute_without_trades_is_one_only_once_it_is_over_by_the_clock_of_the_exchange(name):
    theirs = Clock(at(5) + 55_000)
    with SERVERS[name]({"BTC/USD": minutes(at(0), 5)}, now_ms=theirs).running() as server:
        assert fetched(server, lambda: theirs.ms + 10_000, at(1), at(6)).covered == ((at(1), at(5)),)
        theirs.ms = at(6) + 14_000
        assert fetched(server, lambda: theirs.ms + 10_000, at(1), at(6)).covered == ((at(1), at(5)),)
        theirs.ms = at(6) + 17_000
        known = at(5) if name == "kraken" else at(6)  # which would have written a candle
        assert fetched(server, lambda: theirs.ms + 10_000, at(1), at(6)).covered == ((at(1), known),)
