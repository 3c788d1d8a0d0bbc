"""Setups and near misses held as columns: which of them a filter means, without reading any of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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

_AT_ONCE = 65_536  # rows that are looked through together, the newest first


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
        for key, count in _counted(verdicts, reasons, verdict[rows.kind], reason[rows.kind]).items():
            counts[key] = counts.get(key, 0) + count
        return SetupColumns(
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
        )

    def page(self, where: DecisionFilter, *, limit: int, before: SetupKey | None = None) -> IntArray:
        """The places of the newest `limit` rows under a filter, newest first; only those before a key."""
        first, stop = self._span(where)
        if before is not None:
            stop = min(stop, self.place(before))
        chosen = _Chosen.of(self, where)
        found: list[IntArray] = []
        count = 0
        while stop > first and count < limit:
            start = max(first, stop - _AT_ONCE)
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
            first, stop = self._span(where)
            here = np.flatnonzero(self._under(_Chosen.of(self, where), slice(first, stop))) + first
            found = _counted(
                self.verdicts, self.reasons, self._verdict.values[here], self._reason.values[here]
            )
        return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))

    def keys(self, places: IntArray) -> list[SetupKey]:
        """What names the rows of these places."""
        columns = (each.values[places].tolist() for each in (self._time_ms, self._symbol, self._strategy))
        return [
            (time_ms, self.symbols[symbol], self.strategies[strategy])
            for time_ms, symbol, strategy in zip(*columns, strict=True)
        ]

    def place(self, key: SetupKey) -> int:
        """The place of the first row that is not before a key."""
        first, stop = (int(np.searchsorted(self.time_ms, key[0], side=side)) for side in ("left", "right"))
        return first + sum(each < key for each in self.keys(np.arange(first, stop)))

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


def _counted(
    verdicts: tuple[str, ...], reasons: tuple[str, ...], verdict: Codes, reason: Codes
) -> dict[tuple[str, str], int]:
    both = verdict.astype(np.int64) * len(reasons) + reason
    counts = np.bincount(both, minlength=1)
    return {
        (verdicts[place // len(reasons)], reasons[place % len(reasons)]): int(counts[place])
        for place in np.flatnonzero(counts).tolist()
    }
