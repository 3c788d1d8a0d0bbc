"""Recorded simulations: their decisions, setups, orders, fills and trades, in one transaction each."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, func, insert, select

from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.money import to_decimal, to_e8
from crypto_tracker.core.orders import ExitReason, Fill, Order, Standing, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.store import run_tables as tables
from crypto_tracker.store.database import RUNS, open_engine, upgrade

FILE_NAME = "runs.db"

_SETUP_COLUMNS = (
    "run_id",
    "time_ms",
    "symbol",
    "strategy",
    "verdict",
    "reason",
    "readiness",
    "confidence",
    "rank",
    "fallback",
    "measured",
    "limit_value",
)
_ORDER_COLUMNS = (
    "run_id",
    "trade_group_id",
    "rung",
    "symbol",
    "strategy",
    "quote",
    "limit_price",
    "status",
    "placed_ms",
    "ended_ms",
    "reason",
)
_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was simulated, over what, under which parameters."""

    kind: str
    synthetic: bool
    base: str
    start_ms: int
    end_ms: int
    symbols: tuple[Symbol, ...]
    strategies: tuple[str, ...]
    configuration_version: str
    configuration: str
    code_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupRow:
    """A setup with the portfolio's answer, or a near miss."""

    time_ms: int
    symbol: Symbol
    strategy: str
    verdict: Verdict
    reason: Reason
    readiness: float
    confidence: float
    rank: int | None
    fallback: bool
    measured: float | None
    limit: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityStretch:
    """The equity over some bars of a run, amounts in 1e-8 quote."""

    time_ms: int  # open time of its last bar
    equity_e8: int  # at the close of that bar
    low_e8: int
    high_e8: int
    drawdown: float  # deepest fall in it from the highest point of the run so far


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRecords:
    """What the simulator told of its trades.

    Attributes
    ----------
    fills : in the order in which they happened
    trades : closed ones and those left open
    standings : how those left open stood, by trade group
    orders : the buys of all admitted setups, read once and as they are written
    """

    fills: Sequence[Fill] = ()
    trades: Sequence[Trade] = ()
    standings: Mapping[str, Standing] = field(default_factory=dict)
    orders: Iterable[Order] = ()


class RunStore:
    """The database of runs of a home folder."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, home: Path) -> "RunStore":
        """Open HOME/runs.db, made or migrated where needed."""
        engine = open_engine(home / FILE_NAME)
        upgrade(engine, RUNS)
        return cls(engine)

    @classmethod
    def open_to_read(cls, home: Path) -> "RunStore | None":
        """Open HOME/runs.db without writing to it; None where nothing was recorded yet."""
        path = home / FILE_NAME
        return cls(open_engine(path, read_only=True)) if path.is_file() else None

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def record(
        self,
        run: Run,
        *,
        state: str,
        recorded_at_ms: int,
        setups: Iterable[SetupRow],
        traded: TradeRecords,
        blocks: Iterable[tuple[int, str, bytes]] = (),
        equity: Iterable[EquityStretch] = (),
    ) -> int:
        """Write one run whole, in one transaction; returns its number."""
        with self._engine.begin() as connection:
            result = connection.execute(
                insert(tables.runs).values(
                    kind=run.kind,
                    state=state,
                    synthetic=run.synthetic,
                    base=run.base,
                    start_ms=run.start_ms,
                    end_ms=run.end_ms,
                    symbols=json.dumps([str(symbol) for symbol in run.symbols]),
                    strategies=json.dumps(list(run.strategies)),
                    configuration_version=run.configuration_version,
                    configuration=run.configuration,
                    code_version=run.code_version,
                    recorded_at_ms=recorded_at_ms,
                )
            )
            key = result.inserted_primary_key
            if key is None:  # pragma: no cover - SQLAlchemy gives it for every single-row insert
                raise RuntimeError("the database gave no number for the run")
            run_id = int(key[0])
            _insert_setups(connection, run_id, setups)
            _insert_trades(connection, run_id, traded)
            _insert_orders(connection, run_id, traded.orders)
            rows = [
                {"run_id": run_id, "time_ms": time_ms, "strategy": strategy, "block": block}
                for time_ms, strategy, block in blocks
            ]
            if rows:
                connection.execute(insert(tables.decision_blocks), rows)
            stretches = list(equity)
            if stretches:
                connection.execute(
                    insert(tables.equity), [_equity_values(run_id, stretch) for stretch in stretches]
                )
            totals = _total_values(run_id, traded.trades, stretches[-1:])
            connection.execute(insert(tables.totals).values(totals))
        return run_id

    def latest_covering(
        self, symbol: Symbol, strategy: str, time_ms: int, configuration_version: str, bases: Sequence[str]
    ) -> Row[Any] | None:
        """The newest run of a configuration in which `strategy` scanned `symbol` at a time, else None.

        Only runs on one of `bases` count: the base decides which bars a strategy scans.
        """
        query = (
            select(tables.runs)
            .where(
                tables.runs.c.configuration_version == configuration_version,
                tables.runs.c.start_ms < time_ms,
                tables.runs.c.end_ms >= time_ms,
                tables.runs.c.base.in_(bases),
            )
            .order_by(tables.runs.c.run_id.desc())
        )
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                if str(symbol) in json.loads(row.symbols) and strategy in json.loads(row.strategies):
                    return row
        return None

    def setup(self, run_id: int, symbol: Symbol, strategy: str, time_ms: int) -> Row[Any] | None:
        """The row of one setup or near miss of a run."""
        query = select(tables.setups).where(
            tables.setups.c.run_id == run_id,
            tables.setups.c.time_ms == time_ms,
            tables.setups.c.symbol == str(symbol),
            tables.setups.c.strategy == strategy,
        )
        with self._engine.connect() as connection:
            return connection.execute(query).first()

    def block(self, run_id: int, strategy: str, time_ms: int) -> bytes | None:
        """The compressed decisions of one close and strategy."""
        query = select(tables.decision_blocks.c.block).where(
            tables.decision_blocks.c.run_id == run_id,
            tables.decision_blocks.c.strategy == strategy,
            tables.decision_blocks.c.time_ms == time_ms,
        )
        with self._engine.connect() as connection:
            found = connection.execute(query).scalar_one_or_none()
        return None if found is None else bytes(found)

    def counts(self, run_id: int) -> Mapping[str, int]:
        """Rows of each table for one run."""
        listed = (
            tables.setups,
            tables.orders,
            tables.fills,
            tables.trades,
            tables.positions,
            tables.decision_blocks,
            tables.equity,
        )
        with self._engine.connect() as connection:
            return {
                table.name: int(
                    connection.execute(
                        select(func.count()).select_from(table).where(table.c.run_id == run_id)
                    ).scalar_one()
                )
                for table in listed
            }

    def trades(self, run_id: int) -> Sequence[Row[Any]]:
        """The trades of a run, in order of entry."""
        query = (
            select(tables.trades)
            .where(tables.trades.c.run_id == run_id)
            .order_by(tables.trades.c.entry_ms, tables.trades.c.trade_group_id)
        )
        with self._engine.connect() as connection:
            return list(connection.execute(query))

    def fills(self, run_id: int) -> Sequence[Row[Any]]:
        """The fills of a run, in the order in which they happened."""
        query = select(tables.fills).where(tables.fills.c.run_id == run_id).order_by(tables.fills.c.sequence)
        with self._engine.connect() as connection:
            return list(connection.execute(query))

    def forget(self, run_id: int) -> None:
        """Delete a run and all its records."""
        with self._engine.begin() as connection:
            connection.execute(delete(tables.runs).where(tables.runs.c.run_id == run_id))


def _insert_setups(connection: Connection, run_id: int, setups: Iterable[SetupRow]) -> None:
    """Write setups, of which there may be hundreds of thousands, straight through the driver.

    Verdicts and reasons are members of the very enums whose codes the table allows, and to look each of them
    up in that list would take longer than to write the rows. What must be known is still demanded.
    """
    marks = ", ".join("?" * len(_SETUP_COLUMNS))
    statement = f"INSERT INTO setups ({', '.join(_SETUP_COLUMNS)}) VALUES ({marks})"  # noqa: S608 - our own names
    codes = {int(reason): reason.code for reason in Reason}
    waiting = iter(setups)
    connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
    try:
        while rows := list(islice(waiting, _ROWS_AT_ONCE)):
            connection.exec_driver_sql(
                statement,
                [
                    (
                        run_id,
                        row.time_ms,
                        str(row.symbol),
                        row.strategy,
                        row.verdict.value,
                        codes[int(row.reason)],
                        row.readiness,
                        row.confidence,
                        row.rank,
                        row.fallback,
                        row.measured,
                        row.limit,
                    )
                    for row in rows
                ],
            )
    finally:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = OFF")


def _insert_trades(connection: Connection, run_id: int, traded: TradeRecords) -> None:
    """Write fills and trades, and how those left open stood."""
    if traded.fills:
        connection.execute(
            insert(tables.fills), [_fill_values(run_id, n, fill) for n, fill in enumerate(traded.fills)]
        )
    if traded.trades:
        connection.execute(insert(tables.trades), [_trade_values(run_id, trade) for trade in traded.trades])
    if traded.standings:
        connection.execute(
            insert(tables.positions),
            [_position_values(run_id, group, standing) for group, standing in traded.standings.items()],
        )


def _insert_orders(connection: Connection, run_id: int, orders: Iterable[Order]) -> None:
    """Write the buys of all setups, several for each trade, straight through the driver."""
    marks = ", ".join("?" * len(_ORDER_COLUMNS))
    statement = f"INSERT INTO orders ({', '.join(_ORDER_COLUMNS)}) VALUES ({marks})"  # noqa: S608 - our own names
    waiting = iter(orders)
    while rows := [_order_values(run_id, order) for order in islice(waiting, _ROWS_AT_ONCE)]:
        connection.exec_driver_sql(statement, rows)


def _order_values(run_id: int, order: Order) -> tuple[int | str | None, ...]:
    return (
        run_id,
        order.trade_group_id,
        order.rung,
        str(order.symbol),
        order.strategy,
        to_e8(order.quote),
        None if order.limit_price is None else format(order.limit_price, "f"),
        order.status,
        order.placed_ms,
        order.ended_ms,
        None if order.reason is None else order.reason.code,
    )


def _fill_values(run_id: int, sequence: int, fill: Fill) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "sequence": sequence,
        "trade_group_id": fill.trade_group_id,
        "symbol": str(fill.symbol),
        "strategy": fill.strategy,
        "kind": fill.kind.code,
        "rung": fill.rung,
        "bar_open_ms": to_ms(fill.bar_open_time),
        "price": fill.price,
        "quantity": fill.quantity,
        "notional_quote": fill.notional_quote,
        "fee_quote": fill.fee_quote,
        "slippage_quote": fill.slippage_quote,
        "exit_reason": fill.exit_reason.code,
        "volume_unknown": fill.volume_unknown,
    }


def _position_values(run_id: int, group: str, standing: Standing) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "trade_group_id": group,
        "open_quantity": standing.open_quantity,
        "mark_price": standing.mark_price,
        "stop_price": standing.stop_price,
        "target_price": standing.target_price,
        "trailing_armed": standing.trailing_armed,
        "due_ms": standing.due_ms,
        "exit_pending": None if standing.exit_pending is None else standing.exit_pending.code,
    }


def _trade_values(run_id: int, trade: Trade) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "trade_group_id": trade.trade_group_id,
        "symbol": str(trade.symbol),
        "strategy": trade.strategy,
        "decision_ms": to_ms(trade.decision_time),
        "entry_ms": to_ms(trade.entry_time),
        "exit_ms": None if trade.exit_time is None else to_ms(trade.exit_time),
        "entry_price": trade.entry_price,
        "exit_price": trade.exit_price,
        "quantity": trade.quantity,
        "invested_quote": trade.invested_quote,
        "fee_quote": trade.fee_quote,
        "slippage_quote": trade.slippage_quote,
        "pnl_quote": trade.pnl_quote,
        "return_net": trade.return_net,
        "exit_reason": trade.exit_reason.code,
        "entry_fills": trade.entry_fills,
        "ambiguous": trade.ambiguous,
        "fallback": trade.fallback,
    }


def _equity_values(run_id: int, stretch: EquityStretch) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "time_ms": stretch.time_ms,
        "equity_quote": to_decimal(stretch.equity_e8),
        "low_quote": to_decimal(stretch.low_e8),
        "high_quote": to_decimal(stretch.high_e8),
        "drawdown": stretch.drawdown,
    }


def _total_values(run_id: int, trades: Sequence[Trade], last: Sequence[EquityStretch]) -> dict[str, Any]:
    closed = [trade for trade in trades if trade.exit_reason is not ExitReason.NONE]
    judged = [trade for trade in closed if trade.exit_reason is not ExitReason.DATA_LOST]
    return {
        "run_id": run_id,
        "trades": len(closed),
        "judged": len(judged),
        "wins": sum(trade.pnl_quote > 0 for trade in judged),
        "open_trades": len(trades) - len(closed),
        "pnl_quote": sum((trade.pnl_quote for trade in closed), Decimal(0)),
        "invested_quote": sum((trade.invested_quote for trade in closed), Decimal(0)),
        "equity_quote": to_decimal(last[0].equity_e8) if last else None,
    }
