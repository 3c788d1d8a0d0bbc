"""Where bars are asked for: anything that gives panels, and the store with a provider for each symbol."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store.reader import BarReader


class BarSource(Protocol):
    """Whatever can give bars: the store's reader, or a synthetic market."""

    def panel(self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
        """The bars of `symbols` over [start_ms, end_ms), fetched or derived."""
        ...


@runtime_checkable
class MinuteSource(BarSource, Protocol):
    """A bar source whose coarser bars can be made of minutes that were read already."""

    def beside_minutes(
        self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int
    ) -> Panel | None:
        """What `panel` would be without any minutes; None where nothing else answers for a single bar."""
        ...


class StoredBars:
    """The store's reader as a bar source: every symbol from the provider that was chosen for it.

    With `history`, bars of that provider stand in for those that the chosen one has not fetched.
    """

    def __init__(
        self, reader: BarReader, provider_of: Mapping[Symbol, str], history: str | None = None
    ) -> None:
        self._reader = reader
        self._provider_of = provider_of
        self._history = history or None  # the configuration writes "" for nobody's

    def panel(self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
        """The bars of `symbols`, of each those of its provider."""
        return self._reader.panel(
            symbols, timeframe, start_ms, end_ms, provider=self._provider_of, history=self._history
        )

    def beside_minutes(
        self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int
    ) -> Panel | None:
        """What `panel` would be without any minutes; None where nothing else answers for a single bar."""
        return self._reader.beside_minutes(
            symbols, timeframe, start_ms, end_ms, provider=self._provider_of, history=self._history
        )


def side_by_side(panels: Sequence[Panel]) -> Panel:
    """Panels over the same rows as one panel."""
    return Panel(
        timeframe=panels[0].timeframe,
        symbols=tuple(symbol for panel in panels for symbol in panel.symbols),
        open_time_ms=panels[0].open_time_ms,
        open=np.concatenate([panel.open for panel in panels], axis=1),
        high=np.concatenate([panel.high for panel in panels], axis=1),
        low=np.concatenate([panel.low for panel in panels], axis=1),
        close=np.concatenate([panel.close for panel in panels], axis=1),
        volume=np.concatenate([panel.volume for panel in panels], axis=1),
        covered=np.concatenate([panel.covered for panel in panels], axis=1),
    )
