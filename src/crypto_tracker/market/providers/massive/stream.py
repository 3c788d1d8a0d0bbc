"""Massive's stream: one websocket for all symbols that lives for ever, whatever happens to the line."""

import asyncio
import json
import random
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

from pydantic import SecretStr

from crypto_tracker.config.market_data import Collector, Massive
from crypto_tracker.core.errors import NotEntitled, ProviderRefused, ProviderUnavailable, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.providers.base import (
    Alive,
    Lost,
    StreamedBars,
    StreamEvent,
    Subscribed,
    Trouble,
)
from crypto_tracker.market.providers.massive.frames import UNREADABLE, FrameReader, Status
from crypto_tracker.market.providers.massive.pairs import stream_pair
from crypto_tracker.market.recording.replay import RecordingEnded
from crypto_tracker.net.reconnect import Reconnect
from crypto_tracker.net.sockets import Connect, Proof, Socket, SocketClosed, SocketSilent, open_socket

TOPICS_PER_MESSAGE = 100
UNREADABLE_MAX = 5
"""So many frames in a row that cannot be read make the connection useless."""

_PROOFS = 2
"""So many times in the time in which a minute settles, the other side is asked whether it lives."""
_KEY = "the key in MASSIVE_API_KEY (or POLYGON_API_KEY)"
_CLEAN_CLOSE = 1000
_POLICY_VIOLATION = 1008
_ENDS = {
    "slow_consumer": "it was read too slowly",
    "force_disconnect": "the provider ended it",
    "auth_timeout": "the key arrived too late",
    "error": "the provider reports an error",
}
_TOPIC = re.compile(r"XA\.([A-Za-z0-9]+-[A-Za-z0-9]+)")


class MassiveStream:
    """Minutes of all symbols over one connection; a `Stream`.

    Parameters
    ----------
    settings : where the stream is
    collector : how long silence may last, and how soon to connect anew
    key : sent after the greeting
    now_ms : the clock, by which the life of a connection is measured, and proofs of it are told
    connect : opens the socket; a recorder or a replay may stand in between
    sleep : waits before the next attempt; a replay waits as long as its speed says
    chance : spreads these waits
    """

    def __init__(
        self,
        settings: Massive,
        collector: Collector,
        key: SecretStr,
        *,
        now_ms: Callable[[], int],
        connect: Connect = open_socket,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._url = settings.stream_url
        self._collector = collector
        self._key = key
        self._now_ms = now_ms
        self._connect = connect
        self._sleep = sleep
        self._chance = chance

    @property
    def name(self) -> str:
        """The name under which its bars are stored."""
        return "massive"

    async def events(self, symbols: Sequence[Symbol]) -> AsyncGenerator[StreamEvent, None]:
        """What happens on the stream, for ever; see `Stream.events`.

        `Subscribed` comes once per connection when all symbols are confirmed, or as soon as there is
        something to say about some of them; symbols that are confirmed later come in another one. A replay
        ends where its recording does.
        """
        pairs = {stream_pair(symbol): symbol for symbol in symbols}
        if not pairs:
            raise UsageError("a stream of no symbols was asked for: name at least one")
        reconnect = Reconnect(self._collector, self._chance)
        reader = FrameReader(pairs)
        while True:
            connection = _Connection(self._collector, self._key, pairs, reader, self._now_ms)
            try:
                async with self._connect(self._url) as socket, aclosing(connection.events(socket)) as events:
                    async for event in events:
                        yield event
            except RecordingEnded:
                return
            except ProviderUnavailable as error:
                reason, cool_down = _why(error)
            else:  # pragma: no cover - `events` ends by an error only
                raise AssertionError("a connection ended without a reason")
            reconnect.lived(connection.useful_seconds(), connection.brought_data)
            again_seconds = reconnect.failed(reason, cool_down=cool_down)
            yield Lost(reason=reason, again_seconds=again_seconds)
            await self._sleep(again_seconds)


class _Useless(ProviderUnavailable):
    """The connection stands and is of no use; its text is the reason."""

    def __init__(self, reason: str, *, cool_down: bool = False) -> None:
        super().__init__(reason)
        self.cool_down = cool_down


class _Connection:
    """One connection from its greeting to its end."""

    def __init__(
        self,
        collector: Collector,
        key: SecretStr,
        pairs: Mapping[str, Symbol],
        reader: FrameReader,
        now_ms: Callable[[], int],
    ) -> None:
        self._collector = collector
        self._key = key
        self._pairs = pairs
        self._reader = reader
        self._now_ms = now_ms
        self._began_ms = 0
        self._awaited = "the greeting"  # what the server has to say next; "" once it was asked for minutes
        self._unconfirmed = dict(pairs)
        self._pending = set(pairs)  # those for which an answer is awaited
        self._confirmed: dict[str, Symbol] = {}  # and not told yet
        self._login_seconds = min(collector.stable_seconds, collector.silence_seconds)
        self._unreadable = 0  # frames in a row
        self._useful_since_ms: int | None = None
        self.brought_data = False

    def useful_seconds(self) -> float:
        """How long it has been subscribed; 0 where it never was."""
        return 0.0 if self._useful_since_ms is None else (self._now_ms() - self._useful_since_ms) / 1000.0

    async def events(self, socket: Socket) -> AsyncGenerator[StreamEvent, None]:
        """Everything until the connection is gone or useless, which is raised as ProviderUnavailable."""
        self._began_ms = self._now_ms()
        proving = False
        while True:
            if self._useful_since_ms is not None and not self._pending and not proving:
                # While answers are awaited, the time for them would start anew with each proof.
                socket.prove(self._collector.settle_seconds / _PROOFS, self._now_ms)
                proving = True
            try:
                frame = await socket.receive(self._patience())
            except SocketSilent as silence:
                for event in self._after(silence):
                    yield event
                continue
            if isinstance(frame, Proof):
                yield Alive(at_ms=frame.mark)
                continue
            found = self._reader.read(frame)
            self._count_unreadable(found)
            for item in found:
                if isinstance(item, Status):
                    for event in await self._told(item, socket):
                        yield event
                    continue
                if isinstance(item, StreamedBars):
                    self.brought_data = True
                    if self._confirmed:
                        yield self._subscribed()
                yield item

    def _patience(self) -> float:
        """Seconds until something must come: all answers soon, then something in the time of silence.

        The socket tells when they are over, also while other frames come: so it is part of a recording.
        """
        if not self._pending:
            return self._collector.silence_seconds
        passed = (self._now_ms() - self._began_ms) / 1000.0
        return min(max(self._login_seconds - passed, 0.0), self._login_seconds)

    def _after(self, silence: SocketSilent) -> list[StreamEvent]:
        if self._pending:
            return self._given_up()
        raise _Useless(f"nothing came for {silence.seconds:g} s")

    def _given_up(self) -> list[StreamEvent]:
        """What to do about answers that have not come in time."""
        if self._awaited:
            raise _Useless(f"the provider did not send {self._awaited} within {self._login_seconds:g} s")
        missing = sorted(self._pending)
        self._pending = set()
        trouble = Trouble(
            kind="not_subscribed",
            detail=f"the provider did not confirm {', '.join(missing)}: their minutes may not come",
        )
        return [trouble, *self._settled("it confirmed none of the symbols")]

    def _settled(self, otherwise: str) -> list[StreamEvent]:
        """Every symbol has its answer."""
        if self._confirmed:
            return [self._subscribed()]
        if self._useful_since_ms is None:
            raise _Useless(f"the provider sends nothing that was asked for: {otherwise}")
        return []

    def _subscribed(self) -> Subscribed:
        if self._useful_since_ms is None:
            self._useful_since_ms = self._now_ms()
        symbols, self._confirmed = tuple(self._confirmed.values()), {}
        return Subscribed(symbols=symbols)

    async def _told(self, said: Status, socket: Socket) -> list[StreamEvent]:
        """Answer a status, and say what follows from it."""
        message = said.message.replace(self._key.get_secret_value() or "\0", "***")
        authenticated = said.status == "auth_success" or (
            said.status == "success" and message == "authenticated"
        )
        if said.status == "connected":
            await socket.send(json.dumps({"action": "auth", "params": self._key.get_secret_value()}))
            self._awaited = "an answer to the key"
        elif authenticated:
            await self._subscribe(socket)
            self._awaited = ""
        elif said.status == "success":
            return self._answered(message)
        elif said.status == "auth_failed" or (self._awaited and "authentication failed" in message):
            raise _refusal(message)
        elif said.status == "max_connections":
            raise _Useless(
                f"{_KEY} is connected elsewhere (max_connections: {message}): end the other program, "
                "or collect from another provider",
                cool_down=True,
            )
        elif said.status == "error" and not self._awaited and _TOPIC.search(message):
            return self._declined(message)
        elif said.status in _ENDS:
            raise _Useless(f"{_ENDS[said.status]} ({said.status}: {message})")
        else:
            return [Trouble(kind="unknown_status", detail=f"{said.status}: {message}")]
        return []

    async def _subscribe(self, socket: Socket) -> None:
        topics = [f"XA.{pair}" for pair in self._pairs]
        for first in range(0, len(topics), TOPICS_PER_MESSAGE):
            params = ",".join(topics[first : first + TOPICS_PER_MESSAGE])
            await socket.send(json.dumps({"action": "subscribe", "params": params}))

    def _answered(self, message: str) -> list[StreamEvent]:
        """`subscribed to: XA.BTC-USD`, one or several."""
        if message.startswith("subscribed to"):
            for pair in _TOPIC.findall(message):
                self._pending.discard(pair)
                symbol = self._unconfirmed.pop(pair, None)
                if symbol is not None:
                    self._confirmed[pair] = symbol
        return [self._subscribed()] if self._confirmed and not self._pending else []

    def _declined(self, message: str) -> list[StreamEvent]:
        """An error that names symbols concerns them, and not the others."""
        declined = [pair for pair in _TOPIC.findall(message) if pair in self._pending]
        self._pending.difference_update(declined)
        troubles: list[StreamEvent] = [
            Trouble(kind="not_subscribed", detail=f"the provider refuses {pair}: {message}")
            for pair in declined
        ]
        return troubles + (self._settled(message) if declined and not self._pending else [])

    def _count_unreadable(self, found: Sequence[Status | StreamedBars | Trouble]) -> None:
        spoiled = any(isinstance(item, Trouble) and item.kind in UNREADABLE for item in found)
        self._unreadable = self._unreadable + 1 if spoiled else 0
        if self._unreadable >= UNREADABLE_MAX:
            detail = next(item.detail for item in found if isinstance(item, Trouble))
            raise _Useless(f"{UNREADABLE_MAX} frames in a row cannot be read, the last one: {detail}")


def _refusal(message: str) -> ProviderRefused:
    """Why a key is of no use, and what helps."""
    if "plan" in message.lower():
        return NotEntitled(
            f"massive gives no stream to {_KEY}: {message}; take another plan, or collect the minutes from "
            "an exchange, such as market_data.collector.providers = ['kraken']"
        )
    return ProviderRefused(f"massive refuses {_KEY}: {message}; set a valid one")


def _why(error: ProviderUnavailable) -> tuple[str, bool]:
    """The reason of a loss, and whether to cool down."""
    if isinstance(error, _Useless):
        return str(error), error.cool_down
    if isinstance(error, SocketClosed):
        if error.code == _CLEAN_CLOSE:
            return f"the provider closed the connection without a reason ({error.code})", False
        if error.code == _POLICY_VIOLATION:
            said = error.reason or "no reason given"
            reason = (
                f"the provider threw the connection out ({error.code}: {said}), as it does when {_KEY} is "
            )
            return reason + "connected elsewhere", True
    return str(error), False
