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

    def rows(self, start: int, stop: int | None = None) -> "MarketState":
        """The market from row `start` on, or up to `stop`."""
        return MarketState(
            regime=self.regime[start:stop],
            volatility=self.volatility[start:stop],
            condition=self.condition[start:stop],
            preferred=self.preferred[start:stop],
            stop_factor=self.stop_factor[start:stop],
            size_factor=self.size_factor[start:stop],
            switched_on=self.switched_on[start:stop],
            returns=self.returns[start:stop],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketCarry:
    """What the market rules remember from one close to the next."""

    regime: Regime  # as computed at the last close that was recent; what is forced does not enter
    switched_on: tuple[bool, ...]  # for each strategy, what the volatility says
    first_ms: int | None  # open time of the reference's first bar ever, None before it


def reference_lead_ms(rules: Protection) -> int:
    """How long before a close the reference's bars still matter for it, beside what is carried."""
    age_ms = max(int(rules.fast_regime.max_age_minutes * MINUTE_MS), HOUR_MS)
    return max(2 * DAY_MS + age_ms, DAY_MS + rules.volatility.samples * HOUR_MS)


def market_state(
    reference: Panel | None,
    strategies: Sequence[str],
    rules: Protection,
    forced: CodeArray,
) -> MarketState:
    """The market at every close of the base, from the reference's first row on (see `follow_market`)."""
    return follow_market(reference, strategies, rules, forced, None)[0]


def follow_market(
    reference: Panel | None,
    strategies: Sequence[str],
    rules: Protection,
    forced: CodeArray,
    carry: MarketCarry | None,
) -> tuple[MarketState, MarketCarry]:
    """The market at every close of the base, going on from what is carried, and what to carry on.

    A span cut into calls gives the rows of one call over the whole, bit for bit, where each call has a lead
    of at least `reference_lead_ms`.

    Parameters
    ----------
    reference : one-column panel, or None where the reference coin is not in the data: the regime then stays
        as it is (NORMAL at first), volatility and condition are unknown. Its last rows are the bars of the
        result; those before are the lead, which returns and volatility look back on
    strategies : names in the configured order
    forced : int8 (bars,), a forced `Regime` or NO_FORCE; there are as many rows in the result
    carry : of the last row before the result, or None to begin with the first row of the lead
    """
    bars = len(forced)
    lead = 0 if reference is None else len(reference) - bars
    first_row = lead if carry is not None else 0  # of what is gone through with memory
    before = carry or MarketCarry(regime=Regime.NORMAL, switched_on=(True,) * len(strategies), first_ms=None)
    first_ms = before.first_ms
    if reference is None:
        returns = np.full((bars, 4), np.nan)
        current = np.zeros(bars, dtype=np.bool_)
        volatility = np.full(bars, np.nan)
    else:
        if first_ms is None:
            first_ms = first_bar_ms(reference)
        returns, current = reference_returns(reference, rules.fast_regime.max_age_minutes)
        returns, current = returns[first_row:], current[first_row:]
        volatility = reference_volatility(
            reference, rules.volatility.samples, first_ms=first_ms, first_row=first_row
        )
    held = fast_regime(returns, current, rules.fast_regime, before.regime)
    switched_on = volatility_switches(volatility, strategies, rules.volatility, before.switched_on)
    after = before
    if len(held):
        on = tuple(bool(each) for each in switched_on[-1])
        after = MarketCarry(regime=Regime(int(held[-1])), switched_on=on, first_ms=first_ms)
    skipped = lead - first_row
    regime = np.where(forced != NO_FORCE, forced, held[skipped:]).astype(np.int8)
    market = _market(
        regime, volatility[skipped:], switched_on[skipped:], returns[skipped:], strategies, rules
    )
    return market, after


def _market(
    regime: CodeArray,
    volatility: FloatArray,
    switched_on: BoolArray,
    returns: FloatArray,
    strategies: Sequence[str],
    rules: Protection,
) -> MarketState:
    """What follows from regime, volatility and returns alone, row by row."""
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
    size = np.empty((len(regime), len(names)))
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
        switched_on=switched_on,
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


def fast_regime(returns: FloatArray, current: BoolArray, rules: FastRegime, before: Regime) -> CodeArray:
    """The computed regime at each close, int8 (bars,); without a recent close the last one holds.

    `before` is that of the close before the first.
    """
    one, four, day, two_days = returns.T
    regime = np.full(len(returns), Regime.NORMAL, dtype=np.int8)
    regime[one >= rules.euphoria_1h] = Regime.EUPHORIA
    caution = (one <= rules.caution_1h) | (day <= rules.caution_24h) | (two_days <= rules.caution_48h)
    regime[caution] = Regime.CAUTION
    regime[(one <= rules.panic_1h) | (four <= rules.panic_4h)] = Regime.PANIC
    rows = np.arange(len(regime))
    source = np.maximum.accumulate(np.where(current, rows, -1))
    return np.where(source >= 0, regime[np.maximum(source, 0)], before).astype(np.int8)


def first_bar_ms(reference: Panel) -> int | None:
    """Open time of the first bar that exists; None where none does."""
    present = reference.present[:, 0]
    return int(reference.open_time_ms[np.argmax(present)]) if present.any() else None


def reference_volatility(
    reference: Panel, samples: int, *, first_ms: int | None = None, first_row: int = 0
) -> FloatArray:
    """24 h range (high - low) / low of the reference, mean of the last `samples` full hours.

    (bars,) from `first_row` on; the rows before it are only looked back on. NaN until every sample exists:
    the first bar ever must be 24 h old and the window must hold a bar. `first_ms` is its open time, where it
    lies before the panel.
    """
    bar_ms = reference.timeframe.ms
    times = reference.open_time_ms
    result = np.full(len(times) - first_row, np.nan)
    present = reference.present[:, 0]
    if not len(result) or not present.any():
        return result
    if first_ms is None:
        first_ms = int(times[np.argmax(present)])
    oldest_ms = max(first_ms, int(times[0]))  # no window reaches further back than the panel
    first_hour = -(-int(times[0]) // HOUR_MS) * HOUR_MS
    hours = np.arange(first_hour, int(times[-1]) + bar_ms + 1, HOUR_MS, dtype=np.int64)
    at = (times[first_row:] + bar_ms - first_hour) // HOUR_MS  # the last full hour at each close
    # The rows of one hour are folded first; a 24 h window is then 24 of those.
    hour_of_row = (times - first_hour) // HOUR_MS  # -1 for rows before the first full hour
    count = len(hours) + 1
    hour_high = np.full(count, -np.inf)
    hour_low = np.full(count, np.inf)
    np.maximum.at(hour_high, hour_of_row[present] + 1, reference.high[present, 0])
    np.minimum.at(hour_low, hour_of_row[present] + 1, reference.low[present, 0])
    first_hour_read = max(int(at[0]) - samples + 1, 0)
    sample = np.full(len(hours), np.nan)
    for index in range(first_hour_read, len(hours)):
        if oldest_ms > hours[index] - DAY_MS:
            continue
        window = slice(index + 1 - 24, index + 1)
        high, low = hour_high[window].max(), hour_low[window].min()
        if high > 0:
            sample[index] = (high - low) / low
    mean = np.full(len(hours), np.nan)
    for index in range(first_hour_read + samples - 1, len(hours)):
        total = 0.0
        for value in sample[index - samples + 1 : index + 1]:
            total += value
        mean[index] = total / samples
    known = at >= 0
    result[known] = mean[at[known]]
    return result


def volatility_switches(
    volatility: FloatArray,
    strategies: Sequence[str],
    rules: Volatility,
    before: Sequence[bool] | None = None,
) -> BoolArray:
    """Which strategies the volatility leaves on, bool (bars, strategies); unknown changes nothing.

    `before` is that of the close before the first; without it all are on.
    """
    on = np.ones((len(volatility), len(strategies)), dtype=np.bool_)
    rows = np.arange(len(volatility))
    for column, name in enumerate(strategies):
        rule = rules.switches.get(name)
        if rule is None:
            continue
        event = np.where(volatility >= rule.off, 0, np.where(volatility < rule.on, 1, -1))
        source = np.maximum.accumulate(np.where(event >= 0, rows, -1))
        at_first = True if before is None else before[column]
        on[:, column] = np.where(source >= 0, event[np.maximum(source, 0)] == 1, at_first)
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
