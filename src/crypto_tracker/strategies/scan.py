"""Scans over a span, month by month from their anchors, and the events that the simulator reads."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace

import numpy as np

from crypto_tracker.core.arrays import BoolArray, RecordArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.features.blocks import anchored_panels, closing_within, month_blocks
from crypto_tracker.strategies.base import (
    EVENT_RESET,
    EVENT_SETUP,
    SETUP_DTYPE,
    Detection,
    Features,
    MarketView,
    Plan,
    Strategy,
)
from crypto_tracker.strategies.measures import warmup_on

_DATA_REASONS = (Reason.NOT_READY, Reason.NO_BAR, Reason.DATA_STALE)


def scan(
    strategy: Strategy, market: MarketView, parameters: Frozen, start_ms: int, end_ms: int
) -> Iterator[tuple[Features, Detection]]:
    """What a strategy says of every bar that closes in (start_ms, end_ms], one calendar month at a time.

    Each month is computed from its own anchor (start of the month less the declared warm-up), whatever span
    is asked for, and sees no bar that closes after the span. A bar belongs to the month in which it opens.
    """
    timeframe = market.timeframe
    for block_start, block_end in month_blocks(timeframe.floor(start_ms), timeframe.floor(end_ms)):
        block = block_view(strategy, market, block_start, block_end)
        features = strategy.features(block)
        detection = strategy.detect(features, parameters)
        wanted = closing_within(features.panel, max(start_ms, block_start), block_end)
        if not len(wanted):
            continue
        first = int(np.searchsorted(features.panel.open_time_ms, wanted.open_time_ms[0]))
        yield cut(features, detection, first, first + len(wanted))


def block_view(strategy: Strategy, market: MarketView, block_start_ms: int, block_end_ms: int) -> MarketView:
    """What a strategy sees in the block [block_start_ms, block_end_ms) of one month, from its anchor on."""
    panels = anchored_panels(
        market.panels, warmup_on(strategy, market.timeframe), block_start_ms, block_end_ms
    )
    reference = anchored_panels(market.reference, strategy.reference_warmup, block_start_ms, block_end_ms)
    return replace(
        market, panels=panels, reference=reference, slow_regime=_codes_of(market, reference.get(Timeframe.D1))
    )


def cut(features: Features, detection: Detection, start: int, stop: int) -> tuple[Features, Detection]:
    """The rows [start, stop) of both."""
    bars = len(detection.panel)

    def rows(array: RecordArray) -> RecordArray:
        return array[start:stop] if array.shape[0] == bars else array

    plan = Plan(**{field.name: rows(getattr(detection.plan, field.name)) for field in fields(Plan)})
    panel = detection.panel.rows(start, stop)
    return (
        replace(features, panel=panel, values=_each(features.values, rows), ready=features.ready[start:stop]),
        replace(
            detection,
            panel=panel,
            setup=detection.setup[start:stop],
            reason=detection.reason[start:stop],
            readiness=detection.readiness[start:stop],
            confidence=detection.confidence[start:stop],
            measurements=_each(detection.measurements, rows),
            plan=plan,
        ),
    )


def setup_events(
    detections: Iterable[Detection], strategy_index: int, was_setup: BoolArray | None = None
) -> RecordArray:
    """Events of one strategy in order of (time, symbol), as SETUP_DTYPE.

    One EVENT_SETUP for each scan that is a setup, and one EVENT_RESET at the first scan after it that is
    none. Scans without a bar or a warm-up are no scans: they neither set up nor reset. What was true at the
    end of one detection is remembered in the next, so the detections of a span must come in order of time.
    Who goes on from call to call hands over `was_setup`, bool (symbols,), false at first: it is updated in
    place. `range_median` stays NaN: who simulates fills it in.
    """
    parts: list[RecordArray] = []
    for detection in detections:
        if was_setup is None:
            was_setup = np.zeros(len(detection.panel.symbols), dtype=np.bool_)
        elif len(was_setup) != len(detection.panel.symbols):
            raise DataError(f"strategy {detection.strategy}: its detections do not have the same symbols")
        kinds = _kinds(detection, was_setup)
        parts.append(_events(detection, kinds, strategy_index))
    return np.concatenate(parts) if parts else np.empty(0, dtype=SETUP_DTYPE)


def _kinds(detection: Detection, was_setup: BoolArray) -> RecordArray:
    """EVENT_SETUP, EVENT_RESET or -1 for each scan, int8 (bars, symbols); updates `was_setup`."""
    kinds = np.where(detection.setup, EVENT_SETUP, -1).astype(np.int8)
    scanned = ~np.isin(detection.reason, _DATA_REASONS)
    for column in range(kinds.shape[1]):
        rows = np.flatnonzero(scanned[:, column])
        if not len(rows):
            continue
        true = detection.setup[rows, column]
        before = np.concatenate(([was_setup[column]], true[:-1]))
        kinds[rows[before & ~true], column] = EVENT_RESET
        was_setup[column] = true[-1]
    return kinds


def _events(detection: Detection, kinds: RecordArray, strategy_index: int) -> RecordArray:
    rows, columns = np.nonzero(kinds >= 0)  # row by row: in order of time, then symbol
    events = np.zeros(len(rows), dtype=SETUP_DTYPE)
    events["time_ms"] = detection.panel.close_time_ms[rows]
    events["symbol"] = columns
    events["strategy"] = strategy_index
    events["kind"] = kinds[rows, columns]
    events["side"] = detection.side
    events["confidence"] = detection.confidence[rows, columns]
    events["readiness"] = detection.readiness[rows, columns]
    for field in fields(Plan):
        events[field.name] = np.broadcast_to(getattr(detection.plan, field.name), kinds.shape)[rows, columns]
    events["decision_close"] = detection.panel.close[rows, columns]
    events["wait_ms"] = detection.panel.timeframe.ms
    events["range_median"] = np.nan
    return events


def _codes_of(market: MarketView, days: Panel | None) -> RecordArray | None:
    """The slow regime on the rows of `days`, which are some of the market's daily rows."""
    if market.slow_regime is None or days is None:
        return None
    if not len(days):
        return market.slow_regime[:0]
    start = int(np.searchsorted(market.reference[Timeframe.D1].open_time_ms, days.open_time_ms[0]))
    return market.slow_regime[start : start + len(days)]


def _each(
    values: Mapping[str, RecordArray], change: Callable[[RecordArray], RecordArray]
) -> dict[str, RecordArray]:
    return {name: change(array) for name, array in values.items()}
