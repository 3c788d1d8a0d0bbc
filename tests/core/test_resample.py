"""Coarser bars come from finer ones by coverage, and never from half an interval."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.resample import resample, resample_between
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe

BTC = Symbol("BTC", "USDT")
NAN = float("nan")
NO_TRADE = (NAN,) * 5
Bar = tuple[float, float, float, float, float]


def minutes(bars: list[Bar], covered: list[bool] | None = None, *, start_minute: int = 0) -> Panel:
    table = np.array(bars, dtype=np.float64).reshape(-1, 5)
    return Panel(
        timeframe=Timeframe.M1,
        symbols=(BTC,),
        open_time_ms=(start_minute + np.arange(len(table))) * 60_000,
        **{name: table[:, [index]] for index, name in enumerate(BAR_FIELDS)},
        covered=np.array([True] * len(table) if covered is None else covered).reshape(-1, 1),
    )


def rows(panel: Panel) -> list[list[float]]:
    return np.column_stack([getattr(panel, name)[:, 0] for name in BAR_FIELDS]).tolist()


def test_five_minutes_become_one_bar():
    panel = minutes(
        [
            (100, 102, 99, 101, 3),
            (101, 105, 100, 104, 2),
            NO_TRADE,
            (104, 104, 97, 98, 5),
            (98, 99, 98, 99, 1),
        ]
    )
    assert rows(resample(panel, Timeframe.M5)) == [[100, 105, 97, 99, 11]]


def test_the_open_is_that_of_the_first_minute_with_a_trade_and_the_close_that_of_the_last():
    panel = minutes([NO_TRADE, (50, 51, 49, 50.5, 1), NO_TRADE, (52, 53, 52, 53, 1), NO_TRADE])
    assert rows(resample(panel, Timeframe.M5)) == [[50, 53, 49, 53, 2]]


def test_an_interval_that_is_covered_and_empty_had_no_trade():
    coarse = resample(minutes([NO_TRADE] * 5), Timeframe.M5)
    assert np.isnan(coarse.close).all()
    assert coarse.no_trade.all()


def test_an_interval_of_which_one_minute_is_unknown_is_unknown():
    panel = minutes([(100, 101, 99, 100, 1)] * 4 + [NO_TRADE], [True] * 4 + [False])
    coarse = resample(panel, Timeframe.M5)
    assert np.isnan(coarse.close).all()
    assert not coarse.covered.any()


def test_the_volume_is_unknown_when_that_of_one_minute_is():
    panel = minutes([(100, 101, 99, 100, 1)] * 4 + [(100, 101, 99, 100, NAN)])
    assert math.isnan(resample(panel, Timeframe.M5).volume[0, 0])
    assert resample(panel, Timeframe.M5).close[0, 0] == 100


def test_a_span_that_begins_and_ends_within_a_bar_leaves_the_ends_unknown():
    coarse = resample(minutes([(100, 101, 99, 100, 1)] * 10, start_minute=3), Timeframe.M5)
    assert coarse.open_time_ms.tolist() == [0, 300_000, 600_000]
    assert coarse.covered.ravel().tolist() == [False, True, False]
    assert coarse.present.ravel().tolist() == [False, True, False]


def test_the_same_timeframe_is_the_same_panel():
    panel = minutes([(100, 101, 99, 100, 1)])
    assert resample(panel, Timeframe.M1) is panel


def test_finer_bars_are_never_made_of_coarser_ones():
    coarse = resample(minutes([(100, 101, 99, 100, 1)] * 15), Timeframe.M15)
    with pytest.raises(UsageError, match="5m bars cannot be made of 15m"):
        resample(coarse, Timeframe.M5)


def slow_resample(panel: Panel, group: int) -> list[tuple[list[float], bool]]:
    """Bar by bar and minute by minute."""
    by_minute = {int(time) // 60_000: index for index, time in enumerate(panel.open_time_ms)}
    first, last = min(by_minute) // group, max(by_minute) // group
    result = []
    for coarse in range(first, last + 1):
        bar: list[float] | None = None
        known = True
        for minute in range(coarse * group, (coarse + 1) * group):
            index = by_minute.get(minute)
            if index is None or not (panel.covered[index, 0] or not math.isnan(panel.close[index, 0])):
                known = False
                continue
            one = [float(getattr(panel, name)[index, 0]) for name in BAR_FIELDS]
            if math.isnan(one[3]):
                continue
            if bar is None:
                bar = [one[0], one[1], one[2], one[3], 0.0 + one[4]]
            else:
                bar = [bar[0], max(bar[1], one[1]), min(bar[2], one[2]), one[3], bar[4] + one[4]]
        result.append((bar if bar is not None and known else [NAN] * 5, known))
    return result


prices = st.floats(0.001, 1e6)
bars = st.one_of(
    st.just(NO_TRADE),
    st.tuples(prices, prices, prices, prices, st.one_of(st.just(NAN), st.floats(0, 1e9))),
)


@given(
    st.lists(st.tuples(bars, st.booleans()), min_size=1, max_size=70),
    st.integers(0, 70),
    st.sampled_from([Timeframe.M5, Timeframe.M15, Timeframe.H1]),
)
def test_any_minutes_become_the_bars_that_a_slow_loop_makes_of_them(market, start_minute, timeframe):
    panel = minutes([bar for bar, _ in market], [known for _, known in market], start_minute=start_minute)
    coarse = resample(panel, timeframe)
    expected = slow_resample(panel, timeframe.ms // 60_000)
    assert coarse.covered.ravel().tolist() == [known for _, known in expected]
    # To the last bit: the volume is added up from left to right.
    np.testing.assert_array_equal(rows(coarse), [bar for bar, _ in expected])


# --------------------------------------------------------------------------- panels that follow one another


@given(
    st.lists(st.tuples(st.sampled_from([1.0, 2.0, 3.0, NAN]), st.booleans()), min_size=60, max_size=60),
    st.integers(0, 60),
    st.sampled_from([Timeframe.M5, Timeframe.M15]),
)
def test_parts_that_follow_one_another_are_resampled_as_one(bars, cut, timeframe):
    table: list[Bar] = [(close, close + 1, close - 0.5, close, 2 * close) for close, _ in bars]
    whole = minutes(table, [known for _, known in bars])
    made = resample_between([whole.rows(0, cut), whole.rows(cut, 60)], timeframe, 15 * 60_000, 60 * 60_000)
    expected = resample(whole, timeframe).between(15 * 60_000, 60 * 60_000)
    for name in (*BAR_FIELDS, "covered", "open_time_ms"):
        np.testing.assert_array_equal(getattr(made, name), getattr(expected, name))


def test_bars_for_which_there_are_no_minutes_are_refused():
    with pytest.raises(UsageError, match="5m bars were asked for where no 1m bars are held"):
        resample_between([minutes([(1, 1, 1, 1, 1)] * 7)], Timeframe.M5, 0, 10 * 60_000)


def test_long_groups_are_merged_as_short_ones():
    rng = np.random.default_rng(1)
    close = np.where(rng.random(240) < 0.2, NAN, rng.normal(100, 1, 240))
    table: list[Bar] = [(value, value + 1, value - 1, value, 3.0) for value in close]
    day = resample(minutes(table), Timeframe.H4)
    known = close[~np.isnan(close)]
    assert rows(day) == [[known[0], known.max() + 1, known.min() - 1, known[-1], 3.0 * len(known)]]
