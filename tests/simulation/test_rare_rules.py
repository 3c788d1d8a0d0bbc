"""Meetings of rules that chance hardly brings about, by hand, for the compiled and for the slow simulator."""

import math
from collections.abc import Callable

import pytest

from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.simulation.backtest import simulate_portfolio
from crypto_tracker.simulation.records import CommandKind, Scenario, SimulationResult, commands
from tests.reference import simulator as reference
from tests.reference.sketch import E8, FLAT, FREE, MISSING, START_MS, panel, scenario, setup

Simulate = Callable[[Scenario], SimulationResult]


@pytest.fixture(params=[simulate_portfolio, reference.simulate], ids=["compiled", "slow"])
def simulate(request: pytest.FixtureRequest) -> Simulate:
    return request.param


def flat(price: float, volume: float = 1e6) -> tuple[float, ...]:
    return (price, price, price, price, volume)


def test_a_trailing_level_equal_to_the_stop_is_a_trailing_stop(simulate: Simulate) -> None:
    # half a coin at 100, the rest at 101: average 100.4988, stop floor(100.2978) = 100
    # high-water 102: level floor(100.98) = 100, armed because 100.98 is above the average
    market = panel(
        [
            FLAT,
            flat(100.0, 10.0),
            flat(101.0),
            (101.0, 102.0, 101.0, 101.0, 1e6),
            (101.0, 101.0, 100.0, 100.0, 1e6),
        ]
    )
    order = setup(stop_loss=0.002, trailing=0.01)
    (trade,) = simulate(scenario(market, order, facts=FREE | {"tick": 1.0})).trades
    assert (trade["exit_reason"], trade["exit_price"]) == (ExitReason.TRAILING_STOP, 100.0)


def test_a_stop_that_found_no_buyer_before_the_data_was_lost_leaves_no_ambiguity(simulate: Simulate) -> None:
    # bar 2 spans stop and target without volume; three minutes later only B still trades
    market = panel([FLAT, FLAT, (100.0, 110.0, 90.0, 105.0, 0.0), *[MISSING] * 4], [FLAT] * 7)
    (trade,) = simulate(scenario(market, setup(), rules={"data_lost_hours": 0.05})).trades
    assert (trade["exit_reason"], trade["exit_price"], trade["ambiguous"]) == (
        ExitReason.DATA_LOST,
        105.0,
        False,
    )


def test_the_target_that_stood_before_the_open_makes_a_stop_ambiguous(simulate: Simulate) -> None:
    # target 105 until the rest is bought at 104: then (50 + 50) / (0.5 + 50/104) * 1.05 = 107.06
    # the bar reaches 106, then the stop at 96.86
    market = panel([FLAT, flat(100.0, 10.0), (104.0, 106.0, 96.0, 96.0, 1e6)])
    (trade,) = simulate(scenario(market, setup())).trades
    assert (trade["exit_reason"], trade["ambiguous"]) == (ExitReason.STOP_LOSS, True)
    assert trade["target_price"] == pytest.approx(107.0588, abs=1e-4)


def test_a_trailing_stop_that_armed_clears_the_count_of_stops_even_if_it_is_disarmed(
    simulate: Simulate,
) -> None:
    market = panel(
        [
            FLAT,
            (100.0, 100.0, 94.0, 100.0, 1e6),  # the first trade is stopped: 1
            (100.0, 102.0, 100.0, 101.0, 10.0),  # the second buys half and arms at 100.98: 0
            flat(101.5),  # it buys the rest and is disarmed
            (101.0, 101.0, 94.0, 94.0, 1e6),  # it is stopped: 1, not 2
            FLAT,
        ]
    )
    result = simulate(
        scenario(
            market,
            setup(0),
            setup(1, strategy=1, take_profit=0.5, trailing=0.01),
            setup(3, kind=0),
            setup(4),
            rules={"cooldown_stops": 2},
        )
    )
    assert result.trades["exit_reason"].tolist() == [ExitReason.STOP_LOSS] * 2
    assert result.decisions["reason"].tolist() == [Reason.ACCEPTED] * 4


@pytest.mark.parametrize(("least", "bought"), [(50.0, 0.5), (50.01, 1.0)])
def test_a_rest_worth_the_minimum_waits_and_one_below_it_joins_the_fill(
    simulate: Simulate, least: float, bought: float
) -> None:
    market = panel([FLAT, flat(100.0, 10.0)])
    result = simulate(scenario(market, setup(), facts=FREE | {"min_notional": least}))
    assert result.fills["quantity"].tolist() == [bought]


@pytest.mark.parametrize(("least", "sold"), [(50.0, 0.5), (50.01, 1.0)])
def test_a_held_rest_worth_the_minimum_stays_and_one_below_it_is_sold_too(
    simulate: Simulate, least: float, sold: float
) -> None:
    # 0.25 of volume 2 is half a coin; the time is over in bar 2, at 100
    market = panel([FLAT, FLAT, flat(100.0, 2.0)])
    order = setup(max_hold_ms=MINUTE_MS)
    result = simulate(scenario(market, order, facts=FREE | {"min_notional": least}))
    assert result.fills["quantity"].tolist() == [1.0, sold]


def test_the_last_of_two_requests_names_the_exit(simulate: Simulate) -> None:
    market = panel([FLAT, FLAT, MISSING, MISSING, FLAT], [FLAT] * 5)
    requests = commands(
        [
            (START_MS + 2 * MINUTE_MS, CommandKind.CLOSE, 0, -1, ExitReason.MANUAL),
            (START_MS + 3 * MINUTE_MS, CommandKind.CLOSE, 0, -1, ExitReason.MARKET_TRANSITION),
        ]
    )
    (trade,) = simulate(scenario(market, setup(), commands=requests)).trades
    assert trade["exit_reason"] == ExitReason.MARKET_TRANSITION
    assert trade["exit_ms"] == START_MS + 4 * MINUTE_MS


@pytest.mark.parametrize(("high", "sold"), [(105.5, 0), (106.0, 1)])
def test_a_price_off_the_grid_passes_a_target_only_by_a_whole_tick(
    simulate: Simulate, high: float, sold: int
) -> None:
    market = panel([FLAT, FLAT, (100.0, high, 100.0, 100.0, 1e6)])
    result = simulate(scenario(market, setup(), facts=FREE | {"tick": 1.0}))
    assert len(result.trades) == sold


def test_three_tenths_of_a_coin_are_three_lots_although_floats_say_a_little_less(simulate: Simulate) -> None:
    result = simulate(scenario(panel([FLAT, FLAT]), setup(size_quote=30.0), facts=FREE | {"lot": 0.1}))
    assert result.fills["quantity"].tolist() == [0.3]
    assert result.fills["notional_e8"].tolist() == [30 * E8]


def test_a_cleared_cooldown_counts_stops_from_zero(simulate: Simulate) -> None:
    stopped = (100.0, 100.0, 94.0, 100.0, 1e6)
    market = panel([FLAT, stopped, stopped, FLAT, FLAT])
    clear = commands([(START_MS + 2 * MINUTE_MS, CommandKind.CLEAR_COOLDOWN, 0, -1, 0)])
    two_stops = (setup(0), setup(1, strategy=1), setup(2, kind=0), setup(2, strategy=2))
    # before bar 2 a person clears the one stop of bar 1, so that bar 2 holds the first again
    cleared = simulate(scenario(market, *two_stops, rules={"cooldown_stops": 2}, commands=clear))
    counted = simulate(scenario(market, *two_stops, rules={"cooldown_stops": 2}))
    assert cleared.decisions["reason"][3] == Reason.ACCEPTED
    assert counted.decisions["reason"][3] == Reason.COOLDOWN


def test_a_symbol_that_never_had_a_bar_is_stale_by_no_number_of_minutes(simulate: Simulate) -> None:
    # SWING scans bars of 15m that were fetched, and may know a coin before its first minute does.
    market = panel([FLAT] * 3, [MISSING] * 3)
    (decision,) = simulate(scenario(market, setup(symbol=1))).decisions
    assert decision["reason"] == Reason.DATA_STALE
    assert math.isnan(decision["measured"])
