"""The pages and sums of a book that are answered from columns: its closed trades, and its decisions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from crypto_tracker.app.serving.cursors import read, written
from crypto_tracker.app.serving.decision_view import count_views
from crypto_tracker.app.serving.page_limits import check_limit
from crypto_tracker.app.serving.setup_columns import SetupColumns, SetupKey
from crypto_tracker.app.serving.trade_columns import TradeColumns
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.desk.source import DecisionFilter, TradeFilter, TradeOrder
from crypto_tracker.desk.views import decisions as decided_views
from crypto_tracker.desk.views import trades as trade_views

_OF_A_SETUP = tuple(reason.code for reason in ExitReason if reason.tells_of_setup)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What a book has recorded, at one moment.

    Attributes
    ----------
    tiers : of every symbol
    timezone : whose days, weeks and months are meant
    read_trades : the closed trades of these numbers, in this order
    read_decisions : the setups and near misses of these keys, in this order
    """

    trades: TradeColumns
    setups: SetupColumns
    tiers: Mapping[Symbol, str]
    timezone: str
    read_trades: Callable[[Sequence[int]], list[trade_views.Trade]]
    read_decisions: Callable[[Sequence[SetupKey]], list[decided_views.Decision]]

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
        trades = columns.trades
        index = trades.select(where, columns.tiers)
        if cursor is not None:
            value, number = read(cursor, (float, int))
            after = (float(value) if isinstance(value, float) else int(value), int(number))
        numbers, key = trades.page(index, order, descending=descending, limit=limit, after=after)
        return trade_views.TradePage(
            items=columns.read_trades(numbers.tolist()),
            next=None if key is None else written(key),
            total=len(index),
            sums=trades.sums(index),
        )

    def profit(self, where: TradeFilter) -> trade_views.Sums:
        """Closed trades added up."""
        columns = self._columns()
        return columns.trades.sums(columns.trades.select(where, columns.tiers))

    def performance(
        self, by: Literal["symbol", "strategy", "tier", "exit_reason"], where: TradeFilter
    ) -> trade_views.Performance:
        """Closed trades added up by one property."""
        columns = self._columns()
        index = columns.trades.select(where, columns.tiers)
        return trade_views.Performance(by=by, items=columns.trades.groups(index, by, columns.tiers))

    def periods(
        self, by: Literal["day", "week", "month"], where: TradeFilter, limit: int
    ) -> trade_views.Periods:
        """Closed trades added up by day, week or month, newest first."""
        check_limit(limit)
        columns = self._columns()
        index = columns.trades.select(where, columns.tiers)
        items = columns.trades.periods(index, by, columns.timezone, limit=limit)
        return trade_views.Periods(by=by, items=items)

    def decisions(
        self, where: DecisionFilter, *, limit: int, cursor: str | None
    ) -> decided_views.DecisionPage:
        """One page of setups and near misses, newest first."""
        check_limit(limit)
        columns, before = self._columns(), None
        if cursor is not None:
            time_ms, symbol, strategy = read(cursor, (int, str, str))
            before = int(time_ms), str(symbol), str(strategy)
        setups = columns.setups
        keys = setups.keys(setups.page(where, limit=limit + 1, before=before))
        shown = keys[:limit]
        return decided_views.DecisionPage(
            items=columns.read_decisions(shown), next=written(shown[-1]) if len(keys) > limit else None
        )

    def reason_counts(self, where: DecisionFilter) -> decided_views.ReasonCounts:
        """How often each answer was given."""
        return count_views(self._columns().setups.counted(where))
