"""The slow regime of the reference coin, day by day, with the specification's numbers; and the calendar."""

import numpy as np
import pytest

from crypto_tracker.core.decisions import SlowRegime
from crypto_tracker.core.errors import DataError
from crypto_tracker.features.context import hour_of_week, slow_regime
from tests.features.drawn import utc

UNKNOWN, NEUTRAL, BULL, BEAR, CRASH = (
    SlowRegime.UNKNOWN,
    SlowRegime.NEUTRAL,
    SlowRegime.BULL,
    SlowRegime.BEAR,
    SlowRegime.CRASH,
)


def regime(closes, highs=None):
    closes = np.array(closes, dtype=float)
    return slow_regime(
        closes,
        closes if highs is None else np.array(highs, dtype=float),
        crash_return_7d=-0.20,
        crash_below_high_30d=0.30,
        crash_bars=30,
        trend_bars=200,
        sma_fast=50,
        sma_slow=200,
    )


def test_thirty_calm_days_are_not_enough_to_know_a_trend():
    assert set(regime([100] * 199)) == {UNKNOWN}
    assert regime([100] * 200)[-1] == NEUTRAL


def test_a_year_of_rise_is_a_bull_market_from_the_200th_day_on():
    codes = regime([100 + day for day in range(300)])
    assert codes[198] == UNKNOWN
    assert set(codes[199:]) == {BULL}


def test_a_year_of_gentle_fall_is_a_bear_market():
    assert set(regime([1000 - day for day in range(300)])[199:]) == {BEAR}


def test_a_close_between_its_averages_is_neutral():
    # After 250 days of rise (50 day mean above 200 day mean), the close falls below both: no bear, no bull.
    assert regime([*[1000 + day for day in range(250)], 1050])[-1] == NEUTRAL


@pytest.mark.parametrize(("last", "expected"), [(80.0, CRASH), (80.01, UNKNOWN)])
def test_twenty_per_cent_lost_in_seven_days_is_a_crash_at_the_threshold_itself(last, expected):
    # The highs stay at the closes: 80 is not 30 % below 100.
    assert regime([*[100] * 29, last])[-1] == expected


def test_the_seven_day_return_looks_exactly_seven_days_back():
    # The fall from 100 to 81 is not yet a crash; 7 days later 81 is the base and 70 is only 13.6 % below it.
    closes = [*[100] * 30, *[81] * 7, 70.0]
    assert regime(closes, highs=closes)[-1] == CRASH  # 70 is 30 % below the 100 of the last 30 days
    closes = [*[100] * 30, *[81] * 7, 71.0]
    assert regime(closes)[-1] == UNKNOWN
    assert regime([*[100] * 30, *[81] * 6, 71.0])[-1] == CRASH  # here 7 days back is still 100


@pytest.mark.parametrize(("last", "expected"), [(70.0, CRASH), (70.01, UNKNOWN)])
def test_thirty_per_cent_below_the_thirty_day_high_is_a_crash_at_the_threshold_itself(last, expected):
    closes = [*[72] * 33, last]
    highs = [*[72] * 10, 100, *[72] * 23]
    assert regime([*closes[:33], last], highs=highs)[-1] == expected


def test_a_high_of_thirty_days_ago_no_longer_counts():
    highs = [100, *[72] * 29, 72]
    assert regime([72] * 30 + [70], highs=highs)[-1] == UNKNOWN
    assert regime([72] * 29 + [70], highs=highs[:30])[-1] == CRASH


def test_a_crash_needs_thirty_bars():
    assert regime([*[100] * 28, 50])[-1] == UNKNOWN
    assert regime([*[100] * 29, 50])[-1] == CRASH


def test_a_crash_goes_before_a_bull_market():
    codes = regime([*[100 + 10 * day for day in range(250)], 2000])
    assert codes[-2] == BULL
    assert codes[-1] == CRASH


def test_a_missing_day_changes_nothing_and_is_not_counted():
    rise = [100.0 + day for day in range(300)]
    whole = regime(rise)
    with_gap = [*rise[:250], float("nan"), *rise[250:]]
    codes = regime(with_gap)
    assert codes[250] == codes[249] == BULL
    assert np.delete(codes, 250).tolist() == whole.tolist()
    assert regime([float("nan")] * 3).tolist() == [UNKNOWN] * 3


def test_no_days_have_no_regime_and_uneven_inputs_are_refused():
    assert len(regime([])) == 0
    with pytest.raises(DataError, match="one value for each day"):
        regime([1, 2], highs=[1])


def test_later_days_never_change_an_earlier_regime():
    rng = np.random.default_rng(5)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.05, 400)))
    whole = regime(closes, highs=closes * 1.02)
    assert len(set(whole.tolist())) == 5, "the walk shows every regime"
    for days in (29, 30, 31, 199, 200, 201, 350):
        assert regime(closes[:days], highs=closes[:days] * 1.02).tolist() == whole[:days].tolist()


def test_the_hour_of_the_week_begins_on_monday_at_midnight():
    monday = utc(2025, 3, 3)
    moments = np.array([monday, utc(2025, 3, 3, 0, 59), utc(2025, 3, 4, 1), utc(2025, 3, 9, 23, 30)])
    assert hour_of_week(moments).tolist() == [0, 0, 25, 167]
