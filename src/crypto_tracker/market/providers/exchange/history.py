"""Past bars of an exchange: paged, made of trades where its candles do not reach, and honest about both."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.market.providers.base import FetchedBars, Lacking, MarketInfo, RawBar, Reach
from crypto_tracker.market.providers.exchange.beginnings import Beginnings
from crypto_tracker.market.providers.exchange.connection import (
    Wiring,
    asked,
    close_client,
)
from crypto_tracker.market.providers.exchange.loading import exchange_class
from crypto_tracker.market.providers.exchange.markets import exact, market_infos
from crypto_tracker.market.providers.exchange.minutes import (
    NAN,
    Candle,
    Trade,
    TradedMinute,
    batch_of,
    one_batch,
)
from crypto_tracker.market.providers.exchange.paging import Manners, PageReader, Row
from crypto_tracker.market.providers.exchange.venues import PAGE_BARS, Venue, venue

_TRADES_A_PAGE = 1000
_LOOK_BACK_MS = (MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS)
"""How far before the first minute a trade is looked for, which proves that the minute is whole."""


class ExchangeHistory:
    """The past of one exchange, asked through ccxt without a key."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._name = wiring.name
        self._settings = wiring.settings
        self._quiet_ms = int(wiring.collector.quiet_seconds * 1000)
        self._now_ms = wiring.now_ms
        self._venue: Venue = venue(wiring.name)
        self._client: Any = None
        self._manners: dict[Timeframe, Manners] = {}
        self.left_out: Mapping[str, int] = {}
        """Markets that have no symbol of ours, by reason; known after `markets`."""
        self._timeframes, self._page_bars = self._described()
        self._beginnings = Beginnings(
            lambda symbol, timeframe: self._reader(symbol, timeframe, self._now_ms()),
            lambda timeframe: self._oldest_candle_ms(timeframe, self._now_ms()),
            self._page_bars,
        )

    @property
    def name(self) -> str:
        """The name that ccxt has for the exchange."""
        return self._name

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """Those of ours that the exchange has."""
        return self._timeframes

    def reach(self, timeframe: Timeframe, now_ms: int) -> Reach:
        """What can be asked for at this moment."""
        oldest = self._oldest_candle_ms(timeframe, now_ms)
        if oldest is None:
            return Reach(page_bars=self._page_bars)
        newest = f"{self._name} gives only the newest {(self._venue.newest_bars or 0) + 1}"
        why = f"{newest} bars of each timeframe: {self._venue.older}"
        if timeframe is Timeframe.M1 and self._settings.trades_hours:
            of_trades = timeframe.floor(now_ms - int(self._settings.trades_hours * HOUR_MS))
            if of_trades < oldest:
                oldest = of_trades
                why = (
                    f"{newest} minutes, and older ones are made of its trades "
                    f"for {self._settings.trades_hours:g} h: {self._venue.older}"
                )
        return Reach(page_bars=self._page_bars, oldest_ms=oldest, why_oldest=why)

    async def markets(self) -> Sequence[MarketInfo]:
        """Every market that has a symbol of ours, with the turnover of the last day where it is told."""
        client = self._open()
        await asked(self._name, "its markets", lambda: client.load_markets(reload=True))
        tickers: Mapping[str, Any] = {}
        if client.has.get("fetchTickers") is True:
            tickers = await asked(self._name, "its tickers", client.fetch_tickers)
        infos, self.left_out = market_infos(client.markets, client.precisionMode, tickers)
        return infos

    async def fetch(self, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> FetchedBars:
        """The bars that open in [start_ms, end_ms); see `History.fetch`."""
        now_ms = self._now_ms()
        candles_from = self._oldest_candle_ms(timeframe, now_ms)
        if (
            candles_from is None
            or start_ms >= candles_from
            or timeframe is not Timeframe.M1
            or not self._settings.trades_hours
        ):
            return await self._candles(symbol, timeframe, start_ms, end_ms)
        # While the trades are read, a minute or two fall out of what the candles reach.
        border = min(end_ms, candles_from + 2 * MINUTE_MS)
        older = await self._of_trades(symbol, start_ms, border)
        if border >= end_ms:
            return older
        newer = await self._candles(symbol, timeframe, border, end_ms)
        return _joined(older, newer)

    async def close(self) -> None:
        """Let go of all connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await close_client(client)

    async def _candles(self, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> FetchedBars:
        name, now_ms = self._name, self._now_ms()
        pages = await self._reader(symbol, timeframe, now_ms).read(start_ms, end_ms)
        # A bar is closed where it was when it was asked for, by our clock and by that of the exchange, or
        # where the exchange has a later one.
        clocks = self._wiring.clocks
        closed_ms = max(clocks.surely(now_ms), min(max(pages.rows, default=0), now_ms))
        rows = {time_ms: row for time_ms, row in pages.rows.items() if time_ms + timeframe.ms <= closed_ms}
        closed_to = min((time_ms for time_ms in pages.rows if time_ms not in rows), default=end_ms)
        # A bar that closed a moment ago may not be there yet: its absence proves nothing.
        quiet_ms = timeframe.floor(clocks.earlier(now_ms) - self._quiet_ms)
        if self._venue.fills_silence:  # nor does it behind the newest candle
            newest_ms = start_ms if pages.newest_ms is None else pages.newest_ms + timeframe.ms
            quiet_ms = min(quiet_ms, newest_ms)
        end_ms = min(closed_to, quiet_ms)
        lacking: list[Lacking] = []
        proven_from, requests = pages.proven_from_ms, pages.requests
        if proven_from > start_ms:
            lacking.append(
                Lacking(
                    start_ms=start_ms,
                    end_ms=proven_from,
                    reason=f"{name} gives only its newest bars, whatever it is asked for",
                )
            )
        first = min(rows, default=closed_to)
        oldest = self._oldest_candle_ms(timeframe, now_ms)
        if oldest is not None and oldest > proven_from:
            proven_from = min(oldest, first)
            if proven_from > start_ms:
                why = self.reach(timeframe, now_ms).why_oldest
                lacking.append(Lacking(start_ms=start_ms, end_ms=proven_from, reason=why))
        if first > proven_from and proven_from < end_ms and Timeframe.D1 in self._timeframes:
            begin, more = await self._beginnings.first_bar(symbol, timeframe, now_ms)
            requests += more
            if begin is not None and begin > proven_from:
                why = f"{symbol} was not traded on {name} before {from_ms(begin):%Y-%m-%d}"
                begin = min(begin, end_ms)
                lacking.append(Lacking(start_ms=proven_from, end_ms=begin, reason=why))
                proven_from = begin
        covered = [(proven_from, end_ms)] if proven_from < end_ms else []
        return self._answer(rows, covered, tuple(lacking), requests, timeframe)

    def _answer(
        self,
        rows: Mapping[int, Row],
        quiet: list[tuple[int, int]],
        lacking: tuple[Lacking, ...],
        requests: int,
        timeframe: Timeframe,
    ) -> FetchedBars:
        """What is covered: stretches in which a missing bar is known to be none, and each bar itself."""
        candles = {time_ms: self._candle(row) for time_ms, row in rows.items()}
        if self._venue.fills_silence:
            # A minute is the same whether it was streamed, fetched or made of trades.
            candles = {time_ms: candle for time_ms, candle in candles.items() if candle.n_trades != 0}
        times = sorted(candles)
        return FetchedBars(
            bars=batch_of(candles),
            covered=_merged([*quiet, *((time_ms, time_ms + timeframe.ms) for time_ms in times)]),
            lacking=lacking,
            raw=lambda index: _fields(rows[times[index]]),
            requests=requests,
        )

    def _candle(self, row: Row) -> Candle:
        numbers = [NAN if value is None else float(value) for value in row[1:6]]
        vwap = n_trades = NAN
        written = row[6] if len(row) > 6 else None
        if isinstance(written, Sequence) and not isinstance(written, str):
            vwap = _number(written, self._venue.vwap)
            n_trades = _number(written, self._venue.n_trades)
            turnover = _number(written, self._venue.quote_volume)
            if self._venue.vwap is None and numbers[4] > 0.0:
                vwap = turnover / numbers[4]
        return Candle(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], vwap, n_trades)

    async def _of_trades(self, symbol: Symbol, start_ms: int, end_ms: int) -> FetchedBars:
        """Minutes made of trades; a minute is whole when trades before and after it are known."""
        client = self._open()
        known: dict[str, Trade] = {}
        requests = 0

        async def page(since_ms: int) -> list[Trade]:
            nonlocal requests
            requests += 1

            async def ask() -> list[Trade]:
                found = await client.fetch_trades(str(symbol), since_ms, _TRADES_A_PAGE)
                return sorted((trade_of(item) for item in found), key=lambda trade: trade.time_ms)

            trades: list[Trade] = await asked(self._name, str(symbol), ask)
            return trades

        trades: list[Trade] = []
        cursor = start_ms
        for look_back in _LOOK_BACK_MS:
            cursor = start_ms - look_back
            trades = await page(cursor)
            if not trades or trades[0].time_ms < start_ms:
                break
        while True:
            fresh = [trade for trade in trades if _key(trade) not in known]
            known |= {_key(trade): trade for trade in fresh}
            if not fresh or fresh[-1].time_ms >= end_ms:
                break
            cursor = max(fresh[-1].time_ms, cursor + 1)
            trades = await page(cursor)
        found = self._minutes_of(list(known.values()), start_ms, end_ms, requests)
        if found.covered == ((start_ms, end_ms),):
            return found
        candles = f"its candles only of the newest {(self._venue.newest_bars or 0) + 1} minutes"
        return replace(
            found,
            why_open=f"{self._name} gave no trades of {symbol} that tell of it, and gives {candles}: "
            f"{self._venue.older}",
        )

    def _minutes_of(self, trades: Sequence[Trade], start_ms: int, end_ms: int, requests: int) -> FetchedBars:
        minutes: dict[int, TradedMinute] = {}
        for trade in trades:
            minutes.setdefault(Timeframe.M1.floor(trade.time_ms), TradedMinute()).take(trade)
        # Between the first and the last trade every trade is known; their own minutes are cut.
        whole_from = max(start_ms, min(minutes, default=end_ms) + MINUTE_MS)
        whole_to = min(end_ms, max(minutes, default=start_ms))
        candles = {
            time_ms: candle
            for time_ms, minute in minutes.items()
            if whole_from <= time_ms < whole_to and (candle := minute.candle()) is not None
        }
        times = sorted(candles)
        return FetchedBars(
            bars=batch_of(candles),
            covered=((whole_from, whole_to),) if whole_from < whole_to else (),
            raw=lambda index: {"made_of_trades": int(candles[times[index]].n_trades)},
            requests=requests,
        )

    def _reader(self, symbol: Symbol, timeframe: Timeframe, now_ms: int) -> PageReader:
        client = self._open()

        async def ask(since_ms: int, limit: int) -> Sequence[Row]:
            rows: Sequence[Row] = await asked(
                self._name,
                str(symbol),
                lambda: client.fetch_ohlcv(str(symbol), timeframe.value, since_ms, limit),
            )
            return rows

        manners = self._manners.setdefault(
            timeframe,
            Manners(goes_back=True, whole_rows=self._page_bars) if self._venue.page_bars else Manners(),
        )
        return PageReader(
            self._name, ask, timeframe, page_bars=self._page_bars, now_ms=now_ms, manners=manners
        )

    def _oldest_candle_ms(self, timeframe: Timeframe, now_ms: int) -> int | None:
        newest_bars = self._venue.newest_bars
        return None if newest_bars is None else timeframe.floor(now_ms) - newest_bars * timeframe.ms

    def _open(self) -> Any:
        if self._client is None:
            self._client = self._wiring.open_client(streaming=False)
        return self._client

    def _described(self) -> tuple[tuple[Timeframe, ...], int]:
        """Timeframes and bars a page, as ccxt describes the exchange before anything is asked of it."""
        described = exchange_class(self._name, streaming=False)()
        timeframes = tuple(
            timeframe
            for timeframe in Timeframe
            if described.has.get("fetchOHLCV") is True and timeframe.value in (described.timeframes or {})
        )
        spot = (described.features or {}).get("spot") or {}
        limit = (spot.get("fetchOHLCV") or {}).get("limit")
        return timeframes, self._venue.page_bars or limit or PAGE_BARS


def trade_of(item: Mapping[str, Any]) -> Trade:
    """A trade of ccxt; raises ValueError where its time, price or amount is missing."""
    time_ms, price, quantity = item.get("timestamp"), exact(item.get("price")), exact(item.get("amount"))
    if time_ms is None or price is None or quantity is None:
        raise ValueError("a trade without time, price or amount")
    trade_id = item.get("id")
    return Trade(
        time_ms=int(time_ms),
        price=Decimal(price),
        quantity=Decimal(quantity),
        id=None if trade_id is None else str(trade_id),
    )


def _key(trade: Trade) -> str:
    """What tells trades of overlapping pages apart; without an id two equal ones are taken for one."""
    return trade.id or f"{trade.time_ms} {trade.price} {trade.quantity}"


def _number(written: Sequence[Any], place: int | None) -> float:
    if place is None or place >= len(written):
        return NAN
    number = exact(written[place])
    return NAN if number is None else float(number)


def _fields(row: Row) -> Mapping[str, Any]:
    written = row[6] if len(row) > 6 else list(row)
    return written if isinstance(written, Mapping) else {"row": written}


def _joined(older: FetchedBars, newer: FetchedBars) -> FetchedBars:
    """Two answers about stretches that follow each other."""
    split = len(older.bars)
    raws: tuple[RawBar | None, RawBar | None] = (older.raw, newer.raw)

    def raw(index: int) -> Mapping[str, Any]:
        part = raws[0] if index < split else raws[1]
        return {} if part is None else part(index if index < split else index - split)

    return FetchedBars(
        bars=one_batch(older.bars, newer.bars),
        covered=_merged([*older.covered, *newer.covered]),
        lacking=(*older.lacking, *newer.lacking),
        raw=raw,
        requests=older.requests + newer.requests,
        why_open=older.why_open or newer.why_open,
    )


def _merged(intervals: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The same stretches, in order, those that touch as one."""
    merged: list[tuple[int, int]] = []
    for start_ms, end_ms in sorted(intervals):
        if merged and start_ms <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end_ms))
        else:
            merged.append((start_ms, end_ms))
    return tuple(merged)
