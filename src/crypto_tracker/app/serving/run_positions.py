"""What a recorded run still held at its end, and the ladders of its trades.

Runs of older versions kept trades and fills alone: how far the market widened a stop, where a trailing stop
had come to, and what of a ladder still waited nobody can tell of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Any

from crypto_tracker.app.serving.run_records import RunRecords
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.app.serving.trade_view import order_view, position_view, trade_view
from crypto_tracker.core.orders import Fill, FillKind, Order, OrderStatus, Standing, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, to_ms
from crypto_tracker.desk.views import trades as views
from crypto_tracker.store.trading_records import PositionRecord

NOT_RECORDED = (
    "this run was recorded before stops, targets and buys that were not filled were kept: only those that "
    "were filled are shown"
)

_ROUNDED = Decimal("4e-8")  # in quote: of what a few amounts that were rounded to 8 decimals may be off


def left_open(scope: Scope, records: RunRecords, tiers: Mapping[Symbol, str]) -> list[views.Position]:
    """The positions at the end of the run, by symbol."""
    groups = [trade.trade_group_id for trade in records.left_open]
    orders = records.orders(groups)
    fills = _by_group(records.fills([group for group in groups if group not in records.standings]))
    found = []
    for trade in records.left_open:
        group, tier = trade.trade_group_id, tiers[trade.symbol]
        standing = records.standings.get(group)
        if standing is None:
            found.append(_from_fills(scope, trade, fills.get(group, []), tier))
        else:
            record = PositionRecord(trade=trade, version=scope.version, **_values(standing))
            found.append(position_view(record, orders.get(group, []), scope.until_ms, tier))
    return found


def filled_orders(fills: Iterable[Fill], trade: Trade, bar_ms: int = MINUTE_MS) -> list[Order]:
    """The buys of a trade that were filled, the market entry first: older runs keep no others."""
    bought: dict[int, list[Fill]] = {}
    for fill in fills:
        if fill.kind is not FillKind.EXIT:
            bought.setdefault(fill.rung, []).append(fill)
    return [
        Order(
            order_id=f"{trade.trade_group_id}/{rung}",
            trade_group_id=trade.trade_group_id,
            symbol=trade.symbol,
            strategy=trade.strategy,
            kind="rung" if rung else "market",
            rung=rung,
            quote=sum((fill.notional_quote for fill in parts), Decimal(0)),
            limit_price=parts[0].price if rung else None,
            status=OrderStatus.FILLED.code,
            placed_ms=to_ms(trade.decision_time),
            ended_ms=to_ms(parts[-1].bar_open_time) + bar_ms,
            reason=None,
        )
        for rung, parts in sorted(bought.items())
    ]


def _from_fills(scope: Scope, trade: Trade, fills: Sequence[Fill], tier: str) -> views.Position:
    quantity, spent = Decimal(0), Decimal(0)
    for fill in fills:
        bought = fill.kind is not FillKind.EXIT
        quantity += fill.quantity if bought else -fill.quantity
        spent += fill.fee_quote + (fill.notional_quote if bought else -fill.notional_quote)
    # The P&L is marked at the last close: what is held is worth what makes it so.
    mark = mark_of(trade.pnl_quote + spent, quantity) if quantity else float(trade.entry_price)
    return views.Position(
        trade=trade_view(trade, tier=tier, version=scope.version, until_ms=scope.until_ms),
        open_quantity=float(quantity),
        mark_price=mark,
        value_quote=float(quantity) * mark,
        stop_price=None,
        target_price=None,
        trailing_armed=None,
        to_stop=None,
        to_target=None,
        progress=None,
        due_ms=None,
        left_ms=None,
        exit_pending=None,
        orders=[order_view(order) for order in filled_orders(fills, trade, scope.base.ms)],
    )


def mark_of(value: Decimal, quantity: Decimal) -> float:
    """The price at which a quantity is worth so much, in the digits that amounts of 8 decimals tell.

    >>> mark_of(Decimal("340.18500001"), Decimal("50"))
    6.8037
    """
    unsure = _ROUNDED / quantity
    return float(round(value / quantity, max(-unsure.adjusted() - 2, 0)))


def _by_group(fills: Iterable[Fill]) -> dict[str, list[Fill]]:
    found: dict[str, list[Fill]] = {}
    for fill in fills:
        found.setdefault(fill.trade_group_id, []).append(fill)
    return found


def _values(standing: Standing) -> dict[str, Any]:
    return {field.name: getattr(standing, field.name) for field in fields(standing)}
