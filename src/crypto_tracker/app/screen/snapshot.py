"""What the view shows: one moment of a portfolio that is traded, as plain frozen facts."""

import math
from dataclasses import dataclass
from enum import Enum

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.decisions import Condition, Regime
from crypto_tracker.core.symbols import Symbol


class Tone(Enum):
    """How a notice is meant."""

    GOOD = "good"
    NOTE = "note"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that a person should see at once: a word or two, and what they mean."""

    tone: Tone
    title: str
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """The first line: whose picture this is."""

    program: str
    badge: Notice
    note: str
    hint: str  # how it ends


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketFacts:
    """The state of the whole market; NaN, or None, where something is not known."""

    regime: Regime
    forced: bool = False  # by a person
    condition: Condition | None
    favoured: str  # the strategy that the market favours, empty for none
    volatility: float  # 24 h range of the reference coin
    reference: str
    reference_price: float
    reference_change: float  # over 24 h
    rising: int | None  # symbols above their price of 24 h ago
    symbols: int  # and how many there are to compare


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionFacts:
    """One open position; prices in quote currency."""

    coin: str
    strategy: str
    fills: int  # entry fills so far
    levels: int  # and how many there can be
    entry_price: float
    price: float
    stop_price: float
    target_price: float
    pnl_quote: float  # unrealised, after the fees paid so far
    return_net: float
    age_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFacts:
    """One closed trade."""

    time_ms: int
    coin: str
    strategy: str
    exit_reason: str
    pnl_quote: float
    return_net: float
    age_ms: int


class Kind(Enum):
    """What a line of the decision log is about."""

    TAKEN = "BUY"
    REFUSED = "SKIP"
    NEAR_MISS = "NEAR"
    MARKET = "ALL"
    PERSON = "TOLD"
    HALT = "HALT"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFacts:
    """One decision, or something about the whole account (then without coin and strategy)."""

    time_ms: int
    kind: Kind
    coin: str  # or how many coins were decided alike
    strategy: str
    words: str
    symbol: Symbol | None = None  # where one is meant


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessFacts:
    """How near one symbol is to a setup of one strategy."""

    coin: str
    readiness: float  # 0 to 100
    words: str  # what it waits for


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyFacts:
    """One strategy at this moment, with its nearest symbols first."""

    name: str
    off: str = ""  # why it opens nothing, empty where it may
    scanned_ms: int | None = None  # the close of its last scan, where that is to be told
    nearest: tuple[ReadinessFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """One moment. Numbers that are not known are NaN or None, and drawn as a dash.

    Attributes
    ----------
    notices : what is out of the ordinary, the most serious first
    time_ms : the market's clock: the close of the last minute that counts here
    end_ms : where the run ends, None where it has no end
    lag_ms : how far `time_ms` is behind the present, None where that means nothing
    speed : seconds of the market in each real second, NaN where that is not known
    equity_curve : marked equity at evenly spaced moments, NaN for those that have not come
    curve_base : the equity to which the curve is compared
    curve_words : over which time it goes, empty for all of it
    positions : newest first
    decisions, trades : newest first, as many as a view might show
    """

    heading: Heading
    notices: tuple[Notice, ...] = ()
    quote: str
    time_ms: int
    start_ms: int
    end_ms: int | None
    lag_ms: int | None = None
    speed: float
    equity_start: float
    equity: float
    cash: float
    reserved: float
    drawdown: float  # from the highest equity so far, a positive fraction
    equity_curve: FloatArray
    curve_base: float
    curve_words: str = ""
    market: MarketFacts
    positions: tuple[PositionFacts, ...]
    strategies: tuple[StrategyFacts, ...]
    decisions: tuple[DecisionFacts, ...]
    trades: tuple[TradeFacts, ...]
    n_trades: int
    n_wins: int | None
    fees_quote: float
    slippage_quote: float

    @property
    def progress(self) -> float:
        """How much of the run is over, 0 to 1; NaN where it has no end."""
        if self.end_ms is None:
            return math.nan
        return (self.time_ms - self.start_ms) / (self.end_ms - self.start_ms)
