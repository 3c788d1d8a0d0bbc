"""What is not known of stored series: holes to be fetched, and what a provider lacks for good."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store import held, intervals, tables
from crypto_tracker.store.market_database import reading, symbol_ids

SeriesName = tuple[str, Symbol, Timeframe]
"""Provider, symbol and timeframe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """An interval [start_ms, end_ms) of which nothing is known.

    Attributes
    ----------
    reason : why, where its provider lacks it, or is taken to lack it until it is asked again
    is_held : whether bars of it are held in quarantine
    """

    start_ms: int
    end_ms: int
    reason: str | None
    is_held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of the span [start_ms, end_ms) of a series, in milliseconds, and its holes by time.

    `lacking_ms` is what its provider lacks, less what is held in quarantine.
    """

    start_ms: int
    end_ms: int
    known_ms: int
    lacking_ms: int
    holes: tuple[Hole, ...]

    @property
    def share(self) -> float:
        """Share of the span that is known; 1 where it is empty."""
        return self.known_ms / (self.end_ms - self.start_ms) if self.end_ms > self.start_ms else 1.0


def what_is_known(home: Path, spans: Mapping[SeriesName, tuple[int, int]]) -> dict[SeriesName, Known]:
    """Of each series, what is known of its span; from the records, without reading bars."""
    with reading(home) as connection:
        ids = symbol_ids(connection)
        covered: dict[tuple[int, str], list[tuple[int, int]]] = {}
        for symbol_id, timeframe, start_ms, end_ms in connection.execute(select(tables.coverage)):
            covered.setdefault((symbol_id, timeframe), []).append((start_ms, end_ms))
        lacks: dict[tuple[int, str], list[tuple[int, int, str]]] = {}
        for row in connection.execute(select(tables.gaps).order_by(tables.gaps.c.start_ms)):
            lacks.setdefault((row.symbol_id, row.timeframe), []).append(
                (row.start_ms, row.end_ms, row.reason)
            )
        table = tables.quarantine
        query = (
            select(table.c.symbol_id, table.c.timeframe)
            .where(table.c.status == "held", table.c.open_time_ms.is_not(None))
            .distinct()
        )
        held_of = {
            (symbol_id, timeframe): held.minutes(
                connection, symbol_id, Timeframe.parse(timeframe), intervals.EMPTY
            )
            for symbol_id, timeframe in connection.execute(query).all()
        }
    found = {}
    for name, span in spans.items():
        provider, symbol, timeframe = name
        key = ids.get((provider, symbol), -1), timeframe.value
        known = intervals.as_intervals(covered.get(key, []))
        found[name] = _known(span, known, lacks.get(key, []), held_of.get(key, intervals.EMPTY))
    return found


def _known(
    span: tuple[int, int], covered: IntArray, lacks: list[tuple[int, int, str]], held_there: IntArray
) -> Known:
    start_ms, end_ms = span
    if end_ms <= start_ms:
        return Known(start_ms=start_ms, end_ms=start_ms, known_ms=0, lacking_ms=0, holes=())
    unknown = intervals.subtract(intervals.as_intervals([span]), covered)
    quiet = intervals.subtract(unknown, held_there)
    broken = intervals.subtract(unknown, quiet)
    unknown = quiet
    holes = []
    for lack_start, lack_end, reason in lacks:
        inside = intervals.clip(unknown, lack_start, lack_end)
        holes += [Hole(start_ms=start, end_ms=end, reason=reason) for start, end in inside.tolist()]
        unknown = intervals.subtract(unknown, intervals.as_intervals([(lack_start, lack_end)]))
    lacking_ms = sum(hole.end_ms - hole.start_ms for hole in holes)
    holes += [Hole(start_ms=start, end_ms=end, reason=None) for start, end in unknown.tolist()]
    holes += [Hole(start_ms=start, end_ms=end, reason=None, is_held=True) for start, end in broken.tolist()]
    return Known(
        start_ms=start_ms,
        end_ms=end_ms,
        known_ms=end_ms - start_ms - sum(hole.end_ms - hole.start_ms for hole in holes),
        lacking_ms=lacking_ms,
        holes=tuple(sorted(holes, key=lambda hole: hole.start_ms)),
    )
