"""Providers by name: what configuration and environment make of `massive`, `kraken` and the like."""

import asyncio
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from pydantic import SecretStr

from crypto_tracker.config.market_data import MarketData
from crypto_tracker.core.errors import ConfigError, UsageError
from crypto_tracker.market.providers.base import History, Stream
from crypto_tracker.market.providers.exchange.loading import check_name, exchange_names, near
from crypto_tracker.market.providers.exchange.provider import open_exchange
from crypto_tracker.market.providers.massive.rest import MassiveHistory
from crypto_tracker.market.providers.massive.stream import MassiveStream
from crypto_tracker.market.recording.histories import NotedHistory, NotedStream
from crypto_tracker.market.recording.recorder import Recorder
from crypto_tracker.market.recording.replay import Replay
from crypto_tracker.net.sockets import Connect, open_socket

MASSIVE = "massive"
KEY_VARIABLES = ("MASSIVE_API_KEY", "POLYGON_API_KEY")
FILE_KEY_VARIABLES = ("MASSIVE_S3_ACCESS_KEY", "MASSIVE_S3_SECRET_KEY")

_OTHER_SPELLINGS = {"polygon": MASSIVE, "polygon.io": MASSIVE, "massive.com": MASSIVE}
_NOT_FETCHED = {
    "file": "comes from files: bring them with `import-data PATH`",
    "synthetic": "is made up: `demo` shows it",
    "recorded": "is a recording: name the provider whose session it is",
}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Provider:
    """One provider, ready to be asked; nothing has been asked of it yet.

    Attributes
    ----------
    stream : None where there is none, and `why_no_stream` says why, in one sentence
    """

    name: str
    history: History
    stream: Stream | None
    why_no_stream: str = ""

    async def close(self) -> None:
        """Let go of all connections."""
        await self.history.close()


def provider_name(text: str) -> str:
    """The name under which the bars of a provider are stored.

    >>> provider_name("Polygon"), provider_name("kraken")
    ('massive', 'kraken')
    """
    name = text.strip().lower()
    return _OTHER_SPELLINGS.get(name, name)


def checked_provider(text: str) -> str:
    """The name of a provider that can be asked, which takes no more than a moment to find out.

    Raises UsageError for a name that nobody can be asked under, and for several at once.
    """
    several = text.replace(",", " ").split()
    if len(several) > 1:
        apart = " ".join(f"--provider {name}" for name in several)
        raise UsageError(f"{text!r} names several providers: give one, or where several may be given {apart}")
    name = provider_name(text)
    if name in _NOT_FETCHED:
        raise UsageError(f"the provider {name} {_NOT_FETCHED[name]}")
    if name == MASSIVE:
        return name
    if name not in exchange_names() and (
        close := difflib.get_close_matches(name, [MASSIVE, *_OTHER_SPELLINGS], n=1, cutoff=0.75)
    ):
        raise UsageError(f"there is no provider {name!r}: did you mean {close[0]}?")
    check_name(name)
    return name


def check_exchanges(market_data: MarketData) -> None:
    """Raise ConfigError for a section of an exchange that there is not; nobody knows them without ccxt."""
    known = exchange_names()
    for name in market_data.exchanges:
        if known and name not in known:
            raise ConfigError(
                f"market_data.exchanges.{name} is about an exchange that ccxt does not know: "
                f"{near(name, known)}"
            )


def open_provider(
    name: str,
    market_data: MarketData,
    environment: Mapping[str, str],
    *,
    now_ms: Callable[[], int],
    say: Say | None = None,
    record: Recorder | None = None,
    replay: Replay | None = None,
) -> Provider:
    """The provider of this name: `massive` (or `polygon`), or an exchange as ccxt calls it.

    Parameters
    ----------
    say : is told in one sentence what a person should know of the keys
    record : notes all that the provider says
    replay : stands in for the provider, which then needs no key

    Raises
    ------
    UsageError
        For a name that nobody knows, a key that is missing, and an exchange without ccxt.
    """
    name = checked_provider(name)
    check_exchanges(market_data)
    if name == MASSIVE:
        massive = _massive(market_data, environment, now_ms=now_ms, say=say, record=record, replay=replay)
        return _noted(massive, record)
    exchange = open_exchange(
        name,
        market_data.exchange(name),
        market_data.fetching,
        market_data.collector,
        now_ms=now_ms,
        recorder=record,
        replay=replay,
    )
    return _noted(Provider(name=name, history=exchange.history, stream=exchange.stream), record)


def _noted(provider: Provider, record: Recorder | None) -> Provider:
    """The same, and what is fetched and streamed is noted beside the raw lines."""
    if record is None:
        return provider
    stream = None if provider.stream is None else NotedStream(provider.stream, record)
    return replace(provider, history=NotedHistory(provider.history, record), stream=stream)


def history_of(
    name: str,
    market_data: MarketData,
    environment: Mapping[str, str],
    *,
    now_ms: Callable[[], int],
    say: Say | None = None,
    record: Recorder | None = None,
    replay: Replay | None = None,
) -> History:
    """The past bars of a provider; see `open_provider`."""
    return open_provider(
        name, market_data, environment, now_ms=now_ms, say=say, record=record, replay=replay
    ).history


def stream_of(
    name: str,
    market_data: MarketData,
    environment: Mapping[str, str],
    *,
    now_ms: Callable[[], int],
    say: Say | None = None,
    record: Recorder | None = None,
    replay: Replay | None = None,
) -> Stream | None:
    """The minutes of a provider as they close, None where it has no stream; see `open_provider`."""
    return open_provider(
        name, market_data, environment, now_ms=now_ms, say=say, record=record, replay=replay
    ).stream


def recorder_of(
    name: str, path: Path, environment: Mapping[str, str], *, now_ms: Callable[[], int]
) -> Recorder:
    """A recorder of sessions with a provider, which keeps every key that the environment holds to itself."""
    secrets = [
        SecretStr(environment[variable])
        for variable in (*KEY_VARIABLES, *FILE_KEY_VARIABLES)
        if environment.get(variable)
    ]
    return Recorder(path, provider=provider_name(name), now_ns=lambda: now_ms() * 1_000_000, secrets=secrets)


def massive_key(environment: Mapping[str, str], say: Say | None = None) -> SecretStr:
    """The key of Massive from the environment, under its new name or its old one."""
    found = {name: key for name in KEY_VARIABLES if (key := environment.get(name, "").strip())}
    if not found:
        raise UsageError(
            f"massive needs a key: set {KEY_VARIABLES[0]} (or {KEY_VARIABLES[1]}) in the environment; "
            "without one, an exchange such as kraken gives public data"
        )
    if len(set(found.values())) > 1 and say is not None:
        say(f"{KEY_VARIABLES[0]} and {KEY_VARIABLES[1]} hold different keys: {KEY_VARIABLES[0]} is used")
    return SecretStr(next(iter(found.values())))


def file_keys(environment: Mapping[str, str]) -> tuple[SecretStr, SecretStr]:
    """The two keys of Massive's day files from the environment."""
    keys = [environment.get(name, "").strip() for name in FILE_KEY_VARIABLES]
    missing = [name for name, key in zip(FILE_KEY_VARIABLES, keys, strict=True) if not key]
    if missing:
        raise UsageError(
            f"the day files of massive need keys of their own: set {' and '.join(missing)} in the "
            "environment (the account's page of flat files shows them), or fetch without --bulk"
        )
    return SecretStr(keys[0]), SecretStr(keys[1])


def _massive(
    market_data: MarketData,
    environment: Mapping[str, str],
    *,
    now_ms: Callable[[], int],
    say: Say | None,
    record: Recorder | None,
    replay: Replay | None,
) -> Provider:
    settings = market_data.massive
    key = SecretStr("replayed") if replay is not None else massive_key(environment, say)
    transport: httpx.AsyncBaseTransport | None = None if replay is None else replay.transport()
    connect: Connect = open_socket if replay is None else replay.connect
    if record is not None:
        transport = record.transport(httpx.AsyncHTTPTransport() if transport is None else transport)
        connect = record.connecting(connect)
    history = MassiveHistory(settings, market_data.fetching, key, now_ms=now_ms, transport=transport)
    if settings.plan == "free":
        return Provider(
            name=MASSIVE,
            history=history,
            stream=None,
            why_no_stream="the free plan of massive has no stream: take minutes as they close from an "
            "exchange, such as market_data.provider = kraken with market_data.history = massive",
        )
    stream = MassiveStream(
        settings,
        market_data.collector,
        key,
        now_ms=now_ms,
        connect=connect,
        sleep=asyncio.sleep if replay is None else replay.sleep,
    )
    return Provider(name=MASSIVE, history=history, stream=stream)
