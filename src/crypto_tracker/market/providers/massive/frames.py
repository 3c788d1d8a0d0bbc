"""Frames of Massive's stream: text in, statuses, minutes and troubles out."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.core.validate import MISSING_TIME_MS
from crypto_tracker.market.providers.base import StreamedBars, Trouble
from crypto_tracker.store.batch import BarBatch

UNREADABLE = frozenset({"unreadable", "not_an_array"})
"""The troubles of whole frames."""

_OTHER_EVENTS = frozenset({"XAS", "XT", "XQ", "XL2"})  # known, and not asked for
_REMEMBERED_MAX = 100
_EXCERPT = 200


@dataclass(frozen=True, slots=True)
class Status:
    """What the server says about the connection."""

    status: str
    message: str


class FrameReader:
    """Reads frames one after the other; each unknown kind of event is told once.

    Parameters
    ----------
    pairs : the symbols that were asked for, by the spelling of the stream
    """

    def __init__(self, pairs: Mapping[str, Symbol]) -> None:
        self._pairs = pairs
        self._told: set[str] = set()

    def read(self, frame: str | bytes) -> list[Status | StreamedBars | Trouble]:
        """What a frame says, in its order.

        Every minute of a pair that was asked for comes out, whatever its fields are like: the store
        judges it. A minute that lasts other than a minute is none.
        """
        try:
            events = json.loads(frame)
        except (ValueError, RecursionError) as error:
            return [_hidden("unreadable", f"{error}: {_excerpt(frame)}")]
        if not isinstance(events, list):
            return [_hidden("not_an_array", _excerpt(frame))]
        found: list[Status | StreamedBars | Trouble] = []
        for event in events:
            if isinstance(event, dict):
                found += self._event(event)
            else:
                found.append(_hidden("not_an_event", _told(event)))
        return found

    def _event(self, event: dict[str, Any]) -> list[Status | StreamedBars | Trouble]:
        kind = event.get("ev")
        if kind == "XA":
            return self._minute(event)
        if kind == "status":
            return [Status(str(event.get("status", "")), str(event.get("message", "")))]
        if kind in _OTHER_EVENTS or str(kind) in self._told:
            return []
        if len(self._told) < _REMEMBERED_MAX:
            self._told.add(str(kind))
        return [Trouble(kind="unknown_event", detail=_told(event))]

    def _minute(self, event: dict[str, Any]) -> list[Status | StreamedBars | Trouble]:
        pair = event.get("pair")
        if not isinstance(pair, str):
            return [_hidden("no_pair", _told(event))]
        symbol = self._pairs.get(pair)
        if symbol is None:
            return [Trouble(kind="symbol_not_asked", detail=_told(event))]
        start, end = _whole(event.get("s")), _whole(event.get("e"))
        if start is not None and end is not None and end - start != Timeframe.M1.ms:
            return [_hidden("not_a_minute", _told(event))]
        minute = StreamedBars(
            symbol=symbol,
            bars=BarBatch(
                open_time_ms=np.array([MISSING_TIME_MS if start is None else start], dtype=np.int64),
                open=_one(event.get("o")),
                high=_one(event.get("h")),
                low=_one(event.get("l")),
                close=_one(event.get("c")),
                volume=_one(event.get("v")),
                vwap=_one(event.get("vw")),
            ),
            raw=lambda _: event,
        )
        return [minute] if start is not None else [minute, _hidden("no_time", _told(event))]


def _hidden(kind: str, detail: str) -> Trouble:
    return Trouble(kind=kind, detail=detail, may_hide_bars=True)


def _one(value: Any) -> FloatArray:
    return np.array([number(value)])


def number(value: Any) -> float:
    """A field as a number; NaN where it is missing, empty, or says none.

    >>> [number(value) for value in (9111.14, "9111.14", "", None, True, "1_000", 10**400)]
    [9111.14, 9111.14, nan, nan, nan, nan, inf]
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    if isinstance(value, str) and "_" in value:
        return math.nan  # Python reads 1_000, and nobody writes it
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def _whole(value: Any) -> int | None:
    """A time in milliseconds; None where it is missing, or is none, such as the 0 of who knows no time."""
    read = number(value)
    return int(read) if 0.0 < read < 2.0**53 and read == int(read) else None


def _told(event: Any) -> str:
    return _excerpt(json.dumps(event))


def _excerpt(frame: str | bytes) -> str:
    text = frame if isinstance(frame, str) else frame.decode(errors="replace")
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]} ..."
