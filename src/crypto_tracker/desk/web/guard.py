"""Who may ask what: each route names the scope that it needs, and answers nobody without it."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, ClassVar, Literal, Protocol, get_origin

from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from fastapi.dependencies.models import Dependant
from fastapi.responses import Response
from fastapi.routing import APIRoute

from crypto_tracker.desk.web.origins import OTHER_PAGE
from crypto_tracker.desk.web.problems import Refused, documented, refuse_unknown, short

PREFIX = "/api/v1"
COMMANDS_AT_ONCE = 4
TURN_SECONDS = 0.5
"""How long a command waits for its turn: those before it may wait for a file that another process writes."""

ScopeName = Literal["read", "control"]


class Held(Protocol):
    """A token that is known: what `store.access` tells of it."""

    @property
    def token_id(self) -> str:
        """Which one it is; no secret."""
        ...

    @property
    def name(self) -> str:
        """Whose it is."""
        ...

    @property
    def scopes(self) -> frozenset[str]:
        """What it may do."""
        ...


class Access(Protocol):
    """Tells which tokens are known; called from worker threads."""

    def check(self, token: str) -> Held | None:
        """The token, or None where there is none such, or it was revoked."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sends a request, as far as that is known.

    Attributes
    ----------
    actor : as the audit names this one; empty for somebody unknown
    scopes : what this one may do
    key : by which the requests are counted: the token, or the address
    why_not : for somebody unknown, what to do
    foreign : whether a page of another site makes the browser ask
    """

    actor: str
    scopes: frozenset[str]
    key: str
    why_not: str = ""
    foreign: bool = False


NOBODY = Caller(actor="", scopes=frozenset(), key="", why_not="the request came by no gate")


def caller_of(request: Request) -> Caller:
    """Who sends this request."""
    caller = getattr(request.state, "caller", NOBODY)
    return caller if isinstance(caller, Caller) else NOBODY


def require(caller: Caller, scope: ScopeName) -> None:
    """Refuse a caller who may not do this."""
    if scope in caller.scopes:
        return
    if not caller.actor:
        raise Refused(401, caller.why_not, {"WWW-Authenticate": "Bearer"})
    raise Refused(
        403, f"this needs a token with the scope {scope}: make one with `tokens create NAME --scope {scope}`"
    )


class OpenRoute(APIRoute):
    """Answers everybody."""

    needs: ClassVar[ScopeName | None] = None
    problems: ClassVar[Sequence[int]] = (400, 422, 429, 500, 503)

    def __init__(self, path: str, endpoint: Callable[..., Any], **settings: Any) -> None:
        settings["responses"] = documented(*self.problems) | (settings.get("responses") or {})
        settings["summary"] = settings.get("summary") or _summary(endpoint)
        settings["openapi_extra"] = {"security": [{"token": [self.needs]}] if self.needs else []}
        super().__init__(path, endpoint, **settings)

    def check(self, request: Request) -> None:
        """Refuse what a caller who has the scope must not do either."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint behind its guard, which stands before anything of the request is read."""
        handle = super().get_route_handler()
        known = _query_fields(self.dependant)

        async def guarded(request: Request) -> Response:
            if self.needs is not None:
                require(caller_of(request), self.needs)
            self.check(request)
            refuse_unknown(request.query_params.multi_items(), known)
            return await handle(_Strict(request.scope, request.receive))

        return guarded


class ReadRoute(OpenRoute):
    """Shows something: needs the scope `read`."""

    needs: ClassVar[ScopeName | None] = "read"
    problems: ClassVar[Sequence[int]] = (400, 401, 403, 404, 409, 422, 429, 500, 503)


class ControlRoute(OpenRoute):
    """Lets a person act: needs the scope `control`, JSON, and a page of ours where a page asks.

    What acts has threads of its own, as it may wait for a file that another process writes: who only reads
    never waits behind it.
    """

    needs: ClassVar[ScopeName | None] = "control"
    problems: ClassVar[Sequence[int]] = (400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503)

    def __init__(self, path: str, endpoint: Callable[..., Any], **settings: Any) -> None:
        super().__init__(path, _in_turn(endpoint), **settings)

    def check(self, request: Request) -> None:
        """Refuse other sites' pages, and bodies such as their forms could send."""
        if caller_of(request).foreign:
            raise Refused(403, OTHER_PAGE)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "the request is no JSON: send the header `Content-Type: application/json`")


class _Strict(Request):
    """A request whose JSON says everything once."""

    async def json(self) -> Any:
        """The body; raises Refused where an object has a field twice: nobody knows which of them is meant."""
        return json.loads(await self.body(), object_pairs_hook=_each_once)


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Refused(422, f"the field {short(name)} stands there twice: send it once")
        found[name] = value
    return found


class _Turns:
    """The threads of commands: as many commands act at once, and those that come later wait a moment."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(COMMANDS_AT_ONCE)
        self._threads = CapacityLimiter(COMMANDS_AT_ONCE)

    async def run(self, act: Callable[[], Any]) -> Any:
        """Act in a thread; raises Refused where those before do not come to an end."""
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            sentence = f"{COMMANDS_AT_ONCE} commands are still waiting to be written: try again in a moment"
            raise Refused(503, sentence, {"Retry-After": "1"}) from None
        try:
            return await run_sync(act, limiter=self._threads)
        finally:
            self._free.release()


_TURNS: RunVar[_Turns] = RunVar("turns of commands")  # one for each server: each has its own loop


def _in_turn(endpoint: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """The endpoint, which stands where it would wait, in a thread of those for commands."""

    @wraps(endpoint)
    async def acted(**given: Any) -> Any:
        try:
            turns = _TURNS.get()
        except LookupError:
            turns = _Turns()
            _TURNS.set(turns)
        return await turns.run(partial(endpoint, **given))

    return acted


def router(route: type[OpenRoute], tag: str) -> APIRouter:
    """A router whose endpoints stand under the prefix, are named by their functions, and are guarded."""
    return APIRouter(
        prefix=PREFIX, tags=[tag], route_class=route, generate_unique_id_function=lambda each: each.name
    )


def _summary(endpoint: Callable[..., Any]) -> str:
    return (endpoint.__doc__ or endpoint.__name__).strip().partition("\n")[0].rstrip(".")


def _query_fields(dependant: Dependant) -> dict[str, bool]:
    """The query parameters of an endpoint and of all that it depends on, and whether each may be repeated."""
    found = {each.alias: get_origin(each.field_info.annotation) is list for each in dependant.query_params}
    for inner in dependant.dependencies:
        found |= _query_fields(inner)
    return found
