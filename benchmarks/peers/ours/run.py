"""This project's engine: the rules that all engines share, and all rules of its own as another row."""

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
from numba import njit

from crypto_tracker.config.instruments import instruments
from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from crypto_tracker.simulation.backtest import simulate_portfolio
from crypto_tracker.simulation.records import Scenario, SimulationResult, no_commands
from crypto_tracker.strategies.base import EVENT_RESET, EVENT_SETUP, SETUP_DTYPE
from crypto_tracker.strategies.registry import builtin
from peers.protocol import QUOTE, Answer, Bars, Exits, Task, Trades, answer_task

TIERS = ("large_cap", "mid_cap", "small_cap", "memecoin")
STRATEGIES = ("DCA", "SWING", "CHANNEL")
SINGLE = STRATEGIES.index("SWING")
# Nothing acts but target, stop and time: every other rule is set so wide that it never speaks.
SHARED_RULES = (
    "trading.capital_quote=100000000",
    "limits.max_symbol_exposure=1",
    "limits.max_strategy_exposure=1",
    "limits.reserve=0",
    "limits.shares.DCA=0",
    "limits.shares.CHANNEL=0",
    "limits.shares.SWING=1",
    "limits.min_confidence=0",
    "protection.day_loss_max=1",
    "protection.drawdown_max=1",
    "protection.losing_streak=1000000000",
    "protection.cooldown_stops=1000000000",
    "protection.stop_widening.slope=0",
    *(f"protection.stop_widening.caps.{tier}=1" for tier in TIERS),
    *(f"costs.slippage.{tier}=0" for tier in TIERS),
    "fills.entry_participation=1",
    "fills.exit_participation=1",
)
# The rules as they come, with a book that holds all symbols.
ALL_RULES = ("trading.capital_quote=1000000", "limits.max_open_per_strategy=50", "limits.max_open=150")


@njit(cache=True, fastmath=True)
def read_once(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> float:
    """The least that anything which looks at every bar must do."""
    total = 0.0
    for i in range(len(high)):
        total += high[i] + low[i] + close[i]
    return total


def panel_of(bars: Bars) -> Panel:
    """The bars as this project holds them."""
    return Panel(
        timeframe=Timeframe.M1,
        symbols=tuple(Symbol(f"COIN{number:02d}", "USD") for number in range(bars.close.shape[1])),
        open_time_ms=bars.open_time_ms,
        open=bars.open,
        high=bars.high,
        low=bars.low,
        close=bars.close,
        volume=bars.volume,
        covered=np.ones(bars.close.shape, dtype=np.bool_),
    )


def shared_setups(bars: Bars, exits: Exits) -> np.ndarray:
    """The drawn entries with the exits of one repetition; every episode ends five minutes later."""
    setups = np.zeros(len(bars.signal_row), dtype=SETUP_DTYPE)
    setups["time_ms"] = bars.open_time_ms[bars.signal_row] + MINUTE_MS
    setups["symbol"] = bars.signal_symbol
    setups["strategy"] = SINGLE
    setups["kind"] = EVENT_SETUP
    setups["side"] = 1
    setups["confidence"] = 1.0
    setups["readiness"] = 100.0
    setups["size_quote"] = QUOTE
    setups["levels"] = 1
    setups["take_profit"] = exits.take_profit
    setups["stop_loss"] = exits.stop_loss
    setups["max_hold_ms"] = exits.hours * HOUR_MS
    setups["max_entry_gap"] = 1.0
    setups["decision_close"] = bars.close[bars.signal_row, bars.signal_symbol]
    setups["wait_ms"] = 5 * MINUTE_MS
    setups["range_median"] = np.nan
    return with_resets(setups)


def varied_setups(bars: Bars, exits: Exits, seed: int) -> np.ndarray:
    """The same entries for three strategies: ladders of five, trailing stops, confidences."""
    setups = shared_setups(bars, exits)
    setups = setups[setups["kind"] == EVENT_SETUP]
    rng = np.random.default_rng(seed)
    setups["strategy"] = rng.integers(0, len(STRATEGIES), len(setups))
    setups["confidence"] = rng.uniform(0.5, 1.0, len(setups))
    setups["levels"] = np.where(setups["strategy"] == 0, 5, 1)
    setups["spacing"] = 0.005
    setups["trailing"] = rng.choice([0.0, 0.01, 0.02], len(setups))
    setups["max_entry_gap"] = 0.01
    setups["range_median"] = 0.001
    return with_resets(setups)


def with_resets(setups: np.ndarray) -> np.ndarray:
    """The setups, each with the end of its episode."""
    resets = setups.copy()
    resets["kind"] = EVENT_RESET
    resets["time_ms"] += 5 * MINUTE_MS
    both = np.concatenate([setups, resets])
    return both[np.lexsort((both["strategy"], both["symbol"], both["time_ms"]))]


def scenario(
    panel: Panel, setups: np.ndarray, assignments: Sequence[str], reference: Panel | None = None
) -> Scenario:
    """One simulation."""
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    configuration = load_configuration(models, file=None, environment={}, assignments=assignments).tree
    return Scenario(
        panel=panel,
        reference=reference,
        instruments=instruments(configuration, panel.symbols),
        strategies=STRATEGIES,
        enabled=(True,) * len(STRATEGIES),
        setups=setups,
        commands=no_commands(),
        rules=configuration.rules(),
    )


def trades_of(result: SimulationResult, panel: Panel) -> Trades:
    """The closed trades in the common form."""
    trades = result.trades
    start = panel.open_time_ms[0]
    return Trades.from_columns(
        symbol=trades["symbol"],
        entry_row=(trades["entry_ms"] - start) // MINUTE_MS,
        exit_row=(trades["exit_ms"] - start) // MINUTE_MS,
        entry_price=trades["entry_price"],
        exit_price=trades["exit_price"],
        reason=[ExitReason(reason).code for reason in trades["exit_reason"]],
        fees=trades["fee_e8"] / trades["invested_e8"],
    )


def work(task: Task, bars: Bars, answer: Answer) -> None:
    """All rows of ours."""
    with answer.stage("prepare"):
        panel = panel_of(bars)
        setups = [shared_setups(bars, exits) for exits in task.exits]
        shared = [scenario(panel, rows, SHARED_RULES) for rows in setups]
        optimistic = [scenario(panel, rows, (*SHARED_RULES, "fills.intrabar=optimistic")) for rows in setups]
        reference = panel.select(panel.symbols[:1])
        full = [
            scenario(panel, varied_setups(bars, exits, seed), ALL_RULES, reference)
            for seed, exits in enumerate(task.exits)
        ]
        many = [scenario(panel, shared_setups(bars, exits), SHARED_RULES) for exits in task.many]
        sides = [np.ravel(side, order="K") for side in (panel.high, panel.low, panel.close)]
    with answer.stage("compile"):
        head = panel_of(bars.first(rows=1440, symbols=1))
        empty = np.zeros(0, dtype=SETUP_DTYPE)
        simulate_portfolio(scenario(head, empty, SHARED_RULES, head))
        read_once(*(side[:1440] for side in sides))
    rows = {"shared rules": shared, "all rules": full}
    for _ in range(task.rounds):
        for number in range(len(task.exits)):
            answer.take("reading", lambda: read_once(*sides), repetition=number)
            for row, jobs in rows.items():
                result = answer.take(row, lambda job=jobs[number]: simulate_portfolio(job), repetition=number)
                answer.keep(row, trades_of(result, panel), repetition=number)
    for number, inputs in enumerate(optimistic):
        answer.keep("optimistic", trades_of(simulate_portfolio(inputs), panel), repetition=number)
    if many:
        answer.take(
            "many sets",
            lambda: [simulate_portfolio(inputs).trades for inputs in many],
            repetition=0,
            sets=len(many),
        )


if __name__ == "__main__":
    answer_task("crypto-tracker", {"crypto-tracker": version("crypto-tracker")}, work)
