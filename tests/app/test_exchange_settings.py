"""A user who writes another address into the settings of an exchange is connected there, and nowhere else."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crypto_tracker.app.cli.common import Session
from crypto_tracker.core.timeframes import MINUTE_MS, to_ms
from tests.app.conftest import run_command
from tests.servers.binance import BinanceServer
from tests.servers.coinbase import CoinbaseServer
from tests.servers.exchange import minutes
from tests.servers.kraken import KrakenServer
from tests.servers.kucoin import KucoinServer

NOW = datetime(2025, 5, 20, 13, 37, 20, tzinfo=UTC)
MINUTE_OF_NOW = to_ms(NOW) // MINUTE_MS * MINUTE_MS


@pytest.mark.parametrize("server_of", [KrakenServer, KucoinServer, CoinbaseServer, BinanceServer])
def test_addresses_in_the_settings_are_enough_for_bars_and_for_markets(
    server_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Session, "now", lambda _session: NOW)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    market = {"BTC/USDT": minutes(MINUTE_OF_NOW - 600 * MINUTE_MS, 601)}
    with server_of(market, now_ms=lambda: to_ms(NOW)).running() as server:
        assert list(json.loads(server.settings())) == ["urls"]
        home = tmp_path / "home"
        home.mkdir()
        (home / "config.toml").write_text(
            f"[market_data.exchanges.{server.name}]\n"
            f"requests_per_second = 1000.0\nsettings = '{server.settings()}'\n"
        )
        span = ("--timerange", "20250520T1000-20250520T1300")
        code, out, err = run_command(
            home, "download-data", "--provider", server.name, "-p", "BTC/USDT", "-i", "1m", *span, "--json"
        )
        assert code == 0, err
        assert [each["bars"] for each in json.loads(out)["series"]] == [180]
        code, out, err = run_command(
            home, "list-markets", "--provider", server.name, "-p", "BTC/USDT", "--json"
        )
        assert code == 0, err
        assert "BTC/USDT" in out
