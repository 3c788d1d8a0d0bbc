"""What the tests of exchanges have in common."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from crypto_tracker.config.market_data import Collector, Exchange, Fetching
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.market.providers.base import Alive, FetchedBars, StreamedBars
from crypto_tracker.market.providers.exchange.provider import ExchangeProvider, open_exchange
from tests.servers.exchange import Bar, ExchangeServer

T = TypeVar("T")

NOON = 1_790_337_600_000 - 1_790_337_600_000 % 86_400_000 + 12 * 3_600_000  # of some day
BTC = Symbol("BTC", "USD")

FETCHING = Fetching(
    timeout_seconds=60.0,
    attempts=3,
    wait_seconds=0.001,
    wait_max_seconds=0.01,
    breaker_failures=5,
    breaker_seconds=60.0,
)
COLLECTOR = Collector(
    providers=("kraken",),
    backfill=True,
    settle_seconds=2.0,
    quiet_seconds=15.0,
    skew_seconds=0.0,
    buffer_bars=1000,
    lease_seconds=15.0,
    silence_seconds=30.0,
    stable_seconds=10.0,
    backoff_seconds=0.01,
    backoff_max_seconds=0.05,
    cool_down_seconds=0.1,
    parallel=4,
)


class Clock:
    """A clock that stands where the test puts it."""

    def __init__(self, ms: int) -> None:
        self.ms = ms

    def __call__(self) -> int:
        return self.ms


def opened(
    server: ExchangeServer,
    clock: Callable[[], int],
    *,
    trades_hours: float = 0.0,
    fetching: Fetching = FETCHING,
    collector: Collector = COLLECTOR,
    **more: Any,
) -> ExchangeProvider:
    settings = Exchange(requests_per_second=500.0, trades_hours=trades_hours, settings=server.settings())
    return open_exchange(server.name, settings, fetching, collector, now_ms=clock, **more)


def run(work: Coroutine[Any, Any, T]) -> T:
    async def within() -> T:
        async with asyncio.timeout(240):
            return await work

    return asyncio.run(within())


def fetched(
    server: ExchangeServer,
    clock: Callable[[], int],
    start_ms: int,
    end_ms: int,
    *,
    symbol: Symbol = BTC,
    timeframe: Timeframe = Timeframe.M1,
    **more: Any,
) -> FetchedBars:
    async def work() -> FetchedBars:
        provider = opened(server, clock, **more)
        try:
            return await provider.history.fetch(symbol, timeframe, start_ms, end_ms)
        finally:
            await provider.close()

    return run(work())


def rows(bars: Any) -> list[tuple[float, ...]]:
    columns = (bars.open_time_ms, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return [tuple(values) for values in zip(*(column.tolist() for column in columns), strict=True)]


def expected(bars: list[Bar]) -> list[tuple[float, ...]]:
    return [(bar.time_ms, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]


def at(minute: int) -> int:
    return NOON + minute * MINUTE_MS


def brief(event: Any) -> Any:
    """An event that can be compared and read."""
    return (str(event.symbol), rows(event.bars)) if isinstance(event, StreamedBars) else event


class Watched:
    """A stream that is being watched: what came so far, and a way to wait for more."""

    def __init__(self, events: Any) -> None:
        self._events = events
        self.seen: list[Any] = []  # all but proofs of life
        self.alive: list[int] = []  # these
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def _watch(self) -> None:
        async for event in self._events:
            if isinstance(event, Alive):
                self.alive.append(event.at_ms)
            else:
                self.seen.append(brief(event))
            self._news.set()

    async def until(self, what: Callable[[list[Any]], bool], *, seconds: float = 120.0) -> list[Any]:
        """Wait until `what` holds for all that was seen."""
        async with asyncio.timeout(seconds):
            while not what(self.seen):
                assert self._task is not None
                if self._task.done():
                    self._task.result()
                    raise AssertionError(f"the stream ended: {self.seen}")
                self._news.clear()
                waiting = asyncio.ensure_future(self._news.wait())
                await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        return self.seen

    async def start(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._events.aclose()


@asynccontextmanager
async def watched(provider: ExchangeProvider, *symbols: Symbol) -> Any:
    """Watch the stream of a provider, and let go of everything at the end."""
    watching = Watched(provider.stream.events(symbols))
    await watching.start()
    try:
        yield watching
    finally:
        await watching.stop()
        await provider.close()
