"""What drives the compiled step: its inputs as it takes them, room for records, and the loop around it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from crypto_tracker.core.arrays import IntArray, RecordArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.errors import SimulationError
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, Timeframe
from crypto_tracker.portfolio.regime import MarketState
from crypto_tracker.simulation import kernel
from crypto_tracker.simulation.books import OrderBooks, no_books
from crypto_tracker.simulation.parameters import Rules
from crypto_tracker.simulation.records import (
    DECISION_DTYPE,
    FILL_DTYPE,
    MAX_LEVELS,
    ORDER_DTYPE,
    TRADE_DTYPE,
)
from crypto_tracker.simulation.state import (
    PortfolioState,
    instrument_array,
    parameter_array,
    strategy_parameter_array,
)
from crypto_tracker.strategies.base import EVENT_RESET

_FIRST_ROOM = 4_096  # rows of fills, trades and orders to begin with; they grow as needed
_NOT_DECIDED = -1
CHUNK = 1_024  # rows that the event driver looks at together


class Driver:
    """Runs the compiled step under one set of rules, and keeps the records that it writes."""

    def __init__(
        self,
        *,
        instruments: Instruments,
        strategies: tuple[str, ...],
        enabled: tuple[bool, ...],
        rules: Rules,
        timeframe: Timeframe,
    ) -> None:
        self._symbols = instruments.symbols
        self.facts = kernel.Facts(
            instrument_array(instruments, rules),
            strategy_parameter_array(rules, strategies, enabled),
            parameter_array(rules, timeframe.ms),
            depth_arrays(no_books(len(instruments.symbols))),
        )
        self._fills = np.zeros(_FIRST_ROOM, dtype=FILL_DTYPE)
        self._trades = np.zeros(_FIRST_ROOM, dtype=TRADE_DTYPE)
        self._orders = np.zeros(_FIRST_ROOM, dtype=ORDER_DTYPE)
        self._written = np.zeros(1, dtype=kernel.WRITTEN_DTYPE)
        self._per_strategy = np.zeros((2, len(strategies)), dtype=np.int64)

    def run(
        self,
        state: PortfolioState,
        inputs: "Inputs",
        decisions: RecordArray,
        curve: kernel.Curve,
        cursor: IntArray,
        start: int,
        stop: int,
    ) -> None:
        """Step the bars [start, stop) of the inputs, and write what they change.

        `cursor` holds the next command and the next setup. Raises SimulationError when a quantity can not be
        exact (the instrument's lot is too fine for its price).
        """
        room = len(self._symbols) * (MAX_LEVELS + 4)
        scratch = kernel.Scratch(np.zeros(len(inputs.setups), dtype=np.int64), *self._per_strategy)
        facts = self.facts if inputs.depth is None else self.facts._replace(depth=inputs.depth)
        row = start
        while row < stop:
            self._make_room(room)
            row = kernel.run(
                memory(state),
                facts,
                self._records(decisions),
                scratch,
                curve,
                inputs.bars,
                inputs.market,
                inputs.commands,
                inputs.setups,
                cursor,
                row,
                stop,
                room,
            )
            self._refuse_what_is_not_exact(state)

    def run_events(
        self,
        state: PortfolioState,
        inputs: "Inputs",
        decisions: RecordArray,
        curve: kernel.Curve,
        cursor: IntArray,
        start: int,
        stop: int,
        *,
        chunk: int = CHUNK,
    ) -> None:
        """The same as `run`, from visits to those rows and slots where something can happen.

        `chunk` is how many rows a slot is followed by itself at most; it changes nothing but the time.
        """
        index = inputs.index()
        if not index.sound:
            self.run(state, inputs, decisions, curve, cursor, start, stop)
            return
        room = len(self._symbols) * (MAX_LEVELS + 4)
        scratch = kernel.Scratch(np.zeros(len(inputs.setups), dtype=np.int64), *self._per_strategy)
        facts = self.facts if inputs.depth is None else self.facts._replace(depth=inputs.depth)
        work = room_for_events(len(self._symbols), self._per_strategy.shape[1], chunk, start)
        row = start
        while row < stop:
            self._make_room(room)
            row = kernel.run_events(
                memory(state),
                facts,
                self._records(decisions),
                scratch,
                work,
                index.extremes,
                curve,
                inputs.bars,
                inputs.market,
                inputs.commands,
                inputs.setups,
                cursor,
                stop,
                room,
            )
            self._refuse_what_is_not_exact(state)

    def end_all(self, state: PortfolioState, inputs: "Inputs", decisions: RecordArray) -> None:
        """Close what is held at its last close, and cancel what is pending."""
        self._make_room(len(self._symbols) * MAX_LEVELS)
        kernel.end_all(memory(state), self.facts, self._records(decisions), inputs.bars)

    def positions(self, state: PortfolioState) -> RecordArray:
        """The open trades, TRADE_DTYPE by symbol, marked at their last closes."""
        rows = np.zeros(len(state.slots), dtype=TRADE_DTYPE)
        return rows[: kernel.open_trades(memory(state), self.facts, rows)]

    def fills(self) -> RecordArray:
        """A copy of the fills that are kept."""
        return self._fills[: self._written["fills"][0]].copy()

    def trades(self) -> RecordArray:
        """A copy of the closed trades that are kept."""
        return self._trades[: self._written["trades"][0]].copy()

    def orders(self) -> RecordArray:
        """A copy of the orders that are over and kept."""
        return self._orders[: self._written["orders"][0]].copy()

    def all_orders(self, state: PortfolioState) -> RecordArray:
        """The same, and behind them those that are not over."""
        return np.concatenate([self._orders[: self._written["orders"][0]], waiting_orders(state)])

    def forget(self) -> None:
        """Keep nothing any more of what was written so far."""
        self._written[:] = 0

    def _refuse_what_is_not_exact(self, state: PortfolioState) -> None:
        error = int(state.book["error"][0])
        if error:
            symbol = self._symbols[error - 1]
            raise SimulationError(
                f"{symbol}: an order needs more than 2^53 lots, which can not be counted exactly: "
                f'set a coarser lot in [instruments."{symbol}"]'
            )

    def _records(self, decisions: RecordArray) -> kernel.Records:
        return kernel.Records(self._fills, self._trades, self._orders, self._written, decisions)

    def _make_room(self, room: int) -> None:
        written = self._written[0]
        self._fills = _with_room(self._fills, int(written["fills"]), room)
        self._trades = _with_room(self._trades, int(written["trades"]), room)
        self._orders = _with_room(self._orders, int(written["orders"]), room)


def _with_room(rows: RecordArray, count: int, room: int) -> RecordArray:
    """Rows of which `count` are written, longer where fewer than `room` are free."""
    if len(rows) - count >= room:
        return rows
    return np.concatenate([rows, np.zeros(len(rows) + room, dtype=rows.dtype)])


class Inputs:
    """What a run reads, as the kernel takes it."""

    __slots__ = ("_index", "_panel", "bars", "commands", "depth", "market", "setups")

    def __init__(
        self,
        panel: Panel,
        timezone: str,
        market: MarketState,
        commands: RecordArray,
        setups: RecordArray,
        books: OrderBooks | None = None,
        index: "BarIndex | None" = None,
    ) -> None:
        self._panel = panel
        self._index = index
        self.bars = bar_arrays(panel, timezone)
        self.market = market_arrays(market)
        self.commands = commands
        self.setups = setups
        self.depth = None if books is None else depth_arrays(books)

    def index(self) -> "BarIndex":
        """What the event driver has to know of the bars beforehand."""
        if self._index is None:
            self._index = BarIndex.of(self._panel)
        return self._index


@dataclass(frozen=True, slots=True)
class BarIndex:
    """What is known of the bars of a panel beforehand. Runs over the same panel may share it.

    Attributes
    ----------
    sound : whether every open lies within its bar and bars are missing whole, as validation has it; where
        not, the event driver has no right to skip a bar
    extremes : lowest low and highest high of every block of rows, where they were asked for
    """

    sound: bool
    extremes: kernel.Extremes

    @classmethod
    def of(cls, panel: Panel, *, extremes: bool = False) -> "BarIndex":
        """The index of a panel; extremes pay where several runs use them."""
        bars = bar_arrays(panel, "UTC")
        shape = (len(panel.symbols), len(panel) // int(kernel.BLOCK)) if extremes else (0, 0)
        found = kernel.Extremes(np.empty(shape), np.empty(shape))
        if extremes:
            kernel.find_extremes(bars, found)
        return cls(bool(kernel.are_bars(bars)), found)


def room_for_events(symbols: int, strategies: int, chunk: int, start: int) -> kernel.Work:
    """Room for the event driver, which begins at the row `start`."""
    place = np.zeros(1, dtype=kernel.PLACE_DTYPE)
    for name in ("start", "known", "row", "first", "end"):
        place[name] = start

    def room(*shape: int) -> IntArray:
        return np.zeros(shape, dtype=np.int64)

    return kernel.Work(
        place=place,
        next_row=room(symbols),
        visited=room(symbols),
        coins=np.zeros(symbols),
        slots=room(symbols),
        owner=room(symbols),
        ordered=room(symbols),
        taken=room(strategies),
        reserves=room(strategies),
        marks=room(max(strategies, 1), chunk),
        changes=room(chunk),
    )


def waiting_orders(state: PortfolioState) -> RecordArray:
    """The orders that are not over, ORDER_DTYPE by symbol and rung."""
    rows = np.zeros(int(np.count_nonzero(state.parts["open"])), dtype=ORDER_DTYPE)
    return rows[: kernel.open_orders(memory(state), rows)]


def undecided(setups: RecordArray) -> RecordArray:
    """DECISION_DTYPE for setups that nobody has decided; resets carry ACCEPTED."""
    decisions = np.zeros(len(setups), dtype=DECISION_DTYPE)
    decisions["reason"] = _NOT_DECIDED
    decisions["reason"][setups["kind"] == EVENT_RESET] = Reason.ACCEPTED
    decisions["rank"] = -1
    decisions["measured"] = decisions["limit"] = np.nan
    return decisions


def empty_curve(bars: int) -> kernel.Curve:
    """Room for the money at each close."""
    return kernel.Curve(*(np.zeros(bars, dtype=np.int64) for _ in range(3)))


def memory(state: PortfolioState) -> kernel.Memory:
    """The state's arrays as the kernel takes them; it writes into them."""
    return kernel.Memory(
        state.book,
        state.slots,
        state.parts,
        state.coins,
        state.strategies,
        state.episodes,
        state.hours_ms,
        state.hour_closes,
    )


def depth_arrays(books: OrderBooks) -> kernel.Depth:
    """The recorded books' arrays as the kernel takes them."""
    return kernel.Depth(books.first, books.snapshots, books.levels)


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


def refuse_setups_off_the_grid(setups: RecordArray, panel: Panel) -> None:
    """Raise SimulationError where a setup is decided at no close of the panel."""
    if not len(setups):
        return
    since = setups["time_ms"] - (panel.open_time_ms[0] if len(panel) else 0)
    off = (since <= 0) | (since > len(panel) * panel.timeframe.ms) | (since % panel.timeframe.ms != 0)
    if off.any():
        raise SimulationError(
            f"{int(off.sum())} setups are decided at no close of the {panel.timeframe} base in the "
            "simulated span: cut them to the span first"
        )
