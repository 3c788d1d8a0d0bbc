"""What a replay wrote is read back as the backtest over the same bars tells it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe, to_ms
from crypto_tracker.store.reader import BarReader
from tests.app.conftest import LIVELY, MINUTE_COINS, backtest, copied, run_command

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


def test_protection_counts_the_symbols_that_rose_in_a_day(replayed: tuple[Path, dict[str, Any]]):
    home, _ = replayed
    now, before = to_ms(datetime(2025, 3, 9, 12, tzinfo=UTC)), to_ms(datetime(2025, 3, 8, 12, tzinfo=UTC))
    coins = [Symbol(base, "USD") for base in MINUTE_COINS]
    with BarReader.open(home) as reader:
        closes = [
            reader.panel(coins, Timeframe.M1, time_ms - MINUTE_MS, time_ms, provider="synthetic").close[0]
            for time_ms in (now, before)
        ]
    risen = int((closes[0] > closes[1]).sum())
    assert told(home, "protection")["market"]["breadth"] == {"rising": risen, "symbols": 4}
    code, out, _ = run_command(home, "protection")
    assert code == 0
    assert f"{risen} of 4 symbols stand above their price of 24 h ago" in " ".join(out.split())
