"""What commands that fetch share: who is asked for what over which span."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from crypto_tracker.app.cli.common import Session, parse_pairs, parse_timerange
from crypto_tracker.core.errors import ProviderError, UsageError

if TYPE_CHECKING:
    from crypto_tracker.app.providers import Provider
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.core.timeframes import Timeframe
    from crypto_tracker.market.fetching.symbols import KnownSymbols
    from crypto_tracker.market.recording.recorder import Recorder
    from crypto_tracker.store.bars import BarStore

T = TypeVar("T")

ProviderOption = Annotated[
    str | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="massive (polygon), or an exchange such as kraken, or kraken,massive; otherwise the one that "
        "trades and then that of the history, as market_data says.",
    ),
]
TimeframesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--timeframe",
        "-i",
        metavar="LENGTH",
        help="1m, 15m, 1h or 1d; may be repeated, or 1m,1h; otherwise those of market_data.timeframes.",
    ),
]


def providers_of(session: Session, named: str | None) -> tuple[str, ...]:
    """The providers that are meant: those that are named, else the one that trades and that of the history.

    Raises UsageError for a name that nobody can be asked under, before anything is asked.
    """
    from crypto_tracker.app.providers import checked_provider

    market_data = session.configuration.market_data
    if named is None:
        trades = market_data.provider or next(iter(market_data.collector.providers), "")
        names = [name for name in (trades, market_data.history) if name]
    else:
        names = named.replace(",", " ").split()
    if not names:
        raise UsageError(
            "no provider is named: add --provider kraken, or set market_data.collector.providers"
        )
    return tuple(dict.fromkeys(map(checked_provider, names)))


def from_each(session: Session, names: Sequence[str], work: Callable[[str], T]) -> tuple[list[T], list[str]]:
    """What `work` gives for each provider in turn, and the providers that failed as a whole.

    One that fails does not keep the others from giving what they have: it is told at once. Where none gives
    anything, the last failure is that of the command.
    """
    found: list[T] = []
    failed: list[str] = []
    openable = _openable(session, names, failed)
    for name in openable:
        try:
            found.append(work(name))
        except (ProviderError, UsageError) as error:
            if not found and name == openable[-1]:
                raise
            session.err.print(str(error), style="red", markup=False, soft_wrap=True)
            failed.append(name)
    return found, failed


def _openable(session: Session, names: Sequence[str], failed: list[str]) -> list[str]:
    """Those of the providers that need no key, or have one; the others are told before anything is asked."""
    from crypto_tracker.app.providers import MASSIVE, massive_key

    if MASSIVE not in names or len(names) == 1:
        return list(names)
    try:
        massive_key(session.environment)
    except UsageError as error:
        session.err.print(f"Nothing comes from massive: {error}", style="red", markup=False, soft_wrap=True)
        failed.append(MASSIVE)
    return [name for name in names if name not in failed]


def with_provider(
    session: Session,
    name: str,
    work: "Callable[[Provider, BarStore], Awaitable[T]]",
    *,
    record: Path | None = None,
) -> T:
    """What `work` gives, done on an event loop with a provider and the store of a session."""
    import asyncio
    from contextlib import nullcontext

    from crypto_tracker.app.providers import open_provider, recorder_of
    from crypto_tracker.core.timeframes import to_ms
    from crypto_tracker.store.bars import BarStore

    market_data = session.configuration.market_data

    def now_ms() -> int:
        return to_ms(session.now())

    async def run(store: "BarStore", recorder: "Recorder | None") -> T:
        provider = open_provider(
            name,
            market_data,
            session.environment,
            now_ms=now_ms,
            say=lambda text: session.err.print(text, style="yellow", markup=False, soft_wrap=True),
            record=recorder,
        )
        try:
            return await work(provider, store)
        finally:
            await provider.close()

    recording = (
        nullcontext() if record is None else recorder_of(name, record, session.environment, now_ms=now_ms)
    )
    with (
        BarStore.open(session.make_home(), market_data=market_data, clock=session) as store,
        recording as recorder,
    ):
        return asyncio.run(run(store, recorder))


def requests_per_minute(session: Session, name: str) -> float | None:
    """The requests that a plan allows, None where they are many."""
    from crypto_tracker.app.providers import MASSIVE

    massive = session.configuration.market_data.massive
    return massive.free_requests_per_minute if massive.plan == "free" and name == MASSIVE else None


def wanted_symbols(session: Session, pairs: str | None) -> "tuple[Symbol, ...]":
    """The symbols that are named, else those of the universe."""
    from crypto_tracker.core.symbols import Symbol

    if pairs is not None:
        return tuple(Symbol.parse(name) for name in parse_pairs(pairs))
    return session.configuration.universe.members(session.configuration.trading.quote)


def wanted_timeframes(session: Session, named: list[str] | None) -> "tuple[Timeframe, ...]":
    """The timeframes that are named, else all that the configuration fetches."""
    from crypto_tracker.core.timeframes import Timeframe

    texts = [part for text in named or () for part in text.replace(",", " ").split()]
    if not texts:
        if named:
            raise UsageError("--timeframe names none: write --timeframe 1m,1h")
        texts = list(session.configuration.market_data.timeframes)
    return tuple(dict.fromkeys(Timeframe.parse(text) for text in texts))


def wanted_spans(
    session: Session, timeframes: list[str] | None, timerange: str | None, days: int | None
) -> "dict[Timeframe, tuple[int, int]]":
    """The span of each timeframe that is meant; what is cut off because nothing can be there is told."""
    from crypto_tracker.app.fetching import clipped_lines, first_backfill
    from crypto_tracker.core.timeframes import to_ms

    span = parse_timerange(timerange)
    now_ms = to_ms(session.now())
    spans = first_backfill(
        session.configuration.market_data,
        wanted_timeframes(session, timeframes),
        now_ms,
        start_ms=span.start_ms,
        end_ms=span.end_ms,
        days=days,
    )
    for line in clipped_lines(now_ms, start_ms=span.start_ms, end_ms=span.end_ms, days=days):
        session.err.print(line, style="yellow", markup=False, soft_wrap=True)
    return spans


def unknown_sentence(known: "dict[str, KnownSymbols]") -> str | None:
    """The symbols that none of these providers has, and what may have been meant; None without any."""
    from crypto_tracker.market.fetching.symbols import near_symbols

    if not known:
        return None
    first, *others = known.values()
    unknown = [symbol for symbol in first.unknown if all(symbol in other.unknown for other in others)]
    if not unknown:
        return None
    markets = dict.fromkeys(market.symbol for each in known.values() for market in each.markets)
    texts = []
    for symbol in unknown:
        near = near_symbols(symbol, markets)
        meant = f" (did you mean {' or '.join(map(str, near))}?)" if near else ""
        texts.append(f"{symbol}{meant}")
    whose = f"{' and '.join(known)} {'does' if len(known) == 1 else 'do'}"
    return f"{whose} not have {', '.join(texts)}: `list-markets` shows what there is"
