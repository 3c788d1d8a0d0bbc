"""A run of a few hourly bars made by hand: trades, equities and decisions as a test states them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, Timeframe, to_ms
from crypto_tracker.simulation.records import (
    DECISION_DTYPE,
    FILL_DTYPE,
    HOLDING_DTYPE,
    ORDER_DTYPE,
    TRADE_DTYPE,
    Scenario,
    SimulationResult,
    no_commands,
)
from crypto_tracker.simulation.report import About
from crypto_tracker.strategies.base import SETUP_DTYPE
from tests.simulation.rules import instruments, spec_rules

E8 = 100_000_000
START_MS = to_ms(datetime(2025, 8, 1, tzinfo=UTC))
BTC, ETH = Symbol("BTC", "USD"), Symbol("ETH", "USD")
STRATEGIES = ("DCA", "SWING", "CHANNEL")
Rows = np.ndarray[Any, Any]


ABOUT = About(
    run_id=1,
    start=datetime(2025, 8, 1, tzinfo=UTC),
    end=datetime(2025, 8, 2, tzinfo=UTC),
    base="1h",
    symbols=("BTC/USD", "ETH/USD"),
    providers={"BTC/USD": "file", "ETH/USD": "file"},
    reference="BTC/USD",
    strategies=STRATEGIES,
    intrabar="pessimistic",
    close_at_end=False,
    bars=48,
    synthetic=False,
    configuration_version="0123456789ab",
    code_version="0.1.0",
    data_hash="0123456789abcdef",
    seed=None,
    notes=(),
    scans={"DCA": {"drop_too_small": 1_234, "accepted": 5}},
    near_misses=0,
    seconds={"compile": 0.0, "load": 0.1, "features": 0.2, "simulate": 0.3, "measure": 0.1},
)


def closed(*rows: tuple[str, str, ExitReason, float, float]) -> Rows:
    """Trades as (symbol, strategy, exit, invested, P&L); each paid 1 of fees and 0.5 of slippage."""
    trades = np.zeros(len(rows), dtype=TRADE_DTYPE)
    for row, (symbol, strategy, reason, invested, pnl) in zip(trades, rows, strict=True):
        row["symbol"] = ("BTC", "ETH").index(symbol)
        row["strategy"] = STRATEGIES.index(strategy)
        row["exit_reason"] = reason
        row["invested_e8"], row["pnl_e8"] = round(invested * E8), round(pnl * E8)
        row["fee_e8"], row["slippage_e8"] = E8, E8 // 2
    return trades


def closed_with(pnl: Sequence[float] | Rows, *, invested: float) -> Rows:
    """Trades of BTC by DCA, each with this P&L on the same investment, in the order of closing."""
    return closed(*(("BTC", "DCA", ExitReason.TIME_EXIT, invested, float(each)) for each in pnl))


def curve(*values: float) -> Rows:
    return np.array(values) * E8


def run(
    trades: Rows,
    *,
    equity: Sequence[float] = (10_000.0,),
    cash: Sequence[float] | None = None,
    reserved: Sequence[float] | None = None,
    decisions: Sequence[tuple[int, Reason, Reason]] = (),
    close: Sequence[Sequence[float]] | None = None,
    open_trades: Rows | None = None,
) -> tuple[Scenario, SimulationResult]:
    """A run of hourly bars with these trades and amounts at each close."""
    bars = len(equity)
    closes = np.full((bars, 2), 100.0) if close is None else np.array(close)
    panel = Panel(
        timeframe=Timeframe.H1,
        symbols=(BTC, ETH),
        open_time_ms=START_MS + np.arange(bars) * HOUR_MS,
        open=closes,
        high=closes,
        low=closes,
        close=closes,
        volume=closes,
        covered=np.ones(closes.shape, dtype=np.bool_),
    )
    setups = np.zeros(len(decisions), dtype=SETUP_DTYPE)
    decided = np.zeros(len(decisions), dtype=DECISION_DTYPE)
    for setup, row, (kind, reason, end) in zip(setups, decided, decisions, strict=True):
        setup["kind"], row["reason"], row["end"] = kind, reason, end
    # The last one belongs to a trade that is still open.
    fills = np.zeros(2 * len(trades) + 1, dtype=FILL_DTYPE)
    fills["fee_e8"], fills["slippage_e8"] = E8 // 2, E8 // 4
    scenario = Scenario(
        panel=panel,
        reference=None,
        instruments=instruments((BTC, ETH)),
        strategies=STRATEGIES,
        enabled=(True, True, True),
        setups=setups,
        commands=no_commands(),
        rules=spec_rules(),
    )
    result = SimulationResult(
        fills=fills,
        trades=trades,
        open_trades=trades[:0] if open_trades is None else open_trades,
        holdings=np.zeros(0 if open_trades is None else len(open_trades), dtype=HOLDING_DTYPE),
        orders=np.zeros(0, dtype=ORDER_DTYPE),
        decisions=decided,
        equity_e8=curve(*equity).astype(np.int64),
        cash_e8=curve(*(equity if cash is None else cash)).astype(np.int64),
        reserved_e8=curve(*([0.0] * bars if reserved is None else reserved)).astype(np.int64),
        regime=np.zeros(bars, dtype=np.int8),
    )
    return scenario, result
