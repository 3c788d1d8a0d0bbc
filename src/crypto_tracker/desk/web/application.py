"""The whole web server as one application: the API, its stream, the page, and what stands before them."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.gzip import GZipMiddleware
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Lifespan
from starlette.websockets import WebSocket

from crypto_tracker.config.web import Web
from crypto_tracker.core.errors import CryptoTrackerError
from crypto_tracker.desk.source import Desk
from crypto_tracker.desk.web import problems
from crypto_tracker.desk.web.document import document
from crypto_tracker.desk.web.files import Pages
from crypto_tracker.desk.web.gate import Gate, WithHeaders, WithHeads, WithoutInternals
from crypto_tracker.desk.web.gatekeeper import Gatekeeper
from crypto_tracker.desk.web.guard import PREFIX, Access
from crypto_tracker.desk.web.hub import Hub
from crypto_tracker.desk.web.room import WithRoom
from crypto_tracker.desk.web.routes import account, controls, decisions, market, system, trades
from crypto_tracker.desk.web.served import Served
from crypto_tracker.desk.web.stream import Streams

THREADS = 16  # endpoints that are answered at once; each may wait for a file
PACKED_FROM_BYTES = 1_000
PACKED_LEVEL = 5

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


@cache
def _document_bytes(code_version: str) -> bytes:
    return json.dumps(openapi_document(code_version)).encode()


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
    keeper = Gatekeeper(access, settings)
    streams = Streams(keeper, settings, now_ms)
    hub = Hub(desk, look_seconds=settings.look_seconds, streams=lambda: streams.open)

    @asynccontextmanager
    async def serving(_app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = THREADS
        try:
            yield
        finally:
            await hub.close()

    app = _bare(serving)
    app.state.served = Served(
        desk=desk,
        settings=settings,
        code_version=code_version,
        now_ms=now_ms,
        configuration_file=configuration_file,
        document=lambda: _document_bytes(code_version),
        streams=lambda: streams.open,
    )

    async def live(websocket: WebSocket) -> None:
        await streams.serve(websocket, hub)

    app.router.routes += [WebSocketRoute(f"{PREFIX}/ws", live), Route(f"{PREFIX}/ws", _no_stream)]
    app.router.default = Pages(static)
    for kind, handler in (
        (CryptoTrackerError, problems.answer_own),
        (HTTPException, problems.answer_http),
        (RequestValidationError, problems.answer_invalid),
    ):
        app.add_exception_handler(kind, handler)
    # The last one stands before all others.
    app.add_middleware(Gate, keeper=keeper, settings=settings, prefix=PREFIX)
    app.add_middleware(GZipMiddleware, minimum_size=PACKED_FROM_BYTES, compresslevel=PACKED_LEVEL)
    app.add_middleware(WithHeads)
    app.add_middleware(WithRoom, streams_max=settings.streams_max)
    app.add_middleware(WithoutInternals)
    app.add_middleware(WithHeaders)
    return app


async def _no_stream(_request: Request) -> Response:
    """Answer who asks for the stream, and does not open one."""
    sentence = "this is the live stream: open it as a websocket (RFC 6455), see docs/api.md"
    return problems.problem(426, sentence, {"Upgrade": "websocket", "Connection": "Upgrade"})


def _bare(lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
    for router in ROUTERS:
        app.router.routes.extend(router.routes)
    return app
