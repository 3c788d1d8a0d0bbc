"""The log of a trading account: what it bought and did not buy, of its newest records, newest first.

What is repeated is told once: a setup that is refused scan after scan, a near miss that stays near. Coins
that a strategy is refused for one reason share a line, and so do regimes that follow each other quickly.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, func, select

from crypto_tracker.app.endings import group_of
from crypto_tracker.app.screen import words
from crypto_tracker.app.screen.snapshot import DecisionFacts, Kind
from crypto_tracker.app.screen.text import age
from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from crypto_tracker.store import trading_tables as tables
from crypto_tracker.store.trading_records import OrderRecord, SetupRecord
from crypto_tracker.store.trading_rows import setup_of
from crypto_tracker.store.trading_views import Answered, Halted, TradingViews

LOG_LINES = 60
SETUPS_READ = 400
NEAR_READ = 300
PEOPLE_READ = 20
REGIMES_BACK_MS = 2 * DAY_MS
SHARED_LINE_MS = 3 * HOUR_MS  # refusals of one kind within this time share a line
SAID_AGAIN_MS = 3 * HOUR_MS  # a refusal that goes on is told again after this time
NEAR_AGAIN_MS = DAY_MS // 2  # and a near miss after this time
FLUTTER_MS = 30 * MINUTE_MS  # changes of the regime that follow within this time share a line
_AFTER_A_BUY = (Reason.SYMBOL_LIMIT, Reason.SAME_EPISODE)  # then they say what everybody sees
_ENDED_MEANWHILE = (Reason.SLIPPAGE_TOO_HIGH, Reason.EXPIRED, Reason.CANCELLED, Reason.REGIME_PANIC)

Seen = Callable[[SetupRecord], Mapping[str, float]]
"""Answers with what a strategy measured in the scan of a setup or near miss; empty where it is not kept."""


def account_log(
    connection: Connection, views: TradingViews, *, next_setup: int, cursor_ms: int, seen: Seen
) -> tuple[DecisionFacts, ...]:
    """The newest lines, at most LOG_LINES; reads a bounded number of rows, however many there are."""
    decided = _newest_setups(connection, next_setup)
    near = _newest_near_misses(connection)
    orders = views.orders([group for row in decided if (group := group_of(row)) is not None])
    lines = [
        *decision_lines(decided, orders, seen),
        *near_lines(near, seen),
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


def _newest_near_misses(connection: Connection) -> list[SetupRecord]:
    """The near misses among the last NEAR_READ rows of any verdict, in the order of the table's key."""
    columns = tables.setups.c
    key = (columns.time_ms, columns.symbol, columns.strategy)
    # Were it sorted in any other order, or searched for near misses, the whole table would be read.
    query = select(tables.setups).order_by(*(each.desc() for each in key)).limit(NEAR_READ)
    rows = [setup_of(row) for row in connection.execute(query)]
    return [row for row in rows if row.verdict is Verdict.NEAR_MISS]


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


@dataclass(slots=True, kw_only=True)
class _Lines:
    """The lines so far, with the refusals that others may join."""

    lines: list[DecisionFacts] = field(default_factory=list)
    shared: dict[tuple[str, Reason], tuple[int, frozenset[str]]] = field(default_factory=dict)

    def refuse(self, row: SetupRecord, reason: Reason, time_ms: int) -> None:
        """Tell a refusal; coins that a strategy is refused for one reason share a line."""
        measured = math.nan if row.measured is None or reason is not row.reason else row.measured
        limit = math.nan if row.limit is None or reason is not row.reason else row.limit
        line = DecisionFacts(
            time_ms=time_ms,
            kind=Kind.REFUSED,
            coin=row.symbol.base,
            strategy=row.strategy,
            words=words.refusal(reason, row.strategy, measured, limit, time_ms),
            symbol=row.symbol,
        )
        place, coins = self.shared.get((row.strategy, reason), (-1, frozenset()))
        if place >= 0 and time_ms - self.lines[place].time_ms <= SHARED_LINE_MS:
            coins |= {row.symbol.base}
            alone = len(coins) == 1
            name = row.symbol.base if alone else f"{len(coins)} coins"
            self.lines[place] = replace(line, coin=name, symbol=row.symbol if alone else None)
        else:
            coins, place = frozenset({row.symbol.base}), len(self.lines)
            self.lines.append(line)
        self.shared[row.strategy, reason] = place, coins


def decision_lines(
    decided: Sequence[SetupRecord], orders: Mapping[str, Sequence[OrderRecord]], seen: Seen
) -> list[DecisionFacts]:
    """Setups with the portfolio's answer, in order of time, and orders that ended without a fill."""
    told = _Lines()
    said: dict[tuple[str, str], tuple[Reason, int]] = {}
    ended: list[tuple[int, SetupRecord, Reason]] = []
    for row in decided:
        key = (row.strategy, str(row.symbol))
        before, before_ms = said.get(key, (None, 0))
        said[key] = row.reason, row.time_ms
        if row.verdict is not Verdict.TAKE:
            goes_on = row.reason is before and row.time_ms - before_ms <= SAID_AGAIN_MS
            ours = before is Reason.ACCEPTED or before in _AFTER_A_BUY
            if not goes_on and not (row.reason in _AFTER_A_BUY and ours):
                told.refuse(row, row.reason, row.time_ms)
            continue
        told.lines.append(
            DecisionFacts(
                time_ms=row.time_ms,
                kind=Kind.TAKEN,
                coin=row.symbol.base,
                strategy=row.strategy,
                words=words.entry(row.strategy, seen(row), row.confidence),
                symbol=row.symbol,
            )
        )
        entry = orders.get(group_of(row) or "", [None])[0]
        if entry is not None and entry.ended_ms is not None and entry.reason in _ENDED_MEANWHILE:
            ended.append((entry.ended_ms, row, entry.reason))
    for time_ms, row, reason in ended:
        told.refuse(row, reason, time_ms)
    return told.lines


def near_lines(near: Sequence[SetupRecord], seen: Seen) -> list[DecisionFacts]:
    """Of each strategy and hour the nearest miss that was not told shortly before, with what stopped it."""
    hours: dict[tuple[int, str], list[SetupRecord]] = {}
    for row in near:
        hours.setdefault(((row.time_ms - 1) // HOUR_MS, row.strategy), []).append(row)
    lines = []
    said: dict[tuple[str, str], int] = {}
    for (_, strategy), rows in sorted(hours.items()):
        news = [
            row
            for row in rows
            if row.time_ms - said.get((strategy, str(row.symbol)), -NEAR_AGAIN_MS) >= NEAR_AGAIN_MS
        ]
        if not news:
            continue
        nearest = max(news, key=lambda row: (row.readiness, row.time_ms, str(row.symbol)))
        said[strategy, str(nearest.symbol)] = nearest.time_ms
        lines.append(
            DecisionFacts(
                time_ms=nearest.time_ms,
                kind=Kind.NEAR_MISS,
                coin=nearest.symbol.base,
                strategy=strategy,
                words=words.almost(nearest.reason, seen(nearest)),
                symbol=nearest.symbol,
            )
        )
    return lines


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
