"""A small market for the local Massive, and settings that point at it."""

import tomllib
from collections.abc import Iterable
from typing import Any

import numpy as np

from crypto_tracker.config.market_data import Massive
from crypto_tracker.config.tree import defaults
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS
from crypto_tracker.store.batch import BarBatch

START = 1_704_067_200_000  # 2024-01-01T00:00Z
BTC, ETH, TETHER, OLD = (Symbol.parse(text) for text in ("BTC/USD", "ETH/USD", "USDT/USD", "LUNA/USD"))
_DEFAULTS = tomllib.loads(defaults().text)["market_data"]["massive"]


def minutes(start_ms: int, count: int, *, seed: int, without: Iterable[int] = ()) -> BarBatch:
    """A walk of so many minutes; those in `without`, counted from 0, had no trade."""
    chance = np.random.default_rng(seed)
    close = np.round(100.0 * np.exp(np.cumsum(chance.normal(0.0, 0.001, count))), 4)
    open_ = np.concatenate([[100.0], close[:-1]])
    kept = np.setdiff1d(np.arange(count), np.fromiter(without, dtype=np.int64))
    return BarBatch(
        open_time_ms=start_ms + MINUTE_MS * kept,
        open=open_[kept],
        high=np.round(np.maximum(open_, close) * 1.0005, 4)[kept],
        low=np.round(np.minimum(open_, close) * 0.9995, 4)[kept],
        close=close[kept],
        volume=np.round(chance.exponential(3.0, count), 8)[kept],
        vwap=np.round((open_ + close) / 2, 4)[kept],
        n_trades=np.floor(chance.exponential(20.0, count) + 1)[kept],
    )


def small_market() -> dict[Symbol, BarBatch]:
    """Three days of three pairs; Ether is listed at noon of the second day, Luna died on the first."""
    day = DAY_MS // MINUTE_MS
    return {
        BTC: minutes(START, 3 * day, seed=1, without=(7, 8, 9, 1000)),
        ETH: minutes(START + DAY_MS + DAY_MS // 2, 3 * day // 2, seed=2, without=(0, 1)),
        TETHER: minutes(START, 3 * day, seed=3, without=range(100, 2000, 3)),
        OLD: minutes(START, 300, seed=4),
    }


def settings(url: str, **changes: Any) -> Massive:
    """Massive's settings, pointing at a local server, with a limit that holds nobody up."""
    return Massive.model_validate(
        _DEFAULTS | {"rest_url": url, "files_url": url, "requests_per_second": 10_000.0} | changes
    )
