"""A local server that speaks the sequence of Massive's crypto stream, with faults by a script.

    market = Market(["BTC-USD", "ETH-USD"], start_ms=START, n_minutes=1440)
    with MassiveStreamServer(market, FaultScript.of({3: Fault(Kind.CUT)})) as server:
        ... connect a client to server.url ...

It runs in a thread of its own, or in the loop of the test (`async with server.here()`). Time of the market goes on in one of three ways:

- as fast as the client takes the minutes (the default); it stands still while nobody is subscribed, but for
  the minutes that a fault lets pass (`Fault.missed`);
- `seconds_per_minute=0.1`: by the clock (`seconds`), whoever is connected;
- `stepped=True`: by `release(minutes)` of the test.

`now_ms()` is the time of the market. `history(...)` is what a REST server would answer from the same market.
"""

import asyncio
import contextlib
import json
import math
import random
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import numpy as np
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

MINUTE_MS = 60_000
ARRIVES_MS = 200  # after the close of its minute, a bar is sent
KEY = "a-key-of-the-tests"
_DEADLINE = 120.0  # seconds, for the thread to start and to end


class Kind(StrEnum):
    """What can go wrong."""

    CUT = "cut"  # the TCP connection ends in the middle of a frame
    CLEAN_CLOSE = "clean_close"  # close 1000 without a word
    SILENCE = "silence"  # connected, and nothing comes any more
    DEAD = "dead"  # the same, and not even pings are answered: the line is gone, and nobody was told
    SLOW_CONSUMER = "slow_consumer"
    FORCE_DISCONNECT = "force_disconnect"
    ERROR = "error"
    # the connection is closed, and what comes next goes wrong
    UNREACHABLE = "unreachable"  # HTTP 503
    NO_GREETING = "no_greeting"
    AUTH_FAILED = "auth_failed"
    AUTH_TIMEOUT = "auth_timeout"
    MAX_CONNECTIONS = "max_connections"  # after everything went well
    SUBSCRIPTION_REFUSED = "subscription_refused"  # of one pair
    SUBSCRIPTION_IGNORED = "subscription_ignored"
    # the connection lives on
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"  # after the minute that follows
    LATE_CORRECTION = "late_correction"
    WRONG_SYMBOL = "wrong_symbol"
    NOT_A_NUMBER = "not_a_number"
    EMPTY_STRING = "empty_string"
    MISSING_FIELD = "missing_field"
    ABSURD_PRICE = "absurd_price"
    EARLY = "early"  # the provider's clock is ahead of ours
    LATE = "late"
    ONE_LATE = "one_late"  # the bar of one pair
    TRUNCATED_JSON = "truncated_json"
    SLOW_DRIP = "slow_drip"  # a frame in many small pieces
    NO_ARRAY = "no_array"
    UNKNOWN_EVENT = "unknown_event"
    OTHER_EVENTS = "other_events"
    NOT_A_MINUTE = "not_a_minute"


ENDS = frozenset(
    {
        Kind.CUT,
        Kind.CLEAN_CLOSE,
        Kind.SILENCE,
        Kind.DEAD,
        Kind.SLOW_CONSUMER,
        Kind.FORCE_DISCONNECT,
        Kind.ERROR,
    }
)
LOGINS = frozenset(
    {
        *(Kind.UNREACHABLE, Kind.NO_GREETING, Kind.AUTH_FAILED, Kind.AUTH_TIMEOUT, Kind.MAX_CONNECTIONS),
        *(Kind.SUBSCRIPTION_REFUSED, Kind.SUBSCRIPTION_IGNORED),
    }
)
SURVIVABLE = tuple(kind for kind in Kind if kind not in {Kind.AUTH_FAILED, Kind.DEAD, Kind.ONE_LATE})
"""What a stream has to live through, whatever the pace of its market; a refused key ends it."""
IN_TIME = (*SURVIVABLE, Kind.DEAD, Kind.ONE_LATE)
"""What it has to live through in a market that goes by the clock."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes
    ----------
    pair : whose bar it concerns; "" the first that traded in that minute
    seconds : how long a slow drip takes
    skew_ms : by how much a bar is early or late
    times : how many logins in a row go wrong
    missed : minutes that pass while nobody is connected, besides the one of the fault; where the time of the
        market is not that of the clock
    """

    kind: Kind
    pair: str = ""
    seconds: float = 0.02
    skew_ms: int = 2_000
    times: int = 1
    missed: int = 0


@dataclass(frozen=True)
class FaultScript:
    """Which minute, counted from 0, has which fault, and which faults the first logins meet."""

    by_minute: Mapping[int, Fault] = field(default_factory=dict)
    logins: Sequence[Fault] = ()

    @classmethod
    def of(cls, by_minute: Mapping[int, Fault | Kind], logins: Sequence[Fault | Kind] = ()) -> "FaultScript":
        """Kinds stand for faults with nothing special about them."""
        made = {minute: Fault(f) if isinstance(f, Kind) else f for minute, f in by_minute.items()}
        return cls(made, [Fault(f) if isinstance(f, Kind) else f for f in logins])

    @classmethod
    def from_seed(
        cls,
        seed: int,
        n_minutes: int,
        *,
        pairs: Sequence[str] = (),
        every: int = 1,
        kinds: Sequence[Kind] = SURVIVABLE,
        missed_max: int = 2,
        seconds: float = 0.02,
    ) -> "FaultScript":
        """A fault in every `every`-th minute but the first and the last two; each kind about equally often."""
        chance = random.Random(seed)
        minutes = range(1, n_minutes - 2, every)
        bag: list[Kind] = []
        faults = {}
        for minute in minutes:
            if not bag:
                bag = list(kinds)
                chance.shuffle(bag)
            kind = bag.pop()
            faults[minute] = Fault(
                kind,
                pair=chance.choice(pairs) if pairs and chance.random() < 0.5 else "",
                seconds=seconds,
                skew_ms=chance.randrange(500, 4_000),
                missed=chance.randint(0, missed_max),
            )
        return cls(faults)


class Market:
    """Made-up minutes of many pairs; in some minutes a pair is not traded."""

    def __init__(
        self,
        pairs: Sequence[str],
        *,
        start_ms: int,
        n_minutes: int,
        seed: int = 1,
        no_trade: float = 0.02,
    ) -> None:
        assert start_ms % MINUTE_MS == 0
        rng = np.random.default_rng(seed)
        shape = (n_minutes, len(pairs))
        level = np.exp(rng.normal(2.0, 2.0, len(pairs)))
        steps = rng.normal(0.0, 0.001, shape)
        close = level * np.exp(np.cumsum(steps, axis=0))
        open_ = np.vstack([level, close[:-1]])
        spread = np.abs(rng.normal(0.0, 0.0005, (2, *shape)))
        self.pairs = list(pairs)
        self.start_ms = start_ms
        self.n_minutes = n_minutes
        self.open = _rounded(open_)
        self.close = _rounded(close)
        self.high = np.maximum(
            _rounded(np.maximum(open_, close) * (1 + spread[0])), np.maximum(self.open, self.close)
        )
        self.low = np.minimum(
            _rounded(np.minimum(open_, close) * (1 - spread[1])), np.minimum(self.open, self.close)
        )
        self.volume = np.round(rng.lognormal(3.0, 1.0, shape), 4)
        self.traded = rng.random(shape) >= no_trade
        self._column = {pair: column for column, pair in enumerate(self.pairs)}

    def open_ms(self, minute: int) -> int:
        return self.start_ms + minute * MINUTE_MS

    def event(self, minute: int, pair: str) -> dict[str, Any] | None:
        """The minute of a pair as the stream sends it; None where nobody traded."""
        column = self._column[pair]
        if not self.traded[minute, column]:
            return None
        low, high = float(self.low[minute, column]), float(self.high[minute, column])
        start = self.open_ms(minute)
        return {
            "ev": "XA",
            "pair": pair,
            "v": float(self.volume[minute, column]),
            "vw": float(f"{(low + high) / 2:.10g}"),
            "z": 1,
            "o": float(self.open[minute, column]),
            "c": float(self.close[minute, column]),
            "h": high,
            "l": low,
            "s": start,
            "e": start + MINUTE_MS,
        }


def _rounded(values: np.ndarray) -> np.ndarray:
    """Eight significant digits, so that a price reads the same in every notation."""
    scale = 10.0 ** (7 - np.floor(np.log10(values)))
    return np.round(values * scale) / scale


@dataclass
class ConnectionLog:
    """What a client did on one connection, and what became of it."""

    number: int
    path: str
    login_fault: Kind | None
    opened_at: float  # monotonic seconds
    key: str | None = None
    asked: list[str] = field(default_factory=list)  # params of each subscription
    topics: set[str] = field(default_factory=set)  # confirmed
    minutes: int = 0  # that were sent
    end: str = ""


class _Gone(Exception):
    """The connection is over for the sender."""


class MassiveStreamServer:
    """See the module. A context manager; its attributes may be read from other threads at any time.

    Attributes
    ----------
    connections : one log for each connection, in their order
    done : (minute, kind) of the faults that happened
    unsent : minutes that no connection was sent whole
    corrected : (pair, open_ms) of corrections that were sent, with their events
    finished : set when the last minute was sent
    """

    def __init__(
        self,
        market: Market,
        script: FaultScript | None = None,
        *,
        key: str = KEY,
        seconds_per_minute: float = 0.0,
        stepped: bool = False,
        events_per_frame: int = 50,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.market = market
        self.connections: list[ConnectionLog] = []
        self.done: list[tuple[int, Kind]] = []
        self.unsent: set[int] = set()
        self.corrected: dict[tuple[str, int], dict[str, Any]] = {}
        self.finished = threading.Event()
        self.refused = 0  # attempts that got HTTP 503
        self.port = 0
        script = script or FaultScript()
        self._key = key
        self._faults = dict(script.by_minute)
        self._logins: deque[Fault] = deque(script.logins)
        self._seconds_per_minute = seconds_per_minute
        self._stepped = stepped
        self._events_per_frame = events_per_frame
        self._seconds = seconds
        self._minute = 0  # the next to be sent
        self._now_ms = market.start_ms
        self._held: tuple[int, list[dict[str, Any]]] | None = None  # sent after the minute that follows it
        self._holder: ServerConnection | None = None
        self._errors: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = threading.Event()
        self._began = 0.0
        self._loop: asyncio.AbstractEventLoop
        self._permits: asyncio.Semaphore
        self._stop: asyncio.Event
        self._thread = threading.Thread(target=self._run, name="massive stream server")

    # ----------------------------------------------------------------------------------- for the test

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/crypto"

    def now_ms(self) -> int:
        """The time of the market."""
        if self._seconds_per_minute:
            passed = (self._seconds() - self._began) / self._seconds_per_minute * MINUTE_MS
            return self.market.start_ms + int(passed)
        return self._now_ms

    def release(self, minutes: int = 1) -> None:
        """Let so many more minutes be sent."""

        def permit() -> None:
            for _ in range(minutes):
                self._permits.release()

        self._loop.call_soon_threadsafe(permit)

    def history(self, pair: str, start_ms: int, end_ms: int) -> list[dict[str, Any]]:
        """The closed minutes of a pair that open in [start_ms, end_ms), in fields of REST; corrections
        count from when they were sent."""
        if pair not in self.market.pairs:
            return []
        newest = self.now_ms() - MINUTE_MS
        first = max(0, -(-(start_ms - self.market.start_ms) // MINUTE_MS))
        rows = []
        for minute in range(first, self.market.n_minutes):
            open_ms = self.market.open_ms(minute)
            if open_ms >= end_ms or open_ms > newest:
                break
            event = self.corrected.get((pair, open_ms)) or self.market.event(minute, pair)
            if event is not None:
                rows.append(
                    {**{name: event[name] for name in ("v", "vw", "o", "c", "h", "l")}, "t": open_ms, "n": 1}
                )
        return rows

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(_DEADLINE), "the server did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_DEADLINE)
        assert not self._thread.is_alive(), "the server did not stop"
        if self._errors and error is None:
            raise self._errors[0]

    # ------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        async with self._serving():
            self._started.set()
            await self._stop.wait()

    @contextlib.asynccontextmanager
    async def here(self) -> AsyncIterator[Self]:
        """Serve in the loop that runs, in which the client is as well."""
        async with self._serving():
            yield self
        if self._errors:
            raise self._errors[0]

    @contextlib.asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        self._permits = asyncio.Semaphore(0)
        self._stop = asyncio.Event()
        server: Server
        async with serve(
            self._guarded, "127.0.0.1", 0, process_request=self._admit, close_timeout=0.5, ping_interval=None
        ) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            self._began = self._seconds()
            try:
                yield
            finally:
                self._stop.set()
                for task in self._tasks:
                    task.cancel()
                for connection in server.connections:
                    connection.transport.abort()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:  # noqa: ARG002
        if self._logins and self._logins[0].kind is Kind.UNREACHABLE:
            self._logins.popleft()
            self.refused += 1
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "upstream is down\n")
        return None

    async def _guarded(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        fault = self._logins.popleft() if self._logins else None
        log = ConnectionLog(
            number=len(self.connections) + 1,
            path=connection.request.path,
            login_fault=fault.kind if fault else None,
            opened_at=self._seconds(),
        )
        self.connections.append(log)
        try:
            await self._serve(connection, log, fault)
        except ConnectionClosed:
            log.end = log.end or f"the client left ({connection.close_code})"
        except _Gone:
            pass
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                self._errors.append(error)
            raise
        finally:
            if self._holder is connection:
                self._holder = None

    async def _serve(self, connection: ServerConnection, log: ConnectionLog, fault: Fault | None) -> None:
        kind = fault.kind if fault else None
        if kind is Kind.NO_GREETING:
            await connection.wait_closed()
            return
        await self._status(connection, "connected", "Connected Successfully")
        asked = json.loads(await connection.recv())
        log.key = asked.get("params") if asked.get("action") == "auth" else None
        if kind is Kind.AUTH_TIMEOUT:
            await self._end(connection, log, "auth_timeout", "authentication timed out", 1000)
        if log.key != self._key or kind is Kind.AUTH_FAILED:
            await self._end(connection, log, "auth_failed", "authentication failed", 1000)
        await self._status(connection, "auth_success", "authenticated")
        subscribed = asyncio.Event()
        async with _both(
            self._listen(connection, log, fault, subscribed), self._play(connection, log, fault, subscribed)
        ):
            pass

    async def _listen(
        self, connection: ServerConnection, log: ConnectionLog, fault: Fault | None, subscribed: asyncio.Event
    ) -> None:
        """Answer subscriptions, one status for each topic, all of one message in one frame."""
        kind = fault.kind if fault else None
        async for message in connection:
            asked = json.loads(message)
            log.asked.append(asked["params"])
            answers = []
            for position, topic in enumerate(asked["params"].split(",")):
                pair = topic.partition(".")[2]
                chosen = pair == fault.pair or (not fault.pair and position == 0) if fault else False
                if asked["action"] == "unsubscribe":
                    log.topics.discard(topic)
                    answers.append(_status("success", f"unsubscribed to: {topic}"))
                elif chosen and kind is Kind.SUBSCRIPTION_REFUSED:
                    answers.append(_status("error", f"not authorized to subscribe to: {topic}"))
                elif not (chosen and kind is Kind.SUBSCRIPTION_IGNORED):
                    log.topics.add(topic)
                    answers.append(_status("success", f"subscribed to: {topic}"))
            if answers:
                await connection.send(json.dumps(answers))
            if log.topics:
                subscribed.set()
        log.end = log.end or f"the client left ({connection.close_code})"

    async def _play(
        self, connection: ServerConnection, log: ConnectionLog, fault: Fault | None, subscribed: asyncio.Event
    ) -> None:
        """Send minute after minute to the one that is subscribed."""
        await subscribed.wait()
        holder = self._holder
        taken = holder is not None and holder.state is State.OPEN
        if taken or (fault is not None and fault.kind is Kind.MAX_CONNECTIONS):
            text = "Maximum number of websocket connections exceeded."
            await self._end(connection, log, "max_connections", text, 1008)
        self._holder = connection
        self._held = None
        if self._seconds_per_minute:
            passed = (self.now_ms() - self.market.start_ms) // MINUTE_MS
            self._pass(passed - self._minute)
        while self._minute < self.market.n_minutes:
            minute = self._minute
            trouble = self._faults.get(minute)
            await self._until_due(minute, trouble)
            self._minute += 1
            self.unsent.add(minute)
            if trouble is not None:
                self.done.append((minute, trouble.kind))
            await self._send_minute(connection, log, minute, trouble)
        self._pass_time(self.market.n_minutes, 0)
        self.finished.set()
        await connection.wait_closed()

    # ---------------------------------------------------------------------------------------- minutes

    async def _until_due(self, minute: int, fault: Fault | None) -> None:
        skew_ms = 0
        if fault is not None and fault.kind in {Kind.EARLY, Kind.LATE}:
            skew_ms = -fault.skew_ms - ARRIVES_MS if fault.kind is Kind.EARLY else fault.skew_ms
        if self._stepped:
            await self._permits.acquire()
        if self._seconds_per_minute:
            due_ms = self.market.open_ms(minute + 1) + ARRIVES_MS + skew_ms
            seconds = (due_ms - self.now_ms()) / MINUTE_MS * self._seconds_per_minute
            await asyncio.sleep(max(seconds, 0.0))
        else:
            self._pass_time(minute + 1, ARRIVES_MS + skew_ms)
            await asyncio.sleep(0)

    def _pass_time(self, minute: int, beyond_ms: int) -> None:
        self._now_ms = max(self._now_ms, self.market.open_ms(minute) + beyond_ms)

    def _pass(self, minutes: int) -> None:
        """So many minutes close without being sent to anyone."""
        last = min(self._minute + max(minutes, 0), self.market.n_minutes)
        self.unsent.update(range(self._minute, last))
        self._minute = last

    async def _send_minute(
        self, connection: ServerConnection, log: ConnectionLog, minute: int, fault: Fault | None
    ) -> None:
        pairs = [pair for pair in self.market.pairs if {f"XA.{pair}", "XA.*"} & log.topics]
        events = [event for pair in pairs if (event := self.market.event(minute, pair)) is not None]
        held, self._held = self._held, None
        if fault is None:
            await self._send_events(connection, events)
        elif fault.kind in ENDS or fault.kind in LOGINS:
            await self._end_by(fault, connection, log, events)
        elif fault.kind is Kind.ONE_LATE:
            chosen = fault.pair or (events[0]["pair"] if events else "")
            late = [event for event in events if event["pair"] == chosen]
            await self._send_events(connection, [event for event in events if event not in late])
            self._later(connection, late, fault.skew_ms)
        elif fault.kind is Kind.OUT_OF_ORDER:
            self._held = minute, events
        elif fault.kind is Kind.TRUNCATED_JSON:
            text = json.dumps(events)
            await connection.send(text[: len(text) * 2 // 3])
        elif fault.kind is Kind.SLOW_DRIP:
            await self._drip(connection, events, fault.seconds)
        else:
            if fault.kind is Kind.NO_ARRAY:
                await connection.send(json.dumps(_status("success", "this is no array")))
            await self._send_events(connection, self._spoiled(events, minute, fault))
        log.minutes += 1
        if fault is None or fault.kind not in {Kind.OUT_OF_ORDER, Kind.TRUNCATED_JSON}:
            self.unsent.discard(minute)
        if held is not None:
            await self._send_events(connection, held[1])
            self.unsent.discard(held[0])

    def _later(self, connection: ServerConnection, events: list[dict[str, Any]], later_ms: int) -> None:
        """Send these when the market has gone on by so much, unless the connection has ended by then."""

        async def send() -> None:
            await asyncio.sleep(later_ms / MINUTE_MS * self._seconds_per_minute)
            with contextlib.suppress(ConnectionClosed):
                now = [self.corrected.get((event["pair"], event["s"]), event) for event in events]
                await self._send_events(connection, now)

        task = asyncio.create_task(send())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_events(self, connection: ServerConnection, events: Sequence[dict[str, Any]]) -> None:
        for first in range(0, len(events), self._events_per_frame):
            await connection.send(json.dumps(events[first : first + self._events_per_frame]))

    def _spoiled(self, events: list[dict[str, Any]], minute: int, fault: Fault) -> list[Any]:
        """The events of a minute with something wrong about them, or among them."""
        if not events:
            return []
        chosen = next((event for event in events if event["pair"] == fault.pair), events[0])
        pair, at = chosen["pair"], self.market.open_ms(minute)
        if fault.kind is Kind.LATE_CORRECTION:
            mended = {**chosen, "v": round(chosen["v"] + 0.1, 4), "c": chosen["h"]}
            self.corrected[pair, at] = mended
            return [*events, mended]
        if fault.kind is Kind.MISSING_FIELD:
            del chosen["h"]
        absurd = chosen["o"] * 1000
        changed = {
            Kind.NOT_A_NUMBER: {"c": math.nan},
            Kind.EMPTY_STRING: {"o": ""},
            Kind.ABSURD_PRICE: {"h": absurd, "c": absurd},
            Kind.NOT_A_MINUTE: {"e": at + 30_000},
        }
        before: dict[Kind, list[Any]] = {
            Kind.DUPLICATE: events,
            Kind.WRONG_SYMBOL: [{**chosen, "pair": "WRONG-USD"}],
            Kind.UNKNOWN_EVENT: [{"ev": "XYZ", "pair": pair}],
            Kind.OTHER_EVENTS: [
                {"ev": "XT", "pair": pair, "p": 1.5, "t": at, "s": 0.5, "c": [2], "i": "a", "x": 1, "r": at},
                {"ev": "XQ", "pair": pair, "bp": 1, "bs": 1, "ap": 2, "as": 1, "t": at, "x": 1, "r": at},
                {**chosen, "ev": "XAS", "e": at + 1000},
                {"ev": "XL2", "pair": pair, "b": [[1, 2]], "a": [[2, 2]], "t": at, "x": 1, "r": at},
            ],
        }
        spoiled = [{**event, **changed.get(fault.kind, {})} if event is chosen else event for event in events]
        return [*before.get(fault.kind, []), *spoiled]

    async def _drip(
        self, connection: ServerConnection, events: Sequence[dict[str, Any]], seconds: float
    ) -> None:
        frame = _frame_bytes(json.dumps(events))
        size = max(1, -(-len(frame) // 8))
        connection.send_data = lambda: None  # type: ignore[method-assign]  # no pong in the middle of it
        try:
            for first in range(0, len(frame), size):
                connection.transport.write(frame[first : first + size])
                await asyncio.sleep(seconds / 8)
                if connection.state is not State.OPEN:
                    raise _Gone
        finally:
            del connection.send_data
            connection.send_data()

    # ------------------------------------------------------------------------------------------- ends

    async def _end_by(
        self, fault: Fault, connection: ServerConnection, log: ConnectionLog, events: Sequence[dict[str, Any]]
    ) -> None:
        """The connection ends before the minute was sent whole."""
        if not self._seconds_per_minute:
            self._pass(fault.missed)
            self._pass_time(self._minute, ARRIVES_MS)
        log.end = fault.kind.value
        if fault.kind is Kind.CUT:
            frame = _frame_bytes(json.dumps(events))
            connection.transport.write(frame[: len(frame) // 2])
            await asyncio.sleep(0)
            connection.transport.close()
            raise _Gone
        if fault.kind is Kind.DEAD:
            connection.transport.pause_reading()
            self._holder = None  # it may come back over another line
            await self._stop.wait()
            raise _Gone
        if fault.kind is Kind.SILENCE:
            await connection.wait_closed()
            raise _Gone
        if fault.kind in LOGINS:
            self._logins.extend([fault] * fault.times)
        elif fault.kind is not Kind.CLEAN_CLOSE:
            texts = {
                Kind.SLOW_CONSUMER: "You are too slow",
                Kind.FORCE_DISCONNECT: "please reconnect",
                Kind.ERROR: "internal error",
            }
            await self._status(connection, fault.kind.value, texts[fault.kind])
        await connection.close(1000)
        raise _Gone

    async def _end(
        self, connection: ServerConnection, log: ConnectionLog, status: str, message: str, code: int
    ) -> None:
        log.end = status
        await self._status(connection, status, message)
        await connection.close(code, message if code == 1008 else "")
        raise _Gone

    async def _status(self, connection: ServerConnection, status: str, message: str) -> None:
        await connection.send(json.dumps([_status(status, message)]))


def _status(status: str, message: str) -> dict[str, str]:
    return {"ev": "status", "status": status, "message": message}


def _frame_bytes(text: str) -> bytes:
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


@contextlib.asynccontextmanager
async def _both(first: Any, second: Any) -> AsyncIterator[None]:
    """Run both until one has ended, whose error counts; the other one is then ended too."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
