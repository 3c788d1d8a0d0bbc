"""Plays what was streamed and what was fetched into the store, in the order in which both came."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, from_ms
from crypto_tracker.market.fetching.planning import Chunk
from crypto_tracker.market.fetching.running import run
from crypto_tracker.market.providers.base import (
    FetchedBars,
    Lost,
    MarketInfo,
    Reach,
    Stream,
    StreamedBars,
    StreamEvent,
    no_bars,
)
from crypto_tracker.market.recording.histories import Fetch
from crypto_tracker.market.recording.replay import Contents, RecordingEnded, Replay
from crypto_tracker.store.bars import BarStore

RECORDED = "recorded"
"""The name under which the bars of a replayed session are stored, so that they mix with no others."""


class Recorded:
    """The stream of a recorded session, under the name of recordings; what was fetched is stored between.

    Whoever reads writes all that was due before the next event, so bars that were fetched come to the store
    between the same bars of the stream as they did then, and whatever was told last holds.

    Parameters
    ----------
    stream : through which the recording is read; None where nothing was streamed
    """

    name = RECORDED

    def __init__(self, replay: Replay, contents: Contents, stream: Stream | None, store: BarStore) -> None:
        self._replay = replay
        self._contents = contents
        self._stream = stream
        self._store = store
        self._fetches = replay.fetches()
        self._next = next(self._fetches, None)
        self._turns: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
        # Says nothing; who takes it writes what is due by then.
        self._look = StreamedBars(symbol=contents.symbols[0], bars=no_bars())
        replay.before_each(self._meanwhile)

    async def events(self, symbols: Sequence[Symbol]) -> AsyncGenerator[StreamEvent, None]:
        """What happened, to the end of the recording."""
        if self._stream is not None and self._contents.has_stream:
            # Each stream of ours has connections of its own; those of other libraries are read in one go.
            several = self._contents.of_sockets and len(self._contents.streams) > 1
            for number, each in enumerate(self._contents.streams if several else [symbols]):
                if number:
                    yield Lost(reason="other symbols were asked for", again_seconds=0.0)
                async for event in self._merged(self._stream, each):
                    yield event
        while self._next is not None:
            await self._replay.reach(self._next.time_ns)
            yield self._look
            await self._play()
        await self._replay.reach(self._contents.ended_ns)
        yield self._look

    async def _merged(self, stream: Stream, symbols: Sequence[Symbol]) -> AsyncGenerator[StreamEvent, None]:
        """One stream, which waits with each line for all that was fetched before."""
        events = stream.events(symbols)
        coming: asyncio.Future[StreamEvent] = asyncio.ensure_future(anext(events))
        turning = asyncio.ensure_future(self._turns.get())
        try:
            while True:
                await asyncio.wait((coming, turning), return_when=asyncio.FIRST_COMPLETED)
                if turning.done():
                    turn = turning.result()
                    turning = asyncio.ensure_future(self._turns.get())
                    if self._next is not None:
                        await self._replay.reach(self._next.time_ns)
                        yield self._look
                        await self._play()
                    turn.set_result(None)
                    continue
                try:
                    event = coming.result()
                except (StopAsyncIteration, RecordingEnded):
                    return
                yield event
                coming = asyncio.ensure_future(anext(events))
        finally:
            coming.cancel()
            turning.cancel()
            await asyncio.gather(coming, turning, return_exceptions=True)
            if isinstance(events, AsyncGenerator):
                await events.aclose()

    async def _meanwhile(self, time_ns: int) -> None:
        """Wait until everything that was fetched before this moment is stored."""
        while self._next is not None and self._next.time_ns <= time_ns:
            turn = asyncio.get_running_loop().create_future()
            self._turns.put_nowait(turn)
            await turn

    async def _play(self) -> None:
        """Store what was fetched next."""
        fetch = self._next
        if fetch is None:
            return
        chunk = Chunk(
            symbol=fetch.symbol, timeframe=fetch.timeframe, start_ms=fetch.start_ms, end_ms=fetch.end_ms
        )
        await run([chunk], _Answered(fetch), self._store, parallel=1)
        self._next = next(self._fetches, None)


@dataclass(frozen=True, slots=True)
class _Answered:
    """A History that knows one answer."""

    known: Fetch

    @property
    def name(self) -> str:
        """The name under which its bars are stored."""
        return RECORDED

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """That of the answer."""
        return (self.known.timeframe,)

    def reach(self, timeframe: Timeframe, now_ms: int) -> Reach:
        """Nothing else can be asked for."""
        raise UsageError(f"a recording cannot be asked for bars of {timeframe} at {from_ms(now_ms)}")

    async def markets(self) -> Sequence[MarketInfo]:
        """Nothing is known of them."""
        return ()

    async def fetch(self, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> FetchedBars:
        """The answer, to the question that it was given to."""
        known = self.known
        if (symbol, timeframe, start_ms, end_ms) != (
            known.symbol,
            known.timeframe,
            known.start_ms,
            known.end_ms,
        ):
            raise UsageError(f"the recording was not asked for {symbol} {timeframe} from {from_ms(start_ms)}")
        return known.answer

    async def close(self) -> None:
        """There is no connection."""
