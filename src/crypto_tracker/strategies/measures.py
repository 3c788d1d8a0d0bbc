"""Measurements that several strategies take, and the question whether there are bars enough to take them."""

from collections.abc import Mapping

import numpy as np

from crypto_tracker.core.arrays import BoolArray, FloatArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.features import indicators
from crypto_tracker.features.align import known_rows
from crypto_tracker.strategies.base import MarketView, Strategy


def scanned_panel(market: MarketView) -> Panel:
    """The bars of the timeframe that is scanned; raises DataError where the market does not hold it."""
    panel = market.panels.get(market.timeframe)
    if panel is None:
        held = ", ".join(str(timeframe) for timeframe in market.panels) or "nothing"
        raise DataError(f"the market holds {held}, but {market.timeframe} bars are to be scanned")
    return panel


def warmup_on(strategy: Strategy, timeframe: Timeframe) -> dict[Timeframe, int]:
    """The strategy's warm-up when it scans `timeframe`: bars of its native one become bars of that."""
    needed: dict[Timeframe, int] = {}
    for declared, bars in strategy.warmup.items():
        on = timeframe if declared is strategy.timeframe else declared
        needed[on] = max(bars, needed.get(on, 0))
    return needed


def history(market: MarketView, warmup: Mapping[Timeframe, int]) -> FloatArray:
    """Share of the warm-up that exists at each scan, 0 to 1, (bars, symbols) on the timeframe scanned.

    On each timeframe the rows from the symbol's first bar to the latest one that has closed are counted,
    and the least complete timeframe decides. 0 where a timeframe is not in the market at all.
    """
    panel = scanned_panel(market)
    share = np.ones((len(panel), len(panel.symbols)), order="F")
    for timeframe, bars in warmup.items():
        source = market.panels.get(timeframe)
        if source is None:
            share[:] = 0.0
            continue
        present = source.present
        first = np.where(present.any(axis=0), present.argmax(axis=0), len(source))
        rows = known_rows(source.close_time_ms, panel.close_time_ms)
        counted = np.maximum(rows[:, np.newaxis] - first[np.newaxis, :] + 1, 0)
        share = np.minimum(share, counted / max(bars, 1))
    return np.asfortranarray(share)


def ready(history_share: FloatArray, *needed: FloatArray) -> BoolArray:
    """Where the warm-up is complete and every needed measurement is a number, bool (bars, symbols)."""
    result = history_share >= 1.0
    for values in needed:
        result = result & np.isfinite(values)
    return np.asfortranarray(result)


def volume_ratio(volume: FloatArray, *, window: int) -> FloatArray:
    """Volume over its mean of the last `window` bars, this one included; 0 while nothing is traded."""
    mean = indicators.rolling_mean(volume, window=window)
    return np.where(mean == 0.0, 0.0, indicators.ratio(volume, mean))


def highest_within(high: FloatArray, *, rows: int) -> FloatArray:
    """Highest high of the last `rows` rows of the time grid, the current one included.

    A window in time: where bars are missing it holds fewer of them, and does not reach further back. NaN
    until the window has passed once, and where it holds no bar.
    """
    known = np.where(np.isnan(high), -np.inf, high)
    highest = indicators.rolling_max(known, window=rows)
    return np.where(np.isneginf(highest), np.nan, highest)
