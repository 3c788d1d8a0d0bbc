"""`heal-gaps`: what is unknown inside stored bars is fetched, or noted as what the provider lacks."""

from collections.abc import Sequence
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
from crypto_tracker.core.errors import DataError

if TYPE_CHECKING:
    from rich.table import Table

    from crypto_tracker.app.fetching import Healed
    from crypto_tracker.app.providers import Provider
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.core.timeframes import Timeframe
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

    A series is looked at from its first known bar until now, or over the span that is named. Bars that are
    held in quarantine are asked for again. A stretch that the provider lacks for good is noted, and not asked
    for again until you say --again. A bar that has not closed, or is not to be had yet, is no gap.
    With several providers --json holds a list of documents under `providers`.
    """
    from crypto_tracker.app.cli.fetching_view import end_of_fetching, summary_document

    session = session_of(context)
    names = providers_of(session, provider)
    symbols = _symbols(session, names, pairs, named=provider is not None)
    spans = wanted_spans(session, timeframe, timerange, None)
    from_first_bar = parse_timerange(timerange).start_ms is None

    def healed(name: str) -> "Healed":
        done = _heal(session, name, symbols[name], spans, again=again, from_first_bar=from_first_bar)
        _show(session, done, on_paper=not json_output, named=pairs is not None)
        return done

    found, failed = from_each(session, tuple(symbols), healed)
    if json_output:
        documents = [_document(done, summary_document(done.summary)) for done in found]
        emit_json(documents[0] if len(names) == 1 else {"providers": documents})
    known = {done.summary.provider: done.known for done in found}
    end_of_fetching(
        [done.summary for done in found], failed, None if pairs is None else unknown_sentence(known)
    )


def _show(session: Session, done: "Healed", *, on_paper: bool, named: bool) -> None:
    from crypto_tracker.app.cli.fetching_view import counted, print_inactive, print_missing
    from crypto_tracker.app.cli.tables import print_table

    if on_paper:
        if done.series:
            print_table(session.out, _table(done))
        print_missing(session, done.summary)
        print_inactive(session, done.known, named=named)
    left = sum(series.left for series in done.series)
    bars = counted(sum(series.healed for series in done.series), "bar")
    whose = done.summary.provider
    session.err.print(
        f"{bars} healed from {whose}, {left:,} still unknown."
        if done.series
        else f"Nothing of {whose} is unknown.",
        markup=False,
    )


def _heal(
    session: Session,
    name: str,
    symbols: "Sequence[Symbol]",
    spans: "dict[Timeframe, tuple[int, int]]",
    *,
    again: bool,
    from_first_bar: bool,
) -> "Healed":
    from crypto_tracker.app.cli.fetching_view import FetchView
    from crypto_tracker.app.fetching import heal
    from crypto_tracker.core.timeframes import to_ms

    with FetchView(session.err, provider=name, per_minute=requests_per_minute(session, name)) as view:

        async def work(opened: "Provider", store: "BarStore") -> "Healed":
            return await heal(
                opened,
                store,
                symbols,
                spans,
                from_first_bar=from_first_bar,
                again=again,
                now_ms=lambda: to_ms(session.now()),
                parallel=session.configuration.market_data.collector.parallel,
                watcher=view,
            )

        return with_provider(session, name, work)


def _symbols(
    session: Session, names: Sequence[str], pairs: str | None, *, named: bool
) -> "dict[str, tuple[Symbol, ...]]":
    """For each provider the symbols that are named, else all that the store has of it.

    A provider that nobody named is left out where the store has nothing of it.
    """
    from crypto_tracker.store.reader import DATABASE_NAME, BarReader

    if pairs is not None:
        return dict.fromkeys(names, wanted_symbols(session, pairs))
    stored: dict[str, set[Symbol]] = {name: set() for name in names}
    if (session.home / DATABASE_NAME).is_file():
        with BarReader.open(session.home) as reader:
            for info in reader.series():
                if info.provider in stored:
                    stored[info.provider].add(info.symbol)
    empty = [name for name, symbols in stored.items() if not symbols]
    if empty and (named or len(empty) == len(stored)):
        raise DataError(
            f"there are no bars of {' and '.join(empty)} under {session.home}: "
            f"`download-data --provider {','.join(empty)}` brings some, and `up` keeps them up to date"
        )
    return {name: tuple(sorted(symbols)) for name, symbols in stored.items() if symbols}


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
