"""Repairs what can be repaired of stored bars without a loss: see `repair`."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, delete, insert, select

from crypto_tracker.config.market_data import MarketData
from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, month_start_ms, next_month_ms
from crypto_tracker.store import doubt, intervals, mended, tables
from crypto_tracker.store.cold import ColdTier, sync_folder
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.reader import BARS_FOLDER, DATABASE_NAME, LOCK_NAME
from crypto_tracker.store.tiers import Tiers
from crypto_tracker.store.verify import Finding
from crypto_tracker.store.writing import WritersLock

ASIDE_FOLDER = "bars-damaged"
"""Where files go that are damaged, or that no row names: nothing is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgottenMonth:
    """A month [month_ms, end_ms) of a series that is unknown now, so that it can be brought again."""

    provider: str
    symbol: Symbol
    timeframe: Timeframe
    month_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What a repair did.

    Attributes
    ----------
    moved : files by their path below the folder of bars, and where they are now
    forgotten : months whose file was missing or damaged
    judged : series of which the record of suspect bars was made anew
    """

    moved: tuple[tuple[str, Path], ...]
    forgotten: tuple[ForgottenMonth, ...]
    judged: int


@dataclass(frozen=True, slots=True)
class _Month:
    """One row of the manifest."""

    symbol_id: int
    timeframe: Timeframe
    month_ms: int
    sha256: str

    @property
    def span(self) -> tuple[int, int]:
        return self.month_ms, next_month_ms(self.month_ms)


def repair(
    home: Path, findings: Sequence[Finding], *, market_data: MarketData, wait_ms: int = 30_000
) -> Repaired:
    """Repair those findings that say how; the others are left as they are.

    A file that is damaged, or that no row names, is moved aside. The month of one that is damaged or missing
    leaves manifest and coverage in one transaction with the others of its series, so that it counts as
    unknown. Rows of such a month that lie in the database stay, and what they are known of with them. What
    is noted as suspect is concluded anew from the bars.

    A kill anywhere leaves a state that can be repaired again. What another process has named, replaced or
    made good since it was found is left alone.
    """
    doubted = [
        (finding.provider, finding.symbol, Timeframe.parse(finding.timeframe))
        for finding in findings
        if finding.judge_anew and finding.timeframe is not None
    ]
    lock = WritersLock(home / LOCK_NAME, what=f"the bars under {home}", wait_ms=wait_ms)
    engine = open_engine(home / DATABASE_NAME, busy_timeout_ms=wait_ms)
    cold = ColdTier(home / BARS_FOLDER)
    rule = doubt.DoubtRule(market_data.suspect_move, market_data.suspect_confirm_bars)
    try:
        with lock.held():
            with engine.connect() as connection, connection.begin():
                manifest = _manifest(connection)
                names = {
                    row.symbol_id: (row.provider, Symbol.parse(row.symbol))
                    for row in connection.execute(select(tables.symbols))
                }
            paths = dict.fromkeys(
                finding.file
                for finding in findings
                if finding.file is not None and _still_so(finding, finding.file, manifest, cold.folder)
            )
            named = {path: manifest[path] for path in paths if path in manifest}
            # Before the rows go: a file that no row names is removed by whoever writes next.
            moved = [
                (path, to)
                for path in paths
                if (to := _aside(cold.folder, home / ASIDE_FOLDER, path)) is not None
            ]
            of_series: dict[tuple[int, Timeframe], list[_Month]] = {}
            for month in named.values():
                of_series.setdefault((month.symbol_id, month.timeframe), []).append(month)
            for (symbol_id, timeframe), months in of_series.items():
                with engine.begin() as connection:
                    _forget(connection, Tiers(connection, cold), symbol_id, timeframe, months, rule)
            ids = {(provider, str(symbol)): symbol_id for symbol_id, (provider, symbol) in names.items()}
            judged = {
                (ids[provider, symbol], timeframe)
                for provider, symbol, timeframe in doubted
                if provider is not None and symbol is not None
            } - set(of_series)
            for symbol_id, timeframe in sorted(judged, key=lambda each: (each[0], each[1].ms)):
                with engine.begin() as connection:
                    _judge_anew(connection, Tiers(connection, cold), symbol_id, timeframe, rule)
    finally:
        engine.dispose()
        lock.close()
    return Repaired(
        moved=tuple(moved),
        forgotten=tuple(
            ForgottenMonth(
                provider=names[month.symbol_id][0],
                symbol=names[month.symbol_id][1],
                timeframe=month.timeframe,
                month_ms=month.month_ms,
                end_ms=month.span[1],
            )
            for month in sorted(named.values(), key=lambda each: (each.symbol_id, each.month_ms))
        ),
        judged=len(judged),
    )


def _manifest(connection: Connection) -> dict[str, _Month]:
    """The months that have a file, by its path."""
    table = tables.manifest
    query = select(table.c.path, table.c.symbol_id, table.c.timeframe, table.c.month_ms, table.c.sha256)
    return {
        path: _Month(symbol_id, Timeframe.parse(timeframe), month_ms, sha256)
        for path, symbol_id, timeframe, month_ms, sha256 in connection.execute(query)
    }


def _still_so(finding: Finding, path: str, manifest: Mapping[str, _Month], folder: Path) -> bool:
    """Whether a file that was found is still named as it was, or by no row, and was not made good since."""
    said = manifest[path].sha256 if path in manifest else None
    if said != finding.manifest_sha256:
        return False
    if said is None:
        return True
    try:
        found = hashlib.sha256((folder / path).read_bytes()).hexdigest()
    except FileNotFoundError:
        return True
    # A file may be as it was written, and hold what breaks a rule.
    return found == finding.found_sha256 or found != said


def _aside(folder: Path, aside: Path, path: str) -> Path | None:
    """Move a file out of the folder of bars; where it is now, None where there is none."""
    source, target = folder / path, aside / path
    if not source.is_file():
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    number = 0
    while target.exists():  # an earlier file of the same name is kept too
        number += 1
        target = aside / f"{path}.{number}"
    source.rename(target)
    sync_folder(target.parent)
    sync_folder(source.parent)
    return target


def _forget(
    connection: Connection,
    tiers: Tiers,
    symbol_id: int,
    timeframe: Timeframe,
    months: Sequence[_Month],
    rule: doubt.DoubtRule,
) -> None:
    """Take months of one series from manifest and coverage; what the database holds of them stays known."""
    manifest, covered, imported = tables.manifest, tables.coverage, tables.imports
    connection.execute(
        delete(manifest).where(
            manifest.c.symbol_id == symbol_id,
            manifest.c.timeframe == timeframe.value,
            manifest.c.month_ms.in_([month.month_ms for month in months]),
        )
    )
    # What brought the month is no longer done: its files may be imported again.
    connection.execute(
        delete(imported).where(imported.c.symbol_id == symbol_id, imported.c.timeframe == timeframe.value)
    )
    mended.note(connection, symbol_id, [month.span for month in months])
    gone = intervals.as_intervals(month.span for month in months)
    kept = [_renumber(connection, symbol_id, timeframe, month.span) for month in months]
    known = tiers.coverage([symbol_id], timeframe)[symbol_id]
    there = intervals.of_bars(intervals.distinct(np.concatenate(kept)), timeframe.ms)
    left = intervals.subtract(known, intervals.subtract(gone, there))
    connection.execute(
        delete(covered).where(covered.c.symbol_id == symbol_id, covered.c.timeframe == timeframe.value)
    )
    if len(left):
        connection.execute(
            insert(covered),
            [
                {
                    "symbol_id": symbol_id,
                    "timeframe": timeframe.value,
                    "start_ms": start_ms,
                    "end_ms": end_ms,
                }
                for start_ms, end_ms in left.tolist()
            ],
        )
    _judge_anew(connection, tiers, symbol_id, timeframe, rule)


def _renumber(
    connection: Connection, symbol_id: int, timeframe: Timeframe, span: tuple[int, int]
) -> IntArray:
    """Let the hot rows of a span begin with revision 0, as those of the file are gone; their open times."""
    table = tables.bars
    here = (
        table.c.symbol_id == symbol_id,
        table.c.timeframe == timeframe.value,
        table.c.open_time_ms >= span[0],
        table.c.open_time_ms < span[1],
    )
    query = select(table).where(*here).order_by(table.c.open_time_ms, table.c.revision)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    counts: dict[int, int] = {}
    for row in rows:
        row["revision"] = counts[row["open_time_ms"]] = counts.get(row["open_time_ms"], -1) + 1
    if rows:
        connection.execute(delete(table).where(*here))
        connection.execute(insert(table), rows)
    return np.array(list(counts), dtype=np.int64)


def _judge_anew(
    connection: Connection, tiers: Tiers, symbol_id: int, timeframe: Timeframe, rule: doubt.DoubtRule
) -> None:
    """Conclude from the bars of a series which of them are suspect, and note where others are than before."""
    table = tables.suspects
    here = (table.c.symbol_id == symbol_id, table.c.timeframe == timeframe.value)
    noted = select(table.c.open_time_ms, table.c.revision).where(*here)
    before = {(row[0], row[1]) for row in connection.execute(noted)}
    connection.execute(delete(table).where(*here))
    if timeframe is Timeframe.M1:  # nothing else is ever doubted
        known = tiers.coverage([symbol_id], timeframe)[symbol_id]
        start_ms = month_start_ms(int(known[0, 0])) if len(known) else 0
        while len(known) and start_ms < known[-1, 1]:  # month by month, so that years need no more memory
            span = start_ms, next_month_ms(start_ms)
            if len(intervals.clip(known, *span)):
                doubt.judge(connection, tiers, symbol_id, timeframe, span, rule)
            start_ms = span[1]
    after = {(row[0], row[1]) for row in connection.execute(noted)}
    changed = doubt.span_of(before ^ after, timeframe)
    if changed is not None:
        mended.note(connection, symbol_id, [changed])
