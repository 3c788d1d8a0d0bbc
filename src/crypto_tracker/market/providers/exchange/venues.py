"""What is known of single exchanges beyond what ccxt tells: how far back they go, and how they confirm."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from crypto_tracker.core.timeframes import to_ms

PAGE_BARS = 500  # of an exchange of which nothing is known


ANOTHER_HISTORY = "name another provider in market_data.history"
"""What helps where an exchange gives only its newest bars; who has named one is told another thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """What a message of a websocket says about subscriptions.

    Attributes
    ----------
    requests : ids of requests that are granted whole
    markets : the exchange's own names of markets that are subscribed
    refused : (id of the request or None, name of the market or None, what the exchange says)
    """

    requests: tuple[str, ...] = ()
    markets: tuple[str, ...] = ()
    refused: tuple[tuple[str | None, str | None, str], ...] = ()


NOTHING = Confirmed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pings:
    """How an exchange is asked whether it lives, where that is a message of its own.

    Attributes
    ----------
    ask : the question that has a number
    answered : the number of the question that a message answers, and the time at which the exchange read it,
        in ms, where it says so; None where it is no answer
    """

    ask: Callable[[int], Mapping[str, Any]]
    answered: Callable[[Any], tuple[int, int | None] | None]


def _time_of(text: Any) -> int | None:
    """A moment as ISO 8601 writes it, in ms; None where it is none."""
    try:
        return to_ms(datetime.fromisoformat(text))
    except (TypeError, ValueError):
        return None


def _kraken_pong(message: Any) -> tuple[int, int | None] | None:
    if not isinstance(message, Mapping) or message.get("method") != "pong":
        return None
    number = message.get("req_id")
    return (number, _time_of(message.get("time_in"))) if isinstance(number, int) else None


def _kucoin_pong(message: Any) -> tuple[int, int | None] | None:
    if not isinstance(message, Mapping) or message.get("type") != "pong":
        return None
    number = str(message.get("id"))
    return (int(number), None) if number.isascii() and number.isdigit() else None


def _kraken_time(message: Any) -> int | None:
    if not isinstance(message, Mapping):
        return None
    return _time_of(message.get("timestamp") or message.get("time_out"))


def _coinbase_time(message: Any) -> int | None:
    return _time_of(message.get("timestamp")) if isinstance(message, Mapping) else None


def _binance_time(message: Any) -> int | None:
    said = message.get("E") if isinstance(message, Mapping) else None
    return said if isinstance(said, int) and 10**12 < said < 10**13 else None  # in ms


def _kucoin_time(message: Any) -> int | None:
    data = message.get("data") if isinstance(message, Mapping) else None
    said = data.get("time") if isinstance(data, Mapping) else None
    return said // 10**6 if isinstance(said, int) and 10**18 < said < 10**19 else None  # in ns


def _no_time(_message: Any) -> int | None:
    return None


def _as_is(message: Any) -> Sequence[Any]:
    return [message]


def _by_request(message: Any) -> Confirmed:
    """An answer that carries the id of our request, as Binance gives it."""
    if not isinstance(message, Mapping) or message.get("id") is None:
        return NOTHING
    request = str(message["id"])
    if message.get("error"):
        return Confirmed(refused=((request, None, str(message["error"])),))
    return Confirmed(requests=(request,)) if "result" in message else NOTHING


def _kraken(message: Any) -> Confirmed:
    if not isinstance(message, Mapping) or message.get("method") != "subscribe":
        return NOTHING
    if message.get("success"):
        return Confirmed(markets=(str(message.get("result", {}).get("symbol")),))
    request = message.get("req_id")
    return Confirmed(
        refused=(
            (
                None if request is None else str(request),
                message.get("symbol"),
                str(message.get("error")),
            ),
        )
    )


def _kucoin(message: Any) -> Confirmed:
    if not isinstance(message, Mapping) or message.get("id") is None:
        return NOTHING
    if message.get("type") == "ack":
        return Confirmed(requests=(str(message["id"]),))
    if message.get("type") == "error":
        return Confirmed(refused=((str(message["id"]), None, str(message.get("data"))),))
    return NOTHING


def _coinbase(message: Any) -> Confirmed:
    if not isinstance(message, Mapping):
        return NOTHING
    if message.get("type") == "error":
        return Confirmed(refused=((None, None, str(message.get("message"))),))
    if message.get("channel") != "subscriptions":
        return NOTHING
    markets: list[str] = []
    for event in message.get("events", ()):
        markets += event.get("subscriptions", {}).get("market_trades", ())
    return Confirmed(markets=tuple(markets))


def _kraken_one_by_one(message: Any) -> Sequence[Any]:
    """A message of several symbols as one of each: ccxt takes the first symbol for that of all rows."""
    if not isinstance(message, Mapping) or message.get("channel") not in {"ohlc", "trade"}:
        return [message]
    groups: dict[Any, list[Any]] = {}
    for row in message.get("data", ()):
        groups.setdefault(row.get("symbol"), []).append(row)
    if len(groups) <= 1:
        return [message]
    return [{**message, "data": rows} for rows in groups.values()]


def _kucoin_candle(message: Any) -> Sequence[Any]:
    """Ccxt passes over the first message of each candle, which is the only one of a minute with one trade."""
    if isinstance(message, Mapping) and message.get("subject") == "trade.candles.add":
        return [{**message, "subject": "trade.candles.update"}]
    return [message]


def _kraken_lacks(url: str, answer: Any) -> str | None:
    address = urlsplit(url)
    if not address.path.endswith(("/OHLC", "/Trades")):
        return None
    pair = parse_qs(address.query).get("pair", [""])[0]
    result = answer.get("result") if isinstance(answer, dict) else None
    return None if isinstance(result, dict) and pair in result else f"it has no rows of {pair}"


def _kucoin_lacks(url: str, answer: Any) -> str | None:
    if "/market/candles" not in url:
        return None
    return None if isinstance(answer, dict) and isinstance(answer.get("data"), list) else "it has no `data`"


def _coinbase_lacks(url: str, answer: Any) -> str | None:
    if not urlsplit(url).path.endswith("/candles"):
        return None
    whole = isinstance(answer, dict) and isinstance(answer.get("candles"), list)
    return None if whole else "it has no `candles`"


def _binance_lacks(url: str, answer: Any) -> str | None:
    if not urlsplit(url).path.endswith("/klines"):
        return None
    return None if isinstance(answer, list) else "it is no list of candles"


def _never(_url: str, _answer: Any) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """One exchange.

    Attributes
    ----------
    page_bars : the most bars of one request; None as ccxt knows it
    newest_bars : of each timeframe only so many of the newest can be had; None where there is no such limit
    older : what helps where that is too few
    vwap, n_trades : where these stand in a row of candles as the exchange writes it
    quote_volume : where the turnover stands in such a row, from which the average price follows
    aliases : quote currencies whose markets are one: trades of the first are told for the second as well
    fills_silence : it writes candles for stretches without trades, which its stream does not send
    batch : symbols of one request to subscribe
    requests_per_second, burst : of requests to subscribe
    confirms : reads what a message says of subscriptions; None where the first candle is the confirmation
    one_by_one : a message as ccxt reads it whole
    pings : its own way to be asked whether it lives; None where that is a ping of websockets
    said_at : when a message was written, by the clock of the exchange, in ms; None where it does not say
    lacks : what is missing in an answer that would otherwise pass for "nobody traded"
    """

    page_bars: int | None = None
    newest_bars: int | None = None
    older: str = ""
    vwap: int | None = None
    n_trades: int | None = None
    quote_volume: int | None = None
    aliases: tuple[str, str] | None = None
    fills_silence: bool = False
    batch: int = 50
    requests_per_second: float = 4.0
    burst: int = 40
    confirms: Callable[[Any], Confirmed] | None = None
    one_by_one: Callable[[Any], Sequence[Any]] = field(default=_as_is)
    pings: Pings | None = None
    said_at: Callable[[Any], int | None] = field(default=_no_time)
    lacks: Callable[[str, Any], str | None] = field(default=_never)


_KRAKEN = Venue(
    page_bars=720,
    # Its answer holds 720 bars, and the last of them is still open.
    newest_bars=719,
    older=f"import the OHLCVT files that Kraken publishes, or {ANOTHER_HISTORY}",
    vwap=5,
    n_trades=7,
    fills_silence=True,
    confirms=_kraken,
    one_by_one=_kraken_one_by_one,
    lacks=_kraken_lacks,
    pings=Pings(ask=lambda number: {"method": "ping", "req_id": number}, answered=_kraken_pong),
    said_at=_kraken_time,
    batch=100,
)

_VENUES: dict[str, Venue] = {
    "kraken": _KRAKEN,
    # A hundred messages in ten seconds, else the connection is closed; pings count as well.
    "kucoin": Venue(
        page_bars=1500,
        quote_volume=6,
        confirms=_kucoin,
        one_by_one=_kucoin_candle,
        lacks=_kucoin_lacks,
        pings=Pings(ask=lambda number: {"id": str(number), "type": "ping"}, answered=_kucoin_pong),
        said_at=_kucoin_time,
        burst=50,
        requests_per_second=4.0,
    ),
    # Whoever subscribes BTC-USDC is sent BTC-USD: both are the same book.
    "coinbase": Venue(
        aliases=("USD", "USDC"),
        page_bars=300,
        confirms=_coinbase,
        lacks=_coinbase_lacks,
        said_at=_coinbase_time,
        batch=100,
    ),
    # Five messages in a second.
    "binance": Venue(
        page_bars=1000,
        n_trades=8,
        quote_volume=7,
        confirms=_by_request,
        lacks=_binance_lacks,
        said_at=_binance_time,
        batch=200,
        burst=4,
        requests_per_second=4.0,
    ),
}


def venue(name: str) -> Venue:
    """What is known of the exchange `name`; of others, what holds everywhere."""
    return _VENUES.get(name, Venue())
