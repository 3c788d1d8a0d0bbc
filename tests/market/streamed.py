"""What tests of streams share: settings with short durations, and readers that stop when they have enough."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from crypto_tracker.config.market_data import Collector, Massive
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.providers.base import Alive, StreamedBars, StreamEvent
from crypto_tracker.market.providers.massive.pairs import stream_pair

START = 1_709_251_200_000  # 2024-03-01 00:00 UTC
SYMBOLS = [Symbol.parse(text) for text in ("BTC/USD", "ETH/USD", "SOL/USD")]
PAIRS = [stream_pair(symbol) for symbol in SYMBOLS]

_COLLECTOR = Collector(
    providers=("massive",),
    backfill=False,
    settle_seconds=0.02,
    quiet_seconds=0.15,
    skew_seconds=0.05,
    buffer_bars=1000,
    lease_seconds=1.0,
    silence_seconds=0.5,
    stable_seconds=0.4,
    backoff_seconds=0.002,
    backoff_max_seconds=0.02,
    cool_down_seconds=0.03,
    parallel=2,
)


def collector(**changes: Any) -> Collector:
    """The durations of the defaults, divided by hundreds."""
    return Collector(**{**_COLLECTOR.model_dump(), **changes})


def massive(url: str) -> Massive:
    return Massive(
        rest_url="http://127.0.0.1:1",
        stream_url=url,
        files_url="http://127.0.0.1:1",
        plan="paid",
        requests_per_second=1000.0,
        free_requests_per_minute=5.0,
        free_days=730,
    )


async def without_proofs(stream: Any, symbols: Sequence[Symbol]) -> AsyncGenerator[StreamEvent, None]:
    """The events of a stream besides its proofs of life, which come whenever they come."""
    async with aclosing(stream.events(symbols)) as events:
        async for event in events:
            if not isinstance(event, Alive):
                yield event


async def events_until(
    stream: Any,
    symbols: Sequence[Symbol],
    enough: Callable[[list[StreamEvent]], bool],
    seconds: float = 15.0,
    *,
    proofs: bool = False,
) -> list[StreamEvent]:
    """The events of a stream up to the one at which there are enough of them; on demand proofs of life too."""
    seen: list[StreamEvent] = []
    inner = stream.events(symbols) if proofs else without_proofs(stream, symbols)
    async with asyncio.timeout(seconds), aclosing(inner) as events:
        async for event in events:
            seen.append(event)
            if enough(seen):
                break
    return seen


def bar_of(event: StreamedBars) -> tuple[Any, ...]:
    """Symbol, open time, prices and volume as text, in which NaN equals itself."""
    bars = event.bars
    fields = [bars.open_time_ms, bars.open, bars.high, bars.low, bars.close, bars.volume, bars.vwap]
    return (str(event.symbol), *(repr(column.tolist()) for column in fields if column is not None))


def told(event: StreamEvent) -> Any:
    """An event as a value that can be compared."""
    return bar_of(event) if isinstance(event, StreamedBars) else event
