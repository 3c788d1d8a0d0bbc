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
from collections.abc import Mapping
from dataclasses import dataclass

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
    if data[: len(MAGIC)] != MAGIC:
        raise DataError("a decision block does not begin with its mark: it is damaged or of another version")
    try:
        content = zstandard.ZstdDecompressor().decompress(data[len(MAGIC) :], max_output_size=_MAX_BYTES)
        length = int.from_bytes(content[:4], "little")
        header = json.loads(content[4 : 4 + length])
        symbols = tuple(Symbol.parse(text) for text in header["symbols"])
        place = 4 + length
        columns = []
        for kind in ("<i1", "<f4", "<f8", *("<f4" for _ in header["measurements"])):
            size = len(symbols) * np.dtype(kind).itemsize
            columns.append(np.frombuffer(content[place : place + size], dtype=kind))
            place += size
    except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"a decision block cannot be read, it is damaged: {error}") from error
    if place != len(content) or any(len(column) != len(symbols) for column in columns):
        raise DataError("a decision block is damaged: its columns do not have the length that it states")
    reason, readiness, confidence, *measured = columns
    return ScanBlock(
        strategy=header["strategy"],
        time_ms=header["time_ms"],
        version=header["version"],
        symbols=symbols,
        reason=reason.astype(np.int8),
        readiness=readiness.astype(np.float64),
        confidence=confidence.astype(np.float64),
        measurements={
            name: column.astype(np.float64)
            for name, column in zip(header["measurements"], measured, strict=True)
        },
    )


def _column(values: RecordArray, kind: str, block: ScanBlock) -> bytes:
    if values.shape != (len(block.symbols),):
        raise DataError(
            f"a decision block of {block.strategy} needs one value for each symbol in every column"
        )
    return values.astype(kind).tobytes()
