"""The log of a trading account: what it bought and did not buy, of its newest records, newest first.

What is repeated is told once: a setup that is refused scan after scan, a near miss that stays near. Coins
that a strategy is refused for one reason share a line, and so do regimes that follow each other quickly.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from sqlalchemy import Connection, func, select

from crypto_tracker.app.screen import words
from crypto_tracker.app.screen.snapshot import DecisionFacts, Kind
from crypto_tracker.app.screen.text import age
from crypto_tracker.app.screen.told import (
    BACK_MS,
    HALF_DAY_MS,
    Decided,
    Near,
    Told,
    half_day,
    told_decisions,
    told_near_misses,
)
from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, from_ms
from crypto_tracker.simulation.ledger import trade_group_id
from crypto_tracker.store import trading_tables as tables
from crypto_tracker.store.trading_records import SetupRecord
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


class EndedEntries(Protocol):
    """Records of an account that know how its orders ended."""

    def ended_entries(
        self, trade_group_ids: Sequence[str], reasons: Sequence[Reason]
    ) -> dict[str, tuple[int, Reason]]:
        """Of these groups those whose entry ended for one of some reasons: when, and for which."""
        ...


class Decisions(EndedEntries, Protocol):
    """Records of an account, as far as its decisions are told."""

    def setups_keyed(self, keys: Sequence[tuple[int, str, str]]) -> list[SetupRecord]:
        """The setups of these times, symbols and strategies, in this order."""
        ...


def account_log(
    connection: Connection, views: TradingViews, *, next_setup: int, cursor_ms: int, seen: Seen
) -> tuple[DecisionFacts, ...]:
    """The newest lines, at most LOG_LINES; what is read of a long history is no more than of a short one."""
    decided, after_ms = _newest_setups(connection, next_setup)
    lines = [
        *decision_lines(views, decided, after_ms=after_ms, cursor_ms=cursor_ms, seen=seen),
        *near_lines(views, cursor_ms, seen),
        *regime_lines(_regime_changes(connection, cursor_ms - REGIMES_BACK_MS)),
        *people_lines(views.answers(limit=PEOPLE_READ)),
        *halt_lines(views.halts(limit=PEOPLE_READ)),
    ]
    lines.sort(key=lambda told: -told.time_ms)
    return tuple(lines[:LOG_LINES])


# --- reading -----------------------------------------------------------------------------------


def _newest_setups(connection: Connection, next_setup: int) -> tuple[list[Decided], int]:
    """The setups that the newest lines depend on, in order of time, and the close behind which all is told.

    Those are SETUPS_READ or more, back to the beginning of a half day, and those of the day before it.
    """
    columns = tables.setups.c
    query = select(
        columns.setup_number,
        columns.time_ms,
        columns.symbol,
        columns.strategy,
        columns.reason,
        columns.verdict,
    )
    newest = query.where(columns.setup_number >= next_setup - SETUPS_READ).order_by(columns.setup_number)
    found = list(connection.execute(newest))
    after_ms = 0
    if found and next_setup > SETUPS_READ:
        oldest_ms = found[0].time_ms
        after_ms = half_day(oldest_ms) * HALF_DAY_MS
        span = columns.time_ms > after_ms - BACK_MS, columns.time_ms <= oldest_ms
        found += connection.execute(query.where(*span, columns.verdict != Verdict.NEAR_MISS.value))
    rows = sorted({row.setup_number: row for row in found}.items())
    decided = [
        Decided(row.time_ms, row.symbol, row.strategy, row.reason, row.verdict == Verdict.TAKE.value, place)
        for place, (_, row) in enumerate(rows)
    ]
    return decided, after_ms


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
    records: Decisions, decided: Sequence[Decided], *, after_ms: int, cursor_ms: int, seen: Seen
) -> list[DecisionFacts]:
    """Setups with the portfolio's answer, and orders that ended without a fill: LOG_LINES, the newest first.

    Those after a close are told; what was decided in the day before it says which of them are.
    """
    told = told_decisions(decided, ended_meanwhile(records, decided, cursor_ms))
    found = [line for line in told if line.time_ms > after_ms]
    newest = sorted(found, key=lambda line: (-line.time_ms, line.place))[:LOG_LINES]
    setups = [decided[line.place] for line in newest]
    rows = records.setups_keyed([(each.time_ms, each.symbol, each.strategy) for each in setups])
    return [line_of(line, row, seen) for line, row in zip(newest, rows, strict=True)]


def ended_meanwhile(
    records: EndedEntries, decided: Sequence[Decided], until_ms: int
) -> list[tuple[int, Decided, str]]:
    """Orders that ended without a fill within a day, and not later than a moment: when, and why."""
    symbols = {row.symbol: Symbol.parse(row.symbol) for row in decided if row.taken}
    taken = {
        trade_group_id(symbols[row.symbol], row.strategy, from_ms(row.time_ms)): row
        for row in decided
        if row.taken
    }
    ended = records.ended_entries(list(taken), ENDED_MEANWHILE) if taken else {}
    return [
        (time_ms, taken[group], reason.code)
        for group, (time_ms, reason) in ended.items()
        if time_ms <= until_ms and time_ms - taken[group].time_ms <= BACK_MS
    ]


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
