"""From rows of a trading account's tables to the records that they hold."""

from typing import Any

from sqlalchemy import Row

from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.orders import ExitReason, Fill, FillKind, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.store.trading_records import OrderRecord, PositionRecord, SetupRecord


def trade_of(row: Row[Any], exit_ms: int | None, exit_reason: ExitReason) -> Trade:
    """One row of `trades`, or of `positions`, which has neither exit time nor exit reason."""
    return Trade(
        trade_group_id=row.trade_group_id,
        symbol=Symbol.parse(row.symbol),
        strategy=row.strategy,
        decision_time=from_ms(row.decision_ms),
        entry_time=from_ms(row.entry_ms),
        exit_time=None if exit_ms is None else from_ms(exit_ms),
        entry_price=row.entry_price,
        exit_price=row.exit_price,
        quantity=row.quantity,
        invested_quote=row.invested_quote,
        fee_quote=row.fee_quote,
        slippage_quote=row.slippage_quote,
        pnl_quote=row.pnl_quote,
        return_net=row.return_net,
        exit_reason=exit_reason,
        entry_fills=row.entry_fills,
        ambiguous=row.ambiguous,
        fallback=row.fallback,
    )


def position_of(row: Row[Any]) -> PositionRecord:
    """One row of `positions`."""
    return PositionRecord(
        trade=trade_of(row, None, ExitReason.NONE),
        open_quantity=row.open_quantity,
        mark_price=row.mark_price,
        stop_price=row.stop_price,
        target_price=row.target_price,
        trailing_armed=row.trailing_armed,
        due_ms=row.due_ms,
        exit_pending=None if row.exit_pending is None else ExitReason[row.exit_pending.upper()],
        version=row.version,
    )


def order_of(row: Row[Any]) -> OrderRecord:
    """One row of `orders`."""
    return OrderRecord(
        order_id=row.order_id,
        trade_group_id=row.trade_group_id,
        symbol=Symbol.parse(row.symbol),
        strategy=row.strategy,
        kind=row.kind,
        rung=row.rung,
        quote=row.quote,
        limit_price=row.limit_price,
        status=row.status,
        placed_ms=row.placed_ms,
        ended_ms=row.ended_ms,
        reason=None if row.reason is None else Reason[row.reason.upper()],
        version=row.version,
    )


def fill_of(row: Row[Any]) -> Fill:
    """One row of `fills`."""
    return Fill(
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


def setup_of(row: Row[Any]) -> SetupRecord:
    """One row of `setups`."""
    return SetupRecord(
        setup_number=row.setup_number,
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
        version=row.version,
    )
