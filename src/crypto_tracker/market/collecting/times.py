"""The time that a collector lives in: that of the market, which replays let run faster than ours."""

import asyncio
from typing import Protocol


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


async def until(time: MarketTime, moment_ms: int) -> None:
    """Wait for a moment; none that is over."""
    await asyncio.sleep(0)
    while (left_ms := moment_ms - time.now_ms()) > 0:  # noqa: ASYNC110 - a replay's time may stand still
        await asyncio.sleep(time.seconds(left_ms))


async def until_or(time: MarketTime, moment_ms: int, event: asyncio.Event) -> None:
    """Wait for a moment or for an event, whichever is first; the event is cleared then."""
    while not event.is_set() and (left_ms := moment_ms - time.now_ms()) > 0:
        try:
            async with asyncio.timeout(time.seconds(left_ms)):
                await event.wait()
        except TimeoutError:
            continue
    event.clear()
