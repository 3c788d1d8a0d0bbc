"""Day files bring whole days of many symbols at once, and leave to requests what they do not have."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.core.errors import NotEntitled, ProviderRefused, ProviderUnavailable
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.market.fetching.bulk import fetch_day_files
from crypto_tracker.market.fetching.planning import Wanted
from crypto_tracker.market.fetching.summary import Summary
from crypto_tracker.market.fetching.writing import StoreThread
from crypto_tracker.market.providers.base import FetchedBars
from crypto_tracker.market.providers.massive.day_files import DayFileMissing
from crypto_tracker.store.bars import BarStore
from tests.market.histories import BTC, ETH, SOL, Notes, answer_of, at, bars_of
from tests.store.shelf import NOW, store

M1 = Timeframe.M1
NOW_MS = at("2025-06-01")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[BarStore]:
    with store(tmp_path / "home", now=NOW) as made:
        yield made


class Files:
    """A file for every day, unless the script says otherwise; SOL is in none of them."""

    def __init__(self, script: Callable[[int], Exception | None] = lambda _day_ms: None) -> None:
        self.script = script
        self.asked: list[int] = []

    async def fetch_day(
        self, day_ms: int, symbols: Collection[Symbol] | None = None
    ) -> Mapping[Symbol, FetchedBars]:
        self.asked.append(day_ms)
        await asyncio.sleep(0)
        if (error := self.script(day_ms)) is not None:
            raise error
        assert symbols is not None
        return {
            symbol: answer_of(bars_of(symbol, M1, day_ms, day_ms + DAY_MS), day_ms, day_ms + DAY_MS)
            for symbol in symbols
            if symbol != SOL
        }


def want(symbol: Symbol, start: str, end: str) -> Wanted:
    return Wanted(symbol=symbol, timeframe=M1, start_ms=at(start), end_ms=at(end))


def fetch(files: Files, opened: BarStore, *wanted: Wanted, notes: Notes | None = None) -> Summary:
    async def job() -> Summary:
        with StoreThread() as thread:
            return await fetch_day_files(
                files,
                "made",
                opened,
                wanted,
                now_ms=lambda: NOW_MS,
                watcher=Notes() if notes is None else notes,
                thread=thread,
            )

    return asyncio.run(job())


def days(*texts: str) -> list[int]:
    return [at(text) for text in texts]


def test_each_file_is_read_once_for_all_symbols_and_months_are_written_whole(opened: BarStore):
    files, notes = Files(), Notes()
    summary = fetch(
        files,
        opened,
        want(BTC, "2025-04-29 12:00", "2025-05-03 06:00"),
        want(ETH, "2025-05-01", "2025-05-03"),
        notes=notes,
    )
    assert sorted(files.asked) == days("2025-04-30", "2025-05-01", "2025-05-02")
    assert [(each.symbol, each.bars, each.requests) for each in summary.series] == [
        (BTC, 3 * 1_440, 3),
        (ETH, 2 * 1_440, 0),
    ]
    assert [(chunk.symbol, chunk.start_ms, chunk.end_ms) for chunk, _, _ in notes.done] == [
        (BTC, *days("2025-05-01", "2025-05-03")),
        (ETH, *days("2025-05-01", "2025-05-03")),
        (BTC, *days("2025-04-30", "2025-05-01")),
    ]
    span = days("2025-04-30", "2025-05-03")
    rows = opened.reader.rows(BTC, M1, *span)
    np.testing.assert_array_equal(rows.values[3], bars_of(BTC, M1, *span).close)
    assert fetch(files, opened, want(ETH, "2025-05-01", "2025-05-03")).chunks == 0
    assert len(files.asked) == 3


def test_a_day_without_a_file_stays_missing_for_requests(opened: BarStore):
    files = Files(lambda day_ms: DayFileMissing("not yet") if day_ms == at("2025-05-02") else None)
    wanted = want(BTC, "2025-05-01", "2025-05-04")
    assert fetch(files, opened, wanted).bars == 2 * 1_440
    assert opened.reader.missing("made", BTC, M1, wanted.start_ms, wanted.end_ms).tolist() == [
        days("2025-05-02", "2025-05-03")
    ]


def test_a_symbol_that_no_file_names_is_left_to_requests(opened: BarStore):
    notes = Notes()
    summary = fetch(
        Files(),
        opened,
        want(SOL, "2025-05-01", "2025-05-02"),
        want(BTC, "2025-05-01", "2025-05-02"),
        notes=notes,
    )
    assert [each.symbol for each in summary.series] == [BTC]
    assert [chunk.symbol for chunk in notes.out] == [SOL]
    assert opened.reader.coverage("made", SOL, M1).tolist() == []


def test_where_the_keys_reach_no_further_the_older_files_are_not_asked_for(opened: BarStore):
    files = Files(lambda day_ms: NotEntitled("no further") if day_ms < at("2025-05-01") else None)
    notes = Notes()
    summary = fetch(files, opened, want(BTC, "2025-01-01", "2025-05-03"), notes=notes)
    assert summary.bars == 2 * 1_440
    assert min(files.asked) > at("2025-04-20")
    assert len(notes.out) == 4


def test_files_that_fail_again_and_again_are_given_up(opened: BarStore):
    files = Files(lambda day_ms: ProviderUnavailable("no answer") if day_ms < at("2025-05-02") else None)
    summary = fetch(files, opened, want(BTC, "2025-01-01", "2025-05-03"))
    assert summary.bars == 1_440
    assert len(files.asked) < 10


@pytest.mark.parametrize("error", [NotEntitled("wrong keys"), ProviderRefused("wrong keys")])
def test_keys_that_open_nothing_end_the_job(opened: BarStore, error: Exception):
    with pytest.raises(ProviderRefused, match="wrong keys"):
        fetch(Files(lambda _day_ms: error), opened, want(BTC, "2025-05-01", "2025-05-03"))


def test_a_broken_bar_is_quarantined_with_its_own_fields(opened: BarStore):
    class Broken(Files):
        async def fetch_day(
            self, day_ms: int, symbols: Collection[Symbol] | None = None
        ) -> Mapping[Symbol, FetchedBars]:
            assert symbols == [BTC]
            bars = bars_of(BTC, M1, day_ms, day_ms + DAY_MS)
            if day_ms == at("2025-05-02"):
                bars.low[3] = -1.0
            return {
                BTC: FetchedBars(
                    bars=bars,
                    covered=((day_ms, day_ms + DAY_MS),),
                    raw=lambda index: {"day": day_ms, "line": index},
                )
            }

    summary = fetch(Broken(), opened, want(BTC, "2025-05-01", "2025-05-04"))
    assert summary.quarantined == 1
    from sqlalchemy import select

    from crypto_tracker.store import tables

    with opened._engine.connect() as connection:
        [row] = connection.execute(select(tables.quarantine)).mappings()
    assert row["source"] == "made day files"
    assert row["open_time_ms"] == at("2025-05-02 00:03")
    assert f'"day": {at("2025-05-02")}' in str(row["raw"]).replace("'", '"')
