"""Everything under one home, for the pages: its accounts, its recorded runs, and how all parts are."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread

from crypto_tracker.app.accounts import ACCOUNTS_FOLDER, account_place
from crypto_tracker.app.serving.account_book import AccountBook
from crypto_tracker.app.serving.account_item import account_item
from crypto_tracker.app.serving.cursors import list_of, read, written
from crypto_tracker.app.serving.explanations import warm_up
from crypto_tracker.app.serving.health_view import KeptHealth
from crypto_tracker.app.serving.home_bars import HomeBars
from crypto_tracker.app.serving.kept import Kept
from crypto_tracker.app.serving.page_limits import check_limit
from crypto_tracker.app.serving.run_book import RunBook
from crypto_tracker.app.serving.run_items import account_item_of_run, run_id_of, run_item
from crypto_tracker.app.serving.runs_kept import KeptRuns
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.errors import CryptoTrackerError, StoreError
from crypto_tracker.desk.source import Book, NotThere
from crypto_tracker.desk.views import accounts as account_views
from crypto_tracker.desk.views import research as research_views
from crypto_tracker.desk.views import system as system_views
from crypto_tracker.store.trading_journal import FILE_NAME as TRADING_FILE
from crypto_tracker.store.trading_views import TradingViews
from crypto_tracker.strategies.base import Strategy

NEWEST_RUNS = 20
"""Recorded runs that are listed among the accounts."""

_LISTED_SECONDS = 1.0  # the list is made anew at most so often
_LIST_PATIENCE_SECONDS = 0.25  # who asks for the list waits so long for a newer one
_RUNS = list_of("runs")
_NAMED = 5  # accounts that a refusal lists


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
        self._health = KeptHealth(home, load, now_ms, started_at_ms=started_at_ms, code_version=code_version)
        self._lock = Lock()
        self._installed: Mapping[str, Strategy] | None = None
        self._books: dict[str, AccountBook] = {}
        self._bars = HomeBars(home)
        self._runs = KeptRuns(self._bars, now_ms)
        self._listed = Kept(self._list, seconds=_LISTED_SECONDS, clock=lambda: now_ms() / 1_000)
        self._closed = False

    def accounts(self) -> account_views.Accounts:
        """Every account that can be read, and the newest recorded runs; `health` says why others cannot."""
        return account_views.Accounts(items=self._items(patience=_LIST_PATIENCE_SECONDS))

    def runs(self, *, limit: int, cursor: str | None) -> research_views.Runs:
        """Recorded runs, newest first."""
        check_limit(limit)
        before = None if cursor is None else int(read(cursor, (int,), _RUNS)[0])
        found = self._runs.summaries(limit=limit + 1, before=before)
        shown = found[:limit]
        return research_views.Runs(
            items=[run_item(each) for each in shown],
            next=written((shown[-1].run_id,), _RUNS) if len(found) > limit else None,
        )

    def book(self, account: str | None) -> Book:
        """The book of an account or `run:N`; None means the one that runs, or was started last.

        Raises NotThere where there is none.
        """
        if account is None:
            items = self._items()
            if not items:
                raise NotThere(
                    "nothing has been traded or recorded yet: start with `crypto-tracker trade`, `backtest` "
                    "or `demo`"
                )
            account = items[0].account
        run_id = run_id_of(account)
        return self._account_book(account) if run_id is None else self._run_book(run_id)

    def prepare(self) -> Thread:
        """Begin to read, in a thread of its own, what the first page will ask for.

        The account that it will show is followed from then on, and compiled code is loaded.
        """
        thread = Thread(target=self._prepare, name="prepare", daemon=True)
        thread.start()
        return thread

    def health(self) -> system_views.Health:
        """How every part is."""
        return self._health.view()

    def collectors(self) -> system_views.Collectors:
        """Who keeps bars up to date."""
        return self._health.collectors()

    def close(self) -> None:
        """Let go of every file for good."""
        with self._lock:
            books, self._books, self._closed = list(self._books.values()), {}, True
        for book in books:
            book.close()
        self._runs.close()
        self._bars.close()

    # --- behind them ---------------------------------------------------------------------------

    def _prepare(self) -> None:
        try:
            book = self.book(None)
            book.status()
            book.log(1)
            warm_up(self._load()[0])
        except CryptoTrackerError:
            return  # whoever asks is told the same

    def _strategies(self) -> Mapping[str, Strategy]:
        """The strategies that are installed; found once, as a process cannot load another version of one."""
        if self._installed is None:
            self._installed = self._load()[1]
        return self._installed

    def _items(self, *, patience: float = 0.0) -> list[account_views.AccountItem]:
        """The list as it was a moment ago, without accounts that were deleted since.

        A request waits for the very first one, and `patience` seconds for a newer one.
        """
        listed, there = self._listed.get(patience=patience), frozenset(self._names())
        return [item for item in listed if item.account in there or run_id_of(item.account) is not None]

    def _list(self) -> list[account_views.AccountItem]:
        """The accounts, those that run and those that were started last first, then the newest runs."""
        found = []
        for name in self._names():
            # One that is being opened, is damaged or of another version is left out: health names it.
            with suppress(CryptoTrackerError):
                place = account_place(self._home, name)
                with TradingViews.open(place.folder) as records:
                    found.append(account_item(name, records, running=place.running))
        found.sort(key=lambda item: (not item.running, -item.recorded_at_ms, item.account))
        return [*found, *map(account_item_of_run, self._runs.summaries(limit=NEWEST_RUNS))]

    def _names(self) -> list[str]:
        return sorted(path.parent.name for path in (self._home / ACCOUNTS_FOLDER).glob(f"*/{TRADING_FILE}"))

    def _account_book(self, name: str) -> AccountBook:
        there = (account_place(self._home, name).folder / TRADING_FILE).is_file()
        with self._lock:
            if self._closed:
                raise StoreError(
                    f"the accounts under {self._home} were let go of: this process is about to end"
                )
            known = self._books.get(name)
            if there and known is None:
                known = self._books[name] = AccountBook(
                    self._bars,
                    name,
                    load=self._load,
                    strategies=self._strategies,
                    now_ms=self._now_ms,
                    health=self._health.view,
                )
        if there and known is not None:
            return known
        if known is not None:
            # It stays the one book of the name: streams hold it, and a replay may begin anew in a moment.
            known.forget()
        raise NotThere(f"there is no account {name}: {self._what_there_is()}")

    def _run_book(self, run_id: int) -> Book:
        try:
            kept = self._runs.of(run_id, self._strategies())
        except NotThere as error:
            raise NotThere(f"{error}: {self._what_there_is()}") from error
        return RunBook(kept, self._now_ms)

    def _what_there_is(self) -> str:
        names = [item.account for item in self._items()]
        if not names:
            return "nothing has been traded or recorded yet"
        more = len(names) - _NAMED
        return f"there is {', '.join(names[:_NAMED])}" + (f" and {more} more" if more > 0 else "")
