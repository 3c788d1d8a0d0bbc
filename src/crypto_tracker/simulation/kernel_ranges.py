"""The median bar range of the days before a decision (R7).

A median over 30 days of minutes for every symbol and day would sort the same bars thirty times. So each
day is sorted once, and the median of a window is found by bisection over the sorted days.
"""

import numpy as np
from numba import njit

from crypto_tracker.core.arrays import FloatArray, RecordArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.timeframes import DAY_MS


def range_medians(panel: Panel, setups: RecordArray, days: int) -> FloatArray:
    """For each setup the median of (high - low) / low over the `days` whole UTC days before its day.

    NaN where the panel holds no bar of those days. The panel may begin before the simulated span, and should.
    """
    result = np.full(len(setups), np.nan)
    if not len(setups) or not len(panel):
        return result
    day_of_row = panel.open_time_ms // DAY_MS
    first_day = int(day_of_row[0])
    count = int(day_of_row[-1]) - first_day + 1
    starts = np.searchsorted(day_of_row, np.arange(first_day, first_day + count + 1))
    day_of_setup = setups["time_ms"] // DAY_MS - first_day
    for symbol in np.unique(setups["symbol"]):
        rows = np.flatnonzero(setups["symbol"] == symbol)
        wanted, place = np.unique(day_of_setup[rows], return_inverse=True)
        ranges = (panel.high[:, symbol] - panel.low[:, symbol]) / panel.low[:, symbol]
        result[rows] = _medians(ranges, starts, wanted, days)[place]
    return result


@njit(cache=True)
def _medians(ranges, starts, wanted, days):
    """The median of each window [day - days, day), NaN where it holds nothing."""
    values = np.empty(len(ranges))
    begins = np.zeros(len(starts), dtype=np.int64)
    for day in range(len(starts) - 1):
        n = begins[day]
        for value in ranges[starts[day] : starts[day + 1]]:
            if not np.isnan(value):
                values[n] = value
                n += 1
        values[begins[day] : n].sort()
        begins[day + 1] = n
    result = np.full(len(wanted), np.nan)
    for i in range(len(wanted)):
        first, last = max(wanted[i] - days, 0), min(wanted[i], len(starts) - 1)
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
