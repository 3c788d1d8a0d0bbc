"""Every database is made, brought up to date and taken back by its own chain of migrations."""

import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import IntegrityError, OperationalError

from crypto_tracker.core.errors import StoreError
from crypto_tracker.store import (
    access_tables,
    control_tables,
    run_tables,
    tables,
    trading_tables,
    trial_tables,
)
from crypto_tracker.store.database import (
    ACCESS,
    CONTROL,
    MARKET,
    RESEARCH,
    RUNS,
    TRADING,
    current_revision,
    downgrade,
    open_engine,
    plain_integers,
    plain_numbers,
    sqlite_module,
    upgrade,
    writer_lock,
)
from crypto_tracker.store.quarantine import quarantined
from tests.store.shelf import BTC, Timeframe, closes, drawn, store

CHAINS = [
    pytest.param(MARKET, tables.metadata, id="market"),
    pytest.param(RUNS, run_tables.metadata, id="runs"),
    pytest.param(TRADING, trading_tables.metadata, id="trading"),
    pytest.param(CONTROL, control_tables.metadata, id="control"),
    pytest.param(RESEARCH, trial_tables.metadata, id="research"),
    pytest.param(ACCESS, access_tables.metadata, id="access"),
]


@pytest.fixture
def engine(tmp_path: Path):
    opened = open_engine(tmp_path / "market.db")
    yield opened
    opened.dispose()


def statements(engine) -> dict[str, list[str]]:
    """The lines that define every table and index, and how each ends (WITHOUT ROWID)."""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%'"
        ).fetchall()
    return {
        name: sorted(" ".join(line.split()).rstrip(",") for line in sql.splitlines() if line.strip())
        for name, sql in rows
    }


@pytest.mark.parametrize(("chain", "metadata"), CHAINS)
def test_the_migrations_make_exactly_the_tables_that_the_code_uses(engine, tmp_path, chain, metadata):
    upgrade(engine, chain)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    direct = create_engine(f"sqlite:///{tmp_path / 'direct.db'}")
    metadata.create_all(direct)
    # Alembic compares no CHECK constraints, so the statements are compared line by line.
    assert statements(engine) == statements(direct)
    direct.dispose()


@pytest.mark.parametrize(
    "chain", [MARKET, RUNS, TRADING, CONTROL, RESEARCH, ACCESS], ids=lambda chain: chain.name
)
def test_the_chain_knows_its_own_newest_revision(chain):
    config = Config()
    config.set_main_option("script_location", str(chain.directory))
    config.set_main_option("path_separator", "newline")
    assert ScriptDirectory.from_config(config).get_current_head() == chain.head


@pytest.mark.parametrize(("chain", "metadata"), CHAINS)
def test_up_down_and_up_again(engine, chain, metadata):
    upgrade(engine, chain)
    assert current_revision(engine) == chain.head
    assert set(metadata.tables) <= set(inspect(engine).get_table_names())
    downgrade(engine, chain)
    assert set(inspect(engine).get_table_names()) == {"alembic_version"}
    assert current_revision(engine) is None
    upgrade(engine, chain)
    upgrade(engine, chain)
    assert current_revision(engine) == chain.head


def test_an_account_of_the_first_version_keeps_its_orders_and_setups(engine):
    upgrade(engine, TRADING, "0001")
    setup = "INSERT INTO setups VALUES (?, 'BTC/USD', 'DCA', ?, 'SKIP', ?, 100, 0.5, 0, 0, 0.9, 0.7, 'v1')"
    order = (
        "INSERT INTO orders VALUES (?, 'group', 'BTC/USD', 'DCA', 'market', 0, 5, NULL, ?, 60000, ?, ?, 'v1')"
    )
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO configurations VALUES ('v1', '{}', '{}', 0)")
        connection.exec_driver_sql(setup, (60_000, 0, "no_cash"))
        connection.exec_driver_sql(order, ("group/0", "open", None, None))
        connection.exec_driver_sql(order, ("group/1", "expired", 120_000, "expired"))
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.exec_driver_sql(setup, (120_000, 1, "correlation"))
    kept = _orders_and_setups(engine)
    upgrade(engine, TRADING)
    assert _orders_and_setups(engine) == kept
    with engine.begin() as connection:
        connection.exec_driver_sql(setup, (120_000, 1, "correlation"))
    downgrade(engine, TRADING, "0001")
    assert _orders_and_setups(engine) == kept


def test_what_was_withheld_is_lost_where_the_tables_have_no_word_for_it(engine):
    upgrade(engine, TRADING, "0002")
    setup = (
        "INSERT INTO setups VALUES (?, 'BTC/USD', 'DCA', ?, 'SKIP', ?, 100, 0.5, NULL, 0, NULL, NULL, 'v1')"
    )
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO configurations VALUES ('v1', '{}', '{}', 0)")
        connection.exec_driver_sql(setup, (60_000, 0, "data_stale"))
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.exec_driver_sql(setup, (120_000, 1, "not_in_universe"))
    kept = _orders_and_setups(engine)
    upgrade(engine, TRADING)
    with engine.begin() as connection:
        connection.exec_driver_sql(setup, (120_000, 1, "not_in_universe"))
        connection.exec_driver_sql(setup, (180_000, 2, "data_doubtful"))
    downgrade(engine, TRADING, "0002")
    assert _orders_and_setups(engine) == kept


def test_runs_of_the_third_version_keep_their_setups(engine):
    upgrade(engine, RUNS, "0003")
    setup = "INSERT INTO setups VALUES (1, ?, 'BTC/USD', 'DCA', 'SKIP', ?, 100, 0.5, NULL, 0, NULL, NULL)"
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO runs VALUES "
            "(1, 'backtest', 'finished', 0, '1m', 0, 60000, '[]', '[]', 'v1', '{}', '1', 0)"
        )
        connection.exec_driver_sql(setup, (60_000, "data_stale"))
    upgrade(engine, RUNS)
    with engine.begin() as connection:
        connection.exec_driver_sql(setup, (120_000, "not_in_universe"))
    downgrade(engine, RUNS, "0003")
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT time_ms, reason FROM setups").fetchall()
    assert [tuple(row) for row in rows] == [(60_000, "data_stale")]


def _orders_and_setups(engine) -> list[list[tuple]]:
    with engine.connect() as connection:
        return [
            [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name} ORDER BY 1")]
            for name in ("orders", "setups")
        ]


def test_a_failed_migration_leaves_nothing_behind(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE quarantine (mine TEXT)"
        )  # stands in the way of the fifth table
    with pytest.raises(OperationalError, match="already exists"):
        upgrade(engine, MARKET)
    assert inspect(engine).get_table_names() == ["quarantine"]


def test_threads_that_migrate_at_once_take_turns(tmp_path):
    def made(number: int) -> str | None:
        chain, _ = CHAINS[number % len(CHAINS)].values
        opened = open_engine(tmp_path / f"{number}.db")
        try:
            upgrade(opened, chain)
            return current_revision(opened)
        finally:
            opened.dispose()

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(made, range(12)))
    assert found == [CHAINS[number % len(CHAINS)].values[0].head for number in range(12)]


def test_a_database_of_a_newer_version_is_refused(engine, tmp_path):
    upgrade(engine, MARKET)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer crypto-tracker"), store(tmp_path):
        pass


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO symbols (provider, symbol, status) VALUES ('file', 'A/B', 'asleep')",
        "INSERT INTO symbols (provider, symbol, status) VALUES ('file', 'A/B', 'inactive')",  # without a reason
        "INSERT INTO symbols (provider, symbol, status) VALUES ('file', 'BTC/USDT', 'active')",  # twice
        "INSERT INTO coverage VALUES (1, '1m', 60000, 60000)",
        "INSERT INTO coverage VALUES (1, '3m', 0, 60000)",
        "INSERT INTO coverage VALUES (99, '1m', 0, 60000)",  # no such symbol
        "INSERT INTO bars VALUES (1, '1m', 0, -1, 1, 1, 1, 1, 1, NULL, NULL)",
        "INSERT INTO bars VALUES (1, '1m', 0, 0, NULL, 1, 1, 1, 1, NULL, NULL)",
        "INSERT INTO suspects VALUES (1, '1m', 0, 0, 'confirmed', NULL)",
        "INSERT INTO suspects VALUES (1, '1m', 0, 0, 'believed', 0)",
        "DELETE FROM symbols",  # while it has bars
    ],
)
def test_the_database_itself_refuses_what_cannot_be(tmp_path, statement):
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, drawn("12:00 100"))
    engine = open_engine(tmp_path / "market.db")
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_a_reader_cannot_write(tmp_path):
    with store(tmp_path):
        pass
    engine = open_engine(tmp_path / "market.db", read_only=True)
    with pytest.raises(OperationalError, match="readonly"), engine.connect() as connection:
        connection.exec_driver_sql("DELETE FROM symbols")
    engine.dispose()


def test_one_at_a_time_writes(tmp_path):
    with store(tmp_path, wait_ms=50) as one, store(tmp_path) as other:
        with (
            writer_lock(tmp_path / "market.lock", what="bars", wait_ms=50),
            pytest.raises(StoreError, match="another process is writing the bars"),
        ):
            one.write("file", BTC, Timeframe.M1, drawn("12:00 100"))
        one.write("file", BTC, Timeframe.M1, drawn("12:00 100"))  # free again
        other.write("file", BTC, Timeframe.M1, drawn("12:01 101"))
        assert closes(one, "12:00", "12:02") == [100, 101]


def test_a_lock_is_held_only_within_its_block(tmp_path):
    for _ in range(2):
        with writer_lock(tmp_path / "lock", what="a thing", wait_ms=50):
            pass


def test_the_interpreters_own_sqlite_serves_where_no_other_is_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pysqlite3.dbapi2", None)
    assert sqlite_module() is sqlite3
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, drawn("12:00 100"))
        assert closes(opened, "12:00", "12:01") == [100]


@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_is_no_database_is_named_and_left_as_it_is(tmp_path, read_only):
    path = tmp_path / "market.db"
    path.write_text("this was overwritten by something else")
    engine = open_engine(path, read_only=read_only)
    with pytest.raises(
        StoreError, match=r"market\.db cannot be read \(file is not a database\): put a sound"
    ):
        current_revision(engine)
    engine.dispose()
    assert path.read_text() == "this was overwritten by something else"


def test_a_database_with_other_columns_than_its_revision_has_is_named(tmp_path):
    with store(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / "market.db")
    connection.execute("ALTER TABLE quarantine DROP COLUMN judged")
    connection.commit()
    connection.close()
    said = r"market\.db has other tables or columns .* no column named judged\): it is of a version between"
    with store(tmp_path) as opened, pytest.raises(StoreError, match=said):
        opened.write("file", BTC, Timeframe.M1, drawn("12:00 1 2 3 4 5"))
    with pytest.raises(StoreError, match=r"no such column: quarantine\.judged"):
        quarantined(tmp_path)


def test_a_damaged_database_is_named_when_the_damage_is_met(tmp_path):
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, drawn("12:00 100"))
    path = tmp_path / "market.db"
    whole = path.read_bytes()
    # The first page, with the schema, is sound.
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    engine = open_engine(path, read_only=True)
    with pytest.raises(StoreError, match="cannot be read"), engine.connect() as connection:
        connection.exec_driver_sql("SELECT * FROM symbols").all()
    engine.dispose()


def test_damage_inside_a_row_is_told_as_damage(tmp_path):
    """SQLite gives the error class of a busy file for a text that is none, and takes any value in any column."""
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, drawn("12:00 100"))
    engine = open_engine(tmp_path / "market.db", read_only=True)
    with engine.connect() as connection:
        for read in (
            lambda: connection.exec_driver_sql("SELECT CAST(x'88ff' AS TEXT)").all(),
            lambda: plain_integers(connection, "SELECT NULL", (), width=1),
            lambda: plain_integers(connection, "SELECT 'half past nine'", (), width=1),
            lambda: plain_numbers(connection, "SELECT NULL, 'x'", (), width=2),
        ):
            with pytest.raises(
                StoreError, match=r"market\.db cannot be read .* put a sound copy in its place"
            ):
                read()
    engine.dispose()
