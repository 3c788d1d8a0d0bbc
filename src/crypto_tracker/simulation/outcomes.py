"""Every setup traded alone: labels and shadow outcomes (docs/simulator.md, section 9)."""

from collections.abc import Callable

import numpy as np

from crypto_tracker.core.arrays import IntArray, RecordArray
from crypto_tracker.simulation import kernel
from crypto_tracker.simulation.backtest import scenario_market
from crypto_tracker.simulation.books import no_books
from crypto_tracker.simulation.driver import (
    bar_arrays,
    depth_arrays,
    market_arrays,
    memory,
    refuse_setups_off_the_grid,
)
from crypto_tracker.simulation.records import (
    DECISION_DTYPE,
    FILL_DTYPE,
    MAX_LEVELS,
    ORDER_DTYPE,
    OUTCOME_DTYPE,
    TRADE_DTYPE,
    Scenario,
    no_commands,
)
from crypto_tracker.simulation.state import (
    PortfolioState,
    instrument_array,
    parameter_array,
    strategy_parameter_array,
)
from crypto_tracker.strategies.base import EVENT_SETUP


def simulate_setups(scenario: Scenario) -> RecordArray:
    """The outcome of the first setup of every episode, each with unlimited cash and no other position.

    Returns OUTCOME_DTYPE rows in the order of the scenario's setups; `setup` is the row there. Limits,
    protection and commands of the scenario do not matter; its regimes widen stops as they would have.
    """
    chosen = first_of_episode(scenario.setups)
    outcomes = np.zeros(len(chosen), dtype=OUTCOME_DTYPE)
    run, _ = _alone(scenario)
    run(chosen, outcomes)
    return outcomes


def trades_of_setups(scenario: Scenario) -> tuple[RecordArray, RecordArray]:
    """The same outcomes, and the trade behind each: its amounts, where an outcome has fractions only.

    Returns OUTCOME_DTYPE and TRADE_DTYPE rows in the same order. A setup that came to no closed trade
    (EXPIRED, UNFINISHED) has a row of zeros, whose `setup` is right all the same.
    """
    chosen = first_of_episode(scenario.setups)
    outcomes = np.zeros(len(chosen), dtype=OUTCOME_DTYPE)
    trades = np.zeros(len(chosen), dtype=TRADE_DTYPE)
    trades["setup"] = chosen
    run, last = _alone(scenario)
    for n in range(len(chosen)):
        run(chosen[n : n + 1], outcomes[n : n + 1])
        if not np.isnan(outcomes["return_net"][n]):
            trades[n] = last[0]
    return outcomes, trades


def _alone(scenario: Scenario) -> tuple[Callable[[IntArray, RecordArray], None], RecordArray]:
    """What trades chosen setups one after the other, and where it writes the trade that closed last."""
    refuse_setups_off_the_grid(scenario.setups, scenario.panel)
    panel, rules = scenario.panel, scenario.rules
    state = memory(PortfolioState.fresh(1, len(scenario.strategies), 0))
    facts = kernel.Facts(
        instrument_array(scenario.instruments, rules),
        strategy_parameter_array(rules, scenario.strategies, scenario.enabled),
        parameter_array(rules, panel.timeframe.ms),
        depth_arrays(no_books(len(panel.symbols)) if scenario.books is None else scenario.books),
    )
    trades = np.zeros(4, dtype=TRADE_DTYPE)
    records = kernel.Records(
        np.zeros(2 * MAX_LEVELS + 8, dtype=FILL_DTYPE),
        trades,
        np.zeros(MAX_LEVELS, dtype=ORDER_DTYPE),
        np.zeros(1, dtype=kernel.WRITTEN_DTYPE),
        np.zeros(len(scenario.setups), dtype=DECISION_DTYPE),
    )
    bars = bar_arrays(panel, rules.timezone)
    market = market_arrays(scenario_market(scenario, no_commands()))

    def run(chosen: IntArray, outcomes: RecordArray) -> None:
        kernel.run_alone(state, facts, records, bars, market, scenario.setups, chosen, outcomes)

    return run, trades


def first_of_episode(setups: RecordArray) -> IntArray:
    """Rows of the long setups that begin an episode: the first ones, and the first after each reset."""
    open_episode: set[tuple[int, int]] = set()
    first: list[int] = []
    for row, setup in enumerate(setups):
        key = (int(setup["symbol"]), int(setup["strategy"]))
        if setup["kind"] != EVENT_SETUP:
            open_episode.discard(key)
        elif setup["side"] == 1 and key not in open_episode:
            open_episode.add(key)
            first.append(row)
    return np.array(first, dtype=np.int64)
