"""What the tests of trading accounts share: an opening, and steps made by hand that write to every table."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import select

from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.orders import ExitReason, Fill, FillKind, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe, to_ms
from crypto_tracker.store import trading_tables as tables
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.trading import TradingStore
from crypto_tracker.store.trading_journal import FILE_NAME
from crypto_tracker.store.trading_records import (
    REFERENCE,
    TRADED,
    Account,
    AppliedCommand,
    CommandResult,
    ConfigurationRow,
    Doubt,
    Halt,
    Opening,
    OrderRecord,
    PositionRecord,
    SeenBlock,
    SetupRecord,
    StepRecord,
)

BTC, ETH, SOL = Symbol("BTC", "USDT"), Symbol("ETH", "USDT"), Symbol("SOL", "USDT")
START = to_ms(datetime(2025, 8, 1, 23, 55, tzinfo=UTC))
RECORDED = to_ms(datetime(2025, 8, 2, 9, 0, tzinfo=UTC))
FIRST = ConfigurationRow(version="v1", canonical='{"a":1}', document='{"a":1,"b":2}')
SECOND = ConfigurationRow(version="v2", canonical='{"a":2}', document='{"a":2,"b":2}')
ACCOUNT = Account(
    kind="replay",
    symbols=(ETH, SOL),
    reference=BTC,
    providers={BTC: "binance", ETH: "binance", SOL: "kraken"},
    strategies=("DCA", "SWING"),
    capital_quote=Decimal("10000.00000001"),
    start_ms=START,
    end_ms=START + 1_000 * MINUTE_MS,
    created_at_ms=RECORDED,
    code_version="1.0",
)
OPENING = Opening(
    account=ACCOUNT,
    configuration=FIRST,
    history=[
        SeenBlock(part=TRADED, timeframe=Timeframe.M5, time_ms=START - 300_000, block=b"five"),
        SeenBlock(part=REFERENCE, timeframe=Timeframe.M1, time_ms=START - 60_000, block=b"one"),
    ],
    state=b"state 0",
)


def minute(number: int) -> int:
    """Open time of the n-th minute after the start."""
    return START + number * MINUTE_MS


def plain_step(number: int, **changed: Any) -> StepRecord:
    """A minute in which nothing happens."""
    values: dict[str, Any] = {
        "time_ms": minute(number),
        "version": "v1",
        "seen": bytes([number % 256, 7]),
        "bars_digest": bytes([number % 256, 8]),
        "equity_quote": Decimal("10000.00000001") + number,
        "cash_quote": Decimal("9000.5"),
        "reserved_quote": Decimal("0.00000001"),
        "regime": Regime.NORMAL,
        "volatility": None,
        "state": f"state {number + 1}".encode(),
        "next_version": "v1",
    }
    return StepRecord(**(values | changed))


def setup_of(number: int, setup_number: int | None, **changed: Any) -> SetupRecord:
    """A setup at the close of the n-th minute; without a number a near miss."""
    values: dict[str, Any] = {
        "setup_number": setup_number,
        "time_ms": minute(number + 1),
        "symbol": ETH if setup_number is None else SOL,
        "strategy": "DCA",
        "verdict": Verdict.NEAR_MISS if setup_number is None else Verdict.TAKE,
        "reason": Reason.DROP_TOO_SMALL if setup_number is None else Reason.ACCEPTED,
        "readiness": 92.5,
        "confidence": 0.75,
        "rank": None if setup_number is None else 0,
        "fallback": setup_number is not None,
        "measured": -0.031,
        "limit": -0.04,
        "version": "v1",
    }
    return SetupRecord(**(values | changed))


def order_of(number: int, rung: int, **changed: Any) -> OrderRecord:
    """A buy of the trade that was decided at the close of the n-th minute."""
    group = group_of(number)
    values: dict[str, Any] = {
        "order_id": f"{group}/{rung}",
        "trade_group_id": group,
        "symbol": SOL,
        "strategy": "DCA",
        "kind": "rung" if rung else "market",
        "rung": rung,
        "quote": Decimal("123.45678901"),
        "limit_price": None,
        "status": "open",
        "placed_ms": minute(number + 1),
        "ended_ms": None,
        "reason": None,
        "version": "v1",
    }
    return OrderRecord(**(values | changed))


def group_of(number: int) -> str:
    """The name of the trade that was decided at the close of the n-th minute."""
    return f"{SOL}-DCA-{moment(number + 1):%Y%m%dT%H%M%SZ}"


def moment(number: int) -> datetime:
    """The n-th minute as a datetime."""
    return datetime(2025, 8, 1, 23, 55, tzinfo=UTC) + timedelta(minutes=number)


def fill_of(number: int, decided: int, kind: FillKind, **changed: Any) -> Fill:
    """An execution in the n-th minute."""
    values: dict[str, Any] = {
        "trade_group_id": group_of(decided),
        "symbol": SOL,
        "strategy": "DCA",
        "kind": kind,
        "rung": 0,
        "bar_open_time": moment(number),
        "price": Decimal("0.0000123456789012345678"),
        "quantity": Decimal("123456789.000001"),
        "notional_quote": Decimal("1524.15787653"),
        "fee_quote": Decimal("4.57247363"),
        "slippage_quote": Decimal("0.00000001"),
        "exit_reason": ExitReason.TAKE_PROFIT if kind is FillKind.EXIT else ExitReason.NONE,
        "volume_unknown": False,
    }
    return Fill(**(values | changed))


def trade_of(decided: int, closed: int | None, **changed: Any) -> Trade:
    """A trade, open where `closed` is None."""
    values: dict[str, Any] = {
        "trade_group_id": group_of(decided),
        "symbol": SOL,
        "strategy": "DCA",
        "decision_time": moment(decided + 1),
        "entry_time": moment(decided + 1),
        "exit_time": None if closed is None else moment(closed),
        "entry_price": Decimal("0.0000123456789012345678"),
        "exit_price": None if closed is None else Decimal("0.000013"),
        "quantity": Decimal("123456789.000001"),
        "invested_quote": Decimal("1524.15787653"),
        "fee_quote": Decimal("4.57247363"),
        "slippage_quote": Decimal("0.00000001"),
        "pnl_quote": Decimal("-4.57247363"),
        "return_net": -0.003,
        "exit_reason": ExitReason.NONE if closed is None else ExitReason.TAKE_PROFIT,
        "entry_fills": 1,
        "ambiguous": False,
        "fallback": True,
    }
    return Trade(**(values | changed))


def position_of(decided: int, mark: float, **changed: Any) -> PositionRecord:
    """The position of a trade at a mark."""
    values: dict[str, Any] = {
        "trade": trade_of(decided, None),
        "open_quantity": Decimal("123456789.000001"),
        "mark_price": mark,
        "stop_price": mark * 0.9,
        "target_price": mark * 1.1,
        "trailing_armed": False,
        "due_ms": minute(5_000),
        "exit_pending": None,
        "version": "v1",
    }
    return PositionRecord(**(values | changed))


def eventful_steps() -> list[StepRecord]:
    """Ten minutes that write to every table, over midnight, with a change of the configuration."""
    steps = [plain_step(number) for number in range(10)]
    steps[1] = plain_step(
        1,
        blocks=[(minute(2), "DCA", b"scan"), (minute(2), "SWING", b"scan too")],
        setups=[setup_of(1, 0), setup_of(1, None)],
        orders=[order_of(1, 0), order_of(1, 1)],
        medians=[(SOL, minute(5) - 86_400_000, 0.0125), (ETH, minute(5) - 86_400_000, float("nan"))],
        doubts=[Doubt(symbol=SOL, score=0.5, score_min=0.8), Doubt(symbol=ETH, score=0.25, score_min=0.8)],
        volatility=0.04,
    )
    steps[2] = plain_step(
        2,
        fills=[fill_of(2, 1, FillKind.ENTRY)],
        orders=[
            order_of(1, 0, status="filled", ended_ms=minute(3)),
            order_of(1, 1, limit_price=Decimal("0.0000120")),
        ],
        positions=[position_of(1, 0.0000125)],
    )
    steps[3] = plain_step(3, positions=[position_of(1, 0.0000127, exit_pending=ExitReason.MANUAL)])
    steps[4] = plain_step(
        4,
        rows=[
            SeenBlock(part=TRADED, timeframe=Timeframe.M5, time_ms=minute(0), block=b"5m"),
            SeenBlock(part=TRADED, timeframe=Timeframe.H1, time_ms=minute(-55), block=b"1h"),
            SeenBlock(part=REFERENCE, timeframe=Timeframe.D1, time_ms=minute(5) - 86_400_000, block=b"1d"),
        ],
        fills=[
            fill_of(4, 1, FillKind.EXIT, price=Decimal("0.000013")),
            fill_of(4, 1, FillKind.EXIT, price=Decimal("0.000014")),
        ],
        trades=[trade_of(1, 4)],
        trade_versions=["v1"],
        orders=[order_of(1, 1, status="cancelled", ended_ms=minute(5), limit_price=Decimal("0.000012"))],
        positions=[],
    )
    steps[5] = plain_step(
        5,
        version="v2",
        next_version="v2",
        configuration=SECOND,
        state_before=b"state 5",
        healed=[SeenBlock(part=TRADED, timeframe=Timeframe.M5, time_ms=minute(5), block=b"late")],
        commands=[
            AppliedCommand(kind="configure", symbol=None, strategy=None, value="v2", command_id="c1"),
            AppliedCommand(kind="close", symbol=SOL, strategy=None, value="manual", command_id="c2"),
            AppliedCommand(kind="strategy_off", symbol=None, strategy="DCA", value=None, command_id="c3"),
        ],
        results=[
            CommandResult(
                command_id="c1", kind="configure", status="applied", sentence="v2 holds from now on"
            ),
            CommandResult(command_id="c4", kind="close", status="refused", sentence="nothing is held"),
        ],
    )
    for number in (6, 7, 8, 9):
        steps[number] = replace(steps[number], version="v2", next_version="v2")
    steps[7] = replace(
        steps[7],
        halts=[Halt(cause="scan_failed", sentence="DCA raised an error", strategy="DCA")],
        setups=[setup_of(7, 1, version="v2", verdict=Verdict.SKIP, reason=Reason.NO_CASH)],
        regime=Regime.PANIC,
    )
    return steps


Content = dict[str, list[tuple[Any, ...]]]


def everything(folder: Path, *, clock_times: bool = True) -> Content:
    """All rows of an account by table; without clock times and sessions where they are not wanted."""
    engine = open_engine(folder / FILE_NAME, read_only=True)
    try:
        with engine.connect() as connection:
            return {
                table.name: [
                    tuple(row)
                    for row in connection.execute(
                        select(
                            *(each for each in table.columns if clock_times or each.name != "recorded_at_ms")
                        ).order_by(*table.primary_key)
                    )
                ]
                for table in tables.metadata.sorted_tables
                if clock_times or table is not tables.sessions
            }
    finally:
        engine.dispose()


@cache
def _empty_database() -> Path:
    """A database that has been migrated once for all tests: it takes a moment."""
    folder = tempfile.TemporaryDirectory()
    _KEPT.append(folder)
    with TradingStore.open(Path(folder.name), wait_ms=0):
        pass
    return Path(folder.name) / FILE_NAME


_KEPT: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


@contextmanager
def trading(folder: Path, **options: Any) -> Iterator[TradingStore]:
    """The store of the account under `folder`. A new one begins with a copy of an empty database."""
    if not (folder / FILE_NAME).exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(_empty_database(), folder / FILE_NAME)
    with TradingStore.open(folder, wait_ms=options.pop("wait_ms", 0), **options) as store:
        yield store


def write(store: TradingStore, steps: list[StepRecord]) -> None:
    """Commit these steps."""
    for step in steps:
        store.commit(step, recorded_at_ms=RECORDED)
