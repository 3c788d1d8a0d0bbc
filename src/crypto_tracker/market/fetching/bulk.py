"""Minutes of all symbols from day files: one file for each day, instead of a request for each symbol."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from crypto_tracker.core.arrays import FloatArray, IntArray
from crypto_tracker.core.errors import NotEntitled, ProviderUnavailable
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, month_start_ms, next_month_ms
from crypto_tracker.market.fetching.planning import Chunk, Plan, Wanted
from crypto_tracker.market.fetching.summary import Cause, Summary, Tally
from crypto_tracker.market.fetching.watching import Watcher
from crypto_tracker.market.fetching.writing import StoreThread
from crypto_tracker.market.providers.base import FetchedBars
from crypto_tracker.store import intervals
from crypto_tracker.store.bars import BarStore, WriteResult
from crypto_tracker.store.batch import BarBatch


class DayFileSource(Protocol):
    """Whoever has a file of the minutes of every pair for each day (UTC)."""

    async def fetch_day(self, day_ms: int) -> Mapping[Symbol, FetchedBars]:
        """The minutes of one day.

        Raises UnknownToProvider where there is no file of it yet, or ever; NotEntitled where the keys do not
        reach it; ProviderUnavailable when all attempts have failed.
        """
        ...
