"""What was said at a close is never changed by later bars, nor by the unit of the prices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.features.blocks import closing_by
from crypto_tracker.strategies.base import Detection, Features, MarketView, Strategy
from crypto_tracker.strategies.registry import builtin
from tests.features.drawn import same_bits, utc
from tests.strategies.drawn import numbers
from tests.strategies.test_scan import random_market

PRICES = {"close", "high_4h", "resistance", "ema_20_4h", "ema_50_4h", "macd_hist", "upper", "lower"}
START, END = utc(2025, 5, 1), utc(2025, 7, 10)


def known_by(market: MarketView, time_ms: int) -> MarketView:
    panels = {each: closing_by(panel, 0, time_ms) for each, panel in market.panels.items()}
    days = closing_by(market.reference[Timeframe.D1], 0, time_ms)
    assert market.slow_regime is not None
    return MarketView(
        timeframe=market.timeframe,
        panels=panels,
        reference={Timeframe.D1: days},
        instruments=market.instruments,
        slow_regime=market.slow_regime[: len(days)],
    )


def said(strategy: Strategy, market: MarketView) -> tuple[Features, Detection]:
    features = strategy.features(market)
    return features, strategy.detect(features, numbers(strategy.name))


def arrays(features: Features, detection: Detection) -> dict[str, np.ndarray]:
    found = {name: np.asarray(values) for name, values in features.values.items()}
    found |= {f"measured {name}": np.asarray(values) for name, values in detection.measurements.items()}
    found |= {
        "ready": features.ready.astype(np.float64),
        "setup": detection.setup.astype(np.float64),
        "reason": detection.reason.astype(np.float64),
        "readiness": detection.readiness,
        "confidence": detection.confidence,
        "target": np.broadcast_to(detection.plan.take_profit, detection.setup.shape),
    }
    return found


WHOLE = {name: random_market(strategy.timeframe, START, END) for name, strategy in builtin().items()}
SAID = {name: arrays(*said(strategy, WHOLE[name])) for name, strategy in builtin().items()}


@pytest.mark.parametrize("name", builtin())
@given(minutes=st.integers(min_value=60 * 24 * 55, max_value=60 * 24 * 70 - 1))
def test_what_was_said_at_a_close_stands(name: str, minutes: int):
    strategy = builtin()[name]
    part = arrays(*said(strategy, known_by(WHOLE[name], START + minutes * 60_000)))
    rows = len(part["reason"])
    assert rows > 5_000
    for what, values in part.items():
        assert same_bits(values, SAID[name][what][:rows]), what


@pytest.mark.parametrize("name", builtin())
def test_a_cut_of_exactly_one_bar_changes_nothing(name: str):
    strategy = builtin()[name]
    for bars in (1, 2, 3, 4, 5):
        part = arrays(*said(strategy, known_by(WHOLE[name], END - bars * strategy.timeframe.ms)))
        for what, values in part.items():
            assert same_bits(values, SAID[name][what][:-bars]), (what, bars)


def doubled(panel: Panel) -> Panel:
    return Panel(
        timeframe=panel.timeframe,
        symbols=panel.symbols,
        open_time_ms=panel.open_time_ms,
        open=2 * panel.open,
        high=2 * panel.high,
        low=2 * panel.low,
        close=2 * panel.close,
        volume=panel.volume,
        covered=panel.covered,
    )


@pytest.mark.parametrize("name", builtin())
def test_prices_in_another_unit_change_no_decision(name: str):
    strategy = builtin()[name]
    market = WHOLE[name]
    other = MarketView(
        timeframe=market.timeframe,
        panels={each: doubled(panel) for each, panel in market.panels.items()},
        reference=market.reference,
        instruments=market.instruments,
        slow_regime=market.slow_regime,
    )
    found = arrays(*said(strategy, other))
    for what, values in SAID[name].items():
        factor = 2.0 if what.removeprefix("measured ") in PRICES else 1.0
        assert same_bits(np.ascontiguousarray(factor * values), np.ascontiguousarray(found[what])), what


@pytest.mark.parametrize("name", builtin())
def test_the_random_market_puts_every_gate_to_the_test(name: str):
    assert len(np.unique(SAID[name]["reason"])) >= 4
    assert np.all(
        (SAID[name]["confidence"] >= 0) & (SAID[name]["confidence"] <= 1) | np.isnan(SAID[name]["confidence"])
    )
    assert np.all(
        (SAID[name]["readiness"] >= 0) & (SAID[name]["readiness"] <= 100) | np.isnan(SAID[name]["readiness"])
    )
