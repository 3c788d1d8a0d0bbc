"""Small parts that all strategies share."""

import numpy as np
import pytest

from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.strategies import confidence, measures
from crypto_tracker.strategies.exits import Exits
from crypto_tracker.strategies.gates import at_least, at_most, percent, price
from tests.strategies.drawn import START_MS, bars, numbers, view


def test_a_threshold_is_met_from_itself_on_and_a_missing_number_meets_none():
    measured = np.array([0.0249999, 0.025, 0.0250001, np.nan])
    assert at_least(measured, 0.025).tolist() == [False, True, True, False]
    assert at_most(measured, 0.025).tolist() == [True, True, False, False]


def test_grades_are_straight_lines_through_three_points():
    measured = np.array([-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    grades = confidence.graded(measured, threshold=2.0, strong=4.0)
    assert grades.tolist() == [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_weights_are_shares_of_their_sum():
    mean = confidence.weighted_mean([(np.array([1.0]), 3.0), (np.array([0.0]), 1.0)])
    assert mean.tolist() == [0.75]
    with pytest.raises(ValueError, match="all 0"):
        confidence.some_weight(0.0, 0.0)


def test_signs_raise_a_confidence_and_never_beyond_one():
    yes, no = np.array([True]), np.array([False])
    assert confidence.raised(np.array([0.5]), [(yes, 0.2), (no, 0.9)]).tolist() == [0.6]
    assert confidence.raised(np.array([1.0]), [(yes, 0.2)]).tolist() == [1.0]


def test_history_counts_the_least_complete_timeframe_by_close_time():
    quarter = bars(Timeframe.M15, [np.nan] * 4 + [1.0] * 8)
    hours = bars(Timeframe.H1, [1.0, 1.0, 1.0])
    share = measures.history(view(quarter, hours), {Timeframe.M15: 8, Timeframe.H1: 3})
    # 15m bars exist from the second hour on and count 1 to 8; the hours close with the 4th, 8th and 12th row
    expected = [0, 0, 0, 0, 1 / 8, 2 / 8, 1 / 3, 4 / 8, 5 / 8, 2 / 3, 2 / 3, 1]
    assert share[:, 0].tolist() == pytest.approx(expected)


def test_a_timeframe_that_is_not_there_has_no_history():
    share = measures.history(view(bars(Timeframe.M15, [1.0] * 3)), {Timeframe.H4: 1})
    assert share.tolist() == [[0.0]] * 3
    late = bars(Timeframe.H4, [1.0], start_ms=START_MS + Timeframe.H4.ms)
    assert measures.history(view(bars(Timeframe.M15, [1.0] * 3), late), {Timeframe.H4: 1}).max() == 0.0


def test_people_read_prices_and_fractions_without_noise():
    assert [price(v) for v in (97.5, 100.0, 0.00001234567, 43_210.987, 0.0)] == [
        "97.5",
        "100",
        "0.0000123457",
        "43,211",
        "0",
    ]
    assert [percent(v) for v in (0.014, 0.0, -0.02, 0.00005, 1.5)] == [
        "1.4 %",
        "0 %",
        "-2 %",
        "0.005 %",
        "150 %",
    ]


@pytest.mark.parametrize("name", ["take_profit", "stop_loss"])
def test_exits_without_a_distance_are_refused(name: str):
    exits = numbers("DCA").model_dump()["exits"]
    with pytest.raises(ValueError, match=f"{name} must be above 0"):
        Exits.model_validate(exits | {name: exits[name] | {"memecoin": 0.0}})
