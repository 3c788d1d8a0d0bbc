"""Records as the documents that `--json` writes."""

from typing import Any

from crypto_tracker.core.orders import Trade


def trade_document(trade: Trade) -> dict[str, Any]:
    """One trade as JSON has it; an open one has no exit time and no exit reason yet."""
    return {
        "trade_group_id": trade.trade_group_id,
        "symbol": str(trade.symbol),
        "strategy": trade.strategy,
        "decision_time": trade.decision_time,
        "entry_time": trade.entry_time,
        "exit_time": trade.exit_time,
        "entry_price": float(trade.entry_price),
        "exit_price": None if trade.exit_price is None else float(trade.exit_price),
        "quantity": float(trade.quantity),
        "invested_quote": float(trade.invested_quote),
        "exit_reason": None if trade.exit_time is None else trade.exit_reason.code,
        "entry_fills": trade.entry_fills,
        "fee_quote": float(trade.fee_quote),
        "slippage_quote": float(trade.slippage_quote),
        "pnl_quote": float(trade.pnl_quote),
        "return_net": trade.return_net,
        "ambiguous": trade.ambiguous,
        "fallback": trade.fallback,
    }
