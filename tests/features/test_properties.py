"""What must hold for any bars at all."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.features import indicators
from crypto_tracker.features.align import align, last_known
from tests.features.drawn import same_bits

# Prices with four digits, now and then the same as before, now and then missing.
PRICE = st.one_of(
    st.integers(1, 10_000).map(lambda ticks: ticks / 4),
    st.sampled_from([100.0, 100.25]),
    st.just(float("nan")),
)


@st.composite
def bars(draw, least=1, most=60):
    """(high, low, close, volume), each (bars, 2), missing together."""
    rows = draw(st.integers(least, most))
    close = np.array(draw(st.lists(PRICE, min_size=rows * 2, max_size=rows * 2))).reshape(rows, 2)
    reach = np.array(draw(st.lists(st.integers(0, 40), min_size=rows * 4, max_size=rows * 4))) / 8
    high = close + reach[: rows * 2].reshape(rows, 2)
    low = close / (1 + reach[rows * 2 :].reshape(rows, 2))
    volume = np.array(draw(st.lists(st.integers(0, 10**9), min_size=rows * 2, max_size=rows * 2)))
    volume = np.where(np.isnan(close), np.nan, volume.reshape(rows, 2) / 16)
    return high, low, close, volume


WINDOW = st.integers(1, 12)


def everything(market, window):
    """Every indicator of one market; `ratios` do not depend on the scale of prices, `prices` double with it."""
    high, low, close, volume = market
    bands = indicators.bollinger(close, window=window, deviations=2)
    macd = indicators.macd(close, fast=window, slow=window + 3, signal=4)
    stochastic = indicators.stochastic(high, low, close, window=window, smooth_k=3, smooth_d=2)
    ratios = {
        "rsi": indicators.rsi(close, window=window),
        "width": bands.width,
        "position": bands.position,
        "roc": indicators.roc(close, window=window),
        "k": stochastic.k,
        "d": stochastic.d,
        "support": indicators.change(close, indicators.support(low, window=window)),
        "resistance": indicators.change(close, indicators.resistance(high, window=window)),
        "volatility": indicators.realised_volatility(close, window=window, bars_per_day=96),
        "correlation": indicators.correlation(close, high, window=window),
        "volume": indicators.ratio(volume, indicators.rolling_mean(volume, window=window)),
        "sma": indicators.change(close, indicators.rolling_mean(close, window=window)),
        "ema": indicators.change(close, indicators.ema(close, window=window)),
    }
    prices = {
        "macd": macd.line,
        "signal": macd.signal,
        "histogram": macd.histogram,
        "atr": indicators.atr(high, low, close, window=window),
        "std": indicators.rolling_std(close, window=window),
    }
    return ratios, prices


@given(bars(least=2), WINDOW, st.data())
def test_later_bars_never_change_an_earlier_value(market, window, data):
    cut = data.draw(st.integers(1, len(market[0]) - 1))
    ratios, prices = everything(market, window)
    earlier_ratios, earlier_prices = everything(tuple(values[:cut] for values in market), window)
    for name, values in (ratios | prices).items():
        assert same_bits((earlier_ratios | earlier_prices)[name], values[:cut]), name


@given(bars(), WINDOW)
def test_doubling_all_prices_leaves_ratios_to_the_bit_and_doubles_prices(market, window):
    high, low, close, volume = market
    ratios, prices = everything(market, window)
    doubled_ratios, doubled_prices = everything((high * 2, low * 2, close * 2, volume), window)
    for name, values in ratios.items():
        assert same_bits(doubled_ratios[name], values), name
    for name, values in prices.items():
        assert same_bits(doubled_prices[name], values * 2), name


@given(bars(), WINDOW, st.data())
def test_a_row_without_a_bar_has_no_value_and_changes_no_other(market, window, data):
    at = data.draw(st.integers(0, len(market[0])))
    with_gap = tuple(np.insert(values, at, np.nan, axis=0) for values in market)
    ratios, prices = everything(market, window)
    gap_ratios, gap_prices = everything(with_gap, window)
    for name, values in (gap_ratios | gap_prices).items():
        assert np.isnan(values[at]).all(), name
        assert same_bits(np.delete(values, at, axis=0), (ratios | prices)[name]), name


@given(bars(), WINDOW)
def test_every_value_lies_where_its_definition_lets_it(market, window):
    ratios, prices = everything(market, window)
    for name, least, most in (
        ("rsi", 0, 100),
        ("k", -1e-9, 100 + 1e-9),
        ("d", -1e-9, 100 + 1e-9),
        ("correlation", -1, 1),
        ("width", 0, np.inf),
        ("volatility", 0, np.inf),
        ("volume", 0, window * (1 + 1e-12)),
    ):
        values = ratios[name][~np.isnan(ratios[name])]
        assert ((values >= least) & (values <= most)).all(), name
    assert not np.any(prices["atr"] < 0)
    assert not np.any(prices["std"] < 0)


@given(bars(least=13), st.integers(2, 6))
def test_a_window_of_equal_closes_has_no_deviation_and_no_correlation(market, window):
    close = market[2].copy()
    close[-window - 1 :] = 33.3
    assert (indicators.rolling_std(close, window=window)[-1] == 0.0).all()
    other = np.where(np.isnan(market[0]), 50.0, market[0])
    assert np.isnan(indicators.correlation(close, other, window=window)[-1]).all()


@settings(max_examples=50)
@given(
    st.lists(st.integers(0, 200), min_size=1, max_size=30, unique=True).map(sorted),
    st.lists(st.integers(-10, 220), min_size=1, max_size=30).map(sorted),
    st.integers(0, 20),
    st.data(),
)
def test_what_is_joined_is_never_from_later_and_never_older_than_allowed(source, target, age, data):
    missing = np.array(data.draw(st.lists(st.booleans(), min_size=len(source), max_size=len(source))))
    closes, at = np.array(source) * MINUTE_MS, np.array(target) * MINUTE_MS
    values = np.where(missing, np.nan, np.array(source, dtype=float))[:, None]  # each value is its own time
    assume(len(closes))
    latest = align(values, closes, at)[:, 0]
    recent = last_known(values, closes, at, age_max_ms=age * MINUTE_MS)[:, 0]
    for time, joined, known in zip(target, latest, recent, strict=True):
        rows = [row for row, close in enumerate(source) if close <= time]
        expected = values[rows[-1], 0] if rows else np.nan
        assert joined == expected or (np.isnan(joined) and np.isnan(expected))
        there = [source[row] for row in rows if not missing[row] and time - source[row] <= age]
        assert known == there[-1] if there else np.isnan(known)
