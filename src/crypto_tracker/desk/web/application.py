"""The whole web server as one application: the API, its stream, the page, and what stands before them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from crypto_tracker.config.web import Web
from crypto_tracker.core.errors import CryptoTrackerError
from crypto_tracker.desk.source import Desk
from crypto_tracker.desk.web import problems
from crypto_tracker.desk.web.document import document
from crypto_tracker.desk.web.guard import Access
from crypto_tracker.desk.web.routes import account, controls, decisions, market, system, trades
from crypto_tracker.desk.web.served import Served

ROUTERS = (
    system.open_routes,
    system.routes,
    account.routes,
    trades.routes,
    decisions.routes,
    market.routes,
    controls.routes,
    controls.control_routes,
    system.research_routes,
)


def openapi_document(code_version: str) -> dict[str, Any]:
    """The OpenAPI document of the API, without anything to serve."""
    return document(_bare(), code_version)


def create_app(
    desk: Desk,
    access: Access,
    settings: Web,
    *,
    now_ms: Callable[[], int],
    code_version: str,
    configuration_file: Callable[[], str],
    static: Path | None,
) -> FastAPI:
    """The application over one desk.

    Parameters
    ----------
    access : tells which tokens are known
    now_ms : the clock
    configuration_file : the text of the configuration file of the home, for `reload_config`
    static : the folder of the built page; None serves the API alone
    """
    app = _bare()
    app.state.served = Served(
        desk=desk,
        settings=settings,
        code_version=code_version,
        now_ms=now_ms,
        configuration_file=configuration_file,
        streams=lambda: 0,
    )
    for kind, handler in (
        (CryptoTrackerError, problems.answer_own),
        (HTTPException, problems.answer_http),
        (RequestValidationError, problems.answer_invalid),
    ):
        app.add_exception_handler(kind, handler)
    return app


def _bare() -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for router in ROUTERS:
        app.router.routes.extend(router.routes)
    return app
