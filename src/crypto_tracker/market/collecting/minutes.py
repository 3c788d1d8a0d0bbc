"""Which minutes a stream has brought wholly; a pure machine of what was subscribed, lost, read and proven."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS

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
    silent_since_ms : the first minute that passed without a bar and without a proof that there was none; None
        where there is none
    """

    covered: dict[Symbol, list[Interval]]
    silent_since_ms: int | None


@dataclass(slots=True)
class Minutes:
    """The minutes that were watched from before their open until they were known, for each symbol.

    A minute with a bar is known `settle_ms` after its close. One without a bar had no trade, once the
    connection was alive `quiet_ms` after its close, and had brought a bar of it, or of a later minute, of
    whatever symbol. What a loss touched, a minute of which a bar came that cannot be used, and one without a
    bar that nothing has proven in time, are never among them: somebody has to ask the provider.
    """

    settle_ms: int
    quiet_ms: int
    _next: dict[Symbol, int] = field(default_factory=dict)  # the first minute that is not told of yet
    _doubtful: dict[Symbol, set[int]] = field(default_factory=dict)
    _brought: dict[Symbol, set[int]] = field(default_factory=dict)  # minutes of usable bars, not told of yet
    _quiet: dict[Symbol, set[int]] = field(default_factory=dict)  # minutes that were told without a bar
    _newest: int = -1  # the newest minute that a bar came of since the last loss
    _alive_ms: int = -1  # the connection was alive then
    _proven_ms: int = 0  # when that was proven last, or could have been

    def subscribed(self, symbols: Iterable[Symbol], now_ms: int) -> None:
        """From now on these symbols come; where they did already, something may have been missed before."""
        self._proven_ms = max(self._proven_ms, now_ms)
        for symbol in symbols:
            self._go_on(symbol, max(next_minute(now_ms), self._next.get(symbol, 0)))

    def lost(self) -> int | None:
        """Nothing comes any more: from where on not all is covered; None where nothing came."""
        open_since = min(self._next.values(), default=None)
        self._next.clear()
        self._doubtful.clear()
        self._brought.clear()
        self._newest = self._alive_ms = -1
        self._proven_ms = 0
        return open_since

    def brought(self, symbol: Symbol, open_ms: int, now_ms: int, *, usable: bool = True) -> None:
        """A bar of this minute came: what is said later was said after its close.

        One of a minute that has not closed yet proves nothing, but that its symbol has a bar.
        """
        if usable and symbol in self._next and self._next[symbol] <= open_ms <= now_ms + DAY_MS:
            self._brought.setdefault(symbol, set()).add(open_ms)
        if open_ms <= now_ms:
            self._newest = max(self._newest, open_ms)

    def alive(self, at_ms: int, now_ms: int) -> None:
        """All that was said before `at_ms` has come, which is known now."""
        self._alive_ms = max(self._alive_ms, at_ms)
        self._proven_ms = max(self._proven_ms, now_ms)

    def was_quiet(self, symbol: Symbol, open_ms: int) -> bool:
        """Whether this minute was told as one without a bar, within the last hour or so; asked once."""
        minutes = self._quiet.get(symbol, set())
        known = open_ms in minutes
        minutes.discard(open_ms)
        return known

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
        self._go_on(symbol, max(next_ms, next_minute(now_ms)))
        return [*range(next_ms, self._next[symbol], MINUTE_MS), open_ms]

    def hidden(self, now_ms: int) -> int | None:
        """Something that nobody has read may have held bars of any symbol: nothing up to now is known.

        Returns from where on that is; None where all of it is covered, or will be.
        """
        open_since = min(self._next.values(), default=None)
        begins_ms = next_minute(now_ms)
        for symbol, next_ms in list(self._next.items()):
            self._go_on(symbol, max(next_ms, begins_ms))
        return None if open_since is None or open_since >= begins_ms else open_since

    def paused(self, now_ms: int) -> int | None:
        """Nobody has watched until now, or the clock was set; returns what `hidden` does."""
        self._alive_ms = -1
        self._proven_ms = now_ms if self._next else 0
        return self.hidden(now_ms)

    def settled(self, read_ms: int) -> Settled:
        """What is to be known now that everything which came until `read_ms` has been read; told once."""
        covered: dict[Symbol, list[Interval]] = {}
        silent_ms: int | None = None
        over_ms = read_ms - self.settle_ms - MINUTE_MS  # the newest minute that has settled, if it has a bar
        for symbol, next_ms in list(self._next.items()):
            open_ms = next_ms
            while open_ms <= over_ms and (known := self._is_known(symbol, open_ms, read_ms)) is not None:
                if known:
                    _extend(covered.setdefault(symbol, []), open_ms)
                elif open_ms not in self._doubtful.get(symbol, ()):
                    silent_ms = open_ms if silent_ms is None else min(silent_ms, open_ms)
                open_ms += MINUTE_MS
            if open_ms > next_ms:
                self._note_quiet(symbol, covered.get(symbol, []))
                self._go_on(symbol, open_ms)
        covered = {symbol: intervals for symbol, intervals in covered.items() if intervals}
        return Settled(covered=covered, silent_since_ms=silent_ms)

    def due_ms(self) -> int | None:
        """When there is something to tell, should nothing come; None where nothing is subscribed."""
        return min((self._due_of(*each) for each in self._next.items()), default=None)

    def next_ms(self, symbol: Symbol) -> int | None:
        """The first minute of a symbol that is not told of yet; None where the symbol does not come."""
        return self._next.get(symbol)

    @property
    def symbols(self) -> frozenset[Symbol]:
        """The symbols that come."""
        return frozenset(self._next)

    def _is_known(self, symbol: Symbol, open_ms: int, read_ms: int) -> bool | None:
        """Whether a minute that has settled is covered; None where that may still turn out."""
        if open_ms in self._doubtful.get(symbol, ()):
            return False
        if open_ms in self._brought.get(symbol, ()):
            return True
        if self._alive_ms >= open_ms + MINUTE_MS + self.quiet_ms:
            return self._newest >= open_ms
        return False if read_ms >= self._given_up_ms(open_ms) else None

    def _given_up_ms(self, open_ms: int) -> int:
        """When a minute without a bar is no longer waited for, unless the connection proves to be alive.

        As long as it does, be it in a time that is late, nothing is given up.
        """
        return max(open_ms + MINUTE_MS, self._proven_ms) + self.quiet_ms + self.settle_ms

    def _due_of(self, symbol: Symbol, open_ms: int) -> int:
        if open_ms in self._brought.get(symbol, ()) or open_ms in self._doubtful.get(symbol, ()):
            return open_ms + MINUTE_MS + self.settle_ms
        if self._alive_ms >= open_ms + MINUTE_MS + self.quiet_ms:
            return open_ms + MINUTE_MS + self.settle_ms
        return self._given_up_ms(open_ms)

    def _note_quiet(self, symbol: Symbol, covered: Iterable[Interval]) -> None:
        """Remember the minutes that are covered without a bar."""
        brought = self._brought.get(symbol, set())
        quiet = self._quiet.setdefault(symbol, set())
        for start_ms, end_ms in covered:
            quiet |= set(range(start_ms, end_ms, MINUTE_MS)) - brought
            self._quiet[symbol] = quiet = {each for each in quiet if each >= end_ms - HOUR_MS}

    def _go_on(self, symbol: Symbol, next_ms: int) -> None:
        """All before this minute has been told of, or is left to others."""
        self._next[symbol] = next_ms
        for notes in (self._doubtful, self._brought):
            if symbol in notes:
                later = {each for each in notes[symbol] if each >= next_ms}
                if later:
                    notes[symbol] = later
                else:
                    del notes[symbol]


def _extend(intervals: list[Interval], open_ms: int) -> None:
    """Add a minute behind all others."""
    if intervals and intervals[-1][1] == open_ms:
        intervals[-1] = (intervals[-1][0], open_ms + MINUTE_MS)
    else:
        intervals.append((open_ms, open_ms + MINUTE_MS))
