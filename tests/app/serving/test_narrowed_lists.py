"""Lists of a book under a filter: its names are the book's own, and a cursor belongs to the list that gave it."""

from collections.abc import Callable

import pytest

from crypto_tracker.app.serving.account_book import AccountBook
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.desk.source import DecisionFilter, NotThere, TradeFilter

ETH, LOWER, NONE = Symbol.parse("ETH/USD"), Symbol.parse("eth/usd"), Symbol.parse("QQQ/USD")

ASKED: list[Callable[[AccountBook, TradeFilter, DecisionFilter], object]] = [
    lambda book, trades, _: book.trades(trades, limit=5, cursor=None),
    lambda book, trades, _: book.profit(trades),
    lambda book, trades, _: book.performance("symbol", trades),
    lambda book, trades, _: book.periods("day", trades, 5),
    lambda book, _, decisions: book.decisions(decisions, limit=5, cursor=None),
    lambda book, _, decisions: book.reason_counts(decisions),
]


@pytest.mark.parametrize("ask", ASKED)
def test_names_are_taken_in_any_case(
    traded_book: AccountBook, ask: Callable[[AccountBook, TradeFilter, DecisionFilter], object]
) -> None:
    def asked(symbol: Symbol, strategy: str) -> object:
        names = {"symbols": (symbol,), "strategies": (strategy,)}
        return ask(traded_book, TradeFilter(**names), DecisionFilter(**names))

    assert asked(LOWER, "dca") == asked(ETH, "DCA")


@pytest.mark.parametrize("ask", ASKED)
def test_a_name_that_the_book_has_not_is_no_empty_list(
    traded_book: AccountBook, ask: Callable[[AccountBook, TradeFilter, DecisionFilter], object]
) -> None:
    with pytest.raises(NotThere, match="trader has no symbol QQQ/USD: it has BTC/USD"):
        ask(traded_book, TradeFilter(symbols=(ETH, NONE)), DecisionFilter(symbols=(ETH, NONE)))
    with pytest.raises(NotThere, match="trader has no strategy NOPE: it has "):
        ask(traded_book, TradeFilter(strategies=("NOPE",)), DecisionFilter(strategies=("NOPE",)))


def test_a_cursor_of_trades_belongs_to_its_order_and_filter(traded_book: AccountBook) -> None:
    cursor = traded_book.trades(TradeFilter(), limit=1, cursor=None).next
    assert cursor is not None
    traded_book.trades(TradeFilter(), limit=5, cursor=cursor)
    others = (
        lambda: traded_book.trades(TradeFilter(), limit=1, cursor=cursor, order="pnl_quote"),
        lambda: traded_book.trades(TradeFilter(), limit=1, cursor=cursor, descending=False),
        lambda: traded_book.trades(TradeFilter(symbols=(ETH,)), limit=1, cursor=cursor),
        lambda: traded_book.trades(TradeFilter(outcome="win"), limit=1, cursor=cursor),
        lambda: traded_book.decisions(DecisionFilter(), limit=1, cursor=cursor),
        lambda: traded_book.audit(limit=1, cursor=cursor),
    )
    for other in others:
        with pytest.raises(UsageError, match="is no cursor of this list under this filter"):
            other()


def test_a_cursor_of_decisions_belongs_to_its_filter(traded_book: AccountBook) -> None:
    cursor = traded_book.decisions(DecisionFilter(), limit=1, cursor=None).next
    assert cursor is not None
    for where in (DecisionFilter(verdicts=("TAKE",)), DecisionFilter(reasons=("share_used",))):
        with pytest.raises(UsageError, match="is no cursor of this list under this filter"):
            traded_book.decisions(where, limit=1, cursor=cursor)


def test_a_cursor_outlives_a_span_that_moves_on(traded_book: AccountBook) -> None:
    """The last day begins later at every minute, and its list is read on all the same."""
    start_ms = traded_book.status().until_ms - 86_400_000
    first = traded_book.trades(TradeFilter(start_ms=start_ms), limit=1, cursor=None)
    rest = traded_book.trades(TradeFilter(start_ms=start_ms + 60_000), limit=500, cursor=first.next)
    assert first.total == 1 + len(rest.items) > 1


def test_commands_and_acts_have_cursors_of_their_own(traded_book: AccountBook) -> None:
    cursor = traded_book.commands(limit=1, cursor=None).next
    with pytest.raises(UsageError, match="is no cursor of this list"):
        traded_book.audit(limit=1, cursor=cursor)
