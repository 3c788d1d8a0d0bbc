"""A local Binance: exchangeInfo, klines, tickers, and klines over its websocket."""

import json
from typing import Any

from aiohttp import web

from tests.servers.exchange import MINUTE_MS, Bar, ExchangeServer

PAGE_BARS = 1000
_LENGTH_MS = {
    "1m": MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "1d": 1440 * MINUTE_MS,
}


class BinanceServer(ExchangeServer):
    """The spot market; symbols such as `BTC/USDT:USDT` are perpetuals and live under /fapi."""

    name = "binance"

    def settings(self) -> str:
        # ccxt tells spot from the rest by `/stream` in the address of the socket.
        socket = self.url.replace("http", "ws")
        return json.dumps(
            {
                "urls": {
                    "api": {
                        "public": f"{self.url}/api/v3",
                        "fapiPublic": f"{self.url}/fapi/v1",
                        "dapiPublic": f"{self.url}/dapi/v1",
                        "sapi": f"{self.url}/sapi/v1",
                        "ws": {
                            "spot": f"{socket}/stream/ws",
                            "linear": f"{socket}/linear",
                            "inverse": f"{socket}/inverse",
                        },
                    }
                }
            }
        )

    def rest(self, path: str, query: dict[str, str]) -> Any:
        of_futures = path.startswith("/fapi")
        symbols = [symbol for symbol in self.market if (":" in symbol) == of_futures]
        if path.startswith("/dapi"):
            symbols = []
        if path.endswith("/exchangeInfo"):
            return {"timezone": "UTC", "symbols": [self._symbol(symbol) for symbol in symbols]}
        if path.endswith("/ticker/24hr"):
            return [
                {"symbol": _id(symbol), "lastPrice": "150", "volume": "200", "quoteVolume": "30000.5"}
                for symbol in symbols
            ]
        if path.endswith("/klines"):
            symbol = next((symbol for symbol in symbols if _id(symbol) == query["symbol"]), None)
            if symbol is None:
                return {"code": -1121, "msg": "Invalid symbol."}
            start, end = int(query.get("startTime", 0)), int(query.get("endTime", 10**15))
            bars = self.bars(symbol, _LENGTH_MS[query["interval"]])
            found = [bar for bar in bars if start <= bar.time_ms <= end]
            limit = min(int(query.get("limit", 500)), PAGE_BARS)
            return [kline(bar, _LENGTH_MS[query["interval"]]) for bar in found[:limit]]
        return None

    def _symbol(self, symbol: str) -> dict[str, Any]:
        base, quote = symbol.partition(":")[0].split("/")
        perpetual = {"contractType": "PERPETUAL", "marginAsset": quote, "deliveryDate": 4133404800000}
        return {
            "symbol": _id(symbol),
            "pair": _id(symbol),
            "status": "TRADING",
            "contractStatus": "TRADING",
            "baseAsset": base,
            "quoteAsset": quote,
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "pricePrecision": 2,
            "quantityPrecision": 3,
            "isSpotTradingAllowed": True,
            "permissions": ["SPOT"],
            "permissionSets": [["SPOT"]],
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
                {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
                {"filterType": "NOTIONAL", "minNotional": "5", "notional": "5"},
                {"filterType": "MIN_NOTIONAL", "minNotional": "5", "notional": "5"},
            ],
        } | (perpetual if ":" in symbol else {})

    async def heard(self, socket: web.WebSocketResponse, message: Any) -> None:
        refused = [
            stream
            for stream in message["params"]
            if any(_id(symbol).lower() == stream.partition("@")[0] for symbol in self.refusing)
        ]
        if refused:
            await socket.send_json(
                {"error": {"code": 2, "msg": f"Invalid request: {refused[0]}"}, "id": message["id"]}
            )
        elif self.confirming:
            await socket.send_json({"result": None, "id": message["id"]})

    def push_bars(self, symbol: str, *bars: Bar, over: bool = False) -> None:
        for bar in bars:
            self.push(
                {
                    "e": "kline",
                    "E": self.clock_ms(),
                    "s": _id(symbol),
                    "k": {
                        "t": bar.time_ms,
                        "T": bar.time_ms + MINUTE_MS - 1,
                        "s": _id(symbol),
                        "i": "1m",
                        "o": str(bar.open),
                        "c": str(bar.close),
                        "h": str(bar.high),
                        "l": str(bar.low),
                        "v": str(bar.volume),
                        "n": bar.n_trades,
                        "x": over,
                        "q": str(bar.turnover),
                    },
                }
            )


def kline(bar: Bar, length_ms: int) -> list[Any]:
    numbers = (bar.open, bar.high, bar.low, bar.close, bar.volume)
    return [
        bar.time_ms,
        *(str(number) for number in numbers),
        bar.time_ms + length_ms - 1,
        str(bar.turnover),
        bar.n_trades,
        "0",
        "0",
        "0",
    ]


def _id(symbol: str) -> str:
    return symbol.partition(":")[0].replace("/", "")
