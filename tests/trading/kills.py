"""Starts traders in processes of their own, looks at how far they are, and kills them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from crypto_tracker.store.database import sqlite_module
from crypto_tracker.store.failpoints import TradingFailpoint
from tests.trading.worlds import ACCOUNT, END_MS, account_folder, span

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 600.0
T = TypeVar("T")


def trade_arguments(home: Path, end_ms: int = END_MS, *more: str) -> list[str]:
    """The command line that replays the account of a home."""
    return ["--home", str(home), "trade", "--replay", span(end_ms=end_ms), "--account", ACCOUNT, *more]


def environment() -> dict[str, str]:
    """What a started process finds: nothing that configures it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_TRACKER_")}
    return kept | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}


def started(arguments: list[str]) -> subprocess.Popen[str]:
    """The command line as a user starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "crypto_tracker", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def cursor_ms(home: Path) -> int | None:
    """The next minute of the account of a home, as another process sees it; None before it was opened."""
    module = sqlite_module()
    path = account_folder(home) / "trading.db"
    try:
        with closing(module.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=1)) as connection:
            row = connection.execute("SELECT cursor_ms FROM trader").fetchone()
    except module.OperationalError:
        return None  # there is no file yet, or no table, or nobody has the log open at this moment
    return None if row is None else int(row[0])


def eventually(look: Callable[[], T | None], what: str) -> T:
    """What `look` finds once it finds something; fails where that takes too long."""
    until = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < until:
        found = look()
        if found is not None:
            return found
        time.sleep(0.004)
    raise AssertionError(f"waited {DEADLINE_SECONDS} s in vain until {what}")


@dataclass(slots=True)
class Running:
    """A process that runs the command line."""

    pid: int
    server: subprocess.Popen[str]
    told: Path
    code: int | None = None

    def wait(self) -> int:
        """How it ended: its exit code, or the signal that killed it as a negative number."""
        if self.code is None:
            assert self.server.stdout is not None
            self.code = int(self.server.stdout.readline())
        return self.code

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; where the process has just ended by itself, nothing happens.

        Its parent has not told of its end yet or has: the process id is not given to another so soon.
        """
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return


class Runner:
    """Runs the command line in forked processes, one at a time."""

    def __init__(self, server: subprocess.Popen[str], told: Path) -> None:
        self._server = server
        self.told = told

    def start(
        self,
        arguments: list[str],
        *,
        point: TradingFailpoint | None = None,
        passes: int = 0,
        keep_log: bool = False,
    ) -> Running:
        """Start the command line in a process, which dies at a failpoint where one is named."""
        wish = {
            "arguments": arguments,
            "told": str(self.told),
            "point": None if point is None else point.value,
            "passes": passes,
            "keep_log": keep_log,
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(wish) + "\n")
        self._server.stdin.flush()
        return Running(int(self._server.stdout.readline()), self._server, self.told)

    def end(self, arguments: list[str]) -> None:
        """Run the command line until it ends well."""
        code = self.start(arguments).wait()
        assert code == 0, self.told.read_text(encoding="utf-8")[-3_000:]


@contextmanager
def runner(folder: Path) -> Iterator[Runner]:
    """A runner whose processes write what they tell into a file of `folder`."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.trading.kill_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=ROOT,
    )
    with server:
        yield Runner(server, folder / "told.txt")
        assert server.stdin is not None
        server.stdin.close()
