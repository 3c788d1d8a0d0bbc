"""BTC, ETH and SUI in August 2025, real minutes, through the command line: what holds whatever came of it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto_tracker.core.timeframes import to_ms
from tests.app.books import Document, assert_the_books_balance, recorded_scans
from tests.app.conftest import backtest, run_command

pytestmark = pytest.mark.market_data

PAIRS = ("--pairs", "BTC/USDT,ETH/USDT,SUI/USDT")
AUGUST = ("--timerange", "20250801-20250901", *PAIRS)


@pytest.fixture(scope="module")
def august(market_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Document]:
    """The home with the minutes of 2025 imported, and the backtest of August."""
    home = tmp_path_factory.mktemp("real") / "home"
    code, out, err = run_command(home, "import-data", str(market_data / "bars" / "1m"), "--json")
    assert code == 0, err
    assert json.loads(out)["symbols"] == 3
    return home, backtest(home, *AUGUST, "--record-scans")


def test_august_is_whole_and_its_books_balance(august: tuple[Path, Document]):
    _, document = august
    assert document["bars"] == 3 * 31 * 1440
    assert (document["base"], document["reference"]) == ("1m", "BTC/USDT")
    assert document["start"] == "2025-08-01T00:00:00Z"
    assert document["end"] == "2025-09-01T00:00:00Z"
    assert not any("SYNTHETIC" in note for note in document["notes"])
    assert document["n_trades"] > 0
    assert_the_books_balance(document)


def test_what_is_found_in_mid_august_does_not_depend_on_the_span(august: tuple[Path, Document]):
    home, document = august
    part = backtest(home, "--timerange", "20250810-20250820", *PAIRS, "--record-scans")
    start, end = (to_ms(datetime(2025, 8, day, tzinfo=UTC)) for day in (10, 20))
    found = recorded_scans(home, part["run_id"])
    assert found
    assert found == recorded_scans(home, document["run_id"], since=start, until=end)
    assert_the_books_balance(part)


def test_the_same_run_again_gives_the_same_trades(august: tuple[Path, Document]):
    home, document = august
    again = backtest(home, *AUGUST)
    assert again["trades"] == document["trades"]
    assert again["equity_final"] == document["equity_final"]


@pytest.mark.parametrize("mode", ["adaptive", "optimistic"])
def test_the_order_within_a_bar_changes_trades_but_not_what_is_found(
    august: tuple[Path, Document], mode: str
):
    home, document = august
    other = backtest(home, *AUGUST, "--set", f"fills.intrabar={mode}")
    assert other["scans"] == document["scans"]
    assert other["setups"] == document["setups"]
    assert_the_books_balance(other)


def test_every_trade_can_be_explained(august: tuple[Path, Document]):
    home, document = august
    for trade in document["trades"][:: max(1, len(document["trades"]) // 4)]:
        at = trade["decision_time"].removesuffix("Z")
        code, out, err = run_command(home, "explain", trade["symbol"], "--at", at, "--json")
        assert code == 0, err
        (told,) = [each for each in json.loads(out)["strategies"] if each["name"] == trade["strategy"]]
        assert (told["verdict"], told["reason"], told["stopped_by"]) == ("TAKE", "accepted", None)
        assert told["portfolio"]["sentence"] == "an order was placed"
