"""Anchored blocks: where the computation of a feature begins.

A recursive indicator depends, in its last bits, on where it starts. So a feature value is defined as the
batch computed from (start of the UTC calendar month of its bar - declared warm-up) to the bar. Whatever span
is asked for, it is cut into calendar months, each is computed from its own anchor, and what lies before the
span is dropped. A scan at close time T belongs to the month of its bar's open time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.resample import resample_between
from crypto_tracker.core.timeframes import HOUR_MS, Timeframe, month_start_ms, next_month_ms


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
    cut = panels.closing_by if isinstance(panels, PanelsOnDemand) else partial(_closing_by, panels)
    return {
        timeframe: cut(timeframe, anchor_ms(timeframe, bars, block_start_ms), block_end_ms)
        for timeframe, bars in warmup.items()
        if timeframe in panels
    }


def _closing_by(
    panels: Mapping[Timeframe, Panel], timeframe: Timeframe, open_from_ms: int, close_by_ms: int
) -> Panel:
    return closing_by(panels[timeframe], open_from_ms, close_by_ms)


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BarsOfMinutes:
    """Bars of one timeframe that are made from minutes when they are asked for.

    Attributes
    ----------
    start_ms : open time of the first bar
    minutes : panels of which one follows the other
    lead : bars of `timeframe` from `start_ms` to where the minutes begin; None where these begin before it
    beside : bars of `timeframe` that count where the minutes do not cover the whole interval, from `start_ms`
        or the end of the lead on; None where there are none
    """

    timeframe: Timeframe
    start_ms: int
    minutes: Sequence[Panel]
    lead: Panel | None
    beside: Panel | None

    @property
    def end_ms(self) -> int:
        """The close time of the last bar."""
        return self.timeframe.floor(int(self.minutes[-1].close_time_ms[-1]))

    def between(self, start_ms: int, end_ms: int) -> Panel:
        """The bars that open in [start_ms, end_ms), both on the grid and within what there is."""
        made_ms = start_ms
        if self.lead is not None:
            made_ms = min(max(start_ms, int(self.lead.close_time_ms[-1])), end_ms)
        made = resample_between(self.minutes, self.timeframe, made_ms, end_ms)
        if self.beside is not None:
            made = _completed(made, self.beside.between(made_ms, end_ms))
        if self.lead is None or made_ms == start_ms:
            return made
        return joined(self.lead.between(start_ms, made_ms), made)


class PanelsOnDemand(Mapping[Timeframe, Panel]):
    """Bars by timeframe, of which the fine ones are made only for the rows that are asked for.

    A year of minutes is large, and so are the bars of five minutes beside it: a block needs those of a month.
    """

    def __init__(self, bars: Mapping[Timeframe, Panel | BarsOfMinutes]) -> None:
        self._bars = dict(bars)
        self._whole: dict[Timeframe, Panel] = {}

    def __getitem__(self, timeframe: Timeframe) -> Panel:
        """All bars of a timeframe; they are kept from then on."""
        bars = self._bars[timeframe]
        if isinstance(bars, Panel):
            return bars
        whole = self._whole.get(timeframe)
        if whole is None:
            whole = self._whole[timeframe] = bars.between(bars.start_ms, bars.end_ms)
        return whole

    def __contains__(self, timeframe: object) -> bool:
        """Whether there are bars of a timeframe; none are made to find out."""
        return timeframe in self._bars

    def __iter__(self) -> Iterator[Timeframe]:
        return iter(self._bars)

    def __len__(self) -> int:
        return len(self._bars)

    def closing_by(self, timeframe: Timeframe, open_from_ms: int, close_by_ms: int) -> Panel:
        """The rows that open at or after `open_from_ms` and close at or before `close_by_ms`."""
        bars = self._bars[timeframe]
        if isinstance(bars, Panel) or timeframe in self._whole or timeframe.ms >= HOUR_MS:
            return closing_by(self[timeframe], open_from_ms, close_by_ms)
        start_ms = max(bars.start_ms, timeframe.floor(open_from_ms + timeframe.ms - 1))
        end_ms = min(bars.end_ms, timeframe.floor(close_by_ms))
        return bars.between(min(start_ms, end_ms), end_ms)


def _completed(made: Panel, beside: Panel) -> Panel:
    """`made`, and where it is not covered what `beside` holds."""
    taken = beside.covered & ~made.covered
    if not taken.any():
        return made
    return Panel(
        timeframe=made.timeframe,
        symbols=made.symbols,
        open_time_ms=made.open_time_ms,
        covered=made.covered | taken,
        **{name: np.where(taken, getattr(beside, name), getattr(made, name)) for name in BAR_FIELDS},
    )


def joined(first: Panel, second: Panel) -> Panel:
    """Two panels of the same symbols, the second following the first, as one."""
    names = (*BAR_FIELDS, "covered")
    return Panel(
        timeframe=first.timeframe,
        symbols=first.symbols,
        open_time_ms=np.concatenate([first.open_time_ms, second.open_time_ms]),
        **{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in names},
    )
