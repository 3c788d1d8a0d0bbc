"""A backtest from bars to figures: detect, simulate, measure."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from crypto_tracker.app.markets import Choice, Market, gather
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.arrays import CodeArray, RecordArray
from crypto_tracker.core.decisions import Reason, SlowRegime, Verdict
from crypto_tracker.core.errors import ConfigError
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.features.align import align_codes
from crypto_tracker.simulation.backtest import simulate_portfolio
from crypto_tracker.simulation.driver import trading_days
from crypto_tracker.simulation.kernel_ranges import range_medians
from crypto_tracker.simulation.metrics import Figures, figures
from crypto_tracker.simulation.records import Scenario, SimulationResult, no_commands
from crypto_tracker.store.runs import SetupRow
from crypto_tracker.store.sources import BarSource
from crypto_tracker.strategies.base import EVENT_SETUP, SETUP_DTYPE, Detection, Strategy, StrategyEntry
from crypto_tracker.strategies.decisions import encode_block, near_misses, scan_block
from crypto_tracker.strategies.needs import scan_timeframe
from crypto_tracker.strategies.scan import scan, setup_events

Block = tuple[int, str, bytes]
Note = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Detected:
    """What the strategies found in a market.

    Attributes
    ----------
    setups : SETUP_DTYPE of all strategies, in the order of the simulator
    scans : for each strategy the number of scans by the strategy's own reason, the most frequent first
    n_near : number of near misses
    near : the near misses, and
    blocks : every scan, compactly; both empty unless scans are to be kept
    """

    setups: RecordArray
    scans: dict[str, dict[str, int]]
    n_near: int = 0
    near: list[SetupRow] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Backtest:
    """One finished backtest."""

    market: Market
    entries: tuple[StrategyEntry, ...]
    detected: Detected
    scenario: Scenario
    result: SimulationResult
    figures: Figures
    seconds: dict[str, float]


def configured_strategies(
    installed: dict[str, Strategy], configuration: Configuration, only: Sequence[str] | None
) -> tuple[StrategyEntry, ...]:
    """The strategies to scan, in the configured order; `only` names some of the installed ones.

    A strategy asked for by name takes part even when the configuration switches it off.
    """
    names = list(configuration.trading.strategies)
    if only:
        wanted = [name.upper() for name in only]
        unknown = [name for name in wanted if name not in installed]
        if unknown:
            raise ConfigError(
                f"no strategy is named {', '.join(unknown)}: installed are {', '.join(installed)}"
            )
        names = [name for name in names if name in wanted] + [name for name in wanted if name not in names]
    return tuple(
        StrategyEntry(
            strategy=installed[name],
            parameters=configuration.parameters(name),
            enabled=bool(only) or name not in configuration.trading.switched_off,
        )
        for name in dict.fromkeys(names)
    )


def detect(
    market: Market,
    entries: Sequence[StrategyEntry],
    *,
    near_miss_readiness: float,
    version: str,
    keep_blocks: bool = False,
    progress: Note | None = None,
) -> Detected:
    """Scan the whole span with every strategy."""
    parts: list[RecordArray] = []
    detected = Detected(setups=np.zeros(0, dtype=SETUP_DTYPE), scans={})
    for index, entry in enumerate(entries):
        strategy = entry.strategy
        if progress is not None:
            progress(strategy.name)
        view = market.views[scan_timeframe(strategy, market.base)]
        counts: Counter[int] = Counter()
        detections = (
            _noted(detection, detected, counts, near_miss_readiness, version if keep_blocks else None)
            for _, detection in scan(strategy, view, entry.parameters, market.start_ms, market.end_ms)
        )
        parts.append(setup_events(detections, index))
        detected.scans[strategy.name] = {Reason(code).code: number for code, number in counts.most_common()}
    setups = np.concatenate([detected.setups, *parts])
    detected.setups = setups[np.lexsort((setups["strategy"], setups["symbol"], setups["time_ms"]))]
    return detected


def _noted(
    detection: Detection, detected: Detected, counts: Counter[int], near_miss: float, version: str | None
) -> Detection:
    """The same detection, its reasons counted, its near misses noted; with a version, its scans too."""
    codes, numbers = np.unique(detection.reason, return_counts=True)
    counts.update(dict(zip(codes.tolist(), numbers.tolist(), strict=True)))
    detected.n_near += int(near_misses(detection, near_miss).sum())
    if version is not None:
        detected.near.extend(_near_rows(detection, near_miss))
        for row in range(len(detection.panel)):
            block = scan_block(detection, row, version)
            detected.blocks.append((block.time_ms, block.strategy, encode_block(block)))
    return detection


def scenario(
    market: Market,
    entries: Sequence[StrategyEntry],
    setups: RecordArray,
    configuration: Configuration,
    *,
    close_at_end: bool = False,
) -> Scenario:
    """The simulator's input: setups get the median bar range of the days before (R7)."""
    rules = configuration.rules()
    setups = setups.copy()
    held = setups["kind"] == EVENT_SETUP
    setups["range_median"][held] = range_medians(
        market.history, setups[held], rules.fills.trailing_range_days
    )
    return Scenario(
        panel=market.panel,
        reference=market.reference,
        instruments=market.instruments,
        strategies=tuple(entry.strategy.name for entry in entries),
        enabled=tuple(entry.enabled for entry in entries),
        setups=setups,
        commands=no_commands(),
        rules=rules,
        close_at_end=close_at_end,
        slow_regime=slow_regime(market),
    )


def slow_regime(market: Market) -> CodeArray | None:
    """The slow regime at each close of the span, None where there is no reference."""
    view = next(iter(market.views.values()), None)
    if view is None or view.slow_regime is None:
        return None
    days = view.reference[Timeframe.D1]
    return align_codes(
        view.slow_regime, days.close_time_ms, market.panel.close_time_ms, unknown=SlowRegime.UNKNOWN
    )


def run_backtest(
    source: BarSource,
    configuration: Configuration,
    entries: tuple[StrategyEntry, ...],
    choice: Choice,
    *,
    version: str,
    keep_blocks: bool,
    close_at_end: bool,
    progress: Note,
) -> Backtest:
    """Load, detect, simulate and measure; `progress` is told what is going on."""
    began = perf_counter()
    progress("reading bars")
    market = gather(
        source,
        configuration,
        entries,
        choice.symbols,
        reference_symbol=choice.reference_symbol,
        base=choice.base,
        start_ms=choice.start_ms,
        end_ms=choice.end_ms,
    )
    loaded = perf_counter()
    detected = detect(
        market,
        entries,
        near_miss_readiness=configuration.decisions.near_miss_readiness,
        version=version,
        keep_blocks=keep_blocks,
        progress=lambda name: progress(f"scanning {name}"),
    )
    scanned = perf_counter()
    progress("simulating (the first time compiles for about 15 s)")
    inputs = scenario(market, entries, detected.setups, configuration, close_at_end=close_at_end)
    result = simulate_portfolio(inputs)
    measured = figures(inputs, result, trading_days(inputs.panel.open_time_ms, inputs.rules.timezone))
    ended = perf_counter()
    return Backtest(
        market=market,
        entries=entries,
        detected=detected,
        scenario=inputs,
        result=result,
        figures=measured,
        seconds={"load": loaded - began, "features": scanned - loaded, "simulate": ended - scanned},
    )


def setup_rows(backtest_scenario: Scenario, result: SimulationResult) -> list[SetupRow]:
    """Every setup with the portfolio's answer, in order of time."""
    rows = []
    for setup, decision in zip(backtest_scenario.setups, result.decisions, strict=True):
        if setup["kind"] != EVENT_SETUP or decision["reason"] < 0:
            continue
        reason = Reason(decision["reason"])
        taken = reason is Reason.ACCEPTED
        if taken:
            reason = Reason(decision["end"])
        rows.append(
            SetupRow(
                time_ms=int(setup["time_ms"]),
                symbol=backtest_scenario.panel.symbols[setup["symbol"]],
                strategy=backtest_scenario.strategies[setup["strategy"]],
                verdict=Verdict.TAKE if taken else Verdict.SKIP,
                reason=reason,
                readiness=float(setup["readiness"]),
                confidence=float(setup["confidence"]),
                rank=int(decision["rank"]) if decision["rank"] >= 0 else None,
                fallback=bool(decision["fallback"]),
                measured=_number(decision["measured"]),
                limit=_number(decision["limit"]),
            )
        )
    return rows


def _near_rows(detection: Detection, readiness: float) -> list[SetupRow]:
    rows, columns = np.nonzero(near_misses(detection, readiness))
    return [
        SetupRow(
            time_ms=int(detection.panel.close_time_ms[row]),
            symbol=detection.panel.symbols[column],
            strategy=detection.strategy,
            verdict=Verdict.NEAR_MISS,
            reason=Reason(detection.reason[row, column]),
            readiness=float(detection.readiness[row, column]),
            confidence=float(detection.confidence[row, column]),
            rank=None,
            fallback=False,
            measured=None,
            limit=None,
        )
        for row, column in zip(rows, columns, strict=True)
    ]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
