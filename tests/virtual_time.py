"""An event loop on which waiting takes no time: its clock jumps to whatever is due next."""

import asyncio
import selectors
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_THREAD_SECONDS = 120.0  # real ones, that a thread may take for what nothing else is waiting for
_SOCKET_SECONDS = 0.002  # real ones, in which the loopback brings what was sent, once it works at all


class Clock:
    """Seconds that pass only while everybody waits. It outlives its loops, and any thread may read it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class _Loopback:
    """A connection of its own: once a byte has crossed it, so has what others sent before that byte."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self._near = socket.create_connection(listening.getsockname())
            self._far, _ = listening.accept()
        self._near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def cross(self) -> None:
        self._near.sendall(b"x")
        self._far.recv(1)

    def close(self) -> None:
        self._near.close()
        self._far.close()


class _JumpingSelector(selectors.DefaultSelector):
    """Sleeps for threads and sockets only: instead of waiting for a while it moves the clock on by that."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.working: set[object] = set()  # calls that threads have not ended
        self._probe: _Loopback | None = None

    def close(self) -> None:
        if self._probe is not None:
            self._probe.close()
        super().close()

    def select(self, timeout=None):
        if timeout is None or (timeout > 0 and self.working):
            # Nothing is due before a thread is done.
            ready = super().select(_THREAD_SECONDS)
            if not ready:
                raise RuntimeError("every task waits for something that will never come")
            return ready
        ready = super().select(0)
        if not ready and timeout > 0 and len(self.get_map()) > 1:  # the loop's own pipe, and sockets
            self._probe = self._probe or _Loopback()
            self._probe.cross()
            ready = super().select(_SOCKET_SECONDS)
        if not ready and timeout > 0:
            self.clock.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose `time()` is that of `clock`, and moves only when everybody waits.

    For code that sleeps and measures by the loop. Threads that the loop itself started stop the clock while
    they work. Both ends of a connection have to be in this loop: what comes from elsewhere comes too late.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._jumping = _JumpingSelector(clock or Clock())
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.clock.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        call, runs = object(), threading.Event()
        self._jumping.working.add(call)

        def counted() -> T:
            runs.set()
            try:
                return func(*args)
            finally:
                runs.clear()
                self.call_soon_threadsafe(ended)

        def ended(*_: object) -> None:
            # The result follows the end of the work; whoever was cancelled does not wait for that.
            if future.done() and not runs.is_set():
                self._jumping.working.discard(call)

        future = super().run_in_executor(executor, counted)
        future.add_done_callback(ended)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        self._jumping.working.add(self)
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._jumping.working.discard(self)


def run(coroutine: Coroutine[Any, Any, T], clock: Clock | None = None) -> T:
    """`asyncio.run` in virtual time: that of `clock`, else one that begins at 0."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(clock)) as runner:
        return runner.run(coroutine)


async def elapsed(coroutine: Coroutine[Any, Any, Any]) -> float:
    """The virtual seconds that something takes."""
    start = asyncio.get_running_loop().time()
    await coroutine
    return asyncio.get_running_loop().time() - start
