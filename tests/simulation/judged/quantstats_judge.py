"""Figures of a series defined by a formula, as quantstats computes them.

Run by hand, in an environment of its own (quantstats is no dependency of ours):

    pip install quantstats==0.0.86
    python tests/simulation/judged/quantstats_judge.py > tests/simulation/judged/quantstats.json
"""

import json
import sys
from math import cos, sin

DAYS = 400
YEAR = 365


def daily_return(day: int) -> float:
    """Some trend, some waves, a few big losses; nothing happens on every ninth day."""
    if day % 9 == 0:
        return 0.0
    return 0.0012 + 0.012 * sin(1.7 * day) + 0.008 * cos(0.3 * day * day) - (0.05 if day % 83 == 0 else 0.0)


def main() -> None:
    # Here, so that tests may take the formula from this file without having quantstats.
    import pandas as pd
    import quantstats
    from quantstats import stats

    returns = pd.Series(
        [daily_return(day) for day in range(DAYS)],
        index=pd.date_range("2024-01-01", periods=DAYS, freq="D"),
    )
    found = {
        "sharpe": stats.sharpe(returns, periods=YEAR),
        "sortino": stats.sortino(returns, periods=YEAR),
        "volatility": stats.volatility(returns, periods=YEAR),
        "cagr": stats.cagr(returns, periods=YEAR),
        "calmar": stats.calmar(returns, periods=YEAR),
        "max_drawdown": stats.max_drawdown(returns),
        "omega": stats.omega(returns, periods=YEAR),
        "return_net": stats.comp(returns),
        "best_day": stats.best(returns),
        "worst_day": stats.worst(returns),
        "probabilistic_sharpe": stats.probabilistic_sharpe_ratio(returns, periods=YEAR),
        "skew": returns.skew(),
        "excess_kurtosis": returns.kurtosis(),
        "kelly": stats.kelly_criterion(returns),
        "profit_factor": stats.profit_factor(returns),
        "payoff_ratio": stats.payoff_ratio(returns),
        "win_rate": stats.win_rate(returns),
        "streak_won": stats.consecutive_wins(returns),
        "streak_lost": stats.consecutive_losses(returns),
    }
    details = stats.drawdown_details(stats.to_drawdown_series(returns))
    found["longest_drawdown_days"] = int(details["days"].max())
    json.dump(
        {
            "quantstats": quantstats.__version__,
            "pandas": pd.__version__,
            "days": DAYS,
            "figures": {name: float(value) for name, value in found.items()},
        },
        sys.stdout,
        indent=2,
    )
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
