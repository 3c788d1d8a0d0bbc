"""One moment of one symbol explained gate by gate, computed again from the stored bars.

What is read are the bars of that symbol and of the reference, from the anchor of the month on; they are kept,
so that the next moment of the same month needs none.
"""

from collections.abc import Sequence
from threading import Thread

import numpy as np

from crypto_tracker.app.explaining import Answers, PortfolioAnswer, Scan, StrategyExplanation, explain_symbol
from crypto_tracker.app.serving.candles import provider_of, source_of
from crypto_tracker.app.serving.recent import Recent
from crypto_tracker.app.serving.scans import lacking, read_columns
from crypto_tracker.app.serving.scope import Scanned, Scope
from crypto_tracker.app.serving.strategy_view import (
    configuration_of,
    facts_of,
    parameters_of,
    strategies_of,
    timeframe_of,
)
from crypto_tracker.config.instruments import instruments
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, from_ms, next_month_ms
from crypto_tracker.desk.source import NotThere
from crypto_tracker.desk.views import decisions as views
from crypto_tracker.features.blocks import anchor_ms, joined
from crypto_tracker.portfolio.trend import slow_regime_codes
from crypto_tracker.research.market import Market
from crypto_tracker.store.choice import BASES
from crypto_tracker.strategies.base import MarketView, Strategy, StrategyEntry
from crypto_tracker.strategies.measures import warmup_on
from crypto_tracker.strategies.needs import TREND_SPANS, scan_timeframe
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.strategies.scan import scan

_AGE_MS = 5 * MINUTE_MS  # by then bars that were fetched, or mended, are seen
_PANELS_KEPT = 48  # some ten thousand bars each
_TOLD_KEPT = 512
_LATE_MS = HOUR_MS  # by then bars that came late are there
_WARM_UP_MS = 20_000 * DAY_MS
_WARM_UP_DAYS = 40


class _Panels(Recent[tuple[Panel, int]]):
    """Bars that were read, and when."""

    def __init__(self) -> None:
        super().__init__(_PANELS_KEPT)


class _Told(Recent[tuple[StrategyExplanation, str | None]]):
    """What was explained lately, and what is to be said of its bars."""

    def __init__(self) -> None:
        super().__init__(_TOLD_KEPT, age_ms=_AGE_MS)


def explain(
    scope: Scope,
    scanned: Scanned,
    symbol: Symbol,
    at_ms: int,
    strategies: Sequence[str],
    answer: Answers,
) -> views.Explained:
    """The last scan of each strategy (all where none is named) at or before a moment, every gate of it.

    It is explained under the configuration of the recorded scan, or the book's own where none is recorded.
    `answer` is what the portfolio did with a setup. Raises NotThere before all bars of the symbol.
    """
    facts_of(scope, symbol)
    moment_ms = max(min(at_ms, scope.until_ms), 0)
    told, notes = [], []
    for strategy in strategies_of(scope, tuple(strategies)):
        try:
            found, note = _explained(scope, scanned, symbol, strategy, moment_ms)
        except DataError as error:  # no bars at all: that is what there is to be told
            notes.append(str(error))
            continue
        told.append(
            _view(found, answer(_scan_of(scope, symbol, strategy, found)) if _is_setup(found) else None)
        )
        notes += [] if note is None else [note]
    if told and all(scan.reason == Reason.NO_BAR.code for scan in told):
        _refuse_before_all_bars(scope, symbol, moment_ms)
    return views.Explained(
        symbol=str(symbol),
        at_ms=moment_ms,
        strategies=told,
        note="; ".join(dict.fromkeys(notes)) or None,
    )


def _refuse_before_all_bars(scope: Scope, symbol: Symbol, moment_ms: int) -> None:
    """Nothing was scanned where nothing was traded yet: that is no scan without a bar."""
    bars = [info for info in scope.bars.reader().series() if info.symbol == symbol]
    first_ms = min((info.start_ms for info in bars), default=0)
    if bars and moment_ms <= first_ms:
        end = from_ms(max(info.end_ms for info in bars))
        raise NotThere(
            f"{symbol} has no bars at {from_ms(moment_ms):%Y-%m-%d %H:%M} UTC: ask for a moment within those "
            f"that are stored, {from_ms(first_ms):%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
        )


def _explained(
    scope: Scope, scanned: Scanned, symbol: Symbol, strategy: Strategy, moment_ms: int
) -> tuple[StrategyExplanation, str | None]:
    """One scan without the portfolio's answer, and what is to be said of its bars."""
    close_ms = timeframe_of(scope, strategy).floor(moment_ms)
    recorded = read_columns(scope, scanned, symbol, strategy.name, [close_ms])
    version = recorded[0].version if recorded else scope.version
    key, told = (version, symbol, strategy.name, close_ms), scope.memory.of(_Told)
    kept = told.get(key, now_ms=scope.now_ms())
    if kept is None:
        configuration = configuration_of(scope, version)
        view = _market_view(scope, configuration, strategy, symbol, close_ms)
        kept = (_told(scope, configuration, strategy, symbol, view, close_ms), None)
        note = _lacking(view, symbol, close_ms)
        if note is None and recorded and recorded[0].reason != kept[0].reason:
            said = Reason(recorded[0].reason).code
            note = f"{strategy.name} said {said} at the time: bars were stored or corrected since"
        kept = (kept[0], note)
        if note is None:  # what was lacking may come
            told.put(key, kept, now_ms=scope.now_ms())
    return kept


def _told(
    scope: Scope,
    configuration: Configuration,
    strategy: Strategy,
    symbol: Symbol,
    view: MarketView,
    close_ms: int,
) -> StrategyExplanation:
    nothing = Panel.empty(scope.base, [symbol], close_ms, close_ms)
    market = Market(
        base=scope.base,
        start_ms=close_ms,
        end_ms=close_ms,
        instruments=facts_of(scope, symbol),
        panel=nothing,
        before=nothing,
        reference_symbol=scope.reference,
        reference=None,
        views={view.timeframe: view},
    )
    entry = StrategyEntry(strategy=strategy, parameters=parameters_of(configuration, strategy))
    (told,) = explain_symbol(
        market, [entry], symbol, near_miss_readiness=scope.near_miss_readiness, answers=()
    )
    return told


def _market_view(
    scope: Scope, configuration: Configuration, strategy: Strategy, symbol: Symbol, close_ms: int
) -> MarketView:
    """What the strategy may see at a close, and perhaps later bars: a scan takes those that it may."""
    timeframe = timeframe_of(scope, strategy)
    month_ms = close_ms - timeframe.ms  # a bar belongs to the month in which it opens
    panels = {
        each: _panel(scope, symbol, each, anchor_ms(each, bars, month_ms), close_ms)
        for each, bars in warmup_on(strategy, timeframe).items()
    }
    reference: dict[Timeframe, Panel] = {}
    if scope.reference is not None:
        trend_days = TREND_SPANS * configuration.protection.slow_regime.trend_bars
        for each, bars in strategy.reference_warmup.items():
            needed = max(bars, trend_days) if each is Timeframe.D1 else bars
            reference[each] = _panel(
                scope, scope.reference, each, anchor_ms(each, needed, month_ms), close_ms
            )
    days = reference.get(Timeframe.D1)
    return MarketView(
        timeframe=timeframe,
        panels=panels,
        reference=reference,
        instruments=facts_of(scope, symbol),
        slow_regime=None if days is None else slow_regime_codes(days, configuration.protection.slow_regime),
    )


def _panel(scope: Scope, symbol: Symbol, timeframe: Timeframe, start_ms: int, close_ms: int) -> Panel:
    """The bars from `start_ms` on that close by `close_ms`, and later ones of the month that will not change.

    What an earlier call has read is not read again, but the latest of it, and all of it some minutes later
    where it was not known of some bars whether there are any.
    """
    provider_of(scope, symbol)
    key, panels = (symbol, timeframe, start_ms), scope.memory.of(_Panels)
    source, now_ms = source_of(scope), scope.now_ms()
    needed_ms = timeframe.floor(close_ms)
    settled_ms = timeframe.floor(min(next_month_ms(close_ms - 1), now_ms - _LATE_MS))
    kept, read_ms = panels.get(key) or (None, now_ms)
    if kept is not None and not 0 <= now_ms - read_ms < _AGE_MS and not kept.covered.all():
        kept = None
    if kept is not None and len(kept) and int(kept.close_time_ms[-1]) >= needed_ms:
        return kept
    again_ms = start_ms
    if kept is not None and len(kept):
        again_ms = max(timeframe.floor(int(kept.close_time_ms[-1]) - _LATE_MS), start_ms)
    found = source.panel([symbol], timeframe, again_ms, max(needed_ms, settled_ms))
    if kept is None:
        read_ms = now_ms
    else:
        found = joined(kept.between(start_ms, again_ms), found)
    panels.put(key, (found, read_ms))
    return found


def _is_setup(found: StrategyExplanation) -> bool:
    return found.verdict is Verdict.TAKE


def _scan_of(scope: Scope, symbol: Symbol, strategy: Strategy, found: StrategyExplanation) -> Scan:
    """The scan as records know it, with every base on which the strategy scans the same bars."""
    timeframe = timeframe_of(scope, strategy)
    bases = tuple(str(base) for base in BASES if scan_timeframe(strategy, base) is timeframe)
    return Scan(symbol=symbol, strategy=strategy.name, time_ms=found.scan_time_ms, bases=bases)


def _view(found: StrategyExplanation, answer: PortfolioAnswer | None) -> views.ScanExplained:
    return views.ScanExplained(
        strategy=found.strategy,
        timeframe=found.timeframe,
        time_ms=found.scan_time_ms,
        verdict=found.verdict.value,
        reason=found.reason.code,
        lacks=lacking(found.reason, found.measurements),
        readiness=found.readiness,
        confidence=found.confidence,
        gates=[
            views.GateResult(
                gate=gate.gate,
                passed=gate.passed,
                measured=gate.measured,
                required=gate.required,
                sentence=gate.sentence,
            )
            for gate in found.gates
        ],
        measurements=dict(found.measurements),
        portfolio=None
        if answer is None
        else views.PortfolioAnswer.model_validate(
            {
                "verdict": answer.verdict,
                "reason": answer.reason,
                "sentence": answer.sentence,
                "rank": answer.rank,
                "source": answer.source,
            }
        ),
    )


def warm_up(configuration: Configuration) -> Thread:
    """Let the built-in strategies scan a few made-up bars, in a thread of its own.

    Compiled code is loaded when it is called first, or made where a machine has none yet: nobody shall wait
    for that who asks for an explanation.
    """
    thread = Thread(target=_scan_made_up, args=(configuration,), name="warm-up", daemon=True)
    thread.start()
    return thread


def _scan_made_up(configuration: Configuration) -> None:
    symbol, close_ms = Symbol("BTC", configuration.trading.quote), _WARM_UP_MS
    for strategy in builtin().values():
        timeframe = strategy.timeframe
        days = _made_up(symbol, Timeframe.D1, close_ms - TREND_SPANS * _WARM_UP_DAYS * DAY_MS, close_ms)
        view = MarketView(
            timeframe=timeframe,
            panels={
                each: _made_up(symbol, each, anchor_ms(each, bars, close_ms - timeframe.ms), close_ms)
                for each, bars in strategy.warmup.items()
            },
            reference={Timeframe.D1: days} if strategy.reference_warmup else {},
            instruments=instruments(configuration, [symbol]),
            slow_regime=slow_regime_codes(days, configuration.protection.slow_regime)
            if strategy.reference_warmup
            else None,
        )
        parameters = parameters_of(configuration, strategy)
        for _ in scan(strategy, view, parameters, close_ms - timeframe.ms, close_ms):
            pass


def _made_up(symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
    """Bars that go up and down."""
    times = np.arange(timeframe.floor(start_ms), timeframe.floor(end_ms), timeframe.ms, dtype=np.int64)
    close = (100.0 + 10.0 * np.sin(np.arange(len(times)) / 7.0))[:, np.newaxis]
    return Panel(
        timeframe=timeframe,
        symbols=(symbol,),
        open_time_ms=times,
        open=close,
        high=close + 1.0,
        low=close - 1.0,
        close=close,
        volume=np.ones_like(close),
        covered=np.ones(close.shape, dtype=np.bool_),
    )


def _lacking(view: MarketView, symbol: Symbol, close_ms: int) -> str | None:
    """What to say where it is not known whether there was a bar."""
    bars = view.panels[view.timeframe].between(close_ms - view.timeframe.ms, close_ms)
    if len(bars) and bars.covered.all():
        return None
    return (
        f"the {view.timeframe} bar of {symbol} that closed {from_ms(close_ms):%Y-%m-%d %H:%M} UTC is not "
        "stored: `crypto-tracker download-data` fetches what is missing"
    )
