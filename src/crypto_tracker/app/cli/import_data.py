"""`import-data`: bars from files into the store."""

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import JsonOption, Session, TimeframeOption, command, emit_json, session_of
from crypto_tracker.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from crypto_tracker.market.import_files import FileOutcome
    from crypto_tracker.market.providers.files.parse import FileOptions
    from crypto_tracker.market.providers.files.sources import BarFile, PassedOver

_SHOWN_SKIPPED = 5
_RARE = ("revisions", "quarantined", "suspect")  # shown only where there are some


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = (
        "import-data user_data/data/binance",
        "import-data BTCUSDT-1m-2025-01.zip --provider binance",
    )
    command(app, "import-data", examples=examples)(import_data)


def import_data(
    context: typer.Context,
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A file of bars, or a folder to look through.", exists=True)
    ],
    provider: Annotated[
        str | None,
        typer.Option(
            "--provider", metavar="NAME", help="Whose bars these are, such as binance; otherwise by name."
        ),
    ] = None,
    symbol: Annotated[
        str | None,
        typer.Option(
            "--symbol",
            metavar="SYMBOL",
            help="BTC/USDT, or BTC/USDT:USDT for a perpetual; otherwise by name.",
        ),
    ] = None,
    timeframe: TimeframeOption = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout", metavar="NAME", help="freqtrade, binance, kraken or plain; otherwise by content."
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Bring bars from files into the store.

    Reads what freqtrade downloads (feather, json, parquet), Binance klines (csv, zip), Kraken OHLCVT (csv),
    and CSV or Parquet with named columns. Bars that break a rule go to quarantine with file and line.
    Interrupt it whenever you like, and run it again: files that are done are not read again.
    """
    from crypto_tracker.core.timeframes import to_ms
    from crypto_tracker.market.import_files import import_files, plan_import
    from crypto_tracker.store.bars import BarStore

    session = session_of(context)
    options = _options(provider, symbol, timeframe, layout)
    market_data = session.configuration.market_data
    began = time.perf_counter()
    files = plan_import(path)
    with BarStore.open(session.make_home(), market_data=market_data, clock=session) as store:
        outcomes = _followed(
            session,
            import_files(files, store, options, market_data.files, now_ms=to_ms(session.now())),
            files,
        )
        store.roll_over()  # months that have aged since the last import leave the hot table
    seconds = time.perf_counter() - began

    if not path.is_dir() and len(outcomes) == 1 and outcomes[0].status in {"skipped", "failed"}:
        raise DataError(f"{path}: {outcomes[0].reason}")
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    used = [outcome for outcome in outcomes if outcome.status in {"imported", "unchanged"}]
    if json_output:
        emit_json(_document(outcomes, used, seconds))
    else:
        _print_table(session, used)
    _print_passed_over(session, outcomes)
    session.err.print(_summary(used, failed, seconds), soft_wrap=True)
    if failed or not used:
        raise DataError(
            f"{_counted(len(failed), 'file')} could not be used: see the reasons above"
            if failed
            else f"no file under {path} holds bars"
        )


def _options(
    provider: str | None, symbol: str | None, timeframe: str | None, layout: str | None
) -> "FileOptions":
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.core.timeframes import Timeframe
    from crypto_tracker.market.providers.files.parse import FileOptions
    from crypto_tracker.market.providers.files.tables import Layout

    known = {member.value: member for member in Layout}
    if layout is not None and layout not in known:
        raise UsageError(f"--layout {layout!r} is not one of {', '.join(known)}")
    return FileOptions(
        provider=provider,
        symbol=None if symbol is None else Symbol.parse(symbol),
        timeframe=None if timeframe is None else Timeframe.parse(timeframe),
        layout=None if layout is None else known[layout],
    )


def _followed(
    session: Session, outcomes: "Iterable[FileOutcome]", files: "list[BarFile | PassedOver]"
) -> "list[FileOutcome]":
    """All outcomes, with a progress bar on standard error while they come in."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    done: list[FileOutcome] = []
    columns = (
        TextColumn("Importing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}"),
    )
    began = time.perf_counter()
    rows = 0
    try:
        with Progress(*columns, console=session.err, transient=True) as progress:
            task = progress.add_task("import", total=len(files), speed="", name="")
            for outcome in outcomes:
                done.append(outcome)
                rows += outcome.rows
                speed = f"{rows / max(time.perf_counter() - began, 1e-9):,.0f} bars/s"
                progress.update(task, advance=1, speed=speed, name=Path(outcome.source).name)
    except KeyboardInterrupt:
        session.err.print(f"{len(done)} of {len(files)} files are done. Run the same command again to go on.")
        raise
    return done


def _document(outcomes: "list[FileOutcome]", used: "list[FileOutcome]", seconds: float) -> dict[str, Any]:
    return {
        "files": len(used),
        "symbols": len({(outcome.provider, outcome.symbol) for outcome in used}),
        "rows": sum(outcome.rows for outcome in used),
        "rows_new": sum(outcome.rows_new for outcome in used),
        "revisions": sum(outcome.revisions for outcome in used),
        "quarantined": sum(outcome.quarantined for outcome in used),
        "suspect": sum(outcome.suspect for outcome in used),
        "seconds": round(seconds, 3),
        "unchanged": sum(outcome.status == "unchanged" for outcome in used),
        "skipped": _reasons(outcomes, "skipped"),
        "failed": _reasons(outcomes, "failed"),
        "per_file": [
            {
                "file": outcome.source,
                "status": outcome.status,
                "layout": outcome.layout,
                "provider": outcome.provider,
                "symbol": outcome.symbol,
                "timeframe": outcome.timeframe,
                "rows": outcome.rows,
                "rows_new": outcome.rows_new,
                "revisions": outcome.revisions,
                "quarantined": outcome.quarantined,
                "suspect": outcome.suspect,
                "notes": outcome.notes,
            }
            for outcome in used
        ],
    }


def _reasons(outcomes: "list[FileOutcome]", status: str) -> list[dict[str, str | None]]:
    return [
        {"file": outcome.source, "reason": outcome.reason} for outcome in outcomes if outcome.status == status
    ]


def _print_table(session: Session, used: "list[FileOutcome]") -> None:
    """One line for each provider, layout and timeframe, or for each file where there are few."""
    groups: dict[tuple[str, ...], list[FileOutcome]] = {}
    single = len(used) <= 20
    for outcome in used:
        what = f"{outcome.symbol}  {Path(outcome.source).name}" if single else ""
        key = (what, str(outcome.layout), str(outcome.provider), str(outcome.timeframe))
        groups.setdefault(key, []).append(outcome)
    sums: dict[tuple[str, ...], Counter[str]] = {}
    for group, members in sorted(groups.items()):
        sums[group] = Counter(files=len(members))
        for outcome in members:
            for name in ("rows", "new", *_RARE):
                sums[group][name] += getattr(outcome, "rows_new" if name == "new" else name)
    from crypto_tracker.app.cli.tables import plain_table, print_table, roomiest

    rare = [name for name in _RARE if any(numbers[name] for numbers in sums.values())]

    def drawn(gap: int, *, with_file: bool) -> "Table":
        table = plain_table(gap)
        table.add_column("what", overflow="fold")
        for name in ("layout", "provider", "tf"):
            table.add_column(name, no_wrap=True)
        for name in ("files", "rows", "new", *rare):
            table.add_column(name, justify="right", no_wrap=True)
        for group, numbers in sums.items():
            symbols = len({outcome.symbol for outcome in groups[group]})
            shown = (f"{numbers[name]:,}" for name in ("files", "rows", "new", *rare))
            what = group[0] if with_file else group[0].partition("  ")[0]
            table.add_row(what or _counted(symbols, "symbol"), *group[1:], *shown)
        return table

    # The name of the file gives way before anything else does; --json has it.
    shapes = ((2, True), (1, True), (2, False), (1, False))
    print_table(session.out, roomiest(session, (drawn(gap, with_file=named) for gap, named in shapes)))


def _print_passed_over(session: Session, outcomes: "list[FileOutcome]") -> None:
    """Why files were not used: all that failed, a few of those that were skipped, notes of the rest."""
    from rich.text import Text

    def say(text: str, style: str) -> None:
        session.err.print(Text(text, style=style), soft_wrap=True)

    skipped = [outcome for outcome in outcomes if outcome.status == "skipped"]
    for outcome in skipped[:_SHOWN_SKIPPED]:
        say(f"skipped {outcome.source}: {outcome.reason}", "dim")
    if len(skipped) > _SHOWN_SKIPPED:
        say(
            f"skipped {len(skipped) - _SHOWN_SKIPPED} more files that hold no bars; --json lists them all",
            "dim",
        )
    for outcome in outcomes:
        for note in outcome.notes:
            say(f"note {outcome.source}: {note}", "yellow")
        if outcome.status == "failed":
            say(f"failed {outcome.source}: {outcome.reason}", "red")


def _summary(used: "list[FileOutcome]", failed: "list[FileOutcome]", seconds: float) -> str:
    rows = sum(outcome.rows for outcome in used)
    new = sum(outcome.rows_new for outcome in used)
    unchanged = sum(outcome.status == "unchanged" for outcome in used)
    text = f"{_counted(len(used), 'file')}, {_counted(rows, 'row')}, {new:,} of them new, in {seconds:.1f} s"
    if unchanged:
        text += f"; {_counted(unchanged, 'file')} in the store already"
    if failed:
        text += f"; {len(failed)} failed"
    return text + "."


def _counted(number: int, what: str) -> str:
    """A number of things.

    >>> _counted(1, "file"), _counted(1_200, "row")
    ('1 file', '1,200 rows')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"
