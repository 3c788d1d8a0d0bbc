"""What the commands that read a trading account write with --json. Fractions are of one, times in UTC."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

from crypto_tracker.app.accounts import AccountPlace
from crypto_tracker.app.decided import Decided
from crypto_tracker.app.documents import trade_document
from crypto_tracker.app.standing import Breadth, Entries, Protection, Reading, Status
from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.orders import Trade
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.store.trading_records import OrderRecord, PositionRecord, Session
from crypto_tracker.store.trading_views import Sums, TradingViews, Where


def heading(read: Reading) -> dict[str, Any]:
    """Which account a document is about, and up to when; every document begins with it."""
    return {
        "account": read.place.name,
        "kind": read.account.kind,
        "running": read.place.running,
        "until": from_ms(read.cursor_ms),
        "configuration_version": read.version,
    }


def account_document(place: AccountPlace, views: TradingViews) -> dict[str, Any]:
    """One account of a list."""
    account, minute, sessions = views.account(), views.latest_minute(), views.sessions(limit=1)
    return {
        "account": place.name,
        "kind": account.kind,
        "running": place.running,
        "start": from_ms(account.start_ms),
        "end": _time(account.end_ms),
        "until": from_ms(views.cursor_ms()),
        "last_started": _time(sessions[0].started_at_ms) if sessions else None,
        "symbols": len(account.symbols),
        "strategies": list(account.strategies),
        "capital_quote": float(account.capital_quote),
        "equity_quote": float(account.capital_quote if minute is None else minute.equity_quote),
        "trades": views.sums().trades,
        "open_positions": len(views.positions()),
    }


def status_document(read: Reading, status: Status, now_ms: int) -> dict[str, Any]:
    """The account at a glance."""
    minute, answer, check = status.minute, status.last_answer, status.last_check
    return {
        **heading(read),
        "start": from_ms(read.account.start_ms),
        "end": _time(read.account.end_ms),
        "now": from_ms(now_ms),
        "session": None if status.session is None else _session(status.session),
        "lag_seconds": None if status.lag_ms is None else status.lag_ms / 1_000,
        "progress": status.progress,
        "last_minute": None if minute is None else from_ms(minute.time_ms),
        "last_minute_recorded": None if minute is None else from_ms(minute.recorded_at_ms),
        "newest_bar_end": _time(status.newest_bar_ms),
        "capital_quote": float(read.account.capital_quote),
        "equity_quote": float(status.equity_quote),
        "cash_quote": float(status.cash_quote),
        "reserved_quote": float(status.reserved_quote),
        "unrealised_quote": float(status.unrealised_quote),
        "return_net": status.return_net,
        "drawdown": status.drawdown,
        "max_drawdown": status.max_drawdown,
        "open_positions": status.open_positions,
        "pending_orders": status.pending_orders,
        "closed": sums_document(status.sums),
        "regime": status.regime.name,
        "regime_forced": status.forced,
        "entries": _entries(status.entries),
        "last_command": None
        if answer is None
        else {
            "kind": answer.result.kind,
            "status": answer.result.status,
            "sentence": answer.result.sentence,
            "time": from_ms(answer.time_ms),
        },
        "waiting_commands": status.waiting_commands,
        "last_check": None
        if check is None
        else {
            "kind": check.kind,
            "start": from_ms(check.start_ms),
            "end": from_ms(check.end_ms),
            "differences": check.differences,
            "created": from_ms(check.created_at_ms),
        },
    }


def trades_document(read: Reading, where: Where, trades: Sequence[Trade]) -> dict[str, Any]:
    """Closed trades in the order in which they closed, open ones, and the sums of all that were asked for."""
    held = read.views.positions(Where(symbols=where.symbols, strategies=where.strategies))
    return {
        **heading(read),
        "totals": sums_document(read.views.sums(where)),
        "trades": [trade_document(trade) for trade in trades],
        "open_trades": [trade_document(position.trade) for position in held],
    }


def positions_document(
    read: Reading, held: Sequence[PositionRecord], orders: Mapping[str, Sequence[OrderRecord]]
) -> dict[str, Any]:
    """What is held."""
    return {
        **heading(read),
        "unrealised_quote": float(sum((each.trade.pnl_quote for each in held), Decimal(0))),
        "positions": [
            {
                **trade_document(each.trade),
                "open_quantity": float(each.open_quantity),
                "mark_price": each.mark_price,
                "stop_price": each.stop_price,
                "target_price": each.target_price,
                "trailing_armed": each.trailing_armed,
                "due": from_ms(each.due_ms),
                "seconds_left": max(each.due_ms - read.cursor_ms, 0) / 1_000,
                "exit_pending": None if each.exit_pending is None else each.exit_pending.code,
                "configuration_version": each.version,
                "orders": [_order(order) for order in orders.get(each.trade.trade_group_id, ())],
            }
            for each in held
        ],
    }


def protection_document(read: Reading, found: Protection, risen: Breadth | None) -> dict[str, Any]:
    """Everything that keeps the account from opening positions."""
    market = found.market
    return {
        **heading(read),
        "entries": _entries(found.entries),
        "market": {
            "reference": None if market.reference is None else str(market.reference),
            "regime": market.regime.name,
            "forced": market.forced,
            "size_factor": market.size_factor,
            "volatility": market.volatility,
            "returns": {f"{hours}h": value for hours, value in market.returns.items()},
            "condition": None if market.condition is None else market.condition.name,
            "favoured": market.favoured,
            "breadth": None if risen is None else asdict(risen),
            "slow_regime": None if market.slow_regime is None else market.slow_regime.name,
        },
        "strategies": [
            {
                "name": each.name,
                "on": not each.off_by,
                "off_by": list(each.off_by),
                "losing_streak": each.losing_streak,
                "rests_until": _time(each.rests_until_ms),
                "open_positions": each.open_positions,
                "used_quote": float(each.used_quote),
                "share_quote": float(each.share_quote),
            }
            for each in found.strategies
        ],
        "symbols": [
            {
                "symbol": str(each.symbol),
                "stops_in_a_row": each.stops,
                "cooldown_until": _time(each.cooldown_until_ms),
                "blocked": each.blocked,
                "data_quality": each.score,
                "why": each.why,
            }
            for each in found.coins
        ],
        "halts": [{**asdict(each.halt), "time": from_ms(each.time_ms)} for each in found.halts],
        "correlation": None if found.correlation is None else asdict(found.correlation),
        "losing_streak_limit": found.losing_streak_limit,
        "cooldown_stops_limit": found.cooldown_stops_limit,
    }


def decisions_document(
    read: Reading, found: Sequence[Decided], counts: Mapping[tuple[Verdict, Reason], int]
) -> dict[str, Any]:
    """Decisions in order of time; `counts` are of setups and near misses under the same filter."""
    return {
        **heading(read),
        "counts": [
            {"verdict": verdict.value, "reason": reason.code, "count": count}
            for (verdict, reason), count in counts.items()
        ],
        "decisions": [_decided(each) for each in found],
    }


def sums_document(sums: Sums) -> dict[str, Any]:
    """Closed trades added up."""
    return {
        "trades": sums.trades,
        "wins": sums.wins,
        "win_rate": sums.win_rate,
        "pnl_quote": float(sums.pnl_quote),
        "invested_quote": float(sums.invested_quote),
        "fee_quote": float(sums.fee_quote),
        "slippage_quote": float(sums.slippage_quote),
    }


def _decided(each: Decided) -> dict[str, Any]:
    setup, ended = each.setup, each.ending
    return {
        "time": from_ms(each.time_ms),
        "symbol": str(each.symbol),
        "strategy": each.strategy,
        "verdict": each.verdict.value,
        "reason": each.reason.code,
        "sentence": each.sentence,
        "readiness": each.readiness,
        "confidence": each.confidence,
        "rank": None if setup is None else setup.rank,
        "measured": None if setup is None else setup.measured,
        "limit": None if setup is None else setup.limit,
        "configuration_version": each.version,
        "measurements": each.measurements,
        "order": None
        if ended is None
        else {
            "trade_group_id": ended.trade_group_id,
            "status": ended.status,
            "reason": None if ended.reason is Reason.ACCEPTED else ended.reason.code,
            "trade": None if ended.trade is None else trade_document(ended.trade),
        },
    }


def _entries(entries: Entries) -> dict[str, Any]:
    return {
        "allowed": entries.allowed,
        "why_not": list(entries.why_not),
        "paused": entries.paused,
        "paused_since": _time(entries.paused_since_ms),
        "halted": entries.halted,
        "day_base_quote": float(entries.day_base_quote),
        "day_pnl_quote": float(entries.day_pnl_quote),
        "day_loss": entries.day_loss,
        "day_loss_max": entries.day_loss_max,
        "day_latched": entries.day_latched,
        "peak_quote": float(entries.peak_quote),
        "drawdown": entries.drawdown,
        "drawdown_max": entries.drawdown_max,
        "drawdown_latched": entries.drawdown_latched,
    }


def _order(order: OrderRecord) -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "kind": order.kind,
        "rung": order.rung,
        "quote": float(order.quote),
        "limit_price": None if order.limit_price is None else float(order.limit_price),
        "status": order.status,
        "placed": from_ms(order.placed_ms),
        "ended": _time(order.ended_ms),
        "reason": None if order.reason is None else order.reason.code,
    }


def _session(session: Session) -> dict[str, Any]:
    return {
        "pid": session.pid,
        "host": session.host,
        "started": from_ms(session.started_at_ms),
        "ended": _time(session.ended_at_ms),
        "code_version": session.code_version,
    }


def _time(time_ms: int | None) -> datetime | None:
    return None if time_ms is None else from_ms(time_ms)
