"""Without any key: `download-data` asks an exchange, and says what an exchange does not have."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto_tracker.app.cli.common import Session
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms, to_ms
from crypto_tracker.store.reader import BarReader
from tests.app.conftest import run_command
from tests.servers.exchange import minutes
from tests.servers.kraken import KrakenServer

BTC = Symbol("BTC", "USD")
NOW = datetime(2025, 5, 20, 13, 37, 20, tzinfo=UTC)
MINUTE_OF_NOW = to_ms(NOW) // MINUTE_MS * MINUTE_MS


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
