"""What the local exchanges have in common: a market, faults, requests noted, and sockets to speak over."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from aiohttp import WSMsgType, web

from tests.servers.threaded import served

MINUTE_MS = 60_000


@dataclass(frozen=True)
class Fault:
    """What goes wrong once, with the first request whose path holds `path`."""

    path: str = ""
    status: int = 200
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    edit: Callable[[Any], Any] | None = None  # of the answer, before it is sent
    cut: bool = False  # the JSON ends in the middle, and HTTP finds nothing wrong
    slow_seconds: float = 0.0
    disconnect: bool = False  # half way


@dataclass(frozen=True)
class Bar:
    """One minute of a market."""

    time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    n_trades: int = 3

    @property
    def turnover(self) -> float:
        return round(self.volume * (self.open + self.close) / 2, 8)


@dataclass(frozen=True)
class Deal:
    """One trade of a market; price and quantity as the exchange writes them."""

    time_ms: int
    price: str
    quantity: str
    id: int


def coarser(bars: Sequence[Bar], length_ms: int) -> list[Bar]:
    """Bars of a length made of minutes."""
    groups: dict[int, list[Bar]] = {}
    for bar in bars:
        groups.setdefault(bar.time_ms - bar.time_ms % length_ms, []).append(bar)
    return [
        Bar(
            time_ms,
            group[0].open,
            max(bar.high for bar in group),
            min(bar.low for bar in group),
            group[-1].close,
            round(sum(bar.volume for bar in group), 8),
            sum(bar.n_trades for bar in group),
        )
        for time_ms, group in sorted(groups.items())
    ]


def minutes(start_ms: int, count: int, *, without: Sequence[int] = (), price: float = 100.0) -> list[Bar]:
    """Minutes that all differ, but those whose number is in `without`."""
    return [
        Bar(
            start_ms + index * MINUTE_MS,
            price + index % 7,
            price + 8 + index % 5,
            price - 3 - index % 3,
            price + index % 4,
            1.5 + index % 11,
            1 + index % 9,
        )
        for index in range(count)
        if index not in without
    ]


class ExchangeServer:
    """A local exchange; its fields may be changed at any time.

    Parameters
    ----------
    market : minutes by our symbol; the one in which `now_ms` lies is still open
    now_ms : what the exchange takes for now: it has no bars that open later
    """

    name = ""

    def __init__(
        self,
        market: Mapping[str, Sequence[Bar]],
        *,
        now_ms: Callable[[], int],
        faults: Sequence[Fault] = (),
        deals: Mapping[str, Sequence[Deal]] | None = None,
    ) -> None:
        self.market = {symbol: list(bars) for symbol, bars in market.items()}
        self.deals = {symbol: list(deals) for symbol, deals in (deals or {}).items()}
        self.now_ms = now_ms
        self.faults = list(faults)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.sent: list[Any] = []  # what came over sockets, besides pings
        self.opened = 0  # sockets in all
        self.confirming = True
        self.answering = True  # pings
        self.unanswered = 0  # pings
        self.clock_ms = now_ms  # what it writes on what it says
        self.refusing: set[str] = set()
        self.url = ""
        self._sockets: list[web.WebSocketResponse] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- what each exchange says in its own way

    def rest(self, path: str, query: dict[str, str]) -> Any:
        """The document of an answer; None for what it does not have."""
        raise NotImplementedError

    async def heard(self, socket: web.WebSocketResponse, message: Any) -> None:
        """A message of the client."""
        raise NotImplementedError

    def settings(self) -> str:
        """What a user writes into market_data.exchanges.NAME.settings to be connected here."""
        raise NotImplementedError

    # -- what tests do

    def bars(self, symbol: str, length_ms: int) -> list[Bar]:
        """Bars that have begun by now."""
        return coarser([bar for bar in self.market[symbol] if bar.time_ms <= self.now_ms()], length_ms)

    @property
    def sockets(self) -> int:
        return len(self._sockets)

    def push(self, message: Any) -> None:
        """Say something over every socket."""
        text = message if isinstance(message, str) else json.dumps(message)
        self._do(self._push(text))

    def drop(self) -> None:
        """Cut every socket without a word."""
        self._do(self._drop())

    def asked(self, path: str) -> list[dict[str, str]]:
        return [query for asked, query in self.requests if path in asked]

    def _do(self, work: Any) -> None:
        assert self._loop is not None, "nobody has spoken to this server yet"
        asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    async def _push(self, text: str) -> None:
        for socket in list(self._sockets):
            await socket.send_str(text)

    async def _drop(self) -> None:
        for socket in list(self._sockets):
            if socket._req is not None and socket._req.transport is not None:
                socket._req.transport.abort()

    # -- the frame around every answer

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self._loop = asyncio.get_running_loop()
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._speak(request)
        path, query = request.path, dict(request.query)
        self.requests.append((path, query))
        fault = self._fault_of(path)
        document = self.rest(path, query)
        if fault.edit is not None:
            document = fault.edit(document)
        if document is None and fault.status == 200:
            return web.Response(status=404, text='{"error": "no such path"}')
        body = json.dumps(document) if fault.body is None else fault.body
        if fault.cut:
            body = body[: len(body) // 2]
        if fault.slow_seconds:
            await asyncio.sleep(fault.slow_seconds)
        if fault.disconnect:
            response = web.StreamResponse(headers={"Content-Length": str(len(body))})
            await response.prepare(request)
            await response.write(body[: len(body) // 2].encode())
            assert request.transport is not None
            request.transport.abort()
            return response
        date = {"Date": formatdate(self.clock_ms() / 1000, usegmt=True)}
        return web.Response(
            status=fault.status, text=body, headers=date | fault.headers, content_type="application/json"
        )

    def _fault_of(self, path: str) -> Fault:
        for fault in self.faults:
            if fault.path in path:
                self.faults.remove(fault)
                return fault
        return Fault()

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        self.opened += 1
        self._sockets.append(socket)
        try:
            await self.welcomed(socket)
            async for message in socket:
                heard = json.loads(message.data) if message.type is WSMsgType.TEXT else None
                is_ping = message.type is WSMsgType.PING or (heard is not None and self.is_ping(heard))
                if is_ping and not self.answering:
                    self.unanswered += 1
                elif message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif heard is not None:
                    if not is_ping:
                        self.sent.append(heard)
                    await self.heard(socket, heard)
        finally:
            self._sockets.remove(socket)
        return socket

    def is_ping(self, message: Any) -> bool:
        """Whether a message asks for nothing but a sign of life."""
        return message.get("method") == "ping" or message.get("type") == "ping"

    async def welcomed(self, socket: web.WebSocketResponse) -> None:
        """What is said first on a new socket: nothing."""

    @contextmanager
    def running(self) -> Iterator["ExchangeServer"]:
        with served(self.answer) as url:
            self.url = url
            yield self


def eventually(what: Callable[[], bool], *, seconds: float = 120.0) -> Callable[[], Any]:
    """Waits in an event loop until something holds."""

    async def wait() -> None:
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, "it did not happen"
            await asyncio.sleep(0.005)

    return wait
