"""Brings files of bars into the store, one after the other; what is done is not done again."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crypto_tracker.config.market_data import FileRules
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.core.validate import BarRule, broken_rules
from crypto_tracker.market.providers.files.parse import FileOptions, ParsedFile, parse_file
from crypto_tracker.market.providers.files.sources import BarFile, PassedOver, find_files, sha256_of
from crypto_tracker.market.providers.files.tables import NotBarsError
from crypto_tracker.store import intervals
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.imports import FileIdentity, ImportedFile

# A file in which more than this share of the rows is broken does not hold what it is taken for.
_BROKEN_SHARE_MAX = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOutcome:
    """What became of one file.

    Attributes
    ----------
    status : `imported`; `unchanged`, where an earlier import brought it; `skipped`, where it holds no bars;
        `failed`, where it should hold bars and cannot be used
    reason : why it was skipped or failed; None otherwise
    rows : rows in the file; of an unchanged one those that it had then
    """

    source: str
    status: str
    reason: str | None = None
    layout: str | None = None
    provider: str | None = None
    symbol: str | None = None
    timeframe: str | None = None
    rows: int = 0
    rows_new: int = 0
    revisions: int = 0
    quarantined: int = 0
    suspect: int = 0
    notes: tuple[str, ...] = ()


def plan_import(path: Path) -> list[BarFile | PassedOver]:
    """Every file under `path`, in the order of the import; raises DataError where there is none."""
    found = list(find_files(path))
    if not found:
        raise DataError(f"there is no file under {path}")
    return found


def import_files(
    files: list[BarFile | PassedOver], store: BarStore, options: FileOptions, rules: FileRules, *, now_ms: int
) -> Iterator[FileOutcome]:
    """Import each file, and say what became of it as soon as it is known.

    Stopping between two outcomes loses nothing: each file is in the store wholly or not at all.
    """
    for file in files:
        if isinstance(file, PassedOver):
            status = "failed" if file.broken else "skipped"
            yield FileOutcome(source=file.path, status=status, reason=file.reason)
            continue
        try:
            yield import_file(file, store, options, rules, now_ms=now_ms)
        except NotBarsError as error:
            yield FileOutcome(source=str(file), status="skipped", reason=str(error))
        except DataError as error:
            yield FileOutcome(source=str(file), status="failed", reason=str(error))


def import_file(
    file: BarFile, store: BarStore, options: FileOptions, rules: FileRules, *, now_ms: int
) -> FileOutcome:
    """Import one file; raises DataError where it cannot be used, NotBarsError where it holds no bars."""
    identity = FileIdentity(
        source=file.source, options=_text_of(options, rules), size=file.size, modified_ns=file.modified_ns
    )
    earlier = store.earlier_import(identity)
    content = b"" if earlier else file.content()
    sha256 = "" if earlier else sha256_of(content)
    earlier = earlier or store.earlier_import(identity, sha256)
    if earlier is not None:
        return FileOutcome(
            source=str(file),
            status="unchanged",
            layout=earlier.layout,
            provider=earlier.provider,
            symbol=earlier.symbol,
            timeframe=earlier.timeframe,
            rows=earlier.rows,
        )
    parsed = parse_file(file, content, options)
    covered = covered_by(parsed, rules, now_ms=now_ms)
    result = store.write(
        parsed.provider,
        parsed.symbol,
        parsed.timeframe,
        parsed.bars,
        covered,
        source=str(file),
        raw=parsed.raw,
        finished=ImportedFile(
            identity=identity, sha256=sha256, layout=parsed.layout.value, rows=len(parsed.bars)
        ),
    )
    return FileOutcome(
        source=str(file),
        status="imported",
        layout=parsed.layout.value,
        provider=parsed.provider,
        symbol=str(parsed.symbol),
        timeframe=str(parsed.timeframe),
        rows=result.rows,
        rows_new=result.rows_new,
        revisions=result.revisions,
        quarantined=result.quarantined,
        suspect=result.suspect,
        notes=parsed.notes,
    )


def covered_by(parsed: ParsedFile, rules: FileRules, *, now_ms: int) -> list[tuple[int, int]]:
    """What a file proves to have been fetched: from its first to its last bar, less outages.

    Exchanges publish no bar for a minute without trades, so a short hole in their own file means that nobody
    traded. A long one means that the exchange, or whoever collected the file, was away: that is unknown.
    Raises DataError where most rows of the file are broken.
    """
    bars = parsed.bars
    codes = broken_rules(
        parsed.timeframe,
        bars.open_time_ms,
        (bars.open, bars.high, bars.low, bars.close),
        bars.volume,
        now_ms=now_ms,
    )
    broken = np.flatnonzero(codes)
    if len(broken) > _BROKEN_SHARE_MAX * len(bars):
        index = int(broken[0])
        line = index + 1 if bars.line is None else int(bars.line[index])
        raise DataError(
            f"line {line}: {BarRule(codes[index]).label}; {len(broken):,} of {len(bars):,} rows are broken, "
            f"and this one reads {parsed.raw(index)}"
        )
    bridged = rules.outage_minutes if parsed.timeframe is Timeframe.M1 else rules.outage_bars
    times = intervals.distinct(bars.open_time_ms[codes == BarRule.VALID])
    spans = intervals.of_bars(times, parsed.timeframe.ms, bridged=bridged)
    return [(start_ms, end_ms) for start_ms, end_ms in spans.tolist()]


def _text_of(options: FileOptions, rules: FileRules) -> str:
    """All that changes how a file is read, as one text."""
    return json.dumps(
        {
            "provider": options.provider,
            "symbol": None if options.symbol is None else str(options.symbol),
            "timeframe": None if options.timeframe is None else str(options.timeframe),
            "layout": None if options.layout is None else options.layout.value,
            "outage_minutes": rules.outage_minutes,
            "outage_bars": rules.outage_bars,
        },
        sort_keys=True,
    )
