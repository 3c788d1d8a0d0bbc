"""The real bars of 2025, resampled with Polars: a second way to derived bars, independent of the store."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.features.context import slow_regime
from crypto_tracker.strategies.base import MarketView
from tests.strategies.drawn import facts

TIMEFRAMES = (Timeframe.M5, Timeframe.M15, Timeframe.H4, Timeframe.D1)


@cache
def bars(folder: Path, coin: str, timeframe: Timeframe) -> pl.DataFrame:
    frame = pl.read_parquet(folder / "bars" / "1m" / f"{coin}USDT.parquet").sort("ts")
    return frame.group_by_dynamic("ts", every=str(timeframe)).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )


def panel(folder: Path, coins: Sequence[str], timeframe: Timeframe) -> Panel:
    frames = [bars(folder, coin, timeframe) for coin in coins]
    times = [frame["ts"].dt.epoch("ms").to_numpy().astype(np.int64) for frame in frames]
    start, end = min(int(t[0]) for t in times), max(int(t[-1]) for t in times) + timeframe.ms
    grid = np.arange(start, end, timeframe.ms, dtype=np.int64)
    columns = {}
    for name in ("open", "high", "low", "close", "volume"):
        array = np.full((len(grid), len(coins)), np.nan, order="F")
        for column, frame in enumerate(frames):
            array[(times[column] - start) // timeframe.ms, column] = frame[name].to_numpy()
        columns[name] = array
    return Panel(
        timeframe=timeframe,
        symbols=tuple(Symbol(coin, "USDT") for coin in coins),
        open_time_ms=grid,
        covered=~np.isnan(columns["close"]),
        **columns,
    )


def market(folder: Path, coins: Sequence[str], timeframe: Timeframe) -> MarketView:
    days = panel(folder, ["BTC"], Timeframe.D1)
    return MarketView(
        timeframe=timeframe,
        panels={each: panel(folder, coins, each) for each in TIMEFRAMES},
        reference={Timeframe.D1: days},
        instruments=facts([Symbol(coin, "USDT") for coin in coins]),
        slow_regime=slow_regime(
            days.close[:, 0],
            days.high[:, 0],
            crash_return_7d=-0.20,
            crash_below_high_30d=0.30,
            crash_bars=30,
            trend_bars=200,
            sma_fast=50,
            sma_slow=200,
        ),
    )
