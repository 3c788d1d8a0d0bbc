"""How near every symbol is to a setup of every strategy, and what each strategy may do."""

from typing import Annotated, Any, Literal

from pydantic import Field

from crypto_tracker.desk.views.base import (
    AccountId,
    MaybeFraction,
    MaybeNumber,
    MaybePrice,
    Ms,
    Pair,
    Quote,
    Readiness,
    Sentence,
    StrategyName,
    View,
)
from crypto_tracker.desk.views.decisions import Band


class ReadinessRow(View):
    """One symbol in the last scan of one strategy."""

    symbol: Pair
    tier: str
    readiness: Readiness
    band: Band
    confidence: MaybeNumber
    reason: str
    lacks: Annotated[str, Field(description="in one or two words", examples=["drop"])]
    sentence: Annotated[Sentence, Field(examples=["fell only 1.2 % in 4 h"])]
    trigger: Annotated[
        str | None, Field(description="what would make it a setup", examples=["a close at or below 118,995"])
    ]
    trigger_price: MaybePrice
    price: MaybePrice
    return_24h: MaybeFraction
    state: Annotated[
        Literal["free", "held", "pending", "blocked", "cooldown", "doubtful"],
        Field(description="what the portfolio has with it already"),
    ]
    measurements: dict[str, MaybeNumber]


class StrategyReadiness(View):
    """The last scan of one strategy over all symbols, the nearest first."""

    strategy: StrategyName
    timeframe: str
    scanned_ms: Annotated[Ms | None, Field(description="the close of the last scan; null before the first")]
    next_ms: Annotated[Ms | None, Field(description="the close of the next one; null of a recorded run")]
    ready: int
    close: int
    neutral: int
    waiting: int
    rows: list[ReadinessRow]


class ReadinessBoard(View):
    """All strategies of the account."""

    account: AccountId
    until_ms: Ms
    items: list[StrategyReadiness]
    note: Annotated[str | None, Field(description="why there is none; a run may have kept no scans")] = None


class ExitRow(View):
    """The exits of one tier, as fractions of the average entry."""

    tier: str
    take_profit: float
    stop_loss: float
    trailing: float


class StrategyInfo(View):
    """One strategy: what it does, under which numbers, and whether it may."""

    name: StrategyName
    description: Annotated[str, Field(description="its rule in a sentence")]
    timeframe: str
    on: bool
    off_by: Annotated[
        list[str],
        Field(description="who switched it off; of a run, what its configuration did", examples=[["person"]]),
    ]
    losing_streak: int
    losing_streak_limit: int
    rests_until_ms: Ms | None
    open_positions: int
    max_open: int
    used_quote: Quote
    share_quote: Quote
    max_hold_hours: MaybeNumber
    exits: list[ExitRow]
    thresholds: Annotated[
        dict[str, Any], Field(description="its parameters by name", examples=[{"drop": 0.025}])
    ]
    docs: Annotated[str | None, Field(description="where its formulas stand")]


class Strategies(View):
    """In the order that decides ties."""

    items: list[StrategyInfo]
