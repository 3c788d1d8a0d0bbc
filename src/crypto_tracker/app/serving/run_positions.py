"""What a recorded run still held at its end, and the ladders of its trades, from what it keeps.

A run keeps trades and fills. Its exits are not kept, and neither are buys that were not filled: how far the
market widened a stop, where a trailing stop had come to, and what of a ladder still waited nobody can tell.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from crypto_tracker.app.serving.run_records import RunRecords
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.app.serving.trade_view import order_view, trade_view
from crypto_tracker.core.orders import Fill, FillKind, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.desk.views import trades as views
from crypto_tracker.store.trading_records import OrderRecord

NOT_RECORDED = (
    "a recorded run keeps neither stops and targets nor buys that were not filled: only those that were "
    "filled are shown"
)

_ROUNDED = Decimal("4e-8")  # in quote: of what a few amounts that were rounded to 8 decimals may be off


def left_open(scope: Scope, records: RunRecords, tiers: Mapping[Symbol, str]) -> list[views.Position]:
    """The positions at the end of the run, by symbol."""
    fills = _by_group(records.fills([trade.trade_group_id for trade in records.left_open]))
    return [
        _position(scope, trade, fills.get(trade.trade_group_id, []), tiers[trade.symbol])
        for trade in records.left_open
    ]


def orders_of(fills: Iterable[Fill], trade: Trade) -> list[OrderRecord]:
    """The buys of a trade that were filled, the market entry first: a run keeps no others."""
    bought: dict[int, list[Fill]] = {}
    for fill in fills:
        if fill.kind is not FillKind.EXIT:
            bought.setdefault(fill.rung, []).append(fill)
    return [
        OrderRecord(
            order_id=f"{trade.trade_group_id}|{rung}",
            trade_group_id=trade.trade_group_id,
            symbol=trade.symbol,
            strategy=trade.strategy,
            kind="rung" if rung else "market",
            rung=rung,
            quote=sum((fill.notional_quote for fill in parts), Decimal(0)),
            limit_price=parts[0].price if rung else None,
            status="filled",
            placed_ms=to_ms(trade.entry_time if rung else trade.decision_time),
            ended_ms=to_ms(parts[-1].bar_open_time),
            reason=None,
            version="",
        )
        for rung, parts in sorted(bought.items())
    ]


def _position(scope: Scope, trade: Trade, fills: Sequence[Fill], tier: str) -> views.Position:
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
        orders=[order_view(order) for order in orders_of(fills, trade)],
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
