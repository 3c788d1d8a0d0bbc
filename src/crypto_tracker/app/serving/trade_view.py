"""Trades, orders, fills and positions of records as pages show them; accounts and recorded runs share it."""

from collections.abc import Sequence
from decimal import Decimal

from crypto_tracker.config.instruments import instruments
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.decisions import Tier
from crypto_tracker.core.orders import ExitReason, Fill, Order, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.desk.views import trades as views
from crypto_tracker.store.trading_records import PositionRecord


def tiers_of(configuration: Configuration, symbols: Sequence[Symbol]) -> dict[Symbol, str]:
    """The tier of every symbol, by its name in lower case."""
    known = instruments(configuration, symbols)
    return {
        symbol: Tier(int(code)).name.lower() for symbol, code in zip(known.symbols, known.tier, strict=True)
    }


def trade_view(trade: Trade, *, tier: str, version: str | None, until_ms: int) -> views.Trade:
    """A trade; one that is open is held up to `until_ms`."""
    entry_ms = to_ms(trade.entry_time)
    exit_ms = None if trade.exit_time is None else to_ms(trade.exit_time)
    held_until_ms = until_ms if exit_ms is None else exit_ms
    reason = trade.exit_reason
    return views.Trade(
        trade_group_id=trade.trade_group_id,
        symbol=str(trade.symbol),
        strategy=trade.strategy,
        tier=tier,
        decision_ms=to_ms(trade.decision_time),
        entry_ms=entry_ms,
        exit_ms=exit_ms,
        held_ms=max(held_until_ms - entry_ms, 0),
        entry_price=float(trade.entry_price),
        exit_price=_float(trade.exit_price),
        quantity=float(trade.quantity),
        invested_quote=float(trade.invested_quote),
        pnl_quote=float(trade.pnl_quote),
        return_net=trade.return_net,
        fee_quote=float(trade.fee_quote),
        slippage_quote=float(trade.slippage_quote),
        exit_reason=None if reason is ExitReason.NONE else reason.code,
        entry_fills=trade.entry_fills,
        ambiguous=trade.ambiguous,
        fallback=trade.fallback,
        configuration_version=version,
    )


def order_view(order: Order) -> views.Order:
    """One buy of a ladder."""
    return views.Order.model_validate(
        {
            "order_id": order.order_id,
            "kind": order.kind,
            "rung": order.rung,
            "quote": float(order.quote),
            "limit_price": _float(order.limit_price),
            "status": order.status,
            "placed_ms": order.placed_ms,
            "ended_ms": order.ended_ms,
            "reason": None if order.reason is None else order.reason.code,
        }
    )


def fill_view(fill: Fill) -> views.Fill:
    """One execution."""
    reason = fill.exit_reason
    return views.Fill(
        kind=fill.kind.code,
        rung=fill.rung,
        bar_open_ms=to_ms(fill.bar_open_time),
        price=float(fill.price),
        quantity=float(fill.quantity),
        notional_quote=float(fill.notional_quote),
        fee_quote=float(fill.fee_quote),
        slippage_quote=float(fill.slippage_quote),
        exit_reason=None if reason is ExitReason.NONE else reason.code,
        volume_unknown=fill.volume_unknown,
    )


def position_view(
    record: PositionRecord, orders: Sequence[Order], cursor_ms: int, tier: str
) -> views.Position:
    """What is held, its exits and its ladder, as it stands at `cursor_ms`."""
    mark, stop, target = record.mark_price, record.stop_price, record.target_price
    open_quantity = float(record.open_quantity)
    way = target - stop
    return views.Position(
        trade=trade_view(record.trade, tier=tier, version=record.version, until_ms=cursor_ms),
        open_quantity=open_quantity,
        mark_price=mark,
        value_quote=open_quantity * mark,
        stop_price=stop,
        target_price=target,
        trailing_armed=record.trailing_armed,
        to_stop=stop / mark - 1.0,
        to_target=target / mark - 1.0,
        # Once the trailing stop is armed it may lie at the target or above it.
        progress=min(max((mark - stop) / way, 0.0), 1.0) if way > 0.0 else 1.0,
        due_ms=record.due_ms,
        left_ms=max(record.due_ms - cursor_ms, 0),
        exit_pending=None if record.exit_pending is None else record.exit_pending.code,
        orders=[order_view(order) for order in orders],
    )


def positions_view(positions: Sequence[views.Position]) -> views.Positions:
    """All that is held, newest first, and what it comes to."""
    newest_first = sorted(positions, key=lambda each: (-each.trade.entry_ms, each.trade.symbol))
    invested = sum(each.trade.invested_quote for each in positions)
    unrealised = sum(each.trade.pnl_quote for each in positions)
    return views.Positions(
        items=newest_first,
        invested_quote=invested,
        value_quote=sum(each.value_quote for each in positions),
        unrealised_quote=unrealised,
        unrealised_fraction=unrealised / invested if invested else None,
    )


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
