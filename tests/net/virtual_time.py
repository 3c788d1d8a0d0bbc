"""An event loop on which waiting takes no time: its clock jumps to whatever is due next."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_THREAD_SECONDS = 20.0  # real ones, that a thread may take for what nothing else is waiting for


class _JumpingSelector(selectors.DefaultSelector):
    """Never sleeps: instead of waiting for a while it moves the clock on by that while."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout=None):
        if timeout is None:
            # Nothing is due at any time: only a thread can bring something now.
            ready = super().select(_THREAD_SECONDS)
            if not ready:
                raise RuntimeError("every task waits for something that will never come")
            return ready
        ready = super().select(0)
        if not ready and timeout > 0:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose `time()` starts at 0 and moves only when everybody waits.

    For code that sleeps and measures by the loop. Real sockets and threads beside timers do not fit: the
    clock would jump over the timers while they work.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)


async def elapsed(coroutine: Coroutine[Any, Any, Any]) -> float:
    """The virtual seconds that something takes."""
    start = asyncio.get_running_loop().time()
    await coroutine
    return asyncio.get_running_loop().time() - start
