"""The step for whoever goes on day after day: any bars in, what they brought out, all memory in one state.

A backtest knows all setups from the beginning; here they come in as they are found. Between calls each slot
of the state names its setup by a number that counts setups from the first one ever. The kernel names setups
by rows of the arrays of a call, so each call begins with one row for every symbol, which stands for the setup
that the symbol's slot had before the call.
"""

from dataclasses import dataclass

import numpy as np

from crypto_tracker.core.arrays import IntArray, RecordArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.errors import SimulationError
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.portfolio.regime import MarketState
from crypto_tracker.simulation.books import OrderBooks
from crypto_tracker.simulation.driver import (
    Driver,
    Inputs,
    empty_curve,
    refuse_setups_off_the_grid,
    undecided,
)
from crypto_tracker.simulation.parameters import FillSource, Rules
from crypto_tracker.simulation.records import MAX_LEVELS, refuse_wrongly_withheld
from crypto_tracker.simulation.state import PortfolioState
from crypto_tracker.strategies.base import EVENT_SETUP, SETUP_DTYPE


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedOrder:
    """An order of an earlier call that ended without a fill."""

    symbol_column: int
    setup_number: int
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stepped:
    """What the bars of one call brought.

    Attributes
    ----------
    fills : FILL_DTYPE in the order in which they happened; `bar` is the row of the call's panel
    trades : TRADE_DTYPE of the trades that closed, in their order; `setup` is the setup's number
    orders : ORDER_DTYPE of the buys that are over, in the order in which they ended; `setup` is a number
    decisions : DECISION_DTYPE, one for each row of the call's setups
    ended : orders of earlier calls that ended without a fill, by symbol
    equity_e8, cash_e8, reserved_e8 : int64 (bars,), at each CLOSE
    """

    fills: RecordArray
    trades: RecordArray
    orders: RecordArray
    decisions: RecordArray
    ended: tuple[EndedOrder, ...]
    equity_e8: IntArray
    cash_e8: IntArray
    reserved_e8: IntArray


class Stepper:
    """Steps a portfolio on, under one set of rules; equal to a simulation of the whole, however it is cut.

    The state is taken over and changed in place. It may go on with another stepper, under other rules. Where
    they differ from the rules before in whether the last hours are kept, it goes on in the `state` of the
    new stepper.
    """

    def __init__(
        self,
        *,
        instruments: Instruments,
        strategies: tuple[str, ...],
        enabled: tuple[bool, ...],
        rules: Rules,
        state: PortfolioState,
        timeframe: Timeframe = Timeframe.M1,
    ) -> None:
        if state.episodes.shape != (len(strategies), len(instruments.symbols)):
            found, wanted = state.episodes.shape, (len(strategies), len(instruments.symbols))
            raise SimulationError(
                f"the portfolio state is of {found[0]} strategies and {found[1]} symbols, not of {wanted[0]} "
                f"and {wanted[1]}: give it those that it was made for"
            )
        if len(enabled) != len(strategies):
            raise SimulationError("a stepper needs one `enabled` flag for each strategy")
        self.state = state.with_hours(rules.limits.correlation_limit)
        self._symbols = instruments.symbols
        self._timeframe = timeframe
        self._timezone = rules.timezone
        self._by_book = rules.fills.source is FillSource.BOOK
        self._reserved = np.zeros(len(instruments.symbols), dtype=SETUP_DTYPE)
        self._driver = Driver(
            instruments=instruments, strategies=strategies, enabled=enabled, rules=rules, timeframe=timeframe
        )

    def step(
        self,
        panel: Panel,
        market: MarketState,
        setups: RecordArray,
        commands: RecordArray,
        *,
        first_setup_number: int,
        close_at_end: bool = False,
        books: OrderBooks | None = None,
    ) -> Stepped:
        """Step every bar of the panel.

        Parameters
        ----------
        panel : at least one bar of the symbols, following those of the call before
        market : at each close of the panel
        setups : SETUP_DTYPE, those decided at closes of the panel, sorted by (time_ms, symbol, strategy)
        commands : COMMAND_DTYPE, sorted by time_ms, none of them after the panel's last open
        first_setup_number : of the first row of `setups` that is a setup; those after it count on
        close_at_end : close what is held at its last close and cancel what is pending, after the last bar
        books : recorded order books of the symbols, needed where the rules let market fills walk them; those
            from `book_max_age_seconds` before the panel's first open to its last close are enough

        Raises SimulationError for inputs that do not fit together, and when a quantity can not be exact; the
        state is of no use after that.
        """
        self._refuse_what_does_not_fit(panel, market, setups, commands)
        if self._by_book and (books is None or len(books.first) != len(self._symbols) + 1):
            raise SimulationError("market fills walk recorded books, and this step got none of its symbols")
        count, state = len(self._reserved), self.state
        before = state.slots["setup"].copy()
        numbers = first_setup_number - 1 + np.cumsum(setups["kind"] == EVENT_SETUP)
        state.slots["setup"] = np.arange(count)
        all_setups = np.concatenate([self._reserved, setups])
        decisions = undecided(all_setups)
        curve = empty_curve(len(panel))
        inputs = Inputs(panel, self._timezone, market, commands, all_setups, books)
        cursor = np.array([0, count], dtype=np.int64)
        self._driver.forget()
        self._driver.run(state, inputs, decisions, curve, cursor, 0, len(panel))
        if close_at_end:
            self._driver.end_all(state, inputs, decisions)
            book = state.book
            book["equity"] = book["cash"] + book["reserved"]
            for name in ("equity", "cash", "reserved"):
                getattr(curve, name)[-1] = book[name][0]
        trades = self._driver.trades()
        number_of = np.concatenate([before, numbers])
        orders = self._driver.orders()
        for rows in (trades, orders):
            rows["setup"] = number_of[rows["setup"]]
        state.slots["setup"] = number_of[state.slots["setup"]]
        return Stepped(
            fills=self._driver.fills(),
            trades=trades,
            orders=orders,
            decisions=decisions[count:],
            ended=tuple(
                EndedOrder(
                    symbol_column=int(column),
                    setup_number=int(before[column]),
                    reason=Reason(decisions["end"][column]),
                )
                for column in np.flatnonzero(decisions["end"][:count] != Reason.ACCEPTED)
            ),
            equity_e8=curve.equity,
            cash_e8=curve.cash,
            reserved_e8=curve.reserved,
        )

    def positions(self) -> RecordArray:
        """The open trades, TRADE_DTYPE by symbol, marked at their last closes; `setup` is a number."""
        return self._driver.positions(self.state)

    def _refuse_what_does_not_fit(
        self, panel: Panel, market: MarketState, setups: RecordArray, commands: RecordArray
    ) -> None:
        if panel.symbols != self._symbols or panel.timeframe is not self._timeframe:
            raise SimulationError(
                f"a step needs {self._timeframe} bars of the stepper's symbols in their order, and got "
                f"{panel.timeframe} bars of {len(panel.symbols)} symbols"
            )
        if not len(panel) or len(market.regime) != len(panel):
            raise SimulationError(
                "a step needs at least one bar, and the market at each of their closes: it got "
                f"{len(panel)} bars and {len(market.regime)} closes"
            )
        refuse_setups_off_the_grid(setups, panel)
        refuse_wrongly_withheld(setups)
        if len(setups) and (
            np.any(np.diff(setups["time_ms"]) < 0) or int(setups["levels"].max()) > MAX_LEVELS
        ):
            raise SimulationError(
                "the setups of a step must be sorted by time, and their ladders have at most "
                f"{MAX_LEVELS} levels"
            )
        if len(commands) and int(commands["time_ms"].max()) > panel.open_time_ms[-1]:
            raise SimulationError(
                "a command acts from the first bar that opens at or after it: give it to the step of that bar"
            )
