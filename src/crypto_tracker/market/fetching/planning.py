"""Which requests bring what is missing: chunks that overlap nowhere, the newest first."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, month_start_ms, next_month_ms
from crypto_tracker.market.providers.base import Reach
from crypto_tracker.store import intervals


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The bars of one series that open in [start_ms, end_ms) and should be in the store."""

    symbol: Symbol
    timeframe: Timeframe
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Missing:
    """The intervals of one series that are to be fetched, (intervals, 2) of milliseconds."""

    symbol: Symbol
    timeframe: Timeframe
    intervals: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """What is fetched at once, and written in one transaction: bars that open in [start_ms, end_ms)."""

    symbol: Symbol
    timeframe: Timeframe
    start_ms: int
    end_ms: int

    @property
    def bars(self) -> int:
        """How many bars it has where every bar was traded."""
        return (self.end_ms - self.start_ms) // self.timeframe.ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """An interval that the provider cannot be asked for; `for_good` where waiting brings nothing."""

    symbol: Symbol
    timeframe: Timeframe
    start_ms: int
    end_ms: int
    reason: str
    for_good: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The chunks in the order in which they are to be fetched, and what is out of reach."""

    chunks: tuple[Chunk, ...]
    beyond: tuple[Beyond, ...]

    @property
    def bars(self) -> int:
        """The most bars that the chunks can bring."""
        return sum(chunk.bars for chunk in self.chunks)


def plan(missing: Iterable[Missing], reaches: Mapping[Timeframe, Reach], now_ms: int) -> Plan:
    """The chunks that bring all that is missing, closed at `now_ms`, and within reach of the provider.

    The chunks overlap nowhere. They come newest first over all series, so that every symbol has its latest
    bars before any has its distant past; of chunks with the same end, in the order of `missing`. A chunk of
    1m is a whole calendar month (UTC) where all of it is missing; any other has at most `page_bars` bars.

    A timeframe that `reaches` does not name is one that the provider does not offer.
    """
    chunks: list[Chunk] = []
    beyond: list[Beyond] = []
    for series in missing:
        timeframe = series.timeframe
        wanted = intervals.clip(_cells(series.intervals, timeframe.ms), 0, timeframe.floor(now_ms))
        reach = reaches.get(timeframe)
        if reach is None:
            reason = f"the provider has no bars of {timeframe}"
            beyond += _beyond(series, wanted, reason, for_good=False)
            continue
        first_ms, last_ms = _ends(reach, timeframe, now_ms)
        beyond += _beyond(series, intervals.clip(wanted, 0, first_ms), reach.why_oldest, for_good=True)
        later = intervals.clip(wanted, max(first_ms, last_ms), timeframe.floor(now_ms))
        beyond += _beyond(series, later, reach.why_newest, for_good=False)
        if first_ms < last_ms:
            for start_ms, end_ms in intervals.clip(wanted, first_ms, last_ms).tolist():
                chunks += (
                    Chunk(symbol=series.symbol, timeframe=timeframe, start_ms=start, end_ms=end)
                    for start, end in _cut(start_ms, end_ms, timeframe, reach.page_bars)
                )
    return Plan(tuple(sorted(chunks, key=lambda chunk: -chunk.end_ms)), tuple(beyond))


def _cells(missing: IntArray, step: int) -> IntArray:
    """The grid cells that begin in the intervals, each once."""
    return intervals.union(-(-missing // step) * step)


def _ends(reach: Reach, timeframe: Timeframe, now_ms: int) -> tuple[int, int]:
    """The first bar that can be had, and the one after the last."""
    step = timeframe.ms
    first_ms = 0 if reach.oldest_ms is None else max(-(-reach.oldest_ms // step) * step, 0)
    last_ms = now_ms if reach.newest_ms is None else min(reach.newest_ms, now_ms)
    return min(first_ms, timeframe.floor(now_ms)), timeframe.floor(last_ms)


def _beyond(series: Missing, out_of_reach: IntArray, reason: str, *, for_good: bool) -> Iterator[Beyond]:
    for start_ms, end_ms in out_of_reach.tolist():
        yield Beyond(
            symbol=series.symbol,
            timeframe=series.timeframe,
            start_ms=start_ms,
            end_ms=end_ms,
            reason=reason,
            for_good=for_good,
        )


def _cut(start_ms: int, end_ms: int, timeframe: Timeframe, page_bars: int) -> Iterator[tuple[int, int]]:
    """An interval in pieces, the newest first, and only the oldest of them small."""
    if timeframe is not Timeframe.M1:
        yield from _pages(start_ms, end_ms, page_bars * timeframe.ms)
        return
    stop_ms = end_ms
    while stop_ms > start_ms:
        month_ms = month_start_ms(stop_ms - 1)
        if month_ms >= start_ms and stop_ms == next_month_ms(month_ms):
            yield month_ms, stop_ms
        else:
            yield from _pages(max(month_ms, start_ms), stop_ms, page_bars * timeframe.ms)
        stop_ms = month_ms


def _pages(start_ms: int, end_ms: int, page_ms: int) -> Iterator[tuple[int, int]]:
    while end_ms > start_ms:
        yield max(end_ms - page_ms, start_ms), end_ms
        end_ms -= page_ms
