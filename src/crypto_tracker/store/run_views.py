"""What is read of recorded runs as a whole: the run, its trades and fills, and what became of every setup."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select

from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.orders import ExitReason, Fill, FillKind, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.store import run_tables as tables
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.runs import FILE_NAME, Run
from crypto_tracker.store.trading_rows import trade_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupOutcome:
    """What became of a setup: `reason` is ACCEPTED where its order was placed and nothing ended it."""

    time_ms: int
    symbol: Symbol
    strategy: str
    reason: Reason
    confidence: float


class RunViews:
    """The recorded runs of a home, read only and as they stood at one moment."""

    def __init__(self, connection: Connection, home: Path) -> None:
        self._connection = connection
        self._home = home

    @classmethod
    @contextmanager
    def open(cls, home: Path) -> Iterator["RunViews"]:
        """Read HOME/runs.db; raises DataError where nothing was recorded yet."""
        path = home / FILE_NAME
        if not path.is_file():
            raise DataError(f"no run was recorded yet under {home}: `crypto-tracker backtest` records one")
        engine = open_engine(path, read_only=True)
        try:
            with engine.connect() as connection:
                yield cls(connection, home)
        finally:
            engine.dispose()

    def run(self, run_id: int) -> Run:
        """One run; raises DataError where there is none of this number."""
        row = self._connection.execute(select(tables.runs).where(tables.runs.c.run_id == run_id)).first()
        if row is None:
            newest = self._connection.execute(select(func.max(tables.runs.c.run_id))).scalar_one()
            there = "none is recorded" if newest is None else f"the newest is {newest}"
            raise DataError(f"there is no run {run_id} under {self._home}: {there}")
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
        return [
            Fill(
                trade_group_id=row.trade_group_id,
                symbol=Symbol.parse(row.symbol),
                strategy=row.strategy,
                kind=FillKind[row.kind.upper()],
                rung=row.rung,
                bar_open_time=from_ms(row.bar_open_ms),
                price=row.price,
                quantity=row.quantity,
                notional_quote=row.notional_quote,
                fee_quote=row.fee_quote,
                slippage_quote=row.slippage_quote,
                exit_reason=ExitReason[row.exit_reason.upper()],
                volume_unknown=row.volume_unknown,
            )
            for row in self._connection.execute(query)
        ]

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
