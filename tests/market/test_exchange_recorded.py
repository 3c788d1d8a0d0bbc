"""Answers and messages that real exchanges gave, through ccxt and through our candle maker."""

import asyncio
import csv
import gzip
import importlib
import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from crypto_tracker.config.market_data import Exchange
from crypto_tracker.core.errors import ProviderUnavailable
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.market.providers.base import StreamedBars, Subscribed
from crypto_tracker.market.providers.exchange.minutes import OpenMinutes, Trade, TradedMinute, TradedMinutes
from crypto_tracker.market.providers.exchange.provider import open_exchange
from crypto_tracker.market.providers.exchange.session import STEPS
from crypto_tracker.market.recording.format import Kind, Record
from tests.market.exchanges import COLLECTOR, FETCHING, Clock, rows, run

pytestmark = pytest.mark.market_data

XBT = Symbol("BTC", "USDT")


@pytest.fixture(scope="module", autouse=True)
def ccxt_is_loaded() -> None:
    importlib.import_module("ccxt.pro")


class Answers:
    """Stands in for an exchange: each request gets the answer whose name is part of its address."""

    def __init__(self, answers: dict[str, Any], messages: list[Record] | None = None) -> None:
        self._answers = answers
        self._messages = messages or []
        self.asked: list[str] = []

    async def answer(self, _method: str, url: str) -> tuple[int, str]:
        self.asked.append(url)
        for part, document in self._answers.items():
            if part in url:
                return 200, document if isinstance(document, str) else json.dumps(document)
        raise ProviderUnavailable(f"nothing was recorded of {url}")

    async def messages(self) -> AsyncIterator[Record]:
        for record in self._messages:
            await asyncio.sleep(0)
            yield record


def provider_of(name: str, answers: Answers, now_ms: int) -> Any:
    return open_exchange(
        name, Exchange(trades_hours=24.0), FETCHING, COLLECTOR, now_ms=Clock(now_ms), replay=answers
    )


def fetched(
    name: str, answers: Answers, now_ms: int, symbol: Symbol, tf: Timeframe, start: int, end: int
) -> Any:
    async def work() -> Any:
        provider = provider_of(name, answers, now_ms)
        try:
            return await provider.history.fetch(symbol, tf, start, end)
        finally:
            await provider.close()

    return run(work())


@pytest.fixture(scope="module")
def kraken(market_data: Path) -> dict[str, Any]:
    folder = market_data / "raw" / "nautilus_trader" / "kraken"
    names = {
        "AssetPairs": "http_asset_pairs",
        "OHLC": "http_ohlc",
        "Trades": "http_trades",
        "Ticker": "http_ticker",
    }
    answers = {part: json.loads((folder / f"{name}.json").read_text()) for part, name in names.items()}
    return answers | {"/Assets": {"error": [], "result": {}}}


def test_krakens_721_rows_are_720_closed_bars_and_one_that_is_not(kraken: dict[str, Any]):
    raw = kraken["OHLC"]["result"]["XBTUSDT"]
    first, last = raw[0][0] * 1000, raw[-1][0] * 1000
    answers = Answers(kraken)
    answer = fetched(
        "kraken", answers, last + 30_000, XBT, Timeframe.M1, last - 719 * MINUTE_MS, last + MINUTE_MS
    )
    assert first == last - 720 * MINUTE_MS
    traded = [row for row in raw[1:-1] if row[7] > 0]
    assert rows(answer.bars) == [
        (row[0] * 1000, *(float(value) for value in (*row[1:5], row[6]))) for row in traded
    ]
    assert answer.covered == ((last - 719 * MINUTE_MS, last),)
    assert answer.bars.n_trades is not None
    assert answer.bars.n_trades.tolist() == [row[7] for row in traded]
    assert answer.raw(0) == {"row": traded[0]}


def test_candles_of_krakens_trades_are_krakens_candles(kraken: dict[str, Any]):
    own = {row[0] * 1000: row for row in kraken["OHLC"]["result"]["XBTUSDT"]}
    trades = kraken["Trades"]["result"]["XBTUSDT"]
    minutes: dict[int, TradedMinute] = {}
    for price, quantity, seconds, *_, number in trades:
        time_ms = int(seconds * 1000)
        minutes.setdefault(Timeframe.M1.floor(time_ms), TradedMinute()).take(
            Trade(time_ms=time_ms, price=Decimal(price), quantity=Decimal(quantity), id=str(number))
        )
    whole = sorted(minutes)[1:-1]
    assert len(whole) > 200
    for time_ms in whole:
        made = minutes[time_ms].candle()
        assert made is not None
        _, opened, high, low, close, vwap, volume, count = own[time_ms]
        assert (made.open, made.high, made.low, made.close) == tuple(map(float, (opened, high, low, close)))
        assert (made.volume, made.n_trades) == (float(volume), count)
        assert made.vwap == pytest.approx(float(vwap), abs=0.1)
    silent = [time_ms for time_ms in range(whole[0], whole[-1], MINUTE_MS) if time_ms not in minutes]
    assert all(own[time_ms][7] == 0 for time_ms in silent)


def test_krakens_markets_as_it_described_them(kraken: dict[str, Any]):
    async def work() -> Any:
        provider = provider_of("kraken", Answers(kraken), 1_762_820_220_000)
        try:
            return await provider.history.markets()
        finally:
            await provider.close()

    (info,) = run(work())
    raw = kraken["AssetPairs"]["result"]["XBTUSDT"]
    assert (info.symbol, info.provider_symbol) == (XBT, "XBTUSDT")
    assert info.tick == Decimal(raw["tick_size"])
    assert info.quantity_min == Decimal(raw["ordermin"])
    assert info.taker_fee == Decimal(str(raw["fees"][0][1])) / 100
    ticker = kraken["Ticker"]["result"]["XBTUSDT"]
    assert info.volume_quote == pytest.approx(float(ticker["v"][1]) * float(ticker["p"][1]))


def test_coinbases_hours_and_products(market_data: Path):
    folder = market_data / "raw" / "nautilus_trader" / "coinbase"
    candles = json.loads((folder / "http_candles.json").read_text())
    products = json.loads((folder / "http_products.json").read_text())
    answers = Answers(
        {
            "/v2/exchange-rates": {"data": {"rates": {}}},
            "/v2/": {"data": []},
            "/candles": candles,
            "FUTURE": {"products": []},
            "/products": products,
        }
    )
    starts = sorted(int(row["start"]) * 1000 for row in candles["candles"])
    answer = fetched(
        "coinbase",
        answers,
        starts[-1] + 3 * 3_600_000,
        Symbol("BTC", "USD"),
        Timeframe.H1,
        starts[0],
        starts[-1] + 3_600_000,
    )
    oldest = candles["candles"][-1]
    assert answer.bars.open_time_ms.tolist() == starts
    assert rows(answer.bars)[0] == (
        starts[0],
        *(float(oldest[name]) for name in ("open", "high", "low", "close", "volume")),
    )
    assert answer.raw(0) == oldest


def test_binances_klines_and_exchange_info(market_data: Path):
    folder = market_data / "raw" / "nautilus_trader" / "binance" / "spot" / "http_json"
    (kline,) = klines = json.loads((folder / "klines_response.json").read_text())
    answers = Answers(
        {
            "klines": klines,
            "api/v3/exchangeInfo": (folder / "exchange_info_response.json").read_text(),
            "exchangeInfo": {"symbols": []},
        }
    )
    start = kline[0]
    answer = fetched(
        "binance",
        answers,
        start + 3 * 86_400_000,
        Symbol("ETH", "BTC"),
        Timeframe.D1,
        start,
        start + 86_400_000,
    )
    assert rows(answer.bars) == [(start, *(float(value) for value in kline[1:6]))]
    assert answer.bars.n_trades.tolist() == [308.0]
    assert answer.bars.vwap.tolist() == [pytest.approx(2434.19055334 / 148976.11427815)]


def test_okxs_candlesticks(market_data: Path):
    folder = market_data / "raw" / "nautilus_trader" / "okx"
    candles = json.loads((folder / "http_get_candlesticks.json").read_text())
    answers = Answers(
        {
            "candles": candles,
            "instType=SPOT": (folder / "http_get_instruments_spot.json").read_text(),
            "v5": {"code": "0", "msg": "", "data": []},
        }
    )
    start = int(candles["data"][0][0])
    answer = fetched(
        "okx",
        answers,
        start + 10 * MINUTE_MS,
        Symbol("BTC", "USD"),
        Timeframe.M1,
        start,
        start + 2 * MINUTE_MS,
    )
    assert rows(answer.bars) == [
        (int(row[0]), *(float(value) for value in row[1:6])) for row in candles["data"]
    ]


# ------------------------------------------------------------------------------ recorded websockets


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """What the exchange said: time in ms and text."""
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        seconds, colon, text = line.partition(": ")
        if colon and seconds.replace(".", "").isdigit():
            yield int(float(seconds) * 1000), text


def record(time_ms: int, connection: str, document: Any) -> Record:
    text = document if isinstance(document, str) else json.dumps(document)
    return Record(
        time_ns=time_ms * 1_000_000, kind=Kind.MESSAGE, connection=connection, fields={"text": text}
    )


def begun() -> list[Record]:
    return [record(0, STEPS, {"step": step}) for step in ("opening", "opened")]


def streamed(name: str, answers: Answers, symbols: list[Symbol]) -> list[Any]:
    async def work() -> list[Any]:
        provider = provider_of(name, answers, 0)
        try:
            return [event async for event in provider.stream.events(symbols)]
        finally:
            await provider.close()

    return run(work())


def test_kucoins_recorded_candles_are_still_read(market_data: Path):
    path = market_data / "raw" / "cryptofeed"
    symbols_line = gzip.decompress((path / "KUCOIN.0.gz").read_bytes()).decode()
    listed = json.loads(symbols_line[symbols_line.index("{") :].splitlines()[0])
    said = list(lines(path / "KUCOIN.ws.1.0.gz"))
    newest: dict[str, list[str]] = {}
    for _, text in said:
        if '"trade.candles' in text:
            data = json.loads(text)["data"]
            newest[data["symbol"]] = data["candles"]
    assert newest
    names = sorted(newest)
    known = {item["symbol"] for item in listed["data"]}
    assert set(names) <= known
    steps = begun()
    end = record(0, STEPS, {"step": "settled", "at_ms": said[-1][0] + 120_000})
    messages = [record(time_ms, "wss://push.kucoin.com/endpoint", text) for time_ms, text in said]
    answers = Answers(
        {
            "/currencies": {"code": "200000", "data": []},
            "/symbols": listed,
            "/allTickers": {"code": "200000", "data": {"ticker": []}},
            "/contracts/active": {"code": "200000", "data": []},
            "/bullet-public": {
                "code": "200000",
                "data": {"token": "t", "instanceServers": [{"endpoint": "wss://x", "pingInterval": 18000}]},
            },
        },
        [*steps, *messages, end],
    )
    ours = {name: name.replace("BCHSV", "BSV").replace("-", "/") for name in names}  # as ccxt calls them
    events = streamed("kucoin", answers, [Symbol.parse(name) for name in ours.values()])
    got = {str(event.symbol): rows(event.bars)[-1] for event in events if isinstance(event, StreamedBars)}
    assert got == {
        ours[name]: (
            int(row[0]) * 1000,
            *(float(row[place]) for place in (1, 3, 4, 2, 5)),
        )
        for name, row in newest.items()
    }


def test_binances_recorded_klines_are_still_read(market_data: Path):
    folder = market_data / "raw" / "cryptofeed"
    said = list(lines(folder / "BINANCE.ws.1.0.gz"))
    klines = [json.loads(text)["data"]["k"] for _, text in said if '"kline"' in text]
    newest = {kline["s"]: kline for kline in klines}
    info = {
        "symbols": [
            {
                "symbol": name,
                "status": "TRADING",
                "baseAsset": name[:3],
                "quoteAsset": name[3:],
                "filters": [],
                "permissions": ["SPOT"],
            }
            for name in newest
        ]
    }
    messages = [record(time_ms, "wss://stream.binance.com:9443/stream/ws", text) for time_ms, text in said]
    answers = Answers(
        {"api/v3/exchangeInfo": info, "exchangeInfo": {"symbols": []}},
        [
            *begun(),
            record(0, STEPS, {"step": "subscribed", "symbols": ["NKN/USDT"]}),
            *messages,
            record(0, STEPS, {"step": "settled", "at_ms": said[-1][0] + 120_000}),
        ],
    )
    events = streamed("binance", answers, [Symbol(name[:3], name[3:]) for name in newest])
    assert events[0] == Subscribed(symbols=(Symbol("NKN", "USDT"),))
    got = {
        str(event.symbol).replace("/", ""): rows(event.bars)[-1]
        for event in events
        if isinstance(event, StreamedBars)
    }
    assert got == {
        name: (kline["t"], *(float(kline[field]) for field in "ohlcv")) for name, kline in newest.items()
    }


def slowly(trades: list[Trade]) -> dict[int, tuple[float, ...]]:
    """Open, high, low, close, volume of each minute but the first, the obvious way."""
    groups: dict[int, list[Trade]] = {}
    for trade in sorted(trades, key=lambda trade: (trade.time_ms, int(trade.id or 0))):
        groups.setdefault(trade.time_ms // MINUTE_MS * MINUTE_MS, []).append(trade)
    return {
        time_ms: (
            float(group[0].price),
            float(max(trade.price for trade in group)),
            float(min(trade.price for trade in group)),
            float(group[-1].price),
            float(sum(trade.quantity for trade in group)),
        )
        for time_ms, group in groups.items()
    }


def through_the_maker(trades: list[Trade], begin_ms: int) -> dict[int, tuple[float, ...]]:
    """As a stream makes them, trade by trade in the order of arrival, and everything settled at the end."""
    symbol = Symbol("A", "B")
    minutes = OpenMinutes(settle_ms=2000)
    traded = TradedMinutes(minutes)
    traded.begin(symbol, begin_ms)
    given = []
    for trade in trades:
        given += traded.take(symbol, [trade])
    given += minutes.settle(trades[-1].time_ms + 10 * MINUTE_MS)
    return {time_ms: candle.values()[:5] for _, candles in given for time_ms, candle in candles.items()}


def test_a_thousand_recorded_trades_make_the_candles_that_they_are(market_data: Path):
    with (market_data / "raw" / "freqtrade" / "public_trades_list.csv").open() as file:
        trades = [
            Trade(
                time_ms=int(row["timestamp"]),
                price=Decimal(row["price"]),
                quantity=Decimal(row["amount"]),
                id=row["id"],
            )
            for row in csv.DictReader(file)
        ]
    expected = slowly(trades)
    first = min(expected)
    assert len(expected) >= 4
    del expected[first]
    assert through_the_maker(trades, first + 1) == expected
    # Out of order by a few, and each of them twice: nothing changes.
    jumbled = [trade for start in range(0, len(trades), 5) for trade in reversed(trades[start : start + 5])]
    assert through_the_maker([trade for trade in jumbled for _ in range(2)], first + 1) == expected


def test_coinbases_recorded_matches_make_the_candles_that_they_are(market_data: Path):
    by_product: dict[str, list[Trade]] = {}
    begin = None
    for time_ms, text in lines(market_data / "raw" / "cryptofeed" / "COINBASE.ws.28.0.gz"):
        begin = begin or time_ms
        message = json.loads(text)
        if message["type"] in {"match", "last_match"}:
            by_product.setdefault(message["product_id"], []).append(
                Trade(
                    time_ms=_milliseconds(message["time"]),
                    price=Decimal(message["price"]),
                    quantity=Decimal(message["size"]),
                    id=str(message["trade_id"]),
                )
            )
    assert begin is not None
    whole_from = begin - begin % MINUTE_MS + MINUTE_MS
    n_candles = 0
    for trades in by_product.values():
        expected = {time_ms: row for time_ms, row in slowly(trades).items() if time_ms >= whole_from}
        assert through_the_maker(trades, begin) == expected
        n_candles += len(expected)
    assert n_candles >= 5


def _milliseconds(text: str) -> int:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


def test_krakens_recorded_trades_of_its_first_websocket_make_the_candles_that_they_are(market_data: Path):
    by_pair: dict[str, list[Trade]] = {}
    begin = None
    number = 0
    for time_ms, text in lines(market_data / "raw" / "cryptofeed" / "KRAKEN.ws.48.0.gz"):
        begin = begin or time_ms
        message = json.loads(text)
        if isinstance(message, list) and message[-2] == "trade":
            for price, quantity, seconds, *_ in message[1]:
                number += 1
                by_pair.setdefault(message[-1], []).append(
                    Trade(
                        time_ms=int(Decimal(seconds) * 1000),
                        price=Decimal(price),
                        quantity=Decimal(quantity),
                        id=str(number),
                    )
                )
    if not by_pair:
        pytest.skip("this recording of Kraken holds no trades")
    assert begin is not None
    whole_from = begin - begin % MINUTE_MS + MINUTE_MS
    for trades in by_pair.values():
        expected = {time_ms: row for time_ms, row in slowly(trades).items() if time_ms >= whole_from}
        assert through_the_maker(trades, begin) == expected


def test_trades_around_lost_connections_make_no_minute_that_is_not_whole(market_data: Path):
    events = json.loads(
        (market_data / "raw" / "barter" / "binance_spot_market_data_with_disconnect_events.json").read_text()
    )
    symbol = Symbol("A", "B")
    minutes = OpenMinutes(settle_ms=2000)
    traded = TradedMinutes(minutes)
    given: list[Any] = []
    losses = trades = 0
    for event in events:
        if "Reconnecting" in event:
            minutes = OpenMinutes(settle_ms=2000)  # as a new connection begins
            traded = TradedMinutes(minutes)
            losses += 1
            continue
        item = event["Item"]["Ok"]
        told = item["kind"]["Trade"]
        time_ms = _milliseconds(item["time_exchange"])
        traded.begin(symbol, time_ms)
        trades += 1
        given += traded.take(
            symbol,
            [
                Trade(
                    time_ms=time_ms,
                    price=Decimal(str(told["price"])),
                    quantity=Decimal(str(told["amount"])),
                    id=told["id"],
                )
            ],
        )
    given += minutes.settle(10**15)
    assert losses > 0
    assert trades > 10
    assert given == []  # the whole recording lies within one minute
