"""Several scenarios over the same bars at once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from crypto_tracker.core.errors import SimulationError
from crypto_tracker.portfolio.regime import MarketState
from crypto_tracker.simulation.backtest import scenario_market, simulate_portfolio
from crypto_tracker.simulation.driver import BarIndex
from crypto_tracker.simulation.records import Scenario, SimulationResult


def simulate_variations(
    scenarios: Sequence[Scenario], *, threads: int = 2, index: BarIndex | None = None
) -> list[SimulationResult]:
    """What `simulate_portfolio` says of each scenario, in their order, computed in several threads.

    All scenarios must share one panel. What there is to know of its bars beforehand is found once, and so is
    the market where it is the same; the compiled step lets other threads run beside it. So variations cost
    less together than one after the other.

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
    markets = _markets(scenarios)

    def simulated(place: int) -> SimulationResult:
        return simulate_portfolio(scenarios[place], index=shared, market=markets[place])

    with ThreadPoolExecutor(max_workers=threads) as pool:
        return list(pool.map(simulated, range(len(scenarios))))


def _markets(scenarios: Sequence[Scenario]) -> list[MarketState]:
    """The market of each scenario, made once for all that have the same."""
    made: list[tuple[Scenario, MarketState]] = []
    markets = []
    for scenario in scenarios:
        market = next((known for other, known in made if _has_the_market_of(scenario, other)), None)
        if market is None:
            market = scenario_market(scenario, scenario.commands)
            made.append((scenario, market))
        markets.append(market)
    return markets


def _has_the_market_of(one: Scenario, other: Scenario) -> bool:
    """Whether all that `scenario_market` reads is the same in two scenarios over one panel."""
    slow, other_slow = one.slow_regime, other.slow_regime
    if slow is None or other_slow is None:
        return slow is other_slow and _has_the_rules_of(one, other)
    return np.array_equal(slow, other_slow) and _has_the_rules_of(one, other)


def _has_the_rules_of(one: Scenario, other: Scenario) -> bool:
    """The same but for the slow regime."""
    return (
        one.reference is other.reference
        and one.strategies == other.strategies
        and one.rules.protection == other.rules.protection
        and one.rules.sizing == other.rules.sizing
        and np.array_equal(one.commands, other.commands)
    )
