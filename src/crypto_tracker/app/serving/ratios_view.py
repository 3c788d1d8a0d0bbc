"""Figures of the daily equity of a book; accounts and recorded runs share it."""

from math import sqrt

from crypto_tracker.app.serving.equity_levels import EquityLevels
from crypto_tracker.app.serving.trade_columns import Totals
from crypto_tracker.core.money import QUOTE_SCALE
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS
from crypto_tracker.desk.views.accounts import Ratios
from crypto_tracker.simulation.metrics import YEAR_DAYS
from crypto_tracker.simulation.performance import cagr, sortino, volatility
from crypto_tracker.simulation.statistics import sharpe_ratio


def ratios_view(
    levels: EquityLevels, closed: Totals, *, timezone: str, start_ms: int, market_change: float | None
) -> Ratios:
    """The figures as `backtest` defines them (docs/figures.md); what does not exist yet is null."""
    returns = levels.daily(timezone).returns
    ratio = sharpe_ratio(returns)
    until_ms = int(levels.time_ms[-1]) + MINUTE_MS if len(levels) else start_ms
    years = (until_ms - start_ms) / (YEAR_DAYS * DAY_MS)
    growth = cagr(levels.last_e8 / levels.capital_e8, years)
    fall, lost = levels.max_drawdown, -closed.loss_e8
    return Ratios(
        days=len(returns),
        sharpe=None if ratio is None else ratio * sqrt(YEAR_DAYS),
        sortino=sortino(returns),
        calmar=growth / fall if growth is not None and fall > 0.0 else None,
        volatility=volatility(returns),
        profit_factor=closed.gain_e8 / lost if lost else None,
        expectancy_quote=closed.pnl_e8 / QUOTE_SCALE / closed.trades if closed.trades else None,
        market_change=market_change,
    )
