"""The recorded runs of a home that somebody looks at: each is read once, and the last few stay in memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from functools import cached_property, partial
from threading import Lock

from crypto_tracker.app.judging import of_run
from crypto_tracker.app.serving.column_pages import Columns
from crypto_tracker.app.serving.configuration_view import configuration_view
from crypto_tracker.app.serving.home_bars import HomeBars, OfBars
from crypto_tracker.app.serving.run_decisions import run_decisions
from crypto_tracker.app.serving.run_market import RunMarket, run_market
from crypto_tracker.app.serving.run_positions import NOT_RECORDED, left_open
from crypto_tracker.app.serving.run_records import RunRecords
from crypto_tracker.app.serving.run_scope import run_scope
from crypto_tracker.app.serving.run_standing import RunMoney
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.app.serving.scorecard_view import Case
from crypto_tracker.app.serving.slow_views import SlowViews
from crypto_tracker.app.serving.trade_view import positions_view, tiers_of, trade_view
from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.desk.source import NotThere
from crypto_tracker.desk.views.controls import ShowConfiguration
from crypto_tracker.desk.views.trades import Positions, Sums
from crypto_tracker.store.run_views import RunReader, RunSummary
from crypto_tracker.store.runs import FILE_NAME
from crypto_tracker.strategies.base import Strategy

RUNS_KEPT = 8
ROWS_KEPT = 5_000_000
"""Rows of all runs in memory together; of the run that was asked for last there may be more."""


class KeptRun:
    """One run with all that is made of it but once. Two threads that ask first may both make a part.

    What is made of bars is made again where bars that were missing may have come.
    """

    def __init__(
        self,
        bars: HomeBars,
        reader: RunReader,
        run_id: int,
        installed: Mapping[str, Strategy],
        now_ms: Callable[[], int],
    ) -> None:
        self.records = RunRecords(reader, run_id)
        self._read_scope = partial(run_scope, bars, run_id, self.records.run, installed, now_ms)
        self._scope = OfBars(bars, self._make_scope, now_ms)
        self._market = OfBars(bars, self._make_market, now_ms)
        self.tiers: Mapping[Symbol, str] = tiers_of(self.scope.configuration, self.scope.symbols)
        configuration = self.scope.configuration
        self.slow = SlowViews(
            self.scope.account,
            lambda: self.scope,
            self.records,
            lambda: Case(
                gather=partial(of_run, bars.home, run_id, configuration), targets=configuration.scorecard
            ),
            paper=False,
            now_ms=now_ms,
        )

    @property
    def rows(self) -> int:
        """How much of it is in memory."""
        return len(self.records.trades) + len(self.records.setups) + len(self.records.equity)

    @property
    def scope(self) -> Scope:
        """What is known of it besides its records."""
        return self._scope.get()

    @property
    def market(self) -> RunMarket:
        """How its market went."""
        return self._market.get()

    @property
    def columns(self) -> Columns:
        """Its trades and decisions, as pages show them."""
        records, tiers, scope = self.records, self.tiers, self.scope
        view = partial(trade_view, version=scope.version, until_ms=scope.until_ms)
        return Columns(
            book=scope.account,
            strategies=scope.strategies,
            trades=records.trades,
            setups=records.setups,
            tiers=tiers,
            timezone=scope.configuration.trading.timezone,
            read_trades=lambda numbers: [
                view(trade, tier=tiers[trade.symbol]) for trade in records.trades_numbered(numbers)
            ],
            read_decisions=lambda keys: run_decisions(records, records.setups_keyed(keys), tiers),
        )

    @cached_property
    def positions(self) -> Positions:
        """What was still held at the end."""
        found = positions_view(left_open(self.scope, self.records, self.tiers))
        known = self.records.standings
        old = any(trade.trade_group_id not in known for trade in self.records.left_open)
        return found.model_copy(update={"note": NOT_RECORDED}) if old else found

    @cached_property
    def money(self) -> RunMoney:
        """What it was worth."""
        return RunMoney(self.scope, self.records, self.positions.items)

    @cached_property
    def sums_of_symbols(self) -> Mapping[Symbol, Sums]:
        """The closed trades of each symbol added up."""
        return self.columns.sums_of_symbols()

    @cached_property
    def configuration(self) -> ShowConfiguration:
        """Every value under which it was made."""
        scope = self.scope
        versions = [(scope.version, scope.start_ms)]
        return configuration_view(scope.configuration, scope.version, versions, scope.installed)

    def _make_scope(self) -> tuple[Scope, bool]:
        found = self._read_scope()
        return found, found.reference is not None and set(found.symbols) <= set(found.providers)

    def _make_market(self) -> tuple[RunMarket, bool]:
        found = run_market(self.scope)
        return found, found.whole


class KeptRuns:
    """The runs of a home that somebody looks at, and its open file. Threads share it."""

    def __init__(self, bars: HomeBars, now_ms: Callable[[], int]) -> None:
        self._bars = bars
        self._now_ms = now_ms
        self._path = bars.home / FILE_NAME
        self._reading = Lock()  # held by the one who reads a run: it is the same for all who wait
        self._lock = Lock()
        self._reader: tuple[int, RunReader] | None = None
        self._kept: OrderedDict[Hashable, KeptRun] = OrderedDict()
        self._closed = False

    def summaries(self, *, limit: int, before: int | None = None) -> list[RunSummary]:
        """The newest runs first, only those before a number; none where nothing was ever recorded."""
        opened = self._opened()
        if opened is None:
            return []
        with opened[1].views() as views:
            return views.runs(limit=limit, before=before)

    def of(self, run_id: int, installed: Mapping[str, Strategy]) -> KeptRun:
        """A run; raises NotThere where there is none of this number."""
        opened = self._opened()
        if opened is None:
            raise NotThere(f"there is no run {run_id}")
        made, reader = opened
        with reader.views() as views:
            found = views.runs(limit=1, before=run_id + 1)
        if not found or found[0].run_id != run_id:
            raise NotThere(f"there is no run {run_id}")
        # A file may be made anew, and the number of a run that was forgotten be given again.
        key = (made, run_id, found[0].recorded_at_ms, tuple(installed))
        kept = self._known(key)
        if kept is None:
            with self._reading:
                kept = self._known(key)
                if kept is None:
                    kept = KeptRun(self._bars, reader, run_id, installed, self._now_ms)
                    self._keep(key, kept)
        return kept

    def close(self) -> None:
        """Let go of the file and of all runs for good."""
        with self._lock:
            reader, self._reader, self._closed = self._reader, None, True
            self._kept.clear()
        if reader is not None:
            reader[1].close()

    def _known(self, key: Hashable) -> KeptRun | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def _keep(self, key: Hashable, run: KeptRun) -> None:
        with self._lock:
            self._kept[key] = run
            while len(self._kept) > 1 and (
                len(self._kept) > RUNS_KEPT or sum(each.rows for each in self._kept.values()) > ROWS_KEPT
            ):
                self._kept.popitem(last=False)

    def _opened(self) -> tuple[int, RunReader] | None:
        """The file that stands there now, with what tells it from others; None where there is none."""
        made = self._path.stat().st_ino if self._path.is_file() else -1
        with self._lock:
            if self._closed:
                raise StoreError(
                    f"the runs under {self._bars.home} were let go of: this process is about to end"
                )
            known = self._reader
            if known is not None and known[0] != made:
                known[1].close()
                known = self._reader = None
                self._kept.clear()
            if known is None and made != -1:
                known = self._reader = (made, RunReader(self._bars.home))
            return known
