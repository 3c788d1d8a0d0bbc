"""The book of one trading account, answered from its records as they grow."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.desk.source import DecisionFilter, NotThere, TradeFilter, TradeOrder, Watch
from crypto_tracker.desk.views import accounts as account_views
from crypto_tracker.desk.views import charts as chart_views
from crypto_tracker.desk.views import controls as control_views
from crypto_tracker.desk.views import decisions as decision_views
from crypto_tracker.desk.views import market as market_views
from crypto_tracker.desk.views import research as research_views
from crypto_tracker.desk.views import strategies as strategy_views
from crypto_tracker.desk.views import system as system_views
from crypto_tracker.desk.views import trades as trade_views
from crypto_tracker.strategies.base import Strategy


class AccountBook:
    """One trading account of a home."""

    def __init__(
        self,
        home: Path,
        name: str,
        *,
        load: Callable[[], tuple[Configuration, Mapping[str, Strategy]]],
        now_ms: Callable[[], int],
    ) -> None:
        self._home = home
        self._name = name
        self._load = load
        self._now_ms = now_ms

    # --- the account
    def status(self) -> account_views.Status:
        """The account at a glance."""
        raise NotThere("this is not answered yet")

    def balance(self) -> account_views.Balance:
        """What part of the equity is where."""
        raise NotThere("this is not answered yet")

    def equity(self, points: int, start_ms: int | None, end_ms: int | None) -> account_views.EquityCurve:
        """The equity in at most `points` stretches."""
        raise NotThere("this is not answered yet")

    def regimes(self, start_ms: int | None, end_ms: int | None) -> account_views.Regimes:
        """How the fast regime went."""
        raise NotThere("this is not answered yet")

    def ratios(self) -> account_views.Ratios:
        """Figures of the daily equity."""
        raise NotThere("this is not answered yet")

    # --- trades
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
        raise NotThere("this is not answered yet")

    def trade(self, trade_group_id: str) -> decision_views.TradeDetail:
        """One trade, closed or open, with everything that led to it."""
        raise NotThere("this is not answered yet")

    def positions(self) -> trade_views.Positions:
        """What is held now."""
        raise NotThere("this is not answered yet")

    def profit(self, where: TradeFilter) -> trade_views.Sums:
        """Closed trades added up."""
        raise NotThere("this is not answered yet")

    def performance(
        self, by: Literal["symbol", "strategy", "tier", "exit_reason"], where: TradeFilter
    ) -> trade_views.Performance:
        """Closed trades added up by one property."""
        raise NotThere("this is not answered yet")

    def periods(
        self, by: Literal["day", "week", "month"], where: TradeFilter, limit: int
    ) -> trade_views.Periods:
        """Closed trades added up by day, week or month, newest first."""
        raise NotThere("this is not answered yet")

    # --- decisions
    def decisions(
        self, where: DecisionFilter, *, limit: int, cursor: str | None
    ) -> decision_views.DecisionPage:
        """One page of setups and near misses, newest first."""
        raise NotThere("this is not answered yet")

    def reason_counts(self, where: DecisionFilter) -> decision_views.ReasonCounts:
        """How often each answer was given."""
        raise NotThere("this is not answered yet")

    def scans(
        self, symbol: Symbol, strategy: str, start_ms: int | None, end_ms: int | None, limit: int
    ) -> decision_views.Scans:
        """The last `limit` scans of the span, oldest first."""
        raise NotThere("this is not answered yet")

    def explain(self, symbol: Symbol, at_ms: int, strategies: Sequence[str]) -> decision_views.Explained:
        """The last scan of each strategy (all where none is named) at or before a moment."""
        raise NotThere("this is not answered yet")

    def log(self, limit: int) -> decision_views.Log:
        """The newest lines first."""
        raise NotThere("this is not answered yet")

    # --- strategies and market
    def readiness(self) -> strategy_views.ReadinessBoard:
        """The last scan of every strategy."""
        raise NotThere("this is not answered yet")

    def strategies(self) -> strategy_views.Strategies:
        """Every strategy of the account."""
        raise NotThere("this is not answered yet")

    def market(self) -> market_views.Market:
        """The market at the last close."""
        raise NotThere("this is not answered yet")

    def locks(self) -> market_views.Locks:
        """Everything that keeps it from buying."""
        raise NotThere("this is not answered yet")

    def pairs(self) -> chart_views.Pairs:
        """Every symbol."""
        raise NotThere("this is not answered yet")

    def candles(
        self, symbol: Symbol, timeframe: Timeframe, limit: int, before_ms: int | None
    ) -> chart_views.Candles:
        """The last `limit` closed bars that open before `before_ms`."""
        raise NotThere("this is not answered yet")

    def levels(
        self, symbol: Symbol, start_ms: int, end_ms: int, strategies: Sequence[str]
    ) -> chart_views.PairLevels:
        """Everything that is drawn over the candles of [start_ms, end_ms)."""
        raise NotThere("this is not answered yet")

    # --- what people tell it
    def preview(self, wish: control_views.CommandWish) -> control_views.CommandPreview:
        """What a command would do."""
        raise NotThere("this is not answered yet")

    def tell(self, wish: control_views.CommandWish, actor: str) -> control_views.CommandItem:
        """Give a command; does not wait for the answer."""
        raise NotThere("this is not answered yet")

    def commands(self, *, limit: int, cursor: str | None) -> control_views.CommandPage:
        """What people told it, newest first."""
        raise NotThere("this is not answered yet")

    def audit(self, *, limit: int, cursor: str | None) -> control_views.AuditPage:
        """Everything that people did, newest first."""
        raise NotThere("this is not answered yet")

    def configuration(self) -> control_views.ShowConfiguration:
        """The configuration that it trades under."""
        raise NotThere("this is not answered yet")

    def preview_configuration(
        self, wish: control_views.ConfigurationWish
    ) -> control_views.ConfigurationPreview:
        """What a configuration would change."""
        raise NotThere("this is not answered yet")

    def tell_configuration(
        self, wish: control_views.ConfigurationWish, actor: str
    ) -> control_views.CommandItem:
        """Offer a configuration, and command the account to take it."""
        raise NotThere("this is not answered yet")

    # --- what is known of its data and its targets
    def data(self) -> system_views.DataQuality:
        """What is stored of its symbols, and how far that can be trusted."""
        raise NotThere("this is not answered yet")

    def scorecard(self) -> research_views.ScorecardView:
        """What is missing before money trades."""
        raise NotThere("this is not answered yet")

    def research(self) -> research_views.Research:
        """What research has written so far."""
        raise NotThere("this is not answered yet")

    # --- live
    def watch(self) -> "Watch":
        """Something that tells what is new."""
        raise NotThere("this is not answered yet")

    def close(self) -> None:
        """Let go of every file."""
