"""The equity of a run is kept in stretches: exact at their ends, and nothing lies outside of them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.research.backtest import equity_stretches

MINUTE = 60_000


def stretches(equity: list[int], *, capital: float, most: int) -> list[Any]:
    scenario: Any = SimpleNamespace(
        panel=SimpleNamespace(timeframe=Timeframe.M1, open_time_ms=MINUTE * np.arange(len(equity) + 5)),
        rules=SimpleNamespace(capital_quote=capital),
    )
    result: Any = SimpleNamespace(equity_e8=np.array(equity, dtype=np.int64))
    return equity_stretches(scenario, result, most=most)


def test_two_stretches_of_two_bars_and_one():
    first, second = stretches([9_000_000_000, 12_000_000_000, 6_000_000_000], capital=100.0, most=2)
    assert (first.time_ms, first.equity_e8, first.low_e8, first.high_e8) == (
        MINUTE,
        12_000_000_000,
        9_000_000_000,
        12_000_000_000,
    )
    assert (first.drawdown, second.drawdown) == (0.1, 0.5)  # of the capital, then of the highest point
    assert (second.time_ms, second.low_e8, second.high_e8) == (2 * MINUTE, 6_000_000_000, 6_000_000_000)


def test_a_run_that_was_interrupted_at_once_has_no_equity():
    assert stretches([], capital=100.0, most=10) == []


@pytest.mark.parametrize(("days", "most", "length"), [(3, 40, 120), (3, 3, 1_440), (5, 3, 2 * 1_440)])
def test_days_end_where_a_stretch_ends(days: int, most: int, length: int):
    # 108 minutes would do for 40 stretches; two hours are the next that make a day.
    equity = [10**9 + minute for minute in range(days * 1_440)]
    found = stretches(equity, capital=10.0, most=most)
    ends = [each.time_ms + MINUTE for each in found]
    assert ends[0] == length * MINUTE
    if length <= 1_440:
        assert {day * DAY_MS for day in range(1, days + 1)} <= set(ends)


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=60), st.integers(1, 70))
def test_nothing_of_the_curve_is_lost_but_when(equity, most):
    found = stretches(equity, capital=5_000.0, most=most)
    assert len(found) <= most
    assert found[-1].equity_e8 == equity[-1]
    assert min(each.low_e8 for each in found) == min(equity)
    assert max(each.high_e8 for each in found) == max(equity)
    peak, deepest = 500_000_000_000, 0.0
    for value in equity:
        peak = max(peak, value)
        deepest = max(deepest, (peak - value) / peak)
    assert max(each.drawdown for each in found) == pytest.approx(deepest, abs=1e-15)
