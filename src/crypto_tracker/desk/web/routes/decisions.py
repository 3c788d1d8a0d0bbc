"""What was decided, and why."""

from typing import Annotated

from fastapi import Query

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.desk.source import ROWS_MAX, SCANS_MAX
from crypto_tracker.desk.views.decisions import DecisionPage, Explained, Log, ReasonCounts, Scans
from crypto_tracker.desk.web.guard import ReadRoute, router
from crypto_tracker.desk.web.parameters import (
    LATEST_MS,
    Cursor,
    DecisionsAsked,
    Limit,
    LogAsked,
    SpanAsked,
    StrategyText,
    StrategyTexts,
    SymbolText,
)
from crypto_tracker.desk.web.served import Account

routes = router(ReadRoute, "decisions")


@routes.get("/decisions")
def decisions(
    account: Account, where: DecisionsAsked, limit: Limit = 50, cursor: Cursor = None
) -> DecisionPage:
    """Setups and near misses, newest first, page by page."""
    return account.book().decisions(where, limit=limit, cursor=cursor)


@routes.get("/decisions/counts")
def decision_counts(account: Account, where: DecisionsAsked) -> ReasonCounts:
    """How often each answer was given."""
    return account.book().reason_counts(where)


@routes.get("/scans")
def scans(
    account: Account,
    symbol: SymbolText,
    strategy: StrategyText,
    span: SpanAsked,
    limit: Annotated[
        int, Query(ge=1, le=SCANS_MAX, description="The last ones of the span.", examples=[500])
    ] = 500,
) -> Scans:
    """Every scan of one symbol by one strategy, oldest first."""
    return account.book().scans(Symbol.parse(symbol), strategy, span.start_ms, span.end_ms, limit)


@routes.get("/explain")
def explain(
    account: Account,
    symbol: SymbolText,
    at_ms: Annotated[
        int,
        Query(
            ge=0,
            le=LATEST_MS,
            description="The last scan at or before this moment, UTC milliseconds.",
            examples=[1_755_864_000_000],
        ),
    ],
    strategy: StrategyTexts = [],  # noqa: B006 - read only, and what FastAPI documents as the default
) -> Explained:
    """Why a symbol was bought, or not, at one moment: gate by gate."""
    return account.book().explain(Symbol.parse(symbol), at_ms, tuple(dict.fromkeys(strategy)))


@routes.get("/logs")
def logs(
    account: Account,
    where: LogAsked,
    limit: Annotated[
        int, Query(ge=1, le=ROWS_MAX, description="Lines of one page, at most.", examples=[200])
    ] = 200,
    cursor: Cursor = None,
) -> Log:
    """What happened, in words, newest first, page by page.

    A page may have fewer lines than were asked for; the log goes on as long as `next` is not null.
    """
    return account.book().log(limit, where, cursor)
