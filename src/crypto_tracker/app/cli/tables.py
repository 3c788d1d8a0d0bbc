"""Plain tables for people: the roomiest that fits, and no blanks at the ends of lines."""

from collections.abc import Iterable

from rich.console import Console
from rich.measure import Measurement
from rich.segment import Segment, Segments
from rich.table import Table

from crypto_tracker.app.cli.common import Session

_PIPE_WIDTH = 80  # where nothing says how wide lines may be


def plain_table(gap: int) -> Table:
    """A table without lines, `gap` blanks between its columns."""
    return Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))


def room(session: Session) -> int:
    """How many columns lines may have: those of the terminal or of COLUMNS, 80 where neither is known."""
    if not session.out.is_terminal and "COLUMNS" not in session.environment:
        session.out.width = _PIPE_WIDTH
    return session.out.width


def fits(console: Console, table: Table, width: int) -> bool:
    """Whether a table needs no more than `width` columns to be shown whole."""
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum <= width


def roomiest(session: Session, tables: Iterable[Table]) -> Table:
    """The first of some tables that fits; the last where none does."""
    width = room(session)
    last = None
    for last in tables:
        if fits(session.out, last, width):
            break
    if last is None:
        raise ValueError("there must be a table to choose")
    return last


def print_table(console: Console, table: Table) -> None:
    """Print a table; its lines end with their last word."""
    for line in console.render_lines(table, pad=False):
        console.print(Segments([*_trimmed(line), Segment.line()]), end="")


def _trimmed(line: list[Segment]) -> list[Segment]:
    kept = list(line)
    while kept and not kept[-1].text.strip():
        kept.pop()
    if kept:
        last = kept.pop()
        kept.append(Segment(last.text.rstrip(), last.style, last.control))
    return kept
