"""How fast a first backfill of minutes is, from the JSON that arrives to bars in the store, per core.

A local server gives Massive's pages from bytes that were made beforehand, in a process of its own, so that
making them costs this one nothing. Four runs over the same bytes: downloaded and thrown away, decoded and
nothing else, stored and nothing else, and the whole download as the command does it. CPU is that of all
threads of this process.
"""

import asyncio
import multiprocessing
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter, process_time

import httpx
import msgspec
import numpy as np
from aiohttp import web
from pydantic import SecretStr

from crypto_tracker.config.market_data import MarketData
from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe, from_ms, month_start_ms, next_month_ms, to_ms
from crypto_tracker.market.fetching.planning import Wanted
from crypto_tracker.market.fetching.running import fetch_missing
from crypto_tracker.market.providers.massive.answers import bar_page
from crypto_tracker.market.providers.massive.rest import MassiveHistory
from crypto_tracker.net.http import Answer
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.strategies.registry import builtin

START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SYMBOLS = tuple(Symbol(f"COIN{number}", "USD") for number in range(4))
GOAL = 200_000
REPETITIONS = 3


def months() -> list[int]:
    """The start of every month of the span."""
    found = [month_start_ms(to_ms(START))]
    while (following := next_month_ms(found[-1])) < to_ms(END):
        found.append(following)
    return found


def pages() -> dict[str, bytes]:
    """The answer to each request: a month of one symbol, with prices of as many digits as real ones have."""
    chance = np.random.default_rng(1)
    made = {}
    for month_ms in months():
        end_ms = next_month_ms(month_ms)
        times = np.arange(month_ms, end_ms, MINUTE_MS)
        close = np.round(30_000.0 * np.exp(np.cumsum(chance.normal(0.0, 5e-4, len(times)))), 2)
        opened = np.round(close * (1.0 + chance.normal(0.0, 2e-4, len(times))), 2)
        high = np.round(np.maximum(opened, close) * 1.0002, 2)
        low = np.round(np.minimum(opened, close) * 0.9998, 2)
        volume = np.round(chance.gamma(1.0, 3.0, len(times)) + 1e-8, 8)
        vwap = np.round((high + low) / 2.0, 4)
        count = chance.integers(1, 500, len(times))
        columns = (volume, vwap, opened, close, high, low, times, count)
        rows = [
            dict(zip(("v", "vw", "o", "c", "h", "l", "t", "n"), row, strict=True))
            for row in zip(*(column.tolist() for column in columns), strict=True)
        ]
        results = msgspec.json.encode(rows)
        for symbol in SYMBOLS:
            ticker = f"X:{symbol.base}{symbol.quote}"
            head = (
                f'{{"ticker":"{ticker}","queryCount":{len(rows)},"resultsCount":{len(rows)},"adjusted":true,'
                f'"status":"OK","request_id":"{month_ms:032x}","count":{len(rows)},"results":'
            )
            path = f"/v2/aggs/ticker/{ticker}/range/1/minute/{month_ms}/{end_ms - 1}"
            made[path] = head.encode() + results + b"}"
    return made


def serve(made: dict[str, bytes], told: Connection) -> None:
    """Give these answers until the process is ended."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=made[request.path], content_type="application/json")

    async def run() -> None:
        application = web.Application()
        application.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        told.send(f"http://127.0.0.1:{runner.addresses[0][1]}")
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def server(made: dict[str, bytes]) -> Iterator[str]:
    """The URL of a server in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=serve, args=(made, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


@dataclass(frozen=True)
class Cost:
    """The best of several runs."""

    wall: float
    cpu: float

    def line(self, what: str, bars: int, more: str = "") -> str:
        speed = f"{bars / self.cpu:10,.0f} bars/s per core"
        return f"{what:>26}: {self.wall:6.2f} s, {self.cpu:6.2f} s CPU, {speed}{more}"


def cost_of(work: Callable[[], object]) -> Cost:
    """Wall time and CPU of the run that took the least CPU."""
    found = []
    for _ in range(REPETITIONS):
        wall, cpu = perf_counter(), process_time()
        work()
        found.append(Cost(perf_counter() - wall, process_time() - cpu))
    return min(found, key=lambda cost: cost.cpu)


def configured(url: str) -> MarketData:
    """The defaults, at the server, without a limit that would be reached."""
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    assignments = (f"market_data.massive.rest_url={url}", "market_data.massive.requests_per_second=100000")
    return load_configuration(models, file=None, environment={}, assignments=assignments).tree.market_data


def thrown_away(url: str, paths: list[str], parallel: int) -> None:
    """Download all answers, and do nothing with them."""

    async def run() -> None:
        waiting = list(paths)

        async def some(client: httpx.AsyncClient) -> None:
            while waiting:
                response = await client.get(url + waiting.pop())
                assert response.is_success

        async with httpx.AsyncClient() as client, asyncio.TaskGroup() as tasks:
            for _ in range(parallel):
                tasks.create_task(some(client))

    asyncio.run(run())


def decoded(made: dict[str, bytes]) -> list[BarBatch]:
    """The bars of all answers."""
    return [
        bar_page(Answer(200, {}, content), ticker=path.split("/")[4]).bars for path, content in made.items()
    ]


def stored(made: dict[str, bytes], batches: list[BarBatch], market_data: MarketData) -> None:
    """Write all bars into a new store, a month at a time."""
    with (
        tempfile.TemporaryDirectory() as folder,
        BarStore.open(Path(folder), market_data=market_data, clock=ManualClock(NOW)) as store,
    ):
        for path, bars in zip(made, batches, strict=True):
            parts = path.split("/")
            symbol = Symbol(parts[4][2:-3], "USD")
            span = int(parts[8]), int(parts[9]) + 1
            store.write("massive", symbol, Timeframe.M1, bars, [span])


def storing_cost(made: dict[str, bytes], market_data: MarketData) -> Cost:
    """The cost of writing what was decoded beforehand."""
    batches = decoded(made)
    return cost_of(lambda: stored(made, batches, market_data))


def downloaded(market_data: MarketData) -> int:
    """The whole download into a new store; how many bars came."""

    async def run(store: BarStore) -> int:
        history = MassiveHistory(
            market_data.massive, market_data.fetching, SecretStr("key"), now_ms=lambda: to_ms(NOW)
        )
        wanted = [
            Wanted(symbol=symbol, timeframe=Timeframe.M1, start_ms=to_ms(START), end_ms=to_ms(END))
            for symbol in SYMBOLS
        ]
        try:
            summary = await fetch_missing(
                history,
                store,
                wanted,
                now_ms=lambda: to_ms(NOW),
                parallel=market_data.collector.parallel,
            )
        finally:
            await history.close()
        assert not summary.missing
        return summary.new

    with (
        tempfile.TemporaryDirectory() as folder,
        BarStore.open(Path(folder), market_data=market_data, clock=ManualClock(NOW)) as store,
    ):
        return asyncio.run(run(store))


def main() -> None:
    made = pages()
    bars = sum((next_month_ms(month_ms) - month_ms) // MINUTE_MS for month_ms in months()) * len(SYMBOLS)
    size = sum(len(content) for content in made.values())
    print(
        f"{len(SYMBOLS)} symbols, {from_ms(to_ms(START)):%Y-%m-%d} to {from_ms(to_ms(END)):%Y-%m-%d}: "
        f"{bars:,} bars in {len(made)} answers of {size / 1e6:,.0f} MB"
    )
    with server(made) as url:
        market_data = configured(url)
        limit = cost_of(lambda: thrown_away(url, list(made), market_data.collector.parallel))
        print(limit.line("thrown away", bars))
        decoding = cost_of(lambda: decoded(made))
        print(decoding.line("decoded, nothing else", bars))
        storing = storing_cost(made, market_data)
        print(storing.line("stored, nothing else", bars))
        assert downloaded(market_data) == bars
        whole = cost_of(lambda: downloaded(market_data))
        print(whole.line("downloaded and stored", bars, f", {whole.wall / limit.wall:4.1f} x thrown away"))
    received = whole.cpu - limit.cpu
    print(
        f"{'from received to stored':>26}: {received:6.2f} s CPU, {bars / received:10,.0f} bars/s per core "
        f"(goal {GOAL:,})"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'memory at most':>26}: {peak:6.0f} MB, the answers themselves included")


if __name__ == "__main__":
    main()
