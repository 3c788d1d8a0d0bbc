"""The one writer of a trading account: everything of a step in one transaction, or nothing of it."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, event

from crypto_tracker.core.errors import DataError, StoreError
from crypto_tracker.core.timeframes import MINUTE_MS, from_ms, to_ms
from crypto_tracker.store import trading_tables as tables
from crypto_tracker.store.database import TRADING, open_engine, sqlite_module, upgrade, writer_lock
from crypto_tracker.store.failpoints import TradingFailpoint, reach
from crypto_tracker.store.trading_journal import FILE_NAME, TradingJournal
from crypto_tracker.store.trading_records import Opening, StepRecord
from crypto_tracker.store.trading_rows import (
    DIGESTED,
    PlainRow,
    account_values,
    block_values,
    configuration_values,
    order_values,
    plain,
    position_values,
    seen_offset,
    step_rows,
)

LOCK_NAME = "trader.lock"
CHECKPOINT_EVERY = 256
"""Commits between two checkpoints of the log: some megabytes, which a start has to look through."""


class TradingStore:
    """Writes the account of one folder; one process at a time may.

    `journal` reads what was committed.
    """

    def __init__(
        self, connection: Connection, journal: TradingJournal, name: str, checkpoint_every: int
    ) -> None:
        self._connection = connection
        self._name = name
        self._checkpoint_every = checkpoint_every
        self._commits = 0
        self.journal = journal

    @classmethod
    @contextmanager
    def open(
        cls, folder: Path, *, wait_ms: int, durable: bool = True, checkpoint_every: int = CHECKPOINT_EVERY
    ) -> Iterator["TradingStore"]:
        """The account under `folder`, made where there is none and brought up to date where it is old.

        Without `durable` a commit is not flushed to the disk at once, which is for replays: a power cut may
        take the last minutes, which are then stepped again, and never part of one.

        Raises StoreError, which says who holds it, where another process still trades the account after
        `wait_ms`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        reach(TradingFailpoint.ACCOUNT_FOLDER_MADE)
        with ExitStack() as stack:
            _lock(stack, folder, wait_ms)
            engine = open_engine(folder / FILE_NAME)
            stack.callback(engine.dispose)
            _keep_log_whole(engine, durable=durable)
            upgrade(engine, TRADING)
            journal = stack.enter_context(TradingJournal.open(folder))
            connection = stack.enter_context(engine.connect())
            store = cls(connection, journal, folder.name, checkpoint_every)
            store._checkpoint()
            # Also after an error: what was committed is sound, and the log need not stay long.
            stack.callback(store._checkpoint)
            yield store

    def create(self, opening: Opening) -> None:
        """Write what the account begins with; raises StoreError where the folder has an account already."""
        account = opening.account
        version = opening.configuration.version
        with self._connection.begin():
            if self._first("SELECT 1 FROM account") is not None:
                raise StoreError(
                    f"the account {self._name} exists already: go on with it, or choose another name"
                )
            self._insert(
                tables.configurations, [configuration_values(opening.configuration, account.start_ms)]
            )
            self._insert(tables.account, [account_values(account)])
            self._insert(tables.history, [block_values(block) for block in opening.history])
            state = {"version": version, "state": opening.state}
            self._insert(tables.checkpoints, [state | {"time_ms": account.start_ms}])
            self._insert(tables.trader, [state | {"trader_id": 1, "cursor_ms": account.start_ms}])
            reach(TradingFailpoint.OPENING_WRITTEN)
        reach(TradingFailpoint.OPENING_COMMITTED)

    def begin_session(self, *, started_at_ms: int, pid: int, host: str, code_version: str) -> int:
        """Note that this process trades the account from now on; returns the number of the session."""
        with self._connection.begin():
            cursor_ms, _ = self._trader()
            (number,) = self._only("SELECT coalesce(max(session_id), 0) + 1 FROM sessions")
            values = {
                "session_id": number,
                "started_at_ms": started_at_ms,
                "ended_at_ms": None,
                "pid": pid,
                "host": host,
                "code_version": code_version,
                "cursor_ms": cursor_ms,
            }
            self._insert(tables.sessions, [values])
        return int(number)

    def end_session(self, session_id: int, ended_at_ms: int) -> None:
        """Note that a session has ended by itself."""
        with self._connection.begin():
            self._connection.exec_driver_sql(
                "UPDATE sessions SET ended_at_ms = ? WHERE session_id = ?", (ended_at_ms, session_id)
            )

    def commit(self, step: StepRecord, *, recorded_at_ms: int) -> None:
        """Write one step whole, in one transaction.

        Raises StoreError where the step is not the one of the minute at the cursor, brings rows of another
        minute, or does not go on with the numbers of fills, trades and setups.
        """
        _check_times(step)
        reach(TradingFailpoint.STEP_BEFORE_TRANSACTION)
        with self._connection.begin():
            cursor_ms, version_before = self._trader()
            if step.time_ms != cursor_ms:
                raise StoreError(
                    f"the step of {_minute(step.time_ms)} cannot be written to the account {self._name}, "
                    f"whose next minute is {_minute(cursor_ms)}: start the trader again"
                )
            (opened_ms,) = self._only("SELECT start_ms FROM account")
            rows = step_rows(
                step,
                recorded_at_ms=recorded_at_ms,
                first_fill=self._next_fill(step),
                first_trade=self._next_trade(step),
                version_before=version_before,
                opened_ms=opened_ms,
            )
            self._check_setups(step)
            for place, name in enumerate(name for name in DIGESTED if name in rows):
                self._write(_insert_into(DIGESTED[name]), rows[name])
                if place == 0:
                    reach(TradingFailpoint.STEP_FIRST_WRITTEN)
            if step.orders:
                changed = [plain(tables.orders, order_values(order)) for order in step.orders]
                self._write(_upsert_into(tables.orders), changed)
            if step.positions is not None:
                self._connection.exec_driver_sql("DELETE FROM positions")
                self._insert(tables.positions, [position_values(position) for position in step.positions])
            reach(TradingFailpoint.STEP_RECORDS_WRITTEN)
            self._connection.exec_driver_sql(
                "UPDATE trader SET cursor_ms = ?, version = ?, state = ?",
                (step.time_ms + MINUTE_MS, step.next_version, step.state),
            )
            reach(TradingFailpoint.STEP_BEFORE_COMMIT)
        reach(TradingFailpoint.STEP_COMMITTED)
        self._commits += 1
        if self._commits % self._checkpoint_every == 0:
            self._checkpoint()

    # --- parts of a step -----------------------------------------------------------------------

    def _trader(self) -> tuple[int, str]:
        row = self._first("SELECT cursor_ms, version FROM trader")
        if row is None:
            raise StoreError(f"the account {self._name} was not opened yet: open it before its first step")
        return int(row[0]), str(row[1])

    def _next_fill(self, step: StepRecord) -> int:
        if not step.fills and step.first_fill is None:
            return 0
        (number,) = self._only("SELECT coalesce(max(sequence), -1) + 1 FROM fills")
        return self._continued("fill", step, step.first_fill, int(number))

    def _next_trade(self, step: StepRecord) -> int:
        if not step.trades and step.first_trade is None:
            return 0
        (number,) = self._only("SELECT coalesce(max(trade_number), -1) + 1 FROM trades")
        return self._continued("trade", step, step.first_trade, int(number))

    def _check_setups(self, step: StepRecord) -> None:
        numbers = sorted(setup.setup_number for setup in step.setups if setup.setup_number is not None)
        if not numbers:
            return
        (following,) = self._only("SELECT coalesce(max(setup_number), -1) + 1 FROM setups")
        for number in numbers:
            following = self._continued("setup", step, number, following) + 1

    def _continued(self, what: str, step: StepRecord, number: int | None, following: int) -> int:
        """The number that follows; raises StoreError where the step has another one."""
        if number not in {None, following}:
            raise StoreError(
                f"the step of {_minute(step.time_ms)} numbers a {what} {number} where the account "
                f"{self._name} has come to {following}: restore the account from a copy, or start a new one"
            )
        return following

    # --- statements ----------------------------------------------------------------------------

    def _insert(self, table: Table, values: Sequence[Mapping[str, Any]]) -> None:
        if values:
            self._write(_insert_into(table), [plain(table, each) for each in values])

    def _write(self, statement: str, rows: list[PlainRow]) -> None:
        self._connection.exec_driver_sql(statement, rows)

    def _first(self, query: str) -> Sequence[Any] | None:
        return self._connection.exec_driver_sql(query).first()

    def _only(self, query: str) -> Sequence[Any]:
        return self._connection.exec_driver_sql(query).one()

    def _checkpoint(self) -> None:
        """Bring the whole log into the database file and empty it, unless a reader still looks at the log.

        Nobody waits: where a reader is in the way the log stays, is as good as the file, and goes the next
        time.
        """
        reach(TradingFailpoint.BEFORE_CHECKPOINT)
        cursor = self._connection.connection.cursor()
        try:
            (patience,) = cursor.execute("PRAGMA busy_timeout").fetchone()
            cursor.execute("PRAGMA busy_timeout=0")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            cursor.execute(f"PRAGMA busy_timeout={int(patience)}")
        except sqlite_module().DatabaseError as error:
            raise StoreError(
                f"the log of the account {self._name} cannot be brought into {FILE_NAME} ({error}): "
                "see that the disk is sound and has room, then start the trader again"
            ) from error
        finally:
            cursor.close()
        reach(TradingFailpoint.AFTER_CHECKPOINT)


def is_traded(folder: Path) -> bool:
    """Whether a process trades the account of a folder at this moment. Takes nothing and waits for nobody."""
    path = folder / LOCK_NAME
    if not path.is_file():
        return False
    module = sqlite_module()
    with closing(module.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0)) as connection:
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        except module.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return True
            raise StoreError(
                f"the lock {path} cannot be read ({error}): see that you may read the folder"
            ) from error
    return False


def _lock(stack: ExitStack, folder: Path, wait_ms: int) -> None:
    """Take the account's lock; raises StoreError that names who has it."""
    lock = writer_lock(folder / LOCK_NAME, what=f"the account {folder.name}", wait_ms=wait_ms)
    try:
        stack.enter_context(lock)
    except StoreError as error:
        raise StoreError(
            f"the account {folder.name} is being traded by {_holder(folder)}: stop it first, or trade "
            "another account with --account"
        ) from error


def _holder(folder: Path) -> str:
    """The process that trades an account, as far as the account says."""
    session = None
    # A process that has the lock and is just making the file has written nothing about itself yet.
    with suppress(StoreError, DataError), TradingJournal.open(folder) as journal:
        session = journal.last_session()
    if session is None or session.ended_at_ms is not None:
        return f"another process, which has just begun or is about to end ({folder / LOCK_NAME} is taken)"
    return f"process {session.pid} on host {session.host} since {_minute(session.started_at_ms)}"


def _keep_log_whole(engine: Engine, *, durable: bool) -> None:
    """Let the log come into the database file only where `TradingStore` says so.

    SQLite by itself copies pages from the log into the file once in a while, as far as readers let it. The
    account's file is written by whole checkpoints alone, after which the log is empty: file and log together
    are then the state of the last checkpoint and the commits after it, one behind the other. Whatever a power
    cut takes from the end of the log, the beginning that is left is a sound earlier state of the account.
    Only while a reader looks at an older state may a checkpoint end halfway; what it copied was synchronised
    in the log before, and the log stays.
    """

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        if not durable:
            connection.execute("PRAGMA synchronous=NORMAL")


def _check_times(step: StepRecord) -> None:
    """Raise StoreError for a row that another step should have brought: nobody would find it again."""
    times = {
        "seen_rows": [block.time_ms - seen_offset(block.timeframe) for block in step.rows],
        "healed": [block.time_ms for block in step.healed],
        "decision_blocks": [close_ms - MINUTE_MS for close_ms, _, _ in step.blocks],
        "setups": [setup.time_ms - MINUTE_MS for setup in step.setups],
        "fills": [to_ms(fill.bar_open_time) for fill in step.fills],
        "trades": [-1 if trade.exit_time is None else to_ms(trade.exit_time) for trade in step.trades],
    }
    for name, listed in times.items():
        for time_ms in listed:
            if time_ms != step.time_ms:
                belongs = "no minute" if time_ms < 0 else f"the minute {_minute(time_ms)}"
                raise StoreError(
                    f"the step of {_minute(step.time_ms)} brings a row of `{name}` that belongs to "
                    f"{belongs}: this is a mistake of the program, please report it"
                )
    if len(step.trade_versions) != len(step.trades):
        raise StoreError(
            f"the step of {_minute(step.time_ms)} brings {len(step.trades)} trades and "
            f"{len(step.trade_versions)} versions of their setups: this is a mistake of the program, please "
            "report it"
        )


def _minute(time_ms: int) -> str:
    return f"{from_ms(time_ms):%Y-%m-%d %H:%M} UTC"


@cache
def _insert_into(table: Table) -> str:
    names = [column.name for column in table.columns]
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608


@cache
def _upsert_into(table: Table) -> str:
    (key,) = [column.name for column in table.primary_key]
    others = [column.name for column in table.columns if column.name != key]
    changes = ", ".join(f"{name} = excluded.{name}" for name in others)
    return f"{_insert_into(table)} ON CONFLICT ({key}) DO UPDATE SET {changes}"
