"""The bars that the trader has seen, as far back as its strategies look.

Rows are only ever appended, in order of time. A coarser bar is made of the minutes as they were seen; where
one of them was missing, the store is asked again at the moment of the bar's close, and then no more. What
stays unknown may be healed once a day, for scans that come later.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crypto_tracker.core.arrays import BoolArray, CodeArray, FloatArray, IntArray
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.resample import BarColumns, resample_columns
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe
from crypto_tracker.features.blocks import anchor_ms
from crypto_tracker.portfolio.parameters import SlowRegimeRules
from crypto_tracker.portfolio.trend import slow_regime_codes
from crypto_tracker.store.sources import BarSource
from crypto_tracker.store.trading_records import REFERENCE, TRADED
from crypto_tracker.strategies.base import MarketView, Strategy
from crypto_tracker.strategies.measures import warmup_on
from crypto_tracker.strategies.needs import (
    REFERENCE_LEAD_DAYS,
    TREND_SPANS,
    reference_warmup,
    scan_timeframe,
    traded_warmup,
)
from crypto_tracker.trading.seen import SeenCells, SeenRows

_ROOM = 512  # rows that an array grows by at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The bars before a moment that an account reads.

    `warmup` holds, by part and timeframe, the bars before the start of the calendar month. Minutes are kept
    for one bar of the coarsest timeframe at least, those of the reference for REFERENCE_LEAD_DAYS.
    """

    warmup: Mapping[str, Mapping[Timeframe, int]]

    @classmethod
    def of(cls, strategies: Sequence[Strategy], trend: SlowRegimeRules, *, has_reference: bool) -> "Needs":
        """What these strategies and the slow regime read."""
        traded: dict[Timeframe, int] = {}
        for strategy in strategies:
            scanned = scan_timeframe(strategy, Timeframe.M1)
            for timeframe, bars in traded_warmup([strategy], scanned).items():
                traded[timeframe] = max(bars, traded.get(timeframe, 0))
        parts = {TRADED: traded}
        if has_reference:
            parts[REFERENCE] = reference_warmup(strategies, trend_days=TREND_SPANS * trend.trend_bars)
        return cls(warmup=parts)

    def coarse(self, part: str) -> list[Timeframe]:
        """The timeframes above the minute, finest first."""
        above = [timeframe for timeframe in self.warmup[part] if timeframe.ms > MINUTE_MS]
        return sorted(above, key=lambda timeframe: timeframe.ms)

    def start_ms(self, part: str, timeframe: Timeframe, moment_ms: int) -> int:
        """The open time of the first bar that is read at `moment_ms`."""
        starts = []
        if timeframe in self.warmup[part]:
            starts.append(anchor_ms(timeframe, self.warmup[part][timeframe], moment_ms))
        if timeframe.ms == MINUTE_MS:
            coarsest = max((each.ms for each in self.warmup[part]), default=MINUTE_MS)
            starts.append(moment_ms - moment_ms % coarsest)
            if part == REFERENCE:
                starts.append(moment_ms - REFERENCE_LEAD_DAYS * DAY_MS)
        return min(starts)


class Series:
    """Bars of some symbols on one timeframe that grow at the end and are dropped at the front."""

    def __init__(self, timeframe: Timeframe, symbols: tuple[Symbol, ...]) -> None:
        self.timeframe = timeframe
        self.symbols = symbols
        self._values = np.empty((len(BAR_FIELDS), len(symbols), 0))
        self._covered = np.empty((len(symbols), 0), dtype=np.bool_)
        self._first = 0
        self._last = 0
        self._start_ms = 0

    def __len__(self) -> int:
        return self._last - self._first

    @property
    def start_ms(self) -> int:
        """Open time of the first row."""
        return self._start_ms

    @property
    def end_ms(self) -> int:
        """Close time of the last row; the start where there is none."""
        return self._start_ms + len(self) * self.timeframe.ms

    def extend(self, rows: SeenRows) -> None:
        """Append rows; raises StoreError where they do not begin at the end of what is there."""
        if rows.step_ms != self.timeframe.ms or rows.values.shape[2] != len(self.symbols):
            raise StoreError(f"the seen {self.timeframe} bars do not have the shape of this account")
        if not len(self):
            self._start_ms = rows.start_ms
        elif rows.start_ms != self.end_ms:
            raise StoreError(
                f"the journal of seen {self.timeframe} bars has a hole: rows end at {self.end_ms} and go on "
                f"at {rows.start_ms}: restore the account from a copy"
            )
        count = rows.values.shape[1]
        self._make_room(count)
        place = slice(self._last, self._last + count)
        self._values[:, :, place] = rows.values.transpose(0, 2, 1)
        self._covered[:, place] = rows.covered.T
        self._last += count

    def drop_before(self, time_ms: int) -> None:
        """Forget the rows that open before `time_ms`."""
        count = min(max((time_ms - self._start_ms) // self.timeframe.ms, 0), len(self))
        self._first += count
        self._start_ms += count * self.timeframe.ms

    def set_cells(self, cells: SeenCells) -> None:
        """Overwrite cells; those of dropped rows are passed over."""
        rows = (cells.open_time_ms - self._start_ms) // self.timeframe.ms
        held = (rows >= 0) & (rows < len(self))
        place = rows[held] + self._first
        self._values[:, cells.column[held], place] = cells.values[:, held]
        self._covered[cells.column[held], place] = cells.covered[held]

    def panel(self, start_ms: int | None = None, end_ms: int | None = None) -> Panel:
        """A copy of the rows that open in [start_ms, end_ms)."""
        step = self.timeframe.ms
        first, last = self._first, self._last
        if start_ms is not None:
            first += max((start_ms - self._start_ms) // step, 0)
        if end_ms is not None:
            last = min(last, self._first + (end_ms - self._start_ms) // step)
        last = max(last, first)
        opened = self._start_ms + (first - self._first) * step
        values = self._values[:, :, first:last].transpose(0, 2, 1)
        return Panel(
            timeframe=self.timeframe,
            symbols=self.symbols,
            open_time_ms=opened + np.arange(last - first, dtype=np.int64) * step,
            covered=self._covered[:, first:last].T,
            **dict(zip(BAR_FIELDS, values, strict=True)),
        )

    def columns(self, start_ms: int, end_ms: int) -> tuple[FloatArray, BoolArray]:
        """Values (5, symbols, rows) and coverage (symbols, rows) of [start_ms, end_ms), as views."""
        step = self.timeframe.ms
        first = self._first + (start_ms - self._start_ms) // step
        last = self._first + (end_ms - self._start_ms) // step
        if first < self._first or last > self._last:
            raise StoreError(
                f"{self.timeframe} bars from {start_ms} to {end_ms} are asked for, but those from "
                f"{self._start_ms} to {self.end_ms} are held"
            )
        return self._values[:, :, first:last], self._covered[:, first:last]

    def unknown(self) -> tuple[IntArray, IntArray]:
        """Row numbers and columns of the cells of which nothing is known."""
        inside = slice(self._first, self._last)
        holes = ~self._covered[:, inside] & np.isnan(self._values[BAR_FIELDS.index("close"), :, inside])
        columns, rows = np.nonzero(holes)
        return rows, columns

    def _make_room(self, count: int) -> None:
        capacity = self._covered.shape[1]
        if self._last + count <= capacity:
            return
        held = slice(self._first, self._last)
        size = len(self) + count
        room = size if not len(self) else size + max(_ROOM, size // 8)
        values = np.empty((len(BAR_FIELDS), len(self.symbols), room))
        covered = np.empty((len(self.symbols), room), dtype=np.bool_)
        values[:, :, : len(self)] = self._values[:, :, held]
        covered[:, : len(self)] = self._covered[:, held]
        self._values, self._covered = values, covered
        self._first, self._last = 0, self._last - self._first


class SeenWindow:
    """All that was seen and may still be looked at.

    Parameters
    ----------
    symbols : the traded symbols
    reference : the symbol that stands for the market, or None
    """

    def __init__(self, symbols: tuple[Symbol, ...], reference: Symbol | None, needs: Needs) -> None:
        self._needs = needs
        self._symbols = {TRADED: symbols}
        if reference is not None:
            self._symbols[REFERENCE] = (reference,)
        self._minutes = {part: Series(Timeframe.M1, names) for part, names in self._symbols.items()}
        self._coarse: dict[str, dict[Timeframe, Series]] = {
            part: {each: Series(each, names) for each in needs.coarse(part)}
            for part, names in self._symbols.items()
        }
        self._trend: tuple[SlowRegimeRules, int, CodeArray] | None = None

    @property
    def parts(self) -> Iterable[str]:
        """`traded`, and `reference` where there is one."""
        return self._symbols

    def series(self, part: str, timeframe: Timeframe) -> Series:
        """The bars of a part on one timeframe."""
        return self._minutes[part] if timeframe.ms == MINUTE_MS else self._coarse[part][timeframe]

    def close_bars(self, part: str, close_ms: int, source: BarSource) -> list[tuple[Timeframe, SeenRows]]:
        """Append the coarser bars that close at `close_ms`, and return them.

        The minutes up to `close_ms` must be there. `source` is asked where a minute of them is unknown.
        """
        made = []
        for timeframe, series in self._coarse[part].items():
            if close_ms % timeframe.ms == 0:
                rows = self._closed_bar(part, timeframe, close_ms, source)
                series.extend(rows)
                made.append((timeframe, rows))
        return made

    def heal(self, part: str, now_ms: int, source: BarSource) -> list[tuple[Timeframe, SeenCells]]:
        """Ask `source` again for coarser bars that are unknown, and take in what is known by now."""
        healed = []
        for timeframe, series in self._coarse[part].items():
            rows, columns = series.unknown()
            if not len(rows):
                continue
            cells = _known_by_now(series, rows, columns, now_ms, source)
            if len(cells.column):
                series.set_cells(cells)
                self._trend = None
                healed.append((timeframe, cells))
        return healed

    def drop_before(self, moment_ms: int) -> None:
        """Forget what is not looked at from `moment_ms` on."""
        for part, minutes in self._minutes.items():
            minutes.drop_before(self._needs.start_ms(part, Timeframe.M1, moment_ms))
            for timeframe, series in self._coarse[part].items():
                series.drop_before(self._needs.start_ms(part, timeframe, moment_ms))

    def view(
        self,
        strategy: Strategy,
        timeframe: Timeframe,
        close_ms: int,
        instruments: Instruments,
        trend: SlowRegimeRules,
    ) -> MarketView:
        """What a strategy that scans `timeframe` may look at for the bar that closes at `close_ms`."""
        open_ms = close_ms - timeframe.ms
        panels = {
            each: self.series(TRADED, each).panel(anchor_ms(each, bars, open_ms))
            for each, bars in warmup_on(strategy, timeframe).items()
        }
        reference: dict[Timeframe, Panel] = {}
        if REFERENCE in self._symbols:
            reference = {
                each: self.series(REFERENCE, each).panel(anchor_ms(each, bars, open_ms))
                for each, bars in strategy.reference_warmup.items()
                if each is not Timeframe.D1
            }
            reference[Timeframe.D1] = self.series(REFERENCE, Timeframe.D1).panel()
        return MarketView(
            timeframe=timeframe,
            panels=panels,
            reference=reference,
            instruments=instruments,
            slow_regime=self._slow_regime(reference.get(Timeframe.D1), trend),
        )

    def slow_regime(self, trend: SlowRegimeRules) -> CodeArray | None:
        """The slow regime of the reference's days, None where there is no reference."""
        days = self._coarse.get(REFERENCE, {}).get(Timeframe.D1)
        return None if days is None else self._slow_regime(days.panel(), trend)

    def _slow_regime(self, days: Panel | None, trend: SlowRegimeRules) -> CodeArray | None:
        if days is None:
            return None
        known = self._trend
        first_ms = int(days.open_time_ms[0]) if len(days) else 0
        if known is None or known[0] != trend or known[1] != first_ms or len(known[2]) != len(days):
            known = (trend, first_ms, slow_regime_codes(days, trend))
            self._trend = known
        return known[2]

    def _closed_bar(self, part: str, timeframe: Timeframe, close_ms: int, source: BarSource) -> SeenRows:
        open_ms = close_ms - timeframe.ms
        values, covered = self._minutes[part].columns(open_ms, close_ms)
        group = timeframe.ms // MINUTE_MS
        # One symbol's minutes after another's: to the resampler each symbol is one coarser bar.
        flat = np.ascontiguousarray(values).reshape(len(BAR_FIELDS), -1)
        open_, high, low, close, volume = flat
        minutes = BarColumns(open_, high, low, close, volume, np.ascontiguousarray(covered).reshape(-1))
        bar = resample_columns(minutes, group)
        row = np.stack([getattr(bar, name) for name in BAR_FIELDS])
        known = bar.covered.copy()
        missing = np.flatnonzero(~known)
        if len(missing):
            symbols = self._symbols[part]
            answer = source.panel([symbols[column] for column in missing], timeframe, open_ms, close_ms)
            for position, name in enumerate(BAR_FIELDS):
                row[position, missing] = getattr(answer, name)[0]
            known[missing] = answer.covered[0]
        return SeenRows(
            start_ms=open_ms, step_ms=timeframe.ms, values=row[:, np.newaxis, :], covered=known[np.newaxis, :]
        )


def _known_by_now(
    series: Series, rows: IntArray, columns: IntArray, now_ms: int, source: BarSource
) -> SeenCells:
    """The unknown cells of which `source` knows something now."""
    step = series.timeframe.ms
    concerned = np.unique(columns)
    start_ms = series.start_ms + int(rows.min()) * step
    end_ms = min(series.start_ms + (int(rows.max()) + 1) * step, series.timeframe.floor(now_ms))
    answer = source.panel(
        [series.symbols[column] for column in concerned], series.timeframe, start_ms, end_ms
    )
    times = series.start_ms + rows * step
    row_of = (times - start_ms) // step
    column_of = np.searchsorted(concerned, columns)
    inside = row_of < len(answer)
    row_of, column_of = row_of[inside], column_of[inside]
    covered = answer.covered[row_of, column_of]
    known = covered | ~np.isnan(answer.close[row_of, column_of])
    values = np.stack([getattr(answer, name)[row_of, column_of] for name in BAR_FIELDS])
    return SeenCells(
        open_time_ms=times[inside][known],
        column=columns[inside][known],
        values=values[:, known],
        covered=covered[known],
    )
