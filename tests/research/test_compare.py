"""Configurations that are held against each other read every bar once, and see the same bars."""

from collections.abc import Sequence

import numpy as np

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.research.compare import RememberedBars
from crypto_tracker.store.sources import MinuteSource

BTC, ETH = Symbol("BTC", "USD"), Symbol("ETH", "USD")


class Counted:
    """A source whose bars say how often it was asked; it has nothing beside its minutes of BTC."""

    def __init__(self) -> None:
        self.asked = 0

    def panel(self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
        self.asked += 1
        times = np.arange(start_ms, end_ms, timeframe.ms)
        values = np.full((len(times), len(symbols)), float(self.asked))
        return Panel(
            timeframe=timeframe,
            symbols=tuple(symbols),
            open_time_ms=times,
            open=values,
            high=values,
            low=values,
            close=values,
            volume=values,
            covered=np.ones(values.shape, dtype=np.bool_),
        )

    def beside_minutes(
        self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int
    ) -> Panel | None:
        found = self.panel(symbols, timeframe, start_ms, end_ms)
        return None if BTC in symbols else found


def test_each_panel_is_asked_for_once_and_then_the_very_same():
    source = Counted()
    bars = RememberedBars(source)
    first = bars.panel([BTC, ETH], Timeframe.M1, 0, 10 * MINUTE_MS)
    assert bars.panel((BTC, ETH), Timeframe.M1, 0, 10 * MINUTE_MS) is first
    assert source.asked == 1
    others = (
        bars.panel([ETH, BTC], Timeframe.M1, 0, 10 * MINUTE_MS),
        bars.panel([BTC, ETH], Timeframe.M5, 0, 10 * MINUTE_MS),
        bars.panel([BTC, ETH], Timeframe.M1, 0, 9 * MINUTE_MS),
    )
    assert all(other is not first for other in others)
    assert source.asked == 4


def test_what_is_beside_the_minutes_is_remembered_too_also_where_it_is_nothing():
    source = Counted()
    bars = RememberedBars(source)
    assert isinstance(bars, MinuteSource)
    nothing = [bars.beside_minutes([BTC], Timeframe.H1, 0, 60 * MINUTE_MS) for _ in range(2)]
    something = [bars.beside_minutes([ETH], Timeframe.H1, 0, 60 * MINUTE_MS) for _ in range(2)]
    assert nothing == [None, None]
    assert something[0] is not None
    assert something[0] is something[1]
    assert source.asked == 2
