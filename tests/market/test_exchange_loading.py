"""Of ccxt only what one exchange needs is loaded, and a name is known to be wrong without loading anything."""

import json
import subprocess
import sys

import pytest

from crypto_tracker.core.errors import UsageError
from crypto_tracker.market.providers.exchange import loading
from crypto_tracker.market.providers.exchange.loading import check_name, exchange_class, exchange_names

ONE_EXCHANGE = """
import json, sys
from crypto_tracker.market.providers.exchange.loading import exchange_class, exchange_names
names = exchange_names()
before = [name for name in sys.modules if name.startswith("ccxt")]
asking, streaming = (exchange_class("binanceus", streaming=each) for each in (False, True))
loaded = sorted(
    name for name in sys.modules
    if name.startswith(("ccxt.async_support.", "ccxt.pro.")) and ".base" not in name
)
import ccxt
partly = len([name for name in sys.modules if name.startswith("ccxt")])
error = ccxt.BaseError
import ccxt.async_support, ccxt.pro
print(json.dumps({
    "before": before, "loaded": loaded, "partly": partly, "is a": issubclass(streaming, ccxt.async_support.binance),
    "id": streaming().id, "names": names == tuple(sorted(ccxt.exchanges)),
    "streams": list(loading_streams()) == sorted(ccxt.pro.exchanges),
    "same error": error is ccxt.errors.BaseError, "same class": ccxt.async_support.binanceus is asking,
}))
""".replace("loading_streams()", "__import__(exchange_class.__module__, fromlist=['_'])._names('ccxt.pro')")


def test_one_exchange_is_loaded_without_the_others_and_all_of_ccxt_can_be_loaded_afterwards():
    ended = subprocess.run(
        [sys.executable, "-c", ONE_EXCHANGE], check=True, capture_output=True, text=True, timeout=120.0
    )
    told = json.loads(ended.stdout)
    assert told["before"] == []
    assert told["loaded"] == [
        "ccxt.async_support.binance",
        "ccxt.async_support.binanceus",
        "ccxt.pro.binance",
        "ccxt.pro.binanceus",
    ]
    assert told["partly"] < 40
    assert told["id"] == "binanceus"
    assert [told[key] for key in ("names", "streams", "is a", "same error", "same class")] == [True] * 5


def test_a_name_that_no_exchange_has_is_refused_with_the_near_ones():
    assert {"kraken", "kucoin", "coinbase", "binance"} < set(exchange_names())
    with pytest.raises(UsageError, match=r"ccxt knows no exchange 'krakn': did you mean kraken"):
        exchange_class("krakn", streaming=False)
    with pytest.raises(UsageError, match=r"'zzzzzz': write its name as ccxt does, such as kraken"):
        check_name("zzzzzz")


def test_without_ccxt_the_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loading, "exchange_names", lambda: ())
    with pytest.raises(UsageError, match=r'pip install "crypto-tracker\[exchange\]"'):
        check_name("kraken")


def test_an_exchange_that_ccxt_cannot_stream_has_no_class_for_it():
    names = set(exchange_names()) - set(loading._names("ccxt.pro"))
    assert exchange_class(min(names), streaming=True) is None
