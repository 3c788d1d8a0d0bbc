"""The records of a trading account, read only: for recovery, parity and reconciliation."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, Row, Select, Table, func, select

from crypto_tracker.core.decisions import Regime
from crypto_tracker.core.errors import DataError, StoreError
from crypto_tracker.core.orders import Fill, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.store import trading_rows
from crypto_tracker.store import trading_tables as tables
from crypto_tracker.store.database import TRADING, current_revision, open_engine
from crypto_tracker.store.trading_records import (
    Account,
    AppliedCommand,
    Checkpoint,
    CommandResult,
    ConfigurationRow,
    Doubt,
    Halt,
    Minutes,
    OrderRecord,
    PositionRecord,
    SeenBlock,
    Session,
    SetupRecord,
    TraderRow,
)
from crypto_tracker.store.trading_rows import PlainRow, Value

FILE_NAME = "trading.db"
_AT_ONCE = 10_000  # rows between two looks at the database


class TradingJournal:
    """What one account has recorded.

    Every method sees what was committed when it is called; within `with journal.snapshot():` all see one
    state, however much the trader commits meanwhile. Spans are [start_ms, end_ms). Not for several threads
    at once.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._held: Connection | None = None

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator["TradingJournal"]:
        """The account under `folder`.

        Raises DataError where there is none, and StoreError where another version of crypto-tracker wrote it.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            raise DataError(
                f"there is no account in {folder}: begin one with `crypto-tracker trade`, or name one that "
                "is there with --account"
            )
        engine = open_engine(path, read_only=True)
        try:
            revision = current_revision(engine)
            if revision != TRADING.head:
                raise StoreError(
                    f"the account {folder.name} was written by another version of crypto-tracker (its "
                    f"tables are at {revision}, this version reads {TRADING.head}): go on trading it with "
                    "the newest version, which brings it up to date"
                )
            yield cls(engine, folder.name)
        finally:
            engine.dispose()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let everything that is read in this block be of one state."""
        if self._held is not None:
            yield
            return
        with self._engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1").all()  # from now on
            self._held = connection
            try:
                yield
            finally:
                self._held = None

    # --- the account and where it stands -------------------------------------------------------

    def account(self) -> Account | None:
        """Whose records these are; None where the account was not opened to its end."""
        row = self._first(select(tables.account))
        return None if row is None else trading_rows.account_of(row)

    def trader(self) -> TraderRow:
        """Where the trader stands; raises StoreError where the account was not opened to its end."""
        row = self._first(select(tables.trader))
        if row is None:
            raise StoreError(
                f"the account {self._name} was not opened to its end: start it again with "
                "`crypto-tracker trade`"
            )
        return TraderRow(cursor_ms=row.cursor_ms, version=row.version, state=row.state)

    def configuration(self, version: str) -> ConfigurationRow:
        """A configuration that the account has traded under; raises StoreError for one that it has not."""
        table = tables.configurations
        row = self._first(select(table).where(table.c.version == version))
        if row is None:
            raise StoreError(f"the account {self._name} has never traded under the configuration {version}")
        return ConfigurationRow(version=row.version, canonical=row.canonical, document=row.document)

    def versions(self) -> set[str]:
        """The configurations that the account has traded under."""
        return {row.version for row in self._all(select(tables.configurations.c.version))}

    def checkpoint_at_or_before(self, time_ms: int) -> Checkpoint | None:
        """The newest state from before a minute that is not after `time_ms`."""
        table = tables.checkpoints
        query = select(table).where(table.c.time_ms <= time_ms).order_by(table.c.time_ms.desc()).limit(1)
        row = self._first(query)
        return None if row is None else Checkpoint(time_ms=row.time_ms, version=row.version, state=row.state)

    def sessions(self) -> list[Session]:
        """The processes that have traded the account, in their order."""
        rows = self._all(select(tables.sessions).order_by(tables.sessions.c.session_id))
        return [trading_rows.session_of(row) for row in rows]

    def last_session(self) -> Session | None:
        """The process that has traded the account last."""
        row = self._first(select(tables.sessions).order_by(tables.sessions.c.session_id.desc()).limit(1))
        return None if row is None else trading_rows.session_of(row)

    # --- what was seen -------------------------------------------------------------------------

    def history(self) -> list[SeenBlock]:
        """The bars from before the account's start."""
        columns = tables.history.c
        query = select(columns.part, columns.timeframe, columns.time_ms, columns.block)
        rows = self._all(query.order_by(columns.part, columns.time_ms, columns.timeframe))
        return [trading_rows.block_of(row) for row in rows]

    def seen_rows(self, part: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> list[SeenBlock]:
        """The coarser bars that open in the span, as they were seen when they closed, in order of time."""
        columns = tables.seen_rows.c
        query = select(columns.part, columns.timeframe, columns.time_ms, columns.block).where(
            columns.part == part,
            columns.timeframe == timeframe.value,
            columns.time_ms >= start_ms,
            columns.time_ms < end_ms,
        )
        return [trading_rows.block_of(row) for row in self._all(query.order_by(columns.time_ms))]

    def healed(self, start_ms: int, end_ms: int) -> list[SeenBlock]:
        """The bars that came in later, as they were taken into the window before minutes of the span."""
        columns = tables.healed.c
        query = select(columns.part, columns.timeframe, columns.time_ms, columns.block)
        return [trading_rows.block_of(row) for row in self._span(query, tables.healed, start_ms, end_ms)]

    def medians(self, start_day_ms: int, end_day_ms: int) -> list[tuple[Symbol, int, float | None]]:
        """Symbol, day and median bar range of the days that start in the span."""
        columns = tables.range_medians.c
        query = select(columns.symbol, columns.day_ms, columns.median).where(
            columns.day_ms >= start_day_ms, columns.day_ms < end_day_ms
        )
        rows = self._all(query.order_by(columns.day_ms, columns.symbol))
        return [(Symbol.parse(row.symbol), row.day_ms, row.median) for row in rows]

    def doubts(self, start_ms: int, end_ms: int) -> list[tuple[int, Doubt]]:
        """The symbols whose setups were withheld for their data, with the minute of the span."""
        columns = tables.doubts.c
        query = select(tables.doubts).where(columns.time_ms >= start_ms, columns.time_ms < end_ms)
        return [
            (
                row.time_ms,
                Doubt(symbol=Symbol.parse(row.symbol), score=row.score, score_min=row.score_min),
            )
            for row in self._all(query.order_by(columns.time_ms, columns.symbol))
        ]

    def minutes(self, start_ms: int, end_ms: int) -> Minutes:
        """The minutes of the span, by columns; about half a kilobyte of memory for each."""
        times = tables.minutes.c.time_ms
        with self.reading() as connection:
            within = (times >= start_ms) & (times < end_ms)
            count = connection.execute(
                select(func.count()).select_from(tables.minutes).where(within)
            ).scalar_one()
            whole = np.empty((5, count), dtype=np.int64)
            regime = np.empty(count, dtype=np.int8)
            volatility = np.empty(count, dtype=np.float64)
            version: list[str] = []
            seen: list[bytes] = []
            bars_digest: list[bytes] = []
            result = connection.exec_driver_sql(
                "SELECT time_ms, equity_quote, cash_quote, reserved_quote, recorded_at_ms, regime, "
                "volatility, version, seen, bars_digest FROM minutes "
                "WHERE time_ms >= ? AND time_ms < ? ORDER BY time_ms",
                (start_ms, end_ms),
            )
            names: dict[str, str] = {}  # one object for each version, not one for each minute
            while rows := result.fetchmany(_AT_ONCE):
                columns = list(zip(*rows, strict=True))
                part = slice(len(seen), len(seen) + len(rows))
                for place in range(len(whole)):
                    whole[place, part] = columns[place]
                regime[part] = [_REGIMES[name] for name in columns[5]]
                volatility[part] = np.array(columns[6], dtype=np.float64)  # None becomes NaN
                version.extend(names.setdefault(name, name) for name in columns[7])
                seen.extend(columns[8])
                bars_digest.extend(columns[9])
        return Minutes(
            time_ms=whole[0],
            version=version,
            seen=seen,
            bars_digest=bars_digest,
            equity_e8=whole[1],
            cash_e8=whole[2],
            reserved_e8=whole[3],
            regime=regime,
            volatility=volatility,
            recorded_at_ms=whole[4],
        )

    # --- what was decided and done -------------------------------------------------------------

    def commands_applied(self, start_ms: int, end_ms: int) -> list[tuple[int, AppliedCommand]]:
        """The commands that acted before minutes of the span, each with its minute, in their order."""
        rows = self._span(select(tables.commands_applied), tables.commands_applied, start_ms, end_ms)
        return [(row.time_ms, trading_rows.command_of(row)) for row in rows]

    def command_results(self, start_ms: int, end_ms: int) -> list[tuple[int, CommandResult]]:
        """The answers that were given before minutes of the span, each with its minute."""
        rows = self._span(select(tables.command_results), tables.command_results, start_ms, end_ms)
        return [(row.time_ms, trading_rows.result_of(row)) for row in rows]

    def answered_commands(self) -> set[str]:
        """The commands of people that were answered."""
        return {row.command_id for row in self._all(select(tables.command_results.c.command_id))}

    def halts(self, start_ms: int = 0, end_ms: int = 2**62) -> list[tuple[int, Halt]]:
        """The critical errors that were found in minutes of the span, each with its minute."""
        rows = self._span(select(tables.halts), tables.halts, start_ms, end_ms)
        return [
            (row.time_ms, Halt(cause=row.cause, sentence=row.sentence, strategy=row.strategy)) for row in rows
        ]

    def blocks(self, start_ms: int, end_ms: int) -> list[tuple[int, str, bytes]]:
        """Close, strategy and block of the scans at closes of the span."""
        rows = self._span(select(tables.decision_blocks), tables.decision_blocks, start_ms, end_ms)
        return [(row.time_ms, row.strategy, row.block) for row in rows]

    def setups(self, start_ms: int, end_ms: int) -> list[SetupRecord]:
        """The setups and near misses at closes of the span; setups of one close by their numbers."""
        columns = tables.setups.c
        query = select(tables.setups).where(columns.time_ms >= start_ms, columns.time_ms < end_ms)
        order = columns.time_ms, columns.setup_number.is_(None), columns.setup_number, columns.symbol
        return [trading_rows.setup_of(row) for row in self._all(query.order_by(*order, columns.strategy))]

    def fills(self, start_ms: int, end_ms: int) -> list[Fill]:
        """The executions in minutes of the span, in the order in which they happened."""
        columns = tables.fills.c
        query = select(tables.fills).where(columns.bar_open_ms >= start_ms, columns.bar_open_ms < end_ms)
        return [trading_rows.fill_of(row) for row in self._all(query.order_by(columns.sequence))]

    def trades(self, start_ms: int, end_ms: int) -> list[Trade]:
        """The trades that were closed in minutes of the span, in the order in which they closed."""
        return [trade for trade, _ in self.trades_with_versions(start_ms, end_ms)]

    def trades_with_versions(self, start_ms: int, end_ms: int) -> list[tuple[Trade, str]]:
        """The same, each with the configuration version of its setup."""
        columns = tables.trades.c
        query = select(tables.trades).where(columns.exit_ms >= start_ms, columns.exit_ms < end_ms)
        return [
            (trading_rows.trade_of(row, exit_ms=row.exit_ms), row.version)
            for row in self._all(query.order_by(columns.trade_number))
        ]

    def orders(self, *, open_only: bool = False) -> list[OrderRecord]:
        """The buys as they stand, in the order in which they were placed; or only those that still wait."""
        columns = tables.orders.c
        query = select(tables.orders)
        if open_only:
            query = query.where(columns.status.in_(["open", "partially_filled"]))
        rows = self._all(query.order_by(columns.placed_ms, columns.trade_group_id, columns.rung))
        return [trading_rows.order_of(row) for row in rows]

    def positions(self) -> list[PositionRecord]:
        """What is held now, in the order of symbols."""
        rows = self._all(select(tables.positions).order_by(tables.positions.c.symbol))
        return [trading_rows.position_of(row) for row in rows]

    # --- proof ---------------------------------------------------------------------------------

    def recomputed_digests(self, start_ms: int, end_ms: int) -> Iterator[tuple[int, bytes, bytes]]:
        """For each stepped minute of the span its time, the digest it has, and that of its rows as they are.

        Raises StoreError where a minute is missing, or a row belongs to none.
        """
        with self.snapshot():
            account, row = self.account(), self._first(select(tables.trader.c.cursor_ms))
            if account is None or row is None:
                return
            opening = self.checkpoint_at_or_before(account.start_ms)
            opened = None if opening is None else opening.version
            last_ms = max(-(-start_ms // MINUTE_MS) * MINUTE_MS, account.start_ms)
            end_ms = min(end_ms, row.cursor_ms)
            while last_ms < end_ms:
                first_ms, last_ms = last_ms, min(last_ms - last_ms % DAY_MS + DAY_MS, end_ms)
                steps = self._steps(first_ms, last_ms, account.start_ms, opened)
                for time_ms in range(first_ms, last_ms, MINUTE_MS):
                    rows = steps.pop(time_ms, {})
                    if "minutes" not in rows:
                        raise self._damaged(f"the minute {_minute(time_ms)} is missing")
                    yield time_ms, _bytes(rows["minutes"][0][-1]), trading_rows.step_digest(rows)
                if steps:
                    time_ms, rows = min(steps.items())
                    raise self._damaged(f"a row of `{min(rows)}` belongs to no minute ({time_ms} ms)")

    def _steps(
        self, start_ms: int, end_ms: int, opened_ms: int, opened_version: str | None
    ) -> dict[int, dict[str, list[PlainRow]]]:
        """The rows of each step of a span by table, without those of the opening."""
        steps: dict[int, dict[str, list[PlainRow]]] = {}
        for table in trading_rows.DIGESTED.values():
            for time_ms, row in self._plain_rows(table, start_ms, end_ms):
                if table is tables.configurations and row[0] == opened_version:
                    continue
                if table is tables.checkpoints and time_ms == opened_ms:
                    continue
                steps.setdefault(time_ms, {}).setdefault(table.name, []).append(row)
        return steps

    def _plain_rows(self, table: Table, start_ms: int, end_ms: int) -> Iterator[tuple[int, PlainRow]]:
        """The rows that the steps of a span have written to a table, each with the minute of its step."""
        names = [column.name for column in table.columns]
        query = f"SELECT {', '.join(names)} FROM {table.name} WHERE "  # noqa: S608 - names of our own
        with self.reading() as connection:
            if table is tables.seen_rows:
                for part in tables.PARTS:
                    for timeframe in Timeframe:
                        offset = trading_rows.seen_offset(timeframe)
                        values = part, timeframe.value, start_ms + offset, end_ms + offset
                        asked = f"{query} part = ? AND timeframe = ? AND time_ms >= ? AND time_ms < ?"
                        for row in connection.exec_driver_sql(asked, values):
                            yield row[2] - offset, tuple(row)
                return
            name, offset = trading_rows.time_column(table)
            place = names.index(name)
            asked = f"{query} {name} >= ? AND {name} < ?"
            for row in connection.exec_driver_sql(asked, (start_ms + offset, end_ms + offset)):
                yield row[place] - offset, tuple(row)

    # --- reading -------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state, that of the snapshot where one is held."""
        if self._held is not None:
            yield self._held
            return
        with self._engine.connect() as connection, connection.begin():
            yield connection

    def _all(self, query: Select[Any]) -> list[Row[Any]]:
        with self.reading() as connection:
            return list(connection.execute(query))

    def _first(self, query: Select[Any]) -> Row[Any] | None:
        with self.reading() as connection:
            return connection.execute(query).first()

    def _span(self, query: Select[Any], table: Table, start_ms: int, end_ms: int) -> list[Row[Any]]:
        """Rows whose `time_ms` lies in the span, in the order of time and then of the table's key."""
        time_ms = table.c.time_ms
        within = query.where(time_ms >= start_ms, time_ms < end_ms)
        return self._all(within.order_by(time_ms, *table.primary_key))

    def _damaged(self, what: str) -> StoreError:
        return StoreError(
            f"the journal of the account {self._name} is damaged: {what}: restore its {FILE_NAME} from a copy"
        )


_REGIMES = {regime.name.lower(): int(regime) for regime in Regime}


def _bytes(value: Value) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _minute(time_ms: int) -> str:
    return f"{from_ms(time_ms):%Y-%m-%d %H:%M} UTC"
