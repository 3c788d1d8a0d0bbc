"""The numbers of the simulator's rules R1 to R15. Defaults stand in `config/defaults.toml`."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from crypto_tracker.core.model import Frozen, Hours
from crypto_tracker.core.tiers import ByTier
from crypto_tracker.portfolio.parameters import Limits, Protection, Sizing

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Intrabar(StrEnum):
    """R13: which extreme of a bar comes first."""

    PESSIMISTIC = "pessimistic"
    ADAPTIVE = "adaptive"
    OPTIMISTIC = "optimistic"


class FillSource(StrEnum):
    """Where the prices of market fills come from."""

    TABLE = "table"
    BOOK = "book"


class Costs(Frozen):
    """R12: fees and slippage as fractions of the notional, where an instrument does not say otherwise."""

    taker_fee: Fraction
    maker_fee: Fraction
    slippage: ByTier


class InstrumentDefaults(Frozen):
    """Price and quantity grids where the exchange's are not known."""

    tick: Annotated[float, Field(ge=0.0)]
    lot: Annotated[float, Field(ge=0.0)]
    min_notional: Annotated[float, Field(ge=0.0)]


class FillRules(Frozen):
    """How orders meet bars."""

    source: FillSource  # section 10
    # Shorter than the shortest bar, so that no two opens can take from one book.
    book_max_age_seconds: Annotated[float, Field(ge=0.0, lt=60.0)]
    intrabar: Intrabar
    entry_participation: Annotated[float, Field(gt=0.0, le=1.0)]  # R8, of the bar's volume
    exit_participation: Annotated[float, Field(gt=0.0, le=1.0)]
    entry_bars: Annotated[int, Field(ge=1)]  # R8, bars until the rest of an entry is cancelled
    data_lost_hours: Hours  # R9
    trailing_range_days: Annotated[int, Field(ge=1)]  # R7
    ambiguous_warning: Fraction  # R13


class Rules(Frozen):
    """Everything the simulator needs to know besides bars, setups and commands."""

    capital_quote: Annotated[float, Field(gt=0.0)]
    timezone: str  # of the trading day
    limits: Limits
    sizing: Sizing
    protection: Protection
    fills: FillRules
