"""Room for everybody: how much is answered at once, and how much of that for one address."""

from collections import Counter

from starlette.types import ASGIApp, Receive, Scope, Send

from crypto_tracker.desk.web.gate import refuse
from crypto_tracker.desk.web.origins import counted_as
from crypto_tracker.desk.web.problems import Refused

REQUESTS_AT_ONCE = 200
REQUESTS_OF_ONE = REQUESTS_AT_ONCE // 2
SIGNING_IN = 100
"""Streams that may be open beside `web.streams_max`, since nobody has said yet who they are."""

_SOON = {"Retry-After": "2"}


class WithRoom:
    """Turns away what comes while too much is answered already; an address fills half of the room at most."""

    def __init__(self, app: ASGIApp, *, streams_max: int) -> None:
        self._app = app
        self._streams_max = streams_max + SIGNING_IN
        self._streams = 0
        self._requests: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or say that there is no room now."""
        try:
            if scope["type"] == "http":
                await self._request(scope, receive, send)
            elif scope["type"] == "websocket":
                await self._stream(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        except _Full as full:
            await refuse(full, scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = scope.get("client")
        address = counted_as(peer[0] if peer else "")
        if self._requests.total() >= REQUESTS_AT_ONCE:
            raise _Full(f"{REQUESTS_AT_ONCE} requests are being answered: try again in a moment")
        if self._requests[address] >= REQUESTS_OF_ONE:
            raise _Full(f"{REQUESTS_OF_ONE} requests of your address are being answered: wait for them")
        self._requests[address] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._requests[address] -= 1
            if not self._requests[address]:
                del self._requests[address]

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._streams >= self._streams_max:
            raise _Full(f"{self._streams_max} live streams are open: close one, or try again later")
        self._streams += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._streams -= 1


class _Full(Refused):
    def __init__(self, sentence: str) -> None:
        super().__init__(503, sentence, _SOON)
