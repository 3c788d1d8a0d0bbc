"""Recorded order books as arrays: what they must be, and what is cut from them."""

from dataclasses import replace

import numpy as np
import pytest

from crypto_tracker.core.errors import SimulationError
from crypto_tracker.simulation.books import SNAPSHOT_DTYPE, OrderBooks, Snapshot, no_books, order_books
from crypto_tracker.simulation.parameters import FillSource
from tests.simulation.generator import generate

EARLY: Snapshot = (1_000, [(99.0, 2.0), (98.0, 5.0)], [(101.0, 1.0)])
LATE: Snapshot = (2_000, [(100.0, 1.0)], [(101.0, 3.0), (102.0, 4.0)])


def drawn(books: OrderBooks) -> list[list[Snapshot]]:
    """The books of each symbol again as they are drawn."""
    levels = books.levels.tolist()
    shots = [(t, levels[b:a], levels[a:e]) for t, b, a, e in books.snapshots.tolist()]
    return [shots[books.first[column] : books.first[column + 1]] for column in range(len(books.first) - 1)]


def test_books_of_several_symbols_stand_one_after_the_other() -> None:
    symbols = [[EARLY, LATE], [], [EARLY]]
    assert drawn(order_books(symbols)) == symbols


def test_a_span_of_books_holds_the_snapshots_of_its_moments_and_not_that_of_its_end() -> None:
    books = order_books([[EARLY, LATE], [], [EARLY]])
    assert drawn(books.between(1_000, 2_000)) == [[EARLY], [], [EARLY]]
    assert drawn(books.between(1_001, 2_001)) == [[LATE], [], []]


def test_books_of_which_nothing_was_recorded_are_books_too() -> None:
    assert drawn(no_books(3)) == [[], [], []]
    assert drawn(no_books(3).between(0, 1)) == [[], [], []]


@pytest.mark.parametrize(
    ("snapshots", "complaint"),
    [
        ([LATE, EARLY], "must follow each other in time"),
        ([EARLY, EARLY], "must follow each other in time"),
        ([(1, [], [(101.0, 1.0)])], "must have bids and asks"),
        ([(1, [(99.0, 1.0)], [])], "must have bids and asks"),
        ([(1, [(99.0, 1.0)], [(99.0, 1.0)])], "the best bid of a recorded book must be below"),
        ([(1, [(99.0, 0.0)], [(101.0, 1.0)])], "every size of a recorded book"),
        ([(1, [(99.0, np.nan)], [(101.0, 1.0)])], "every size of a recorded book"),
        ([(1, [(0.0, 1.0)], [(101.0, 1.0)])], "every price of a recorded book"),
        ([(1, [(99.0, 1.0)], [(np.inf, 1.0)])], "every price of a recorded book"),
        ([(1, [(98.0, 1.0), (99.0, 1.0)], [(101.0, 1.0)])], "from the best to the worst"),
        ([(1, [(99.0, 1.0), (99.0, 1.0)], [(101.0, 1.0)])], "from the best to the worst"),
        ([(1, [(99.0, 1.0)], [(102.0, 1.0), (101.0, 1.0)])], "from the best to the worst"),
        ([EARLY, (3_000, [(99.0, 1.0)], [(102.0, 1.0), (101.0, 1.0)])], "from the best to the worst"),
    ],
)
def test_a_book_with_which_nobody_could_have_traded_is_refused(
    snapshots: list[Snapshot], complaint: str
) -> None:
    with pytest.raises(SimulationError, match=complaint):
        order_books([[EARLY], snapshots])


def test_rows_that_are_not_those_of_the_snapshots_are_refused() -> None:
    books = order_books([[EARLY, LATE]])
    for first in ([0, 1], [1, 2], [0, 3, 2], []):
        with pytest.raises(SimulationError, match="must ascend from 0"):
            replace(books, first=np.array(first, dtype=np.int64))
    with pytest.raises(SimulationError, match="SNAPSHOT_DTYPE"):
        replace(books, snapshots=np.zeros(2))
    torn = books.snapshots.copy()
    torn["bids"][1] += 1
    with pytest.raises(SimulationError, match="one snapshot after the other"):
        replace(books, snapshots=torn)
    assert torn.dtype == SNAPSHOT_DTYPE


def test_a_market_whose_fills_walk_books_needs_books_of_its_symbols() -> None:
    scenario = next(market for market in map(generate, range(100)) if market.books is not None)
    assert scenario.rules.fills.source is FillSource.BOOK
    with pytest.raises(SimulationError, match=r"set fills\.source to table"):
        replace(scenario, books=None)
    with pytest.raises(SimulationError, match="in the order of its panel's columns"):
        replace(scenario, books=no_books(len(scenario.panel.symbols) + 1))
