"""What a live view asks of the terminal: whether it can draw there, and Ctrl-C as a wish."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


def can_draw(console: Console) -> bool:
    """Whether the terminal is one, and can show block characters."""
    return console.is_terminal and not console.is_dumb_terminal and can_encode(console)


def can_encode(console: Console) -> bool:
    """Whether what is written there can hold block characters."""
    return (console.encoding or "").lower().startswith("utf")


class Interruption:
    """Ctrl-C as a wish: it is looked at between two steps, so that none is left half done."""

    def __init__(self) -> None:
        self.wanted = False

    def __call__(self, *_signal: object) -> None:
        """The signal handler; a second Ctrl-C ends the program at once."""
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True


@contextmanager
def interruption() -> Iterator[Interruption]:
    """While this lasts Ctrl-C asks for an end instead of raising."""
    wish = Interruption()
    before = signal.signal(signal.SIGINT, wish)
    try:
        yield wish
    finally:
        signal.signal(signal.SIGINT, before)
