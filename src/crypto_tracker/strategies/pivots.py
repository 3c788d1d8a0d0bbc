"""Confirmed pivots: highs and lows that the bars after them have proven."""

import numpy as np

from crypto_tracker.core.arrays import BoolArray, FloatArray
from crypto_tracker.features.kernels import compiled


@compiled
def mark_pivots(values: FloatArray, span: int) -> BoolArray:
    """Pivot highs of one symbol's bars without holes, bool (bars,), marked at the pivot's own bar.

    A pivot is higher than the `span` bars before it and at least as high as the `span` bars after it, so
    that of equal tops in a row the first is the pivot. It **counts only from `span` bars later on**: a
    reader at bar t may use marks up to bar t - span and no others. For pivot lows pass the negated lows.

    >>> mark_pivots(np.array([1.0, 2.0, 5.0, 5.0, 1.0]), 2).tolist()
    [False, False, True, False, False]
    """
    marks = np.zeros(len(values), np.bool_)
    for i in range(span, len(values) - span):
        highest = True
        for j in range(1, span + 1):
            if not (values[i] > values[i - j] and values[i] >= values[i + j]):
                highest = False
                break
        marks[i] = highest
    return marks
