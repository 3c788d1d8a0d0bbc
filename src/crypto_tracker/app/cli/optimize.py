"""`optimize`: search for better parameters, walk them forward, and recommend on evidence only."""

from pathlib import Path
from typing import Annotated

import typer

from crypto_tracker.app.cli.common import (
    BaseOption,
    JsonOption,
    PairsOption,
    StrategyOption,
    TimerangeOption,
    command,
    emit_json,
    parse_pairs,
    parse_timerange,
    session_of,
)
from crypto_tracker.core.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = (
        "optimize -s DCA --space strategies.DCA.drop.large_cap=0.02:0.06:0.01",
        "optimize --space limits.min_confidence=0.4:0.7 --method random",
        "optimize --space sizing.mode=fixed,adaptive --write better.toml",
    )
    command(app, "optimize", examples=examples)(optimize)


def optimize(
    context: typer.Context,
    *,
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space",
            metavar="KEY=RANGE",
            help="A key of the configuration with low:high, low:high:step or a,b,c; may be repeated.",
        ),
    ] = None,
    method: Annotated[str, typer.Option("--method", metavar="NAME", help="grid, random or optuna.")] = "grid",
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", min=1, metavar="N", help="Parameter sets at most; of optuna for each window."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="Of random, optuna and the bootstrap.")
    ] = 1,
    objective: Annotated[
        str,
        typer.Option(
            "--objective",
            metavar="NAME",
            help="sharpe, sortino, return, calmar, omega, sqn or profit_factor.",
        ),
    ] = "sharpe",
    min_trades: Annotated[
        int | None,
        typer.Option("--min-trades", min=1, metavar="N", help="In sample, for a parameter set to be chosen."),
    ] = None,
    windows: Annotated[
        int | None,
        typer.Option("--windows", min=1, metavar="N", help="How many times to search and then trade."),
    ] = None,
    in_sample: Annotated[
        int | None, typer.Option("--in-sample", min=1, metavar="DAYS", help="Days to search in.")
    ] = None,
    out_of_sample: Annotated[
        int | None,
        typer.Option("--out-of-sample", min=1, metavar="DAYS", help="Days to trade what was found."),
    ] = None,
    timerange: TimerangeOption = None,
    pairs: PairsOption = None,
    strategy: StrategyOption = None,
    timeframe: BaseOption = None,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="Whose bars, where several have them.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            metavar="N",
            help="Processes that work at a time; otherwise one for each core.",
        ),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write", metavar="FILE", help="Write what is recommended as a file that --config reads."
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Search for better parameters, and say whether what was found is worth anything.

    Bars are read and measured once. Each window searches in its days in sample and trades its choice in
    the days after them. A change is recommended only if the days out of sample, every configuration ever
    tried on overlapping spans, and cross-validation all speak for it. The configuration is never changed.
    """
    from crypto_tracker.app.cli.backtest_progress import progress_bar
    from crypto_tracker.app.cli.optimize_view import document, show
    from crypto_tracker.app.optimizing import Asked, recommended_file, run

    session = session_of(context)
    span = parse_timerange(timerange)
    if write is not None and write.exists():
        raise UsageError(f"--write {write} exists already: name a new file, or move it away")
    asked = Asked(
        space=tuple(space or ()),
        method=method,
        trials=trials,
        seed=seed,
        objective=objective,
        trades_min=min_trades,
        windows=windows,
        in_sample_days=in_sample,
        out_of_sample_days=out_of_sample,
        only=tuple(strategy or ()),
        pairs=parse_pairs(pairs),
        timeframe=timeframe,
        provider=provider,
        start_ms=span.start_ms,
        end_ms=span.end_ms,
        workers=workers,
    )
    with progress_bar(session.err) as progress:
        found = run(session, asked, progress=progress)
    file = None
    if write is not None and found.result.evidence.recommended:
        file = write
        file.write_text(recommended_file(session, found), encoding="utf-8")
    if json_output:
        emit_json(document(found, file))
    else:
        show(session, found, file, refused_file=write if file is None else None)
