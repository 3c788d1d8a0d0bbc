"""A cursor gives back what it was written from, and nothing else is taken for one."""

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.app.serving.cursors import list_of, read, written
from crypto_tracker.core.errors import UsageError

NUMBERS = st.integers(-(2**53), 2**53)


@given(NUMBERS, st.text(max_size=20), st.text(max_size=20))
def test_the_key_of_a_decision_comes_back(time_ms: int, symbol: str, strategy: str) -> None:
    cursor = written((time_ms, symbol, strategy))
    assert cursor.isascii()
    assert not set(cursor) & set("=/+&?# ")
    assert read(cursor, (int, str, str)) == (time_ms, symbol, strategy)


@given(st.floats(allow_nan=False, allow_infinity=False) | NUMBERS, NUMBERS)
def test_the_key_of_a_trade_comes_back_to_the_last_digit(value: float, number: int) -> None:
    found, named = read(written((value, number)), (float, int))
    assert (found, type(found), named) == (value, type(value), number)


@given(st.text(max_size=60) | st.binary(max_size=40).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_text_is_one_whole_number_or_refused(text: str) -> None:
    found: tuple[int | float | str, ...] | None = None
    with suppress(UsageError):
        found = read(text, (int,))
    assert found is None or [type(part) for part in found] == [int]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400, -(2**63)])
def test_a_number_that_no_row_has_is_refused(number: float) -> None:
    with pytest.raises(UsageError, match="begin without one"):
        read(written((number, 1)), (float, int))


@pytest.mark.parametrize("key", [(True,), (1.5,), ("7",), (7, 7), ()])
def test_a_key_of_another_list_is_refused(key: tuple[int | float | str, ...]) -> None:
    with pytest.raises(UsageError, match="begin without one"):
        read(written(key), (int,))


@pytest.mark.parametrize("text", ["", "{", "[1", "WzFd" * 30_000, "bnVsbA", "eyJhIjoxfQ"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no cursor of this list"):
        read(text, (int,))


def test_a_cursor_of_another_list_is_refused() -> None:
    newest, best = list_of("trades", "august", "exit_ms"), list_of("trades", "august", "pnl_quote")
    cursor = written((7.0, 7), newest)
    assert read(cursor, (float, int), newest) == (7.0, 7)
    for other in (best, list_of("trades", "paper", "exit_ms"), list_of("decisions", "august")):
        with pytest.raises(UsageError, match="begin without one"):
            read(cursor, (float, int), other)
    with pytest.raises(UsageError, match="begin without one"):
        read(written((7.0, 7)), (float, int), newest)
