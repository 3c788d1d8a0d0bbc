"""How fast the API answers on a large account: 20 clients, each with a request a second, on every endpoint.

The account has 100,000 trades, 5,000,000 decisions (scans in blocks of 100 symbols) and 500,000 minutes. The
server is `crypto-tracker web` as a user starts it (with a rate limit that lets this one client through); the
clients are coroutines of another process. Each sends its next request at its own second, whether or not other
answers are late, and goes through all endpoints in turn; so the server meets the mix of an open page.

    bench_api.py [--samples 200] [--home FOLDER] [--only NAME ...]

`--home` keeps the large account for the next run. For each endpoint: the median and the 99th percentile, each
beside its limit (50 ms and 200 ms), and the median beside that of `ping` in the same run, which is what a
request costs that reads nothing. The generator says how late it was and what it took of the machine: one that
is late measures itself.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from urllib.parse import quote

import httpx
import numpy as np
import psutil
from large_account import Large, make_large_home

CLIENTS = 20
EVERY_SECONDS = 1.0
LIMITS_MS = {50: 50.0, 99: 200.0}
LISTENS = re.compile(r"http://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One request, as a page sends it."""

    name: str
    path: str
    query: dict[str, str | int | list[str]] = field(default_factory=dict)


@dataclass(kw_only=True)
class Measured:
    """What came of the requests to one endpoint."""

    seconds: list[float] = field(default_factory=list)
    first_seconds: float = 0.0  # before anything was held in memory
    bytes: int = 0

    def percentile_ms(self, percent: int) -> float:
        """The nearest rank, in milliseconds."""
        return 1_000 * float(np.percentile(self.seconds, percent, method="inverted_cdf"))


def endpoints(large: Large) -> list[Endpoint]:
    """Every endpoint that reads, with the heaviest questions that a page asks of it."""
    symbol, last = str(large.symbols[0]), large.until_ms
    day, week = last - 86_400_000, last - 7 * 86_400_000
    of = {"account": large.account}
    return [
        Endpoint(name="ping", path="ping"),
        Endpoint(name="version", path="version"),
        Endpoint(name="identity", path="identity"),
        Endpoint(name="accounts", path="accounts"),
        Endpoint(name="health", path="health"),
        Endpoint(name="collectors", path="collectors"),
        Endpoint(name="runs", path="runs"),
        Endpoint(name="status", path="status", query=of),
        Endpoint(name="balance", path="balance", query=of),
        Endpoint(name="equity, a year", path="equity", query={**of, "points": 1_000}),
        Endpoint(name="equity, a day", path="equity", query={**of, "points": 1_000, "start_ms": day}),
        Endpoint(name="regimes", path="regimes", query=of),
        Endpoint(name="ratios", path="ratios", query=of),
        Endpoint(name="trades, newest", path="trades", query={**of, "limit": 100}),
        Endpoint(
            name="trades, by P&L, filtered",
            path="trades",
            query={**of, "limit": 100, "order": "pnl_quote", "strategy": "DCA", "outcome": "loss"},
        ),
        Endpoint(name="trade", path=f"trades/{quote(large.trade_group_id)}", query=of),
        Endpoint(name="positions", path="positions", query=of),
        Endpoint(name="profit", path="profit", query={**of, "symbol": symbol}),
        Endpoint(name="performance", path="performance", query={**of, "by": "symbol"}),
        Endpoint(name="daily", path="daily", query={**of, "limit": 365}),
        Endpoint(name="weekly", path="weekly", query=of),
        Endpoint(name="monthly", path="monthly", query=of),
        Endpoint(name="decisions", path="decisions", query={**of, "limit": 100}),
        Endpoint(
            name="decisions, filtered",
            path="decisions",
            query={**of, "limit": 100, "strategy": "SWING", "reason": "share_used", "symbol": symbol},
        ),
        Endpoint(name="decisions/counts", path="decisions/counts", query=of),
        Endpoint(
            name="scans", path="scans", query={**of, "symbol": symbol, "strategy": "SWING", "limit": 300}
        ),
        Endpoint(name="explain", path="explain", query={**of, "symbol": symbol, "at_ms": last}),
        Endpoint(name="logs", path="logs", query=of),
        Endpoint(
            name="logs, far back", path="logs", query={**of, "limit": 500, "end_ms": last - 150 * 86_400_000}
        ),
        Endpoint(name="readiness", path="readiness", query=of),
        Endpoint(name="strategies", path="strategies", query=of),
        Endpoint(name="market", path="market", query=of),
        Endpoint(name="locks", path="locks", query=of),
        Endpoint(name="pairs", path="pairs", query=of),
        Endpoint(
            name="pair_candles",
            path="pair_candles",
            query={**of, "symbol": symbol, "timeframe": "15m", "limit": 500},
        ),
        Endpoint(
            name="pair_levels",
            path="pair_levels",
            query={**of, "symbol": symbol, "start_ms": week, "end_ms": last},
        ),
        Endpoint(name="commands", path="commands", query=of),
        Endpoint(name="audit", path="audit", query=of),
        Endpoint(name="show_config", path="show_config", query=of),
        Endpoint(name="data", path="data", query=of),
        Endpoint(name="scorecard", path="scorecard", query=of),
        Endpoint(name="research", path="research", query=of),
    ]


@contextmanager
def served(home: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The server over a home, as a process of its own; its address."""
    command = [
        sys.executable, "-m", "crypto_tracker", "--home", str(home),
        "--set", "web.requests_per_minute=1000000",
        "web", "--port", "0", "--open-to-loopback", "read",
    ]  # fmt: skip
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                found = LISTENS.search(line)
                if found:
                    break
            else:
                raise SystemExit("the server ended before it listened")
            yield f"http://127.0.0.1:{found.group(1)}/api/v1/", psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _demand_success(asked: Endpoint, answer: httpx.Response) -> None:
    if answer.status_code != httpx.codes.OK:
        raise RuntimeError(f"{asked.name}: {answer.status_code} {answer.text[:300]}")


async def load(address: str, asked: Sequence[Endpoint], samples: int) -> tuple[dict[str, Measured], float]:
    """Send `samples` requests to each endpoint from all clients; also how late the generator was at worst."""
    measured = {each.name: Measured() for each in asked}
    latest = 0.0
    async with httpx.AsyncClient(
        base_url=address,
        timeout=30.0,
        limits=httpx.Limits(max_connections=CLIENTS, keepalive_expiry=2.0),
        trust_env=False,
    ) as client:
        for each in asked:
            began = perf_counter()
            answer = await client.get(each.path, params=each.query)
            measured[each.name].first_seconds = perf_counter() - began
            measured[each.name].bytes = len(answer.content)
            _demand_success(each, answer)

        turns = -(-samples * len(asked) // CLIENTS)

        async def one_client(number: int) -> None:
            nonlocal latest
            start = asyncio.get_running_loop().time() + number * EVERY_SECONDS / CLIENTS
            for turn in range(turns):
                due = start + turn * EVERY_SECONDS
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
                latest = max(latest, asyncio.get_running_loop().time() - due)
                # Neighbours ask for different things, and everybody comes to everything.
                each = asked[(turn + number * 7) % len(asked)]
                began = perf_counter()
                answer = await client.get(each.path, params=each.query)
                measured[each.name].seconds.append(perf_counter() - began)
                _demand_success(each, answer)

        async with asyncio.TaskGroup() as tasks:
            for number in range(CLIENTS):
                tasks.create_task(one_client(number))
    return measured, latest


def report(measured: dict[str, Measured]) -> list[str]:
    """A line for each endpoint, the slowest last; what missed a limit is marked."""
    floor = measured["ping"].percentile_ms(50) if "ping" in measured else float("nan")
    lines = [
        f"{'endpoint':<26}{'kB':>7}{'first':>8}{'p50 ms':>8}{'p99 ms':>8}{'of 50':>7}{'of 200':>8}{'ping':>6}"
    ]
    for name, each in sorted(measured.items(), key=lambda item: item[1].percentile_ms(99)):
        median, worst = each.percentile_ms(50), each.percentile_ms(99)
        missed = " MISSED" if median > LIMITS_MS[50] or worst > LIMITS_MS[99] else ""
        lines.append(
            f"{name:<26}{each.bytes / 1e3:>7.1f}{1e3 * each.first_seconds:>8.0f}{median:>8.1f}{worst:>8.1f}"
            f"{median / LIMITS_MS[50]:>7.2f}{worst / LIMITS_MS[99]:>8.2f}{median / floor:>6.1f}{missed}"
        )
    return lines


def main() -> None:
    """Make the account where it is not there, serve it, ask, and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=200, help="requests to each endpoint")
    parser.add_argument("--home", type=Path, help="keep the large account here")
    parser.add_argument("--only", nargs="*", help="names of endpoints")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crypto-tracker-api-") as temporary:
        home = options.home or Path(temporary)
        began = perf_counter()
        large = make_large_home(home)
        if not options.json:
            print(
                f"{large.trades:,} trades, {large.decisions:,} decisions, {large.minutes:,} minutes, "
                f"{len(large.symbols)} symbols (made in {perf_counter() - began:.0f} s)"
            )
        asked = [each for each in endpoints(large) if not options.only or each.name in options.only]
        with served(home) as (address, server):
            busy, began_cpu, began = server.cpu_times(), process_time(), perf_counter()
            measured, latest = asyncio.run(load(address, asked, options.samples))
            seconds, own = perf_counter() - began, process_time() - began_cpu
            after = server.cpu_times()
            used = after.user + after.system - busy.user - busy.system
            memory = server.memory_info().rss
    if options.json:
        rows = {
            name: {"p50_ms": each.percentile_ms(50), "p99_ms": each.percentile_ms(99)}
            for name, each in measured.items()
        }
        print(json.dumps({"endpoints": rows, "generator_late_ms": 1e3 * latest, "seconds": seconds}))
        return
    print("\n".join(report(measured)))
    total = sum(len(each.seconds) for each in measured.values())
    print(
        f"{total:,} requests in {seconds:.0f} s from {CLIENTS} clients; of {os.cpu_count()} cores the server "
        f"took {used / seconds:.2f} and {memory / 2**20:.0f} MiB; the generator {own / seconds:.2f}, "
        f"and its latest request was {1e3 * latest:.0f} ms behind its time"
    )


if __name__ == "__main__":
    main()
