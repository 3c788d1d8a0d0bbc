"""The pages and sums of a book that are answered from columns: its closed trades, and its decisions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from crypto_tracker.app.serving.cursors import list_of, read, written
from crypto_tracker.app.serving.decision_view import count_views
from crypto_tracker.app.serving.page_limits import check_limit
from crypto_tracker.app.serving.setup_columns import SetupColumns, SetupKey
from crypto_tracker.app.serving.trade_columns import TradeColumns, page_key
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.desk.source import DecisionFilter, LogFilter, NotThere, TradeFilter, TradeOrder
from crypto_tracker.desk.views import decisions as decided_views
from crypto_tracker.desk.views import trades as trade_views

FilterT = TypeVar("FilterT", TradeFilter, DecisionFilter)
NameT = TypeVar("NameT", Symbol, str)

_NAMED = 5  # symbols, or strategies, that a refusal lists
_OF_A_SETUP = tuple(reason.code for reason in ExitReason if reason.tells_of_setup)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What a book has recorded, at one moment.

    Attributes
    ----------
    book : whose they are
    strategies : of the book, as it spells them
    tiers : of every symbol
    timezone : whose days, weeks and months are meant
    read_trades : the closed trades of these numbers, in this order
    read_decisions : the setups and near misses of these keys, in this order
    """

    book: str
    strategies: Sequence[str]
    trades: TradeColumns
    setups: SetupColumns
    tiers: Mapping[Symbol, str]
    timezone: str
    read_trades: Callable[[Sequence[int]], list[trade_views.Trade]]
    read_decisions: Callable[[Sequence[SetupKey]], list[decided_views.Decision]]

    def named(self, where: FilterT) -> FilterT:
        """The filter with its names as the book spells them; raises NotThere for one that it has not."""
        if not where.symbols and not where.strategies:
            return where
        symbols = {str(symbol).upper(): symbol for symbol in self.tiers}
        strategies = {name.upper(): name for name in self.strategies}
        return replace(
            where,
            symbols=tuple(dict.fromkeys(self._known("symbol", str(each), symbols) for each in where.symbols)),
            strategies=tuple(
                dict.fromkeys(self._known("strategy", each, strategies) for each in where.strategies)
            ),
        )

    def named_symbols(self, where: LogFilter) -> LogFilter:
        """The same for the log, whose lines name symbols alone."""
        named = self.named(TradeFilter(symbols=where.symbols))
        return replace(where, symbols=named.symbols)

    def _known(self, kind: str, name: str, known: Mapping[str, NameT]) -> NameT:
        found = known.get(name.upper())
        if found is None:
            there = ", ".join(map(str, [*known.values()][:_NAMED])) + (" ..." if len(known) > _NAMED else "")
            raise NotThere(f"{self.book} has no {kind} {name}: it has {there or 'none'}")
        return found

    def sums_of_symbols(self) -> Mapping[Symbol, trade_views.Sums]:
        """The closed trades of each symbol added up."""
        groups = self.trades.groups(self.trades.select(TradeFilter(), self.tiers), "symbol", self.tiers)
        return {Symbol.parse(group.key): group.sums for group in groups}

    def outcomes(self) -> Mapping[str, int]:
        """How many trades of each strategy tell of a setup: those that its own exits have ended."""
        index = self.trades.select(TradeFilter(reasons=_OF_A_SETUP), self.tiers)
        groups = self.trades.groups(index, "strategy", self.tiers)
        return {group.key: group.sums.trades for group in groups}


class ColumnPages(ABC):
    """The half of a book that needs nothing but its columns, and of its rows those that are shown."""

    @abstractmethod
    def _columns(self) -> Columns:
        """What is recorded now."""

    def trades(
        self,
        where: TradeFilter,
        *,
        limit: int,
        cursor: str | None,
        order: TradeOrder = "exit_ms",
        descending: bool = True,
    ) -> trade_views.TradePage:
        """One page of closed trades, and the sums of all under the filter."""
        check_limit(limit)
        columns, after = self._columns(), None
        trades, where = columns.trades, columns.named(where)
        index = trades.select(where, columns.tiers)
        narrowed = where.symbols, where.strategies, where.reasons, where.tiers, where.outcome
        mark = list_of("trades", columns.book, order, descending, *narrowed)
        if cursor is not None:
            after = page_key(cursor, order, mark)
        numbers, key = trades.page(index, order, descending=descending, limit=limit, after=after)
        return trade_views.TradePage(
            items=columns.read_trades(numbers.tolist()),
            next=None if key is None else written(key, mark),
            total=len(index),
            sums=trades.sums(index),
        )

    def profit(self, where: TradeFilter) -> trade_views.Sums:
        """Closed trades added up."""
        columns = self._columns()
        return columns.trades.sums(columns.trades.select(columns.named(where), columns.tiers))

    def performance(
        self, by: Literal["symbol", "strategy", "tier", "exit_reason"], where: TradeFilter
    ) -> trade_views.Performance:
        """Closed trades added up by one property."""
        columns = self._columns()
        index = columns.trades.select(columns.named(where), columns.tiers)
        return trade_views.Performance(by=by, items=columns.trades.groups(index, by, columns.tiers))

    def periods(
        self, by: Literal["day", "week", "month"], where: TradeFilter, limit: int
    ) -> trade_views.Periods:
        """Closed trades added up by day, week or month, newest first."""
        check_limit(limit)
        columns = self._columns()
        index = columns.trades.select(columns.named(where), columns.tiers)
        items = columns.trades.periods(index, by, columns.timezone, limit=limit)
        return trade_views.Periods(by=by, timezone=columns.timezone, items=items)

    def decisions(
        self, where: DecisionFilter, *, limit: int, cursor: str | None
    ) -> decided_views.DecisionPage:
        """One page of setups and near misses, newest first."""
        check_limit(limit)
        columns, before = self._columns(), None
        where = columns.named(where)
        mark = list_of(
            "decisions", columns.book, where.symbols, where.strategies, where.reasons, where.verdicts
        )
        if cursor is not None:
            time_ms, symbol, strategy = read(cursor, (int, str, str), mark)
            before = int(time_ms), str(symbol), str(strategy)
        setups = columns.setups
        keys = setups.keys(setups.page(where, limit=limit + 1, before=before))
        shown = keys[:limit]
        return decided_views.DecisionPage(
            items=columns.read_decisions(shown), next=written(shown[-1], mark) if len(keys) > limit else None
        )

    def reason_counts(self, where: DecisionFilter) -> decided_views.ReasonCounts:
        """How often each answer was given."""
        columns = self._columns()
        return count_views(columns.setups.counted(columns.named(where)))
