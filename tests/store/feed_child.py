"""A process that appends a bar whenever it is told to. Started by test_feed.py."""

import sys
from pathlib import Path

from crypto_tracker.core.timeframes import Timeframe
from tests.store.shelf import BTC, drawn, store


def main() -> None:
    """For each line of standard input (`time close`) write that bar, and say that it is there."""
    with store(Path(sys.argv[1])) as opened:
        print("ready", flush=True)  # noqa: T201 - the answer to the test
        for line in sys.stdin:
            opened.write("file", BTC, Timeframe.M1, drawn(line))
            print("written", flush=True)  # noqa: T201 - likewise


if __name__ == "__main__":
    main()
