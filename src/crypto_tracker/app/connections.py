"""The connections of the web server: each becomes a request in time, takes its answer in time, or is closed.

A connection costs whoever makes it nothing, and one that only stands there holds a place. So those that wait
for a request have places of their own, and where these are taken, whoever has waited longest gives up theirs.
"""

import asyncio
import base64
import binascii
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

import h11
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from crypto_tracker.desk.web.gate import ENDING, HEADERS, NO_STORE
from crypto_tracker.desk.web.origins import counted_as
from crypto_tracker.desk.web.problems import problem

LOG = logging.getLogger("crypto_tracker.web")

HEAD_SECONDS = 15.0
TAKE_SECONDS = 30.0
WAITING_MAX = 200
WAITING_OF_ONE = 64
NOTED_SECONDS = 60.0

NO_HTTP = "this is no request of HTTP/1.1 that can be read"

# What uvicorn says of requests is a line for each stranger who sends nonsense: only its errors are heard.
_ERRORS = logging.getLogger("crypto_tracker.web.uvicorn")
_ERRORS.setLevel(logging.ERROR)
_BEFORE_THE_ANSWER = {h11.IDLE, h11.SEND_RESPONSE}
_NO_TEXT = 1007
_KEY_BYTES = 16
_WEBSOCKET_VERSION = b"13"


class Connection(H11Protocol):
    """One connection, which speaks HTTP until it becomes a stream.

    Attributes
    ----------
    address : by which its connections are counted
    waits_since : since when it has stood there without a request that is being answered; None where one is
    """

    address: str = ""
    waits_since: float | None = None
    _late: asyncio.TimerHandle | None = None
    _slow: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.logger = _ERRORS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self.address = counted_as(self.client[0] if self.client else "")
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest, where this was not all of a head."""
        super().data_received(data)
        if self.transport.get_protocol() is not self:
            return  # it became a stream
        if self._answers():
            self._wait_no_longer()
        elif self._late is None:
            self._wait()

    def on_response_complete(self) -> None:
        """Wait for the answer to be taken, and for the next request."""
        super().on_response_complete()
        self._must_be_taken()
        if not self._answers() and self.waits_since is None:
            self._stand_in_line()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Become a stream, which is waited for in other ways."""
        self._wait_no_longer()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._wait_no_longer()
        self._was_taken()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the client to take what was sent."""
        super().pause_writing()
        self._must_be_taken()

    def resume_writing(self) -> None:
        """Go on: the client takes what it asked for."""
        self._was_taken()
        super().resume_writing()

    def shutdown(self) -> None:
        """End, since the server does: a request that was not sent whole is not waited for."""
        if self._answers() and self.cycle.more_body and not self.cycle.response_started:
            self._answer_alone(503, ENDING)
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words, which say no more
        """Refuse what is no HTTP, as everything is refused."""
        _noted.note(self.address, self.loop.time())
        self._answer_alone(400, NO_HTTP)

    def close(self) -> None:
        """End a connection that waits."""
        self._wait_no_longer()
        self._must_be_taken()
        self.transport.close()

    # --- behind it -----------------------------------------------------------------------------

    def _answers(self) -> bool:
        return not getattr(self.cycle, "response_complete", True)  # there is none before the first request

    def _wait(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self._give_up)
        if self.waits_since is None:
            self._stand_in_line()

    def _stand_in_line(self) -> None:
        self.waits_since = self.loop.time()
        one_too_many = longest_waiting(
            (each for each in self.connections if isinstance(each, Connection)), self.address
        )
        if one_too_many is not None:
            one_too_many.close()

    def _wait_no_longer(self) -> None:
        self.waits_since = None
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        if not self._answers():
            self.close()

    def _must_be_taken(self) -> None:
        if self._slow is None and self.transport.get_write_buffer_size():
            self._slow = self.loop.call_later(TAKE_SECONDS, self._cut_off)

    def _was_taken(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _cut_off(self) -> None:
        self._slow = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _answer_alone(self, status: int, sentence: str) -> None:
        """Answer without the application, and end; where an answer was begun already, only end."""
        if self.conn.our_state in _BEFORE_THE_ANSWER:
            answer = _alone(status, sentence)
            start = h11.Response(
                status_code=answer.status_code,
                headers=[*self.server_state.default_headers, *answer.raw_headers],
            )
            for event in (start, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if self._answers():  # the application reads on, and hears that nobody is there any more
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.close()

    def _should_upgrade(self) -> bool:
        return self._get_upgrade() == b"websocket" and opens_a_stream(self.headers)


class Stream(WebSocketsSansIOProtocol):
    """One live stream."""

    async def send(self, message: Any) -> None:
        """Send, and note that a handshake that was refused was answered all the same."""
        await super().send(message)
        kind = message["type"]
        if kind == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True
        if kind == "websocket.close":
            self.loop.call_later(TAKE_SECONDS, self._cut_off)

    def keepalive_timeout(self) -> None:
        """End the stream of a client that answers no ping, whether it takes what was sent or not."""
        super().keepalive_timeout()
        self._cut_off()

    def send_receive_event_to_app(self) -> None:
        """Hand a message on; who sends a text that is none is no reason for a traceback."""
        if self.curr_msg_data_type == "text" and not _is_text(b"".join(self.frames)):
            self.frames = []
            self.conn.send_close(_NO_TEXT)
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def _cut_off(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()


class Waiting(Protocol):
    """A connection as far as its place is concerned."""

    @property
    def address(self) -> str:
        """Whose it is."""
        ...

    @property
    def waits_since(self) -> float | None:
        """Since when it waits; None where it does not."""
        ...


Each = TypeVar("Each", bound=Waiting)


def longest_waiting(connections: Iterable[Each], address: str) -> Each | None:
    """Which connection has to go now that one more of this address waits; None where there is room.

    Of an address that has too many its own goes; where there are too many of all, one of whoever has most.
    """
    waiting = [(each.waits_since, each) for each in connections if each.waits_since is not None]
    held = Counter(each.address for _, each in waiting)
    if held[address] <= WAITING_OF_ONE:
        if len(waiting) <= WAITING_MAX:
            return None
        address = held.most_common(1)[0][0]
    of_it = [(since, each) for since, each in waiting if each.address == address]
    return min(of_it, key=lambda found: found[0])[1]


def opens_a_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether these headers are all of the handshake of a websocket (RFC 6455).

    >>> key = (b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA==")
    >>> opens_a_stream([(b"sec-websocket-version", b"13"), key]), opens_a_stream([key])
    (True, False)
    """
    found: Mapping[bytes, bytes] = dict(headers)
    try:
        key = base64.b64decode(found.get(b"sec-websocket-key", b""), validate=True)
    except binascii.Error:
        return False
    return len(key) == _KEY_BYTES and found.get(b"sec-websocket-version") == _WEBSOCKET_VERSION


class Strangers:
    """Notes who sends what is no HTTP, in one line a minute however many do."""

    def __init__(self) -> None:
        self._told: float | None = None
        self._since = 0

    def note(self, address: str, now: float) -> None:
        """Note one."""
        self._since += 1
        if self._told is not None and now - self._told < NOTED_SECONDS:
            return
        LOG.warning(
            "%s from %s: this is told once a minute at most",
            "one request was no HTTP and came"
            if self._since == 1
            else f"{self._since} requests were no HTTP, and the last of them came",
            address or "nowhere",
        )
        self._told, self._since = now, 0


_noted = Strangers()


def _alone(status: int, sentence: str) -> Response:
    return problem(status, sentence, {**HEADERS, "Cache-Control": NO_STORE, "Connection": "close"})


def _is_text(frames: bytes) -> bool:
    try:
        frames.decode()
    except UnicodeDecodeError:
        return False
    return True
