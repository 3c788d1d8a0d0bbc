"""Everything that is drawn over the candles of one symbol: the levels of strategies, and what was traded."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from crypto_tracker.app.serving.scans import closes, read_columns
from crypto_tracker.app.serving.scope import Scanned, Scope
from crypto_tracker.app.serving.strategy_view import (
    configuration_of,
    facts_of,
    parameters_of,
    strategies_of,
    timeframe_of,
)
from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.orders import ExitReason, Fill, FillKind
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.desk.views import charts as views
from crypto_tracker.desk.views import trades as trade_views
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.strategies.decisions import ScanColumn
from crypto_tracker.strategies.levels import levels as levels_of

MARKS_MAX = 300
"""Closed trades of a symbol and span, the newest, whose fills are marked: more can not be told apart."""
SCANS_MAX = 500
"""Scans of a strategy from which lines are drawn; of a longer span every second, third ... is taken."""
_SAME = 1e-6
"""So far, as a share of the price, two scans of one line may differ: measurements are kept in 32 bits."""


def levels(
    scope: Scope,
    scanned: Scanned,
    symbol: Symbol,
    start_ms: int,
    end_ms: int,
    strategies: Sequence[str],
    position: trade_views.Position | None,
    trades: Sequence[trade_views.Trade],
) -> views.PairLevels:
    """The lines and fills of [start_ms, end_ms), and the position that is held.

    `strategies` are all where none is named; `trades` are the newest MARKS_MAX of the symbol that closed in
    the span.
    """
    facts_of(scope, symbol)
    drawn = [
        views.StrategyLevels(
            strategy=strategy.name, lines=_lines(scope, scanned, symbol, strategy, start_ms, end_ms)
        )
        for strategy in strategies_of(scope, tuple(strategies))
    ]
    marked = marks(scanned.fills_of(symbol, start_ms, min(end_ms, scope.until_ms), trades=MARKS_MAX), trades)
    return views.PairLevels(
        symbol=str(symbol),
        strategies=drawn,
        marks=marked,
        marks_from_ms=marked[0].time_ms if marked and len(trades) >= MARKS_MAX else None,
        position=position,
    )


def marks(fills: Sequence[Fill], trades: Iterable[trade_views.Trade]) -> list[views.Mark]:
    """Fills in the order in which they happened; the last sell of a closed trade has the trade's P&L."""
    made = {trade.trade_group_id: trade.pnl_quote for trade in trades if trade.exit_ms is not None}
    last_sell = {fill.trade_group_id: place for place, fill in enumerate(fills) if fill.kind is FillKind.EXIT}
    return [
        views.Mark(
            time_ms=to_ms(fill.bar_open_time),
            side="sell" if fill.kind is FillKind.EXIT else "buy",
            kind=fill.kind.code,
            rung=fill.rung,
            price=float(fill.price),
            quote=float(fill.notional_quote),
            strategy=fill.strategy,
            trade_group_id=fill.trade_group_id,
            exit_reason=None if fill.exit_reason is ExitReason.NONE else fill.exit_reason.code,
            pnl_quote=made.get(fill.trade_group_id) if last_sell.get(fill.trade_group_id) == place else None,
        )
        for place, fill in enumerate(fills)
    ]


def _lines(
    scope: Scope, scanned: Scanned, symbol: Symbol, strategy: Strategy, start_ms: int, end_ms: int
) -> list[views.LevelLine]:
    timeframe = timeframe_of(scope, strategy)
    times = _thinned(closes(scope, timeframe, start_ms, end_ms))
    columns = read_columns(scope, scanned, symbol, strategy.name, times)
    lines: dict[tuple[str, str], Line] = {}
    for version, group in groupby(columns, key=lambda column: column.version):
        part = list(group)
        parameters = parameters_of(configuration_of(scope, version), strategy)
        drawn = levels_of(strategy, parameters, facts_of(scope, symbol), _measured(part))
        for level in drawn:
            line = lines.setdefault((level.name, level.kind.value), Line(reach=level.reach))
            line.time_ms.extend(column.time_ms for column in part)
            line.price.extend(level.price.tolist())
            if level.slope is not None:
                line.slope.extend(level.slope.tolist())
    return [
        views.LevelLine.model_validate(
            {
                "name": name,
                "kind": kind,
                "time_ms": line.time_ms,
                "price": line.price,
                "straight": straights(line, timeframe.ms),
            }
        )
        for (name, kind), line in lines.items()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One level over all configurations of a span: columns of one length.

    There are no slopes where it is never drawn straight, and NaN where a scan does not draw it so.
    """

    reach: int
    time_ms: list[int] = field(default_factory=list)
    price: list[float] = field(default_factory=list)
    slope: list[float] = field(default_factory=list)


def straights(line: Line, bar_ms: int) -> views.Straights | None:
    """The straight lines that scans drew, scans of one and the same line put together.

    A scan draws its line through the middle of its bar, `slope` a bar. Scans draw the same one where each
    lies on the line of the one before; the last scan draws it over all bars that it was fitted to. The price
    of a scan without a slope lies level over its bar.
    """
    if len(line.slope) != len(line.price) or not line.price:
        return None
    time_ms, price, slope = np.array(line.time_ms), np.array(line.price), np.array(line.slope)
    level = np.isnan(slope)
    slope = np.where(level, 0.0, slope)
    bars = np.diff(time_ms) / bar_ms
    near = _SAME * np.abs(price[1:])
    same = np.abs(price[:-1] + slope[:-1] * bars - price[1:]) <= near  # False beside NaN
    same &= (np.abs(slope[1:] - slope[:-1]) * line.reach <= near) & (level[1:] == level[:-1])
    first = np.flatnonzero(np.append(True, ~same) & np.isfinite(price))
    last = np.flatnonzero(np.append(~same, True) & np.isfinite(price))
    back = np.full(len(first), 1.0)  # bars before the close of the first scan
    if len(last) and last[-1] == len(price) - 1 and not level[-1]:
        back[-1] = max(1.0, line.reach - (time_ms[last[-1]] - time_ms[first[-1]]) / bar_ms)
    return views.Straights(
        start_ms=(time_ms[first] - back * bar_ms).astype(np.int64).tolist(),
        start_price=_short(price[first] - slope[first] * (back - 0.5)),
        end_ms=time_ms[last].tolist(),
        end_price=_short(price[last] + slope[last] * 0.5),
    )


def _short(prices: FloatArray) -> list[float]:
    """Prices with as many digits as can be seen."""
    return [float(f"{price:.8g}") for price in prices.tolist()]


def _thinned(times: range) -> list[int]:
    """About SCANS_MAX of the closes, the same ones whatever span they are part of, and the last one."""
    every = -(-len(times) // SCANS_MAX)
    if every <= 1:
        return list(times)
    step = times.step * every
    return [*range(-(-times[0] // step) * step, times[-1], step), times[-1]]


def _measured(columns: Sequence[ScanColumn]) -> dict[str, FloatArray]:
    """What some scans measured, as arrays (scans,)."""
    names = dict.fromkeys(name for column in columns for name in column.measurements)
    return {name: np.array([column.measurements.get(name, math.nan) for column in columns]) for name in names}
