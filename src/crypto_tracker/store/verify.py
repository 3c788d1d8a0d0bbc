"""Judges everything that is stored of bars once more, as if nobody had looked when it came."""

import hashlib
import io
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from sqlalchemy import Connection, Row, select

from crypto_tracker.config.market_data import MarketData
from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, from_ms, month_start_ms, next_month_ms
from crypto_tracker.core.validate import BarRule, broken_rules
from crypto_tracker.store import gaps, intervals, tables
from crypto_tracker.store.batch import N_PRICES, VALUE_FIELDS, StoredRows
from crypto_tracker.store.cold import code_of, is_bar_file
from crypto_tracker.store.doubt import DoubtRule, suspect_keys
from crypto_tracker.store.reader import LOCK_NAME, BarReader
from crypto_tracker.store.tiers import Tiers
from crypto_tracker.store.writing import WritersLock

_CLOSE = VALUE_FIELDS.index("close")
_ATTEMPTS = 5
_FROM_A_COPY = "restore it from a copy, or let `validate-data --repair` forget its month and bring that again"
_BY_HAND = (
    "restore market.db and the folder bars from a copy; without one, move both away and bring the bars again"
)
_JUDGE_ANEW = "`validate-data --repair` concludes it from the bars"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it should be: where, what, and what to do about it.

    Attributes
    ----------
    provider, symbol, timeframe : None where a file belongs to no series
    file : the file that `repair` moves aside, with its month where the manifest names it; below the folder of
        bars, and None where that would not help
    manifest_sha256 : what the manifest said of that file; None where no row of it named the file
    found_sha256 : of what lay there; None where nothing did, and of a file that no row named
    judge_anew : whether `repair` helps by concluding from the bars which of them are suspect
    """

    provider: str | None = None
    symbol: str | None = None
    timeframe: str | None = None
    where: str
    what: str
    help: str
    file: str | None = None
    manifest_sha256: str | None = None
    found_sha256: str | None = None
    judge_anew: bool = False

    @property
    def is_repairable(self) -> bool:
        """Whether `repair` does something about it."""
        return self.file is not None or self.judge_anew

    @property
    def line(self) -> str:
        """All of it in one line."""
        series = " ".join(part for part in (self.symbol, self.provider, self.timeframe) if part is not None)
        return ", ".join(part for part in (series, self.where) if part) + f": {self.what}; {self.help}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was looked at, and what was found."""

    series: int
    files: int
    rows: int
    findings: tuple[Finding, ...]


Watcher = Callable[[int, int, str], None]
"""Told before each series: how many are done, of how many, and which one is next."""


class _Series(NamedTuple):
    symbol_id: int
    provider: str
    symbol: Symbol
    timeframe: Timeframe


@dataclass(slots=True)
class _Notes:
    """What is found of one series, and what was read of it."""

    series: _Series
    findings: list[Finding] = field(default_factory=list)
    missing_files: list[str] = field(default_factory=list)
    contents: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """Of each cold file the SHA-256 that the manifest says, and that of what lay there."""
    files: int = 0
    rows: int = 0

    def add(
        self,
        where: str,
        what: str,
        help: str,  # noqa: A002 - as Finding calls it
        *,
        file: str | None = None,
        judge_anew: bool = False,
    ) -> None:
        """Note a finding of this series."""
        _, provider, symbol, timeframe = self.series
        said, found = (None, None) if file is None else self.contents[file]
        self.findings.append(
            Finding(
                provider=provider,
                symbol=str(symbol),
                timeframe=timeframe.value,
                where=where,
                what=what,
                help=help,
                file=file,
                manifest_sha256=said,
                found_sha256=found,
                judge_anew=judge_anew,
            )
        )


def verify(
    home: Path,
    *,
    market_data: MarketData,
    now_ms: int,
    symbols: Collection[Symbol] | None = None,
    timeframe: Timeframe | None = None,
    provider: str | None = None,
    watcher: Watcher | None = None,
    wait_ms: int = 30_000,
) -> Verdict:
    """Look at every series that the arguments name, and at the files that no row names.

    Others may write meanwhile: each series is judged in one state of the store. Raises DataError where there
    is nothing of what is named.
    """
    rule = DoubtRule(market_data.suspect_move, market_data.suspect_confirm_bars)
    with BarReader.open(home, wait_ms=wait_ms) as reader:
        with reader.kept_connection() as connection, connection.begin():
            chosen = _chosen(connection, symbols, timeframe, provider)
        findings: list[Finding] = []
        files = rows = 0
        for done, series in enumerate(chosen):
            if watcher is not None:
                watcher(done, len(chosen), f"{series.symbol} {series.provider} {series.timeframe}")
            notes = _judged(reader, series, rule, now_ms)
            findings += notes.findings
            files, rows = files + notes.files, rows + notes.rows
        # What another process is about to name is no leftover: nobody writes while this is asked.
        lock = WritersLock(home / LOCK_NAME, what=f"the bars under {home}", wait_ms=wait_ms)
        try:
            with lock.held(), reader.kept_connection() as connection, connection.begin():
                named = set(connection.execute(select(tables.manifest.c.path)).scalars())
                unnamed = _files_under(reader.cold.folder) - named
        finally:
            lock.close()
        findings += _leftovers(unnamed, symbols, timeframe, provider)
    return Verdict(series=len(chosen), files=files, rows=rows, findings=tuple(findings))


def _chosen(
    connection: Connection,
    symbols: Collection[Symbol] | None,
    timeframe: Timeframe | None,
    provider: str | None,
) -> list[_Series]:
    """The series of which anything is stored, as far as they are wanted."""
    holders = (tables.bars, tables.coverage, tables.manifest, tables.suspects, tables.gaps)
    found = []
    met = set()
    for row in connection.execute(select(tables.symbols)).fetchall():
        symbol = Symbol.parse(row.symbol)
        if symbols is not None and symbol not in symbols:
            continue
        if provider is not None and row.provider != provider:
            continue
        met.add(symbol)
        for each in Timeframe:
            if timeframe is not None and each is not timeframe:
                continue
            for table in holders:
                one = select(table.c.symbol_id).where(
                    table.c.symbol_id == row.symbol_id, table.c.timeframe == each.value
                )
                if connection.execute(one.limit(1)).first() is not None:
                    found.append(_Series(row.symbol_id, row.provider, symbol, each))
                    break
    absent = sorted(map(str, set(symbols or ()) - met))
    if absent:
        whose = "the store" if provider is None else f"the provider {provider}"
        raise DataError(f"{whose} has no bars of {', '.join(absent)}: `crypto-tracker list-data` shows them")
    if not found and (symbols is not None or timeframe is not None or provider is not None):
        raise DataError(
            "no bars are stored of what was named: `crypto-tracker list-data` shows what there is"
        )
    return sorted(found, key=lambda series: (series.symbol, series.provider, series.timeframe.ms))


def _judged(reader: BarReader, series: _Series, rule: DoubtRule, now_ms: int) -> _Notes:
    """What is found of one series. A file that a writer has replaced meanwhile is not missing."""
    attempt = 1
    while True:
        notes = _Notes(series)
        with reader.kept_connection() as connection:
            with connection.begin():
                _judge(connection, reader, notes, rule, now_ms)
            with connection.begin():
                named = set(connection.execute(select(tables.manifest.c.path)).scalars())
        if set(notes.missing_files) <= named or attempt == _ATTEMPTS:
            return notes
        attempt += 1


def _judge(connection: Connection, reader: BarReader, notes: _Notes, rule: DoubtRule, now_ms: int) -> None:
    series = notes.series
    coverage = _coverage(connection, notes, now_ms)
    tiers = Tiers(connection, reader.cold)
    months = _cold_months(connection, series)
    readable = True
    times, revisions, closes = [], [], []
    for month_ms in sorted({*months, *_hot_months(connection, series)}):
        span = month_ms, next_month_ms(month_ms)
        hot = tiers.hot_rows(series.symbol_id, series.timeframe, *span)
        cold: StoredRows | None = StoredRows.none()
        if month_ms in months:
            cold = _file(reader.cold.folder, months[month_ms], notes)
        if cold is None:  # what overlays it cannot be judged either
            readable = False
            continue
        _both(cold, hot, notes)
        rows = StoredRows.merged([cold, hot])
        notes.rows += len(rows)
        _broken(cold, notes, now_ms, file=months[month_ms].path if month_ms in months else None)
        _broken(hot, notes, now_ms)
        _rows(rows, coverage, notes)
        times.append(rows.open_time_ms)
        revisions.append(rows.revision)
        closes.append(rows.values[_CLOSE])
    _lacking(connection, coverage, notes)
    if readable:
        empty = StoredRows.none()
        everything = StoredRows(
            np.concatenate([empty.open_time_ms, *times]),
            np.concatenate([empty.revision, *revisions]),
            # Nothing but the close is asked for: it stands in for the other prices.
            np.broadcast_to(np.concatenate([empty.values[0], *closes]), (N_PRICES, notes.rows)),
        )
        _suspects(connection, everything, coverage, notes, rule)


# --------------------------------------------------------------------------------------- rows of the database


def _coverage(connection: Connection, notes: _Notes, now_ms: int) -> IntArray:
    """The coverage of a series, whose rows must be disjoint, on the grid and in the past."""
    table, series = tables.coverage, notes.series
    query = (
        select(table.c.start_ms, table.c.end_ms)
        .where(table.c.symbol_id == series.symbol_id, table.c.timeframe == series.timeframe.value)
        .order_by(table.c.start_ms)
    )
    rows = [(start_ms, end_ms) for start_ms, end_ms in connection.execute(query)]
    for before, after in pairwise(rows):
        if after[0] < before[1]:
            notes.add(
                f"coverage from {_time(after[0])}",
                f"it overlaps the interval from {_time(before[0])} to {_time(before[1])}",
                _BY_HAND,
            )
    for start_ms, end_ms in rows:
        if start_ms % series.timeframe.ms or end_ms % series.timeframe.ms:
            notes.add(f"coverage from {_time(start_ms)}", "it does not lie on the grid", _BY_HAND)
        if end_ms > now_ms:
            notes.add(
                f"coverage from {_time(start_ms)}",
                f"it reaches to {_time(end_ms)}, which is not over yet",
                _BY_HAND + ", and see that the clock is right",
            )
    return intervals.as_intervals(rows)


def _lacking(connection: Connection, coverage: IntArray, notes: _Notes) -> None:
    """What is lacking must be disjoint, and known of nowhere."""
    series = notes.series
    noted = gaps.reasons(connection, series.symbol_id, series.timeframe)
    for before, after in pairwise(noted):
        if after[0] < before[1]:
            notes.add(f"gap from {_time(after[0])}", f"it overlaps the gap from {_time(before[0])}", _BY_HAND)
    for start_ms, end_ms, _ in noted:
        if len(intervals.clip(coverage, start_ms, end_ms)):
            notes.add(
                f"gap from {_time(start_ms)}", "a part of what is said to be lacking is covered", _BY_HAND
            )


def _hot_months(connection: Connection, series: _Series) -> list[int]:
    """The months in which hot rows lie."""
    table = tables.bars
    of_series = (table.c.symbol_id == series.symbol_id, table.c.timeframe == series.timeframe.value)
    months: list[int] = []
    query = select(table.c.open_time_ms).where(*of_series).order_by(table.c.open_time_ms).limit(1)
    found = connection.execute(query).scalar()
    while found is not None:
        months.append(month_start_ms(found))
        later = query.where(table.c.open_time_ms >= next_month_ms(found))
        found = connection.execute(later).scalar()
    return months


def _cold_months(connection: Connection, series: _Series) -> dict[int, Row[tuple[object, ...]]]:
    """The rows of the manifest by month."""
    table = tables.manifest
    query = select(table).where(
        table.c.symbol_id == series.symbol_id, table.c.timeframe == series.timeframe.value
    )
    return {row.month_ms: row for row in connection.execute(query)}


def _both(cold: StoredRows, hot: StoredRows, notes: _Notes) -> None:
    """No row may lie in both tiers."""
    if not len(cold) or not len(hot):
        return
    place = np.searchsorted(cold.open_time_ms, hot.open_time_ms)
    doubled = np.zeros(len(hot), dtype=np.bool_)
    for index in np.flatnonzero(place < len(cold)).tolist():
        stop = np.searchsorted(cold.open_time_ms, hot.open_time_ms[index], side="right")
        doubled[index] = hot.revision[index] in cold.revision[place[index] : stop]
    if doubled.any():
        _some(
            notes,
            hot.open_time_ms[doubled],
            "in the hot table and in the cold file of the month",
            _BY_HAND,
        )


def _broken(rows: StoredRows, notes: _Notes, now_ms: int, *, file: str | None = None) -> None:
    """Every row must be valid; `file` is the cold file that they are from."""
    times = rows.open_time_ms
    prices = rows.values[0], rows.values[1], rows.values[2], rows.values[3]
    codes = broken_rules(notes.series.timeframe, times, prices, rows.values[N_PRICES], now_ms=now_ms)
    help_ = _BY_HAND if file is None else _FROM_A_COPY
    for rule in BarRule:
        if rule is not BarRule.VALID and (codes == rule).any():
            _some(notes, times[codes == rule], f"broken: {rule.label}", help_, file=file)


def _rows(rows: StoredRows, coverage: IntArray, notes: _Notes) -> None:
    """Every row must be covered, and every revision follow the one before it."""
    if not len(rows):
        return
    times, timeframe = rows.open_time_ms, notes.series.timeframe
    stretch = intervals.index_of(coverage, times)
    inside = stretch >= 0
    inside[inside] = times[inside] + timeframe.ms <= coverage[stretch[inside], 1]
    if not inside.all():
        _some(
            notes,
            times[~inside],
            "stored outside of what is known to have been fetched, and so read by nobody",
            "fetch or import that span again",
        )
    begins = np.ones(len(rows), dtype=np.bool_)
    begins[1:] = np.diff(times) != 0
    index = np.arange(len(rows))
    expected = index - np.maximum.accumulate(np.where(begins, index, 0))
    if (rows.revision != expected).any():
        _some(
            notes,
            times[rows.revision != expected],
            "a revision without the one before it",
            _BY_HAND,
        )


def _suspects(
    connection: Connection, rows: StoredRows, coverage: IntArray, notes: _Notes, rule: DoubtRule
) -> None:
    """The record of suspect bars must be what their closes come to."""
    series, table = notes.series, tables.suspects
    query = select(table.c.open_time_ms, table.c.revision, table.c.confirmed_at_ms).where(
        table.c.symbol_id == series.symbol_id, table.c.timeframe == series.timeframe.value
    )
    known = {(time_ms, revision): by for time_ms, revision, by in connection.execute(query)}
    due = suspect_keys(rows, coverage, rule) if series.timeframe is Timeframe.M1 else {}
    for key in sorted(known.keys() | due.keys()):
        where = f"{_time(key[0])} revision {key[1]}"
        if key not in known:
            notes.add(where, "its close jumped, and it is not noted as suspect", _JUDGE_ANEW, judge_anew=True)
        elif key not in due:
            notes.add(where, "noted as suspect, and its close did not jump", _JUDGE_ANEW, judge_anew=True)
        elif known[key] != due[key]:
            notes.add(
                where,
                "suspect, and its confirmation is not what the bars after it say",
                _JUDGE_ANEW,
                judge_anew=True,
            )


# ------------------------------------------------------------------------------------------------- cold files


def _file(folder: Path, named: Row[tuple[object, ...]], notes: _Notes) -> StoredRows | None:
    """The rows of a cold file, sorted and each once, whatever is wrong with it; None if unreadable."""
    where = f"file {named.path}"
    notes.files += 1
    try:
        content = (folder / named.path).read_bytes()
    except FileNotFoundError:
        notes.contents[named.path] = named.sha256, None
        notes.missing_files.append(named.path)
        notes.add(where, "the manifest names it and it does not exist", _FROM_A_COPY, file=named.path)
        return None
    found = hashlib.sha256(content).hexdigest()
    notes.contents[named.path] = named.sha256, found
    if len(content) != named.bytes:
        what = f"it has {len(content):,} bytes, and the manifest says {named.bytes:,}"
        notes.add(where, what, _FROM_A_COPY, file=named.path)
    elif found != named.sha256:
        notes.add(where, "its content is not what was written (SHA-256)", _FROM_A_COPY, file=named.path)
    try:
        rows = _decoded(content)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        notes.add(where, f"it cannot be read ({str(error).splitlines()[0]})", _FROM_A_COPY, file=named.path)
        return None
    times, revisions = rows.open_time_ms, rows.revision
    gain = np.diff(times)
    unsorted = (gain < 0) | ((gain == 0) & (np.diff(revisions) < 0))
    doubled = (gain == 0) & (np.diff(revisions) == 0)
    for wrong, what in ((unsorted, "out of order"), (doubled, "there twice")):
        if wrong.any():
            _some(notes, times[1:][wrong], f"{what} in the {where}", _FROM_A_COPY, file=named.path)
    month = times[(times < named.month_ms) | (times >= next_month_ms(named.month_ms))]
    if len(month):
        _some(notes, month, f"of another month than the {where}", _FROM_A_COPY, file=named.path)
    bars = len(intervals.distinct(times))
    ends = (int(times.min()), int(times.max())) if len(times) else (None, None)
    if (len(rows), bars, *ends) != (named.rows, named.bars, named.first_ms, named.last_ms):
        what = (
            f"it holds {len(rows):,} rows of {bars:,} bars, and the manifest says {named.rows:,} of "
            f"{named.bars:,}, from {_time(named.first_ms)} to {_time(named.last_ms)}"
        )
        notes.add(where, what, _FROM_A_COPY, file=named.path)
    order = np.lexsort((revisions, times))
    kept = np.ones(len(rows), dtype=np.bool_)
    kept[1:] = (np.diff(times[order]) != 0) | (np.diff(revisions[order]) != 0)
    order = order[kept]
    return StoredRows(times[order], revisions[order], rows.values[:, order])


def _decoded(content: bytes) -> StoredRows:
    frame = pl.read_parquet(
        io.BytesIO(content), columns=["open_time_ms", "revision", *VALUE_FIELDS], hive_partitioning=False
    )
    return StoredRows(
        frame["open_time_ms"].to_numpy(),
        frame["revision"].to_numpy().astype(np.int64),
        np.stack([frame[name].to_numpy() for name in VALUE_FIELDS]),
    )


def _files_under(folder: Path) -> set[str]:
    """Every file of bars, finished or not, by its path below the folder."""
    return {
        Path(place, name).relative_to(folder).as_posix()
        for place, _, names in os.walk(folder)
        for name in names
        if is_bar_file(name)
    }


def _leftovers(
    unnamed: Collection[str],
    symbols: Collection[Symbol] | None,
    timeframe: Timeframe | None,
    provider: str | None,
) -> list[Finding]:
    """The files that no row names, as far as they are of what is wanted."""
    codes = None if symbols is None else {code_of(symbol) for symbol in symbols}
    found = []
    for path in sorted(unnamed):
        parts = (*Path(path).parts, "", "", "")
        wanted = (
            (provider is None or parts[0] == provider)
            and (timeframe is None or parts[1] == timeframe.value)
            and (codes is None or parts[2] in codes)
        )
        if wanted:
            found.append(
                Finding(
                    where=f"file {path}",
                    what="no row of the manifest names it, and so nobody reads it",
                    help="the next command that writes bars removes it, and "
                    "`validate-data --repair` moves it aside",
                    file=path,
                )
            )
    return found


# ------------------------------------------------------------------------------------------------------ words


def _some(
    notes: _Notes,
    times: IntArray,
    what: str,
    help: str,  # noqa: A002 - as Finding calls it
    *,
    file: str | None = None,
) -> None:
    """Note several rows that have the same wrong with them as one finding."""
    count, first = len(times), _time(int(times.min()))
    if count > 1:
        notes.add(f"from {first} on", f"{count:,} rows {what}", help, file=file)
    else:
        notes.add(first, f"a row {what}", help, file=file)


def _time(time_ms: int) -> str:
    """A time as it stands in a finding; the plain number where no calendar has it."""
    try:
        moment = from_ms(time_ms)
    except (OverflowError, ValueError, OSError):
        return f"{time_ms} ms"
    plain = f"{moment:%Y-%m-%dT%H:%M}"
    return f"{plain}Z" if time_ms % 60_000 == 0 else f"{plain}:{moment:%S}.{time_ms % 1_000:03}Z"
