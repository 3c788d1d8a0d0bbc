"""Chart patterns that precede a breakout: bull flag, cup and handle, ascending triangle.

Each is found at the bar that *breaks out* of it, from that bar and those before, and stays in view for the
MEMORY bars after, while the close holds above the level that was broken. Pivots count only once confirmed.
All lengths are bars, all other numbers fractions, so prices may be scaled at will. The definitions are also
written out in docs/strategies/swing.md.
"""

from dataclasses import dataclass

import numpy as np

from crypto_tracker.core.arrays import BoolArray, FloatArray
from crypto_tracker.features.kernels import compiled
from crypto_tracker.strategies.pivots import mark_pivots

SPAN = 3  # bars on each side that a pivot stands out from; also the lag until it counts
MEMORY = 4  # bars, the breaking one included, for which a pattern stays in view

POLE_BARS = 12  # a pole rises within this many bars
POLE_RISE = 0.03  # from its lowest low to its highest high
FLAG_BARS_MIN = 5
FLAG_BARS_MAX = 20
FLAG_RETRACEMENT_MAX = 0.5  # of the pole, down to the flag's lowest low

CUP_WINDOW = 96  # both rims lie within this many bars
CUP_BARS_MIN = 20  # from rim to rim
CUP_RIM_DIFFERENCE = 0.015  # of the rims' prices
CUP_DEPTH_MIN = 0.02
CUP_DEPTH_MAX = 0.30
CUP_BOTTOM_SHARE = 0.55  # of its closes lie in its lower half: of a pointed cup it would be half
HANDLE_BARS_MAX = 24
HANDLE_RETRACEMENT_MAX = 0.5  # of the cup's depth

TRIANGLE_WINDOW = 60
TRIANGLE_BARS_MIN = 12  # from the first top to the break
TRIANGLE_TOP_DIFFERENCE = 0.006  # between tops that are level
TRIANGLE_HEIGHT_MIN = 0.01  # of the top, at the first low
TRIANGLE_HEIGHT_MAX = 0.15

WARMUP = CUP_WINDOW + SPAN + MEMORY  # bars before all three can be judged


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patterns:
    """Which patterns are in view; bool (bars, symbols)."""

    bull_flag: BoolArray
    cup_and_handle: BoolArray
    ascending_triangle: BoolArray


@compiled
def bull_flag_levels(high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray) -> FloatArray:
    """The level broken out of at bars that break a bull flag, NaN elsewhere; one symbol, (bars,).

    With t the breaking bar: the pole's top p is the highest high of the bars t - FLAG_BARS_MAX - 1 .. t - 1
    (of equals the last), and lies FLAG_BARS_MIN bars or more before the bar t - 1. The pole's foot is the
    lowest low of the POLE_BARS bars before p, and the rise from foot to top is POLE_RISE or more. The flag
    is what lies between p and t: its lowest low gives back at most FLAG_RETRACEMENT_MAX of the pole, its
    closes do not rise (least squares), and its mean volume is below the pole's. Bar t closes above the
    flag's highest high, which is the level; bar t - 1 lies in the flag and so can not have closed above it.
    """
    n = len(close)
    levels = np.full(n, np.nan)
    for t in range(FLAG_BARS_MAX + POLE_BARS + 1, n):
        broken = True  # these bars lie in every flag
        for i in range(t - 1, t - FLAG_BARS_MIN - 1, -1):
            if not close[t] > high[i]:
                broken = False
                break
        if not broken:
            continue
        top = t - 1
        for i in range(t - 2, t - FLAG_BARS_MAX - 2, -1):
            if high[i] > high[top]:
                top = i
        count = t - 1 - top
        if count < FLAG_BARS_MIN:
            continue
        level = high[top + 1]
        bottom = low[top + 1]
        for i in range(top + 2, t):
            level = max(level, high[i])
            bottom = min(bottom, low[i])
        if not close[t] > level:
            continue
        foot = top
        for i in range(top - POLE_BARS, top):
            if low[i] < low[foot]:
                foot = i
        pole = high[top] - low[foot]
        if foot == top or pole < POLE_RISE * low[foot] or high[top] - bottom > FLAG_RETRACEMENT_MAX * pole:
            continue
        slope = 0.0
        flag_volume = 0.0
        middle = 0.5 * (count - 1)
        for k in range(count):
            slope += (k - middle) * (close[top + 1 + k] - close[t - 1])
            flag_volume += volume[top + 1 + k]
        pole_volume = 0.0
        for i in range(foot, top + 1):
            pole_volume += volume[i]
        if slope <= 0.0 and flag_volume / count < pole_volume / (top + 1 - foot):
            levels[t] = level
    return levels


@compiled
def cup_and_handle_levels(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """The level broken out of at bars that break a cup with a handle, NaN elsewhere; one symbol, (bars,).

    Both rims are confirmed pivot highs within the last CUP_WINDOW bars, CUP_BARS_MIN or more apart, their
    prices at most CUP_RIM_DIFFERENCE apart; no high between them is above both. The cup's depth, from the
    lower rim to the lowest low between, is CUP_DEPTH_MIN to CUP_DEPTH_MAX of that rim; the lowest low lies
    in the middle half of the cup, and CUP_BOTTOM_SHARE or more of the closes between lie in the lower half
    of the depth. The handle is what lies after the right rim, at most HANDLE_BARS_MAX bars: it gives back
    at most HANDLE_RETRACEMENT_MAX of the depth and no close of it is above the higher rim. Bar t closes
    above the higher rim, which is the level.
    """
    n = len(close)
    levels = np.full(n, np.nan)
    rims = np.flatnonzero(mark_pivots(high, SPAN))
    first = end = 0
    for t in range(CUP_WINDOW, n):
        while end < len(rims) and rims[end] <= t - SPAN:
            end += 1
        while first < end and rims[first] <= t - CUP_WINDOW:
            first += 1
        found = False
        for r in range(end - 1, first, -1):
            right = rims[r]
            if t - 1 - right > HANDLE_BARS_MAX or found:
                break
            if not close[t] > high[right]:
                continue
            for q in range(r - 1, first - 1, -1):
                left = rims[q]
                rim = min(high[left], high[right])
                level = max(high[left], high[right])
                if right - left < CUP_BARS_MIN or level - rim > CUP_RIM_DIFFERENCE * rim or close[t] <= level:
                    continue
                bottom = left + 1
                highest = high[left + 1]
                for i in range(left + 1, right):
                    highest = max(highest, high[i])
                    if low[i] < low[bottom]:
                        bottom = i
                depth = rim - low[bottom]
                if highest > level or depth < CUP_DEPTH_MIN * rim or depth > CUP_DEPTH_MAX * rim:
                    continue
                quarter = 0.25 * (right - left)
                if bottom < left + quarter or bottom > right - quarter:
                    continue
                deep = 0
                for i in range(left + 1, right):
                    if close[i] <= rim - 0.5 * depth:
                        deep += 1
                if deep < CUP_BOTTOM_SHARE * (right - left - 1):
                    continue
                holds = True
                for i in range(right + 1, t):
                    if close[i] > level or high[right] - low[i] > HANDLE_RETRACEMENT_MAX * depth:
                        holds = False
                        break
                if holds:
                    levels[t] = level
                    found = True
                    break
    return levels


@compiled
def ascending_triangle_levels(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """The level broken out of at bars that break an ascending triangle, NaN elsewhere; one symbol, (bars,).

    The level is the highest confirmed pivot high of the last TRIANGLE_WINDOW bars. The first top is the
    earliest pivot high there that is at most TRIANGLE_TOP_DIFFERENCE below the level; at least one other
    such pivot follows, and the break is TRIANGLE_BARS_MIN bars or more after the first. Since the first top
    there are two or more confirmed pivot lows, each above the one before; the first lies
    TRIANGLE_HEIGHT_MIN to TRIANGLE_HEIGHT_MAX of the level below it. No bar since the first top closed
    above the level, until bar t does.
    """
    n = len(close)
    levels = np.full(n, np.nan)
    tops = np.flatnonzero(mark_pivots(high, SPAN))
    bottoms = np.flatnonzero(mark_pivots(-low, SPAN))
    top_a = top_b = low_a = low_b = 0
    for t in range(TRIANGLE_WINDOW, n):
        while top_b < len(tops) and tops[top_b] <= t - SPAN:
            top_b += 1
        while low_b < len(bottoms) and bottoms[low_b] <= t - SPAN:
            low_b += 1
        while top_a < top_b and tops[top_a] <= t - TRIANGLE_WINDOW:
            top_a += 1
        if top_b - top_a < 2:
            continue
        level = high[tops[top_a]]
        for p in range(top_a + 1, top_b):
            level = max(level, high[tops[p]])
        if not close[t] > level:
            continue
        first = -1
        touches = 0
        for p in range(top_a, top_b):
            if level - high[tops[p]] <= TRIANGLE_TOP_DIFFERENCE * level:
                touches += 1
                if first < 0:
                    first = tops[p]
        if touches < 2 or t - first < TRIANGLE_BARS_MIN:
            continue
        while low_a < low_b and bottoms[low_a] <= t - TRIANGLE_WINDOW:
            low_a += 1
        lowest = np.nan
        before = np.nan
        count = 0
        rising = True
        for p in range(low_a, low_b):
            if bottoms[p] < first:
                continue
            value = low[bottoms[p]]
            if count == 0:
                lowest = value
            elif value <= before:
                rising = False
                break
            before = value
            count += 1
        if not rising or count < 2:
            continue
        height = level - lowest
        if height < TRIANGLE_HEIGHT_MIN * level or height > TRIANGLE_HEIGHT_MAX * level:
            continue
        holds = True
        for i in range(first, t):
            if close[i] > level:
                holds = False
                break
        if holds:
            levels[t] = level
    return levels


@compiled
def in_view(levels: FloatArray, close: FloatArray) -> BoolArray:
    """Where a pattern broke within the last MEMORY bars and all closes since are above its level."""
    seen = np.zeros(len(close), np.bool_)
    for t in range(len(close)):
        if np.isnan(levels[t]):
            continue
        for i in range(t, min(t + MEMORY, len(close))):
            if not close[i] > levels[t]:
                break
            seen[i] = True
    return seen


def find_patterns(high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray) -> Patterns:
    """All three patterns over whole panels.

    Arrays are (bars, symbols), prices in quote currency, NaN where a bar is missing (it is skipped). A bar
    whose volume is unknown makes no bull flag.
    """
    found = [np.zeros(close.shape, np.bool_, order="F") for _ in range(3)]
    for column in range(close.shape[1]):
        rows = np.flatnonzero(~np.isnan(high[:, column] + low[:, column] + close[:, column]))
        h, lo, c, v = (np.ascontiguousarray(values[rows, column]) for values in (high, low, close, volume))
        levels = (
            bull_flag_levels(h, lo, c, v),
            cup_and_handle_levels(h, lo, c),
            ascending_triangle_levels(h, lo, c),
        )
        for marks, level in zip(found, levels, strict=True):
            marks[rows, column] = in_view(level, c)
    return Patterns(bull_flag=found[0], cup_and_handle=found[1], ascending_triangle=found[2])
