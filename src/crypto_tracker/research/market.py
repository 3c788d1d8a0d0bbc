"""Gathers the bars of one simulation: base, history, reference, and what each strategy may see."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from crypto_tracker.config.instruments import instruments
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import SlowRegime
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.features.blocks import anchor_ms
from crypto_tracker.portfolio.trend import slow_regime_codes
from crypto_tracker.store.sources import BarSource
from crypto_tracker.strategies.base import MarketView, Strategy, StrategyEntry
from crypto_tracker.strategies.needs import (
    REFERENCE_LEAD_DAYS,
    TREND_SPANS,
    reference_warmup,
    scan_timeframe,
    traded_warmup,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Market:
    """Everything that a simulation over [start_ms, end_ms) reads.

    Attributes
    ----------
    base : timeframe of the bars that orders meet
    panel : base bars of the span
    history : base bars of the span and of the days before that rule R7 looks at
    reference : base bars of the reference coin, ending with the span; None where it is not in the data
    views : what strategies see, by the timeframe that is scanned
    """

    base: Timeframe
    start_ms: int
    end_ms: int
    instruments: Instruments
    panel: Panel
    history: Panel
    reference_symbol: Symbol | None
    reference: Panel | None
    views: Mapping[Timeframe, MarketView]


def gather(
    source: BarSource,
    configuration: Configuration,
    entries: Iterable[StrategyEntry],
    symbols: Sequence[Symbol],
    *,
    reference_symbol: Symbol | None,
    base: Timeframe,
    start_ms: int,
    end_ms: int,
) -> Market:
    """Read all that a simulation needs, warm-up and history before the span included.

    The span is cut to whole base bars. Raises DataError when no symbol has a single one in it.
    """
    ordered = tuple(sorted(symbols))
    start_ms, end_ms = base.floor(start_ms + base.ms - 1), base.floor(end_ms)
    history_start = (start_ms // DAY_MS - configuration.fills.trailing_range_days) * DAY_MS
    history = source.panel(ordered, base, history_start, end_ms)
    panel = history.between(start_ms, end_ms)
    if not panel.present.any():
        raise DataError(
            f"there is no {base} bar of {', '.join(map(str, ordered[:5]))} in the span: "
            "see list-data for what is stored, and choose --timerange and --pairs from it"
        )
    facts = instruments(configuration, ordered)
    by_scan: dict[Timeframe, list[Strategy]] = {}
    for entry in entries:
        by_scan.setdefault(scan_timeframe(entry.strategy, base), []).append(entry.strategy)
    warmups = {timeframe: traded_warmup(strategies, timeframe) for timeframe, strategies in by_scan.items()}
    reference, reference_panels, trend = None, {}, None
    if reference_symbol is not None:
        reference = source.panel([reference_symbol], base, start_ms - REFERENCE_LEAD_DAYS * DAY_MS, end_ms)
        if not reference.between(start_ms, end_ms).present.any():
            reference = None
        needed = reference_warmup(
            [strategy for strategies in by_scan.values() for strategy in strategies],
            trend_days=TREND_SPANS * configuration.protection.slow_regime.trend_bars,
        )
        reference_panels = {
            timeframe: source.panel(
                [reference_symbol], timeframe, anchor_ms(timeframe, bars, start_ms), end_ms
            )
            for timeframe, bars in needed.items()
        }
        trend = slow_regime_codes(reference_panels[Timeframe.D1], configuration.protection.slow_regime)
    views = {
        timeframe: MarketView(
            timeframe=timeframe,
            panels={
                each: source.panel(ordered, each, anchor_ms(each, bars, start_ms), end_ms)
                for each, bars in needed.items()
            },
            reference=reference_panels,
            instruments=facts,
            slow_regime=trend,
        )
        for timeframe, needed in warmups.items()
    }
    return Market(
        base=base,
        start_ms=start_ms,
        end_ms=end_ms,
        instruments=facts,
        panel=panel,
        history=history,
        reference_symbol=reference_symbol,
        reference=reference,
        views=views,
    )


def unknown_trend(market: Market) -> str | None:
    """What to say where the slow regime of some days of the span is not known; None where it always is."""
    view = next(iter(market.views.values()), None)
    if view is None or view.slow_regime is None:
        return None
    days = view.reference[Timeframe.D1]
    # A day of the span is judged by the daily bar that closed when it began.
    judged = (days.close_time_ms >= market.start_ms - DAY_MS + 1) & (days.close_time_ms < market.end_ms)
    unknown = int((view.slow_regime[judged] == SlowRegime.UNKNOWN).sum())
    if not unknown:
        return None
    return (
        f"the slow regime is UNKNOWN on {unknown} of {int(judged.sum())} days, since too few daily bars of "
        f"{market.reference_symbol} are stored before them: treated as NEUTRAL"
    )
