"""Bars of one provider from the history of another, and the newest bars: always what a panel shows."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.bars import BAR_FIELDS
from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.core.resample import resample
from crypto_tracker.core.timeframes import HOUR_MS, Timeframe
from crypto_tracker.store.reader import SOURCES
from crypto_tracker.store.sources import StoredBars
from tests.store.shelf import (
    BTC,
    ETH,
    MINUTE,
    assert_same_bars,
    at,
    drawn,
    drawn_minute,
    part,
    run_of_minutes,
    store,
)

M1 = Timeframe.M1
SPAN = at("12:00"), at("14:00")


@pytest.fixture
def shop(tmp_path):
    """Kraken has an hour from half past twelve, Massive two hours from noon, at ten times the price."""
    with store(tmp_path) as opened:
        opened.write("kraken", BTC, M1, run_of_minutes("12:30", 60))
        opened.write("massive", BTC, M1, run_of_minutes("12:00", 120, price=1000.0))
        yield opened


def test_without_a_history_nothing_changes(shop):
    panel = shop.reader.panel([BTC], M1, *SPAN, provider="kraken")
    assert panel.covered[:, 0].tolist() == [False] * 30 + [True] * 60 + [False] * 30
    assert_same_bars(panel, shop.reader.panel([BTC], M1, *SPAN, provider="kraken", history="kraken"))
    assert_same_bars(panel, StoredBars(shop.reader, {BTC: "kraken"}, "").panel([BTC], M1, *SPAN))


def test_the_history_fills_only_what_the_provider_has_not_fetched(shop):
    panel = shop.reader.panel([BTC], M1, *SPAN, provider="kraken", history="massive")
    assert panel.covered.all()
    own = [False] * 30 + [True] * 60 + [False] * 30
    assert (panel.close[:, 0] < 500).tolist() == own
    spans = shop.reader.sources([BTC], M1, *SPAN, provider="kraken", history="massive")[BTC]
    assert [(span.start_ms, span.end_ms, span.providers) for span in spans] == [
        (at("12:00"), at("12:30"), ("massive",)),
        (at("12:30"), at("13:30"), ("kraken",)),
        (at("13:30"), at("14:00"), ("massive",)),
    ]


def test_where_the_provider_knows_that_nobody_traded_nobody_traded(shop):
    shop.write("kraken", BTC, M1, drawn("13:30 101"), [(at("13:30"), at("13:40"))])
    panel = shop.reader.panel([BTC], M1, at("13:30"), at("13:41"), provider="kraken", history="massive")
    assert panel.present[:, 0].tolist() == [True] + [False] * 9 + [True]
    assert panel.covered.all()


def test_an_hour_is_made_of_the_minutes_of_both(shop):
    minutes = shop.reader.panel([BTC], M1, *SPAN, provider="kraken", history="massive")
    hours = shop.reader.panel([BTC], Timeframe.H1, *SPAN, provider="kraken", history="massive")
    assert_same_bars(hours, resample(minutes, Timeframe.H1))
    assert (hours.open[0, 0], hours.close[0, 0]) == (1000.0, 100 * (1 + 1e-4 * 29))
    (both,) = shop.reader.sources([BTC], Timeframe.H1, *SPAN, provider="kraken", history="massive")[BTC]
    assert (both.providers, both.timeframe) == (("kraken", "massive"), M1)


def test_a_fetched_bar_of_the_provider_comes_before_one_of_the_history(shop):
    hours = run_of_minutes("10:00", 3, step=HOUR_MS, price=50.0)
    shop.write("kraken", BTC, Timeframe.H1, part(hours, slice(1, 3)))
    shop.write("massive", BTC, Timeframe.H1, run_of_minutes("09:00", 6, step=HOUR_MS, price=70.0))
    span = at("09:00"), at("15:00")
    panel = shop.reader.panel([BTC], Timeframe.H1, *span, provider="kraken", history="massive")
    # 09 and 10: only Massive's hours; 11: Kraken's; 12 and 13: minutes; 14: Massive's.
    expected = [70.0, 70 * 1.0001, 50 * 1.0001, 1000.0, 100 * (1 + 30e-4), 70 * 1.0005]
    np.testing.assert_allclose(panel.open[:, 0], expected)
    beside = shop.reader.beside_minutes([BTC], Timeframe.H1, *span, provider="kraken", history="massive")
    assert beside is not None
    np.testing.assert_allclose(beside.open[:, 0], [70, 70.007, 50.005, 50.01, 70.028, 70.035])


def test_a_symbol_that_one_of_the_two_does_not_have_is_answered_by_the_other(shop):
    shop.write("kraken", ETH, M1, run_of_minutes("12:00", 10))
    panel = shop.reader.panel([ETH, BTC], M1, *SPAN, provider="kraken", history="massive")
    assert panel.present.sum(axis=0).tolist() == [10, 120]
    panel = shop.reader.panel([ETH], M1, *SPAN, provider="massive", history="kraken")
    assert panel.present.sum() == 10
    with pytest.raises(DataError, match="the provider binance, kucoin has no bars of ETH/USDT"):
        shop.reader.panel([ETH], M1, *SPAN, provider="binance", history="kucoin")


def test_several_providers_and_none_named_is_refused_with_a_history_too(shop):
    with pytest.raises(UsageError, match="kraken, massive"):
        shop.reader.panel([BTC], M1, *SPAN, history="massive")


pieces = st.lists(
    st.tuples(
        st.sampled_from(["kraken", "massive"]),
        st.sampled_from([M1, M1, M1, Timeframe.M15, Timeframe.H1]),
        st.integers(0, 239),
        st.integers(1, 200),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=30)
@given(pieces, st.sampled_from([M1, Timeframe.M5, Timeframe.M15, Timeframe.H1, Timeframe.H4]))
def test_each_cell_is_answered_by_the_first_that_covers_it(pieces, timeframe):
    """Held to panels without a history, put over each other cell by cell."""
    start, end = at("08:00"), at("16:00")
    with tempfile.TemporaryDirectory() as folder, store(Path(folder), cold_rows_min=60) as opened:
        opened.register("kraken", [BTC])
        opened.register("massive", [BTC])
        for provider, source, first, count, holes in pieces:
            step = source.ms
            begin = start + first * MINUTE // step * step
            bars = run_of_minutes("08:00", max(count * MINUTE // step, 1), step=step)
            bars.open_time_ms[:] += begin - start
            kept = np.arange(len(bars)) % (holes + 1) == 0
            span = [(begin, begin + len(bars) * step)]
            opened.write(provider, BTC, source, part(bars, np.flatnonzero(kept)), span)
        reader = opened.reader
        whole = reader.panel([BTC], timeframe, start, end, provider="kraken", history="massive")

        minutes = [reader.panel([BTC], M1, start, end, provider=name) for name in ("kraken", "massive")]
        own = minutes[0].covered
        merged = type(minutes[0])(
            timeframe=M1,
            symbols=(BTC,),
            open_time_ms=minutes[0].open_time_ms,
            covered=own | minutes[1].covered,
            **{
                name: np.where(own, getattr(minutes[0], name), getattr(minutes[1], name))
                for name in BAR_FIELDS
            },
        )
        layers = [merged if timeframe is M1 else resample(merged, timeframe)]
        if SOURCES[timeframe] != (M1,):
            layers += [
                layer
                for name in ("kraken", "massive")
                if (layer := reader.beside_minutes([BTC], timeframe, start, end, provider=name)) is not None
            ]
        for row in range(len(whole)):
            answer = next((layer for layer in layers if layer.covered[row, 0]), None)
            assert whole.covered[row, 0] == (answer is not None)
            for name in BAR_FIELDS:
                expected = np.nan if answer is None else getattr(answer, name)[row, 0]
                np.testing.assert_array_equal(getattr(whole, name)[row, 0], expected)


# ------------------------------------------------------------------------------------------------ the newest bars


def test_the_newest_bar_of_each_symbol(shop):
    shop.write("kraken", ETH, M1, drawn("12:00 10\n12:01 11 12 10 11.5 -"))
    found = shop.reader.latest([ETH, BTC], M1, provider="kraken")
    assert found.open_time_ms.tolist() == [at("12:01"), at("13:29")]
    assert found.values[:4, 0].tolist() == [11, 12, 10, 11.5]
    assert np.isnan(found.values[4, 0])
    assert found.values[3, 1] == 100 * (1 + 1e-4 * 59)


def test_a_symbol_that_the_store_does_not_have_has_no_newest_bar(shop):
    shop.register("kraken", [ETH])
    with shop.reader.kept_connection() as connection:
        found = shop.reader.latest([ETH, BTC], M1, provider="massive", connection=connection)
        assert found.open_time_ms.tolist() == [-1, at("13:59")]
        assert np.isnan(found.values[:, 0]).all()
        found = shop.reader.latest([ETH], M1, provider="kraken", connection=connection)
        assert found.open_time_ms.tolist() == [-1]


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 400), st.lists(st.sampled_from([100, 101, 200, 102]), min_size=1, max_size=5)
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([1, 4, 10_000]),
    st.sampled_from(list(Timeframe)),
)
def test_the_newest_bar_is_the_last_one_of_the_panel(writes, cold_rows_min, timeframe):
    start, end = at("2025-03-31 20:00"), at("2025-04-02 00:00")
    with tempfile.TemporaryDirectory() as folder, store(Path(folder), cold_rows_min=cold_rows_min) as opened:
        for first, prices in writes:
            times = start + MINUTE * (first + np.arange(len(prices)))
            for time_ms, price in zip(times.tolist(), prices, strict=True):
                opened.write("kraken", BTC, M1, drawn_minute(time_ms, float(price)))
            # Somebody looked, and nobody traded.
            opened.write("kraken", BTC, M1, drawn_minute(start), [(start, start + MINUTE * (first + 300))])
        panel = opened.reader.panel([BTC], timeframe, at("2025-03-31 00:00"), end)
        rows = np.flatnonzero(panel.present[:, 0])
        found = opened.reader.latest([BTC], timeframe)
        if len(rows):
            assert found.open_time_ms.tolist() == [int(panel.open_time_ms[rows[-1]])]
            np.testing.assert_array_equal(
                found.values[:, 0], [getattr(panel, name)[rows[-1], 0] for name in BAR_FIELDS]
            )
        else:
            assert found.open_time_ms.tolist() == [-1]


def test_a_provider_that_only_knows_a_symbol_has_no_bars_of_it(tmp_path):
    with store(tmp_path) as opened:
        opened.register("coinbase", [BTC])
        opened.write("kraken", BTC, M1, run_of_minutes("12:30", 60))
        assert opened.reader.providers(BTC) == ("kraken",)
        assert opened.reader.panel([BTC], M1, *SPAN).covered.sum() == 60
