"""Trying again what may go better the next time: exponential backoff with jitter, Retry-After obeyed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import stamina
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from crypto_tracker.config.market_data import Fetching
from crypto_tracker.core.errors import ProviderUnavailable

T = TypeVar("T")

Tell = Callable[[int, int, float, str], None]
"""Hears of a new attempt: its number, how many there are in all, the seconds until it, and what failed."""

_tell: ContextVar[Tell | None] = ContextVar("tell", default=None)
_attempts: ContextVar[int] = ContextVar("attempts", default=1)


@contextmanager
def attempts_told(tell: Tell) -> Iterator[None]:
    """Let `tell` hear of every new attempt of whatever is asked, by whomever, inside the block."""
    token = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(token)


def _told(details: RetryDetails) -> None:
    tell = _tell.get()
    if tell is not None and isinstance(details.caused_by, Transient):
        tell(details.retry_num + 1, _attempts.get(), details.wait_for, str(details.caused_by))


# Left alone, stamina prints every new attempt, with the arguments of what is tried, to standard error.
set_on_retry_hooks((_told,))


class Transient(Exception):
    """A failure that may pass by itself: no answer, too many requests, an answer that cannot be read.

    Its text is a clause that begins a sentence and names the provider, such as `massive gave no answer
    within 30 s`.
    `retry_after` are the seconds after which the provider asks to be tried again, None where it does not say.
    """

    def __init__(self, clause: str, *, retry_after: float | None = None) -> None:
        super().__init__(clause)
        self.retry_after = retry_after


class Retry:
    """The policy of one provider.

    Between two attempts lie `wait_seconds`, doubled each time, plus up to `wait_seconds` of jitter, and no
    more than `wait_max_seconds`; or exactly what the provider asks for. Where that is longer than
    `wait_max_seconds`, nothing is tried again here: who asked decides what to do meanwhile.
    """

    def __init__(self, fetching: Fetching) -> None:
        self._attempts = fetching.attempts
        self._wait_max = fetching.wait_max_seconds
        self._caller = stamina.AsyncRetryingCaller(
            attempts=fetching.attempts,
            timeout=None,
            wait_initial=fetching.wait_seconds,
            wait_max=fetching.wait_max_seconds,
            wait_jitter=fetching.wait_seconds,
            wait_exp_base=2.0,
        )

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, which is called again as long as it raises Transient.

        Raises ProviderUnavailable when every attempt has failed. Any other error goes through at once.
        """
        began = asyncio.get_running_loop().time()
        token = _attempts.set(self._attempts)
        try:
            return await self._caller(self._backoff, work)
        except Transient as failure:
            if self._attempts == 1 or self._is_too_long(failure):
                raise ProviderUnavailable(f"{failure}; try again later") from None
            seconds = asyncio.get_running_loop().time() - began
            took = f" in {seconds:.0f} s" if seconds >= 1.0 else ""
            raise ProviderUnavailable(
                f"{failure}; all {self._attempts} attempts{took} failed, try again later"
            ) from None
        finally:
            _attempts.reset(token)

    def _backoff(self, error: Exception) -> bool | float:
        if not isinstance(error, Transient) or self._is_too_long(error):
            return False
        return True if error.retry_after is None else max(error.retry_after, 0.0)

    def _is_too_long(self, failure: Transient) -> bool:
        return failure.retry_after is not None and not failure.retry_after <= self._wait_max


async def repeat(work: Callable[[], Awaitable[T]], fetching: Fetching) -> T:
    """The result of `work`, tried as often as `fetching` says; for calls that do not go through `http`."""
    return await Retry(fetching).run(work)
