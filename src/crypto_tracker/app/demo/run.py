"""Runs the demonstration: steps the simulator at a pace, and measures what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic, sleep

import numpy as np

from crypto_tracker.app.demo.observer import Observer
from crypto_tracker.app.demo.world import World
from crypto_tracker.app.screen.snapshot import Snapshot
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.simulation.backtest import Simulator
from crypto_tracker.simulation.driver import trading_days
from crypto_tracker.simulation.metrics import Figures, figures
from crypto_tracker.simulation.records import Scenario, SimulationResult

FRAMES_PER_SECOND = 10.0


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


def play(
    simulator: Simulator,
    observer: Observer,
    *,
    hours_per_second: float,
    show: Callable[[Snapshot], None],
    stop_wanted: Callable[[], bool],
) -> None:
    """Step through the run at a steady pace and show every frame, until the end or until a stop is wanted.

    A machine that cannot keep the pace shows fewer frames.
    """
    rows = len(simulator.scenario.panel)
    rows_per_second = hours_per_second * HOUR_MS / simulator.scenario.panel.timeframe.ms
    speed = hours_per_second * 3_600.0
    began = monotonic()
    while simulator.row < rows and not stop_wanted():
        frame_began = monotonic()
        simulator.run_until(max(simulator.row + 1, int((frame_began - began) * rows_per_second)))
        show(observer.look(speed=speed))
        sleep(max(0.0, frame_began + 1.0 / FRAMES_PER_SECOND - monotonic()))


def leap(
    simulator: Simulator,
    observer: Observer,
    *,
    rows_per_step: int,
    show: Callable[[Snapshot], None],
    stop_wanted: Callable[[], bool],
) -> None:
    """Step through the run as fast as it goes, and show the end of every `rows_per_step` bars."""
    rows = len(simulator.scenario.panel)
    while simulator.row < rows and not stop_wanted():
        simulator.run_until(simulator.row + rows_per_step)
        show(observer.look(speed=float("nan")))


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
