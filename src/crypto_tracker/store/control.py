"""What people tell a trading account: commands, configurations that they offer, and the audit of it all.

The faces write here and the trader reads. Its answers stand among its own records (`command_results`), so
nobody updates another's rows. Transactions are short, and any number of processes may write.

What becomes of a command stands in two files: its answer in the trader's, that it was withdrawn in this one.
So that never both come true, a lock that is neither's is held around each (`ControlStore.settling`).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, Row, exists, insert, inspect, select
from sqlalchemy.exc import OperationalError

from crypto_tracker.core.errors import StoreError, UsageError
from crypto_tracker.store import control_tables as tables
from crypto_tracker.store.column_rows import parts
from crypto_tracker.store.database import CONTROL, open_engine, upgrade, writer_lock
from crypto_tracker.store.failpoints import ControlFailpoint, reach
from crypto_tracker.store.trading_records import ConfigurationRow

FILE_NAME = "control.db"
LOCK_NAME = "control.lock"
WITHDRAW = "withdraw"
"""The act of the audit that takes a command back."""
BUSY_TIMEOUT_MS = 2_000
"""How long a person who tells something waits for another process that writes: writing takes milliseconds."""
PATIENT_MS = 30_000
"""How long a program does, that would have to give up its work."""

ARGUMENTS: Mapping[str, Mapping[str, type]] = {
    "pause": {},
    "resume": {},
    "close": {"symbol": str},
    "close_worst": {"count": int},
    "regime_force": {"regime": str},
    "regime_release": {},
    "cooldown_clear": {"symbol": str},
    "streak_clear": {"strategy": str},
    "strategy_on": {"strategy": str},
    "strategy_off": {"strategy": str},
    "block": {"symbol": str},
    "unblock": {"symbol": str},
    "configure": {"version": str},
}
"""The kinds of commands, and the arguments of each."""
_A_VALUE = {str: "a text", int: "a whole number"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One wish of a person; whether it makes sense is judged by the trader when it is due.

    Attributes
    ----------
    command_id : random, so that no two commands ever share one, even after a file was lost
    kind : one of ARGUMENTS, with exactly the arguments that stand there
    not_before_ms : market time; it acts at the first minute that opens at or after it. None to act at once
    actor : who asked, and by which face, such as `cli:anna`
    """

    command_id: str
    kind: str
    arguments: Mapping[str, str | int]
    not_before_ms: int | None
    actor: str
    created_at_ms: int

    def __post_init__(self) -> None:
        expected = ARGUMENTS.get(self.kind)
        if expected is None:
            raise UsageError(f"{self.kind!r} is no command: there are {', '.join(ARGUMENTS)}")
        if {name: type(value) for name, value in self.arguments.items()} != dict(expected):
            wanted = [f"{name}, {_A_VALUE[kind]}" for name, kind in expected.items()]
            takes = f"the argument {' and '.join(wanted)}, and no other" if wanted else "no arguments"
            raise UsageError(f"the command {self.kind} takes {takes}")

    @classmethod
    def new(
        cls,
        kind: str,
        arguments: Mapping[str, str | int],
        *,
        actor: str,
        created_at_ms: int,
        not_before_ms: int | None = None,
        command_id: str | None = None,
    ) -> "Command":
        """A command with an id of its own; raises UsageError for a kind or arguments that there are not."""
        return cls(
            command_id=command_id or uuid4().hex,
            kind=kind,
            arguments=dict(arguments),
            not_before_ms=not_before_ms,
            actor=actor,
            created_at_ms=created_at_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """That a person took a command back before the trader had answered it."""

    command_id: str
    actor: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a check of the account's records found."""

    kind: str  # parity
    start_ms: int
    end_ms: int
    differences: int
    document: str  # JSON
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One act of a person, also where the trader refused it later."""

    at_ms: int
    actor: str
    action: str
    detail: Mapping[str, Any]


class ControlViews:
    """What people told an account, as it stood at one moment, read only and in pages."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def commands(self, *, limit: int, before: int | None = None) -> list[tuple[int, Command]]:
        """The newest commands first, each with its number; only those before a number."""
        columns = tables.commands.c
        query = select(tables.commands).order_by(columns.sequence.desc()).limit(limit)
        if before is not None:
            query = query.where(columns.sequence < before)
        return [(row.sequence, _command(row)) for row in self._connection.execute(query)]

    def commands_since(self, number: int) -> list[tuple[int, Command]]:
        """The commands after a number, in the order in which they were stored."""
        columns = tables.commands.c
        query = select(tables.commands).where(columns.sequence > number).order_by(columns.sequence)
        return [(row.sequence, _command(row)) for row in self._connection.execute(query)]

    def command(self, command_id: str) -> Command | None:
        """One command, None where nobody gave it."""
        query = select(tables.commands).where(tables.commands.c.command_id == command_id)
        row = self._connection.execute(query).first()
        return None if row is None else _command(row)

    def commands_named(self, command_ids: Sequence[str]) -> list[Command]:
        """Those of these commands that were given."""
        column = tables.commands.c.command_id
        return [
            _command(row)
            for part in parts(command_ids)
            for row in self._connection.execute(select(tables.commands).where(column.in_(part)))
        ]

    def withdrawals(self, command_ids: Sequence[str]) -> dict[str, Withdrawal]:
        """Those of these commands that were withdrawn, by their ids."""
        if not command_ids or not inspect(self._connection).has_table(tables.withdrawals.name):
            return {}  # a file that nobody has written since there are withdrawals
        column = tables.withdrawals.c.command_id
        return _withdrawals(
            row
            for part in parts(command_ids)
            for row in self._connection.execute(select(tables.withdrawals).where(column.in_(part)))
        )

    def audit(self, *, limit: int, before: int | None = None) -> list[tuple[int, AuditEntry]]:
        """What people did, the newest first, each with its number; only what is before a number."""
        columns = tables.audit.c
        query = select(tables.audit).order_by(columns.audit_id.desc()).limit(limit)
        if before is not None:
            query = query.where(columns.audit_id < before)
        return [(row.audit_id, _audit_entry(row)) for row in self._connection.execute(query)]

    def checks(self, *, limit: int) -> list[Check]:
        """What checks have found, the newest first."""
        query = select(tables.checks).order_by(tables.checks.c.check_id.desc()).limit(limit)
        return [_check(row) for row in self._connection.execute(query)]

    def configuration(self, version: str) -> ConfigurationRow | None:
        """A configuration that was offered, None where nobody offered it."""
        query = select(tables.configurations).where(tables.configurations.c.version == version)
        row = self._connection.execute(query).first()
        return None if row is None else _configuration(row)


class ControlStore:
    """The control database of one account."""

    def __init__(self, path: Path, engine: Engine, reading: Engine) -> None:
        self._path = path
        self._engine = engine
        self._reading = reading
        # A connection of its own that never writes: SQLite then tells it whenever anybody else has.
        self._watch = reading.raw_connection()
        self._version: object = None

    @classmethod
    @contextmanager
    def open(cls, folder: Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> Iterator["ControlStore"]:
        """Open the control.db of an account's folder while the block runs, made or migrated where needed."""
        path = folder / FILE_NAME
        engine = open_engine(path, busy_timeout_ms=busy_timeout_ms)
        reading = open_engine(path, read_only=True, busy_timeout_ms=busy_timeout_ms)
        try:
            with _patience(path):
                upgrade(engine, CONTROL)
            store = cls(path, engine, reading)
            try:
                yield store
            finally:
                store._watch.close()
        finally:
            reading.dispose()
            engine.dispose()

    # --- what people write -----------------------------------------------------------------------

    def add(self, command: Command) -> Command:
        """Store a command behind those that are there, with its line of the audit.

        Where one of this id is there, it stays alone: that one is returned, and nothing is written.
        """
        with self._writing() as connection:
            known = ControlViews(connection).command(command.command_id)
            if known is not None:
                return known
            connection.execute(
                insert(tables.commands).values(
                    command_id=command.command_id,
                    kind=command.kind,
                    arguments=_json(command.arguments),
                    not_before_ms=command.not_before_ms,
                    actor=command.actor,
                    created_at_ms=command.created_at_ms,
                )
            )
            _note(connection, command.created_at_ms, command.actor, command.kind, _detail(command))
        return command

    def note_refused(self, command: Command, sentence: str) -> None:
        """Note in the audit a command that was refused before anybody stored it."""
        detail = {**_detail(command), "refused": sentence}
        with self._writing() as connection:
            _note(connection, command.created_at_ms, command.actor, command.kind, detail)

    @contextmanager
    def settling(self, *, wait_ms: int) -> Iterator[None]:
        """Hold the fate of every command while the block runs: nobody else answers or withdraws one.

        The trader reads what was told, answers it and commits the answers within one such block; a person
        withdraws within another. However a process ends, the operating system frees it. Raises StoreError
        where it is still taken after `wait_ms`.
        """
        name = self._path.parent.name
        lock = self._path.with_name(LOCK_NAME)
        with writer_lock(lock, what=f"answers to the commands of {name}", wait_ms=wait_ms):
            yield

    def withdraw(
        self,
        command: Command,
        *,
        actor: str,
        at_ms: int,
        answered: Callable[[], str | None],
        wait_ms: int = BUSY_TIMEOUT_MS,
    ) -> Withdrawal | str:
        """Take a command back, with its line of the audit; or say why that is too late.

        `answered` says what the trader has answered, None where nothing; it is asked while the trader can
        answer nothing. The audit notes also who comes too late. A command that was withdrawn before is
        withdrawn: by whom and when it was first, and nothing is written.
        """
        detail = {"kind": command.kind, **_detail(command)}
        with self.settling(wait_ms=wait_ms):
            reach(ControlFailpoint.WITHDRAWAL_SETTLING)
            with self._writing() as connection:
                known = ControlViews(connection).withdrawals([command.command_id]).get(command.command_id)
                if known is not None:
                    return known
                late = answered()
                if late is not None:
                    _note(connection, at_ms, actor, WITHDRAW, {**detail, "refused": late})
                    return late
                found = Withdrawal(command_id=command.command_id, actor=actor, at_ms=at_ms)
                connection.execute(
                    insert(tables.withdrawals).values(
                        command_id=found.command_id, actor=found.actor, at_ms=found.at_ms
                    )
                )
                _note(connection, at_ms, actor, WITHDRAW, detail)
                reach(ControlFailpoint.WITHDRAWAL_BEFORE_COMMIT)
            reach(ControlFailpoint.WITHDRAWAL_COMMITTED)
        return found

    def offer_configuration(
        self, row: ConfigurationRow, *, source: str, actor: str, created_at_ms: int
    ) -> None:
        """Store a configuration that a `configure` command can name.

        What is there stays as it is: a version that was offered before only gets another line of the audit.
        """
        with self._writing() as connection:
            known = select(tables.configurations.c.version).where(
                tables.configurations.c.version == row.version
            )
            if connection.execute(known).first() is None:
                connection.execute(
                    insert(tables.configurations).values(
                        version=row.version,
                        canonical=row.canonical,
                        document=row.document,
                        source=source,
                        actor=actor,
                        created_at_ms=created_at_ms,
                    )
                )
            detail = {"version": row.version, "source": source}
            _note(connection, created_at_ms, actor, "configuration_offered", detail)

    def add_check(self, check: Check) -> None:
        """Store what a check found. Programs check, so the audit of what people do has no line for it."""
        with self._writing() as connection:
            connection.execute(
                insert(tables.checks).values(
                    kind=check.kind,
                    start_ms=check.start_ms,
                    end_ms=check.end_ms,
                    differences=check.differences,
                    document=check.document,
                    created_at_ms=check.created_at_ms,
                )
            )

    # --- what is read ----------------------------------------------------------------------------

    def changed(self) -> bool:
        """Whether anybody has written since this was asked last; true the first time. Costs microseconds."""
        cursor = self._watch.cursor()
        try:
            cursor.execute("PRAGMA data_version")
            version = cursor.fetchone()
        finally:
            cursor.close()
        before, self._version = self._version, version
        return version != before

    def commands(self, kind: str | None = None) -> list[Command]:
        """Every command, or every one of a kind, in the order in which they were stored."""
        query = select(tables.commands).order_by(tables.commands.c.sequence)
        if kind is not None:
            query = query.where(tables.commands.c.kind == kind)
        with self._reading.connect() as connection:
            rows = connection.execute(query).all()
        return [_command(row) for row in rows]

    def standing(self, kind: str | None = None) -> list[Command]:
        """The same without those that were withdrawn."""
        withdrawn = exists().where(tables.withdrawals.c.command_id == tables.commands.c.command_id)
        query = select(tables.commands).where(~withdrawn).order_by(tables.commands.c.sequence)
        if kind is not None:
            query = query.where(tables.commands.c.kind == kind)
        with self._reading.connect() as connection:
            rows = connection.execute(query).all()
        return [_command(row) for row in rows]

    def withdrawals(self) -> dict[str, Withdrawal]:
        """Every command that was withdrawn, by its id."""
        with self._reading.connect() as connection:
            return _withdrawals(connection.execute(select(tables.withdrawals)))

    def configuration(self, version: str) -> ConfigurationRow | None:
        """A configuration that was offered, None where nobody offered it."""
        query = select(tables.configurations).where(tables.configurations.c.version == version)
        with self._reading.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else _configuration(row)

    def checks(self, *, limit: int | None = None) -> list[Check]:
        """What checks have found, the newest first."""
        query = select(tables.checks).order_by(tables.checks.c.check_id.desc()).limit(limit)
        with self._reading.connect() as connection:
            rows = connection.execute(query).all()
        return [_check(row) for row in rows]

    def audit(self, *, limit: int | None = None) -> list[AuditEntry]:
        """What people did, in order; with a limit only the newest of it."""
        query = select(tables.audit).order_by(tables.audit.c.audit_id.desc()).limit(limit)
        with self._reading.connect() as connection:
            rows = connection.execute(query).all()
        return [_audit_entry(row) for row in reversed(rows)]

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with _patience(self._path), self._engine.begin() as connection:
            yield connection


@contextmanager
def _patience(path: Path) -> Iterator[None]:
    """Say plainly where a file stayed locked for the whole of the busy timeout."""
    try:
        yield
    except OperationalError as error:
        if "locked" not in str(error.orig):
            raise
        raise StoreError(
            f"{path} is being written by another process and did not become free: try again"
        ) from error


def _note(connection: Connection, at_ms: int, actor: str, action: str, detail: Mapping[str, Any]) -> None:
    connection.execute(
        insert(tables.audit).values(at_ms=at_ms, actor=actor, action=action, detail=_json(detail))
    )


def _detail(command: Command) -> dict[str, Any]:
    """What the audit says of a command."""
    return {
        "command_id": command.command_id,
        "arguments": dict(command.arguments),
        "not_before_ms": command.not_before_ms,
    }


def _withdrawals(rows: Iterable[Row[Any]]) -> dict[str, Withdrawal]:
    return {
        row.command_id: Withdrawal(command_id=row.command_id, actor=row.actor, at_ms=row.at_ms)
        for row in rows
    }


def _command(row: Row[Any]) -> Command:
    try:
        return Command(
            command_id=row.command_id,
            kind=row.kind,
            arguments=json.loads(row.arguments),
            not_before_ms=row.not_before_ms,
            actor=row.actor,
            created_at_ms=row.created_at_ms,
        )
    except (ValueError, AttributeError, UsageError) as error:
        raise StoreError(
            f"the command {row.command_id} in {FILE_NAME} is not one that this program writes ({error}): "
            "restore the file from a copy, or delete the row"
        ) from error


def _configuration(row: Row[Any]) -> ConfigurationRow:
    return ConfigurationRow(version=row.version, canonical=row.canonical, document=row.document)


def _check(row: Row[Any]) -> Check:
    return Check(
        kind=row.kind,
        start_ms=row.start_ms,
        end_ms=row.end_ms,
        differences=row.differences,
        document=row.document,
        created_at_ms=row.created_at_ms,
    )


def _audit_entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(at_ms=row.at_ms, actor=row.actor, action=row.action, detail=json.loads(row.detail))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
