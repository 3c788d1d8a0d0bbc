"""`export-data`: stored bars as files for other programs."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import (
    JsonOption,
    PairsOption,
    Session,
    TimeframeOption,
    TimerangeOption,
    command,
    emit_json,
    parse_pairs,
    parse_timerange,
    session_of,
)
from crypto_tracker.core.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from crypto_tracker.market.exporting import Exported, Format, Wanted
    from crypto_tracker.store.reader import BarReader


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = (
        "export-data --to bars -p BTC/USDT -i 1h",
        "export-data --to ft/user_data/data --format feather",
    )
    command(app, "export-data", examples=examples)(export_data)


def export_data(
    context: typer.Context,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder for the files, made if need be.")],
    form: Annotated[
        str, typer.Option("--format", metavar="NAME", help="csv, parquet, or feather as freqtrade has it.")
    ] = "csv",
    pairs: PairsOption = None,
    timeframe: TimeframeOption = None,
    timerange: TimerangeOption = None,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="Only bars of this provider.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there already.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Write stored bars to files that other programs read, and that import-data reads again.

    DIR gets a folder for each provider and in it a file for each symbol and timeframe: all that are stored,
    or with --timeframe that one, made of finer bars as everywhere else. Of each bar the newest revision is
    written; suspect ones are left out, and a minute in which nobody traded has no row. With --format feather
    and DIR = user_data/data, freqtrade finds its candles. A file appears only once it is whole.
    """
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.core.timeframes import Timeframe
    from crypto_tracker.market.exporting import plan_export, refuse_to_overwrite, unknown_names
    from crypto_tracker.store.reader import BarReader

    session = session_of(context)
    span = parse_timerange(timerange)
    chosen = _format(form)
    if to.exists() and not to.is_dir():
        raise UsageError(f"--to {to} is a file: name a folder")
    began = time.perf_counter()
    with BarReader.open(session.home) as reader:
        wanted = plan_export(
            reader.series(),
            provider=provider,
            symbols=[Symbol.parse(name) for name in parse_pairs(pairs)],
            timeframe=None if timeframe is None else Timeframe.parse(timeframe),
            start_ms=span.start_ms,
            end_ms=span.end_ms,
        )
        if not overwrite:
            refuse_to_overwrite(wanted, to, chosen)
        outcomes = _followed(session, wanted, reader, to, chosen)
    seconds = time.perf_counter() - began
    if json_output:
        emit_json(_document(outcomes, to, chosen, seconds))
    else:
        _print_table(session, outcomes, to)
    _say(session, outcomes, unknown_names(wanted), to, seconds)


def _format(name: str) -> "Format":
    from crypto_tracker.market.exporting import Format

    known = {form.value: form for form in Format}
    if name not in known:
        raise UsageError(f"--format {name!r} is not one of {', '.join(known)}")
    return known[name]


def _followed(
    session: Session, wanted: "Sequence[Wanted]", reader: "BarReader", folder: Path, form: "Format"
) -> "list[Exported]":
    """All outcomes, with a progress bar on standard error while files are written."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from crypto_tracker.market.exporting import export

    columns = (
        TextColumn("Exporting"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}"),
    )
    done: list[Exported] = []
    began = time.perf_counter()
    written = 0
    try:
        with Progress(*columns, console=session.err, transient=True) as progress:
            task = progress.add_task("export", total=len(wanted), speed="", name="")

            def watch(now: "Wanted", rows: int) -> None:
                nonlocal written
                written += rows
                speed = f"{written / max(time.perf_counter() - began, 1e-9):,.0f} bars/s"
                progress.update(task, speed=speed, name=f"{now.symbol} {now.timeframe}")

            for outcome in export(wanted, reader, folder, form, watch=watch):
                done.append(outcome)
                progress.advance(task)
    except KeyboardInterrupt:
        session.err.print(f"{len(done)} of {len(wanted)} files are written, each of them whole.")
        raise
    return done


def _print_table(session: Session, outcomes: "Sequence[Exported]", folder: Path) -> None:
    """One line for each file, or for each provider and timeframe where they are many."""
    from crypto_tracker.app.cli.tables import plain_table, print_table, roomiest
    from crypto_tracker.core.timeframes import from_ms

    written = [outcome for outcome in outcomes if outcome.path is not None]
    groups: dict[tuple[str, str, str], list[Exported]] = {}
    for outcome in written:
        wanted = outcome.wanted
        single = str(outcome.path.relative_to(folder)) if len(written) <= 20 and outcome.path else ""
        groups.setdefault((single, wanted.provider, str(wanted.timeframe)), []).append(outcome)

    def drawn(gap: int) -> "Table":
        table = plain_table(gap)
        table.add_column("file", overflow="fold")
        for name in ("first", "last"):
            table.add_column(name, no_wrap=True)
        for name in ("bars", "suspect"):
            table.add_column(name, justify="right", no_wrap=True)
        for (single, provider, timeframe), members in groups.items():
            firsts = [each.first_ms for each in members if each.first_ms is not None]
            lasts = [each.last_ms for each in members if each.last_ms is not None]
            table.add_row(
                single or f"{len(members)} files of {provider}, {timeframe}",
                f"{from_ms(min(firsts)):%Y-%m-%d %H:%M}",
                f"{from_ms(max(lasts)):%Y-%m-%d %H:%M}",
                f"{sum(each.rows for each in members):,}",
                f"{sum(each.suspects for each in members):,}",
            )
        return table

    if groups:
        print_table(session.out, roomiest(session, (drawn(gap) for gap in (2, 1))))


def _say(
    session: Session, outcomes: "Sequence[Exported]", unnamed: Sequence[str], folder: Path, seconds: float
) -> None:
    rows = sum(outcome.rows for outcome in outcomes)
    suspects = sum(outcome.suspects for outcome in outcomes)
    files = sum(outcome.path is not None for outcome in outcomes)
    text = f"{files:,} file{'' if files == 1 else 's'}, {rows:,} bars, in {seconds:.1f} s"
    if suspects:
        text += f"; {suspects:,} suspect minute{' was' if suspects == 1 else 's were'} left out"
    if files < len(outcomes):
        text += f"; {len(outcomes) - files} series without a bar in the span have no file"
    session.err.print(f"{text}.", soft_wrap=True)
    for provider in unnamed:
        session.err.print(
            f"To import them again, say whose they are: "
            f"crypto-tracker import-data {folder / provider} --provider {provider}",
            soft_wrap=True,
        )


def _document(outcomes: "Sequence[Exported]", folder: Path, form: "Format", seconds: float) -> dict[str, Any]:
    from crypto_tracker.core.timeframes import from_ms

    return {
        "folder": str(folder),
        "format": form.value,
        "rows": sum(outcome.rows for outcome in outcomes),
        "suspects_left_out": sum(outcome.suspects for outcome in outcomes),
        "seconds": round(seconds, 3),
        "files": [
            {
                "file": None if outcome.path is None else str(outcome.path),
                "symbol": str(outcome.wanted.symbol),
                "provider": outcome.wanted.provider,
                "timeframe": str(outcome.wanted.timeframe),
                "first": None if outcome.first_ms is None else from_ms(outcome.first_ms),
                "last": None if outcome.last_ms is None else from_ms(outcome.last_ms),
                "rows": outcome.rows,
                "suspects_left_out": outcome.suspects,
            }
            for outcome in outcomes
        ],
    }
