"""The book of an account says what the commands say of the same account."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from crypto_tracker.app.accounts import read_account
from crypto_tracker.app.cli import records_documents as documents
from crypto_tracker.app.commanding import audited, told
from crypto_tracker.app.decided import setups_decided
from crypto_tracker.app.screen.account import AccountObserver
from crypto_tracker.app.serving import regimes_view
from crypto_tracker.app.serving.account_book import AccountBook
from crypto_tracker.app.standing import Reading, breadth, protection, reading, status
from crypto_tracker.core.decisions import Regime
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.desk.source import DecisionFilter, NotThere, TradeFilter, TradeOrder
from crypto_tracker.desk.views.accounts import RegimeSpan
from crypto_tracker.desk.views.decisions import Decision
from crypto_tracker.desk.views.trades import Trade
from crypto_tracker.simulation.performance import performance
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.trading_views import EVERYTHING, TradingViews, Where
from crypto_tracker.strategies.registry import builtin
from tests.app.serving.accounts import NOW_MS
from tests.trading import worlds

EVERY_TRADE, EVERY_DECISION = TradeFilter(), DecisionFilter()
UNTIL_MS = worlds.START_MS + 540 * MINUTE_MS


@contextmanager
def opened(home: Path) -> Iterator[Reading]:
    with reading(read_account(home, worlds.ACCOUNT), builtin()) as read:
        yield read


def plain(document: Any) -> Any:
    """A document with times as milliseconds, under the names of the views."""
    return json.loads(json.dumps(document, default=to_ms))


def ms(value: datetime | None) -> int | None:
    return None if value is None else to_ms(value)


def all_trades(
    book: AccountBook, where: TradeFilter = EVERY_TRADE, *, limit: int = 4, **order: Any
) -> list[Trade]:
    found: list[Trade] = []
    cursor = None
    while True:
        page = book.trades(where, limit=limit, cursor=cursor, **order)
        assert page.next is None or len(page.items) == limit
        found += page.items
        cursor = page.next
        if cursor is None:
            assert page.total == len(found)
            return found


def all_decisions(
    book: AccountBook, where: DecisionFilter = EVERY_DECISION, limit: int = 17
) -> list[Decision]:
    found: list[Decision] = []
    cursor = None
    while True:
        page = book.decisions(where, limit=limit, cursor=cursor)
        found += page.items
        cursor = page.next
        if cursor is None:
            return found


# --- the account ---------------------------------------------------------------------------------


def test_amounts_are_exact_sums_of_what_was_recorded(traded_home: Path, traded_book: AccountBook) -> None:
    with opened(traded_home) as read:
        held = [each.trade for each in read.views.positions()]
        trades = [*read.views.trades(), *held]
    shown = traded_book.status()
    assert len(held) > 2
    assert shown.invested_quote == float(sum((each.invested_quote for each in held), Decimal(0)))
    assert shown.fee_quote == float(sum((each.fee_quote for each in trades), Decimal(0)))
    assert shown.slippage_quote == float(sum((each.slippage_quote for each in trades), Decimal(0)))
    worth = [round(each.value_quote * 10**8) for each in traded_book.positions().items]
    assert shown.exposure_quote == traded_book.balance().exposure_quote == sum(worth) / 10**8


def test_the_status_is_that_of_the_command(traded_home: Path, traded_book: AccountBook) -> None:
    shown = traded_book.status()
    with opened(traded_home) as read:
        document = documents.status_document(
            read, status(read, newest_bar_ms=shown.newest_bar_ms, now_ms=NOW_MS), NOW_MS
        )
    for name in (
        "capital_quote", "equity_quote", "cash_quote", "reserved_quote", "unrealised_quote", "return_net",
        "drawdown", "max_drawdown", "open_positions", "pending_orders", "regime", "regime_forced",
        "waiting_commands", "progress", "configuration_version", "kind", "account",
    ):  # fmt: skip
        assert getattr(shown, name) == pytest.approx(document[name]), name
    assert (shown.start_ms, shown.end_ms) == (ms(document["start"]), ms(document["end"]))
    assert shown.until_ms == ms(document["until"]) == UNTIL_MS
    closed = document["closed"]
    for name, value in closed.items():
        assert getattr(shown.closed, name) == pytest.approx(value), name
    assert shown.closed.trades > 5
    assert shown.entries is not None
    entries = plain(document["entries"])
    assert entries.pop("paused_since") == shown.entries.paused_since_ms
    assert shown.entries.model_dump(exclude={"paused_since_ms"}) == entries
    assert shown.process is not None
    assert shown.process.started_at_ms == ms(document["session"]["started"])


def test_the_status_counts_what_is_held_by_strategy_and_in_money(
    traded_home: Path, traded_book: AccountBook
) -> None:
    shown, held = traded_book.status(), traded_book.positions()
    assert shown.open_positions == len(held.items) == 6
    assert shown.invested_quote == pytest.approx(sum(each.trade.invested_quote for each in held.items))
    assert shown.exposure_quote == pytest.approx(held.value_quote)
    assert {each.strategy: each.open for each in shown.counters} == {
        name: sum(each.trade.strategy == name for each in held.items) for name in ("DCA", "SWING", "CHANNEL")
    }
    with opened(traded_home) as read:
        fee, slippage = read.views.fill_costs()
    assert shown.fee_quote == pytest.approx(float(fee))
    assert shown.slippage_quote == pytest.approx(float(slippage))
    assert shown.equity_quote == pytest.approx(
        shown.cash_quote + shown.reserved_quote + shown.exposure_quote, abs=0.01
    )


def test_the_parts_of_the_balance_add_up_to_the_equity(traded_book: AccountBook) -> None:
    balance = traded_book.balance()
    by_kind: Counter[str] = Counter()
    for part in balance.parts:
        by_kind[part.kind] += part.value_quote  # type: ignore[assignment]
        assert part.fraction == pytest.approx(part.value_quote / balance.equity_quote)
    money = by_kind["cash"] + by_kind["reserved"]
    assert money + by_kind["strategy"] == pytest.approx(balance.equity_quote, abs=0.01)
    assert by_kind["strategy"] == pytest.approx(by_kind["symbol"])
    assert by_kind["reserved"] == balance.reserved_quote > 0


def test_the_curve_is_that_of_the_minutes(traded_home: Path, traded_book: AccountBook) -> None:
    start_ms = worlds.START_MS + 100 * MINUTE_MS
    curve = traded_book.equity(60, start_ms, start_ms + HOUR_MS)
    with opened(traded_home) as read:
        points = read.views.equity_curve(60, start_ms=start_ms, end_ms=start_ms + HOUR_MS)
    assert curve.resolution_ms == MINUTE_MS
    assert curve.time_ms == [point.time_ms + MINUTE_MS for point in points]
    assert curve.equity_quote == pytest.approx([float(point.equity_quote) for point in points])
    whole = traded_book.equity(5, None, None)
    assert len(whole.time_ms) <= 5
    assert whole.equity_quote[-1] == pytest.approx(traded_book.status().equity_quote)
    assert whole.note is None
    assert whole.peak_before_quote == whole.capital_quote
    nothing = traded_book.equity(5, UNTIL_MS + DAY_MS, None)
    assert nothing.time_ms == []
    assert nothing.note == "no minute was stepped in this span"
    with pytest.raises(UsageError, match="points is 0"):
        traded_book.equity(0, None, None)


@pytest.mark.parametrize("minutes", [1, 59, 700, 1_500])
def test_a_part_of_the_curve_says_from_where_it_fell(traded_book: AccountBook, minutes: int) -> None:
    curve = traded_book.equity(7, UNTIL_MS - minutes * MINUTE_MS, None)
    peak = max(curve.peak_before_quote, *curve.high_quote)
    assert 1.0 - curve.equity_quote[-1] / peak == pytest.approx(traded_book.status().drawdown, abs=1e-9)


def test_the_regimes_are_those_of_the_minutes(traded_home: Path, traded_book: AccountBook) -> None:
    rows = worlds.dump(worlds.account_folder(traded_home))["minutes"]
    expected = {row["time_ms"]: row["regime"] for row in rows if row["regime"] != "normal"}
    assert expected  # the market of this account is not quiet
    shown = {
        time_ms: span.regime.lower()
        for span in traded_book.regimes(None, None).items
        for time_ms in range(span.start_ms, span.end_ms, MINUTE_MS)
    }
    assert shown == expected
    first = min(expected)
    assert traded_book.regimes(None, first).items == []
    assert traded_book.regimes(first, first + 1).items[0].start_ms == first


def test_what_reads_much_at_once_waits_for_no_connection(
    traded_book: AccountBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower, opened = traded_book._moments.follower, [0]
    views = follower.views

    @contextmanager
    def counted() -> Iterator[TradingViews]:
        opened[0] += 1
        assert opened[0] == 1, "a second connection while one is held"
        try:
            with views() as records:
                yield records
        finally:
            opened[0] -= 1

    with ExitStack() as held:  # more than a pool has that waits
        for _ in range(20):
            assert held.enter_context(views()).cursor_ms() == follower.now.cursor_ms
        monkeypatch.setattr(follower, "views", counted)
        page = traded_book.decisions(DecisionFilter(verdicts=("NEAR_MISS",)), limit=5, cursor=None)
    assert page.items


def test_of_many_regimes_the_newest_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regimes_view, "REGIMES_MAX", 2)
    spans = [RegimeSpan(start_ms=at, end_ms=at + 5, regime="PANIC") for at in range(0, 50, 10)]

    def told(start_ms: int | None, end_ms: int | None) -> tuple[list[int], str | None]:
        found = regimes_view.regimes_view(
            spans,
            lambda span: span,
            begun=lambda span: span.start_ms,
            ended=lambda span: span.end_ms,
            start_ms=start_ms,
            end_ms=end_ms,
        )
        return [span.start_ms for span in found.items], found.note

    note = "only the newest stretches are told: ask for a shorter span"
    assert told(None, None) == ([30, 40], note)
    assert told(4, 11) == ([0, 10], None)
    assert told(5, 10) == told(60, None) == told(30, 20) == ([], None)


def test_the_ratios_are_those_of_the_daily_equity(traded_home: Path, traded_book: AccountBook) -> None:
    rows = worlds.dump(worlds.account_folder(traded_home))["minutes"]
    equity = np.array([row["equity_quote"] for row in rows]) / 1e8
    closes = np.array([row["time_ms"] for row in rows]) + MINUTE_MS
    days = (closes - MINUTE_MS) // DAY_MS
    expected = performance(equity, 10_000.0, closes, worlds.START_MS, days)
    shown = traded_book.ratios()
    assert shown.days == expected.days == 2
    for name in ("sharpe", "sortino", "calmar", "volatility"):
        assert getattr(shown, name) == pytest.approx(getattr(expected, name)), name
    with BarReader.open(traded_home) as reader:
        panel = reader.panel(
            [worlds.PAIRS[0]], Timeframe.M1, worlds.START_MS, UNTIL_MS, provider=worlds.PROVIDER
        )
    close = panel.close[~np.isnan(panel.close[:, 0]), 0]
    assert shown.market_change == pytest.approx(close[-1] / close[0] - 1.0)


# --- trades --------------------------------------------------------------------------------------


def test_pages_of_trades_hold_every_trade_once_newest_first(
    traded_home: Path, traded_book: AccountBook
) -> None:
    shown = all_trades(traded_book)
    with opened(traded_home) as read:
        document = documents.trades_document(read, EVERYTHING, read.views.trades(newest_first=True))
    assert len(shown) == len(document["trades"])
    for view, row in zip(shown, document["trades"], strict=True):
        assert view.trade_group_id == row["trade_group_id"]
        assert view.exit_reason == row["exit_reason"]
        assert (view.pnl_quote, view.return_net) == pytest.approx((row["pnl_quote"], row["return_net"]))
        assert view.exit_ms == ms(row["exit_time"])
        assert view.held_ms == (view.exit_ms or 0) - view.entry_ms
        assert view.configuration_version == traded_book.status().configuration_version
    assert [each.trade_group_id for each in all_trades(traded_book, limit=500)] == [
        each.trade_group_id for each in shown
    ]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("order", get_args(TradeOrder))
def test_trades_are_paged_in_any_order(traded_book: AccountBook, order: TradeOrder, descending: bool) -> None:
    shown = all_trades(traded_book, order=order, descending=descending)
    values = [getattr(each, order) for each in shown]
    assert values == sorted(values, reverse=descending)
    assert len({each.trade_group_id for each in shown}) == traded_book.status().closed.trades


def _slow(trades: Sequence[Trade], where: TradeFilter) -> list[Trade]:
    return [
        each
        for each in trades
        if (not where.symbols or each.symbol in map(str, where.symbols))
        and (not where.strategies or each.strategy in where.strategies)
        and (not where.reasons or each.exit_reason in where.reasons)
        and (not where.tiers or each.tier in where.tiers)
        and (where.outcome is None or (each.pnl_quote > 0) == (where.outcome == "win"))
        and (where.start_ms is None or (each.exit_ms or 0) >= where.start_ms)
        and (where.end_ms is None or (each.exit_ms or 0) < where.end_ms)
    ]


@pytest.mark.parametrize(
    "where",
    [
        TradeFilter(symbols=(Symbol("ETH", "USD"), Symbol("WIF", "USD"))),
        TradeFilter(strategies=("SWING",)),
        TradeFilter(reasons=("stop_loss", "manual")),
        TradeFilter(tiers=("memecoin",)),
        TradeFilter(outcome="win"),
        TradeFilter(outcome="loss", strategies=("DCA", "CHANNEL")),
        TradeFilter(start_ms=worlds.START_MS + 200 * MINUTE_MS, end_ms=worlds.START_MS + 400 * MINUTE_MS),
    ],
    ids=lambda where: str(where).removeprefix("TradeFilter"),
)
def test_figures_follow_the_filter(traded_book: AccountBook, where: TradeFilter) -> None:
    every = all_trades(traded_book)
    expected = _slow(every, where)
    assert 0 < len(expected) < len(every)
    assert all_trades(traded_book, where, limit=2) == expected
    sums = traded_book.profit(where)
    assert sums == traded_book.trades(where, limit=1, cursor=None).sums
    assert sums.trades == len(expected)
    assert sums.pnl_quote == pytest.approx(sum(each.pnl_quote for each in expected))
    assert sums.wins == sum(each.pnl_quote > 0 for each in expected)
    for by in ("symbol", "strategy", "tier", "exit_reason"):
        groups = traded_book.performance(by, where).items
        counted = Counter(getattr(each, by) for each in expected)
        assert {group.key: group.sums.trades for group in groups} == counted
        assert [group.sums.pnl_quote for group in groups] == sorted(
            (group.sums.pnl_quote for group in groups), reverse=True
        )
    days = traded_book.periods("day", where, 10).items
    assert sum(day.sums.pnl_quote for day in days) == pytest.approx(sums.pnl_quote)
    assert [day.start_ms for day in days] == sorted((day.start_ms for day in days), reverse=True)


def test_positions_are_those_of_the_command(traded_home: Path, traded_book: AccountBook) -> None:
    shown = traded_book.positions()
    with opened(traded_home) as read:
        held = read.views.positions()
        orders = read.views.orders([each.trade.trade_group_id for each in held])
        document = documents.positions_document(read, held, orders)
    expected = {row["trade_group_id"]: row for row in document["positions"]}
    assert {each.trade.trade_group_id for each in shown.items} == set(expected)
    assert shown.unrealised_quote == pytest.approx(document["unrealised_quote"])
    entries = [each.trade.entry_ms for each in shown.items]
    assert entries == sorted(entries, reverse=True)
    for each in shown.items:
        row = expected[each.trade.trade_group_id]
        for name in (
            "open_quantity",
            "mark_price",
            "stop_price",
            "target_price",
            "trailing_armed",
            "exit_pending",
        ):
            assert getattr(each, name) == row[name], name
        assert each.due_ms == ms(row["due"])
        assert each.left_ms == 1_000 * row["seconds_left"]
        assert each.trade.held_ms == UNTIL_MS - each.trade.entry_ms
        assert each.to_stop == pytest.approx(each.stop_price / each.mark_price - 1)
        assert 0.0 <= each.progress <= 1.0
        ladder = [order.model_dump() for order in each.orders]
        assert [order["rung"] for order in ladder] == [order["rung"] for order in row["orders"]]
        for order, told_of in zip(ladder, row["orders"], strict=True):
            assert (order["placed_ms"], order["ended_ms"]) == (ms(told_of["placed"]), ms(told_of["ended"]))
            assert {**order, "placed_ms": 0, "ended_ms": 0} == {
                **{name: value for name, value in told_of.items() if name not in {"placed", "ended"}},
                "placed_ms": 0,
                "ended_ms": 0,
            }


def test_one_trade_is_shown_with_its_decision_its_buys_and_its_executions(
    traded_home: Path, traded_book: AccountBook
) -> None:
    closed, held = all_trades(traded_book)[0], traded_book.positions().items[0]
    detail = traded_book.trade(closed.trade_group_id)
    assert detail.trade == closed
    assert detail.position is None
    assert detail.decision is not None
    assert (detail.decision.verdict, detail.decision.time_ms) == ("TAKE", closed.decision_ms)
    assert detail.decision.order is not None
    assert detail.decision.order.trade == closed
    assert [order.rung for order in detail.orders] == list(range(len(detail.orders)))
    bought = sum(fill.quantity for fill in detail.fills if fill.kind != "exit")
    sold = sum(fill.quantity for fill in detail.fills if fill.kind == "exit")
    assert bought == pytest.approx(sold)
    assert bought == pytest.approx(closed.quantity)
    still_held = traded_book.trade(held.trade.trade_group_id)
    assert still_held.position == held
    assert still_held.trade == held.trade
    assert still_held.trade.exit_ms is None
    with opened(traded_home) as read:
        assert len(still_held.fills) == len(read.views.fills(held.trade.trade_group_id))
    for unknown in ("ETH/USD|DCA|1", "no trade at all"):
        with pytest.raises(NotThere, match="has no trade"):
            traded_book.trade(unknown)


# --- decisions -----------------------------------------------------------------------------------


def test_pages_of_decisions_hold_every_setup_and_near_miss_newest_first(
    traded_home: Path, traded_book: AccountBook
) -> None:
    shown = all_decisions(traded_book)
    with opened(traded_home) as read:
        found = setups_decided(read.views, EVERYTHING, limit=None)[::-1]
        document = documents.decisions_document(read, found, read.views.setup_counts())
    assert len(shown) == len(document["decisions"]) > 100
    for view, row in zip(shown, document["decisions"], strict=True):
        for name in ("symbol", "strategy", "verdict", "reason", "rank", "measured", "limit", "readiness"):
            assert getattr(view, name) == row[name], name
        assert view.time_ms == ms(row["time"])
        assert row["sentence"] is None or view.sentence == row["sentence"]
        assert view.sentence
        assert (view.order is None) == (row["order"] is None)
        if view.order is not None:
            assert view.order.status == row["order"]["status"]
    counts = {(each["verdict"], each["reason"]): each["count"] for each in document["counts"]}
    reasons = traded_book.reason_counts(EVERY_DECISION).items
    assert {(each.verdict, each.reason): each.count for each in reasons} == counts
    assert [each.count for each in reasons] == sorted((each.count for each in reasons), reverse=True)


@pytest.mark.parametrize(
    "where",
    [
        DecisionFilter(symbols=(Symbol("SOL", "USD"),)),
        DecisionFilter(strategies=("SWING",), verdicts=("TAKE", "SKIP")),
        DecisionFilter(reasons=("blocked", "paused")),
        DecisionFilter(start_ms=worlds.START_MS + 60 * MINUTE_MS, end_ms=worlds.START_MS + 120 * MINUTE_MS),
    ],
    ids=lambda where: str(where).removeprefix("DecisionFilter"),
)
def test_decisions_follow_the_filter(traded_book: AccountBook, where: DecisionFilter) -> None:
    expected = [
        each
        for each in all_decisions(traded_book)
        if (not where.symbols or each.symbol in map(str, where.symbols))
        and (not where.strategies or each.strategy in where.strategies)
        and (not where.reasons or each.reason in where.reasons)
        and (not where.verdicts or each.verdict in where.verdicts)
        and (where.start_ms is None or each.time_ms >= where.start_ms)
        and (where.end_ms is None or each.time_ms < where.end_ms)
    ]
    assert expected
    assert all_decisions(traded_book, where, limit=5) == expected
    counted = Counter((each.verdict, each.reason) for each in expected)
    assert {
        (each.verdict, each.reason): each.count for each in traded_book.reason_counts(where).items
    } == counted


def test_the_log_has_the_lines_of_the_terminal_and_the_trades_that_closed(
    traded_home: Path, traded_book: AccountBook
) -> None:
    with BarReader.open(traded_home) as reader:
        observer = AccountObserver(traded_home, worlds.ACCOUNT, strategies=builtin(), reader=reader)
        expected = observer.look(now_ms=NOW_MS).decisions
    lines = traded_book.log(500).items
    assert sorted((line.time_ms, line.words) for line in lines if line.kind != "close") == sorted(
        (facts.time_ms, facts.words) for facts in expected
    )
    closed = [line for line in lines if line.kind == "close"]
    newest = all_trades(traded_book)[0]
    assert closed[0].time_ms == newest.exit_ms, "the same minute as in the table"
    assert closed[0].symbol == newest.symbol
    assert f"{newest.pnl_quote:+,.2f}" in closed[0].words
    assert [line.time_ms for line in lines] == sorted((line.time_ms for line in lines), reverse=True)
    assert traded_book.log(3).items == lines[:3]


# --- market and people ---------------------------------------------------------------------------


def test_market_and_locks_are_those_of_the_command(traded_home: Path, traded_book: AccountBook) -> None:
    with opened(traded_home) as read, BarReader.open(traded_home) as reader:
        found = protection(read, reader=reader, now_ms=NOW_MS)
        document = plain(documents.protection_document(read, found, breadth(read, reader=reader)))
    market, expected = traded_book.market(), document["market"]
    for name in (
        "reference", "regime", "forced", "size_factor", "volatility", "returns", "condition", "favoured",
        "slow_regime",
    ):  # fmt: skip
        assert getattr(market, name) == pytest.approx(expected[name]), name
    assert {"rising": market.rising, "symbols": market.breadth_symbols} == expected["breadth"]
    met = next((each for each in market.thresholds if each.met), None)
    assert market.regime == ("NORMAL" if met is None else met.regime)
    locks = traded_book.locks()
    assert [each.model_dump() for each in locks.strategies] == [
        {
            "strategy": row["name"],
            "rests_until_ms": row["rests_until"],
            **{
                name: row[name]
                for name in ("off_by", "losing_streak", "open_positions", "used_quote", "share_quote")
            },
        }
        for row in document["strategies"]
    ]
    off_by = {each.strategy: each.off_by for each in locks.strategies}
    assert off_by["CHANNEL"] == ["person", "volatility"]
    assert {each.strategy: each.on for each in market.switches} == {"CHANNEL": False}
    assert [(each.symbol, each.stops, each.blocked, each.cooldown_until_ms) for each in locks.symbols] == [
        (row["symbol"], row["stops_in_a_row"], row["blocked"], row["cooldown_until"])
        for row in document["symbols"]
    ]
    assert locks.losing_streak_limit == document["losing_streak_limit"]


def test_commands_and_the_audit_are_paged_newest_first(traded_home: Path, traded_book: AccountBook) -> None:
    folder = worlds.account_folder(traded_home)
    given, acts = told(folder)[::-1], audited(folder)[::-1]
    assert len(given) == len(worlds.MEDDLED)
    shown, cursor = [], None
    while True:
        page = traded_book.commands(limit=4, cursor=cursor)
        shown += page.items
        cursor = page.next
        if cursor is None:
            break
    assert [(each.command_id, each.kind, each.status, each.time_ms) for each in shown] == [
        (each.command.command_id, each.command.kind, each.status, each.time_ms) for each in given
    ]
    for view, expected in zip(shown, given, strict=True):
        assert view.sentence == expected.sentence or "nobody trades" in view.sentence
    assert {each.status for each in shown} == {"applied", "refused", "waiting"}
    first = traded_book.audit(limit=3, cursor=None)
    rest = traded_book.audit(limit=500, cursor=first.next)
    assert [(each.at_ms, each.action, each.detail) for each in (*first.items, *rest.items)] == [
        (each.at_ms, each.action, dict(each.detail)) for each in acts
    ]
    assert rest.next is None
    numbers = [each.number for each in (*first.items, *rest.items)]
    assert numbers == list(range(len(acts), 0, -1))
    answers = {each.command_id: (each.status, each.sentence, each.time_ms) for each in shown}
    for act in (*first.items, *rest.items):
        came = act.result and (act.result.status, act.result.sentence, act.result.time_ms)
        assert came == answers.get(act.detail.get("command_id", ""))
    with pytest.raises(UsageError, match="is no cursor of this list"):
        traded_book.audit(limit=3, cursor="nonsense")


def test_the_configuration_shows_what_was_changed(traded_book: AccountBook) -> None:
    shown = traded_book.configuration()
    assert shown.version == traded_book.status().configuration_version
    values = {each.key: each for each in shown.values}
    assert values["protection.cooldown_stops"].model_dump() == {
        "key": "protection.cooldown_stops",
        "value": 1,
        "default": 3,
        "changed": True,
    }
    assert not values["limits.max_open"].changed
    changed = {each.key for each in shown.values if each.changed}
    named = {assignment.partition("=")[0] for assignment in (*worlds.LIVELY, *worlds.TICKS)}
    assert {key for name in named for key in changed if key.startswith(name.split("{")[0])}
    assert all(any(key.startswith(name) for name in named) for key in changed)
    assert [each.first_ms for each in shown.versions] == [worlds.START_MS]


# --- what other modules answer -------------------------------------------------------------------


def test_every_symbol_has_what_the_portfolio_has_with_it(traded_book: AccountBook) -> None:
    held = {each.trade.symbol for each in traded_book.positions().items}
    board = traded_book.readiness()
    assert [each.strategy for each in board.items] == ["DCA", "SWING", "CHANNEL"]
    for strategy in board.items:
        assert {row.symbol for row in strategy.rows} == set(map(str, worlds.PAIRS))
        assert {row.symbol for row in strategy.rows if row.state == "held"} == held
    pairs = {each.symbol: each for each in traded_book.pairs().items}
    assert {name for name, each in pairs.items() if each.held} == held
    every = all_trades(traded_book)
    for name, each in pairs.items():
        mine = [trade for trade in every if trade.symbol == name]
        assert (each.trades, each.pnl_quote) == (
            len(mine),
            pytest.approx(sum(trade.pnl_quote for trade in mine)),
        )


def test_scans_levels_and_explanations_are_of_the_recorded_scans(traded_book: AccountBook) -> None:
    symbol = Symbol("ETH", "USD")
    scans = traded_book.scans(symbol, "DCA", None, None, 50)
    assert len(scans.time_ms) == 50
    assert scans.time_ms[-1] <= UNTIL_MS
    taken = all_decisions(traded_book, DecisionFilter(symbols=(symbol,), verdicts=("TAKE",)))[0]
    explained = traded_book.explain(symbol, taken.time_ms, (taken.strategy,))
    (scan,) = explained.strategies
    assert (scan.time_ms, scan.verdict) == (taken.time_ms, "TAKE")
    assert all(gate.passed for gate in scan.gates)
    assert scan.portfolio is not None
    assert scan.portfolio.sentence == taken.sentence
    levels = traded_book.levels(symbol, worlds.START_MS, UNTIL_MS, ())
    trades = [each for each in all_trades(traded_book) if each.symbol == str(symbol)]
    results = [mark.pnl_quote for mark in levels.marks if mark.pnl_quote is not None]
    assert results == pytest.approx([trade.pnl_quote for trade in trades[::-1]])
    assert levels.position is not None
    assert levels.position.trade.symbol == str(symbol)
    candles = traded_book.candles(symbol, Timeframe.M15, 5, None)
    assert candles.time_ms[-1] + Timeframe.M15.ms == Timeframe.M15.floor(UNTIL_MS)


def test_of_many_trades_the_newest_are_marked_and_it_is_said_from_when_on(
    traded_book: AccountBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = all_trades(traded_book)
    (name, count), *_ = Counter(each.symbol for each in every).most_common(1)
    assert count > 1
    whole = traded_book.levels(Symbol.parse(name), worlds.START_MS, UNTIL_MS, ())
    assert whole.marks_from_ms is None
    for module in ("levels", "account_book"):
        monkeypatch.setattr(f"crypto_tracker.app.serving.{module}.MARKS_MAX", 1)
    few = traded_book.levels(Symbol.parse(name), worlds.START_MS, UNTIL_MS, ())
    marked = {next(each.trade_group_id for each in every if each.symbol == name)}
    marked |= set() if few.position is None else {few.position.trade.trade_group_id}
    assert few.marks == [mark for mark in whole.marks if mark.trade_group_id in marked]
    assert len(few.marks) < len(whole.marks)
    assert few.marks_from_ms == few.marks[0].time_ms


def test_slow_views_are_of_this_account(traded_book: AccountBook) -> None:
    assert {row.symbol for row in traded_book.data().items} == set(map(str, worlds.PAIRS))
    assert traded_book.scorecard().account == worlds.ACCOUNT
    outcomes = {each.strategy: each.outcomes for each in traded_book.research().progress}
    manual = TradeFilter(reasons=("manual",))
    for strategy, count in outcomes.items():
        mine = TradeFilter(strategies=(strategy,))
        by_hand = TradeFilter(strategies=(strategy,), reasons=manual.reasons)
        assert count == traded_book.profit(mine).trades - traded_book.profit(by_hand).trades


@pytest.mark.parametrize("limit", [0, 501])
def test_a_page_has_one_to_five_hundred_rows(traded_book: AccountBook, limit: int) -> None:
    calls: Mapping[str, Any] = {
        "trades": lambda: traded_book.trades(EVERY_TRADE, limit=limit, cursor=None),
        "decisions": lambda: traded_book.decisions(EVERY_DECISION, limit=limit, cursor=None),
        "periods": lambda: traded_book.periods("day", EVERY_TRADE, limit),
        "log": lambda: traded_book.log(limit),
        "commands": lambda: traded_book.commands(limit=limit, cursor=None),
        "audit": lambda: traded_book.audit(limit=limit, cursor=None),
    }
    for call in calls.values():
        with pytest.raises(UsageError, match=f"limit is {limit}: ask for 1 to 500"):
            call()


def test_the_regime_is_one_that_there_is(traded_book: AccountBook) -> None:
    assert Regime[traded_book.status().regime or ""].name == traded_book.market().regime


def test_where_narrows_as_the_command_does(traded_home: Path, traded_book: AccountBook) -> None:
    symbol = Symbol("WIF", "USD")
    with opened(traded_home) as read:
        expected = read.views.sums(Where(symbols=(symbol,)))
    sums = traded_book.profit(TradeFilter(symbols=(symbol,)))
    assert (sums.trades, sums.judged, sums.wins) == (expected.trades, expected.judged, expected.wins)
    assert sums.invested_quote == pytest.approx(float(expected.invested_quote))
