"""The server itself, what there is to look at, and how every part is."""

from fastapi import Request
from fastapi.responses import Response

from crypto_tracker.desk.views.accounts import Accounts
from crypto_tracker.desk.views.research import Research, Runs, ScorecardView
from crypto_tracker.desk.views.system import Collectors, DataQuality, Health, Identity, Ping, VersionView
from crypto_tracker.desk.web.guard import OpenRoute, ReadRoute, caller_of, router
from crypto_tracker.desk.web.parameters import Cursor, Limit
from crypto_tracker.desk.web.served import Account, Server

open_routes = router(OpenRoute, "server")
routes = router(ReadRoute, "server")
research_routes = router(ReadRoute, "research")


@open_routes.get("/ping")
async def ping() -> Ping:
    """Whether the server is there; needs no token."""
    return Ping()


@open_routes.get("/version")
async def version(server: Server) -> VersionView:
    """Which version of the program answers; needs no token."""
    return VersionView(version=server.code_version)


@routes.get("/openapi.json", include_in_schema=False)
def openapi_json(server: Server) -> Response:
    """The document of this API."""
    return Response(server.document(), media_type="application/json")


@routes.get("/identity")
async def identity(request: Request, server: Server) -> Identity:
    """Who is asking, and what that one may do."""
    caller = caller_of(request)
    return Identity(
        actor=caller.actor,
        scopes=[scope for scope in ("read", "control") if scope in caller.scopes],
        open_to_loopback=server.settings.open_to_loopback,
        code_version=server.code_version,
        now_ms=server.now_ms(),
    )


@routes.get("/accounts")
def accounts(server: Server) -> Accounts:
    """Every account, and the newest recorded runs."""
    return server.desk.accounts()


@routes.get("/health")
def health(server: Server) -> Health:
    """How every part is, the worst first."""
    return server.desk.health().model_copy(update={"clients": server.streams()})


@routes.get("/collectors")
def collectors(server: Server) -> Collectors:
    """Who keeps bars up to date."""
    return server.desk.collectors()


@routes.get("/data")
def data(account: Account) -> DataQuality:
    """What is stored of the symbols of the account, and how far it can be trusted."""
    return account.book().data()


@research_routes.get("/runs")
def runs(server: Server, limit: Limit = 50, cursor: Cursor = None) -> Runs:
    """Recorded runs, newest first, page by page."""
    return server.desk.runs(limit=limit, cursor=cursor)


@research_routes.get("/scorecard")
def scorecard(account: Account) -> ScorecardView:
    """What is missing before money trades."""
    return account.book().scorecard()


@research_routes.get("/research")
def research(account: Account) -> Research:
    """What research has written so far: trials, agreement, models, shadow, suggestions."""
    return account.book().research()
