"""Where the days of a time zone begin, in UTC."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from crypto_tracker.core.arrays import IntArray


@lru_cache(maxsize=64)
def local_days(start_ms: int, end_ms: int, timezone: str) -> tuple[tuple[date, ...], IntArray]:
    """The days that [start_ms, end_ms] touches, and when each begins, UTC milliseconds, in order.

    >>> days, begins = local_days(1_755_864_000_000, 1_755_864_000_000, "America/Los_Angeles")
    >>> days, begins.tolist()
    ((datetime.date(2025, 8, 22),), [1755846000000])
    """
    zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
    first = datetime.fromtimestamp(start_ms // 1_000, tz=zone).date()
    last = datetime.fromtimestamp(end_ms // 1_000, tz=zone).date()
    days = tuple(first + timedelta(days=number) for number in range((last - first).days + 1))
    return days, np.array([midnight_ms(day, timezone) for day in days], dtype=np.int64)


def midnight_ms(day: date, timezone: str) -> int:
    """When a day begins in its zone.

    >>> midnight_ms(date(2025, 8, 22), "America/Los_Angeles")
    1755846000000
    """
    zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
    return int(datetime.combine(day, time(), tzinfo=zone).timestamp()) * 1_000
