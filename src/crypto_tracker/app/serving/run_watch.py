"""The live stream of a recorded run: it tells how the run ended, and then nothing more."""

from collections.abc import Callable, Sequence
from typing import Protocol

from crypto_tracker.app.serving.moments import LOG_LINES
from crypto_tracker.desk.views import live
from crypto_tracker.desk.views.accounts import Status
from crypto_tracker.desk.views.base import View
from crypto_tracker.desk.views.decisions import Log
from crypto_tracker.desk.views.trades import Positions


class Ended(Protocol):
    """What a run is asked for."""

    def status(self) -> Status:
        """The run at its end."""
        ...

    def positions(self) -> Positions:
        """What was still held."""
        ...

    def log(self, limit: int) -> Log:
        """The newest lines first."""
        ...


class RunWatch:
    """For one live stream: what has a present is told when it is asked for first."""

    def __init__(self, book: Ended) -> None:
        self._book = book
        self._told: frozenset[str] = frozenset()

    def news(self, topics: frozenset[str]) -> Sequence[View]:
        """Events for topics that were not asked for in the call before; of bars there are none."""
        fresh, self._told = topics - self._told, topics
        tell: dict[str, Callable[[], list[View]]] = {
            "equity": self._equity,
            "log": self._log,
            "positions": self._positions,
            "regime": self._regime,
        }
        return [event for topic, told in tell.items() if topic in fresh for event in told()]

    def _equity(self) -> list[View]:
        status = self._book.status()
        point = live.EquityNow(
            time_ms=status.until_ms, equity_quote=status.equity_quote, drawdown=status.drawdown
        )
        return [live.EquityEvent(account=status.account, points=[point], status=status)]

    def _positions(self) -> list[View]:
        return [live.PositionsEvent(account=self._book.status().account, positions=self._book.positions())]

    def _log(self) -> list[View]:
        return [live.LogEvent(account=self._book.status().account, items=self._book.log(LOG_LINES).items)]

    def _regime(self) -> list[View]:
        status = self._book.status()
        if status.regime is None:
            return []
        now = live.RegimeNow(time_ms=status.until_ms, regime=status.regime, forced=False, volatility=None)
        return [live.RegimeEvent(account=status.account, regime=now)]
