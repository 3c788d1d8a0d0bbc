"""What every scan said: its verdict, and the compact block in which all scans of one moment are kept.

A block holds one strategy at one close time: a column each for reason codes, readiness, confidence and every
measurement, compressed with Zstandard. Layout, little-endian:

    magic "CTD1" | then, compressed: uint32 length of a JSON header | header | columns

The header says strategy, time, configuration version, symbols and the names of the columns. Columns follow
in that order, one item a symbol: `reason` int8, `confidence` float64 (it ranks setups), readiness and
measurements float32 (they are for people; exact values are recomputed from bars and versions). NaN stands
for what was not measured.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct

import numpy as np
import zstandard

from crypto_tracker.core.arrays import BoolArray, CodeArray, FloatArray, RecordArray
from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.strategies.base import Detection

MAGIC = b"CTD1"
_LEVEL = 3
_MAX_BYTES = 64 * 1024 * 1024  # of one block, so that a damaged length cannot fill the memory
_KINDS = ("<i1", "<f4", "<f8")  # reason, readiness, confidence; measurements are as readiness
_LENGTH, _REASON, _SINGLE, _DOUBLE = Struct("<I"), Struct("<b"), Struct("<f"), Struct("<d")
_AFTER_TIME = b',"version":'  # what stands behind it in the header is the same from close to close


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScanBlock:
    """All scans of one strategy at one moment; arrays are (symbols,)."""

    strategy: str
    time_ms: int  # the close at which was decided
    version: str  # of the configuration
    symbols: tuple[Symbol, ...]
    reason: CodeArray
    readiness: FloatArray
    confidence: FloatArray
    measurements: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanColumn:
    """One symbol of a block."""

    strategy: str
    time_ms: int
    version: str
    reason: int
    readiness: float
    confidence: float
    measurements: Mapping[str, float]


def near_misses(detection: Detection, near_miss: float) -> BoolArray:
    """Scans that are no setup although their readiness is `near_miss` (0 to 100) or more, (bars, symbols)."""
    return np.asarray(~detection.setup & (detection.readiness >= near_miss))


def verdict(reason: int, readiness: float, near_miss: float) -> Verdict:
    """The verdict of one scan, as far as the strategy is concerned: the portfolio may still refuse a TAKE."""
    if reason == Reason.ACCEPTED:
        return Verdict.TAKE
    return Verdict.NEAR_MISS if readiness >= near_miss else Verdict.SKIP


def scan_block(detection: Detection, row: int, version: str) -> ScanBlock:
    """All scans of one row of a detection."""
    return ScanBlock(
        strategy=detection.strategy,
        time_ms=int(detection.panel.close_time_ms[row]),
        version=version,
        symbols=detection.panel.symbols,
        reason=detection.reason[row],
        readiness=detection.readiness[row],
        confidence=detection.confidence[row],
        measurements={name: values[row] for name, values in detection.measurements.items()},
    )


def encode_block(block: ScanBlock) -> bytes:
    """The block as bytes; equal blocks give equal bytes."""
    header = json.dumps(
        {
            "strategy": block.strategy,
            "time_ms": block.time_ms,
            "version": block.version,
            "symbols": [str(symbol) for symbol in block.symbols],
            "measurements": list(block.measurements),
        },
        separators=(",", ":"),
    ).encode()
    columns = [
        _column(block.reason, "<i1", block),
        _column(block.readiness, "<f4", block),
        _column(block.confidence, "<f8", block),
        *(_column(values, "<f4", block) for values in block.measurements.values()),
    ]
    content = b"".join([len(header).to_bytes(4, "little"), header, *columns])
    return MAGIC + zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compress(content)


def decode_block(data: bytes) -> ScanBlock:
    """The block that `encode_block` wrote; raises DataError for anything else."""
    opened = _opened(data, zstandard.ZstdDecompressor())
    symbols, place, columns = len(opened.layout.symbols), opened.place, []
    for kind in (*_KINDS, *("<f4" for _ in opened.layout.measurements)):
        column = np.frombuffer(opened.content, dtype=kind, count=symbols, offset=place)
        columns.append(column)
        place += column.nbytes
    reason, readiness, confidence, *measured = columns
    return ScanBlock(
        strategy=opened.strategy,
        time_ms=opened.time_ms,
        version=opened.layout.version,
        symbols=opened.layout.symbols,
        reason=reason.astype(np.int8),
        readiness=readiness.astype(np.float64),
        confidence=confidence.astype(np.float64),
        measurements={
            name: column.astype(np.float64)
            for name, column in zip(opened.layout.measurements, measured, strict=True)
        },
    )


def decode_column(data: bytes, symbol: Symbol) -> ScanColumn | None:
    """One symbol of the block that `encode_block` wrote, None where it is not in it; errors as above."""
    return next(decode_columns([data], symbol))


def decode_some(data: bytes, symbols: Sequence[Symbol]) -> list[ScanColumn | None]:
    """Some symbols of one block, None for each that is not in it; errors as above."""
    opened = _opened(data, zstandard.ZstdDecompressor())
    places = [opened.layout.places.get(symbol) for symbol in symbols]
    return [None if place is None else _column_of(opened, place) for place in places]


def decode_columns(blocks: Iterable[bytes], symbol: Symbol) -> Iterator[ScanColumn | None]:
    """One symbol of each of many blocks, in a few microseconds however many symbols they hold."""
    decompressor = zstandard.ZstdDecompressor()  # to make one takes as long as to use it
    for data in blocks:
        opened = _opened(data, decompressor)
        column = opened.layout.places.get(symbol)
        yield None if column is None else _column_of(opened, column)


def _column_of(opened: "_Opened", column: int) -> ScanColumn:
    content, symbols, place = opened.content, len(opened.layout.symbols), opened.place
    singles = place + 13 * symbols + 4 * column
    return ScanColumn(
        strategy=opened.strategy,
        time_ms=opened.time_ms,
        version=opened.layout.version,
        reason=_REASON.unpack_from(content, place + column)[0],
        readiness=_SINGLE.unpack_from(content, place + symbols + 4 * column)[0],
        confidence=_DOUBLE.unpack_from(content, place + 5 * symbols + 8 * column)[0],
        measurements={
            name: _SINGLE.unpack_from(content, singles + 4 * symbols * index)[0]
            for index, name in enumerate(opened.layout.measurements)
        },
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the header says of the columns; the same object for every block that says the same."""

    version: str
    symbols: tuple[Symbol, ...]
    measurements: tuple[str, ...]
    places: Mapping[Symbol, int]


@dataclass(frozen=True, slots=True)
class _Opened:
    """A decompressed block: its columns begin at `place`."""

    strategy: str
    time_ms: int
    layout: _Layout
    content: bytes
    place: int


def _opened(data: bytes, decompressor: zstandard.ZstdDecompressor) -> _Opened:
    if data[: len(MAGIC)] != MAGIC:
        raise DataError("a decision block does not begin with its mark: it is damaged or of another version")
    try:
        content = decompressor.decompress(data[len(MAGIC) :], max_output_size=_MAX_BYTES)
        place = _LENGTH.size + int.from_bytes(content[: _LENGTH.size], "little")
        header = content[_LENGTH.size : place]
        time, mark, rest = header.partition(_AFTER_TIME)
        named = json.loads(time + b"}")
        layout = _layout(b"{" + mark[1:] + rest)
        opened = _Opened(named["strategy"], named["time_ms"], layout, content, place)
    except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"a decision block cannot be read, it is damaged: {error}") from error
    if len(content) != place + len(layout.symbols) * (13 + 4 * len(layout.measurements)):
        raise DataError("a decision block is damaged: its columns do not have the length that it states")
    return opened


@lru_cache(maxsize=64)
def _layout(header: bytes) -> _Layout:
    """The header without strategy and time, which is parsed once for the many blocks that share it."""
    document = json.loads(header)
    symbols = tuple(Symbol.parse(text) for text in document["symbols"])
    return _Layout(
        version=document["version"],
        symbols=symbols,
        measurements=tuple(document["measurements"]),
        places={symbol: column for column, symbol in enumerate(symbols)},
    )


def _column(values: RecordArray, kind: str, block: ScanBlock) -> bytes:
    if values.shape != (len(block.symbols),):
        raise DataError(
            f"a decision block of {block.strategy} needs one value for each symbol in every column"
        )
    return values.astype(kind).tobytes()
