"""Closed bars of one symbol, as the account has them: nothing that closes after its own present."""

from collections import OrderedDict
from contextlib import ExitStack
from pathlib import Path
from threading import Lock

import numpy as np

from crypto_tracker.app.serving.recent import Recent
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.desk.source import CANDLES_MAX, NotThere
from crypto_tracker.desk.views import charts as views
from crypto_tracker.store.reader import DATABASE_NAME, SOURCES, BarReader
from crypto_tracker.store.sources import StoredBars

_GROWTH = 8  # how much further back is looked where bars are missing
_BARS_BACK_MAX = 512  # times the limit
_ANSWERS_KEPT = 64
_ANSWERS_AGE_MS = MINUTE_MS  # by then bars that came late, or were mended, are seen


class _Readers:
    """One reader of bars for each home, open until it is let go of, or its database was made anew."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: OrderedDict[Path, tuple[int, BarReader, ExitStack]] = OrderedDict()

    def of(self, home: Path) -> BarReader:
        """The reader of a home; raises DataError where no bars were ever stored there."""
        path = home / DATABASE_NAME
        made = path.stat().st_ino if path.is_file() else -1
        with self._lock:
            known = self._open.get(home)
            if known is not None and known[0] == made:
                return known[1]
            if known is not None:
                del self._open[home]
                known[2].close()
            with ExitStack() as opening:
                reader = opening.enter_context(BarReader.open(home))
                self._open[home] = (made, reader, opening.pop_all())
            return reader

    def close(self, home: Path) -> None:
        """Let go of the reader of a home."""
        with self._lock:
            known = self._open.pop(home, None)
        if known is not None:
            known[2].close()


_READERS = _Readers()
_ANSWERS: Recent[tuple[Panel, IntArray, bool]] = Recent(_ANSWERS_KEPT, age_ms=_ANSWERS_AGE_MS)


def bars_of(home: Path) -> BarReader:
    """The bars under a home, through one reader that all threads share; each read is a state of its own.

    Raises DataError where no bars were ever stored there.
    """
    return _READERS.of(home)


def close_bars(home: Path) -> None:
    """Let go of the bars under a home; the next reader opens them again."""
    _READERS.close(home)


def source_of(scope: Scope) -> StoredBars:
    """The stored bars as the account reads them: of each symbol those of its provider."""
    return StoredBars(bars_of(scope.home), scope.providers, scope.history)


def provider_of(scope: Scope, symbol: Symbol) -> str:
    """Whose bars a symbol has.

    Raises NotThere for a symbol that the account does not watch, DataError for one whose bars are not there.
    """
    provider = scope.providers.get(symbol)
    if provider is not None:
        return provider
    if symbol in scope.symbols:
        raise DataError(
            f"there are no bars of {symbol}, or nobody knows whose are meant: bring those of {scope.account} "
            "back with `crypto-tracker import-data PATH` or `download-data`"
        )
    known = ", ".join(map(str, scope.symbols[:5])) + (" ..." if len(scope.symbols) > 5 else "")
    raise NotThere(f"{scope.account} does not watch {symbol}: it has {known or 'no symbols'}")


def candles(
    scope: Scope, symbol: Symbol, timeframe: Timeframe, limit: int, before_ms: int | None
) -> views.Candles:
    """The last `limit` closed bars that open before `before_ms` and close by the account's present.

    Bars that are missing are left out, and as many earlier ones are looked for.
    """
    if not 1 <= limit <= CANDLES_MAX:
        raise UsageError(f"limit is {limit}: ask for 1 to {CANDLES_MAX} bars")
    provider = provider_of(scope, symbol)
    end_ms = timeframe.floor(scope.until_ms)
    if before_ms is not None:
        end_ms = max(min(end_ms, timeframe.floor(before_ms + timeframe.ms - 1)), 0)
    key = (scope.home, provider, scope.history, symbol, timeframe, limit, end_ms)
    panel, rows, earlier = _ANSWERS.made(
        key, lambda: _newest(scope, symbol, timeframe, limit, end_ms), now_ms=scope.now_ms()
    )
    return views.Candles(
        symbol=str(symbol),
        timeframe=str(timeframe),
        provider=provider,
        time_ms=panel.open_time_ms[rows].tolist(),
        open=panel.open[rows, 0].tolist(),
        high=panel.high[rows, 0].tolist(),
        low=panel.low[rows, 0].tolist(),
        close=panel.close[rows, 0].tolist(),
        volume=panel.volume[rows, 0].tolist(),
        earlier=earlier,
        until_ms=scope.until_ms,
    )


def _newest(
    scope: Scope, symbol: Symbol, timeframe: Timeframe, limit: int, end_ms: int
) -> tuple[Panel, IntArray, bool]:
    """The last bars that close by `end_ms`: a panel, its rows that count, and whether there are more before.

    Bars that are missing let it look further back, a few times, never before what is known of the symbol.
    """
    source, first_ms = source_of(scope), None
    bars = limit + 1
    while True:
        start_ms = end_ms - bars * timeframe.ms
        if first_ms is not None:
            start_ms = max(start_ms, min(first_ms, end_ms))
        panel = source.panel([symbol], timeframe, start_ms, end_ms)
        rows = np.flatnonzero(panel.present[:, 0])
        if len(rows) > limit:
            return panel, rows[-limit:], True
        if first_ms is None:
            first_ms = _known_from(scope, symbol, timeframe)
        if first_ms is None or start_ms <= first_ms or bars > limit * _BARS_BACK_MAX:
            return panel, rows, first_ms is not None and first_ms < start_ms
        bars *= _GROWTH


def _known_from(scope: Scope, symbol: Symbol, timeframe: Timeframe) -> int | None:
    """From where on anything is known of a symbol, on the grid; None where nothing is."""
    reader = bars_of(scope.home)
    covered = [
        reader.coverage(provider, symbol, stored)
        for provider in {scope.providers[symbol], scope.history} - {""}
        for stored in SOURCES[timeframe]
    ]
    starts = [int(each[0, 0]) for each in covered if len(each)]
    return timeframe.floor(min(starts)) if starts else None
