"""The essential figures of a simulation. Every fraction is of one; None where a figure does not exist."""

from dataclasses import dataclass

import numpy as np

from crypto_tracker.core.arrays import FloatArray, IntArray, RecordArray
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.simulation.kernel import QUOTE
from crypto_tracker.simulation.records import Scenario, SimulationResult
from crypto_tracker.strategies.base import EVENT_SETUP

YEAR_DAYS = 365.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFigures:
    """Closed trades of one group (a strategy, a symbol, an exit reason).

    `return_net` is the sum of P&L over the sum of what was invested, never a sum of percentages; None, like
    the win rate, without trades.
    """

    name: str
    n_trades: int
    win_rate: float | None
    pnl_quote: float
    invested_quote: float
    return_net: float | None
    fees_quote: float
    slippage_quote: float
    profit_factor: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The essential figures of one run.

    Attributes
    ----------
    return_net : marked equity at the end over the start, less one
    return_closed : P&L of closed trades over the start
    max_drawdown : deepest fall of the marked equity from its highest point so far, a positive fraction
    sharpe : mean over standard deviation (n - 1) of the daily returns of the marked equity, times sqrt(365)
    win_rate : closed trades with P&L > 0 among those with a result; data_lost counts as neither
    profit_factor : sum of gains over sum of losses
    fees_quote, slippage_quote : of every fill, those of open trades included; slippage is inside the prices
    ambiguous_share : closed trades whose exit could have been another one within the same bar
    exposure : mean share of equity that was in positions
    market_change : mean change of the traded symbols from their first to their last close
    exits, rejected : how often each exit reason, and each reason for which a setup came to no trade
    by_strategy : every strategy that scanned, in the configured order, also without trades
    by_symbol, by_exit_reason : those that have trades
    setups : scans that were setups
    """

    equity_start: float
    equity_final: float
    return_net: float
    return_closed: float
    max_drawdown: float
    sharpe: float | None
    n_trades: int
    n_open: int
    win_rate: float | None
    profit_factor: float | None
    fees_quote: float
    slippage_quote: float
    ambiguous_share: float | None
    exposure: float | None
    market_change: float | None
    exits: dict[str, int]
    by_strategy: list[GroupFigures]
    by_symbol: list[GroupFigures]
    by_exit_reason: list[GroupFigures]
    rejected: dict[str, int]
    setups: int


def figures(scenario: Scenario, result: SimulationResult, days: IntArray) -> Figures:
    """Compute the figures; `days` is the trading day of each bar (`backtest.trading_days`)."""
    start = scenario.rules.capital_quote
    equity = result.equity_e8 / QUOTE
    final = float(equity[-1]) if len(equity) else start
    trades = result.trades
    closed_pnl = float(trades["pnl_e8"].sum()) / QUOTE
    is_setup = scenario.setups["kind"] == EVENT_SETUP
    reasons = result.decisions["reason"][is_setup]
    ends = result.decisions["end"][is_setup]
    refused = np.where(reasons == Reason.ACCEPTED, ends, reasons)
    names = [str(symbol) for symbol in scenario.panel.symbols]
    return Figures(
        equity_start=start,
        equity_final=final,
        return_net=final / start - 1.0,
        return_closed=closed_pnl / start,
        max_drawdown=max_drawdown(equity, start),
        sharpe=sharpe(equity, days, start),
        n_trades=len(trades),
        n_open=len(result.open_trades),
        win_rate=win_rate(trades),
        profit_factor=profit_factor(trades),
        fees_quote=float(result.fills["fee_e8"].sum()) / QUOTE,
        slippage_quote=float(result.fills["slippage_e8"].sum()) / QUOTE,
        ambiguous_share=float(trades["ambiguous"].mean()) if len(trades) else None,
        exposure=_exposure(result),
        market_change=_market_change(scenario.panel.close),
        exits=_count([ExitReason(code).code for code in trades["exit_reason"]]),
        by_strategy=[
            _group(name, trades[trades["strategy"] == index])
            for index, name in enumerate(scenario.strategies)
        ],
        by_symbol=_groups(trades, trades["symbol"], names),
        by_exit_reason=_groups(trades, trades["exit_reason"], [reason.code for reason in ExitReason]),
        rejected=_count([Reason(code).code for code in refused if code > 0]),
        setups=int(is_setup.sum()),
    )


def max_drawdown(equity: FloatArray, start: float) -> float:
    """Deepest fall from the highest point so far as a positive fraction, the start included.

    >>> max_drawdown(np.array([110.0, 99.0, 120.0]), 100.0)
    0.1
    """
    if not len(equity):
        return 0.0
    peak = np.maximum.accumulate(np.maximum(equity, start))
    return float(np.max((peak - equity) / peak))


def daily_returns(equity: FloatArray, days: IntArray, start: float) -> FloatArray:
    """Simple returns from one day's last equity to the next; the first day is held against the start."""
    if not len(equity):
        return np.zeros(0)
    last = np.append(np.flatnonzero(np.diff(days)), len(days) - 1)
    closes = np.concatenate([[start], equity[last]])
    return np.asarray(closes[1:] / closes[:-1] - 1.0)


def sharpe(equity: FloatArray, days: IntArray, start: float) -> float | None:
    """Annual Sharpe ratio of daily returns, risk-free rate 0, 365-day year.

    None below two days or without variation. Source: W. F. Sharpe, "The Sharpe Ratio", Journal of Portfolio
    Management, 1994.
    """
    returns = daily_returns(equity, days, start)
    if len(returns) < 2:
        return None
    deviation = float(np.std(returns, ddof=1))
    if deviation == 0.0:
        return None
    return float(np.mean(returns)) / deviation * float(np.sqrt(YEAR_DAYS))


def win_rate(trades: RecordArray) -> float | None:
    """Trades with P&L > 0 among those with a result (`data_lost` has none); None where there are none."""
    judged = trades[trades["exit_reason"] != ExitReason.DATA_LOST]
    return float((judged["pnl_e8"] > 0).mean()) if len(judged) else None


def profit_factor(trades: RecordArray) -> float | None:
    """Sum of gains over sum of losses; None where nothing was lost."""
    pnl = trades["pnl_e8"]
    lost = -int(pnl[pnl < 0].sum())
    return int(pnl[pnl > 0].sum()) / lost if lost else None


def _groups(trades: RecordArray, keys: RecordArray, names: list[str]) -> list[GroupFigures]:
    return [_group(names[int(key)], trades[keys == key]) for key in np.unique(keys)]


def _group(name: str, trades: RecordArray) -> GroupFigures:
    invested = float(trades["invested_e8"].sum()) / QUOTE
    pnl = float(trades["pnl_e8"].sum()) / QUOTE
    return GroupFigures(
        name=name,
        n_trades=len(trades),
        win_rate=win_rate(trades),
        pnl_quote=pnl,
        invested_quote=invested,
        return_net=pnl / invested if invested else None,
        fees_quote=float(trades["fee_e8"].sum()) / QUOTE,
        slippage_quote=float(trades["slippage_e8"].sum()) / QUOTE,
        profit_factor=profit_factor(trades),
    )


def _count(names: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _exposure(result: SimulationResult) -> float | None:
    if not len(result.equity_e8):
        return None
    held = result.equity_e8 - result.cash_e8 - result.reserved_e8
    return float(np.mean(held / result.equity_e8))


def _market_change(close: FloatArray) -> float | None:
    changes = []
    for column in range(close.shape[1]):
        present = close[:, column][~np.isnan(close[:, column])]
        if len(present):
            changes.append(present[-1] / present[0] - 1.0)
    return float(np.mean(changes)) if changes else None
