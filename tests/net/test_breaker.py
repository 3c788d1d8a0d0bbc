import asyncio

import pytest

from crypto_tracker.core.errors import NotEntitled, ProviderUnavailable
from crypto_tracker.net.breaker import Breaker, LeftAlone
from tests import virtual_time
from tests.net.patience import fetching

POLICY = fetching(breaker_failures=3, breaker_seconds=60.0)


async def works() -> str:
    return "done"


async def fails() -> str:
    raise ProviderUnavailable("kraken is gone")


async def refuses() -> str:
    raise NotEntitled("not yours")


async def try_each(breaker: Breaker, *works_: object) -> list[str]:
    outcomes = []
    for work in works_:
        try:
            outcomes.append(await breaker.run(work))
        except LeftAlone:
            outcomes.append("left alone")
        except ProviderUnavailable:
            outcomes.append("unavailable")
        except NotEntitled:
            outcomes.append("refused")
    return outcomes


def test_so_many_failures_in_a_row_leave_the_provider_alone():
    async def scene():
        return await try_each(Breaker("kraken", POLICY), fails, fails, fails, works, works)

    assert virtual_time.run(scene()) == ["unavailable"] * 3 + ["left alone"] * 2


def test_a_success_in_between_begins_the_count_anew_and_a_refusal_is_an_answer():
    async def scene():
        breaker = Breaker("kraken", POLICY)
        return await try_each(breaker, fails, fails, works, fails, fails, refuses, fails, fails, works)

    outcomes = virtual_time.run(scene())
    assert "left alone" not in outcomes
    assert outcomes[-1] == "done"


def test_the_sentence_says_for_how_long_and_why():
    async def scene():
        breaker = Breaker("kraken", POLICY)
        await try_each(breaker, fails, fails, fails)
        await asyncio.sleep(17.0)
        with pytest.raises(LeftAlone) as caught:
            await breaker.run(works)
        return caught.value

    error = virtual_time.run(scene())
    assert str(error) == "kraken is left alone for another 43 s: kraken is gone"
    assert error.seconds == pytest.approx(43.0)


def test_after_its_time_one_request_tries_while_the_others_wait_and_then_all_go_on():
    begun = []

    async def slow() -> str:
        begun.append(asyncio.get_running_loop().time())
        await asyncio.sleep(5.0)
        return "done"

    async def scene():
        breaker = Breaker("kraken", POLICY)
        await try_each(breaker, fails, fails, fails)
        await asyncio.sleep(60.0)
        return await asyncio.gather(*(breaker.run(slow) for _ in range(4)))

    assert virtual_time.run(scene()) == ["done"] * 4
    assert begun == pytest.approx([60.0, 65.0, 65.0, 65.0])


def test_a_trial_that_fails_leaves_the_provider_alone_once_more():
    async def scene():
        breaker = Breaker("kraken", POLICY)
        await try_each(breaker, fails, fails, fails)
        await asyncio.sleep(60.0)
        first = await asyncio.gather(*(try_each(breaker, fails) for _ in range(3)))
        await asyncio.sleep(59.0)
        later = await try_each(breaker, works)
        await asyncio.sleep(1.0)
        return first, later, await try_each(breaker, works, works)

    first, later, last = virtual_time.run(scene())
    assert first == [["unavailable"], ["left alone"], ["left alone"]]
    assert later == ["left alone"]
    assert last == ["done", "done"]


def test_a_trial_that_is_cancelled_proves_nothing_and_the_next_one_is_the_trial():
    async def endless() -> str:
        await asyncio.Event().wait()
        return "never"

    async def scene():
        breaker = Breaker("kraken", POLICY)
        await try_each(breaker, fails, fails, fails)
        await asyncio.sleep(60.0)
        trial = asyncio.create_task(breaker.run(endless))
        await asyncio.sleep(1.0)
        waiting = [asyncio.create_task(try_each(breaker, fails)) for _ in range(2)]
        await asyncio.sleep(1.0)
        trial.cancel()
        await asyncio.wait([trial])
        return await asyncio.gather(*waiting)

    assert virtual_time.run(scene()) == [["unavailable"], ["left alone"]]


def test_a_provider_that_asks_for_rest_gets_it():
    async def scene():
        breaker = Breaker("massive", POLICY)
        breaker.rest(300.0, "massive was asked too often")
        breaker.rest(10.0, "a shorter rest does not end the longer one")
        await asyncio.sleep(299.0)
        before = await try_each(breaker, works)
        await asyncio.sleep(1.0)
        return before, await try_each(breaker, works)

    assert virtual_time.run(scene()) == (["left alone"], ["done"])


def test_a_mistake_of_ours_is_no_failure_of_the_provider():
    async def mistaken() -> str:
        raise ValueError("ours")

    async def scene():
        breaker = Breaker("kraken", fetching(breaker_failures=1))
        for _ in range(3):
            with pytest.raises(ValueError, match="ours"):
                await breaker.run(mistaken)
        return await try_each(breaker, works)

    assert virtual_time.run(scene()) == ["done"]


@pytest.mark.parametrize("seconds", [901.0, 86_400.0, 1e300, float("inf"), float("nan")])
def test_nobody_rests_for_longer_than_a_quarter_of_an_hour(seconds):
    async def scene():
        breaker = Breaker("massive", POLICY)
        told = breaker.rest(seconds, "massive was asked too often")
        await asyncio.sleep(899.0)
        before = await try_each(breaker, works)
        await asyncio.sleep(1.0)
        return told, before, await try_each(breaker, works)

    told, before, after = virtual_time.run(scene())
    assert (told.seconds, before, after) == (pytest.approx(900.0), ["left alone"], ["done"])
    assert "asked again after 15 minutes" in str(told)
