"""The whole result of a backtest: everything that the terminal, the page and the JSON document show.

Marked figures count what is left open at its last closes; closed figures count closed trades alone. What each
figure means stands in docs/figures.md under its name here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import sqrt

import numpy as np

from crypto_tracker.core.arrays import FloatArray, IntArray, RecordArray
from crypto_tracker.core.decisions import Regime, SlowRegime, Tier
from crypto_tracker.core.orders import Trade
from crypto_tracker.simulation import ledger
from crypto_tracker.simulation.breakdown import Period, breakdown
from crypto_tracker.simulation.buy_and_hold import BuyAndHold, hold, market_changes
from crypto_tracker.simulation.driver import trading_days
from crypto_tracker.simulation.kernel import QUOTE
from crypto_tracker.simulation.metrics import (
    YEAR_DAYS,
    Figures,
    GroupFigures,
    daily_returns,
    figures,
    groups,
    outcomes_of_setups,
    quote,
    reasons_of,
)
from crypto_tracker.simulation.performance import Performance, performance
from crypto_tracker.simulation.records import Scenario, SimulationResult
from crypto_tracker.simulation.statistics import (
    deflated_sharpe,
    expected_maximum_sharpe,
    search_variance,
    sharpe_ratio,
)
from crypto_tracker.simulation.trade_figures import TradeFigures, trade_figures
from crypto_tracker.strategies.base import EVENT_SETUP

CURVE_POINTS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What was run, over what, by which code and configuration.

    Attributes
    ----------
    run_id : number in HOME/runs.db; None where the run was not recorded
    bars : base bars of the traded symbols in the span
    data_hash : digest of exactly the bars that were read
    seed : of a synthetic market or of a draw; None where chance had no part
    notes : what a reader should know before believing the result
    scans : for each strategy its scans by the strategy's own reason, the most frequent first
    seconds : how long each stage took
    """

    run_id: int | None
    start: datetime
    end: datetime
    base: str
    symbols: tuple[str, ...]
    providers: dict[str, str]
    reference: str | None
    strategies: tuple[str, ...]
    intrabar: str
    close_at_end: bool
    bars: int
    synthetic: bool
    configuration_version: str
    code_version: str
    data_hash: str
    seed: int | None
    notes: tuple[str, ...]
    scans: dict[str, dict[str, int]]
    near_misses: int
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What trading cost, over all fills, those of trades left open included.

    Attributes
    ----------
    turnover_quote : notional of all fills
    fees_quote, slippage_quote, total_quote : slippage is inside the prices
    share_of_turnover : total over turnover
    pnl_before_costs_quote : marked P&L with fees and slippage added back
    """

    turnover_quote: float
    fees_quote: float
    slippage_quote: float
    total_quote: float
    share_of_turnover: float | None
    pnl_before_costs_quote: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflated:
    """The Sharpe ratio against how often the span was searched.

    Attributes
    ----------
    trials : different configurations tried on overlapping spans with a common symbol, this one included
    sharpe_expected : annual Sharpe ratio that the best of so many reaches by chance alone
    deflated_sharpe : probability that the true ratio is above that
    """

    trials: int
    sharpe_expected: float
    deflated_sharpe: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """The run at no more than `CURVE_POINTS` moments, for drawing; arrays (points,).

    A point stands for all closes since the one before: equities and exposure are those of its last close,
    `equity_low` is the lowest marked equity and `underwater` the deepest fall (a fraction, <= 0) among them.
    """

    time_ms: IntArray
    marked: FloatArray
    closed: FloatArray
    buy_and_hold: FloatArray | None
    equity_low: FloatArray
    underwater: FloatArray
    exposure: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """The whole result of a backtest.

    Attributes
    ----------
    figures : the essentials, and the tables by strategy, symbol and exit reason
    marked, closed : performance of the marked equity, and of capital plus P&L of closed trades
    buy_and_hold : the same of holding every symbol; None where none has a bar
    trades_closed, trades_marked : figures over closed trades, and over these and those left open
    exposure_max, time_in_market : largest share of equity in positions; share of closes with any
    by_tier, by_regime, by_slow_regime, by_entry_tag : further tables; regimes are those at the decision. The
        entry tag is the strategy's name, with ` fallback` where the market favoured another strategy
    market_changes : each symbol's change from its first to its last close
    rejected_by_strategy : for each strategy how often each reason left a setup without a trade
    breakdown : the periods by `day`, `week` and `month`
    daily_returns : of the marked equity, (days,)
    trades, open_trades : every record, in order of closing, and by symbol
    """

    about: About
    figures: Figures
    marked: Performance
    closed: Performance
    buy_and_hold: BuyAndHold | None
    deflated: Deflated | None
    trades_closed: TradeFigures
    trades_marked: TradeFigures
    costs: Costs
    exposure_max: float | None
    time_in_market: float | None
    by_tier: list[GroupFigures]
    by_regime: list[GroupFigures]
    by_slow_regime: list[GroupFigures]
    by_entry_tag: list[GroupFigures]
    market_changes: dict[str, float | None]
    rejected_by_strategy: dict[str, dict[str, int]]
    breakdown: dict[str, list[Period]]
    curve: Curve
    daily_returns: FloatArray
    trades: list[Trade]
    open_trades: list[Trade]


def report(scenario: Scenario, result: SimulationResult, about: About) -> Report:
    """Measure a run whole."""
    panel, start = scenario.panel, scenario.rules.capital_quote
    days = trading_days(panel.open_time_ms, scenario.rules.timezone)
    closes, start_ms = panel.close_time_ms, int(panel.open_time_ms[0])
    exit_rows = (result.trades["exit_ms"] - start_ms) // panel.timeframe.ms
    equity = result.equity_e8 / QUOTE
    gained = np.zeros(len(panel), dtype=np.int64)
    np.add.at(gained, exit_rows, result.trades["pnl_e8"])
    closed = start + np.cumsum(gained) / QUOTE
    held = hold(scenario, days)
    everything = np.concatenate([result.trades, result.open_trades])
    essentials = figures(scenario, result, days)
    exposure = (result.equity_e8 - result.cash_e8 - result.reserved_e8) / result.equity_e8
    names = (panel.symbols, scenario.strategies)
    tables = _Tables(scenario, result)
    return Report(
        about=about,
        figures=essentials,
        marked=performance(equity, start, closes, start_ms, days),
        closed=performance(closed, start, closes, start_ms, days),
        buy_and_hold=None if held is None else held[0],
        deflated=None,
        trades_closed=trade_figures(result.trades, int(closes[-1])),
        trades_marked=trade_figures(everything, int(closes[-1])),
        costs=_costs(result, essentials.equity_final - start),
        exposure_max=float(exposure.max()),
        time_in_market=float((exposure > 0.0).mean()),
        by_tier=tables.by_tier(),
        by_regime=tables.by_regime(),
        by_slow_regime=tables.by_slow_regime(),
        by_entry_tag=tables.by_entry_tag(),
        market_changes=market_changes(scenario),
        rejected_by_strategy=_rejected(scenario, result),
        breakdown=breakdown(
            result.trades,
            exit_rows,
            equity,
            None if held is None else held[1],
            start,
            panel.open_time_ms,
            days,
            scenario.rules.timezone,
        ),
        curve=_curve(closes, equity, closed, None if held is None else held[1], start, exposure),
        daily_returns=daily_returns(equity, days, start),
        trades=ledger.trades(result.trades, *names),
        open_trades=ledger.trades(result.open_trades, *names),
    )


def against_search(found: Report, *, trials: int, variance: float | None) -> Report:
    """The report with its Sharpe ratio deflated by how often the span was searched.

    `trials` are different configurations tried on overlapping spans with a common symbol, this one included;
    `variance` is that of their Sharpe ratios per day on comparable spans, None where fewer than two have one.
    """
    returns = found.daily_returns
    variance = search_variance(variance, sharpe=sharpe_ratio(returns), periods=len(returns))
    return replace(
        found,
        deflated=Deflated(
            trials=trials,
            sharpe_expected=expected_maximum_sharpe(trials, variance) * sqrt(YEAR_DAYS),
            deflated_sharpe=deflated_sharpe(returns, trials=trials, variance=variance),
        ),
    )


class _Tables:
    """Groups trades, closed and left open, by what was known when they were decided."""

    def __init__(self, scenario: Scenario, result: SimulationResult) -> None:
        self._scenario, self._result = scenario, result

    def by_tier(self) -> list[GroupFigures]:
        tiers = self._scenario.instruments.tier
        return self._groups(lambda rows: tiers[rows["symbol"]], [tier.name.lower() for tier in Tier])

    def by_regime(self) -> list[GroupFigures]:
        return self._groups(
            lambda rows: self._result.regime[self._decided_in(rows)],
            [regime.name for regime in Regime],
        )

    def by_slow_regime(self) -> list[GroupFigures]:
        codes = self._scenario.slow_regime
        if codes is None:
            codes = np.full(len(self._scenario.panel), SlowRegime.UNKNOWN, dtype=np.int8)
        return self._groups(
            lambda rows: codes[self._decided_in(rows)], [regime.name for regime in SlowRegime]
        )

    def by_entry_tag(self) -> list[GroupFigures]:
        return self._groups(
            lambda rows: 2 * rows["strategy"] + rows["fallback"],
            [f"{name}{tag}" for name in self._scenario.strategies for tag in ("", " fallback")],
        )

    def _groups(self, key: Callable[[RecordArray], RecordArray], names: Sequence[str]) -> list[GroupFigures]:
        trades, left = self._result.trades, self._result.open_trades
        return groups(trades, key(trades), left, key(left), names)

    def _decided_in(self, rows: RecordArray) -> IntArray:
        """The bar at whose close each trade was decided."""
        panel = self._scenario.panel
        found: IntArray = (rows["decision_ms"] - panel.open_time_ms[0]) // panel.timeframe.ms - 1
        return found


def _costs(result: SimulationResult, pnl_marked_quote: float) -> Costs:
    turnover = quote(result.fills, "notional_e8")
    fees, slippage = quote(result.fills, "fee_e8"), quote(result.fills, "slippage_e8")
    return Costs(
        turnover_quote=turnover,
        fees_quote=fees,
        slippage_quote=slippage,
        total_quote=fees + slippage,
        share_of_turnover=(fees + slippage) / turnover if turnover else None,
        pnl_before_costs_quote=pnl_marked_quote + fees + slippage,
    )


def _rejected(scenario: Scenario, result: SimulationResult) -> dict[str, dict[str, int]]:
    reasons = outcomes_of_setups(scenario, result)
    whose = scenario.setups["strategy"][scenario.setups["kind"] == EVENT_SETUP]
    return {name: reasons_of(reasons[whose == index]) for index, name in enumerate(scenario.strategies)}


def _curve(
    close_time_ms: IntArray,
    equity: FloatArray,
    closed: FloatArray,
    held: FloatArray | None,
    start: float,
    exposure: FloatArray,
) -> Curve:
    step = -(-len(equity) // CURVE_POINTS)
    first = np.arange(0, len(equity), step)
    last = np.append(first[1:], len(equity)) - 1
    fall = equity / np.maximum.accumulate(np.maximum(equity, start)) - 1.0
    return Curve(
        time_ms=close_time_ms[last],
        marked=equity[last],
        closed=closed[last],
        buy_and_hold=None if held is None else held[last],
        equity_low=np.minimum.reduceat(equity, first),
        underwater=np.minimum.reduceat(fall, first),
        exposure=exposure[last],
    )
