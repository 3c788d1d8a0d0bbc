"""Timeframes and the time grid. All times are UTC, in integer milliseconds where they stand in arrays."""

from datetime import UTC, datetime
from enum import Enum

from crypto_tracker.core.errors import UsageError

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


class Timeframe(Enum):
    """The length of a bar. A bar covers [open_time, open_time + length) and is known from its close on.

    >>> Timeframe.parse("15m").ms
    900000
    """

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"

    @property
    def ms(self) -> int:
        """Length in milliseconds."""
        return _LENGTH_MS[self]

    @classmethod
    def parse(cls, text: str) -> "Timeframe":
        """Read `1m`, `5m`, `15m`, `1h`, `4h` or `1d`; raises UsageError on anything else."""
        for member in cls:
            if member.value == text:
                return member
        known = ", ".join(member.value for member in cls)
        raise UsageError(f"timeframe {text!r} is not one of {known}")

    def floor(self, time_ms: int) -> int:
        """The open time of the bar that holds `time_ms`."""
        return time_ms - time_ms % self.ms

    def __str__(self) -> str:
        return self.value


_LENGTH_MS = {
    Timeframe.M1: MINUTE_MS,
    Timeframe.M5: 5 * MINUTE_MS,
    Timeframe.M15: 15 * MINUTE_MS,
    Timeframe.H1: HOUR_MS,
    Timeframe.H4: 4 * HOUR_MS,
    Timeframe.D1: DAY_MS,
}


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch of an aware datetime, exact; a naive one is refused."""
    if moment.tzinfo is None:
        raise UsageError(f"time {moment.isoformat()} has no zone: write UTC times, such as 2025-08-01T12:00Z")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000 + delta.microseconds // 1_000


def from_ms(time_ms: int) -> datetime:
    """The aware UTC datetime of integer milliseconds since the epoch.

    >>> from_ms(0).isoformat()
    '1970-01-01T00:00:00+00:00'
    """
    return datetime.fromtimestamp(int(time_ms) // 1_000, tz=UTC).replace(
        microsecond=int(time_ms) % 1_000 * 1_000
    )


def month_start_ms(time_ms: int) -> int:
    """The start of the UTC calendar month that holds `time_ms`."""
    moment = from_ms(time_ms)
    return to_ms(datetime(moment.year, moment.month, 1, tzinfo=UTC))


def next_month_ms(time_ms: int) -> int:
    """The start of the UTC calendar month after the one that holds `time_ms`."""
    moment = from_ms(time_ms)
    year, month = (moment.year + 1, 1) if moment.month == 12 else (moment.year, moment.month + 1)
    return to_ms(datetime(year, month, 1, tzinfo=UTC))
