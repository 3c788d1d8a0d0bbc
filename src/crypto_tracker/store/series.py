"""What the store holds, told from its records alone."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, case, func, select

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store import intervals, tables


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesInfo:
    """One series: a symbol of a provider on one stored timeframe.

    Attributes
    ----------
    start_ms, end_ms : open time of the first bar, close time of the last one
    rows : bars, each counted once whatever its revisions
    gaps : unknown stretches between the first and the last bar
    known : what is known of [start_ms, end_ms), as sorted intervals (start, end): bars, or that nobody traded
    completeness : share of [start_ms, end_ms) that is known
    suspect : bars that count as missing because their close jumped
    quarantined : bars that broke a rule and are held in quarantine
    """

    symbol: Symbol
    provider: str
    timeframe: Timeframe
    start_ms: int
    end_ms: int
    rows: int
    gaps: int
    known: tuple[tuple[int, int], ...]
    completeness: float
    suspect: int
    quarantined: int


def all_series(connection: Connection) -> list[SeriesInfo]:
    """Every series that has bars, sorted by symbol, provider and length of the timeframe."""
    names = {
        symbol_id: (provider, Symbol.parse(symbol))
        for symbol_id, provider, symbol in connection.execute(
            select(tables.symbols.c.symbol_id, tables.symbols.c.provider, tables.symbols.c.symbol)
        )
    }
    counts: dict[tuple[int, str], tuple[int, int, int]] = {}
    for key, count, first_ms, last_ms in [*_cold_counts(connection), *_hot_counts(connection)]:
        before = counts.get(key, (0, first_ms, last_ms))
        counts[key] = (before[0] + count, min(before[1], first_ms), max(before[2], last_ms))
    covered: dict[tuple[int, str], list[tuple[int, int]]] = {}
    coverage = tables.coverage
    for symbol_id, timeframe, start_ms, end_ms in connection.execute(select(coverage)):
        covered.setdefault((symbol_id, timeframe), []).append((start_ms, end_ms))
    suspect = _count_by_series(connection, tables.suspects)
    held = tables.quarantine.c.status == "held"
    quarantined = _count_by_series(connection, tables.quarantine, held)

    found = []
    for key, (rows, first_ms, last_ms) in counts.items():
        provider, symbol = names[key[0]]
        timeframe = Timeframe.parse(key[1])
        end_ms = last_ms + timeframe.ms
        known = intervals.clip(intervals.as_intervals(covered.get(key, [])), first_ms, end_ms)
        found.append(
            SeriesInfo(
                symbol=symbol,
                provider=provider,
                timeframe=timeframe,
                start_ms=first_ms,
                end_ms=end_ms,
                rows=rows,
                gaps=len(known) - 1,
                known=tuple((start, end) for start, end in known.tolist()),
                completeness=intervals.length(known) / (end_ms - first_ms),
                suspect=suspect.get(key, 0),
                quarantined=quarantined.get(key, 0),
            )
        )
    return sorted(found, key=lambda info: (info.symbol, info.provider, info.timeframe.ms))


_Counts = Iterable[tuple[tuple[int, str], int, int, int]]


def _cold_counts(connection: Connection) -> _Counts:
    table = tables.manifest
    query = select(
        table.c.symbol_id,
        table.c.timeframe,
        func.sum(table.c.bars),
        func.min(table.c.first_ms),
        func.max(table.c.last_ms),
    ).group_by(table.c.symbol_id, table.c.timeframe)
    return [((row[0], row[1]), row[2], row[3], row[4]) for row in connection.execute(query)]


def _hot_counts(connection: Connection) -> _Counts:
    table = tables.bars
    # Every bar has one revision 0; hot rows without it are overlays of bars that a cold file holds.
    first_revisions = func.sum(case((table.c.revision == 0, 1), else_=0))
    query = select(
        table.c.symbol_id,
        table.c.timeframe,
        first_revisions,
        func.min(table.c.open_time_ms),
        func.max(table.c.open_time_ms),
    ).group_by(table.c.symbol_id, table.c.timeframe)
    return [((row[0], row[1]), row[2], row[3], row[4]) for row in connection.execute(query)]


def _count_by_series(
    connection: Connection, table: Table, *conditions: ColumnElement[bool]
) -> dict[tuple[int, str], int]:
    query = (
        select(table.c.symbol_id, table.c.timeframe, func.count())
        .where(*conditions)
        .group_by(table.c.symbol_id, table.c.timeframe)
    )
    return {(row[0], row[1]): row[2] for row in connection.execute(query)}
