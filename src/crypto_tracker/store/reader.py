"""The one reader of bars: it spans both tiers, and makes coarser bars of finer ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import numpy as np
from sqlalchemy import Connection, Engine, select

from crypto_tracker.core.arrays import BoolArray, FloatArray, IntArray
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import DataError, StoreError, UsageError
from crypto_tracker.core.resample import BarColumns, resample_columns
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store import intervals, tables
from crypto_tracker.store.batch import StoredRows
from crypto_tracker.store.cold import ColdTier
from crypto_tracker.store.database import MARKET, current_revision, open_engine, upgrade, writer_lock
from crypto_tracker.store.series import SeriesInfo, all_series
from crypto_tracker.store.tiers import MonthFile, Tiers

DATABASE_NAME = "market.db"
BARS_FOLDER = "bars"
LOCK_NAME = "market.lock"

SOURCES: Mapping[Timeframe, tuple[Timeframe, ...]] = {
    Timeframe.M1: (Timeframe.M1,),
    Timeframe.M5: (Timeframe.M1, Timeframe.M5),
    Timeframe.M15: (Timeframe.M1, Timeframe.M15, Timeframe.M5),
    Timeframe.H1: (Timeframe.M1, Timeframe.H1, Timeframe.M15, Timeframe.M5),
    Timeframe.H4: (Timeframe.M1, Timeframe.M15, Timeframe.H1, Timeframe.M5),
    Timeframe.D1: (Timeframe.M1, Timeframe.D1, Timeframe.H1, Timeframe.M15, Timeframe.M5),
}
"""Whose bars answer for a timeframe: bar by bar the first one whose coverage holds the whole interval."""

_ATTEMPTS = 5
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpan:
    """Which stored timeframe and which tiers answered for the bars that open in [start_ms, end_ms)."""

    start_ms: int
    end_ms: int
    timeframe: Timeframe
    tiers: frozenset[str]
    """`hot`, `cold`, both, or none where the span is covered and holds no bar."""


@dataclass(frozen=True, slots=True)
class _Series:
    """What one request needs to know of a symbol on one stored timeframe."""

    coverage: IntArray
    files: list[MonthFile]
    suspects: IntArray


class BarReader:
    """Reads bars while others write; sees for each request one state of the store.

    Open with `BarReader.open(home)`, or take `BarStore.reader`.
    """

    def __init__(self, engine: Engine, cold: ColdTier) -> None:
        self._engine = engine
        self._cold = cold

    @classmethod
    @contextmanager
    def open(cls, home: Path, *, wait_ms: int = 30_000) -> Iterator["BarReader"]:
        """The bars under `home`.

        Raises DataError where no bars were ever stored there. A store that an older version wrote is
        brought up to date first.
        """
        path = home / DATABASE_NAME
        if not path.is_file():
            raise DataError(
                f"there are no bars under {home}: bring some with `crypto-tracker import-data PATH`"
            )
        engine = open_engine(path, read_only=True, busy_timeout_ms=wait_ms)
        try:
            if current_revision(engine) != MARKET.head:
                with writer_lock(home / LOCK_NAME, what="the market database", wait_ms=wait_ms):
                    writing = open_engine(path, busy_timeout_ms=wait_ms)
                    try:
                        upgrade(writing, MARKET)
                    finally:
                        writing.dispose()
            yield cls(engine, ColdTier(home / BARS_FOLDER))
        finally:
            engine.dispose()

    def series(self) -> list[SeriesInfo]:
        """What the store holds, by symbol, provider and timeframe; from the records, without reading bars."""
        with self._engine.connect() as connection, connection.begin():
            return all_series(connection)

    def providers(self, symbol: Symbol) -> tuple[str, ...]:
        """The providers that have bars of `symbol`, in alphabetical order."""
        with self._engine.connect() as connection:
            query = select(tables.symbols.c.provider).where(tables.symbols.c.symbol == str(symbol))
            return tuple(sorted(connection.execute(query).scalars()))

    def panel(
        self,
        symbols: Sequence[Symbol],
        timeframe: Timeframe,
        start_ms: int,
        end_ms: int,
        *,
        provider: str | None = None,
    ) -> Panel:
        """The bars that open in [start_ms, end_ms), one column per symbol; ends are floored to the grid.

        A bar is taken from the first of `SOURCES[timeframe]` that covers its whole interval. Of every bar the
        newest revision that is not suspect counts; a suspect bar is missing.

        Parameters
        ----------
        provider : whose bars; None where every symbol has only one

        Raises
        ------
        DataError
            For a symbol that the store (or the provider) does not have.
        UsageError
            For a symbol that several providers have, where none is named.
        """
        panel = Panel.empty(timeframe, symbols, start_ms, end_ms)
        if not len(panel) or not symbols:
            return panel
        return self.consistently(
            lambda connection: self._read_panel(connection, Tiers(connection, self._cold), panel, provider)
        )

    def sources(
        self,
        symbols: Sequence[Symbol],
        timeframe: Timeframe,
        start_ms: int,
        end_ms: int,
        *,
        provider: str | None = None,
    ) -> dict[Symbol, tuple[SourceSpan, ...]]:
        """For each symbol the stored timeframes and tiers that `panel` answers from; no span is unknown."""
        panel = Panel.empty(timeframe, symbols, start_ms, end_ms)
        if not len(panel) or not symbols:
            return dict.fromkeys(symbols, ())
        return self.consistently(
            lambda connection: self._read_sources(connection, Tiers(connection, self._cold), panel, provider)
        )

    def rows(
        self, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int, *, provider: str | None = None
    ) -> StoredRows:
        """Every revision of the stored bars of one series that open in [start_ms, end_ms), suspect or not."""

        def read(connection: Connection) -> StoredRows:
            symbol_id = _symbol_ids(connection, [symbol], provider)[symbol]
            return Tiers(connection, self._cold).rows(symbol_id, timeframe, start_ms, end_ms)

        return self.consistently(read)

    @property
    def cold(self) -> ColdTier:
        """The cold files beside the database."""
        return self._cold

    @contextmanager
    def kept_connection(self) -> Iterator[Connection]:
        """One connection that stays the same until the block ends, for who asks whether anybody wrote."""
        with self._engine.connect() as connection:
            yield connection

    def consistently(self, read: Callable[[Connection], T], kept: Connection | None = None) -> T:
        """What `read` finds in one state of the store, through `kept` where such a connection is given.

        The writer removes a cold file once the manifest names its replacement; who has read the manifest just
        before then finds no file, and asks again.
        """
        attempt = 1
        while True:
            try:
                if kept is not None:
                    with kept.begin():
                        return read(kept)
                with self._engine.connect() as connection, connection.begin():
                    return read(connection)
            except FileNotFoundError as error:
                if attempt == _ATTEMPTS:
                    raise StoreError(
                        f"a bar file that the manifest names is missing ({error}): "
                        f"restore {self._cold.folder} from a copy"
                    ) from error
                attempt += 1

    def _read_panel(self, connection: Connection, tiers: Tiers, empty: Panel, provider: str | None) -> Panel:
        start_ms = int(empty.open_time_ms[0])
        shape = (len(empty), len(empty.symbols))
        arrays = {name: np.full(shape, np.nan, order="F") for name in BAR_FIELDS}
        covered = np.zeros(shape, dtype=np.bool_, order="F")
        step = empty.timeframe.ms
        for symbol_id, column, source, series, cells in self._answers(connection, tiers, empty, provider):
            covered[cells, column] = True
            lower = int(cells.argmax())
            upper = len(cells) - int(cells[::-1].argmax())
            span = start_ms + lower * step, start_ms + upper * step
            files = [file for file in series.files if file.first_ms < span[1] and file.last_ms >= span[0]]
            rows = tiers.rows(symbol_id, source, *span, files).without(series.suspects).newest()
            if not len(rows):
                continue
            values = _on_grid(rows, source, *span)
            if source is not empty.timeframe:
                group = step // source.ms
                values = resample_columns(values, group)
            inside = cells[lower:upper]
            for name, array in arrays.items():
                found: FloatArray = getattr(values, name)
                if inside.all():
                    array[lower:upper, column] = found
                else:
                    array[lower:upper, column][inside] = found[inside]
        return Panel(
            timeframe=empty.timeframe,
            symbols=empty.symbols,
            open_time_ms=empty.open_time_ms,
            covered=covered,
            **arrays,
        )

    def _read_sources(
        self, connection: Connection, tiers: Tiers, empty: Panel, provider: str | None
    ) -> dict[Symbol, tuple[SourceSpan, ...]]:
        spans: dict[Symbol, list[SourceSpan]] = {symbol: [] for symbol in empty.symbols}
        for symbol_id, column, source, series, cells in self._answers(connection, tiers, empty, provider):
            for start_ms, end_ms in intervals.of_bars(empty.open_time_ms[cells], empty.timeframe.ms).tolist():
                answered = set()
                if any(file.first_ms < end_ms and file.last_ms >= start_ms for file in series.files):
                    answered.add("cold")
                if len(tiers.hot_rows(symbol_id, source, start_ms, end_ms)):
                    answered.add("hot")
                spans[empty.symbols[column]].append(
                    SourceSpan(start_ms=start_ms, end_ms=end_ms, timeframe=source, tiers=frozenset(answered))
                )
        by_time = attrgetter("start_ms")
        return {symbol: tuple(sorted(found, key=by_time)) for symbol, found in spans.items()}

    def _answers(
        self, connection: Connection, tiers: Tiers, empty: Panel, provider: str | None
    ) -> Iterator[tuple[int, int, Timeframe, _Series, BoolArray]]:
        """For each column and source the rows (cells) of the panel for which that source answers."""
        ids = _symbol_ids(connection, empty.symbols, provider)
        symbol_ids = list(ids.values())
        start_ms = int(empty.open_time_ms[0])
        end_ms = int(empty.open_time_ms[-1]) + empty.timeframe.ms
        open_cells = np.ones((len(empty), len(symbol_ids)), dtype=np.bool_, order="F")
        for source in SOURCES[empty.timeframe]:
            if not open_cells.any():
                return
            coverage = tiers.coverage(symbol_ids, source)
            files = tiers.month_files(symbol_ids, source, start_ms, end_ms)
            suspects = tiers.suspects(symbol_ids, source, start_ms, end_ms)
            for column, symbol_id in enumerate(symbol_ids):
                fetched = intervals.clip(coverage[symbol_id], start_ms, end_ms)
                if not len(fetched):
                    continue
                cells = intervals.covered_cells(fetched, start_ms, len(empty), empty.timeframe.ms)
                cells &= open_cells[:, column]
                if cells.any():
                    open_cells[cells, column] = False
                    series = _Series(fetched, files[symbol_id], suspects[symbol_id])
                    yield symbol_id, column, source, series, cells


def _on_grid(rows: StoredRows, timeframe: Timeframe, start_ms: int, end_ms: int) -> BarColumns:
    """The rows of one symbol on the full grid of [start_ms, end_ms), all of it covered."""
    count = (end_ms - start_ms) // timeframe.ms
    if len(rows) == count:
        columns = rows.values[: len(BAR_FIELDS)]
    else:
        columns = np.full((len(BAR_FIELDS), count), np.nan)
        columns[:, (rows.open_time_ms - start_ms) // timeframe.ms] = rows.values[: len(BAR_FIELDS)]
    open_, high, low, close, volume = columns
    return BarColumns(open_, high, low, close, volume, covered=np.ones(count, dtype=np.bool_))


def _symbol_ids(connection: Connection, symbols: Sequence[Symbol], provider: str | None) -> dict[Symbol, int]:
    """The id of each symbol in the order given, for one provider."""
    table = tables.symbols
    query = select(table.c.symbol, table.c.provider, table.c.symbol_id).where(
        table.c.symbol.in_([str(symbol) for symbol in symbols])
    )
    if provider is not None:
        query = query.where(table.c.provider == provider)
    found: dict[str, dict[str, int]] = {}
    for name, theirs, symbol_id in connection.execute(query):
        found.setdefault(name, {})[theirs] = symbol_id
    missing = [str(symbol) for symbol in symbols if str(symbol) not in found]
    if missing:
        whose = "the store" if provider is None else f"the provider {provider}"
        raise DataError(
            f"{whose} has no bars of {', '.join(missing)}: `crypto-tracker list-data` shows what there is"
        )
    ids = {}
    for symbol in symbols:
        choices = found[str(symbol)]
        if len(choices) > 1:
            raise UsageError(
                f"{symbol} has bars of several providers ({', '.join(sorted(choices))}): "
                "say whose are meant, such as market_data.provider"
            )
        ids[symbol] = next(iter(choices.values()))
    return ids
