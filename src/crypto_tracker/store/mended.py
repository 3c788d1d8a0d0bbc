"""Where bars were mended long after their time, so that who shows them knows what to read again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.store import tables

LATE_MS = HOUR_MS
"""What is younger than this is no news of old bars: whoever follows the present reads it anyway."""

KEPT = 2_000
"""Notes that stay; who has not looked for longer than they reach reads everything again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """What was mended of one symbol since a note.

    Attributes
    ----------
    last : the number of the newest note of any symbol, 0 where there is none
    span : [start_ms, end_ms) that holds all of it, None where nothing was
    known : whether all notes since are still there
    """

    last: int
    span: tuple[int, int] | None
    known: bool


def is_late(start_ms: int, now_ms: int) -> bool:
    """Whether bars from a time on are older than those of the present."""
    return start_ms < now_ms - LATE_MS


def around(*spans: tuple[int, int] | None) -> tuple[int, int]:
    """The span [start_ms, end_ms) that holds all of these, of which there is one at least."""
    there = [span for span in spans if span is not None]
    return min(start_ms for start_ms, _ in there), max(end_ms for _, end_ms in there)


def note(connection: Connection, symbol_id: int, spans: Iterable[tuple[int, int]]) -> None:
    """Note that bars of a symbol may be others than before in these spans [start_ms, end_ms)."""
    table = tables.mended
    rows = [{"symbol_id": symbol_id, "start_ms": start, "end_ms": end} for start, end in spans]
    if rows:
        connection.execute(insert(table), rows)
        last = select(func.max(table.c.mended_id)).scalar_subquery()
        connection.execute(delete(table).where(table.c.mended_id <= last - KEPT))


def since(connection: Connection, symbol: Symbol, providers: Sequence[str], after: int) -> Mended:
    """What was mended of a symbol of some providers since the note of a number; none of those before it."""
    notes, symbols = tables.mended.c, tables.symbols.c
    first, last = connection.execute(select(func.min(notes.mended_id), func.max(notes.mended_id))).one()
    if last is None or last == after:
        return Mended(last=last or 0, span=None, known=(last or 0) == after)
    query = (
        select(func.min(notes.start_ms), func.max(notes.end_ms))
        .select_from(tables.mended.join(tables.symbols, symbols.symbol_id == notes.symbol_id))
        .where(notes.mended_id > after, symbols.symbol == str(symbol), symbols.provider.in_(list(providers)))
    )
    start_ms, end_ms = connection.execute(query).one()
    span = None if start_ms is None else (int(start_ms), int(end_ms))
    return Mended(last=int(last), span=span, known=first <= after + 1 and after <= last)
