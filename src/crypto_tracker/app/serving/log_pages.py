"""The log of a book read back through its whole age in pages, each as if the log were read whole."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter
from typing import Generic, TypeVar

from crypto_tracker.app.serving.cursors import list_of, read, written
from crypto_tracker.desk.source import LogFilter
from crypto_tracker.desk.views.decisions import Log, LogKind, LogLine

WhatT_co = TypeVar("WhatT_co", covariant=True)

Order = tuple[int, str, str, str]


@dataclass(frozen=True, slots=True)
class Entry(Generic[WhatT_co]):
    """A line before it is put into words. `tie` decides between lines of one time, kind and coin."""

    time_ms: int
    kind: LogKind
    who: str
    tie: str
    what: WhatT_co

    @property
    def order(self) -> Order:
        """The newest first, and those of one time always in the same order."""
        return -self.time_ms, self.kind, self.who, self.tie


@dataclass(frozen=True, slots=True)
class Unread:
    """In place of lines at or before a time: so much was looked through that the next page goes on there."""

    time_ms: int

    @property
    def order(self) -> Order:
        """Behind everything that is newer."""
        return -self.time_ms, "", "", ""


Lines = Iterator[Entry[WhatT_co] | Unread]
"""Lines before a moment in their order, read as far as somebody asks for them."""


def merged(sources: Iterable[Lines[WhatT_co]]) -> Lines[WhatT_co]:
    """The lines of several sources as those of one."""
    return merge(*sources, key=attrgetter("order"))


def log_page(
    book: str,
    look: Callable[[int], Lines[WhatT_co]],
    word: Callable[[Sequence[WhatT_co]], Sequence[LogLine]],
    where: LogFilter,
    *,
    limit: int,
    cursor: str | None,
    until_ms: int,
) -> Log:
    """One page of the log; `look` gives the lines before a moment, and `word` those of the page in words.

    A cursor names the time of the last line, and how many lines of that time were told.
    """
    mark = list_of("log", book, where.symbols, where.kinds)
    before_ms = until_ms if where.end_ms is None else min(where.end_ms, until_ms)
    time_ms, told = -1, 0
    if cursor is not None:
        time_ms, told = (int(part) for part in read(cursor, (int, int), mark))
        before_ms = min(before_ms, time_ms + 1)
    found: list[Entry[WhatT_co]] = []
    last_ms, of_last = time_ms, 0  # how many lines of that time were told, on this page and those before
    following: str | None = None
    for entry in look(before_ms):
        if where.start_ms is not None and entry.time_ms < where.start_ms:
            break
        if isinstance(entry, Unread):
            following = written((entry.time_ms, 0), mark)
            break
        if where.kinds and entry.kind not in where.kinds:
            continue
        if len(found) == limit:
            following = written((last_ms, of_last), mark)
            break
        of_last = of_last + 1 if entry.time_ms == last_ms else 1
        last_ms = entry.time_ms
        if entry.time_ms != time_ms or of_last > told:
            found.append(entry)
    return Log(items=list(word([entry.what for entry in found])), next=following)


def wants(where: LogFilter, *kinds: LogKind) -> bool:
    """Whether a filter leaves lines of any of these kinds."""
    return not where.kinds or any(kind in where.kinds for kind in kinds)
