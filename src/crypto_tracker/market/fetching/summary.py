"""What a fetching job came to: bars by series, and what is missing still, with the reason."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.market.fetching.planning import Beyond, Chunk
from crypto_tracker.store.bars import WriteResult


class Cause(Enum):
    """Why something is missing still."""

    FAILED = "failed"  # it could have been fetched: asking again may bring it
    LATER = "later"  # the provider does not give it yet, or not in this way
    LACKING = "lacking"  # the provider lacks it for good
    INACTIVE = "inactive"  # the provider does not have the symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class StillMissing:
    """An interval [start_ms, end_ms) of one series that the job did not bring."""

    symbol: Symbol
    timeframe: Timeframe
    start_ms: int
    end_ms: int
    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSummary:
    """What came of one series; the counts of bars are those of the store's writes."""

    symbol: Symbol
    timeframe: Timeframe
    bars: int = 0
    new: int = 0
    revisions: int = 0
    quarantined: int = 0
    suspect: int = 0
    chunks: int = 0
    requests: int = 0

    def plus(self, result: WriteResult, requests: int) -> "SeriesSummary":
        """With one more chunk."""
        return replace(
            self,
            bars=self.bars + result.rows,
            new=self.new + result.rows_new,
            revisions=self.revisions + result.revisions,
            quarantined=self.quarantined + result.quarantined,
            suspect=self.suspect + result.suspect,
            chunks=self.chunks + 1,
            requests=self.requests + requests,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingGroup:
    """What is missing on one timeframe for one reason: whose, from the earliest to the latest of it."""

    timeframe: Timeframe
    cause: Cause
    reason: str
    symbols: tuple[Symbol, ...]
    start_ms: int
    end_ms: int
    bars: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a job came to.

    Attributes
    ----------
    series : every series that was wanted, also those of which nothing came
    missing : what is missing still, in intervals that do not overlap
    inactive : symbols that the provider does not have, or no longer trades, with the reason
    seconds : how long it took
    """

    provider: str
    series: tuple[SeriesSummary, ...]
    missing: tuple[StillMissing, ...]
    inactive: Mapping[Symbol, str]
    seconds: float

    @property
    def bars(self) -> int:
        """Bars that the provider gave."""
        return sum(series.bars for series in self.series)

    @property
    def new(self) -> int:
        """Bars that the store did not have."""
        return sum(series.new for series in self.series)

    @property
    def revisions(self) -> int:
        """Bars that the store had with another value."""
        return sum(series.revisions for series in self.series)

    @property
    def quarantined(self) -> int:
        """Bars that broke a rule."""
        return sum(series.quarantined for series in self.series)

    @property
    def requests(self) -> int:
        """Requests that brought chunks."""
        return sum(series.requests for series in self.series)

    @property
    def chunks(self) -> int:
        """Chunks that are in the store."""
        return sum(series.chunks for series in self.series)

    @property
    def failed(self) -> tuple[StillMissing, ...]:
        """What could have been fetched and was not."""
        return tuple(each for each in self.missing if each.cause is Cause.FAILED)

    def groups(self) -> tuple[MissingGroup, ...]:
        """What is missing, by timeframe and reason, in the order of causes."""
        found: dict[tuple[Timeframe, Cause, str], list[StillMissing]] = {}
        for each in self.missing:
            found.setdefault((each.timeframe, each.cause, each.reason), []).append(each)
        causes, timeframes = list(Cause), list(Timeframe)
        order = sorted(found, key=lambda key: (causes.index(key[1]), key[2], timeframes.index(key[0])))
        return tuple(
            MissingGroup(
                timeframe=timeframe,
                cause=cause,
                reason=reason,
                symbols=tuple(dict.fromkeys(each.symbol for each in found[timeframe, cause, reason])),
                start_ms=min(each.start_ms for each in found[timeframe, cause, reason]),
                end_ms=max(each.end_ms for each in found[timeframe, cause, reason]),
                bars=sum(each.end_ms - each.start_ms for each in found[timeframe, cause, reason])
                // timeframe.ms,
            )
            for timeframe, cause, reason in order
        )

    def joined(self, other: "Summary") -> "Summary":
        """One summary of two jobs with one provider; of a series, what the later says is missing."""
        sums: dict[tuple[Symbol, Timeframe], SeriesSummary] = {}
        for series in (*self.series, *other.series):
            so_far = sums.get((series.symbol, series.timeframe))
            sums[series.symbol, series.timeframe] = series if so_far is None else _added(so_far, series)
        again = {(series.symbol, series.timeframe) for series in other.series}
        kept = (each for each in self.missing if (each.symbol, each.timeframe) not in again)
        return Summary(
            provider=self.provider,
            series=tuple(sums.values()),
            missing=(*kept, *other.missing),
            inactive={**self.inactive, **other.inactive},
            seconds=self.seconds + other.seconds,
        )


def _added(first: SeriesSummary, second: SeriesSummary) -> SeriesSummary:
    return replace(
        first,
        bars=first.bars + second.bars,
        new=first.new + second.new,
        revisions=first.revisions + second.revisions,
        quarantined=first.quarantined + second.quarantined,
        suspect=first.suspect + second.suspect,
        chunks=first.chunks + second.chunks,
        requests=first.requests + second.requests,
    )


@dataclass(slots=True)
class Tally:
    """A summary in the making."""

    provider: str
    series: dict[tuple[Symbol, Timeframe], SeriesSummary] = field(default_factory=dict)
    missing: list[StillMissing] = field(default_factory=list)
    inactive: dict[Symbol, str] = field(default_factory=dict)

    def want(self, symbol: Symbol, timeframe: Timeframe) -> None:
        """Count a series, also where nothing comes of it."""
        self.series.setdefault((symbol, timeframe), SeriesSummary(symbol=symbol, timeframe=timeframe))

    def came(self, chunk: Chunk, result: WriteResult, requests: int) -> None:
        """A chunk is in the store."""
        self.want(chunk.symbol, chunk.timeframe)
        key = chunk.symbol, chunk.timeframe
        self.series[key] = self.series[key].plus(result, requests)

    def lost(self, chunk: Chunk | Beyond, cause: Cause, reason: str) -> None:
        """Something stays missing."""
        self.lost_part(chunk.symbol, chunk.timeframe, (chunk.start_ms, chunk.end_ms), cause, reason)

    def lost_part(
        self, symbol: Symbol, timeframe: Timeframe, span: tuple[int, int], cause: Cause, reason: str
    ) -> None:
        """An interval of a series stays missing."""
        self.missing.append(
            StillMissing(
                symbol=symbol,
                timeframe=timeframe,
                start_ms=span[0],
                end_ms=span[1],
                cause=cause,
                reason=reason,
            )
        )

    def summary(self, seconds: float) -> Summary:
        """What it came to."""
        return Summary(
            provider=self.provider,
            series=tuple(self.series.values()),
            missing=tuple(_joined(self.missing)),
            inactive=dict(self.inactive),
            seconds=seconds,
        )


def _joined(missing: Iterable[StillMissing]) -> Iterator[StillMissing]:
    """Neighbours with the same reason as one, in the order of series and time."""
    order = sorted(
        missing,
        key=lambda each: (each.symbol, each.timeframe.ms, each.cause.value, each.reason, each.start_ms),
    )
    last: StillMissing | None = None
    for each in order:
        if (
            last is not None
            and each.start_ms <= last.end_ms
            and (each.symbol, each.timeframe, each.cause, each.reason)
            == (last.symbol, last.timeframe, last.cause, last.reason)
        ):
            last = replace(last, end_ms=max(last.end_ms, each.end_ms))
            continue
        if last is not None:
            yield last
        last = each
    if last is not None:
        yield last
