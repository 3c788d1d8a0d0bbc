"""The three strategies over the real minutes of 2025, and how often they speak."""

from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.core.decisions import Reason
from crypto_tracker.strategies.base import EVENT_RESET
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.strategies.scan import scan, setup_events
from tests.features.drawn import utc
from tests.strategies import real
from tests.strategies.drawn import numbers

COINS = ("BTC", "ETH", "SUI")
YEAR = (utc(2025, 1, 1), utc(2026, 1, 1))

# Episodes of the year for each coin: wide bands, so that a rule that stops speaking, or never stops, is noticed.
EPISODES = {
    "DCA": {"BTC": (200, 800), "ETH": (600, 2_500), "SUI": (1_500, 6_000)},
    "SWING": {"BTC": (3, 40), "ETH": (10, 120), "SUI": (20, 200)},
    "CHANNEL": {"BTC": (5, 60), "ETH": (15, 150), "SUI": (30, 300)},
}

pytestmark = pytest.mark.market_data


@pytest.mark.parametrize("name", EPISODES)
def test_a_strategy_speaks_neither_never_nor_always(market_data: Path, name: str):
    strategy = builtin()[name]
    market = real.market(market_data, COINS, strategy.timeframe)
    found = [detection for _, detection in scan(strategy, market, numbers(name), *YEAR)]
    events = setup_events(found, 0)
    for column, coin in enumerate(COINS):
        episodes = int(np.sum((events["symbol"] == column) & (events["kind"] == EVENT_RESET)))
        low, high = EPISODES[name][coin]
        assert low <= episodes <= high, coin
    setup = np.concatenate([detection.setup for detection in found])
    confidence = np.concatenate([detection.confidence for detection in found])[setup]
    assert confidence.min() >= 0.5
    assert len(np.unique(confidence)) > 0.9 * len(confidence)  # setups differ, so they can be ranked
    assert np.ptp(confidence) > 0.2
    months = [int(detection.setup.sum()) for detection in found[2:]]
    assert sum(month > 0 for month in months) >= 8


def test_every_symbol_is_scanned_alone(market_data: Path):
    for strategy in builtin().values():
        both = real.market(market_data, ("ETH", "SUI"), strategy.timeframe)
        alone = real.market(market_data, ("SUI",), strategy.timeframe)
        span = (utc(2025, 10, 1), utc(2025, 10, 15))
        ((_, together),) = scan(strategy, both, numbers(strategy.name), *span)
        ((_, single),) = scan(strategy, alone, numbers(strategy.name), *span)
        np.testing.assert_array_equal(together.reason[:, 1:], single.reason)
        np.testing.assert_array_equal(together.confidence[:, 1:], single.confidence)


def test_the_crash_of_october_is_bought_by_dca_until_the_daily_bar_says_crash(market_data: Path):
    dca = builtin()["DCA"]
    market = real.market(market_data, ("SUI",), dca.timeframe)
    ((_, detection),) = scan(dca, market, numbers("DCA"), utc(2025, 10, 10), utc(2025, 10, 11))
    evening = detection.reason[-36:, 0]  # from 21:00 on
    assert Reason.ACCEPTED in evening
    assert detection.measurements["drop"][:, 0].max() > 0.5  # SUI fell from 3.4 to 0.56 within minutes
