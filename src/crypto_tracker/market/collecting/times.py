"""The time that a collector lives in: that of the market, which replays let run faster than ours."""

import asyncio
from typing import Protocol


class MarketTime(Protocol):
    """Tells the present moment of the market, and how long to wait for a later one."""

    def now_ms(self) -> int:
        """The present moment."""
        ...

    def seconds(self, duration_ms: int) -> float:
        """How many seconds of ours so much of the market's time takes."""
        ...


async def until(time: MarketTime, moment_ms: int) -> None:
    """Wait for a moment; none that is over."""
    await asyncio.sleep(max(time.seconds(moment_ms - time.now_ms()), 0.0))


async def until_or(time: MarketTime, moment_ms: int, event: asyncio.Event) -> None:
    """Wait for a moment or for an event, whichever is first; the event is cleared then."""
    try:
        async with asyncio.timeout(max(time.seconds(moment_ms - time.now_ms()), 0.0)):
            await event.wait()
    except TimeoutError:
        return
    event.clear()
