"""The slices for the universe: coins in groups, their tiers, and what is known of single instruments."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from crypto_tracker.core.decisions import Tier
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.symbols import Symbol

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
TierName = Literal["large_cap", "mid_cap", "small_cap", "memecoin"]


class Universe(Frozen):
    """Which symbols take part, and in which tier each coin is.

    A coin has the tier of its own name, else of its group, else `tier_otherwise`.
    """

    by_day: bool  # whether a backtest obeys the universes that were recorded day by day
    symbols: tuple[str, ...]  # where empty: every coin of the groups against `trading.quote`
    groups: dict[str, tuple[str, ...]]
    tier_of_coin: dict[str, TierName]
    tier_of_group: dict[str, TierName]
    tier_otherwise: TierName

    @field_validator("symbols")
    @classmethod
    def _are_symbols(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for name in symbols:
            check_symbol(name)
        return symbols

    @model_validator(mode="after")
    def _is_consistent(self) -> "Universe":
        for name in self.tier_of_group:
            if name not in self.groups:
                raise ValueError(f"tier_of_group names the group {name}, which is not among the groups")
        seen: dict[str, str] = {}
        for group, coins in self.groups.items():
            for coin in coins:
                if coin in seen:
                    raise ValueError(
                        f"the coin {coin} is in the groups {seen[coin]} and {group}: keep it in one"
                    )
                seen[coin] = group
        return self

    def members(self, quote: str) -> tuple[Symbol, ...]:
        """The symbols that take part, in the order of the configuration."""
        if self.symbols:
            return tuple(Symbol.parse(text) for text in self.symbols)
        return tuple(Symbol(coin, quote) for coins in self.groups.values() for coin in coins)

    def group(self, coin: str) -> str | None:
        """The group of a coin, None where it is in none."""
        return next((group for group, coins in self.groups.items() if coin in coins), None)

    def tier(self, symbol: Symbol) -> Tier:
        """The tier of a symbol, by its base coin.

        A contract on a thousand coins (`1000PEPE`, `kPEPE`) has the tier of the coin, where that is known.
        """
        for coin in _spellings(symbol.base):
            if coin in self.tier_of_coin:
                return Tier[self.tier_of_coin[coin].upper()]
            group = self.group(coin)
            if group is not None and group in self.tier_of_group:
                return Tier[self.tier_of_group[group].upper()]
        return Tier[self.tier_otherwise.upper()]


class Selector(Frozen):
    """How `select-pairs` chooses the pairs of an exchange; volatility is that of daily returns."""

    count_max: Annotated[int, Field(ge=1)]
    benchmark: str
    days: Annotated[int, Field(ge=5)]
    volume_min_quote: Annotated[float, Field(ge=0.0)]  # traded in 24 h
    volume_max_quote: Annotated[float, Field(ge=0.0)]  # 0: no limit
    volatility_min: Annotated[float, Field(ge=0.0)]
    volatility_max: Annotated[float, Field(gt=0.0)]
    correlation_max: Annotated[float, Field(ge=-1.0, le=1.0)]
    listed_days_min: Annotated[int, Field(ge=0)]
    volume_weight: Annotated[float, Field(ge=0.0)]
    volatility_weight: Annotated[float, Field(ge=0.0)]
    correlation_weight: Annotated[float, Field(ge=0.0)]
    risk_low_volatility: Annotated[float, Field(ge=0.0)]
    risk_high_volatility: Annotated[float, Field(ge=0.0)]
    risk_low_volume_quote: Annotated[float, Field(ge=0.0)]

    @model_validator(mode="after")
    def _is_consistent(self) -> "Selector":
        if self.volatility_max <= self.volatility_min:
            raise ValueError("volatility_max is not above volatility_min: leave room between them")
        if self.risk_high_volatility < self.risk_low_volatility:
            raise ValueError(
                "risk_high_volatility is below risk_low_volatility: no pair could be of medium risk"
            )
        if self.volume_weight + self.volatility_weight + self.correlation_weight <= 0.0:
            raise ValueError("all weights are 0: give at least one of them")
        return self


class InstrumentOverride(Frozen):
    """What is known of one instrument; what is not given here follows tier and defaults."""

    tier: TierName | None = None
    tick: Annotated[float, Field(ge=0.0)] | None = None
    lot: Annotated[float, Field(ge=0.0)] | None = None
    min_notional: Annotated[float, Field(ge=0.0)] | None = None
    taker_fee: Fraction | None = None
    maker_fee: Fraction | None = None
    slippage: Fraction | None = None


def check_symbol(text: str) -> None:
    """Raise ValueError, for pydantic to place, where `text` is no symbol."""
    try:
        Symbol.parse(text)
    except UsageError as error:
        raise ValueError(str(error)) from None


def _spellings(base: str) -> Iterable[str]:
    """The base, and the coin that it counts in thousands."""
    yield base
    if base.startswith("1000"):
        yield base[4:]
    elif base.startswith("k") and base[1:].isupper():
        yield base[1:]
