"""Which files are in the store already, so that an import goes on where it stopped."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from crypto_tracker.store import tables


@dataclass(frozen=True, slots=True, kw_only=True)
class FileIdentity:
    """What tells one file from another: where it is, what it weighs, what it holds, and how it was read.

    `source` is its path, and for a member of an archive also the member's name. `options` is the text of all
    that changes how it is read: the same file read as another symbol is another import.
    """

    source: str
    options: str
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedFile:
    """A file whose bars are all in the store."""

    identity: FileIdentity
    sha256: str
    layout: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierImport:
    """What an earlier import found in a file."""

    provider: str
    symbol: str
    timeframe: str
    layout: str
    rows: int


def find_unchanged(connection: Connection, identity: FileIdentity) -> EarlierImport | None:
    """The import of this very file: same place, size and time of change."""
    table = tables.imports
    return _found(
        connection,
        table.c.source == identity.source,
        table.c.options == identity.options,
        table.c.size == identity.size,
        table.c.modified_ns == identity.modified_ns,
    )


def find_content(connection: Connection, identity: FileIdentity, sha256: str) -> EarlierImport | None:
    """The import of the same file with the same content, touched but not changed."""
    table = tables.imports
    return _found(
        connection,
        table.c.source == identity.source,
        table.c.options == identity.options,
        table.c.sha256 == sha256,
    )


def record(connection: Connection, file: ImportedFile, symbol_id: int, timeframe: str, now_ms: int) -> None:
    """Note that the bars of `file` are in the store; belongs into the transaction that brings them."""
    table = tables.imports
    connection.execute(
        delete(table).where(table.c.source == file.identity.source, table.c.options == file.identity.options)
    )
    connection.execute(
        insert(table).values(
            source=file.identity.source,
            options=file.identity.options,
            size=file.identity.size,
            modified_ns=file.identity.modified_ns,
            sha256=file.sha256,
            layout=file.layout,
            symbol_id=symbol_id,
            timeframe=timeframe,
            rows=file.rows,
            finished_at_ms=now_ms,
        )
    )


def _found(connection: Connection, *conditions: ColumnElement[bool]) -> EarlierImport | None:
    table = tables.imports
    query = (
        select(
            tables.symbols.c.provider,
            tables.symbols.c.symbol,
            table.c.timeframe,
            table.c.layout,
            table.c.rows,
        )
        .join(tables.symbols, tables.symbols.c.symbol_id == table.c.symbol_id)
        .where(*conditions)
        .limit(1)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    return EarlierImport(provider=row[0], symbol=row[1], timeframe=row[2], layout=row[3], rows=row[4])
