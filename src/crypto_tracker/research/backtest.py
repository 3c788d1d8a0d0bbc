"""A backtest from bars to records: read, detect, simulate."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.arrays import CodeArray, RecordArray
from crypto_tracker.core.decisions import Reason, SlowRegime, Verdict
from crypto_tracker.core.money import QUOTE_SCALE
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.features.align import align_codes
from crypto_tracker.research.data_hash import DataHash, witness
from crypto_tracker.research.detection import Detected, detect
from crypto_tracker.research.market import Market, gather
from crypto_tracker.research.recorded_books import recorded_books
from crypto_tracker.research.universe import named, withhold
from crypto_tracker.simulation import ledger
from crypto_tracker.simulation.backtest import simulate_portfolio
from crypto_tracker.simulation.driver import trading_days
from crypto_tracker.simulation.metrics import Figures, figures
from crypto_tracker.simulation.records import Scenario, SimulationResult, no_commands
from crypto_tracker.store.books import BookSource
from crypto_tracker.store.choice import Choice
from crypto_tracker.store.runs import EquityStretch, SetupRow, TradeRecords
from crypto_tracker.store.sources import BarSource
from crypto_tracker.strategies.base import EVENT_SETUP, StrategyEntry

Progress = Callable[[str, float], None]

# What share of the whole work is done when a stage begins, as measured on a year of minutes of 30 symbols.
_SCANS_BEGIN, _SIMULATION_BEGINS, _FIGURES_BEGIN = 0.25, 0.7, 0.87


@dataclass(slots=True, kw_only=True)
class Backtest:
    """One finished backtest."""

    market: Market
    entries: tuple[StrategyEntry, ...]
    detected: Detected
    scenario: Scenario
    result: SimulationResult
    data_hash: DataHash
    seconds: dict[str, float]

    @property
    def figures(self) -> Figures:
        """The essential figures, measured anew each time; `simulation.report` measures all."""
        panel, rules = self.scenario.panel, self.scenario.rules
        return figures(self.scenario, self.result, trading_days(panel.open_time_ms, rules.timezone))


def run_backtest(  # noqa: PLR0913 - one argument for each part that it joins
    source: BarSource,
    configuration: Configuration,
    entries: tuple[StrategyEntry, ...],
    choice: Choice,
    *,
    version: str,
    keep_blocks: bool,
    close_at_end: bool,
    progress: Progress,
    stopwatch: Callable[[], float],
    books: BookSource | None = None,
) -> Backtest:
    """Load, detect and simulate.

    `books` is needed where the configuration lets market fills walk recorded order books. `progress` is told
    what is going on and what share of the whole work is done, 0 to 1; `stopwatch` gives seconds.
    """
    began = stopwatch()
    progress("reading bars", 0.0)
    witnessed = witness(source)
    market = gather(
        witnessed,
        configuration,
        entries,
        choice.symbols,
        reference_symbol=choice.reference_symbol,
        base=choice.base,
        start_ms=choice.start_ms,
        end_ms=choice.end_ms,
    )
    market = replace(market, universe=choice.universe)
    recorded = recorded_books(books, configuration.fills)
    names: Mapping[str, str] = {}
    if recorded is not None:
        shown = recorded.read(market.panel.symbols, market.start_ms, market.end_ms)
        market, names = replace(market, books=shown), recorded.names()
    loaded = stopwatch()
    progress("scanning", _SCANS_BEGIN)
    detected = detect(
        market,
        entries,
        near_miss_readiness=configuration.decisions.near_miss_readiness,
        version=version,
        keep_blocks=keep_blocks,
        progress=partial(_scanning, progress),
    )
    scanned = stopwatch()
    progress("simulating", _SIMULATION_BEGINS)
    inputs = scenario(market, entries, detected.setups, configuration, close_at_end=close_at_end)
    result = simulate_portfolio(inputs)
    ended = stopwatch()
    progress("measuring", _FIGURES_BEGIN)
    return Backtest(
        market=market,
        entries=entries,
        detected=detected,
        scenario=inputs,
        result=result,
        data_hash=witnessed.data_hash(named(names, choice.universe)),
        seconds={"load": loaded - began, "features": scanned - loaded, "simulate": ended - scanned},
    )


def _scanning(progress: Progress, name: str, share: float = 0.0) -> None:
    progress(f"scanning {name}", _SCANS_BEGIN + share * (_SIMULATION_BEGINS - _SCANS_BEGIN))


def scenario(
    market: Market,
    entries: Sequence[StrategyEntry],
    setups: RecordArray,
    configuration: Configuration,
    *,
    close_at_end: bool = False,
) -> Scenario:
    """The simulator's input: setups get the median bar range of the days before (R7).

    Those of symbols that did not belong to the universe of their day are withheld.
    """
    rules = configuration.rules()
    setups = setups.copy()
    withhold(setups, market.panel.symbols, market.universe)
    held = setups["kind"] == EVENT_SETUP
    setups["range_median"][held] = market.range_medians(setups[held], rules.fills.trailing_range_days)
    return Scenario(
        panel=market.panel,
        reference=market.reference,
        instruments=market.instruments,
        strategies=tuple(entry.strategy.name for entry in entries),
        enabled=tuple(entry.enabled for entry in entries),
        setups=setups,
        commands=no_commands(),
        rules=rules,
        close_at_end=close_at_end,
        slow_regime=slow_regime(market),
        books=market.books,
    )


def slow_regime(market: Market) -> CodeArray | None:
    """The slow regime at each close of the span, None where there is no reference."""
    view = next(iter(market.views.values()), None)
    if view is None or view.slow_regime is None:
        return None
    days = view.reference[Timeframe.D1]
    return align_codes(
        view.slow_regime, days.close_time_ms, market.panel.close_time_ms, unknown=SlowRegime.UNKNOWN
    )


def trade_records(backtest_scenario: Scenario, result: SimulationResult) -> TradeRecords:
    """Fills, trades and orders of a run as its record keeps them."""
    names = backtest_scenario.panel.symbols, backtest_scenario.strategies
    rows = np.concatenate([result.trades, result.open_trades])
    trades = ledger.trades(rows, *names)
    standings = ledger.standings(result.open_trades, result.holdings)
    left_open = [trade.trade_group_id for trade in trades[len(result.trades) :]]
    return TradeRecords(
        fills=ledger.fills(result.fills, [rows], *names),
        trades=trades,
        standings=dict(zip(left_open, standings, strict=True)),
        orders=ledger.orders(result.orders, *names),
    )


def equity_stretches(
    backtest_scenario: Scenario, result: SimulationResult, *, most: int = 5_000
) -> list[EquityStretch]:
    """The equity at the closes of the bars in at most `most` stretches of as many bars each.

    A whole number of them makes a day, or of days one: a run that begins at midnight has the equity at
    the end of each day.
    """
    equity_e8 = result.equity_e8
    if not len(equity_e8):
        return []
    open_time_ms = backtest_scenario.panel.open_time_ms[: len(equity_e8)]
    capital_e8 = round(backtest_scenario.rules.capital_quote * QUOTE_SCALE)
    bars_a_day = DAY_MS // backtest_scenario.panel.timeframe.ms
    starts = np.arange(0, len(equity_e8), _length(-(-len(equity_e8) // most), bars_a_day))
    ends = np.append(starts[1:], len(equity_e8)) - 1
    peak = np.maximum(np.maximum.accumulate(equity_e8), capital_e8)
    columns = (
        open_time_ms[ends],
        equity_e8[ends],
        np.minimum.reduceat(equity_e8, starts),
        np.maximum.reduceat(equity_e8, starts),
        np.maximum.reduceat((peak - equity_e8) / peak, starts),
    )
    return [
        EquityStretch(time_ms=time_ms, equity_e8=last, low_e8=low, high_e8=high, drawdown=drawdown)
        for time_ms, last, low, high, drawdown in zip(*(each.tolist() for each in columns), strict=True)
    ]


def _length(least: int, bars_a_day: int) -> int:
    """The shortest stretch of `least` bars or more of which a whole number makes a day, or a number of days.

    >>> _length(106, 1440), _length(1440, 1440), _length(1441, 1440)
    (120, 1440, 2880)
    """
    if least > bars_a_day:
        return -(-least // bars_a_day) * bars_a_day
    return next(length for length in range(least, bars_a_day + 1) if bars_a_day % length == 0)


def setup_rows(backtest_scenario: Scenario, result: SimulationResult) -> list[SetupRow]:
    """Every setup with the portfolio's answer, in order of time."""
    decided = (backtest_scenario.setups["kind"] == EVENT_SETUP) & (result.decisions["reason"] >= 0)
    setups, decisions = backtest_scenario.setups[decided], result.decisions[decided]
    taken = decisions["reason"] == Reason.ACCEPTED
    by_code = {int(reason): reason for reason in Reason}
    reasons = [by_code[code] for code in np.where(taken, decisions["end"], decisions["reason"]).tolist()]
    symbols, strategies = backtest_scenario.panel.symbols, backtest_scenario.strategies
    columns = zip(
        setups["time_ms"].tolist(),
        setups["symbol"].tolist(),
        setups["strategy"].tolist(),
        taken.tolist(),
        reasons,
        setups["readiness"].tolist(),
        setups["confidence"].tolist(),
        decisions["rank"].tolist(),
        decisions["fallback"].tolist(),
        decisions["measured"].tolist(),
        decisions["limit"].tolist(),
        strict=True,
    )
    return [
        SetupRow(
            time_ms=time_ms,
            symbol=symbols[symbol],
            strategy=strategies[strategy],
            verdict=Verdict.TAKE if took else Verdict.SKIP,
            reason=reason,
            readiness=readiness,
            confidence=confidence,
            rank=rank if rank >= 0 else None,
            fallback=fallback,
            measured=None if math.isnan(measured) else measured,
            limit=None if math.isnan(limit) else limit,
        )
        for (
            time_ms,
            symbol,
            strategy,
            took,
            reason,
            readiness,
            confidence,
            rank,
            fallback,
            measured,
            limit,
        ) in columns
    ]
