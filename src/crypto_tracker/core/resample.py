"""Coarser bars from finer ones, by coverage.

A coarser bar exists only when its whole interval is covered and holds at least one source bar. A covered
interval without a source bar is `no_trade`; an interval that is not wholly covered is `unknown`: half an hour
of prices is no hourly bar.
"""

from typing import NamedTuple

import numpy as np

from crypto_tracker.core.arrays import BoolArray, FloatArray
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.timeframes import Timeframe


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
    present = ~np.isnan(fine.close.reshape(-1, group))
    covered = np.logical_and.reduce(fine.covered.reshape(-1, group) | present, axis=1)
    complete = covered & present.any(axis=1)
    rows = np.arange(len(present))
    first = present.argmax(axis=1)
    last = group - 1 - present[:, ::-1].argmax(axis=1)
    volume = np.zeros(len(present))
    source_volume = fine.volume.reshape(-1, group)
    for position in range(group):
        volume += np.where(present[:, position], source_volume[:, position], 0.0)

    def where_complete(values: FloatArray) -> FloatArray:
        return np.where(complete, values, np.nan)

    return BarColumns(
        open=where_complete(fine.open.reshape(-1, group)[rows, first]),
        high=where_complete(np.fmax.reduce(fine.high.reshape(-1, group), axis=1)),
        low=where_complete(np.fmin.reduce(fine.low.reshape(-1, group), axis=1)),
        close=where_complete(fine.close.reshape(-1, group)[rows, last]),
        volume=where_complete(volume),
        covered=covered,
    )


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

    shape = (len(times), len(panel.symbols))
    arrays = {name: np.empty(shape, order="F") for name in BAR_FIELDS}
    covered = np.empty(shape, dtype=np.bool_, order="F")
    for column in range(shape[1]):
        open_, high, low, close, volume = (
            np.pad(getattr(panel, name)[:, column], padding, constant_values=np.nan) for name in BAR_FIELDS
        )
        reached = np.pad(panel.covered[:, column], padding, constant_values=False)
        coarse = resample_columns(BarColumns(open_, high, low, close, volume, reached), group)
        for name, array in arrays.items():
            array[:, column] = getattr(coarse, name)
        covered[:, column] = coarse.covered
    return Panel(timeframe=timeframe, symbols=panel.symbols, open_time_ms=times, covered=covered, **arrays)
