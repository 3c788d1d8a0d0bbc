"""`list-data`: what bars there are."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from crypto_tracker.app.cli.common import JsonOption, command, emit_json, session_of

if TYPE_CHECKING:
    from rich.table import Table

    from crypto_tracker.store.series import SeriesInfo


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "list-data")(list_data)


def list_data(context: typer.Context, json_output: JsonOption = False) -> None:
    """Show the bars that are in the store: symbol, provider, timeframe, span, gaps, completeness.

    Start is the open time of the first bar, end the close time of the last. A gap is a stretch of which
    nothing is known; a minute in which nobody traded is none. Completeness is the share of the span that is
    known.
    """
    from crypto_tracker.core.timeframes import from_ms
    from crypto_tracker.store.reader import DATABASE_NAME, BarReader

    session = session_of(context)
    if (session.home / DATABASE_NAME).is_file():
        with BarReader.open(session.home) as reader:
            series = reader.series()
    else:
        series = []
    if not series:
        session.err.print(
            f"There are no bars under {session.home}. Bring some with: crypto-tracker import-data PATH",
            soft_wrap=True,
        )
    if json_output:
        emit_json(
            [
                {
                    "symbol": str(info.symbol),
                    "provider": info.provider,
                    "timeframe": str(info.timeframe),
                    "start": from_ms(info.start_ms),
                    "end": from_ms(info.end_ms),
                    "rows": info.rows,
                    "gaps": info.gaps,
                    "completeness": info.completeness,
                    "suspect": info.suspect,
                    "quarantined": info.quarantined,
                }
                for info in series
            ]
        )
        return
    if not series:
        return
    from crypto_tracker.app.cli.tables import fits, print_table, room, roomiest

    width = room(session)
    doubtful = [info for info in series if any(n for n, _ in _doubts(info))]
    shapes = [(2, "minutes"), (1, "minutes"), (1, "days")]
    whole = [_table(series, gap, precision, doubts=bool(doubtful)) for gap, precision in shapes]
    chosen = roomiest(session, whole)
    if not doubtful or fits(session.out, chosen, width):
        print_table(session.out, chosen)
        return
    # No room for columns that few lines need: those lines are named below the table.
    print_table(
        session.out, roomiest(session, [_table(series, gap, how, doubts=False) for gap, how in shapes])
    )
    for info in doubtful:
        words = ", ".join(f"{n:,} {what}" for n, what in _doubts(info) if n)
        name = f"{info.symbol} {info.provider} {info.timeframe}"
        session.out.print(f"{name}: {words}", style="yellow", markup=False)


def _doubts(info: "SeriesInfo") -> tuple[tuple[int, str], ...]:
    return (info.suspect, "suspect"), (info.quarantined, "quarantined")


def _table(series: "Sequence[SeriesInfo]", gap: int, precision: str, *, doubts: bool) -> "Table":
    """One line for each series, with times to the minute or the day, with columns for doubts or without."""
    from crypto_tracker.app.cli.tables import plain_table
    from crypto_tracker.core.timeframes import from_ms

    table = plain_table(gap)
    table.add_column("symbol", overflow="fold")
    for name in ("provider", "tf", "start", "end"):
        table.add_column(name, no_wrap=True)
    for name in ("rows", "gaps", "complete", *(("suspect", "quarantined") if doubts else ())):
        table.add_column(name, justify="right", no_wrap=True)
    moment = "%Y-%m-%d %H:%M" if precision == "minutes" else "%Y-%m-%d"
    for info in series:
        table.add_row(
            str(info.symbol),
            info.provider,
            str(info.timeframe),
            format(from_ms(info.start_ms), moment),
            format(from_ms(info.end_ms), moment),
            f"{info.rows:,}",
            str(info.gaps),
            _floored(info.completeness),
            *([f"{n:,}" if n else "" for n, _ in _doubts(info)] if doubts else []),
        )
    return table


def _floored(share: float) -> str:
    """A share in per cent, rounded down: only what is whole is 100.00 %.

    >>> _floored(0.999999), _floored(1.0)
    ('99.99 %', '100.00 %')
    """
    return f"{math.floor(10_000.0 * share + 1e-9) / 100.0:.2f} %"
