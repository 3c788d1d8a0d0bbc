"""Recorded order books: one Parquet file per provider, symbol and hour, under HOME/books.

A row is one snapshot: its time, how many of its levels are bids, and the levels, bids first, each best first.
What is stored is never rewritten: importing an hour again adds the moments that it lacks. A file is written
under a temporary name, forced to the disk and renamed, so readers see whole files only.
"""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from crypto_tracker.core.arrays import RecordArray
from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, from_ms, to_ms
from crypto_tracker.simulation.books import (
    LEVEL_DTYPE,
    SNAPSHOT_DTYPE,
    OrderBooks,
    Snapshot,
    joined,
    order_books,
)
from crypto_tracker.store.database import writer_lock

BOOKS_FOLDER = "books"
_LOCK_NAME = "books.lock"
_HOUR_NAME = "%Y-%m-%dT%H"
_TEMPORARY = ".tmp"
_KEPT_BYTES = 2**28  # of hours that stay at hand


class BookSource(Protocol):
    """Whatever can give recorded books."""

    def books(self, symbols: Sequence[Symbol], start_ms: int, end_ms: int) -> OrderBooks:
        """The snapshots of [start_ms, end_ms) of each symbol, in the order of the symbols."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSeries:
    """What is recorded of one symbol: the hours of its files, and the books in them."""

    provider: str
    symbol: Symbol
    hours: tuple[int, ...]  # milliseconds at which they begin, ascending
    books: int
    first_ms: int  # of the first book
    last_ms: int


class BookStore:
    """The folder of recorded books."""

    def __init__(self, home: Path) -> None:
        self.folder = home / BOOKS_FOLDER

    @classmethod
    @contextmanager
    def open_to_write(cls, home: Path, *, wait_ms: int = 30_000) -> Iterator["BookStore"]:
        """The store while nobody else writes it; raises StoreError where another process goes on doing so."""
        with writer_lock(home / _LOCK_NAME, what=f"the recorded books under {home}", wait_ms=wait_ms):
            store = cls(home)
            for leftover in store.folder.rglob(f"*{_TEMPORARY}"):
                leftover.unlink()
            yield store

    def write(self, provider: str, symbol: Symbol, snapshots: Sequence[Snapshot]) -> int:
        """Add snapshots of one hour, in order of time; returns how many of them were new."""
        new = order_books([snapshots])
        hours = {time_ms // HOUR_MS for time_ms, _, _ in snapshots}
        if len(hours) != 1:
            raise ValueError("snapshots are written hour by hour")
        path = self.path(provider, symbol, hours.pop())
        kept = _frame(new.snapshots, new.levels)
        if path.is_file():
            stored = _read_frame(path)
            kept = kept.join(stored.select("time_ms"), on="time_ms", how="anti")
            if not len(kept):
                return 0
            _put(path, pl.concat([stored, kept]).sort("time_ms"))
        else:
            _put(path, kept)
        return len(kept)

    def read(
        self, provider: str, symbol: Symbol, start_ms: int, end_ms: int
    ) -> tuple[RecordArray, RecordArray]:
        """Snapshots and levels of [start_ms, end_ms); raises StoreError where a file is damaged."""
        hours = range(start_ms // HOUR_MS, -(-end_ms // HOUR_MS))
        paths = [path for hour, path in self._files(provider, symbol) if hour in hours]
        frames = [_read_frame(path) for path in paths]
        if not frames:
            return np.zeros(0, dtype=SNAPSHOT_DTYPE), np.zeros(0, dtype=LEVEL_DTYPE)
        frame = pl.concat(frames).filter(pl.col("time_ms").is_between(start_ms, end_ms, closed="left"))
        return _arrays(frame)

    def series(self) -> list[BookSeries]:
        """All symbols of which books are recorded.

        Counts are read from the ends of the files, moments from the first and the last file of each symbol,
        so that this stays cheap. Raises StoreError where a file is damaged.
        """
        found = []
        for folder in sorted(self.folder.glob("*/*")):
            parts = folder.name.split("_")
            if not 2 <= len(parts) <= 3:
                raise StoreError(f"{folder} is no symbol's folder of recorded books: move it away")
            provider, symbol = folder.parent.name, Symbol(*parts)
            files = self._files(provider, symbol)
            if files:
                found.append(
                    BookSeries(
                        provider=provider,
                        symbol=symbol,
                        hours=tuple(hour * HOUR_MS for hour, _ in files),
                        books=sum(_count(path) for _, path in files),
                        first_ms=_moments(files[0][1])[0],
                        last_ms=_moments(files[-1][1])[1],
                    )
                )
        return found

    def path(self, provider: str, symbol: Symbol, hour: int) -> Path:
        """Where the books of an hour, counted since 1970, are or would be."""
        return self._folder_of(provider, symbol) / f"{from_ms(hour * HOUR_MS):{_HOUR_NAME}}.parquet"

    def _folder_of(self, provider: str, symbol: Symbol) -> Path:
        parts = (symbol.base, symbol.quote, symbol.settle)
        return self.folder / provider / "_".join(part for part in parts if part)

    def _files(self, provider: str, symbol: Symbol) -> list[tuple[int, Path]]:
        """The files of a symbol with their hours, counted since 1970, in order of time."""
        found = []
        for path in sorted(self._folder_of(provider, symbol).glob("*.parquet")):
            try:
                moment = datetime.strptime(path.stem, _HOUR_NAME).replace(tzinfo=UTC)
            except ValueError:
                raise StoreError(f"{path} is no hour of recorded books: move it away") from None
            found.append((to_ms(moment) // HOUR_MS, path))
        return found


class StoredBooks:
    """The store as a book source: every symbol from the provider whose bars it trades."""

    def __init__(self, store: BookStore, provider_of: Mapping[Symbol, str]) -> None:
        self._store = store
        self._provider_of = provider_of

    def books(self, symbols: Sequence[Symbol], start_ms: int, end_ms: int) -> OrderBooks:
        """The snapshots of [start_ms, end_ms) of each symbol; none where its provider's were not recorded."""
        return joined(
            [self._store.read(self._provider_of[symbol], symbol, start_ms, end_ms) for symbol in symbols]
        )


class KeptBooks:
    """The store as a book source for whoever asks minute after minute, while others write.

    The hours that were read last are kept, each for as long as its file is the same one: files are never
    changed in place, so a file with the number, size and time of the one that was read is that one.
    """

    def __init__(self, store: BookStore, provider_of: Mapping[Symbol, str]) -> None:
        self._store = store
        self._provider_of = provider_of
        self._kept: dict[Path, _Hour] = {}  # the one that was asked for last is last

    def books(self, symbols: Sequence[Symbol], start_ms: int, end_ms: int) -> OrderBooks:
        """The snapshots of [start_ms, end_ms) of each symbol, as the store has them now."""
        return joined([self._of(symbol, start_ms, end_ms) for symbol in symbols])

    def _of(self, symbol: Symbol, start_ms: int, end_ms: int) -> tuple[RecordArray, RecordArray]:
        parts = []
        for hour in range(start_ms // HOUR_MS, -(-end_ms // HOUR_MS)):
            shots, levels = self._hour(self._store.path(self._provider_of[symbol], symbol, hour))
            low, high = np.searchsorted(shots["time_ms"], [start_ms, end_ms])
            parts.append((shots[low:high], levels))
        if len(parts) == 1:
            return parts[0]
        together = joined(parts)
        return together.snapshots, together.levels

    def _hour(self, path: Path) -> tuple[RecordArray, RecordArray]:
        try:
            found = path.stat()
        except FileNotFoundError:
            self._kept.pop(path, None)
            return np.zeros(0, dtype=SNAPSHOT_DTYPE), np.zeros(0, dtype=LEVEL_DTYPE)
        identity = found.st_ino, found.st_size, found.st_mtime_ns
        kept = self._kept.pop(path, None)
        if kept is None or kept.identity != identity:
            # A file that is replaced between the two looks is read once more at the next one.
            kept = _Hour(identity, *_arrays(_read_frame(path)))
        self._kept[path] = kept
        size = sum(each.snapshots.nbytes + each.levels.nbytes for each in self._kept.values())
        while size > _KEPT_BYTES and len(self._kept) > 1:
            dropped = self._kept.pop(next(iter(self._kept)))
            size -= dropped.snapshots.nbytes + dropped.levels.nbytes
        return kept.snapshots, kept.levels


class _Hour(NamedTuple):
    """The books of one file, and which file that was."""

    identity: tuple[int, int, int]
    snapshots: RecordArray
    levels: RecordArray


def _frame(snapshots: RecordArray, levels: RecordArray) -> pl.DataFrame:
    """Snapshots as rows; their levels lie one after the other."""
    lengths = snapshots["end"] - snapshots["bids"]
    row = np.repeat(np.arange(len(snapshots)), lengths)
    return (
        pl.DataFrame({"row": row, "price": levels["price"], "size": levels["size"]})
        .group_by("row", maintain_order=True)
        .agg("price", "size")
        .select(
            time_ms=pl.Series(snapshots["time_ms"]),
            bids=pl.Series((snapshots["asks"] - snapshots["bids"]).astype(np.int32)),
            price="price",
            size="size",
        )
    )


def _arrays(frame: pl.DataFrame) -> tuple[RecordArray, RecordArray]:
    """The rows as the simulator takes them."""
    shots = np.zeros(len(frame), dtype=SNAPSHOT_DTYPE)
    shots["time_ms"] = frame["time_ms"].to_numpy()
    shots["end"] = np.cumsum(frame["price"].list.len().to_numpy().astype(np.int64))
    shots["bids"][1:] = shots["end"][:-1]
    shots["asks"] = shots["bids"] + frame["bids"].to_numpy()
    levels = np.zeros(int(shots["end"][-1]) if len(shots) else 0, dtype=LEVEL_DTYPE)
    if len(shots):
        for name in ("price", "size"):
            levels[name] = frame[name].explode().to_numpy()
    return shots, levels


def _read_frame(path: Path) -> pl.DataFrame:
    with _told_if_damaged(path):
        return pl.read_parquet(path, hive_partitioning=False, glob=False)


def _count(path: Path) -> int:
    """How many books a file holds, from its end alone."""
    with _told_if_damaged(path):
        rows = pl.scan_parquet(path, hive_partitioning=False, glob=False).select(pl.len()).collect()
    return int(rows.item())


def _moments(path: Path) -> tuple[int, int]:
    """The first and the last moment of a file, from that column alone."""
    with _told_if_damaged(path):
        times = pl.read_parquet(path, columns=["time_ms"], hive_partitioning=False, glob=False)["time_ms"]
    return int(times[0]), int(times[-1])


@contextmanager
def _told_if_damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise StoreError(
            f"the recorded books {path} are damaged ({error}): remove the file and import its hour again"
        ) from error


def _put(path: Path, frame: pl.DataFrame) -> None:
    """Write a file wholly, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    temporary = path.with_name(path.name + _TEMPORARY)
    with temporary.open("wb") as file:
        file.write(buffer.getvalue())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
