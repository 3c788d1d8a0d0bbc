"""From configuration to facts per symbol."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from crypto_tracker.config.tree import Configuration
from crypto_tracker.config.universe import InstrumentOverride
from crypto_tracker.core.decisions import Tier
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.symbols import Symbol

T = TypeVar("T")


def instruments(configuration: Configuration, symbols: Sequence[Symbol]) -> Instruments:
    """What is known of `symbols`: overrides first, then tier and defaults.

    Raises ConfigError or UsageError only through the configuration itself; every symbol has facts.
    """
    known = [configuration.instruments.get(str(symbol), InstrumentOverride()) for symbol in symbols]
    tiers = [
        configuration.universe.tier(symbol) if override.tier is None else Tier[override.tier.upper()]
        for symbol, override in zip(symbols, known, strict=True)
    ]
    slippage = configuration.costs.slippage.array()
    rest = configuration.instrument_defaults
    costs = configuration.costs
    return Instruments(
        symbols=tuple(symbols),
        tier=np.array([int(tier) for tier in tiers], dtype=np.int8),
        tick=np.array([_first(fact.tick, rest.tick) for fact in known], dtype=np.float64),
        lot=np.array([_first(fact.lot, rest.lot) for fact in known], dtype=np.float64),
        min_notional=np.array(
            [_first(fact.min_notional, rest.min_notional) for fact in known], dtype=np.float64
        ),
        taker_fee=np.array([_first(fact.taker_fee, costs.taker_fee) for fact in known], dtype=np.float64),
        maker_fee=np.array([_first(fact.maker_fee, costs.maker_fee) for fact in known], dtype=np.float64),
        slippage=np.array(
            [_first(fact.slippage, float(slippage[tier])) for fact, tier in zip(known, tiers, strict=True)],
            dtype=np.float64,
        ),
    )


def _first(given: T | None, otherwise: T) -> T:
    return otherwise if given is None else given
