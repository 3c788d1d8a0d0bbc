"""How long a stream waits before it connects anew."""

from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.net.reconnect import Reconnect
from tests.market.streamed import collector

SETTINGS = collector(
    backoff_seconds=1.0, backoff_max_seconds=60.0, stable_seconds=10.0, cool_down_seconds=60.0
)


def waits(policy: Reconnect, count: int) -> list[float]:
    return [policy.failed("the line was cut") for _ in range(count)]


def test_waits_double_up_to_the_maximum():
    policy = Reconnect(SETTINGS, lambda: 1.0)
    assert waits(policy, 9) == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert policy.failures == 9
    assert policy.reason == "the line was cut"


def test_chance_takes_up_to_half_of_a_wait_and_never_all_of_it():
    assert waits(Reconnect(SETTINGS, lambda: 0.0), 4) == [0.5, 1, 2, 4]
    assert waits(Reconnect(SETTINGS, lambda: 0.5), 4) == [0.75, 1.5, 3, 6]


def test_a_connection_that_is_thrown_out_at_once_was_no_good_one():
    policy = Reconnect(SETTINGS, lambda: 1.0)
    seen = []
    for _ in range(4):
        policy.lived(9.999, False)
        seen.append(policy.failed("thrown out"))
    assert seen == [1, 2, 4, 8]


def test_a_long_life_or_one_bar_makes_the_waits_start_anew():
    policy = Reconnect(SETTINGS, lambda: 1.0)
    waits(policy, 5)
    policy.lived(10.0, False)
    assert policy.failed("cut") == 1
    waits(policy, 5)
    policy.lived(0.1, True)
    assert policy.failed("cut") == 1


def test_an_account_that_is_connected_elsewhere_cools_down():
    policy = Reconnect(SETTINGS, lambda: 0.0)
    assert policy.failed("max_connections", cool_down=True) == 60.5
    assert policy.failed("max_connections", cool_down=True) == 61.0


@given(
    chances=st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1, max_size=200),
    cool_down=st.booleans(),
)
def test_no_wait_is_shorter_than_half_the_first_or_longer_than_the_maximum(chances, cool_down):
    draws = iter(chances)
    policy = Reconnect(SETTINGS, lambda: next(draws))
    for _ in chances:
        wait = policy.failed("cut", cool_down=cool_down) - (60.0 if cool_down else 0.0)
        assert 0.5 <= wait <= 60.0
