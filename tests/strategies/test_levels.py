"""The lines and triggers of strategies, held against worked markets and what `explain` says of the same scan."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.decisions import Reason, SlowRegime, Tier
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.strategies.channel_fit import WINDOW
from crypto_tracker.strategies.dca import Dca
from crypto_tracker.strategies.gates import price
from crypto_tracker.strategies.levels import Level, LevelKind, Trigger, levels, trigger
from tests.strategies import test_channel as channel_markets
from tests.strategies import test_dca as dca_markets
from tests.strategies import test_swing as swing_markets
from tests.strategies.drawn import BTC, START_MS, Scanned, bars, facts, numbers, view
from tests.strategies.test_channel_fit import zigzag


def lines(scan: Scanned, instrument: Instruments | None = None) -> dict[str, tuple[LevelKind, float]]:
    """Kind and last price of each line of a scan, by name."""
    measured = {name: values[:, 0] for name, values in scan.detection.measurements.items()}
    drawn = levels(scan.strategy, scan.parameters, instrument or facts([BTC]), measured)
    return {line.name: (line.kind, float(line.price[-1])) for line in drawn}


def needed(scan: Scanned, instrument: Instruments | None = None) -> Trigger | None:
    measured = {name: float(values[-1, 0]) for name, values in scan.detection.measurements.items()}
    return trigger(scan.strategy, scan.parameters, instrument or facts([BTC]), measured)


def sentence(scan: Scanned, start: str) -> str:
    """The sentence of the explanation that begins so."""
    return next(told for told in scan.told() if told.startswith(start))


# --- DCA ---------------------------------------------------------------------------------------


def test_dca_draws_the_high_of_four_hours_and_the_close_that_is_bought():
    scan = dca_markets.scanned(99.0)
    assert lines(scan) == {
        "4 h high": (LevelKind.OTHER, 100.0),
        "buy below": (LevelKind.TRIGGER, pytest.approx(97.5)),
    }


def test_dca_needs_the_close_that_its_explanation_names():
    scan = dca_markets.scanned(99.0)
    told = needed(scan)
    assert told == Trigger(
        sentence="a close at or below 97.5 with a volume of 1 x its mean", price=pytest.approx(97.5)
    )
    assert sentence(scan, "the close").endswith("i.e. a close at or below 97.5")


@pytest.mark.parametrize("close", [97.5, 95.0, 60.0])
def test_a_close_at_the_trigger_of_dca_is_a_setup(close: float):
    named = needed(dca_markets.scanned(99.0))
    assert named is not None
    assert close <= named.price + 1e-9
    assert dca_markets.scanned(close).reason is Reason.ACCEPTED


def test_the_drop_of_the_tier_decides_where_dca_buys():
    drops = {"large_cap": 0.025, "mid_cap": 0.04, "small_cap": 0.06, "memecoin": 0.1}
    scan = dca_markets.scanned(99.0, drop=drops)
    for tier, drop in zip(Tier, drops.values(), strict=True):
        told = needed(scan, facts([BTC], tier=tier))
        assert told is not None
        assert told.price == pytest.approx(100 * (1 - drop))


def test_in_a_crash_dca_waits_for_its_end():
    told = needed(dca_markets.scanned(97.0, regime=SlowRegime.CRASH))
    assert told is not None
    assert told.sentence.endswith(", once the slow regime is no longer CRASH")


# --- SWING -------------------------------------------------------------------------------------


def test_swing_draws_resistance_and_the_breakout_above_it():
    assert lines(swing_markets.scanned(99.5)) == {
        "resistance": (LevelKind.RESISTANCE, 100.0),
        "breakout": (LevelKind.TRIGGER, pytest.approx(101.0)),
    }


def test_swing_needs_the_close_that_its_explanation_names():
    scan = swing_markets.scanned(100.5)
    told = needed(scan)
    assert told is not None
    assert told.sentence == "a close at or above 101 and a volume of 1.3 x its mean"
    assert told.price == pytest.approx(101.0)
    assert sentence(scan, "the close").endswith("i.e. a close at or above 101")


def test_swing_names_strength_and_trend_where_they_are_lacking():
    told = needed(swing_markets.scanned(99.0, trend=swing_markets.FALLING))
    assert told is not None
    assert told.sentence == (
        "a close at or above 101, a volume of 1.3 x its mean, an RSI above 50 and the EMA20 above the EMA50 "
        "on 4h"
    )


# --- CHANNEL -----------------------------------------------------------------------------------


def test_channel_draws_its_lines_the_top_of_the_buy_zone_and_the_target():
    # A wave between 100 and 104: the buy zone ends at a tenth of 4. The table's target of 2 % is nearer than
    # the upper line, and counts from the close.
    drawn = lines(channel_markets.scanned(channel_markets.ending(100.2)))
    assert drawn == {
        "channel upper": (LevelKind.CHANNEL_UPPER, pytest.approx(104.0)),
        "target": (LevelKind.TARGET, pytest.approx(100.2 * 1.02)),
        "buy zone": (LevelKind.TRIGGER, pytest.approx(100.4)),
        "channel lower": (LevelKind.CHANNEL_LOWER, pytest.approx(100.0)),
    }


def test_the_lines_of_a_channel_rise_with_it():
    for drawn in channel_lines(target=0.02), channel_lines(target=103.6 / 102.0 - 1.0):
        for name in ("channel upper", "buy zone", "channel lower"):
            slope = drawn[name].slope
            assert slope is not None
            assert slope.tolist() == pytest.approx([0.102])  # 0.1 % of the close, 102, with every bar
            assert drawn[name].reach == WINDOW


def test_a_target_at_a_share_of_the_channel_rises_with_it_and_that_of_the_table_goes_with_the_close():
    # A tenth of 4 below the upper line at 104, told in 32 bits as it is kept; the close is 102.
    of_channel = channel_lines(target=float(np.float32(103.6 / 102.0 - 1.0)))["target"]
    assert of_channel.price.tolist() == pytest.approx([103.6], rel=1e-12)
    assert of_channel.slope is not None
    assert of_channel.slope.tolist() == pytest.approx([0.102])
    assert of_channel.reach == WINDOW
    of_table = channel_lines(target=0.015)["target"]
    assert of_table.price.tolist() == pytest.approx([102.0 * 1.015])
    assert of_table.slope is not None
    assert np.isnan(of_table.slope).all()


def channel_lines(target: float) -> dict[str, Level]:
    """Of a channel from 100 to 104 whose close, in its middle, rises by 0.1 % a bar."""
    scan = channel_markets.scanned(channel_markets.ending(100.2))
    measured = {"upper": 104.0, "lower": 100.0, "place": 0.5, "slope": 0.001, "target": target}
    arrays = {name: np.array([value]) for name, value in measured.items()}
    drawn = levels(scan.strategy, scan.parameters, facts([BTC]), arrays)
    return {line.name: line for line in drawn}


def test_channel_needs_the_zone_that_its_explanation_names():
    scan = channel_markets.scanned(channel_markets.ending(102.0))
    told = needed(scan)
    assert told == Trigger(sentence="a close from 100 to 100.4", price=pytest.approx(100.4))
    assert sentence(scan, "the close").endswith("a close from 100 to 100.4")


def test_channel_says_what_its_channel_lacks_as_well():
    lone = zigzag(145)
    lone[108, 0] = 107.0
    told = needed(channel_markets.scanned(lone))
    assert told is not None
    assert "touched 2 times on each side" in told.sentence


def test_channel_asks_for_the_width_that_pays_for_the_trade():
    # Fees of 0.5 % and slippage of 0.2 % make a round trip of 1.4 %, three of which are 4.2 %.
    costs = {"fee": 0.005, "slippage": 0.002}
    scan = channel_markets.scanned(channel_markets.ending(102.0), **costs)
    told = needed(scan, facts([BTC], **costs))
    assert told is not None
    assert told.sentence == "a close from 100 to 100.4, in a channel 4.2 % wide"
    assert "a setup needs 4.2 %" in sentence(scan, "the channel is 3")


def test_without_a_channel_nothing_is_drawn_and_a_channel_is_what_it_needs():
    scan = channel_markets.scanned(np.linspace(100.0, 120.0, 145)[:, None])
    assert all(np.isnan(value) for _, value in lines(scan).values())
    told = needed(scan)
    assert told is not None
    assert told.sentence.startswith("a channel: 2 confirmed pivot highs and as many lows")
    assert np.isnan(told.price)


# --- all ---------------------------------------------------------------------------------------


def test_where_a_scan_was_not_ready_nothing_can_be_foretold():
    scan = Scanned(Dca(), view(bars(Timeframe.M5, [100.0] * 10)), numbers("DCA"))
    assert scan.reason is Reason.NOT_READY
    assert needed(scan) is None
    assert all(np.isnan(value) for _, value in lines(scan).values())


def test_prices_are_written_as_explanations_write_them():
    told = needed(dca_markets.scanned(99.0, drop=dca_markets.drops(1 / 3)))
    assert told is not None
    assert f"at or below {price(200 / 3)} with" in told.sentence


def test_levels_are_those_of_one_symbol():
    both = facts([BTC, Symbol("ETH", "USDT")])
    with pytest.raises(DataError, match="levels are those of one symbol, but 2 were given"):
        needed(dca_markets.scanned(99.0), both)


class Silent(Dca):
    """A plug-in that says nothing of levels."""


class Telling(Silent):
    """A plug-in that draws a line of its own, and foretells."""

    def levels(
        self, _parameters: Frozen, _instrument: Instruments, measured: Mapping[str, FloatArray]
    ) -> Sequence[Level]:
        return [Level(name="half", kind=LevelKind.SUPPORT, price=measured["high_4h"] / 2)]

    def trigger(
        self, _parameters: Frozen, _instrument: Instruments, measured: Mapping[str, float]
    ) -> Trigger | None:
        return Trigger(sentence="half of the high", price=measured["high_4h"] / 2)


def of_plugin(strategy: Any) -> Scanned:
    days = bars(Timeframe.D1, [100.0], start_ms=START_MS - DAY_MS)
    panel = bars(Timeframe.M5, [100.0] * 60)
    return Scanned(strategy, view(panel, reference={Timeframe.D1: days}), numbers("DCA"))


def test_of_a_plug_in_that_tells_nothing_nothing_is_drawn():
    scan = of_plugin(Silent())
    assert lines(scan) == {}
    assert needed(scan) is None


def test_a_plug_in_may_draw_and_foretell_itself():
    scan = of_plugin(Telling())
    assert lines(scan) == {"half": (LevelKind.SUPPORT, 50.0)}
    assert needed(scan) == Trigger(sentence="half of the high", price=50.0)
