"""What a scan draws on a chart, and what would make it a setup: prices behind the measurements of a strategy.

The built-in strategies are told here. A plug-in may have two methods of its own, `levels` and `trigger`, with
the arguments of the functions below less the strategy; of one without them nothing is drawn or foretold.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.decisions import SlowRegime
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.model import Frozen
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.strategies.channel import Channel, ChannelParameters
from crypto_tracker.strategies.channel_fit import MIN_PIVOTS, WINDOW
from crypto_tracker.strategies.dca import Dca, DcaParameters
from crypto_tracker.strategies.exits import by_tier
from crypto_tracker.strategies.gates import at_least, expect, percent, price
from crypto_tracker.strategies.swing import Swing, SwingParameters


class LevelKind(StrEnum):
    """What a level is to the strategy."""

    TRIGGER = "trigger"  # the close that the rule waits for
    RESISTANCE = "resistance"
    SUPPORT = "support"
    CHANNEL_UPPER = "channel_upper"
    CHANNEL_LOWER = "channel_lower"
    TARGET = "target"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Level:
    """One line: prices (scans,), NaN where a scan has none.

    A line that scans draw straight has `slope`, quote currency per bar of the strategy (scans,), and `reach`,
    how many bars it was fitted to. A line without a slope stands where it is until the next scan, and so does
    the price of a scan whose slope is NaN.
    """

    name: str
    kind: LevelKind
    price: FloatArray
    slope: FloatArray | None = None
    reach: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What would make the next scan a setup; `price` is the close that it needs, NaN where none is known."""

    sentence: str
    price: float


@runtime_checkable
class DrawsLevels(Protocol):
    """A strategy that says itself what is drawn."""

    def levels(
        self, parameters: Frozen, instrument: Instruments, measured: Mapping[str, FloatArray]
    ) -> Sequence[Level]:
        """The lines of some scans of one symbol."""
        ...


@runtime_checkable
class NamesTrigger(Protocol):
    """A strategy that says itself what would make a setup."""

    def trigger(
        self, parameters: Frozen, instrument: Instruments, measured: Mapping[str, float]
    ) -> Trigger | None:
        """What the next scan of one symbol needs, None where nothing can be said."""
        ...


def levels(
    strategy: Strategy, parameters: Frozen, instrument: Instruments, measured: Mapping[str, FloatArray]
) -> Sequence[Level]:
    """The lines of some scans of one symbol, from what the strategy measured.

    `instrument` are the facts of that symbol alone; the arrays of `measured` are (scans,), NaN where a scan
    was not ready. Empty for a plug-in that draws nothing.
    """
    _one(instrument)
    if isinstance(strategy, DrawsLevels):
        return strategy.levels(parameters, instrument, measured)
    draw = _LEVELS.get(type(strategy))
    return () if draw is None else draw(parameters, instrument, measured)


def trigger(
    strategy: Strategy, parameters: Frozen, instrument: Instruments, measured: Mapping[str, float]
) -> Trigger | None:
    """What would make the next scan of one symbol a setup, from what the last one measured.

    What is met already and may well be met again is not repeated. None where nothing was measured, and for a
    plug-in that does not tell.
    """
    _one(instrument)
    if isinstance(strategy, NamesTrigger):
        return strategy.trigger(parameters, instrument, measured)
    name = _TRIGGERS.get(type(strategy))
    return None if name is None else name(parameters, instrument, measured)


def _one(instrument: Instruments) -> None:
    if len(instrument.symbols) != 1:
        raise DataError(
            f"levels are those of one symbol, but {len(instrument.symbols)} were given: select one of them"
        )


# --- DCA ---------------------------------------------------------------------------------------


def _dca_levels(
    parameters: Frozen, instrument: Instruments, measured: Mapping[str, FloatArray]
) -> list[Level]:
    numbers = expect(parameters, DcaParameters, Dca.name)
    drop = float(by_tier(numbers.drop, instrument)[0, 0])
    high = measured["high_4h"]
    return [
        Level(name=f"{Dca.high_hours} h high", kind=LevelKind.OTHER, price=high),
        Level(name="buy below", kind=LevelKind.TRIGGER, price=high * (1.0 - drop)),
    ]


def _dca_trigger(
    parameters: Frozen, instrument: Instruments, measured: Mapping[str, float]
) -> Trigger | None:
    numbers = expect(parameters, DcaParameters, Dca.name)
    close = measured["high_4h"] * (1.0 - float(by_tier(numbers.drop, instrument)[0, 0]))
    if np.isnan(close):
        return None
    needed = f"a close at or below {price(close)} with a volume of {numbers.volume_factor:g} x its mean"
    if measured["slow_regime"] == SlowRegime.CRASH:
        needed += ", once the slow regime is no longer CRASH"
    return Trigger(sentence=needed, price=close)


# --- SWING -------------------------------------------------------------------------------------


def _swing_levels(
    parameters: Frozen, _instrument: Instruments, measured: Mapping[str, FloatArray]
) -> list[Level]:
    numbers = expect(parameters, SwingParameters, Swing.name)
    resistance = measured["resistance"]
    return [
        Level(name="resistance", kind=LevelKind.RESISTANCE, price=resistance),
        Level(name="breakout", kind=LevelKind.TRIGGER, price=resistance * numbers.breakout),
    ]


def _swing_trigger(
    parameters: Frozen, _instrument: Instruments, measured: Mapping[str, float]
) -> Trigger | None:
    numbers = expect(parameters, SwingParameters, Swing.name)
    close = measured["resistance"] * numbers.breakout
    if np.isnan(close):
        return None
    needed = [
        f"a close at or above {price(close)}",
        f"a volume of {numbers.volume_factor:g} x its mean",
    ]
    if not measured["rsi"] > numbers.rsi_required:
        needed.append(f"an RSI above {numbers.rsi_required:g}")
    if not measured["ema_20_4h"] > measured["ema_50_4h"]:
        needed.append(f"the EMA20 above the EMA50 on {Swing.trend_timeframe}")
    return Trigger(sentence=_listed(needed), price=close)


# --- CHANNEL -----------------------------------------------------------------------------------

_KEPT_SAME = 1e-6  # so far, as a share of it, a price that is made of kept measurements may be off


def _channel_levels(
    parameters: Frozen, _instrument: Instruments, measured: Mapping[str, FloatArray]
) -> list[Level]:
    numbers = expect(parameters, ChannelParameters, Channel.name)
    upper, lower = measured["upper"], measured["lower"]
    height = upper - lower
    close = lower + measured["place"] * height
    goal = upper - numbers.target_inset * height
    target = close * (1.0 + measured["target"])
    slope = measured["slope"] * close  # both lines are parallel, and so is what lies at a share between them

    # The table's target counts from the close, and moves with it.
    of_channel = np.isclose(target, goal, rtol=_KEPT_SAME, atol=0.0)

    def straight(name: str, kind: LevelKind, price: FloatArray, slope: FloatArray = slope) -> Level:
        return Level(name=name, kind=kind, price=price, slope=slope, reach=WINDOW)

    return [
        straight("channel upper", LevelKind.CHANNEL_UPPER, upper),
        straight(
            "target",
            LevelKind.TARGET,
            np.where(of_channel, goal, target),
            np.where(of_channel, slope, np.nan),
        ),
        straight("buy zone", LevelKind.TRIGGER, lower + numbers.bottom_share * height),
        straight("channel lower", LevelKind.CHANNEL_LOWER, lower),
    ]


def _channel_trigger(
    parameters: Frozen, instrument: Instruments, measured: Mapping[str, float]
) -> Trigger | None:
    numbers = expect(parameters, ChannelParameters, Channel.name)
    upper, lower = measured["upper"], measured["lower"]
    if np.isnan(measured["touches_upper"]):  # the scan was not ready
        return None
    if np.isnan(measured["strength"]):
        return Trigger(
            sentence=f"a channel: {MIN_PIVOTS} confirmed pivot highs and as many lows in {WINDOW} bars",
            price=np.nan,
        )
    zone = lower + numbers.bottom_share * (upper - lower)
    cost = float(instrument.round_trip_cost[0])
    width = numbers.width_round_trips * cost
    lacking = []
    if min(measured["touches_upper"], measured["touches_lower"]) < numbers.touches:
        lacking.append(f"touched {numbers.touches} times on each side")
    if not _met(measured["strength"], numbers.strength):
        lacking.append(f"of strength {numbers.strength:g}")
    if not _met(measured["width"], width):
        lacking.append(f"{percent(width)} wide")
    if not lacking and not _met(measured["target"], cost) and _met(numbers.bottom_share, measured["place"]):
        lacking.append(f"with a target {percent(cost)} above the close")
    needed = f"a close from {price(lower)} to {price(zone)}"
    if lacking:
        needed += f", in a channel {_listed(lacking)}"
    return Trigger(sentence=needed, price=zone)


def _met(measured: float, required: float) -> bool:
    return bool(at_least(np.asarray(measured), required))


def _listed(parts: Sequence[str]) -> str:
    """Some things in a row.

    >>> _listed(["a"]), _listed(["a", "b"]), _listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


_LEVELS: Mapping[type, Callable[[Frozen, Instruments, Mapping[str, FloatArray]], Sequence[Level]]] = {
    Dca: _dca_levels,
    Swing: _swing_levels,
    Channel: _channel_levels,
}

_TRIGGERS: Mapping[type, Callable[[Frozen, Instruments, Mapping[str, float]], Trigger | None]] = {
    Dca: _dca_trigger,
    Swing: _swing_trigger,
    Channel: _channel_trigger,
}
