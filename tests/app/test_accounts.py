"""Which account a command means: the named one, the running one, or the one that was started last."""

from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import insert

from crypto_tracker.app.accounts import AccountPlace, account_place, accounts, commanded_account, read_account
from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.store import trading_tables as tables
from crypto_tracker.store.database import open_engine, writer_lock


def opened(home: Path, name: str, *, created_at_ms: int, starts: tuple[int, ...] = ()) -> Path:
    """An account as its opening and its sessions leave it."""
    folder = account_place(home, name).folder
    folder.mkdir(parents=True)
    engine = open_engine(folder / "trading.db")
    tables.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR NOT NULL)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('0001')")
        connection.execute(
            insert(tables.account).values(
                account_id=1,
                kind="paper",
                symbols='["BTC/USD"]',
                reference="BTC/USD",
                providers='{"BTC/USD": "synthetic"}',
                strategies='["DCA"]',
                capital_quote=Decimal(10_000),
                start_ms=0,
                created_at_ms=created_at_ms,
                code_version="0.1.0",
            )
        )
        for number, started_at_ms in enumerate(starts):
            connection.execute(
                insert(tables.sessions).values(
                    session_id=number + 1,
                    started_at_ms=started_at_ms,
                    pid=1,
                    host="host",
                    code_version="0.1.0",
                    cursor_ms=0,
                )
            )
    engine.dispose()
    return folder


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """Locks that are given back at the end of the test."""
    with ExitStack() as stack:
        yield stack


def hold(running: ExitStack, folder: Path) -> None:
    """Trade the account, as far as its lock is concerned."""
    running.enter_context(writer_lock(folder / "trader.lock", what="the account", wait_ms=0))


def test_accounts_stand_in_the_order_in_which_they_were_last_started(tmp_path: Path) -> None:
    opened(tmp_path, "old", created_at_ms=10, starts=(20, 90))
    opened(tmp_path, "younger", created_at_ms=30, starts=(40,))
    opened(tmp_path, "never-started", created_at_ms=60)
    assert [place.name for place in accounts(tmp_path)] == ["younger", "never-started", "old"]
    assert read_account(tmp_path, None).name == "old"
    assert commanded_account(tmp_path, None).name == "old"


def test_the_only_account_that_runs_is_meant_although_another_was_started_later(
    tmp_path: Path, running: ExitStack
) -> None:
    folder = opened(tmp_path, "paper", created_at_ms=10, starts=(20,))
    opened(tmp_path, "replay", created_at_ms=30, starts=(40,))
    hold(running, folder)
    assert read_account(tmp_path, None) == AccountPlace("paper", folder, running=True)
    assert commanded_account(tmp_path, None).name == "paper"
    assert [place.running for place in accounts(tmp_path)] == [True, False]


def test_of_two_that_run_one_is_read_but_none_is_commanded_unless_it_is_named(
    tmp_path: Path, running: ExitStack
) -> None:
    hold(running, opened(tmp_path, "paper", created_at_ms=10, starts=(20,)))
    hold(running, opened(tmp_path, "replay", created_at_ms=30, starts=(40,)))
    assert read_account(tmp_path, None).name == "replay"
    with pytest.raises(UsageError, match=r"2 accounts are traded now \(paper, replay\): .* --account replay"):
        commanded_account(tmp_path, None)
    assert commanded_account(tmp_path, "paper").name == "paper"


def test_an_account_runs_no_longer_once_its_trader_is_gone(tmp_path: Path) -> None:
    folder = opened(tmp_path, "paper", created_at_ms=10, starts=(20,))
    with ExitStack() as stack:
        hold(stack, folder)
        assert account_place(tmp_path, "paper").running
    assert not account_place(tmp_path, "paper").running


def test_a_name_that_is_no_account_is_refused_with_those_that_are(tmp_path: Path) -> None:
    opened(tmp_path, "paper", created_at_ms=10)
    for choose in (read_account, commanded_account):
        with pytest.raises(DataError, match=r"there is no account papr under .*: there is paper"):
            choose(tmp_path, "papr")


def test_where_nothing_was_traded_the_way_to_begin_is_told(tmp_path: Path) -> None:
    (tmp_path / "accounts" / "half-made").mkdir(parents=True)
    (tmp_path / "accounts" / "half-made" / "trading.db").touch()
    for choose in (read_account, commanded_account):
        for name in (None, "paper"):
            with pytest.raises(
                DataError, match=r"nothing has been traded yet under .*`crypto-tracker trade`"
            ):
                choose(tmp_path, name)


@pytest.mark.parametrize("name", ["", "Paper", "a b", "../paper", "-x", "café"])
def test_a_name_that_no_folder_should_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no name of an account"):
        account_place(tmp_path, name)
    assert not list(tmp_path.iterdir())
