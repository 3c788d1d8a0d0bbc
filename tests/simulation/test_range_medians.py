"""R7: the median bar range of the days before a decision, by hand."""

from datetime import UTC, datetime

import numpy as np
import pytest

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, Timeframe, to_ms
from crypto_tracker.simulation.backtest import range_medians
from crypto_tracker.strategies.base import SETUP_DTYPE

FIRST_MS = to_ms(datetime(2025, 8, 1, tzinfo=UTC))


def history(*ranges: tuple[float, ...]) -> Panel:
    """Hourly bars from 1 August, low 100; the days' ranges as fractions, one number for each symbol."""
    high = np.repeat(100.0 * (1.0 + np.array(ranges)), 24, axis=0)
    low = np.where(np.isnan(high), np.nan, 100.0)
    return Panel(
        timeframe=Timeframe.H1,
        symbols=tuple(Symbol(base, "USD") for base in ("BTC", "ETH")[: high.shape[1]]),
        open_time_ms=FIRST_MS + np.arange(len(high)) * HOUR_MS,
        open=low,
        high=high,
        low=low,
        close=low,
        volume=low,
        covered=np.ones(high.shape, dtype=np.bool_),
    )


def medians(panel: Panel, days: int, *decisions: tuple[float, int]) -> list[float]:
    """For decisions as (day of August, symbol); 4.5 is noon of the fourth."""
    setups = np.zeros(len(decisions), dtype=SETUP_DTYPE)
    for setup, (day, symbol) in zip(setups, decisions, strict=True):
        setup["time_ms"], setup["symbol"] = FIRST_MS + round((day - 1) * DAY_MS), symbol
    return range_medians(panel, setups, days).tolist()


def test_the_median_is_that_of_the_whole_days_before_the_day_of_the_decision():
    panel = history((0.01,), (0.02,), (0.05,), (0.09,))
    # On the fourth the days 2 and 3 count, half of their bars each: the mean of the two middle ones.
    assert medians(panel, 2, (4.5, 0), (4.99, 0), (3.5, 0)) == pytest.approx([0.035, 0.035, 0.015])
    assert medians(panel, 3, (4.5, 0)) == pytest.approx([0.02])


def test_a_decision_at_midnight_belongs_to_the_day_that_begins():
    panel = history((0.01,), (0.02,), (0.05,))
    assert medians(panel, 1, (3.0, 0), (3.0 - 1 / 24, 0)) == pytest.approx([0.02, 0.01])


def test_each_symbol_has_its_own_and_the_order_of_setups_is_kept():
    panel = history((0.01, 0.03), (0.02, 0.04))
    assert medians(panel, 1, (2.5, 1), (2.5, 0), (3.0, 1), (2.7, 1)) == pytest.approx(
        [0.03, 0.01, 0.04, 0.03]
    )


def test_missing_bars_are_left_out_and_without_any_it_is_unknown():
    nan = float("nan")
    panel = history((0.01, nan), (nan, nan), (0.05, 0.02))
    assert medians(panel, 2, (3.5, 0)) == pytest.approx([0.01])
    assert np.isnan(medians(panel, 2, (3.5, 1), (1.5, 0))).all()
    assert medians(panel, 2) == []
