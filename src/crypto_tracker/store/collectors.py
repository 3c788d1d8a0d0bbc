"""What each collector last said of itself, for whoever shows it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, case, func, select
from sqlalchemy.dialects.sqlite import insert

from crypto_tracker.core.errors import DataError, StoreError
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.store import tables
from crypto_tracker.store.database import MARKET, current_revision, open_engine
from crypto_tracker.store.leases import Holder, holder_of, is_gone
from crypto_tracker.store.reader import DATABASE_NAME

_LEASES = 3  # of silence, after which a collector that did not stop is taken for gone


class Standing(Enum):
    """What a collector is at."""

    STARTING = "starting"
    WAITING = "waiting"  # another process holds the provider
    CATCHING_UP = "catching_up"
    LIVE = "live"  # the stream brings bars
    SCHEDULED = "scheduled"  # bars are fetched now and then
    TROUBLE = "trouble"
    STOPPED = "stopped"

    @property
    def words(self) -> str:
        """As people read it."""
        return self.value.replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorState:
    """The last word of one collector.

    Attributes
    ----------
    detail : one sentence; empty where there is nothing to say
    since_ms : when it came into this state
    updated_at_ms : when it last said so; long ago, and it is gone
    figures : counts and measures, by name
    newest_minute_ms : the newest minute of any symbol that is known, whoever brought it; None without one
    process_is_gone : whether its process certainly runs no more, which it did not say
    """

    provider: str
    state: Standing
    detail: str
    since_ms: int
    updated_at_ms: int
    figures: Mapping[str, Any]
    newest_minute_ms: int | None = None
    process_is_gone: bool = False

    def is_gone(self, now_ms: int, lease_ms: int) -> bool:
        """Whether it ended without a word: its process is gone, or nothing was heard for some leases."""
        silent_ms = now_ms - self.updated_at_ms
        return self.state is not Standing.STOPPED and (self.process_is_gone or silent_ms > _LEASES * lease_ms)


class CollectorRecords:
    """Writes what collectors say of themselves; any number of processes may."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    @contextmanager
    def open(cls, home: Path) -> Iterator["CollectorRecords"]:
        """The records of a home whose market database is there."""
        engine = open_engine(home / DATABASE_NAME)
        try:
            yield cls(engine)
        finally:
            engine.dispose()

    def tell(
        self, provider: str, state: Standing, detail: str, figures: Mapping[str, Any], *, now_ms: int
    ) -> None:
        """Say what the collector of a provider is at; `since_ms` stays while the state does."""
        table = tables.collectors
        row = {
            "state": state.value,
            "detail": detail,
            "updated_at_ms": now_ms,
            "figures": json.dumps(dict(figures), sort_keys=True, allow_nan=False),
        }
        since = case((table.c.state == state.value, table.c.since_ms), else_=now_ms)
        statement = insert(table).values(provider=provider, since_ms=now_ms, **row)
        with self._engine.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["provider"], set_={**row, "since_ms": since})
            )


def collectors(home: Path) -> list[CollectorState]:
    """What every collector of a home last said, by provider.

    Raises DataError where nothing was ever collected or imported there.
    """
    path = home / DATABASE_NAME
    if not path.is_file():
        raise DataError(f"there are no bars under {home}: `crypto-tracker collect` collects some")
    engine = open_engine(path, read_only=True)
    try:
        if current_revision(engine) != MARKET.head:
            return []  # written before there were collectors, and not opened for writing since
        with engine.connect() as connection:
            query = select(tables.collectors).order_by(tables.collectors.c.provider)
            rows = [dict(row) for row in connection.execute(query).mappings()]
            newest = _newest_minutes(connection)
        return [
            _state(row, holder_of(engine, lease_name(row["provider"])), newest.get(row["provider"]))
            for row in rows
        ]
    finally:
        engine.dispose()


def lease_name(provider: str) -> str:
    """Of the lease that the collector of a provider holds."""
    return f"collector:{provider}"


def _newest_minutes(connection: Connection) -> dict[str, int]:
    """The open time of the newest minute that is known of each provider."""
    query = (
        select(tables.symbols.c.provider, func.max(tables.coverage.c.end_ms))
        .join(tables.symbols, tables.symbols.c.symbol_id == tables.coverage.c.symbol_id)
        .where(tables.coverage.c.timeframe == str(Timeframe.M1))
        .group_by(tables.symbols.c.provider)
    )
    return {provider: end_ms - MINUTE_MS for provider, end_ms in connection.execute(query)}


def _state(row: Mapping[str, Any], holder: Holder | None, newest_ms: int | None) -> CollectorState:
    try:
        figures = json.loads(row["figures"])
    except ValueError as error:
        raise StoreError(
            f"the figures of the collector {row['provider']} cannot be read ({error}): start it once more"
        ) from error
    gone = holder is not None and is_gone(holder)
    return CollectorState(
        **{**row, "state": Standing(row["state"]), "figures": figures},
        newest_minute_ms=newest_ms,
        process_is_gone=gone,
    )
