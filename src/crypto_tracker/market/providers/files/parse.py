"""One file as bars: its table, its names and what the person said, brought together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.core.validate import MISSING_TIME_MS
from crypto_tracker.market.providers.files.names import EXCHANGES, NameHints, hints, split_pair
from crypto_tracker.market.providers.files.sources import BarFile
from crypto_tracker.market.providers.files.tables import Layout, NotBarsError, Table, read_table
from crypto_tracker.market.providers.files.times import milliseconds
from crypto_tracker.store.batch import BarBatch

UNKNOWN_PROVIDER = "file"
TIME_COLUMNS = ("ts", "time", "timestamp", "date", "open_time", "datetime")
_VOLUME_COLUMNS = ("volume", "vol", "base_volume")
_COUNT_COLUMNS = ("n_trades", "trades", "count")
_OWN_PROVIDER = {Layout.BINANCE: "binance", Layout.KRAKEN: "kraken"}
_NO_CANDLES = ("mark", "index", "premiumIndex", "funding_rate")
# So many rows that lie on a coarser grid only by being bars of that grid.
_GRID_EVIDENCE_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """What the person says of the files; None where they leave it to the files."""

    provider: str | None = None
    symbol: Symbol | None = None
    timeframe: Timeframe | None = None
    layout: Layout | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedFile:
    """The bars of a file, unchecked, and whose they are. `notes` are worth telling the person."""

    provider: str
    symbol: Symbol
    timeframe: Timeframe
    layout: Layout
    bars: BarBatch
    table: pl.DataFrame
    notes: tuple[str, ...]

    def raw(self, index: int) -> Mapping[str, Any]:
        """The fields of a row as the file has them."""
        return self.table.row(index, named=True)


def parse_file(file: BarFile, content: bytes, options: FileOptions) -> ParsedFile:
    """Read the bars of one file.

    Raises NotBarsError where it holds something else, DataError where it is damaged or says too little.
    """
    named = hints(file.name, file.folders)
    if named.kind in _NO_CANDLES:
        raise NotBarsError(f"it holds {named.kind}, not traded prices")
    table = read_table(file.name, content, layout=options.layout, style=named.style)
    frame = table.frame.rename({name: name.lower() for name in table.frame.columns}, strict=False)
    if len(set(frame.columns)) < frame.width or not frame.height:
        raise DataError("the file has no rows" if not frame.height else "two columns have the same name")
    table = Table(frame, table.layout, table.first_line)
    times = milliseconds(_time_column(frame))
    bars, notes = _batch(table, times)
    timeframe = _timeframe(options, named, frame, times)
    return ParsedFile(
        provider=_provider(options, named, table),
        symbol=_symbol(options, named, frame),
        timeframe=timeframe,
        layout=table.layout,
        bars=bars,
        table=frame,
        notes=notes,
    )


def _time_column(frame: pl.DataFrame) -> pl.Series:
    for name in TIME_COLUMNS:
        if name in frame.columns:
            return frame[name]
    raise NotBarsError(
        f"no column of times among {', '.join(frame.columns[:12])}: expected one of {', '.join(TIME_COLUMNS)}"
    )


def _batch(table: Table, times: IntArray) -> tuple[BarBatch, tuple[str, ...]]:
    frame = table.frame
    missing = [name for name in ("open", "high", "low", "close") if name not in frame.columns]
    if missing:
        raise NotBarsError(f"no column {', '.join(missing)} among {', '.join(frame.columns[:12])}")
    notes = []
    volume = _first(frame, _VOLUME_COLUMNS)
    if volume is None:
        notes.append("no column of volume: it counts as unknown")
        volume = np.full(frame.height, np.nan)
    vwap = _first(frame, ("vwap",))
    if table.layout is Layout.BINANCE:
        traded = _numbers(frame["quote_volume"])
        vwap = np.divide(traded, volume, out=np.full(frame.height, np.nan), where=volume > 0)
    bars = BarBatch(
        open_time_ms=times,
        open=_numbers(frame["open"]),
        high=_numbers(frame["high"]),
        low=_numbers(frame["low"]),
        close=_numbers(frame["close"]),
        volume=volume,
        vwap=vwap,
        n_trades=_first(frame, _COUNT_COLUMNS),
        line=np.arange(table.first_line, table.first_line + frame.height, dtype=np.int64),
    )
    return bars, tuple(notes)


def _first(frame: pl.DataFrame, names: tuple[str, ...]) -> FloatArray | None:
    """The first of some columns that the table has."""
    for name in names:
        if name in frame.columns:
            return _numbers(frame[name])
    return None


def _numbers(column: pl.Series) -> FloatArray:
    """A column as float64; NaN where there is no number."""
    if column.dtype == pl.String:
        column = column.str.strip_chars()
    elif not column.dtype.is_numeric():
        raise NotBarsError(f"the column {column.name} holds {column.dtype}, not numbers")
    return column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()


def _provider(options: FileOptions, named: NameHints, table: Table) -> str:
    if options.provider is not None:
        return options.provider
    said = _constant(table.frame, ("provider", "exchange"))
    if said is not None and said.lower() in EXCHANGES:
        return said.lower()
    return named.provider or _OWN_PROVIDER.get(table.layout, UNKNOWN_PROVIDER)


def _symbol(options: FileOptions, named: NameHints, frame: pl.DataFrame) -> Symbol:
    if options.symbol is not None:
        return options.symbol
    said = _constant(frame, ("symbol", "pair"))
    if said is not None:
        try:
            column = Symbol.parse(said) if "/" in said else split_pair(said)
        except UsageError:
            column = None
        if column is not None:
            return column
    if named.symbol is None:
        raise DataError("its name does not tell the symbol: give --symbol, such as BTC/USDT or BTC/USDT:USDT")
    return named.symbol


def _timeframe(options: FileOptions, named: NameHints, frame: pl.DataFrame, times: IntArray) -> Timeframe:
    distinct = np.sort(times[times != MISSING_TIME_MS])
    steps = np.diff(distinct)
    steps = steps[steps > 0]
    said = named.length or _constant(frame, ("timeframe", "interval"))
    if options.timeframe is not None:
        timeframe, whence = options.timeframe, "the option"
    elif said is not None:
        try:
            timeframe, whence = Timeframe.parse(said), "the name"
        except UsageError as error:
            raise NotBarsError(str(error)) from None
    else:
        median_ms = float(np.median(steps)) if len(steps) else 0.0
        fitting = [timeframe for timeframe in Timeframe if timeframe.ms == median_ms]
        if not fitting:
            raise DataError(
                "neither its name nor the spacing of its rows tells the timeframe: "
                "give --timeframe, such as 1m"
            )
        return fitting[0]
    coarser = [other for other in Timeframe if other.ms > timeframe.ms]
    for other in reversed(coarser):
        if len(steps) >= _GRID_EVIDENCE_ROWS and not (distinct % other.ms).any():
            raise DataError(
                f"{whence} says {timeframe}, but all {len(distinct)} rows lie on the {other} grid: "
                f"give --timeframe {other} if they are {other} bars"
            )
    return timeframe


def _constant(frame: pl.DataFrame, names: tuple[str, ...]) -> str | None:
    """The one text that a column of the table holds; None where there is no such column."""
    for name in names:
        if name in frame.columns and frame[name].dtype == pl.String:
            values = frame[name].drop_nulls().unique().to_list()
            if len(values) > 1:
                raise DataError(
                    f"the column {name} holds {len(values)} different values: split the file by {name}"
                )
            if values:
                return str(values[0])
    return None
