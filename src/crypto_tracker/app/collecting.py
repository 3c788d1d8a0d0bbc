"""Joins the parts of the collector: providers, store, strategies' needs and the clock."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic

from crypto_tracker.app.providers import Provider, open_provider, provider_name, recorder_of
from crypto_tracker.config.market_data import MarketData
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.errors import CryptoTrackerError, ProviderRefused, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe, from_ms, to_ms
from crypto_tracker.market.collecting.health import Watcher
from crypto_tracker.market.collecting.service import Assignment, Collecting, LeaseHeld, Needed, innermost
from crypto_tracker.market.collecting.times import MarketTime
from crypto_tracker.market.fetching.summary import Summary
from crypto_tracker.market.providers.base import FetchedBars, MarketInfo, Reach
from crypto_tracker.market.recording.playing import RECORDED, Recorded
from crypto_tracker.market.recording.replay import Replay
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.trading_records import REFERENCE, TRADED
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.trading.window import Needs

_LOOK_SECONDS = 0.005  # between two looks at a time that stands where a replay was read to


class WallTime:
    """Real time."""

    follows_reading = False

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now

    def now_ms(self) -> int:
        """The present moment."""
        return to_ms(self.now())

    def seconds(self, duration_ms: int) -> float:
        """As many seconds as the duration has."""
        return duration_ms / 1_000


class ReplayTime:
    """The time of a recorded session: at a speed, or where the reading has come to."""

    def __init__(self, replay: Replay, speed: float) -> None:
        self._replay = replay
        self._speed = speed
        self._start_ms = replay.now_ms()
        self._began: float | None = None

    @property
    def follows_reading(self) -> bool:
        """Whether it is played as fast as it can be read."""
        return self._speed == 0.0

    def now_ms(self) -> int:
        """The moment that the replay has come to."""
        if self.follows_reading:
            return self._replay.now_ms()
        if self._began is None:
            self._began = monotonic()
        return self._start_ms + int((monotonic() - self._began) * 1_000 * self._speed)

    def now(self) -> datetime:
        """The same, as the store asks."""
        return from_ms(self.now_ms())

    def seconds(self, duration_ms: int) -> float:
        """How long so much of it takes."""
        return _LOOK_SECONDS if self.follows_reading else duration_ms / 1_000 / self._speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What is to be collected, and for whom.

    Attributes
    ----------
    providers : by their names, each once
    symbols : wanted of every provider
    """

    home: Path
    configuration: Configuration
    strategies: Mapping[str, Strategy]
    environment: Mapping[str, str]
    providers: tuple[str, ...]
    symbols: tuple[Symbol, ...]
    now: Callable[[], datetime]

    @property
    def market_data(self) -> MarketData:
        """How bars are fetched and kept."""
        return self.configuration.market_data

    @property
    def needed(self) -> Needed:
        """From where on the strategies of the configuration read bars."""
        names = [name for name in self.configuration.trading.strategies if name in self.strategies]
        needs = Needs.of(
            [self.strategies[name] for name in names],
            self.configuration.protection.slow_regime,
            has_reference=True,
        )
        reference = reference_of(self.configuration)
        return lambda symbol, now_ms: _starts(needs, now_ms, is_reference=symbol == reference)


def reference_of(configuration: Configuration) -> Symbol:
    """The symbol whose bars stand for the whole market."""
    return Symbol(configuration.trading.reference, configuration.trading.quote)


def wanted_providers(configuration: Configuration, named: Sequence[str]) -> tuple[str, ...]:
    """The providers to collect from: those that are named, else those of the configuration."""
    names = tuple(dict.fromkeys(map(provider_name, named or configuration.market_data.collector.providers)))
    if not names:
        raise UsageError(
            "no provider is to be collected from: set market_data.collector.providers, "
            "or name one with --provider kraken"
        )
    return names


def wanted_symbols(configuration: Configuration, pairs: Sequence[str]) -> tuple[Symbol, ...]:
    """The symbols to collect: those that are named, else the universe and the reference coin."""
    if pairs:
        return tuple(dict.fromkeys(map(Symbol.parse, pairs)))
    members = configuration.universe.members(configuration.trading.quote)
    return tuple(dict.fromkeys((*members, reference_of(configuration))))


async def collect(
    collection: Collection, watcher: Watcher, stop: asyncio.Event, *, record: Path | None = None
) -> None:
    """Collect from every provider until `stop` is set, each independently of the others.

    A provider that refuses is told of and left out; the refusal of the first one is raised at the end.
    """
    async with _collecting(collection, watcher, record) as all_of_them:
        refused: list[ProviderRefused] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, each in all_of_them.items():
                    tasks.create_task(_until_refused(name, each, watcher, stop, refused))
        except BaseExceptionGroup as group:
            raise innermost(group) from None
    if refused:
        raise refused[0]


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What came of each provider, and why nothing came of the others."""

    summaries: Mapping[str, Summary]
    failures: Mapping[str, CryptoTrackerError]


async def catch_up(collection: Collection, watcher: Watcher, *, record: Path | None = None) -> CaughtUp:
    """Fetch what is missing from every provider, one after the other, and end.

    A provider that refuses, or that another process collects from, is told of and left out.
    """
    summaries: dict[str, Summary] = {}
    failures: dict[str, CryptoTrackerError] = {}
    async with _collecting(collection, watcher, record) as all_of_them:
        for name, each in all_of_them.items():
            try:
                summaries[name] = await each.once()
            except (ProviderRefused, LeaseHeld) as error:
                failures[name] = error
                if len(all_of_them) > 1:
                    watcher.noted(name, f"is left out: {error}")
    return CaughtUp(summaries, failures)


async def replay(
    collection: Collection, watcher: Watcher, stop: asyncio.Event, *, path: Path, speed: float
) -> None:
    """Play a recorded session into the store, to its end or until `stop` is set."""
    played = Replay(path, speed)
    contents = played.contents()
    if not contents.has_stream and not contents.has_fetched:
        raise UsageError(
            f"{path} holds no stream and no bars that were fetched, so there is nothing to be played: name a "
            "recording of `collect --record` or `download-data --record`"
        )
    # One that does not tell its symbols was made before recordings did.
    symbols = contents.symbols or collection.symbols
    time = ReplayTime(played, speed)
    provider = open_provider(
        played.header.provider, collection.market_data, {}, now_ms=time.now_ms, replay=played
    )
    try:
        if provider.stream is None and contents.has_stream:
            raise UsageError(
                f"{path} holds a stream of {provider.name}, and {provider.why_no_stream}; replay it with "
                "--set market_data.massive.plan=paid"
            )
        with BarStore.open(collection.home, market_data=collection.market_data, clock=time) as store:
            assignment = Assignment(
                history=_NoHistory(symbols),
                stream=Recorded(played, replace(contents, symbols=symbols), provider.stream, store),
                symbols=symbols,
                needed=lambda _symbol, _now_ms: {},
            )
            collecting = Collecting(assignment, store, collection.home, collection.market_data, time, watcher)
            ended = asyncio.Event()  # the collector sets it too, where the recording does
            passing_on = asyncio.create_task(_pass_on(stop, ended))
            try:
                await collecting.run(ended)
            finally:
                passing_on.cancel()
            if not stop.is_set():
                watcher.noted(RECORDED, f"the recording {path.name} has been played")
    finally:
        await provider.close()


async def _pass_on(stop: asyncio.Event, to: asyncio.Event) -> None:
    await stop.wait()
    to.set()


@asynccontextmanager
async def _collecting(
    collection: Collection, watcher: Watcher, record: Path | None
) -> AsyncIterator[dict[str, Collecting]]:
    """The collectors of all providers over one store; everything is closed at the end."""
    if record is not None and len(collection.providers) > 1:
        raise UsageError("--record notes the session of one provider: name it with --provider")
    time = WallTime(collection.now)
    async with AsyncExitStack() as closing:
        opened = []
        for name in collection.providers:
            recorder = None
            if record is not None:
                recorder = closing.enter_context(
                    recorder_of(name, record, collection.environment, now_ms=time.now_ms)
                )
            provider = open_provider(
                name,
                collection.market_data,
                collection.environment,
                now_ms=time.now_ms,
                say=partial(watcher.noted, name),
                record=recorder,
            )
            closing.push_async_callback(provider.close)
            opened.append(provider)
        store = closing.enter_context(
            BarStore.open(collection.home, market_data=collection.market_data, clock=time)
        )
        yield {each.name: _collector(each, collection, store, time, watcher) for each in opened}


def _collector(
    provider: Provider, collection: Collection, store: BarStore, time: MarketTime, watcher: Watcher
) -> Collecting:
    if provider.stream is None and provider.why_no_stream:
        watcher.noted(provider.name, provider.why_no_stream)
    assignment = Assignment(
        history=provider.history,
        stream=provider.stream,
        symbols=collection.symbols,
        needed=collection.needed,
    )
    return Collecting(assignment, store, collection.home, collection.market_data, time, watcher)


async def _until_refused(
    name: str,
    collecting: Collecting,
    watcher: Watcher,
    stop: asyncio.Event,
    refused: list[ProviderRefused],
) -> None:
    try:
        await collecting.run(stop)
    except ProviderRefused as error:
        watcher.noted(name, f"is left out: {error}")
        refused.append(error)


def _starts(needs: Needs, now_ms: int, *, is_reference: bool) -> dict[Timeframe, int]:
    """Where the bars of a symbol begin that are read at a moment, by timeframe."""
    starts: dict[Timeframe, int] = {}
    for part in (TRADED, REFERENCE) if is_reference else (TRADED,):
        for timeframe in (Timeframe.M1, *needs.coarse(part)):
            start_ms = needs.start_ms(part, timeframe, now_ms)
            starts[timeframe] = min(start_ms, starts.get(timeframe, start_ms))
    starts[Timeframe.M1] -= starts[Timeframe.M1] % MINUTE_MS
    return starts


class _NoHistory:
    """Stands for the requests of a session that is replayed: nobody asks for anything, all was asked."""

    name = RECORDED
    timeframes: tuple[Timeframe, ...] = ()

    def __init__(self, symbols: Sequence[Symbol]) -> None:
        self._symbols = symbols

    def reach(self, timeframe: Timeframe, now_ms: int) -> Reach:
        """Nothing can be asked for."""
        raise UsageError(f"a recording cannot be asked for bars of {timeframe} at {from_ms(now_ms)}")

    async def markets(self) -> Sequence[MarketInfo]:
        """All symbols that are wanted, since nobody can be asked."""
        return [MarketInfo(symbol=symbol, provider_symbol=str(symbol)) for symbol in self._symbols]

    async def fetch(self, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> FetchedBars:
        """Nothing can be fetched."""
        raise UsageError(
            f"a recording cannot be asked for {symbol} {timeframe} from {from_ms(start_ms)} to "
            f"{from_ms(end_ms)}"
        )

    async def close(self) -> None:
        """There is no connection."""
