"""Coarser bars from finer ones, by coverage.

A coarser bar exists only when its whole interval is covered and holds at least one source bar. A covered
interval without a source bar is `no_trade`; an interval that is not wholly covered is `unknown`: half an hour
of prices is no hourly bar.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from crypto_tracker.core.arrays import BoolArray, FloatArray, IntArray, RecordArray
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe

_SHORT = 30  # bars; the library itself is quicker with longer groups


class BarColumns(NamedTuple):
    """One symbol's bars on the full grid: arrays (bars,), NaN where a bar is missing."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    covered: BoolArray


def resample_columns(fine: BarColumns, group: int) -> BarColumns:
    """Merge every `group` consecutive rows of one symbol into one bar.

    The number of rows must be a multiple of `group`, and the first row must open a coarser bar. Open is that
    of the first present bar, close that of the last, high and low the extremes. The volume is added up from
    left to right, so that it has the same bits as a running sum; it is NaN where a present bar's volume is
    unknown. A present bar counts as covered: it is its own evidence.

    >>> nan = float("nan")
    >>> fine = BarColumns(
    ...     open=np.array([nan, 10.0]), high=np.array([nan, 12.0]), low=np.array([nan, 9.0]),
    ...     close=np.array([nan, 11.0]), volume=np.array([nan, 5.0]), covered=np.array([True, True]),
    ... )
    >>> [float(field[0]) for field in resample_columns(fine, 2)]
    [10.0, 12.0, 9.0, 11.0, 5.0, 1.0]
    """
    missing = np.isnan(fine.close)
    if not missing.any():
        return BarColumns(
            open=fine.open[::group].copy(),
            high=_extreme(np.fmax, fine.high, group),
            low=_extreme(np.fmin, fine.low, group),
            close=fine.close[group - 1 :: group].copy(),
            volume=_added(fine.volume, group),
            covered=np.ones(len(missing) // group, dtype=np.bool_),
        )
    present = ~missing.reshape(-1, group)
    covered = np.logical_and.reduce(fine.covered.reshape(-1, group) | present, axis=1)
    complete = covered & present.any(axis=1)
    rows = np.arange(len(present))
    first = present.argmax(axis=1)
    last = group - 1 - present[:, ::-1].argmax(axis=1)

    def where_complete(values: FloatArray) -> FloatArray:
        return np.where(complete, values, np.nan)

    return BarColumns(
        open=where_complete(fine.open.reshape(-1, group)[rows, first]),
        high=where_complete(_extreme(np.fmax, fine.high, group)),
        low=where_complete(_extreme(np.fmin, fine.low, group)),
        close=where_complete(fine.close.reshape(-1, group)[rows, last]),
        volume=where_complete(_added(np.where(missing, 0.0, fine.volume), group)),
        covered=covered,
    )


def _extreme(extreme: np.ufunc, values: FloatArray, group: int) -> FloatArray:
    """The greatest or smallest of every `group` consecutive values."""
    groups = values.reshape(-1, group)
    if group > _SHORT:
        reduced: FloatArray = extreme.reduce(groups, axis=1)
        return reduced
    # Of short groups all first values are compared with all second ones at once, and so on.
    out = groups[:, 0].copy()
    for position in range(1, group):
        extreme(out, groups[:, position], out=out)
    return out


def _added(values: FloatArray, group: int) -> FloatArray:
    """Every `group` consecutive values added up from left to right."""
    groups = values.reshape(-1, group)
    out = np.zeros(len(groups))
    for position in range(group):
        out += groups[:, position]
    return out


def resample(panel: Panel, timeframe: Timeframe) -> Panel:
    """The panel of a coarser timeframe that `panel` amounts to.

    The result has a row for every coarser bar that the rows of `panel` touch; one that they do not reach to
    its ends is `unknown` there. Raises UsageError where `timeframe` is not a whole multiple of the panel's.
    """
    fine_ms = panel.timeframe.ms
    if timeframe.ms % fine_ms:
        raise UsageError(f"{timeframe} bars cannot be made of {panel.timeframe} bars: choose a multiple")
    group = timeframe.ms // fine_ms
    if group == 1 or not len(panel):
        start_ms = int(panel.open_time_ms[0]) if len(panel) else 0
        return panel if group == 1 else Panel.empty(timeframe, panel.symbols, start_ms, start_ms)
    first_ms = int(panel.open_time_ms[0])
    end_ms = int(panel.open_time_ms[-1]) + fine_ms
    start_ms = timeframe.floor(first_ms)
    times = np.arange(start_ms, end_ms, timeframe.ms, dtype=np.int64)
    before = (first_ms - start_ms) // fine_ms
    padding = (before, len(times) * group - before - len(panel))

    def fine(column: int) -> BarColumns:
        open_, high, low, close, volume = (
            _padded(getattr(panel, name)[:, column], padding, np.nan) for name in BAR_FIELDS
        )
        covered = _padded(panel.covered[:, column], padding, False)
        return BarColumns(open_, high, low, close, volume, covered)

    return _resampled(timeframe, panel.symbols, times, fine, group)


def resample_between(parts: Sequence[Panel], timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
    """The bars of `timeframe` that open in [start_ms, end_ms), from panels of which one follows the other.

    Both ends lie on the grid of `timeframe` and within the panels, whose timeframe divides it. It is what
    `resample` makes of their rows, without a copy of them.
    """
    fine_ms = parts[0].timeframe.ms
    rows = [
        (panel, *np.searchsorted(panel.open_time_ms, [start_ms, end_ms]).tolist())
        for panel in parts
        if len(panel)
    ]
    rows = [(panel, first, stop) for panel, first, stop in rows if first < stop]
    times = np.arange(start_ms, end_ms, timeframe.ms, dtype=np.int64)
    if sum(stop - first for _, first, stop in rows) * fine_ms != len(times) * timeframe.ms:
        raise UsageError(f"{timeframe} bars were asked for where no {parts[0].timeframe} bars are held")

    def fine(column: int) -> BarColumns:
        found = [
            [getattr(panel, name)[first:stop, column] for panel, first, stop in rows]
            for name in (*BAR_FIELDS, "covered")
        ]
        open_, high, low, close, volume, covered = (
            each[0] if len(each) == 1 else np.concatenate(each) for each in found
        )
        return BarColumns(open_, high, low, close, volume, covered)

    return _resampled(timeframe, parts[0].symbols, times, fine, timeframe.ms // fine_ms)


def _resampled(
    timeframe: Timeframe,
    symbols: tuple[Symbol, ...],
    times: IntArray,
    fine: Callable[[int], BarColumns],
    group: int,
) -> Panel:
    """The panel of coarser bars of all symbols; `fine` gives the finer ones of a column."""
    shape = (len(times), len(symbols))
    arrays = {name: np.empty(shape, order="F") for name in BAR_FIELDS}
    covered = np.empty(shape, dtype=np.bool_, order="F")
    for column in range(shape[1] if len(times) else 0):
        coarse = resample_columns(fine(column), group)
        for name, array in arrays.items():
            array[:, column] = getattr(coarse, name)
        covered[:, column] = coarse.covered
    return Panel(timeframe=timeframe, symbols=symbols, open_time_ms=times, covered=covered, **arrays)


def _padded(values: RecordArray, padding: tuple[int, int], value: float) -> RecordArray:
    """The values with others before and after them; themselves where there are none."""
    return np.pad(values, padding, constant_values=value) if any(padding) else values
