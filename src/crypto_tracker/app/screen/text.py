"""Numbers and words as the terminal shows them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.text import Text

from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, from_ms

UP, DOWN, FLAT = "green", "red", "default"
MUTED = "bright_black"
UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a line: text of a fixed width."""

    text: str
    width: int
    style: str = ""
    align: Literal["left", "right"] = "left"


def line(cells: Sequence[Cell | Text], *, gap: int = 1) -> Text:
    """The cells beside each other; text that is too long ends in an ellipsis."""
    out = Text(no_wrap=True, overflow="crop")
    for number, cell in enumerate(cells):
        if number:
            out.append(" " * gap)
        if isinstance(cell, Text):
            out.append_text(cell)
        else:
            text = fitted(cell.text, cell.width)
            padded = text.rjust(cell.width) if cell.align == "right" else text.ljust(cell.width)
            out.append(padded, style=cell.style or None)
    return out


def fitted(text: str, width: int) -> str:
    """The text, cut to `width` with an ellipsis.

    >>> fitted("target below costs", 10)
    'target be…'
    """
    if len(text) <= width:
        return text
    return text[: max(width - 1, 0)] + "…" if width > 0 else ""


def direction(value: float) -> str:
    """The colour of a gain or loss."""
    if value > 0:
        return UP
    return DOWN if value < 0 else FLAT


def money(value: float, *, signed: bool = False) -> str:
    """An amount of quote currency.

    >>> money(10123.456), money(12.3, signed=True), money(-1234.5, signed=True), money(float("nan"))
    ('10,123.46', '+12.30', '-1,234.50', '-')
    """
    if math.isnan(value):
        return UNKNOWN
    value = round(value, 2) + 0.0  # never a minus before a zero
    return f"{value:+,.2f}" if signed else f"{value:,.2f}"


def percent(fraction: float, *, signed: bool = True) -> str:
    """A fraction as people read it.

    >>> percent(0.0123), percent(float("nan"))
    ('+1.23 %', '-')
    """
    if math.isnan(fraction):
        return UNKNOWN
    return f"{100 * fraction:+.2f} %" if signed else f"{100 * fraction:.2f} %"


def price(value: float) -> str:
    """A price with about five digits that mean something.

    >>> price(64210.53), price(142.314), price(0.45123), price(0.0000109912)
    ('64,210.5', '142.31', '0.4512', '0.00001099')
    """
    if math.isnan(value):
        return UNKNOWN
    if value >= 1000:
        return f"{value:,.1f}"
    digits = 4 if value < 1 else 5
    decimals = digits - 1 - math.floor(math.log10(value)) if value > 0 else 2
    return f"{value:.{min(max(decimals, 0), 12)}f}"


def whole(readiness: float) -> str:
    """A readiness without decimals, rounded down: 79.9 is not yet 80.

    >>> whole(79.9), whole(80.0), whole(float("nan"))
    ('79', '80', '-')
    """
    return UNKNOWN if math.isnan(readiness) else f"{math.floor(readiness)}"


def age(duration_ms: int) -> str:
    """How long something has lasted, in at most five characters.

    >>> age(5 * 60_000), age(125 * 60_000), age(50 * 3_600_000)
    ('5m', '2h05', '2d02h')
    """
    if duration_ms < HOUR_MS:
        return f"{duration_ms // MINUTE_MS}m"
    if duration_ms < DAY_MS:
        return f"{duration_ms // HOUR_MS}h{duration_ms % HOUR_MS // MINUTE_MS:02d}"
    return f"{duration_ms // DAY_MS}d{duration_ms % DAY_MS // HOUR_MS:02d}h"


def lag(duration_ms: int) -> str:
    """How far something is behind, in seconds below two minutes.

    >>> lag(0), lag(83_999), lag(125 * 60_000)
    ('0s', '83s', '2h05')
    """
    return f"{duration_ms // 1_000}s" if duration_ms < 2 * MINUTE_MS else age(duration_ms)


def clock(time_ms: int) -> str:
    """Hours and minutes, UTC."""
    return f"{from_ms(time_ms):%H:%M}"


def clock_or_date(time_ms: int, now_ms: int) -> str:
    """Hours and minutes of a time in the last 24 hours, month and day of an earlier one.

    >>> clock_or_date(5 * DAY_MS + 90 * MINUTE_MS, 6 * DAY_MS), clock_or_date(5 * DAY_MS, 6 * DAY_MS)
    ('01:30', '01-06')
    """
    return clock(time_ms) if now_ms - time_ms < DAY_MS else f"{from_ms(time_ms):%m-%d}"


def day_clock(time_ms: int) -> str:
    """Day of the month, hours and minutes, UTC."""
    return f"{from_ms(time_ms):%d %H:%M}"
