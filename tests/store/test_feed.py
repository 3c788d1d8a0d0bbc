"""The trader's view of the store: minute by minute, as it is at the moment of the question."""

import struct
import subprocess
import sys
import tempfile
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import DataError, StoreError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store.cold import ColdTier
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.feed import NO_TRADE, UNKNOWN, MinuteFeed
from crypto_tracker.store.reader import DATABASE_NAME, BarReader
from tests.store.shelf import BTC, ETH, MINUTE, NOW, assert_same_bars, at, drawn, part, run_of_minutes, store

M1 = Timeframe.M1
ROOT = Path(__file__).parents[2]
CLOSE = BAR_FIELDS.index("close")
WATCHED = (ETH, BTC)
NO_BARS = part(run_of_minutes("12:00", 1), slice(0))


@contextmanager
def shelf(home: Path, symbols=WATCHED, **files: int):
    """A store that is written, and a feed that watches it from a connection of its own."""
    with store(home, **files) as opened, MinuteFeed.open(home, dict.fromkeys(symbols, "file")) as feed:
        yield opened, feed


def seen(feed: MinuteFeed, time: str, symbol: Symbol = BTC) -> tuple[float, int] | str:
    """The close and the revision of a minute, `no trade` or `unknown`."""
    column = feed.symbols.index(symbol)
    bars = feed.minute(at(time))
    revision = int(bars.revision[column])
    if revision < 0:
        assert np.isnan(bars.values[:, column]).all()
        return {NO_TRADE: "no trade", UNKNOWN: "unknown"}[revision]
    return float(bars.values[CLOSE, column]), revision


def execute(home: Path, statement: str) -> None:
    """Change the database behind everybody's back."""
    engine = open_engine(home / DATABASE_NAME)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def assert_as_the_reader_says(feed: MinuteFeed, reader: BarReader, times) -> None:
    """Every minute equals the panel of the reader at this moment, and its revision is one that is stored."""
    for open_ms in times:
        bars = feed.minute(int(open_ms))
        for column, symbol in enumerate(feed.symbols):
            try:
                panel = reader.panel([symbol], M1, int(open_ms), int(open_ms) + MINUTE, provider="file")
            except DataError:
                panel = Panel.empty(M1, [symbol], int(open_ms), int(open_ms) + MINUTE)
            expected = [getattr(panel, name)[0, 0] for name in BAR_FIELDS]
            np.testing.assert_array_equal(bars.values[:, column], expected)
            revision = int(bars.revision[column])
            assert (revision != UNKNOWN) == panel.covered[0, 0]
            assert (revision >= 0) == panel.present[0, 0]
            assert feed.known(int(open_ms))[column] == panel.covered[0, 0]
            if revision >= 0:
                rows = reader.rows(symbol, M1, int(open_ms), int(open_ms) + MINUTE, provider="file")
                chosen = rows.where(rows.revision == revision)
                np.testing.assert_array_equal(bars.values[:, column], chosen.values[: len(BAR_FIELDS), 0])


# --- one minute ----------------------------------------------------------------------------------


def test_a_minute_has_five_values_and_a_revision_for_each_symbol_in_the_order_given(tmp_path):
    with shelf(tmp_path) as (opened, feed):
        opened.write("file", BTC, M1, drawn("12:00 100 102 99 101 7"))
        opened.write("file", ETH, M1, drawn("12:00 10 12 9 11 -"))
        bars = feed.minute(at("12:00"))
        assert feed.symbols == (ETH, BTC)
        assert bars.open_time_ms == at("12:00")
        np.testing.assert_array_equal(bars.values, [[10, 100], [12, 102], [9, 99], [11, 101], [np.nan, 7]])
        assert bars.revision.dtype == np.int32
        assert bars.revision.tolist() == [0, 0]


def test_a_minute_that_was_fetched_without_a_bar_is_no_trade_and_any_other_is_unknown(tmp_path):
    with shelf(tmp_path) as (opened, feed):
        opened.write("file", BTC, M1, drawn("12:00 100"), [(at("12:00"), at("12:02"))])
        assert seen(feed, "11:59") == "unknown"
        assert seen(feed, "12:00") == (100, 0)
        assert seen(feed, "12:01") == "no trade"
        assert seen(feed, "12:02") == "unknown"


def test_a_broken_bar_leaves_its_minute_unknown(tmp_path):
    with shelf(tmp_path) as (opened, feed):
        bars = drawn("""
            12:00 100 101 99 100 1
            12:01 100 90 99 100 1
            12:02 100 101 99 100 1
        """)
        opened.write("file", BTC, M1, bars, [(at("12:00"), at("12:03"))])
        assert [seen(feed, f"12:0{minute}") for minute in range(3)] == [(100, 0), "unknown", (100, 0)]


def test_the_newest_revision_counts_and_is_seen_at_once(tmp_path):
    with shelf(tmp_path) as (opened, feed):
        opened.write("file", BTC, M1, drawn("12:00 100"))
        assert seen(feed, "12:00") == (100, 0)
        opened.write("file", BTC, M1, drawn("12:00 100.5"))
        assert seen(feed, "12:00") == (100.5, 1)
        opened.write("file", BTC, M1, drawn("12:00 100.7"))
        assert seen(feed, "12:00") == (100.7, 2)


def test_a_suspect_revision_gives_way_to_the_one_before_and_a_suspect_bar_is_missing(tmp_path):
    with shelf(tmp_path) as (opened, feed):
        opened.write("file", BTC, M1, run_of_minutes("12:00", 10))
        opened.write("file", BTC, M1, drawn("12:05 300"))
        assert seen(feed, "12:05") == (pytest.approx(100.05), 0)
        opened.write("file", BTC, M1, drawn("12:10 300"))
        opened.write("file", BTC, M1, drawn("12:11 100.1"))
        assert seen(feed, "12:10") == "no trade"
        assert seen(feed, "12:11") == (100.1, 0)


def test_a_late_bar_is_seen_from_the_moment_it_is_stored(tmp_path):
    with shelf(tmp_path) as (opened, feed):
        opened.write("file", BTC, M1, drawn("12:00 100\n12:02 102"))
        assert [seen(feed, f"12:0{minute}") for minute in range(3)] == [(100, 0), "unknown", (102, 0)]
        opened.write("file", BTC, M1, drawn("12:01 101"))
        assert [seen(feed, f"12:0{minute}") for minute in range(3)] == [(100, 0), (101, 0), (102, 0)]


def test_what_the_caller_does_to_an_answer_changes_no_later_one(tmp_path):
    with shelf(tmp_path) as (opened, feed):
        opened.write("file", BTC, M1, drawn("12:00 100"))
        bars = feed.minute(at("12:00"))
        bars.values[:] = 0
        bars.revision[:] = 9
        assert seen(feed, "12:00") == (100, 0)


def test_a_time_within_a_minute_is_refused(tmp_path):
    with shelf(tmp_path) as (_, feed):
        with pytest.raises(UsageError, match=r"2025-03-01T12:00:01.*whole minute"):
            feed.minute(at("12:00") + 1_000)
        with pytest.raises(UsageError, match="whole minute"):
            feed.known(at("12:00") + 1)


# --- both tiers ----------------------------------------------------------------------------------


def test_cold_bars_their_hot_corrections_and_hot_bars_are_one_series(tmp_path):
    with shelf(tmp_path, cold_rows_min=100) as (opened, feed):
        opened.write("file", BTC, M1, run_of_minutes("2025-03-31 22:00", 120))
        opened.write("file", BTC, M1, drawn("2025-03-31 23:58 100.5"))
        opened.write("file", BTC, M1, drawn("2025-04-01 00:00 101\n2025-04-01 00:02 103"))
        assert len(list((tmp_path / "bars").rglob("*.parquet"))) == 1
        assert seen(feed, "2025-03-31 22:00") == (100, 0)
        assert seen(feed, "2025-03-31 23:57") == (pytest.approx(100 * (1 + 117e-4)), 0)
        assert seen(feed, "2025-03-31 23:58") == (100.5, 1)
        assert seen(feed, "2025-04-01 00:00") == (101, 0)
        assert seen(feed, "2025-04-01 00:01") == "unknown"
        assert seen(feed, "2025-04-01 00:02") == (103, 0)


def test_bars_that_move_to_a_cold_file_stay_what_they_are(tmp_path):
    times = at("12:00") + MINUTE * np.arange(30)
    with store(tmp_path) as opened:
        opened.write("file", BTC, M1, run_of_minutes("12:00", 30))
        opened.write("file", BTC, M1, drawn("12:03 100.5"))
    with MinuteFeed.open(tmp_path, {BTC: "file"}) as feed:
        before = [feed.minute(int(time)) for time in times]
        with store(tmp_path, now=NOW.replace(month=12), cold_rows_min=100) as opened:
            assert opened.roll_over().files == 1
        for bars in before:
            after = feed.minute(bars.open_time_ms)
            np.testing.assert_array_equal(after.values, bars.values)
            np.testing.assert_array_equal(after.revision, bars.revision)
        assert before[3].revision[0] == 1


def test_a_month_file_of_the_same_name_with_other_bars_is_read_again(tmp_path):
    with shelf(tmp_path, [BTC], cold_rows_min=1) as (opened, feed):
        opened.write("file", BTC, M1, drawn("12:00 100"))
        assert seen(feed, "12:00") == (100, 0)
        execute(tmp_path, "DELETE FROM manifest")  # as the sentence about a damaged file advises
        opened.write("file", BTC, M1, drawn("12:00 100.5"))
        assert [path.name for path in (tmp_path / "bars").rglob("*.parquet")] == ["2025-03.g0.parquet"]
        assert seen(feed, "12:00") == (100.5, 0)


def test_a_file_that_is_replaced_while_it_is_looked_for_is_asked_for_again(tmp_path, monkeypatch):
    read = ColdTier.read
    with shelf(tmp_path, [BTC], cold_rows_min=1) as (opened, feed):
        opened.write("file", BTC, M1, drawn("12:00 100\n12:01 101"))
        asked = []

        def late(self, paths):
            asked.append(list(paths))
            if len(asked) == 1:  # the writer is quicker than the feed, once
                monkeypatch.setattr(ColdTier, "read", read)
                opened.write("file", BTC, M1, drawn("12:01 101.5"))
                monkeypatch.setattr(ColdTier, "read", late)
            return read(self, paths)

        monkeypatch.setattr(ColdTier, "read", late)
        assert seen(feed, "12:01") == (101.5, 1)
        assert [Path(paths[0]).name for paths in asked] == ["2025-03.g0.parquet", "2025-03.g1.parquet"]


def test_a_file_that_stays_missing_is_an_error_that_says_so(tmp_path):
    with shelf(tmp_path, [BTC], cold_rows_min=1) as (opened, feed):
        opened.write("file", BTC, M1, drawn("12:00 100"))
        next((tmp_path / "bars").rglob("*.parquet")).unlink()
        with pytest.raises(StoreError, match="manifest names is missing"):
            feed.minute(at("12:00"))


def test_a_database_that_is_damaged_further_on_is_an_error_that_says_so(tmp_path):
    bars = run_of_minutes("12:00", 3_000)
    with store(tmp_path, cold_rows_min=10_000) as opened:
        opened.write("file", BTC, M1, bars)
    path = tmp_path / DATABASE_NAME
    content = bytearray(path.read_bytes())
    page = content.index(struct.pack(">d", bars.close[2_001])) // 4_096 * 4_096
    content[page : page + 16] = b"\xff" * 16
    path.write_bytes(content)
    with MinuteFeed.open(tmp_path, {BTC: "file"}) as feed:
        assert seen(feed, "12:00") == (100, 0)
        with pytest.raises(StoreError, match=r"market\.db cannot be read"):
            assert all(feed.minute(at("12:00") + minute * MINUTE) for minute in range(3_000))


# --- others write --------------------------------------------------------------------------------


def test_a_home_without_bars_is_refused_as_the_reader_refuses_it(tmp_path):
    with pytest.raises(DataError, match="there are no bars under"), MinuteFeed.open(tmp_path, {BTC: "file"}):
        pass


def test_a_symbol_that_nobody_has_collected_is_unknown_until_it_appears(tmp_path):
    with shelf(tmp_path) as (opened, feed):
        opened.write("file", BTC, M1, drawn("12:00 100"))
        assert seen(feed, "12:00", ETH) == "unknown"
        assert feed.active().tolist() == [False, True]
        assert feed.known(at("12:00")).tolist() == [False, True]
        opened.write("file", ETH, M1, drawn("12:00 10"))
        assert seen(feed, "12:00", ETH) == (10, 0)
        assert feed.active().tolist() == [True, True]
        assert feed.known(at("12:00")).tolist() == [True, True]


def test_another_provider_s_bars_of_the_symbol_are_another_series(tmp_path):
    with store(tmp_path) as opened, MinuteFeed.open(tmp_path, {BTC: "binance", ETH: "file"}) as feed:
        opened.write("file", BTC, M1, drawn("12:00 100"))
        opened.write("file", ETH, M1, drawn("12:00 10"))
        assert (seen(feed, "12:00", BTC), seen(feed, "12:00", ETH)) == ("unknown", (10, 0))
        opened.write("binance", BTC, M1, drawn("12:00 100.1"))
        assert seen(feed, "12:00", BTC) == (100.1, 0)
        panel = feed.source.panel([ETH, BTC], M1, at("12:00"), at("12:01"))
        assert panel.close.tolist() == [[10, 100.1]]


def test_the_source_says_unknown_of_a_symbol_that_nobody_has_collected(tmp_path):
    with shelf(tmp_path) as (opened, feed):
        span = Timeframe.M5, at("12:00"), at("12:10")
        assert not feed.source.panel([BTC, ETH], *span).covered.any()
        opened.write("file", BTC, M1, run_of_minutes("12:00", 10))
        panel = feed.source.panel([ETH, BTC], *span)
        assert panel.symbols == (ETH, BTC)
        assert panel.covered.tolist() == [[False, True], [False, True]]
        assert_same_bars(panel.select([BTC]), opened.reader.panel([BTC], *span))


def test_what_another_process_appends_is_in_the_next_answer(tmp_path):
    with store(tmp_path) as opened:
        opened.write("file", BTC, M1, drawn("11:59 99"))
    command = [sys.executable, "-m", "tests.store.feed_child", str(tmp_path)]
    with (
        MinuteFeed.open(tmp_path, {BTC: "file"}) as feed,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child,
    ):

        def told(line: str) -> str:
            child.stdin.write(line + "\n")
            child.stdin.flush()
            return child.stdout.readline()

        assert child.stdout.readline() == "ready\n"
        for minute in range(30):
            time = f"12:{minute:02d}"
            assert seen(feed, time) == "unknown"
            assert feed.first_known_after(at(time)) is None
            assert told(f"{time} {100 + minute / 100}") == "written\n"
            assert feed.watermark_ms() == at(time) + MINUTE
            assert feed.known(at(time)).tolist() == [True]
            assert seen(feed, time) == (100 + minute / 100, 0)
            assert seen(feed, "11:59") == (99, 0)
        child.stdin.close()
        assert child.wait(timeout=240) == 0


# --- what is known -------------------------------------------------------------------------------


def test_the_watermark_is_the_newest_end_of_what_is_known_of_any_symbol(tmp_path):
    with shelf(tmp_path) as (opened, feed):
        assert feed.watermark_ms() is None
        opened.write("file", BTC, M1, drawn("12:00 100"), [(at("12:00"), at("12:10"))])
        opened.write("file", ETH, M1, drawn("12:03 10"))
        opened.write("file", ETH, Timeframe.M5, drawn("13:00 10"))
        assert feed.watermark_ms() == at("12:10")
        opened.write("file", ETH, M1, drawn("12:20 10"))
        assert feed.watermark_ms() == at("12:21")


def test_the_next_known_minute_is_found_across_gaps_and_symbols(tmp_path):
    with shelf(tmp_path) as (opened, feed):
        assert feed.first_known_after(at("12:00")) is None
        opened.write("file", BTC, M1, drawn("12:00 100\n12:01 100\n12:40 100"))
        opened.write("file", ETH, M1, drawn("12:20 10"), [(at("12:20"), at("12:22"))])
        expected = {
            "11:00": "12:00",
            "12:00": "12:00",
            "12:01": "12:01",
            "12:02": "12:20",
            "12:21": "12:21",
            "12:22": "12:40",
            "12:40": "12:40",
        }
        for reading_ahead in (False, True):
            if reading_ahead:
                for minute in range(60):
                    feed.minute(at("12:00") + minute * MINUTE)
            for time, found in expected.items():
                assert feed.first_known_after(at(time)) == at(found)
            assert feed.first_known_after(at("12:00") + 1) == at("12:01")
            assert feed.first_known_after(at("12:41")) is None
            known = [feed.known(at(f"12:{minute:02d}")).tolist() for minute in (0, 1, 2, 20, 21, 22, 40)]
            eth = [False, False, False, True, True, False, False]
            btc = [True, True, False, False, False, False, True]
            assert known == [list(pair) for pair in zip(eth, btc, strict=True)]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=12), st.integers(-3, 75))
def test_known_minutes_are_those_of_the_coverage_however_many_intervals_it_has(pieces, asked):
    start = at("12:00")
    minutes = {minute for first, count in pieces for minute in range(first, first + count)}
    with tempfile.TemporaryDirectory() as folder, shelf(Path(folder)) as (opened, feed):
        for index, (first, count) in enumerate(pieces):
            span = start + first * MINUTE, start + (first + count) * MINUTE
            opened.write("file", WATCHED[index % 2], M1, NO_BARS, [span])
        later = [minute for minute in minutes if minute >= asked]
        assert feed.first_known_after(start + asked * MINUTE) == (
            start + min(later) * MINUTE if later else None
        )
        assert feed.watermark_ms() == (start + (max(minutes) + 1) * MINUTE if minutes else None)
        assert feed.known(start + asked * MINUTE).any() == (asked in minutes)
        assert (feed.minute(start + asked * MINUTE).revision == NO_TRADE).any() == (asked in minutes)


def test_a_symbol_that_is_switched_off_is_not_active(tmp_path):
    with shelf(tmp_path) as (opened, feed):
        opened.write("file", BTC, M1, drawn("12:00 100"))
        opened.write("file", ETH, M1, drawn("12:00 10"))
        assert feed.active().tolist() == [True, True]
        execute(tmp_path, "UPDATE symbols SET status = 'inactive', reason = 'gone' WHERE symbol = 'ETH/USDT'")
        assert feed.active().tolist() == [False, True]
        assert seen(feed, "12:00", ETH) == (10, 0)


# --- whatever is stored, whoever writes ----------------------------------------------------------

COUNT = 40
START = at("2025-03-31 23:40")  # the month ends halfway

writes = st.tuples(
    st.sampled_from([BTC, ETH]),
    st.integers(0, COUNT - 1),
    st.integers(1, COUNT),
    st.sampled_from([0.0, 0.001, 3.0]),
    st.sampled_from(["bars", "holes", "nothing"]),
)


def bring(opened, symbol: Symbol, first: int, count: int, moved: float, kind: str) -> None:
    """Write a part of a rising market: whole, with every third bar missing, or only that it was fetched."""
    bars = run_of_minutes("2025-03-31 23:40", COUNT)
    if moved:
        bars.close[:] *= 1 + moved
        bars.high[:] *= 1 + moved
    bars.volume[::4] = np.nan
    stop = min(first + count, COUNT)
    rows = np.arange(first, stop)
    rows = {"bars": rows, "holes": rows[rows % 3 > 0], "nothing": rows[:0]}[kind]
    opened.write("file", symbol, M1, part(bars, rows), [(START + first * MINUTE, START + stop * MINUTE)])


@settings(max_examples=20)
@given(
    st.lists(st.tuples(writes, st.lists(st.integers(-2, COUNT + 1), max_size=4)), min_size=1, max_size=6),
    st.sampled_from([1, 15, 10_000]),
)
def test_every_answer_equals_the_reader_s_whatever_was_written_in_between(steps, cold_rows_min):
    with (
        tempfile.TemporaryDirectory() as folder,
        shelf(Path(folder), cold_rows_min=cold_rows_min) as (opened, feed),
    ):
        for write, asked in steps:
            bring(opened, *write)
            assert_as_the_reader_says(feed, opened.reader, START + np.array(asked, dtype=np.int64) * MINUTE)
        whole = START + np.arange(-2, COUNT + 2) * MINUTE
        assert_as_the_reader_says(feed, opened.reader, whole)
        bars = [feed.minute(int(time)) for time in whole]
        again = feed.as_seen(int(whole[0]), np.stack([each.revision for each in bars]))
        for row, each in enumerate(bars):
            for index, name in enumerate(BAR_FIELDS):
                np.testing.assert_array_equal(getattr(again, name)[row], each.values[index])
            np.testing.assert_array_equal(again.covered[row], each.revision != UNKNOWN)


# --- what was seen -------------------------------------------------------------------------------


def test_what_was_seen_can_be_had_again_after_the_store_has_moved_on(tmp_path):
    with shelf(tmp_path, [BTC]) as (opened, feed):
        opened.write("file", BTC, M1, run_of_minutes("12:00", 10))
        opened.write("file", BTC, M1, drawn("12:00 100\n12:03 100.5"), [(at("12:10"), at("12:12"))])
        times = at("12:00") + MINUTE * np.arange(14)
        bars = [feed.minute(int(time)) for time in times]
        seen_then = np.stack([each.revision for each in bars])
        assert seen_then[:, 0].tolist() == [
            1,
            0,
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
            NO_TRADE,
            NO_TRADE,
            UNKNOWN,
            UNKNOWN,
        ]
        # Corrections, late bars, a wrong print that makes what was seen suspect; then all of it goes cold.
        opened.write("file", BTC, M1, drawn("12:03 100.6\n12:05 100.7\n12:10 101\n12:12 101"))
    with store(tmp_path, now=NOW.replace(month=12)) as opened:
        assert opened.roll_over().files == 1
    execute(tmp_path, f"INSERT INTO suspects VALUES (1, '1m', {at('12:07')}, 0, 'unconfirmed', NULL)")
    with MinuteFeed.open(tmp_path, {BTC: "file"}) as feed:
        assert seen(feed, "12:07") == "no trade"
        panel = feed.as_seen(at("12:00"), seen_then)
        np.testing.assert_array_equal(panel.close[:, 0], [each.values[CLOSE, 0] for each in bars])
        np.testing.assert_array_equal(panel.volume[:, 0], [each.values[4, 0] for each in bars])
        assert panel.covered[:, 0].tolist() == [True] * 12 + [False] * 2
        assert panel.timeframe is M1
        assert panel.open_time_ms.tolist() == times.tolist()


def test_a_revision_that_is_gone_is_named_with_its_symbol_and_time(tmp_path):
    with shelf(tmp_path) as (opened, feed):
        opened.write("file", BTC, M1, drawn("12:00 100\n12:01 101"))
        with pytest.raises(StoreError, match=r"revision 1 of the minute 2025-03-01T12:01Z of BTC/USDT"):
            feed.as_seen(at("12:00"), np.array([[UNKNOWN, 0], [UNKNOWN, 1]], dtype=np.int32))
        with pytest.raises(StoreError, match=r"revision 0 of the minute 2025-03-01T12:02Z of BTC/USDT"):
            feed.as_seen(at("12:00"), np.array([[UNKNOWN, 0], [UNKNOWN, 0], [UNKNOWN, 0]], dtype=np.int32))
        with pytest.raises(StoreError, match=r"revision 0 of the minute 2025-03-01T12:00Z of ETH/USDT"):
            feed.as_seen(at("12:00"), np.array([[0, 0]], dtype=np.int32))
        with pytest.raises(UsageError, match="each of the 2 watched symbols"):
            feed.as_seen(at("12:00"), np.zeros((3, 1), dtype=np.int32))
        assert len(feed.as_seen(at("12:00"), np.zeros((0, 2), dtype=np.int32))) == 0


# --- reading ahead -------------------------------------------------------------------------------


def test_a_store_that_rests_is_asked_for_many_minutes_at_a_time(tmp_path, monkeypatch):
    reads = []
    read_span = MinuteFeed._read_span

    def counted(self, directory, start_ms, end_ms):
        reads.append((end_ms - start_ms) // MINUTE)
        return read_span(self, directory, start_ms, end_ms)

    monkeypatch.setattr(MinuteFeed, "_read_span", counted)
    with shelf(tmp_path, [BTC]) as (opened, feed):
        opened.write("file", BTC, M1, run_of_minutes("12:00", 3_000))
        for minute in range(3_000):
            feed.minute(at("12:00") + minute * MINUTE)
        assert reads[:3] == [2, 16, 128]
        assert len(reads) <= 7
        opened.write("file", BTC, M1, drawn("12:00 100.5"))
        feed.minute(at("12:00"))
        assert reads[-1] == 2


@pytest.mark.parametrize("cold_rows_min", [1, 10**9], ids=["cold", "hot"])
def test_memory_does_not_grow_over_many_weeks(tmp_path, cold_rows_min):
    count = 8 * 7 * 24 * 60
    with shelf(tmp_path, [BTC], cold_rows_min=cold_rows_min) as (opened, feed):
        opened.write("file", BTC, M1, run_of_minutes("2025-03-03 00:00", count))
        start = at("2025-03-03 00:00")

        def walk(first: int, last: int) -> int:
            tracemalloc.reset_peak()
            for minute in range(first, last, 30):
                feed.minute(start + minute * MINUTE)
            return tracemalloc.get_traced_memory()[1]

        walk(0, count // 4)
        tracemalloc.start()
        try:
            early = walk(count // 4, count // 2)
            late = walk(count // 2, count)
        finally:
            tracemalloc.stop()
        assert late < 1.3 * early
        assert late < 30e6
