"""Fills the full grid of one stored series: cold files straight into place, the rest row by row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from mmap import mmap

import numpy as np

from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store.batch import VALUE_FIELDS, StoredRows
from crypto_tracker.store.cold import ColdTier
from crypto_tracker.store.tiers import MonthFile


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredSpan:
    """What is stored of one series over [start_ms, end_ms).

    Attributes
    ----------
    files : the cold files of the span
    hot : every revision of the hot rows of the span, of their fields at least as many as are filled
    suspects : (open time, revision) of bars that count as missing, (keys, 2)
    """

    timeframe: Timeframe
    start_ms: int
    end_ms: int
    files: Sequence[MonthFile]
    hot: StoredRows
    suspects: IntArray


_LARGE_BYTES = 1 << 22


def room(shape: tuple[int, int]) -> FloatArray:
    """Room for a panel's field, (rows, columns), its columns lying together; what it holds means nothing.

    Its memory is taken in small pages as it is written to. NumPy asks for huge ones, and a system, above all
    a virtual machine, may need seconds of processor time to come up with gigabytes of those.
    """
    n_bytes = 8 * shape[0] * shape[1]
    if n_bytes < _LARGE_BYTES:
        return np.empty(shape, order="F")
    return np.ndarray(shape, dtype=np.float64, buffer=mmap(-1, n_bytes), order="F")


def fill(cold: ColdTier, span: StoredSpan, columns: Mapping[str, FloatArray]) -> None:
    """Write every field of `columns` for every bar of the span's grid, NaN where a bar is missing.

    Of every bar the newest revision that is not suspect counts. The columns are arrays (bars,), and their
    names the first of VALUE_FIELDS. Raises FileNotFoundError where another process has replaced a file.
    """
    step = span.timeframe.ms
    doubtful = np.sort(np.concatenate([span.hot.open_time_ms, span.suspects[:, 0]]))
    plain: list[MonthFile] = []
    mixed: list[MonthFile] = []
    for file in sorted(span.files, key=lambda file: file.first_ms):
        first, stop = np.searchsorted(doubtful, [file.first_ms, file.last_ms + 1])
        (plain if first == stop and file.is_full(span.timeframe) else mixed).append(file)
    runs = list(_runs(plain, step))
    if len(runs) != 1 or runs[0][0].first_ms > span.start_ms or runs[0][-1].last_ms + step < span.end_ms:
        for column in columns.values():
            column[:] = np.nan
    for run in runs:
        skipped = max(0, (span.start_ms - run[0].first_ms) // step)
        place = max(0, (run[0].first_ms - span.start_ms) // step)
        cold.read_into(
            [file.path for file in run],
            sum(file.rows for file in run),
            skipped,
            {name: column[place:] for name, column in columns.items()},
        )
    fields = VALUE_FIELDS[: len(columns)]
    read = cold.read([file.path for file in mixed], fields) if mixed else StoredRows.none()
    rows = _joined(read.between(span.start_ms, span.end_ms), span.hot, len(fields))
    rows = rows.without(span.suspects).newest()
    if not len(rows):
        return
    first, last = ((int(time_ms) - span.start_ms) // step for time_ms in rows.open_time_ms[[0, -1]])
    places: slice | IntArray = slice(first, last + 1)
    if last + 1 - first != len(rows):
        places = (rows.open_time_ms - span.start_ms) // step
    for name, values in zip(fields, rows.values, strict=True):
        columns[name][places] = values


def _joined(read: StoredRows, hot: StoredRows, n_fields: int) -> StoredRows:
    """The rows of both tiers, their first fields."""
    of_hot = StoredRows(hot.open_time_ms, hot.revision, hot.values[:n_fields])
    rows = StoredRows.merged([read, of_hot])
    return StoredRows(rows.open_time_ms, rows.revision, rows.values[:n_fields])


def _runs(files: Sequence[MonthFile], step: int) -> Iterator[list[MonthFile]]:
    """The files in runs, in each of which a bar follows the other from file to file."""
    run: list[MonthFile] = []
    for file in files:
        if run and run[-1].last_ms + step != file.first_ms:
            yield run
            run = []
        run.append(file)
    if run:
        yield run
