"""How far our clock and that of an exchange are apart, as far as what it says lets us know."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import inf

from crypto_tracker.core.timeframes import MINUTE_MS, to_ms

DATE_MS = 1_000
"""The time in the headers of an answer is cut to seconds."""

_EVERYTHING = (-inf, inf)


@dataclass(slots=True)
class ClockDifference:
    """By how many milliseconds our clock is ahead, as bounds that everything known agrees with.

    An answer was written after it was asked for and before it came, which tells both bounds. One that does
    not agree with those before counts once the next one says the same: clocks are set, and a single answer
    may come out of a cache. A message that nobody asked for tells the upper bound only: no message of the
    last minute or two came sooner after it was written.
    """

    _answers: tuple[float, float] = _EVERYTHING
    _other: tuple[float, float] | None = None  # what one answer said that did not agree
    _delay_ms: float = inf  # of the quickest message of the present minute
    _delay_before_ms: float = inf  # of the one before
    _minute_ms: int = 0

    def answered(self, said_ms: int, *, asked_ms: int, came_ms: int, within_ms: int = 0) -> None:
        """An answer held a time of [said_ms, said_ms + within_ms), by the clock of the exchange."""
        said = (float(asked_ms - said_ms - within_ms), float(came_ms - said_ms))
        known = _common(self._answers, said)
        if known is None:
            known = None if self._other is None else _common(self._other, said)
            if known is None:
                self._other = said if said[0] <= said[1] else None
                return
        self._answers, self._other = known, None

    def told(self, said_ms: int, *, came_ms: int) -> None:
        """A message that nobody asked for held this time."""
        if abs(came_ms - self._minute_ms) >= MINUTE_MS:
            self._minute_ms = came_ms
            self._delay_before_ms, self._delay_ms = self._delay_ms, inf
        self._delay_ms = min(self._delay_ms, came_ms - said_ms)

    @property
    def ahead_ms(self) -> int:
        """What is certain: positive where our clock is ahead by at least so much, negative where behind."""
        low, high = self._answers
        return int(low if low > 0.0 else min(high, 0.0))

    def earlier(self, our_ms: int) -> int:
        """A moment by our clock, as ours or that of the exchange tells it, whichever is earlier.

        Where nothing says that they differ, they are taken to agree.
        """
        low, high = self._answers
        delay = self._delay
        by = max(high if low > 0.0 else 0.0, delay if DATE_MS < delay < inf else 0.0)
        return our_ms - int(by)

    def surely(self, our_ms: int) -> int:
        """The same with all doubt: the earliest moment that it can be there."""
        highs = [bounds[1] for bounds in (self._answers, self._other or _EVERYTHING) if bounds[1] < inf]
        return min(self.earlier(our_ms), our_ms - int(max(0.0, *highs, 0.0)))

    @property
    def _delay(self) -> float:
        return min(self._delay_ms, self._delay_before_ms)


def date_of(headers: Mapping[str, str] | None) -> int | None:
    """The time in the headers of an answer that was just written; None where there is none of use."""
    named = {name.lower(): value for name, value in (headers or {}).items()}
    if "date" not in named or named.get("age", "0").strip() != "0":
        return None
    try:
        return to_ms(parsedate_to_datetime(named["date"]))
    except ValueError:
        return None


def _common(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float] | None:
    low, high = max(one[0], other[0]), min(one[1], other[1])
    return None if low > high else (low, high)
