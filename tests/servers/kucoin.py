"""A local KuCoin: its public REST interface, the token for its websocket, and candles over it."""

import json
from typing import Any

from aiohttp import web

from tests.servers.exchange import MINUTE_MS, Bar, ExchangeServer

PAGE_BARS = 1500
_LENGTH_MS = {
    "1min": MINUTE_MS,
    "5min": 5 * MINUTE_MS,
    "15min": 15 * MINUTE_MS,
    "1hour": 60 * MINUTE_MS,
    "4hour": 240 * MINUTE_MS,
    "1day": 1440 * MINUTE_MS,
}


class KucoinServer(ExchangeServer):
    """Currencies, symbols, tickers, candles (the newest first), bullet-public, and `/market/candles`."""

    name = "kucoin"

    def settings(self) -> str:
        kinds = ("public", "private", "futuresPublic", "futuresPrivate", "uta", "utaV2")
        return json.dumps({"urls": {"api": dict.fromkeys(kinds, self.url)}})

    def rest(self, path: str, query: dict[str, str]) -> Any:
        if path.endswith("/currencies"):
            codes = sorted({part for symbol in self.market for part in symbol.split("/")})
            return _answer([{"currency": code, "name": code, "precision": 8, "chains": []} for code in codes])
        if path.endswith("/symbols"):
            return _answer([self._symbol(symbol) for symbol in self.market])
        if path.endswith("/market/allTickers"):
            return _answer(
                {"time": self.now_ms(), "ticker": [self._ticker(symbol) for symbol in self.market]}
            )
        if path.endswith("/contracts/active"):
            return _answer([])
        if path.endswith("/bullet-public"):
            servers = [
                {
                    "endpoint": self.url.replace("http", "ws") + "/endpoint",
                    "encrypt": False,
                    "protocol": "websocket",
                    "pingInterval": 18000,
                    "pingTimeout": 10000,
                }
            ]
            return _answer({"token": "a-public-token", "instanceServers": servers})
        if path.endswith("/market/candles"):
            symbol = query["symbol"].replace("-", "/")
            if symbol not in self.market:
                return {"code": "900001", "msg": "symbol not exists"}
            start, end = int(query["startAt"]) * 1000, int(query["endAt"]) * 1000
            bars = self.bars(symbol, _LENGTH_MS[query["type"]])
            found = [bar for bar in bars if start <= bar.time_ms < end]
            return _answer([candle(bar) for bar in reversed(found)][:PAGE_BARS])
        return None

    def _symbol(self, symbol: str) -> dict[str, Any]:
        base, quote = symbol.split("/")
        return {
            "symbol": f"{base}-{quote}",
            "name": f"{base}-{quote}",
            "baseCurrency": base,
            "quoteCurrency": quote,
            "feeCurrency": quote,
            "market": "USDS",
            "baseMinSize": "0.00001",
            "quoteMinSize": "0.1",
            "baseMaxSize": "10000000000",
            "quoteMaxSize": "99999999",
            "baseIncrement": "0.00000001",
            "quoteIncrement": "0.000001",
            "priceIncrement": "0.1",
            "priceLimitRate": "0.1",
            "minFunds": "0.1",
            "isMarginEnabled": True,
            "enableTrading": symbol not in self.refusing,
        }

    def _ticker(self, symbol: str) -> dict[str, Any]:
        last = self.market[symbol][-1]
        return {
            "symbol": symbol.replace("/", "-"),
            "symbolName": symbol.replace("/", "-"),
            "last": str(last.close),
            "vol": "200.5",
            "volValue": "30000.25",
            "averagePrice": "150",
            "takerFeeRate": "0.001",
            "makerFeeRate": "0.001",
            "takerCoefficient": "1",
            "makerCoefficient": "0.5",
        }

    async def welcomed(self, socket: web.WebSocketResponse) -> None:
        await socket.send_json({"id": "hello", "type": "welcome"})

    async def heard(self, socket: web.WebSocketResponse, message: Any) -> None:
        if message["type"] == "ping":
            await socket.send_json({"id": message["id"], "type": "pong"})
            return
        market = message["topic"].partition(":")[2].partition("_")[0]
        if market.replace("-", "/") in self.refusing:
            await socket.send_json(
                {"id": message["id"], "type": "error", "code": 404, "data": f"topic of {market} is not found"}
            )
        elif self.confirming:
            await socket.send_json({"id": message["id"], "type": "ack"})

    def push_bars(self, symbol: str, *bars: Bar, kind: str = "update") -> None:
        market = symbol.replace("/", "-")
        for bar in bars:
            self.push(
                {
                    "type": "message",
                    "topic": f"/market/candles:{market}_1min",
                    "subject": f"trade.candles.{kind}",
                    "data": {"symbol": market, "candles": candle(bar), "time": self.clock_ms() * 10**6},
                }
            )


def candle(bar: Bar) -> list[str]:
    """Time, open, close, high, low, volume, turnover."""
    numbers = (bar.open, bar.close, bar.high, bar.low, bar.volume, bar.turnover)
    return [str(bar.time_ms // 1000), *(str(number) for number in numbers)]


def _answer(data: Any) -> dict[str, Any]:
    return {"code": "200000", "data": data}
