"""Sets of times, against sets of single moments."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.store import intervals

pairs = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8)


def moments(array: np.ndarray) -> set[int]:
    return {moment for start, end in array.tolist() for moment in range(start, end)}


def plain(given_pairs: list[tuple[int, int]]) -> set[int]:
    return {moment for start, end in given_pairs for moment in range(start, end)}


def is_canonical(array: np.ndarray) -> bool:
    flat = array.ravel()
    return bool(np.all(np.diff(flat) > 0)) and array.shape[1] == 2


@given(pairs, pairs)
def test_union_and_difference_are_those_of_sets(left, right):
    a, b = intervals.as_intervals(left), intervals.as_intervals(right)
    assert moments(a) == plain(left)
    for result, expected in (
        (intervals.union(a, b), plain(left) | plain(right)),
        (intervals.subtract(a, b), plain(left) - plain(right)),
    ):
        assert moments(result) == expected
        assert is_canonical(result)


@given(pairs, st.integers(0, 40), st.integers(0, 40))
def test_clipping_keeps_what_lies_inside(given_pairs, start, end):
    start, end = min(start, end), max(start, end)
    clipped = intervals.clip(intervals.as_intervals(given_pairs), start, end)
    assert moments(clipped) == plain(given_pairs) & set(range(start, end))


@given(pairs, st.integers(1, 7), st.integers(0, 40))
def test_a_cell_is_covered_when_every_moment_of_it_is(given_pairs, step, start):
    covered = intervals.covered_cells(intervals.as_intervals(given_pairs), start, 6, step)
    known = plain(given_pairs)
    expected = [set(range(start + i * step, start + (i + 1) * step)) <= known for i in range(6)]
    assert covered.tolist() == expected


@given(st.sets(st.integers(0, 60)), st.integers(0, 4))
def test_bars_fill_their_intervals_and_short_holes_are_bridged(bars, bridged):
    times = np.array(sorted(bars), dtype=np.int64)
    expected = set(bars)
    for left, right in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        if right - left - 1 <= bridged:
            expected |= set(range(left, right))
    assert moments(intervals.of_bars(times, 1, bridged=bridged)) == expected


@given(st.lists(st.integers(0, 20)))
def test_distinct_times_are_sorted_and_stand_once(times):
    assert intervals.distinct(np.array(times, dtype=np.int64)).tolist() == sorted(set(times))


def test_only_whole_cells_lie_on_the_grid():
    assert intervals.on_grid(intervals.as_intervals([(1, 21), (22, 29)]), 10).tolist() == [[10, 20]]
