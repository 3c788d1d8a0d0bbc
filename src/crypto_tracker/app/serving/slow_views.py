"""What takes longer than a request should: the data, the scorecard and the research of one book."""

from collections.abc import Callable, Mapping

from crypto_tracker.app.serving.data_view import DATA_SECONDS, data_view
from crypto_tracker.app.serving.kept import Kept
from crypto_tracker.app.serving.research_view import KeptResearch
from crypto_tracker.app.serving.scope import Scanned, Scope
from crypto_tracker.app.serving.scorecard_view import Case, KeptScorecard
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.desk.views.research import Research, ScorecardView
from crypto_tracker.desk.views.system import DataQuality

_PATIENCE_SECONDS = 0.3  # that somebody waits for newer data


class SlowViews:
    """Made in the background now and then, and served as they were until then.

    They belong to one account: one that is begun anew in its place has others.

    Parameters
    ----------
    scope : the book as it stands; asked anew each time
    scanned : its recorded scans
    case : what the scorecard judges, and its targets
    paper : whether its present is the clock's
    """

    def __init__(
        self,
        account: str,
        scope: Callable[[], Scope],
        scanned: Scanned,
        case: Callable[[], Case],
        *,
        paper: bool,
        now_ms: Callable[[], int],
    ) -> None:
        self._data = Kept(lambda: data_view(scope(), paper=paper), seconds=DATA_SECONDS)
        self._scorecard = KeptScorecard(account, case, now_ms)
        self._research = KeptResearch(scope, scanned, now_ms)

    def data(self) -> DataQuality:
        """What is stored of its symbols, and how far that can be trusted."""
        return self._data.get(patience=_PATIENCE_SECONDS)

    def known_data(self) -> DataQuality | None:
        """The same without waiting; None while it is made for the first time."""
        return self._data.look()

    def known_scores(self) -> Mapping[Symbol, float]:
        """How far the data of each symbol can be trusted, as far as that is known without waiting."""
        known = self.known_data()
        return {
            Symbol.parse(row.symbol): row.score
            for row in ([] if known is None else known.items)
            if row.score is not None
        }

    def scorecard(self) -> ScorecardView:
        """What is missing before money trades; before it was made a first time, that it is being made."""
        return self._scorecard.view()

    def research(self, outcomes: Mapping[str, int]) -> Research:
        """What research has written; `outcomes` count the trades of each strategy that tell of a setup."""
        return self._research.view(outcomes)
