"""The window, filled minute by minute, is what the store says of the same span."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.resample import resample
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from crypto_tracker.store.trading_records import REFERENCE, TRADED
from crypto_tracker.trading.seen import SeenRows
from crypto_tracker.trading.window import Needs, SeenWindow, Series

BTC, ETH = Symbol("BTC", "USD"), Symbol("ETH", "USD")
START = 1_756_684_800_000  # 2025-09-01 00:00, the start of a month
NEEDS = Needs(warmup={TRADED: {Timeframe.M5: 3, Timeframe.H4: 2}, REFERENCE: {Timeframe.D1: 2}})


class Minutes:
    """A source that derives everything from a panel of minutes, and notes what it was asked for."""

    def __init__(self, panel):
        self.panel_of_minutes = panel
        self.asked = []

    def panel(self, symbols, timeframe, start_ms, end_ms):
        self.asked.append((tuple(symbols), timeframe, start_ms, end_ms))
        minutes = self.panel_of_minutes.between(start_ms, end_ms).select(symbols)
        return resample(minutes, timeframe)


def market(minutes, *, missing=(), unknown=(), symbols=(BTC, ETH), start=START):
    rng = np.random.default_rng(7)
    shape = (minutes, len(symbols))
    close = 100.0 + rng.normal(0.0, 1.0, shape).cumsum(axis=0) * 0.1
    values = {
        "open": close + 0.01,
        "high": close + 0.5,
        "low": close - 0.5,
        "close": close.copy(),
        "volume": rng.uniform(1.0, 9.0, shape),
    }
    covered = np.ones(shape, dtype=np.bool_)
    for row, column in (*missing, *unknown):
        for array in values.values():
            array[row, column] = np.nan
    for row, column in unknown:
        covered[row, column] = False
    times = start + np.arange(minutes, dtype=np.int64) * MINUTE_MS
    return Panel(timeframe=Timeframe.M1, symbols=symbols, open_time_ms=times, covered=covered, **values)


def rows_of(panel, first, last):
    return SeenRows.of_panel(panel.rows(first, last))


def walk(window, panel, source, part=TRADED):
    made = []
    for row in range(len(panel)):
        window.series(part, Timeframe.M1).extend(rows_of(panel, row, row + 1))
        close_ms = int(panel.close_time_ms[row])
        made += [(close_ms, timeframe) for timeframe, _ in window.close_bars(part, close_ms, source)]
    return made


def same(panel, expected):
    assert panel.symbols == expected.symbols
    np.testing.assert_array_equal(panel.open_time_ms, expected.open_time_ms)
    np.testing.assert_array_equal(panel.covered, expected.covered)
    for name in BAR_FIELDS:
        np.testing.assert_array_equal(getattr(panel, name), getattr(expected, name))


@settings(max_examples=25, deadline=None)
@given(
    missing=st.sets(st.tuples(st.integers(0, 479), st.integers(0, 1)), max_size=40),
    gap=st.tuples(st.integers(0, 470), st.integers(1, 30)),
)
def test_bars_made_minute_by_minute_are_those_of_the_whole_span(missing, gap):
    panel = market(480, missing=missing | {(row, 0) for row in range(gap[0], min(sum(gap), 480))})
    window = SeenWindow((BTC, ETH), None, Needs(warmup={TRADED: NEEDS.warmup[TRADED]}))
    source = Minutes(panel)
    made = walk(window, panel, source)
    assert len(made) == 96 + 2
    for timeframe in (Timeframe.M5, Timeframe.H4):
        same(window.series(TRADED, timeframe).panel(), resample(panel, timeframe))
    assert source.asked == []  # everything was seen, so nothing was asked again


def test_a_minute_that_was_unknown_is_asked_for_again_when_its_bar_closes():
    seen = market(5, unknown=[(3, 1)])
    arrived = market(5)  # by 00:05 the store has what was late at 00:04
    window = SeenWindow((BTC, ETH), None, Needs(warmup={TRADED: {Timeframe.M5: 3}}))
    source = Minutes(arrived)
    walk(window, seen, source)
    assert source.asked == [((ETH,), Timeframe.M5, START, START + 5 * MINUTE_MS)]
    same(window.series(TRADED, Timeframe.M5).panel(), resample(arrived, Timeframe.M5))


def test_a_bar_that_stays_unknown_is_healed_later_and_only_where_nothing_was_known():
    seen = market(10, unknown=[(3, 1)])
    window = SeenWindow((BTC, ETH), None, Needs(warmup={TRADED: {Timeframe.M5: 3}}))
    walk(window, seen, Minutes(seen))
    assert np.isnan(window.series(TRADED, Timeframe.M5).panel().close[0, 1])
    later = market(10)
    other = Minutes(later)
    ((timeframe, cells),) = window.heal(TRADED, START + 10 * MINUTE_MS, other)
    assert timeframe is Timeframe.M5
    assert (cells.open_time_ms.tolist(), cells.column.tolist()) == ([START], [1])
    same(window.series(TRADED, Timeframe.M5).panel(), resample(later, Timeframe.M5))
    assert window.heal(TRADED, START + 10 * MINUTE_MS, other) == []


def test_what_is_not_looked_at_any_more_is_dropped_and_memory_stays():
    needs = Needs(warmup={TRADED: {Timeframe.M5: 3}})
    window = SeenWindow((BTC, ETH), None, needs)
    panel = market(2 * 1_440, start=START - DAY_MS)
    walk(window, panel, Minutes(panel))
    window.drop_before(START + DAY_MS)
    series = window.series(TRADED, Timeframe.M5)
    assert series.start_ms == START - 3 * 5 * MINUTE_MS
    assert len(series) == 288 + 3
    assert len(window.series(TRADED, Timeframe.M1)) == 0


def test_the_reference_keeps_its_minutes_for_three_days():
    assert NEEDS.start_ms(REFERENCE, Timeframe.M1, START + HOUR_MS) == START + HOUR_MS - 3 * DAY_MS
    assert NEEDS.start_ms(TRADED, Timeframe.M1, START + 5 * HOUR_MS) == START + 4 * HOUR_MS


def test_a_row_that_does_not_follow_is_refused():
    series = Series(Timeframe.M1, (BTC, ETH))
    panel = market(5)
    series.extend(rows_of(panel, 0, 2))
    with pytest.raises(StoreError, match="hole"):
        series.extend(rows_of(panel, 3, 4))
    with pytest.raises(StoreError, match="shape"):
        series.extend(SeenRows.of_panel(market(5, symbols=(BTC,)).rows(2, 3)))
