"""Everything under one home, for the pages: its accounts, its recorded runs, and how all parts are."""

from collections.abc import Callable, Mapping
from pathlib import Path

from crypto_tracker.app.serving.account_book import AccountBook
from crypto_tracker.app.serving.health_view import KeptHealth
from crypto_tracker.config.tree import Configuration
from crypto_tracker.desk.source import Book, NotThere
from crypto_tracker.desk.views import accounts as account_views
from crypto_tracker.desk.views import research as research_views
from crypto_tracker.desk.views import system as system_views
from crypto_tracker.strategies.base import Strategy


class HomeDesk:
    """Everything under one home.

    Parameters
    ----------
    load : reads the configuration of the home and finds the strategies that are installed
    now_ms : the clock
    """

    def __init__(
        self,
        home: Path,
        load: Callable[[], tuple[Configuration, Mapping[str, Strategy]]],
        now_ms: Callable[[], int],
        started_at_ms: int,
        code_version: str,
    ) -> None:
        self._home = home
        self._load = load
        self._now_ms = now_ms
        self._started_at_ms = started_at_ms
        self._code_version = code_version
        self._health = KeptHealth(home, load, now_ms, started_at_ms=started_at_ms, code_version=code_version)

    def accounts(self) -> account_views.Accounts:
        """Every account, and the newest recorded runs."""
        raise NotThere("this is not answered yet")

    def runs(self, *, limit: int, cursor: str | None) -> research_views.Runs:
        """Recorded runs, newest first."""
        raise NotThere("this is not answered yet")

    def book(self, account: str | None) -> Book:
        """The book of an account or `run:N`; None means the one that runs, or was started last.

        Raises NotThere where there is none.
        """
        if account is None:
            raise NotThere("name an account")
        return AccountBook(self._home, account, load=self._load, now_ms=self._now_ms)

    def health(self) -> system_views.Health:
        """How every part is."""
        return self._health.view()

    def collectors(self) -> system_views.Collectors:
        """Who keeps bars up to date."""
        return self._health.collectors()

    def close(self) -> None:
        """Let go of every file."""
