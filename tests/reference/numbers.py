"""Grids, lots and amounts of docs/simulator.md section 1, one formula to a function."""

import math
from dataclasses import dataclass

from crypto_tracker.core.errors import SimulationError
from crypto_tracker.core.instruments import Instruments

EXACT_LOTS = 2.0**53


def grid(count: float, step: float) -> float:
    """The value of `count` steps: the shortest decimal where the step is one over an integer."""
    if step == 0.0:
        return count
    per_unit = 1.0 / step
    if step < 1.0 and abs(per_unit - round(per_unit)) <= 1e-9 * per_unit:
        return count / round(per_unit)
    return count * step


def amount_e8(quote: float) -> int:
    """A quote amount as an integer number of 1e-8, halves to even."""
    return round(quote * 1e8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One symbol's facts, and the roundings that they ask for."""

    name: str
    tier: int
    tick: float
    lot: float
    min_notional: float
    taker_fee: float
    maker_fee: float
    slippage: float

    @property
    def round_trip_cost(self) -> float:
        return 2.0 * (self.taker_fee + self.slippage)

    def floor_tick(self, price: float) -> float:
        if self.tick == 0.0:
            return price
        return grid(math.floor(price / self.tick + 1e-6), self.tick)

    def ceil_tick(self, price: float) -> float:
        if self.tick == 0.0:
            return price
        return grid(math.ceil(price / self.tick - 1e-6), self.tick)

    def falls_through(self, price: float, limit: float) -> bool:
        """Whether a price passes a buy limit by at least a tick (R4)."""
        if self.tick == 0.0:
            return price < limit
        return price / self.tick <= limit / self.tick - 1.0 + 1e-6

    def rises_through(self, price: float, limit: float) -> bool:
        """Whether a price passes a sell limit by at least a tick (R4)."""
        if self.tick == 0.0:
            return price > limit
        return price / self.tick >= limit / self.tick + 1.0 - 1e-6

    def market_buy_price(self, price: float) -> float:
        return self.ceil_tick(price * (1.0 + self.slippage))

    def market_sell_price(self, price: float) -> float:
        return self.floor_tick(price * (1.0 - self.slippage))

    def walked(self, levels: list[tuple[float, float]], coins: float) -> float:
        """What `coins` cost or bring on average, taken from levels of (price, size) as they come."""
        value, rest = 0.0, coins
        for price, size in levels:
            value += min(rest, size) * price
            rest -= min(rest, size)
            if rest <= 0.0:
                return value / coins
        return (value + rest * levels[-1][0]) / coins

    def lots(self, coins: float) -> float:
        """Whole lots in `coins`; the coins themselves where quantities are continuous."""
        if self.lot == 0.0:
            return coins
        return float(math.floor(coins / self.lot + 1e-6))

    def checked(self, lots: float) -> float:
        """The same lots; raises SimulationError where a float64 no longer counts them one by one."""
        if self.lot > 0.0 and lots > EXACT_LOTS:
            raise SimulationError(
                f"{self.name}: {lots:g} lots of {self.lot:g} are more than float64 can count"
            )
        return lots

    def coins(self, lots: float) -> float:
        return grid(lots, self.lot)


def instrument(instruments: Instruments, column: int) -> Instrument:
    """The facts of one column."""
    return Instrument(
        name=str(instruments.symbols[column]),
        tier=int(instruments.tier[column]),
        tick=float(instruments.tick[column]),
        lot=float(instruments.lot[column]),
        min_notional=float(instruments.min_notional[column]),
        taker_fee=float(instruments.taker_fee[column]),
        maker_fee=float(instruments.maker_fee[column]),
        slippage=float(instruments.slippage[column]),
    )
