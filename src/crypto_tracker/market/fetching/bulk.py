"""Minutes of all symbols from day files: one file for each day, instead of a request for each symbol."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np

from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.errors import NotEntitled, ProviderError, ProviderUnavailable
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe, month_start_ms, next_month_ms
from crypto_tracker.market.fetching.planning import Chunk, Plan, Wanted
from crypto_tracker.market.fetching.summary import Summary, Tally
from crypto_tracker.market.fetching.watching import BulkWatcher
from crypto_tracker.market.fetching.writing import StoreThread
from crypto_tracker.market.providers.base import FetchedBars
from crypto_tracker.market.providers.massive.day_files import DayFileMissing
from crypto_tracker.store import intervals
from crypto_tracker.store.bars import BarStore, WriteResult
from crypto_tracker.store.batch import BarBatch


class DayFileSource(Protocol):
    """Whoever has a file of the minutes of every pair for each day (UTC)."""

    async def fetch_day(
        self, day_ms: int, symbols: Collection[Symbol] | None = None
    ) -> Mapping[Symbol, FetchedBars]:
        """The minutes of one day, of these symbols where the file names them.

        Raises NotEntitled where the keys do not reach it, ProviderUnavailable where there is no file of the
        day, or all attempts have failed.
        """
        ...


_FILES_AT_A_TIME = 4  # each holds every pair there is while it is read
_FAILURES_MAX = 3  # files in a row that could not be had: the rest comes by request

Parts = dict[Symbol, list[FetchedBars]]


async def fetch_day_files(
    files: DayFileSource,
    provider: str,
    store: BarStore,
    wanted: Sequence[Wanted],
    *,
    now_ms: Callable[[], int],
    watcher: BulkWatcher,
    thread: StoreThread,
) -> Summary:
    """Fetch the minutes of whole days that are missing, the newest month first.

    A month of one symbol is written in one transaction. Days of which there is no file (yet), and symbols
    that a file does not name, stay missing: whoever fetches by request afterwards learns why.

    Raises the ProviderError of the newest file where not a single one can be had.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    tally = Tally(provider)
    missing = await thread.do(_missing_days, store, provider, wanted, now_ms())
    months = sorted({month_start_ms(day_ms) for days in missing.values() for day_ms in days}, reverse=True)
    chunks = [
        Chunk(
            symbol=symbol,
            timeframe=Timeframe.M1,
            start_ms=max(month_ms, min(days)),
            end_ms=min(next_month_ms(month_ms), max(days) + DAY_MS),
        )
        for month_ms in months
        for symbol, days in missing.items()
        if any(month_start_ms(day_ms) == month_ms for day_ms in days)
    ]
    watcher.planned(Plan(tuple(chunks), ()))
    reading = _Reading(files)
    for month_ms in months:
        ours = {
            symbol: {day_ms for day_ms in days if month_start_ms(day_ms) == month_ms}
            for symbol, days in missing.items()
        }
        before = reading.came
        found = await reading.month({symbol: days for symbol, days in ours.items() if days})
        requests = reading.came - before
        for chunk in (each for each in chunks if month_start_ms(each.start_ms) == month_ms):
            parts = found.get(chunk.symbol)
            if parts is None:
                watcher.left_out(chunk)
                continue
            result = await thread.do(_write, store, provider, chunk.symbol, parts)
            # A file is one request for all of its symbols: the first of them counts it.
            tally.came(chunk, result, requests)
            watcher.chunk_done(chunk, result.rows, requests)
            requests = 0
        if reading.end is not None:
            for chunk in (each for each in chunks if each.start_ms < month_ms):
                watcher.left_out(chunk)
            break
    if reading.end is not None and not reading.came:
        raise reading.end
    return tally.summary(loop.time() - began)


def _missing_days(
    store: BarStore, provider: str, wanted: Sequence[Wanted], now_ms: int
) -> dict[Symbol, list[int]]:
    """For each symbol the days that are over and wholly missing."""
    found: dict[Symbol, list[int]] = {}
    for each in wanted:
        missing = store.reader.missing(
            provider, each.symbol, each.timeframe, each.start_ms, min(each.end_ms, now_ms)
        )
        days = [
            day_ms
            for start_ms, end_ms in intervals.on_grid(missing, DAY_MS).tolist()
            for day_ms in range(start_ms, end_ms, DAY_MS)
        ]
        if days:
            found.setdefault(each.symbol, []).extend(days)
    return found


class _Reading:
    """Reads files until one says that nothing older can be had."""

    def __init__(self, files: DayFileSource) -> None:
        self._files = files
        self._failures = 0
        self.came = 0
        self.end: ProviderError | None = None

    async def month(self, wanted: Mapping[Symbol, set[int]]) -> Parts:
        """What the files of one month have of the wanted days."""
        slots = asyncio.Semaphore(_FILES_AT_A_TIME)
        found: Parts = {}

        async def one(day_ms: int) -> None:
            symbols = [symbol for symbol, days in wanted.items() if day_ms in days]
            async with slots:
                bars = {} if self.end else await self._day(day_ms, symbols)
            for symbol in symbols:
                if symbol in bars:
                    found.setdefault(symbol, []).append(bars[symbol])

        try:
            async with asyncio.TaskGroup() as tasks:
                for day_ms in sorted(set().union(*wanted.values()), reverse=True):
                    tasks.create_task(one(day_ms))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        return found

    async def _day(self, day_ms: int, symbols: Collection[Symbol]) -> Mapping[Symbol, FetchedBars]:
        try:
            bars = await self._files.fetch_day(day_ms, symbols)
        except NotEntitled as error:
            self.end = error
        except DayFileMissing:
            pass  # that of today, or one that never was: other days have theirs
        except ProviderUnavailable as error:
            self._failures += 1
            if self._failures == _FAILURES_MAX:
                self.end = error
        else:
            self._failures = 0
            self.came += 1
            return bars
        return {}


def _write(store: BarStore, provider: str, symbol: Symbol, parts: Sequence[FetchedBars]) -> WriteResult:
    ends = np.cumsum([len(part.bars) for part in parts])

    def raw(index: int) -> Mapping[str, object]:
        """The fields of a bar as its file had them."""
        number = int(np.searchsorted(ends, index, side="right"))
        part = parts[number]
        position = index - (int(ends[number - 1]) if number else 0)
        return {} if part.raw is None else part.raw(position)

    return store.write(
        provider,
        symbol,
        Timeframe.M1,
        _joined([part.bars for part in parts]),
        [span for part in parts for span in part.covered],
        source=f"{provider} day files",
        raw=raw if all(part.raw is not None for part in parts) else None,
    )


def _joined(batches: Sequence[BarBatch]) -> BarBatch:
    def column(name: str) -> FloatArray:
        return np.concatenate(
            [
                np.full(len(batch), np.nan) if getattr(batch, name) is None else getattr(batch, name)
                for batch in batches
            ]
        )

    times: IntArray = np.concatenate([batch.open_time_ms for batch in batches])
    return BarBatch(
        open_time_ms=times,
        open=column("open"),
        high=column("high"),
        low=column("low"),
        close=column("close"),
        volume=column("volume"),
        vwap=column("vwap"),
        n_trades=column("n_trades"),
    )
