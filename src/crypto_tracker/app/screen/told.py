"""Which decisions the log of an account tells, of little more than their times and reasons.

Whether a line is there, and what it tells, is decided by what happened in the day before it and in the half
day that it lies in. So a log that is read back from any moment has the same lines as one that is read whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from crypto_tracker.app.screen.snapshot import Kind
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS

HALF_DAY_MS = DAY_MS // 2
"""Half days begin at midnight and at noon, UTC, and hold the closes behind that up to the next of them."""

BACK_MS = DAY_MS
"""How far before a line lies all that it depends on, besides its own half day."""

SHARED_LINE_MS = 3 * HOUR_MS  # refusals of one kind in one such stretch of the clock share a line
SAID_AGAIN_MS = 3 * HOUR_MS  # a refusal that goes on is told again after this time without a scan
_ACCEPTED = Reason.ACCEPTED.code
_AFTER_A_BUY = (Reason.SYMBOL_LIMIT.code, Reason.SAME_EPISODE.code)  # then they say what everybody sees


@dataclass(frozen=True, slots=True)
class Decided:
    """As much of a setup as says whether it is told; the rest of it is found at `place`."""

    time_ms: int
    symbol: str
    strategy: str
    reason: str
    taken: bool
    place: int

    @property
    def coin(self) -> str:
        """The base of its symbol."""
        return self.symbol.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Near:
    """The same of a near miss."""

    time_ms: int
    symbol: str
    strategy: str
    readiness: float
    place: int


@dataclass(frozen=True, slots=True)
class Told:
    """A line: what is told of the setup or near miss at `place`, for `coins` that share it."""

    time_ms: int
    kind: Kind
    coin: str
    coins: int
    strategy: str
    reason: str
    place: int

    @property
    def who(self) -> str:
        """The coin, or how many there are."""
        return self.coin if self.coins == 1 else f"{self.coins} coins"


def half_day(time_ms: int) -> int:
    """The number of the half day that a close lies in.

    >>> half_day(HALF_DAY_MS), half_day(HALF_DAY_MS + 1)
    (0, 1)
    """
    return (time_ms - 1) // HALF_DAY_MS


def told_decisions(decided: Iterable[Decided], ended: Iterable[tuple[int, Decided, str]] = ()) -> list[Told]:
    """Of setups in order of time those that are told, and of orders that ended without a fill.

    A refusal is told unless it goes on from the one before of that strategy and symbol. Those of one strategy
    and reason within three hours of the clock share a line, with the words and the time of the newest.
    `ended` are times, the setups of the orders, and why they ended.
    """
    lines: list[Told] = []
    refused: list[tuple[int, Decided, str]] = []
    said: dict[tuple[str, str], tuple[str, int]] = {}
    for row in decided:
        key = row.strategy, row.symbol
        before, before_ms = said.get(key, ("", 0))
        said[key] = row.reason, row.time_ms
        if row.taken:
            lines.append(Told(row.time_ms, Kind.TAKEN, row.coin, 1, row.strategy, row.reason, row.place))
            continue
        back_ms = row.time_ms - before_ms
        goes_on = row.reason == before and back_ms <= SAID_AGAIN_MS
        ours = (before == _ACCEPTED or before in _AFTER_A_BUY) and back_ms <= BACK_MS
        if not goes_on and not (row.reason in _AFTER_A_BUY and ours):
            refused.append((row.time_ms, row, row.reason))
    refused += ended
    shared: dict[tuple[str, str, int], list[tuple[int, Decided, str]]] = {}
    for each in refused:
        time_ms, row, reason = each
        shared.setdefault((row.strategy, reason, (time_ms - 1) // SHARED_LINE_MS), []).append(each)
    for (strategy, reason, _), rows in shared.items():
        time_ms, row, _ = max(rows, key=lambda each: (each[0], each[1].symbol))
        coins = {each[1].coin for each in rows}
        lines.append(Told(time_ms, Kind.REFUSED, row.coin, len(coins), strategy, reason, row.place))
    return lines


def told_near_misses(near: Iterable[Near]) -> list[Told]:
    """Of each strategy and hour the nearest miss, of those whose coin was not told in this half day."""
    hours: dict[tuple[int, str], list[Near]] = {}
    for row in near:
        hours.setdefault(((row.time_ms - 1) // HOUR_MS, row.strategy), []).append(row)
    lines = []
    said: set[tuple[int, str, str]] = set()
    for (_, strategy), rows in sorted(hours.items()):
        half = half_day(rows[0].time_ms)
        news = [row for row in rows if (half, strategy, row.symbol) not in said]
        if not news:
            continue
        nearest = max(news, key=lambda row: (row.readiness, row.time_ms, row.symbol))
        said.add((half, strategy, nearest.symbol))
        coin = nearest.symbol.partition("/")[0]
        lines.append(Told(nearest.time_ms, Kind.NEAR_MISS, coin, 1, strategy, "", nearest.place))
    return lines
