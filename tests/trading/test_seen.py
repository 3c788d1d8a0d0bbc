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
from crypto_tracker.trading.seen import (
    SeenCells,
    SeenRows,
    bars_digest,
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
