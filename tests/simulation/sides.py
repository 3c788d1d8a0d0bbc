"""Sides of a comparison made by hand: trades and equities as a test states them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.orders import ExitReason, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, from_ms, to_ms
from crypto_tracker.simulation.evidence import Answer, Days, Evidence, Setup, Source, days_of, setup_of
from crypto_tracker.simulation.ledger import trade_group_id

START_MS = to_ms(datetime(2025, 8, 1, tzinfo=UTC))
BTC, ETH = Symbol("BTC", "USD"), Symbol("ETH", "USD")
STRATEGIES = ("DCA", "SWING", "CHANNEL")


def traded(
    symbol: Symbol,
    strategy: str,
    decided_day: float,
    pnl: float,
    *,
    closed_day: float | None = None,
    invested: float = 1_000.0,
    reason: ExitReason = ExitReason.TAKE_PROFIT,
    fees: float = 6.0,
    slippage: float = 1.5,
) -> Trade:
    """A trade decided at a day of the span (1.5 is noon of the second), closed an hour later if not said."""
    decided_ms = START_MS + round(decided_day * DAY_MS)
    closed_ms = decided_ms + HOUR_MS if closed_day is None else START_MS + round(closed_day * DAY_MS)
    open_now = reason is ExitReason.NONE
    return Trade(
        trade_group_id=trade_group_id(symbol, strategy, from_ms(decided_ms)),
        symbol=symbol,
        strategy=strategy,
        decision_time=from_ms(decided_ms),
        entry_time=from_ms(decided_ms),
        exit_time=None if open_now else from_ms(closed_ms),
        entry_price=Decimal(100),
        exit_price=None if open_now else Decimal(101),
        quantity=Decimal(10),
        invested_quote=Decimal(str(invested)),
        fee_quote=Decimal(str(fees)),
        slippage_quote=Decimal(str(slippage)),
        pnl_quote=Decimal(str(pnl)),
        return_net=pnl / invested,
        exit_reason=reason,
        entry_fills=1,
        ambiguous=False,
        fallback=False,
    )


def daily(*equity: float, start: float = 10_000.0) -> Days:
    """The equity at the end of each day from the first of August, with nothing between."""
    times = START_MS + np.arange(len(equity)) * DAY_MS
    return days_of(times, np.array(equity, dtype=np.float64), start, "UTC")


def gained(returns: Sequence[float], start: float = 10_000.0) -> Days:
    """The equity of days with these returns."""
    return daily(*(start * np.cumprod(1.0 + np.array(returns))), start=start)


def side(
    name: str = "A",
    trades: Sequence[Trade] = (),
    *,
    days: Days | None = None,
    refused: dict[Setup, Reason] | None = None,
    confidence: float = 0.7,
    **changes: Any,
) -> Evidence:
    """A side that traded BTC and ETH; every trade has its setup, and those that were refused have theirs."""
    days = daily(10_000.0, 10_000.0) if days is None else days
    answers = {setup_of(trade): Answer(Reason.ACCEPTED, confidence) for trade in trades}
    answers |= {setup: Answer(reason, confidence) for setup, reason in (refused or {}).items()}
    made = Evidence(
        name=name,
        source=Source.RUN,
        start_ms=START_MS,
        end_ms=START_MS + len(days) * DAY_MS,
        base="1m",
        symbols=(BTC, ETH),
        strategies=STRATEGIES,
        synthetic=False,
        timezone="UTC",
        capital_quote=10_000.0,
        configuration={"limits": {"min_confidence": 0.45}},
        configuration_version="0123456789ab",
        code_version="0.1.0",
        data_hash=None,
        trades=tuple(trade for trade in trades if trade.exit_time is not None),
        open_trades=tuple(trade for trade in trades if trade.exit_time is None),
        running=(),
        carried=0,
        answers=answers,
        days=days,
    )
    return replace(made, **changes)
