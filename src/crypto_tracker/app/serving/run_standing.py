"""What a recorded run was worth, at its end and on the way there."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np

from crypto_tracker.app.serving.equity_levels import EquityLevels
from crypto_tracker.app.serving.equity_view import curve_view
from crypto_tracker.app.serving.pairs import PriceNow
from crypto_tracker.app.serving.ratios_view import ratios_view
from crypto_tracker.app.serving.run_equity import RunEquity
from crypto_tracker.app.serving.run_records import RunRecords
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.core.decisions import Regime
from crypto_tracker.core.money import QUOTE_SCALE, added, to_decimal
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.desk.source import TradeFilter
from crypto_tracker.desk.views import accounts as views
from crypto_tracker.desk.views import trades as trade_views
from crypto_tracker.store.column_rows import MinuteRows

ENDED = "a recorded run: nothing is meant to run"
OF_CLOSED_TRADES = (
    "this run was recorded before its equity was kept: the curve is the capital and the trades closed so "
    "far, in steps, without what positions gained or lost while they were held"
)

NO_DAYS = "this run was recorded before its equity was kept: what it was worth day by day is not known"


class RunMoney:
    """The amounts of a run. Its equity is the capital, what its trades made and what was still held."""

    def __init__(self, scope: Scope, records: RunRecords, positions: Sequence[trade_views.Position]) -> None:
        self.scope, self.records, self.positions = scope, records, positions
        self.capital = scope.configuration.trading.capital_quote
        self._capital_e8 = round(self.capital * QUOTE_SCALE)
        index = records.trades.select(TradeFilter(), {})
        self.totals = records.trades.totals(index)
        self.closed = self.totals.view()
        held, self._worth_e8 = records.left_open, dict.fromkeys(scope.strategies, 0)
        for each in positions:
            self._worth_e8[each.trade.strategy] += round(each.value_quote * QUOTE_SCALE)
        unrealised = added(each.pnl_quote for each in held)
        equity = to_decimal(self._capital_e8 + self.totals.pnl_e8) + unrealised
        exposure = to_decimal(sum(self._worth_e8.values()))
        self.invested = float(added(each.invested_quote for each in held))
        self.exposure, self.unrealised = float(exposure), float(unrealised)
        self.equity, self.cash = float(equity), float(equity - exposure)
        self._fees = to_decimal(self.totals.fee_e8) + added(each.fee_quote for each in held)
        self._slippage = to_decimal(self.totals.slippage_e8) + added(each.slippage_quote for each in held)
        self.marked = bool(len(records.equity))
        # Without kept equity all of the curve, its drawdowns too, is that of closed trades.
        self.curve = (
            RunEquity.of(
                records.equity,
                capital_e8=self._capital_e8,
                bar_ms=scope.base.ms,
                max_drawdown=records.max_drawdown,
            )
            if self.marked
            else RunEquity.of_closed_trades(
                records.trades,
                capital_e8=self._capital_e8,
                bar_ms=scope.base.ms,
                start_ms=scope.start_ms,
                end_ms=scope.until_ms,
            )
        )
        marked = max(1.0 - self.equity * QUOTE_SCALE / self.curve.peak_e8, 0.0)
        self.drawdown = marked if self.marked else self.curve.fallen
        self.max_drawdown = self.curve.max_drawdown

    def status(
        self, *, now_ms: int, reference: Symbol | None, price: PriceNow | None, regime: Regime | None
    ) -> views.Status:
        """The run at its end."""
        run, limits = self.records.run, self.scope.configuration.limits
        return views.Status.model_validate(
            {
                "account": self.scope.account,
                "kind": run.kind,
                "running": False,
                "synthetic": run.synthetic,
                "light": "off",
                "light_why": [ENDED],
                "now_ms": now_ms,
                "start_ms": run.start_ms,
                "end_ms": run.end_ms,
                "until_ms": run.end_ms,
                "lag_ms": None,
                "progress": 1.0,
                "ended": True,
                "configuration_version": run.configuration_version,
                "timezone": self.scope.configuration.trading.timezone,
                "quote": self.scope.quote,
                "capital_quote": self.capital,
                "equity_quote": self.equity,
                "cash_quote": self.cash,
                "reserved_quote": None,
                "invested_quote": self.invested,
                "exposure_quote": self.exposure,
                "unrealised_quote": self.unrealised,
                "unrealised_fraction": self.unrealised / self.invested if self.invested else None,
                "realised_quote": self.closed.pnl_quote,
                "realised_fraction": self.closed.return_on_invested,
                "return_net": self.equity / self.capital - 1.0,
                "day_pnl_quote": None,
                "day_return": None,
                "drawdown": self.drawdown,
                "max_drawdown": self.max_drawdown,
                "fee_quote": float(self._fees),
                "slippage_quote": float(self._slippage),
                "open_positions": len(self.positions),
                "max_open_positions": limits.max_open,
                "pending_orders": None,
                "counters": [
                    views.Counter(
                        strategy=name,
                        open=sum(each.trade.strategy == name for each in self.positions),
                        max_open=limits.max_open_per_strategy,
                        used_quote=float(self.used(name)),
                        share_quote=self.share(name),
                    )
                    for name in self.scope.strategies
                ],
                "closed": self.closed,
                "regime": None if regime is None else regime.name,
                "regime_forced": False,
                "reference": None if reference is None else str(reference),
                "reference_price": None if price is None else price.price,
                "reference_return_24h": None if price is None else price.return_24h,
                "entries": None,
                "waiting_commands": 0,
                "newest_bar_ms": None,
                "process": None,
                "last_check": None,
            }
        )

    def balance(self) -> views.Balance:
        """What part of the equity was where at the end."""
        limits = self.scope.configuration.limits
        symbol_limit = limits.max_symbol_exposure * self.equity
        held = sorted(self.positions, key=lambda each: (-each.value_quote, each.trade.symbol))
        return views.Balance(
            quote=self.scope.quote,
            equity_quote=self.equity,
            cash_quote=self.cash,
            reserved_quote=None,
            exposure_quote=self.exposure,
            parts=[
                self._part("cash", "cash", self.cash, None),
                *(
                    self._part(name, "strategy", float(self.used(name)), self.share(name))
                    for name in self.scope.strategies
                ),
                *(self._part(each.trade.symbol, "symbol", each.value_quote, symbol_limit) for each in held),
            ],
        )

    def used(self, strategy: str) -> Decimal:
        """What the positions of a strategy were worth at the end."""
        return to_decimal(self._worth_e8[strategy])

    def share(self, strategy: str) -> float:
        """The most that they might have been worth at admission."""
        limits = self.scope.configuration.limits
        share = limits.shares.get(strategy, 0.0) * (1.0 - limits.reserve)
        return min(share, limits.max_strategy_exposure) * self.equity

    def equity_curve(self, points: int, start_ms: int | None, end_ms: int | None) -> views.EquityCurve:
        """The equity of a span in at most so many stretches."""
        return curve_view(
            self.scope.account,
            self.curve,
            points,
            start_ms,
            end_ms,
            empty="no close of the run lies in this span" if self.marked else "no trade was closed",
            note=None if self.marked else OF_CLOSED_TRADES,
            marked=self.marked,
        )

    def ratios(self, market_change: float | None) -> views.Ratios:
        """Figures of the daily equity: without it only those of the trades."""
        levels = EquityLevels.fresh(self._capital_e8)
        if self.marked:
            rows = self.records.equity
            closes = MinuteRows(
                time_ms=rows.time_ms + self.scope.base.ms - MINUTE_MS,
                equity_e8=rows.equity_e8,
                regime=np.zeros(len(rows), dtype=np.int8),
            )
            levels = replace(levels.extended(closes), max_drawdown=self.max_drawdown)
        found = ratios_view(
            levels,
            self.totals,
            timezone=self.scope.configuration.trading.timezone,
            start_ms=self.scope.start_ms,
            market_change=market_change,
        )
        return found if self.marked else found.model_copy(update={"note": NO_DAYS})

    def _part(self, name: str, kind: str, value: float, limit: float | None) -> views.Allocation:
        return views.Allocation.model_validate(
            {
                "name": name,
                "kind": kind,
                "value_quote": value,
                "fraction": value / self.equity if self.equity else 0.0,
                "limit_quote": limit,
            }
        )
