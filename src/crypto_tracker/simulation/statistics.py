"""What a figure is worth: intervals, Sharpe ratios against chance and search, the probability of overfitting.

All Sharpe ratios here are per period (a day, as a rule), not annualised; multiply by the square root of the
periods of a year to read them. Returns are simple returns, one for each period.
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb, e, sqrt
from statistics import NormalDist

import numpy as np

from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.errors import UsageError

_NORMAL = NormalDist()
_EULER_MASCHERONI = 0.5772156649015329
# What is left of a variance after subtracting two equal numbers; nothing varies below it.
_ROUNDING = 1e-12
_DRAWN_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Overfitting:
    """What combinatorially symmetric cross-validation says about choosing the best of many configurations.

    In each split the configuration that was best in one half of the blocks is looked up in the other half.

    Attributes
    ----------
    probability : share of the splits in which the chosen one is at or below the median of the other half
    logits : of each split, ln(w / (1 - w)) where w is the relative rank of the chosen one in the other half;
        positive is better than the median
    in_sample, out_of_sample : of each split, Sharpe ratio of the chosen one in its own and in the other half
    slope : of out_of_sample over in_sample by least squares; None where in_sample does not vary
    loss_share : share of the splits in which the chosen one has a Sharpe ratio below 0 in the other half
    blocks, configurations, periods : what went in
    """

    probability: float
    logits: FloatArray
    in_sample: FloatArray
    out_of_sample: FloatArray
    slope: float | None
    loss_share: float
    blocks: int
    configurations: int
    periods: int


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a share, good at the edges and for few trials; (0, 1) without trials.

    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.

    >>> low, high = wilson_interval(81, 263)
    >>> round(low, 4), round(high, 4)
    (0.2553, 0.3662)
    """
    _check_share("confidence", confidence)
    if not 0 <= successes <= trials:
        raise UsageError(f"{successes} successes of {trials} trials: successes are 0 to the number of trials")
    if trials == 0:
        return 0.0, 1.0
    z = _NORMAL.inv_cdf(0.5 + confidence / 2.0)
    share = successes / trials
    middle = share + z * z / (2.0 * trials)
    half = z * sqrt(share * (1.0 - share) / trials + z * z / (4.0 * trials * trials))
    scale = 1.0 + z * z / trials
    low = 0.0 if successes == 0 else (middle - half) / scale
    high = 1.0 if successes == trials else (middle + half) / scale
    return low, high


def sharpe_ratio(returns: FloatArray) -> float | None:
    """Mean over standard deviation (n - 1) of returns, per period; None below two or without variation.

    >>> sharpe_ratio(np.array([0.01, 0.02, 0.03]))
    2.0
    """
    if len(returns) < 2:
        return None
    deviation = float(np.std(returns, ddof=1))
    mean = float(np.mean(returns))
    if deviation <= sqrt(_ROUNDING) * abs(mean) or deviation == 0.0:
        return None
    return mean / deviation


def skewness(returns: FloatArray) -> float:
    """Third standardised moment; 0 where nothing varies."""
    return _standardised_moment(returns, 3, without_variation=0.0)


def kurtosis(returns: FloatArray) -> float:
    """Fourth standardised moment, 3 for a normal distribution; 3 where nothing varies."""
    return _standardised_moment(returns, 4, without_variation=3.0)


def probabilistic_sharpe(returns: FloatArray, benchmark: float = 0.0) -> float | None:
    """Probability that the true Sharpe ratio is above a benchmark (per period), given length and shape.

    None where the returns have no Sharpe ratio. Source: D. Bailey, M. Lopez de Prado, "The Sharpe Ratio
    Efficient Frontier", Journal of Risk, 2012.
    """
    observed = sharpe_ratio(returns)
    if observed is None:
        return None
    return probabilistic_sharpe_of_moments(
        observed,
        periods=len(returns),
        skew=skewness(returns),
        kurt=kurtosis(returns),
        benchmark=benchmark,
    )


def probabilistic_sharpe_of_moments(
    sharpe: float, *, periods: int, skew: float, kurt: float, benchmark: float = 0.0
) -> float:
    """The same from a Sharpe ratio per period, the number of periods, skewness and kurtosis (3 is normal).

    The example is that of the paper: two years of months, 1.59 a year, far from normal.

    >>> round(probabilistic_sharpe_of_moments(0.458, periods=24, skew=-2.448, kurt=10.164), 3)
    0.913
    """
    if periods < 2:
        raise UsageError(f"{periods} periods have no Sharpe ratio: at least 2 are needed")
    excess = sharpe - benchmark
    spread = 1.0 - skew * sharpe + (kurt - 1.0) / 4.0 * sharpe * sharpe
    if spread <= 0.0:  # returns of two values alone: the estimate has no error of its own
        return 0.5 if excess == 0.0 else float(excess > 0.0)
    return _NORMAL.cdf(excess * sqrt(periods - 1) / sqrt(spread))


def expected_maximum_sharpe(trials: int, variance: float) -> float:
    """Sharpe ratio that the best of so many trials reaches by chance alone; 0 for one trial.

    `variance` is that of the trials' Sharpe ratios per period. Source: D. Bailey, M. Lopez de Prado, "The
    Deflated Sharpe Ratio", Journal of Portfolio Management, 2014; its example, of daily returns:

    >>> round(expected_maximum_sharpe(100, 0.5 / 250), 4)
    0.1132
    """
    if trials < 1 or variance < 0.0:
        raise UsageError(f"{trials} trials of variance {variance}: at least 1 trial, and none below 0")
    if trials == 1:
        return 0.0
    highest = _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    beyond = _NORMAL.inv_cdf(1.0 - 1.0 / (trials * e))
    return sqrt(variance) * ((1.0 - _EULER_MASCHERONI) * highest + _EULER_MASCHERONI * beyond)


def search_variance(measured: float | None, *, sharpe: float | None, periods: int) -> float:
    """Variance of the trials' Sharpe ratios per period that a search is held against.

    The measured one, but never less than what chance alone gives one estimate: (1 + SR^2 / 2) / (n - 1), for
    normal returns; SR is 0 where there is none, and one period counts as two. Trials that resemble each other
    differ by less, and so few of them show it. Source: A. Lo, "The Statistics of Sharpe Ratios", 2002, with
    n - 1 in place of n, as in `probabilistic_sharpe`.

    Parameters
    ----------
    measured : of trials on comparable spans; None where fewer than two of them have a Sharpe ratio
    sharpe : per period, that is deflated
    periods : of the span that the trials are held against

    >>> round(search_variance(None, sharpe=0.2, periods=51), 4)
    0.0204
    """
    observed = 0.0 if sharpe is None else sharpe
    by_chance = (1.0 + observed * observed / 2.0) / max(periods - 1, 1)
    return by_chance if measured is None else max(measured, by_chance)


def deflated_sharpe(returns: FloatArray, *, trials: int, variance: float) -> float | None:
    """Probability that the true Sharpe ratio is above what the best of so many trials has by chance.

    `trials` counts the configurations that were tried, `variance` is that of their Sharpe ratios per period
    (`search_variance`). With one trial it is the probability of being above 0. None where the returns have no
    Sharpe ratio. Source: as `expected_maximum_sharpe`.
    """
    return probabilistic_sharpe(returns, expected_maximum_sharpe(trials, variance))


def backtest_overfitting(performance: FloatArray, *, blocks: int) -> Overfitting:
    """Cross-validate the choice of the best configuration, in all combinations of past and future.

    The periods are cut into an even number of blocks of equal length (by one period more or less). Each
    choice of half of them is a past, the other half its future. In the past the configuration with the
    highest Sharpe ratio is chosen; its rank in the future decides. A configuration that does not move has a
    Sharpe ratio of 0. Equal ones share their rank; of equal best ones the first is chosen.

    Parameters
    ----------
    performance : returns, (periods, configurations), without NaN
    blocks : even, 2 to 20; all choices of half of them are looked at (12,870 for 16)

    References
    ----------
    D. Bailey, J. Borwein, M. Lopez de Prado, Q. J. Zhu, "The Probability of Backtest Overfitting", Journal of
    Computational Finance, 2015.
    """
    periods, configurations = performance.shape
    if blocks % 2 or not 2 <= blocks <= 20:
        raise UsageError(f"{blocks} blocks: an even number from 2 to 20 is needed")
    if configurations < 2:
        raise UsageError(f"{configurations} configuration: at least 2 are needed to choose among")
    if periods < 2 * blocks:
        raise UsageError(f"{periods} periods in {blocks} blocks: each block needs at least 2 periods")
    if not np.isfinite(performance).all():
        raise UsageError("the returns hold a value that is not a number: each period needs one")
    parts = np.array_split(performance, blocks)
    lengths = np.array([float(len(part)) for part in parts])
    sums = np.array([part.sum(axis=0) for part in parts])
    squares = np.array([(part * part).sum(axis=0) for part in parts])
    halves = np.zeros((comb(blocks, blocks // 2), blocks))
    for row, chosen in enumerate(combinations(range(blocks), blocks // 2)):
        halves[row, list(chosen)] = 1.0
    logits, past, future = [], [], []
    step = max(1, _DRAWN_AT_ONCE // configurations)
    for first in range(0, len(halves), step):
        half = halves[first : first + step]
        inside = _sharpe_of_sums(half @ lengths, half @ sums, half @ squares)
        other = 1.0 - half
        outside = _sharpe_of_sums(other @ lengths, other @ sums, other @ squares)
        best = np.argmax(inside, axis=1)
        rows = np.arange(len(half))
        chosen_outside = outside[rows, best]
        below = (outside < chosen_outside[:, None]).sum(axis=1)
        equal = (outside == chosen_outside[:, None]).sum(axis=1)
        relative = (below + (equal + 1.0) / 2.0) / (configurations + 1.0)
        logits.append(np.log(relative / (1.0 - relative)))
        past.append(inside[rows, best])
        future.append(chosen_outside)
    all_logits = np.concatenate(logits)
    in_sample, out_of_sample = np.concatenate(past), np.concatenate(future)
    return Overfitting(
        probability=float((all_logits <= 0.0).mean()),
        logits=all_logits,
        in_sample=in_sample,
        out_of_sample=out_of_sample,
        slope=_slope(in_sample, out_of_sample),
        loss_share=float((out_of_sample < 0.0).mean()),
        blocks=blocks,
        configurations=configurations,
        periods=periods,
    )


def bootstrap_by_group(
    values: FloatArray, groups: IntArray, *, draws: int, seed: int, confidence: float
) -> tuple[float, float]:
    """Percentile interval of the mean, where whole groups (such as days) are drawn with their values.

    What happens within one group may depend on each other; groups are taken as independent. Source: A. C.
    Cameron, J. B. Gelbach, D. L. Miller, "Bootstrap-Based Improvements for Inference with Clustered Errors",
    2008 (pairs cluster bootstrap); B. Efron, "Bootstrap Methods", 1979.
    """
    _check_share("confidence", confidence)
    if not len(values) or len(values) != len(groups) or draws < 1:
        raise UsageError(
            f"{len(values)} values in {len(groups)} groups, {draws} draws: at least one value, a group for "
            "each value, and at least one draw are needed"
        )
    _, member = np.unique(groups, return_inverse=True)
    sums = np.bincount(member, weights=values)
    counts = np.bincount(member).astype(np.float64)
    generator = np.random.default_rng(seed)
    means = np.empty(draws)
    step = max(1, _DRAWN_AT_ONCE // len(sums))
    for first in range(0, draws, step):
        picks = generator.integers(0, len(sums), size=(min(step, draws - first), len(sums)))
        means[first : first + len(picks)] = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
    low, high = np.quantile(means, [0.5 - confidence / 2.0, 0.5 + confidence / 2.0])
    return float(low), float(high)


def _standardised_moment(returns: FloatArray, order: int, *, without_variation: float) -> float:
    if sharpe_ratio(returns) is None:
        return without_variation
    centred = returns - np.mean(returns)
    return float(np.mean(centred**order) / np.mean(centred**2) ** (order / 2.0))


def _sharpe_of_sums(lengths: FloatArray, sums: FloatArray, squares: FloatArray) -> FloatArray:
    """Sharpe ratios (choices, configurations) from sums and sums of squares; 0 without variation."""
    count = lengths[:, None]
    mean = sums / count
    variance = (squares - count * mean * mean) / (count - 1.0)
    moves = variance > _ROUNDING * mean * mean
    return np.asarray(np.where(moves, mean, 0.0) / np.sqrt(np.where(moves, variance, 1.0)))


def _slope(x: FloatArray, y: FloatArray) -> float | None:
    centred = x - x.mean()
    spread = float(centred @ centred)
    return float(centred @ (y - y.mean())) / spread if spread > 0.0 else None


def _check_share(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise UsageError(f"{name} is {value}, expected more than 0 and less than 1")
