"""A snapshot as a document, for programs: the same facts as the picture, without what is only drawn."""

from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum
from typing import Any

from crypto_tracker.app.screen.snapshot import Snapshot
from crypto_tracker.core.timeframes import from_ms

_TIMES = ("time_ms", "start_ms", "end_ms", "scanned_ms")
_DRAWN = ("heading", "equity_curve", "curve_base", "curve_words")


def document(name: str, snapshot: Snapshot) -> dict[str, Any]:
    """The facts of the account `name`; closed sets by their names in lower case, market time as times.

    The equity curve is left out: it has as many points as a picture needs.
    """
    facts = {name: value for name, value in asdict(snapshot).items() if name not in _DRAWN}
    standing = snapshot.heading.badge.title.lower()
    return {"account": name, "standing": standing} | _named(facts)


def _named(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.removesuffix("_ms") if name in _TIMES else name: from_ms(value)
        if name in _TIMES and value is not None
        else _value(value)
        for name, value in facts.items()
    }


def _value(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, Mapping):
        return _named(value)
    if isinstance(value, tuple):
        return [_value(each) for each in value]
    return value
