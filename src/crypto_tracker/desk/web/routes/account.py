"""How an account stands: status, balance, equity, regimes, ratios."""

from typing import Annotated

from fastapi import Query

from crypto_tracker.desk.source import POINTS_MAX
from crypto_tracker.desk.views.accounts import Balance, EquityCurve, Ratios, Regimes, Status
from crypto_tracker.desk.web.guard import ReadRoute, router
from crypto_tracker.desk.web.parameters import SpanAsked
from crypto_tracker.desk.web.served import Account

routes = router(ReadRoute, "account")


@routes.get("/status")
def status(account: Account) -> Status:
    """The account at a glance.

    Equity, P&L, the light, the counters of each strategy, and whether setups may be admitted now.
    """
    return account.book().status()


@routes.get("/balance")
def balance(account: Account) -> Balance:
    """What part of the equity is where: cash, reserves, positions by strategy and by symbol."""
    return account.book().balance()


@routes.get("/equity")
def equity(
    account: Account,
    span: SpanAsked,
    points: Annotated[int, Query(ge=10, le=POINTS_MAX, description="The most points.", examples=[500])] = 500,
) -> EquityCurve:
    """The equity curve.

    Marked at every minute, in at most `points` stretches with their last, lowest and highest value.
    """
    return account.book().equity(points, span.start_ms, span.end_ms)


@routes.get("/regimes")
def regimes(account: Account, span: SpanAsked) -> Regimes:
    """How the fast regime of the market went."""
    return account.book().regimes(span.start_ms, span.end_ms)


@routes.get("/ratios")
def ratios(account: Account) -> Ratios:
    """Sharpe, Sortino, Calmar and others.

    Of the daily equity of the whole account; brought up to date once a minute at most.
    """
    return account.book().ratios()
