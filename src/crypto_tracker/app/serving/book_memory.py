"""What is kept of one book between requests, and let go of with it."""

from threading import Lock
from typing import TypeVar

KindT = TypeVar("KindT")


class BookMemory:
    """One object of each kind that somebody has asked for; threads share it.

    It belongs to one account as it was begun, or to one recorded run over the bars that it has. Whoever
    keeps something of a book makes a class for it and takes its object here, so that nothing has to name
    the book, and nothing of one book is ever told of another.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[type, object] = {}

    def of(self, kind: type[KindT]) -> KindT:
        """The object of a kind, made where there is none yet."""
        with self._lock:
            found = self._kept.get(kind)
            if not isinstance(found, kind):
                found = self._kept[kind] = kind()
            return found
