"""Recorded order books as flat arrays: what market fills walk (docs/simulator.md, section 10)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from crypto_tracker.core.arrays import IntArray, RecordArray
from crypto_tracker.core.errors import SimulationError

SNAPSHOT_DTYPE = np.dtype(
    [
        ("time_ms", np.int64),
        ("bids", np.int64),  # row of its first bid in the levels; the bids end where the asks begin
        ("asks", np.int64),  # row of its first ask
        ("end", np.int64),  # row after its last ask
    ],
    align=True,
)

LEVEL_DTYPE = np.dtype([("price", np.float64), ("size", np.float64)], align=True)  # quote currency, coins

NOT_ASKED = -1  # `book_ms` of a fill that has nothing to do with books: limits, or the source is the table
NOT_RECORDED = -2  # of a market fill by the slippage table, because no book of its moment was recorded

Side: TypeAlias = Sequence[tuple[float, float]]
Snapshot: TypeAlias = tuple[int, Side, Side]  # time, bids and asks, the best first


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OrderBooks:
    """The recorded books of several symbols.

    Attributes
    ----------
    first : int64 (symbols + 1,), the row of each symbol's first snapshot
    snapshots : SNAPSHOT_DTYPE, each symbol's together, times strictly ascending within a symbol
    levels : LEVEL_DTYPE; each snapshot has bids, best first, then asks, best first, at least one of each

    Raises SimulationError where something of this does not hold, and for a book whose best bid is not below
    its best ask: nobody could have traded with it.
    """

    first: IntArray
    snapshots: RecordArray
    levels: RecordArray

    def __post_init__(self) -> None:
        if self.snapshots.dtype != SNAPSHOT_DTYPE or self.levels.dtype != LEVEL_DTYPE:
            raise SimulationError("recorded books must have SNAPSHOT_DTYPE and LEVEL_DTYPE")
        first = self.first
        if not len(first) or first[0] != 0 or first[-1] != len(self.snapshots) or (np.diff(first) < 0).any():
            raise SimulationError("the first rows of recorded books must ascend from 0 to the number of them")
        wrong = what_is_wrong(self)
        if wrong is not None:
            raise SimulationError(wrong)

    def __len__(self) -> int:
        return len(self.snapshots)

    def between(self, start_ms: int, end_ms: int) -> "OrderBooks":
        """The snapshots of [start, end), in the same order of symbols."""
        parts = []
        for column in range(len(self.first) - 1):
            rows = self.snapshots[self.first[column] : self.first[column + 1]]
            low, high = np.searchsorted(rows["time_ms"], [start_ms, end_ms])
            parts.append((rows[low:high], self.levels))
        return joined(parts)


def what_is_wrong(books: OrderBooks) -> str | None:
    """What does not hold of snapshots and levels, as a sentence; None where all of it does."""
    shots, levels, first = books.snapshots, books.levels, books.first
    later = np.diff(shots["time_ms"]) > 0
    later[first[(first > 0) & (first < len(shots))] - 1] = True  # there another symbol begins
    if not later.all():
        return "the snapshots of a symbol must follow each other in time"
    two_sided = (shots["bids"] < shots["asks"]) & (shots["asks"] < shots["end"])
    ends = np.r_[0, shots["end"]]
    if not two_sided.all() or not np.array_equal(np.r_[shots["bids"], len(levels)], ends):
        return "every recorded book must have bids and asks, one snapshot after the other"
    for name in ("price", "size"):
        if not (np.isfinite(levels[name]) & (levels[name] > 0)).all():
            return f"every {name} of a recorded book must be a number above 0"
    if not (levels["price"][shots["bids"]] < levels["price"][shots["asks"]]).all():
        return "the best bid of a recorded book must be below its best ask"
    is_best = np.zeros(len(levels), dtype=np.bool_)
    is_best[shots["bids"]] = is_best[shots["asks"]] = True
    is_ask = np.cumsum(is_best) % 2 == 0  # bids and asks take turns, and each begins with its best
    step = np.diff(levels["price"])
    if not (np.where(is_ask[1:], step > 0, step < 0) | is_best[1:]).all():
        return "the levels of a recorded book must go from the best to the worst"
    return None


def joined(parts: Sequence[tuple[RecordArray, RecordArray]]) -> OrderBooks:
    """Books from the snapshots and levels of each symbol; snapshots may begin anywhere in their levels."""
    snapshots, levels, first, place = [], [], [0], 0
    for shots, rows in parts:
        if len(shots):
            begin, end = int(shots["bids"][0]), int(shots["end"][-1])
            moved = shots.copy()
            for name in ("bids", "asks", "end"):
                moved[name] += place - begin
            snapshots.append(moved)
            levels.append(rows[begin:end])
            place += end - begin
        first.append(first[-1] + len(shots))
    return OrderBooks(
        first=np.array(first, dtype=np.int64),
        snapshots=np.concatenate(snapshots) if snapshots else np.zeros(0, dtype=SNAPSHOT_DTYPE),
        levels=np.concatenate(levels) if levels else np.zeros(0, dtype=LEVEL_DTYPE),
    )


def in_columns(books: OrderBooks, columns: IntArray, symbols: int) -> OrderBooks:
    """Books of some symbols as the books of all: `columns`, ascending, says which ones they are."""
    counts = np.zeros(symbols, dtype=np.int64)
    counts[columns] = np.diff(books.first)
    first = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
    return OrderBooks(first=first, snapshots=books.snapshots, levels=books.levels)


def market_fills(fills: RecordArray) -> tuple[int, int]:
    """How many of the fills walked a recorded book, and how many used the table for want of one."""
    return int((fills["book_ms"] >= 0).sum()), int((fills["book_ms"] == NOT_RECORDED).sum())


def no_books(symbols: int) -> OrderBooks:
    """Books of symbols of which nothing was recorded."""
    return order_books([[]] * symbols)


def order_books(symbols: Iterable[Sequence[Snapshot]]) -> OrderBooks:
    """Books from the snapshots of each symbol.

    >>> books = order_books([[(0, [(99.0, 2.0)], [(101.0, 1.0), (102.0, 5.0)])]])
    >>> books.levels["price"].tolist()
    [99.0, 101.0, 102.0]
    """
    parts = []
    for snapshots in symbols:
        shots = np.zeros(len(snapshots), dtype=SNAPSHOT_DTYPE)
        levels: list[tuple[float, float]] = []
        for row, (time_ms, bids, asks) in enumerate(snapshots):
            start = len(levels)
            levels.extend(bids)
            levels.extend(asks)
            shots[row] = (time_ms, start, start + len(bids), len(levels))
        parts.append((shots, np.array(levels, dtype=LEVEL_DTYPE)))
    return joined(parts)
