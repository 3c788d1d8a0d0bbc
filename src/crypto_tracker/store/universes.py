"""The universe of each UTC day: which symbols of a provider could be traded on it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select

from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS
from crypto_tracker.store import tables
from crypto_tracker.store.database import MARKET, current_revision, open_engine
from crypto_tracker.store.market_database import reading, writing
from crypto_tracker.store.reader import DATABASE_NAME

CONFIGURED = "configured"
SELECTED = "selected"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedUniverse:
    """The universe of one provider on one UTC day, as it was recorded.

    Attributes
    ----------
    day_ms : start of the day
    symbols : sorted, at least one
    origin : CONFIGURED, or SELECTED by the selection `selection_id`
    since_ms : the moment from which it held: the start of its day, or that of a selection made on the day
    """

    day_ms: int
    provider: str
    symbols: tuple[Symbol, ...]
    origin: str
    selection_id: int | None
    since_ms: int


def record_universe(
    home: Path,
    day_ms: int,
    provider: str,
    symbols: Collection[Symbol],
    origin: str,
    selection_id: int | None = None,
) -> bool:
    """Record the universe of a UTC day; whether that is news.

    The same record a second time changes nothing. Another one takes the place of the day's, but what the
    configuration says leaves a selection of that day as it is.
    """
    with writing(home) as connection:
        return write_universe(connection, day_ms, provider, symbols, origin, selection_id)


def write_universe(
    connection: Connection,
    day_ms: int,
    provider: str,
    symbols: Collection[Symbol],
    origin: str,
    selection_id: int | None = None,
) -> bool:
    """What `record_universe` does, within a transaction of the caller's."""
    if day_ms % DAY_MS:
        raise UsageError(f"{day_ms} is not the start of a UTC day: universes are recorded by the day")
    if not symbols:
        raise UsageError(f"the universe of {provider} is empty: a day's universe has at least one symbol")
    if (origin == SELECTED) != (selection_id is not None):
        raise UsageError("a universe that was selected names its selection, one that was configured none")
    table = tables.universes
    of_day = (table.c.day_ms == day_ms, table.c.provider == provider)
    before = {
        (row.symbol, row.origin, row.selection_id)
        for row in connection.execute(
            select(table.c.symbol, table.c.origin, table.c.selection_id).where(*of_day)
        )
    }
    after = {(str(symbol), origin, selection_id) for symbol in symbols}
    if before == after:
        return False
    if origin == CONFIGURED and any(known == SELECTED for _, known, _ in before):
        return False
    connection.execute(delete(table).where(*of_day))
    connection.execute(
        insert(table),
        [
            {
                "day_ms": day_ms,
                "provider": provider,
                "symbol": symbol,
                "origin": origin,
                "selection_id": selection_id,
            }
            for symbol in sorted(str(symbol) for symbol in set(symbols))
        ],
    )
    return True


def universes(
    home: Path, provider: str | None = None, start_ms: int | None = None, end_ms: int | None = None
) -> list[RecordedUniverse]:
    """What was recorded for the days that overlap [start_ms, end_ms), by provider and day.

    Without a provider those of all, without a start or an end as far as the records reach. The newest record
    from before the span is among them, as it holds on until there is another. Raises DataError where the home
    has no market database.
    """
    engine = open_engine(home / DATABASE_NAME, read_only=True)
    try:
        if (home / DATABASE_NAME).is_file() and current_revision(engine) == MARKET.head:
            with engine.connect() as connection, connection.begin():
                return read_universes(connection, provider, start_ms, end_ms)
    finally:
        engine.dispose()
    with reading(home) as connection:  # which brings an old database up to date, or says that there is none
        return read_universes(connection, provider, start_ms, end_ms)


def read_universes(
    connection: Connection,
    provider: str | None = None,
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> list[RecordedUniverse]:
    """What `universes` gives, within a transaction of the caller's."""
    table, selections = tables.universes, tables.selections
    # Rows of a day differ in their symbols alone. The database joins these: a year has tens of thousands.
    query = (
        select(
            table.c.provider,
            table.c.day_ms,
            func.min(table.c.origin).label("origin"),
            func.min(table.c.selection_id).label("selection_id"),
            func.min(selections.c.made_at_ms).label("made_at_ms"),
            func.group_concat(table.c.symbol, " ").label("symbols"),
        )
        .outerjoin(selections, selections.c.selection_id == table.c.selection_id)
        .group_by(table.c.provider, table.c.day_ms)
        .order_by(table.c.provider, table.c.day_ms)
    )
    if provider is not None:
        query = query.where(table.c.provider == provider)
    if end_ms is not None:
        query = query.where(table.c.day_ms < end_ms)
    known: dict[str, tuple[Symbol, ...]] = {}
    found = []
    for row in connection.execute(query):
        if row.symbols not in known:
            known[row.symbols] = tuple(sorted(map(Symbol.parse, row.symbols.split())))
        found.append(
            RecordedUniverse(
                day_ms=row.day_ms,
                provider=row.provider,
                symbols=known[row.symbols],
                origin=row.origin,
                selection_id=row.selection_id,
                since_ms=_since(row.day_ms, row.made_at_ms),
            )
        )
    return found if start_ms is None else _from_on(found, start_ms)


def _since(day_ms: int, made_at_ms: int | None) -> int:
    """A selection made in the course of a day knew what had happened until then, so it holds from then on."""
    if made_at_ms is None or not day_ms < made_at_ms < day_ms + DAY_MS:
        return day_ms
    return made_at_ms


def _from_on(records: Sequence[RecordedUniverse], start_ms: int) -> list[RecordedUniverse]:
    """The records from `start_ms` on, and of each provider the newest one that held before."""
    newest: Mapping[str, int] = {
        record.provider: record.day_ms for record in records if record.since_ms <= start_ms
    }
    return [record for record in records if record.day_ms >= newest.get(record.provider, record.day_ms)]
