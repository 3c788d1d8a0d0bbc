"""The log of a book read back through its whole age, window by window, in pages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crypto_tracker.app.serving.cursors import list_of, read, written
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.desk.source import LogFilter
from crypto_tracker.desk.views.decisions import Log, LogLine

_WINDOWS = 12  # that one request looks through; a page may have fewer lines than were asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Lines of [floor_ms, the moment before which they were asked for), the newest first, all that there are.

    `floor_ms` is None where nothing is older.
    """

    lines: Sequence[LogLine]
    floor_ms: int | None


def floor_of(times_ms: Sequence[int], most: int, before_ms: int, *, margin_ms: int = 0) -> int | None:
    """From when on the newest `most` rows before a moment are all that there are; None where they are all.

    With a margin the oldest rows only complete what newer ones tell, as long as others remain.
    """
    if len(times_ms) < most:
        return None
    oldest = min(times_ms)
    margin_ms = margin_ms if before_ms - oldest > 2 * margin_ms else 0
    return min(oldest + 1 + margin_ms, before_ms - 1)


def hour_floor(times_ms: Sequence[int], most: int, before_ms: int) -> int | None:
    """The same for setups, whose orders may end within the hour after."""
    return floor_of(times_ms, most, before_ms, margin_ms=HOUR_MS)


def window_of(lines: Sequence[LogLine], floors_ms: Sequence[int | None], before_ms: int) -> Window:
    """What is told before a moment, of rows that are complete from these floors on."""
    floor_ms = max((floor for floor in floors_ms if floor is not None), default=None)
    inside = [
        line for line in lines if line.time_ms < before_ms and (floor_ms is None or line.time_ms >= floor_ms)
    ]
    return Window(lines=sorted(inside, key=line_order), floor_ms=floor_ms)


def log_page(
    book: str,
    look: Callable[[int], Window],
    where: LogFilter,
    *,
    limit: int,
    cursor: str | None,
    until_ms: int,
    newest: Sequence[LogLine] = (),
) -> Log:
    """One page of the log; `look` gives the lines before a moment, and `newest` may be the first of all.

    Where nothing narrows the log its first page is of `newest`, however few these are: who follows it live is
    told the same lines. A cursor names the time of the last line, and how many lines of that time were told.
    """
    mark = list_of("log", book, where.symbols, where.kinds)
    if cursor is None and where == LogFilter() and newest:
        return Log(items=list(newest[:limit]), next=_cursor(newest[:limit], mark))
    before_ms = until_ms if where.end_ms is None else min(where.end_ms, until_ms)
    time_ms, told = None, 0
    if cursor is not None:
        time_ms, told = (int(part) for part in read(cursor, (int, int), mark))
        before_ms = min(before_ms, time_ms + 1)
    found: list[LogLine] = []
    for _ in range(_WINDOWS):
        window = look(before_ms)
        lines = [line for line in window.lines if _is_wanted(line, where)]
        found += _without_told(lines, time_ms, told)
        if len(found) > limit:
            found = found[:limit]
            before = told if time_ms == found[-1].time_ms else 0
            return Log(items=found, next=_cursor(found, mark, before))
        if window.floor_ms is None or (where.start_ms is not None and window.floor_ms <= where.start_ms):
            return Log(items=found, next=None)
        before_ms = window.floor_ms
    return Log(items=found, next=written((before_ms - 1, 0), mark))


def _is_wanted(line: LogLine, where: LogFilter) -> bool:
    return (where.start_ms is None or line.time_ms >= where.start_ms) and (
        not where.kinds or line.kind in where.kinds
    )


def _without_told(lines: Sequence[LogLine], time_ms: int | None, told: int) -> Sequence[LogLine]:
    if time_ms is None:
        return lines
    same = sum(line.time_ms == time_ms for line in lines)
    return lines[min(told, same) :]


def _cursor(shown: Sequence[LogLine], mark: str, before: int = 0) -> str:
    last_ms = shown[-1].time_ms
    return written((last_ms, before + sum(line.time_ms == last_ms for line in shown)), mark)


def line_order(line: LogLine) -> tuple[int, str, str, str]:
    """The newest first, and those of one time always in the same order."""
    return -line.time_ms, line.kind, line.who, line.words
