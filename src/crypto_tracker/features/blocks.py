"""Anchored blocks: where the computation of a feature begins.

A recursive indicator depends, in its last bits, on where it starts. So a feature value is defined as the
batch computed from (start of the UTC calendar month of its bar - declared warm-up) to the bar. Whatever span
is asked for, it is cut into calendar months, each is computed from its own anchor, and what lies before the
span is dropped. A scan at close time T belongs to the month of its bar's open time.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.timeframes import Timeframe, month_start_ms, next_month_ms


def month_blocks(start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
    """The calendar months of [start_ms, end_ms), each clipped to the span: (block_start_ms, block_end_ms).

    >>> from crypto_tracker.core.timeframes import DAY_MS
    >>> [(start // DAY_MS, end // DAY_MS) for start, end in month_blocks(10 * DAY_MS, 40 * DAY_MS)]
    [(10, 31), (31, 40)]
    """
    block_start = start_ms
    while block_start < end_ms:
        block_end = min(next_month_ms(block_start), end_ms)
        yield block_start, block_end
        block_start = block_end


def anchor_ms(timeframe: Timeframe, warmup_bars: int, block_start_ms: int) -> int:
    """The open time of the first bar that a block reads: start of its calendar month less the warm-up."""
    if warmup_bars < 0:
        raise UsageError(f"the warm-up on {timeframe} is {warmup_bars} bars: declare 0 or more")
    return timeframe.floor(month_start_ms(block_start_ms)) - warmup_bars * timeframe.ms


def anchored_panels(
    panels: Mapping[Timeframe, Panel], warmup: Mapping[Timeframe, int], block_start_ms: int, block_end_ms: int
) -> dict[Timeframe, Panel]:
    """The bars that one block may read, for each timeframe of `warmup` that is in `panels`.

    Rows open at or after the anchor and close at or before `block_end_ms`. A timeframe without a declared
    warm-up is left out: what is not declared is not seen. The anchor is the start of the calendar month, also
    when the block begins in mid-month.
    """
    return {
        timeframe: closing_by(panels[timeframe], anchor_ms(timeframe, bars, block_start_ms), block_end_ms)
        for timeframe, bars in warmup.items()
        if timeframe in panels
    }


def closing_by(panel: Panel, open_from_ms: int, close_by_ms: int) -> Panel:
    """The rows that open at or after `open_from_ms` and close at or before `close_by_ms`."""
    start = int(np.searchsorted(panel.open_time_ms, open_from_ms, side="left"))
    stop = int(np.searchsorted(panel.open_time_ms, close_by_ms - panel.timeframe.ms, side="right"))
    return panel.rows(start, max(start, stop))


def closing_within(panel: Panel, after_ms: int, by_ms: int) -> Panel:
    """The rows whose close time lies in (after_ms, by_ms]: the scans of a span."""
    start = int(np.searchsorted(panel.open_time_ms, after_ms - panel.timeframe.ms, side="right"))
    stop = int(np.searchsorted(panel.open_time_ms, by_ms - panel.timeframe.ms, side="right"))
    return panel.rows(start, max(start, stop))
