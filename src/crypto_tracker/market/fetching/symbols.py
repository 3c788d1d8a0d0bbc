"""Which of the wanted symbols a provider has: one look at its markets, before anything else is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.fetching.watching import Unwatched, Watcher
from crypto_tracker.market.fetching.writing import StoreThread
from crypto_tracker.market.providers.base import History, MarketInfo
from crypto_tracker.store.bars import BarStore


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSymbols:
    """The wanted symbols that a provider has, and why others, or some of these, are inactive.

    Attributes
    ----------
    there : those that can be asked for, in the order in which they were wanted
    inactive : those that the provider does not have, and those that it no longer trades, with the reason
    markets : every market of the provider, wanted or not
    """

    there: tuple[Symbol, ...]
    inactive: Mapping[Symbol, str]
    markets: tuple[MarketInfo, ...]


async def known_symbols(
    history: History,
    store: BarStore,
    wanted: Sequence[Symbol],
    *,
    thread: StoreThread,
    watcher: Watcher | None = None,
) -> KnownSymbols:
    """Ask for the markets of a provider, and mark the wanted symbols as active or inactive by them.

    A symbol that is no longer traded is inactive and still there: its past can be had. The watcher hears of
    those that have become inactive since the last time.
    """
    watching = Unwatched() if watcher is None else watcher
    markets = {market.symbol: market for market in await history.markets()}
    inactive: dict[Symbol, str] = {}
    for symbol in wanted:
        market = markets.get(symbol)
        if market is None:
            inactive[symbol] = f"{history.name} does not have it"
        elif not market.active:
            inactive[symbol] = f"{history.name} no longer trades it"
    news = await thread.do(_mark, store, history.name, wanted, inactive)
    for symbol in news:
        watching.inactive(symbol, inactive[symbol], 0)
    return KnownSymbols(
        there=tuple(symbol for symbol in wanted if symbol in markets),
        inactive=inactive,
        markets=tuple(markets.values()),
    )


def _mark(
    store: BarStore, provider: str, wanted: Sequence[Symbol], inactive: Mapping[Symbol, str]
) -> list[Symbol]:
    """Mark every symbol; the symbols that were not inactive before."""
    news = []
    for symbol in wanted:
        reason = inactive.get(symbol)
        if reason is None:
            store.mark_active(provider, symbol)
        elif store.mark_inactive(provider, symbol, reason):
            news.append(symbol)
    return news
