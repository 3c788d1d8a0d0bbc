"""How fast bars come in and go out, each figure beside what is possible at best, measured in the same run.

First the start of the command line, cold (compiled Python files removed from its way) and warm. Then fifty
million made-up bars of a hundred symbols, a year of them in cold files and a month hot, in a temporary folder
of about 2 GB: held against Polars alone on the same files, and against plain SQLite on the same rows. With
CRYPTO_TRACKER_MARKET_DATA, the folder of real bars, three coins' minutes of 2025 are imported besides.
"""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import polars as pl

from crypto_tracker.config.market_data import MarketData
from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, next_month_ms, to_ms
from crypto_tracker.market.import_files import import_files, plan_import
from crypto_tracker.market.providers.files.parse import FileOptions
from crypto_tracker.store import tables
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.database import sqlite_module
from crypto_tracker.store.reader import DATABASE_NAME, BarReader
from crypto_tracker.strategies.registry import builtin

START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
REPETITIONS = 5

PROVIDER = "made"
COINS = tuple(Symbol(f"C{number:02}", "USD") for number in range(100))
HOT_END = datetime(2026, 1, 31, tzinfo=UTC)  # the month is not over, so that its bars are hot
MINUTES_WRITTEN = 60


def seconds_of(work: Callable[[], object]) -> tuple[float, float]:
    """Best and median wall time of five calls."""
    times = []
    for _ in range(REPETITIONS):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return min(times), median(times)


def market_data() -> MarketData:
    """What the configuration says of stored bars."""
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    return load_configuration(models, file=None, environment={}, assignments=()).tree.market_data


def bring_in(source: Path, home: Path) -> None:
    """Import everything under `source`, and say how fast."""
    rules = market_data()
    options = FileOptions(provider=None, symbol=None, timeframe=None, layout=None)
    for attempt in ("import", "the same again"):
        began, cpu = perf_counter(), process_time()
        with BarStore.open(home, market_data=rules, clock=ManualClock(NOW)) as store:
            files = plan_import(source)
            outcomes = list(import_files(files, store, options, rules.files, now_ms=to_ms(NOW)))
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


def minutes_of(coin: int, start_ms: int, end_ms: int, close: float) -> BarBatch:
    """A random walk with the digits of real bars: prices on a tick grid, quiet minutes left out.

    A tick is a hundred-thousandth of the first price or less, as on exchanges; lots have two to six digits.
    Two coins in three trade every minute, of the others up to a fifth of the minutes has no trade.
    """
    rng = np.random.default_rng([coin, start_ms // MINUTE_MS])
    times = np.arange(start_ms, end_ms, MINUTE_MS, dtype=np.int64)
    if coin % 3 == 2:
        times = times[rng.random(len(times)) >= 0.2 * coin / len(COINS)]
    count = len(times)
    tick = 10.0 ** (np.floor(np.log10(first_price(coin))) - 4)
    lot = 10.0 ** -(2 + coin % 5)
    walk = close * np.exp(np.cumsum(rng.standard_t(4, count) * 4e-4))
    closes = np.maximum(np.round(walk / tick), 10.0)
    opens = np.maximum(
        np.concatenate([[np.round(close / tick)], closes[:-1]]) + rng.integers(-1, 2, count), 1.0
    )
    reach = np.abs(rng.normal(0.0, 3e-4, (2, count))) * closes
    highs = np.maximum(opens, closes) + np.round(reach[0])
    lows = np.maximum(np.minimum(opens, closes) - np.round(reach[1]), 1.0)
    trades = np.ceil(rng.lognormal(2.5, 1.0, count))
    volume = np.maximum(np.round(rng.lognormal(0.0, 1.2, count) * 2e3 / first_price(coin) / lot), 1.0)

    def of_ticks(values: np.ndarray, unit: float) -> np.ndarray:
        """The decimal number next to so many units, as a source would write it."""
        return np.round(values * unit, max(0, -int(np.floor(np.log10(unit)))))

    return BarBatch(
        open_time_ms=times,
        open=of_ticks(opens, tick),
        high=of_ticks(highs, tick),
        low=of_ticks(lows, tick),
        close=of_ticks(closes, tick),
        volume=of_ticks(volume, lot),
        vwap=of_ticks(lows + (highs - lows) * rng.random(count), tick / 10),
        n_trades=trades,
    )


def first_price(coin: int) -> float:
    """From a hundred-thousandth to a hundred thousand, as coins are."""
    return float(10.0 ** (5 - 10 * coin / (len(COINS) - 1)) * 0.6)


def months() -> Iterator[tuple[int, int]]:
    """The spans in which bars are made: the cold months, and what is hot."""
    start_ms = to_ms(START)
    while start_ms < to_ms(HOT_END):
        end_ms = min(next_month_ms(start_ms), to_ms(HOT_END))
        yield start_ms, end_ms
        start_ms = end_ms


def make_bars(home: Path) -> None:
    """Write the bars of all coins, month after month."""
    began, rows = perf_counter(), 0
    with BarStore.open(home, market_data=market_data(), clock=ManualClock(HOT_END)) as store:
        for coin, symbol in enumerate(COINS):
            close = first_price(coin)
            for start_ms, end_ms in months():
                bars = minutes_of(coin, start_ms, end_ms, close)
                close = float(bars.close[-1])
                rows += store.write(PROVIDER, symbol, Timeframe.M1, bars, [(start_ms, end_ms)]).rows_new
    wall = perf_counter() - began
    print(f"{'made and written':>26}: {rows:,} bars in {wall:.0f} s, {rows / wall / 1e6:.2f} M bars/s")


Seconds = tuple[float, float]
"""The best and the median of some runs."""


def report(what: str, ours: Seconds, limit: Seconds, named: str, target: str) -> None:
    """One line: what, how long, what the limit takes, and how many times that it is at its best."""
    print(
        f"{what:>26}: {ours[0] * 1e3:7.2f} ms best, {ours[1] * 1e3:7.2f} ms median ({target}); "
        f"{named} {limit[0] * 1e3:7.2f} ms best; {ours[0] / limit[0]:4.2f} x"
    )


_SELECT = (
    "SELECT open, high, low, close, volume FROM json_each(?) AS wanted CROSS JOIN bars "
    "ON symbol_id = wanted.value AND timeframe = '1m' AND open_time_ms >= ? AND open_time_ms < ?"
)
_SELECT_NEWEST = (
    "SELECT open_time_ms, open, high, low, close, volume FROM bars "
    "WHERE symbol_id = ? AND timeframe = '1m' ORDER BY open_time_ms DESC LIMIT 1"
)


def large(home: Path) -> None:
    """Fifty million bars: how they are read and added to, beside what Polars and SQLite alone take."""
    files = sorted((home / "bars").rglob("*.parquet"))
    size = sum(file.stat().st_size for file in files)
    plain = sqlite_module().connect(f"{(home / DATABASE_NAME).as_uri()}?mode=ro", uri=True)
    cold_bars = plain.execute("SELECT sum(bars) FROM manifest").fetchone()[0]
    ids = [row[0] for row in plain.execute("SELECT symbol_id FROM symbols ORDER BY symbol_id")]
    print(
        f"{'cold files':>26}: {len(files)} files, {size / 1e9:.2f} GB for {cold_bars / 1e6:.1f} M bars, "
        f"{size / cold_bars * 5e7 / 1e9:.2f} GB for 50 M (at most 1.2)"
    )
    end_ms = to_ms(HOT_END)

    def select(count: int, start_ms: int) -> np.ndarray:
        rows = plain.execute(_SELECT, (json.dumps(ids[:count]), start_ms, end_ms)).fetchall()
        return np.array(rows, dtype=np.float64)

    with BarReader.open(home) as reader, reader.kept_connection() as kept:
        ours, limit = (
            seconds_of(work)
            for work in (
                lambda: reader.latest(COINS, Timeframe.M1, provider=PROVIDER, connection=kept),
                lambda: [plain.execute(_SELECT_NEWEST, (symbol_id,)).fetchone() for symbol_id in ids],
            )
        )
        report("latest bar of 100", ours, limit, "plain SELECT", "at most 2 ms")
        for count, hours, target in ((1, 24, "at most 3 ms"), (100, 72, "at most 300 ms")):
            start_ms = end_ms - hours * HOUR_MS
            ours = seconds_of(
                lambda count=count, start_ms=start_ms: reader.panel(
                    COINS[:count], Timeframe.M1, start_ms, end_ms, provider=PROVIDER
                )
            )
            limit = seconds_of(lambda count=count, start_ms=start_ms: select(count, start_ms))
            report(f"{hours} h of {count}", ours, limit, "plain SELECT", target)
        limit = seconds_of(lambda: polars_alone(files))
        ours = seconds_of(
            lambda: reader.panel(COINS, Timeframe.M1, to_ms(START), to_ms(END), provider=PROVIDER)
        )
        report("year of 100", ours, limit, "Polars alone", "at most 1.5 x")
    plain.close()


def write_minutes(home: Path) -> None:
    """One minute of all coins, again and again, beside one transaction of as many bare rows."""
    values = {
        symbol: minutes_of(coin, to_ms(HOT_END), to_ms(HOT_END) + DAY_MS, first_price(coin))
        for coin, symbol in enumerate(COINS)
    }
    times = []
    clock = ManualClock(HOT_END + timedelta(days=2))
    with BarStore.open(home, market_data=market_data(), clock=clock) as store:
        for minute in range(MINUTES_WRITTEN):
            start_ms = to_ms(HOT_END) + minute * MINUTE_MS
            bars = {}
            for symbol, day in values.items():
                at = np.flatnonzero(day.open_time_ms == start_ms)
                bars[symbol] = BarBatch(
                    open_time_ms=day.open_time_ms[at],
                    open=day.open[at],
                    high=day.high[at],
                    low=day.low[at],
                    close=day.close[at],
                    volume=day.volume[at],
                )
            covered = dict.fromkeys(COINS, ((start_ms, start_ms + MINUTE_MS),))
            began = perf_counter()
            store.write_minutes(PROVIDER, bars, covered, source="benchmark")
            times.append(perf_counter() - began)
    with tempfile.TemporaryDirectory(dir=home) as folder:
        bare = bare_inserts(Path(folder, "bare.db"))
    ours, limit = (min(times), median(times)), (min(bare), median(bare))
    report("minute of 100 written", ours, limit, "bare INSERT", "at most 5 ms")
    print(f"{'':>26}  slowest of {len(times)}: {max(times) * 1e3:.1f} ms")


def bare_inserts(path: Path) -> list[float]:
    """Seconds of each transaction that inserts a hundred rows and forces them to the disk."""
    connection: sqlite3.Connection = sqlite_module().connect(str(path), isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    names = [column.name for column in tables.bars.columns]
    connection.execute(
        f"CREATE TABLE bars ({', '.join(names)}, PRIMARY KEY ({', '.join(names[:4])})) WITHOUT ROWID"
    )
    statement = f"INSERT INTO bars VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - our own names

    def rows(minute: int) -> list[tuple[float | str | None, ...]]:
        return [(coin, "1m", minute, 0, 1.0, 1.1, 0.9, 1.05, 2.0, None, None) for coin in range(100)]

    connection.execute("BEGIN IMMEDIATE")
    for minute in range(5_000):  # a table of some size to begin with
        connection.executemany(statement, rows(minute))
    connection.execute("COMMIT")
    times = []
    for minute in range(5_000, 5_000 + MINUTES_WRITTEN):
        added = rows(minute)
        began = perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(statement, added)
        connection.execute("COMMIT")
        times.append(perf_counter() - began)
    connection.close()
    return times


if __name__ == "__main__":
    starts()
    with tempfile.TemporaryDirectory() as folder:
        make_bars(Path(folder))
        large(Path(folder))
        write_minutes(Path(folder))
    data = os.environ.get("CRYPTO_TRACKER_MARKET_DATA")
    if data is None:
        print("CRYPTO_TRACKER_MARKET_DATA names no folder: no real bars are imported")
    else:
        with tempfile.TemporaryDirectory() as folder:
            bring_in(Path(data) / "bars" / "1m", Path(folder))
            read_back(Path(folder))
