"""Bars whose time is wrong leave a hole where they belong; it must not pass for a time without trades."""

import numpy as np

from crypto_tracker.core.arrays import BoolArray, IntArray
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.core.validate import MISSING_TIME_MS
from crypto_tracker.store import intervals


def inside(times: IntArray, timeframe: Timeframe, start_ms: int, end_ms: int) -> BoolArray:
    """Which times lie in [start_ms, end_ms), on the grid."""
    result: BoolArray = (times >= start_ms) & (times < end_ms) & (times % timeframe.ms == 0)
    return result


def doubtful(times: IntArray, timeframe: Timeframe, start_ms: int, end_ms: int) -> IntArray:
    """The intervals of [start_ms, end_ms) of which an answer says nothing, because of bars with a wrong time.

    `times` are those of all bars of an answer in the order in which they came. One that is missing, off the
    grid or far away belongs somewhere between the bars around it: the hole there is unknown. Where bars
    came in disorder, it may belong into any hole. What a provider adds on either side of the span, on the
    grid, is in its place.

    >>> minutes = np.array([0, 60_000, MISSING_TIME_MS, 240_000, 360_000])
    >>> doubtful(minutes, Timeframe.M1, 0, 420_000).tolist()
    [[120000, 240000]]
    """
    good = inside(times, timeframe, start_ms, end_ms)
    at = np.flatnonzero(good)
    in_place = good.copy()
    first, last = (int(at[0]), int(at[-1])) if len(at) else (len(times), -1)
    order = np.arange(len(times))
    on_grid = (times % timeframe.ms == 0) & (times != MISSING_TIME_MS)
    in_place |= on_grid & (times < start_ms) & (order < first)
    in_place |= on_grid & (times >= end_ms) & (order > last)
    wrong = np.flatnonzero(~in_place)
    if not len(wrong):
        return intervals.EMPTY
    ordered = times[at]
    if np.any(np.diff(ordered) < 0):
        whole = intervals.as_intervals([(start_ms, end_ms)])
        return intervals.subtract(whole, intervals.of_bars(intervals.distinct(ordered), timeframe.ms))
    ends = np.concatenate([[start_ms], ordered + timeframe.ms])
    begins = np.concatenate([ordered, [end_ms]])
    follows = np.searchsorted(at, wrong)
    return intervals.as_intervals(zip(ends[follows].tolist(), begins[follows].tolist(), strict=True))
