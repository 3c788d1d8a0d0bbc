"""What is known of each instrument: tier, price and quantity grids, costs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crypto_tracker.core.arrays import CodeArray, FloatArray
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instruments:
    """Facts per symbol; every array is (symbols,).

    Attributes
    ----------
    tier : int8, a `Tier`
    tick : price grid in quote currency, 0 where unknown
    lot : quantity grid in coins, 0 for continuous quantities
    min_notional : smallest order in quote currency
    taker_fee, maker_fee : fractions of the notional
    slippage : fraction by which market and stop fills are worsened
    """

    symbols: tuple[Symbol, ...]
    tier: CodeArray
    tick: FloatArray
    lot: FloatArray
    min_notional: FloatArray
    taker_fee: FloatArray
    maker_fee: FloatArray
    slippage: FloatArray

    def __post_init__(self) -> None:
        for name in ("tier", "tick", "lot", "min_notional", "taker_fee", "maker_fee", "slippage"):
            array = getattr(self, name)
            if array.shape != (len(self.symbols),):
                raise DataError(
                    f"instruments.{name} has shape {array.shape}, expected one value for each symbol"
                )
            if not np.all(np.isfinite(array)) or np.any(array < 0):
                raise DataError(f"instruments.{name} holds a negative or missing value")

    @property
    def round_trip_cost(self) -> FloatArray:
        """Cost of entering and leaving at market as a fraction: twice taker fee and slippage, (symbols,)."""
        return 2.0 * (self.taker_fee + self.slippage)

    def select(self, symbols: Sequence[Symbol]) -> "Instruments":
        """The same facts for `symbols`, in that order."""
        index = [self.symbols.index(symbol) for symbol in symbols]
        return Instruments(
            symbols=tuple(symbols),
            tier=self.tier[index],
            tick=self.tick[index],
            lot=self.lot[index],
            min_notional=self.min_notional[index],
            taker_fee=self.taker_fee[index],
            maker_fee=self.maker_fee[index],
            slippage=self.slippage[index],
        )
