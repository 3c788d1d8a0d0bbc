"""How long a backtest takes from Parquet files to the printed result, and how much memory.

One year of minutes of 100 symbols, 52.6 M bars, drawn as random walks with one common part, and written
through the store. Every measurement is a process of its own, as a user starts it; its peak is VmHWM as the
system counts it. CPU seconds stand beside wall seconds, since whatever else runs on the machine disturbs
these first. The best of several processes is shown.

    python benchmarks/bench_backtest.py [--symbols N] [--days N] [--repeat N] [--home FOLDER]

A home that is named is kept and used again; else it lies in a temporary folder.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter, process_time, sleep

import numpy as np
import polars as pl

from crypto_tracker.config.entries import configured_strategies
from crypto_tracker.config.tree import Configuration, load_configuration
from crypto_tracker.core.bars import BAR_FIELDS
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.research.backtest import run_backtest
from crypto_tracker.research.chunks import run_in_months
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.choice import Choice, choose
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.sources import StoredBars
from crypto_tracker.strategies.registry import builtin

START = datetime(2025, 1, 1, tzinfo=UTC)
NOW = datetime(2030, 1, 1, tzinfo=UTC)
HISTORY_DAYS = 82  # warm-up of the slowest strategy, and the days whose bar ranges rule R7 looks at
COMMON, OWN = 0.0004, 0.0006  # standard deviation of a minute's return: of the market, and of one coin


@dataclass(frozen=True, slots=True)
class Measured:
    """One process: its output and what it took."""

    output: str
    wall: float
    cpu: float
    peak_mib: float


def configuration() -> Configuration:
    """The defaults."""
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    return load_configuration(models, file=None, environment={}, assignments=()).tree


def coins(count: int) -> list[Symbol]:
    """The reference coin, then others of all tiers."""
    members = configuration().universe.members("USD")
    more = [Symbol(f"COIN{number}", "USD") for number in range(max(0, count - len(members)))]
    return [*members, *more][:count]


def make_home(home: Path, symbols: list[Symbol], days: int) -> None:
    """Write the walks of all symbols, the days before the span included."""
    start_ms = to_ms(START) - HISTORY_DAYS * DAY_MS
    times = np.arange(start_ms, to_ms(START) + days * DAY_MS, MINUTE_MS, dtype=np.int64)
    rng = np.random.default_rng(1)
    # Calm and wild days follow each other, as they do.
    pace = np.repeat(rng.lognormal(0.0, 0.4, len(times) // 1440), 1440)
    common = rng.standard_normal(len(times)) * COMMON * pace
    with BarStore.open(home, market_data=configuration().market_data, clock=ManualClock(NOW)) as store:
        for symbol in symbols:
            close = np.round(
                100.0 * np.exp(np.cumsum(common + rng.standard_normal(len(times)) * OWN * pace)), 4
            )
            opened = np.concatenate([[100.0], close[:-1]])
            width = np.abs(rng.standard_normal(len(times))) * OWN * pace / 2.0
            batch = BarBatch(
                open_time_ms=times,
                open=opened,
                high=np.round(np.maximum(opened, close) * (1.0 + width), 4),
                low=np.round(np.minimum(opened, close) * (1.0 - width), 4),
                close=close,
                volume=np.round(rng.lognormal(8.0, 1.0, len(times)), 2),
            )
            store.write("walks", symbol, Timeframe.M1, batch)


def measured(arguments: list[str]) -> Measured:
    """Run the interpreter on `arguments`; raises CalledProcessError where it fails."""
    began, cpu = perf_counter(), os.times()
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=subprocess.STDOUT)  # noqa: S603 - our own command
        status, peak_kib = Path(f"/proc/{child.pid}/status"), 0
        while child.poll() is None:
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM"):
                    peak_kib = max(peak_kib, int(line.split()[1]))
            sleep(0.02)
        wall, after = perf_counter() - began, os.times()
        output.seek(0)
        text = output.read()
    if child.returncode:
        print(text)
        raise subprocess.CalledProcessError(child.returncode, arguments)
    used = after.children_user + after.children_system - cpu.children_user - cpu.children_system
    return Measured(text, wall, used, peak_kib / 1024.0)


@contextmanager
def chosen(home: Path, symbols: list[Symbol], days: int) -> Iterator[tuple[BarReader, Choice]]:
    """The reader of a home, and the span of the benchmark."""
    start_ms = to_ms(START)
    with BarReader.open(home) as reader:
        yield (
            reader,
            choose(
                reader.series(),
                configuration(),
                pairs=[str(symbol) for symbol in symbols],
                timeframe=None,
                provider=None,
                start_ms=start_ms,
                end_ms=start_ms + days * DAY_MS,
            ),
        )


def read(home: Path, symbols: list[Symbol], days: int) -> None:
    """Child process: the panel of the span, held against Polars that reads the same columns of the files."""
    start_ms = to_ms(START)
    months = {f"{START + timedelta(days=day):%Y-%m}" for day in range(days)}
    folders = sorted(path for path in (home / "bars" / "walks" / "1m").iterdir())
    files = [sorted(file for file in folder.iterdir() if file.name[:7] in months) for folder in folders]

    def polars_alone() -> None:
        for of_symbol in files[: len(symbols)]:
            frame = pl.read_parquet(of_symbol, columns=list(BAR_FIELDS), glob=False)
            for name in BAR_FIELDS:
                frame[name].get_chunks()

    with BarReader.open(home) as reader:
        span = start_ms, start_ms + days * DAY_MS

        def panel() -> None:
            reader.panel(symbols, Timeframe.M1, *span, provider="walks")

        for name, work in (("Polars alone", polars_alone), ("the panel", panel)):
            seconds = [cpu_and_wall(work) for _ in range(3)]
            print(
                f"{name:>24}: {min(cpu for cpu, _ in seconds):6.2f} {min(wall for _, wall in seconds):6.2f}"
            )


def cpu_and_wall(work: Callable[[], None]) -> tuple[float, float]:
    """CPU and wall seconds of one call."""
    wall, cpu = perf_counter(), process_time()
    work()
    return process_time() - cpu, perf_counter() - wall


def simulate(how: str, home: Path, symbols: list[Symbol], days: int) -> None:
    """Child process: a backtest without report and record; prints the seconds of its stages."""
    tree = configuration()
    run = {"whole": run_backtest, "months": run_in_months}[how]
    with chosen(home, symbols, days) as (reader, choice):
        done = run(
            StoredBars(reader, choice.provider_of),
            tree,
            configured_strategies(dict(builtin()), tree, None),
            choice,
            version="benchmark",
            keep_blocks=False,
            close_at_end=False,
            progress=lambda _words, _share: None,
            stopwatch=perf_counter,
        )
    stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in done.seconds.items())
    print(f"{len(done.result.trades):,} trades of {done.figures.setups:,} setups; wall seconds: {stages}")


def best(name: str, repeat: int, arguments: list[str]) -> Measured:
    """One line of the table: the best of some processes."""
    runs = [measured(arguments) for _ in range(repeat)]
    cpu, wall, peak = (min(getattr(run, field) for run in runs) for field in ("cpu", "wall", "peak_mib"))
    print(f"{name:>24}: {cpu:6.2f} {wall:6.2f} {peak:9,.0f}")
    return min(runs, key=lambda run: run.wall)


def main() -> None:
    """Make the home where there is none, then measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--child", choices=["read", "whole", "months"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    symbols = coins(given.symbols)
    if given.child == "read":
        read(given.home, symbols, given.days)
    elif given.child is not None:
        simulate(given.child, given.home, symbols, given.days)
    elif given.home is not None:
        measure(given.home, symbols, given.days, given.repeat)
    else:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), symbols, given.days, given.repeat)


def measure(home: Path, symbols: list[Symbol], days: int, repeat: int) -> None:
    """The whole table."""
    if not (home / "market.db").exists():
        began = perf_counter()
        make_home(home, symbols, days)
        print(f"{len(symbols)} symbols written in {perf_counter() - began:.0f} s")
    size = ["--home", str(home), "--symbols", str(len(symbols)), "--days", str(days)]
    print(f"{len(symbols)} symbols x {days} days: {len(symbols) * days * 1440 / 1e6:.1f} M bars")
    print(f"{'':>24}  CPU s wall s  peak MiB")
    print(measured([__file__, "--child", "read", *size]).output, end="")
    for how, name in (("whole", "read, scan, simulate"), ("months", "the same by months")):
        print(f"{'':>24}  {best(name, repeat, [__file__, '--child', how, *size]).output}", end="")
    span = f"{START:%Y%m%d}-{START + timedelta(days=days):%Y%m%d}"
    pairs = ",".join(str(symbol) for symbol in symbols)
    command = ["-m", "crypto_tracker", "--home", str(home), "backtest", "--timerange", span, "-p", pairs]
    best("the command itself", repeat, command)
    best("the command, by months", repeat, [*command, "--in-months"])


if __name__ == "__main__":
    main()
