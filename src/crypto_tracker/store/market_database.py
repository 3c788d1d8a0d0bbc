"""The small records of the market database: rules of markets, quality, quarantine, one transaction each."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, select
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.store import tables
from crypto_tracker.store.database import MARKET, current_revision, open_engine, upgrade, writer_lock
from crypto_tracker.store.reader import DATABASE_NAME, LOCK_NAME, no_bars

WAIT_MS = 30_000


@contextmanager
def reading(home: Path) -> Iterator[Connection]:
    """One state of the market database under `home`, brought up to date first where it is old.

    Keeps no writer waiting. Raises DataError where there is no database.
    """
    path = home / DATABASE_NAME
    if not path.is_file():
        raise DataError(no_bars(home))
    with _engine(path, read_only=True) as engine:
        if current_revision(engine) != MARKET.head:
            with _engine(path) as older:
                _bring_up_to_date(home, older)
        with engine.connect() as connection, connection.begin():
            yield connection


@contextmanager
def writing(home: Path) -> Iterator[Connection]:
    """One transaction in the market database under `home`, which is made where there is none."""
    home.mkdir(parents=True, exist_ok=True)
    with _engine(home / DATABASE_NAME) as engine:
        if current_revision(engine) != MARKET.head:
            _bring_up_to_date(home, engine)
        with engine.begin() as connection:
            yield connection


def symbol_ids(connection: Connection, provider: str | None = None) -> dict[tuple[str, Symbol], int]:
    """The id of each symbol that is known, by provider and symbol; of one provider where it is named."""
    table = tables.symbols
    query = select(table.c.provider, table.c.symbol, table.c.symbol_id)
    if provider is not None:
        query = query.where(table.c.provider == provider)
    return {(row[0], Symbol.parse(row[1])): row[2] for row in connection.execute(query)}


def known_symbol_ids(
    connection: Connection, provider: str, symbols: Iterable[Symbol]
) -> Mapping[tuple[str, Symbol], int]:
    """The ids of all symbols of a provider, where those that are not known yet become so."""
    rows = [
        {"provider": provider, "symbol": str(symbol), "status": "active"} for symbol in dict.fromkeys(symbols)
    ]
    if rows:
        connection.execute(
            sqlite_insert(tables.symbols).on_conflict_do_nothing(index_elements=["provider", "symbol"]), rows
        )
    return symbol_ids(connection, provider)


@contextmanager
def _engine(path: Path, *, read_only: bool = False) -> Iterator[Engine]:
    engine = open_engine(path, read_only=read_only, busy_timeout_ms=WAIT_MS)
    try:
        yield engine
    finally:
        engine.dispose()


def _bring_up_to_date(home: Path, engine: Engine) -> None:
    with writer_lock(home / LOCK_NAME, what="the market database", wait_ms=WAIT_MS):
        upgrade(engine, MARKET)
