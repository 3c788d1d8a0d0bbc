"""A token bucket: how often a provider may be asked, the most urgent first."""

import asyncio
import math

from crypto_tracker.core.errors import UsageError
from crypto_tracker.net.gate import Gate, urgency_of_request


class RateLimit:
    """At most `burst` requests at once, and `per_second` of them in the long run.

    Of those who wait the most urgent goes first, and of equals who came first.

    In no stretch of s seconds are more than `burst + per_second * s` requests let through. With a burst of
    1 they come evenly, so that no minute, wherever a provider begins to count it, holds more than its share.

    One bucket may be shared by everything that asks the same provider in one event loop.
    """

    def __init__(self, per_second: float, burst: int = 1) -> None:
        if not (0.0 < per_second < math.inf) or burst < 1:
            raise UsageError(
                f"a rate of {per_second:g} a second with a burst of {burst} is no limit: "
                "give a rate above 0 and a burst of at least 1"
            )
        self._interval = 1.0 / per_second
        self._patience = (burst - 1) * self._interval
        # The moment at which the bucket is full again; each request moves it on by one interval.
        self._full_at = -math.inf
        self._quiet_until = -math.inf
        self._turn = Gate(1)  # one waits for its moment, the others for their turn

    async def acquire(self) -> None:
        """Wait until a request may be made; who is cancelled while waiting uses nothing up."""
        loop = asyncio.get_running_loop()
        async with self._turn.turn(urgency_of_request()):
            # A pause may come while one waits, and a sleep may end a little early: look again.
            while (moment := self._earliest()) > (now := loop.time()):  # noqa: ASYNC110 - time, no event
                await asyncio.sleep(moment - now)
            self._full_at = max(self._full_at, loop.time()) + self._interval

    def pause(self, seconds: float) -> None:
        """Let nobody through for so long, such as when the provider asks for it."""
        until = asyncio.get_running_loop().time() + seconds
        self._quiet_until = max(self._quiet_until, until)

    def _earliest(self) -> float:
        return max(self._full_at - self._patience, self._quiet_until)
