"""The equity in levels: a curve of hours or days is the curve of its minutes, and nothing is lost at the edges."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.app.serving import equity_levels
from crypto_tracker.app.serving.equity_levels import EquityLevels
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, to_ms
from crypto_tracker.store.column_rows import MinuteRows

START = to_ms(datetime(2025, 8, 1, 22, 30, tzinfo=UTC))


def minutes(equity: Any, *, first: int = 0) -> MinuteRows:
    values = np.array(equity, dtype=np.int64)
    return MinuteRows(
        time_ms=START + MINUTE_MS * np.arange(first, first + len(values)),
        equity_e8=values,
        regime=np.zeros(len(values), dtype=np.int8),
    )


def levels(equity: Any, *, capital: int = 100) -> EquityLevels:
    return EquityLevels.fresh(capital).extended(minutes(equity))


def walk(count: int, seed: int = 1) -> Any:
    return 10**12 + np.cumsum(np.random.default_rng(seed).integers(-(10**6), 10**6, count))


def test_an_account_before_its_first_close_has_its_capital_and_no_curve():
    fresh = EquityLevels.fresh(100)
    assert (len(fresh), fresh.last_e8, fresh.peak_e8, fresh.drawdown, fresh.max_drawdown) == (
        0,
        100,
        100,
        0.0,
        0.0,
    )
    assert fresh.curve(10) is None
    assert fresh.daily("UTC").days == ()


def test_the_drawdown_counts_the_capital():
    found = levels([90, 95, 120, 108, 130, 117])
    assert (found.max_drawdown, found.peak_e8) == (0.1, 130)
    assert found.drawdown == pytest.approx(0.1)
    assert levels([80, 150, 150]).max_drawdown == 0.2
    assert levels([100, 101]).max_drawdown == 0.0


def test_five_minutes_in_two_stretches():
    curve = levels([90, 120, 80, 100, 70]).curve(2)
    assert curve is not None
    assert curve.resolution_ms == 3 * MINUTE_MS
    assert (curve.rows.equity_e8.tolist(), curve.rows.low_e8.tolist(), curve.rows.high_e8.tolist()) == (
        [80, 70],
        [80, 70],
        [120, 100],
    )
    assert curve.drawdown.tolist() == pytest.approx([40 / 120, 50 / 120])
    assert curve.close_ms.tolist() == [START + 3 * MINUTE_MS, START + 5 * MINUTE_MS]


def test_a_span_holds_the_minutes_that_open_in_it():
    found = levels([1, 2, 3, 4, 5])
    curve = found.curve(9, START + MINUTE_MS, START + 3 * MINUTE_MS)
    assert curve is not None
    assert curve.rows.equity_e8.tolist() == [2, 3]
    assert found.curve(9, START + 5 * MINUTE_MS, None) is None
    assert found.curve(9, None, START) is None


def test_a_long_span_is_made_of_hours_or_days_and_loses_nothing(monkeypatch: pytest.MonkeyPatch):
    equity = walk(6 * 1_440)
    found = levels(equity, capital=10**12)
    by_minutes = {points: found.curve(points) for points in (1, 2, 5)}
    for most, unit in ((1_000, HOUR_MS), (20, DAY_MS)):
        monkeypatch.setattr(equity_levels, "_MOST_ROWS", most)
        for points, fine in by_minutes.items():
            curve = found.curve(points)
            assert fine is not None
            assert curve is not None
            assert len(curve.rows) <= points
            assert curve.resolution_ms % unit == 0
            assert curve.rows.low_e8.min() == fine.rows.low_e8.min() == equity.min()
            assert curve.rows.high_e8.max() == fine.rows.high_e8.max() == equity.max()
            assert curve.rows.equity_e8[-1] == equity[-1]


@given(
    st.integers(1, 3 * 1_440 + 200),
    st.integers(1, 40),
    st.integers(-10, 5_000),
    st.integers(-10, 5_000),
    st.sampled_from((10, 200, 65_536)),
)
def test_every_stretch_is_what_its_minutes_say(count, points, first, length, most):
    equity = walk(count)
    found = EquityLevels.fresh(10**12)
    for start in range(0, count, 700):  # in the parts in which it would be followed
        found = found.extended(minutes(equity[start : start + 700], first=start))
    start_ms = START + first * MINUTE_MS
    end_ms = start_ms + max(length, 0) * MINUTE_MS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(equity_levels, "_MOST_ROWS", most)
        curve = found.curve(points, start_ms, end_ms)
    inside = [place for place in range(count) if first <= place < first + length]
    if not inside:
        assert curve is None
        return
    assert curve is not None
    assert len(curve.rows) <= points
    times = found.time_ms.tolist()
    ends = [times.index(time_ms) for time_ms in curve.rows.time_ms.tolist()]
    assert ends[-1] == inside[-1]
    begins = [inside[0], *(end + 1 for end in ends[:-1])]
    peak = np.maximum.accumulate(np.maximum(equity, 10**12))
    fallen = (peak - equity) / peak
    for place, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        part = equity[begin : end + 1]
        assert curve.rows.equity_e8[place] == part[-1]
        assert (curve.rows.low_e8[place], curve.rows.high_e8[place]) == (part.min(), part.max())
        assert curve.drawdown[place] == fallen[begin : end + 1].max()
        assert times[end] - times[begin] < curve.resolution_ms


@given(st.lists(st.integers(1, 400), min_size=1, max_size=8), st.integers(0, 3))
def test_it_makes_no_difference_in_how_many_parts_minutes_came_in(parts, seed):
    equity = walk(sum(parts), seed)
    whole, grown, place = levels(equity, capital=10**12), EquityLevels.fresh(10**12), 0
    for part in parts:
        grown = grown.extended(minutes(equity[place : place + part], first=place))
        place += part
    assert (grown.max_drawdown, grown.peak_e8, grown.last_e8) == (
        whole.max_drawdown,
        whole.peak_e8,
        whole.last_e8,
    )
    for points in (1, 3, 50):
        one, other = grown.curve(points), whole.curve(points)
        assert one is not None
        assert other is not None
        assert one.rows.low_e8.tolist() == other.rows.low_e8.tolist()
        assert one.rows.time_ms.tolist() == other.rows.time_ms.tolist()


@given(st.integers(1, 4_000), st.sampled_from(("UTC", "America/Los_Angeles", "Asia/Kolkata")))
def test_the_equity_of_a_day_is_that_of_its_last_minute(count, zone):
    equity = walk(count)
    found = levels(equity, capital=10**12)
    last: dict[date, int] = {}
    for time_ms, value in zip(found.time_ms.tolist(), equity.tolist(), strict=True):
        last[datetime.fromtimestamp(time_ms / 1_000, tz=ZoneInfo(zone)).date()] = value
    daily = found.daily(zone)
    assert dict(zip(daily.days, daily.equity_e8.tolist(), strict=True)) == last
    assert daily.before_e8.tolist() == [10**12, *daily.equity_e8.tolist()[:-1]]
    assert daily.returns[0] == daily.equity_e8[0] / 10**12 - 1.0


def test_a_state_is_not_changed_by_what_came_later():
    before = levels([90, 95])
    after = before.extended(minutes([50, 60], first=2))
    assert (len(before), before.max_drawdown, before.equity_e8.tolist()) == (2, 0.1, [90, 95])
    assert (len(after), after.max_drawdown, after.equity_e8.tolist()) == (4, 0.5, [90, 95, 50, 60])
    with pytest.raises(ValueError, match="in order of time"):
        after.extended(minutes([1], first=3))


def test_stretches_begin_at_round_times():
    found = levels(walk(3_000))  # from 22:30
    a_day = found.curve(500, START + 61 * MINUTE_MS)
    assert a_day is not None
    assert a_day.resolution_ms == 6 * MINUTE_MS
    assert all(close_ms % (6 * MINUTE_MS) == 0 for close_ms in a_day.close_ms.tolist()[:-1])
    two_days = found.curve(20, START + 7 * MINUTE_MS)
    assert two_days is not None
    assert two_days.resolution_ms == 3 * HOUR_MS
    assert (two_days.close_ms[0] - START) // MINUTE_MS == 90  # midnight


@pytest.mark.parametrize("first", [1, 700, 3_456, 7_000])
def test_the_peak_before_a_span_is_that_of_every_minute_before_it(first):
    equity = walk(7_000)
    found = levels(equity, capital=10**12)
    expected = max(10**12, int(equity[:first].max()))
    assert found.peak_before(START + first * MINUTE_MS) == expected
    assert found.peak_before(None) == found.peak_before(START) == 10**12


def test_minutes_that_are_missing_make_no_stretch():
    found = levels([1, 2]).extended(minutes([3, 4], first=3 * 1_440))
    curve = found.curve(1_000)
    assert curve is not None
    assert curve.rows.equity_e8.tolist() == [2, 4]
    assert [str(day) for day in found.daily("UTC").days] == ["2025-08-01", "2025-08-04"]
