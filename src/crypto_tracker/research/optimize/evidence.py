"""Whether what a search found is worth anything: the checks, and what is said where they are not met."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crypto_tracker.config.research import Optimize
from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.simulation.statistics import (
    Overfitting,
    backtest_overfitting,
    bootstrap_by_group,
    deflated_sharpe,
    expected_maximum_sharpe,
    probabilistic_sharpe,
    search_variance,
    sharpe_ratio,
)
from crypto_tracker.store.trials import History

_BLOCK_DAYS_MIN = 4
_BLOCKS_MIN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must be shown: what was measured, what is asked for, and the sentence that says it."""

    name: str
    measured: float | None
    required: float
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the days out of sample say, all windows one after the other.

    Attributes
    ----------
    chosen, current : daily returns of what each window chose, and of the current configuration, by day
    trades : of what was chosen
    moved : whether any window chose another configuration than the current one; without that there is no lead
    kept : whether the search chose the current configuration everywhere, the latest span included
    lead, lead_low, lead_high : mean of the daily differences, and its bootstrap interval
    sharpe : of what was chosen, per day; None where it does not exist
    probabilistic, deflated : probability that it is truly above 0, and above the best that so many trials
        have by chance
    chance : that best Sharpe ratio per day
    variance : of the trials' Sharpe ratios per day, as `search_variance` says it for the whole span
    history : the configurations that were tried on overlapping spans with a common symbol
    overfitting : of choosing among all sets on the whole span; None where days or sets are too few
    checks : in the order in which they are said
    """

    chosen: FloatArray
    current: FloatArray
    trades: int
    moved: bool
    kept: bool
    lead: float
    lead_low: float
    lead_high: float
    sharpe: float | None
    probabilistic: float | None
    deflated: float | None
    chance: float
    variance: float
    history: History
    overfitting: Overfitting | None
    checks: tuple[Check, ...]

    @property
    def recommended(self) -> bool:
        """Whether every check is passed."""
        return all(check.passed for check in self.checks)

    @property
    def sentence(self) -> str:
        """The verdict; where something is missing, what."""
        if self.recommended:
            return "Recommended: every check is passed."
        if self.kept:
            return (
                "Nothing to recommend: the search chose the current configuration in every window, "
                "the latest included."
            )
        missing = "; ".join(check.sentence for check in self.checks if not check.passed)
        return f"Not recommended: {missing}."


def evidence(
    *,
    chosen: FloatArray,
    current: FloatArray,
    trades: int,
    performance: FloatArray,
    history: History,
    moved: bool,
    changes: bool,
    seed: int,
    settings: Optimize,
) -> Evidence:
    """Judge a search.

    Parameters
    ----------
    chosen, current : daily returns out of sample, paired by day
    performance : daily returns of every set on the whole span, (days, sets)
    moved : whether any window that was traded out of sample chose anything but the current configuration
    changes : whether the latest window chose anything but the current configuration
    """
    difference = chosen - current
    weeks = np.arange(len(difference)) // settings.bootstrap_days
    low, high = bootstrap_by_group(
        difference, weeks, draws=settings.bootstrap_draws, seed=seed, confidence=settings.confidence
    )
    overfitting = _overfitting(performance, settings.overfitting_blocks)
    number = max(history.trials, 1)
    sharpe = sharpe_ratio(chosen)
    # Trials are held against the whole span, so that it is over its days that they vary by chance.
    variance = search_variance(history.variance, sharpe=sharpe, periods=len(performance))
    deflated = deflated_sharpe(chosen, trials=number, variance=variance)
    return Evidence(
        chosen=chosen,
        current=current,
        trades=trades,
        moved=moved,
        kept=not (moved or changes),
        lead=float(difference.mean()),
        lead_low=low,
        lead_high=high,
        sharpe=sharpe,
        probabilistic=probabilistic_sharpe(chosen),
        deflated=deflated,
        chance=expected_maximum_sharpe(number, variance),
        variance=variance,
        history=history,
        overfitting=overfitting,
        checks=_checks(
            trades,
            deflated,
            overfitting,
            (low, high) if moved else None,
            changes=changes,
            settings=settings,
        ),
    )


def _checks(
    trades: int,
    deflated: float | None,
    overfitting: Overfitting | None,
    lead: tuple[float, float] | None,
    *,
    changes: bool,
    settings: Optimize,
) -> tuple[Check, ...]:
    probability = None if overfitting is None else overfitting.probability
    return (
        Check(
            name="trades",
            measured=float(trades),
            required=float(settings.out_of_sample_trades_min),
            passed=trades >= settings.out_of_sample_trades_min,
            sentence=f"{trades:,} trades out of sample ({settings.out_of_sample_trades_min:,} are needed)",
        ),
        Check(
            name="deflated_sharpe",
            measured=deflated,
            required=settings.deflated_sharpe_min,
            passed=deflated is not None and deflated >= settings.deflated_sharpe_min,
            sentence="the deflated Sharpe ratio out of sample "
            + ("does not exist" if deflated is None else f"is {deflated:.3f}")
            + f" ({settings.deflated_sharpe_min:g} is needed)",
        ),
        Check(
            name="overfitting",
            measured=probability,
            required=settings.overfitting_max,
            passed=probability is not None and probability <= settings.overfitting_max,
            sentence="the probability of backtest overfitting "
            + ("cannot be told from so few days or sets" if probability is None else f"is {probability:.3f}")
            + f" (at most {settings.overfitting_max:g})",
        ),
        Check(
            name="lead",
            measured=None if lead is None else lead[0],
            required=0.0,
            passed=lead is not None and lead[0] > 0.0,
            sentence="no window chose anything but the current configuration, so there is no lead to measure"
            if lead is None
            else f"the lead over the current configuration is {100.0 * lead[0]:+.4f} % to "
            f"{100.0 * lead[1]:+.4f} % a day with {100.0 * settings.confidence:g} % confidence "
            "(all of it must be above 0)",
        ),
        Check(
            name="change",
            measured=float(changes),
            required=1.0,
            passed=changes,
            sentence="the latest window "
            + ("chose another configuration" if changes else "chose nothing but the current configuration"),
        ),
    )


def most_frequent(values: Sequence[str]) -> tuple[str, int]:
    """The value that stands most often, the first of equals, and how often.

    >>> most_frequent(["0.02", "0.03", "0.03"])
    ('0.03', 2)
    """
    return max(((value, values.count(value)) for value in values), key=lambda pair: pair[1])


def _overfitting(performance: FloatArray, blocks: int) -> Overfitting | None:
    """Cross-validated, with as many blocks as asked for or as the days allow."""
    days, sets = performance.shape
    fitting = min(blocks, days // _BLOCK_DAYS_MIN // 2 * 2)
    if fitting < _BLOCKS_MIN or sets < 2:
        return None
    return backtest_overfitting(performance, blocks=fitting)
