"""The log of a trading account: what it bought and did not buy, of its newest records, newest first.

What is repeated is told once: a setup that is refused scan after scan, a near miss that stays near. Coins
that a strategy is refused for one reason share a line, and so do regimes that follow each other quickly.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection, func, select

from crypto_tracker.app.endings import group_of
from crypto_tracker.app.screen import words
from crypto_tracker.app.screen.snapshot import DecisionFacts, Kind
from crypto_tracker.app.screen.text import age
from crypto_tracker.app.screen.told import (
    HALF_DAY_MS,
    Decided,
    Near,
    Told,
    half_day,
    told_decisions,
    told_near_misses,
)
from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS
from crypto_tracker.store import trading_tables as tables
from crypto_tracker.store.trading_records import OrderRecord, SetupRecord
from crypto_tracker.store.trading_rows import setup_of
from crypto_tracker.store.trading_views import Answered, Halted, TradingViews

LOG_LINES = 60
SETUPS_READ = 400
PEOPLE_READ = 20
REGIMES_BACK_MS = 2 * DAY_MS
FLUTTER_MS = 30 * MINUTE_MS  # changes of the regime that follow within this time share a line
ENDED_MEANWHILE = (Reason.SLIPPAGE_TOO_HIGH, Reason.EXPIRED, Reason.CANCELLED, Reason.REGIME_PANIC)
"""Why an entry ended without a fill, where the log tells of it."""

Seen = Callable[[SetupRecord], Mapping[str, float]]
"""Answers with what a strategy measured in the scan of a setup or near miss; empty where it is not kept."""


def account_log(
    connection: Connection, views: TradingViews, *, next_setup: int, cursor_ms: int, seen: Seen
) -> tuple[DecisionFacts, ...]:
    """The newest lines, at most LOG_LINES; reads a bounded number of rows, however many there are."""
    decided = _newest_setups(connection, next_setup)
    orders = views.orders([group for row in decided if (group := group_of(row)) is not None])
    lines = [
        *decision_lines(decided, orders, seen),
        *near_lines(views, cursor_ms, seen),
        *regime_lines(_regime_changes(connection, cursor_ms - REGIMES_BACK_MS)),
        *people_lines(views.answers(limit=PEOPLE_READ)),
        *halt_lines(views.halts(limit=PEOPLE_READ)),
    ]
    lines.sort(key=lambda told: -told.time_ms)
    return tuple(lines[:LOG_LINES])


# --- reading -----------------------------------------------------------------------------------


def _newest_setups(connection: Connection, next_setup: int) -> list[SetupRecord]:
    columns = tables.setups.c
    query = select(tables.setups).where(columns.setup_number >= next_setup - SETUPS_READ)
    return [setup_of(row) for row in connection.execute(query.order_by(columns.setup_number))]


def _regime_changes(connection: Connection, since_ms: int) -> list[tuple[int, Regime]]:
    """The minutes (open times) whose close was of another regime than the one before."""
    columns = tables.minutes.c
    walked = (
        select(
            columns.time_ms,
            columns.regime,
            func.lag(columns.regime).over(order_by=columns.time_ms).label("before"),
        )
        .where(columns.time_ms >= since_ms)
        .subquery()
        .c
    )
    query = select(walked.time_ms, walked.regime).where(walked.regime != walked.before)
    return [
        (row.time_ms, Regime[row.regime.upper()])
        for row in connection.execute(query.order_by(walked.time_ms))
    ]


# --- wording -----------------------------------------------------------------------------------


def decision_lines(
    decided: Sequence[SetupRecord], orders: Mapping[str, Sequence[OrderRecord]], seen: Seen
) -> list[DecisionFacts]:
    """Setups with the portfolio's answer, in order of time, and orders that ended without a fill."""
    rows = [
        Decided(
            row.time_ms, str(row.symbol), row.strategy, row.reason.code, row.verdict is Verdict.TAKE, place
        )
        for place, row in enumerate(decided)
    ]
    ended = []
    for row in rows:
        entry = orders.get(group_of(decided[row.place]) or "", [None])[0]
        if entry is not None and entry.ended_ms is not None and entry.reason in ENDED_MEANWHILE:
            ended.append((entry.ended_ms, row, entry.reason.code))
    told = sorted(told_decisions(rows, ended), key=lambda line: (line.time_ms, line.place))
    return [line_of(line, decided[line.place], seen) for line in told]


def near_lines(views: TradingViews, cursor_ms: int, seen: Seen) -> list[DecisionFacts]:
    """Near misses of this half day and the one before, with what stopped them; few rows are read whole."""
    start_ms = (half_day(cursor_ms) - 1) * HALF_DAY_MS + 1
    near = views.near_misses(start_ms, cursor_ms + 1)
    told = told_near_misses(Near(*row, place) for place, row in enumerate(near))
    rows = views.setups_keyed([near[line.place][:3] for line in told])
    return [line_of(line, row, seen) for line, row in zip(told, rows, strict=True)]


def line_of(told: Told, row: SetupRecord, seen: Seen) -> DecisionFacts:
    """A line in words, of the setup or near miss that it tells of."""
    if told.kind is Kind.TAKEN:
        said = words.entry(row.strategy, seen(row), row.confidence)
    elif told.kind is Kind.NEAR_MISS:
        said = words.almost(row.reason, seen(row))
    else:
        reason = Reason[told.reason.upper()]
        measured, limit = (row.measured, row.limit) if reason is row.reason else (None, None)
        said = words.refusal(
            reason,
            row.strategy,
            math.nan if measured is None else measured,
            math.nan if limit is None else limit,
            told.time_ms,
        )
    return DecisionFacts(
        time_ms=told.time_ms,
        kind=told.kind,
        coin=told.who,
        strategy=row.strategy,
        words=said,
        symbol=row.symbol if told.coins == 1 else None,
    )


def regime_lines(changes: Sequence[tuple[int, Regime]]) -> list[DecisionFacts]:
    """Changes of the fast regime (open times), each at the close of its minute; a flutter is one line."""
    flutters: list[list[tuple[int, Regime]]] = []
    for change in changes:
        if flutters and change[0] - flutters[-1][-1][0] <= FLUTTER_MS:
            flutters[-1].append(change)
        else:
            flutters.append([change])
    lines = []
    for flutter in flutters:
        time_ms, regime = flutter[-1]
        told = words.REGIME_WORDS[regime]
        if len(flutter) > 1:
            told += f" ({len(flutter)} changes in {age(time_ms - flutter[0][0])})"
        lines.append(_of_all(time_ms + MINUTE_MS, Kind.MARKET, told))
    return lines


def people_lines(answers: Sequence[Answered]) -> list[DecisionFacts]:
    """What the trader answered to people."""
    return [
        _of_all(
            each.time_ms,
            Kind.PERSON,
            f"{each.result.kind.replace('_', ' ')}"
            f"{' refused' if each.result.status == 'refused' else ''}: {each.result.sentence}",
        )
        for each in answers
    ]


def halt_lines(halts: Sequence[Halted]) -> list[DecisionFacts]:
    """Critical errors."""
    return [_of_all(each.time_ms, Kind.HALT, each.halt.sentence) for each in halts]


def _of_all(time_ms: int, kind: Kind, text: str) -> DecisionFacts:
    return DecisionFacts(time_ms=time_ms, kind=kind, coin="", strategy="", words=text)
