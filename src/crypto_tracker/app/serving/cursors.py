"""Cursors of pages: what a page ended with, and of which list, as a text that nobody needs to read."""

import base64
import binascii
import json
import math
from collections.abc import Sequence
from hashlib import blake2b

from crypto_tracker.core.errors import UsageError

Part = int | float | str

_MOST = 2**62  # what columns and the database hold with room to spare


def list_of(*parts: object) -> str:
    """The mark of one list: of what, of whom, in which order, under which filter.

    Under another mark a cursor would name a row that stands elsewhere, or nowhere. What moves while a list is
    read, such as the span of the last day, belongs into no mark.

    >>> list_of("trades", "august", "exit_ms") == list_of("trades", "august", "pnl_quote")
    False
    """
    digest = blake2b(repr(parts).encode(), digest_size=6).digest()
    return base64.urlsafe_b64encode(digest).decode()


def written(key: Sequence[Part], of: str = "") -> str:
    """The cursor behind a row that is named by these parts, in the list with this mark.

    >>> read(written((1755864000000, "ETH/USDT", "DCA")), (int, str, str))
    (1755864000000, 'ETH/USDT', 'DCA')
    """
    text = json.dumps(list(key), separators=(",", ":"))
    return of + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read(cursor: str, kinds: Sequence[type], of: str = "") -> tuple[Part, ...]:
    """The parts that a cursor was written from; raises UsageError where it is none of such parts and list."""
    whole, cursor = cursor, cursor.removeprefix(of)
    try:
        if not whole.startswith(of):
            raise ValueError(whole)
        padded = cursor + "=" * (-len(cursor) % 4)
        key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        key = None
    fits = isinstance(key, list) and len(key) == len(kinds)
    if not fits or not all(_is(part, kind) for part, kind in zip(key, kinds, strict=True)):
        raise UsageError(
            f"{whole[:40]!r} is no cursor of this list under this filter and in this order: begin without one"
        )
    return tuple(key)


def _is(part: object, kind: type) -> bool:
    """Whether a part is of a kind; a float may have been written as a whole number."""
    if isinstance(part, bool):
        return False
    if isinstance(part, int):
        return kind in {int, float} and abs(part) <= _MOST
    if isinstance(part, float):
        return kind is float and math.isfinite(part)
    return isinstance(part, str) and kind is str
