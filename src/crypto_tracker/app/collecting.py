"""Joins the parts of the collector: providers, store, strategies' needs and the clock."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic

from crypto_tracker.app.providers import (
    KEY_VARIABLES,
    MASSIVE,
    Provider,
    massive_key,
    open_provider,
    provider_name,
    recorder_of,
)
from crypto_tracker.config.market_data import MarketData
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.errors import CryptoTrackerError, ProviderRefused, UnknownToProvider, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe, from_ms, to_ms
from crypto_tracker.market.collecting.health import Watcher
from crypto_tracker.market.collecting.service import (
    Assignment,
    Collecting,
    LeaseHeld,
    Needed,
    NothingNamed,
    innermost,
)
from crypto_tracker.market.collecting.times import MarketTime
from crypto_tracker.market.fetching.summary import Summary
from crypto_tracker.market.providers.base import FetchedBars, MarketInfo, Reach
from crypto_tracker.market.providers.exchange.venues import ANOTHER_HISTORY
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
    named : whether a person has named them
    """

    home: Path
    configuration: Configuration
    strategies: Mapping[str, Strategy]
    environment: Mapping[str, str]
    providers: tuple[str, ...]
    symbols: tuple[Symbol, ...]
    now: Callable[[], datetime]
    named: bool = False

    @property
    def market_data(self) -> MarketData:
        """How bars are fetched and kept."""
        return self.configuration.market_data

    @property
    def traded(self) -> str:
        """The provider whose bars are traded on."""
        return provider_name(self.market_data.provider or "")

    def is_relied_on(self, provider: str, refusal: ProviderRefused) -> bool:
        """Whether trading cannot begin without a provider that refuses."""
        if isinstance(refusal, NothingNamed):
            return provider == self.traded  # the history of another one may well lack symbols
        return provider in {self.traded, provider_name(self.market_data.history)}

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

    A provider that refuses is told of and left out. Where all have refused, or from the start one that is
    traded on or whose history is, that ends it: UsageError, as for a key that is missing, or
    UnknownToProvider for symbols that were named and are not there.
    """
    async with _collecting(collection, watcher, record) as all_of_them:
        refused: dict[str, ProviderRefused] = {}
        final: list[ProviderRefused] = []

        async def until_refused(name: str, each: Collecting) -> None:
            try:
                await each.run(stop)
            except ProviderRefused as error:
                refused[name] = error
                if len(refused) == len(all_of_them) or (
                    not each.was_ready and collection.is_relied_on(name, error)
                ):
                    final.append(error)
                    stop.set()
                else:
                    watcher.noted(name, f"is left out: {error}")

        try:
            async with asyncio.TaskGroup() as tasks:
                for name, each in all_of_them.items():
                    tasks.create_task(until_refused(name, each))
        except BaseExceptionGroup as group:
            raise innermost(group) from None
    if final:
        raise final[0] if isinstance(final[0], UnknownToProvider) else UsageError(str(final[0]))


def _advising(summary: Summary, history: str) -> Summary:
    """The same, and nobody is advised to configure what is configured."""
    if not history:
        return summary
    has = f"fetch them from {provider_name(history)}, which market_data.history names"
    missing = (replace(each, reason=each.reason.replace(ANOTHER_HISTORY, has)) for each in summary.missing)
    return replace(summary, missing=tuple(missing))


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What came of each provider, why nothing came of the others, and which named symbols nobody has."""

    summaries: Mapping[str, Summary]
    failures: Mapping[str, CryptoTrackerError]
    absent: Mapping[Symbol, str]


async def catch_up(collection: Collection, watcher: Watcher, *, record: Path | None = None) -> CaughtUp:
    """Fetch what is missing from every provider, one after the other, and end.

    A provider that refuses, or that another process collects from, is told of and left out.
    """
    summaries: dict[str, Summary] = {}
    failures: dict[str, CryptoTrackerError] = {}
    absent: list[Mapping[Symbol, str]] = []
    async with _collecting(collection, watcher, record) as all_of_them:
        for name, each in all_of_them.items():
            try:
                summaries[name] = _advising(await each.once(), collection.market_data.history)
                absent.append(each.absent)
            except (ProviderRefused, LeaseHeld) as error:
                failures[name] = error
                if len(all_of_them) > 1:
                    watcher.noted(name, f"is left out: {error}")
    nowhere = {
        symbol: meant
        for symbol, meant in (absent[0] if absent else {}).items()
        if all(symbol in each for each in absent)
    }
    return CaughtUp(summaries, failures, nowhere)


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
    if contents.symbols and collection.named:
        raise UsageError(f"{path} is played with the symbols that were recorded: leave --pairs out")
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
        _say_what_is_missing(opened, collection, watcher)
        yield {each.name: _collector(each, collection, store, time, watcher) for each in opened}


def _say_what_is_missing(opened: Sequence[Provider], collection: Collection, watcher: Watcher) -> None:
    """Say which stream there is not, unless there is another; and which history, for want of a key."""
    if not any(each.stream is not None for each in opened):
        for each in opened:
            if each.why_no_stream:
                watcher.noted(each.name, each.why_no_stream)
    history = provider_name(collection.market_data.history)
    if history == MASSIVE and history not in {each.name for each in opened}:
        try:
            massive_key(collection.environment)
        except UsageError:
            watcher.noted(
                history,
                "is the configured history and has no key, so its bars are not collected: set "
                f"{' or '.join(KEY_VARIABLES)}",
            )


def _collector(
    provider: Provider, collection: Collection, store: BarStore, time: MarketTime, watcher: Watcher
) -> Collecting:
    assignment = Assignment(
        history=provider.history,
        stream=provider.stream,
        symbols=collection.symbols,
        needed=collection.needed,
        named=collection.symbols if collection.named else (),
    )
    return Collecting(assignment, store, collection.home, collection.market_data, time, watcher)


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
