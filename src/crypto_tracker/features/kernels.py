"""The compiled loops below the indicators: one gap-free sequence in, one value for each item out.

Every loop runs forward and writes item i from items up to i, so a later item cannot reach back. Windows are
kept without subtracting what leaves them: the sequence is cut into stretches of one window, and each window
is the rest of one stretch (summed backwards, once, when the stretch is full) and the beginning of the next.
That is one pass whatever the window, and a huge value that has left the window leaves no rounding error
behind, as it would in a running sum.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
from numba import njit

from crypto_tracker.core.arrays import FloatArray, RecordArray

_Function = TypeVar("_Function", bound=Callable[..., RecordArray])


def compiled(function: _Function) -> _Function:
    """Compile at the first call and keep the result on disk; the type stays that of the Python function."""
    return cast(_Function, njit(cache=True, nogil=True, error_model="numpy")(function))


@compiled
def rolling_sum(values: FloatArray, window: int) -> FloatArray:
    """Sum of the last `window` items, NaN until there are as many."""
    out = np.full(len(values), np.nan)
    rest = np.zeros(window)  # rest[j]: sum of the items j .. window - 1 of the stretch before
    begun = 0.0
    for i in range(len(values)):
        j = i % window
        if j == 0:
            if i >= window:
                total = 0.0
                for k in range(window - 1, -1, -1):
                    total += values[i - window + k]
                    rest[k] = total
            begun = 0.0
        begun += values[i]
        if j == window - 1:
            out[i] = begun
        elif i >= window:
            out[i] = rest[j + 1] + begun
    return out


@compiled
def rolling_max(values: FloatArray, window: int) -> FloatArray:
    """Greatest of the last `window` items, NaN until there are as many."""
    out = np.full(len(values), np.nan)
    rest = np.zeros(window)  # rest[j]: greatest of the items j .. window - 1 of the stretch before
    begun = -np.inf
    for i in range(len(values)):
        j = i % window
        if j == 0:
            if i >= window:
                greatest = -np.inf
                for k in range(window - 1, -1, -1):
                    greatest = max(greatest, values[i - window + k])
                    rest[k] = greatest
            begun = -np.inf
        begun = max(begun, values[i])
        if j == window - 1:
            out[i] = begun
        elif i >= window:
            out[i] = max(rest[j + 1], begun)
    return out


@compiled
def rolling_std(values: FloatArray, window: int) -> FloatArray:
    """Population standard deviation of the last `window` items, NaN until there are as many.

    Means and squared deviations of the two parts of each window are accumulated by Welford's recurrence and
    joined by the formula of Chan, Golub and LeVeque (1979): exactly 0 for equal items, no cancellation.
    """
    out = np.full(len(values), np.nan)
    rest_mean = np.zeros(window)
    rest_squares = np.zeros(window)
    mean = 0.0
    squares = 0.0
    for i in range(len(values)):
        j = i % window
        if j == 0:
            if i >= window:
                mean = 0.0
                squares = 0.0
                for k in range(window - 1, -1, -1):
                    difference = values[i - window + k] - mean
                    mean += difference / (window - k)
                    squares += difference * (values[i - window + k] - mean)
                    rest_mean[k] = mean
                    rest_squares[k] = squares
            mean = 0.0
            squares = 0.0
        difference = values[i] - mean
        mean += difference / (j + 1)
        squares += difference * (values[i] - mean)
        if j == window - 1:
            out[i] = np.sqrt(squares / window)
        elif i >= window:
            between = mean - rest_mean[j + 1]
            joined = (
                rest_squares[j + 1] + squares + between * between * ((window - 1.0 - j) * (j + 1.0) / window)
            )
            out[i] = np.sqrt(joined / window)
    return out


@compiled
def rolling_correlation(left: FloatArray, right: FloatArray, window: int) -> FloatArray:
    """Pearson correlation of the last `window` pairs, NaN until there are as many, and while one is flat."""
    out = np.full(len(left), np.nan)
    rest = np.zeros((window, 5))  # mean left, mean right, squares left, squares right, products
    mean_left = mean_right = squares_left = squares_right = products = 0.0
    for i in range(len(left)):
        j = i % window
        if j == 0:
            if i >= window:
                mean_left = mean_right = squares_left = squares_right = products = 0.0
                for k in range(window - 1, -1, -1):
                    x = left[i - window + k] - mean_left
                    y = right[i - window + k] - mean_right
                    mean_left += x / (window - k)
                    mean_right += y / (window - k)
                    squares_left += x * (left[i - window + k] - mean_left)
                    squares_right += y * (right[i - window + k] - mean_right)
                    products += x * (right[i - window + k] - mean_right)
                    rest[k, 0] = mean_left
                    rest[k, 1] = mean_right
                    rest[k, 2] = squares_left
                    rest[k, 3] = squares_right
                    rest[k, 4] = products
            mean_left = mean_right = squares_left = squares_right = products = 0.0
        x = left[i] - mean_left
        y = right[i] - mean_right
        mean_left += x / (j + 1)
        mean_right += y / (j + 1)
        squares_left += x * (left[i] - mean_left)
        squares_right += y * (right[i] - mean_right)
        products += x * (right[i] - mean_right)
        if i < window - 1:
            continue
        if j == window - 1:
            all_left, all_right, all_products = squares_left, squares_right, products
        else:
            weight = (window - 1.0 - j) * (j + 1.0) / window
            between_left = mean_left - rest[j + 1, 0]
            between_right = mean_right - rest[j + 1, 1]
            all_left = rest[j + 1, 2] + squares_left + between_left * between_left * weight
            all_right = rest[j + 1, 3] + squares_right + between_right * between_right * weight
            all_products = rest[j + 1, 4] + products + between_left * between_right * weight
        if all_left > 0.0 and all_right > 0.0:
            raw = all_products / np.sqrt(all_left * all_right)
            out[i] = min(1.0, max(-1.0, raw))
    return out


@compiled
def ema(values: FloatArray, window: int) -> FloatArray:
    """Exponential mean, weight 2 / (window + 1), begun with the plain mean of the first `window` items."""
    out = np.full(len(values), np.nan)
    if len(values) < window:
        return out
    total = 0.0
    for i in range(window):
        total += values[i]
    weight = 2.0 / (window + 1.0)
    level = total / window
    out[window - 1] = level
    for i in range(window, len(values)):
        level += (values[i] - level) * weight
        out[i] = level
    return out


@compiled
def wilder(values: FloatArray, window: int) -> FloatArray:
    """Wilder's mean, weight 1 / window, begun with the plain mean of the first `window` items."""
    out = np.full(len(values), np.nan)
    if len(values) < window:
        return out
    total = 0.0
    for i in range(window):
        total += values[i]
    level = total / window
    out[window - 1] = level
    for i in range(window, len(values)):
        level = (level * (window - 1.0) + values[i]) / window
        out[i] = level
    return out
