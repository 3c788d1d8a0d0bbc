"""How fast bars come in and go out, held against reading the same Parquet files with Polars alone.

Needs CRYPTO_TRACKER_MARKET_DATA, the folder of real bars: three coins' minutes of 2025 are imported. Then the
start of the command line, cold (compiled Python files removed from its way) and warm.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import polars as pl

from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.timeframes import Timeframe, to_ms
from crypto_tracker.market.import_files import import_files, plan_import
from crypto_tracker.market.providers.files.parse import FileOptions
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.reader import BarReader
from crypto_tracker.strategies.registry import builtin

START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
REPETITIONS = 5


def seconds_of(work: Callable[[], object]) -> tuple[float, float]:
    """Best and median wall time of five calls."""
    times = []
    for _ in range(REPETITIONS):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return min(times), median(times)


def bring_in(source: Path, home: Path) -> None:
    """Import everything under `source`, and say how fast."""
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    market_data = load_configuration(models, file=None, environment={}, assignments=()).tree.market_data
    options = FileOptions(provider=None, symbol=None, timeframe=None, layout=None)
    for attempt in ("import", "the same again"):
        began, cpu = perf_counter(), process_time()
        with BarStore.open(home, market_data=market_data, clock=ManualClock(NOW)) as store:
            files = plan_import(source)
            outcomes = list(import_files(files, store, options, market_data.files, now_ms=to_ms(NOW)))
        wall, rows = perf_counter() - began, sum(outcome.rows for outcome in outcomes)
        print(
            f"{attempt:>26}: {rows:9,} rows in {wall:5.2f} s ({process_time() - cpu:.2f} s CPU), "
            f"{rows / wall / 1e6:6.2f} M rows/s"
        )


def polars_alone(files: list[Path]) -> list[np.ndarray]:
    """Prices and volumes of all files as columns, and nothing else done with them."""
    frame = pl.read_parquet(files, columns=["open", "high", "low", "close", "volume"])
    return [frame[name].to_numpy() for name in frame.columns]


def read_back(home: Path) -> None:
    """Panels of the year, and the same files read by Polars alone."""
    files = sorted((home / "bars").rglob("*.parquet"))
    limit, limit_median = seconds_of(lambda: polars_alone(files))
    with BarReader.open(home) as reader:
        symbols = sorted({info.symbol for info in reader.series()}, key=str)
        rows = len(polars_alone(files)[0])
        print(f"{'Polars alone':>26}: {limit * 1e3:7.0f} ms best, {limit_median * 1e3:7.0f} ms median")
        for timeframe in (Timeframe.M1, Timeframe.M5, Timeframe.H1):
            best, middle = seconds_of(
                lambda timeframe=timeframe: reader.panel(symbols, timeframe, to_ms(START), to_ms(END))
            )
            print(
                f"{f'panel of {len(symbols)} x 1 y of {timeframe}':>26}: {best * 1e3:7.0f} ms best, "
                f"{middle * 1e3:7.0f} ms median, {rows / best / 1e6:6.1f} M minutes/s, "
                f"{best / limit:4.1f} x Polars alone"
            )


def starts() -> None:
    """`crypto-tracker --help` with and without compiled Python files."""
    command = [sys.executable, "-m", "crypto_tracker", "--help"]

    def start(folder: str) -> float:
        began = perf_counter()
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        subprocess.run(command, check=True, capture_output=True, env=environment)  # noqa: S603 - our own command
        return perf_counter() - began

    with tempfile.TemporaryDirectory() as folder:
        cold = start(folder)
        warm = [start(folder) for _ in range(REPETITIONS)]
    print(f"{'--help':>26}: cold {cold:.2f} s, warm {min(warm):.2f} s best, {median(warm):.2f} s median")


if __name__ == "__main__":
    starts()
    data = os.environ.get("CRYPTO_TRACKER_MARKET_DATA")
    if data is None:
        print("CRYPTO_TRACKER_MARKET_DATA names no folder: nothing to import")
    else:
        with tempfile.TemporaryDirectory() as folder:
            bring_in(Path(data) / "bars" / "1m", Path(folder))
            read_back(Path(folder))
