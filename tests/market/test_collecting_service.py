"""The collector of one provider, in a market whose minutes last a moment."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto_tracker.core.errors import ProviderRefused, ProviderUnavailable
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.market.collecting.service import Assignment, Collecting
from crypto_tracker.market.providers.base import (
    Lost,
    MarketInfo,
    Stream,
    StreamedBars,
    StreamEvent,
    Subscribed,
    Trouble,
)
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.collectors import Standing, collectors
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

    def run(self, *, minutes: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Collect for so many minutes of the market's time, or until it is enough; then stop."""

        async def main() -> None:
            stop = asyncio.Event()
            running = asyncio.create_task(self.collecting.run(stop))
            until = self.time.now_ms() + minutes * MINUTE
            while self.time.now_ms() < until and not enough() and not running.done():
                await asyncio.sleep(0.01)
            stop.set()
            await running

        asyncio.run(main())

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
    **collector: Any,
):
    time = FastTime(speed, start_ms)
    wanted = settings(**{"lease_seconds": 30.0, **collector})
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
        yield Session(collecting, store, time, told, home, market)


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
