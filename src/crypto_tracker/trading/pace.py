"""When a minute may be stepped."""

from dataclasses import dataclass

from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.store.feed import MinuteFeed


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long missing bars are waited for, in milliseconds of the clock that paces the trader."""

    grace_ms: int  # after the minute's close, for symbols that are late
    outage_ms: int  # for a minute of which nothing is known, since a later one became known


AT_ONCE = Patience(grace_ms=0, outage_ms=0)


class Pace:
    """Tells whether the next minute may be stepped, and remembers since when an outage is over."""

    def __init__(self, feed: MinuteFeed, patience: Patience) -> None:
        self._feed = feed
        self._patience = patience
        self._outage: tuple[int, int] | None = None

    def is_due(self, minute_ms: int, now_ms: int) -> bool:
        """Whether the minute may be stepped at `now_ms`.

        It may once every active symbol is in, or the grace is over. A minute of which nothing is known waits
        until a later one is known, since in a total outage time stands still, and then as long as it may take
        to fetch what was missed.
        """
        close_ms = minute_ms + MINUTE_MS
        if now_ms < close_ms:
            return False
        known = self._feed.known(minute_ms)
        if bool((known | ~self._feed.active()).all()) and bool(known.any()):
            return True
        if now_ms < close_ms + self._patience.grace_ms:
            return False
        if known.any():
            return True
        watermark_ms = self._feed.watermark_ms()
        if watermark_ms is None or watermark_ms <= close_ms:
            return False
        if self._outage is None or minute_ms >= self._outage[0]:
            self._outage = (watermark_ms, now_ms)
        return now_ms - self._outage[1] >= self._patience.outage_ms
