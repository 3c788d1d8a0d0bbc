"""The evidence of one side: its days, its cuts, and what chance does to figures of days."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.errors import DataError, SimulationError
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, to_ms
from crypto_tracker.simulation.evidence import (
    bootstrap_of_sums,
    carried_note,
    cut,
    day_numbers,
    day_start_ms,
    days_inside,
    days_of,
    whole_days,
)
from crypto_tracker.simulation.metrics import max_drawdown
from tests.simulation.sides import BTC, ETH, START_MS, daily, side, traded

AUGUST_1 = date(2025, 8, 1).toordinal()


def test_a_day_has_its_last_highest_and_lowest_equity_and_its_own_deepest_fall():
    # Six hours a bar: 10,000 before; the first day 100, 110, 99, 105 %, the second 105, 94.5, 90, 120 %.
    equity = np.array([10_000, 11_000, 9_900, 10_500, 10_500, 9_450, 9_000, 12_000], dtype=np.float64)
    times = START_MS + np.arange(8) * 6 * HOUR_MS
    days = days_of(times, equity, 10_000.0, "UTC")
    assert days.day.tolist() == [AUGUST_1, AUGUST_1 + 1]
    assert days.equity.tolist() == [10_500.0, 12_000.0]
    assert days.high.tolist() == [11_000.0, 12_000.0]
    assert days.low.tolist() == [9_900.0, 9_000.0]
    assert days.drawdown == pytest.approx([0.1, 1.0 - 9_000 / 10_500])
    assert days.pnl.tolist() == [500.0, 1_500.0]
    assert days.returns == pytest.approx([0.05, 1_500 / 10_500])
    # The deepest fall of all is from the first day's high to the second day's low.
    assert days.max_drawdown() == pytest.approx(1.0 - 9_000 / 11_000)


@given(
    st.lists(st.floats(-0.3, 0.4), min_size=1, max_size=60),
    st.integers(1, 9),
    st.sampled_from(["UTC", "America/Los_Angeles"]),
)
def test_days_know_the_drawdown_of_the_whole_curve(changes: list[float], hours: int, timezone: str):
    equity = 10_000.0 * np.cumprod(1.0 + np.array(changes))
    times = START_MS + np.arange(len(changes)) * hours * HOUR_MS
    days = days_of(times, equity, 10_000.0, timezone)
    assert days.max_drawdown() == pytest.approx(max_drawdown(equity, 10_000.0), abs=1e-12)
    assert float(days.pnl.sum()) == pytest.approx(equity[-1] - 10_000.0, abs=1e-6)


def test_a_trading_day_begins_at_midnight_of_its_zone_also_when_clocks_change():
    # On 26 October 2025 clocks in Berlin go back: the day is 25 hours long.
    day = date(2025, 10, 26).toordinal()
    assert day_start_ms(day, "Europe/Berlin") == to_ms(datetime(2025, 10, 25, 22, tzinfo=UTC))
    assert day_start_ms(day + 1, "Europe/Berlin") == to_ms(datetime(2025, 10, 26, 23, tzinfo=UTC))
    moments = np.array([to_ms(datetime(2025, 10, 26, hour, tzinfo=UTC)) for hour in (0, 22, 23)])
    assert day_numbers(moments, "Europe/Berlin").tolist() == [day, day, day + 1]
    assert day_numbers(np.array([START_MS]), "UTC").tolist() == [AUGUST_1]


def test_whole_days_leave_out_those_that_are_covered_in_part():
    whole = side(days=daily(1.0, 2.0, 3.0))
    assert whole_days(whole) == (AUGUST_1, AUGUST_1 + 3)
    later = replace(whole, start_ms=START_MS + HOUR_MS, end_ms=START_MS + 3 * DAY_MS - 1)
    assert whole_days(later) == (AUGUST_1 + 1, AUGUST_1 + 2)
    assert days_inside(whole, START_MS + 1, None) == (AUGUST_1 + 1, AUGUST_1 + 3)
    assert days_inside(whole, None, START_MS + DAY_MS) == (AUGUST_1, AUGUST_1 + 1)
    with pytest.raises(DataError, match="no whole trading day"):
        days_inside(whole, START_MS + HOUR_MS, START_MS + 2 * HOUR_MS)


def test_a_cut_counts_trades_where_they_were_decided():
    before = traded(BTC, "DCA", 0.2, 50.0)
    carried = traded(BTC, "SWING", 0.5, 30.0, closed_day=1.5)
    inside = traded(ETH, "DCA", 1.2, -20.0)
    at_the_start = traded(BTC, "CHANNEL", 1.0, 5.0)
    still_running = traded(ETH, "SWING", 1.8, 70.0, closed_day=2.2)
    held = traded(ETH, "CHANNEL", 1.9, 1.0, reason=ExitReason.NONE)
    whole = side(
        trades=[before, carried, inside, at_the_start, still_running, held],
        days=daily(10_100.0, 10_050.0, 10_200.0),
    )
    middle = cut(whole, AUGUST_1 + 1, AUGUST_1 + 2)
    assert set(middle.trades) == {inside, at_the_start}
    assert set(middle.running) == {still_running, held}
    assert (middle.open_trades, middle.carried) == ((), 1)
    assert middle.capital_quote == 10_100.0
    assert middle.days is not None
    assert middle.days.pnl.tolist() == [-50.0]
    assert middle.answers is not None
    assert len(middle.answers) == 4
    # A side that begins with the second day decides nothing at its very first moment.
    assert set(cut(whole, AUGUST_1 + 1, AUGUST_1 + 2, decided_after_start=True).trades) == {inside}
    # Up to the end of the side, what is held is marked there.
    rest = cut(whole, AUGUST_1 + 1, AUGUST_1 + 3)
    assert (rest.open_trades, rest.running) == ((held,), ())
    assert cut(whole, AUGUST_1, AUGUST_1 + 3) is whole
    assert carried_note(whole) == ()
    assert carried_note(middle) == (
        "A held 1 position, which counts in the marked equity and in no trade, when the span began",
    )
    # What was carried in is not told a second time.
    with pytest.raises(SimulationError, match="was cut before"):
        cut(rest, AUGUST_1 + 2, AUGUST_1 + 3)


def test_a_cut_without_marks_starts_with_what_had_closed():
    whole = replace(side(trades=[traded(BTC, "DCA", 0.2, 50.0)], days=daily(1.0, 1.0)), days=None)
    assert cut(whole, AUGUST_1 + 1, AUGUST_1 + 2).capital_quote == 10_050.0


def test_a_cut_beyond_the_side_is_refused():
    with pytest.raises(DataError, match="choose whole days"):
        cut(side(), AUGUST_1 - 1, AUGUST_1 + 1)


def test_a_sum_over_drawn_days_spreads_as_the_days_do():
    # Two days of 0 and 1, drawn twice each: the sum is 0, 1 or 2 with chances 1/4, 1/2, 1/4.
    parts = np.array([[0.0], [1.0]])
    options = {"draws": 20_000, "seed": 1}
    wide = bootstrap_of_sums(parts, lambda sums: sums[:, 0], confidence=0.95, **options)
    narrow = bootstrap_of_sums(parts, lambda sums: sums[:, 0], confidence=0.3, **options)
    assert (wide, narrow) == ((0.0, 2.0), (1.0, 1.0))


def test_draws_in_which_a_figure_does_not_exist_are_left_out():
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = bootstrap_of_sums(
            np.array([[1.0, 1.0], [0.0, 0.0]]),
            lambda sums: sums[:, 0] / sums[:, 1],
            draws=200,
            seed=1,
            confidence=0.9,
        )
    assert (low, high) == (1.0, 1.0)
