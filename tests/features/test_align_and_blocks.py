"""Timeframes meet on close time, and every month is computed from its own anchor."""

import numpy as np
import pytest

from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from crypto_tracker.features import align, blocks
from tests.features.drawn import BTC, ETH, random_walk, same_bits, utc

NOON = utc(2025, 3, 3, 12)


def test_the_bar_that_closes_at_12_15_sees_the_hour_that_ended_at_12_and_not_the_one_that_ends_at_13():
    hours = np.array([NOON - HOUR_MS, NOON, NOON + HOUR_MS])  # closes at 11, 12, 13
    quarters = np.array([NOON - 15 * MINUTE_MS, NOON, NOON + 15 * MINUTE_MS, NOON + HOUR_MS])
    seen = align.align(np.array([[11.0], [12.0], [13.0]]), hours, quarters)
    assert seen[:, 0].tolist() == [11.0, 12.0, 12.0, 13.0]


def test_before_the_first_close_nothing_is_known():
    values = align.align(np.array([1.0]), np.array([NOON]), np.array([NOON - 1, NOON]))
    assert np.isnan(values[0])
    assert values[1] == 1.0
    codes = align.align_codes(
        np.array([4], dtype=np.int8), np.array([NOON]), np.array([NOON - 1, NOON]), unknown=0
    )
    assert codes.tolist() == [0, 4]
    assert codes.dtype == np.int8


def test_a_missing_hour_is_seen_as_missing_and_not_as_the_hour_before():
    hours = np.array([NOON, NOON + HOUR_MS])
    seen = align.align(np.array([[5.0], [np.nan]]), hours, np.array([NOON, NOON + HOUR_MS]))
    assert seen[0, 0] == 5.0
    assert np.isnan(seen[1, 0])


@pytest.mark.parametrize(
    ("minutes_late", "found"), [(0, 3.0), (1, 3.0), (4, 3.0), (5, 3.0), (6, None), (600, None)]
)
def test_the_last_close_counts_while_it_is_at_most_five_minutes_old(minutes_late, found):
    closes = NOON + MINUTE_MS * np.array([-2, -1, 0])
    at = np.array([NOON + minutes_late * MINUTE_MS])
    value = align.last_known(np.array([[1.0], [2.0], [3.0]]), closes, at, age_max_ms=5 * MINUTE_MS)[0, 0]
    assert (None if np.isnan(value) else value) == found


def test_a_minute_without_a_bar_is_answered_by_the_one_before_each_symbol_for_itself():
    closes = NOON + MINUTE_MS * np.arange(4)
    values = np.array([[1.0, 1.0], [2.0, np.nan], [np.nan, np.nan], [np.nan, 4.0]])
    seen = align.last_known(values, closes, closes, age_max_ms=2 * MINUTE_MS)
    assert seen.tolist() == [[1.0, 1.0], [2.0, 1.0], [2.0, 1.0], [2.0, 4.0]]


def test_a_span_is_cut_into_calendar_months_clipped_at_both_ends():
    cut = list(blocks.month_blocks(utc(2024, 12, 30, 5), utc(2025, 3, 1)))
    assert cut == [
        (utc(2024, 12, 30, 5), utc(2025, 1, 1)),
        (utc(2025, 1, 1), utc(2025, 2, 1)),
        (utc(2025, 2, 1), utc(2025, 3, 1)),
    ]
    assert list(blocks.month_blocks(utc(2025, 1, 1), utc(2025, 1, 1))) == []


def test_a_block_reads_from_its_months_start_less_the_warm_up_also_when_it_begins_in_mid_month():
    panels = {
        timeframe: random_walk(timeframe, utc(2025, 1, 1), utc(2025, 4, 1), (BTC,), seed=1)
        for timeframe in (Timeframe.M15, Timeframe.H4, Timeframe.D1)
    }
    cut = blocks.anchored_panels(
        panels, {Timeframe.M15: 10, Timeframe.H4: 3}, utc(2025, 3, 20, 7), utc(2025, 3, 22, 9, 15)
    )
    assert set(cut) == {Timeframe.M15, Timeframe.H4}, "what is not declared is not seen"
    quarter, four = cut[Timeframe.M15], cut[Timeframe.H4]
    assert quarter.open_time_ms[0] == utc(2025, 3, 1) - 10 * Timeframe.M15.ms
    assert quarter.close_time_ms[-1] == utc(2025, 3, 22, 9, 15)
    assert four.open_time_ms[0] == utc(2025, 3, 1) - 3 * Timeframe.H4.ms
    assert four.close_time_ms[-1] == utc(2025, 3, 22, 8), "the bar that is still forming is not in it"


def test_a_timeframe_that_the_market_does_not_have_is_left_out():
    panels = {Timeframe.H1: random_walk(Timeframe.H1, utc(2025, 3, 1), utc(2025, 3, 3), (BTC,), seed=1)}
    warmup = {Timeframe.H1: 0, Timeframe.M1: 5}
    assert set(blocks.anchored_panels(panels, warmup, utc(2025, 3, 1), utc(2025, 3, 2))) == {Timeframe.H1}


def test_a_negative_warm_up_is_refused():
    with pytest.raises(UsageError, match="warm-up on 1h is -1 bars"):
        blocks.anchor_ms(Timeframe.H1, -1, utc(2025, 3, 1))


def test_the_scans_of_a_span_are_the_bars_that_close_in_it_without_its_start_and_with_its_end():
    panel = random_walk(Timeframe.H1, utc(2025, 3, 1), utc(2025, 3, 2), (BTC, ETH), seed=1)
    rows = blocks.closing_within(panel, utc(2025, 3, 1, 5), utc(2025, 3, 1, 8))
    assert ((rows.close_time_ms - utc(2025, 3, 1)) // HOUR_MS).tolist() == [6, 7, 8]
    between = blocks.closing_within(panel, utc(2025, 3, 1, 5, 30), utc(2025, 3, 1, 8, 30))
    assert same_bits(between.close, rows.close)
    assert len(blocks.closing_within(panel, utc(2025, 3, 5), utc(2025, 3, 6))) == 0
    assert len(blocks.closing_within(panel, utc(2025, 3, 1, 8), utc(2025, 3, 1, 5))) == 0


def test_bars_that_are_still_open_are_not_closed():
    panel = random_walk(Timeframe.H1, utc(2025, 3, 1), utc(2025, 3, 2), (BTC,), seed=1)
    closed = blocks.closing_by(panel, utc(2025, 3, 1, 2), utc(2025, 3, 1, 4, 59))
    assert ((closed.open_time_ms - utc(2025, 3, 1)) // HOUR_MS).tolist() == [2, 3]
    assert len(blocks.closing_by(panel, utc(2025, 3, 1) - DAY_MS, utc(2025, 3, 1))) == 0


def test_whether_bars_are_there_is_told_without_making_them():
    minutes = random_walk(Timeframe.M1, NOON - DAY_MS, NOON + DAY_MS, [BTC, ETH], seed=1)
    bars = blocks.BarsOfMinutes(
        timeframe=Timeframe.M5, start_ms=NOON - DAY_MS, minutes=[minutes], lead=None, beside=None
    )
    panels = blocks.PanelsOnDemand({Timeframe.M5: bars, Timeframe.M1: minutes})
    assert Timeframe.M5 in panels
    assert Timeframe.H1 not in panels
    assert (len(panels), list(panels)) == (2, [Timeframe.M5, Timeframe.M1])
    assert not panels._whole
    assert panels[Timeframe.M1] is minutes
    assert panels[Timeframe.M5] is panels[Timeframe.M5]
