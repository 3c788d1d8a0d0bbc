"""The lock that lets one process or thread at a time write bars, in turn."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from crypto_tracker.core.errors import StoreError
from crypto_tracker.store.database import sqlite_module

# SQLite waits without listening to Ctrl-C, so it waits in short turns.
_TURN_MS = 100
TURN_SUFFIX = ".turn"


class WritersLock:
    """The lock of the bars under a home: held for the length of one write.

    Two locks stand behind each other. Who wants to write takes the outer one, waits there for the inner one,
    and gives the outer one back once it holds that. So whoever writes again and again finds the one who waits
    before it, and nobody waits for longer than the write that is being done and those of who came earlier.
    Each is an exclusive transaction on an empty database: the operating system frees it however the process
    ends.
    """

    def __init__(self, path: Path, *, what: str, wait_ms: int) -> None:
        self._path = path
        self._what = what
        self._turns = max(wait_ms // _TURN_MS, 1)
        self._of_threads = threading.Lock()
        self._inner: Any = None
        self._outer: Any = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock while the block runs; raises StoreError where it stays taken for the whole wait."""
        if not self._of_threads.acquire(timeout=self._turns * _TURN_MS / 1_000):
            raise self._taken()
        with ExitStack() as closing:
            closing.callback(self._of_threads.release)
            if self._inner is None:
                self._inner = _connected(self._path)
                self._outer = _connected(self._path.with_name(self._path.name + TURN_SUFFIX))
            left = self._take(self._outer, self._turns)
            try:
                self._take(self._inner, left)
            finally:
                self._outer.execute("ROLLBACK")
            closing.callback(self._inner.execute, "ROLLBACK")
            yield

    def close(self) -> None:
        """Close both files; the lock may be taken again thereafter."""
        with self._of_threads:
            for connection in (self._inner, self._outer):
                if connection is not None:
                    connection.close()
            self._inner = self._outer = None

    def _take(self, connection: Any, turns: int) -> int:
        """Take one of the locks within so many turns; those that are left."""
        for turn in range(turns):
            try:
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite_module().OperationalError as error:
                if turn + 1 == turns:
                    raise self._taken() from error
            else:
                return turns - turn
        raise self._taken()

    def _taken(self) -> StoreError:
        return StoreError(
            f"another process is writing {self._what} ({self._path} is taken): let it finish, then try again"
        )


def _connected(path: Path) -> Any:
    return sqlite_module().connect(
        str(path), isolation_level=None, timeout=_TURN_MS / 1_000, check_same_thread=False
    )
