"""A backtest in calendar months, for markets that do not fit into memory, equal in every record to the whole.

Each month is read, scanned and simulated before the next one is read. What goes on from month to month is
what the simulator remembers, which scans were setups last, and the number of setups so far. The reference
coin, one column, is read once for all of them. Of the traded bars only the closes are kept.
"""

import ctypes
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import numpy as np

from crypto_tracker.config.instruments import instruments
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.arrays import RecordArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, from_ms
from crypto_tracker.features.blocks import month_blocks
from crypto_tracker.portfolio.regime import MarketState
from crypto_tracker.research.backtest import Backtest, Progress, scenario
from crypto_tracker.research.data_hash import witness
from crypto_tracker.research.detection import Scanning
from crypto_tracker.research.market import (
    Market,
    ReferenceBars,
    gather_reference,
    gather_traded,
    has_bars,
    no_bars,
    whole_bars,
)
from crypto_tracker.research.recorded_books import recorded_books
from crypto_tracker.research.universe import named, withhold
from crypto_tracker.simulation.backtest import scenario_market
from crypto_tracker.simulation.books import OrderBooks, no_books
from crypto_tracker.simulation.driver import waiting_orders
from crypto_tracker.simulation.kernel import QUOTE
from crypto_tracker.simulation.live import EndedOrder, Stepped, Stepper
from crypto_tracker.simulation.records import Scenario, SimulationResult, no_commands
from crypto_tracker.simulation.state import PortfolioState
from crypto_tracker.store.books import BookSource
from crypto_tracker.store.choice import Choice
from crypto_tracker.store.filling import room
from crypto_tracker.store.sources import BarSource
from crypto_tracker.strategies.base import EVENT_SETUP, SETUP_DTYPE, MarketView, StrategyEntry
from crypto_tracker.strategies.needs import scan_timeframe


def run_in_months(  # noqa: PLR0913 - one argument for each part that it joins
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
    """The same as `run_backtest`, in a fraction of the memory.

    The panel of the result holds the closes alone: open, high and low of every bar are its close, and its
    volume is 0. Figures are measured on closes; who draws bars reads them anew.
    """
    base, symbols = choice.base, tuple(sorted(choice.symbols))
    start_ms, end_ms = whole_bars(base, choice.start_ms, choice.end_ms)
    if start_ms >= end_ms:
        raise no_bars(symbols, base)
    seconds = dict.fromkeys(("load", "features", "simulate"), 0.0)
    stage = _Stages(stopwatch, seconds)
    progress("reading bars", 0.0)
    witnessed = witness(source)
    reference = gather_reference(
        witnessed,
        configuration,
        entries,
        choice.reference_symbol,
        base=base,
        start_ms=start_ms,
        end_ms=end_ms,
    )
    recorded = recorded_books(books, configuration.fills)
    closes = _Closes(base, symbols, start_ms, end_ms)
    market = _market_of_closes(closes.panel, reference, entries, configuration, start_ms, end_ms)
    market = replace(market, universe=choice.universe)
    scanning = Scanning(
        entries,
        near_miss_readiness=configuration.decisions.near_miss_readiness,
        version=version if keep_blocks else None,
    )
    simulation = _Simulation(
        scenario(market, entries, np.zeros(0, SETUP_DTYPE), configuration, close_at_end=close_at_end)
    )
    months = list(month_blocks(start_ms, end_ms))
    month: Market | None = None
    for number, (first_ms, stop_ms) in enumerate(months):
        progress(f"simulating {from_ms(first_ms):%B %Y}", number / len(months))
        month = gather_traded(
            witnessed,
            configuration,
            entries,
            symbols,
            reference,
            base=base,
            start_ms=first_ms,
            end_ms=stop_ms,
            earlier=month,
        )
        closes.keep(month.panel)
        stage.done("load")
        setups = scanning.scan(month).copy()
        stage.done("features")
        held = setups["kind"] == EVENT_SETUP
        days = configuration.fills.trailing_range_days
        setups["range_median"][held] = month.range_medians(setups[held], days)
        withhold(setups, symbols, choice.universe)
        shown = None if recorded is None else recorded.read(symbols, first_ms, stop_ms)
        simulation.step(month.panel, setups, shown, is_last=number == len(months) - 1)
        _give_back()
        stage.done("simulate")
    if not has_bars(closes.panel):
        raise no_bars(symbols, base)
    whole, result = simulation.finished()
    stage.done("simulate")
    return Backtest(
        market=market,
        entries=entries,
        detected=scanning.result(),
        scenario=whole,
        result=result,
        data_hash=witnessed.data_hash(named({} if recorded is None else recorded.names(), choice.universe)),
        seconds=seconds,
    )


def _give_back() -> None:
    """Give memory that is free again back to the system, where the C library keeps it and can be told so."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


class _Stages:
    """Adds up the seconds of stages that take turns."""

    def __init__(self, stopwatch: Callable[[], float], seconds: dict[str, float]) -> None:
        self._stopwatch = stopwatch
        self._seconds = seconds
        self._began = stopwatch()

    def done(self, name: str) -> None:
        """What passed since the last call was spent on the stage `name`."""
        now = self._stopwatch()
        self._seconds[name] += now - self._began
        self._began = now


class _Closes:
    """Room for the closes of a whole span, which fills month by month."""

    def __init__(self, base: Timeframe, symbols: tuple[Symbol, ...], start_ms: int, end_ms: int) -> None:
        times = np.arange(start_ms, end_ms, base.ms, dtype=np.int64)
        shape = (len(times), len(symbols))
        self._close = room(shape)
        self._covered = np.zeros(shape, dtype=np.bool_, order="F")
        # The panel is a view of both: what is kept shows in it.
        self.panel = Panel(
            timeframe=base,
            symbols=symbols,
            open_time_ms=times,
            open=self._close,
            high=self._close,
            low=self._close,
            close=self._close,
            volume=np.zeros(shape, order="F"),  # memory that nobody writes to is never taken
            covered=self._covered,
        )

    def keep(self, month: Panel) -> None:
        """Keep the closes of the bars of one month."""
        first = int(np.searchsorted(self.panel.open_time_ms, month.open_time_ms[0]))
        self._close[first : first + len(month)] = month.close
        self._covered[first : first + len(month)] = month.covered


class _Simulation:
    """A portfolio that is stepped month after month, and all records that it brought."""

    def __init__(self, scenario_: Scenario) -> None:
        self._scenario = scenario_
        self._market = scenario_market(scenario_, no_commands())
        self._stepper = Stepper(
            instruments=scenario_.instruments,
            strategies=scenario_.strategies,
            enabled=scenario_.enabled,
            rules=scenario_.rules,
            state=PortfolioState.fresh(
                len(scenario_.panel.symbols),
                len(scenario_.strategies),
                int(np.rint(scenario_.rules.capital_quote * QUOTE)),
            ),
            timeframe=scenario_.panel.timeframe,
        )
        self._row = 0
        self._count = 0  # of setups so far
        self._setups: list[RecordArray] = []
        self._steps: list[Stepped] = []

    def step(self, month: Panel, setups: RecordArray, books: OrderBooks | None, *, is_last: bool) -> None:
        """Step all bars of the month that follows."""
        stop = self._row + len(month)
        stepped = self._stepper.step(
            month,
            _rows(self._market, self._row, stop),
            setups,
            no_commands(),
            first_setup_number=self._count,
            books=books,
            close_at_end=is_last and self._scenario.close_at_end,
        )
        stepped.fills["bar"] += self._row
        self._steps.append(stepped)
        self._setups.append(setups)
        self._count += int((setups["kind"] == EVENT_SETUP).sum())
        self._row = stop

    def finished(self) -> tuple[Scenario, SimulationResult]:
        """The scenario with all setups, and all records, as a simulation of the whole has them."""
        setups = np.concatenate(self._setups)
        row_of_number = np.flatnonzero(setups["kind"] == EVENT_SETUP)
        decisions = np.concatenate([step.decisions for step in self._steps])
        ended: list[EndedOrder] = [order for step in self._steps for order in step.ended]
        for order in ended:
            decisions["end"][row_of_number[order.setup_number]] = order.reason
        trades = np.concatenate([step.trades for step in self._steps])
        held = self._stepper.positions()
        orders = np.concatenate([*(step.orders for step in self._steps), waiting_orders(self._stepper.state)])
        for rows in (trades, held, orders):
            rows["setup"] = row_of_number[rows["setup"]]
        result = SimulationResult(
            fills=np.concatenate([step.fills for step in self._steps]),
            trades=trades,
            open_trades=held,
            holdings=self._stepper.state.holdings(),
            orders=orders,
            decisions=decisions,
            equity_e8=np.concatenate([step.equity_e8 for step in self._steps]),
            cash_e8=np.concatenate([step.cash_e8 for step in self._steps]),
            reserved_e8=np.concatenate([step.reserved_e8 for step in self._steps]),
            regime=self._market.regime.copy(),
        )
        return replace(self._scenario, setups=setups), result


def _rows(market: MarketState, start: int, stop: int) -> MarketState:
    """The market at the closes of the rows [start, stop)."""
    return MarketState(
        **{field.name: getattr(market, field.name)[start:stop] for field in fields(MarketState)}
    )


def _market_of_closes(
    panel: Panel,
    reference: ReferenceBars,
    entries: Sequence[StrategyEntry],
    configuration: Configuration,
    start_ms: int,
    end_ms: int,
) -> Market:
    """The whole span as a market of closes, in which nothing can be scanned any more."""
    facts = instruments(configuration, panel.symbols)
    return Market(
        base=panel.timeframe,
        start_ms=start_ms,
        end_ms=end_ms,
        instruments=facts,
        panel=panel,
        before=Panel.empty(panel.timeframe, panel.symbols, start_ms, start_ms),
        reference_symbol=reference.symbol,
        reference=reference.base,
        books=no_books(len(panel.symbols)),  # those of the months are read with them
        views={
            timeframe: MarketView(
                timeframe=timeframe,
                panels={},
                reference=reference.panels,
                instruments=facts,
                slow_regime=reference.trend,
            )
            for timeframe in (scan_timeframe(entry.strategy, panel.timeframe) for entry in entries)
        },
    )
