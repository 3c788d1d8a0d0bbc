"""What was fetched and what was streamed in a recorded session, beside the raw lines it was made of."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.market.providers.base import (
    FetchedBars,
    History,
    Lacking,
    MarketInfo,
    Reach,
    Stream,
    StreamEvent,
)
from crypto_tracker.market.recording.format import Kind, Record
from crypto_tracker.store.batch import VALUE_FIELDS, BarBatch

_COLUMNS = VALUE_FIELDS


class Notes(Protocol):
    """Where a session is written down."""

    def note_step(self, kind: Kind, **values: Any) -> None:
        """A line of our own."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fetch:
    """One answer of a History, and what it was asked for."""

    time_ns: int
    symbol: Symbol
    timeframe: Timeframe
    start_ms: int
    end_ms: int
    answer: FetchedBars


@dataclass(frozen=True, slots=True)
class NotedHistory:
    """A History of which every answer is noted, at the moment at which it was there.

    When it was closed, and by which clock, decides what an answer says; the raw answer alone does not tell.
    """

    inner: History
    notes: Notes

    @property
    def name(self) -> str:
        """The name under which its bars are stored."""
        return self.inner.name

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """Those that it can be asked for."""
        return self.inner.timeframes

    def reach(self, timeframe: Timeframe, now_ms: int) -> Reach:
        """What can be asked for at this moment."""
        return self.inner.reach(timeframe, now_ms)

    async def markets(self) -> Sequence[MarketInfo]:
        """Every market of the provider that has a symbol of ours."""
        return await self.inner.markets()

    async def fetch(self, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> FetchedBars:
        """The bars that open in [start_ms, end_ms)."""
        answer = await self.inner.fetch(symbol, timeframe, start_ms, end_ms)
        self.notes.note_step(
            Kind.FETCHED,
            symbol=str(symbol),
            timeframe=str(timeframe),
            start_ms=start_ms,
            end_ms=end_ms,
            open_time_ms=answer.bars.open_time_ms.tolist(),
            **{name: _written(getattr(answer.bars, name)) for name in _COLUMNS},
            covered=[list(each) for each in answer.covered],
            lacking=[[each.start_ms, each.end_ms, each.reason] for each in answer.lacking],
            requests=answer.requests,
        )
        return answer

    async def close(self) -> None:
        """Let go of all connections."""
        await self.inner.close()


@dataclass(frozen=True, slots=True)
class NotedStream:
    """A Stream of which it is noted what it was asked for, and until when."""

    inner: Stream
    notes: Notes

    @property
    def name(self) -> str:
        """The name under which its bars are stored."""
        return self.inner.name

    async def events(self, symbols: Sequence[Symbol]) -> AsyncGenerator[StreamEvent, None]:
        """What happens on the stream."""
        self.notes.note_step(Kind.STREAMING, symbols=[str(symbol) for symbol in symbols])
        try:
            async with aclosing(_generator(self.inner, symbols)) as events:
                async for event in events:
                    yield event
        finally:
            self.notes.note_step(Kind.STREAMED)


def fetch_of(record: Record) -> Fetch:
    """What a line of kind `fetched` says."""
    values: Mapping[str, Any] = record.fields
    columns: dict[str, Any] = {name: _read(values[name]) for name in _COLUMNS}
    return Fetch(
        time_ns=record.time_ns,
        symbol=Symbol.parse(values["symbol"]),
        timeframe=Timeframe.parse(values["timeframe"]),
        start_ms=values["start_ms"],
        end_ms=values["end_ms"],
        answer=FetchedBars(
            bars=BarBatch(open_time_ms=np.array(values["open_time_ms"], dtype=np.int64), **columns),
            covered=tuple((start_ms, end_ms) for start_ms, end_ms in values["covered"]),
            lacking=tuple(
                Lacking(start_ms=start_ms, end_ms=end_ms, reason=reason)
                for start_ms, end_ms, reason in values["lacking"]
            ),
            requests=values["requests"],
        ),
    )


async def _generator(stream: Stream, symbols: Sequence[Symbol]) -> AsyncGenerator[StreamEvent, None]:
    events = stream.events(symbols)
    try:
        async for event in events:
            yield event
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


def _written(column: Any) -> list[float] | None:
    """Numbers as they are, also those that are none: JSON of Python has words for them."""
    return None if column is None else column.tolist()


def _read(values: Sequence[float] | None) -> Any:
    return None if values is None else np.array(values, dtype=np.float64)
