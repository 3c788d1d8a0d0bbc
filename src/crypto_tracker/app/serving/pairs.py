"""Every symbol of an account with its price, how far it moved, and what was made with it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from threading import Lock

import numpy as np

from crypto_tracker.app.serving.candles import source_of
from crypto_tracker.app.serving.home_bars import Basis
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.app.serving.trade_view import tiers_of
from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS
from crypto_tracker.desk.views import charts as views
from crypto_tracker.desk.views.trades import Sums

HOURS = 24
_LEAD_MS = HOUR_MS  # how old the price of 24 h ago may be
_LATE_MS = HOUR_MS  # so much of what was read before is read again, for bars that came late
_AHEAD_MS = DAY_MS  # of an account that lives in the past so much is read at once


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceNow:
    """The price of a symbol at the account's present; NaN where something is not known.

    `day` are 25 hourly closes, each the last one known by then: from the one that `return_24h` is measured
    from to the newest.
    """

    price: float
    return_1h: float
    return_24h: float
    volume_24h_quote: float
    day: tuple[float, ...]


UNKNOWN = PriceNow(
    price=np.nan, return_1h=np.nan, return_24h=np.nan, volume_24h_quote=np.nan, day=(np.nan,) * (HOURS + 1)
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Closes:
    """Closes and what was traded for, (bars, symbols), of the bars that open in [start_ms, end_ms)."""

    symbols: tuple[Symbol, ...]
    start_ms: int
    end_ms: int
    close: FloatArray
    traded_quote: FloatArray

    def from_on(self, start_ms: int, bar_ms: int) -> "_Closes":
        """The same without what opens before `start_ms`."""
        first = (start_ms - self.start_ms) // bar_ms
        return _Closes(
            symbols=self.symbols,
            start_ms=start_ms,
            end_ms=self.end_ms,
            close=self.close[first:],
            traded_quote=self.traded_quote[first:],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Told:
    """The prices at a close, what they were made of, and the closes that were read for them."""

    until_ms: int
    basis: Basis
    prices: Mapping[Symbol, PriceNow]
    closes: _Closes | None


class _Kept:
    """What was read last for the prices of a book."""

    def __init__(self) -> None:
        self.lock = Lock()  # held by the one who reads: it is the same for all who wait
        self.told: _Told | None = None


def prices(scope: Scope) -> Mapping[Symbol, PriceNow]:
    """The price of every symbol at the account's present, and of the reference; made once a minute of it.

    Where some are not known they are made again once somebody has written bars.
    """
    return _told(scope).prices


def closes_a_day_ago(scope: Scope, age_ms: int) -> Mapping[Symbol, float]:
    """The last close of each symbol of 24 h ago that was no older than `age_ms` then, where there was one."""
    kept, bar_ms = _told(scope).closes, scope.base.ms
    if kept is None:
        return {}
    then = (scope.base.floor(scope.until_ms - DAY_MS) - kept.start_ms) // bar_ms
    rows = kept.close[max(then - max(age_ms // bar_ms, 1), 0) : max(then, 0)]
    found = {}
    for column, symbol in enumerate(kept.symbols):
        known = rows[~np.isnan(rows[:, column]), column]
        if len(known):
            found[symbol] = float(known[-1])
    return found


def pairs(
    scope: Scope,
    *,
    held: Collection[Symbol],
    sums: Mapping[Symbol, Sums],
    scores: Mapping[Symbol, float],
) -> views.Pairs:
    """Every symbol of the account, by name: `sums` are those of its closed trades, `scores` of its data."""
    now, tiers = prices(scope), tiers_of(scope.configuration, scope.symbols)
    universe = scope.configuration.universe
    items = []
    for symbol in sorted(scope.symbols):
        price, made = now.get(symbol, UNKNOWN), sums.get(symbol)
        items.append(
            views.PairItem(
                symbol=str(symbol),
                tier=tiers[symbol],
                group=universe.group(symbol.base),
                provider=scope.providers.get(symbol),
                price=price.price,
                return_1h=price.return_1h,
                return_24h=price.return_24h,
                volume_24h_quote=price.volume_24h_quote,
                day=list(price.day),
                held=symbol in held,
                trades=0 if made is None else made.trades,
                pnl_quote=0.0 if made is None else made.pnl_quote,
                score=scores.get(symbol),
            )
        )
    return views.Pairs(until_ms=scope.until_ms, items=items)


def _watched(scope: Scope) -> tuple[Symbol, ...]:
    reference = () if scope.reference is None else (scope.reference,)
    return tuple(dict.fromkeys((*scope.symbols, *reference)))


def _told(scope: Scope) -> _Told:
    kept, until_ms = scope.memory.of(_Kept), scope.base.floor(scope.until_ms)
    found = kept.told
    if found is None or not _holds(scope, found, until_ms):
        with kept.lock:
            found = kept.told
            if found is None or not _holds(scope, found, until_ms):
                found = kept.told = _made(scope, found, until_ms)
    return found


def _holds(scope: Scope, told: _Told, until_ms: int) -> bool:
    return told.until_ms == until_ms and told.basis.holds(scope.bars, scope.now_ms())


def _made(scope: Scope, before: _Told | None, until_ms: int) -> _Told:
    """The prices at `until_ms`; bars that were read for earlier ones are not read again, but the latest."""
    symbols, state, started_ms = _watched(scope), scope.bars.state(), scope.now_ms()
    closes, found = None, dict.fromkeys(symbols, UNKNOWN)
    if scope.bars.there:
        again = before is None or before.until_ms == until_ms or before.basis.state.made != state.made
        closes, told = _read_on(scope, None if again or before is None else before.closes, symbols, until_ms)
        found |= told
    whole = closes is not None and not any(np.isnan(found[symbol].price) for symbol in symbols)
    basis = Basis.of(state, whole=whole, started_ms=started_ms, ended_ms=scope.now_ms())
    return _Told(until_ms=until_ms, basis=basis, prices=found, closes=closes)


def _read_on(
    scope: Scope, before: _Closes | None, symbols: tuple[Symbol, ...], until_ms: int
) -> tuple[_Closes | None, Mapping[Symbol, PriceNow]]:
    """The closes that lead to `until_ms`, and what they say of the symbols that have any."""
    bar_ms = scope.base.ms
    start_ms = until_ms - scope.base.floor(DAY_MS + _LEAD_MS + bar_ms - 1)
    known = _stored(scope, symbols, () if before is None else before.symbols)
    if not known:
        return None, {}
    if before is None or before.symbols != known or not before.start_ms <= start_ms < before.end_ms:
        closes = _read(scope, known, start_ms, _read_to(scope, until_ms))
    elif until_ms > before.end_ms:
        again_ms = max(start_ms, before.end_ms - _LATE_MS)
        fresh = _read(scope, known, again_ms, _read_to(scope, until_ms))
        closes = _followed(before.from_on(start_ms, bar_ms), fresh, bar_ms)
    else:
        closes = before
    now = (until_ms - closes.start_ms) // bar_ms
    first = (start_ms - closes.start_ms) // bar_ms
    told = _at(closes.close[first:now], closes.traded_quote[first:now], bar_ms)
    return closes, {symbol: told[index] for index, symbol in enumerate(known) if index in told}


def _read_to(scope: Scope, until_ms: int) -> int:
    """How far is read: an account in the past will soon ask for the bars after its present."""
    settled_ms = scope.base.floor(scope.now_ms() - _LATE_MS)
    return max(until_ms, min(until_ms + _AHEAD_MS, settled_ms))


def _stored(scope: Scope, symbols: tuple[Symbol, ...], known: tuple[Symbol, ...]) -> tuple[Symbol, ...]:
    """Those of which there are bars; who is `known` is not asked for again."""
    reader, before = scope.bars.reader(), set(known)
    return tuple(
        symbol
        for symbol in symbols
        if symbol in before
        or {scope.providers.get(symbol), scope.history}.intersection(reader.providers(symbol))
    )


def _read(scope: Scope, symbols: tuple[Symbol, ...], start_ms: int, end_ms: int) -> _Closes:
    panel = source_of(scope).panel(symbols, scope.base, start_ms, end_ms)
    return _Closes(
        symbols=symbols,
        start_ms=start_ms,
        end_ms=end_ms,
        close=panel.close,
        traded_quote=panel.volume * panel.close,
    )


def _followed(before: _Closes, fresh: _Closes, bar_ms: int) -> _Closes:
    """Both in one, `fresh` where they overlap."""
    kept = (fresh.start_ms - before.start_ms) // bar_ms
    return _Closes(
        symbols=before.symbols,
        start_ms=before.start_ms,
        end_ms=fresh.end_ms,
        close=np.concatenate([before.close[:kept], fresh.close]),
        traded_quote=np.concatenate([before.traded_quote[:kept], fresh.traded_quote]),
    )


def _at(close: FloatArray, traded_quote: FloatArray, bar_ms: int) -> dict[int, PriceNow]:
    """The prices after the last row of (bars, symbols), by column."""
    bars = len(close)
    rows = np.arange(bars)[:, np.newaxis]
    source: IntArray = np.maximum.accumulate(np.where(np.isnan(close), -1, rows), axis=0)

    def known(ago_ms: int) -> FloatArray:
        """The last close known `ago_ms` before the end."""
        row = bars - 1 - ago_ms // bar_ms
        if row < 0:
            return np.full(close.shape[1], np.nan)
        last = source[row]
        return np.where(last >= 0, close[np.maximum(last, 0), np.arange(close.shape[1])], np.nan)

    hours = np.array([known(hour * HOUR_MS) for hour in range(HOURS, -1, -1)])
    now = hours[-1]
    of_day = traded_quote[-(DAY_MS // bar_ms) :]
    volume = np.where(np.isnan(of_day).all(axis=0), np.nan, np.nansum(of_day, axis=0))
    return {
        column: PriceNow(
            price=float(now[column]),
            return_1h=float(now[column] / hours[-2, column] - 1.0),
            return_24h=float(now[column] / hours[0, column] - 1.0),
            volume_24h_quote=float(volume[column]),
            day=tuple(hours[:, column].tolist()),
        )
        for column in range(close.shape[1])
    }
