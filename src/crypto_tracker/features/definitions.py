"""What a feature is: a name, a formula, its parameters, what it reads, and how much history it needs."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from crypto_tracker.features.blocks import anchor_ms


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureBars:
    """The closed bars of one anchored block, as a feature sees them (last close carried through `no_trade`).

    Attributes
    ----------
    panel : bars of the strategy's timeframe
    minutes : bars that returns are taken on: 1m, or `panel` itself where the market holds no 1m bars
    reference_close : closes of the reference coin on the rows of `panel`, (bars, 1), NaN where it has no bar
    """

    panel: Panel
    minutes: Panel
    reference_close: FloatArray

    def bars_in(self, hours: int) -> int:
        """How many bars of the strategy's timeframe `hours` hold."""
        return bars_in(self.panel.timeframe, hours)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDefinition:
    """One feature.

    Attributes
    ----------
    measure : the formula: the bars of a block and the parameters in, (bars, symbols) out
    parameters : the numbers of the formula (bars, minutes, hours, factors)
    inputs : what it reads: `close` is the strategy's timeframe, `close@1m` the 1m bars
    warmup_bars : bars of the strategy's timeframe that must exist before a value is the feature's value
    warmup_hours : the same for windows that are a length of time; the larger of both counts
    warmup_minutes : 1m bars that must exist
    revision : raised by one when the formula changes under the same name and parameters
    """

    name: str
    measure: Callable[[FeatureBars, Mapping[str, int]], FloatArray]
    parameters: Mapping[str, int]
    inputs: tuple[str, ...]
    warmup_bars: int = 0
    warmup_hours: int = 0
    warmup_minutes: int = 0
    revision: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))

    @property
    def reads_reference(self) -> bool:
        """Whether the formula reads the reference coin."""
        return "reference.close" in self.inputs

    def warmup(self, timeframe: Timeframe) -> dict[Timeframe, int]:
        """Bars that must exist before a value is ready, for each timeframe read."""
        # One bar more than the window: a return needs the close before its first bar.
        timed = bars_in(timeframe, self.warmup_hours) + 1 if self.warmup_hours else 0
        # Where the market has no 1m bars, returns are taken on the strategy's own bars.
        coarse = -(-self.warmup_minutes * MINUTE_MS // timeframe.ms)
        own = {timeframe: max(self.warmup_bars, timed, coarse)}
        return own if not self.warmup_minutes else {Timeframe.M1: self.warmup_minutes} | own

    def value(self, bars: FeatureBars) -> FloatArray:
        """The feature over the bars of one block, (bars, symbols)."""
        return self.measure(bars, self.parameters)


@dataclass(frozen=True)
class FeatureSet:
    """Features that are computed together, from one anchor, under one version."""

    definitions: tuple[FeatureDefinition, ...]

    def __post_init__(self) -> None:
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(f"a feature set holds each name once, but {', '.join(twice)} stands in it twice")

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of the set."""
        return tuple(definition.name for definition in self.definitions)

    @cached_property
    def version(self) -> str:
        """Hash of names, parameters, inputs and warm-ups: 16 hexadecimal digits.

        Two sets of one version give the same bits; a model refuses features of another version.
        """
        content = [
            [
                definition.name,
                definition.revision,
                sorted(definition.parameters.items()),
                list(definition.inputs),
                [definition.warmup_bars, definition.warmup_hours, definition.warmup_minutes],
            ]
            for definition in self.definitions
        ]
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]

    def warmup(self, timeframe: Timeframe) -> dict[Timeframe, int]:
        """Bars before the month from which every member is computed, for each timeframe: the largest needed.

        All members share the anchor, so that one of them has the same bits whichever others are asked for.
        """
        out: dict[Timeframe, int] = {timeframe: 0}
        for definition in self.definitions:
            for read, bars in definition.warmup(timeframe).items():
                out[read] = max(out.get(read, 0), bars)
        return out

    def reference_warmup(self, timeframe: Timeframe) -> dict[Timeframe, int]:
        """The same for the reference coin; empty when no member reads it."""
        if not any(definition.reads_reference for definition in self.definitions):
            return {}
        return {timeframe: self.warmup(timeframe)[timeframe]}

    def history_start_ms(self, timeframe: Timeframe, start_ms: int) -> dict[Timeframe, int]:
        """The open time from which bars of each timeframe are read for a span that begins at `start_ms`."""
        return {
            read: anchor_ms(read, bars, timeframe.floor(start_ms))
            for read, bars in self.warmup(timeframe).items()
        }


def bars_in(timeframe: Timeframe, hours: int) -> int:
    """How many bars of `timeframe` lie in `hours`; raises UsageError where fewer than two do."""
    bars = hours * HOUR_MS // timeframe.ms
    if bars < 2 and hours:
        raise UsageError(f"{hours} hours hold {bars} bars of {timeframe}: features need a shorter timeframe")
    return bars


def bars_per_day(timeframe: Timeframe) -> int:
    """How many bars of `timeframe` make one day."""
    return DAY_MS // timeframe.ms
