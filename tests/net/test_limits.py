import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.errors import UsageError
from crypto_tracker.net.gate import Gate, Urgency, through
from crypto_tracker.net.limits import RateLimit
from tests import virtual_time


async def moments_of(limit: RateLimit, arrivals: list[float]) -> list[float]:
    """When each of those who arrive at these moments is let through, in the order of arrival."""
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def one() -> float:
        await limit.acquire()
        return loop.time()

    tasks = []
    for arrival in arrivals:
        if arrival > loop.time() - start:
            await asyncio.sleep(start + arrival - loop.time())
        tasks.append(asyncio.create_task(one()))
    return await asyncio.gather(*tasks)


def test_two_a_second_with_a_burst_of_three():
    moments = virtual_time.run(moments_of(RateLimit(2.0, burst=3), [0.0] * 6))
    assert moments == pytest.approx([0.0, 0.0, 0.0, 0.5, 1.0, 1.5])


def test_what_is_not_used_is_not_saved_up_beyond_the_burst():
    moments = virtual_time.run(moments_of(RateLimit(1.0, burst=2), [0.0, 100.0, 100.0, 100.0]))
    assert moments == pytest.approx([0.0, 100.0, 100.0, 101.0])


def test_five_a_minute_come_every_twelve_seconds():
    moments = virtual_time.run(moments_of(RateLimit(5 / 60), [0.0] * 6))
    assert moments == pytest.approx([0.0, 12.0, 24.0, 36.0, 48.0, 60.0])


@settings(max_examples=150, deadline=None)
@given(
    per_second=st.floats(0.05, 50.0),
    burst=st.integers(1, 6),
    arrivals=st.lists(st.floats(0.0, 20.0), min_size=1, max_size=25),
)
def test_no_stretch_of_time_holds_more_than_its_share_and_nobody_overtakes(per_second, burst, arrivals):
    arrivals = sorted(arrivals)
    moments = virtual_time.run(moments_of(RateLimit(per_second, burst), arrivals))
    assert moments == sorted(moments)
    for first in range(len(moments)):
        for last in range(first, len(moments)):
            stretch = moments[last] - moments[first]
            assert last - first + 1 <= burst + per_second * stretch + 1e-6
    # Nor does anybody wait without need: the slow and obvious bucket lets each through at the same moment.
    tokens, now = float(burst), 0.0
    for arrival, moment in zip(arrivals, moments, strict=True):
        at = max(arrival, now)
        tokens = min(float(burst), tokens + (at - now) * per_second)
        if tokens < 1.0:
            at += (1.0 - tokens) / per_second
            tokens = 1.0
        tokens, now = tokens - 1.0, at
        assert moment == pytest.approx(at, abs=1e-6)


def test_who_is_cancelled_while_waiting_uses_nothing_up():
    async def scene() -> list[float]:
        limit = RateLimit(1.0)
        await limit.acquire()
        impatient = asyncio.create_task(limit.acquire())
        await asyncio.sleep(0.5)
        impatient.cancel()
        return await moments_of(limit, [0.0, 0.0])

    assert virtual_time.run(scene()) == pytest.approx([1.0, 2.0])


def test_a_pause_holds_everybody_also_those_who_wait_already():
    async def scene() -> list[float]:
        limit = RateLimit(1.0)
        await limit.acquire()
        waiting = asyncio.create_task(moments_of(limit, [0.0, 0.0]))
        await asyncio.sleep(0.5)
        limit.pause(10.0)
        limit.pause(2.0)  # a shorter one does not end the longer
        return await waiting

    assert virtual_time.run(scene()) == pytest.approx([10.5, 11.5])


@pytest.mark.parametrize(
    ("per_second", "burst"), [(0.0, 1), (-1.0, 1), (float("inf"), 1), (1.0, 0), (float("nan"), 1)]
)
def test_a_rate_that_is_none_is_refused(per_second, burst):
    with pytest.raises(UsageError, match="is no limit: give a rate above 0"):
        RateLimit(per_second, burst)


def test_the_virtual_loop_says_so_when_everybody_waits_for_nothing(monkeypatch):
    monkeypatch.setattr(virtual_time, "_THREAD_SECONDS", 0.01)

    async def scene() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="waits for something that will never come"):
        virtual_time.run(scene())


def test_of_those_who_wait_the_most_urgent_goes_first():
    async def scene() -> list[str]:
        limit, gate, order = RateLimit(1.0), Gate(10), []

        async def ask(name: str, urgency: Urgency) -> None:
            with through(gate, urgency):
                await limit.acquire()
            order.append(name)

        await limit.acquire()
        asked = [("years", Urgency.SOMETIME)] * 3 + [("hole", Urgency.NOW)]
        await asyncio.gather(*(ask(name, urgency) for name, urgency in asked))
        return order

    # the first of the years waits for its moment already
    assert virtual_time.run(scene()) == ["years", "hole", "years", "years"]
