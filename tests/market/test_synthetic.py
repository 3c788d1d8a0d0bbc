"""What the synthetic market promises: it looks like crypto, and its martingale mode has no edge."""

from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError

from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.tiers import ByTier
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, to_ms
from crypto_tracker.market.providers.synthetic import SyntheticMarket
from crypto_tracker.market.providers.synthetic_settings import (
    Crash,
    SyntheticCoin,
    SyntheticSettings,
    default_coins,
    flash_crash,
)

GENESIS = to_ms(datetime(2024, 1, 1, tzinfo=UTC))
BTC, ETH, SOL, KAS = (Symbol(base, "USD") for base in ("BTC", "ETH", "SOL", "KAS"))


def coin(symbol: Symbol, **changes: object) -> SyntheticCoin:
    facts: dict[str, object] = {
        "symbol": symbol,
        "price": 100.0,
        "price_decimals": 4,
        "beta": 1.0,
        "own_volatility": 0.02,
        "daily_volume_quote": 1e7,
        "trades_per_minute": 50.0,
        "half_spread": 0.0001,
    }
    return SyntheticCoin.model_validate(facts | changes)


def market(*coins: SyntheticCoin, **settings: object) -> SyntheticMarket:
    facts: dict[str, object] = {"seed": 7, "genesis_ms": GENESIS, "coins": coins or default_coins()}
    return SyntheticMarket(SyntheticSettings.model_validate(facts | settings))


def days(count: float) -> int:
    return GENESIS + int(count * DAY_MS)


def log_returns(panel: Panel) -> np.ndarray:
    return np.diff(np.log(panel.close), axis=0)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    return float(np.corrcoef(a[both], b[both])[0, 1])


def same(a: Panel, b: Panel) -> bool:
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in (*BAR_FIELDS, "covered"))


@pytest.fixture(scope="module")
def month() -> Panel:
    """Thirty days of the twenty default coins."""
    made = market(outages_per_day=0.0)
    return made.panel(made.symbols, GENESIS, days(30))


# ------------------------------------------------------------------------------------------ determinism


def test_the_same_seed_gives_the_same_bars_and_another_seed_gives_others():
    one = market(seed=1).panel([BTC, SOL], GENESIS, days(1))
    again = market(seed=1).panel([BTC, SOL], GENESIS, days(1))
    other = market(seed=2).panel([BTC, SOL], GENESIS, days(1))
    assert same(one, again)
    assert not np.array_equal(one.close, other.close)


@pytest.mark.parametrize("mode", ["market", "martingale"])
def test_a_bar_does_not_depend_on_the_span_or_on_the_other_symbols_that_are_asked_for(mode):
    listed = days(2) + 5 * HOUR_MS
    coins = tuple(
        each.model_copy(update={"listed_ms": listed}) if each.symbol == KAS else each
        for each in default_coins()
    )
    crashes = (flash_crash(days(3) + 7 * HOUR_MS),) if mode == "market" else ()
    settings = {"mode": mode, "crashes": crashes, "outages_per_day": 0.5}
    whole = market(*coins, **settings).panel([BTC, SOL, KAS], GENESIS, days(8))
    for start, end in [
        (days(3.25), days(3.5)),
        (days(8) - MINUTE_MS, days(8)),
        (days(2), days(5)),
        (days(4.5), days(4.75)),
    ]:
        alone = market(*coins, **settings).panel([KAS], start, end)
        assert same(alone, whole.select([KAS]).between(start, end))
    # The same object asked twice, in another order and far away in between, says the same too.
    made = market(*coins, **settings)
    made.panel([ETH], days(600), days(601))
    assert same(made.panel([KAS, BTC], days(3), days(4)), whole.select([KAS, BTC]).between(days(3), days(4)))


def test_days_on_both_sides_of_a_block_of_days_join():
    made = market(coin(BTC), mode="martingale")
    panel = made.panel([BTC], days(127), days(129))
    seam = panel.close[1439, 0], panel.open[1440, 0]
    assert seam[0] == pytest.approx(seam[1], rel=1e-12)


def test_pieces_put_together_are_the_whole():
    made = market()
    whole = made.panel([BTC, KAS], days(0.5), days(5.25))
    pieces = list(made.panels([BTC, KAS], days(0.5), days(5.25), days=2))
    assert [len(piece) for piece in pieces] == [2160, 2880, 1800]
    assert np.array_equal(np.concatenate([piece.close for piece in pieces]), whole.close, equal_nan=True)


def test_batches_for_the_store_hold_every_bar_and_say_what_is_covered():
    made = market(outages_per_day=1.0)
    panel = made.panel([BTC, KAS], GENESIS, days(3))
    batches = list(made.batches([BTC, KAS], GENESIS, days(3), days=2))
    assert [str(symbol) for symbol, _, _ in batches] == ["BTC/USD", "KAS/USD"] * 2
    for column, symbol in enumerate((BTC, KAS)):
        mine = [(batch, covered) for each, batch, covered in batches if each == symbol]
        times = np.concatenate([batch.open_time_ms for batch, _ in mine])
        assert np.array_equal(times, panel.open_time_ms[panel.present[:, column]])
        minutes = sum((end - start) // MINUTE_MS for _, covered in mine for start, end in covered)
        assert minutes == panel.covered[:, column].sum() < len(panel)


# ------------------------------------------------------------------------------------------ valid bars


@pytest.mark.parametrize("mode", ["market", "martingale"])
def test_every_bar_is_valid(mode):
    crashes = (flash_crash(days(1)),) if mode == "market" else ()
    made = market(mode=mode, crashes=crashes)
    panel = made.panel(made.symbols, GENESIS, days(3))
    there = panel.present
    for name in BAR_FIELDS:
        assert np.array_equal(np.isfinite(getattr(panel, name)), there)
    assert (panel.high >= np.maximum(panel.open, panel.close))[there].all()
    assert (panel.low <= np.minimum(panel.open, panel.close))[there].all()
    assert (panel.low > 0)[there].all()
    assert (panel.volume > 0)[there].all()
    assert panel.covered[there].all()


def test_prices_lie_on_the_tick_in_market_mode_and_anywhere_in_martingale_mode():
    ticked = market(coin(BTC, price=100.0, price_decimals=2)).panel([BTC], GENESIS, days(1))
    for name in ("open", "high", "low", "close"):
        prices = getattr(ticked, name)[ticked.present]
        assert np.array_equal(prices, np.array([float(f"{price:.2f}") for price in prices]))
    free = market(coin(BTC, price=100.0, price_decimals=2), mode="martingale").panel([BTC], GENESIS, days(1))
    assert (np.round(free.close, 2) != free.close).mean() > 0.99


def test_a_bar_opens_within_one_spread_of_the_last_trade():
    made = market(coin(BTC, half_spread=0.0002, price_decimals=6, trades_per_minute=1e6), outages_per_day=0.0)
    panel = made.panel([BTC], GENESIS, days(1))
    gap = np.abs(panel.open[1:, 0] / panel.close[:-1, 0] - 1.0)
    # Bid to ask is twice the half spread of 0.0002; the tick of 1e-6 on a price near 100 adds about 1e-8.
    assert gap.max() == pytest.approx(0.0004, rel=1e-3)
    assert ((gap < 1e-6) | (gap > 0.00039)).all()


# ------------------------------------------------------------------------------------------ stylised facts


def test_coins_move_together_as_their_betas_say():
    # Three coins of beta 1, own volatility 0.02, factor 0.02: the correlation is 0.0004 / (0.0004 + 0.0004) = 0.5
    coins = [coin(symbol, half_spread=0.0, price_decimals=8) for symbol in (BTC, ETH, SOL)]
    made = market(
        *coins,
        factor_volatility=0.02,
        slow_volatility=0.0,
        fast_volatility=0.0,
        news_per_day=0.0,
        outages_per_day=0.0,
    )
    returns = log_returns(made.panel([BTC, ETH, SOL], GENESIS, days(30)))
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        assert correlation(returns[:, a], returns[:, b]) == pytest.approx(0.5, abs=0.03)


def test_large_coins_follow_the_market_closer_than_small_ones(month):
    returns = log_returns(month)
    names = [str(symbol) for symbol in month.symbols]
    with_btc = {name: correlation(returns[:, 0], returns[:, column]) for column, name in enumerate(names)}
    assert 0.65 < with_btc["ETH/USD"] < 0.95
    assert with_btc["KAS/USD"] < with_btc["ETH/USD"]
    assert min(with_btc.values()) > 0.3


def test_daily_volatility_is_the_one_asked_for():
    # sqrt(0.03 ** 2 + 0.04 ** 2) = 0.05; 200 days of deterministic daily variance: standard error 0.05 / 20
    made = market(
        coin(BTC, own_volatility=0.04),
        factor_volatility=0.03,
        slow_volatility=0.0,
        fast_volatility=0.0,
        season=0.0,
        sentiment=0.0,
        news_per_day=0.0,
        outages_per_day=0.0,
    )
    close = made.panel([BTC], GENESIS, days(201)).close[1439::1440, 0]
    assert np.std(np.diff(np.log(close))) == pytest.approx(0.05, abs=0.0075)


def test_minute_returns_have_fat_tails(month):
    returns = log_returns(month)
    for column in range(len(month.symbols)):
        r = returns[np.isfinite(returns[:, column]), column]
        assert np.mean((r - r.mean()) ** 4) / np.var(r) ** 2 > 4.0  # 3 is the bell curve


def test_volatility_clusters(month):
    size = np.abs(log_returns(month))
    for column in range(len(month.symbols)):
        assert correlation(size[:-1, column], size[1:, column]) > 0.1
        assert correlation(size[:-60, column], size[60:, column]) > 0.02  # and an hour later


def test_volume_follows_volatility(month):
    spread = np.log(month.high / month.low)
    for column in range(len(month.symbols)):
        wide = spread[:, column] > 0
        assert correlation(np.log(month.volume[wide, column]), np.log(spread[wide, column])) > 0.3


def test_afternoons_are_busier_and_wilder_than_nights(month):
    hour = month.open_time_ms // HOUR_MS % 24
    afternoon, night = (hour >= 13) & (hour < 17), (hour >= 1) & (hour < 5)
    spread = np.log(month.high / month.low)
    for column in (0, 1, 2):
        turnover = month.volume[:, column] * month.close[:, column]
        assert np.nanmean(turnover[afternoon]) > 1.5 * np.nanmean(turnover[night])
        assert np.nanmean(spread[afternoon, column]) > 1.2 * np.nanmean(spread[night, column])


def test_without_season_the_hours_are_alike():
    made = market(coin(BTC), season=0.0, slow_volatility=0.0, fast_volatility=0.0, outages_per_day=0.0)
    panel = made.panel([BTC], GENESIS, days(30))
    by_hour = panel.volume[:, 0].reshape(30, 24, 60).mean(axis=(0, 2)) * panel.close.mean()
    assert by_hour.max() / by_hour.min() < 1.3


def test_quiet_coins_miss_minutes_and_busy_ones_do_not(month):
    silent = dict(zip(map(str, month.symbols), month.no_trade.mean(axis=0).tolist(), strict=True))
    assert silent["BTC/USD"] == 0.0
    assert 0.01 < silent["KAS/USD"] < 0.2
    assert silent["SOL/USD"] < silent["PEPE/USD"]


# ------------------------------------------------------------------------------------------ what is unknown


def test_an_outage_is_unknown_for_every_coin_and_not_a_minute_more():
    outage = (days(1) + 10 * HOUR_MS, days(1) + 11 * HOUR_MS)
    over_midnight = (days(2) - 5 * MINUTE_MS, days(2) + 5 * MINUTE_MS)
    made = market(coin(BTC), coin(ETH), outages_per_day=0.0, outages_ms=(outage, over_midnight))
    panel = made.panel([BTC, ETH], GENESIS, days(3))
    unknown = np.flatnonzero(~panel.covered[:, 0])
    assert unknown.tolist() == [*range(1440 + 600, 1440 + 660), *range(2875, 2885)]
    assert np.array_equal(panel.covered[:, 0], panel.covered[:, 1])
    assert not panel.present[unknown].any()
    assert made.coverage(BTC, GENESIS, days(3)) == [
        (GENESIS, outage[0]),
        (outage[1], over_midnight[0]),
        (over_midnight[1], days(3)),
    ]


def test_outages_come_as_often_as_asked_and_last_5_to_60_minutes():
    made = market(coin(BTC), outages_per_day=0.5)
    intervals = made.coverage(BTC, GENESIS, days(200))
    gaps = [(b - a) // MINUTE_MS for (_, a), (b, _) in pairwise(intervals)]
    assert 70 <= len(gaps) <= 130  # 100 expected, standard deviation 7
    assert min(gaps) >= 1  # one cut off by midnight may be shorter
    assert max(gaps) <= 60


def test_coverage_and_panel_say_the_same():
    made = market(*default_coins()[:3], coin(KAS, listed_ms=days(1) + 90_500), outages_per_day=1.0)
    panel = made.panel([KAS], GENESIS - DAY_MS, days(4))
    covered = np.zeros(len(panel), dtype=bool)
    for start, end in made.coverage(KAS, GENESIS - DAY_MS, days(4)):
        covered |= (panel.open_time_ms >= start) & (panel.open_time_ms < end)
    assert np.array_equal(panel.covered[:, 0], covered)
    assert made.coverage(KAS, GENESIS, days(1)) == []


def test_a_coin_is_unknown_before_it_is_listed_and_everything_is_before_genesis():
    listed = days(1) + 3 * HOUR_MS
    made = market(coin(BTC), coin(KAS, listed_ms=listed), outages_per_day=0.0)
    panel = made.panel([BTC, KAS], days(-1), days(3))
    assert not panel.covered[:1440].any()
    assert panel.covered[1440:, 0].all()
    first = (listed - days(-1)) // MINUTE_MS
    assert not panel.covered[:first, 1].any()
    assert panel.covered[first:, 1].all()
    assert panel.present[first, 1]


def test_a_symbol_that_the_market_does_not_have_is_refused_by_name():
    with pytest.raises(UsageError, match=r"no XMR/USD.*BTC/USD"):
        market().panel([Symbol("XMR", "USD")], GENESIS, days(1))


# ------------------------------------------------------------------------------------------ crashes


def test_a_crash_falls_as_deep_as_asked_and_most_of_it_comes_back():
    crash = Crash(
        start_ms=days(2) + 20 * HOUR_MS,
        depth=0.15,
        fall_minutes=300,
        recovery_minutes=2880,
        recovered=0.8,
        volatility=0.0,
    )
    quiet = {
        "factor_volatility": 1e-9,
        "sentiment": 0.0,
        "news_per_day": 0.0,
        "outages_per_day": 0.0,
        "crashes": (crash,),
    }
    coins = [
        coin(BTC, own_volatility=1e-9, half_spread=0.0),
        coin(ETH, beta=1.5, own_volatility=1e-9, half_spread=0.0),
    ]
    panel = market(*coins, **quiet).panel([BTC, ETH], GENESIS, days(6))
    begin = (crash.start_ms - GENESIS) // MINUTE_MS
    assert panel.close[begin - 1, 0] == pytest.approx(100.0)
    assert panel.close[begin + 299, 0] == pytest.approx(85.0)  # 100 x (1 - 0.15), over midnight
    assert panel.close[begin + 299, 1] == pytest.approx(100.0 * 0.85**1.5, rel=1e-5)
    assert panel.close[begin + 149, 0] == pytest.approx(
        100.0 * 0.85**0.25, rel=1e-3
    )  # half the time, a quarter of it
    assert panel.close[begin + 3179, 0] == pytest.approx(
        100.0 * 0.85**0.2, rel=1e-5
    )  # 0.8 of it has come back
    assert panel.close[-1, 0] == pytest.approx(100.0 * 0.85**0.2, rel=1e-5)
    assert panel.low[:, 0].min() == pytest.approx(85.0, rel=1e-4)


def test_a_crash_is_wild_and_busy():
    calm = market(*default_coins()[:2], outages_per_day=0.0)
    wild = market(*default_coins()[:2], outages_per_day=0.0, crashes=(flash_crash(days(2) + 12 * HOUR_MS),))
    spans = [made.panel([BTC], days(2) + 13 * HOUR_MS, days(2) + 16 * HOUR_MS) for made in (calm, wild)]
    spread = [float(np.log(panel.high / panel.low).mean()) for panel in spans]
    turnover = [float((panel.volume * panel.close).sum()) for panel in spans]
    assert spread[1] > 1.5 * spread[0]
    assert turnover[1] > 1.5 * turnover[0]


def test_before_the_crash_nobody_can_tell_that_it_comes():
    calm = market(*default_coins()[:2])
    wild = market(*default_coins()[:2], crashes=(flash_crash(days(5) + 12 * HOUR_MS),))
    assert same(calm.panel([BTC, ETH], GENESIS, days(5)), wild.panel([BTC, ETH], GENESIS, days(5)))


# ------------------------------------------------------------------------------------------ news


def test_news_moves_one_coin_within_the_hour_with_much_volume_and_leaves_the_others_alone():
    # Nothing but news: one a day, and noise so small that whatever moves is news.
    coins = [coin(symbol, own_volatility=1e-6, half_spread=0.0, price_decimals=8) for symbol in (BTC, ETH)]
    made = market(
        *coins, factor_volatility=1e-6, sentiment=0.0, outages_per_day=0.0, news_per_day=1.0, news_size=0.05
    )
    panel = made.panel([BTC, ETH], GENESIS, days(20))
    sizes = []
    for day in range(20):
        rows = slice(1440 * day, 1440 * day + 1440)
        moving = [panel.high[rows, c] / panel.low[rows, c] > 1.0001 for c in (0, 1)]
        for column, each in enumerate(moving):
            minutes = np.flatnonzero(each)
            if not len(minutes):
                continue  # the news of this day was next to nothing
            assert minutes[-1] - minutes[0] < 60
            busy, usual = panel.volume[rows, column][each].mean(), np.median(panel.volume[rows, column])
            assert busy > 20 * usual
            sizes.append(float(np.log(panel.close[rows.stop - 1, column] / panel.open[rows.start, column])))
        assert not (moving[0] & moving[1]).all()
    assert len(sizes) >= 36
    assert 0.03 < np.std(sizes) < 0.08  # 0.05 and the noise of the move, which is a few per cent of it
    assert min(sizes) < 0 < max(sizes)


# ------------------------------------------------------------------------------------------ no edge


def ends_of_many_martingales(count: int, span_days: int, **settings: object) -> np.ndarray:
    """Last close over first open, of one coin each under `count` seeds."""
    ends = []
    for seed in range(count):
        made = market(
            coin(BTC, trades_per_minute=1e6), mode="martingale", seed=seed, outages_per_day=0.0, **settings
        )
        last = made.panel([BTC], days(span_days) - MINUTE_MS, days(span_days))
        ends.append(last.close[0, 0] / 100.0)
    return np.array(ends)


def test_the_expected_end_of_a_martingale_is_its_beginning():
    # Steep volatility, so that a forgotten convexity term would show: 16 days at 0.2 a day, variance 0.64;
    # without the term the mean would be exp(0.32) = 1.38.
    ends = ends_of_many_martingales(
        2000, 16, factor_volatility=0.2, slow_volatility=0.0, fast_volatility=0.0, sentiment=0.9
    )
    error = ends.std(ddof=1) / np.sqrt(len(ends))
    assert error < 0.04
    assert abs(ends.mean() - 1.0) < 3.0 * error
    # And the log path has exactly the variance that was asked for: 16 x (0.04 + 0.0004).
    assert np.log(ends).var() == pytest.approx(16 * 0.0404, rel=0.15)


def test_no_minute_of_a_martingale_tells_the_next_one_within_what_chance_allows():
    # Signs do not depend on volatility, so their correlation over n minutes has standard error 1 / sqrt(n).
    lags, symbols = (1, 2, 3, 5, 10, 30, 60, 1440), (BTC, SOL)
    made = market(mode="martingale", outages_per_day=0.0)
    panel = made.panel(symbols, GENESIS, days(60))
    z = []
    for column in range(len(symbols)):
        moves = panel.close[:, column] - panel.open[:, column]
        step = np.sign(moves[np.isfinite(moves)])
        z.append(step.mean() * np.sqrt(len(step)))
        z.extend((step[lag:] * step[:-lag]).mean() * np.sqrt(len(step) - lag) for lag in lags)
    # 18 statistics; Bonferroni at 0.001 in all: |z| < 4.04
    assert np.abs(z).max() < 4.04


def test_the_mean_return_of_a_martingale_is_zero_within_its_error_before_and_after_every_kind_of_minute():
    made = market(coin(BTC, trades_per_minute=1e6), mode="martingale", outages_per_day=0.0)
    panel = made.panel([BTC], GENESIS, days(60))
    gain = panel.close[1:, 0] / panel.close[:-1, 0] - 1.0
    before = panel.close[:-1, 0] / panel.open[:-1, 0] - 1.0
    volume, spread = panel.volume[:-1, 0], panel.high[:-1, 0] / panel.low[:-1, 0]
    hour = panel.open_time_ms[1:] // HOUR_MS % 24
    signals = {
        "always": np.ones(len(gain), dtype=bool),
        "after a fall": before < 0,
        "after a steep fall": before < np.quantile(before, 0.02),
        "after a steep rise": before > np.quantile(before, 0.98),
        "after a busy minute": volume > np.quantile(volume, 0.95),
        "after a wide minute": spread > np.quantile(spread, 0.95),
        "at night": hour < 6,
        "at the day's first minute": panel.open_time_ms[1:] % DAY_MS == 0,
    }
    for name, chosen in signals.items():
        t = gain[chosen].mean() / (gain[chosen].std(ddof=1) / np.sqrt(chosen.sum()))
        assert abs(t) < 3.5, f"buying {name} gains {t:.1f} standard errors"


def test_the_extremes_of_a_martingale_minute_are_those_of_its_own_path():
    # A driftless path from 0 with variance v in the minute has E[max] = sqrt(2 v / pi), and so has -min.
    # Constant volatility 0.02 a day, tails as thin as they get: v = 0.0004 / 1440.
    made = market(
        coin(BTC, beta=0.0, own_volatility=0.02, trades_per_minute=1e6),
        mode="martingale",
        slow_volatility=0.0,
        fast_volatility=0.0,
        season=0.0,
        tail_freedom=1e6,
        outages_per_day=0.0,
    )
    panel = made.panel([BTC], GENESIS, days(40))
    expected = np.sqrt(2.0 * 0.0004 / 1440 / np.pi)
    above = np.log(panel.high / panel.open).mean()
    below = np.log(panel.open / panel.low).mean()
    assert above == pytest.approx(expected, rel=0.01)
    assert below == pytest.approx(expected, rel=0.01)


def test_selling_at_a_target_or_stop_that_the_path_touches_gains_nothing_in_a_martingale():
    # Buy at each day's first open; sell at exactly +1 % or -1 %, whichever is touched first (in a minute that
    # touches both: half and half), else at the day's last close. The expected gain is zero.
    made = market(coin(BTC, trades_per_minute=1e6), mode="martingale", outages_per_day=0.0)
    panel = made.panel([BTC], GENESIS, days(250))
    gains = []
    for day in range(250):
        rows = slice(1440 * day, 1440 * day + 1440)
        entry = panel.open[rows.start, 0]
        up, down = panel.high[rows, 0] >= 1.01 * entry, panel.low[rows, 0] <= 0.99 * entry
        first_up = np.argmax(up) if up.any() else 1440
        first_down = np.argmax(down) if down.any() else 1440
        if first_up == first_down == 1440:
            gains.append(panel.close[rows.stop - 1, 0] / entry - 1.0)
        else:
            gains.append(0.01 * float(np.sign(first_down - first_up)))
    t = np.mean(gains) / (np.std(gains, ddof=1) / np.sqrt(len(gains)))
    assert abs(t) < 3.0


def test_a_martingale_with_a_scheduled_crash_is_refused():
    with pytest.raises(ValidationError, match="a martingale has no scheduled crash"):
        market(mode="martingale", crashes=(flash_crash(days(1)),))


# ------------------------------------------------------------------------------------------ settings, speed


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValidationError, match="not the start of a UTC day"):
        market(genesis_ms=GENESIS + 1)
    with pytest.raises(ValidationError, match="a symbol was given twice"):
        market(coin(BTC), coin(BTC))
    with pytest.raises(ValidationError, match="is empty"):
        market(outages_ms=((5, 5),))


def test_the_default_universe_has_twenty_coins_in_every_tier_and_its_provider_is_called_synthetic():
    coins = default_coins()
    assert len({each.symbol for each in coins}) == 20
    betas = ByTier(large_cap=1.0, mid_cap=1.2, small_cap=1.15, memecoin=1.4)
    assert {each.beta for each in coins} == set(betas.array().tolist())
    assert SyntheticMarket.name == "synthetic"


def test_a_month_of_twenty_coins_has_a_bar_for_each_of_their_minutes():
    made = market()
    panel = made.panel(made.symbols, GENESIS, days(30))
    assert panel.close.size == 864_000
