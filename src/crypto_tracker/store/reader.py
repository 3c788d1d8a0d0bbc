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
from crypto_tracker.store.filling import StoredSpan, fill, room
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

Provider = str | Mapping[Symbol, str] | None

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
        provider: Provider = None,
    ) -> Panel:
        """The bars that open in [start_ms, end_ms), one column per symbol; ends are floored to the grid.

        A bar is taken from the first of `SOURCES[timeframe]` that covers its whole interval. Of every bar the
        newest revision that is not suspect counts; a suspect bar is missing.

        Parameters
        ----------
        provider : whose bars, or whose for each symbol; None where every symbol has only one

        Raises
        ------
        DataError
            For a symbol that the store (or the provider) does not have.
        UsageError
            For a symbol that several providers have, where none is named.
        """
        grid = _Grid.over(symbols, timeframe, start_ms, end_ms)
        if grid.is_empty:
            return Panel.empty(timeframe, symbols, start_ms, end_ms)
        return self.consistently(
            lambda connection: self._read_panel(connection, grid, SOURCES[timeframe], provider)
        )

    def beside_minutes(
        self,
        symbols: Sequence[Symbol],
        timeframe: Timeframe,
        start_ms: int,
        end_ms: int,
        *,
        provider: Provider = None,
    ) -> Panel | None:
        """What `panel` would be without any minutes; None where nothing else answers for a single bar.

        Who has read the minutes already makes the bars of `panel` of these and those.
        """
        grid = _Grid.over(symbols, timeframe, start_ms, end_ms)
        others = tuple(source for source in SOURCES[timeframe] if source is not Timeframe.M1)
        if grid.is_empty or not others:
            return None

        def read(connection: Connection) -> Panel | None:
            ids = list(_symbol_ids(connection, grid.symbols, provider).values())
            tiers = Tiers(connection, self._cold)
            covered = [tiers.coverage(ids, source).values() for source in others]
            if not any(
                len(intervals.clip(each, grid.start_ms, grid.end_ms)) for of in covered for each in of
            ):
                return None
            return self._read_panel(connection, grid, others, provider)

        return self.consistently(read)

    def sources(
        self,
        symbols: Sequence[Symbol],
        timeframe: Timeframe,
        start_ms: int,
        end_ms: int,
        *,
        provider: Provider = None,
    ) -> dict[Symbol, tuple[SourceSpan, ...]]:
        """For each symbol the stored timeframes and tiers that `panel` answers from; no span is unknown."""
        grid = _Grid.over(symbols, timeframe, start_ms, end_ms)
        if grid.is_empty:
            return dict.fromkeys(symbols, ())
        return self.consistently(lambda connection: self._read_sources(connection, grid, provider))

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

    def _read_panel(
        self, connection: Connection, grid: "_Grid", sources: Sequence[Timeframe], provider: Provider
    ) -> Panel:
        tiers = Tiers(connection, self._cold)
        shape = (len(grid.open_time_ms), len(grid.symbols))
        arrays = {name: room(shape) for name in BAR_FIELDS}
        covered = np.zeros(shape, dtype=np.bool_, order="F")
        begun = np.zeros(shape[1], dtype=np.bool_)
        for answer in self._answers(connection, tiers, grid, sources, provider):
            covered[answer.cells, answer.column] = True
            if not begun[answer.column] and not answer.cells.all():
                _clear(arrays, answer.column)
            begun[answer.column] = True
            lower, upper = _ends(answer.cells)
            span_ms = grid.time_ms(lower), grid.time_ms(upper)
            stored = StoredSpan(
                timeframe=answer.source,
                start_ms=span_ms[0],
                end_ms=span_ms[1],
                files=[
                    file for file in answer.files if file.first_ms < span_ms[1] and file.last_ms >= span_ms[0]
                ],
                hot=tiers.hot_rows(answer.symbol_id, answer.source, *span_ms),
                suspects=answer.suspects,
            )
            places = {name: array[lower:upper, answer.column] for name, array in arrays.items()}
            inside = answer.cells[lower:upper]
            _write(self._cold, stored, grid.timeframe, None if inside.all() else inside, places)
        for column in np.flatnonzero(~begun).tolist():
            _clear(arrays, column)
        return Panel(
            timeframe=grid.timeframe,
            symbols=grid.symbols,
            open_time_ms=grid.open_time_ms,
            covered=covered,
            **arrays,
        )

    def _read_sources(
        self, connection: Connection, grid: "_Grid", provider: Provider
    ) -> dict[Symbol, tuple[SourceSpan, ...]]:
        tiers = Tiers(connection, self._cold)
        spans: dict[Symbol, list[SourceSpan]] = {symbol: [] for symbol in grid.symbols}
        for answer in self._answers(connection, tiers, grid, SOURCES[grid.timeframe], provider):
            times = grid.open_time_ms[answer.cells]
            for start_ms, end_ms in intervals.of_bars(times, grid.timeframe.ms).tolist():
                answered = set()
                if any(file.first_ms < end_ms and file.last_ms >= start_ms for file in answer.files):
                    answered.add("cold")
                if len(tiers.hot_rows(answer.symbol_id, answer.source, start_ms, end_ms)):
                    answered.add("hot")
                spans[grid.symbols[answer.column]].append(
                    SourceSpan(
                        start_ms=start_ms, end_ms=end_ms, timeframe=answer.source, tiers=frozenset(answered)
                    )
                )
        by_time = attrgetter("start_ms")
        return {symbol: tuple(sorted(found, key=by_time)) for symbol, found in spans.items()}

    def _answers(
        self,
        connection: Connection,
        tiers: Tiers,
        grid: "_Grid",
        sources: Sequence[Timeframe],
        provider: Provider,
    ) -> "Iterator[_Answer]":
        """For each column and source the rows (cells) of the grid for which that source answers."""
        symbol_ids = list(_symbol_ids(connection, grid.symbols, provider).values())
        open_cells = [np.ones(len(grid.open_time_ms), dtype=np.bool_) for _ in symbol_ids]
        for source in sources:
            if not any(cells.any() for cells in open_cells):
                return
            coverage = tiers.coverage(symbol_ids, source)
            files = tiers.month_files(symbol_ids, source, grid.start_ms, grid.end_ms)
            suspects = tiers.suspects(symbol_ids, source, grid.start_ms, grid.end_ms)
            for column, symbol_id in enumerate(symbol_ids):
                fetched = intervals.clip(coverage[symbol_id], grid.start_ms, grid.end_ms)
                if not len(fetched):
                    continue
                cells = intervals.covered_cells(
                    fetched, grid.start_ms, len(grid.open_time_ms), grid.timeframe.ms
                )
                cells &= open_cells[column]
                if cells.any():
                    open_cells[column] &= ~cells
                    yield _Answer(symbol_id, column, source, cells, files[symbol_id], suspects[symbol_id])


@dataclass(frozen=True, slots=True)
class _Grid:
    """The rows and columns that are asked for."""

    timeframe: Timeframe
    symbols: tuple[Symbol, ...]
    open_time_ms: IntArray

    @classmethod
    def over(cls, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int) -> "_Grid":
        """The bars that open in [start_ms, end_ms), whose ends are floored."""
        times = np.arange(timeframe.floor(start_ms), timeframe.floor(end_ms), timeframe.ms, dtype=np.int64)
        return cls(timeframe, tuple(symbols), times)

    @property
    def is_empty(self) -> bool:
        return not len(self.open_time_ms) or not self.symbols

    @property
    def start_ms(self) -> int:
        return int(self.open_time_ms[0])

    @property
    def end_ms(self) -> int:
        return int(self.open_time_ms[-1]) + self.timeframe.ms

    def time_ms(self, row: int) -> int:
        """The open time of a row, also of the one after the last."""
        return self.start_ms + row * self.timeframe.ms


@dataclass(frozen=True, slots=True)
class _Answer:
    """The cells of one column for which one stored timeframe answers, and what is known of that series."""

    symbol_id: int
    column: int
    source: Timeframe
    cells: BoolArray
    files: list[MonthFile]
    suspects: IntArray


def _ends(cells: BoolArray) -> tuple[int, int]:
    """The first cell that is true, and the one after the last."""
    return int(cells.argmax()), len(cells) - int(cells[::-1].argmax())


def _clear(arrays: Mapping[str, FloatArray], column: int) -> None:
    for array in arrays.values():
        array[:, column] = np.nan


def _write(
    cold: ColdTier,
    stored: StoredSpan,
    timeframe: Timeframe,
    cells: BoolArray | None,
    places: Mapping[str, FloatArray],
) -> None:
    """Write the bars of one symbol into their places, where `cells` is true; everywhere without it."""
    if cells is None and stored.timeframe is timeframe:
        fill(cold, stored, places)
        return
    count = (stored.end_ms - stored.start_ms) // stored.timeframe.ms
    columns = {name: np.empty(count) for name in BAR_FIELDS}
    fill(cold, stored, columns)
    if stored.timeframe is not timeframe:
        fine = BarColumns(**columns, covered=np.ones(count, dtype=np.bool_))
        coarse = resample_columns(fine, timeframe.ms // stored.timeframe.ms)
        columns = {name: getattr(coarse, name) for name in BAR_FIELDS}
    for name, place in places.items():
        if cells is None:
            place[:] = columns[name]
        else:
            place[cells] = columns[name][cells]


def _symbol_ids(connection: Connection, symbols: Sequence[Symbol], provider: Provider) -> dict[Symbol, int]:
    """The id of each symbol in the order given, for one provider or for each its own."""
    table = tables.symbols
    query = select(table.c.symbol, table.c.provider, table.c.symbol_id).where(
        table.c.symbol.in_([str(symbol) for symbol in symbols])
    )
    whose = provider if isinstance(provider, Mapping) else dict.fromkeys(symbols, provider)
    found: dict[str, dict[str, int]] = {}
    wanted = {str(symbol): whose[symbol] for symbol in symbols}
    for name, theirs, symbol_id in connection.execute(query):
        if wanted[name] in {None, theirs}:
            found.setdefault(name, {})[theirs] = symbol_id
    missing = [symbol for symbol in symbols if str(symbol) not in found]
    if missing:
        named = sorted({each for symbol in missing if (each := whose[symbol]) is not None})
        of = f"the provider {', '.join(named)}" if named else "the store"
        raise DataError(
            f"{of} has no bars of {', '.join(map(str, missing))}: "
            "`crypto-tracker list-data` shows what there is"
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
