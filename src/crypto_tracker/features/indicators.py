"""Indicators over whole panels: arrays (bars, symbols) in, arrays of the same shape out.

All of them share these rules:

- A bar is *present* where all inputs of the indicator are numbers. An indicator runs over the present bars of
  each symbol in sequence; a missing bar (NaN) has no value, moves nothing, and spoils no later value.
- "The last n bars" are the bar itself and the n - 1 present bars before it.
- A value is NaN until its window is full, and where its formula divides by zero (a flat market has no RSI).
- Row t reads rows up to t. Each column is computed alone, so neither later rows nor other symbols can change
  a bit of it. No function of the system's mathematics library is used but the exactly rounded square root,
  so the bits are the same on every machine.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.features import kernels

RSI_SCALE = 100.0
STOCHASTIC_SCALE = 100.0


class Macd(NamedTuple):
    """Moving average convergence and divergence, in quote currency."""

    line: FloatArray
    signal: FloatArray
    histogram: FloatArray


class Bollinger(NamedTuple):
    """Bollinger bands: three levels in quote currency, the width and the place of the close as fractions."""

    middle: FloatArray
    upper: FloatArray
    lower: FloatArray
    width: FloatArray
    position: FloatArray


class Stochastic(NamedTuple):
    """Slow stochastic, 0 to 100."""

    k: FloatArray
    d: FloatArray


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """`numerator / denominator`, NaN where the denominator is 0."""
    out = np.full(numerator.shape, np.nan, order="F")
    np.divide(numerator, denominator, out=out, where=denominator != 0.0)
    return out


def change(value: FloatArray, base: FloatArray) -> FloatArray:
    """`value / base - 1`: how far the value lies above the base, as a fraction; NaN where the base is 0."""
    return ratio(value, base) - 1.0


def previous(values: FloatArray, *, bars: int) -> FloatArray:
    """The value `bars` present bars earlier.

    >>> previous(np.array([[1.0], [np.nan], [2.0], [3.0]]), bars=1).ravel().tolist()
    [nan, nan, 1.0, 2.0]
    """
    _check_window("bars", bars)

    def shifted(sequence: FloatArray) -> FloatArray:
        out = np.full(len(sequence), np.nan)
        out[bars:] = sequence[:-bars]
        return out

    return _by_column(shifted, values)


def rolling_sum(values: FloatArray, *, window: int) -> FloatArray:
    """Sum of the last `window` bars, in the unit of the values."""
    _check_window("window", window)
    return _by_column(lambda sequence: kernels.rolling_sum(sequence, window), values)


def rolling_mean(values: FloatArray, *, window: int) -> FloatArray:
    """Plain mean of the last `window` bars (SMA), in the unit of the values."""
    return rolling_sum(values, window=window) / window


def rolling_max(values: FloatArray, *, window: int) -> FloatArray:
    """Greatest value of the last `window` bars, the current one included."""
    _check_window("window", window)
    return _by_column(lambda sequence: kernels.rolling_max(sequence, window), values)


def rolling_min(values: FloatArray, *, window: int) -> FloatArray:
    """Smallest value of the last `window` bars, the current one included."""
    _check_window("window", window)
    return _by_column(lambda sequence: -kernels.rolling_max(-sequence, window), values)


def rolling_std(values: FloatArray, *, window: int) -> FloatArray:
    """Population standard deviation (divided by n) of the last `window` bars; 0 where all are equal."""
    _check_window("window", window)
    return _by_column(lambda sequence: kernels.rolling_std(sequence, window), values)


def ema(values: FloatArray, *, window: int) -> FloatArray:
    """Exponential mean with weight 2 / (window + 1), begun with the plain mean of the first `window` bars.

    >>> ema(np.array([[1.0], [3.0], [5.0], [4.0]]), window=3).ravel().tolist()
    [nan, nan, 3.0, 3.5]
    """
    _check_window("window", window)
    return _by_column(lambda sequence: kernels.ema(sequence, window), values)


def rsi(close: FloatArray, *, window: int) -> FloatArray:
    """Wilder's relative strength index, 0 to 100; the first value is at bar `window + 1`.

    100 x mean gain / (mean gain + mean loss), gains and losses from close to close, both means Wilder's
    (weight 1 / window, begun with the plain mean of the first `window` changes). NaN while nothing has moved.
    Source: J. W. Wilder, New Concepts in Technical Trading Systems, 1978.
    """
    _check_window("window", window)

    def strength(sequence: FloatArray) -> FloatArray:
        out = np.full(len(sequence), np.nan)
        moved = np.diff(sequence)
        gain = kernels.wilder(np.maximum(moved, 0.0), window)
        loss = kernels.wilder(np.maximum(-moved, 0.0), window)
        out[1:] = RSI_SCALE * ratio(gain, gain + loss)
        return out

    return _by_column(strength, close)


def macd(close: FloatArray, *, fast: int, slow: int, signal: int) -> Macd:
    """EMA(fast) - EMA(slow) of the close; its EMA(signal); and line less signal. In quote currency.

    Each mean begins with the plain mean of its own first items. Source: G. Appel, 1979.
    """
    line = ema(close, window=fast) - ema(close, window=slow)
    smoothed = ema(line, window=signal)
    return Macd(line, smoothed, line - smoothed)


def bollinger(close: FloatArray, *, window: int, deviations: float) -> Bollinger:
    """Bands `deviations` population standard deviations around the plain mean of the last `window` closes.

    width = (upper - lower) / middle; position = (close - lower) / (upper - lower), 0 on the lower and 1 on
    the upper band, beyond them where the close is; NaN where the bands have no width. Source: J. Bollinger,
    Bollinger on Bollinger Bands, 2001.
    """
    middle = rolling_mean(close, window=window)
    reach = deviations * rolling_std(close, window=window)
    upper = middle + reach
    lower = middle - reach
    return Bollinger(middle, upper, lower, ratio(2.0 * reach, middle), ratio(close - lower, 2.0 * reach))


def roc(close: FloatArray, *, window: int) -> FloatArray:
    """Rate of change: close over the close `window` present bars earlier, less 1, as a fraction."""
    return change(close, previous(close, bars=window))


def stochastic(
    high: FloatArray, low: FloatArray, close: FloatArray, *, window: int, smooth_k: int, smooth_d: int
) -> Stochastic:
    """Slow stochastic, 0 to 100: place of the close between the extremes of the last `window` bars.

    raw = 100 x (close - lowest low) / (highest high - lowest low), NaN where nothing moved; k is the plain
    mean of the last `smooth_k` raw values, d that of the last `smooth_d` values of k. Source: G. Lane, 1984.
    """
    _check_window("window", window)

    def place(highs: FloatArray, lows: FloatArray, closes: FloatArray) -> FloatArray:
        highest = kernels.rolling_max(highs, window)
        lowest = -kernels.rolling_max(-lows, window)
        return STOCHASTIC_SCALE * ratio(closes - lowest, highest - lowest)

    raw = _by_column(place, high, low, close)
    k = rolling_mean(raw, window=smooth_k)
    return Stochastic(k, rolling_mean(k, window=smooth_d))


def atr(high: FloatArray, low: FloatArray, close: FloatArray, *, window: int) -> FloatArray:
    """Wilder's average true range, in quote currency; the first value is at bar `window + 1`.

    True range = max(high, previous close) - min(low, previous close); its Wilder mean, begun with the plain
    mean of the first `window` true ranges. Source: J. W. Wilder, New Concepts in Technical Trading Systems,
    1978.
    """
    _check_window("window", window)

    def mean_range(highs: FloatArray, lows: FloatArray, closes: FloatArray) -> FloatArray:
        out = np.full(len(closes), np.nan)
        true_range = np.maximum(highs[1:], closes[:-1]) - np.minimum(lows[1:], closes[:-1])
        out[1:] = kernels.wilder(true_range, window)
        return out

    return _by_column(mean_range, high, low, close)


def support(low: FloatArray, *, window: int) -> FloatArray:
    """Lowest low of the `window` bars before the current one: a level that the current bar can break."""
    return previous(rolling_min(low, window=window), bars=1)


def resistance(high: FloatArray, *, window: int) -> FloatArray:
    """Highest high of the `window` bars before the current one: a level that the current bar can break."""
    return previous(rolling_max(high, window=window), bars=1)


def realised_volatility(close: FloatArray, *, window: int, bars_per_day: int) -> FloatArray:
    """Population standard deviation of the last `window` bar returns, scaled to one day, as a fraction.

    A bar return is close over the close of the present bar before, less 1; the scale is sqrt(bars_per_day).
    The first value is at bar `window + 1`.
    """
    _check_window("window", window)
    scale = float(np.sqrt(bars_per_day))

    def deviation(sequence: FloatArray) -> FloatArray:
        out = np.full(len(sequence), np.nan)
        out[1:] = scale * kernels.rolling_std(_returns(sequence), window)
        return out

    return _by_column(deviation, close)


def correlation(close: FloatArray, other_close: FloatArray, *, window: int) -> FloatArray:
    """Pearson correlation of the last `window` bar returns of two prices, -1 to 1.

    Bars count where both are present, so that both returns always span the same time. The first value is at
    the bar `window + 1` that both have; NaN while one of them is flat.
    """
    _check_window("window", window)

    def together(sequence: FloatArray, other: FloatArray) -> FloatArray:
        out = np.full(len(sequence), np.nan)
        out[1:] = kernels.rolling_correlation(_returns(sequence), _returns(other), window)
        return out

    return _by_column(together, close, other_close)


def _returns(sequence: FloatArray) -> FloatArray:
    return sequence[1:] / sequence[:-1] - 1.0


def _check_window(name: str, bars: int) -> None:
    if bars < 1:
        raise UsageError(f"{name} is {bars}: an indicator looks at one bar or more")


def _by_column(indicator: Callable[..., FloatArray], *inputs: FloatArray) -> FloatArray:
    """Run `indicator` over the present bars of each column and put its values back into their rows."""
    shape = inputs[0].shape
    if len(shape) != 2 or any(values.shape != shape for values in inputs):
        found = ", ".join(str(values.shape) for values in inputs)
        raise DataError(f"indicators take arrays (bars, symbols) of one shape, got {found}")
    out = np.full(shape, np.nan, order="F")
    for column in range(shape[1]):
        sequences = [np.ascontiguousarray(values[:, column], dtype=np.float64) for values in inputs]
        present = ~np.isnan(sequences[0])
        for sequence in sequences[1:]:
            present &= ~np.isnan(sequence)
        if present.all():
            out[:, column] = indicator(*sequences)
        elif present.any():
            out[present, column] = indicator(*(sequence[present] for sequence in sequences))
    return out
