"""The market of each close: fast regime, volatility, switches, condition (docs/simulator.md, section 6).

Everything here is a pure function of the reference coin's bars, the forced regimes and what is carried over,
so that a live minute and a backtest compute the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crypto_tracker.core.arrays import BoolArray, CodeArray, FloatArray, IntArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Condition, Regime
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from crypto_tracker.portfolio.parameters import (
    ConditionRules,
    FastRegime,
    Protection,
    RegimeFactors,
    Volatility,
)

NO_FORCE = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarketState:
    """The market at the CLOSE of every base bar.

    Attributes
    ----------
    regime : int8 (bars,), a `Regime`
    volatility : (bars,), 24 h range of the reference, mean of the last samples; NaN where unknown
    condition : int8 (bars,), a `Condition`
    preferred : int64 (bars,), the favoured strategy's position in the configured order, -1 for none
    stop_factor : (bars,), widening of stops by the regime
    size_factor : (bars, strategies), regime factor x volatility factor
    switched_on : bool (bars, strategies), volatility hysteresis
    returns : (bars, 4), of the reference over 1, 4, 24 and 48 h; NaN where missing
    """

    regime: CodeArray
    volatility: FloatArray
    condition: CodeArray
    preferred: IntArray
    stop_factor: FloatArray
    size_factor: FloatArray
    switched_on: BoolArray
    returns: FloatArray

    def rows(self, start: int) -> "MarketState":
        """The market from row `start` on."""
        return MarketState(
            regime=self.regime[start:],
            volatility=self.volatility[start:],
            condition=self.condition[start:],
            preferred=self.preferred[start:],
            stop_factor=self.stop_factor[start:],
            size_factor=self.size_factor[start:],
            switched_on=self.switched_on[start:],
            returns=self.returns[start:],
        )


def market_state(
    reference: Panel | None,
    strategies: Sequence[str],
    rules: Protection,
    forced: CodeArray,
) -> MarketState:
    """The market at every close of the base.

    Parameters
    ----------
    reference : one-column panel with a row for each bar, or None where the reference coin is not in the data:
        the regime then stays NORMAL, volatility and condition are unknown
    strategies : names in the configured order
    forced : int8 (bars,), a forced `Regime` or NO_FORCE
    """
    bars = len(forced)
    if reference is None:
        returns = np.full((bars, 4), np.nan)
        current = np.zeros(bars, dtype=np.bool_)
        volatility = np.full(bars, np.nan)
    else:
        returns, current = reference_returns(reference, rules.fast_regime.max_age_minutes)
        volatility = reference_volatility(reference, rules.volatility.samples)
    regime = fast_regime(returns, current, rules.fast_regime, forced)
    condition = market_condition(returns[:, 2], volatility, rules.condition)
    names = list(strategies)
    favoured = {
        Condition.NONE: "",
        Condition.SIDEWAYS: rules.condition.sideways,
        Condition.FALLING: rules.condition.falling,
        Condition.RISING: rules.condition.rising,
    }
    by_condition = np.array(
        [names.index(favoured[each]) if favoured[each] in names else -1 for each in Condition], dtype=np.int64
    )
    size = np.empty((bars, len(names)))
    size[:] = _factors(rules.fast_regime.size_factors)[regime][:, None]
    for column, name in enumerate(names):
        rule = rules.volatility.sizes.get(name)
        if rule is not None:
            size[:, column] *= np.where(volatility >= rule.threshold, rule.factor, 1.0)
    return MarketState(
        regime=regime,
        volatility=volatility,
        condition=condition,
        preferred=by_condition[condition],
        stop_factor=_factors(rules.stop_widening.regime_factors)[regime],
        size_factor=size,
        switched_on=volatility_switches(volatility, names, rules.volatility),
        returns=returns,
    )


def reference_returns(reference: Panel, max_age_minutes: float) -> tuple[FloatArray, BoolArray]:
    """Returns over 1, 4, 24 and 48 h at each close, (bars, 4), and whether the last close is recent, (bars,).

    A close stands for a moment when it is at most `max_age_minutes` old (or one bar, if that is longer).
    """
    bar_ms = reference.timeframe.ms
    age_bars = int(max(max_age_minutes * MINUTE_MS, bar_ms)) // bar_ms
    close = reference.close[:, 0]
    rows = np.arange(len(close))
    last = np.maximum.accumulate(np.where(np.isnan(close), -1, rows))
    usable = (last >= 0) & (rows - last <= age_bars)
    recent = np.where(usable, close[np.maximum(last, 0)], np.nan)
    returns = np.full((len(close), 4), np.nan)
    for column, hours in enumerate((1, 4, 24, 48)):
        lag = hours * HOUR_MS // bar_ms
        if lag < len(close):
            returns[lag:, column] = recent[lag:] / recent[: len(close) - lag] - 1.0
    return returns, usable


def fast_regime(returns: FloatArray, current: BoolArray, rules: FastRegime, forced: CodeArray) -> CodeArray:
    """The fast regime at each close, int8 (bars,); without a recent close the last one holds."""
    one, four, day, two_days = returns.T
    regime = np.full(len(returns), Regime.NORMAL, dtype=np.int8)
    regime[one >= rules.euphoria_1h] = Regime.EUPHORIA
    caution = (one <= rules.caution_1h) | (day <= rules.caution_24h) | (two_days <= rules.caution_48h)
    regime[caution] = Regime.CAUTION
    regime[(one <= rules.panic_1h) | (four <= rules.panic_4h)] = Regime.PANIC
    rows = np.arange(len(regime))
    source = np.maximum.accumulate(np.where(current, rows, -1))
    held = np.where(source >= 0, regime[np.maximum(source, 0)], Regime.NORMAL)
    return np.where(forced != NO_FORCE, forced, held).astype(np.int8)


def reference_volatility(reference: Panel, samples: int) -> FloatArray:
    """24 h range (high - low) / low of the reference, mean of the last `samples` full hours, (bars,).

    NaN until every sample exists: the first bar must be 24 h old and the window must hold a bar.
    """
    bar_ms = reference.timeframe.ms
    times = reference.open_time_ms
    result = np.full(len(times), np.nan)
    present = reference.present[:, 0]
    if not present.any():
        return result
    first_open = int(times[np.argmax(present)])
    first_hour = -(-int(times[0]) // HOUR_MS) * HOUR_MS
    hours = np.arange(first_hour, int(times[-1]) + bar_ms + 1, HOUR_MS, dtype=np.int64)
    # The rows of one hour are folded first; a 24 h window is then 24 of those.
    hour_of_row = (times - first_hour) // HOUR_MS  # -1 for rows before the first full hour
    count = len(hours) + 1
    hour_high = np.full(count, -np.inf)
    hour_low = np.full(count, np.inf)
    np.maximum.at(hour_high, hour_of_row[present] + 1, reference.high[present, 0])
    np.minimum.at(hour_low, hour_of_row[present] + 1, reference.low[present, 0])
    sample = np.full(len(hours), np.nan)
    for index, hour in enumerate(hours):
        if first_open > hour - DAY_MS:
            continue
        window = slice(index + 1 - 24, index + 1)
        high, low = hour_high[window].max(), hour_low[window].min()
        if high > 0:
            sample[index] = (high - low) / low
    mean = np.full(len(hours), np.nan)
    for index in range(samples - 1, len(hours)):
        total = 0.0
        for value in sample[index - samples + 1 : index + 1]:
            total += value
        mean[index] = total / samples
    at = (times + bar_ms - first_hour) // HOUR_MS
    known = at >= 0
    result[known] = mean[at[known]]
    return result


def volatility_switches(volatility: FloatArray, strategies: Sequence[str], rules: Volatility) -> BoolArray:
    """Which strategies the volatility leaves on, bool (bars, strategies); all at first, unknown keeps."""
    on = np.ones((len(volatility), len(strategies)), dtype=np.bool_)
    rows = np.arange(len(volatility))
    for column, name in enumerate(strategies):
        rule = rules.switches.get(name)
        if rule is None:
            continue
        event = np.where(volatility >= rule.off, 0, np.where(volatility < rule.on, 1, -1))
        source = np.maximum.accumulate(np.where(event >= 0, rows, -1))
        on[:, column] = np.where(source >= 0, event[np.maximum(source, 0)] == 1, True)
    return on


def market_condition(return_24h: FloatArray, volatility: FloatArray, rules: ConditionRules) -> CodeArray:
    """The condition at each close, int8 (bars,); NONE where it is not known."""
    condition = np.full(len(return_24h), Condition.NONE, dtype=np.int8)
    quiet = (np.abs(return_24h) < rules.move_24h) & (volatility < rules.sideways_volatility)
    condition[quiet] = Condition.SIDEWAYS
    condition[return_24h <= -rules.move_24h] = Condition.FALLING
    condition[return_24h >= rules.move_24h] = Condition.RISING
    return condition


def _factors(factors: RegimeFactors) -> FloatArray:
    by_regime = {
        Regime.NORMAL: factors.normal,
        Regime.CAUTION: factors.caution,
        Regime.EUPHORIA: factors.euphoria,
        Regime.PANIC: factors.panic,
    }
    return np.array([by_regime[regime] for regime in Regime])
