"""The median bar range of the days before a decision (R7).

A median over 30 days of minutes for every symbol and day would sort the same bars thirty times. So each
day is sorted once, and the median of a window is found by bisection over the sorted days.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit

from crypto_tracker.core.arrays import FloatArray, IntArray, RecordArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.timeframes import DAY_MS


def range_medians(bars: Panel | Sequence[Panel], setups: RecordArray, days: int) -> FloatArray:
    """For each setup the median of (high - low) / low over the `days` whole UTC days before its day.

    NaN where the bars hold none of those days. They are one panel, or panels of which one follows the other,
    and may begin before the simulated span, and should.
    """
    panels = [panel for panel in ([bars] if isinstance(bars, Panel) else bars) if len(panel)]
    result = np.full(len(setups), np.nan)
    if not len(setups) or not panels:
        return result
    times = np.concatenate([panel.open_time_ms for panel in panels])
    first_day, last_day = int(times[0]) // DAY_MS, int(times[-1]) // DAY_MS
    starts = np.searchsorted(times, np.arange(first_day, last_day + 2) * DAY_MS)
    day_of_setup = setups["time_ms"] // DAY_MS - first_day
    order = np.argsort(setups["symbol"], kind="stable")
    symbols, firsts = np.unique(setups["symbol"][order], return_index=True)
    for symbol, rows in zip(symbols.tolist(), np.split(order, firsts[1:]), strict=True):
        wanted, place = np.unique(day_of_setup[rows], return_inverse=True)
        ranges = np.concatenate(
            [(panel.high[:, symbol] - panel.low[:, symbol]) / panel.low[:, symbol] for panel in panels]
        )
        result[rows] = _medians(*_sorted_days(ranges, starts), wanted, days)[place]
    return result


def _sorted_days(ranges: FloatArray, starts: IntArray) -> tuple[FloatArray, IntArray]:
    """The ranges of each day sorted, missing ones left out, and where each day begins among them."""
    length = int(np.diff(starts).max())
    whole = np.full((len(starts) - 1, length), np.nan)
    for day in range(len(whole)):
        part = ranges[starts[day] : starts[day + 1]]
        whole[day, : len(part)] = part
    whole.sort(axis=1)  # NaN stands last
    counts = np.count_nonzero(~np.isnan(whole), axis=1)
    values = whole.ravel() if counts.min() == length else whole[np.arange(length) < counts[:, None]]
    return values, np.concatenate([[0], np.cumsum(counts)])


@njit(cache=True)
def _medians(values, begins, wanted, days):
    """The median of each window [day - days, day), NaN where it holds nothing."""
    result = np.full(len(wanted), np.nan)
    for i in range(len(wanted)):
        first, last = max(wanted[i] - days, 0), min(wanted[i], len(begins) - 1)
        if last > first and begins[last] > begins[first]:
            result[i] = _median_of_sorted_days(values, begins[first : last + 1])
    return result


@njit(cache=True)
def _median_of_sorted_days(values, begins):
    """The median of runs that are each sorted: values[begins[d] : begins[d + 1]]."""
    n = begins[-1] - begins[0]
    lower = _smallest(values, begins, (n - 1) // 2)
    if n % 2 == 1:
        return lower
    at_most, above = 0, np.inf
    for day in range(len(begins) - 1):
        run = values[begins[day] : begins[day + 1]]
        place = np.searchsorted(run, lower, side="right")
        at_most += place
        if place < len(run):
            above = min(above, run[place])
    upper = lower if at_most > n // 2 else above
    return (lower + upper) / 2.0


@njit(cache=True)
def _smallest(values, begins, k):
    """The k-th smallest value, counted from 0, by bisection over the bit patterns of non-negative floats."""
    pattern = np.empty(1, dtype=np.int64)
    as_float = pattern.view(np.float64)
    low, high = np.int64(0), np.int64(0x7FF0000000000000)
    while low < high:
        pattern[0] = low + (high - low) // 2
        at_most = 0
        for day in range(len(begins) - 1):
            run = values[begins[day] : begins[day + 1]]
            at_most += np.searchsorted(run, as_float[0], side="right")
        if at_most > k:
            high = pattern[0]
        else:
            low = pattern[0] + 1
    pattern[0] = low
    return as_float[0]
