"""The equity of a recorded run in the stretches that were kept of it, or in steps from trade to trade."""

from dataclasses import dataclass

import numpy as np

from crypto_tracker.app.serving.equity_levels import Curve, Stretches, in_stretches
from crypto_tracker.app.serving.trade_columns import TradeColumns
from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.store.column_rows import EquityRows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunEquity:
    """The equity since the start of the run; amounts in 1e-8 quote.

    Attributes
    ----------
    bar_ms : width of the bars at whose close it was marked
    drawdown : in each recorded stretch, a fraction
    max_drawdown : of the equity at every close where it was kept, else as deep as the stretches tell
    """

    capital_e8: int
    bar_ms: int
    rows: EquityRows
    drawdown: FloatArray
    max_drawdown: float

    @classmethod
    def of(cls, rows: EquityRows, *, capital_e8: int, bar_ms: int, max_drawdown: float | None) -> "RunEquity":
        """That of the stretches in `rows`; `max_drawdown` is None where it was not kept.

        Whether the low of a stretch came before its high was not recorded: its drawdown is that of the low
        below the highest point before the stretch, and of its end below that of the stretch as well. The
        deepest one that there may have been is that of each low below the high of its own stretch.
        """
        peak: IntArray = np.maximum(np.maximum.accumulate(rows.high_e8), capital_e8)
        before = np.append(capital_e8, peak[:-1])[: len(peak)]
        fallen = np.maximum((before - rows.low_e8) / before, (peak - rows.equity_e8) / peak)
        deepest = float(np.max((peak - rows.low_e8) / peak, initial=0.0))
        return cls(
            capital_e8=capital_e8,
            bar_ms=bar_ms,
            rows=rows,
            drawdown=np.maximum(fallen, 0.0),
            max_drawdown=deepest if max_drawdown is None else max_drawdown,
        )

    @property
    def peak_e8(self) -> int:
        """The highest equity of all, the capital included."""
        return self._peak(len(self.rows))

    def curve(self, points: int, start_ms: int | None = None, end_ms: int | None = None) -> Curve | None:
        """The equity of bars that open in [start_ms, end_ms), in at most `points` stretches."""
        first = 0 if start_ms is None else int(np.searchsorted(self.rows.time_ms, start_ms))
        stop = len(self.rows) if end_ms is None else int(np.searchsorted(self.rows.time_ms, end_ms))
        if stop <= first:
            return None
        part = slice(first, stop)
        rows = EquityRows(
            time_ms=self.rows.time_ms[part],
            equity_e8=self.rows.equity_e8[part],
            low_e8=self.rows.low_e8[part],
            high_e8=self.rows.high_e8[part],
        )
        fine = Stretches(rows, self.drawdown[part])
        return in_stretches(fine, points, unit_ms=self.bar_ms, bar_ms=self.bar_ms)

    def peak_before(self, start_ms: int | None) -> int:
        """The highest equity that was recorded before a time, the capital included."""
        return self._peak(0 if start_ms is None else int(np.searchsorted(self.rows.time_ms, start_ms)))

    def _peak(self, stop: int) -> int:
        return max(self.capital_e8, int(self.rows.high_e8[:stop].max(initial=0)))


def of_closed_trades(trades: TradeColumns, capital_e8: int) -> EquityRows:
    """The capital and what was made so far, at each exit."""
    last = np.append(np.flatnonzero(np.diff(trades.exit_ms)), len(trades) - 1)[: len(trades)]
    equity: IntArray = capital_e8 + np.cumsum(trades.pnl_e8)[last]
    return EquityRows(time_ms=trades.exit_ms[last], equity_e8=equity, low_e8=equity, high_e8=equity)
