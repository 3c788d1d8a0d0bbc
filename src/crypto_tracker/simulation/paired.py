"""Two sides on the same market: their figures beside each other, and their difference, paired.

What one side has over the other is estimated on what both had before them: the same setups, and the same
days. The market's own ups and downs are on both sides, and fall out of the difference.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.orders import Trade
from crypto_tracker.core.timeframes import from_ms, to_ms
from crypto_tracker.simulation.evidence import (
    Days,
    Evidence,
    Setup,
    carried_note,
    cut,
    day_numbers,
    days_inside,
    setup_of,
    with_result,
)
from crypto_tracker.simulation.metrics import YEAR_DAYS
from crypto_tracker.simulation.statistics import bootstrap_by_group, sharpe_ratio, wilson_interval

_SEED = 20_250_801  # of the draws of days; any other says the same but for the last digits
_NAMED = 3
_ROUNDING = 1e-8  # of the equity

NO_SETUP, NOT_RECORDED = "no_setup", "not_recorded"
STRATEGY_ABSENT, SYMBOL_ABSENT, UNFILLED = "strategy_absent", "symbol_absent", "unfilled"


class Comparing(Frozen):
    """How two sides are held against each other."""

    confidence: Annotated[float, Field(gt=0.0, lt=1.0)]
    draws: Annotated[int, Field(ge=100)]
    days_min: Annotated[int, Field(ge=2)]  # fewer days tell nothing apart


class Finding(StrEnum):
    """What the evidence says of the second side against the first."""

    BETTER = "better"
    WORSE = "worse"
    OPEN = "cannot_be_told_apart"


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFigures:
    """One side by itself; None where a figure does not exist, or is not known.

    Attributes
    ----------
    pnl_marked_quote, return_marked : of the equity, open positions at their last closes
    pnl_closed_quote, return_closed : of trades decided and closed in the span, over the equity at its start
    max_drawdown, sharpe : of the marked equity; Sharpe from daily returns, times sqrt(365)
    n_trades, n_open, n_won : closed trades, those open at the end, and those won among the closed
    win_rate, win_rate_low, win_rate_high : as everywhere: `data_lost` has no result; 95 % Wilson interval
    fees_quote, slippage_quote, costs_quote : of all trades decided in the span
    """

    equity_start: float
    pnl_marked_quote: float | None
    return_marked: float | None
    pnl_closed_quote: float
    return_closed: float
    max_drawdown: float | None
    sharpe: float | None
    days: int
    setups: int | None
    n_trades: int
    n_open: int
    n_won: int
    win_rate: float | None
    win_rate_low: float | None
    win_rate_high: float | None
    profit_factor: float | None
    fees_quote: float
    slippage_quote: float
    costs_quote: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean of n values of so many days, and its interval; none where fewer than two days have a value."""

    mean: float
    low: float | None
    high: float | None
    n: int
    days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One setup that both sides traded."""

    setup: Setup
    first: Trade
    second: Trade


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A trade that only one side made, and why the other did not: a reason, or a word of this module."""

    trade: Trade
    why_not: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDifference:
    """A key of the configuration that the sides set differently; None where one does not have it."""

    key: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sides held against each other. Differences are the second less the first.

    Attributes
    ----------
    both, only_first, only_second : trades, by setup
    unfinished : setups that both traded, where the P&L of one at the end of the span is not known
    pnl_per_setup, return_per_setup : mean difference of P&L, and of P&L over invested, of common setups
    pnl_per_day, return_per_day : mean difference of the whole a day, marked where both sides are
    marked : whether these are of the marked equity, or of closed trades by the day of their exit
    same : whether both did the same throughout
    finding, sentence : what `return_per_day` says
    """

    first: Evidence
    second: Evidence
    first_figures: SideFigures
    second_figures: SideFigures
    both: tuple[Pair, ...]
    only_first: tuple[Alone, ...]
    only_second: tuple[Alone, ...]
    unfinished: int
    pnl_per_setup: Estimate | None
    return_per_setup: Estimate | None
    pnl_per_day: Estimate
    return_per_day: Estimate
    marked: bool
    same: bool
    finding: Finding
    sentence: str
    settings: tuple[KeyDifference, ...]
    notes: tuple[str, ...]


def compare(
    first: Evidence,
    second: Evidence,
    rules: Comparing,
    *,
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> Comparison:
    """Hold the second side against the first, on what both cover; with a span on its whole days inside.

    Raises DataError where they have no whole trading day or no symbol in common, count days differently, or
    where one is of made-up bars and the other is not.
    """
    _refuse_what_has_nothing_in_common(first, second)
    notes = _what_is_not_alike(first, second)
    whole = first, second
    first, second, cutting = _on_common_days(first, second, start_ms, end_ms)
    notes += cutting
    common = [note for note in first.notes if note in second.notes]
    notes += common
    for before, side in zip(whole, (first, second), strict=True):
        notes += [f"{side.name}: {note}" for note in side.notes if note not in common]
        notes += _what_the_cut_leaves(before, side)
    both, only_first, only_second = _paired(first, second)
    finished, unfinished = _finished(both, first, second)
    by_day = _Differences(rules, first.timezone)
    marked = first.days is not None and second.days is not None
    days, gained, returns = _whole_by_day(first, second, marked=marked)
    if not marked:
        notes.append("by day, P&L is that of closed trades on the day of their exit: marks are not known")
    return_per_day = by_day.estimate(returns, days)
    same = not only_first and not only_second and not gained.any() and _all_alike(both)
    finding = _finding(return_per_day, rules)
    return Comparison(
        first=first,
        second=second,
        first_figures=side_figures(first),
        second_figures=side_figures(second),
        both=both,
        only_first=only_first,
        only_second=only_second,
        unfinished=unfinished,
        pnl_per_setup=by_day.of_setups(finished, lambda trade: float(trade.pnl_quote)),
        return_per_setup=by_day.of_setups(finished, lambda trade: trade.return_net),
        pnl_per_day=by_day.estimate(gained, days),
        return_per_day=return_per_day,
        marked=marked,
        same=same,
        finding=finding,
        sentence=_sentence(first.name, second.name, return_per_day, finding, rules, same=same),
        settings=tuple(key_differences(first.configuration, second.configuration)),
        notes=tuple(dict.fromkeys(notes)),
    )


def side_figures(side: Evidence) -> SideFigures:
    """The figures of one side by itself."""
    start = side.capital_quote
    judged = with_result(side.trades)
    won = sum(trade.pnl_quote > 0 for trade in judged)
    low, high = wilson_interval(won, len(judged)) if judged else (None, None)
    gains = float(sum(trade.pnl_quote for trade in side.trades if trade.pnl_quote > 0))
    losses = -float(sum(trade.pnl_quote for trade in side.trades if trade.pnl_quote < 0))
    closed = float(sum(trade.pnl_quote for trade in side.trades))
    everything = (*side.trades, *side.open_trades, *side.running)
    fees = float(sum(trade.fee_quote for trade in everything))
    slippage = float(sum(trade.slippage_quote for trade in everything))
    days, marked = side.days, _marked_pnl(side)
    ratio = None if days is None else sharpe_ratio(days.returns)
    return SideFigures(
        equity_start=start,
        pnl_marked_quote=marked,
        return_marked=None if marked is None else marked / start,
        pnl_closed_quote=closed,
        return_closed=closed / start,
        max_drawdown=side.max_drawdown,
        sharpe=None if ratio is None else ratio * sqrt(YEAR_DAYS),
        days=0 if days is None else len(days),
        setups=None if side.answers is None else len(side.answers),
        n_trades=len(side.trades),
        n_open=len(side.open_trades) + len(side.running),
        n_won=won,
        win_rate=won / len(judged) if judged else None,
        win_rate_low=low,
        win_rate_high=high,
        profit_factor=gains / losses if losses else None,
        fees_quote=fees,
        slippage_quote=slippage,
        costs_quote=fees + slippage,
    )


def key_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[KeyDifference]:
    """What two configurations set differently, by dotted key."""
    mine, others = _flat(first), _flat(second)
    return [
        KeyDifference(key=key, first=mine.get(key), second=others.get(key))
        for key in sorted({**mine, **others})
        if mine.get(key) != others.get(key)
    ]


class _Differences:
    """Means of differences, with intervals from draws of whole days."""

    def __init__(self, rules: Comparing, timezone: str) -> None:
        self._rules, self._timezone = rules, timezone

    def estimate(self, values: FloatArray, days: IntArray) -> Estimate:
        """The mean of at least one value; `days` says which of them belong together."""
        count = len(np.unique(days))
        low: float | None = None
        high: float | None = None
        if count > 1:
            low, high = bootstrap_by_group(
                values, days, draws=self._rules.draws, seed=_SEED, confidence=self._rules.confidence
            )
        return Estimate(mean=float(values.mean()), low=low, high=high, n=len(values), days=count)

    def of_setups(self, pairs: list[Pair], figure: Callable[[Trade], float]) -> Estimate | None:
        """The mean difference of a figure of trades, by the day of the decision."""
        if not pairs:
            return None
        values = np.array([figure(pair.second) - figure(pair.first) for pair in pairs], dtype=np.float64)
        decided = np.array([pair.setup[2] for pair in pairs], dtype=np.int64)
        return self.estimate(values, day_numbers(decided, self._timezone))


def _refuse_what_has_nothing_in_common(first: Evidence, second: Evidence) -> None:
    sides = f"{first.name} and {second.name}"
    if first.synthetic != second.synthetic:
        made_up = first if first.synthetic else second
        raise DataError(
            f"{made_up.name} traded SYNTHETIC bars and the other side real ones: compare what traded the same"
        )
    if not set(first.symbols) & set(second.symbols):
        raise DataError(f"{sides} have no symbol in common: compare what traded the same market")
    if first.timezone != second.timezone:
        raise DataError(
            f"the days of {sides} begin at different moments ({first.timezone}, {second.timezone}): "
            "run one of them again with the other's trading.timezone"
        )


def _what_is_not_alike(first: Evidence, second: Evidence) -> list[str]:
    notes = []
    if set(first.symbols) != set(second.symbols):
        mine = [str(symbol) for symbol in first.symbols if symbol not in second.symbols]
        others = [str(symbol) for symbol in second.symbols if symbol not in first.symbols]
        parts = [
            f"only {side.name} trades {_listed(names)}"
            for side, names in ((first, mine), (second, others))
            if names
        ]
        notes.append(f"the symbols differ: {'; '.join(parts)}: their trades stand on one side alone")
    if set(first.strategies) != set(second.strategies):
        parts = [
            f"only {side.name} has {_listed(names)}"
            for side, names in (
                (first, [name for name in first.strategies if name not in second.strategies]),
                (second, [name for name in second.strategies if name not in first.strategies]),
            )
            if names
        ]
        notes.append(f"the strategies differ: {'; '.join(parts)}")
    if first.base != second.base:
        notes.append(
            f"the bases differ ({first.name} {first.base}, {second.name} {second.base}): part of the "
            "difference is that of coarser bars"
        )
    span = (first.start_ms, first.end_ms) == (second.start_ms, second.end_ms)
    if span and None not in (first.data_hash, second.data_hash) and first.data_hash != second.data_hash:
        notes.append("the sides did not read the same bars (data hash): part of the difference is theirs")
    if first.code_version != second.code_version:
        notes.append(f"the code differs: {first.code_version} and {second.code_version}")
    return notes


def _on_common_days(
    first: Evidence, second: Evidence, start_ms: int | None, end_ms: int | None
) -> tuple[Evidence, Evidence, list[str]]:
    """Both sides on the days that they have in common, and what to say of it."""
    alike = (first.start_ms, first.end_ms) == (second.start_ms, second.end_ms)
    if alike and start_ms is None and end_ms is None:
        return first, second, []
    mine, others = (days_inside(side, start_ms, end_ms) for side in (first, second))
    start, stop = max(mine[0], others[0]), min(mine[1], others[1])
    if start >= stop:
        raise DataError(
            f"{first.name} ({_span(first)}) and {second.name} ({_span(second)}) have no whole trading day in "
            "common: compare what covers the same days"
        )
    cuts = [cut(side, start, stop) for side in (first, second)]
    if any(after.start_ms == side.start_ms for after, side in zip(cuts, (first, second), strict=True)):
        cuts = [cut(side, start, stop, decided_after_start=True) for side in (first, second)]
    if alike:
        return cuts[0], cuts[1], []
    note = (
        f"the spans differ ({first.name} {_span(first)}, {second.name} {_span(second)}): "
        f"both are cut to {_span(cuts[0])}"
    )
    return cuts[0], cuts[1], [note]


def _what_the_cut_leaves(before: Evidence, side: Evidence) -> list[str]:
    notes = list(carried_note(side))
    if side.days is not None and not side.days.exact and side is not before:
        notes.append(f"{side.name}: between the ends of days its drawdown is not known, it may be deeper")
    return notes


def _paired(
    first: Evidence, second: Evidence
) -> tuple[tuple[Pair, ...], tuple[Alone, ...], tuple[Alone, ...]]:
    mine, others = _by_setup(first), _by_setup(second)
    common = [setup for setup in mine if setup in others]
    return (
        tuple(Pair(setup=setup, first=mine[setup], second=others[setup]) for setup in common),
        tuple(
            Alone(trade=trade, why_not=_why_not(setup, second))
            for setup, trade in mine.items()
            if setup not in others
        ),
        tuple(
            Alone(trade=trade, why_not=_why_not(setup, first))
            for setup, trade in others.items()
            if setup not in mine
        ),
    )


def _by_setup(side: Evidence) -> dict[Setup, Trade]:
    everything = (*side.trades, *side.open_trades, *side.running)
    ordered = sorted(everything, key=lambda trade: (trade.decision_time, trade.symbol, trade.strategy))
    return {setup_of(trade): trade for trade in ordered}


def _why_not(setup: Setup, side: Evidence) -> str:
    """Why a side did not trade a setup."""
    symbol, strategy, _ = setup
    if symbol not in side.symbols:
        return SYMBOL_ABSENT
    if strategy not in side.strategies:
        return STRATEGY_ABSENT
    if side.answers is None:
        return NOT_RECORDED
    answer = side.answers.get(setup)
    if answer is None:
        return NO_SETUP
    return UNFILLED if answer.reason is Reason.ACCEPTED else answer.reason.code


def _finished(pairs: tuple[Pair, ...], first: Evidence, second: Evidence) -> tuple[list[Pair], int]:
    """The pairs whose P&L at the end of the span is known on both sides, and how many others there are."""
    unknown = {setup_of(trade) for trade in (*first.running, *second.running)}
    finished = [pair for pair in pairs if pair.setup not in unknown]
    return finished, len(pairs) - len(finished)


def _all_alike(pairs: tuple[Pair, ...]) -> bool:
    return all(
        pair.first.pnl_quote == pair.second.pnl_quote and pair.first.exit_time == pair.second.exit_time
        for pair in pairs
    )


def _whole_by_day(
    first: Evidence, second: Evidence, *, marked: bool
) -> tuple[IntArray, FloatArray, FloatArray]:
    """The days of the span, and by how much the second side gained more on each: money, and returns."""
    if marked and first.days is not None and second.days is not None:
        mine, others = first.days, second.days
        days, rows, other_rows = np.intersect1d(mine.day, others.day, return_indices=True)
        if not len(days):
            raise DataError(f"{first.name} and {second.name} have no day with an equity in common")
        gained = others.pnl[other_rows] - mine.pnl[rows]
        returns = others.returns[other_rows] - mine.returns[rows]
        # Equities that are put together again differ in their last digits: that is no difference.
        differs = np.abs(gained) > _ROUNDING * first.capital_quote
        return days, np.where(differs, gained, 0.0), np.where(differs, returns, 0.0)
    bounds = day_numbers(np.array([first.start_ms, first.end_ms - 1]), first.timezone)
    days = np.arange(bounds[0], bounds[1] + 1)
    mine_gained, others_gained = (_closed_by_day(side, days) for side in (first, second))
    returns = others_gained / second.capital_quote - mine_gained / first.capital_quote
    return days, others_gained - mine_gained, returns


def _closed_by_day(side: Evidence, days: IntArray) -> FloatArray:
    gained = np.zeros(len(days))
    if side.trades:
        exits = np.array([0 if t.exit_time is None else to_ms(t.exit_time) for t in side.trades])
        pnl = np.array([float(trade.pnl_quote) for trade in side.trades])
        np.add.at(gained, day_numbers(exits, side.timezone) - days[0], pnl)
    return gained


def _marked_pnl(side: Evidence) -> float | None:
    if side.days is not None:
        return _last(side.days) - side.days.start
    if side.running or side.carried:
        return None
    return float(sum(trade.pnl_quote for trade in (*side.trades, *side.open_trades)))


def _last(days: Days) -> float:
    return float(days.equity[-1]) if len(days) else days.start


def _finding(difference: Estimate, rules: Comparing) -> Finding:
    if difference.low is None or difference.high is None or difference.days < rules.days_min:
        return Finding.OPEN
    if difference.low > 0.0:
        return Finding.BETTER
    return Finding.WORSE if difference.high < 0.0 else Finding.OPEN


def _sentence(
    first: str, second: str, difference: Estimate, finding: Finding, rules: Comparing, *, same: bool
) -> str:
    count = _counted(difference.days, "day")
    if same:
        return f"{second} did the same as {first}, trade by trade ({count}): they cannot be told apart."
    if difference.low is None or difference.high is None:
        interval = "one day has no interval"
    else:
        interval = (
            f"{100 * rules.confidence:g} % interval {100 * difference.low:+.4f} to "
            f"{100 * difference.high:+.4f} %, {count}"
        )
    gained = f"{100 * difference.mean:+.4f} % of the equity a day ({interval})"
    if finding is Finding.OPEN:
        why = ""
        if difference.days < rules.days_min:
            why = f"; fewer than {rules.days_min} days tell nothing apart"
        return f"{second} and {first} cannot be told apart on this evidence: difference {gained}{why}."
    return f"{second} is {finding.value} than {first} on this evidence: difference {gained}."


def _flat(node: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in node.items():
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{before}{name}."))
        else:
            found[f"{before}{name}"] = value
    return found


def _span(side: Evidence) -> str:
    return " to ".join(f"{from_ms(each):%Y-%m-%d %H:%M}" for each in (side.start_ms, side.end_ms))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
