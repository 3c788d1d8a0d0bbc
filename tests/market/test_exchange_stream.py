"""Minutes as they close, streamed by four local exchanges over ccxt's websocket clients."""

import asyncio
import dataclasses
import gc
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from crypto_tracker.config.market_data import Exchange
from crypto_tracker.core.errors import UnknownToProvider, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.providers.base import Alive, Lost, Subscribed, Trouble
from crypto_tracker.market.providers.exchange.provider import open_exchange
from crypto_tracker.market.recording.recorder import Recorder
from crypto_tracker.market.recording.replay import Replay
from tests.market.exchanges import (
    BTC,
    COLLECTOR,
    FETCHING,
    Clock,
    at,
    brief,
    expected,
    opened,
    run,
    watched,
)
from tests.servers.binance import BinanceServer
from tests.servers.coinbase import CoinbaseServer
from tests.servers.exchange import Bar, Deal, ExchangeServer, Fault, eventually, minutes
from tests.servers.kraken import KrakenServer, iso, ohlc_row
from tests.servers.kucoin import KucoinServer

ETH = Symbol("ETH", "USD")
OF_CANDLES: dict[str, type[Any]] = {"kraken": KrakenServer, "kucoin": KucoinServer, "binance": BinanceServer}
ALL: dict[str, type[Any]] = OF_CANDLES | {"coinbase": CoinbaseServer}
each_of_candles = pytest.mark.parametrize("name", OF_CANDLES)
each_exchange = pytest.mark.parametrize("name", ALL)
MARKET = {"BTC/USD": minutes(at(-10), 20), "ETH/USD": minutes(at(-10), 20, price=10.0)}
NEXT = minutes(at(0), 5)


@pytest.fixture(scope="module", autouse=True)
def ccxt_is_loaded() -> None:
    """Which takes seconds, that no deadline of a test is to be charged with."""
    importlib.import_module("ccxt.pro")


def bars(seen: list[Any]) -> list[Any]:
    return [event for event in seen if isinstance(event, tuple)]


def without_proofs(events: list[Any]) -> list[Any]:
    return [event for event in events if not isinstance(event, Alive)]


def rows_of(seen: list[Any]) -> list[Any]:
    return [row for _, rows in bars(seen) for row in rows]


def of_kind(seen: list[Any], kind: type[Any]) -> list[Any]:
    return [event for event in seen if isinstance(event, kind)]


def served(name: str, clock: Clock) -> Any:
    return ALL[name](MARKET, now_ms=clock).running()


def changed(bar: Bar, close: float) -> Bar:
    return dataclasses.replace(bar, close=close)


def deal(minute: float, price: str, number: int, quantity: str = "1") -> Deal:
    return Deal(at(0) + int(minute * 60_000), price, quantity, number)


# ---------------------------------------------------------------------------------------- candles


@each_of_candles
def test_a_candle_is_given_out_when_the_next_one_appears_and_again_when_it_changes(name):
    clock = Clock(at(0) + 10_000)

    async def work(server: Any) -> list[Any]:
        async with watched(opened(server, clock), BTC, ETH) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            for close in (101.0, 102.0):
                server.push_bars("BTC/USD", changed(NEXT[0], close))
            server.push_bars("BTC/USD", NEXT[1])
            await stream.until(lambda seen: len(bars(seen)) == 1)
            server.push_bars("BTC/USD", changed(NEXT[0], 103.0), NEXT[2])
            return list(await stream.until(lambda seen: len(rows_of(seen)) == 3))

    with served(name, clock) as server:
        seen = run(work(server))
    assert seen[0] == Subscribed(symbols=(BTC, ETH))
    assert rows_of(seen) == expected([changed(NEXT[0], 102.0), changed(NEXT[0], 103.0), NEXT[1]])


@each_of_candles
def test_a_candle_is_given_out_without_a_next_one_once_the_exchange_was_alive_after_it_settled(name):
    clock = Clock(at(0) + 10_000)

    async def work(server: Any) -> tuple[list[Any], list[int]]:
        async with watched(opened(server, clock), BTC, ETH) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            server.push_bars("BTC/USD", NEXT[0])
            server.push_bars("ETH/USD", NEXT[0])
            clock.ms = at(1) + 1_999
            server.push_bars("ETH/USD", changed(NEXT[0], 104.0))
            await eventually(lambda: at(1) + 1_999 in stream.alive)()
            assert bars(stream.seen) == []
            clock.ms = at(1) + 2_000
            await stream.until(lambda seen: len(bars(seen)) == 2)
            await eventually(lambda: at(1) + 2_000 in stream.alive)()
            return stream.seen, stream.alive

    with served(name, clock) as server:
        seen, alive = run(work(server))
    assert sorted(bars(seen)) == [
        ("BTC/USD", expected([NEXT[0]])),
        ("ETH/USD", expected([changed(NEXT[0], 104.0)])),
    ]
    assert alive == sorted(alive)


@each_exchange
def test_a_minute_that_was_seen_in_half_before_the_line_died_is_not_given_out(name):
    clock = Clock(at(0) - 20_000)

    async def work(server: Any) -> list[Any]:
        async with watched(opened(server, clock), BTC, ETH) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            await eventually(lambda: bool(stream.alive))()
            server.answering = False  # as when packets get lost and nobody is told
            clock.ms = at(0) + 50_000
            if isinstance(server, CoinbaseServer):
                server.push_deals("BTC/USD", deal(0.8, "100", 1))
            else:
                server.push_bars("BTC/USD", NEXT[0])
            await eventually(lambda: server.unanswered > 0)()
            for later in (at(1) + 2_000, at(1) + 30_000, at(60)):
                clock.ms = later
                await asyncio.sleep(0.6)
            assert max(stream.alive) < at(0) + 50_000
            server.drop()
            return list(await stream.until(lambda seen: of_kind(seen, Lost)))

    with served(name, clock) as server:
        assert bars(run(work(server))) == []


@pytest.mark.parametrize("name", ["kraken", "binance"])
def test_our_clock_may_be_ahead_and_a_minute_is_closed_by_that_of_the_exchange(name):
    theirs = Clock(at(0) + 10_000)
    ahead_ms = 10_000

    def ours() -> int:
        return theirs.ms + ahead_ms

    async def work(server: Any) -> tuple[list[Any], list[int]]:
        async with watched(opened(server, ours), BTC, ETH) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed) and of_kind(seen, Trouble))
            server.push_bars("BTC/USD", NEXT[0])
            await asyncio.sleep(0.1)
            theirs.ms = at(0) + 56_000  # ours says 1:06
            await asyncio.sleep(1.1)
            server.push_bars("BTC/USD", changed(NEXT[0], 70.0))
            await asyncio.sleep(0.1)
            theirs.ms = at(1) + 1_000
            await asyncio.sleep(1.2)
            assert bars(stream.seen) == []
            theirs.ms = at(1) + 3_100  # the header of an answer is cut to a second
            await stream.until(lambda seen: len(bars(seen)) == 1)
            return stream.seen, stream.alive

    with ALL[name](MARKET, now_ms=theirs).running() as server:
        seen, alive = run(work(server))
    assert bars(seen) == [("BTC/USD", expected([changed(NEXT[0], 70.0)]))]
    assert max(alive) <= at(1) + 3_100
    (told,) = of_kind(seen, Trouble)
    assert (told.kind, told.may_hide_bars) == ("clock", False)
    assert told.detail.startswith(f"our clock is at least 9 s ahead of {name}'s: ")


def test_our_clock_may_be_behind_which_is_said_and_proofs_are_told_by_ours():
    theirs = Clock(at(0) + 10_000)

    async def work(server: Any) -> tuple[list[Any], list[int]]:
        async with watched(opened(server, lambda: theirs.ms - 10_000), BTC) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed) and of_kind(seen, Trouble))
            server.push_bars("BTC/USD", NEXT[0])
            theirs.ms = at(1) + 11_900
            await asyncio.sleep(1.2)
            assert bars(stream.seen) == []
            theirs.ms = at(1) + 12_000
            await stream.until(lambda seen: len(bars(seen)) == 1)
            return stream.seen, stream.alive

    with served("kraken", theirs) as server:
        seen, alive = run(work(server))
    assert [trouble.detail.partition(":")[0] for trouble in of_kind(seen, Trouble)] == [
        "our clock is at least 10 s behind kraken's"
    ]
    assert max(alive) <= at(1) + 2_000


def test_a_question_without_an_answer_is_asked_once_more_after_a_while():
    clock = Clock(at(0) + 10_000)
    collector = COLLECTOR.model_copy(update={"settle_seconds": 0.05, "quiet_seconds": 0.1})

    async def work(server: Any) -> None:
        async with watched(opened(server, clock, collector=collector), BTC) as stream:
            await eventually(lambda: bool(stream.alive))()
            server.answering = False
            await eventually(lambda: server.unanswered > 2)()
            server.answering = True
            known = len(stream.alive)
            await eventually(lambda: len(stream.alive) > known)()

    with served("binance", clock) as server:
        run(work(server))


def test_a_message_of_several_symbols_is_read_as_one_of_each():
    clock = Clock(at(0) + 10_000)

    async def work(server: KrakenServer) -> list[Any]:
        async with watched(opened(server, clock), BTC, ETH) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            for index in (0, 1):
                rows = [ohlc_row("BTC/USD", NEXT[index]), ohlc_row("ETH/USD", changed(NEXT[index], 9.0))]
                server.push({"channel": "ohlc", "type": "update", "data": rows})
            return list(await stream.until(lambda seen: len(bars(seen)) == 2))

    with served("kraken", clock) as server:
        seen = run(work(server))
    assert bars(seen) == [
        ("BTC/USD", expected([NEXT[0]])),
        ("ETH/USD", expected([changed(NEXT[0], 9.0)])),
    ]


def test_what_a_snapshot_holds_of_closed_minutes_is_given_out_in_order():
    clock = Clock(at(0) + 10_000)
    history = minutes(at(-50), 51)

    async def work(server: KrakenServer) -> list[Any]:
        async with watched(opened(server, clock), BTC) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            server.push_bars("BTC/USD", *history, kind="snapshot")
            return list(await stream.until(lambda seen: len(bars(seen)) == 1))

    with served("kraken", clock) as server:
        seen = run(work(server))
    assert bars(seen) == [("BTC/USD", expected(history[:-1]))]


def test_a_minute_of_a_single_trade_comes_in_one_message_of_a_kind_of_its_own():
    clock = Clock(at(0) + 10_000)

    async def work(server: KucoinServer) -> list[Any]:
        async with watched(opened(server, clock), BTC) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            server.push_bars("BTC/USD", NEXT[0], kind="add")
            server.push_bars("BTC/USD", NEXT[1], kind="add")
            return list(await stream.until(lambda seen: len(bars(seen)) == 1))

    with served("kucoin", clock) as server:
        assert rows_of(run(work(server))) == expected([NEXT[0]])


# ----------------------------------------------------------------------------------------- trades


def test_trades_become_candles_from_the_first_whole_minute_on():
    clock = Clock(at(0) + 10_000)

    async def work(server: CoinbaseServer) -> list[Any]:
        async with watched(opened(server, clock), BTC) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            server.push_deals("BTC/USD", deal(-1, "90", 1), deal(0.1, "91", 2), kind="snapshot")
            server.push_deals("BTC/USD", deal(0.9, "92", 3))
            server.push_deals("BTC/USD", deal(1.2, "100", 5, "0.1"), deal(1.3, "102", 6, "0.2"))
            server.push_deals("BTC/USD", deal(1.2, "100", 5, "0.1"))  # once more
            server.push_deals("BTC/USD", deal(1.1, "99", 4))  # out of order
            server.push_deals("BTC/USD", deal(2.0, "103", 7))
            await stream.until(lambda seen: len(bars(seen)) == 1)
            server.push_deals("BTC/USD", deal(1.9, "101", 8))  # late
            return list(await stream.until(lambda seen: len(bars(seen)) == 2))

    with served("coinbase", clock) as server:
        seen = run(work(server))
    assert bars(seen) == [
        ("BTC/USD", [(at(1), 99.0, 102.0, 99.0, 102.0, 1.3)]),
        ("BTC/USD", [(at(1), 99.0, 102.0, 99.0, 101.0, 2.3)]),
    ]


def test_no_trade_is_lost_where_one_message_holds_those_of_several_markets():
    clock = Clock(at(0) + 10_000)

    def trade(number: int, product: str, minute: float) -> dict[str, Any]:
        return {
            "trade_id": str(number),
            "product_id": product,
            "price": "100",
            "size": "1",
            "side": "BUY",
            "time": iso(at(0) + int(minute * 60_000)),
        }

    async def work(server: CoinbaseServer) -> list[Any]:
        async with watched(opened(server, clock), BTC, ETH) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            older = [trade(1, "BTC-USD", 1.1)] + [trade(100 + n, "ETH-USD", 1.2) for n in range(40)]
            for told in (
                [*older, trade(2, "BTC-USD", 1.3)],
                [trade(3, "BTC-USD", 1.4), trade(4, "ETH-USD", 1.5)],
                [trade(5, "BTC-USD", 2.1), *(trade(200 + n, "ETH-USD", 2.2) for n in range(40))],
            ):
                server.push(
                    {
                        "channel": "market_trades",
                        "client_id": "",
                        "timestamp": iso(clock.ms),
                        "sequence_num": 1,
                        "events": [{"type": "update", "trades": told[::-1]}],
                    }
                )
            return list(await stream.until(lambda seen: len(bars(seen)) == 2))

    with served("coinbase", clock) as server:
        seen = run(work(server))
    assert bars(seen) == [
        ("BTC/USD", [(at(1), 100.0, 100.0, 100.0, 100.0, 3.0)]),
        ("ETH/USD", [(at(1), 100.0, 100.0, 100.0, 100.0, 41.0)]),
    ]
    assert of_kind(seen, Trouble) == []


def test_two_names_of_one_book_are_told_the_same_trades():
    clock = Clock(at(0) + 10_000)
    usdc = Symbol("BTC", "USDC")
    market = {"BTC/USD": NEXT, "BTC/USDC": NEXT}

    async def work(server: CoinbaseServer) -> list[Any]:
        async with watched(opened(server, clock), usdc) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            for minute in (1, 2):
                server.push_deals("BTC/USD", deal(minute, "100", minute))
            return list(await stream.until(lambda seen: len(bars(seen)) == 1))

    with CoinbaseServer(market, now_ms=clock).running() as server:
        seen = run(work(server))
    assert bars(seen) == [("BTC/USDC", [(at(1), 100.0, 100.0, 100.0, 100.0, 1.0)])]
    assert of_kind(seen, Trouble) == []


def test_our_clock_may_be_behind_and_the_minute_that_is_then_cut_is_left_out_too():
    clock = Clock(at(0) + 58_000)
    collector = COLLECTOR.model_copy(update={"skew_seconds": 5.0})

    async def work(server: CoinbaseServer) -> list[Any]:
        async with watched(opened(server, clock, collector=collector), BTC) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            for number in (1, 2, 3):
                server.push_deals("BTC/USD", deal(number, "100", number))
            return list(await stream.until(lambda seen: len(bars(seen)) == 1))

    with served("coinbase", clock) as server:
        seen = run(work(server))
    assert bars(seen) == [("BTC/USD", [(at(2), 100.0, 100.0, 100.0, 100.0, 1.0)])]


# -------------------------------------------------------------------------- losses and troubles


def push_two_minutes(server: Any, first: int) -> None:
    """Whatever makes the minute `first` be given out."""
    if isinstance(server, CoinbaseServer):
        for minute in (first, first + 1):
            server.push_deals("BTC/USD", deal(minute, "100", 1000 * first + minute))
    else:
        server.push_bars("BTC/USD", NEXT[first])
        server.push_bars("BTC/USD", NEXT[first + 1])


@each_exchange
def test_a_connection_that_is_cut_is_lost_and_comes_again_by_itself(name):
    clock = Clock(at(0) - 20_000)

    async def work(server: Any) -> list[Any]:
        async with watched(opened(server, clock), BTC, ETH) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            push_two_minutes(server, 0)
            await stream.until(lambda seen: len(bars(seen)) == 1)
            server.drop()
            await stream.until(lambda seen: len(of_kind(seen, Subscribed)) == 2)
            assert server.sockets == 1
            push_two_minutes(server, 2)
            return list(await stream.until(lambda seen: len(bars(seen)) == 2))

    with served(name, clock) as server:
        seen = run(work(server))
        assert server.opened == 2
    kinds = [type(event) for event in seen]
    assert kinds == [Subscribed, tuple, Lost, Subscribed, tuple]
    assert name in seen[2].reason
    assert 0.0 < seen[2].again_seconds <= 0.05
    # The minute that was open when the connection was lost is nobody's: it may have changed since.
    assert [event[1][0][0] for event in bars(seen)] == [at(0), at(2)]


def test_silence_is_a_loss():
    clock = Clock(at(0))
    collector = COLLECTOR.model_copy(update={"silence_seconds": 0.3})

    async def work(server: Any) -> list[Any]:
        async with watched(opened(server, clock, collector=collector), BTC) as stream:
            await stream.until(lambda seen: len(of_kind(seen, Subscribed)) == 2)
            return list(stream.seen)

    with served("kraken", clock) as server:
        seen = run(work(server))
    assert [type(event) for event in seen] == [Subscribed, Lost, Subscribed]
    assert seen[1].reason == "kraken said nothing for 0.3 s"


def test_an_exchange_that_cannot_be_reached_is_tried_again_ever_more_slowly():
    clock = Clock(at(0))
    settings = json.dumps(
        {"urls": {"api": {"public": "http://127.0.0.1:9", "ws": {"publicV2": "ws://127.0.0.1:9"}}}}
    )
    provider = open_exchange(
        "kraken",
        Exchange(requests_per_second=500.0, settings=settings),
        FETCHING.model_copy(update={"breaker_seconds": 0.01}),
        COLLECTOR,
        now_ms=clock,
    )

    async def work() -> list[Any]:
        async with watched(provider, BTC) as stream:
            return list(await stream.until(lambda seen: len(seen) == 4))

    seen = run(work())
    assert {type(event) for event in seen} == {Lost}
    assert "attempts failed" in seen[0].reason
    assert seen[0].again_seconds <= 0.01
    assert seen[3].again_seconds >= 0.025


@each_exchange
def test_what_cannot_be_read_is_trouble_and_the_stream_goes_on(name):
    clock = Clock(at(0) - 20_000)

    async def work(server: Any) -> list[Any]:
        async with watched(opened(server, clock), BTC, ETH) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            server.push('{"channel": "ohlc", "data": [{"sym')
            push_two_minutes(server, 0)
            return list(await stream.until(lambda seen: len(bars(seen)) == 1))

    with served(name, clock) as server:
        seen = run(work(server))
        assert server.opened == 1
    assert of_kind(seen, Lost) == []
    (trouble,) = of_kind(seen, Trouble)
    assert (trouble.kind, trouble.may_hide_bars) == ("message", True)


@each_exchange
def test_a_minute_of_the_far_future_is_trouble_and_closes_no_other(name):
    clock = Clock(at(0) - 20_000)

    async def work(server: Any) -> list[Any]:
        async with watched(opened(server, clock), BTC, ETH) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            if isinstance(server, CoinbaseServer):
                server.push_deals("BTC/USD", deal(100_000, "7", 1))
            else:
                server.push_bars("BTC/USD", minutes(at(100_000), 1)[0])
            push_two_minutes(server, 0)
            return list(await stream.until(lambda seen: len(bars(seen)) == 1))

    with served(name, clock) as server:
        seen = run(work(server))
    assert [row[0] for row in rows_of(seen)] == [at(0)]
    (told,) = of_kind(seen, Trouble)
    assert "100000 minutes in the future" in told.detail
    assert told.may_hide_bars


def test_a_symbol_that_nobody_asked_for_is_said_once():
    clock = Clock(at(0))

    async def work(server: Any) -> list[Any]:
        async with watched(opened(server, clock), BTC) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            for bar in NEXT[:3]:
                server.push_bars("ETH/USD", bar)
            push_two_minutes(server, 0)
            return list(await stream.until(lambda seen: len(bars(seen)) == 1))

    with served("kraken", clock) as server:
        seen = run(work(server))
    assert of_kind(seen, Trouble) == [
        Trouble(kind="symbol", detail="kraken sent ETH/USD, which nobody asked for")
    ]


@each_of_candles
def test_a_symbol_that_is_refused_is_said_and_the_others_are_subscribed(name):
    clock = Clock(at(0))

    async def work(server: Any) -> list[Any]:
        server.refusing.add("ETH/USD")
        async with watched(opened(server, clock), BTC, ETH, Symbol("NOPE", "USD")) as stream:
            if name != "binance":
                await stream.until(lambda seen: of_kind(seen, Subscribed))
            await stream.until(lambda seen: len(of_kind(seen, Trouble)) == 2)
            return list(stream.seen)

    with served(name, clock) as server:
        seen = run(work(server))
    troubles = [trouble.detail for trouble in of_kind(seen, Trouble)]
    assert troubles[0] == f"{name} does not trade NOPE/USD"
    assert f"{name} refuses" in troubles[1]
    assert "ETH/USD" in troubles[1]
    # Binance takes or refuses a request as a whole.
    assert of_kind(seen, Subscribed) == ([] if name == "binance" else [Subscribed(symbols=(BTC,))])


def test_a_stream_of_symbols_that_the_exchange_does_not_have_at_all_ends():
    clock = Clock(at(0))

    async def work(server: Any) -> None:
        async with watched(opened(server, clock), Symbol("NOPE", "USD")) as stream:
            await stream.until(lambda seen: len(seen) == 5)

    with served("kraken", clock) as server, pytest.raises(UnknownToProvider, match="none of the 1 symbols"):
        run(work(server))


def test_until_the_exchange_confirms_nothing_is_said_to_be_subscribed():
    clock = Clock(at(0))
    collector = COLLECTOR.model_copy(update={"stable_seconds": 0.2})

    async def work(server: Any) -> list[Any]:
        server.confirming = False
        async with watched(opened(server, clock, collector=collector), BTC) as stream:
            await eventually(lambda: bool(server.sent))()
            push_two_minutes(server, 0)
            return list(await stream.until(lambda seen: len(bars(seen)) == 1 and of_kind(seen, Trouble)))

    with served("kraken", clock) as server:
        seen = run(work(server))
    assert of_kind(seen, Subscribed) == []
    assert [trouble.detail for trouble in of_kind(seen, Trouble)] == [
        "kraken has not confirmed 1 symbols: BTC/USD"
    ]


def test_spot_and_perpetuals_are_streamed_beside_each_other():
    clock = Clock(at(0))
    spot, perpetual = Symbol("BTC", "USDT"), Symbol("BTC", "USDT", "USDT")
    market = {str(spot): NEXT, str(perpetual): NEXT}

    async def work(server: BinanceServer) -> list[Any]:
        async with watched(opened(server, clock), perpetual, spot) as stream:
            await stream.until(lambda seen: len(of_kind(seen, Subscribed)) == 1)
            return list(stream.seen)

    with BinanceServer(market, now_ms=clock).running() as server:
        seen = run(work(server))
        assert server.opened == 2
    assert [set(event.symbols) for event in seen] == [{spot, perpetual}]


# ------------------------------------------------------------------------------ many symbols, slow readers


@each_exchange
def test_a_hundred_symbols_take_one_socket_few_requests_and_no_tasks_of_their_own(name):
    clock = Clock(at(0))
    symbols = [Symbol(f"C{number:03}", "USD") for number in range(100 if name != "kucoin" else 50)]
    market = {str(symbol): NEXT for symbol in symbols}

    async def work(server: Any) -> tuple[list[Any], int]:
        async with watched(opened(server, clock), *symbols) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            return list(stream.seen), len(asyncio.all_tasks())

    with ALL[name](market, now_ms=clock).running() as server:
        seen, tasks = run(work(server))
        assert server.opened == 1
        assert len(server.sent) == (50 if name == "kucoin" else 1)
    assert set(seen[0].symbols) == set(symbols)
    assert tasks < 12


def test_who_reads_slowly_slows_the_exchange_down_and_loses_nothing():
    clock = Clock(at(1_600))
    n_minutes = 1_500
    history = minutes(at(0), n_minutes)

    def push_all(server: Any) -> None:
        for bar in history:
            server.push_bars("BTC/USD", bar)

    async def work(server: Any) -> list[Any]:
        provider = opened(server, clock)
        events = provider.stream.events([BTC])
        got: list[Any] = []
        try:
            assert isinstance(await anext(events), Subscribed)
            pushing = asyncio.get_running_loop().run_in_executor(None, push_all, server)
            await asyncio.sleep(0.5)  # of which the exchange makes use
            while len(got) < n_minutes - 1:
                event = await anext(events)
                assert not isinstance(event, Lost), event.reason
                got += brief(event)[1]
            await pushing
        finally:
            await events.aclose()  # type: ignore[attr-defined]
            await provider.close()
        return got

    with served("kraken", clock) as server:
        assert run(work(server)) == expected(history[:-1])


# --------------------------------------------------------------------------- recording and replay


@each_exchange
def test_a_recorded_session_plays_again_event_by_event_without_the_exchange(name, tmp_path: Path):
    clock = Clock(at(0) - 20_000)
    path = tmp_path / "session.jsonl.zst"

    async def work(server: Any, recorder: Recorder) -> list[Any]:
        async with watched(opened(server, clock, recorder=recorder), BTC, ETH) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
            push_two_minutes(server, 0)
            server.push("{not json")
            await stream.until(lambda seen: len(of_kind(seen, Trouble)) == 1 and len(bars(seen)) == 1)
            server.drop()
            await stream.until(lambda seen: len(of_kind(seen, Subscribed)) == 2)
            push_two_minutes(server, 2)
            await stream.until(lambda seen: len(bars(seen)) == 2)
            clock.ms = at(4) + 2_500
            server.push("{not json")
            return list(await stream.until(lambda seen: len(bars(seen)) == 3))

    async def again(server: Any) -> list[Any]:
        provider = opened(server, clock, replay=Replay(path))
        try:
            events = [brief(event) async for event in provider.stream.events([BTC, ETH])]
            return without_proofs(events)
        finally:
            await provider.close()

    with served(name, clock) as server:
        with Recorder(path, provider=name, now_ns=lambda: clock.ms * 1_000_000) as recorder:
            live = run(work(server, recorder))
        n_requests, n_sockets = len(server.requests), server.opened
        replayed = run(again(server))
        assert (len(server.requests), server.opened) == (n_requests, n_sockets)
    assert len(bars(live)) == 3
    assert replayed[: len(live)] == live


@pytest.mark.parametrize(("name", "path"), [("kraken", "/AssetPairs"), ("kucoin", "/bullet-public")])
def test_a_recorded_failure_to_begin_plays_again_too(name, path, tmp_path: Path):
    clock = Clock(at(0) - 20_000)
    recording = tmp_path / "session.jsonl.zst"

    async def live_ones(server: Any, recorder: Recorder) -> list[Any]:
        async with watched(opened(server, clock, recorder=recorder), BTC) as stream:
            return list(await stream.until(lambda seen: of_kind(seen, Subscribed)))

    async def again(server: Any) -> list[Any]:
        provider = opened(server, clock, replay=Replay(recording))
        try:
            return without_proofs([event async for event in provider.stream.events([BTC])])
        finally:
            await provider.close()

    faults = [Fault(path=path, status=502, body="<html>no</html>") for _ in range(3)]
    with ALL[name](MARKET, now_ms=clock, faults=faults).running() as server:
        with Recorder(recording, provider=name, now_ns=lambda: clock.ms * 1_000_000) as recorder:
            live = run(live_ones(server, recorder))
        replayed = run(again(server))
    assert [type(event) for event in live] == [Lost, Subscribed]
    assert replayed == live


def test_an_exchange_without_a_websocket_in_ccxt_cannot_be_streamed():
    import ccxt

    silent = next(name for name in ccxt.exchanges if name not in ccxt.pro.exchanges)
    provider = open_exchange(silent, Exchange(), FETCHING, COLLECTOR, now_ms=Clock(at(0)))

    async def work() -> None:
        async with watched(provider, BTC) as stream:
            await stream.until(bool)

    with pytest.raises(UsageError, match=f"no websocket client of {silent}"):
        run(work())


def test_nothing_is_left_open_when_a_stream_is_left(recwarn):
    clock = Clock(at(0))

    async def work(server: ExchangeServer) -> None:
        async with watched(opened(server, clock), BTC) as stream:
            await stream.until(lambda seen: of_kind(seen, Subscribed))
        await eventually(lambda: server.sockets == 0)()
        assert len(asyncio.all_tasks()) == 1

    with served("kraken", clock) as server:
        run(work(server))
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []
