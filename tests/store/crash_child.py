"""Processes that write bars and are killed at a named step. Started by test_crash.py."""

import json
import os
import sys
import threading
import traceback
from pathlib import Path

from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store.failpoints import Failpoint, on_failpoint
from tests.store.shelf import BTC, ETH, MINUTE, NOW, at, drawn, drawn_minute, run_of_minutes, store

KILLED = 77


def first_writes(home: Path) -> None:
    """A cold file for March with an overlay of its second bar, and hot bars in March and April."""
    with store(home, cold_rows_min=100) as opened:
        opened.write("file", BTC, Timeframe.M1, run_of_minutes("2025-03-01 12:00", 120))
        opened.write("file", BTC, Timeframe.M1, drawn("2025-03-01 12:01 100.5"))
        opened.write("file", BTC, Timeframe.M1, run_of_minutes("2025-03-30 00:00", 30))
        opened.write("file", BTC, Timeframe.M1, run_of_minutes("2025-04-10 00:00", 30))


def bulk(home: Path) -> None:
    """Enough bars for new files of March (next generation) and April, and a few hot ones in May."""
    with store(home, cold_rows_min=100) as opened:
        bars = run_of_minutes("2025-03-31 20:00", 480)
        opened.write("file", BTC, Timeframe.M1, bars, source="bulk")
        opened.write("file", BTC, Timeframe.M1, run_of_minutes("2025-05-01 00:00", 10))


def roll(home: Path) -> None:
    """Months older than the plan says move to cold files."""
    with store(home, now=NOW.replace(month=12), cold_rows_min=100) as opened:
        opened.roll_over()


def minutes(home: Path) -> None:
    """Two minutes of two coins, one transaction each."""
    with store(home) as opened:
        for minute in range(2):
            open_ms = at("2025-05-20 00:00") + minute * MINUTE
            bars = {coin: drawn_minute(open_ms) for coin in (BTC, ETH)}
            opened.write_minutes("file", bars, dict.fromkeys(bars, ((open_ms, open_ms + MINUTE),)))


def run(work: str, home: str, point: str, passes: int) -> None:
    """Do a work and die at the failpoint, the first time after `passes` times."""
    left = passes
    lock = threading.Lock()

    def kill(reached: Failpoint) -> None:
        nonlocal left
        with lock:  # files of several months are written at the same time
            if reached.value == point:
                if left == 0:
                    os._exit(KILLED)
                left -= 1

    on_failpoint(kill)
    {"bulk": bulk, "roll": roll, "minutes": minutes}[work](Path(home))


def main() -> None:
    """Read steps from standard input, do each in a process of its own, and write how each ended.

    The processes are forked from this one, which has imported everything and done nothing: importing takes
    far longer than the work.
    """
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
