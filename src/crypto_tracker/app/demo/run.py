"""Plays the demonstration without a page: steps the simulator, and measures what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from crypto_tracker.app.demo.world import World
from crypto_tracker.simulation.backtest import Simulator
from crypto_tracker.simulation.driver import trading_days
from crypto_tracker.simulation.metrics import Figures, figures
from crypto_tracker.simulation.records import Scenario, SimulationResult


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What came of a run, up to the bar where it ended or was stopped."""

    world: World
    scenario: Scenario  # cut to what was simulated
    result: SimulationResult
    figures: Figures
    interrupted: bool

    @property
    def end_ms(self) -> int:
        """The close of the last bar that was simulated."""
        return int(self.scenario.panel.close_time_ms[-1])


def leap(
    simulator: Simulator,
    *,
    rows_per_step: int,
    show: Callable[[Simulator], None],
    stop_wanted: Callable[[], bool],
) -> None:
    """Step through the run as fast as it goes, and show the end of every `rows_per_step` bars."""
    rows = len(simulator.scenario.panel)
    while simulator.row < rows and not stop_wanted():
        simulator.run_until(min(simulator.row + rows_per_step, rows))
        show(simulator)


def outcome(world: World, simulator: Simulator) -> Outcome:
    """Measure what has been simulated so far."""
    scenario, result = simulated_part(world.scenario, simulator.result(), simulator.row)
    days = trading_days(scenario.panel.open_time_ms, scenario.rules.timezone)
    return Outcome(
        world=world,
        scenario=scenario,
        result=result,
        figures=figures(scenario, result, days),
        interrupted=simulator.row < len(world.scenario.panel),
    )


def simulated_part(
    scenario: Scenario, result: SimulationResult, row: int
) -> tuple[Scenario, SimulationResult]:
    """Scenario and result without the bars and setups that were not reached."""
    rest = len(scenario.panel) - row
    panel = scenario.panel.rows(0, row)
    reached = int(np.searchsorted(scenario.setups["time_ms"], panel.close_time_ms[-1], side="right"))
    reference = scenario.reference
    return (
        replace(
            scenario,
            panel=panel,
            reference=None if reference is None else reference.rows(0, len(reference) - rest),
            setups=scenario.setups[:reached],
            slow_regime=None if scenario.slow_regime is None else scenario.slow_regime[:row],
        ),
        replace(result, decisions=result.decisions[:reached]),
    )
