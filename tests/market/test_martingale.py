"""The martingale market: what holds exactly of its bars, and that nothing in them says where the price goes."""

import numpy as np
import pytest

from crypto_tracker.core.bars import BAR_FIELDS
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.resample import resample
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from crypto_tracker.market.providers.martingale import (
    Jumps,
    MartingaleCoin,
    MartingaleMarket,
    MartingaleSettings,
    null_coins,
)

START_MS = 20_000 * DAY_MS


def market(number: int = 0, *, days: int = 4, **settings) -> MartingaleMarket:
    return MartingaleMarket(
        MartingaleSettings(
            seed=7, number=number, start_ms=START_MS, days=days, **{"coins": null_coins("USD"), **settings}
        )
    )


def one_coin(volatility: float = 0.04) -> tuple[MartingaleCoin, ...]:
    return (
        MartingaleCoin(
            symbol=Symbol("BTC", "USD"),
            price=100.0,
            beta=0.0,
            own_volatility=volatility,
            daily_volume_quote=1e8,
        ),
    )


def assert_no_mean(values: np.ndarray, *, errors: float = 4.0) -> None:
    """The mean of independent values is 0 within so many of its standard errors."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean()) < errors * error, (values.mean(), error)


# ---------------------------------------------------------------------------------------------- what it gives


def test_the_same_settings_give_the_same_bars_and_another_number_others():
    first, again, other = market(1).minutes, market(1).minutes, market(2).minutes
    for name in BAR_FIELDS:
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert not np.any(getattr(first, name)[5:] == getattr(other, name)[5:])


def test_one_coin_is_the_same_whatever_stands_behind_it():
    coins = null_coins("USD")
    assert np.array_equal(market(coins=coins[:2]).minutes.close, market(coins=coins).minutes.close[:, :2])


def test_a_part_of_the_span_is_a_part_of_the_bars_and_outside_is_unknown():
    made = market()
    start, end = START_MS - 2 * HOUR_MS, START_MS + 3 * HOUR_MS
    panel = made.panel(made.symbols, Timeframe.M1, start, end)
    assert len(panel) == 300
    assert not panel.covered[:120].any()
    assert not panel.present[:120].any()
    assert np.array_equal(panel.close[120:], made.minutes.close[:180])
    late = made.panel(made.symbols[:1], Timeframe.M1, START_MS + 4 * DAY_MS, START_MS + 5 * DAY_MS)
    assert len(late) == 1440
    assert not late.covered.any()
    early = made.panel(made.symbols, Timeframe.H1, START_MS - DAY_MS, START_MS - HOUR_MS)
    assert (len(early), early.present.any()) == (23, False)


def test_coarser_bars_are_made_of_minutes():
    made = market()
    hours = made.panel(made.symbols, Timeframe.H1, START_MS, START_MS + DAY_MS)
    minutes = made.panel(made.symbols, Timeframe.M1, START_MS, START_MS + DAY_MS)
    expected = resample(minutes, Timeframe.H1)
    for name in BAR_FIELDS:
        assert np.array_equal(getattr(hours, name), getattr(expected, name))


@pytest.mark.parametrize("jumps", list(Jumps))
def test_every_bar_is_one_and_none_is_missing(jumps: Jumps):
    panel = market(jumps=jumps, jumps_per_day=20.0).minutes
    assert len(panel) == 4 * 1440
    assert panel.present.all()
    assert panel.covered.all()
    assert np.all(panel.low > 0.0)
    assert np.all(panel.volume > 0.0)
    for end in (panel.open, panel.close):
        assert np.all(panel.low <= end)
        assert np.all(panel.high >= end)


def test_only_a_jump_between_bars_parts_an_open_from_the_close_before():
    for jumps, apart in ((Jumps.TRADED, 0), (Jumps.INSIDE, 0), (Jumps.BETWEEN, 1)):
        panel = market(days=30, jumps=jumps, jumps_per_day=5.0).minutes
        gaps = np.abs(np.log(panel.open[1:] / panel.close[:-1])) > 1e-9
        assert 4.0 * apart <= gaps.sum() / 30.0 / 4.0 <= 6.0 * apart


def test_markets_that_can_not_be_are_refused():
    with pytest.raises(UsageError, match="given twice"):
        market(coins=one_coin() * 2)
    with pytest.raises(UsageError, match="start of a UTC day"):
        MartingaleMarket(MartingaleSettings(seed=1, start_ms=MINUTE_MS, days=1, coins=one_coin()))


# ------------------------------------------------------------------------------------ nobody can beat it


@pytest.mark.parametrize("jumps", list(Jumps))
def test_a_price_is_expected_to_stay_where_it_is(jumps: Jumps):
    ends = [market(number, days=2, jumps=jumps, jumps_per_day=5.0).minutes for number in range(100)]
    changes = np.array([panel.close[-1] / panel.open[0] - 1.0 for panel in ends])
    assert_no_mean(changes.mean(axis=1))


def test_no_past_tells_the_direction():
    gains = []
    for number in range(60):
        close = market(number, days=2).minutes.close
        change = close[1:] / close[:-1] - 1.0
        hour = close[60:-1] / close[:-61] - 1.0
        # Buying after a rise, after a fall in an hour, and after a wide minute, always for one minute.
        gains.append(
            [
                (np.sign(change[:-1]) * change[1:]).sum(),
                (np.sign(-hour) * change[60:]).sum(),
                (change[1:] * (np.abs(change[:-1]) > 0.002)).sum(),
            ]
        )
    for rule in np.array(gains).T:
        assert_no_mean(rule)


def stopped_at(panel, distance: float, *, below: bool) -> float:
    """Gain of who sells at a level that the first day touches, at that level, or else at the day's close."""
    start = panel.open[0, 0]
    if below:
        level = start * (1.0 - distance)
        return (level if panel.low.min() <= level else panel.close[-1, 0]) / start - 1.0
    level = start * (1.0 + distance)
    return (level if panel.high.max() >= level else panel.close[-1, 0]) / start - 1.0


@pytest.mark.parametrize("below", [True, False])
def test_who_sells_at_a_level_that_was_touched_gains_nothing(below: bool):
    gains = [
        stopped_at(
            market(number, days=1, coins=one_coin(), factor_volatility=0.0, jumps_per_day=20.0).minutes,
            0.02,
            below=below,
        )
        for number in range(400)
    ]
    assert_no_mean(np.array(gains))


def test_a_stop_that_a_jump_inside_a_bar_passed_is_sold_too_well_and_a_target_too_badly():
    markets = [
        market(
            number,
            days=1,
            coins=one_coin(0.01),
            factor_volatility=0.0,
            jumps=Jumps.INSIDE,
            jumps_per_day=3.0,
        ).minutes
        for number in range(1_500)
    ]
    stop, target = (
        np.array([stopped_at(panel, 0.02, below=below) for panel in markets]) for below in (True, False)
    )
    assert stop.mean() > 4.0 * stop.std() / np.sqrt(len(stop))
    assert target.mean() < -4.0 * target.std() / np.sqrt(len(target))


# --------------------------------------------------------------------------------- it looks like a market


def test_volatility_clusters_and_tails_are_fat():
    close = market(days=60, jumps_per_day=0.0).minutes.close[:, 0]
    hours = np.abs(np.diff(np.log(close[::60])))
    assert np.corrcoef(hours[1:], hours[:-1])[0, 1] > 0.1
    minutes = np.diff(np.log(market(days=60).minutes.close[:, 0]))
    assert ((minutes / minutes.std()) ** 4).mean() > 10.0


def test_volatility_is_what_was_asked_for():
    days = [
        np.diff(np.log(market(number, days=40, coins=one_coin(0.04), jumps_per_day=0.0).minutes.close[:, 0]))
        for number in range(30)
    ]
    daily = np.sqrt(np.mean([(each**2).sum() / 40.0 for each in days]))
    assert 0.036 < daily < 0.044


def test_volume_comes_with_wide_bars_up_or_down_alike():
    panel = market(days=30).minutes
    width = np.log(panel.high / panel.low)[:, 1]
    change = np.log(panel.close / panel.open)[:, 1]
    volume = (panel.volume * panel.open)[:, 1]
    assert np.corrcoef(width, volume)[0, 1] > 0.4
    assert abs(np.corrcoef(np.sign(change), volume)[0, 1]) < 0.03


def test_coins_share_a_factor():
    change = np.diff(np.log(market(days=30).minutes.close[::60]), axis=0)
    related = np.corrcoef(change.T)
    assert related[0, 1] > 0.3
    assert related[0, 1] < 0.99
