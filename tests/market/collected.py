"""A market that is known bar by bar, in a time of its own, and judges of what was collected of it."""

import asyncio
import tomllib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from crypto_tracker.config.market_data import MarketData
from crypto_tracker.config.tree import defaults
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, from_ms
from crypto_tracker.market.providers.base import (
    FetchedBars,
    MarketInfo,
    Reach,
    StreamedBars,
    StreamEvent,
    no_bars,
)
from crypto_tracker.net.gate import turn_of_request
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.collectors import Standing

MINUTE = 60_000
START = int(datetime(2025, 6, 2, 12, 0, tzinfo=UTC).timestamp() * 1000)


class FastTime:
    """Market time that runs `speed` times as fast as `clock`, from `start_ms` on; it is a Clock as well."""

    follows_reading = False

    def __init__(self, clock: Callable[[], float], speed: float, start_ms: int = START) -> None:
        self.speed = speed
        self._clock = clock
        self._start_ms = start_ms
        self._began = clock()

    def now_ms(self) -> int:
        return self._start_ms + int((self._clock() - self._began) * 1_000 * self.speed)

    def now(self) -> datetime:
        return from_ms(self.now_ms())

    def seconds(self, duration_ms: int) -> float:
        return duration_ms / 1_000 / self.speed


@dataclass(frozen=True)
class Market:
    """Minutes of some symbols, each a function of symbol and time; some without a trade."""

    symbols: tuple[Symbol, ...]

    @classmethod
    def of(cls, count: int) -> "Market":
        return cls(tuple(Symbol(f"C{number:03d}", "USD") for number in range(count)))

    def has_traded(self, symbol: Symbol, open_ms: int) -> bool:
        return (open_ms // MINUTE * 7 + self.symbols.index(symbol) * 13) % 11 != 0

    def bar(self, symbol: Symbol, open_ms: int) -> tuple[float, float, float, float, float]:
        """Open, high, low, close and volume."""
        index, minute = self.symbols.index(symbol), open_ms // MINUTE
        price = 100.0 + index + (minute * 37 + index * 11) % 101 / 100.0
        close = 100.0 + index + (minute * 53 + index * 17) % 101 / 100.0
        return price, max(price, close) + 0.5, min(price, close) - 0.5, close, 1.0 + minute % 7

    def traded(self, symbol: Symbol, start_ms: int, end_ms: int) -> list[int]:
        first = -(-start_ms // MINUTE) * MINUTE
        return [each for each in range(first, end_ms, MINUTE) if self.has_traded(symbol, each)]

    def batch(self, symbol: Symbol, opens: Sequence[int]) -> BarBatch:
        return batch(opens, [self.bar(symbol, each) for each in opens])


def batch(opens: Sequence[int], rows: Sequence[tuple[float, float, float, float, float]]) -> BarBatch:
    if not opens:
        return no_bars()
    values = np.array(rows, dtype=np.float64)
    return BarBatch(
        open_time_ms=np.array(opens, dtype=np.int64),
        open=values[:, 0],
        high=values[:, 1],
        low=values[:, 2],
        close=values[:, 3],
        volume=values[:, 4],
    )


@dataclass
class MarketHistory:
    """A History that knows the whole market, and can be told to fail."""

    market: Market
    time: FastTime
    name: str = "massive"
    timeframes: tuple[Timeframe, ...] = (Timeframe.M1,)
    markets_listed: Callable[[], Sequence[MarketInfo]] | None = None
    failing: Callable[[], Exception | None] = lambda: None
    latency_ms: int = 250  # of the market's time
    asked: list[tuple[Symbol, int, int]] = field(default_factory=list)
    at_once: int = 0
    at_once_peak: int = 0

    def reach(self, timeframe: Timeframe, now_ms: int) -> Reach:  # noqa: ARG002
        return Reach(page_bars=50_000)

    async def markets(self) -> Sequence[MarketInfo]:
        if (error := self.failing()) is not None:
            raise error
        if self.markets_listed is not None:
            return self.markets_listed()
        return [MarketInfo(symbol=each, provider_symbol=f"X:{each.base}USD") for each in self.market.symbols]

    async def fetch(self, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> FetchedBars:  # noqa: ARG002
        self.asked.append((symbol, start_ms, end_ms))
        async with turn_of_request():
            self.at_once += 1
            self.at_once_peak = max(self.at_once, self.at_once_peak)
            try:
                await asyncio.sleep(self.time.seconds(self.latency_ms))
                if (error := self.failing()) is not None:
                    raise error
            finally:
                self.at_once -= 1
        opens = self.market.traded(symbol, start_ms, min(end_ms, self.time.now_ms() - MINUTE + 1))
        return FetchedBars(bars=self.market.batch(symbol, opens), covered=((start_ms, end_ms),))

    async def close(self) -> None:
        return


@dataclass
class ScriptedStream:
    """A Stream that says what a function makes of it."""

    script: Callable[[Sequence[Symbol]], AsyncGenerator[StreamEvent, None]]
    name: str = "massive"

    def events(self, symbols: Sequence[Symbol]) -> AsyncGenerator[StreamEvent, None]:
        return self.script(symbols)


@dataclass
class Told:
    """A watcher that remembers."""

    states: list[tuple[Standing, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def changed(self, provider: str, state: Standing, detail: str) -> None:  # noqa: ARG002
        self.states.append((state, detail))

    def noted(self, provider: str, sentence: str) -> None:  # noqa: ARG002
        self.notes.append(sentence)

    def progressed(self, provider: str, figures: dict[str, Any]) -> None:  # noqa: ARG002
        self.figures = figures


def settings(**collector: object) -> MarketData:
    """The default configuration of market data, with other values for the collector; 1m only."""
    tree = tomllib.loads(defaults().text)["market_data"]
    tree["collector"] |= {"backfill": False, **collector}
    tree["collector"]["quiet_seconds"] = max(
        tree["collector"]["quiet_seconds"], tree["collector"]["settle_seconds"]
    )
    tree["timeframes"] = {"1m": tree["timeframes"]["1m"]}
    return MarketData.model_validate(tree)


def streamed(market: Market, symbol: Symbol, open_ms: int) -> StreamedBars:
    return StreamedBars(symbol=symbol, bars=market.batch(symbol, [open_ms]))


def differences(
    reader: Any, market: Market, start_ms: int, end_ms: int, *, but: Mapping[Symbol, Sequence[int]] = {}
) -> list[str]:
    """Where the store is not the market in [start_ms, end_ms); nothing where it is."""
    found = []
    for symbol in market.symbols:
        left_out = set(but.get(symbol, ()))
        panel = reader.panel([symbol], Timeframe.M1, start_ms, end_ms, provider="massive")
        for row, open_ms in enumerate(panel.open_time_ms.tolist()):
            expected = market.bar(symbol, open_ms) if market.has_traded(symbol, open_ms) else None
            there = bool(panel.present[row, 0])
            at = f"{symbol} {from_ms(open_ms):%d %H:%M}"
            if open_ms in left_out:
                if there:
                    found.append(f"{at} should be missing")
            elif not panel.covered[row, 0]:
                found.append(f"{at} is unknown")
            elif (expected is not None) != there:
                found.append(f"{at} is {'missing' if expected else 'invented'}")
            elif expected is not None:
                got = tuple(
                    float(getattr(panel, name)[row, 0]) for name in ("open", "high", "low", "close", "volume")
                )
                if got != expected:
                    found.append(f"{at} is {got}, not {expected}")
    return found


def home_of(folder: Path) -> Path:
    return folder / "home"
