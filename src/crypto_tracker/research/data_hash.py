"""Names exactly the bars that a run reads, so that a later run can say whether they are still the same.

The digest of a column is XXH64 (of the xxHash family) over the bits of its values, read where they lie.
That goes nearly as fast as memory can be read; against forgery it is no help.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

from crypto_tracker.core.arrays import BoolArray, IntArray
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.features.blocks import month_blocks
from crypto_tracker.store import intervals
from crypto_tracker.store.sources import BarSource, MinuteSource

_Function = TypeVar("_Function", bound=Callable[..., Any])

DIGITS = 16  # hexadecimal, of a name

_ALL = slice(None)
_THREADS = 2

_PRIME_1 = np.uint64(0x9E3779B185EBCA87)
_PRIME_2 = np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME_3 = np.uint64(0x165667B19E3779F9)
_PRIME_4 = np.uint64(0x85EBCA77C2B2AE63)
_PRIME_5 = np.uint64(0x27D4EB2F165667C5)
_SIGNLESS = np.uint64(0x7FFFFFFFFFFFFFFF)
_INFINITY = np.uint64(0x7FF0000000000000)
_MISSING = np.uint64(0x7FF8000000000000)


@dataclass(frozen=True, slots=True)
class DataHash:
    """The name of all bars that were read, and of those of each symbol."""

    total: str
    symbols: Mapping[str, str]


class WitnessedBars:
    """A bar source that remembers a digest of all that it gave.

    A bar that is given again is not noted again, and digests end with the calendar month: a span that is read
    month after month gets the name that it has when it is read at once.
    """

    def __init__(self, source: BarSource) -> None:
        self._source = source
        self._seen: dict[Symbol, dict[tuple[str, int, int], int]] = {}
        self._given: dict[tuple[Symbol, str], IntArray] = {}

    def panel(self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
        """The bars of the source, unchanged."""
        panel = self._source.panel(symbols, timeframe, start_ms, end_ms)
        self._remember(panel, str(timeframe))
        return panel

    def _remember(self, panel: Panel, kind: str) -> None:
        if not len(panel):
            return
        span = intervals.as_intervals([(int(panel.open_time_ms[0]), int(panel.close_time_ms[-1]))])
        parts: list[tuple[dict[tuple[str, int, int], int], tuple[str, int, int], int, slice]] = []
        for column, symbol in enumerate(panel.symbols):
            seen = self._seen.setdefault(symbol, {})
            given = self._given.get((symbol, kind), intervals.EMPTY)
            self._given[symbol, kind] = intervals.union(given, span)
            for start_ms, end_ms in intervals.subtract(span, given).tolist():
                for first_ms, stop_ms in month_blocks(start_ms, end_ms):
                    first, stop = np.searchsorted(panel.open_time_ms, [first_ms, stop_ms])
                    rows = slice(int(first), int(stop))
                    if panel.covered[rows, column].any():
                        parts.append((seen, (kind, first_ms, rows.stop - rows.start), column, rows))
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="digest") as pool:
            digests = pool.map(lambda part: column_digest(panel, part[2], part[3]), parts)
            for (seen, key, _, _), digest in zip(parts, digests, strict=True):
                seen[key] = digest

    def data_hash(self, others: Mapping[str, str] | None = None) -> DataHash:
        """The names of what was given so far, with the names of `others` that were read beside the bars."""
        symbols = {
            str(symbol): _name(f"{key} {digest:016x}" for key, digest in sorted(parts.items()))
            for symbol, parts in sorted(self._seen.items())
        }
        symbols |= {name: digest[:DIGITS] for name, digest in (others or {}).items()}
        return DataHash(_name(f"{symbol} {name}" for symbol, name in symbols.items()), symbols)


class WitnessedMinutes(WitnessedBars):
    """The same of a source whose coarser bars are made of its minutes."""

    def __init__(self, source: MinuteSource) -> None:
        super().__init__(source)
        self._minutes = source

    def beside_minutes(
        self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int
    ) -> Panel | None:
        """What the source has beside its minutes, unchanged."""
        panel = self._minutes.beside_minutes(symbols, timeframe, start_ms, end_ms)
        if panel is not None:
            self._remember(panel, f"{timeframe} beside minutes")
        return panel


def witness(source: BarSource) -> WitnessedBars:
    """The source, with its abilities, that remembers what it gave."""
    return WitnessedMinutes(source) if isinstance(source, MinuteSource) else WitnessedBars(source)


def column_digest(panel: Panel, column: int, rows: slice = _ALL) -> int:
    """The digest of some bars of a symbol: prices, volume, and where they are known to be complete."""
    columns = [getattr(panel, field)[rows, column] for field in BAR_FIELDS]
    digest = 0
    for values in (*columns, _edges(panel.covered[rows, column])):
        digest = int(xxh64(values.view(np.uint64), np.uint64(digest)))
    return digest


def compiled(function: _Function) -> _Function:
    """Compile at the first call and keep the result on disk; the type stays that of the Python function."""
    return cast(_Function, njit(cache=True, nogil=True)(function))


@compiled
def _turned(word: np.uint64, bits: int) -> np.uint64:
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))


@compiled
def _round(state: np.uint64, word: np.uint64) -> np.uint64:
    known = word if (word & _SIGNLESS) <= _INFINITY else _MISSING
    return _turned(state + known * _PRIME_2, 31) * _PRIME_1


@compiled
def _merged(state: np.uint64, lane: np.uint64) -> np.uint64:
    return (state ^ (_turned(lane * _PRIME_2, 31) * _PRIME_1)) * _PRIME_1 + _PRIME_4


@compiled
def xxh64(words: np.ndarray[tuple[int], np.dtype[np.uint64]], seed: np.uint64) -> np.uint64:
    """XXH64 of 64-bit words; every NaN counts as the same one.

    >>> hex(xxh64(np.zeros(0, dtype=np.uint64), np.uint64(0)))
    '0xef46db3751d8e999'
    """
    count = len(words)
    whole = count - count % 4
    if count >= 4:
        a, b, c, d = seed + _PRIME_1 + _PRIME_2, seed + _PRIME_2, seed, seed - _PRIME_1
        for i in range(0, whole, 4):
            a = _round(a, words[i])
            b = _round(b, words[i + 1])
            c = _round(c, words[i + 2])
            d = _round(d, words[i + 3])
        value = _turned(a, 1) + _turned(b, 7) + _turned(c, 12) + _turned(d, 18)
        value = _merged(_merged(_merged(_merged(value, a), b), c), d)
    else:
        value = seed + _PRIME_5
    value += np.uint64(8 * count)
    for i in range(whole, count):
        value = _turned(value ^ _round(np.uint64(0), words[i]), 27) * _PRIME_1 + _PRIME_4
    value = (value ^ (value >> np.uint64(33))) * _PRIME_2
    value = (value ^ (value >> np.uint64(29))) * _PRIME_3
    return value ^ (value >> np.uint64(32))


def _edges(covered: BoolArray) -> IntArray:
    """Where the column turns from known to unknown or back, the state before it taken as unknown."""
    return np.flatnonzero(np.diff(covered, prepend=False)).astype(np.int64)


def _name(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:DIGITS]
