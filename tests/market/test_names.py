"""Names tell whose bars a file holds, or they tell nothing; nobody guesses."""

import pytest

from crypto_tracker.market.providers.files.names import hints, split_pair


@pytest.mark.parametrize(
    ("name", "folders", "provider", "symbol", "length"),
    [
        # freqtrade: user_data/data/binance/...
        ("BTC_USDT-1m.feather", ["binance", "data"], "binance", "BTC/USDT", "1m"),
        ("BTC_USDT_USDT-1h-futures.feather", ["futures", "okx"], "okx", "BTC/USDT:USDT", "1h"),
        ("1000PEPE_USDT_USDT-15m-futures.json.gz", [], None, "1000PEPE/USDT:USDT", "15m"),
        ("ETH_BTC-30m.parquet", [], None, "ETH/BTC", "30m"),
        # Binance klines: data/spot/monthly/klines/BTCUSDT/1m/...
        ("BTCUSDT-1m-2025-01.csv", ["1m", "BTCUSDT", "klines"], None, "BTC/USDT", "1m"),
        ("BTCUSDT-1h-2025-01-31.csv", ["1h"], None, "BTC/USDT", "1h"),
        (
            "BTCUSDT-1m-2025-01.csv",
            ["BTCUSDT-1m-2025-01.zip", "1m", "um", "futures"],
            None,
            "BTC/USDT:USDT",
            "1m",
        ),
        ("1000SHIBUSDC-4h-2024-12.csv", [], None, "1000SHIB/USDC", "4h"),
        # Kraken OHLCVT
        ("XBTUSD_1.csv", [], None, "BTC/USD", "1m"),
        ("XXBTZUSD_60.csv", [], None, "BTC/USD", "1h"),
        ("XETHXXBT_1440.csv", [], None, "ETH/BTC", "1d"),
        ("XDGEUR_240.csv", [], None, "DOGE/EUR", "4h"),
        ("USDTZUSD_5.csv", [], None, "USDT/USD", "5m"),
        ("ETHXBT_15.csv", [], None, "ETH/BTC", "15m"),
        ("DOTUSD_1.csv", [], None, "DOT/USD", "1m"),
        ("SHIBUSD_1.csv", [], None, "SHIB/USD", "1m"),
        ("DOTTUSD-1m-2023-01.csv", [], None, "DOT/TUSD", "1m"),
        ("SHIBBUSD-1m-2022-01.csv", [], None, "SHIB/BUSD", "1m"),
        ("BTCBUSD.csv", [], None, None, None),  # BTC in BUSD, or BTCB in USD?
        ("SOLUSD_30.csv", [], None, "SOL/USD", "30m"),
        # our own folders
        ("BTCUSDT.parquet", ["1m", "bars"], None, "BTC/USDT", "1m"),
        ("AAVEUSDC-HLPERP.parquet", ["15m"], "hyperliquid", "AAVE/USDC:USDC", "15m"),
        ("kPEPEUSDC-HLPERP.parquet", ["1d"], "hyperliquid", "kPEPE/USDC:USDC", "1d"),
        ("1000BONKUSDT-BYBITPERP.parquet", ["1d"], "bybit", "1000BONK/USDT:USDT", "1d"),
        ("PEPEUSDT-OKXPERP.parquet", [], "okx", "PEPE/USDT:USDT", None),
        ("ADAUSDT-BINANCEPERP.parquet", [], "binance", "ADA/USDT:USDT", None),
        # plain
        ("BTC-USD.csv", [], None, "BTC/USD", None),
        ("BTC-USD-1h.csv", ["Kraken"], "kraken", "BTC/USD", "1h"),
        ("BTC_USDT_15m.csv", [], None, "BTC/USDT", "15m"),
        ("BTCFDUSD.csv", [], None, "BTC/FDUSD", None),
        ("ETHUSDT-1m.csv", [], None, "ETH/USDT", "1m"),  # 1m is a length, and never what ETHUSDT is quoted in
        ("ETHUSDT_1h.parquet", [], None, "ETH/USDT", "1h"),
        ("SOLBTC-15m.csv", [], None, "SOL/BTC", "15m"),
        ("btc-usdt.csv", [], None, "btc/usdt", None),
        # nothing to be told
        ("prices.csv", [], None, None, None),
        ("USDT.csv", [], None, None, None),
        ("my_data.csv", [], None, None, None),
        ("prices-2025.csv", [], None, None, None),
        ("ohlcv_1h.csv", [], None, None, "1h"),
        ("my export (2).csv", ["1h"], None, None, "1h"),
        # a folder that only holds the name of an exchange among other words says nothing
        ("BTCUSDT.parquet", ["1m", "bars", "2025-07-hyperliquid-breadth"], None, "BTC/USDT", "1m"),
        # nor does one far above
        ("BTCUSDT.parquet", ["a", "b", "c", "d", "kraken"], None, "BTC/USDT", None),
    ],
)
def test_what_a_name_says(name, folders, provider, symbol, length):
    found = hints(name, folders)
    assert (found.provider, None if found.symbol is None else str(found.symbol), found.length) == (
        provider,
        symbol,
        length,
    )


@pytest.mark.parametrize("kind", ["mark", "funding_rate", "futures"])
def test_freqtrade_names_tell_what_kind_of_prices_they_hold(kind):
    assert hints(f"BTC_USDT_USDT-1h-{kind}.feather", []).kind == kind


def test_a_pair_in_one_word_is_split_at_a_quote_that_is_known():
    assert split_pair("XYZABC") is None
    assert str(split_pair("BTCUSDT")) == "BTC/USDT"
    assert str(split_pair("btc_usdt")) == "btc/usdt"
