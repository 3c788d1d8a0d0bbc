"""Every formula once more, in plain Python loops over plain lists: the judge of the quick ones.

A list is one symbol's bars in order; None is a missing bar. Nothing here is shared with the code under test.
"""

import itertools
from math import fsum, isnan, sqrt


def from_column(column):
    return [None if isnan(value) else float(value) for value in column]


def over_present(values, formula):
    """Apply a formula for gap-free lists to the present bars, and put its values back into their places."""
    rows = [row for row, value in enumerate(values) if value is not None]
    results = formula([values[row] for row in rows])
    out = [None] * len(values)
    for row, result in zip(rows, results, strict=True):
        out[row] = result
    return out


def together(*lists):
    """Bars that every list has, as tuples."""
    return [None if any(v is None for v in bar) else bar for bar in zip(*lists, strict=True)]


def divided(a, b):
    return None if a is None or b is None or b == 0 else a / b


def windows(values, n, formula):
    """formula(last n values) at each place, None until there are n."""
    return [None if i + 1 < n else formula(values[i + 1 - n : i + 1]) for i in range(len(values))]


def total(values, n):
    return over_present(values, lambda xs: windows(xs, n, fsum))


def mean(values, n):
    return over_present(values, lambda xs: windows(xs, n, lambda w: fsum(w) / n))


def highest(values, n):
    return over_present(values, lambda xs: windows(xs, n, max))


def lowest(values, n):
    return over_present(values, lambda xs: windows(xs, n, min))


def deviation_of(window):
    middle = fsum(window) / len(window)
    return sqrt(fsum((x - middle) ** 2 for x in window) / len(window))


def deviation(values, n):
    return over_present(values, lambda xs: windows(xs, n, deviation_of))


def earlier(values, n):
    return over_present(values, lambda xs: [None if i < n else xs[i - n] for i in range(len(xs))])


def exponential(values, n):
    def formula(xs):
        out = [None] * len(xs)
        for i in range(len(xs)):
            if i == n - 1:
                out[i] = fsum(xs[:n]) / n
            elif i >= n:
                out[i] = out[i - 1] * (1 - 2 / (n + 1)) + xs[i] * (2 / (n + 1))
        return out

    return over_present(values, formula)


def wilder(xs, n):
    out = [None] * len(xs)
    for i in range(len(xs)):
        if i == n - 1:
            out[i] = fsum(xs[:n]) / n
        elif i >= n:
            out[i] = out[i - 1] + (xs[i] - out[i - 1]) / n
    return out


def rsi(values, n):
    def formula(xs):
        moves = [b - a for a, b in itertools.pairwise(xs)]
        gains = wilder([max(move, 0.0) for move in moves], n)
        losses = wilder([max(-move, 0.0) for move in moves], n)
        out = [None]
        for gain, loss in zip(gains, losses, strict=True):
            out.append(None if gain is None or gain + loss == 0 else 100 * gain / (gain + loss))
        return out[: len(xs)]

    return over_present(values, formula)


def macd(values, fast, slow, signal):
    quick, calm = exponential(values, fast), exponential(values, slow)
    line = [None if a is None or b is None else a - b for a, b in zip(quick, calm, strict=True)]
    smooth = exponential(line, signal)
    histogram = [None if a is None or b is None else a - b for a, b in zip(line, smooth, strict=True)]
    return line, smooth, histogram


def bands(values, n, k):
    """(width, position)."""
    widths, positions = [], []
    for close, middle, sigma in zip(values, mean(values, n), deviation(values, n), strict=True):
        if close is None or middle is None:
            widths.append(None)
            positions.append(None)
            continue
        upper, lower = middle + k * sigma, middle - k * sigma
        widths.append(divided(upper - lower, middle))
        positions.append(divided(close - lower, upper - lower))
    return widths, positions


def distance(values, levels):
    return [None if divided(a, b) is None else a / b - 1 for a, b in zip(values, levels, strict=True)]


def stochastic(high, low, close, n, smooth_k, smooth_d):
    def formula(bars):
        out = []
        for i in range(len(bars)):
            if i + 1 < n:
                out.append(None)
                continue
            top = max(bar[0] for bar in bars[i + 1 - n : i + 1])
            bottom = min(bar[1] for bar in bars[i + 1 - n : i + 1])
            out.append(None if top == bottom else 100 * (bars[i][2] - bottom) / (top - bottom))
        return out

    k = mean(over_present(together(high, low, close), formula), smooth_k)
    return k, mean(k, smooth_d)


def atr(high, low, close, n):
    def formula(bars):
        ranges = []
        for (_, _, before), (top, bottom, _) in itertools.pairwise(bars):
            ranges.append(max(top - bottom, abs(top - before), abs(bottom - before)))
        return ([None, *wilder(ranges, n)])[: len(bars)]

    return over_present(together(high, low, close), formula)


def bar_returns(xs):
    return [b / a - 1 for a, b in itertools.pairwise(xs)]


def volatility(values, n, bars_per_day):
    def formula(xs):
        deviations = windows(bar_returns(xs), n, deviation_of)
        scaled = [None if d is None else d * sqrt(bars_per_day) for d in deviations]
        return ([None, *scaled])[: len(xs)]

    return over_present(values, formula)


def pearson(pairs):
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    mx, my = fsum(xs) / len(xs), fsum(ys) / len(ys)
    sxx, syy = fsum((x - mx) ** 2 for x in xs), fsum((y - my) ** 2 for y in ys)
    if sxx == 0 or syy == 0:
        return None
    return fsum((x - mx) * (y - my) for x, y in pairs) / sqrt(sxx) / sqrt(syy)


def correlation(values, other, n):
    def formula(bars):
        left, right = bar_returns([a for a, _ in bars]), bar_returns([b for _, b in bars])
        values = windows(list(zip(left, right, strict=True)), n, pearson)
        return ([None, *values])[: len(bars)]

    return over_present(together(values, other), formula)
