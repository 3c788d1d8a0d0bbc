"""Which pairs of a provider make a universe: figures, filters with reasons, a score, a level of risk.

The formulas stand in docs/universe.md. All of this is pure: who asks the provider is `market/selecting.py`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crypto_tracker.config.universe import Selector
from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.store.selections import SelectedPair, in_order

LOW, MEDIUM, HIGH = "low", "medium", "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is known of one pair; None where it is not.

    Attributes
    ----------
    active : whether the provider trades it now
    volume_quote : traded in the last 24 h, in the quote currency
    volatility : standard deviation of daily returns
    correlation : of daily returns with those of the benchmark, -1 to 1
    listed_days : days with a daily bar
    """

    symbol: Symbol
    active: bool
    volume_quote: float | None
    volatility: float | None
    correlation: float | None
    listed_days: int | None


def window_days(settings: Selector) -> int:
    """How many daily bars are looked at: one more than returns are asked for, or those that are counted."""
    return max(settings.days + 1, settings.listed_days_min)


def daily_returns(closes: FloatArray, days: int) -> FloatArray:
    """The returns of the last `days` days, float64 (days,); NaN where one of the two closes is missing.

    >>> daily_returns(np.array([100.0, 110.0, np.nan, 99.0]), 3).round(3).tolist()
    [0.1, nan, nan]
    """
    known = np.where(np.isfinite(closes) & (closes > 0.0), closes, np.nan)
    returns: FloatArray = known[1:] / known[:-1] - 1.0
    return np.concatenate([np.full(max(days - len(returns), 0), np.nan), returns[-days:]])


def volatility(returns: FloatArray) -> float | None:
    """The sample standard deviation of the returns; None where fewer than half of them are known.

    >>> volatility(np.array([0.01, -0.01, 0.01, -0.01])), volatility(np.array([0.01, np.nan, np.nan, np.nan]))
    (0.011547005383792516, None)
    """
    known = returns[~np.isnan(returns)]
    if len(known) < max(len(returns) / 2, 2):
        return None
    return float(np.std(known, ddof=1))


def correlation(returns: FloatArray, benchmark: FloatArray) -> float | None:
    """Pearson's correlation over the days on which both have a return.

    None where these are fewer than half of the days, or where one of the two does not move.
    """
    both = ~np.isnan(returns) & ~np.isnan(benchmark)
    if both.sum() < max(len(returns) / 2, 2):
        return None
    x, y = returns[both] - returns[both].mean(), benchmark[both] - benchmark[both].mean()
    scale = math.sqrt(float(x @ x)) * math.sqrt(float(y @ y))
    if scale == 0.0:
        return None
    return min(max(float(x @ y) / scale, -1.0), 1.0)


def refused_by_volume(figures: Figures, settings: Selector, provider: str) -> str | None:
    """Why a pair is not looked at any further, from what a provider says of all its markets at once."""
    volume = figures.volume_quote
    if not figures.active:
        return f"{provider} does not trade it"
    if volume is None:
        return "its volume of 24 h is not known"
    if volume < settings.volume_min_quote:
        return f"{volume:,.0f} traded in 24 h, below {settings.volume_min_quote:,.0f}"
    if volume > settings.volume_max_quote > 0.0:
        return f"{volume:,.0f} traded in 24 h, above {settings.volume_max_quote:,.0f}"
    return None


def refused_by_days(figures: Figures, settings: Selector) -> str | None:
    """Why a pair is filtered out by what its daily bars say; missing figures are a reason."""
    days, moves, alike = figures.listed_days, figures.volatility, figures.correlation
    if not days:
        return "no daily bar of it is known"
    if days < settings.listed_days_min:
        return f"{days} days with a daily bar, below {settings.listed_days_min}"
    if moves is None:
        return f"too few daily returns in {settings.days} days to know its volatility"
    if moves < settings.volatility_min:
        return f"volatility {100.0 * moves:.2f} %, below {100.0 * settings.volatility_min:g} %"
    if moves > settings.volatility_max:
        return f"volatility {100.0 * moves:.2f} %, above {100.0 * settings.volatility_max:g} %"
    if alike is None:
        return f"its correlation with {settings.benchmark} is not known"
    if alike > settings.correlation_max:
        return f"correlation {alike:.2f} with {settings.benchmark}, above {settings.correlation_max:g}"
    return None


def select(pairs: Sequence[Figures], settings: Selector, *, provider: str) -> tuple[SelectedPair, ...]:
    """Every pair with its score and level of risk, or with the reason for which it was not chosen.

    The chosen come first, each part by score, the best first, and then by name: in whatever order pairs are
    given, the answer is the same.
    """
    refused: dict[Symbol, str] = {}
    passed: list[Figures] = []
    for pair in pairs:
        reason = refused_by_volume(pair, settings, provider) or refused_by_days(pair, settings)
        if reason is None:
            passed.append(pair)
        else:
            refused[pair.symbol] = reason
    scores = _scores(passed, settings)
    ranked = sorted(passed, key=lambda pair: (-scores[pair.symbol], str(pair.symbol)))
    for place, pair in enumerate(ranked[settings.count_max :], start=settings.count_max + 1):
        refused[pair.symbol] = f"place {place}, and the best {settings.count_max} are taken"
    selected = (
        SelectedPair(
            symbol=pair.symbol,
            volume_quote=pair.volume_quote,
            volatility=pair.volatility,
            correlation=pair.correlation,
            listed_days=pair.listed_days,
            score=scores.get(pair.symbol),
            risk=risk(pair, settings),
            reason=refused.get(pair.symbol),
        )
        for pair in pairs
    )
    return tuple(sorted(selected, key=in_order))


def risk(pair: Figures, settings: Selector) -> str | None:
    """`high` where it moves much, `low` where it moves little and trades much, else `medium`."""
    if pair.volatility is None or pair.volume_quote is None:
        return None
    if pair.volatility >= settings.risk_high_volatility:
        return HIGH
    if pair.volatility < settings.risk_low_volatility and pair.volume_quote >= settings.risk_low_volume_quote:
        return LOW
    return MEDIUM


def _scores(passed: Sequence[Figures], settings: Selector) -> Mapping[Symbol, float]:
    """0 to 100: the weighted mean of three parts between 0 and 1.

    Volume: the share of the pairs that passed which trade no more. Volatility: 1 in the middle of what is
    allowed, 0 at its ends. Correlation: 1 where it is -1, 0 where it is 1.
    """
    volumes = np.sort([pair.volume_quote for pair in passed if pair.volume_quote is not None])
    middle = (settings.volatility_min + settings.volatility_max) / 2.0
    half = (settings.volatility_max - settings.volatility_min) / 2.0
    weights = settings.volume_weight, settings.volatility_weight, settings.correlation_weight
    scores: dict[Symbol, float] = {}
    for pair in passed:
        if pair.volume_quote is None or pair.volatility is None or pair.correlation is None:
            raise ValueError(f"{pair.symbol} passed the filters without all of its figures")
        parts = (
            float(np.searchsorted(volumes, pair.volume_quote, side="right")) / len(volumes),
            1.0 - abs(pair.volatility - middle) / half,
            (1.0 - pair.correlation) / 2.0,
        )
        weighted = sum(weight * part for weight, part in zip(weights, parts, strict=True))
        scores[pair.symbol] = 100.0 * weighted / sum(weights)
    return scores
