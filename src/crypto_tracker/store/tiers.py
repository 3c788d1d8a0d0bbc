"""The two tiers as one: rows, coverage and suspects of a series, inside one transaction."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection

from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.bars import BAR_FIELDS, PRICE_FIELDS
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store import intervals
from crypto_tracker.store.batch import N_PRICES, VALUE_FIELDS, StoredRows
from crypto_tracker.store.cold import ColdTier
from crypto_tracker.store.database import plain_numbers

_UNKNOWN = ", ".join(f"ifnull({name}, 9e999)" for name in VALUE_FIELDS[N_PRICES:])
_HOT_ROWS = (
    f"SELECT open_time_ms, revision, {', '.join(VALUE_FIELDS[:N_PRICES])}, {_UNKNOWN} FROM bars "  # noqa: S608 - our own column names
    "WHERE symbol_id = ? AND timeframe = ? AND open_time_ms >= ? AND open_time_ms < ? "
    "ORDER BY open_time_ms, revision"
)
_INSIDE = "FROM bars WHERE symbol_id = ?1 AND timeframe = ?2 AND open_time_ms >= ?3 AND open_time_ms < ?4"
_HOT_ENDS = (
    f"SELECT (SELECT min(open_time_ms) {_INSIDE}) AS first_ms, "
    f"(SELECT max(open_time_ms) {_INSIDE}) AS last_ms, "
    f"EXISTS (SELECT 1 {_INSIDE} AND revision > 0) AS revised"
)
_HOT_VALUES = f"SELECT {', '.join(PRICE_FIELDS)}, ifnull(volume, 9e999) {_INSIDE} ORDER BY open_time_ms"
_HOT_TIMES = f"SELECT open_time_ms {_INSIDE} ORDER BY open_time_ms"
_OF_SYMBOLS = "FROM json_each(?2) AS wanted CROSS JOIN {} ON symbol_id = wanted.value AND timeframe = ?1"
_MONTH_FILES = (
    "SELECT symbol_id, month_ms, generation, manifest.path, first_ms, last_ms, rows, bars "
    f"{_OF_SYMBOLS.format('manifest')} AND first_ms < ?4 AND last_ms >= ?3 ORDER BY symbol_id, month_ms"
)
_COVERAGE = (
    f"SELECT symbol_id, start_ms, end_ms {_OF_SYMBOLS.format('coverage')} ORDER BY symbol_id, start_ms"
)
_SUSPECTS = (
    f"SELECT symbol_id, open_time_ms, revision {_OF_SYMBOLS.format('suspects')} "
    "AND open_time_ms >= ?3 AND open_time_ms < ?4"
)


class MonthFile(NamedTuple):
    """A row of the manifest, as far as reading needs it."""

    month_ms: int
    generation: int
    path: str
    first_ms: int
    last_ms: int
    rows: int
    bars: int

    def is_full(self, timeframe: Timeframe) -> bool:
        """Whether there is one row for each bar from the first to the last: its times need not be read."""
        return self.rows == self.bars == (self.last_ms - self.first_ms) // timeframe.ms + 1


class Tiers:
    """Reads both tiers through one connection, and so sees one state of both."""

    def __init__(self, connection: Connection, cold: ColdTier) -> None:
        self._connection = connection
        self._cold = cold

    def month_files(
        self, symbol_ids: Sequence[int], timeframe: Timeframe, start_ms: int, end_ms: int
    ) -> Mapping[int, list[MonthFile]]:
        """Per symbol the cold files that hold bars of [start_ms, end_ms), in order of time."""
        found: dict[int, list[MonthFile]] = {symbol_id: [] for symbol_id in symbol_ids}
        for symbol_id, *rest in self._of_series(_MONTH_FILES, symbol_ids, timeframe, start_ms, end_ms):
            found[symbol_id].append(MonthFile(*rest))
        return found

    def rows(
        self,
        symbol_id: int,
        timeframe: Timeframe,
        start_ms: int,
        end_ms: int,
        files: Sequence[MonthFile] | None = None,
    ) -> StoredRows:
        """Every revision of every bar in [start_ms, end_ms), of whichever tier.

        `files` are the cold files of the span where the caller has asked for them already.
        """
        if files is None:
            files = self.month_files([symbol_id], timeframe, start_ms, end_ms)[symbol_id]
        by_month = sorted(files, key=lambda file: file.first_ms)
        cold = self._cold.read([file.path for file in by_month]).between(start_ms, end_ms)
        return StoredRows.merged([cold, self.hot_rows(symbol_id, timeframe, start_ms, end_ms)])

    def hot_rows(self, symbol_id: int, timeframe: Timeframe, start_ms: int, end_ms: int) -> StoredRows:
        """The rows of the hot tier in [start_ms, end_ms)."""
        values = symbol_id, timeframe.value, int(start_ms), int(end_ms)
        table = plain_numbers(self._connection, _HOT_ROWS, values, width=2 + len(VALUE_FIELDS))
        if not len(table):
            return StoredRows.none()
        table[np.isinf(table)] = np.nan  # what is unknown
        # Milliseconds are exact in float64 for the next quarter of a million years.
        return StoredRows(
            table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), np.ascontiguousarray(table[:, 2:].T)
        )

    def hot_bars(self, symbol_id: int, timeframe: Timeframe, start_ms: int, end_ms: int) -> StoredRows:
        """The same rows without what a panel does not show: `values` has the fields of BAR_FIELDS only.

        Where no bar was revised and none is missing, which is the rule, their times are not read: to make a
        number of each takes longer than to find it.
        """
        values = symbol_id, timeframe.value, int(start_ms), int(end_ms)
        ends = self._connection.exec_driver_sql(_HOT_ENDS, values).one()
        if ends.first_ms is None:
            return StoredRows.none()
        if ends.revised:
            rows = self.hot_rows(symbol_id, timeframe, start_ms, end_ms)
            return StoredRows(rows.open_time_ms, rows.revision, rows.values[: len(BAR_FIELDS)])
        table = plain_numbers(self._connection, _HOT_VALUES, values, width=len(BAR_FIELDS))
        table[np.isinf(table)] = np.nan  # volumes that are unknown
        if len(table) == (ends.last_ms - ends.first_ms) // timeframe.ms + 1:
            times = np.arange(ends.first_ms, ends.last_ms + 1, timeframe.ms, dtype=np.int64)
        else:
            times = plain_numbers(self._connection, _HOT_TIMES, values, width=1)[:, 0].astype(np.int64)
        return StoredRows(times, np.zeros(len(times), dtype=np.int64), table.T)

    def coverage(self, symbol_ids: Sequence[int], timeframe: Timeframe) -> Mapping[int, IntArray]:
        """Per symbol the intervals that are known to have been fetched."""
        pairs: dict[int, list[tuple[int, int]]] = {symbol_id: [] for symbol_id in symbol_ids}
        for symbol_id, start_ms, end_ms in self._of_series(_COVERAGE, symbol_ids, timeframe):
            pairs[symbol_id].append((start_ms, end_ms))
        return {symbol_id: intervals.as_intervals(found) for symbol_id, found in pairs.items()}

    def suspects(
        self, symbol_ids: Sequence[int], timeframe: Timeframe, start_ms: int, end_ms: int
    ) -> Mapping[int, IntArray]:
        """Per symbol the (open time, revision) of suspect bars in [start_ms, end_ms), arrays (keys, 2)."""
        keys: dict[int, list[tuple[int, int]]] = {symbol_id: [] for symbol_id in symbol_ids}
        for symbol_id, open_time_ms, revision in self._of_series(
            _SUSPECTS, symbol_ids, timeframe, start_ms, end_ms
        ):
            keys[symbol_id].append((open_time_ms, revision))
        return {
            symbol_id: np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
            for symbol_id, found in keys.items()
        }

    def _of_series(
        self, statement: str, symbol_ids: Sequence[int], timeframe: Timeframe, *span: int
    ) -> Sequence[Any]:
        """The rows of a statement for some symbols of one timeframe."""
        values = timeframe.value, json.dumps(list(symbol_ids)), *map(int, span)
        return self._connection.exec_driver_sql(statement, values).fetchall()
