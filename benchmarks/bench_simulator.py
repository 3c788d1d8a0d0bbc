"""How fast both drivers simulate bars, held against merely reading them, and setups traded alone.

The event driver is what a backtest uses, the dense one what paper trading does; both come to the same
records. The goals are 4 times the streaming limit for 20 symbols and half a year of minutes, 5 times for 100
symbols and a year, and 8 variations for 4 runs. Other programs on the same cores and caches make the runs
slower and the short loop that only reads hardly so: compare ratios of a quiet machine.

Every repetition trades other setups and other exits over the same bars, since one identical run teaches the
branch predictor. Times are CPU times; the streaming limit is the time to read high, low and close once with a
compiled loop, measured in the same process.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from statistics import median
from time import perf_counter, process_time

import numpy as np
from numba import njit

from crypto_tracker.config.instruments import instruments
from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.research.variations import simulate_variations
from crypto_tracker.simulation.backtest import Simulator, simulate_portfolio
from crypto_tracker.simulation.driver import BarIndex
from crypto_tracker.simulation.outcomes import simulate_setups
from crypto_tracker.simulation.records import Scenario, no_commands
from crypto_tracker.strategies.base import EVENT_RESET, EVENT_SETUP, SETUP_DTYPE
from crypto_tracker.strategies.registry import builtin

START_MS = to_ms(datetime(2024, 1, 1, tzinfo=UTC))
REPETITIONS = 5
VARIATIONS = 8
STRATEGIES = ("DCA", "SWING", "CHANNEL")
# As many at once as a full book holds, and enough cash for them.
LARGE_BOOK = ("trading.capital_quote=1000000", "limits.max_open_per_strategy=50", "limits.max_open=150")


def walk(n_symbols: int, days: int) -> Panel:
    """Minutes of random walks whose bars have width, made symbol by symbol since a year of 100 fills 2 GB."""
    rng = np.random.default_rng(1)
    times = np.arange(START_MS, START_MS + days * DAY_MS, MINUTE_MS, dtype=np.int64)
    shape = (len(times), n_symbols)
    sides = {name: np.empty(shape, order="F") for name in ("open", "high", "low", "close", "volume")}
    for column in range(n_symbols):
        close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.001, len(times))))
        opened = np.concatenate([[100.0], close[:-1]])
        width = np.abs(rng.normal(0.0, 0.0005, len(times)))
        sides["open"][:, column] = opened
        sides["high"][:, column] = np.maximum(opened, close) * (1.0 + width)
        sides["low"][:, column] = np.minimum(opened, close) * (1.0 - width)
        sides["close"][:, column] = close
        sides["volume"][:, column] = rng.lognormal(8.0, 1.0, len(times))
    return Panel(
        timeframe=Timeframe.M1,
        symbols=tuple(Symbol(f"COIN{number}", "USD") for number in range(n_symbols)),
        open_time_ms=times,
        covered=np.ones(shape, dtype=np.bool_, order="F"),
        **sides,
    )


def drawn_setups(panel: Panel, seed: int, every_hours: float) -> np.ndarray:
    """Setups at five-minute closes, one for each symbol and `every_hours` on average; each ends at once."""
    rng = np.random.default_rng(seed)
    rows = np.arange(4, len(panel) - 5, 5)
    at, column = np.nonzero(rng.random((len(rows), len(panel.symbols))) < 5.0 / (60.0 * every_hours))
    setups = np.zeros(len(at), dtype=SETUP_DTYPE)
    setups["time_ms"] = panel.close_time_ms[rows[at]]
    setups["symbol"] = column
    setups["strategy"] = rng.integers(0, len(STRATEGIES), len(at))
    setups["kind"] = EVENT_SETUP
    setups["side"] = 1
    setups["confidence"] = rng.uniform(0.5, 1.0, len(at))
    setups["readiness"] = 100.0
    setups["size_quote"] = 500.0
    setups["levels"] = np.where(setups["strategy"] == 0, 5, 1)
    setups["spacing"] = 0.01
    setups["take_profit"] = rng.uniform(0.01, 0.05, len(at))
    setups["stop_loss"] = rng.uniform(0.02, 0.08, len(at))
    setups["trailing"] = rng.choice([0.0, 0.01, 0.02], len(at))
    setups["max_hold_ms"] = rng.integers(6, 72, len(at)) * HOUR_MS
    setups["max_entry_gap"] = 0.01
    setups["decision_close"] = panel.close[rows[at], column]
    setups["wait_ms"] = 5 * MINUTE_MS
    setups["range_median"] = np.nan
    resets = setups.copy()
    resets["kind"] = EVENT_RESET
    resets["time_ms"] += 5 * MINUTE_MS
    both = np.concatenate([setups, resets])
    return both[np.lexsort((both["strategy"], both["symbol"], both["time_ms"]))]


@njit(cache=True, fastmath=True)
def read_once(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> float:
    """The least that anything which looks at every bar must do."""
    total = 0.0
    for i in range(len(high)):
        total += high[i] + low[i] + close[i]
    return total


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    began = process_time()
    work()
    return process_time() - began


def scenario(panel: Panel, seed: int, every_hours: float) -> Scenario:
    """The panel with one draw of setups, under the default rules."""
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    configuration = load_configuration(models, file=None, environment={}, assignments=LARGE_BOOK).tree
    return Scenario(
        panel=panel,
        reference=panel.select(panel.symbols[:1]),
        instruments=instruments(configuration, panel.symbols),
        strategies=STRATEGIES,
        enabled=(True,) * len(STRATEGIES),
        setups=drawn_setups(panel, seed, every_hours),
        commands=no_commands(),
        rules=configuration.rules(),
    )


def driver_seconds(panel: Panel, every_hours: float, *, dense: bool) -> tuple[list[float], int]:
    """CPU seconds of one driver for several draws of setups, and how many trades one of them brings."""
    index = BarIndex.of(panel)
    seconds, trades = [], 0
    for seed in range(2 if dense else REPETITIONS):
        simulator = Simulator(scenario(panel, seed, every_hours), dense=dense, index=index)
        began = process_time()
        simulator.run_until(len(panel))
        seconds.append(process_time() - began)
        trades = len(simulator.result().trades)
    return seconds, trades


def measure(panel: Panel, every_hours: float) -> None:
    """One line for each driver over `panel`, with a setup for each symbol and `every_hours`."""
    sides = [side.T.ravel() for side in (panel.high, panel.low, panel.close)]
    stream = min(cpu_seconds(lambda: read_once(*sides)) for _ in range(REPETITIONS))
    check = min(cpu_seconds(lambda: BarIndex.of(panel)) for _ in range(3))
    bars = panel.close.size
    for name, dense in (("dense", True), ("event", False)):
        seconds, trades = driver_seconds(panel, every_hours, dense=dense)
        print(
            f"{len(panel.symbols):7} {len(panel) // 1440:5} {every_hours:7.0f} {trades:7} {name} "
            f"{min(seconds) * 1e3:8.1f} {median(seconds) * 1e3:8.1f} {bars / min(seconds) / 1e6:8.0f} "
            f"{min(seconds) / stream:9.1f}"
        )
    print(f"{'':29}reading {stream * 1e3:6.1f} ms; looking whether bars are sound {check * 1e3:.1f} ms, once")


def measure_variations(panel: Panel, every_hours: float) -> None:
    """One line: variations in threads beside one run alone, by the clock, since they run at once."""
    reference = panel.select(panel.symbols[:1])
    scenarios = [
        replace(scenario(panel, seed, every_hours), reference=reference) for seed in range(VARIATIONS)
    ]
    alone, together = [], []
    for _ in range(3):
        began = perf_counter()
        simulate_portfolio(scenarios[0])
        alone.append(perf_counter() - began)
        began = perf_counter()
        simulate_variations(scenarios)
        together.append(perf_counter() - began)
    print(
        f"{VARIATIONS} variations in 2 threads: {min(together) * 1e3:.0f} ms, "
        f"one run {min(alone) * 1e3:.0f} ms: {min(together) / min(alone):.1f} times"
    )


def measure_alone(panel: Panel, every_hours: float) -> None:
    """One line: every setup by itself."""
    rates = []
    for seed in range(REPETITIONS):
        inputs = scenario(panel, seed, every_hours)
        began = process_time()
        outcomes = simulate_setups(inputs)
        rates.append(len(outcomes) / (process_time() - began))
    print(f"setups alone: {max(rates):,.0f} a second at best, {median(rates):,.0f} median ({len(outcomes)})")


if __name__ == "__main__":
    small, half_year = walk(20, 30), walk(20, 180)
    first = cpu_seconds(lambda: Simulator(scenario(small, 9, 6.0)).run_until(1))
    alone = cpu_seconds(lambda: simulate_setups(scenario(walk(1, 1), 9, 6.0)))
    cpu_seconds(lambda: read_once(*(side.T.ravel() for side in (small.high, small.low, small.close))))
    print(f"first call: portfolio {first:.1f} s, setups alone {alone:.1f} s (compiles where no cache is)")
    print("                hours a          CPU ms of a driver   M bars/s  times the")
    print("symbols  days    setup  trades         best   median   at best  streaming limit")
    for panel, every_hours in ((small, 6.0), (half_year, 6.0), (half_year, 240.0)):
        measure(panel, every_hours)
    measure_variations(half_year, 6.0)
    measure_alone(small, 6.0)
    if "--year" in sys.argv[1:]:
        del small, half_year
        measure(walk(100, 365), 6.0)
    else:
        print("--year adds 100 symbols over 365 days, for which 5 GB of memory must be free")
