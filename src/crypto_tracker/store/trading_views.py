"""What faces read of a trading account: filtered, in pages, summed by the database.

Everything asked of one `TradingViews` is one state of the file, however far the trader goes on meanwhile.
Nothing here grows with the account's age but what the caller asks for.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    case,
    cast,
    func,
    select,
)

from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.orders import ExitReason, Fill, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store import control_tables
from crypto_tracker.store import trading_tables as tables
from crypto_tracker.store.column_rows import (
    SETUP_KIND,
    MinuteRows,
    SetupRows,
    TradeRows,
    parts,
    scans_of,
    setup_rows_of,
    trade_rows,
)
from crypto_tracker.store.control import FILE_NAME as CONTROL_FILE_NAME
from crypto_tracker.store.control import Check, ControlViews
from crypto_tracker.store.database import (
    current_revision,
    file_of,
    open_engine,
    plain_columns,
    plain_integers,
)
from crypto_tracker.store.trading_journal import FILE_NAME
from crypto_tracker.store.trading_records import (
    Account,
    CommandResult,
    ConfigurationRow,
    Halt,
    OrderRecord,
    PositionRecord,
    SeenBlock,
    Session,
    SetupRecord,
)
from crypto_tracker.store.trading_rows import fill_of, order_of, position_of, setup_of, trade_of
from crypto_tracker.strategies.decisions import ScanBlock, decode_block


class NotOpened(StoreError):
    """There is no account in a folder, or whoever opens it has not come to the end of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which rows are wanted; what is empty or None does not narrow. `reasons` are codes.

    The span [start_ms, end_ms) is of the exit of trades, and of the close at which was decided.
    """

    symbols: tuple[Symbol, ...] = ()
    strategies: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    start_ms: int | None = None
    end_ms: int | None = None


EVERYTHING = Where()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Closed trades added up. `judged` are those with a result: `data_lost` has none."""

    trades: int
    judged: int
    wins: int
    pnl_quote: Decimal
    invested_quote: Decimal
    fee_quote: Decimal
    slippage_quote: Decimal

    @property
    def win_rate(self) -> float | None:
        """Trades with P&L > 0 among those with a result; None where there are none."""
        return self.wins / self.judged if self.judged else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """The account at the close of one minute."""

    time_ms: int  # open time
    version: str
    equity_quote: Decimal
    cash_quote: Decimal
    reserved_quote: Decimal
    regime: Regime
    volatility: float | None
    recorded_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityPoint:
    """One stretch of the equity curve: where it ended, and how far it went."""

    time_ms: int  # open time of its last minute
    equity_quote: Decimal
    low_quote: Decimal
    high_quote: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The trader's answer to a command, and when it was given."""

    result: CommandResult
    time_ms: int
    recorded_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Halted:
    """A critical error, and the minute in which it was found."""

    halt: Halt
    time_ms: int


class TradingViews:
    """One account as it stood at one moment, read only."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        self._connection = connection
        self.folder = folder

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator["TradingViews"]:
        """Read the account of a folder; raises StoreError where none was opened there."""
        path = folder / FILE_NAME
        if not path.is_file():
            raise NotOpened(f"there is no account in {folder}: start it with `crypto-tracker trade`")
        engine = open_engine(path, read_only=True)
        try:
            if current_revision(engine) is None:
                raise NotOpened(f"the account in {folder} was not opened to its end: start it again")
            with engine.connect() as connection:
                yield cls(connection, folder)
        finally:
            engine.dispose()

    @property
    def connection(self) -> Connection:
        """What everything here is read through, for a question of a face's own about the same state."""
        return self._connection

    # --- the account ---------------------------------------------------------------------------

    def account(self) -> Account:
        """Whose records these are."""
        row = self._connection.execute(select(tables.account)).one_or_none()
        if row is None:
            raise NotOpened(f"the account in {self.folder} was not opened to its end: start it again")
        return Account(
            kind=row.kind,
            symbols=tuple(map(Symbol.parse, json.loads(row.symbols))),
            reference=None if row.reference is None else Symbol.parse(row.reference),
            providers={Symbol.parse(name): provider for name, provider in json.loads(row.providers).items()},
            strategies=tuple(json.loads(row.strategies)),
            capital_quote=row.capital_quote,
            start_ms=row.start_ms,
            end_ms=row.end_ms,
            created_at_ms=row.created_at_ms,
            code_version=row.code_version,
        )

    def cursor_ms(self) -> int:
        """Open time of the next minute to step: everything before it is recorded."""
        return int(self._connection.execute(select(tables.trader.c.cursor_ms)).scalar_one())

    def state(self) -> bytes:
        """The trader's state (`trading.state`)."""
        return bytes(self._connection.execute(select(tables.trader.c.state)).scalar_one())

    def configuration(self, version: str | None = None) -> ConfigurationRow:
        """The configuration of a version, by default of the one that the next minute is stepped under."""
        wanted = select(tables.trader.c.version).scalar_subquery() if version is None else version
        query = select(tables.configurations).where(tables.configurations.c.version == wanted)
        row = self._connection.execute(query).one_or_none()
        if row is None:
            raise StoreError(f"the account in {self.folder} never had the configuration {version}")
        return ConfigurationRow(version=row.version, canonical=row.canonical, document=row.document)

    def versions(self) -> list[tuple[str, int]]:
        """Every configuration version with the first minute that was stepped under it, in that order."""
        columns = tables.configurations.c
        query = select(columns.version, columns.first_ms).order_by(columns.first_ms, columns.version)
        return [(row.version, row.first_ms) for row in self._connection.execute(query)]

    def sessions(self, *, limit: int | None = None) -> list[Session]:
        """The processes that traded the account, the last one first."""
        query = select(tables.sessions).order_by(tables.sessions.c.session_id.desc()).limit(limit)
        return [Session(**row) for row in self._connection.execute(query).mappings()]

    # --- minutes -------------------------------------------------------------------------------

    def latest_minute(self) -> Minute | None:
        """The last minute that was stepped."""
        minutes = tables.minutes.c
        query = (
            select(
                minutes.time_ms,
                minutes.version,
                minutes.equity_quote,
                minutes.cash_quote,
                minutes.reserved_quote,
                minutes.regime,
                minutes.volatility,
                minutes.recorded_at_ms,
            )
            .order_by(minutes.time_ms.desc())
            .limit(1)
        )
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else Minute(**{**row, "regime": Regime[row["regime"].upper()]})

    def version_at(self, time_ms: int) -> str | None:
        """The configuration version that the minute `time_ms` was stepped under; None where it was not."""
        query = select(tables.minutes.c.version).where(tables.minutes.c.time_ms == time_ms)
        version: str | None = self._connection.execute(query).scalar_one_or_none()
        return version

    def peak_equity(self) -> Decimal | None:
        """The highest equity at any close; None where no minute was stepped."""
        peak: Decimal | None = self._connection.execute(
            select(func.max(tables.minutes.c.equity_quote))
        ).scalar_one()
        return peak

    def max_drawdown(self) -> float:
        """Deepest fall of the equity from its highest point so far, the capital included; a fraction >= 0."""
        minutes = tables.minutes.c
        equity = cast(minutes.equity_quote, Float)
        so_far = func.max(equity).over(order_by=minutes.time_ms, rows=(None, 0))
        walked = select(equity.label("equity"), so_far.label("peak")).subquery().c
        capital = select(cast(tables.account.c.capital_quote, Float)).scalar_subquery()
        peak = case((walked.peak > capital, walked.peak), else_=capital)
        deepest = self._connection.execute(select(func.max((peak - walked.equity) / peak))).scalar_one()
        return max(float(deepest or 0.0), 0.0)

    def equity_curve(
        self, points: int, *, start_ms: int | None = None, end_ms: int | None = None
    ) -> list[EquityPoint]:
        """The equity over [start_ms, end_ms) in at most `points` stretches of equal length."""
        minutes = tables.minutes.c
        span = _within(
            select(func.min(minutes.time_ms), func.max(minutes.time_ms)), minutes.time_ms, start_ms, end_ms
        )
        first, last = self._connection.execute(span).one()
        if first is None or points < 1:
            return []
        width = -(-(last - first + 1) // points)
        stretch = (minutes.time_ms - first) // width
        ends = _within(
            select(
                func.max(minutes.time_ms).label("time_ms"),
                func.min(minutes.equity_quote).label("low"),
                func.max(minutes.equity_quote).label("high"),
            ).group_by(stretch),
            minutes.time_ms,
            start_ms,
            end_ms,
        ).subquery()
        query = (
            select(minutes.time_ms, minutes.equity_quote, ends.c.low, ends.c.high)
            .join(ends, ends.c.time_ms == minutes.time_ms)
            .order_by(minutes.time_ms)
        )
        return [
            EquityPoint(
                time_ms=row.time_ms, equity_quote=row.equity_quote, low_quote=row.low, high_quote=row.high
            )
            for row in self._connection.execute(query)
        ]

    def minutes_since(self, time_ms: int | None, *, limit: int) -> MinuteRows:
        """The first `limit` minutes after one, or from the start on."""
        after, values = ("", ()) if time_ms is None else ("WHERE time_ms > ?", (time_ms,))
        regimes = " ".join(f"WHEN '{regime.name.lower()}' THEN {int(regime)}" for regime in Regime)
        query = f"SELECT time_ms, equity_quote, CASE regime {regimes} END FROM minutes"  # noqa: S608 - our own names
        numbers = plain_integers(
            self._connection, f"{query} {after} ORDER BY time_ms LIMIT ?", (*values, limit), width=3
        )
        time, equity, regime = numbers.T.copy()
        if (np.diff(time) <= 0).any() or (time_ms is not None and (time <= time_ms).any()):
            raise StoreError(
                f"the minutes in {file_of(self._connection.engine)} are not in order of time: "
                "put a sound copy of the whole folder in its place"
            )
        return MinuteRows(time_ms=time, equity_e8=equity, regime=regime.astype(np.int8))

    # --- trades and positions ------------------------------------------------------------------

    def trades(
        self,
        where: Where = EVERYTHING,
        *,
        limit: int | None = None,
        offset: int = 0,
        newest_first: bool = False,
    ) -> list[Trade]:
        """Closed trades in the order in which they closed, or the other way round."""
        number = tables.trades.c.trade_number
        query = _of_trades(select(tables.trades), where).order_by(number.desc() if newest_first else number)
        rows = self._connection.execute(query.limit(limit).offset(offset))
        return [trade_of(row, exit_ms=row.exit_ms) for row in rows]

    def closed_trades(self, trade_group_ids: Sequence[str]) -> dict[str, Trade]:
        """The closed trades of these groups; those that are open, or came to nothing, are left out."""
        columns = tables.trades.c
        return {
            row.trade_group_id: trade_of(row, exit_ms=row.exit_ms)
            for part in parts(trade_group_ids)
            for row in self._connection.execute(select(tables.trades).where(columns.trade_group_id.in_(part)))
        }

    def trades_since(self, number: int | None, *, limit: int) -> TradeRows:
        """The first `limit` trades after the one of a number, or from the first on, by columns."""
        after, values = ("", ()) if number is None else ("WHERE trade_number > ?", (number,))
        columns = plain_columns(
            self._connection,
            "SELECT trade_number, symbol, strategy, exit_reason, entry_ms, exit_ms, pnl_quote, "  # noqa: S608 - our own names
            "invested_quote, fee_quote, slippage_quote, return_net, CAST(entry_price AS REAL), "
            f"CAST(exit_price AS REAL) FROM trades {after} ORDER BY trade_number LIMIT ?",
            (*values, limit),
            width=13,
        )
        return trade_rows(columns)

    def trades_numbered(self, numbers: Sequence[int]) -> list[tuple[Trade, str]]:
        """The trades of these numbers in this order, each with the configuration version of its setup.

        Raises StoreError where there is none of a number.
        """
        columns = tables.trades.c
        found = {
            row.trade_number: (trade_of(row, exit_ms=row.exit_ms), row.version)
            for part in parts(numbers)
            for row in self._connection.execute(select(tables.trades).where(columns.trade_number.in_(part)))
        }
        for number in numbers:
            if number not in found:
                raise StoreError(f"the account in {self.folder} has no trade {number}")
        return [found[number] for number in numbers]

    def sums(self, where: Where = EVERYTHING) -> Sums:
        """Closed trades added up."""
        return _sums(self._connection.execute(_of_trades(select(*_summed()), where)).one())

    def sums_by(self, column: str, where: Where = EVERYTHING) -> dict[str, Sums]:
        """The same for each `symbol`, `strategy` or `exit_reason` that has trades, by name."""
        key = tables.trades.c[column]
        query = _of_trades(select(key.label("key"), *_summed()), where).group_by(key).order_by(key)
        return {row.key: _sums(row) for row in self._connection.execute(query)}

    def positions(self, where: Where = EVERYTHING) -> list[PositionRecord]:
        """What is held now, by symbol; of `where` symbols and strategies count."""
        columns = tables.positions.c
        query = _named(select(tables.positions), columns.symbol, columns.strategy, where)
        return [position_of(row) for row in self._connection.execute(query.order_by(columns.symbol))]

    def orders(self, trade_group_ids: Sequence[str]) -> dict[str, list[OrderRecord]]:
        """The buys of each group: the market entry, then its rungs."""
        found: dict[str, list[OrderRecord]] = {}
        columns = tables.orders.c
        for part in parts(trade_group_ids):
            query = (
                select(tables.orders)
                .where(columns.trade_group_id.in_(part))
                .order_by(columns.trade_group_id, columns.rung)
            )
            for row in self._connection.execute(query):
                found.setdefault(row.trade_group_id, []).append(order_of(row))
        return found

    def ended_entries(
        self, trade_group_ids: Sequence[str], reasons: Sequence[Reason]
    ) -> dict[str, tuple[int, Reason]]:
        """Of these groups those whose market entry ended for one of some reasons: when, and for which."""
        columns = tables.orders.c
        wanted = func.json_each(bindparam("ids")).table_valued("value")
        query = (
            select(columns.trade_group_id, columns.ended_ms, columns.reason)
            .select_from(wanted.join(tables.orders, columns.order_id == wanted.c.value))
            .where(columns.ended_ms.is_not(None), columns.reason.in_([each.code for each in reasons]))
        )
        ids = json.dumps([f"{group}/0" for group in trade_group_ids])
        return {
            row.trade_group_id: (row.ended_ms, Reason[row.reason.upper()])
            for row in self._connection.execute(query, {"ids": ids})
        }

    def pending_orders(self) -> int:
        """How many buys wait to be filled."""
        query = select(func.count()).where(tables.orders.c.status.in_(("open", "partially_filled")))
        return int(self._connection.execute(query).scalar_one())

    def fills(self, trade_group_id: str) -> list[Fill]:
        """The executions of one group in the order in which they happened."""
        query = (
            select(tables.fills)
            .where(tables.fills.c.trade_group_id == trade_group_id)
            .order_by(tables.fills.c.sequence)
        )
        return [fill_of(row) for row in self._connection.execute(query)]

    def fills_of_symbol(self, symbol: Symbol, start_ms: int, end_ms: int, *, trades: int) -> list[Fill]:
        """The executions of a symbol in bars that open in [start_ms, end_ms), in their order.

        Of the trades that closed in the span those of the newest so many, and of the one held at its end. A
        symbol is held by one trade at a time, so its trades overlap the span one after the other.
        """
        closed = select(tables.trades.c.trade_group_id, tables.trades.c.entry_ms).where(
            tables.trades.c.symbol == str(symbol)
        )
        exit_ms = tables.trades.c.exit_ms
        inside = closed.where(exit_ms >= start_ms, exit_ms < end_ms).order_by(exit_ms.desc()).limit(trades)
        after = closed.where(exit_ms >= end_ms).order_by(exit_ms).limit(1)
        groups = [row.trade_group_id for row in self._connection.execute(inside)]
        groups += [row.trade_group_id for row in self._connection.execute(after) if row.entry_ms < end_ms]
        held = select(tables.positions.c.trade_group_id).where(tables.positions.c.symbol == str(symbol))
        groups += self._connection.execute(held).scalars()
        columns = tables.fills.c
        rows = [
            row
            for part in parts(groups)
            for row in self._connection.execute(
                _within(
                    select(tables.fills).where(columns.trade_group_id.in_(part)),
                    columns.bar_open_ms,
                    start_ms,
                    end_ms,
                )
            )
        ]
        return [fill_of(row) for row in sorted(rows, key=lambda row: row.sequence)]

    def fill_costs(self) -> tuple[Decimal, Decimal]:
        """Fees and slippage of every fill, those of open positions included."""
        columns = tables.fills.c
        row = self._connection.execute(
            select(func.sum(columns.fee_quote), func.sum(columns.slippage_quote))
        ).one()
        return row[0] or Decimal(0), row[1] or Decimal(0)

    # --- decisions -----------------------------------------------------------------------------

    def setups(
        self,
        where: Where = EVERYTHING,
        *,
        limit: int | None = None,
        offset: int = 0,
        newest_first: bool = False,
    ) -> list[SetupRecord]:
        """Setups with the portfolio's answer, and near misses, by time, symbol and strategy, or backwards."""
        columns = tables.setups.c
        # One direction throughout is that of the key, so that a page reads a page and not the table.
        key = (columns.time_ms, columns.symbol, columns.strategy)
        order = [column.desc() for column in key] if newest_first else list(key)
        query = _of_setups(select(tables.setups), where).order_by(*order).limit(limit).offset(offset)
        return [setup_of(row) for row in self._connection.execute(query)]

    def setups_since(self, time_ms: int | None) -> SetupRows:
        """What was decided at closes after one, or from the first on, by columns."""
        after, values = ("", ()) if time_ms is None else ("WHERE time_ms > ?", (time_ms,))
        columns = plain_columns(
            self._connection,
            f"SELECT time_ms, {SETUP_KIND} FROM setups {after} "  # noqa: S608 - our own names
            "ORDER BY time_ms, symbol, strategy",
            values,
            width=2,
        )
        return setup_rows_of(columns)

    def setups_keyed(self, keys: Sequence[tuple[int, str, str]]) -> list[SetupRecord]:
        """The setups and near misses of these times, symbols and strategies, in this order.

        Raises StoreError where there is none of a key.
        """
        columns, wanted = tables.setups.c, func.json_each(bindparam("keys")).table_valued("value")
        one_key = and_(
            columns.time_ms == func.json_extract(wanted.c.value, "$[0]"),
            columns.symbol == func.json_extract(wanted.c.value, "$[1]"),
            columns.strategy == func.json_extract(wanted.c.value, "$[2]"),
        )
        # One text for however many keys: to bind each part of them takes longer than to read the rows.
        rows = self._connection.execute(
            select(tables.setups).select_from(wanted.join(tables.setups, one_key)), {"keys": json.dumps(keys)}
        ).all()
        found = {(row.time_ms, row.symbol, row.strategy): setup_of(row) for row in rows}
        for key in keys:
            if key not in found:
                raise StoreError(f"the account in {self.folder} has no setup {key}")
        return [found[key] for key in keys]

    def near_misses(
        self, start_ms: int, end_ms: int, symbols: Sequence[Symbol] = ()
    ) -> list[tuple[int, str, str, float]]:
        """Time, symbol, strategy and readiness of the near misses of [start_ms, end_ms), in that order."""
        named = " AND symbol IN (SELECT value FROM json_each(?))" if symbols else ""
        columns = plain_columns(
            self._connection,
            "SELECT time_ms, symbol, strategy, readiness FROM setups "  # noqa: S608 - our own names
            f"WHERE time_ms >= ? AND time_ms < ? AND verdict = '{Verdict.NEAR_MISS.value}'{named} "
            "ORDER BY time_ms, symbol, strategy",
            (start_ms, end_ms, *([json.dumps([str(each) for each in symbols])] if symbols else [])),
            width=4,
        )
        return list(zip(*columns, strict=True))

    def setup_counts(self, where: Where = EVERYTHING) -> dict[tuple[Verdict, Reason], int]:
        """How many rows there are of each verdict and reason, the most frequent first."""
        columns = tables.setups.c
        count = func.count().label("count")
        query = (
            _of_setups(select(columns.verdict, columns.reason, count), where)
            .group_by(columns.verdict, columns.reason)
            .order_by(count.desc(), columns.verdict, columns.reason)
        )
        return {
            (Verdict(row.verdict), Reason[row.reason.upper()]): int(row[2])
            for row in self._connection.execute(query)
        }

    def blocks(
        self, where: Where = EVERYTHING, *, limit: int | None = None, newest_first: bool = False
    ) -> Iterator[ScanBlock]:
        """Every scan of a span and of some strategies, one block after the other; `limit` counts blocks."""
        columns = tables.decision_blocks.c
        query = _within(select(columns.block), columns.time_ms, where.start_ms, where.end_ms)
        if where.strategies:
            query = query.where(scans_of(columns.strategy, where.strategies))
        key = (columns.time_ms, columns.strategy)
        order = [column.desc() for column in key] if newest_first else list(key)
        query = query.order_by(*order).limit(limit)
        for row in self._connection.execute(query, execution_options={"yield_per": 64}):
            yield decode_block(row.block)

    def encoded_blocks(self, strategy: str, times_ms: Sequence[int]) -> list[tuple[int, bytes]]:
        """The scans of a strategy at these closes as they are stored, with their closes, in order of time."""
        columns = tables.decision_blocks.c
        return [
            (row.time_ms, bytes(row.block))
            for part in parts(sorted(times_ms))
            for row in self._connection.execute(
                select(columns.time_ms, columns.block)
                .where(columns.time_ms.in_(part), columns.strategy == strategy)
                .order_by(columns.time_ms)
            )
        ]

    def newest_block(self, strategy: str, *, since_ms: int) -> ScanBlock | None:
        """The last scan of a strategy at or after a close; None where it has not scanned since."""
        columns = tables.decision_blocks.c
        query = (
            select(columns.block)
            .where(columns.strategy == strategy, columns.time_ms >= since_ms)
            .order_by(columns.time_ms.desc())
            .limit(1)
        )
        found = self._connection.execute(query).scalar_one_or_none()
        return None if found is None else decode_block(found)

    # --- what stopped it, and what people told it ----------------------------------------------

    def halts(self, *, limit: int | None = None, before_ms: int | None = None) -> list[Halted]:
        """Critical errors, the last one first; only those before a moment."""
        columns = tables.halts.c
        query = select(tables.halts).order_by(columns.time_ms.desc(), columns.sequence).limit(limit)
        if before_ms is not None:
            query = query.where(columns.time_ms < before_ms)
        return [
            Halted(
                halt=Halt(cause=row.cause, sentence=row.sentence, strategy=row.strategy), time_ms=row.time_ms
            )
            for row in self._connection.execute(query)
        ]

    def answers(self, *, limit: int | None = None, before_ms: int | None = None) -> list[Answered]:
        """The trader's answers to commands, the last one first; only those before a moment."""
        columns = tables.command_results.c
        query = select(tables.command_results).order_by(columns.time_ms.desc(), columns.recorded_at_ms.desc())
        if before_ms is not None:
            query = query.where(columns.time_ms < before_ms)
        return [_answered(row) for row in self._connection.execute(query.limit(limit))]

    def answers_to(self, command_ids: Sequence[str]) -> dict[str, Answered]:
        """The trader's answers to these commands; those that have none yet are left out."""
        columns = tables.command_results.c
        return {
            row.command_id: _answered(row)
            for part in parts(command_ids)
            for row in self._connection.execute(
                select(tables.command_results).where(columns.command_id.in_(part))
            )
        }

    def answered_among(self, command_ids: Sequence[str]) -> set[str]:
        """Which of these commands were answered."""
        column = tables.command_results.c.command_id
        return {
            command_id
            for part in parts(command_ids)
            for command_id in self._connection.execute(select(column).where(column.in_(part))).scalars()
        }

    def last_applied_ms(self, kind: str) -> int | None:
        """The minute before whose open a command of this kind was applied last."""
        columns = tables.commands_applied.c
        query = select(func.max(columns.time_ms)).where(columns.kind == kind)
        last: int | None = self._connection.execute(query).scalar_one()
        return last

    # --- bars that were seen -------------------------------------------------------------------

    def seen_bars(
        self, part: str, timeframe: Timeframe, *, limit: int
    ) -> tuple[bytes | None, list[SeenBlock], list[SeenBlock]]:
        """Coarser bars as they were seen: from before the start, the last since, and healed ones."""
        since = tables.seen_rows.c
        newest = (
            select(tables.seen_rows)
            .where(since.part == part, since.timeframe == str(timeframe))
            .order_by(since.time_ms.desc())
            .limit(limit)
        )
        seen = [
            SeenBlock(part=part, timeframe=timeframe, time_ms=row.time_ms, block=row.block)
            for row in reversed(self._connection.execute(newest).all())
        ]
        healed = [
            SeenBlock(part=part, timeframe=timeframe, time_ms=row.time_ms, block=row.block)
            for row in self._blocks_of(tables.healed, part, timeframe)
        ]
        before = self._blocks_of(tables.history, part, timeframe)
        return (bytes(before[0].block) if before else None), seen, healed

    def _blocks_of(self, table: Table, part: str, timeframe: Timeframe) -> Sequence[Row[Any]]:
        query = select(table).where(table.c.part == part, table.c.timeframe == str(timeframe))
        return self._connection.execute(query).all()


def checks(folder: Path, *, limit: int | None = None) -> list[Check]:
    """What parity found in this account, the last check first."""
    columns = control_tables.checks.c
    query = (
        select(control_tables.checks)
        .order_by(columns.created_at_ms.desc(), columns.check_id.desc())
        .limit(limit)
    )
    with _control(folder) as control:
        rows = [] if control is None else control.execute(query).all()
    return [
        Check(
            kind=row.kind,
            start_ms=row.start_ms,
            end_ms=row.end_ms,
            differences=row.differences,
            document=row.document,
            created_at_ms=row.created_at_ms,
        )
        for row in rows
    ]


def waiting_commands(folder: Path, answered: TradingViews) -> int:
    """How many commands have no answer yet."""
    with _control(folder) as control:
        if control is None:
            return 0
        given = control.execute(select(control_tables.commands.c.command_id)).scalars().all()
        withdrawn = ControlViews(control).withdrawals(given).keys()
    return len(set(given) - withdrawn - answered.answered_among(given))


@contextmanager
def _control(folder: Path) -> Iterator[Connection | None]:
    """What people told the account, one state while the block runs; None where nobody ever did."""
    path = folder / CONTROL_FILE_NAME
    if not path.is_file():
        yield None
        return
    engine = open_engine(path, read_only=True)
    try:
        if current_revision(engine) is None:
            yield None
            return
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


# --- narrowing ---------------------------------------------------------------------------------


def _within(
    query: Select[Any], time: ColumnElement[int], start_ms: int | None, end_ms: int | None
) -> Select[Any]:
    if start_ms is not None:
        query = query.where(time >= start_ms)
    return query if end_ms is None else query.where(time < end_ms)


def _named(
    query: Select[Any], symbol: ColumnElement[str], strategy: ColumnElement[str], where: Where
) -> Select[Any]:
    if where.symbols:
        query = query.where(symbol.in_([str(each) for each in where.symbols]))
    return query.where(strategy.in_(where.strategies)) if where.strategies else query


def _of_trades(query: Select[Any], where: Where) -> Select[Any]:
    columns = tables.trades.c
    query = _named(query, columns.symbol, columns.strategy, where)
    if where.reasons:
        query = query.where(columns.exit_reason.in_(where.reasons))
    return _within(query, columns.exit_ms, where.start_ms, where.end_ms)


def _of_setups(query: Select[Any], where: Where) -> Select[Any]:
    columns = tables.setups.c
    query = _named(query, columns.symbol, columns.strategy, where)
    if where.reasons:
        query = query.where(columns.reason.in_(where.reasons))
    if where.verdicts:
        query = query.where(columns.verdict.in_([each.value for each in where.verdicts]))
    return _within(query, columns.time_ms, where.start_ms, where.end_ms)


def _answered(row: Row[Any]) -> Answered:
    return Answered(
        result=CommandResult(
            command_id=row.command_id, kind=row.kind, status=row.status, sentence=row.sentence
        ),
        time_ms=row.time_ms,
        recorded_at_ms=row.recorded_at_ms,
    )


def _summed() -> list[ColumnElement[Any]]:
    columns = tables.trades.c
    judged = columns.exit_reason != ExitReason.DATA_LOST.code
    return [
        func.count().label("trades"),
        func.sum(case((judged, 1), else_=0)).label("judged"),
        func.sum(case((judged & (columns.pnl_quote > Decimal(0)), 1), else_=0)).label("wins"),
        func.sum(columns.pnl_quote).label("pnl_quote"),
        func.sum(columns.invested_quote).label("invested_quote"),
        func.sum(columns.fee_quote).label("fee_quote"),
        func.sum(columns.slippage_quote).label("slippage_quote"),
    ]


def _sums(row: Row[Any]) -> Sums:
    return Sums(
        trades=row.trades,
        judged=row.judged or 0,
        wins=row.wins or 0,
        pnl_quote=row.pnl_quote or Decimal(0),
        invested_quote=row.invested_quote or Decimal(0),
        fee_quote=row.fee_quote or Decimal(0),
        slippage_quote=row.slippage_quote or Decimal(0),
    )
