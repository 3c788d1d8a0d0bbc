"""`up` on a local Kraken: bars come in, the trader opens its account, and both survive what happens to them."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from crypto_tracker.store.collectors import Standing, collectors
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.reader import DATABASE_NAME
from crypto_tracker.store.trading_journal import TradingJournal
from tests.market.massive_world import massive_world
from tests.servers import massive_stream as massive_market
from tests.servers.exchange import MINUTE_MS, minutes
from tests.servers.kraken import KrakenServer

PATIENCE_SECONDS = 600  # a first start compiles
KEPT_MINUTES = 3 * 1440


def free_port() -> int:
    """A port that nobody listens on, of those which the system gives to nobody that asks for any."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Up:
    """The running command, with what it says."""

    def __init__(self, home: Path, config: Path, *arguments: str, key: str = "") -> None:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_TRACKER_")
        } | ({"MASSIVE_API_KEY": key} if key else {})
        self.home = home
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "crypto_tracker", "--home", str(home), "--config", str(config)),
                *("up", *arguments),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def until(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not what():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)

    @property
    def said(self) -> str:
        return "\n".join(self.lines)

    def end(self, number: int = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_SECONDS)
        self._listener.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextmanager
def kraken() -> Iterator[KrakenServer]:
    """A Kraken of two coins with minutes of three days up to now, and for an hour to come."""
    start_ms = now_ms() // MINUTE_MS * MINUTE_MS - KEPT_MINUTES * MINUTE_MS
    market = {
        symbol: minutes(start_ms, KEPT_MINUTES + 60, price=price)
        for symbol, price in (("BTC/USD", 60_000.0), ("ETH/USD", 3_000.0))
    }
    server = KrakenServer(market, now_ms=now_ms)
    with server.running():
        yield server


@contextmanager
def candles_every(server: KrakenServer, seconds: float) -> Iterator[None]:
    """The exchange says how its candles stand, again and again."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(seconds):
            if server.sockets:
                for symbol, bars in server.market.items():
                    server.push_bars(symbol, [bar for bar in bars if bar.time_ms <= now_ms()][-1])

    thread = threading.Thread(target=tell)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def started(home: Path, server: KrakenServer) -> Iterator[Up]:
    config = home.parent / "config.toml"
    config.write_text(
        "[universe]\n"
        'symbols = ["BTC/USD", "ETH/USD", "NOSUCH/USD"]\n'
        f"[web]\nport = {free_port()}\n"
        "[market_data.exchanges.kraken]\n"
        "requests_per_second = 100\n"
        f"settings = '{server.settings()}'\n",
        encoding="utf-8",
    )
    up = Up(home, config)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.end(signal.SIGTERM)


def holder(home: Path) -> int | None:
    """The process that holds Kraken's stream."""
    if not (home / DATABASE_NAME).is_file():
        return None
    engine = open_engine(home / DATABASE_NAME, read_only=True)
    try:
        with engine.connect() as connection:
            return connection.exec_driver_sql("SELECT max(pid) FROM leases").scalar()
    finally:
        engine.dispose()


def is_live_since(home: Path, moment_ms: int) -> bool:
    """Whether the collector has said so after a moment."""
    (state,) = collectors(home)
    return state.state is Standing.LIVE and state.updated_at_ms > moment_ms


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_without_a_key_it_collects_trades_and_serves_the_page_restarts_what_dies_and_ends_in_order(
    tmp_path: Path,
):
    home = tmp_path / "home"
    with kraken() as server, candles_every(server, 0.5), started(home, server) as up:
        up.until(lambda: any("Account paper (paper) opened" in line for line in up.lines))
        assert any("NOSUCH/USD is inactive: kraken does not have it" in line for line in up.lines)
        up.until(
            lambda: any(
                line.startswith("web      page and API at") or "API alone at" in line for line in up.lines
            )
        )
        assert any("there is no token yet: `crypto-tracker tokens create" in line for line in up.lines)
        (address,) = re.findall(r" at (http://127\.0\.0\.1:\d+/)", up.said)
        up.until(
            lambda: (
                httpx.get(f"{address}api/v1/ping", trust_env=False, timeout=240.0).json()
                == {"status": "pong"}
            )
        )
        first = holder(home)
        assert first is not None
        killed_ms = now_ms()
        os.kill(first, signal.SIGKILL)
        up.until(lambda: any("was killed by signal 9; starts again" in line for line in up.lines))
        up.until(lambda: holder(home) not in {None, first})
        second = holder(home)
        up.until(lambda: is_live_since(home, killed_ms))
        assert up.end() == 130
        assert second is not None
        assert not is_running(second)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}api/v1/ping", trust_env=False)
    (state,) = collectors(home)
    assert state.state is Standing.STOPPED
    with TradingJournal.open(home / "accounts" / "paper") as journal:
        account = journal.account()
        session = journal.last_session()
    assert account is not None
    assert {str(symbol): account.providers[symbol] for symbol in account.symbols} == {
        "BTC/USD": "kraken",
        "ETH/USD": "kraken",
    }
    assert session is not None
    assert session.ended_at_ms is not None  # it was asked to end, and was not killed


def test_a_configuration_that_is_wrong_ends_it_with_its_exit_code(tmp_path: Path):
    config = tmp_path / "config.toml"
    config.write_text("[market_data.collector]\nproviders = ['krakn']\n", encoding="utf-8")
    up = Up(tmp_path / "home", config)
    assert up.process.wait(PATIENCE_SECONDS) == 2
    up.end()
    assert "kraken" in up.said


def test_symbols_that_nobody_has_end_it_at_once_with_their_names(tmp_path: Path):
    config = tmp_path / "config.toml"
    with kraken() as server:
        config.write_text(
            f"[market_data.exchanges.kraken]\nsettings = '{server.settings()}'\n", encoding="utf-8"
        )
        up = Up(tmp_path / "home", config, "-p", "FOO/USD", "--no-web")
        assert up.process.wait(PATIENCE_SECONDS) == 1
        up.end()
    assert up.said.count("kraken does not have FOO/USD") == 1
    assert "starts again" not in up.said


@pytest.mark.parametrize("key", ["", "another-key-that-is-wrong"])
def test_a_key_that_is_missing_or_wrong_ends_it_with_one_sentence(tmp_path: Path, key: str):
    """Also where massive is the history alone, and the exchange that is traded on would do."""
    config = tmp_path / "config.toml"
    market = massive_market.Market(("BTC-USD",), start_ms=now_ms() // MINUTE_MS * MINUTE_MS, n_minutes=1)
    with (
        kraken() as server,
        massive_world(market, seconds_per_minute=60.0, rest_faults=["401"] * 9) as world,
    ):
        config.write_text(
            "[market_data]\nhistory = 'massive'\n"
            f"[market_data.massive]\nrest_url = '{world.rest_url}'\nstream_url = '{world.stream.url}'\n"
            f"[market_data.exchanges.kraken]\nsettings = '{server.settings()}'\n",
            encoding="utf-8",
        )
        up = Up(tmp_path / "home", config, "-p", "BTC/USD", "--no-web", key=key)
        assert up.process.wait(PATIENCE_SECONDS) == 2, up.said
        up.end()
    assert up.said.count("does not accept the key" if key else "massive needs a key") == 1, up.said
    assert "starts again" not in up.said


@pytest.mark.nightly
def test_minutes_of_a_live_exchange_are_stepped_within_seconds_of_their_close(tmp_path: Path):
    home = tmp_path / "home"
    with kraken() as server, candles_every(server, 0.5), started(home, server) as up:
        up.until(lambda: any("Account paper (paper) opened" in line for line in up.lines))

        def stepped() -> int:
            with TradingJournal.open(home / "accounts" / "paper") as journal:
                return len(journal.minutes(0, 2**61))

        deadline = time.monotonic() + 300
        while stepped() < 3 and time.monotonic() < deadline:
            time.sleep(1)
        assert up.end() == 130
    with TradingJournal.open(home / "accounts" / "paper") as journal:
        rows = journal.minutes(0, 2**61)
    late = rows.recorded_at_ms - rows.time_ms - MINUTE_MS
    assert len(rows) >= 3
    assert (late[1:] < 10_000).all(), json.dumps(late.tolist())
