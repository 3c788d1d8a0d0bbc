"""What a stream says becomes stored minutes, moment by moment: a clock that only the stream moves."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Any

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.collecting.health import Health
from crypto_tracker.market.collecting.live import Live
from crypto_tracker.market.collecting.schedule import Wishes
from crypto_tracker.market.fetching.writing import StoreThread
from crypto_tracker.market.providers.base import Alive, Lost, StreamEvent, Subscribed
from crypto_tracker.store.bars import WriteResult
from tests import virtual_time
from tests.market.collected import MINUTE, START, Market, ScriptedStream, settings, streamed

MARKET = Market.of(2)
ONE, TWO = MARKET.symbols
OPEN = next(
    each
    for each in range(START, START + 60 * MINUTE, MINUTE)
    if all(MARKET.has_traded(s, each) for s in (ONE, TWO))
)
CLOSE = OPEN + MINUTE

Script = Callable[["Said"], AsyncGenerator[StreamEvent, None]]


class Said:
    """The time of the market, and a store that notes what it is given and when."""

    follows_reading = False

    def __init__(self) -> None:
        self.ms = OPEN - 6_000  # more than the clocks may differ
        self.covered: list[tuple[int, Symbol]] = []  # seconds after the close of the minute
        self.bars: list[tuple[int, Symbol]] = []

    def now_ms(self) -> int:
        return self.ms

    def seconds(self, duration_ms: int) -> float:
        """Time stands still while anybody waits, but nobody waits for minutes."""
        return 0.001 if duration_ms < 2 * MINUTE else duration_ms / 1_000

    async def at(self, seconds: float) -> None:
        """So long after the close of the minute, once all that came before has been dealt with."""
        await asyncio.sleep(0.05)
        self.ms = CLOSE + int(seconds * 1_000)
        await asyncio.sleep(0.05)

    def write_minutes(self, _provider: str, minutes: Any, covered: Any, **_more: Any) -> WriteResult:
        now = (self.ms - CLOSE) // 1_000
        self.bars += [(now, symbol) for symbol, bars in minutes.items() if OPEN in bars.open_time_ms]
        self.covered += [
            (now, symbol)
            for symbol, intervals in covered.items()
            if any(start <= OPEN < end for start, end in intervals)
        ]
        return WriteResult(rows=0, rows_new=0, revisions=0, quarantined=0, suspect=0)


class Asked(Wishes):
    """Wishes that remember from where on they were made."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.moments: list[int] = []

    def all_since(self, since_ms: int, at_ms: int) -> None:
        self.asked.append(since_ms)
        self.moments.append(at_ms)
        super().all_since(since_ms, at_ms)


def lived(script: Script, began_ms: int | None = None) -> tuple[Said, Health, Asked, list[str]]:
    """Run a stream to its end."""
    said, wishes, notes = Said(), Asked(), []  # type: ignore[var-annotated]
    said.ms = said.ms if began_ms is None else began_ms
    health = Health(provider="x", has_stream=True, changed=lambda *_: None, noted=notes.append)

    async def events(symbols: Sequence[Symbol]) -> AsyncGenerator[StreamEvent, None]:
        yield Subscribed(symbols=tuple(symbols))
        async for event in script(said):
            yield event

    async def main() -> None:
        with StoreThread() as thread:
            live = Live(
                ScriptedStream(events),
                said,  # type: ignore[arg-type]
                thread,
                settings().collector,
                said,
                health,
                wishes,
                lambda: None,
            )
            await live.run([ONE, TWO])

    virtual_time.run(main())
    return said, health, wishes, notes


def test_a_bar_is_written_and_known_two_seconds_after_its_close_and_a_missing_one_only_when_proven():
    async def script(said: Said) -> AsyncGenerator[StreamEvent, None]:
        await said.at(0.5)
        yield streamed(MARKET, ONE, OPEN)
        for second in (1, 2, 8, 14):
            await said.at(second)
            yield Alive(at_ms=said.ms)
        await said.at(15)
        yield Alive(at_ms=said.ms)
        await said.at(16)

    said, health, _, _ = lived(script)
    assert said.bars == [(2, ONE)]
    assert said.covered == [(2, ONE), (15, TWO)]
    assert health.counts["late"] == 0


def test_a_bar_that_is_late_by_less_than_the_stream_is_waited_for_comes_with_its_minute():
    async def script(said: Said) -> AsyncGenerator[StreamEvent, None]:
        await said.at(0.5)
        yield streamed(MARKET, ONE, OPEN)
        await said.at(14)
        yield Alive(at_ms=said.ms)
        yield streamed(MARKET, TWO, OPEN)
        await said.at(15)
        yield Alive(at_ms=said.ms)
        await said.at(16)

    said, health, _, notes = lived(script)
    assert said.bars == said.covered
    assert {symbol for _, symbol in said.covered} == {ONE, TWO}
    assert (health.counts["late"], notes) == (0, [])


def test_a_bar_of_a_minute_that_was_told_as_one_without_a_trade_is_counted_and_said():
    async def script(said: Said) -> AsyncGenerator[StreamEvent, None]:
        await said.at(0.5)
        yield streamed(MARKET, ONE, OPEN)
        await said.at(15)
        yield Alive(at_ms=said.ms)
        await said.at(19)
        yield streamed(MARKET, TWO, OPEN)
        await said.at(30)

    said, health, _, notes = lived(script)
    assert sorted(symbol for _, symbol in said.covered) == [ONE, TWO]
    assert health.counts["late"] == 1
    (note,) = notes
    assert note.startswith(
        f"the bar of {TWO} of 12:{(OPEN - START) // MINUTE:02d} UTC came 19.0 s after its close"
    )


def test_a_minute_that_may_have_begun_at_the_exchange_before_it_confirmed_is_left_to_requests():
    async def script(said: Said) -> AsyncGenerator[StreamEvent, None]:
        await said.at(0.5)
        yield streamed(MARKET, ONE, OPEN + MINUTE)
        await said.at(76)
        yield streamed(MARKET, ONE, OPEN + MINUTE)
        yield Alive(at_ms=said.ms)
        await said.at(77)

    skew_ms = int(settings().collector.skew_seconds * 1_000)
    said, _, wishes, _ = lived(script, began_ms=OPEN - skew_ms + 1)
    assert skew_ms > 0
    assert said.covered == []
    assert CLOSE + int(settings().collector.settle_seconds * 1_000) in wishes.moments
    assert OPEN - MINUTE in wishes.asked


def test_a_broken_bar_of_a_minute_that_was_told_as_one_without_a_trade_has_it_read_again():
    async def script(said: Said) -> AsyncGenerator[StreamEvent, None]:
        await said.at(0.5)
        yield streamed(MARKET, ONE, OPEN)
        await said.at(15)
        yield Alive(at_ms=said.ms)
        await said.at(19)
        for _ in range(2):
            good = streamed(MARKET, TWO, OPEN)
            yield replace(good, bars=replace(good.bars, high=good.bars.low - 1.0))
        await said.at(20)

    said, health, wishes, _ = lived(script)
    assert sorted(symbol for _, symbol in said.covered) == [ONE, TWO]
    assert health.counts["unusable"] == 2
    assert wishes.asked.count(OPEN) == 1  # and once only
    assert CLOSE + 19_000 in wishes.moments


def test_silence_proves_nothing_and_is_asked_for_over_requests():
    async def script(said: Said) -> AsyncGenerator[StreamEvent, None]:
        await said.at(0.5)
        yield streamed(MARKET, ONE, OPEN)
        await said.at(16.9)
        assert said.covered == [(16, ONE)]
        await said.at(17.1)
        yield Lost(reason="silence", again_seconds=1.0)

    said, _, wishes, _ = lived(script)
    assert {symbol for _, symbol in said.covered} == {ONE}
    assert wishes.asked.count(OPEN) == 1  # and the loss begins with the minute after it


def test_time_in_which_the_process_stood_still_is_lost():
    async def script(said: Said) -> AsyncGenerator[StreamEvent, None]:
        await said.at(0.5)
        yield streamed(MARKET, ONE, OPEN)
        said.ms = CLOSE + 3_600_000
        yield Alive(at_ms=said.ms)
        await said.at(3_700)

    said, health, wishes, notes = lived(script)
    assert said.covered == []
    assert health.counts["trouble_pause"] >= 1
    assert OPEN in wishes.asked
    assert "this process stood still for" in notes[0]
