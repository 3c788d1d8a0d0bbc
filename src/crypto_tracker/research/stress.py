"""The same run under worse assumptions: how much of a result is the market's, and how much the simulator's.

Bars are gathered once, and setups are found once where nothing of their finding changes. Every run differs
from the base in one thing, the last one in all that can only harm; nothing is tuned.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crypto_tracker.config.instruments import instruments
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.arrays import BoolArray, RecordArray
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.research.backtest import scenario
from crypto_tracker.research.detection import detect
from crypto_tracker.research.market import Market
from crypto_tracker.simulation.backtest import simulate_portfolio
from crypto_tracker.simulation.kernel import QUOTE
from crypto_tracker.simulation.metrics import max_drawdown, profit_factor, win_rate
from crypto_tracker.simulation.parameters import Intrabar
from crypto_tracker.simulation.records import Scenario
from crypto_tracker.strategies.base import EVENT_SETUP, StrategyEntry

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StressRules:
    """How hard the runs are pressed.

    Attributes
    ----------
    costs_factor : fees and slippage times this
    later_bars : base bars by which every decision, and so every entry, comes later
    volume_factor : of the volume that orders may take their share of
    missing_share : of each symbol's bars that the simulator does not get, in runs of
    missing_run : bars on average
    seed : of what is missing
    """

    costs_factor: float = 2.0
    later_bars: int = 1
    volume_factor: float = 0.25
    missing_share: float = 0.02
    missing_run: float = 5.0
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StressRun:
    """One run. Returns and drawdown are fractions of the capital at the start.

    Attributes
    ----------
    changed : what differs from the base, for people; empty for the base
    survives : share of the base's gain that is left, at most 1, negative where the gain became a loss; None
        where the base gained nothing, so that there is nothing to survive
    """

    name: str
    changed: str
    return_net: float
    return_closed: float
    trades: int
    left_open: int
    setups: int
    win_rate: float | None
    profit_factor: float | None
    max_drawdown: float
    fees_quote: float
    slippage_quote: float
    survives: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stress:
    """All runs, the base first."""

    rules: StressRules
    runs: tuple[StressRun, ...]

    @property
    def base(self) -> StressRun:
        """The run as configured."""
        return self.runs[0]

    @property
    def worst(self) -> StressRun:
        """The run with the lowest marked return; of equal ones the first."""
        return min(self.runs, key=lambda run: run.return_net)


def stress_test(
    market: Market,
    entries: Sequence[StrategyEntry],
    configuration: Configuration,
    base: Scenario,
    rules: StressRules,
    *,
    progress: Progress,
) -> Stress:
    """Repeat the run of `base`, which was made of `market` under `configuration`, under worse assumptions.

    `progress` is told which run comes next, and the share of all that is done.
    """
    costly = _costly(market, entries, configuration, base, rules.costs_factor)
    later = f"{rules.later_bars} base {'bar' if rules.later_bars == 1 else 'bars'}"
    plans: list[tuple[str, str, Callable[[], Scenario]]] = [("as configured", "", lambda: base)]
    plans += [
        (str(mode), f"{mode} order within a bar", lambda mode=mode: _ordered(base, mode))  # type: ignore[misc]
        for mode in Intrabar
        if mode is not base.rules.fills.intrabar
    ]
    plans += [
        (f"costs x {rules.costs_factor:g}", "fees and slippage, setups found again", costly),
        (f"{later} later", "every decision and entry", lambda: later_entries(base, rules.later_bars)),
        (
            f"volume x {rules.volume_factor:g}",
            "of which orders take their share",
            lambda: thinner(base, rules.volume_factor),
        ),
        (
            f"{100.0 * rules.missing_share:g} % missing",
            f"bars, in runs of {rules.missing_run:g} on average",
            lambda: with_holes(base, rules),
        ),
        (
            "all together",
            "pessimistic order, and everything above",
            lambda: _ordered(
                with_holes(
                    thinner(later_entries(costly(), rules.later_bars), rules.volume_factor),
                    rules,
                ),
                Intrabar.PESSIMISTIC,
            ),
        ),
    ]
    runs: list[StressRun] = []
    for place, (name, changed, make) in enumerate(plans):
        progress(name, place / len(plans))
        runs.append(_run(name, changed, make(), runs[0] if runs else None))
    return Stress(rules=rules, runs=tuple(runs))


def survival(base: float, stressed: float) -> float | None:
    """Share of a base gain that a stressed run keeps.

    At most 1: a run that does better by chance proves nothing. Negative where a gain became a loss. None
    where the base gained nothing: a loss that is smaller under stress is no merit, and a ratio of two
    losses would call the greater one the better.

    >>> survival(0.2, 0.05), survival(0.2, 0.3), survival(0.2, -0.1), survival(-0.2, -0.1)
    (0.25, 1.0, -0.5, None)
    """
    return min(stressed / base, 1.0) if base > 0.0 else None


def dearer(configuration: Configuration, factor: float) -> Configuration:
    """The same configuration with all fees and slippages multiplied, also those of single instruments."""
    costs = configuration.costs
    slippage = costs.slippage
    dear = costs.model_copy(
        update={
            "taker_fee": min(costs.taker_fee * factor, 1.0),
            "maker_fee": min(costs.maker_fee * factor, 1.0),
            "slippage": slippage.model_copy(
                update={tier: value * factor for tier, value in slippage.model_dump().items()}
            ),
        }
    )
    single = {
        name: override.model_copy(
            update={
                key: value * factor
                for key in ("taker_fee", "maker_fee", "slippage")
                if (value := getattr(override, key, None)) is not None
            }
        )
        for name, override in configuration.instruments.items()
    }
    return configuration.model_copy(update={"costs": dear, "instruments": single})


def later_entries(base: Scenario, bars: int) -> Scenario:
    """Every scan is known, and so decided, some base bars later; what would come after the end is gone."""
    setups = base.setups.copy()
    setups["time_ms"] += bars * base.panel.timeframe.ms
    return replace(base, setups=setups[setups["time_ms"] <= base.panel.close_time_ms[-1]])


def thinner(base: Scenario, factor: float) -> Scenario:
    """Orders find only a share of the volume; the strategies see what they saw."""
    fills = base.rules.fills
    fills = fills.model_copy(
        update={
            "entry_participation": fills.entry_participation * factor,
            "exit_participation": fills.exit_participation * factor,
        }
    )
    return replace(base, rules=base.rules.model_copy(update={"fills": fills}))


def with_holes(base: Scenario, rules: StressRules) -> Scenario:
    """Some of each symbol's bars never reach the simulator; the strategies and the reference keep theirs."""
    panel = base.panel
    gone = holes(panel, share=rules.missing_share, run=rules.missing_run, seed=rules.seed)
    fields = {
        name: np.where(gone, np.nan, np.asarray(getattr(panel, name))).copy(order="F") for name in BAR_FIELDS
    }
    return replace(
        base,
        panel=Panel(
            timeframe=panel.timeframe,
            symbols=panel.symbols,
            open_time_ms=panel.open_time_ms,
            covered=panel.covered & ~gone,
            **fields,
        ),
    )


def holes(panel: Panel, *, share: float, run: float, seed: int) -> BoolArray:
    """Which bars are missing, bool (bars, symbols): runs of geometric length, the share of each column exact.

    Every column has random numbers of its own, so that it does not depend on what stands beside it.
    """
    gone: BoolArray = np.zeros((len(panel), len(panel.symbols)), dtype=np.bool_)
    for column, symbol in enumerate(panel.symbols):
        random = np.random.default_rng([seed, *str(symbol).encode()])
        there = np.flatnonzero(panel.present[:, column])
        wanted = round(share * len(there))
        taken = 0
        while taken < wanted:
            first = int(random.integers(len(there)))
            length = min(int(random.geometric(1.0 / run)), wanted - taken)
            rows = there[first : first + length]
            taken += int((~gone[rows, column]).sum())
            gone[rows, column] = True
    return gone


def _costly(
    market: Market,
    entries: Sequence[StrategyEntry],
    configuration: Configuration,
    base: Scenario,
    factor: float,
) -> Callable[[], Scenario]:
    """The scenario under dearer costs, made when first asked for: costs take part in finding setups."""
    made: list[Scenario] = []

    def make() -> Scenario:
        if not made:
            dear = dearer(configuration, factor)
            facts = instruments(dear, base.panel.symbols)
            other = replace(
                market,
                instruments=facts,
                views={key: replace(view, instruments=facts) for key, view in market.views.items()},
            )
            setups = detect(
                other, entries, near_miss_readiness=configuration.decisions.near_miss_readiness, version=""
            ).setups
            made.append(scenario(other, entries, setups, dear, close_at_end=base.close_at_end))
        return made[0]

    return make


def _ordered(base: Scenario, mode: Intrabar) -> Scenario:
    fills = base.rules.fills.model_copy(update={"intrabar": mode})
    return replace(base, rules=base.rules.model_copy(update={"fills": fills}))


def _run(name: str, changed: str, inputs: Scenario, base: StressRun | None) -> StressRun:
    result = simulate_portfolio(inputs)
    start = inputs.rules.capital_quote
    equity = result.equity_e8 / QUOTE
    trades: RecordArray = result.trades
    return_net = float(equity[-1]) / start - 1.0
    return StressRun(
        name=name,
        changed=changed,
        return_net=return_net,
        return_closed=float(trades["pnl_e8"].sum()) / QUOTE / start,
        trades=len(trades),
        left_open=len(result.open_trades),
        setups=int((inputs.setups["kind"] == EVENT_SETUP).sum()),
        win_rate=win_rate(trades),
        profit_factor=profit_factor(trades),
        max_drawdown=max_drawdown(equity, start),
        fees_quote=float(result.fills["fee_e8"].sum()) / QUOTE,
        slippage_quote=float(result.fills["slippage_e8"].sum()) / QUOTE,
        survives=survival(return_net if base is None else base.return_net, return_net),
    )
