"""The log is read back page by page to its beginning, and nothing is told twice or left out."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.app.serving.account_book import AccountBook
from crypto_tracker.app.serving.log_pages import Window, floor_of, line_order, log_page, window_of
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.desk.source import EVERY_LINE, LogFilter, NotThere
from crypto_tracker.desk.views.decisions import LogKind, LogLine

KINDS: tuple[LogKind, ...] = ("buy", "skip", "close")


def line(time_ms: int, number: int, kind: LogKind) -> LogLine:
    return LogLine(time_ms=time_ms, kind=kind, symbol=None, who="", strategy=None, words=f"line {number}")


@given(
    times=st.lists(st.integers(0, 60), max_size=60),
    most=st.integers(12, 20),
    limit=st.integers(1, 9),
    kinds=st.sets(st.sampled_from(KINDS)),
)
def test_pages_tell_every_line_once_and_in_order(
    times: list[int], most: int, limit: int, kinds: set[LogKind]
) -> None:
    """Of rows of which so many can be read at once; no moment has more of them."""
    held = [
        line(time, number, KINDS[number % 3])
        for number, time in enumerate(sorted(times))
        if times.count(time) < 12
    ]

    def look(before_ms: int) -> Window:
        rows = [each for each in held if each.time_ms < before_ms][-most:]
        return window_of(rows, [floor_of([each.time_ms for each in rows], most, before_ms)], before_ms)

    where = LogFilter(kinds=tuple(sorted(kinds)))
    found: list[LogLine] = []
    cursor: str | None = None
    for _ in range(200):
        page = log_page("august", look, where, limit=limit, cursor=cursor, until_ms=100)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next
        if cursor is None:
            break
    assert cursor is None
    assert found == sorted((each for each in held if not kinds or each.kind in kinds), key=line_order)


def whole(book: AccountBook, where: LogFilter = EVERY_LINE, limit: int = 7) -> list[LogLine]:
    found: list[LogLine] = []
    cursor: str | None = None
    for _ in range(400):
        page = book.log(limit, where, cursor)
        found += page.items
        cursor = page.next
        if cursor is None:
            return found
    raise AssertionError("the log has no end")


def times(lines: Sequence[LogLine]) -> list[int]:
    return [each.time_ms for each in lines]


def test_the_log_of_an_account_goes_back_to_its_beginning(traded_book: AccountBook) -> None:
    told = whole(traded_book)
    assert times(told) == sorted(times(told), reverse=True)
    assert len(told) > len(traded_book.log(500).items[:60])
    sold = [each for each in told if each.kind == "close"]
    assert len(sold) == traded_book.status().closed.trades
    assert len([each for each in told if each.kind == "told"]) == len(
        [each for each in traded_book.commands(limit=500, cursor=None).items if each.status != "waiting"]
    )


def test_the_log_is_narrowed_by_kind_symbol_and_span(traded_book: AccountBook) -> None:
    everything = whole(traded_book)
    sold = whole(traded_book, LogFilter(kinds=("close",)), limit=2)
    assert sold == [each for each in everything if each.kind == "close"]
    assert sold
    symbol = str(sold[0].symbol)
    of_one = whole(traded_book, LogFilter(symbols=(Symbol.parse(symbol.lower()),)))
    assert {each.symbol for each in of_one} == {symbol}
    middle = sold[len(sold) // 2].time_ms
    span = LogFilter(kinds=("close",), start_ms=middle, end_ms=middle + HOUR_MS)
    assert whole(traded_book, span) == [each for each in sold if middle <= each.time_ms < middle + HOUR_MS]


def test_a_cursor_of_the_log_belongs_to_its_filter(traded_book: AccountBook) -> None:
    cursor = traded_book.log(2).next
    assert cursor is not None
    for other in (LogFilter(kinds=("buy",)), LogFilter(symbols=(Symbol.parse("ETH/USD"),))):
        with pytest.raises(UsageError, match="is no cursor of this list"):
            traded_book.log(2, other, cursor)
    with pytest.raises(NotThere, match="has no symbol QQQ/USD"):
        traded_book.log(2, LogFilter(symbols=(Symbol.parse("QQQ/USD"),)))
