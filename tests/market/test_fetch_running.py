"""Jobs bring what is missing, keep every chunk at once, and say what they could not bring."""

import asyncio
import random
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.errors import (
    NotEntitled,
    ProviderRefused,
    ProviderUnavailable,
    StoreError,
    UnknownToProvider,
)
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.market.fetching.planning import Chunk, Wanted
from crypto_tracker.market.fetching.running import BROKEN_BARS, Again, fetch_missing, fetch_overlap, run
from crypto_tracker.market.fetching.summary import Cause, Summary
from crypto_tracker.market.fetching.symbols import known_symbols
from crypto_tracker.market.fetching.writing import StoreThread
from crypto_tracker.market.providers.base import FetchedBars, Lacking, MarketInfo, Reach, no_bars
from crypto_tracker.net.breaker import LeftAlone
from crypto_tracker.store import intervals
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.failpoints import Failpoint, on_failpoint
from tests.market.histories import BTC, ETH, SOL, Notes, ScriptedHistory, answer_of, at, bars_of
from tests.store.shelf import NOW, store

M1, H1 = Timeframe.M1, Timeframe.H1
NOW_MS = at("2025-06-01")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[BarStore]:
    with store(tmp_path / "home", now=NOW) as made:
        yield made


def want(symbol: Symbol, start: str, end: str, timeframe: Timeframe = M1) -> Wanted:
    return Wanted(symbol=symbol, timeframe=timeframe, start_ms=at(start), end_ms=at(end))


def fetch(
    history: ScriptedHistory, opened: BarStore, *wanted: Wanted, parallel: int = 2, **more: object
) -> Summary:
    return asyncio.run(
        fetch_missing(history, opened, wanted, now_ms=lambda: NOW_MS, parallel=parallel, **more)
    )


def left(opened: BarStore, wanted: Wanted) -> list[list[int]]:
    return opened.reader.missing(
        "made", wanted.symbol, wanted.timeframe, wanted.start_ms, wanted.end_ms
    ).tolist()


def test_what_is_missing_comes_with_its_coverage_and_the_second_time_nothing_is_asked(opened: BarStore):
    spring = want(BTC, "2025-03-15", "2025-04-02")
    hours = want(ETH, "2025-03-31", "2025-04-02", H1)
    history, notes = ScriptedHistory(), Notes()
    summary = fetch(history, opened, spring, hours, watcher=notes)

    assert [(series.symbol, series.timeframe, series.bars, series.chunks) for series in summary.series] == [
        (BTC, M1, 18 * 1_440, 2),
        (ETH, H1, 48, 1),
    ]
    assert (summary.new, summary.revisions, summary.quarantined, summary.requests) == (
        18 * 1_440 + 48,
        0,
        0,
        3,
    )
    assert (summary.missing, summary.failed, summary.provider) == ((), (), "made")
    assert left(opened, spring) == left(opened, hours) == []
    panel = opened.reader.panel([BTC], M1, spring.start_ms, spring.end_ms)
    np.testing.assert_array_equal(panel.close[:, 0], bars_of(BTC, M1, spring.start_ms, spring.end_ms).close)
    assert sorted(bars for _, bars, _ in notes.done) == [48, 1_440, 17 * 1_440]
    assert [plan.bars for plan in notes.plans] == [18 * 1_440 + 48]

    again = fetch(history, opened, spring, hours)
    assert len(history.asked) == 3
    assert (again.bars, again.chunks, again.missing) == (0, 0, ())


def test_no_more_requests_are_under_way_than_allowed(opened: BarStore):
    history = ScriptedHistory()
    fetch(
        history, opened, *(want(each, "2025-01-01", "2025-05-01", H1) for each in (BTC, ETH, SOL)), parallel=2
    )
    many = ScriptedHistory(reaches={M1: Reach(page_bars=60)})
    fetch(many, opened, want(BTC, "2025-05-01", "2025-05-02"), parallel=3)
    assert (history.at_once_max, many.at_once_max, len(many.asked)) == (2, 3, 24)


def test_a_symbol_that_the_provider_does_not_know_is_marked_once_and_not_asked_for_again(opened: BarStore):
    def script(chunk: Chunk) -> Exception | None:
        return UnknownToProvider("made does not know ETH/USD") if chunk.symbol == ETH else None

    history, notes = ScriptedHistory(script), Notes()
    spans = [want(each, "2025-01-01", "2025-05-01") for each in (ETH, BTC)]
    summary = fetch(history, opened, *spans, parallel=1, watcher=notes)
    assert len([chunk for chunk in history.asked if chunk.symbol == ETH]) == 1
    assert notes.gone == [(ETH, "made does not know ETH/USD", 4)]
    assert summary.inactive == {ETH: "made does not know ETH/USD"}
    assert [(each.symbol, each.cause, each.start_ms, each.end_ms) for each in summary.missing] == [
        (ETH, Cause.INACTIVE, at("2025-01-01"), at("2025-05-01"))
    ]
    assert summary.failed == ()
    assert left(opened, spans[1]) == []
    assert not opened.mark_inactive("made", ETH, "made does not know ETH/USD")  # it is no news


def test_what_the_plan_does_not_reach_is_noted_as_lacking_and_the_rest_comes(opened: BarStore):
    def script(chunk: Chunk) -> Exception | None:
        return NotEntitled("the plan ends there") if chunk.end_ms <= at("2025-03-01") else None

    history, notes = ScriptedHistory(script), Notes()
    span = want(BTC, "2025-01-01", "2025-05-01")
    summary = fetch(history, opened, span, watcher=notes)
    assert [(each.cause, each.start_ms, each.end_ms, each.reason) for each in summary.missing] == [
        (Cause.LACKING, at("2025-01-01"), at("2025-03-01"), "the plan ends there")
    ]
    assert len(notes.lacking) == 2
    assert opened.reader.lacking("made", BTC, M1) == [
        (at("2025-01-01"), at("2025-03-01"), "the plan ends there")
    ]
    second = fetch(history, opened, span)
    assert len(history.asked) == 4
    assert second.missing == summary.missing


def test_asking_again_forgets_the_note_where_the_provider_has_the_bars_now(opened: BarStore):
    plan_ends = [at("2025-04-01")]

    def script(chunk: Chunk) -> Exception | None:
        return NotEntitled("the plan ends there") if chunk.end_ms <= plan_ends[0] else None

    span = want(BTC, "2025-02-01", "2025-05-01")
    fetch(ScriptedHistory(script), opened, span)
    plan_ends[0] = at("2025-03-01")
    summary = fetch(ScriptedHistory(script), opened, span, again=Again.LACKING)
    assert summary.new == 31 * 1_440
    assert opened.reader.lacking("made", BTC, M1) == [
        (at("2025-02-01"), at("2025-03-01"), "the plan ends there")
    ]
    assert len(summary.missing) == 1


def test_a_wrong_key_ends_the_job_with_its_sentence_and_what_has_come_is_kept(opened: BarStore):
    def script(chunk: Chunk) -> Exception | None:
        return ProviderRefused("put the right key there") if chunk.end_ms == at("2025-03-01") else None

    history = ScriptedHistory(script)
    with pytest.raises(ProviderRefused, match="put the right key there"):
        fetch(history, opened, want(BTC, "2025-01-01", "2025-05-01"), parallel=1)
    assert left(opened, want(BTC, "2025-01-01", "2025-05-01")) == [[at("2025-01-01"), at("2025-03-01")]]


def test_a_chunk_that_does_not_come_is_named_and_the_others_go_on(opened: BarStore):
    def script(chunk: Chunk) -> Exception | None:
        return ProviderUnavailable("no answer") if chunk.start_ms == at("2025-03-01") else None

    notes = Notes()
    span = want(BTC, "2025-01-01", "2025-05-01")
    summary = fetch(ScriptedHistory(script), opened, span, watcher=notes)
    assert [(each.start_ms, each.end_ms, each.reason) for each in summary.failed] == [
        (at("2025-03-01"), at("2025-04-01"), "no answer")
    ]
    assert [reason for _, reason in notes.failed] == ["no answer"]
    assert left(opened, span) == [[at("2025-03-01"), at("2025-04-01")]]
    assert fetch(ScriptedHistory(), opened, span).missing == ()


def test_a_provider_that_is_left_alone_is_waited_for_and_no_chunk_is_lost(opened: BarStore):
    failures = iter([LeftAlone("leave it", seconds=0.01), LeftAlone("leave it", seconds=0.01)])
    history, notes = ScriptedHistory(lambda _chunk: next(failures, None)), Notes()
    summary = fetch(history, opened, want(BTC, "2025-01-01", "2025-05-01"), parallel=1, watcher=notes)
    assert notes.waits == [(0.01, "leave it"), (0.01, "leave it")]
    assert (summary.chunks, summary.missing) == (4, ())
    assert [chunk.end_ms for chunk in history.asked] == [
        at(day)
        for day in ("2025-05-01", "2025-05-01", "2025-05-01", "2025-04-01", "2025-03-01", "2025-02-01")
    ]


def test_after_two_waits_in_vain_the_rest_is_given_up(opened: BarStore):
    history = ScriptedHistory(lambda _chunk: LeftAlone("leave it", seconds=0.01))
    notes = Notes()
    summary = fetch(history, opened, want(BTC, "2025-01-01", "2025-05-01"), parallel=1, watcher=notes)
    assert len(notes.waits) == 2
    assert len(history.asked) == 3
    assert [(each.cause, each.start_ms, each.end_ms) for each in summary.missing] == [
        (Cause.FAILED, at("2025-01-01"), at("2025-05-01"))
    ]
    assert len(notes.failed) == 4


def test_several_that_meet_an_open_breaker_at_once_wait_for_it_together(opened: BarStore):
    failures = iter([LeftAlone("leave it", seconds=0.02)] * 3)
    history, notes = ScriptedHistory(lambda _chunk: next(failures, None)), Notes()
    summary = fetch(history, opened, want(BTC, "2025-01-01", "2025-05-01"), parallel=3, watcher=notes)
    assert len(notes.waits) == 1
    assert (summary.chunks, summary.missing) == (4, ())


def test_what_lies_before_the_reach_is_noted_and_what_lies_after_it_is_only_said(opened: BarStore):
    reach = Reach(
        page_bars=720,
        oldest_ms=at("2025-05-30 12:00"),
        newest_ms=at("2025-05-31"),
        why_oldest="only 720 bars",
        why_newest="a day later",
    )
    history = ScriptedHistory(reaches={M1: reach})
    span = want(BTC, "2025-05-30", "2025-06-01")
    summary = fetch(history, opened, span)
    assert [(each.cause, each.reason, each.start_ms, each.end_ms) for each in summary.missing] == [
        (Cause.LACKING, "only 720 bars", at("2025-05-30"), at("2025-05-30 12:00")),
        (Cause.LATER, "a day later", at("2025-05-31"), at("2025-06-01")),
    ]
    assert opened.reader.lacking("made", BTC, M1) == [
        (at("2025-05-30"), at("2025-05-30 12:00"), "only 720 bars")
    ]
    assert left(opened, span) == [[at("2025-05-31"), at("2025-06-01")]]
    assert summary.failed == ()
    groups = [(group.reason, group.bars, group.symbols) for group in summary.groups()]
    assert groups == [("a day later", 1_440, (BTC,)), ("only 720 bars", 720, (BTC,))]


def test_the_head_before_the_first_bar_is_lacking_by_the_answer(opened: BarStore):
    def script(chunk: Chunk) -> FetchedBars | None:
        listed = at("2025-03-10")
        if chunk.start_ms >= listed:
            return None
        first = min(max(listed, chunk.start_ms), chunk.end_ms)
        bars = bars_of(BTC, M1, first, chunk.end_ms) if first < chunk.end_ms else no_bars()
        return FetchedBars(
            bars=bars,
            covered=((first, chunk.end_ms),),
            lacking=(Lacking(start_ms=chunk.start_ms, end_ms=first, reason="listed later"),),
        )

    span = want(BTC, "2025-02-01", "2025-05-01")
    summary = fetch(ScriptedHistory(script), opened, span)
    assert [(each.start_ms, each.end_ms, each.reason) for each in summary.missing] == [
        (at("2025-02-01"), at("2025-03-10"), "listed later")
    ]
    assert left(opened, span) == []


def test_a_bar_that_breaks_a_rule_is_quarantined_and_not_asked_for_again(opened: BarStore):
    def script(chunk: Chunk) -> FetchedBars:
        bars = bars_of(BTC, M1, chunk.start_ms, chunk.end_ms)
        bars.high[5] = 1.0
        return answer_of(bars, chunk.start_ms, chunk.end_ms)

    span = want(BTC, "2025-05-01", "2025-05-02")
    history = ScriptedHistory(script)
    summary = fetch(history, opened, span)
    assert summary.quarantined == 1
    minute = at("2025-05-01 00:05")
    assert [(each.cause, each.reason, each.start_ms, each.end_ms) for each in summary.missing] == [
        (Cause.LACKING, BROKEN_BARS, minute, minute + MINUTE_MS)
    ]
    fetch(history, opened, span)
    assert len(history.asked) == 1


def test_an_answer_that_says_nothing_of_a_part_leaves_it_missing(opened: BarStore):
    def script(chunk: Chunk) -> FetchedBars:
        middle = at("2025-05-01 12:00")
        return answer_of(bars_of(BTC, M1, chunk.start_ms, middle), chunk.start_ms, middle)

    span = want(BTC, "2025-05-01", "2025-05-02")
    summary = fetch(ScriptedHistory(script), opened, span)
    assert [(each.cause, each.start_ms, each.end_ms) for each in summary.missing] == [
        (Cause.LATER, at("2025-05-01 12:00"), at("2025-05-02"))
    ]
    assert left(opened, span) == [[at("2025-05-01 12:00"), at("2025-05-02")]]


def test_what_an_answer_leaves_open_long_ago_is_not_called_too_new(opened: BarStore):
    def script(chunk: Chunk) -> FetchedBars:
        middle = chunk.start_ms + (chunk.end_ms - chunk.start_ms) // 2
        answer = answer_of(bars_of(BTC, M1, chunk.start_ms, middle), chunk.start_ms, middle)
        return answer if chunk.end_ms == NOW_MS else replace(answer, why_open="it gave no trades")

    summary = fetch(
        ScriptedHistory(script),
        opened,
        want(BTC, "2025-05-01", "2025-05-02"),
        want(BTC, "2025-05-31", "2025-06-01"),
    )
    assert [(each.reason, each.start_ms) for each in summary.missing] == [
        ("it gave no trades", at("2025-05-01 12:00")),
        ("the provider has not published it yet", at("2025-05-31 12:00")),
    ]


def test_an_overlap_fetches_the_newest_bars_once_more_and_a_change_becomes_a_revision(opened: BarStore):
    fetch(ScriptedHistory(), opened, want(BTC, "2025-05-31 20:00", "2025-05-31 23:00"))

    def corrected(chunk: Chunk) -> FetchedBars:
        bars = bars_of(chunk.symbol, chunk.timeframe, chunk.start_ms, chunk.end_ms)
        bars.volume[bars.open_time_ms == at("2025-05-31 22:55")] = 7.0
        return answer_of(bars, chunk.start_ms, chunk.end_ms)

    history = ScriptedHistory(corrected)
    summary = asyncio.run(
        fetch_overlap(
            history,
            opened,
            [want(BTC, "2025-05-31 20:00", "2025-06-01"), want(ETH, "2025-05-31 23:00", "2025-06-01", H1)],
            overlap_bars={M1: 10, H1: 2},
            now_ms=lambda: NOW_MS,
            parallel=2,
        )
    )
    assert sorted((chunk.symbol, chunk.start_ms, chunk.end_ms) for chunk in history.asked) == [
        (BTC, at("2025-05-31 22:50"), NOW_MS),
        (ETH, at("2025-05-31 23:00"), NOW_MS),
    ]
    assert (summary.bars, summary.new, summary.revisions) == (71, 61, 1)


def test_chunks_that_are_given_are_fetched_whatever_the_store_has(opened: BarStore):
    chunk = Chunk(symbol=BTC, timeframe=H1, start_ms=at("2025-05-01"), end_ms=at("2025-05-02"))
    history = ScriptedHistory()
    for new in (24, 0):
        summary = asyncio.run(run([chunk], history, opened, parallel=1))
        assert (summary.bars, summary.new) == (24, new)
    assert history.asked == [chunk, chunk]


def test_a_job_that_is_ended_finishes_the_write_that_is_under_way(opened: BarStore):
    writing, ended = threading.Event(), threading.Event()

    def wait(point: Failpoint) -> None:
        if point is Failpoint.BEFORE_COMMIT and not writing.is_set():
            writing.set()
            assert ended.wait(10.0)

    span = want(BTC, "2025-01-01", "2025-05-01")

    async def job() -> None:
        task = asyncio.create_task(
            fetch_missing(ScriptedHistory(), opened, [span], now_ms=lambda: NOW_MS, parallel=1)
        )
        assert await asyncio.to_thread(writing.wait, 10.0)
        task.cancel()
        await asyncio.sleep(0)
        ended.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    on_failpoint(wait)
    try:
        asyncio.run(job())
    finally:
        on_failpoint(None)
    missing = intervals.as_intervals(tuple(pair) for pair in left(opened, span))
    # The chunk that was being written is whole; the one behind it was fetched and may be whole too.
    assert [end for _, end in missing.tolist()] in ([at("2025-04-01")], [at("2025-03-01")])


def test_a_store_that_cannot_be_written_ends_the_job(opened: BarStore):
    def fail(point: Failpoint) -> None:
        if point is Failpoint.BEFORE_COMMIT:
            raise StoreError("the disk is full")

    on_failpoint(fail)
    try:
        with pytest.raises(StoreError, match="the disk is full"):
            fetch(ScriptedHistory(), opened, want(BTC, "2025-01-01", "2025-05-01"))
    finally:
        on_failpoint(None)


def test_a_look_at_the_markets_sorts_out_symbols_before_anything_is_asked(opened: BarStore):
    history = ScriptedHistory(
        known=(
            MarketInfo(symbol=BTC, provider_symbol="BTC"),
            MarketInfo(symbol=SOL, provider_symbol="SOL", active=False),
        )
    )
    notes = Notes()

    async def look() -> tuple[tuple[Symbol, ...], dict[Symbol, str]]:
        with StoreThread() as thread:
            known = await known_symbols(history, opened, [ETH, BTC, SOL], thread=thread, watcher=notes)
            return known.there, dict(known.inactive)

    there, inactive = asyncio.run(look())
    assert there == (BTC, SOL)
    assert inactive == {ETH: "made does not have it", SOL: "made no longer trades it"}
    assert [symbol for symbol, _, _ in notes.gone] == [ETH, SOL]
    asyncio.run(look())
    assert len(notes.gone) == 2  # said once
    assert history.asked == []


def test_two_summaries_of_one_provider_add_up(opened: BarStore):
    def script(chunk: Chunk) -> Exception | None:
        return ProviderUnavailable("no answer") if chunk.start_ms == at("2025-03-01") else None

    span, other = want(BTC, "2025-02-01", "2025-05-01"), want(ETH, "2025-03-01", "2025-04-01")
    first = fetch(ScriptedHistory(script), opened, span, other)
    second = fetch(ScriptedHistory(), opened, span)
    both = first.joined(second)
    assert both.bars == first.bars + second.bars == (28 + 31 + 30) * 1_440
    assert [each.symbol for each in both.failed] == [ETH]
    assert both.requests == 3


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), parallel=st.integers(1, 4), share=st.floats(0.0, 0.7))
def test_whatever_fails_jobs_come_to_the_same_end_and_no_finished_chunk_is_asked_for_again(
    seed: int, parallel: int, share: float
):
    chance = random.Random(seed)
    came: list[Chunk] = []

    def script(chunk: Chunk) -> Exception | None:
        if chance.random() < share:
            return chance.choice([ProviderUnavailable("no answer"), LeftAlone("leave it", seconds=0.0)])
        came.append(chunk)
        return None

    wanted = [
        want(symbol, start, "2025-04-03", timeframe)
        for symbol, start in ((BTC, "2025-02-20"), (ETH, "2025-03-31"))
        for timeframe in (M1, H1)
    ]
    reaches = {M1: Reach(page_bars=20_000), H1: Reach(page_bars=300)}
    with tempfile.TemporaryDirectory() as folder, store(Path(folder) / "home", now=NOW) as opened:
        for _ in range(50):
            summary = fetch(ScriptedHistory(script, reaches), opened, *wanted, parallel=parallel)
            if not summary.missing:
                break
            assert {each.cause for each in summary.missing} == {Cause.FAILED}
        for each in wanted:
            chunks = [
                chunk for chunk in came if (chunk.symbol, chunk.timeframe) == (each.symbol, each.timeframe)
            ]
            pieces = [(chunk.start_ms, chunk.end_ms) for chunk in chunks]
            assert sum(end - start for start, end in pieces) == each.end_ms - each.start_ms
            assert intervals.as_intervals(pieces).tolist() == [[each.start_ms, each.end_ms]]
            bars = opened.reader.rows(each.symbol, each.timeframe, each.start_ms, each.end_ms)
            np.testing.assert_array_equal(
                bars.values[3], bars_of(each.symbol, each.timeframe, each.start_ms, each.end_ms).close
            )
