"""`compare`: two results, accounts or configurations held against each other."""

from typing import Annotated

import typer

from crypto_tracker.app.cli.common import (
    BaseOption,
    JsonOption,
    PairsOption,
    TimerangeOption,
    command,
    emit_json,
    parse_pairs,
    parse_timerange,
    session_of,
)

_SIDE = "run:12, account:paper, a bundle, a TOML file, a configuration version, or `current`."


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = (
        "compare run:11 run:12",
        "compare account:paper run:12 --timerange 20250801-20250901",
        "compare current better.toml --timerange 20250101-20260101 -p BTC/USDT,ETH/USDT",
        "compare august.json better.toml --json",
    )
    command(app, "compare", examples=examples)(compare)


def compare(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help=_SIDE)],
    second: Annotated[str, typer.Argument(metavar="B", help="The same; it is held against A.")],
    *,
    timerange: TimerangeOption = None,
    pairs: PairsOption = None,
    timeframe: BaseOption = None,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="Whose bars, where several have them.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Hold B against A: what both traded, what only one did and why, and whether the difference is chance.

    Configurations are run over the same bars, read once; beside something recorded over its bars. Trades are
    paired by setup, and both sides are cut to the days that they have in common. The exit code is 0 whatever
    comes of it. docs/compare-and-scorecard.md says what each figure means.
    """
    from crypto_tracker.app.cli.backtest_progress import progress_bar
    from crypto_tracker.app.cli.compare_view import document, show
    from crypto_tracker.app.comparing import Asked, run

    session = session_of(context)
    span = parse_timerange(timerange)
    asked = Asked(
        pairs=parse_pairs(pairs),
        timeframe=timeframe,
        provider=provider,
        start_ms=span.start_ms,
        end_ms=span.end_ms,
    )
    with progress_bar(session.err) as progress:
        found = run(session, first, second, asked, progress=progress)
    rules = session.configuration.compare
    if json_output:
        emit_json(document(found, rules))
    else:
        show(session.out, found, rules)
