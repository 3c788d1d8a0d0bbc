"""A local Coinbase: products, candles (the newest first), and trades over its websocket; no candles there."""

import json
from typing import Any

from aiohttp import web

from tests.servers.exchange import MINUTE_MS, Bar, Deal, ExchangeServer
from tests.servers.kraken import iso

PAGE_BARS = 350
_LENGTH_MS = {
    "ONE_MINUTE": MINUTE_MS,
    "FIVE_MINUTE": 5 * MINUTE_MS,
    "FIFTEEN_MINUTE": 15 * MINUTE_MS,
    "ONE_HOUR": 60 * MINUTE_MS,
    "ONE_DAY": 1440 * MINUTE_MS,
}


class CoinbaseServer(ExchangeServer):
    """What ccxt asks the advanced trade interface for without a key."""

    name = "coinbase"

    def settings(self) -> str:
        return json.dumps({"urls": {"api": {"rest": self.url, "ws": self.url.replace("http", "ws")}}})

    def rest(self, path: str, query: dict[str, str]) -> Any:
        if path.startswith("/v2/"):
            return {"data": {"currency": "USD", "rates": {}}} if "exchange-rates" in path else {"data": []}
        if path.endswith("/market/products"):
            products = [] if query.get("product_type") == "FUTURE" else list(self.market)
            return {"products": [self._product(symbol) for symbol in products], "num_products": len(products)}
        if path.endswith("/candles"):
            symbol = path.split("/")[-2].replace("-", "/")
            if symbol not in self.market:
                return {"error": "NOT_FOUND", "error_details": "valid product_id is required"}
            start, end = int(query["start"]) * 1000, int(query["end"]) * 1000
            length = _LENGTH_MS[query["granularity"]]
            if (end - start) // length > PAGE_BARS:
                return {"error": "INVALID_ARGUMENT", "error_details": "should be less than 350"}
            found = [bar for bar in self.bars(symbol, length) if start <= bar.time_ms <= end]
            return {"candles": [candle(bar) for bar in reversed(found)]}
        return None

    def _product(self, symbol: str) -> dict[str, Any]:
        base, quote = symbol.split("/")
        return {
            "product_id": f"{base}-{quote}",
            "price": str(self.market[symbol][-1].close),
            "volume_24h": "200",
            "approximate_quote_24h_volume": "30000",
            "base_increment": "0.00000001",
            "quote_increment": "0.01",
            "price_increment": "0.01",
            "quote_min_size": "1",
            "quote_max_size": "150000000",
            "base_min_size": "0.00000001",
            "base_max_size": "3400",
            "base_name": base,
            "quote_name": quote,
            "is_disabled": False,
            "status": "online",
            "cancel_only": False,
            "limit_only": False,
            "post_only": False,
            "trading_disabled": symbol in self.refusing,
            "auction_mode": False,
            "product_type": "SPOT",
            "quote_currency_id": quote,
            "base_currency_id": base,
            "base_display_symbol": base,
            "quote_display_symbol": quote,
            "view_only": False,
            "alias": "",
            "alias_to": [],
            "display_name": f"{base}-{quote}",
            "product_venue": "CBE",
        }

    async def heard(self, socket: web.WebSocketResponse, message: Any) -> None:
        if any(market.replace("-", "/") in self.refusing for market in message["product_ids"]):
            await socket.send_json({"type": "error", "message": "product is not found"})
        elif self.confirming:
            granted = {message["channel"]: message["product_ids"]}
            await socket.send_json(
                {"channel": "subscriptions", "sequence_num": 0, "events": [{"subscriptions": granted}]}
            )

    def push_deals(self, symbol: str, *deals: Deal, kind: str = "update") -> None:
        """Trades in one message; Coinbase writes the newest first."""
        trades = [
            {
                "trade_id": str(deal.id),
                "product_id": symbol.replace("/", "-"),
                "price": deal.price,
                "size": deal.quantity,
                "side": "BUY",
                "time": iso(deal.time_ms),
            }
            for deal in reversed(deals)
        ]
        self.push(
            {
                "channel": "market_trades",
                "client_id": "",
                "timestamp": iso(self.clock_ms()),
                "sequence_num": 1,
                "events": [{"type": kind, "trades": trades}],
            }
        )


def candle(bar: Bar) -> dict[str, str]:
    numbers = {"low": bar.low, "high": bar.high, "open": bar.open, "close": bar.close, "volume": bar.volume}
    return {"start": str(bar.time_ms // 1000)} | {name: str(number) for name, number in numbers.items()}
