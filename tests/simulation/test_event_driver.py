"""The event driver comes to what the dense one comes to: every record, and the state to the last byte."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import SimulationError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.research.variations import simulate_variations
from crypto_tracker.simulation.backtest import Simulator, simulate_portfolio
from crypto_tracker.simulation.driver import CHUNK, BarIndex
from crypto_tracker.simulation.records import Scenario, no_commands
from crypto_tracker.strategies.base import EVENT_RESET, EVENT_SETUP, SETUP_DTYPE
from tests.simulation.comparison import differences, first_difference
from tests.simulation.generator import generate
from tests.simulation.rules import instruments, spec_rules

MARKETS = 320
NIGHTLY_MARKETS = 20_000
NIGHTLY_PART = 500
CHUNKS = (1, 2, 3, 7, 16, 64, 100, CHUNK)  # short ones end between all that can happen
EXAMPLES = 40 if settings().max_examples <= 100 else settings().max_examples
seeds = st.integers(min_value=0, max_value=10**9)


def at_cuts(simulator: Simulator, cuts: list[int]) -> list[bytes]:
    """The state wherever the run is cut."""
    states = []
    for cut in cuts:
        simulator.run_until(cut)
        states.append(simulator.state.to_bytes())
    return states


def disagreements(event: Simulator, dense: Simulator, cuts: list[int]) -> list[str]:
    """Where two runs of one scenario, cut at the same rows, do not come to the same."""
    states = zip(cuts, at_cuts(event, cuts), at_cuts(dense, cuts), strict=True)
    wrong = [f"the state at row {cut} is another one" for cut, left, right in states if left != right]
    found, expected = event.result(), dense.result()
    wrong += differences(found, expected)
    for name in ("measured", "limit"):  # which the comparison with the reference leaves out
        difference = first_difference(name, found.decisions[name], expected.decisions[name])
        wrong += [] if difference is None else [difference]
    return wrong


def assert_drivers_agree(seeds_of_markets: Iterable[int]) -> None:
    """Each market with cuts, a chunk and a use of extremes that are drawn for it."""
    for seed in seeds_of_markets:
        scenario = generate(seed)
        random = np.random.default_rng(seed + 10**9)
        rows = len(scenario.panel)
        cuts = [*sorted(random.integers(0, rows + 1, int(random.integers(0, 4))).tolist()), rows]
        chunk = int(random.choice(CHUNKS))
        index = BarIndex.of(scenario.panel, extremes=bool(random.random() < 0.5))
        event = Simulator(scenario, index=index, chunk=chunk)
        found = disagreements(event, Simulator(scenario, dense=True), cuts)
        assert not found, f"seed {seed}, chunk {chunk}, cuts {cuts}\n" + "\n".join(found)


@pytest.mark.parametrize("first", range(0, MARKETS, 40))
def test_both_drivers_agree_in_every_record_and_in_the_state(first: int) -> None:
    assert_drivers_agree(range(first, first + 40))


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(0, NIGHTLY_MARKETS, NIGHTLY_PART))
def test_both_drivers_agree_in_tens_of_thousands_of_markets(first: int) -> None:
    assert_drivers_agree(range(MARKETS + first, MARKETS + first + NIGHTLY_PART))


@given(seed=seeds, cut=st.floats(min_value=0.0, max_value=1.0), event_first=st.booleans())
@settings(max_examples=EXAMPLES)
def test_one_driver_goes_on_from_the_state_of_the_other(seed: int, cut: float, event_first: bool) -> None:
    scenario = generate(seed)
    rows = len(scenario.panel)
    whole, changing = Simulator(scenario), Simulator(scenario, dense=not event_first)
    whole.run_until(rows)
    changing.run_until(int(cut * rows))
    changing._dense = event_first
    changing.run_until(rows)
    assert not differences(changing.result(), whole.result())
    assert changing.state.to_bytes() == whole.state.to_bytes()


def long_walk(seed: int, rows: int) -> Scenario:
    """A generated market whose bars go on for much longer than a chunk, there and back again."""
    scenario = generate(seed)
    panel = scenario.panel
    turns = -(-rows // len(panel))
    there_and_back = np.concatenate(
        [np.arange(len(panel)) if turn % 2 == 0 else np.arange(len(panel))[::-1] for turn in range(turns)]
    )
    # A bar that is walked backwards begins where it ended.
    backwards = (np.arange(len(there_and_back)) // len(panel) % 2 == 1)[:, None]
    opens, closes = panel.open[there_and_back], panel.close[there_and_back]
    times = panel.open_time_ms[0] + panel.timeframe.ms * np.arange(len(there_and_back))
    walked = Panel(
        timeframe=panel.timeframe,
        symbols=panel.symbols,
        open_time_ms=times,
        open=np.where(backwards, closes, opens),
        high=panel.high[there_and_back],
        low=panel.low[there_and_back],
        close=np.where(backwards, opens, closes),
        volume=panel.volume[there_and_back],
        covered=panel.covered[there_and_back],
    )
    again = []
    for turn in range(turns):
        setups = scenario.setups.copy()
        setups["time_ms"] += turn * len(panel) * panel.timeframe.ms
        again.append(setups)
    reference = walked.select([walked.symbols[0]])
    return replace(
        scenario,
        panel=walked,
        reference=reference,
        setups=np.concatenate(again),
        slow_regime=None,
    )


@pytest.mark.parametrize("seed", [1, 4, 7, 9, 21, 23, 26, 30, 32, 43])  # each has hundreds of fills
def test_both_drivers_agree_over_many_chunks(seed: int) -> None:
    scenario = long_walk(seed, 5_000)
    rows = len(scenario.panel)
    for index in (None, BarIndex.of(scenario.panel, extremes=True)):
        event = Simulator(scenario, index=index)
        assert not disagreements(event, Simulator(scenario, dense=True), [rows // 3, rows])


def test_bars_that_no_validation_has_seen_are_stepped_one_by_one() -> None:
    """An open below its low may meet a stop that the low does not meet; no bar may be skipped then."""
    scenario = next(candidate for candidate in map(generate, range(50)) if len(candidate.setups) > 20)
    opens = scenario.panel.open * np.where(np.arange(len(scenario.panel)) % 7 == 0, 0.9, 1.0)[:, None]
    odd = replace(scenario, panel=replace(scenario.panel, open=opens))
    assert not BarIndex.of(odd.panel).sound
    assert BarIndex.of(scenario.panel).sound
    assert not disagreements(Simulator(odd), Simulator(odd, dense=True), [len(odd.panel)])


def test_more_fills_than_there_is_room_for_make_room() -> None:
    scenario = long_walk(4, 3_000)
    event, dense = Simulator(scenario), Simulator(scenario, dense=True)
    for simulator in (event, dense):
        driver = simulator._driver
        driver._fills, driver._trades = driver._fills[:150], driver._trades[:150]
    assert not disagreements(event, dense, [len(scenario.panel)])
    assert len(dense.result().fills) > 300


def real_minutes(folder: Path, start: datetime, end: datetime) -> Panel:
    """Recorded minutes of three coins over a span."""
    frames = {
        name: pl.read_parquet(folder / f"{name}USDT.parquet").filter(
            pl.col("ts").is_between(start, end, closed="left")
        )
        for name in ("BTC", "ETH", "SUI")
    }
    first_ms, end_ms = to_ms(start), to_ms(end)
    times = np.arange(first_ms, end_ms, MINUTE_MS, dtype=np.int64)
    sides = {
        name: np.full((len(times), len(frames)), np.nan)
        for name in ("open", "high", "low", "close", "volume")
    }
    for column, frame in enumerate(frames.values()):
        rows = (frame["ts"].dt.epoch("ms").to_numpy() - first_ms) // MINUTE_MS
        for name, side in sides.items():
            side[rows, column] = frame[name].to_numpy()
    return Panel(
        timeframe=Timeframe.M1,
        symbols=tuple(Symbol(name, "USDT") for name in frames),
        open_time_ms=times,
        covered=np.ones((len(times), len(frames)), dtype=np.bool_),
        **sides,
    )


def drawn_setups(panel: Panel, seed: int) -> np.ndarray:
    """A setup for each coin about every three hours, each of which ends five minutes later."""
    random = np.random.default_rng(seed)
    at, column = np.nonzero(random.random((len(panel), len(panel.symbols))) < 1 / 180)
    late = at < len(panel) - 6
    at, column = at[late], column[late]
    setups = np.zeros(len(at), dtype=SETUP_DTYPE)
    setups["time_ms"] = panel.close_time_ms[at]
    setups["symbol"] = column
    setups["strategy"] = random.integers(0, 3, len(at))
    setups["kind"] = EVENT_SETUP
    setups["side"] = 1
    setups["confidence"] = random.uniform(0.4, 1.0, len(at))
    setups["size_quote"] = random.choice([50.0, 500.0, 20_000.0], len(at))
    setups["levels"] = random.choice([1, 3, 5], len(at))
    setups["spacing"] = 0.004
    setups["take_profit"] = random.uniform(0.004, 0.03, len(at))
    setups["stop_loss"] = random.uniform(0.004, 0.03, len(at))
    setups["trailing"] = random.choice([0.0, 0.003, 0.01], len(at))
    setups["max_hold_ms"] = random.integers(2, 48, len(at)) * HOUR_MS
    setups["max_entry_gap"] = np.nan
    setups["decision_close"] = panel.close[at, column]
    setups["wait_ms"] = 5 * MINUTE_MS
    setups["range_median"] = np.nan
    ends = setups.copy()
    ends["kind"] = EVENT_RESET
    ends["time_ms"] += 5 * MINUTE_MS
    both = np.concatenate([setups, ends])
    return both[np.lexsort((both["strategy"], both["symbol"], both["time_ms"]))]


@pytest.mark.market_data
@pytest.mark.parametrize("month", [2, 8, 10])
def test_both_drivers_agree_on_real_minutes(month: int, market_data: Path) -> None:
    start, end = (datetime(2025, which, 1, tzinfo=UTC) for which in (month, month + 1))
    panel = real_minutes(market_data / "bars" / "1m", start, end)
    scenario = Scenario(
        panel=panel,
        reference=panel.select(panel.symbols[:1]),
        instruments=instruments(
            [str(symbol) for symbol in panel.symbols], tick=[0.01, 0.01, 1e-4], lot=[1e-5, 1e-4, 0.1]
        ),
        strategies=("DCA", "SWING", "CHANNEL"),
        enabled=(True, True, True),
        setups=drawn_setups(panel, month),
        commands=no_commands(),
        rules=spec_rules(capital_quote=300_000.0),
    )
    event, dense = Simulator(scenario), Simulator(scenario, dense=True)
    assert not disagreements(event, dense, [len(panel) // 2, len(panel)])
    assert len(dense.result().trades) > 100


@given(seed=st.integers(min_value=0, max_value=10_000))
@settings(max_examples=max(EXAMPLES // 8, 5), deadline=None)
def test_variations_come_to_what_each_comes_to_alone(seed: int) -> None:
    scenario = generate(seed)
    protection = scenario.rules.protection.model_copy(update={"day_loss_max": 0.001})
    others = [
        replace(scenario, rules=scenario.rules.model_copy(update={"protection": protection})),
        replace(scenario, setups=scenario.setups[: len(scenario.setups) // 2]),
        replace(scenario, commands=no_commands()),
    ]
    scenarios = [scenario, *others]
    for found, alone in zip(
        simulate_variations(scenarios, threads=2), map(simulate_portfolio, scenarios), strict=True
    ):
        assert not differences(found, alone)


def test_variations_over_different_bars_are_refused() -> None:
    scenario = generate(1)
    other = replace(scenario, panel=replace(scenario.panel, volume=scenario.panel.volume * 2.0))
    with pytest.raises(SimulationError, match="same panel"):
        simulate_variations([scenario, other])
    assert simulate_variations([]) == []
