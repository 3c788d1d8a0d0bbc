"""DCA: buy a deep fall in steps (docs/strategies/dca.md)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, model_validator

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.decisions import Reason, SlowRegime
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.tiers import ByTier
from crypto_tracker.core.timeframes import HOUR_MS, Timeframe
from crypto_tracker.features.align import align_codes
from crypto_tracker.strategies import confidence, measures
from crypto_tracker.strategies.base import Detection, Explanation, Features, MarketView
from crypto_tracker.strategies.exits import Exits, by_tier, make_plan
from crypto_tracker.strategies.gates import (
    Gate,
    at_least,
    data_explanations,
    expect,
    first_failure,
    percent,
    price,
    volume_explanation,
    where_scanned,
)

Positive = Annotated[float, Field(gt=0.0)]


class DcaConfidence(Frozen):
    """Weights of the grades, and the multiples of their thresholds at which they are full."""

    drop_weight: confidence.Weight
    drop_strong: confidence.Multiple
    volume_weight: confidence.Weight
    volume_strong: confidence.Multiple

    @model_validator(mode="after")
    def _some_weight(self) -> "DcaConfidence":
        confidence.some_weight(self.drop_weight, self.volume_weight)
        return self


class DcaParameters(Frozen):
    """The numbers of DCA."""

    drop: ByTier  # fraction below the highest high of the last hours
    volume_factor: Positive  # times the 20-bar mean
    levels: Annotated[int, Field(ge=1, le=20)]  # as many as a slot of the simulator holds
    size_quote: Positive  # of each level
    spacing: Annotated[float, Field(gt=0.0, lt=1.0)]  # of the rungs, below the first fill
    exits: Exits
    confidence: DcaConfidence

    @model_validator(mode="after")
    def _numbers_make_sense(self) -> "DcaParameters":
        if np.any(self.drop.array() <= 0.0) or np.any(self.drop.array() >= 1.0):
            raise ValueError("drop must be above 0 and below 1 for every tier")
        if self.spacing * (self.levels - 1) >= 1.0:
            raise ValueError(f"{self.levels} levels {self.spacing:g} apart reach below a price of 0")
        return self


class Dca:
    """Buys when the close lies far below the high of the last hours, with volume, unless the market crashes.

    Gates in order: DROP_TOO_SMALL, VOLUME_LOW, REGIME_CRASH.
    """

    name: ClassVar[str] = "DCA"
    timeframe: ClassVar[Timeframe] = Timeframe.M5
    warmup: ClassVar[Mapping[Timeframe, int]] = {Timeframe.M5: 48}
    reference_warmup: ClassVar[Mapping[Timeframe, int]] = {Timeframe.D1: 1}
    parameters_model: ClassVar[type[Frozen]] = DcaParameters

    high_hours: ClassVar[int] = 4
    volume_window: ClassVar[int] = 20

    def features(self, market: MarketView) -> Features:
        """Measure the drop from the high, the volume, and the slow regime of each scan."""
        panel = measures.scanned_panel(market)
        bars = panel.carried()
        rows = max(1, self.high_hours * HOUR_MS // market.timeframe.ms)
        high = measures.highest_within(bars.high, rows=rows)
        drop = 1.0 - bars.close / high
        volume_ratio = measures.volume_ratio(bars.volume, window=self.volume_window)
        history = measures.history(market, measures.warmup_on(self, market.timeframe))
        return Features(
            panel=panel,
            instruments=market.instruments,
            values={
                "history": history,
                "close": bars.close,
                "high_4h": high,
                "drop": drop,
                "volume_ratio": volume_ratio,
                "slow_regime": _slow_regime(market),
            },
            ready=measures.ready(history, drop, volume_ratio),
        )

    def detect(self, features: Features, parameters: Frozen) -> Detection:
        """A setup at every scan that passes all gates."""
        numbers = expect(parameters, DcaParameters, self.name)
        values = features.values
        threshold = by_tier(numbers.drop, features.instruments)
        reason = first_failure(features, _gates(features, numbers))
        return Detection(
            strategy=self.name,
            panel=features.panel,
            setup=reason == Reason.ACCEPTED,
            reason=reason,
            readiness=where_scanned(features, 100.0 * np.clip(values["drop"] / threshold, 0.0, 1.0)),
            confidence=where_scanned(features, _confidence(values, threshold, numbers)),
            measurements={name: values[name] for name in ("high_4h", "drop", "volume_ratio", "slow_regime")},
            plan=make_plan(
                features.instruments,
                numbers.exits,
                size_quote=numbers.size_quote,
                levels=numbers.levels,
                spacing=numbers.spacing,
            ),
        )

    def explain(
        self, detection: Detection, features: Features, parameters: Frozen, row: int, column: int
    ) -> list[Explanation]:
        """Every gate in order; nothing but the data gates where the scan was not ready."""
        numbers = expect(parameters, DcaParameters, self.name)
        told = data_explanations(detection, features, row, column)
        if not all(gate.passed for gate in told):
            return told
        passed = {reason: bool(gate[row, column]) for reason, gate in _gates(features, numbers)}
        at = {name: float(values[row, column]) for name, values in features.values.items()}
        threshold = float(by_tier(numbers.drop, features.instruments)[0, column])
        trigger = at["high_4h"] * (1.0 - threshold)
        regime = SlowRegime(int(at["slow_regime"]))
        market = f"the slow regime is {regime.name}"
        if regime is SlowRegime.UNKNOWN:
            market += " (too few daily bars of the reference coin), treated as NEUTRAL"
        return [
            *told,
            Explanation(
                gate=Reason.DROP_TOO_SMALL.code,
                passed=passed[Reason.DROP_TOO_SMALL],
                measured=at["drop"],
                required=threshold,
                sentence=f"the close {price(at['close'])} is {percent(at['drop'], beside=threshold)} below "
                f"the {self.high_hours} h high {price(at['high_4h'])}; a setup needs {percent(threshold)}, "
                f"i.e. a close at or below {price(trigger)}",
            ),
            volume_explanation(
                at["volume_ratio"],
                numbers.volume_factor,
                window=self.volume_window,
                passed=passed[Reason.VOLUME_LOW],
            ),
            Explanation(
                gate=Reason.REGIME_CRASH.code,
                passed=passed[Reason.REGIME_CRASH],
                measured=at["slow_regime"],
                required=float(SlowRegime.CRASH),
                sentence=f"{market}; a setup needs any but CRASH",
            ),
        ]


def _gates(features: Features, numbers: DcaParameters) -> list[Gate]:
    """The rule of DCA, in the order in which it is tested."""
    values = features.values
    threshold = by_tier(numbers.drop, features.instruments)
    return [
        (Reason.DROP_TOO_SMALL, at_least(values["drop"], threshold)),
        (Reason.VOLUME_LOW, at_least(values["volume_ratio"], numbers.volume_factor)),
        (Reason.REGIME_CRASH, np.asarray(values["slow_regime"] != SlowRegime.CRASH)),
    ]


def _slow_regime(market: MarketView) -> FloatArray:
    """The code of the slow regime at each scan, as float, the same for all symbols."""
    panel = measures.scanned_panel(market)
    if market.slow_regime is None:
        codes = np.full(len(panel), SlowRegime.UNKNOWN, dtype=np.int8)
    else:
        days = market.reference[Timeframe.D1]
        codes = align_codes(
            market.slow_regime, days.close_time_ms, panel.close_time_ms, unknown=SlowRegime.UNKNOWN
        )
    return np.repeat(codes.astype(np.float64)[:, np.newaxis], len(panel.symbols), axis=1)


def _confidence(
    values: Mapping[str, FloatArray], threshold: FloatArray, numbers: DcaParameters
) -> FloatArray:
    scale = numbers.confidence
    drop = confidence.graded(values["drop"], threshold=threshold, strong=threshold * scale.drop_strong)
    volume = confidence.graded(
        values["volume_ratio"],
        threshold=numbers.volume_factor,
        strong=numbers.volume_factor * scale.volume_strong,
    )
    return confidence.weighted_mean([(drop, scale.drop_weight), (volume, scale.volume_weight)])
