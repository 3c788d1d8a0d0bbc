"""Captures of websocket sessions: one message a line, in the order of receipt.

Two layouts: `NANOSECONDS JSON`, and `SECONDS: JSON` as cryptofeed writes it, whose lines of another form (the
connection, what was sent) are passed over. A REST answer in a capture stands as `URL -> SECONDS: JSON`.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crypto_tracker.core.errors import DataError

_LINE = re.compile(
    r"(?:(?P<url>https?://\S+) -> )?(?:(?P<nanoseconds>[0-9]{19}) |(?P<seconds>[0-9]{10}(?:\.[0-9]+)?): )"
    r"(?P<json>[\[{].*)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as it was received.

    Attributes
    ----------
    received_ms : by the clock of whoever recorded it, rounded up
    url : of a REST answer what was asked for; empty for messages of a stream
    """

    line: int
    received_ms: int
    url: str
    content: Any


def messages(path: Path) -> Iterator[Message]:
    """Every message of a capture, plain or gzip; raises DataError where a line is damaged."""
    number = 0
    try:
        for number, text in enumerate(_lines(path), start=1):
            found = _LINE.fullmatch(text.rstrip("\n"))
            if found is None:
                continue
            yield Message(
                line=number,
                received_ms=_received_ms(found["nanoseconds"], found["seconds"]),
                url=found["url"] or "",
                content=json.loads(found["json"]),
            )
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged after line {number} ({error}): fetch it again") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text of messages: {error}") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {number}: the message is cut off or damaged ({error})") from error


def _lines(path: Path) -> Iterator[str]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from lines
    else:
        with path.open(encoding="utf-8") as lines:
            yield from lines


def _received_ms(nanoseconds: str | None, seconds: str | None) -> int:
    return up_to_ms(nanoseconds, 9) if nanoseconds is not None else up_to_ms(seconds or "", 0)


def up_to_ms(number: str, digits: int) -> int:
    """A time as milliseconds, rounded up, so that nothing is known before it was.

    `number` counts steps of 10 ** -digits seconds and may have decimals.

    >>> up_to_ms("1618678133.365913", 0), up_to_ms("1618678133365", 3), up_to_ms("1", 6)
    (1618678133366, 1618678133365, 1)
    """
    whole, _, decimals = number.partition(".")
    steps, places = int(whole + decimals), digits + len(decimals)
    if places <= 3:
        return steps * int(10 ** (3 - places))
    return -(-steps // int(10 ** (places - 3)))
