"""A small memory of what was made lately, for values that are dear to make and the same for many requests."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

ValueT = TypeVar("ValueT")


class Recent(Generic[ValueT]):
    """The values of the last `most` keys asked for; with `age_ms`, none that was made longer ago.

    Threads share it. Where two make the same value at once, both make it and the later one stays.
    """

    def __init__(self, most: int, *, age_ms: int | None = None) -> None:
        self._most = most
        self._age_ms = age_ms
        self._lock = Lock()
        self._values: OrderedDict[Hashable, tuple[int, ValueT]] = OrderedDict()

    def get(self, key: Hashable, *, now_ms: int = 0) -> ValueT | None:
        """The value of a key, None where it is not there or too old."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            if self._age_ms is not None and not 0 <= now_ms - found[0] < self._age_ms:
                del self._values[key]
                return None
            self._values.move_to_end(key)
            return found[1]

    def put(self, key: Hashable, value: ValueT, *, now_ms: int = 0) -> None:
        """Remember a value, and forget the one that nobody asked for longest where there are too many."""
        with self._lock:
            self._values[key] = (now_ms, value)
            self._values.move_to_end(key)
            while len(self._values) > self._most:
                self._values.popitem(last=False)

    def made(self, key: Hashable, make: Callable[[], ValueT], *, now_ms: int = 0) -> ValueT:
        """The value of a key, made where it is not there."""
        found = self.get(key, now_ms=now_ms)
        if found is None:
            found = make()
            self.put(key, found, now_ms=now_ms)
        return found

    def __len__(self) -> int:
        return len(self._values)
