"""Closed trades held as columns, so that a page, a sum or a group of them reads no file.

Amounts are integers of 1e-8 quote and are added up as such: what comes out is exact, and only what is shown
becomes a float. A row's place in the columns is its place in the order in which trades closed.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal

import numpy as np

from crypto_tracker.app.serving.coding import coded, wanted
from crypto_tracker.app.serving.cursors import read
from crypto_tracker.app.serving.growing import Growing
from crypto_tracker.app.serving.local_days import local_days, midnight_ms
from crypto_tracker.core.arrays import BoolArray, FloatArray, IntArray
from crypto_tracker.core.money import QUOTE_SCALE
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.desk.source import TradeFilter, TradeOrder
from crypto_tracker.desk.views.trades import Group, Period, Sums
from crypto_tracker.store.column_rows import TradeRows

GroupBy = Literal["symbol", "strategy", "tier", "exit_reason"]
PeriodBy = Literal["day", "week", "month"]
PageKey = tuple[int | float | str, int]
"""What a page ended with: the value that it is ordered by, and the trade's number, which decides ties."""

_NAMES_OF = {"symbol": "symbols", "strategy": "strategies", "exit_reason": "exit_reasons"}
"""The properties that are held as codes, and where their names stand."""


def page_key(cursor: str, order: TradeOrder, of: str = "") -> PageKey:
    """The key that the cursor of a page in this order was written from; raises UsageError where it is none.

    >>> from crypto_tracker.app.serving.cursors import written
    >>> page_key(written(("ETH/USDT", 7)), "symbol")
    ('ETH/USDT', 7)
    """
    value, number = read(cursor, (str if order in _NAMES_OF else float, int), of)
    return value, int(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Closed trades added up, exactly; amounts in 1e-8 quote. `judged` are those with a result."""

    trades: int
    judged: int
    wins: int
    losses: int
    pnl_e8: int
    invested_e8: int
    fee_e8: int
    slippage_e8: int
    gain_e8: int
    loss_e8: int  # 0 or negative
    best_e8: int | None
    worst_e8: int | None
    held_ms: int  # of all together

    def view(self) -> Sums:
        """The same as pages show it."""
        lost = -self.loss_e8
        return Sums(
            trades=self.trades,
            judged=self.judged,
            wins=self.wins,
            losses=self.losses,
            win_rate=self.wins / self.judged if self.judged else None,
            pnl_quote=_quote(self.pnl_e8),
            invested_quote=_quote(self.invested_e8),
            return_on_invested=self.pnl_e8 / self.invested_e8 if self.invested_e8 else None,
            gross_profit_quote=_quote(self.gain_e8),
            gross_loss_quote=_quote(self.loss_e8),
            profit_factor=self.gain_e8 / lost if lost else None,
            fee_quote=_quote(self.fee_e8),
            slippage_quote=_quote(self.slippage_e8),
            best_quote=None if self.best_e8 is None else _quote(self.best_e8),
            worst_quote=None if self.worst_e8 is None else _quote(self.worst_e8),
            mean_held_ms=round(self.held_ms / self.trades) if self.trades else None,
        )


def _whole() -> Growing[np.int64]:
    return Growing(np.int64)


def _codes() -> Growing[np.int32]:
    return Growing(np.int32)


def _fractional() -> Growing[np.float64]:
    return Growing(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TradeColumns:
    """All closed trades of a book in the order in which they closed; never changed, only `extended`.

    `symbol`, `strategy` and `exit_reason` are codes: places in `symbols`, `strategies` and `exit_reasons`.
    """

    symbols: tuple[Symbol, ...] = ()
    strategies: tuple[str, ...] = ()
    exit_reasons: tuple[str, ...] = ()
    _number: Growing[np.int64] = field(default_factory=_whole)
    _symbol: Growing[np.int32] = field(default_factory=_codes)
    _strategy: Growing[np.int32] = field(default_factory=_codes)
    _exit_reason: Growing[np.int32] = field(default_factory=_codes)
    _entry_ms: Growing[np.int64] = field(default_factory=_whole)
    _exit_ms: Growing[np.int64] = field(default_factory=_whole)
    _pnl_e8: Growing[np.int64] = field(default_factory=_whole)
    _invested_e8: Growing[np.int64] = field(default_factory=_whole)
    _fee_e8: Growing[np.int64] = field(default_factory=_whole)
    _slippage_e8: Growing[np.int64] = field(default_factory=_whole)
    _return_net: Growing[np.float64] = field(default_factory=_fractional)
    _entry_price: Growing[np.float64] = field(default_factory=_fractional)
    _exit_price: Growing[np.float64] = field(default_factory=_fractional)

    def __len__(self) -> int:
        return len(self._number)

    @property
    def number(self) -> IntArray:
        """The numbers of the trades, ascending."""
        return self._number.values

    @property
    def entry_ms(self) -> IntArray:
        """Open time of the bar of the first fill."""
        return self._entry_ms.values

    @property
    def exit_ms(self) -> IntArray:
        """Open time of the bar of the last one, never descending."""
        return self._exit_ms.values

    @property
    def pnl_e8(self) -> IntArray:
        """P&L after fees."""
        return self._pnl_e8.values

    @property
    def return_net(self) -> FloatArray:
        """P&L over the size of the position."""
        return self._return_net.values

    def extended(self, rows: TradeRows) -> "TradeColumns":
        """These trades with those that closed since; their numbers and exits go on where these end."""
        if not len(rows):
            return self
        numbers = np.concatenate([self.number[-1:], rows.number])
        exits = np.concatenate([self.exit_ms[-1:], rows.exit_ms])
        if (np.diff(numbers) <= 0).any() or (np.diff(exits) < 0).any():
            raise ValueError(
                "trades are held in the order in which they closed, so that is how they are added"
            )
        names, symbol = coded(tuple(map(str, self.symbols)), rows.symbol)
        strategies, strategy = coded(self.strategies, rows.strategy)
        reasons, reason = coded(self.exit_reasons, rows.exit_reason)
        return TradeColumns(
            symbols=(*self.symbols, *map(Symbol.parse, names[len(self.symbols) :])),
            strategies=strategies,
            exit_reasons=reasons,
            _number=self._number.extended(rows.number),
            _symbol=self._symbol.extended(symbol),
            _strategy=self._strategy.extended(strategy),
            _exit_reason=self._exit_reason.extended(reason),
            _entry_ms=self._entry_ms.extended(rows.entry_ms),
            _exit_ms=self._exit_ms.extended(rows.exit_ms),
            _pnl_e8=self._pnl_e8.extended(rows.pnl_e8),
            _invested_e8=self._invested_e8.extended(rows.invested_e8),
            _fee_e8=self._fee_e8.extended(rows.fee_e8),
            _slippage_e8=self._slippage_e8.extended(rows.slippage_e8),
            _return_net=self._return_net.extended(rows.return_net),
            _entry_price=self._entry_price.extended(rows.entry_price),
            _exit_price=self._exit_price.extended(rows.exit_price),
        )

    def symbols_of(self, index: IntArray) -> list[Symbol]:
        """The symbols of the trades of these places."""
        return [self.symbols[code] for code in self._symbol.values[index].tolist()]

    # --- which of them -------------------------------------------------------------------------

    def select(self, where: TradeFilter, tiers: Mapping[Symbol, str]) -> IntArray:
        """The places of the trades under a filter, ascending; `tiers` names the tier of every symbol."""
        first = 0 if where.start_ms is None else int(np.searchsorted(self.exit_ms, where.start_ms))
        stop = len(self) if where.end_ms is None else int(np.searchsorted(self.exit_ms, where.end_ms))
        if stop <= first:
            return np.empty(0, dtype=np.int64)
        kept = np.ones(stop - first, dtype=np.bool_)
        span = slice(first, stop)
        if where.symbols or where.tiers:
            kept &= np.array(
                [
                    (not where.symbols or symbol in where.symbols)
                    and (not where.tiers or tiers.get(symbol) in where.tiers)
                    for symbol in self.symbols
                ],
                dtype=np.bool_,
            )[self._symbol.values[span]]
        if where.strategies:
            kept &= wanted(self.strategies, where.strategies)[self._strategy.values[span]]
        if where.reasons:
            kept &= wanted(self.exit_reasons, where.reasons)[self._exit_reason.values[span]]
        if where.outcome is not None:
            pnl = self.pnl_e8[span]
            kept &= self._judged(np.arange(first, stop)) & (pnl > 0 if where.outcome == "win" else pnl < 0)
        return np.flatnonzero(kept) + first

    def page(
        self,
        index: IntArray,
        order: TradeOrder,
        *,
        descending: bool,
        limit: int,
        after: PageKey | None = None,
    ) -> tuple[IntArray, PageKey | None]:
        """The numbers of the next `limit` trades of `index`, and the key behind which the page after begins.

        The key is None where nothing is left. A page is not shifted by trades that close meanwhile.
        """
        sign = -1 if descending else 1
        values = self._values(order, index) * sign
        numbers = self.number[index] * sign
        if after is not None:
            value, number = self._place(order, after[0]) * sign, after[1] * sign
            behind = (values > value) | ((values == value) & (numbers > number))
            index, values, numbers = index[behind], values[behind], numbers[behind]
        if len(values) > limit + 1:
            # Only what can be on the page is put in order: with the ties of the last of them.
            near = values <= np.partition(values, limit)[limit]
            index, values, numbers = index[near], values[near], numbers[near]
        index = index[np.lexsort((numbers, values))[: limit + 1]]
        more = len(index) > limit > 0
        index = index[:limit]
        last = (self._value(order, int(index[-1])), int(self.number[index[-1]])) if more else None
        return self.number[index], last

    def _values(self, order: TradeOrder, index: IntArray) -> Any:
        """What trades are put in order by: of what is named, the place of its name among all names."""
        if order == "held_ms":
            return self.exit_ms[index] - self.entry_ms[index]
        if order in _NAMES_OF:
            return np.argsort(np.argsort(self._names(order)))[self._column(order)[index]]
        return self._column(order)[index]

    def _value(self, order: TradeOrder, place: int) -> int | float | str:
        """The same of one trade, as the key of a page has it: the name itself, as others may come between."""
        if order in _NAMES_OF:
            return self._names(order)[int(self._column(order)[place])]
        return self._values(order, np.array([place]))[0].item()  # type: ignore[no-any-return]

    def _place(self, order: TradeOrder, value: float | str) -> float:
        """Where the value of a key stands among those of `_values`."""
        if not isinstance(value, str):
            return value
        names = sorted(self._names(order))
        place = bisect_left(names, value)
        return place if names[place : place + 1] == [value] else place - 0.5

    def _names(self, order: str) -> tuple[str, ...]:
        return tuple(map(str, getattr(self, _NAMES_OF[order])))

    def _column(self, order: TradeOrder) -> Any:
        columns: dict[str, Any] = {
            "exit_ms": self._exit_ms,
            "entry_ms": self._entry_ms,
            "pnl_quote": self._pnl_e8,
            "return_net": self._return_net,
            "invested_quote": self._invested_e8,
            "symbol": self._symbol,
            "strategy": self._strategy,
            "exit_reason": self._exit_reason,
            "entry_price": self._entry_price,
            "exit_price": self._exit_price,
        }
        return columns[order].values

    # --- what they add up to -------------------------------------------------------------------

    def sums(self, index: IntArray) -> Sums:
        """The trades of `index` added up, as pages show it."""
        return self.totals(index).view()

    def totals(self, index: IntArray) -> Totals:
        """The trades of `index` added up, exactly."""
        if not len(index):
            return Totals(
                trades=0, judged=0, wins=0, losses=0, pnl_e8=0, invested_e8=0, fee_e8=0, slippage_e8=0,
                gain_e8=0, loss_e8=0, best_e8=None, worst_e8=None, held_ms=0,
            )  # fmt: skip
        return self._totals(index, np.zeros(1, dtype=np.int64))[0]

    def groups(self, index: IntArray, by: GroupBy, tiers: Mapping[Symbol, str]) -> list[Group]:
        """The trades of `index` added up by one property, the best P&L first."""
        if by == "tier":
            named = [tiers.get(symbol, "") for symbol in self.symbols]
            names, of_symbol = coded((), named)
            codes = of_symbol[self._symbol.values[index]] if named else self._symbol.values[index]
        else:
            names, codes = self._names(by), self._column(by)[index]
        # A stable sort of small codes is a counting sort.
        order = np.argsort(codes.astype(np.int16), kind="stable")
        ordered = codes[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        totals = self._totals(index[order], starts)
        found = zip((names[int(ordered[start])] for start in starts), totals, strict=True)
        return [
            Group(key=name, sums=each.view())
            for name, each in sorted(found, key=lambda pair: (-pair[1].pnl_e8, pair[0]))
        ]

    def periods(self, index: IntArray, by: PeriodBy, timezone: str, *, limit: int) -> list[Period]:
        """The trades of `index` added up by the day, week or month of their exit, newest first.

        Windows without a trade are left out. A day belongs to `timezone`, a week begins on Monday.
        """
        if not len(index) or limit < 1:
            return []
        exits = self.exit_ms[index]
        days, begins = local_days(int(exits[0]), int(exits[-1]), timezone)
        firsts = [_FIRST_DAY[by](day) for day in days]
        opening = [place for place, first in enumerate(firsts) if place == 0 or first != firsts[place - 1]]
        rows = np.searchsorted(exits, begins[opening])
        rows[0] = 0
        stops = np.append(rows[1:], len(exits))
        there = np.flatnonzero(stops > rows)[-limit:]
        totals = self._totals(index[rows[there[0]] :], rows[there] - rows[there[0]])
        found = [
            Period(
                start_ms=midnight_ms(firsts[opening[place]], timezone),
                end_ms=midnight_ms(_NEXT_DAY[by](firsts[opening[place]]), timezone),
                label=_LABEL[by](firsts[opening[place]]),
                sums=each.view(),
            )
            for place, each in zip(there.tolist(), totals, strict=True)
        ]
        return found[::-1]

    def _judged(self, index: IntArray) -> BoolArray:
        lost = wanted(self.exit_reasons, (ExitReason.DATA_LOST.code,))
        return np.asarray(~lost[self._exit_reason.values[index]])

    def _totals(self, index: IntArray, starts: IntArray) -> list[Totals]:
        """The sums of the stretches of `index` that begin at `starts`; none of them is empty."""
        pnl = self.pnl_e8[index]
        judged = self._judged(index)
        counts = np.diff(np.append(starts, len(index)))
        columns: Sequence[IntArray] = [
            counts,
            *(
                np.add.reduceat(values, starts)
                for values in (
                    judged.astype(np.int64),
                    (judged & (pnl > 0)).astype(np.int64),
                    (judged & (pnl < 0)).astype(np.int64),
                    pnl,
                    self._invested_e8.values[index],
                    self._fee_e8.values[index],
                    self._slippage_e8.values[index],
                    np.maximum(pnl, 0),
                    np.minimum(pnl, 0),
                )
            ),
            np.maximum.reduceat(pnl, starts),
            np.minimum.reduceat(pnl, starts),
            np.add.reduceat(self.exit_ms[index] - self.entry_ms[index], starts),
        ]
        return [
            Totals(
                trades=row[0], judged=row[1], wins=row[2], losses=row[3], pnl_e8=row[4], invested_e8=row[5],
                fee_e8=row[6], slippage_e8=row[7], gain_e8=row[8], loss_e8=row[9], best_e8=row[10],
                worst_e8=row[11], held_ms=row[12],
            )
            for row in zip(*(column.tolist() for column in columns), strict=True)
        ]  # fmt: skip


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _week(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


_FIRST_DAY: Mapping[PeriodBy, Callable[[date], date]] = {
    "day": lambda day: day,
    "week": _monday,
    "month": lambda day: day.replace(day=1),
}
_NEXT_DAY: Mapping[PeriodBy, Callable[[date], date]] = {
    "day": lambda day: day + timedelta(days=1),
    "week": lambda day: day + timedelta(days=7),
    "month": lambda day: (day + timedelta(days=31)).replace(day=1),
}
_LABEL: Mapping[PeriodBy, Callable[[date], str]] = {
    "day": date.isoformat,
    "week": _week,
    "month": lambda day: f"{day:%Y-%m}",
}


def _quote(amount_e8: int) -> float:
    return amount_e8 / QUOTE_SCALE
