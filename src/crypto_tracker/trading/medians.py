"""The median bar range of the days before (R7), read from the store when a day first needs it."""

from collections.abc import Mapping, Sequence

import numpy as np

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.simulation.kernel_ranges import range_medians
from crypto_tracker.store.sources import BarSource
from crypto_tracker.strategies.base import SETUP_DTYPE


class RangeMedians:
    """The medians of one UTC day at a time; a symbol's is read once a day and then stays.

    Parameters
    ----------
    known : those of the day `day_ms` that the journal already has, NaN where no bar was known
    """

    def __init__(self, symbols: Sequence[Symbol], day_ms: int, known: Mapping[Symbol, float]) -> None:
        self._symbols = tuple(symbols)
        self._day_ms = day_ms
        self._known = dict(known)

    def of(
        self, columns: Sequence[int], decision_ms: int, source: BarSource, days: int
    ) -> tuple[FloatArray, list[tuple[Symbol, int, float]]]:
        """The medians for setups of these columns decided at `decision_ms`, and those that were read anew.

        Read are the `days` whole UTC days before the day of the decision.
        """
        day_ms = decision_ms - decision_ms % DAY_MS
        if day_ms != self._day_ms:
            self._day_ms = day_ms
            self._known = {}
        missing = sorted({self._symbols[column] for column in columns}.difference(self._known))
        fresh: list[tuple[Symbol, int, float]] = []
        if missing:
            for symbol, median in zip(missing, _read(source, missing, day_ms, days), strict=True):
                self._known[symbol] = float(median)
                fresh.append((symbol, day_ms, float(median)))
        return np.array([self._known[self._symbols[column]] for column in columns], dtype=np.float64), fresh


def _read(source: BarSource, symbols: Sequence[Symbol], day_ms: int, days: int) -> FloatArray:
    panel = source.panel(symbols, Timeframe.M1, day_ms - days * DAY_MS, day_ms)
    asked = np.zeros(len(symbols), dtype=SETUP_DTYPE)
    asked["symbol"] = np.arange(len(symbols))
    asked["time_ms"] = day_ms
    return range_medians(panel, asked, days)
