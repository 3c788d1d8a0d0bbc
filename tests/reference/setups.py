"""Every setup by itself (docs/simulator.md section 9), with the same slow functions."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.simulation.records import OUTCOME_DTYPE, Outcome, Scenario, no_commands
from crypto_tracker.strategies.base import EVENT_SETUP
from tests.reference.simulator import Position, ReferenceSimulator, Setup, Slot, SymbolState, as_records

UNLIMITED = 10**30


@dataclass
class Excursions:
    """How far the price went against and for a position, in bars that it was held."""

    adverse: float = math.inf
    favourable: float = -math.inf

    def see(self, low: float, high: float, average: float) -> None:
        self.adverse = min(self.adverse, low / average - 1.0)
        self.favourable = max(self.favourable, high / average - 1.0)


class Alone(ReferenceSimulator):
    """The simulator with one setup in it, unlimited cash and no gate."""

    def outcome(self, setup: Setup) -> dict[str, Any]:
        """Step from the setup's close until its trade is over or the bars end."""
        self.cash = UNLIMITED
        self.slots = [None] * len(self.instruments)
        self.symbols = [SymbolState() for _ in self.instruments]
        self.newest_close_ms = None
        self.fills, self.trades = [], []
        self.decisions[setup.row]["end"] = Reason.ACCEPTED
        self.setup = setup
        self.excursions = Excursions()
        self.order: Slot | None = None
        start = self.row_closing_at(setup.time_ms)
        if start is not None:
            self.market = self.track[start]
            self.order = self.new_slot(setup, size_factor=1.0)
            self.slots[setup.symbol] = self.order
            for row in range(start + 1, len(self.open_times)):
                self.step(row)
                if self.slots[setup.symbol] is None:
                    break
        return self.record()

    def row_closing_at(self, moment: int) -> int | None:
        row = (moment - self.base_ms - self.open_times[0]) // self.base_ms
        closes_then = 0 <= row < len(self.open_times) and self.open_times[row] + self.base_ms == moment
        return row if closes_then else None

    def close(self, row: int) -> None:
        """CLOSE without portfolio: last closes, lost data, the market, trailing and stops."""
        column = self.setup.symbol
        order = self.order
        assert order is not None
        held = order.position is not None
        self.take_last_closes(row, self.open_times[row] + self.base_ms)
        low, high = self.bars_of["low"][column][row], self.bars_of["high"][column][row]
        if held and not math.isnan(low):
            assert order.position is not None
            self.excursions.see(low, high, order.position.average)
        self.close_lost(row)
        self.market = self.track[row]
        slot = self.slots[column]
        if slot is not None and slot.position is not None:
            self.raise_trailing(column, row, slot, slot.position)
            self.set_levels(column, slot, slot.position)

    def record(self) -> dict[str, Any]:
        """The outcome's row."""
        position = None if self.order is None else self.order.position
        if position is None:
            ended = int(self.decisions[self.setup.row]["end"]) != Reason.ACCEPTED
            return self.unfilled(Outcome.EXPIRED if ended else Outcome.UNFINISHED)
        assert self.order is not None
        trade = self.trade_record(self.setup.symbol, self.order, position)
        net = trade["pnl_e8"]
        gross = net + position.fees + position.slippage
        over = position.lots == 0.0  # else nothing is known of its result
        last_row = position.last_exit_row if over else len(self.open_times) - 1
        return {
            "setup": self.setup.row,
            "outcome": self.name_of(position, net, gross) if over else Outcome.UNFINISHED,
            "exit_reason": position.exit_reason,
            "invested_e8": position.invested,
            "return_net": net / position.invested if over else math.nan,
            "return_gross": gross / position.invested if over else math.nan,
            "adverse": self.excursions.adverse,
            "favourable": self.excursions.favourable,
            "bars_held": last_row - position.first_row + 1,
            "entry_ms": position.first_bar_open_ms,
            "exit_ms": trade["exit_ms"],
            "ambiguous": position.ambiguous,
        }

    def name_of(self, position: Position, net: int, gross: int) -> Outcome:
        if position.exit_reason is ExitReason.TIME_EXIT:
            return Outcome.TIMEOUT
        if net > 0:
            return Outcome.WIN
        return Outcome.LOSS if gross < 0 else Outcome.BREAKEVEN

    def unfilled(self, outcome: Outcome) -> dict[str, Any]:
        return {
            "setup": self.setup.row,
            "outcome": outcome,
            "exit_reason": ExitReason.NONE,
            "invested_e8": 0,
            "return_net": math.nan,
            "return_gross": math.nan,
            "adverse": math.nan,
            "favourable": math.nan,
            "bars_held": 0,
            "entry_ms": -1,
            "exit_ms": -1,
            "ambiguous": False,
        }


def first_setups(setups: list[Setup]) -> list[Setup]:
    """The first setup of each episode of a (strategy, symbol); an opposing signal is none."""
    running: set[tuple[int, int]] = set()
    first = []
    for setup in setups:
        key = (setup.strategy, setup.symbol)
        if setup.kind != EVENT_SETUP:
            running.discard(key)
        elif setup.side == 1 and key not in running:
            running.add(key)
            first.append(setup)
    return first


def simulate_setups(scenario: Scenario) -> np.ndarray[Any, Any]:
    """The outcome of every first setup of an episode, slowly."""
    scenario = replace(scenario, commands=no_commands())
    alone = Alone(scenario)
    rows = [alone.outcome(setup) for setup in first_setups(alone.setups)]
    return as_records(rows, OUTCOME_DTYPE)
