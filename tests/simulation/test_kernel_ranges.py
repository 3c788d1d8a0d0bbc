"""The median bar range of the days before a decision (R7)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, Timeframe
from crypto_tracker.simulation.kernel_ranges import range_medians
from crypto_tracker.strategies.base import SETUP_DTYPE


def _hours(lows: np.ndarray, highs: np.ndarray, start_ms: int = 0) -> Panel:
    """Hourly bars of as many symbols as there are columns; NaN is a missing bar."""
    low, high = np.asfortranarray(lows), np.asfortranarray(highs)
    return Panel(
        timeframe=Timeframe.H1,
        symbols=tuple(Symbol(f"C{column}", "USD") for column in range(low.shape[1])),
        open_time_ms=start_ms + np.arange(len(low)) * HOUR_MS,
        open=low,
        high=high,
        low=low,
        close=high,
        volume=np.ones_like(low, order="F"),
        covered=np.ones(low.shape, dtype=np.bool_, order="F"),
    )


def _decided(*moments: tuple[int, int]) -> np.ndarray:
    """Setups by (time, symbol)."""
    setups = np.zeros(len(moments), dtype=SETUP_DTYPE)
    for row, (time_ms, symbol) in enumerate(moments):
        setups[row]["time_ms"], setups[row]["symbol"] = time_ms, symbol
    return setups


def test_the_median_is_of_the_whole_days_before_the_decision_and_of_nothing_else() -> None:
    """Day 0 moves by 1 %, day 1 by 2 %, day 2 by 9 %; decided at noon of day 2 only days 0 and 1 count."""
    low = np.full((72, 1), 100.0)
    high = low * np.repeat([1.01, 1.02, 1.09], 24)[:, None]
    noon = 2 * DAY_MS + 12 * HOUR_MS
    both = range_medians(_hours(low, high), _decided((noon, 0)), days=30)
    last = range_medians(_hours(low, high), _decided((noon, 0)), days=1)
    np.testing.assert_allclose(both, [0.015], rtol=1e-12)  # 24 of each: the mean of the two in the middle
    np.testing.assert_allclose(last, [0.02], rtol=1e-12)


def test_a_decision_at_midnight_sees_the_day_that_just_ended() -> None:
    low = np.full((48, 1), 100.0)
    high = low * np.repeat([1.01, 1.03], 24)[:, None]
    found = range_medians(_hours(low, high), _decided((2 * DAY_MS, 0)), days=1)
    np.testing.assert_allclose(found, [0.03], rtol=1e-12)


def test_without_a_bar_in_those_days_the_median_is_unknown() -> None:
    low = np.full((48, 1), np.nan)
    low[24:] = 100.0
    found = range_medians(_hours(low, low * 1.01), _decided((DAY_MS + HOUR_MS, 0), (0, 0)), days=30)
    assert np.isnan(found).all()


@given(
    seed=st.integers(0, 2**32 - 1),
    days=st.integers(1, 5),
    missing=st.sampled_from([0.0, 0.3, 0.97]),
    step=st.sampled_from([0.0, 0.001]),
)
def test_medians_equal_those_of_a_full_sort_bit_for_bit(
    seed: int, days: int, missing: float, step: float
) -> None:
    """`step` rounds ranges so that equal ones are frequent; the span begins within a day."""
    random = np.random.default_rng(seed)
    bars, start = 24 * 7 + 5, 5 * HOUR_MS
    low = random.uniform(50.0, 60.0, (bars, 2))
    moved = random.exponential(0.002, (bars, 2))
    high = low * (1.0 + (np.round(moved / step) * step if step else moved))
    low[random.random((bars, 2)) < missing] = np.nan
    panel = _hours(low, high, start)
    moments = [
        (int(t), int(s))
        for t, s in zip(random.integers(0, 9 * DAY_MS, 20), random.integers(0, 2, 20), strict=True)
    ]
    found = range_medians(panel, _decided(*moments), days)
    for (time_ms, symbol), median in zip(moments, found, strict=True):
        day = time_ms // DAY_MS
        inside = (panel.open_time_ms >= (day - days) * DAY_MS) & (panel.open_time_ms < day * DAY_MS)
        ranges = ((high - low) / low)[inside, symbol]
        ranges = ranges[~np.isnan(ranges)]
        expected = np.median(ranges) if len(ranges) else np.nan
        np.testing.assert_array_equal(median, expected)
