"""Bars that broke a rule, as writes note them, and settle them once their minute is known."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from crypto_tracker.core.arrays import CodeArray, IntArray
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.core.validate import MISSING_TIME_MS, BarRule
from crypto_tracker.store import intervals, tables
from crypto_tracker.store.batch import VALUE_FIELDS, BarBatch

RawBar = Callable[[int], Mapping[str, Any]]
"""Gives the fields of a bar of a batch, by its index, as the source had them."""

SOUND_BAR = "a sound bar of its minute came"
NO_TRADE = "its source says that nobody traded then"


def note(
    connection: Connection,
    symbol_id: int,
    timeframe: Timeframe,
    bars: BarBatch,
    rules: CodeArray,
    *,
    raw: RawBar | None,
    source: str,
    now_ms: int,
) -> None:
    """Note the bars of a batch that broke a rule; one that came before is not noted again.

    `rules` tells the rule of each bar. Beside its fields as the source had them stand the values that were
    judged, so that releasing it needs to know no source's spelling.
    """
    rows = []
    for index in np.flatnonzero(rules).tolist():
        time_ms = int(bars.open_time_ms[index])
        judged = _numbers(bars, index)
        text = json.dumps(judged if raw is None else dict(raw(index)), default=str)
        rule = BarRule(rules[index]).label
        identity = json.dumps([symbol_id, timeframe.value, time_ms, rule, text])
        rows.append(
            {
                "symbol_id": symbol_id,
                "timeframe": timeframe.value,
                "open_time_ms": None if time_ms == MISSING_TIME_MS else time_ms,
                "rule": rule,
                "raw": text,
                "judged": json.dumps(judged),
                "source": source,
                "line": None if bars.line is None else int(bars.line[index]),
                "recorded_at_ms": now_ms,
                "content_key": hashlib.sha256(identity.encode()).hexdigest(),
            }
        )
    if rows:
        statement = sqlite_insert(tables.quarantine).on_conflict_do_nothing(index_elements=["content_key"])
        connection.execute(statement, rows)


def settle_known(
    connection: Connection,
    symbol_id: int,
    timeframe: Timeframe,
    known: IntArray,
    bar_times_ms: IntArray,
    now_ms: int,
) -> None:
    """Settle held bars whose minute a write makes known, as `healed`.

    `known` are the intervals that it makes known, `bar_times_ms` the times of its sound bars.
    """
    if not len(known):
        return
    table = tables.quarantine
    query = select(table.c.quarantine_id, table.c.open_time_ms).where(
        *_held_of(symbol_id, timeframe),
        table.c.open_time_ms >= int(known[0, 0]),
        table.c.open_time_ms < int(known[-1, 1]),
    )
    found = connection.execute(query).all()
    if not found:
        return
    ids, times = np.array([tuple(row) for row in found], dtype=np.int64).T
    cells = times // timeframe.ms * timeframe.ms
    sound = np.isin(cells, bar_times_ms)
    settled = [
        {"settled_id": number, "why": SOUND_BAR if is_sound else NO_TRADE}
        for number, cell, is_sound in zip(ids.tolist(), cells.tolist(), sound.tolist(), strict=True)
        if len(intervals.clip(known, cell, cell + timeframe.ms))
    ]
    if settled:
        connection.execute(
            update(table)
            .where(table.c.quarantine_id == bindparam("settled_id"))
            .values(status="healed", settled_at_ms=now_ms, settlement=bindparam("why")),
            settled,
        )


def minutes(connection: Connection, symbol_id: int, timeframe: Timeframe, covered: IntArray) -> IntArray:
    """The intervals, one bar long at least, in which bars are held and nothing sound is known."""
    query = select(tables.quarantine.c.open_time_ms).where(
        *_held_of(symbol_id, timeframe), tables.quarantine.c.open_time_ms >= 0
    )
    times = np.array(list(connection.execute(query).scalars()), dtype=np.int64)
    cells = intervals.distinct(times // timeframe.ms * timeframe.ms)
    return intervals.subtract(intervals.of_bars(cells, timeframe.ms), covered)


def _held_of(symbol_id: int, timeframe: Timeframe) -> tuple[Any, ...]:
    table = tables.quarantine
    return (
        table.c.symbol_id == symbol_id,
        table.c.timeframe == timeframe.value,
        table.c.status == "held",
    )


def _numbers(bars: BarBatch, index: int) -> dict[str, str | None]:
    """The values of a bar as text; None where the source has no such column or gave no value."""
    found = {}
    for name in VALUE_FIELDS:
        column = getattr(bars, name)
        value = None if column is None else float(column[index])
        found[name] = None if value is None or np.isnan(value) else repr(value)
    return found
