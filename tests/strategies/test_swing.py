"""SWING on hand-drawn 15m bars: 260 of them at 100 with volume 10, one that decides, and 300 bars of 4 h."""

import numpy as np
import pytest

from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.timeframes import HOUR_MS, Timeframe
from crypto_tracker.strategies.swing import Swing
from tests.strategies.drawn import START_MS, Scanned, bars, numbers, view

RISING = [100.0 + i for i in range(310)]
FALLING = [500.0 - i for i in range(310)]
RSI_HIGH = numbers("SWING").model_dump()["confidence"] | {"rsi_strong": 100.0}
AT_VOLUME = 247.0 / 18.7  # over the mean of itself and 19 tens it is 1.3


def scanned(
    close: float = 101.5,
    volume: float = 40.0,
    *,
    before: list[float] | None = None,
    trend: list[float] | None = None,
    **changed: object,
) -> Scanned:
    earlier = [100.0] * 260 if before is None else before
    quarter = bars(Timeframe.M15, [*earlier, close], volume=[10.0] * len(earlier) + [volume])
    four = RISING if trend is None else trend
    # the last of the 4 h bars closes with the last 15m bar
    end = START_MS + Timeframe.H4.floor(len(quarter) * Timeframe.M15.ms)
    hours = bars(Timeframe.H4, four, start_ms=end - len(four) * Timeframe.H4.ms)
    return Scanned(Swing(), view(quarter, hours), numbers("SWING", **changed))


def test_a_breakout_that_meets_every_threshold_exactly_is_a_setup():
    scan = scanned(101.0, AT_VOLUME)
    assert scan.reason is Reason.ACCEPTED
    assert scan.measured("resistance") == 100.0
    assert scan.measured("breakout") == pytest.approx(1.01)
    assert scan.measured("volume_ratio") == pytest.approx(1.3)
    assert scan.readiness == pytest.approx(100.0)


def test_a_close_just_below_the_breakout_is_too_small():
    assert scanned(100.99).reason is Reason.BREAKOUT_TOO_SMALL


def test_the_resistance_is_the_highest_high_of_the_twenty_bars_before_without_this_one():
    near = scanned(101.5, before=[100.0] * 240 + [101.0] + [100.0] * 19)
    assert near.measured("resistance") == 101.0
    assert near.reason is Reason.BREAKOUT_TOO_SMALL
    assert scanned(101.5, before=[100.0] * 239 + [101.0] + [100.0] * 20).measured("resistance") == 100.0


def test_a_breakout_without_volume_is_no_setup():
    assert scanned(101.5, 13.2).reason is Reason.VOLUME_LOW


def test_a_breakout_out_of_weakness_is_no_setup():
    # 200 bars fall by 1.5 each; 21 flat ones and a rise of 1.5 can not make up for it
    fall = [400.0 - 1.5 * i for i in range(240)] + [41.5] * 21
    scan = scanned(42.5, before=fall)
    assert scan.measured("rsi") < 50.0
    assert scan.reason is Reason.RSI_LOW


def test_strict_mode_asks_for_a_higher_rsi():
    fall = [172.0 - 0.3 * i for i in range(240)] + [100.3] * 21
    normal = scanned(101.4, before=fall)
    assert 50.0 < normal.measured("rsi") < 60.0
    assert normal.reason is Reason.ACCEPTED
    strict = scanned(101.4, before=fall, strict=True)
    assert strict.reason is Reason.RSI_LOW
    assert "(strict mode)" in " ".join(strict.told())


def test_an_rsi_of_exactly_the_minimum_is_not_above_it():
    # a market that never moved has neither gains nor losses: 50, which is not above 50
    scan = Scanned(Swing(), view(bars(Timeframe.M15, [100.0] * 261)), numbers("SWING"))
    assert scan.features.values["rsi"][-1, 0] == 50.0
    assert scanned(101.5, rsi_min=99.0, rsi_min_strict=99.5, confidence=RSI_HIGH).reason is Reason.ACCEPTED
    weak = [100.0, 101.0] * 130  # gains and losses of 1 take turns
    assert (
        scanned(102.1, before=weak, rsi_min=99.0, rsi_min_strict=99.5, confidence=RSI_HIGH).reason
        is Reason.RSI_LOW
    )


def test_a_breakout_against_the_four_hour_trend_is_no_setup():
    scan = scanned(101.5, trend=FALLING)
    assert scan.reason is Reason.TREND_DOWN
    assert scan.measured("ema_20_4h") < scan.measured("ema_50_4h")


def test_a_flat_trend_does_not_rise():
    assert scanned(101.5, trend=[100.0] * 310).reason is Reason.TREND_DOWN


def test_the_trend_is_that_of_the_four_hour_bars_that_have_closed():
    # one 4 h bar more, which turns the trend but closes after the scan
    quarter = bars(Timeframe.M15, [100.0] * 260 + [101.5], volume=[10.0] * 260 + [40.0])
    end = START_MS + Timeframe.H4.floor(len(quarter) * Timeframe.M15.ms)
    hours = bars(Timeframe.H4, [*RISING, 0.01], start_ms=end - len(RISING) * Timeframe.H4.ms)
    scan = Scanned(Swing(), view(quarter, hours), numbers("SWING"))
    assert scan.reason is Reason.ACCEPTED
    assert scan.measured("ema_20_4h") == scanned(101.5).measured("ema_20_4h")


def test_without_four_hour_bars_or_with_too_few_of_them_nothing_is_ready():
    quarter = bars(Timeframe.M15, [100.0] * 260 + [101.5], volume=[10.0] * 260 + [40.0])
    assert Scanned(Swing(), view(quarter), numbers("SWING")).reason is Reason.NOT_READY
    assert scanned(trend=RISING[:299]).reason is Reason.NOT_READY
    assert scanned(trend=RISING[:300]).reason is Reason.ACCEPTED


def test_the_first_gate_that_fails_is_the_reason():
    assert scanned(100.0, 1.0, trend=FALLING).reason is Reason.BREAKOUT_TOO_SMALL
    assert scanned(101.5, 1.0, trend=FALLING).reason is Reason.VOLUME_LOW


def test_readiness_is_seventy_per_cent_nearness_and_thirty_per_cent_volume():
    # 100 is 0.990 % below the trigger of 101; nearness ends 3 % below it. No volume at all.
    below = 1 - 100 / 101
    assert scanned(100.0, 0.0).readiness == pytest.approx(70 * (1 - below / 0.03))
    # half of the volume asked for: v / ((190 + v) / 20) = 0.65
    half = 0.65 * 190 / (20 - 0.65)
    assert scanned(100.0, half).readiness == pytest.approx(70 * (1 - below / 0.03) + 15)
    assert scanned(95.0, 0.0).readiness == 0.0
    assert scanned(105.0, 100.0).readiness == 100.0


def test_confidence_without_further_signs_is_one_half_at_the_thresholds():
    # the RSI is 100 here, far above its threshold: its weight is taken out, and so is the MACD
    weights = numbers("SWING").model_dump()["confidence"] | {
        "rsi_weight": 0.0,
        "macd_bonus": 0.0,
        "pattern_bonus": 0.0,
    }
    assert scanned(101.0, AT_VOLUME, confidence=weights).confidence == pytest.approx(0.5)


def test_a_macd_above_its_signal_takes_its_share_of_the_doubt():
    scale = numbers("SWING").model_dump()["confidence"]
    without = scanned(101.5, confidence=scale | {"macd_bonus": 0.0}).confidence
    scan = scanned(101.5, confidence=scale | {"macd_bonus": 0.2})
    assert scan.measured("macd_hist") > 0.0
    assert 1 - scan.confidence == pytest.approx((1 - without) * 0.8)


def test_confidence_rises_with_each_measurement():
    confidences = [
        scanned(c, v).confidence for c, v in [(101.0, 14), (101.5, 14), (101.5, 20), (102.5, 20), (102.5, 30)]
    ]
    assert confidences == sorted(confidences)
    assert len(set(confidences)) == len(confidences)
    assert all(0.5 <= confidence <= 1.0 for confidence in confidences)


def test_the_plan_is_one_buy_at_market_that_is_skipped_after_a_gap():
    plan = scanned().detection.plan
    assert plan.levels.tolist() == [[1]]
    assert plan.size_quote.tolist() == [[200.0]]
    assert plan.max_entry_gap.tolist() == [[0.005]]
    assert plan.max_hold_ms.tolist() == [[48 * HOUR_MS]]
    assert (plan.take_profit[0, 0], plan.stop_loss[0, 0], plan.trailing[0, 0]) == (0.05, 0.05, 0.02)


def test_the_explanation_names_every_gate_in_order():
    scan = scanned(100.5, 10.0, trend=FALLING)
    assert scan.gates() == [
        ("no_bar", True),
        ("not_ready", True),
        ("breakout_too_small", False),
        ("volume_low", False),
        ("rsi_low", True),
        ("trend_down", False),
    ]
    assert scan.told()[2] == (
        "the close 100.5 is 0.5 % above 100, the highest high of the 20 bars before; "
        "a setup needs 1 % above it, i.e. a close at or above 101"
    )


def test_a_pattern_in_view_raises_the_confidence():
    # the same last bars, once after a flag on a pole and once after a flat market; both break the same resistance
    pole = [100.0 + 0.7 * i for i in range(9)]
    flag = [105.4, 105.2, 105.0, 104.8, 104.6, 104.4]
    flagged = [100.0] * 245 + pole + flag
    volumes = [10.0] * 245 + [30.0] * 9 + [8.0] * 6 + [60.0]
    quarter = bars(Timeframe.M15, [*flagged, 107.0], volume=volumes)
    hours = bars(
        Timeframe.H4,
        RISING,
        start_ms=START_MS
        + Timeframe.H4.floor(len(quarter) * Timeframe.M15.ms)
        - len(RISING) * Timeframe.H4.ms,
    )
    scale = numbers("SWING").model_dump()["confidence"]
    scan = Scanned(Swing(), view(quarter, hours), numbers("SWING", confidence=scale | {"pattern_bonus": 0.3}))
    plain = Scanned(
        Swing(), view(quarter, hours), numbers("SWING", confidence=scale | {"pattern_bonus": 0.0})
    )
    assert scan.measured("bull_flag") == 1.0
    assert scan.reason is Reason.ACCEPTED
    assert 1 - scan.confidence == pytest.approx((1 - plain.confidence) * 0.7)


def test_an_rsi_order_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="rsi_min <= rsi_min_strict"):
        numbers("SWING", rsi_min=70.0)
    assert np.isfinite(scanned().confidence)
