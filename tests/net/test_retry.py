import asyncio
import logging
import re

import pytest

from crypto_tracker.core.errors import NotEntitled, ProviderUnavailable
from crypto_tracker.net.retry import Transient, attempts_told, repeat
from tests import virtual_time
from tests.net.patience import fetching


class Failing:
    """Work that fails with these, one after the other, and then succeeds; notes when it was tried."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.moments: list[float] = []

    async def __call__(self) -> str:
        self.moments.append(asyncio.get_running_loop().time())
        if self.failures:
            raise self.failures.pop(0)
        return "done"


def test_what_fails_at_first_is_tried_again_with_waits_that_double_and_jitter():
    work = Failing(*(Transient("a hiccup") for _ in range(4)))
    assert virtual_time.run(repeat(work, fetching(attempts=5, wait_seconds=1.0))) == "done"
    waits = [later - earlier for earlier, later in zip(work.moments, work.moments[1:], strict=False)]
    for wait, least in zip(waits, (1.0, 2.0, 4.0, 8.0), strict=True):
        assert least <= wait <= least + 1.0


def test_no_wait_of_ours_is_longer_than_the_longest():
    work = Failing(*(Transient("a hiccup") for _ in range(7)))
    policy = fetching(attempts=8, wait_seconds=1.0, wait_max_seconds=3.0)
    virtual_time.run(repeat(work, policy))
    assert max(
        later - earlier for earlier, later in zip(work.moments, work.moments[1:], strict=False)
    ) == pytest.approx(3.0)


def test_the_wait_that_the_provider_asks_for_is_obeyed_exactly():
    work = Failing(Transient("busy", retry_after=0.25), Transient("busy", retry_after=30.0))
    virtual_time.run(repeat(work, fetching(wait_max_seconds=30.0)))
    assert work.moments == pytest.approx([0.0, 0.25, 30.25])


@pytest.mark.parametrize("seconds", [30.1, 1e9, float("inf"), float("nan")])
def test_a_wait_that_is_longer_than_ours_is_for_whoever_asked(seconds):
    work = Failing(Transient("busy", retry_after=seconds))
    with pytest.raises(ProviderUnavailable, match=r"^busy; try again later"):
        virtual_time.run(repeat(work, fetching(wait_max_seconds=30.0)))
    assert work.moments == [0.0]


def test_after_the_last_attempt_one_sentence_says_what_happened():
    work = Failing(*(Transient(f"hiccup {n}") for n in range(1, 9)))
    with pytest.raises(ProviderUnavailable) as caught:
        virtual_time.run(repeat(work, fetching(attempts=3)))
    assert (
        re.sub(r"in \d+ s", "in N s", str(caught.value))
        == "hiccup 3; all 3 attempts in N s failed, try again later"
    )
    assert len(work.moments) == 3


def test_a_single_attempt_is_not_called_all():
    with pytest.raises(ProviderUnavailable, match=r"^hiccup; try again later$"):
        virtual_time.run(repeat(Failing(Transient("hiccup")), fetching(attempts=1)))


@pytest.mark.parametrize("error", [NotEntitled("not yours"), ValueError("a mistake of ours"), KeyError("x")])
def test_every_other_error_goes_through_at_once(error):
    work = Failing(error)
    with pytest.raises(type(error)):
        virtual_time.run(repeat(work, fetching()))
    assert work.moments == [0.0]


def test_cancelling_ends_the_waiting():
    work = Failing(*(Transient("busy", retry_after=20.0) for _ in range(3)))

    async def scene() -> float:
        task = asyncio.create_task(repeat(work, fetching()))
        await asyncio.sleep(5.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return asyncio.get_running_loop().time()

    assert virtual_time.run(scene()) == pytest.approx(5.0)


def test_new_attempts_are_not_logged_by_the_library(caplog):
    caplog.set_level(logging.DEBUG)
    virtual_time.run(repeat(Failing(Transient("hiccup")), fetching()))
    assert not [record for record in caplog.records if record.name.startswith("stamina")]


def test_every_new_attempt_is_told_with_the_wait_before_it_and_what_failed():
    heard: list[tuple[int, int, float, str]] = []
    work = Failing(Transient("busy", retry_after=2.0), Transient("busy still", retry_after=3.0))

    async def asked() -> None:
        with attempts_told(lambda *what: heard.append(what)):
            await asyncio.create_task(repeat(work, fetching(attempts=5)))
        await repeat(Failing(Transient("after the block")), fetching(attempts=2))

    virtual_time.run(asked())
    assert heard == [(2, 5, 2.0, "busy"), (3, 5, 3.0, "busy still")]
