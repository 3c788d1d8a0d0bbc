"""`select-pairs`, `test-pairs` and `list-universe`: which pairs can be traded, chosen day by day."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import (
    JsonOption,
    Session,
    command,
    emit_json,
    session_of,
)
from crypto_tracker.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from crypto_tracker.core.bars import Panel
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.market.selecting import Selected
    from crypto_tracker.store.selections import Selection
    from crypto_tracker.store.universes import RecordedUniverse

ProviderOption = Annotated[
    str | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="massive, or an exchange such as kraken; otherwise the one whose bars are traded.",
    ),
]
QuoteOption = Annotated[
    str | None,
    typer.Option("--quote", metavar="CURRENCY", help="Pairs against it; otherwise trading.quote."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    examples = (
        "select-pairs --provider kraken --quote USD",
        "select-pairs --set selector.count_max=30 --set selector.volume_min_quote=5e6",
        "select-pairs --show --toml",
    )
    command(app, "select-pairs", examples=examples)(select_pairs)
    command(app, "test-pairs", examples=("test-pairs --provider kraken --quote USD",))(try_pairs)
    command(app, "list-universe", examples=("list-universe", "list-universe --day 20250801"))(list_universe)


def select_pairs(
    context: typer.Context,
    provider: ProviderOption = None,
    quote: QuoteOption = None,
    show: Annotated[
        bool, typer.Option("--show", help="The newest selection that was recorded; nobody is asked.")
    ] = False,
    toml: Annotated[
        bool, typer.Option("--toml", help="Write the sections of config.toml that trade the selection.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Choose the universe of today from the pairs of a provider.

    Ranks its spot pairs against one quote currency by volume, volatility and correlation with the benchmark,
    as [selector] says; docs/universe.md has the formulas. The selection is recorded with all that it was made
    from, and is the universe of today, which backtests obey from now on. Pairs that the provider no longer
    trades are marked inactive. To trade it, put what --toml writes into config.toml. Where no pair passes,
    nothing is recorded, and the command ends with 1.
    """
    from crypto_tracker.app.cli.select_pairs_view import as_toml, document, show_selection
    from crypto_tracker.core.timeframes import from_ms, to_ms
    from crypto_tracker.store.selections import record_selection, selection

    if toml and json_output:
        raise UsageError("--toml and --json are two formats: ask for one of them")
    session = session_of(context)
    news: dict[Symbol, str] = {}
    if show:
        if quote is not None:
            raise UsageError("--show shows what was recorded: --quote belongs to a new selection")
        made = _newest(session, provider)
    else:
        now_ms = to_ms(session.now())
        found = _selected(session, provider, quote, now_ms)
        home = session.make_home()
        made = _unrecorded(session, found, now_ms)
        if found.chosen:
            made = selection(home, record_selection(home, now_ms, found.provider, made.settings, found.pairs))
        news = _mark(session, home, found)
    for symbol, reason in news.items():
        session.err.print(f"{symbol} is inactive: {reason}", style="yellow", markup=False, soft_wrap=True)
    nothing = not any(pair.chosen for pair in made.pairs)
    if json_output:
        emit_json(document(made) | {"inactive": {str(symbol): reason for symbol, reason in news.items()}})
    elif not toml:
        show_selection(session, made, all_of_them=False)
    if nothing:
        raise DataError(_nothing_chosen(made))
    if toml:
        typer.echo(as_toml(made), nl=False)
    elif not json_output:
        session.out.print(
            f"Selection {made.selection_id} is the universe of {from_ms(made.made_at_ms):%Y-%m-%d}. To "
            "trade it, put into config.toml what `select-pairs --show --toml` writes.",
            markup=False,
        )


def _nothing_chosen(made: "Selection") -> str:
    """What a selection without any pair means, and what helps."""
    kept = "it changed no universe" if made.selection_id else "nothing was recorded"
    return (
        f"no pair of {made.provider} against {made.settings['quote']} passed the filters, so {kept}, and the "
        "universe of the day stays as it was: test-pairs names the filter that each pair did not pass, and "
        "the section [selector] of the configuration holds them, such as selector.volume_min_quote"
    )


def _unrecorded(session: Session, found: "Selected", now_ms: int) -> "Selection":
    """A selection that nobody has kept."""
    from crypto_tracker.store.selections import Selection

    return Selection(
        selection_id=0,
        made_at_ms=now_ms,
        provider=found.provider,
        settings=_settings(session, found),
        pairs=found.pairs,
    )


def try_pairs(
    context: typer.Context,
    provider: ProviderOption = None,
    quote: QuoteOption = None,
    json_output: JsonOption = False,
) -> None:
    """Choose as select-pairs does, record nothing, and show which filter each pair did not pass."""
    from crypto_tracker.app.cli.select_pairs_view import document, show_selection
    from crypto_tracker.core.timeframes import to_ms

    session = session_of(context)
    now_ms = to_ms(session.now())
    made = _unrecorded(session, _selected(session, provider, quote, now_ms), now_ms)
    if json_output:
        emit_json(document(made))
    else:
        show_selection(session, made, all_of_them=True)


def list_universe(
    context: typer.Context,
    day: Annotated[
        str | None, typer.Option("--day", metavar="DAY", help="A UTC day: 20250801 or 2025-08-01.")
    ] = None,
    provider: ProviderOption = None,
    json_output: JsonOption = False,
) -> None:
    """List the universes that were recorded day by day, or the one that held on a day."""
    from crypto_tracker.app.cli.select_pairs_view import show_universes, universes_document
    from crypto_tracker.app.providers import provider_name
    from crypto_tracker.core.timeframes import DAY_MS, to_ms
    from crypto_tracker.store.universes import universes

    session = session_of(context)
    name = None if provider is None else provider_name(provider)
    if day is None:
        found = universes(session.home, name)
    else:
        day_ms = _day(day, to_ms(session.now()))
        found = _newest_of_each(universes(session.home, name, day_ms, day_ms + DAY_MS))
    if json_output:
        emit_json({"universes": universes_document(found)})
    elif found:
        show_universes(session, found, with_symbols=day is not None)
    else:
        whose = "" if name is None else f" of {name}"
        when = "" if day is None else f" on {day} or before"
        session.out.print(
            f"No universe{whose} was recorded{when}: select-pairs and collect record the one of their day.",
            markup=False,
        )


def _day(text: str, now_ms: int) -> int:
    """The beginning of a day, in ms; raises UsageError for one that has not begun."""
    from crypto_tracker.core.timeframes import Timeframe, from_ms, to_ms

    how = "write a day in UTC, such as 20250801 or 2025-08-01"
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"--day {text!r} is no day: {how}") from None
    day_ms = to_ms(datetime.combine(day, datetime.min.time(), tzinfo=UTC))
    if day_ms > Timeframe.D1.floor(now_ms):
        raise UsageError(
            f"--day {text!r} lies in the future, whose universe nobody knows: today is "
            f"{from_ms(now_ms):%Y-%m-%d} (UTC)"
        )
    return day_ms


def _selected(session: Session, provider: str | None, quote: str | None, now_ms: int) -> "Selected":
    """Ask the provider, and choose."""
    import asyncio
    from contextlib import ExitStack

    from crypto_tracker.app.cli.backtest_progress import progress_bar
    from crypto_tracker.app.cli.fetching_view import attempt_lines
    from crypto_tracker.app.providers import open_provider
    from crypto_tracker.core.timeframes import Timeframe, to_ms
    from crypto_tracker.market.selecting import select_pairs as choose_pairs
    from crypto_tracker.net.retry import attempts_told
    from crypto_tracker.store.reader import DATABASE_NAME, BarReader

    configuration = session.configuration
    market_data = configuration.market_data
    name = _provider(session, provider)

    with ExitStack() as stack:
        progress = stack.enter_context(progress_bar(session.err))
        stack.enter_context(attempts_told(attempt_lines(session.err)))
        reader = None
        if (session.home / DATABASE_NAME).is_file():
            reader = stack.enter_context(BarReader.open(session.home))

        def stored(symbol: "Symbol", start_ms: int, end_ms: int) -> "Panel | None":
            if reader is None or name not in reader.providers(symbol):
                return None
            return reader.panel([symbol], Timeframe.D1, start_ms, end_ms, provider=name)

        async def ask() -> "Selected":
            opened = open_provider(
                name,
                market_data,
                session.environment,
                now_ms=lambda: to_ms(session.now()),
                say=lambda text: session.err.print(text, style="yellow", markup=False, soft_wrap=True),
            )
            try:
                return await choose_pairs(
                    opened.history,
                    stored,
                    configuration.selector,
                    quote=(quote or configuration.trading.quote).upper(),
                    now_ms=now_ms,
                    parallel=market_data.collector.parallel,
                    progress=progress,
                )
            finally:
                await opened.close()

        return asyncio.run(ask())


def _provider(session: Session, name: str | None) -> str:
    """The provider that is meant: the one named, else the one whose bars are traded or collected."""
    from crypto_tracker.app.providers import checked_provider

    market_data = session.configuration.market_data
    named = (name, market_data.provider, *market_data.collector.providers)
    found = next((each for each in named if each), None)
    if found is None:
        raise UsageError("no provider is named: add --provider kraken, or set market_data.provider")
    return checked_provider(found)


def _settings(session: Session, found: "Selected") -> dict[str, Any]:
    """All that the selection was made under."""
    return {
        **session.configuration.selector.model_dump(mode="json"),
        "quote": found.quote,
        "start_ms": found.start_ms,
        "end_ms": found.end_ms,
        "requested": found.requested,
    }


def _mark(session: Session, home: "Path", found: "Selected") -> "dict[Symbol, str]":
    """Mark the stored symbols of the provider by what it trades; those that are news, with the reason."""
    from crypto_tracker.market.selecting import mark_by_markets
    from crypto_tracker.store.bars import BarStore

    with BarStore.open(home, market_data=session.configuration.market_data, clock=session) as store:
        return mark_by_markets(store, home, found)


def _newest(session: Session, provider: str | None) -> "Selection":
    from crypto_tracker.app.providers import provider_name
    from crypto_tracker.store.selections import selections

    name = None if provider is None else provider_name(provider)
    found = selections(session.home, name)
    if not found:
        raise DataError(
            f"no selection{'' if name is None else f' of {name}'} was recorded: select-pairs makes one"
        )
    return found[-1]


def _newest_of_each(found: "Sequence[RecordedUniverse]") -> "list[RecordedUniverse]":
    """Of each provider the newest of some records, which come in the order of their days."""
    return list({record.provider: record for record in found}.values())
