"""Setups and near misses held as columns: which of them a filter means, without reading any of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from crypto_tracker.app.serving.coding import coded, wanted
from crypto_tracker.app.serving.growing import Growing
from crypto_tracker.core.arrays import BoolArray, IntArray
from crypto_tracker.desk.source import DecisionFilter
from crypto_tracker.store.column_rows import SetupRows

SetupKey = tuple[int, str, str]
"""Time, symbol and strategy: what names a row, and orders them."""

Codes = npt.NDArray[np.integer[Any]]

_AT_FIRST = 4_096  # rows that are looked through together, the newest first ...
_AT_ONCE = 65_536  # ... and later so many
_BLOCK = 65_536  # rows whose kinds are counted once
_SHIFTS = (40, 24, 16, 0)  # of the codes of symbol, strategy, verdict and reason in the number of a kind
_MASKS = (0xFFFFFF, 0xFFFF, 0xFF, 0xFFFF)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SetupColumns:
    """All setups and near misses of a book by time, symbol and strategy; never changed, only `extended`."""

    symbols: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)  # of each verdict and reason
    _time_ms: Growing[np.int64] = field(default_factory=lambda: Growing(np.int64))
    _symbol: Growing[np.int32] = field(default_factory=lambda: Growing(np.int32))
    _strategy: Growing[np.int16] = field(default_factory=lambda: Growing(np.int16))
    _verdict: Growing[np.int8] = field(default_factory=lambda: Growing(np.int8))
    _reason: Growing[np.int16] = field(default_factory=lambda: Growing(np.int16))
    # Of each whole block the kinds in it, how often each is there, and where those of the next one begin.
    _block_kind: Growing[np.int64] = field(default_factory=lambda: Growing(np.int64))
    _block_count: Growing[np.int64] = field(default_factory=lambda: Growing(np.int64))
    _block_end: Growing[np.int64] = field(default_factory=lambda: Growing(np.int64))

    def __len__(self) -> int:
        return len(self._time_ms)

    @property
    def time_ms(self) -> IntArray:
        """The deciding closes, never descending."""
        return self._time_ms.values

    def extended(self, rows: SetupRows) -> "SetupColumns":
        """The same with what was decided since, at later closes."""
        if not len(rows):
            return self
        if len(self) and rows.time_ms[0] <= self.time_ms[-1]:
            raise ValueError("setups are held by time, so what is added was decided at later closes")
        names = list(zip(*rows.kinds, strict=True))
        symbols, symbol = coded(self.symbols, names[0])
        strategies, strategy = coded(self.strategies, names[1])
        verdicts, verdict = coded(self.verdicts, names[2])
        reasons, reason = coded(self.reasons, names[3])
        counts = dict(self.counts)
        _add(counts, _counted(verdicts, reasons, verdict[rows.kind], reason[rows.kind]))
        grown = SetupColumns(
            symbols=symbols,
            strategies=strategies,
            verdicts=verdicts,
            reasons=reasons,
            counts=counts,
            _time_ms=self._time_ms.extended(rows.time_ms),
            _symbol=self._symbol.extended(symbol[rows.kind]),
            _strategy=self._strategy.extended(strategy[rows.kind]),
            _verdict=self._verdict.extended(verdict[rows.kind]),
            _reason=self._reason.extended(reason[rows.kind]),
            _block_kind=self._block_kind,
            _block_count=self._block_count,
            _block_end=self._block_end,
        )
        return grown._with_blocks()

    def page(self, where: DecisionFilter, *, limit: int, before: SetupKey | None = None) -> IntArray:
        """The places of the newest `limit` rows under a filter, newest first; only those before a key."""
        first, stop = self._span(where)
        if before is not None:
            stop = min(stop, self.place(before))
        chosen = _Chosen.of(self, where)
        found: list[IntArray] = []
        count, at_once = 0, _AT_FIRST
        while stop > first and count < limit:
            start, at_once = max(first, stop - at_once), min(4 * at_once, _AT_ONCE)
            here = np.flatnonzero(self._under(chosen, slice(start, stop)))[::-1][: limit - count] + start
            found.append(here)
            count += len(here)
            stop = start
        return np.concatenate(found) if found else np.empty(0, dtype=np.int64)

    def counted(self, where: DecisionFilter) -> dict[tuple[str, str], int]:
        """How many rows of each verdict and reason are under a filter, the most frequent first."""
        if where == DecisionFilter():
            found = dict(self.counts)
        else:
            found = {}
            first, stop = self._span(where)
            chosen = _Chosen.of(self, where)
            one, end = -(-first // _BLOCK), min(stop // _BLOCK, len(self._block_end))
            if one < end:  # whole blocks were counted already; rows are looked at before and after them
                edges = [slice(first, one * _BLOCK), slice(end * _BLOCK, stop)]
                _add(found, self._counted_blocks(chosen, one, end))
            else:
                edges = [slice(first, stop)]
            for edge in edges:
                here = np.flatnonzero(self._under(chosen, edge)) + edge.start
                verdict, reason = self._verdict.values[here], self._reason.values[here]
                _add(found, _counted(self.verdicts, self.reasons, verdict, reason))
        return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))

    def keys(self, places: IntArray) -> list[SetupKey]:
        """What names the rows of these places."""
        columns = (each.values[places].tolist() for each in (self._time_ms, self._symbol, self._strategy))
        return [
            (time_ms, self.symbols[symbol], self.strategies[strategy])
            for time_ms, symbol, strategy in zip(*columns, strict=True)
        ]

    def answers(self, places: IntArray) -> list[tuple[str, str]]:
        """Verdict and reason of the rows of these places."""
        columns = (each.values[places].tolist() for each in (self._verdict, self._reason))
        return [
            (self.verdicts[verdict], self.reasons[reason]) for verdict, reason in zip(*columns, strict=True)
        ]

    def place(self, key: SetupKey) -> int:
        """The place of the first row that is not before a key."""
        first, stop = (int(np.searchsorted(self.time_ms, key[0], side=side)) for side in ("left", "right"))
        return first + sum(each < key for each in self.keys(np.arange(first, stop)))

    def _with_blocks(self) -> "SetupColumns":
        """The same, with the kinds of the blocks counted that have become whole."""
        kinds, counts, ends = self._block_kind, self._block_count, self._block_end
        for start in range(len(ends) * _BLOCK, len(self) - _BLOCK + 1, _BLOCK):
            part = slice(start, start + _BLOCK)
            columns: Sequence[Codes] = (
                self._symbol.values,
                self._strategy.values,
                self._verdict.values,
                self._reason.values,
            )
            number = sum(
                each[part].astype(np.int64) << shift for each, shift in zip(columns, _SHIFTS, strict=True)
            )
            kind, count = np.unique(number, return_counts=True)
            kinds, counts = kinds.extended(kind), counts.extended(count)
            ends = ends.extended([len(kinds)])
        if ends is self._block_end:
            return self
        return replace(self, _block_kind=kinds, _block_count=counts, _block_end=ends)

    def _counted_blocks(self, chosen: "_Chosen", one: int, end: int) -> dict[tuple[str, str], int]:
        """How many rows of each verdict and reason the whole blocks [one, end) have under a filter."""
        part = slice(int(self._block_end.values[one - 1]) if one else 0, int(self._block_end.values[end - 1]))
        kind, count = self._block_kind.values[part], self._block_count.values[part]
        codes = [kind >> shift & mask for shift, mask in zip(_SHIFTS, _MASKS, strict=True)]
        kept = np.ones(len(kind), dtype=np.bool_)
        tables = (chosen.symbol, chosen.strategy, chosen.verdict, chosen.reason)
        for table, code in zip(tables, codes, strict=True):
            if table is not None:
                kept &= table[code]
        return _counted(self.verdicts, self.reasons, codes[2][kept], codes[3][kept], count[kept])

    def _under(self, chosen: "_Chosen", part: slice) -> BoolArray:
        kept = np.ones(part.stop - part.start, dtype=np.bool_)
        for table, codes in (
            (chosen.symbol, self._symbol.values),
            (chosen.strategy, self._strategy.values),
            (chosen.verdict, self._verdict.values),
            (chosen.reason, self._reason.values),
        ):
            if table is not None:
                kept &= table[codes[part]]
        return kept

    def _span(self, where: DecisionFilter) -> tuple[int, int]:
        first = 0 if where.start_ms is None else int(np.searchsorted(self.time_ms, where.start_ms))
        stop = len(self) if where.end_ms is None else int(np.searchsorted(self.time_ms, where.end_ms))
        return first, max(stop, first)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A filter as tables to be looked up by code; None where it does not narrow."""

    symbol: BoolArray | None
    strategy: BoolArray | None
    verdict: BoolArray | None
    reason: BoolArray | None

    @classmethod
    def of(cls, columns: SetupColumns, where: DecisionFilter) -> "_Chosen":
        return cls(
            wanted(columns.symbols, {str(each) for each in where.symbols}) if where.symbols else None,
            wanted(columns.strategies, where.strategies) if where.strategies else None,
            wanted(columns.verdicts, where.verdicts) if where.verdicts else None,
            wanted(columns.reasons, where.reasons) if where.reasons else None,
        )


def _add(counts: dict[tuple[str, str], int], more: Mapping[tuple[str, str], int]) -> None:
    for key, count in more.items():
        counts[key] = counts.get(key, 0) + count


def _counted(
    verdicts: tuple[str, ...],
    reasons: tuple[str, ...],
    verdict: Codes,
    reason: Codes,
    times: IntArray | None = None,
) -> dict[tuple[str, str], int]:
    both = verdict.astype(np.int64) * len(reasons) + reason
    # Sums of whole numbers are exact as floats up to 2**53.
    counts = np.bincount(both, weights=times, minlength=1)
    return {
        (verdicts[place // len(reasons)], reasons[place % len(reasons)]): int(counts[place])
        for place in np.flatnonzero(counts).tolist()
    }
