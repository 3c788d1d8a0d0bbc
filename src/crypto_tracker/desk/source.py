"""Where pages get their views from: one `Desk`, and a `Book` for each account and recorded run.

The web server knows these protocols and nothing behind them; `app` joins the two. Every method is called from
worker threads, several at a time. What cannot be answered raises an error of `core.errors`: NotThere where
something named does not exist, UsageError for what cannot be asked, StoreError or DataError where the records
cannot be read, NotLive where only a trading account could answer, and CryptoTrackerError itself for what is
right in itself and cannot be done as the account stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from crypto_tracker.core.errors import CryptoTrackerError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.desk.views import accounts as account_views
from crypto_tracker.desk.views import charts as chart_views
from crypto_tracker.desk.views import controls as control_views
from crypto_tracker.desk.views import decisions as decision_views
from crypto_tracker.desk.views import market as market_views
from crypto_tracker.desk.views import research as research_views
from crypto_tracker.desk.views import strategies as strategy_views
from crypto_tracker.desk.views import system as system_views
from crypto_tracker.desk.views import trades as trade_views
from crypto_tracker.desk.views.base import View

ROWS_MAX = 500
"""Rows of one page, lines of the log, and windows, that can be asked for at once."""
CANDLES_MAX = 2_000
POINTS_MAX = 5_000
SCANS_MAX = 2_000

TradeOrder = Literal[
    "exit_ms",
    "entry_ms",
    "held_ms",
    "pnl_quote",
    "return_net",
    "invested_quote",
    "symbol",
    "strategy",
    "exit_reason",
    "entry_price",
    "exit_price",
]


class NotThere(CryptoTrackerError):
    """Something that was named does not exist."""


class NotLive(CryptoTrackerError):
    """Only a trading account has this; a recorded run has not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFilter:
    """Which trades are wanted; empty or None does not narrow. The span [start_ms, end_ms) is of exits."""

    symbols: tuple[Symbol, ...] = ()
    strategies: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    outcome: Literal["win", "loss"] | None = None
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFilter:
    """Which setups and near misses are wanted; the span [start_ms, end_ms) is of the deciding closes."""

    symbols: tuple[Symbol, ...] = ()
    strategies: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    verdicts: tuple[decision_views.Verdict, ...] = ()
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which lines of the log are wanted; empty or None does not narrow. The span is [start_ms, end_ms)."""

    symbols: tuple[Symbol, ...] = ()
    kinds: tuple[decision_views.LogKind, ...] = ()
    start_ms: int | None = None
    end_ms: int | None = None


EVERY_LINE = LogFilter()


class Book(Protocol):
    """One account, or one recorded run."""

    # --- the account
    def status(self) -> account_views.Status:
        """The account at a glance."""
        ...

    def balance(self) -> account_views.Balance:
        """What part of the equity is where."""
        ...

    def equity(self, points: int, start_ms: int | None, end_ms: int | None) -> account_views.EquityCurve:
        """The equity in at most `points` stretches."""
        ...

    def regimes(self, start_ms: int | None, end_ms: int | None) -> account_views.Regimes:
        """How the fast regime went."""
        ...

    def ratios(self) -> account_views.Ratios:
        """Figures of the daily equity."""
        ...

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
        ...

    def trade(self, trade_group_id: str) -> decision_views.TradeDetail:
        """One trade, closed or open, with everything that led to it."""
        ...

    def positions(self) -> trade_views.Positions:
        """What is held now."""
        ...

    def profit(self, where: TradeFilter) -> trade_views.Sums:
        """Closed trades added up."""
        ...

    def performance(
        self, by: Literal["symbol", "strategy", "tier", "exit_reason"], where: TradeFilter
    ) -> trade_views.Performance:
        """Closed trades added up by one property."""
        ...

    def periods(
        self, by: Literal["day", "week", "month"], where: TradeFilter, limit: int
    ) -> trade_views.Periods:
        """Closed trades added up by day, week or month, newest first."""
        ...

    # --- decisions
    def decisions(
        self, where: DecisionFilter, *, limit: int, cursor: str | None
    ) -> decision_views.DecisionPage:
        """One page of setups and near misses, newest first."""
        ...

    def reason_counts(self, where: DecisionFilter) -> decision_views.ReasonCounts:
        """How often each answer was given."""
        ...

    def scans(
        self, symbol: Symbol, strategy: str, start_ms: int | None, end_ms: int | None, limit: int
    ) -> decision_views.Scans:
        """The last `limit` scans of the span, oldest first."""
        ...

    def explain(self, symbol: Symbol, at_ms: int, strategies: Sequence[str]) -> decision_views.Explained:
        """The last scan of each strategy (all where none is named) at or before a moment."""
        ...

    def log(self, limit: int, where: LogFilter = EVERY_LINE, cursor: str | None = None) -> decision_views.Log:
        """One page of the log, the newest lines first."""
        ...

    # --- strategies and market
    def readiness(self) -> strategy_views.ReadinessBoard:
        """The last scan of every strategy."""
        ...

    def strategies(self) -> strategy_views.Strategies:
        """Every strategy of the account."""
        ...

    def market(self) -> market_views.Market:
        """The market at the last close."""
        ...

    def locks(self) -> market_views.Locks:
        """Everything that keeps it from buying."""
        ...

    def pairs(self) -> chart_views.Pairs:
        """Every symbol."""
        ...

    def candles(
        self, symbol: Symbol, timeframe: Timeframe, limit: int, before_ms: int | None
    ) -> chart_views.Candles:
        """The last `limit` closed bars that open before `before_ms`."""
        ...

    def levels(
        self, symbol: Symbol, start_ms: int, end_ms: int, strategies: Sequence[str]
    ) -> chart_views.PairLevels:
        """Everything that is drawn over the candles of [start_ms, end_ms)."""
        ...

    # --- what people tell it
    def preview(self, wish: control_views.CommandWish) -> control_views.CommandPreview:
        """What a command would do."""
        ...

    def tell(self, wish: control_views.CommandWish, actor: str) -> control_views.CommandItem:
        """Give a command; does not wait for the answer."""
        ...

    def withdraw(self, command_id: str, actor: str) -> control_views.CommandItem:
        """Take a command back that the trader has not answered; raises NotThere where nobody gave it."""
        ...

    def commands(self, *, limit: int, cursor: str | None) -> control_views.CommandPage:
        """What people told it, newest first."""
        ...

    def audit(self, *, limit: int, cursor: str | None) -> control_views.AuditPage:
        """Everything that people did, newest first."""
        ...

    def configuration(self) -> control_views.ShowConfiguration:
        """The configuration that it trades under."""
        ...

    def preview_configuration(
        self, wish: control_views.ConfigurationWish
    ) -> control_views.ConfigurationPreview:
        """What a configuration would change."""
        ...

    def tell_configuration(
        self, wish: control_views.ConfigurationWish, actor: str, *, source: str
    ) -> control_views.CommandItem:
        """Offer a configuration, and command the account to take it; `source` says where its text is from."""
        ...

    # --- what is known of its data and its targets
    def data(self) -> system_views.DataQuality:
        """What is stored of its symbols, and how far that can be trusted."""
        ...

    def scorecard(self) -> research_views.ScorecardView:
        """What is missing before money trades."""
        ...

    def research(self) -> research_views.Research:
        """What research has written so far."""
        ...

    # --- live
    def watch(self) -> "Watch":
        """Something that tells what is new."""
        ...


class Watch(Protocol):
    """What is new in a book since it was asked last: one for each live stream, in one thread at a time."""

    def news(self, topics: frozenset[str]) -> Sequence[View]:
        """Events of `views.live` for these topics since the last call, oldest first; empty if there are none.

        The first call for a topic only takes note of where it stands, but for the topics `positions`,
        `equity`, `regime` and `log`, whose present it tells at once.
        """
        ...


class Desk(Protocol):
    """Everything under one home."""

    def accounts(self) -> account_views.Accounts:
        """Every account, and the newest recorded runs."""
        ...

    def runs(self, *, limit: int, cursor: str | None) -> research_views.Runs:
        """Recorded runs, newest first."""
        ...

    def book(self, account: str | None) -> Book:
        """The book of an account or `run:N`; None means the one that runs, or was started last.

        Raises NotThere where there is none.
        """
        ...

    def health(self) -> system_views.Health:
        """How every part is."""
        ...

    def collectors(self) -> system_views.Collectors:
        """Who keeps bars up to date."""
        ...

    def close(self) -> None:
        """Let go of every file."""
        ...
