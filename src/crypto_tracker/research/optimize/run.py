"""One search from its candidates to its verdict."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from crypto_tracker.config.research import Optimize
from crypto_tracker.research.optimize.evaluation import Evaluator, Span, Workplace, bench
from crypto_tracker.research.optimize.evidence import Evidence, evidence
from crypto_tracker.research.optimize.objective import Measured
from crypto_tracker.research.optimize.search import Candidates, Request, best, search
from crypto_tracker.research.optimize.space import Loader, ParameterSet, parameter_set
from crypto_tracker.research.optimize.windows import Walk, Window, walk
from crypto_tracker.research.prepared import Progress
from crypto_tracker.store.trials import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How a span is cut into windows; None where the rest decides."""

    windows: int
    in_sample_days: int | None
    out_of_sample_days: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What one window chose, and how it did.

    Attributes
    ----------
    chosen : the current configuration where no set had enough trades
    eligible : how many sets could be chosen
    in_sample, out_of_sample : of the chosen set
    current_in_sample, current_out_of_sample : of the current configuration on the same days
    """

    window: Window
    chosen: ParameterSet
    eligible: int
    in_sample: Measured
    out_of_sample: Measured
    current_in_sample: Measured
    current_out_of_sample: Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimized:
    """A finished search.

    Attributes
    ----------
    windows : in order of time
    proposal : what the latest span in sample chose; the current configuration where nothing could be chosen
    proposal_in_sample : how it did there
    tried : different configurations that were measured, the current one included
    """

    request: Request
    walk: Walk
    candidates: Candidates
    windows: tuple[Chosen, ...]
    proposal: ParameterSet
    proposal_in_sample: Measured
    evidence: Evidence

    @property
    def tried(self) -> int:
        """How many different configurations were measured, the current one included."""
        return len(self.candidates.everything)


def optimize(
    request: Request,
    settings: Optimize,
    lengths: Lengths,
    *,
    workplace: Workplace,
    load: Loader,
    executor: Executor,
    remember: Callable[[ParameterSet, Measured], None],
    history: Callable[[], History],
    progress: Progress,
) -> Optimized:
    """Search, walk forward, remember every trial, and judge.

    Parameters
    ----------
    remember : told of every configuration that was held against the whole span, as soon as it was
    history : what was tried on overlapping spans with a common symbol, asked for at the end
    progress : told what is being done, and the share of the whole that is done
    """
    here = bench(workplace)
    days = here.days(parameter_set((), load).document)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(days)) + 1])
    whole = here.prepared.span
    path = walk(
        here.prepared.panel.open_time_ms[starts].tolist(),
        whole[1],
        windows=lengths.windows,
        ratio=settings.in_sample_ratio,
        in_sample_days=lengths.in_sample_days,
        out_of_sample_days=lengths.out_of_sample_days,
    )
    steps = _Steps(request, path, progress)

    def finished(each: ParameterSet, span: Span, measured: Measured) -> None:
        if span == whole:
            remember(each, measured)

    evaluator = Evaluator(executor, workplace, finished=finished, progress=steps.done)
    candidates = search(request, evaluator, load, searched=path.searched, whole=whole, note=steps.say)
    steps.say("trading out of sample")
    windows = [_chosen(request, evaluator, candidates, window) for window in path.windows]
    proposal = _best(request, evaluator, candidates, path.latest) or candidates.current
    everything = candidates.everything
    steps.say("judging")
    return Optimized(
        request=request,
        walk=path,
        candidates=candidates,
        windows=tuple(windows),
        proposal=proposal,
        proposal_in_sample=evaluator.result(proposal, path.latest),
        evidence=evidence(
            chosen=_joined([window.out_of_sample for window in windows]),
            current=_joined([window.current_out_of_sample for window in windows]),
            trades=sum(window.out_of_sample.trades for window in windows),
            performance=np.column_stack([evaluator.result(each, whole).returns for each in everything]),
            history=history(),
            moved=any(window.chosen.version != candidates.current.version for window in windows),
            changes=proposal.version != candidates.current.version,
            seed=request.seed,
            settings=settings,
        ),
    )


class _Steps:
    """Counts jobs, so that the share of the whole can be told."""

    def __init__(self, request: Request, path: Walk, progress: Progress) -> None:
        spans = len(path.searched) if request.method == "optuna" else 1
        self._all = spans * (request.trials + 1) + 2 * len(path.windows)
        if request.method == "grid":
            size = 1
            for dimension in request.space:
                size *= len(dimension.values)
            self._all = size + 1 + 2 * len(path.windows)
        self._progress = progress
        self._done = 0
        self._what = "searching"

    def say(self, what: str) -> None:
        self._what = what
        self.done(0)

    def done(self, jobs: int) -> None:
        self._done += jobs
        self._progress(self._what, min(self._done / self._all, 1.0))


def _chosen(request: Request, evaluator: Evaluator, candidates: Candidates, window: Window) -> Chosen:
    sets = candidates.by_span[window.in_sample]
    current = candidates.current
    chosen = _best(request, evaluator, candidates, window.in_sample) or current
    evaluator.measure([current], [window.out_of_sample])
    evaluator.measure([chosen], [window.out_of_sample])
    return Chosen(
        window=window,
        chosen=chosen,
        eligible=sum(request.score(evaluator.result(each, window.in_sample)) is not None for each in sets),
        in_sample=evaluator.result(chosen, window.in_sample),
        out_of_sample=evaluator.result(chosen, window.out_of_sample),
        current_in_sample=evaluator.result(current, window.in_sample),
        current_out_of_sample=evaluator.result(current, window.out_of_sample),
    )


def _best(request: Request, evaluator: Evaluator, candidates: Candidates, span: Span) -> ParameterSet | None:
    sets = candidates.by_span[span]
    return best(request, sets, [evaluator.result(each, span) for each in sets])


def _joined(results: Sequence[Measured]) -> np.ndarray:
    return np.concatenate([measured.returns for measured in results])
