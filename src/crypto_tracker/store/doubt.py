"""Keeps the record of suspect bars true after a write: see `core.validate.suspect_bars`."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, delete, insert, select

from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.core.validate import suspect_bars
from crypto_tracker.store import intervals, tables
from crypto_tracker.store.batch import VALUE_FIELDS, StoredRows
from crypto_tracker.store.tiers import Tiers

_CLOSE = VALUE_FIELDS.index("close")
BARS_BEFORE = 2  # closes that judge a bar
_FIRST_REACH_BARS = 64
_REACH_GROWTH = 32

Key = tuple[int, int]
"""The open time and the revision of a bar."""


@dataclass(frozen=True, slots=True)
class DoubtRule:
    """When a minute's close is suspect, and how many bars confirm it."""

    move_max: float
    confirm_bars: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What judging bars anew came to.

    Attributes
    ----------
    suspect : how many bars became suspect
    changed : the span [start_ms, end_ms) of all that became suspect or no longer are; None where none did
    """

    suspect: int
    changed: tuple[int, int] | None


def judge(
    connection: Connection,
    tiers: Tiers,
    symbol_id: int,
    timeframe: Timeframe,
    span: tuple[int, int],
    rule: DoubtRule,
) -> Judged:
    """Judge the bars of `span`, and those near it that it bears on, anew.

    Of a bar with several revisions the newest is judged; where it is suspect, the one before it stands in.
    So the verdict on a bar depends on the bars that are stored and not on the order in which they came.
    """
    coverage = tiers.coverage([symbol_id], timeframe)[symbol_id]
    # A write changes the verdict on `BARS_BEFORE` bars behind it and on `confirm_bars` ahead of it; to judge
    # those, as many bars again on either side must be known.
    margin = BARS_BEFORE + rule.confirm_bars
    rows = _with_context(tiers, symbol_id, timeframe, span, coverage, margin * 2)
    times = intervals.distinct(rows.open_time_ms)
    if not len(times):
        return Judged(suspect=0, changed=None)
    first = max(int(np.searchsorted(times, span[0])) - margin, 0)
    stop = min(int(np.searchsorted(times, span[1])) + margin, len(times))
    judged = int(times[first]), int(times[stop - 1])

    found = {
        key: confirmed
        for key, confirmed in suspect_keys(rows, coverage, rule).items()
        if judged[0] <= key[0] <= judged[1]
    }
    table = tables.suspects
    here = (
        table.c.symbol_id == symbol_id,
        table.c.timeframe == timeframe.value,
        table.c.open_time_ms >= judged[0],
        table.c.open_time_ms <= judged[1],
    )
    query = select(table.c.open_time_ms, table.c.revision).where(*here)
    known = {(row[0], row[1]) for row in connection.execute(query)}
    if known or found:
        connection.execute(delete(table).where(*here))
    if found:
        connection.execute(
            insert(table),
            [
                {
                    "symbol_id": symbol_id,
                    "timeframe": timeframe.value,
                    "open_time_ms": time_ms,
                    "revision": revision,
                    "status": "unconfirmed" if confirmed is None else "confirmed",
                    "confirmed_at_ms": confirmed,
                }
                for (time_ms, revision), confirmed in sorted(found.items())
            ],
        )
    return Judged(suspect=len(found.keys() - known), changed=span_of(found.keys() ^ known, timeframe))


def span_of(keys: Collection[Key], timeframe: Timeframe) -> tuple[int, int] | None:
    """The span [start_ms, end_ms) that holds these bars, None without any."""
    if not keys:
        return None
    times = [time_ms for time_ms, _ in keys]
    return min(times), max(times) + timeframe.ms


def suspect_keys(rows: StoredRows, coverage: IntArray, rule: DoubtRule) -> dict[Key, int | None]:
    """(open time, revision) of every suspect row, and when it was confirmed."""
    set_aside: dict[Key, int | None] = {}
    candidates = rows
    while True:
        chosen = candidates.newest()
        stretch = intervals.index_of(coverage, chosen.open_time_ms)
        follows_unknown = np.ones(len(chosen), dtype=np.bool_)
        follows_unknown[1:] = np.diff(stretch) != 0
        verdict = suspect_bars(
            chosen.values[_CLOSE], follows_unknown, move_max=rule.move_max, confirm_bars=rule.confirm_bars
        )
        found: dict[Key, int | None] = {}
        replaceable = []
        for index in np.flatnonzero(verdict.suspect).tolist():
            by = int(verdict.confirmed_by[index])
            key = int(chosen.open_time_ms[index]), int(chosen.revision[index])
            found[key] = None if by < 0 else int(chosen.open_time_ms[by]) + Timeframe.M1.ms
            if np.any((candidates.open_time_ms == key[0]) & (candidates.revision < key[1])):
                replaceable.append(key)
        if not replaceable:
            return set_aside | found
        # An earlier revision stands in for each of these, and their neighbours are judged by it.
        set_aside |= {key: found[key] for key in replaceable}
        candidates = candidates.without(np.array(replaceable, dtype=np.int64))


def _with_context(
    tiers: Tiers, symbol_id: int, timeframe: Timeframe, span: tuple[int, int], coverage: IntArray, bars: int
) -> StoredRows:
    """The rows of `span` and at least `bars` present bars on either side, where the store has as many."""
    if not len(coverage):
        return StoredRows.none()
    earliest, latest = int(coverage[0, 0]), int(coverage[-1, 1])
    reach = _FIRST_REACH_BARS * timeframe.ms
    while True:
        start_ms, end_ms = max(span[0] - reach, earliest), min(span[1] + reach, latest)
        rows = tiers.rows(symbol_id, timeframe, start_ms, end_ms)
        times = intervals.distinct(rows.open_time_ms)
        enough_before = start_ms == earliest or int(np.searchsorted(times, span[0])) >= bars
        enough_after = end_ms == latest or len(times) - int(np.searchsorted(times, span[1])) >= bars
        if enough_before and enough_after:
            return rows
        reach *= _REACH_GROWTH
