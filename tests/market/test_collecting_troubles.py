"""What goes wrong around one collector: lists of markets, single symbols, its lease, its clock."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from crypto_tracker.core.errors import ProviderUnavailable, StoreError, UnknownToProvider
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.market.collecting.service import LeaseHeld
from crypto_tracker.market.providers.base import (
    FetchedBars,
    MarketInfo,
    StreamEvent,
    Subscribed,
)
from crypto_tracker.net.breaker import LeftAlone
from crypto_tracker.store.collectors import Standing, collectors
from crypto_tracker.store.instruments import inactive_symbols
from crypto_tracker.store.leases import Lease
from crypto_tracker.store.quality import read_quality
from crypto_tracker.store.reader import DATABASE_NAME
from tests import virtual_time
from tests.market.collected import (
    MINUTE,
    START,
    FastTime,
    Market,
    MarketHistory,
    ScriptedStream,
    differences,
    streamed,
)
from tests.market.test_collecting_service import Session, session, undisturbed

FAST = 1_200.0  # an hour in three seconds


@dataclass
class Fussy(MarketHistory):
    """A History that refuses some chunks, and some looks at its markets."""

    refuses: Callable[[Symbol, int, int], Exception | None] = lambda _symbol, _start, _now: None
    lacks: Callable[[int, int], Sequence[Symbol]] = lambda _look, _now: ()
    looks: list[int] = field(default_factory=list)

    async def markets(self) -> Sequence[MarketInfo]:
        now_ms = self.time.now_ms()
        self.looks.append(now_ms)
        lacked = self.lacks(len(self.looks), now_ms)
        return [
            MarketInfo(symbol=each, provider_symbol=str(each), active=each not in lacked)
            for each in self.market.symbols
        ]

    async def fetch(self, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> FetchedBars:
        if (error := self.refuses(symbol, start_ms, self.time.now_ms())) is not None:
            self.asked.append((symbol, start_ms, end_ms))
            await asyncio.sleep(0)
            raise error
        return await super().fetch(symbol, timeframe, start_ms, end_ms)


def fussy(market: Market, **how) -> tuple[list[Fussy], Callable[[FastTime], Fussy]]:
    """The histories that are made, and what makes them."""
    made: list[Fussy] = []

    def make(time: FastTime) -> Fussy:
        made.append(Fussy(market, time, **how))
        return made[-1]

    return made, make


def whole(running: Session, *, but: Sequence[Symbol] = ()) -> list[str]:
    """Where the store is not the market, from shortly before the start until shortly before now."""
    end_ms = (running.time.now_ms() // MINUTE - 4) * MINUTE
    assert end_ms >= START + 3 * MINUTE
    left_out = {each: range(START - 10 * MINUTE, end_ms, MINUTE) for each in but}
    return differences(running.store.reader, running.market, START - 10 * MINUTE, end_ms, but=left_out)


# ---------------------------------------------------------------------------------- lists of markets


def test_a_first_look_during_maintenance_is_repeated_and_then_all_is_caught_up(tmp_path):
    market = Market.of(3)
    made, make = fussy(market, lacks=lambda look, _: market.symbols if look == 1 else ())
    with session(tmp_path, market, lambda time: undisturbed(time, market), history=make) as running:
        running.run(minutes=12)
        first = next(detail for state, detail in running.told.states if state is Standing.TROUBLE)
        assert "no symbol can be collected (C000/USD and 2 more: massive no longer trades it)" in first
        assert 5 * MINUTE <= made[0].looks[1] - made[0].looks[0] < 8 * MINUTE
        assert Standing.LIVE in [state for state, _ in running.told.states]
        assert whole(running) == []


def test_a_list_that_lacks_all_at_once_stops_nothing(tmp_path):
    """From the second look on the list is empty: bars come on, the trouble is told, nobody is inactive."""
    market = Market.of(4)
    gone = market.symbols[:1]
    made, make = fussy(market, lacks=lambda look, _: gone if look == 1 else market.symbols)
    with session(tmp_path, market, lambda time: undisturbed(time, market), history=make) as running:
        running.run(minutes=14)
        assert len(made[0].looks) >= 3
        assert any("lacks 3 of 3 symbols that were traded" in detail for _, detail in running.told.states)
        assert [each.symbol for each in inactive_symbols(tmp_path)] == list(gone)
        assert running.collecting.figures()["symbols"] == 3
        assert whole(running, but=gone) == []


def test_what_was_collected_before_needs_two_looks_also_after_a_new_start(tmp_path):
    market = Market.of(3)
    with session(tmp_path, market, None, speed=FAST) as running:
        running.run(minutes=6)
    lacked = market.symbols[2:]
    made, make = fussy(market, lacks=lambda *_: lacked)
    with session(tmp_path, market, None, history=make, start_ms=START + 10 * MINUTE) as running:
        running.run(minutes=6)
        assert made[0].looks[1] - made[0].looks[0] >= MINUTE
        assert running.told.notes == [f"{lacked[0]} is inactive: massive no longer trades it"]
        assert any(symbol == lacked[0] for symbol, _, _ in made[0].asked)  # until the second look


def test_a_symbol_that_is_said_to_be_unknown_once_is_looked_up_and_fetched(tmp_path):
    market = Market.of(3)
    refused: list[int] = []

    def refuses(symbol: Symbol, _start: int, now_ms: int) -> Exception | None:
        if symbol == market.symbols[1] and not refused:
            refused.append(now_ms)
            return UnknownToProvider("massive does not know it")
        return None

    made, make = fussy(market, refuses=refuses)
    with session(tmp_path, market, lambda time: undisturbed(time, market), history=make) as running:
        running.run(minutes=10)
        assert len(made[0].looks) == 2
        assert MINUTE <= made[0].looks[1] - made[0].looks[0] < 4 * MINUTE
        assert inactive_symbols(tmp_path) == []
        assert whole(running) == []


# ------------------------------------------------------------------------------------ single symbols


def test_one_symbol_that_always_fails_keeps_nobody_else_from_being_ready(tmp_path):
    market = Market.of(3)
    bad = market.symbols[1]

    def refuses(symbol: Symbol, _start: int, _now: int) -> Exception | None:
        return ProviderUnavailable("it answers 502") if symbol == bad else None

    made, make = fussy(market, refuses=refuses)
    with session(tmp_path, market, None, history=make, backfill=True, speed=FAST) as running:
        running.run(minutes=120)
        assert (
            Standing.SCHEDULED,
            f"1 of 3 symbols is behind: {bad} (it answers 502)",
        ) in running.told.states
        assert running.collecting.figures()["behind"] == {str(bad): "it answers 502"}
        assert collectors(tmp_path)[0].figures["behind"] == {str(bad): "it answers 502"}
        others = {symbol: end for symbol, _, end in made[0].asked if symbol != bad}
        assert all(end >= START + 100 * MINUTE for end in others.values())  # increments go on
        year_ago = [
            start
            for symbol, start, _ in made[0].asked
            if symbol != bad and start < START - 300 * 1440 * MINUTE
        ]
        assert year_ago  # and so do the years
        tried = [end for symbol, _, end in made[0].asked if symbol == bad]
        waits = [(later - earlier) / MINUTE for earlier, later in pairwise(tried)]
        assert 8 <= len(tried) <= 30
        assert max(waits) >= 5  # minutes, in the end


def test_a_symbol_that_recovers_is_up_to_date_and_no_longer_behind(tmp_path):
    market = Market.of(3)
    bad = market.symbols[1]

    def refuses(symbol: Symbol, _start: int, now_ms: int) -> Exception | None:
        return ProviderUnavailable("502") if symbol == bad and now_ms < START + 3 * MINUTE else None

    _, make = fussy(market, refuses=refuses)
    with session(tmp_path, market, lambda time: undisturbed(time, market), history=make) as running:
        running.run(minutes=12)
        details = [detail for state, detail in running.told.states if state is Standing.LIVE]
        assert details[0] == f"1 of 3 symbols is behind: {bad} (502)"
        assert details[-1] == ""
        assert whole(running) == []


def test_a_provider_that_asks_to_be_left_alone_is_trouble_and_makes_nobody_ready(tmp_path):
    market = Market.of(2)

    def refuses(_symbol: Symbol, _start: int, now_ms: int) -> Exception | None:
        if now_ms < START + 4 * MINUTE:
            return LeftAlone("massive is left alone for another 240 s", seconds=0.5)
        return None

    _, make = fussy(market, refuses=refuses)
    with session(tmp_path, market, None, history=make) as running:
        running.run(minutes=9)
        states = [state for state, _ in running.told.states]
        trouble = states.index(Standing.TROUBLE)
        assert Standing.SCHEDULED not in states[:trouble]
        assert "left alone for another 240 s" in running.told.states[trouble][1]
        assert Standing.SCHEDULED in states[trouble:]


# ----------------------------------------------------------------------------------------- the lease


def stolen(home, time: FastTime) -> None:
    """Another process takes the lease, as after a sleep of the machine; it never lets go."""
    later_ms = time.now_ms() + 3_600_000
    with Lease.open(home, "collector:massive", seconds=7_200, now_ms=lambda: later_ms) as thief:
        assert thief.acquire() is None
        with closing(sqlite3.connect(home / DATABASE_NAME)) as database, database:
            # for ever: the context manager would let go of it
            database.execute("UPDATE leases SET token = token + 1")


def test_what_is_buffered_when_the_lease_is_lost_is_not_written(tmp_path):
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

    async def main(running: Session) -> None:
        stop = asyncio.Event()
        collecting = asyncio.create_task(running.collecting.run(stop))
        await asyncio.sleep(0.5)
        assert running.collecting.figures()["buffer_bars"] == 1
        stolen(tmp_path, running.time)
        await asyncio.sleep(1.0)
        assert "another process has taken over: nothing is collected here" in running.told.notes
        stop.set()
        await collecting

    with session(
        tmp_path, market, stream, settle_seconds=3_000.0, needed_minutes=1, speed=60.0, lease_seconds=60.0
    ) as running:
        virtual_time.run(main(running), running.clock)
        panel = running.store.reader.panel(
            [symbol], Timeframe.M1, open_ms, open_ms + MINUTE, provider="massive"
        )
        assert not panel.present.any()


def test_a_job_of_who_has_lost_the_lease_writes_nothing_and_the_collector_waits(tmp_path):
    """The lease is lost while the answer to the very first request is on its way."""
    market = Market.of(2)
    taken: list[int] = []

    def refuses(_symbol: Symbol, _start: int, now_ms: int) -> Exception | None:
        if not taken:
            taken.append(now_ms)
            stolen(tmp_path, running.time)
        return None

    _, make = fussy(market, refuses=refuses)
    with session(tmp_path, market, None, history=make, lease_seconds=2_400.0) as running:
        running.run(minutes=3)
        assert taken
        assert all(spans == [] for spans in running.covered().values())
        assert [state for state, _ in running.told.states][-2:] == [Standing.WAITING, Standing.STOPPED]


def test_once_ends_with_an_error_when_its_lease_is_lost(tmp_path):
    market = Market.of(1)

    def refuses(_symbol: Symbol, _start: int, now_ms: int) -> Exception | None:
        return ProviderUnavailable("no answer") if now_ms < START - MINUTE else None

    class Slow(Fussy):
        async def fetch(self, symbol, timeframe, start_ms, end_ms) -> FetchedBars:
            stolen(tmp_path, self.time)
            await asyncio.sleep(20.0)
            return await super().fetch(symbol, timeframe, start_ms, end_ms)

    with session(
        tmp_path, market, None, history=lambda time: Slow(market, time, refuses=refuses), lease_seconds=60.0
    ) as running:
        with pytest.raises(LeaseHeld, match="another process has begun to collect from massive"):
            virtual_time.run(running.collecting.once(), running.clock)
        assert running.covered() == {market.symbols[0]: []}


def test_once_ends_with_the_error_of_what_keeps_its_lease(tmp_path, monkeypatch):
    market = Market.of(1)

    def broken(_lease: Lease) -> bool:
        raise StoreError("the disk is full")

    class Slow(Fussy):
        async def fetch(self, symbol, timeframe, start_ms, end_ms) -> FetchedBars:
            monkeypatch.setattr(Lease, "renew", broken)
            await asyncio.sleep(20.0)
            return await super().fetch(symbol, timeframe, start_ms, end_ms)

    with (
        session(
            tmp_path, market, None, history=lambda time: Slow(market, time), lease_seconds=60.0
        ) as running,
        pytest.raises(StoreError, match="the disk is full"),
    ):
        virtual_time.run(running.collecting.once(), running.clock)


# ----------------------------------------------------------------------------------- quality, clocks


def test_quality_is_measured_after_the_first_catch_up_and_again_after_a_repair(tmp_path, monkeypatch):
    market = Market.of(2)
    measured: list[int] = []

    def refuses(_symbol: Symbol, _start: int, now_ms: int) -> Exception | None:
        return ProviderUnavailable("502") if now_ms < START + 2 * MINUTE else None

    def noted(collecting, symbols, now_ms) -> None:
        measured.append(now_ms)
        write(collecting, symbols, now_ms)

    _, make = fussy(market, refuses=refuses)
    with session(tmp_path, market, lambda time: undisturbed(time, market), history=make) as running:
        write = type(running.collecting)._write_quality
        monkeypatch.setattr(type(running.collecting), "_write_quality", noted)
        running.run(minutes=5)
        assert measured[0] >= START + 2 * MINUTE
        # the turn at five past the hour has not come: these are for the first minutes of the stream
        assert len([moment for moment in measured if moment < START + 5 * MINUTE]) >= 2
        assert set(read_quality(tmp_path)) == {("massive", each) for each in market.symbols}


@pytest.mark.parametrize("minutes", [-30, 30])
def test_a_clock_that_is_set_neither_stops_renewals_nor_piles_up_jobs(tmp_path, monkeypatch, minutes):
    market = Market.of(2)
    renewed: list[float] = []
    renew = Lease.renew

    def noted(lease: Lease) -> bool:
        renewed.append(asyncio.run_coroutine_threadsafe(moment(), loops[0]).result())
        return renew(lease)

    async def moment() -> float:
        return asyncio.get_running_loop().time()

    loops: list[asyncio.AbstractEventLoop] = []

    async def main(running: Session) -> None:
        loops.append(asyncio.get_running_loop())
        stop = asyncio.Event()
        collecting = asyncio.create_task(running.collecting.run(stop))
        await asyncio.sleep(1.0)
        running.time._start_ms += minutes * MINUTE
        await asyncio.sleep(2.5)
        stop.set()
        await collecting

    made, make = fussy(market)
    with session(tmp_path, market, None, history=make, lease_seconds=36.0, speed=60.0) as running:
        monkeypatch.setattr(Lease, "renew", noted)
        virtual_time.run(main(running), running.clock)
    pauses = [later - earlier for earlier, later in pairwise(renewed)]
    assert len(renewed) >= 10
    assert max(pauses) < 1.0  # of 0.2 s that they should be, on whatever machine
    # first the catch-up, then the increment at once, and one when the clock is set
    asked = [symbol for symbol, _, _ in made[0].asked]
    assert 2 <= asked.count(market.symbols[0]) <= 6
