"""Runs configurations over one market, so that whatever differs between them is theirs.

Bars are read once: the second configuration is given the very panels that the first one read.
"""

from collections.abc import Mapping, Sequence

from crypto_tracker.config.entries import configured_strategies
from crypto_tracker.config.tree import Configuration
from crypto_tracker.config.versions import version
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.research.backtest import Backtest, Progress, run_backtest
from crypto_tracker.store.books import BookSource
from crypto_tracker.store.choice import Choice
from crypto_tracker.store.sources import BarSource, MinuteSource
from crypto_tracker.strategies.base import Strategy

_Request = tuple[tuple[Symbol, ...], Timeframe, int, int]


class RememberedBars:
    """A bar source that asks another one for each panel once, and then gives it from memory."""

    def __init__(self, source: MinuteSource) -> None:
        self._source = source
        self._panels: dict[_Request, Panel] = {}
        self._beside: dict[_Request, Panel | None] = {}

    def panel(self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
        """The bars of the source."""
        request = (tuple(symbols), timeframe, start_ms, end_ms)
        if request not in self._panels:
            self._panels[request] = self._source.panel(symbols, timeframe, start_ms, end_ms)
        return self._panels[request]

    def beside_minutes(
        self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int
    ) -> Panel | None:
        """What the source has beside its minutes."""
        request = (tuple(symbols), timeframe, start_ms, end_ms)
        if request not in self._beside:
            self._beside[request] = self._source.beside_minutes(symbols, timeframe, start_ms, end_ms)
        return self._beside[request]


def run_configuration(
    source: BarSource,
    books: BookSource,
    configuration: Configuration,
    installed: Mapping[str, Strategy],
    choice: Choice,
    *,
    progress: Progress,
) -> Backtest:
    """One configuration over the chosen bars, with its own strategies, flat at the start."""
    return run_backtest(
        source,
        configuration,
        configured_strategies(dict(installed), configuration, None),
        choice,
        version=version(configuration),
        keep_blocks=False,
        close_at_end=False,
        progress=progress,
        stopwatch=lambda: 0.0,
        books=books,
    )
