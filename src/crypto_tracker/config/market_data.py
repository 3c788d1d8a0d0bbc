"""The slice for market data: which provider trades, how bars are fetched, kept and doubted."""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

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


def _name(text: str) -> str:
    """A provider as its bars are stored; Polygon.io is Massive by now."""
    name = text.strip().lower()
    return "massive" if name == "polygon" else name


ProviderName = Annotated[str, AfterValidator(_name)]


class Collector(Frozen):
    """How the service that keeps bars up to date behaves; seconds, unless the name says otherwise."""

    providers: tuple[ProviderName, ...]  # whose bars are collected
    backfill: (
        bool  # whether it also fetches the years of `timeframes.backfill_days`, besides what is needed now
    )
    settle_seconds: Annotated[float, Field(gt=0.0)]  # after a minute's close, before its bar counts as whole
    quiet_seconds: Annotated[float, Field(gt=0.0)]  # after it, before a missing bar means that nobody traded
    skew_seconds: Annotated[
        float, Field(ge=0.0)
    ]  # a bar that comes this much before its close is kept until then
    buffer_bars: Annotated[int, Field(ge=100)]  # in memory at most
    lease_seconds: Annotated[float, Field(gt=0.0)]  # a holder that is silent for longer has lost the stream
    silence_seconds: Annotated[float, Field(gt=0.0)]  # a stream that says nothing for longer is dead
    stable_seconds: Annotated[float, Field(gt=0.0)]  # a connection that lives for longer was a good one
    backoff_seconds: Annotated[float, Field(gt=0.0)]  # before the first new attempt; doubles each time
    backoff_max_seconds: Annotated[float, Field(gt=0.0)]
    cool_down_seconds: Annotated[float, Field(gt=0.0)]  # after the account is said to be connected elsewhere
    parallel: Annotated[int, Field(ge=1)]  # requests at a time

    @model_validator(mode="after")
    def _is_consistent(self) -> "Collector":
        if self.backoff_max_seconds < self.backoff_seconds:
            raise ValueError("backoff_max_seconds is below backoff_seconds: make it at least as long")
        if self.quiet_seconds < self.settle_seconds:
            raise ValueError("quiet_seconds is below settle_seconds: make it at least as long")
        if len(set(self.providers)) != len(self.providers):
            raise ValueError("providers names one twice: name each once")
        return self


class Fetching(Frozen):
    """How requests that fail are repeated, and when a provider is left alone for a while."""

    timeout_seconds: Annotated[float, Field(gt=0.0)]  # of one request without an answer
    attempts: Annotated[int, Field(ge=1)]  # in all
    wait_seconds: Annotated[float, Field(gt=0.0)]  # before the second attempt; doubles each time, with jitter
    wait_max_seconds: Annotated[float, Field(gt=0.0)]
    breaker_failures: Annotated[int, Field(ge=1)]  # requests in a row that failed for good open the breaker
    breaker_seconds: Annotated[float, Field(gt=0.0)]  # it stays open


class Massive(Frozen):
    """Massive, formerly Polygon.io; the key comes from MASSIVE_API_KEY or POLYGON_API_KEY."""

    rest_url: str
    stream_url: str
    files_url: str
    plan: Literal["paid", "free"]
    requests_per_second: Annotated[float, Field(gt=0.0)]  # of a paid plan
    free_requests_per_minute: Annotated[float, Field(gt=0.0)]
    free_days: Annotated[int, Field(ge=1)]  # of history that a free plan gives


class Exchange(Frozen):
    """What is special about one exchange that is reached through ccxt."""

    requests_per_second: Annotated[float, Field(ge=0.0)] = 0.0  # 0: as ccxt knows it
    trades_hours: Annotated[float, Field(ge=0.0)] = (
        0.0  # minutes older than its bars reach are made of trades
    )
    settings: str = "{}"  # handed to ccxt when the exchange is made: a JSON object

    @field_validator("settings")
    @classmethod
    def _is_an_object(cls, text: str) -> str:
        try:
            value: Any = json.loads(text)
        except ValueError as error:
            raise ValueError(f"expected a JSON object, and this is none ({error})") from None
        if not isinstance(value, dict):
            raise ValueError("expected a JSON object")  # noqa: TRY004 - pydantic places ValueError
        return text


class Quality(Frozen):
    """How far the bars of a symbol can be trusted, and below which score it opens nothing."""

    score_min: Annotated[float, Field(ge=0.0, le=1.0)]
    window_days: Annotated[int, Field(ge=1)]
    valid_minutes: Annotated[float, Field(gt=0.0)]  # a score says nothing of minutes further away than this
    fresh_minutes: Annotated[float, Field(gt=0.0)]  # newest bar this old: full freshness ...
    stale_minutes: Annotated[float, Field(gt=0.0)]  # ... falling to none at this age
    quarantined_share: Annotated[float, Field(gt=0.0)]  # of bars; so many take all soundness
    disagreement: Annotated[float, Field(gt=0.0)]  # closes that lie further apart than this fraction disagree
    disagreement_share: Annotated[float, Field(gt=0.0)]  # of minutes; so many take all agreement


class MarketData(Frozen):
    """Where bars come from and what makes them doubtful."""

    provider: ProviderName  # whose bars are traded; "" where there is one provider of a symbol
    history: ProviderName  # whose bars stand in where the provider has none; "": nobody's
    suspect_move: Annotated[float, Field(gt=0.0)]
    suspect_confirm_bars: Annotated[int, Field(ge=1)]
    files: FileRules
    books: Annotated[BookRules, NoTrade("fills walk what is recorded, however much of it that is")]
    timeframes: Annotated[dict[str, TimeframePlan], _FETCHING]
    collector: Annotated[Collector, _FETCHING]
    fetching: Annotated[Fetching, _FETCHING]
    massive: Annotated[Massive, _FETCHING]
    exchanges: Annotated[dict[str, Exchange], _FETCHING]
    quality: Annotated[Quality, NoTrade("which symbols were doubtful is in the journal of the account")]

    def exchange(self, name: str) -> Exchange:
        """What is special about an exchange; nothing, where no section names it."""
        return self.exchanges.get(name, Exchange())

    @field_validator("timeframes")
    @classmethod
    def _are_named_by_timeframes(cls, plans: dict[str, TimeframePlan]) -> dict[str, TimeframePlan]:
        for name in plans:
            try:
                Timeframe.parse(name)
            except UsageError as error:
                raise ValueError(str(error)) from None
        return plans
