"""How a curve of equity did: return, risk, drawdown (docs/figures.md). A year has 365 days."""

from dataclasses import dataclass
from datetime import datetime
from math import exp, log, sqrt

import numpy as np

from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.timeframes import DAY_MS, from_ms
from crypto_tracker.simulation.metrics import YEAR_DAYS, daily_returns, sharpe
from crypto_tracker.simulation.statistics import probabilistic_sharpe, sharpe_ratio

_LARGEST_EXPONENT = 700.0  # of e in a float64


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdown:
    """The deepest fall of a curve below its highest point so far, the start included.

    Attributes
    ----------
    depth : positive fraction of the peak, 0 where the curve never fell
    peak_time, trough_time : closes where it began to fall and where it was deepest; None without a fall
    recovered_time : the first close at the height of the peak again; None where that did not come
    days : from the peak to the recovery, or to the end
    longest_days : the longest time below an earlier peak, in whichever fall
    underwater_share : share of the closes that lie below an earlier one
    """

    depth: float
    peak_time: datetime | None
    trough_time: datetime | None
    recovered_time: datetime | None
    days: float
    longest_days: float
    underwater_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """The figures of one curve of equity; None where a figure does not exist.

    All but the first four and the drawdown come from its daily returns: from one trading day's last close to
    the next, the first day held against the start, the risk-free rate 0. Formulas: docs/figures.md.
    """

    equity_final: float
    pnl_quote: float
    return_net: float
    return_annual: float | None
    cagr: float | None
    days: int
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    omega: float | None
    sqn: float | None
    probabilistic_sharpe: float | None
    best_day: float | None
    worst_day: float | None
    drawdown: Drawdown


def performance(
    equity: FloatArray, start: float, close_time_ms: IntArray, start_ms: int, days: IntArray
) -> Performance:
    """The figures of a curve that stood at `start` at `start_ms` and at `equity` at each close.

    `days` is the trading day of each bar.
    """
    returns = daily_returns(equity, days, start)
    final = float(equity[-1]) if len(equity) else start
    years = (int(close_time_ms[-1]) - start_ms) / (YEAR_DAYS * DAY_MS) if len(equity) else 0.0
    fall = drawdown(equity, start, close_time_ms, start_ms)
    growth = cagr(final / start, years)
    return Performance(
        equity_final=final,
        pnl_quote=final - start,
        return_net=final / start - 1.0,
        return_annual=(final / start - 1.0) / years if years > 0.0 else None,
        cagr=growth,
        days=len(returns),
        volatility=volatility(returns),
        sharpe=sharpe(equity, days, start),
        sortino=sortino(returns),
        calmar=growth / fall.depth if growth is not None and fall.depth > 0.0 else None,
        omega=omega(returns),
        sqn=sqn(returns),
        probabilistic_sharpe=probabilistic_sharpe(returns),
        best_day=float(returns.max()) if len(returns) else None,
        worst_day=float(returns.min()) if len(returns) else None,
        drawdown=fall,
    )


def cagr(growth: float, years: float) -> float | None:
    """Compound annual growth of what multiplied by `growth` in `years`; None where no float can hold it.

    >>> round(cagr(1.21, 2.0), 12)
    0.1
    """
    if years <= 0.0:
        return None
    if growth <= 0.0:
        return -1.0
    exponent = log(growth) / years
    return exp(exponent) - 1.0 if exponent < _LARGEST_EXPONENT else None


def volatility(returns: FloatArray) -> float | None:
    """Standard deviation (n - 1) of the daily returns times sqrt(365); None below two days."""
    return float(np.std(returns, ddof=1)) * sqrt(YEAR_DAYS) if len(returns) > 1 else None


def sortino(returns: FloatArray) -> float | None:
    """Mean over downside deviation of the daily returns, times sqrt(365); None where no day lost.

    The downside deviation is the root of the mean, over all days, of the squared losses. Source: F. A.
    Sortino and L. N. Price, "Performance Measurement in a Downside Risk Framework", 1994.
    """
    if len(returns) < 2 or not (returns < 0.0).any():
        return None
    downside = sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    return float(np.mean(returns)) / downside * sqrt(YEAR_DAYS)


def omega(returns: FloatArray) -> float | None:
    """Sum of the gains over sum of the losses of the daily returns; None where no day lost.

    Source: C. Keating and W. F. Shadwick, "A Universal Performance Measure", 2002, at threshold 0.

    >>> omega(np.array([0.03, -0.01, -0.01]))
    1.5
    """
    lost = -float(returns[returns < 0.0].sum())
    return float(returns[returns > 0.0].sum()) / lost if lost > 0.0 else None


def sqn(values: FloatArray) -> float | None:
    """System quality number: sqrt(n) times mean over standard deviation (n - 1).

    None below two values or without variation. Source: V. K. Tharp, "The Definitive Guide to Position
    Sizing", 2008 (without its cap of n at 100).
    """
    ratio = sharpe_ratio(values)
    return None if ratio is None else ratio * sqrt(len(values))


def drawdown(equity: FloatArray, start: float, close_time_ms: IntArray, start_ms: int) -> Drawdown:
    """The deepest fall of a curve that stood at `start` at `start_ms` and at `equity` at each close."""
    curve = np.concatenate([[start], equity])
    peak = np.maximum.accumulate(curve)
    under = curve < peak
    if not under.any():
        return Drawdown(
            depth=0.0,
            peak_time=None,
            trough_time=None,
            recovered_time=None,
            days=0.0,
            longest_days=0.0,
            underwater_share=0.0,
        )
    times = np.concatenate([np.array([start_ms], dtype=np.int64), close_time_ms])
    change = np.diff(under.astype(np.int8))
    peaks = np.flatnonzero(change == 1)  # the last point at the height of each peak that was lost
    ends = np.flatnonzero(change == -1) + 1
    recovered = len(ends) == len(peaks)
    until = np.append(ends, len(curve) - 1)[: len(peaks)]
    fall = (peak - curve) / peak
    trough = int(np.argmax(fall))
    deepest = int(np.searchsorted(peaks, trough, side="left")) - 1
    lengths = (times[until] - times[peaks]) / DAY_MS
    back = recovered or deepest < len(peaks) - 1
    return Drawdown(
        depth=float(fall[trough]),
        peak_time=from_ms(times[peaks[deepest]]),
        trough_time=from_ms(times[trough]),
        recovered_time=from_ms(times[until[deepest]]) if back else None,
        days=float(lengths[deepest]),
        longest_days=float(lengths.max()),
        underwater_share=float(under[1:].mean()),
    )
