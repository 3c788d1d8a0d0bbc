"""The state of the market as the account sees it, and everything that keeps it from buying."""

from typing import Annotated

from pydantic import Field

from crypto_tracker.desk.views.accounts import Entries
from crypto_tracker.desk.views.base import (
    Fraction,
    MaybeFraction,
    MaybePrice,
    Ms,
    Pair,
    Quote,
    Sentence,
    StrategyName,
    View,
)


class Threshold(View):
    """One rule of the fast regime beside what it looks at now."""

    regime: Annotated[str, Field(examples=["PANIC"])]
    hours: int
    limit: Fraction
    now: MaybeFraction
    met: bool


class VolatilitySwitch(View):
    """At which volatility a strategy is switched off, and on again."""

    strategy: StrategyName
    off_at: Fraction
    on_below: Fraction
    on: bool


class Market(View):
    """The market at the last close; what is not known is null, and `notes` say why."""

    time_ms: Ms
    reference: Pair | None
    reference_price: MaybePrice
    returns: Annotated[
        dict[str, MaybeFraction],
        Field(description="of the reference by span", examples=[{"1h": -0.004, "24h": 0.018}]),
    ]
    regime: Annotated[str, Field(examples=["NORMAL"])]
    forced: bool
    size_factor: Annotated[float, Field(description="of this regime", examples=[0.5])]
    volatility: MaybeFraction
    condition: Annotated[str | None, Field(examples=["SIDEWAYS"])]
    favoured: StrategyName | None
    slow_regime: Annotated[str | None, Field(examples=["BULL"])]
    rising: int | None
    breadth_symbols: int | None
    thresholds: list[Threshold]
    switches: list[VolatilitySwitch]
    notes: list[Sentence]


class StrategyLock(View):
    """A strategy that opens nothing, or may soon."""

    strategy: StrategyName
    off_by: list[str]
    losing_streak: int
    rests_until_ms: Ms | None
    open_positions: int
    used_quote: Quote
    share_quote: Quote


class SymbolLock(View):
    """A symbol of which something is to be told."""

    symbol: Pair
    stops: Annotated[int, Field(description="in a row")]
    cooldown_until_ms: Ms | None
    left_ms: int | None
    blocked: bool
    score: MaybeFraction
    why: str | None


class HaltItem(View):
    """A critical error."""

    time_ms: Ms
    cause: str
    sentence: Sentence
    strategy: StrategyName | None


class Locks(View):
    """Everything that keeps the account from opening positions."""

    until_ms: Ms
    entries: Entries
    strategies: list[StrategyLock]
    symbols: list[SymbolLock]
    halts: list[HaltItem]
    losing_streak_limit: int
    cooldown_stops_limit: int
