"""All requests to one provider go through one gate: so many at a time, and what is urgent first."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import IntEnum

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.market.providers.base import FetchedBars, History, MarketInfo, Reach


class Urgency(IntEnum):
    """Who goes first."""

    NOW = 0  # what trading waits for
    SOON = 1  # bars of a schedule
    SOMETIME = 2  # years that are filled in the background


class Gate:
    """Lets so many through at a time; of those who wait, the most urgent and then the first who came."""

    def __init__(self, parallel: int) -> None:
        self._free = parallel
        self._came = 0
        self._waiting: list[tuple[Urgency, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def turn(self, urgency: Urgency) -> AsyncIterator[None]:
        """Wait for a place, and hold it while the block runs."""
        await self._enter(urgency)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, urgency: Urgency) -> None:
        if self._free:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._came += 1
        heapq.heappush(self._waiting, (urgency, self._came, place))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave()  # it was let in and goes at once
            raise

    def _leave(self) -> None:
        while self._waiting:
            place = heapq.heappop(self._waiting)[2]
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


class GatedHistory:
    """A History whose requests wait at a gate."""

    def __init__(self, history: History, gate: Gate, urgency: Urgency) -> None:
        self._history = history
        self._gate = gate
        self._urgency = urgency

    @property
    def name(self) -> str:
        """The name under which its bars are stored."""
        return self._history.name

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """Those that it can be asked for."""
        return self._history.timeframes

    def reach(self, timeframe: Timeframe, now_ms: int) -> Reach:
        """What can be asked for at this moment."""
        return self._history.reach(timeframe, now_ms)

    async def markets(self) -> Sequence[MarketInfo]:
        """Every market of the provider that has a symbol of ours."""
        async with self._gate.turn(self._urgency):
            return await self._history.markets()

    async def fetch(self, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> FetchedBars:
        """The bars that open in [start_ms, end_ms)."""
        async with self._gate.turn(self._urgency):
            return await self._history.fetch(symbol, timeframe, start_ms, end_ms)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._history.close()
