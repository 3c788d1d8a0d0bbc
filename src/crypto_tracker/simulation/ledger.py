"""From the kernel's rows to records with names, times and exact decimals."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import numpy as np

from crypto_tracker.core.arrays import RecordArray
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.money import decimal_of, to_decimal
from crypto_tracker.core.orders import ExitReason, Fill, FillKind, Order, OrderStatus, Standing, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import from_ms


def trade_group_id(symbol: Symbol, strategy: str, decision_time: datetime) -> str:
    """The name that ties all orders and fills of one trade; a strategy scans a symbol once at a time."""
    return f"{symbol}-{strategy}-{decision_time:%Y%m%dT%H%M%SZ}"


def trades(rows: RecordArray, symbols: Sequence[Symbol], strategies: Sequence[str]) -> list[Trade]:
    """Trades from TRADE_DTYPE rows, closed or open, in their order.

    `symbols` are the columns of the simulated panel, `strategies` the names in the configured order.
    """
    return [_trade(row, symbols, strategies) for row in rows]


def fills(
    rows: RecordArray,
    trade_rows: Iterable[RecordArray],
    symbols: Sequence[Symbol],
    strategies: Sequence[str],
) -> list[Fill]:
    """Fills from FILL_DTYPE rows, in their order.

    `trade_rows` are TRADE_DTYPE rows with every trade that the fills belong to: those that closed, and those
    that are open after the last of the fills.
    """
    group = {
        int(row["trade"]): _trade_group_of(row, symbols, strategies) for part in trade_rows for row in part
    }
    return [
        Fill(
            trade_group_id=group[int(row["trade"])],
            symbol=symbols[row["symbol"]],
            strategy=strategies[row["strategy"]],
            kind=FillKind(row["kind"]),
            rung=int(row["rung"]),
            bar_open_time=from_ms(row["time_ms"]),
            price=decimal_of(row["price"]),
            quantity=decimal_of(row["quantity"]),
            notional_quote=to_decimal(row["notional_e8"]),
            fee_quote=to_decimal(row["fee_e8"]),
            slippage_quote=to_decimal(row["slippage_e8"]),
            exit_reason=ExitReason(row["exit_reason"]),
            volume_unknown=bool(row["volume_unknown"]),
        )
        for row in rows
    ]


def orders(rows: RecordArray, symbols: Sequence[Symbol], strategies: Sequence[str]) -> Iterator[Order]:
    """Orders from ORDER_DTYPE rows, over or not, in their order; each is made when it is asked for."""
    return (_order(row, symbols, strategies) for row in rows)


def standings(open_trades: RecordArray, holdings: RecordArray) -> list[Standing]:
    """How open trades stand, from their TRADE_DTYPE and HOLDING_DTYPE rows, in their order."""
    return [
        Standing(
            open_quantity=decimal_of(trade["open_quantity"]),
            mark_price=float(held["mark_price"]),
            stop_price=float(trade["stop_price"]),
            target_price=float(trade["target_price"]),
            trailing_armed=bool(held["trailing_armed"]),
            due_ms=int(held["due_ms"]),
            exit_pending=ExitReason(held["exit_pending"]) or None,
        )
        for trade, held in zip(open_trades, holdings, strict=True)
    ]


def _order(row: np.void, symbols: Sequence[Symbol], strategies: Sequence[str]) -> Order:
    group, rung = _trade_group_of(row, symbols, strategies), int(row["rung"])
    return Order(
        order_id=f"{group}/{rung}",
        trade_group_id=group,
        symbol=symbols[row["symbol"]],
        strategy=strategies[row["strategy"]],
        kind="rung" if rung else "market",
        rung=rung,
        quote=to_decimal(row["quote_e8"]),
        limit_price=None if np.isnan(row["limit_price"]) else decimal_of(row["limit_price"]),
        status=OrderStatus(row["status"]).code,
        placed_ms=int(row["decision_ms"]),
        ended_ms=int(row["ended_ms"]) if row["ended_ms"] >= 0 else None,
        reason=Reason(row["reason"]) or None,
    )


def _trade_group_of(row: np.void, symbols: Sequence[Symbol], strategies: Sequence[str]) -> str:
    return trade_group_id(symbols[row["symbol"]], strategies[row["strategy"]], from_ms(row["decision_ms"]))


def _trade(row: np.void, symbols: Sequence[Symbol], strategies: Sequence[str]) -> Trade:
    sold = not np.isnan(row["exit_price"])
    return Trade(
        trade_group_id=_trade_group_of(row, symbols, strategies),
        symbol=symbols[row["symbol"]],
        strategy=strategies[row["strategy"]],
        decision_time=from_ms(row["decision_ms"]),
        entry_time=from_ms(row["entry_ms"]),
        exit_time=from_ms(row["exit_ms"]) if row["exit_ms"] >= 0 else None,
        entry_price=decimal_of(row["entry_price"]),
        exit_price=decimal_of(row["exit_price"]) if sold else None,
        quantity=decimal_of(row["quantity"]),
        invested_quote=to_decimal(row["invested_e8"]),
        fee_quote=to_decimal(row["fee_e8"]),
        slippage_quote=to_decimal(row["slippage_e8"]),
        pnl_quote=to_decimal(row["pnl_e8"]),
        return_net=float(row["pnl_e8"]) / float(row["invested_e8"]),
        exit_reason=ExitReason(row["exit_reason"]),
        entry_fills=int(row["entry_fills"]),
        ambiguous=bool(row["ambiguous"]),
        fallback=bool(row["fallback"]),
    )
