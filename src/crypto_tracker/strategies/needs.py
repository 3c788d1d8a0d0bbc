"""What strategies need to be given: which timeframe they scan, and how many bars come before a span."""

from collections.abc import Iterable

from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.strategies.measures import warmup_on

REFERENCE_LEAD_DAYS = 3  # 48 h returns, and six hourly samples of a 24 h range
TREND_SPANS = (
    2  # daily bars are read over this many times what the slow regime needs, since some may be missing
)


def scan_timeframe(strategy: Strategy, base: Timeframe) -> Timeframe:
    """The timeframe a strategy scans: its own, or the base where that is coarser."""
    return strategy.timeframe if strategy.timeframe.ms >= base.ms else base


def traded_warmup(strategies: Iterable[Strategy], scan: Timeframe) -> dict[Timeframe, int]:
    """The longest warm-up that any of the strategies declares, by timeframe."""
    needed: dict[Timeframe, int] = {}
    for strategy in strategies:
        for timeframe, bars in warmup_on(strategy, scan).items():
            needed[timeframe] = max(bars, needed.get(timeframe, 0))
    return needed


def reference_warmup(strategies: Iterable[Strategy], *, trend_days: int) -> dict[Timeframe, int]:
    """The bars of the reference coin that are read before the span's month, by timeframe."""
    needed = {Timeframe.D1: trend_days}
    for strategy in strategies:
        for timeframe, bars in strategy.reference_warmup.items():
            needed[timeframe] = max(bars, needed.get(timeframe, 0))
    return needed
