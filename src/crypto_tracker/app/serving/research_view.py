"""What experiments have shown so far: trials, agreement of strategies, and how much there is to learn from.

What is planned and nobody has written yet (models, shadow variations, suggestions) is empty, and says so.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from pathlib import Path

import numpy as np

from crypto_tracker.app.serving.kept import Kept
from crypto_tracker.app.serving.recent import Recent
from crypto_tracker.app.serving.scope import Scanned, Scope
from crypto_tracker.core.arrays import BoolArray
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS
from crypto_tracker.desk.views.research import Agreement, Progress, Research, Trials
from crypto_tracker.simulation.metrics import YEAR_DAYS
from crypto_tracker.simulation.statistics import expected_maximum_sharpe, search_variance
from crypto_tracker.store.trials import FILE_NAME, TrialStore
from crypto_tracker.strategies.decisions import ScanBlock

EVERY_SECONDS = 60.0
"""Agreement is counted at most so often."""
TRIALS_SECONDS = 1.0
"""Whether anything was tried meanwhile is looked up at most so often."""
SAMPLES_MIN = {"DCA": 1_000, "SWING": 500, "CHANNEL": 250}
"""Outcomes without which no model of a strategy is trained, as the specification has them."""
OTHER_SAMPLES_MIN = 500
"""The same for a strategy that it does not name."""

_PATIENCE_SECONDS = 0.3  # that somebody waits for newer trials
_SPAN_MS = DAY_MS  # of the newest closes, over which agreement is counted
_BLOCKS = 2_000  # of scans at most, of all strategies together
_MISSING = {
    "models": (
        "No model has been trained. A classifier of success and regressors of target, stop, size and holding "
        "time of each strategy will stand here, with their composite, Brier score and calibration, and what "
        "they would have earned against taking every setup. They wait for enough outcomes, and for the part "
        "of research that trains them."
    ),
    "predictions": (
        "No predictions are recorded. Each setup will show its probability of success beside what became of "
        "it. They wait for the first model."
    ),
    "shadow": (
        "No shadow variation runs. Variations of the rules will trade every scan on ledgers of their own; "
        "their league table against the champion will stand here. It waits for the shadow service."
    ),
    "suggestions": (
        "There are no suggestions. Changes that hold up against chance will stand here, each with its "
        "evidence, to be approved or rejected. They wait for shadow variations to compare."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was looked up, and when the scans were read of which strategies agree."""

    trials: Trials
    agreement: tuple[Agreement, ...]
    made_at_ms: int | None = None


class KeptResearch:
    """What research has of one book.

    Parameters
    ----------
    scanned : the newest closes of its scans are counted
    """

    def __init__(self, scope: Callable[[], Scope], scanned: Scanned, now_ms: Callable[[], int]) -> None:
        self._scope = scope
        self._scanned = scanned
        self._now_ms = now_ms
        self._agreement = Kept(self._read_agreement, seconds=EVERY_SECONDS)
        self._written: Recent[Trials] = Recent(1)
        self._trials = Kept(self._read_trials, seconds=TRIALS_SECONDS)

    def view(self, outcomes: Mapping[str, int]) -> Research:
        """All of it; `outcomes` are the closed trades of each strategy that say something of a setup."""
        made_at_ms, agreed = self._agreement.get()
        trials = self._trials.get(patience=_PATIENCE_SECONDS)
        looked = Looked(trials=trials, agreement=agreed, made_at_ms=made_at_ms)
        return research_view(looked, self._scope().strategies, outcomes)

    def _read_agreement(self) -> tuple[int, tuple[Agreement, ...]]:
        scope, made_at_ms = self._scope(), self._now_ms()
        since_ms = scope.until_ms - _SPAN_MS
        blocks = self._scanned.blocks(scope.strategies, since_ms, None, limit=_BLOCKS, newest_first=True)
        return made_at_ms, tuple(agreement(scope.strategies, blocks, scope.near_miss_readiness))

    def _read_trials(self) -> Trials:
        """Those of the file; read again only once somebody has written to it."""
        home = self._scope().home
        return self._written.made(_state_of(home), lambda: trials_view(home))


def research_view(looked: Looked, strategies: Sequence[str], outcomes: Mapping[str, int]) -> Research:
    """What there is; what there is not yet says in a sentence what it will be and what it waits for."""
    return Research(
        made_at_ms=looked.made_at_ms,
        trials=looked.trials,
        agreement=list(looked.agreement),
        progress=[_progress(name, outcomes.get(name, 0)) for name in strategies],
        models=[],
        shadow=[],
        suggestions=[],
        missing=dict(_MISSING),
    )


def _progress(strategy: str, outcomes: int) -> Progress:
    needed = SAMPLES_MIN.get(strategy, OTHER_SAMPLES_MIN)
    left = needed - outcomes
    return Progress(
        strategy=strategy,
        outcomes=outcomes,
        needed=needed,
        sentence=f"{left:,} more outcomes until a model can be trained" if left > 0 else "enough for a model",
    )


def trials_view(home: Path) -> Trials:
    """Every configuration that was held against bars, and what the best of so many has by luck alone.

    Luck is judged on the bars of the newest trial, among all that were tried on comparable ones.
    """
    store = TrialStore.open_to_read(home)
    if store is None:
        return _no_trials()
    try:
        totals, newest = store.totals(), store.newest()
        if newest is None:
            return _no_trials()
        history, best = store.history(newest.data), store.best_sharpe(newest.data)
    finally:
        store.close()
    variance = search_variance(history.variance, sharpe=best, periods=newest.days)
    lucky = expected_maximum_sharpe(max(history.trials, 1), variance)
    annual = sqrt(YEAR_DAYS)
    return Trials(
        count=totals.configurations,
        searched=totals.searched,
        newest_ms=totals.newest_ms,
        best_sharpe=None if best is None else best * annual,
        lucky_sharpe=lucky * annual,
        days=newest.days,
        synthetic=newest.data.synthetic,
        sentence=_on_luck(history.trials, newest.days, best, lucky),
    )


def _state_of(home: Path) -> tuple[tuple[int, int], ...]:
    """What changes whenever somebody writes to the file of trials; a log without a page says nothing."""
    parts = []
    for name in (FILE_NAME, f"{FILE_NAME}-wal"):
        with suppress(FileNotFoundError):
            found = (home / name).stat()
            if found.st_size:
                parts.append((found.st_mtime_ns, found.st_size))
    return tuple(parts)


def _on_luck(trials: int, days: int, best: float | None, lucky: float) -> str:
    annual = sqrt(YEAR_DAYS)
    if best is None:
        return f"{trials:,} configurations were tried on {days} days; none has a Sharpe ratio yet."
    found = f"has a Sharpe ratio of {best * annual:.2f} a year"
    if trials == 1:
        return f"One configuration was tried on {days} days and {found}; nothing was searched for."
    said = f"Of {trials:,} configurations on {days} days the best {found}. "
    reached = f"{lucky * annual:.2f}, what the best of so many reaches by luck alone"
    if best > lucky:
        return f"{said}That is above {reached}."
    return f"{said}That is not above {reached}: it proves nothing."


def _no_trials() -> Trials:
    return Trials(
        count=0,
        searched=0,
        newest_ms=None,
        best_sharpe=None,
        lucky_sharpe=None,
        days=None,
        sentence="Nothing was tried yet: every `backtest` and `optimize` is remembered here.",
    )


def agreement(strategies: Sequence[str], blocks: Iterable[ScanBlock], near_miss: float) -> list[Agreement]:
    """How often two strategies were near a setup of the same symbol at the same close.

    Only closes at which both looked count, and of these only symbols that both know.

    Parameters
    ----------
    near_miss : from which readiness (0 to 100) on a scan is near a setup
    """
    by_close: dict[int, dict[str, ScanBlock]] = {}
    for block in blocks:
        by_close.setdefault(block.time_ms, {})[block.strategy] = block
    found = []
    for first, second in combinations(strategies, 2):
        together = either = scans = 0
        for there in by_close.values():
            if first in there and second in there:
                one, other = _near_both(there[first], there[second], near_miss)
                together += int((one & other).sum())
                either += int((one | other).sum())
                scans += len(one)
        found.append(
            Agreement(
                first=first,
                second=second,
                together=together,
                either=either,
                share=together / either if either else None,
                scans=scans,
            )
        )
    return found


def _near_both(one: ScanBlock, other: ScanBlock, near_miss: float) -> tuple[BoolArray, BoolArray]:
    """Which of the symbols of both are near a setup of each."""
    near = one.readiness >= near_miss, other.readiness >= near_miss
    if one.symbols == other.symbols:
        return near
    place: dict[Symbol, int] = {symbol: index for index, symbol in enumerate(other.symbols)}
    shared = [index for index, symbol in enumerate(one.symbols) if symbol in place]
    return near[0][shared], near[1][np.array([place[one.symbols[i]] for i in shared], dtype=np.int64)]
