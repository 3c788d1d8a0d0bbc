"""`optimize` on a synthetic market: what it shows, what it remembers, and what it refuses."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from crypto_tracker.app.cli.common import Session
from crypto_tracker.app.cli.main import build
from crypto_tracker.app.optimizing import Asked, recommended_file, run
from crypto_tracker.config.versions import version
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.research.optimize.evidence import Check
from crypto_tracker.store.trials import Trial, TrialStore
from tests.app.books import Document
from tests.app.conftest import MARCH, backtest, copied, run_command

DROPS = (
    "--space",
    "strategies.DCA.drop.large_cap=0.01:0.03:0.01",
    "--space",
    "limits.min_confidence=0.3,0.45",
)
SEARCH = (
    *MARCH,
    "--pairs", "BTC/USD,ETH/USD",
    *DROPS,
    "--windows", "2",
    "--min-trades", "1",
    "--workers", "1",
)  # fmt: skip


def optimized(home: Path, *arguments: str) -> Document:
    code, out, err = run_command(home, "optimize", *arguments, "--json")
    assert code == 0, err
    document: Document = json.loads(out)
    return document


def trials(home: Path) -> list[Trial]:
    store = TrialStore.open(home)
    try:
        return store.trials()
    finally:
        store.close()


@pytest.fixture(scope="module")
def searched(market_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Document]:
    """A search of half a month, and the home that remembers it."""
    home = copied(market_home, tmp_path_factory.mktemp("searched") / "home")
    return home, optimized(home, *SEARCH)


def test_a_search_says_what_it_tried_and_judges_it(searched):
    _, document = searched
    # three drops times two confidences, and the current configuration
    assert document["tried"] == 7
    assert document["synthetic"]
    assert any("SYNTHETIC" in note for note in document["notes"])
    assert any("the slow regime is UNKNOWN" in note for note in document["notes"])
    assert [window["out_of_sample"]["end"] for window in document["windows"]] == [
        window["out_of_sample"]["start"] for window in document["windows"][1:]
    ] + ["2025-03-16T00:00:00Z"]
    days = document["out_of_sample"]["days"]
    assert days == len(document["out_of_sample"]["chosen_returns"])
    assert document["out_of_sample"]["trades"] == sum(
        window["chosen_out_of_sample"]["trades"] for window in document["windows"]
    )
    assert not document["recommended"]
    assert document["recommendation"] is None
    assert document["verdict"].startswith("Not recommended: ")
    failed = [check["name"] for check in document["checks"] if not check["passed"]]
    assert "deflated_sharpe" in failed
    assert document["verdict"].count("; ") == len(failed) - 1
    assert set(document["parameters"]) == {"strategies.DCA.drop.large_cap", "limits.min_confidence"}
    assert all(len(each["chosen"]) == 3 for each in document["parameters"].values())


def test_what_each_window_chose_is_the_best_of_its_days_in_sample(searched):
    home, document = searched
    current = document["current_version"]
    for window in document["windows"]:
        chosen = window["chosen_in_sample"]["sharpe"]
        assert chosen >= window["current_in_sample"]["sharpe"]
        if window["chosen"]["configuration_version"] == current:
            assert window["chosen_out_of_sample"] == window["current_out_of_sample"]
    # and its days out of sample are those of a backtest of these days alone
    first = document["windows"][0]
    start, end = (
        first["out_of_sample"][side][:16].replace("-", "").replace(":", "") for side in ("start", "end")
    )
    settings = [part for assignment in first["chosen"]["assignments"] for part in ("--set", assignment)]
    alone = backtest(
        copied(home, home.parent / "alone"),
        "--timerange", f"{start}-{end}", "--pairs", "BTC/USD,ETH/USD", "--close-at-end", *settings,
    )  # fmt: skip
    assert alone["return_net"] == pytest.approx(first["chosen_out_of_sample"]["return"], abs=1e-12)
    assert alone["n_trades"] == first["chosen_out_of_sample"]["trades"]


def test_every_configuration_is_remembered_once_however_often_it_runs(searched):
    home, document = searched
    before = trials(home)
    assert len(before) == document["trials_remembered"] == 7
    assert {trial.source for trial in before} == {"optimize"}
    assert {trial.days for trial in before} == {15}
    again = optimized(home, *SEARCH)
    assert again["trials_remembered"] == 7
    assert trials(home) == before
    same = {key: value for key, value in again.items() if key != "seconds"}
    assert same == document


def test_a_backtest_of_the_span_is_the_same_trial_with_the_same_figures(searched):
    home, document = searched
    before = trials(home)
    backtest(home, *MARCH, "--pairs", "BTC/USD,ETH/USD", "--close-at-end")
    after = trials(home)
    assert len(after) == len(before)
    for old, new in zip(before, after, strict=True):
        assert new == replace(old, sharpe=new.sharpe)
        assert new.sharpe == pytest.approx(old.sharpe, rel=1e-12)
    assert document["current_version"] in {trial.configuration_version for trial in after}


def test_trials_of_other_searches_count_against_this_one(searched, tmp_path):
    home = copied(searched[0], tmp_path / "home")
    more = ("--method", "random", "--trials", "5", "--space", "strategies.DCA.drop.mid_cap=0.02:0.05")
    wider = optimized(home, *SEARCH[:4], *SEARCH[8:], *more)
    # the current configuration is one of both searches
    assert wider["tried"] == 6
    assert wider["trials_remembered"] == 7 + 5


@pytest.mark.parametrize(
    ("method", "workers"),
    [("random", "1"), ("optuna", "1"), pytest.param("optuna", "2", marks=pytest.mark.nightly)],
)
def test_a_search_with_a_seed_repeats_itself_however_many_work(home, method, workers):
    arguments = [
        *SEARCH[:4], "--space", "strategies.DCA.drop.large_cap=0.01:0.05", "--windows", "2", "--min-trades", "1",
        "--method", method, "--trials", "3", "--seed", "7", "--strategy", "dca",
    ]  # fmt: skip
    one = optimized(home, *arguments, "--workers", "1")
    assert optimized(home, *arguments, "--workers", workers) == one
    assert (one["method"], one["seed"]) == (method, 7)
    assert 4 <= one["tried"] <= 1 + 3 * 3  # of optuna three for each window and for the latest days
    assert one["trials_remembered"] == one["tried"]


@pytest.mark.parametrize("width", ["80", "100"])
def test_people_see_windows_parameters_evidence_and_the_memory_of_trials(searched, monkeypatch, width):
    home, document = searched
    monkeypatch.setenv("COLUMNS", width)
    code, out, err = run_command(home, "optimize", *SEARCH, "--write", str(home / "better.toml"))
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= int(width)
    for words in (
        "Optimize  2025-03-01 00:00 to 2025-03-16 00:00 UTC, 1m bars",
        "and 6 others (grid, seed 1)",
        "SYNTHETIC bars",
        "strategies.DCA.drop.large_cap",
        "configurations tried on overlapping spans with a common symbol",
        "Deflated Sharpe ratio out of sample",
        "Not recommended: ",
        "better.toml was not written.",
    ):
        assert words in out.replace("\n", " ").replace("  ", " ") or words in out, words
    assert not (home / "better.toml").exists()
    assert f"The best of {document['trials_remembered']} configurations tried on" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to search: name parameters with --space"),
        (("--space", "limits.max_opne=1,2"), "did you mean limits.max_open?"),
        (("--space", "trading.quote=USD,EUR"), "changes which bars or books are read"),
        (
            ("--space", "limits.max_open=1:9", "--method", "guess"),
            "--method guess: there are grid, random, optuna",
        ),
        (("--space", "limits.max_open=1:9", "--objective", "luck"), "--objective luck: there are sharpe"),
        (
            ("--space", "limits.max_open=1:9", "--trials", "3"),
            "the grid has 9 parameter sets, more than --trials 3",
        ),
        (("--space", "limits.max_open=1:9", "--windows", "60"), "15 days make no windows of"),
        (("--space", "limits.max_open=1:9", "--write", "."), "--write . exists already"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence_before_anything_runs(market_home, arguments, words):
    code, out, err = run_command(
        market_home, "optimize", *MARCH, "--pairs", "BTC/USD", "--workers", "1", *arguments
    )
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_search_that_changes_nothing_says_so_and_measures_no_lead(searched, tmp_path):
    home = copied(searched[0], tmp_path / "home")
    nothing = (*SEARCH, "--min-trades", "1000")  # of which no window has so many
    document = optimized(home, *nothing)
    assert {window["chosen"]["configuration_version"] for window in document["windows"]} == {
        document["current_version"]
    }
    assert document["kept_current"]
    assert not document["recommended"]
    assert document["out_of_sample"]["lead_daily"] is None
    assert {check["name"]: check["measured"] for check in document["checks"]}["lead"] is None
    code, out, _ = run_command(home, "optimize", *nothing)
    words = " ".join(out.split())
    assert code == 0
    assert words.endswith(
        "Nothing to recommend: the search chose the current configuration in every window, "
        "the latest included."
    )
    assert "Lead over the current" not in words
    assert "Nothing else was chosen: trades and Sharpe ratio are those of the current" in words


def test_nothing_of_a_search_stays_in_the_home_but_its_trials(searched):
    home, _ = searched
    assert not [path for path in home.iterdir() if path.name.startswith("optimize-")]


def asked(*space: str) -> Asked:
    return Asked(
        space=space,
        method="grid",
        trials=None,
        seed=1,
        objective="sharpe",
        trades_min=1,
        windows=2,
        in_sample_days=None,
        out_of_sample_days=None,
        only=(),
        pairs=("BTC/USD",),
        timeframe="1h",
        provider=None,
        start_ms=1_740_787_200_000,
        end_ms=1_742_083_200_000,
        workers=1,
    )


def test_the_file_that_is_written_makes_the_very_configuration_that_was_measured(home, tmp_path):
    (home / "config.toml").write_text(
        '[trading]\ncapital_quote = 5000.0\n[limits.shares]\nDCA = 0.35\n[instruments."BTC/USD"]\ntick = 0.5\n'
    )

    def session(config: Path | None = None, *assignments: str) -> Session:
        return Session(home=home, config_path=config, assignments=assignments, environment={})

    ours = session(None, "limits.min_confidence=0.5", 'universe.symbols=["BTC/USD", "ETH/USD"]')
    found = run(
        ours,
        asked("strategies.DCA.levels=2,4", "sizing.mode=adaptive,fixed_fraction"),
        progress=lambda *_: None,
    )
    point = [
        each
        for each in found.result.candidates.everything
        if each.assignments == ("strategies.DCA.levels=4", "sizing.mode=adaptive")
    ]
    chosen = replace(found, result=replace(found.result, proposal=point[0]))
    path = tmp_path / "better.toml"
    path.write_text(recommended_file(ours, chosen))
    read = session(path)
    assert version(read.configuration) == point[0].version
    assert read.configuration.trading.capital_quote == 5000
    assert read.configuration.universe.symbols == (Symbol.parse("BTC/USD"), Symbol.parse("ETH/USD")) or [
        str(symbol) for symbol in read.configuration.universe.symbols
    ] == ["BTC/USD", "ETH/USD"]
    assert "taker_fee" not in path.read_text()  # whatever has its default is not named


def test_a_recommendation_is_printed_and_written(searched, tmp_path, monkeypatch):
    home, _ = searched
    copy = copied(home, tmp_path / "home")
    passed = Check(name="trades", measured=40.0, required=30.0, passed=True, sentence="")
    monkeypatch.setattr(
        "crypto_tracker.research.optimize.evidence._checks", lambda *_arguments, **_settings: (passed,)
    )
    path = tmp_path / "better.toml"
    code, out, err = run_command(copy, "optimize", *SEARCH, "--write", str(path))
    assert code == 0, err
    assert "Recommended: every check is passed." in out
    assert path.is_file()
    document = optimized(copy, *SEARCH)
    assert document["recommended"]
    for assignment in document["recommendation"]:
        assert assignment in out
        assert assignment in path.read_text()
    before = (copy / "config.toml").exists()
    code, _, err = run_command(copy, "optimize", *SEARCH, "--write", str(path))
    assert (code, before) == (2, False)
    assert "exists already" in err
    assert run_command(copy, "--config", str(path), "show-config")[0] == 0


@pytest.mark.nightly
def test_a_strategy_of_the_home_is_searched_in_processes_too(home):
    assert run_command(home, "new-strategy", "MYOWN")[0] == 0
    document = optimized(
        home,
        *SEARCH[:4],
        "--strategy", "MYOWN",
        "--space", "strategies.MYOWN.volume_factor=1.0,2.5",
        "--set", "limits.shares.DCA=0.1",
        "--set", "limits.shares.MYOWN=0.3",
        "--windows", "2", "--min-trades", "1", "--workers", "2",
    )  # fmt: skip
    assert document["tried"] == 3
    assert document["out_of_sample"]["trades"] > 0


def test_ctrl_c_ends_the_workers_and_what_was_finished_is_remembered(home):
    command = [
        sys.executable, "-m", "crypto_tracker", "--home", str(home), "optimize", *SEARCH[:4],
        "--space", "strategies.DCA.drop.large_cap=0.01:0.05:0.00005", "--trials", "1000", "--windows", "2",
        "--workers", "2",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 600
        while remembered(home) < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the parent and its workers
        out, err = process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, err
    assert out == ""
    assert "Interrupted." in err
    assert "Traceback" not in err
    assert all_gone(process.pid)
    assert 2 <= remembered(home) < 801
    assert not [path for path in home.iterdir() if path.name.startswith("optimize-")]


def all_gone(group: int) -> bool:
    """Whether every process of a group ends within a moment; multiprocessing's own helper is the last."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.nightly
@pytest.mark.market_data
def test_a_search_on_real_minutes_is_refused_and_its_windows_are_backtests(market_data, tmp_path):
    home = tmp_path / "home"
    code, _, err = run_command(home, "import-data", str(market_data / "bars" / "1m"), "--json")
    assert code == 0, err
    pairs = ("--pairs", "BTC/USDT,ETH/USDT,SUI/USDT")
    document = optimized(
        home, "--timerange", "20250701-20250901", *pairs,
        "--space", "strategies.DCA.drop.mid_cap=0.03:0.05:0.01", "--space", "limits.min_confidence=0.45,0.6",
        "--windows", "2", "--min-trades", "5",
    )  # fmt: skip
    assert not document["recommended"]
    assert not document["synthetic"]
    assert document["out_of_sample"]["trades"] > 10
    for window in document["windows"]:
        first, last = (window["out_of_sample"][side][:10].replace("-", "") for side in ("start", "end"))
        for which, given in (("current", []), ("chosen", window["chosen"]["assignments"])):
            settings = [part for assignment in given for part in ("--set", assignment)]
            alone = backtest(home, "--timerange", f"{first}-{last}", *pairs, "--close-at-end", *settings)
            assert alone["return_net"] == pytest.approx(window[f"{which}_out_of_sample"]["return"], abs=1e-12)
            assert alone["n_trades"] == window[f"{which}_out_of_sample"]["trades"]


def remembered(home: Path) -> int:
    """How many trials are in the file, read as anybody might while others write."""
    path = home / "research.db"
    if not path.is_file():
        return 0
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=120)
    try:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'trials'").fetchall()
        number = connection.execute("SELECT count(*) FROM trials").fetchone()[0] if tables else 0
    finally:
        connection.close()
    return int(number)


def test_the_help_names_every_objective_and_method():
    assert build() is not None
    code, out, _ = run_command(Path(), "optimize", "--help")
    assert code == 0
    for word in (
        "grid, random or optuna",
        "sharpe, sortino, return, calmar, omega, sqn",
        "--space",
        "--write",
    ):
        assert word in " ".join(out.split())
