"""`import-data` and `list-data`: folders of files go in once, and what is broken is named."""

import json
import os
import sqlite3
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crypto_tracker.app.cli.main import main
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store.reader import BarReader
from tests.market import files
from tests.market.files import START_MS

HOUR = 3_600_000


class Ran:
    """One run of the command line: exit code, standard output, standard error."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def run(tmp_path, capsys):
    def call(*arguments: object) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(["--home", str(tmp_path / "home"), *map(str, arguments)])
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def data(tmp_path) -> Path:
    """A folder such as people have: three good files, one broken, and things that are no bars."""
    folder = tmp_path / "data"
    files.freqtrade_feather(folder / "binance" / "BTC_USDT-1m.feather", files.rows(120))
    files.written(folder / "kraken" / "XBTUSD_60.csv", files.kraken_text(files.rows(48, step_ms=HOUR)))
    files.zipped(
        folder / "ETHUSDT-1m-2025-03.zip", {"ETHUSDT-1m-2025-03.csv": files.binance_text(files.rows(60))}
    )
    files.written(folder / "README.md", "bars")
    files.written(folder / "index.json", "{}")
    return folder


def test_a_folder_goes_in_and_a_second_time_changes_nothing(run, data):
    first = run("import-data", data, "--json")
    assert first.code == 0, first.err
    document = first.json
    assert {
        key: document[key] for key in ("files", "symbols", "rows", "rows_new", "revisions", "quarantined")
    } == {
        "files": 3,
        "symbols": 3,
        "rows": 228,
        "rows_new": 228,
        "revisions": 0,
        "quarantined": 0,
    }
    assert document["seconds"] > 0
    assert {Path(entry["file"]).name for entry in document["skipped"]} == {"README.md", "index.json"}
    assert [(entry["layout"], entry["provider"], entry["symbol"]) for entry in document["per_file"]] == [
        ("binance", "binance", "ETH/USDT"),
        ("freqtrade", "binance", "BTC/USDT"),
        ("kraken", "kraken", "BTC/USD"),
    ]
    second = run("import-data", data, "--json").json
    assert (second["files"], second["rows"], second["rows_new"], second["unchanged"]) == (3, 228, 0, 3)


def test_bars_of_months_long_past_do_not_stay_in_the_database(run, data, tmp_path):
    """120 minutes of 2025 are too few for a file at once; the import's end moves them, and they read the same."""
    run("import-data", data)
    with sqlite3.connect(tmp_path / "home" / "market.db") as database:
        assert database.execute("SELECT count(*) FROM bars WHERE timeframe = '1m'").fetchone() == (0,)
    with BarReader.open(tmp_path / "home") as reader:
        panel = reader.panel(
            [Symbol.parse("BTC/USDT")], Timeframe.M1, START_MS, START_MS + 120 * 60_000, provider="binance"
        )
    assert panel.present.all()


def test_a_file_that_was_only_touched_is_not_done_again_and_one_that_grew_is(run, data):
    run("import-data", data)
    path = data / "kraken" / "XBTUSD_60.csv"
    os.utime(path, ns=(1, 1))
    assert run("import-data", data, "--json").json["unchanged"] == 3
    files.written(path, files.kraken_text(files.rows(50, step_ms=HOUR)))
    again = run("import-data", data, "--json").json
    assert (again["unchanged"], again["rows_new"], again["revisions"]) == (2, 2, 0)


def test_the_same_file_under_another_symbol_is_another_import(run, data):
    path = data / "kraken" / "XBTUSD_60.csv"
    run("import-data", path)
    again = run("import-data", path, "--symbol", "XYZ/USD", "--json").json
    assert (again["rows_new"], again["unchanged"]) == (48, 0)


def test_what_is_read_is_what_the_file_holds(run, data, tmp_path):
    run("import-data", data)
    bars = files.rows(120)
    with BarReader.open(tmp_path / "home") as reader:
        panel = reader.panel(
            [Symbol.parse("BTC/USDT")], Timeframe.M1, START_MS, START_MS + 120 * 60_000, provider="binance"
        )
    np.testing.assert_array_equal(panel.high[:, 0], [row[2] for row in bars])
    np.testing.assert_array_equal(panel.volume[:, 0], [row[5] for row in bars])


def test_the_list_shows_what_there_is(run, data):
    run("import-data", data)
    listed = run("list-data", "--json")
    assert listed.code == 0
    assert [list(entry.items())[:8] for entry in listed.json] == [
        list(entry.items())
        for entry in [
            {
                "symbol": "BTC/USD",
                "provider": "kraken",
                "timeframe": "1h",
                "start": "2025-03-01T12:00:00Z",
                "end": "2025-03-03T12:00:00Z",
                "rows": 48,
                "gaps": 0,
                "completeness": 1.0,
            },
            {
                "symbol": "BTC/USDT",
                "provider": "binance",
                "timeframe": "1m",
                "start": "2025-03-01T12:00:00Z",
                "end": "2025-03-01T14:00:00Z",
                "rows": 120,
                "gaps": 0,
                "completeness": 1.0,
            },
            {
                "symbol": "ETH/USDT",
                "provider": "binance",
                "timeframe": "1m",
                "start": "2025-03-01T12:00:00Z",
                "end": "2025-03-01T13:00:00Z",
                "rows": 60,
                "gaps": 0,
                "completeness": 1.0,
            },
        ]
    ]
    table = run("list-data").out
    assert "BTC/USDT" in table
    assert "100.00 %" in table
    assert "2025-03-01 12:00" in table


def test_an_empty_home_lists_nothing_and_says_what_to_do(run, tmp_path):
    listed = run("list-data", "--json")
    assert (listed.code, listed.json) == (0, [])
    assert "import-data" in listed.err
    assert not (tmp_path / "home").exists()


def test_without_json_the_result_is_a_table_and_the_detected_layout_is_shown(run, data):
    shown = run("import-data", data)
    for word in ("freqtrade", "binance", "kraken", "BTC/USDT", "XBTUSD_60.csv"):
        assert word in shown.out
    assert "3 files, 228 rows, 228 of them new" in shown.err
    assert "skipped" in shown.err


# -------------------------------------------------------------------------------------------- holes and outages


def coverage_words(home: Path, timeframe: Timeframe, count: int) -> str:
    with BarReader.open(home) as reader:
        (symbol,) = {info.symbol for info in reader.series()}
        panel = reader.panel([symbol], timeframe, START_MS, START_MS + count * timeframe.ms)
    letters = {(True, True): "#", (False, True): ".", (False, False): "?"}
    pairs = zip(panel.present[:, 0].tolist(), panel.covered[:, 0].tolist(), strict=True)
    return "".join(letters[pair] for pair in pairs)


@pytest.mark.parametrize(("missing", "word"), [(1, "."), (60, "."), (61, "?")])
def test_an_hour_without_a_minute_had_no_trades_and_a_longer_hole_is_an_outage(run, tmp_path, missing, word):
    bars = files.rows(2) + files.rows(2, start_ms=START_MS + (2 + missing) * 60_000)
    run("import-data", files.written(tmp_path / "BTC-USD-1m.csv", files.plain_text(bars)))
    assert coverage_words(tmp_path / "home", Timeframe.M1, 4 + missing) == "##" + word * missing + "##"


@pytest.mark.parametrize(("missing", "word"), [(1, "."), (2, "?")])
def test_of_coarser_bars_one_may_be_without_trades(run, tmp_path, missing, word):
    bars = files.rows(3, step_ms=HOUR) + files.rows(3, step_ms=HOUR, start_ms=START_MS + (3 + missing) * HOUR)
    run("import-data", files.written(tmp_path / "BTC-USD-1h.csv", files.plain_text(bars)))
    assert coverage_words(tmp_path / "home", Timeframe.H1, 6 + missing) == "###" + word * missing + "###"


def test_between_two_files_nothing_is_known(run, tmp_path):
    data = tmp_path / "data"
    for month, start in (("01", START_MS), ("02", START_MS + 30 * 60_000)):
        files.zipped(
            data / f"BTCUSDT-1m-2025-{month}.zip",
            {f"BTCUSDT-1m-2025-{month}.csv": files.binance_text(files.rows(20, start_ms=start))},
        )
    run("import-data", data)
    assert coverage_words(tmp_path / "home", Timeframe.M1, 50) == "#" * 20 + "?" * 10 + "#" * 20


# ---------------------------------------------------------------------------------------------------- nonsense


def test_broken_rows_go_to_quarantine_with_file_line_and_text(run, tmp_path):
    lines = files.plain_text(files.rows(20)).splitlines()
    lines[3] = lines[3].replace("103.5", "1.0")  # the high of 12:02, below its close
    lines[7] = lines[7].replace("105.0,", "oops,", 1)
    lines[11] = lines[11].rsplit(",", 1)[0] + ",-5"
    path = files.written(tmp_path / "BTC-USD-1m.csv", "\n".join(lines) + "\n")
    document = run("import-data", path, "--json").json
    assert (document["rows"], document["rows_new"], document["quarantined"]) == (20, 17, 3)
    assert coverage_words(tmp_path / "home", Timeframe.M1, 20) == "##?###?###?#########"
    connection = sqlite3.connect(tmp_path / "home" / "market.db")
    found = connection.execute("SELECT line, rule, source, raw FROM quarantine ORDER BY line").fetchall()
    connection.close()
    assert [(line, rule, Path(source).name) for line, rule, source, _ in found] == [
        (4, "high_too_low", "BTC-USD-1m.csv"),
        (8, "missing_field", "BTC-USD-1m.csv"),
        (12, "volume_negative", "BTC-USD-1m.csv"),
    ]
    assert "oops" in found[1][3]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("BTC-USD-1m.csv", "hello\nworld\n", "line 1"),
        ("BTC-USD-1m.csv", "", "empty"),
        ("notes.txt", "hello", "no file of bars by its name"),
        ("BTC-USD-1m.parquet", "PAR1", "damaged"),
        ("BTC-USD-1m.csv", files.plain_text(files.rows(3, start_ms=START_MS + 30_000)), "line 2: off_grid"),
        ("BTC-USD-1m.csv", files.plain_text(files.rows(3, start_ms=4_000_000_020_000)), "line 2: in_future"),
        (
            "BTC-USD-1m.csv",
            files.plain_text([(row[0], *[-9.0] * 5) for row in files.rows(3)]),
            "line 2: not_positive",
        ),
        (
            "BTC-USD-1m.csv",
            files.plain_text([(row[0], *[float("nan")] * 5) for row in files.rows(3)]),
            "missing_field",
        ),
        (
            "BTC-USD-1m.csv",
            files.plain_text([(row[0], 1.0, 2.0, 3.0, 2.0, 1.0) for row in files.rows(3)]),
            "low_too_high",
        ),
    ],
)
def test_a_single_file_of_nonsense_is_refused_with_file_line_and_reason(run, tmp_path, name, text, reason):
    path = files.written(tmp_path / name, text)
    refused = run("import-data", path, "--json")
    assert (refused.code, refused.out) == (1, "")
    assert reason in refused.err
    assert name in refused.err
    assert run("list-data", "--json").json == []


def test_a_broken_file_in_a_folder_is_reported_and_the_rest_goes_in(run, data):
    files.written(data / "SOL-USD-1m.parquet", "PAR1 not quite")
    files.written(data / "BTCUSDT-1m-2025-02.zip", "PK not quite")
    imported = run("import-data", data, "--json")
    assert imported.code == 1
    assert {Path(entry["file"]).name for entry in imported.json["failed"]} == {
        "SOL-USD-1m.parquet",
        "BTCUSDT-1m-2025-02.zip",
    }
    assert imported.json["rows_new"] == 228
    assert "2 files could not be used" in imported.err


def test_a_folder_without_bars_is_a_failure(run, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("import-data", empty).code == 1
    files.written(empty / "README.md", "nothing")
    refused = run("import-data", empty)
    assert refused.code == 1
    assert "no file under" in refused.err


@pytest.mark.parametrize(
    "arguments",
    [("nowhere",), (".", "--layout", "excel"), (".", "--timeframe", "3m"), (".", "--symbol", "BTCUSD")],
)
def test_wrong_use_is_told_from_wrong_data(run, arguments):
    assert run("import-data", *arguments).code == 2


# ------------------------------------------------------------------------------------------------ interruption


def test_an_interrupted_import_goes_on_where_it_stopped(run, tmp_path, monkeypatch):
    data = tmp_path / "data"
    for coin in ("AAA", "BBB", "CCC", "DDD"):
        files.written(data / f"{coin}-USD-1m.csv", files.plain_text(files.rows(60)))
    from crypto_tracker.market import import_files

    original, done = import_files.import_file, []

    def interrupted_at_the_third(file, *args, **kwargs):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(file.name)
        return original(file, *args, **kwargs)

    monkeypatch.setattr(import_files, "import_file", interrupted_at_the_third)
    stopped = run("import-data", data)
    assert stopped.code == 130
    assert "2 of 4 files are done" in stopped.err
    monkeypatch.setattr(import_files, "import_file", original)
    document = run("import-data", data, "--json").json
    assert (document["unchanged"], document["rows_new"]) == (2, 120)


# ----------------------------------------------------------------------------------------------- the real bars


@pytest.mark.market_data
def test_real_files_are_read_value_for_value(run, tmp_path, market_data):
    chosen = [
        ("bars/1d/AAVEUSDC-HLPERP.parquet", "hyperliquid", "AAVE/USDC:USDC", Timeframe.D1),
        ("bars/15m/kPEPEUSDC-HLPERP.parquet", "hyperliquid", "kPEPE/USDC:USDC", Timeframe.M15),
        ("events/2021-05-crash/bars/1m/DOGEUSDT.parquet", "file", "DOGE/USDT", Timeframe.M1),
        ("events/2020-03-covid/bars/1m/BTCUSDT.parquet", "file", "BTC/USDT", Timeframe.M1),
        ("bars/1h/BTCUSDT.parquet", "file", "BTC/USDT", Timeframe.H1),
    ]
    for name, *_ in chosen:
        assert run("import-data", market_data / name).code == 0
    # Read first: minutes cover a part of the hours, so hours are compared as they are stored.
    with BarReader.open(tmp_path / "home") as reader:
        known = {(str(info.symbol), info.timeframe): info for info in reader.series()}
        for name, provider, symbol, timeframe in chosen:
            source = pl.read_parquet(market_data / name)
            info = known[symbol, timeframe]
            assert (info.provider, info.rows) == (provider, len(source))
            rows = reader.rows(Symbol.parse(symbol), timeframe, info.start_ms, info.end_ms)
            assert (rows.open_time_ms == source["ts"].dt.epoch("ms").to_numpy()).all()
            for index, column in enumerate(("open", "high", "low", "close", "volume")):
                np.testing.assert_array_equal(rows.values[index], source[column].to_numpy())
        # The exchange was away on 2021-04-25 for 284 minutes; of 2020-02-19 the hours are known to be missing.
        doge = known["DOGE/USDT", Timeframe.M1]
        assert doge.gaps == 1
        assert doge.completeness == pytest.approx(1 - 284 / ((doge.end_ms - doge.start_ms) / 60_000))


@pytest.mark.market_data
def test_the_real_hours_made_of_minutes_equal_the_fetched_ones(run, tmp_path, market_data):
    """Minutes and hours of Bitcoin in 2025 were collected apart, and agree in all 8,760 hours."""
    run("import-data", market_data / "bars/1m/BTCUSDT.parquet")
    run("import-data", market_data / "bars/1h/BTCUSDT.parquet")
    bitcoin = Symbol.parse("BTC/USDT")
    with BarReader.open(tmp_path / "home") as reader:
        minutes = next(info for info in reader.series() if info.timeframe is Timeframe.M1)
        fetched = reader.rows(bitcoin, Timeframe.H1, minutes.start_ms, minutes.end_ms)
        made = reader.panel([bitcoin], Timeframe.H1, minutes.start_ms, minutes.end_ms)
        (span,) = reader.sources([bitcoin], Timeframe.H1, minutes.start_ms, minutes.end_ms)[bitcoin]
    assert (span.timeframe, span.tiers) == (Timeframe.M1, {"cold"})
    assert len(made) == 8_760
    np.testing.assert_array_equal(made.open_time_ms, fetched.open_time_ms)
    for index, name in enumerate(("open", "high", "low", "close")):
        np.testing.assert_array_equal(getattr(made, name)[:, 0], fetched.values[index])
    np.testing.assert_allclose(made.volume[:, 0], fetched.values[4], rtol=1e-9)
