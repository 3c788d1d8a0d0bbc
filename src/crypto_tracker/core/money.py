"""Exact money: an integer number of 1e-8 quote inside, Decimal at the boundary."""

from collections.abc import Iterable
from decimal import Decimal

QUOTE_SCALE = 100_000_000


def to_decimal(amount_e8: int) -> Decimal:
    """The exact decimal of an integer number of 1e-8 quote.

    >>> to_decimal(150_000_000)
    Decimal('1.50000000')
    """
    return Decimal(int(amount_e8)).scaleb(-8)


def to_e8(amount: Decimal) -> int:
    """The integer number of 1e-8 quote of a decimal; raises ValueError when it is finer than 1e-8."""
    scaled = amount.scaleb(8)
    whole = int(scaled)
    if scaled != whole:
        raise ValueError(f"amount {amount} is finer than 1e-8 quote")
    return whole


def decimal_of(value: float) -> Decimal:
    """The shortest decimal that reads back as exactly this float (prices, quantities)."""
    return Decimal(repr(float(value)))


def added(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum of decimals, 0 of none."""
    return sum(amounts, Decimal(0))
