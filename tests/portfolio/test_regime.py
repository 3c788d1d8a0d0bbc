"""The market of a close: by hand on drawn closes, and against a slow loop over wild ones."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Condition, Regime
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.portfolio.parameters import Protection
from crypto_tracker.portfolio.regime import (
    NO_FORCE,
    MarketState,
    market_condition,
    market_state,
    reference_returns,
    reference_volatility,
    volatility_switches,
)
from tests.simulation.rules import spec_rules

NAN = float("nan")
MIDNIGHT_MS = to_ms(datetime(2025, 8, 1, tzinfo=UTC))
STRATEGIES = ("DCA", "SWING", "CHANNEL")
NO_SLOW_RULES = {"caution_24h": -9.0, "caution_48h": -9.0, "panic_4h": -9.0}


def btc(
    close: Sequence[float],
    *,
    high: Sequence[float] | None = None,
    low: Sequence[float] | None = None,
    timeframe: Timeframe = Timeframe.M1,
    start_ms: int = MIDNIGHT_MS,
) -> Panel:
    """The bars of BTC; a NaN is a missing one."""

    def column(values: Sequence[float]) -> np.ndarray[Any, Any]:
        return np.array(values, dtype=np.float64).reshape(-1, 1)

    closes = column(close)
    return Panel(
        timeframe=timeframe,
        symbols=(Symbol("BTC", "USD"),),
        open_time_ms=start_ms + np.arange(len(closes)) * timeframe.ms,
        open=closes,
        high=closes if high is None else column(high),
        low=closes if low is None else column(low),
        close=closes,
        volume=np.ones_like(closes),
        covered=np.ones(closes.shape, dtype=np.bool_),
    )


def protection(**changed: Any) -> Protection:
    return spec_rules(**changed).protection


def market(
    panel: Panel | None, bars: int | None = None, force: dict[int, Regime] | None = None, **changed: Any
) -> MarketState:
    """The market at every close; `force` says from which row which regime is forced."""
    count = len(panel) if panel is not None else (bars or 0)
    forced = np.full(count, NO_FORCE, dtype=np.int8)
    for row, regime in (force or {}).items():
        forced[row:] = regime
    return market_state(panel, STRATEGIES, protection(**changed), forced)


def regimes(state: MarketState) -> list[Regime]:
    return [Regime(code) for code in state.regime]


# ----------------------------------------------------------------------------------------- fast regime


@pytest.mark.parametrize(
    ("fall", "regime"),
    [
        (0.0501, Regime.PANIC),
        (0.0499, Regime.CAUTION),
        (0.0301, Regime.CAUTION),
        (0.0299, Regime.NORMAL),
        (-0.0499, Regime.NORMAL),
        (-0.0501, Regime.EUPHORIA),
    ],
)
def test_a_move_within_60_minutes_makes_the_regime(fall: float, regime: Regime):
    state = market(btc([100.0] * 61 + [100.0 * (1 - fall)]))
    assert regimes(state)[60] is Regime.NORMAL
    assert regimes(state)[61] is regime


def test_a_threshold_that_is_met_exactly_counts():
    # 100 to 96.875 is -1/32 and 100 to 106.25 is +1/16, both exact in binary.
    assert regimes(market(btc([100.0] * 60 + [96.875]), caution_1h=-0.03125))[-1] is Regime.CAUTION
    assert regimes(market(btc([100.0] * 60 + [96.875]), panic_1h=-0.03125))[-1] is Regime.PANIC
    assert regimes(market(btc([100.0] * 60 + [106.25]), euphoria_1h=0.0625))[-1] is Regime.EUPHORIA


def test_the_hour_is_counted_from_close_to_close():
    # The close of row 0 is an hour old at row 60, not before; at row 61 the fall has left the window.
    closes = [100.0] + [90.0] * 61
    assert regimes(market(btc(closes), **NO_SLOW_RULES))[59:62] == [
        Regime.NORMAL,
        Regime.PANIC,
        Regime.NORMAL,
    ]


def test_a_fall_of_a_tenth_in_four_hours_is_panic_though_no_hour_of_it_was():
    closes = 100.0 * (1 - 0.0275 * np.minimum(np.arange(300), 240) / 60)
    state = market(btc(list(closes)), panic_4h=-0.10, caution_1h=-9.0)
    assert regimes(state)[239] is Regime.NORMAL
    assert regimes(state)[240] is Regime.PANIC


def test_a_slow_fall_is_caution_after_a_day_or_two():
    one_day = [100.0] + [96.5] * (24 * 60)
    assert regimes(market(btc(one_day), caution_1h=-9.0))[-2:] == [Regime.NORMAL, Regime.CAUTION]
    two_days = [100.0] + [94.9] * (48 * 60)
    state = market(btc(two_days), caution_1h=-9.0, caution_24h=-9.0, panic_1h=-9.0, panic_4h=-9.0)
    assert regimes(state)[-2:] == [Regime.NORMAL, Regime.CAUTION]


def test_panic_wins_over_caution_and_caution_over_euphoria():
    # Up 6 % within the hour, but still 4 % below the day before.
    closes = [100.0] * 2 + [90.0] * (24 * 60 - 1) + [96.0]
    assert regimes(market(btc(closes)))[-1] is Regime.CAUTION
    assert regimes(market(btc(closes), caution_24h=-9.0))[-1] is Regime.EUPHORIA
    assert regimes(market(btc(closes), panic_4h=0.9))[-1] is Regime.PANIC


def test_a_missing_return_matches_no_rule():
    assert regimes(market(btc([100.0, 50.0]))) == [Regime.NORMAL, Regime.NORMAL]


def test_a_close_stands_for_five_minutes_then_the_last_regime_holds():
    # PANIC at row 60. The close of row 60 stands until row 65; then nothing is known until row 125.
    closes = [100.0] * 60 + [94.0] + [NAN] * 64 + [94.0]
    found = regimes(market(btc(closes), **NO_SLOW_RULES))
    assert found[59] is Regime.NORMAL
    assert set(found[60:125]) == {Regime.PANIC}
    # At row 125 the close is there again; an hour before it (row 65) stands the close of row 60: no fall.
    assert found[125] is Regime.NORMAL


def test_at_six_minutes_a_close_an_hour_ago_is_too_old_to_be_compared_with():
    # Row 66: the last close at or before row 6 is that of row 0 or of row 1.
    six_old = [100.0] + [NAN] * 6 + [90.0] * 60
    five_old = [100.0, 100.0] + [NAN] * 5 + [90.0] * 60
    assert math.isnan(reference_returns(btc(six_old), 5.0)[0][66, 0])
    assert reference_returns(btc(five_old), 5.0)[0][66, 0] == pytest.approx(-0.1)


def test_on_a_coarse_base_a_close_stands_for_one_bar():
    returns, current = reference_returns(btc([100.0, NAN, NAN, 90.0], timeframe=Timeframe.H1), 5.0)
    assert current.tolist() == [True, True, False, True]
    assert returns[1, 0] == 0.0
    assert math.isnan(returns[3, 0])


def test_a_forced_regime_replaces_the_computed_one_which_goes_on_beneath():
    closes = [100.0] * 60 + [94.0] + [NAN] * 20
    forced = np.full(81, NO_FORCE, dtype=np.int8)
    forced[55:70] = Regime.EUPHORIA
    state = market_state(btc(closes), STRATEGIES, protection(**NO_SLOW_RULES), forced)
    found = regimes(state)
    assert found[54] is Regime.NORMAL
    assert set(found[55:70]) == {Regime.EUPHORIA}
    assert set(found[70:]) == {Regime.PANIC}  # which began beneath, and holds without a close
    assert state.stop_factor[60] == 1.2
    assert state.stop_factor[70] == 1.5


# ----------------------------------------------------------------------------------------------- volatility


def day_of(high: float, low: float, hours: int) -> Panel:
    """Hourly bars that are quiet at 100, but for hour 5, which reaches high and low."""
    highs, lows = [100.0] * hours, [100.0] * hours
    highs[5], lows[5] = high, low
    return btc([100.0] * hours, high=highs, low=lows, timeframe=Timeframe.H1)


def test_volatility_is_the_mean_of_the_24_hour_ranges_at_the_last_full_hours():
    # (110 - 88) / 88 = 0.25 while hour 5 is in the window: samples at the closes of rows 23 to 28, then 0.
    volatility = reference_volatility(day_of(110.0, 88.0, 40), samples=2)
    assert np.isnan(volatility[:24]).all()
    assert volatility[24:29].tolist() == [0.25] * 5
    assert volatility[29] == 0.125  # the samples of rows 28 and 29
    assert volatility[30:].tolist() == [0.0] * 10


def test_volatility_is_unknown_until_every_sample_exists():
    volatility = reference_volatility(day_of(110.0, 88.0, 40), samples=6)
    assert np.isnan(volatility[:28]).all()  # the first sample is that of row 23, the sixth that of row 28
    assert volatility[28] == 0.25


def test_samples_are_taken_on_full_hours_only():
    # The price jumps in the minute after the full hour of 25:00: the sample sees it an hour later.
    minutes = 27 * 60
    highs = [100.0] * minutes
    highs[25 * 60] = 150.0
    volatility = reference_volatility(btc([100.0] * minutes, high=highs), samples=1)
    assert volatility[25 * 60 - 1] == 0.0  # the close at 25:00 itself
    assert set(volatility[25 * 60 : 26 * 60 - 1]) == {0.0}
    assert volatility[26 * 60 - 1] == 0.5


def test_the_first_sample_needs_a_first_bar_that_opened_24_hours_before_the_full_hour():
    late = reference_volatility(btc([100.0] * (26 * 60), start_ms=MIDNIGHT_MS + MINUTE_MS), samples=1)
    known = np.flatnonzero(~np.isnan(late))
    # Opened at 00:01, so 24:00 is too early and the sample of 25:00 is the first.
    assert known[0] == 25 * 60 - 1 - 1


def test_rows_before_the_first_bar_of_the_reference_do_not_count_as_its_history():
    bars = [NAN] * 120 + [100.0] * (26 * 60)
    volatility = reference_volatility(btc(bars), samples=1)
    assert np.flatnonzero(~np.isnan(volatility))[0] == 26 * 60 - 1  # listed at 02:00


def test_a_window_without_any_bar_has_no_sample():
    bars = [100.0] * 2 + [NAN] * 30 + [100.0] * 3
    volatility = reference_volatility(btc(bars, timeframe=Timeframe.H1), samples=1)
    # Windows [H - 24 h, H) hold rows 0, 1 up to H = 25 h; row 32 is in the window of H = 33 h.
    assert np.flatnonzero(np.isnan(volatility[23:])).tolist() == list(range(2, 9))


def test_no_reference_bar_at_all_leaves_volatility_unknown():
    assert np.isnan(reference_volatility(btc([NAN] * 100), samples=1)).all()


# ------------------------------------------------------------------------------- switches, sizes, condition


def test_a_strategy_goes_off_at_one_threshold_and_on_again_below_another():
    rules = protection(switches={"CHANNEL": {"off": 0.08, "on": 0.06}}).volatility
    volatility = np.array([NAN, 0.07, 0.08, 0.07, NAN, 0.06, 0.0599, 0.07, 0.09])
    on = volatility_switches(volatility, STRATEGIES, rules)
    assert on[:, 2].tolist() == [True, True, False, False, False, False, True, True, False]
    assert on[:, :2].all()


def test_sizes_shrink_by_regime_times_volatility():
    # The range of (100 - 50) / 50 = 1 halves SWING while row 0 is in a window; an hour of -4 % halves all.
    lows = [50.0] + [100.0] * 89
    closes = [100.0] * 89 + [96.0]
    panel = btc(closes, low=lows, high=[100.0] * 90, timeframe=Timeframe.H1)
    state = market(panel, samples=2, caution_24h=-9.0, caution_48h=-9.0)
    assert state.size_factor[24].tolist() == [1.0, 0.5, 1.0]
    assert state.size_factor[88].tolist() == [1.0, 1.0, 1.0]
    assert state.size_factor[89].tolist() == [0.5, 0.5, 0.5]
    euphoric = market(panel, force={24: Regime.EUPHORIA}, samples=2)
    assert euphoric.size_factor[24].tolist() == [0.7, 0.35, 0.7]
    assert euphoric.stop_factor[24] == 1.2


@pytest.mark.parametrize(
    ("return_24h", "volatility", "condition"),
    [
        (0.0, 0.03, Condition.SIDEWAYS),
        (0.0199, 0.0399, Condition.SIDEWAYS),
        (0.0199, 0.04, Condition.NONE),
        (0.0, NAN, Condition.NONE),
        (0.02, 0.03, Condition.RISING),
        (0.02, NAN, Condition.RISING),
        (-0.02, 0.90, Condition.FALLING),
        (NAN, 0.03, Condition.NONE),
    ],
)
def test_the_condition_reads_the_day_and_the_volatility(
    return_24h: float, volatility: float, condition: Condition
):
    rules = protection().condition
    assert market_condition(np.array([return_24h]), np.array([volatility]), rules).tolist() == [condition]


def test_the_condition_prefers_a_strategy_where_it_is_configured():
    rising = btc([100.0] * 24 + [103.0], timeframe=Timeframe.H1)
    assert market(rising).preferred[-1] == STRATEGIES.index("SWING")
    assert market(rising).preferred[0] == -1
    assert market(rising, rising="GRID").preferred[-1] == -1


def test_without_a_reference_everything_is_normal_and_nothing_is_preferred():
    state = market(None, bars=3)
    assert regimes(state) == [Regime.NORMAL] * 3
    assert np.isnan(state.volatility).all()
    assert state.preferred.tolist() == [-1, -1, -1]
    assert state.switched_on.all()
    assert (state.size_factor == 1.0).all()
    assert regimes(market(None, bars=3, force={1: Regime.PANIC})) == [
        Regime.NORMAL,
        Regime.PANIC,
        Regime.PANIC,
    ]


def test_the_rows_of_a_market_are_its_later_part():
    whole = market(btc([100.0] * 61 + [90.0]), **NO_SLOW_RULES)
    part = whole.rows(60)
    assert regimes(part) == [Regime.NORMAL, Regime.PANIC]
    assert part.size_factor.shape == (2, 3)


# ------------------------------------------------------------------------------------ against a slow loop


class SlowMarket:
    """The page's section 6, bar by bar, from dictionaries of what is known at each moment."""

    def __init__(self, panel: Panel, rules: Protection) -> None:
        self.bar_ms = panel.timeframe.ms
        self.bars = {
            int(time): (float(high), float(low), float(close))
            for time, high, low, close in zip(
                panel.open_time_ms, panel.high[:, 0], panel.low[:, 0], panel.close[:, 0], strict=True
            )
            if not math.isnan(close)
        }
        self.first_ms = min(self.bars, default=None)
        self.times = [int(time) for time in panel.open_time_ms]
        self.rules = rules

    def close_at(self, moment_ms: int) -> float | None:
        oldest = moment_ms - max(self.rules.fast_regime.max_age_minutes * MINUTE_MS, self.bar_ms)
        closes = [(time + self.bar_ms, bar[2]) for time, bar in self.bars.items()]
        usable = [(when, close) for when, close in closes if oldest <= when <= moment_ms]
        return max(usable)[1] if usable else None

    def change(self, moment_ms: int, hours: int) -> float | None:
        now, before = self.close_at(moment_ms), self.close_at(moment_ms - hours * HOUR_MS)
        return None if now is None or before is None else now / before - 1.0

    def sample(self, hour_ms: int) -> float | None:
        window = [bar for time, bar in self.bars.items() if hour_ms - DAY_MS <= time < hour_ms]
        if self.first_ms is None or self.first_ms > hour_ms - DAY_MS or not window:
            return None
        low = min(bar[1] for bar in window)
        return (max(bar[0] for bar in window) - low) / low

    def volatility(self, moment_ms: int) -> float | None:
        last = moment_ms - moment_ms % HOUR_MS
        hours = [last - k * HOUR_MS for k in range(self.rules.volatility.samples)][::-1]
        total = 0.0
        for hour in hours:
            sample = self.sample(hour)
            if sample is None:
                return None
            total += sample
        return total / len(hours)

    def run(self) -> list[tuple[Regime, float | None, bool, Condition]]:
        """Regime, volatility, whether CHANNEL is on, and condition at each close."""
        regime, on, told = Regime.NORMAL, True, []
        for time in self.times:
            moment = time + self.bar_ms
            if self.close_at(moment) is not None:
                regime = self.computed(moment)
            volatility = self.volatility(moment)
            switch = self.rules.volatility.switches["CHANNEL"]
            if volatility is not None and volatility >= switch.off:
                on = False
            elif volatility is not None and volatility < switch.on:
                on = True
            told.append((regime, volatility, on, self.condition(moment, volatility)))
        return told

    def computed(self, moment: int) -> Regime:
        fast = self.rules.fast_regime

        def falls(hours: int, threshold: float) -> bool:
            change = self.change(moment, hours)
            return change is not None and change <= threshold

        hour = self.change(moment, 1)
        if falls(1, fast.panic_1h) or falls(4, fast.panic_4h):
            return Regime.PANIC
        if falls(1, fast.caution_1h) or falls(24, fast.caution_24h) or falls(48, fast.caution_48h):
            return Regime.CAUTION
        return Regime.EUPHORIA if hour is not None and hour >= fast.euphoria_1h else Regime.NORMAL

    def condition(self, moment: int, volatility: float | None) -> Condition:
        rules, day = self.rules.condition, self.change(moment, 24)
        if day is None:
            return Condition.NONE
        if day <= -rules.move_24h:
            return Condition.FALLING
        if day >= rules.move_24h:
            return Condition.RISING
        quiet = volatility is not None and volatility < rules.sideways_volatility
        return Condition.SIDEWAYS if quiet else Condition.NONE


@given(
    seed=st.integers(0, 10**6),
    timeframe=st.sampled_from([Timeframe.M15, Timeframe.H1]),
    offset=st.integers(0, 7),
    listed=st.integers(0, 60),
)
@settings(max_examples=30)
def test_wild_markets_agree_with_a_slow_loop(seed: int, timeframe: Timeframe, offset: int, listed: int):
    random = np.random.default_rng(seed)
    bars = 60 + 2 * DAY_MS // timeframe.ms
    close = 100.0 * np.exp(np.cumsum(random.normal(0, 0.012 if timeframe is Timeframe.H1 else 0.006, bars)))
    spread = np.exp(np.abs(random.normal(0, 0.004, bars)))
    close[:listed] = np.nan
    for _ in range(4):
        hole = int(random.integers(bars))
        close[hole : hole + int(random.integers(1, 30))] = np.nan
    panel = btc(
        list(close),
        high=list(close * spread),
        low=list(close / spread),
        timeframe=timeframe,
        start_ms=MIDNIGHT_MS + offset * timeframe.ms,
    )
    rules = protection(
        samples=int(random.integers(1, 7)),
        max_age_minutes=float(random.choice([5.0, 15.0, 45.0, 90.0])),
        switches={"CHANNEL": {"off": 0.11, "on": 0.09}},
        sideways_volatility=0.09,
    )
    state = market_state(panel, STRATEGIES, rules, np.full(len(panel), NO_FORCE, dtype=np.int8))
    for row, (regime, volatility, on, condition) in enumerate(SlowMarket(panel, rules).run()):
        assert Regime(state.regime[row]) is regime, row
        assert (None if math.isnan(state.volatility[row]) else state.volatility[row]) == volatility, row
        assert state.switched_on[row, 2] == on, row
        assert Condition(state.condition[row]) is condition, row
