"""The bars of one home: an open reader that all share, and whether somebody has written since."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from crypto_tracker.core.errors import StoreError
from crypto_tracker.store.reader import DATABASE_NAME, BarReader

ValueT = TypeVar("ValueT")

_PATIENCE_MS = 10_000  # what lacks bars is made again at most so often ...
_SHARE = 0.05  # ... and takes at most so much of all time


@dataclass(frozen=True, slots=True)
class BarsState:
    """Which database there is, -1 for none, and what changes whenever somebody writes to it."""

    made: int
    written: tuple[int, ...]


class HomeBars:
    """One reader of bars, open until it is let go of, or its database was made anew. Threads share it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._path = home / DATABASE_NAME
        self._log = self._path.with_name(f"{DATABASE_NAME}-wal")  # writes stand here before they are moved
        self._lock = Lock()
        self._open: tuple[int, BarReader, ExitStack] | None = None
        self._closed = False

    @property
    def there(self) -> bool:
        """Whether any bars were ever stored."""
        return self._path.is_file()

    def state(self) -> BarsState:
        """The state of the database; of two equal ones nothing was written between."""
        found = [_looked_up(path) for path in (self._path, self._log)]
        return BarsState(found[0][0], (*found[0], *found[1]))

    def reader(self) -> BarReader:
        """The bars; each read is a state of its own. Raises DataError where none were ever stored."""
        made = _looked_up(self._path)[0]
        with self._lock:
            if self._closed:
                raise StoreError(f"the bars under {self.home} were let go of: this process is about to end")
            known = self._open
            if known is not None and known[0] == made:
                return known[1]
            if known is not None:
                self._open = None
                known[2].close()
            with ExitStack() as opening:
                reader = opening.enter_context(BarReader.open(self.home))
                self._open = (made, reader, opening.pop_all())
            return reader

    def close(self) -> None:
        """Let go of the file for good."""
        with self._lock:
            known, self._open, self._closed = self._open, None, True
        if known is not None:
            known[2].close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What something was made of: the bars as they were, whether none lacked, and how long it lasts."""

    state: BarsState
    whole: bool
    at_ms: int
    lasts_ms: int

    @classmethod
    def of(cls, state: BarsState, *, whole: bool, started_ms: int, ended_ms: int) -> "Basis":
        """That of something whose making took this long."""
        lasts_ms = max(_PATIENCE_MS, round((ended_ms - started_ms) / _SHARE))
        return cls(state=state, whole=whole, at_ms=ended_ms, lasts_ms=lasts_ms)

    def holds(self, bars: HomeBars, now_ms: int) -> bool:
        """Whether the same would be made of the bars now, as far as a look at their files can tell.

        What lacked bars may be so old that some could have come since.
        """
        now = bars.state()
        if now.made != self.state.made:
            return False
        return self.whole or now == self.state or 0 <= now_ms - self.at_ms < self.lasts_ms


class OfBars(Generic[ValueT]):
    """A value that is made of stored bars, and made again once bars that it lacked may have come.

    Parameters
    ----------
    make : makes the value, and says whether no bars were lacking
    """

    def __init__(
        self, bars: HomeBars, make: Callable[[], tuple[ValueT, bool]], now_ms: Callable[[], int]
    ) -> None:
        self._bars = bars
        self._make = make
        self._now_ms = now_ms
        self._lock = Lock()  # held by the one who makes it: it is the same for all who wait
        self._kept: tuple[Basis, ValueT] | None = None

    def get(self) -> ValueT:
        """The value of the bars that there are."""
        kept = self._kept
        if kept is None or not kept[0].holds(self._bars, self._now_ms()):
            with self._lock:
                kept = self._kept
                if kept is None or not kept[0].holds(self._bars, self._now_ms()):
                    state, started_ms = self._bars.state(), self._now_ms()
                    value, whole = self._make()
                    basis = Basis.of(state, whole=whole, started_ms=started_ms, ended_ms=self._now_ms())
                    kept = self._kept = basis, value
        return kept[1]


def _looked_up(path: Path) -> tuple[int, int, int]:
    """Number, size and last change of a file; -1 and nothing where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return -1, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns
