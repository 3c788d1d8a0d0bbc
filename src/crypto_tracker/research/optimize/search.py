"""Which parameter sets are tried: every one of a grid, some at random, or those that Optuna proposes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from crypto_tracker.config.keys import dotted
from crypto_tracker.core.errors import ConfigError, UsageError
from crypto_tracker.research.optimize.evaluation import Evaluator, Span
from crypto_tracker.research.optimize.objective import Measured
from crypto_tracker.research.optimize.space import (
    Choices,
    Dimension,
    Loader,
    ParameterSet,
    Space,
    distinct,
    drawn,
    grid,
    parameter_set,
    point,
)

METHODS = ("grid", "random", "optuna")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is searched, and how.

    Attributes
    ----------
    method : one of METHODS
    trials : parameter sets at most; of optuna for each window
    batch : how many Optuna proposes before it is told their results, whatever the number of workers
    objective, trades_min : the figure to maximise, and the trades in sample that a set needs to be chosen
    """

    space: Space
    method: str
    trials: int
    seed: int
    batch: int
    objective: str
    trades_min: int

    def score(self, measured: Measured) -> float | None:
        """The figure to maximise; None where a set cannot be chosen."""
        return measured.figures[self.objective] if measured.trades >= self.trades_min else None


@dataclass(slots=True, kw_only=True)
class Candidates:
    """What was tried.

    Attributes
    ----------
    current : the configuration as it is; it is always among the candidates
    by_span : for each span that parameters are chosen in, the sets that were tried there
    refused : values that do not go together, with the configuration's own words
    """

    current: ParameterSet
    by_span: dict[Span, list[ParameterSet]] = field(default_factory=dict)
    refused: dict[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def everything(self) -> list[ParameterSet]:
        """Every set once, the current one first."""
        return list(distinct([self.current, *(each for sets in self.by_span.values() for each in sets)]))


def known_method(name: str) -> str:
    """The name, if it is one; raises UsageError with those that there are."""
    if name not in METHODS:
        raise UsageError(f"--method {name}: there are {', '.join(METHODS)}")
    if name == "optuna":
        _optuna()
    return name


def search(
    request: Request,
    evaluator: Evaluator,
    load: Loader,
    *,
    searched: Sequence[Span],
    whole: Span,
    note: Callable[[str], None],
) -> Candidates:
    """Measure candidates on the spans in which parameters are chosen, and all of them on the whole span.

    A window of an adaptive search learns from its own span alone: what other windows found, or the whole span
    shows, is not known to it.
    """
    candidates = Candidates(current=parameter_set((), load))
    if request.method == "optuna":
        for number, span in enumerate(searched, start=1):
            note(f"searching span {number} of {len(searched)}")
            candidates.by_span[span] = _adaptive(
                request, evaluator, load, candidates, span, whole, seed=request.seed + number
            )
        return candidates
    note("searching")
    combinations: Iterable[tuple[str, ...]]
    if request.method == "grid":
        combinations = grid(request.space, most=request.trials)
    else:
        combinations = drawn(request.space, trials=request.trials, seed=request.seed)
    sets: list[ParameterSet] = []
    tried = distinct(_valid(combinations, request.space, load, candidates))
    evaluator.measure(_kept(tried, sets), [*searched, whole])
    candidates.by_span = dict.fromkeys(searched, sets)
    return candidates


def best(request: Request, sets: Sequence[ParameterSet], results: Sequence[Measured]) -> ParameterSet | None:
    """The set with the highest score, the first of equals; None where none has one."""
    scored = [
        (score, each)
        for each, score in zip(sets, map(request.score, results), strict=True)
        if score is not None
    ]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def _kept(sets: Iterable[ParameterSet], into: list[ParameterSet]) -> Iterator[ParameterSet]:
    for each in sets:
        into.append(each)
        yield each


def _valid(
    combinations: Iterable[tuple[str, ...]], space: Space, load: Loader, candidates: Candidates
) -> Iterator[ParameterSet]:
    """The current configuration, and every combination whose values go together."""
    yield candidates.current
    for values in combinations:
        try:
            yield point(space, values, load)
        except ConfigError as error:
            candidates.refused[values] = str(error)


def _adaptive(
    request: Request,
    evaluator: Evaluator,
    load: Loader,
    candidates: Candidates,
    span: Span,
    whole: Span,
    *,
    seed: int,
) -> list[ParameterSet]:
    """The sets that Optuna's tree-structured Parzen estimator proposes for one span."""
    optuna = _optuna()
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    pruned, failed = optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL
    sets = [candidates.current]
    evaluator.measure(sets, [span, whole])
    left = request.trials
    while left:
        asked = [study.ask() for _ in range(min(request.batch, left))]
        left -= len(asked)
        proposed: list[tuple[Any, ParameterSet]] = []
        for trial in asked:
            values = tuple(_suggested(trial, dimension) for dimension in request.space)
            try:
                proposed.append((trial, point(request.space, values, load)))
            except ConfigError as error:
                candidates.refused[values] = str(error)
                study.tell(trial, state=failed)
        evaluator.measure([each for _, each in proposed], [span, whole])
        for trial, each in proposed:
            score = request.score(evaluator.result(each, span))
            if score is None:
                study.tell(trial, state=pruned)  # worse than whatever has a score
            else:
                study.tell(trial, score)
            sets.append(each)
    return list(distinct(sets))


def _suggested(trial: Any, dimension: Dimension) -> str:
    name = dotted(dimension.key)
    if isinstance(dimension, Choices):
        return str(trial.suggest_categorical(name, dimension.values))
    if dimension.step is not None:
        return dimension.text(dimension.low + trial.suggest_int(name, 0, dimension.steps) * dimension.step)
    return dimension.text(float(trial.suggest_float(name, dimension.low, dimension.high)))


def _optuna() -> Any:
    try:
        import optuna  # noqa: PLC0415 - one of three ways, and it takes a second to load
    except ModuleNotFoundError as error:
        raise UsageError(
            "Optuna is not installed: pip install 'crypto-tracker[research]', or choose --method random"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
