"""Which minutes a stream has brought wholly; a pure machine of what was subscribed, lost and read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS

Interval = tuple[int, int]


def minute_of(time_ms: int) -> int:
    """The open time of the minute that holds `time_ms`."""
    return time_ms - time_ms % MINUTE_MS


def next_minute(time_ms: int) -> int:
    """The open time of the first minute that opens at or after `time_ms`."""
    return -(-time_ms // MINUTE_MS) * MINUTE_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What has settled.

    Attributes
    ----------
    covered : intervals of each symbol that the stream has brought wholly
    silent_since_ms : where minutes begin that passed without a bar of any symbol; None where there are none
    """

    covered: dict[Symbol, list[Interval]]
    silent_since_ms: int | None


@dataclass(slots=True)
class Minutes:
    """The minutes that were watched from before their open until they had settled, for each symbol.

    A symbol without a bar in such a minute had no trade. What a loss touched, a minute of which a bar came
    that cannot be used, and one that had passed before any bar of it or of a later one came, of whatever
    symbol, are never among them: somebody has to ask the provider.

    Attributes
    ----------
    settle_ms : so long after its close a minute counts as whole
    """

    settle_ms: int
    _next: dict[Symbol, int] = field(default_factory=dict)  # the first minute that is not told of yet
    _doubtful: dict[Symbol, set[int]] = field(default_factory=dict)
    _brought: int = -1  # the newest minute that a bar came of since the last loss

    def subscribed(self, symbols: Iterable[Symbol], now_ms: int) -> None:
        """From now on these symbols come; where they did already, something may have been missed before."""
        for symbol in symbols:
            self._next[symbol] = max(next_minute(now_ms), self._next.get(symbol, 0))

    def lost(self) -> int | None:
        """Nothing comes any more: from where on not all is covered; None where nothing came."""
        open_since = min(self._next.values(), default=None)
        self._next.clear()
        self._doubtful.clear()
        self._brought = -1
        return open_since

    def brought(self, open_ms: int, now_ms: int) -> None:
        """A bar of this minute came: the stream is alive. One that is still to come proves nothing."""
        if open_ms <= now_ms:
            self._brought = max(self._brought, open_ms)

    def doubt(self, symbol: Symbol, open_ms: int, now_ms: int) -> list[int]:
        """A bar of this minute came and cannot be used: the minutes that have to be fetched, therefore.

        One that is still to come tells that one of the two clocks is wrong: nothing is known of the symbol
        then, up to now. Of minutes that are more than a day ahead no note is kept.
        """
        next_ms = self._next.get(symbol)
        if next_ms is None or open_ms < next_ms or open_ms > now_ms + DAY_MS:
            return []
        self._doubtful.setdefault(symbol, set()).add(open_ms)
        if open_ms <= now_ms:
            return [open_ms]
        self._next[symbol] = max(next_ms, next_minute(now_ms))
        return [*range(next_ms, self._next[symbol], MINUTE_MS), open_ms]

    def hidden(self, now_ms: int) -> int | None:
        """Something that cannot be read may have held bars of any symbol: nothing up to now is known.

        Returns from where on that is; None where all of it is covered, or will be.
        """
        open_since = min(self._next.values(), default=None)
        begins_ms = next_minute(now_ms)
        for symbol, next_ms in self._next.items():
            self._next[symbol] = max(next_ms, begins_ms)
        return None if open_since is None or open_since >= begins_ms else open_since

    def settled(self, read_ms: int) -> Settled:
        """What is to be known now that everything which came until `read_ms` has been read; told once."""
        end_ms = minute_of(read_ms - self.settle_ms)
        whole_ms = min(end_ms, self._brought + MINUTE_MS)
        covered = {}
        silent_ms: int | None = None
        for symbol, start_ms in self._next.items():
            if start_ms >= end_ms:
                continue
            self._next[symbol] = end_ms
            if whole_ms < end_ms:
                since_ms = max(start_ms, whole_ms)
                silent_ms = since_ms if silent_ms is None else min(silent_ms, since_ms)
            doubtful = self._doubtful.pop(symbol, set())
            intervals = list(_without(start_ms, whole_ms, sorted(doubtful)))
            if later := {each for each in doubtful if each >= end_ms}:
                self._doubtful[symbol] = later
            if intervals:
                covered[symbol] = intervals
        return Settled(covered=covered, silent_since_ms=silent_ms)

    def due_ms(self) -> int | None:
        """When the next minute settles; None where no symbol is subscribed."""
        if not self._next:
            return None
        return min(self._next.values()) + MINUTE_MS + self.settle_ms

    def next_ms(self, symbol: Symbol) -> int | None:
        """The first minute of a symbol that is not told of yet; None where the symbol does not come."""
        return self._next.get(symbol)

    @property
    def symbols(self) -> frozenset[Symbol]:
        """The symbols that come."""
        return frozenset(self._next)


def _without(start_ms: int, end_ms: int, removed: Iterable[int]) -> Iterator[Interval]:
    """[start_ms, end_ms) less the minutes of `removed`, which are sorted."""
    for open_ms in removed:
        if open_ms >= end_ms:
            break
        if open_ms > start_ms:
            yield start_ms, open_ms
        start_ms = max(start_ms, open_ms + MINUTE_MS)
    if start_ms < end_ms:
        yield start_ms, end_ms
