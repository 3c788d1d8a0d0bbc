"""The three spellings of a pair at Massive, and the one mapping between them and symbols.

| spelling | where |
|---|---|
| `X:BTCUSD` | aggregates, reference tickers, grouped daily |
| `X:BTC-USD` | day files, trades |
| `BTC-USD` | the stream |
"""

from crypto_tracker.core.errors import UnknownToProvider, UsageError
from crypto_tracker.core.symbols import Symbol

_MARKET = "X:"
# No currency is the end of another, so a pair in one word has one reading: X:USDTUSD is USDT in USD, and
# X:BTCBUSD is BTCB in USD.
_QUOTES = (
    *("USD", "USDT", "USDC", "EUR", "GBP", "JPY", "AUD", "CAD", "CHF", "NZD", "KRW", "BRL", "TRY", "MXN"),
    *("SGD", "HKD", "INR", "ZAR", "PLN", "SEK", "NOK", "DKK", "RUB", "CNY", "BTC", "ETH"),
)


def rest_ticker(symbol: Symbol) -> str:
    """`X:BTCUSD`, for aggregates; raises UnknownToProvider for a symbol that has no such spelling.

    >>> rest_ticker(Symbol.parse("BTC/USDT"))
    'X:BTCUSDT'
    """
    _demand_spot(symbol)
    ticker = f"{_MARKET}{symbol.base}{symbol.quote}"
    read = symbol_of(ticker)
    if read != symbol:
        other = "nothing that is known" if read is None else str(read)
        raise UnknownToProvider(
            f"massive writes pairs in one word, and its {ticker} means {other}, not {symbol}: "
            "ask another provider for this symbol"
        )
    return ticker


def dashed_ticker(symbol: Symbol) -> str:
    """`X:BTC-USD`, as day files and trades have it."""
    return _MARKET + stream_pair(symbol)


def stream_pair(symbol: Symbol) -> str:
    """`BTC-USD`, as the stream has it."""
    _demand_spot(symbol)
    return f"{symbol.base}-{symbol.quote}"


def symbol_of(text: str) -> Symbol | None:
    """The symbol of a pair in any of the three spellings; None where it has none of ours.

    >>> [str(symbol_of(text)) for text in ("X:BTCUSDT", "X:USDTUSD", "X:BTC-USD", "BTC-USD")]
    ['BTC/USDT', 'USDT/USD', 'BTC/USD', 'BTC/USD']
    """
    pair = text.removeprefix(_MARKET)
    base, dash, quote = pair.rpartition("-")
    if not dash:
        if pair == text:  # one word without the market in front is no spelling of theirs
            return None
        quote = next((known for known in _QUOTES if pair.endswith(known)), "")
        base = pair.removesuffix(quote)
    try:
        return Symbol(base, quote)
    except UsageError:
        return None


def _demand_spot(symbol: Symbol) -> None:
    if symbol.is_perpetual:
        raise UnknownToProvider(f"massive has spot pairs only, and {symbol} is a perpetual")
