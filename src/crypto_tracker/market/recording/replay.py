"""Plays a recording through the seams over which it was made: sockets, HTTP, messages of other libraries."""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from crypto_tracker.core.errors import ProviderRefused, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.recording.format import (
    SOCKET_PREFIX,
    Kind,
    Mask,
    Record,
    read_header,
    read_records,
)
from crypto_tracker.market.recording.histories import Fetch, fetch_of
from crypto_tracker.net.sockets import Proof, Socket, SocketClosed, SocketSilent, SocketUnreachable


class RecordingEnded(ProviderRefused):
    """Everything that was recorded has been played."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a recording is of.

    Attributes
    ----------
    streams : the symbols of each stream that was asked for, in order
    symbols : all that were streamed or fetched
    of_sockets : whether it has connections of our own; those of other libraries are read in one go
    has_stream : whether anything was streamed
    ended_ns : when its last line was written
    """

    streams: tuple[tuple[Symbol, ...], ...]
    symbols: tuple[Symbol, ...]
    of_sockets: bool
    has_stream: bool
    has_fetched: bool
    ended_ns: int


class Replay:
    """A recorded session as if it happened now.

    Each attempt to connect gets the connection that the recorded session got at the same attempt, each
    request the answer to its like. Whoever reads gets every message, every silence and every end in the
    recorded order, so the same reader does the same again. Where the recording ends, RecordingEnded is
    raised, which ends a stream.

    Parameters
    ----------
    path : of the recording
    speed : 1 as it was, 60 a minute in a second, 0 as fast as the reader takes it
    """

    def __init__(self, path: Path, speed: float = 0.0) -> None:
        if not 0.0 <= speed < float("inf"):
            raise UsageError(f"a speed of {speed:g} cannot be played: give 0 (as fast as possible) or more")
        self.header = read_header(path)
        self._path = path
        self._pace = _Pace(self.header.started_ns, speed)
        self._sockets = _Lines(_of_sockets(read_records(path)), lambda record: record.connection)
        self._answers = _Lines(_of_http(read_records(path)), _request_of)
        self._connections = 0

    def now_ms(self) -> int:
        """The recorded time of the newest line that was played."""
        return self._pace.now_ns // 1_000_000

    def contents(self) -> Contents:
        """What the recording is of, for which it is read once."""
        streams: list[tuple[Symbol, ...]] = []
        symbols: dict[Symbol, None] = {}
        connections, has_fetched, ended_ns = set(), False, self.header.started_ns
        for record in read_records(self._path):
            ended_ns = record.time_ns
            connections.add(record.connection[:1])
            if record.kind is Kind.STREAMING:
                streams.append(tuple(map(Symbol.parse, record.fields["symbols"])))
                symbols |= dict.fromkeys(streams[-1])
            elif record.kind is Kind.FETCHED:
                has_fetched = True
                symbols[Symbol.parse(record.fields["symbol"])] = None
        return Contents(
            streams=tuple(streams),
            symbols=tuple(symbols),
            of_sockets=SOCKET_PREFIX in connections,
            has_stream=bool(streams or connections - {""}),
            has_fetched=has_fetched,
            ended_ns=ended_ns,
        )

    def fetches(self) -> Iterator[Fetch]:
        """Everything that was fetched, in the order in which it came."""
        return (fetch_of(record) for record in read_records(self._path) if record.kind is Kind.FETCHED)

    def before_each(self, meanwhile: Callable[[int], Awaitable[None]]) -> None:
        """From now on wait for `meanwhile(time_ns)` before a line of that time is played."""
        self._pace.meanwhile = meanwhile

    async def reach(self, time_ns: int) -> None:
        """Wait for a moment of the recording, at this speed."""
        await self._pace.reach(time_ns)

    async def sleep(self, seconds: float) -> None:
        """Wait as long as that takes at this speed."""
        await self._pace.sleep(seconds)

    @contextlib.asynccontextmanager
    async def connect(self, url: str) -> AsyncIterator[Socket]:
        """The next recorded attempt to connect, whatever its URL was; a `Connect`."""
        self._connections += 1
        connection = f"{SOCKET_PREFIX}{self._connections}"
        record = self._sockets.next(connection)
        if record is None:
            raise RecordingEnded(
                f"{self._path} ends here: it has {self._connections - 1} attempts to connect to {url}"
            )
        await self._pace.until(record)
        if record.kind is Kind.FAILED:
            raise SocketUnreachable(str(record.fields["reason"]))
        yield _PlayedSocket(self._path, connection, self._sockets, self._pace)

    def transport(self) -> httpx.AsyncBaseTransport:
        """Answers to requests, each as its like was answered, in the recorded order."""
        return _PlayedTransport(self._path, self._answers, self._pace)

    async def answer(self, method: str, url: str) -> tuple[int, str]:
        """Status and body that another library got for this request."""
        record = await _answer(self._path, self._answers, self._pace, method, url)
        return int(record.fields["status"]), record.text

    async def messages(self) -> AsyncIterator[Record]:
        """What other libraries opened, sent, received and closed, one record after the other."""
        for record in read_records(self._path):
            if record.connection and not record.connection.startswith(SOCKET_PREFIX):
                await self._pace.until(record)
                yield record


class _Pace:
    """When the next line is due, and how late it is in the recording."""

    def __init__(self, started_ns: int, speed: float) -> None:
        self._started_ns = started_ns
        self._speed = speed
        self._began: float | None = None
        self.now_ns = started_ns
        self.meanwhile: Callable[[int], Awaitable[None]] | None = None

    async def until(self, record: Record) -> None:
        if self.meanwhile is not None:
            await self.meanwhile(record.time_ns)
        await self.reach(record.time_ns)

    async def reach(self, time_ns: int) -> None:
        seconds = 0.0
        if self._speed:
            now = asyncio.get_running_loop().time()
            if self._began is None:
                self._began = now
            seconds = self._began + (time_ns - self._started_ns) / 1e9 / self._speed - now
        await asyncio.sleep(max(seconds, 0.0))  # also lets others go on when nothing is to be waited for
        self.now_ns = max(self.now_ns, time_ns)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._speed if self._speed else 0.0)


class _Lines:
    """Records by a key: reads on only as far as needed, and keeps what others will ask for."""

    def __init__(self, records: Iterator[Record], key: Callable[[Record], str]) -> None:
        self._records = records
        self._key = key
        self._kept: defaultdict[str, deque[Record]] = defaultdict(deque)

    def peek(self, key: str) -> Record | None:
        """The next record of a key, None where there is no other."""
        while key not in self._kept:
            record = next(self._records, None)
            if record is None:
                return None
            self._kept[self._key(record)].append(record)
        return self._kept[key][0]

    def next(self, key: str) -> Record | None:
        """Take it."""
        record = self.peek(key)
        if record is not None:
            self._kept[key].popleft()
            if not self._kept[key]:
                del self._kept[key]
        return record


class _PlayedSocket:
    """A recorded connection."""

    def __init__(self, path: Path, connection: str, lines: _Lines, pace: _Pace) -> None:
        self._path = path
        self._connection = connection
        self._lines = lines
        self._pace = pace

    async def send(self, text: str) -> None:  # noqa: ARG002 - the answers are recorded, whatever is asked
        record = self._lines.peek(self._connection)
        if record is not None and record.kind is Kind.SENT:
            self._lines.next(self._connection)
            await self._pace.until(record)
        record = self._lines.peek(self._connection)
        if record is not None and record.fields.get("during") == Kind.SENT:
            raise _closed(record)

    def prove(self, every_seconds: float, mark: Callable[[], int]) -> None:
        """What was proven is recorded."""

    async def receive(self, within_seconds: float | None = None) -> str | bytes | Proof:  # noqa: ARG002 - likewise
        record = self._lines.peek(self._connection)
        while record is not None and record.kind is Kind.SENT:
            self._lines.next(self._connection)
            record = self._lines.peek(self._connection)
        if record is None or record.kind is Kind.LEFT:
            raise RecordingEnded(f"{self._path} ends here: nobody read on from connection {self._connection}")
        await self._pace.until(record)
        if record.kind is Kind.CLOSED:
            raise _closed(record)  # and it stays closed
        self._lines.next(self._connection)
        if record.kind is Kind.SILENT:
            raise SocketSilent(float(record.fields["seconds"]))
        if record.kind is Kind.PROVEN:
            return Proof(int(record.fields["mark"]))
        return record.content


class _PlayedTransport(httpx.AsyncBaseTransport):
    """Answers from a recording."""

    def __init__(self, path: Path, lines: _Lines, pace: _Pace) -> None:
        self._path = path
        self._lines = lines
        self._pace = pace

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        record = await _answer(self._path, self._lines, self._pace, request.method, str(request.url))
        if record.kind is Kind.FAILED:
            raise _transport_error(str(record.fields["error"]))(str(record.fields["reason"]), request=request)
        content = record.content
        return httpx.Response(
            int(record.fields["status"]),
            headers=record.fields["headers"],
            content=content if isinstance(content, bytes) else content.encode(),
            request=request,
        )


def _of_sockets(records: Iterator[Record]) -> Iterator[Record]:
    return (record for record in records if record.connection.startswith(SOCKET_PREFIX))


def _of_http(records: Iterator[Record]) -> Iterator[Record]:
    """Answers and requests that got none."""
    kinds = {Kind.ANSWER, Kind.FAILED}
    return (record for record in records if not record.connection and record.kind in kinds)


def _request_of(record: Record) -> str:
    return f"{record.fields['method']} {record.fields['url']}"


async def _answer(path: Path, lines: _Lines, pace: _Pace, method: str, url: str) -> Record:
    asked = f"{method.upper()} {Mask().url(url)}"
    record = lines.next(asked)
    if record is None:
        raise RecordingEnded(f"{path} has no further answer to {asked}")
    await pace.until(record)
    return record


def _closed(record: Record) -> SocketClosed:
    return SocketClosed(int(record.fields["code"]), str(record.fields["reason"]))


def _transport_error(name: str) -> type[httpx.TransportError]:
    """The class of a recorded failure; the common one where this version of httpx has no such class."""
    named = getattr(httpx, name, None)
    if isinstance(named, type) and issubclass(named, httpx.TransportError):
        return named
    return httpx.TransportError
