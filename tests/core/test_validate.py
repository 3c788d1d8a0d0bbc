"""Nothing invalid is stored, and what jumps is doubted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.core.validate import MISSING_TIME_MS, BarRule, broken_rules, suspect_bars

NAN, INF = float("nan"), float("inf")
NOW_MS = 600_000


def rule_of(
    time_ms: int = 0,
    open_: float = 100.0,
    high: float = 102.0,
    low: float = 98.0,
    close: float = 101.0,
    volume: float = 5.0,
    timeframe: Timeframe = Timeframe.M1,
) -> str:
    prices = tuple(np.array([value]) for value in (open_, high, low, close))
    codes = broken_rules(timeframe, np.array([time_ms]), prices, np.array([volume]), now_ms=NOW_MS)
    return BarRule(codes[0]).label


@pytest.mark.parametrize(
    ("bar", "rule"),
    [
        ({}, "valid"),
        ({"open_": 102.0, "close": 98.0}, "valid"),  # open at the high, close at the low
        ({"volume": 0.0}, "valid"),  # a flat bar of a minute without trades
        ({"volume": NAN}, "valid"),  # the source does not know it
        ({"open_": NAN}, "missing_field"),
        ({"high": NAN}, "missing_field"),
        ({"low": NAN}, "missing_field"),
        ({"close": NAN}, "missing_field"),
        ({"time_ms": MISSING_TIME_MS}, "missing_field"),
        ({"high": INF}, "not_finite"),
        ({"low": -INF}, "not_finite"),
        ({"low": 0.0}, "not_positive"),
        ({"open_": -100.0}, "not_positive"),
        ({"high": 100.99}, "high_too_low"),  # below the close of 101
        ({"open_": 103.0}, "high_too_low"),
        ({"low": 100.01}, "low_too_high"),  # above the open of 100
        ({"close": 97.0}, "low_too_high"),
        ({"volume": INF}, "volume_not_finite"),
        ({"volume": -0.001}, "volume_negative"),
        ({"time_ms": 30_000}, "off_grid"),
        ({"time_ms": 60_000, "timeframe": Timeframe.M5}, "off_grid"),
        ({"time_ms": 540_000}, "valid"),  # closes now
        ({"time_ms": 600_000}, "in_future"),  # still forming
        ({"time_ms": 300_000, "timeframe": Timeframe.M5}, "valid"),
        ({"time_ms": 600_000, "timeframe": Timeframe.M5}, "in_future"),
    ],
)
def test_each_rule_names_the_bar_that_breaks_it(bar, rule):
    assert rule_of(**bar) == rule


def test_a_bar_that_breaks_several_rules_is_named_after_the_first():
    assert rule_of(time_ms=30_000, open_=NAN, volume=-1.0) == "missing_field"


def doubts(close: list[float], unknown_before: tuple[int, ...] = ()) -> tuple[list[int], dict[int, int]]:
    """Indices of the suspect bars, and which bar confirms them."""
    follows = np.zeros(len(close), dtype=bool)
    follows[:1] = True
    follows[list(unknown_before)] = True
    found = suspect_bars(np.array(close, dtype=float), follows, move_max=0.5, confirm_bars=2)
    by = {index: int(at) for index, at in enumerate(found.confirmed_by) if at >= 0}
    return np.flatnonzero(found.suspect).tolist(), by


def test_half_is_not_more_than_half():
    assert doubts([100, 150, 75]) == ([], {})


def test_of_a_single_wrong_print_only_the_print_is_suspect_and_nothing_confirms_it():
    assert doubts([100, 30, 101, 102, 103]) == ([1], {})
    assert doubts([100, 200, 101, 102, 103]) == ([1], {})


def test_the_first_bar_on_a_new_level_is_suspect_until_two_more_confirm_it():
    assert doubts([100, 160, 161, 159]) == ([1], {1: 3})


def test_a_price_between_the_levels_confirms_the_level_that_it_is_nearer_to():
    assert doubts([100, 200, 160, 170]) == ([1], {1: 3})
    assert doubts([100, 200, 140, 170]) == ([1], {})


def test_one_bar_on_the_new_level_confirms_nothing():
    assert doubts([100, 160, 161]) == ([1], {})


def test_two_wrong_prints_in_a_row_leave_the_first_and_the_way_back_suspect():
    # The second print is within half of the first; the way back undoes no jump of the bar before.
    assert doubts([100, 30, 31, 100, 101, 102]) == ([1, 3], {3: 5})


def test_a_price_from_before_an_outage_judges_nobody():
    assert doubts([100, 300, 301, 302], unknown_before=(1,)) == ([], {})


def test_bars_after_an_outage_confirm_nothing():
    assert doubts([100, 160, 161, 159], unknown_before=(3,)) == ([1], {})


def test_the_first_bar_is_never_suspect():
    assert doubts([100]) == ([], {})
    assert doubts([]) == ([], {})


def slow_suspects(close: list[float], follows_unknown: list[bool]) -> list[int]:
    def jumps(index: int) -> bool:
        if index < 1 or follows_unknown[index]:
            return False
        return abs(close[index] - close[index - 1]) > 0.5 * close[index - 1]

    found = []
    for index in range(len(close)):
        undoes = (
            index >= 2 and jumps(index - 1) and abs(close[index] - close[index - 2]) <= 0.5 * close[index - 2]
        )
        if jumps(index) and not undoes:
            found.append(index)
    return found


series = st.lists(st.tuples(st.sampled_from([10.0, 14.0, 16.0, 30.0, 100.0]), st.booleans()), max_size=30)


@given(series)
def test_the_suspects_are_those_of_a_slow_loop(market):
    close = [price for price, _ in market]
    follows = [index == 0 or unknown for index, (_, unknown) in enumerate(market)]
    found = suspect_bars(np.array(close), np.array(follows, dtype=bool), move_max=0.5, confirm_bars=2)
    assert np.flatnonzero(found.suspect).tolist() == slow_suspects(close, follows)


@given(series, st.integers(0, 30))
def test_later_bars_never_change_whether_a_bar_is_suspect(market, cut):
    close = np.array([price for price, _ in market])
    follows = np.array([index == 0 or unknown for index, (_, unknown) in enumerate(market)], dtype=bool)
    whole = suspect_bars(close, follows, move_max=0.5, confirm_bars=2)
    part = suspect_bars(close[:cut], follows[:cut], move_max=0.5, confirm_bars=2)
    assert part.suspect.tolist() == whole.suspect[:cut].tolist()
    # A confirmation that the prefix knows stays; it names a bar inside the prefix.
    known = part.confirmed_by >= 0
    assert (part.confirmed_by[known] == whole.confirmed_by[:cut][known]).all()
