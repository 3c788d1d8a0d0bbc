"""The live stream behind its sockets: one looker for each account tells all who listen to it what is new.

However many listen, each account is looked at once, and each message is written once. A listener who cannot
keep up loses messages and is told so; nobody waits for anybody else.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import anyio

from crypto_tracker.core.errors import CryptoTrackerError
from crypto_tracker.desk.source import Desk, Watch
from crypto_tracker.desk.views.live import BarNow, BarsEvent, HealthEvent, LiveProblem, Resync, Subscribed
from crypto_tracker.desk.web.problems import without_paths

LOG = logging.getLogger("crypto_tracker.web")

PRESENT = frozenset({"positions", "equity", "regime", "log", "health"})
"""Topics whose last message tells all of the present: who comes later is given it."""
RESYNC = "resync"
"""What a watch says where it cannot tell what was missed: it is for all topics."""

_LOOKERS_AT_ONCE = 4
AFTER_TROUBLE_SECONDS = 5.0


class Listener:
    """One client: what it listens to, and what waits to be sent to it."""

    def __init__(self, outbox_max: int) -> None:
        self.account = ""
        self.topics: frozenset[str] = frozenset()
        self._outbox_max = outbox_max
        self._waiting: deque[str] = deque()
        self._lost = False
        self._something = asyncio.Event()

    def tell(self, message: str) -> None:
        """Put a message into the outbox; where it is full, all of it is dropped, and the client is told."""
        if self._lost:
            return
        if len(self._waiting) >= self._outbox_max:
            self.lose()
            return
        self._waiting.append(message)
        self._something.set()

    def lose(self) -> None:
        """Drop what waits, and tell the client to fetch everything anew."""
        self._waiting.clear()
        self._lost = True
        self._something.set()

    async def next(self, seconds: float) -> str | None:
        """The next message to be sent; None where there was none for so long."""
        if not self._waiting and not self._lost:
            self._something.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._something.wait()
        if self._lost:
            self._lost = False
            return Resync(account=self.account).model_dump_json()
        return self._waiting.popleft() if self._waiting else None


class Hub:
    """Every account that is listened to."""

    def __init__(self, desk: Desk, *, look_seconds: float, streams: Callable[[], int]) -> None:
        self._desk = desk
        self._look_seconds = look_seconds
        self._streams = streams
        self._lookers: dict[str, _Looker] = {}
        self._threads = anyio.CapacityLimiter(_LOOKERS_AT_ONCE)

    def join(self, listener: Listener, account: str, topics: Iterable[str]) -> None:
        """Listen to these topics of an account, and to nothing else from now on."""
        self.leave(listener)
        listener.account, listener.topics = account, frozenset(topics)
        looker = self._lookers.get(account)
        if looker is None or looker.ended:
            looker = _Looker(account, self._desk, self._look_seconds, self._threads, self._streams)
            self._lookers[account] = looker
            looker.join(listener)
            looker.start(self._forget)
        else:
            looker.join(listener)

    def leave(self, listener: Listener) -> None:
        """Listen to nothing any more."""
        looker = self._lookers.get(listener.account)
        if looker is not None:
            looker.leave(listener)
        listener.topics = frozenset()

    async def close(self) -> None:
        """End all lookers."""
        lookers = list(self._lookers.values())
        self._lookers.clear()
        for looker in lookers:
            await looker.stop()

    def _forget(self, looker: "_Looker") -> None:
        if self._lookers.get(looker.account) is looker:
            del self._lookers[looker.account]


class _Looker:
    """Looks at one account as long as anybody listens to it.

    Those who join are greeted after the first look that was for them too: what comes behind the greeting is
    all that is newer than what the endpoints answer from then on.
    """

    def __init__(
        self,
        account: str,
        desk: Desk,
        look_seconds: float,
        threads: anyio.CapacityLimiter,
        streams: Callable[[], int],
    ) -> None:
        self.account = account
        self._desk = desk
        self._look_seconds = look_seconds
        self._threads = threads
        self._streams = streams
        self._greeted: set[Listener] = set()
        self._joining: set[Listener] = set()
        self._present: Mapping[str, str] = {}
        self._trouble: str | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        return self._task is not None and self._task.done()

    def start(self, ended: Callable[["_Looker"], None]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"looks at {self.account}")
        self._task.add_done_callback(lambda _: ended(self))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def join(self, listener: Listener) -> None:
        self._joining.add(listener)
        self._changed.set()

    def leave(self, listener: Listener) -> None:
        self._greeted.discard(listener)
        self._joining.discard(listener)
        self._changed.set()

    async def _run(self) -> None:
        watch: Watch | None = None
        while self._greeted or self._joining:
            newcomers = frozenset(self._joining)
            topics = frozenset[str]().union(*(each.topics for each in self._greeted | newcomers))
            wait = self._look_seconds
            try:
                if watch is None:
                    watch = await anyio.to_thread.run_sync(self._open, limiter=self._threads)
                messages = await anyio.to_thread.run_sync(
                    _look, watch, topics, self._streams(), limiter=self._threads
                )
            except CryptoTrackerError as error:
                watch, wait = None, AFTER_TROUBLE_SECONDS
                self._tell_trouble(without_paths(str(error)))
            except Exception:
                LOG.exception("looking at %s failed", self.account)
                watch, wait = None, AFTER_TROUBLE_SECONDS
                self._tell_trouble("the server made a mistake, which its log tells of; it tries again")
            else:
                self._recover()
                self._greet(newcomers & self._joining)
                self._deliver(messages, topics)
            await self._pause(wait)

    def _open(self) -> Watch:
        return self._desk.book(self.account).watch()

    def _greet(self, newcomers: Iterable[Listener]) -> None:
        """Say from when on is told what is new, and what is so already."""
        for listener in newcomers:
            self._joining.discard(listener)
            self._greeted.add(listener)
            greeting = Subscribed(account=self.account, topics=sorted(listener.topics))
            listener.tell(greeting.model_dump_json())
            for topic in sorted(listener.topics & self._present.keys()):
                listener.tell(self._present[topic])

    def _deliver(self, messages: Sequence[tuple[str, str]], topics: frozenset[str]) -> None:
        for topic, message in messages:
            for listener in self._greeted:
                if topic == RESYNC:
                    listener.lose()
                elif topic in listener.topics:
                    listener.tell(message)
        told = dict(messages)
        self._present = {
            topic: message
            for topic, message in (dict(self._present) | told).items()
            if topic in topics & PRESENT
        }

    def _tell_trouble(self, sentence: str) -> None:
        """Say once what is wrong."""
        if sentence != self._trouble:
            self._trouble = sentence
            message = LiveProblem(detail=sentence).model_dump_json()
            for listener in self._greeted | self._joining:
                listener.tell(message)

    def _recover(self) -> None:
        """After trouble nobody knows what was missed."""
        if self._trouble is not None:
            self._trouble = None
            self._present = {}
            for listener in self._greeted:
                listener.lose()

    async def _pause(self, seconds: float) -> None:
        """Wait for the next look; who joins is not kept waiting, but while there is trouble."""
        if self._joining and self._trouble is None:
            return
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()


def _look(watch: Watch, topics: frozenset[str], streams: int) -> list[tuple[str, str]]:
    """What is new, as messages with their topics; bars of several symbols become several messages."""
    messages: list[tuple[str, str]] = []
    for event in watch.news(topics):
        if isinstance(event, BarsEvent):
            by_topic: dict[str, list[BarNow]] = {}
            for bar in event.items:
                by_topic.setdefault(f"bars:{bar.symbol}@{bar.timeframe}", []).append(bar)
            messages += [
                (topic, BarsEvent(account=event.account, items=bars).model_dump_json())
                for topic, bars in by_topic.items()
            ]
            continue
        told = event
        if isinstance(event, HealthEvent):
            told = event.model_copy(update={"health": event.health.model_copy(update={"clients": streams})})
        messages.append((str(getattr(event, "type", "")), told.model_dump_json()))
    return messages
