# ruff: noqa: ARG002 - examples do not depend on what is asked
"""A desk of examples: everything that the API can be asked for, without a home behind it."""

import threading
import tomllib
from collections.abc import Sequence
from typing import Any

from crypto_tracker.core.errors import StoreError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.desk.source import EVERY_LINE, DecisionFilter, LogFilter, NotLive, NotThere, TradeFilter
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
from tests.desk.examples import example

NOW_MS = 1_755_864_000_000
SYMBOLS = frozenset({"BTC/USDT", "ETH/USDT"})
STRATEGIES = frozenset({"DCA", "SWING"})
NEXT = "MTAyNA"


class FakeWatch:
    """Tells what a test puts into it."""

    def __init__(self, desk: "FakeDesk", account: str) -> None:
        self._desk = desk
        self._account = account

    def news(self, topics: frozenset[str]) -> Sequence[View]:
        return self._desk.take_news(self._account, topics)


class FakeBook:
    def __init__(self, desk: "FakeDesk", account: str) -> None:
        self._desk = desk
        self.account = account

    @property
    def is_run(self) -> bool:
        return self.account.startswith("run:")

    # --- the account
    def status(self) -> account_views.Status:
        return example(account_views.Status, account=self.account)

    def balance(self) -> account_views.Balance:
        return example(account_views.Balance)

    def equity(self, points: int, start_ms: int | None, end_ms: int | None) -> account_views.EquityCurve:
        there = min(points, 10)
        return example(
            account_views.EquityCurve,
            account=self.account,
            time_ms=[NOW_MS + 60_000 * place for place in range(there)],
            equity_quote=[10_000.0] * there,
            low_quote=[9_990.0] * there,
            high_quote=[10_010.0] * there,
        )

    def regimes(self, start_ms: int | None, end_ms: int | None) -> account_views.Regimes:
        return example(account_views.Regimes)

    def ratios(self) -> account_views.Ratios:
        return example(account_views.Ratios)

    # --- trades
    def trades(
        self,
        where: TradeFilter,
        *,
        limit: int,
        cursor: str | None,
        order: str = "exit_ms",
        descending: bool = True,
    ) -> trade_views.TradePage:
        self._know(where.symbols, where.strategies)
        _read(cursor)
        items = [example(trade_views.Trade)] * min(limit, 3)
        return trade_views.TradePage(items=items, next=NEXT, total=3, sums=example(trade_views.Sums))

    def trade(self, trade_group_id: str) -> decision_views.TradeDetail:
        if not trade_group_id.startswith("ETH/USDT-DCA-"):
            raise NotThere(f"there is no trade {trade_group_id} in {self.account}")
        return example(decision_views.TradeDetail)

    def positions(self) -> trade_views.Positions:
        return example(trade_views.Positions)

    def profit(self, where: TradeFilter) -> trade_views.Sums:
        self._know(where.symbols, where.strategies)
        return example(trade_views.Sums)

    def performance(self, by: Any, where: TradeFilter) -> trade_views.Performance:
        self._know(where.symbols, where.strategies)
        return example(trade_views.Performance, by=by)

    def periods(self, by: Any, where: TradeFilter, limit: int) -> trade_views.Periods:
        self._know(where.symbols, where.strategies)
        return example(trade_views.Periods, by=by)

    # --- decisions
    def decisions(
        self, where: DecisionFilter, *, limit: int, cursor: str | None
    ) -> decision_views.DecisionPage:
        self._know(where.symbols, where.strategies)
        _read(cursor)
        return example(decision_views.DecisionPage)

    def reason_counts(self, where: DecisionFilter) -> decision_views.ReasonCounts:
        self._know(where.symbols, where.strategies)
        return example(decision_views.ReasonCounts)

    def scans(
        self, symbol: Symbol, strategy: str, start_ms: int | None, end_ms: int | None, limit: int
    ) -> decision_views.Scans:
        self._know((symbol,), (strategy,))
        return example(decision_views.Scans, symbol=str(symbol), strategy=strategy)

    def explain(self, symbol: Symbol, at_ms: int, names: Sequence[str]) -> decision_views.Explained:
        self._know((symbol,), names)
        return example(decision_views.Explained, symbol=str(symbol), at_ms=at_ms)

    def log(self, limit: int, where: LogFilter = EVERY_LINE, cursor: str | None = None) -> decision_views.Log:
        self._know(where.symbols, ())
        _read(cursor)
        items = [example(decision_views.LogLine)] * min(limit, 400)
        return decision_views.Log(items=items, next=NEXT if limit < 400 else None)

    # --- strategies and market
    def readiness(self) -> strategy_views.ReadinessBoard:
        return example(strategy_views.ReadinessBoard)

    def strategies(self) -> strategy_views.Strategies:
        return example(strategy_views.Strategies)

    def market(self) -> market_views.Market:
        return example(market_views.Market)

    def locks(self) -> market_views.Locks:
        self._live()
        return example(market_views.Locks)

    def pairs(self) -> chart_views.Pairs:
        return example(chart_views.Pairs)

    def candles(
        self, symbol: Symbol, timeframe: Timeframe, limit: int, before_ms: int | None
    ) -> chart_views.Candles:
        self._know((symbol,), ())
        return example(chart_views.Candles, symbol=str(symbol), timeframe=str(timeframe))

    def levels(
        self, symbol: Symbol, start_ms: int, end_ms: int, names: Sequence[str]
    ) -> chart_views.PairLevels:
        self._know((symbol,), names)
        return example(chart_views.PairLevels, symbol=str(symbol))

    # --- what people tell it
    def preview(self, wish: control_views.CommandWish) -> control_views.CommandPreview:
        self._live()
        return example(control_views.CommandPreview, kind=wish.kind, arguments=wish.arguments)

    def tell(self, wish: control_views.CommandWish, actor: str) -> control_views.CommandItem:
        self._live()
        self._desk.told.append((self.account, wish, actor))
        return example(control_views.CommandItem, kind=wish.kind, arguments=wish.arguments, actor=actor)

    def withdraw(self, command_id: str, actor: str) -> control_views.CommandItem:
        self._live()
        self._desk.withdrawn.append((self.account, command_id, actor))
        return example(control_views.CommandItem, command_id=command_id, status="withdrawn")

    def commands(self, *, limit: int, cursor: str | None) -> control_views.CommandPage:
        _read(cursor)
        return example(control_views.CommandPage)

    def audit(self, *, limit: int, cursor: str | None) -> control_views.AuditPage:
        _read(cursor)
        return example(control_views.AuditPage)

    def configuration(self) -> control_views.ShowConfiguration:
        return example(control_views.ShowConfiguration)

    def preview_configuration(
        self, wish: control_views.ConfigurationWish
    ) -> control_views.ConfigurationPreview:
        self._live()
        _toml(wish)
        return example(control_views.ConfigurationPreview)

    def tell_configuration(
        self, wish: control_views.ConfigurationWish, actor: str, *, source: str
    ) -> control_views.CommandItem:
        self._live()
        _toml(wish)
        self._desk.configured.append((self.account, wish.toml, actor, source))
        self._desk.configured_under.append(wish.command_id)
        return example(control_views.CommandItem, kind="configure", actor=actor)

    # --- the rest
    def data(self) -> system_views.DataQuality:
        return example(system_views.DataQuality)

    def scorecard(self) -> research_views.ScorecardView:
        return example(research_views.ScorecardView)

    def research(self) -> research_views.Research:
        return example(research_views.Research)

    def watch(self) -> FakeWatch:
        self._desk.watches += 1
        return FakeWatch(self._desk, self.account)

    def _live(self) -> None:
        if self.is_run:
            raise NotLive(f"{self.account} is a recorded run: only a trading account can do this")

    def _know(self, symbols: Sequence[Symbol], names: Sequence[str]) -> None:
        for symbol in symbols:
            if str(symbol) not in SYMBOLS:
                raise NotThere(f"{self.account} does not watch {symbol}: there are BTC/USDT and ETH/USDT")
        for name in names:
            if name not in STRATEGIES:
                raise NotThere(f"{self.account} has no strategy {name}: there are DCA and SWING")


class FakeDesk:
    """An account `paper`, a run `run:17`, and what a test makes of them.

    Attributes
    ----------
    told, withdrawn, configured : what was told to which account, and by whom
    topics : what each look at an account was for
    broken : raised by every book that is asked for from now on
    """

    def __init__(self) -> None:
        self.told: list[tuple[str, control_views.CommandWish, str]] = []
        self.withdrawn: list[tuple[str, str, str]] = []
        self.configured: list[tuple[str, str, str, str]] = []
        self.configured_under: list[str | None] = []
        self.topics: list[tuple[str, frozenset[str]]] = []
        self.watches = 0
        self.broken: Exception | None = None
        self.closed = False
        self._news: list[View] = []
        self._lock = threading.Lock()

    def accounts(self) -> account_views.Accounts:
        return example(account_views.Accounts)

    def runs(self, *, limit: int, cursor: str | None) -> research_views.Runs:
        _read(cursor)
        return example(research_views.Runs)

    def book(self, account: str | None) -> FakeBook:
        if self.broken is not None:
            raise self.broken
        if account not in {None, "paper", "run:17"}:
            raise NotThere(f"there is no account {account}: there are paper and run:17")
        return FakeBook(self, account or "paper")

    def health(self) -> system_views.Health:
        return example(system_views.Health)

    def collectors(self) -> system_views.Collectors:
        return example(system_views.Collectors)

    def close(self) -> None:
        self.closed = True

    def happens(self, *events: View) -> None:
        """Let the next look at any account find these."""
        with self._lock:
            self._news += events

    def take_news(self, account: str, topics: frozenset[str]) -> Sequence[View]:
        with self._lock:
            self.topics.append((account, topics))
            if self.broken is not None:
                raise self.broken
            taken, self._news = self._news, []
            return taken


def broken_store() -> StoreError:
    return StoreError("the database /srv/anna/user_data/accounts/paper/trading.db is locked: try again")


def _toml(wish: control_views.ConfigurationWish) -> None:
    try:
        tomllib.loads(wish.toml)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"this is no TOML: {error}") from error


def _read(cursor: str | None) -> None:
    if cursor not in {None, NEXT}:
        raise UsageError(f"{cursor!r} is no cursor: send `next` of the page before, as it is")
