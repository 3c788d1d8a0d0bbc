"""The slice for market data: which provider trades, how bars are fetched, kept and doubted."""

from typing import Annotated

from pydantic import Field, field_validator

from crypto_tracker.config.fields import NoTrade
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.timeframes import Timeframe

_FETCHING = NoTrade("how bars are fetched and kept does not change what is traded on them")


class TimeframePlan(Frozen):
    """How the bars of one timeframe are fetched and how long they stay in the hot store."""

    backfill_days: Annotated[int, Field(ge=1)]
    update_minutes: Annotated[float, Field(gt=0.0)]
    overlap_bars: Annotated[int, Field(ge=0)]
    hot_days: Annotated[int, Field(ge=0)]  # 0 keeps them hot for ever


class FileRules(Frozen):
    """How bars in files are read as evidence, and when they become files of ours."""

    outage_minutes: Annotated[int, Field(ge=0)]
    outage_bars: Annotated[int, Field(ge=0)]
    cold_rows_min: Annotated[int, Field(ge=1), NoTrade("which tier holds a bar changes nothing of it")]


class BookRules(Frozen):
    """What is kept of recorded order books."""

    levels: Annotated[int, Field(ge=1)]  # of each side
    every_ms: Annotated[int, Field(ge=1)]  # the last book of each such stretch of time


class MarketData(Frozen):
    """Where bars come from and what makes them doubtful."""

    provider: str  # whose bars are traded; "" where there is one provider of a symbol
    suspect_move: Annotated[float, Field(gt=0.0)]
    suspect_confirm_bars: Annotated[int, Field(ge=1)]
    files: FileRules
    books: Annotated[BookRules, NoTrade("fills walk what is recorded, however much of it that is")]
    timeframes: Annotated[dict[str, TimeframePlan], _FETCHING]

    @field_validator("timeframes")
    @classmethod
    def _are_named_by_timeframes(cls, plans: dict[str, TimeframePlan]) -> dict[str, TimeframePlan]:
        for name in plans:
            try:
                Timeframe.parse(name)
            except UsageError as error:
                raise ValueError(str(error)) from None
        return plans
