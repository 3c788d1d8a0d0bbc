"""The null test: in a market that nobody can beat, no strategy may make money before costs.

Every setup is traded alone (docs/simulator.md, section 9) on markets whose prices are martingales. Whatever a
rule does there with what it knew, its expected gain before costs is 0. A simulator that sees bars only must
guess the order within a bar; with the pessimistic order it may only do worse than 0, with the optimistic
order only better. So the gross gain has to be bracketed:

    pessimistic <= 0 <= optimistic

A pessimistic gain above 0 is a leak: a strategy that knows the future, or an order that fills too well.
An optimistic gain below 0 says that orders fill worse than the bars allow. docs/evidence.md tells what
the bracket may and may not hold, and why a gain is held against the amount that the order was planned for.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.arrays import FloatArray, IntArray, RecordArray
from crypto_tracker.core.errors import SimulationError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, Timeframe
from crypto_tracker.research.backtest import scenario
from crypto_tracker.research.detection import detect
from crypto_tracker.research.executor import outcome
from crypto_tracker.research.market import gather
from crypto_tracker.simulation.kernel import QUOTE
from crypto_tracker.simulation.outcomes import trades_of_setups
from crypto_tracker.simulation.parameters import Intrabar
from crypto_tracker.simulation.records import Outcome, Scenario
from crypto_tracker.simulation.statistics import bootstrap_by_group
from crypto_tracker.store.sources import BarSource
from crypto_tracker.strategies.base import StrategyEntry

ORDERS = (Intrabar.PESSIMISTIC, Intrabar.OPTIMISTIC)
DRAWS = 4000  # of the bootstrap; the ends of a 0.99 interval then have an error of their own of about a tenth
CONFIDENCE = 0.95  # of all statements together (Bonferroni)
MARKETS_MIN = 8  # with trades of a strategy; fewer say nothing of it
OTHER_HOLD_HOURS = 96.0
COSTS_TOLERANCE = 1e-9  # of the return; amounts are whole e8, so only the division rounds

ALONE_DTYPE = np.dtype(
    [
        ("market", np.int64),
        ("strategy", np.int16),
        ("order", np.int8),  # place in ORDERS
        ("ambiguous", np.bool_),
        ("planned", np.float64),  # quote amount of all levels, as the strategy asked for it
        ("gross", np.float64),  # quote: net + fees + slippage
        ("net", np.float64),
        ("fees", np.float64),
        ("slippage", np.float64),
    ],
    align=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where the strategies are put to the test.

    Attributes
    ----------
    source : gives the bars of a market by its number
    start_ms, end_ms : setups are looked for in this span
    bars_end_ms : the bars go on until here, so that every trade comes to its end
    """

    source: Callable[[int], BarSource]
    symbols: tuple[Symbol, ...]
    reference_symbol: Symbol | None
    start_ms: int
    end_ms: int
    bars_end_ms: int
    base: Timeframe = Timeframe.M1


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRun:
    """What one market gave: ALONE_DTYPE rows of filled setups, and how many setups were never filled."""

    market: int
    rows: RecordArray
    expired: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFigures:
    """Setups of one strategy under one order within the bar; fractions of the planned amount.

    Attributes
    ----------
    gross : mean gain before costs, with `low` and `high` the ends of its interval
    costs : mean of fees and slippage; `net` = gross - costs
    ambiguous_share : trades whose exit the order within a bar decided
    """

    order: Intrabar
    trades: int
    gross: float
    low: float
    high: float
    fees: float
    slippage: float
    net: float
    ambiguous_share: float

    @property
    def costs(self) -> float:
        """Fees and slippage together."""
        return self.fees + self.slippage


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyFigures:
    """One strategy under both orders; None where it had no trade."""

    strategy: str
    markets: int  # that had a trade of it
    pessimistic: OrderFigures | None
    optimistic: OrderFigures | None

    @property
    def judged(self) -> bool:
        """Whether there are enough markets to say anything."""
        return self.markets >= MARKETS_MIN

    @property
    def leak(self) -> bool:
        """Whether it makes money that nobody can make."""
        return self.judged and self.pessimistic is not None and self.pessimistic.low > 0.0

    @property
    def too_poor(self) -> bool:
        """Whether even the kindest order loses before costs."""
        return self.judged and self.optimistic is not None and self.optimistic.high < 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NullTest:
    """The whole test; `confidence` is that of each interval, after Bonferroni. Empty `findings`: passed."""

    markets: int
    confidence: float
    strategies: tuple[StrategyFigures, ...]
    expired: int

    @property
    def findings(self) -> list[str]:
        """What is wrong, a sentence each; empty where the test is passed."""
        found = []
        for each in self.strategies:
            if each.leak and each.pessimistic is not None:
                gross, least = 100.0 * each.pessimistic.gross, 100.0 * each.pessimistic.low
                found.append(
                    f"{each.strategy} makes {gross:+.3f} % of the planned amount before costs where none can "
                    f"(at least {least:+.3f} %): it knows the future, or its orders fill too well"
                )
            if each.too_poor and each.optimistic is not None:
                gross, most = 100.0 * each.optimistic.gross, 100.0 * each.optimistic.high
                found.append(
                    f"{each.strategy} makes {gross:+.3f} % of the planned amount before costs even with the "
                    f"kindest order within a bar (at most {most:+.3f} %): its orders fill worse than they may"
                )
        return found

    @property
    def unjudged(self) -> list[str]:
        """Strategies with too few trades: nothing was proven of them."""
        return [each.strategy for each in self.strategies if not each.judged]


def run_market(
    ground: Ground, configuration: Configuration, entries: Sequence[StrategyEntry], number: int
) -> MarketRun:
    """Find every setup of one market and trade each alone, under both orders."""
    market = gather(
        ground.source(number),
        configuration,
        entries,
        ground.symbols,
        reference_symbol=ground.reference_symbol,
        base=ground.base,
        start_ms=ground.start_ms,
        end_ms=ground.bars_end_ms,
    )
    detected = detect(
        replace(market, end_ms=ground.end_ms),
        entries,
        near_miss_readiness=configuration.decisions.near_miss_readiness,
        version="",
    )
    inputs = scenario(market, entries, detected.setups, configuration)
    parts, expired = [], 0
    for place, order in enumerate(ORDERS):
        fills = inputs.rules.fills.model_copy(update={"intrabar": order})
        rows, unfilled = _traded_alone(
            replace(inputs, rules=inputs.rules.model_copy(update={"fills": fills})), number, place
        )
        parts.append(rows)
        expired = unfilled if not place else expired
    return MarketRun(market=number, rows=np.concatenate(parts), expired=expired)


def run_markets(
    trade: Callable[[int], MarketRun],
    markets: Iterable[int],
    *,
    executor: Executor,
    progress: Callable[[int], None],
) -> list[MarketRun]:
    """Trade every market where the executor works; the runs come in the order of their numbers.

    `trade` must be able to travel to other processes. `progress` is told how many markets are done.
    """
    done: list[MarketRun] = []
    waiting = []
    for number in markets:
        future = executor.submit(trade, number)
        if not future.done():
            waiting.append(future)
            continue
        done.append(outcome(future))
        progress(len(done))
    for future in as_completed(waiting):
        done.append(outcome(future))
        progress(len(done))
    return sorted(done, key=lambda run: run.market)


def judge(runs: Sequence[MarketRun], strategies: Sequence[str], *, seed: int) -> NullTest:
    """The figures of all markets, each interval wide enough for all of them to hold together."""
    if not runs:
        raise UsageError("a null test needs at least one market: ask for --markets 1 or more")
    rows = np.concatenate([run.rows for run in runs])
    confidence = 1.0 - (1.0 - CONFIDENCE) / (len(strategies) * len(ORDERS))
    found = []
    for index, name in enumerate(strategies):
        own = rows[rows["strategy"] == index]
        figures = [
            _figures(own[own["order"] == place], order, confidence, seed)
            for place, order in enumerate(ORDERS)
        ]
        found.append(
            StrategyFigures(
                strategy=name,
                markets=len(np.unique(own["market"])),
                pessimistic=figures[0],
                optimistic=figures[1],
            )
        )
    return NullTest(
        markets=len(runs),
        confidence=confidence,
        strategies=tuple(found),
        expired=sum(run.expired for run in runs),
    )


def settle_ms(entries: Sequence[StrategyEntry]) -> int:
    """How long after its decision a trade may last, and a day to be filled and sold, in whole days.

    The longest holding limit counts; OTHER_HOLD_HOURS where a plug-in's parameters do not tell theirs.
    """
    hours = [OTHER_HOLD_HOURS]
    for entry in entries:
        limit = getattr(getattr(entry.parameters, "exits", None), "max_hold_hours", None)
        hours.append(float(limit) if isinstance(limit, int | float) else OTHER_HOLD_HOURS)
    return int(-(-max(hours) * HOUR_MS // DAY_MS) + 1) * DAY_MS


def mean_interval(
    values: FloatArray, markets: IntArray, *, seed: int, confidence: float
) -> tuple[float, float]:
    """Interval of the mean of values that hang together within a market: the hull of two intervals.

    One draws whole markets again (bootstrap), which follows their skewness but is too narrow for few of them.
    The other takes the means of markets as Student does, which is right for few but knows no skewness. Source
    of its error: W. G. Cochran, "Sampling Techniques", 1977 (ratio estimator).
    """
    low, high = bootstrap_by_group(values, markets, draws=DRAWS, seed=seed, confidence=confidence)
    _, member = np.unique(markets, return_inverse=True)
    sums, counts = np.bincount(member, weights=values), np.bincount(member)
    groups = len(sums)
    mean = float(values.mean())
    if groups < MARKETS_MIN:
        return low, high
    residual = sums - mean * counts
    error = float(np.sqrt(groups / (groups - 1.0) * (residual @ residual))) / len(values)
    reach = student_quantile(0.5 + confidence / 2.0, groups - 1) * error
    return min(low, mean - reach), max(high, mean + reach)


def student_quantile(share: float, freedom: int) -> float:
    """Quantile of Student's t from that of the normal distribution; good to 0.02 from 7 degrees on.

    Source: M. Abramowitz, I. A. Stegun, "Handbook of Mathematical Functions", 1964, 26.7.5.

    >>> round(student_quantile(0.995, 7), 2), round(student_quantile(0.975, 30), 3)
    (3.49, 2.042)
    """
    z = NormalDist().inv_cdf(share)
    return (
        z
        + (z**3 + z) / (4.0 * freedom)
        + (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / (96.0 * freedom**2)
        + (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / (384.0 * freedom**3)
    )


def _traded_alone(inputs: Scenario, number: int, place: int) -> tuple[RecordArray, int]:
    outcomes, trades = trades_of_setups(inputs)
    unfinished = int((outcomes["outcome"] == Outcome.UNFINISHED).sum())
    if unfinished:
        raise SimulationError(
            f"market {number} ends before {unfinished} of its trades: leaving them out would choose "
            "among winners and losers, so the bars must go on for longer"
        )
    filled = outcomes["outcome"] != Outcome.EXPIRED
    outcomes, trades = outcomes[filled], trades[filled]
    setups = inputs.setups[trades["setup"]]
    rows = np.zeros(len(trades), dtype=ALONE_DTYPE)
    rows["market"], rows["order"] = number, place
    rows["strategy"], rows["ambiguous"] = setups["strategy"], trades["ambiguous"]
    rows["planned"] = setups["size_quote"] * setups["levels"]
    rows["fees"], rows["slippage"] = trades["fee_e8"] / QUOTE, trades["slippage_e8"] / QUOTE
    rows["net"] = trades["pnl_e8"] / QUOTE
    rows["gross"] = (trades["pnl_e8"] + trades["fee_e8"] + trades["slippage_e8"]) / QUOTE
    _check_costs(outcomes, trades, number)
    return rows, int((~filled).sum())


def _check_costs(outcomes: RecordArray, trades: RecordArray, number: int) -> None:
    """Gross less net of every outcome is what its trade paid: fees and slippage, and nothing else."""
    paid = (trades["fee_e8"] + trades["slippage_e8"]) / np.maximum(trades["invested_e8"], 1)
    moved = trades["returned_e8"] - trades["invested_e8"] - trades["fee_e8"]
    wrong = np.abs(outcomes["return_gross"] - outcomes["return_net"] - paid) > COSTS_TOLERANCE
    wrong |= moved != trades["pnl_e8"]
    if np.any(wrong):
        row = int(np.flatnonzero(wrong)[0])
        raise SimulationError(
            f"market {number}: {int(wrong.sum())} outcomes do not add up, the first of setup "
            f"{int(outcomes['setup'][row])}: gross {outcomes['return_gross'][row]!r} less net "
            f"{outcomes['return_net'][row]!r} is not the costs {paid[row]!r}"
        )


def _figures(rows: RecordArray, order: Intrabar, confidence: float, seed: int) -> OrderFigures | None:
    if not len(rows):
        return None
    shares: dict[str, FloatArray] = {
        name: rows[name] / rows["planned"] for name in ("gross", "net", "fees", "slippage")
    }
    markets: IntArray = rows["market"]
    low, high = mean_interval(shares["gross"], markets, seed=seed, confidence=confidence)
    return OrderFigures(
        order=order,
        trades=len(rows),
        gross=float(shares["gross"].mean()),
        low=low,
        high=high,
        fees=float(shares["fees"].mean()),
        slippage=float(shares["slippage"].mean()),
        net=float(shares["net"].mean()),
        ambiguous_share=float(rows["ambiguous"].mean()),
    )
