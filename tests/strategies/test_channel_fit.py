"""The channel fit: exact on drawn channels, equal to a slow loop on random ones, blind to what is not confirmed."""

import numpy as np
import pytest

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.strategies.channel_fit import (
    ASCENDING,
    DESCENDING,
    HORIZONTAL,
    SPAN,
    TOUCH_TOLERANCE,
    WINDOW,
    ChannelFit,
    fit_channel,
)
from crypto_tracker.strategies.pivots import mark_pivots
from tests.strategies.slow_channel import channel_at, pivot_highs

FIELDS = ("upper", "lower", "slope", "strength", "touches_upper", "touches_lower")


def zigzag(
    bars: int, *, low: float = 100.0, height: float = 4.0, period: int = 24, drift: float = 0.0
) -> FloatArray:
    """A wave between two parallel lines: bottoms at multiples of the period, tops half way."""
    t = np.arange(bars)
    phase = t % period
    rise = np.minimum(phase, period - phase) / (period / 2)
    return (low + height * rise + drift * t)[:, None]


def fitted(close: FloatArray) -> ChannelFit:
    return fit_channel(close, close, close)


@pytest.mark.parametrize(
    ("drift", "direction"), [(0.0, HORIZONTAL), (0.05, ASCENDING), (-0.05, DESCENDING), (0.01, HORIZONTAL)]
)
def test_a_noiseless_channel_is_found_exactly(drift: float, direction: float):
    close = zigzag(145, drift=drift)
    fit = fitted(close)
    t = 144  # a bottom
    assert fit.slope[t, 0] == pytest.approx(drift, abs=1e-12)
    assert fit.lower[t, 0] == pytest.approx(100.0 + drift * t)
    assert fit.upper[t, 0] == pytest.approx(104.0 + drift * t)
    assert fit.strength[t, 0] == pytest.approx(1.0)
    # tops at 60, 84, 108, 132, bottoms at 72, 96, 120; the bottom at 144 is not confirmed yet
    assert (fit.touches_upper[t, 0], fit.touches_lower[t, 0]) == (4, 3)
    # over 95 bars a drift of 0.01 moves 0.95, less than half of the width of 4
    assert fit.direction[t, 0] == direction


def test_a_pivot_counts_from_the_bar_that_confirms_it_and_not_before():
    close = zigzag(160)
    touches = fitted(close).touches_lower[:, 0]
    # the bottom at 144 is confirmed by the five bars after it
    assert (touches[148], touches[149]) == (3, 4)


def test_an_outlier_moves_the_line_out_and_leaves_one_touch():
    close = zigzag(145)
    close[108, 0] = 106.0
    fit = fitted(close)
    assert fit.upper[144, 0] > 105.5
    assert fit.touches_upper[144, 0] == 1
    assert fit.strength[144, 0] < 0.95


def test_strength_by_hand():
    # tops 104, 104, 102, 102 at one end and the other would tilt the line; symmetric ones do not:
    # 102, 104, 104, 102 around the middle, bottoms at 100
    close = zigzag(145)
    for bar, top in ((60, 102.0), (132, 102.0)):
        for offset in range(-11, 12):
            share = 1 - abs(offset) / 12
            close[bar + offset, 0] = 100 + (top - 100) * share
    fit = fitted(close)
    # levels 103 and 100: gap 3; residuals +-1 for the tops, 0 for the bottoms; 7 pivots less 3
    assert fit.slope[144, 0] == pytest.approx(0.0, abs=1e-12)
    assert fit.strength[144, 0] == pytest.approx((9 / 4) / (9 / 4 + 4 / 4))
    assert fit.upper[144, 0] == pytest.approx(104.0)


def test_without_two_pivots_on_each_side_there_is_no_channel_but_the_bars_suffice():
    rising = np.linspace(100.0, 200.0, 130)[:, None]
    fit = fitted(rising)
    assert np.isnan(fit.strength).all()
    assert np.isnan(fit.touches_upper[: WINDOW - 1 + SPAN]).all()
    assert (fit.touches_upper[WINDOW - 1 + SPAN :] == 0).all()


@pytest.mark.parametrize("seed", range(6))
def test_every_bar_of_a_random_market_agrees_with_the_slow_loop(seed: int):
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0, 0.004, 260)))
    high = close * (1 + rng.exponential(0.002, 260))
    low = close * (1 - rng.uniform(0, 0.004, 260))
    if seed % 2:  # prices on a coarse grid, so that equal highs occur
        close, high, low = (np.round(v, 0) for v in (close, high, low))
    fit = fit_channel(high[:, None], low[:, None], close[:, None])
    compared = 0
    for t in range(WINDOW - 1 + SPAN, 260):
        expected = channel_at(
            high.tolist(), low.tolist(), t, window=WINDOW, span=SPAN, tolerance=TOUCH_TOLERANCE
        )
        if expected is None:
            assert np.isnan(fit.strength[t, 0])
            continue
        compared += 1
        for name in FIELDS:
            assert getattr(fit, name)[t, 0] == pytest.approx(expected[name], rel=1e-9, abs=1e-9), (name, t)
    assert compared > 100


def test_a_channel_depends_on_its_window_alone_to_the_last_bit():
    rng = np.random.default_rng(11)
    close = (100.0 * np.exp(np.cumsum(rng.normal(0, 0.004, 700))))[:, None]
    whole = fitted(close)
    late = fitted(np.asfortranarray(close[400:]))
    known = WINDOW + 2 * SPAN  # the declared warm-up
    for name in (*FIELDS, "direction"):
        np.testing.assert_array_equal(getattr(whole, name)[400 + known :], getattr(late, name)[known:])


def test_missing_bars_are_skipped_and_each_symbol_is_alone():
    close = zigzag(145, drift=0.03)
    gapped = np.full((290, 2), np.nan)
    gapped[::2, 0] = close[:, 0]  # every second bar is missing
    gapped[145:, 1] = close[:, 0]  # a late listing
    fit, alone = fitted(gapped), fitted(close)
    np.testing.assert_array_equal(fit.upper[::2, 0], alone.upper[:, 0])
    np.testing.assert_array_equal(fit.upper[145:, 1], alone.upper[:, 0])
    assert np.isnan(fit.upper[1::2, 0]).all()


def test_prices_doubled_double_the_lines_and_change_nothing_else():
    rng = np.random.default_rng(3)
    close = (100.0 * np.exp(np.cumsum(rng.normal(0, 0.01, 300))))[:, None]
    one, two = fitted(close), fitted(2.0 * close)
    for name in ("upper", "lower", "slope"):
        np.testing.assert_array_equal(2.0 * getattr(one, name), getattr(two, name))
    for name in ("strength", "touches_upper", "touches_lower", "direction"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize("seed", range(5))
def test_pivots_agree_with_their_definition(seed: int):
    values = np.random.default_rng(seed).integers(0, 12, 200).astype(np.float64)
    assert np.flatnonzero(mark_pivots(values, 3)).tolist() == pivot_highs(values.tolist(), 3)
