"""Random bars for the tests of features: no market model, only valid bars, with both kinds of gaps."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, to_ms

BTC = Symbol("BTC", "USD")
ETH = Symbol("ETH", "USD")
SOL = Symbol("SOL", "USD")


def utc(*parts: int) -> int:
    return to_ms(datetime(*parts, tzinfo=UTC))


def random_walk(
    timeframe: Timeframe,
    start_ms: int,
    end_ms: int,
    symbols: Sequence[Symbol],
    *,
    seed: int,
    missing: float = 0.0,
    step: float = 0.004,
) -> Panel:
    """Bars of a random walk; half of the `missing` share had no trade, the other half is unknown."""
    rng = np.random.default_rng(seed)
    times = np.arange(timeframe.floor(start_ms), timeframe.floor(end_ms), timeframe.ms, dtype=np.int64)
    shape = (len(times), len(symbols))
    close = np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, step, shape), axis=0)), 4)
    open_ = np.round(close * np.exp(rng.normal(0.0, step / 2, shape)), 4)
    high = np.maximum(open_, close) + np.round(rng.exponential(step * 50, shape), 4)
    low = np.minimum(open_, close) * (1.0 - rng.uniform(0.0, step, shape))
    volume = np.round(rng.lognormal(3.0, 1.5, shape), 3)
    gone = rng.random(shape) < missing
    unknown = gone & (rng.random(shape) < 0.5)
    for values in (open_, high, low, close, volume):
        values[gone] = np.nan
    return Panel(
        timeframe=timeframe,
        symbols=tuple(symbols),
        open_time_ms=times,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        covered=~unknown,
    )


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two arrays are equal bit for bit, NaN equal to NaN."""
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    both_missing = np.isnan(left) & np.isnan(right)
    return bool(np.all((left.view(np.int64) == right.view(np.int64)) | both_missing))
