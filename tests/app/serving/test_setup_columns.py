"""Setups held as columns: a filter means the rows that match it, and pages go on where the last one ended."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.app.serving import setup_columns
from crypto_tracker.app.serving.setup_columns import SetupColumns
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.desk.source import DecisionFilter
from crypto_tracker.store.column_rows import SetupRows

SYMBOLS, STRATEGIES = ("BTC/USDT", "ETH/USDT", "SOL/USDT"), ("DCA", "SWING")
VERDICTS, REASONS = ("TAKE", "SKIP", "NEAR_MISS"), ("accepted", "no_cash", "volume_low")
Row = tuple[int, str, str, str, str]


def rows_of(rows: Sequence[Row]) -> SetupRows:
    kinds = list(dict.fromkeys(row[1:] for row in rows))
    return SetupRows(
        time_ms=np.array([row[0] for row in rows], dtype=np.int64),
        kind=np.array([kinds.index(row[1:]) for row in rows], dtype=np.int64),
        kinds=kinds,
    )


def columns_of(rows: Sequence[Row]) -> SetupColumns:
    return SetupColumns().extended(rows_of(rows))


KEYS = st.tuples(st.integers(0, 12), st.sampled_from(SYMBOLS), st.sampled_from(STRATEGIES))
ROWS = st.dictionaries(KEYS, st.tuples(st.sampled_from(VERDICTS), st.sampled_from(REASONS)), max_size=40).map(
    lambda found: [(*key, *found[key]) for key in sorted(found)]
)


def some(values: Sequence[Any]) -> Any:
    return st.lists(st.sampled_from(values), max_size=2, unique=True).map(tuple)


FILTERS = st.builds(
    DecisionFilter,
    symbols=some([Symbol.parse(name) for name in (*SYMBOLS, "XRP/USDT")]),
    strategies=some((*STRATEGIES, "GRID")),
    reasons=some((*REASONS, "cooldown")),
    verdicts=some(VERDICTS),
    start_ms=st.none() | st.integers(0, 13),
    end_ms=st.none() | st.integers(0, 13),
)


def matches(row: Row, where: DecisionFilter) -> bool:
    time_ms, symbol, strategy, verdict, reason = row
    return (
        (not where.symbols or Symbol.parse(symbol) in where.symbols)
        and (not where.strategies or strategy in where.strategies)
        and (not where.verdicts or verdict in where.verdicts)
        and (not where.reasons or reason in where.reasons)
        and (where.start_ms is None or time_ms >= where.start_ms)
        and (where.end_ms is None or time_ms < where.end_ms)
    )


@given(ROWS, FILTERS, st.integers(1, 5), st.sampled_from((1, 7, 65_536)))
def test_pages_together_are_all_rows_of_the_filter_newest_first(rows, where, limit, at_once):
    columns = columns_of(rows) if rows else SetupColumns()
    found: list[Any] = []
    before = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup_columns, "_AT_ONCE", at_once)
        while keys := columns.keys(columns.page(where, limit=limit, before=before)):
            assert len(keys) <= limit
            found += keys
            before = keys[-1]
    assert found == [row[:3] for row in reversed(rows) if matches(row, where)]


@given(ROWS, FILTERS, st.sampled_from((1, 4, 65_536)), st.integers(0, 13))
def test_counts_are_those_of_the_rows_of_the_filter(rows, where, block, parted):
    columns = SetupColumns()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup_columns, "_BLOCK", block)
        for part in ([row for row in rows if row[0] < parted], [row for row in rows if row[0] >= parted]):
            columns = columns.extended(rows_of(part))
        found = columns.counted(where)
    assert found == dict(Counter(row[3:] for row in rows if matches(row, where)))
    assert list(found.values()) == sorted(found.values(), reverse=True)


@given(ROWS, st.integers(0, 13))
def test_it_makes_no_difference_in_how_many_parts_rows_came_in(rows, parted):
    grown = SetupColumns()
    for part in ([row for row in rows if row[0] < parted], [row for row in rows if row[0] >= parted]):
        grown = grown.extended(rows_of(part))
    everything = np.arange(len(rows))
    assert grown.keys(everything) == [row[:3] for row in rows]
    assert grown.counts == dict(Counter(row[3:] for row in rows))
    assert grown.counted(DecisionFilter()) == grown.counted(DecisionFilter(start_ms=0))


def test_rows_of_a_close_that_is_there_already_are_refused():
    columns = columns_of([(5, "BTC/USDT", "DCA", "TAKE", "accepted")])
    with pytest.raises(ValueError, match="decided at later closes"):
        columns.extended(rows_of([(5, "ETH/USDT", "DCA", "TAKE", "accepted")]))


def test_a_key_between_rows_is_a_place_too():
    columns = columns_of(
        [(5, "BTC/USDT", "DCA", "TAKE", "accepted"), (5, "SOL/USDT", "DCA", "TAKE", "accepted")]
    )
    assert [
        columns.place((5, symbol, "DCA")) for symbol in ("ADA/USDT", "BTC/USDT", "ETH/USDT", "XRP/USDT")
    ] == [
        0,
        0,
        1,
        2,
    ]
    assert (columns.place((4, "X", "X")), columns.place((6, "", ""))) == (0, 2)
