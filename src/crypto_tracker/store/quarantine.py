"""Bars in quarantine: listed, released once they break no rule any more, or dropped with a reason.

Nothing is deleted: who settles a bar changes what its row says of it. A released bar enters the store as any
other bar does. Settling the same bar twice, also after a kill between the two steps, changes nothing. A bar
whose minute becomes known otherwise is settled by the write that does so: see `held.settle_known`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select, update

from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.core.validate import MISSING_TIME_MS, BarRule, broken_rules
from crypto_tracker.store import tables
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import VALUE_FIELDS, BarBatch, contributions
from crypto_tracker.store.market_database import reading, writing

# How files spell the fields of a bar, in lower case: for rows that are older than the column `judged`.
_SPELLINGS = {
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "v", "vol", "base_volume"),
    "vwap": ("vwap", "vw"),
    "n_trades": ("n_trades", "n", "trades", "count"),
}
_RELEASED = "it breaks no rule any more"
_UNFINISHED = (
    "it came before its {timeframe} was over, and may lack a part of it: `heal-gaps` fetches all of it from "
    "a provider, and a file that has all of it can be imported; where the clock here was slow and the bar "
    "whole, say so with --reason"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedBar:
    """A bar that broke a rule.

    Attributes
    ----------
    open_time_ms : None where the source gave none, or none that can be read
    rule : the rule that it broke when it came, such as `in_future`
    raw : its fields as the source had them
    judged : the values that the rules were asked about, as text, by the names of VALUE_FIELDS; None where a
        value is missing, and for a bar that came before they were kept
    source, line : where it came from; no line where lines mean nothing
    status : `held`, `released`, `dropped`, or `healed` where its minute became known otherwise
    settlement : why it is no longer held; None while it is
    """

    quarantine_id: int
    provider: str
    symbol: Symbol
    timeframe: Timeframe
    open_time_ms: int | None
    rule: str
    raw: Mapping[str, Any]
    judged: Mapping[str, str | None] | None
    source: str
    line: int | None
    recorded_at_ms: int
    status: str
    settled_at_ms: int | None
    settlement: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspectMinute:
    """A minute whose close jumped and that nothing has confirmed yet: it counts as missing."""

    provider: str
    symbol: Symbol
    open_time_ms: int
    revision: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of the wish to settle one bar: done, or not, and why."""

    bar: QuarantinedBar
    done: bool
    why: str


def quarantined(
    home: Path, *, symbols: Sequence[Symbol] = (), ids: Sequence[int] = (), settled: bool = False
) -> list[QuarantinedBar]:
    """The bars that are held, the settled ones too where they are asked for, in the order in which they came.

    Only those of `symbols`, or with these `ids`, where any are given.
    """
    with reading(home) as connection:
        found = _select(connection, ids)
    return [
        bar
        for bar in found
        if (settled or ids or bar.status == "held") and (not symbols or bar.symbol in symbols)
    ]


def named(home: Path, ids: Sequence[int]) -> list[QuarantinedBar]:
    """The bars with these ids, once each, in the order given; raises UsageError for an id that no bar has."""
    wanted = list(dict.fromkeys(ids))
    found = {bar.quarantine_id: bar for bar in quarantined(home, ids=wanted)} if wanted else {}
    missing = [str(each) for each in wanted if each not in found]
    shown = "`crypto-tracker quarantine list` shows them"
    if not wanted:
        raise UsageError(f"name the bars by their ids: {shown}")
    if missing:
        raise UsageError(f"no bar in quarantine has the id {', '.join(missing)}: {shown}")
    return [found[each] for each in wanted]


def held_counts(home: Path) -> dict[tuple[str, Symbol, Timeframe], int]:
    """How many bars of each series are held."""
    table, names = tables.quarantine, tables.symbols
    query = (
        select(names.c.provider, names.c.symbol, table.c.timeframe, func.count())
        .join(names, names.c.symbol_id == table.c.symbol_id)
        .where(table.c.status == "held")
        .group_by(names.c.provider, names.c.symbol, table.c.timeframe)
    )
    with reading(home) as connection:
        rows = connection.execute(query).all()
    return {(row[0], Symbol.parse(row[1]), Timeframe.parse(row[2])): row[3] for row in rows}


def suspect_minutes(home: Path, *, symbols: Sequence[Symbol] = ()) -> list[SuspectMinute]:
    """The minutes that are suspect and unconfirmed, by symbol, provider and time."""
    table, names = tables.suspects, tables.symbols
    query = (
        select(names.c.provider, names.c.symbol, table.c.open_time_ms, table.c.revision)
        .join(names, names.c.symbol_id == table.c.symbol_id)
        .where(table.c.status == "unconfirmed")
    )
    with reading(home) as connection:
        found = [
            SuspectMinute(
                provider=row.provider,
                symbol=Symbol.parse(row.symbol),
                open_time_ms=row.open_time_ms,
                revision=row.revision,
            )
            for row in connection.execute(query)
        ]
    wanted = [minute for minute in found if not symbols or minute.symbol in symbols]
    return sorted(wanted, key=lambda each: (each.symbol, each.provider, each.open_time_ms, each.revision))


def release(
    store: BarStore, home: Path, ids: Sequence[int], now_ms: int, *, reason: str = ""
) -> list[Settlement]:
    """Judge bars by the rules of today, and let those that break none into the store with their own values.

    One stays held where it still breaks a rule, where its fields do not make a bar, or where the store has
    another value of it by now: what came later is not overruled by what was doubted. One that came before its
    minute was over, by the clock here, may lack a part of that minute, unless that clock was slow: it enters
    only where a person says with a `reason` that it was whole. Raises UsageError, before anything is done,
    for an id that no bar has.
    """
    reason = reason.strip()

    def releasing(store: BarStore, bar: QuarantinedBar, now_ms: int) -> tuple[bool, str]:
        return _release(store, bar, now_ms, reason)

    return [_settled(home, bar, now_ms, "released", releasing, store) for bar in named(home, ids)]


def drop(
    store: BarStore, home: Path, ids: Sequence[int], now_ms: int, *, reason: str, no_trade: bool = False
) -> list[Settlement]:
    """Settle bars as wrong, for a reason that a person gives; their rows stay.

    Their minutes stay unknown and are noted as lacking, so that they are asked for again only on demand;
    or `no_trade` says that nobody traded then, and they count as covered. Raises UsageError without a reason,
    and for an id that no bar has.
    """
    reason = reason.strip()
    if not reason:
        raise UsageError("a bar is dropped for a reason: say it with --reason")
    if no_trade:
        reason += " (nobody traded)"

    def dropping(store: BarStore, bar: QuarantinedBar, now_ms: int) -> tuple[bool, str]:
        return _cover(store, bar, now_ms, reason) if no_trade else _give_up(store, bar, reason)

    return [_settled(home, bar, now_ms, "dropped", dropping, store) for bar in named(home, ids)]


def _settled(
    home: Path,
    bar: QuarantinedBar,
    now_ms: int,
    status: str,
    act: Callable[[BarStore, QuarantinedBar, int], tuple[bool, str]],
    store: BarStore,
) -> Settlement:
    """Do what settles a bar, and note it after that."""
    if bar.status != "held":
        return Settlement(bar, False, f"it is {bar.status} already: {bar.settlement}")
    done, why = act(store, bar, now_ms)
    if done:
        table = tables.quarantine
        with writing(home) as connection:
            connection.execute(
                update(table)
                .where(
                    table.c.quarantine_id == bar.quarantine_id,
                    table.c.status.in_(("held", "healed")),  # healed by the very write that settles it
                )
                .values(status=status, settled_at_ms=now_ms, settlement=why)
            )
    return Settlement(bar, done, why)


def _release(store: BarStore, bar: QuarantinedBar, now_ms: int, reason: str) -> tuple[bool, str]:
    batch = _batch(bar)
    rule = BarRule(
        broken_rules(
            bar.timeframe,
            batch.open_time_ms,
            (batch.open, batch.high, batch.low, batch.close),
            batch.volume,
            now_ms=now_ms,
        )[0]
    )
    if rule is not BarRule.VALID:
        return False, f"it still breaks a rule: {rule.label}"
    time_ms = int(batch.open_time_ms[0])
    stored = store.reader.rows(bar.symbol, bar.timeframe, time_ms, time_ms + 1, provider=bar.provider)
    if len(stored) and len(contributions(batch.open_time_ms, batch.values(), stored).added):
        return False, "the store has another value of this bar by now: drop it, or import the right one"
    if not reason and not len(stored) and bar.recorded_at_ms < time_ms + bar.timeframe.ms:
        return False, _UNFINISHED.format(timeframe=bar.timeframe)
    store.write(bar.provider, bar.symbol, bar.timeframe, batch, source=f"quarantine {bar.quarantine_id}")
    return True, reason or _RELEASED


def _give_up(store: BarStore, bar: QuarantinedBar, reason: str) -> tuple[bool, str]:
    """Note the minute of a bar as lacking, where it has one that is not known."""
    if bar.open_time_ms is not None:
        start_ms = bar.timeframe.floor(bar.open_time_ms)
        lack = start_ms, start_ms + bar.timeframe.ms, f"its bar was dropped: {reason}"
        store.write(bar.provider, bar.symbol, bar.timeframe, BarBatch.none(), lacking=[lack])
    return True, reason


def _cover(store: BarStore, bar: QuarantinedBar, now_ms: int, reason: str) -> tuple[bool, str]:
    """Take the minute of a bar as one in which nobody traded."""
    if bar.open_time_ms is None:
        return False, "it has no time, so no minute can count as one in which nobody traded"
    start_ms = bar.timeframe.floor(bar.open_time_ms)
    end_ms = start_ms + bar.timeframe.ms
    if start_ms < 0 or end_ms > now_ms:
        return False, "its time is none that has passed, so nobody knows yet whether anybody trades then"
    store.write(bar.provider, bar.symbol, bar.timeframe, BarBatch.none(), [(start_ms, end_ms)])
    return True, reason


def _batch(bar: QuarantinedBar) -> BarBatch:
    """The one bar, with exactly the values that were judged; NaN where its source had none."""
    time_ms = MISSING_TIME_MS if bar.open_time_ms is None else bar.open_time_ms
    values = {name: np.array([value]) for name, value in _values(bar).items()}
    return BarBatch(open_time_ms=np.array([time_ms], dtype=np.int64), **values)


def _values(bar: QuarantinedBar) -> dict[str, float]:
    if bar.judged is not None:
        return {name: _number(bar.judged.get(name)) for name in VALUE_FIELDS}
    fields = {str(name).lower(): value for name, value in bar.raw.items()}
    return {
        name: next((_number(fields[word]) for word in words if word in fields), np.nan)
        for name, words in _SPELLINGS.items()
    }


def _number(value: object) -> float:
    """The number that a field holds, or spells; NaN where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return float("nan")
    try:
        return float(value)
    except ValueError:
        return float("nan")


def _select(connection: Connection, ids: Sequence[int]) -> list[QuarantinedBar]:
    table, names = tables.quarantine, tables.symbols
    query = (
        select(names.c.provider, names.c.symbol, table)
        .join(names, names.c.symbol_id == table.c.symbol_id)
        .order_by(table.c.quarantine_id)
    )
    if ids:
        query = query.where(table.c.quarantine_id.in_(list(ids)))
    return [
        QuarantinedBar(
            quarantine_id=row.quarantine_id,
            provider=row.provider,
            symbol=Symbol.parse(row.symbol),
            timeframe=Timeframe.parse(row.timeframe),
            open_time_ms=row.open_time_ms,
            rule=row.rule,
            raw=json.loads(row.raw),
            judged=None if row.judged is None else json.loads(row.judged),
            source=row.source,
            line=row.line,
            recorded_at_ms=row.recorded_at_ms,
            status=row.status,
            settled_at_ms=row.settled_at_ms,
            settlement=row.settlement,
        )
        for row in connection.execute(query)
    ]
