"""Puts the proofs of features/lookahead.py to every standard feature and every strategy.

Nothing is asked of a strategy but what a scan asks: a plug-in is proven like a built-in one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from crypto_tracker.config.instruments import instruments
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.arrays import CodeArray, RecordArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe, from_ms
from crypto_tracker.features.blocks import anchor_ms, closing_within
from crypto_tracker.features.definitions import FeatureDefinition
from crypto_tracker.features.lookahead import (
    Finding,
    History,
    Outputs,
    cut_moments,
    depend_on_span,
    look_ahead,
    need_more_history,
)
from crypto_tracker.features.standard import STANDARD, STANDARD_FEATURES, compute_standard, feature_bars
from crypto_tracker.portfolio.trend import slow_regime_codes
from crypto_tracker.store.sources import BarSource
from crypto_tracker.strategies.base import Detection, Features, MarketView, Plan, Strategy
from crypto_tracker.strategies.measures import warmup_on
from crypto_tracker.strategies.needs import scan_timeframe
from crypto_tracker.strategies.scan import scan

FEATURE_TIMEFRAMES = (Timeframe.M5, Timeframe.M15, Timeframe.H1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """The bars that proofs are made on: those that close in (start_ms, end_ms], and what lies before."""

    source: BarSource
    symbols: tuple[Symbol, ...]
    reference_symbol: Symbol | None
    base: Timeframe
    start_ms: int
    end_ms: int
    words: str  # what these bars are, for people


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How hard is looked.

    Attributes
    ----------
    random : cuts at random bars, at random gaps and at random minutes, of each
    consecutive : neighbouring cuts, each exactly one bar after the last
    disturbances : moments after which all bars are replaced
    anchors : stretches for which the warm-up is doubled
    tolerance : see `features.lookahead.need_more_history`
    """

    random: int
    consecutive: int
    disturbances: int
    anchors: int
    tolerance: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A finding and the timeframe that was scanned."""

    timeframe: Timeframe
    finding: Finding

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        return f"on {self.timeframe}, {self.finding.sentence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a proof says of one feature or strategy."""

    name: str
    kind: str  # feature or strategy
    timeframes: tuple[Timeframe, ...]
    found: tuple[Found, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """A strategy with the parameters that it is configured with."""

    strategy: Strategy
    parameters: Frozen


Tell = Callable[[str], None]


def analyse_lookahead(
    ground: Ground,
    configuration: Configuration,
    subjects: Sequence[Subject],
    *,
    with_features: bool,
    effort: Effort,
    tell: Tell,
) -> Iterator[Result]:
    """Whether any value of a feature or strategy depends on bars that close after it.

    `tell` is given what is being looked at, in words.
    """
    if with_features:
        yield from _features(
            ground, tell, lambda timeframe: _feature_lookahead(ground, configuration, timeframe, effort)
        )
    for subject in subjects:
        tell(subject.strategy.name)
        timeframe = scan_timeframe(subject.strategy, ground.base)
        found = _strategy_lookahead(ground, configuration, subject, timeframe, effort)
        yield _strategy_result(subject, timeframe, found)


def analyse_warmup(
    ground: Ground,
    configuration: Configuration,
    subjects: Sequence[Subject],
    *,
    with_features: bool,
    effort: Effort,
    tell: Tell,
) -> Iterator[Result]:
    """Whether declared warm-ups suffice, and whether values keep their bits whatever span is asked for."""
    if with_features:
        yield from _features(
            ground, tell, lambda timeframe: _feature_warmup(ground, configuration, timeframe, effort)
        )
    for subject in subjects:
        tell(subject.strategy.name)
        timeframe = scan_timeframe(subject.strategy, ground.base)
        found = _strategy_warmup(ground, configuration, subject, timeframe, effort)
        yield _strategy_result(subject, timeframe, found)


# -------------------------------------------------------------------------------- features


def _features(ground: Ground, tell: Tell, prove: Callable[[Timeframe], list[Finding]]) -> Iterator[Result]:
    """One result for each of the 29, over all timeframes."""
    timeframes = tuple(each for each in FEATURE_TIMEFRAMES if each.ms >= ground.base.ms)
    found: list[Found] = []
    for timeframe in timeframes:
        tell(f"{len(STANDARD.names)} features on {timeframe}")
        found += [Found(timeframe=timeframe, finding=finding) for finding in prove(timeframe)]
    for name in STANDARD.names:
        own = tuple(each for each in found if each.finding.output == name)
        yield Result(name=name, kind="feature", timeframes=timeframes, found=own)


def _feature_lookahead(
    ground: Ground, configuration: Configuration, timeframe: Timeframe, effort: Effort
) -> list[Finding]:
    history = _feature_history(ground, configuration, timeframe, times=1)
    return _look_ahead(ground, history, timeframe, _standard(timeframe), effort)


def _feature_warmup(
    ground: Ground, configuration: Configuration, timeframe: Timeframe, effort: Effort
) -> list[Finding]:
    history = _feature_history(ground, configuration, timeframe, times=2)
    found = {
        finding.output: finding
        for finding in depend_on_span(
            _standard(timeframe),
            history,
            start_ms=ground.start_ms,
            end_ms=ground.end_ms,
            spans_ms=_spans(ground),
        )
    }
    for definition in STANDARD_FEATURES:
        warmup = definition.warmup(timeframe)
        if Timeframe.M1 not in history.panels:
            warmup.pop(Timeframe.M1, None)
        more = need_more_history(
            _one_feature(definition, timeframe),
            history,
            warmup=warmup,
            reference_warmup={timeframe: warmup[timeframe]} if definition.reads_reference else {},
            anchors_ms=_anchors(ground, effort),
            stretch_ms=DAY_MS,
            tolerance=effort.tolerance,
        )
        found |= {finding.output: finding for finding in more}
    return list(found.values())


def _standard(timeframe: Timeframe) -> Callable[[History, int, int], Outputs]:
    """All standard features in anchored blocks."""

    def compute(history: History, start_ms: int, end_ms: int) -> Outputs:
        rows = closing_within(history.panels[timeframe], start_ms, end_ms)
        values = compute_standard(history.panels, history.reference, timeframe, start_ms, end_ms)
        return Outputs(close_time_ms=rows.close_time_ms, symbols=rows.symbols, values=values)

    return compute


def _one_feature(definition: FeatureDefinition, timeframe: Timeframe) -> Callable[[History], Outputs]:
    """One feature over whatever bars it is given."""

    def compute(history: History) -> Outputs:
        bars = feature_bars(history.panels, history.reference, timeframe)
        return Outputs(
            close_time_ms=bars.panel.close_time_ms,
            symbols=bars.panel.symbols,
            values={definition.name: definition.value(bars)},
        )

    return compute


def _feature_history(
    ground: Ground, configuration: Configuration, timeframe: Timeframe, *, times: int
) -> History:
    warmup = STANDARD.warmup(timeframe)
    if ground.base is not Timeframe.M1:
        warmup.pop(Timeframe.M1, None)
    return _history(ground, configuration, warmup, STANDARD.reference_warmup(timeframe), times=times)


# ------------------------------------------------------------------------------ strategies


def _strategy_result(subject: Subject, timeframe: Timeframe, found: Iterable[Finding]) -> Result:
    return Result(
        name=subject.strategy.name,
        kind="strategy",
        timeframes=(timeframe,),
        found=tuple(Found(timeframe=timeframe, finding=finding) for finding in found),
    )


def _strategy_lookahead(
    ground: Ground, configuration: Configuration, subject: Subject, timeframe: Timeframe, effort: Effort
) -> list[Finding]:
    warmup = warmup_on(subject.strategy, timeframe)
    history = _history(ground, configuration, warmup, subject.strategy.reference_warmup, times=1)
    return _look_ahead(ground, history, timeframe, _scans(ground, configuration, subject, timeframe), effort)


def _strategy_warmup(
    ground: Ground, configuration: Configuration, subject: Subject, timeframe: Timeframe, effort: Effort
) -> list[Finding]:
    strategy = subject.strategy
    warmup = warmup_on(strategy, timeframe)
    history = _history(ground, configuration, warmup, strategy.reference_warmup, times=2)
    found = {
        finding.output: finding
        for finding in depend_on_span(
            _scans(ground, configuration, subject, timeframe),
            history,
            start_ms=ground.start_ms,
            end_ms=ground.end_ms,
            spans_ms=_spans(ground),
        )
    }
    facts = instruments(configuration, ground.symbols)
    days = history.reference.get(Timeframe.D1)
    codes = None if days is None else slow_regime_codes(days, configuration.protection.slow_regime)

    def compute(cut: History) -> Outputs:
        # The slow regime is the market's, not the strategy's: its days need no warm-up of the strategy.
        view = _view(cut, timeframe, facts, _codes_on(cut.reference.get(Timeframe.D1), days, codes))
        features = strategy.features(view)
        return _outputs([(features, strategy.detect(features, subject.parameters))])

    more = need_more_history(
        compute,
        history,
        warmup=warmup,
        reference_warmup=strategy.reference_warmup,
        anchors_ms=_anchors(ground, effort),
        stretch_ms=DAY_MS,
        tolerance=effort.tolerance,
    )
    return list((found | {finding.output: finding for finding in more}).values())


def _scans(
    ground: Ground, configuration: Configuration, subject: Subject, timeframe: Timeframe
) -> Callable[[History, int, int], Outputs]:
    """All that a strategy says, in anchored blocks, as the engine and a backtest scan it."""
    facts = instruments(configuration, ground.symbols)

    def compute(history: History, start_ms: int, end_ms: int) -> Outputs:
        days = history.reference.get(Timeframe.D1)
        codes = None if days is None else slow_regime_codes(days, configuration.protection.slow_regime)
        view = _view(history, timeframe, facts, codes)
        pieces = list(scan(subject.strategy, view, subject.parameters, start_ms, end_ms))
        if not pieces:
            raise DataError(
                f"{subject.strategy.name} has no {timeframe} bar to scan between "
                f"{from_ms(start_ms):%Y-%m-%d %H:%M} and {from_ms(end_ms):%Y-%m-%d %H:%M}: "
                "give a longer time range"
            )
        return _outputs(pieces)

    return compute


def _outputs(pieces: Sequence[tuple[Features, Detection]]) -> Outputs:
    """Every array of the pieces, one after the other, under names that people can place."""
    said = [_named(features, detection) for features, detection in pieces]
    return Outputs(
        close_time_ms=np.concatenate([detection.panel.close_time_ms for _, detection in pieces]),
        symbols=pieces[0][1].panel.symbols,
        values={name: np.concatenate([part[name] for part in said]) for name in said[0]},
    )


def _named(features: Features, detection: Detection) -> dict[str, RecordArray]:
    shape = detection.setup.shape
    out: dict[str, RecordArray] = {
        "setup": detection.setup,
        "reason": detection.reason,
        "readiness": detection.readiness,
        "confidence": detection.confidence,
        "ready": features.ready,
    }
    groups: tuple[tuple[str, Mapping[str, RecordArray]], ...] = (
        ("measurement", detection.measurements),
        ("feature", features.values),
        ("plan", {field.name: getattr(detection.plan, field.name) for field in fields(Plan)}),
    )
    for group, arrays in groups:
        out |= {f"{group} {name}": np.broadcast_to(array, shape) for name, array in arrays.items()}
    return out


def _view(history: History, timeframe: Timeframe, facts: Instruments, codes: CodeArray | None) -> MarketView:
    return MarketView(
        timeframe=timeframe,
        panels=history.panels,
        reference=history.reference,
        instruments=facts,
        slow_regime=codes,
    )


def _codes_on(cut: Panel | None, days: Panel | None, codes: CodeArray | None) -> CodeArray | None:
    """The codes of those days that `cut` holds."""
    if cut is None or days is None or codes is None:
        return None
    first = int(np.searchsorted(days.open_time_ms, cut.open_time_ms[0])) if len(cut) else 0
    return codes[first : first + len(cut)]


# ---------------------------------------------------------------------------- the ground


def _look_ahead(
    ground: Ground,
    history: History,
    timeframe: Timeframe,
    compute: Callable[[History, int, int], Outputs],
    effort: Effort,
) -> list[Finding]:
    rows = closing_within(history.panels[timeframe], ground.start_ms, ground.end_ms)
    cuts = cut_moments(rows, random=effort.random, consecutive=effort.consecutive, seed=effort.seed)
    rng = np.random.default_rng(effort.seed + 1)
    disturbed = rng.choice(rows.close_time_ms, size=min(effort.disturbances, len(rows)), replace=False)
    return look_ahead(
        compute,
        history,
        start_ms=ground.start_ms,
        end_ms=ground.end_ms,
        cuts_ms=cuts,
        disturbances_ms=sorted(int(moment) for moment in disturbed),
        seed=effort.seed,
    )


def _history(
    ground: Ground,
    configuration: Configuration,
    warmup: Mapping[Timeframe, int],
    reference_warmup: Mapping[Timeframe, int],
    *,
    times: int,
) -> History:
    """The bars of the ground with `times` the declared warm-up before their first month."""

    def read(symbols: Sequence[Symbol], timeframe: Timeframe, bars: int) -> Panel:
        start_ms = anchor_ms(timeframe, times * bars, ground.start_ms)
        return ground.source.panel(symbols, timeframe, start_ms, ground.end_ms)

    reference: dict[Timeframe, Panel] = {}
    if ground.reference_symbol is not None:
        # The slow regime of the first day looks at more days than a strategy declares.
        days = {Timeframe.D1: 2 * configuration.protection.slow_regime.trend_bars}
        wanted = {**reference_warmup, **days} if Timeframe.D1 in reference_warmup else reference_warmup
        reference = {
            timeframe: read([ground.reference_symbol], timeframe, bars) for timeframe, bars in wanted.items()
        }
    return History(
        panels={timeframe: read(ground.symbols, timeframe, bars) for timeframe, bars in warmup.items()},
        reference=reference,
    )


def _anchors(ground: Ground, effort: Effort) -> list[int]:
    """Starts of days inside the ground, evenly spread, each with a day of bars after it."""
    first = -(-ground.start_ms // DAY_MS) * DAY_MS
    days = list(range(first, ground.end_ms - DAY_MS + 1, DAY_MS))
    step = max(1, -(-len(days) // effort.anchors))
    return days[::step]


def _spans(ground: Ground) -> list[tuple[int, int]]:
    """Spans of several lengths and beginnings inside the ground."""
    length = ground.end_ms - ground.start_ms
    shares = ((0.0, 0.5), (0.21, 0.87), (0.5, 1.0), (0.93, 0.99))
    return [
        (
            Timeframe.M1.floor(ground.start_ms + round(length * begin)),
            Timeframe.M1.floor(ground.start_ms + round(length * end)),
        )
        for begin, end in shares
    ]
