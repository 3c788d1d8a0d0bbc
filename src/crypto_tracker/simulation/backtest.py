"""The dense driver from Python: a scenario in, all records out."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from crypto_tracker.core.arrays import IntArray, RecordArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.errors import SimulationError
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS
from crypto_tracker.portfolio.regime import NO_FORCE, MarketState, market_state
from crypto_tracker.simulation import kernel
from crypto_tracker.simulation.records import (
    DECISION_DTYPE,
    FILL_DTYPE,
    MAX_LEVELS,
    TRADE_DTYPE,
    CommandKind,
    Scenario,
    SimulationResult,
)
from crypto_tracker.simulation.state import (
    PortfolioState,
    instrument_array,
    parameter_array,
    strategy_parameter_array,
)
from crypto_tracker.strategies.base import EVENT_RESET

_FIRST_ROOM = 4_096  # rows of fills and trades to begin with; they grow as needed
_NOT_DECIDED = -1


def simulate_portfolio(scenario: Scenario) -> SimulationResult:
    """Run a scenario from its first bar to its last under all limits.

    Raises SimulationError when a quantity can not be exact (the instrument's lot is too fine for its price).
    """
    simulator = Simulator(scenario)
    simulator.run_until(len(scenario.panel))
    return simulator.result()


class Simulator:
    """A simulation that can be stepped: the same kernel, bar after bar."""

    def __init__(self, scenario: Scenario) -> None:
        panel, rules = scenario.panel, scenario.rules
        self.scenario = scenario
        self.row = 0
        self.market = scenario_market(scenario, scenario.commands)
        self.state = PortfolioState.fresh(
            len(panel.symbols), len(scenario.strategies), int(np.rint(rules.capital_quote * kernel.QUOTE))
        )
        self._facts = kernel.Facts(
            instrument_array(scenario.instruments, rules),
            strategy_parameter_array(rules, scenario.strategies, scenario.enabled),
            parameter_array(rules, panel.timeframe.ms),
        )
        self._bars = bar_arrays(panel, rules.timezone)
        self._decisions = np.zeros(len(scenario.setups), dtype=DECISION_DTYPE)
        self._decisions["reason"] = _NOT_DECIDED
        self._decisions["reason"][scenario.setups["kind"] == EVENT_RESET] = Reason.ACCEPTED
        self._decisions["rank"] = -1
        self._decisions["measured"] = self._decisions["limit"] = np.nan
        self._fills = np.zeros(_FIRST_ROOM, dtype=FILL_DTYPE)
        self._trades = np.zeros(_FIRST_ROOM, dtype=TRADE_DTYPE)
        self._counts = np.zeros(2, dtype=np.int64)
        self._curve = kernel.Curve(*(np.zeros(len(panel), dtype=np.int64) for _ in range(3)))
        self._cursor = np.zeros(2, dtype=np.int64)
        per_strategy = np.zeros((2, len(scenario.strategies)), dtype=np.int64)
        self._scratch = kernel.Scratch(np.zeros(len(scenario.setups), dtype=np.int64), *per_strategy)
        self._ended = False
        refuse_setups_off_the_grid(scenario)

    def run_until(self, row: int) -> None:
        """Step every bar from where it stands up to, not including, `row`, or the end."""
        panel, state = self.scenario.panel, self.state
        stop = min(row, len(panel))
        room = len(panel.symbols) * (MAX_LEVELS + 4)
        while self.row < stop:
            self._make_room(room)
            self.row = kernel.run(
                memory(state),
                self._facts,
                self._records,
                self._scratch,
                self._curve,
                self._bars,
                market_arrays(self.market),
                self.scenario.commands,
                self.scenario.setups,
                self._cursor,
                self.row,
                stop,
                room,
            )
            error = int(state.book["error"][0])
            if error:
                symbol = panel.symbols[error - 1]
                raise SimulationError(
                    f"{symbol}: an order needs more than 2^53 lots, which can not be counted exactly: "
                    f'set a coarser lot in [instruments."{symbol}"]'
                )
        if self.row == len(panel) and len(panel) and self.scenario.close_at_end and not self._ended:
            self._end_all()

    def positions(self) -> RecordArray:
        """The open trades, TRADE_DTYPE by symbol, marked at their last closes."""
        rows = np.zeros(len(self.state.slots), dtype=TRADE_DTYPE)
        count = kernel.open_trades(memory(self.state), self._facts, rows)
        return rows[:count]

    def result(self) -> SimulationResult:
        """All records up to where it stands."""
        fills, trades = (int(count) for count in self._counts)
        return SimulationResult(
            fills=self._fills[:fills].copy(),
            trades=self._trades[:trades].copy(),
            open_trades=self.positions(),
            decisions=self._decisions.copy(),
            equity_e8=self._curve.equity[: self.row].copy(),
            cash_e8=self._curve.cash[: self.row].copy(),
            reserved_e8=self._curve.reserved[: self.row].copy(),
            regime=self.market.regime[: self.row].copy(),
        )

    def _make_room(self, room: int) -> None:
        if len(self._fills) - self._counts[0] < room:
            self._fills = np.concatenate([self._fills, np.zeros(len(self._fills) + room, dtype=FILL_DTYPE)])
        if len(self._trades) - self._counts[1] < room:
            self._trades = np.concatenate(
                [self._trades, np.zeros(len(self._trades) + room, dtype=TRADE_DTYPE)]
            )

    @property
    def _records(self) -> kernel.Records:
        return kernel.Records(self._fills, self._trades, self._counts, self._decisions)

    def _end_all(self) -> None:
        self._make_room(len(self.scenario.panel.symbols))
        kernel.end_all(memory(self.state), self._facts, self._records, self._bars)
        book = self.state.book
        book["equity"] = book["cash"] + book["reserved"]
        for name in ("equity", "cash", "reserved"):
            getattr(self._curve, name)[-1] = book[name][0]
        self._ended = True


def memory(state: PortfolioState) -> kernel.Memory:
    """The state's arrays as the kernel takes them; it writes into them."""
    return kernel.Memory(state.book, state.slots, state.parts, state.coins, state.strategies, state.episodes)


def market_arrays(market: MarketState) -> kernel.MarketArrays:
    """The market's arrays as the kernel takes them."""
    return kernel.MarketArrays(
        market.regime,
        market.volatility,
        market.preferred,
        market.stop_factor,
        market.size_factor,
        market.switched_on,
    )


def bar_arrays(panel: Panel, timezone: str) -> kernel.Bars:
    """The panel's arrays as the kernel takes them, with the trading day of each bar."""
    return kernel.Bars(
        panel.open_time_ms,
        trading_days(panel.open_time_ms, timezone),
        panel.open.T,
        panel.high.T,
        panel.low.T,
        panel.close.T,
        panel.volume.T,
    )


def trading_days(open_time_ms: IntArray, timezone: str) -> IntArray:
    """The number of the trading day of each bar, by its open time in `timezone`, int64 (bars,)."""
    if timezone == "UTC":
        return open_time_ms // DAY_MS
    zone = ZoneInfo(timezone)
    # Every zone in use is a whole number of quarter-hours away from UTC, so all bars of one share their day.
    quarter = HOUR_MS // 4
    quarters, inverse = np.unique(open_time_ms // quarter, return_inverse=True)
    days = [
        datetime.fromtimestamp(int(q) * 900, tz=UTC).astimezone(zone).date().toordinal() for q in quarters
    ]
    return np.array(days, dtype=np.int64)[inverse]


def scenario_market(scenario: Scenario, commands: RecordArray) -> MarketState:
    """The market at every close of the scenario's panel, with the regimes that `commands` force."""
    panel, reference = scenario.panel, scenario.reference
    forced = np.full(len(panel), NO_FORCE, dtype=np.int8)
    for command in commands:
        if command["kind"] in (CommandKind.FORCE_REGIME, CommandKind.RELEASE_REGIME):
            value = command["value"] if command["kind"] == CommandKind.FORCE_REGIME else NO_FORCE
            forced[np.searchsorted(panel.open_time_ms, command["time_ms"]) :] = value
    return market_state(reference, scenario.strategies, scenario.rules.protection, forced)


def refuse_setups_off_the_grid(scenario: Scenario) -> None:
    """Raise SimulationError where a setup is decided at no close of the panel."""
    times = scenario.setups["time_ms"]
    closes = scenario.panel.close_time_ms
    off = ~np.isin(times, closes)
    if off.any():
        raise SimulationError(
            f"{int(off.sum())} setups are decided at no close of the {scenario.panel.timeframe} base in the "
            "simulated span: cut them to the span first"
        )
