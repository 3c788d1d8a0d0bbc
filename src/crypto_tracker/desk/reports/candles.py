"""Candles of one symbol with what was traded on them, for drawing."""

from dataclasses import dataclass

import numpy as np

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.resample import resample
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe

_COARSER = (Timeframe.M1, Timeframe.M5, Timeframe.M15, Timeframe.H1, Timeframe.H4, Timeframe.D1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candles:
    """Bars of one symbol, missing ones left out; lists of one length."""

    symbol: str
    timeframe: str
    time_ms: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]


def candles(panel: Panel, symbol: Symbol, most: int) -> Candles:
    """The finest candles of `symbol` of which the span has no more than `most`, else those of days.

    Raises UsageError where the panel does not hold the symbol.
    """
    if symbol not in panel.symbols:
        raise UsageError(
            f"{symbol} was not traded in this run: choose one of {', '.join(map(str, panel.symbols[:5]))}"
        )
    span_ms = len(panel) * panel.timeframe.ms
    usable = [each for each in _COARSER if each.ms >= panel.timeframe.ms]
    timeframe = next((each for each in usable if span_ms <= most * each.ms), usable[-1])
    bars = resample(panel.select([symbol]), timeframe)
    rows = np.flatnonzero(bars.present[:, 0])
    return Candles(
        symbol=str(symbol),
        timeframe=str(timeframe),
        time_ms=bars.open_time_ms[rows].tolist(),
        **{name: getattr(bars, name)[rows, 0].tolist() for name in ("open", "high", "low", "close")},
    )
