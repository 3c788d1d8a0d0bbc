"""The time that a collector lives in: that of the market, which replays let run faster than ours."""

import asyncio
from collections.abc import Callable
from typing import Protocol

SLICE_SECONDS = 1.0
"""Nobody sleeps for longer without a look at the clock, which may be set meanwhile."""


class MarketTime(Protocol):
    """Tells the present moment of the market, and how long to wait for a later one."""

    @property
    def follows_reading(self) -> bool:
        """Whether it stands at what was read last, as in a replay that is read as fast as can be."""
        ...

    def now_ms(self) -> int:
        """The present moment."""
        ...

    def seconds(self, duration_ms: int) -> float:
        """How many seconds of ours so much of the market's time takes."""
        ...


class SteadyTime:
    """For durations: runs as fast as the market's time, and nobody sets it. Its moments mean nothing else."""

    def __init__(self, time: MarketTime) -> None:
        self._time = time

    @property
    def follows_reading(self) -> bool:
        """Whether it stands at what was read last."""
        return self._time.follows_reading

    def now_ms(self) -> int:
        """Milliseconds since whenever."""
        if self.follows_reading:
            return self._time.now_ms()
        return int(asyncio.get_running_loop().time() * 1_000 / self._time.seconds(1_000))

    def seconds(self, duration_ms: int) -> float:
        """How many seconds of ours so much of it takes."""
        return self._time.seconds(duration_ms)


async def until(time: MarketTime, moment_ms: int) -> None:
    """Wait for a moment; none that is over."""
    await until_due(time, lambda _: moment_ms)


async def until_due(
    time: MarketTime, due_ms: Callable[[int], int], event: asyncio.Event | None = None
) -> None:
    """Wait until something is due, or for an event, whichever is first; the event is cleared then.

    `due_ms` tells from the present moment when that is, and is asked again with every look at the clock: a
    clock that was set forward or back in the meantime is obeyed within a second.
    """
    await asyncio.sleep(0)
    while event is None or not event.is_set():
        now_ms = time.now_ms()
        left_ms = due_ms(now_ms) - now_ms
        if left_ms <= 0:
            break
        seconds = min(time.seconds(left_ms), SLICE_SECONDS)
        if event is None:
            await asyncio.sleep(seconds)
            continue
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            continue
    if event is not None:
        event.clear()
