"""Fetching bars into a store: what the commands `download-data` and `heal-gaps` are made of."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from crypto_tracker.app.providers import Provider
from crypto_tracker.config.market_data import MarketData
from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe, from_ms, to_ms
from crypto_tracker.market.fetching.bulk import DayFileSource, fetch_day_files
from crypto_tracker.market.fetching.planning import Wanted
from crypto_tracker.market.fetching.running import Again, fetch_missing
from crypto_tracker.market.fetching.summary import Cause, Summary
from crypto_tracker.market.fetching.symbols import KnownSymbols, known_symbols
from crypto_tracker.market.fetching.watching import BulkWatcher
from crypto_tracker.market.fetching.writing import StoreThread
from crypto_tracker.store import intervals
from crypto_tracker.store.bars import BarStore

EARLIEST_MS = to_ms(datetime(2009, 1, 3, tzinfo=UTC))
"""The day of the first block of Bitcoin: before it nothing was traded that has a symbol here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """What a download came to, and what was learned of the symbols before it."""

    known: KnownSymbols
    summary: Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class HealedSeries:
    """One series in which something was unknown: bars that were, and that are still."""

    symbol: Symbol
    timeframe: Timeframe
    gaps: int
    unknown: int
    left: int  # without what is not to be had yet, which `unknown` does not count either

    @property
    def healed(self) -> int:
        """Bars whose fate is known now, as a bar or as a minute in which nobody traded."""
        return self.unknown - self.left


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """What healing came to."""

    known: KnownSymbols
    summary: Summary
    series: tuple[HealedSeries, ...]


def first_backfill(
    market_data: MarketData,
    timeframes: Sequence[Timeframe],
    now_ms: int,
    *,
    start_ms: int | None,
    end_ms: int | None,
    days: int | None,
) -> dict[Timeframe, tuple[int, int]]:
    """The span of each timeframe: as given, else from the first day of its backfill until now.

    Spans without a given start begin with a day, so that the same command asks for the same all day long.
    None begins before there were coins, and none ends after the present.

    Raises UsageError for a span that lies in the future, or wholly before there were coins.
    """
    if start_ms is not None and start_ms >= now_ms:
        raise UsageError(
            f"the span begins at {_moment(start_ms)}, which is in the future: there are bars until "
            f"{_moment(now_ms)}"
        )
    if end_ms is not None and end_ms <= EARLIEST_MS:
        raise UsageError(
            f"the span ends at {_moment(end_ms)}: there are no bars before {_moment(EARLIEST_MS)}"
        )
    spans = {}
    for timeframe in timeframes:
        plan = market_data.timeframes.get(timeframe.value)
        if start_ms is None and days is None and plan is None:
            raise UsageError(
                f"market_data.timeframes says nothing of {timeframe}: "
                "say from when with --days or --timerange"
            )
        back = days if days is not None else plan.backfill_days if plan is not None else 0
        until_ms = now_ms if end_ms is None else min(end_ms, now_ms)
        from_ms = Timeframe.D1.floor(until_ms - back * DAY_MS) if start_ms is None else start_ms
        from_ms = -(-max(from_ms, EARLIEST_MS) // timeframe.ms) * timeframe.ms
        spans[timeframe] = from_ms, max(-(-until_ms // timeframe.ms) * timeframe.ms, from_ms)
    return spans


def clipped_lines(
    now_ms: int, *, start_ms: int | None, end_ms: int | None, days: int | None
) -> Iterator[str]:
    """What to say of a span that is not fetched as it was named, because nothing can be there."""
    first_ms = start_ms if days is None else (now_ms if end_ms is None else end_ms) - days * DAY_MS
    if first_ms is not None and first_ms < EARLIEST_MS:
        yield f"There are no bars before {_moment(EARLIEST_MS)}: the span begins there."
    if end_ms is not None and end_ms > now_ms:
        yield f"The span ends in the future: it is fetched until {_moment(now_ms)}."


def _moment(time_ms: int) -> str:
    return f"{from_ms(time_ms):%Y-%m-%d %H:%M} UTC"


async def download(
    provider: Provider,
    store: BarStore,
    symbols: Sequence[Symbol],
    spans: dict[Timeframe, tuple[int, int]],
    *,
    now_ms: Callable[[], int],
    parallel: int,
    watcher: BulkWatcher,
    day_files: DayFileSource | None = None,
) -> Downloaded:
    """Fetch what is missing of the spans, of those symbols that the provider has.

    With `day_files` minutes come from them as far as they go, and the rest by request.
    """
    with StoreThread() as thread:
        known = await known_symbols(provider.history, store, symbols, thread=thread, watcher=watcher)
        wanted = _wanted(known.there, spans)
        bulk = None
        if day_files is not None:
            minutes = [each for each in wanted if each.timeframe is Timeframe.M1]
            bulk = await fetch_day_files(
                day_files,
                provider.name,
                store,
                minutes,
                now_ms=now_ms,
                watcher=watcher,
                thread=thread,
            )
        summary = await fetch_missing(
            provider.history,
            store,
            wanted,
            now_ms=now_ms,
            parallel=parallel,
            watcher=watcher,
            thread=thread,
        )
        await thread.do(store.roll_over)
    return Downloaded(known=known, summary=summary if bulk is None else bulk.joined(summary))


async def heal(
    provider: Provider,
    store: BarStore,
    symbols: Sequence[Symbol],
    spans: dict[Timeframe, tuple[int, int]],
    *,
    from_first_bar: bool,
    again: bool,
    now_ms: Callable[[], int],
    parallel: int,
    watcher: BulkWatcher,
) -> Healed:
    """Fetch what is unknown inside the spans; bars that are held in quarantine are asked for again.

    A bar that has not closed is no gap. What the provider does not give yet is said in the summary, and
    counts as no gap either.

    Parameters
    ----------
    from_first_bar : whether a series begins with its first known bar, where it has one
    again : whether to ask also for what the provider is noted to lack
    """
    with StoreThread() as thread:
        known = await known_symbols(provider.history, store, symbols, thread=thread, watcher=watcher)
        wanted = _wanted(known.there, spans)
        if from_first_bar:
            wanted = [await thread.do(_from_first_bar, store, provider.name, each) for each in wanted]
        present_ms = now_ms()
        before = {each: await thread.do(_unknown, store, provider.name, each, present_ms) for each in wanted}
        summary = await fetch_missing(
            provider.history,
            store,
            [each for each in wanted if len(before[each])],
            now_ms=now_ms,
            parallel=parallel,
            again=Again.LACKING if again else Again.HELD,
            watcher=watcher,
            thread=thread,
        )
        yet = _not_yet(summary, present_ms)
        series = []
        for each, all_of_it in before.items():
            later = yet.get((each.symbol, each.timeframe), intervals.EMPTY)
            unknown = intervals.subtract(all_of_it, later)
            if len(unknown):
                left = await thread.do(_unknown, store, provider.name, each, present_ms)
                series.append(
                    HealedSeries(
                        symbol=each.symbol,
                        timeframe=each.timeframe,
                        gaps=len(unknown),
                        unknown=intervals.length(unknown) // each.timeframe.ms,
                        left=intervals.length(intervals.subtract(left, later)) // each.timeframe.ms,
                    )
                )
        await thread.do(store.roll_over)
    return Healed(known=known, summary=summary, series=tuple(series))


def _wanted(symbols: Sequence[Symbol], spans: dict[Timeframe, tuple[int, int]]) -> list[Wanted]:
    return [
        Wanted(symbol=symbol, timeframe=timeframe, start_ms=start_ms, end_ms=end_ms)
        for timeframe, (start_ms, end_ms) in spans.items()
        for symbol in symbols
    ]


def _from_first_bar(store: BarStore, provider: str, wanted: Wanted) -> Wanted:
    known = store.reader.coverage(provider, wanted.symbol, wanted.timeframe)
    start_ms = int(known[0, 0]) if len(known) else wanted.start_ms
    return Wanted(
        symbol=wanted.symbol,
        timeframe=wanted.timeframe,
        start_ms=min(start_ms, wanted.end_ms),
        end_ms=wanted.end_ms,
    )


def _unknown(store: BarStore, provider: str, wanted: Wanted, now_ms: int) -> IntArray:
    """What is unknown of the bars that have closed; what the provider lacks is among it."""
    closed_ms = min(wanted.end_ms, wanted.timeframe.floor(now_ms))
    if wanted.start_ms >= closed_ms:
        return intervals.EMPTY
    span = intervals.as_intervals([(wanted.start_ms, closed_ms)])
    known = store.reader.coverage(provider, wanted.symbol, wanted.timeframe)
    return intervals.on_grid(intervals.subtract(span, known), wanted.timeframe.ms)


def _not_yet(summary: Summary, now_ms: int) -> Mapping[tuple[Symbol, Timeframe], IntArray]:
    """The newest bars of each series that the provider does not give yet."""
    found: dict[tuple[Symbol, Timeframe], IntArray] = {}
    for each in sorted(summary.missing, key=lambda missing: -missing.end_ms):
        if each.cause is not Cause.LATER:
            continue
        key = each.symbol, each.timeframe
        so_far = found.get(key, intervals.EMPTY)
        newest_ms = int(so_far[0, 0]) if len(so_far) else each.timeframe.floor(now_ms)
        if each.end_ms >= newest_ms:
            found[key] = intervals.union(so_far, intervals.as_intervals([(each.start_ms, each.end_ms)]))
    return found
