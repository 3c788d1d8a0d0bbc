"""A recorded run as a book: the same figures as its backtest, every page answered, and nothing to be told."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto_tracker.app.plugins import all_strategies
from crypto_tracker.app.serving.home_bars import HomeBars
from crypto_tracker.app.serving.run_book import NO_SCANS, RunBook
from crypto_tracker.app.serving.run_items import account_item_of_run, run_item
from crypto_tracker.app.serving.run_positions import NOT_RECORDED
from crypto_tracker.app.serving.run_scope import run_scope
from crypto_tracker.app.serving.run_standing import NO_DAYS, OF_CLOSED_TRADES
from crypto_tracker.app.serving.runs_kept import KeptRuns
from crypto_tracker.core.decisions import Verdict
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from crypto_tracker.desk.source import Book, DecisionFilter, LogFilter, NotLive, NotThere, TradeFilter
from crypto_tracker.desk.views.controls import CommandWish, ConfigurationWish
from crypto_tracker.desk.views.decisions import LogKind, LogLine
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.run_views import RunViews
from crypto_tracker.store.runs import FILE_NAME
from crypto_tracker.strategies.decisions import decode_block
from tests.app.books import Document
from tests.app.conftest import LAST_MS, LIVELY, MARCH_MS, backtest

NOW_MS = 1_760_000_000_000
ALL = TradeFilter()
EVERYTHING = DecisionFilter()
_OPENED: list[HomeBars | KeptRuns] = []


def book_of(home: Path, run_id: int = 1) -> RunBook:
    bars = HomeBars(home)
    runs = KeptRuns(bars, lambda: NOW_MS)
    _OPENED.extend([bars, runs])
    return RunBook(runs.of(run_id, all_strategies(home)), lambda: NOW_MS)


@pytest.fixture(scope="module", autouse=True)
def let_go() -> Iterator[None]:
    """Every file is closed behind these tests."""
    yield
    for opened in _OPENED:
        opened.close()


@pytest.fixture(scope="module")
def book(lively: tuple[Path, Document]) -> RunBook:
    return book_of(lively[0])


@pytest.fixture
def changed(lively: tuple[Path, Document], tmp_path: Path) -> Callable[[str], RunBook]:
    """The book of a copy of the run in whose file something was changed."""
    home = tmp_path / "home"
    shutil.copytree(lively[0], home)

    def change(*statements: str) -> RunBook:
        engine = open_engine(home / FILE_NAME)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()
        return book_of(home)

    return change


# --- the same figures as the backtest ----------------------------------------------------------


def test_the_run_is_worth_what_its_backtest_came_to(book: RunBook, lively: tuple[Path, Document]):
    told, status = lively[1], book.status()
    assert status.equity_quote == pytest.approx(told["equity_final"], abs=1e-8)
    assert status.return_net == pytest.approx(told["return_net"])
    assert status.max_drawdown == pytest.approx(told["max_drawdown"])
    assert status.closed.trades == told["n_trades"]
    assert status.open_positions == told["n_open"] == len(told["open_trades"])
    assert status.closed.profit_factor == pytest.approx(told["profit_factor"])
    assert status.realised_quote == pytest.approx(told["trades_closed"]["pnl_quote"])
    assert status.realised_fraction == pytest.approx(told["trades_closed"]["return_net"])
    assert status.fee_quote == pytest.approx(told["fees_quote"])
    assert status.slippage_quote == pytest.approx(told["slippage_quote"])


def test_amounts_are_exact_sums_of_what_was_recorded(book: RunBook, lively: tuple[Path, Document]):
    with RunViews.open(lively[0]) as views:
        trades = list(views.trades(1))
    held = [trade for trade in trades if trade.exit_reason is ExitReason.NONE]
    status = book.status()
    made = sum((trade.pnl_quote for trade in trades), Decimal(0))
    assert status.equity_quote == float(Decimal(10_000) + made)
    assert status.invested_quote == float(sum((trade.invested_quote for trade in held), Decimal(0)))
    assert status.unrealised_quote == float(sum((trade.pnl_quote for trade in held), Decimal(0)))
    assert status.fee_quote == float(sum((trade.fee_quote for trade in trades), Decimal(0)))
    assert status.slippage_quote == float(sum((trade.slippage_quote for trade in trades), Decimal(0)))
    worth = [round(each.value_quote * 10**8) for each in book.positions().items]
    assert status.exposure_quote == sum(worth) / 10**8
    assert status.cash_quote == float(Decimal(10_000) + made - Decimal(sum(worth)).scaleb(-8))


def test_the_sums_are_those_of_all_trades_added_up_one_by_one(book: RunBook, lively: tuple[Path, Document]):
    with RunViews.open(lively[0]) as views:
        closed = [trade for trade in views.trades(1) if trade.exit_reason is not ExitReason.NONE]
    sums = book.profit(ALL)
    assert (sums.trades, sums.wins) == (len(closed), sum(trade.pnl_quote > 0 for trade in closed))
    assert sums.pnl_quote == float(sum((trade.pnl_quote for trade in closed), Decimal(0)))
    assert sums.invested_quote == float(sum((trade.invested_quote for trade in closed), Decimal(0)))
    assert sums.fee_quote == float(sum((trade.fee_quote for trade in closed), Decimal(0)))


@pytest.mark.parametrize(
    ("by", "table"), [("symbol", "by_symbol"), ("strategy", "by_strategy"), ("exit_reason", "by_exit_reason")]
)
def test_groups_are_those_of_the_backtest(book: RunBook, lively: tuple[Path, Document], by: Any, table: str):
    told = {row["name"]: row for row in lively[1][table]}
    for group in book.performance(by, ALL).items:
        row = told[group.key]
        # The tables of a backtest count trades left open beside the closed ones.
        assert group.sums.trades == row["n_trades"]
        assert group.sums.wins == row["n_won"]
        assert group.sums.pnl_quote == pytest.approx(row["pnl_quote"])
        assert group.sums.invested_quote == pytest.approx(row["invested_quote"])


def test_the_figures_of_its_days_are_those_of_the_backtest(book: RunBook, lively: tuple[Path, Document]):
    told, ratios = lively[1]["marked"], book.ratios()
    assert ratios.days == told["days"]
    for name in ("sharpe", "sortino", "calmar", "volatility"):
        assert getattr(ratios, name) == pytest.approx(told[name]), name
    assert ratios.market_change == pytest.approx(lively[1]["market_changes"]["BTC/USD"], abs=1e-3)


def test_the_equity_of_each_day_is_that_of_the_backtest(book: RunBook, lively: tuple[Path, Document]):
    days = lively[1]["breakdown"]["day"]
    curve = book.equity(len(days), None, None)
    assert curve.resolution_ms == DAY_MS
    assert curve.time_ms == [MARCH_MS + (day + 1) * DAY_MS for day in range(len(days))]
    assert curve.equity_quote == pytest.approx([day["equity_final"] for day in days], abs=1e-8)
    assert curve.note is None
    for low, last, high in zip(curve.low_quote, curve.equity_quote, curve.high_quote, strict=True):
        assert low <= last <= high


def test_a_part_of_the_equity_lies_in_the_span_that_was_asked_for(book: RunBook):
    start_ms, end_ms = MARCH_MS + 3 * DAY_MS, MARCH_MS + 5 * DAY_MS
    curve = book.equity(48, start_ms, end_ms)
    assert len(curve.time_ms) == 48
    assert curve.resolution_ms == HOUR_MS
    assert start_ms < curve.time_ms[0]
    assert curve.time_ms[-1] == end_ms
    whole = book.equity(5_000, None, None)
    there = dict(zip(whole.time_ms, whole.equity_quote, strict=True))
    assert [there[time_ms] for time_ms in curve.time_ms] == curve.equity_quote
    peak = np.maximum(np.maximum.accumulate(whole.high_quote), whole.capital_quote)
    before = np.append(whole.capital_quote, peak[:-1])
    least = np.maximum((peak - whole.equity_quote) / peak, (before - whole.low_quote) / before)
    assert whole.drawdown == pytest.approx(np.maximum(least, 0.0), abs=1e-9)
    times, fallen = np.array(whole.time_ms), np.array(whole.drawdown)
    assert curve.drawdown == [
        fallen[(times > time_ms - HOUR_MS) & (times <= time_ms)].max() for time_ms in curve.time_ms
    ]
    assert max(whole.drawdown) <= whole.max_drawdown + 1e-9


def test_cash_and_positions_add_up_to_the_equity(book: RunBook):
    status, balance, positions = book.status(), book.balance(), book.positions()
    assert balance.cash_quote + balance.exposure_quote == pytest.approx(status.equity_quote)
    assert positions.value_quote == pytest.approx(status.exposure_quote)
    by_kind = {kind: [part for part in balance.parts if part.kind == kind] for kind in ("strategy", "symbol")}
    for parts in by_kind.values():
        assert sum(part.value_quote for part in parts) == pytest.approx(balance.exposure_quote)


def test_a_position_left_open_is_marked_at_the_last_close_of_the_run(book: RunBook):
    for position in book.positions().items:
        symbol = Symbol.parse(position.trade.symbol)
        last = book.candles(symbol, Timeframe.M1, 1, None)
        assert position.mark_price == pytest.approx(last.close[-1])
        assert position.trade.exit_ms is None
        assert position.stop_price is not None is not position.target_price
        assert position.stop_price < position.mark_price < position.target_price
        assert position.to_stop == position.stop_price / position.mark_price - 1.0
        assert position.exit_pending is None
        assert position.due_ms is not None
        assert position.left_ms == position.due_ms - LAST_MS
        filled = [order for order in position.orders if order.status == "filled"]
        assert sum(order.quote for order in filled) == pytest.approx(position.trade.invested_quote, rel=0.02)


NOTHING_KEPT = ("DELETE FROM orders", "DELETE FROM positions")


def test_a_run_of_an_older_version_shows_what_it_kept_and_says_what_it_did_not(
    changed: Callable[..., RunBook], book: RunBook
):
    old = changed(*NOTHING_KEPT)
    assert old.positions().note == NOT_RECORDED
    for position, known in zip(old.positions().items, book.positions().items, strict=True):
        assert position.trade == known.trade
        assert position.mark_price == pytest.approx(known.mark_price)
        assert position.open_quantity == pytest.approx(known.open_quantity)
        recorded = position.model_dump(
            include={"stop_price", "target_price", "progress", "due_ms", "left_ms", "trailing_armed"}
        )
        assert set(recorded.values()) == {None}
        assert position.mark_price == float(f"{position.mark_price:.8g}")
    ladders = old.trades(TradeFilter(strategies=("DCA",)), limit=500, cursor=None).items
    trade = next(each for each in ladders if each.entry_fills < 5)
    detail, whole = old.trade(trade.trade_group_id), book.trade(trade.trade_group_id)
    assert (detail.note, whole.note) == (NOT_RECORDED, None)
    assert (detail.fills, detail.decision) == (whole.fills, whole.decision)
    filled = {order.rung: order for order in whole.orders if order.status == "filled"}
    assert len(whole.orders) > len(detail.orders) == len(filled)
    for order in detail.orders:
        same = filled[order.rung]
        assert order.model_copy(update={"quote": same.quote}) == same
        assert order.quote == pytest.approx(same.quote, rel=0.02)


def test_orders_of_an_older_run_that_were_never_filled_end_as_their_setups_say(
    changed: Callable[..., RunBook], book: RunBook
):
    where = DecisionFilter(verdicts=("TAKE",))
    old = changed(*NOTHING_KEPT).decisions(where, limit=500, cursor=None).items
    assert old == book.decisions(where, limit=500, cursor=None).items


def test_every_order_of_a_trade_is_shown_with_its_end(book: RunBook):
    ends = set()
    for trade in book.trades(ALL, limit=500, cursor=None).items:
        detail = book.trade(trade.trade_group_id)
        assert detail.note is None
        assert [order.order_id for order in detail.orders] == [
            f"{trade.trade_group_id}/{rung}" for rung in range(len(detail.orders))
        ]
        rungs = [order.limit_price for order in detail.orders[1:] if order.limit_price is not None]
        assert len(rungs) == len(detail.orders) - 1
        assert rungs == sorted(rungs, reverse=True)
        assert len({order.quote for order in detail.orders}) == 1
        bought = {fill.rung for fill in detail.fills if fill.kind != "exit"}
        for order in detail.orders:
            assert order.placed_ms == trade.decision_ms
            assert order.status != "filled" or order.rung in bought
            assert order.ended_ms is not None
            assert trade.exit_ms is not None
            assert order.placed_ms < order.ended_ms <= trade.exit_ms + MINUTE_MS
            ends.add(order.status)
    assert ends >= {"filled", "cancelled"}


# --- trades ------------------------------------------------------------------------------------


def test_pages_hold_every_trade_once_and_in_order(book: RunBook):
    found, cursor = [], None
    while True:
        page = book.trades(ALL, limit=5, cursor=cursor, order="pnl_quote", descending=False)
        found += page.items
        cursor = page.next
        if cursor is None:
            break
    pnl = [trade.pnl_quote for trade in found]
    assert pnl == sorted(pnl)
    assert len({trade.trade_group_id for trade in found}) == len(found) == page.total


def test_sums_are_those_under_the_filter(book: RunBook):
    page = book.trades(TradeFilter(strategies=("DCA",), outcome="loss"), limit=500, cursor=None)
    assert {trade.strategy for trade in page.items} == {"DCA"}
    assert page.sums.pnl_quote == pytest.approx(sum(trade.pnl_quote for trade in page.items))
    assert page.sums.wins == 0 < page.sums.losses


def test_a_trade_comes_with_its_decision_its_buys_and_its_executions(book: RunBook):
    trade = book.trades(TradeFilter(strategies=("DCA",)), limit=1, cursor=None).items[0]
    detail = book.trade(trade.trade_group_id)
    assert detail.trade == trade
    assert detail.position is None
    assert [order.rung for order in detail.orders] == list(range(len(detail.orders)))
    bought = sum(fill.quantity for fill in detail.fills if fill.kind != "exit")
    sold = sum(fill.quantity for fill in detail.fills if fill.kind == "exit")
    assert bought == pytest.approx(sold) == pytest.approx(trade.quantity)
    assert sum(fill.fee_quote for fill in detail.fills) == pytest.approx(trade.fee_quote)
    assert detail.decision is not None
    assert detail.decision.time_ms == trade.decision_ms
    assert detail.decision.order is not None
    assert detail.decision.order.trade == trade
    assert detail.decision.sentence.startswith(
        f"an order was placed and filled; the trade ended by {(trade.exit_reason or '').replace('_', ' ')} with "
    )


def test_a_trade_that_was_left_open_says_so(book: RunBook):
    assert book.positions().note is None
    position = book.positions().items[0]
    detail = book.trade(position.trade.trade_group_id)
    assert detail.position == position
    assert detail.decision is not None
    assert detail.decision.sentence == "an order was placed and filled; the run ended before it was closed"


def test_a_trade_that_is_not_there_is_named(book: RunBook):
    with pytest.raises(NotThere, match="run 1 has no trade NOBODY"):
        book.trade("NOBODY")


def test_periods_add_up_to_the_whole(book: RunBook):
    for by in ("day", "week", "month"):
        items = book.periods(by, ALL, 100).items  # type: ignore[arg-type]
        assert sum(item.sums.trades for item in items) == book.profit(ALL).trades
        assert [item.start_ms for item in items] == sorted((item.start_ms for item in items), reverse=True)


# --- decisions ---------------------------------------------------------------------------------


def test_pages_of_decisions_hold_each_once_newest_first(book: RunBook):
    where = DecisionFilter(verdicts=("TAKE", "SKIP"))
    found, cursor = [], None
    while True:
        page = book.decisions(where, limit=100, cursor=cursor)
        found += page.items
        cursor = page.next
        if cursor is None:
            break
    keys = [(item.time_ms, item.symbol, item.strategy) for item in found]
    assert keys == sorted(keys, reverse=True)
    counted = book.reason_counts(where).items
    assert len(set(keys)) == len(keys) == sum(item.count for item in counted)


def test_near_misses_say_what_stopped_them_with_the_number_that_was_measured(book: RunBook):
    page = book.decisions(DecisionFilter(reasons=("volume_low",)), limit=20, cursor=None)
    assert page.items
    for item in page.items:
        assert item.sentence.startswith("volume is ")
        assert item.order is None


def test_the_log_tells_of_the_last_things_first(book: RunBook):
    items = book.log(60).items
    assert len(items) == 60
    assert [item.time_ms for item in items] == sorted((item.time_ms for item in items), reverse=True)
    longer = book.log(500).items
    assert longer[:40] == items[:40]
    assert {"near", "skip", "close", "buy"} == {item.kind for item in longer}
    alike = [(item.time_ms, item.kind, item.strategy, item.words) for item in longer]
    assert len(set(alike)) == len(alike)  # what was said of several coins at once is said once


def all_lines(book: RunBook, where: LogFilter, limit: int) -> list[LogLine]:
    page = book.log(limit, where)
    found = list(page.items)
    while page.next is not None:
        page = book.log(limit, where, page.next)
        assert len(page.items) <= limit
        found += page.items
    return found


@pytest.mark.parametrize("kinds", [(), ("near",), ("buy", "close"), ("skip",)])
def test_pages_of_the_log_of_any_size_together_are_one(book: RunBook, kinds: tuple[LogKind, ...]):
    where = LogFilter(kinds=kinds, start_ms=MARCH_MS + 6 * DAY_MS, end_ms=MARCH_MS + 9 * DAY_MS)
    whole = all_lines(book, where, 500)
    assert whole
    assert all_lines(book, where, 3) == all_lines(book, where, 61) == whole
    of_all = all_lines(book, replace(where, kinds=()), 500)
    assert whole == [line for line in of_all if not kinds or line.kind in kinds]


def test_the_log_of_a_run_tells_of_every_close_at_which_something_came_near(book: RunBook):
    near = book.reason_counts(DecisionFilter(verdicts=("NEAR_MISS",))).items
    lines = all_lines(book, LogFilter(kinds=("near",)), 500)
    coins = [int(line.who.split()[0]) if line.who.endswith(" coins") else 1 for line in lines]
    assert sum(coins) == sum(item.count for item in near)


def test_scans_are_what_the_blocks_of_the_run_say(book: RunBook, lively: tuple[Path, Document]):
    symbol, end_ms = Symbol("ETH", "USD"), MARCH_MS + 9 * DAY_MS
    found = book.scans(symbol, "DCA", None, end_ms, 300)
    assert found.timeframe == "5m"
    assert found.time_ms == [end_ms - (300 - place) * 5 * MINUTE_MS for place in range(300)]
    engine = open_engine(lively[0] / FILE_NAME, read_only=True)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT time_ms, block FROM decision_blocks WHERE strategy = 'DCA' AND time_ms >= ? "
            "AND time_ms < ? ORDER BY time_ms",
            (found.time_ms[0], end_ms),
        ).all()
    engine.dispose()
    for place, (time_ms, data) in enumerate(rows):
        block = decode_block(data)
        column = block.symbols.index(symbol)
        assert found.time_ms[place] == time_ms
        for name, values in block.measurements.items():
            np.testing.assert_equal(found.measurements[name][place], values[column])
    setups = {
        item.time_ms: item
        for item in book.decisions(
            DecisionFilter(symbols=(symbol,), strategies=("DCA",), end_ms=end_ms), limit=500, cursor=None
        ).items
    }
    for time_ms, said, reason in zip(found.time_ms, found.verdict, found.reason, strict=True):
        if time_ms in setups:
            assert (said, reason) == (setups[time_ms].verdict, setups[time_ms].reason)
        else:
            assert said == "SKIP"


def test_a_setup_stays_one_when_the_portfolio_refused_it(book: RunBook):
    refused = [
        item
        for item in book.decisions(DecisionFilter(verdicts=("SKIP",)), limit=500, cursor=None).items
        if item.reason == "symbol_limit"
    ]
    near = book.decisions(DecisionFilter(verdicts=("NEAR_MISS",)), limit=20, cursor=None).items
    assert refused
    assert near
    for item in (*refused[:20], *near):
        scan = book.scans(Symbol.parse(item.symbol), item.strategy, item.time_ms, item.time_ms + 1, 1)
        setup = item.verdict == "SKIP"
        assert (scan.verdict, scan.reason, scan.setup) == ([item.verdict], [item.reason], [setup])
        assert (scan.lacks == [None]) is setup


# --- explained, drawn, near --------------------------------------------------------------------


def test_what_is_explained_is_what_the_run_recorded(book: RunBook):
    random = np.random.default_rng(8)
    checked = 0
    for minute in random.integers(600, (LAST_MS - MARCH_MS) // MINUTE_MS, 12).tolist():
        for symbol in (Symbol("BTC", "USD"), Symbol("PEPE", "USD")):
            told = book.explain(symbol, MARCH_MS + minute * MINUTE_MS, ())
            assert told.note is None
            for scan in told.strategies:
                kept = book.scans(symbol, scan.strategy, scan.time_ms, scan.time_ms + 1, 1)
                assert kept.time_ms == [scan.time_ms]
                for name, value in scan.measurements.items():
                    np.testing.assert_equal(
                        None if value is None else np.float32(value),
                        None
                        if kept.measurements[name][0] is None
                        else np.float32(kept.measurements[name][0]),
                    )
                if scan.portfolio is None:
                    assert (scan.verdict, scan.reason) == (kept.verdict[0], kept.reason[0])
                else:
                    assert scan.portfolio.source == "run 1"
                    assert (scan.portfolio.verdict, scan.portfolio.reason) == (
                        kept.verdict[0],
                        kept.reason[0],
                    )
                failed = next((gate for gate in scan.gates if not gate.passed), None)
                assert (failed is None) is (scan.verdict == "TAKE")
                assert failed is None or failed.gate == scan.reason
                checked += 1
    assert checked == 12 * 2 * 3


def test_only_the_strategies_that_were_named_are_explained(book: RunBook):
    told = book.explain(Symbol("BTC", "USD"), LAST_MS, ("CHANNEL", "DCA"))
    assert [scan.strategy for scan in told.strategies] == ["DCA", "CHANNEL"]
    with pytest.raises(NotThere, match="has no strategy GRID"):
        book.explain(Symbol("BTC", "USD"), LAST_MS, ("GRID",))


def test_lines_are_drawn_from_scan_to_scan(book: RunBook):
    symbol, start_ms, end_ms = Symbol("BTC", "USD"), MARCH_MS + 8 * DAY_MS, MARCH_MS + 9 * DAY_MS
    drawn = book.levels(symbol, start_ms, end_ms, ())
    assert [each.strategy for each in drawn.strategies] == ["DCA", "SWING", "CHANNEL"]
    high, trigger = drawn.strategies[0].lines
    assert len(high.time_ms) == DAY_MS // Timeframe.M5.ms
    seen = book.scans(symbol, "DCA", start_ms, end_ms, 2_000)
    assert high.price == seen.measurements["high_4h"]
    for top, buy in zip(high.price, trigger.price, strict=True):
        assert top is not None
        assert buy == pytest.approx(top * 0.975)
    upper = next(line for line in drawn.strategies[2].lines if line.kind == "channel_upper")
    channels = book.scans(symbol, "CHANNEL", start_ms, end_ms, 2_000)
    assert upper.price == channels.measurements["upper"]


def test_where_a_scan_saw_no_channel_its_lines_break(book: RunBook):
    lines = [
        line
        for symbol in ("BTC", "ETH", "PEPE", "SOL")
        for each in book.levels(Symbol(symbol, "USD"), MARCH_MS, LAST_MS, ("CHANNEL",)).strategies
        for line in each.lines
    ]
    assert any(None in line.price for line in lines)
    assert all(any(price is not None for price in line.price) for line in lines)


def test_a_long_span_is_drawn_from_some_scans_and_always_the_last(book: RunBook):
    drawn = book.levels(Symbol("BTC", "USD"), MARCH_MS, LAST_MS + 1, ("DCA",))
    times = drawn.strategies[0].lines[0].time_ms
    assert 300 < len(times) <= 502
    assert times[-1] == LAST_MS
    # The same scans, whatever part of the span is looked at.
    later = book.levels(Symbol("BTC", "USD"), MARCH_MS + DAY_MS, LAST_MS + 1, ("DCA",))
    shared = [time_ms for time_ms in times if time_ms >= later.strategies[0].lines[0].time_ms[0]]
    assert set(shared) <= set(later.strategies[0].lines[0].time_ms)


def test_every_fill_is_marked_and_the_last_sell_has_the_result(book: RunBook):
    symbol = Symbol("ETH", "USD")
    drawn = book.levels(symbol, MARCH_MS, LAST_MS, ())
    closed = book.trades(TradeFilter(symbols=(symbol,)), limit=500, cursor=None).items
    results = {mark.trade_group_id: mark.pnl_quote for mark in drawn.marks if mark.pnl_quote is not None}
    assert results == {trade.trade_group_id: trade.pnl_quote for trade in closed}
    assert [mark.time_ms for mark in drawn.marks] == sorted(mark.time_ms for mark in drawn.marks)
    for mark in drawn.marks:
        assert (mark.side == "sell") is (mark.exit_reason is not None)
    last = max(closed, key=lambda trade: trade.exit_ms or 0)
    assert last.exit_ms is not None
    for end_ms, told in ((last.exit_ms, []), (last.exit_ms + MINUTE_MS, [last.pnl_quote])):
        marks = book.levels(symbol, last.entry_ms, end_ms, ("DCA",)).marks
        own = [mark for mark in marks if mark.trade_group_id == last.trade_group_id]
        assert own
        assert [mark.pnl_quote for mark in own if mark.pnl_quote is not None] == told


def test_readiness_is_that_of_the_last_scans(book: RunBook):
    board = book.readiness()
    assert board.until_ms == LAST_MS
    held = {position.trade.symbol for position in book.positions().items}
    for strategy in board.items:
        assert strategy.scanned_ms == LAST_MS
        assert len(strategy.rows) == 4
        assert strategy.ready + strategy.close + strategy.neutral + strategy.waiting == 4
        known = [row.readiness for row in strategy.rows if row.readiness is not None]
        assert known == sorted(known, reverse=True)
        for row in strategy.rows:
            assert row.state == ("held" if row.symbol in held else "free")
            last = book.candles(Symbol.parse(row.symbol), Timeframe.M1, 1, None)
            assert row.price == last.close[-1]


def test_pairs_have_prices_and_what_was_made_with_them(book: RunBook, lively: tuple[Path, Document]):
    told = {row["name"]: row for row in lively[1]["by_symbol"]}
    items = book.pairs().items
    assert [item.symbol for item in items] == ["BTC/USD", "ETH/USD", "PEPE/USD", "SOL/USD"]
    for item in items:
        day = book.candles(Symbol.parse(item.symbol), Timeframe.H1, 25, None)
        assert item.day[-1] == item.price == day.close[-1]
        assert item.day == pytest.approx(day.close)
        assert item.pnl_quote == pytest.approx(told[item.symbol]["pnl_quote"])


def test_nothing_after_the_end_of_the_run_is_shown(book: RunBook):
    for timeframe in Timeframe:
        bars = book.candles(Symbol("BTC", "USD"), timeframe, 5, None)
        assert bars.time_ms[-1] + timeframe.ms <= LAST_MS == bars.until_ms
    assert book.explain(Symbol("BTC", "USD"), LAST_MS + DAY_MS, ()).at_ms == LAST_MS


# --- every method, and what only an account has ------------------------------------------------


def test_every_page_is_answered(book: RunBook):
    kept: Book = book
    symbol = Symbol("BTC", "USD")
    assert kept.status().light == "off"
    assert kept.strategies().items[0].description.startswith("Buys when the close lies far below the high")
    assert [span.regime for span in kept.regimes(None, None).items].count("PANIC") >= 1
    assert kept.configuration().version == kept.status().configuration_version
    changed = {value.key for value in kept.configuration().values if value.changed}
    assert changed == {setting.removeprefix("--set").partition("=")[0] for setting in LIVELY[1::2]}
    assert {row.symbol for row in kept.data().items} == {"BTC/USD", "ETH/USD", "PEPE/USD", "SOL/USD"}
    assert kept.scorecard().account == "run:1"
    assert kept.research().missing
    assert kept.candles(symbol, Timeframe.M15, 10, MARCH_MS).time_ms[-1] < MARCH_MS
    news = kept.watch()
    told = [event.type for event in news.news(frozenset({"equity", "positions", "log", "trades"}))]  # type: ignore[attr-defined]
    assert told == ["equity", "log", "positions"]
    assert news.news(frozenset({"equity", "positions", "log", "trades"})) == []


def test_a_run_can_not_be_told_anything(book: RunBook):
    wish = CommandWish(kind="pause")
    toml = ConfigurationWish(toml="")
    for refused in (
        book.market,
        book.locks,
        lambda: book.preview(wish),
        lambda: book.tell(wish, "web:anna"),
        lambda: book.withdraw("a" * 32, "web:anna"),
        lambda: book.commands(limit=10, cursor=None),
        lambda: book.audit(limit=10, cursor=None),
        lambda: book.preview_configuration(toml),
        lambda: book.tell_configuration(toml, "web:anna", source="the API"),
    ):
        with pytest.raises(NotLive, match="run 1 is a recorded run, and "):
            refused()


def test_limits_and_cursors_that_can_not_be_are_refused(book: RunBook):
    with pytest.raises(UsageError, match="limit is 0: ask for 1 to 500"):
        book.trades(ALL, limit=0, cursor=None)
    with pytest.raises(UsageError, match="is no cursor of this list"):
        book.decisions(EVERYTHING, limit=1, cursor="nonsense")
    with pytest.raises(UsageError, match="points is 6000"):
        book.equity(6_000, None, None)
    with pytest.raises(NotThere, match="run:1 does not watch DOGE/USD"):
        book.candles(Symbol("DOGE", "USD"), Timeframe.M1, 1, None)


def test_a_run_that_is_not_there_is_named(lively: tuple[Path, Document]):
    with pytest.raises(NotThere, match="there is no run 7"):
        book_of(lively[0], 7)


def test_a_home_without_runs_has_no_run(tmp_path: Path):
    with pytest.raises(NotThere, match="there is no run 1"):
        book_of(tmp_path)


# --- older and smaller runs --------------------------------------------------------------------


def test_without_recorded_equity_the_curve_is_that_of_closed_trades(changed: Callable[..., RunBook]):
    book = changed("DELETE FROM equity")
    curve = book.equity(500, None, None)
    assert not curve.marked
    assert curve.peak_before_quote == curve.capital_quote
    assert curve.note == OF_CLOSED_TRADES
    assert curve.equity_quote[-1] == pytest.approx(10_000 + book.profit(ALL).pnl_quote)
    assert (curve.time_ms[0], curve.equity_quote[0], curve.drawdown[0]) == (MARCH_MS, 10_000.0, 0.0)
    assert curve.time_ms[-1] == book.status().end_ms
    assert (np.diff(curve.time_ms) > 0).all()
    assert 0.0 < curve.max_drawdown < 0.1
    assert book.ratios().sharpe is None
    assert book.ratios().note == NO_DAYS
    assert book.ratios().profit_factor == pytest.approx(book.profit(ALL).profit_factor)


def test_the_drawdowns_of_a_run_without_recorded_equity_are_both_of_closed_trades(
    changed: Callable[..., RunBook],
):
    book = changed("DELETE FROM equity")
    status, curve = book.status(), book.equity(5_000, None, None)
    exits = [10_000 + made for made in _made_at_each_exit(book)]
    peaks = np.maximum.accumulate([10_000.0, *exits])[1:]
    fallen = 1.0 - np.array(exits) / peaks
    assert status.max_drawdown == pytest.approx(fallen.max()) == curve.max_drawdown
    assert status.drawdown == pytest.approx(fallen[-1], abs=1e-9) == curve.drawdown[-1]


def test_a_part_of_closed_trades_begins_and_ends_with_what_it_was(changed: Callable[..., RunBook]):
    book = changed("DELETE FROM equity")
    whole = book.equity(5_000, None, None)
    first_ms, second_ms = whole.time_ms[1], whole.time_ms[2]
    between = book.equity(500, first_ms, second_ms - MINUTE_MS)
    assert between.time_ms == [first_ms, second_ms - MINUTE_MS]
    assert between.equity_quote == [whole.equity_quote[1]] * 2
    assert between.drawdown == [whole.drawdown[1]] * 2
    around = book.equity(500, first_ms - 2 * MINUTE_MS, first_ms)
    assert around.time_ms == [first_ms - 2 * MINUTE_MS, first_ms]
    assert around.equity_quote == [10_000.0, whole.equity_quote[1]]
    assert len(book.equity(1, None, None).time_ms) == 1
    assert len(book.equity(7, None, None).time_ms) <= 7
    assert book.equity(500, LAST_MS + DAY_MS, None).time_ms == []


def test_a_run_without_equity_and_without_closed_trades_says_that_there_are_none(
    changed: Callable[..., RunBook],
):
    book = changed("DELETE FROM equity", "DELETE FROM fills", "DELETE FROM trades")
    curve = book.equity(500, None, None)
    assert (curve.time_ms, curve.note) == ([], "no trade was closed")
    assert book.status().drawdown == 0.0


def _made_at_each_exit(book: RunBook) -> list[float]:
    trades = sorted(book.trades(ALL, limit=500, cursor=None).items, key=lambda each: each.exit_ms or 0)
    made = dict[int, float]()
    total = 0.0
    for each in trades:
        total += each.pnl_quote
        made[each.exit_ms or 0] = total
    return list(made.values())


def test_lists_of_runs_say_the_same_of_a_run_without_recorded_equity_as_its_own_pages(
    changed: Callable[..., RunBook],
):
    book = changed("DELETE FROM equity", "UPDATE totals SET equity_quote = NULL")
    summary, status = book._kept.records.summary, book.status()
    assert summary.equity_quote is None
    for item in (run_item(summary), account_item_of_run(summary)):
        assert item.return_net == pytest.approx(status.return_net)
    assert account_item_of_run(summary).equity_quote == pytest.approx(status.equity_quote)


def test_a_run_has_the_quote_of_its_symbols_whatever_its_configuration_says(
    lively: tuple[Path, Document], book: RunBook
):
    scope, run = book._kept.scope, book._kept.records.run
    pairs = replace(run, symbols=tuple(Symbol(each.base, "EUR") for each in run.symbols))
    found = run_scope(scope.bars, 1, pairs, all_strategies(lively[0]), lambda: NOW_MS)
    assert scope.quote == "USD"
    assert found.quote == account_item_of_run(replace(book._kept.records.summary, run=pairs)).quote == "EUR"


def test_a_run_without_its_scans_says_so_and_explains_all_the_same(changed: Callable[..., RunBook]):
    book = changed("DELETE FROM decision_blocks")
    symbol = Symbol("BTC", "USD")
    assert book.scans(symbol, "DCA", None, None, 10).note == NO_SCANS
    board = book.readiness()
    assert board.note == NO_SCANS
    assert all(item.scanned_ms is None and not item.rows for item in board.items)
    assert all(
        not line.price
        for each in book.levels(symbol, MARCH_MS, LAST_MS, ()).strategies
        for line in each.lines
    )
    assert len(book.explain(symbol, LAST_MS, ()).strategies) == 3
    near = book.decisions(DecisionFilter(reasons=("volume_low",)), limit=1, cursor=None).items[0]
    assert near.sentence == "lacks volume"


def test_without_bars_the_records_are_shown_and_the_rest_says_why(
    lively: tuple[Path, Document], tmp_path: Path
):
    home = tmp_path / "bare"
    home.mkdir()
    shutil.copy(lively[0] / FILE_NAME, home / FILE_NAME)
    book = book_of(home)
    assert book.profit(ALL).trades == lively[1]["n_trades"]
    assert book.status().equity_quote == pytest.approx(lively[1]["equity_final"], abs=1e-8)
    assert book.status().regime is None
    assert all(item.price is None for item in book.pairs().items)
    told = book.explain(Symbol("BTC", "USD"), LAST_MS, ())
    assert told.strategies == []
    assert told.note is not None
    assert "there are no bars" in told.note


def test_a_run_on_hours_scans_hours(market_home: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(market_home, home)
    backtest(home, "--timerange", "20250305-20250310", "--timeframe", "1h", "--record-scans")
    book = book_of(home)
    found = book.scans(Symbol("ADA", "USD"), "DCA", None, None, 5)
    assert found.timeframe == "1h"
    assert np.diff(found.time_ms).tolist() == [HOUR_MS] * 4
    told = book.explain(Symbol("ADA", "USD"), MARCH_MS + 6 * DAY_MS, ("DCA",))
    assert told.strategies[0].timeframe == "1h"
    assert told.strategies[0].verdict == Verdict(
        book.scans(Symbol("ADA", "USD"), "DCA", MARCH_MS + 6 * DAY_MS, MARCH_MS + 6 * DAY_MS + 1, 1).verdict[
            0
        ]
    )
    assert book.pairs().items[0].price is not None
    assert len(book.equity(5_000, None, None).time_ms) == 5 * 24
