"""Whoever mends bars long after their time leaves a note of where."""

from datetime import timedelta
from pathlib import Path

import pytest

from crypto_tracker.core.timeframes import Timeframe, from_ms
from crypto_tracker.store import mended
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.mended import Mended
from tests.store.shelf import BTC, ETH, MINUTE, at, drawn, store

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
