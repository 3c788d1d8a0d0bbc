"""Crashes: how they are found in drawn prices, and what is said of the protections that were off."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, Timeframe
from crypto_tracker.research.crashes import (
    ALL,
    Crash,
    CrashClass,
    CrashRun,
    ProtectedRun,
    find_crashes,
    rolling_max,
    run_crash,
    safeguards,
    verdicts,
    window_of,
)
from crypto_tracker.simulation.backtest import simulate_portfolio
from tests.research.worlds import MARCH_MS, lively


def hours(*closes: float, start: float = 100.0) -> Panel:
    """Hourly bars of one coin with these closes; each opens at the close before."""
    close = np.array([closes], dtype=np.float64).T
    present = ~np.isnan(close)
    opens = np.concatenate([[[start]], close[:-1]])
    return Panel(
        timeframe=Timeframe.H1,
        symbols=(Symbol("BTC", "USD"),),
        open_time_ms=MARCH_MS + np.arange(len(close)) * HOUR_MS,
        open=opens,
        high=np.fmax(opens, close),
        low=np.fmin(opens, close),
        close=close,
        volume=np.where(present, 1.0, np.nan),
        covered=present,
    )


def one(panel: Panel, **arguments) -> Crash:
    (crash,) = find_crashes(panel, **arguments)
    return crash


# ------------------------------------------------------------------------------------------------ the search


def test_a_fall_of_an_eighth_within_three_hours_is_a_flash_crash():
    crash = one(hours(100, 100, 96, 92, 87.5, 90, 91))
    assert crash.kind is CrashClass.FLASH_CRASH
    assert (crash.peak_price, crash.trough_price) == (100.0, 87.5)
    assert crash.depth == pytest.approx(0.125)
    assert crash.hours == 3.0  # from the last close at 100
    assert crash.fastest == pytest.approx(0.125)
    assert crash.regained == pytest.approx(3.5 / 12.5)
    assert not crash.v_recovery


def test_the_same_fall_over_twelve_hours_is_a_sharp_correction():
    crash = one(hours(100, *np.linspace(100, 87.5, 13)[1:]))
    assert crash.kind is CrashClass.SHARP_CORRECTION
    assert crash.hours == 12.0
    # Three hours lie between the first and the last of four closes.
    assert crash.fastest == pytest.approx(1.0 - 87.5 / (87.5 + 3 * 12.5 / 12))


def test_exactly_four_hours_are_not_less_than_four():
    assert one(hours(100, 98, 95, 92, 89)).kind is CrashClass.SHARP_CORRECTION
    assert one(hours(100, 96, 92, 89)).kind is CrashClass.FLASH_CRASH


def test_a_fall_of_exactly_a_tenth_is_no_flash_crash():
    assert one(hours(100, 90)).kind is CrashClass.SHARP_CORRECTION
    assert one(hours(100, 89.99)).kind is CrashClass.FLASH_CRASH


def test_a_fall_of_less_than_five_per_cent_is_sought_only_when_asked_for():
    panel = hours(100, 96.0, 96.0)
    assert find_crashes(panel) == []
    assert one(panel, depth_min=0.03).kind is CrashClass.MODERATE_CORRECTION


def test_a_fall_that_takes_more_than_a_day_counts_with_its_steepest_day():
    crash = one(hours(*np.linspace(100, 90, 41)))  # a quarter of a point an hour
    assert crash.hours == 24.0
    assert crash.peak_price - crash.trough_price == pytest.approx(6.0)
    assert crash.trough_price == 90.0


def test_it_is_back_when_the_peak_is_reached_again_within_a_day():
    assert one(hours(100, 93, 95, 100)).v_recovery
    assert not one(hours(100, 93, 95, 99.9)).v_recovery
    late = one(hours(100, 93, *[95] * 23, 95, 100))
    assert late.regained == pytest.approx(2 / 7)


def test_a_fall_at_the_end_of_the_bars_has_regained_nothing_that_is_known():
    assert one(hours(100, 93)).regained is None
    assert one(hours(100, 93, 92)).regained is None
    assert one(hours(100, 92, 93)).regained == pytest.approx(1 / 8)


def test_two_falls_on_different_days_are_two_crashes_and_on_one_day_the_deeper_one():
    calm = [100.0] * 60
    assert [crash.depth for crash in find_crashes(hours(*calm, 94, *calm, 92, *calm))] == pytest.approx(
        [0.06, 0.08]
    )
    crash = one(hours(*calm, 94, 100, 100, 92, *calm))
    assert crash.trough_price == 92.0
    assert crash.hours == 1.0


def test_missing_bars_are_neither_a_fall_nor_its_end():
    nan = float("nan")
    crash = one(hours(100, nan, nan, 92, nan, 96, nan))
    assert (crash.peak_price, crash.trough_price, crash.hours) == (100.0, 92.0, 3.0)
    assert crash.regained == pytest.approx(0.5)
    assert find_crashes(hours(100, *[nan] * 30, 90)) == []  # a day apart: nobody knows how it fell
    assert find_crashes(hours(nan, nan)) == []


def test_rising_prices_have_no_crash():
    assert find_crashes(hours(*np.linspace(100, 200, 100))) == []


def test_crashes_of_two_coins_at_once_are_refused():
    panel = hours(100, 90)
    two = replace(
        panel,
        symbols=(Symbol("BTC", "USD"), Symbol("ETH", "USD")),
        **{
            name: np.repeat(getattr(panel, name), 2, axis=1)
            for name in ("open", "high", "low", "close", "volume", "covered")
        },
    )
    with pytest.raises(UsageError, match="one symbol, not in 2"):
        find_crashes(two)


@given(
    drawn.arrays(np.float64, st.integers(0, 60), elements=st.one_of(st.floats(-9, 9), st.just(np.nan))),
    st.integers(1, 70),
)
def test_the_rolling_maximum_is_that_of_each_window(values: np.ndarray, window: int):
    found = rolling_max(values, window)
    for row, highest in enumerate(found):
        seen = values[max(0, row - window + 1) : row + 1]
        seen = seen[~np.isnan(seen)]
        assert np.isnan(highest) if not len(seen) else highest == seen.max()


def slow_search(close: np.ndarray, depth: float) -> list[tuple[int, int]]:
    """Rows of peaks and troughs of hourly closes, each fall looked at for itself in every round."""
    left, found = close.copy(), []
    while True:
        deepest = (depth, -1, -1)
        for trough in range(len(left)):
            seen = left[max(0, trough - 24) : trough + 1]
            if np.isnan(left[trough]):
                continue
            peak = max(row for row in range(max(0, trough - 24), trough + 1) if left[row] == np.nanmax(seen))
            fall = 1.0 - left[trough] / left[peak]
            if fall > deepest[0] or (fall == depth and deepest[1] < 0):
                deepest = (fall, peak, trough)
        _, peak, trough = deepest
        if peak < 0:
            return sorted(found, key=lambda rows: rows[1])
        found.append((peak, trough))
        left[max(0, peak - 24) : trough + 25] = np.nan


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-0.06, 0.06), min_size=1, max_size=200),
    st.sets(st.integers(0, 199), max_size=20),
    st.sampled_from([0.03, 0.05, 0.10]),
)
def test_whatever_the_prices_the_search_finds_what_a_slow_one_finds(
    steps: list[float], missing: set[int], depth: float
):
    prices = 100.0 * np.exp(np.cumsum(steps))
    prices[[row for row in missing if row < len(prices)]] = np.nan
    panel = hours(*prices)
    close = panel.close[:, 0]
    found = find_crashes(panel, depth_min=depth)
    first = int(panel.close_time_ms[0])
    rows = [((crash.peak_ms - first) // HOUR_MS, (crash.trough_ms - first) // HOUR_MS) for crash in found]
    assert rows == slow_search(close, depth)
    for crash, (peak, trough) in zip(found, rows, strict=True):
        assert 0 < trough - peak <= 24
        assert (crash.peak_price, crash.trough_price) == (close[peak], close[trough])
        assert 0.0 <= crash.fastest <= crash.depth + 1e-12


def test_the_window_reaches_from_before_the_peak_to_after_the_trough():
    crash = one(hours(100, 90))
    start, end = window_of(crash, days_before=3.0, days_after=0.5)
    assert crash.peak_ms - start == 3 * DAY_MS
    assert end - crash.trough_ms == DAY_MS // 2


# ------------------------------------------------------------------------------------- what protections did


@pytest.fixture(scope="module")
def told() -> CrashRun:
    tree, entries, market, _, _ = lively(number=5)
    crash = one(hours(100, 90))
    return run_crash(market, entries, tree, crash, progress=lambda _: None)


def test_every_protection_is_switched_off_once_and_all_are_on_first(told: CrashRun):
    names = [safeguard.name for safeguard in safeguards()]
    assert [run.without for run in told.runs] == [ALL, *names, "slow_regime"]
    assert len(set(names)) == len(names) == 11
    assert told.protected.acted is False


def test_the_run_with_all_protections_is_the_backtest(told: CrashRun):
    *_, base = lively(number=5)
    result = simulate_portfolio(base)
    assert told.protected.trades == len(result.trades)
    assert told.protected.return_net == pytest.approx(result.equity_e8[-1] / 1e8 / 10_000.0 - 1.0, abs=1e-12)


def test_what_did_not_act_changed_nothing(told: CrashRun):
    for run in told.runs[1:]:
        if not run.acted:
            assert replace(run, without=ALL, refused=told.protected.refused) == told.protected
    assert any(run.acted for run in told.runs)


def test_without_stops_nothing_is_stopped(told: CrashRun):
    by_name = {run.without: run for run in told.runs}
    assert told.protected.stops > 0
    assert by_name["stop_loss"].stops == 0
    assert by_name["trailing"].trailing_stops == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [(each.name, reason) for each in safeguards() for reason in each.reasons],
)
def test_what_is_off_refuses_nothing(name: str, reason: Reason):
    *_, base = lively()
    (safeguard,) = [each for each in safeguards() if each.name == name]
    assert reason not in simulate_portfolio(safeguard.off(base)).decisions["reason"]


def test_each_protection_changes_only_its_own_part():
    *_, base = lively()
    before = base.rules.protection.model_dump()
    touched = {
        "panic": {"fast_regime"},
        "fast_regime": {"fast_regime"},
        "cancelled_rungs": {"cancel_rungs_in_panic"},
        "day_loss": {"day_loss_max"},
        "drawdown": {"drawdown_max"},
        "losing_streak": {"losing_streak"},
        "cooldown": {"cooldown_stops"},
        "volatility": {"volatility"},
        "stop_widening": {"stop_widening"},
        "stop_loss": {"stop_widening"},
        "trailing": set(),
    }
    for safeguard in safeguards():
        after = safeguard.off(base)
        other = after.rules.protection.model_dump()
        assert {name for name in before if before[name] != other[name]} == touched[safeguard.name]
        differs = {
            name
            for name in base.setups.dtype.names
            if after.setups[name].tobytes() != base.setups[name].tobytes()
        }
        assert differs == {safeguard.name} & {"stop_loss", "trailing"}


def protected(
    without: str, return_net: float, *, drawdown: float = 0.1, refused: int | None = None
) -> ProtectedRun:
    return ProtectedRun(
        without=without,
        return_net=return_net,
        trades=1,
        left_open=0,
        stops=0,
        trailing_stops=0,
        max_drawdown=drawdown,
        refused=refused,
        acted=return_net != 0.0,
    )


def test_a_verdict_adds_up_what_helped_and_what_hurt():
    crash = one(hours(100, 90))
    found = [
        CrashRun(crash=crash, start_ms=0, end_ms=1, runs=(protected(ALL, with_, refused=9), without))
        for with_, without in (
            (-0.02, protected("panic", -0.05, drawdown=0.30, refused=4)),
            (0.01, protected("panic", 0.02, drawdown=0.05, refused=1)),
            (0.0, protected("panic", 0.0, refused=0)),
        )
    ]
    (verdict,) = verdicts(found)
    assert (verdict.name, verdict.crashes, verdict.acted, verdict.helped, verdict.hurt) == (
        "panic",
        3,
        2,
        1,
        1,
    )
    assert verdict.refused == 5
    assert verdict.gain == pytest.approx(0.03 - 0.01)
    assert (verdict.gain_best, verdict.gain_worst) == (pytest.approx(0.03), pytest.approx(-0.01))
    assert (verdict.drawdown_with, verdict.drawdown_without) == (0.1, 0.3)
    assert verdicts([]) == []
