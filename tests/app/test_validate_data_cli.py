"""`validate-data` says what is wrong with stored bars; `roll-over` says what it moved."""

import json
from pathlib import Path

import pytest

from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store.market_database import writing
from tests.app.conftest import Command
from tests.store.shelf import BTC, ETH, drawn, run_of_minutes, store

FILE = "kraken/1m/BTC_USDT/2025-03.g0.parquet"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """March of BTC in a file, four rows of April in the database."""
    home = tmp_path / "home"
    with store(home, cold_rows_min=100) as opened:
        opened.write("kraken", BTC, Timeframe.M1, run_of_minutes("12:00", 200))
        opened.write("kraken", BTC, Timeframe.M1, run_of_minutes("2025-04-10 12:00", 3))
        opened.write("massive", ETH, Timeframe.M1, drawn("2025-04-10 12:00 10"))
    return home


def test_sound_bars_are_found_sound(shelf: Path, command: Command) -> None:
    assert command(shelf, "validate-data") == (
        0,
        "204 rows of 2 series, 1 file: nothing is wrong\n",
        "",
    )
    code, out, _ = command(shelf, "validate-data", "--provider", "polygon", "--json")
    assert (code, json.loads(out)) == (0, {"series": 1, "files": 0, "rows": 1, "findings": []})


def test_a_finding_is_one_line_and_ends_with_exit_code_3(shelf: Path, command: Command) -> None:
    (shelf / "bars" / FILE).unlink()
    code, out, err = command(shelf, "validate-data", "--pairs", "BTC/USDT")
    what = f"BTC/USDT kraken 1m, file {FILE}: the manifest names it and it does not exist; restore it from a"
    finding, summary = out.splitlines()
    assert code == 3
    assert finding.startswith(what)
    assert summary == "3 rows of 1 series, 1 file: 1 finding"
    assert f"is not sound: 1 finding, the first: {what}" in " ".join(err.split())
    code, out, _ = command(shelf, "validate-data", "--json")
    (found,) = json.loads(out)["findings"]
    assert code == 3
    assert (found["symbol"], found["where"]) == ("BTC/USDT", f"file {FILE}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--pairs", "XRP/USD"), "the store has no bars of XRP/USD"),
        (("--timeframe", "1d"), "no bars are stored of what was named"),
    ],
)
def test_what_is_not_there_cannot_be_judged(shelf: Path, command: Command, arguments, words) -> None:
    code, out, err = command(shelf, "validate-data", *arguments)
    assert (code, out) == (1, "")
    assert words in " ".join(err.split())


def test_months_that_are_old_enough_move_and_are_told(shelf: Path, command: Command) -> None:
    code, out, err = command(shelf, "roll-over")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["2025-04", "BTC/USDT", "kraken", "1m", "3", "rows"],
        ["2025-04", "ETH/USDT", "massive", "1m", "1", "rows"],
        ["4", "rows", "moved", "to", "2", "files"],
    ]
    assert command(shelf, "roll-over")[1] == "no month is old enough to move\n"
    assert command(shelf, "validate-data")[1] == "204 rows of 2 series, 3 files: nothing is wrong\n"
    code, out, _ = command(shelf, "roll-over", "--json")
    assert (code, json.loads(out)) == (0, {"files": 0, "rows": 0, "moved": []})


@pytest.mark.parametrize("name", ["roll-over", "validate-data"])
def test_a_home_without_bars_is_no_failure_and_stays_as_it_is(tmp_path: Path, command: Command, name) -> None:
    code, out, err = command(tmp_path, name)
    assert (code, out) == (0, "")
    assert err == (
        f"There are no bars under {tmp_path}: `crypto-tracker up` or `download-data` fetches some, "
        "`import-data PATH` reads files.\n"
    )
    code, out, _ = command(tmp_path, name, "--json")
    assert (code, json.loads(out)["rows"]) == (0, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_repair_says_what_was_wrong_where_it_is_now_and_what_brings_it_back(
    shelf: Path, command: Command
) -> None:
    content = (shelf / "bars" / FILE).read_bytes()
    (shelf / "bars" / FILE).write_bytes(content[:-1])
    assert command(shelf, "validate-data")[0] == 3
    assert (shelf / "bars" / FILE).exists()  # nothing is changed without --repair
    code, out, err = command(shelf, "validate-data", "--repair")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert f"found: BTC/USDT kraken 1m, file {FILE}: it has {len(content) - 1:,} bytes" in lines[0]
    assert lines[-3:] == [
        f"moved aside: {FILE} is now {shelf / 'bars-damaged' / FILE}",
        (
            "forgotten: BTC/USDT kraken 1m, 2025-03: `heal-gaps --provider kraken -p BTC/USDT -i 1m "
            "--timerange 20250301-20250401` fetches it, or import its files again"
        ),
        "4 rows of 2 series, 0 files: nothing is wrong",
    ]
    assert (shelf / "bars-damaged" / FILE).read_bytes() == content[:-1]
    assert command(shelf, "validate-data", "--repair")[1] == "4 rows of 2 series, 0 files: nothing is wrong\n"


def test_what_no_repair_helps_is_left_and_ends_with_exit_code_3(shelf: Path, command: Command) -> None:
    (shelf / "bars" / FILE).unlink()
    with writing(shelf) as connection:
        connection.exec_driver_sql("UPDATE bars SET high = 1 WHERE close = 10")
    code, out, _ = command(shelf, "validate-data", "--repair", "--json")
    document = json.loads(out)
    assert code == 3
    assert document["repaired"] == {
        "moved": [],
        "forgotten": [{"symbol": "BTC/USDT", "provider": "kraken", "timeframe": "1m", "month": "2025-03"}],
        "judged_anew": 0,
    }
    (found,) = document["findings"]
    assert (found["symbol"], found["repairable"]) == ("ETH/USDT", False)


def test_files_that_were_imported_are_imported_anew_after_their_month_was_forgotten(
    tmp_path: Path, command: Command
) -> None:
    home, file = tmp_path / "home", tmp_path / "ETHUSDT-1m.csv"
    minutes = 3_000
    rows = "".join(f"{1_735_689_600_000 + 60_000 * m},1,2,0.5,1.5,10\n" for m in range(minutes))
    file.write_text("time,open,high,low,close,volume\n" + rows)
    small = ("--set", "market_data.files.cold_rows_min=1000")
    assert command(home, "import-data", str(file), *small)[0] == 0
    (stored,) = (home / "bars").rglob("*.parquet")
    stored.unlink()
    code, out, _ = command(home, "validate-data", "--repair")
    assert code == 0
    assert "forgotten: ETH/USDT file 1m, 2025-01: import its files again with `import-data`" in out
    assert command(home, "import-data", str(file), *small)[0] == 0
    assert command(home, "validate-data")[1] == f"{minutes:,} rows of 1 series, 1 file: nothing is wrong\n"
