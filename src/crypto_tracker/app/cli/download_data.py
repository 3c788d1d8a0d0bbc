"""`download-data`: bars from a provider into the store."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crypto_tracker.app.cli.common import (
    JsonOption,
    PairsOption,
    Session,
    TimerangeOption,
    command,
    emit_json,
    session_of,
)
from crypto_tracker.app.cli.fetching_session import (
    ProviderOption,
    TimeframesOption,
    from_each,
    providers_of,
    requests_per_minute,
    unknown_sentence,
    wanted_spans,
    wanted_symbols,
    with_provider,
)
from crypto_tracker.core.errors import UsageError

if TYPE_CHECKING:
    from crypto_tracker.app.fetching import Downloaded
    from crypto_tracker.app.providers import Provider
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.core.timeframes import Timeframe
    from crypto_tracker.market.fetching.bulk import DayFileSource
    from crypto_tracker.store.bars import BarStore


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

    Without anything: the universe, on every timeframe of market_data.timeframes, as far back as it says, from
    market_data.provider and then from market_data.history. Only what is missing is asked for, the newest
    first. Interrupt it whenever you like, even by a kill, and run it again: what is finished is not fetched
    again. Ends with 1 where something failed that could be had, and where nobody has a symbol of --pairs.
    With several providers --json holds a list of documents under `providers`.
    """
    from crypto_tracker.app.cli.fetching_view import end_of_fetching, print_total

    session = session_of(context)
    if days is not None and timerange is not None:
        raise UsageError("--days and --timerange both say from when: give one of them")
    names = providers_of(session, provider)
    symbols = wanted_symbols(session, pairs)
    spans = wanted_spans(session, timeframe, timerange, days)
    day_files = _day_files(session, names) if bulk else None
    if record is not None and len(names) > 1:
        raise UsageError(f"--record writes down one provider: say --provider {' or '.join(names)}")

    def fetched(name: str) -> "Downloaded":
        done = _download(session, name, symbols, spans, record, day_files)
        if not json_output:
            _show(session, done, named=pairs is not None)
        print_total(session, done.summary)
        return done

    found, failed = from_each(session, names, fetched)
    if json_output:
        documents = [_document(done) for done in found]
        emit_json(documents[0] if len(names) == 1 else {"providers": documents})
    known = {done.summary.provider: done.known for done in found}
    end_of_fetching(
        [done.summary for done in found], failed, None if pairs is None else unknown_sentence(known)
    )


def _show(session: Session, done: "Downloaded", *, named: bool) -> None:
    from crypto_tracker.app.cli.fetching_view import print_inactive, print_missing, series_table
    from crypto_tracker.app.cli.tables import print_table

    table = series_table(done.summary)
    if table is not None:
        print_table(session.out, table)
    print_missing(session, done.summary)
    print_inactive(session, done.known, named=named)


def _document(done: "Downloaded") -> dict[str, object]:
    from crypto_tracker.app.cli.fetching_view import summary_document

    inactive = {**done.known.inactive, **done.summary.inactive}
    return summary_document(done.summary) | {
        "inactive": {str(symbol): reason for symbol, reason in inactive.items()}
    }


def _download(
    session: Session,
    name: str,
    symbols: "Sequence[Symbol]",
    spans: "dict[Timeframe, tuple[int, int]]",
    record: Path | None,
    day_files: "DayFileSource | None",
) -> "Downloaded":
    from crypto_tracker.app.cli.fetching_view import FetchView
    from crypto_tracker.app.fetching import download
    from crypto_tracker.app.providers import MASSIVE
    from crypto_tracker.core.timeframes import to_ms

    with FetchView(session.err, provider=name, per_minute=requests_per_minute(session, name)) as view:

        async def work(opened: "Provider", store: "BarStore") -> "Downloaded":
            return await download(
                opened,
                store,
                symbols,
                spans,
                now_ms=lambda: to_ms(session.now()),
                parallel=session.configuration.market_data.collector.parallel,
                watcher=view,
                day_files=day_files if name == MASSIVE else None,
            )

        return with_provider(session, name, work, record=record)


def _day_files(session: Session, names: Sequence[str]) -> "DayFileSource":
    from crypto_tracker.app.providers import MASSIVE, file_keys
    from crypto_tracker.core.timeframes import to_ms
    from crypto_tracker.market.providers.massive.day_files import DayFiles

    if MASSIVE not in names:
        raise UsageError(
            f"--bulk reads the day files of massive, and {' and '.join(names)} has none: leave it out"
        )
    market_data = session.configuration.market_data
    return DayFiles(
        market_data.massive,
        *file_keys(session.environment),
        fetching=market_data.fetching,
        now_ms=lambda: to_ms(session.now()),
    )
