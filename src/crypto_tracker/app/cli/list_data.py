"""`list-data`: what bars there are, what is missing of them, and how far they can be trusted."""

from typing import TYPE_CHECKING, Annotated

import typer

from crypto_tracker.app.cli.common import (
    JsonOption,
    PairsOption,
    command,
    emit_json,
    parse_pairs,
    say_no_bars,
    session_of,
)

if TYPE_CHECKING:
    from crypto_tracker.app.stored_data import StoredData


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = ("list-data", "list-data --quality", "list-data --gaps -p BTC/USDT")
    command(app, "list-data", examples=examples)(list_data)


def list_data(
    context: typer.Context,
    pairs: PairsOption = None,
    gaps: Annotated[
        bool,
        typer.Option("--gaps", help="Show of what nothing is known, and why; with --pairs every stretch."),
    ] = False,
    quality: Annotated[
        bool,
        typer.Option(
            "--quality", help="Show the parts of each quality score, and how far providers lie apart."
        ),
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="As --quality, after comparing the minutes of every two providers anew."
        ),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Show the bars that are in the store: symbol, provider, timeframe, span, gaps, completeness.

    Start is the open time of the first bar, end the close time of the last. A gap is a stretch of which
    nothing is known; a minute in which nobody traded is none. Completeness is the share of the span that is
    known. Where bars are kept up to date, quality is the score from 0 to 1 below which a symbol opens
    nothing (market_data.quality.score_min).
    """
    from crypto_tracker.app.cli.list_data_view import (
        documents,
        print_gaps,
        print_inactive,
        print_quality,
        print_series,
    )
    from crypto_tracker.app.stored_data import survey
    from crypto_tracker.core.timeframes import to_ms

    session = session_of(context)
    market_data = session.configuration.market_data
    quality = quality or compare
    data = survey(session.home, market_data, to_ms(session.now()), compare=compare)
    if data.series or data.inactive:
        data = _chosen(data, pairs)
    else:
        say_no_bars(session)
    if json_output:
        emit_json(documents(data))
        return
    if data.series and not gaps and not quality:
        print_series(session, data)
    if quality:
        print_quality(session, data, market_data.quality)
    if data.series and gaps:
        print_gaps(session, data, one_by_one=pairs is not None)
    print_inactive(session, data)


def _chosen(data: "StoredData", pairs: str | None) -> "StoredData":
    """What is to be shown; raises DataError where nothing is stored of a pair that is named."""
    from dataclasses import replace

    from crypto_tracker.core.errors import DataError
    from crypto_tracker.core.symbols import Symbol

    wanted = [Symbol.parse(name) for name in parse_pairs(pairs)]
    if not wanted:
        return data
    stored = {each.info.symbol for each in data.series} | {each.symbol for each in data.inactive}
    unknown = [str(symbol) for symbol in wanted if symbol not in stored]
    if unknown:
        raise DataError(f"there are no bars of {', '.join(unknown)}: list-data shows what there is")
    return replace(
        data,
        series=tuple(each for each in data.series if each.info.symbol in wanted),
        inactive=tuple(each for each in data.inactive if each.symbol in wanted),
        disagreements=tuple(each for each in data.disagreements if each.symbol in wanted),
    )
