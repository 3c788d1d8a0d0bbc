"""What was measured of the quality of stored bars: a score of each symbol, and how far providers disagree."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, select
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.store import tables
from crypto_tracker.store.market_database import reading, symbol_ids, writing

_PARTS = ("score", "freshness", "completeness", "soundness", "agreement")
_FIGURES = ("compared", "beyond", "median", "p99", "largest")


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRow:
    """How far the bars of a symbol of a provider can be trusted; all parts lie in [0, 1].

    Attributes
    ----------
    score : the product of the parts
    freshness : 1 while the newest known minute is young, 0 once it is stale
    completeness : share of the window that is known
    soundness : 1 without bars in quarantine or in doubt, 0 where there are too many
    agreement : 1 where another provider says the same, 0 where it too often does not; None without another
    """

    provider: str
    symbol: Symbol
    measured_at_ms: int
    score: float
    freshness: float
    completeness: float
    soundness: float
    agreement: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """How far the closes of two providers of one symbol lie apart on one UTC day, as fractions.

    Attributes
    ----------
    first, second : the two providers, in alphabetical order
    compared : minutes of which both have a bar
    beyond : of these, those that lie further apart than is allowed
    median, p99, largest : of the distances of all minutes compared
    """

    symbol: Symbol
    first: str
    second: str
    day_ms: int
    compared: int
    beyond: int
    median: float
    p99: float
    largest: float


def write_quality(home: Path, rows: Iterable[QualityRow]) -> None:
    """Keep these scores in place of those before them; raises DataError for a symbol that is not stored."""
    rows = list(rows)
    if not rows:
        return
    statement = sqlite_insert(tables.quality)
    replaced = {name: statement.excluded[name] for name in ("measured_at_ms", *_PARTS)}
    with writing(home) as connection:
        ids = symbol_ids(connection)
        connection.execute(
            statement.on_conflict_do_update(index_elements=["symbol_id"], set_=replaced),
            [
                {
                    "symbol_id": _known(ids, row.provider, row.symbol),
                    "measured_at_ms": row.measured_at_ms,
                    **{name: getattr(row, name) for name in _PARTS},
                }
                for row in rows
            ],
        )


def read_quality(home: Path) -> dict[tuple[str, Symbol], QualityRow]:
    """The newest score of each symbol that was measured, by provider and symbol."""
    with reading(home) as connection:
        return _rows(connection)


def quality_at(
    connection: Connection, at_ms: int, valid_minutes: float
) -> dict[tuple[str, Symbol], QualityRow]:
    """The scores that say something of the minute that closes at `at_ms`, inside a transaction.

    That is the newest one of each symbol, where it was measured at most `valid_minutes` before or after.
    """
    valid_ms = round(valid_minutes * MINUTE_MS)
    measured = tables.quality.c.measured_at_ms
    return _rows(connection, measured.between(at_ms - valid_ms, at_ms + valid_ms))


def write_disagreements(home: Path, found: Iterable[Disagreement], now_ms: int) -> None:
    """Keep what was compared, in place of what was found of the same days before."""
    found = list(found)
    if not found:
        return
    statement = sqlite_insert(tables.disagreements)
    replaced = {name: statement.excluded[name] for name in (*_FIGURES, "measured_at_ms")}
    with writing(home) as connection:
        ids = symbol_ids(connection)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["symbol_id", "other_id", "day_ms"], set_=replaced
            ),
            [
                {
                    "symbol_id": _known(ids, each.first, each.symbol),
                    "other_id": _known(ids, each.second, each.symbol),
                    "day_ms": each.day_ms,
                    "measured_at_ms": now_ms,
                    **{name: getattr(each, name) for name in _FIGURES},
                }
                for each in found
            ],
        )


def read_disagreements(home: Path, *, since_ms: int = 0) -> list[Disagreement]:
    """What was compared, of days from `since_ms` on: by symbol, providers and day."""
    with reading(home) as connection:
        return disagreements_in(connection, since_ms=since_ms)


def disagreements_in(
    connection: Connection, *, since_ms: int, symbols: Sequence[Symbol] | None = None
) -> list[Disagreement]:
    """As `read_disagreements`, inside a transaction; of some symbols where they are named."""
    table = tables.disagreements
    first, second = tables.symbols.alias("first"), tables.symbols.alias("second")
    query = (
        select(first.c.symbol, first.c.provider.label("one"), second.c.provider.label("other"), table)
        .join(first, first.c.symbol_id == table.c.symbol_id)
        .join(second, second.c.symbol_id == table.c.other_id)
        .where(table.c.day_ms >= since_ms)
    )
    if symbols is not None:
        query = query.where(first.c.symbol.in_([str(symbol) for symbol in symbols]))
    found = [
        Disagreement(
            symbol=Symbol.parse(row.symbol),
            first=row.one,
            second=row.other,
            day_ms=row.day_ms,
            **{name: getattr(row, name) for name in _FIGURES},
        )
        for row in connection.execute(query)
    ]
    return sorted(found, key=lambda each: (each.symbol, each.first, each.second, each.day_ms))


def shares_beyond(found: Sequence[Disagreement]) -> dict[tuple[str, str, Symbol], float]:
    """Per pair of providers and symbol the share of compared minutes that lie too far apart."""
    sums: dict[tuple[str, str, Symbol], tuple[int, int]] = {}
    for each in found:
        key = each.first, each.second, each.symbol
        compared, beyond = sums.get(key, (0, 0))
        sums[key] = compared + each.compared, beyond + each.beyond
    return {key: beyond / compared for key, (compared, beyond) in sums.items()}


def _rows(connection: Connection, *only: ColumnElement[bool]) -> dict[tuple[str, Symbol], QualityRow]:
    table, names = tables.quality, tables.symbols
    query = (
        select(names.c.provider, names.c.symbol, table)
        .join(names, names.c.symbol_id == table.c.symbol_id)
        .where(*only)
    )
    found = [
        QualityRow(
            provider=row.provider,
            symbol=Symbol.parse(row.symbol),
            measured_at_ms=row.measured_at_ms,
            **{name: getattr(row, name) for name in _PARTS},
        )
        for row in connection.execute(query)
    ]
    return {(row.provider, row.symbol): row for row in found}


def _known(ids: dict[tuple[str, Symbol], int], provider: str, symbol: Symbol) -> int:
    if (provider, symbol) not in ids:
        raise DataError(f"the store knows no {symbol} of {provider}: bring bars of it first")
    return ids[provider, symbol]
