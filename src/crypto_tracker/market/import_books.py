"""Brings recorded order books from captures into the store, one hour of a symbol after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path

from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.market.books.captures import Message, messages
from crypto_tracker.market.books.recording import Recording, Tally
from crypto_tracker.market.books.venues import BookMessage, book_message
from crypto_tracker.simulation.books import Snapshot
from crypto_tracker.store.books import BookStore


@dataclass(slots=True, kw_only=True)
class BookOutcome:
    """What a capture brought of one symbol; times are those of the first and last snapshot."""

    provider: str
    symbol: Symbol
    tally: Tally
    snapshots_new: int = 0
    first_ms: int | None = None
    last_ms: int | None = None


@dataclass(slots=True)
class _Book:
    """One symbol under way: its book, and the snapshots of the hour that is not written yet."""

    recording: Recording
    outcome: BookOutcome
    hour: list[Snapshot] = field(default_factory=list)


def import_books(
    paths: Sequence[Path], store: BookStore, *, levels: int, every_ms: int
) -> Iterator[tuple[int, list[BookOutcome]]]:
    """Record the books in captures; several files are one session, in the order in which they were received.

    Yields how many messages are read, and what came of them so far: now and then, and at the end. Stopping in
    between loses the hours that were not over. Raises DataError where there is no book at all in them.
    """
    books: dict[tuple[str, Symbol], _Book] = {}
    count = 0
    for message in merge(*map(messages, paths), key=lambda each: each.received_ms):
        count += 1
        found = book_message(message)
        if found is not None:
            key = _whose(found, books, message)
            if key not in books:
                recording = Recording(levels, every_ms)
                outcome = BookOutcome(provider=key[0], symbol=key[1], tally=recording.tally)
                books[key] = _Book(recording, outcome)
            _keep(books[key], books[key].recording.take(found, message.received_ms), store)
        if count % 10_000 == 0:
            yield count, [book.outcome for book in books.values()]
    for book in books.values():
        _keep(book, book.recording.finish(), store)
        _write(book, store)
    if not books:
        raise DataError(
            f"{', '.join(map(str, paths))}: none of {count} messages is about an order book of a known form"
        )
    yield count, [book.outcome for book in books.values()]


def _whose(
    found: BookMessage, books: dict[tuple[str, Symbol], _Book], message: Message
) -> tuple[str, Symbol]:
    """Provider and symbol of a book message; one without a symbol is of the only one that there is."""
    if found.symbol is not None:
        return found.provider, found.symbol
    known = [key for key in books if key[0] == found.provider]
    if len(known) != 1:
        raise DataError(
            f"line {message.line}: a whole book that names no symbol, among {len(known)} symbols: record "
            "each symbol in a file of its own"
        )
    return known[0]


def _keep(book: _Book, snapshots: Sequence[Snapshot], store: BookStore) -> None:
    """Take in snapshots; a new hour writes the one before."""
    for snapshot in snapshots:
        if book.hour and snapshot[0] // HOUR_MS != book.hour[0][0] // HOUR_MS:
            _write(book, store)
        book.hour.append(snapshot)


def _write(book: _Book, store: BookStore) -> None:
    if not book.hour:
        return
    outcome = book.outcome
    outcome.snapshots_new += store.write(outcome.provider, outcome.symbol, book.hour)
    outcome.first_ms = book.hour[0][0] if outcome.first_ms is None else outcome.first_ms
    outcome.last_ms = book.hour[-1][0]
    book.hour.clear()
