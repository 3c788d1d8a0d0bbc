"""CHANNEL on a hand-drawn zigzag between 100 and 104 of 24 bars a wave; bar 144 is a bottom."""

import numpy as np
import pytest

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.timeframes import HOUR_MS, Timeframe
from crypto_tracker.strategies.channel import Channel
from tests.strategies.drawn import BTC, Scanned, bars, facts, numbers, view
from tests.strategies.test_channel_fit import zigzag


def scanned(close: FloatArray, *, fee: float = 0.003, slippage: float = 0.0015, **changed: object) -> Scanned:
    panel = bars(Timeframe.M15, close[:, 0].tolist())
    return Scanned(
        Channel(),
        view(panel, instruments=facts([BTC], fee=fee, slippage=slippage)),
        numbers("CHANNEL", **changed),
    )


def ending(last: float, **drawn: float) -> FloatArray:
    close = zigzag(145, **drawn)
    close[144, 0] = last
    return close


def test_a_close_on_the_lower_line_of_a_perfect_channel_is_a_setup():
    scan = scanned(zigzag(145))
    assert scan.reason is Reason.ACCEPTED
    assert scan.measured("strength") == pytest.approx(1.0)
    assert scan.measured("width") == pytest.approx(0.04)
    assert scan.measured("place") == pytest.approx(0.0)
    assert scan.readiness == pytest.approx(100.0)


def test_the_buy_zone_is_the_lowest_tenth_and_its_ends_belong_to_it():
    assert scanned(ending(100.4)).reason is Reason.ACCEPTED
    assert scanned(ending(100.41)).reason is Reason.NOT_IN_BUY_ZONE
    assert scanned(ending(99.99)).reason is Reason.NOT_IN_BUY_ZONE  # below the line the channel is broken


def test_readiness_falls_to_zero_at_mid_channel_and_is_scaled_by_strength():
    assert scanned(ending(100.4)).readiness == pytest.approx(100.0)
    assert scanned(ending(101.2)).readiness == pytest.approx(50.0)  # 0.3: half way from 0.1 to 0.5
    assert scanned(ending(102.0)).readiness == pytest.approx(0.0, abs=1e-9)
    assert scanned(ending(103.0)).readiness == 0.0
    assert scanned(ending(99.0)).readiness == 0.0
    weak = zigzag(145)
    weak[108, 0] = 105.0
    weak[144, 0] = 100.2  # the lower line tilts a little
    scan = scanned(weak)
    assert scan.reason is Reason.TOO_FEW_TOUCHES
    assert 0.0 < scan.measured("place") < 0.1
    assert 0.75 < scan.measured("strength") < 1.0
    assert scan.readiness == pytest.approx(100 * scan.measured("strength"))


@pytest.mark.parametrize("drift", [0.03, -0.03])
def test_ascending_and_descending_channels_count_as_well(drift: float):
    scan = scanned(zigzag(145, drift=drift))
    assert scan.reason is Reason.ACCEPTED
    assert scan.measured("direction") == np.sign(drift)


def test_a_market_that_only_rises_draws_no_channel():
    scan = scanned(np.linspace(100.0, 120.0, 145)[:, None])
    assert scan.reason is Reason.NO_CHANNEL
    assert scan.readiness == 0.0
    assert scan.confidence == 0.0
    assert scan.gates()[-1] == ("no_channel", False)


def test_one_top_above_all_others_is_no_line_that_was_touched_twice():
    lone = zigzag(145)
    lone[108, 0] = 107.0
    assert scanned(lone).reason is Reason.TOO_FEW_TOUCHES


def test_a_channel_of_uneven_tops_is_weak():
    close = zigzag(145)
    for bar, top in ((60, 101.2), (132, 101.2)):
        for offset in range(-11, 12):
            close[bar + offset, 0] = 100 + (top - 100) * (1 - abs(offset) / 12)
    scan = scanned(close)
    # levels 102.6 and 100, residuals of the tops 1.4: (2.6^2 / 4) / (2.6^2 / 4 + 4 x 1.4^2 / 4)
    assert scan.measured("strength") == pytest.approx(1.69 / (1.69 + 1.96))
    assert scan.reason is Reason.CHANNEL_WEAK


def test_a_channel_must_be_three_round_trips_wide():
    # the round trip costs 0.009: 0.027 of the close are asked for
    assert scanned(zigzag(145, height=2.7)).reason is Reason.ACCEPTED
    assert scanned(zigzag(145, height=2.69)).reason is Reason.CHANNEL_TOO_NARROW
    assert scanned(zigzag(145), slippage=0.005).reason is Reason.CHANNEL_TOO_NARROW


def test_the_target_is_the_nearer_of_the_table_and_just_below_the_upper_line():
    # upper 104 less a tenth of 4 is 103.6: 3.6 % away, so the table's 2 % is nearer
    assert scanned(zigzag(145)).detection.plan.take_profit[-1, 0] == pytest.approx(0.02)
    far = dict.fromkeys(("large_cap", "mid_cap", "small_cap", "memecoin"), 0.10)
    exits = numbers("CHANNEL").model_dump()["exits"] | {"take_profit": far}
    scan = scanned(zigzag(145), exits=exits)
    assert scan.detection.plan.take_profit[-1, 0] == pytest.approx(0.036)
    assert scan.measured("target") == pytest.approx(0.036)


def test_a_target_that_does_not_pay_for_the_round_trip_is_no_setup():
    near = dict.fromkeys(("large_cap", "mid_cap", "small_cap", "memecoin"), 0.0089)
    exits = numbers("CHANNEL").model_dump()["exits"]
    assert scanned(zigzag(145), exits=exits | {"take_profit": near}).reason is Reason.TARGET_BELOW_COSTS
    enough = dict.fromkeys(near, 0.009)
    assert scanned(zigzag(145), exits=exits | {"take_profit": enough}).reason is Reason.ACCEPTED


def test_the_first_gate_that_fails_is_the_reason():
    lone = zigzag(145, height=1.0)
    lone[108, 0] = 107.0
    lone[144, 0] = 103.0
    assert scanned(lone).reason is Reason.TOO_FEW_TOUCHES
    assert scanned(ending(102.0, height=2.0)).reason is Reason.CHANNEL_TOO_NARROW


def test_confidence_is_one_half_at_the_thresholds_and_rises_with_each_measurement():
    # a perfect channel of 0.04 with 3 touches, close on the line: strength 1, width (0.04 - 0.027) / 0.054 of the way,
    # touches 3 of 2 .. 4, place 1
    grades = 0.4 * 1.0 + 0.2 * (0.5 + 0.5 * 0.013 / 0.054) + 0.2 * 0.75 + 0.2 * 1.0
    assert scanned(zigzag(145)).confidence == pytest.approx(grades)
    # the upper end of the buy zone is its threshold
    assert (
        scanned(ending(100.4)).confidence
        < scanned(ending(100.2)).confidence
        < scanned(ending(100.0)).confidence
    )
    assert scanned(zigzag(145, height=3.0)).confidence < scanned(zigzag(145, height=5.0)).confidence
    bare = numbers("CHANNEL").model_dump()["confidence"] | {
        "strength_weight": 0.0,
        "touches_weight": 0.0,
        "width_weight": 0.0,
    }
    assert scanned(ending(100.4), confidence=bare).confidence == pytest.approx(0.5)


def test_the_plan_is_one_small_buy_at_market():
    plan = scanned(zigzag(145)).detection.plan
    assert plan.levels.tolist() == [[1]]
    assert plan.size_quote.tolist() == [[100.0]]
    assert plan.max_hold_ms.tolist() == [[24 * HOUR_MS]]
    assert (plan.stop_loss[0, 0], plan.trailing[0, 0]) == (0.02, 0.005)


def test_the_explanation_says_where_the_close_would_have_had_to_be():
    scan = scanned(ending(101.0))
    assert scan.gates() == [
        ("no_bar", True),
        ("not_ready", True),
        ("no_channel", True),
        ("too_few_touches", True),
        ("channel_weak", True),
        ("channel_too_narrow", True),
        ("not_in_buy_zone", False),
        ("target_below_costs", True),
    ]
    assert "horizontal: lower line 100, upper line 104" in scan.told()[2]
    assert scan.told()[6] == (
        "the close 101 lies at 25 % of the height; a setup needs 0 to 10 %, a close from 100 to 100.4"
    )


def test_a_scan_is_ready_after_the_window_and_what_confirms_its_pivots():
    assert scanned(zigzag(105)).reason is Reason.NOT_READY
    assert scanned(zigzag(106)).reason is not Reason.NOT_READY
