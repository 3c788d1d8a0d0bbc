"""A whole span at once: a scenario in, all records out."""

import numpy as np

from crypto_tracker.core.arrays import RecordArray
from crypto_tracker.portfolio.regime import NO_FORCE, MarketState, market_state
from crypto_tracker.portfolio.sizing import sized
from crypto_tracker.simulation import kernel
from crypto_tracker.simulation.driver import (
    CHUNK,
    BarIndex,
    Driver,
    Inputs,
    empty_curve,
    refuse_setups_off_the_grid,
    undecided,
)
from crypto_tracker.simulation.records import CommandKind, Scenario, SimulationResult
from crypto_tracker.simulation.state import PortfolioState


def simulate_portfolio(
    scenario: Scenario, *, index: BarIndex | None = None, market: MarketState | None = None
) -> SimulationResult:
    """Run a scenario from its first bar to its last under all limits.

    `index` is that of the scenario's panel and `market` its `scenario_market`, for those who run several
    scenarios that share them. Raises SimulationError when a quantity can not be exact (the instrument's lot
    is too fine for its price).
    """
    simulator = Simulator(scenario, index=index, market=market)
    simulator.run_until(len(scenario.panel))
    return simulator.result()


class Simulator:
    """A simulation that can be stopped at any bar and go on.

    It visits only what can happen. With `dense` it steps every bar of every symbol, which comes to the same
    records and the same state and takes longer; tests hold the two to each other.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        dense: bool = False,
        index: BarIndex | None = None,
        market: MarketState | None = None,
        chunk: int = CHUNK,
    ) -> None:
        panel, rules = scenario.panel, scenario.rules
        refuse_setups_off_the_grid(scenario.setups, panel)
        self.scenario = scenario
        self.row = 0
        self.market = scenario_market(scenario, scenario.commands) if market is None else market
        self.state = PortfolioState.fresh(
            len(panel.symbols), len(scenario.strategies), int(np.rint(rules.capital_quote * kernel.QUOTE))
        ).with_hours(rules.limits.correlation_limit)
        self._driver = Driver(
            instruments=scenario.instruments,
            strategies=scenario.strategies,
            enabled=scenario.enabled,
            rules=rules,
            timeframe=panel.timeframe,
        )
        self._inputs = Inputs(
            panel, rules.timezone, self.market, scenario.commands, scenario.setups, scenario.books, index
        )
        self._dense = dense
        self._chunk = chunk
        self._decisions = undecided(scenario.setups)
        self._curve = empty_curve(len(panel))
        self._cursor = np.zeros(2, dtype=np.int64)
        self._ended = False

    def run_until(self, row: int) -> None:
        """Step every bar from where it stands up to, not including, `row`, or the end."""
        bars = len(self.scenario.panel)
        stop = min(row, bars)
        if self.row < stop:
            work = (self.state, self._inputs, self._decisions, self._curve, self._cursor, self.row, stop)
            if self._dense:
                self._driver.run(*work)
            else:
                self._driver.run_events(*work, chunk=self._chunk)
            self.row = stop
        if self.row == bars and bars and self.scenario.close_at_end and not self._ended:
            self._end_all()

    def positions(self) -> RecordArray:
        """The open trades, TRADE_DTYPE by symbol, marked at their last closes."""
        return self._driver.positions(self.state)

    def result(self) -> SimulationResult:
        """All records up to where it stands."""
        return SimulationResult(
            fills=self._driver.fills(),
            trades=self._driver.trades(),
            open_trades=self.positions(),
            holdings=self.state.holdings(),
            orders=self._driver.all_orders(self.state),
            decisions=self._decisions.copy(),
            equity_e8=self._curve.equity[: self.row].copy(),
            cash_e8=self._curve.cash[: self.row].copy(),
            reserved_e8=self._curve.reserved[: self.row].copy(),
            regime=self.market.regime[: self.row].copy(),
        )

    def _end_all(self) -> None:
        self._driver.end_all(self.state, self._inputs, self._decisions)
        book = self.state.book
        book["equity"] = book["cash"] + book["reserved"]
        for name in ("equity", "cash", "reserved"):
            getattr(self._curve, name)[-1] = book[name][0]
        self._ended = True


def scenario_market(scenario: Scenario, commands: RecordArray) -> MarketState:
    """The market at every close of the scenario's panel, with the regimes that `commands` force."""
    panel, reference = scenario.panel, scenario.reference
    forced = np.full(len(panel), NO_FORCE, dtype=np.int8)
    for command in commands:
        if command["kind"] in (CommandKind.FORCE_REGIME, CommandKind.RELEASE_REGIME):
            value = command["value"] if command["kind"] == CommandKind.FORCE_REGIME else NO_FORCE
            forced[np.searchsorted(panel.open_time_ms, command["time_ms"]) :] = value
    market = market_state(reference, scenario.strategies, scenario.rules.protection, forced)
    return sized(market, scenario.slow_regime, scenario.rules.sizing)
