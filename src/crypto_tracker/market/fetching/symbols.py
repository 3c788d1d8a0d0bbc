"""Which of the wanted symbols a provider has: one look at its markets, before anything else is asked."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
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

    @property
    def unknown(self) -> tuple[Symbol, ...]:
        """The wanted symbols that the provider does not have, in order."""
        there = set(self.there)
        return tuple(symbol for symbol in self.inactive if symbol not in there)


def near_symbols(symbol: Symbol, known: Iterable[Symbol], count: int = 3) -> tuple[Symbol, ...]:
    """Those that may have been meant by a symbol that nobody has: first the same coin, then similar names.

    >>> known = [Symbol.parse(name) for name in ("BTC/USD", "BTC/EUR", "BCH/USD", "DOGE/USD")]
    >>> [str(each) for each in near_symbols(Symbol.parse("BTC/USDT"), known)]
    ['BTC/USD', 'BTC/EUR']
    """
    names = {str(each): each for each in known}
    close = difflib.get_close_matches(str(symbol), names, count, cutoff=0.75)
    same = [name for name, each in names.items() if each.base == symbol.base and name not in close]
    same.sort(key=lambda name: names[name].quote != "USD")
    coin = [name for name in close if names[name].base == symbol.base]
    ordered = [*coin, *same] or close
    return tuple(names[name] for name in ordered[:count])


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
