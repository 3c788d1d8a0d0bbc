"""Strategies and the market: how near everything is to a setup, what keeps from buying, what is drawn."""

from typing import Annotated

from fastapi import Query

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.desk.source import CANDLES_MAX
from crypto_tracker.desk.views.charts import Candles, PairLevels, Pairs
from crypto_tracker.desk.views.market import Locks, Market
from crypto_tracker.desk.views.strategies import ReadinessBoard, Strategies
from crypto_tracker.desk.web.guard import ReadRoute, router
from crypto_tracker.desk.web.parameters import (
    LATEST_MS,
    SPAN_DAYS_MAX,
    StrategyTexts,
    SymbolText,
    TimeframeQuery,
    refuse_long,
    timeframe_of,
)
from crypto_tracker.desk.web.served import Account

routes = router(ReadRoute, "market")


@routes.get("/readiness")
def readiness(account: Account) -> ReadinessBoard:
    """How near every symbol is to a setup of every strategy, by the last scan."""
    return account.book().readiness()


@routes.get("/strategies")
def strategies(account: Account) -> Strategies:
    """Every strategy: its rule, its numbers, and whether it may open positions."""
    return account.book().strategies()


@routes.get("/market")
def market(account: Account) -> Market:
    """The market as the account sees it at the last close."""
    return account.book().market()


@routes.get("/locks")
def locks(account: Account) -> Locks:
    """Everything that keeps the account from opening positions."""
    return account.book().locks()


@routes.get("/pairs")
def pairs(account: Account) -> Pairs:
    """Every symbol of the account with its price, its day and what was traded."""
    return account.book().pairs()


@routes.get("/pair_candles")
def pair_candles(
    account: Account,
    symbol: SymbolText,
    timeframe: TimeframeQuery = "15m",
    limit: Annotated[int, Query(ge=1, le=CANDLES_MAX, description="The last bars.", examples=[500])] = 500,
    before_ms: Annotated[
        int | None,
        Query(
            ge=0,
            le=LATEST_MS,
            description="Only bars that open before, UTC milliseconds.",
            examples=[1_755_864_000_000],
        ),
    ] = None,
) -> Candles:
    """Closed bars of one symbol, oldest first."""
    return account.book().candles(Symbol.parse(symbol), timeframe_of(timeframe), limit, before_ms)


@routes.get(
    "/pair_levels", description=f"Of a span of at most {SPAN_DAYS_MAX} days: levels, fills, position."
)
def pair_levels(
    account: Account,
    symbol: SymbolText,
    start_ms: Annotated[
        int,
        Query(ge=0, le=LATEST_MS, description="Start, UTC milliseconds.", examples=[1_755_820_800_000]),
    ],
    end_ms: Annotated[
        int,
        Query(
            ge=0,
            le=LATEST_MS,
            description="End, UTC milliseconds; not in it.",
            examples=[1_755_907_200_000],
        ),
    ],
    strategy: StrategyTexts = [],  # noqa: B006 - read only, and what FastAPI documents as the default
) -> PairLevels:
    """Everything that is drawn over the candles of a span."""
    refuse_long(start_ms, end_ms)
    return account.book().levels(Symbol.parse(symbol), start_ms, end_ms, tuple(dict.fromkeys(strategy)))
