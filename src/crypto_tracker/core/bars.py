"""Bars of many symbols as one dense table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from crypto_tracker.core.arrays import BoolArray, FloatArray, IntArray, RecordArray
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe

PRICE_FIELDS = ("open", "high", "low", "close")
BAR_FIELDS = (*PRICE_FIELDS, "volume")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """Dense bars of one timeframe: arrays (bars, symbols), float64, Fortran order, read-only.

    Rows lie on the full time grid, without holes: a missing bar is a row of NaN. `covered` tells the two
    kinds of missing apart: inside coverage the minute had no trade (`no_trade`), outside it is `unknown`.

    Attributes
    ----------
    open_time_ms : int64 (bars,), strictly the grid `start, start + timeframe, ...`
    symbols : the columns, in the order given
    open, high, low, close : quote currency, NaN where the bar is missing
    volume : base units, NaN where the bar is missing or its volume unknown
    covered : bool (bars, symbols), true where the interval is known to have been fetched
    """

    timeframe: Timeframe
    symbols: tuple[Symbol, ...]
    open_time_ms: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    covered: BoolArray

    def __post_init__(self) -> None:
        shape = (len(self.open_time_ms), len(self.symbols))
        if len(set(self.symbols)) != len(self.symbols):
            raise DataError("a panel has one column per symbol, but a symbol was given twice")
        for name in (*BAR_FIELDS, "covered"):
            array = getattr(self, name)
            if array.shape != shape:
                raise DataError(
                    f"panel field {name} has shape {array.shape}, expected {shape} (bars, symbols)"
                )
            if not array.flags.f_contiguous:
                array = np.asfortranarray(array)
            array = array.view()
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        times = np.ascontiguousarray(self.open_time_ms, dtype=np.int64)
        if len(times) and (times[0] % self.timeframe.ms or np.any(np.diff(times) != self.timeframe.ms)):
            raise DataError(
                f"panel rows do not lie on the {self.timeframe} grid: give every bar of the span one row"
            )
        times = times.view()
        times.flags.writeable = False
        object.__setattr__(self, "open_time_ms", times)

    @classmethod
    def empty(cls, timeframe: Timeframe, symbols: Sequence[Symbol], start_ms: int, end_ms: int) -> "Panel":
        """A panel of unknown bars over [start_ms, end_ms), whose ends are floored to the grid."""
        times = np.arange(timeframe.floor(start_ms), timeframe.floor(end_ms), timeframe.ms, dtype=np.int64)
        shape = (len(times), len(symbols))
        missing = np.full(shape, np.nan, order="F")
        return cls(
            timeframe=timeframe,
            symbols=tuple(symbols),
            open_time_ms=times,
            open=missing,
            high=missing,
            low=missing,
            close=missing,
            volume=missing,
            covered=np.zeros(shape, dtype=np.bool_, order="F"),
        )

    def __len__(self) -> int:
        return len(self.open_time_ms)

    @property
    def close_time_ms(self) -> IntArray:
        """When each row becomes known, int64 (bars,)."""
        return self.open_time_ms + self.timeframe.ms

    @property
    def present(self) -> BoolArray:
        """Where a bar exists, bool (bars, symbols)."""
        return ~np.isnan(self.close)

    @property
    def no_trade(self) -> BoolArray:
        """Where the interval was fetched and holds no bar, bool (bars, symbols)."""
        return self.covered & np.isnan(self.close)

    def rows(self, start: int, stop: int) -> "Panel":
        """The rows [start, stop) as a view."""
        return self._map(lambda array: array[start:stop], self.open_time_ms[start:stop], self.symbols)

    def between(self, start_ms: int, end_ms: int) -> "Panel":
        """The rows whose open time lies in [start_ms, end_ms)."""
        start, stop = np.searchsorted(self.open_time_ms, [start_ms, end_ms])
        return self.rows(int(start), int(stop))

    def select(self, symbols: Sequence[Symbol]) -> "Panel":
        """The columns of `symbols`, in that order; raises DataError for a symbol that is not there."""
        missing = [str(symbol) for symbol in symbols if symbol not in self.symbols]
        if missing:
            raise DataError(f"the panel has no column for {', '.join(missing)}")
        index = [self.symbols.index(symbol) for symbol in symbols]
        return self._map(lambda array: np.asfortranarray(array[:, index]), self.open_time_ms, tuple(symbols))

    def carried(self) -> "Panel":
        """A view for features: through `no_trade` bars the last close goes on, with volume 0.

        Unknown bars stay missing, and nothing is carried across them.
        """
        no_trade = self.no_trade
        if not no_trade.any():
            return self
        close = self.close.copy(order="F")
        for column in range(close.shape[1]):
            gap = no_trade[:, column]
            if not gap.any():
                continue
            rows = np.arange(len(self))
            # The last row that is not a no_trade gap; it carries only if it holds a bar.
            source = np.maximum.accumulate(np.where(gap, -1, rows))
            usable = gap & (source >= 0)
            close[usable, column] = self.close[source[usable], column]
        fill = no_trade & ~np.isnan(close)
        return Panel(
            timeframe=self.timeframe,
            symbols=self.symbols,
            open_time_ms=self.open_time_ms,
            open=np.where(fill, close, self.open),
            high=np.where(fill, close, self.high),
            low=np.where(fill, close, self.low),
            close=close,
            volume=np.where(fill, 0.0, self.volume),
            covered=self.covered,
        )

    def _map(
        self,
        change: Callable[[RecordArray], RecordArray],
        open_time_ms: IntArray,
        symbols: tuple[Symbol, ...],
    ) -> "Panel":
        return Panel(
            timeframe=self.timeframe,
            symbols=symbols,
            open_time_ms=open_time_ms,
            open=change(self.open),
            high=change(self.high),
            low=change(self.low),
            close=change(self.close),
            volume=change(self.volume),
            covered=change(self.covered),
        )
