"""What the view shows: one moment of the demonstration, as plain frozen facts."""

from dataclasses import dataclass
from enum import Enum

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.decisions import Condition, Regime


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketFacts:
    """The state of the whole market; NaN where a number is not known yet."""

    regime: Regime
    condition: Condition
    favoured: str  # the strategy that the market favours, empty for none
    volatility: float  # 24 h range of the reference coin
    reference: str
    reference_price: float
    reference_change: float  # over 24 h
    rising: int  # symbols above their price of 24 h ago
    symbols: int


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFacts:
    """One decision, or a change of the whole market (then without coin and strategy)."""

    time_ms: int
    kind: Kind
    coin: str  # or how many coins were decided alike
    strategy: str
    words: str


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
    switched_on: bool
    nearest: tuple[ReadinessFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """One moment of the demonstration.

    Attributes
    ----------
    time_ms : the simulated clock
    progress : how much of the run is over, 0 to 1
    speed : simulated seconds in each real second, NaN before that is known
    equity_curve : marked equity at evenly spaced moments of the whole run, NaN for those to come
    positions : newest first
    decisions, trades : newest first, as many as a view might show
    """

    seed: int
    time_ms: int
    start_ms: int
    end_ms: int
    progress: float
    speed: float
    equity_start: float
    equity: float
    cash: float
    reserved: float
    drawdown: float  # from the highest equity so far, a positive fraction
    equity_curve: FloatArray
    market: MarketFacts
    positions: tuple[PositionFacts, ...]
    strategies: tuple[StrategyFacts, ...]
    decisions: tuple[DecisionFacts, ...]
    trades: tuple[TradeFacts, ...]
    n_trades: int
    n_wins: int
    fees_quote: float
    slippage_quote: float
