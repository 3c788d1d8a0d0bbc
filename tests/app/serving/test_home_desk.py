"""The desk of a home: which books there are, which one is meant, and what it does with those it cannot read."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import select

from crypto_tracker.app.accounts import accounts
from crypto_tracker.app.cli.records_documents import account_document
from crypto_tracker.app.serving.account_book import AccountBook
from crypto_tracker.app.serving.desk import HomeDesk
from crypto_tracker.app.serving.run_book import RunBook
from crypto_tracker.config.versions import canonical, version
from crypto_tracker.core.errors import StoreError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe, to_ms
from crypto_tracker.desk.source import DecisionFilter, NotThere, TradeFilter
from crypto_tracker.store import trading_tables as tables
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.runs import Run, RunStore, TradeRecords
from crypto_tracker.store.trading import is_traded
from crypto_tracker.store.trading_views import TradingViews
from tests.app.serving.accounts import NOW_MS, book_of, load, new_desk, trade_on
from tests.trading import worlds


@pytest.fixture
def desk(home: Path) -> Iterator[HomeDesk]:
    found = new_desk(home)
    yield found
    found.close()


def record_run(home: Path) -> int:
    """A run of nothing, over an hour."""
    configuration = worlds.configuration()
    store = RunStore.open(home)
    try:
        return store.record(
            Run(
                kind="backtest",
                synthetic=True,
                base="1m",
                start_ms=worlds.START_MS,
                end_ms=worlds.START_MS + 60 * MINUTE_MS,
                symbols=worlds.PAIRS,
                strategies=("DCA",),
                configuration_version=version(configuration),
                configuration=canonical(configuration),
                code_version="test",
            ),
            state="finished",
            recorded_at_ms=NOW_MS,
            setups=(),
            traded=TradeRecords(),
        )
    finally:
        store.close()


def test_the_list_has_what_the_command_lists(home: Path, desk: HomeDesk) -> None:
    worlds.trade(home, name="short", end_ms=worlds.START_MS + 5 * MINUTE_MS)
    expected = {}
    for place in accounts(home):
        with TradingViews.open(place.folder) as records:
            expected[place.name] = account_document(place, records)
    items = {item.account: item for item in desk.accounts().items}
    assert set(items) == set(expected) == {"trader", "short"}
    for name, row in expected.items():
        item = items[name]
        for key in ("kind", "running", "strategies", "trades", "open_positions"):
            assert getattr(item, key) == row[key], key
        assert item.equity_quote == pytest.approx(row["equity_quote"])
        assert (item.start_ms, item.end_ms) == (to_ms(row["start"]), to_ms(row["end"]))
        assert (item.until_ms, len(item.symbols)) == (to_ms(row["until"]), row["symbols"])
        assert item.recorded_at_ms == to_ms(row["last_started"])
        assert item.synthetic


def test_an_account_that_is_opened_later_is_noticed(home: Path) -> None:
    clock = [NOW_MS]
    desk = HomeDesk(home, load, lambda: clock[0], NOW_MS, "test")
    assert [item.account for item in desk.accounts().items] == ["trader"]
    worlds.trade(home, name="later", end_ms=worlds.START_MS + 5 * MINUTE_MS)
    assert [item.account for item in desk.accounts().items] == ["trader"]  # it was made just now
    clock[0] += 1_000
    assert {item.account for item in desk.accounts().items} == {"trader", "later"}
    desk.close()


def test_the_account_that_runs_is_meant_where_none_is_named(home: Path, desk: HomeDesk) -> None:
    worlds.trade(home, name="later", end_ms=worlds.START_MS + 5 * MINUTE_MS)
    status = desk.book(None).status()
    # Both were started at one time of this clock: the names decide.
    assert status.account == "later"
    seen = []

    def look(record: object) -> bool:
        del record
        assert is_traded(worlds.account_folder(home))
        beside = new_desk(home)
        seen.append((beside.book(None).status().account, beside.accounts().items[0].running))
        beside.close()
        return True

    worlds.trade(home, enough=look)
    assert seen == [("trader", True)]


def test_recorded_runs_stand_behind_the_accounts(home: Path, desk: HomeDesk) -> None:
    assert desk.runs(limit=10, cursor=None).items == []
    numbers = [record_run(home) for _ in range(3)]
    items = desk.accounts().items
    assert [item.account for item in items] == ["trader", "run:3", "run:2", "run:1"]
    assert (items[1].kind, items[1].capital_quote, items[1].trades) == ("backtest", 10_000.0, 0)
    assert items[1].equity_quote == 10_000.0
    first = desk.runs(limit=2, cursor=None)
    assert [each.run_id for each in first.items] == numbers[:0:-1]
    rest = desk.runs(limit=2, cursor=first.next)
    assert ([each.run_id for each in rest.items], rest.next) == ([numbers[0]], None)
    assert isinstance(desk.book("run:2"), RunBook)
    with pytest.raises(NotThere, match="there is no run 9: there is trader, run:3"):
        desk.book("run:9")
    with pytest.raises(UsageError, match="limit is 0"):
        desk.runs(limit=0, cursor=None)
    with pytest.raises(UsageError, match="is no cursor"):
        desk.runs(limit=1, cursor="x")


def test_what_cannot_be_read_is_left_out_and_named(home: Path, desk: HomeDesk) -> None:
    for name in ("damaged", "opening", "stranger"):
        (home / "accounts" / name).mkdir()
    good = worlds.account_folder(home) / "trading.db"
    (home / "accounts" / "damaged" / "trading.db").write_bytes(b"no database at all" * 400)
    (home / "accounts" / "opening" / "trading.db").write_bytes(b"")
    stranger = home / "accounts" / "stranger" / "trading.db"
    shutil.copyfile(good, stranger)
    engine = open_engine(stranger)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE account RENAME COLUMN providers TO other")
    engine.dispose()
    assert [item.account for item in desk.accounts().items] == ["trader"]
    assert desk.book(None).status().account == "trader"
    for name in ("damaged", "opening", "stranger"):
        with pytest.raises(StoreError):
            desk.book(name).status()
    named = {part.name: part.sentence for part in desk.health().parts if part.state == "failing"}
    assert "cannot be read" in named["trader damaged"]
    assert "was not opened to its end" in named["trader opening"]
    assert "other tables or columns" in named["trader stranger"]


def test_an_account_that_is_gone_is_not_there(home: Path, desk: HomeDesk) -> None:
    assert desk.book("trader") is desk.book("trader")
    shutil.rmtree(worlds.account_folder(home))
    with pytest.raises(NotThere, match="there is no account trader"):
        desk.book("trader")
    with pytest.raises(UsageError, match="is no name of an account"):
        desk.book("../trader")


def test_an_account_that_is_gone_is_neither_named_nor_meant_while_the_list_is_old(
    home: Path, desk: HomeDesk
) -> None:
    """The clock of this desk stands still, so that its list is never made anew."""
    run = record_run(home)
    listed = [item.account for item in desk.accounts().items]
    assert listed == ["trader", f"run:{run}"]
    assert isinstance(desk.book(None), AccountBook)
    shutil.rmtree(worlds.account_folder(home))
    assert [item.account for item in desk.accounts().items] == [f"run:{run}"]
    assert isinstance(desk.book(None), RunBook)
    with pytest.raises(NotThere, match=f"there is no account trader: there is run:{run}$"):
        desk.book("trader")


def test_an_account_begun_anew_in_place_shows_nothing_of_the_one_before(home: Path, desk: HomeDesk) -> None:
    before = desk.book("trader").data().until_ms
    folder = worlds.account_folder(home)
    shutil.rmtree(folder)
    worlds.trade(home, end_ms=worlds.START_MS + 5 * MINUTE_MS)
    engine = open_engine(folder / "trading.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE account SET created_at_ms = created_at_ms + 1")
    engine.dispose()
    after = desk.book("trader").data().until_ms
    assert after == worlds.START_MS + 5 * MINUTE_MS != before


def test_an_empty_home_says_what_would_fill_it(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    assert desk.accounts().items == []
    with pytest.raises(NotThere, match="start with `crypto-tracker trade`"):
        desk.book(None)
    with pytest.raises(NotThere, match="nothing has been traded or recorded yet"):
        desk.book("paper")
    desk.prepare().join(timeout=600)
    desk.close()


def test_reading_ahead_changes_nothing(home: Path, desk: HomeDesk) -> None:
    thread = desk.prepare()
    thread.join(timeout=600)
    assert not thread.is_alive()
    assert book_of(desk).status().account == "trader"
    del home


def test_many_threads_ask_while_the_account_is_traded(home: Path, desk: HomeDesk) -> None:
    """Whoever asks sees one state at a time, and never an earlier one than before."""
    book, done = book_of(desk), Event()
    symbol = Symbol("ETH", "USD")
    asks: Mapping[str, Callable[[AccountBook], Any]] = {
        "status": lambda each: each.status(),
        "positions": lambda each: each.positions(),
        "trades": lambda each: each.trades(TradeFilter(), limit=20, cursor=None),
        "decisions": lambda each: each.decisions(DecisionFilter(), limit=20, cursor=None),
        "log": lambda each: each.log(20),
        "market": lambda each: each.market(),
        "locks": lambda each: each.locks(),
        "readiness": lambda each: each.readiness(),
        "pairs": lambda each: each.pairs(),
        "candles": lambda each: each.candles(symbol, Timeframe.M15, 50, None),
        "watch": lambda each: each.watch().news(frozenset({"positions", "equity", "trades", "log"})),
    }

    def ask_on(offset: int) -> int:
        rounds, until_ms, trades = 0, 0, 0
        names = list(asks)
        while not done.is_set() or rounds == 0:
            for place in range(len(names)):
                asks[names[(place + offset) % len(names)]](book)
            status = book.status()
            assert status.until_ms >= until_ms
            assert status.closed.trades >= trades
            assert status.equity_quote == pytest.approx(
                status.cash_quote + status.reserved_quote + status.exposure_quote, abs=0.01
            )
            until_ms, trades, rounds = status.until_ms, status.closed.trades, rounds + 1
        return until_ms

    with ThreadPoolExecutor(max_workers=4) as pool:
        asking = [pool.submit(ask_on, 3 * worker) for worker in range(4)]
        try:
            trade_on(home, 570)
        finally:
            done.set()
        assert all(worker.result() > worlds.START_MS for worker in asking)
    assert book.status().until_ms == worlds.START_MS + 570 * MINUTE_MS
    engine = open_engine(worlds.account_folder(home) / "trading.db", read_only=True)
    with engine.connect() as connection:
        cursor_ms = connection.execute(select(tables.trader.c.cursor_ms)).scalar_one()
    engine.dispose()
    assert cursor_ms == book.status().until_ms
