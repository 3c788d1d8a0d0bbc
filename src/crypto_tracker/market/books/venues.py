"""What exchanges say of their books, each in its own words, as one kind of message.

Formats: Binance spot (`depthUpdate` with update ids, and the REST answer that begins them), Hyperliquid
(`l2Book`, whole books), Coinbase (`snapshot`, `l2update`), Kraken (`book-N` with checksums), OKX spot
(`books` with checksums), Gemini (`l2_updates`). Sizes must be coins: contracts of other kinds are left out.
"""

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.market.books.captures import Message, up_to_ms
from crypto_tracker.market.books.ladder import Ladder, Level
from crypto_tracker.market.providers.files.names import split_pair

_BINANCE_QUOTES = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "DAI", "EUR", "GBP", "TRY", "BTC", "ETH", "BNB")
_GEMINI_QUOTES = ("USD", "GUSD", "EUR", "GBP", "BTC", "ETH", "LTC", "BCH")
_KRAKEN_COINS = {"XBT": "BTC", "XDG": "DOGE"}
_KRAKEN_CHECKED, _OKX_CHECKED = 10, 25  # levels of a side that the checksum is made of


@dataclass(frozen=True, slots=True, kw_only=True)
class BookMessage:
    """One message about one book.

    Attributes
    ----------
    symbol : None where the message does not say, and the capture must be of one symbol
    time_ms : by the exchange, rounded up; None where it does not say, and the time of receipt must serve
    whole : the levels are all that there are; else they change what was before
    first_id, last_id : of the updates in the message, where the exchange counts them; a `whole` message
        holds all up to `last_id`
    depth : levels of a side that the exchange keeps telling about, None for all
    proof : whether a book is what the exchange says that it is after this message; None where it does not say
    """

    provider: str
    symbol: Symbol | None
    time_ms: int | None
    whole: bool
    bids: Sequence[Level]
    asks: Sequence[Level]
    first_id: int | None = None
    last_id: int | None = None
    depth: int | None = None
    proof: Callable[[Ladder], bool] | None = None


def book_message(message: Message) -> BookMessage | None:
    """The message about a book in a message of a capture, None where it is about something else.

    Raises DataError where it is about a book and not in the form that the exchange's have.
    """
    for read in (_binance, _hyperliquid, _coinbase, _kraken, _okx, _gemini):
        try:
            found = read(message)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(
                f"line {message.line}: a message about an order book that is not as {read.__name__[1:]} "
                f"writes them ({error!r}): the capture is damaged, or of a later form"
            ) from error
        if found is not None:
            return found
    return None


def _levels(rows: Sequence[Sequence[Any]]) -> list[Level]:
    return [(str(row[0]), str(row[1])) for row in rows]


def _binance(message: Message) -> BookMessage | None:
    content = message.content
    if not isinstance(content, dict):
        return None
    if "lastUpdateId" in content and "bids" in content:
        asked = parse_qs(urlsplit(message.url).query).get("symbol")
        return BookMessage(
            provider="binance",
            symbol=split_pair(asked[0], _BINANCE_QUOTES) if asked else None,
            time_ms=None,
            whole=True,
            bids=_levels(content["bids"]),
            asks=_levels(content["asks"]),
            last_id=int(content["lastUpdateId"]),
        )
    data = content.get("data", content)
    # Futures name the update before (`pu`); their sizes are coins too, but their ids have holes.
    if not isinstance(data, dict) or data.get("e") != "depthUpdate" or "pu" in data:
        return None
    return BookMessage(
        provider="binance",
        symbol=split_pair(data["s"], _BINANCE_QUOTES),
        time_ms=int(data["E"]),
        whole=False,
        bids=_levels(data["b"]),
        asks=_levels(data["a"]),
        first_id=int(data["U"]),
        last_id=int(data["u"]),
    )


def _hyperliquid(message: Message) -> BookMessage | None:
    content = message.content
    if not isinstance(content, dict) or content.get("channel") != "l2Book":
        return None
    data = content["data"]
    bids, asks = ([(level["px"], level["sz"]) for level in side] for side in data["levels"])
    return BookMessage(
        provider="hyperliquid",
        symbol=Symbol(data["coin"], "USDC", "USDC"),
        time_ms=int(data["time"]),
        whole=True,
        bids=bids,
        asks=asks,
    )


def _coinbase(message: Message) -> BookMessage | None:
    content = message.content
    if not isinstance(content, dict) or "product_id" not in content:
        return None
    if content.get("type") == "snapshot":
        bids, asks, time_ms = _levels(content["bids"]), _levels(content["asks"]), None
    elif content.get("type") == "l2update":
        changes = content["changes"]
        bids = [(price, size) for side, price, size in changes if side == "buy"]
        asks = [(price, size) for side, price, size in changes if side == "sell"]
        moment = datetime.fromisoformat(content["time"])
        time_ms = to_ms(moment) + (moment.microsecond % 1000 > 0)
    else:
        return None
    return BookMessage(
        provider="coinbase",
        symbol=split_pair(content["product_id"]),
        time_ms=time_ms,
        whole=content["type"] == "snapshot",
        bids=bids,
        asks=asks,
    )


def _kraken(message: Message) -> BookMessage | None:
    content = message.content
    if not isinstance(content, list) or len(content) < 4 or not re.fullmatch(r"book-\d+", str(content[-2])):
        return None
    told: dict[str, Any] = {}
    for part in content[1:-2]:
        told |= part
    whole = "as" in told
    bids, asks = told.get("bs" if whole else "b", []), told.get("as" if whole else "a", [])
    base, quote = (_KRAKEN_COINS.get(coin, coin) for coin in content[-1].split("/"))
    return BookMessage(
        provider="kraken",
        symbol=Symbol(base, quote),
        time_ms=max(up_to_ms(level[2], 0) for level in [*bids, *asks]),
        whole=whole,
        bids=_levels(bids),
        asks=_levels(asks),
        depth=int(content[-2].removeprefix("book-")),
        proof=_kraken_proof(int(told["c"])) if "c" in told else None,
    )


def _kraken_proof(checksum: int) -> Callable[[Ladder], bool]:
    def holds(ladder: Ladder) -> bool:
        levels = [*ladder.asks.texts(_KRAKEN_CHECKED), *ladder.bids.texts(_KRAKEN_CHECKED)]
        text = "".join(number.replace(".", "").lstrip("0") for level in levels for number in level)
        return zlib.crc32(text.encode()) == checksum

    return holds


def _okx(message: Message) -> BookMessage | None:
    content = message.content
    about = content.get("arg", {}) if isinstance(content, dict) else {}
    if not isinstance(about, dict) or about.get("channel") != "books" or "data" not in content:
        return None
    name = about["instId"].split("-")
    if len(name) != 2:  # sizes of swaps, futures and options are contracts
        return None
    (data,) = content["data"]
    return BookMessage(
        provider="okx",
        symbol=Symbol(*name),
        time_ms=int(data["ts"]),
        whole=content["action"] == "snapshot",
        bids=_levels(data["bids"]),
        asks=_levels(data["asks"]),
        depth=400,
        proof=_okx_proof(int(data["checksum"])),
    )


def _okx_proof(checksum: int) -> Callable[[Ladder], bool]:
    def holds(ladder: Ladder) -> bool:
        bids, asks = ladder.bids.texts(_OKX_CHECKED), ladder.asks.texts(_OKX_CHECKED)
        words: list[str] = []
        for place in range(max(len(bids), len(asks))):
            for side in (bids, asks):
                words += side[place : place + 1][0] if place < len(side) else ()
        return zlib.crc32(":".join(words).encode()) == checksum % 2**32

    return holds


def _gemini(message: Message) -> BookMessage | None:
    content = message.content
    if not isinstance(content, dict) or content.get("type") != "l2_updates":
        return None
    changes = content["changes"]
    return BookMessage(
        provider="gemini",
        symbol=split_pair(content["symbol"], _GEMINI_QUOTES),
        time_ms=None,
        whole="trades" in content,  # the first message of a symbol brings the whole book, and its last trades
        bids=[(price, size) for side, price, size in changes if side == "buy"],
        asks=[(price, size) for side, price, size in changes if side == "sell"],
    )
