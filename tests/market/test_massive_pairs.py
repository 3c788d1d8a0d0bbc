import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.errors import UnknownToProvider
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.providers.massive.pairs import dashed_ticker, rest_ticker, stream_pair, symbol_of

COINS = st.from_regex(r"[A-Z0-9]{1,10}", fullmatch=True)


@pytest.mark.parametrize(
    ("symbol", "one_word", "dashed", "stream"),
    [
        ("BTC/USD", "X:BTCUSD", "X:BTC-USD", "BTC-USD"),
        ("BTC/USDT", "X:BTCUSDT", "X:BTC-USDT", "BTC-USDT"),
        ("USDT/USD", "X:USDTUSD", "X:USDT-USD", "USDT-USD"),
        ("USDC/USDT", "X:USDCUSDT", "X:USDC-USDT", "USDC-USDT"),
        ("USD/USDT", "X:USDUSDT", "X:USD-USDT", "USD-USDT"),
        ("BTCB/USD", "X:BTCBUSD", "X:BTCB-USD", "BTCB-USD"),
        ("ETH/BTC", "X:ETHBTC", "X:ETH-BTC", "ETH-BTC"),
        ("1INCH/EUR", "X:1INCHEUR", "X:1INCH-EUR", "1INCH-EUR"),
    ],
)
def test_the_three_spellings_of_a_pair(symbol, one_word, dashed, stream):
    parsed = Symbol.parse(symbol)
    assert (rest_ticker(parsed), dashed_ticker(parsed), stream_pair(parsed)) == (one_word, dashed, stream)
    assert [symbol_of(text) for text in (one_word, dashed, stream)] == [parsed] * 3


@given(base=COINS, quote=COINS)
def test_a_symbol_comes_back_from_every_spelling_that_it_has(base, quote):
    symbol = Symbol(base, quote)
    assert symbol_of(dashed_ticker(symbol)) == symbol
    assert symbol_of(stream_pair(symbol)) == symbol
    try:
        ticker = rest_ticker(symbol)
    except UnknownToProvider:
        assert symbol_of(f"X:{base}{quote}") != symbol
    else:
        assert symbol_of(ticker) == symbol


@given(text=st.text(max_size=12) | st.from_regex(r"(X:)?[A-Z0-9$.]{0,8}-?[A-Z0-9]{0,5}", fullmatch=True))
def test_whatever_has_a_symbol_is_a_spelling_of_it(text):
    symbol = symbol_of(text)
    if symbol is not None:
        spellings = {dashed_ticker(symbol), stream_pair(symbol), f"X:{symbol.base}{symbol.quote}"}
        assert text in spellings


@given(base=COINS, quote=st.sampled_from(["USD", "USDT", "USDC", "EUR", "GBP", "JPY", "BTC", "ETH"]))
def test_a_known_quote_currency_makes_a_pair_in_one_word_exact(base, quote):
    assert symbol_of(rest_ticker(Symbol(base, quote))) == Symbol(base, quote)


def test_a_pair_that_means_another_in_one_word_is_refused():
    with pytest.raises(UnknownToProvider) as caught:
        rest_ticker(Symbol.parse("BTC/BUSD"))
    assert str(caught.value) == (
        "massive writes pairs in one word, and its X:BTCBUSD means BTCB/USD, not BTC/BUSD: "
        "ask another provider for this symbol"
    )


def test_perpetuals_are_refused():
    with pytest.raises(UnknownToProvider, match="spot pairs only, and BTC/USDT:USDT is a perpetual"):
        rest_ticker(Symbol.parse("BTC/USDT:USDT"))


@pytest.mark.parametrize(
    "text", ["", "X:", "X:USD", "BTCUSD", "X:BTCXYZ", "X:$PEPE-USD", "-USD", "BTC-", "C:EURUSD"]
)
def test_what_is_no_pair_of_ours_has_no_symbol(text):
    assert symbol_of(text) is None
