"""The compiled simulator and the slow one give the same records, to the last digit, on generated markets."""

from collections import Counter, namedtuple
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from crypto_tracker.core.decisions import Reason, Regime
from crypto_tracker.core.errors import SimulationError
from crypto_tracker.core.orders import ExitReason, FillKind
from crypto_tracker.simulation.backtest import simulate_portfolio
from crypto_tracker.simulation.books import NOT_RECORDED
from crypto_tracker.simulation.outcomes import simulate_setups
from crypto_tracker.simulation.records import (
    FILL_DTYPE,
    CommandKind,
    Outcome,
    Scenario,
    SimulationResult,
)
from crypto_tracker.strategies.base import EVENT_SETUP
from tests.reference import setups as reference_setups
from tests.reference import simulator as reference
from tests.simulation.comparison import differences, first_difference
from tests.simulation.generator import generate

MARKETS = 320
SETUP_MARKETS = 120
NIGHTLY_MARKETS = 20_000
CHUNK = 40
NIGHTLY_CHUNK = 500


Fill = namedtuple("Fill", FILL_DTYPE.names or ())  # a record as plain numbers  # noqa: PYI024


@cache
def slow_records(seed: int) -> tuple[Scenario, SimulationResult]:
    """A generated market and what the slow simulator says of it; kept, because two tests ask."""
    scenario = generate(seed)
    return scenario, reference.simulate(scenario)


def assert_portfolios_agree(seeds: Iterable[int]) -> None:
    for seed in seeds:
        scenario, expected = slow_records(seed)
        found = differences(simulate_portfolio(scenario), expected)
        assert not found, f"seed {seed}: the simulators disagree\n" + "\n".join(found)


def assert_setups_agree(seeds: Iterable[int]) -> None:
    for seed in seeds:
        scenario = generate(seed)
        found = first_difference(
            "outcomes", simulate_setups(scenario), reference_setups.simulate_setups(scenario)
        )
        assert found is None, f"seed {seed}: the simulators disagree\n{found}"


@pytest.mark.parametrize("first", range(0, MARKETS, CHUNK))
def test_compiled_and_slow_portfolios_agree_in_every_record(first: int) -> None:
    assert_portfolios_agree(range(first, first + CHUNK))


@pytest.mark.parametrize("first", range(0, SETUP_MARKETS, CHUNK))
def test_compiled_and_slow_setups_agree_in_every_outcome(first: int) -> None:
    assert_setups_agree(range(first, first + CHUNK))


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(0, NIGHTLY_MARKETS, NIGHTLY_CHUNK))
def test_tens_of_thousands_of_portfolios_agree(first: int) -> None:
    assert_portfolios_agree(range(MARKETS + first, MARKETS + first + NIGHTLY_CHUNK))
    slow_records.cache_clear()


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(0, NIGHTLY_MARKETS, NIGHTLY_CHUNK))
def test_tens_of_thousands_of_setup_runs_agree(first: int) -> None:
    assert_setups_agree(range(MARKETS + first, MARKETS + first + NIGHTLY_CHUNK))


def walked_again(scenario: Scenario, before: Fill, after: Fill) -> bool:
    """Whether the book of a fill was still the newest at the next open, and so gave nothing there."""
    if scenario.books is None or before.book_ms < 0 or after.bar <= before.bar + 1:
        return False
    books, column = scenario.books, before.symbol
    times = books.snapshots["time_ms"][books.first[column] : books.first[column + 1]]
    next_open = before.time_ms + scenario.panel.timeframe.ms
    newest = times[times <= next_open][-1]
    fresh = next_open - newest <= scenario.rules.fills.book_max_age_seconds * 1000
    return bool(newest == before.book_ms and fresh)


def rare_meetings(scenario: Scenario, result: SimulationResult) -> Counter[str]:
    """Rare meetings of rules, counted from the fills and bars of one market."""
    seen: Counter[str] = Counter()
    opens, lows = scenario.panel.open.tolist(), scenario.panel.low.tolist()
    of_bar: dict[tuple[int, int], list[Fill]] = {}
    of_trade: dict[int, list[Fill]] = {}
    for record in result.fills.tolist():
        fill = Fill(*record)
        of_bar.setdefault((fill.bar, fill.symbol), []).append(fill)
        of_trade.setdefault(fill.trade, []).append(fill)
        seen["volume unknown"] += fill.volume_unknown
        seen["market fill without a recorded book"] += fill.book_ms == NOT_RECORDED
        if fill.book_ms >= 0:
            within = fill.book_ms > fill.time_ms
            seen[f"{FillKind(fill.kind).code} by a book{' within the bar' if within else ''}"] += 1
        seen["rung at the open that placed it"] += (
            fill.kind == FillKind.RUNG and fill.price == opens[fill.bar][fill.symbol]
        )
    for fills in of_bar.values():
        rungs = [fill for fill in fills if fill.kind == FillKind.RUNG]
        out = fills[-1].kind == FillKind.EXIT
        seen["several rungs in a bar"] += len(rungs) >= 2
        seen["several rungs and the stop in a bar"] += len(rungs) >= 2 and out
        seen["in and out in a bar"] += fills[0].kind == FillKind.ENTRY and out
    for fills in of_trade.values():
        exits = [fill for fill in fills if fill.kind == FillKind.EXIT]
        parts = Counter(fill.rung for fill in fills if fill.kind != FillKind.EXIT)
        seen["entry over several bars"] += parts[0] > 1
        seen["rung over several bars"] += any(count > 1 for rung, count in parts.items() if rung)
        seen["exit over several bars"] += len(exits) > 1
        books = Counter(fill.kind for fill in fills if fill.book_ms >= 0)
        seen["entry by books over several bars"] += books[FillKind.ENTRY] > 1
        seen["exit by books over several bars"] += books[FillKind.EXIT] > 1
        seen["nothing left of a book at the open"] += any(
            walked_again(scenario, before, after) for before, after in pairwise(exits)
        )
        seen["rest of a target sold otherwise"] += bool(exits) and (
            exits[0].exit_reason == ExitReason.TAKE_PROFIT and exits[-1].price != exits[0].price
        )
    for trade in result.trades:
        bar = (int(trade["exit_ms"]) - int(scenario.panel.open_time_ms[0])) // scenario.panel.timeframe.ms
        stopped = trade["exit_reason"] == ExitReason.STOP_LOSS and trade["exit_fills"] == 1
        seen["stop met exactly"] += bool(stopped) and lows[bar][trade["symbol"]] == trade["stop_price"]
    seen["fallback"] += int(result.decisions["fallback"].sum())
    return seen


def test_every_rule_really_happens_in_the_generated_markets() -> None:
    seen: Counter[str] = Counter()
    for seed in range(MARKETS):
        scenario, result = slow_records(seed)
        seen.update(rare_meetings(scenario, result))
        asked = result.decisions[scenario.setups["kind"] == EVENT_SETUP]
        seen.update(f"reason {Reason(int(code)).code}" for code in asked["reason"])
        seen.update(f"end {Reason(int(code)).code}" for code in asked["end"])
        seen.update(f"fill {FillKind(int(code)).code}" for code in result.fills["kind"])
        seen.update(f"exit {ExitReason(int(code)).code}" for code in result.trades["exit_reason"])
        for trade in result.trades[result.trades["ambiguous"]]:
            seen[f"ambiguous {ExitReason(int(trade['exit_reason'])).code}"] += 1
        seen.update(f"regime {Regime(int(code)).name.lower()}" for code in result.regime)
        seen["open at the end"] += len(result.open_trades)
        if not (scenario.commands["kind"] == CommandKind.CLOSE).any():
            seen["turned against"] += int(
                (result.trades["exit_reason"] == ExitReason.MARKET_TRANSITION).sum()
            )

    often = {
        **{f"exit {reason.code}": 5 for reason in ExitReason if reason is not ExitReason.NONE},
        **{f"reason {reason.code}": 50 for reason in Reason if 60 <= reason < 90 or reason == 0},
        "reason data_stale": 50,
        "reason data_doubtful": 50,
        "reason not_in_universe": 50,
        "reason no_cash": 5,  # shares that sum to 1 bind before the cash does, until positions have grown
        **{
            f"end {reason.code}": 3
            for reason in (Reason.EXPIRED, Reason.SLIPPAGE_TOO_HIGH, Reason.REGIME_PANIC, Reason.CANCELLED)
        },
        **{f"fill {kind.code}": 300 for kind in FillKind},
        **{f"regime {regime.name.lower()}": 500 for regime in Regime},
        **{f"ambiguous {name}": 10 for name in ("stop_loss", "trailing_stop", "take_profit", "time_exit")},
        "several rungs in a bar": 50,
        "several rungs and the stop in a bar": 10,
        "rest of a target sold otherwise": 3,
        "rung at the open that placed it": 20,
        "in and out in a bar": 50,
        "entry over several bars": 50,
        "rung over several bars": 20,
        "exit over several bars": 30,
        "stop met exactly": 10,
        "volume unknown": 20,
        "market fill without a recorded book": 50,
        "entry by a book": 100,
        "exit by a book": 50,
        "exit by a book within the bar": 30,
        "entry by books over several bars": 10,
        "exit by books over several bars": 10,
        "nothing left of a book at the open": 3,
        "fallback": 50,
        "open at the end": 20,
        "turned against": 20,
    }
    too_rare = {name: seen[name] for name, least in often.items() if seen[name] < least}
    assert not too_rare, f"the generated markets show too little of {too_rare}"


def test_every_outcome_really_happens_in_the_generated_setups() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SETUP_MARKETS):
        outcomes = reference_setups.simulate_setups(generate(seed))
        seen.update(Outcome(int(code)).name for code in outcomes["outcome"])
        seen.update(ExitReason(int(code)).name for code in outcomes["exit_reason"])
        seen["ambiguous"] += int(outcomes["ambiguous"].sum())
    expected = [outcome.name for outcome in Outcome]
    expected += ["TAKE_PROFIT", "STOP_LOSS", "TRAILING_STOP", "TIME_EXIT", "DATA_LOST", "ambiguous"]
    assert not {name: seen[name] for name in expected if seen[name] < 20}


def test_a_quantity_that_float64_can_not_count_stops_both_with_the_name_of_the_instrument() -> None:
    scenario = next(
        candidate
        for candidate in map(generate, range(100))
        if len(reference.simulate(candidate).fills) and candidate.instruments.lot[0] > 0
    )
    facts = scenario.instruments
    fine = replace(scenario, instruments=replace(facts, lot=np.full_like(facts.lot, 1e-30)))
    # Also a symbol whose own lot was too coarse to buy any.
    accepted = reference.simulate(scenario).decisions["reason"] == Reason.ACCEPTED
    ordered = scenario.setups[accepted & (scenario.setups["kind"] == EVENT_SETUP)]
    names = [str(scenario.panel.symbols[setup["symbol"]]) for setup in ordered]
    for simulate in (simulate_portfolio, reference.simulate):
        with pytest.raises(SimulationError) as raised:
            simulate(fine)
        assert any(name in str(raised.value) for name in names)
