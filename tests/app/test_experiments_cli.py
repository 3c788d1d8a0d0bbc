"""`null-test`, `crash-report` and `backtest --stress`: what they say, refuse, and how they end."""

import json
import re
from pathlib import Path

import pytest

from tests.app.conftest import LIVELY, MARCH, Command, backtest

PEEKING = Path(__file__).parents[1] / "research" / "peeking.py"


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")


def assert_fits(text: str) -> None:
    """Nothing is cut at 80 columns."""
    assert "…" not in text
    assert longest_line(text) <= 80


def longest_line(text: str) -> int:
    return max(len(line.rstrip()) for line in text.splitlines())


# -------------------------------------------------------------------------------------------------- null-test


def test_the_null_test_brackets_the_strategies(tmp_path: Path, command: Command):
    code, out, err = command(
        tmp_path, "null-test", "--markets", "10", "--days", "4", "--workers", "1", "--json"
    )
    assert code == 0, err
    document = json.loads(out)
    assert (document["ok"], document["findings"], document["markets"]) == (True, [], 10)
    dca, swing, channel = document["strategies"]
    assert [each["strategy"] for each in (dca, swing, channel)] == ["DCA", "SWING", "CHANNEL"]
    assert dca["judged"]
    assert dca["pessimistic"]["gross_low"] <= 0.0 <= dca["optimistic"]["gross_high"]
    for figures in (dca["pessimistic"], dca["optimistic"]):
        costs = figures["fees"] + figures["slippage"]
        assert figures["net"] == pytest.approx(figures["gross"] - costs, abs=1e-12)
    assert list(tmp_path.iterdir()) == []  # it keeps nothing


@pytest.mark.usefixtures("narrow")
def test_the_null_test_catches_a_plug_in_that_cheats(tmp_path: Path, command: Command):
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "peeking.py").write_text(PEEKING.read_text())
    code, out, err = command(
        tmp_path, "null-test", "-s", "PEEKING", "--markets", "8", "--days", "2", "--workers", "1"
    )
    assert code == 3
    assert "NO" in out
    assert "PEEKING makes +" in err
    assert "it knows the future" in err
    assert_fits(out)


def test_a_strategy_that_hardly_trades_is_not_judged_and_once_is_enough_to_say_so(
    tmp_path: Path, command: Command
):
    code, out, err = command(
        tmp_path, "null-test", "-s", "CHANNEL", "--markets", "8", "--days", "2", "--workers", "1"
    )
    assert code == 1
    assert "too few" in out
    assert "It took " in out
    assert (out + err).count("ask for more --markets") == 1
    assert "nothing was proven" in err


def test_strategies_that_are_not_judged_beside_others_are_named_together(tmp_path: Path, command: Command):
    code, out, err = command(tmp_path, "null-test", "--markets", "8", "--days", "2", "--workers", "1")
    assert (code, err.strip()) == (0, "")
    assert "! SWING and CHANNEL traded in too few markets to be judged" in out


def test_markets_that_could_prove_nothing_are_not_even_made(tmp_path: Path, command: Command):
    code, out, err = command(tmp_path, "null-test", "--markets", "7")
    assert (code, out) == (2, "")
    assert "ask for --markets 8 or more, not 7" in " ".join(err.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--jumps", "sideways"), "--jumps 'sideways' is not one of traded, between, inside"),
        (("-i", "5m"), "--timeframe 5m can not be the base: choose 1m, 15m or 1h"),
        (("-s", "GUESS"), "no strategy is named GUESS"),
    ],
)
def test_a_null_test_of_what_there_is_not_is_refused(
    tmp_path: Path, command: Command, arguments: tuple[str, ...], said: str
):
    code, out, err = command(tmp_path, "null-test", "--markets", "8", *arguments)
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())


@pytest.mark.nightly
def test_processes_beside_this_one_give_the_same_figures(tmp_path: Path, command: Command):
    alone, beside = (
        command(tmp_path, "null-test", "--markets", "8", "--days", "3", "--workers", workers, "--json")
        for workers in ("1", "2")
    )
    assert alone[0] == beside[0] == 0
    assert json.loads(alone[1])["strategies"] == json.loads(beside[1])["strategies"]


# ----------------------------------------------------------------------------------------------- crash-report


def test_the_crash_of_the_store_is_found_and_traded_without_each_protection(home: Path, command: Command):
    code, out, err = command(
        home,
        "crash-report",
        "--timerange",
        "20250305-20250314",
        "--depth",
        "0.09",
        "--synthetic",
        "0",
        "--json",
    )
    assert code == 0, err
    document = json.loads(out)
    crash = max(document["crashes"], key=lambda each: each["depth"])
    assert (crash["class"], crash["source"], crash["base"]) == ("FLASH_CRASH", "stored", "1m")
    assert crash["peak"] < "2025-03-09T03:00:00Z" < crash["trough"] + "Z" < "2025-03-09T05:00:00Z"
    assert crash["symbols"] == ["BTC/USD", "ETH/USD", "PEPE/USD", "SOL/USD"]
    protected, *others = crash["runs"]
    assert protected["without"] == "all"
    assert [run["without"] for run in others] == [each["name"] for each in document["protections"]["stored"]]
    for run in others:
        assert run["gain_of_protection"] == pytest.approx(
            protected["return_net"] - run["return_net"], abs=1e-15
        )
        assert run["acted"] or run["gain_of_protection"] == 0.0
    assert any(run["acted"] for run in others)
    assert document["protections"]["synthetic"] == []


@pytest.mark.usefixtures("narrow")
def test_people_get_one_line_for_each_crash_and_each_protection(home: Path, command: Command):
    code, out, err = command(
        home,
        "crash-report",
        "--timerange",
        "20250305-20250314",
        "--synthetic",
        "0",
        "--details",
        "-p",
        "ETH/USD",
    )
    assert code == 0, err
    assert "stored crash" in out
    assert not re.search(r"[a-z]-(\s|$)", out)  # no header is hyphenated
    assert "2025-03-0" in out
    for name in (
        "panic",
        "cancelled_rungs",
        "day_loss",
        "cooldown",
        "stop_widening",
        "trailing",
        "slow_regime",
    ):
        assert name in out
    assert_fits(out)


def test_a_calm_span_has_no_crash_and_says_so(home: Path, command: Command):
    arguments = ("--timerange", "20250301-20250303", "--depth", "0.3", "--synthetic", "0")
    code, out, err = command(home, "crash-report", *arguments)
    assert code == 0, err
    assert "BTC/USD has no fall of 30 % within 24 h on 1m" in out


def test_a_home_without_bars_has_synthetic_crashes_only(tmp_path: Path, command: Command):
    code, _, err = command(tmp_path / "none", "crash-report", "--synthetic", "0")
    assert code == 1
    assert "there are no bars in" in err
    code, out, err = command(tmp_path / "none", "crash-report", "--synthetic", "1", "--days", "0.5", "--json")
    assert code == 0, err
    (crash,) = json.loads(out)["crashes"]
    assert (crash["source"], crash["where"], crash["class"]) == ("synthetic", "seed 1", "FLASH_CRASH")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-i", "5m"), 2, "--timeframe 5m can not be the base: choose 1m, 15m or 1h"),
        (("--set", "trading.reference=XRP"), 1, "the reference coin XRP has no 1m, 15m or 1h bars"),
        (("--set", "trading.reference=ADA", "-i", "1m"), 1, "the reference coin ADA has no 1m bars"),
    ],
)
def test_crashes_of_what_there_is_not_are_refused(
    home: Path, command: Command, arguments: tuple[str, ...], code: int, said: str
):
    ended, _, err = command(home, "crash-report", "--synthetic", "0", *arguments)
    assert ended == code
    assert said in " ".join(err.split())


# ------------------------------------------------------------------------------------------ backtest --stress


def test_a_stressed_backtest_holds_its_runs_and_is_otherwise_the_same(home: Path):
    plain = backtest(home, *MARCH, *LIVELY)
    pressed = backtest(home, *MARCH, *LIVELY, "--stress", "--stress-seed", "5")
    runs = {run["name"]: run for run in pressed["stress"]["runs"]}
    base = runs["as configured"]
    assert len(runs) == 8
    assert base["return_net"] == pytest.approx(plain["return_net"], abs=1e-12)
    assert base["trades"] == plain["n_trades"]
    assert base["max_drawdown"] == pytest.approx(plain["max_drawdown"], abs=1e-12)
    assert base["win_rate"] == plain["win_rate"]
    assert base["profit_factor"] == plain["profit_factor"]
    assert pressed["stress"]["rules"]["seed"] == 5
    assert pressed["trades"] == plain["trades"]
    assert runs["costs x 2"]["return_net"] < base["return_net"]


@pytest.mark.usefixtures("narrow")
def test_people_see_what_survives(home: Path, command: Command):
    code, out, err = command(home, "backtest", "--timerange", "20250301-20250306", "--stress")
    assert code == 0, err
    assert "The same run under worse assumptions" in out
    assert "all together" in out
    assert_fits(out[out.index("The same run under") :])
