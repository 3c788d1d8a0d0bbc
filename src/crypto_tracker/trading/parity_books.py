"""The order books that a re-run walks: those of the store, held against what each minute was given.

The journal keeps a digest of the books of a minute, not the books. Where the store has others now, the re-run
goes on with these, and the difference is noted with its symbol and its minutes.
"""

from collections.abc import Callable
from typing import Protocol

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, from_ms
from crypto_tracker.simulation.books import OrderBooks
from crypto_tracker.store.books import BookSource
from crypto_tracker.store.trading_journal import TradingJournal
from crypto_tracker.store.trading_records import Account
from crypto_tracker.trading.parity_report import Difference, Kind
from crypto_tracker.trading.seen import NO_BOOKS, books_digest, decode_books
from crypto_tracker.trading.setting import Setting


class PieceBooks(Protocol):
    """Order books over one piece of the span."""

    def read(self, active: Setting, start_ms: int, end_ms: int) -> OrderBooks | None:
        """Those that fills of the bars of [start_ms, end_ms) can walk; None where they walk none."""
        ...


class StoredNow:
    """The books as the store has them now."""

    def __init__(self, account: Account, source: BookSource) -> None:
        self._symbols = account.symbols
        self._source = source

    def read(self, active: Setting, start_ms: int, end_ms: int) -> OrderBooks | None:
        """Those that fills of the bars of [start_ms, end_ms) can walk; None where they walk none."""
        if not active.walks_books:
            return None
        return self._source.books(self._symbols, start_ms - active.book_lead_ms, end_ms)


class HeldAgainstSeen:
    """The books as the store has them now; where a minute was given others, `note` is told."""

    def __init__(
        self,
        account: Account,
        source: BookSource,
        journal: TradingJournal,
        note: Callable[[Difference], None],
    ) -> None:
        self._stored = StoredNow(account, source)
        self._symbols = account.symbols
        self._journal = journal
        self._note = note
        self._lasting: dict[int, tuple[int, int, str]] = {}  # by column: first minute, end, what is wrong

    def read(self, active: Setting, start_ms: int, end_ms: int) -> OrderBooks | None:
        """Those that fills of the bars of [start_ms, end_ms) can walk; None where they walk none."""
        books = self._stored.read(active, start_ms, end_ms)
        if books is not None:
            self._compare(books, active.book_lead_ms, start_ms, end_ms)
        return books

    def end(self) -> None:
        """Tell what lasts until the end of the span."""
        for column, held in sorted(self._lasting.items()):
            self._note(_difference(self._symbols[column], *held))
        self._lasting = {}

    def _compare(self, books: OrderBooks, lead_ms: int, start_ms: int, end_ms: int) -> None:
        """Find each stretch of minutes in which the books of a symbol are others, also across pieces."""
        minutes = self._journal.minutes(start_ms, end_ms)
        for time_ms, seen in zip(minutes.time_ms.tolist(), minutes.seen, strict=True):
            close_ms = time_ms + MINUTE_MS
            for column, then in decode_books(seen).items():
                now = books_digest(books, column, time_ms - lead_ms, close_ms)
                if then == now:
                    continue
                wrong = _wrong(then, now)
                held = self._lasting.get(column)
                if held is not None and held[1:] == (time_ms, wrong):
                    self._lasting[column] = held[0], close_ms, wrong
                    continue
                if held is not None:
                    self._note(_difference(self._symbols[column], *held))
                self._lasting[column] = time_ms, close_ms, wrong


def _wrong(then: bytes, now: bytes) -> str:
    if then == NO_BOOKS:
        return "were not there when the minute was stepped: they were added since"
    if now == NO_BOOKS:
        return "were seen, and are no longer in the store"
    return "are not those that were seen: they were changed since, or some were added"


def _difference(symbol: Symbol, first_ms: int, end_ms: int, wrong: str) -> Difference:
    lasting = end_ms > first_ms + MINUTE_MS
    when = f"at {from_ms(first_ms):%Y-%m-%d %H:%M}"
    if lasting:
        when = f"from {from_ms(first_ms):%Y-%m-%d %H:%M} to {from_ms(end_ms):%Y-%m-%d %H:%M}"
    return Difference(
        minute_ms=first_ms,
        end_ms=end_ms if lasting else None,
        kind=Kind.BOOKS,
        says=f"the order books of {symbol} {when} {wrong}",
        symbols=(symbol,),
    )
