"""Massive's REST interface as a provider of history."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import httpx
import numpy as np
from pydantic import SecretStr

from crypto_tracker.config.market_data import Fetching, Massive
from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.errors import NotEntitled, ProviderUnavailable, UnknownToProvider, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms, to_ms
from crypto_tracker.core.validate import MISSING_TIME_MS
from crypto_tracker.market.providers.base import FetchedBars, Lacking, MarketInfo, RawBar, Reach, no_bars
from crypto_tracker.market.providers.massive.answers import (
    BarPage,
    DayBar,
    bar_page,
    day_bars,
    joined,
    ticker_page,
)
from crypto_tracker.market.providers.massive.misplaced import doubtful, inside
from crypto_tracker.market.providers.massive.pairs import rest_ticker
from crypto_tracker.net.http import Answer, HttpClient, Params, Request
from crypto_tracker.net.limits import RateLimit
from crypto_tracker.net.retry import Transient
from crypto_tracker.store import intervals
from crypto_tracker.store.batch import BarBatch

NAME = "massive"
KEY_VARIABLES = "MASSIVE_API_KEY (or POLYGON_API_KEY)"

_WINDOWS = {
    Timeframe.M1: (1, "minute"),
    Timeframe.M15: (15, "minute"),
    Timeframe.H1: (1, "hour"),
    Timeframe.D1: (1, "day"),
}
# The provider's limit of one page counts the minutes, or days, that its bars are made of.
_PAGE_ROWS = 50_000
_PAGE_ROWS_MIN = 100
_TICKERS = 1_000
# From the third attempt on a page is asked for in a fifth of its size: some large pages never come.
_SHRINKS_AFTER = 2
_SHRINKS_BY = 5
_EARLIEST_MS = to_ms(datetime(2010, 1, 1, tzinfo=UTC))  # before the first bar of any pair
# A minute may be published a little after its close. Until this is over, no bar does not mean no trade.
_PUBLISHED_WITHIN_MS = MINUTE_MS


@dataclass(frozen=True, slots=True)
class _First:
    """When the bars of a symbol begin: the first minute that opens from `asked_ms` on.

    None where that cannot be known: the plan refuses the years before it, and does not say which.
    """

    asked_ms: int
    minute_ms: int | None

    @property
    def listed_ms(self) -> int | None:
        """The minute before which there certainly is nothing; None where older bars may be out of reach."""
        if self.minute_ms is not None and self.minute_ms < self.asked_ms + DAY_MS:
            return None
        return self.minute_ms


class MassiveHistory:
    """A provider of history (`providers.base.History`).

    Parameters
    ----------
    settings : where it is, and what the plan of the key allows
    key : sent in a header; it appears in no text
    now_ms : the present moment, for bars that have not closed
    transport : what stands in for the network, such as a recorder around it
    """

    def __init__(
        self,
        settings: Massive,
        fetching: Fetching,
        key: SecretStr,
        *,
        now_ms: Callable[[], int],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._now_ms = now_ms
        self._is_free = settings.plan == "free"
        self._page_rows = _PAGE_ROWS
        self._first: dict[Symbol, _First] = {}
        self._client = HttpClient(
            settings.rest_url,
            limit=_limit_of(settings),
            fetching=fetching,
            name=NAME,
            headers={"Authorization": SecretStr(f"Bearer {key.get_secret_value()}")},
            key_variable=KEY_VARIABLES,
            transport=transport,
        )

    @property
    def name(self) -> str:
        """The name under which its bars are stored."""
        return NAME

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """Those that it can be asked for."""
        return tuple(_WINDOWS)

    def reach(self, timeframe: Timeframe, now_ms: int) -> Reach:
        """What can be asked for: everything with a paid plan, whole days of some years with a free one."""
        multiplier, window = _window(timeframe)
        minutes = timeframe.ms // MINUTE_MS if window != "day" else multiplier
        page_bars = _PAGE_ROWS // minutes
        if not self._is_free:
            return Reach(page_bars=page_bars)
        today_ms = Timeframe.D1.floor(now_ms)
        return Reach(
            page_bars=page_bars,
            oldest_ms=today_ms - self._settings.free_days * DAY_MS,
            newest_ms=today_ms,
            why_oldest=(
                f"the free plan of massive reaches {self._settings.free_days:,} days back: "
                "take a paid plan, or import older bars from files"
            ),
            why_newest=(
                "the free plan of massive gives a day after its end: "
                "take a paid plan, or the bars of today from an exchange"
            ),
        )

    async def markets(self) -> Sequence[MarketInfo]:
        """Every pair that has a symbol of ours, those that are no longer traded too.

        `volume_quote` is that of yesterday, where the plan gives it.
        """
        found: dict[Symbol, MarketInfo] = {}
        for active in ("false", "true"):  # one that is listed as both is traded
            query: Params = {"market": "crypto", "active": active, "limit": _TICKERS}
            request: Request = ("/v3/reference/tickers", query)
            asked: set[str] = set()
            while True:
                markets, next_path = await self._client.read(_always(request), ticker_page)
                found.update({market.symbol: market for market in markets})
                if next_path is None:
                    break
                if next_path in asked:
                    raise ProviderUnavailable("the list of pairs of massive has no end: try again later")
                asked.add(next_path)
                request = (next_path, None)
        try:
            days = await self.grouped_daily(Timeframe.D1.floor(self._now_ms()) - DAY_MS)
        except NotEntitled:
            days = {}
        return [_with_volume(found[symbol], days.get(symbol)) for symbol in sorted(found)]

    async def fetch(self, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> FetchedBars:
        """The bars that open in [start_ms, end_ms), which lies on the grid and within `reach`.

        An answer covers the whole span, besides what cannot be known from it: what has not closed, and the
        empty end of a span that is so new that its bars may not be published, and a hole that a bar with a
        wrong time may belong to. What lies before the first bar ever is lacking.
        """
        ticker = rest_ticker(symbol)
        known = self._first.get(symbol)
        if known is not None and known.listed_ms is not None and end_ms <= timeframe.floor(known.listed_ms):
            return FetchedBars(
                bars=no_bars(),
                covered=(),
                lacking=(_lacking(symbol, start_ms, end_ms, known.listed_ms),),
                requests=0,
            )
        pages, requests = await self._pages(ticker, timeframe, start_ms, end_ms)
        everything, raw_of_all = joined(pages)
        bars, raw = self._asked_for(everything, raw_of_all, timeframe, start_ms, end_ms)
        times = bars.open_time_ms[inside(bars.open_time_ms, timeframe, start_ms, end_ms)]
        last_close_ms = int(times.max()) + timeframe.ms if len(times) else start_ms
        covered_ms = self._covered_until(timeframe, last_close_ms, end_ms, delayed=pages[-1].delayed)
        begins_ms = listed_ms = start_ms
        if not len(times) or times.min() > start_ms:
            first, more = await self._first_of(symbol, ticker, start_ms)
            requests += more
            begins_ms = min(_begin(first, timeframe, start_ms, end_ms), max(covered_ms, start_ms))
            listed_ms = begins_ms if first.listed_ms is None else first.listed_ms
        covered = intervals.subtract(
            intervals.as_intervals([(begins_ms, covered_ms)]),
            doubtful(everything.open_time_ms, timeframe, start_ms, end_ms),
        )
        return FetchedBars(
            bars=bars,
            covered=tuple((start, end) for start, end in covered.tolist()),
            lacking=(_lacking(symbol, start_ms, begins_ms, listed_ms),) if begins_ms > start_ms else (),
            raw=raw,
            requests=requests,
        )

    async def grouped_daily(self, day_ms: int) -> Mapping[Symbol, DayBar]:
        """The day that starts at `day_ms` (UTC) of every pair that was traded on it."""
        path = f"/v2/aggs/grouped/locale/global/market/crypto/{_date(day_ms)}"
        page = await self._client.read(_always((path, {"adjusted": "true"})), _any_ticker)
        return {symbol: replace(bar, open_time_ms=day_ms) for symbol, bar in day_bars(page).items()}

    async def previous_close(self, symbol: Symbol) -> DayBar:
        """The last whole day of a pair; raises UnknownToProvider where there is none."""
        path = f"/v2/aggs/ticker/{rest_ticker(symbol)}/prev"
        page = await self._client.read(_always((path, {"adjusted": "true"})), _any_ticker)
        found = day_bars(page).get(symbol)
        if found is None:
            raise UnknownToProvider(f"massive has no previous close of {symbol}: it may not be traded there")
        return found

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.close()

    async def _pages(
        self, ticker: str, timeframe: Timeframe, start_ms: int, end_ms: int
    ) -> tuple[list[BarPage], int]:
        """Every page of a span, and how many requests it took."""
        reading = _Reading(ticker, timeframe, start_ms, end_ms, self._page_rows)
        while not reading.is_done:
            reading.take(await self._client.read(reading.request, reading.decode))
        self._page_rows = min(reading.page_rows * (1 if reading.shrank else _SHRINKS_BY), _PAGE_ROWS)
        return reading.pages, reading.requests

    async def _first_of(self, symbol: Symbol, ticker: str, start_ms: int) -> tuple[_First, int]:
        """When the bars of a symbol begin, as far as can be known, and how many requests that took."""
        known = self._first.get(symbol)
        if known is not None and (known.asked_ms <= start_ms or known.listed_ms is not None):
            return known, 0
        now_ms = self._now_ms()
        asked_ms = self.reach(Timeframe.D1, now_ms).oldest_ms or _EARLIEST_MS
        try:
            day_ms = await self._first_bar(ticker, Timeframe.D1, asked_ms, now_ms)
        except NotEntitled:
            first = self._first[symbol] = _First(asked_ms, None)
            return first, 1
        if day_ms is None:
            raise UnknownToProvider(
                f"massive has no bar of {symbol} since {_date(asked_ms)}: "
                "`list-markets massive` shows what it has"
            )
        # The day of the provider need not begin with that of UTC.
        begins_ms = max(Timeframe.D1.floor(day_ms), asked_ms)
        minute_ms = await self._first_bar(ticker, Timeframe.M1, begins_ms, begins_ms + 2 * DAY_MS)
        first = self._first[symbol] = _First(asked_ms, day_ms if minute_ms is None else minute_ms)
        return first, 2

    async def _first_bar(self, ticker: str, timeframe: Timeframe, from_ms: int, to_ms: int) -> int | None:
        path = _range_path(ticker, timeframe, from_ms, to_ms)
        query: Params = {"adjusted": "true", "sort": "asc", "limit": 1}
        page = await self._client.read(_always((path, query)), lambda answer: bar_page(answer, ticker=ticker))
        times = page.bars.open_time_ms
        times = times[times != MISSING_TIME_MS]
        return int(times.min()) if len(times) else None

    def _asked_for(
        self, bars: BarBatch, raw: RawBar, timeframe: Timeframe, start_ms: int, end_ms: int
    ) -> tuple[BarBatch, RawBar]:
        """Without the bar that is still open, and without what lies around the span.

        What cannot have happened yet, or has no time, stays: the store puts it into quarantine.
        """
        now_ms = self._now_ms()
        times = bars.open_time_ms
        is_open = (times <= now_ms) & (times > now_ms - timeframe.ms)
        around = (times != MISSING_TIME_MS) & ((times < start_ms) | (times >= end_ms)) & (times <= now_ms)
        kept = np.flatnonzero(~is_open & ~around)
        if len(kept) == len(bars):
            return bars, raw
        return _rows(bars, kept), lambda index: raw(int(kept[index]))

    def _covered_until(self, timeframe: Timeframe, last_close_ms: int, end_ms: int, *, delayed: bool) -> int:
        """Up to where an answer says everything; after it no bar does not mean no trade."""
        now_ms = self._now_ms()
        believed_ms = now_ms - _PUBLISHED_WITHIN_MS
        if self._is_free:
            believed_ms = Timeframe.D1.floor(now_ms) - DAY_MS
        elif delayed:
            believed_ms = Timeframe.D1.floor(now_ms)
        closed_ms = timeframe.floor(now_ms)
        return min(end_ms, closed_ms, max(last_close_ms, timeframe.floor(believed_ms)))


class _Reading:
    """The pages of one span, one after the other.

    A page that does not come is asked for in smaller parts, from where the last one ended: the cursor of
    the provider would only repeat the size that failed.
    """

    def __init__(self, ticker: str, timeframe: Timeframe, start_ms: int, end_ms: int, page_rows: int) -> None:
        self.pages: list[BarPage] = []
        self.page_rows = page_rows
        self.requests = 0
        self.shrank = False
        self.is_done = False
        self._ticker = ticker
        self._timeframe = timeframe
        self._position_ms = start_ms
        self._end_ms = end_ms
        self._next_path: str | None = None
        self._rows_asked = page_rows

    def request(self, attempt: int) -> Request:
        """What to ask at the attempt with this number."""
        self.requests += 1
        if self._next_path is not None and attempt <= _SHRINKS_AFTER:
            return self._next_path, None
        smaller = _SHRINKS_BY ** max(attempt - _SHRINKS_AFTER, 0)
        self._rows_asked = max(self.page_rows // smaller, _PAGE_ROWS_MIN)
        path = _range_path(self._ticker, self._timeframe, self._position_ms, self._end_ms - 1)
        return path, {"adjusted": "true", "sort": "asc", "limit": self._rows_asked}

    def decode(self, answer: Answer) -> BarPage:
        """The page; raises Transient for one that leads nowhere."""
        page = bar_page(answer, ticker=self._ticker)
        if page.next_path is not None and self._after(page) <= self._position_ms:
            raise Transient(f"massive sent a page of {self._ticker} that brings nothing new, and no end")
        return page

    def take(self, page: BarPage) -> None:
        """Keep a page and turn to the next one."""
        self.pages.append(page)
        self.shrank = self.shrank or self._rows_asked < self.page_rows
        self.page_rows = self._rows_asked
        self._position_ms = max(self._after(page), self._position_ms)
        self._next_path = page.next_path
        self.is_done = page.next_path is None

    def _after(self, page: BarPage) -> int:
        """Where the page ends; a time outside the span, which a fault may bring, says nothing of it."""
        times = page.bars.open_time_ms
        times = times[times < self._end_ms]
        return int(times.max()) + self._timeframe.ms if len(times) else MISSING_TIME_MS


def _limit_of(settings: Massive) -> RateLimit:
    if settings.plan == "free":
        return RateLimit(settings.free_requests_per_minute / 60.0)
    return RateLimit(settings.requests_per_second, max(int(settings.requests_per_second), 1))


def _window(timeframe: Timeframe) -> tuple[int, str]:
    try:
        return _WINDOWS[timeframe]
    except KeyError:
        known = ", ".join(str(each) for each in _WINDOWS)
        raise UsageError(
            f"bars of {timeframe} are not fetched from massive: ask for one of {known}"
        ) from None


def _range_path(ticker: str, timeframe: Timeframe, from_ms: int, to_ms: int) -> str:
    multiplier, window = _window(timeframe)
    return f"/v2/aggs/ticker/{ticker}/range/{multiplier}/{window}/{from_ms}/{to_ms}"


def _always(request: Request) -> Callable[[int], Request]:
    return lambda _attempt: request


def _any_ticker(answer: Answer) -> BarPage:
    return bar_page(answer, ticker=None)


def _begin(first: _First, timeframe: Timeframe, start_ms: int, end_ms: int) -> int:
    """Where the answer begins to say something: at the start of the span, or with the first bar ever."""
    if first.listed_ms is None:
        return start_ms
    return min(max(timeframe.floor(first.listed_ms), start_ms), end_ms)


def _lacking(symbol: Symbol, start_ms: int, end_ms: int, begins_ms: int) -> Lacking:
    return Lacking(
        start_ms=start_ms,
        end_ms=end_ms,
        reason=f"massive has no bar of {symbol} before {_date(begins_ms)}",
    )


def _date(time_ms: int) -> str:
    return from_ms(time_ms).date().isoformat()


def _rows(bars: BarBatch, kept: IntArray) -> BarBatch:
    return BarBatch(
        open_time_ms=bars.open_time_ms[kept],
        open=bars.open[kept],
        high=bars.high[kept],
        low=bars.low[kept],
        close=bars.close[kept],
        volume=bars.volume[kept],
        vwap=None if bars.vwap is None else bars.vwap[kept],
        n_trades=None if bars.n_trades is None else bars.n_trades[kept],
    )


def _with_volume(market: MarketInfo, day: DayBar | None) -> MarketInfo:
    if day is None:
        return market
    volume = day.volume * (day.close if np.isnan(day.vwap) else day.vwap)
    return replace(market, volume_quote=None if np.isnan(volume) else volume)
