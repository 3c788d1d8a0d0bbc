"""The state of a portfolio: it survives being written down, and what is damaged is refused."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.errors import SimulationError
from crypto_tracker.simulation import state as state_module
from crypto_tracker.simulation.backtest import Simulator, simulate_portfolio
from crypto_tracker.simulation.state import PortfolioState
from tests.simulation.comparison import differences
from tests.simulation.generator import generate

MARKETS = range(728, 740)


def half_run(seed: int) -> Simulator:
    simulator = Simulator(generate(seed))
    simulator.run_until(len(simulator.scenario.panel) // 2)
    return simulator


def same(left: PortfolioState, right: PortfolioState) -> bool:
    """Whether two states hold the same types, shapes and values, NaN equal to NaN."""
    pairs = [(getattr(left, field.name), getattr(right, field.name)) for field in fields(PortfolioState)]
    return all(
        a.dtype == b.dtype
        and a.dtype.isalignedstruct == b.dtype.isalignedstruct
        and repr(a.tolist()) == repr(b.tolist())
        for a, b in pairs
    )


def saved() -> bytes:
    return half_run(700).state.to_bytes()


SAVED = saved()


@pytest.mark.parametrize("seed", MARKETS)
def test_a_run_goes_on_from_its_saved_state_as_if_nothing_had_happened(seed: int):
    simulator = Simulator(generate(seed))
    bars = len(simulator.scenario.panel)
    for row in range(bars + 1):
        simulator.run_until(row)
        simulator.state = PortfolioState.from_bytes(simulator.state.to_bytes())
    assert differences(simulator.result(), simulate_portfolio(simulator.scenario)) == []


def test_some_of_these_runs_hold_positions_and_pending_orders_when_they_are_saved():
    phases = [half_run(seed).state.slots["phase"] for seed in MARKETS]
    assert any((phase == state_module.HELD).any() for phase in phases)
    assert any(half_run(seed).state.parts["open"].any() for seed in MARKETS)


def test_saving_and_reading_gives_every_value_back_and_equal_states_are_equal_bytes():
    state = half_run(701).state
    again = PortfolioState.from_bytes(state.to_bytes())
    assert same(state, again)
    assert again.to_bytes() == state.to_bytes() == state.copy().to_bytes()
    assert again.slots.flags.writeable


def test_a_copy_does_not_follow_the_original():
    simulator = half_run(702)
    before = simulator.state.copy()
    frozen = before.to_bytes()
    simulator.run_until(len(simulator.scenario.panel))
    assert before.to_bytes() == frozen
    assert not same(before, simulator.state)


@given(place=st.integers(0, len(SAVED) - 1), change=st.integers(1, 255))
def test_a_changed_byte_is_refused_wherever_it_is(place: int, change: int):
    damaged = bytearray(SAVED)
    damaged[place] ^= change
    with pytest.raises(SimulationError, match="damaged"):
        PortfolioState.from_bytes(bytes(damaged))


@given(length=st.integers(0, len(SAVED) - 1))
def test_a_state_that_ends_too_early_is_refused(length: int):
    with pytest.raises(SimulationError, match="damaged"):
        PortfolioState.from_bytes(SAVED[:length])


def test_bytes_after_the_end_are_refused():
    with pytest.raises(SimulationError, match="damaged"):
        PortfolioState.from_bytes(SAVED + b"\0")


def test_the_state_of_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch):
    # As a later version would write it: one number more for each coin.
    wider = np.dtype([*state_module.COIN_DTYPE.descr, ("score", np.float64)])
    state = half_run(703).state
    coins = np.zeros(len(state.coins), dtype=wider)
    later = PortfolioState(
        **{
            field.name: getattr(state, field.name)
            for field in fields(PortfolioState)
            if field.name != "coins"
        },
        coins=coins,
    )
    data = later.to_bytes()
    with pytest.raises(SimulationError, match="the coins of the portfolio state are of another version"):
        PortfolioState.from_bytes(data)
    monkeypatch.setitem(state_module._LAYOUT, "coins", wider)
    assert PortfolioState.from_bytes(data).coins.dtype == wider


HOURLY = next(seed for seed in range(800) if generate(seed).rules.limits.correlation_limit)


def test_the_last_hours_are_among_the_bytes_where_they_are_kept():
    state = half_run(HOURLY).state
    assert state.hour_closes.shape == (len(state.coins), 169)
    assert (state.hours_ms >= 0).any()
    assert np.isfinite(state.hour_closes).any()
    assert same(state, PortfolioState.from_bytes(state.to_bytes()))


def test_where_no_hours_are_kept_the_bytes_are_those_of_a_version_that_knew_none():
    state = half_run(700).state
    assert len(state.hours_ms) == 0
    assert b"hour" not in state.to_bytes()
    again = PortfolioState.from_bytes(state.to_bytes())
    assert (again.hours_ms.shape, again.hour_closes.shape) == ((0,), (len(state.coins), 0))


def test_a_portfolio_begins_and_ceases_to_keep_the_hours_and_is_else_the_same():
    state = half_run(700).state
    keeping = state.with_hours(True)
    assert state.with_hours(False) is state
    assert keeping.with_hours(True) is keeping
    assert keeping.coins is state.coins
    assert keeping.hour_closes.shape == (len(state.coins), 169)
    assert np.isnan(keeping.hour_closes).all()
    assert (keeping.hours_ms == state_module.NO_HOUR).all()
    assert same(keeping.with_hours(False), state)


def test_a_fresh_portfolio_holds_its_capital_and_nothing_else():
    state = PortfolioState.fresh(symbols=3, strategies=2, capital_e8=10_000 * 100_000_000)
    assert state.book["cash"][0] == state.book["equity"][0] == 1_000_000_000_000
    assert state.book["reserved"][0] == 0
    assert (state.slots["phase"] == state_module.EMPTY).all()
    assert np.isnan(state.coins["last_close"]).all()
    assert not state.episodes.any()
