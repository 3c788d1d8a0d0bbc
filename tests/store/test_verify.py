"""Every way in which stored bars can be damaged is seen and named, and a sound store is found sound."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crypto_tracker.core.errors import DataError
from crypto_tracker.core.timeframes import Timeframe, to_ms
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.reader import DATABASE_NAME
from crypto_tracker.store.verify import Verdict, verify
from tests.store.shelf import BTC, ETH, MINUTE, NOW, at, drawn, market_data, run_of_minutes, store

M1 = Timeframe.M1
FILE = "kraken/1m/BTC_USDT/2025-03.g0.parquet"


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """March of BTC cold with an overlay, April hot with a wrong print; hours of ETH."""
    home = tmp_path_factory.mktemp("sound") / "home"
    with store(home, cold_rows_min=100) as opened:
        opened.write("kraken", BTC, M1, run_of_minutes("12:00", 200))
        opened.write("kraken", BTC, M1, drawn("12:01 100.5\n15:20 101"))
        opened.write(
            "kraken", BTC, M1, drawn("2025-04-10 12:00 100\n2025-04-10 12:01 300\n2025-04-10 12:02 101")
        )
        lacks = [(at("2025-02-01 00:00"), at("2025-03-01 12:00"), "listed later")]
        opened.write("kraken", ETH, Timeframe.H1, run_of_minutes("12:00", 5, step=60 * MINUTE), lacking=lacks)
    return home


@pytest.fixture
def home(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "home"))


def check(home: Path, **chosen) -> Verdict:
    return verify(home, market_data=market_data(), now_ms=to_ms(NOW), **chosen)


def lines(home: Path, **chosen) -> list[str]:
    return [finding.line for finding in check(home, **chosen).findings]


def sql(home: Path, *statements: str) -> None:
    engine = open_engine(home / DATABASE_NAME)
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = OFF")
    engine.dispose()


def replace_file(home: Path, change) -> None:
    """Another content for the cold file, and a manifest that knows its bytes: only the rows are wrong."""
    import hashlib

    path = home / "bars" / FILE
    change(pl.read_parquet(path)).write_parquet(path)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    sql(home, f"UPDATE manifest SET bytes = {len(content)}, sha256 = '{digest}'")


def test_a_sound_store_is_found_sound(home):
    verdict = check(home)
    assert verdict.findings == ()
    assert (verdict.series, verdict.files, verdict.rows) == (2, 1, 200 + 2 + 3 + 5)


BAR = "(SELECT symbol_id FROM symbols WHERE symbol = 'BTC/USDT'), '1m'"
NOON = at("12:00")
APRIL = at("2025-04-10 12:00")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (f"UPDATE bars SET high = 1 WHERE open_time_ms = {APRIL}", "2025-04-10T12:00Z: a row broken: high_"),
        (f"UPDATE bars SET open_time_ms = {APRIL + 30_000} WHERE open_time_ms = {APRIL}", "off_grid"),
        (f"UPDATE bars SET close = -1 WHERE open_time_ms = {APRIL}", "broken: not_positive"),
        (f"UPDATE bars SET revision = 2 WHERE open_time_ms = {NOON + MINUTE}", "a revision without the one"),
        (f"UPDATE bars SET revision = 1 WHERE open_time_ms = {APRIL}", "a revision without the one"),
        (
            f"INSERT INTO bars VALUES ({BAR}, {NOON}, 0, 100, 100, 100, 100, 1, NULL, NULL)",
            "12:00Z: a row in the hot table and in the cold file",
        ),
        (
            f"DELETE FROM coverage WHERE start_ms = {NOON} AND timeframe = '1m'",
            "from 2025-03-01T12:00Z on: 202 rows stored outside",
        ),
        (f"INSERT INTO coverage VALUES ({BAR}, {NOON + MINUTE}, {NOON + 3 * MINUTE})", "it overlaps the int"),
        (f"INSERT INTO coverage VALUES ({BAR}, {APRIL + 600_001}, {APRIL + 660_000})", "not lie on the grid"),
        (f"UPDATE coverage SET end_ms = {to_ms(NOW) + MINUTE} WHERE start_ms = {APRIL}", "is not over yet"),
        ("DELETE FROM suspects", "2025-04-10T12:01Z revision 0: its close jumped, and it is not noted"),
        (
            f"INSERT INTO suspects VALUES ({BAR}, {NOON}, 0, 'unconfirmed', NULL)",
            "noted as suspect, and its close did not jump",
        ),
        (
            f"UPDATE suspects SET status = 'confirmed', confirmed_at_ms = {APRIL + 240_000}",
            "its confirmation is not what",
        ),
        (
            f"INSERT INTO gaps VALUES ({BAR}, {NOON}, {NOON + MINUTE}, 'why', 0)",
            "said to be lacking is covered",
        ),
        ("UPDATE manifest SET rows = 300", "it holds 200 rows of 200 bars, and the manifest says 300"),
        ("UPDATE manifest SET bytes = 7", "bytes, and the manifest says 7"),
        (f"UPDATE manifest SET sha256 = '{'0' * 64}'", "its content is not what was written (SHA-256)"),
        (
            f"UPDATE manifest SET month_ms = {at('2025-02-01 00:00')}",
            "200 rows of another month than the file kraken/1m/BTC_USDT/2025-03.g0.parquet",
        ),
    ],
)
def test_damaged_rows_are_named(home, damage, words):
    sql(home, damage)
    found = lines(home)
    assert any(words in line for line in found), found
    assert all(line.startswith("BTC/USDT kraken 1m, ") for line in found)
    assert all("; " in line for line in found), "nobody is told what to do"


def test_a_damaged_or_missing_file_is_named(home):
    path = home / "bars" / FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert f"BTC/USDT kraken 1m, file {FILE}: its content is not what was written" in lines(home)[0]
    path.write_bytes(b"PAR1 and no more")
    first, second = lines(home)
    assert f"file {FILE}: it has 16 bytes" in first
    assert "it cannot be read" in second
    path.unlink()
    (line,) = lines(home)
    assert line == (
        f"BTC/USDT kraken 1m, file {FILE}: the manifest names it and it does not exist; "
        "restore it from a copy, or let `validate-data --repair` forget its month and bring that again"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows.reverse(), "from 2025-03-01T12:00Z on: 199 rows out of order in the file"),
        (lambda rows: pl.concat([rows[:1], rows]), "2025-03-01T12:00Z: a row there twice in the file"),
        (lambda rows: rows[:-1], "it holds 199 rows of 199 bars, and the manifest says 200 of 200"),
        (
            lambda rows: rows.with_columns(open_time_ms=pl.col("open_time_ms") + np.int64(31 * 86_400_000)),
            "200 rows of another month than the file",
        ),
        (lambda rows: rows.with_columns(low=pl.col("high") * 2), "200 rows broken: low_too_high"),
    ],
)
def test_a_file_with_wrong_rows_is_named(home, change, words):
    replace_file(home, change)
    found = lines(home)
    assert any(words in line for line in found), found


def test_a_file_that_no_row_names_is_named(home):
    stray = home / "bars/kraken/1m/ETH_USDT/2025-01.g0.parquet"
    stray.parent.mkdir(parents=True)
    shutil.copy(home / "bars" / FILE, stray)
    (line,) = lines(home)
    assert line == (
        "file kraken/1m/ETH_USDT/2025-01.g0.parquet: no row of the manifest names it, and so nobody reads it; "
        "the next command that writes bars removes it, and `validate-data --repair` moves it aside"
    )
    assert lines(home, symbols=[BTC]) == []
    assert lines(home, symbols=[ETH], timeframe=Timeframe.H1) == []
    assert len(lines(home, provider="kraken")) == 1


def test_only_what_is_named_is_judged(home):
    sql(home, "DELETE FROM suspects")
    told = []
    verdict = check(home, timeframe=Timeframe.H1, watcher=lambda *what: told.append(what))
    assert (verdict.series, verdict.findings) == (1, ())
    assert told == [(0, 1, "ETH/USDT kraken 1h")]
    assert len(lines(home, symbols=[BTC], provider="kraken")) == 1
    with pytest.raises(DataError, match="massive has no bars of BTC/USDT"):
        check(home, symbols=[BTC], provider="massive")
    with pytest.raises(DataError, match="no bars are stored of what was named"):
        check(home, timeframe=Timeframe.D1)
