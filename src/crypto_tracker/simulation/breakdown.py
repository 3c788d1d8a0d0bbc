"""A result by day, week and month of the trading zone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np

from crypto_tracker.core.arrays import FloatArray, IntArray, RecordArray
from crypto_tracker.simulation.metrics import last_of_each_day, max_drawdown, quote

PERIODS = ("day", "week", "month")


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """One day, week or month.

    Attributes
    ----------
    name : `2025-08-01`, `2025-W31` (ISO 8601) or `2025-08`
    first_day, last_day : those of its days that the span holds
    equity_final, pnl_marked_quote, return_marked : marked equity at its end, and the change within it
    max_drawdown : deepest fall of the marked equity within it, from its highest point within it
    n_trades, n_won : trades that closed in it
    pnl_closed_quote, invested_quote, return_closed : of these trades; the return is P&L over invested
    fees_quote, slippage_quote : of these trades
    return_buy_and_hold : change of the buy-and-hold curve within it
    """

    name: str
    first_day: date
    last_day: date
    equity_final: float
    pnl_marked_quote: float
    return_marked: float
    max_drawdown: float
    n_trades: int
    n_won: int
    pnl_closed_quote: float
    invested_quote: float
    return_closed: float | None
    fees_quote: float
    slippage_quote: float
    return_buy_and_hold: float | None


def breakdown(
    trades: RecordArray,
    exit_rows: IntArray,
    equity: FloatArray,
    held: FloatArray | None,
    start: float,
    open_time_ms: IntArray,
    days: IntArray,
    timezone: str,
) -> dict[str, list[Period]]:
    """The periods of a run, in order of time; all days of the span are there, also those without trades.

    Parameters
    ----------
    trades, exit_rows : closed trades, and the bar in which each closed
    equity, held : marked equity and buy-and-hold at each close; both stood at `start` before the first bar
    days : the trading day of each bar in `timezone`
    """
    if not len(equity):
        return {period: [] for period in PERIODS}
    ends = last_of_each_day(days)
    zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
    dates = [datetime.fromtimestamp(int(open_time_ms[row]) // 1_000, tz=zone).date() for row in ends]
    day_of_trade = np.searchsorted(ends, exit_rows)
    marked = np.concatenate([[start], equity[ends]])
    benchmark = None if held is None else np.concatenate([[start], held[ends]])
    found: dict[str, list[Period]] = {}
    for period in PERIODS:
        names = [_NAMES[period](day) for day in dates]
        firsts = [place for place, name in enumerate(names) if place == 0 or name != names[place - 1]]
        rows = []
        for first, stop in zip(firsts, [*firsts[1:], len(names)], strict=True):
            inside = trades[(day_of_trade >= first) & (day_of_trade < stop)]
            invested, pnl = quote(inside, "invested_e8"), quote(inside, "pnl_e8")
            bars = equity[0 if first == 0 else int(ends[first - 1]) + 1 : int(ends[stop - 1]) + 1]
            rows.append(
                Period(
                    name=names[first],
                    first_day=dates[first],
                    last_day=dates[stop - 1],
                    equity_final=float(marked[stop]),
                    pnl_marked_quote=float(marked[stop] - marked[first]),
                    return_marked=float(marked[stop] / marked[first] - 1.0),
                    max_drawdown=max_drawdown(bars, float(marked[first])),
                    n_trades=len(inside),
                    n_won=int((inside["pnl_e8"] > 0).sum()),
                    pnl_closed_quote=pnl,
                    invested_quote=invested,
                    return_closed=pnl / invested if invested else None,
                    fees_quote=quote(inside, "fee_e8"),
                    slippage_quote=quote(inside, "slippage_e8"),
                    return_buy_and_hold=(
                        None if benchmark is None else float(benchmark[stop] / benchmark[first] - 1.0)
                    ),
                )
            )
        found[period] = rows
    return found


def _week(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


_NAMES: dict[str, Callable[[date], str]] = {
    "day": date.isoformat,
    "week": _week,
    "month": lambda day: f"{day:%Y-%m}",
}
