"""Websockets: one protocol for whoever speaks over one, and the real connection behind it."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidURI, WebSocketException

from crypto_tracker.core.errors import ProviderUnavailable, UsageError

MESSAGE_BYTES_MAX = 4 * 2**20
"""A longer message closes the connection: a hundred bars take 20 thousand bytes."""
FRAMES_WAITING_MAX = 16
"""With so many unread frames nothing more is read, and the other side has to wait."""

_PING_SECONDS = 20.0
_PONG_SECONDS = 60.0  # generous: while a slow reader holds the socket back, nobody sees the answers to pings
_OPEN_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
_CLOSED_WITHOUT_A_WORD = 1006


class SocketClosed(ProviderUnavailable):
    """The connection has ended; 1000 is a clean end, 1006 one without a word."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the connection was closed ({code}{': ' if reason else ''}{reason})")
        self.code = code
        self.reason = reason


class SocketUnreachable(ProviderUnavailable):
    """No connection came about."""


class SocketSilent(ProviderUnavailable):
    """Nothing came for as long as the reader was willing to wait; the connection still stands."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"nothing came for {seconds:g} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Proof:
    """The other side has answered: all that it sent before it was asked has been received, and read.

    `mark` is what the moment of asking was marked with.
    """

    mark: int


class Socket(Protocol):
    """An open connection. Leaving the context that gave it closes it."""

    async def send(self, text: str) -> None:
        """Send one message; raises SocketClosed where the connection has ended."""
        ...

    async def receive(self, within_seconds: float | None = None) -> str | bytes | Proof:
        """The next message, or a proof that was asked for by `prove`.

        Raises SocketClosed after the last one, and SocketSilent when no message came in `within_seconds`,
        proofs or not; with 0, whose time is over before it asks, at once and whatever is there.
        """
        ...

    def prove(self, every_seconds: float, mark: Callable[[], int]) -> None:
        """From now on ask the other side every so often whether it lives, marked with `mark()` each time."""
        ...


Connect = Callable[[str], AbstractAsyncContextManager[Socket]]
"""Opens a connection to a URL; raises SocketUnreachable where that fails."""


class _Websocket:
    """A connection over the network."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._prove_seconds: float | None = None
        self._mark: Callable[[], int]
        self._ask_at = 0.0
        self._asked: tuple[int, asyncio.Future[float]] | None = None  # the mark of a ping, and its answer
        self._silent_since: float | None = None

    async def send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except ConnectionClosed as error:
            raise _closed(error) from None

    def prove(self, every_seconds: float, mark: Callable[[], int]) -> None:
        self._prove_seconds, self._mark = every_seconds, mark

    async def receive(self, within_seconds: float | None = None) -> str | bytes | Proof:
        if within_seconds is not None and within_seconds <= 0.0:
            raise SocketSilent(0.0)
        loop = asyncio.get_running_loop()
        if self._silent_since is None:
            self._silent_since = loop.time()
        ends_at = math.inf if within_seconds is None else self._silent_since + within_seconds
        try:
            while True:
                await self._ask()
                message = await self._message(min(ends_at, self._wake_at()))
                if message is not None:
                    self._silent_since = None
                    return message
                if self._asked is not None and self._is_answered():
                    # What came before the answer may have come in the same moment: it is read first.
                    message = await self._message(loop.time())
                    if message is not None:
                        self._silent_since = None
                        return message
                    mark, self._asked = self._asked[0], None
                    return Proof(mark)
                if loop.time() >= ends_at:
                    self._silent_since = None
                    raise SocketSilent(within_seconds or 0.0)
        except ConnectionClosed as error:
            raise _closed(error) from None

    async def _message(self, until: float) -> str | bytes | None:
        """What there is to read, or comes until then; None also where a ping is answered meanwhile."""
        pong = None if self._asked is None else self._asked[1]
        waits = pong is not None and not pong.done()

        def wake(_pong: object) -> None:
            if waits and not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())

        try:
            async with asyncio.timeout_at(None if until == math.inf else until) as limit:
                if waits and pong is not None:
                    pong.add_done_callback(wake)
                try:
                    return await self._connection.recv()
                finally:
                    waits = False
                    if pong is not None:
                        pong.remove_done_callback(wake)
        except TimeoutError:
            return None

    async def _ask(self) -> None:
        """Send a ping where it is time for one, and the last one is answered."""
        now = asyncio.get_running_loop().time()
        if self._prove_seconds is None or self._asked is not None or now < self._ask_at:
            return
        self._ask_at = now + self._prove_seconds
        mark = self._mark()
        with contextlib.suppress(ConnectionClosed):  # of which the reader is told after all that came
            self._asked = mark, asyncio.ensure_future(await self._connection.ping())

    def _wake_at(self) -> float:
        if self._prove_seconds is None or (self._asked is not None and not self._is_answered()):
            return math.inf
        return asyncio.get_running_loop().time() if self._asked is not None else self._ask_at

    def _is_answered(self) -> bool:
        pong = None if self._asked is None else self._asked[1]
        return pong is not None and pong.done() and not pong.cancelled() and pong.exception() is None


def _closed(error: ConnectionClosed) -> SocketClosed:
    """What the other side said when it closed, else why we did."""
    frame = error.rcvd or error.sent
    if frame is None:
        return SocketClosed(_CLOSED_WITHOUT_A_WORD, "the line was cut")
    return SocketClosed(frame.code, frame.reason)


@contextlib.asynccontextmanager
async def open_socket(url: str) -> AsyncIterator[Socket]:
    """Connect to `ws://` or `wss://`.

    A ping every 20 s finds a dead line. Unread messages are few and their size is limited, so a slow reader
    slows the sender down and memory stays bounded.
    """
    try:
        connection = await connect(
            url,
            open_timeout=_OPEN_SECONDS,
            close_timeout=_CLOSE_SECONDS,
            ping_interval=_PING_SECONDS,
            ping_timeout=_PONG_SECONDS,
            max_size=MESSAGE_BYTES_MAX,
            max_queue=FRAMES_WAITING_MAX,
            user_agent_header="crypto-tracker",
        )
    except InvalidURI as error:
        raise UsageError(f"{url!r} is no address of a websocket ({error}): write ws:// or wss://") from None
    except (OSError, TimeoutError, WebSocketException) as error:
        raise SocketUnreachable(f"cannot connect to {url}: {str(error) or 'no answer'}") from error
    try:
        yield _Websocket(connection)
    finally:
        await connection.close()
