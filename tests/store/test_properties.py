"""Whatever the order, however often, in whichever tier: the same bars."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store import tables
from crypto_tracker.store.batch import VALUE_FIELDS, BarBatch
from tests.store.shelf import BTC, MINUTE, assert_same_bars, at, part, store

M1 = Timeframe.M1
# Across the border of two months, so that a write may touch two files.
START = at("2025-03-31 23:30")
COUNT = 60


def market(seed: int, jumps: set[int]) -> BarBatch:
    """An hour of bars; at each of `jumps` the close is a wrong print."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, COUNT)))
    close[sorted(jumps)] *= 3
    return BarBatch(
        open_time_ms=START + MINUTE * np.arange(COUNT, dtype=np.int64),
        open=close,
        high=close * 1.01,
        low=close * 0.99,
        close=close,
        volume=rng.choice([0.0, 1.5, np.nan], COUNT),
    )


spans = st.tuples(st.integers(0, COUNT - 1), st.integers(1, COUNT)).map(
    lambda pair: (pair[0], min(pair[0] + pair[1], COUNT))
)


def write(opened, bars: BarBatch, first: int, stop: int, *, backwards: bool) -> None:
    """Bring the bars of a span, and say that the whole span was fetched."""
    rows = np.arange(first, stop)[:: -1 if backwards else 1]
    covered = [(START + first * MINUTE, START + stop * MINUTE)]
    opened.write("file", BTC, M1, part(bars, rows), covered)


def everything(opened, timeframe: Timeframe = M1):
    return opened.reader.panel([BTC], timeframe, START - 10 * MINUTE, START + (COUNT + 10) * MINUTE)


def doubts(opened) -> list[tuple]:
    with opened._engine.connect() as connection:
        return sorted(tuple(row) for row in connection.execute(tables.suspects.select()))


@settings(max_examples=12)
@given(
    st.integers(0, 99),
    st.sets(st.integers(0, COUNT - 1), max_size=5),
    st.lists(st.tuples(spans, st.booleans()), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
    st.sampled_from([1, 20, 10_000]),
)
def test_any_order_of_overlapping_batches_gives_the_same_bars(seed, jumps, batches, random, cold_rows_min):
    bars = market(seed, jumps)
    shuffled = [*batches, *batches]
    random.shuffle(shuffled)
    # One by one and hot; and shuffled, twice, with cold files as soon as a batch has enough rows.
    with (
        tempfile.TemporaryDirectory() as folder,
        store(Path(folder, "plain")) as plain,
        store(Path(folder, "mixed"), cold_rows_min=cold_rows_min) as mixed,
    ):
        for (first, stop), backwards in batches:
            write(plain, bars, first, stop, backwards=backwards)
        for (first, stop), backwards in shuffled:
            write(mixed, bars, first, stop, backwards=backwards)
        for timeframe in (M1, Timeframe.M5):
            assert_same_bars(everything(plain, timeframe), everything(mixed, timeframe))
        assert doubts(plain) == doubts(mixed)
        assert plain.reader.series() == mixed.reader.series()


KNOWN = st.sampled_from([(), ("vwap",), ("n_trades",), ("vwap", "n_trades")])


@settings(max_examples=15)
@given(
    st.integers(0, 99),
    st.lists(st.tuples(spans, KNOWN), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_in_whatever_order_bars_that_know_more_or_less_come_they_are_one_bar_that_knows_all(
    seed, batches, random
):
    bars = market(seed, set())
    bars = replace(
        bars, volume=np.arange(COUNT) / 7, vwap=bars.close * 1.001, n_trades=np.arange(COUNT, dtype=float)
    )
    expected = bars.values()
    expected[5:] = np.nan
    for (first, stop), fields in batches:
        for name in fields:
            expected[VALUE_FIELDS.index(name), first:stop] = getattr(bars, name)[first:stop]
    held = sorted({row for (first, stop), _ in batches for row in range(first, stop)})
    shuffled = [*batches, *batches]
    random.shuffle(shuffled)
    with (
        tempfile.TemporaryDirectory() as folder,
        store(Path(folder, "apart")) as apart,
        store(Path(folder, "joined")) as joined,
    ):
        pieces = [
            replace(
                part(bars, np.arange(first, stop)),
                **{name: getattr(bars, name)[first:stop] for name in fields},
            )
            for (first, stop), fields in shuffled
        ]
        results = [apart.write("file", BTC, M1, piece) for piece in pieces]
        results.append(joined.write("file", BTC, M1, BarBatch.joined(pieces)))
        assert sum(each.revisions for each in results) == 0
        for opened in (apart, joined):
            rows = opened.reader.rows(BTC, M1, START, START + COUNT * MINUTE)
            assert rows.revision.tolist() == [0] * len(held)
            np.testing.assert_array_equal(rows.open_time_ms, bars.open_time_ms[held])
            np.testing.assert_array_equal(rows.values, expected[:, held])


@settings(max_examples=15)
@given(st.integers(0, 99), st.lists(spans, min_size=1, max_size=4), st.sampled_from([1, 10_000]))
def test_what_is_written_is_what_is_read_and_writing_again_is_nothing(seed, batches, cold_rows_min):
    bars = market(seed, set())
    held: set[int] = set()
    with tempfile.TemporaryDirectory() as folder, store(Path(folder), cold_rows_min=cold_rows_min) as opened:
        for first, stop in batches:
            rows = np.arange(first, stop)
            result = opened.write("file", BTC, M1, part(bars, rows))
            assert result.rows_new == len(set(rows.tolist()) - held)
            held |= set(rows.tolist())
            again = opened.write("file", BTC, M1, part(bars, rows))
            assert (again.rows_new, again.revisions, again.suspect) == (0, 0, 0)
        panel = opened.reader.panel([BTC], M1, START, START + COUNT * MINUTE)
        for row in range(COUNT):
            assert panel.covered[row, 0] == (row in held)
            expected = [getattr(bars, name)[row] if row in held else np.nan for name in ("close", "volume")]
            np.testing.assert_array_equal([panel.close[row, 0], panel.volume[row, 0]], expected)


@settings(max_examples=15)
@given(st.integers(0, 99), st.sets(st.integers(0, COUNT - 1), max_size=5), spans)
def test_a_part_of_the_span_holds_the_same_bars_as_the_whole(seed, jumps, span):
    bars = market(seed, jumps)
    with tempfile.TemporaryDirectory() as folder, store(Path(folder), cold_rows_min=1) as opened:
        write(opened, bars, 0, COUNT, backwards=False)
        whole = everything(opened)
        start_ms, end_ms = START + span[0] * MINUTE, START + span[1] * MINUTE
        assert_same_bars(opened.reader.panel([BTC], M1, start_ms, end_ms), whole.between(start_ms, end_ms))
