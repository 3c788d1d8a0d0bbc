"""The slow regime of the reference coin, as configured."""

from crypto_tracker.core.arrays import CodeArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.features.context import slow_regime
from crypto_tracker.portfolio.parameters import SlowRegimeRules


def slow_regime_codes(days: Panel, rules: SlowRegimeRules) -> CodeArray:
    """The slow regime at the close of each daily bar of the reference coin, as configured."""
    return slow_regime(
        days.close[:, 0],
        days.high[:, 0],
        crash_return_7d=rules.crash_return_7d,
        crash_below_high_30d=rules.crash_below_high_30d,
        crash_bars=rules.crash_bars,
        trend_bars=rules.trend_bars,
        sma_fast=rules.sma_fast,
        sma_slow=rules.sma_slow,
    )
