"""What takes a while is made in the background, seldom, and its errors reach whoever looks."""

from threading import Event, Thread

import pytest

from crypto_tracker.app.serving.kept import Kept
from crypto_tracker.core.errors import StoreError

PATIENCE = 240.0


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Maker:
    """Counts how often it was asked; waits for leave where told to."""

    def __init__(self, clock: Clock, *, takes: float = 0.0) -> None:
        self.clock = clock
        self.takes = takes
        self.made = 0
        self.leave = Event()
        self.leave.set()
        self.fails: Exception | None = None

    def __call__(self) -> int:
        self.leave.wait(PATIENCE)
        self.made += 1
        self.clock.now += self.takes
        if self.fails is not None:
            raise self.fails
        return self.made


def looked_until(kept: Kept[int], expected: int) -> int:
    """Look until the background has made the value; the deadline is that of the whole test."""
    deadline = Event()
    for _ in range(1_000):
        value = kept.look()
        if value == expected:
            return value
        deadline.wait(PATIENCE / 1_000)
    raise AssertionError(f"{value} is still shown, {expected} was expected")


def test_nothing_is_shown_while_the_first_one_is_made_and_asking_again_makes_no_second() -> None:
    clock = Clock()
    maker = Maker(clock)
    maker.leave.clear()
    kept = Kept(maker, seconds=60.0, clock=clock)
    assert [kept.look() for _ in range(20)] == [None] * 20
    maker.leave.set()
    assert kept.get() == 1
    assert maker.made == 1


def test_a_value_is_served_for_its_time_and_then_as_it_was_until_the_next_is_made() -> None:
    clock = Clock()
    maker = Maker(clock)
    kept = Kept(maker, seconds=60.0, clock=clock)
    assert kept.get() == 1
    looked_until(kept, 1)
    clock.now += 59.0
    assert kept.look() == 1
    assert maker.made == 1
    clock.now += 2.0
    maker.leave.clear()
    assert [kept.look() for _ in range(5)] == [1] * 5, "old, and nobody waits"
    maker.leave.set()
    assert looked_until(kept, 2) == 2
    assert maker.made == 2


def test_what_takes_long_takes_no_more_than_a_twentieth_of_the_time() -> None:
    clock = Clock()
    maker = Maker(clock, takes=30.0)
    kept = Kept(maker, seconds=60.0, clock=clock)
    assert kept.get() == 1
    looked_until(kept, 1)
    clock.now += 30.0 / 0.05 - 1.0
    assert kept.look() == 1
    assert maker.made == 1
    clock.now += 2.0
    assert looked_until(kept, 2) == 2


def test_an_error_reaches_whoever_looks_every_time_and_goes_once_it_can_be_made_again() -> None:
    clock = Clock()
    maker = Maker(clock)
    maker.fails = StoreError("the file is damaged")
    kept = Kept(maker, seconds=60.0, clock=clock)
    for _ in range(3):
        with pytest.raises(StoreError, match="the file is damaged") as told:
            kept.get()
    assert len(told.traceback) < 6, "an error that is raised again and again does not grow"
    maker.fails = None
    clock.now += 61.0
    pause = Event()
    for _ in range(1_000):
        try:
            assert kept.look() == 2
            break
        except StoreError:
            pause.wait(PATIENCE / 1_000)
    else:
        raise AssertionError("the error stayed")


def test_who_has_patience_waits_for_the_newer_value_and_gets_the_old_one_when_it_runs_out() -> None:
    clock = Clock()
    maker = Maker(clock)
    kept = Kept(maker, seconds=60.0, clock=clock)
    assert kept.get(patience=PATIENCE) == 1
    looked_until(kept, 1)
    clock.now += 61.0
    assert kept.get(patience=PATIENCE) == 2
    looked_until(kept, 2)
    clock.now += 61.0
    maker.leave.clear()
    assert kept.get(patience=0.01) == 2
    maker.leave.set()
    assert looked_until(kept, 3) == 3


def test_where_no_thread_can_start_nobody_hangs_and_what_was_made_before_is_served_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_thread(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    clock = Clock()
    maker = Maker(clock)
    kept = Kept(maker, seconds=60.0, clock=clock)
    with monkeypatch.context() as machine:
        machine.setattr(Thread, "start", no_thread)
        for ask in (kept.get, kept.look):
            with pytest.raises(StoreError, match=r"no thread to read this in \(can't start new thread\)"):
                ask()
    assert kept.get() == 1
    looked_until(kept, 1)
    clock.now += 61.0
    with monkeypatch.context() as machine:
        machine.setattr(Thread, "start", no_thread)
        assert (kept.look(), kept.get(patience=PATIENCE)) == (1, 1)
    assert kept.get(patience=PATIENCE) == 2
