"""Compiling is noticed, told once, and counts for no other part of a run."""

import io
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from numba import njit
from rich.console import Console

from crypto_tracker.app import compiling as module
from crypto_tracker.app.cli.backtest_progress import told_of_compiling
from crypto_tracker.app.cli.backtest_view import show
from crypto_tracker.app.compiling import compiling
from crypto_tracker.simulation.report import report
from tests.simulation.hand_made_run import ABOUT, closed, run


def fresh() -> Any:
    """A function that nothing has compiled yet, with another within it."""

    @njit
    def inner(values):
        return values.sum()

    @njit
    def outer(values):
        return inner(values) + values.mean()

    return outer


def test_compiling_is_told_once_and_the_stopwatch_stands_still_meanwhile(monkeypatch: pytest.MonkeyPatch):
    told: list[str] = []
    function = fresh()
    seconds = count()  # a clock that goes on by one whenever it is read
    monkeypatch.setattr(module, "perf_counter", lambda: float(next(seconds)))
    with compiling(lambda: told.append("compiles")) as watch:
        began = watch.stopwatch()
        function(np.ones(3))
        function(np.ones(3, dtype=np.int64))  # compiled once more, for other numbers
        passed = watch.stopwatch() - began
    assert told == ["compiles"]
    # The clock was read at the start and the end of both, and once by the stopwatch since.
    assert watch.seconds == 2.0
    assert passed == 5.0 - watch.seconds


def test_what_is_compiled_already_is_not_told():
    function = fresh()
    function(np.ones(3))
    told: list[str] = []
    with compiling(lambda: told.append("compiles")) as watch:
        function(np.ones(4))
    assert (told, watch.seconds) == ([], 0.0)


def test_the_sentence_stands_in_a_pipe_too_and_names_a_time():
    file = io.StringIO()
    told_of_compiling(Console(file=file, width=80))()
    (line,) = file.getvalue().splitlines()
    assert line.startswith("Compiling, once on this machine: about 40 seconds")


def test_the_end_of_a_result_names_the_seconds_of_compiling_where_there_were_some():
    for seconds, expected in ((0.0, False), (41.26, True)):
        about = replace(ABOUT, seconds={**ABOUT.seconds, "compile": seconds})
        console = Console(file=io.StringIO(), width=80)
        show(console, report(*run(closed()), about), ())
        said = console.file.getvalue()  # type: ignore[attr-defined]
        assert ("Compiled in 41.3 s before that, once on this machine" in said) is expected
        assert "simulated in 0.30 s" in said
