"""The eye of a trader: which bar a store held at the moment at which it said that a minute is known."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store.batch import BarBatch
from tests.servers.massive_stream import MINUTE_MS, Market

Values = tuple[float, ...]
_FIELDS = ("open", "high", "low", "close", "volume")
_SHORT = ("o", "h", "l", "c", "v")


class Witnessed:
    """A store, and beside it the bar of each minute when that was first covered.

    Attributes
    ----------
    first : by symbol and open time; None where the minute was told as one without a trade
    """

    def __init__(self, store: Any, since_ms: int) -> None:
        self._store = store
        self._since_ms = since_ms
        self._lock = threading.Lock()
        self.first: dict[tuple[Symbol, int], Values | None] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(
        self,
        provider: str,
        symbol: Symbol,
        timeframe: Timeframe,
        bars: BarBatch,
        covered: Iterable[tuple[int, int]] = (),
        **more: Any,
    ) -> Any:
        covered = list(covered)
        with self._lock:
            result = self._store.write(provider, symbol, timeframe, bars, covered, **more)
            if timeframe is Timeframe.M1:
                self._look(provider, {symbol: covered})
        return result

    def write_minutes(
        self,
        provider: str,
        minutes: Mapping[Symbol, BarBatch],
        covered: Mapping[Symbol, Sequence[tuple[int, int]]],
        **more: Any,
    ) -> Any:
        with self._lock:
            result = self._store.write_minutes(provider, minutes, covered, **more)
            self._look(provider, covered)
        return result

    def _look(self, provider: str, covered: Mapping[Symbol, Sequence[tuple[int, int]]]) -> None:
        for symbol, intervals in covered.items():
            for start_ms, end_ms in intervals:
                begin_ms = max(start_ms, self._since_ms)
                if any((symbol, each) not in self.first for each in range(begin_ms, end_ms, MINUTE_MS)):
                    self._note(provider, symbol, begin_ms, end_ms)

    def _note(self, provider: str, symbol: Symbol, start_ms: int, end_ms: int) -> None:
        panel = self._store.reader.panel([symbol], Timeframe.M1, start_ms, end_ms, provider=provider)
        for row, open_ms in enumerate(panel.open_time_ms.tolist()):
            there = bool(panel.present[row, 0])
            values = tuple(float(getattr(panel, name)[row, 0]) for name in _FIELDS) if there else None
            self.first.setdefault((symbol, open_ms), values)


def deceptions(
    first: Mapping[tuple[Symbol, int], Values | None],
    market: Market,
    corrected: Mapping[tuple[str, int], Mapping[str, Any]],
    *,
    doubted: Iterable[tuple[str, int]] = (),
) -> list[str]:
    """What a trader would have been told that was not so; `doubted` bars (pair, minute) may be missing.

    A bar that the provider corrected may be told in both ways.
    """
    perhaps = set(doubted)
    found = []
    for (symbol, open_ms), told in first.items():
        pair, minute = f"{symbol.base}-{symbol.quote}", (open_ms - market.start_ms) // MINUTE_MS
        if minute >= market.n_minutes:
            continue
        event = market.event(minute, pair)
        true: list[Values | None] = [
            tuple(each[name] for name in _SHORT)
            for each in (event, corrected.get((pair, open_ms)))
            if each is not None
        ] or [None]
        if told not in true and not (told is None and (pair, minute) in perhaps):
            found.append(f"{pair} {minute} was told as {told}, not {true}")
    return found
