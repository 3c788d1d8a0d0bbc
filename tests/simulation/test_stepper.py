"""The stepper: whatever the cuts, its records are those of one simulation over the whole."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.errors import SimulationError
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.portfolio.regime import NO_FORCE, MarketState, market_state
from crypto_tracker.simulation import kernel
from crypto_tracker.simulation.backtest import scenario_market, simulate_portfolio
from crypto_tracker.simulation.books import OrderBooks
from crypto_tracker.simulation.driver import waiting_orders
from crypto_tracker.simulation.live import EndedOrder, Stepped, Stepper
from crypto_tracker.simulation.records import (
    CommandKind,
    Scenario,
    SimulationResult,
    commands,
    no_commands,
)
from crypto_tracker.simulation.state import EMPTY, HELD, PENDING, PortfolioState
from crypto_tracker.strategies.base import EVENT_RESET, EVENT_SETUP, SETUP_DTYPE
from tests.simulation.comparison import differences
from tests.simulation.generator import generate
from tests.simulation.rules import instruments, spec_rules

FIRST_NUMBER = 1_000
Records = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One call: the rows [start, stop) with what falls into them."""

    panel: Panel
    market: MarketState
    setups: Records
    commands: Records
    first_row: int  # of the setups
    books: OrderBooks | None = None


def market_rows(market: MarketState, start: int, stop: int) -> MarketState:
    return MarketState(
        **{field.name: getattr(market, field.name)[start:stop] for field in fields(MarketState)}
    )


def needed_books(scenario: Scenario, start: int, stop: int) -> OrderBooks | None:
    """The recorded books that the rows [start, stop) can ask for, and no more."""
    if scenario.books is None:
        return None
    age_ms = round(scenario.rules.fills.book_max_age_seconds * 1000)
    first_ms = int(scenario.panel.open_time_ms[start]) - age_ms
    return scenario.books.between(first_ms, int(scenario.panel.close_time_ms[stop - 1]))


def cut_at(scenario: Scenario, places: list[int]) -> list[Cut]:
    """The scenario as calls that end at these rows and at its end."""
    panel = scenario.panel
    market = scenario_market(scenario, scenario.commands)
    cuts = []
    setups_from = commands_from = 0
    ends = sorted({*places, len(panel)} - {0})
    for start, stop in zip([0, *ends], ends, strict=False):
        closed_ms = panel.close_time_ms[stop - 1]
        setups_to = int(np.searchsorted(scenario.setups["time_ms"], closed_ms, side="right"))
        open_ms = panel.open_time_ms[stop - 1]
        commands_to = int(np.searchsorted(scenario.commands["time_ms"], open_ms, side="right"))
        cuts.append(
            Cut(
                panel=panel.rows(start, stop),
                books=needed_books(scenario, start, stop),
                market=market_rows(market, start, stop),
                setups=scenario.setups[setups_from:setups_to],
                commands=scenario.commands[commands_from:commands_to],
                first_row=setups_from,
            )
        )
        setups_from, commands_from = setups_to, commands_to
    return cuts


def stepper_of(scenario: Scenario, state: PortfolioState) -> Stepper:
    return Stepper(
        instruments=scenario.instruments,
        strategies=scenario.strategies,
        enabled=scenario.enabled,
        rules=scenario.rules,
        state=state,
        timeframe=scenario.panel.timeframe,
    )


def fresh(scenario: Scenario) -> PortfolioState:
    capital = int(np.rint(scenario.rules.capital_quote * kernel.QUOTE))
    return PortfolioState.fresh(len(scenario.panel.symbols), len(scenario.strategies), capital)


def stepped_in_calls(
    scenario: Scenario, places: list[int], *, through_bytes: bool
) -> tuple[SimulationResult, bytes]:
    """The records of all calls put together as a simulation gives them, and the state at the end."""
    rows_of_setups = np.flatnonzero(scenario.setups["kind"] == EVENT_SETUP)
    stepper = stepper_of(scenario, fresh(scenario))
    parts: list[Stepped] = []
    decisions = []
    first_number, rows_before = FIRST_NUMBER, 0
    ends: dict[int, Reason] = {}
    for cut in cut_at(scenario, places):
        stepped = stepper.step(
            cut.panel,
            cut.market,
            cut.setups,
            cut.commands,
            first_setup_number=first_number,
            books=cut.books,
        )
        first_number += int((cut.setups["kind"] == EVENT_SETUP).sum())
        stepped.fills["bar"] += rows_before
        rows_before += len(cut.panel)
        for order in stepped.ended:
            assert order.setup_number < first_number - int((cut.setups["kind"] == EVENT_SETUP).sum())
            assert order.setup_number not in ends
            row = rows_of_setups[order.setup_number - FIRST_NUMBER]
            assert scenario.setups["symbol"][row] == order.symbol_column
            ends[int(row)] = order.reason
        parts.append(stepped)
        decisions.append(stepped.decisions)
        if through_bytes:
            stepper = stepper_of(scenario, PortfolioState.from_bytes(stepper.state.to_bytes()))
    trades = np.concatenate([part.trades for part in parts])
    positions = stepper.positions()
    orders = np.concatenate([*(part.orders for part in parts), waiting_orders(stepper.state)])
    for rows in (trades, positions, orders):
        rows["setup"] = rows_of_setups[rows["setup"] - FIRST_NUMBER]
    decided = np.concatenate(decisions)
    for row, reason in ends.items():
        assert decided["end"][row] == Reason.ACCEPTED
        decided["end"][row] = reason
    market = scenario_market(scenario, scenario.commands)
    result = SimulationResult(
        fills=np.concatenate([part.fills for part in parts]),
        trades=trades,
        open_trades=positions,
        holdings=stepper.state.holdings(),
        orders=orders,
        decisions=decided,
        equity_e8=np.concatenate([part.equity_e8 for part in parts]),
        cash_e8=np.concatenate([part.cash_e8 for part in parts]),
        reserved_e8=np.concatenate([part.reserved_e8 for part in parts]),
        regime=market.regime,
    )
    return result, stepper.state.to_bytes()


def left_open(seed: int) -> Scenario:
    """The market of a seed, without setups after its end, and its positions stay open."""
    scenario = generate(seed)
    within = scenario.setups["time_ms"] <= scenario.panel.close_time_ms[-1]
    return replace(scenario, close_at_end=False, setups=scenario.setups[within])


@given(
    seed=st.integers(0, 2**32 - 1),
    places=st.lists(st.floats(0.0, 1.0), max_size=8),
    through_bytes=st.booleans(),
)
@settings(max_examples=60)
def test_a_run_cut_into_calls_has_the_records_of_the_whole(
    seed: int, places: list[float], through_bytes: bool
):
    scenario = left_open(seed)
    cuts = [int(place * len(scenario.panel)) for place in places]
    result, _ = stepped_in_calls(scenario, cuts, through_bytes=through_bytes)
    assert differences(result, simulate_portfolio(scenario)) == []


@given(seed=st.integers(0, 2**32 - 1), through_bytes=st.booleans())
@settings(max_examples=25)
def test_one_bar_at_a_time_has_the_records_of_the_whole(seed: int, through_bytes: bool):
    scenario = left_open(seed)
    every = list(range(1, len(scenario.panel)))
    result, state = stepped_in_calls(scenario, every, through_bytes=through_bytes)
    assert differences(result, simulate_portfolio(scenario)) == []
    _, at_once = stepped_in_calls(scenario, [], through_bytes=False)
    assert state == at_once


def test_these_runs_end_orders_of_earlier_calls_in_every_way():
    seen: set[Reason] = set()
    for seed in range(200):
        scenario = left_open(seed)
        stepper = stepper_of(scenario, fresh(scenario))
        number = 0
        for cut in cut_at(scenario, list(range(1, len(scenario.panel)))):
            stepped = stepper.step(
                cut.panel, cut.market, cut.setups, cut.commands, first_setup_number=number, books=cut.books
            )
            number += int((cut.setups["kind"] == EVENT_SETUP).sum())
            seen |= {order.reason for order in stepped.ended}
    assert seen == {Reason.EXPIRED, Reason.SLIPPAGE_TOO_HIGH, Reason.REGIME_PANIC, Reason.CANCELLED}


def test_the_simulator_and_the_stepper_run_the_same_compiled_code():
    # Arrays of another layout would be compiled anew, and need not round alike.
    scenario = left_open(7)
    simulate_portfolio(scenario)
    stepped_in_calls(scenario, [1, 2, 11], through_bytes=True)
    assert len(kernel.run.signatures) == 1


# ------------------------------------------------------------------------------------------- by hand

DCA = ("DCA",)
FREE = {"taker_fee": 0.0, "maker_fee": 0.0, "slippage": 0.0}
COINS = instruments(["SOL/USD"], **FREE)


def minutes(start: int, closes: list[float], symbols: tuple[Symbol, ...] = COINS.symbols) -> Panel:
    """Flat bars from minute `start` on, with more volume than anybody needs."""
    price = np.array(closes, dtype=np.float64).reshape(-1, 1).repeat(len(symbols), axis=1)
    return Panel(
        timeframe=Timeframe.M1,
        symbols=symbols,
        open_time_ms=MINUTE_MS * np.arange(start, start + len(closes)),
        open=price,
        high=price,
        low=price,
        close=price,
        volume=np.full(price.shape, 1e9),
        covered=np.ones(price.shape, dtype=np.bool_),
    )


def calm(bars: int, strategies: tuple[str, ...] = DCA) -> MarketState:
    return market_state(None, strategies, spec_rules().protection, np.full(bars, NO_FORCE, dtype=np.int8))


def a_setup(minute: int, **changed: Any) -> Records:
    """A setup decided at the close of a minute."""
    values: dict[str, Any] = {
        "time_ms": (minute + 1) * MINUTE_MS,
        "symbol": 0,
        "strategy": 0,
        "kind": EVENT_SETUP,
        "side": 1,
        "confidence": 0.9,
        "readiness": 100.0,
        "size_quote": 100.0,
        "levels": 1,
        "withheld": 0,
        "spacing": 0.02,
        "take_profit": 0.10,
        "stop_loss": 0.05,
        "trailing": 0.0,
        "max_hold_ms": 10_000 * MINUTE_MS,
        "max_entry_gap": np.nan,
        "decision_close": 100.0,
        "wait_ms": 5 * MINUTE_MS,
        "range_median": np.nan,
    }
    return np.array([tuple((values | changed)[name] for name in SETUP_DTYPE.names or ())], dtype=SETUP_DTYPE)


NO_SETUPS = np.zeros(0, dtype=SETUP_DTYPE)


def stepper_under(state: PortfolioState | None = None, **changed: Any) -> Stepper:
    return Stepper(
        instruments=COINS,
        strategies=DCA,
        enabled=(changed.pop("enabled", True),),
        rules=spec_rules(**{"shares": {"DCA": 1.0}, **changed}),
        state=state or PortfolioState.fresh(1, 1, 10_000 * 10**8),
    )


def step(
    stepper: Stepper,
    start: int,
    closes: list[float],
    setups: Records = NO_SETUPS,
    told: Records | None = None,
    number: int = 0,
) -> Stepped:
    return stepper.step(
        minutes(start, closes),
        calm(len(closes)),
        setups,
        no_commands() if told is None else told,
        first_setup_number=number,
    )


def test_a_limit_that_is_switched_on_knows_only_the_hours_that_come_after_it():
    # Two coins that go together, 100, 150 and 75 at three full hours, are asked for at the third.
    facts = instruments(["SOL/USD", "ETH/USD"], **FREE)
    closes = [100.0] * 60 + [150.0] * 60 + [75.0] * 60
    asked = np.concatenate([a_setup(179, symbol=0), a_setup(179, symbol=1)])

    def answers(switched_on_at: int) -> list[Reason]:
        state = PortfolioState.fresh(2, 1, 10_000 * 10**8)
        for start, stop, setups in ((0, switched_on_at, NO_SETUPS), (switched_on_at, 180, asked)):
            rules = spec_rules(correlation_limit=start > 0, correlation_hours_min=2, shares={"DCA": 1.0})
            stepper = Stepper(instruments=facts, strategies=DCA, enabled=(True,), rules=rules, state=state)
            panel = minutes(start, closes[start:stop], facts.symbols)
            stepped = stepper.step(panel, calm(len(panel)), setups, no_commands(), first_setup_number=0)
            state = stepper.state
        return [Reason(code) for code in stepped.decisions["reason"]]

    # Switched on before the first full hour it knows three closes, after it only two, which are one return.
    assert answers(59) == [Reason.CORRELATION, Reason.ACCEPTED]  # ETH stands before SOL
    assert answers(60) == [Reason.ACCEPTED, Reason.ACCEPTED]


def test_a_position_keeps_the_exits_that_it_was_opened_with_when_the_rules_change():
    before = stepper_under()
    step(before, 0, [100.0], a_setup(0, take_profit=0.10, stop_loss=0.05), number=41)
    opened = step(before, 1, [100.0])
    assert opened.fills["price"].tolist() == [100.0]
    after = stepper_under(before.state, enabled=False, max_open=0, min_confidence=1.0, entry_bars=1)
    (held,) = after.positions()
    assert (held["setup"], held["stop_price"], held["target_price"]) == (41, 95.0, pytest.approx(110.0))
    # The new rules refuse the next setup (with exits of its own), and leave the position where it was.
    later = step(after, 2, [104.0, 109.0], a_setup(2, take_profit=0.02, stop_loss=0.01), number=42)
    assert Reason(later.decisions["reason"][0]) is Reason.STRATEGY_OFF
    assert len(later.fills) == 0
    closed = step(after, 4, [111.0])
    assert closed.fills["price"].tolist() == pytest.approx([110.0])
    (trade,) = closed.trades
    assert (trade["setup"], trade["trade"]) == (41, 0)
    assert ExitReason(trade["exit_reason"]) is ExitReason.TAKE_PROFIT
    assert trade["pnl_e8"] == 10 * 10**8


def test_new_caps_of_stops_hold_for_open_positions_from_the_next_close_on():
    # R7: the stop is worked out again at every close, from the position's own fraction and the rules of now.
    before = stepper_under()
    step(before, 0, [100.0], a_setup(0, stop_loss=0.08))
    step(before, 1, [100.0])
    assert before.positions()["stop_price"][0] == pytest.approx(92.0)
    narrow = {"large_cap": 0.03, "mid_cap": 0.03, "small_cap": 0.03, "memecoin": 0.03}
    after = stepper_under(before.state, caps=narrow)
    assert after.positions()["stop_price"][0] == pytest.approx(92.0)
    step(after, 2, [100.0])
    assert after.positions()["stop_price"][0] == pytest.approx(97.0)


def test_a_setup_carries_its_number_from_its_decision_to_its_trade():
    stepper = stepper_under()
    reset = a_setup(0, kind=EVENT_RESET)
    step(stepper, 0, [100.0], np.concatenate([reset, a_setup(0)]), number=7)
    assert stepper.state.slots["setup"].tolist() == [7]  # the reset has none
    assert stepper.state.slots["phase"].tolist() == [PENDING]
    step(stepper, 1, [100.0])
    assert stepper.state.slots["phase"].tolist() == [HELD]
    assert stepper.positions()["setup"].tolist() == [7]
    closed = step(stepper, 2, [90.0])
    assert closed.trades["setup"].tolist() == [7]
    again = np.concatenate([a_setup(3, kind=EVENT_RESET), a_setup(3)])
    step(stepper, 3, [90.0, 90.0], again, number=8)
    assert stepper.positions()["setup"].tolist() == [8]


def test_an_order_of_an_earlier_call_that_is_cancelled_is_told_with_its_number():
    stepper = stepper_under()
    step(stepper, 0, [100.0], a_setup(0), number=3)
    close = commands([(MINUTE_MS, int(CommandKind.CLOSE), 0, -1, int(ExitReason.MANUAL))])
    stepped = step(stepper, 1, [100.0], told=close, number=4)
    assert stepped.ended == (EndedOrder(symbol_column=0, setup_number=3, reason=Reason.CANCELLED),)
    assert stepper.state.slots["phase"].tolist() == [EMPTY]
    assert stepped.reserved_e8.tolist() == [0]


def test_an_order_that_begins_and_ends_within_a_call_is_told_by_its_decision():
    stepper = stepper_under()
    stepped = step(stepper, 0, [100.0, 120.0], a_setup(0, max_entry_gap=0.1), number=3)
    assert stepped.ended == ()
    assert Reason(stepped.decisions["end"][0]) is Reason.SLIPPAGE_TOO_HIGH


# ------------------------------------------------------------------------------------------- refusals


def test_a_quantity_that_can_not_be_exact_is_refused_as_in_a_backtest():
    fine = instruments(["SOL/USD"], lot=1e-16, **FREE)
    stepper = Stepper(
        instruments=fine,
        strategies=DCA,
        enabled=(True,),
        rules=spec_rules(shares={"DCA": 1.0}),
        state=PortfolioState.fresh(1, 1, 10_000 * 10**8),
    )
    step(stepper, 0, [100.0], a_setup(0))
    with pytest.raises(SimulationError, match="SOL/USD: an order needs more than 2\\^53 lots"):
        step(stepper, 1, [100.0])


def test_inputs_that_do_not_fit_together_are_refused():
    stepper = stepper_under()
    with pytest.raises(SimulationError, match="1 setups are decided at no close"):
        step(stepper, 0, [100.0], a_setup(1))
    late = commands([(MINUTE_MS, int(CommandKind.PAUSE), -1, -1, 0)])
    with pytest.raises(SimulationError, match="give it to the step of that bar"):
        step(stepper, 0, [100.0], told=late)
    with pytest.raises(SimulationError, match="at least one bar"):
        step(stepper, 0, [])
    with pytest.raises(SimulationError, match="at least one bar"):
        stepper.step(minutes(0, [1.0]), calm(2), NO_SETUPS, no_commands(), first_setup_number=0)
    with pytest.raises(SimulationError, match="needs 1m bars of the stepper's symbols"):
        stepper.step(
            minutes(0, [1.0], (Symbol("BTC", "USD"),)),
            calm(1),
            NO_SETUPS,
            no_commands(),
            first_setup_number=0,
        )
    with pytest.raises(SimulationError, match="this step got none of its symbols"):
        step(stepper_under(source="book"), 0, [100.0])
    with pytest.raises(SimulationError, match="at most 20 levels"):
        step(stepper, 0, [100.0], a_setup(0, levels=21))
    with pytest.raises(SimulationError, match="sorted by time"):
        step(stepper, 0, [100.0, 100.0], np.concatenate([a_setup(1), a_setup(0)]))
    with pytest.raises(SimulationError, match="2 strategies and 1 symbols, not of 1 and 1"):
        stepper_under(PortfolioState.fresh(1, 2, 0))


def test_a_withheld_setup_is_refused_for_its_reason_and_any_other_code_is_none() -> None:
    stepper = stepper_under()
    held_back = step(stepper, 0, [100.0], a_setup(0, withheld=int(Reason.DATA_DOUBTFUL)))
    assert held_back.decisions["reason"].tolist() == [Reason.DATA_DOUBTFUL]
    assert np.isnan(held_back.decisions["measured"]).all()
    with pytest.raises(SimulationError, match=r"withheld for the reason 3: .* 5 \(not_in_universe\)"):
        step(stepper, 1, [100.0], a_setup(1, withheld=int(Reason.DATA_STALE)))
    taken = step(stepper, 1, [100.0], a_setup(1), number=1)
    assert taken.decisions["reason"].tolist() == [Reason.ACCEPTED]
