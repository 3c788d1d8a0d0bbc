"""`download-data`: bars from a provider into the store."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from crypto_tracker.app.cli.common import (
    JsonOption,
    PairsOption,
    Session,
    TimerangeOption,
    command,
    emit_json,
    parse_pairs,
    parse_timerange,
    session_of,
)
from crypto_tracker.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from crypto_tracker.app.fetching import Downloaded
    from crypto_tracker.app.providers import Provider
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.core.timeframes import Timeframe
    from crypto_tracker.market.fetching.bulk import DayFileSource
    from crypto_tracker.market.fetching.watching import BulkWatcher
    from crypto_tracker.market.recording.recorder import Recorder
    from crypto_tracker.store.bars import BarStore

T = TypeVar("T")

ProviderOption = Annotated[
    str | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="massive (polygon), or an exchange such as kraken; otherwise as market_data says.",
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


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = (
        "download-data --pairs BTC/USD,ETH/USD --days 30",
        "download-data --provider massive --timeframe 1h --timerange 20240101-",
    )
    command(app, "download-data", examples=examples)(download_data)


def download_data(
    context: typer.Context,
    pairs: PairsOption = None,
    timeframe: TimeframesOption = None,
    timerange: TimerangeOption = None,
    days: Annotated[
        int | None, typer.Option("--days", metavar="N", min=1, help="The last N days instead of a span.")
    ] = None,
    provider: ProviderOption = None,
    bulk: Annotated[
        bool, typer.Option("--bulk", help="Minutes from the day files of massive, the rest by request.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="Also write down all that the provider says."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Fetch bars from a provider into the store.

    Without anything: the universe, on every timeframe of market_data.timeframes, as far back as it says.
    Only what is missing is asked for, the newest first. Interrupt it whenever you like, even by a kill, and
    run it again: what is finished is not fetched again. Ends with 1 where something failed that could be had.
    """
    from crypto_tracker.app.cli.fetching_view import (
        FetchView,
        counted,
        inactive_line,
        print_missing,
        series_table,
        summary_document,
        total_line,
    )
    from crypto_tracker.app.cli.tables import print_table

    session = session_of(context)
    symbols = wanted_symbols(session, pairs)
    with FetchView(session.err, per_minute=requests_per_minute(session, provider)) as view:
        done = _download(session, symbols, timeframe, timerange, days, provider, record, view, bulk=bulk)
    summary = done.summary
    if json_output:
        inactive = {str(symbol): reason for symbol, reason in done.known.inactive.items()}
        emit_json(summary_document(summary) | {"inactive": inactive | _dropped(done)})
    else:
        table = series_table(summary)
        if table is not None:
            print_table(session.out, table)
        print_missing(session, summary)
    if done.known.inactive:
        session.err.print(inactive_line(dict(done.known.inactive)), style="yellow", soft_wrap=True)
    session.err.print(total_line(summary), markup=False, soft_wrap=True)
    if summary.failed:
        raise DataError(
            f"{counted(len(summary.failed), 'span')} could not be fetched: "
            "run the same command again to go on"
        )


def _dropped(done: "Downloaded") -> dict[str, str]:
    return {str(symbol): reason for symbol, reason in done.summary.inactive.items()}


def _download(
    session: Session,
    symbols: "Sequence[Symbol]",
    timeframes: list[str] | None,
    timerange: str | None,
    days: int | None,
    provider: str | None,
    record: Path | None,
    watcher: "BulkWatcher",
    *,
    bulk: bool,
) -> "Downloaded":
    from crypto_tracker.app.fetching import download, first_backfill
    from crypto_tracker.core.timeframes import to_ms

    if days is not None and timerange is not None:
        raise UsageError("--days and --timerange both say from when: give one of them")
    span = parse_timerange(timerange)
    market_data = session.configuration.market_data
    now_ms = to_ms(session.now())
    spans = first_backfill(
        market_data,
        wanted_timeframes(session, timeframes),
        now_ms,
        start_ms=span.start_ms,
        end_ms=span.end_ms,
        days=days,
    )
    day_files = _day_files(session, provider) if bulk else None

    async def work(opened: "Provider", store: "BarStore") -> "Downloaded":
        return await download(
            opened,
            store,
            symbols,
            spans,
            now_ms=lambda: to_ms(session.now()),
            parallel=market_data.collector.parallel,
            watcher=watcher,
            day_files=day_files,
        )

    return with_provider(session, provider, work, record=record)


def with_provider(
    session: Session,
    name: str | None,
    work: "Callable[[Provider, BarStore], Awaitable[T]]",
    *,
    record: Path | None = None,
) -> T:
    """What `work` gives, done on an event loop with the provider and the store of a session."""
    import asyncio
    from contextlib import nullcontext

    from crypto_tracker.app.providers import open_provider, recorder_of
    from crypto_tracker.core.timeframes import to_ms
    from crypto_tracker.store.bars import BarStore

    market_data = session.configuration.market_data
    chosen = provider_of(session, name)

    def now_ms() -> int:
        return to_ms(session.now())

    async def run(store: "BarStore", recorder: "Recorder | None") -> T:
        provider = open_provider(
            chosen,
            market_data,
            session.environment,
            now_ms=now_ms,
            say=lambda text: session.err.print(text, style="yellow", soft_wrap=True),
            record=recorder,
        )
        try:
            return await work(provider, store)
        finally:
            await provider.close()

    recording = (
        nullcontext() if record is None else recorder_of(chosen, record, session.environment, now_ms=now_ms)
    )
    with (
        BarStore.open(session.make_home(), market_data=market_data, clock=session) as store,
        recording as recorder,
    ):
        return asyncio.run(run(store, recorder))


def provider_of(session: Session, name: str | None) -> str:
    """The provider that is meant: the one named, else the one whose bars are the history, or are traded."""
    from crypto_tracker.app.providers import provider_name

    market_data = session.configuration.market_data
    named = (name, market_data.history, market_data.provider, *market_data.collector.providers)
    found = next((each for each in named if each), None)
    if found is None:
        raise UsageError(
            "no provider is named: add --provider kraken, or set market_data.collector.providers"
        )
    return provider_name(found)


def requests_per_minute(session: Session, name: str | None) -> float | None:
    """The requests that a plan allows, None where they are many."""
    from crypto_tracker.app.providers import MASSIVE

    massive = session.configuration.market_data.massive
    is_free = massive.plan == "free" and provider_of(session, name) == MASSIVE
    return massive.free_requests_per_minute if is_free else None


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


def _day_files(session: Session, provider: str | None) -> "DayFileSource":
    from crypto_tracker.app.providers import MASSIVE, file_keys
    from crypto_tracker.core.timeframes import to_ms
    from crypto_tracker.market.providers.massive.day_files import DayFiles

    name = provider_of(session, provider)
    if name != MASSIVE:
        raise UsageError(f"--bulk reads the day files of massive, and {name} has none: leave it out")
    market_data = session.configuration.market_data
    return DayFiles(
        market_data.massive,
        *file_keys(session.environment),
        fetching=market_data.fetching,
        now_ms=lambda: to_ms(session.now()),
    )
