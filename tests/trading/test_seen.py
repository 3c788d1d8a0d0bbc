"""What was seen comes back bit for bit, and damage is noticed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.simulation.books import order_books
from crypto_tracker.trading.seen import (
    NO_BOOKS,
    SeenCells,
    SeenRows,
    bars_digest,
    books_digest,
    decode_books,
    decode_cells,
    decode_revisions,
    decode_rows,
    encode_cells,
    encode_revisions,
    encode_rows,
)

prices = st.floats(min_value=1e-9, max_value=1e9) | st.just(float("nan"))


@given(data=st.data(), rows=st.integers(1, 5), symbols=st.integers(1, 4))
def test_rows_come_back_bit_for_bit(data, rows, symbols):
    seen = SeenRows(
        start_ms=1_756_000_200_000,
        step_ms=300_000,
        values=data.draw(arrays(np.float64, (5, rows, symbols), elements=prices)),
        covered=data.draw(arrays(np.bool_, (rows, symbols))),
    )
    block = encode_rows(seen)
    back = decode_rows(block)
    assert (back.start_ms, back.step_ms) == (seen.start_ms, seen.step_ms)
    np.testing.assert_array_equal(back.values, seen.values)
    np.testing.assert_array_equal(back.covered, seen.covered)
    assert encode_rows(back) == block


@given(data=st.data(), count=st.integers(1, 6))
def test_cells_come_back_bit_for_bit(data, count):
    cells = SeenCells(
        open_time_ms=data.draw(arrays(np.int64, count, elements=st.integers(0, 2**41))),
        column=data.draw(arrays(np.int64, count, elements=st.integers(0, 500))),
        values=data.draw(arrays(np.float64, (5, count), elements=prices)),
        covered=data.draw(arrays(np.bool_, count)),
    )
    back = decode_cells(encode_cells(cells))
    for name in ("open_time_ms", "column", "values", "covered"):
        np.testing.assert_array_equal(getattr(back, name), getattr(cells, name))


@given(arrays(np.int32, st.integers(0, 200), elements=st.integers(-2, 40)))
def test_revisions_come_back(revisions):
    np.testing.assert_array_equal(decode_revisions(encode_revisions(revisions)), revisions)
    assert decode_books(encode_revisions(revisions)) == {}


@given(
    arrays(np.int32, st.integers(1, 200), elements=st.integers(-2, 40)),
    st.dictionaries(st.integers(0, 199), st.binary(min_size=8, max_size=8), max_size=20),
)
def test_revisions_and_the_digests_of_order_books_come_back(revisions, books):
    seen = encode_revisions(revisions, books)
    np.testing.assert_array_equal(decode_revisions(seen), revisions)
    assert decode_books(seen) == books
    assert seen == encode_revisions(revisions, dict(sorted(books.items(), reverse=True)))


def test_the_digest_of_order_books_is_of_one_symbol_and_its_time_alone():
    one = (1_000, [(99.0, 1.0)], [(101.0, 2.0)])
    two = (2_000, [(98.0, 1.0), (97.0, 1.0)], [(100.0, 2.0)])
    books = order_books([[one, two], [one]])
    assert books_digest(books, 0, 0, 2_000) == books_digest(books, 1, 0, 3_000) != NO_BOOKS
    assert books_digest(books, 0, 2_000, 2_001) == books_digest(order_books([[two]]), 0, 0, 9_999)
    assert books_digest(books, 0, 1_001, 2_000) == NO_BOOKS
    assert books_digest(books, 0, 0, 3_000) != books_digest(books, 0, 0, 2_000)
    # Sides and levels are part of it: the same numbers cut otherwise are other books.
    cut = (2_000, [(98.0, 1.0)], [(100.0, 2.0), (107.0, 1.0)])
    assert books_digest(order_books([[cut]]), 0, 0, 3_000) != books_digest(order_books([[two]]), 0, 0, 3_000)


def test_a_hundred_first_revisions_take_hardly_any_room():
    assert len(encode_revisions(np.zeros(100, dtype=np.int32))) < 30


def test_a_panel_comes_back_as_the_same_panel():
    symbols = (Symbol("BTC", "USD"), Symbol("ETH", "USD"))
    panel = Panel.empty(Timeframe.M5, symbols, 600_000, 1_500_000)
    back = decode_rows(encode_rows(SeenRows.of_panel(panel))).panel(Timeframe.M5, symbols)
    assert back.symbols == symbols
    np.testing.assert_array_equal(back.open_time_ms, [600_000, 900_000, 1_200_000])
    assert not back.covered.any()


def test_a_panel_without_rows_has_no_place():
    with pytest.raises(StoreError, match="without a single row"):
        SeenRows.of_panel(Panel.empty(Timeframe.M5, (Symbol("BTC", "USD"),), 0, 0))


@pytest.mark.parametrize("decode", [decode_rows, decode_cells, decode_revisions])
@pytest.mark.parametrize("data", [b"", b"CTR1", b"CTR1garbage", b"CTC1\x00", b"CTV1\x28\xb5"])
def test_what_is_damaged_is_refused(decode, data):
    with pytest.raises(StoreError, match="damaged"):
        decode(data)


def test_a_shortened_block_is_refused():
    rows = SeenRows(start_ms=0, step_ms=60_000, values=np.ones((5, 2, 2)), covered=np.ones((2, 2), np.bool_))
    with pytest.raises(StoreError, match="damaged"):
        decode_rows(encode_rows(rows)[:-3])


def test_the_digest_tells_values_apart_and_all_missing_values_alike():
    values = np.array([[1.0, np.nan]] * 5)
    other_nan = values.copy()
    other_nan[0, 1] = np.frombuffer(b"\x01\x00\x00\x00\x00\x00\xf8\x7f", np.float64)[0]
    assert bars_digest(values) == bars_digest(other_nan)
    changed = values.copy()
    changed[4, 0] = np.nextafter(1.0, 2.0)
    assert bars_digest(values) != bars_digest(changed)
