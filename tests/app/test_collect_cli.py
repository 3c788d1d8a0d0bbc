"""`collect` and `collectors`: real processes against local servers, killed at any moment."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.store.reader import BarReader
from tests.market.massive_world import MINUTE_MS, World, differences, massive_world, symbols_of
from tests.servers.exchange import minutes
from tests.servers.kraken import KrakenServer
from tests.servers.massive_stream import KEY, Market, MassiveStreamServer

PAIRS = ("BTC-USD", "ETH-USD", "SOL-USD")
MINUTES = 24 * 60  # of the market; the last of them closed a while ago
DEADLINE = 240.0


class OfThePast(MassiveStreamServer):
    """Plays minutes that are over as fast as they are taken, while requests know all of them."""

    def now_ms(self) -> int:
        return int(time.time() * 1_000)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    start_ms = int(time.time() * 1_000) // MINUTE_MS * MINUTE_MS - (MINUTES + 10) * MINUTE_MS
    market = Market(PAIRS, start_ms=start_ms, n_minutes=MINUTES, seed=3)
    with massive_world(market, seconds_per_minute=0.0, server=OfThePast) as made:
        yield made


BACKFILL = ("--set", "market_data.collector.backfill=true")


def options(world: World) -> list[str]:
    """What points the configuration at the local servers."""
    values = {
        "market_data.massive.rest_url": world.rest_url,
        "market_data.massive.stream_url": world.stream.url,
        "market_data.collector.providers": '["massive"]',
        "market_data.collector.backfill": "false",
        "market_data.collector.lease_seconds": "15.0",
        "market_data.fetching.wait_seconds": "0.05",
        "market_data.massive.requests_per_second": "500.0",
    }
    return [text for name, value in values.items() for text in ("--set", f"{name}={value}")]


def pairs(world: World) -> list[str]:
    return ["-p", ",".join(map(str, symbols_of(world.stream.market)))]


class Collecting:
    """A process of `collect` whose lines are read as they come."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text()

    def wait_for(self, *words: str) -> None:
        """Until it has said one of these."""
        deadline = time.monotonic() + DEADLINE
        while not any(each in self.said for each in words):
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)


@contextmanager
def collecting(
    world: World, home: Path, log: Path, *arguments: str, more: Sequence[str] = ()
) -> Iterator[Collecting]:
    environment = {**os.environ, "MASSIVE_API_KEY": KEY}
    with log.open("w") as written:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "crypto_tracker", "--home", str(home)),
                *(*options(world), *more, "collect", *arguments, *pairs(world)),
            ],
            stderr=written,
            stdout=written,
            text=True,
            env=environment,
        )
        try:
            yield Collecting(process, log)
        finally:
            process.kill()
            process.wait()


def held_once(home: Path, world: World) -> None:
    """The store is the market, and every minute is there once."""
    market = world.stream.market
    with BarReader.open(home) as reader:
        assert differences(reader, market, {}, 0, market.n_minutes) == []
        for index, symbol in enumerate(symbols_of(market)):
            rows = reader.rows(symbol, Timeframe.M1, market.start_ms, market.start_ms + 2 * DAY_MS)
            first = rows.open_time_ms[rows.revision == 0]
            assert len(first) == len(set(first.tolist())) == int(market.traded[:, index].sum())


def test_killed_at_random_moments_and_started_again_nothing_is_lost_and_nothing_doubled(
    world, tmp_path, command, monkeypatch
):
    home, chance = tmp_path / "home", random.Random(5)
    for attempt in range(3):
        with collecting(world, home, tmp_path / f"{attempt}.log", more=BACKFILL) as running:
            running.wait_for("asking for the markets")
            time.sleep(chance.uniform(0.0, 0.6))
            running.process.send_signal(signal.SIGKILL)
            running.process.wait()
    monkeypatch.setenv("MASSIVE_API_KEY", KEY)
    code, _, err = command(home, *options(world), *BACKFILL, "collect", "--once", *pairs(world))
    assert code == 0, err
    assert "massive: stopped" in err
    held_once(home, world)
    code, out, _ = command(home, "collectors", "--json")
    (told,) = json.loads(out)
    assert (code, told["provider"], told["state"], told["gone"]) == (0, "massive", "stopped", False)
    assert told["figures"]["symbols"] == 3
    code, out, _ = command(home, "collectors")
    assert code == 0
    assert out.splitlines()[1].split()[:2] == ["massive", "stopped"]
    assert max(map(len, out.splitlines())) <= 100


def test_a_second_collector_waits_and_takes_over_when_the_first_is_killed(world, tmp_path, command):
    home = tmp_path / "home"
    with collecting(world, home, tmp_path / "first.log") as first:
        first.wait_for("massive: live")
        with collecting(world, home, tmp_path / "second.log") as second:
            second.wait_for(f"massive: waiting: massive is collected by process {first.process.pid}")
            first.process.kill()
            first.process.wait()
            second.wait_for("massive: live")
            second.process.terminate()
            assert second.process.wait(DEADLINE) == 130, second.said
            assert second.said.splitlines()[-1].endswith("massive: stopped")
    _, out, _ = command(home, "collectors", "--json")
    assert [each["state"] for each in json.loads(out)] == ["stopped"]


def test_a_collector_that_was_killed_is_gone_at_once_and_its_newest_minute_is_that_of_the_store(
    world, tmp_path, command
):
    home = tmp_path / "home"
    with collecting(world, home, tmp_path / "log") as running:
        running.wait_for("massive: live")
        deadline = time.monotonic() + DEADLINE
        there: dict[str, object] = {}
        while there.get("state") != "live":  # it is written a moment after it is said
            assert time.monotonic() < deadline
            _, out, _ = command(home, "collectors", "--json")
            (there,) = json.loads(out)
        running.process.kill()
        running.process.wait()
    _, out, _ = command(home, "collectors", "--json")
    (told,) = json.loads(out)
    assert (there["gone"], told["gone"], told["state"]) == (False, True, "live")
    with BarReader.open(home) as reader:
        known = [reader.coverage("massive", each, Timeframe.M1)[-1, 1] for each in world.symbols]
    assert datetime.fromisoformat(told["newest_minute"]).timestamp() * 1_000 == max(known) - MINUTE_MS
    _, out, _ = command(home, "collectors")
    assert "gone (was live)" in out
    assert "Reconnects" in out.splitlines()[0]


def test_where_nothing_was_collected_collectors_says_what_does(tmp_path, command):
    code, _, err = command(tmp_path / "home", "collectors")
    assert (code, "`crypto-tracker collect`" in err) == (1, True)


def test_a_wrong_key_ends_it_with_its_sentence(world, tmp_path, command, monkeypatch):
    monkeypatch.setenv("MASSIVE_API_KEY", "another-key-that-is-wrong")
    world.rest_faults.append("401")
    code, _, err = command(tmp_path / "home", *options(world), "collect", *pairs(world))
    assert code == 2
    assert "does not accept the key" in err.splitlines()[-1]
    assert err.count("does not accept the key") == 1
    assert "another-key-that-is-wrong" not in err


@contextmanager
def kraken() -> Iterator[KrakenServer]:
    """A Kraken of one coin and the last two hours."""
    start_ms = int(time.time() * 1_000) // MINUTE_MS * MINUTE_MS - 120 * MINUTE_MS
    market = {"BTC/USD": minutes(start_ms, 240, price=60_000.0)}
    with KrakenServer(market, now_ms=lambda: int(time.time() * 1_000)).running() as server:
        yield server


@pytest.mark.parametrize(
    ("pairs", "code", "sentence"),
    [
        ("BTC/USDT,BTC/USD", 1, "kraken does not have BTC/USDT (did you mean BTC/USD?): name others"),
        ("FOO/USD", 1, "kraken does not have FOO/USD: `list-markets --provider kraken` shows what it has"),
        ("BTC/USD", 0, ""),
    ],
)
def test_symbols_that_were_named_and_are_not_there_are_named_at_every_start(
    tmp_path, command, pairs, code, sentence
):
    with kraken() as server:
        for _ in range(2):
            given = ["collect", "--once", "--provider", "kraken", "-p", pairs]
            ended, _, err = command(tmp_path / "home", *at_kraken(server.settings()), *given)
            assert ended == code, err
            assert sentence in err.splitlines()[-1]
    if "," in pairs:
        assert "BTC/USDT is inactive: kraken does not have it (did you mean BTC/USD?)" in err
        with BarReader.open(tmp_path / "home") as reader:
            assert len(reader.coverage("kraken", Symbol("BTC", "USD"), Timeframe.M1))


def test_a_history_without_a_key_is_said_and_nobody_is_advised_to_configure_it(
    tmp_path, command, monkeypatch
):
    for name in ("MASSIVE_API_KEY", "POLYGON_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with kraken() as server:
        settings = [*at_kraken(server.settings()), "--set", "market_data.history=massive"]
        given = ["collect", "--once", "--provider", "kraken", "-p", "BTC/USD"]
        code, _, err = command(tmp_path / "home", *settings, *given)
    assert code == 0, err
    assert err.count("set MASSIVE_API_KEY or POLYGON_API_KEY") == 1
    assert "name another provider in market_data.history" not in err


@pytest.mark.parametrize("others", [[], ["--provider", "kraken"]])
def test_that_a_plan_has_no_stream_is_said_unless_another_provider_has_one(world, tmp_path, others):
    plan = ["--set", "market_data.massive.plan=free"]
    given = ["--provider", "massive", *others]
    with kraken() as server:
        more = [*at_kraken(server.settings()), *plan]
        with collecting(world, tmp_path / "home", tmp_path / "log", *given, more=more) as running:
            running.wait_for("massive: starting: asking for the markets")
            said = running.said
    assert ("the free plan of massive has no stream" in said) == (not others), said


def at_kraken(settings: str) -> list[str]:
    values = {"requests_per_second": "100.0", "settings": f"'{settings}'"}
    return [
        text
        for name, value in values.items()
        for text in ("--set", f"market_data.exchanges.kraken.{name}={value}")
    ]


def test_a_provider_that_refuses_hides_none_that_does_not(world, tmp_path, command, monkeypatch):
    monkeypatch.setenv("MASSIVE_API_KEY", "another-key-that-is-wrong")
    world.rest_faults.append("401")
    home = tmp_path / "home"
    given = ["collect", "--once", "--provider", "massive", "--provider", "kraken", "-p", "BTC/USD"]
    with kraken() as server:
        code, _, err = command(home, *options(world), *at_kraken(server.settings()), *given)
    assert code == 1
    assert "massive: is left out: massive does not accept the key" in err
    assert "does not accept the key" in err.splitlines()[-1]
    with BarReader.open(home) as reader:
        (known,) = reader.coverage("kraken", Symbol("BTC", "USD"), Timeframe.M1).tolist()
    assert known[1] - known[0] >= 100 * MINUTE_MS


@pytest.mark.parametrize("provider", ["kraken", "massive"])
def test_a_provider_that_cannot_be_reached_from_the_start_is_tried_again_and_again(world, tmp_path, provider):
    server = KrakenServer({}, now_ms=lambda: 0)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and never listens: the port is taken, and nobody answers
        server.url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        _is_tried_again(world, tmp_path, provider, server.settings())


def _is_tried_again(world, tmp_path, provider, settings):
    nowhere = [
        *(
            "--set",
            "market_data.massive.rest_url=http://127.0.0.1:9",
            "--set",
            "market_data.fetching.attempts=2",
        ),
        *("--set", "market_data.massive.stream_url=ws://127.0.0.1:9/crypto"),
        *at_kraken(settings),
    ]
    log = tmp_path / "log"
    with collecting(world, tmp_path / "home", log, "--provider", provider, more=nowhere) as running:
        running.wait_for(f"{provider}: trouble: the list of markets cannot be had")
        running.wait_for("bars cannot be fetched", f"{provider} is left alone")
        running.wait_for("the stream was lost")
        time.sleep(1.0)
        assert running.process.poll() is None, running.said
        running.process.terminate()
        assert running.process.wait(DEADLINE) == 130, running.said


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--speed", "60"], "--speed is for replays: a live session runs on real time"),
        (["--replay", "nowhere"], "there is no recording nowhere: `collect --record nowhere` makes one"),
        (["--replay", "x", "--once"], "--replay plays what was recorded"),
        (["--provider", "massiv", "--once"], "did you mean massive?"),
    ],
)
def test_what_contradicts_itself_is_refused_with_one_sentence(
    tmp_path, command, given: Sequence[str], sentence
):
    code, _, err = command(tmp_path / "home", "collect", *given)
    assert (code, sentence in err.replace("\n", " ")) == (2, True), err


def _wait_until_stored(home: Path, market: Market) -> None:
    span = (Timeframe.M1, market.start_ms, market.start_ms + 60 * MINUTE_MS)
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with BarReader.open(home) as reader:
            missing = [
                symbol
                for index, symbol in enumerate(symbols_of(market))
                if len(set(reader.rows(symbol, *span, provider="massive").open_time_ms.tolist()))
                < int(market.traded[:, index].sum())
            ]
        if not missing:
            return
        time.sleep(0.1)
    raise AssertionError(f"not all bars of {missing} were stored in time")


def test_a_recorded_session_is_played_into_the_store_as_a_provider_of_its_own(world, tmp_path, command):
    """The stream of a session that was recorded brings the same bars again, under another name."""
    home, session = tmp_path / "home", tmp_path / "a.session"
    past = Market(PAIRS, start_ms=world.stream.market.start_ms, n_minutes=60, seed=3)
    with (
        massive_world(past, seconds_per_minute=0.0, server=OfThePast) as short,
        collecting(short, home, tmp_path / "log", "--record", str(session)) as running,
    ):
        running.wait_for("massive: live")
        assert short.stream.finished.wait(DEADLINE)
        _wait_until_stored(home, past)  # what was sent may still be on its way
        running.process.terminate()
        assert running.process.wait(DEADLINE) == 130, running.said
    other = tmp_path / "other"
    code, _, err = command(other, "collect", "--replay", str(session))
    assert code == 0, err
    assert "recorded: the recording a.session has been played" in err
    with BarReader.open(home) as reader, BarReader.open(other) as again:
        for index, symbol in enumerate(symbols_of(past)):
            span = (Timeframe.M1, past.start_ms, past.start_ms + 60 * MINUTE_MS)
            recorded = again.rows(symbol, *span, provider="recorded")
            kept = reader.rows(symbol, *span, provider="massive")
            assert len(recorded) == int(past.traded[:, index].sum())
            first = kept.where(kept.revision == 0)
            assert recorded.open_time_ms.tolist() == first.open_time_ms.tolist()
            assert recorded.values[:5].tolist() == first.values[:5].tolist()
