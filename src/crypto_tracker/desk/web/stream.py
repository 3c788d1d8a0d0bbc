"""One client of the live stream: who it is, what it wants, and what it is sent, over one websocket."""

import asyncio
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from crypto_tracker.config.web import Web
from crypto_tracker.core.errors import CryptoTrackerError
from crypto_tracker.desk.views.base import View
from crypto_tracker.desk.views.live import Authenticate, Beat, Hello, LiveProblem, StreamWish, Subscribe
from crypto_tracker.desk.web.gatekeeper import Gatekeeper, bearer
from crypto_tracker.desk.web.guard import NOBODY, Caller
from crypto_tracker.desk.web.hub import Hub, Listener
from crypto_tracker.desk.web.limits import Buckets
from crypto_tracker.desk.web.origins import counted_as
from crypto_tracker.desk.web.problems import Refused, sentence_of, without_paths

AUTH_SECONDS = 10.0
RECHECK_SECONDS = 30.0
MESSAGES_PER_MINUTE = 120
MESSAGE_LENGTH_MAX = 16_384
OUTBOX_MAX = 256
WAITING_MAX = 16
"""Streams of one address that have not signed in yet; one more, and the oldest of them is closed."""

UNKNOWN = 4401
NOT_ALLOWED = 4403
TOO_LARGE = 1009
TOO_MANY = 1008
TRY_LATER = 1013

_WISH: TypeAdapter[Authenticate | Subscribe] = TypeAdapter[Any](StreamWish)


class _Over(Exception):
    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Streams:
    """All live streams of a server: those that are signed in, and those of each address that are not yet."""

    def __init__(self, keeper: Gatekeeper, settings: Web, now_ms: Callable[[], int]) -> None:
        self._keeper = keeper
        self._settings = settings
        self._now_ms = now_ms
        self._signed_in: dict[_Client, str] = {}
        self._waiting: dict[str, dict[_Client, None]] = {}

    @property
    def open(self) -> int:
        """How many are signed in now."""
        return len(self._signed_in)

    async def serve(self, websocket: WebSocket, hub: Hub) -> None:
        """Serve one client until it goes, or may no longer stay."""
        await websocket.accept()
        peer = websocket.client
        address = peer.host if peer else ""
        waiting = self._waiting.setdefault(counted_as(address), {})
        if len(waiting) >= WAITING_MAX:
            oldest = next(iter(waiting))
            del waiting[oldest]
            oldest.send_away(
                _Over(TRY_LATER, f"more than {WAITING_MAX} live streams of this address have not signed in")
            )
        client = _Client(
            websocket, address, hub, self._keeper, self._settings, self._now_ms, signs_in=self._sign_in
        )
        waiting[client] = None
        try:
            await client.serve()
        finally:
            self._signed_in.pop(client, None)
            self._no_longer_waits(client, address)

    def _sign_in(self, client: "_Client", address: str, key: str) -> None:
        """Count a client among those that are signed in; who has too many open is sent away."""
        most = self._settings.streams_max
        others = [held for other, held in self._signed_in.items() if other is not client]
        if len(others) >= most:
            raise _Over(
                TRY_LATER,
                f"there are {len(others)} live streams open, which is web.streams_max: close one, or wait",
            )
        if others.count(key) >= streams_of_one(most):
            raise _Over(
                TRY_LATER,
                f"who asks has {others.count(key)} live streams open, half of web.streams_max: close one",
            )
        self._signed_in[client] = key
        self._no_longer_waits(client, address)

    def _no_longer_waits(self, client: "_Client", address: str) -> None:
        waiting = self._waiting.get(counted_as(address), {})
        waiting.pop(client, None)
        if not waiting:
            self._waiting.pop(counted_as(address), None)


def streams_of_one(streams_max: int) -> int:
    """How many live streams one token may have open: half of all, so that others have room."""
    return (streams_max + 1) // 2


class _Client:
    def __init__(
        self,
        websocket: WebSocket,
        address: str,
        hub: Hub,
        keeper: Gatekeeper,
        settings: Web,
        now_ms: Callable[[], int],
        *,
        signs_in: Callable[["_Client", str, str], None],
    ) -> None:
        self._websocket = websocket
        self._address = address
        self._hub = hub
        self._keeper = keeper
        self._settings = settings
        self._now_ms = now_ms
        self._signs_in = signs_in
        self._listener = Listener(OUTBOX_MAX)
        self._wishes = Buckets(per_minute=MESSAGES_PER_MINUTE)
        self._caller = NOBODY
        self._token: str | None = None
        self._allowed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self) -> None:
        try:
            self._take_from_handshake()
        except _Over as over:
            await _close(self._websocket, over)
            return
        tasks = [
            asyncio.create_task(part, name=name)
            for name, part in (
                ("hears a stream", self._hear()),
                ("tells a stream", self._tell()),
                ("checks a stream", self._check()),
            )
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.leave(self._listener)
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, _Over):
                await _close(self._websocket, end)
            elif isinstance(end, Exception) and not isinstance(end, WebSocketDisconnect):
                raise end

    def send_away(self, over: _Over) -> None:
        """End the stream of one that has not signed in."""
        if not self._allowed.done():
            self._allowed.set_exception(over)

    def _take_from_handshake(self) -> None:
        """Serve whom the handshake names; raises _Over where it shows a token that opens nothing."""
        caller = getattr(self._websocket.state, "caller", NOBODY)
        token = bearer(self._websocket.headers)
        if token is not None:
            _may_read(caller)
        self._take(caller, token)

    def _take(self, caller: Caller, token: str | None) -> None:
        """Serve this caller from now on, by this token; raises _Over where there are too many streams."""
        self._caller = caller
        if "read" not in caller.scopes:
            return
        self._signs_in(self, self._address, caller.key)
        self._token = token
        if not self._allowed.done():
            self._allowed.set_result(None)
        beat_ms = max(1, round(self._settings.beat_seconds * 1_000))
        self._say(Hello(actor=caller.actor, now_ms=self._now_ms(), beat_ms=beat_ms))

    def _say(self, message: View) -> None:
        self._listener.tell(message.model_dump_json(), answers=True)

    # --- what it says
    async def _hear(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1000))
            await self._hear_one(message.get("text"))

    async def _hear_one(self, text: str | None) -> None:
        if self._wishes.take("", _now()):
            raise _Over(TOO_MANY, f"there were more than {MESSAGES_PER_MINUTE} messages a minute")
        if text is None:
            self._say(LiveProblem(detail="this message is no text: send JSON as text"))
            return
        if len(text) > MESSAGE_LENGTH_MAX:
            raise _Over(TOO_LARGE, f"the message has more than {MESSAGE_LENGTH_MAX} characters")
        try:
            wish = _WISH.validate_json(text)
        except ValidationError as error:
            self._say(LiveProblem(detail=_not_understood(error)))
            return
        if isinstance(wish, Authenticate):
            await self._authenticate(wish.token)
        elif "read" in self._caller.scopes:
            self._hub.join(self._listener, wish.account, wish.topics)
        else:
            raise _Over(UNKNOWN, 'who is asking? Send {"type": "auth", "token": "..."} first')

    async def _authenticate(self, token: str) -> None:
        caller = await self._held(token)
        _may_read(caller)
        self._take(caller, token)

    async def _held(self, token: str) -> Caller:
        try:
            caller = await self._keeper.holder(token, self._address)
        except Refused as refused:
            raise _Over(TOO_MANY, refused.detail) from None
        except CryptoTrackerError as error:
            raise _Over(TRY_LATER, without_paths(str(error))) from None
        _known(caller)
        return caller

    # --- what it is told
    async def _tell(self) -> None:
        beat = _now() + self._settings.beat_seconds
        while True:
            message = await self._listener.next(max(0.0, beat - _now()))
            if message is not None:
                await self._websocket.send_text(message)
            if _now() >= beat:
                await self._websocket.send_text(Beat(now_ms=self._now_ms()).model_dump_json())
                beat = _now() + self._settings.beat_seconds

    async def _check(self) -> None:
        """See that it tells who it is, and that its token is not revoked meanwhile."""
        try:
            async with asyncio.timeout(AUTH_SECONDS):
                await self._allowed
        except TimeoutError:
            raise _Over(UNKNOWN, f"no token was sent within {AUTH_SECONDS:g} s") from None
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            if self._token is not None:
                await self._held(self._token)


def _known(caller: Caller) -> None:
    """Raise _Over for somebody whose token is not known."""
    if not caller.actor:
        raise _Over(UNKNOWN, caller.why_not)


def _may_read(caller: Caller) -> None:
    """Raise _Over for somebody who may not listen."""
    _known(caller)
    if "read" not in caller.scopes:
        raise _Over(NOT_ALLOWED, "this needs a token with the scope read")


async def _close(websocket: WebSocket, over: _Over) -> None:
    """Say why, and close; a client that is gone by itself does not hear it."""
    if websocket.application_state is not WebSocketState.CONNECTED:
        return
    try:
        await websocket.send_text(LiveProblem(detail=str(over)).model_dump_json())
        await websocket.close(over.code)
    except WebSocketDisconnect:
        return


def _not_understood(error: ValidationError) -> str:
    found = error.errors(include_input=False, include_url=False)
    if found[0]["type"] in {"json_invalid", "union_tag_invalid", "union_tag_not_found"}:
        return 'this message is not understood: send {"type": "subscribe", "account": ..., "topics": [...]}'
    return sentence_of(found)


def _now() -> float:
    return asyncio.get_running_loop().time()
