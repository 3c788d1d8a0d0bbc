"""When bars are fetched, and which; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from crypto_tracker.config.market_data import TimeframePlan
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe

MEASURE_MS = 5 * MINUTE_MS
"""Between two measurements of data quality."""
DAILY_AT_MS = 10 * MINUTE_MS
"""After midnight UTC: the markets are asked for, gaps healed, providers compared, old months moved."""

_WINDOW_BARS = 100


@dataclass(slots=True)
class Turns:
    """One thing that is due every so often, at the same offset after the grid of time; late turns are one.

    Where the clock was set back behind the last turn, one is due, and from then on they come as always.
    """

    every_ms: int
    offset_ms: int
    _done_ms: int | None = None

    def is_due(self, now_ms: int) -> bool:
        """Whether a turn has come that was not taken; the first one is due at once."""
        return self._done_ms is None or self._last(now_ms) != self._done_ms

    def take(self, now_ms: int) -> None:
        """Take all turns until now."""
        self._done_ms = self._last(now_ms)

    def next_ms(self, now_ms: int) -> int:
        """When it is due; now where it is."""
        return now_ms if self._done_ms is None or self.is_due(now_ms) else self._done_ms + self.every_ms

    def _last(self, now_ms: int) -> int:
        return (now_ms - self.offset_ms) // self.every_ms * self.every_ms + self.offset_ms


@dataclass(slots=True)
class Increments:
    """Which timeframes are to be brought up to date by requests, each shortly after bars have closed."""

    plans: Mapping[Timeframe, TimeframePlan]
    settle_ms: int
    _turns: dict[Timeframe, Turns] = field(init=False)

    def __post_init__(self) -> None:
        self._turns = {
            timeframe: Turns(max(int(plan.update_minutes * MINUTE_MS), 1), self.settle_ms)
            for timeframe, plan in self.plans.items()
        }

    def take_due(self, now_ms: int) -> list[Timeframe]:
        """The timeframes whose turn has come; it is taken."""
        due = [timeframe for timeframe, turns in self._turns.items() if turns.is_due(now_ms)]
        for timeframe in due:
            self._turns[timeframe].take(now_ms)
        return due

    def next_ms(self, now_ms: int) -> int:
        """When the next one is due."""
        return min((turns.next_ms(now_ms) for turns in self._turns.values()), default=now_ms + DAY_MS)

    def span(self, timeframe: Timeframe, now_ms: int) -> tuple[int, int]:
        """The bars that are looked after: those of the last day, or the last hundred; closed and settled."""
        end_ms = timeframe.floor(now_ms - self.settle_ms)
        return timeframe.floor(end_ms - max(DAY_MS, _WINDOW_BARS * timeframe.ms)), end_ms


@dataclass(slots=True)
class Wishes:
    """What is to be fetched because the stream did not bring it, and from when on that can be asked for.

    `since_ms` is where the stream's coverage ended; None where nothing is open, or where it was taken and
    nothing has been wished since.
    """

    since_ms: int | None = None
    _taken_ms: int | None = None
    _moments: list[int] = field(default_factory=list)
    _holes: dict[tuple[Symbol, int], int] = field(default_factory=dict)
    _seen_ms: int | None = None  # the clock, when it was looked at last

    def all_since(self, since_ms: int, at_ms: int) -> None:
        """At `at_ms` everything from `since_ms` on is to be fetched, if it is missing then."""
        self.since_ms = since_ms if self.since_ms is None else min(since_ms, self.since_ms)
        self._moments.append(at_ms)

    def hole(self, symbol: Symbol, open_ms: int, at_ms: int) -> None:
        """At `at_ms` one minute of a symbol is to be fetched."""
        self._holes.setdefault((symbol, open_ms), at_ms)

    def look(self, now_ms: int) -> None:
        """Notice a clock that was set back: what waits for a moment waits no longer for that."""
        back_ms = 0 if self._seen_ms is None else self._seen_ms - now_ms
        self._seen_ms = now_ms
        if back_ms <= 0:
            return
        self._moments = [moment - back_ms for moment in self._moments]
        self._holes = {key: at_ms - back_ms for key, at_ms in self._holes.items()}
        if self.since_ms is not None:
            self.since_ms = min(self.since_ms, Timeframe.M1.floor(now_ms))

    def next_ms(self) -> int | None:
        """When something is due; None where nothing is wished for."""
        return min([*self._moments, *self._holes.values()], default=None)

    def take_since(self, now_ms: int) -> int | None:
        """From where on everything is to be fetched now, which is taken; None where that is not due."""
        if not any(moment <= now_ms for moment in self._moments):
            return None
        self._moments = [moment for moment in self._moments if moment > now_ms]
        self._taken_ms, self.since_ms = self.since_ms, None
        return self._taken_ms

    @property
    def comes_again(self) -> bool:
        """Whether everything will be asked for once more, at a later moment that is known already."""
        return bool(self._moments)

    def take_holes(self, now_ms: int) -> list[tuple[Symbol, int]]:
        """The single minutes that are to be fetched now."""
        due = sorted(key for key, at_ms in self._holes.items() if at_ms <= now_ms)
        for key in due:
            del self._holes[key]
        return due

    def fetched(self, until_ms: int, *, streaming: bool) -> None:
        """From what was taken on, everything until then has been asked for.

        While no stream looks after the rest, it stays open; so does what was wished for since it was taken.
        """
        if streaming and not self._moments:
            self.since_ms = None
            return
        rest_ms = until_ms if self._taken_ms is None else max(self._taken_ms, until_ms)
        self.since_ms = rest_ms if self.since_ms is None else min(self.since_ms, rest_ms)

    def drop(self, symbols: Iterable[Symbol]) -> None:
        """Nobody collects these any more."""
        gone = set(symbols)
        self._holes = {key: at_ms for key, at_ms in self._holes.items() if key[0] not in gone}
