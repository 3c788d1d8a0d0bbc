"""The equity of a recorded run in the stretches that were kept of it, or in steps from trade to trade."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crypto_tracker.app.serving.equity_levels import Curve, Stretches, in_stretches, laid_out
from crypto_tracker.app.serving.trade_columns import TradeColumns
from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.store.column_rows import EquityRows

_EDGES = 2  # points of what moves in steps: what it was at the start of a span, and at its end


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunEquity:
    """The equity since the start of the run; amounts in 1e-8 quote.

    Attributes
    ----------
    bar_ms : width of the bars at whose close it was marked
    drawdown : in each recorded stretch, a fraction
    max_drawdown : of the equity at every close where it was kept, else as deep as the stretches tell
    span : the run from its start to its end where it moves in steps, which is known between them as well
    """

    capital_e8: int
    bar_ms: int
    rows: EquityRows
    drawdown: FloatArray
    max_drawdown: float
    span: tuple[int, int] | None = None

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

    @classmethod
    def of_closed_trades(
        cls, trades: TradeColumns, *, capital_e8: int, bar_ms: int, start_ms: int, end_ms: int
    ) -> "RunEquity":
        """The capital and what closed trades made so far, in steps from the start of the run to its end."""
        rows = _steps(trades, capital_e8)
        found = cls.of(rows, capital_e8=capital_e8, bar_ms=bar_ms, max_drawdown=None)
        return replace(found, span=(start_ms, end_ms))

    @property
    def last_e8(self) -> int:
        """The last equity of all, the capital before the first."""
        return self._standing(len(self.rows))

    @property
    def fallen(self) -> float:
        """How far the last equity lies below the highest of all, a fraction."""
        return (self.peak_e8 - self.last_e8) / self.peak_e8

    @property
    def peak_e8(self) -> int:
        """The highest equity of all, the capital included."""
        return self._peak(len(self.rows))

    def curve(self, points: int, start_ms: int | None = None, end_ms: int | None = None) -> Curve | None:
        """The equity of bars that open in [start_ms, end_ms), in at most `points` stretches.

        What moves in steps begins and ends with what it was at the ends of the span.
        """
        if self.span is not None:
            begin_ms = self.span[0] if start_ms is None else max(start_ms, self.span[0])
            return self._stepped(
                points, begin_ms, self.span[1] if end_ms is None else min(end_ms, self.span[1])
            )
        first, stop = self._rows_between(start_ms, end_ms)
        return None if stop <= first else self._stretches(points, first, stop)

    def peak_before(self, start_ms: int | None) -> int:
        """The highest equity that was recorded before a time, the capital included."""
        return self._peak(0 if start_ms is None else int(np.searchsorted(self.rows.time_ms, start_ms)))

    def _peak(self, stop: int) -> int:
        return max(self.capital_e8, int(self.rows.high_e8[:stop].max(initial=0)))

    def _standing(self, stop: int) -> int:
        return int(self.rows.equity_e8[stop - 1]) if stop else self.capital_e8

    def _rows_between(self, start_ms: int | None, end_ms: int | None) -> tuple[int, int]:
        first = 0 if start_ms is None else int(np.searchsorted(self.rows.time_ms, start_ms))
        return first, len(self.rows) if end_ms is None else int(np.searchsorted(self.rows.time_ms, end_ms))

    def _stretches(self, points: int, first: int, stop: int) -> Curve:
        fine = Stretches(_part(self.rows, first, stop), self.drawdown[first:stop])
        return in_stretches(fine, points, unit_ms=self.bar_ms, bar_ms=self.bar_ms)

    def _stepped(self, points: int, begin_ms: int, end_ms: int) -> Curve | None:
        first, stop = self._rows_between(begin_ms, end_ms)
        if not len(self.rows) or end_ms <= begin_ms:
            return None
        if points <= _EDGES:  # no room for more than the steps themselves
            return self._stretches(points, first, stop) if first < stop else None
        parts, fallen = [self._edge(begin_ms, first)], [self._fallen(first)]
        last_ms = end_ms - self.bar_ms
        _, resolution_ms = laid_out(begin_ms, max(last_ms, begin_ms), points - _EDGES, unit_ms=self.bar_ms)
        if first < stop:
            inside = self._stretches(points - _EDGES, first, stop)
            parts.append(inside.rows)
            fallen.append(inside.drawdown)
            resolution_ms = inside.resolution_ms
        if int(parts[-1].time_ms[-1]) < last_ms:
            parts.append(self._edge(end_ms, stop))
            fallen.append(self._fallen(stop))
        return Curve(
            resolution_ms=resolution_ms,
            bar_ms=self.bar_ms,
            rows=_joined(parts),
            drawdown=np.concatenate(fallen),
        )

    def _edge(self, close_ms: int, stop: int) -> EquityRows:
        """What it was at a close, after so many rows."""
        equity: IntArray = np.array([self._standing(stop)], dtype=np.int64)
        time_ms: IntArray = np.array([close_ms - self.bar_ms], dtype=np.int64)
        return EquityRows(time_ms=time_ms, equity_e8=equity, low_e8=equity, high_e8=equity)

    def _fallen(self, stop: int) -> FloatArray:
        peak = self._peak(stop)
        return np.array([(peak - self._standing(stop)) / peak])


def _part(rows: EquityRows, first: int, stop: int) -> EquityRows:
    part = slice(first, stop)
    return EquityRows(
        time_ms=rows.time_ms[part],
        equity_e8=rows.equity_e8[part],
        low_e8=rows.low_e8[part],
        high_e8=rows.high_e8[part],
    )


def _joined(parts: Sequence[EquityRows]) -> EquityRows:
    return EquityRows(
        time_ms=np.concatenate([part.time_ms for part in parts]),
        equity_e8=np.concatenate([part.equity_e8 for part in parts]),
        low_e8=np.concatenate([part.low_e8 for part in parts]),
        high_e8=np.concatenate([part.high_e8 for part in parts]),
    )


def _steps(trades: TradeColumns, capital_e8: int) -> EquityRows:
    """The capital and what was made so far, at each exit."""
    last = np.append(np.flatnonzero(np.diff(trades.exit_ms)), len(trades) - 1)[: len(trades)]
    equity: IntArray = capital_e8 + np.cumsum(trades.pnl_e8)[last]
    return EquityRows(time_ms=trades.exit_ms[last], equity_e8=equity, low_e8=equity, high_e8=equity)
