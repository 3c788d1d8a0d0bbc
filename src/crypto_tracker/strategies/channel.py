"""CHANNEL: buy near the lower line of a price channel (docs/strategies/channel.md)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, model_validator

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.strategies import channel_fit, confidence, measures
from crypto_tracker.strategies.base import Detection, Explanation, Features, MarketView
from crypto_tracker.strategies.exits import Exits, by_tier, make_plan
from crypto_tracker.strategies.gates import (
    Gate,
    at_least,
    at_most,
    data_explanations,
    expect,
    first_failure,
    number,
    percent,
    price,
    share_of_height,
    where_scanned,
)

MIDDLE = 0.5  # of the channel: here readiness ends
DIRECTIONS = {
    channel_fit.HORIZONTAL: "horizontal",
    channel_fit.ASCENDING: "ascending",
    channel_fit.DESCENDING: "descending",
}


class ChannelConfidence(Frozen):
    """Weights of the grades, and where they are full. Strength is full at 1, the place on the lower line."""

    strength_weight: confidence.Weight
    width_weight: confidence.Weight
    width_strong: confidence.Multiple  # of width_round_trips
    touches_weight: confidence.Weight
    touches_strong: confidence.Multiple  # of touches
    place_weight: confidence.Weight

    @model_validator(mode="after")
    def _some_weight(self) -> "ChannelConfidence":
        confidence.some_weight(
            self.strength_weight, self.width_weight, self.touches_weight, self.place_weight
        )
        return self


class ChannelParameters(Frozen):
    """The numbers of CHANNEL."""

    touches: Annotated[int, Field(ge=1)]  # on each side
    strength: Annotated[float, Field(gt=0.0, lt=1.0)]
    width_round_trips: Annotated[float, Field(gt=0.0)]  # width as a multiple of the round-trip cost
    bottom_share: Annotated[float, Field(gt=0.0, lt=MIDDLE)]  # of the width: the buy zone
    target_inset: Annotated[float, Field(ge=0.0, lt=1.0)]  # of the width, from the upper line down
    size_quote: Annotated[float, Field(gt=0.0)]
    exits: Exits
    confidence: ChannelConfidence


class Channel:
    """Buys in the lowest part of a strong channel that is wide enough to pay for the trade.

    Gates in order: NO_CHANNEL, TOO_FEW_TOUCHES, CHANNEL_WEAK, CHANNEL_TOO_NARROW, NOT_IN_BUY_ZONE,
    TARGET_BELOW_COSTS.
    """

    name: ClassVar[str] = "CHANNEL"
    timeframe: ClassVar[Timeframe] = Timeframe.M15
    # The window, and what confirms the pivots at both of its ends.
    warmup: ClassVar[Mapping[Timeframe, int]] = {Timeframe.M15: channel_fit.WINDOW + 2 * channel_fit.SPAN}
    reference_warmup: ClassVar[Mapping[Timeframe, int]] = {}
    parameters_model: ClassVar[type[Frozen]] = ChannelParameters

    def features(self, market: MarketView) -> Features:
        """Fit the channel of every scan and measure where the close lies in it."""
        panel = measures.scanned_panel(market)
        bars = panel.carried()
        fit = channel_fit.fit_channel(bars.high, bars.low, bars.close)
        height = fit.upper - fit.lower
        history = measures.history(market, measures.warmup_on(self, market.timeframe))
        return Features(
            panel=panel,
            instruments=market.instruments,
            values={
                "history": history,
                "close": bars.close,
                "upper": fit.upper,
                "lower": fit.lower,
                "slope": fit.slope / bars.close,
                "direction": fit.direction,
                "strength": fit.strength,
                "touches_upper": fit.touches_upper,
                "touches_lower": fit.touches_lower,
                "width": height / bars.close,
                "place": (bars.close - fit.lower) / height,
            },
            ready=measures.ready(history, fit.touches_upper, bars.close),
        )

    def detect(self, features: Features, parameters: Frozen) -> Detection:
        """A setup at every scan that passes all gates."""
        numbers = expect(parameters, ChannelParameters, self.name)
        values = features.values
        target = _target(features, numbers)
        reason = first_failure(features, _gates(features, numbers))
        measured = {name: values[name] for name in values if name not in {"history", "close"}}
        return Detection(
            strategy=self.name,
            panel=features.panel,
            setup=reason == Reason.ACCEPTED,
            reason=reason,
            readiness=where_scanned(features, _readiness(values, numbers)),
            confidence=where_scanned(features, _confidence(features, numbers)),
            measurements=measured | {"target": target},
            plan=make_plan(
                features.instruments, numbers.exits, size_quote=numbers.size_quote, take_profit=target
            ),
        )

    def explain(
        self, detection: Detection, features: Features, parameters: Frozen, row: int, column: int
    ) -> list[Explanation]:
        """Every gate in order; it ends where nothing further can be asked (no bar, no channel)."""
        numbers = expect(parameters, ChannelParameters, self.name)
        told = data_explanations(detection, features, row, column)
        if not all(gate.passed for gate in told):
            return told
        passed = {reason: bool(gate[row, column]) for reason, gate in _gates(features, numbers)}
        at = {name: float(values[row, column]) for name, values in features.values.items()}
        if not passed[Reason.NO_CHANNEL]:
            none = (
                f"the last {channel_fit.WINDOW} bars draw no channel; one needs {channel_fit.MIN_PIVOTS} "
                "confirmed pivot highs and as many lows, the highs above the lows"
            )
            return [*told, _said(Reason.NO_CHANNEL, False, 0.0, 1.0, none)]
        cost = float(_round_trip(features.instruments)[0, column])
        width = numbers.width_round_trips * cost
        height = at["upper"] - at["lower"]
        zone = at["lower"] + numbers.bottom_share * height
        touches = min(at["touches_upper"], at["touches_lower"])
        target = float(_target(features, numbers)[row, column])
        lines = f"lower line {price(at['lower'])}, upper line {price(at['upper'])}"
        sentences = {
            Reason.NO_CHANNEL: (1.0, 1.0, f"the channel is {DIRECTIONS[at['direction']]}: {lines}"),
            Reason.TOO_FEW_TOUCHES: (
                touches,
                float(numbers.touches),
                (
                    f"the upper line is touched {at['touches_upper']:.0f} times and the lower line "
                    f"{at['touches_lower']:.0f} times; a setup needs {numbers.touches} on each side"
                ),
            ),
            Reason.CHANNEL_WEAK: (
                at["strength"],
                numbers.strength,
                (
                    f"the strength is {number(at['strength'], 2, beside=numbers.strength)}; a setup needs "
                    f"{numbers.strength:g}"
                ),
            ),
            Reason.CHANNEL_TOO_NARROW: (
                at["width"],
                width,
                (
                    f"the channel is {percent(at['width'], beside=width)} wide; a setup needs "
                    f"{percent(width)}, {numbers.width_round_trips:g} x the round-trip cost of "
                    f"{percent(cost)}"
                ),
            ),
            Reason.NOT_IN_BUY_ZONE: (
                at["place"],
                numbers.bottom_share,
                (
                    f"the close {price(at['close'])} lies {_place(at['place'], numbers.bottom_share)}; a "
                    f"setup needs 0 to {percent(numbers.bottom_share)}, a close from {price(at['lower'])} to "
                    f"{price(zone)}"
                ),
            ),
            Reason.TARGET_BELOW_COSTS: (
                target,
                cost,
                (
                    f"the target is {percent(target, beside=cost)} above the close; a setup needs the "
                    f"round-trip cost of {percent(cost)}"
                ),
            ),
        }
        return told + [_said(reason, passed[reason], *sentences[reason]) for reason in passed]


def _place(place: float, bottom_share: float) -> str:
    share = share_of_height(place, beside=bottom_share)
    if place < 0.0:
        return f"{share} of the height below the lower line: the channel is broken"
    return f"at {share} of the height"


def _said(reason: Reason, passed: bool, measured: float, required: float, sentence: str) -> Explanation:
    return Explanation(
        gate=reason.code, passed=passed, measured=measured, required=required, sentence=sentence
    )


def _round_trip(instruments: Instruments) -> FloatArray:
    return instruments.round_trip_cost[np.newaxis, :]


def _target(features: Features, numbers: ChannelParameters) -> FloatArray:
    """The table's target, or the way to just below the upper line where that is shorter; (bars, symbols)."""
    values = features.values
    goal = values["upper"] - numbers.target_inset * (values["upper"] - values["lower"])
    table = by_tier(numbers.exits.take_profit, features.instruments)
    return np.asfortranarray(np.minimum(table, goal / values["close"] - 1.0))


def _gates(features: Features, numbers: ChannelParameters) -> list[Gate]:
    """The rule of CHANNEL, in the order in which it is tested."""
    values = features.values
    cost = _round_trip(features.instruments)
    touches = np.minimum(values["touches_upper"], values["touches_lower"])
    in_zone = at_least(values["place"], 0.0) & at_most(values["place"], numbers.bottom_share)
    return [
        (Reason.NO_CHANNEL, np.isfinite(values["strength"])),
        (Reason.TOO_FEW_TOUCHES, np.asarray(touches >= numbers.touches)),
        (Reason.CHANNEL_WEAK, at_least(values["strength"], numbers.strength)),
        (Reason.CHANNEL_TOO_NARROW, at_least(values["width"], numbers.width_round_trips * cost)),
        (Reason.NOT_IN_BUY_ZONE, in_zone),
        (Reason.TARGET_BELOW_COSTS, at_least(_target(features, numbers), cost)),
    ]


def _readiness(values: Mapping[str, FloatArray], numbers: ChannelParameters) -> FloatArray:
    """100 in the buy zone, falling to 0 at the middle, times strength; 0 below the channel or without."""
    place = values["place"]
    nearness = np.clip((MIDDLE - place) / (MIDDLE - numbers.bottom_share), 0.0, 1.0)
    inside = at_least(place, 0.0) & np.isfinite(values["strength"])
    return np.where(inside, 100.0 * nearness * values["strength"], 0.0)


def _confidence(features: Features, numbers: ChannelParameters) -> FloatArray:
    """Grades of strength, width, touches and place; 0 where there is no channel."""
    values = features.values
    scale = numbers.confidence
    width = numbers.width_round_trips * _round_trip(features.instruments)
    touches = np.minimum(values["touches_upper"], values["touches_lower"])
    mean = confidence.weighted_mean(
        [
            (
                confidence.graded(values["strength"], threshold=numbers.strength, strong=1.0),
                scale.strength_weight,
            ),
            (
                confidence.graded(values["width"], threshold=width, strong=width * scale.width_strong),
                scale.width_weight,
            ),
            (
                confidence.graded(
                    touches, threshold=numbers.touches, strong=numbers.touches * scale.touches_strong
                ),
                scale.touches_weight,
            ),
            (
                confidence.graded(
                    MIDDLE - values["place"], threshold=MIDDLE - numbers.bottom_share, strong=MIDDLE
                ),
                scale.place_weight,
            ),
        ]
    )
    return np.where(np.isfinite(values["strength"]), mean, 0.0)
