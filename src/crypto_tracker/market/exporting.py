"""Writes stored bars to files that other programs read, and that `import-data` reads again.

Of every bar the newest revision that is not suspect is written. A minute in which nobody traded has no row:
nothing is invented. Files are written month by month, coarser bars year by year, so that a symbol never lies
in memory as a whole; and they appear whole: under another name until they are on the disk.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection

from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, next_month_ms
from crypto_tracker.market.providers.files.names import EXCHANGES
from crypto_tracker.store.batch import VALUE_FIELDS
from crypto_tracker.store.market_database import symbol_ids
from crypto_tracker.store.reader import SOURCES, BarReader
from crypto_tracker.store.series import SeriesInfo
from crypto_tracker.store.tiers import Tiers


class Format(Enum):
    """The forms in which bars are written."""

    CSV = "csv"
    PARQUET = "parquet"
    FEATHER = "feather"
    """As freqtrade keeps its candles."""


FIELDS: Mapping[Format, tuple[str, ...]] = {
    Format.CSV: VALUE_FIELDS,
    Format.PARQUET: VALUE_FIELDS,
    Format.FEATHER: VALUE_FIELDS[:5],
}
"""What each form holds of a bar, besides its open time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One file to be written: the bars of a series that open in [start_ms, end_ms)."""

    provider: str
    symbol: Symbol
    timeframe: Timeframe
    start_ms: int
    end_ms: int

    def path(self, form: Format) -> Path:
        """Where the file goes, below the folder of the export.

        >>> perpetual = Symbol.parse("BTC/USDT:USDT")
        >>> where = dict(provider="binance", timeframe=Timeframe.M1, start_ms=0, end_ms=0)
        >>> Wanted(symbol=perpetual, **where).path(Format.FEATHER).as_posix()
        'binance/futures/BTC_USDT_USDT-1m-futures.feather'
        >>> Wanted(symbol=Symbol.parse("BTC/USDT"), **where).path(Format.CSV).as_posix()
        'binance/BTC_USDT-1m.csv'
        """
        parts = (self.symbol.base, self.symbol.quote, self.symbol.settle)
        name = f"{'_'.join(part for part in parts if part)}-{self.timeframe}"
        if form is Format.FEATHER and self.symbol.is_perpetual:
            return Path(self.provider, "futures", f"{name}-futures.{form.value}")
        return Path(self.provider, f"{name}.{form.value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What became of one file.

    Attributes
    ----------
    path : None where the span holds no bar, and so no file was written
    suspects : values that were left out because their close jumped
    first_ms, last_ms : open times of the first and the last bar; None without any
    """

    wanted: Wanted
    path: Path | None
    rows: int
    suspects: int
    first_ms: int | None
    last_ms: int | None


Watch = Callable[[Wanted, int], None]
"""Is told after each part how many bars of a file have been written since the last time."""


def plan_export(
    series: Sequence[SeriesInfo],
    *,
    provider: str | None,
    symbols: Sequence[Symbol],
    timeframe: Timeframe | None,
    start_ms: int | None,
    end_ms: int | None,
) -> list[Wanted]:
    """The files that are to be written: every stored series, or what can be made of them on `timeframe`.

    Raises DataError where nothing is stored of what is asked for.
    """
    found: dict[tuple[str, Symbol, Timeframe], tuple[int, int]] = {}
    for info in series:
        if provider not in {None, info.provider} or (symbols and info.symbol not in symbols):
            continue
        target = info.timeframe if timeframe is None else timeframe
        if info.timeframe not in SOURCES[target]:
            continue
        key = info.provider, info.symbol, target
        start, end = found.get(key, (info.start_ms, info.end_ms))
        found[key] = min(start, info.start_ms), max(end, info.end_ms)
    absent = [str(symbol) for symbol in symbols if symbol not in {key[1] for key in found}]
    if absent or not found:
        what = f"bars of {', '.join(absent)}" if absent else "bars"
        of = "".join(
            [
                f" from {provider}" if provider else "",
                f" that {timeframe} bars can be made of" if timeframe else "",
            ]
        )
        raise DataError(f"the store has no {what}{of}: `crypto-tracker list-data` shows what there is")
    wanted = []
    for (whose, symbol, target), (first_ms, last_ms) in sorted(
        found.items(), key=lambda item: (item[0][0], item[0][1], item[0][2].ms)
    ):
        start = target.floor(first_ms)
        if start_ms is not None:
            start = max(start, target.floor(start_ms + target.ms - 1))
        end = last_ms if end_ms is None else min(last_ms, end_ms)
        if start < end:
            wanted.append(Wanted(provider=whose, symbol=symbol, timeframe=target, start_ms=start, end_ms=end))
    if not wanted:
        raise DataError("no bar lies in --timerange: `crypto-tracker list-data` shows what there is")
    return wanted


def refuse_to_overwrite(wanted: Sequence[Wanted], folder: Path, form: Format) -> None:
    """Raise UsageError where a file of the plan is there already."""
    there = [path for each in wanted if (path := folder / each.path(form)).exists()]
    if there:
        others = "" if len(there) == 1 else f" and {len(there) - 1:,} more"
        raise UsageError(f"{there[0]}{others} would be overwritten: name another folder, or say --overwrite")


def export(
    wanted: Sequence[Wanted], reader: BarReader, folder: Path, form: Format, *, watch: Watch
) -> Iterator[Exported]:
    """Write one file after the other, and say what became of each; a file of the same name is replaced.

    Stopping between two leaves all files whole. Raises DataError where a file cannot be written.
    """
    for each in wanted:
        try:
            yield _export(each, reader, folder / each.path(form), form, watch)
        except OSError as error:
            raise DataError(f"{folder / each.path(form)} cannot be written: {error}") from error


def unknown_names(wanted: Sequence[Wanted]) -> list[str]:
    """Providers that `import-data` does not tell from the name of their folder."""
    return sorted({each.provider for each in wanted} - EXCHANGES)


def _export(wanted: Wanted, reader: BarReader, path: Path, form: Format, watch: Watch) -> Exported:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    rows = suspects = 0
    first_ms: int | None = None
    last_ms: int | None = None
    try:
        with temporary.open("wb") as file:
            with _writer(form, file) as writer:
                for start_ms, end_ms in _parts(wanted):
                    bars = _read(reader, wanted, start_ms, end_ms)
                    suspects += bars.suspects
                    if len(bars.open_time_ms):
                        writer.write(bars)
                        first_ms = int(bars.open_time_ms[0]) if first_ms is None else first_ms
                        last_ms = int(bars.open_time_ms[-1])
                    rows += len(bars.open_time_ms)
                    watch(wanted, len(bars.open_time_ms))
            file.flush()
            os.fsync(file.fileno())
        if rows:
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return Exported(
        wanted=wanted,
        path=path if rows else None,
        rows=rows,
        suspects=suspects,
        first_ms=first_ms,
        last_ms=last_ms,
    )


def _parts(wanted: Wanted) -> Iterator[tuple[int, int]]:
    """The span in parts that end with a calendar month; of coarser bars twelve months make one."""
    start_ms = wanted.start_ms
    while start_ms < wanted.end_ms:
        stop_ms = next_month_ms(start_ms)
        for _ in range(0 if wanted.timeframe is Timeframe.M1 else 11):
            stop_ms = next_month_ms(stop_ms)
        yield start_ms, min(stop_ms, wanted.end_ms)
        start_ms = stop_ms


@dataclass(frozen=True, slots=True)
class _Bars:
    """Bars as they are written: values (7, bars) in the order of VALUE_FIELDS, NaN where unknown."""

    open_time_ms: IntArray
    values: FloatArray
    suspects: int


def _read(reader: BarReader, wanted: Wanted, start_ms: int, end_ms: int) -> _Bars:
    """The bars of one part; coarser ones are made of finer ones as everywhere else."""
    own = reader.consistently(lambda connection: _own_rows(connection, reader, wanted, start_ms, end_ms))
    if wanted.timeframe is Timeframe.M1:
        return own
    symbol, timeframe = wanted.symbol, wanted.timeframe
    panel = reader.panel([symbol], timeframe, start_ms, end_ms, provider=wanted.provider)
    present = panel.present[:, 0]
    times = panel.open_time_ms[present]
    values = np.full((len(VALUE_FIELDS), len(times)), np.nan)
    for place, name in enumerate(VALUE_FIELDS[:5]):
        values[place] = getattr(panel, name)[present, 0]
    # What no panel has is known of bars that are stored as they are.
    spans = reader.sources([symbol], timeframe, start_ms, end_ms, provider=wanted.provider)[symbol]
    for span in spans:
        if span.timeframe is timeframe:
            inside = (own.open_time_ms >= span.start_ms) & (own.open_time_ms < span.end_ms)
            places = np.searchsorted(times, own.open_time_ms[inside])
            values[5:, places] = own.values[5:, inside]
    return _Bars(times, values, own.suspects)


def _own_rows(connection: Connection, reader: BarReader, wanted: Wanted, start_ms: int, end_ms: int) -> _Bars:
    """The stored bars of the timeframe itself, and how many minutes of the span are suspect."""
    symbol_id = symbol_ids(connection, wanted.provider)[wanted.provider, wanted.symbol]
    tiers = Tiers(connection, reader.cold)
    suspects = tiers.suspects([symbol_id], Timeframe.M1, start_ms, end_ms)[symbol_id]
    rows = tiers.rows(symbol_id, wanted.timeframe, start_ms, end_ms)
    if wanted.timeframe is Timeframe.M1:
        rows = rows.without(suspects)
    rows = rows.newest()
    return _Bars(rows.open_time_ms, rows.values, len(suspects))


class _Writer(Protocol):
    """Writes bars to a file, part after part."""

    def write(self, bars: _Bars) -> None:
        """Append these bars."""
        ...


class _CsvWriter:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._begun = False

    def write(self, bars: _Bars) -> None:
        """Append these bars, below the names of the columns the first time."""
        frame = pl.DataFrame(
            {"open_time": bars.open_time_ms, **dict(zip(VALUE_FIELDS, bars.values, strict=True))},
            nan_to_null=True,
        ).with_columns(pl.col("open_time").cast(pl.Datetime("ms")))
        frame.write_csv(self._file, include_header=not self._begun, datetime_format="%Y-%m-%dT%H:%M:%SZ")
        self._begun = True


class _ArrowWriter:
    """Appends tables to what `pyarrow` writes, Parquet or Arrow IPC."""

    def __init__(self, sink: Any, schema: pa.Schema) -> None:
        self._sink = sink
        self._schema = schema

    def write(self, bars: _Bars) -> None:
        """Append these bars."""
        time, *fields = self._schema.names
        columns = [
            pa.array(bars.open_time_ms, type=self._schema.field(time).type),
            *(pa.array(values, from_pandas=True) for values in bars.values[: len(fields)]),
        ]
        self._sink.write_table(pa.Table.from_arrays(columns, schema=self._schema))


@contextmanager
def _writer(form: Format, file: BinaryIO) -> Iterator[_Writer]:
    """A writer that brings its file to an end when the block ends."""
    if form is Format.CSV:
        yield _CsvWriter(file)
        return
    time = "date" if form is Format.FEATHER else "open_time"
    schema = pa.schema(
        [
            pa.field(time, pa.timestamp("ms", tz="UTC")),
            *(pa.field(name, pa.float64()) for name in FIELDS[form]),
        ]
    )
    if form is Format.PARQUET:
        sink = pq.ParquetWriter(file, schema, compression="zstd")
    else:
        sink = pa.ipc.new_file(file, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
    with sink:
        yield _ArrowWriter(sink, schema)
