"""Dotted keys, as TOML writes them: `limits.max_open`, `instruments."BTC/USDT".tick`."""

import re
import tomllib

from crypto_tracker.core.errors import ConfigError

Key = tuple[str, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dotted(key: Key) -> str:
    """The key as text; parts that are not bare words are quoted.

    >>> dotted(("instruments", "BTC/USDT", "tick"))
    'instruments."BTC/USDT".tick'
    """
    return ".".join(part if _BARE.fullmatch(part) else f'"{part}"' for part in key)


def parse_key(text: str) -> Key:
    """Read a dotted key; raises ConfigError where TOML would not accept it.

    >>> parse_key('instruments."BTC/USDT".tick')
    ('instruments', 'BTC/USDT', 'tick')
    """
    try:
        node: object = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:
        raise ConfigError(f"{text!r} is not a key: write section.key, with quotes around odd parts") from None
    parts: list[str] = []
    while isinstance(node, dict):
        if len(node) != 1:
            raise ConfigError(f"{text!r} is not one key: write section.key")
        ((part, node),) = node.items()
        parts.append(part)
    return tuple(parts)


_TABLE = re.compile(r"^\s*\[(?P<key>[^\[\]]+)\]\s*(?:#.*)?$")
_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_ASSIGNMENT = re.compile(rf"^\s*(?P<key>{_PART}(?:\s*\.\s*{_PART})*)\s*=")


def line_numbers(text: str) -> dict[Key, int]:
    r"""The line on which each key of a TOML text is first set, counted from 1.

    Tables are found as well as keys. A key inside an inline table has the line of the table.

    >>> line_numbers("[trading]\ncapital_quote = 5")[("trading", "capital_quote")]
    2
    """
    lines: dict[Key, int] = {}
    table: Key = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            try:
                table = parse_key(header["key"].strip())
            except ConfigError:  # a line of an array over several lines, which is no header
                continue
            lines.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            lines.setdefault(table + parse_key(assignment["key"]), number)
    return lines
