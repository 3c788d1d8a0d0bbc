"""The websocket clients of ccxt with a tap: everything that comes, at once, and nothing that piles up."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from crypto_tracker.market.providers.exchange.errors import UNREADABLE, plain

_HELD_SECONDS = 1.0


class Asked(Exception):
    """A subscription has been asked for: that is all that was wanted of ccxt's `watch` methods."""


class Tap:
    """Sits in one streaming client of ccxt.

    ccxt gives each new piece of data to whoever awaits its next call of a `watch` method. Between two calls
    data is lost from sight, and a hundred symbols need a hundred waiting tasks. So those methods are used
    only to subscribe, and the data is taken where ccxt hands it to its futures.

    Parameters
    ----------
    client : of ccxt.pro, before its first connection
    on_text : a message as it came, after it was handled: (address without query, text)
    on_message : (address, message) that was read, before ccxt makes data of it; true where that is not wanted
    on_data : what ccxt made of it: a cache of candles or of trades, and the name that it goes by
    on_trouble : a message that cannot be read
    on_refusal : ccxt says that a subscription was refused
    on_loss : the connection is gone
    """

    def __init__(
        self,
        client: Any,
        *,
        on_text: Callable[[str, str], None],
        on_message: Callable[[str, Any], bool],
        on_data: Callable[[Any, str], None],
        on_trouble: Callable[[str, str], None],
        on_refusal: Callable[[str], None],
        on_loss: Callable[[str], None],
        one_by_one: Callable[[Any], Any],
        connecting: bool,
    ) -> None:
        self._on_text = on_text
        self._on_message = on_message
        self._on_data = on_data
        self._on_trouble = on_trouble
        self._on_refusal = on_refusal
        self._on_loss = on_loss
        self.on_pong: Callable[[str, bytes], None] = lambda _url, _held: None
        """A ping of websockets is answered: address, and what the ping held."""
        self._one_by_one = one_by_one
        self._connecting = connecting
        self._client = client
        self.requests: list[tuple[str, str]] = []
        """Address and id of the requests to subscribe that were made since the list was last emptied."""
        self.readable = asyncio.Event()
        """While it is not set, nothing more is read from any socket."""
        self.readable.set()
        self._sockets: dict[str, Any] = {}
        make, handle = client.client, client.handle_message
        lost, closed = client.on_error, client.on_close
        watch, watch_multiple = client.watch, client.watch_multiple

        def made(url: str) -> Any:
            socket = make(url)
            if self._sockets.get(url) is not socket:
                self._sockets[url] = socket
                client.spoke_tls = client.spoke_tls or (connecting and url.startswith("wss:"))
                self._tap(socket)
            return socket

        def handled(socket: Any, message: Any) -> None:
            if self._on_message(socket.url, message):
                return
            for part in self._one_by_one(message):
                handle(socket, part)

        def on_error(socket: Any, error: Any) -> None:
            lost(socket, error)
            self._on_loss(plain(error) if isinstance(error, BaseException) else str(error))

        def on_close(socket: Any, code: Any) -> None:
            closed(socket, code)
            self._on_loss(f"{client.id} closed the connection ({code})")

        def asked(*arguments: Any, **named: Any) -> Any:
            return self._asked(watch, arguments, named)

        def asked_multiple(*arguments: Any, **named: Any) -> Any:
            return self._asked(watch_multiple, arguments, named)

        client.client, client.handle_message = made, handled
        client.on_error, client.on_close = on_error, on_close
        client.watch, client.watch_multiple = asked, asked_multiple

    @property
    def open_addresses(self) -> list[str]:
        """The addresses of all connections that stand."""
        return [url for url, socket in self._sockets.items() if socket.isConnected and not socket.closed()]

    async def ask(self, url: str, message: Mapping[str, Any] | bytes) -> None:
        """Send a message over a connection that stands, or a ping of websockets that holds these bytes."""
        socket = self._sockets[url]
        try:
            if isinstance(message, bytes):
                await socket.connection.ping(message)
            else:
                await socket.send(dict(message))
        except (OSError, RuntimeError) as error:
            self._on_loss(f"{self._client.id} cannot be asked whether it lives ({plain(error)})")

    def receive(self, url: str, text: str) -> None:
        """Take a message as if it had come from this address."""
        self._take(self._client.client(url), text)

    def _asked(self, watch: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        message = named.get("message", arguments[2] if len(arguments) > 2 else None)
        if isinstance(message, Mapping):
            request = message.get("req_id", message.get("id"))
            if request is not None:
                self.requests.append((str(named.get("url", arguments[0])), str(request)))
        if self._connecting:
            watch(*arguments, **named).add_done_callback(self._answered)
        raise Asked

    def _answered(self, future: Any) -> None:
        """The first data of a subscription, which has been taken already, or why it was refused."""
        if not future.cancelled() and (error := future.exception()) is not None:
            self._on_refusal(plain(error))

    def _tap(self, socket: Any) -> None:
        from aiohttp import WSMsgType  # noqa: PLC0415 - comes with ccxt

        resolve, receive, heard = socket.resolve, socket.receive, socket.handle_message
        socket.handle_text_or_binary_message = lambda data: self._take(socket, data)

        def resolved(result: Any, message_hash: Any) -> Any:
            self._on_data(result, str(message_hash))
            return resolve(result, message_hash)

        async def received() -> Any:
            while not self.readable.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_HELD_SECONDS):
                        await self.readable.wait()
                self._is_alive(socket)  # its answers to pings lie unread behind what is held back
            return await receive()

        def handled(message: Any) -> None:
            if message.type is WSMsgType.PONG:
                self.on_pong(socket.url, bytes(message.data))
            heard(message)

        socket.resolve, socket.receive, socket.handle_message = resolved, received, handled

    def _is_alive(self, socket: Any) -> None:
        """Ccxt gives up a socket whose answers to pings stay out; other messages are as good as those."""
        socket.lastPong = self._client.milliseconds()

    def _take(self, socket: Any, data: str | bytes) -> None:
        """Hand a message to ccxt. What it cannot read must not end the loop that reads the socket."""
        import ccxt  # noqa: PLC0415 - heavy; a socket of it is open

        self._is_alive(socket)
        text = data if isinstance(data, str) else data.decode(errors="replace")
        try:
            type(socket).handle_text_or_binary_message(socket, text)
        except (ccxt.BaseError, *UNREADABLE) as error:
            self._on_trouble("message", f"{type(error).__name__}: {plain(error)}")
        # Steps that the message led to stand before it in a recording, as they come before its data.
        self._on_text(socket.url.partition("?")[0], text)
