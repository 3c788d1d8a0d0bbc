"""Each indicator against hand-computed numbers, slow loops, and two libraries that know nothing of ours."""

import numpy as np
import pytest
import talib
import talipp.indicators as oracle
from talipp.ohlcv import OHLCV

from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.features import indicators
from tests.features import slow
from tests.features.drawn import BTC, ETH, SOL, random_walk, same_bits, utc

NAN = float("nan")


def column(*values):
    return np.array(values, dtype=float)[:, None]


def listed(array):
    return slow.from_column(array[:, 0])


@pytest.fixture(scope="module")
def bars():
    """600 bars of three symbols, one in ten missing."""
    return random_walk(
        Timeframe.M15, utc(2025, 3, 1), utc(2025, 3, 7, 6), (BTC, ETH, SOL), seed=7, missing=0.1
    )


def check(quick, formula, *inputs, rtol=1e-12, atol=0.0):
    """Every column of `quick` is what the slow formula says, and missing exactly where it says so."""
    assert quick.shape == inputs[0].shape
    for number in range(quick.shape[1]):
        expected = formula(*(slow.from_column(values[:, number]) for values in inputs))
        as_floats = np.array([NAN if value is None else value for value in expected])
        assert np.isfinite(as_floats).sum() > 100, "the comparison would be empty"
        np.testing.assert_allclose(quick[:, number], as_floats, rtol=rtol, atol=atol)


# ------------------------------------------------------------------------------- by hand


def test_a_mean_of_three_bars_begins_at_the_third():
    assert listed(indicators.rolling_mean(column(3, 6, 9, 0), window=3)) == [None, None, 6.0, 5.0]


def test_a_missing_bar_has_no_mean_and_is_passed_over_by_the_next():
    assert listed(indicators.rolling_mean(column(3, NAN, 6, 9), window=2)) == [None, None, 4.5, 7.5]


def test_the_highest_and_lowest_of_two_bars_include_the_current_one():
    assert listed(indicators.rolling_max(column(3, 6, 9, 0), window=2)) == [None, 6, 9, 9]
    assert listed(indicators.rolling_min(column(3, 6, 9, 0), window=2)) == [None, 3, 6, 0]


def test_resistance_is_the_highest_high_before_the_current_bar_so_that_it_can_be_broken():
    high = column(10, 12, 11, 50)
    assert listed(indicators.resistance(high, window=2)) == [None, None, 12, 12]


def test_support_is_the_lowest_low_before_the_current_bar():
    low = column(10, 8, 9, 1)
    assert listed(indicators.support(low, window=2)) == [None, None, 8, 8]


def test_the_deviation_of_2_4_4_4_5_5_7_9_is_2():
    assert listed(indicators.rolling_std(column(2, 4, 4, 4, 5, 5, 7, 9), window=8))[-1] == 2.0


def test_rsi_of_two_gains_of_one_and_one_loss_of_one():
    # Changes +1, -1, +1: mean gain of the first two 0.5, then (0.5 + 1) / 2; mean loss 0.5, then 0.25.
    assert listed(indicators.rsi(column(10, 11, 10, 11), window=2)) == [None, None, 50.0, 75.0]


def test_a_market_that_only_rises_has_an_rsi_of_100_and_one_that_only_falls_of_0():
    rising = column(*range(1, 20))
    assert listed(indicators.rsi(rising, window=14))[-1] == 100.0
    assert listed(indicators.rsi(rising[::-1], window=14))[-1] == 0.0


def test_a_flat_market_has_no_rsi_no_stochastic_and_no_place_between_its_bands():
    flat = column(*[7.3] * 60)
    bands = indicators.bollinger(flat, window=20, deviations=2)
    assert np.isnan(indicators.rsi(flat, window=14)).all()
    assert np.isnan(indicators.stochastic(flat, flat, flat, window=14, smooth_k=3, smooth_d=3).k).all()
    assert np.isnan(bands.position).all()
    assert (bands.width[19:] == 0.0).all()
    assert np.isnan(indicators.correlation(flat, column(*range(1, 61)), window=10)).all()


def test_the_band_position_is_0_on_the_lower_and_1_on_the_upper_band():
    # 1, 3: mean 2, deviation 1; one deviation: bands 1 and 3.
    bands = indicators.bollinger(column(1, 3, 1), window=2, deviations=1)
    assert listed(bands.position) == [None, 1.0, 0.0]
    assert listed(bands.width) == [None, 1.0, 1.0]


def test_the_rate_of_change_is_a_fraction():
    assert listed(indicators.roc(column(100, 90, 110), window=2))[-1] == pytest.approx(0.1, rel=1e-15)


def test_the_true_range_reaches_to_the_close_before():
    # Bar 2 lies wholly above the close of bar 1: its true range is 14 - 9 = 5, bar 3: 14 - 11 = 3.
    high, low, close = column(10, 14, 14), column(8, 12, 11), column(9, 13, 12)
    assert listed(indicators.atr(high, low, close, window=2)) == [None, None, 4.0]


def test_two_coins_that_move_alike_are_correlated_by_exactly_1(bars):
    close = bars.close[:, :1]
    values = indicators.correlation(close, close, window=50)
    assert set(values[~np.isnan(values)]) == {1.0}


def test_a_huge_volume_that_has_left_the_window_leaves_no_trace():
    quiet = [1e-3, 2e-3, 3e-3] * 20
    sums = listed(indicators.rolling_sum(column(*quiet, 1e15, *quiet), window=3))
    assert sums[-1] == pytest.approx(6e-3, rel=1e-15)
    assert listed(indicators.rolling_std(column(*[5.0] * 40, 1e15, *[5.0] * 40), window=8))[-1] == 0.0


def test_a_division_by_nothing_has_no_value():
    assert np.isnan(indicators.ratio(column(1.0), column(0.0))).all()
    assert np.isnan(indicators.ratio(column(0.0), column(0.0))).all()


def test_a_window_of_no_bars_is_refused():
    with pytest.raises(UsageError, match="window is 0"):
        indicators.rolling_mean(column(1, 2), window=0)


def test_arrays_of_different_shapes_are_refused():
    with pytest.raises(DataError, match=r"one shape, got \(2, 1\), \(3, 1\)"):
        indicators.correlation(column(1, 2), column(1, 2, 3), window=2)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_bars_have_no_value_rather_than_an_error(count):
    few = np.full((count, 2), 5.0)
    assert np.isnan(indicators.rsi(few, window=14)).all()
    assert np.isnan(indicators.atr(few, few, few, window=14)).all()
    assert np.isnan(indicators.realised_volatility(few, window=14, bars_per_day=96)).all()
    assert np.isnan(indicators.correlation(few, few, window=14)).all()
    assert indicators.macd(few, fast=12, slow=26, signal=9).line.shape == (count, 2)


# ------------------------------------------------------------------- against slow loops
#
# The quick code adds in another order than the loops, and the loops add without rounding (fsum), so values agree
# to 1e-12 of their size. Deviations of prices subtract means of 100 from each other to find numbers near 0.5, so
# they, and what is divided by them, agree to 1e-10.


@pytest.mark.parametrize("window", [1, 2, 3, 20, 96, 200])
def test_rolling_values_are_those_of_slow_loops(bars, window):
    check(indicators.rolling_sum(bars.volume, window=window), lambda v: slow.total(v, window), bars.volume)
    check(indicators.rolling_mean(bars.close, window=window), lambda v: slow.mean(v, window), bars.close)
    check(
        indicators.rolling_max(bars.high, window=window), lambda v: slow.highest(v, window), bars.high, rtol=0
    )
    check(indicators.rolling_min(bars.low, window=window), lambda v: slow.lowest(v, window), bars.low, rtol=0)
    check(
        indicators.rolling_std(bars.close, window=window),
        lambda v: slow.deviation(v, window),
        bars.close,
        rtol=1e-10,
    )


@pytest.mark.parametrize("window", [1, 2, 12, 26, 200])
def test_exponential_means_are_those_of_slow_loops(bars, window):
    check(indicators.ema(bars.close, window=window), lambda v: slow.exponential(v, window), bars.close)


@pytest.mark.parametrize("window", [1, 2, 14])
def test_rsi_and_atr_are_those_of_slow_loops(bars, window):
    check(indicators.rsi(bars.close, window=window), lambda v: slow.rsi(v, window), bars.close)
    check(
        indicators.atr(bars.high, bars.low, bars.close, window=window),
        lambda h, low, c: slow.atr(h, low, c, window),
        bars.high,
        bars.low,
        bars.close,
    )


def test_macd_is_that_of_slow_loops(bars):
    found = indicators.macd(bars.close, fast=12, slow=26, signal=9)
    for position, values in enumerate(found):
        # A difference of two prices near 100: 1e-12 of the price is the rounding of both.
        check(values, lambda v, p=position: slow.macd(v, 12, 26, 9)[p], bars.close, rtol=0, atol=1e-10)


def test_bands_are_those_of_slow_loops(bars):
    found = indicators.bollinger(bars.close, window=20, deviations=2)
    check(found.width, lambda v: slow.bands(v, 20, 2)[0], bars.close, rtol=1e-10)
    check(found.position, lambda v: slow.bands(v, 20, 2)[1], bars.close, rtol=1e-10, atol=1e-10)


def test_the_stochastic_is_that_of_slow_loops(bars):
    inputs = (bars.high, bars.low, bars.close)
    found = indicators.stochastic(*inputs, window=14, smooth_k=3, smooth_d=3)
    check(found.k, lambda *v: slow.stochastic(*v, 14, 3, 3)[0], *inputs)
    check(found.d, lambda *v: slow.stochastic(*v, 14, 3, 3)[1], *inputs)


def test_volatility_and_correlation_are_those_of_slow_loops(bars):
    check(
        indicators.realised_volatility(bars.close, window=96, bars_per_day=96),
        lambda v: slow.volatility(v, 96, 96),
        bars.close,
    )
    other = bars.close[:, [1, 2, 0]]
    check(
        indicators.correlation(bars.close, other, window=150),
        lambda a, b: slow.correlation(a, b, 150),
        bars.close,
        other,
        rtol=1e-11,
        atol=1e-13,
    )


# ------------------------------------------------------------------ against two libraries


@pytest.fixture(scope="module")
def whole_bars():
    """1,000 bars without a gap: talipp and TA-Lib know no missing bars."""
    return random_walk(Timeframe.M15, utc(2025, 3, 1), utc(2025, 3, 11, 10), (BTC,), seed=11)


def as_talipp(values, part=None):
    out = [value if part is None or value is None else getattr(value, part) for value in values]
    return np.array([NAN if value is None else float(value) for value in out])


def ohlcv(bars):
    rows = zip(bars.open[:, 0], bars.high[:, 0], bars.low[:, 0], bars.close[:, 0], strict=True)
    return [OHLCV(float(o), float(h), float(low), float(c)) for o, h, low, c in rows]


def test_talipp_agrees_on_means_rsi_and_bands(whole_bars):
    close = whole_bars.close
    plain = [float(value) for value in close[:, 0]]
    for found, theirs in (
        (indicators.rolling_mean(close, window=20), as_talipp(oracle.SMA(20, plain))),
        (indicators.ema(close, window=20), as_talipp(oracle.EMA(20, plain))),
        (indicators.ema(close, window=200), as_talipp(oracle.EMA(200, plain))),
        (indicators.rsi(close, window=14), as_talipp(oracle.RSI(14, plain))),
    ):
        np.testing.assert_allclose(found[:, 0], theirs, rtol=1e-10)
    bands = indicators.bollinger(close, window=20, deviations=2)
    theirs = oracle.BB(20, 2, plain)
    np.testing.assert_allclose(bands.upper[:, 0], as_talipp(theirs, "ub"), rtol=1e-10)
    np.testing.assert_allclose(bands.lower[:, 0], as_talipp(theirs, "lb"), rtol=1e-10)


def test_talipp_agrees_on_macd(whole_bars):
    found = indicators.macd(whole_bars.close, fast=12, slow=26, signal=9)
    theirs = oracle.MACD(12, 26, 9, [float(value) for value in whole_bars.close[:, 0]])
    np.testing.assert_allclose(found.line[:, 0], as_talipp(theirs, "macd"), rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.signal[:, 0], as_talipp(theirs, "signal"), rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.histogram[:, 0], as_talipp(theirs, "histogram"), rtol=0, atol=1e-9)


def test_talipp_agrees_on_the_range_once_its_other_beginning_has_faded(whole_bars):
    # talipp counts the first bar's high - low as a true range; ours begins at the second bar, as Wilder's does.
    found = indicators.atr(whole_bars.high, whole_bars.low, whole_bars.close, window=14)
    theirs = as_talipp(oracle.ATR(14, ohlcv(whole_bars)))
    np.testing.assert_allclose(found[500:, 0], theirs[500:], rtol=1e-10)


def test_talipp_agrees_on_the_stochastic(whole_bars):
    # talipp's own Stoch is the fast one: its d, the mean of 3, is the k of the slow one.
    found = indicators.stochastic(
        whole_bars.high, whole_bars.low, whole_bars.close, window=14, smooth_k=3, smooth_d=3
    )
    theirs = oracle.Stoch(14, 3, ohlcv(whole_bars))
    np.testing.assert_allclose(found.k[:, 0], as_talipp(theirs, "d"), rtol=1e-10)


def test_talib_agrees_where_no_bar_is_missing(whole_bars):
    high, low, close = (
        np.ascontiguousarray(a[:, 0]) for a in (whole_bars.high, whole_bars.low, whole_bars.close)
    )
    panel = (whole_bars.high, whole_bars.low, whole_bars.close)
    stochastic = indicators.stochastic(*panel, window=14, smooth_k=3, smooth_d=3)
    talib_k, talib_d = talib.STOCH(high, low, close, 14, 3, 0, 3, 0)
    for found, theirs, first in (
        (indicators.ema(whole_bars.close, window=50), talib.EMA(close, 50), 0),
        (indicators.rsi(whole_bars.close, window=14), talib.RSI(close, 14), 0),
        (indicators.atr(*panel, window=14), talib.ATR(high, low, close, 14), 0),
        (indicators.rolling_mean(whole_bars.close, window=200), talib.SMA(close, 200), 0),
        # TA-Lib gives both lines of the slow stochastic only from the first bar that has both.
        (stochastic.k, talib_k, 17),
        (stochastic.d, talib_d, 0),
    ):
        np.testing.assert_allclose(found[first:, 0], theirs[first:], rtol=1e-10)
    # TA-Lib begins the fast mean of its MACD later than at the fast mean's own first bars; this fades.
    line, signal, _ = talib.MACD(close, 12, 26, 9)
    ours = indicators.macd(whole_bars.close, fast=12, slow=26, signal=9)
    np.testing.assert_allclose(ours.line[300:, 0], line[300:], rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.signal[300:, 0], signal[300:], rtol=0, atol=1e-9)


# ------------------------------------------------------------------------------- bits


ALL = {
    "sum": lambda p: indicators.rolling_sum(p.volume, window=20),
    "max": lambda p: indicators.rolling_max(p.high, window=20),
    "min": lambda p: indicators.rolling_min(p.low, window=20),
    "std": lambda p: indicators.rolling_std(p.close, window=20),
    "ema": lambda p: indicators.ema(p.close, window=20),
    "rsi": lambda p: indicators.rsi(p.close, window=14),
    "macd": lambda p: indicators.macd(p.close, fast=12, slow=26, signal=9).histogram,
    "bands": lambda p: indicators.bollinger(p.close, window=20, deviations=2).position,
    "roc": lambda p: indicators.roc(p.close, window=10),
    "stochastic": lambda p: (
        indicators.stochastic(p.high, p.low, p.close, window=14, smooth_k=3, smooth_d=3).d
    ),
    "atr": lambda p: indicators.atr(p.high, p.low, p.close, window=14),
    "support": lambda p: indicators.support(p.low, window=20),
    "resistance": lambda p: indicators.resistance(p.high, window=20),
    "volatility": lambda p: indicators.realised_volatility(p.close, window=96, bars_per_day=96),
    "correlation": lambda p: indicators.correlation(p.close, p.open, window=96),
}


@pytest.mark.parametrize("name", ALL)
def test_a_value_has_the_same_bits_alone_and_among_other_symbols(bars, name):
    whole = ALL[name](bars)
    for number, symbol in enumerate(bars.symbols):
        assert same_bits(ALL[name](bars.select([symbol]))[:, 0], whole[:, number])


@pytest.mark.parametrize("name", ALL)
def test_a_value_has_the_same_bits_wherever_the_panel_ends(bars, name):
    whole = ALL[name](bars)
    for end in (97, 98, 99, 250, 251, 600):
        assert same_bits(ALL[name](bars.rows(0, end)), whole[:end])


@pytest.mark.parametrize("name", ALL)
def test_a_missing_bar_stays_missing_and_later_values_are_those_of_a_market_without_that_row(bars, name):
    whole = ALL[name](bars.select([BTC]))
    present = bars.present[:, 0]
    assert np.isnan(whole[~present]).all()

    class Closed:
        """The present bars only, one after the other."""

        open, high, low, close, volume = (
            getattr(bars, field)[present][:, :1] for field in ("open", "high", "low", "close", "volume")
        )

    assert same_bits(ALL[name](Closed), whole[present])
    assert np.isfinite(whole[present][200:]).all(), "a gap has poisoned what came after it"
