"""Records messages until it is killed: recording_child.py FILE FLUSH_SECONDS FLUSH_LINES FIRST KEPT."""

import sys
import time
from pathlib import Path

from crypto_tracker.market.recording.format import read_records
from crypto_tracker.market.recording.recorder import Recorder

if __name__ == "__main__":
    path, flush_seconds, flush_lines, first, kept = sys.argv[1:]
    recorder = Recorder(
        Path(path),
        provider="kraken",
        now_ns=time.time_ns,
        flush_seconds=float(flush_seconds),
        flush_lines=int(flush_lines),
    )
    for number in range(int(first)):
        recorder.note_message("trades", f"message {number}")
    while sum(1 for _ in read_records(Path(path))) < int(kept):
        time.sleep(0.01)
    print("recorded", flush=True)  # noqa: T201 - the parent waits for it
    number = int(first)
    while True:
        recorder.note_message("trades", f"message {number}")
        number += 1
