"""`list-data`: what bars there are."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from crypto_tracker.app.cli.common import JsonOption, command, emit_json, session_of

if TYPE_CHECKING:
    from rich.table import Table

    from crypto_tracker.store.series import SeriesInfo

_WIDTH = 128  # of the whole table


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
    # A file or a pipe has no width that lines would have to keep to.
    if not session.out.is_terminal:
        session.out.width = max(session.out.width, _WIDTH)
    session.out.print(_table(series, wide=session.out.width >= _WIDTH))
    if session.out.width < _WIDTH:
        for info in series:
            doubts = [f"{n:,} {what}" for n, what in _doubts(info) if n]
            if doubts:
                name = f"{info.symbol} {info.provider} {info.timeframe}"
                session.out.print(f"{name}: {', '.join(doubts)}", style="yellow", markup=False)


def _doubts(info: "SeriesInfo") -> tuple[tuple[int, str], ...]:
    return (info.suspect, "suspect"), (info.quarantined, "quarantined")


def _table(series: "Sequence[SeriesInfo]", *, wide: bool) -> "Table":
    """One line for each series. Where room is short, days stand for times, and doubts get no columns."""
    from rich.table import Table

    from crypto_tracker.core.timeframes import from_ms

    table = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0))
    table.add_column("symbol", overflow="fold")
    for name in ("provider", "timeframe" if wide else "tf", "start", "end"):
        table.add_column(name, no_wrap=True)
    for name in ("rows", "gaps", "complete", *(("suspect", "quarantined") if wide else ())):
        table.add_column(name, justify="right", no_wrap=True)
    moment = "%Y-%m-%d %H:%M" if wide else "%Y-%m-%d"
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
            *([f"{n:,}" if n else "" for n, _ in _doubts(info)] if wide else []),
        )
    return table


def _floored(share: float) -> str:
    """A share in per cent, rounded down: only what is whole is 100.00 %.

    >>> _floored(0.999999), _floored(1.0)
    ('99.99 %', '100.00 %')
    """
    return f"{math.floor(10_000.0 * share + 1e-9) / 100.0:.2f} %"
