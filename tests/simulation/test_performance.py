"""Performance and drawdown of a curve: by hand, and against quantstats on a series defined by a formula."""

import json
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, from_ms, to_ms
from crypto_tracker.simulation.metrics import max_drawdown
from crypto_tracker.simulation.performance import (
    Performance,
    cagr,
    drawdown,
    omega,
    performance,
    sortino,
    sqn,
    volatility,
)
from crypto_tracker.simulation.statistics import probabilistic_sharpe_of_moments, sharpe_ratio
from crypto_tracker.simulation.trade_figures import kelly, trade_figures
from tests.simulation.hand_made_run import Rows, closed_with
from tests.simulation.judged.quantstats_judge import DAYS, daily_return

JUDGED = json.loads((Path(__file__).parent / "judged" / "quantstats.json").read_text(encoding="utf-8"))
START_MS = to_ms(datetime(2024, 1, 1, tzinfo=UTC))


def daily(*equity: float, start: float = 100.0) -> Performance:
    """The performance of a curve with one close a day."""
    return performance(
        np.array(equity),
        start,
        START_MS + (1 + np.arange(len(equity), dtype=np.int64)) * DAY_MS,
        START_MS,
        np.arange(len(equity)),
    )


# -------------------------------------------------------------------------------------- by hand


def test_a_year_of_365_days_that_gains_a_tenth_has_a_cagr_of_a_tenth():
    found = daily(*np.linspace(100.0, 110.0, 366)[1:])
    assert found.days == 365
    assert found.return_net == found.return_annual == pytest.approx(0.1)
    assert found.cagr == pytest.approx(0.1)
    assert (found.equity_final, found.pnl_quote) == (110.0, 10.0)


def test_half_a_year_counts_twice_simply_and_squared_compounded():
    found = daily(*np.linspace(100.0, 110.0, 74)[1:])  # 73 days are a fifth of a year
    assert found.return_annual == pytest.approx(0.5)
    assert found.cagr == pytest.approx(1.1**5 - 1.0)


def test_growth_that_no_float_can_hold_is_no_figure():
    assert cagr(3.0, 1e-4) is None
    assert cagr(1.1, 0.0) is None
    assert cagr(0.0, 1.0) == -1.0


def test_ratios_of_two_days():
    # +10 % and -5 %: mean 2.5 %; deviation 0.15 / sqrt(2); downside sqrt(0.05^2 / 2).
    returns = np.array([0.10, -0.05])
    assert volatility(returns) == pytest.approx(0.15 / sqrt(2.0) * sqrt(365))
    assert sortino(returns) == pytest.approx(0.025 / (0.05 / sqrt(2.0)) * sqrt(365))
    assert omega(returns) == pytest.approx(2.0)
    assert sqn(returns) == pytest.approx(sqrt(2.0) * 0.025 / (0.15 / sqrt(2.0)))


def test_the_published_example_of_the_sortino_ratio():
    """Rollinger, Hoffman, "Sortino: A 'Sharper' Ratio", Red Rock Capital, 2013: eight years, target 0."""
    found = sortino(np.array([0.17, 0.15, 0.23, -0.05, 0.12, 0.09, 0.13, -0.04]))
    assert found is not None
    assert round(found / sqrt(365), 3) == 4.417


def test_the_known_example_of_kelly():
    """Even odds and six wins in ten: a fifth of the capital. Kelly 1956: 2 p - 1."""
    assert kelly(np.array([1.0] * 6 + [-1.0] * 4)) == pytest.approx(0.2)
    assert kelly(np.array([1.0] * 4 + [-1.0] * 6)) == pytest.approx(-0.2)


def test_without_a_losing_day_there_is_no_sortino_no_omega_no_calmar():
    found = daily(101.0, 103.0, 104.0)
    assert found.sortino is found.omega is found.calmar is None
    assert found.drawdown.depth == 0.0
    assert found.drawdown.peak_time is None


def test_a_curve_without_bars_stands_where_it_began():
    found = daily()
    assert (found.return_net, found.days, found.equity_final) == (0.0, 0, 100.0)
    assert found.sharpe is found.cagr is found.best_day is found.return_annual is None


# -------------------------------------------------------------------------------------- drawdown


def of(*equity: float) -> Any:
    times = START_MS + (1 + np.arange(len(equity), dtype=np.int64)) * HOUR_MS
    return drawdown(np.array(equity), 100.0, times, START_MS)


def hour(number: int) -> datetime:
    return from_ms(START_MS + number * HOUR_MS)


def test_a_fall_is_told_from_its_peak_to_its_recovery():
    # Up to 120 at hour 2, down to 90 at hour 4, back at 120 only at hour 6; then a small fall that stays.
    found = of(110.0, 120.0, 100.0, 90.0, 119.0, 120.0, 118.0)
    assert found.depth == 0.25
    assert (found.peak_time, found.trough_time, found.recovered_time) == (hour(2), hour(4), hour(6))
    assert found.days == pytest.approx(4 / 24)
    assert found.longest_days == found.days
    assert found.underwater_share == pytest.approx(4 / 7)


def test_a_fall_that_does_not_recover_lasts_to_the_end():
    found = of(120.0, 60.0, 110.0)
    assert (found.depth, found.recovered_time) == (0.5, None)
    assert found.days == pytest.approx(2 / 24)


def test_the_longest_fall_need_not_be_the_deepest():
    found = of(50.0, 100.0, 99.0, 98.0, 97.0, 99.0, 101.0)
    assert (found.depth, found.peak_time, found.recovered_time) == (0.5, hour(0), hour(2))
    assert found.days == pytest.approx(2 / 24)
    assert found.longest_days == pytest.approx(5 / 24)


def test_of_a_flat_peak_the_last_moment_counts():
    found = of(120.0, 120.0, 60.0)
    assert found.peak_time == hour(2)


@given(st.lists(st.floats(1.0, 1_000.0), min_size=1, max_size=40))
def test_a_drawdown_agrees_with_the_obvious_way_to_find_it(equity: list[float]):
    found = of(*equity)
    curve = [100.0, *equity]
    falls = [1.0 - low / max(curve[: place + 1]) for place, low in enumerate(curve)]
    assert found.depth == pytest.approx(max(falls), abs=1e-12)
    assert found.depth == max_drawdown(np.array(equity), 100.0)
    under = [value < max(curve[: place + 1]) for place, value in enumerate(curve)]
    assert found.underwater_share == pytest.approx(sum(under) / len(equity))
    longest = current = 0
    for place, below in enumerate(under):
        current = current + 1 if below else 0
        # The close that recovers is part of the fall: until it, nobody had the old height.
        longest = max(longest, current + (current > 0 and place + 1 < len(under)))
    assert found.longest_days == pytest.approx(longest / 24)
    if found.recovered_time is not None:
        assert found.peak_time < found.trough_time < found.recovered_time


# ------------------------------------------------------------------------------ against quantstats


@pytest.fixture(scope="module")
def returns() -> Rows:
    return np.array([daily_return(day) for day in range(DAYS)])


@pytest.fixture(scope="module")
def judged(returns: Rows) -> Performance:
    return daily(*(1_000.0 * np.cumprod(1.0 + returns)), start=1_000.0)


@pytest.mark.parametrize(
    "name",
    [
        "sharpe", "sortino", "volatility", "cagr", "calmar", "omega", "return_net", "best_day", "worst_day",
    ],
)  # fmt: skip
def test_figures_of_the_curve_are_those_of_quantstats(judged: Performance, name: str):
    assert JUDGED["days"] == DAYS
    assert getattr(judged, name) == pytest.approx(JUDGED["figures"][name], rel=1e-9)


def test_the_drawdown_is_that_of_quantstats(judged: Performance):
    assert judged.drawdown.depth == pytest.approx(-JUDGED["figures"]["max_drawdown"], rel=1e-9)
    # quantstats counts the days under water; the day on which the height is reached again is one more.
    assert judged.drawdown.longest_days == JUDGED["figures"]["longest_drawdown_days"] + 1


def test_the_probabilistic_sharpe_ratio_is_that_of_quantstats_given_its_moments(
    judged: Performance, returns: Rows
):
    expected = JUDGED["figures"]
    ratio = sharpe_ratio(returns)
    assert ratio is not None
    of_its_moments = probabilistic_sharpe_of_moments(
        ratio, periods=DAYS, skew=expected["skew"], kurt=expected["excess_kurtosis"] + 3.0
    )
    assert of_its_moments == pytest.approx(expected["probabilistic_sharpe"], rel=1e-9)
    # Its moments are corrected for bias, ours are those of the sample, as in the paper.
    assert judged.probabilistic_sharpe == pytest.approx(expected["probabilistic_sharpe"], abs=2e-4)
    assert judged.probabilistic_sharpe != pytest.approx(expected["probabilistic_sharpe"], rel=1e-9)


def test_figures_of_trades_are_those_of_quantstats(returns: Rows):
    """Each return is a trade of 10,000; quantstats leaves out the days on which nothing happened."""
    expected = JUDGED["figures"]
    moved = returns[returns != 0.0]
    found = trade_figures(closed_with(10_000.0 * moved, invested=10_000.0), end_ms=0)
    assert found.kelly == pytest.approx(expected["kelly"], rel=1e-6)
    assert found.profit_factor == pytest.approx(expected["profit_factor"], rel=1e-6)
    assert found.payoff_ratio == pytest.approx(expected["payoff_ratio"], rel=1e-6)
    assert found.win_rate == pytest.approx(expected["win_rate"])
    whole = trade_figures(closed_with(10_000.0 * returns, invested=10_000.0), end_ms=0)
    assert (whole.streak_won, whole.streak_lost) == (expected["streak_won"], expected["streak_lost"])
