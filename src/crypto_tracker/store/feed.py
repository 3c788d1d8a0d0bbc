"""Minute after minute of some symbols as the store has them at that moment, while others write.

What was read ahead answers as long as nobody has committed anything: `PRAGMA data_version` of one connection
that is kept tells. Cold files never change under their name and content hash, so that what was read of them
stays good for as long as the manifest names them.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from crypto_tracker.core.arrays import BoolArray, FloatArray, IntArray
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import StoreError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe, from_ms, month_start_ms
from crypto_tracker.store.database import plain_rows
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.sources import BarSource, StoredBars, side_by_side

NO_TRADE = -2
"""In place of a revision: the minute is covered and holds no bar that counts."""
UNKNOWN = -1
"""In place of a revision: nobody has fetched the minute, or the store does not have the symbol."""

RevisionArray = npt.NDArray[np.int32]
T = TypeVar("T")

_AHEAD_AFTER_COMMIT = 2  # minutes; whoever has just written may well write again
_AHEAD_GROWTH = 8
_WINDOW_MAX = 7 * 24 * 60  # minutes
_WINDOW_CELLS = 600_000  # minutes times symbols: some 30 MB read ahead, and as much of cold files
_FETCHED_AT_ONCE = 20_000  # rows
_REVISIONS = 2**20  # more than any bar has; with it one number tells a cell and a revision

_CELL_REVISION = f"(wanted.key * ?1 + (open_time_ms - ?2) / {MINUTE_MS}) * {_REVISIONS} + revision"
_SYMBOLS = (
    "SELECT wanted.key, symbol_id, status = 'active' FROM json_each(?) AS wanted CROSS JOIN symbols "
    "ON provider = json_extract(wanted.value, '$[0]') AND symbol = json_extract(wanted.value, '$[1]')"
)
# Without ORDER BY, which would sort all rows once more: they come by column and in the order of their key.
_HOT_BARS = (
    f"SELECT {_CELL_REVISION}, "  # noqa: S608 - our own
    "open, high, low, close, ifnull(volume, 9e999) "
    "FROM json_each(?4) AS wanted CROSS JOIN bars ON symbol_id = wanted.value AND timeframe = '1m' "
    "AND open_time_ms >= ?2 AND open_time_ms < ?3"
)
_SUSPECTS = (
    f"SELECT {_CELL_REVISION} "  # noqa: S608 - our own
    "FROM json_each(?4) AS wanted CROSS JOIN suspects ON symbol_id = wanted.value AND timeframe = '1m' "
    "AND open_time_ms >= ?2 AND open_time_ms < ?3"
)
_MONTH_FILES = (
    "SELECT wanted.key, manifest.path, sha256 "
    "FROM json_each(?3) AS wanted CROSS JOIN manifest ON symbol_id = wanted.value AND timeframe = '1m' "
    "AND month_ms >= ?1 AND month_ms < ?2 "
    "ORDER BY wanted.key, month_ms"
)
# Intervals are disjoint, so that of those that begin at or before a time only the last can reach beyond it.
_LAST_BEGUN = (
    "(SELECT {} FROM coverage AS begun WHERE begun.symbol_id = wanted.value AND begun.timeframe = '1m' "
    "AND begun.start_ms <= ?1 ORDER BY begun.start_ms DESC LIMIT 1)"
)
_COVERAGE = (
    "SELECT wanted.key, start_ms, end_ms FROM json_each(?3) AS wanted CROSS JOIN coverage "  # noqa: S608 - our own
    "ON symbol_id = wanted.value AND timeframe = '1m' "
    f"AND start_ms >= ifnull({_LAST_BEGUN.format('begun.start_ms')}, ?1) AND start_ms < ?2"
)
_KNOWN = (
    "SELECT wanted.key FROM json_each(?2) AS wanted "  # noqa: S608 - our own
    f"WHERE {_LAST_BEGUN.format('begun.end_ms')} >= ?1 + {MINUTE_MS}"
)
_FIRST_KNOWN = (
    f"SELECT min(iif({_LAST_BEGUN.format('begun.end_ms')} > ?1, ?1, "  # noqa: S608 - our own
    "(SELECT min(later.start_ms) FROM coverage AS later WHERE later.symbol_id = wanted.value "
    "AND later.timeframe = '1m' AND later.start_ms > ?1))) FROM json_each(?2) AS wanted"
)
_SCORES = (
    "SELECT wanted.key, score FROM json_each(?1) AS wanted CROSS JOIN quality "
    "ON quality.symbol_id = wanted.value AND measured_at_ms BETWEEN ?2 AND ?3"
)
_WATERMARK = (
    "SELECT max((SELECT end_ms FROM coverage WHERE symbol_id = wanted.value AND timeframe = '1m' "
    "ORDER BY start_ms DESC LIMIT 1)) FROM json_each(?1) AS wanted"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MinuteBars:
    """One minute of the watched symbols.

    Attributes
    ----------
    open_time_ms : when the minute opened
    values : float64 (5, symbols) in the order of BAR_FIELDS, NaN where the bar is missing
        or its volume unknown
    revision : int32 (symbols,), which revision each bar is; NO_TRADE or UNKNOWN where there is none
    """

    open_time_ms: int
    values: FloatArray
    revision: RevisionArray


class _Directory(NamedTuple):
    """The watched symbols as one state of the store has them."""

    version: int
    ids: list[int | None]
    """By column; None where the store does not have the symbol."""
    listed: str
    """The same for statements."""
    active: BoolArray


class _Bars(NamedTuple):
    """Rows of bars: `cell_revision` (rows,) tells the cell (column x minutes + minute) and the revision."""

    cell_revision: IntArray
    values: FloatArray
    """Float64 (rows, 5)."""


class _ColdRows(NamedTuple):
    """What the cold files of one symbol hold of the window, in order of time and revision."""

    files: tuple[tuple[str, str], ...]
    """Path and content hash of each."""
    minute: IntArray
    """Minutes since the start of the window, (rows,)."""
    revision: IntArray
    values: FloatArray
    """Float64 (rows, 5)."""


class _Ahead(NamedTuple):
    """Minutes that were read ahead in one state of the store."""

    version: int
    start_ms: int
    values: FloatArray
    """Float64 (minutes, 5, symbols)."""
    revision: RevisionArray
    """(minutes, symbols)."""
    known: BoolArray
    """(minutes,), whether any symbol is known."""

    def row(self, open_ms: int) -> int | None:
        """Where a minute stands; None where it was not read."""
        row = (open_ms - self.start_ms) // MINUTE_MS
        return row if 0 <= row < len(self.revision) else None


class MinuteFeed:
    """Reads the minutes of the watched symbols while others write; for one thread.

    A symbol that the store does not have is unknown, and is found once it appears. Nothing is ever answered
    from an older state of the store than that of the moment of the call.
    """

    def __init__(
        self, reader: BarReader, connection: Connection, providers: Mapping[Symbol, str], history: str = ""
    ) -> None:
        self._reader = reader
        self._connection = connection
        self._symbols = tuple(providers)
        self._wanted = json.dumps([[provider, str(symbol)] for symbol, provider in providers.items()])
        self._window_minutes = max(min(_WINDOW_CELLS // max(len(providers), 1), _WINDOW_MAX), 1)
        self._window_ms = self._window_minutes * MINUTE_MS
        self._directory = _Directory(-1, [], "[]", np.zeros(0, dtype=np.bool_))
        self._ahead: _Ahead | None = None
        self._ahead_minutes = _AHEAD_AFTER_COMMIT
        self._cold_start_ms = -1
        self._cold: dict[int, _ColdRows] = {}
        self._source = _CollectedBars(StoredBars(reader, providers, history), self._collected)

    @classmethod
    @contextmanager
    def open(
        cls, home: Path, providers: Mapping[Symbol, str], *, history: str = "", wait_ms: int = 30_000
    ) -> Iterator["MinuteFeed"]:
        """The minutes under `home` of the symbols of `providers`, in their order, each from its provider.

        Bars of `history`, another provider, stand in where `source` is asked for what a symbol's own provider
        has not fetched; minutes are always its own. Raises DataError where no bars were ever stored there.
        """
        with BarReader.open(home, wait_ms=wait_ms) as reader, reader.kept_connection() as connection:
            yield cls(reader, connection, providers, history)

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """The watched symbols: the columns of whatever the feed answers."""
        return self._symbols

    @property
    def source(self) -> BarSource:
        """Bars of the watched symbols on any timeframe; what the store does not have is unknown there."""
        return self._source

    def minute(self, open_ms: int) -> MinuteBars:
        """The minute that opens at `open_ms` as the store has it now.

        Of every bar the newest revision that is not suspect counts; it is what `BarReader.panel` answers.
        """
        open_ms = _on_the_minute(open_ms)
        ahead = self._valid_ahead()
        row = None if ahead is None else ahead.row(open_ms)
        if ahead is None or row is None:
            ahead, row = self._read(lambda directory: self._read_ahead(directory, open_ms)), 0
        return MinuteBars(
            open_time_ms=open_ms, values=ahead.values[row].copy(), revision=ahead.revision[row].copy()
        )

    def known(self, open_ms: int) -> BoolArray:
        """For which symbols the minute holds a bar or is known to hold none, bool (symbols,)."""
        open_ms = _on_the_minute(open_ms)
        ahead = self._valid_ahead()
        row = None if ahead is None else ahead.row(open_ms)
        if ahead is not None and row is not None:
            return np.asarray(ahead.revision[row] != UNKNOWN)

        def read(directory: _Directory) -> BoolArray:
            known = np.zeros(len(self._symbols), dtype=np.bool_)
            for (column,) in self._connection.exec_driver_sql(_KNOWN, (open_ms, directory.listed)):
                known[column] = True
            return known

        return self._read(read)

    def active(self) -> BoolArray:
        """Which symbols the store has as active, bool (symbols,); one that it does not have is not."""
        return self._read(lambda directory: directory.active.copy())

    def scores(self, at_ms: int, valid_minutes: float) -> FloatArray:
        """The data-quality score of each symbol for the minute that closes at `at_ms`, (symbols,).

        NaN where nobody has measured it, or last did so more than `valid_minutes` before or after.
        """
        valid_ms = round(valid_minutes * MINUTE_MS)

        def read(directory: _Directory) -> FloatArray:
            scores = np.full(len(self._symbols), np.nan)
            asked = directory.listed, at_ms - valid_ms, at_ms + valid_ms
            for column, score in self._connection.exec_driver_sql(_SCORES, asked):
                scores[column] = score
            return scores

        return self._read(read)

    def watermark_ms(self) -> int | None:
        """The newest end of what is known of any symbol's minutes; None where nothing is."""
        return self._read(lambda directory: self._number(_WATERMARK, (directory.listed,)))

    def first_known_after(self, open_ms: int) -> int | None:
        """The first minute at or after `open_ms` that is known of any symbol; None where there is none."""
        open_ms = -(-int(open_ms) // MINUTE_MS) * MINUTE_MS
        ahead = self._valid_ahead()
        row = None if ahead is None else ahead.row(open_ms)
        if ahead is not None and row is not None and ahead.known[row:].any():
            return open_ms + int(ahead.known[row:].argmax()) * MINUTE_MS
        return self._read(lambda directory: self._number(_FIRST_KNOWN, (open_ms, directory.listed)))

    def as_seen(self, start_ms: int, revisions: RevisionArray) -> Panel:
        """The panel that holds exactly these revisions, suspect or not.

        Parameters
        ----------
        start_ms : the open time of the first minute
        revisions : int32 (minutes, symbols): a revision, NO_TRADE (covered, no bar) or UNKNOWN (not covered)

        Raises
        ------
        StoreError
            Where the store does not hold one of them.
        """
        start_ms = _on_the_minute(start_ms)
        if revisions.ndim != 2 or revisions.shape[1] != len(self._symbols):
            raise UsageError(
                f"revisions of shape {revisions.shape} were asked for: "
                f"give a column for each of the {len(self._symbols)} watched symbols"
            )
        count = len(revisions)
        values = np.full((len(BAR_FIELDS), len(self._symbols), count), np.nan)
        for column in range(len(self._symbols)):
            rows = np.flatnonzero((revisions[:, column] != NO_TRADE) & (revisions[:, column] != UNKNOWN))
            if len(rows):
                wanted = revisions[rows, column].astype(np.int64)
                values[:, column, rows] = self._of_revisions(column, start_ms, rows, wanted).T
        fields = {name: values[index].T for index, name in enumerate(BAR_FIELDS)}
        return Panel(
            timeframe=Timeframe.M1,
            symbols=self._symbols,
            open_time_ms=start_ms + MINUTE_MS * np.arange(count, dtype=np.int64),
            covered=revisions != UNKNOWN,
            **fields,
        )

    # --- one state of the store ----------------------------------------------------------------

    def _read(self, read: Callable[[_Directory], T]) -> T:
        """What `read` finds in the state of the store as it is now."""

        def in_one_state(_: Connection) -> T:
            version = self._version()
            if version != self._directory.version:
                self._directory = self._read_directory(version)
            return read(self._directory)

        return self._reader.consistently(in_one_state, self._connection)

    def _version(self) -> int:
        """A number that is another one once anybody else has committed; to be asked inside a transaction."""
        return int(self._connection.exec_driver_sql("PRAGMA data_version").scalar_one())

    def _read_directory(self, version: int) -> _Directory:
        ids: list[int | None] = [None] * len(self._symbols)
        active = np.zeros(len(self._symbols), dtype=np.bool_)
        for column, symbol_id, is_active in self._connection.exec_driver_sql(_SYMBOLS, (self._wanted,)):
            ids[column] = symbol_id
            active[column] = is_active
        return _Directory(version, ids, json.dumps(ids), active)

    def _collected(self) -> dict[Symbol, bool]:
        """Which of the watched symbols the store has."""
        ids = self._read(lambda directory: directory.ids)
        return {symbol: found is not None for symbol, found in zip(self._symbols, ids, strict=True)}

    def _number(self, statement: str, parameters: tuple[int | str, ...]) -> int | None:
        found = self._connection.exec_driver_sql(statement, parameters).scalar()
        return None if found is None else int(found)

    # --- reading ahead -------------------------------------------------------------------------

    def _valid_ahead(self) -> _Ahead | None:
        """What was read ahead, where nobody has written since."""
        if self._ahead is None:
            return None
        with self._connection.begin():
            version = self._version()
        if version != self._ahead.version:
            self._ahead = None
            self._ahead_minutes = _AHEAD_AFTER_COMMIT
        return self._ahead

    def _read_ahead(self, directory: _Directory, open_ms: int) -> _Ahead:
        """Read the minute and some that follow it: the more, the longer nobody has written."""
        window_start_ms = open_ms // self._window_ms * self._window_ms
        end_ms = min(open_ms + self._ahead_minutes * MINUTE_MS, window_start_ms + self._window_ms)
        self._ahead = None  # so that the old ones and the new ones are not held at the same time
        self._ahead = self._read_span(directory, open_ms, end_ms)
        self._ahead_minutes = min(self._ahead_minutes * _AHEAD_GROWTH, self._window_minutes)
        return self._ahead

    def _read_span(self, directory: _Directory, start_ms: int, end_ms: int) -> _Ahead:
        count, width = (end_ms - start_ms) // MINUTE_MS, len(self._symbols)
        values = np.full((count, len(BAR_FIELDS), width), np.nan)
        revision = np.full((count, width), NO_TRADE, dtype=np.int32)
        span = (count, start_ms, end_ms, directory.listed)
        found = self._connection.exec_driver_sql(_SUSPECTS, span).fetchall()
        suspects = np.array([row[0] for row in found], dtype=np.int64)
        cold = self._cold_bars(directory, start_ms, end_ms)
        for bars in chain(cold, self._hot_bars(span)):
            _enter_newest(bars, suspects, values, revision)
        covered = np.zeros((count, width), dtype=np.bool_)
        for column, first_ms, stop_ms in self._connection.exec_driver_sql(
            _COVERAGE, (start_ms, end_ms, directory.listed)
        ):
            lower = max(-(-(first_ms - start_ms) // MINUTE_MS), 0)
            upper = max((stop_ms - start_ms) // MINUTE_MS, 0)
            covered[lower:upper, column] = True
        if not covered.all():
            revision[~covered] = UNKNOWN
            values.swapaxes(1, 2)[~covered] = np.nan
        return _Ahead(directory.version, start_ms, values, revision, np.asarray(covered.any(axis=1)))

    def _hot_bars(self, span: tuple[int, int, int, str]) -> Iterator[_Bars]:
        """The rows of the hot tier, some at a time."""
        numbers = chain.from_iterable(plain_rows(self._connection, _HOT_BARS, span))
        while True:
            some = islice(numbers, 6 * _FETCHED_AT_ONCE)
            table = np.fromiter(some, dtype=np.float64).reshape(-1, 6)
            if not len(table):
                return
            table[np.isinf(table)] = np.nan  # the volumes that are unknown
            yield _Bars(table[:, 0].astype(np.int64), table[:, 1:])

    def _cold_bars(self, directory: _Directory, start_ms: int, end_ms: int) -> Iterator[_Bars]:
        """The rows of the cold files, symbol by symbol."""
        count = (end_ms - start_ms) // MINUTE_MS
        window_start_ms = start_ms // self._window_ms * self._window_ms
        self._keep_cold_window(directory, window_start_ms)
        first = (start_ms - window_start_ms) // MINUTE_MS
        for column, rows in self._cold.items():
            lower, upper = np.searchsorted(rows.minute, [first, first + count])
            if upper > lower:
                cell = column * count + rows.minute[lower:upper] - first
                yield _Bars(cell * _REVISIONS + rows.revision[lower:upper], rows.values[lower:upper])

    def _keep_cold_window(self, directory: _Directory, window_start_ms: int) -> None:
        """Hold what the cold files of one window say; those that are held are not read again."""
        if window_start_ms != self._cold_start_ms:
            self._cold, self._cold_start_ms = {}, window_start_ms
        window_end_ms = window_start_ms + self._window_ms
        named = self._month_files(directory.listed, window_start_ms, window_end_ms)
        for column in self._cold.keys() - named.keys():
            del self._cold[column]
        for column, files in named.items():
            if column not in self._cold or self._cold[column].files != files:
                self._cold[column] = self._read_cold(files, window_start_ms, window_end_ms)

    def _month_files(self, listed: str, start_ms: int, end_ms: int) -> dict[int, tuple[tuple[str, str], ...]]:
        """By column the path and the content hash of the files that may hold bars of [start_ms, end_ms)."""
        named: dict[int, tuple[tuple[str, str], ...]] = {}
        for column, path, sha256 in self._connection.exec_driver_sql(
            _MONTH_FILES, (month_start_ms(start_ms), end_ms, listed)
        ):
            named[column] = (*named.get(column, ()), (path, sha256))
        return named

    def _read_cold(self, files: tuple[tuple[str, str], ...], start_ms: int, end_ms: int) -> _ColdRows:
        stored = self._reader.cold.read([path for path, _ in files]).between(start_ms, end_ms)
        return _ColdRows(
            files,
            (stored.open_time_ms - start_ms) // MINUTE_MS,
            stored.revision.copy(),  # not a view, which would hold the whole month
            np.ascontiguousarray(stored.values[: len(BAR_FIELDS)].T),
        )

    # --- what was seen -------------------------------------------------------------------------

    def _of_revisions(self, column: int, start_ms: int, rows: IntArray, revisions: IntArray) -> FloatArray:
        """The bars of one symbol with exactly these revisions, float64 (rows, 5).

        `rows` are counted from `start_ms`.
        """
        first_ms = start_ms + int(rows[0]) * MINUTE_MS
        end_ms = start_ms + (int(rows[-1]) + 1) * MINUTE_MS
        wanted = (rows - rows[0]) * _REVISIONS + revisions

        def read(directory: _Directory) -> _Bars:
            listed = json.dumps([directory.ids[column]])
            parts = []
            for files in self._month_files(listed, first_ms, end_ms).values():
                cold = self._read_cold(files, first_ms, end_ms)
                parts.append(_Bars(cold.minute * _REVISIONS + cold.revision, cold.values))
            parts += self._hot_bars(((end_ms - first_ms) // MINUTE_MS, first_ms, end_ms, listed))
            return _joined(parts)

        held = self._read(read)
        position = np.searchsorted(held.cell_revision, wanted)
        gone = np.ones(len(wanted), dtype=np.bool_)
        inside = position < len(held.cell_revision)
        gone[inside] = held.cell_revision[position[inside]] != wanted[inside]
        if gone.any():
            lost = int(gone.argmax())
            open_time = from_ms(start_ms + int(rows[lost]) * MINUTE_MS)
            raise StoreError(
                f"the store no longer holds revision {revisions[lost]} of the minute "
                f"{open_time:%Y-%m-%dT%H:%MZ} of {self._symbols[column]}, which was seen: "
                "restore market.db and the folder of bars from a copy"
            )
        seen: FloatArray = held.values[position]
        return seen


class _CollectedBars:
    """A bar source for which a symbol that the store does not have is unknown, and no error."""

    def __init__(self, stored: StoredBars, collected: Callable[[], Mapping[Symbol, bool]]) -> None:
        self._stored = stored
        self._collected = collected

    def panel(self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
        """The bars of `symbols` over [start_ms, end_ms), fetched or derived."""
        collected = self._collected()
        there = [symbol for symbol in symbols if collected[symbol]]
        if len(there) == len(symbols):
            return self._stored.panel(symbols, timeframe, start_ms, end_ms)
        absent = [symbol for symbol in symbols if not collected[symbol]]
        unknown = Panel.empty(timeframe, absent, start_ms, end_ms)
        if not there:
            return unknown
        return side_by_side([self._stored.panel(there, timeframe, start_ms, end_ms), unknown]).select(symbols)


def _on_the_minute(open_ms: int) -> int:
    """The time as a plain integer; raises UsageError where no minute opens then."""
    if open_ms % MINUTE_MS:
        raise UsageError(f"no minute opens at {from_ms(open_ms).isoformat()}: ask for a whole minute")
    return int(open_ms)


def _enter_newest(bars: _Bars, suspects: IntArray, values: FloatArray, revision: RevisionArray) -> None:
    """Enter of every bar the newest revision that is not suspect, where none that is newer stands there."""
    cell_revision, found = _in_order(bars)
    if len(suspects):
        sound = ~np.isin(cell_revision, suspects)
        cell_revision, found = cell_revision[sound], found[sound]
    cell, of_cell = np.divmod(cell_revision, _REVISIONS)
    last = np.ones(len(cell), dtype=np.bool_)
    last[:-1] = cell[1:] != cell[:-1]
    if not last.all():
        cell, of_cell, found = cell[last], of_cell[last], found[last]
    column, minute = np.divmod(cell, len(revision))
    newer = of_cell > revision[minute, column]
    if not newer.all():
        column, minute, of_cell, found = column[newer], minute[newer], of_cell[newer], found[newer]
    revision[minute, column] = of_cell
    values[minute, :, column] = found


def _joined(parts: Iterable[_Bars]) -> _Bars:
    """All rows in order of cell and revision; a row that lies in both tiers is found once, whichever."""
    filled = [part for part in parts if len(part.cell_revision)]
    if not filled:
        return _Bars(np.empty(0, dtype=np.int64), np.empty((0, len(BAR_FIELDS))))
    cell_revision = np.concatenate([part.cell_revision for part in filled])
    return _in_order(_Bars(cell_revision, np.concatenate([part.values for part in filled])))


def _in_order(bars: _Bars) -> _Bars:
    """The rows in order of cell and revision."""
    cell_revision, values = bars
    if np.all(cell_revision[1:] > cell_revision[:-1]):
        return bars
    order = np.argsort(cell_revision, kind="stable")
    return _Bars(cell_revision[order], values[order])
