"""The circuit breaker: a provider that fails again and again is left alone for a while."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from purgatory.domain.model import Context, HalfOpenedState, OpenedState

from crypto_tracker.config.market_data import Fetching
from crypto_tracker.core.errors import ProviderError, ProviderUnavailable

T = TypeVar("T")


REST_SECONDS_MAX = 900.0
"""No provider is left alone for longer because it asked for it: whoever says a day may mean anything."""


class LeftAlone(ProviderUnavailable):
    """Nothing is asked, because the provider is left alone; `seconds` are how much longer."""

    def __init__(self, text: str, *, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


class Breaker:
    """Lets requests through to a provider, until `breaker_failures` in a row have failed for good.

    Then each raises LeftAlone at once for `breaker_seconds`. After that one request goes first, while the
    others wait for how it fares: when it succeeds all go on, when it fails the provider is left alone again.

    Only ProviderUnavailable is a failure. A provider that refuses is there, and answers.

    The states are purgatory's; the time is that of the event loop, which no change of the wall clock moves.
    """

    def __init__(self, name: str, fetching: Fetching) -> None:
        self._name = name
        self._seconds = fetching.breaker_seconds
        self._context = Context(name, threshold=fetching.breaker_failures, ttl=math.inf)
        self._closed_until = -math.inf  # the moment from which on a trial may be made
        self._why = ""
        self._trial: asyncio.Event | None = None

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, which makes one request with all its attempts; raises LeftAlone instead."""
        await self._admitted()
        trial = self._trial = asyncio.Event() if self._is("half-opened") else None
        try:
            result = await work()
        except LeftAlone:
            raise  # the provider asked for it, or failed too often: that was counted already
        except ProviderUnavailable as failure:
            if not self._is("opened"):
                self._context.handle_exception(failure)
                self._note_opening(str(failure))
            raise
        except ProviderError:
            self._context.handle_end_request()
            raise
        else:
            self._context.handle_end_request()
            return result
        finally:
            # Who was cancelled has proved nothing: the next one in line is the trial then.
            if trial is not None:
                trial.set()
                self._trial = None
            self._context.messages.clear()

    def rest(self, seconds: float, why: str) -> LeftAlone:
        """Leave the provider alone for so long, because it asked for it, and for 15 minutes at most.

        Returns what whoever was told so may raise.
        """
        now = asyncio.get_running_loop().time()
        if not seconds <= REST_SECONDS_MAX:
            seconds = REST_SECONDS_MAX
            why += f", and is asked again after {REST_SECONDS_MAX / 60.0:.0f} minutes"
        if not self._is("opened") or now + seconds > self._closed_until:
            self._closed_until, self._why = now + seconds, why
        self._context.set_state(OpenedState(self._name))
        return self._left_alone(self._closed_until - now)

    def check(self) -> None:
        """Raise LeftAlone where the provider is left alone by now: for requests that are under way."""
        if self._is("opened") and (remaining := self._remaining()) > 0.0:
            raise self._left_alone(remaining)

    async def _admitted(self) -> None:
        while True:
            self.check()
            if self._is("opened"):
                self._context.set_state(HalfOpenedState())
            if self._trial is None:
                return
            await self._trial.wait()

    def _remaining(self) -> float:
        return self._closed_until - asyncio.get_running_loop().time()

    def _left_alone(self, seconds: float) -> LeftAlone:
        return LeftAlone(
            f"{self._name} is left alone for another {seconds:.0f} s: {self._why}", seconds=seconds
        )

    def _note_opening(self, why: str) -> None:
        if self._is("opened"):
            self._closed_until = asyncio.get_running_loop().time() + self._seconds
            self._why = why

    def _is(self, state: str) -> bool:
        return self._context.state == state
