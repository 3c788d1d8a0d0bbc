"""Asks a provider for what a selection of its pairs needs: its markets, and daily bars of some of them."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crypto_tracker.config.universe import Selector
from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import DataError, UnknownToProvider, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.market.providers.base import History, MarketInfo
from crypto_tracker.market.selector import (
    Figures,
    correlation,
    daily_returns,
    refused_by_volume,
    select,
    volatility,
    window_days,
)
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.market_database import reading, symbol_ids
from crypto_tracker.store.selections import SelectedPair

StoredDays = Callable[[Symbol, int, int], Panel | None]
"""Gives the stored daily bars of a symbol that open in [start_ms, end_ms); None where nothing is stored."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """A selection that was made, before anybody kept it.

    Attributes
    ----------
    pairs : every spot pair against the quote currency, as `selector.select` gives them
    traded : of every market of the provider, whatever its quote, whether it is traded now
    requested : how many pairs the provider was asked for daily bars of
    """

    provider: str
    quote: str
    start_ms: int  # of the daily bars that were looked at
    end_ms: int
    pairs: tuple[SelectedPair, ...]
    traded: Mapping[Symbol, bool]
    requested: int

    @property
    def chosen(self) -> tuple[Symbol, ...]:
        """The symbols of the universe, the best first."""
        return tuple(pair.symbol for pair in self.pairs if pair.chosen)


async def select_pairs(
    history: History,
    stored: StoredDays,
    settings: Selector,
    *,
    quote: str,
    now_ms: int,
    parallel: int,
    progress: Progress,
) -> Selected:
    """Rank the spot pairs of a provider against one quote currency.

    Daily bars come from the store where it knows all of them, and are asked for where not; never of a pair
    that its volume or its status rules out. Only days that are closed count.

    Raises UsageError and DataError where the benchmark has no daily bars, and ProviderError.
    """
    benchmark = Symbol(settings.benchmark, quote)
    if settings.benchmark == quote:
        raise UsageError(
            f"selector.benchmark is {quote}, and so is the quote currency: measure against another coin, "
            "such as --set selector.benchmark=ETH"
        )
    progress("asking for the markets", 0.0)
    markets = await history.markets()
    if not markets:
        raise DataError(f"{history.name} named no market at all: try again later")
    spot = {
        market.symbol: market
        for market in markets
        if market.symbol.quote == quote and not market.symbol.is_perpetual
    }
    if not spot:
        quotes = sorted({market.symbol.quote for market in markets})
        raise UsageError(
            f"{history.name} has no pair against {quote}: choose --quote of {', '.join(quotes[:8])}"
        )
    days = _Days(history, stored, settings, now_ms, asyncio.Semaphore(parallel))
    returns = await days.returns(benchmark)
    if np.isnan(returns).all():
        raise DataError(
            f"{history.name} has no daily bars of {benchmark}, the benchmark: choose another with "
            "--set selector.benchmark=COIN"
        )
    looked_at = [
        symbol
        for symbol, market in spot.items()
        if refused_by_volume(_plain(market), settings, history.name) is None
    ]
    found = await days.all(sorted(looked_at), progress)
    pairs = [_figures(market, found.get(symbol), returns, settings.days) for symbol, market in spot.items()]
    return Selected(
        provider=history.name,
        quote=quote,
        start_ms=days.start_ms,
        end_ms=days.end_ms,
        pairs=select(pairs, settings, provider=history.name),
        traded={market.symbol: market.active for market in markets},
        requested=days.requested,
    )


class _Days:
    """Daily closes, from the store where it knows them, else from the provider."""

    def __init__(
        self,
        history: History,
        stored: StoredDays,
        settings: Selector,
        now_ms: int,
        turns: asyncio.Semaphore,
    ) -> None:
        self._history = history
        self._stored = stored
        self._settings = settings
        self._turns = turns
        reach = history.reach(Timeframe.D1, now_ms) if Timeframe.D1 in history.timeframes else None
        newest_ms = now_ms if reach is None or reach.newest_ms is None else min(reach.newest_ms, now_ms)
        oldest_ms = 0 if reach is None or reach.oldest_ms is None else reach.oldest_ms
        self._can_be_asked = reach is not None
        self.end_ms = newest_ms // DAY_MS * DAY_MS
        wanted_ms = self.end_ms - window_days(settings) * DAY_MS
        self.start_ms = max(wanted_ms, -(-oldest_ms // DAY_MS) * DAY_MS)
        self.requested = 0
        self._found: dict[Symbol, FloatArray] = {}
        self._reading = asyncio.Lock()  # the store is read by one thread at a time

    async def returns(self, symbol: Symbol) -> FloatArray:
        """The last daily returns of a symbol, NaN where they are not known."""
        return daily_returns(await self._closes(symbol), self._settings.days)

    async def all(self, symbols: Sequence[Symbol], progress: Progress) -> dict[Symbol, FloatArray]:
        """The closes of many symbols, several at a time."""
        done = 0

        async def one(symbol: Symbol) -> FloatArray:
            nonlocal done
            async with self._turns:
                closes = await self._closes(symbol)
            done += 1
            progress(f"daily bars of {symbol}", done / len(symbols))
            return closes

        tasks = [asyncio.create_task(one(symbol)) for symbol in symbols]
        try:
            return dict(zip(symbols, await asyncio.gather(*tasks), strict=True))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _closes(self, symbol: Symbol) -> FloatArray:
        """Closes of the days of the window, float64 (days,), NaN where there is none; found once."""
        if symbol not in self._found:
            self._found[symbol] = await self._find(symbol)
        return self._found[symbol]

    async def _find(self, symbol: Symbol) -> FloatArray:
        async with self._reading:
            kept = await asyncio.to_thread(self._stored, symbol, self.start_ms, self.end_ms)
        if kept is not None and bool(kept.covered.all()):
            return kept.close[:, 0]
        closes = np.full((self.end_ms - self.start_ms) // DAY_MS, np.nan)
        if not self._can_be_asked or not len(closes):
            return closes if kept is None else kept.close[:, 0]
        self.requested += 1
        try:
            answer = await self._history.fetch(symbol, Timeframe.D1, self.start_ms, self.end_ms)
        except UnknownToProvider:
            return closes
        since = answer.bars.open_time_ms - self.start_ms
        inside = (since >= 0) & (since < len(closes) * DAY_MS) & (since % DAY_MS == 0)
        closes[since[inside] // DAY_MS] = answer.bars.close[inside]
        return closes


def _plain(market: MarketInfo) -> Figures:
    volume = market.volume_quote
    return Figures(
        symbol=market.symbol,
        active=market.active,
        volume_quote=volume if volume is not None and math.isfinite(volume) else None,
        volatility=None,
        correlation=None,
        listed_days=None,
    )


def _figures(market: MarketInfo, closes: FloatArray | None, benchmark: FloatArray, days: int) -> Figures:
    if closes is None:
        return _plain(market)
    own = daily_returns(closes, days)
    return replace(
        _plain(market),
        volatility=volatility(own),
        correlation=correlation(own, benchmark),
        listed_days=int(np.count_nonzero(np.isfinite(closes) & (closes > 0.0))),
    )


def mark_by_markets(store: BarStore, home: Path, selected: Selected) -> dict[Symbol, str]:
    """Mark what the store knows of the provider as active or inactive; what has become inactive, with why.

    The chosen pairs become known to the store, so that it is told later that one of them is gone.
    """
    store.register(selected.provider, selected.chosen)
    with reading(home) as connection:
        known = sorted(symbol for _, symbol in symbol_ids(connection, selected.provider))
    news: dict[Symbol, str] = {}
    for symbol in known:
        if selected.traded.get(symbol, False):
            store.mark_active(selected.provider, symbol)
            continue
        gone = "no longer trades it" if symbol in selected.traded else "does not have it"
        reason = f"{selected.provider} {gone}"
        if store.mark_inactive(selected.provider, symbol, reason):
            news[symbol] = reason
    return news
