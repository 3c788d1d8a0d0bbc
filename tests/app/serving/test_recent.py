"""A small memory: the last keys stay, old values do not."""

import pytest

from crypto_tracker.app.serving.recent import Recent


def test_a_value_is_made_once_while_it_is_remembered():
    made: list[str] = []
    memory: Recent[int] = Recent(2)
    for key in ("a", "a", "b", "a"):
        memory.made(key, lambda key=key: made.append(key) or len(made))  # type: ignore[misc]
    assert made == ["a", "b"]


def test_the_key_that_nobody_asked_for_longest_is_forgotten():
    memory: Recent[int] = Recent(2)
    memory.put("a", 1)
    memory.put("b", 2)
    assert memory.get("a") == 1
    memory.put("c", 3)
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == (1, None, 3)
    assert len(memory) == 2


@pytest.mark.parametrize(("later_ms", "known"), [(0, True), (9, True), (10, False), (-1, False)])
def test_a_value_is_known_until_it_is_too_old(later_ms: int, known: bool):
    memory: Recent[str] = Recent(2, age_ms=10)
    memory.put("a", "value", now_ms=100)
    assert (memory.get("a", now_ms=100 + later_ms) is not None) is known


def test_none_is_no_value_that_can_be_told_from_nothing():
    memory: Recent[int] = Recent(1)
    assert memory.get("a") is None
