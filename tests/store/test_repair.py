"""What can be repaired of damaged bars is repaired without a loss, and everything else left alone."""

import shutil
from pathlib import Path

import pytest
from sqlalchemy import select

from crypto_tracker.core.timeframes import Timeframe, to_ms
from crypto_tracker.store import tables
from crypto_tracker.store.cold import ColdTier
from crypto_tracker.store.market_database import reading, writing
from crypto_tracker.store.mended import since
from crypto_tracker.store.repair import ASIDE_FOLDER, ForgottenMonth, Repaired, repair
from crypto_tracker.store.verify import Finding, verify
from tests.store.shelf import BTC, ETH, MINUTE, NOW, at, closes, drawn, market_data, run_of_minutes, store

M1 = Timeframe.M1
MARCH = "kraken/1m/BTC_USDT/2025-03.g0.parquet"
FEBRUARY = "kraken/1m/BTC_USDT/2025-02.g0.parquet"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """February and March of BTC cold, March with an overlay; April hot with a wrong print; minutes of ETH."""
    home = tmp_path_factory.mktemp("sound") / "home"
    with store(home, cold_rows_min=100) as opened:
        opened.write("kraken", BTC, M1, run_of_minutes("2025-02-10 12:00", 150))
        opened.write("kraken", BTC, M1, run_of_minutes("12:00", 200))
        opened.write("kraken", BTC, M1, drawn("12:01 100.5\n15:20 101"))
        opened.write("kraken", BTC, M1, drawn("12:01 100.7"))
        opened.write(
            "kraken", BTC, M1, drawn("2025-04-10 12:00 100\n2025-04-10 12:01 300\n2025-04-10 12:02 101")
        )
        opened.write("kraken", ETH, M1, run_of_minutes("2025-03-05 12:00", 120))
    return home


@pytest.fixture
def home(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "home"))


def findings(home: Path) -> tuple[Finding, ...]:
    return verify(home, market_data=market_data(), now_ms=to_ms(NOW)).findings


def repaired(home: Path) -> Repaired:
    return repair(home, findings(home), market_data=market_data())


def damage(path: Path) -> bytes:
    """Turn one bit of a file over; its content thereafter."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return bytes(content)


def forgotten(month: str) -> ForgottenMonth:
    ends = {"2025-02": at("2025-03-01 00:00"), "2025-03": at("2025-04-01 00:00")}
    return ForgottenMonth(
        provider="kraken", symbol=BTC, timeframe=M1, month_ms=at(f"{month}-01 00:00"), end_ms=ends[month]
    )


def everything(home: Path) -> tuple[object, ...]:
    """All rows of the tables, and all files."""
    with reading(home) as connection:
        rows = [
            connection.execute(select(table)).all()
            for table in (tables.bars, tables.coverage, tables.manifest, tables.suspects, tables.imports)
        ]
    files = {str(path): path.read_bytes() for path in (home / "bars").rglob("*.parquet")}
    return rows, files


def test_a_sound_store_is_left_as_it_is(home: Path):
    before = everything(home)
    assert repaired(home) == Repaired(moved=(), forgotten=(), judged=0)
    assert everything(home) == before
    assert not (home / ASIDE_FOLDER).exists()


@pytest.mark.parametrize("missing", [False, True])
def test_the_month_of_a_damaged_or_missing_file_can_be_brought_again(home: Path, missing: bool):
    content = b""
    if missing:
        (home / "bars" / MARCH).unlink()
    else:
        content = damage(home / "bars" / MARCH)
    done = repaired(home)
    assert done.forgotten == (forgotten("2025-03"),)
    assert findings(home) == ()
    aside = home / ASIDE_FOLDER / MARCH
    assert done.moved == (() if missing else ((MARCH, aside),))
    assert missing or aside.read_bytes() == content
    with store(home, cold_rows_min=100) as opened:
        # What the database has of the month stays known: the newest value of 12:01, and 15:20.
        assert closes(opened, "12:00", "12:03") == ["unknown", 100.7, "unknown"]
        assert closes(opened, "15:19", "15:21") == ["unknown", 101.0]
        assert closes(opened, "2025-02-10 12:00", "2025-02-10 12:01") == [100.0]
        assert len(opened.reader.rows(ETH, M1, at("2025-03-05 12:00"), at("2025-03-05 14:00"))) == 120
        start, end = at("12:00"), at("15:20")
        assert opened.reader.missing("kraken", BTC, M1, start, end).tolist() == [
            [start, start + MINUTE],
            [start + 2 * MINUTE, end],
        ]
        opened.write("kraken", BTC, M1, run_of_minutes("12:00", 200))
        assert opened.reader.missing("kraken", BTC, M1, start, end).tolist() == []
    assert findings(home) == ()


def test_all_damaged_months_of_a_series_are_forgotten_together(home: Path):
    (home / "bars" / FEBRUARY).write_bytes(b"PAR1 and no more")
    damage(home / "bars" / MARCH)
    with reading(home) as connection:
        noted = since(connection, BTC, ["kraken"], 0).last
    done = repaired(home)
    assert done.forgotten == (forgotten("2025-02"), forgotten("2025-03"))
    assert [path for path, _ in done.moved] == [FEBRUARY, MARCH]
    assert findings(home) == ()
    with reading(home) as connection:
        suspects = connection.execute(select(tables.suspects.c.open_time_ms)).scalars().all()
        mended = since(connection, BTC, ["kraken"], noted).span
    assert suspects == [at("2025-04-10 12:01")]
    assert mended == (at("2025-02-01 00:00"), at("2025-04-01 00:00")), "who shows them reads them again"


def noted_by_repair(home: Path) -> tuple[int, int] | None:
    """What a repair of everything that is found notes as mended of BTC."""
    with reading(home) as connection:
        last = since(connection, BTC, ["kraken"], 0).last
    repaired(home)
    with reading(home) as connection:
        return since(connection, BTC, ["kraken"], last).span


def test_a_bar_beyond_a_forgotten_month_that_is_trusted_without_it_is_noted_with_it(tmp_path: Path):
    home = tmp_path / "home"
    with store(home, cold_rows_min=100) as opened:
        opened.write("kraken", BTC, M1, run_of_minutes("2025-03-31 22:00", 120))
        opened.write("kraken", BTC, M1, drawn("2025-04-01 00:00 300\n2025-04-01 00:01 301"))
        assert closes(opened, "2025-04-01 00:00", "2025-04-01 00:02") == ["no trade", 301]
    damage(home / "bars" / MARCH)
    assert noted_by_repair(home) == (at("2025-03-01 00:00"), at("2025-04-01 00:01"))
    with store(home) as opened:
        assert closes(opened, "2025-04-01 00:00", "2025-04-01 00:02") == [300, 301]


def test_bars_whose_record_of_doubt_was_wrong_are_noted_and_no_others(home: Path):
    table = tables.suspects
    with writing(home) as connection:
        connection.execute(table.update().values(open_time_ms=at("12:05")))
    assert noted_by_repair(home) == (at("12:05"), at("2025-04-10 12:02"))
    assert noted_by_repair(home) is None


def test_a_file_that_nothing_names_is_moved_aside_also_where_one_of_its_name_is_there(home: Path):
    stray = "kraken/1m/BTC_USDT/2025-01.g0.parquet"
    for number, name in enumerate((stray, f"{stray}.1", f"{stray}.2")):
        (home / "bars" / stray).write_bytes(b"%d" % number)
        done = repaired(home)
        assert done == Repaired(moved=((stray, home / ASIDE_FOLDER / name),), forgotten=(), judged=0)
        assert (home / ASIDE_FOLDER / name).read_bytes() == b"%d" % number
    assert findings(home) == ()


def test_a_file_that_was_named_since_it_was_found_is_left_alone(home: Path):
    january = "kraken/1m/BTC_USDT/2025-01.g0.parquet"
    (home / "bars" / january).write_bytes(b"a writer that was killed left this")
    found = findings(home)
    assert [finding.file for finding in found] == [january]
    with store(home, cold_rows_min=100) as opened:
        opened.write("kraken", BTC, M1, run_of_minutes("2025-01-10 12:00", 150))
    before = everything(home)
    assert january in {path.removeprefix(f"{home}/bars/") for path in before[1]}  # type: ignore[operator]
    assert repair(home, found, market_data=market_data()) == Repaired(moved=(), forgotten=(), judged=0)
    assert everything(home) == before
    assert findings(home) == ()


@pytest.mark.parametrize("missing", [False, True])
def test_a_file_that_was_made_good_since_it_was_found_is_left_alone(home: Path, missing: bool):
    path = home / "bars" / MARCH
    content = path.read_bytes()
    if missing:
        path.unlink()
    else:
        damage(path)
    found = findings(home)
    assert {finding.file for finding in found} == {MARCH}
    path.write_bytes(content)
    before = everything(home)
    assert repair(home, found, market_data=market_data()) == Repaired(moved=(), forgotten=(), judged=0)
    assert everything(home) == before


def test_a_month_that_was_repaired_and_brought_again_since_it_was_found_is_left_alone(home: Path):
    damage(home / "bars" / MARCH)
    found = findings(home)
    assert repaired(home).forgotten == (forgotten("2025-03"),)
    with store(home, cold_rows_min=100) as opened:
        opened.write("kraken", BTC, M1, run_of_minutes("12:00", 300))
    before = everything(home)
    assert repair(home, found, market_data=market_data()) == Repaired(moved=(), forgotten=(), judged=0)
    assert everything(home) == before


def test_a_file_that_no_row_names_any_more_since_it_was_found_is_left_to_who_writes_next(home: Path):
    damage(home / "bars" / MARCH)
    found = findings(home)
    with writing(home) as connection:
        connection.execute(tables.manifest.delete().where(tables.manifest.c.path == MARCH))
    assert repair(home, found, market_data=market_data()) == Repaired(moved=(), forgotten=(), judged=0)
    assert (home / "bars" / MARCH).exists()


def test_a_file_that_was_damaged_otherwise_since_it_was_found_is_repaired(home: Path):
    damage(home / "bars" / MARCH)
    found = findings(home)
    (home / "bars" / MARCH).write_bytes(b"PAR1 and no more")
    done = repair(home, found, market_data=market_data())
    assert done.forgotten == (forgotten("2025-03"),)
    assert findings(home) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        "DELETE FROM suspects",
        "UPDATE suspects SET open_time_ms = open_time_ms - 60000",
        "UPDATE suspects SET status = 'confirmed', confirmed_at_ms = 1744286640000",
    ],
)
def test_what_is_suspect_is_concluded_anew(home: Path, wrong: str):
    with reading(home) as connection:
        before = connection.execute(select(tables.suspects)).all()
    with writing(home) as connection:
        connection.exec_driver_sql(wrong)
    assert repaired(home) == Repaired(moved=(), forgotten=(), judged=1)
    with reading(home) as connection:
        assert connection.execute(select(tables.suspects)).all() == before
    assert findings(home) == ()


def test_what_cannot_be_repaired_stays_and_says_what_helps(home: Path):
    with writing(home) as connection:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        connection.exec_driver_sql("UPDATE bars SET high = 1 WHERE close = 101 AND open = 101")
    before = findings(home)
    assert all("restore market.db and the folder bars from a copy" in finding.help for finding in before)
    assert len(before) == 2
    assert repaired(home) == Repaired(moved=(), forgotten=(), judged=0)
    assert findings(home) == before


def test_a_kill_before_the_month_is_forgotten_is_made_good_by_repairing_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    content = damage(home / "bars" / MARCH)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("crypto_tracker.store.repair._forget", killed)
        with pytest.raises(KeyboardInterrupt):
            repaired(home)
    assert (home / ASIDE_FOLDER / MARCH).read_bytes() == content
    assert repaired(home).forgotten == (forgotten("2025-03"),)
    assert findings(home) == ()


def test_what_another_process_has_replaced_meanwhile_is_left_alone(home: Path):
    damaged = home / "bars" / MARCH
    sound = damaged.read_bytes()
    damage(damaged)
    found = findings(home)
    with writing(home) as connection:
        renamed = "UPDATE manifest SET path = replace(path, '03.g0', '03.g1') WHERE path = ?"
        connection.exec_driver_sql(renamed, (MARCH,))
    damaged.unlink()
    (home / "bars" / MARCH.replace("03.g0", "03.g1")).write_bytes(sound)
    assert repair(home, found, market_data=market_data()) == Repaired(moved=(), forgotten=(), judged=0)
    assert [finding.file for finding in findings(home)] == []


def test_the_store_reads_on_after_a_repair_and_no_writer_finds_a_leftover(home: Path):
    damage(home / "bars" / MARCH)
    repaired(home)
    with reading(home) as connection:
        named = set(connection.execute(select(tables.manifest.c.path)).scalars())
    assert ColdTier(home / "bars").remove_leftovers(named) == []
