"""`scorecard`: the targets that must be met before money is traded, and whether they are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crypto_tracker.app.cli.common import (
    JsonOption,
    Session,
    TimerangeOption,
    command,
    emit_json,
    parse_timerange,
    session_of,
)
from crypto_tracker.core.errors import UsageError

if TYPE_CHECKING:
    from crypto_tracker.app.judging import Judged


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = ("scorecard", "scorecard --run 12", "scorecard --bundle august.json --json")
    command(app, "scorecard", examples=examples)(scorecard)


def scorecard(
    context: typer.Context,
    *,
    account: Annotated[
        str | None,
        typer.Option(
            "--account", metavar="NAME", help="Otherwise the one that runs, or that was started last."
        ),
    ] = None,
    run: Annotated[
        int | None, typer.Option("--run", metavar="NUMBER", min=1, help="A recorded backtest instead.")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="FILE", help="The result of a backtest --export instead."),
    ] = None,
    timerange: TimerangeOption = None,
    json_output: JsonOption = False,
) -> None:
    """Judge an account (or a backtest) by the targets for live preparation, with the evidence of each.

    A target is met where its sample is large enough and its value lies beyond it; what is not known is not
    met. A --timerange is narrowed to whole trading days. The exit code is 0 whatever the verdict. Targets are
    configured under [scorecard]; docs/compare-and-scorecard.md defines each figure.
    """
    from crypto_tracker.app.cli.scorecard_view import document, show
    from crypto_tracker.simulation.evidence import cut, days_inside
    from crypto_tracker.simulation.scorecard import scorecard as judged

    session = session_of(context)
    span = parse_timerange(timerange)
    if sum(each is not None for each in (account, run, bundle)) > 1:
        raise UsageError("--account, --run and --bundle name different things to judge: choose one")
    targets = session.configuration.scorecard
    found = _what_to_judge(session, account, run, bundle, targets.late_seconds)
    evidence, uptime, quality = found.evidence, found.uptime, found.data_quality
    if span.start_ms is not None or span.end_ms is not None:
        first, stop = days_inside(evidence, span.start_ms, span.end_ms)
        evidence = cut(evidence, first, stop)
        uptime, quality = (
            each if isinstance(each, str) else each.between(first, stop) for each in (uptime, quality)
        )
    card = judged(evidence, targets, uptime=uptime, data_quality=quality)
    if json_output:
        emit_json(document(card, targets, uptime=uptime, data_quality=quality))
    else:
        show(session.out, card, targets)


def _what_to_judge(
    session: Session, account: str | None, run: int | None, bundle: Path | None, late_seconds: float
) -> "Judged":
    """The evidence, and what is known of uptime and data quality or why nothing is."""
    from crypto_tracker.app.accounts import read_account
    from crypto_tracker.app.evidence import recorded_bundle
    from crypto_tracker.app.judging import of_account, of_replayed, of_run

    if bundle is not None:
        return of_replayed(session.home, recorded_bundle(bundle))
    if run is not None:
        return of_run(session.home, run, session.configuration)
    return of_account(read_account(session.home, account), late_seconds)
