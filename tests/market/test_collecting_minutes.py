"""Which minutes a stream has brought wholly: examples, and a machine held to a slow second judge."""

from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.collecting.minutes import Minutes, next_minute

BTC, ETH = Symbol("BTC", "USD"), Symbol("ETH", "USD")
MINUTE = 60_000
SETTLE = 2_000


def covered_by(minutes: Minutes, read_ms: int):
    """What is covered where some bar of the last whole minute came."""
    minutes.brought(read_ms - read_ms % MINUTE - MINUTE, read_ms)
    return minutes.settled(read_ms).covered


def at(minutes: float) -> int:
    return int(1_700_000_040_000 + minutes * MINUTE)  # a whole minute


def test_a_minute_that_was_watched_from_its_open_is_covered_once_it_has_settled():
    minutes = Minutes(SETTLE)
    minutes.subscribed([BTC, ETH], at(0))
    assert covered_by(minutes, at(1) + SETTLE - 1) == {}
    assert covered_by(minutes, at(1) + SETTLE) == {BTC: [(at(0), at(1))], ETH: [(at(0), at(1))]}
    assert covered_by(minutes, at(1) + SETTLE + 1) == {}


def test_a_minute_that_had_begun_before_the_subscription_is_not_covered():
    minutes = Minutes(SETTLE)
    minutes.subscribed([BTC], at(0) + 1)
    assert covered_by(minutes, at(1) + SETTLE) == {}
    assert covered_by(minutes, at(2) + SETTLE) == {BTC: [(at(1), at(2))]}


def test_a_loss_between_the_close_and_the_settling_leaves_the_minute_open():
    minutes = Minutes(SETTLE)
    minutes.subscribed([BTC], at(0))
    assert minutes.lost() == at(0)
    assert covered_by(minutes, at(3)) == {}
    assert minutes.due_ms() is None
    minutes.subscribed([BTC], at(1) + 500)
    assert covered_by(minutes, at(3) + SETTLE) == {BTC: [(at(2), at(3))]}


def test_a_minute_with_a_bar_that_cannot_be_used_is_left_out():
    minutes = Minutes(SETTLE)
    minutes.subscribed([BTC, ETH], at(0))
    assert minutes.doubt(BTC, at(1), at(2)) == [at(1)]
    covered = covered_by(minutes, at(3) + SETTLE)
    assert covered[BTC] == [(at(0), at(1)), (at(2), at(3))]
    assert covered[ETH] == [(at(0), at(3))]


def test_a_bar_before_its_minute_tells_that_nothing_is_known_of_the_symbol_until_now():
    minutes = Minutes(SETTLE)
    minutes.subscribed([BTC, ETH], at(0))
    assert minutes.doubt(BTC, at(10), at(1) + 5_000) == [at(0), at(1), at(10)]
    assert covered_by(minutes, at(2) + SETTLE) == {ETH: [(at(0), at(2))]}
    assert covered_by(minutes, at(3) + SETTLE)[BTC] == [(at(2), at(3))]
    covered = covered_by(minutes, at(12) + SETTLE)[BTC]
    assert covered == [(at(3), at(10)), (at(11), at(12))]


def test_what_may_hide_bars_leaves_all_symbols_open_until_now():
    minutes = Minutes(SETTLE)
    minutes.subscribed([BTC, ETH], at(0))
    assert minutes.hidden(at(1) + 500) == at(0)
    assert covered_by(minutes, at(3) + SETTLE) == {BTC: [(at(2), at(3))], ETH: [(at(2), at(3))]}


def test_doubts_of_symbols_that_do_not_come_and_of_far_days_leave_no_trace():
    minutes = Minutes(SETTLE)
    assert minutes.doubt(BTC, at(0), at(1)) == []
    minutes.subscribed([BTC], at(0))
    assert minutes.doubt(BTC, at(3_000), at(1)) == []
    assert minutes.doubt(BTC, at(-1), at(1)) == []


def test_a_minute_without_a_bar_of_any_symbol_is_asked_for_and_not_taken_as_one_without_trades():
    minutes = Minutes(SETTLE)
    minutes.subscribed([BTC, ETH], at(0))
    minutes.brought(at(0), at(1))
    assert minutes.settled(at(1) + SETTLE).silent_since_ms is None
    silent = minutes.settled(at(3) + SETTLE)
    assert (silent.covered, silent.silent_since_ms) == ({}, at(1))
    minutes.brought(at(4), at(5))
    whole = minutes.settled(at(5) + SETTLE)
    assert whole.covered == {BTC: [(at(3), at(5))], ETH: [(at(3), at(5))]}
    assert whole.silent_since_ms is None


def test_a_bar_of_a_minute_to_come_proves_no_life():
    minutes = Minutes(SETTLE)
    minutes.subscribed([BTC], at(0))
    minutes.brought(at(9), at(1))
    assert minutes.settled(at(1) + SETTLE).silent_since_ms == at(0)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["subscribed", "lost", "doubt", "hidden", "bar", "bar", "read"]),
        st.integers(min_value=0, max_value=90_000),  # milliseconds since the event before
        st.integers(min_value=0, max_value=3),  # of a bar or a doubt: how many minutes ago
    ),
    max_size=40,
)


@given(EVENTS)
def test_exactly_the_minutes_without_a_loss_or_a_doubt_are_covered_and_each_once(events):
    """A minute is covered if it was subscribed from its open to its settling, with bars, and unspoiled."""
    minutes = Minutes(SETTLE)
    told: list[tuple[int, int]] = []
    log: list[tuple[int, str, int]] = []
    now = at(0)
    read_ms = 0
    for kind, later, ago in [*events, ("read", 0, 0)]:
        now += later
        if kind == "subscribed":
            minutes.subscribed([BTC], now)
        elif kind == "lost":
            minutes.lost()
        elif kind == "hidden":
            minutes.hidden(now)
        elif kind == "doubt":
            spoiled = now - now % MINUTE - ago * MINUTE
            minutes.doubt(BTC, spoiled, now)
        elif kind == "bar":
            minutes.brought(now - now % MINUTE - ago * MINUTE, now)
        else:
            read_ms = now
            told += minutes.settled(now).covered.get(BTC, [])
        log.append((now, kind, now - now % MINUTE - ago * MINUTE))
    covered = [each for start, end in told for each in range(start, end, MINUTE)]
    assert len(covered) == len(set(covered))
    assert set(covered) == {
        each
        for each in range(at(0), next_minute(now), MINUTE)
        if each + MINUTE + SETTLE <= read_ms and _is_whole(each, log)
    }


def _is_whole(open_ms: int, log: list[tuple[int, str, int]]) -> bool:
    """Slow and obvious: walk all that happened until the first reading after the minute had settled."""
    since: int | None = None
    newest = -1
    for moment, kind, minute in log:
        if kind == "read" and moment >= open_ms + MINUTE + SETTLE:
            return since is not None and since <= open_ms <= newest
        if kind == "lost":
            since, newest = None, -1
        elif kind == "subscribed" or (kind == "hidden" and since is not None):
            since = moment
        elif kind == "bar":
            newest = max(newest, minute)
        elif kind == "doubt" and minute == open_ms and since is not None and since <= open_ms:
            return False
    return False
