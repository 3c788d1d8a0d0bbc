"""`export-data` as a person uses it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, to_ms
from crypto_tracker.store.reader import BarReader
from tests.app.conftest import Command

WHOLE = to_ms(datetime(2020, 1, 1, tzinfo=UTC)), to_ms(datetime(2026, 11, 1, tzinfo=UTC))
FEBRUARY = ("--timerange", "20250201-20250203")


def test_every_stored_series_becomes_a_file_and_the_table_fits(
    market_home: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = command(market_home, "export-data", "--to", str(tmp_path / "out"), *FEBRUARY)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["file", "first", "last", "bars", "suspect"]
    assert [line.split()[0] for line in lines[1:]] == [
        *("synthetic/ADA_USD-1h.csv", "synthetic/BTC_USD-1m.csv", "synthetic/ETH_USD-1m.csv"),
        *("synthetic/PEPE_USD-1m.csv", "synthetic/SOL_USD-1m.csv"),
    ]
    assert max(map(len, lines)) <= 80
    assert "5 files, " in err
    assert f"import-data {tmp_path / 'out' / 'synthetic'} --provider synthetic" in " ".join(err.split())


def test_the_document_names_files_rows_and_spans(market_home: Path, command: Command, tmp_path: Path):
    asked = ("-p", "BTC/USD", "-i", "4h", "--format", "parquet", "--json")
    code, out, _ = command(market_home, "export-data", "--to", str(tmp_path), *asked, *FEBRUARY)
    document = json.loads(out)
    assert code == 0
    assert (document["format"], document["rows"]) == ("parquet", 12)
    assert document["files"] == [
        {
            "file": str(tmp_path / "synthetic" / "BTC_USD-4h.parquet"),
            "symbol": "BTC/USD",
            "provider": "synthetic",
            "timeframe": "4h",
            "first": "2025-02-01T00:00:00Z",
            "last": "2025-02-02T20:00:00Z",
            "rows": 12,
            "suspects_left_out": 0,
        }
    ]


def test_what_was_exported_can_be_imported_into_another_home(
    market_home: Path, command: Command, tmp_path: Path
):
    for form in ("csv", "parquet", "feather"):
        folder, again = tmp_path / form, tmp_path / f"home-{form}"
        asked = ("--to", str(folder), "--format", form, "-p", "ETH/USD", *FEBRUARY)
        assert command(market_home, "export-data", *asked)[0] == 0
        assert command(again, "import-data", str(folder), "--provider", "synthetic")[0] == 0
        [series] = json.loads(command(again, "list-data", "--json")[1])
        assert (series["symbol"], series["rows"]) == ("ETH/USD", rows_of(market_home, command))


def rows_of(home: Path, command: Command) -> int:
    """Bars of ETH on the first two days of February, counted by another export."""
    folder = home.parent / "counted"
    asked = ("--to", str(folder), "-p", "ETH/USD", "--overwrite", "--json", *FEBRUARY)
    rows: int = json.loads(command(home, "export-data", *asked)[1])["rows"]
    assert rows == (folder / "synthetic" / "ETH_USD-1m.csv").read_text().count("\n") - 1
    return rows


def test_files_that_are_there_are_kept_unless_overwriting_is_asked_for(
    market_home: Path, command: Command, tmp_path: Path
):
    asked = ("export-data", "--to", str(tmp_path), "-p", "ADA/USD", *FEBRUARY)
    assert command(market_home, *asked)[0] == 0
    file = tmp_path / "synthetic" / "ADA_USD-1h.csv"
    file.write_text("mine")
    code, out, err = command(market_home, *asked)
    assert (code, out) == (2, "")
    assert "would be overwritten" in err
    assert file.read_text() == "mine"
    assert command(market_home, *asked, "--overwrite")[0] == 0
    assert file.read_text().startswith("open_time,open,")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--format", "xlsx"), 2, "--format 'xlsx' is not one of csv, parquet, feather"),
        (("-i", "2h"), 2, "timeframe '2h' is not one of"),
        (("-p", "XRP/USD"), 1, "the store has no bars of XRP/USD"),
        (("-p", "ADA/USD", "-i", "1m"), 1, "no bars of ADA/USD that 1m bars can be made of"),
        (("--timerange", "20300101-"), 1, "no bar lies in --timerange"),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_sentence(
    market_home: Path, command: Command, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
):
    found, out, err = command(market_home, "export-data", "--to", str(tmp_path / "out"), *arguments)
    assert (found, out) == (code, "")
    assert said in " ".join(err.split())
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder_to_export_to(market_home: Path, command: Command, tmp_path: Path):
    (tmp_path / "out").touch()
    code, _, err = command(market_home, "export-data", "--to", str(tmp_path / "out"))
    assert code == 2
    assert "is a file: name a folder" in " ".join(err.split())


def test_where_nothing_is_stored_nothing_can_be_exported(tmp_path: Path, command: Command):
    code, out, err = command(tmp_path / "none", "export-data", "--to", str(tmp_path / "files"))
    assert (code, out) == (1, "")
    assert err.startswith("there are no bars under")
    assert "`crypto-tracker up` or `download-data` fetches some, `import-data PATH` reads files" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.market_data
@pytest.mark.parametrize("form", ["csv", "parquet", "feather"])
def test_real_bars_come_back_to_the_last_bit(market_data: Path, command: Command, tmp_path: Path, form: str):
    home, again, folder = tmp_path / "home", tmp_path / "again", tmp_path / "files"
    for name in ("1m/SUIUSDT.parquet", "1h/AAVEUSDT.parquet"):
        assert command(home, "import-data", str(market_data / "bars" / name))[0] == 0
    code, out, err = command(home, "export-data", "--to", str(folder), "--format", form, "--json")
    assert code == 0, err
    written = json.loads(out)
    for place in sorted(folder.iterdir()):
        assert command(again, "import-data", str(place), "--provider", place.name)[0] == 0
    before, after = (
        {(each["symbol"], each["provider"], each["timeframe"]): each for each in listed}
        for listed in (json.loads(command(where, "list-data", "--json")[1]) for where in (home, again))
    )
    assert after.keys() == before.keys()
    assert written["rows"] == sum(each["rows"] for each in after.values())
    with BarReader.open(home) as first, BarReader.open(again) as second:
        for (symbol, provider, timeframe), series in before.items():
            asked = Symbol.parse(symbol), Timeframe.parse(timeframe), *WHOLE
            one, other = (reader.rows(*asked, provider=provider).newest() for reader in (first, second))
            # Without a minute that is in doubt the import may doubt its neighbour; it has the same value.
            assert len(one) - series["suspect"] == len(other)
            kept = np.isin(one.open_time_ms, other.open_time_ms)
            np.testing.assert_array_equal(one.open_time_ms[kept], other.open_time_ms)
            np.testing.assert_array_equal(one.values[:5, kept], other.values[:5])
