"""Without any key: `download-data` asks an exchange, and says what an exchange does not have."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.app.cli.common import Session
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms, to_ms
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.reader import BarReader
from tests.app.conftest import run_command
from tests.servers.exchange import Fault, minutes
from tests.servers.kraken import KrakenServer
from tests.servers.massive_rest import KEY, massive_rest

BTC = Symbol("BTC", "USD")
NOW = datetime(2025, 5, 20, 13, 37, 20, tzinfo=UTC)
MINUTE_OF_NOW = to_ms(NOW) // MINUTE_MS * MINUTE_MS


def one_hour() -> BarBatch:
    """A minute of yesterday."""
    price = np.array([100.0])
    times = np.array([to_ms(NOW) // DAY_MS * DAY_MS - DAY_MS + 30 * MINUTE_MS], dtype=np.int64)
    return BarBatch(open_time_ms=times, open=price, high=price, low=price, close=price, volume=price)


def test_an_exchange_gives_what_it_has_and_the_rest_is_said_to_be_out_of_its_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Session, "now", lambda _session: NOW)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("MASSIVE_API_KEY", "POLYGON_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    bars = minutes(MINUTE_OF_NOW - 2 * DAY_MS, 2 * 1_440 + 1)
    with KrakenServer({"BTC/USD": bars}, now_ms=lambda: to_ms(NOW)).running() as server:
        home = tmp_path / "home"
        home.mkdir()
        (home / "config.toml").write_text(
            "[market_data.exchanges.kraken]\n"
            f"requests_per_second = 1000.0\ntrades_hours = 0.0\nsettings = '{server.settings()}'\n"
        )
        asked = ("download-data", "--pairs", "BTC/USD,NONE/USD", "-i", "1m,1h", "--days", "2", "--json")
        code, out, err = run_command(home, *asked)
        assert code == 1
        assert "kraken does not have NONE/USD" in err
        told = json.loads(out)
        assert told["provider"] == "kraken"
        assert told["inactive"] == {"NONE/USD": "kraken does not have it"}
        got = {each["timeframe"]: each["bars"] for each in told["series"]}
        assert 718 <= got["1m"] <= 719  # of 720 the last is still open
        assert got["1h"] == 2 * 24
        lacking = [each for each in told["missing"] if each["cause"] == "lacking"]
        assert {each["timeframe"] for each in lacking} >= {"1m"}
        assert all("720" in each["reason"] for each in lacking if each["timeframe"] == "1m")
        with BarReader.open(home) as reader:
            known = reader.coverage("kraken", BTC, Timeframe.M1)
        assert from_ms(int(known[-1, 1])) == from_ms(MINUTE_OF_NOW)

        asked_before = len([path for path, _ in server.requests if path.endswith("OHLC")])
        code, out, err = run_command(home, *asked)
        assert code == 1
        assert "kraken does not have NONE/USD" in err
        assert json.loads(out)["new"] == 0
        assert len([path for path, _ in server.requests if path.endswith("OHLC")]) == asked_before


@pytest.fixture
def exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, KrakenServer]]:
    """A home whose provider is a local Kraken, and whose history is Massive."""
    monkeypatch.setattr(Session, "now", lambda _session: NOW)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("MASSIVE_API_KEY", "POLYGON_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    bars = minutes(MINUTE_OF_NOW - 2 * DAY_MS, 2 * 1_440 + 1)
    home = tmp_path / "home"
    home.mkdir()
    with KrakenServer({"BTC/USD": bars}, now_ms=lambda: to_ms(NOW)).running() as server:
        (home / "config.toml").write_text(
            '[market_data]\nprovider = "kraken"\nhistory = "massive"\n'
            "[market_data.fetching]\nwait_seconds = 0.01\nattempts = 3\n"
            "[market_data.exchanges.kraken]\n"
            f"requests_per_second = 1000.0\ntrades_hours = 24.0\nsettings = '{server.settings()}'\n"
        )
        yield home, server


def massive_at(url: str) -> tuple[str, ...]:
    return (
        "--set", f"market_data.massive.rest_url={url}",
        "--set", "market_data.massive.plan=free",
        "--set", "market_data.massive.free_requests_per_minute=60000",
    )  # fmt: skip


def test_without_a_name_bars_come_from_who_trades_and_then_from_the_history(
    exchange: tuple[Path, KrakenServer], monkeypatch: pytest.MonkeyPatch
):
    home, _ = exchange
    monkeypatch.setenv("MASSIVE_API_KEY", KEY)
    with massive_rest({BTC: one_hour()}) as massive:
        asked = ("download-data", "--pairs", "BTC/USD", "-i", "1h", "--days", "2", *massive_at(massive.url))
        code, _, err = run_command(home, *asked)
        assert code == 0, err
        told = [line for line in err.splitlines() if "rom " in line or "allows" in line]
        assert [line.split(":")[0].split(",")[0] for line in told] == [
            "From kraken",
            "48 bars from kraken",
            "From massive",
            "The plan allows 60000 requests a minute",
            "1 bar from massive",
        ]
        documents = json.loads(run_command(home, *asked, "--json")[1])["providers"]
        assert [each["provider"] for each in documents] == ["kraken", "massive"]
        code, _, err = run_command(home, "heal-gaps", "-i", "1h", *massive_at(massive.url))
        assert code == 0, err
        assert "Nothing of kraken is unknown." in err
        assert "Nothing of massive is unknown." in err


def test_a_history_without_its_key_is_named_and_the_exchange_gives_what_it_has(
    exchange: tuple[Path, KrakenServer],
):
    home, _ = exchange
    code, _, err = run_command(home, "download-data", "--pairs", "BTC/USD", "-i", "1h", "--days", "1")
    assert code == 1
    lines = err.splitlines()
    assert lines[0].startswith("Nothing comes from massive: massive needs a key: set MASSIVE_API_KEY")
    assert any(line.startswith("37 bars from kraken, 37 of them new") for line in lines)
    assert lines[-1] == "nothing came from massive, as was said above"


def test_nobody_at_the_other_end_is_said_in_one_sentence_and_while_it_is_tried(
    exchange: tuple[Path, KrakenServer],
):
    home, server = exchange
    closed = home / "config.toml"
    closed.write_text(closed.read_text().replace(server.url, "http://127.0.0.1:1"))
    for command in (
        ("download-data", "--pairs", "BTC/USD", "--days", "1"),
        ("list-markets",),
        ("select-pairs",),
    ):
        code, out, err = run_command(home, *command, "--provider", "kraken")
        assert (code, out) == (1, "")
        refused = "kraken cannot be reached at 127.0.0.1:1: connection refused"
        assert err.splitlines() == [
            f"{refused}; attempt 2 of 3 at once",
            f"{refused}; attempt 3 of 3 at once",
            f"{refused}; all 3 attempts failed, try again later",
        ]


def test_too_many_requests_are_said_without_what_the_exchange_wrote(exchange: tuple[Path, KrakenServer]):
    home, server = exchange
    server.faults += [Fault(path="/OHLC", status=429, body="<html>slow down</html>")] * 3
    code, out, err = run_command(
        home, "download-data", "--pairs", "BTC/USD", "-i", "1h", "--days", "1", "--provider", "kraken"
    )
    assert code == 1
    assert "Failed: kraken was asked too often; all 3 attempts failed, try again later" in out
    assert "kraken was asked too often; attempt 2 of 3 at once" in err
    assert "html" not in out + err


def test_where_neither_candles_nor_trades_reach_that_is_the_reason(exchange: tuple[Path, KrakenServer]):
    home, _ = exchange
    code, out, err = run_command(
        home,
        "download-data",
        "--pairs",
        "BTC/USD",
        "-i",
        "1m",
        "--days",
        "1",
        "--provider",
        "kraken",
        "--json",
    )
    assert code == 0, err
    reasons = {each["reason"] for each in json.loads(out)["missing"]}
    assert not any("not published" in reason for reason in reasons)
    assert any(reason.startswith("kraken gave no trades of BTC/USD that tell of it") for reason in reasons)
