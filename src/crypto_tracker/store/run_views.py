"""What is read of recorded runs as a whole: the run, its trades and fills, and what became of every setup."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine, Row, bindparam, func, select, text, tuple_

from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.errors import DataError, StoreError
from crypto_tracker.core.money import to_e8
from crypto_tracker.core.orders import ExitReason, Fill, Order, Standing, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.store import run_tables as tables
from crypto_tracker.store.column_rows import (
    SETUP_KIND,
    EquityRows,
    SetupRows,
    TradeRows,
    parts,
    scans_of,
    setup_rows_of,
    trade_rows,
)
from crypto_tracker.store.database import RUNS, current_revision, open_engine, plain_columns, plain_integers
from crypto_tracker.store.runs import FILE_NAME, Run, RunStore, SetupRow
from crypto_tracker.store.trading_rows import fill_of, trade_of
from crypto_tracker.strategies.decisions import ScanBlock, decode_block

# Left alone, SQLite goes through all fills of the run by its primary key.
_FILLS_OF_GROUPS = (
    text(
        f"SELECT {', '.join(column.name for column in tables.fills.c)} "  # noqa: S608 - our own names
        "FROM fills INDEXED BY ix_fills_run_id_trade_group_id "
        "WHERE run_id = :run_id AND trade_group_id IN :groups"
    )
    .bindparams(bindparam("groups", expanding=True))
    .columns(*tables.fills.c)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupOutcome:
    """What became of a setup: `reason` is ACCEPTED where its order was placed and nothing ended it."""

    time_ms: int
    symbol: Symbol
    strategy: str
    reason: Reason
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run in a list: what it was, and what its trades add up to.

    `judged` are those with a result; `left_quote` is what those left open had made at the last close.
    """

    run_id: int
    run: Run
    state: str
    recorded_at_ms: int
    trades: int
    judged: int
    wins: int
    open_trades: int
    pnl_quote: Decimal
    invested_quote: Decimal
    left_quote: Decimal
    equity_quote: Decimal | None  # at the end; None where it was not kept


class RunReader:
    """Reads the runs of a home again and again; threads share it. An older file is brought up to date."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = Lock()
        self._engine: Engine | None = None
        self._closed = False

    @contextmanager
    def views(self) -> Iterator["RunViews"]:
        """The runs as they stand now, one state while the block runs; DataError where there are none."""
        with self._lock:
            if self._closed:
                raise StoreError(f"the runs under {self._home} were let go of: ask for them again")
            if self._engine is None:
                self._engine = _opened(self._home)
            engine = self._engine
        with engine.connect() as connection:
            yield RunViews(connection, self._home)

    def close(self) -> None:
        """Let go of the file for good; who reads it at this moment reads on."""
        with self._lock:
            engine, self._engine, self._closed = self._engine, None, True
        if engine is not None:
            engine.dispose()


def _opened(home: Path) -> Engine:
    path = home / FILE_NAME
    if not path.is_file():
        raise DataError(f"no run was recorded yet under {home}: `crypto-tracker backtest` records one")
    engine = open_engine(path, read_only=True)
    if current_revision(engine) != RUNS.head:
        RunStore.open(home).close()
    return engine


class RunViews:
    """The recorded runs of a home, read only and as they stood at one moment."""

    def __init__(self, connection: Connection, home: Path) -> None:
        self._connection = connection
        self._home = home

    @classmethod
    @contextmanager
    def open(cls, home: Path) -> Iterator["RunViews"]:
        """Read HOME/runs.db, brought up to date where it is old; raises DataError where there is none."""
        reader = RunReader(home)
        try:
            with reader.views() as views:
                yield views
        finally:
            reader.close()

    def runs(self, *, limit: int, before: int | None = None) -> list[RunSummary]:
        """The newest runs first; only those before a number."""
        columns = tables.runs.c
        query = (
            select(tables.runs, *(column for column in tables.totals.c if column.name != "run_id"))
            .join(tables.totals, tables.totals.c.run_id == columns.run_id)
            .order_by(columns.run_id.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(columns.run_id < before)
        return [_summary(row, self._left(row)) for row in self._connection.execute(query)]

    def _left(self, row: Row[Any]) -> Decimal:
        columns = tables.trades.c
        still = columns.exit_reason == ExitReason.NONE.code
        query = select(columns.pnl_quote).where(columns.run_id == row.run_id, still)
        made = self._connection.execute(query).scalars() if row.open_trades else ()
        return sum(made, Decimal(0))

    def summary(self, run_id: int) -> RunSummary:
        """One run with what its trades add up to; raises DataError where there is none of this number."""
        found = self.runs(limit=1, before=run_id + 1)
        if not found or found[0].run_id != run_id:
            self.run(run_id)
            raise DataError(f"run {run_id} under {self._home} has no totals: the file is damaged")
        return found[0]

    def run(self, run_id: int) -> Run:
        """One run; raises DataError where there is none of this number."""
        row = self._connection.execute(select(tables.runs).where(tables.runs.c.run_id == run_id)).first()
        if row is None:
            newest = self._connection.execute(select(func.max(tables.runs.c.run_id))).scalar_one()
            there = "none is recorded" if newest is None else f"the newest is {newest}"
            raise DataError(f"there is no run {run_id} under {self._home}: {there}")
        return _run(row)

    def configuration(self, version: str) -> str:
        """The canonical configuration of a version; raises DataError where no run carries it."""
        columns = tables.runs.c
        query = (
            select(columns.configuration)
            .where(columns.configuration_version == version)
            .order_by(columns.run_id.desc())
            .limit(1)
        )
        found: str | None = self._connection.execute(query).scalar_one_or_none()
        if found is None:
            raise DataError(f"no recorded run under {self._home} carries the configuration version {version}")
        return found

    def trades(self, run_id: int) -> list[Trade]:
        """The trades of a run in the order in which they closed, then those left open, by symbol."""
        columns = tables.trades.c
        query = (
            select(tables.trades)
            .where(columns.run_id == run_id)
            .order_by(columns.exit_ms.is_(None), columns.exit_ms, columns.symbol, columns.trade_group_id)
        )
        rows = self._connection.execute(query)
        still = ExitReason.NONE.code
        return [trade_of(row, exit_ms=None if row.exit_reason == still else row.exit_ms) for row in rows]

    def fills(self, run_id: int) -> list[Fill]:
        """The fills of a run in the order in which they happened."""
        columns = tables.fills.c
        query = select(tables.fills).where(columns.run_id == run_id).order_by(columns.sequence)
        return [fill_of(row) for row in self._connection.execute(query)]

    def trade_rows(self, run_id: int) -> tuple[TradeRows, list[str]]:
        """The closed trades of a run by columns, in the order in which they closed, and their groups.

        A trade's number is its place in this order.
        """
        *columns, groups = plain_columns(
            self._connection,
            "SELECT row_number() OVER (ORDER BY exit_ms, symbol, trade_group_id) - 1, symbol, strategy, "
            "exit_reason, entry_ms, exit_ms, pnl_quote, invested_quote, fee_quote, slippage_quote, "
            "return_net, CAST(entry_price AS REAL), CAST(exit_price AS REAL), trade_group_id "
            "FROM trades WHERE run_id = ? AND exit_reason != 'none' ORDER BY exit_ms, symbol, trade_group_id",
            (run_id,),
            width=14,
        )
        for place in range(6, 10):
            columns[place] = [to_e8(Decimal(text)) for text in columns[place]]
        return trade_rows(columns), list(groups)

    def open_trades(self, run_id: int) -> list[Trade]:
        """The trades that were left open, by symbol, marked at the last close of the run."""
        columns = tables.trades.c
        query = (
            select(tables.trades)
            .where(columns.run_id == run_id, columns.exit_reason == ExitReason.NONE.code)
            .order_by(columns.symbol, columns.trade_group_id)
        )
        return [trade_of(row, exit_ms=None) for row in self._connection.execute(query)]

    def trades_of(self, run_id: int, trade_group_ids: Sequence[str]) -> list[Trade]:
        """The trades of these groups in this order; raises DataError where there is none of a group."""
        columns = tables.trades.c
        found = {
            row.trade_group_id: trade_of(
                row, exit_ms=None if row.exit_reason == ExitReason.NONE.code else row.exit_ms
            )
            for part in parts(trade_group_ids)
            for row in self._connection.execute(
                select(tables.trades).where(columns.run_id == run_id, columns.trade_group_id.in_(part))
            )
        }
        for group in trade_group_ids:
            if group not in found:
                raise DataError(f"the run {run_id} under {self._home} has no trade {group}")
        return [found[group] for group in trade_group_ids]

    def fills_of(self, run_id: int, trade_group_ids: Sequence[str]) -> list[Fill]:
        """The fills of these groups in the order in which they happened."""
        rows = [
            row
            for part in parts(trade_group_ids)
            for row in self._connection.execute(_FILLS_OF_GROUPS, {"run_id": run_id, "groups": list(part)})
        ]
        return [fill_of(row) for row in sorted(rows, key=lambda row: row.sequence)]

    def standings(self, run_id: int) -> dict[str, Standing]:
        """How the trades that were left open stood, by group; none where that was not kept."""
        query = select(tables.positions).where(tables.positions.c.run_id == run_id)
        return {row.trade_group_id: _standing(row) for row in self._connection.execute(query)}

    def orders(self, run_id: int, trade_group_ids: Sequence[str]) -> dict[str, list[Order]]:
        """The buys of each group, the market entry, then its rungs; none where they were not kept."""
        found: dict[str, list[Order]] = {}
        columns = tables.orders.c
        for part in parts(trade_group_ids):
            query = (
                select(tables.orders)
                .where(columns.run_id == run_id, columns.trade_group_id.in_(part))
                .order_by(columns.trade_group_id, columns.rung)
            )
            for row in self._connection.execute(query):
                found.setdefault(row.trade_group_id, []).append(_order(row))
        return found

    def setup_rows(self, run_id: int) -> SetupRows:
        """Setups and near misses of a run by columns, by time, symbol and strategy."""
        columns = plain_columns(
            self._connection,
            f"SELECT time_ms, {SETUP_KIND} FROM setups WHERE run_id = ? "  # noqa: S608 - our own names
            "ORDER BY time_ms, symbol, strategy",
            (run_id,),
            width=2,
        )
        return setup_rows_of(columns)

    def setups_keyed(self, run_id: int, keys: Sequence[tuple[int, str, str]]) -> list[SetupRow]:
        """The setups and near misses of these times, symbols and strategies, in this order.

        Raises DataError where there is none of a key.
        """
        columns = tables.setups.c
        found = {
            (row.time_ms, row.symbol, row.strategy): _setup(row)
            for part in parts(keys)
            for row in self._connection.execute(
                select(tables.setups).where(
                    columns.run_id == run_id,
                    tuple_(columns.time_ms, columns.symbol, columns.strategy).in_(list(part)),
                )
            )
        }
        for key in keys:
            if key not in found:
                raise DataError(f"the run {run_id} under {self._home} has no setup {key}")
        return [found[key] for key in keys]

    def blocks(
        self,
        run_id: int,
        strategies: Sequence[str],
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[ScanBlock]:
        """The scans of some strategies (all where none is named) at closes in [start_ms, end_ms)."""
        columns = tables.decision_blocks.c
        query = select(columns.block).where(columns.run_id == run_id)
        if strategies:
            query = query.where(scans_of(columns.strategy, strategies))
        if start_ms is not None:
            query = query.where(columns.time_ms >= start_ms)
        if end_ms is not None:
            query = query.where(columns.time_ms < end_ms)
        key = (columns.time_ms, columns.strategy)
        query = query.order_by(*([column.desc() for column in key] if newest_first else key)).limit(limit)
        for row in self._connection.execute(query, execution_options={"yield_per": 64}):
            yield decode_block(row.block)

    def encoded_blocks(self, run_id: int, strategy: str, times_ms: Sequence[int]) -> list[tuple[int, bytes]]:
        """The scans of a strategy at these closes as they are stored, with their closes, in order of time."""
        columns = tables.decision_blocks.c
        found = {
            row.time_ms: bytes(row.block)
            for part in parts(times_ms)
            for row in self._connection.execute(
                select(columns.time_ms, columns.block).where(
                    columns.run_id == run_id, columns.strategy == strategy, columns.time_ms.in_(part)
                )
            )
        }
        return sorted(found.items())

    def equity(self, run_id: int) -> EquityRows:
        """The equity of a run in some thousand stretches; no row where it was not kept."""
        numbers = plain_integers(
            self._connection,
            "SELECT time_ms, equity_quote, low_quote, high_quote FROM equity WHERE run_id = ? "
            "ORDER BY time_ms",
            (run_id,),
            width=4,
        )
        time_ms, equity, low, high = numbers.T.copy()
        return EquityRows(time_ms=time_ms, equity_e8=equity, low_e8=low, high_e8=high)

    def max_drawdown(self, run_id: int) -> float | None:
        """Deepest fall of the equity from its highest point so far, a fraction; None where it is unknown."""
        query = select(func.max(tables.equity.c.drawdown)).where(tables.equity.c.run_id == run_id)
        found: float | None = self._connection.execute(query).scalar_one()
        return found

    def setups(self, run_id: int) -> Iterator[SetupOutcome]:
        """What became of every setup of a run, near misses left out, in order of time."""
        columns = tables.setups.c
        query = (
            select(columns.time_ms, columns.symbol, columns.strategy, columns.reason, columns.confidence)
            .where(columns.run_id == run_id, columns.verdict != Verdict.NEAR_MISS.value)
            .order_by(columns.time_ms, columns.symbol, columns.strategy)
        )
        symbols: dict[str, Symbol] = {}
        for row in self._connection.execute(query, execution_options={"yield_per": 5_000}):
            yield SetupOutcome(
                time_ms=row.time_ms,
                symbol=symbols.setdefault(row.symbol, Symbol.parse(row.symbol)),
                strategy=row.strategy,
                reason=Reason[row.reason.upper()],
                confidence=row.confidence,
            )


def _run(row: Row[Any]) -> Run:
    return Run(
        kind=row.kind,
        synthetic=row.synthetic,
        base=row.base,
        start_ms=row.start_ms,
        end_ms=row.end_ms,
        symbols=tuple(map(Symbol.parse, json.loads(row.symbols))),
        strategies=tuple(json.loads(row.strategies)),
        configuration_version=row.configuration_version,
        configuration=row.configuration,
        code_version=row.code_version,
    )


def _standing(row: Row[Any]) -> Standing:
    return Standing(
        open_quantity=row.open_quantity,
        mark_price=row.mark_price,
        stop_price=row.stop_price,
        target_price=row.target_price,
        trailing_armed=row.trailing_armed,
        due_ms=row.due_ms,
        exit_pending=None if row.exit_pending is None else ExitReason[row.exit_pending.upper()],
    )


def _order(row: Row[Any]) -> Order:
    return Order(
        order_id=f"{row.trade_group_id}/{row.rung}",
        trade_group_id=row.trade_group_id,
        symbol=Symbol.parse(row.symbol),
        strategy=row.strategy,
        kind="rung" if row.rung else "market",
        rung=row.rung,
        quote=row.quote,
        limit_price=row.limit_price,
        status=row.status,
        placed_ms=row.placed_ms,
        ended_ms=row.ended_ms,
        reason=None if row.reason is None else Reason[row.reason.upper()],
    )


def _setup(row: Row[Any]) -> SetupRow:
    return SetupRow(
        time_ms=row.time_ms,
        symbol=Symbol.parse(row.symbol),
        strategy=row.strategy,
        verdict=Verdict(row.verdict),
        reason=Reason[row.reason.upper()],
        readiness=row.readiness,
        confidence=row.confidence,
        rank=row.rank,
        fallback=row.fallback,
        measured=row.measured,
        limit=row.limit_value,
    )


def _summary(row: Row[Any], left_quote: Decimal) -> RunSummary:
    return RunSummary(
        run_id=row.run_id,
        run=_run(row),
        state=row.state,
        recorded_at_ms=row.recorded_at_ms,
        trades=row.trades,
        judged=row.judged,
        wins=row.wins,
        open_trades=row.open_trades,
        pnl_quote=row.pnl_quote,
        invested_quote=row.invested_quote,
        left_quote=left_quote,
        equity_quote=row.equity_quote,
    )
