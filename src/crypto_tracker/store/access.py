"""Who may ask the web server: tokens, of which only a digest is kept.

A token is random, 256 bits of it, so that its plain SHA-256 is as good as any slower digest: nobody can guess
what was digested. The text of a token is shown once, when it is made.
"""

import logging
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from os import stat_result
from pathlib import Path
from secrets import token_hex, token_urlsafe
from threading import Lock
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, Row, insert, or_, select, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from crypto_tracker.core.errors import StoreError, UsageError
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.store import access_tables as tables
from crypto_tracker.store.database import ACCESS, current_revision, open_engine, upgrade

LOG = logging.getLogger(__name__)

FILE_NAME = "access.db"
SCOPES = ("read", "control")

_TOKEN = re.compile(r"ct_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}")
_ID = re.compile(r"[0-9a-f]{8}")
_USE_NOTED_EVERY_MS = 10 * MINUTE_MS
_BUSY_TIMEOUT_MS = 5_000
_NOBODY = bytes(32)  # held against where there is no such token, so that it takes as long


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """What is kept of a token. `last_used_ms` is up to ten minutes late."""

    token_id: str
    name: str
    scopes: frozenset[str]
    created_at_ms: int
    last_used_ms: int | None
    revoked_at_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token that was just made: its text, which is shown this once, and what is kept of it."""

    token: str
    row: TokenRow


class AccessStore:
    """The tokens of a home. Threads and processes share it.

    What counts is the file that stands in the home now: where it is put away, or another is put in its place,
    nothing of the one before opens anything any more. Every method raises StoreError where the file is gone
    or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._opened: _File | None = None
        self._not_noted = False

    @classmethod
    def open(cls, home: Path) -> "AccessStore":
        """Open HOME/access.db, made or migrated where needed; nobody but its owner can read the file."""
        path = home / FILE_NAME
        home.mkdir(parents=True, exist_ok=True)
        # SQLite gives the log and its index the permissions of the file.
        path.touch(mode=0o600)
        store = cls(path)
        with _in_words(path):
            store._file()
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._let_go()

    def _file(self) -> "_File":
        """The file that stands there now, opened anew where it is another than before."""
        with self._lock:
            try:
                found = self._path.stat()
            except FileNotFoundError:
                self._let_go()
                raise StoreError(
                    f"{self._path} is gone, and all tokens with it: put it back, or make new ones with "
                    "`crypto-tracker tokens create NAME`"
                ) from None
            if self._opened is None or self._opened.identity != _identity(found):
                self._let_go()
                self._opened = _File.open(self._path)
            return self._opened

    def _let_go(self) -> None:
        before, self._opened = self._opened, None
        if before is not None:
            before.close()

    def create(self, name: str, scopes: Collection[str], *, now_ms: int) -> NewToken:
        """Make a token; raises UsageError for a name that is taken, or a scope that there is not."""
        if not _NAME.fullmatch(name) or _ID.fullmatch(name):
            raise UsageError(
                f"{name!r} is no name of a token: use up to 64 letters, digits, spaces and . _ @ -, such "
                "as anna, but not 8 hexadecimal digits, which would look like an id"
            )
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not scopes:
            found = ", ".join(unknown) or "nothing"
            raise UsageError(f"a token cannot have the scope {found}: there are {' and '.join(SCOPES)}")
        with _in_words(self._path), _writing(self._file().engine) as connection:
            columns = tables.tokens.c
            given = select(columns.name).where(columns.name == name, columns.revoked_at_ms.is_(None))
            if connection.execute(given).first() is not None:
                raise UsageError(f"there is a token {name} already: revoke it first, or choose another name")
            ids = set(connection.execute(select(columns.token_id)).scalars())
            token_id = next(new for new in iter(lambda: token_hex(4), None) if new not in ids)
            token = f"ct_{token_id}_{token_urlsafe(32)}"
            connection.execute(
                insert(tables.tokens).values(
                    token_id=token_id,
                    name=name,
                    digest=_digest(token),
                    scopes=",".join(sorted(set(scopes))),
                    created_at_ms=now_ms,
                )
            )
            row = connection.execute(select(tables.tokens).where(columns.token_id == token_id)).one()
        return NewToken(token=token, row=_row(row))

    def check(self, token: str, now_ms: int) -> TokenRow | None:
        """Whose token this is; None where it is none, or was revoked. Notes now and then that it was used."""
        found = _TOKEN.fullmatch(token)
        query = select(tables.tokens).where(tables.tokens.c.token_id == (found[1] if found else ""))
        with _in_words(self._path):
            file = self._file()
            with file.reading.connect() as connection:
                row = connection.execute(query).first()
        same = compare_digest(_NOBODY if row is None else row.digest, _digest(token))
        if row is None or not same or row.revoked_at_ms is not None:
            return None
        if row.last_used_ms is None or now_ms - row.last_used_ms >= _USE_NOTED_EVERY_MS:
            self._note_use(file, row.token_id, now_ms)
        return _row(row)

    def _note_use(self, file: "_File", token_id: str, now_ms: int) -> None:
        """Note it, where that is possible at once: it is no reason to wait, nor to refuse anybody."""
        noted = update(tables.tokens).where(tables.tokens.c.token_id == token_id).values(last_used_ms=now_ms)
        try:
            with _writing(file.noting) as connection:
                connection.execute(noted)
        except (SQLAlchemyError, StoreError) as error:
            if not self._not_noted:
                why = error.__cause__ or error
                LOG.warning("that a token was used could not be noted, which is tried again: %s", why)
            self._not_noted = True
        else:
            self._not_noted = False

    def tokens(self) -> list[TokenRow]:
        """Every token that was ever made, in that order."""
        columns = tables.tokens.c
        with _in_words(self._path), self._file().reading.connect() as connection:
            rows = connection.execute(select(tables.tokens).order_by(columns.created_at_ms, columns.token_id))
            return [_row(row) for row in rows]

    def revoke(self, token_id_or_name: str, now_ms: int) -> TokenRow:
        """Let a token open nothing from now on; raises UsageError where none that is good is called so."""
        columns = tables.tokens.c
        good = columns.revoked_at_ms.is_(None)
        named = or_(columns.token_id == token_id_or_name, columns.name == token_id_or_name)
        with _in_words(self._path), _writing(self._file().engine) as connection:
            row = connection.execute(select(tables.tokens).where(named, good)).first()
            if row is None:
                names = connection.execute(select(columns.name).where(good).order_by(columns.name)).scalars()
                there = ", ".join(names) or "none"
                raise UsageError(f"there is no token {token_id_or_name!r} to be revoked: there is {there}")
            connection.execute(
                update(tables.tokens).where(columns.token_id == row.token_id).values(revoked_at_ms=now_ms)
            )
            changed = connection.execute(select(tables.tokens).where(columns.token_id == row.token_id)).one()
        return _row(changed)


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    """One file of tokens, open: to be written, to be read, and to note in it what is not worth waiting for.

    `identity` is its device, number, size and time as they were when it was opened.
    """

    identity: tuple[int, int, int, int]
    engine: Engine
    reading: Engine
    noting: Engine

    @classmethod
    def open(cls, path: Path) -> "_File":
        """Open what stands there, migrated where needed, and closed to everybody but its owner."""
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        file = cls(
            identity=_identity(path.stat()),
            engine=open_engine(path, busy_timeout_ms=_BUSY_TIMEOUT_MS),
            reading=open_engine(path, read_only=True),
            noting=open_engine(path, busy_timeout_ms=0),
        )
        try:
            if current_revision(file.reading) != ACCESS.head:  # to look at that waits for nobody who writes
                upgrade(file.engine, ACCESS)
        except BaseException:
            file.close()
            raise
        return file

    def close(self) -> None:
        """Let go of it; who reads it at this moment reads on."""
        self.noting.dispose()
        self.reading.dispose()
        self.engine.dispose()


def _identity(found: stat_result) -> tuple[int, int, int, int]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def _writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that ends in the file itself, and not in the log of SQLite beside it.

    Who puts another file in its place leaves that log lying there, and what it holds would count still.
    """
    with engine.begin() as connection:
        yield connection
    plain = engine.raw_connection()
    try:
        cursor = plain.cursor()
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        cursor.close()
    finally:
        plain.close()


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Say plainly that the file cannot be read or written now."""
    try:
        yield
    except (OSError, SQLAlchemyError) as error:
        why = error.orig if isinstance(error, DBAPIError) else error
        raise StoreError(f"the tokens in {path} cannot be looked up now ({why}): try again") from error


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _row(row: Row[Any]) -> TokenRow:
    return TokenRow(
        token_id=row.token_id,
        name=row.name,
        scopes=frozenset(row.scopes.split(",")),
        created_at_ms=row.created_at_ms,
        last_used_ms=row.last_used_ms,
        revoked_at_ms=row.revoked_at_ms,
    )
