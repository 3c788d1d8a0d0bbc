"""The numbers of the portfolio rules. Defaults stand in `config/defaults.toml`."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from crypto_tracker.core.model import MOST_HOURS, Frozen, Hours, Minutes
from crypto_tracker.core.tiers import ByTier

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]

CORRELATION_HOURS = 168  # returns, 7 d of them, that the correlation of two symbols looks at


class Limits(Frozen):
    """What may be held at once. Exposure counts marks plus reserves, at admission only."""

    max_open_per_strategy: Annotated[int, Field(ge=0)]
    max_open: Annotated[int, Field(ge=0)]
    max_symbol_exposure: Fraction  # of equity, in one symbol
    max_strategy_exposure: Fraction  # of equity, in one strategy
    reserve: Fraction  # of equity, never committed
    shares: dict[str, Fraction]  # of equity less reserve, by strategy; without a share nothing is opened
    min_confidence: Fraction
    correlation_limit: bool  # whether a new position is held against what is held already
    max_correlation: Annotated[float, Field(ge=-1.0, le=1.0)]  # mean with all that is held, at admission
    correlation_hours_min: Annotated[int, Field(ge=2, le=CORRELATION_HOURS)]  # returns that both must have

    @model_validator(mode="after")
    def _shares_sum_to_at_most_one(self) -> "Limits":
        total = sum(self.shares.values())
        if total > 1.0 + 1e-9:
            raise ValueError(f"the shares of the strategies add up to {total:g}, at most 1 is possible")
        return self


class SizingMode(StrEnum):
    """How large an entry is, before the factors of the market."""

    FIXED = "fixed"  # the strategy's own quote size for each level
    FIXED_FRACTION = "fixed_fraction"  # a share of the equity for the whole order
    ADAPTIVE = "adaptive"  # a fraction of Kelly's share of the equity, by confidence, trend and volatility


class TrendFactors(Frozen):
    """One factor for each slow regime; UNKNOWN counts as NEUTRAL."""

    bull: Positive
    neutral: Positive
    bear: Positive
    crash: Positive


class Sizing(Frozen):
    """How large an entry is (docs/simulator.md, section 5)."""

    mode: SizingMode
    fraction: Annotated[float, Field(gt=0.0, le=1.0)]  # of equity, `fixed_fraction`
    fraction_max: Annotated[float, Field(gt=0.0, le=1.0)]  # of equity, what `adaptive` asks for at most
    kelly: Annotated[float, Field(gt=0.0, le=1.0)]  # of the share that Kelly's criterion gives
    confidence_low: Positive  # factor at min_confidence
    confidence_high: Positive  # factor at 1
    volatility_target: Positive
    volatility_factor_min: Positive
    volatility_factor_max: Positive
    trend_factors: TrendFactors

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "Sizing":
        if self.volatility_factor_min > self.volatility_factor_max:
            raise ValueError(
                f"volatility_factor_min ({self.volatility_factor_min:g}) must not be above "
                f"volatility_factor_max ({self.volatility_factor_max:g})"
            )
        return self


class RegimeFactors(Frozen):
    """One factor for each fast regime."""

    normal: Positive
    caution: Positive
    euphoria: Positive
    panic: Positive


class FastRegime(Frozen):
    """Thresholds on returns of the reference coin (fractions, negative for falls); first match wins."""

    panic_1h: float
    panic_4h: float
    caution_1h: float
    caution_24h: float
    caution_48h: float
    euphoria_1h: float
    max_age_minutes: Minutes  # of the last reference close; older, and the previous regime holds
    size_factors: RegimeFactors


class SlowRegimeRules(Frozen):
    """Thresholds of the daily trend of the reference coin."""

    crash_return_7d: float
    crash_below_high_30d: Fraction
    crash_bars: Annotated[int, Field(ge=1)]
    trend_bars: Annotated[int, Field(ge=1)]
    sma_fast: Annotated[int, Field(ge=1)]
    sma_slow: Annotated[int, Field(ge=1)]


class ConditionRules(Frozen):
    """Market condition: which strategy the market favours."""

    move_24h: Positive
    sideways_volatility: Positive
    sideways: str
    falling: str
    rising: str


class VolatilitySwitch(Frozen):
    """A strategy goes off at `off` and on again below `on`."""

    off: Positive
    on: Positive

    @model_validator(mode="after")
    def _on_is_below_off(self) -> "VolatilitySwitch":
        if self.on > self.off:
            raise ValueError(f"on ({self.on:g}) must not be above off ({self.off:g})")
        return self


class VolatilitySize(Frozen):
    """Sizes are multiplied by `factor` while volatility is at or above `threshold`."""

    threshold: Positive
    factor: Positive


class Volatility(Frozen):
    """24 h range of the reference coin, sampled on full hours, and what it switches."""

    samples: Annotated[int, Field(ge=1)]
    switches: dict[str, VolatilitySwitch]
    sizes: dict[str, VolatilitySize]


class StopWidening(Frozen):
    """stop fraction = min(cap, base x (1 + slope x volatility at first entry / unit) x regime factor)."""

    slope: Annotated[float, Field(ge=0.0)]
    unit: Positive
    regime_factors: RegimeFactors
    caps: ByTier


class Protection(Frozen):
    """What keeps a bad day small. Blocks entries, never exits."""

    day_loss_max: Fraction
    drawdown_max: Fraction  # of the highest marked equity; entries then wait for a person
    losing_streak: Annotated[int, Field(ge=1)]
    losing_streak_hours: Hours
    cooldown_stops: Annotated[int, Field(ge=1)]
    cooldown_hours: ByTier
    cancel_rungs_in_panic: bool
    close_on_transition: bool  # close what a strategy has when the market turns against it
    stale_minutes: Minutes
    fast_regime: FastRegime
    slow_regime: SlowRegimeRules
    condition: ConditionRules
    volatility: Volatility
    stop_widening: StopWidening

    @field_validator("cooldown_hours")
    @classmethod
    def _hours_can_pass(cls, hours: ByTier) -> ByTier:
        if not all(0.0 <= value <= MOST_HOURS for value in hours.array()):
            raise ValueError(f"expected hours from 0 to {MOST_HOURS:,.0f} for every tier")
        return hours
