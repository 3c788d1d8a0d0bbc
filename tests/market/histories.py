"""A provider of history that follows a script, for the tests of fetching jobs."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, to_ms
from crypto_tracker.market.fetching.planning import Chunk, Plan
from crypto_tracker.market.providers.base import FetchedBars, MarketInfo, Reach
from crypto_tracker.store.batch import BarBatch

BTC, ETH, SOL = (Symbol(base, "USD") for base in ("BTC", "ETH", "SOL"))

Answer = FetchedBars | Exception | None
"""What a script says to a request: an answer of its own, a failure, or None for the usual bars."""


def at(text: str) -> int:
    """Milliseconds of `2025-03-01`, or of `2025-03-01 12:00`."""
    whole = text if " " in text else f"{text} 00:00"
    return to_ms(datetime.strptime(whole, "%Y-%m-%d %H:%M").replace(tzinfo=UTC))


def bars_of(symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> BarBatch:
    """A bar in every cell, the same ones whenever one asks."""
    times = np.arange(start_ms, end_ms, timeframe.ms, dtype=np.int64)
    close = 100.0 + len(symbol.base) + (times // timeframe.ms % 1_000) / 100.0
    return BarBatch(
        open_time_ms=times,
        open=close,
        high=close + 1.0,
        low=close - 1.0,
        close=close,
        volume=np.full(len(times), 2.0),
    )


def answer_of(bars: BarBatch, start_ms: int, end_ms: int) -> FetchedBars:
    """An answer that covers what was asked for."""
    return FetchedBars(bars=bars, covered=((start_ms, end_ms),))


@dataclass(eq=False)
class ScriptedHistory:
    """Gives a bar for every cell, unless its script says otherwise; remembers what it was asked."""

    script: Callable[[Chunk], Answer] = lambda _chunk: None
    reaches: dict[Timeframe, Reach] = field(default_factory=dict)
    known: Sequence[MarketInfo] = ()
    timeframes: tuple[Timeframe, ...] = (Timeframe.M1, Timeframe.M15, Timeframe.H1, Timeframe.D1)
    name: str = "made"
    asked: list[Chunk] = field(default_factory=list)
    at_once: int = 0
    at_once_max: int = 0
    closed: bool = False

    def reach(self, timeframe: Timeframe, _now_ms: int) -> Reach:
        return self.reaches.get(timeframe, Reach(page_bars=50_000))

    async def markets(self) -> Sequence[MarketInfo]:
        return self.known

    async def fetch(self, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> FetchedBars:
        chunk = Chunk(symbol=symbol, timeframe=timeframe, start_ms=start_ms, end_ms=end_ms)
        self.asked.append(chunk)
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            await asyncio.sleep(0)
            said = self.script(chunk)
        finally:
            self.at_once -= 1
        if isinstance(said, Exception):
            raise said
        return said or answer_of(bars_of(symbol, timeframe, start_ms, end_ms), start_ms, end_ms)

    async def close(self) -> None:
        self.closed = True


@dataclass(eq=False)
class Notes:
    """A watcher that writes down what it hears."""

    plans: list[Plan] = field(default_factory=list)
    done: list[tuple[Chunk, int, int]] = field(default_factory=list)
    failed: list[tuple[Chunk, str]] = field(default_factory=list)
    lacking: list[tuple[Chunk, str]] = field(default_factory=list)
    gone: list[tuple[Symbol, str, int]] = field(default_factory=list)
    waits: list[tuple[float, str]] = field(default_factory=list)
    out: list[Chunk] = field(default_factory=list)

    def planned(self, plan: Plan) -> None:
        self.plans.append(plan)

    def chunk_done(self, chunk: Chunk, bars: int, requests: int) -> None:
        self.done.append((chunk, bars, requests))

    def chunk_failed(self, chunk: Chunk, reason: str) -> None:
        self.failed.append((chunk, reason))

    def chunk_lacking(self, chunk: Chunk, reason: str) -> None:
        self.lacking.append((chunk, reason))

    def inactive(self, symbol: Symbol, reason: str, dropped: int) -> None:
        self.gone.append((symbol, reason, dropped))

    def waiting(self, seconds: float, reason: str) -> None:
        self.waits.append((seconds, reason))

    def left_out(self, chunk: Chunk) -> None:
        self.out.append(chunk)
