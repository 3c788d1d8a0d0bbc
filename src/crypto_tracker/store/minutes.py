"""One or a few minutes of many symbols, entered by a handful of statements for all of them together.

What any of these statements cannot settle (a broken bar, one that is held, a cold month, a price that jumped,
an interval that was lacking) is left to the way in which single series are written. Both ways come to the
same store.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection

from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.core.validate import BarRule, broken_rules
from crypto_tracker.store import intervals, tables
from crypto_tracker.store.batch import (
    N_PRICES,
    N_TRADED,
    VALUE_FIELDS,
    BarBatch,
    StoredRows,
    contributions,
    newly_known,
)
from crypto_tracker.store.database import plain_rows
from crypto_tracker.store.doubt import BARS_BEFORE, DoubtRule

_TIMES = 2**48
"""More milliseconds than any clock reaches: with it one number tells a symbol and a time."""

_UNKNOWN = ", ".join(f"ifnull({name}, 9e999)" for name in VALUE_FIELDS[N_PRICES:])
_OF_SYMBOLS = (
    "FROM json_each(?3) AS wanted CROSS JOIN {0} ON {0}.symbol_id = wanted.value AND timeframe = '1m'"
)
_STORED = (
    f"SELECT wanted.key, open_time_ms, revision, {', '.join(VALUE_FIELDS[:N_PRICES])}, {_UNKNOWN} "
    f"{_OF_SYMBOLS.format('bars')} AND open_time_ms >= ?1 AND open_time_ms < ?2"
)
_IN_FILES = f"SELECT DISTINCT wanted.key {_OF_SYMBOLS.format('manifest')} AND last_ms >= ?1 AND first_ms < ?2"
_LACKING = f"SELECT DISTINCT wanted.key {_OF_SYMBOLS.format('gaps')} AND end_ms > ?1 AND start_ms < ?2"
_HELD = (
    f"SELECT DISTINCT wanted.key {_OF_SYMBOLS.format('quarantine')} "
    "AND open_time_ms >= ?1 AND open_time_ms < ?2 AND status = 'held'"
)
# Intervals are disjoint and never touch, so that of those that began earlier only the last can touch.
_KNOWN = (
    f"SELECT wanted.key, start_ms, end_ms {_OF_SYMBOLS.format('coverage')} AND start_ms <= ?2 "  # noqa: S608 - our own
    "AND start_ms >= ifnull((SELECT begun.start_ms FROM coverage AS begun "
    "WHERE begun.symbol_id = wanted.value AND begun.timeframe = '1m' AND begun.start_ms <= ?1 "
    "ORDER BY begun.start_ms DESC LIMIT 1), ?1)"
)
_INSERT = (
    f"INSERT INTO bars ({', '.join(column.name for column in tables.bars.columns)}) "  # noqa: S608 - our own
    f"VALUES ({', '.join('?' * len(tables.bars.columns))})"
)
_COMPLETE = (
    "UPDATE bars SET vwap = ?, n_trades = ? "
    "WHERE symbol_id = ? AND timeframe = ? AND open_time_ms = ? AND revision = ?"
)
_GROW = "UPDATE coverage SET end_ms = ? WHERE symbol_id = ? AND timeframe = '1m' AND start_ms = ?"
_FORGET = "DELETE FROM coverage WHERE symbol_id = ? AND timeframe = '1m' AND start_ms = ?"
_LEARN = "INSERT INTO coverage (symbol_id, timeframe, start_ms, end_ms) VALUES (?, '1m', ?, ?)"
_MINUTES = "FROM bars WHERE symbol_id = wanted.value AND timeframe = '1m' AND open_time_ms"
_CLOSES = (
    "(SELECT json_array(count(*), count(DISTINCT open_time_ms), min(open_time_ms), min(close), max(close)) "
    "FROM (SELECT open_time_ms, close {}))"
)
# Most symbols trade every minute: of these, what lies near in time is enough to see that no price jumped.
_NEAR_MS = "(?4 * 60000)"
_RESTLESS = (
    "SELECT wanted.key FROM json_each(?3) AS wanted LEFT JOIN bars "  # noqa: S608 - our own
    "ON symbol_id = wanted.value AND timeframe = '1m' "
    f"AND open_time_ms >= ?1 - {_NEAR_MS} GROUP BY wanted.key "
    "HAVING count(symbol_id) = 0 OR max(open_time_ms) >= ?2 "
    "OR sum(revision = 0 AND open_time_ms < ?1) < ?5 "
    "OR max(close) - min(close) > ?6 * min(close) "
    "OR EXISTS (SELECT 1 FROM suspects AS known WHERE known.symbol_id = wanted.value "
    f"AND known.timeframe = '1m' AND known.open_time_ms >= ?1 - {_NEAR_MS}) "
    "OR EXISTS (SELECT 1 FROM manifest WHERE manifest.symbol_id = wanted.value "
    f"AND manifest.timeframe = '1m' AND last_ms >= ?1 - {_NEAR_MS})"
)
_NEARBY = (
    "SELECT wanted.key, "  # noqa: S608 - our own
    + _CLOSES.format(f"{_MINUTES} < ?1 ORDER BY open_time_ms DESC LIMIT ?4")
    + ", "
    + _CLOSES.format(f"{_MINUTES} >= ?1 AND open_time_ms < ?2")
    + ", "
    + _CLOSES.format(f"{_MINUTES} >= ?2 ORDER BY open_time_ms LIMIT ?4")
    + ", ifnull((SELECT max(open_time_ms) FROM suspects "
    "WHERE symbol_id = wanted.value AND timeframe = '1m'), -1)"
    ", (SELECT last_ms FROM manifest WHERE symbol_id = wanted.value AND timeframe = '1m' "
    "ORDER BY month_ms DESC LIMIT 1) "
    "FROM json_each(?3) AS wanted"
)
_ROUNDING = 1.0 - 1e-9  # SQLite writes fifteen digits of a price

Pairs = Sequence[tuple[int, int]]


class Growth(NamedTuple):
    """How the coverage of one symbol changes."""

    symbol_id: int
    before: tuple[tuple[int, int], ...]
    after: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What minutes of many symbols add to the store.

    Attributes
    ----------
    symbol_ids : the symbols that are settled here
    rows : how many bars were given of them
    added : what is new, with `column` telling the symbol of each row
    completed, completed_column : rows that are there, with the vwap or number of trades that they lacked
    growths : of each symbol whose coverage changes
    touched : the span of time of all that is added, None where nothing is
    """

    symbol_ids: list[int]
    rows: int
    added: StoredRows
    column: IntArray
    completed: StoredRows
    completed_column: IntArray
    growths: list[Growth]
    touched: tuple[int, int] | None


def plan(
    connection: Connection,
    symbol_ids: Sequence[int],
    batches: Sequence[BarBatch],
    covered: Sequence[Pairs],
    *,
    now_ms: int,
    bars_max: int,
) -> tuple[Plan, list[int]]:
    """What can be settled for all symbols together, and the places of those that must be written alone.

    `bars_max` is how many bars of a symbol may come: with more of them a month might become a file.
    """
    left = {place for place, bars in enumerate(batches) if len(bars) >= bars_max}
    column = np.repeat(np.arange(len(batches)), [len(bars) for bars in batches])
    joined = BarBatch.joined(batches)
    times, values = joined.open_time_ms, joined.values()
    prices = values[0], values[1], values[2], values[3]
    broken = broken_rules(Timeframe.M1, times, prices, values[N_PRICES], now_ms=now_ms) != BarRule.VALID
    broken |= (times < 0) | (times >= _TIMES)
    left.update(column[broken].tolist())
    order = np.lexsort((times, column))
    again = (np.diff(times[order]) == 0) & (np.diff(column[order]) == 0)
    left.update(column[order][1:][again].tolist())

    news = _news(batches, covered, left, now_ms)
    spans = [(pairs[0][0], pairs[-1][1]) for place, pairs in news.items() if pairs]
    # Without anything new there is nothing to be found in the first minute of all, and nothing to be added.
    span = min((start for start, _ in spans), default=0), max((end for _, end in spans), default=MINUTE_MS)
    listed = json.dumps(list(symbol_ids))
    parameters = (*span, listed)
    for statement in (_IN_FILES, _LACKING, _HELD):
        left.update(key for (key,) in connection.exec_driver_sql(statement, parameters))
    kept = [place for place in range(len(batches)) if place not in left]

    mine = order[~np.isin(column[order], sorted(left))]
    incoming = column[mine] * _TIMES + times[mine]
    found = contributions(incoming, values[:, mine], _stored(connection, parameters))
    added, column_of_added = _apart(found.added, symbol_ids)
    completed, column_of_completed = _apart(found.completed, symbol_ids)
    known: dict[int, list[tuple[int, int]]] = {}
    for key, start_ms, end_ms in connection.exec_driver_sql(_KNOWN, parameters):
        known.setdefault(key, []).append((start_ms, end_ms))
    growths = []
    for place in kept:
        before = tuple(known.get(place, ()))
        after = _joined(before, news[place])
        if after != before:
            growths.append(Growth(symbol_ids[place], before, after))
    return (
        Plan(
            symbol_ids=[symbol_ids[place] for place in kept],
            rows=len(mine),
            added=added,
            column=column_of_added,
            completed=completed,
            completed_column=column_of_completed,
            growths=growths,
            touched=span if len(added) or growths else None,
        ),
        sorted(left),
    )


def enter(connection: Connection, plan: Plan) -> None:
    """Write what is new into the hot tier and the coverage."""
    added = plan.added
    if len(added):
        columns = [[None if value != value else value for value in field] for field in added.values.tolist()]  # noqa: PLR0124 - NaN
        connection.exec_driver_sql(
            _INSERT,
            [
                (symbol_id, "1m", *row)
                for symbol_id, *row in zip(
                    plan.column.tolist(),
                    added.open_time_ms.tolist(),
                    added.revision.tolist(),
                    *columns,
                    strict=True,
                )
            ],
        )
    complete(connection, plan.completed_column, Timeframe.M1, plan.completed)
    grown, gone, new = [], [], []
    for growth in plan.growths:
        ends = dict(growth.before)
        for start_ms, end_ms in growth.after:
            if start_ms not in ends:
                new.append((growth.symbol_id, start_ms, end_ms))
            elif ends.pop(start_ms) != end_ms:
                grown.append((end_ms, growth.symbol_id, start_ms))
        gone += [(growth.symbol_id, start_ms) for start_ms in ends]
    for statement, rows in ((_FORGET, gone), (_GROW, grown), (_LEARN, new)):
        if rows:
            connection.exec_driver_sql(statement, rows)


def spans_of(plan: Plan) -> dict[int, tuple[int, int]]:
    """Of each symbol that changes the span in which it does."""
    ends: dict[int, list[int]] = {}
    for symbol_id, time_ms in zip(plan.column.tolist(), plan.added.open_time_ms.tolist(), strict=True):
        ends.setdefault(symbol_id, []).extend((time_ms, time_ms + MINUTE_MS))
    for growth in plan.growths:
        new = intervals.subtract(intervals.as_intervals(growth.after), intervals.as_intervals(growth.before))
        ends.setdefault(growth.symbol_id, []).extend(new.ravel().tolist())
    return {symbol_id: (min(times), max(times)) for symbol_id, times in ends.items() if times}


def complete(connection: Connection, symbol_ids: IntArray, timeframe: Timeframe, rows: StoredRows) -> None:
    """Let hot rows know their vwap and number of trades; rows of cold files stay as they are.

    `symbol_ids` tells the symbol of each row.
    """
    if not len(rows):
        return
    traded = rows.values[N_TRADED:].tolist()
    fields = [[None if value != value else value for value in field] for field in traded]  # noqa: PLR0124 - NaN
    connection.exec_driver_sql(
        _COMPLETE,
        [
            (*values, symbol_id, timeframe.value, time_ms, revision)
            for *values, symbol_id, time_ms, revision in zip(
                *fields, symbol_ids.tolist(), rows.open_time_ms.tolist(), rows.revision.tolist(), strict=True
            )
        ],
    )


def doubtful(connection: Connection, plan: Plan, rule: DoubtRule) -> list[int]:
    """The symbols of which a bar may be suspect, or no longer be; asked once the rows are entered.

    Of all others no two closes near what was written lie so far apart, whatever their revision, that one
    could be a jump from the other, and no bar there was suspect before.
    """
    if plan.touched is None:
        return []
    bars = 2 * (BARS_BEFORE + rule.confirm_bars)
    span, listed = plan.touched, json.dumps(plan.symbol_ids)
    near_and_quiet = (*span, listed, 2 * bars, bars, rule.move_max * _ROUNDING)
    restless = [plan.symbol_ids[key] for (key,) in connection.exec_driver_sql(_RESTLESS, near_and_quiet)]
    if not restless:
        return []
    found = []
    parameters = (*span, json.dumps(restless), 2 * bars)
    for key, *near, suspect_ms, cold_ms in connection.exec_driver_sql(_NEARBY, parameters):
        before, inside, after = (_Closes(*json.loads(text)) for text in near)
        there = [closes for closes in (before, inside, after) if closes.rows]
        enough_before = before.bars >= bars or (before.rows < 2 * bars and cold_ms is None)
        enough_after = after.bars >= bars or after.rows < 2 * bars
        if not there:
            if cold_ms is not None:
                found.append(restless[key])
            continue
        first_ms = min(closes.first_ms for closes in there)
        lowest, highest = min(closes.lowest for closes in there), max(closes.highest for closes in there)
        quiet = highest - lowest <= rule.move_max * lowest * _ROUNDING
        beyond = suspect_ms >= first_ms or (cold_ms is not None and cold_ms >= first_ms)
        if not (quiet and enough_before and enough_after) or beyond:
            found.append(restless[key])
    return found


class _Closes(NamedTuple):
    """The closes of some rows; what is None without a row is never asked for."""

    rows: int
    bars: int
    first_ms: int
    lowest: float
    highest: float


def _news(
    batches: Sequence[BarBatch], covered: Sequence[Pairs], left: set[int], now_ms: int
) -> Mapping[int, tuple[tuple[int, int], ...]]:
    """By place the intervals that a write makes known; most symbols bring the same ones."""
    remembered: dict[tuple[tuple[tuple[int, int], ...], bytes], tuple[tuple[int, int], ...]] = {}
    news = {}
    for place, (bars, spans) in enumerate(zip(batches, covered, strict=True)):
        if place in left:
            continue
        key = tuple(spans), bars.open_time_ms.tobytes()
        if key not in remembered:
            found = newly_known(
                Timeframe.M1, bars, np.arange(len(bars)), np.arange(0), spans, now_ms
            ).tolist()
            remembered[key] = tuple((start_ms, end_ms) for start_ms, end_ms in found)
        news[place] = remembered[key]
    return news


def _stored(connection: Connection, parameters: tuple[int, int, str]) -> StoredRows:
    """What the hot tier holds of all symbols in a span, each time with its symbol in one number."""
    numbers = chain.from_iterable(plain_rows(connection, _STORED, parameters))
    table = np.fromiter(numbers, dtype=np.float64).reshape(-1, 3 + len(VALUE_FIELDS))
    table[np.isinf(table)] = np.nan  # what is unknown
    key = table[:, 0].astype(np.int64) * _TIMES + table[:, 1].astype(np.int64)
    return StoredRows(key, table[:, 2].astype(np.int64), np.ascontiguousarray(table[:, 3:].T))


def _apart(rows: StoredRows, symbol_ids: Sequence[int]) -> tuple[StoredRows, IntArray]:
    """Rows whose times hold the place of their symbol too: the rows with their times, and their symbols."""
    places, times = np.divmod(rows.open_time_ms, _TIMES)
    column = np.array([symbol_ids[place] for place in places.tolist()], dtype=np.int64)
    return StoredRows(times, rows.revision, rows.values), column


def _joined(known: Pairs, news: Pairs) -> tuple[tuple[int, int], ...]:
    """The union of two sets of intervals; of one that grows at its end at once."""
    if len(known) == 1 and len(news) == 1 and known[0][0] <= news[0][0] <= known[0][1]:
        return ((known[0][0], max(known[0][1], news[0][1])),)
    joined = intervals.as_intervals((*known, *news))
    return tuple((start_ms, end_ms) for start_ms, end_ms in joined.tolist())
