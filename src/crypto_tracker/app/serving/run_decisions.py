"""The setups and near misses of a recorded run as pages show them, what became of them, and its log."""

import math
from collections.abc import Mapping, Sequence

from crypto_tracker.app.endings import portfolio_sentence, trade_ending
from crypto_tracker.app.screen import words
from crypto_tracker.app.serving.log_pages import Window, floor_of, window_of
from crypto_tracker.app.serving.log_view import sold_line
from crypto_tracker.app.serving.measured import Measured, key_of, measured
from crypto_tracker.app.serving.run_records import RunRecords
from crypto_tracker.app.serving.scans import scan_sentence
from crypto_tracker.app.serving.trade_view import trade_view
from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.orders import ExitReason, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.desk.source import DecisionFilter, LogFilter, TradeFilter
from crypto_tracker.desk.views import decisions as views
from crypto_tracker.simulation.ledger import trade_group_id
from crypto_tracker.store.trading_records import SetupRecord

_ROWS_OF_A_WINDOW = 1_000
"""Of decisions, and of trades, that one look at the log reads."""


def run_decisions(
    records: RunRecords, rows: Sequence[SetupRecord], tiers: Mapping[Symbol, str]
) -> list[views.Decision]:
    """Setups and near misses in the order of the rows."""
    seen = measured(records, rows)
    trades = records.ended([group_of(row) for row in rows if row.verdict is Verdict.TAKE])
    return [_decision(records, row, seen, trades, tiers) for row in rows]


def group_of(row: SetupRecord) -> str:
    """The group of the trade that a setup may have become."""
    return trade_group_id(row.symbol, row.strategy, from_ms(row.time_ms))


def run_log_window(
    records: RunRecords, tiers: Mapping[Symbol, str], where: LogFilter, before_ms: int
) -> Window:
    """Lines before a moment: what was bought and not, what came near, what was sold."""
    wanted = DecisionFilter(symbols=where.symbols, end_ms=before_ms)
    rows = records.setups_keyed(records.setups.keys(records.setups.page(wanted, limit=_ROWS_OF_A_WINDOW)))
    seen = measured(records, rows)
    lines = [_line(row, seen.get(key_of(row), {}), records.run.end_ms) for row in rows]
    trades = records.trades
    index = trades.select(TradeFilter(symbols=where.symbols, end_ms=before_ms), tiers)
    numbers, _ = trades.page(index, "exit_ms", descending=True, limit=_ROWS_OF_A_WINDOW)
    sold = [sold_line(trade) for trade in records.trades_numbered(numbers.tolist())]
    floors = [
        floor_of([line.time_ms for line in each], _ROWS_OF_A_WINDOW, before_ms) for each in (lines, sold)
    ]
    return window_of(_told_once([*lines, *sold]), floors, before_ms)


def _decision(
    records: RunRecords,
    row: SetupRecord,
    seen: Measured,
    trades: Mapping[str, Trade],
    tiers: Mapping[Symbol, str],
) -> views.Decision:
    order = None
    if row.verdict is Verdict.NEAR_MISS:
        sentence = scan_sentence(row.reason, seen.get(key_of(row), {}))
    elif row.verdict is Verdict.TAKE:
        order, sentence = _ending(records, row, trades.get(group_of(row)), tiers)
    else:
        sentence = portfolio_sentence(row.reason, row.measured, row.limit)
    return views.Decision.model_validate(
        {
            "time_ms": row.time_ms,
            "symbol": str(row.symbol),
            "strategy": row.strategy,
            "verdict": row.verdict.value,
            "reason": row.reason.code,
            "sentence": sentence,
            "readiness": row.readiness,
            "confidence": row.confidence,
            "rank": row.rank,
            "fallback": row.fallback,
            "measured": row.measured,
            "limit": row.limit,
            "configuration_version": row.version,
            "order": order,
        }
    )


def _ending(
    records: RunRecords, row: SetupRecord, trade: Trade | None, tiers: Mapping[Symbol, str]
) -> tuple[views.OrderEnding, str]:
    """What became of an order, and that in words."""
    if trade is None:
        lost = row.reason is not Reason.ACCEPTED
        status = "expired" if lost else "open"
        sentence = (
            portfolio_sentence(row.reason, row.measured, row.limit)
            if lost
            else "an order was placed, and the run ended before it was filled"
        )
    elif trade.exit_reason is ExitReason.NONE:
        status, sentence = "filled", "an order was placed and filled; the run ended before it was closed"
    else:
        status = "filled"
        sentence = f"an order was placed and filled; {trade_ending(trade)}"
    closed = trade is not None and trade.exit_time is not None
    order = views.OrderEnding(
        trade_group_id=group_of(row),
        status=status,
        reason=None if row.reason is Reason.ACCEPTED else row.reason.code,
        trade=trade_view(trade, tier=tiers[row.symbol], version=row.version, until_ms=records.run.end_ms)
        if trade is not None and closed
        else None,
    )
    return order, sentence


def _line(row: SetupRecord, seen: Mapping[str, float], until_ms: int) -> views.LogLine:
    measured, limit = (math.nan if number is None else number for number in (row.measured, row.limit))
    if row.verdict is Verdict.NEAR_MISS:
        kind, said = "near", scan_sentence(row.reason, seen)
    elif row.verdict is Verdict.TAKE and row.reason is Reason.ACCEPTED:
        kind, said = "buy", words.entry(row.strategy, seen, row.confidence)
    else:
        kind, said = "skip", words.refusal(row.reason, row.strategy, measured, limit, until_ms)
    return views.LogLine.model_validate(
        {
            "time_ms": row.time_ms,
            "kind": kind,
            "symbol": str(row.symbol),
            "who": row.symbol.base,
            "strategy": row.strategy,
            "words": said,
        }
    )


def _told_once(lines: Sequence[views.LogLine]) -> list[views.LogLine]:
    """The same lines, those that say the same of several coins at one time as one."""
    found: dict[tuple[int, str, str | None, str], list[views.LogLine]] = {}
    for line in lines:
        found.setdefault((line.time_ms, line.kind, line.strategy, line.words), []).append(line)
    return [
        same[0]
        if len(same) == 1
        else same[0].model_copy(update={"symbol": None, "who": f"{len(same)} coins"})
        for same in found.values()
    ]
