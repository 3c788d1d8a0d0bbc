"""The setups and near misses of a recorded run as pages show them, what became of them, and its log."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from crypto_tracker.app.endings import portfolio_sentence, trade_ending
from crypto_tracker.app.screen import words
from crypto_tracker.app.serving.log_pages import Entry, Lines, Unread, merged, wants
from crypto_tracker.app.serving.log_view import closed_lines, sold_line
from crypto_tracker.app.serving.measured import Measured, key_of, measured
from crypto_tracker.app.serving.run_records import RunRecords
from crypto_tracker.app.serving.scans import scan_sentence
from crypto_tracker.app.serving.trade_view import trade_view
from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.orders import ExitReason, Order, OrderStatus, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.desk.source import DecisionFilter, LogFilter
from crypto_tracker.desk.views import decisions as views
from crypto_tracker.simulation.ledger import trade_group_id
from crypto_tracker.store.trading_records import SetupRecord

_ROWS_AT_ONCE = 60
_LOOKED_MAX = 2_000
"""Rows that one page of the log reads before it ends, however few lines it has."""

What = views.LogLine | int
"""What a line is made of: the line itself, or the number of a closed trade."""


def run_decisions(
    records: RunRecords, rows: Sequence[SetupRecord], tiers: Mapping[Symbol, str]
) -> list[views.Decision]:
    """Setups and near misses in the order of the rows."""
    seen = measured(records, rows)
    taken = [group_of(row) for row in rows if row.verdict is Verdict.TAKE]
    trades, orders = records.ended(taken), records.orders(taken)
    return [_decision(records, row, seen, trades, orders, tiers) for row in rows]


def group_of(row: SetupRecord) -> str:
    """The group of the trade that a setup may have become."""
    return trade_group_id(row.symbol, row.strategy, from_ms(row.time_ms))


class RunLog:
    """The log of a run under a filter: what was bought and not, what came near, what was sold."""

    def __init__(self, records: RunRecords, tiers: Mapping[Symbol, str], where: LogFilter) -> None:
        self._records = records
        self._tiers = tiers
        self._where = where

    def lines(self, before_ms: int, *, limit: int) -> Lines[What]:
        """Those before a moment, the newest first; about `limit` of them are asked for."""
        sources: list[Lines[What]] = []
        if wants(self._where, "buy", "skip", "near"):
            sources.append(self._decided(before_ms, limit))
        if wants(self._where, "close"):
            sources.append(closed_lines(self._records.trades, self._tiers, self._where, before_ms))
        return merged(sources)

    def words(self, found: Sequence[What]) -> list[views.LogLine]:
        """These lines, with the trades that some are numbers of."""
        numbers = [each for each in found if isinstance(each, int)]
        trades = iter(self._records.trades_numbered(numbers) if numbers else [])
        return [sold_line(next(trades)) if isinstance(each, int) else each for each in found]

    def _decided(self, before_ms: int, limit: int) -> Lines[What]:
        """A few rows after the other, of each close all of them."""
        setups, most, looked = self._records.setups, max(limit + 1, _ROWS_AT_ONCE), 0
        where = self._filter()
        while True:
            places = setups.page(replace(where, end_ms=before_ms), limit=most)
            if not len(places):
                return
            newest_ms, oldest_ms = (int(setups.time_ms[place]) for place in (places[0], places[-1]))
            if looked > _LOOKED_MAX:
                yield Unread(newest_ms)
                return
            whole = replace(where, start_ms=oldest_ms, end_ms=before_ms)
            rows = self._records.setups_keyed(setups.keys(setups.page(whole, limit=len(setups))))
            seen = measured(self._records, rows)
            lines = [_line(row, seen.get(key_of(row), {}), self._records.run.end_ms) for row in rows]
            entries: list[Entry[What]] = [
                Entry(line.time_ms, line.kind, line.who, f"{line.strategy} {line.words}", line)
                for line in _told_once(lines)
            ]
            yield from sorted(entries, key=lambda entry: entry.order)
            before_ms, looked = oldest_ms, looked + len(rows)

    def _filter(self) -> DecisionFilter:
        """Which rows can become lines that are wanted."""
        accepted = Reason.ACCEPTED.code
        verdicts: list[views.Verdict] = []
        reasons: tuple[str, ...] = ()
        if wants(self._where, "near"):
            verdicts.append("NEAR_MISS")
        if wants(self._where, "skip"):
            verdicts.append("SKIP")
        if wants(self._where, "buy", "skip"):
            verdicts.append("TAKE")
        if not wants(self._where, "buy"):
            reasons = tuple(each for each in self._records.setups.reasons if each != accepted)
        elif not wants(self._where, "near", "skip"):
            reasons = (accepted,)
        return DecisionFilter(symbols=self._where.symbols, verdicts=tuple(verdicts), reasons=reasons)


def _decision(
    records: RunRecords,
    row: SetupRecord,
    seen: Measured,
    trades: Mapping[str, Trade],
    orders: Mapping[str, Sequence[Order]],
    tiers: Mapping[Symbol, str],
) -> views.Decision:
    order = None
    if row.verdict is Verdict.NEAR_MISS:
        sentence = scan_sentence(row.reason, seen.get(key_of(row), {}))
    elif row.verdict is Verdict.TAKE:
        group = group_of(row)
        order, sentence = _ending(records, row, trades.get(group), orders.get(group, ()), tiers)
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
    records: RunRecords,
    row: SetupRecord,
    trade: Trade | None,
    orders: Sequence[Order],
    tiers: Mapping[Symbol, str],
) -> tuple[views.OrderEnding, str]:
    """What became of an order, and that in words."""
    if trade is None:
        lost = row.reason is not Reason.ACCEPTED
        status = OrderStatus.OPEN.code
        if lost:
            expired = row.reason is Reason.EXPIRED
            status = (OrderStatus.EXPIRED if expired else OrderStatus.CANCELLED).code
        sentence = (
            portfolio_sentence(row.reason, row.measured, row.limit)
            if lost
            else "an order was placed, and the run ended before it was filled"
        )
    elif trade.exit_reason is ExitReason.NONE:
        status = OrderStatus.FILLED.code
        sentence = "an order was placed and filled; the run ended before it was closed"
    else:
        status = OrderStatus.FILLED.code
        sentence = f"an order was placed and filled; {trade_ending(trade)}"
    closed = trade is not None and trade.exit_time is not None
    order = views.OrderEnding(
        trade_group_id=group_of(row),
        status=orders[0].status if orders else status,  # of the market entry; older runs kept none
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
