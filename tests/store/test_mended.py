"""Whoever mends bars long after their time leaves a note of where."""

import tempfile
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crypto_tracker.core.arrays import BoolArray
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.timeframes import Timeframe, from_ms, to_ms
from crypto_tracker.store import mended
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.mended import LATE_MS, Mended
from tests.store.shelf import BTC, ETH, MINUTE, at, closes, drawn, store

M1 = Timeframe.M1
NOW = from_ms(at("14:00"))


def span_of(opened: BarStore, after: int = 0) -> tuple[int, int] | None:
    return opened.reader.mended_since(BTC, ["kraken"], after).span


def test_what_is_written_in_its_time_is_no_news(tmp_path: Path) -> None:
    with store(tmp_path, now=NOW) as opened:
        opened.write("kraken", BTC, M1, drawn("13:00 100"))
        opened.write_minutes("kraken", {BTC: drawn("13:59 100"), ETH: drawn("13:59 10")}, {})
        assert opened.reader.mended_since(BTC, ["kraken"], 0) == Mended(last=0, span=None, known=True)


def test_a_bar_a_revision_and_an_interval_of_long_ago_are_noted_and_the_same_again_is_not(
    tmp_path: Path,
) -> None:
    with store(tmp_path, now=NOW) as opened:
        opened.write("kraken", BTC, M1, drawn("12:59 100"))
        assert span_of(opened) == (at("12:59"), at("13:00"))
        last = opened.reader.mended_since(BTC, ["kraken"], 0).last
        opened.write("kraken", BTC, M1, drawn("12:59 100"))
        assert opened.reader.mended_since(BTC, ["kraken"], last) == Mended(last=last, span=None, known=True)
        opened.write("kraken", BTC, M1, drawn("12:59 101"))
        assert span_of(opened, last) == (at("12:59"), at("13:00"))
        opened.write("kraken", BTC, M1, drawn("12:30 101"), [(at("10:00"), at("11:00"))])
        assert span_of(opened, last + 1) == (at("10:00"), at("12:31"))
        assert span_of(opened) == (at("10:00"), at("13:00")), "all of it together is one span"


def test_of_minutes_of_many_symbols_those_of_long_ago_are_noted(tmp_path: Path) -> None:
    with store(tmp_path, now=NOW) as opened:
        opened.write_minutes("kraken", {BTC: drawn("12:10 100\n12:12 100"), ETH: drawn("13:30 10")}, {})
        assert span_of(opened) == (at("12:10"), at("12:13"))
        assert opened.reader.mended_since(ETH, ["kraken"], 0).span is None
        assert opened.reader.mended_since(BTC, ["massive"], 0).span is None


def test_who_asks_for_more_than_was_kept_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mended, "KEPT", 3)
    with store(tmp_path, now=NOW) as opened:
        for minute in range(5):
            bar = drawn(f"10:0{minute} 100")
            opened.write("kraken", BTC if minute else ETH, M1, bar)
        found = opened.reader.mended_since(BTC, ["kraken"], 2)
        assert found == Mended(last=5, span=(at("10:02"), at("10:05")), known=True)
        assert not opened.reader.mended_since(BTC, ["kraken"], 1).known
        assert not opened.reader.mended_since(BTC, ["kraken"], 9).known, "the database was made anew"


def test_a_note_is_there_with_its_bars_or_not_at_all(tmp_path: Path) -> None:
    """What is refused leaves none, and a later writer goes on counting."""
    with store(tmp_path, now=NOW) as opened:
        opened.write("kraken", BTC, M1, drawn("12:00 -1"))
        assert span_of(opened) is None
        opened.write("kraken", BTC, M1, drawn("12:01 100"))
    with store(tmp_path, now=NOW + timedelta(hours=1)) as opened:
        opened.write("kraken", BTC, M1, drawn("13:59 100"))
        found = opened.reader.mended_since(BTC, ["kraken"], 1)
        assert found == Mended(last=2, span=(at("13:59"), at("13:59") + MINUTE), known=True)


# --- bars near those that were written, which are judged anew -------------------------------


def test_a_bar_that_is_trusted_no_longer_lies_in_the_note_of_the_one_that_came_before_it(
    tmp_path: Path,
) -> None:
    with store(tmp_path, now=NOW) as opened:
        opened.write("kraken", BTC, M1, drawn("10:00 100\n10:01 101\n10:03 300"))
        assert closes(opened, "10:00", "10:04") == [100, 101, "unknown", 300]
        last = opened.reader.mended_since(BTC, ["kraken"], 0).last
        opened.write("kraken", BTC, M1, drawn("10:02 102"))
        assert closes(opened, "10:00", "10:04") == [100, 101, 102, "no trade"], "300 is in doubt now"
        assert span_of(opened, last) == (at("10:02"), at("10:04"))


def test_of_minutes_of_many_symbols_what_they_cast_doubt_on_is_noted_too(tmp_path: Path) -> None:
    with store(tmp_path, now=NOW) as opened:
        opened.write("kraken", BTC, M1, drawn("10:00 100\n10:03 300"), [(at("10:00"), at("10:02"))])
        assert closes(opened, "10:00", "10:04") == [100, "no trade", "unknown", 300]
        last = opened.reader.mended_since(BTC, ["kraken"], 0).last
        nobody_traded = {BTC: [(at("10:02"), at("10:03"))]}
        opened.write_minutes("kraken", {ETH: drawn("09:00 10")}, nobody_traded)
        assert closes(opened, "10:00", "10:04") == [100, "no trade", "no trade", "no trade"]
        assert span_of(opened, last) == (at("10:02"), at("10:04"))
        assert opened.reader.mended_since(ETH, ["kraken"], 0).span == (at("09:00"), at("09:01"))


MINUTES = 24
WORLD_MS = at("2025-02-28 23:48")  # two months, one of which is over
WORLD_NOW = from_ms(WORLD_MS + 20 * MINUTE + LATE_MS)  # some of its minutes are of the present
a_bar = st.tuples(st.integers(0, MINUTES - 1), st.sampled_from([100, 101, 30, 300]))
a_write = st.tuples(
    st.lists(a_bar, max_size=8),
    st.lists(st.tuples(st.integers(0, MINUTES - 1), st.integers(1, 8)), max_size=2),
    st.booleans(),
)


def bring(opened: BarStore, write: tuple[list[tuple[int, int]], list[tuple[int, int]], bool]) -> None:
    bars, fetched, together = write
    lines = [f"{from_ms(WORLD_MS + minute * MINUTE):%Y-%m-%d %H:%M} {close}" for minute, close in bars]
    batch = drawn("\n".join(lines)) if bars else BarBatch.none()
    covered = [
        (WORLD_MS + first * MINUTE, WORLD_MS + min(first + count, MINUTES) * MINUTE)
        for first, count in fetched
    ]
    if together:
        opened.write_minutes("kraken", {BTC: batch, ETH: batch}, {BTC: covered})
    else:
        opened.write("kraken", BTC, M1, batch, covered)


@settings(max_examples=30)
@given(
    st.lists(a_bar, min_size=1, max_size=MINUTES),
    st.lists(a_write, min_size=1, max_size=4),
    st.sampled_from([2, 10_000]),
)
@example([(0, 100), (1, 100), (4, 300), (5, 100)], [([(2, 100), (3, 100)], [], False)], 10_000)
def test_whatever_old_bar_a_reader_finds_changed_lies_in_what_is_noted(first, writes, cold_rows_min) -> None:
    """Wrong prints, revisions, gaps that close, months in files: before and after each write."""
    with (
        tempfile.TemporaryDirectory() as folder,
        store(Path(folder), now=WORLD_NOW, cold_rows_min=cold_rows_min) as opened,
    ):
        bring(opened, (first, [], False))
        for write in writes:
            last = opened.reader.mended_since(BTC, ["kraken"], 0).last
            before = seen(opened)
            bring(opened, write)
            start_ms, end_ms = span_of(opened, last) or (0, 0)
            for timeframe, panel in seen(opened).items():
                for place in np.flatnonzero(changed(before[timeframe], panel)).tolist():
                    open_ms = int(panel.open_time_ms[place])
                    if open_ms + timeframe.ms <= to_ms(WORLD_NOW) - LATE_MS:
                        assert timeframe.floor(start_ms) <= open_ms < end_ms, (timeframe, place)


def seen(opened: BarStore) -> dict[Timeframe, Panel]:
    return {
        timeframe: opened.reader.panel(
            [BTC], timeframe, WORLD_MS - 8 * MINUTE, WORLD_MS + 32 * MINUTE, provider="kraken"
        )
        for timeframe in (M1, Timeframe.M5)
    }


def changed(before: Panel, after: Panel) -> BoolArray:
    """Where any field of a bar is another, (bars,)."""
    differs = before.covered != after.covered
    for name in BAR_FIELDS:
        old, new = getattr(before, name), getattr(after, name)
        differs = differs | ((old != new) & ~(np.isnan(old) & np.isnan(new)))
    return differs[:, 0]
