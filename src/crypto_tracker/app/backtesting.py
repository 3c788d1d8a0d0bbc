"""A backtest from a choice of stored bars to its report, its record, and its bundle."""

import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

import crypto_tracker
from crypto_tracker.app.backtest_document import document
from crypto_tracker.app.compiling import compiling
from crypto_tracker.config.entries import configured_strategies
from crypto_tracker.config.tree import Configuration
from crypto_tracker.config.versions import canonical, version
from crypto_tracker.core.timeframes import DAY_MS, from_ms, to_ms
from crypto_tracker.research.backtest import (
    Backtest,
    Progress,
    equity_stretches,
    run_backtest,
    setup_rows,
    trade_records,
)
from crypto_tracker.research.bundle import Options, bundle
from crypto_tracker.research.bundle_contents import Document
from crypto_tracker.research.chunks import run_in_months
from crypto_tracker.research.data_hash import DIGITS
from crypto_tracker.research.market import unknown_trend
from crypto_tracker.simulation.books import market_fills
from crypto_tracker.simulation.parameters import FillSource
from crypto_tracker.simulation.report import About, Report, against_search, report
from crypto_tracker.simulation.statistics import sharpe_ratio
from crypto_tracker.store.books import BookStore, StoredBooks
from crypto_tracker.store.choice import Choice, no_reference
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.runs import Run, RunStore
from crypto_tracker.store.sources import StoredBars
from crypto_tracker.store.trials import Data, Trial, TrialStore
from crypto_tracker.strategies.base import Strategy

_SYNTHETIC = "synthetic"
_FEW_DAYS = 30  # a shorter span says little of a year
_MEASURING, _RECORDING = 0.87, 0.92  # shares of the whole work that are done when these begin


def measured_run(  # noqa: PLR0913 - all of them are chosen by whoever runs it
    home: Path,
    reader: BarReader,
    configuration: Configuration,
    installed: Mapping[str, Strategy],
    choice: Choice,
    options: Options,
    *,
    keep_blocks: bool,
    progress: Progress,
    in_months: bool = False,
    compiles: Callable[[], None] = lambda: None,
) -> tuple[Backtest, Report]:
    """Run the strategies of a configuration over the chosen bars, and measure what came of it.

    With `in_months` one month is read after the other, and the run keeps the closes of its bars alone.
    `compiles` is called where code must be compiled first; the seconds of that count for no other part.
    """
    with compiling(compiles) as watch:
        run = (run_in_months if in_months else run_backtest)(
            StoredBars(reader, choice.provider_of, choice.history),
            configuration,
            configured_strategies(dict(installed), configuration, options.strategies),
            choice,
            version=version(configuration),
            keep_blocks=keep_blocks,
            close_at_end=options.close_at_end,
            progress=(lambda what, share: progress(what, _MEASURING * share)) if in_months else progress,
            stopwatch=watch.stopwatch,
            books=StoredBooks(BookStore(home), choice.provider_of),
        )
        began = watch.stopwatch()
        found = report(run.scenario, run.result, _about(run, choice, version(configuration)))
        measured = watch.stopwatch() - began
    seconds = {"compile": watch.seconds, **run.seconds, "measure": measured}
    notes = (*found.about.notes, *_doubts(run, found))
    return run, replace(found, about=replace(found.about, seconds=seconds, notes=notes))


def remembered(
    home: Path,
    configuration: Configuration,
    assignments: Sequence[str],
    run: Backtest,
    found: Report,
    *,
    now: datetime,
) -> Report:
    """The report held against what was tried on overlapping spans; the run itself becomes a part of it."""
    providers = {symbol: found.about.providers[str(symbol)] for symbol in run.market.panel.symbols}
    data = Data(
        start_ms=run.market.start_ms,
        end_ms=run.market.end_ms,
        base=found.about.base,
        provider_of=providers,
        synthetic=found.about.synthetic,
    )
    trial = Trial(
        data=data,
        configuration_version=version(configuration),
        sharpe=sharpe_ratio(found.daily_returns),
        days=len(found.daily_returns),
        trades=len(found.trades),
        source="backtest",
        assignments=tuple(assignments),
    )
    store = TrialStore.open(home)
    try:
        store.remember([trial], recorded_at_ms=to_ms(now))
        history = store.history(data)
    finally:
        store.close()
    return against_search(found, trials=history.trials, variance=history.variance)


def recorded(
    home: Path,
    configuration: Configuration,
    run: Backtest,
    found: Report,
    *,
    now: datetime,
    progress: Progress,
) -> Report:
    """The report with its number, after all records of the run were written in one transaction."""
    progress("recording", _RECORDING)
    store = RunStore.open(home)
    try:
        run_id = store.record(
            Run(
                kind="backtest",
                synthetic=found.about.synthetic,
                base=found.about.base,
                start_ms=run.market.start_ms,
                end_ms=run.market.end_ms,
                symbols=run.market.panel.symbols,
                strategies=run.scenario.strategies,
                configuration_version=version(configuration),
                configuration=canonical(configuration),
                code_version=crypto_tracker.__version__,
            ),
            state="finished",
            recorded_at_ms=to_ms(now),
            setups=[*setup_rows(run.scenario, run.result), *run.detected.near],
            traded=trade_records(run.scenario, run.result),
            blocks=run.detected.blocks,
            equity=equity_stretches(run.scenario, run.result),
        )
    finally:
        store.close()
    return replace(found, about=replace(found.about, run_id=run_id))


def bundled(
    configuration: Configuration, choice: Choice, options: Options, run: Backtest, found: Report
) -> Document:
    """The bundle of a run."""
    return bundle(
        document(found),
        choice=choice,
        options=options,
        configuration=configuration,
        data={"hash": run.data_hash.total, "symbols": dict(run.data_hash.symbols)},
        code={
            "version": crypto_tracker.__version__,
            "digest": code_digest(entry.strategy for entry in run.entries),
        },
        seed=found.about.seed,
        result=run.result,
    )


def code_digest(strategies: Iterable[Strategy]) -> str:
    """Names the code: every module of the program and its defaults, and the files of other strategies."""
    package = Path(crypto_tracker.__file__).parent
    files = {path for pattern in ("*.py", "*.toml") for path in package.rglob(pattern)}
    for strategy in strategies:
        source = inspect.getsourcefile(type(strategy))
        if source is not None:
            files.add(Path(source))
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: _place(path, package)):
        digest.update(f"{_place(path, package)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:DIGITS]


def _place(path: Path, package: Path) -> str:
    return path.relative_to(package).as_posix() if path.is_relative_to(package) else path.name


def _about(run: Backtest, choice: Choice, configuration_version: str) -> About:
    market = run.market
    notes = list(choice.notes)
    if market.reference is None and choice.reference_symbol is not None:
        notes.append(no_reference(choice.reference_symbol.base, choice.base))
    trend = unknown_trend(market)
    if trend is not None:
        notes.append(trend)
    shares = run.scenario.rules.limits.shares
    notes += [
        f"{name} has no share of the capital, so it opens nothing: give it one under [limits.shares]"
        for name in run.scenario.strategies
        if not shares.get(name)
    ]
    return About(
        run_id=None,
        start=from_ms(market.start_ms),
        end=from_ms(market.end_ms),
        base=str(choice.base),
        symbols=tuple(str(symbol) for symbol in market.panel.symbols),
        providers={str(symbol): name for symbol, name in choice.provider_of.items()},
        reference=None if choice.reference_symbol is None else str(choice.reference_symbol),
        strategies=run.scenario.strategies,
        intrabar=str(run.scenario.rules.fills.intrabar),
        close_at_end=run.scenario.close_at_end,
        bars=_bars(run),
        synthetic=_SYNTHETIC in choice.provider_of.values(),
        configuration_version=configuration_version,
        code_version=crypto_tracker.__version__,
        data_hash=run.data_hash.total,
        seed=None,
        notes=tuple(notes),
        scans=run.detected.scans,
        near_misses=run.detected.n_near,
        seconds=run.seconds,
    )


def _bars(run: Backtest) -> int:
    close = run.market.panel.close
    return sum(int(np.count_nonzero(~np.isnan(close[:, column]))) for column in range(close.shape[1]))


def _doubts(run: Backtest, found: Report) -> list[str]:
    """What the result itself gives reason to doubt."""
    notes = []
    share, limit = found.figures.ambiguous_share, run.scenario.rules.fills.ambiguous_warning
    if share is not None and share > limit:
        notes.append(
            f"{100.0 * share:.1f} % of the exits could have been another one in the same bar "
            f"(more than {100.0 * limit:g} %): "
            "compare with --set fills.intrabar=optimistic"
        )
    if run.scenario.rules.fills.source is FillSource.BOOK:
        walked, table = market_fills(run.result.fills)
        notes.append(
            f"market fills: {walked} walked a recorded order book, {table} used the slippage table, since "
            "no book of their moment was recorded"
        )
    days = (run.market.end_ms - run.market.start_ms) / DAY_MS
    if days < _FEW_DAYS:
        notes.append(f"the span is {days:.3g} days long: figures for a year say little")
    if found.about.synthetic:
        notes.append("SYNTHETIC bars: this result says nothing about any real market")
    return notes
