"""Closed trades, open positions, and what they add up to."""

from typing import Annotated, Literal

from fastapi import Path, Query

from crypto_tracker.desk.source import ROWS_MAX
from crypto_tracker.desk.views.decisions import TradeDetail
from crypto_tracker.desk.views.trades import Performance, Periods, Positions, Sums, TradePage
from crypto_tracker.desk.web.guard import ReadRoute, router
from crypto_tracker.desk.web.parameters import Cursor, Limit, OrderQuery, TradesAsked
from crypto_tracker.desk.web.served import Account

routes = router(ReadRoute, "trades")

TradeGroupId = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z0-9/:]{3,75}-[A-Z0-9_]{1,64}-[0-9]{8}T[0-9]{6}Z$",
        description="Symbol, strategy and deciding close.",
        examples=["ETH/USDT-DCA-20250822T120000Z"],
    ),
]
Windows = Annotated[int, Query(ge=1, le=ROWS_MAX, description="The most windows.", examples=[60])]


@routes.get("/trades")
def trades(
    account: Account,
    where: TradesAsked,
    limit: Limit = 50,
    cursor: Cursor = None,
    order: OrderQuery = "exit_ms",
    descending: Annotated[bool, Query(description="The largest first.")] = True,
) -> TradePage:
    """Closed trades, page by page, with the sums of all that are under the filter."""
    return account.book().trades(where, limit=limit, cursor=cursor, order=order, descending=descending)


@routes.get("/trades/{trade_group_id:path}")
def trade(account: Account, trade_group_id: TradeGroupId) -> TradeDetail:
    """One trade, closed or open, with everything that led to it."""
    return account.book().trade(trade_group_id)


@routes.get("/positions")
def positions(account: Account) -> Positions:
    """What is held now, with stops, targets and ladders."""
    return account.book().positions()


@routes.get("/profit")
def profit(account: Account, where: TradesAsked) -> Sums:
    """Closed trades added up."""
    return account.book().profit(where)


@routes.get("/performance")
def performance(
    account: Account,
    where: TradesAsked,
    by: Annotated[
        Literal["symbol", "strategy", "tier", "exit_reason"], Query(description="By which property.")
    ] = "symbol",
) -> Performance:
    """Closed trades added up by symbol, strategy, tier or exit reason."""
    return account.book().performance(by, where)


@routes.get("/daily")
def daily(account: Account, where: TradesAsked, limit: Windows = 60) -> Periods:
    """Closed trades by day of the trading time zone, newest first."""
    return account.book().periods("day", where, limit)


@routes.get("/weekly")
def weekly(account: Account, where: TradesAsked, limit: Windows = 60) -> Periods:
    """Closed trades by week of the trading time zone, newest first."""
    return account.book().periods("week", where, limit)


@routes.get("/monthly")
def monthly(account: Account, where: TradesAsked, limit: Windows = 60) -> Periods:
    """Closed trades by month of the trading time zone, newest first."""
    return account.book().periods("month", where, limit)
