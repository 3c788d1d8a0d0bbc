"""The provider's own client as a second judge: the local server must satisfy it as the real one does."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
import pytest
from massive import RESTClient
from massive.exceptions import BadResponse
from urllib3.exceptions import MaxRetryError

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from tests.market.massive_market import BTC, ETH, OLD, START, minutes, small_market
from tests.servers.massive_rest import KEY, MassiveServer, massive_rest, status, too_many

MARKET = small_market()


@contextmanager
def official(server: MassiveServer, key: str = KEY) -> Iterator[RESTClient]:
    client = RESTClient(api_key=key, base=server.url, retries=0)
    try:
        yield client
    finally:
        client.client.clear()


def test_it_reads_minutes_over_all_pages():
    with massive_rest(MARKET) as server, official(server) as client:
        bars = list(
            client.list_aggs("X:BTCUSD", 1, "minute", START, START + 3 * DAY_MS - 1, sort="asc", limit=1000)
        )
        source = MARKET[BTC]
        np.testing.assert_array_equal([bar.timestamp for bar in bars], source.open_time_ms)
        np.testing.assert_array_equal([bar.close for bar in bars], source.close)
        np.testing.assert_array_equal([bar.volume for bar in bars], source.volume)
        np.testing.assert_array_equal([bar.transactions for bar in bars], source.n_trades)
        assert len(server.requests) == -(-len(source) // 1000)
        assert {each.authorization for each in server.requests} == {f"Bearer {KEY}"}


def test_dates_mean_whole_days_and_hours_count_their_minutes():
    with massive_rest({BTC: minutes(START, 3 * 1440, seed=1)}) as server, official(server) as client:
        bars = list(
            client.list_aggs("X:BTCUSD", 1, "hour", "2024-01-01", "2024-01-02", sort="asc", limit=600)
        )
        assert [bar.timestamp for bar in bars] == list(range(START, START + 2 * DAY_MS, HOUR_MS))
        assert len(server.requests) == 5  # 600 minutes are ten hours


def test_a_panel_is_served_as_its_minutes_are():
    times = np.arange(START, START + 3 * MINUTE_MS, MINUTE_MS)
    nothing = np.nan
    close = np.array([[100.0, nothing], [101.0, 7.0], [nothing, 8.0]])
    panel = Panel(
        timeframe=Timeframe.M1,
        symbols=(BTC, ETH),
        open_time_ms=times,
        **dict.fromkeys(("open", "high", "low", "close"), close),
        volume=np.where(np.isnan(close), nothing, 1.0),
        covered=np.ones(close.shape, dtype=np.bool_),
    )
    with massive_rest({BTC: panel, ETH: panel}) as server, official(server) as client:
        span = (1, "minute", START, START + DAY_MS)
        assert [bar.close for bar in client.list_aggs("X:BTCUSD", *span)] == [100.0, 101.0]
        assert [bar.timestamp for bar in client.list_aggs("X:ETHUSD", *span)] == times[1:].tolist()


def test_newest_first_is_the_same_the_other_way_round():
    with massive_rest(MARKET) as server, official(server) as client:
        span = ("X:BTCUSD", 15, "minute", START, START + DAY_MS - 1)
        forwards = [bar.timestamp for bar in client.list_aggs(*span, sort="asc", limit=500)]
        backwards = [bar.timestamp for bar in client.list_aggs(*span, sort="desc", limit=500)]
    assert len(forwards) == 96
    assert backwards == forwards[::-1]


def test_it_reads_the_grouped_day_and_the_previous_close():
    now = START + 2 * DAY_MS + MINUTE_MS
    with massive_rest(MARKET, now_ms=now) as server, official(server) as client:
        days = client.get_grouped_daily_aggs("2024-01-02", locale="global", market_type="crypto")
        assert {bar.ticker for bar in days} == {"X:BTCUSD", "X:ETHUSD", "X:USDTUSD"}
        (previous,) = client.get_previous_close_agg("X:BTCUSD")
        bitcoin = next(bar for bar in days if bar.ticker == "X:BTCUSD")
        assert (previous.open, previous.close) == (bitcoin.open, bitcoin.close)
        assert previous.timestamp == START + 2 * DAY_MS - 1


def test_it_reads_the_pairs_over_all_pages():
    market = {Symbol(f"C{number:02}", "USD"): MARKET[ETH] for number in range(25)}
    with massive_rest(market | {OLD: MARKET[OLD]}, inactive=[OLD]) as server, official(server) as client:
        active = list(islice(client.list_tickers(market="crypto", active=True, limit=10), 100))
        assert [pair.ticker for pair in active] == [f"X:C{number:02}USD" for number in range(25)]
        assert (active[0].base_currency_symbol, active[0].currency_symbol) == ("C00", "USD")
        (dead,) = client.list_tickers(market="crypto", active=False, limit=10)
        assert (dead.ticker, dead.active) == ("X:LUNAUSD", False)


def test_a_pair_without_bars_has_no_results():
    with massive_rest(MARKET) as server, official(server) as client:
        assert list(client.list_aggs("X:NOPEUSD", 1, "minute", START, START + DAY_MS)) == []


@pytest.mark.parametrize(
    ("fault", "key", "words"),
    [
        (None, "wrong", {"status": "ERROR", "error": "Unknown API Key"}),
        (status(403), KEY, {"status": "NOT_AUTHORIZED"}),
    ],
)
def test_it_takes_errors_for_errors(fault, key, words):
    with massive_rest(MARKET, faults=[fault] if fault else []) as server, official(server, key) as client:
        with pytest.raises(BadResponse) as caught:
            client.get_previous_close_agg("X:BTCUSD")
        told = json.loads(str(caught.value))
    assert words.items() <= told.items()
    assert told["request_id"]


def test_too_many_requests_exhaust_its_attempts():
    with massive_rest(MARKET, faults=[too_many()]) as server, official(server) as client:
        with pytest.raises(MaxRetryError, match="too many 429 error responses"):
            client.get_previous_close_agg("X:BTCUSD")
        assert [each.status for each in server.requests] == [429]
