"""Runs the command line in forked processes, some of which die at a named step of the store.

Started by test_download_kill.py. Each line of standard input is one run; it is answered by two lines: the
process id as soon as it is started, and how it ended. The runs are forked from this process, which has imported
everything and done nothing: importing takes far longer than most of them.
"""

import json
import os
import sys
import threading

from crypto_tracker.app import fetching, providers  # noqa: F401 - the runs find them imported
from crypto_tracker.app.cli import fetching_view, tables  # noqa: F401 - likewise
from crypto_tracker.app.cli.main import build, main
from crypto_tracker.store.failpoints import Failpoint, on_failpoint

KILLED = 77


def run(arguments: list[str], point: str | None, passes: int) -> None:
    """Run a command and die at the failpoint, the first time after `passes` times."""
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
    main(arguments)


def answer_all() -> None:
    """One run after the other, until there is no more input."""
    build()  # imports the modules of all commands
    for line in sys.stdin:
        step = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                log = os.open(step["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(log, 1)
                os.dup2(log, 2)
                run(step["arguments"], step["point"], step["passes"])
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        tell(child)
        tell(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def tell(number: int) -> None:
    """One line of answer."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    answer_all()
