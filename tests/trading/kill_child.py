"""Runs the command line in processes that are killed. Started by `tests.trading.kills.Runner`.

The processes are forked from this one, which has imported everything and done nothing: importing takes far
longer than what they do.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import crypto_tracker.app.trading as trading_of_app
from crypto_tracker.app.cli.main import main as command_line
from crypto_tracker.store.failpoints import TradingFailpoint, on_failpoint
from crypto_tracker.store.trading import TradingStore

KILLED = 77
# What the command imports only when it is called.
IMPORTED = (
    "app.accounts",
    "app.cli.trade_view",
    "store.choice",
    "app.plugins",
    "config.versions",
    "store.reader",
)


def die_at(point: TradingFailpoint, passes: int) -> None:
    """End this process at a failpoint, the first time after `passes` times, as a power cut would."""
    left = passes

    def kill(reached: object) -> None:
        nonlocal left
        if reached is point:
            if left == 0:
                os._exit(KILLED)
            left -= 1

    on_failpoint(kill)


class PatientStore(TradingStore):
    """An account whose log stays as long as its process."""

    @classmethod
    @contextmanager
    def open(cls, folder: Path, **options: Any) -> Iterator[TradingStore]:
        with TradingStore.open(folder, **(options | {"checkpoint_every": 2**31})) as store:
            yield store


def run(wish: dict[str, Any]) -> int:
    """Do one wish in this process, and say with which code it ends."""
    told = os.open(wish["told"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(told, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if wish["point"] is not None:
        die_at(TradingFailpoint(wish["point"]), wish["passes"])
    if wish["keep_log"]:
        trading_of_app.TradingStore = PatientStore
    try:
        command_line(wish["arguments"])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def main() -> None:
    """For each line of standard input start a process, say which, and say how it ended."""
    for name in IMPORTED:
        import_module(f"crypto_tracker.{name}")
    for line in sys.stdin:
        wish = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                code = run(wish)
            except BaseException:  # noqa: BLE001 - whatever it was, the parent must not go on here
                traceback.print_exc()
            finally:
                os._exit(code)
        print(child, flush=True)  # noqa: T201 - the answer to the test
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(ended, flush=True)  # noqa: T201 - likewise


if __name__ == "__main__":
    main()
