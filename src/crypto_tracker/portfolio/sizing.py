"""How the market of a close scales sizes in the mode `adaptive` (docs/simulator.md, sections 5 and 6).

It depends on no portfolio, so it is computed before the simulator and is part of each close's size factors.
"""

from dataclasses import replace

import numpy as np

from crypto_tracker.core.arrays import CodeArray, FloatArray
from crypto_tracker.core.decisions import SlowRegime
from crypto_tracker.portfolio.parameters import Sizing, SizingMode
from crypto_tracker.portfolio.regime import MarketState


def sized(market: MarketState, slow_regime: CodeArray | None, sizing: Sizing) -> MarketState:
    """The market with size factors as `sizing` has them; as it is unless the mode is `adaptive`.

    `slow_regime` are `SlowRegime` codes at the closes of the market, int8 (bars,); None is UNKNOWN.
    """
    if sizing.mode is not SizingMode.ADAPTIVE:
        return market
    codes = np.zeros(len(market.regime), dtype=np.int8) if slow_regime is None else slow_regime
    factor = trend_factor(codes, sizing) * volatility_factor(market.volatility, sizing)
    return replace(market, size_factor=market.size_factor * factor[:, None])


def trend_factor(slow_regime: CodeArray, sizing: Sizing) -> FloatArray:
    """The factor of the slow regime at each close, (bars,); UNKNOWN counts as NEUTRAL."""
    factors = sizing.trend_factors
    by_code = {
        SlowRegime.UNKNOWN: factors.neutral,
        SlowRegime.NEUTRAL: factors.neutral,
        SlowRegime.BULL: factors.bull,
        SlowRegime.BEAR: factors.bear,
        SlowRegime.CRASH: factors.crash,
    }
    return np.array([by_code[code] for code in SlowRegime])[slow_regime]


def volatility_factor(volatility: FloatArray, sizing: Sizing) -> FloatArray:
    """Target over volatility within its bounds at each close, (bars,); 1 where the volatility is unknown."""
    least, most = sizing.volatility_factor_min, sizing.volatility_factor_max
    moving = np.where(volatility > 0.0, volatility, np.nan)
    bounded = np.clip(sizing.volatility_target / moving, least, most)
    return np.where(np.isnan(volatility), 1.0, np.where(volatility > 0.0, bounded, most))
