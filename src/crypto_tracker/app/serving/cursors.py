"""Cursors of pages: what a page ended with, as a text that nobody needs to read."""

import base64
import binascii
import json
from collections.abc import Sequence

from crypto_tracker.core.errors import UsageError

Part = int | float | str


def written(key: Sequence[Part]) -> str:
    """The cursor behind a row that is named by these parts.

    >>> read(written((1755864000000, "ETH/USDT", "DCA")), (int, str, str))
    (1755864000000, 'ETH/USDT', 'DCA')
    """
    text = json.dumps(list(key), separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read(cursor: str, kinds: Sequence[type]) -> tuple[Part, ...]:
    """The parts that a cursor was written from; raises UsageError where it is none of such parts."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        key = None
    fits = isinstance(key, list) and len(key) == len(kinds)
    # A float may have been written as a whole number, and a boolean is no number at all.
    if not fits or any(_kind(part) not in _taken(kind) for part, kind in zip(key, kinds, strict=True)):
        raise UsageError(f"{cursor[:40]!r} is no cursor of this list: begin without one")
    return tuple(key)


def _kind(part: object) -> type:
    return type(part)


def _taken(kind: type) -> tuple[type, ...]:
    return (int, float) if kind is float else (kind,)
