"""What the names of files and folders say of the bars in them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol

_LENGTH = r"\d{1,4}[smhdwM]"
_TABLE_ENDING = re.compile(r"\.(parquet|feather|json|csv)(\.gz)?$", re.IGNORECASE)
_FREQTRADE = re.compile(
    rf"(?P<base>[A-Za-z0-9]+)_(?P<quote>[A-Za-z0-9]+)(_(?P<settle>[A-Za-z0-9]+))?"
    rf"-(?P<length>{_LENGTH})(-(?P<kind>[A-Za-z_]+))?"
)
_BINANCE = re.compile(rf"(?P<pair>[A-Z0-9]+)-(?P<length>{_LENGTH})-\d{{4}}-\d{{2}}(-\d{{2}})?")
_KRAKEN = re.compile(r"(?P<pair>[A-Z0-9]+)_(?P<minutes>\d{1,5})")
_PERPETUAL = re.compile(r"(?P<pair>[A-Za-z0-9]+)-(?P<venue>HL|BINANCE|BYBIT|OKX)PERP")
_PLAIN = re.compile(
    rf"(?P<pair>[A-Za-z0-9]+([-_](?!{_LENGTH}$)(?P<quote>[A-Za-z0-9]+))?)([-_](?P<length>{_LENGTH}))?"
)

_VENUES = {"HL": "hyperliquid", "BINANCE": "binance", "BYBIT": "bybit", "OKX": "okx"}
_KRAKEN_COINS = {"XBT": "BTC", "XDG": "DOGE"}
_KRAKEN_LENGTHS = {"1": "1m", "5": "5m", "15": "15m", "60": "1h", "240": "4h", "1440": "1d"}
_KRAKEN_FIAT = ("ZUSD", "ZEUR", "ZGBP", "ZJPY", "ZCAD", "ZAUD")
# Which currencies an exchange quotes in; the longest that fits counts. The sets differ for a reason: DOTUSD
# is DOT in USD at Kraken, which does not quote in TUSD, while Binance does and has no USD.
_FIAT = ("EUR", "GBP", "JPY", "KRW", "TRY", "BRL", "AUD", "CAD", "CHF")
_BINANCE_QUOTES = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USDP", "DAI", *_FIAT, "BTC", "ETH", "BNB")
_KRAKEN_QUOTES = ("USDT", "USDC", "DAI", "USD", *_FIAT, "BTC", "XBT", "ETH")
_ANY_QUOTES = ("FDUSD", "USDT", "USDC", "USDP", "DAI", "USD", *_FIAT, "BTC", "XBT", "ETH", "BNB")
_QUOTES = frozenset({*_BINANCE_QUOTES, *_KRAKEN_QUOTES, *_ANY_QUOTES})
# BTCBUSD may be BTC in BUSD or BTCB in USD.
_AMBIGUOUS_ENDINGS = ("BUSD", "TUSD")
EXCHANGES = frozenset(
    {
        *(
            "binance",
            "binanceus",
            "bitfinex",
            "bitget",
            "bithumb",
            "bitmart",
            "bitmex",
            "bitstamp",
            "bitvavo",
        ),
        *("bybit", "coinbase", "cryptocom", "deribit", "gate", "gateio", "gemini", "htx", "huobi"),
        *("hyperliquid", "kraken", "krakenfutures", "kucoin", "mexc", "okx", "phemex", "poloniex", "polygon"),
        *("massive", "upbit", "woo"),
    }
)
_NEAR_FOLDERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class NameHints:
    """What names say; None where they say nothing.

    Attributes
    ----------
    length : the timeframe as written, which may be one that is not supported, such as `30m`
    style : the layout that uses names of this form: `freqtrade`, `binance` or `kraken`
    kind : what freqtrade says is in the file beside spot candles: `futures`, `mark`, `funding_rate`
    """

    provider: str | None = None
    symbol: Symbol | None = None
    length: str | None = None
    style: str | None = None
    kind: str | None = None


def hints(name: str, folders: Sequence[str]) -> NameHints:
    """What the name of a file and the folders around it, nearest first, say of its bars.

    >>> found = hints("kPEPEUSDC-HLPERP.parquet", ["1m", "bars"])
    >>> (found.provider, str(found.symbol), found.length)
    ('hyperliquid', 'kPEPE/USDC:USDC', '1m')
    >>> str(hints("XXBTZUSD_60.csv", []).symbol)
    'BTC/USD'
    """
    own = _from_name(_TABLE_ENDING.sub("", name), folders)
    near = folders[:_NEAR_FOLDERS]
    length = own.length or next((folder for folder in near if re.fullmatch(_LENGTH, folder)), None)
    provider = own.provider or next((folder.lower() for folder in near if folder.lower() in EXCHANGES), None)
    return NameHints(provider=provider, symbol=own.symbol, length=length, style=own.style, kind=own.kind)


def split_pair(text: str, quotes: Sequence[str] = _ANY_QUOTES) -> Symbol | None:
    """The symbol of a pair written in one word, or with `-`, `_` or `/`; None where it could be two, or none.

    >>> str(split_pair("1000BONKUSDT"))
    '1000BONK/USDT'
    >>> split_pair("BTCBUSD") is None
    True
    """
    parts = re.split(r"[-_/]", text)
    if len(parts) == 2 and all(parts):
        return _symbol(parts[0], parts[1])
    if (
        quotes is _ANY_QUOTES
        and text.upper().endswith(_AMBIGUOUS_ENDINGS)
        and not text.upper().endswith("FDUSD")
    ):
        return None
    for quote in sorted(quotes, key=len, reverse=True):
        if text.upper().endswith(quote) and len(text) > len(quote):
            return _symbol(text[: -len(quote)], quote)
    return None


def _from_name(stem: str, folders: Sequence[str]) -> NameHints:
    if match := _BINANCE.fullmatch(stem):
        perpetual = "um" in folders or "futures" in folders
        return NameHints(
            symbol=_settled(split_pair(match["pair"], _BINANCE_QUOTES), perpetual=perpetual),
            length=match["length"],
            style="binance",
        )
    if match := _PERPETUAL.fullmatch(stem):
        return NameHints(
            provider=_VENUES[match["venue"]], symbol=_settled(split_pair(match["pair"]), perpetual=True)
        )
    if (match := _FREQTRADE.fullmatch(stem)) and not match["base"].isdigit():
        settle = match["settle"]
        symbol = _symbol(match["base"], match["quote"], settle)
        return NameHints(symbol=symbol, length=match["length"], style="freqtrade", kind=match["kind"])
    if match := _KRAKEN.fullmatch(stem):
        minutes = match["minutes"]
        length = _KRAKEN_LENGTHS.get(minutes, f"{minutes}m")
        return NameHints(symbol=_kraken_pair(match["pair"]), length=length, style="kraken")
    if match := _PLAIN.fullmatch(stem):
        # Two words are a pair when the second is a currency that things are quoted in: `my_data` is none.
        told = match["quote"] is None or match["quote"].upper() in _QUOTES
        return NameHints(symbol=split_pair(match["pair"]) if told else None, length=match["length"])
    return NameHints()


def _kraken_pair(text: str) -> Symbol | None:
    """Kraken's pair: XBTUSD, or with its old class letters XXBTZUSD."""
    if len(text) == 8 and text[4:] in _KRAKEN_FIAT:
        base = text[1:4] if text[0] in "XZ" else text[:4]
        return _symbol(base, text[5:])
    if len(text) == 8 and text[0] == "X" and text[4] == "X":
        return _symbol(text[1:4], text[5:])
    return split_pair(text, _KRAKEN_QUOTES)


def _symbol(base: str, quote: str, settle: str | None = None) -> Symbol | None:
    try:
        return Symbol(_KRAKEN_COINS.get(base, base), _KRAKEN_COINS.get(quote, quote), settle)
    except UsageError:
        return None


def _settled(symbol: Symbol | None, *, perpetual: bool) -> Symbol | None:
    if symbol is None or not perpetual:
        return symbol
    return Symbol(symbol.base, symbol.quote, symbol.quote)
