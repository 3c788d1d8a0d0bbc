"""The market of a close (docs/simulator.md section 6), read straight from the reference coin's bars."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Condition, Regime, SlowRegime
from crypto_tracker.portfolio.parameters import RegimeFactors, Sizing, SizingMode
from crypto_tracker.simulation.parameters import Rules
from crypto_tracker.simulation.records import CommandKind, Scenario

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketNow:
    """What is known of the whole market at one close."""

    regime: Regime
    volatility: float  # NaN where unknown
    condition: Condition
    stop_factor: float
    size_factors: tuple[float, ...]  # for each strategy
    switched_off: tuple[bool, ...]  # for each strategy, by volatility


def factor_of(factors: RegimeFactors, regime: Regime) -> float:
    """The factor of a regime."""
    return float(getattr(factors, regime.name.lower()))


def market_before(rules: Rules, strategies: Sequence[str]) -> MarketNow:
    """What holds before the first close."""
    return MarketNow(
        regime=Regime.NORMAL,
        volatility=math.nan,
        condition=Condition.NONE,
        stop_factor=factor_of(rules.protection.stop_widening.regime_factors, Regime.NORMAL),
        size_factors=tuple(1.0 for _ in strategies),
        switched_off=tuple(False for _ in strategies),
    )


class ReferenceBars:
    """The reference coin's base bars, asked one question at a time."""

    def __init__(self, panel: Panel, max_age_ms: float) -> None:
        self.first_open = int(panel.open_time_ms[0]) if len(panel) else 0
        self.step = panel.timeframe.ms
        self.high = panel.high[:, 0].tolist()
        self.low = panel.low[:, 0].tolist()
        self.close = panel.close[:, 0].tolist()
        self.max_age_ms = max(max_age_ms, float(self.step))
        self.first_bar_open: int | None = None
        for row, close in enumerate(self.close):
            if not math.isnan(close):
                self.first_bar_open = self.first_open + row * self.step
                break
        self._samples: dict[int, float] = {}

    def close_at(self, moment: int) -> float:
        """The last close at or before a moment that is not too old; NaN where there is none."""
        row = min((moment - self.first_open) // self.step - 1, len(self.close) - 1)
        while row >= 0:
            closed = self.first_open + (row + 1) * self.step
            if moment - closed > self.max_age_ms:
                return math.nan
            if not math.isnan(self.close[row]):
                return float(self.close[row])
            row -= 1
        return math.nan

    def change(self, moment: int, hours: int) -> float:
        """Return over the last hours; NaN where either close is missing."""
        return self.close_at(moment) / self.close_at(moment - hours * HOUR_MS) - 1.0

    def range_24h(self, hour: int) -> float:
        """(highest high - lowest low) / lowest low of the bars opened in the 24 h before a full hour; NaN where unknown."""
        if hour not in self._samples:
            self._samples[hour] = self._range_24h(hour)
        return self._samples[hour]

    def _range_24h(self, hour: int) -> float:
        start = hour - 24 * HOUR_MS
        if self.first_bar_open is None or self.first_bar_open > start:
            return math.nan
        highs, lows = [], []
        for row, close in enumerate(self.close):
            if start <= self.first_open + row * self.step < hour and not math.isnan(close):
                highs.append(self.high[row])
                lows.append(self.low[row])
        if not highs:
            return math.nan
        return float((max(highs) - min(lows)) / min(lows))

    def volatility(self, moment: int, samples: int) -> float:
        """Mean of the last full hours' 24 h ranges; NaN unless all exist."""
        last_hour = moment - moment % HOUR_MS
        values = [self.range_24h(last_hour - back * HOUR_MS) for back in reversed(range(samples))]
        total = 0.0
        for value in values:
            total += value
        return total / samples


def computed_regime(bars: ReferenceBars, moment: int, rules: Rules, previous: Regime) -> Regime:
    """The fast regime of one close, before any person's word."""
    if math.isnan(bars.close_at(moment)):
        return previous
    fast = rules.protection.fast_regime
    r1, r4, r24, r48 = (bars.change(moment, hours) for hours in (1, 4, 24, 48))
    if r1 <= fast.panic_1h or r4 <= fast.panic_4h:
        return Regime.PANIC
    if r1 <= fast.caution_1h or r24 <= fast.caution_24h or r48 <= fast.caution_48h:
        return Regime.CAUTION
    if r1 >= fast.euphoria_1h:
        return Regime.EUPHORIA
    return Regime.NORMAL


def condition_at(bars: ReferenceBars, moment: int, volatility: float, rules: Rules) -> Condition:
    """Which way the reference coin has gone in a day."""
    condition = rules.protection.condition
    r24 = bars.change(moment, 24)
    if abs(r24) < condition.move_24h and volatility < condition.sideways_volatility:
        return Condition.SIDEWAYS
    if r24 <= -condition.move_24h:
        return Condition.FALLING
    if r24 >= condition.move_24h:
        return Condition.RISING
    return Condition.NONE


def trend_at(scenario: Scenario, open_ms: int) -> SlowRegime:
    """The slow regime at the close of a bar; before the traded bars nobody asks for it."""
    row = (open_ms - int(scenario.panel.open_time_ms[0])) // scenario.panel.timeframe.ms
    if scenario.slow_regime is None or row < 0:
        return SlowRegime.UNKNOWN
    return SlowRegime(int(scenario.slow_regime[row]))


def adaptive_scale(sizing: Sizing, trend: SlowRegime, volatility: float) -> float:
    """What trend and volatility make of a size in the mode `adaptive`, 1 in the others."""
    if sizing.mode is not SizingMode.ADAPTIVE:
        return 1.0
    factors = sizing.trend_factors
    by_trend = {
        SlowRegime.BULL: factors.bull,
        SlowRegime.BEAR: factors.bear,
        SlowRegime.CRASH: factors.crash,
    }.get(trend, factors.neutral)
    if math.isnan(volatility):
        return by_trend
    aimed = math.inf if volatility == 0.0 else sizing.volatility_target / volatility
    return by_trend * min(max(aimed, sizing.volatility_factor_min), sizing.volatility_factor_max)


def market_track(scenario: Scenario) -> list[MarketNow]:
    """The market at every close of a scenario.

    Where the reference begins earlier than the traded bars, what is carried (the previous regime, the switches)
    is carried from its first bar on.
    """
    rules = scenario.rules
    fast = rules.protection.fast_regime
    rule_volatility = rules.protection.volatility
    bars = None
    if scenario.reference is not None:
        bars = ReferenceBars(scenario.reference, fast.max_age_minutes * 60_000.0)
    computed = Regime.NORMAL
    forced: Regime | None = None
    off = [False for _ in scenario.strategies]
    pending = list(scenario.commands)
    track = []
    traded_ms = scenario.panel.open_time_ms.tolist()
    reference_ms = [] if scenario.reference is None else scenario.reference.open_time_ms.tolist()
    for open_ms in reference_ms or traded_ms:
        while pending and pending[0]["time_ms"] <= open_ms:
            command = pending.pop(0)
            if command["kind"] == CommandKind.FORCE_REGIME:
                forced = Regime(int(command["value"]))
            elif command["kind"] == CommandKind.RELEASE_REGIME:
                forced = None
        moment = open_ms + scenario.panel.timeframe.ms
        volatility = math.nan
        condition = Condition.NONE
        if bars is not None:
            computed = computed_regime(bars, moment, rules, computed)
            volatility = bars.volatility(moment, rule_volatility.samples)
            condition = condition_at(bars, moment, volatility, rules)
        regime = computed if forced is None else forced
        scale = adaptive_scale(rules.sizing, trend_at(scenario, open_ms), volatility)
        size_factors = []
        for number, name in enumerate(scenario.strategies):
            switch = rule_volatility.switches.get(name)
            if switch is not None and volatility >= switch.off:
                off[number] = True
            elif switch is not None and volatility < switch.on:
                off[number] = False
            size = rule_volatility.sizes.get(name)
            by_volatility = size.factor if size is not None and volatility >= size.threshold else 1.0
            size_factors.append(factor_of(fast.size_factors, regime) * by_volatility * scale)
        track.append(
            MarketNow(
                regime=regime,
                volatility=volatility,
                condition=condition,
                stop_factor=factor_of(rules.protection.stop_widening.regime_factors, regime),
                size_factors=tuple(size_factors),
                switched_off=tuple(off),
            )
        )
    return track[len(track) - len(traded_ms) :]
