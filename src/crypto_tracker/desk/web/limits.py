"""How many requests each caller may make: a bucket that is filled steadily and emptied by requests."""

import math
from collections import OrderedDict

_MINUTE = 60.0


class Buckets:
    """One bucket for each key, full at first. The least recently used are forgotten beyond `keys_max`.

    Moments are seconds of any clock that never goes back.

    >>> buckets = Buckets(per_minute=2)
    >>> [buckets.take("anna", now) for now in (0.0, 0.0, 0.0, 30.0)]
    [0, 0, 30, 0]
    """

    def __init__(self, *, per_minute: int, keys_max: int = 10_000) -> None:
        self._size = float(per_minute)
        self._per_second = per_minute / _MINUTE
        self._keys_max = keys_max
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> int:
        """Take one request out of the bucket; 0, or the seconds to wait where it is empty."""
        left = self._level(key, now)
        wait = self._wait(left)
        self._left[key] = (left if wait else left - 1.0, now)
        self._left.move_to_end(key)
        if len(self._left) > self._keys_max:
            self._left.popitem(last=False)
        return wait

    def _level(self, key: str, now: float) -> float:
        left, noted = self._left.get(key, (self._size, now))
        return min(self._size, left + (now - noted) * self._per_second)

    def _wait(self, left: float) -> int:
        return 0 if left >= 1.0 else max(1, math.ceil((1.0 - left) / self._per_second - 1e-9))
