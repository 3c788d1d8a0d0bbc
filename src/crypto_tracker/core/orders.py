"""Orders, fills and trades as the world outside the kernel sees them."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum

from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.symbols import Symbol


class ExitReason(IntEnum):
    """Why a position was closed. The closed set of the rules; the number is what arrays store."""

    NONE = 0  # still open
    TAKE_PROFIT = 1
    STOP_LOSS = 2
    TRAILING_STOP = 3
    TIME_EXIT = 4
    MANUAL = 5
    MARKET_TRANSITION = 6
    DATA_LOST = 7
    END_OF_DATA = 8

    @property
    def code(self) -> str:
        """The name that people and files see, such as `take_profit`."""
        return self.name.lower()

    @property
    def tells_of_setup(self) -> bool:
        """Whether such an end says how good the setup was: not that of a person, nor lost data."""
        return self not in {ExitReason.NONE, ExitReason.MANUAL, ExitReason.DATA_LOST}


class FillKind(IntEnum):
    """What a fill was for."""

    ENTRY = 0
    RUNG = 1
    EXIT = 2

    @property
    def code(self) -> str:
        """The name that people and files see."""
        return self.name.lower()


class OrderStatus(IntEnum):
    """How a buy stands. The number is what arrays store."""

    OPEN = 0
    PARTIALLY_FILLED = 1
    FILLED = 2
    CANCELLED = 3
    EXPIRED = 4

    @property
    def code(self) -> str:
        """The name that people and files see, such as `partially_filled`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One buy of an admitted setup as it stands; a ladder is the orders of one trade group."""

    order_id: str  # trade_group_id/0 the market entry, /1 .. the rungs
    trade_group_id: str
    symbol: Symbol
    strategy: str
    kind: str  # market or rung
    rung: int  # 0 the market entry
    quote: Decimal  # the amount that it buys for
    limit_price: Decimal | None  # of a rung, once the first fill has set it
    status: str  # code of an OrderStatus
    placed_ms: int  # the close at which it was admitted
    ended_ms: int | None  # close of the bar in which it was filled or ended
    reason: Reason | None  # why it ended without being filled whole; None where an exit ended it


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How an open trade stands: what is held, and what would end it."""

    open_quantity: Decimal  # still held
    mark_price: float  # last close
    stop_price: float  # active: the trailing level where it is armed and higher
    target_price: float
    trailing_armed: bool
    due_ms: int  # time exit
    exit_pending: ExitReason | None  # asked for or under way


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution of an order, whole or in part."""

    trade_group_id: str
    symbol: Symbol
    strategy: str
    kind: FillKind
    rung: int  # 0 for the market entry and for exits
    bar_open_time: datetime  # the bar it happened in
    price: Decimal
    quantity: Decimal
    notional_quote: Decimal
    fee_quote: Decimal
    slippage_quote: Decimal  # what worsening the price cost, already inside `notional_quote`
    exit_reason: ExitReason
    volume_unknown: bool  # the participation cap could not be applied


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A closed position (or, in the list of open ones, one that is not closed yet)."""

    trade_group_id: str
    symbol: Symbol
    strategy: str
    decision_time: datetime
    entry_time: datetime
    exit_time: datetime | None
    entry_price: Decimal  # quantity-weighted, before fees
    exit_price: Decimal | None
    quantity: Decimal
    invested_quote: Decimal
    fee_quote: Decimal
    slippage_quote: Decimal
    pnl_quote: Decimal  # net of fees and slippage
    return_net: float  # pnl over what was invested
    exit_reason: ExitReason
    entry_fills: int
    ambiguous: bool
    fallback: bool  # taken although the market favoured another strategy
