"""What goes into the simulator and what comes out, as arrays (see docs/simulator.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from crypto_tracker.core.arrays import CodeArray, IntArray, RecordArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import SimulationError
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.simulation.books import OrderBooks
from crypto_tracker.simulation.parameters import FillSource, Rules
from crypto_tracker.strategies.base import SETUP_DTYPE, WITHHELD_FOR

MAX_LEVELS = 20  # ladder levels that a slot can hold


class CommandKind(IntEnum):
    """What a person (or the manager) can tell the simulator."""

    PAUSE = 0
    RESUME = 1
    CLOSE = 2
    FORCE_REGIME = 3
    RELEASE_REGIME = 4
    CLEAR_COOLDOWN = 5
    CLEAR_STREAK = 6
    STRATEGY_OFF = 7
    STRATEGY_ON = 8
    BLOCK = 9
    UNBLOCK = 10


COMMAND_DTYPE = np.dtype(
    [
        ("time_ms", np.int64),  # acts from the first bar that opens at or after it
        ("kind", np.int8),  # CommandKind
        ("symbol", np.int32),  # column, -1 where it does not matter
        ("strategy", np.int16),  # position in the configured order, -1 where it does not matter
        ("value", np.int8),  # FORCE_REGIME: the Regime; CLOSE: the ExitReason (MANUAL or MARKET_TRANSITION)
    ],
    align=True,
)

FILL_DTYPE = np.dtype(
    [
        ("bar", np.int64),  # row of the base panel
        ("time_ms", np.int64),  # that bar's open time
        ("symbol", np.int32),
        ("strategy", np.int16),
        ("kind", np.int8),  # FillKind
        ("rung", np.int16),  # 1.. for rungs, 0 else
        ("exit_reason", np.int8),  # ExitReason of the trade, NONE for entries
        ("volume_unknown", np.bool_),
        ("trade", np.int64),  # number of the trade, counted from 0 in order of first entry fill
        ("price", np.float64),
        ("quantity", np.float64),  # coins
        ("notional_e8", np.int64),
        ("fee_e8", np.int64),
        ("slippage_e8", np.int64),
        ("book_ms", np.int64),  # time of the recorded book that was walked, else as in simulation/books.py
    ],
    align=True,
)

TRADE_DTYPE = np.dtype(
    [
        ("trade", np.int64),
        ("symbol", np.int32),
        ("strategy", np.int16),
        ("setup", np.int64),  # row of the setups array
        ("decision_ms", np.int64),
        ("entry_ms", np.int64),  # open time of the bar of the first entry fill
        ("exit_ms", np.int64),  # open time of the bar of the last exit fill, -1 while open
        ("entry_price", np.float64),  # quantity-weighted
        ("exit_price", np.float64),  # quantity-weighted, NaN while nothing is sold
        ("quantity", np.float64),  # coins bought in all entry fills
        ("open_quantity", np.float64),  # coins still held
        ("invested_e8", np.int64),  # notional of the entry fills
        ("returned_e8", np.int64),  # notional of the exit fills
        ("fee_e8", np.int64),
        ("slippage_e8", np.int64),
        (
            "pnl_e8",
            np.int64,
        ),  # returned - invested - fees; for open trades with the rest marked at the last close
        ("exit_reason", np.int8),
        ("entry_fills", np.int16),
        ("exit_fills", np.int16),
        ("ambiguous", np.bool_),
        ("fallback", np.bool_),
        ("stop_price", np.float64),  # active stop when the trade ended, or now
        ("target_price", np.float64),
    ],
    align=True,
)

ORDER_DTYPE = np.dtype(
    [
        ("setup", np.int64),  # row of the setups array
        ("symbol", np.int32),
        ("strategy", np.int16),
        ("rung", np.int16),  # 0 for the market part
        ("status", np.int8),  # OrderStatus
        ("reason", np.int8),  # Reason for which it ended without being filled whole; ACCEPTED where none is
        ("decision_ms", np.int64),
        ("ended_ms", np.int64),  # close of the bar in which it was filled or ended, -1 before
        ("quote_e8", np.int64),  # what it was admitted for
        ("limit_price", np.float64),  # of a rung that is placed, else NaN
    ],
    align=True,
)

HOLDING_DTYPE = np.dtype(
    [
        ("mark_price", np.float64),  # last close
        ("trailing_armed", np.bool_),
        ("due_ms", np.int64),  # time exit
        ("exit_pending", np.int8),  # ExitReason that was asked for or is under way
    ],
    align=True,
)

DECISION_DTYPE = np.dtype(
    [
        ("reason", np.int8),  # Reason; ACCEPTED where an order was placed (also when it later expired)
        # ACCEPTED, or how an order without a fill ended: EXPIRED, SLIPPAGE_TOO_HIGH, REGIME_PANIC, CANCELLED
        ("end", np.int8),
        ("rank", np.int32),  # place in its batch, 0 the best, -1 where a gate stopped it before
        ("fallback", np.bool_),
        ("measured", np.float64),  # what the gate looked at (NaN where it has no number)
        ("limit", np.float64),  # what it was held against
    ],
    align=True,
)


class Outcome(IntEnum):
    """Result of a setup traded alone."""

    UNFINISHED = 0
    EXPIRED = 1
    WIN = 2
    LOSS = 3
    BREAKEVEN = 4
    TIMEOUT = 5


OUTCOME_DTYPE = np.dtype(
    [
        ("setup", np.int64),
        ("outcome", np.int8),
        ("exit_reason", np.int8),
        ("invested_e8", np.int64),  # notional of the entry fills, 0 without one
        # Of the invested amount, after costs; NaN without a fill or while unfinished. Its plain mean over
        # ladders is biased: weigh by invested_e8, or by what was planned (docs/simulator.md, section 9).
        ("return_net", np.float64),
        ("return_gross", np.float64),
        ("adverse", np.float64),  # maximum adverse excursion, <= 0 mostly
        ("favourable", np.float64),
        ("bars_held", np.int64),  # base bars from the first fill's bar to the last exit's, inclusive
        ("entry_ms", np.int64),
        ("exit_ms", np.int64),
        ("ambiguous", np.bool_),
    ],
    align=True,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scenario:
    """All inputs of one simulation.

    Attributes
    ----------
    panel : base bars of the traded symbols
    reference : one-column panel of the reference coin, or None where it is not in the data. Its rows end with
        those of `panel` and may begin earlier, so that the market is known from the first bar
    instruments : facts per symbol, in the order of the panel's columns
    strategies : names in the configured order
    enabled : for each strategy, whether the configuration lets it trade
    setups : SETUP_DTYPE, sorted by (time_ms, symbol, strategy)
    commands : COMMAND_DTYPE, sorted by time_ms
    slow_regime : `SlowRegime` codes of the reference coin at each close of the panel, int8 (bars,); None
        where it is unknown throughout
    books : recorded order books of the symbols, in the order of the panel's columns; needed where the rules
        let market fills walk them
    """

    panel: Panel
    reference: Panel | None
    instruments: Instruments
    strategies: tuple[str, ...]
    enabled: tuple[bool, ...]
    setups: RecordArray
    commands: RecordArray
    rules: Rules
    close_at_end: bool = False
    slow_regime: CodeArray | None = None
    books: OrderBooks | None = None

    def __post_init__(self) -> None:
        if self.instruments.symbols != self.panel.symbols:
            raise SimulationError("the instruments of a scenario must be in the order of its panel's columns")
        if self.reference is not None and not np.array_equal(
            self.reference.open_time_ms[len(self.reference) - len(self.panel) :], self.panel.open_time_ms
        ):
            raise SimulationError("the reference panel must end with the rows of the traded panel")
        if self.slow_regime is not None and len(self.slow_regime) != len(self.panel):
            raise SimulationError("a scenario needs the slow regime at every close of its panel, or at none")
        if self.books is None and self.rules.fills.source is FillSource.BOOK:
            raise SimulationError(
                "fills.source is book, and no recorded order books are read here: set fills.source to table"
            )
        if self.books is not None and len(self.books.first) != len(self.panel.symbols) + 1:
            raise SimulationError("the books of a scenario must be in the order of its panel's columns")
        if len(self.enabled) != len(self.strategies):
            raise SimulationError("a scenario needs one `enabled` flag for each strategy")
        if self.setups.dtype != SETUP_DTYPE or self.commands.dtype != COMMAND_DTYPE:
            raise SimulationError("setups and commands must have SETUP_DTYPE and COMMAND_DTYPE")
        refuse_wrongly_withheld(self.setups)
        if len(self.setups) and np.any(np.diff(self.setups["time_ms"]) < 0):
            raise SimulationError("setups must be sorted by time")
        if len(self.setups) and int(self.setups["levels"].max()) > MAX_LEVELS:
            raise SimulationError(f"a ladder has at most {MAX_LEVELS} levels")


def refuse_wrongly_withheld(setups: RecordArray) -> None:
    """Raise SimulationError where a setup is withheld for anything but a reason that setups come with."""
    known = np.isin(setups["withheld"], (0, *WITHHELD_FOR))
    if not known.all():
        raise SimulationError(
            f"a setup is withheld for the reason {setups['withheld'][~known][0]}: it can be "
            f"{' or '.join(f'{reason.value} ({reason.code})' for reason in WITHHELD_FOR)}, and 0 for none"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulationResult:
    """All records of one simulation.

    Attributes
    ----------
    fills : FILL_DTYPE in the order in which they happened
    trades : TRADE_DTYPE of closed trades, in the order in which they closed
    open_trades : TRADE_DTYPE of positions still held, by symbol
    holdings : HOLDING_DTYPE, one for each row of `open_trades`
    orders : ORDER_DTYPE of the buys of all admitted setups: those that are over in the order in which they
        ended, then those that wait, by symbol and rung
    decisions : DECISION_DTYPE, one for each row of the scenario's setups (resets carry ACCEPTED and rank -1)
    equity_e8, cash_e8, reserved_e8 : int64 (bars,), at each CLOSE
    regime : int8 (bars,), fast regime at each CLOSE
    """

    fills: RecordArray
    trades: RecordArray
    open_trades: RecordArray
    holdings: RecordArray
    orders: RecordArray
    decisions: RecordArray
    equity_e8: IntArray
    cash_e8: IntArray
    reserved_e8: IntArray
    regime: RecordArray


def no_commands() -> RecordArray:
    """An empty list of commands."""
    return np.zeros(0, dtype=COMMAND_DTYPE)


def commands(rows: Sequence[tuple[int, int, int, int, int]]) -> RecordArray:
    """Commands from (time_ms, kind, symbol, strategy, value) rows, sorted by time."""
    array = np.array(list(rows), dtype=COMMAND_DTYPE)
    return array[np.argsort(array["time_ms"], kind="stable")]
