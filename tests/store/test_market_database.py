"""Small records: read without keeping a writer waiting, written one transaction at a time."""

from pathlib import Path

import pytest
from sqlalchemy import select

from crypto_tracker.core.errors import DataError
from crypto_tracker.store.database import MARKET, current_revision, downgrade, open_engine
from crypto_tracker.store.market_database import known_symbol_ids, reading, symbol_ids, writing
from crypto_tracker.store.reader import DATABASE_NAME
from crypto_tracker.store.tables import symbols
from tests.store.shelf import BTC, ETH, store


def test_who_reads_waits_for_no_writer_and_sees_what_was_committed_before(tmp_path: Path):
    with writing(tmp_path) as connection:
        known_symbol_ids(connection, "kraken", [BTC])
    with writing(tmp_path) as connection:
        known_symbol_ids(connection, "kraken", [BTC, ETH])
        with reading(tmp_path) as other:
            assert set(symbol_ids(other)) == {("kraken", BTC)}
    with reading(tmp_path) as other:
        assert set(symbol_ids(other, "kraken")) == {("kraken", BTC), ("kraken", ETH)}
        assert symbol_ids(other, "kucoin") == {}


def test_a_reader_cannot_write(tmp_path: Path):
    with store(tmp_path):
        pass
    with reading(tmp_path) as connection, pytest.raises(Exception, match="readonly database"):
        connection.execute(symbols.insert().values(provider="kraken", symbol="BTC/USD", status="active"))


def test_what_fails_halfway_leaves_nothing(tmp_path: Path):
    class Broken(Exception):
        pass

    def fail() -> None:
        with writing(tmp_path) as connection:
            known_symbol_ids(connection, "kraken", [BTC])
            raise Broken

    with pytest.raises(Broken):
        fail()
    with reading(tmp_path) as connection:
        assert connection.execute(select(symbols)).all() == []


def test_an_older_database_is_brought_up_to_date_by_who_only_reads(tmp_path: Path):
    with store(tmp_path):
        pass
    engine = open_engine(tmp_path / DATABASE_NAME)
    downgrade(engine, MARKET, "0001")
    engine.dispose()
    with reading(tmp_path) as connection:
        assert symbol_ids(connection) == {}
    engine = open_engine(tmp_path / DATABASE_NAME)
    assert current_revision(engine) == MARKET.head
    engine.dispose()


def test_without_a_database_nothing_can_be_read_and_nothing_is_made(tmp_path: Path):
    with pytest.raises(DataError, match="there are no bars under"), reading(tmp_path / "none"):
        raise AssertionError("never reached")
    assert not (tmp_path / "none").exists()
