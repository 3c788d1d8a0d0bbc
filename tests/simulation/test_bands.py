"""The bands over the equity are the times at which the gates of the same run refused."""

from dataclasses import replace

import numpy as np
import pytest

from crypto_tracker.core.decisions import Reason, Regime
from crypto_tracker.simulation.backtest import simulate_portfolio
from crypto_tracker.simulation.bands import Band, bands
from crypto_tracker.simulation.records import no_commands
from crypto_tracker.strategies.base import EVENT_SETUP, WITHHELD_FOR
from tests.simulation.generator import generate

SEEDS = range(60)
# In the order of the gates: what is refused by a later one, or taken, met none of the earlier bands.
GATES = {
    Reason.VOLATILITY_HIGH: ("volatility_high", True),
    Reason.REGIME_PANIC: ("panic", False),
    Reason.DAY_LOSS: ("day_loss", False),
    Reason.DRAWDOWN: ("drawdown", False),
    Reason.LOSING_STREAK: ("losing_streak", True),
}
BEFORE = (
    *WITHHELD_FOR,
    Reason.UNSUPPORTED_SIDE,
    Reason.PAUSED,
    Reason.BLOCKED,
    Reason.STRATEGY_OFF,
)


def stands(found: list[Band], kind: str, strategy: str | None, time_ms: int) -> bool:
    return any(
        band.kind == kind and band.strategy == strategy and band.start_ms <= time_ms < band.end_ms
        for band in found
    )


def test_a_setup_is_refused_by_a_protection_exactly_while_its_band_stands():
    met = dict.fromkeys(GATES, 0)
    for seed in SEEDS:
        scenario = replace(generate(seed), commands=no_commands())
        result = simulate_portfolio(scenario)
        found = bands(scenario, result)
        for setup, decision in zip(scenario.setups, result.decisions, strict=True):
            reason = Reason(decision["reason"]) if decision["reason"] >= 0 else None
            if setup["kind"] != EVENT_SETUP or reason is None or reason in BEFORE:
                continue
            name = scenario.strategies[setup["strategy"]]
            for gate, (kind, own) in GATES.items():
                inside = stands(found, kind, name if own else None, int(setup["time_ms"]))
                assert inside == (reason is gate), (seed, gate, reason, int(setup["time_ms"]))
                if reason is gate:
                    met[gate] += 1
                    break
    assert all(met.values()), met


def test_bands_of_regimes_cover_their_closes_and_no_others():
    scenario = replace(generate(3), commands=no_commands())
    result = simulate_portfolio(scenario)
    found = bands(scenario, result)
    for regime in (Regime.PANIC, Regime.CAUTION, Regime.EUPHORIA):
        covered = np.array(
            [stands(found, regime.name.lower(), None, int(close)) for close in scenario.panel.close_time_ms]
        )
        assert np.array_equal(covered, result.regime == regime)


@pytest.mark.parametrize("seed", [1, 2])
def test_bands_come_in_order_of_time_and_are_never_empty(seed):
    scenario = replace(generate(seed), commands=no_commands())
    found = bands(scenario, simulate_portfolio(scenario))
    assert [band.start_ms for band in found] == sorted(band.start_ms for band in found)
    assert all(band.end_ms > band.start_ms for band in found)
