"""Websockets: one protocol for whoever speaks over one, and the real connection behind it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
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


class Socket(Protocol):
    """An open connection. Leaving the context that gave it closes it."""

    async def send(self, text: str) -> None:
        """Send one message; raises SocketClosed where the connection has ended."""
        ...

    async def receive(self, within_seconds: float | None = None) -> str | bytes:
        """The next message.

        Raises SocketClosed after the last one, and SocketSilent when nothing came in `within_seconds`; with
        0, whose time is over before it asks, at once and whatever is there.
        """
        ...


Connect = Callable[[str], AbstractAsyncContextManager[Socket]]
"""Opens a connection to a URL; raises SocketUnreachable where that fails."""


class _Websocket:
    """A connection over the network."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except ConnectionClosed as error:
            raise _closed(error) from None

    async def receive(self, within_seconds: float | None = None) -> str | bytes:
        if within_seconds is not None and within_seconds <= 0.0:
            raise SocketSilent(0.0)
        try:
            async with asyncio.timeout(within_seconds):
                return await self._connection.recv()
        except ConnectionClosed as error:
            raise _closed(error) from None
        except TimeoutError:
            raise SocketSilent(within_seconds or 0.0) from None


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
