"""Processes that write bars of one home at the same time. Started by test_writers.py."""

import json
import os
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from crypto_tracker.core.timeframes import Timeframe, next_month_ms
from crypto_tracker.store.failpoints import Failpoint, on_failpoint
from tests.store.shelf import BTC, ETH, MINUTE, NOW, at, drawn_minute, run_of_minutes, store

KILLED = 77
MONTHS = 6
FIRST_MINUTE = at("2025-05-20 00:00")
DONE = "other.done"
OLD_MONTHS = ("2024-10", "2024-11", "2024-12")


def import_months(home: Path) -> None:
    """Whole months of ETH, one right after the other; writes down when each was committed."""
    commits = []
    on_failpoint(lambda point: commits.append(time.monotonic()) if point is Failpoint.COMMITTED else None)
    with store(home) as opened:
        start_ms = at("2024-09-01 00:00")
        for _ in range(MONTHS):
            end_ms = next_month_ms(start_ms)
            bars = run_of_minutes("2024-09-01 00:00", (end_ms - start_ms) // MINUTE)
            bars.open_time_ms[:] = np.arange(start_ms, end_ms, MINUTE)
            opened.write("kraken", ETH, Timeframe.M1, bars, [(start_ms, end_ms)])
            start_ms = end_ms
    (home / "commits.json").write_text(json.dumps(commits))
    (home / DONE).touch()


def write_minutes(home: Path) -> None:
    """Minute after minute of BTC until the other process is done; writes down how long each took."""
    spans = []
    with store(home) as opened:
        minute = 0
        while not (home / DONE).exists() or minute < 3:
            open_ms = FIRST_MINUTE + minute * MINUTE
            began = time.monotonic()
            opened.write_minutes("kraken", {BTC: drawn_minute(open_ms)}, {BTC: [(open_ms, open_ms + MINUTE)]})
            spans.append((began, time.monotonic()))
            minute += 1
    (home / "minutes.json").write_text(json.dumps(spans))


def old_months(home: Path) -> None:
    """Some hours of three months that are ready to be moved."""
    with store(home) as opened:
        for month in OLD_MONTHS:
            opened.write("kraken", BTC, Timeframe.M1, run_of_minutes(f"{month}-10 00:00", 300))


def roll(home: Path, point: str) -> None:
    """Roll over, and die at a failpoint of the second month."""
    left = 1

    def kill(reached: Failpoint) -> None:
        nonlocal left
        if reached.value == point:
            if left == 0:
                (home / DONE).touch()
                os._exit(KILLED)
            left -= 1

    on_failpoint(kill)
    with store(home, now=NOW) as opened:
        opened.roll_over()
    (home / DONE).touch()


WORKS = {"import": import_months, "minutes": write_minutes, "roll": roll}


def main() -> None:
    """Read groups of works from standard input, and write how each ended.

    The works of a group are done at the same time, each in a process of its own, the groups one after the
    other. The processes are forked from this one, which has imported everything and done nothing.
    """
    ends = []
    for group in json.load(sys.stdin):
        children = []
        for name, *arguments in group:
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    WORKS[name](Path(arguments[0]), *arguments[1:])
                    code = 0
                finally:
                    if code:
                        traceback.print_exc()
                    os._exit(code)
            children.append(child)
        ends.append([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
    json.dump(ends, sys.stdout)


if __name__ == "__main__":
    main()
