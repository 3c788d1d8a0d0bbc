"""What must hold in every market, whatever happens in it: the compiled simulator against its own records."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason, Regime
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.orders import ExitReason, FillKind
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.portfolio.parameters import SizingMode
from crypto_tracker.simulation.backtest import Simulator, simulate_portfolio
from crypto_tracker.simulation.records import Scenario, SimulationResult
from crypto_tracker.strategies.base import EVENT_SETUP
from tests.simulation.comparison import RECORDS, differences, first_difference
from tests.simulation.generator import generate, walking

E8 = 100_000_000
seeds = st.integers(min_value=0, max_value=10**9)
# A market costs more than hypothesis expects of an example: the normal profile takes fewer, the nightly its own.
EXAMPLES = 40 if settings().max_examples <= 100 else settings().max_examples


def scenario_of(seed: int, **changed: Any) -> Scenario:
    return replace(generate(seed), **changed)


def ends_in(scenario: Scenario, rows: int) -> Scenario:
    """The same market as it was known after its first `rows` bars."""
    reference = scenario.reference
    if reference is not None:
        reference = reference.rows(0, len(reference) - len(scenario.panel) + rows)
    panel = scenario.panel.rows(0, rows)
    end_ms = int(panel.close_time_ms[-1])
    return replace(
        scenario,
        panel=panel,
        reference=reference,
        setups=scenario.setups[scenario.setups["time_ms"] <= end_ms],
        commands=scenario.commands[scenario.commands["time_ms"] < end_ms],
        close_at_end=False,
        slow_regime=None if scenario.slow_regime is None else scenario.slow_regime[:rows],
        books=None if scenario.books is None else scenario.books.between(0, end_ms),
    )


def last_closes(panel: Panel) -> np.ndarray:
    """Last known close of every symbol at every CLOSE, NaN before its first."""
    known = panel.close.copy()
    for row in range(1, len(known)):
        known[row] = np.where(np.isnan(known[row]), known[row - 1], known[row])
    return known


def coins_of(lots_held: float, lot: float) -> float:
    """Coins of an exact number of lots."""
    if lot == 0.0:
        return lots_held
    per_unit = 1.0 / lot
    whole = lot < 1.0 and abs(per_unit - round(per_unit)) <= 1e-9 * per_unit
    return lots_held / round(per_unit) if whole else lots_held * lot


@given(seed=seeds)
@settings(max_examples=EXAMPLES)
def test_cash_and_equity_recomputed_from_the_fills_equal_the_state_at_every_bar(seed: int) -> None:
    scenario = scenario_of(seed, close_at_end=False)
    result = simulate_portfolio(scenario)
    instruments = scenario.instruments
    money = round(scenario.rules.capital_quote * E8)
    held = [0.0] * len(instruments.symbols)  # in lots
    known = last_closes(scenario.panel)
    next_fill = 0
    for row in range(len(scenario.panel)):
        while next_fill < len(result.fills) and result.fills[next_fill]["bar"] == row:
            fill = result.fills[next_fill]
            next_fill += 1
            sign = -1 if fill["kind"] == FillKind.EXIT else 1
            money += -sign * int(fill["notional_e8"]) - int(fill["fee_e8"])
            column = int(fill["symbol"])
            lot = float(instruments.lot[column])
            lots = float(fill["quantity"]) if lot == 0.0 else float(round(float(fill["quantity"]) / lot))
            held[column] += sign * lots
            assert held[column] >= 0.0
        marks = sum(
            round(coins_of(lots, float(instruments.lot[column])) * float(known[row, column]) * 1e8)
            for column, lots in enumerate(held)
            if lots
        )
        assert money == result.cash_e8[row] + result.reserved_e8[row]
        assert money + marks == result.equity_e8[row]
        assert result.reserved_e8[row] >= 0
    assert next_fill == len(result.fills)


@given(seed=seeds)
@settings(max_examples=EXAMPLES)
def test_every_trade_is_the_sum_of_its_fills(seed: int) -> None:
    result = simulate_portfolio(scenario_of(seed))
    for trade in np.concatenate([result.trades, result.open_trades]):
        fills = result.fills[result.fills["trade"] == trade["trade"]]
        exits = fills["kind"] == FillKind.EXIT
        invested, returned = fills["notional_e8"][~exits].sum(), fills["notional_e8"][exits].sum()
        assert (invested, returned) == (trade["invested_e8"], trade["returned_e8"])
        assert fills["fee_e8"].sum() == trade["fee_e8"]
        assert fills["slippage_e8"].sum() == trade["slippage_e8"]
        assert (np.sum(~exits), np.sum(exits)) == (trade["entry_fills"], trade["exit_fills"])
        assert set(fills["symbol"]) == {trade["symbol"]}
        assert set(fills["exit_reason"][exits]) <= {trade["exit_reason"]}
        assert set(fills["exit_reason"][~exits]) <= {ExitReason.NONE}
    closed = result.trades
    assert np.array_equal(closed["pnl_e8"], closed["returned_e8"] - closed["invested_e8"] - closed["fee_e8"])
    assert not np.any(closed["open_quantity"])
    known = np.concatenate([closed, result.open_trades])["trade"]
    assert sorted(known.tolist()) == list(range(len(known)))


@given(seed=seeds)
@settings(max_examples=EXAMPLES)
def test_no_fill_is_better_than_its_bar_and_none_but_a_jumped_limit_is_worse_costs_apart(seed: int) -> None:
    scenario = scenario_of(seed, close_at_end=False)
    panel, instruments = scenario.panel, scenario.instruments
    known = last_closes(panel)
    lost_ms = scenario.rules.fills.data_lost_hours * HOUR_MS
    for fill in simulate_portfolio(scenario).fills:
        row, column = int(fill["bar"]), int(fill["symbol"])
        low, high = panel.low[row, column], panel.high[row, column]
        slippage, tick = instruments.slippage[column], instruments.tick[column]
        if np.isnan(low):  # only lost data is sold without a bar, at the last close
            present = np.flatnonzero(panel.present[: row + 1, column])
            assert (row - present[-1]) * panel.timeframe.ms >= lost_ms
            low = high = known[row, column]
        least = low * (1 - slippage) - tick - 1e-9 * low
        most = high * (1 + slippage) + tick + 1e-9 * high
        # A limit fills at its own price (R4), also where the open has jumped over it: worse than the market.
        jumped_rung = fill["kind"] == FillKind.RUNG
        jumped_target = fill["exit_reason"] == ExitReason.TAKE_PROFIT
        walked = fill["book_ms"] >= 0  # a thin book is worse than any table
        assert fill["price"] >= least or jumped_target or (walked and fill["kind"] == FillKind.EXIT)
        assert fill["price"] <= most or jumped_rung or (walked and fill["kind"] == FillKind.ENTRY)
        if walked:
            gain = float(fill["price"] / panel.open[row, column] - 1.0)
            assert (gain if fill["kind"] == FillKind.EXIT else -gain) <= 1e-12


@given(seed=seeds)
@settings(max_examples=EXAMPLES)
def test_no_recorded_book_gives_more_than_it_shows(seed: int) -> None:
    scenario = walking(generate(seed), seed)
    assert scenario.books is not None
    shown: dict[tuple[int, int, int], float] = {}
    for column, (first, last) in enumerate(pairwise(scenario.books.first)):
        for shot in scenario.books.snapshots[first:last]:
            sizes = scenario.books.levels["size"]
            sides = {FillKind.ENTRY: sizes[shot["asks"] : shot["end"]]}
            sides[FillKind.EXIT] = sizes[shot["bids"] : shot["asks"]]
            for kind, side in sides.items():
                shown[column, int(shot["time_ms"]), int(kind)] = float(side.sum())
    taken: dict[tuple[int, int, int], float] = {}
    for fill in simulate_portfolio(scenario).fills:
        if fill["book_ms"] >= 0:
            key = (int(fill["symbol"]), int(fill["book_ms"]), int(fill["kind"]))
            taken[key] = taken.get(key, 0.0) + float(fill["quantity"])
    for key, coins in taken.items():
        assert coins <= shown[key] * (1 + 1e-9) + 1e-6 * scenario.instruments.lot[key[0]]


@given(seed=seeds)
@settings(max_examples=EXAMPLES)
def test_fills_of_a_bar_stay_within_its_share_of_the_volume_or_are_flagged(seed: int) -> None:
    scenario = scenario_of(seed, close_at_end=False)
    facts = replace(scenario.instruments, min_notional=np.zeros(len(scenario.instruments.symbols)))
    result = simulate_portfolio(replace(scenario, instruments=facts))
    rules = scenario.rules.fills
    used: dict[tuple[int, int, bool], float] = {}
    for fill in result.fills:
        row, column = int(fill["bar"]), int(fill["symbol"])
        if not scenario.panel.present[row, column]:
            assert not fill["volume_unknown"]
            continue
        assert fill["volume_unknown"] == np.isnan(scenario.panel.volume[row, column])
        out = bool(fill["kind"] == FillKind.EXIT)
        used[row, column, out] = used.get((row, column, out), 0.0) + float(fill["quantity"])
    for (row, column, out), coins in used.items():
        share = rules.exit_participation if out else rules.entry_participation
        volume = scenario.panel.volume[row, column]
        assert np.isnan(volume) or coins <= share * volume * (1 + 1e-9) + 1e-6 * facts.lot[column]


def of_one_strategy(scenario: Scenario) -> Scenario:
    """Only the setups of the first strategy, and no size factor but that of the regime."""
    rules = scenario.rules
    volatility = rules.protection.volatility.model_copy(update={"sizes": {}})
    protection = rules.protection.model_copy(update={"volatility": volatility})
    return replace(
        scenario,
        rules=rules.model_copy(update={"protection": protection}),
        setups=scenario.setups[scenario.setups["strategy"] == 0],
        close_at_end=False,
    )


def admissions(scenario: Scenario, result: SimulationResult) -> dict[int, list[int]]:
    """Accepted setups by the row at whose CLOSE they were admitted."""
    asked = scenario.setups["kind"] == EVENT_SETUP
    accepted: dict[int, list[int]] = {}
    for setup in np.flatnonzero(asked & (result.decisions["reason"] == Reason.ACCEPTED)).tolist():
        since = int(scenario.setups[setup]["time_ms"]) - int(scenario.panel.open_time_ms[0])
        accepted.setdefault(since // scenario.panel.timeframe.ms - 1, []).append(setup)
    return accepted


@given(seed=seeds)
@settings(max_examples=EXAMPLES)
def test_no_limit_is_exceeded_at_admission(seed: int) -> None:
    scenario = of_one_strategy(generate(seed))
    result = simulate_portfolio(scenario)
    limits, sizing, instruments = scenario.rules.limits, scenario.rules.sizing, scenario.instruments
    factors = scenario.rules.protection.fast_regime.size_factors
    share = limits.shares.get(scenario.strategies[0], 0.0) * (1.0 - limits.reserve)
    for row, accepted in list(admissions(scenario, result).items())[:12]:
        equity, cash, reserved = (
            int(series[row]) for series in (result.equity_e8, result.cash_e8, result.reserved_e8)
        )
        assert cash >= limits.reserve * equity
        assert equity - cash <= min(share, limits.max_strategy_exposure) * equity  # marks and reserves
        factor = getattr(factors, Regime(int(result.regime[row])).name.lower())
        stepped = Simulator(scenario)
        stepped.run_until(row + 1)
        ordered_now = stepped.state
        for setup in scenario.setups[accepted]:
            column = int(setup["symbol"])
            quote = int(ordered_now.slots["quote"][column])
            if sizing.mode is SizingMode.FIXED:
                assert quote == round(float(setup["size_quote"]) * factor * 1e8)
            elif sizing.mode is SizingMode.FIXED_FRACTION:
                assert quote == round(equity * sizing.fraction * factor / int(setup["levels"]))
            else:
                assert quote <= equity * sizing.fraction_max / int(setup["levels"]) + 1
            fee = max(instruments.taker_fee[column], instruments.maker_fee[column])
            committed = int(setup["levels"]) * (quote + round(quote * float(fee)))
            assert committed <= limits.max_symbol_exposure * equity
            assert committed <= reserved
            assert quote >= instruments.min_notional[column] * 1e8

        known = simulate_portfolio(ends_in(scenario, row + 1))
        ordered = (known.decisions["reason"] == Reason.ACCEPTED) & (
            ends_in(scenario, row + 1).setups["kind"] == EVENT_SETUP
        )
        over = np.sum(ordered & (known.decisions["end"] != Reason.ACCEPTED)) + len(known.trades)
        held = int(np.sum(ordered) - over)
        assert held <= min(limits.max_open, limits.max_open_per_strategy)
        symbols = known.open_trades["symbol"].tolist()
        assert len(symbols) == len(set(symbols)) <= held


@given(seed=seeds)
@settings(max_examples=EXAMPLES)
def test_identical_input_gives_identical_records(seed: int) -> None:
    first, second = (simulate_portfolio(generate(seed)) for _ in range(2))
    for name in RECORDS:
        left, right = getattr(first, name), getattr(second, name)
        for field in left.dtype.names or (...,):
            assert left[field].tobytes() == right[field].tobytes(), f"{name} {field}"


@given(seed=seeds, power=st.integers(min_value=-12, max_value=12))
@settings(max_examples=EXAMPLES)
def test_prices_scaled_by_a_power_of_two_leave_all_money_unchanged(seed: int, power: int) -> None:
    scenario = generate(seed)
    count = len(scenario.instruments.symbols)
    no_grid = replace(scenario.instruments, tick=np.zeros(count), lot=np.zeros(count))
    factor = 2.0**power
    plain = replace(scenario, instruments=no_grid)
    setups = scenario.setups.copy()
    setups["decision_close"] *= factor
    panel = scenario.panel
    prices = {name: getattr(panel, name) * factor for name in ("open", "high", "low", "close")}
    books = scenario.books
    if books is not None:
        levels = books.levels.copy()
        levels["price"] *= factor
        levels["size"] /= factor
        books = replace(books, levels=levels)
    panel = replace(panel, **prices, volume=panel.volume / factor)
    scaled = replace(plain, setups=setups, panel=panel, books=books)
    before, after = simulate_portfolio(plain), simulate_portfolio(scaled)
    for name in ("equity_e8", "cash_e8", "reserved_e8", "regime"):
        assert first_difference(name, getattr(after, name), getattr(before, name)) is None
    for name in ("notional_e8", "fee_e8", "slippage_e8", "bar", "kind", "exit_reason"):
        assert np.array_equal(before.fills[name], after.fills[name])
    assert np.array_equal(before.fills["price"] * factor, after.fills["price"])
    assert np.array_equal(before.trades["pnl_e8"], after.trades["pnl_e8"])


@given(seed=seeds, cut=st.floats(min_value=0.0, max_value=1.0))
@settings(max_examples=EXAMPLES)
def test_stopping_in_the_middle_and_going_on_equals_one_run(seed: int, cut: float) -> None:
    scenario = scenario_of(seed, close_at_end=False)
    rows = len(scenario.panel)
    stepped = Simulator(scenario)
    stepped.run_until(int(cut * rows))
    stepped.run_until(rows)
    assert not differences(stepped.result(), simulate_portfolio(scenario))


@given(seed=seeds, cut=st.floats(min_value=0.05, max_value=1.0))
@settings(max_examples=EXAMPLES)
def test_later_bars_never_change_earlier_records(seed: int, cut: float) -> None:
    scenario = scenario_of(seed, close_at_end=False)
    rows = max(1, int(cut * len(scenario.panel)))
    whole = simulate_portfolio(scenario)
    prefix = simulate_portfolio(ends_in(scenario, rows))
    for name in ("equity_e8", "cash_e8", "reserved_e8", "regime"):
        assert np.array_equal(getattr(prefix, name), getattr(whole, name)[:rows])
    assert first_difference("fills", prefix.fills, whole.fills[whole.fills["bar"] < rows]) is None
    assert first_difference("trades", prefix.trades, whole.trades[: len(prefix.trades)]) is None
    reasons = whole.decisions["reason"][: len(prefix.decisions)]
    assert np.array_equal(prefix.decisions["reason"], reasons)
    # Stepping the whole market to the same bar sees nothing of what follows either.
    stepped = Simulator(scenario)
    stepped.run_until(rows)
    assert first_difference("fills", stepped.result().fills, prefix.fills) is None
    assert first_difference("open", stepped.positions(), prefix.open_trades) is None


def with_a_bystander(scenario: Scenario, rng: np.random.Generator) -> Scenario:
    """The same market beside a symbol that no setup touches, in a column of its own at the end.

    It has bars only where the others have some, for the clock of lost data is the newest bar of any symbol.
    """
    panel = scenario.panel
    exists = panel.present.any(axis=1)
    price = np.where(exists, 50.0 * np.exp(np.cumsum(rng.normal(0, 0.01, len(panel)))), np.nan)

    def widened(values: np.ndarray, column: np.ndarray) -> np.ndarray:
        return np.column_stack([values, column])

    bystander = Symbol("IDLE", "USD")
    facts = scenario.instruments
    books = scenario.books
    return replace(
        scenario,
        books=None if books is None else replace(books, first=np.append(books.first, books.first[-1])),
        panel=replace(
            panel,
            symbols=(*panel.symbols, bystander),
            volume=widened(panel.volume, np.where(exists, 1.0, np.nan)),
            covered=widened(panel.covered, exists),
            **{name: widened(getattr(panel, name), price) for name in ("open", "high", "low", "close")},
        ),
        instruments=Instruments(
            symbols=(*facts.symbols, bystander),
            **{
                name: np.append(getattr(facts, name), getattr(facts, name)[:1])
                for name in (
                    "tier",
                    "tick",
                    "lot",
                    "min_notional",
                    "taker_fee",
                    "maker_fee",
                    "slippage",
                )
            },
        ),
    )


@given(seed=seeds)
@settings(max_examples=EXAMPLES)
def test_a_symbol_that_no_setup_touches_changes_nothing(seed: int) -> None:
    scenario = generate(seed)
    beside = with_a_bystander(scenario, np.random.default_rng(seed))
    assert not differences(simulate_portfolio(beside), simulate_portfolio(scenario))


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(0, 4_000, 500))
def test_the_accounts_close_in_thousands_of_markets(first: int) -> None:
    check = test_cash_and_equity_recomputed_from_the_fills_equal_the_state_at_every_bar
    for seed in range(first, first + 500):
        check.hypothesis.inner_test(seed)  # the body of the property, without its search


def with_correlations(seed: int, *, limit: bool, highest: float) -> Scenario:
    scenario = generate(seed)
    changed = {"correlation_limit": limit, "max_correlation": highest, "correlation_hours_min": 2}
    limits = scenario.rules.limits.model_copy(update=changed)
    return replace(scenario, rules=scenario.rules.model_copy(update={"limits": limits}))


@given(seed=seeds)
@settings(max_examples=EXAMPLES)
def test_a_correlation_of_at_most_1_refuses_nothing(seed: int):
    found = differences(
        simulate_portfolio(with_correlations(seed, limit=True, highest=1.0)),
        simulate_portfolio(with_correlations(seed, limit=False, highest=1.0)),
    )
    assert found == []


@given(seed=seeds, highest=st.floats(-1.0, 1.0))
@settings(max_examples=EXAMPLES)
def test_what_is_refused_for_its_correlation_says_how_far_it_is_above_the_limit(seed: int, highest: float):
    decisions = simulate_portfolio(with_correlations(seed, limit=True, highest=highest)).decisions
    refused = decisions[decisions["reason"] == Reason.CORRELATION]
    assert (refused["limit"] == highest).all()
    assert ((refused["measured"] > highest) & (refused["measured"] <= 1.0)).all()
    assert (refused["rank"] >= 0).all()
