"""Holds configurations against spans of a prepared market, wherever the work is done.

A job is one configuration with all the spans that are wanted of it, so that its strategies detect once. Each
result is kept: what was measured is never measured again within a search.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from crypto_tracker.config.entries import configured_strategies
from crypto_tracker.config.tree import Configuration, configuration_model
from crypto_tracker.core.arrays import IntArray
from crypto_tracker.research.executor import outcome
from crypto_tracker.research.optimize.objective import Measured, measure
from crypto_tracker.research.optimize.space import ParameterSet, distinct
from crypto_tracker.research.prepared import Prepared
from crypto_tracker.simulation.backtest import simulate_portfolio
from crypto_tracker.strategies.base import Strategy

Span = tuple[int, int]  # [start, end) in milliseconds


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
        """Measure every set on every span, where that was not done before."""
        jobs = {}
        done = 0
        for each in distinct(sets):
            missing = [span for span in dict.fromkeys(spans) if (each.version, span) not in self._known]
            if missing:
                future = self._executor.submit(work, self._workplace, each.document, missing)
                jobs[future] = each, missing
            else:
                done += 1
        self._progress(done)
        try:
            for future in as_completed(list(jobs)):
                self._keep(future, *jobs.pop(future))
                self._progress(1)
        except BaseException:
            # Ctrl-C, or a job that failed: what others have finished in the meantime is not lost.
            for future, job in jobs.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    self._keep(future, *job)
            raise

    def _keep(self, future: Future[list[Measured]], each: ParameterSet, spans: Sequence[Span]) -> None:
        results: list[Measured] = outcome(future)
        for span, measured in zip(spans, results, strict=True):
            self._known[each.version, span] = measured
            self._finished(each, span, measured)

    def result(self, each: ParameterSet, span: Span) -> Measured:
        """What was measured."""
        return self._known[each.version, span]
