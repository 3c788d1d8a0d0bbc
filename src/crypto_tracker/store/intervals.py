"""Sets of times as sorted, disjoint intervals [start, end): arrays (intervals, 2) of int64 milliseconds."""

from collections.abc import Iterable

import numpy as np

from crypto_tracker.core.arrays import BoolArray, IntArray

EMPTY: IntArray = np.empty((0, 2), dtype=np.int64)


def as_intervals(pairs: Iterable[tuple[int, int]]) -> IntArray:
    """The set that any pairs amount to: sorted, joined where they touch or overlap; empty pairs vanish."""
    return _joined(np.array(list(pairs), dtype=np.int64).reshape(-1, 2))


def union(*sets: IntArray) -> IntArray:
    """Every time that lies in one of the sets."""
    return _joined(np.concatenate([EMPTY, *sets]))


def subtract(intervals: IntArray, removed: IntArray) -> IntArray:
    """Every time of `intervals` that is not in `removed`.

    >>> subtract(as_intervals([(0, 10)]), as_intervals([(2, 3), (9, 12)])).tolist()
    [[0, 2], [3, 9]]
    """
    if not len(intervals) or not len(removed):
        return intervals
    kept = []
    for start, end in intervals.tolist():
        first = int(np.searchsorted(removed[:, 1], start, side="right"))
        position = start
        for hole_start, hole_end in removed[first:].tolist():
            if hole_start >= end:
                break
            kept.append((position, hole_start))
            position = hole_end
        kept.append((position, end))
    return as_intervals(kept)


def clip(intervals: IntArray, start: int, end: int) -> IntArray:
    """The part of the set inside [start, end)."""
    clipped = np.clip(intervals, start, end)
    return clipped[clipped[:, 0] < clipped[:, 1]]


def on_grid(intervals: IntArray, step: int) -> IntArray:
    """The whole grid cells of length `step` inside each interval."""
    inner = np.stack([-(-intervals[:, 0] // step) * step, intervals[:, 1] // step * step], axis=1)
    return inner[inner[:, 0] < inner[:, 1]]


def of_bars(open_time_ms: IntArray, step: int, *, bridged: int = 0) -> IntArray:
    """The intervals that bars of length `step` fill; up to `bridged` missing bars in a row are spanned.

    `open_time_ms` is sorted and lies on the grid.

    >>> of_bars(np.array([0, 60, 240]), 60).tolist()
    [[0, 120], [240, 300]]
    """
    if not len(open_time_ms):
        return EMPTY
    breaks = np.flatnonzero(np.diff(open_time_ms) > step * (bridged + 1))
    starts = open_time_ms[np.concatenate([[0], breaks + 1])]
    ends = open_time_ms[np.concatenate([breaks, [len(open_time_ms) - 1]])] + step
    return np.stack([starts, ends], axis=1)


def distinct(times: IntArray) -> IntArray:
    """The times in order, each once. Several times faster than `numpy.unique`, which hashes."""
    if np.all(times[1:] > times[:-1]):
        return times
    ordered = np.sort(times)
    kept = np.ones(len(ordered), dtype=np.bool_)
    kept[1:] = ordered[1:] != ordered[:-1]
    return ordered[kept]


def length(intervals: IntArray) -> int:
    """The time that the set spans."""
    return int((intervals[:, 1] - intervals[:, 0]).sum())


def index_of(intervals: IntArray, times: IntArray) -> IntArray:
    """For each time the index of the interval that begins at or before it; -1 before the first."""
    return np.searchsorted(intervals[:, 0], times, side="right") - 1


def covered_cells(intervals: IntArray, start: int, count: int, step: int) -> BoolArray:
    """Which of the `count` grid cells from `start` on lie wholly inside one interval, bool (count,)."""
    covered = np.zeros(count, dtype=np.bool_)
    first = np.maximum(-(-(intervals[:, 0] - start) // step), 0)
    stop = (intervals[:, 1] - start) // step
    for lower, upper in zip(first.tolist(), stop.tolist(), strict=True):
        if upper > lower:
            covered[lower:upper] = True
    return covered


def _joined(pairs: IntArray) -> IntArray:
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    if len(pairs) < 2:
        return pairs
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    reach = np.maximum.accumulate(pairs[:, 1])
    begins = np.concatenate([[True], pairs[1:, 0] > reach[:-1]])
    starts = pairs[begins, 0]
    ends = reach[np.concatenate([np.flatnonzero(begins)[1:] - 1, [len(pairs) - 1]])]
    return np.stack([starts, ends], axis=1)
