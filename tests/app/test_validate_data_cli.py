"""`validate-data` says what is wrong with stored bars; `roll-over` says what it moved."""

import json
from pathlib import Path

import pytest

from crypto_tracker.core.timeframes import Timeframe
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


def test_a_home_without_bars_has_nothing_to_move(tmp_path: Path, command: Command) -> None:
    code, out, err = command(tmp_path, "roll-over")
    assert (code, out) == (1, "")
    assert "there are no bars under" in err
    assert list(tmp_path.iterdir()) == []
