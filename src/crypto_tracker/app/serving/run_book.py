"""The book of a recorded run: shown on the same pages as an account, and never to be told anything."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from crypto_tracker.app.endings import portfolio_sentence
from crypto_tracker.app.explaining import PortfolioAnswer, Scan
from crypto_tracker.app.serving.candles import candles
from crypto_tracker.app.serving.column_pages import ColumnPages, Columns
from crypto_tracker.app.serving.explanations import explain
from crypto_tracker.app.serving.levels import MARKS_MAX, levels
from crypto_tracker.app.serving.log_pages import log_page
from crypto_tracker.app.serving.page_limits import check_limit, check_points
from crypto_tracker.app.serving.pairs import pairs, prices
from crypto_tracker.app.serving.readiness import readiness
from crypto_tracker.app.serving.regimes_view import regimes_view
from crypto_tracker.app.serving.run_decisions import RunLog, run_decisions
from crypto_tracker.app.serving.run_positions import NOT_RECORDED, filled_orders
from crypto_tracker.app.serving.run_watch import RunWatch
from crypto_tracker.app.serving.runs_kept import KeptRun
from crypto_tracker.app.serving.scans import scans
from crypto_tracker.app.serving.strategy_view import off_by_configuration, strategy_infos
from crypto_tracker.app.serving.trade_view import fill_view, order_view, trade_view
from crypto_tracker.app.standing import StrategyStanding
from crypto_tracker.core.decisions import Verdict
from crypto_tracker.core.money import QUOTE_SCALE, to_decimal
from crypto_tracker.core.orders import Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe, to_ms
from crypto_tracker.desk.source import EVERY_LINE, LogFilter, NotLive
from crypto_tracker.desk.views import accounts as account_views
from crypto_tracker.desk.views import charts as chart_views
from crypto_tracker.desk.views import controls as control_views
from crypto_tracker.desk.views import decisions as decided_views
from crypto_tracker.desk.views import market as market_views
from crypto_tracker.desk.views import research as research_views
from crypto_tracker.desk.views import strategies as strategy_views
from crypto_tracker.desk.views import system as system_views
from crypto_tracker.desk.views import trades as trade_views
from crypto_tracker.store.trading_records import SetupRecord

NO_SCANS = (
    "this run did not keep its scans: `backtest --record-scans` keeps those of a run, and every account "
    "that trades keeps its own"
)


class RunBook(ColumnPages):
    """One recorded run of a home.

    Parameters
    ----------
    kept : the run, shared with all other books of it
    now_ms : the clock
    """

    def __init__(self, kept: KeptRun, now_ms: Callable[[], int]) -> None:
        self._kept = kept
        self._now_ms = now_ms

    # --- the account ---------------------------------------------------------------------------

    def status(self) -> account_views.Status:
        """The run at its end."""
        scope = self._kept.scope
        price = None if scope.reference is None else prices(scope).get(scope.reference)
        return self._kept.money.status(
            now_ms=self._now_ms(), reference=scope.reference, price=price, regime=self._kept.market.last
        )

    def balance(self) -> account_views.Balance:
        """What part of the equity was where at the end."""
        return self._kept.money.balance()

    def equity(self, points: int, start_ms: int | None, end_ms: int | None) -> account_views.EquityCurve:
        """The equity in at most `points` stretches."""
        check_points(points)
        return self._kept.money.equity_curve(points, start_ms, end_ms)

    def regimes(self, start_ms: int | None, end_ms: int | None) -> account_views.Regimes:
        """How the fast regime went, by the stored bars of the reference."""
        return regimes_view(
            self._kept.market.spans,
            lambda span: span,
            begun=lambda span: span.start_ms,
            ended=lambda span: span.end_ms,
            start_ms=start_ms,
            end_ms=end_ms,
        )

    def ratios(self) -> account_views.Ratios:
        """Figures of the daily equity."""
        return self._kept.money.ratios(self._kept.market.change)

    # --- trades --------------------------------------------------------------------------------

    def trade(self, trade_group_id: str) -> decided_views.TradeDetail:
        """One trade, closed or left open, with everything that led to it."""
        records = self._kept.records
        trade = records.trade(trade_group_id)
        fills = records.fills([trade_group_id])
        setups = records.setup(to_ms(trade.decision_time), trade.symbol, trade.strategy)
        decisions = run_decisions(records, setups, self._kept.tiers)
        held = self._kept.positions.items
        orders = records.orders([trade_group_id]).get(trade_group_id)
        note = NOT_RECORDED if orders is None else None
        if orders is None:
            orders = filled_orders(fills, trade, self._kept.scope.base.ms)
        return decided_views.TradeDetail(
            trade=self._view(trade),
            position=next((each for each in held if each.trade.trade_group_id == trade_group_id), None),
            orders=[order_view(order) for order in orders],
            fills=[fill_view(fill) for fill in fills],
            decision=decisions[0] if decisions else None,
            note=note,
        )

    def positions(self) -> trade_views.Positions:
        """What was still held at the end."""
        return self._kept.positions

    # --- decisions -----------------------------------------------------------------------------

    def scans(
        self, symbol: Symbol, strategy: str, start_ms: int | None, end_ms: int | None, limit: int
    ) -> decided_views.Scans:
        """The last `limit` scans of the span, oldest first."""
        scope, records = self._kept.scope, self._kept.records
        found = scans(scope, records, symbol, strategy, start_ms, end_ms, limit)
        return found if records.newest_blocks else found.model_copy(update={"note": NO_SCANS})

    def explain(self, symbol: Symbol, at_ms: int, strategies: Sequence[str]) -> decided_views.Explained:
        """The last scan of each strategy (all where none is named) at or before a moment."""
        scope, records = self._kept.scope, self._kept.records
        return explain(scope, records, symbol, at_ms, strategies, self._answer)

    def log(self, limit: int, where: LogFilter = EVERY_LINE, cursor: str | None = None) -> decided_views.Log:
        """One page of the log, the newest lines first."""
        check_limit(limit)
        kept = self._kept
        where = kept.columns.named_symbols(where)
        log = RunLog(kept.records, kept.tiers, where)
        return log_page(
            kept.scope.account,
            partial(log.lines, limit=limit),
            log.words,
            where,
            limit=limit,
            cursor=cursor,
            until_ms=kept.scope.until_ms + MINUTE_MS,
        )

    # --- strategies and market -----------------------------------------------------------------

    def readiness(self) -> strategy_views.ReadinessBoard:
        """The last scan of every strategy, where the run kept its scans."""
        scope, records = self._kept.scope, self._kept.records
        held = {trade.symbol: "held" for trade in records.left_open}
        board = readiness(scope, records.newest_blocks, held, prices(scope))
        return board if records.newest_blocks else board.model_copy(update={"note": NO_SCANS})

    def strategies(self) -> strategy_views.Strategies:
        """Every strategy of the run, and what it had at work at the end."""
        scope, money = self._kept.scope, self._kept.money
        standings = {
            name: StrategyStanding(
                name=name,
                off_by=off_by_configuration(scope.configuration, name),
                losing_streak=0,
                rests_until_ms=None,
                open_positions=sum(each.trade.strategy == name for each in money.positions),
                used_quote=money.used(name),
                share_quote=to_decimal(round(money.share(name) * QUOTE_SCALE)),
            )
            for name in scope.strategies
        }
        return strategy_infos(scope, standings)

    def market(self) -> market_views.Market:
        """A run keeps no present of the market."""
        self._not_live("it has no market of its own: its regimes stand in its equity curve")

    def locks(self) -> market_views.Locks:
        """A run has no entries to be locked."""
        self._not_live("nothing keeps it from buying any more: its decisions say what did")

    def pairs(self) -> chart_views.Pairs:
        """Every symbol."""
        scores = self._kept.slow.known_scores()
        held = {trade.symbol for trade in self._kept.records.left_open}
        return pairs(self._kept.scope, held=held, sums=self._kept.sums_of_symbols, scores=scores)

    def candles(
        self, symbol: Symbol, timeframe: Timeframe, limit: int, before_ms: int | None
    ) -> chart_views.Candles:
        """The last `limit` closed bars that open before `before_ms`."""
        return candles(self._kept.scope, symbol, timeframe, limit, before_ms)

    def levels(
        self, symbol: Symbol, start_ms: int, end_ms: int, strategies: Sequence[str]
    ) -> chart_views.PairLevels:
        """Everything that is drawn over the candles of [start_ms, end_ms)."""
        records = self._kept.records
        closed = [self._view(trade) for trade in records.closed_of(symbol, start_ms, end_ms, limit=MARKS_MAX)]
        held = self._kept.positions.items
        position = next((each for each in held if each.trade.symbol == str(symbol)), None)
        return levels(self._kept.scope, records, symbol, start_ms, end_ms, strategies, position, closed)

    # --- what people tell it -------------------------------------------------------------------

    def preview(self, wish: control_views.CommandWish) -> control_views.CommandPreview:
        """A run takes no commands."""
        self._not_live(f"it cannot be told to {wish.kind}: choose an account that trades")

    def tell(self, wish: control_views.CommandWish, actor: str) -> control_views.CommandItem:
        """A run takes no commands."""
        del actor
        self._not_live(f"it cannot be told to {wish.kind}: choose an account that trades")

    def withdraw(self, command_id: str, actor: str) -> control_views.CommandItem:
        """A run takes no commands."""
        del command_id, actor
        self._not_live("nobody tells it anything: choose an account that trades")

    def commands(self, *, limit: int, cursor: str | None) -> control_views.CommandPage:
        """Nobody ever told a run anything."""
        del limit, cursor
        self._not_live("nobody tells it anything: choose an account that trades")

    def audit(self, *, limit: int, cursor: str | None) -> control_views.AuditPage:
        """Nobody ever did anything to a run."""
        del limit, cursor
        self._not_live("nobody tells it anything: choose an account that trades")

    def configuration(self) -> control_views.ShowConfiguration:
        """The configuration that it was made under."""
        return self._kept.configuration

    def preview_configuration(
        self, wish: control_views.ConfigurationWish
    ) -> control_views.ConfigurationPreview:
        """A run keeps its configuration."""
        del wish
        self._not_live("it keeps the configuration that it was made under: `backtest` tries another")

    def tell_configuration(
        self, wish: control_views.ConfigurationWish, actor: str, *, source: str
    ) -> control_views.CommandItem:
        """A run keeps its configuration."""
        del wish, actor, source
        self._not_live("it keeps the configuration that it was made under: `backtest` tries another")

    # --- what is known of its data and its targets ---------------------------------------------

    def data(self) -> system_views.DataQuality:
        """What is stored of its symbols, and how far that can be trusted."""
        return self._kept.slow.data()

    def scorecard(self) -> research_views.ScorecardView:
        """What is missing before money trades."""
        return self._kept.slow.scorecard()

    def research(self) -> research_views.Research:
        """What research has written so far."""
        return self._kept.slow.research(self._columns().outcomes())

    # --- live ----------------------------------------------------------------------------------

    def watch(self) -> RunWatch:
        """Something that tells how the run ended, once: nothing is ever new."""
        return RunWatch(self)

    def close(self) -> None:
        """Nothing is held but what all books of the run share."""

    def _columns(self) -> Columns:
        return self._kept.columns

    def _view(self, trade: Trade) -> trade_views.Trade:
        scope = self._kept.scope
        return trade_view(
            trade, tier=self._kept.tiers[trade.symbol], version=scope.version, until_ms=scope.until_ms
        )

    def _answer(self, scan: Scan) -> PortfolioAnswer | None:
        """What the portfolio did with a setup of the run."""
        found: Sequence[SetupRecord] = self._kept.records.setup(scan.time_ms, scan.symbol, scan.strategy)
        return next(
            (
                PortfolioAnswer(
                    run_id=self._kept.records.run_id,
                    account=None,
                    verdict=row.verdict.value,
                    reason=row.reason.code,
                    sentence=portfolio_sentence(row.reason, row.measured, row.limit),
                    rank=row.rank,
                )
                for row in found
                if row.verdict is not Verdict.NEAR_MISS
            ),
            None,
        )

    def _not_live(self, why: str) -> NoReturn:
        raise NotLive(f"run {self._kept.records.run_id} is a recorded run, and {why}")
