"""Where work runs: here, in processes, on a cluster; the same results, and nothing goes on after the end."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import as_completed
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.config.research import Research
from crypto_tracker.core.errors import ConfigError, CryptoTrackerError, SimulationError
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.research.executor import opened, outcome, worker_count
from crypto_tracker.research.market import gather
from crypto_tracker.research.optimize.evaluation import Evaluator, Workplace, leave
from crypto_tracker.research.optimize.space import parameter_set
from crypto_tracker.research.prepared import prepare
from crypto_tracker.strategies.registry import builtin
from tests.research.jobs import die, refuse, squared
from tests.research.worlds import MARCH_MS, configuration, entries, martingale

DAYS = 8


def settings(executor: str = "processes", workers: int = 2, address: str = "") -> Research:
    return Research.model_validate({"executor": executor, "workers": workers, "dask_address": address})


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a scheduler with a worker in a process of its own, which works on two jobs at a time."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    started = distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None, silence_logs=50
    )
    yield started.scheduler_address
    started.close()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    made, tree = martingale(5, days=DAYS), configuration()
    strategies = entries(tree)
    folder: Path = tmp_path_factory.mktemp("workplace")
    market = gather(
        made,
        tree,
        strategies,
        made.symbols[:3],
        reference_symbol=made.symbols[0],
        base=Timeframe.M15,
        start_ms=MARCH_MS,
        end_ms=MARCH_MS + DAYS * DAY_MS,
    )
    prepare(market, strategies, tree, folder, progress=lambda _what, _share: None)
    return Workplace(folder=folder, strategies=builtin, only=())


WHOLE = (MARCH_MS, MARCH_MS + DAYS * DAY_MS)
HALF = (MARCH_MS + 4 * DAY_MS, WHOLE[1])


def evaluated(executor, workplace: Workplace) -> dict:
    """The returns and figures of four sets on two spans, by set and span."""
    sets = [
        parameter_set(assignments, lambda given: configuration(*given))
        for assignments in (
            [],
            ["limits.max_open=2"],
            ["strategies.DCA.drop.mid_cap=0.02"],
            ["costs.taker_fee=0.0"],
        )
    ]
    finished = {}
    steps = []
    evaluator = Evaluator(
        executor,
        workplace,
        finished=lambda each, span, measured: finished.update({(each.version, span): measured}),
        progress=steps.append,
    )
    evaluator.measure(sets, [WHOLE, HALF])
    evaluator.measure(sets, [HALF])  # known already
    assert sum(steps) == 2 * len(sets)
    assert len(finished) == 2 * len(sets)
    for (version, span), measured in finished.items():
        (each,) = [each for each in sets if each.version == version]
        assert evaluator.result(each, span) is measured
    leave(workplace)
    return finished


def assert_same(left: dict, right: dict) -> None:
    assert left.keys() == right.keys()
    for key, measured in left.items():
        np.testing.assert_array_equal(measured.returns, right[key].returns)
        assert measured.figures == right[key].figures
        assert measured.trades == right[key].trades


def test_processes_and_a_cluster_come_to_what_one_process_comes_to(workplace: Workplace, cluster: str):
    with opened(settings(), workers=1) as executor:
        here = evaluated(executor, workplace)
    assert len({measured.returns.tobytes() for measured in here.values()}) > 4
    with opened(settings(), workers=2) as executor:
        assert_same(evaluated(executor, workplace), here)
    with opened(settings("dask", address=cluster), workers=2) as executor:
        assert_same(evaluated(executor, workplace), here)


def test_a_set_that_cannot_be_simulated_is_named_and_what_others_finished_is_kept(workplace: Workplace):
    finished = []
    with opened(settings(), workers=1) as executor:
        evaluator = Evaluator(
            executor, workplace, finished=lambda each, *_: finished.append(each), progress=lambda _: None
        )
        sound, fine = (
            parameter_set(assignments, lambda given: configuration(*given))
            for assignments in ([], ["instrument_defaults.lot=1e-14"])
        )
        with pytest.raises(SimulationError, match=r"^instrument_defaults\.lot=1e-14: .*lot"):
            evaluator.measure([sound, fine], [WHOLE])
    leave(workplace)
    assert finished == [sound]


def test_processes_are_others_and_end_with_the_block():
    before = set(multiprocessing.active_children())
    with opened(settings(), workers=2) as executor:
        found = [outcome(future) for future in as_completed([executor.submit(squared, n) for n in range(6)])]
        pids = {pid for _, pid in found}
    assert sorted(square for square, _ in found) == [0, 1, 4, 9, 16, 25]
    assert os.getpid() not in pids
    assert set(multiprocessing.active_children()) == before


def test_one_worker_works_in_this_process():
    with opened(settings(), workers=1) as executor:
        assert outcome(executor.submit(squared, 3)) == (9, os.getpid())
        with pytest.raises(ValueError, match="no 3"):
            outcome(executor.submit(refuse, 3))


def test_an_error_within_the_block_ends_the_processes():
    before = set(multiprocessing.active_children())
    started = set()

    def interrupted() -> None:
        with opened(settings(), workers=2) as executor:
            outcome(executor.submit(squared, 1))
            started.update(set(multiprocessing.active_children()) - before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(started) == 2
    assert len(wait([process.sentinel for process in started], timeout=0)) == 2  # both have ended by now


def test_a_worker_that_is_still_starting_does_not_hear_ctrl_c():
    # The processes have only just been started: they are importing, and would die of it.
    before = set(multiprocessing.active_children())
    with opened(settings(), workers=2) as executor:
        started = set(multiprocessing.active_children()) - before
        assert len(started) == 2
        for process in started:
            os.kill(process.pid, signal.SIGINT)
        assert sorted(outcome(executor.submit(squared, n))[0] for n in range(4)) == [0, 1, 4, 9]
        assert set(multiprocessing.active_children()) - before == started
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])  # we ourselves do


def test_a_worker_that_dies_is_said_in_a_sentence():
    with (
        pytest.raises(CryptoTrackerError, match="a worker ended before its work did"),
        opened(settings(), workers=2) as executor,
    ):
        outcome(executor.submit(die, 1))


def test_work_on_a_cluster_leaves_this_process(cluster: str):
    with opened(settings("dask", address=cluster), workers=2) as executor:
        square, pid = outcome(executor.submit(squared, 5))
        assert (square, pid != os.getpid()) == (25, True)
        with pytest.raises(ValueError, match="no 3"):
            outcome(executor.submit(refuse, 3))


@pytest.mark.parametrize(
    ("address", "words"),
    [("", "research.dask_address is empty"), ("nonsense://x", "no Dask scheduler answers at")],
)
def test_a_cluster_that_is_not_there_is_said_in_a_sentence(address, words):
    with pytest.raises(ConfigError, match=words), opened(settings("dask", address=address), workers=2):
        pass


def test_without_dask_the_line_that_installs_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(ConfigError, match=r"pip install 'crypto-tracker\[scale\]'"),
        opened(settings("dask", address="tcp://127.0.0.1:1"), workers=2),
    ):
        pass


def test_the_configuration_says_how_many_work_and_0_is_one_for_each_core():
    assert worker_count(settings(workers=3)) == 3
    assert worker_count(settings(workers=0)) == (os.cpu_count() or 1)
