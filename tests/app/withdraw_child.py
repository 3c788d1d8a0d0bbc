"""Processes that withdraw a command, or trade the minute in which it is due, and are killed. See test_withdraw.py."""

import json
import os
import sys
import traceback
from pathlib import Path

from crypto_tracker.app.accounts import account_place
from crypto_tracker.app.commanding import command_named, standing, withdraw
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.store.failpoints import ControlFailpoint, TradingFailpoint, on_failpoint
from tests.trading import worlds

KILLED = 77
ACTOR = "web:bob"
COMMAND_ID = "c" * 32
DUE_MINUTE = 2
END_MINUTES = 4


def run(home: str, point: str) -> None:
    """Withdraw or trade, and die at the failpoint: of the trader in the minute in which the command is due."""
    controls = {each.value for each in ControlFailpoint}
    left = 0 if point in controls else DUE_MINUTE - 1  # the first minute was stepped before

    def kill(reached: object) -> None:
        nonlocal left
        if isinstance(reached, ControlFailpoint | TradingFailpoint) and reached.value == point:
            if left == 0:
                os._exit(KILLED)
            left -= 1

    on_failpoint(kill)
    if point in controls:
        where = standing(account_place(Path(home), worlds.ACCOUNT))
        withdraw(where, command_named(where.place, COMMAND_ID), actor=ACTOR, now_ms=1)
    else:
        worlds.trade(Path(home), end_ms=worlds.START_MS + END_MINUTES * MINUTE_MS)


def main() -> None:
    """Read homes and failpoints from standard input, do each in a process of its own, and write how it ended."""
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
