"""Closed trades, open positions with their ladders, and what they add up to."""

from typing import Annotated, Literal

from pydantic import Field

from crypto_tracker.desk.views.base import (
    Fraction,
    Listed,
    MaybeFraction,
    MaybeNumber,
    MaybePrice,
    Ms,
    Pair,
    Price,
    Quantity,
    Quote,
    StrategyName,
    Timezone,
    Version,
    View,
)


class Trade(View):
    """A position, closed or open. Figures of an open one are marked at the last close."""

    trade_group_id: Annotated[str, Field(examples=["ETH/USDT-DCA-20250822T120000Z"])]
    symbol: Pair
    strategy: StrategyName
    tier: Annotated[str, Field(examples=["mid_cap"])]
    decision_ms: Ms
    entry_ms: Ms
    exit_ms: Ms | None
    held_ms: int
    entry_price: Annotated[Price, Field(description="quantity-weighted, before fees")]
    exit_price: MaybePrice
    quantity: Quantity
    invested_quote: Annotated[Quote, Field(description="the size of the position")]
    pnl_quote: Annotated[Quote, Field(description="after fees")]
    return_net: Annotated[Fraction, Field(description="of the size of the position, after fees")]
    fee_quote: Quote
    slippage_quote: Annotated[Quote, Field(description="it is in the prices")]
    exit_reason: Annotated[str | None, Field(examples=["take_profit"])]
    entry_fills: int
    ambiguous: Annotated[bool, Field(description="another exit lay in the same bar")]
    fallback: Annotated[bool, Field(description="taken though the market favoured another strategy")]
    configuration_version: Version | None


class Sums(View):
    """Closed trades added up. `judged` are those with a result: `data_lost` has none."""

    trades: int
    judged: int
    wins: int
    losses: int
    win_rate: MaybeFraction
    pnl_quote: Quote
    invested_quote: Quote
    return_on_invested: Annotated[MaybeFraction, Field(description="sum of P&L / sum of position sizes")]
    gross_profit_quote: Quote
    gross_loss_quote: Annotated[Quote, Field(description="0 or negative")]
    profit_factor: MaybeNumber
    fee_quote: Quote
    slippage_quote: Quote
    best_quote: Quote | None
    worst_quote: Quote | None
    mean_held_ms: int | None


class TradePage(Listed[Trade]):
    """One page of closed trades, and the sums of all under the same filter."""

    sums: Sums


class Order(View):
    """One buy: the market entry (rung 0) or a rung of the ladder."""

    order_id: str
    kind: Literal["market", "rung"]
    rung: int
    quote: Annotated[Quote, Field(description="the amount that it buys for")]
    limit_price: MaybePrice
    status: Literal["open", "partially_filled", "filled", "cancelled", "expired"]
    placed_ms: Ms
    ended_ms: Ms | None
    reason: str | None


class Fill(View):
    """One execution."""

    kind: Annotated[str, Field(examples=["entry_market"])]
    rung: int
    bar_open_ms: Ms
    price: Price
    quantity: Quantity
    notional_quote: Quote
    fee_quote: Quote
    slippage_quote: Quote
    exit_reason: str | None
    volume_unknown: bool


class Position(View):
    """What is held now, its exits, and its ladder; of a recorded run at its end.

    Runs of older versions kept no exits, and of the ladder only what was filled: what is not known is null.
    """

    trade: Trade
    open_quantity: Quantity
    mark_price: Price
    value_quote: Annotated[Quote, Field(description="at the mark")]
    stop_price: Annotated[MaybePrice, Field(description="active: the trailing level where that is higher")]
    target_price: MaybePrice
    trailing_armed: bool | None
    to_stop: Annotated[MaybeFraction, Field(description="from the mark; negative")]
    to_target: Annotated[MaybeFraction, Field(description="from the mark")]
    progress: Annotated[MaybeFraction, Field(description="of the way from stop (0) to target (1)")]
    due_ms: Annotated[Ms | None, Field(description="the time exit")]
    left_ms: int | None
    exit_pending: str | None
    orders: Annotated[list[Order], Field(description="the market entry, then its rungs")]


class Positions(View):
    """All that is held, newest first."""

    items: list[Position]
    invested_quote: Quote
    value_quote: Quote
    unrealised_quote: Quote
    unrealised_fraction: MaybeFraction
    note: Annotated[str | None, Field(description="what was not recorded of them")] = None


class Group(View):
    """The trades of one symbol, strategy, tier or exit reason."""

    key: Annotated[str, Field(examples=["DCA"])]
    sums: Sums


class Performance(View):
    """Sums by one property, the best P&L first."""

    by: Literal["symbol", "strategy", "tier", "exit_reason"]
    items: list[Group]


class Period(View):
    """The trades that closed in one day, week or month of the trading time zone, [start_ms, end_ms)."""

    start_ms: Ms
    end_ms: Ms
    label: Annotated[str, Field(examples=["2025-08-22"])]
    sums: Sums


class Periods(View):
    """Performance by window, newest first; windows without a trade are left out."""

    by: Literal["day", "week", "month"]
    timezone: Timezone
    items: list[Period]
