"""The essential figures of a simulation (docs/figures.md); fractions are of one, None is no such figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from crypto_tracker.core.arrays import FloatArray, IntArray, RecordArray
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.simulation.kernel import QUOTE
from crypto_tracker.simulation.records import Scenario, SimulationResult
from crypto_tracker.simulation.statistics import sharpe_ratio, wilson_interval
from crypto_tracker.strategies.base import EVENT_SETUP

YEAR_DAYS = 365.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFigures:
    """Trades of one group (a strategy, a symbol, an exit reason), those that closed and those left open.

    A return is the sum of P&L over the sum of what was invested, never a sum of percentages; None, like the
    rates, without trades.

    Attributes
    ----------
    n_trades, n_won : closed trades, and those of them with P&L > 0 that have a result
    win_rate, win_rate_low, win_rate_high : of the closed ones with a result, and its 95 % Wilson interval
    pnl_quote, invested_quote, return_net : of closed trades
    n_open, pnl_open_quote : left open, and what they have gained so far at the last closes
    pnl_marked_quote, return_marked : of both together
    fees_quote, slippage_quote, profit_factor, expectancy_quote : of closed trades
    hold_hours_mean : from the bar of the first entry to that of the last exit, of closed trades
    """

    name: str
    n_trades: int
    n_won: int
    win_rate: float | None
    win_rate_low: float | None
    win_rate_high: float | None
    pnl_quote: float
    invested_quote: float
    return_net: float | None
    n_open: int
    pnl_open_quote: float
    pnl_marked_quote: float
    return_marked: float | None
    fees_quote: float
    slippage_quote: float
    profit_factor: float | None
    expectancy_quote: float | None
    hold_hours_mean: float | None


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
    by_symbol, by_exit_reason : those that have trades; a trade left open has no exit reason
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
    trades, left = result.trades, result.open_trades
    closed_pnl = quote(trades, "pnl_e8")
    is_setup = scenario.setups["kind"] == EVENT_SETUP
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
        fees_quote=quote(result.fills, "fee_e8"),
        slippage_quote=quote(result.fills, "slippage_e8"),
        ambiguous_share=float(trades["ambiguous"].mean()) if len(trades) else None,
        exposure=_exposure(result),
        market_change=_market_change(scenario.panel.close),
        exits=_count([ExitReason(code).code for code in trades["exit_reason"]]),
        by_strategy=[
            group(name, trades[trades["strategy"] == index], left[left["strategy"] == index])
            for index, name in enumerate(scenario.strategies)
        ],
        by_symbol=groups(trades, trades["symbol"], left, left["symbol"], names),
        by_exit_reason=groups(
            trades,
            trades["exit_reason"],
            left[:0],
            left["exit_reason"][:0],
            [reason.code for reason in ExitReason],
        ),
        rejected=reasons_of(outcomes_of_setups(scenario, result)),
        setups=int(is_setup.sum()),
    )


def outcomes_of_setups(scenario: Scenario, result: SimulationResult) -> RecordArray:
    """For each setup, resets left out, the reason why it came to no trade, ACCEPTED where it did."""
    decided = result.decisions[scenario.setups["kind"] == EVENT_SETUP]
    reasons: RecordArray = np.where(decided["reason"] == Reason.ACCEPTED, decided["end"], decided["reason"])
    return reasons


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
    closes = np.concatenate([[start], equity[last_of_each_day(days)]])
    return np.asarray(closes[1:] / closes[:-1] - 1.0)


def last_of_each_day(days: IntArray) -> IntArray:
    """The row of the last bar of each trading day."""
    return np.append(np.flatnonzero(np.diff(days)), len(days) - 1)


def sharpe(equity: FloatArray, days: IntArray, start: float) -> float | None:
    """Annual Sharpe ratio of daily returns, risk-free rate 0, 365-day year.

    None below two days or without variation. Source: W. F. Sharpe, "The Sharpe Ratio", Journal of Portfolio
    Management, 1994.
    """
    ratio = sharpe_ratio(daily_returns(equity, days, start))
    return None if ratio is None else ratio * sqrt(YEAR_DAYS)


def win_rate(trades: RecordArray) -> float | None:
    """Trades with P&L > 0 among those with a result (`data_lost` has none); None where there are none."""
    judged = with_result(trades)
    return float((judged["pnl_e8"] > 0).mean()) if len(judged) else None


def profit_factor(trades: RecordArray) -> float | None:
    """Sum of gains over sum of losses; None where nothing was lost."""
    pnl = trades["pnl_e8"]
    lost = -int(pnl[pnl < 0].sum())
    return int(pnl[pnl > 0].sum()) / lost if lost else None


def groups(
    trades: RecordArray,
    keys: RecordArray,
    left: RecordArray,
    left_keys: RecordArray,
    names: Sequence[str],
) -> list[GroupFigures]:
    """The groups that have trades, closed or left open, by key; `names[key]` names a group."""
    return [
        group(names[int(key)], trades[keys == key], left[left_keys == key])
        for key in np.union1d(keys, left_keys)
    ]


def group(name: str, trades: RecordArray, left: RecordArray) -> GroupFigures:
    """The figures of one group: its closed trades, and those left open."""
    invested, pnl, open_pnl = quote(trades, "invested_e8"), quote(trades, "pnl_e8"), quote(left, "pnl_e8")
    invested_in_all = invested + quote(left, "invested_e8")
    judged = with_result(trades)
    won = int((judged["pnl_e8"] > 0).sum())
    low, high = wilson_interval(won, len(judged)) if len(judged) else (None, None)
    return GroupFigures(
        name=name,
        n_trades=len(trades),
        n_won=won,
        win_rate=won / len(judged) if len(judged) else None,
        win_rate_low=low,
        win_rate_high=high,
        pnl_quote=pnl,
        invested_quote=invested,
        return_net=pnl / invested if invested else None,
        n_open=len(left),
        pnl_open_quote=open_pnl,
        pnl_marked_quote=pnl + open_pnl,
        return_marked=(pnl + open_pnl) / invested_in_all if invested_in_all else None,
        fees_quote=quote(trades, "fee_e8"),
        slippage_quote=quote(trades, "slippage_e8"),
        profit_factor=profit_factor(trades),
        expectancy_quote=pnl / len(trades) if len(trades) else None,
        hold_hours_mean=(
            float((trades["exit_ms"] - trades["entry_ms"]).mean()) / HOUR_MS if len(trades) else None
        ),
    )


def with_result(trades: RecordArray) -> RecordArray:
    """The trades that were won or lost: all but those whose data was lost."""
    judged: RecordArray = trades[trades["exit_reason"] != ExitReason.DATA_LOST]
    return judged


def quote(rows: RecordArray, field: str) -> float:
    """The sum of an amount over records, in quote currency."""
    return float(rows[field].sum()) / QUOTE


def reasons_of(codes: IntArray) -> dict[str, int]:
    """How often each reason other than ACCEPTED stands in `codes`, the most frequent first."""
    found, numbers = np.unique(codes[codes > 0], return_counts=True)
    counts = {
        Reason(code).code: number for code, number in zip(found.tolist(), numbers.tolist(), strict=True)
    }
    return _most_frequent_first(counts)


def _count(names: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return _most_frequent_first(counts)


def _most_frequent_first(counts: dict[str, int]) -> dict[str, int]:
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
