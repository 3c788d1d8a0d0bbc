"""Markets as ccxt describes them, in our words: exact numbers, and only what we can hold."""

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.providers.base import MarketInfo

DECIMAL_PLACES, SIGNIFICANT_DIGITS, TICK_SIZE = 2, 3, 4  # as ccxt numbers its modes of precision


def exact(value: Any) -> Decimal | None:
    """A number of ccxt as the text that it was made of; None where there is none.

    >>> exact(1e-08)
    Decimal('1E-8')
    >>> exact("0.00010")
    Decimal('0.00010')
    """
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        number = Decimal(str(value))  # the shortest text of a float is the one it was read from
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def grid(value: Any, mode: int) -> Decimal | None:
    """The step of prices or quantities, whichever way the exchange writes its precision.

    >>> grid(0.1, TICK_SIZE), grid(2, DECIMAL_PLACES), grid(5, SIGNIFICANT_DIGITS)
    (Decimal('0.1'), Decimal('0.01'), None)
    """
    number = exact(value)
    if number is None:
        return None
    if mode == TICK_SIZE:
        return number if number > 0 else None
    if mode == DECIMAL_PLACES and number == number.to_integral_value():
        return Decimal(1).scaleb(-int(number))
    return None  # significant digits: the step depends on the price


def symbol_of(market: Mapping[str, Any]) -> Symbol | str:
    """The symbol of a market, else why it is none of ours."""
    if not (market.get("spot") or market.get("swap")):
        return "options and contracts that expire"
    if market.get("swap"):
        if market.get("linear") is not True:
            return "contracts that are settled in the coin"
        if exact(market.get("contractSize")) not in {None, Decimal(1)}:
            return "contracts of more or less than one coin"
    try:
        return Symbol.parse(str(market["symbol"]))
    except UsageError:
        return "codes that are no coin codes"


def market_info(
    market: Mapping[str, Any], symbol: Symbol, mode: int, ticker: Mapping[str, Any]
) -> MarketInfo:
    """What one market asks for and costs."""
    precision, limits = market.get("precision") or {}, market.get("limits") or {}
    volume = exact(ticker.get("quoteVolume"))
    if volume is None:
        base, price = exact(ticker.get("baseVolume")), exact(ticker.get("vwap") or ticker.get("last"))
        volume = None if base is None or price is None else base * price
    return MarketInfo(
        symbol=symbol,
        provider_symbol=str(market["id"]),
        active=market.get("active") is not False,
        tick=grid(precision.get("price"), mode),
        lot=grid(precision.get("amount"), mode),
        quantity_min=_positive((limits.get("amount") or {}).get("min")),
        notional_min=_positive((limits.get("cost") or {}).get("min")),
        taker_fee=_fee(market, "taker"),
        maker_fee=_fee(market, "maker"),
        volume_quote=None if volume is None else float(volume),
    )


def market_infos(
    markets: Mapping[str, Mapping[str, Any]], mode: int, tickers: Mapping[str, Mapping[str, Any]]
) -> tuple[list[MarketInfo], dict[str, int]]:
    """Every market that has a symbol of ours, by symbol, and how many have none, by reason."""
    infos: dict[Symbol, MarketInfo] = {}
    left_out: Counter[str] = Counter()
    for name, market in markets.items():
        symbol = symbol_of(market)
        if isinstance(symbol, str):
            left_out[symbol] += 1
        else:
            infos[symbol] = market_info(market, symbol, mode, tickers.get(name) or {})
    return [infos[symbol] for symbol in sorted(infos)], dict(left_out)


def _positive(value: Any) -> Decimal | None:
    number = exact(value)
    return number if number is not None and number > 0 else None


def _fee(market: Mapping[str, Any], side: str) -> Decimal | None:
    """A fraction; fees that are fixed amounts are none."""
    return exact(market.get(side)) if market.get("percentage") is not False else None
