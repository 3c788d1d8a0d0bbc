"""What a set of trades says: rates, expectancy, streaks, holding times (docs/figures.md)."""

from dataclasses import dataclass

import numpy as np

from crypto_tracker.core.arrays import BoolArray, FloatArray, IntArray, RecordArray
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.simulation.kernel import QUOTE
from crypto_tracker.simulation.metrics import profit_factor, quote, with_result
from crypto_tracker.simulation.performance import sqn
from crypto_tracker.simulation.statistics import wilson_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFigures:
    """Figures over trades, in the order in which they closed; None where a figure does not exist.

    Attributes
    ----------
    n_trades, n_won, n_lost, n_even : P&L above, below, and exactly 0
    n_no_result : trades whose data was lost; neither won nor lost, and in none of the three above
    win_rate, win_rate_low, win_rate_high : won among those with a result, and the 95 % Wilson interval
    pnl_quote, invested_quote, return_net : sums of all trades, and the one over the other
    gain_mean_quote, loss_mean_quote : mean P&L of won and of lost trades
    profit_factor, payoff_ratio : sums, and means, of gains over those of losses
    expectancy_quote, expectancy_ratio : mean P&L, and that over the mean loss
    kelly : share of the capital that bets of these odds deserve, negative where the expectancy is
    sqn : system quality number of the trades' P&L
    return_best, return_worst : of a single trade
    streak_won, streak_lost : the longest runs of won and of lost trades
    hold_hours_* : from the bar of the first entry to that of the last exit
    """

    n_trades: int
    n_won: int
    n_lost: int
    n_even: int
    n_no_result: int
    win_rate: float | None
    win_rate_low: float | None
    win_rate_high: float | None
    pnl_quote: float
    invested_quote: float
    return_net: float | None
    gain_mean_quote: float | None
    loss_mean_quote: float | None
    profit_factor: float | None
    payoff_ratio: float | None
    expectancy_quote: float | None
    expectancy_ratio: float | None
    kelly: float | None
    sqn: float | None
    return_best: float | None
    return_worst: float | None
    streak_won: int
    streak_lost: int
    hold_hours_mean: float | None
    hold_hours_median: float | None
    hold_hours_max: float | None
    hold_hours_mean_won: float | None
    hold_hours_mean_lost: float | None


def trade_figures(trades: RecordArray, end_ms: int) -> TradeFigures:
    """The figures of TRADE_DTYPE rows; a trade that is open is held until `end_ms`."""
    judged = with_result(trades)
    pnl = judged["pnl_e8"]
    won, lost = pnl > 0, pnl < 0
    returns = trades["pnl_e8"] / trades["invested_e8"]
    gain, loss = _mean_quote(judged[won]), _mean_quote(judged[lost])
    payoff = None if gain is None or loss is None else -gain / loss
    share = float(won.mean()) if len(judged) else None
    low, high = wilson_interval(int(won.sum()), len(judged)) if len(judged) else (None, None)
    mean = _mean_quote(trades)
    invested = quote(trades, "invested_e8")
    hours = held_hours(trades, end_ms)
    return TradeFigures(
        n_trades=len(trades),
        n_won=int(won.sum()),
        n_lost=int(lost.sum()),
        n_even=int((pnl == 0).sum()),
        n_no_result=len(trades) - len(judged),
        win_rate=share,
        win_rate_low=low,
        win_rate_high=high,
        pnl_quote=quote(trades, "pnl_e8"),
        invested_quote=invested,
        return_net=quote(trades, "pnl_e8") / invested if invested else None,
        gain_mean_quote=gain,
        loss_mean_quote=loss,
        profit_factor=profit_factor(trades),
        payoff_ratio=payoff,
        expectancy_quote=mean,
        expectancy_ratio=None if mean is None or loss is None else -mean / loss,
        kelly=kelly(judged["pnl_e8"].astype(np.float64)),
        sqn=sqn(trades["pnl_e8"] / QUOTE),
        return_best=float(returns.max()) if len(returns) else None,
        return_worst=float(returns.min()) if len(returns) else None,
        streak_won=longest_run(won),
        streak_lost=longest_run(lost),
        hold_hours_mean=_mean(hours),
        hold_hours_median=float(np.median(hours)) if len(hours) else None,
        hold_hours_max=float(hours.max()) if len(hours) else None,
        hold_hours_mean_won=_mean(held_hours(judged[won], end_ms)),
        hold_hours_mean_lost=_mean(held_hours(judged[lost], end_ms)),
    )


def kelly(gains: FloatArray) -> float | None:
    """Kelly's share of the capital for bets with these gains; None without a win or without a loss.

    W - (1 - W) / R, where W is the share of wins among wins and losses, and R the mean win over the mean
    loss. Source: J. L. Kelly, "A New Interpretation of Information Rate", 1956.

    >>> kelly(np.array([2.0, 2.0, 2.0, -3.0]))
    0.375
    """
    won, lost = gains[gains > 0.0], gains[gains < 0.0]
    if not len(won) or not len(lost):
        return None
    share = len(won) / (len(won) + len(lost))
    return share - (1.0 - share) * -float(lost.mean()) / float(won.mean())


def longest_run(marks: BoolArray) -> int:
    """The longest run of true marks.

    >>> longest_run(np.array([True, False, True, True]))
    2
    """
    ends = np.flatnonzero(np.concatenate([[True], ~marks, [True]]))
    return int(np.diff(ends).max()) - 1


def held_hours(trades: RecordArray, end_ms: int) -> FloatArray:
    """How long each trade was held; one that is open is held until `end_ms`."""
    until: IntArray = np.where(trades["exit_ms"] >= 0, trades["exit_ms"], end_ms)
    return np.asarray((until - trades["entry_ms"]) / HOUR_MS)


def _mean(values: FloatArray) -> float | None:
    return float(values.mean()) if len(values) else None


def _mean_quote(trades: RecordArray) -> float | None:
    return quote(trades, "pnl_e8") / len(trades) if len(trades) else None
