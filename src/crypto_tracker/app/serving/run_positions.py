"""What a recorded run still held at its end, and the ladders of its trades, from what it keeps.

A run keeps trades and fills. Buys that were never filled, how far the market widened a stop and how far a
trailing stop had come are not kept: exits are those of the plan at entry.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import numpy as np

from crypto_tracker.app.serving.run_records import RunRecords
from crypto_tracker.app.serving.scans import read_columns
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.app.serving.strategy_view import facts_of, parameters_of
from crypto_tracker.app.serving.trade_view import position_view
from crypto_tracker.core.orders import Fill, FillKind, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, to_ms
from crypto_tracker.desk.views import trades as views
from crypto_tracker.store.trading_records import OrderRecord, PositionRecord
from crypto_tracker.strategies.exits import Exits

PLANNED = (
    "a recorded run keeps neither how far a stop was widened or trailed nor buys that were not filled: "
    "stop, target and ladder are those of the plan"
)


def left_open(scope: Scope, records: RunRecords, tiers: Mapping[Symbol, str]) -> list[views.Position]:
    """The positions at the end of the run, by symbol."""
    fills = _by_group(records.fills([trade.trade_group_id for trade in records.left_open]))
    return [
        position_view(
            _record(scope, records, trade, fills.get(trade.trade_group_id, [])),
            orders_of(fills.get(trade.trade_group_id, []), trade),
            scope.until_ms,
            tiers[trade.symbol],
        )
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


def _record(scope: Scope, records: RunRecords, trade: Trade, fills: Sequence[Fill]) -> PositionRecord:
    quantity, spent = Decimal(0), Decimal(0)
    for fill in fills:
        bought = fill.kind is not FillKind.EXIT
        quantity += fill.quantity if bought else -fill.quantity
        spent += fill.fee_quote + (fill.notional_quote if bought else -fill.notional_quote)
    # The P&L is marked at the last close: what is held is worth what makes it so.
    mark = float((trade.pnl_quote + spent) / quantity) if quantity else float(trade.entry_price)
    take_profit, stop_loss, hold_ms = _plan(scope, records, trade)
    entry = float(trade.entry_price)
    return PositionRecord(
        trade=trade,
        open_quantity=quantity,
        mark_price=mark,
        stop_price=entry * (1.0 - stop_loss),
        target_price=entry * (1.0 + take_profit),
        trailing_armed=False,
        due_ms=to_ms(trade.entry_time) + hold_ms,
        exit_pending=None,
        version=scope.version,
    )


def _plan(scope: Scope, records: RunRecords, trade: Trade) -> tuple[float, float, int]:
    """Target and stop from the entry, and how long it may be held, as the strategy's table of exits has them.

    Where the scan measured a target of its own, and was kept, that one counts. A plug-in without such a table
    has its entry for both.
    """
    strategy = scope.installed.get(trade.strategy)
    exits = None if strategy is None else getattr(parameters_of(scope.configuration, strategy), "exits", None)
    if not isinstance(exits, Exits):
        return 0.0, 0.0, 0
    tier = int(facts_of(scope, trade.symbol).tier[0])
    take_profit = float(exits.take_profit.array()[tier])
    for scan in read_columns(scope, records, trade.symbol, trade.strategy, [to_ms(trade.decision_time)]):
        own = scan.measurements.get("target", np.nan)
        take_profit = take_profit if np.isnan(own) else own
    return take_profit, float(exits.stop_loss.array()[tier]), round(exits.max_hold_hours * HOUR_MS)


def _by_group(fills: Iterable[Fill]) -> dict[str, list[Fill]]:
    found: dict[str, list[Fill]] = {}
    for fill in fills:
        found.setdefault(fill.trade_group_id, []).append(fill)
    return found
