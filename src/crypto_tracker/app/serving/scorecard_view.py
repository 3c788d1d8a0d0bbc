"""The scorecard of a book: made in the background every few minutes, as all that was traded goes into it."""

from collections.abc import Callable

from crypto_tracker.app.judging import Judged, row_name
from crypto_tracker.app.serving.kept import Kept
from crypto_tracker.core.errors import DataError
from crypto_tracker.desk.views.research import ScorecardView, ScoreRow
from crypto_tracker.simulation.scorecard import Row, Scorecard, State, Targets, scorecard

EVERY_SECONDS = 180.0
_BEING_MADE = "The scorecard is being made: all that was traded goes into it, which takes some seconds."
_NUMBERS = frozenset({"confidence_correlation", "profit_factor", "sharpe"})
_MONEY = frozenset({"pnl_net"})


class KeptScorecard:
    """The scorecard of one book, as it was some minutes ago.

    Parameters
    ----------
    judge : what there is to judge, and the targets it is held against; may take seconds
    """

    def __init__(
        self, account: str, judge: Callable[[], tuple[Judged, Targets]], now_ms: Callable[[], int]
    ) -> None:
        self._account = account
        self._judge = judge
        self._now_ms = now_ms
        self._kept = Kept(self._make, seconds=EVERY_SECONDS)

    def view(self) -> ScorecardView:
        """The newest one; before the first a sentence that says that it is being made."""
        return self._kept.look() or without_rows(self._account, _BEING_MADE, made_at_ms=None)

    def _make(self) -> ScorecardView:
        try:
            judged, targets = self._judge()
        except DataError as error:
            return without_rows(self._account, str(error), made_at_ms=self._now_ms())
        card = scorecard(judged.evidence, targets, uptime=judged.uptime, data_quality=judged.data_quality)
        return scorecard_view(self._account, card, targets, made_at_ms=self._now_ms())


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
