"""`heal-gaps`: what is unknown inside stored bars is fetched, or noted as what the provider lacks."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import (
    JsonOption,
    PairsOption,
    Session,
    TimerangeOption,
    command,
    emit_json,
    parse_timerange,
    session_of,
)
from crypto_tracker.app.cli.download_data import (
    ProviderOption,
    TimeframesOption,
    provider_of,
    requests_per_minute,
    wanted_symbols,
    wanted_timeframes,
    with_provider,
)
from crypto_tracker.core.errors import DataError

if TYPE_CHECKING:
    from rich.table import Table

    from crypto_tracker.app.fetching import Healed
    from crypto_tracker.app.providers import Provider
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.market.fetching.watching import BulkWatcher
    from crypto_tracker.store.bars import BarStore


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = (
        "heal-gaps",
        "heal-gaps --pairs BTC/USD --timeframe 1m --again",
    )
    command(app, "heal-gaps", examples=examples)(heal_gaps)


def heal_gaps(
    context: typer.Context,
    pairs: PairsOption = None,
    timeframe: TimeframesOption = None,
    timerange: TimerangeOption = None,
    provider: ProviderOption = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Ask also for what the provider is noted to lack."),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Fetch what is unknown inside stored bars, and say what cannot be healed and why.

    A series is looked at from its first known bar until now, or over the span that is named. A stretch that
    the provider lacks for good is noted, and not asked for again until you say --again.
    """
    from crypto_tracker.app.cli.fetching_view import (
        FetchView,
        counted,
        inactive_line,
        print_missing,
        summary_document,
    )
    from crypto_tracker.app.cli.tables import print_table

    session = session_of(context)
    with FetchView(session.err, per_minute=requests_per_minute(session, provider)) as view:
        healed = _heal(session, pairs, timeframe, timerange, provider, view, again=again)
    if json_output:
        emit_json(_document(healed, summary_document(healed.summary)))
    elif healed.series:
        print_table(session.out, _table(healed))
        print_missing(session, healed.summary)
    if healed.known.inactive:
        session.err.print(inactive_line(dict(healed.known.inactive)), style="yellow", soft_wrap=True)
    left = sum(series.left for series in healed.series)
    bars = counted(sum(series.healed for series in healed.series), "bar")
    session.err.print(
        f"{bars} healed, {left:,} still unknown." if healed.series else "Nothing is unknown.",
        markup=False,
    )
    if healed.summary.failed:
        raise DataError(
            f"{counted(len(healed.summary.failed), 'span')} could not be fetched: "
            "run the same command again to go on"
        )


def _heal(
    session: Session,
    pairs: str | None,
    timeframes: list[str] | None,
    timerange: str | None,
    provider: str | None,
    watcher: "BulkWatcher",
    *,
    again: bool,
) -> "Healed":
    from crypto_tracker.app.fetching import first_backfill, heal
    from crypto_tracker.core.timeframes import to_ms

    market_data = session.configuration.market_data
    span = parse_timerange(timerange)
    spans = first_backfill(
        market_data,
        wanted_timeframes(session, timeframes),
        to_ms(session.now()),
        start_ms=span.start_ms,
        end_ms=span.end_ms,
        days=None,
    )
    symbols = _symbols(session, pairs, provider)

    async def work(opened: "Provider", store: "BarStore") -> "Healed":
        return await heal(
            opened,
            store,
            symbols,
            spans,
            from_first_bar=span.start_ms is None,
            again=again,
            now_ms=lambda: to_ms(session.now()),
            parallel=market_data.collector.parallel,
            watcher=watcher,
        )

    return with_provider(session, provider, work)


def _symbols(session: Session, pairs: str | None, provider: str | None) -> "tuple[Symbol, ...]":
    """The symbols that are named, else all that the store has of the provider."""
    from crypto_tracker.store.reader import DATABASE_NAME, BarReader

    if pairs is not None:
        return wanted_symbols(session, pairs)
    name = provider_of(session, provider)
    stored: set[Symbol] = set()
    if (session.home / DATABASE_NAME).is_file():
        with BarReader.open(session.home) as reader:
            stored = {info.symbol for info in reader.series() if info.provider == name}
    if not stored:
        raise DataError(
            f"there are no bars of {name} under {session.home}: `download-data --provider {name}` brings some"
        )
    return tuple(sorted(stored))


def _document(healed: "Healed", summary: dict[str, Any]) -> dict[str, Any]:
    inactive = {str(symbol): reason for symbol, reason in healed.known.inactive.items()}
    series = [
        {
            "symbol": str(each.symbol),
            "timeframe": str(each.timeframe),
            "gaps": each.gaps,
            "unknown": each.unknown,
            "healed": each.healed,
            "left": each.left,
        }
        for each in healed.series
    ]
    return summary | {"inactive": inactive, "healed": series}


def _table(healed: "Healed") -> "Table":
    from crypto_tracker.app.cli.tables import plain_table

    table = plain_table(2)
    table.add_column("symbol", overflow="fold")
    table.add_column("tf", no_wrap=True)
    for name in ("gaps", "unknown bars", "healed", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in healed.series:
        numbers = (each.gaps, each.unknown, each.healed, each.left)
        table.add_row(str(each.symbol), str(each.timeframe), *(f"{number:,}" for number in numbers))
    return table
