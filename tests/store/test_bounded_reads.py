"""What pages ask of an account costs no more when the account is old: counted in steps of the database."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.store.control import FILE_NAME as CONTROL_FILE_NAME
from crypto_tracker.store.control import ControlViews
from crypto_tracker.store.database import CONTROL, open_engine, upgrade
from crypto_tracker.store.trading_journal import FILE_NAME
from crypto_tracker.store.trading_views import TradingViews, Where
from tests.store.accounts import OPENING, trading

MINUTE = 60_000
YOUNG, OLD = 400, 6_000
SYMBOLS = [f"C{number}/USDT" for number in range(8)]


def filled(folder: Path, count: int) -> Path:
    """An account with so many minutes, trades, setups, scans and commands."""
    with trading(folder) as store:
        store.create(OPENING)
    engine = open_engine(folder / FILE_NAME)
    with engine.begin() as connection:
        for table, row in ROWS.items():
            marks = ", ".join("?" * len(row(0)))
            rows = [row(number) for number in range(count)]
            connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({marks})", rows)
    engine.dispose()
    engine = open_engine(folder / CONTROL_FILE_NAME)
    upgrade(engine, CONTROL)
    with engine.begin() as connection:
        for table, row in TOLD.items():
            marks = ", ".join("?" * len(row(0)))
            rows = [row(number) for number in range(count)]
            connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({marks})", rows)
    engine.dispose()
    return folder


ROWS: dict[str, Callable[[int], tuple[Any, ...]]] = {
    "minutes": lambda n: (n * MINUTE, "v1", b"", b"", 10**12 + n, 1, 0, "normal", None, 0, b""),
    "trades": lambda n: (
        n, f"g{n}", SYMBOLS[n % 8], "DCA", 0, (n - 8) * MINUTE, n * MINUTE, "1", "1", "1",
        1, 1, 1, 1, 0.1, "take_profit", 1, False, False, "v1",
    ),
    "setups": lambda n: (
        n * MINUTE, SYMBOLS[n % 8], "DCA", n, "SKIP", "no_cash", 100.0, 0.5, 0, False, None, None, "v1",
    ),
    "decision_blocks": lambda n: (n * MINUTE, "DCA" if n % 2 else "SWING", b"block"),
    "fills": lambda n: (
        n, f"g{n}", SYMBOLS[n % 8], "DCA", "entry", 0, (n - 8) * MINUTE, "1", "1", 1, 1, 1, "none", False,
    ),
    "command_results": lambda n: (f"c{n}", "pause", "applied", n * MINUTE, "done", 0),
}  # fmt: skip
TOLD: dict[str, Callable[[int], tuple[Any, ...]]] = {
    "commands": lambda n: (n, f"c{n}", "pause", "{}", None, "cli:anna", n),
    "audit": lambda n: (n, n, "cli:anna", "pause", "{}"),
}


def steps_of(connection: Connection, ask: Callable[[], Any]) -> int:
    """How many steps of SQLite's machine a question takes."""
    count = 0

    def one() -> int:
        nonlocal count
        count += 1
        return 0

    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(one, 1)
    try:
        ask()
    finally:
        driver.set_progress_handler(None, 1)
    return count


def newest(count: int) -> int:
    return (count - 1) * MINUTE


ASKED: dict[str, Callable[[TradingViews, int], Any]] = {
    "what is new": lambda views, n: (
        views.trades_since(n - 3, limit=100),
        views.minutes_since(newest(n - 2), limit=100),
        views.setups_since(newest(n - 2)),
    ),
    "some trades": lambda views, n: views.trades_numbered([n - 1, 5, 17]),
    "some setups": lambda views, n: views.setups_keyed([(newest(n), SYMBOLS[(n - 1) % 8], "DCA")]),
    "the last scan of a strategy that never scanned": lambda views, _: views.newest_block("GRID", since_ms=0),
    "scans before a moment": lambda views, n: list(
        views.blocks(Where(strategies=("GRID",), end_ms=newest(n)), limit=1, newest_first=True)
    ),
    "scans of some closes": lambda views, n: views.encoded_blocks("DCA", [MINUTE, newest(n)]),
    "old fills of a symbol": lambda views, _: views.fills_of_symbol(
        Symbol.parse(SYMBOLS[3]), 20 * MINUTE, 40 * MINUTE, trades=100
    ),
    "new fills of a symbol": lambda views, n: views.fills_of_symbol(
        Symbol.parse(SYMBOLS[3]), newest(n - 20), newest(n), trades=100
    ),
    "fills of a symbol over all the time": lambda views, n: views.fills_of_symbol(
        Symbol.parse(SYMBOLS[3]), 0, newest(n), trades=5
    ),
    "answers to some commands": lambda views, n: views.answers_to([f"c{n - 1}", "c3", "unknown"]),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return {count: filled(tmp_path_factory.mktemp("account"), count) for count in (YOUNG, OLD)}


@pytest.mark.parametrize("question", ASKED)
def test_an_old_account_answers_with_as_little_work_as_a_young_one(folders, question):
    taken = {}
    for count, folder in folders.items():
        engine = open_engine(folder / FILE_NAME, read_only=True)
        with engine.connect() as connection:
            views = TradingViews(connection, folder)
            taken[count] = steps_of(
                connection, lambda views=views, count=count: ASKED[question](views, count)
            )
        engine.dispose()
    assert 0 < taken[OLD] < 1.1 * taken[YOUNG] + 100


def test_pages_of_commands_and_of_the_audit_read_a_page(folders):
    taken = {}
    for count, folder in folders.items():
        engine = open_engine(folder / CONTROL_FILE_NAME, read_only=True)
        with engine.connect() as connection:
            views = ControlViews(connection)

            def ask(views: ControlViews = views, count: int = count) -> None:
                assert len(views.commands(limit=20, before=count // 2)) == 20
                assert len(views.audit(limit=20)) == 20
                assert len(views.commands_since(count - 5)) == 4

            taken[count] = steps_of(connection, ask)
        engine.dispose()
    assert 0 < taken[OLD] < 1.1 * taken[YOUNG] + 100


def test_scans_of_several_strategies_come_in_order_of_time_without_being_sorted_first(folders):
    with TradingViews.open(folders[OLD]) as views:
        everything = views.encoded_blocks("DCA", [n * MINUTE for n in range(9)])
        assert [time_ms // MINUTE for time_ms, _ in everything] == [1, 3, 5, 7]
    engine = open_engine(folders[OLD] / FILE_NAME, read_only=True)
    with engine.connect() as connection:
        views = TradingViews(connection, folders[OLD])

        def first() -> None:
            with pytest.raises(DataError, match="decision block"):  # they are made up
                next(views.blocks(Where(strategies=("DCA", "SWING")), limit=5, newest_first=True))

        assert steps_of(connection, first) < 500
    engine.dispose()
