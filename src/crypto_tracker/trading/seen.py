"""How the journal keeps what was seen: coarser bars by value, minutes by the revision that was taken.

All blocks are compressed with Zstandard. Equal content gives equal bytes. Layouts, little-endian:

    rows       "CTR1" | int64 open time of the first row | int64 step | uint32 rows | uint32 symbols
               | values | covered
    cells      "CTC1" | uint32 cells | int64 open times | uint32 columns | values | covered
    revisions  "CTV1" | int32, one for each symbol
    and books  "CTV2" | uint32 symbols | int32, one for each symbol | for each symbol whose order books were
               read, in their order: uint32 column | digest

A minute is of the last kind where recorded order books were read for it, even if none were there.

Values are float64 (5, ...) in the order of BAR_FIELDS, their bytes grouped by significance, which compresses
prices well; covered is one byte each.
"""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import zstandard

from crypto_tracker.core.arrays import BoolArray, FloatArray, IntArray
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.simulation.books import OrderBooks
from crypto_tracker.store.feed import RevisionArray

NO_BOOKS = bytes(8)
"""In place of a digest: the books of a symbol were looked for, and none were there."""

_ROWS, _CELLS, _REVISIONS, _WITH_BOOKS = b"CTR1", b"CTC1", b"CTV1", b"CTV2"
_FIELDS = len(BAR_FIELDS)
_LEVEL = 3
_DIGEST_BYTES = len(NO_BOOKS)
_MAX_BYTES = 2**31


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeenRows:
    """Consecutive bars of all symbols of one part and timeframe.

    `values` is float64 (5, rows, symbols), NaN where a bar is missing; `covered` is bool (rows, symbols).
    """

    start_ms: int
    step_ms: int
    values: FloatArray
    covered: BoolArray

    @classmethod
    def of_panel(cls, panel: Panel) -> "SeenRows":
        """The bars of a panel; raises StoreError for a panel without rows, whose place would be lost."""
        if not len(panel):
            raise StoreError("bars without a single row can not be kept: ask for a span that holds one")
        return cls(
            start_ms=int(panel.open_time_ms[0]),
            step_ms=panel.timeframe.ms,
            values=np.stack([getattr(panel, name) for name in BAR_FIELDS]),
            covered=panel.covered,
        )

    def panel(self, timeframe: Timeframe, symbols: tuple[Symbol, ...]) -> Panel:
        """The same bars as a panel of these columns."""
        times = self.start_ms + np.arange(self.values.shape[1], dtype=np.int64) * self.step_ms
        return Panel(
            timeframe=timeframe,
            symbols=symbols,
            open_time_ms=times,
            covered=self.covered,
            **dict(zip(BAR_FIELDS, self.values, strict=True)),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeenCells:
    """Single bars here and there in one part and timeframe.

    `open_time_ms` and `column` say where, `values` is float64 (5, cells), `covered` bool (cells,).
    """

    open_time_ms: IntArray
    column: IntArray
    values: FloatArray
    covered: BoolArray


def encode_rows(rows: SeenRows) -> bytes:
    """The rows as bytes."""
    _, count, symbols = rows.values.shape
    head = struct.pack("<qqII", rows.start_ms, rows.step_ms, count, symbols)
    return _packed(_ROWS, head + _grouped(rows.values) + _flags(rows.covered))


def decode_rows(data: bytes) -> SeenRows:
    """The rows that `encode_rows` wrote; raises StoreError for anything else."""
    content = _unpacked(_ROWS, data)
    size = struct.calcsize("<qqII")
    start_ms, step_ms, count, symbols = _unpack("<qqII", content[:size])
    values, covered = _values(content[size:], (count, symbols))
    return SeenRows(start_ms=start_ms, step_ms=step_ms, values=values, covered=covered)


def encode_cells(cells: SeenCells) -> bytes:
    """The cells as bytes."""
    where = cells.open_time_ms.astype("<i8").tobytes() + cells.column.astype("<u4").tobytes()
    head = struct.pack("<I", len(cells.column))
    return _packed(_CELLS, head + where + _grouped(cells.values) + _flags(cells.covered))


def decode_cells(data: bytes) -> SeenCells:
    """The cells that `encode_cells` wrote; raises StoreError for anything else."""
    content = _unpacked(_CELLS, data)
    (count,) = _unpack("<I", content[:4])
    if len(content) < 4 + 12 * count:
        raise _damaged()
    times = np.frombuffer(content, "<i8", count, 4).astype(np.int64)
    columns = np.frombuffer(content, "<u4", count, 4 + 8 * count).astype(np.int64)
    values, covered = _values(content[4 + 12 * count :], (count,))
    return SeenCells(open_time_ms=times, column=columns, values=values, covered=covered)


def encode_revisions(revisions: RevisionArray, books: Mapping[int, bytes] | None = None) -> bytes:
    """The revision of each watched symbol, or NO_TRADE or UNKNOWN (`store.feed`), as bytes.

    With them goes the digest of the order books of each symbol whose books were read, by column.
    """
    plain = revisions.astype("<i4").tobytes()
    if not books:
        return _packed(_REVISIONS, plain)
    digests = b"".join(struct.pack("<I", column) + digest for column, digest in sorted(books.items()))
    return _packed(_WITH_BOOKS, struct.pack("<I", len(revisions)) + plain + digests)


def decode_revisions(data: bytes) -> RevisionArray:
    """The revisions that `encode_revisions` wrote, int32 (symbols,); raises StoreError for anything else."""
    return _decoded_minute(data)[0]


def decode_books(data: bytes) -> dict[int, bytes]:
    """The digests of order books that `encode_revisions` wrote, by column."""
    return _decoded_minute(data)[1]


def _decoded_minute(data: bytes) -> tuple[RevisionArray, dict[int, bytes]]:
    if data[: len(_WITH_BOOKS)] != _WITH_BOOKS:
        content = _unpacked(_REVISIONS, data)
        if len(content) % 4:
            raise _damaged()
        return np.frombuffer(content, "<i4").astype(np.int32), {}
    content = _unpacked(_WITH_BOOKS, data)
    (symbols,) = _unpack("<I", content[:4])
    begin, step = 4 + 4 * symbols, 4 + _DIGEST_BYTES
    if len(content) < begin or (len(content) - begin) % step:
        raise _damaged()
    books = {
        _unpack("<I", content[place : place + 4])[0]: content[place + 4 : place + step]
        for place in range(begin, len(content), step)
    }
    return np.frombuffer(content, "<i4", symbols, 4).astype(np.int32), books


def bars_digest(values: FloatArray) -> bytes:
    """A digest of the values of one minute, float64 (5, symbols); all missing values are alike."""
    plain = np.where(np.isnan(values), np.nan, values).astype("<f8")
    return hashlib.blake2b(np.ascontiguousarray(plain).tobytes(), digest_size=_DIGEST_BYTES).digest()


def books_digest(books: OrderBooks, column: int, start_ms: int, end_ms: int) -> bytes:
    """A digest of the order books of one symbol in [start, end); NO_BOOKS where there are none."""
    rows = books.snapshots[books.first[column] : books.first[column + 1]]
    low, high = np.searchsorted(rows["time_ms"], [start_ms, end_ms])
    rows = rows[low:high]
    if not len(rows):
        return NO_BOOKS
    digest = hashlib.blake2b(rows["time_ms"].astype("<i8").tobytes(), digest_size=_DIGEST_BYTES)
    for name in ("asks", "end"):
        digest.update((rows[name] - rows["bids"]).astype("<i8").tobytes())
    levels = books.levels[rows["bids"][0] : rows["end"][-1]]
    for name in ("price", "size"):
        digest.update(levels[name].astype("<f8").tobytes())
    return digest.digest()


def _grouped(values: FloatArray) -> bytes:
    """The first bytes of all numbers, then the second bytes, and so on."""
    plain = np.ascontiguousarray(np.where(np.isnan(values), np.nan, values).astype("<f8"))
    return np.ascontiguousarray(plain.reshape(-1).view(np.uint8).reshape(-1, 8).T).tobytes()


def _flags(covered: BoolArray) -> bytes:
    return np.ascontiguousarray(covered, dtype=np.uint8).tobytes()


def _values(content: bytes, shape: tuple[int, ...]) -> tuple[FloatArray, BoolArray]:
    """Values (5, *shape) and flags of `shape`."""
    count = int(np.prod(shape, dtype=np.int64))
    numbers = _FIELDS * count
    if len(content) != numbers * 8 + count:
        raise _damaged()
    grouped = np.frombuffer(content, np.uint8, numbers * 8).reshape(8, numbers)
    values = np.ascontiguousarray(grouped.T).reshape(-1).view("<f8").astype(np.float64)
    covered = np.frombuffer(content, np.uint8, count, numbers * 8).astype(np.bool_)
    return values.reshape(_FIELDS, *shape), covered.reshape(shape)


def _packed(mark: bytes, content: bytes) -> bytes:
    return mark + zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compress(content)


def _unpacked(mark: bytes, data: bytes) -> bytes:
    if data[: len(mark)] != mark:
        raise _damaged()
    try:
        return bytes(zstandard.ZstdDecompressor().decompress(data[len(mark) :], max_output_size=_MAX_BYTES))
    except zstandard.ZstdError as error:
        raise _damaged() from error


def _unpack(layout: str, content: bytes) -> tuple[int, ...]:
    try:
        return struct.unpack(layout, content)
    except struct.error as error:
        raise _damaged() from error


def _damaged() -> StoreError:
    return StoreError(
        "a block of seen bars is damaged or of another version: restore the account from a copy"
    )
