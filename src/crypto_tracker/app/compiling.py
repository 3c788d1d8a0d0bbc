"""Notices when compiled code is made anew, which takes long but once on a machine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from numba.core.event import Event, Listener, install_listener


class Compiling(Listener):
    """Adds up the seconds in which code was compiled, and calls `begins` when that begins the first time.

    Code that is found in Numba's cache is not compiled, and functions within another one count as part of it.
    """

    def __init__(self, begins: Callable[[], None]) -> None:
        self.seconds = 0.0
        self._begins = begins
        self._told = False
        self._depth = 0
        self._since = 0.0

    def on_start(self, event: Event) -> None:  # noqa: ARG002 - every compilation counts alike
        """Compiling begins."""
        if not self._told:
            self._told = True
            self._begins()
        if self._depth == 0:
            self._since = perf_counter()
        self._depth += 1

    def on_end(self, event: Event) -> None:  # noqa: ARG002
        """Compiling ends; Numba holds one lock while it compiles, so one thread at a time does."""
        self._depth -= 1
        if self._depth == 0:
            self.seconds += perf_counter() - self._since

    def stopwatch(self) -> float:
        """Seconds that stand still while code is compiled."""
        running = perf_counter() - self._since if self._depth else 0.0
        return perf_counter() - self.seconds - running


@contextmanager
def compiling(begins: Callable[[], Any]) -> Iterator[Compiling]:
    """Watches what is compiled within the block."""
    with install_listener("numba:compile", Compiling(begins)) as watch:
        yield watch
