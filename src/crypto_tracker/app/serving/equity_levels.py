"""The equity of a book at every close, with what it did in each hour and day, so that a curve is quick.

Amounts are integers of 1e-8 quote. Times in the columns are open times of minutes; curves show closes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import chain, count

import numpy as np

from crypto_tracker.app.serving.growing import Growing
from crypto_tracker.app.serving.local_days import local_days
from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from crypto_tracker.store.column_rows import EquityRows, MinuteRows

_MOST_ROWS = 65_536  # minutes, or hours, that a curve is made of
_ROUND_MS = tuple(
    unit_ms * count
    for unit_ms, counts in (
        (MINUTE_MS, (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)),
        (HOUR_MS, (1, 2, 3, 4, 6, 8, 12)),
    )
    for count in counts
)
"""Lengths that divide an hour or a day."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """An equity curve in stretches of `resolution_ms`, each with where it ended and how far it went.

    `drawdown` is how deep the equity fell within each stretch below its highest point until then, fractions.
    """

    resolution_ms: int
    bar_ms: int
    rows: EquityRows
    drawdown: FloatArray

    @property
    def close_ms(self) -> IntArray:
        """Close of the last bar of each stretch."""
        return np.asarray(self.rows.time_ms + self.bar_ms)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DailyEquity:
    """The equity at the last close of each day that has one, in some zone, and the equity before each."""

    days: tuple[date, ...]
    begin_ms: IntArray
    equity_e8: IntArray
    before_e8: IntArray

    @property
    def returns(self) -> FloatArray:
        """What each day gained, as a fraction of the equity before it."""
        return np.asarray(self.equity_e8 / self.before_e8 - 1.0)


def _whole() -> Growing[np.int64]:
    return Growing(np.int64)


def _fractions() -> Growing[np.float64]:
    return Growing(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """Stretches with the deepest drawdown in each, a fraction."""

    rows: EquityRows
    drawdown: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Level:
    """The stretches of `width_ms` that are over: the row at which each begins, and where it went."""

    width_ms: int
    start_row: Growing[np.int64] = field(default_factory=_whole)
    time_ms: Growing[np.int64] = field(default_factory=_whole)
    last: Growing[np.int64] = field(default_factory=_whole)
    low: Growing[np.int64] = field(default_factory=_whole)
    high: Growing[np.int64] = field(default_factory=_whole)
    drawdown: Growing[np.float64] = field(default_factory=_fractions)
    rows: int = 0  # of minutes that lie in these stretches

    def extended(self, time_ms: IntArray, equity: IntArray, drawdown: FloatArray) -> "_Level":
        """The level over all minutes, of which those up to `rows` are in it already."""
        number = time_ms[self.rows :] // self.width_ms
        starts = np.flatnonzero(np.diff(number, prepend=-1)) + self.rows
        if len(starts) < 2:  # the stretch of the newest minute may go on
            return self
        over, stop = starts[:-1], int(starts[-1])
        inside = slice(self.rows, stop)
        ends = np.append(over[1:], stop) - 1
        return _Level(
            width_ms=self.width_ms,
            start_row=self.start_row.extended(over),
            time_ms=self.time_ms.extended(time_ms[ends]),
            last=self.last.extended(equity[ends]),
            low=self.low.extended(np.minimum.reduceat(equity[inside], over - self.rows)),
            high=self.high.extended(np.maximum.reduceat(equity[inside], over - self.rows)),
            drawdown=self.drawdown.extended(np.maximum.reduceat(drawdown[inside], over - self.rows)),
            rows=stop,
        )

    def between(self, first: int, stop: int) -> tuple[int, int, Stretches]:
        """The stretches that lie whole in the rows [first, stop), and which rows they are."""
        begins = self.start_row.values
        one = int(np.searchsorted(begins, first))
        end = int(np.searchsorted(np.append(begins[1:], self.rows), stop, side="right")) if len(begins) else 0
        if end <= one:
            nothing = _rows(*(np.empty(0, dtype=np.int64) for _ in range(4)))
            return stop, stop, Stretches(nothing, np.empty(0, dtype=np.float64))
        part = slice(one, end)
        found = _rows(*(each.values[part] for each in (self.time_ms, self.last, self.low, self.high)))
        to_row = int(begins[end]) if end < len(begins) else self.rows
        return int(begins[one]), to_row, Stretches(found, self.drawdown.values[part])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EquityLevels:
    """The equity since the start; never changed, only `extended`.

    `peak_e8` is the highest equity at any close, the capital included; `max_drawdown` the deepest fall from
    the highest point so far, a fraction.
    """

    capital_e8: int
    peak_e8: int
    max_drawdown: float = 0.0
    _time_ms: Growing[np.int64] = field(default_factory=_whole)
    _equity_e8: Growing[np.int64] = field(default_factory=_whole)
    _drawdown: Growing[np.float64] = field(default_factory=_fractions)
    _hours: _Level = field(default_factory=lambda: _Level(width_ms=HOUR_MS))
    _days: _Level = field(default_factory=lambda: _Level(width_ms=DAY_MS))

    @classmethod
    def fresh(cls, capital_e8: int) -> "EquityLevels":
        """An account that has not come to its first close."""
        return cls(capital_e8=capital_e8, peak_e8=capital_e8)

    def __len__(self) -> int:
        return len(self._time_ms)

    @property
    def bar_ms(self) -> int:
        """It is marked at the close of every minute."""
        return MINUTE_MS

    @property
    def time_ms(self) -> IntArray:
        """Open times of the minutes, ascending."""
        return self._time_ms.values

    @property
    def equity_e8(self) -> IntArray:
        """Marked equity at the close of each."""
        return self._equity_e8.values

    @property
    def last_e8(self) -> int:
        """The equity at the last close, the capital before the first."""
        return int(self.equity_e8[-1]) if len(self) else self.capital_e8

    @property
    def drawdown(self) -> float:
        """How far the equity is below its peak now, a fraction."""
        return (self.peak_e8 - self.last_e8) / self.peak_e8 if self.peak_e8 else 0.0

    def extended(self, rows: MinuteRows) -> "EquityLevels":
        """The same with the minutes that were stepped since."""
        if not len(rows):
            return self
        if (np.diff(rows.time_ms, prepend=self.time_ms[-1:]) <= 0).any():
            raise ValueError("minutes are held in order of time, so that is how they are added")
        time_ms, equity_e8 = self._time_ms.extended(rows.time_ms), self._equity_e8.extended(rows.equity_e8)
        peak = np.maximum(np.maximum.accumulate(rows.equity_e8), self.peak_e8)
        drawdown = self._drawdown.extended((peak - rows.equity_e8) / peak)
        return EquityLevels(
            capital_e8=self.capital_e8,
            peak_e8=int(peak[-1]),
            max_drawdown=max(self.max_drawdown, float(np.max(drawdown.values[len(self) :]))),
            _time_ms=time_ms,
            _equity_e8=equity_e8,
            _drawdown=drawdown,
            _hours=self._hours.extended(time_ms.values, equity_e8.values, drawdown.values),
            _days=self._days.extended(time_ms.values, equity_e8.values, drawdown.values),
        )

    def curve(self, points: int, start_ms: int | None = None, end_ms: int | None = None) -> Curve | None:
        """The equity of minutes that open in [start_ms, end_ms), in at most `points` stretches.

        None where there is no minute. A long span is made of hours or days, so that what is read does not
        grow with it. Stretches begin at round times, as `laid_out` has them.
        """
        first = 0 if start_ms is None else int(np.searchsorted(self.time_ms, start_ms))
        stop = len(self) if end_ms is None else int(np.searchsorted(self.time_ms, end_ms))
        if stop <= first or points < 1:
            return None
        begin_ms, last_ms = int(self.time_ms[first]), int(self.time_ms[stop - 1])
        unit_ms = next(
            (unit for unit in (MINUTE_MS, HOUR_MS) if (last_ms - begin_ms) // unit < _MOST_ROWS), DAY_MS
        )
        if unit_ms == MINUTE_MS:
            fine = self._minutes(first, stop)
        else:
            fine = self._whole_and_edges(self._days if unit_ms == DAY_MS else self._hours, first, stop)
        return in_stretches(fine, points, unit_ms=unit_ms, begin_ms=begin_ms)

    def peak_before(self, start_ms: int | None) -> int:
        """The highest equity at any close of a minute that opened before, the capital included."""
        stop = 0 if start_ms is None else int(np.searchsorted(self.time_ms, start_ms))
        before = self._whole_and_edges(self._days, 0, stop).rows
        return max(self.capital_e8, int(before.high_e8.max(initial=0)))

    def daily(self, timezone: str) -> DailyEquity:
        """The equity at the end of each day of a zone; the last of them may still go on."""
        if not len(self):
            nothing = np.empty(0, dtype=np.int64)
            return DailyEquity(days=(), begin_ms=nothing, equity_e8=nothing, before_e8=nothing)
        days, begins = local_days(int(self.time_ms[0]), int(self.time_ms[-1]), timezone)
        stops = np.append(np.searchsorted(self.time_ms, begins[1:]), len(self))
        there = np.flatnonzero(np.diff(stops, prepend=0))  # days without a minute are no days
        equity = self.equity_e8[stops[there] - 1]
        return DailyEquity(
            days=tuple(days[place] for place in there.tolist()),
            begin_ms=begins[there],
            equity_e8=equity,
            before_e8=np.concatenate([[self.capital_e8], equity[:-1]]).astype(np.int64),
        )

    def _minutes(self, first: int, stop: int) -> Stretches:
        equity = self.equity_e8[first:stop]
        rows = _rows(self.time_ms[first:stop], equity, equity, equity)
        return Stretches(rows, self._drawdown.values[first:stop])

    def _whole_and_edges(self, level: _Level, first: int, stop: int) -> Stretches:
        """The stretches of a level, and single minutes where the span begins or ends within one."""
        from_row, to_row, whole = level.between(first, stop)
        return _joined([self._minutes(first, from_row), whole, self._minutes(to_row, stop)])


def laid_out(begin_ms: int, last_ms: int, points: int, *, unit_ms: int) -> tuple[int, int]:
    """Where the first of at most `points` stretches begins, and how wide they are.

    They hold `begin_ms` to `last_ms`, are whole units wide and divide an hour or a day, so that they begin at
    round times, UTC; longer ones are whole days.

    >>> laid_out(HOUR_MS + MINUTE_MS, 25 * HOUR_MS, 500, unit_ms=MINUTE_MS) == (HOUR_MS, 3 * MINUTE_MS)
    True
    """
    days = ((multiple, DAY_MS) for multiple in count(DAY_MS, DAY_MS))
    round_ones = ((width, width) for width in _ROUND_MS if width % unit_ms == 0)
    for width_ms, base_ms in chain(round_ones, days):
        origin_ms = begin_ms - begin_ms % base_ms
        if (last_ms - origin_ms) // width_ms < points:
            return origin_ms, width_ms
    raise AssertionError("there is always a number of days that is long enough")  # pragma: no cover


def in_stretches(
    fine: Stretches, points: int, *, unit_ms: int, begin_ms: int | None = None, bar_ms: int = MINUTE_MS
) -> Curve:
    """Stretches put together into at most `points` longer ones, of whole units; there is one at least.

    `begin_ms` is the first bar of the first, where its time is that of its last.
    """
    time_ms = fine.rows.time_ms
    first_ms, last_ms = int(time_ms[0]) if begin_ms is None else begin_ms, int(time_ms[-1])
    origin_ms, width_ms = laid_out(first_ms, last_ms, points, unit_ms=unit_ms)
    starts = np.flatnonzero(np.diff((time_ms - origin_ms) // width_ms, prepend=-1))
    ends = np.append(starts[1:], len(time_ms)) - 1
    rows = _rows(
        time_ms[ends],
        fine.rows.equity_e8[ends],
        np.minimum.reduceat(fine.rows.low_e8, starts),
        np.maximum.reduceat(fine.rows.high_e8, starts),
    )
    drawdown = np.maximum.reduceat(fine.drawdown, starts)
    return Curve(resolution_ms=width_ms, bar_ms=bar_ms, rows=rows, drawdown=drawdown)


def _rows(time_ms: IntArray, equity: IntArray, low: IntArray, high: IntArray) -> EquityRows:
    return EquityRows(time_ms=time_ms, equity_e8=equity, low_e8=low, high_e8=high)


def _joined(parts: Sequence[Stretches]) -> Stretches:
    rows = _rows(
        np.concatenate([part.rows.time_ms for part in parts]),
        np.concatenate([part.rows.equity_e8 for part in parts]),
        np.concatenate([part.rows.low_e8 for part in parts]),
        np.concatenate([part.rows.high_e8 for part in parts]),
    )
    return Stretches(rows, np.concatenate([part.drawdown for part in parts]))
