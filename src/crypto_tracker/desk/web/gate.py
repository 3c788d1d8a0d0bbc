"""What every request passes before it reaches an endpoint: headers, hosts, callers, limits, size."""

import asyncio
import logging
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crypto_tracker.config.web import Web
from crypto_tracker.core.errors import CryptoTrackerError
from crypto_tracker.desk.web.gatekeeper import Gatekeeper
from crypto_tracker.desk.web.origins import OTHER_PAGE, is_our_host, is_our_origin
from crypto_tracker.desk.web.problems import Refused, problem, status_of, without_paths

LOG = logging.getLogger("crypto_tracker.web")

# The one style that stands in no file: the charts' own, of the logo that their licence asks to be shown.
CHARTS_STYLE = "'sha256-3pRED1tOXas1FXFoPb9TGCjmYe9XQsmO9OV23khV2nY='"
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self' {CHARTS_STYLE}; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
NO_STORE = "no-store"
BODY_SECONDS = 30.0
ENDING = "the server is being ended: try again once it runs"
_POLICY_VIOLATION = 1008


class WithHeaders:
    """Puts the headers that protect a browser on every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with the headers."""

        async def with_headers(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", NO_STORE)
            await send(message)

        await self._app(scope, receive, with_headers)


class WithHeads:
    """Answers HEAD as GET, without the body, wherever there is a GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with a body for those alone who want one."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, without_body)


class WithoutInternals:
    """Answers for mistakes of ours: the log gets the traceback, the client a sentence.

    Answers as well for what is cut off, since the server ends and was not willing to wait any longer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, whatever happens."""
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, noted)
        except asyncio.CancelledError:
            if not started:
                await problem(503, ENDING, {"Connection": "close"})(scope, receive, send)
        except Exception:
            LOG.exception("%s %s failed", scope["method"], scope["path"])
            if started:
                raise
            answer = problem(500, "the server made a mistake, which its log tells of: try again later")
            await answer(scope, receive, send)


class Gate:
    """Lets a request in: under a name of ours, by a known or unknown caller, not too often, not too large.

    Whether the caller may do what is asked is for the route to say.
    """

    def __init__(self, app: ASGIApp, *, keeper: Gatekeeper, settings: Web, prefix: str) -> None:
        self._app = app
        self._keeper = keeper
        self._settings = settings
        self._prefix = f"{prefix.rstrip('/')}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse to."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        try:
            receive = await self._let_in(scope, receive)
        except Refused as refused:
            await refuse(refused, scope, receive, send)
            return
        except CryptoTrackerError as error:
            unreadable = Refused(status_of(error), without_paths(str(error)))
            await refuse(unreadable, scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive) -> Receive:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not is_our_host(host, self._settings):
            raise Refused(
                400, "this server has another name: add the one that you use to `hosts` under [web]"
            )
        if not scope["path"].startswith(self._prefix):
            return receive
        if scope["type"] == "websocket" and not is_our_origin(headers.get("origin"), host, self._settings):
            raise Refused(403, OTHER_PAGE)
        peer = scope.get("client")
        version = scope.get("http_version", "")
        caller = await self._keeper.caller(peer[0] if peer else "", headers, version)
        scope.setdefault("state", {})["caller"] = caller
        if scope["type"] == "websocket":
            return receive
        return _at_most(self._settings.body_bytes_max, headers, receive)


def _at_most(size: int, headers: Headers, receive: Receive) -> Receive:
    """The body, as long as it is not larger, whatever its length was said to be, and comes in time."""
    told = headers.get("content-length", "")
    if told.isdecimal() and int(told) > size:
        raise _too_large(size)
    so_far, whole = 0, False
    until = asyncio.get_running_loop().time() + BODY_SECONDS

    async def counted() -> Message:
        nonlocal so_far, whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            sentence = f"the body did not come within {BODY_SECONDS:g} s: send it again"
            raise Refused(408, sentence, {"Connection": "close"}) from None
        if message["type"] == "http.request":
            so_far += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if so_far > size:
                raise _too_large(size)
        return message

    return counted


def _too_large(size: int) -> Refused:
    return Refused(413, f"the body is larger than {size} bytes, which is web.body_bytes_max: send less")


async def refuse(refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or the handshake of a stream, with the refusal."""
    answer = problem(refused.status_code, refused.detail, refused.headers)
    if scope["type"] == "http":
        await answer(scope, receive, send)
    elif "websocket.http.response" in scope.get("extensions", {}):
        await send(
            {
                "type": "websocket.http.response.start",
                "status": answer.status_code,
                "headers": answer.raw_headers,
            }
        )
        await send({"type": "websocket.http.response.body", "body": answer.body})
    else:
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": refused.detail[:120]})
