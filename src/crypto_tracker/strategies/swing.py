"""SWING: buy a breakout above resistance in a rising trend (docs/strategies/swing.md)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, model_validator

from crypto_tracker.core.arrays import BoolArray, FloatArray
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.features import indicators
from crypto_tracker.features.align import align
from crypto_tracker.strategies import confidence, measures, patterns
from crypto_tracker.strategies.base import Detection, Explanation, Features, MarketView
from crypto_tracker.strategies.exits import Exits, make_plan
from crypto_tracker.strategies.gates import (
    Gate,
    at_least,
    data_explanations,
    expect,
    first_failure,
    number,
    percent,
    price,
    volume_explanation,
    where_scanned,
)

Positive = Annotated[float, Field(gt=0.0)]
RSI_MAX = 100.0
PATTERNS = ("bull_flag", "cup_and_handle", "ascending_triangle")


class SwingReadiness(Frozen):
    """How near a scan is to a setup: weights, and the distance below the trigger at which nearness is 0."""

    breakout_weight: confidence.Weight
    volume_weight: confidence.Weight
    breakout_range: Annotated[float, Field(gt=0.0, lt=1.0)]

    @model_validator(mode="after")
    def _weights_make_a_whole(self) -> "SwingReadiness":
        if abs(self.breakout_weight + self.volume_weight - 1.0) > 1e-9:
            raise ValueError("breakout_weight and volume_weight must add up to 1")
        return self


class SwingConfidence(Frozen):
    """Weights of the grades, where they are full, and the bonus of each further sign."""

    breakout_weight: confidence.Weight
    breakout_strong: confidence.Multiple  # of the breakout's distance above resistance
    volume_weight: confidence.Weight
    volume_strong: confidence.Multiple  # of volume_factor
    rsi_weight: confidence.Weight
    rsi_strong: Annotated[float, Field(gt=0.0, le=RSI_MAX)]  # RSI
    macd_bonus: confidence.Bonus
    pattern_bonus: confidence.Bonus  # for each pattern in view

    @model_validator(mode="after")
    def _some_weight(self) -> "SwingConfidence":
        confidence.some_weight(self.breakout_weight, self.volume_weight, self.rsi_weight)
        return self


class SwingParameters(Frozen):
    """The numbers of SWING."""

    breakout: Annotated[float, Field(gt=1.0)]  # times resistance
    volume_factor: Positive  # times the 20-bar mean
    strict: bool  # asks for rsi_min_strict
    rsi_min: Annotated[float, Field(gt=0.0, lt=RSI_MAX)]  # the RSI must be above it
    rsi_min_strict: Annotated[float, Field(gt=0.0, lt=RSI_MAX)]
    size_quote: Positive
    max_entry_gap: Annotated[float, Field(ge=0.0)]  # of the next open above the decision close
    readiness: SwingReadiness
    exits: Exits
    confidence: SwingConfidence

    @model_validator(mode="after")
    def _rsi_is_in_order(self) -> "SwingParameters":
        if not self.rsi_min <= self.rsi_min_strict < self.confidence.rsi_strong:
            raise ValueError("expected rsi_min <= rsi_min_strict < confidence.rsi_strong")
        return self

    @property
    def rsi_required(self) -> float:
        """The level that the RSI must exceed in the mode chosen."""
        return self.rsi_min_strict if self.strict else self.rsi_min


class Swing:
    """Buys a close above the highest high of the bars before, with volume, strength and trend.

    Gates in order: BREAKOUT_TOO_SMALL, VOLUME_LOW, RSI_LOW, TREND_DOWN.
    """

    name: ClassVar[str] = "SWING"
    timeframe: ClassVar[Timeframe] = Timeframe.M15
    # 250 bars forget where Wilder's mean and the MACD began; after 300 the weight of where EMA50 began is
    # 5e-5.
    warmup: ClassVar[Mapping[Timeframe, int]] = {Timeframe.M15: 250, Timeframe.H4: 300}
    reference_warmup: ClassVar[Mapping[Timeframe, int]] = {}
    parameters_model: ClassVar[type[Frozen]] = SwingParameters

    resistance_window: ClassVar[int] = 20
    volume_window: ClassVar[int] = 20
    rsi_window: ClassVar[int] = 14
    macd_windows: ClassVar[tuple[int, int, int]] = (12, 26, 9)  # fast, slow, signal
    trend_timeframe: ClassVar[Timeframe] = Timeframe.H4
    trend_windows: ClassVar[tuple[int, int]] = (20, 50)  # fast, slow

    def features(self, market: MarketView) -> Features:
        """Measure breakout, volume, RSI, MACD, patterns, and the 4 h trend joined on close time."""
        panel = measures.scanned_panel(market)
        bars = panel.carried()
        resistance = indicators.resistance(bars.high, window=self.resistance_window)
        fast, slow, signal = self.macd_windows
        trend_fast, trend_slow = self._trend(market)
        found = patterns.find_patterns(bars.high, bars.low, bars.close, bars.volume)
        history = measures.history(market, measures.warmup_on(self, market.timeframe))
        values = {
            "history": history,
            "close": bars.close,
            "resistance": resistance,
            "breakout": bars.close / resistance,
            "volume_ratio": measures.volume_ratio(bars.volume, window=self.volume_window),
            "rsi": _strength(bars.close, self.rsi_window),
            "macd_hist": indicators.macd(bars.close, fast=fast, slow=slow, signal=signal).histogram,
            "ema_20_4h": trend_fast,
            "ema_50_4h": trend_slow,
        }
        ready = measures.ready(history, *(values[name] for name in values if name != "history"))
        values |= {name: getattr(found, name).astype(np.float64) for name in PATTERNS}
        return Features(panel=panel, instruments=market.instruments, values=values, ready=ready)

    def detect(self, features: Features, parameters: Frozen) -> Detection:
        """A setup at every scan that passes all gates."""
        numbers = expect(parameters, SwingParameters, self.name)
        values = features.values
        reason = first_failure(features, _gates(features, numbers))
        return Detection(
            strategy=self.name,
            panel=features.panel,
            setup=reason == Reason.ACCEPTED,
            reason=reason,
            readiness=where_scanned(features, _readiness(values, numbers)),
            confidence=where_scanned(features, _confidence(values, numbers)),
            measurements={name: values[name] for name in values if name not in {"history", "close"}},
            plan=make_plan(
                features.instruments,
                numbers.exits,
                size_quote=numbers.size_quote,
                max_entry_gap=numbers.max_entry_gap,
            ),
        )

    def explain(
        self, detection: Detection, features: Features, parameters: Frozen, row: int, column: int
    ) -> list[Explanation]:
        """Every gate in order; nothing but the data gates where the scan was not ready."""
        numbers = expect(parameters, SwingParameters, self.name)
        told = data_explanations(detection, features, row, column)
        if not all(gate.passed for gate in told):
            return told
        passed = {reason: bool(gate[row, column]) for reason, gate in _gates(features, numbers)}
        at = {name: float(values[row, column]) for name, values in features.values.items()}
        trigger = at["resistance"] * numbers.breakout
        above = at["breakout"] - 1.0
        distance = percent(above, beside=numbers.breakout - 1.0).lstrip("-")
        place = f"{distance} {'above' if above >= 0.0 else 'below'}"
        mode = "strict mode" if numbers.strict else "normal mode"
        order = "above" if passed[Reason.TREND_DOWN] else "not above"
        return [
            *told,
            Explanation(
                gate=Reason.BREAKOUT_TOO_SMALL.code,
                passed=passed[Reason.BREAKOUT_TOO_SMALL],
                measured=at["breakout"],
                required=numbers.breakout,
                sentence=f"the close {price(at['close'])} is {place} {price(at['resistance'])}, "
                f"the highest high of the {self.resistance_window} bars before; a setup needs "
                f"{percent(numbers.breakout - 1.0)} above it, i.e. a close at or above {price(trigger)}",
            ),
            volume_explanation(
                at["volume_ratio"],
                numbers.volume_factor,
                window=self.volume_window,
                passed=passed[Reason.VOLUME_LOW],
            ),
            Explanation(
                gate=Reason.RSI_LOW.code,
                passed=passed[Reason.RSI_LOW],
                measured=at["rsi"],
                required=numbers.rsi_required,
                sentence=f"the RSI is {number(at['rsi'], 1, beside=numbers.rsi_required)}; a setup needs "
                f"more than {numbers.rsi_required:g} ({mode})",
            ),
            Explanation(
                gate=Reason.TREND_DOWN.code,
                passed=passed[Reason.TREND_DOWN],
                measured=at["ema_20_4h"] / at["ema_50_4h"],
                required=1.0,
                sentence=f"on {self.trend_timeframe} the EMA20 {price(at['ema_20_4h'])} is "
                f"{order} the EMA50 {price(at['ema_50_4h'])}; a setup needs it above",
            ),
        ]

    def _trend(self, market: MarketView) -> tuple[FloatArray, FloatArray]:
        """The two EMAs of the trend timeframe at each scan; NaN where the market does not hold it."""
        panel = measures.scanned_panel(market)
        source = market.panels.get(self.trend_timeframe)
        if source is None:
            missing = np.full((len(panel), len(panel.symbols)), np.nan, order="F")
            return missing, missing
        close = source.carried().close
        fast, slow = (
            align(indicators.ema(close, window=window), source.close_time_ms, panel.close_time_ms)
            for window in self.trend_windows
        )
        return fast, slow


def _strength(close: FloatArray, window: int) -> FloatArray:
    """RSI; 50 where the price has not moved at all, as neither side has won."""
    rsi = indicators.rsi(close, window=window)
    settled = ~np.isnan(indicators.previous(close, bars=window))
    return np.where(np.isnan(rsi) & settled, RSI_MAX / 2.0, rsi)


def _gates(features: Features, numbers: SwingParameters) -> list[Gate]:
    """The rule of SWING, in the order in which it is tested."""
    values = features.values
    return [
        (Reason.BREAKOUT_TOO_SMALL, at_least(values["breakout"], numbers.breakout)),
        (Reason.VOLUME_LOW, at_least(values["volume_ratio"], numbers.volume_factor)),
        (Reason.RSI_LOW, np.asarray(values["rsi"] > numbers.rsi_required)),
        (Reason.TREND_DOWN, np.asarray(values["ema_20_4h"] > values["ema_50_4h"])),
    ]


def _readiness(values: Mapping[str, FloatArray], numbers: SwingParameters) -> FloatArray:
    """0 to 100: nearness to the breakout and volume, each full at its threshold."""
    scale = numbers.readiness
    below = 1.0 - values["breakout"] / numbers.breakout  # distance below the trigger, as a fraction of it
    near = np.clip(1.0 - below / scale.breakout_range, 0.0, 1.0)
    traded = np.clip(values["volume_ratio"] / numbers.volume_factor, 0.0, 1.0)
    return np.asarray(100.0 * (scale.breakout_weight * near + scale.volume_weight * traded))


def _confidence(values: Mapping[str, FloatArray], numbers: SwingParameters) -> FloatArray:
    scale = numbers.confidence
    step = numbers.breakout - 1.0
    breakout = confidence.graded(
        values["breakout"] - 1.0, threshold=step, strong=step * scale.breakout_strong
    )
    volume = confidence.graded(
        values["volume_ratio"],
        threshold=numbers.volume_factor,
        strong=numbers.volume_factor * scale.volume_strong,
    )
    rsi = confidence.graded(values["rsi"], threshold=numbers.rsi_required, strong=scale.rsi_strong)
    base = confidence.weighted_mean(
        [(breakout, scale.breakout_weight), (volume, scale.volume_weight), (rsi, scale.rsi_weight)]
    )
    signs: list[tuple[BoolArray, float]] = [(np.asarray(values["macd_hist"] > 0.0), scale.macd_bonus)]
    signs += [(np.asarray(values[name] > 0.0), scale.pattern_bonus) for name in PATTERNS]
    return confidence.raised(base, signs)
