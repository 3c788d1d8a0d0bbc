"""What is drawn for one symbol: candles, the levels of strategies and positions, and what was traded."""

from typing import Annotated, Literal

from pydantic import Field

from crypto_tracker.desk.views.base import (
    MaybeFraction,
    MaybeNumber,
    MaybePrice,
    Ms,
    Pair,
    Price,
    Quote,
    StrategyName,
    View,
)
from crypto_tracker.desk.views.trades import Position


class Candles(View):
    """Closed bars, oldest first: columns of one length. Bars that are missing are left out, not invented."""

    symbol: Pair
    timeframe: Annotated[str, Field(examples=["15m"])]
    provider: Annotated[str, Field(examples=["kraken"])]
    time_ms: Annotated[list[int], Field(description="open times")]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[MaybeNumber]
    earlier: Annotated[bool, Field(description="whether there are bars before the first")]
    until_ms: Annotated[Ms, Field(description="what closes later is not shown: the account's own present")]


class Straights(View):
    """Straight lines, oldest first: columns of one length. Bars are taken from their open to their close."""

    start_ms: list[int]
    start_price: list[float]
    end_ms: list[int]
    end_price: list[float]


class LevelLine(View):
    """One level of a strategy, from scan to scan: points of time and price; a break is a null price."""

    name: Annotated[str, Field(examples=["channel upper"])]
    kind: Literal["trigger", "resistance", "support", "channel_upper", "channel_lower", "target", "other"]
    time_ms: list[int]
    price: list[MaybePrice]
    straight: Annotated[
        Straights | None,
        Field(
            description="a channel as it is drawn: a line for each stretch of scans that drew the same, the "
            "newest from where it was fitted on, and a level one where a price goes with the close; null for "
            "a level that stands until the next scan"
        ),
    ] = None


class StrategyLevels(View):
    """The levels of one strategy over the span."""

    strategy: StrategyName
    lines: list[LevelLine]


class Mark(View):
    """One fill on the chart."""

    time_ms: Annotated[Ms, Field(description="open time of its minute")]
    side: Literal["buy", "sell"]
    kind: Annotated[str, Field(examples=["rung"])]
    rung: int
    price: Price
    quote: Quote
    strategy: StrategyName
    trade_group_id: str
    exit_reason: str | None
    pnl_quote: Annotated[float | None, Field(description="of the whole trade, at its last sell")]


class PairLevels(View):
    """Everything that is drawn over the candles of one span."""

    symbol: Pair
    strategies: list[StrategyLevels]
    marks: Annotated[list[Mark], Field(description="fills of the span, oldest first")]
    marks_from_ms: Annotated[
        Ms | None,
        Field(description="fills before it are left out, as they are too many; null where all are there"),
    ] = None
    position: Annotated[Position | None, Field(description="held now: its stop, target, trailing and rungs")]


class PairItem(View):
    """One symbol of the account, for search and lists."""

    symbol: Pair
    tier: str
    group: Annotated[str | None, Field(examples=["core"])]
    provider: Annotated[
        str | None, Field(description="whose bars; null where that was not recorded", examples=["kraken"])
    ]
    price: MaybePrice
    return_1h: MaybeFraction
    return_24h: MaybeFraction
    volume_24h_quote: MaybeNumber
    day: Annotated[
        list[MaybePrice], Field(description="25 hourly closes, from 24 h ago to the newest, for a small line")
    ]
    held: bool
    trades: int
    pnl_quote: Quote
    score: Annotated[MaybeFraction, Field(description="data quality; null where it is not measured")]


class Pairs(View):
    """All symbols of the account, by name."""

    until_ms: Ms
    items: list[PairItem]
