"""What was decided, and why: setups and near misses, every scan, and one scan explained gate by gate."""

from typing import Annotated, Literal

from pydantic import Field

from crypto_tracker.desk.views.base import (
    Listed,
    MaybeNumber,
    Ms,
    Number,
    Pair,
    Readiness,
    Sentence,
    StrategyName,
    Version,
    View,
)
from crypto_tracker.desk.views.trades import Fill, Order, Position, Trade

LogKind = Literal["buy", "skip", "near", "market", "told", "halt", "close"]
Verdict = Literal["TAKE", "SKIP", "NEAR_MISS"]
Band = Annotated[
    Literal["ready", "close", "neutral", "waiting"],
    Field(description="readiness of 80 and more, 60 and more, 30 and more, less"),
]


class OrderEnding(View):
    """What became of a setup that was given an order."""

    trade_group_id: str
    status: str
    reason: Annotated[str | None, Field(description="why it ended without a fill")]
    trade: Annotated[Trade | None, Field(description="the closed trade")]


class Decision(View):
    """One scan and what came of it."""

    time_ms: Annotated[Ms, Field(description="the close at which was decided")]
    symbol: Pair
    strategy: StrategyName
    verdict: Verdict
    reason: Annotated[str, Field(examples=["share_used"])]
    sentence: Annotated[Sentence, Field(description="what stopped it, or what came of it")]
    readiness: Readiness
    confidence: MaybeNumber
    rank: int | None
    fallback: bool
    measured: MaybeNumber
    limit: MaybeNumber
    configuration_version: Version
    order: OrderEnding | None


class DecisionPage(Listed[Decision]):
    """Setups and near misses, newest first."""


class ReasonCount(View):
    """How often the portfolio, or a strategy, answered so."""

    verdict: Verdict
    reason: str
    words: Annotated[str, Field(examples=["the strategy's share is used"])]
    count: int


class ReasonCounts(View):
    """Setups and near misses by verdict and reason, the most frequent first."""

    items: list[ReasonCount]


class Scans(View):
    """The scans of one strategy and symbol, oldest first: columns of one length."""

    symbol: Pair
    strategy: StrategyName
    timeframe: str
    time_ms: list[int]
    setup: Annotated[
        list[bool],
        Field(description="whether every gate was passed; the verdict of a setup is the portfolio's answer"),
    ]
    verdict: list[Verdict]
    reason: list[str]
    lacks: Annotated[
        list[str | None],
        Field(description="what it lacked of a setup, in one or two words; null of one", examples=[["drop"]]),
    ]
    sentence: list[str]
    readiness: list[Readiness]
    confidence: list[MaybeNumber]
    measurements: dict[str, list[MaybeNumber]]
    note: Annotated[str | None, Field(description="why there are none")] = None


class GateResult(View):
    """One test of a strategy's rule."""

    gate: str
    passed: bool
    measured: MaybeNumber
    required: MaybeNumber
    sentence: Sentence


class PortfolioAnswer(View):
    """What the portfolio did with a setup."""

    verdict: Verdict
    reason: str
    sentence: Sentence
    rank: int | None
    source: Annotated[str, Field(examples=["account paper"])]


class ScanExplained(View):
    """One strategy's last scan at or before the moment: every gate in the order of its test."""

    strategy: StrategyName
    timeframe: str
    time_ms: Ms
    verdict: Verdict
    reason: str
    lacks: Annotated[
        str | None,
        Field(description="what it lacked of a setup, in one or two words; null of one", examples=["drop"]),
    ]
    readiness: Readiness
    confidence: MaybeNumber
    gates: list[GateResult]
    measurements: dict[str, MaybeNumber]
    portfolio: PortfolioAnswer | None


class Explained(View):
    """Why a symbol was bought, or not, at one moment."""

    symbol: Pair
    at_ms: Ms
    strategies: list[ScanExplained]
    note: Annotated[str | None, Field(description="why nothing can be explained")] = None


class TradeDetail(View):
    """One trade with everything that led to it: its decision, its buys, its executions."""

    trade: Trade
    position: Annotated[Position | None, Field(description="null once it is closed")]
    orders: list[Order]
    fills: list[Fill]
    decision: Decision | None
    note: Annotated[str | None, Field(description="what was not recorded")] = None


class LogLine(View):
    """Something that happened, in words."""

    time_ms: Ms
    kind: LogKind
    symbol: Annotated[Pair | None, Field(description="null where several, or all, are meant")]
    who: Annotated[str, Field(description="the coin, or how many", examples=["ETH", "4 coins", ""])]
    strategy: StrategyName | None
    words: Annotated[str, Field(examples=["fell 3.1 % in 4 h, volume 1.6x, conf 0.71"])]


class Log(Listed[LogLine]):
    """The newest lines first; what repeats within a page is told once."""


class Measured(View):
    """One number that a strategy looked at."""

    name: str
    value: Number
