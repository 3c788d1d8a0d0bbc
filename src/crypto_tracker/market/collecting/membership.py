"""Which of the symbols that are wanted a provider has; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.providers.base import MarketInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The symbols that can be collected, in the order in which they are wanted, and why others cannot."""

    active: tuple[Symbol, ...]
    inactive: Mapping[Symbol, str]


def membership(wanted: Iterable[Symbol], markets: Sequence[MarketInfo], provider: str) -> Membership:
    """Judge the wanted symbols by the provider's list of its markets."""
    listed = {market.symbol: market for market in markets}
    active, inactive = [], {}
    for symbol in wanted:
        market = listed.get(symbol)
        if market is None:
            inactive[symbol] = f"{provider} has no market {symbol}"
        elif not market.active:
            inactive[symbol] = f"{provider} no longer trades {symbol}"
        else:
            active.append(symbol)
    return Membership(active=tuple(active), inactive=inactive)
