"""The null test: what it trades, what its figures mean, and that it catches what it is there for."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.errors import SimulationError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS
from crypto_tracker.market.providers.martingale import Jumps, MartingaleMarket, null_coins
from crypto_tracker.research import null_test
from crypto_tracker.research.executor import InThisProcess
from crypto_tracker.research.null_test import (
    ALONE_DTYPE,
    Ground,
    MarketRun,
    judge,
    mean_interval,
    run_market,
    run_markets,
    settle_ms,
)
from crypto_tracker.simulation.kernel import QUOTE
from crypto_tracker.simulation.outcomes import simulate_setups, trades_of_setups
from crypto_tracker.simulation.records import Outcome
from crypto_tracker.strategies.base import StrategyEntry
from tests.research.peeking import Peeking, PeekingParameters
from tests.research.worlds import MARCH_MS, configuration, entries, martingale
from tests.simulation.generator import generate


def market(number: int, *, days: int, jumps: Jumps = Jumps.TRADED) -> MartingaleMarket:
    return martingale(number, days=days, jumps=jumps)


def assert_same(rows: np.ndarray, others: np.ndarray) -> None:
    """Every field, NaN beside NaN; what lies between fields means nothing."""
    for name in rows.dtype.names:
        assert np.array_equal(rows[name], others[name], equal_nan=rows[name].dtype.kind == "f"), name


def ground(days: int, *, settled: int = 4, jumps: Jumps = Jumps.TRADED) -> Ground:
    return Ground(
        source=partial(market, days=days + settled, jumps=jumps),
        symbols=tuple(coin.symbol for coin in null_coins("USD")),
        reference_symbol=Symbol("BTC", "USD"),
        start_ms=MARCH_MS,
        end_ms=MARCH_MS + days * DAY_MS,
        bars_end_ms=MARCH_MS + (days + settled) * DAY_MS,
    )


def honest(number: int) -> MarketRun:
    tree = configuration()
    return run_market(ground(6), tree, entries(tree), number)


def peeking(number: int) -> MarketRun:
    tree = configuration()
    strategy = StrategyEntry(strategy=Peeking(), parameters=PeekingParameters())
    return run_market(ground(3, settled=1), tree, (strategy,), number)


@pytest.fixture(scope="module")
def runs() -> list[MarketRun]:
    return run_markets(honest, range(8), executor=InThisProcess(), progress=lambda _: None)


# ------------------------------------------------------------------------------------------ what is traded


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_the_trades_behind_the_outcomes_are_those_of_the_outcomes(seed: int):
    scenario = generate(seed)
    outcomes, trades = trades_of_setups(scenario)
    assert_same(outcomes, simulate_setups(scenario))
    assert np.array_equal(trades["setup"], outcomes["setup"])
    for outcome, trade in zip(outcomes, trades, strict=True):
        if np.isnan(outcome["return_net"]):
            assert trade["invested_e8"] == 0
            assert outcome["outcome"] in {Outcome.EXPIRED, Outcome.UNFINISHED}
        else:
            assert trade["pnl_e8"] / trade["invested_e8"] == pytest.approx(outcome["return_net"], abs=1e-12)
            assert trade["entry_ms"] == outcome["entry_ms"]
            assert trade["exit_reason"] == outcome["exit_reason"]


def test_net_is_gross_less_fees_and_slippage_to_the_last_digit(runs: list[MarketRun]):
    for run in runs:
        rows = {
            name: np.rint(run.rows[name] * QUOTE).astype(np.int64)
            for name in ("gross", "net", "fees", "slippage")
        }
        assert np.array_equal(rows["gross"] - rows["fees"] - rows["slippage"], rows["net"])
        assert np.all(run.rows["fees"] > 0.0)
        assert np.all(run.rows["slippage"] > 0.0)  # every trade has a market entry


def test_both_orders_trade_the_same_setups(runs: list[MarketRun]):
    for run in runs:
        rough, kind = (run.rows[run.rows["order"] == place] for place in (0, 1))
        assert len(rough) == len(kind) > 100
        assert np.array_equal(rough["planned"], kind["planned"])
        # A few minutes decide between them; on most trades the two agree to the last digit.
        assert (rough["net"] == kind["net"]).mean() > 0.98


def test_the_planned_amount_is_that_of_all_levels(runs: list[MarketRun]):
    rows = np.concatenate([run.rows for run in runs])
    for index, amount in enumerate((500.0, 200.0, 100.0)):
        assert set(rows["planned"][rows["strategy"] == index]) <= {amount}


def test_markets_that_end_before_their_trades_are_refused():
    tree = configuration()
    with pytest.raises(SimulationError, match=r"market 0 ends before \d+ of its trades"):
        run_market(ground(3, settled=0), tree, entries(tree), 0)


def test_outcomes_that_do_not_add_up_are_found(monkeypatch: pytest.MonkeyPatch):
    def one_cent_more(scenario):
        outcomes, trades = trades_of_setups(scenario)
        row = int(np.flatnonzero(outcomes["outcome"] != Outcome.EXPIRED)[0])
        outcomes["return_gross"][row] += 0.0001
        return outcomes, trades

    monkeypatch.setattr(null_test, "trades_of_setups", one_cent_more)
    with pytest.raises(SimulationError, match="1 outcomes do not add up"):
        honest(0)


def test_the_bars_go_on_for_as_long_as_the_longest_trade():
    tree = configuration()
    assert settle_ms(entries(tree)) == 5 * DAY_MS  # 96 h at least, and a day
    assert settle_ms(entries(configuration("strategies.DCA.exits.max_hold_hours=200"))) == 10 * DAY_MS
    assert settle_ms(()) == 5 * DAY_MS


def test_where_it_runs_changes_nothing(runs: list[MarketRun]):
    told: list[int] = []
    with ThreadPoolExecutor(2) as executor:
        again = run_markets(honest, range(2), executor=executor, progress=told.append)
    assert told == [1, 2]
    assert [run.market for run in again] == [0, 1]
    for one, other in zip(again, runs, strict=False):
        assert_same(one.rows, other.rows)


# ---------------------------------------------------------------------------------------------- the verdict


def test_a_strategy_that_sees_the_next_bar_is_caught():
    runs = run_markets(peeking, range(8), executor=InThisProcess(), progress=lambda _: None)
    (figures,) = judge(runs, ["PEEKING"], seed=1).strategies
    assert figures.leak
    assert figures.pessimistic.low > 0.002
    found = judge(runs, ["PEEKING"], seed=1).findings
    assert len(found) == 1
    assert found[0].startswith("PEEKING makes +")
    assert "it knows the future" in found[0]


def test_the_strategies_of_the_house_are_not(runs: list[MarketRun]):
    result = judge(runs, ["DCA", "SWING", "CHANNEL"], seed=1)
    assert result.findings == []
    dca = result.strategies[0]
    assert dca.judged
    assert dca.pessimistic.low < 0.0 < dca.optimistic.high
    assert dca.pessimistic.net == pytest.approx(dca.pessimistic.gross - dca.pessimistic.costs, abs=1e-12)
    assert dca.pessimistic.net < dca.pessimistic.gross


@pytest.mark.nightly
def test_no_strategy_makes_money_in_two_hundred_markets():
    tree = configuration()
    strategies = entries(tree)
    runs = [run_market(ground(60), tree, strategies, number) for number in range(200)]
    result = judge(runs, [entry.strategy.name for entry in strategies], seed=1)
    assert result.findings == []
    assert result.unjudged == []
    for each in result.strategies:
        assert each.pessimistic.low < 0.0 < each.optimistic.high
        assert each.pessimistic.net + 0.005 < each.pessimistic.gross


def made(market: int, *gross: float, order: int = 0, strategy: int = 0) -> MarketRun:
    rows = np.zeros(len(gross), dtype=ALONE_DTYPE)
    rows["market"], rows["order"], rows["strategy"] = market, order, strategy
    rows["planned"], rows["gross"], rows["net"] = 100.0, gross, np.array(gross) - 1.0
    rows["fees"], rows["slippage"] = 0.6, 0.4
    return MarketRun(market=market, rows=rows, expired=1)


def both(market: int, *gross: float) -> list[MarketRun]:
    return [made(market, *gross), made(market, *gross, order=1)]


def test_figures_are_means_of_the_planned_amount():
    runs = [run for number in range(10) for run in both(number, 1.0 + number, -2.0 - number)]
    (figures,) = judge(runs, ["ONE"], seed=1).strategies
    assert figures.markets == 10
    assert figures.pessimistic.trades == 20
    assert figures.pessimistic.gross == pytest.approx(-0.005)
    assert figures.pessimistic.costs == pytest.approx(0.01)
    assert figures.pessimistic.net == pytest.approx(-0.015)


def test_a_steady_gain_is_a_leak_and_a_steady_loss_is_too_poor():
    gain = judge([run for number in range(10) for run in both(number, 1.0 + number / 10)], ["ONE"], seed=1)
    assert [each.leak for each in gain.strategies] == [True]
    loss = judge([run for number in range(10) for run in both(number, -1.0 - number / 10)], ["ONE"], seed=1)
    assert [each.leak for each in loss.strategies] == [False]
    assert [each.too_poor for each in loss.strategies] == [True]
    assert "kindest order" in loss.findings[0]


def test_gains_in_a_few_markets_are_no_verdict():
    few = judge([run for number in range(7) for run in both(number, 5.0, 6.0)], ["ONE"], seed=1)
    assert few.unjudged == ["ONE"]
    assert few.findings == []


def test_every_interval_is_wide_enough_for_all_to_hold_together():
    runs = both(0, 1.0)
    assert judge(runs, ["ONE"], seed=1).confidence == pytest.approx(0.975)
    assert judge(runs, ["ONE", "TWO", "THREE"], seed=1).confidence == pytest.approx(1 - 0.05 / 6)
    assert judge(runs, ["ONE", "TWO"], seed=1).strategies[1].pessimistic is None


def test_no_markets_prove_nothing():
    with pytest.raises(UsageError, match="at least one market"):
        judge([], ["ONE"], seed=1)


def test_the_interval_holds_what_it_promises_for_a_few_markets_that_hang_together():
    random = np.random.default_rng(1)
    inside = 0
    for _ in range(300):
        counts = random.integers(1, 30, size=10)
        markets = np.repeat(np.arange(10), counts)
        values = np.repeat(random.normal(0.0, 1.0, 10), counts) + random.normal(0.0, 0.3, counts.sum())
        low, high = mean_interval(values, markets, seed=1, confidence=0.95)
        assert low <= values.mean() <= high
        inside += low <= 0.0 <= high
    assert inside >= 0.92 * 300
