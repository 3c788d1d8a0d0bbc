"""`list-data`: what bars there are."""

import typer

from crypto_tracker.app.cli.common import JsonOption, command, emit_json, session_of

_WIDTH = 140


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "list-data")(list_data)


def list_data(context: typer.Context, json_output: JsonOption = False) -> None:
    """Show the bars that are in the store: symbol, provider, timeframe, span, gaps, completeness.

    Start is the open time of the first bar, end the close time of the last. A gap is a stretch of which
    nothing is known; a minute in which nobody traded is none. Completeness is the share of the span that is
    known.
    """
    from rich.table import Table

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
    table = Table(box=None, pad_edge=False)
    for name in ("symbol", "provider", "timeframe", "start", "end"):
        table.add_column(name, no_wrap=True)
    for name in ("rows", "gaps", "complete", "suspect", "quarantined"):
        table.add_column(name, justify="right")
    for info in series:
        table.add_row(
            str(info.symbol),
            info.provider,
            str(info.timeframe),
            f"{from_ms(info.start_ms):%Y-%m-%d %H:%M}",
            f"{from_ms(info.end_ms):%Y-%m-%d %H:%M}",
            f"{info.rows:,}",
            str(info.gaps),
            f"{100 * info.completeness:.2f} %",
            str(info.suspect or ""),
            str(info.quarantined or ""),
        )
    # A file or a pipe has no width that lines would have to keep to.
    if not session.out.is_terminal:
        session.out.width = max(session.out.width, _WIDTH)
    session.out.print(table)
