"""`import-books` and `list-books`: recorded order books, which market fills can walk."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import JsonOption, Session, command, emit_json, session_of
from crypto_tracker.core.errors import DataError

if TYPE_CHECKING:
    from rich.table import Table

    from crypto_tracker.market.books.recording import Tally
    from crypto_tracker.market.import_books import BookOutcome
    from crypto_tracker.store.books import BookSeries

# What a person should know of a book besides how many there are, in the words of the table.
_DOUBTS = {
    "gaps": "gaps",
    "mismatches": "wrong checksums",
    "unbegun": "updates of no book",
    "crossed": "crossed",
    "one_sided": "one-sided",
    "backward": "stamped backward",
}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    examples = (
        "import-books binance_spot_btcusdt_20240808.gz",
        "import-books BINANCE.http.0.0.gz BINANCE.ws.1.0.gz",
    )
    command(app, "import-books", examples=examples)(import_books)
    command(app, "list-books")(list_books)


def import_books(
    context: typer.Context,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="A capture, plain or gzip; several are read as one session, by time of receipt.",
            exists=True,
            dir_okay=False,
        ),
    ],
    json_output: JsonOption = False,
) -> None:
    """Record the order books in captured websocket sessions, for fills.source = "book".

    Reads lines of `NANOSECONDS JSON` and what cryptofeed writes, of Binance spot, Hyperliquid, Coinbase,
    Kraken, OKX spot and Gemini. A book begins with a whole one; where updates are missing or a checksum does
    not hold it is given up until the next whole one, and the table says how often. market_data.books sets how
    many levels are kept, and how often. Importing again adds only what is not there.
    """
    from crypto_tracker.market.import_books import import_books as read
    from crypto_tracker.store.books import BookStore

    session = session_of(context)
    rules = session.configuration.market_data.books
    began = time.perf_counter()
    count = 0
    outcomes: list[BookOutcome] = []
    with (
        BookStore.open_to_write(session.make_home()) as store,
        session.err.status("reading messages") as status,
    ):
        for read_now in read(paths, store, levels=rules.levels, every_ms=rules.every_ms):
            count, outcomes = read_now
            status.update(f"reading messages: {count:,}")
    seconds = time.perf_counter() - began
    if json_output:
        emit_json(
            {
                "messages": count,
                "seconds": round(seconds, 3),
                "levels": rules.levels,
                "every_ms": rules.every_ms,
                "books": [_document(outcome) for outcome in outcomes],
            }
        )
    else:
        _print_table(session, outcomes)
    new = sum(outcome.snapshots_new for outcome in outcomes)
    session.err.print(f"{count:,} messages, {new:,} books that were not there, in {seconds:.1f} s.")
    if not any(outcome.tally.snapshots for outcome in outcomes):
        raise DataError(
            "no book could be recorded: every one must begin with a whole book, from the stream or from a "
            "file of answers that is named beside it"
        )


def list_books(context: typer.Context, json_output: JsonOption = False) -> None:
    """Show the recorded order books: symbol, provider, first and last book, and how many there are.

    Seconds are what lies between the first and the last book; nothing need be recorded in between. Hours are
    those of the clock in UTC of which there is any book.
    """
    from crypto_tracker.core.timeframes import from_ms
    from crypto_tracker.store.books import BookStore

    session = session_of(context)
    series = BookStore(session.home).series()
    if not series:
        session.err.print(
            f"There are no recorded books under {session.home}. Bring some with: "
            "crypto-tracker import-books PATH",
            soft_wrap=True,
        )
    if json_output:
        emit_json(
            [
                {
                    "symbol": str(each.symbol),
                    "provider": each.provider,
                    "first": from_ms(each.first_ms),
                    "last": from_ms(each.last_ms),
                    "seconds": (each.last_ms - each.first_ms) / 1000,
                    "books": each.books,
                    "hours": len(each.hours),
                }
                for each in series
            ]
        )
    elif series:
        _print_series(session, series)


def _print_series(session: Session, series: "Sequence[BookSeries]") -> None:
    """One line for each symbol of a provider."""
    from crypto_tracker.app.cli.tables import plain_table, print_table, roomiest
    from crypto_tracker.core.timeframes import from_ms

    def drawn(gap: int, *, hours: bool) -> "Table":
        table = plain_table(gap)
        for name in ("symbol", "provider", "first", "last"):
            table.add_column(name, no_wrap=True)
        for name in ("seconds", "books", *(("hours",) if hours else ())):
            table.add_column(name, justify="right", no_wrap=True)
        for each in series:
            table.add_row(
                str(each.symbol),
                each.provider,
                f"{from_ms(each.first_ms):%Y-%m-%d %H:%M:%S}",
                f"{from_ms(each.last_ms):%Y-%m-%d %H:%M:%S}",
                f"{(each.last_ms - each.first_ms) / 1000:,.1f}",
                f"{each.books:,}",
                *([f"{len(each.hours):,}"] if hours else []),
            )
        return table

    shapes = ((2, True), (1, True), (1, False))
    print_table(session.out, roomiest(session, (drawn(gap, hours=hours) for gap, hours in shapes)))


def _document(outcome: "BookOutcome") -> dict[str, Any]:
    from crypto_tracker.core.timeframes import from_ms

    return {
        "provider": outcome.provider,
        "symbol": str(outcome.symbol),
        "first": None if outcome.first_ms is None else from_ms(outcome.first_ms),
        "last": None if outcome.last_ms is None else from_ms(outcome.last_ms),
        "snapshots_new": outcome.snapshots_new,
        **asdict(outcome.tally),
    }


def _print_table(session: Session, outcomes: "Sequence[BookOutcome]") -> None:
    from crypto_tracker.app.cli.tables import plain_table, print_table, roomiest
    from crypto_tracker.core.timeframes import from_ms

    def drawn(gap: int) -> "Table":
        table = plain_table(gap)
        for name in ("symbol", "provider", "from"):
            table.add_column(name, no_wrap=True)
        for name in ("seconds", "updates", "books", "new"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("left out")
        for outcome in sorted(outcomes, key=lambda each: (each.provider, each.symbol)):
            first, last, tally = outcome.first_ms, outcome.last_ms, outcome.tally
            table.add_row(
                str(outcome.symbol),
                outcome.provider,
                "-" if first is None else f"{from_ms(first):%Y-%m-%d %H:%M:%S}",
                "-" if first is None or last is None else f"{(last - first) / 1000:,.1f}",
                f"{tally.updates + tally.wholes:,}",
                f"{tally.snapshots:,}",
                f"{outcome.snapshots_new:,}",
                _doubts(tally),
            )
        return table

    print_table(session.out, roomiest(session, (drawn(gap) for gap in (2, 1))))


def _doubts(tally: "Tally") -> str:
    numbers = asdict(tally)
    return ", ".join(f"{numbers[name]:,} {words}" for name, words in _DOUBTS.items() if numbers[name]) or "-"
