"""The book of one trading account, answered from its records as they grow.

What a request reads are columns in memory, what was read once for the account's last minute, and a bounded
number of rows by key.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from crypto_tracker.app.accounts import account_place
from crypto_tracker.app.explaining import PortfolioAnswer, Scan, answers_of_account
from crypto_tracker.app.judging import of_account
from crypto_tracker.app.serving.account_commands import AccountCommands
from crypto_tracker.app.serving.candles import candles
from crypto_tracker.app.serving.column_pages import ColumnPages, Columns
from crypto_tracker.app.serving.decision_view import decision_views
from crypto_tracker.app.serving.equity_view import curve_view
from crypto_tracker.app.serving.explanations import explain
from crypto_tracker.app.serving.home_bars import HomeBars
from crypto_tracker.app.serving.levels import MARKS_MAX, levels
from crypto_tracker.app.serving.locks_view import locks_view
from crypto_tracker.app.serving.market_view import market_view
from crypto_tracker.app.serving.moments import Moment, Moments
from crypto_tracker.app.serving.news import AccountWatch
from crypto_tracker.app.serving.page_limits import check_limit, check_points
from crypto_tracker.app.serving.pairs import closes_a_day_ago, pairs, prices
from crypto_tracker.app.serving.ratios_view import ratios_view
from crypto_tracker.app.serving.readiness import readiness
from crypto_tracker.app.serving.recent import Recent
from crypto_tracker.app.serving.regimes_view import regimes_view
from crypto_tracker.app.serving.scans import scans
from crypto_tracker.app.serving.scorecard_view import Case
from crypto_tracker.app.serving.setup_columns import SetupKey
from crypto_tracker.app.serving.slow_views import SlowViews
from crypto_tracker.app.serving.status_view import balance_view
from crypto_tracker.app.serving.strategy_view import strategy_infos
from crypto_tracker.app.serving.trade_view import fill_view, order_view, trade_view
from crypto_tracker.app.standing import VOLATILITY, breadth_age_ms, breadth_since
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.decisions import Regime
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.desk.source import EVERY_LINE, LogFilter, NotThere, TradeFilter
from crypto_tracker.desk.views import accounts as account_views
from crypto_tracker.desk.views import charts as chart_views
from crypto_tracker.desk.views import controls as control_views
from crypto_tracker.desk.views import decisions as decided_views
from crypto_tracker.desk.views import market as market_views
from crypto_tracker.desk.views import research as research_views
from crypto_tracker.desk.views import strategies as strategy_views
from crypto_tracker.desk.views import system as system_views
from crypto_tracker.desk.views import trades as trade_views
from crypto_tracker.simulation.state import PENDING
from crypto_tracker.store.trading_journal import FILE_NAME
from crypto_tracker.strategies.base import Strategy

Load = Callable[[], tuple[Configuration, Mapping[str, Strategy]]]

_LARGE_BYTES = 32 * 1024**2  # records whose scorecard takes more than a moment


class AccountBook(ColumnPages):
    """One trading account of a home.

    Parameters
    ----------
    load : reads the configuration of the home, for what no account keeps
    strategies : every one that is installed, by name
    now_ms : the clock
    health : how every part of the home is, for those who watch
    """

    def __init__(
        self,
        bars: HomeBars,
        name: str,
        *,
        load: Load,
        strategies: Callable[[], Mapping[str, Strategy]],
        now_ms: Callable[[], int],
        health: Callable[[], system_views.Health],
    ) -> None:
        self._home = bars.home
        self._name = name
        self._load = load
        self._now_ms = now_ms
        self._health = health
        self._moments = Moments(bars, name, strategies=strategies, now_ms=now_ms)
        self._ratios: Recent[account_views.Ratios] = Recent(1)
        self._began: Recent[float | None] = Recent(1)
        self._sums: Recent[Mapping[Symbol, trade_views.Sums]] = Recent(1)
        self._slow: Recent[SlowViews] = Recent(1)
        self._commands = AccountCommands(self._moments, now_ms)

    # --- the account ---------------------------------------------------------------------------

    def status(self) -> account_views.Status:
        """The account at a glance."""
        return self._moments.status(self._moments.now())

    def balance(self) -> account_views.Balance:
        """What part of the equity is where."""
        return balance_view(self._moments.now().present)

    def equity(self, points: int, start_ms: int | None, end_ms: int | None) -> account_views.EquityCurve:
        """The equity in at most `points` stretches."""
        check_points(points)
        equity = self._moments.now().followed.equity
        empty = "no minute was stepped " + ("in this span" if len(equity) else "yet")
        return curve_view(self._name, equity, points, start_ms, end_ms, empty=empty)

    def regimes(self, start_ms: int | None, end_ms: int | None) -> account_views.Regimes:
        """How the fast regime went."""
        return regimes_view(
            self._moments.now().followed.regimes,
            lambda span: account_views.RegimeSpan(
                start_ms=span[0], end_ms=span[1], regime=Regime(span[2]).name
            ),
            begun=lambda span: span[0],
            ended=lambda span: span[1],
            start_ms=start_ms,
            end_ms=end_ms,
        )

    def ratios(self) -> account_views.Ratios:
        """Figures of the daily equity; of the account's last minute they are made once."""
        moment = self._moments.now()
        followed = moment.followed
        key = followed.beginning, followed.cursor_ms, moment.present.scope.version
        found = self._ratios.get(key)
        if found is None:
            found = self._make_ratios(moment)
            if found.market_change is not None:  # else bars are missing, and may come
                self._ratios.put(key, found)
        return found

    # --- trades --------------------------------------------------------------------------------

    def trade(self, trade_group_id: str) -> decided_views.TradeDetail:
        """One trade, closed or open, with everything that led to it."""
        moment = self._moments.now()
        present = moment.present
        record = next((each for each in present.held if each.trade.trade_group_id == trade_group_id), None)
        with self._moments.follower.views() as records:
            closed = records.closed_trades([trade_group_id]).get(trade_group_id)
            trade = closed or (None if record is None else record.trade)
            if trade is None:
                raise NotThere(f"{self._name} has no trade {trade_group_id}")
            setups = records.setups_keyed([(to_ms(trade.decision_time), str(trade.symbol), trade.strategy)])
            decisions = decision_views(records, setups, present.tiers, present.cursor_ms)
            orders = records.orders([trade_group_id]).get(trade_group_id, [])
            fills = records.fills(trade_group_id)
        position = None if record is None or closed is not None else present.position_of(record)
        if closed is not None:
            shown = trade_view(
                closed,
                tier=present.tiers[closed.symbol],
                version=setups[0].version if setups else None,
                until_ms=present.cursor_ms,
            )
        elif position is not None:
            shown = position.trade
        else:  # pragma: no cover - one of both is there, or it was refused above
            raise NotThere(f"{self._name} has no trade {trade_group_id}")
        return decided_views.TradeDetail(
            trade=shown,
            position=position,
            orders=[order_view(each) for each in orders],
            fills=[fill_view(each) for each in fills],
            decision=decisions[0] if decisions else None,
        )

    def positions(self) -> trade_views.Positions:
        """What is held now."""
        return self._moments.now().present.positions

    # --- decisions -----------------------------------------------------------------------------

    def scans(
        self, symbol: Symbol, strategy: str, start_ms: int | None, end_ms: int | None, limit: int
    ) -> decided_views.Scans:
        """The last `limit` scans of the span, oldest first."""
        scope = self._moments.now().present.scope
        return scans(scope, self._moments.scans, symbol, strategy, start_ms, end_ms, limit)

    def explain(self, symbol: Symbol, at_ms: int, strategies: Sequence[str]) -> decided_views.Explained:
        """The last scan of each strategy (all where none is named) at or before a moment."""
        scope = self._moments.now().present.scope
        return explain(scope, self._moments.scans, symbol, at_ms, strategies, self._answer)

    def log(self, limit: int, where: LogFilter = EVERY_LINE, cursor: str | None = None) -> decided_views.Log:
        """One page of the log, the newest lines first."""
        check_limit(limit)
        moment = self._moments.now()
        where = self._columns_at(moment).named_symbols(where)
        return self._moments.log_page(moment, where, limit=limit, cursor=cursor)

    # --- strategies and market -----------------------------------------------------------------

    def readiness(self) -> strategy_views.ReadinessBoard:
        """The last scan of every strategy."""
        moment = self._moments.now()
        scope = moment.present.scope
        return readiness(scope, moment.followed.newest_blocks, self._states(moment), prices(scope))

    def strategies(self) -> strategy_views.Strategies:
        """Every strategy of the account."""
        present = self._moments.now().present
        return strategy_infos(present.scope, {each.name: each for each in present.strategies})

    def market(self) -> market_views.Market:
        """The market at the last close."""
        moment = self._moments.now()
        present, configuration = moment.present, moment.present.scope.configuration
        off = frozenset(each.name for each in present.strategies if VOLATILITY in each.off_by)
        before = closes_a_day_ago(present.scope, breadth_age_ms(configuration))
        risen = breadth_since(present.account, present.state, before)
        return market_view(self._moments.market(moment), risen, configuration, off)

    def locks(self) -> market_views.Locks:
        """Everything that keeps it from buying."""
        moment = self._moments.now()
        return locks_view(moment.present, self._moments.coins(moment), self._now_ms())

    def pairs(self) -> chart_views.Pairs:
        """Every symbol."""
        moment = self._moments.now()
        scores = self._slow_views(moment).known_scores()
        held = {each.trade.symbol for each in moment.present.held}
        return pairs(moment.present.scope, held=held, sums=self._sums_of_symbols(moment), scores=scores)

    def candles(
        self, symbol: Symbol, timeframe: Timeframe, limit: int, before_ms: int | None
    ) -> chart_views.Candles:
        """The last `limit` closed bars that open before `before_ms`."""
        return candles(self._moments.now().present.scope, symbol, timeframe, limit, before_ms)

    def levels(
        self, symbol: Symbol, start_ms: int, end_ms: int, strategies: Sequence[str]
    ) -> chart_views.PairLevels:
        """Everything that is drawn over the candles of [start_ms, end_ms)."""
        moment = self._moments.now()
        present, columns = moment.present, moment.followed.trades
        record = present.record_of(symbol)
        where = TradeFilter(symbols=(symbol,), start_ms=start_ms, end_ms=end_ms)
        index = columns.select(where, present.tiers)[-MARKS_MAX:]
        closed = self._trade_views(moment, columns.number[index].tolist())
        position = None if record is None else present.position_of(record)
        scanned = self._moments.scans
        return levels(present.scope, scanned, symbol, start_ms, end_ms, strategies, position, closed)

    # --- what people tell it -------------------------------------------------------------------

    def preview(self, wish: control_views.CommandWish) -> control_views.CommandPreview:
        """What a command would do; raises UsageError where it would be refused."""
        return self._commands.preview(wish)

    def tell(self, wish: control_views.CommandWish, actor: str) -> control_views.CommandItem:
        """Give a command; raises UsageError where it would be refused, as `preview` does.

        The trader answers it before its next minute, and may refuse it still.
        """
        return self._commands.tell(wish, actor)

    def withdraw(self, command_id: str, actor: str) -> control_views.CommandItem:
        """Take a command back; raises CryptoTrackerError where the trader has answered it."""
        return self._commands.withdraw(command_id, actor)

    def commands(self, *, limit: int, cursor: str | None) -> control_views.CommandPage:
        """What people told it, newest first."""
        return self._commands.commands(limit=limit, cursor=cursor)

    def audit(self, *, limit: int, cursor: str | None) -> control_views.AuditPage:
        """Everything that people did, newest first."""
        return self._commands.audit(limit=limit, cursor=cursor)

    def configuration(self) -> control_views.ShowConfiguration:
        """The configuration that it trades under."""
        return self._commands.configuration()

    def preview_configuration(
        self, wish: control_views.ConfigurationWish
    ) -> control_views.ConfigurationPreview:
        """What a configuration would change."""
        return self._commands.preview_configuration(wish)

    def tell_configuration(
        self, wish: control_views.ConfigurationWish, actor: str, *, source: str
    ) -> control_views.CommandItem:
        """Offer a configuration, and command the account to take it."""
        return self._commands.tell_configuration(wish, actor, source=source)

    # --- what is known of its data and its targets ---------------------------------------------

    def data(self) -> system_views.DataQuality:
        """What is stored of its symbols, and how far that can be trusted."""
        return self._slow_views(self._moments.now()).data()

    def scorecard(self) -> research_views.ScorecardView:
        """What is missing before money trades."""
        return self._slow_views(self._moments.now()).scorecard()

    def research(self) -> research_views.Research:
        """What research has written so far."""
        moment = self._moments.now()
        return self._slow_views(moment).research(self._columns_at(moment).outcomes())

    # --- live ----------------------------------------------------------------------------------

    def watch(self) -> AccountWatch:
        """Something that tells what is new."""
        return AccountWatch(self._moments, self._health)

    def forget(self) -> None:
        """Let go of an account that is not there any more; one that is begun in its place is read anew."""
        self._moments.forget()

    def close(self) -> None:
        """Let go of every file for good."""
        self._moments.close()

    # --- behind them ---------------------------------------------------------------------------

    def _columns(self) -> Columns:
        return self._columns_at(self._moments.now())

    def _columns_at(self, moment: Moment) -> Columns:
        present = moment.present
        return Columns(
            book=self._name,
            strategies=present.account.strategies,
            trades=moment.followed.trades,
            setups=moment.followed.setups,
            tiers=present.tiers,
            timezone=present.scope.configuration.trading.timezone,
            read_trades=partial(self._trade_views, moment),
            read_decisions=partial(self._decision_views, moment),
        )

    def _trade_views(self, moment: Moment, numbers: Sequence[int]) -> list[trade_views.Trade]:
        present = moment.present
        with self._moments.follower.views() as records:
            rows = records.trades_numbered(numbers)
        return [
            trade_view(trade, tier=present.tiers[trade.symbol], version=version, until_ms=present.cursor_ms)
            for trade, version in rows
        ]

    def _decision_views(self, moment: Moment, keys: Sequence[SetupKey]) -> list[decided_views.Decision]:
        present = moment.present
        with self._moments.follower.views() as records:
            return decision_views(records, records.setups_keyed(keys), present.tiers, present.cursor_ms)

    def _sums_of_symbols(self, moment: Moment) -> Mapping[Symbol, trade_views.Sums]:
        key = moment.followed.beginning, len(moment.followed.trades)
        return self._sums.made(key, self._columns_at(moment).sums_of_symbols)

    def _make_ratios(self, moment: Moment) -> account_views.Ratios:
        trades = moment.followed.trades
        return ratios_view(
            moment.followed.equity,
            trades.totals(trades.select(TradeFilter(), moment.present.tiers)),
            timezone=moment.present.scope.configuration.trading.timezone,
            start_ms=moment.present.account.start_ms,
            market_change=self._market_change(moment),
        )

    def _answer(self, scan: Scan) -> PortfolioAnswer | None:
        """What the portfolio did with a setup, whatever configuration it was decided under."""
        with self._moments.follower.views() as records:
            version = records.version_at(scan.time_ms - MINUTE_MS)
            return None if version is None else answers_of_account(self._name, records, version)(scan)

    def _states(self, moment: Moment) -> Mapping[Symbol, str]:
        """What the portfolio has with each symbol already, of those with which it has something."""
        coins = {each.symbol: each for each in self._moments.coins(moment)}
        slots = moment.present.state.portfolio.slots
        found = {}
        for column, symbol in enumerate(moment.present.account.symbols):
            coin = coins.get(symbol)
            if moment.present.record_of(symbol) is not None:
                found[symbol] = "held"
            elif slots[column]["phase"] == PENDING:
                found[symbol] = "pending"
            elif coin is not None and coin.blocked:
                found[symbol] = "blocked"
            elif coin is not None and coin.cooldown_until_ms is not None:
                found[symbol] = "cooldown"
            elif coin is not None and coin.score is not None:
                found[symbol] = "doubtful"
            else:
                found[symbol] = "free"
        return found

    def _market_change(self, moment: Moment) -> float | None:
        """How far the reference has come since the start; None where a price is missing."""
        now, account, bars = self._moments.market(moment), moment.present.account, self._moments.bars()
        reference = account.reference
        if reference is None or bars is None or now.reference_price is None:
            return None

        def first_close() -> float | None:
            day = (account.start_ms, account.start_ms + DAY_MS)
            provider = account.providers[reference]
            closes = bars.panel([reference], Timeframe.M1, *day, provider=provider).close[:, 0]
            known = closes[~np.isnan(closes)]
            return float(known[0]) if len(known) else None

        began = self._began.made(moment.followed.beginning, first_close)
        return None if began is None else now.reference_price / began - 1.0

    def _slow_views(self, moment: Moment) -> SlowViews:
        """What is made now and then, of this account and of none that was begun in its place before."""
        account = moment.present.account
        return self._slow.made(
            moment.followed.beginning,
            lambda: SlowViews(
                self._name,
                lambda: self._moments.now().present.scope,
                self._moments.scans,
                self._case,
                paper=account.end_ms is None,
                now_ms=self._now_ms,
            ),
        )

    def _case(self) -> Case:
        targets, place = self._load()[0].scorecard, account_place(self._home, self._name)
        return Case(
            gather=partial(of_account, place, targets.late_seconds),
            targets=targets,
            apart=(place.folder / FILE_NAME).stat().st_size > _LARGE_BYTES,
        )
