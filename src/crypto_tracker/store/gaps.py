"""What is not known of a series: what can still be asked for, and what its provider lacks for good."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, insert, select

from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store import intervals, tables

Lack = tuple[int, int, str]
"""An interval [start_ms, end_ms) that a provider lacks for good, and why."""


def lacking(connection: Connection, symbol_id: int, timeframe: Timeframe) -> IntArray:
    """The intervals that the provider of a series lacks for good, whatever the reason."""
    return intervals.as_intervals((start, end) for start, end, _ in reasons(connection, symbol_id, timeframe))


def reasons(connection: Connection, symbol_id: int, timeframe: Timeframe) -> list[Lack]:
    """What the provider of a series lacks for good, in order of time; the intervals are disjoint."""
    table = tables.gaps
    query = (
        select(table.c.start_ms, table.c.end_ms, table.c.reason)
        .where(table.c.symbol_id == symbol_id, table.c.timeframe == timeframe.value)
        .order_by(table.c.start_ms)
    )
    return [(start_ms, end_ms, reason) for start_ms, end_ms, reason in connection.execute(query)]


def missing(
    start_ms: int, end_ms: int, timeframe: Timeframe, coverage: IntArray, lacking: IntArray
) -> IntArray:
    """What can still be asked for of [start_ms, end_ms), whose ends are floored to the grid."""
    span = intervals.as_intervals([(timeframe.floor(start_ms), timeframe.floor(end_ms))])
    return intervals.subtract(intervals.subtract(span, coverage), lacking)


def checked(lacks: Iterable[Lack]) -> list[Lack]:
    """The intervals that are to be noted; raises UsageError where one has no reason."""
    found = list(lacks)
    for start_ms, end_ms, reason in found:
        if not reason.strip():
            raise UsageError(
                f"the provider is said to lack [{start_ms}, {end_ms}) without a reason: say in one clause why"
            )
    return found


def note(
    connection: Connection,
    symbol_id: int,
    timeframe: Timeframe,
    added: Sequence[Lack],
    covered: IntArray,
    now_ms: int,
) -> None:
    """Keep the record of a series true after a write: what is covered now is no longer lacking.

    Where an interval was noted before, the later reason counts; those that touch and share their reason
    become one. What lies after `now_ms` cannot be lacking yet.
    """
    known = reasons(connection, symbol_id, timeframe)
    if not added and not known:
        return
    pieces: list[Lack] = []
    latest = timeframe.floor(now_ms)
    for start_ms, end_ms, reason in (*known, *added):
        span = intervals.as_intervals([(start_ms, end_ms)])
        clipped = intervals.clip(intervals.on_grid(span, timeframe.ms), 0, latest)
        pieces = _without(pieces, clipped)
        pieces += [(start, end, reason) for start, end in clipped.tolist()]
    after = _joined(sorted(_without(pieces, covered)))
    if after == known:
        return
    table = tables.gaps
    here = (table.c.symbol_id == symbol_id, table.c.timeframe == timeframe.value)
    gone, new = set(known) - set(after), sorted(set(after) - set(known))
    for start_ms, _, _ in gone:
        connection.execute(delete(table).where(*here, table.c.start_ms == start_ms))
    if new:
        connection.execute(
            insert(table),
            [
                {
                    "symbol_id": symbol_id,
                    "timeframe": timeframe.value,
                    "start_ms": start_ms,
                    "end_ms": end_ms,
                    "reason": reason,
                    "noted_at_ms": now_ms,
                }
                for start_ms, end_ms, reason in new
            ],
        )


def _without(pieces: Sequence[Lack], removed: IntArray) -> list[Lack]:
    """The pieces less some intervals."""
    return [
        (start, end, reason)
        for start_ms, end_ms, reason in pieces
        for start, end in intervals.subtract(intervals.as_intervals([(start_ms, end_ms)]), removed).tolist()
    ]


def _joined(pieces: Sequence[Lack]) -> list[Lack]:
    """Sorted, disjoint pieces, those that touch and share their reason as one."""
    joined: list[Lack] = []
    for start_ms, end_ms, reason in pieces:
        if joined and joined[-1][1] == start_ms and joined[-1][2] == reason:
            joined[-1] = (joined[-1][0], end_ms, reason)
        else:
            joined.append((start_ms, end_ms, reason))
    return joined
