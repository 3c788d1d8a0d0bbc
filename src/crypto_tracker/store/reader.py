"""The one reader of bars: it spans both tiers, and makes coarser bars of finer ones."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from sqlalchemy import Connection, Engine, select

from crypto_tracker.core.arrays import BoolArray, FloatArray, IntArray
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import DataError, StoreError, UsageError
from crypto_tracker.core.resample import BarColumns, resample_columns
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.store import gaps, held, intervals, mended, tables
from crypto_tracker.store.batch import StoredRows
from crypto_tracker.store.cold import ColdTier
from crypto_tracker.store.database import MARKET, current_revision, open_engine, upgrade, writer_lock
from crypto_tracker.store.filling import StoredSpan, fill, room
from crypto_tracker.store.newest import newest_hot
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

# There are some hundreds of symbols: to look through them once takes less than to look for each.
_SYMBOLS = (
    "SELECT symbol, provider, symbol_id, "
    "EXISTS (SELECT 1 FROM coverage WHERE coverage.symbol_id = symbols.symbol_id) "
    "FROM symbols WHERE symbol IN (SELECT value FROM json_each(?))"
)
_ATTEMPTS = 5
_FIRST_BARS_BACK = 64
_BARS_BACK_GROWTH = 32
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpan:
    """Which stored timeframe and which tiers answered for the bars that open in [start_ms, end_ms)."""

    start_ms: int
    end_ms: int
    timeframe: Timeframe
    tiers: frozenset[str]
    """`hot`, `cold`, both, or none where the span is covered and holds no bar."""
    providers: tuple[str, ...]
    """Whose bars they are; two where minutes of both make up the bars."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatestBars:
    """The newest bar of each of some symbols.

    Attributes
    ----------
    open_time_ms : int64 (symbols,), -1 where there is no bar
    values : float64 (5, symbols) in the order of BAR_FIELDS; NaN without a bar or where the volume is unknown
    """

    symbols: tuple[Symbol, ...]
    open_time_ms: IntArray
    values: FloatArray


def no_bars(home: Path) -> str:
    """What to say where nothing is stored."""
    return (
        f"there are no bars under {home}: `crypto-tracker up` or `download-data` fetches some, "
        "`import-data PATH` reads files"
    )


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
            raise DataError(no_bars(home))
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
            known = select(tables.coverage.c.symbol_id)
            query = select(tables.symbols.c.provider).where(
                tables.symbols.c.symbol == str(symbol), tables.symbols.c.symbol_id.in_(known)
            )
            return tuple(sorted(connection.execute(query).scalars()))

    def mended_since(self, symbol: Symbol, providers: Sequence[str], after: int) -> mended.Mended:
        """What was mended of a symbol of some providers since the note of a number."""
        with self._engine.connect() as connection, connection.begin():
            return mended.since(connection, symbol, providers, after)

    def panel(
        self,
        symbols: Sequence[Symbol],
        timeframe: Timeframe,
        start_ms: int,
        end_ms: int,
        *,
        provider: Provider = None,
        history: str | None = None,
    ) -> Panel:
        """The bars that open in [start_ms, end_ms), one column per symbol; ends are floored to the grid.

        A bar is taken from the first of `SOURCES[timeframe]` that covers its whole interval. Of every bar the
        newest revision that is not suspect counts; a suspect bar is missing.

        With `history`, its minutes stand in for those that the provider has not fetched, minute by minute, so
        that a coarser bar may be made of minutes of both; and its coarser bars where nothing else answers.

        Parameters
        ----------
        provider : whose bars, or whose for each symbol; None where every symbol has only one
        history : another provider, which need not have every symbol

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
            lambda connection: self._read_panel(connection, grid, SOURCES[timeframe], provider, history)
        )

    def beside_minutes(
        self,
        symbols: Sequence[Symbol],
        timeframe: Timeframe,
        start_ms: int,
        end_ms: int,
        *,
        provider: Provider = None,
        history: str | None = None,
    ) -> Panel | None:
        """What `panel` would be without any minutes; None where nothing else answers for a single bar.

        Who has read the minutes already makes the bars of `panel` of these and those.
        """
        grid = _Grid.over(symbols, timeframe, start_ms, end_ms)
        others = tuple(source for source in SOURCES[timeframe] if source is not Timeframe.M1)
        if grid.is_empty or not others:
            return None

        def read(connection: Connection) -> Panel | None:
            columns = _columns(connection, grid.symbols, provider, history)
            ids = [symbol_id for column in columns for symbol_id in column.ids]
            tiers = Tiers(connection, self._cold)
            covered = [tiers.coverage(ids, source).values() for source in others]
            if not any(
                len(intervals.clip(each, grid.start_ms, grid.end_ms)) for of in covered for each in of
            ):
                return None
            return self._read_panel(connection, grid, others, provider, history)

        return self.consistently(read)

    def sources(
        self,
        symbols: Sequence[Symbol],
        timeframe: Timeframe,
        start_ms: int,
        end_ms: int,
        *,
        provider: Provider = None,
        history: str | None = None,
    ) -> dict[Symbol, tuple[SourceSpan, ...]]:
        """For each symbol the stored timeframes and tiers that `panel` answers from; no span is unknown."""
        grid = _Grid.over(symbols, timeframe, start_ms, end_ms)
        if grid.is_empty:
            return dict.fromkeys(symbols, ())
        return self.consistently(lambda connection: self._read_sources(connection, grid, provider, history))

    def rows(
        self, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int, *, provider: str | None = None
    ) -> StoredRows:
        """Every revision of the stored bars of one series that open in [start_ms, end_ms), suspect or not."""

        def read(connection: Connection) -> StoredRows:
            (symbol_id,) = _columns(connection, [symbol], provider, None)[0].ids
            return Tiers(connection, self._cold).rows(symbol_id, timeframe, start_ms, end_ms)

        return self.consistently(read)

    def latest(
        self,
        symbols: Sequence[Symbol],
        timeframe: Timeframe,
        *,
        provider: Provider = None,
        connection: Connection | None = None,
    ) -> LatestBars:
        """The newest bar that `panel` has of each symbol; a symbol that the store does not have has none.

        `connection` is one of `kept_connection`, for who asks often.
        """

        def read(connection: Connection) -> LatestBars:
            columns = _columns(connection, symbols, provider, None, required=False)
            ids = [column.own for column in columns]
            times = np.full(len(columns), -1, dtype=np.int64)
            values = np.full((len(BAR_FIELDS), len(columns)), np.nan)
            left = np.array([symbol_id is not None for symbol_id in ids], dtype=np.bool_)
            if timeframe is Timeframe.M1:
                newest_hot(connection, ids, times, values, left)
            for column in np.flatnonzero(left).tolist():
                found = self._newest(connection, columns[column], symbols[column], timeframe)
                if found is not None:
                    times[column], values[:, column] = found
            return LatestBars(symbols=tuple(symbols), open_time_ms=times, values=values)

        return self.consistently(read, connection)

    def coverage(self, provider: str, symbol: Symbol, timeframe: Timeframe) -> IntArray:
        """The intervals [start_ms, end_ms) that are known of one series as it is stored, (intervals, 2)."""

        def read(connection: Connection, symbol_id: int) -> IntArray:
            return Tiers(connection, self._cold).coverage([symbol_id], timeframe)[symbol_id]

        return self._of_series(provider, symbol, read, intervals.EMPTY)

    def lacking(self, provider: str, symbol: Symbol, timeframe: Timeframe) -> list[gaps.Lack]:
        """What the provider lacks for good, as (start_ms, end_ms, reason) in order of time."""

        def read(connection: Connection, symbol_id: int) -> list[gaps.Lack]:
            return gaps.reasons(connection, symbol_id, timeframe)

        return self._of_series(provider, symbol, read, [])

    def missing(
        self, provider: str, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int
    ) -> IntArray:
        """What can still be asked for of [start_ms, end_ms): what is neither known nor lacking for good.

        Intervals (intervals, 2) on the grid, to which the ends are floored. Of a symbol that the store does
        not have all is missing.
        """

        def read(connection: Connection, symbol_id: int) -> IntArray:
            covered = Tiers(connection, self._cold).coverage([symbol_id], timeframe)[symbol_id]
            lacking = gaps.lacking(connection, symbol_id, timeframe)
            return gaps.missing(start_ms, end_ms, timeframe, covered, lacking)

        nothing = intervals.EMPTY
        return self._of_series(
            provider, symbol, read, gaps.missing(start_ms, end_ms, timeframe, nothing, nothing)
        )

    def held_minutes(self, provider: str, symbol: Symbol, timeframe: Timeframe) -> IntArray:
        """Where bars of a series are held in quarantine, and nothing sound is known in their place.

        Intervals (intervals, 2) on the grid. Some may be noted as lacking, and none is covered.
        """

        def read(connection: Connection, symbol_id: int) -> IntArray:
            covered = Tiers(connection, self._cold).coverage([symbol_id], timeframe)[symbol_id]
            return held.minutes(connection, symbol_id, timeframe, covered)

        return self._of_series(provider, symbol, read, intervals.EMPTY)

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
                        f"restore {self._cold.folder} from a copy, or let `validate-data --repair` forget "
                        "the month, so that it can be fetched again"
                    ) from error
                attempt += 1

    def _of_series(
        self, provider: str, symbol: Symbol, read: Callable[[Connection, int], T], otherwise: T
    ) -> T:
        """What `read` finds of one series; `otherwise` where the store does not have the symbol."""

        def read_it(connection: Connection) -> T:
            (column,) = _columns(connection, [symbol], provider, None, required=False)
            return otherwise if column.own is None else read(connection, column.own)

        return self.consistently(read_it)

    def _newest(
        self, connection: Connection, column: "_Column", symbol: Symbol, timeframe: Timeframe
    ) -> tuple[int, FloatArray] | None:
        """Open time and values of the newest bar of one symbol, looked for from the newest time backwards."""
        tiers = Tiers(connection, self._cold)
        found = [tiers.coverage(column.ids, source)[column.ids[0]] for source in SOURCES[timeframe]]
        covered = intervals.on_grid(intervals.union(*found), MINUTE_MS)
        if not len(covered):
            return None
        earliest, stop = timeframe.floor(int(covered[0, 0])), timeframe.floor(int(covered[-1, 1]))
        bars = _FIRST_BARS_BACK
        while stop > earliest:
            start = max(stop - bars * timeframe.ms, earliest)
            grid = _Grid.over([symbol], timeframe, start, stop)
            panel = self._read_columns(connection, grid, SOURCES[timeframe], [column])
            rows = np.flatnonzero(panel.present[:, 0])
            if len(rows):
                row = int(rows[-1])
                values = np.array([getattr(panel, name)[row, 0] for name in BAR_FIELDS])
                return int(panel.open_time_ms[row]), values
            stop, bars = start, bars * _BARS_BACK_GROWTH
        return None

    def _read_panel(
        self,
        connection: Connection,
        grid: "_Grid",
        sources: Sequence[Timeframe],
        provider: Provider,
        history: str | None,
    ) -> Panel:
        columns = _columns(connection, grid.symbols, provider, history)
        return self._read_columns(connection, grid, sources, columns)

    def _read_columns(
        self,
        connection: Connection,
        grid: "_Grid",
        sources: Sequence[Timeframe],
        columns: Sequence["_Column"],
    ) -> Panel:
        tiers = Tiers(connection, self._cold)
        shape = (len(grid.open_time_ms), len(grid.symbols))
        arrays = {name: room(shape) for name in BAR_FIELDS}
        covered = np.zeros(shape, dtype=np.bool_, order="F")
        begun = np.zeros(shape[1], dtype=np.bool_)
        for answer in _answers(tiers, grid, sources, columns):
            covered[answer.cells, answer.column] = True
            if not begun[answer.column] and not answer.cells.all():
                _clear(arrays, answer.column)
            begun[answer.column] = True
            lower, upper = _ends(answer.cells)
            span_ms = grid.time_ms(lower), grid.time_ms(upper)
            places = {name: array[lower:upper, answer.column] for name, array in arrays.items()}
            inside = answer.cells[lower:upper]
            _write(
                self._cold, tiers, answer, span_ms, grid.timeframe, None if inside.all() else inside, places
            )
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
        self, connection: Connection, grid: "_Grid", provider: Provider, history: str | None
    ) -> dict[Symbol, tuple[SourceSpan, ...]]:
        tiers = Tiers(connection, self._cold)
        spans: dict[Symbol, list[SourceSpan]] = {symbol: [] for symbol in grid.symbols}
        columns = _columns(connection, grid.symbols, provider, history)
        for answer in _answers(tiers, grid, SOURCES[grid.timeframe], columns):
            times = grid.open_time_ms[answer.cells]
            for start_ms, end_ms in intervals.of_bars(times, grid.timeframe.ms).tolist():
                answered = set()
                for part in answer.parts:
                    if any(file.first_ms < end_ms and file.last_ms >= start_ms for file in part.files):
                        answered.add("cold")
                    if len(tiers.hot_rows(part.symbol_id, answer.source, start_ms, end_ms)):
                        answered.add("hot")
                spans[grid.symbols[answer.column]].append(
                    SourceSpan(
                        start_ms=start_ms,
                        end_ms=end_ms,
                        timeframe=answer.source,
                        tiers=frozenset(answered),
                        providers=tuple(part.provider for part in reversed(answer.parts)),
                    )
                )
        by_time = attrgetter("start_ms")
        return {symbol: tuple(sorted(found, key=by_time)) for symbol, found in spans.items()}


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


class _Column(NamedTuple):
    """Whose bars a column shows: the provider's own, and those that stand in where it has none."""

    own: int | None
    own_provider: str
    other: int | None
    other_provider: str

    @property
    def ids(self) -> list[int]:
        return [symbol_id for symbol_id in (self.own, self.other) if symbol_id is not None]


@dataclass(frozen=True, slots=True)
class _Part:
    """One stored series that answers, and what is known of it over the grid."""

    symbol_id: int
    provider: str
    fetched: IntArray
    files: list[MonthFile]
    suspects: IntArray


@dataclass(frozen=True, slots=True)
class _Answer:
    """The cells of one column for which one stored timeframe answers.

    `parts` are one series, or two: where the second one was fetched, it answers before the first.
    """

    column: int
    source: Timeframe
    cells: BoolArray
    parts: tuple[_Part, ...]


def _answers(
    tiers: Tiers, grid: _Grid, sources: Sequence[Timeframe], columns: Sequence[_Column]
) -> Iterator[_Answer]:
    """For each column and source the rows (cells) of the grid for which that source answers."""
    open_cells = [np.ones(len(grid.open_time_ms), dtype=np.bool_) for _ in columns]
    with_other = any(column.other is not None for column in columns)
    minutes = [source for source in sources if source is Timeframe.M1]
    others = [source for source in sources if source is not Timeframe.M1]
    steps: list[tuple[Timeframe, str]] = [(source, "own") for source in minutes]
    if with_other:
        steps += [(source, "both") for source in minutes]
    steps += [(source, "own") for source in others]
    if with_other:
        steps += [(source, "other") for source in others]
    known: dict[Timeframe, Mapping[int, _Part]] = {}
    for source, whose in steps:
        if not any(cells.any() for cells in open_cells):
            return
        if source not in known:
            known[source] = _parts(tiers, grid, source, columns)
        for index, column in enumerate(columns):
            own = None if column.own is None else known[source][column.own]
            other = None if column.other is None else known[source][column.other]
            parts = {"own": (own,), "other": (other,), "both": (other, own)}[whose]
            there = tuple(part for part in parts if part is not None and len(part.fetched))
            if not there or (whose == "both" and other not in there):
                continue
            fetched = intervals.union(*(part.fetched for part in there))
            cells = intervals.covered_cells(fetched, grid.start_ms, len(grid.open_time_ms), grid.timeframe.ms)
            cells &= open_cells[index]
            if cells.any():
                open_cells[index] &= ~cells
                # A minute that is still open here is one that the provider has not fetched.
                alone = grid.timeframe is Timeframe.M1
                yield _Answer(index, source, cells, there[:1] if alone else there)


def _parts(tiers: Tiers, grid: _Grid, source: Timeframe, columns: Sequence[_Column]) -> Mapping[int, _Part]:
    """What is known of one stored timeframe of every series that the columns may show."""
    providers = {column.own: column.own_provider for column in columns if column.own is not None}
    providers |= {column.other: column.other_provider for column in columns if column.other is not None}
    ids = list(providers)
    coverage = tiers.coverage(ids, source)
    files = tiers.month_files(ids, source, grid.start_ms, grid.end_ms)
    suspects = tiers.suspects(ids, source, grid.start_ms, grid.end_ms)
    return {
        symbol_id: _Part(
            symbol_id,
            provider,
            intervals.clip(coverage[symbol_id], grid.start_ms, grid.end_ms),
            files[symbol_id],
            suspects[symbol_id],
        )
        for symbol_id, provider in providers.items()
    }


def _ends(cells: BoolArray) -> tuple[int, int]:
    """The first cell that is true, and the one after the last."""
    return int(cells.argmax()), len(cells) - int(cells[::-1].argmax())


def _clear(arrays: Mapping[str, FloatArray], column: int) -> None:
    for array in arrays.values():
        array[:, column] = np.nan


def _write(
    cold: ColdTier,
    tiers: Tiers,
    answer: _Answer,
    span_ms: tuple[int, int],
    timeframe: Timeframe,
    cells: BoolArray | None,
    places: Mapping[str, FloatArray],
) -> None:
    """Write the bars of one symbol into their places, where `cells` is true; everywhere without it."""
    stored = [_stored(tiers, part, answer.source, span_ms) for part in answer.parts]
    if cells is None and answer.source is timeframe and len(stored) == 1:
        fill(cold, stored[0], places)
        return
    count = (span_ms[1] - span_ms[0]) // answer.source.ms
    columns = {name: np.empty(count) for name in BAR_FIELDS}
    fill(cold, stored[0], columns)
    for part, span in zip(answer.parts[1:], stored[1:], strict=True):
        over = {name: np.empty(count) for name in BAR_FIELDS}
        fill(cold, span, over)
        fetched = intervals.covered_cells(part.fetched, span_ms[0], count, answer.source.ms)
        for name, column in columns.items():
            column[fetched] = over[name][fetched]
    if answer.source is not timeframe:
        fine = BarColumns(**columns, covered=np.ones(count, dtype=np.bool_))
        coarse = resample_columns(fine, timeframe.ms // answer.source.ms)
        columns = {name: getattr(coarse, name) for name in BAR_FIELDS}
    for name, place in places.items():
        if cells is None:
            place[:] = columns[name]
        else:
            place[cells] = columns[name][cells]


def _stored(tiers: Tiers, part: _Part, source: Timeframe, span_ms: tuple[int, int]) -> StoredSpan:
    """What one series holds of a span."""
    start_ms, end_ms = span_ms
    return StoredSpan(
        timeframe=source,
        start_ms=start_ms,
        end_ms=end_ms,
        files=[file for file in part.files if file.first_ms < end_ms and file.last_ms >= start_ms],
        hot=tiers.hot_bars(part.symbol_id, source, start_ms, end_ms),
        suspects=part.suspects,
    )


def _columns(
    connection: Connection,
    symbols: Sequence[Symbol],
    provider: Provider,
    history: str | None,
    *,
    required: bool = True,
) -> list[_Column]:
    """Whose bars each column shows, for one provider or for each symbol its own.

    Raises DataError for a symbol that nobody has, where it is `required`; UsageError for one that several
    providers have where none is named.
    """
    names = json.dumps([str(symbol) for symbol in symbols])
    found: dict[str, dict[str, int]] = {}
    fetched: set[int] = set()  # a provider may know a symbol of which it was never asked for bars
    for name, theirs, symbol_id, has_bars in connection.exec_driver_sql(_SYMBOLS, (names,)):
        found.setdefault(name, {})[theirs] = symbol_id
        if has_bars:
            fetched.add(symbol_id)
    columns = []
    missing: list[Symbol] = []
    for symbol in symbols:
        whose = provider[symbol] if isinstance(provider, Mapping) else provider
        of_all = found.get(str(symbol), {})
        choices = of_all if whose is None else {name: of_all[name] for name in [whose] if name in of_all}
        if len(choices) > 1:
            choices = {name: each for name, each in choices.items() if each in fetched} or choices
        if len(choices) > 1:
            raise UsageError(
                f"{symbol} has bars of several providers ({', '.join(sorted(choices))}): "
                "say whose are meant, such as market_data.provider"
            )
        own_provider, own = next(iter(choices.items()), ("", None))
        other = None if history is None or history == own_provider else of_all.get(history)
        if own is None and other is None:
            missing.append(symbol)
        columns.append(_Column(own, own_provider, other, history or ""))
    if missing and required:
        whose_names = provider.values() if isinstance(provider, Mapping) else [provider]
        if isinstance(provider, Mapping):
            whose_names = [provider[symbol] for symbol in missing]
        named = sorted({name for name in (*whose_names, history) if name})
        of = f"the provider {', '.join(named)}" if named else "the store"
        raise DataError(
            f"{of} has no bars of {', '.join(map(str, missing))}: "
            "`crypto-tracker list-data` shows what there is"
        )
    return columns
