"""Curves, bars and gauges drawn with block characters."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from rich.text import Text

from crypto_tracker.app.screen.text import DOWN, MUTED, UP, fitted
from crypto_tracker.core.arrays import FloatArray

RISING_BLOCKS = " ▁▂▃▄▅▆▇█"
BASELINE = "┈"

READY, CLOSE, NEUTRAL = 80.0, 60.0, 30.0  # readiness from which a symbol counts as that


@dataclass(frozen=True, slots=True)
class Scale:
    """How a curve lies on the lines of a chart: `above` lines over the base, `below` lines under it."""

    above: int
    below: int
    step: float  # of the value, for each line
    base: float

    @property
    def highest(self) -> float:
        """The level at the top of the chart."""
        return self.base + self.above * self.step

    @property
    def lowest(self) -> float:
        """The level at the bottom of the chart."""
        return self.base - self.below * self.step


def scale_of(values: FloatArray, *, height: int, base: float) -> Scale:
    """The finest scale on which `values` fit into `height` lines, with the base between two lines."""
    known = values[~np.isnan(values)]
    # A flat line shall not look like a drama: the chart spans at least a tenth of a per cent of the base.
    up = max(float(known.max()) - base if len(known) else 0.0, 5e-4 * abs(base))
    down = max(base - float(known.min()) if len(known) else 0.0, 0.0)
    fits = [
        Scale(above, height - above, max(up / above, down / (height - above) if down else 0.0), base)
        for above in range(1, height + 1)
        if above < height or down == 0.0
    ]
    return min(fits, key=lambda scale: scale.step) if fits else Scale(height, 0, (up + down) / height, base)


def area_chart(values: FloatArray, *, width: int, height: int, base: float) -> list[Text]:
    """The area between a curve and its base: `height` lines of `width` characters, the top first.

    `values` are evenly spaced over the width; NaN leaves the column empty. What is above the base is green
    and grows upwards, what is below is red and grows downwards; where nothing is yet the base is dotted.
    """
    columns = _last_in_each(values, width)
    scale = scale_of(values, height=height, base=base)
    lines = []
    for row in range(height):
        cells = []
        for value in columns:
            lines_away = (value - base) / scale.step
            if np.isnan(value):
                cells.append((BASELINE if row == scale.above - 1 else " ", MUTED))
            elif row < scale.above:
                eighths = int(np.clip(np.rint(8.0 * (lines_away - (scale.above - 1 - row))), 0, 8))
                flat = row == scale.above - 1 and lines_away >= 0.0
                cells.append((RISING_BLOCKS[max(eighths, 1) if flat else eighths], UP))
            else:
                depth = float(np.clip(-lines_away - (row - scale.above), 0.0, 1.0))
                cells.append((_hanging(depth), DOWN))
        lines.append(_styled(cells))
    return lines


def _styled(cells: Iterable[tuple[str, str]]) -> Text:
    """Characters with their styles as text; neighbours of one style are sent to the terminal together."""
    text = Text(no_wrap=True, overflow="crop")
    for style, run in groupby(cells, key=lambda cell: cell[1]):
        text.append("".join(character for character, _ in run), style=style)
    return text


def _hanging(depth: float) -> str:
    """A block that hangs from the top of its line; common fonts have only these three."""
    for least, block in ((0.75, "█"), (0.3, "▀"), (0.06, "▔")):
        if depth >= least:
            return block
    return " "


def level_bar(fraction: float, *, width: int, style: str) -> Text:
    """A horizontal bar on a dim track, in steps of half a character."""
    halves = int(np.clip(np.rint(fraction * width * 2), 0, width * 2))
    whole, half = divmod(halves, 2)
    text = Text(no_wrap=True)
    text.append("━" * whole + "╸" * half, style=style)
    text.append("─" * (width - whole - half), style=MUTED)
    return text


def progress_bar(fraction: float, *, width: int, style: str) -> Text:
    """A thin line that fills up."""
    done = int(np.clip(np.floor(fraction * width), 0, width))
    text = Text(no_wrap=True)
    text.append("━" * done, style=style)
    text.append("─" * (width - done), style=MUTED)
    return text


def stop_to_target(*, stop: float, entry: float, price: float, target: float, width: int) -> Text:
    """Where the price stands between stop (left) and target (right); the entry is a tick."""

    def place(level: float) -> int:
        return int(np.clip(np.rint((level - stop) / (target - stop) * (width - 1)), 0, width - 1))

    text = Text("─" * width, style=MUTED, no_wrap=True)
    if not (target > stop):
        return text
    here, began = place(price), place(entry)
    style = UP if price >= entry else DOWN
    characters = list("─" * width)
    styles = [MUTED] * width
    for at in range(min(here, began), max(here, began) + 1):
        characters[at], styles[at] = "━", style
    characters[began] = "┿" if began != here else "●"
    characters[here], styles[here] = "●", f"bold {style}"
    return _styled(zip(characters, styles, strict=True))


def readiness_style(readiness: float) -> tuple[str, str]:
    """The word and the colour of a readiness.

    >>> [readiness_style(value)[0] for value in (80.0, 79.9, 30.0, 12.0)]
    ['READY', 'CLOSE', 'NEUTRAL', 'WAITING']
    """
    if readiness >= READY:
        return "READY", "green"
    if readiness >= CLOSE:
        return "CLOSE", "yellow"
    if readiness >= NEUTRAL:
        return "NEUTRAL", "blue"
    return "WAITING", MUTED


def title(text: str, *, width: int, style: str = "bold cyan", note: str = "") -> Text:
    """A section's title on a thin line, with a note at its right end."""
    out = Text(no_wrap=True, overflow="crop")
    note = fitted(note, max(width - len(text) - 4, 0))
    out.append(text, style=style)
    out.append(" " + "─" * max(width - len(text) - len(note) - (2 if note else 1), 0), style=MUTED)
    if note:
        out.append(" " + note, style=MUTED)
    return out


def _last_in_each(values: FloatArray, width: int) -> FloatArray:
    """The last value of each of `width` equal parts; NaN for parts that have none yet."""
    ends = np.clip(
        np.rint((np.arange(width) + 1) * len(values) / width).astype(np.int64) - 1, 0, len(values) - 1
    )
    picked = values[ends].astype(np.float64)
    known = np.flatnonzero(~np.isnan(values))
    if len(known):  # the part that is being filled shows what it has
        current = int(np.searchsorted(ends, known[-1]))
        if current < width and np.isnan(picked[current]):
            picked[current] = values[known[-1]]
    return picked
