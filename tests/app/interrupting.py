"""Runs the command line and interrupts it from within, as soon as it has said something.

`python -m tests.app.interrupting WORDS ARGUMENTS...`: whoever looks on from outside may come too late.
"""

import io
import os
import runpy
import signal
import sys


class Listening(io.TextIOWrapper):
    """Standard error, and a Ctrl-C once these words were written to it."""

    def __init__(self, words: str) -> None:
        super().__init__(sys.stderr.buffer, encoding=sys.stderr.encoding, write_through=True)
        self._words = words
        self._said = ""

    def write(self, text: str) -> int:
        """Write, and listen until the words have come."""
        written = super().write(text)
        if self._words:
            self._said += text
            if self._words in self._said:
                self._words = ""
                os.kill(os.getpid(), signal.SIGINT)
        return written


if __name__ == "__main__":
    sys.stderr = Listening(sys.argv[1])
    sys.argv = ["crypto-tracker", *sys.argv[2:]]
    runpy.run_module("crypto_tracker", run_name="__main__")
