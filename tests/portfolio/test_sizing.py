"""What the market of a close makes of sizes in the mode `adaptive`."""

import numpy as np
import pytest

from crypto_tracker.core.decisions import Regime, SlowRegime
from crypto_tracker.portfolio.regime import NO_FORCE, market_state
from crypto_tracker.portfolio.sizing import sized, trend_factor, volatility_factor
from tests.simulation.rules import spec_rules

STRATEGIES = ("DCA", "SWING")


def test_sizes_grow_in_a_bear_market_and_shrink_in_a_bull_market_and_in_a_crash():
    codes = np.array(
        [SlowRegime.UNKNOWN, SlowRegime.NEUTRAL, SlowRegime.BULL, SlowRegime.BEAR, SlowRegime.CRASH],
        dtype=np.int8,
    )
    assert trend_factor(codes, spec_rules().sizing).tolist() == [1.0, 1.0, 0.7, 1.3, 0.7]


@pytest.mark.parametrize(
    ("volatility", "factor"),
    [(0.04, 1.0), (0.05, 0.8), (0.08, 0.5), (0.5, 0.5), (0.02, 2.0), (0.001, 2.0), (0.0, 2.0), (np.nan, 1.0)],
)
def test_sizes_are_inverse_to_the_volatility_within_bounds(volatility: float, factor: float):
    found = volatility_factor(np.array([volatility]), spec_rules().sizing)
    assert found.tolist() == [pytest.approx(factor, rel=1e-15)]


@pytest.mark.parametrize(("mode", "factor"), [("fixed", 0.5), ("fixed_fraction", 0.5), ("adaptive", 0.65)])
def test_only_the_adaptive_mode_reads_the_trend_and_it_multiplies_what_the_regime_gives(
    mode: str, factor: float
):
    rules = spec_rules(sizing__mode=mode)
    forced = np.array([Regime.CAUTION, NO_FORCE], dtype=np.int8)
    before = market_state(None, STRATEGIES, rules.protection, forced)
    codes = np.array([SlowRegime.BEAR, SlowRegime.UNKNOWN], dtype=np.int8)
    after = sized(before, codes, rules.sizing)
    assert after.size_factor[0].tolist() == [pytest.approx(factor)] * 2
    assert after.size_factor[1].tolist() == [1.0, 1.0]
    assert sized(before, None, rules.sizing).size_factor[0].tolist() == [0.5, 0.5]
    assert before.size_factor[0].tolist() == [0.5, 0.5]


def test_volatility_bounds_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="must not be above"):
        spec_rules(volatility_factor_min=3.0)
