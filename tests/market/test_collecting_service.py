"""The collector of one provider, in a market whose minutes last a moment, and in a time that waits for it."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crypto_tracker.core.errors import ProviderRefused, ProviderUnavailable
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.market.collecting.service import Assignment, Collecting
from crypto_tracker.market.providers.base import (
    Alive,
    Lost,
    MarketInfo,
    Stream,
    StreamedBars,
    StreamEvent,
    Subscribed,
)
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.collectors import Standing, collectors
from crypto_tracker.store.leases import Lease
from crypto_tracker.store.quarantine import quarantined
from crypto_tracker.store.universes import universes
from tests import virtual_time
from tests.market.collected import (
    MINUTE,
    START,
    FastTime,
    Market,
    MarketHistory,
    ScriptedStream,
    Told,
    batch,
    differences,
    settings,
    streamed,
)
from tests.virtual_time import Clock

SPEED = 240.0  # a minute in a quarter of a second


@dataclass
class Session:
    """One collector over one market, and what it told."""

    collecting: Collecting
    store: BarStore
    time: FastTime
    told: Told
    home: Path
    market: Market
    clock: Clock

    def run(self, *, minutes: float) -> None:
        """Collect for so many minutes of the market's time, then stop."""

        async def main() -> None:
            stop = asyncio.Event()
            running = asyncio.create_task(self.collecting.run(stop))
            await asyncio.wait([running], timeout=self.time.seconds(int(minutes * MINUTE)))
            stop.set()
            await running

        virtual_time.run(main(), self.clock)

    def covered(self) -> dict[Symbol, list[list[int]]]:
        return {
            each: self.store.reader.coverage("massive", each, Timeframe.M1).tolist()
            for each in self.market.symbols
        }


@contextmanager
def session(
    home: Path,
    market: Market,
    stream: Callable[[FastTime], Stream] | None,
    *,
    history: Callable[[FastTime], MarketHistory] | None = None,
    needed_minutes: int = 30,
    start_ms: int = START,
    speed: float = SPEED,
    clock: Clock | None = None,
    **collector: Any,
):
    clock = clock or Clock()
    time = FastTime(clock, speed, start_ms)
    wanted = settings(**{"lease_seconds": 240.0, **collector})
    told = Told()
    with ExitStack() as closing:
        store = closing.enter_context(BarStore.open(home, market_data=wanted, clock=time))
        assignment = Assignment(
            history=MarketHistory(market, time) if history is None else history(time),
            stream=None if stream is None else stream(time),
            symbols=market.symbols,
            needed=lambda _, now_ms: {Timeframe.M1: now_ms - needed_minutes * MINUTE},
        )
        collecting = Collecting(assignment, store, home, wanted, time, told)
        yield Session(collecting, store, time, told, home, market, clock)


def undisturbed(time: FastTime, market: Market) -> ScriptedStream:
    """Every minute's bars a moment after its close."""

    async def script(symbols: Sequence[Symbol]) -> AsyncGenerator[StreamEvent, None]:
        yield Subscribed(symbols=tuple(symbols))
        open_ms = time.now_ms() // MINUTE * MINUTE
        while True:
            await asyncio.sleep(max(time.seconds(open_ms + MINUTE + 300 - time.now_ms()), 0.0))
            for symbol in symbols:
                if market.has_traded(symbol, open_ms):
                    yield streamed(market, symbol, open_ms)
            quiet_ms = open_ms + MINUTE + 15_000
            await asyncio.sleep(max(time.seconds(quiet_ms + 100 - time.now_ms()), 0.0))
            yield Alive(at_ms=time.now_ms())
            open_ms += MINUTE

    return ScriptedStream(script)


def test_a_stream_and_requests_together_leave_no_minute_unknown(tmp_path):
    market = Market.of(5)
    with session(tmp_path, market, lambda time: undisturbed(time, market)) as running:
        running.run(minutes=8)
        end_ms = running.time.now_ms() - 2 * MINUTE
        assert differences(running.store.reader, market, START - 30 * MINUTE, end_ms // MINUTE * MINUTE) == []
        states = [state for state, _ in running.told.states]
        assert states[0] is Standing.STARTING
        assert Standing.LIVE in states
        assert states[-1] is Standing.STOPPED
        assert collectors(tmp_path)[0].state is Standing.STOPPED
        assert collectors(tmp_path)[0].figures["symbols"] == 5


def test_without_a_stream_the_newest_minutes_are_fetched_on_schedule(tmp_path):
    market = Market.of(3)
    with session(tmp_path, market, None) as running:
        running.run(minutes=7)
        states = [state for state, _ in running.told.states]
        assert Standing.SCHEDULED in states
        # 12:00 begins, and minutes are fetched every five of them, shortly after their close
        known = {spans[-1][1] for spans in running.covered().values()}
        assert known == {START + 5 * MINUTE}
        assert differences(running.store.reader, market, START - 30 * MINUTE, START + 5 * MINUTE) == []


def test_requests_are_never_more_at_a_time_than_configured(tmp_path):
    market = Market.of(40)
    histories: list[MarketHistory] = []

    def history(time: FastTime) -> MarketHistory:
        histories.append(MarketHistory(market, time, latency_ms=20_000))
        return histories[0]

    with session(tmp_path, market, None, history=history, parallel=3, backfill=True) as running:
        running.run(minutes=8)
    assert histories[0].at_once_peak == 3


def test_what_trading_needs_is_fetched_before_the_years(tmp_path):
    market = Market.of(4)
    histories: list[MarketHistory] = []

    def history(time: FastTime) -> MarketHistory:
        histories.append(MarketHistory(market, time))
        return histories[0]

    # A year of four symbols is long to make: a stop comes in the middle, which is what it is for.
    with session(tmp_path, market, None, history=history, backfill=True, speed=60.0) as running:
        running.run(minutes=1)
    asked = histories[0].asked
    assert {symbol for symbol, _, _ in asked[:4]} == set(market.symbols)
    assert all(end - start <= 31 * MINUTE for _, start, end in asked[:4])
    assert any(end - start > DAY_MS for _, start, end in asked[4:])


def test_a_bar_that_is_held_is_asked_for_again_with_the_years_and_healed(tmp_path):
    market = Market.of(1)
    (symbol,) = market.symbols
    minute_ms = next(each for each in market.traded(symbol, START - 20 * MINUTE, START))
    histories: list[MarketHistory] = []

    def history(time: FastTime) -> MarketHistory:
        histories.append(MarketHistory(market, time))
        return histories[0]

    with session(tmp_path, market, None, history=history) as running:
        broken = market.batch(symbol, [minute_ms])
        broken.high[0] = broken.low[0] / 2
        lack = minute_ms, minute_ms + MINUTE, "its bars break a rule"
        running.store.write("massive", symbol, Timeframe.M1, broken, lacking=[lack])
        assert len(quarantined(tmp_path)) == 1
        running.run(minutes=4)
        assert quarantined(tmp_path) == []
        assert running.store.reader.lacking("massive", symbol, Timeframe.M1) == []
        assert differences(running.store.reader, market, START - 30 * MINUTE, START) == []
    asked = [(start, end) for _, start, end in histories[0].asked if start <= minute_ms < end]
    assert asked == [(minute_ms, minute_ms + MINUTE)]


def test_a_symbol_that_is_not_listed_is_inactive_said_once_and_comes_back_when_it_is_listed(tmp_path):
    market = Market.of(3)
    gone = market.symbols[1]
    until_ms = START + 2 * MINUTE

    def history(time: FastTime) -> MarketHistory:
        def listed() -> list[MarketInfo]:
            return [
                MarketInfo(symbol=each, provider_symbol=each.base)
                for each in market.symbols
                if each != gone or time.now_ms() > until_ms
            ]

        return MarketHistory(market, time, markets_listed=listed)

    # a quarter to midnight, so that the daily look at the markets comes soon
    start_ms = START // DAY_MS * DAY_MS + 8 * MINUTE
    until_ms = start_ms + MINUTE
    with session(tmp_path, market, None, history=history, start_ms=start_ms) as running:
        running.run(minutes=8)
        told = [note for note in running.told.notes if str(gone) in note]
        assert told == [f"{gone} is inactive: massive does not have it", f"{gone} is traded again"]
        assert running.collecting.figures()["symbols"] == 3
        assert [len(each.symbols) for each in universes(tmp_path, "massive")] == [3]


def test_a_provider_that_cannot_be_reached_is_a_state_and_no_end(tmp_path):
    market = Market.of(2)

    def history(time: FastTime) -> MarketHistory:
        def failing() -> Exception | None:
            return ProviderUnavailable("the line is down") if time.now_ms() < START + 3 * MINUTE else None

        return MarketHistory(market, time, failing=failing)

    with session(tmp_path, market, None, history=history) as running:
        running.run(minutes=8)
        told = [(state, detail) for state, detail in running.told.states if state is Standing.TROUBLE]
        assert any("the line is down" in detail for _, detail in told)
        assert running.told.states[-2][0] is Standing.SCHEDULED
        assert differences(running.store.reader, market, START - 20 * MINUTE, START + 5 * MINUTE) == []


def test_a_refusal_ends_the_collector_with_its_sentence(tmp_path):
    market = Market.of(2)

    def history(time: FastTime) -> MarketHistory:
        return MarketHistory(market, time, failing=lambda: ProviderRefused("the key is wrong"))

    with session(tmp_path, market, None, history=history) as running:
        with pytest.raises(ProviderRefused, match="the key is wrong"):
            running.run(minutes=5)
        assert running.told.states[-1] == (Standing.STOPPED, "the key is wrong")
        assert collectors(tmp_path)[0].detail == "the key is wrong"


def test_a_buffer_that_is_full_is_written_at_once_and_reading_waits_meanwhile(tmp_path):
    """Bars of 2,000 minutes come as fast as they are taken; a hundred of them are in memory at most."""
    market = Market.of(1)
    (symbol,) = market.symbols
    past = START - 2_000 * MINUTE

    def stream(_time: FastTime) -> ScriptedStream:
        async def script(symbols: Sequence[Symbol]) -> AsyncGenerator[StreamEvent, None]:
            yield Subscribed(symbols=tuple(symbols))
            for open_ms in market.traded(symbol, past, START):
                yield streamed(market, symbol, open_ms)
            await asyncio.Event().wait()

        return ScriptedStream(script)

    with session(tmp_path, market, stream, buffer_bars=100, needed_minutes=1) as running:
        running.run(minutes=6)
        assert running.collecting.figures()["buffer_peak"] == 100
        panel = running.store.reader.panel([symbol], Timeframe.M1, past, START, provider="massive")
        assert int(panel.present.sum()) == len(market.traded(symbol, past, START))


def test_a_correction_that_was_sent_around_a_loss_is_seen_however_late_it_is_repaired(tmp_path):
    """Requests fail until long after the stream is back: more minutes than are fetched again as a rule."""
    market = Market.of(1)
    (symbol,) = market.symbols
    first = START - START % MINUTE
    stale = next(each for each in market.traded(symbol, first + MINUTE, first + 20 * MINUTE))
    lost_ms = stale + MINUTE + 30_000
    again_ms = lost_ms + 14 * MINUTE

    def history(time: FastTime) -> MarketHistory:
        def failing() -> Exception | None:
            down = lost_ms - 10_000 < time.now_ms() < again_ms
            return ProviderUnavailable("the line is down") if down else None

        return MarketHistory(market, time, failing=failing)

    def stream(time: FastTime) -> ScriptedStream:
        async def script(symbols: Sequence[Symbol]) -> AsyncGenerator[StreamEvent, None]:
            yield Subscribed(symbols=tuple(symbols))
            open_ms, is_lost = first, False
            while True:
                await asyncio.sleep(max(time.seconds(open_ms + MINUTE + 300 - time.now_ms()), 0.0))
                if market.has_traded(symbol, open_ms):
                    price, high, low, close, volume = market.bar(symbol, open_ms)
                    wrong = volume + 0.5 if open_ms == stale else volume
                    yield StreamedBars(
                        symbol=symbol, bars=batch([open_ms], [(price, high, low, close, wrong)])
                    )
                await asyncio.sleep(max(time.seconds(open_ms + MINUTE + 15_100 - time.now_ms()), 0.0))
                yield Alive(at_ms=time.now_ms())
                if not is_lost and open_ms >= stale:
                    is_lost = True
                    await asyncio.sleep(max(time.seconds(lost_ms - time.now_ms()), 0.0))
                    yield Lost(reason="the line was cut", again_seconds=0.0)
                    yield Subscribed(symbols=tuple(symbols))
                open_ms += MINUTE

        return ScriptedStream(script)

    with session(tmp_path, market, stream, history=history) as running:
        running.run(minutes=(again_ms - START) / MINUTE + 6)
        assert differences(running.store.reader, market, first, again_ms // MINUTE * MINUTE) == []


def test_a_stop_writes_what_is_buffered(tmp_path):
    market = Market.of(1)
    (symbol,) = market.symbols
    open_ms = START - 40 * MINUTE
    while not market.has_traded(symbol, open_ms):
        open_ms += MINUTE

    def stream(_time: FastTime) -> ScriptedStream:
        async def script(symbols: Sequence[Symbol]) -> AsyncGenerator[StreamEvent, None]:
            yield Subscribed(symbols=tuple(symbols))
            yield streamed(market, symbol, open_ms)
            await asyncio.Event().wait()

        return ScriptedStream(script)

    with session(tmp_path, market, stream, settle_seconds=3_000.0, needed_minutes=1, speed=60.0) as running:
        running.run(minutes=0.7)
        panel = running.store.reader.panel(
            [symbol], Timeframe.M1, open_ms, open_ms + MINUTE, provider="massive"
        )
        assert panel.present.all()


def test_a_second_collector_says_who_collects_and_takes_over_when_the_first_stops(tmp_path):
    market = Market.of(2)

    async def main(first: Session, second: Session) -> None:
        stops = asyncio.Event(), asyncio.Event()
        running = [asyncio.create_task(first.collecting.run(stops[0]))]
        await asyncio.sleep(0.4)
        running.append(asyncio.create_task(second.collecting.run(stops[1])))
        await asyncio.sleep(0.8)
        assert [state for state, _ in second.told.states] == [Standing.WAITING]
        assert f"collected by process {os.getpid()}" in second.told.states[0][1]
        stops[0].set()
        await running[0]
        await asyncio.sleep(0.7)
        stops[1].set()
        await running[1]

    clock = Clock()
    with (
        session(tmp_path, market, None, clock=clock) as first,
        session(tmp_path, market, None, clock=clock) as second,
    ):
        virtual_time.run(main(first, second), clock)
        assert Standing.SCHEDULED in [state for state, _ in first.told.states]
        assert Standing.SCHEDULED in [state for state, _ in second.told.states]


def test_a_collector_whose_lease_another_took_stops_its_stream_at_once_and_waits(tmp_path):
    market = Market.of(2)

    async def main(first: Session) -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(first.collecting.run(stop))
        await asyncio.sleep(0.6)
        assert first.told.states[-1][0] is Standing.LIVE
        # as after a sleep of the machine: the lease has expired, and another process was quicker
        later_ms = first.time.now_ms() + 3_600_000
        with Lease.open(tmp_path, "collector:massive", seconds=7_200, now_ms=lambda: later_ms) as thief:
            assert thief.acquire() is None
            await asyncio.sleep(0.6)
            assert first.told.states[-1][0] is Standing.WAITING
            assert "another process has taken over: nothing is collected here" in first.told.notes
        stop.set()
        await running

    with session(tmp_path, market, lambda time: undisturbed(time, market)) as first:
        virtual_time.run(main(first), first.clock)
