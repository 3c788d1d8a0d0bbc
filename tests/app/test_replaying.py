"""A recorded session comes to the same stored minutes again: what was streamed and what was fetched."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from pydantic import SecretStr

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.market.collecting.service import Assignment, Collecting
from crypto_tracker.market.providers.massive.rest import MassiveHistory
from crypto_tracker.market.providers.massive.stream import MassiveStream
from crypto_tracker.market.recording.histories import NotedHistory, NotedStream
from crypto_tracker.market.recording.recorder import Recorder
from crypto_tracker.net.sockets import open_socket
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.reader import BarReader
from tests import virtual_time
from tests.market.collected import START, Told
from tests.market.massive_world import MINUTE_MS, World, massive_world_here
from tests.servers.exchange import minutes
from tests.servers.kraken import KrakenServer
from tests.servers.massive_stream import KEY, FaultScript, Kind, Market

PAIRS = ("BTC-USD", "SUI-USD", "PEPE-USD")  # two of them are in nobody's default universe
MINUTES = 9
SPM = 0.5  # seconds
LOST_AT = 4


async def recorded_session(world: World, home: Path, path: Path) -> Told:
    """Collect for the minutes of the market, as `collect --record` does."""
    settings = world.settings()
    short = world.short(settings)
    told = Told()
    key = SecretStr(KEY)
    recorder = Recorder(path, provider="massive", now_ns=lambda: world.now_ms() * 1_000_000, secrets=[key])
    with recorder, BarStore.open(home, market_data=settings, clock=world) as store:
        history = MassiveHistory(
            short.massive,
            short.fetching,
            key,
            now_ms=world.now_ms,
            transport=recorder.transport(httpx.AsyncHTTPTransport()),
        )
        stream = MassiveStream(
            short.massive,
            short.collector,
            key,
            now_ms=world.now_ms,
            connect=recorder.connecting(open_socket),
        )
        assignment = Assignment(
            history=NotedHistory(history, recorder),
            stream=NotedStream(stream, recorder),
            symbols=world.symbols,
            needed=lambda _, now_ms: {Timeframe.M1: now_ms - 30 * MINUTE_MS},
        )
        collecting = Collecting(assignment, store, home, settings, world, told)
        stop = asyncio.Event()
        running = asyncio.create_task(collecting.run(stop))
        await asyncio.sleep(world.seconds((MINUTES + 1) * MINUTE_MS))
        stop.set()
        await running
        await history.close()
    return told


def stored(home: Path, provider: str, symbol: Symbol) -> dict[int, tuple[float, ...]]:
    """Every minute with the bar that holds."""
    with BarReader.open(home) as reader:
        panel = reader.panel(
            [symbol], Timeframe.M1, START - 60 * MINUTE_MS, START + 60 * MINUTE_MS, provider=provider
        )
    return {
        open_ms: tuple(
            float(getattr(panel, name)[row, 0]) for name in ("open", "high", "low", "close", "volume")
        )
        for row, open_ms in enumerate(panel.open_time_ms.tolist())
        if panel.present[row, 0]
    }


def covered(home: Path, provider: str, symbol: Symbol) -> list[list[int]]:
    with BarReader.open(home) as reader:
        return reader.coverage(provider, symbol, Timeframe.M1).tolist()


def test_a_session_with_a_loss_is_the_same_again_in_a_home_of_another_universe(tmp_path, command):
    home, again, path = tmp_path / "home", tmp_path / "again", tmp_path / "a.session"
    market = Market(PAIRS, start_ms=START, n_minutes=MINUTES, no_trade=0.2, seed=4)
    script, clock = FaultScript.of({LOST_AT: Kind.CUT}), virtual_time.Clock()

    async def main() -> tuple[Told, tuple[Symbol, ...]]:
        async with massive_world_here(market, script, seconds_per_minute=SPM, clock=clock) as world:
            return await recorded_session(world, home, path), world.symbols

    told, symbols = virtual_time.run(main(), clock)
    assert any("the stream was lost" in detail for _, detail in told.states)
    settings = ["--set", "market_data.collector.settle_seconds=8.0"]
    settings += ["--set", "market_data.collector.quiet_seconds=20.0"]
    code, _, err = command(again, *settings, "collect", "--replay", str(path))
    assert code == 0, err
    for symbol in symbols:
        then, now = stored(home, "massive", symbol), stored(again, "recorded", symbol)
        assert len(then) >= 4
        assert now == then
        assert covered(again, "recorded", symbol) == covered(home, "massive", symbol)
    _, out, _ = command(again, "collectors", "--json")
    (state,) = json.loads(out)
    assert (state["figures"]["symbols_live"], state["figures"]["symbols"]) == (3, 3)


@contextmanager
def kraken() -> Iterator[KrakenServer]:
    """A Kraken of two coins and the last two hours."""
    start_ms = int(time.time() * 1_000) // MINUTE_MS * MINUTE_MS - 120 * MINUTE_MS
    market = {
        name: minutes(start_ms, 120, price=price) for name, price in (("BTC/USD", 6e4), ("SUI/USD", 3_000.0))
    }
    with KrakenServer(market, now_ms=lambda: int(time.time() * 1_000)).running() as server:
        yield server


def test_what_a_download_recorded_is_played_into_the_store(tmp_path, command):
    home, again, path = tmp_path / "home", tmp_path / "again", tmp_path / "a.session"
    with kraken() as server:
        settings = ["--set", "market_data.exchanges.kraken.requests_per_second=100.0"]
        settings += ["--set", f"market_data.exchanges.kraken.settings='{server.settings()}'"]
        given = ["--provider", "kraken", "-p", "BTC/USD,SUI/USD", "--days", "1", "--timeframe", "1m,15m"]
        code, _, err = command(home, *settings, "download-data", *given, "--record", str(path))
    assert code == 0, err
    code, _, err = command(again, "collect", "--replay", str(path))
    assert code == 0, err
    with BarReader.open(home) as first, BarReader.open(again) as second:
        for symbol in (Symbol("BTC", "USD"), Symbol("SUI", "USD")):
            for timeframe in (Timeframe.M1, Timeframe.M15):
                span = (timeframe, 0, int(time.time() * 1_000))
                then = first.rows(symbol, *span, provider="kraken")
                now = second.rows(symbol, *span, provider="recorded")
                assert len(then) > 0, (symbol, timeframe)
                assert now.open_time_ms.tolist() == then.open_time_ms.tolist()
                assert np.array_equal(now.values, then.values, equal_nan=True)


def test_a_recording_in_which_nothing_was_streamed_or_fetched_is_refused(tmp_path, command):
    path = tmp_path / "empty.session"
    Recorder(path, provider="kraken", now_ns=time.time_ns).close()
    code, _, err = command(tmp_path / "home", "collect", "--replay", str(path))
    assert code == 2
    assert "holds no stream and no bars that were fetched" in err.replace("\n", " ")
