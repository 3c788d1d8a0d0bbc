"""A slow and obvious channel: lists, loops and NumPy's least squares, one bar at a time."""

import numpy as np


def pivot_highs(values: list[float], span: int) -> list[int]:
    found = []
    for i in range(span, len(values) - span):
        before, after = values[i - span : i], values[i + 1 : i + 1 + span]
        if values[i] > max(before) and values[i] >= max(after):
            found.append(i)
    return found


def channel_at(
    high: list[float], low: list[float], t: int, *, window: int, span: int, tolerance: float
) -> dict[str, float] | None:
    """The channel that can be known at the close of bar t; None where there is none."""
    # only the bars up to t exist here, so that an unconfirmed pivot can not even be seen
    tops = [i for i in pivot_highs(high[: t + 1], span) if i > t - window]
    bottoms = [i for i in pivot_highs([-v for v in low[: t + 1]], span) if i > t - window]
    if len(tops) < 2 or len(bottoms) < 2:
        return None
    rows = [[i - t, 1.0, 0.0] for i in tops] + [[i - t, 0.0, 1.0] for i in bottoms]
    prices = np.array([high[i] for i in tops] + [low[i] for i in bottoms])
    solution, *_ = np.linalg.lstsq(np.array(rows), prices, rcond=None)
    slope, level_up, level_down = (float(v) for v in solution)
    if level_up <= level_down:
        return None
    residual = float(np.sum((prices - np.array(rows) @ solution) ** 2)) / (len(prices) - 3)
    gap = level_up - level_down
    upper = max(high[i] - slope * (i - t) for i in tops)
    lower = min(low[i] - slope * (i - t) for i in bottoms)
    reach = tolerance * (upper - lower)
    return {
        "upper": upper,
        "lower": lower,
        "slope": slope,
        "strength": (gap**2 / 4) / (gap**2 / 4 + residual),
        "touches_upper": sum(upper - (high[i] - slope * (i - t)) <= reach for i in tops),
        "touches_lower": sum((low[i] - slope * (i - t)) - lower <= reach for i in bottoms),
    }
