"""Minutes as they close: from candles that an exchange changes while they are open, or from single trades."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.store.batch import BarBatch

REMEMBERED_MS = 60 * MINUTE_MS
"""For so long a minute that was given out is remembered, so that a change of it is noticed.

One that opens so far in the future would make all others forgotten: it must not be taken.
"""

TRADES_KEPT_MS = 2 * MINUTE_MS
"""For so long after it a minute takes further trades; to know each once, it keeps their ids."""

NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Candle:
    """One bar; NaN where the exchange does not say."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float = NAN
    n_trades: float = NAN

    def says_the_same(self, other: "Candle") -> bool:
        """Whether both hold the same values; what neither knows is the same."""
        return all(
            mine == theirs or (mine != mine and theirs != theirs)  # noqa: PLR0124 - NaN is not itself
            for mine, theirs in zip(self.values(), other.values(), strict=True)
        )

    def values(self) -> tuple[float, ...]:
        """In the order of the fields."""
        return (self.open, self.high, self.low, self.close, self.volume, self.vwap, self.n_trades)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One trade as far as a candle needs it; `id` is None where the exchange gives none."""

    time_ms: int
    price: Decimal
    quantity: Decimal
    id: str | None = None


def batch_of(candles: Mapping[int, Candle]) -> BarBatch:
    """Candles by open time, as a batch in the order of time."""
    times = sorted(candles)
    table = np.array([candles[time].values() for time in times], dtype=np.float64).reshape(len(times), 7)
    columns = np.ascontiguousarray(table.T)
    return BarBatch(
        open_time_ms=np.array(times, dtype=np.int64),
        open=columns[0],
        high=columns[1],
        low=columns[2],
        close=columns[3],
        volume=columns[4],
        vwap=None if np.isnan(columns[5]).all() else columns[5],
        n_trades=None if np.isnan(columns[6]).all() else columns[6],
    )


def one_batch(older: BarBatch, newer: BarBatch) -> BarBatch:
    """Two batches, one behind the other."""
    one, other = older.values(), newer.values()
    table = np.concatenate([one, other], axis=1)
    return BarBatch(
        open_time_ms=np.concatenate([older.open_time_ms, newer.open_time_ms]),
        open=table[0],
        high=table[1],
        low=table[2],
        close=table[3],
        volume=table[4],
        vwap=table[5],
        n_trades=table[6],
    )


class TradedMinute:
    """The trades of one minute, in whatever order they come, each of them once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._first: tuple[int, int, Decimal] | None = None
        self._last: tuple[int, int, Decimal] | None = None
        self._high = self._low = Decimal(0)
        self._volume = self._turnover = Decimal(0)
        self._count = 0

    def take(self, trade: Trade) -> bool:
        """Whether the trade was new."""
        if trade.id is not None:
            if trade.id in self._seen:
                return False
            self._seen.add(trade.id)
        # Trades of one millisecond stand in the order of their ids, where those are numbers.
        number = (
            int(trade.id)
            if trade.id is not None and trade.id.isascii() and trade.id.isdigit()
            else self._count
        )
        place = (trade.time_ms, number, trade.price)
        if self._first is None or self._last is None:
            self._first = self._last = place
            self._high = self._low = trade.price
        else:
            self._first = min(self._first, place, key=_order)
            self._last = max(self._last, place, key=_order)
            self._high = max(self._high, trade.price)
            self._low = min(self._low, trade.price)
        self._count += 1
        self._volume += trade.quantity
        self._turnover += trade.price * trade.quantity
        return True

    def candle(self) -> Candle | None:
        """What the trades make, the volume exact; None without a trade."""
        if self._first is None or self._last is None:
            return None
        return Candle(
            float(self._first[2]),
            float(self._high),
            float(self._low),
            float(self._last[2]),
            float(self._volume),
            float(self._turnover / self._volume) if self._volume else NAN,
            float(self._count),
        )


def _order(place: tuple[int, int, Decimal]) -> tuple[int, int]:
    return place[:2]


Given = list[tuple[Symbol, dict[int, Candle]]]
"""Minutes that are taken for closed, by symbol and open time."""


class OpenMinutes:
    """Minutes of many symbols; each is given out once it is taken for closed, and again when it changes.

    A minute is taken for closed when a later one of its symbol appears, or once all that the exchange said
    until `settle_ms` after its close has come.
    """

    def __init__(self, settle_ms: int) -> None:
        self._settle_ms = settle_ms
        self._open: dict[Symbol, dict[int, Candle]] = {}
        self._given: dict[Symbol, dict[int, Candle]] = {}
        self._newest: dict[Symbol, int] = {}

    def take(self, symbol: Symbol, candles: Mapping[int, Candle]) -> Given:
        """Take note of minutes as they stand now; returns what is to be given out."""
        opened = self._open.setdefault(symbol, {})
        given = self._given.setdefault(symbol, {})
        out: dict[int, Candle] = {}
        for time_ms, candle in candles.items():
            if time_ms not in given:
                opened[time_ms] = candle
            elif not given[time_ms].says_the_same(candle):
                given[time_ms] = out[time_ms] = candle
            self._newest[symbol] = max(self._newest.get(symbol, time_ms), time_ms)
        out |= self._close(symbol, [time_ms for time_ms in opened if time_ms < self._newest[symbol]])
        return [(symbol, dict(sorted(out.items())))] if out else []

    def settle(self, proven_ms: int) -> Given:
        """What was over for long enough at this moment; all that was said before it has been taken."""
        out: Given = []
        for symbol, opened in self._open.items():
            over = [time_ms for time_ms in opened if time_ms + MINUTE_MS + self._settle_ms <= proven_ms]
            if over:
                out.append((symbol, self._close(symbol, over)))
        return out

    def next_settling_ms(self) -> int | None:
        """The moment at which `settle` has something to give; None where nothing is open."""
        first = min((min(opened) for opened in self._open.values() if opened), default=None)
        return None if first is None else first + MINUTE_MS + self._settle_ms

    def _close(self, symbol: Symbol, times: Iterable[int]) -> dict[int, Candle]:
        closed = {time_ms: self._open[symbol].pop(time_ms) for time_ms in sorted(times)}
        given = self._given.setdefault(symbol, {})
        given |= closed
        floor = self._newest[symbol] - REMEMBERED_MS
        for time_ms in [time_ms for time_ms in given if time_ms < floor]:
            del given[time_ms]
        return closed


class TradedMinutes:
    """Minutes of many symbols made of trades; only whole ones, so never the one in which it began."""

    def __init__(self, minutes: OpenMinutes) -> None:
        self._minutes = minutes
        self._begins: dict[Symbol, int] = {}
        self._trades: dict[Symbol, dict[int, TradedMinute]] = {}
        self.late = 0  # trades of minutes whose trades are no longer kept

    def begin(self, symbol: Symbol, at_ms: int) -> None:
        """From this moment on every trade of the symbol comes; the first whole minute opens then, or next."""
        self._begins.setdefault(symbol, -(-at_ms // MINUTE_MS) * MINUTE_MS)

    def take(self, symbol: Symbol, trades: Sequence[Trade]) -> Given:
        """Put trades into their minutes; returns what is to be given out."""
        if symbol not in self._begins:
            return []
        known = self._trades.setdefault(symbol, {})
        newest = max(known, default=0)
        changed: set[int] = set()
        for trade in trades:
            minute_ms = trade.time_ms - trade.time_ms % MINUTE_MS
            if minute_ms < self._begins[symbol]:
                continue
            if minute_ms < newest - TRADES_KEPT_MS:
                self.late += 1
                continue
            if known.setdefault(minute_ms, TradedMinute()).take(trade):
                changed.add(minute_ms)
        candles = {minute_ms: known[minute_ms].candle() for minute_ms in sorted(changed)}
        newest = max(known, default=0)
        for minute_ms in [minute_ms for minute_ms in known if minute_ms < newest - TRADES_KEPT_MS]:
            del known[minute_ms]
        return (
            self._minutes.take(
                symbol, {minute_ms: candle for minute_ms, candle in candles.items() if candle is not None}
            )
            if changed
            else []
        )
