"""The market followed from call to call: whatever the cuts, it is the market of the whole, bit for bit."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Condition, Regime
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from crypto_tracker.portfolio.parameters import Protection
from crypto_tracker.portfolio.regime import (
    NO_FORCE,
    MarketCarry,
    MarketState,
    follow_market,
    market_state,
    reference_lead_ms,
)
from tests.portfolio.test_regime import MIDNIGHT_MS, NAN, STRATEGIES, btc, protection

LEAD_MS = 3 * DAY_MS
FRESH = MarketCarry(regime=Regime.NORMAL, switched_on=(True, True, True), first_ms=None)


def nervous(**changed: Any) -> Protection:
    """Rules that are met often: small moves change the regime, and volatility switches all the time."""
    return protection(
        **{
            "panic_1h": -0.02,
            "caution_1h": -0.01,
            "euphoria_1h": 0.012,
            "switches": {"CHANNEL": {"off": 0.08, "on": 0.05}, "DCA": {"off": 0.12, "on": 0.1}},
            "sizes": {"SWING": {"threshold": 0.07, "factor": 0.5}},
            "sideways_volatility": 0.2,
            **changed,
        }
    )


def walk(seed: int, timeframe: Timeframe, days: float, start_ms: int) -> Panel:
    """A reference coin with holes of every length, also longer than the lead, and calm and wild days."""
    random = np.random.default_rng(seed)
    rows = int(days * DAY_MS / timeframe.ms)
    per_hour = HOUR_MS / timeframe.ms
    calm = np.where(np.arange(rows) // max(1, rows // 5) % 2, 0.2, 1.0)
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.006 / np.sqrt(per_hour), rows) * calm))
    missing = random.random(rows) < random.choice([0.0, 0.02, 0.3])
    for _ in range(int(random.integers(0, 4))):
        first = int(random.integers(0, rows))
        missing[first : first + int(random.choice([10, 26 * per_hour, 80 * per_hour]))] = True
    if random.random() < 0.5:  # it begins with a hole
        missing[: int(random.integers(1, rows // 3))] = True
    close[missing] = NAN
    spread = 1.0 + random.random(rows) * 0.004
    return btc(
        list(close),
        high=list(close * spread),
        low=list(close / spread),
        timeframe=timeframe,
        start_ms=start_ms,
    )


def some_forced(seed: int, rows: int) -> np.ndarray[Any, Any]:
    """Regimes that a person forces, for a while each."""
    random = np.random.default_rng(seed)
    forced = np.full(rows, NO_FORCE, dtype=np.int8)
    for _ in range(int(random.integers(0, 5))):
        first = int(random.integers(0, rows))
        forced[first : first + int(random.integers(1, rows))] = random.integers(-1, 4)
    return forced


def followed(
    panel: Panel, forced: np.ndarray[Any, Any], cuts: list[int], rules: Protection
) -> tuple[list[MarketState], list[MarketCarry]]:
    """The market of `panel` in calls that end at the cuts, each with three days of lead and no more."""
    lead = LEAD_MS // panel.timeframe.ms
    carry: MarketCarry | None = None
    states, carries = [], []
    for start, stop in zip([0, *cuts], [*cuts, len(panel)], strict=True):
        seen = panel.rows(max(0, start - lead), stop)
        state, carry = follow_market(seen, STRATEGIES, rules, forced[start:stop], carry or FRESH)
        states.append(state)
        carries.append(carry)
    return states, carries


def assert_same_bits(states: list[MarketState], whole: MarketState) -> None:
    for field in fields(MarketState):
        joined = np.concatenate([getattr(state, field.name) for state in states])
        expected = getattr(whole, field.name)
        assert joined.dtype == expected.dtype, field.name
        assert joined.shape == expected.shape, field.name
        assert joined.tobytes() == expected.tobytes(), field.name


@given(
    seed=st.integers(0, 2**32 - 1),
    timeframe=st.sampled_from([Timeframe.M15, Timeframe.H1]),
    offset=st.integers(0, 95),
    places=st.lists(st.floats(0.0, 1.0), max_size=6),
    samples=st.sampled_from([1, 3, 6]),
    max_age=st.sampled_from([5.0, 40.0, 600.0]),
)
@settings(max_examples=60)
def test_a_span_cut_into_calls_has_the_market_of_the_whole(
    seed: int, timeframe: Timeframe, offset: int, places: list[float], samples: int, max_age: float
):
    start_ms = MIDNIGHT_MS + timeframe.floor(offset * 15 * MINUTE_MS)
    panel = walk(seed, timeframe, 12.0, start_ms)
    forced = some_forced(seed, len(panel))
    rules = nervous(samples=samples, max_age_minutes=max_age)
    cuts = sorted(int(place * len(panel)) for place in places)  # also calls without a row
    states, _ = followed(panel, forced, cuts, rules)
    assert_same_bits(states, market_state(panel, STRATEGIES, rules, forced))


@given(seed=st.integers(0, 2**32 - 1), max_age=st.sampled_from([5.0, 300.0]))
@settings(max_examples=12)
def test_one_row_at_a_time_is_the_market_of_the_whole(seed: int, max_age: float):
    panel = walk(seed, Timeframe.H1, 14.0, MIDNIGHT_MS)
    forced = some_forced(seed, len(panel))
    rules = nervous(max_age_minutes=max_age)
    states, _ = followed(panel, forced, list(range(1, len(panel))), rules)
    assert_same_bits(states, market_state(panel, STRATEGIES, rules, forced))


def test_minutes_one_by_one_are_the_market_of_the_whole():
    panel = walk(11, Timeframe.M1, 5.0, MIDNIGHT_MS + 7 * MINUTE_MS)
    forced = some_forced(11, len(panel))
    start = len(panel) - 150
    rules = nervous()
    states, _ = followed(panel, forced, [1_000, start, *range(start + 1, len(panel))], rules)
    assert_same_bits(states, market_state(panel, STRATEGIES, rules, forced))


def test_these_markets_show_every_regime_switch_and_condition():
    regimes: set[int] = set()
    conditions: set[int] = set()
    off = 0
    for seed in range(30):
        panel = walk(seed, Timeframe.M15, 12.0, MIDNIGHT_MS)
        state = market_state(panel, STRATEGIES, nervous(), np.full(len(panel), NO_FORCE, dtype=np.int8))
        regimes |= set(state.regime.tolist())
        conditions |= set(state.condition.tolist())
        off += int((np.diff(state.switched_on[:, 2].astype(int)) != 0).sum())
    assert regimes == set(map(int, Regime))
    assert conditions == set(map(int, Condition))
    assert off > 10


def test_a_lead_alone_begins_where_the_whole_begins():
    panel = walk(3, Timeframe.M15, 8.0, MIDNIGHT_MS)
    forced = np.full(100, NO_FORCE, dtype=np.int8)
    state, carry = follow_market(panel, STRATEGIES, nervous(), forced, None)
    everything = np.full(len(panel), NO_FORCE, dtype=np.int8)
    whole, carry_of_the_whole = follow_market(panel, STRATEGIES, nervous(), everything, None)
    assert_same_bits([state], whole.rows(len(panel) - 100))
    assert carry == carry_of_the_whole


def test_without_a_recent_close_the_carried_regime_holds_however_long():
    closes = [100.0] * 60 + [94.0]
    state, carry = follow_market(
        btc(closes), STRATEGIES, protection(), np.full(61, NO_FORCE, dtype=np.int8), None
    )
    assert carry.regime is Regime.PANIC
    assert carry.first_ms == MIDNIGHT_MS
    silent = btc([NAN] * 10_000, start_ms=MIDNIGHT_MS + 61 * MINUTE_MS)
    state, after = follow_market(
        silent, STRATEGIES, protection(), np.full(5_000, NO_FORCE, dtype=np.int8), carry
    )
    assert set(state.regime.tolist()) == {Regime.PANIC}
    assert after == carry


def test_a_forced_regime_is_not_carried():
    forced = np.full(61, Regime.EUPHORIA, dtype=np.int8)
    state, carry = follow_market(btc([100.0] * 60 + [94.0]), STRATEGIES, protection(), forced, None)
    assert set(state.regime.tolist()) == {Regime.EUPHORIA}
    assert carry.regime is Regime.PANIC


def test_a_switch_between_its_two_thresholds_stays_as_it_is_carried():
    flat = 30 * 60
    panel = btc([100.0] * flat, high=[107.0] * flat, low=[100.0] * flat)
    free = np.full(60, NO_FORCE, dtype=np.int8)
    for on in (True, False):
        carry = MarketCarry(regime=Regime.NORMAL, switched_on=(True, True, on), first_ms=MIDNIGHT_MS)
        state, after = follow_market(panel, STRATEGIES, protection(), free, carry)
        assert state.volatility[-1] == pytest.approx(0.07)
        assert set(state.switched_on[:, 2].tolist()) == {on}
        assert after.switched_on == (True, True, on)


def test_volatility_is_known_through_a_lead_that_begins_with_a_hole():
    hole, bars = 40 * 60, 33 * 60
    panel = btc([NAN] * hole + [100.0] * bars, high=[NAN] * hole + [110.0] * bars)
    one = np.full(1, NO_FORCE, dtype=np.int8)
    early = MIDNIGHT_MS - 9 * DAY_MS
    known = MarketCarry(regime=Regime.NORMAL, switched_on=(True,) * 3, first_ms=early)
    state, _ = follow_market(panel.rows(0, hole + 600), STRATEGIES, protection(), one, known)
    assert state.volatility[-1] == pytest.approx(0.1)
    unknown = MarketCarry(regime=Regime.NORMAL, switched_on=(True,) * 3, first_ms=None)
    state, carry = follow_market(panel.rows(0, hole + 600), STRATEGIES, protection(), one, unknown)
    assert np.isnan(state.volatility[-1])
    assert carry.first_ms == MIDNIGHT_MS + hole * MINUTE_MS


def test_without_a_reference_everything_stays_as_it_is_carried():
    carry = MarketCarry(regime=Regime.CAUTION, switched_on=(True, False, True), first_ms=None)
    free = np.full(4, NO_FORCE, dtype=np.int8)
    state, after = follow_market(
        None, STRATEGIES, nervous(switches={"SWING": {"off": 0.1, "on": 0.1}}), free, carry
    )
    assert state.regime.tolist() == [Regime.CAUTION] * 4
    assert state.switched_on.tolist() == [[True, False, True]] * 4
    assert after == carry


def test_three_days_of_lead_are_enough_for_the_rules_of_the_specification():
    assert reference_lead_ms(protection()) == 2 * DAY_MS + HOUR_MS <= LEAD_MS
    assert reference_lead_ms(protection(samples=100)) == DAY_MS + 100 * HOUR_MS
    assert reference_lead_ms(protection(max_age_minutes=90.0)) == 2 * DAY_MS + 90 * MINUTE_MS
