"""What a replay wrote is read back as the backtest over the same bars tells it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.app.conftest import LIVELY, backtest, copied, run_command

SPAN = ("20250308T1200", "20250309T1200")  # a crash in the night


def told(home: Path, *arguments: str) -> Any:
    """The JSON document of a command that works."""
    code, out, err = run_command(home, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def replayed(market_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A home in which a day was replayed, and the backtest of that day."""
    home = copied(market_home, tmp_path_factory.mktemp("replayed") / "home")
    document = backtest(home, "--timerange", "-".join(SPAN), "-i", "1m", *LIVELY, "--record-scans")
    told(home, "trade", "--replay", "..".join(SPAN), *LIVELY)
    return home, document


def test_show_trades_tells_the_trades_of_the_backtest(replayed: tuple[Path, dict[str, Any]]):
    home, expected = replayed
    document = told(home, "show-trades")
    assert expected["n_trades"] > 0
    assert document["trades"] == expected["trades"]
    assert document["open_trades"] == expected["open_trades"]
    assert document["totals"]["win_rate"] == expected["win_rate"]
    assert document["totals"]["pnl_quote"] == pytest.approx(
        sum(t["pnl_quote"] for t in expected["trades"]), abs=1e-6
    )


def test_status_tells_the_figures_of_the_backtest(replayed: tuple[Path, dict[str, Any]]):
    home, expected = replayed
    document = told(home, "status")
    assert document["equity_quote"] == pytest.approx(expected["equity_final"], abs=1e-9)
    assert document["max_drawdown"] == pytest.approx(expected["max_drawdown"], abs=1e-12)
    assert document["progress"] == 1.0
    assert document["open_positions"] == expected["n_open"]


def test_decisions_count_what_the_backtest_counted(replayed: tuple[Path, dict[str, Any]]):
    home, expected = replayed
    document = told(home, "decisions")
    counted: dict[str, int] = {}
    for decided in document["decisions"]:
        counted[decided["verdict"]] = counted.get(decided["verdict"], 0) + 1
    assert counted["TAKE"] + counted["SKIP"] == expected["setups"]
    assert counted.get("NEAR_MISS", 0) == expected["near_misses"]
    scans = told(home, "decisions", "--all", "--timerange", f"{SPAN[0]}-20250308T1301")["decisions"]
    assert len(scans) == 4 * (12 + 4 + 4)  # 12 scans of DCA and 4 of the others in an hour, of 4 symbols


def test_explain_tells_what_the_account_answered(replayed: tuple[Path, dict[str, Any]]):
    home, _ = replayed
    document = told(home, "decisions", "--verdict", "TAKE", "--limit", "1")
    (decided,) = document["decisions"]
    at = decided["time"].removesuffix("Z")
    explained = told(home, "explain", decided["symbol"], "--at", at, "--account", document["account"])
    assert explained["configuration_version"] == document["configuration_version"]
    (answer,) = [each["portfolio"] for each in explained["strategies"] if each["name"] == decided["strategy"]]
    assert (answer["account"], answer["run_id"], answer["verdict"]) == (document["account"], None, "TAKE")
    assert answer["sentence"] == decided["sentence"]
    # Under the same configuration the account answers before the recorded run does.
    again = told(home, "explain", decided["symbol"], "--at", at, *LIVELY)
    assert again["strategies"] == explained["strategies"]
    code, out, _ = run_command(home, "explain", decided["symbol"], "--at", at, *LIVELY)
    assert code == 0
    assert f"portfolio (account {document['account']}): an order was placed" in " ".join(out.split())


def test_protection_tells_the_market_of_the_last_close(replayed: tuple[Path, dict[str, Any]]):
    home, _ = replayed
    market = told(home, "protection")["market"]
    assert market["reference"] == "BTC/USD"
    assert market["volatility"] is not None
    assert None not in market["returns"].values()
    assert market["condition"] in {"NONE", "SIDEWAYS", "FALLING", "RISING"}
    assert market["slow_regime"] in {"NEUTRAL", "CRASH", "UNKNOWN"}  # two months of days make no trend
