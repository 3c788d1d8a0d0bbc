"""The collector of one provider: holds it alone, streams, catches up, and looks after what was stored."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crypto_tracker.config.market_data import MarketData
from crypto_tracker.core.errors import ProviderRefused, ProviderUnavailable, StoreError, UnknownToProvider
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.market.collecting.behind import Behind, slowly
from crypto_tracker.market.collecting.gate import GatedHistory
from crypto_tracker.market.collecting.health import Health, Watcher
from crypto_tracker.market.collecting.jobs import REQUESTS, JobWatch
from crypto_tracker.market.collecting.live import Live
from crypto_tracker.market.collecting.members import APART_MS, Members
from crypto_tracker.market.collecting.schedule import DAILY_AT_MS, MEASURE_MS, Increments, Turns, Wishes
from crypto_tracker.market.collecting.times import MarketTime, SteadyTime, until, until_due
from crypto_tracker.market.fetching.planning import Wanted
from crypto_tracker.market.fetching.running import Again, fetch_missing, fetch_overlap
from crypto_tracker.market.fetching.summary import Cause, Summary
from crypto_tracker.market.fetching.symbols import near_symbols
from crypto_tracker.market.fetching.writing import StoreThread
from crypto_tracker.market.instruments import instrument_rows
from crypto_tracker.market.providers.base import History, Stream
from crypto_tracker.market.quality import compare_all, measure
from crypto_tracker.net.gate import Gate, Urgency
from crypto_tracker.net.reconnect import Reconnect
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.collectors import CollectorRecords, Standing, lease_name
from crypto_tracker.store.instruments import inactive_symbols, write_instruments
from crypto_tracker.store.leases import Fence, Holder, Lease, LeaseLost
from crypto_tracker.store.quality import write_disagreements, write_quality
from crypto_tracker.store.universes import CONFIGURED, record_universe

MARKETS_MS = 5 * MINUTE_MS
"""Between two looks at the markets, while any wanted symbol is inactive or the last look was of no use."""

_MARKETS = "markets"
_RENEWALS = 3  # in the time that a lease lasts

Needed = Callable[[Symbol, int], Mapping[Timeframe, int]]
"""From where on trading reads a symbol's bars at a moment, by timeframe."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assignment:
    """What one collector is to collect.

    Attributes
    ----------
    symbols : those that are wanted, whether the provider has them or not
    needed : what trading reads, which is fetched first
    named : those of them that a person has named, and wants to hear of
    """

    history: History
    stream: Stream | None
    symbols: tuple[Symbol, ...]
    needed: Needed
    named: tuple[Symbol, ...] = ()


class LeaseHeld(StoreError):
    """Another process collects from the provider."""


class NothingNamed(UnknownToProvider):
    """The provider has none of the symbols that were named."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fetched:
    """What a job came to.

    Attributes
    ----------
    failed : symbols of which something could not be fetched, with the reason
    of_provider : whether that is for the provider as a whole, else for those symbols alone
    """

    summary: Summary
    failed: Mapping[Symbol, str]
    of_provider: bool


class Collecting:
    """Keeps the bars of one provider up to date until it is stopped, whatever befalls the provider.

    Only a refusal of the provider ends it (ProviderRefused), and what is wrong with our own store. A symbol
    that fails while others do not is behind: it is fetched alone until it is up to date, and nothing else
    waits for it.
    """

    def __init__(
        self,
        assignment: Assignment,
        store: BarStore,
        home: Path,
        settings: MarketData,
        time: MarketTime,
        watcher: Watcher,
    ) -> None:
        self._assignment = assignment
        self._store = store
        self._home = home
        self._settings = settings
        self._time = time
        self._steady = SteadyTime(time)
        self._watcher = watcher
        self._name = assignment.history.name
        self._settle_ms = int(settings.collector.settle_seconds * 1_000)
        self._members = Members(self._name, assignment.symbols)
        self._active = assignment.symbols  # of which bars are collected now
        self._looked_ms = 0  # at the markets, in steady time
        self._members_changed = asyncio.Event()
        self._someone = asyncio.Event()  # there is something to collect
        self._unknown = asyncio.Event()  # the provider said that it does not know a symbol
        self._wished = asyncio.Event()
        self._ready = asyncio.Event()  # trading has what it needs
        self._years_wanted = asyncio.Event()
        self._alone = asyncio.Event()  # another symbol is behind
        self._repaired = asyncio.Event()
        self._wishes = Wishes()
        self._behind = Behind(settings.collector)
        self._gate = Gate(settings.collector.parallel)
        self._plans = {
            Timeframe.parse(name): plan
            for name, plan in settings.timeframes.items()
            if Timeframe.parse(name) in assignment.history.timeframes
        }
        self._health = Health(
            provider=self._name,
            has_stream=assignment.stream is not None,
            changed=self._changed,
            noted=lambda sentence: watcher.noted(self._name, sentence),
        )
        self._told: asyncio.Queue[tuple[Standing, str]] = asyncio.Queue()
        self._live: Live | None = None
        self._refusal = ""
        self._corrected_ms: int | None = None  # corrections since then were not asked for yet
        self._absent: dict[Symbol, str] | None = None  # named symbols; None before a look at the markets
        self._fence: Fence  # what every write of bars carries
        self._thread: StoreThread  # what is urgent
        self._background: StoreThread
        self._keeper: StoreThread  # the lease, which waits for no bars
        self._records: CollectorRecords

    async def run(self, stop: asyncio.Event) -> None:
        """Collect until `stop` is set: wait for the lease, collect while it is held, and begin anew."""
        async with self._open() as lease:
            while not stop.is_set():
                if await self._wait_for(lease, stop):
                    await self._while_held(lease, stop)

    @property
    def absent(self) -> dict[Symbol, str]:
        """The named symbols that the provider does not have, each with what may have been meant, in words."""
        return dict(self._absent or {})

    @property
    def was_ready(self) -> bool:
        """Whether all that trading needs has been fetched once."""
        return self._ready.is_set()

    def figures(self) -> dict[str, Any]:
        """Counts since the start, and measures of the last hour."""
        return self._health.figures(self._time.now_ms())

    async def once(self) -> Summary:
        """Fetch everything that is missing, and end.

        Raises LeaseHeld where another process collects from this provider, or has begun to meanwhile, and
        what the provider raises.
        """
        async with self._open() as lease:
            holder = await self._keeper.do(lease.acquire)
            if holder is not None:
                raise LeaseHeld(f"{_who(self._name, holder)}: it catches up by itself")
            self._fence = lease.fence
            fetching = asyncio.create_task(self._fetch_all())
            keeping = asyncio.create_task(self._keep(lease))
            tasks = [keeping, fetching]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise innermost(error)
            if fetching.cancelled():
                raise LeaseHeld(
                    f"another process has begun to collect from {self._name}: it catches up by itself"
                )
            return fetching.result()

    async def _fetch_all(self) -> Summary:
        """What `once` does while it holds the lease."""
        await self._begin("asking for the markets")
        if self._members.doubted:
            names = ", ".join(map(str, self._members.doubted))
            self._watcher.noted(self._name, f"asks in a minute once more whether it has {names}")
            await until(self._steady, self._looked_ms + APART_MS)
            await self._look_at_markets()
        summary = (await self._fetch(self._needed(), Urgency.NOW, overlap=True)).summary
        if self._settings.collector.backfill:
            summary = summary.joined((await self._fetch(self._years(), Urgency.SOMETIME)).summary)
        await self._measure()
        return summary

    # --- holding the provider --------------------------------------------------------------------

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Lease]:
        """Threads, records and the lease; at the end all is written, and the last word is said."""
        seconds = self._settings.collector.lease_seconds
        with (
            StoreThread() as self._thread,
            StoreThread() as self._background,
            StoreThread() as self._keeper,
            CollectorRecords.open(self._home) as self._records,
            Lease.open(
                self._home,
                lease_name(self._name),
                seconds=seconds,
                now_ms=self._time.now_ms,
                holder="collect",
            ) as lease,
        ):
            try:
                yield lease
            except ProviderRefused as error:
                self._refusal = str(error)
                raise
            finally:
                self._health.tell(Standing.STOPPED, self._refusal)
                if await self._keeper.do(lease.renew):
                    await self._keeper.do(self._write_state)

    async def _wait_for(self, lease: Lease, stop: asyncio.Event) -> bool:
        """Acquire the lease, however long that takes; False where it was stopped meanwhile."""
        every_ms = int(self._settings.collector.lease_seconds * 1_000 / _RENEWALS)
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                holder = await self._keeper.do(lease.acquire)
                if holder is None:
                    return True
                self._health.tell(Standing.WAITING, _who(self._name, holder))
                await asyncio.wait([stopping], timeout=max(self._time.seconds(every_ms), 0.0))
        finally:
            stopping.cancel()
        return False

    async def _while_held(self, lease: Lease, stop: asyncio.Event) -> None:
        """Collect until stopped or until the lease is another's, which ends everything at once."""
        self._fence = lease.fence
        collecting = asyncio.create_task(self._collect())
        keeping = asyncio.create_task(self._keep(lease))
        stopping = asyncio.create_task(stop.wait())
        tasks = [collecting, keeping, stopping]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                first = innermost(error)
                # Whatever was not stored yet is the new holder's to fetch.
                if not isinstance(first, LeaseLost):
                    raise first
        if not await self._keeper.do(lease.renew):
            self._watcher.noted(self._name, "another process has taken over: nothing is collected here")
        elif collecting.done() and not collecting.cancelled():
            stop.set()  # a recording is at its end

    async def _keep(self, lease: Lease) -> None:
        """Renew the lease for as long as it is ours, and say each time what the collector is at.

        In steady time: a clock that is set back must not end the renewals.
        """
        every_ms = int(self._settings.collector.lease_seconds * 1_000 / _RENEWALS)
        while True:
            await self._wait_ms(every_ms)
            if not await self._keeper.do(lease.renew):
                return
            await self._keeper.do(self._write_state)
            self._watcher.progressed(self._name, self._health.figures(self._time.now_ms()))

    async def _wait_ms(self, duration_ms: int) -> None:
        """Wait for so long, whatever the clock is set to meanwhile."""
        await until(self._steady, self._steady.now_ms() + duration_ms)

    def _changed(self, state: Standing, detail: str) -> None:
        self._watcher.changed(self._name, state, detail)
        self._told.put_nowait((state, detail))

    def _write_state(self) -> None:
        state, detail = self._health.told
        now_ms = self._time.now_ms()
        self._records.tell(self._name, state, detail, self._health.figures(now_ms), now_ms=now_ms)

    async def _write_states(self) -> None:
        """Write each change of state as it happens."""
        while True:
            await self._told.get()
            await self._keeper.do(self._write_state)

    # --- collecting ------------------------------------------------------------------------------

    async def _begin(self, doing: str) -> None:
        """Begin as if nothing had been before, and learn which symbols there are."""
        self._health.troubles.clear()
        self._health.catching_up = True
        self._health.behind = {}
        self._ready.clear()
        self._wishes = Wishes(since_ms=Timeframe.M1.floor(self._time.now_ms()))
        self._corrected_ms = None
        self._behind = Behind(self._settings.collector)
        self._health.tell(Standing.STARTING, doing)
        self._members = await self._background.do(self._left_members)
        await self._look_at_markets()
        self._behind.keep(())  # all is to be fetched by the first job
        self._health.behind = {}
        self._health.tell()

    async def _collect(self) -> None:
        """Do all that there is to do beside each other; ends where a recorded stream does."""
        await self._begin("asking for the markets")
        async with asyncio.TaskGroup() as tasks:
            others = [
                tasks.create_task(work)
                for work in (
                    self._write_states(),
                    self._catch_up(),
                    self._fetch_alone(),
                    self._increments(),
                    self._watch_markets(),
                    self._watch_quality(),
                    self._look_after(),
                    self._fill_years(),
                )
            ]
            if self._assignment.stream is not None:
                await self._stream(self._assignment.stream)
                for task in others:
                    task.cancel()

    async def _stream(self, stream: Stream) -> None:
        """Stream the symbols that the provider has, and begin anew when they change."""
        live = self._live = Live(
            stream,
            self._store,
            self._thread,
            self._settings.collector,
            self._time,
            self._health,
            self._wishes,
            self._wished.set,
            self._fence,
        )
        while True:
            self._members_changed.clear()
            while not self._active:
                await self._members_changed.wait()
                self._members_changed.clear()
            running = asyncio.create_task(live.run(self._active))
            changing = asyncio.create_task(self._members_changed.wait())
            try:
                await asyncio.wait([running, changing], return_when=asyncio.FIRST_COMPLETED)
            finally:
                over = running.done() and not running.cancelled()
                for task in (running, changing):
                    task.cancel()
                await asyncio.wait([running, changing])
                if not running.cancelled():
                    running.result()  # what went wrong, also where this was to end anyhow
            if over:
                return

    async def _catch_up(self) -> None:
        """Fetch what trading needs, and then, whenever asked, what the stream did not bring."""
        policy = Reconnect(self._settings.collector)
        await self._someone.wait()
        while (seconds := await self._caught_up(policy)) is not None:
            await self._wait_ms(int(seconds * 1_000))
        self._health.catching_up = False
        self._health.tell()
        self._ready.set()
        while True:
            await until_due(self._time, self._next_wish_ms, self._wished)
            await self._fetch_wishes(policy)

    async def _caught_up(self, policy: Reconnect) -> float | None:
        """Fetch what trading needs: None where that was done, else the seconds until the next attempt."""
        return self._judged(await self._fetch(self._needed(), Urgency.NOW, overlap=True), policy)

    def _next_wish_ms(self, now_ms: int) -> int:
        self._wishes.look(now_ms)
        next_ms = self._wishes.next_ms()
        return now_ms + DAY_MS if next_ms is None else next_ms

    async def _fetch_wishes(self, policy: Reconnect) -> None:
        now_ms = self._time.now_ms()
        due = self._wishes.take_holes(now_ms)
        since_ms = self._wishes.take_since(now_ms)
        holes = [each for each in due if each[0] in self._active and each[0] not in self._behind]
        wanted = [
            Wanted(symbol=symbol, timeframe=Timeframe.M1, start_ms=open_ms, end_ms=open_ms + MINUTE_MS)
            for symbol, open_ms in holes
        ]
        settled_ms = Timeframe.M1.floor(now_ms - self._settle_ms)
        overlap = since_ms is not None and not self._wishes.comes_again
        back_to_ms = since_ms
        if since_ms is not None:
            self._corrected_ms = min(since_ms, self._corrected_ms or since_ms)
            back_to_ms = self._corrected_ms if overlap else since_ms
            wanted += self._since(back_to_ms, settled_ms, overlap=overlap)
        seconds = None
        if wanted and Timeframe.M1 in self._plans:
            self._health.counts["catch_ups"] += 1
            # A correction may have been sent just when the stream was lost, however late this job runs.
            late_ms = settled_ms - back_to_ms if overlap and back_to_ms is not None else 0
            fetched = await self._fetch(wanted, Urgency.NOW, overlap=overlap, reaching_ms=late_ms)
            seconds = self._judged(fetched, policy)
            if fetched.summary.chunks:
                self._repaired.set()
        if seconds is None:
            if overlap:
                self._corrected_ms = None
            if since_ms is not None:
                streaming = self._live is not None and self._live.is_live
                self._wishes.fetched(settled_ms, streaming=streaming)
            return
        again_ms = self._time.now_ms() + int(seconds * 1_000)
        for symbol, open_ms in holes:
            self._wishes.hole(symbol, open_ms, again_ms)
        if since_ms is not None:
            self._wishes.all_since(since_ms, again_ms)

    def _since(self, since_ms: int, settled_ms: int, *, overlap: bool) -> list[Wanted]:
        """The minutes of all symbols from a moment on, as far as the stream does not look after them."""
        start_ms = Timeframe.M1.floor(since_ms)
        if overlap and Timeframe.M1 in self._plans:
            start_ms -= self._plans[Timeframe.M1].overlap_bars * MINUTE_MS
        found = []
        for symbol in self._up_to_date():
            streams_ms = None if self._live is None else self._live.covers_from(symbol)
            end_ms = settled_ms if streams_ms is None else min(settled_ms, streams_ms)
            if start_ms < end_ms:
                found.append(Wanted(symbol=symbol, timeframe=Timeframe.M1, start_ms=start_ms, end_ms=end_ms))
        return found

    async def _fetch_alone(self) -> None:
        """Fetch what trading needs of symbols that are behind, one after the other."""
        policy = Reconnect(self._settings.collector)
        while True:
            await until_due(self._steady, self._next_alone_ms, self._alone)
            symbol = self._behind.due(self._steady.now_ms())
            if symbol is None:
                continue
            began_ms = self._time.now_ms()
            fetched = await self._fetch(self._needed([symbol]), Urgency.SOON, overlap=True, parallel=1)
            if symbol in fetched.failed:
                self._is_behind(symbol, fetched.failed[symbol])
                seconds = self._judged(fetched, policy) if fetched.of_provider else None
                if seconds is not None:
                    await self._wait_ms(int(seconds * 1_000))
                continue
            if symbol not in self._behind:
                continue  # it is not collected any more
            self._behind.done(symbol)
            self._behind.hurry(self._steady.now_ms())  # what kept this one back may have kept the others
            self._health.behind = self._behind.reasons
            self._health.sound(REQUESTS)
            # What came meanwhile, and what was wished for, which left it out.
            self._wishes.all_since(Timeframe.M1.floor(began_ms - self._settle_ms), began_ms)
            for event in (self._wished, self._repaired, self._years_wanted):
                event.set()

    def _next_alone_ms(self, now_ms: int) -> int:
        next_ms = self._behind.next_ms()
        return now_ms + DAY_MS if next_ms is None else next_ms

    async def _increments(self) -> None:
        """Fetch the newest bars of every timeframe on schedule; minutes only of what no stream brings."""
        increments = Increments(self._plans, self._settle_ms)
        policy = Reconnect(self._settings.collector)
        await self._ready.wait()
        while True:
            await until_due(self._time, increments.next_ms)
            now_ms = self._time.now_ms()
            spans = {each: increments.span(each, now_ms) for each in increments.take_due(now_ms)}
            wanted = [
                each
                for each in self._spans(spans)
                if each.timeframe is not Timeframe.M1 or not self._streams(each.symbol)
            ]
            if wanted:
                self._judged(await self._fetch(wanted, Urgency.SOON, overlap=True), policy)

    def _streams(self, symbol: Symbol) -> bool:
        """Whether the minutes of a symbol come by the stream now."""
        return self._live is not None and self._live.covers_from(symbol) is not None

    async def _fill_years(self) -> None:
        """Fetch what is missing of the years that are kept, now, once a day, and for who was behind."""
        policy = slowly(self._settings.collector)
        turns = Turns(DAY_MS, DAILY_AT_MS)
        await self._ready.wait()
        while True:
            await until_due(self._time, turns.next_ms, self._years_wanted)
            turns.take(self._time.now_ms())
            while (seconds := await self._years_filled(policy)) is not None:
                await self._wait_ms(int(seconds * 1_000))

    async def _years_filled(self, policy: Reconnect) -> float | None:
        """Fetch them: None where nothing failed, else the seconds until the next attempt."""
        wanted = self._years() if self._settings.collector.backfill else self._needed(self._up_to_date())
        fetched = await self._fetch(wanted, Urgency.SOMETIME)
        if fetched.of_provider:
            return self._judged(fetched, policy)
        if not fetched.failed:
            policy.lived(0.0, brought_data=True)
            return None
        symbol, reason = next(iter(fetched.failed.items()))
        sentence = f"{len(fetched.failed)} symbols lack a part of their past, {symbol} first ({reason})"
        self._health.mention("past", sentence, self._time.now_ms())
        return policy.failed(reason)

    async def _watch_markets(self) -> None:
        """Ask for the markets once a day, and every few minutes while there is a reason to."""
        daily = Turns(DAY_MS, DAILY_AT_MS)
        daily.take(self._time.now_ms())

        def next_ms(now_ms: int) -> int:
            since_ms = self._steady.now_ms() - self._looked_ms
            if self._members.doubted:
                return now_ms + APART_MS - since_ms
            if self._members.inactive or _MARKETS in self._health.troubles:
                return min(daily.next_ms(now_ms), now_ms + MARKETS_MS - since_ms)
            return daily.next_ms(now_ms)

        while True:
            await until_due(self._time, next_ms, self._unknown)
            await until(self._steady, self._looked_ms + APART_MS)
            daily.take(self._time.now_ms())
            await self._look_at_markets()

    async def _watch_quality(self) -> None:
        """Measure quality once there is something to measure, every few minutes, and after each repair."""
        turns = Turns(MEASURE_MS, self._settle_ms)
        await self._ready.wait()
        while True:
            await until_due(self._time, turns.next_ms, self._repaired)
            turns.take(self._time.now_ms())
            await self._measure()

    async def _look_after(self) -> None:
        """Once a day compare with other providers and move old months."""
        daily = Turns(DAY_MS, DAILY_AT_MS)
        daily.take(self._time.now_ms())
        while True:
            await until_due(self._time, daily.next_ms)
            now_ms = self._time.now_ms()
            daily.take(now_ms)
            await self._background.do(self._compare, now_ms)
            await self._background.do(self._store.roll_over)

    # --- parts of the work -----------------------------------------------------------------------

    async def _fetch(
        self,
        wanted: Sequence[Wanted],
        urgency: Urgency,
        *,
        overlap: bool = False,
        reaching_ms: int = 0,
        parallel: int | None = None,
    ) -> _Fetched:
        """Fetch what is missing of `wanted`; with `overlap` also once more the newest that is stored.

        That is as much as the configuration says, and what closed in the last `reaching_ms`.
        Without hurry also what is held in quarantine: the provider may have mended it.
        """
        history = GatedHistory(self._assignment.history, self._gate, urgency, self._is_unknown)
        parallel = self._settings.collector.parallel if parallel is None else parallel
        watch = JobWatch(self._health, self._steady)
        thread = self._background if urgency is Urgency.SOMETIME else self._thread
        try:
            if not overlap:
                summary = await fetch_missing(
                    history,
                    self._store,
                    wanted,
                    now_ms=self._settled_ms,
                    parallel=parallel,
                    again=Again.HELD if urgency is Urgency.SOMETIME else Again.NOTHING,
                    watcher=watch,
                    thread=thread,
                    fence=self._fence,
                )
            else:
                summary = await fetch_overlap(
                    history,
                    self._store,
                    wanted,
                    overlap_bars={
                        timeframe: plan.overlap_bars + max(reaching_ms, 0) // timeframe.ms
                        for timeframe, plan in self._plans.items()
                    },
                    now_ms=self._settled_ms,
                    parallel=parallel,
                    watcher=watch,
                    thread=thread,
                    fence=self._fence,
                )
        finally:
            watch.over()
        self._ask_again_for_what_was_not_answered(summary)
        failed: dict[Symbol, str] = {}
        for each in summary.failed:
            failed.setdefault(each.symbol, each.reason)
        everybody = not history.answered and failed.keys() >= set(self._up_to_date())
        of_provider = bool(failed) and (everybody or history.left_alone)
        return _Fetched(summary=summary, failed=failed, of_provider=of_provider)

    def _ask_again_for_what_was_not_answered(self, summary: Summary) -> None:
        """Minutes so new that the provider may not have published them: the older, the later once more."""
        now_ms = self._time.now_ms()
        later = [
            each.start_ms
            for each in summary.missing
            if each.timeframe is Timeframe.M1
            and each.cause is Cause.LATER
            and now_ms - each.start_ms < DAY_MS
        ]
        if later and self._assignment.stream is not None:
            since_ms = min(later)
            self._wishes.all_since(since_ms, now_ms + max(MINUTE_MS, (now_ms - since_ms) // 2))
            self._wished.set()

    def _settled_ms(self) -> int:
        """No bar that closed after this moment is asked for: the provider may not have it yet."""
        return self._time.now_ms() - self._settle_ms

    def _judged(self, fetched: _Fetched, policy: Reconnect) -> float | None:
        """Whether requests work: None where they do, else the seconds after which to try again.

        Where they work and symbols failed all the same, those are behind, and fetched alone from now on.
        """
        if fetched.of_provider:
            reason = next(iter(fetched.failed.values()))
            self._health.trouble(REQUESTS, _cannot(reason))
            return policy.failed(reason)
        policy.lived(0.0, brought_data=True)
        for symbol, reason in fetched.failed.items():
            self._is_behind(symbol, reason)
        self._health.sound(REQUESTS)
        return None

    def _is_behind(self, symbol: Symbol, reason: str) -> None:
        if symbol in self._active:
            self._behind.failed(symbol, reason, self._steady.now_ms())
            self._health.behind = self._behind.reasons
            self._alone.set()

    def _up_to_date(self) -> tuple[Symbol, ...]:
        """The symbols that are collected together."""
        return tuple(symbol for symbol in self._active if symbol not in self._behind)

    def _needed(self, symbols: Iterable[Symbol] | None = None) -> list[Wanted]:
        """What trading reads now, of all symbols or of these."""
        now_ms = self._time.now_ms()
        end_ms = now_ms - self._settle_ms
        wanted = []
        for symbol in self._active if symbols is None else symbols:
            for timeframe, start_ms in self._assignment.needed(symbol, now_ms).items():
                if timeframe in self._plans:
                    wanted.append(_wanted(symbol, timeframe, start_ms, end_ms))
        return [each for each in wanted if each.start_ms < each.end_ms]

    def _years(self) -> list[Wanted]:
        """All that is kept of every timeframe."""
        end_ms = self._time.now_ms() - self._settle_ms
        spans = {
            timeframe: (timeframe.floor(end_ms - plan.backfill_days * DAY_MS), timeframe.floor(end_ms))
            for timeframe, plan in self._plans.items()
        }
        return self._spans(spans)

    def _spans(self, spans: Mapping[Timeframe, tuple[int, int]]) -> list[Wanted]:
        return [
            _wanted(symbol, timeframe, start_ms, end_ms)
            for timeframe, (start_ms, end_ms) in spans.items()
            for symbol in self._up_to_date()
            if start_ms < end_ms
        ]

    # --- which symbols there are -----------------------------------------------------------------

    def _left_members(self) -> Members:
        """The members as the store knows them."""
        reader, symbols = self._store.reader, self._assignment.symbols
        inactive = {
            each.symbol: each.reason for each in inactive_symbols(self._home) if each.provider == self._name
        }
        traded = [
            symbol
            for symbol in symbols
            if any(len(reader.coverage(self._name, symbol, timeframe)) for timeframe in self._plans)
        ]
        self._store.register(self._name, symbols)
        return Members.of(self._name, symbols, traded, inactive)

    async def _look_at_markets(self) -> None:
        """Learn which of the wanted symbols the provider has, and what rules hold for them."""
        history = GatedHistory(self._assignment.history, self._gate, Urgency.NOW, self._is_unknown)
        self._looked_ms = self._steady.now_ms()
        self._unknown.clear()
        try:
            markets = await history.markets()
        except ProviderUnavailable as error:
            self._health.trouble(_MARKETS, f"the list of markets cannot be had ({error})")
            await self._set_members(self._members.active)
            return
        verdict = self._members.look(markets, self._looked_ms)
        await self._background.do(self._mark_members)
        absent = self._find_absent([market.symbol for market in markets])
        if absent and len(absent) == len(self._assignment.named):
            raise NothingNamed(_none_of(self._name, absent))
        for symbol, meant in absent.items():  # at every start, since a person has named it
            self._watcher.noted(self._name, f"{symbol} is inactive: {self._name} does not have it{meant}")
        for symbol, reason in verdict.gone.items():
            if symbol not in absent:
                self._watcher.noted(self._name, f"{symbol} is inactive: {reason}")
        for symbol in verdict.back:
            self._watcher.noted(self._name, f"{symbol} is traded again")
        if verdict.trouble:
            self._health.trouble(_MARKETS, verdict.trouble)
        else:
            self._health.sound(_MARKETS)
        wanted = set(self._members.wanted)
        rows = instrument_rows([market for market in markets if market.symbol in wanted])
        await self._background.do(write_instruments, self._home, self._name, rows, self._time.now_ms())
        await self._set_members(self._members.active)

    def _find_absent(self, listed: Sequence[Symbol]) -> dict[Symbol, str]:
        """The named symbols that the provider does not have, at the first look that tells; later none."""
        if self._absent is not None or not listed:
            return {}
        there = {*listed, *self._members.active}
        self._absent = {}
        for symbol in self._assignment.named:
            if symbol not in there:
                near = " or ".join(map(str, near_symbols(symbol, listed)))
                self._absent[symbol] = f" (did you mean {near}?)" if near else ""
        return self._absent

    def _mark_members(self) -> None:
        for symbol in self._members.active:
            self._store.mark_active(self._name, symbol)
        for symbol, reason in self._members.inactive.items():
            self._store.mark_inactive(self._name, symbol, reason)

    def _is_unknown(self, symbol: Symbol) -> None:
        """The provider said that it does not know a symbol, which may be a mistake: its markets tell."""
        sentence = f"the provider says that it does not know {symbol}: its markets are asked for anew"
        self._health.mention("unknown", sentence, self._time.now_ms())
        self._unknown.set()

    async def _set_members(self, active: tuple[Symbol, ...]) -> None:
        self._health.symbols = len(active)
        if active:
            self._someone.set()
            day_ms = Timeframe.D1.floor(self._time.now_ms())
            await self._background.do(record_universe, self._home, day_ms, self._name, active, CONFIGURED)
        else:
            self._someone.clear()
        if active == self._active:
            return
        before, self._active = self._active, active
        self._members_changed.set()
        self._wishes.drop(set(before) - set(active))
        self._behind.keep(active)
        for symbol in active:
            if symbol not in before:
                self._behind.came(symbol, self._steady.now_ms())
                self._alone.set()
        self._health.behind = self._behind.reasons
        self._health.tell()

    async def _measure(self) -> None:
        await self._background.do(self._write_quality, self._active, self._time.now_ms())

    def _write_quality(self, symbols: Sequence[Symbol], now_ms: int) -> None:
        rows = measure(
            self._store.reader,
            self._name,
            symbols,
            self._settings.quality,
            now_ms,
            history=self._settings.history or None,
        )
        write_quality(self._home, rows)

    def _compare(self, now_ms: int) -> None:
        """Hold the closes of whole days against those of other providers."""
        found = compare_all(self._store.reader, self._active, self._settings.quality, now_ms)
        write_disagreements(self._home, found, now_ms)


def _wanted(symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> Wanted:
    return Wanted(
        symbol=symbol,
        timeframe=timeframe,
        start_ms=timeframe.floor(start_ms),
        end_ms=timeframe.floor(end_ms),
    )


def _cannot(reason: str) -> str:
    return f"bars cannot be fetched ({reason})"


def _none_of(provider: str, absent: Mapping[Symbol, str]) -> str:
    named = ", ".join(f"{symbol}{meant}" for symbol, meant in absent.items())
    return f"{provider} does not have {named}: `list-markets --provider {provider}` shows what it has"


def _who(provider: str, holder: Holder) -> str:
    """Who collects from a provider, in one clause."""
    return (
        f"{provider} is collected by process {holder.pid} on {holder.host} since "
        f"{from_ms(holder.acquired_at_ms):%Y-%m-%d %H:%M:%S} UTC"
    )


def innermost(error: BaseException) -> BaseException:
    """The one error that tasks beside each other ended with; a refusal before all others."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    inner = [innermost(each) for each in error.exceptions]
    return next((each for each in inner if isinstance(each, ProviderRefused)), inner[0])
