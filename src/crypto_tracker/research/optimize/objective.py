"""What a search may maximise: figures of one simulation, the higher the better (docs/optimize.md)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crypto_tracker.core.arrays import FloatArray, IntArray, RecordArray
from crypto_tracker.core.errors import UsageError
from crypto_tracker.simulation.kernel import QUOTE
from crypto_tracker.simulation.metrics import YEAR_DAYS, daily_returns, max_drawdown, profit_factor
from crypto_tracker.simulation.performance import cagr, omega, sortino, sqn
from crypto_tracker.simulation.records import SimulationResult
from crypto_tracker.simulation.statistics import sharpe_ratio


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """What one configuration came to on one span, its positions closed at the end.

    Attributes
    ----------
    returns : simple returns of the marked equity, one for each trading day of the span
    figures : every objective by name; None where it does not exist
    """

    returns: FloatArray
    trades: int
    max_drawdown: float
    figures: dict[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Curve:
    equity: FloatArray
    returns: FloatArray
    start: float
    trades: RecordArray


def measure(result: SimulationResult, days: IntArray, capital_quote: float) -> Measured:
    """Every figure of a finished simulation; `days` is the trading day of each bar."""
    equity = result.equity_e8 / QUOTE
    curve = _Curve(
        equity=equity,
        returns=daily_returns(equity, days, capital_quote),
        start=capital_quote,
        trades=result.trades,
    )
    return Measured(
        returns=curve.returns,
        trades=len(result.trades),
        max_drawdown=max_drawdown(equity, capital_quote),
        figures={name: compute(curve) for name, compute in _OBJECTIVES.items()},
    )


def known_objective(name: str) -> str:
    """The name, if it is one; raises UsageError with those that there are."""
    if name not in _OBJECTIVES:
        raise UsageError(f"--objective {name}: there are {', '.join(_OBJECTIVES)}")
    return name


def _sharpe(curve: _Curve) -> float | None:
    ratio = sharpe_ratio(curve.returns)
    return None if ratio is None else ratio * float(np.sqrt(YEAR_DAYS))


def _return(curve: _Curve) -> float | None:
    return float(curve.equity[-1]) / curve.start - 1.0 if len(curve.equity) else None


def _calmar(curve: _Curve) -> float | None:
    fall = max_drawdown(curve.equity, curve.start)
    total = _return(curve)
    growth = None if total is None else cagr(1.0 + total, len(curve.returns) / YEAR_DAYS)
    return growth / fall if growth is not None and fall > 0.0 else None


_OBJECTIVES: dict[str, Callable[[_Curve], float | None]] = {
    "sharpe": _sharpe,
    "sortino": lambda curve: sortino(curve.returns),
    "return": _return,
    "calmar": _calmar,
    "omega": lambda curve: omega(curve.returns),
    "sqn": lambda curve: sqn(curve.trades["pnl_e8"] / curve.trades["invested_e8"]),
    "profit_factor": lambda curve: profit_factor(curve.trades),
}

OBJECTIVES = tuple(_OBJECTIVES)
