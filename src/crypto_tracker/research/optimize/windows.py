"""Walking forward: where each window searches, and where it trades what it found."""

from collections.abc import Sequence
from dataclasses import dataclass

from crypto_tracker.core.errors import UsageError

_IN_SAMPLE_DAYS_MIN = 5
_OUT_OF_SAMPLE_DAYS_MIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One step of a walk: spans [start, end) in milliseconds, and how many trading days each has."""

    in_sample: tuple[int, int]
    out_of_sample: tuple[int, int]
    in_sample_days: int
    out_of_sample_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """All windows, and the span in which the parameters of the future are searched: the latest one."""

    windows: tuple[Window, ...]
    latest: tuple[int, int]

    @property
    def searched(self) -> tuple[tuple[int, int], ...]:
        """Every span in which parameters are chosen; the last one has no future yet."""
        return (*(window.in_sample for window in self.windows), self.latest)


def walk(
    day_starts_ms: Sequence[int],
    end_ms: int,
    *,
    windows: int,
    ratio: float,
    in_sample_days: int | None,
    out_of_sample_days: int | None,
) -> Walk:
    """Cut a span of trading days into windows that step by what they trade; the last one ends with the span.

    Parameters
    ----------
    day_starts_ms : open time of the first bar of each trading day
    windows : how many, unless both lengths are given: then as many as fit
    ratio : days in sample for each day out of sample, where at least one length is not given

    Raises UsageError where the days do not suffice.
    """
    days = len(day_starts_ms)
    bounds = [*day_starts_ms, end_ms]
    past, future = in_sample_days, out_of_sample_days
    if past is not None and future is not None:
        windows = (days - past) // future
    elif past is not None:
        future = (days - past) // windows
    elif future is not None:
        past = days - windows * future
    else:
        future = int(days / (windows + ratio))
        past = int(future * ratio)
    if windows < 1 or past < _IN_SAMPLE_DAYS_MIN or future < _OUT_OF_SAMPLE_DAYS_MIN:
        raise UsageError(
            f"{days} days make no windows of {max(past, 0)} days to search and {max(future, 0)} to trade "
            f"(at least {_IN_SAMPLE_DAYS_MIN} and {_OUT_OF_SAMPLE_DAYS_MIN}): choose a longer --timerange, "
            "fewer --windows, or shorter --in-sample and --out-of-sample"
        )
    first = days - windows * future - past
    found = []
    for number in range(windows):
        start = first + number * future
        middle, stop = start + past, start + past + future
        found.append(
            Window(
                in_sample=(bounds[start], bounds[middle]),
                out_of_sample=(bounds[middle], bounds[stop]),
                in_sample_days=past,
                out_of_sample_days=future,
            )
        )
    return Walk(windows=tuple(found), latest=(bounds[days - past], bounds[days]))
