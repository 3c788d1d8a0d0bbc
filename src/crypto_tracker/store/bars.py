"""The bar store: what writes bars, one write at a time. Writing the same twice changes nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from crypto_tracker.config.market_data import MarketData
from crypto_tracker.core.arrays import CodeArray, IntArray
from crypto_tracker.core.clock import Clock
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe, month_start_ms, next_month_ms, to_ms
from crypto_tracker.core.validate import BarRule, broken_rules
from crypto_tracker.store import doubt, gaps, held, imports, intervals, mended, tables
from crypto_tracker.store.batch import (
    BarBatch,
    Contribution,
    StoredRows,
    contributions,
    newly_known,
)
from crypto_tracker.store.cold import ColdFile, ColdTier
from crypto_tracker.store.database import MARKET, open_engine, upgrade
from crypto_tracker.store.failpoints import Failpoint, reach
from crypto_tracker.store.held import RawBar
from crypto_tracker.store.leases import Fence, check_fence
from crypto_tracker.store.minutes import Plan, complete, doubtful, enter, plan, spans_of
from crypto_tracker.store.reader import BARS_FOLDER, DATABASE_NAME, LOCK_NAME, BarReader
from crypto_tracker.store.tiers import Tiers
from crypto_tracker.store.writing import WritersLock

_WRITING_THREADS = 4
_NO_BARS = BarBatch.none()
_PROVIDER_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResult:
    """What a write came to.

    Attributes
    ----------
    rows : bars that were given, the broken ones included
    rows_new : bars that the store did not have
    revisions : bars that it had with another value
    quarantined : bars that broke a rule, also where they had done so before
    suspect : bars that became suspect by this write
    """

    rows: int
    rows_new: int
    revisions: int
    quarantined: int
    suspect: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedMonth:
    """A month of one series that left the hot tier, and how many rows it had there."""

    provider: str
    symbol: Symbol
    timeframe: Timeframe
    month_ms: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RollOver:
    """What a roll-over moved: files written, rows that left the hot tier."""

    files: int
    rows: int


@dataclass(frozen=True, slots=True)
class _Series:
    symbol_id: int
    provider: str
    symbol: Symbol
    timeframe: Timeframe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Prepared:
    """What a write of one series comes to, before it is entered."""

    series: _Series
    bars: BarBatch
    rules: CodeArray
    broken: IntArray
    added: StoredRows
    completed: StoredRows
    coverage: IntArray
    lacking: Sequence[gaps.Lack]
    files: Sequence[ColdFile]
    raw: RawBar | None


class BarStore:
    """Writes bars under one home folder.

    Several processes and threads may have it open; each write holds the lock of the home for its own length.
    Everything that one write brings (bars, coverage, quarantine, what is lacking, the note that a file is
    done) becomes visible in one transaction: a process that is killed leaves all of it or nothing.
    """

    def __init__(
        self, engine: Engine, cold: ColdTier, market_data: MarketData, clock: Clock, lock: WritersLock
    ) -> None:
        self._engine = engine
        self._cold = cold
        self._market_data = market_data
        self._clock = clock
        self._lock = lock
        self._symbol_ids: dict[tuple[str, Symbol], int] = {}  # an id never changes, and none is given up

    @classmethod
    @contextmanager
    def open(
        cls, home: Path, *, market_data: MarketData, clock: Clock, wait_ms: int = 30_000
    ) -> Iterator["BarStore"]:
        """The store under `home`, made where there is none and brought up to date where it is old.

        Leftovers of a process that was killed are removed. Raises StoreError, here and in every write, where
        another process still writes after `wait_ms`.
        """
        home.mkdir(parents=True, exist_ok=True)
        with ExitStack() as closing:
            lock = WritersLock(home / LOCK_NAME, what=f"the bars under {home}", wait_ms=wait_ms)
            closing.callback(lock.close)
            engine = open_engine(home / DATABASE_NAME, busy_timeout_ms=wait_ms)
            closing.callback(engine.dispose)
            cold = ColdTier(home / BARS_FOLDER)
            with lock.held():  # what another writer is about to name would be a leftover otherwise
                upgrade(engine, MARKET)
                with engine.connect() as connection:
                    named = set(connection.execute(select(tables.manifest.c.path)).scalars())
                cold.remove_leftovers(named)
            yield cls(engine, cold, market_data, clock, lock)

    @property
    def reader(self) -> BarReader:
        """Reads what has been written."""
        return BarReader(self._engine, self._cold)

    def earlier_import(
        self, identity: imports.FileIdentity, sha256: str | None = None
    ) -> imports.EarlierImport | None:
        """The import that brought this file: by place, size and time of change, or by content."""
        with self._engine.connect() as connection:
            if sha256 is None:
                return imports.find_unchanged(connection, identity)
            return imports.find_content(connection, identity, sha256)

    def register(self, provider: str, symbols: Iterable[Symbol]) -> None:
        """Let the store know of symbols of a provider, also before any bar of them; new ones are active."""
        _check_provider(provider)
        unmet = [symbol for symbol in symbols if (provider, symbol) not in self._symbol_ids]
        if not unmet:
            return
        with self._engine.begin() as connection:
            found = {(provider, symbol): _registered(connection, provider, symbol) for symbol in unmet}
        self._symbol_ids |= found  # not before they are committed

    def mark_inactive(self, provider: str, symbol: Symbol, reason: str) -> bool:
        """Note that a symbol is no longer traded, or not known to its provider; whether that is news.

        The bars stay. A symbol that the store does not have is registered; another reason replaces the
        earlier one.
        """
        if not reason.strip():
            raise UsageError(f"{symbol} is to be inactive without a reason: say in one clause why")
        return self._set_status(provider, symbol, "inactive", reason)

    def mark_active(self, provider: str, symbol: Symbol) -> bool:
        """Note that a symbol is traded; whether it was inactive before."""
        return self._set_status(provider, symbol, "active", None)

    def write(  # noqa: PLR0913 - all that one transaction may bring
        self,
        provider: str,
        symbol: Symbol,
        timeframe: Timeframe,
        bars: BarBatch,
        covered: Iterable[tuple[int, int]] = (),
        *,
        source: str = "",
        raw: RawBar | None = None,
        finished: imports.ImportedFile | None = None,
        lacking: Iterable[gaps.Lack] = (),
        fence: Fence | None = None,
        present: bool = False,
    ) -> WriteResult:
        """Bring bars and coverage into the store.

        Bars may come in any order, more than once, and overlap what is stored. Broken ones go to quarantine,
        and their minute counts as unknown. A stored bar with another value gets a revision beside it.

        Parameters
        ----------
        provider : lower case, such as `binance`; `file` where nobody knows
        covered : intervals [start_ms, end_ms) that were fetched; the bars' own intervals always count
        source : where the bars come from, noted beside quarantined ones
        raw : the fields of broken bars as the source had them; None to note the numbers of the batch
        finished : the file that is done with this write
        lacking : intervals (start_ms, end_ms, reason) that the provider lacks for good, so that nobody asks
            for them again; what is covered, now or later, is not lacking
        fence : the lease that this is written under; once another one has taken it, nothing is written and
            LeaseLost is raised
        present : whether the bars are what the provider says now, as answers to requests are: a value that it
            had withdrawn and gives again is then the newest once more
        """
        self._check(fence)
        now_ms = to_ms(self._clock.now())
        series = self._series(provider, symbol, timeframe)
        noted = gaps.checked(lacking)
        with self._lock.held():
            prepared = self._prepared(series, bars, covered, noted, raw, now_ms, present=present)
            return self._entered([prepared], source=source, finished=finished, fence=fence, now_ms=now_ms)

    def write_minutes(
        self,
        provider: str,
        minutes: Mapping[Symbol, BarBatch],
        covered: Mapping[Symbol, Sequence[tuple[int, int]]],
        *,
        source: str = "",
        raw: Mapping[Symbol, RawBar] = MappingProxyType({}),
        fence: Fence | None = None,
        seen_ms: int | None = None,
    ) -> WriteResult:
        """Bring minutes of many symbols into the store in one transaction; each as `write` would.

        Parameters
        ----------
        minutes : the bars of each symbol on 1m
        covered : intervals [start_ms, end_ms) that were fetched of each symbol, also of those without a bar
        raw : the fields of broken bars of each symbol as the source had them
        fence : as of `write`
        seen_ms : when the bars were there, by which those of the future are judged; None for the present. One
            that came before its close is none of a whole minute, however long the writing has to wait.
        """
        self._check(fence)
        now_ms = to_ms(self._clock.now()) if seen_ms is None else seen_ms
        symbols = list(dict.fromkeys((*minutes, *covered)))
        self.register(provider, symbols)
        series = [self._series(provider, symbol, Timeframe.M1) for symbol in symbols]
        batches = [minutes.get(symbol, _NO_BARS) for symbol in symbols]
        spans = [covered.get(symbol, ()) for symbol in symbols]
        with self._lock.held():
            with self._engine.connect() as connection, connection.begin():
                together, left = plan(
                    connection,
                    [each.symbol_id for each in series],
                    batches,
                    spans,
                    now_ms=now_ms,
                    bars_max=self._market_data.files.cold_rows_min,
                )
            alone = [
                self._prepared(
                    series[place], batches[place], spans[place], (), raw.get(symbols[place]), now_ms
                )
                for place in left
            ]
            return self._entered(alone, together, source=source, finished=None, fence=fence, now_ms=now_ms)

    def roll_over(self, watcher: Callable[[MovedMonth], None] | None = None) -> RollOver:
        """Move finished months to cold files once they are older than `hot_days` of their timeframe.

        Overlays of cold months are folded into the month's file. A timeframe without a plan, or with
        `hot_days = 0`, stays hot. The lock is held for one month at a time, and `watcher` told of each.
        """
        now_ms = to_ms(self._clock.now())
        written = rows = 0
        for series, months in self._hot_months():
            plan = self._market_data.timeframes.get(series.timeframe.value)
            if plan is None or plan.hot_days == 0:
                continue
            for month_ms in months:
                if next_month_ms(month_ms) + plan.hot_days * DAY_MS > now_ms:
                    continue
                with self._lock.held():
                    moved = self._move(series, month_ms)
                if moved:
                    written, rows = written + 1, rows + moved
                    if watcher is not None:
                        watcher(
                            MovedMonth(
                                provider=series.provider,
                                symbol=series.symbol,
                                timeframe=series.timeframe,
                                month_ms=month_ms,
                                rows=moved,
                            )
                        )
        return RollOver(files=written, rows=rows)

    def _move(self, series: _Series, month_ms: int) -> int:
        """Let a cold file take the hot rows of a month; how many they were."""
        span = month_ms, next_month_ms(month_ms)
        with self._engine.connect() as connection:
            tiers = Tiers(connection, self._cold)
            hot = len(tiers.hot_rows(series.symbol_id, series.timeframe, *span))
            if not hot:  # somebody else has moved it meanwhile
                return 0
            rows = tiers.rows(series.symbol_id, series.timeframe, *span)
        files = self._write_months(series, {month_ms: rows})
        with self._engine.begin() as connection:
            replaced = _enter_files(connection, series, files)
            reach(Failpoint.BEFORE_COMMIT)
        self._committed(replaced)
        return hot

    def _prepared(
        self,
        series: _Series,
        bars: BarBatch,
        covered: Iterable[tuple[int, int]],
        lacking: Sequence[gaps.Lack],
        raw: RawBar | None,
        now_ms: int,
        *,
        present: bool = False,
    ) -> _Prepared:
        """Judge bars, hold them against what is stored, and write what becomes files at once."""
        prices = (bars.open, bars.high, bars.low, bars.close)
        rules = broken_rules(series.timeframe, bars.open_time_ms, prices, bars.volume, now_ms=now_ms)
        broken = np.flatnonzero(rules)
        valid = np.flatnonzero(rules == BarRule.VALID)
        stored = self._stored_around(series, bars.open_time_ms[valid])
        news = _news(bars, valid, stored, present=present)
        months = self._cold_months(news, stored, now_ms)
        return _Prepared(
            series=series,
            bars=bars,
            rules=rules,
            broken=broken,
            added=news.added,
            completed=news.completed,
            coverage=newly_known(series.timeframe, bars, valid, broken, covered, now_ms),
            lacking=lacking,
            files=self._write_months(series, months),
            raw=raw,
        )

    def _entered(
        self,
        writes: Sequence[_Prepared],
        together: Plan | None = None,
        *,
        source: str,
        finished: imports.ImportedFile | None,
        fence: Fence | None,
        now_ms: int,
    ) -> WriteResult:
        """Enter what was prepared in one transaction, and remove the files that were replaced.

        A file that was written before the lease was found lost is a leftover, which no reader knows of.
        """
        replaced: list[str] = []
        suspect = 0
        with self._engine.begin() as connection:
            check_fence(connection, fence)
            if together is not None:
                suspect += self._enter_together(connection, together, now_ms)
            for write in writes:
                replaced += _enter_files(connection, write.series, write.files)
                suspect += self._enter(connection, write, source=source, now_ms=now_ms)
            if finished is not None:
                (write,) = writes
                series = write.series
                imports.record(connection, finished, series.symbol_id, series.timeframe.value, now_ms)
            reach(Failpoint.BEFORE_COMMIT)
        self._committed(replaced)
        first = [write.added.revision == 0 for write in writes]
        rows = sum(len(write.bars) for write in writes)
        if together is not None:
            first.append(together.added.revision == 0)
            rows += together.rows
        return WriteResult(
            rows=rows,
            rows_new=sum(int(each.sum()) for each in first),
            revisions=sum(int((~each).sum()) for each in first),
            quarantined=sum(len(write.broken) for write in writes),
            suspect=suspect,
        )

    def _check(self, fence: Fence | None) -> None:
        """Refuse at once what the transaction would refuse, before anything is prepared for it."""
        if fence is not None:
            with self._engine.connect() as connection:
                check_fence(connection, fence)

    def _enter_together(self, connection: Connection, together: Plan, now_ms: int) -> int:
        """Enter minutes of many symbols; how many bars became suspect."""
        enter(connection, together)
        reach(Failpoint.HOT_ROWS_WRITTEN)
        if together.touched is None:
            return 0
        doubted = doubtful(connection, together, self._doubt_rule)
        tiers = Tiers(connection, self._cold)
        judged = {
            symbol_id: doubt.judge(
                connection, tiers, symbol_id, Timeframe.M1, together.touched, self._doubt_rule
            )
            for symbol_id in doubted
        }
        # Closes bear on the verdicts on later ones alone: nothing older than what was written is another.
        if mended.is_late(together.touched[0], now_ms):
            for symbol_id, span in spans_of(together).items():
                if mended.is_late(span[0], now_ms):
                    changed = judged[symbol_id].changed if symbol_id in judged else None
                    mended.note(connection, symbol_id, [mended.around(span, changed)])
        return sum(each.suspect for each in judged.values())

    def _enter(self, connection: Connection, write: _Prepared, *, source: str, now_ms: int) -> int:
        """Enter a write of one series but for its files; how many bars became suspect."""
        series, added = write.series, write.added
        in_files = [file.month_ms for file in write.files]
        _insert_hot(connection, series, added.where(~np.isin(_month_of(added.open_time_ms), in_files)))
        complete(
            connection, np.full(len(write.completed), series.symbol_id), series.timeframe, write.completed
        )
        reach(Failpoint.HOT_ROWS_WRITTEN)
        covered, grown = _extend_coverage(connection, self._cold, series, write.coverage)
        gaps.note(connection, series.symbol_id, series.timeframe, write.lacking, covered, now_ms)
        bars = write.bars
        held.note(
            connection,
            series.symbol_id,
            series.timeframe,
            bars,
            write.rules,
            raw=write.raw,
            source=source,
            now_ms=now_ms,
        )
        sound_ms = bars.open_time_ms[write.rules == BarRule.VALID]
        held.settle_known(connection, series.symbol_id, series.timeframe, write.coverage, sound_ms, now_ms)
        if not len(added) and grown is None:
            return 0
        touched, judged = _span_of(added, grown, series.timeframe), doubt.Judged(suspect=0, changed=None)
        if series.timeframe is Timeframe.M1:
            judged = doubt.judge(
                connection,
                Tiers(connection, self._cold),
                series.symbol_id,
                series.timeframe,
                touched,
                self._doubt_rule,
            )
        if mended.is_late(touched[0], now_ms):
            mended.note(connection, series.symbol_id, [mended.around(touched, judged.changed)])
        return judged.suspect

    def _committed(self, replaced: Iterable[str]) -> None:
        """Remove the files that no row names any longer."""
        reach(Failpoint.COMMITTED)
        for path in replaced:
            self._cold.remove(path)
        reach(Failpoint.REPLACED_FILES_REMOVED)

    def _set_status(self, provider: str, symbol: Symbol, status: str, reason: str | None) -> bool:
        """Whether a symbol had another status before."""
        self.register(provider, [symbol])
        table = tables.symbols
        this = table.c.symbol_id == self._symbol_ids[provider, symbol]
        with self._engine.begin() as connection:
            before = connection.execute(select(table.c.status, table.c.reason).where(this)).one()
            if tuple(before) != (status, reason):
                connection.execute(update(table).where(this).values(status=status, reason=reason))
        return bool(before.status != status)

    @property
    def _doubt_rule(self) -> doubt.DoubtRule:
        return doubt.DoubtRule(self._market_data.suspect_move, self._market_data.suspect_confirm_bars)

    def _series(self, provider: str, symbol: Symbol, timeframe: Timeframe) -> _Series:
        if (provider, symbol) not in self._symbol_ids:
            self.register(provider, [symbol])
        return _Series(self._symbol_ids[provider, symbol], provider, symbol, timeframe)

    def _stored_around(self, series: _Series, times: IntArray) -> StoredRows:
        """What is stored at these times; their whole months, where they are enough to be written as files."""
        if not len(times):
            return StoredRows.none()
        start_ms, end_ms = int(times.min()), int(times.max()) + 1
        if len(times) >= self._market_data.files.cold_rows_min:
            start_ms, end_ms = month_start_ms(start_ms), next_month_ms(end_ms - 1)
        with self._engine.connect() as connection:
            return Tiers(connection, self._cold).rows(series.symbol_id, series.timeframe, start_ms, end_ms)

    def _cold_months(self, news: Contribution, stored: StoredRows, now_ms: int) -> dict[int, StoredRows]:
        """The finished months that get enough new rows to become files at once, with all their rows."""
        chosen = {}
        for month_ms in intervals.distinct(_month_of(news.added.open_time_ms)).tolist():
            end_ms = next_month_ms(month_ms)
            new = news.added.between(month_ms, end_ms)
            if end_ms <= now_ms and len(new) >= self._market_data.files.cold_rows_min:
                parts = news.completed.between(month_ms, end_ms), stored.between(month_ms, end_ms), new
                chosen[month_ms] = StoredRows.merged(parts)
        return chosen

    def _write_months(self, series: _Series, months: Mapping[int, StoredRows]) -> list[ColdFile]:
        """Write a file for each month. They are on the disk, and no reader knows of them yet."""
        if not months:
            return []
        with self._engine.connect() as connection:
            known = Tiers(connection, self._cold).month_files(
                [series.symbol_id], series.timeframe, min(months), next_month_ms(max(months))
            )
        following = {file.month_ms: file.generation + 1 for file in known[series.symbol_id]}

        def write(month_ms: int) -> ColdFile:
            return self._cold.write(
                series.provider,
                series.symbol,
                series.timeframe,
                month_ms,
                following.get(month_ms, 0),
                months[month_ms],
            )

        with ThreadPoolExecutor(_WRITING_THREADS, thread_name_prefix="cold") as pool:
            return list(pool.map(write, months))

    def _hot_months(self) -> list[tuple[_Series, list[int]]]:
        """Every series with hot rows, and the months that they lie in."""
        table = tables.bars
        span = select(
            table.c.symbol_id,
            table.c.timeframe,
            func.min(table.c.open_time_ms),
            func.max(table.c.open_time_ms),
        ).group_by(table.c.symbol_id, table.c.timeframe)
        found = []
        with self._engine.connect() as connection:
            names = {
                row.symbol_id: (row.provider, Symbol.parse(row.symbol))
                for row in connection.execute(select(tables.symbols))
            }
            for symbol_id, timeframe, first_ms, last_ms in connection.execute(span).fetchall():
                series = _Series(symbol_id, *names[symbol_id], Timeframe.parse(timeframe))
                months = []
                month_ms = month_start_ms(first_ms)
                while month_ms <= last_ms:
                    inside = select(table.c.open_time_ms).where(
                        table.c.symbol_id == symbol_id,
                        table.c.timeframe == timeframe,
                        table.c.open_time_ms >= month_ms,
                        table.c.open_time_ms < next_month_ms(month_ms),
                    )
                    if connection.execute(inside.limit(1)).first() is not None:
                        months.append(month_ms)
                    month_ms = next_month_ms(month_ms)
                found.append((series, months))
        return found


def _check_provider(provider: str) -> None:
    if not provider or not set(provider) <= _PROVIDER_CHARACTERS:
        raise UsageError(
            f"{provider!r} is no name of a provider: use lower case letters, digits, - and _, such as binance"
        )


def _registered(connection: Connection, provider: str, symbol: Symbol) -> int:
    """The id of a symbol, which is given one where it has none."""
    table = tables.symbols
    connection.execute(
        sqlite_insert(table)
        .values(provider=provider, symbol=str(symbol), status="active")
        .on_conflict_do_nothing(index_elements=["provider", "symbol"])
    )
    query = select(table.c.symbol_id).where(table.c.provider == provider, table.c.symbol == str(symbol))
    return int(connection.execute(query).scalar_one())


def _news(bars: BarBatch, valid: IntArray, stored: StoredRows, *, present: bool) -> Contribution:
    """What the valid bars of a batch come to beside what is stored."""
    if not len(valid):
        return Contribution(StoredRows.none(), StoredRows.none())
    order = valid[np.argsort(bars.open_time_ms[valid], kind="stable")]
    times = bars.open_time_ms[order]
    values = bars.values()[:, order]
    repeats = _repeat_number(times)
    last = int(repeats.max())
    found, so_far = StoredRows.none(), stored
    for repeat in range(last + 1):
        chosen = repeats == repeat
        part = contributions(times[chosen], values[:, chosen], so_far, present=present and not last)
        if not last:
            return part
        found = StoredRows.merged([part.completed, part.added, found])
        so_far = StoredRows.merged([found, stored])
    # What completes a row that came with this very batch is a part of that row.
    was_there = found.is_in(stored)
    return Contribution(found.where(~was_there), found.where(was_there))


def _month_of(open_time_ms: IntArray) -> IntArray:
    """The start of the month of each time."""
    return (
        open_time_ms.astype("datetime64[ms]")
        .astype("datetime64[M]")
        .astype("datetime64[ms]")
        .astype(np.int64)
    )


def _repeat_number(sorted_times: IntArray) -> IntArray:
    """How many equal times stand before each one."""
    index = np.arange(len(sorted_times), dtype=np.int64)
    begins = np.ones(len(sorted_times), dtype=np.bool_)
    begins[1:] = np.diff(sorted_times) != 0
    return index - np.maximum.accumulate(np.where(begins, index, 0))


def _span_of(added: StoredRows, grown: tuple[int, int] | None, timeframe: Timeframe) -> tuple[int, int]:
    """The span of time that a write touched."""
    ends = [] if grown is None else list(grown)
    if len(added):
        ends += [int(added.open_time_ms[0]), int(added.open_time_ms[-1]) + timeframe.ms]
    return min(ends), max(ends)


def _enter_files(connection: Connection, series: _Series, files: Sequence[ColdFile]) -> list[str]:
    """Let the manifest name new files, and take the rows that they hold from the hot tier.

    Returns the files that they replace.
    """
    if not files:
        return []
    manifest, hot = tables.manifest, tables.bars
    months = [file.month_ms for file in files]
    these = (
        manifest.c.symbol_id == series.symbol_id,
        manifest.c.timeframe == series.timeframe.value,
        manifest.c.month_ms.in_(months),
    )
    replaced = list(connection.execute(select(manifest.c.path).where(*these)).scalars())
    if replaced:
        connection.execute(delete(manifest).where(*these))
    entries = [
        {"symbol_id": series.symbol_id} | asdict(file) | {"timeframe": series.timeframe.value}
        for file in files
    ]
    connection.execute(insert(manifest), entries)
    reach(Failpoint.MANIFEST_WRITTEN)
    of_series = (hot.c.symbol_id == series.symbol_id, hot.c.timeframe == series.timeframe.value)
    if connection.execute(select(hot.c.revision).where(*of_series).limit(1)).first() is not None:
        for month_ms in months:
            connection.execute(
                delete(hot).where(
                    *of_series, hot.c.open_time_ms >= month_ms, hot.c.open_time_ms < next_month_ms(month_ms)
                )
            )
    reach(Failpoint.HOT_ROWS_DELETED)
    return replaced


def _insert_hot(connection: Connection, series: _Series, rows: StoredRows) -> None:
    if not len(rows):
        return
    columns = ", ".join(column.name for column in tables.bars.columns)
    marks = ", ".join("?" * len(tables.bars.columns))
    values = [[None if value != value else value for value in column] for column in rows.values.tolist()]  # noqa: PLR0124 - NaN
    connection.exec_driver_sql(
        f"INSERT INTO bars ({columns}) VALUES ({marks})",  # noqa: S608 - our own column names
        [
            (series.symbol_id, series.timeframe.value, *row)
            for row in zip(rows.open_time_ms.tolist(), rows.revision.tolist(), *values, strict=True)
        ],
    )


def _extend_coverage(
    connection: Connection, cold: ColdTier, series: _Series, added: IntArray
) -> tuple[IntArray, tuple[int, int] | None]:
    """Add intervals to the coverage of a series; all of it, and the span in which it grew, if it did."""
    known = Tiers(connection, cold).coverage([series.symbol_id], series.timeframe)[series.symbol_id]
    new = intervals.subtract(added, known)
    if not len(new):
        return known, None
    joined = intervals.union(known, added)
    table = tables.coverage
    here = (table.c.symbol_id == series.symbol_id, table.c.timeframe == series.timeframe.value)
    before, after = {tuple(pair) for pair in known.tolist()}, {tuple(pair) for pair in joined.tolist()}
    for start_ms, _ in before - after:
        connection.execute(delete(table).where(*here, table.c.start_ms == start_ms))
    connection.execute(
        insert(table),
        [
            {
                "symbol_id": series.symbol_id,
                "timeframe": series.timeframe.value,
                "start_ms": start_ms,
                "end_ms": end_ms,
            }
            for start_ms, end_ms in sorted(after - before)
        ],
    )
    return joined, (int(new[0, 0]), int(new[-1, 1]))
