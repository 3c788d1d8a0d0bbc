"""From messages to snapshots: the book of one symbol, kept only while it is known to be right.

A book begins with a whole one, or not at all. Where an update is missing, or a checksum does not hold,
nothing is recorded until the next whole book: a book of unknown truth is none. What was left out is counted.
"""

from collections import deque
from dataclasses import dataclass, field

from crypto_tracker.market.books.ladder import Ladder
from crypto_tracker.market.books.venues import BookMessage
from crypto_tracker.simulation.books import Snapshot

_AHEAD_MAX = 10_000  # updates that wait for the whole book that they follow


@dataclass(slots=True, kw_only=True)
class Tally:
    """What the messages of one book came to.

    Attributes
    ----------
    wholes, updates : messages that brought a whole book, and that changed one
    snapshots : books that were recorded
    unbegun : updates without a book to change: before the first whole one, or after it was given up
    gaps : times that updates were missing, and the book was given up
    mismatches : times that a book was not what its checksum says, and was given up
    crossed : books whose best bid was not below their best ask, not recorded
    one_sided : books without bids or without asks, not recorded
    backward : messages stamped before the one before; the book keeps the later time
    """

    wholes: int = 0
    updates: int = 0
    snapshots: int = 0
    unbegun: int = 0
    gaps: int = 0
    mismatches: int = 0
    crossed: int = 0
    one_sided: int = 0
    backward: int = 0


@dataclass(slots=True)
class Recording:
    """The book of one symbol, message by message.

    Parameters
    ----------
    levels : of each side that a snapshot keeps
    every_ms : of all books within one such stretch of time the last is recorded
    """

    levels: int
    every_ms: int
    tally: Tally = field(default_factory=Tally)
    _ladder: Ladder | None = None
    _last_id: int | None = None
    _time_ms: int = 0
    _waiting: Snapshot | None = None
    _ahead: deque[tuple[BookMessage, int]] = field(default_factory=deque)

    def take(self, message: BookMessage, received_ms: int) -> list[Snapshot]:
        """Apply a message; returns the snapshots that are complete with it, in order of time."""
        if not message.whole:
            return self._update(message, received_ms)
        self.tally.wholes += 1
        self._ladder, self._last_id = Ladder(), message.last_id
        self._ladder.change(message.bids, message.asks)
        if message.last_id is None:
            return self._record(self._ladder, message, received_ms)
        # The answer to a question: it has no time of the stream, whose next update makes it known.
        ahead, self._ahead = self._ahead, deque()
        return [snapshot for each in ahead for snapshot in self._update(*each)]

    def finish(self) -> list[Snapshot]:
        """The last snapshot, once there are no more messages."""
        self.tally.unbegun += len(self._ahead)
        self._ahead.clear()
        return self._complete(None)

    def _update(self, message: BookMessage, received_ms: int) -> list[Snapshot]:
        if self._ladder is not None and message.first_id is not None and self._last_id is not None:
            if message.last_id is not None and message.last_id <= self._last_id:
                return []  # the whole book held it already
            if message.first_id > self._last_id + 1:
                self.tally.gaps += 1
                self._ladder = None
        if self._ladder is None:
            if message.first_id is None:
                self.tally.unbegun += 1
                return []
            self._ahead.append((message, received_ms))
            if len(self._ahead) > _AHEAD_MAX:
                self._ahead.popleft()
                self.tally.unbegun += 1
            return []
        self.tally.updates += 1
        self._last_id = message.last_id
        self._ladder.change(message.bids, message.asks)
        return self._record(self._ladder, message, received_ms)

    def _record(self, ladder: Ladder, message: BookMessage, received_ms: int) -> list[Snapshot]:
        """Take down the book as it is after a message, where it is one that can be traded with."""
        time_ms = received_ms if message.time_ms is None else message.time_ms
        if time_ms < self._time_ms:
            self.tally.backward += 1
        self._time_ms = time_ms = max(time_ms, self._time_ms)
        if message.depth is not None:
            ladder.bids.cut(message.depth)
            ladder.asks.cut(message.depth)
        if message.proof is not None and not message.proof(ladder):
            self.tally.mismatches += 1
            self._ladder = None
        elif not ladder.two_sided:
            self.tally.one_sided += 1
        elif ladder.crossed:
            self.tally.crossed += 1
        else:
            return self._complete((time_ms, ladder.bids.best(self.levels), ladder.asks.best(self.levels)))
        return []

    def _complete(self, newer: Snapshot | None) -> list[Snapshot]:
        """Let `newer` wait; returns the one that waited, unless both are of one stretch of time."""
        waited, self._waiting = self._waiting, newer
        if waited is None or (newer is not None and waited[0] // self.every_ms == newer[0] // self.every_ms):
            return []
        self.tally.snapshots += 1
        return [waited]
