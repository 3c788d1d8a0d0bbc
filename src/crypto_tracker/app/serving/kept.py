"""Views that take a while: made in a thread of their own now and then, and served as they were until then."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from threading import Lock, Thread
from time import monotonic
from typing import Generic, TypeVar

from crypto_tracker.core.errors import StoreError

ValueT = TypeVar("ValueT")

_SHARE = 0.05  # of all time, that making one view may take


class Kept(Generic[ValueT]):
    """A value that is brought up to date when somebody looks and it is old, and nobody waits long for it.

    `look` never waits; `get` waits for the very first one, and for a newer one as long as it is told to. What
    takes long is made less often, so that it never takes more than a twentieth of the time. Where it could
    not be made, whoever looks gets the error, until the next attempt. Where the machine gives no thread to
    make it in, what was made before is served on; without that it is an error, and the next look tries again.

    Parameters
    ----------
    make : called in a thread of its own, never twice at once
    seconds : a value is served for at least so long
    clock : seconds, of any beginning
    """

    def __init__(
        self, make: Callable[[], ValueT], *, seconds: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._make = make
        self._seconds = seconds
        self._clock = clock
        self._lock = Lock()
        self._newest: Future[ValueT] | None = None
        self._coming: Future[ValueT] | None = None
        self._made_at = self._lasts = 0.0  # seconds; by a clock that may be set back

    def look(self) -> ValueT | None:
        """The newest value there is; None while the first one is being made."""
        self._begin()
        newest = self._newest
        return None if newest is None else _value(newest)

    def get(self, *, patience: float = 0.0) -> ValueT:
        """The newest value there is; waits for the first, and `patience` seconds where the newest is old."""
        coming = self._begin()
        newest = self._newest
        if newest is None or wait([coming], timeout=patience).done:
            return _value(coming)
        return _value(newest)

    def _begin(self) -> Future[ValueT]:
        """What is being made, begun now where it is time, else what was made last."""
        with self._lock:
            if self._coming is not None:
                return self._coming
            if self._newest is not None and 0.0 <= self._clock() - self._made_at < self._lasts:
                return self._newest
            coming: Future[ValueT] = Future()
            try:
                Thread(target=self._work, args=(coming,), name="kept", daemon=True).start()
            except RuntimeError as error:
                if self._newest is not None:
                    return self._newest
                raise StoreError(
                    f"the machine gives no thread to read this in ({error}): try again"
                ) from error
            self._coming = coming
        return coming

    def _work(self, coming: Future[ValueT]) -> None:
        started = self._clock()
        try:
            settle = partial(coming.set_result, self._make())
        except Exception as error:  # noqa: BLE001 - whoever looks gets it
            settle = partial(coming.set_exception, error)
        ended = self._clock()
        with self._lock:
            self._newest, self._coming = coming, None
            self._made_at, self._lasts = ended, max(self._seconds, (ended - started) / _SHARE)
            settle()


def _value(made: Future[ValueT]) -> ValueT:
    error = made.exception()
    if error is not None:
        raise error.with_traceback(None)  # it is raised many times, and would grow each time
    return made.result()
