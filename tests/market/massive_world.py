"""Massive whole: its stream and its REST interface over one market, both with faults, in one time."""

import asyncio
import json
import re
import time
import tomllib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from crypto_tracker.config.market_data import MarketData
from crypto_tracker.config.tree import defaults
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe, from_ms
from crypto_tracker.market.providers.base import Alive, Stream, StreamEvent
from crypto_tracker.market.providers.massive.rest import MassiveHistory
from crypto_tracker.market.providers.massive.stream import MassiveStream
from tests.servers.massive_stream import KEY, MINUTE_MS, FaultScript, Market, MassiveStreamServer
from tests.servers.threaded import served, served_here

_RANGE = re.compile(r"/v2/aggs/ticker/X:(\w+)/range/(\d+)/(\w+)/(\d+)/(\d+)")
FIELDS = (("open", "o"), ("high", "h"), ("low", "l"), ("close", "c"), ("volume", "v"))


@dataclass
class World:
    """The two servers; the time of their market is the time of all."""

    stream: MassiveStreamServer
    rest_url: str = ""
    seconds_per_minute: float = 0.0
    rest_faults: deque[str] = field(default_factory=deque)
    unlisted: set[str] = field(default_factory=set)
    clock: Callable[[], float] = time.monotonic
    requests: int = 0
    failures: int = 0

    follows_reading = False

    def now_ms(self) -> int:
        return self.stream.now_ms()

    def now(self) -> datetime:
        return from_ms(self.now_ms())

    def seconds(self, duration_ms: int) -> float:
        return duration_ms / MINUTE_MS * self.seconds_per_minute

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        return symbols_of(self.stream.market)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        fault = self.rest_faults.popleft() if self.rest_faults else ""
        self.failures += bool(fault)
        if fault == "down":  # until it is taken away
            self.rest_faults.appendleft(fault)
        if fault in ("down", "502"):
            return web.Response(
                status=502, text="<html><h1>502 Bad Gateway</h1></html>", content_type="text/html"
            )
        if fault == "429":
            return web.json_response(
                {"status": "ERROR", "error": "too many"}, status=429, headers={"Retry-After": "0"}
            )
        if fault == "401":
            return web.json_response({"status": "ERROR", "error": "Unknown API Key"}, status=401)
        if request.path == "/corrected":
            corrected = [[*key, event] for key, event in self.stream.corrected.items()]
            return web.json_response(corrected)
        body = json.dumps(self._body(request)).encode()
        if fault == "truncated":
            body = body[: len(body) // 2]
        if fault == "drip":
            return await _drip(request, body)
        return web.Response(body=body, content_type="application/json")

    def _body(self, request: web.Request) -> dict[str, Any]:
        rows: list[dict[str, Any]] = []
        more = {}
        if found := _RANGE.fullmatch(request.path):
            name, count, span, start, end = found.groups()
            more = {"ticker": f"X:{name}", "adjusted": True}
            if (count, span) == ("1", "minute"):
                pair = f"{name[:-3]}-{name[-3:]}"
                rows = self.stream.history(pair, int(start), int(end) + 1)
            elif (count, span) == ("1", "day"):  # every pair was listed long ago
                listed = self.stream.market.start_ms // DAY_MS * DAY_MS - 30 * DAY_MS
                row = {"v": 1.0, "vw": 1.0, "o": 1.0, "c": 1.0, "h": 1.0, "l": 1.0, "t": listed, "n": 1}
                rows = [row] if int(start) <= listed <= int(end) else []
        elif request.path == "/v3/reference/tickers" and request.query["active"] == "true":
            rows = [
                {
                    "ticker": f"X:{pair.replace('-', '')}",
                    "market": "crypto",
                    "active": True,
                    "currency_symbol": pair[-3:],
                    "base_currency_symbol": pair[:-4],
                }
                for pair in self.stream.market.pairs
                if pair not in self.unlisted
            ]
        counts = {"queryCount": len(rows), "resultsCount": len(rows), "count": len(rows)}
        return {"status": "OK", "request_id": "a", **more, **counts} | ({"results": rows} if rows else {})

    def settings(self, **collector: Any) -> MarketData:
        """The configuration of the collector, in the time of the market; 1m only."""
        tree = tomllib.loads(defaults().text)["market_data"]
        usual = {
            "settle_seconds": 8.0,
            "quiet_seconds": 20.0,
            "lease_seconds": 120.0,
            "silence_seconds": 150.0,
        }
        tree["collector"] |= {"backfill": False, **usual, **collector}
        tree["timeframes"] = {"1m": tree["timeframes"]["1m"]}
        return MarketData.model_validate(tree)

    def short(self, settings: MarketData, *, attempts: int = 3) -> MarketData:
        """The same for those who wait by our own clock: all durations of the network divided."""
        tree = settings.model_dump(mode="json")
        share = self.seconds_per_minute / 60.0
        for section in ("collector", "fetching"):
            for name, value in tree[section].items():
                if name.endswith("_seconds"):
                    tree[section][name] = max(value * share, 0.001)
        tree["collector"]["stable_seconds"] = 0.5
        tree["fetching"] |= {
            "timeout_seconds": 1.0,
            "attempts": attempts,
            "wait_seconds": 0.005,
            "wait_max_seconds": 0.02,
            "breaker_seconds": 0.05,
        }
        tree["massive"] |= {
            "rest_url": self.rest_url,
            "stream_url": self.stream.url,
            "requests_per_second": 5_000.0,
        }
        return MarketData.model_validate(tree)

    def providers(self, short: MarketData, key: str = KEY) -> tuple[MassiveHistory, Stream]:
        """The clients under test."""
        secret = SecretStr(key)
        return (
            MassiveHistory(short.massive, short.fetching, secret, now_ms=self.now_ms),
            # The stream measures how long its connections live, which is our time.
            InMarketTime(
                MassiveStream(
                    short.massive, short.collector, secret, now_ms=lambda: int(self.clock() * 1_000)
                ),
                self,
            ),
        )

    def differences(
        self,
        reader: Any,
        start_minute: int,
        end_minute: int,
        *,
        missing: Iterable[tuple[str, int]] = (),
        provider: str = "massive",
    ) -> list[str]:
        """Where the store is not the market in these minutes; `missing` are to be so (pair, minute)."""
        return differences(
            reader,
            self.stream.market,
            self.stream.corrected,
            start_minute,
            end_minute,
            missing=missing,
            provider=provider,
        )


@dataclass
class InMarketTime:
    """A stream that tells proofs of life by our own time, and here by that of the market."""

    stream: MassiveStream
    world: World
    name: str = "massive"

    async def events(self, symbols: Sequence[Symbol]) -> AsyncGenerator[StreamEvent, None]:
        async with aclosing(self.stream.events(symbols)) as events:
            async for event in events:
                if isinstance(event, Alive):
                    ago_ms = int(self.world.clock() * 1_000) - event.at_ms
                    market_ms = ago_ms / 1_000 / self.world.seconds_per_minute * MINUTE_MS
                    yield Alive(at_ms=self.world.now_ms() - int(market_ms))
                else:
                    yield event


def symbols_of(market: Market) -> tuple[Symbol, ...]:
    """The pairs as symbols, in their order."""
    return tuple(Symbol(*pair.split("-")) for pair in market.pairs)


def differences(
    reader: Any,
    market: Market,
    corrected: Mapping[tuple[str, int], Mapping[str, Any]],
    start_minute: int,
    end_minute: int,
    *,
    missing: Iterable[tuple[str, int]] = (),
    doubted: Iterable[tuple[str, int]] = (),
    provider: str = "massive",
) -> list[str]:
    """Where the store is not the market; `doubted` bars may be missing, and never be anything else."""
    left_out, perhaps = set(missing), set(doubted)
    start_ms, end_ms = market.open_ms(start_minute), market.open_ms(end_minute)
    found = []
    for pair, symbol in zip(market.pairs, symbols_of(market), strict=True):
        panel = reader.panel([symbol], Timeframe.M1, start_ms, end_ms, provider=provider)
        for row in range(end_minute - start_minute):
            minute = start_minute + row
            event = corrected.get((pair, market.open_ms(minute))) or market.event(minute, pair)
            there = bool(panel.present[row, 0])
            if (pair, minute) in left_out:
                found += [f"{pair} {minute} should be missing"] if there else []
            elif not panel.covered[row, 0]:
                found.append(f"{pair} {minute} is unknown")
            elif not there and (pair, minute) in perhaps:
                continue
            elif (event is not None) != there:
                found.append(f"{pair} {minute} is {'missing' if event else 'invented'}")
            elif event is not None:
                got = {short: float(getattr(panel, name)[row, 0]) for name, short in FIELDS}
                if got != {short: event[short] for _, short in FIELDS}:
                    found.append(f"{pair} {minute} is {got}, not {event}")
    return found


async def _drip(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Length": str(len(body)), "Content-Type": "application/json"}
    )
    await response.prepare(request)
    size = max(len(body) // 10, 1)
    for at in range(0, len(body), size):
        await response.write(body[at : at + size])
        await asyncio.sleep(0.005)
    return response


@contextmanager
def massive_world(
    market: Market,
    script: FaultScript | None = None,
    *,
    seconds_per_minute: float,
    rest_faults: Iterable[str] = (),
    server: type[MassiveStreamServer] = MassiveStreamServer,
) -> Iterator[World]:
    """Both servers, running."""
    with server(market, script, seconds_per_minute=seconds_per_minute) as stream:
        world = World(stream, seconds_per_minute=seconds_per_minute, rest_faults=deque(rest_faults))
        with served(world.answer) as world.rest_url:
            yield world


@asynccontextmanager
async def massive_world_here(
    market: Market,
    script: FaultScript | None = None,
    *,
    seconds_per_minute: float,
    clock: Callable[[], float],
) -> AsyncIterator[World]:
    """Both servers in the loop that runs, by its clock; see tests/virtual_time.py."""
    server = MassiveStreamServer(market, script, seconds_per_minute=seconds_per_minute, seconds=clock)
    async with server.here() as stream:
        world = World(stream, seconds_per_minute=seconds_per_minute, clock=clock)
        async with served_here(world.answer) as world.rest_url:
            yield world


def wait_for(enough: Any, *, seconds: float = 120.0) -> None:
    """Wait until something is so; it must be within the deadline."""
    deadline = time.monotonic() + seconds
    while not enough():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
