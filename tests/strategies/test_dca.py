"""DCA on hand-drawn 5m bars: 60 of them at 100 with volume 10, and one more that decides."""

import numpy as np
import pytest

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason, SlowRegime, Tier
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, Timeframe
from crypto_tracker.simulation.records import MAX_LEVELS
from crypto_tracker.strategies.dca import Dca, DcaParameters
from tests.strategies.drawn import BTC, START_MS, Scanned, bars, facts, numbers, view


def scanned(
    close: float, volume: float = 10.0, *, regime: SlowRegime | None = None, **changed: object
) -> Scanned:
    panel = bars(Timeframe.M5, [100.0] * 60 + [close], volume=[10.0] * 60 + [volume])
    if regime is None:
        market = view(panel)
    else:
        days = bars(Timeframe.D1, [100.0], start_ms=START_MS - DAY_MS)
        market = view(panel, reference={Timeframe.D1: days}, slow_regime=np.array([regime], dtype=np.int8))
    return Scanned(Dca(), market, numbers("DCA", **changed))


def drops(fraction: float) -> dict[str, float]:
    return dict.fromkeys(("large_cap", "mid_cap", "small_cap", "memecoin"), fraction)


def test_a_drop_of_the_threshold_with_average_volume_is_a_setup():
    # 2.5 % below 100; the volume is its own mean: both thresholds are met exactly
    scan = scanned(97.5)
    assert scan.reason is Reason.ACCEPTED
    assert scan.detection.setup[-1, 0]
    assert scan.measured("drop") == pytest.approx(0.025)
    assert scan.measured("volume_ratio") == 1.0
    assert scan.readiness == pytest.approx(100.0)
    assert scan.confidence == pytest.approx(0.5)


def test_a_drop_just_below_the_threshold_is_too_small():
    scan = scanned(97.51)
    assert scan.reason is Reason.DROP_TOO_SMALL
    assert scan.readiness == pytest.approx(100 * 0.0249 / 0.025)


@pytest.mark.parametrize("drop", [0.02, 0.03, 0.07, 0.1, 0.3])
def test_a_threshold_in_decimals_is_met_by_the_price_that_people_would_name(drop: float):
    # 1 - 90 / 100 is a little less than 0.1 in binary; nobody should lose a trade to that
    assert scanned(round(100 * (1 - drop), 10), drop=drops(drop)).reason is Reason.ACCEPTED


def test_readiness_grows_linearly_with_the_drop():
    assert scanned(100.0).readiness == 0.0
    assert scanned(99.0).readiness == pytest.approx(40.0)
    assert scanned(98.0).readiness == pytest.approx(80.0)
    assert scanned(90.0).readiness == 100.0


def test_a_drop_without_volume_is_no_setup():
    # 9 over (19 x 10 + 9) / 20 is 0.9045
    scan = scanned(97.0, 9.0)
    assert scan.reason is Reason.VOLUME_LOW
    assert scan.measured("volume_ratio") == pytest.approx(9 / 9.95)
    assert scan.readiness == 100.0  # a near miss: the drop is there


def test_nothing_is_bought_into_a_crash():
    assert scanned(97.0, regime=SlowRegime.CRASH).reason is Reason.REGIME_CRASH


@pytest.mark.parametrize("regime", [r for r in SlowRegime if r is not SlowRegime.CRASH])
def test_every_other_slow_regime_lets_a_setup_pass(regime: SlowRegime):
    assert scanned(97.0, regime=regime).reason is Reason.ACCEPTED


def test_without_a_reference_coin_the_slow_regime_is_unknown_and_that_is_said():
    scan = scanned(97.0)
    assert scan.measured("slow_regime") == SlowRegime.UNKNOWN
    assert "treated as NEUTRAL" in scan.told()[-1]


def test_the_slow_regime_of_a_day_is_known_only_once_that_day_has_closed():
    # the day that opens with these bars crashes, but closes long after them
    panel = bars(Timeframe.M5, [100.0] * 60 + [97.0])
    days = bars(Timeframe.D1, [100.0, 50.0], start_ms=START_MS - DAY_MS)
    codes = np.array([SlowRegime.BULL, SlowRegime.CRASH], dtype=np.int8)
    scan = Scanned(Dca(), view(panel, reference={Timeframe.D1: days}, slow_regime=codes), numbers("DCA"))
    assert scan.reason is Reason.ACCEPTED
    assert scan.measured("slow_regime") == SlowRegime.BULL


def test_the_first_gate_that_fails_is_the_reason():
    assert scanned(99.0, 1.0, regime=SlowRegime.CRASH).reason is Reason.DROP_TOO_SMALL
    assert scanned(97.0, 1.0, regime=SlowRegime.CRASH).reason is Reason.VOLUME_LOW


def test_the_high_is_that_of_the_last_four_hours_and_not_older():
    # a high of 110 stands 48 bars back, just outside, then just inside of the window
    outside = [100.0] * 12 + [110.0] + [100.0] * 47 + [97.5]
    inside = [100.0] * 13 + [110.0] + [100.0] * 46 + [97.5]
    assert Scanned(Dca(), view(bars(Timeframe.M5, outside)), numbers("DCA")).measured("high_4h") == 100.0
    assert Scanned(Dca(), view(bars(Timeframe.M5, inside)), numbers("DCA")).measured("high_4h") == 110.0


def test_four_hours_stay_four_hours_where_bars_are_missing_or_coarser():
    gap = [110.0] * 30 + [np.nan] * 40 + [100.0] * 30
    scan = Scanned(Dca(), view(bars(Timeframe.M5, gap)), numbers("DCA"))
    assert scan.measured("high_4h") == 100.0  # 48 rows back reaches into the gap, not across it
    hours = [100.0] * 45 + [110.0] + [100.0] * 4
    scan = Scanned(Dca(), view(bars(Timeframe.H1, hours)), numbers("DCA"))
    assert scan.measured("high_4h") == 100.0


def test_the_threshold_and_the_exits_follow_the_tier():
    panel = bars(Timeframe.M5, [100.0] * 60 + [97.0])
    thresholds = drops(0.025) | {"memecoin": 0.05}
    market = view(panel, instruments=facts([BTC], tier=Tier.MEMECOIN))
    scan = Scanned(Dca(), market, numbers("DCA", drop=thresholds))
    assert scan.reason is Reason.DROP_TOO_SMALL
    assert scan.readiness == pytest.approx(60.0)
    plan = scan.detection.plan
    assert (plan.take_profit[0, 0], plan.stop_loss[0, 0], plan.trailing[0, 0]) == (0.12, 0.12, 0.06)


def test_the_plan_is_a_ladder_of_five_equal_buys():
    plan = scanned(97.0).detection.plan
    assert plan.levels.tolist() == [[5]]
    assert plan.size_quote.tolist() == [[100.0]]
    assert plan.spacing.tolist() == [[0.01]]
    assert plan.max_hold_ms.tolist() == [[72 * HOUR_MS]]
    assert np.isnan(plan.max_entry_gap).all()
    assert (plan.take_profit[0, 0], plan.stop_loss[0, 0], plan.trailing[0, 0]) == (0.04, 0.06, 0.02)


def test_confidence_rises_with_the_drop_and_with_the_volume():
    # drop 3.75 % is half way from the threshold to twice of it: grade 0.75; volume at its threshold: 0.5
    assert scanned(96.25).confidence == pytest.approx(0.6 * 0.75 + 0.4 * 0.5)
    assert scanned(95.0).confidence == pytest.approx(0.6 * 1.0 + 0.4 * 0.5)
    drops_and_volumes = [(97.5, 10), (97.0, 10), (97.0, 20), (96.0, 20), (96.0, 40), (94.0, 40)]
    confidences = [scanned(close, volume).confidence for close, volume in drops_and_volumes]
    assert confidences == sorted(confidences)
    assert len(set(confidences)) == len(confidences)


def test_a_scan_without_warm_up_or_bar_says_so_and_nothing_else():
    young = Scanned(Dca(), view(bars(Timeframe.M5, [100.0] * 46 + [90.0])), numbers("DCA"))
    assert young.reason is Reason.NOT_READY
    assert np.isnan(young.readiness)
    assert np.isnan(young.confidence)
    assert "97.91 % of the bars" in young.told()[-1]  # 47 of 48
    old_enough = Scanned(Dca(), view(bars(Timeframe.M5, [100.0] * 47 + [90.0])), numbers("DCA"))
    assert old_enough.reason is Reason.ACCEPTED
    missing = Scanned(Dca(), view(bars(Timeframe.M5, [100.0] * 60 + [np.nan])), numbers("DCA"))
    assert missing.reason is Reason.NO_BAR
    assert missing.gates() == [("no_bar", False)]


def test_a_bar_without_trades_is_no_scan_although_the_close_is_carried_on():
    whole = bars(Timeframe.M5, [100.0] * 59 + [97.0, np.nan])
    panel = Panel(
        timeframe=whole.timeframe,
        symbols=whole.symbols,
        open_time_ms=whole.open_time_ms,
        open=whole.open,
        high=whole.high,
        low=whole.low,
        close=whole.close,
        volume=whole.volume,
        covered=np.ones_like(whole.covered),
    )
    scan = Scanned(Dca(), view(panel), numbers("DCA"))
    assert scan.reason is Reason.NO_BAR
    assert not scan.detection.setup[-1, 0]


def test_a_market_in_which_nothing_is_traded_has_no_volume():
    panel = bars(Timeframe.M5, [100.0] * 60 + [90.0], volume=[0.0] * 61)
    scan = Scanned(Dca(), view(panel), numbers("DCA"))
    assert scan.measured("volume_ratio") == 0.0
    assert scan.reason is Reason.VOLUME_LOW


def test_an_unknown_volume_is_not_guessed():
    panel = bars(Timeframe.M5, [100.0] * 61, volume=[np.nan] * 61)
    assert Scanned(Dca(), view(panel), numbers("DCA")).reason is Reason.NOT_READY


def test_the_explanation_says_what_would_have_had_to_be_different():
    told = scanned(98.6).told()
    assert told[2] == (
        "the close 98.6 is 1.4 % below the 4 h high 100; a setup needs 2.5 %, i.e. a close at or below 97.5"
    )
    assert told[3] == "the volume is 1.00 x its 20-bar mean; a setup needs 1 x"
    assert [gate for gate, passed in scanned(98.6).gates() if not passed] == ["drop_too_small"]


def test_numbers_that_make_no_sense_are_refused_with_a_sentence():
    with pytest.raises(ValueError, match="reach below a price of 0"):
        numbers("DCA", levels=20, spacing=0.06)
    with pytest.raises(ValueError, match="drop must be above 0"):
        numbers("DCA", drop=drops(0.0))
    with pytest.raises(ValueError, match="Extra inputs"):
        DcaParameters.model_validate({**numbers("DCA").model_dump(), "dropp": 1})


def test_a_strategy_refuses_the_numbers_of_another():
    with pytest.raises(UsageError, match="DCA takes DcaParameters, but was given SwingParameters"):
        Scanned(Dca(), view(bars(Timeframe.M5, [100.0] * 60)), numbers("SWING"))


def test_a_ladder_longer_than_the_simulator_holds_is_refused_by_the_configuration():
    """It was accepted, and the backtest failed at the first setup."""
    assert numbers("DCA", levels=MAX_LEVELS).levels == MAX_LEVELS
    with pytest.raises(ValueError, match="levels"):
        numbers("DCA", levels=MAX_LEVELS + 1)
