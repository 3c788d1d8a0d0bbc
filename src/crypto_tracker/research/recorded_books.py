"""Recorded order books as an experiment reads them: with their lead, and with a digest of all of it."""

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np

from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.features.blocks import month_blocks
from crypto_tracker.simulation.books import OrderBooks
from crypto_tracker.simulation.parameters import FillRules, FillSource
from crypto_tracker.store.books import BookSource


class RecordedBooks:
    """Reads the books that fills can walk, and remembers what it gave.

    What is given again is not noted again, and digests end with the calendar month: a span that is read month
    after month gets the names that it has when it is read at once.
    """

    def __init__(self, source: BookSource, rules: FillRules) -> None:
        self._source = source
        self._age_ms = math.ceil(rules.book_max_age_seconds * 1000)
        self._given_ms: int | None = None
        self._digests: dict[Symbol, list[str]] = {}

    def read(self, symbols: Sequence[Symbol], start_ms: int, end_ms: int) -> OrderBooks:
        """The books of [start_ms, end_ms), and those before it that are fresh at its first open."""
        first_ms = start_ms - self._age_ms
        books = self._source.books(symbols, first_ms, end_ms)
        new_ms = first_ms if self._given_ms is None else max(first_ms, self._given_ms)
        for begin_ms, stop_ms in month_blocks(new_ms, end_ms):
            self._note(symbols, books.between(begin_ms, stop_ms))
        self._given_ms = end_ms
        return books

    def names(self) -> Mapping[str, str]:
        """A name for the books of each symbol that were given so far.

        Raises DataError where there was not one: nobody wants to learn that from the slippage alone.
        """
        if not self._digests:
            raise DataError(
                "fills.source is book, and no order book of these symbols and their providers is recorded in "
                "the span: bring some with import-books, or set fills.source to table"
            )
        return {
            f"{symbol} order books": hashlib.sha256("\n".join(digests).encode()).hexdigest()
            for symbol, digests in sorted(self._digests.items())
        }

    def _note(self, symbols: Sequence[Symbol], books: OrderBooks) -> None:
        for column, symbol in enumerate(symbols):
            rows = books.snapshots[books.first[column] : books.first[column + 1]]
            if not len(rows):
                continue
            digest = hashlib.sha256(np.ascontiguousarray(rows["time_ms"]).tobytes())
            for name in ("asks", "end"):
                digest.update((rows[name] - rows["bids"]).tobytes())
            digest.update(books.levels[rows["bids"][0] : rows["end"][-1]].tobytes())
            self._digests.setdefault(symbol, []).append(digest.hexdigest())


def recorded_books(source: BookSource | None, rules: FillRules) -> RecordedBooks | None:
    """What reads the recorded books of a run; None where its fills do not walk any, or nobody offers them."""
    return None if source is None or rules.source is not FillSource.BOOK else RecordedBooks(source, rules)
