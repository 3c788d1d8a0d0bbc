"""Markets as providers describe them, as rows of the store."""

from collections.abc import Sequence

from crypto_tracker.market.providers.base import MarketInfo
from crypto_tracker.store.instruments import RULES, InstrumentRow


def instrument_rows(markets: Sequence[MarketInfo]) -> list[InstrumentRow]:
    """Rules and fees of each market, as `write_instruments` keeps them."""
    return [
        InstrumentRow(
            symbol=market.symbol,
            provider_symbol=market.provider_symbol,
            **{name: getattr(market, name) for name in RULES},
        )
        for market in markets
    ]
