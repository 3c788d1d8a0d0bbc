"""Trades held as columns: every filter, sum, group, period and page equals the plain way to find it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.app.serving.cursors import written
from crypto_tracker.app.serving.trade_columns import TradeColumns, page_key
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.money import to_decimal
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.desk.source import TradeFilter, TradeOrder
from crypto_tracker.store.column_rows import TradeRows
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.trading_journal import FILE_NAME
from crypto_tracker.store.trading_views import TradingViews, Where
from tests.store.accounts import OPENING, START, trading

SYMBOLS = ("BTC/USDT", "ETH/USDT", "PEPE/USDT")
STRATEGIES = ("DCA", "SWING")
REASONS = ("take_profit", "stop_loss", "data_lost")
TIERS = {Symbol.parse("BTC/USDT"): "large_cap", Symbol.parse("ETH/USDT"): "large_cap"}
TIERS[Symbol.parse("PEPE/USDT")] = "memecoin"
ORDERS: Any = get_args(TradeOrder)


@dataclass(frozen=True)
class Row:
    symbol: str
    strategy: str
    exit_reason: str
    entry_ms: int
    exit_ms: int
    pnl_e8: int
    invested_e8: int
    fee_e8: int
    slippage_e8: int
    entry_price: float = 1.0
    exit_price: float = 1.0

    @property
    def return_net(self) -> float:
        return self.pnl_e8 / self.invested_e8


def row(
    symbol: str = "BTC/USDT",
    strategy: str = "DCA",
    exit_reason: str = "take_profit",
    *,
    entry: int = 0,
    exit_: int = 10,
    pnl: float = 1.0,
    invested: float = 100.0,
    entry_price: float = 1.0,
    exit_price: float = 1.0,
) -> Row:
    """A trade, its times in minutes after the start."""
    return Row(
        symbol=symbol,
        strategy=strategy,
        exit_reason=exit_reason,
        entry_ms=START + entry * MINUTE_MS,
        exit_ms=START + exit_ * MINUTE_MS,
        pnl_e8=round(pnl * 1e8),
        invested_e8=round(invested * 1e8),
        fee_e8=30_000_000,
        slippage_e8=1,
        entry_price=entry_price,
        exit_price=exit_price,
    )


def rows_of(rows: Sequence[Row], first: int = 0) -> TradeRows:
    def whole(name: str) -> Any:
        return np.array([getattr(each, name) for each in rows], dtype=np.int64)

    return TradeRows(
        number=np.arange(first, first + len(rows)),
        symbol=[each.symbol for each in rows],
        strategy=[each.strategy for each in rows],
        exit_reason=[each.exit_reason for each in rows],
        entry_ms=whole("entry_ms"),
        exit_ms=whole("exit_ms"),
        pnl_e8=whole("pnl_e8"),
        invested_e8=whole("invested_e8"),
        fee_e8=whole("fee_e8"),
        slippage_e8=whole("slippage_e8"),
        return_net=np.array([each.return_net for each in rows]),
        entry_price=np.array([each.entry_price for each in rows]),
        exit_price=np.array([each.exit_price for each in rows]),
    )


def columns_of(rows: Sequence[Row]) -> TradeColumns:
    return TradeColumns().extended(rows_of(rows))


# Few different values, so that ties and empty filters happen.
DAY = 1_440
ROWS = st.lists(
    st.builds(
        row,
        st.sampled_from(SYMBOLS),
        st.sampled_from(STRATEGIES),
        st.sampled_from(REASONS),
        entry=st.integers(-5, 0),
        exit_=st.sampled_from((1, 2, 5, 6, DAY, DAY + 5, 7 * DAY, 40 * DAY)),
        pnl=st.sampled_from((-2.5, -0.00000001, 0.0, 0.00000001, 3.25, 3.25, 70.5)),
        invested=st.sampled_from((50.0, 100.0, 123.45678901)),
        entry_price=st.sampled_from((0.00000001, 0.1, 118_995.5)),
        exit_price=st.sampled_from((0.00000002, 0.1, 118_995.5)),
    ),
    max_size=25,
).map(lambda rows: sorted(rows, key=lambda each: each.exit_ms))


def some(values: Sequence[Any]) -> Any:
    return st.lists(st.sampled_from(values), max_size=2, unique=True).map(tuple)


MOMENTS = st.none() | st.sampled_from(
    [START + minutes * MINUTE_MS for minutes in (0, 2, 3, 6, DAY, 50 * DAY)]
)
FILTERS = st.builds(
    TradeFilter,
    symbols=some([Symbol.parse(name) for name in (*SYMBOLS, "XRP/USDT")]),
    strategies=some((*STRATEGIES, "GRID")),
    reasons=some((*REASONS, "manual")),
    tiers=some(("large_cap", "memecoin", "mid_cap")),
    outcome=st.sampled_from((None, None, "win", "loss")),
    start_ms=MOMENTS,
    end_ms=MOMENTS,
)


def matches(each: Row, where: TradeFilter) -> bool:
    judged = each.exit_reason != "data_lost"
    return (
        (not where.symbols or Symbol.parse(each.symbol) in where.symbols)
        and (not where.strategies or each.strategy in where.strategies)
        and (not where.reasons or each.exit_reason in where.reasons)
        and (not where.tiers or TIERS[Symbol.parse(each.symbol)] in where.tiers)
        and (where.outcome != "win" or (judged and each.pnl_e8 > 0))
        and (where.outcome != "loss" or (judged and each.pnl_e8 < 0))
        and (where.start_ms is None or each.exit_ms >= where.start_ms)
        and (where.end_ms is None or each.exit_ms < where.end_ms)
    )


# ------------------------------------------------------------------------------------------- worked examples


def test_three_trades_add_up_by_hand():
    trades = columns_of(
        [
            row(pnl=3.0, exit_=10, invested=100.0),
            row(pnl=-1.0, exit_=20, invested=50.0),
            row(pnl=9.0, exit_=60, invested=50.0, exit_reason="data_lost"),
        ]
    )
    sums = trades.sums(trades.select(TradeFilter(), TIERS))
    assert (sums.trades, sums.judged, sums.wins, sums.losses, sums.win_rate) == (3, 2, 1, 1, 0.5)
    assert (sums.pnl_quote, sums.invested_quote, sums.return_on_invested) == (11.0, 200.0, 0.055)
    assert (sums.gross_profit_quote, sums.gross_loss_quote, sums.profit_factor) == (12.0, -1.0, 12.0)
    assert (sums.best_quote, sums.worst_quote) == (9.0, -1.0)
    assert sums.mean_held_ms == 30 * MINUTE_MS
    assert (sums.fee_quote, sums.slippage_quote) == (0.9, 0.00000003)


def test_nothing_adds_up_to_nothing():
    trades = TradeColumns()
    index = trades.select(TradeFilter(), {})
    sums = trades.sums(index)
    assert (sums.trades, sums.pnl_quote, sums.win_rate, sums.best_quote, sums.mean_held_ms) == (
        0,
        0,
        None,
        None,
        None,
    )
    assert trades.groups(index, "tier", {}) == []
    assert trades.periods(index, "day", "UTC", limit=9) == []
    numbers, key = trades.page(index, "exit_ms", descending=True, limit=5)
    assert (numbers.tolist(), key) == ([], None)


def test_groups_stand_by_what_they_gained():
    trades = columns_of(
        [row("BTC/USDT", pnl=1.0), row("PEPE/USDT", pnl=-5.0), row("ETH/USDT", pnl=7.0, exit_=11)]
    )
    index = trades.select(TradeFilter(), TIERS)
    found = {
        by: [(each.key, each.sums.pnl_quote) for each in trades.groups(index, by, TIERS)]
        for by in ("symbol", "tier")
    }
    assert found["symbol"] == [("ETH/USDT", 7.0), ("BTC/USDT", 1.0), ("PEPE/USDT", -5.0)]
    assert found["tier"] == [("large_cap", 8.0), ("memecoin", -5.0)]


def test_a_day_is_that_of_the_zone_and_a_week_begins_on_monday():
    # 2025-08-02 is a Saturday. 06:30 UTC of the 4th is the evening of Sunday the 3rd in Los Angeles.
    def closed(day: int, hour: int, pnl: float) -> Row:
        minutes = int(
            (
                datetime(2025, 8, day, hour, 30, tzinfo=UTC) - datetime(2025, 8, 1, 23, 55, tzinfo=UTC)
            ).total_seconds()
            // 60
        )
        return row(exit_=minutes, pnl=pnl)

    trades = columns_of([closed(2, 8, 1.0), closed(4, 6, 2.0), closed(4, 8, 4.0), closed(31, 8, 8.0)])
    index = trades.select(TradeFilter(), TIERS)

    def periods(by: Any, zone: str, limit: int = 9) -> list[tuple[str, float]]:
        return [(each.label, each.sums.pnl_quote) for each in trades.periods(index, by, zone, limit=limit)]

    assert periods("day", "UTC") == [("2025-08-31", 8.0), ("2025-08-04", 6.0), ("2025-08-02", 1.0)]
    assert periods("day", "America/Los_Angeles") == [
        ("2025-08-31", 8.0),
        ("2025-08-04", 4.0),
        ("2025-08-03", 2.0),
        ("2025-08-02", 1.0),
    ]
    assert periods("week", "UTC") == [("2025-W35", 8.0), ("2025-W32", 6.0), ("2025-W31", 1.0)]
    assert periods("week", "America/Los_Angeles", limit=2) == [("2025-W35", 8.0), ("2025-W32", 4.0)]
    assert periods("month", "UTC") == [("2025-08", 15.0)]
    first = trades.periods(index, "week", "America/Los_Angeles", limit=9)[-1]
    assert (
        first.start_ms
        == int(datetime(2025, 7, 28, tzinfo=ZoneInfo("America/Los_Angeles")).timestamp()) * 1_000
    )


def test_trades_that_close_meanwhile_do_not_shift_the_next_page():
    rows = [row(exit_=minute, pnl=float(minute % 3)) for minute in range(1, 8)]
    trades = columns_of(rows)
    index = trades.select(TradeFilter(), TIERS)
    first, key = trades.page(index, "exit_ms", descending=True, limit=3)
    assert first.tolist() == [6, 5, 4]
    later = trades.extended(rows_of([row(exit_=9)], first=7))
    second, _ = later.page(later.select(TradeFilter(), TIERS), "exit_ms", descending=True, limit=3, after=key)
    assert second.tolist() == [3, 2, 1]


def test_names_that_are_new_meanwhile_do_not_shift_the_next_page():
    trades = columns_of([row("ETH/USDT", exit_=1), row("PEPE/USDT", exit_=2), row("XRP/USDT", exit_=3)])
    index = trades.select(TradeFilter(), TIERS)
    first, key = trades.page(index, "symbol", descending=False, limit=1)
    assert (first.tolist(), key) == ([0], ("ETH/USDT", 0))
    later = trades.extended(rows_of([row("BTC/USDT", exit_=4), row("LTC/USDT", exit_=5)], first=3))
    everything = later.select(TradeFilter(), TIERS)
    second, _ = later.page(everything, "symbol", descending=False, limit=9, after=key)
    assert second.tolist() == [4, 1, 2]
    # A name that no trade has: what follows it is what it would stand before.
    other, _ = later.page(everything, "symbol", descending=True, limit=9, after=("MKR/USDT", 0))
    assert other.tolist() == [4, 0, 3]


def test_a_cursor_of_another_order_is_refused():
    with pytest.raises(UsageError, match="begin without one"):
        page_key(written(("ETH/USDT", 7)), "exit_ms")
    with pytest.raises(UsageError, match="begin without one"):
        page_key(written((START, 7)), "symbol")


def test_what_was_seen_stays_as_it_is():
    trades = columns_of([row(pnl=1.0)])
    one = trades.extended(rows_of([row("ETH/USDT", pnl=2.0, exit_=11)], first=1))
    other = trades.extended(rows_of([row("PEPE/USDT", pnl=4.0, exit_=12)], first=1))
    assert [len(each) for each in (trades, one, other)] == [1, 2, 2]
    assert one.pnl_e8.tolist() == [100_000_000, 200_000_000]
    assert other.pnl_e8.tolist() == [100_000_000, 400_000_000]
    assert one.symbols != other.symbols
    with pytest.raises(ValueError, match="read-only"):
        one.pnl_e8[0] = 5


@pytest.mark.parametrize(("first", "minute"), [(0, 11), (1, 9)])
def test_trades_that_do_not_go_on_where_the_others_end_are_refused(first, minute):
    with pytest.raises(ValueError, match="in the order in which they closed"):
        columns_of([row(exit_=10)]).extended(rows_of([row(exit_=minute)], first=first))


# ------------------------------------------------------------------------------------------------ properties


@given(ROWS, FILTERS)
def test_a_filter_means_the_trades_that_match_it(rows, where):
    found = columns_of(rows).select(where, TIERS)
    assert found.tolist() == [place for place, each in enumerate(rows) if matches(each, where)]


@given(ROWS, FILTERS, st.sampled_from(("symbol", "strategy", "tier", "exit_reason")))
def test_groups_are_the_sums_of_what_belongs_to_them(rows, where, by):
    trades = columns_of(rows)
    index = trades.select(where, TIERS)
    key = (
        (lambda each: TIERS[Symbol.parse(each.symbol)]) if by == "tier" else (lambda each: getattr(each, by))
    )
    wanted = [each for each in rows if matches(each, where)]
    found = {group.key: group.sums for group in trades.groups(index, by, TIERS)}
    assert found.keys() == {key(each) for each in wanted}
    for name, sums in found.items():
        part = [place for place, each in enumerate(rows) if matches(each, where) and key(each) == name]
        assert sums == trades.sums(np.array(part))


@given(
    ROWS,
    st.sampled_from(("day", "week", "month")),
    st.sampled_from(("UTC", "Asia/Kolkata", "America/New_York")),
)
def test_periods_are_the_sums_of_what_closed_in_them(rows, by, zone):
    trades = columns_of(rows)
    found = trades.periods(trades.select(TradeFilter(), TIERS), by, zone, limit=100)
    labels = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}[by]
    wanted: dict[str, list[int]] = {}
    for place, each in enumerate(rows):
        moment = datetime.fromtimestamp(each.exit_ms / 1_000, tz=ZoneInfo(zone))
        wanted.setdefault(moment.strftime(labels), []).append(place)
    assert [each.label for each in found] == list(wanted)[::-1]
    assert [each.sums for each in found] == [
        trades.sums(np.array(part)) for part in list(wanted.values())[::-1]
    ]


@given(ROWS, FILTERS, st.sampled_from(ORDERS), st.booleans(), st.integers(1, 9))
def test_pages_together_are_all_trades_in_order_once(rows, where, order, descending, limit):
    trades = columns_of(rows)
    index = trades.select(where, TIERS)
    values = {
        "held_ms": lambda each: each.exit_ms - each.entry_ms,
        "pnl_quote": lambda each: each.pnl_e8,
        "invested_quote": lambda each: each.invested_e8,
    }
    value = values.get(order, lambda each: getattr(each, order))
    wanted = sorted(index.tolist(), key=lambda place: (value(rows[place]), place), reverse=descending)
    found: list[int] = []
    key = None
    while True:
        numbers, last = trades.page(index, order, descending=descending, limit=limit, after=key)
        assert len(numbers) <= limit
        found += numbers.tolist()
        if last is None:
            break
        key = page_key(written(last), order)
        assert key == last
    assert found == wanted


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), ROWS)
def test_it_makes_no_difference_in_how_many_parts_trades_came_in(parts, rows):
    whole, grown, place = columns_of(rows), TradeColumns(), 0
    for part in [*parts, len(rows)]:
        grown = grown.extended(rows_of(rows[place : place + part], first=place))
        place = min(place + part, len(rows))
    index = whole.select(TradeFilter(), TIERS)
    assert grown.number.tolist() == whole.number.tolist()
    assert grown.groups(index, "symbol", TIERS) == whole.groups(index, "symbol", TIERS)
    assert grown.totals(index) == whole.totals(index)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An account with no trades yet."""
    place = tmp_path_factory.mktemp("account")
    with trading(place) as store:
        store.create(OPENING)
    return place


def kept(folder: Path, rows: Sequence[Row]) -> None:
    """Let these be the trades of the account."""
    engine = open_engine(folder / FILE_NAME)
    marks = ", ".join("?" * 20)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM trades")
        for number, each in enumerate(rows):
            connection.exec_driver_sql(
                f"INSERT INTO trades VALUES ({marks})",
                (
                    number, f"g{number}", each.symbol, each.strategy, each.entry_ms, each.entry_ms, each.exit_ms,
                    f"{each.entry_price:.8f}", f"{each.exit_price:.8f}", "1", each.invested_e8, each.fee_e8,
                    each.slippage_e8, each.pnl_e8,
                    each.return_net, each.exit_reason, 1, False, False, "v1",
                ),
            )  # fmt: skip
    engine.dispose()


@settings(max_examples=60)
@given(rows=ROWS, where=FILTERS.filter(lambda each: not each.tiers and each.outcome is None))
def test_sums_are_those_of_the_database_to_the_last_digit(folder, rows, where):
    kept(folder, rows)
    same = Where(
        symbols=where.symbols,
        strategies=where.strategies,
        reasons=where.reasons,
        start_ms=where.start_ms,
        end_ms=where.end_ms,
    )
    with TradingViews.open(folder) as views:
        trades = TradeColumns().extended(views.trades_since(None, limit=1_000))
        sums, by_symbol = views.sums(same), views.sums_by("symbol", same)
        index = trades.select(where, TIERS)
        numbers = trades.number[index].tolist()
        read = views.trades_numbered(numbers)
    totals = trades.totals(index)
    assert (totals.trades, totals.judged, totals.wins) == (sums.trades, sums.judged, sums.wins)
    exact = (totals.pnl_e8, totals.invested_e8, totals.fee_e8, totals.slippage_e8)
    assert tuple(map(to_decimal, exact)) == (
        sums.pnl_quote,
        sums.invested_quote,
        sums.fee_quote,
        sums.slippage_quote,
    )
    groups = {each.key: each.sums for each in trades.groups(index, "symbol", TIERS)}
    assert groups.keys() == by_symbol.keys()
    assert all(groups[name].pnl_quote == float(each.pnl_quote) for name, each in by_symbol.items())
    by_price, _ = trades.page(index, "entry_price", descending=False, limit=1_000)
    prices = {number: trade.entry_price for number, (trade, _) in zip(numbers, read, strict=True)}
    assert by_price.tolist() == sorted(numbers, key=lambda number: (prices[number], number))
    assert [trade.trade_group_id for trade, _ in read] == [f"g{number}" for number in numbers]
    assert sum((trade.pnl_quote for trade, _ in read), Decimal(0)) == sums.pnl_quote


def test_rows_are_read_on_from_where_one_has_come(folder):
    kept(folder, [row(exit_=minute) for minute in range(1, 6)])
    with TradingViews.open(folder) as views:
        assert views.trades_since(None, limit=2).number.tolist() == [0, 1]
        assert views.trades_since(1, limit=9).number.tolist() == [2, 3, 4]
        rows = views.trades_since(4, limit=9)
        assert (len(rows), rows.symbol, rows.number.dtype) == (0, [], np.dtype(np.int64))


def test_a_week_over_the_change_of_the_clock_is_one_week():
    zone = ZoneInfo("America/New_York")  # clocks go back on Sunday, 2025-11-02
    start = datetime(2025, 8, 1, 23, 55, tzinfo=UTC)
    moments = [datetime(2025, 11, day, 23, 30, tzinfo=zone) for day in (1, 2, 3)]
    trades = columns_of([row(exit_=(moment - start) // timedelta(minutes=1)) for moment in moments])
    found = trades.periods(trades.select(TradeFilter(), TIERS), "week", "America/New_York", limit=9)
    assert [(each.label, each.sums.trades) for each in found] == [("2025-W45", 1), ("2025-W44", 2)]
    ended, begun = found[1].end_ms, found[0].start_ms
    assert ended == begun == int(datetime(2025, 11, 3, tzinfo=zone).timestamp()) * 1_000
    assert ended - found[1].start_ms == (7 * 24 + 1) * 60 * MINUTE_MS
