"""Price channels: two parallel lines through the confirmed pivots of the last bars."""

from dataclasses import dataclass

import numpy as np

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.features.kernels import compiled
from crypto_tracker.strategies.pivots import mark_pivots

WINDOW = 96  # bars that the fit looks at, the present one included
SPAN = 5  # bars on each side that a pivot stands out from; also the lag until it counts
TOUCH_TOLERANCE = 0.15  # of the width: a pivot this near to its line touches it
HORIZONTAL_DRIFT = 0.5  # of the width: a channel that moves less over the window is horizontal
MIN_PIVOTS = 2  # on each side; below that there is no channel

HORIZONTAL, ASCENDING, DESCENDING = 0.0, 1.0, -1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChannelFit:
    """The channel of every symbol as seen at every bar; arrays (bars, symbols).

    Where the bars suffice but no channel can be drawn, touches are 0 and the rest is NaN; where the bars do
    not suffice, everything is NaN.

    Attributes
    ----------
    upper, lower : the two lines at this bar, quote currency
    slope : quote currency per bar, of both lines
    strength : 0 to 1, see `fit_channel`
    touches_upper, touches_lower : pivots that touch their line
    direction : HORIZONTAL, ASCENDING or DESCENDING
    """

    upper: FloatArray
    lower: FloatArray
    slope: FloatArray
    strength: FloatArray
    touches_upper: FloatArray
    touches_lower: FloatArray
    direction: FloatArray


@compiled
def _fit_column(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    window: int,
    span: int,
    tolerance: float,
    drift_limit: float,
    min_pivots: int,
) -> FloatArray:
    """Fit one symbol's bars without holes: (7, bars), in the order of the fields of `ChannelFit`."""
    n = len(close)
    out = np.full((7, n), np.nan)
    tops = np.flatnonzero(mark_pivots(high, span))
    bottoms = np.flatnonzero(mark_pivots(-low, span))
    top_a = top_b = bottom_a = bottom_b = 0
    for t in range(window - 1 + span, n):
        first = t - window + 1
        last = t - span  # a later pivot is not confirmed yet
        while top_b < len(tops) and tops[top_b] <= last:
            top_b += 1
        while bottom_b < len(bottoms) and bottoms[bottom_b] <= last:
            bottom_b += 1
        while top_a < top_b and tops[top_a] < first:
            top_a += 1
        while bottom_a < bottom_b and bottoms[bottom_a] < first:
            bottom_a += 1
        n_top = top_b - top_a
        n_bottom = bottom_b - bottom_a
        out[4, t] = 0.0
        out[5, t] = 0.0
        if n_top < min_pivots or n_bottom < min_pivots:
            continue
        # Every sum starts anew, with bar t as the origin of time and price: the last bits depend on
        # nothing before the window.
        origin = close[t]
        x_top = y_top = x_bottom = y_bottom = 0.0
        for p in range(top_a, top_b):
            x_top += tops[p] - t
            y_top += high[tops[p]] - origin
        for p in range(bottom_a, bottom_b):
            x_bottom += bottoms[p] - t
            y_bottom += low[bottoms[p]] - origin
        x_top /= n_top
        y_top /= n_top
        x_bottom /= n_bottom
        y_bottom /= n_bottom
        sxx = sxy = 0.0
        for p in range(top_a, top_b):
            dx = tops[p] - t - x_top
            sxx += dx * dx
            sxy += dx * (high[tops[p]] - origin - y_top)
        for p in range(bottom_a, bottom_b):
            dx = bottoms[p] - t - x_bottom
            sxx += dx * dx
            sxy += dx * (low[bottoms[p]] - origin - y_bottom)
        slope = sxy / sxx  # two pivots of one kind never share a bar, so sxx > 0
        mean_upper = y_top - slope * x_top
        mean_lower = y_bottom - slope * x_bottom
        gap = mean_upper - mean_lower
        if not gap > 0.0:
            continue
        # The channel's lines are the fitted ones moved out to the outermost pivot of their side.
        upper = -np.inf
        lower = np.inf
        residual = 0.0
        for p in range(top_a, top_b):
            level = high[tops[p]] - origin - slope * (tops[p] - t)
            upper = max(upper, level)
            residual += (level - mean_upper) * (level - mean_upper)
        for p in range(bottom_a, bottom_b):
            level = low[bottoms[p]] - origin - slope * (bottoms[p] - t)
            lower = min(lower, level)
            residual += (level - mean_lower) * (level - mean_lower)
        width = upper - lower
        touches_top = touches_bottom = 0
        for p in range(top_a, top_b):
            if upper - (high[tops[p]] - origin - slope * (tops[p] - t)) <= tolerance * width:
                touches_top += 1
        for p in range(bottom_a, bottom_b):
            if (low[bottoms[p]] - origin - slope * (bottoms[p] - t)) - lower <= tolerance * width:
                touches_bottom += 1
        scatter = residual / (n_top + n_bottom - 3)  # two levels and one slope were fitted
        half = 0.25 * gap * gap
        drift = slope * (window - 1)
        out[0, t] = origin + upper
        out[1, t] = origin + lower
        out[2, t] = slope
        out[3, t] = half / (half + scatter)
        out[4, t] = touches_top
        out[5, t] = touches_bottom
        out[6, t] = 0.0 if abs(drift) <= drift_limit * width else (1.0 if drift > 0.0 else -1.0)
    return out


def fit_channel(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    *,
    window: int = WINDOW,
    span: int = SPAN,
    touch_tolerance: float = TOUCH_TOLERANCE,
) -> ChannelFit:
    """Fit two parallel lines to the confirmed pivots of the last `window` present bars, at every bar.

    Row t uses pivot highs and lows at bars t - window + 1 .. t - span (see `pivots`). One least-squares
    regression with a common slope and two levels, one for the highs and one for the lows, gives the slope.
    The upper line is the fitted upper one moved out to the outermost pivot high, the lower line likewise:
    what a person draws along the tops and the bottoms. With g the distance of the two fitted levels and s2
    the residual variance (residual sum of squares over number of pivots less 3, one for each number
    fitted):

        strength = (g^2 / 4) / (g^2 / 4 + s2)

    the share of the zigzag's variance, once the slope is taken off, that two levels explain. A noiseless
    channel has strength 1. (g^2 / 4 is the variance of points that lie half on one level and half on the
    other.)

    A pivot touches its line when it is at most `touch_tolerance` x the width away from it. A channel whose
    lines move by at most HORIZONTAL_DRIFT x the width over the window is horizontal.

    Arrays are (bars, symbols), prices in quote currency, NaN where a bar is missing (it is skipped).
    Nothing is known until window + span bars exist; there is no channel where a side has fewer than two
    pivots, or where the fitted levels cross.
    """
    out = np.full((7, close.shape[1], close.shape[0]), np.nan)
    for column in range(close.shape[1]):
        rows = np.flatnonzero(
            ~(np.isnan(high[:, column]) | np.isnan(low[:, column]) | np.isnan(close[:, column]))
        )
        h, lo, c = (np.ascontiguousarray(values[rows, column]) for values in (high, low, close))
        out[:, column, rows] = _fit_column(
            h, lo, c, window, span, touch_tolerance, HORIZONTAL_DRIFT, MIN_PIVOTS
        )
    upper, lower, slope, strength, touches_upper, touches_lower, direction = (values.T for values in out)
    return ChannelFit(
        upper=upper,
        lower=lower,
        slope=slope,
        strength=strength,
        touches_upper=touches_upper,
        touches_lower=touches_lower,
        direction=direction,
    )
