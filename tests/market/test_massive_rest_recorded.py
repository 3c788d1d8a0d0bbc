"""Recorded answers and published examples of Massive's REST interface go through the readers that meet them."""

import json
import os
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS
from crypto_tracker.market.providers.massive.answers import bar_page, day_bars
from crypto_tracker.market.providers.massive.rest import MassiveHistory
from crypto_tracker.net.http import Answer
from tests import virtual_time
from tests.market.massive_market import settings
from tests.net.patience import fetching

SHELF = os.environ.get("CRYPTO_TRACKER_MARKET_DATA")
RAW = Path(SHELF or ".") / "raw" / "polygon_massive"
BTC = Symbol.parse("BTC/USD")

pytestmark = [
    pytest.mark.market_data,
    pytest.mark.skipif(SHELF is None, reason="CRYPTO_TRACKER_MARKET_DATA does not point to recorded answers"),
]


def examples() -> dict[str, dict[str, Any]]:
    """The published example of every path that has one."""
    paths = json.loads((RAW / "spec_rest_crypto.json").read_text())["paths"]
    found = {}
    for path, described in paths.items():
        content = described["get"]["responses"]["200"]["content"].get("application/json", {})
        if "example" in content:
            found[path] = content["example"]
    return found


def answer_of(body: Any) -> Answer:
    return Answer(200, {}, json.dumps(body).encode())


def test_the_recorded_previous_close_is_read():
    content = (RAW / "rest_prev_close_X-BTCUSD_2022-08-25.json").read_bytes()

    async def scene():
        history = MassiveHistory(
            settings("https://api.massive.com"),
            fetching(),
            SecretStr("key"),
            now_ms=lambda: 0,
            transport=httpx.MockTransport(lambda _request: httpx.Response(200, content=content)),
        )
        try:
            return await history.previous_close(BTC)
        finally:
            await history.close()

    bar = virtual_time.run(scene())
    assert (
        bar.open_time_ms == 1_661_385_600_000
    )  # 2022-08-25T00:00Z; the answer names the day's last millisecond
    assert (bar.open, bar.high, bar.low, bar.close) == (21367.13, 21818.32, 21307.32, 21561.86)
    assert (bar.volume, bar.vwap, bar.n_trades) == (22171.58143214728, 21612.4661, 727957.0)


def test_the_published_examples_of_bars_are_read():
    found = examples()
    page = bar_page(
        answer_of(found["/v2/aggs/ticker/{cryptoTicker}/range/{multiplier}/{timespan}/{from}/{to}"]),
        ticker="X:BTCUSD",
    )
    assert page.bars.open_time_ms.tolist() == [1590984000000, 1591070400000]
    assert page.bars.close.tolist() == [10094.75, 9492.62]
    assert (page.next_path, page.delayed) == (None, False)
    days = day_bars(
        bar_page(answer_of(found["/v2/aggs/grouped/locale/global/market/crypto/{date}"]), ticker=None)
    )
    assert {str(symbol) for symbol in days} == {"ARDR/USD", "NGC/USD", "ZSC/USD"}
    assert {bar.open_time_ms % DAY_MS for bar in days.values()} == {0}
    previous = day_bars(bar_page(answer_of(found["/v2/aggs/ticker/{cryptoTicker}/prev"]), ticker=None))
    assert previous[BTC].close == 16035.9
    assert np.isnan(previous[BTC].n_trades)  # the example has none, and that is not 0


def test_every_published_example_of_aggregates_is_covered_by_a_reader():
    """A path that appears in the specification and is read nowhere would be noticed here."""
    aggregates = {path for path in examples() if path.startswith("/v2/aggs/")}
    assert aggregates == {
        "/v2/aggs/ticker/{cryptoTicker}/range/{multiplier}/{timespan}/{from}/{to}",
        "/v2/aggs/grouped/locale/global/market/crypto/{date}",
        "/v2/aggs/ticker/{cryptoTicker}/prev",
    }


@pytest.mark.parametrize(
    "name",
    [
        "mock_v1_last_crypto_BTC_USD.json",
        "mock_v2_snapshot_locale_global_markets_crypto_tickers_X_BTCUSD_book.json",
    ],
)
def test_an_answer_of_another_kind_is_not_taken_for_bars(name):
    from crypto_tracker.net.retry import Transient

    with pytest.raises(Transient):
        bar_page(Answer(200, {}, (RAW / name).read_bytes()), ticker="X:BTCUSD")
