"""Bars as they travel into the store, and as they lie in it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from crypto_tracker.core.arrays import BoolArray, FloatArray, IntArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.core.validate import MISSING_TIME_MS
from crypto_tracker.store import intervals

VALUE_FIELDS = ("open", "high", "low", "close", "volume", "vwap", "n_trades")
N_PRICES = 4
N_TRADED = 5
"""Fields before this one are traded on, and never change in a revision; the others may become known late."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BarBatch:
    """Bars of one series on their way into the store: unchecked, in any order, possibly more than once.

    Attributes
    ----------
    open_time_ms : int64 (bars,); `validate.MISSING_TIME_MS` where unknown
    open, high, low, close : float64 (bars,), quote currency; NaN is a missing field
    volume : base units; NaN where the source does not know it
    vwap, n_trades : NaN where unknown; None where the source has no such column
    line : int64 (bars,), where each bar stands in its source, counted from 1; None where lines mean nothing
    """

    open_time_ms: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    vwap: FloatArray | None = None
    n_trades: FloatArray | None = None
    line: IntArray | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            array = getattr(self, item.name)
            if array is not None and array.shape != self.open_time_ms.shape:
                raise DataError(
                    f"a batch of {len(self.open_time_ms)} open times has {item.name} of shape {array.shape}: "
                    "give every bar one value"
                )

    def __len__(self) -> int:
        return len(self.open_time_ms)

    @classmethod
    def none(cls) -> "BarBatch":
        """No bars."""
        nothing = np.empty(0)
        return cls(
            open_time_ms=np.empty(0, dtype=np.int64),
            open=nothing,
            high=nothing,
            low=nothing,
            close=nothing,
            volume=nothing,
        )

    @classmethod
    def joined(cls, parts: Sequence["BarBatch"]) -> "BarBatch":
        """The bars of all parts, one part after the other, without their lines."""
        every = (cls.none(), *parts)

        def optional(columns: Sequence[FloatArray | None]) -> FloatArray | None:
            if all(column is None for column in columns):
                return None
            return np.concatenate(
                [
                    np.full(len(part), np.nan) if column is None else column
                    for part, column in zip(every, columns, strict=True)
                ]
            )

        return cls(
            open_time_ms=np.concatenate([part.open_time_ms for part in every]),
            open=np.concatenate([part.open for part in every]),
            high=np.concatenate([part.high for part in every]),
            low=np.concatenate([part.low for part in every]),
            close=np.concatenate([part.close for part in every]),
            volume=np.concatenate([part.volume for part in every]),
            vwap=optional([part.vwap for part in every]),
            n_trades=optional([part.n_trades for part in every]),
        )

    @classmethod
    def of_column(cls, panel: Panel, symbol: Symbol) -> "BarBatch":
        """The present bars of one symbol of a panel."""
        column = panel.symbols.index(symbol)
        rows = panel.present[:, column]
        return cls(
            open_time_ms=panel.open_time_ms[rows],
            open=panel.open[rows, column],
            high=panel.high[rows, column],
            low=panel.low[rows, column],
            close=panel.close[rows, column],
            volume=panel.volume[rows, column],
        )

    def values(self) -> FloatArray:
        """Float64 (7, bars) in the order of VALUE_FIELDS.

        A `vwap` or `n_trades` that is no possible value (not finite, or not above 0 and below 0
        respectively) is taken as unknown: exchanges write 0 there for bars without trades.
        """
        unknown = np.full(len(self), np.nan)
        vwap = unknown if self.vwap is None else np.where(self.vwap > 0, self.vwap, np.nan)
        count = unknown if self.n_trades is None else np.where(self.n_trades >= 0, self.n_trades, np.nan)
        stacked = np.stack([self.open, self.high, self.low, self.close, self.volume, vwap, count])
        stacked[5:][np.isinf(stacked[5:])] = np.nan
        return np.ascontiguousarray(stacked, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class StoredRows:
    """Rows of one series as they are stored: valid bars, each with its revision.

    `values` is float64 (7, rows) in the order of VALUE_FIELDS, NaN where unknown.
    """

    open_time_ms: IntArray
    revision: IntArray
    values: FloatArray

    def __len__(self) -> int:
        return len(self.open_time_ms)

    @classmethod
    def none(cls) -> "StoredRows":
        """No rows."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((len(VALUE_FIELDS), 0)))

    @classmethod
    def merged(cls, parts: Iterable["StoredRows"]) -> "StoredRows":
        """The rows of all parts, sorted by open time and revision; of a row in two parts the first."""
        filled = [part for part in parts if len(part)]
        if not filled:
            return cls.none()
        if len(filled) == 1:
            return filled[0]
        times = np.concatenate([part.open_time_ms for part in filled])
        revisions = np.concatenate([part.revision for part in filled])
        values = np.concatenate([part.values for part in filled], axis=1)
        if np.all(np.diff(times) > 0):
            return cls(times, revisions, values)
        order = np.lexsort((revisions, times))
        times, revisions = times[order], revisions[order]
        first = np.ones(len(times), dtype=np.bool_)
        first[1:] = (np.diff(times) != 0) | (np.diff(revisions) != 0)
        return cls(times[first], revisions[first], values[:, order[first]])

    def where(self, mask: BoolArray) -> "StoredRows":
        """The rows for which `mask` is true."""
        return (
            self
            if mask.all()
            else StoredRows(self.open_time_ms[mask], self.revision[mask], self.values[:, mask])
        )

    def is_in(self, others: "StoredRows") -> BoolArray:
        """Whether `others`, which has every revision of its bars, has each row with some values."""
        newest = others.newest()
        if not len(newest):
            return np.zeros(len(self), dtype=np.bool_)
        position = np.minimum(np.searchsorted(newest.open_time_ms, self.open_time_ms), len(newest) - 1)
        there = newest.open_time_ms[position] == self.open_time_ms
        found: BoolArray = there & (self.revision <= newest.revision[position])
        return found

    def between(self, start_ms: int, end_ms: int) -> "StoredRows":
        """The rows whose open time lies in [start_ms, end_ms)."""
        start, stop = np.searchsorted(self.open_time_ms, [start_ms, end_ms])
        if start == 0 and stop == len(self):
            return self
        return StoredRows(
            self.open_time_ms[start:stop], self.revision[start:stop], self.values[:, start:stop]
        )

    def newest(self) -> "StoredRows":
        """The newest revision of every bar."""
        if not len(self):
            return self
        last = np.ones(len(self), dtype=np.bool_)
        last[:-1] = np.diff(self.open_time_ms) != 0
        return self.where(last)

    def without(self, keys: IntArray) -> "StoredRows":
        """The rows whose (open time, revision) is none of `keys`, an array (keys, 2)."""
        if not len(keys) or not len(self):
            return self
        kept = np.ones(len(self), dtype=np.bool_)
        for time_ms, revision in keys.tolist():
            start, stop = np.searchsorted(self.open_time_ms, [time_ms, time_ms + 1])
            kept[start:stop] &= self.revision[start:stop] != revision
        return self.where(kept)


@dataclass(frozen=True, slots=True, eq=False)
class Contribution:
    """What incoming bars come to beside what is stored.

    Attributes
    ----------
    added : bars that were not stored, and revisions of those that were
    completed : stored rows that know their vwap or number of trades by now; nothing else of them changed
    """

    added: StoredRows
    completed: StoredRows


def contributions(
    incoming_ms: IntArray, incoming: FloatArray, stored: StoredRows, *, present: bool = False
) -> Contribution:
    """What incoming bars add to what is stored.

    A bar that is not stored becomes revision 0. One that says nothing else than some stored revision of the
    bar adds nothing; a field that it does not know contradicts nothing. One that only knows the vwap or the
    number of trades besides, where a revision does not, completes the newest such revision. Anything else
    becomes the next revision, and takes from the newest one what it does not know itself.

    With `present` the bars are what their source says now: one that it had withdrawn and gives again becomes
    the next revision once more, where otherwise it is taken for old news.

    `incoming_ms` is sorted and unique; `incoming` is (7, bars); `stored` holds every revision of the span.
    """
    known = np.zeros(len(incoming_ms), dtype=np.bool_)
    newest_revision = np.full(len(incoming_ms), -1, dtype=np.int64)
    newest_values = np.full_like(incoming, np.nan)
    by_newest = known.copy()
    fitting_revision = newest_revision.copy()
    fitting_values = newest_values.copy()
    for revision in range(int(stored.revision.max(initial=-1)) + 1):
        rows = stored.where(stored.revision == revision)
        if not len(rows):
            continue
        position = np.searchsorted(rows.open_time_ms, incoming_ms)
        position = np.minimum(position, len(rows) - 1)
        matched = rows.open_time_ms[position] == incoming_ms
        theirs = rows.values[:, position]
        agrees = (incoming == theirs) | np.isnan(incoming)
        known |= matched & agrees.all(axis=0)
        by_newest[matched] = agrees.all(axis=0)[matched]
        agrees[N_TRADED:] |= np.isnan(theirs[N_TRADED:])
        fits = matched & agrees.all(axis=0)
        fitting_revision[fits] = revision
        fitting_values[:, fits] = np.where(np.isnan(theirs), incoming, theirs)[:, fits]
        newest_revision[matched] = revision
        newest_values[:, matched] = theirs[:, matched]
    if present:
        known = by_newest
        fitting_revision[fitting_revision != newest_revision] = -1
    added = ~known & (fitting_revision < 0)
    completed = ~known & (fitting_revision >= 0)
    merged = np.where(np.isnan(incoming), newest_values, incoming)
    return Contribution(
        StoredRows(incoming_ms[added], newest_revision[added] + 1, merged[:, added]),
        StoredRows(incoming_ms[completed], fitting_revision[completed], fitting_values[:, completed]),
    )


def newly_known(
    timeframe: Timeframe,
    bars: BarBatch,
    valid: IntArray,
    broken: IntArray,
    covered: Iterable[tuple[int, int]],
    now_ms: int,
) -> IntArray:
    """What a write makes known: what was fetched, less the bars that were broken."""
    broken_times = bars.open_time_ms[broken]
    broken_times = broken_times[broken_times != MISSING_TIME_MS] // timeframe.ms * timeframe.ms
    doubtful = intervals.of_bars(intervals.distinct(broken_times), timeframe.ms)
    fetched = intervals.clip(intervals.as_intervals(covered), 0, timeframe.floor(now_ms))
    held = intervals.of_bars(intervals.distinct(bars.open_time_ms[valid]), timeframe.ms)
    return intervals.union(intervals.subtract(intervals.on_grid(fetched, timeframe.ms), doubtful), held)
