"""How long the 29 standard features take: many symbols over a month, and few over a year."""

from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter

import numpy as np

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe, to_ms
from crypto_tracker.features.standard import STANDARD, compute_standard


def walk(timeframe: Timeframe, start_ms: int, end_ms: int, symbols: Sequence[Symbol], seed: int) -> Panel:
    rng = np.random.default_rng(seed)
    times = np.arange(start_ms, end_ms, timeframe.ms, dtype=np.int64)
    shape = (len(times), len(symbols))
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.001, shape), axis=0))
    return Panel(
        timeframe=timeframe,
        symbols=tuple(symbols),
        open_time_ms=times,
        open=close,
        high=close * 1.0005,
        low=close * 0.9995,
        close=close,
        volume=rng.lognormal(3.0, 1.0, shape),
        covered=np.ones(shape, dtype=np.bool_),
    )


def measure(timeframe: Timeframe, n_symbols: int, days: int) -> None:
    start = to_ms(datetime(2024, 1, 1, tzinfo=UTC))
    end = start + days * DAY_MS
    symbols = [Symbol(f"COIN{number}", "USD") for number in range(n_symbols)]
    begin = STANDARD.history_start_ms(timeframe, start)
    panels = {read: walk(read, first, end, symbols, seed=1) for read, first in begin.items()}
    reference = {timeframe: walk(timeframe, begin[timeframe], end, symbols[:1], seed=2)}
    compute_standard(panels, reference, timeframe, start, start + DAY_MS)  # compile
    started = perf_counter()
    found = compute_standard(panels, reference, timeframe, start, end)
    seconds = perf_counter() - started
    values = sum(array.size for array in found.values())
    print(
        f"{n_symbols:4} symbols x {days:3} d of {timeframe!s:3}: {seconds:6.2f} s, "
        f"{values / seconds / 1e6:5.1f} M values/s"
    )


if __name__ == "__main__":
    measure(Timeframe.M5, 100, 30)
    measure(Timeframe.M15, 100, 30)
    measure(Timeframe.H1, 100, 30)
    measure(Timeframe.M15, 3, 365)
