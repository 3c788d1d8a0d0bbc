"""The ledger: exact decimals that add up, named by their trade."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from crypto_tracker.core.arrays import RecordArray
from crypto_tracker.core.money import to_decimal
from crypto_tracker.core.orders import ExitReason, Fill, FillKind, OrderStatus, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.simulation import ledger
from crypto_tracker.simulation.backtest import Simulator, simulate_portfolio
from crypto_tracker.simulation.records import ORDER_DTYPE, Scenario, SimulationResult
from tests.simulation.generator import generate

WHOLE, STOPPED = range(400, 430), range(430, 460)
CENT_OF_A_CENT = Decimal("0.00000001")


def stopped(seed: int) -> tuple[Scenario, SimulationResult]:
    """A market that is stopped after two thirds of its bars, so that positions are still open."""
    simulator = Simulator(generate(seed))
    simulator.run_until(2 * len(simulator.scenario.panel) // 3)
    return simulator.scenario, simulator.result()


def named(scenario: Scenario, rows: RecordArray) -> list[Trade]:
    return ledger.trades(rows, scenario.panel.symbols, scenario.strategies)


def fills_of(scenario: Scenario, result: SimulationResult) -> list[Fill]:
    trade_rows = [result.trades, result.open_trades]
    return ledger.fills(result.fills, trade_rows, scenario.panel.symbols, scenario.strategies)


@pytest.fixture(scope="module")
def markets() -> list[tuple[Scenario, SimulationResult]]:
    whole = [(scenario, simulate_portfolio(scenario)) for scenario in map(generate, WHOLE)]
    return whole + [stopped(seed) for seed in STOPPED]


def test_a_trade_is_named_by_symbol_strategy_and_decision():
    moment = datetime(2025, 8, 1, 12, 5, tzinfo=UTC)
    assert ledger.trade_group_id(Symbol("BTC", "USD"), "DCA", moment) == "BTC/USD-DCA-20250801T120500Z"
    perpetual = Symbol("SOL", "USDC", "USDC")
    assert ledger.trade_group_id(perpetual, "SWING", moment) == "SOL/USDC:USDC-SWING-20250801T120500Z"


def test_the_markets_hold_enough_to_judge(markets: list[tuple[Scenario, SimulationResult]]):
    assert sum(len(result.trades) for _, result in markets) > 100
    assert sum(len(result.open_trades) for _, result in markets) > 10  # those that the data leaves open
    assert any((result.fills["kind"] == FillKind.RUNG).any() for _, result in markets)


def test_no_two_trades_of_a_run_have_the_same_name(markets: list[tuple[Scenario, SimulationResult]]):
    for scenario, result in markets:
        trades = named(scenario, result.trades) + named(scenario, result.open_trades)
        names = [trade.trade_group_id for trade in trades]
        assert len(set(names)) == len(names)


def test_the_fills_of_a_trade_add_up_to_it(markets: list[tuple[Scenario, SimulationResult]]):
    for scenario, result in markets:
        by_trade = defaultdict(list)
        for fill in fills_of(scenario, result):
            by_trade[fill.trade_group_id].append(fill)
        closed = named(scenario, result.trades)
        still_open = named(scenario, result.open_trades)
        assert by_trade.keys() == {trade.trade_group_id for trade in closed + still_open}
        for trade in closed + still_open:
            fills = by_trade[trade.trade_group_id]
            bought = [fill for fill in fills if fill.kind is not FillKind.EXIT]
            sold = [fill for fill in fills if fill.kind is FillKind.EXIT]
            assert trade.entry_fills == len(bought)
            assert {(fill.symbol, fill.strategy) for fill in fills} == {(trade.symbol, trade.strategy)}
            assert trade.entry_time == bought[0].bar_open_time > trade.decision_time - timedelta(minutes=1)
            assert trade.invested_quote == sum(fill.notional_quote for fill in bought)
            assert trade.fee_quote == sum(fill.fee_quote for fill in fills)
            assert trade.slippage_quote == sum(fill.slippage_quote for fill in fills)
            assert all(fill.exit_reason is ExitReason.NONE for fill in bought)
            if scenario.instruments.lot[scenario.panel.symbols.index(trade.symbol)] > 0:
                assert trade.quantity == sum(fill.quantity for fill in bought)
                if trade.exit_time is not None:
                    assert trade.quantity == sum(fill.quantity for fill in sold)
        for trade in closed:
            fills = by_trade[trade.trade_group_id]
            returned = sum(fill.notional_quote for fill in fills if fill.kind is FillKind.EXIT)
            assert trade.pnl_quote == returned - trade.invested_quote - trade.fee_quote
            assert trade.return_net == pytest.approx(float(trade.pnl_quote / trade.invested_quote), rel=1e-12)
            assert trade.exit_time == [f for f in fills if f.kind is FillKind.EXIT][-1].bar_open_time
            assert trade.exit_price is not None
            assert trade.exit_reason is not ExitReason.NONE


def test_open_trades_have_no_exit(markets: list[tuple[Scenario, SimulationResult]]):
    for scenario, result in markets:
        for trade in named(scenario, result.open_trades):
            assert trade.exit_time is None
            sold = [
                f
                for f in fills_of(scenario, result)
                if f.trade_group_id == trade.trade_group_id and f.kind is FillKind.EXIT
            ]
            assert (trade.exit_price is None) == (not sold)
            assert (trade.exit_reason is ExitReason.NONE) == (not sold)


def test_cash_and_reserve_are_the_capital_less_what_was_paid(
    markets: list[tuple[Scenario, SimulationResult]],
):
    for scenario, result in markets:
        money = Decimal(repr(scenario.rules.capital_quote))
        for fill in fills_of(scenario, result):
            money += fill.notional_quote if fill.kind is FillKind.EXIT else -fill.notional_quote
            money -= fill.fee_quote
        assert money == to_decimal(result.cash_e8[-1]) + to_decimal(result.reserved_e8[-1])


def test_equity_is_the_capital_and_the_gains_of_closed_and_open_trades(
    markets: list[tuple[Scenario, SimulationResult]],
):
    for scenario, result in markets:
        trades = named(scenario, result.trades) + named(scenario, result.open_trades)
        expected = Decimal(repr(scenario.rules.capital_quote)) + sum(trade.pnl_quote for trade in trades)
        assert to_decimal(result.equity_e8[-1]) == expected


def test_an_amount_is_price_times_quantity_rounded_once(markets: list[tuple[Scenario, SimulationResult]]):
    for scenario, result in markets:
        for fill in fills_of(scenario, result):
            exact = fill.price * fill.quantity
            # float64 carries 15 digits of the product, so large amounts may be off by more than the rounding
            allowed = CENT_OF_A_CENT / 2 + abs(exact) * Decimal("1e-15")
            assert abs(fill.notional_quote - exact) <= allowed
            assert -fill.notional_quote.as_tuple().exponent == 8


def test_fills_stand_in_the_order_in_which_they_happened(markets: list[tuple[Scenario, SimulationResult]]):
    for scenario, result in markets:
        fills = fills_of(scenario, result)
        times = [fill.bar_open_time for fill in fills]
        assert times == sorted(times)
        assert times == [from_ms(int(row["time_ms"])) for row in result.fills]
        for fill, row in zip(fills, result.fills, strict=True):
            assert float(fill.price) == row["price"]
            assert float(fill.quantity) == row["quantity"]
            assert fill.rung == row["rung"]
            assert fill.volume_unknown == row["volume_unknown"]


def test_an_order_is_made_when_it_is_asked_for():
    rows = np.zeros(2, dtype=ORDER_DTYPE)
    rows["rung"], rows["limit_price"] = [0, 1], [np.nan, 9.5]
    rows["status"], rows["ended_ms"] = (
        [OrderStatus.FILLED, 99],
        -1,
    )  # 99: no status, so the second can not be made
    orders = ledger.orders(rows, [Symbol("BTC", "USD")], ["DCA"])
    first = next(orders)
    assert (first.order_id, first.kind, first.limit_price, first.status) == (
        "BTC/USD-DCA-19700101T000000Z/0", "market", None, "filled",
    )  # fmt: skip
    with pytest.raises(ValueError, match="99"):
        next(orders)
