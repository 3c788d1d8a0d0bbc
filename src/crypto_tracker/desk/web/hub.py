"""The live stream behind its sockets: one looker for each account tells all who listen to it what is new.

However many listen, each account is looked at once, and each message is written once. A listener who cannot
keep up loses messages and is told so; nobody waits for anybody else.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import anyio

from crypto_tracker.core.errors import CryptoTrackerError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.desk.source import Desk, NotThere, Watch
from crypto_tracker.desk.views.live import (
    BarNow,
    BarsEvent,
    HealthEvent,
    LiveProblem,
    MendedEvent,
    Resync,
    Subscribed,
)
from crypto_tracker.desk.web.problems import without_paths

LOG = logging.getLogger("crypto_tracker.web")

PRESENT = frozenset({"positions", "equity", "regime", "log", "health"})
"""Topics whose last message tells all of the present: who comes later is given it."""
RESYNC = "resync"
"""What a watch says where it cannot tell what was missed: it is for all topics."""

NAMED = "bars:"
"""How topics begin that name something which may not be there."""
OUR_MISTAKE = "the server made a mistake, which its log tells of; it tries again"

_LOOKERS_AT_ONCE = 4
_TRIALS_AT_ONCE = 2  # beside the looks: who asks for much that is slow shall keep nobody from news
AFTER_TROUBLE_SECONDS = 5.0


class Listener:
    """One client: what it listens to, and what waits to be sent to it.

    `topics` is what it wants of `account` and can be told of, `heard` is that part of it that it was greeted
    for. Of `untried` it is not known yet whether there is anything to tell; `refused` are those that could
    not be told of just now, each with the reason that the client knows.
    """

    def __init__(self, outbox_max: int) -> None:
        self.account = ""
        self.topics: frozenset[str] = frozenset()
        self.heard: frozenset[str] = frozenset()
        self.untried: frozenset[str] = frozenset()
        self.refused: dict[str, str] = {}
        self._outbox_max = outbox_max
        self._waiting: deque[tuple[str, bool]] = deque()
        self._lost = False
        self._something = asyncio.Event()

    @property
    def looked_for(self) -> frozenset[str]:
        """The topics that are looked at for it."""
        return (self.topics - self.untried) | self.heard

    def tell(self, message: str, *, answers: bool = False) -> None:
        """Put a message into the outbox; where it is full, all of it is dropped, and the client is told.

        What `answers` the client is no news, which can be fetched: it stays, and is sent behind `resync`.
        """
        if len(self._waiting) >= self._outbox_max:
            self.lose()
        if self._lost and not answers:
            return
        self._waiting.append((message, answers))
        self._something.set()

    def lose(self) -> None:
        """Drop the news that wait, and tell the client to fetch everything anew."""
        answers = [each for each in self._waiting if each[1]]
        self._waiting = deque(answers, maxlen=self._outbox_max)
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
        return self._waiting.popleft()[0] if self._waiting else None


class Hub:
    """Every account that is listened to."""

    def __init__(self, desk: Desk, *, look_seconds: float, streams: Callable[[], int]) -> None:
        self._desk = desk
        self._look_seconds = look_seconds
        self._streams = streams
        self._lookers: dict[str, _Looker] = {}
        self._threads = _Threads(
            looks=anyio.CapacityLimiter(_LOOKERS_AT_ONCE), trials=anyio.CapacityLimiter(_TRIALS_AT_ONCE)
        )

    def join(self, listener: Listener, account: str, topics: Iterable[str]) -> None:
        """Listen to these topics of an account, and to nothing else from now on.

        What it heard of that account before, it goes on hearing without a gap.
        """
        looker = self._lookers.get(account)
        if listener.account != account or looker is None or looker.ended:
            self.leave(listener)
        listener.account, listener.topics = account, frozenset(topics)
        listener.heard &= listener.topics
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
        listener.topics = listener.heard = listener.untried = frozenset()
        listener.refused = {}

    async def close(self) -> None:
        """End all lookers."""
        lookers = list(self._lookers.values())
        self._lookers.clear()
        for looker in lookers:
            await looker.stop()

    def _forget(self, looker: "_Looker") -> None:
        if self._lookers.get(looker.account) is looker:
            del self._lookers[looker.account]


@dataclass(frozen=True, slots=True)
class _Threads:
    """How many threads may look, and how many may try topics, at once."""

    looks: anyio.CapacityLimiter
    trials: anyio.CapacityLimiter


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a topic cannot be told of; where that may pass, it is tried again."""

    sentence: str
    passes: bool


class _Looker:
    """Looks at one account as long as anybody listens to it.

    Those who join are greeted after the first look that was for all their topics: what comes behind the
    greeting is all that is newer than what the endpoints answer from then on. Topics that name a symbol are
    tried before they are looked at, one after the other in a task of whoever asks for them: nobody else waits
    for that, or hears of one that cannot be told of. One that is refused over what may pass is tried again,
    and greeted for once it can be told of.
    """

    def __init__(
        self,
        account: str,
        desk: Desk,
        look_seconds: float,
        threads: _Threads,
        streams: Callable[[], int],
    ) -> None:
        self.account = account
        self._desk = desk
        self._look_seconds = look_seconds
        self._threads = threads
        self._streams = streams
        self._listeners: set[Listener] = set()
        self._joining: set[Listener] = set()
        self._trials: dict[Listener, asyncio.Task[None]] = {}
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
        tasks = [*self._trials.values(), *([] if self._task is None else [self._task])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def join(self, listener: Listener) -> None:
        known = frozenset[str]().union(*(each.heard - each.untried for each in self._listeners))
        self._listeners.add(listener)
        self._joining.add(listener)
        listener.untried = _named(listener.topics) - known - listener.heard
        listener.refused = {}
        self._try_for(listener)
        if self._trouble is not None:
            listener.tell(_problem(self._trouble), answers=True)
        self._changed.set()

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        self._joining.discard(listener)
        self._changed.set()

    # --- what is new
    async def _run(self) -> None:
        watch: Watch | None = None
        while self._listeners:
            wait = self._look_seconds
            try:
                if watch is None:
                    watch = await anyio.to_thread.run_sync(self._open, limiter=self._threads.looks)
                await self._look(watch)
            except CryptoTrackerError as error:
                watch, wait = None, AFTER_TROUBLE_SECONDS
                self._tell_trouble(without_paths(str(error)))
            except Exception:
                LOG.exception("looking at %s failed", self.account)
                watch, wait = None, AFTER_TROUBLE_SECONDS
                self._tell_trouble(OUR_MISTAKE)
            await self._pause(wait)

    def _open(self) -> Watch:
        return self._desk.book(self.account).watch()

    async def _look(self, watch: Watch) -> None:
        """Tell all who listen what is new, and greet those for whom was looked for the first time."""
        newcomers = {listener: listener.topics for listener in self._joining if not listener.untried}
        topics = frozenset[str]().union(*(listener.looked_for for listener in self._listeners))
        messages = await anyio.to_thread.run_sync(
            _messages, watch, topics, self._streams(), limiter=self._threads.looks
        )
        self._recover()
        self._greet(newcomers)
        self._deliver(messages, topics)

    # --- topics that may not be there
    def _try_for(self, listener: Listener) -> None:
        """Try the topics of a listener, unless that is being done already."""
        if listener.untried and listener not in self._trials:
            task = asyncio.get_running_loop().create_task(
                self._try_all(listener), name=f"tries topics of {self.account}"
            )
            self._trials[listener] = task
            task.add_done_callback(lambda _: self._tried(listener))

    async def _try_all(self, listener: Listener) -> None:
        while listener in self._listeners and listener.untried:
            topic = min(listener.untried)
            try:
                refusal = await anyio.to_thread.run_sync(self._try, topic, limiter=self._threads.trials)
            except Exception:
                LOG.exception("looking at %s of %s failed", topic, self.account)
                refusal = _Refusal(OUR_MISTAKE, passes=True)
            if listener in self._listeners and topic in listener.untried:
                self._settle(listener, topic, refusal)

    def _tried(self, listener: Listener) -> None:
        """Go on where a listener asked for more just now, and later with what may pass."""
        del self._trials[listener]
        if listener in self._listeners:
            self._try_for(listener)
            if listener.refused and not listener.untried:
                asyncio.get_running_loop().call_later(AFTER_TROUBLE_SECONDS, self._try_again, listener)

    def _try_again(self, listener: Listener) -> None:
        if listener in self._listeners:
            listener.untried |= listener.refused.keys()
            self._try_for(listener)

    def _try(self, topic: str) -> _Refusal | None:
        """Why a topic cannot be told of; None where it can."""
        symbol, _, timeframe = topic.removeprefix(NAMED).rpartition("@")
        there = False
        try:
            book = self._desk.book(self.account)
            there = True
            book.candles(Symbol.parse(symbol), Timeframe.parse(timeframe), 1, None)
        except (NotThere, UsageError) as error:
            return _Refusal(without_paths(str(error)), passes=not there)  # an account may come back
        except CryptoTrackerError as error:
            return _Refusal(without_paths(str(error)), passes=True)
        return None

    def _settle(self, listener: Listener, topic: str, refusal: _Refusal | None) -> None:
        """Look at a topic from now on, or tell who asked for it why not."""
        listener.untried -= {topic}
        known = listener.refused.pop(topic, None)
        if refusal is None:
            if topic not in listener.topics:
                listener.topics |= {topic}
                self._joining.add(listener)
        else:
            listener.topics -= {topic}
            listener.heard -= {topic}
            if refusal.passes:
                listener.refused[topic] = refusal.sentence
            if refusal.sentence not in {known, self._trouble}:
                listener.tell(_problem(f"{topic} is not told of: {refusal.sentence}", topic), answers=True)
        if not listener.untried:
            self._changed.set()

    # --- what is told
    def _greet(self, newcomers: Mapping[Listener, frozenset[str]]) -> None:
        """Say from when on is told what is new, and what is so already.

        Who chose other topics meanwhile is greeted after a look that was for these.
        """
        for listener, topics in newcomers.items():
            if listener not in self._joining or listener.topics != topics or listener.untried:
                continue
            self._joining.discard(listener)
            listener.heard = topics
            greeting = Subscribed(account=self.account, topics=sorted(topics))
            listener.tell(greeting.model_dump_json(), answers=True)
            for topic in sorted(topics & self._present.keys()):
                listener.tell(self._present[topic])

    def _deliver(self, messages: Sequence[tuple[str, str]], topics: frozenset[str]) -> None:
        for topic, message in messages:
            for listener in self._listeners:
                if topic == RESYNC:
                    listener.lose()
                elif topic in listener.heard:
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
            for listener in self._listeners:
                listener.tell(_problem(sentence), answers=True)

    def _recover(self) -> None:
        """After trouble nobody knows what was missed, nor which topics there still are."""
        if self._trouble is not None:
            self._trouble = None
            self._present = {}
            for listener in self._listeners:
                if listener.heard:
                    listener.lose()
                # What was not said of a topic, as the trouble said the same, is said now if it is still so.
                listener.untried |= _named(listener.topics) | listener.refused.keys()
                listener.refused = {}
                self._try_for(listener)

    async def _pause(self, seconds: float) -> None:
        """Wait for the next look; who joins is not kept waiting, but while there is trouble."""
        if self._trouble is None and any(not listener.untried for listener in self._joining):
            return
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()


def _named(topics: frozenset[str]) -> frozenset[str]:
    """Those of the topics that name something which may not be there."""
    return frozenset(each for each in topics if each.startswith(NAMED))


def _problem(sentence: str, topic: str | None = None) -> str:
    return LiveProblem(detail=sentence, topic=topic).model_dump_json()


def _messages(watch: Watch, topics: frozenset[str], streams: int) -> list[tuple[str, str]]:
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
        if isinstance(event, MendedEvent):
            messages.append((f"bars:{event.symbol}@{event.timeframe}", event.model_dump_json()))
            continue
        told = event
        if isinstance(event, HealthEvent):
            told = event.model_copy(update={"health": event.health.model_copy(update={"clients": streams})})
        messages.append((str(getattr(event, "type", "")), told.model_dump_json()))
    return messages
