"""The recorded runs that somebody looks at: each is read once, and the last few stay in memory."""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from threading import Lock

from crypto_tracker.app.judging import of_run
from crypto_tracker.app.serving.configuration_view import configuration_view
from crypto_tracker.app.serving.recent import Recent
from crypto_tracker.app.serving.run_market import RunMarket, run_market
from crypto_tracker.app.serving.run_positions import NOT_RECORDED, left_open
from crypto_tracker.app.serving.run_records import RunRecords
from crypto_tracker.app.serving.run_scope import run_scope
from crypto_tracker.app.serving.run_standing import RunMoney
from crypto_tracker.app.serving.scorecard_view import Case
from crypto_tracker.app.serving.slow_views import SlowViews
from crypto_tracker.app.serving.trade_view import positions_view, tiers_of
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.desk.source import NotThere, TradeFilter
from crypto_tracker.desk.views.controls import ShowConfiguration
from crypto_tracker.desk.views.trades import Positions, Sums
from crypto_tracker.store.run_views import RunReader
from crypto_tracker.store.runs import FILE_NAME
from crypto_tracker.strategies.base import Strategy

RUNS_KEPT = 8


class KeptRun:
    """One run with all that is made of it but once. Two threads that ask first may both make a part."""

    def __init__(
        self,
        home: Path,
        reader: RunReader,
        run_id: int,
        installed: Mapping[str, Strategy],
        now_ms: Callable[[], int],
    ) -> None:
        self.records = RunRecords(reader, run_id)
        self.scope = run_scope(home, run_id, self.records.run, installed, now_ms)
        self.tiers: Mapping[Symbol, str] = tiers_of(self.scope.configuration, self.scope.symbols)
        self.slow = SlowViews(
            self.scope.account,
            lambda: self.scope,
            self.records,
            lambda: Case(
                gather=partial(of_run, home, run_id, self.scope.configuration),
                targets=self.scope.configuration.scorecard,
            ),
            paper=False,
            now_ms=now_ms,
        )

    @cached_property
    def positions(self) -> Positions:
        """What was still held at the end."""
        found = positions_view(left_open(self.scope, self.records, self.tiers))
        return found.model_copy(update={"note": NOT_RECORDED}) if found.items else found

    @cached_property
    def money(self) -> RunMoney:
        """What it was worth."""
        return RunMoney(self.scope, self.records, self.positions.items)

    @cached_property
    def market(self) -> RunMarket:
        """How its market went."""
        return run_market(self.scope)

    @cached_property
    def sums_of_symbols(self) -> Mapping[Symbol, Sums]:
        """The closed trades of each symbol added up."""
        trades = self.records.trades
        groups = trades.groups(trades.select(TradeFilter(), self.tiers), "symbol", self.tiers)
        return {Symbol.parse(group.key): group.sums for group in groups}

    @cached_property
    def configuration(self) -> ShowConfiguration:
        """Every value under which it was made."""
        scope = self.scope
        versions = [(scope.version, scope.start_ms)]
        return configuration_view(scope.configuration, scope.version, versions, scope.installed)


class _Runs:
    """The runs of all homes that are in memory, and an open file for each home."""

    def __init__(self) -> None:
        self._lock = Lock()  # held by the one who reads a run: it is the same for all who wait
        self._readers: dict[Path, tuple[int, RunReader]] = {}
        self._kept: Recent[KeptRun] = Recent(RUNS_KEPT)

    def of(
        self, home: Path, run_id: int, installed: Mapping[str, Strategy], now_ms: Callable[[], int]
    ) -> KeptRun:
        """A run; raises NotThere where there is none of this number."""
        path = home / FILE_NAME
        made = path.stat().st_ino if path.is_file() else -1
        key = (home, made, run_id, tuple(installed))
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                reader = self._reader(home, made)
                try:
                    with reader.views() as views:
                        views.run(run_id)
                except DataError as error:
                    raise NotThere(str(error)) from error
                kept = KeptRun(home, reader, run_id, installed, now_ms)
                self._kept.put(key, kept)
        return kept

    def close(self, home: Path) -> None:
        """Let go of the file of a home."""
        with self._lock:
            known = self._readers.pop(home, None)
        if known is not None:
            known[1].close()

    def _reader(self, home: Path, made: int) -> RunReader:
        known = self._readers.get(home)
        if known is None or known[0] != made:
            if known is not None:
                known[1].close()
            known = self._readers[home] = (made, RunReader(home))
        return known[1]


_RUNS = _Runs()


def run_of(home: Path, run_id: int, installed: Mapping[str, Strategy], now_ms: Callable[[], int]) -> KeptRun:
    """A recorded run of a home; raises NotThere where there is none of this number."""
    return _RUNS.of(home, run_id, installed, now_ms)


def close_runs(home: Path) -> None:
    """Let go of the recorded runs of a home; who asks again opens them again."""
    _RUNS.close(home)
