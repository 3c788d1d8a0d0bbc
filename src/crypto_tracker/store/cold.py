"""The cold tier: one immutable Parquet file per provider, timeframe, symbol and month.

A file is written under a temporary name, forced to the disk, and renamed; it exists for readers only once the
manifest names it. A month that changes gets a new file with the next generation in its name. Whatever the
manifest does not name is a leftover of a killed process.
"""

import contextlib
import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, from_ms
from crypto_tracker.store.batch import VALUE_FIELDS, StoredRows
from crypto_tracker.store.failpoints import Failpoint, reach

_TEMPORARY = ".tmp"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdFile:
    """What the manifest records of one file. `path` is relative to the folder of bars."""

    timeframe: Timeframe
    month_ms: int
    generation: int
    path: str
    rows: int
    bars: int
    first_ms: int
    last_ms: int
    bytes: int
    sha256: str


class ColdTier:
    """The folder of Parquet files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(
        self,
        provider: str,
        symbol: Symbol,
        timeframe: Timeframe,
        month_ms: int,
        generation: int,
        rows: StoredRows,
    ) -> ColdFile:
        """Write one month, wholly on the disk when this returns; the manifest must name it thereafter."""
        relative = Path(
            provider, timeframe.value, code_of(symbol), f"{from_ms(month_ms):%Y-%m}.g{generation}.parquet"
        )
        final = self.folder / relative
        self._make_folder(final.parent)
        content = _encode(rows)
        temporary = final.with_name(final.name + _TEMPORARY)
        with temporary.open("wb") as file:
            file.write(content)
            reach(Failpoint.COLD_TEMPORARY_WRITTEN)
            file.flush()
            os.fsync(file.fileno())
        reach(Failpoint.COLD_TEMPORARY_SYNCED)
        temporary.replace(final)
        reach(Failpoint.COLD_RENAMED)
        sync_folder(final.parent)
        reach(Failpoint.COLD_DIRECTORY_SYNCED)
        return ColdFile(
            timeframe=timeframe,
            month_ms=month_ms,
            generation=generation,
            path=relative.as_posix(),
            rows=len(rows),
            bars=len(rows.newest()),
            first_ms=int(rows.open_time_ms[0]),
            last_ms=int(rows.open_time_ms[-1]),
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )

    def read(self, paths: Sequence[str], fields: Sequence[str] = VALUE_FIELDS) -> StoredRows:
        """All rows of some files, in their order: one call for all, since opening them takes the time.

        `fields` are the first of VALUE_FIELDS, as many as are needed. Raises FileNotFoundError where another
        process has replaced one of the files.
        """
        if not paths:
            return StoredRows.none()
        frame = self._frame(paths, ["open_time_ms", "revision", *fields])
        return StoredRows(
            frame["open_time_ms"].to_numpy(),
            frame["revision"].to_numpy().astype(np.int64),
            np.stack([frame[name].to_numpy() for name in fields]),
        )

    def read_into(
        self, paths: Sequence[str], rows: int, skipped: int, columns: Mapping[str, FloatArray]
    ) -> None:
        """Write some fields of all rows of files, in their order, into `columns`, without a copy between.

        The files hold `rows` rows; those before `skipped` and those that find no place are left out. Raises
        FileNotFoundError where another process has replaced one of the files.
        """
        frame = self._frame(paths, list(columns))
        if frame.height != rows:
            raise StoreError(
                f"the bar files from {self.folder / paths[0]} on hold {frame.height} rows, and the manifest "
                f"says {rows}: restore them from a copy, or let `validate-data --repair` forget their months"
            )
        for name, column in columns.items():
            place = -skipped
            for part in frame[name].get_chunks():
                first, stop = max(place, 0), min(place + len(part), len(column))
                if first < stop:
                    column[first:stop] = part.to_numpy()[first - place : stop - place]
                place += len(part)

    def _frame(self, paths: Sequence[str], columns: list[str]) -> pl.DataFrame:
        """Some columns of all rows of some files, in their order."""
        try:
            return pl.read_parquet(
                [self.folder / path for path in paths],
                columns=columns,
                hive_partitioning=False,
                glob=False,
            )
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            if len(paths) > 1:  # read one by one to say which it is
                return pl.concat([self._frame([path], columns) for path in paths])
            raise StoreError(
                f"the bar file {self.folder / paths[0]} is damaged ({error}): restore it from a copy, "
                "or let `validate-data --repair` forget its month, so that it can be fetched again"
            ) from error

    def remove(self, path: str) -> None:
        """Remove a file that the manifest no longer names."""
        (self.folder / path).unlink(missing_ok=True)

    def remove_leftovers(self, named: set[str]) -> list[str]:
        """Remove every file that is not in `named`, under the lock of the writers. Returns their paths."""
        if not self.folder.is_dir():
            return []
        leftovers = []
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = Path(folder, name)
                relative = path.relative_to(self.folder).as_posix()
                if relative not in named and is_bar_file(name):
                    path.unlink()
                    leftovers.append(relative)
        return sorted(leftovers)

    def _make_folder(self, folder: Path) -> None:
        """Make the folder and force its name to the disk, up to the folder of bars."""
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            new.mkdir(exist_ok=True)
            sync_folder(new.parent)


def code_of(symbol: Symbol) -> str:
    """The name of a symbol's folder.

    >>> code_of(Symbol("BTC", "USDT", "USDT"))
    'BTC_USDT_USDT'
    """
    return "_".join(part for part in (symbol.base, symbol.quote, symbol.settle) if part)


def is_bar_file(name: str) -> bool:
    """Whether a file of this name is one of ours, finished or left by a process that was killed."""
    return name.endswith((".parquet", _TEMPORARY))


def _encode(rows: StoredRows) -> bytes:
    frame = pl.DataFrame(
        {
            "open_time_ms": rows.open_time_ms,
            "revision": rows.revision.astype(np.int32),
            **dict(zip(VALUE_FIELDS, rows.values, strict=True)),
        }
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=True)
    return buffer.getvalue()


def sync_folder(folder: Path) -> None:
    """Force a renamed or new name in `folder` to the disk."""
    if os.name == "nt":  # pragma: no cover - folders cannot be opened there, and names are journalled
        return
    descriptor = os.open(folder, os.O_RDONLY)
    with contextlib.ExitStack() as closing:
        closing.callback(os.close, descriptor)
        os.fsync(descriptor)
