"""One connection to an exchange: what is asked for, what comes, and when a minute is over."""

import asyncio
import contextlib
import functools
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from crypto_tracker.core.errors import UnknownToProvider, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.market.providers.base import Alive, StreamedBars, StreamEvent, Subscribed, Trouble
from crypto_tracker.market.providers.exchange.connection import Wiring, asked, close_client
from crypto_tracker.market.providers.exchange.errors import UNREADABLE, plain
from crypto_tracker.market.providers.exchange.history import trade_of
from crypto_tracker.market.providers.exchange.minutes import (
    NAN,
    REMEMBERED_MS,
    Candle,
    Given,
    OpenMinutes,
    TradedMinutes,
    batch_of,
)
from crypto_tracker.market.providers.exchange.seams import ExchangeRecorder
from crypto_tracker.market.providers.exchange.tap import Asked, Tap
from crypto_tracker.market.providers.exchange.venues import venue
from crypto_tracker.net.limits import RateLimit

STEPS = "steps"
"""The name under which our own steps stand in a recording, between the messages of the exchange."""

_MINUTE = "1m"
_TAIL_ROWS = 30  # of a cache of candles, which are looked through for changes after each message
_PROOFS = 2  # in the time in which a minute settles the exchange is asked so often whether it lives
_FIRST_QUESTION = 1_000_000_000  # the numbers of our questions are none that ccxt gives to its own
_FAR_AWAY_MAX = 1_000
_WAITING_MAX = 500  # events that nobody has taken yet: then the sockets are left unread


class Gone(Exception):
    """The connection is of no use any more."""


def note(recorder: ExchangeRecorder | None, step: Mapping[str, Any]) -> None:
    """Write down a step of ours that depends on the clock or on chance, so that a replay does the same."""
    if recorder is not None:
        recorder.note_message(STEPS, json.dumps(step))


class Session:
    """One connection.

    Parameters
    ----------
    connecting : false in a replay, where nothing is asked and our steps come from the recording
    """

    def __init__(self, wiring: Wiring, symbols: Sequence[Symbol], *, connecting: bool) -> None:
        self._name = wiring.name
        self._collector = wiring.collector
        self._now_ms = wiring.now_ms
        self._recorder = wiring.recorder
        self.replayed_ms = 0
        """When the message that is being replayed came."""
        self._connecting = connecting
        self._venue = venue(self._name)
        self._wanted = {str(symbol): symbol for symbol in symbols}
        self._asked_for: frozenset[Symbol] = frozenset()
        self._confirmed: set[Symbol] = set()
        self._refused: set[Symbol] = set()
        self._fresh: list[Symbol] = []  # confirmed, and not said so yet
        self._fresh_since = 0.0
        self._asked_at: float | None = None  # None until all was asked for, and once it was missed
        self._strange: set[str] = set()
        self._far_away: dict[tuple[str, int], None] = {}  # in the order in which they were told
        self._clocks = wiring.clocks
        self._told_ahead_ms = 0
        self._settle_ms = int(self._collector.settle_seconds * 1000)
        self._questions = _FIRST_QUESTION
        self._asked_our_ms = 0  # when the last question was asked
        self._asked_ms = 0  # the moment before which all has come, once every connection has answered
        self._heard_in_ms: int | None = None  # the same as the exchange says it
        self._unanswered: set[str] = set()  # addresses
        self._ask_at = 0.0
        self._by_request: dict[tuple[str, str], tuple[Symbol, ...]] = {}  # by address and id
        self._waiting: deque[StreamEvent] = deque()
        self._news = asyncio.Event()
        self._loss: str | None = None
        self._heard = asyncio.get_running_loop().time()
        self._minutes = OpenMinutes(self._settle_ms)
        self._traded = TradedMinutes(self._minutes)
        self._subscriber: asyncio.Task[None] | None = None
        self.client = wiring.open_client(streaming=True)
        has = self.client.has
        self._of_candles = bool(has.get("watchOHLCVForSymbols") or has.get("watchOHLCV"))
        if not self._of_candles and not (has.get("watchTradesForSymbols") or has.get("watchTrades")):
            raise UsageError(
                f"{self._name} streams neither candles nor trades: take another provider to stream"
            )
        self.tap = Tap(
            self.client,
            on_text=self._on_text,
            on_message=self._on_message,
            on_data=self._on_data,
            on_trouble=self._on_trouble,
            on_refusal=self._on_refusal,
            on_loss=self._on_loss,
            one_by_one=self._venue.one_by_one,
            connecting=connecting,
        )
        self.tap.on_pong = self._on_pong

    async def load(self, markets: Any) -> None:
        """Know the markets: from a client of an earlier connection, else ask for them."""
        self.client.open()  # ccxt's own tasks need to know the event loop, which a request would tell it
        if markets is None:
            await asked(self._name, "its markets", self.client.load_markets)
            return
        self.client.set_markets_from_exchange(markets)
        for key, value in markets.options.items():
            if key.startswith("markets"):  # what ccxt keeps beside them, such as Kraken's other names
                self.client.options[key] = value

    def begin(self) -> None:
        """Start to subscribe, while what comes is taken already."""
        self._subscriber = asyncio.create_task(self.subscribe())
        self._subscriber.add_done_callback(lambda _task: self._news.set())

    async def subscribe(self) -> None:
        """Ask for all symbols, a batch at a time; which of them the exchange does not have is said."""
        known: list[Symbol] = []
        for symbol in self._wanted.values():
            if str(symbol) in self.client.markets:
                known.append(symbol)
            else:
                self._on_trouble("symbol", f"{self._name} does not trade {symbol}")
        if self._wanted and not known:
            raise UnknownToProvider(
                f"{self._name} trades none of the {len(self._wanted)} symbols: name others, of its markets"
            )
        self._asked_for = frozenset(known)
        pace = RateLimit(self._venue.requests_per_second, self._venue.burst)
        watch, size = self._watch()
        # Spot and perpetuals may live at addresses of their own, so no request holds both.
        kinds = [[symbol for symbol in known if symbol.is_perpetual is kind] for kind in (False, True)]
        for batch in [
            tuple(kind[start : start + size]) for kind in kinds for start in range(0, len(kind), size)
        ]:
            if self._connecting:
                await pace.acquire()
            self.tap.requests.clear()
            names = [str(symbol) for symbol in batch]
            with contextlib.suppress(Asked):
                await asked(self._name, names[0], functools.partial(watch, names))
            self._by_request |= dict.fromkeys(self.tap.requests, batch)
        self._asked_at = asyncio.get_running_loop().time()

    async def run(self) -> AsyncGenerator[StreamEvent, None]:
        """Events as they come, until the connection is lost."""
        loop = asyncio.get_running_loop()
        while True:
            # First of all: what comes while somebody thinks about an event is news as well.
            self._news.clear()
            for event in self.take_all():
                yield event
            if self._loss is not None:
                raise Gone(self._loss)
            if self._subscriber is not None and self._subscriber.done():
                self._subscriber.result()
            silence = self._collector.silence_seconds
            wait = self._heard + silence - loop.time()
            if wait <= 0.0:
                raise Gone(f"{self._name} said nothing for {silence:g} s")
            if self._fresh:
                until = self._fresh_since + self._collector.settle_seconds - loop.time()
                if until <= 0.0:
                    self._say_subscribed()
                    continue
                wait = min(wait, until)
            if self._asked_at is not None:
                until = self._asked_at + self._collector.stable_seconds - loop.time()
                if until <= 0.0:
                    self._say_unconfirmed()
                    continue
                wait = min(wait, until)
            self._judge_clocks()
            wait = min(wait, await self._ask_whether_it_lives())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    async def _ask_whether_it_lives(self) -> float:
        """Ask every so often, and as soon as a minute may have settled; returns the seconds until then."""
        loop = asyncio.get_running_loop()
        every = self._collector.settle_seconds / _PROOFS
        if self._unanswered and loop.time() < self._ask_at - every + self._collector.quiet_seconds:
            return every  # the answer wakes
        now_ms = self._clocks.earlier(self._now_ms())
        settling_ms = self._minutes.next_settling_ms()
        if settling_ms is not None and self._asked_ms < settling_ms <= now_ms:
            self._ask_at = 0.0
        addresses = self.tap.open_addresses
        if addresses and loop.time() >= self._ask_at:
            self._ask_at = loop.time() + every
            self._questions += 1
            self._asked_ms, self._asked_our_ms, self._heard_in_ms = now_ms, self._now_ms(), None
            self._unanswered = set(addresses)
            pings, number = self._venue.pings, self._questions
            question = str(number).encode() if pings is None else pings.ask(number)
            for address in addresses:
                await self.tap.ask(address, question)
        if settling_ms is None or settling_ms <= now_ms:
            return every
        return min(every, max(settling_ms - now_ms, 1) / 1000.0)

    def _on_pong(self, url: str, held: bytes) -> None:
        if self._venue.pings is None and held == str(self._questions).encode():
            self._answered(url, None)

    def _answered(self, url: str, read_ms: int | None) -> None:
        """One connection has answered; once all have, all that was said before the question has come."""
        if url not in self._unanswered:
            return
        if read_ms is not None:
            self._clocks.answered(read_ms, asked_ms=self._asked_our_ms, came_ms=self._now_ms())
            self._heard_in_ms = min(read_ms, self._heard_in_ms or read_ms)
        self._unanswered.discard(url)
        if self._unanswered:
            return
        proven_ms = self._asked_ms
        if self._heard_in_ms is not None:
            proven_ms = min(self._asked_our_ms, self._heard_in_ms)
        note(self._recorder, {"step": "alive", "at_ms": proven_ms})
        self._prove(proven_ms)

    def _prove(self, at_ms: int) -> None:
        """All that was said before this moment has come: minutes that had settled by then are closed."""
        self._give(self._minutes.settle(at_ms))
        self._add(Alive(at_ms=at_ms))

    def _judge_clocks(self) -> None:
        """Say it where the clocks are further apart than minutes take to settle, and when that changes."""
        ahead_ms = self._clocks.ahead_ms
        if abs(ahead_ms) <= self._settle_ms:
            self._told_ahead_ms = 0
        elif abs(ahead_ms - self._told_ahead_ms) > self._settle_ms:
            self._told_ahead_ms = ahead_ms
            note(self._recorder, {"step": "clock", "ahead_ms": ahead_ms})
            self._tell_of_clocks(ahead_ms)

    def _tell_of_clocks(self, ahead_ms: int) -> None:
        where = "ahead of" if ahead_ms > 0 else "behind"
        self._on_trouble(
            "clock",
            f"our clock is at least {abs(ahead_ms) // 1000} s {where} {self._name}'s: set it by a time "
            "server, or minutes come late",
        )

    def take_all(self) -> list[StreamEvent]:
        """What has happened since the last call."""
        events = list(self._waiting)
        self._waiting.clear()
        if not self.tap.readable.is_set():
            self._heard = asyncio.get_running_loop().time()  # the silence was ours
            self.tap.readable.set()
        return events

    def take_step(self, step: Mapping[str, Any]) -> None:
        """A step of ours out of a recording."""
        symbols = [self._wanted[name] for name in step.get("symbols", ()) if name in self._wanted]
        match step["step"]:
            case "settled":  # as older recordings have it
                self._give(self._minutes.settle(step["at_ms"]))
            case "alive":
                self._prove(step["at_ms"])
            case "clock":
                self._tell_of_clocks(step["ahead_ms"])
            case "confirmed":
                self._confirm(symbols, step["at_ms"])
            case "subscribed":
                self._add(Subscribed(symbols=tuple(symbols)))
            case "refused":
                self._on_trouble("subscription", step["detail"])

    async def close(self) -> None:
        """End the connection and everything that was begun for it."""
        if self._subscriber is not None:
            self._subscriber.cancel()
            # Why it failed has been said by then: `run` looks at it.
            await asyncio.gather(self._subscriber, return_exceptions=True)
        await close_client(self.client)

    def _watch(self) -> tuple[Callable[[list[str]], Any], int]:
        """How symbols are asked for, and how many at once."""
        client, has, batch = self.client, self.client.has, self._venue.batch
        if self._name == "kraken":
            # ccxt's `watch_ohlcv` takes one symbol; the channel takes many in one message.
            return self._watch_kraken, batch
        if has.get("watchOHLCVForSymbols"):
            return self._watch_candles, batch
        if has.get("watchOHLCV"):
            return self._watch_candles_of_one, 1
        if has.get("watchTradesForSymbols"):
            return client.watch_trades_for_symbols, batch
        return self._watch_trades_of_one, 1

    async def _watch_kraken(self, names: list[str]) -> None:
        await self.client.watch_multi_helper("ohlcv", "ohlc", names, None, {"interval": 1})

    async def _watch_candles(self, names: list[str]) -> None:
        await self.client.watch_ohlcv_for_symbols([[name, _MINUTE] for name in names])

    async def _watch_candles_of_one(self, names: list[str]) -> None:
        await self.client.watch_ohlcv(names[0], _MINUTE)

    async def _watch_trades_of_one(self, names: list[str]) -> None:
        await self.client.watch_trades(names[0])

    def _give(self, given: Given) -> None:
        for symbol, candles in given:
            fields = [{"candle": [time_ms, *candle.values()[:5]]} for time_ms, candle in candles.items()]
            self._add(StreamedBars(symbol=symbol, bars=batch_of(candles), raw=fields.__getitem__))

    def _add(self, event: StreamEvent) -> None:
        self._waiting.append(event)
        if len(self._waiting) >= _WAITING_MAX:
            self.tap.readable.clear()
        self._news.set()

    def _on_text(self, url: str, text: str) -> None:
        self._heard = asyncio.get_running_loop().time()
        if self._recorder is not None:
            self._recorder.note_message(url, text)
        self._news.set()

    def _on_loss(self, reason: str) -> None:
        if self._loss is None:
            self._loss = reason
        self._news.set()

    def _on_trouble(self, kind: str, detail: str) -> None:
        if self._loss is None:
            self._add(Trouble(kind=kind, detail=detail, may_hide_bars=kind == "message"))

    def _on_refusal(self, detail: str) -> None:
        """What ccxt says of a refused subscription, where the message itself is not read here."""
        if self._venue.confirms is None and self._loss is None:
            note(self._recorder, {"step": "refused", "detail": detail})
            self._on_trouble("subscription", detail)

    def _on_message(self, url: str, message: Any) -> bool:
        """Read what a message says of subscriptions and clocks; whether nothing else is to be made of it."""
        if self._connecting:
            said_ms = self._venue.said_at(message)
            if said_ms is not None:
                self._clocks.told(said_ms, came_ms=self._now_ms())
            pong = None if self._venue.pings is None else self._venue.pings.answered(message)
            if pong is not None and pong[0] == self._questions:
                self._answered(url, pong[1])
                return True
        if self._venue.confirms is None:
            return False
        said = self._venue.confirms(message)
        symbols = [symbol for request in said.requests for symbol in self._by_request.get((url, request), ())]
        for market in said.markets:
            subscribed = self._symbol_of(market)
            if subscribed is not None:
                symbols.append(subscribed)
        for request, name, says in said.refused:
            of_market = self._symbol_of(name) if name else None
            refused = self._by_request.get((url, request or ""), ()) if of_market is None else (of_market,)
            about = name or ", ".join(str(symbol) for symbol in refused) or "a subscription"
            self._refused |= set(refused)
            self._on_trouble("subscription", f"{self._name} refuses {about}: {says}")
        self._learn(symbols)
        return bool(said.refused)

    def _learn(self, symbols: Sequence[Symbol]) -> None:
        """Symbols that are confirmed now; a recording tells when that was, so a replay learns nothing."""
        if not self._connecting:
            return
        fresh = [symbol for symbol in dict.fromkeys(symbols) if symbol not in self._confirmed]
        if fresh:
            now_ms = self._now_ms()
            note(
                self._recorder,
                {"step": "confirmed", "symbols": [str(symbol) for symbol in fresh], "at_ms": now_ms},
            )
            self._confirm(fresh, now_ms)
            self._fresh += fresh
            self._fresh_since = asyncio.get_running_loop().time()
        if self._fresh and self._asked_for <= self._confirmed | self._refused:
            self._say_subscribed()

    def _confirm(self, symbols: Sequence[Symbol], now_ms: int) -> None:
        skew_ms = int(self._collector.skew_seconds * 1000)
        self._confirmed |= set(symbols)
        for symbol in symbols:
            # Our clock may be behind that of the exchange: then the minute has begun there already.
            self._traded.begin(symbol, now_ms + skew_ms)

    def _say_subscribed(self) -> None:
        """All of them at once where their confirmations come close together."""
        symbols, self._fresh = tuple(self._fresh), []
        note(self._recorder, {"step": "subscribed", "symbols": [str(symbol) for symbol in symbols]})
        self._add(Subscribed(symbols=symbols))

    def _say_unconfirmed(self) -> None:
        """Once on a connection: which symbols the exchange has not answered for."""
        self._asked_at = None
        missing = sorted(self._asked_for - self._confirmed - self._refused)
        if missing and self._venue.confirms is not None:
            names = ", ".join(str(symbol) for symbol in missing[:5]) + (" ..." if len(missing) > 5 else "")
            detail = f"{self._name} has not confirmed {len(missing)} symbols: {names}"
            note(self._recorder, {"step": "refused", "detail": detail})
            self._on_trouble("subscription", detail)

    def _symbol_of(self, market: str) -> Symbol | None:
        """Our symbol of a market as the exchange names it by websocket."""
        return self._wanted.get(market) or self._wanted.get(str(self.client.safe_symbol(market)))

    def _on_data(self, data: Any, message_hash: str) -> None:
        """What ccxt has made of a message: a cache of candles or of trades, of which the newest are new."""
        cache = data[2] if isinstance(data, list) and len(data) == 3 and isinstance(data[0], str) else data
        if not hasattr(cache, "getLimit"):
            return
        try:
            if self._of_candles:
                self._take_candles(cache)
            else:
                self._take_trades(cache)
        except UNREADABLE as error:
            self._on_trouble("message", f"{message_hash}: {type(error).__name__}: {plain(error)}")

    def _take_candles(self, cache: Any) -> None:
        name = next((key for key, of in self.client.ohlcvs.items() if of.get(_MINUTE) is cache), None)
        symbols = () if name is None else self._known(name)
        if not symbols:
            return
        newest = max(_TAIL_ROWS, cache.getLimit(name, None) or 0)
        candles = {
            int(row[0]): Candle(*(NAN if value is None else float(value) for value in row[1:6]))
            for row in cache[max(0, len(cache) - newest) :]
            if not self._is_to_come(str(symbols[0]), int(row[0]))
        }
        if not candles:
            return
        self._learn(symbols if self._venue.confirms is None else [])
        for symbol in symbols:
            self._give(self._minutes.take(symbol, candles))

    def _take_trades(self, cache: Any) -> None:
        # The cache of one market may hold trades of others that came in the same message.
        fresh = cache[max(0, len(cache) - (cache.getLimit(None, None) or 0)) :]
        for name in sorted({item["symbol"] for item in fresh}):
            symbols = self._known(name)
            items = [item for item in fresh if item["symbol"] == name]
            trades = [trade for trade in map(trade_of, items) if not self._is_to_come(name, trade.time_ms)]
            self._learn(symbols if self._venue.confirms is None else [])
            late = self._traded.late
            for symbol in symbols:
                self._give(self._traded.take(symbol, trades))
            if self._traded.late > late:
                self._on_trouble("late", f"{self._traded.late - late} trades of {name} came minutes late")

    def _is_to_come(self, name: str, time_ms: int) -> bool:
        """Whether this would be of a minute that is still far away, which is said once and left out."""
        now_ms = self._now_ms() if self._connecting else self.replayed_ms
        if time_ms < now_ms + REMEMBERED_MS:
            return False
        if (name, time_ms) not in self._far_away:  # it stays in the cache
            self._far_away[name, time_ms] = None
            if len(self._far_away) > _FAR_AWAY_MAX:
                del self._far_away[next(iter(self._far_away))]
            ahead = (time_ms - now_ms) / MINUTE_MS
            self._on_trouble("message", f"{self._name} sent {name} of {ahead:.0f} minutes in the future")
        return True

    def _known(self, name: str) -> tuple[Symbol, ...]:
        """Our symbols of what ccxt calls so; one that nobody asked for is said once."""
        names = [name]
        if self._venue.aliases is not None:
            quote, other = self._venue.aliases
            base, _, quoted = name.partition("/")
            names += [f"{base}/{other}"] if quoted == quote else []
        symbols = tuple(self._wanted[each] for each in names if each in self._wanted)
        if not symbols and name not in self._strange:
            self._strange.add(name)
            self._on_trouble("symbol", f"{self._name} sent {name}, which nobody asked for")
        return symbols
