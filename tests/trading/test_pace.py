"""When a minute may be stepped: all in, or late enough, and never in a total outage."""

import numpy as np
import pytest

from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.trading.pace import AT_ONCE, Pace, Patience

T = 1_756_684_800_000
CLOSE = T + MINUTE_MS
GRACE = 20_000
OUTAGE = 300_000
PATIENT = Patience(grace_ms=GRACE, outage_ms=OUTAGE)
LATE = 2**62


class Feed:
    """Three symbols; `known` by minute, and how far the store reaches."""

    def __init__(self, known, *, active=(True, True, True), watermark=None):
        self._known = {minute: np.array(flags, dtype=np.bool_) for minute, flags in known.items()}
        self._active = np.array(active, dtype=np.bool_)
        self.watermark = watermark

    def known(self, open_ms):
        return self._known.get(open_ms, np.zeros(3, dtype=np.bool_))

    def active(self):
        return self._active

    def watermark_ms(self):
        return self.watermark


def test_a_minute_is_not_due_before_it_has_closed():
    pace = Pace(Feed({T: (True, True, True)}, watermark=CLOSE), PATIENT)
    assert not pace.is_due(T, CLOSE - 1)
    assert pace.is_due(T, CLOSE)


def test_a_symbol_that_is_late_is_waited_for_until_the_grace_is_over():
    pace = Pace(Feed({T: (True, False, True)}, watermark=CLOSE), PATIENT)
    assert not pace.is_due(T, CLOSE + GRACE - 1)
    assert pace.is_due(T, CLOSE + GRACE)


def test_an_inactive_symbol_is_not_waited_for():
    pace = Pace(Feed({T: (True, False, True)}, active=(True, False, True), watermark=CLOSE), PATIENT)
    assert pace.is_due(T, CLOSE)


def test_in_a_total_outage_time_stands_still():
    for watermark in (None, T, CLOSE):
        pace = Pace(Feed({}, watermark=watermark), PATIENT)
        assert not pace.is_due(T, CLOSE + 10 * OUTAGE)
        assert not pace.is_due(T, LATE)


def test_after_an_outage_what_was_missed_is_waited_for_once_and_for_all_its_minutes():
    feed = Feed({T + 3 * MINUTE_MS: (True, True, True)}, watermark=T + 4 * MINUTE_MS)
    pace = Pace(feed, PATIENT)
    back = T + 4 * MINUTE_MS + 1_000
    assert not pace.is_due(T, back)
    assert not pace.is_due(T, back + OUTAGE - 1)
    for minute in range(3):
        assert pace.is_due(T + minute * MINUTE_MS, back + OUTAGE)
    assert pace.is_due(T + 3 * MINUTE_MS, back + OUTAGE)


def test_the_next_outage_is_waited_for_anew():
    feed = Feed({}, watermark=T + 2 * MINUTE_MS)
    pace = Pace(feed, PATIENT)
    first = T + 2 * MINUTE_MS
    assert not pace.is_due(T, first)
    assert pace.is_due(T, first + OUTAGE)
    later = T + 100 * MINUTE_MS
    feed.watermark = later + 2 * MINUTE_MS
    assert not pace.is_due(later, later + 2 * MINUTE_MS)
    assert pace.is_due(later, later + 2 * MINUTE_MS + OUTAGE)


def test_what_is_fetched_after_an_outage_is_stepped_as_soon_as_it_is_in():
    feed = Feed({}, watermark=T + 4 * MINUTE_MS)
    pace = Pace(feed, PATIENT)
    assert not pace.is_due(T, T + 4 * MINUTE_MS)
    feed._known[T] = np.array([True, True, True])
    assert pace.is_due(T, T + 4 * MINUTE_MS + 1)


@pytest.mark.parametrize(
    ("known", "watermark", "due"),
    [
        ((True, True, True), CLOSE, True),
        ((False, True, False), CLOSE, True),  # a replay does not wait for those that are late
        (
            (False, False, False),
            CLOSE + MINUTE_MS,
            True,
        ),  # a minute that nobody has, since others have later ones
        ((False, False, False), CLOSE, False),  # the end of what there is
        ((False, False, False), None, False),
    ],
)
def test_a_replay_waits_only_for_the_store_to_reach_the_minute(known, watermark, due):
    assert Pace(Feed({T: known}, watermark=watermark), AT_ONCE).is_due(T, LATE) is due
