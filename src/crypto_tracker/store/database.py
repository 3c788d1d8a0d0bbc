"""SQLite files: how they are opened, written by one transaction at a time, and migrated.

Every schema is a file of its own with its own chain of migrations; nothing spans two files.
"""

import importlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, cast

import numpy as np
from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool, QueuePool

from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.errors import StoreError


def sqlite_module() -> ModuleType:
    """The SQLite to use: `pysqlite3`, which brings a current one, else the interpreter's own."""
    try:
        return importlib.import_module("pysqlite3.dbapi2")
    except ModuleNotFoundError:
        return sqlite3


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain of Alembic migrations: `directory` holds its env.py, `head` is the newest revision."""

    name: str
    directory: Path
    head: str


# SQLite waits without listening to Ctrl-C, so it waits in short turns.
_LOCK_TURN_MS = 100
_ROWS_AT_ONCE = 20_000
# What migrations call is set for the whole process while Alembic runs: one thread at a time may migrate.
_MIGRATING = Lock()
# SQLite has a class of its own for damaged files; of damage inside a row or a page it says so in words.
_DAMAGED = ("Could not decode to UTF-8", "disk I/O error")
_OTHER_COLUMNS = ("no such column", "has no column named", "no such table")
_MIGRATIONS = Path(__file__).parent / "migrations"
MARKET = Chain("market", _MIGRATIONS / "market", head="0003")
RUNS = Chain("runs", _MIGRATIONS / "runs", head="0006")
TRADING = Chain("trading", _MIGRATIONS / "trading", head="0005")
CONTROL = Chain("control", _MIGRATIONS / "control", head="0002")
RESEARCH = Chain("research", _MIGRATIONS / "research", head="0001")
ACCESS = Chain("access", _MIGRATIONS / "access", head="0001")


def open_engine(path: Path, *, read_only: bool = False, busy_timeout_ms: int = 30_000) -> Engine:
    """An engine over the SQLite file `path`.

    Writers run in WAL mode with `synchronous=FULL` (a committed row survives a power cut, which the removal
    of replaced files relies on), foreign keys on, and take the write lock when a transaction begins, so that
    none fails halfway. Readers cannot write, and see one state for the length of a transaction. Whenever a
    file shows itself to be damaged, or no database, StoreError is raised.
    """
    module = sqlite_module()
    # A connection belongs to one thread at a time, and to lock it for each number takes a fifth of the time
    # of reading. The interpreter's own module cannot be told so.
    unlocked = {}
    if read_only and module is not sqlite3:
        flags = module.SQLITE_OPEN_READONLY | module.SQLITE_OPEN_URI | module.SQLITE_OPEN_NOMUTEX
        unlocked = {"flags": flags}

    def connect() -> Any:
        mode = "ro" if read_only else "rwc"
        connection = module.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=busy_timeout_ms / 1_000,
            **unlocked,
        )
        if not read_only:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    # Without a path in the URL, SQLAlchemy would take it for a database in memory and share one connection.
    # A connection costs little, so nobody waits for one that another thread holds: who holds one and needs a
    # second would wait for ever.
    engine = create_engine(
        "sqlite+pysqlite://", creator=connect, module=module, poolclass=QueuePool, max_overflow=-1
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    @event.listens_for(engine, "handle_error", retval=True)
    def unreadable(context: ExceptionContext) -> StoreError | None:
        met = str(context.original_exception)
        if any(words in met for words in _OTHER_COLUMNS):
            return StoreError(
                f"the database {path} has other tables or columns than this version expects ({met}): it "
                "is of a version between two releases; move it away (market.db with the folder bars) and "
                "start anew"
            )
        # SQLite has this class itself, and none below it, for files that are damaged or no database.
        # Where its words for the damage are themselves no text, the driver fails to read them.
        damaged = type(context.original_exception) in {module.DatabaseError, UnicodeDecodeError}
        if not damaged and not any(words in met for words in _DAMAGED):
            return None
        return _unsound(str(path), context.original_exception)

    return engine


def _unsound(path: str, error: BaseException) -> StoreError:
    return StoreError(
        f"the database {path} cannot be read ({error}): "
        "put a sound copy in its place, or move it away and start anew"
    )


def plain_rows(
    connection: Connection, statement: str, parameters: tuple[int | str, ...]
) -> Iterator[tuple[float, ...]]:
    """The rows of numbers as the driver gives them; to wrap each once more would take half as long again."""
    result = connection.exec_driver_sql(statement, parameters)
    try:
        yield from cast("Iterator[tuple[float, ...]]", result.cursor)
    except sqlite_module().Error:
        # The engine has the words for what is wrong with the file: it meets the same when it asks.
        connection.exec_driver_sql(statement, parameters).fetchall()
        raise
    finally:
        result.close()


def plain_numbers(
    connection: Connection, statement: str, parameters: tuple[int | str, ...], *, width: int
) -> FloatArray:
    """The rows of numbers as one table (rows, width)."""
    result = connection.exec_driver_sql(statement, parameters)
    try:
        # The cursor itself is walked: a generator around it would take a tenth as long again.
        numbers = chain.from_iterable(cast("Iterator[tuple[float, ...]]", result.cursor))
        with _only_numbers(connection):
            return np.fromiter(numbers, dtype=np.float64).reshape(-1, width)
    except sqlite_module().Error:
        connection.exec_driver_sql(statement, parameters).fetchall()  # as above
        raise
    finally:
        result.close()


def plain_integers(
    connection: Connection, statement: str, parameters: tuple[int | str, ...], *, width: int
) -> IntArray:
    """The rows of whole numbers as one table (rows, width), exactly."""
    result = connection.exec_driver_sql(statement, parameters)
    try:
        numbers = chain.from_iterable(cast("Iterator[tuple[int, ...]]", result.cursor))
        with _only_numbers(connection):
            return np.fromiter(numbers, dtype=np.int64).reshape(-1, width)
    except sqlite_module().Error:
        connection.exec_driver_sql(statement, parameters).fetchall()  # as above
        raise
    finally:
        result.close()


@contextmanager
def _only_numbers(connection: Connection) -> Iterator[None]:
    """Say plainly where a column of numbers holds something else: SQLite takes any value in any column."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        raise _unsound(file_of(connection.engine), error) from error


def plain_columns(
    connection: Connection, statement: str, parameters: tuple[int | str, ...], *, width: int
) -> list[list[Any]]:
    """The columns of the rows as the driver gives them; equal texts are one object."""
    result = connection.exec_driver_sql(statement, parameters)
    columns: list[list[Any]] = [[] for _ in range(width)]
    texts: dict[Any, Any] = {}
    try:
        cursor = cast("Any", result.cursor)
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            for place, column in enumerate(columns):  # to turn the rows by `zip` would take twice as long
                values = [row[place] for row in rows]
                column.extend(map(texts.setdefault, values, values) if isinstance(values[0], str) else values)
    except sqlite_module().Error:
        connection.exec_driver_sql(statement, parameters).fetchall()  # as above
        raise
    finally:
        result.close()
    return columns


def current_revision(engine: Engine) -> str | None:
    """The revision that the file is at; None where no migration has run."""
    with engine.connect() as connection:
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE name = 'alembic_version'")
        if tables.first() is None:
            return None
        row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
        return None if row is None else str(row[0])


def upgrade(engine: Engine, chain: Chain, revision: str = "head") -> None:
    """Bring the file to `revision`, in one transaction; nothing happens where it is there already."""
    if revision == "head" and current_revision(engine) == chain.head:
        return
    _migrate(engine, chain, "upgrade", revision)


def downgrade(engine: Engine, chain: Chain, revision: str = "base") -> None:
    """Bring the file back to `revision`, in one transaction."""
    _migrate(engine, chain, "downgrade", revision)


def _migrate(engine: Engine, chain: Chain, direction: str, revision: str) -> None:
    # Alembic takes a quarter of a second to import, and most runs have nothing to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util.exc import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(chain.directory).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    path = file_of(engine)
    with _MIGRATING, engine.begin() as connection:
        config.attributes["connection"] = connection
        try:
            getattr(command, direction)(config, revision)
        except CommandError as error:
            raise StoreError(
                f"the {chain.name} database {path} is at a revision that this version does not "
                f"know ({error}): use the newer crypto-tracker that wrote it"
            ) from error


def file_of(engine: Engine) -> str:
    """The path of the engine's file, for messages."""
    with engine.connect() as connection:
        row = connection.exec_driver_sql("PRAGMA database_list").first()
        return "" if row is None else str(row[2])


@contextmanager
def writer_lock(path: Path, *, what: str, wait_ms: int) -> Iterator[None]:
    """Hold the lock file `path` while the block runs, so that one process at a time writes.

    The lock is an exclusive transaction on an empty database: the operating system frees it however the
    process ends. Raises StoreError when it is still taken after `wait_ms`.
    """
    turns = max(wait_ms // _LOCK_TURN_MS, 1)
    engine = create_engine(
        "sqlite+pysqlite://",
        creator=lambda: sqlite_module().connect(
            str(path), isolation_level=None, timeout=_LOCK_TURN_MS / 1_000, check_same_thread=False
        ),
        module=sqlite_module(),
        poolclass=NullPool,
    )
    try:
        with engine.connect() as connection:
            for turn in range(turns):
                try:
                    connection.exec_driver_sql("BEGIN EXCLUSIVE")
                    break
                except OperationalError as error:
                    if turn + 1 == turns:
                        raise StoreError(
                            f"another process is writing {what} ({path} is taken): "
                            "let it finish, then try again"
                        ) from error
            try:
                yield
            finally:
                connection.exec_driver_sql("ROLLBACK")
    finally:
        engine.dispose()
