"""Fetching jobs: chunks are fetched side by side, and each is kept in one transaction."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import Enum

import numpy as np

from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.errors import NotEntitled, ProviderUnavailable, UnknownToProvider
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.market.fetching.planning import Beyond, Chunk, Missing, Plan, Wanted, plan
from crypto_tracker.market.fetching.summary import Cause, Summary, Tally
from crypto_tracker.market.fetching.watching import Unwatched, Watcher
from crypto_tracker.market.fetching.writing import StoreThread
from crypto_tracker.market.providers.base import FetchedBars, History, no_bars
from crypto_tracker.net.breaker import LeftAlone
from crypto_tracker.store import intervals
from crypto_tracker.store.bars import BarStore, WriteResult
from crypto_tracker.store.leases import Fence

BREAKER_WAITS = 2
"""How often in a row a job waits for a provider that is left alone, before it gives up what is left."""

BROKEN_BARS = "its bars break a rule: `quarantine` shows them"
NOT_PUBLISHED = "the provider has not published it yet"
UNANSWERED = "the answer of the provider leaves it open"


class Again(Enum):
    """What is asked for once more, besides what is missing; each holds the one before."""

    NOTHING = "nothing"
    HELD = "held"  # bars that are held in quarantine: a sound one settles them
    LACKING = "lacking"  # what the provider is noted to lack: where it has it now, the note goes


async def fetch_missing(
    history: History,
    store: BarStore,
    wanted: Sequence[Wanted],
    *,
    now_ms: Callable[[], int],
    parallel: int,
    again: Again = Again.NOTHING,
    watcher: Watcher | None = None,
    thread: StoreThread | None = None,
    fence: Fence | None = None,
) -> Summary:
    """Fetch all of `wanted` that the store does not have, and that the provider is not known to lack.

    Every chunk is in the store, with its coverage, before it counts as done: a job that ends in whatever way
    is taken up by calling this again. What lies before the provider's reach is noted as lacking.

    Parameters
    ----------
    now_ms : the present moment; no bar that closes after it is asked for
    parallel : requests at a time
    again : what is asked for once more, besides what is missing
    thread : through which the store is written; a job of its own makes one
    fence : the lease under which everything is written

    Raises
    ------
    LeaseLost
        Where the lease of `fence` is another's by now; nothing was written since.
    ProviderRefused
        Where nothing more can be had in this way, such as for a wrong key; what came before is kept.
    """
    async with _job(history, store, watcher, thread, fence) as job:
        missing = await job.missing(wanted, again=again)
        return await job.run(missing, now_ms, parallel)


async def fetch_overlap(
    history: History,
    store: BarStore,
    wanted: Sequence[Wanted],
    *,
    overlap_bars: Mapping[Timeframe, int],
    now_ms: Callable[[], int],
    parallel: int,
    watcher: Watcher | None = None,
    thread: StoreThread | None = None,
    fence: Fence | None = None,
) -> Summary:
    """Fetch what is missing, and the newest bars once more that the store has inside `wanted`.

    A provider may still have corrected those: where it did, a revision stands beside the stored bar.
    Parameters are those of `fetch_missing`, and `overlap_bars`: how many bars of each timeframe.
    """
    async with _job(history, store, watcher, thread, fence) as job:
        missing = await job.missing(wanted, overlap_bars=overlap_bars)
        return await job.run(missing, now_ms, parallel)


async def run(
    chunks: Iterable[Chunk],
    history: History,
    store: BarStore,
    *,
    parallel: int,
    watcher: Watcher | None = None,
    thread: StoreThread | None = None,
) -> Summary:
    """Fetch chunks and keep them, in their order, whatever the store has of them already."""
    async with _job(history, store, watcher, thread) as job:
        return await job.fetch(Plan(tuple(chunks), ()), parallel)


@asynccontextmanager
async def _job(
    history: History,
    store: BarStore,
    watcher: Watcher | None,
    thread: StoreThread | None,
    fence: Fence | None = None,
) -> AsyncIterator["_Job"]:
    watching = Unwatched() if watcher is None else watcher
    if thread is not None:
        yield _Job(history, store, watching, thread, fence)
        return
    with StoreThread() as own:
        yield _Job(history, store, watching, own, fence)


class _Job:
    """One job: as many requests at a time as it may have, and one thread that keeps what they bring.

    Twice as many tasks as requests take chunks: while one half fetches, what the other half has fetched is
    being written. So at most that many answers are in memory.
    """

    def __init__(
        self,
        history: History,
        store: BarStore,
        watcher: Watcher,
        thread: StoreThread,
        fence: Fence | None,
    ) -> None:
        self._fence = fence
        self._history = history
        self._store = store
        self._watcher = watcher
        self._thread = thread
        self._tally = Tally(history.name)
        self._waiting: deque[Chunk] = deque()
        self._present_ms: int | None = None  # the moment of the plan
        self._resume_at = 0.0  # on the loop's clock; the provider is left alone before
        self._waits = 0  # for it, since the last chunk came

    async def missing(
        self,
        wanted: Sequence[Wanted],
        *,
        again: Again = Again.NOTHING,
        overlap_bars: Mapping[Timeframe, int] | None = None,
    ) -> list[Missing]:
        """What the store does not have of the wanted, and what is to be fetched once more."""
        return await self._thread.do(self._missing, wanted, overlap_bars or {}, again=again)

    async def run(self, missing: Sequence[Missing], now_ms: Callable[[], int], parallel: int) -> Summary:
        """Plan what is missing and fetch it."""
        present_ms = self._present_ms = now_ms()
        reaches = {
            timeframe: self._history.reach(timeframe, present_ms) for timeframe in self._history.timeframes
        }
        planned = plan(missing, reaches, present_ms)
        await self._thread.do(self._note_beyond, planned)
        return await self.fetch(planned, parallel)

    async def fetch(self, planned: Plan, parallel: int) -> Summary:
        """Fetch the chunks of a plan."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for beyond in planned.beyond:
            self._tally.lost(beyond, Cause.LACKING if beyond.for_good else Cause.LATER, beyond.reason)
        self._watcher.planned(planned)
        self._waiting.extend(planned.chunks)
        slots = asyncio.Semaphore(parallel)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(2 * parallel, len(planned.chunks))):
                    tasks.create_task(self._work(slots))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None  # the others were told of the same refusal
        return self._tally.summary(loop.time() - began)

    def _missing(
        self, wanted: Sequence[Wanted], overlap_bars: Mapping[Timeframe, int], *, again: Again
    ) -> list[Missing]:
        reader, provider = self._store.reader, self._history.name
        found = []
        for each in wanted:
            symbol, timeframe = each.symbol, each.timeframe
            self._tally.want(symbol, timeframe)
            missing = reader.missing(provider, symbol, timeframe, each.start_ms, each.end_ms)
            if again is not Again.NOTHING:
                broken = reader.held_minutes(provider, symbol, timeframe)
                missing = intervals.union(missing, intervals.clip(broken, each.start_ms, each.end_ms))
            for start_ms, end_ms, reason in reader.lacking(provider, symbol, timeframe):
                lacks = intervals.clip(
                    intervals.as_intervals([(start_ms, end_ms)]), each.start_ms, each.end_ms
                )
                if again is Again.LACKING:
                    missing = intervals.union(missing, lacks)
                for start, end in intervals.subtract(lacks, missing).tolist():
                    self._tally.lost_part(symbol, timeframe, (start, end), Cause.LACKING, reason)
            if overlap := overlap_bars.get(timeframe, 0):
                known = reader.coverage(provider, symbol, timeframe)
                known = intervals.clip(known, each.start_ms, each.end_ms)
                newest = known[-1:, 1:]
                newest = intervals.clip(
                    np.hstack([newest - overlap * timeframe.ms, newest]), each.start_ms, each.end_ms
                )
                missing = intervals.union(missing, newest)
            found.append(Missing(symbol=symbol, timeframe=timeframe, intervals=missing))
        return found

    def _note_beyond(self, planned: Plan) -> None:
        """Note what is out of reach for good, so that nobody asks for it again."""
        for beyond in planned.beyond:
            if beyond.for_good:
                self._note_lacking(beyond, beyond.reason)

    def _note_lacking(self, part: Chunk | Beyond, reason: str) -> WriteResult:
        return self._store.write(
            self._history.name,
            part.symbol,
            part.timeframe,
            no_bars(),
            lacking=[(part.start_ms, part.end_ms, reason)],
            fence=self._fence,
        )

    async def _work(self, slots: asyncio.Semaphore) -> None:
        """Fetch and keep one chunk after the other, until none waits."""
        while self._waiting:
            async with slots:
                await asyncio.sleep(max(self._resume_at - asyncio.get_running_loop().time(), 0.0))
                if not self._waiting:
                    return
                chunk = self._waiting.popleft()
                answer = await self._answer(chunk)
            if answer is not None:
                await self._keep(chunk, answer)

    async def _answer(self, chunk: Chunk) -> FetchedBars | None:
        """What the provider gives; None where it gives nothing, which then is noted."""
        try:
            answer = await self._history.fetch(chunk.symbol, chunk.timeframe, chunk.start_ms, chunk.end_ms)
        except UnknownToProvider as error:
            await self._drop_symbol(chunk, str(error))
        except NotEntitled as error:
            await self._thread.do(self._note_lacking, chunk, str(error))
            self._tally.lost(chunk, Cause.LACKING, str(error))
            self._watcher.chunk_lacking(chunk, str(error))
        except ProviderUnavailable as error:
            self._unavailable(chunk, error)
        else:
            self._waits = 0
            return answer
        return None

    async def _keep(self, chunk: Chunk, answer: FetchedBars) -> None:
        """Write an answer: bars, coverage and what is lacking in one transaction."""
        result, broken = await self._thread.do(self._write, chunk, answer)
        self._tally.came(chunk, result, answer.requests)
        whole = intervals.as_intervals([(chunk.start_ms, chunk.end_ms)])
        for lacking in answer.lacking:
            for start_ms, end_ms in intervals.clip(whole, lacking.start_ms, lacking.end_ms).tolist():
                self._tally.lost_part(
                    chunk.symbol, chunk.timeframe, (start_ms, end_ms), Cause.LACKING, lacking.reason
                )
        for start_ms, end_ms in broken.tolist():
            self._tally.lost_part(
                chunk.symbol, chunk.timeframe, (start_ms, end_ms), Cause.LACKING, BROKEN_BARS
            )
        told = intervals.as_intervals(
            [*answer.covered, *((each.start_ms, each.end_ms) for each in answer.lacking)]
        )
        for start_ms, end_ms in intervals.subtract(whole, told).tolist():
            reason = NOT_PUBLISHED if self._is_newest(chunk, end_ms) else answer.why_open or UNANSWERED
            self._tally.lost_part(chunk.symbol, chunk.timeframe, (start_ms, end_ms), Cause.LATER, reason)
        self._watcher.chunk_done(chunk, result.rows, answer.requests)

    def _is_newest(self, chunk: Chunk, end_ms: int) -> bool:
        """Whether a part ends where the newest bar does that had closed when the job was planned."""
        present_ms = chunk.end_ms if self._present_ms is None else self._present_ms
        return end_ms >= chunk.timeframe.floor(present_ms)

    def _write(self, chunk: Chunk, answer: FetchedBars) -> tuple[WriteResult, IntArray]:
        """What the write came to, and the intervals whose bars broke a rule."""
        provider = self._history.name
        result = self._store.write(
            provider,
            chunk.symbol,
            chunk.timeframe,
            answer.bars,
            answer.covered,
            source=f"{provider} history",
            raw=answer.raw,
            lacking=[(each.start_ms, each.end_ms, each.reason) for each in answer.lacking],
            fence=self._fence,
            present=True,
        )
        if not result.quarantined:
            return result, intervals.EMPTY
        # A minute with a broken bar stays unknown. The provider has nothing better, so it is not asked again.
        missing = self._store.reader.missing(
            provider, chunk.symbol, chunk.timeframe, chunk.start_ms, chunk.end_ms
        )
        asked = intervals.as_intervals(answer.covered)
        broken = intervals.subtract(missing, intervals.subtract(missing, asked))
        if len(broken):
            notes = [(start_ms, end_ms, BROKEN_BARS) for start_ms, end_ms in broken.tolist()]
            self._store.write(
                provider, chunk.symbol, chunk.timeframe, no_bars(), lacking=notes, fence=self._fence
            )
        return result, broken

    async def _drop_symbol(self, chunk: Chunk, reason: str) -> None:
        """The provider does not have the symbol: ask for no more of it, and say so once."""
        dropped = [chunk, *(each for each in self._waiting if each.symbol == chunk.symbol)]
        self._waiting = deque(each for each in self._waiting if each.symbol != chunk.symbol)
        for each in dropped:
            self._tally.lost(each, Cause.INACTIVE, reason)
        if chunk.symbol not in self._tally.inactive:
            self._tally.inactive[chunk.symbol] = reason
            await self._thread.do(self._mark_inactive, chunk.symbol, reason)
            self._watcher.inactive(chunk.symbol, reason, len(dropped))

    def _mark_inactive(self, symbol: Symbol, reason: str) -> None:
        self._store.mark_inactive(self._history.name, symbol, reason)

    def _unavailable(self, chunk: Chunk, error: ProviderUnavailable) -> None:
        """A chunk stays missing; or waits with all others, where the provider is to be left alone."""
        now = asyncio.get_running_loop().time()
        if not isinstance(error, LeftAlone):
            self._lose(chunk, str(error))
        elif now < self._resume_at:  # all wait for this already
            self._waiting.appendleft(chunk)
        elif self._waits < BREAKER_WAITS:
            self._waits += 1
            self._resume_at = now + error.seconds
            self._waiting.appendleft(chunk)
            self._watcher.waiting(error.seconds, str(error))
        else:
            for each in (chunk, *self._waiting):
                self._lose(each, str(error))
            self._waiting.clear()

    def _lose(self, chunk: Chunk, reason: str) -> None:
        self._tally.lost(chunk, Cause.FAILED, reason)
        self._watcher.chunk_failed(chunk, reason)
