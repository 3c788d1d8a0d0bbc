"""Bars between the stream and the store: so many at most, and none of them ever lost."""

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.core.validate import BarRule, broken_rules
from crypto_tracker.market.providers.base import RawBar, StreamedBars
from crypto_tracker.store.batch import VALUE_FIELDS, BarBatch

_REMEMBERED = 10  # minutes of each symbol whose last bar is kept, to know it when it comes again


class _Row(NamedTuple):
    """One bar on its way."""

    open_ms: int
    values: tuple[float, ...]
    ready_ms: int  # it is not written before
    came_ms: int
    first: bool  # whether nothing was said of its minute before
    raw: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Bars that are to be written now.

    Attributes
    ----------
    minutes : by symbol, in the order in which they came
    raw : the fields of bars as the provider had them, where that was kept: for those that break a rule
    first : by minute, how many of the bars are no corrections
    """

    minutes: Mapping[Symbol, BarBatch]
    raw: Mapping[Symbol, RawBar]
    first: Counter[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What came of bars that were added.

    Attributes
    ----------
    bars : bars that were not known, corrections among them
    duplicates : bars that said what was known already, and were left out
    corrections : bars whose minute had come before with another value
    first : open times of bars whose minute had not come before
    unusable : open times of bars that break a rule, and that the store will put into quarantine
    """

    bars: int = 0
    duplicates: int = 0
    corrections: int = 0
    first: tuple[int, ...] = ()
    unusable: tuple[int, ...] = ()


class Buffer:
    """Holds bars until their minute has settled, and early ones until their close.

    A bar that comes by at most `skew_ms` before its close is held until then; what comes earlier still, is
    let through, so that the store judges it.
    """

    def __init__(self, *, capacity: int, skew_ms: int, settle_ms: int) -> None:
        self._capacity = capacity
        self._skew_ms = skew_ms
        self._settle_ms = settle_ms
        self._rows: dict[Symbol, list[_Row]] = {}
        self._last: dict[Symbol, dict[int, tuple[float | None, ...]]] = {}
        self._count = 0
        self._due_ms: int | None = None
        self.peak = 0

    def __len__(self) -> int:
        return self._count

    @property
    def is_full(self) -> bool:
        """Whether some have to be written before any more are read."""
        return self._count >= self._capacity

    def add(self, streamed: StreamedBars, now_ms: int) -> Added:
        """Take bars that just came."""
        bars = streamed.bars
        last = self._last.setdefault(streamed.symbol, {})
        said = _as_said(bars)
        opens = bars.open_time_ms.tolist()
        if all(last.get(open_ms) == fields for open_ms, fields in zip(opens, said, strict=True)):
            return Added(duplicates=len(opens))  # most of what comes more than once
        prices = (bars.open, bars.high, bars.low, bars.close)
        rules = broken_rules(
            Timeframe.M1, bars.open_time_ms, prices, bars.volume, now_ms=now_ms + self._skew_ms
        ).tolist()
        values = bars.values().T.tolist()
        added: list[_Row] = []
        duplicates = corrections = 0
        unusable = []
        for index, open_ms in enumerate(opens):
            row = tuple(values[index])
            if rules[index] != BarRule.VALID:
                unusable.append(open_ms)
                raw = _fields(bars, index) if streamed.raw is None else dict(streamed.raw(index))
                added.append(_Row(open_ms, row, 0, now_ms, False, raw))
                continue
            before = last.get(open_ms)
            if before == said[index]:
                duplicates += 1
                continue
            corrections += before is not None
            last[open_ms] = said[index]
            added.append(_Row(open_ms, row, open_ms + MINUTE_MS, now_ms, before is None, None))
        _forget(last)
        self._rows.setdefault(streamed.symbol, []).extend(added)
        self._count += len(added)
        self.peak = max(self.peak, self._count)
        for row_added in added:
            self._expect(row_added)
        return Added(
            bars=len(added),
            duplicates=duplicates,
            corrections=corrections,
            first=tuple(row.open_ms for row in added if row.first),
            unusable=tuple(unusable),
        )

    def due_ms(self) -> int | None:
        """When something has waited for long enough, settled minute or not; None where nothing waits."""
        return self._due_ms

    def ready_ms(self) -> int | None:
        """When the first bar may be written; None where there is none."""
        return min((row.ready_ms for rows in self._rows.values() for row in rows), default=None)

    def take(self, now_ms: int) -> Taken:
        """Everything that may be written: all but bars that have not closed yet."""
        minutes: dict[Symbol, BarBatch] = {}
        raw: dict[Symbol, RawBar] = {}
        left: dict[Symbol, list[_Row]] = {}
        first: Counter[int] = Counter()
        for symbol, rows in self._rows.items():
            ready = [row for row in rows if row.ready_ms <= now_ms]
            if len(ready) < len(rows):
                left[symbol] = [row for row in rows if row.ready_ms > now_ms]
            if ready:
                minutes[symbol] = _batch(ready)
                first.update(row.open_ms for row in ready if row.first)
                if any(row.raw is not None for row in ready):
                    raw[symbol] = _RawRows(ready)
        self._rows = left
        self._count = sum(map(len, left.values()))
        self._due_ms = None
        for rows in left.values():
            for row in rows:
                self._expect(row)
        return Taken(minutes=minutes, raw=raw, first=first)

    def _expect(self, row: _Row) -> None:
        due_ms = max(row.ready_ms, row.came_ms) + self._settle_ms
        self._due_ms = due_ms if self._due_ms is None else min(self._due_ms, due_ms)


class _RawRows:
    """The fields of rows as the provider had them; the numbers, where those were not kept."""

    def __init__(self, rows: list[_Row]) -> None:
        self._rows = rows

    def __call__(self, index: int) -> Mapping[str, Any]:
        row = self._rows[index]
        if row.raw is not None:
            return row.raw
        return {"open_time_ms": row.open_ms, **dict(zip(VALUE_FIELDS, row.values, strict=True))}


def _batch(rows: list[_Row]) -> BarBatch:
    values = np.array([row.values for row in rows], dtype=np.float64).T
    named = dict(zip(VALUE_FIELDS, values, strict=True))
    return BarBatch(open_time_ms=np.array([row.open_ms for row in rows], dtype=np.int64), **named)


def _fields(bars: BarBatch, index: int) -> dict[str, Any]:
    numbers = dict(zip(VALUE_FIELDS, bars.values()[:, index].tolist(), strict=True))
    return {"open_time_ms": int(bars.open_time_ms[index]), **numbers}


def _as_said(bars: BarBatch) -> list[tuple[float | None, ...]]:
    """The fields of each bar, None where there is no number: two that say the same are equal."""
    columns = [
        [None if math.isnan(value) else value for value in column.tolist()]
        for column in (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.vwap, bars.n_trades)
        if column is not None
    ]
    return list(zip(*columns, strict=True))


def _forget(last: dict[int, tuple[float | None, ...]]) -> None:
    """Keep what was said last of the newest minutes only."""
    if len(last) > _REMEMBERED:
        for open_ms in sorted(last)[: len(last) - _REMEMBERED]:
            del last[open_ms]


class Lateness:
    """How long after their close bars were stored, over the last hour."""

    def __init__(self, span_ms: int) -> None:
        self._span_ms = span_ms
        self._entries: deque[tuple[int, int, int]] = deque(maxlen=20_000)  # moment, lateness, bars

    def note(self, stored_ms: int, late_ms: int, bars: int) -> None:
        """So many bars were stored that long after their close."""
        self._entries.append((stored_ms, late_ms, bars))

    def quantiles(self, now_ms: int, *shares: float) -> list[float | None]:
        """The lateness in seconds that the given shares of bars kept to; None where there were no bars."""
        while self._entries and self._entries[0][0] < now_ms - self._span_ms:
            self._entries.popleft()
        if not self._entries:
            return [None for _ in shares]
        late = np.array([(late_ms, bars) for _, late_ms, bars in self._entries], dtype=np.int64)
        late = late[np.argsort(late[:, 0], kind="stable")]
        reached = np.cumsum(late[:, 1]) / late[:, 1].sum()
        return [float(late[int(np.searchsorted(reached, share)), 0]) / 1_000 for share in shares]
