"""Closed bars of one symbol, as the account has them: nothing that closes after its own present."""

from dataclasses import dataclass

import numpy as np

from crypto_tracker.app.serving.recent import Recent
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.desk.source import CANDLES_MAX, NotThere
from crypto_tracker.desk.views import charts as views
from crypto_tracker.store import intervals
from crypto_tracker.store.reader import SOURCES
from crypto_tracker.store.sources import StoredBars

_GROWTH = 4  # each look further back where bars are missing takes so many more
_AT_ONCE = 16_384  # bars that one look takes at most
_LOOKED_MAX = 131_072  # rows without a bar that are looked through for one answer: three months of minutes
_ANSWERS_KEPT = 64


@dataclass(frozen=True, slots=True)
class _Bars:
    """Bars of one symbol, without the panels that were looked through, and whether there are more before."""

    time_ms: IntArray
    prices: FloatArray  # (bars, 5): open, high, low, close, volume
    earlier: bool


class _Answers(Recent[_Bars]):
    """The bars that were asked for lately, in each state of the store: one may come late, or be mended."""

    def __init__(self) -> None:
        super().__init__(_ANSWERS_KEPT)


def source_of(scope: Scope) -> StoredBars:
    """The stored bars as the account reads them: of each symbol those of its provider."""
    return StoredBars(scope.bars.reader(), scope.providers, scope.history)


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
    key = (scope.bars.state(), symbol, timeframe, limit, end_ms)
    found = scope.memory.of(_Answers).made(key, lambda: _newest(scope, symbol, timeframe, limit, end_ms))
    opened, high, low, close, volume = found.prices.T.tolist()
    return views.Candles(
        symbol=str(symbol),
        timeframe=str(timeframe),
        provider=provider,
        time_ms=found.time_ms.tolist(),
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        earlier=found.earlier,
        until_ms=scope.until_ms,
    )


def _newest(scope: Scope, symbol: Symbol, timeframe: Timeframe, limit: int, end_ms: int) -> _Bars:
    """The last `limit` bars that close by `end_ms`.

    What nobody knows of the symbol is left out at once; where it is known that nobody traded, it is looked
    through, so far and no further.
    """
    source, stop_ms, bars, looked = source_of(scope), end_ms, limit + 1, 0
    parts: list[_Bars] = []
    known: IntArray | None = None
    while True:
        start_ms = stop_ms - bars * timeframe.ms
        if known is not None:
            start_ms = max(start_ms, int(known[0, 0]))
        panel = source.panel([symbol], timeframe, start_ms, stop_ms)
        parts.append(_there(panel))
        found, looked, stop_ms = sum(len(part.time_ms) for part in parts), looked + len(panel), start_ms
        if found > limit or looked > _LOOKED_MAX:
            break
        if known is None:
            known = _known(scope, symbol, timeframe)
        before = known[known[:, 0] < stop_ms]
        if not len(before):
            break
        stop_ms, bars = min(stop_ms, int(before[-1, 1])), min(bars * _GROWTH, _AT_ONCE)
    time_ms = np.concatenate([part.time_ms for part in reversed(parts)])[-limit:]
    prices = np.concatenate([part.prices for part in reversed(parts)])[-limit:]
    return _Bars(
        time_ms, prices, found > limit or (known is not None and bool((known[:, 0] < stop_ms).any()))
    )


def _there(panel: Panel) -> _Bars:
    rows = np.flatnonzero(panel.present[:, 0])
    columns = (panel.open, panel.high, panel.low, panel.close, panel.volume)
    return _Bars(panel.open_time_ms[rows], np.stack([each[rows, 0] for each in columns], axis=1), False)


def _known(scope: Scope, symbol: Symbol, timeframe: Timeframe) -> IntArray:
    """The stretches of which anything is known of a symbol, in order and on the grid, (stretches, 2)."""
    reader = scope.bars.reader()
    found = intervals.EMPTY
    for provider in {scope.providers[symbol], scope.history} - {""}:
        for stored in SOURCES[timeframe]:
            found = intervals.union(found, reader.coverage(provider, symbol, stored))
    starts, ends = found.T - found.T % timeframe.ms
    return np.stack([starts, np.where(ends < found[:, 1], ends + timeframe.ms, ends)], axis=1)
