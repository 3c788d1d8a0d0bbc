"""The scorecard: the targets that a system must meet before it may trade money, each with its evidence.

Every row names its value, an interval and the size of its sample. A value decides a row only where the sample
is large enough; what is not known is not met. docs/compare-and-scorecard.md has every definition.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import atanh, sqrt, tanh
from statistics import NormalDist
from typing import Annotated

import numpy as np
from pydantic import Field

from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.orders import ExitReason, Trade
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.simulation.evidence import (
    DayShapes,
    Evidence,
    bootstrap_of_sums,
    carried_note,
    day_numbers,
    setup_of,
    with_result,
)
from crypto_tracker.simulation.metrics import YEAR_DAYS
from crypto_tracker.simulation.statistics import sharpe_ratio, wilson_interval

_SEED = 20_250_801  # of the draws of days

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Targets(Frozen):
    """What is asked for, and how much evidence a row needs before it counts."""

    win_rate_min: Share
    strategy_win_rate_min: dict[str, Share]
    setup_quality_min: Share
    false_positives_max: Share
    model_accuracy_min: Share
    model_setups_min: Annotated[int, Field(ge=1)]
    confidence_correlation_min: Annotated[float, Field(ge=-1.0, le=1.0)]
    profit_factor_min: Annotated[float, Field(ge=0.0)]
    drawdown_max: Share
    sharpe_min: float
    pnl_quote_min: float
    uptime_min: Share
    data_quality_min: Share
    late_seconds: Annotated[float, Field(ge=0.0)]  # of the clock after a minute's close: stepped in time
    trades_min: Annotated[int, Field(ge=1)]
    days_min: Annotated[int, Field(ge=2)]
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)]
    draws: Annotated[int, Field(ge=100)]


class State(StrEnum):
    """Whether a target is met."""

    MET = "met"
    NOT_MET = "not_met"
    NOT_KNOWN = "not_known"


class Verdict(StrEnum):
    """What to do next."""

    GO_ON = "go_on_to_live_preparation"
    OPTIMISE = "optimise"
    PIVOT = "pivot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One target.

    Attributes
    ----------
    name : such as `win_rate`, or `win_rate.DCA`
    value, low, high : the figure and its interval; None where there is none. An infinite end is no bound
    n, n_min, unit : size of the sample, how much is needed, and of what (`trades`, `days`, `setups`)
    target, above : the value must lie strictly above the target, or strictly below it
    sure : whether the whole interval lies on the side of the target on which the value lies
    why : why it is not known; empty where it is
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    n_min: int
    unit: str
    target: float
    above: bool
    why: str

    @property
    def state(self) -> State:
        """Met where enough is known and the value is beyond the target."""
        if self.value is None or self.n < self.n_min:
            return State.NOT_KNOWN
        return State.MET if self._beyond(self.value) else State.NOT_MET

    @property
    def thin(self) -> bool:
        """Whether there is a value, of too small a sample to count."""
        return self.value is not None and self.n < self.n_min

    @property
    def sure(self) -> bool | None:
        """Whether chance alone hardly explains on which side of the target the value lies."""
        if self.value is None or self.low is None or self.high is None:
            return None
        return self._beyond(self.low) == self._beyond(self.high) == self._beyond(self.value)

    def _beyond(self, value: float) -> bool:
        return value > self.target if self.above else value < self.target


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DayShares:
    """Of how many each day had, how many were as they should be; arrays (days,).

    `day` numbers them as `date.toordinal`.
    """

    day: IntArray
    good: FloatArray
    all: FloatArray
    source: str  # where the figures are from, for people

    def between(self, first: int, stop: int) -> "DayShares":
        """The days [first, stop)."""
        keep = (self.day >= first) & (self.day < stop)
        return replace(self, day=self.day[keep], good=self.good[keep], all=self.all[keep])


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard:
    """All rows, and what they amount to."""

    evidence: Evidence
    rows: tuple[Row, ...]
    verdict: Verdict
    sentence: str
    notes: tuple[str, ...]

    def count(self, state: State) -> int:
        """How many rows are in a state."""
        return sum(row.state is state for row in self.rows)


def scorecard(
    evidence: Evidence, targets: Targets, *, uptime: DayShares | str, data_quality: DayShares | str
) -> Scorecard:
    """Judge one side. `uptime` and `data_quality` are figures, or say why there are none."""
    judged = with_result(evidence.trades)
    rows = [
        *_win_rates(evidence, judged, targets),
        _setup_quality(judged, targets),
        _false_positives(judged, targets),
        _model_accuracy(targets),
        _confidence_correlation(evidence, judged, targets),
        _profit_factor(evidence, targets),
        *_of_the_equity(evidence, targets),
        _share("uptime", uptime, targets.uptime_min, targets),
        _share("data_quality", data_quality, targets.data_quality_min, targets),
    ]
    verdict = _verdict(rows)
    return Scorecard(
        evidence=evidence,
        rows=tuple(rows),
        verdict=verdict,
        sentence=_sentence(verdict, rows),
        notes=(*evidence.notes, *carried_note(evidence)),
    )


def rank_correlation(first: FloatArray, second: FloatArray) -> float | None:
    """Spearman's rank correlation, equal values sharing their mean rank; None where one does not vary.

    Source: C. Spearman, "The Proof and Measurement of Association between Two Things", 1904.

    >>> rank_correlation(np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 30.0, 20.0, 40.0]))
    0.8
    """
    if len(first) < 2:
        return None
    ranks, others = _ranks(first), _ranks(second)
    ranks, others = ranks - ranks.mean(), others - others.mean()
    spread = sqrt(float(ranks @ ranks) * float(others @ others))
    return round(float(ranks @ others) / spread, 15) if spread > 0.0 else None


def correlation_interval(correlation: float, n: int, confidence: float) -> tuple[float | None, float | None]:
    """Interval of a rank correlation of n pairs; none below four.

    Fisher's transformation with the standard error sqrt((1 + r^2 / 2) / (n - 3)). Source: D. Bonett, T.
    Wright, "Sample Size Requirements for Estimating Pearson, Kendall and Spearman Correlations", 2000.

    >>> low, high = correlation_interval(0.5, 28, 0.95)
    >>> round(low, 3), round(high, 3)
    (0.133, 0.747)
    """
    if n < 4:
        return None, None
    if abs(correlation) >= 1.0:
        return correlation, correlation
    middle = atanh(correlation)
    half = NormalDist().inv_cdf(0.5 + confidence / 2.0) * sqrt((1.0 + correlation**2 / 2.0) / (n - 3))
    return tanh(middle - half), tanh(middle + half)


def _win_rates(evidence: Evidence, judged: list[Trade], targets: Targets) -> list[Row]:
    rows = []
    for name, target in targets.strategy_win_rate_min.items():
        mine = [trade for trade in judged if trade.strategy == name]
        why = "" if name in evidence.strategies else f"{name} does not trade here"
        rows.append(_rate(f"win_rate.{name}", mine, lambda t: t.pnl_quote > 0, target, targets, why=why))
    return [
        *rows,
        _rate("win_rate", judged, lambda trade: trade.pnl_quote > 0, targets.win_rate_min, targets),
    ]


def _setup_quality(judged: list[Trade], targets: Targets) -> Row:
    return _rate("setup_quality", judged, _was_right, targets.setup_quality_min, targets)


def _was_right(trade: Trade) -> bool:
    """Whether the price paid for itself before costs: all outcomes but LOSS."""
    return trade.pnl_quote + trade.fee_quote + trade.slippage_quote >= 0


def _false_positives(judged: list[Trade], targets: Targets) -> Row:
    return _rate("false_positives", judged, _was_stopped, targets.false_positives_max, targets, above=False)


def _was_stopped(trade: Trade) -> bool:
    return trade.exit_reason is ExitReason.STOP_LOSS and trade.pnl_quote < 0


def _rate(
    name: str,
    trades: list[Trade],
    what: Callable[[Trade], bool],
    target: float,
    targets: Targets,
    *,
    above: bool = True,
    why: str = "",
) -> Row:
    """A share of trades, with its Wilson interval."""
    count = sum(what(trade) for trade in trades)
    low, high = wilson_interval(count, len(trades), targets.confidence) if trades else (None, None)
    return Row(
        name=name,
        value=count / len(trades) if trades else None,
        low=low,
        high=high,
        n=len(trades),
        n_min=targets.trades_min,
        unit="trades",
        target=target,
        above=above,
        why=why if why or trades else "no trade has closed",
    )


def _model_accuracy(targets: Targets) -> Row:
    return Row(
        name="model_accuracy",
        value=None,
        low=None,
        high=None,
        n=0,
        n_min=targets.model_setups_min,
        unit="setups",
        target=targets.model_accuracy_min,
        above=True,
        why="there is no model yet",
    )


def _confidence_correlation(evidence: Evidence, judged: list[Trade], targets: Targets) -> Row:
    answers, why = evidence.answers, ""
    known: list[tuple[float, float]] = []
    if answers is None:
        why = "the confidence at the decision was not recorded"
    else:
        known = [
            (answers[setup_of(trade)].confidence, trade.return_net)
            for trade in judged
            if setup_of(trade) in answers
        ]
    pairs = np.array(known, dtype=np.float64).reshape(-1, 2)
    value = rank_correlation(pairs[:, 0], pairs[:, 1])
    if value is None and not why:
        why = "confidence and return must both vary"
    low, high = (None, None) if value is None else correlation_interval(value, len(pairs), targets.confidence)
    return Row(
        name="confidence_correlation",
        value=value,
        low=low,
        high=high,
        n=len(pairs),
        n_min=targets.trades_min,
        unit="trades",
        target=targets.confidence_correlation_min,
        above=True,
        why=why,
    )


def _profit_factor(evidence: Evidence, targets: Targets) -> Row:
    """Gains over losses of closed trades; the interval draws the days on which they closed."""
    pnl = np.array([float(trade.pnl_quote) for trade in evidence.trades])
    gain, loss = float(pnl[pnl > 0].sum()), -float(pnl[pnl < 0].sum())
    low: float | None = None
    high: float | None = None
    why = ""
    if loss:
        exits = np.array([0 if t.exit_time is None else to_ms(t.exit_time) for t in evidence.trades])
        days, member = np.unique(day_numbers(exits, evidence.timezone), return_inverse=True)
        gains = np.bincount(member, weights=np.maximum(pnl, 0.0), minlength=len(days))
        losses = np.bincount(member, weights=np.maximum(-pnl, 0.0), minlength=len(days))
        low, high = _interval(np.stack([gains, losses], axis=1).astype(np.float64), _ratio, targets)
    else:
        why = "no trade has lost" if len(pnl) else "no trade has closed"
    return Row(
        name="profit_factor",
        value=gain / loss if loss else None,
        low=low,
        high=high,
        n=len(pnl),
        n_min=targets.trades_min,
        unit="trades",
        target=targets.profit_factor_min,
        above=True,
        why=why,
    )


def _of_the_equity(evidence: Evidence, targets: Targets) -> list[Row]:
    """Drawdown, Sharpe ratio and P&L of the marked equity; intervals draw whole days."""
    days = evidence.days
    if days is None or not len(days):
        why = "the marked equity is not known"
        empty = (None, None)
        return [
            _daily("max_drawdown", None, empty, 0, targets.drawdown_max, targets, above=False, why=why),
            _daily("sharpe", None, empty, 0, targets.sharpe_min, targets, why=why),
            _daily("pnl_net", None, empty, 0, targets.pnl_quote_min, targets, why=why),
        ]
    returns, pnl, count = days.returns, days.pnl, len(days)
    ratio = sharpe_ratio(returns)
    sums = np.stack([np.ones(count), returns, returns**2], axis=1)
    return [
        _daily(
            "max_drawdown",
            evidence.max_drawdown,
            _drawn_drawdowns(days.shapes, count, targets),
            count,
            targets.drawdown_max,
            targets,
            above=False,
        ),
        _daily(
            "sharpe",
            None if ratio is None else ratio * sqrt(YEAR_DAYS),
            (None, None) if ratio is None else _interval(sums, _annual_sharpe, targets),
            count,
            targets.sharpe_min,
            targets,
            why="no day differs from another" if ratio is None else "",
        ),
        _daily(
            "pnl_net",
            float(pnl.sum()),
            _interval(pnl[:, None], _first, targets),
            count,
            targets.pnl_quote_min,
            targets,
        ),
    ]


def _daily(
    name: str,
    value: float | None,
    interval: tuple[float | None, float | None],
    count: int,
    target: float,
    targets: Targets,
    *,
    above: bool = True,
    why: str = "",
) -> Row:
    """A figure of so many days."""
    return Row(
        name=name,
        value=value,
        low=interval[0],
        high=interval[1],
        n=count,
        n_min=targets.days_min,
        unit="days",
        target=target,
        above=above,
        why=why,
    )


def _drawn_drawdowns(shapes: DayShapes, count: int, targets: Targets) -> tuple[float | None, float | None]:
    """The range of the deepest fall where the same days come in another order, some twice and some never."""
    if count < 2:
        return None, None
    generator = np.random.default_rng(_SEED)
    deepest = []
    step = max(1, 2_000_000 // count)
    for first in range(0, targets.draws, step):
        size = (min(step, targets.draws - first), count)
        deepest.append(shapes.max_drawdown(generator.integers(0, count, size=size)))
    ends = [0.5 - targets.confidence / 2.0, 0.5 + targets.confidence / 2.0]
    low, high = np.quantile(np.concatenate(deepest), ends)
    return float(low), float(high)


def _share(name: str, shares: DayShares | str, target: float, targets: Targets) -> Row:
    """A share that is counted by day; the interval draws whole days."""
    if isinstance(shares, str):
        return _daily(name, None, (None, None), 0, target, targets, why=shares)
    held = shares.all > 0
    parts = np.stack([shares.good[held], shares.all[held]], axis=1)
    if not len(parts):
        return _daily(name, None, (None, None), 0, target, targets, why="nothing was counted")
    value = float(parts[:, 0].sum() / parts[:, 1].sum())
    return _daily(name, value, _interval(parts, _ratio, targets), len(parts), target, targets)


def _interval(
    parts: FloatArray, statistic: Callable[[FloatArray], FloatArray], targets: Targets
) -> tuple[float | None, float | None]:
    ends = bootstrap_of_sums(parts, statistic, draws=targets.draws, seed=_SEED, confidence=targets.confidence)
    low, high = (None if np.isnan(end) else end for end in ends)
    return low, high


def _ratio(sums: FloatArray) -> FloatArray:
    """The first sum over the second; without any of the second infinite, without either none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums[:, 0] / sums[:, 1])


def _first(sums: FloatArray) -> FloatArray:
    return np.asarray(sums[:, 0])


def _annual_sharpe(sums: FloatArray) -> FloatArray:
    """From how many, sum and sum of squares of daily returns; none where no day varies."""
    count, mean = sums[:, 0], sums[:, 1] / sums[:, 0]
    variance = (sums[:, 2] - count * mean * mean) / (count - 1.0)
    moves = variance > 1e-12 * mean * mean
    return np.asarray(
        np.where(moves, mean / np.sqrt(np.where(moves, variance, 1.0)), np.nan) * sqrt(YEAR_DAYS)
    )


def _ranks(values: FloatArray) -> FloatArray:
    _, member, counts = np.unique(values, return_inverse=True, return_counts=True)
    last: IntArray = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[member], dtype=np.float64)


def _verdict(rows: list[Row]) -> Verdict:
    """Go on where every target is met and the gain is sure, pivot where the loss is sure, else optimise."""
    gained = _by_name(rows)["pnl_net"]
    if all(row.state is State.MET for row in rows) and gained.low is not None and gained.low > 0.0:
        return Verdict.GO_ON
    if gained.state is State.NOT_MET and gained.high is not None and gained.high < 0.0:
        return Verdict.PIVOT
    return Verdict.OPTIMISE


def _sentence(verdict: Verdict, rows: list[Row]) -> str:
    missed = [row.name for row in rows if row.state is State.NOT_MET]
    unknown = [row.name for row in rows if row.state is State.NOT_KNOWN]
    met = len(rows) - len(missed) - len(unknown)
    counted = f"{met} of {len(rows)} targets are met"
    if missed:
        counted += f", {len(missed)} missed ({', '.join(missed)})"
    if unknown:
        counted += f", {len(unknown)} not known, which is not met ({', '.join(unknown)})"
    if verdict is Verdict.GO_ON:
        return (
            f"Go on to live preparation: all {len(rows)} targets are met, and the gain is more than chance."
        )
    if verdict is Verdict.PIVOT:
        return f"Pivot: what it loses after costs is more than chance; {counted}."
    if not missed and not unknown:
        return f"Optimise: {counted}, but the gain may be chance."
    return f"Optimise: {counted}."


def _by_name(rows: list[Row]) -> Mapping[str, Row]:
    return {row.name: row for row in rows}
