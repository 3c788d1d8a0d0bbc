"""The records of a minute: by hand on single bars, and against the state over wild markets."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.money import to_decimal
from crypto_tracker.core.orders import ExitReason, FillKind
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe, from_ms
from crypto_tracker.portfolio.regime import NO_FORCE, market_state
from crypto_tracker.simulation import ledger
from crypto_tracker.simulation.live import Stepper
from crypto_tracker.simulation.parameters import Rules
from crypto_tracker.simulation.records import CommandKind, Scenario, commands, no_commands
from crypto_tracker.simulation.state import EMPTY, HELD, PortfolioState
from crypto_tracker.store.trading_records import OrderRecord, SetupRecord
from crypto_tracker.strategies.base import EVENT_RESET, EVENT_SETUP
from crypto_tracker.trading.book import SteppedMinute, order_records, position_records, setup_records
from tests.simulation.rules import instruments, spec_rules
from tests.simulation.test_stepper import NO_SETUPS, Records, a_setup, cut_at, fresh, left_open, stepper_of

OPEN = {"open", "partially_filled"}
FREE = {"taker_fee": 0.0, "maker_fee": 0.0, "slippage": 0.0}


# --------------------------------------------------------------------------------------- wild markets


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Minute(SteppedMinute):
    """A minute that knows when it closed, and the regime then."""

    close_ms: int
    regime: Regime


def minutes_of(scenario: Scenario) -> list[Minute]:
    """Every bar of a market as its own minute, with the versions carried as the trader carries them."""
    stepper = stepper_of(scenario, fresh(scenario))
    number, versions, stepped_minutes = 0, dict[int, str](), []
    for row, cut in enumerate(cut_at(scenario, list(range(1, len(scenario.panel))))):
        before = stepper.state.copy()
        stepped = stepper.step(
            cut.panel, cut.market, cut.setups, cut.commands, first_setup_number=number, books=cut.books
        )
        minute = Minute(
            close_ms=int(cut.panel.close_time_ms[0]),
            regime=Regime(int(cut.market.regime[0])),
            instruments=scenario.instruments,
            strategies=scenario.strategies,
            before=before,
            after=stepper.state.copy(),
            setups=cut.setups,
            first_setup_number=number,
            stepped=stepped,
            version=f"v{row // 20}",
            versions=versions,
        )
        stepped_minutes.append(minute)
        number += int((cut.setups["kind"] == EVENT_SETUP).sum())
        versions = minute.versions_after()
    return stepped_minutes


def open_parts(minute: SteppedMinute) -> dict[str, np.void]:
    """The open parts of the state after a minute, by the order's name."""
    state, found = minute.after, {}
    for column, symbol in enumerate(minute.instruments.symbols):
        slot = state.slots[column]
        for part in np.flatnonzero(state.parts[column]["open"]):
            assert slot["phase"] != EMPTY
            strategy, moment = minute.strategies[slot["strategy"]], from_ms(int(slot["decision_ms"]))
            found[f"{ledger.trade_group_id(symbol, strategy, moment)}/{part}"] = state.parts[column, part]
    return found


def fills_by_order(minute: SteppedMinute) -> dict[str, list[np.void]]:
    """The entry fills of a minute, by the order's name."""
    found = defaultdict(list)
    for fill in minute.stepped.fills:
        if fill["kind"] != FillKind.EXIT:
            slot = minute.before.slots[fill["symbol"]]
            symbol, strategy = minute.instruments.symbols[fill["symbol"]], minute.strategies[fill["strategy"]]
            group = ledger.trade_group_id(symbol, strategy, from_ms(int(slot["decision_ms"])))
            found[f"{group}/{fill['rung']}"].append(fill)
    return found


def follow(scenario: Scenario) -> tuple[dict[str, OrderRecord], dict[str, list[np.void]]]:
    """Go through a market, hold the orders against the state at every minute; returns orders and fills."""
    orders: dict[str, OrderRecord] = {}
    fills: dict[str, list[np.void]] = defaultdict(list)
    versions: dict[str, str] = {}
    for minute in minutes_of(scenario):
        for name, new in fills_by_order(minute).items():
            fills[name] += new
        for record in order_records(minute):
            known = orders.get(record.order_id)
            assert known != record
            if known is None:
                assert record.status == "open"
                assert record.placed_ms == minute.close_ms
                assert record.limit_price is None
                versions[record.order_id] = minute.version
            else:
                assert known.status in OPEN
                assert record.quote == known.quote
            orders[record.order_id] = record
        parts = open_parts(minute)
        assert {name for name, record in orders.items() if record.status in OPEN} == set(parts)
        for name, part in parts.items():
            record = orders[name]
            assert (record.status == "partially_filled") == bool(fills[name])
            spent = sum(int(fill["notional_e8"]) for fill in fills[name])
            assert record.quote == to_decimal(int(part["quote"]) + spent)
            if record.limit_price is not None or part["price"] > 0.0:
                assert float(record.limit_price or 0) == part["price"]
            assert record.version == versions[name]
        for record in orders.values():
            if record.ended_ms == minute.close_ms and record.reason is Reason.REGIME_PANIC:
                assert minute.regime is Regime.PANIC
    return orders, fills


def assert_ended_as_filled(
    record: OrderRecord, fills: list[np.void], instruments: Instruments, last_of_bars: int
) -> None:
    """What fills say of an order that is over: filled is what has no whole lot left to buy."""
    assert (record.ended_ms is not None) == (record.status not in OPEN)
    if record.status == "filled":
        assert record.reason is None
        assert record.ended_ms == last_of_bars
    if record.status not in OPEN and fills:
        lot = float(instruments.lot[fills[-1]["symbol"]])
        price = float(fills[-1]["price"])
        left = int(record.quote * 10**8) - sum(int(fill["notional_e8"]) for fill in fills)
        one_more = (lot * price * 1e8 if lot else 2.0 * len(fills)) * (1.0 - 1e-5)
        slack = abs(one_more) * 3e-5 + 2.0
        if record.status == "filled":
            assert left < one_more + slack
        else:
            assert left > one_more - slack
    if record.status == "filled":
        assert fills
    if record.status == "expired":
        assert record.reason is Reason.EXPIRED


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_the_open_orders_are_the_open_parts_of_the_state_at_every_minute(seed: int):
    scenario = left_open(seed)
    orders, fills = follow(scenario)
    for name, record in orders.items():
        bar_ms = scenario.panel.timeframe.ms
        last = int(fills[name][-1]["time_ms"]) + bar_ms if fills[name] else -1
        assert_ended_as_filled(record, fills[name], scenario.instruments, last)


def test_these_markets_end_orders_in_every_way():
    ways: Counter[tuple[str, str | None, bool]] = Counter()
    for seed in range(90):
        orders, fills = follow(left_open(seed))
        for name, record in orders.items():
            reason = None if record.reason is None else record.reason.code
            ways[record.status, reason, bool(fills[name])] += 1
    assert set(ways) >= {
        ("filled", None, True),
        ("expired", "expired", False),
        ("expired", "expired", True),
        ("cancelled", None, False),
        ("cancelled", None, True),
        ("cancelled", "cancelled", False),
        ("cancelled", "regime_panic", False),
        ("cancelled", "slippage_too_high", False),
    }
    assert ("filled", None, False) not in ways
    assert ("cancelled", "cancelled", True) not in ways


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_setups_and_positions_say_what_the_simulator_decided(seed: int):
    scenario = left_open(seed)
    number = 0
    for minute in minutes_of(scenario):
        records = setup_records(minute)
        rows = np.flatnonzero(minute.setups["kind"] == EVENT_SETUP)
        assert [record.setup_number for record in records] == list(range(number, number + len(rows)))
        number += len(rows)
        for record, row in zip(records, rows, strict=True):
            decision = minute.stepped.decisions[row]
            assert record.reason == decision["reason"]
            assert (record.verdict is Verdict.TAKE) == (record.reason is Reason.ACCEPTED)
            assert record.time_ms == minute.close_ms
        placed = {record.order_id for record in order_records(minute) if record.placed_ms == minute.close_ms}
        taken = [record for record in records if record.verdict is Verdict.TAKE]
        assert {name.rpartition("/")[0] for name in placed} == {group_of(record) for record in taken}
        stepper = stepper_of(scenario, minute.after)
        positions = position_records(minute, stepper.positions())
        held = np.flatnonzero(minute.after.slots["phase"] == HELD)
        assert [record.trade.symbol for record in positions] == [scenario.panel.symbols[at] for at in held]
        for record, column in zip(positions, held, strict=True):
            assert record.mark_price == minute.after.coins["last_close"][column]
            assert 0 < record.open_quantity <= record.trade.quantity or scenario.instruments.lot[column] == 0
            assert record.due_ms > minute.after.slots["first_fill_ms"][column]
        assert len(minute.trade_versions()) == len(minute.stepped.trades)


def group_of(record: SetupRecord) -> str:
    return ledger.trade_group_id(record.symbol, record.strategy, from_ms(record.time_ms))


# -------------------------------------------------------------------------------------------- by hand


class Account:
    """One coin, one strategy, one minute after the other."""

    def __init__(self, **changed: Any) -> None:
        self.facts = instruments(["SOL/USD"], tick=0.01, lot=0.001, **FREE)
        self.rules: Rules = spec_rules(**{"shares": {"DCA": 1.0}, "max_strategy_exposure": 1.0, **changed})
        self.stepper = Stepper(
            instruments=self.facts,
            strategies=("DCA",),
            enabled=(True,),
            rules=self.rules,
            state=PortfolioState.fresh(1, 1, 10_000 * 10**8),
        )
        self.at = 0
        self.number = 0
        self.versions: dict[int, str] = {}

    def minute(
        self,
        *prices: float,
        volume: float = 1e9,
        setups: Records = NO_SETUPS,
        forced: int = NO_FORCE,
        told: Records | None = None,
        version: str = "one",
    ) -> Minute:
        """The next minute with this open, high, low and close (one price for all four)."""
        sides = prices * 4 if len(prices) == 1 else prices
        bars = {
            name: np.array([[price]])
            for name, price in zip(("open", "high", "low", "close"), sides, strict=True)
        }
        panel = Panel(
            timeframe=Timeframe.M1,
            symbols=self.facts.symbols,
            open_time_ms=np.array([self.at * MINUTE_MS]),
            volume=np.array([[volume]]),
            covered=np.ones((1, 1), dtype=np.bool_),
            **bars,
        )
        force = np.array([forced], dtype=np.int8)
        market = market_state(None, ("DCA",), self.rules.protection, force)
        before = self.stepper.state.copy()
        stepped = self.stepper.step(
            panel, market, setups, no_commands() if told is None else told, first_setup_number=self.number
        )
        result = Minute(
            close_ms=(self.at + 1) * MINUTE_MS,
            regime=Regime(int(market.regime[0])),
            instruments=self.facts,
            strategies=("DCA",),
            before=before,
            after=self.stepper.state.copy(),
            setups=setups,
            first_setup_number=self.number,
            stepped=stepped,
            version=version,
            versions=self.versions,
        )
        self.number += int((setups["kind"] == EVENT_SETUP).sum())
        self.versions = result.versions_after()
        self.at += 1
        return result


def told(minute: SteppedMinute) -> list[tuple[int, str, Decimal | None, str | None]]:
    """(rung, status, limit price, reason) of every order that a minute changed."""
    return [
        (
            order.rung,
            order.status,
            order.limit_price,
            None if order.reason is None else order.reason.code,
        )
        for order in order_records(minute)
    ]


def a_ladder(**changed: Any) -> Records:
    return a_setup(0, **{"levels": 3, "spacing": 0.02, "take_profit": 0.05, "stop_loss": 0.08, **changed})


GROUP = "SOL/USD-DCA-19700101T000100Z"


def test_a_ladder_from_its_admission_to_its_exit():
    account = Account()
    born = order_records(account.minute(100.0, setups=a_ladder()))
    assert [(order.order_id, order.kind, order.rung, order.status) for order in born] == [
        (f"{GROUP}/0", "market", 0, "open"),
        (f"{GROUP}/1", "rung", 1, "open"),
        (f"{GROUP}/2", "rung", 2, "open"),
    ]
    assert {(order.quote, order.limit_price, order.placed_ms, order.ended_ms) for order in born} == {
        (Decimal(100), None, MINUTE_MS, None)
    }
    # The first fill fills the market part and sets the prices of the rungs.
    assert told(account.minute(100.0)) == [
        (0, "filled", None, None),
        (1, "open", Decimal("98.0"), None),
        (2, "open", Decimal("96.0"), None),
    ]
    assert told(account.minute(99.0)) == []
    assert told(account.minute(99.0, 99.0, 97.5, 97.5)) == [(1, "filled", Decimal("98.0"), None)]
    # The target ends what is left of the ladder.
    closed = account.minute(98.0, 110.0, 98.0, 110.0)
    assert [ExitReason(trade["exit_reason"]) for trade in closed.stepped.trades] == [ExitReason.TAKE_PROFIT]
    (left,) = order_records(closed)
    assert (left.rung, left.status, left.reason, left.limit_price) == (2, "cancelled", None, Decimal("96.0"))
    assert left.ended_ms == 5 * MINUTE_MS
    assert left.version == "one"


def test_a_market_entry_that_thin_volume_fills_in_part_and_then_drops():
    # 5 % of 4 coins are 0.2 coins or 20 quote a bar; after two bars the rest is dropped (R8).
    account = Account(entry_bars=2)
    account.minute(100.0, setups=a_ladder(levels=1))
    assert told(account.minute(100.0, volume=4.0)) == [(0, "partially_filled", None, None)]
    assert told(account.minute(100.0, volume=4.0)) == [(0, "expired", None, "expired")]
    assert account.stepper.positions()["quantity"].tolist() == [0.4]


def test_a_part_that_is_filled_over_several_bars_is_partial_once_and_then_filled():
    account = Account()
    account.minute(100.0, setups=a_ladder(levels=1))
    assert told(account.minute(100.0, volume=8.0)) == [(0, "partially_filled", None, None)]
    assert told(account.minute(100.0, volume=8.0)) == []
    (done,) = order_records(account.minute(100.0, volume=8.0))
    assert (done.status, done.ended_ms, done.quote) == ("filled", 4 * MINUTE_MS, Decimal(100))


def test_an_order_that_never_fills_ends_with_all_its_rungs():
    account = Account()
    account.minute(100.0, setups=a_ladder(levels=2))
    assert told(account.minute(100.0, volume=0.0)) == []
    close = commands([(2 * MINUTE_MS, int(CommandKind.CLOSE), 0, -1, int(ExitReason.MANUAL))])
    assert told(account.minute(100.0, told=close)) == [
        (0, "cancelled", None, "cancelled"),
        (1, "cancelled", None, "cancelled"),
    ]
    account = Account()
    account.minute(100.0, setups=a_ladder(levels=2, max_entry_gap=0.01))
    assert told(account.minute(102.0)) == [
        (0, "cancelled", None, "slippage_too_high"),
        (1, "cancelled", None, "slippage_too_high"),
    ]
    account = Account(entry_bars=1)
    account.minute(100.0, setups=a_ladder(levels=2))
    assert told(account.minute(100.0, volume=0.0)) == [
        (0, "expired", None, "expired"),
        (1, "expired", None, "expired"),
    ]


def test_panic_cancels_the_rungs_of_a_position_and_orders_that_wait():
    account = Account()
    account.minute(100.0, setups=a_ladder(levels=2))
    account.minute(100.0)
    assert told(account.minute(100.0, forced=Regime.PANIC)) == [
        (1, "cancelled", Decimal("98.0"), "regime_panic")
    ]
    account = Account()
    account.minute(100.0, setups=a_ladder(levels=1))
    assert told(account.minute(100.0, volume=0.0, forced=Regime.PANIC)) == [
        (0, "cancelled", None, "regime_panic")
    ]


def test_a_part_whose_bars_ran_out_in_the_minute_of_a_panic_has_expired_before_it():
    account = Account(entry_bars=1)
    account.minute(100.0, setups=a_ladder(levels=2))
    panic = account.minute(100.0, volume=4.0, forced=Regime.PANIC)
    assert told(panic) == [
        (0, "expired", None, "expired"),
        (1, "cancelled", Decimal("98.0"), "regime_panic"),
    ]


def test_a_slot_that_gets_another_order_in_the_minute_in_which_it_was_freed():
    # Filled, stopped out and decided anew in one minute: five orders are told, three of them new.
    account = Account()
    account.minute(100.0, setups=a_ladder(levels=2))
    again = np.concatenate([a_setup(1, kind=EVENT_RESET), a_ladder(time_ms=2 * MINUTE_MS)])
    assert told(account.minute(100.0, 100.0, 80.0, 90.0, setups=again, version="two")) == [
        (0, "filled", None, None),
        (1, "filled", Decimal("98.0"), None),
        (0, "open", None, None),
        (1, "open", None, None),
        (2, "open", None, None),
    ]
    assert account.versions == {1: "two"}


def test_a_position_and_its_orders_keep_the_version_that_their_setup_was_decided_under():
    account = Account()
    account.minute(100.0, setups=a_ladder(), version="one")
    (order, *_) = order_records(account.minute(100.0, version="two"))
    assert order.version == "one"
    held = account.minute(100.0, 103.0, 100.0, 103.0, version="two")
    (position,) = position_records(held, account.stepper.positions())
    assert (position.version, position.trade.trade_group_id) == ("one", GROUP)
    assert (position.trade.quantity, position.open_quantity) == (Decimal("1.0"), Decimal("1.0"))
    assert (position.mark_price, position.stop_price, position.target_price) == (103.0, 92.0, 105.0)
    assert position.due_ms == (1 + 10_000) * MINUTE_MS
    assert (position.trailing_armed, position.exit_pending) == (False, None)
    closed = account.minute(103.0, 110.0, 103.0, 110.0, version="two")
    assert closed.trade_versions() == ["one"]
    assert closed.versions_after() == {}


def test_an_exit_that_waits_for_volume_is_said_to_be_pending():
    account = Account()
    account.minute(100.0, setups=a_ladder(levels=1))
    account.minute(100.0)
    close = commands([(2 * MINUTE_MS, int(CommandKind.CLOSE), 0, -1, int(ExitReason.MANUAL))])
    asked = account.minute(100.0, volume=0.0, told=close)
    (position,) = position_records(asked, account.stepper.positions())
    assert position.exit_pending is ExitReason.MANUAL


def test_a_setup_that_is_refused_says_the_limit_and_a_taken_one_its_rank():
    account = Account(min_confidence=0.5)
    minute = account.minute(
        100.0, setups=np.concatenate([a_setup(0, kind=EVENT_RESET), a_ladder(confidence=0.4)])
    )
    assert setup_records(minute) == [
        SetupRecord(
            setup_number=0,
            time_ms=MINUTE_MS,
            symbol=account.facts.symbols[0],
            strategy="DCA",
            verdict=Verdict.SKIP,
            reason=Reason.CONFIDENCE_LOW,
            readiness=100.0,
            confidence=0.4,
            rank=None,
            fallback=False,
            measured=0.4,
            limit=0.5,
            version="one",
        )
    ]
    assert order_records(minute) == []
    (taken,) = setup_records(account.minute(100.0, setups=a_setup(1)))
    assert (taken.setup_number, taken.verdict, taken.reason) == (1, Verdict.TAKE, Reason.ACCEPTED)
    assert (taken.rank, taken.measured, taken.limit) == (0, None, None)


def test_a_version_that_nobody_knows_is_an_error():
    account = Account()
    account.minute(100.0, setups=a_ladder())
    account.versions = {}
    with pytest.raises(KeyError):
        account.minute(100.0)
