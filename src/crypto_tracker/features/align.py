"""Join timeframes on close time.

Bars carry their open time, but are known only from their close on. A join on open time would let the 15m bar
that closes at 12:15 see the hour that ends at 13:00; here a row sees the latest row of the other timeframe
whose close is not after its own.
"""

import numpy as np

from crypto_tracker.core.arrays import CodeArray, FloatArray, IntArray


def known_rows(from_close_ms: IntArray, to_close_ms: IntArray) -> IntArray:
    """For each target close, the latest source row whose close is at or before it, -1 where there is none.

    >>> hours = np.array([60, 120])
    >>> known_rows(hours, np.array([45, 60, 75, 119, 120])).tolist()
    [-1, 0, 0, 0, 1]
    """
    return np.searchsorted(from_close_ms, to_close_ms, side="right").astype(np.int64) - 1


def align(values: FloatArray, from_close_ms: IntArray, to_close_ms: IntArray) -> FloatArray:
    """Values of one timeframe on the rows of another, joined on close time.

    `values` is (source bars,) or (source bars, symbols); the result has one row for each target close. A row
    takes the latest source row whose close is at or before its own, as it stands: NaN where that row is NaN,
    and where there is none.
    """
    rows = known_rows(from_close_ms, to_close_ms)
    out = np.full((len(rows), *values.shape[1:]), np.nan, order="F")
    known = rows >= 0
    out[known] = values[rows[known]]
    return out


def align_codes(
    values: CodeArray, from_close_ms: IntArray, to_close_ms: IntArray, *, unknown: int
) -> CodeArray:
    """As `align`, for integer codes: rows before the first source close hold the code `unknown`."""
    rows = known_rows(from_close_ms, to_close_ms)
    out = np.full((len(rows), *values.shape[1:]), unknown, dtype=np.int8, order="F")
    known = rows >= 0
    out[known] = values[rows[known]]
    return out


def last_known(
    values: FloatArray, from_close_ms: IntArray, at_ms: IntArray, *, age_max_ms: int
) -> FloatArray:
    """The latest number known at each moment, if it is at most `age_max_ms` old, else NaN.

    `values` is (source bars, symbols) with strictly rising close times; missing source rows are passed over.
    An age of 0 asks for the row that closes exactly then.

    >>> close = np.array([[1.0], [np.nan], [3.0]])
    >>> last_known(close, np.array([1, 2, 3]), np.array([2, 2, 3]), age_max_ms=1).ravel().tolist()
    [1.0, 1.0, 3.0]
    """
    rows = known_rows(from_close_ms, at_ms)
    out = np.full((len(rows), *values.shape[1:]), np.nan, order="F")
    open_rows = np.arange(len(rows))  # target rows that still miss a number
    back = 0
    while True:
        source = rows[open_rows] - back
        usable = source >= 0
        usable[usable] = at_ms[open_rows[usable]] - from_close_ms[source[usable]] <= age_max_ms
        open_rows, source = open_rows[usable], source[usable]
        if not len(open_rows):
            return out
        here = _take_rows(out, open_rows)
        np.copyto(here, _take_rows(values, source), where=np.isnan(here))
        out.T[:, open_rows] = here.T
        open_rows = open_rows[np.isnan(here).any(axis=1)]
        back += 1


def _take_rows(values: FloatArray, rows: IntArray) -> FloatArray:
    # One symbol's bars lie together in memory, so rows are picked symbol by symbol.
    return np.take(values.T, rows, axis=-1).T
