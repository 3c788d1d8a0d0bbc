"""Where many independent simulations run: in this process, in processes beside it, or on a Dask cluster.

All are `concurrent.futures.Executor`, so whoever hands out work does not know which it is. What is submitted
must be importable by name, and its arguments small: large arrays are mapped from files (`research.prepared`).
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, ParamSpec, TypeVar

from crypto_tracker.config.research import Research
from crypto_tracker.core.errors import ConfigError, CryptoTrackerError

P = ParamSpec("P")
R = TypeVar("R")


class InThisProcess(Executor):
    """Runs what is submitted at once, in the caller's own process and thread."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run it; an error waits in the future, as that of a worker would."""
        future: Future[R] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - whoever asks for the result meets it there
            future.set_exception(error)
        return future


def worker_count(settings: Research) -> int:
    """How many processes work: as configured, else one for each core of the machine."""
    return settings.workers or os.cpu_count() or 1


@contextmanager
def opened(settings: Research, *, workers: int) -> Iterator[Executor]:
    """The executor that the configuration asks for, while the block runs.

    However the block ends, nothing of it goes on working: what waits is cancelled, and where it ended by an
    error or by Ctrl-C, processes that still work are ended. One worker needs no process of its own.
    """
    if settings.executor == "dask":
        with _dask(settings.dask_address) as executor:
            yield executor
    elif workers == 1:
        yield InThisProcess()
    else:
        with _processes(workers) as executor:
            yield executor


def outcome(future: Future[R]) -> R:
    """The result of finished work; raises CryptoTrackerError where its worker ended on the way."""
    try:
        return future.result()
    except _lost() as error:
        raise CryptoTrackerError(
            "a worker ended before its work did (out of memory?): "
            "run fewer at a time with --workers, or choose a shorter --timerange"
        ) from error


def _lost() -> tuple[type[Exception], ...]:
    """What a future raises when its worker died."""
    if "distributed" not in sys.modules:
        return (BrokenExecutor,)
    from distributed import KilledWorker  # noqa: PLC0415 - it is loaded already

    return BrokenExecutor, KilledWorker


@contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    before = set(multiprocessing.active_children())
    # Spawned, not forked: a fork of a process with threads (Numba's, SQLite's) may hang.
    executor = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_worker_begins
    )
    try:
        with _without_interrupts():
            for _ in range(workers):
                executor.submit(_nothing)  # starts a process, since none is idle yet
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        ended = set(multiprocessing.active_children()) - before
        for process in ended:
            process.terminate()
        # The executor's own thread joins them too, and what it took from the system `join` here would not
        # hear of: only the sentinel tells both that a process has ended.
        for process in ended:
            wait([process.sentinel])
        raise
    executor.shutdown()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C waits until the block has ended; processes that are started in it never hear one.

    They would otherwise die with a traceback of their own while they are still importing.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _nothing() -> None:
    """Work that a process can be started for."""


def _worker_begins() -> None:
    """Ctrl-C reaches every process of a terminal: the parent answers it, and ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    if not address:
        raise ConfigError(
            'research.executor is "dask", but research.dask_address is empty: start `dask scheduler` and '
            "`dask worker`, and set the scheduler's address, such as tcp://127.0.0.1:8786"
        )
    try:
        import distributed  # noqa: PLC0415 - only clusters need it, and it takes a second
    except ModuleNotFoundError as error:
        raise ConfigError(
            "Dask is not installed: pip install 'crypto-tracker[scale]', "
            'or set research.executor = "processes"'
        ) from error
    try:
        client: Any = distributed.Client(address, timeout="10s", set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no Dask scheduler answers at research.dask_address {address}: start it, or correct the address"
        ) from error
    try:
        executor = client.get_executor(pure=False)
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False)
            raise
        executor.shutdown()
    finally:
        client.close()
