"""Fetching bars into a store: what the commands `download-data` and `heal-gaps` are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crypto_tracker.app.providers import Provider
from crypto_tracker.config.market_data import MarketData
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.market.fetching.bulk import DayFileSource, fetch_day_files
from crypto_tracker.market.fetching.planning import Wanted
from crypto_tracker.market.fetching.running import fetch_missing
from crypto_tracker.market.fetching.summary import Summary
from crypto_tracker.market.fetching.symbols import KnownSymbols, known_symbols
from crypto_tracker.market.fetching.watching import BulkWatcher
from crypto_tracker.market.fetching.writing import StoreThread
from crypto_tracker.store import intervals
from crypto_tracker.store.bars import BarStore


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
    left: int

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
    """
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
        from_ms = -(-from_ms // timeframe.ms) * timeframe.ms
        spans[timeframe] = from_ms, max(-(-until_ms // timeframe.ms) * timeframe.ms, from_ms)
    return spans


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
    """Fetch what is unknown inside the spans.

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
        before = {each: await thread.do(_unknown, store, provider.name, each) for each in wanted}
        summary = await fetch_missing(
            provider.history,
            store,
            [each for each in wanted if before[each][1]],
            now_ms=now_ms,
            parallel=parallel,
            again=again,
            watcher=watcher,
            thread=thread,
        )
        series = []
        for each, (gaps, unknown) in before.items():
            if unknown:
                _, left = await thread.do(_unknown, store, provider.name, each)
                series.append(
                    HealedSeries(
                        symbol=each.symbol, timeframe=each.timeframe, gaps=gaps, unknown=unknown, left=left
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


def _unknown(store: BarStore, provider: str, wanted: Wanted) -> tuple[int, int]:
    """How many stretches, with how many bars, are unknown; those that the provider lacks are among them."""
    span = intervals.as_intervals([(wanted.start_ms, wanted.end_ms)])
    known = store.reader.coverage(provider, wanted.symbol, wanted.timeframe)
    unknown = intervals.on_grid(intervals.subtract(span, known), wanted.timeframe.ms)
    return len(unknown), intervals.length(unknown) // wanted.timeframe.ms
