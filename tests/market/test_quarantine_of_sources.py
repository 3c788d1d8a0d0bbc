"""Whatever a source writes its bars like: what is held of it can be released, or is refused for its rule."""

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.market.collecting.buffer import Buffer
from crypto_tracker.market.providers.base import FetchedBars, StreamedBars
from crypto_tracker.market.providers.massive.frames import FrameReader
from crypto_tracker.store import tables
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.market_database import writing
from crypto_tracker.store.quarantine import quarantined, release
from tests.market.exchanges import BTC, Clock, at, fetched, opened, run
from tests.market.massive_market import START
from tests.market.test_massive_rest_into_store import MARKET, keep
from tests.market.test_massive_rest_into_store import fetched as fetched_of_massive
from tests.servers.binance import BinanceServer
from tests.servers.exchange import Bar, minutes
from tests.servers.kraken import KrakenServer
from tests.servers.kucoin import KucoinServer
from tests.servers.massive_rest import edited
from tests.store.shelf import store

M1 = Timeframe.M1
SERVERS: dict[str, Callable[..., Any]] = {
    "kraken": KrakenServer,
    "kucoin": KucoinServer,
    "binance": BinanceServer,
}
each_exchange = pytest.mark.parametrize("name", SERVERS)
# Four minutes of an exchange, of which the last but one cannot be: its high is below its close.
SOUND = minutes(at(0), 5)
BROKEN = replace(SOUND[2], high=SOUND[2].close - 1.0)
BARS = [*SOUND[:2], BROKEN, *SOUND[3:]]


@pytest.fixture(scope="module", autouse=True)
def ccxt_is_loaded() -> None:
    """Which takes seconds, that no deadline of a test is to be charged with."""
    importlib.import_module("ccxt.pro")


def settled(
    home: Path, provider: str, symbol: Symbol, write: Callable[[BarStore], Any], first_ms: int, last_ms: int
) -> tuple[dict[int, str], Any]:
    """Keep bars while our clock says `first_ms`, release all that are held an hour after `last_ms`.

    As if they had come whole, and the rule that refused them were gone: one that came early stays held.

    What became of each by its open time, and the rows of the store thereafter.
    """
    with store(home, now=from_ms(first_ms)) as shelf:
        write(shelf)
    later_ms = last_ms + HOUR_MS
    with writing(home) as connection:
        connection.execute(update(tables.quarantine).values(recorded_at_ms=later_ms))
    with store(home, now=from_ms(later_ms)) as shelf:
        bars = quarantined(home)
        outcomes = release(shelf, home, [bar.quarantine_id for bar in bars], later_ms)
        rows = shelf.reader.rows(symbol, M1, first_ms - HOUR_MS, later_ms, provider=provider)
    held = [bar for bar in quarantined(home) if bar.open_time_ms is not None]
    assert [bar.quarantine_id for bar in held] == [
        each.bar.quarantine_id for each in outcomes if not each.done
    ]
    return {int(each.bar.open_time_ms or 0): each.why for each in outcomes}, rows


def expected_of(bars: list[Bar]) -> list[list[float]]:
    return [[bar.time_ms, bar.open, bar.high, bar.low, bar.close, bar.volume] for bar in bars]


def shown(rows: Any) -> list[list[float]]:
    return [
        [time_ms, *values]
        for time_ms, values in zip(rows.open_time_ms.tolist(), rows.values[:5].T.tolist(), strict=True)
    ]


RELEASED, REFUSED = "it breaks no rule any more", "it still breaks a rule: high_too_low"


@each_exchange
def test_bars_that_an_exchange_answers_with(tmp_path: Path, name: str):
    clock = Clock(at(5))
    with SERVERS[name]({"BTC/USD": BARS}, now_ms=clock).running() as server:
        answer = fetched(server, clock, at(0), at(5))

    def write(shelf: BarStore) -> None:
        shelf.write(name, BTC, M1, answer.bars, answer.covered, raw=answer.raw)

    # Our clock is two minutes behind that of the exchange: two bars are in the future, and one is broken.
    outcome, rows = settled(tmp_path, name, BTC, write, at(3), at(5))
    assert outcome == {at(2): REFUSED, at(3): RELEASED, at(4): RELEASED}
    assert shown(rows) == expected_of([*SOUND[:2], *SOUND[3:]])


@each_exchange
def test_bars_that_an_exchange_streams(tmp_path: Path, name: str):
    clock = Clock(at(0) + 10_000)

    async def work(server: Any) -> list[StreamedBars]:
        provider = opened(server, clock)
        seen: list[StreamedBars] = []
        events = provider.stream.events([BTC])
        try:
            async for event in events:
                if not isinstance(event, StreamedBars):
                    server.push_bars("BTC/USD", *BARS)
                    server.push_bars("BTC/USD", *minutes(at(5), 1))
                    continue
                seen.append(event)
                if sum(len(each.bars) for each in seen) == len(BARS):
                    return seen
        finally:
            await events.aclose()  # type: ignore[attr-defined]
            await provider.close()
        raise AssertionError("the stream ended")

    with SERVERS[name]({"BTC/USD": BARS}, now_ms=clock).running() as server:
        seen = run(work(server))
    outcome, rows = settled(
        tmp_path, name, BTC, lambda shelf: collected(shelf, name, seen, at(3)), at(3), at(5)
    )
    assert outcome == {at(2): REFUSED, at(3): RELEASED, at(4): RELEASED}
    assert shown(rows) == expected_of([*SOUND[:2], *SOUND[3:]])


def collected(shelf: BarStore, name: str, seen: list[StreamedBars], now_ms: int) -> None:
    """What the collector makes of a stream: through its buffer into the store."""
    buffer = Buffer(capacity=1_000, skew_ms=0, settle_ms=0)
    for event in seen:
        buffer.add(event, now_ms)
    taken = buffer.take(now_ms)
    shelf.write_minutes(name, taken.minutes, {}, source="stream", raw=taken.raw)


def test_bars_that_massive_answers_with(tmp_path: Path):
    def spoil(body: dict[str, Any]) -> None:
        body["results"][30]["h"] = "0.5"

    answer: FetchedBars = fetched_of_massive(edited(spoil))
    symbol = Symbol.parse("BTC/USD")
    source = MARKET[symbol]
    behind_ms = START + 24 * HOUR_MS - 2 * MINUTE_MS  # our clock, when two bars of the day were to come yet
    outcome, rows = settled(
        tmp_path, "massive", symbol, lambda shelf: keep(shelf, answer), behind_ms, behind_ms + 2 * MINUTE_MS
    )
    spoilt = int(source.open_time_ms[30])
    assert outcome == {spoilt: REFUSED, behind_ms: RELEASED, behind_ms + MINUTE_MS: RELEASED}
    place = np.searchsorted(source.open_time_ms, behind_ms)
    assert rows.open_time_ms[-2:].tolist() == [behind_ms, behind_ms + MINUTE_MS]
    np.testing.assert_array_equal(rows.values[:, -2:], source.values()[:, place : place + 2])


def test_bars_that_massive_streams(tmp_path: Path):
    def frame(minute: int, **fields: object) -> dict[str, Any]:
        begin = {"s": at(minute), "e": at(minute + 1)}
        return {"ev": "XA", "pair": "BTC-USD", "v": 725.09, "vw": 9114.502, "z": 0.65, "o": 9111.14,
                "c": 9134.3, "h": 9134.7, "l": "9106.5", **begin, **fields}  # fmt: skip

    frames = [frame(0), frame(1, h=9_000.0), frame(4)]
    seen = FrameReader({"BTC-USD": BTC}).read(json.dumps(frames))
    events = [event for event in seen if isinstance(event, StreamedBars)]
    assert len(events) == len(seen) == 3
    outcome, rows = settled(
        tmp_path, "massive", BTC, lambda shelf: collected(shelf, "massive", events, at(3)), at(3), at(5)
    )
    assert outcome == {at(1): REFUSED, at(4): RELEASED}
    assert rows.open_time_ms.tolist() == [at(0), at(4)]
    values = [9111.14, 9134.7, 9106.5, 9134.3, 725.09, 9114.502]
    assert rows.values[:6].T.tolist() == [values, values]
