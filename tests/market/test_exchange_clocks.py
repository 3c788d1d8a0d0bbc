"""How far two clocks are apart: bounds from what came when, against a slow and obvious search."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.market.providers.exchange.clocks import DATE_MS, ClockDifference, date_of

NOON = 1_790_337_600_000


def test_nothing_known_is_taken_for_agreement():
    clocks = ClockDifference()
    assert (clocks.ahead_ms, clocks.earlier(NOON), clocks.surely(NOON)) == (0, NOON, NOON)


def test_an_answer_bounds_the_difference_by_its_way_and_by_what_its_time_is_cut_to():
    clocks = ClockDifference()
    clocks.answered(NOON, asked_ms=NOON + 10_000, came_ms=NOON + 10_200, within_ms=DATE_MS)
    # ours is ahead by 9.0 to 10.2 s
    assert clocks.ahead_ms == 9_000
    assert clocks.earlier(NOON + 60_000) == clocks.surely(NOON + 60_000) == NOON + 60_000 - 10_200
    clocks.answered(NOON + 5_000, asked_ms=NOON + 14_900, came_ms=NOON + 15_100)
    assert clocks.ahead_ms == 9_900
    assert clocks.earlier(NOON) == NOON - 10_100


def test_clocks_that_may_agree_are_taken_to_agree_and_only_doubt_counts_the_rest():
    clocks = ClockDifference()
    clocks.answered(NOON, asked_ms=NOON + 600, came_ms=NOON + 800, within_ms=DATE_MS)
    assert clocks.earlier(NOON) == NOON
    assert clocks.surely(NOON) == NOON - 800


def test_a_clock_that_is_behind_changes_no_moment():
    clocks = ClockDifference()
    clocks.answered(NOON, asked_ms=NOON - 10_100, came_ms=NOON - 9_900)
    assert clocks.ahead_ms == -9_900
    assert clocks.earlier(NOON) == clocks.surely(NOON) == NOON


def test_one_answer_that_does_not_agree_counts_with_the_second_and_for_doubt_at_once():
    clocks = ClockDifference()
    clocks.answered(NOON, asked_ms=NOON, came_ms=NOON + 100)
    clocks.answered(NOON, asked_ms=NOON + 10_000, came_ms=NOON + 10_100)  # out of a cache, or a step
    assert clocks.ahead_ms == 0
    assert clocks.earlier(NOON) == NOON
    assert clocks.surely(NOON) == NOON - 10_100
    clocks.answered(NOON + 1_000, asked_ms=NOON + 11_000, came_ms=NOON + 11_080)
    assert clocks.ahead_ms == 10_000
    assert clocks.earlier(NOON) == NOON - 10_080


def test_messages_that_all_come_late_delay_what_counts_as_over():
    clocks = ClockDifference()
    for second in range(150):
        clocks.told(NOON + second * 1_000, came_ms=NOON + second * 1_000 + 7_000 + second % 3)
    assert clocks.earlier(NOON) == NOON - 7_000
    assert clocks.ahead_ms == 0  # it may be the line
    clocks.told(NOON + 200_000, came_ms=NOON + 200_040)
    assert clocks.earlier(NOON) == NOON


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Date": "Fri, 25 Sep 2026 12:00:00 GMT"}, NOON),
        ({"date": "Fri, 25 Sep 2026 12:00:00 GMT", "age": "0"}, NOON),
        ({"Date": "Fri, 25 Sep 2026 12:00:00 GMT", "Age": "7"}, None),
        ({"Date": "soon"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_date_of_an_answer_is_of_use_unless_it_comes_out_of_a_cache(headers, expected):
    assert date_of(headers) == expected


@given(
    st.integers(min_value=-20_000, max_value=20_000),
    st.lists(
        st.tuples(st.integers(0, 30_000), st.integers(0, 900), st.integers(0, 900), st.booleans()),
        max_size=20,
    ),
)
def test_the_true_difference_is_never_outside_the_bounds(ahead, asked):
    clocks = ClockDifference()
    now = NOON
    for later, there, back, is_cut in asked:
        now += later
        written = now - ahead + there
        said = written - written % 1_000 if is_cut else written
        clocks.answered(said, asked_ms=now, came_ms=now + there + back, within_ms=DATE_MS if is_cut else 0)
        now += there + back
        assert clocks.surely(now) <= min(now, now - ahead)
        assert clocks.ahead_ms >= 0 or ahead <= clocks.ahead_ms
        assert clocks.ahead_ms <= ahead or ahead < 0
