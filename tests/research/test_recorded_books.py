"""Recorded order books of a span: what is read for it, and the name of what was read."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.research.recorded_books import RecordedBooks, recorded_books
from crypto_tracker.simulation.books import OrderBooks, Snapshot, order_books
from tests.simulation.rules import spec_rules

BTC, ETH = Symbol("BTC", "USDT"), Symbol("ETH", "USDT")
RULES = spec_rules(source="book").fills
JANUARY, FEBRUARY, MARCH, APRIL = (to_ms(datetime(2025, month, 1, tzinfo=UTC)) for month in range(1, 5))


def shot(time_ms: int, bid: float = 99.0) -> Snapshot:
    return time_ms, [(bid, 1.0)], [(101.0, 1.0), (102.0, 3.0)]


class Drawn:
    """Books as they are drawn."""

    def __init__(self, **symbols: list[Snapshot]) -> None:
        self._symbols = symbols

    def books(self, symbols: Sequence[Symbol], start_ms: int, end_ms: int) -> OrderBooks:
        books = order_books(self._symbols.get(symbol.base, []) for symbol in symbols)
        return books.between(start_ms, end_ms)


ALL = [
    shot(FEBRUARY - 10_001),
    shot(FEBRUARY - 10_000),
    shot(FEBRUARY),
    shot(MARCH - 5),
    shot(MARCH),
    shot(APRIL),
]


def names(source: Drawn, *spans: tuple[int, int]) -> dict[str, str]:
    reading = RecordedBooks(source, RULES)
    for start_ms, end_ms in spans:
        reading.read([BTC, ETH], start_ms, end_ms)
    return dict(reading.names())


def test_books_that_are_fresh_at_the_first_open_are_read_too():
    books = RecordedBooks(Drawn(BTC=ALL), RULES).read([BTC], FEBRUARY, APRIL)
    assert books.snapshots["time_ms"].tolist() == [each[0] for each in ALL[1:-1]]


def test_read_month_after_month_books_have_the_name_that_they_have_at_once():
    source = Drawn(BTC=ALL, ETH=[shot(MARCH + 1)])
    at_once = names(source, (FEBRUARY, APRIL))
    assert list(at_once) == ["BTC/USDT order books", "ETH/USDT order books"]
    assert names(source, (FEBRUARY, MARCH), (MARCH, APRIL)) == at_once


@pytest.mark.parametrize(
    "other",
    [
        [*ALL[:2], shot(FEBRUARY, bid=98.0), *ALL[3:]],
        [*ALL[:2], shot(FEBRUARY + 1), *ALL[3:]],
        [*ALL[:3], shot(FEBRUARY + 1), *ALL[3:]],
        [*ALL[:2], (FEBRUARY, [(99.0, 1.0)], [(101.0, 1.0), (102.0, 4.0)]), *ALL[3:]],
        ALL[:3],
    ],
)
def test_another_book_has_another_name(other: list[Snapshot]):
    assert names(Drawn(BTC=other), (FEBRUARY, APRIL)) != names(Drawn(BTC=ALL), (FEBRUARY, APRIL))


def test_a_span_without_a_single_book_is_refused():
    with pytest.raises(DataError, match="bring some with import-books"):
        names(Drawn(BTC=[shot(JANUARY)]), (FEBRUARY, APRIL))


def test_who_does_not_walk_books_reads_none():
    assert recorded_books(Drawn(), spec_rules().fills) is None
    assert recorded_books(None, RULES) is None
    assert recorded_books(Drawn(), RULES) is not None
