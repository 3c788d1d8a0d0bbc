"""A gate for requests: so many at a time, and of those who wait the most urgent first."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from enum import IntEnum


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


_gate: ContextVar[Gate | None] = ContextVar("gate", default=None)
_urgency: ContextVar[Urgency] = ContextVar("urgency", default=Urgency.NOW)


@contextmanager
def through(gate: Gate, urgency: Urgency) -> Iterator[None]:
    """Every request that this task makes inside the block, and that tasks make which it begins, waits there.

    One piece of work may make many requests, and wait between them. It holds a place for each request alone.
    """
    before = _gate.set(gate), _urgency.set(urgency)
    try:
        yield
    finally:
        _gate.reset(before[0])
        _urgency.reset(before[1])


@asynccontextmanager
async def turn_of_request() -> AsyncIterator[None]:
    """A place at the gate for one request; at once where there is no gate."""
    gate = _gate.get()
    if gate is None:
        yield
        return
    async with gate.turn(_urgency.get()):
        inside = _gate.set(None)  # a request that needs another one would wait for itself
        try:
            yield
        finally:
            _gate.reset(inside)


def urgency_of_request() -> Urgency:
    """How urgent the work is that a request is made for; all of it, where nobody says so."""
    return _urgency.get()
