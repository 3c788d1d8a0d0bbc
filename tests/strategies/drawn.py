"""Small markets drawn by hand, and the default numbers that the rules are judged by."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.arrays import CodeArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason, Tier
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.strategies.base import Detection, Features, MarketView, Strategy
from crypto_tracker.strategies.registry import builtin

START_MS = 1_754_006_400_000  # 2025-08-01T00:00Z, a full hour, day and month
BTC = Symbol("BTC", "USDT")


def facts(
    symbols: Sequence[Symbol], *, fee: float = 0.003, slippage: float = 0.0015, tier: Tier = Tier.LARGE_CAP
) -> Instruments:
    """Instruments with a round trip of 0.009 unless said otherwise."""

    def each(value: float) -> Any:
        return np.full(len(symbols), value)

    return Instruments(
        symbols=tuple(symbols),
        tier=np.full(len(symbols), tier, dtype=np.int8),
        tick=each(0.0),
        lot=each(0.0),
        min_notional=each(5.0),
        taker_fee=each(fee),
        maker_fee=each(fee),
        slippage=each(slippage),
    )


def numbers(name: str, **changed: Any) -> Frozen:
    """The default parameters of a built-in strategy, some of them changed."""
    models = {strategy.name: strategy.parameters_model for strategy in builtin().values()}
    defaults = load_configuration(models, file=None, environment={}, assignments=[]).tree.parameters(name)
    return type(defaults).model_validate({**defaults.model_dump(), **changed})


def bars(
    timeframe: Timeframe,
    close: Sequence[float],
    *,
    high: Sequence[float] | None = None,
    low: Sequence[float] | None = None,
    volume: Sequence[float] | None = None,
    start_ms: int = START_MS,
) -> Panel:
    """One symbol's bars; open is the close, high and low too unless given; volume 10."""
    c = np.array(close, dtype=np.float64)
    h = c if high is None else np.array(high, dtype=np.float64)
    lo = c if low is None else np.array(low, dtype=np.float64)
    v = np.where(np.isnan(c), np.nan, 10.0) if volume is None else np.array(volume, dtype=np.float64)
    return Panel(
        timeframe=timeframe,
        symbols=(BTC,),
        open_time_ms=start_ms + timeframe.ms * np.arange(len(c), dtype=np.int64),
        open=c[:, None],
        high=h[:, None],
        low=lo[:, None],
        close=c[:, None],
        volume=v[:, None],
        covered=~np.isnan(c)[:, None],
    )


def view(
    *panels: Panel,
    instruments: Instruments | None = None,
    reference: Mapping[Timeframe, Panel] | None = None,
    slow_regime: CodeArray | None = None,
) -> MarketView:
    """A market that scans the first panel."""
    return MarketView(
        timeframe=panels[0].timeframe,
        panels={panel.timeframe: panel for panel in panels},
        reference=reference or {},
        instruments=instruments or facts(panels[0].symbols),
        slow_regime=slow_regime,
    )


class Scanned:
    """A whole detection, and shorthands for its last scan."""

    def __init__(self, strategy: Strategy, market: MarketView, parameters: Frozen) -> None:
        self.strategy = strategy
        self.parameters = parameters
        self.features: Features = strategy.features(market)
        self.detection: Detection = strategy.detect(self.features, parameters)

    @property
    def reason(self) -> Reason:
        return Reason(int(self.detection.reason[-1, 0]))

    @property
    def readiness(self) -> float:
        return float(self.detection.readiness[-1, 0])

    @property
    def confidence(self) -> float:
        return float(self.detection.confidence[-1, 0])

    def measured(self, name: str) -> float:
        return float(self.detection.measurements[name][-1, 0])

    def told(self) -> list[str]:
        """The sentences of the explanation of the last scan."""
        row = len(self.detection.panel) - 1
        explained = self.strategy.explain(self.detection, self.features, self.parameters, row, 0)
        return [gate.sentence for gate in explained]

    def gates(self) -> list[tuple[str, bool]]:
        row = len(self.detection.panel) - 1
        explained = self.strategy.explain(self.detection, self.features, self.parameters, row, 0)
        return [(gate.gate, gate.passed) for gate in explained]
