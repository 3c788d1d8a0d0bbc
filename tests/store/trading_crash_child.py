"""Processes that trade an account and are killed. Started by test_trading_crash.py."""

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from crypto_tracker.store.failpoints import TradingFailpoint, on_failpoint
from crypto_tracker.store.trading import TradingStore
from tests.store.accounts import OPENING, RECORDED, eventful_steps

KILLED = 77
CHECKPOINT_EVERY = 3


def go_on(
    folder: Path, *, recorded_at_ms: int = RECORDED, before_each: Callable[[], None] | None = None
) -> None:
    """Open the account where there is none, and step the minutes that it has not stepped yet."""
    with TradingStore.open(folder, wait_ms=0, checkpoint_every=CHECKPOINT_EVERY) as store:
        if store.journal.account() is None:
            store.create(OPENING)
        number = store.begin_session(started_at_ms=RECORDED, pid=os.getpid(), host="here", code_version="1.0")
        cursor_ms = store.journal.trader().cursor_ms
        for step in eventful_steps():
            if step.time_ms >= cursor_ms:
                if before_each is not None:
                    before_each()
                store.commit(step, recorded_at_ms=recorded_at_ms)
        store.end_session(number, RECORDED + 1)


def run(folder: str, point: str, passes: int) -> None:
    """Trade the account and die at the failpoint, the first time after `passes` times."""
    left = passes

    def kill(reached: object) -> None:
        nonlocal left
        if reached is TradingFailpoint(point):
            if left == 0:
                os._exit(KILLED)
            left -= 1

    on_failpoint(kill)
    go_on(Path(folder))


def hold(folder: str) -> None:
    """Trade the account without an end, and say when it is held."""
    with TradingStore.open(Path(folder), wait_ms=0) as store:
        store.create(OPENING)
        store.begin_session(started_at_ms=RECORDED, pid=os.getpid(), host="elsewhere", code_version="1.0")
        for step in eventful_steps()[:4]:
            store.commit(step, recorded_at_ms=RECORDED)
        sys.stdout.write("held\n")
        sys.stdout.flush()
        sys.stdin.read()


def main() -> None:
    """Read steps from standard input, do each in a process of its own, and write how each ended.

    The processes are forked from this one, which has imported everything and done nothing: importing takes
    far longer than the work.
    """
    if len(sys.argv) > 1:
        hold(sys.argv[1])
        return
    ends = []
    for step in json.load(sys.stdin):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                run(*step)
                code = 0
            finally:
                if code:
                    traceback.print_exc()
                os._exit(code)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    json.dump(ends, sys.stdout)


if __name__ == "__main__":
    main()
