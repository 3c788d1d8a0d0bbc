"""Holds configurations against spans of a prepared market, wherever the work is done.

A job is one configuration with all the spans that are wanted of it, so that its strategies detect once. Each
result is kept: what was measured is never measured again within a search.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from crypto_tracker.config.entries import configured_strategies
from crypto_tracker.config.tree import Configuration, configuration_model
from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.errors import SimulationError
from crypto_tracker.research.executor import outcome
from crypto_tracker.research.optimize.objective import Measured, measure
from crypto_tracker.research.optimize.space import ParameterSet, distinct
from crypto_tracker.research.prepared import Prepared
from crypto_tracker.simulation.backtest import simulate_portfolio
from crypto_tracker.strategies.base import Strategy

Span = tuple[int, int]  # [start, end) in milliseconds
Jobs = dict[Future[list[Measured]], tuple[ParameterSet, list[Span]]]

_WAITING_MAX = 256  # jobs handed out and not yet finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Where a worker finds what it needs; small, since it travels with every job.

    Attributes
    ----------
    folder : of the prepared market
    strategies : gives every strategy that there is, importable by name
    only : the strategies asked for by name, empty for those of the configuration
    """

    folder: Path
    strategies: Callable[[], Mapping[str, Strategy]]
    only: tuple[str, ...]


class Bench:
    """A worker's own view of a prepared market: opened once in each process."""

    def __init__(self, workplace: Workplace) -> None:
        self._strategies = dict(workplace.strategies())
        self._only = workplace.only
        self._model = configuration_model(
            {name: strategy.parameters_model for name, strategy in self._strategies.items()}
        )
        self.prepared = Prepared(workplace.folder, self._strategies)

    def configuration(self, document: str) -> Configuration:
        """The configuration that a document holds."""
        return self._model.model_validate_json(document, strict=True)

    def measure(self, document: str, spans: Sequence[Span]) -> list[Measured]:
        """Trade each span from flat, positions closed at its end."""
        configuration = self.configuration(document)
        entries = configured_strategies(self._strategies, configuration, self._only)
        found = []
        for start_ms, end_ms in spans:
            inputs = self.prepared.scenario(
                configuration, entries, start_ms=start_ms, end_ms=end_ms, close_at_end=True
            )
            days = self.prepared.days(configuration.trading.timezone, start_ms, end_ms)
            found.append(measure(simulate_portfolio(inputs), days, configuration.trading.capital_quote))
        return found

    def days(self, document: str) -> IntArray:
        """The trading day of each base bar of the whole span."""
        return self.prepared.days(self.configuration(document).trading.timezone, *self.prepared.span)


_benches: dict[Path, Bench] = {}
_lock = Lock()


def bench(workplace: Workplace) -> Bench:
    """The bench of this process."""
    with _lock:
        found = _benches.get(workplace.folder)
        if found is None:
            _benches.clear()  # a worker that lives longer than a search lets go of the one before
            found = _benches[workplace.folder] = Bench(workplace)
    return found


def leave(workplace: Workplace) -> None:
    """Let go of a prepared market in this process, before its folder is removed."""
    with _lock:
        _benches.pop(workplace.folder, None)


def work(workplace: Workplace, document: str, spans: Sequence[Span]) -> list[Measured]:
    """One job, as a worker does it."""
    return bench(workplace).measure(document, spans)


class Evaluator:
    """Measures parameter sets on spans, each pair once.

    Parameters
    ----------
    finished : told of every result as soon as it is there
    progress : told how many jobs are done since the last time
    """

    def __init__(
        self,
        executor: Executor,
        workplace: Workplace,
        *,
        finished: Callable[[ParameterSet, Span, Measured], None],
        progress: Callable[[int], None],
    ) -> None:
        self._executor = executor
        self._workplace = workplace
        self._finished = finished
        self._progress = progress
        self._known: dict[tuple[str, Span], Measured] = {}

    def measure(self, sets: Iterable[ParameterSet], spans: Sequence[Span]) -> None:
        """Measure every set on every span, where that was not done before.

        Sets are taken as there is room for their work, so that making them costs no time of its own.
        """
        jobs: Jobs = {}
        try:
            for each in distinct(sets):
                missing = [span for span in dict.fromkeys(spans) if (each.version, span) not in self._known]
                if not missing:
                    self._progress(1)
                    continue
                future = self._executor.submit(work, self._workplace, each.document, missing)
                jobs[future] = each, missing
                self._collect(jobs, waiting=len(jobs) >= _WAITING_MAX)
            while jobs:
                self._collect(jobs, waiting=True)
        except BaseException:
            # Ctrl-C, or a job that failed: what others have finished in the meantime is not lost.
            for future, job in jobs.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    self._keep(future, *job)
            raise

    def _collect(self, jobs: Jobs, *, waiting: bool) -> None:
        """Keep the results that are there; where `waiting`, at least one."""
        done, _ = wait(jobs, timeout=None if waiting else 0.0, return_when=FIRST_COMPLETED)
        for future in done:
            self._keep(future, *jobs.pop(future))
            self._progress(1)

    def _keep(self, future: Future[list[Measured]], each: ParameterSet, spans: Sequence[Span]) -> None:
        try:
            results: list[Measured] = outcome(future)
        except SimulationError as error:
            which = " ".join(each.assignments) or "the current configuration"
            raise SimulationError(f"{which}: {error}") from error
        for span, measured in zip(spans, results, strict=True):
            self._known[each.version, span] = measured
            self._finished(each, span, measured)

    def result(self, each: ParameterSet, span: Span) -> Measured:
        """What was measured."""
        return self._known[each.version, span]
