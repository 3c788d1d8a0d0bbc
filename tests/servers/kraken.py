"""A local Kraken: its public REST interface and its second websocket, over a given market."""

import json
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.servers.exchange import MINUTE_MS, Bar, Deal, ExchangeServer

NEWEST_BARS = 720
TRADES_A_PAGE = 1000


def iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


class KrakenServer(ExchangeServer):
    """AssetPairs, Assets, OHLC, Trades, Ticker, and the channels `ohlc` and `trade`."""

    name = "kraken"

    def settings(self) -> str:
        socket = self.url.replace("http", "ws") + "/v2"
        return json.dumps(
            {"urls": {"api": {"public": self.url, "private": self.url, "ws": {"publicV2": socket}}}}
        )

    def rest(self, path: str, query: dict[str, str]) -> Any:
        kind = path.rsplit("/", 1)[-1]
        if kind == "Assets":
            codes = sorted({part for symbol in self.market for part in symbol.split("/")})
            return _answer(
                {
                    code: {"aclass": "currency", "altname": code, "decimals": 10, "status": "enabled"}
                    for code in codes
                }
            )
        if kind == "AssetPairs":
            return _answer({_id(symbol): self.pair(symbol) for symbol in self.market})
        if kind == "Ticker":
            return _answer({_id(symbol): self._ticker(symbol) for symbol in self.market})
        symbol = next((symbol for symbol in self.market if _id(symbol) == query.get("pair")), None)
        if symbol is None:
            return {"error": ["EQuery:Unknown asset pair"]}
        if kind == "OHLC":
            return self._ohlc(symbol, int(query["interval"]), int(query.get("since", 0)))
        if kind == "Trades":
            return self._trades(symbol, float(query.get("since", 0)), int(query.get("count", TRADES_A_PAGE)))
        return None

    def pair(self, symbol: str) -> dict[str, Any]:
        base, quote = symbol.split("/")
        return {
            "altname": _id(symbol),
            "wsname": symbol,
            "aclass_base": "currency",
            "base": base,
            "aclass_quote": "currency",
            "quote": quote,
            "cost_decimals": 5,
            "pair_decimals": 1,
            "lot_decimals": 8,
            "lot_multiplier": 1,
            "fees": [[0, 0.4], [10000, 0.35]],
            "fees_maker": [[0, 0.25], [10000, 0.2]],
            "fee_volume_currency": "ZUSD",
            "ordermin": "0.00005",
            "costmin": "0.5",
            "tick_size": "0.1",
            "status": "online",
        }

    def _ticker(self, symbol: str) -> dict[str, Any]:
        last = self.market[symbol][-1]
        price = str(last.close)
        return {
            "a": [price, "1", "1.0"],
            "b": [price, "1", "1.0"],
            "c": [price, "0.1"],
            "v": ["1.0", "200.0"],
            "p": [price, "150.0"],
            "t": [1, 2],
            "l": [price, price],
            "h": [price, price],
            "o": price,
        }

    def _ohlc(self, symbol: str, interval: int, since: int) -> Any:
        bars = self.bars(symbol, interval * MINUTE_MS)[-NEWEST_BARS:]
        rows = [
            [
                bar.time_ms // 1000,
                str(bar.open),
                str(bar.high),
                str(bar.low),
                str(bar.close),
                str(round((bar.open + bar.close) / 2, 8)),
                str(bar.volume),
                bar.n_trades,
            ]
            for bar in bars
            if bar.time_ms // 1000 > since
        ]
        return _answer({_id(symbol): rows, "last": bars[-2].time_ms // 1000 if len(bars) > 1 else 0})

    def _trades(self, symbol: str, since: float, count: int) -> Any:
        deals = [
            deal
            for deal in self.deals.get(symbol, [])
            if deal.time_ms / 1000 > since and deal.time_ms <= self.now_ms()
        ][:count]
        rows = [[deal.price, deal.quantity, deal.time_ms / 1000, "b", "m", "", deal.id] for deal in deals]
        return _answer({_id(symbol): rows, "last": str(deals[-1].time_ms * 1_000_000) if deals else "0"})

    async def heard(self, socket: web.WebSocketResponse, message: Any) -> None:
        if message.get("method") == "ping":
            now = iso(self.clock_ms())
            await socket.send_json(
                {"method": "pong", "req_id": message.get("req_id"), "time_in": now, "time_out": now}
            )
            return
        params = message["params"]
        for symbol in params["symbol"]:
            if symbol in self.refusing:
                await socket.send_json(
                    {
                        "error": f"Currency pair not supported {symbol}",
                        "method": "subscribe",
                        "req_id": message["req_id"],
                        "success": False,
                        "symbol": symbol,
                    }
                )
            elif self.confirming:
                await socket.send_json(
                    {
                        "method": "subscribe",
                        "req_id": message["req_id"],
                        "result": {"channel": params["channel"], "symbol": symbol, "snapshot": True},
                        "success": True,
                    }
                )

    def push_bars(self, symbol: str, *bars: Bar, kind: str = "update") -> None:
        """Candles as they stand now."""
        rows = [ohlc_row(symbol, bar) for bar in bars]
        self.push({"channel": "ohlc", "type": kind, "timestamp": iso(self.clock_ms()), "data": rows})

    def push_deals(self, symbol: str, *deals: Deal) -> None:
        self.push(
            {
                "channel": "trade",
                "type": "update",
                "data": [
                    {
                        "symbol": symbol,
                        "side": "buy",
                        "price": float(deal.price),
                        "qty": float(deal.quantity),
                        "ord_type": "market",
                        "trade_id": deal.id,
                        "timestamp": iso(deal.time_ms),
                    }
                    for deal in deals
                ],
            }
        )

    def heartbeat(self) -> None:
        self.push({"channel": "heartbeat"})


def ohlc_row(symbol: str, bar: Bar) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "open": bar.open,
        "high": bar.high,
        "low": bar.low,
        "close": bar.close,
        "trades": bar.n_trades,
        "volume": bar.volume,
        "vwap": bar.close,
        "interval_begin": iso(bar.time_ms),
        "interval": 1,
        "timestamp": iso(bar.time_ms + MINUTE_MS),
    }


def _answer(result: dict[str, Any]) -> dict[str, Any]:
    return {"error": [], "result": result}


def _id(symbol: str) -> str:
    return symbol.replace("/", "")
