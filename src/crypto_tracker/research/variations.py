"""Several scenarios over the same bars at once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from crypto_tracker.core.errors import SimulationError
from crypto_tracker.simulation.backtest import simulate_portfolio
from crypto_tracker.simulation.driver import BarIndex
from crypto_tracker.simulation.records import Scenario, SimulationResult


def simulate_variations(
    scenarios: Sequence[Scenario], *, threads: int = 2, index: BarIndex | None = None
) -> list[SimulationResult]:
    """What `simulate_portfolio` says of each scenario, in their order, computed in several threads.

    All scenarios must share one panel. What there is to know of its bars beforehand is found once, and the
    compiled step runs beside other threads, so variations cost less together than one after the other.

    Parameters
    ----------
    scenarios : they may differ in everything but the panel
    threads : that run at the same time; more than there are processors bring nothing
    index : `BarIndex.of(panel, extremes=True)` where somebody has it already
    """
    if not scenarios:
        return []
    panel = scenarios[0].panel
    if any(scenario.panel is not panel for scenario in scenarios):
        raise SimulationError("variations must share the same panel: simulate those over other bars apart")
    shared = BarIndex.of(panel, extremes=True) if index is None else index
    with ThreadPoolExecutor(max_workers=threads) as pool:
        return list(pool.map(lambda scenario: simulate_portfolio(scenario, index=shared), scenarios))
