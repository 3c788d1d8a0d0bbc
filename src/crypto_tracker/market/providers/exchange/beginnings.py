"""When symbols began to be traded: before that, minutes without bars are no minutes without trades."""

from collections.abc import Callable

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.market.providers.exchange.paging import PageReader

_EMPTY_PAGES = 2
"""So many pages of days without a trade lie before the first bar of a symbol."""


class Beginnings:
    """Finds the first bars of symbols, each once.

    Parameters
    ----------
    reader_of : reads a timeframe of a symbol
    oldest_of : the oldest bar of a timeframe that the exchange still has; None where it has all
    page_bars : days of one page
    """

    def __init__(
        self,
        reader_of: Callable[[Symbol, Timeframe], PageReader],
        oldest_of: Callable[[Timeframe], int | None],
        page_bars: int,
    ) -> None:
        self._reader_of = reader_of
        self._oldest_of = oldest_of
        self._page_bars = page_bars
        self._days: dict[Symbol, int | None] = {}
        self._bars: dict[tuple[Symbol, Timeframe], int | None] = {}

    async def first_bar(self, symbol: Symbol, timeframe: Timeframe, now_ms: int) -> tuple[int | None, int]:
        """The open time of the first bar of a symbol, and the requests that it took to find it.

        None where the symbol has never been traded, and where its beginning lies further back than the
        exchange reaches.
        """
        day, requests = await self._first_day(symbol, now_ms)
        if day is None or timeframe is Timeframe.D1:
            return day, requests
        key = (symbol, timeframe)
        if key not in self._bars:
            oldest = self._oldest_of(timeframe)
            self._bars[key] = None
            if oldest is None or oldest <= day:
                pages = await self._reader_of(symbol, timeframe).read(day, day + DAY_MS)
                requests += pages.requests
                self._bars[key] = min(pages.rows, default=day)
        return self._bars[key], requests

    async def _first_day(self, symbol: Symbol, now_ms: int) -> tuple[int | None, int]:
        """Days are read backwards until enough pages of them are empty."""
        if symbol in self._days:
            return self._days[symbol], 0
        oldest = self._oldest_of(Timeframe.D1)
        first: int | None = None
        requests = empty = 0
        end = Timeframe.D1.floor(now_ms) + DAY_MS
        while empty < _EMPTY_PAGES:
            start = max(end - self._page_bars * DAY_MS, oldest or 0)
            if start >= end:
                break
            pages = await self._reader_of(symbol, Timeframe.D1).read(start, end)
            requests += pages.requests
            first = min(pages.rows, default=first)
            empty = 0 if pages.rows else empty + 1
            end = start
        if first is None:
            return None, requests  # and it may begin tomorrow
        self._days[symbol] = None if oldest is not None and first <= oldest + DAY_MS else first
        return self._days[symbol], requests
