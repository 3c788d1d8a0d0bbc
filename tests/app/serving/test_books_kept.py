"""What is kept of books between requests: never longer than it is true, and no more of it than there is room."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from crypto_tracker.app.plugins import all_strategies
from crypto_tracker.app.serving import runs_kept
from crypto_tracker.app.serving.book_memory import BookMemory
from crypto_tracker.app.serving.desk import HomeDesk
from crypto_tracker.app.serving.home_bars import HomeBars
from crypto_tracker.app.serving.pairs import prices
from crypto_tracker.app.serving.runs_kept import KeptRuns
from crypto_tracker.core.errors import DataError, StoreError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.desk.source import Book, DecisionFilter, NotThere, TradeFilter
from crypto_tracker.desk.views.charts import PairItem
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.reader import DATABASE_NAME
from crypto_tracker.store.runs import FILE_NAME, RunStore, TradeRecords
from tests.app.books import Document
from tests.app.serving.accounts import NOW_MS, book_of, load, new_desk
from tests.trading import worlds

BTC = Symbol("BTC", "USD")


@pytest.fixture
def own_home(lively: tuple[Path, Document], tmp_path: Path) -> Path:
    """A home of one's own with the bars and the run."""
    return Path(shutil.copytree(lively[0], tmp_path / "own"))


@pytest.fixture
def desk_of(tmp_path: Path) -> Iterator[Callable[..., HomeDesk]]:
    """Makes desks, each with a clock that is read from a list."""
    opened: list[HomeDesk] = []

    def make(home: Path, clock: list[int]) -> HomeDesk:
        made = HomeDesk(home, lambda: (load()[0], all_strategies(home)), lambda: clock[0], NOW_MS, "test")
        opened.append(made)
        return made

    del tmp_path
    yield make
    for each in opened:
        each.close()


def priced(book: Book) -> list[PairItem]:
    """Every symbol; what is known of its data is looked up aside, and comes when it is there."""
    return [item.model_copy(update={"score": None}) for item in book.pairs().items]


def open_below(folder: Path, name: str) -> list[Path]:
    """The files below a folder that this process holds open, of those whose name begins so."""
    held = [each.resolve() for each in Path("/proc/self/fd").iterdir()]
    return [each for each in held if each.is_relative_to(folder) and each.name.startswith(name)]


# --- bars ----------------------------------------------------------------------------------------


def test_bars_that_are_brought_back_are_seen_by_the_books_that_lacked_them(
    own_home: Path, desk_of: Callable[..., HomeDesk], tmp_path: Path
) -> None:
    away, desk = tmp_path / "away", desk_of(own_home, [NOW_MS])
    away.mkdir()
    for path in own_home.glob("market.db*"):
        shutil.move(path, away / path.name)
    book = desk.book("run:1")
    with pytest.raises(DataError, match="import-data"):
        book.candles(BTC, Timeframe.H1, 5, None)
    assert all(item.price is None and item.provider is None for item in book.pairs().items)
    assert book.status().reference is None
    assert book.regimes(None, None).items == []
    for path in away.iterdir():
        shutil.move(path, own_home / path.name)
    book = desk.book("run:1")
    assert len(book.candles(BTC, Timeframe.H1, 5, None).time_ms) == 5
    assert all(item.price is not None and item.provider == "synthetic" for item in book.pairs().items)
    assert book.status().reference == "BTC/USD"
    fresh = desk_of(own_home, [NOW_MS]).book("run:1")
    assert book.regimes(None, None) == fresh.regimes(None, None)
    assert priced(book) == priced(fresh)


def test_bars_that_are_brought_back_are_seen_by_the_book_of_an_account_that_stands_still(
    home: Path, desk_of: Callable[..., HomeDesk], tmp_path: Path
) -> None:
    away, clock = tmp_path / "away", [NOW_MS]
    away.mkdir()
    for path in home.glob("market.db*"):
        shutil.move(path, away / path.name)
    book = desk_of(home, clock).book(worlds.ACCOUNT)
    assert book.status().reference_return_24h is None
    assert book.ratios().market_change is None
    assert all(item.price is None for item in book.pairs().items)
    for path in away.iterdir():
        shutil.move(path, home / path.name)
    clock[0] += 1_000
    fresh = desk_of(home, clock).book(worlds.ACCOUNT)
    assert book.status().reference_return_24h == fresh.status().reference_return_24h is not None
    assert book.ratios() == fresh.ratios()
    assert book.ratios().market_change is not None
    assert priced(book) == priced(fresh)


def test_bars_that_come_into_a_store_that_lacked_them_are_seen_some_seconds_later(
    own_home: Path, desk_of: Callable[..., HomeDesk]
) -> None:
    clock = [NOW_MS]
    desk = desk_of(own_home, clock)
    database = own_home / DATABASE_NAME

    def rename(to: str) -> None:
        engine = open_engine(database)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE symbols SET symbol = '{to}' WHERE symbol LIKE 'BTC/%'")
        engine.dispose()

    rename("BTC/XYZ")
    book = desk.book("run:1")
    with pytest.raises(DataError, match="there are no bars of BTC/USD"):
        book.candles(BTC, Timeframe.H1, 5, None)
    rename("BTC/USD")
    clock[0] += 10_000
    assert len(desk.book("run:1").candles(BTC, Timeframe.H1, 5, None).time_ms) == 5


def test_what_was_made_of_all_its_bars_is_not_made_again_whenever_somebody_writes(own_home: Path) -> None:
    clock, bars = [NOW_MS], HomeBars(own_home)
    runs = KeptRuns(bars, lambda: clock[0])
    run = runs.of(1, all_strategies(own_home))
    scope = run.scope
    told = prices(scope)
    engine = open_engine(own_home / DATABASE_NAME)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE another (number INTEGER)")
    engine.dispose()
    clock[0] += 3_600_000
    assert run.scope is scope
    assert prices(scope) is told
    runs.close()
    bars.close()


def test_prices_are_those_of_the_provider_of_the_book(own_home: Path) -> None:
    bars = HomeBars(own_home)
    runs = KeptRuns(bars, lambda: NOW_MS)
    scope = runs.of(1, all_strategies(own_home)).scope
    assert prices(scope)[BTC].price > 0
    others = dict.fromkeys(scope.symbols, "kraken")
    anew = replace(scope, providers=others, history="", memory=BookMemory())
    assert all(price.price != price.price for price in prices(anew).values())  # NaN
    runs.close()
    bars.close()


def test_an_account_begun_anew_on_other_bars_shows_no_price_of_those_before(
    home: Path, desk_of: Callable[..., HomeDesk]
) -> None:
    desk = desk_of(home, [NOW_MS])
    assert any(item.price is not None for item in desk.book(worlds.ACCOUNT).pairs().items)
    until_ms = desk.book(worlds.ACCOUNT).pairs().until_ms
    engine = open_engine(worlds.account_folder(home) / "trading.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE account SET providers = replace(providers, 'synthetic', 'kraken')")
    engine.dispose()
    shown = desk.book(worlds.ACCOUNT).pairs()
    assert shown.until_ms == until_ms
    assert {item.provider for item in shown.items} == {"kraken"}
    assert all(item.price is None for item in shown.items)


# --- runs ----------------------------------------------------------------------------------------


def test_runs_that_were_recorded_anew_are_those_that_are_shown(
    own_home: Path, desk_of: Callable[..., HomeDesk], lively: tuple[Path, Document], tmp_path: Path
) -> None:
    desk = desk_of(own_home, [NOW_MS])
    assert desk.book("run:1").profit(TradeFilter()).trades > 0
    listed = desk.runs(limit=1, cursor=None).items[0]
    anew = tmp_path / "anew.db"
    shutil.copyfile(lively[0] / FILE_NAME, anew)
    engine = open_engine(anew)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM trades")
        connection.exec_driver_sql("UPDATE runs SET code_version = 'another', kind = 'demo'")
    engine.dispose()
    for path in own_home.glob(f"{FILE_NAME}*"):
        path.unlink()
    shutil.move(anew, own_home / FILE_NAME)
    assert desk.book("run:1").profit(TradeFilter()).trades == 0
    assert (listed.kind, desk.runs(limit=1, cursor=None).items[0].kind) == ("backtest", "demo")


def test_a_run_that_was_forgotten_is_not_there_and_its_number_may_be_given_again(
    own_home: Path, desk_of: Callable[..., HomeDesk]
) -> None:
    desk = desk_of(own_home, [NOW_MS])
    assert desk.book("run:1").profit(TradeFilter()).trades > 0
    run = runs_kept.KeptRuns(HomeBars(own_home), lambda: NOW_MS).of(1, all_strategies(own_home)).records.run
    store = RunStore.open(own_home)
    try:
        store.forget(1)
        with pytest.raises(NotThere, match="there is no run 1"):
            desk.book("run:1")
        number = store.record(run, state="finished", recorded_at_ms=NOW_MS, setups=(), traded=TradeRecords())
    finally:
        store.close()
    assert desk.book(f"run:{number}").profit(TradeFilter()).trades == 0


def test_of_runs_no_more_rows_are_kept_than_there_is_room_for(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore.open(own_home)
    bars = HomeBars(own_home)
    runs, installed = KeptRuns(bars, lambda: NOW_MS), all_strategies(own_home)
    large = runs.of(1, installed)
    try:
        numbers = [
            store.record(
                large.records.run, state="finished", recorded_at_ms=NOW_MS, setups=(), traded=TradeRecords()
            )
            for _ in range(3)
        ]
    finally:
        store.close()
    assert large.rows > 1_000
    small = [runs.of(number, installed) for number in numbers]
    assert runs.of(1, installed) is large
    monkeypatch.setattr(runs_kept, "ROWS_KEPT", large.rows - 1)
    again = runs.of(numbers[0], installed)
    assert again is small[0]  # it was there; nothing had to be kept anew
    fourth = RunStore.open(own_home)
    number = fourth.record(
        large.records.run, state="finished", recorded_at_ms=NOW_MS, setups=(), traded=TradeRecords()
    )
    fourth.close()
    runs.of(number, installed)
    assert runs.of(numbers[0], installed) is small[0]
    assert runs.of(1, installed) is not large
    assert runs.of(1, installed).rows == large.rows  # one alone may be larger than the room
    runs.close()
    bars.close()
    with pytest.raises(StoreError, match="were let go of"):
        runs.of(1, installed)


# --- accounts ------------------------------------------------------------------------------------


def test_an_account_that_was_gone_for_a_moment_has_one_book_still(home: Path) -> None:
    desk = new_desk(home)
    book, folder = book_of(desk), worlds.account_folder(home)
    watch, topics = book.watch(), frozenset({"trades", "positions"})
    watch.news(topics)
    away = folder.with_name("away of another name")
    folder.rename(away)
    with pytest.raises(NotThere, match="there is no account"):
        desk.book(worlds.ACCOUNT)
    assert watch.news(topics) == ()
    assert open_below(home, "trading.db") == []
    away.rename(folder)
    assert book_of(desk) is book
    assert watch.news(topics)[0].model_dump()["type"] == "resync"
    assert book.status().account == worlds.ACCOUNT
    desk.close()
    with pytest.raises(StoreError, match="was let go of"):
        watch.news(topics)
    with pytest.raises(StoreError, match="was let go of"):
        book.decisions(DecisionFilter(), limit=1, cursor=None)
    assert open_below(home, "trading.db") == []
    assert open_below(home, DATABASE_NAME) == []


def test_of_an_account_that_is_gone_nothing_is_kept(home: Path) -> None:
    desk = new_desk(home)
    book = book_of(desk)
    assert book.profit(TradeFilter()).trades > 0
    shutil.rmtree(worlds.account_folder(home))
    with pytest.raises(NotThere):
        desk.book(worlds.ACCOUNT)
    worlds.trade(home, end_ms=worlds.START_MS + 5 * MINUTE_MS)
    assert book_of(desk) is book
    assert book.profit(TradeFilter()).trades == 0
    desk.close()
