"""The scorecard of a book: made in the background every few minutes, as all that was traded goes into it.

That of a large account takes seconds of computing. A process of its own makes it, so that nobody who looks at
the pages meanwhile has to wait for the interpreter.
"""

import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from crypto_tracker.app.judging import Judged, row_name
from crypto_tracker.app.serving.kept import Kept
from crypto_tracker.core.errors import CryptoTrackerError, DataError, StoreError
from crypto_tracker.desk.views.research import ScorecardView, ScoreRow
from crypto_tracker.simulation.scorecard import Row, Scorecard, State, Targets, scorecard

EVERY_SECONDS = 180.0
_BEING_MADE = "The scorecard is being made: all that was traded goes into it, which takes some seconds."
_NUMBERS = frozenset({"confidence_correlation", "profit_factor", "sharpe"})
_MONEY = frozenset({"pnl_net"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is to be judged.

    Attributes
    ----------
    gather : brings the evidence together; may take seconds
    targets : what it is held against
    apart : whether a process of its own does it all; `gather` goes there by pickle
    """

    gather: Callable[[], Judged]
    targets: Targets
    apart: bool = False


class KeptScorecard:
    """The scorecard of one book, as it was some minutes ago.

    Parameters
    ----------
    case : what there is to judge now
    """

    def __init__(self, account: str, case: Callable[[], Case], now_ms: Callable[[], int]) -> None:
        self._account = account
        self._case = case
        self._now_ms = now_ms
        self._kept = Kept(self._make, seconds=EVERY_SECONDS)

    def view(self) -> ScorecardView:
        """The newest one; before the first a sentence that says that it is being made."""
        return self._kept.look() or without_rows(self._account, _BEING_MADE, made_at_ms=None)

    def _make(self) -> ScorecardView:
        case, made_at_ms = self._case(), self._now_ms()
        make = _made_apart if case.apart else _made
        try:
            found = make(self._account, case)
        except DataError as error:
            found = without_rows(self._account, str(error), made_at_ms=None)
        return found.model_copy(update={"made_at_ms": made_at_ms})


def _made(account: str, case: Case) -> ScorecardView:
    judged, targets = case.gather(), case.targets
    card = scorecard(judged.evidence, targets, uptime=judged.uptime, data_quality=judged.data_quality)
    return scorecard_view(account, card, targets, made_at_ms=0)


def _made_apart(account: str, case: Case) -> ScorecardView:
    """The same by a process that ends with it; spawned, as a fork of a process with threads may hang."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_make_and_send, args=(sending, account, case), daemon=True)
    process.start()
    sending.close()
    try:
        found = receiving.recv()
    except EOFError as error:
        raise StoreError(
            f"the scorecard of {account} could not be made, as its process ended before it was done (out of "
            "memory?): `crypto-tracker scorecard` makes it on its own"
        ) from error
    finally:
        receiving.close()
        process.join()
    if isinstance(found, CryptoTrackerError):
        raise found
    return ScorecardView.model_validate(found)


def _make_and_send(sending: Connection, account: str, case: Case) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server hears Ctrl-C, and ends this process with it
    try:
        sending.send(_made(account, case))
    except CryptoTrackerError as error:
        sending.send(error)
    finally:
        sending.close()


def scorecard_view(account: str, card: Scorecard, targets: Targets, *, made_at_ms: int) -> ScorecardView:
    """A scorecard with all its rows."""
    return ScorecardView(
        account=account,
        made_at_ms=made_at_ms,
        verdict=card.verdict.value,
        sentence=card.sentence,
        confidence=targets.confidence,
        met=card.count(State.MET),
        not_met=card.count(State.NOT_MET),
        not_known=card.count(State.NOT_KNOWN),
        rows=[_row(row) for row in card.rows],
        notes=list(card.notes),
    )


def without_rows(account: str, sentence: str, *, made_at_ms: int | None) -> ScorecardView:
    """Where nothing can be judged yet; `sentence` says why."""
    return ScorecardView(
        account=account,
        made_at_ms=made_at_ms,
        verdict=None,
        sentence=sentence,
        confidence=None,
        met=0,
        not_met=0,
        not_known=0,
        rows=[],
        notes=[],
    )


def _row(row: Row) -> ScoreRow:
    name = row.name.partition(".")[0]
    return ScoreRow(
        key=row.name,
        name=row_name(row),
        kind="number" if name in _NUMBERS else "money" if name in _MONEY else "share",
        value=row.value,
        low=row.low,
        high=row.high,
        n=row.n,
        n_min=row.n_min,
        unit=row.unit,
        target=row.target,
        above=row.above,
        state=row.state.value,
        thin=row.thin,
        sure=row.sure,
        why=row.why,
    )
