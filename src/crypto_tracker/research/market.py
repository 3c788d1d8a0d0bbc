"""Gathers the bars of one simulation: base, history, reference, and what each strategy may see."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crypto_tracker.config.instruments import instruments
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.arrays import CodeArray, FloatArray, RecordArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import SlowRegime
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.features.blocks import BarsOfMinutes, PanelsOnDemand, anchor_ms, joined
from crypto_tracker.portfolio.trend import slow_regime_codes
from crypto_tracker.simulation.books import OrderBooks
from crypto_tracker.simulation.kernel_ranges import range_medians
from crypto_tracker.store.membership import Membership
from crypto_tracker.store.sources import BarSource, MinuteSource
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
    before : base bars of the days before it that rule R7 looks at, or that coarser bars are made of
    reference : base bars of the reference coin, ending with the span; None where it is not in the data
    views : what strategies see, by the timeframe that is scanned
    books : recorded order books of the span; None where fills do not walk them
    universe : when each symbol belonged to the universe; None where all did throughout
    """

    base: Timeframe
    start_ms: int
    end_ms: int
    instruments: Instruments
    panel: Panel
    before: Panel
    reference_symbol: Symbol | None
    reference: Panel | None
    views: Mapping[Timeframe, MarketView]
    books: OrderBooks | None = None
    universe: Membership | None = None

    @property
    def history(self) -> Panel:
        """Base bars of the days before the span and of the span: a copy, and so twice the memory."""
        return joined(self.before, self.panel)

    def from_on(self, time_ms: int) -> Panel | None:
        """The base bars to the end of the span from `time_ms` or before; None where none of them was read.

        Where the span itself reaches back so far, it is the panel of the span, and no copy.
        """
        if not len(self.panel) or time_ms >= self.panel.open_time_ms[0]:
            return self.panel if len(self.panel) else None
        if not len(self.before) or time_ms < self.before.open_time_ms[0]:
            return None
        return joined(self.before.between(time_ms, self.start_ms), self.panel)

    def range_medians(self, setups: RecordArray, days: int) -> FloatArray:
        """For each setup the median bar range of the `days` days before its day (R7)."""
        return range_medians([self.before, self.panel], setups, days)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferenceBars:
    """The reference coin over a whole span, and what comes before it.

    Attributes
    ----------
    symbol : None where no reference was chosen
    base : base bars, ending with the span; None where the coin has none in the span
    panels : what strategies and the slow regime read, by timeframe
    trend : the slow regime, one code for each daily bar; None without a reference
    """

    symbol: Symbol | None
    base: Panel | None
    panels: Mapping[Timeframe, Panel]
    trend: CodeArray | None


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
    entries = tuple(entries)
    start_ms, end_ms = whole_bars(base, start_ms, end_ms)
    reference = gather_reference(
        source, configuration, entries, reference_symbol, base=base, start_ms=start_ms, end_ms=end_ms
    )
    market = gather_traded(
        source, configuration, entries, symbols, reference, base=base, start_ms=start_ms, end_ms=end_ms
    )
    if not has_bars(market.panel):
        raise no_bars(market.panel.symbols, base)
    return market


def whole_bars(base: Timeframe, start_ms: int, end_ms: int) -> tuple[int, int]:
    """The whole base bars of a span: its start rounded up, its end down."""
    return base.floor(start_ms + base.ms - 1), base.floor(end_ms)


def has_bars(panel: Panel) -> bool:
    """Whether a single bar is there."""
    return any(not np.isnan(panel.close[:, column]).all() for column in range(len(panel.symbols)))


def no_bars(symbols: Sequence[Symbol], base: Timeframe) -> DataError:
    """What is said where no symbol has a single base bar in the span."""
    return DataError(
        f"there is no {base} bar of {', '.join(map(str, symbols[:5]))} in the span: "
        "see list-data for what is stored, and choose --timerange and --pairs from it"
    )


def gather_reference(
    source: BarSource,
    configuration: Configuration,
    entries: Sequence[StrategyEntry],
    symbol: Symbol | None,
    *,
    base: Timeframe,
    start_ms: int,
    end_ms: int,
) -> ReferenceBars:
    """Read the reference coin over a span that lies on the grid of the base."""
    if symbol is None:
        return ReferenceBars(symbol=None, base=None, panels={}, trend=None)
    minutes = source.panel([symbol], base, start_ms - REFERENCE_LEAD_DAYS * DAY_MS, end_ms)
    needed = reference_warmup(
        [entry.strategy for entry in entries],
        trend_days=TREND_SPANS * configuration.protection.slow_regime.trend_bars,
    )
    panels = {
        timeframe: source.panel([symbol], timeframe, anchor_ms(timeframe, bars, start_ms), end_ms)
        for timeframe, bars in needed.items()
    }
    return ReferenceBars(
        symbol=symbol,
        base=minutes if has_bars(minutes.between(start_ms, end_ms)) else None,
        panels=panels,
        trend=slow_regime_codes(panels[Timeframe.D1], configuration.protection.slow_regime),
    )


def gather_traded(
    source: BarSource,
    configuration: Configuration,
    entries: Sequence[StrategyEntry],
    symbols: Sequence[Symbol],
    reference: ReferenceBars,
    *,
    base: Timeframe,
    start_ms: int,
    end_ms: int,
    earlier: Market | None = None,
) -> Market:
    """Read what is traded over a span that lies on the grid of the base, beside a reference that is read.

    The reference reaches over the span and may reach beyond it. The market may hold not a single bar. Bars
    from before the span are not read again where `earlier`, the market of the span before, holds them.
    """
    ordered = tuple(sorted(symbols))
    by_scan: dict[Timeframe, list[Strategy]] = {}
    for entry in entries:
        by_scan.setdefault(scan_timeframe(entry.strategy, base), []).append(entry.strategy)
    warmups = {timeframe: traded_warmup(strategies, timeframe) for timeframe, strategies in by_scan.items()}
    before_ms = (start_ms // DAY_MS - configuration.fills.trailing_range_days) * DAY_MS
    of_minutes = base is Timeframe.M1 and isinstance(source, MinuteSource)
    if of_minutes:  # strategies that read minutes read these
        read = [anchor_ms(base, needed[base], start_ms) for needed in warmups.values() if base in needed]
        before_ms = min([before_ms, *read]) // DAY_MS * DAY_MS
    before = None if earlier is None else earlier.from_on(before_ms)
    if before is None:
        before = source.panel(ordered, base, before_ms, start_ms)
    panel = source.panel(ordered, base, start_ms, end_ms)

    def bars(scan: Timeframe, timeframe: Timeframe, from_ms: int) -> Panel | BarsOfMinutes:
        if isinstance(source, MinuteSource) and of_minutes and len(panel):
            held = None if earlier is None else earlier.views[scan].panels
            return _made_of_minutes(source, (before, panel), timeframe, from_ms, held)
        return source.panel(ordered, timeframe, from_ms, end_ms)

    facts = instruments(configuration, ordered)
    return Market(
        base=base,
        start_ms=start_ms,
        end_ms=end_ms,
        instruments=facts,
        panel=panel,
        before=before,
        reference_symbol=reference.symbol,
        reference=None if reference.base is None else _ending(reference.base, start_ms, end_ms),
        views={
            timeframe: MarketView(
                timeframe=timeframe,
                panels=PanelsOnDemand(
                    {
                        each: bars(timeframe, each, anchor_ms(each, count, start_ms))
                        for each, count in needed.items()
                    }
                ),
                reference=reference.panels,
                instruments=facts,
                slow_regime=reference.trend,
            )
            for timeframe, needed in warmups.items()
        },
    )


def _ending(reference: Panel, start_ms: int, end_ms: int) -> Panel:
    """The reference's bars of the span and their lead."""
    return reference.between(start_ms - REFERENCE_LEAD_DAYS * DAY_MS, end_ms)


def _made_of_minutes(
    source: MinuteSource,
    minutes: tuple[Panel, Panel],
    timeframe: Timeframe,
    from_ms: int,
    held: Mapping[Timeframe, Panel] | None,
) -> BarsOfMinutes:
    """The bars of `timeframe` from `from_ms` to the end of the minutes, as the source would give them.

    Those before the minutes are read where `held`, the bars of the span before, does not hold them.
    """
    before, panel = minutes
    minutes_ms = int(before.open_time_ms[0]) if len(before) else int(panel.open_time_ms[0])
    made_ms = max(from_ms, -(-minutes_ms // DAY_MS) * DAY_MS)  # a day begins with a bar of any timeframe
    lead = None
    if from_ms < made_ms:
        if isinstance(held, PanelsOnDemand):
            lead = held.closing_by(timeframe, from_ms, made_ms)
        if lead is None or len(lead) * timeframe.ms != made_ms - from_ms:
            lead = source.panel(panel.symbols, timeframe, from_ms, made_ms)
    return BarsOfMinutes(
        timeframe=timeframe,
        start_ms=from_ms,
        minutes=minutes,
        lead=lead,
        beside=source.beside_minutes(panel.symbols, timeframe, made_ms, int(panel.close_time_ms[-1])),
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
