"""A stream becomes stored minutes: what came is written, and what is known to be whole is said so."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from crypto_tracker.config.market_data import Collector
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, from_ms
from crypto_tracker.core.validate import MISSING_TIME_MS
from crypto_tracker.market.collecting.buffer import Buffer
from crypto_tracker.market.collecting.health import Health
from crypto_tracker.market.collecting.minutes import Interval, Minutes, minute_of, next_minute
from crypto_tracker.market.collecting.schedule import Wishes
from crypto_tracker.market.collecting.times import MarketTime, until
from crypto_tracker.market.fetching.writing import StoreThread
from crypto_tracker.market.providers.base import (
    Alive,
    Lost,
    Stream,
    StreamedBars,
    StreamEvent,
    Subscribed,
    Trouble,
)
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.leases import Fence

SOURCE = "stream"
"""What the store notes beside bars of a stream that it puts into quarantine."""

_QUIET_SECONDS = 0.005
"""With nothing to read for so long, everything that has come was read."""
_TURNS = 10
"""Of the event loop, in which data that has just come reaches its reader."""


_LOOKS = 2
"""At the clock, in the time in which a minute settles."""
_PAUSE_SETTLES = 2
"""So many times as long as a minute takes to settle, a process does not stand still by itself."""
_LOOK_SECONDS_MIN = 0.05  # of our own time, however fast that of the market runs
_PAUSE_SECONDS_MIN = 0.6


class Wished(Protocol):
    """Is told that something is to be fetched."""

    def __call__(self) -> None:
        """There is a new wish."""
        ...


class Live:
    """Reads one stream and writes its minutes; one at a time for a provider.

    Bars are written once their minute has settled, or at once where the buffer is full: reading waits
    meanwhile, so that the sender is slowed down. A minute is covered for a symbol that was subscribed from
    before its open: with its bar, or, where there is none, once the stream has proven to be alive for long
    enough after its close. Time in which this process stood still is lost, as if the line had been cut.
    """

    def __init__(
        self,
        stream: Stream,
        store: BarStore,
        thread: StoreThread,
        settings: Collector,
        time: MarketTime,
        health: Health,
        wishes: Wishes,
        wished: Wished,
        fence: Fence | None = None,
    ) -> None:
        self._fence = fence
        self._stream = stream
        self._store = store
        self._thread = thread
        self._time = time
        self._health = health
        self._wishes = wishes
        self._wished = wished
        self._settle_ms = int(settings.settle_seconds * 1_000)
        self._look_ms = max(self._settle_ms // _LOOKS, 1)
        self._skew_ms = int(settings.skew_seconds * 1_000)
        self._buffer = Buffer(capacity=settings.buffer_bars, skew_ms=self._skew_ms, settle_ms=self._settle_ms)
        self._minutes = Minutes(self._settle_ms, int(settings.quiet_seconds * 1_000))
        self._wanted: frozenset[Symbol] = frozenset()
        self._read_ms = 0  # all that came until then has been read
        self._looked_ms = 0  # the clock was looked at last
        self._late_ms = 0  # a bar was said to be late last

    @property
    def is_live(self) -> bool:
        """Whether the stream brings anything now."""
        return bool(self._minutes.symbols)

    def covers_from(self, symbol: Symbol) -> int | None:
        """From where on the stream looks after the minutes of a symbol; None where it does not."""
        return self._minutes.next_ms(symbol)

    async def run(self, symbols: Sequence[Symbol]) -> None:
        """Collect these symbols until cancelled, or until a recording ends; what has come is written.

        Raises ProviderRefused where the stream does.
        """
        self._wanted = frozenset(symbols)
        self._looked_ms = self._time.now_ms()
        ended_with = 0
        looking = asyncio.create_task(self._look_at_the_clock())
        events = self._stream.events(symbols)
        coming = asyncio.ensure_future(anext(events))
        try:
            while True:
                has_come = await self._came(coming)
                self._notice_a_pause()
                if has_come:
                    if self._time.follows_reading:
                        self._read_ms = self._time.now_ms() - 1
                        await self._write_what_is_due()
                    await self._take_in(coming.result())
                    coming = asyncio.ensure_future(anext(events))
                await self._write_what_is_due()
        except StopAsyncIteration:
            ended_with = self._health.symbols_live  # a recording is at its end
        finally:
            coming.cancel()
            looking.cancel()
            await asyncio.wait([coming, looking])
            if isinstance(events, AsyncGenerator):
                await events.aclose()
            self._lose(self._time.now_ms())
            self._health.symbols_live = ended_with
            await self._write({})

    async def _came(self, coming: "asyncio.Future[StreamEvent]") -> bool:
        """Wait for an event, or for the next thing that is due, and long enough to see that nothing came."""
        now_ms = self._time.now_ms()
        due_ms = min((each for each in (self._minutes.due_ms(), self._buffer.due_ms()) if each), default=None)
        seconds = None if due_ms is None else max(self._time.seconds(due_ms - now_ms), _QUIET_SECONDS)
        await asyncio.wait([coming], timeout=seconds)
        for _ in range(_TURNS):
            if coming.done():
                return True
            await asyncio.sleep(0)
        self._read_ms = self._time.now_ms()
        return coming.done()

    async def _look_at_the_clock(self) -> None:
        """See to it that a long time between two looks at the clock is one in which nothing could run."""
        while True:
            self._notice_a_pause()
            await asyncio.sleep(max(self._time.seconds(self._look_ms), _LOOK_SECONDS_MIN))

    def _notice_a_pause(self) -> None:
        """What came while the process stood still, or while its clock jumped, nobody has watched."""
        now_ms = self._time.now_ms()
        passed_ms, self._looked_ms = now_ms - self._looked_ms, now_ms
        if self._time.follows_reading or abs(passed_ms) <= self._look_ms + _PAUSE_SETTLES * self._settle_ms:
            return
        if self._time.seconds(abs(passed_ms)) <= _PAUSE_SECONDS_MIN:
            return
        self._health.mention(
            "pause",
            f"this process stood still for {passed_ms / 1_000:.0f} s, or its clock was set: what the stream "
            "brought meanwhile is fetched",
            now_ms,
        )
        self._fetch_since(self._minutes.paused(now_ms), now_ms)

    async def _take_in(self, event: StreamEvent) -> None:
        now_ms = self._time.now_ms()
        health = self._health
        health.counts["events"] += not isinstance(event, Alive)
        if isinstance(event, Subscribed):
            self._begin(event, now_ms)
        elif isinstance(event, StreamedBars):
            await self._bars(event, now_ms)
        elif isinstance(event, Alive):
            self._minutes.alive(min(event.at_ms, now_ms), now_ms)
        elif isinstance(event, Lost):
            self._lose(now_ms)
            health.counts["reconnects"] += 1
            health.trouble(SOURCE, f"the stream was lost ({event.reason})")
            await self._write({})
        elif isinstance(event, Trouble):
            health.mention(event.kind, f"left out of the stream: {event.detail}", now_ms)
            if event.may_hide_bars:
                self._fetch_since(self._minutes.hidden(now_ms), now_ms)

    def _begin(self, event: Subscribed, now_ms: int) -> None:
        """The stream brings symbols from the next minute on; what was missed until then is to be fetched.

        The clock of the exchange may be ahead by the skew: a minute that has begun there is brought in part.
        """
        begins_ms = now_ms + self._skew_ms
        self._minutes.subscribed(event.symbols, begins_ms)
        self._health.symbols_live = len(self._minutes.symbols)
        self._wishes.all_since(minute_of(now_ms), now_ms)
        self._wishes.all_since(minute_of(now_ms), next_minute(begins_ms) + self._settle_ms)
        self._wished()
        self._health.sound(SOURCE)

    def _lose(self, now_ms: int) -> None:
        """Nothing comes any more: what had not settled is to be fetched once it has."""
        open_since = self._minutes.lost()
        self._health.symbols_live = 0
        if open_since is not None:
            self._fetch_since(min(open_since, minute_of(now_ms)), now_ms)

    def _fetch_since(self, since_ms: int | None, now_ms: int) -> None:
        if since_ms is not None:
            self._wishes.all_since(since_ms, next_minute(now_ms) + self._settle_ms)
            self._wished()

    async def _bars(self, event: StreamedBars, now_ms: int) -> None:
        health, counts = self._health, self._health.counts
        if event.symbol not in self._wanted:
            health.mention("symbol", f"bars of {event.symbol}, which was not asked for", now_ms)
            return
        added = self._buffer.add(event, now_ms)
        for open_ms in event.bars.open_time_ms.tolist():
            self._minutes.brought(event.symbol, open_ms, now_ms, usable=open_ms not in added.unusable)
        counts["bars"] += added.bars
        counts["duplicates"] += added.duplicates
        counts["corrections"] += added.corrections
        self._tell_of_late_ones(event.symbol, added.first, now_ms)
        for open_ms in added.unusable:
            counts["unusable"] += 1
            health.mention("unusable", f"a bar of {event.symbol} breaks a rule: it is in quarantine", now_ms)
            if open_ms != MISSING_TIME_MS:
                self._doubt(event.symbol, minute_of(open_ms), now_ms)
        while self._buffer.is_full:
            ready_ms = self._buffer.ready_ms()
            if ready_ms is not None and ready_ms > now_ms:
                await until(self._time, ready_ms)
            await self._write({})
        health.buffer_bars, health.buffer_peak = len(self._buffer), self._buffer.peak

    def _tell_of_late_ones(self, symbol: Symbol, first: Sequence[int], now_ms: int) -> None:
        """Bars of minutes that were taken for ones without trades; said once in a minute."""
        late = [open_ms for open_ms in first if self._minutes.was_quiet(symbol, open_ms)]
        self._health.counts["late"] += len(late)
        if late and now_ms - self._late_ms >= MINUTE_MS:
            self._late_ms = now_ms
            after = (now_ms - late[0] - MINUTE_MS) / 1_000
            self._health.noted(
                f"the bar of {symbol} of {from_ms(late[0]):%H:%M} UTC came {after:.1f} s after its close: "
                "the minute had been taken for one without a trade"
            )

    def _doubt(self, symbol: Symbol, open_ms: int, now_ms: int) -> None:
        """A bar of a minute cannot be used: without a sound one, the minute is to be fetched.

        One that was covered as a minute without a trade is read once more by whatever catches up.
        """
        if self._minutes.was_quiet(symbol, open_ms):
            self._wishes.all_since(open_ms, now_ms)
            self._wished()
        for hole_ms in self._minutes.doubt(symbol, open_ms, now_ms):
            self._wishes.hole(symbol, hole_ms, hole_ms + MINUTE_MS + self._settle_ms)
            self._wished()
        if open_ms > now_ms:
            self._health.mention(
                "clock",
                f"a bar of {symbol} came before its minute: the clock of this machine or that of "
                f"{self._stream.name} is wrong",
                now_ms,
            )

    async def _write_what_is_due(self) -> None:
        now_ms = self._time.now_ms()
        settled = self._minutes.settled(self._read_ms)
        if settled.silent_since_ms is not None:
            self._wishes.all_since(settled.silent_since_ms, now_ms)
            self._wished()
        due_ms = self._buffer.due_ms()
        if settled.covered or (due_ms is not None and due_ms <= now_ms):
            await self._write(settled.covered)

    async def _write(self, covered: dict[Symbol, list[Interval]]) -> None:
        now_ms = self._time.now_ms()
        taken = self._buffer.take(now_ms)
        if not taken.minutes and not covered:
            return
        result = await self._thread.do(
            self._store.write_minutes,
            self._stream.name,
            taken.minutes,
            covered,
            source=SOURCE,
            raw=taken.raw,
            fence=self._fence,
            seen_ms=now_ms,
        )
        if result.suspect:
            self._health.mention(
                "suspect",
                f"{result.suspect} bars jumped too far to be believed: they are missing until the next ones "
                "confirm them (`quarantine list` shows them)",
                self._time.now_ms(),
            )
        self._note_written(taken.first)

    def _note_written(self, first: Counter[int]) -> None:
        now_ms = self._time.now_ms()
        health = self._health
        for open_ms, bars in first.items():
            health.lateness.note(now_ms, now_ms - open_ms - MINUTE_MS, bars)
        newest = [open_ms for open_ms in first if open_ms <= now_ms - MINUTE_MS]
        if health.newest_minute_ms is not None:
            newest.append(health.newest_minute_ms)
        health.newest_minute_ms = max(newest, default=None)
        health.buffer_bars = len(self._buffer)
