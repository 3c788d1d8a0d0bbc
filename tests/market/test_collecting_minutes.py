"""Which minutes a stream has brought wholly: examples, and a machine held to a slow second judge."""

from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.collecting.minutes import Minutes, next_minute

BTC, ETH = Symbol("BTC", "USD"), Symbol("ETH", "USD")
MINUTE = 60_000
SETTLE = 2_000
QUIET = 15_000


def watching(*symbols: Symbol, since: float = 0.0) -> Minutes:
    minutes = Minutes(SETTLE, QUIET)
    minutes.subscribed(symbols, at(since))
    return minutes


def quiet(minutes: Minutes, read_ms: int):
    """What is covered where a bar of some symbol came of every minute, and the stream proved to be alive."""
    minutes.brought(Symbol("SOL", "USD"), read_ms - read_ms % MINUTE - MINUTE, read_ms)
    minutes.alive(read_ms, read_ms)
    return minutes.settled(read_ms).covered


def at(minutes: float) -> int:
    return int(1_700_000_040_000 + minutes * MINUTE)  # a whole minute


def test_a_minute_with_a_bar_is_covered_once_it_has_settled_and_told_once():
    minutes = watching(BTC)
    minutes.brought(BTC, at(0), at(1) + 300)
    assert minutes.due_ms() == at(1) + SETTLE
    assert minutes.settled(at(1) + SETTLE - 1).covered == {}
    assert minutes.settled(at(1) + SETTLE).covered == {BTC: [(at(0), at(1))]}
    assert minutes.settled(at(1) + SETTLE + 1).covered == {}


def test_a_minute_without_a_bar_had_no_trade_only_once_the_stream_was_alive_long_after_its_close():
    minutes = watching(BTC, ETH)
    minutes.brought(BTC, at(0), at(1) + 300)
    assert minutes.settled(at(1) + SETTLE).covered == {BTC: [(at(0), at(1))]}
    minutes.alive(at(1) + QUIET - 1, at(1) + QUIET + 500)
    assert minutes.settled(at(1) + QUIET + 500).covered == {}
    minutes.alive(at(1) + QUIET, at(1) + QUIET + 600)
    assert minutes.settled(at(1) + QUIET + 600).covered == {ETH: [(at(0), at(1))]}
    assert minutes.was_quiet(ETH, at(0))
    assert not minutes.was_quiet(ETH, at(0))  # asked once
    assert not minutes.was_quiet(BTC, at(0))


def test_a_bar_that_comes_a_little_late_is_waited_for():
    minutes = watching(BTC, ETH)
    minutes.brought(BTC, at(0), at(1) + 300)
    minutes.alive(at(1) + 13_900, at(1) + 13_900)
    minutes.settled(at(1) + 13_950)
    minutes.brought(ETH, at(0), at(1) + 14_000)
    assert minutes.settled(at(1) + 14_000).covered == {ETH: [(at(0), at(1))]}
    assert not minutes.was_quiet(ETH, at(0))


def test_what_nothing_proves_is_asked_for_as_soon_as_a_proof_is_overdue():
    minutes = watching(BTC, ETH)
    minutes.brought(BTC, at(0), at(1) + 300)
    minutes.alive(at(1) - 5_000, at(1) - 5_000)
    minutes.settled(at(1) + SETTLE)
    assert minutes.due_ms() == at(1) + QUIET + SETTLE
    assert minutes.settled(at(1) + QUIET + SETTLE - 1).silent_since_ms is None
    given_up = minutes.settled(at(1) + QUIET + SETTLE)
    assert (given_up.covered, given_up.silent_since_ms) == ({}, at(0))
    assert minutes.next_ms(ETH) == at(1)


def test_as_long_as_proofs_of_an_earlier_time_come_nothing_is_given_up():
    """The clock of the exchange is a minute behind ours."""
    minutes = watching(BTC)
    for second in range(130):
        moment = at(0) + second * 1_000
        minutes.alive(moment - MINUTE, moment)
        assert minutes.settled(moment).silent_since_ms is None
    assert minutes.next_ms(BTC) == at(0)


def test_a_minute_that_had_begun_before_the_subscription_is_not_covered():
    minutes = Minutes(SETTLE, QUIET)
    minutes.subscribed([BTC], at(0) + 1)
    assert quiet(minutes, at(1) + QUIET) == {}
    assert quiet(minutes, at(2) + QUIET) == {BTC: [(at(1), at(2))]}


def test_a_loss_between_the_close_and_the_proof_leaves_the_minute_open():
    minutes = watching(BTC)
    assert minutes.lost() == at(0)
    assert quiet(minutes, at(3)) == {}
    assert minutes.due_ms() is None
    minutes.subscribed([BTC], at(1) + 500)
    assert quiet(minutes, at(3) + QUIET) == {BTC: [(at(2), at(3))]}


def test_a_proof_of_one_connection_says_nothing_of_the_next():
    minutes = watching(BTC)
    minutes.alive(at(3), at(1))
    minutes.brought(ETH, at(0), at(1))
    minutes.lost()
    minutes.subscribed([BTC], at(1))
    assert minutes.settled(at(2) + SETTLE).covered == {}


def test_a_pause_takes_back_what_was_proven_and_leaves_all_open_until_now():
    minutes = watching(BTC, ETH)
    minutes.alive(at(90), at(1))  # by a clock that was set back since
    minutes.brought(BTC, at(0), at(1))
    assert minutes.paused(at(2) + 1) == at(0)
    assert minutes.next_ms(BTC) == at(3)
    minutes.brought(BTC, at(3), at(4))
    assert minutes.settled(at(4) + SETTLE).covered == {BTC: [(at(3), at(4))]}
    assert minutes.next_ms(ETH) == at(3)


def test_a_minute_with_a_bar_that_cannot_be_used_is_left_out():
    minutes = watching(BTC, ETH)
    assert minutes.doubt(BTC, at(1), at(2)) == [at(1)]
    covered = quiet(minutes, at(3) + QUIET)
    assert covered[BTC] == [(at(0), at(1)), (at(2), at(3))]
    assert covered[ETH] == [(at(0), at(3))]


def test_a_bar_before_its_minute_tells_that_nothing_is_known_of_the_symbol_until_now():
    minutes = watching(BTC, ETH)
    assert minutes.doubt(BTC, at(10), at(1) + 5_000) == [at(0), at(1), at(10)]
    assert quiet(minutes, at(2) + QUIET) == {ETH: [(at(0), at(2))]}
    assert quiet(minutes, at(3) + QUIET)[BTC] == [(at(2), at(3))]
    assert quiet(minutes, at(12) + QUIET)[BTC] == [(at(3), at(10)), (at(11), at(12))]


def test_what_may_hide_bars_leaves_all_symbols_open_until_now():
    minutes = watching(BTC, ETH)
    assert minutes.hidden(at(1) + 500) == at(0)
    assert quiet(minutes, at(3) + QUIET) == {BTC: [(at(2), at(3))], ETH: [(at(2), at(3))]}


def test_doubts_of_symbols_that_do_not_come_and_of_far_days_leave_no_trace():
    minutes = Minutes(SETTLE, QUIET)
    assert minutes.doubt(BTC, at(0), at(1)) == []
    minutes.subscribed([BTC], at(0))
    assert minutes.doubt(BTC, at(3_000), at(1)) == []
    assert minutes.doubt(BTC, at(-1), at(1)) == []


def test_a_minute_without_a_bar_of_any_symbol_is_asked_for_although_the_line_is_alive():
    minutes = watching(BTC, ETH)
    minutes.brought(BTC, at(0), at(1))
    minutes.alive(at(3) + QUIET, at(3) + QUIET)
    silent = minutes.settled(at(3) + QUIET)
    assert silent.covered == {BTC: [(at(0), at(1))], ETH: [(at(0), at(1))]}
    assert silent.silent_since_ms == at(1)


def test_a_bar_of_a_minute_to_come_proves_nothing_of_the_others():
    minutes = watching(BTC, ETH)
    minutes.brought(BTC, at(9), at(1))
    minutes.alive(at(1) + QUIET, at(1) + QUIET)
    assert minutes.settled(at(1) + QUIET).silent_since_ms == at(0)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["subscribed", "lost", "doubt", "hidden", "bar", "bar", "other", "alive", "alive", "read"]
        ),
        st.integers(min_value=0, max_value=40_000),  # milliseconds since the event before
        st.integers(min_value=0, max_value=3),  # of a bar or a doubt: how many minutes ago
    ),
    max_size=60,
)


@given(EVENTS)
def test_exactly_the_minutes_with_a_bar_or_a_proof_are_covered_and_each_once(events):
    """Read after every event, so that each is judged by what had happened until then."""
    minutes = Minutes(SETTLE, QUIET)
    told: list[tuple[int, int]] = []
    log: list[tuple[int, str, int]] = []
    now = at(0)
    for kind, later, ago in [*events, ("read", 0, 0)]:
        now += later
        minute = now - now % MINUTE - ago * MINUTE
        if kind == "subscribed":
            minutes.subscribed([BTC], now)
        elif kind == "lost":
            minutes.lost()
        elif kind == "hidden":
            minutes.hidden(now)
        elif kind == "doubt":
            minutes.doubt(BTC, minute, now)
        elif kind == "bar":
            minutes.brought(BTC, minute, now)
        elif kind == "other":
            minutes.brought(ETH, minute, now)
        elif kind == "alive":
            minutes.alive(now, now)
        told += minutes.settled(now).covered.get(BTC, [])
        log.append((now, kind, minute))
    covered = [each for start, end in told for each in range(start, end, MINUTE)]
    assert len(covered) == len(set(covered))
    assert set(covered) == {each for each in range(at(0), next_minute(now), MINUTE) if _is_whole(each, log)}


def _is_whole(open_ms: int, log: list[tuple[int, str, int]]) -> bool:
    """Slow and obvious: walk all that happened, and judge this minute after each event."""
    since: int | None = None
    newest, alive, proven, has_bar = -1, -1, 0, False
    for moment, kind, minute in log:
        if kind == "lost":
            since, newest, alive, proven, has_bar = None, -1, -1, 0, False
        elif kind == "subscribed":
            since, proven = max(moment, since or 0), moment
        elif kind == "hidden" and since is not None:
            since = moment
        elif kind in {"bar", "other"}:
            newest = max(newest, minute)
            if kind == "bar" and minute == open_ms and since is not None and since <= open_ms:
                has_bar = True
        elif kind == "alive":
            alive = proven = moment
        elif kind == "doubt" and minute == open_ms and since is not None and since <= open_ms:
            return False
        if since is None or since > open_ms or moment < open_ms + MINUTE + SETTLE:
            has_bar = has_bar and since is not None and since <= open_ms
            continue
        if has_bar:
            return True
        if alive >= open_ms + MINUTE + QUIET:
            return newest >= open_ms
        if moment >= max(open_ms + MINUTE, proven) + QUIET + SETTLE:
            return False
    return False
