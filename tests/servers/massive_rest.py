"""A local Massive: its REST interface, with its wire format and its habits, over a given market.

It is written from the published specification and the recorded answers, and shares no code with the client
under test. The provider's own client is pointed at it too, as a second judge (`test_massive_rest_judge.py`).
"""

import asyncio
import base64
import json
import random
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
import numpy as np
from aiohttp import web

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.store.batch import BarBatch
from tests.servers.threaded import served

KEY = "a-key-that-must-stay-secret-0123456789"
HOST = "https://api.massive.com"  # which every next_url names, whoever was asked
DAY_MS = 86_400_000
_SPAN_MS = {"minute": 60_000, "hour": 3_600_000, "day": DAY_MS}
_LIMIT_DEFAULT, _LIMIT_MAX = 5_000, 50_000
_TICKERS_DEFAULT, _TICKERS_MAX = 100, 1_000

_RANGE = re.compile(
    r"/v2/aggs/ticker/(?P<ticker>[^/]+)/range/(?P<n>\d+)/(?P<span>\w+)/(?P<start>[^/]+)/(?P<end>[^/]+)"
)
_GROUPED = re.compile(r"/v2/aggs/grouped/locale/global/market/crypto/(?P<date>\d{4}-\d{2}-\d{2})")
_PREVIOUS = re.compile(r"/v2/aggs/ticker/(?P<ticker>[^/]+)/prev")
_TICKERS = "/v3/reference/tickers"

TOO_MANY = (
    "You've exceeded the maximum requests per minute, please wait or upgrade your subscription to continue. "
    "https://massive.com/pricing"
)
NOT_IN_PLAN = (
    "Your plan doesn't include this data timeframe. Please upgrade your plan at https://massive.com/pricing"
)


# ------------------------------------------------------------------------------------------------ faults


@dataclass(frozen=True)
class Fault:
    """What goes wrong once, with the first request whose path holds `path`.

    `status` is an error instead of the answer. `edit` changes the answer's body before it is sent, `cut`
    the bytes of it. `drip_seconds` lie between any two bytes, `disconnect` ends the connection half way.
    """

    name: str
    path: str = ""
    status: int = 200
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    edit: Callable[[dict[str, Any]], None] | None = None
    cut: Callable[[bytes], bytes] | None = None
    drip_seconds: float = 0.0
    disconnect: bool = False


def passes(path: str = "") -> Fault:
    """Nothing goes wrong with this one."""
    return Fault("passes", path)


def status(
    code: int, message: str = "", *, path: str = "", retry_after: str | None = None, date: str = ""
) -> Fault:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Fault(f"status {code}", path, code, message, headers | ({"Date": date} if date else {}))


def too_many(retry_after: str | None = None, **more: str) -> Fault:
    return status(429, TOO_MANY, retry_after=retry_after, **more)


def drip(seconds: float, path: str = "") -> Fault:
    return Fault("slow drip", path, drip_seconds=seconds)


def truncated(path: str = "") -> Fault:
    """The JSON ends in the middle, and HTTP finds nothing wrong with it."""
    return Fault("truncated JSON", path, cut=lambda body: body[: len(body) // 2])


def disconnect(path: str = "") -> Fault:
    return Fault("disconnect mid-body", path, disconnect=True)


def garbage(body: bytes, path: str = "") -> Fault:
    return Fault("garbage", path, cut=lambda _body: body)


def set_field(row: int, name: str, value: object, path: str = "") -> Fault:
    """One field of one row is something else: NaN, an empty string, an absurd price."""

    def edit(body: dict[str, Any]) -> None:
        body["results"][row][name] = value

    return Fault(f"{name} is {value!r}", path, edit=edit)


def without_field(row: int, name: str, path: str = "") -> Fault:
    def edit(body: dict[str, Any]) -> None:
        del body["results"][row][name]

    return Fault(f"{name} is absent", path, edit=edit)


def duplicated(row: int, path: str = "") -> Fault:
    def edit(body: dict[str, Any]) -> None:
        body["results"].insert(row, dict(body["results"][row]))

    return Fault("duplicate row", path, edit=edit)


def shuffled(seed: int, path: str = "") -> Fault:
    def edit(body: dict[str, Any]) -> None:
        random.Random(seed).shuffle(body["results"])

    return Fault("rows out of order", path, edit=edit)


def wrong_ticker(ticker: str, path: str = "") -> Fault:
    return Fault("wrong ticker", path, edit=lambda body: body.update(ticker=ticker))


def skewed(row: int, by_ms: int, path: str = "") -> Fault:
    def edit(body: dict[str, Any]) -> None:
        body["results"][row]["t"] += by_ms

    return Fault("clock skew", path, edit=edit)


def edited(edit: Callable[[dict[str, Any]], None], path: str = "") -> Fault:
    return Fault("edited", path, edit=edit)


# ------------------------------------------------------------------------------------------------ market


@dataclass(frozen=True)
class Asked:
    """One request that came in, and what became of it."""

    path: str
    query: Mapping[str, str]
    authorization: str
    status: int

    @property
    def limit(self) -> int | None:
        """The limit, also where it hides in a cursor."""
        query = dict(self.query)
        if cursor := query.get("cursor"):
            query |= dict(parse_qsl(base64.b64decode(cursor).decode()))
        return int(query["limit"]) if "limit" in query else None


class _Pair:
    """The minutes of one pair, and coarser bars made of them."""

    def __init__(self, bars: BarBatch) -> None:
        order = np.argsort(bars.open_time_ms, kind="stable")
        self.minutes = np.empty((8, len(order)))  # t o h l c v vw n
        self.minutes[0] = bars.open_time_ms[order]
        self.minutes[1:] = bars.values()[:, order]
        self.minutes[7] = np.where(np.isnan(self.minutes[7]), 1.0, self.minutes[7])
        middle = self.minutes[2:5].mean(axis=0)
        self.minutes[6] = np.where(np.isnan(self.minutes[6]), middle, self.minutes[6])

    def known(self, now_ms: int | None) -> np.ndarray:
        """The minutes that have begun; the last one may still be open."""
        return self.minutes if now_ms is None else self.minutes[:, self.minutes[0] <= now_ms]


def windows(minutes: np.ndarray, length_ms: int) -> tuple[np.ndarray, np.ndarray]:
    """Bars of a length made of minutes, and how many minutes each is made of."""
    if length_ms == _SPAN_MS["minute"] or not minutes.shape[1]:
        return minutes, np.ones(minutes.shape[1], dtype=np.int64)
    start = minutes[0] // length_ms * length_ms
    first = np.flatnonzero(np.diff(start, prepend=-1.0))
    last = np.append(first[1:], len(start)) - 1
    volume = np.add.reduceat(minutes[5], first)
    value = np.add.reduceat(minutes[5] * minutes[6], first)
    plain = np.add.reduceat(minutes[6], first) / (last - first + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        vwap = np.where(volume > 0, value / volume, plain)
    made = np.stack(
        [
            start[first],
            minutes[1, first],
            np.maximum.reduceat(minutes[2], first),
            np.minimum.reduceat(minutes[3], first),
            minutes[4, last],
            volume,
            vwap,
            np.add.reduceat(minutes[7], first),
        ]
    )
    return made, last - first + 1


def _rows(bars: np.ndarray, **more: str) -> list[dict[str, Any]]:
    return [
        {**more, "v": v, "vw": vw, "o": o, "c": c, "h": h, "l": l, "t": int(t), "n": int(n)}
        for t, o, h, l, c, v, vw, n in zip(*(row.tolist() for row in bars), strict=True)  # noqa: E741
    ]


# ------------------------------------------------------------------------------------------------ server


@dataclass
class MassiveServer:
    """The server: change its fields at any time; see `massive_rest` for what they mean."""

    market: Mapping[Symbol, BarBatch | Panel]
    faults: list[Fault]
    now_ms: int | None
    key: str
    inactive: Collection[Symbol]
    rows_max: int | None
    per_minute: int | None
    minute_seconds: float
    entitled_from_ms: int | None
    delayed: bool
    requests: list[Asked] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self._pairs = {
            f"X:{symbol.base}{symbol.quote}": _Pair(
                BarBatch.of_column(bars, symbol) if isinstance(bars, Panel) else bars
            )
            for symbol, bars in self.market.items()
        }
        self._moments: list[float] = []
        self._bodies: dict[str, bytes] = {}

    # -- the frame around every answer

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = await self._judged(request)
        authorization = request.headers.get("Authorization", "")
        self.requests.append(Asked(request.path, dict(request.query), authorization, response.status))
        return response

    async def _judged(self, request: web.Request) -> web.StreamResponse:
        told = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.query.get(
            "apiKey", ""
        )
        if told != self.key:
            return _error(401, error="Unknown API Key")
        if self._is_too_many():
            return _error(429, error=TOO_MANY, headers={"Retry-After": str(max(int(self.minute_seconds), 1))})
        fault = self._fault_of(request.path)
        if fault.status != 200:
            return _failure(fault)
        body = self._body_of(request)
        if isinstance(body, web.Response):
            return body
        if fault.edit is not None:
            changed = json.loads(body)
            fault.edit(changed)
            body = json.dumps(changed).encode()  # which writes NaN as NaN
        if fault.cut is not None:
            body = fault.cut(body)
        if fault.drip_seconds or fault.disconnect:
            return await _slowly(request, body, fault)
        return web.Response(body=body, content_type="application/json")

    def _is_too_many(self) -> bool:
        if self.per_minute is None:
            return False
        now = time.monotonic()
        self._moments = [moment for moment in self._moments if moment > now - self.minute_seconds]
        if len(self._moments) >= self.per_minute:
            return True
        self._moments.append(now)
        return False

    def _fault_of(self, path: str) -> Fault:
        for fault in self.faults:
            if fault.path in path:
                self.faults.remove(fault)
                return fault
        return passes()

    def _body_of(self, request: web.Request) -> bytes | web.Response:
        query = dict(request.query)
        if cursor := query.pop("cursor", None):
            query |= dict(parse_qsl(base64.b64decode(cursor).decode()))
        query.pop("apiKey", None)
        told = f"{request.path}?{urlencode(sorted(query.items()))}&{self.now_ms}&{self.delayed}"
        if told in self._bodies:
            return self._bodies[told]
        if found := _RANGE.fullmatch(request.path):
            body = self._range(found, query)
        elif found := _GROUPED.fullmatch(request.path):
            body = self._grouped(found["date"])
        elif found := _PREVIOUS.fullmatch(request.path):
            body = self._previous(found["ticker"])
        elif request.path == _TICKERS:
            body = self._tickers(query)
        else:
            return web.Response(status=404, text="404 page not found")
        if isinstance(body, web.Response):
            return body
        content = msgspec.json.encode({**body, "request_id": f"{len(self.requests):032x}"})
        self._bodies[told] = content
        return content

    # -- the answers

    def _range(self, found: re.Match[str], query: dict[str, str]) -> dict[str, Any] | web.Response:
        ticker, span, count = found["ticker"], found["span"], int(found["n"])
        if span not in _SPAN_MS:
            return _error(400, error=f"'{span}' is not a timespan this server has")
        start_ms, end_ms = _moment(found["start"]), _moment(found["end"], end=True)
        limit = int(query.get("limit", _LIMIT_DEFAULT))
        if not 1 <= limit <= _LIMIT_MAX:
            return _error(400, error="The limit parameter must be between 1 and 50000")
        if self.rows_max is not None and limit > self.rows_max:
            return web.Response(
                status=502, text="<html><h1>502 Bad Gateway</h1></html>", content_type="text/html"
            )
        if self.entitled_from_ms is not None and start_ms < self.entitled_from_ms:
            return _error(403, status="NOT_AUTHORIZED", message=NOT_IN_PLAN)
        length_ms = count * _SPAN_MS[span]
        bars, parts = windows(self._known(ticker), length_ms)
        if span == "day":  # whose base aggregates are days
            parts = np.ones_like(parts)
        asked = (bars[0] >= start_ms // length_ms * length_ms) & (bars[0] <= end_ms)
        bars, parts = bars[:, asked], parts[asked]
        if query.get("sort", "asc") == "desc":
            bars, parts = bars[:, ::-1], parts[::-1]
        taken = max(int(np.searchsorted(np.cumsum(parts), limit, side="right")), 1)
        page, rest = bars[:, :taken], bars[:, taken:]
        body = _envelope(page, parts[:taken], ticker=ticker, status="DELAYED" if self.delayed else "OK")
        if rest.shape[1]:
            bounds = (
                (int(rest[0, 0]), end_ms)
                if query.get("sort", "asc") == "asc"
                else (start_ms, int(rest[0, 0]))
            )
            cursor = base64.b64encode(urlencode(sorted(query.items())).encode()).decode()
            body["next_url"] = (
                f"{HOST}/v2/aggs/ticker/{ticker}/range/{count}/{span}/{bounds[0]}/{bounds[1]}?cursor={cursor}"
            )
        return body

    def _grouped(self, date: str) -> dict[str, Any]:
        day_ms = _moment(date)
        rows: list[dict[str, Any]] = []
        for ticker in self._pairs:
            days, _ = windows(self._known(ticker), DAY_MS)
            rows += _rows(_at_the_end(days[:, days[0] == day_ms]), T=ticker)
        counts = {"queryCount": len(rows), "resultsCount": len(rows), "count": len(rows)}
        return {"adjusted": True, "status": "OK", **counts} | ({"results": rows} if rows else {})

    def _previous(self, ticker: str) -> dict[str, Any]:
        days, _ = windows(self._known(ticker), DAY_MS)
        if self.now_ms is not None:
            days = days[:, days[0] < self.now_ms // DAY_MS * DAY_MS]
        rows = _rows(_at_the_end(days[:, -1:]), T=ticker)
        counts = {"queryCount": len(rows), "resultsCount": len(rows), "count": len(rows)}
        return {"ticker": ticker, "adjusted": True, "status": "OK", **counts} | (
            {"results": rows} if rows else {}
        )

    def _tickers(self, query: dict[str, str]) -> dict[str, Any] | web.Response:
        limit = int(query.get("limit", _TICKERS_DEFAULT))
        if not 1 <= limit <= _TICKERS_MAX:
            return _error(400, error="'limit' must be between 1 and 1000")
        active = query.get("active", "true") == "true"
        rows = sorted(
            (
                _ticker_row(symbol, active=symbol not in self.inactive)
                for symbol in self.market
                if (symbol not in self.inactive) == active
            ),
            key=lambda row: row["ticker"],
        )
        rows = [row for row in rows if row["ticker"] > query.get("after", "")]
        body: dict[str, Any] = {"status": "OK", "count": len(rows[:limit])}
        if rows:
            body["results"] = rows[:limit]
        if len(rows) > limit:
            more = query | {"after": rows[limit - 1]["ticker"]}
            cursor = base64.b64encode(urlencode(sorted(more.items())).encode()).decode()
            body["next_url"] = f"{HOST}{_TICKERS}?cursor={cursor}"
        return body

    def _known(self, ticker: str) -> np.ndarray:
        pair = self._pairs.get(ticker)
        return np.empty((8, 0)) if pair is None else pair.known(self.now_ms)


@contextmanager
def massive_rest(
    market: Mapping[Symbol, BarBatch | Panel],
    *,
    faults: Iterable[Fault] = (),
    now_ms: int | None = None,
    key: str = KEY,
    inactive: Collection[Symbol] = (),
    rows_max: int | None = None,
    per_minute: int | None = None,
    minute_seconds: float = 60.0,
    entitled_from_ms: int | None = None,
    delayed: bool = False,
) -> Iterator[MassiveServer]:
    """A running server.

    Parameters
    ----------
    market : minutes of each symbol; everything else is made of them
    faults : what goes wrong, one after the other
    now_ms : minutes that open later are not known yet, and the one that holds it is still open; None: all are
    key : any other is refused
    inactive : symbols that are listed as no longer traded
    rows_max : a page with a greater limit ends in 502
    per_minute : more requests in `minute_seconds` (real ones) are answered with 429
    entitled_from_ms : a request that begins before is answered with 403
    delayed : answers carry the status DELAYED
    """
    server = MassiveServer(
        market=market,
        faults=list(faults),
        now_ms=now_ms,
        key=key,
        inactive=inactive,
        rows_max=rows_max,
        per_minute=per_minute,
        minute_seconds=minute_seconds,
        entitled_from_ms=entitled_from_ms,
        delayed=delayed,
    )
    with served(server.answer) as server.url:
        yield server


def day_file(market: Mapping[Symbol, BarBatch], day_ms: int) -> str:
    """The day file of a day as text: all minutes of all pairs, sorted by pair and time."""
    lines = ["ticker,volume,open,close,high,low,window_start,transactions"]
    for symbol in sorted(market):
        minutes = _Pair(market[symbol]).minutes
        minutes = minutes[:, (minutes[0] >= day_ms) & (minutes[0] < day_ms + DAY_MS)]
        for t, o, h, l, c, v, _, n in zip(*(row.tolist() for row in minutes), strict=True):  # noqa: E741
            start = int(t) * 1_000_000
            lines.append(f"X:{symbol.base}-{symbol.quote},{v!r},{o!r},{c!r},{h!r},{l!r},{start},{int(n)}")
    return "\n".join(lines) + "\n"


def _moment(text: str, *, end: bool = False) -> int:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        day = datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(days=int(end))
        return int(day.timestamp()) * 1_000 - int(end)
    return int(text)


def _at_the_end(days: np.ndarray) -> np.ndarray:
    """Days whose time is their last millisecond, as in grouped and previous answers."""
    moved = days.copy()
    moved[0] += DAY_MS - 1
    return moved


def _envelope(page: np.ndarray, parts: np.ndarray, **more: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        **more,
        "adjusted": True,
        "queryCount": int(parts.sum()),
        "resultsCount": page.shape[1],
        "count": page.shape[1],
    }
    if page.shape[1]:  # the key is absent where there is no row
        body["results"] = _rows(page)
    return body


def _ticker_row(symbol: Symbol, *, active: bool) -> dict[str, Any]:
    return {
        "ticker": f"X:{symbol.base}{symbol.quote}",
        "name": f"{symbol.base} - {symbol.quote}",
        "market": "crypto",
        "locale": "global",
        "active": active,
        "currency_symbol": symbol.quote,
        "currency_name": symbol.quote,
        "base_currency_symbol": symbol.base,
        "base_currency_name": symbol.base,
        "last_updated_utc": "2024-01-03T00:00:00Z",
    }


def _error(
    code: int,
    *,
    status: str = "ERROR",
    error: str = "",
    message: str = "",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    body = {"status": status, "request_id": "4e18409b8a98e576b6c348f05bd850ac"}
    body |= {"error": error} if error else {}
    body |= {"message": message} if message else {}
    return web.json_response(body, status=code, headers=headers)


def _failure(fault: Fault) -> web.Response:
    if fault.status == 403:
        return _error(
            403, status="NOT_AUTHORIZED", message=fault.message or NOT_IN_PLAN, headers=fault.headers
        )
    if fault.status in {400, 401, 404, 429}:
        return _error(fault.status, error=fault.message, headers=fault.headers)
    text = f"<html><h1>{fault.status}</h1>{fault.message}</html>"
    return web.Response(status=fault.status, text=text, content_type="text/html", headers=fault.headers)


async def _slowly(request: web.Request, body: bytes, fault: Fault) -> web.StreamResponse:
    headers = {"Content-Length": str(len(body)), "Content-Type": "application/json"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    if fault.disconnect:
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.abort()
        return response
    for at in range(len(body)):
        if request.transport is None or request.transport.is_closing():
            break  # whom we served has gone
        await response.write(body[at : at + 1])
        await asyncio.sleep(fault.drip_seconds)
    return response
