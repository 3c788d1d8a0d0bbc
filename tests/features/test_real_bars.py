"""The standard features over one month of real bars, with whatever the exchange did not publish."""

import numpy as np
import polars as pl
import pytest

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.resample import resample
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.features.blocks import closing_within
from crypto_tracker.features.lookahead import History, Outputs, cut_moments, look_ahead
from crypto_tracker.features.standard import STANDARD, compute_standard
from tests.features.drawn import same_bits, utc
from tests.features.slow_standard import slow_standard

pytestmark = pytest.mark.market_data

M15 = Timeframe.M15
START, END = utc(2025, 8, 1), utc(2025, 9, 1)
COINS = {"BTCUSDT": "BTC", "ETHUSDT": "ETH", "SUIUSDT": "SUI"}


@pytest.fixture(scope="module")
def panels(market_data):
    begin = min(STANDARD.history_start_ms(M15, START).values())
    times = np.arange(begin, END, Timeframe.M1.ms, dtype=np.int64)
    fields = {
        name: np.full((len(times), len(COINS)), np.nan) for name in ("open", "high", "low", "close", "volume")
    }
    for column, coin in enumerate(COINS):
        (path,) = (market_data / "bars" / "1m").glob(f"{coin}.parquet")
        bars = pl.read_parquet(path).with_columns(pl.col("ts").dt.epoch("ms"))
        bars = bars.filter((pl.col("ts") >= begin) & (pl.col("ts") < END))
        rows = (bars["ts"].to_numpy() - begin) // Timeframe.M1.ms
        for name, values in fields.items():
            values[rows, column] = bars[name].to_numpy()
    minutes = Panel(
        timeframe=Timeframe.M1,
        symbols=tuple(Symbol(base, "USDT") for base in COINS.values()),
        open_time_ms=times,
        covered=np.ones((len(times), len(COINS)), dtype=np.bool_),
        **fields,
    )
    return {Timeframe.M1: minutes, M15: resample(minutes, M15)}


@pytest.fixture(scope="module")
def reference(panels):
    return {M15: panels[M15].select([Symbol("BTC", "USDT")])}


@pytest.fixture(scope="module")
def august(panels, reference):
    return compute_standard(panels, reference, M15, START, END)


def test_a_month_of_real_ether_has_the_values_of_slow_loops(panels, reference, august):
    slowly = slow_standard(panels, reference, M15, 1, START, END, since_ms=START)
    for name in STANDARD.names:
        assert np.isfinite(slowly[name]).mean() > 0.999, name
        # Prices near 4,000: what is left when two of them are subtracted is rounded at 1e-12 of that.
        money = name.startswith("macd")
        np.testing.assert_allclose(
            august[name][:, 1], slowly[name], rtol=1e-10, atol=1e-8 if money else 1e-10, err_msg=name
        )


def test_real_values_are_what_one_expects_of_these_coins(august):
    assert (august["btc_correlation_7d"][:, 0] == 1.0).all()
    for other in (1, 2):
        correlation = august["btc_correlation_7d"][:, other]
        assert 0.5 < np.median(correlation) < 0.95
    daily = np.median(august["volatility_24h"], axis=0)
    assert daily[0] < daily[1] < daily[2], "bitcoin is calmer than ether, ether than sui"
    assert 0.005 < daily[0] < 0.03
    assert ((august["rsi_14"] > 0) & (august["rsi_14"] < 100)).all()
    assert np.median(august["dollar_volume_24h"][:, 0]) > 1e8


def test_no_feature_of_real_bars_looks_ahead(panels, reference):
    first, last = utc(2025, 8, 21), utc(2025, 8, 27)  # the fall of bitcoin from 117,000 to 109,000 USDT

    def compute(history, start_ms, end_ms):
        rows = closing_within(history.panels[M15], start_ms, end_ms)
        values = compute_standard(history.panels, history.reference, M15, start_ms, end_ms)
        return Outputs(close_time_ms=rows.close_time_ms, symbols=rows.symbols, values=values)

    rows = closing_within(panels[M15], first, last)
    found = look_ahead(
        compute,
        History(panels=panels, reference=reference),
        start_ms=first,
        end_ms=last,
        cuts_ms=cut_moments(rows, random=3, consecutive=4, seed=1),
        disturbances_ms=[utc(2025, 8, 22, 14), utc(2025, 8, 24, 19, 30)],
        seed=1,
    )
    assert found == []


def test_a_day_of_real_bars_has_the_same_bits_as_in_its_month(panels, reference, august):
    start, end = utc(2025, 8, 24), utc(2025, 8, 25)
    day = compute_standard(panels, reference, M15, start, end)
    closes = panels[M15].between(START, END).close_time_ms
    rows = (closes > start) & (closes <= end)
    for name in STANDARD.names:
        assert same_bits(day[name], august[name][rows]), name
