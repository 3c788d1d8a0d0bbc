"""Looks at a trading account through its records, and takes snapshots of it for the view.

It reads and never writes. One look reads a bounded number of rows, however long the account has traded: the
newest of each kind, one equity for each point of the curve, and of all others only those since the last look.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, select

from crypto_tracker.app.accounts import AccountPlace, account_place
from crypto_tracker.app.screen import words
from crypto_tracker.app.screen.account_log import LOG_LINES, account_log
from crypto_tracker.app.screen.snapshot import (
    Heading,
    MarketFacts,
    Notice,
    PositionFacts,
    ReadinessFacts,
    Snapshot,
    StrategyFacts,
    Tone,
    TradeFacts,
)
from crypto_tracker.app.screen.text import age
from crypto_tracker.app.screen.totals import Totals
from crypto_tracker.app.standing import (
    Protection,
    Reading,
    StrategyStanding,
    protection,
    reference_price,
)
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.orders import Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, from_ms, to_ms
from crypto_tracker.simulation.kernel import QUOTE
from crypto_tracker.simulation.state import EMPTY
from crypto_tracker.store import trading_tables as tables
from crypto_tracker.store.database import current_revision, open_engine
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.trading_journal import FILE_NAME
from crypto_tracker.store.trading_records import TRADED, Account, OrderRecord, PositionRecord, SetupRecord
from crypto_tracker.store.trading_records import Session as TradingSession
from crypto_tracker.store.trading_views import TradingViews, Where
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.strategies.decisions import ScanBlock
from crypto_tracker.trading.seen import decode_rows
from crypto_tracker.trading.setting import stored_configuration
from crypto_tracker.trading.state import TraderState

CURVE_POINTS = 480
NEAREST = 12
SCANNED_WITHIN_MS = DAY_MS + HOUR_MS  # every strategy scans once a day at least
CLOSE = 3  # of BAR_FIELDS, the rows of bars as they were seen
_PACE_MS = 20_000  # of real time over which the speed of a replay is measured
_BLOCKS_KEPT = 256
_DAYS_AGO = (Timeframe.M5, Timeframe.M15, Timeframe.H1, Timeframe.H4)

_EQUITY_AT = """
SELECT (
    SELECT equity_quote FROM minutes
    WHERE time_ms < moment.value AND time_ms >= ? ORDER BY time_ms DESC LIMIT 1
) FROM json_each(?) AS moment ORDER BY moment.key
"""


class AccountObserver:
    """Follows one account.

    Parameters
    ----------
    strategies : all that are installed, by name
    reader : over the bars of the home; None where there are none, and what only they say is left out
    days : how far back the equity curve goes, None for the account's whole life
    """

    def __init__(
        self,
        home: Path,
        name: str,
        *,
        strategies: Mapping[str, Strategy],
        reader: BarReader | None,
        days: float | None = None,
    ) -> None:
        self._home = home
        self._name = name
        self._strategies = strategies
        self._reader = reader
        self._days = days
        self._forget()

    def _forget(self) -> None:
        """Begin anew, with an account that was not looked at before."""
        self._opened_ms: int | None = None
        self._configuration: tuple[str, Configuration] | None = None
        self._totals: Totals | None = None
        self._newest_scans: dict[str, ScanBlock] = {}
        self._scans: dict[tuple[int, str], ScanBlock | None] = {}
        self._history: dict[Timeframe, tuple[int, int, FloatArray]] = {}
        self._last: Snapshot | None = None
        self._looks: list[tuple[int, int]] = []  # present and cursor

    def look(self, *, now_ms: int) -> Snapshot:
        """What there is to see now."""
        place = account_place(self._home, self._name)
        with self._reading(place) as (connection, read):
            sessions = read.views.sessions(limit=1)
            session = sessions[0] if sessions else None
            last = self._last
            if last is None or last.time_ms != read.cursor_ms or not self.complete:
                last = self._snapshot(connection, read)
            self._last = last
            paper = read.account.end_ms is None
            return replace(
                last,
                heading=_heading(read, session),
                notices=(*_trader_notices(read, session), *last.notices),
                lag_ms=max(now_ms - read.cursor_ms, 0) if paper else None,
                speed=math.nan if paper or not place.running else self._speed(now_ms, read.cursor_ms),
            )

    @property
    def complete(self) -> bool:
        """Whether the sums of the last look are of all records; else another look brings more."""
        return self._totals is not None and self._totals.complete

    @contextmanager
    def _reading(self, place: AccountPlace) -> Iterator[tuple[Connection, Reading]]:
        """The account as it stands, in one transaction."""
        # The file is opened for each look: a replay that begins anew has another one.
        path = place.folder / FILE_NAME
        if not path.is_file():
            raise DataError(f"the account {place.name} is no longer there: {path} was moved or removed")
        engine = open_engine(path, read_only=True)
        try:
            if current_revision(engine) is None:
                raise DataError(f"the account {place.name} is being opened: watch it again in a moment")
            with engine.connect() as connection:
                views = TradingViews(connection, place.folder)
                account = views.account()
                if account.created_at_ms != self._opened_ms:
                    self._forget()
                    self._opened_ms = account.created_at_ms
                row = views.configuration()
                if self._configuration is None or self._configuration[0] != row.version:
                    self._configuration = row.version, stored_configuration(row, self._strategies)
                yield (
                    connection,
                    Reading(
                        place=place,
                        views=views,
                        account=account,
                        cursor_ms=views.cursor_ms(),
                        state=TraderState.from_bytes(views.state()),
                        configuration=self._configuration[1],
                        version=row.version,
                    ),
                )
        finally:
            engine.dispose()

    def _speed(self, now_ms: int, cursor_ms: int) -> float:
        """How many times real time a replay runs, over the last looks; NaN with the first."""
        self._looks = [look for look in self._looks if 0 < now_ms - look[0] <= _PACE_MS]
        self._looks.append((now_ms, cursor_ms))
        (first_ms, from_cursor), (last_ms, to_cursor) = self._looks[0], self._looks[-1]
        return (to_cursor - from_cursor) / (last_ms - first_ms) if last_ms > first_ms else math.nan

    # ------------------------------------------------------------------------------------------ the moment

    def _snapshot(self, connection: Connection, read: Reading) -> Snapshot:
        views, account, state = read.views, read.account, read.state
        before = self._totals or Totals.of_nothing(
            start_ms=account.start_ms, capital_quote=float(account.capital_quote)
        )
        self._totals = totals = before.carried_on(connection)
        book = state.portfolio.book[0]
        equity = float(book["equity"]) / QUOTE
        held = views.positions()
        orders = views.orders([each.trade.trade_group_id for each in held])
        standing = protection(read, reader=self._reader)
        fees = sum((float(each.trade.fee_quote) for each in held), totals.fees_quote)
        slippage = sum((float(each.trade.slippage_quote) for each in held), totals.slippage_quote)
        curve, base = self._curve(connection, account, read.cursor_ms)
        return Snapshot(
            heading=_heading(read, None),
            notices=_protection_notices(standing, read.cursor_ms),
            quote=account.symbols[0].quote,
            time_ms=read.cursor_ms,
            start_ms=account.start_ms,
            end_ms=account.end_ms,
            speed=math.nan,
            equity_start=float(account.capital_quote),
            equity=equity,
            cash=float(book["cash"]) / QUOTE,
            reserved=float(book["reserved"]) / QUOTE,
            drawdown=1.0 - equity / max(totals.peak_quote, equity) if totals.complete else math.nan,
            equity_curve=curve,
            curve_base=base,
            curve_words="" if self._days is None else f"last {self._days:g} days",
            market=self._market(connection, read, standing),
            positions=tuple(
                _position(each, orders.get(each.trade.trade_group_id, []), read.cursor_ms)
                for each in sorted(held, key=_newest_first)
            ),
            strategies=tuple(self._strategy(read, each, _kept_out(standing)) for each in standing.strategies),
            decisions=account_log(
                connection,
                views,
                next_setup=state.next_setup,
                cursor_ms=read.cursor_ms,
                seen=lambda row: self._measured(views, row),
            ),
            trades=tuple(_trade(each) for each in views.trades(limit=LOG_LINES, newest_first=True)),
            n_trades=state.next_trade,
            n_wins=totals.wins if totals.complete else None,
            fees_quote=fees if totals.complete else math.nan,
            slippage_quote=slippage if totals.complete else math.nan,
        )

    def _curve(self, connection: Connection, account: Account, cursor_ms: int) -> tuple[FloatArray, float]:
        """Equity at evenly spaced moments, and what it is compared to."""
        start_ms, end_ms = account.start_ms, account.end_ms or max(cursor_ms, account.start_ms + MINUTE_MS)
        base = float(account.capital_quote)
        if self._days is not None:
            end_ms = max(cursor_ms, start_ms + MINUTE_MS)
            start_ms = max(start_ms, end_ms - round(self._days * DAY_MS))
        moments = start_ms + (np.arange(CURVE_POINTS) + 1) * (end_ms - start_ms) // CURVE_POINTS
        if start_ms > account.start_ms:
            moments = np.concatenate([[start_ms], moments])
        reached = moments <= cursor_ms
        asked = (account.start_ms, json.dumps(moments[reached].tolist()))
        found = [value for (value,) in connection.exec_driver_sql(_EQUITY_AT, asked)]
        curve = np.full(len(moments), np.nan)
        curve[reached] = [math.nan if value is None else value / QUOTE for value in found]
        if start_ms > account.start_ms:
            if not math.isnan(curve[0]):
                base = float(curve[0])
            curve = curve[1:]
        return curve, base

    def _market(self, connection: Connection, read: Reading, standing: Protection) -> MarketFacts:
        market, account = standing.market, read.account
        now = read.state.portfolio.coins["last_close"]
        before = self._closes_at(connection, account, read.cursor_ms - DAY_MS)
        both = ~(np.isnan(now) | np.isnan(before))
        day_return = market.returns[24]
        price = reference_price(read, reader=self._reader)
        return MarketFacts(
            regime=market.regime,
            forced=market.forced,
            condition=market.condition,
            favoured=market.favoured or "",
            volatility=math.nan if market.volatility is None else market.volatility,
            reference="no reference" if account.reference is None else account.reference.base,
            reference_price=math.nan if price is None else price,
            reference_change=math.nan if day_return is None else day_return,
            rising=int((now[both] > before[both]).sum()) if both.any() else None,
            symbols=int(both.sum()),
        )

    def _closes_at(self, connection: Connection, account: Account, moment_ms: int) -> FloatArray:
        """The close of every coin's last bar that had closed at a moment, as it was seen; NaN without one."""
        columns = tables.seen_rows.c
        for timeframe in _DAYS_AGO:
            open_ms = timeframe.floor(moment_ms) - timeframe.ms
            row = connection.execute(
                select(columns.block).where(
                    columns.part == TRADED,
                    columns.timeframe == str(timeframe),
                    columns.time_ms == open_ms,
                )
            ).one_or_none()
            if row is not None:
                return np.asarray(decode_rows(row.block).values[CLOSE, 0])
            closes = self._from_before(connection, timeframe, open_ms) if open_ms < account.start_ms else None
            if closes is not None:
                return closes
        return np.full(len(account.symbols), np.nan)

    def _from_before(self, connection: Connection, timeframe: Timeframe, open_ms: int) -> FloatArray | None:
        """The closes of one bar from before the account's start; None where it is not kept."""
        if timeframe not in self._history:
            columns = tables.history.c
            row = connection.execute(
                select(columns.block).where(columns.part == TRADED, columns.timeframe == str(timeframe))
            ).one_or_none()
            if row is None:
                self._history[timeframe] = 0, 0, np.empty((0, 0))
            else:
                rows = decode_rows(row.block)
                self._history[timeframe] = rows.start_ms, rows.step_ms, rows.values[CLOSE].copy()
        start_ms, step_ms, closes = self._history[timeframe]
        place = (open_ms - start_ms) // step_ms if step_ms else -1
        return closes[place] if 0 <= place < len(closes) else None

    # ------------------------------------------------------------------------------------------ the scans

    def _strategy(
        self, read: Reading, standing: StrategyStanding, kept_out: Mapping[Symbol, str]
    ) -> StrategyFacts:
        block = self._newest_scan(read, standing.name)
        nearest: list[ReadinessFacts] = []
        if block is not None:
            values, phase = block.readiness, read.state.portfolio.slots["phase"]
            known = np.flatnonzero(~np.isnan(values)).tolist()
            ranked = sorted(known, key=lambda column: (-float(values[column]), str(block.symbols[column])))
            places = {symbol: place for place, symbol in enumerate(read.account.symbols)}
            for column in ranked[:NEAREST]:
                symbol = block.symbols[column]
                place = places.get(symbol)
                held = place is not None and phase[place] != EMPTY
                reason = Reason(int(block.reason[column]))
                lacks = words.lacks(reason)
                if reason is Reason.ACCEPTED:
                    lacks = kept_out.get(symbol, lacks)
                nearest.append(
                    ReadinessFacts(
                        coin=symbol.base,
                        readiness=float(values[column]),
                        words="is held" if held else lacks,
                    )
                )
        return StrategyFacts(
            name=standing.name,
            off=_off(standing, read.cursor_ms),
            scanned_ms=None if block is None else block.time_ms,
            nearest=tuple(nearest),
        )

    def _newest_scan(self, read: Reading, strategy: str) -> ScanBlock | None:
        """The last scan of a strategy; only what came since the last look is searched."""
        known = self._newest_scans.get(strategy)
        since_ms = read.cursor_ms - SCANNED_WITHIN_MS if known is None else known.time_ms + 1
        wanted = Where(strategies=(strategy,), start_ms=since_ms)
        for block in read.views.blocks(wanted, limit=1, newest_first=True):
            self._newest_scans[strategy] = known = block
        return known

    def _measured(self, views: TradingViews, row: SetupRecord) -> Mapping[str, float]:
        """What a strategy measured of one coin at one close; empty where that is not kept."""
        key = row.time_ms, row.strategy
        if key not in self._scans:
            while len(self._scans) >= _BLOCKS_KEPT:
                del self._scans[next(iter(self._scans))]
            wanted = Where(strategies=(row.strategy,), start_ms=row.time_ms, end_ms=row.time_ms + 1)
            self._scans[key] = next(iter(views.blocks(wanted, limit=1)), None)
        block = self._scans[key]
        if block is None or row.symbol not in block.symbols:
            return {}
        column = block.symbols.index(row.symbol)
        return {name: float(values[column]) for name, values in block.measurements.items()}


def _trader_notices(read: Reading, session: TradingSession | None) -> tuple[Notice, ...]:
    """That nobody trades the account, unless it has come to its end."""
    account = read.account
    if read.place.running or (account.end_ms is not None and read.cursor_ms >= account.end_ms):
        return ()
    if session is None:
        said = "it was opened, and no process has traded it yet"
    elif session.ended_at_ms is None:
        said = f"its last process ({session.pid} on {session.host}) was killed; started again it goes on"
    else:
        said = f"its trader ended {from_ms(session.ended_at_ms):%Y-%m-%d %H:%M} UTC; started again it goes on"
    return (Notice(tone=Tone.WARNING, title="STOPPED", words=said),)


def _heading(read: Reading, session: TradingSession | None) -> Heading:
    account, place = read.account, read.place
    if place.running:
        badge = Notice(tone=Tone.GOOD, title="RUNNING")
    elif account.end_ms is not None and read.cursor_ms >= account.end_ms:
        badge = Notice(tone=Tone.NOTE, title="FINISHED")
    else:
        badge = Notice(tone=Tone.WARNING, title="STOPPED")
    strategies = ", ".join(account.strategies)
    since = ""
    if session is not None and place.running:
        since = f", process {session.pid} since {from_ms(session.started_at_ms):%m-%d %H:%M}"
    return Heading(
        program=place.name if place.name.startswith(account.kind) else f"{account.kind}: {place.name}",
        badge=badge,
        note=f"{len(account.symbols)} coins, {strategies}{since}",
        hint="Ctrl-C: leave",
    )


def _protection_notices(standing: Protection, cursor_ms: int) -> tuple[Notice, ...]:
    """What keeps the account from buying, the most serious first."""
    told = []
    entries = standing.entries
    general = list(entries.why_not)
    if entries.halted is not None:
        said = f"nothing is bought until a person resumes: {entries.halted}"
        told.append(Notice(tone=Tone.BAD, title="HALTED", words=said))
        general.pop(0)
    elif entries.paused:
        since = "" if entries.paused_since_ms is None else _since(entries.paused_since_ms)
        told.append(
            Notice(
                tone=Tone.WARNING, title="PAUSED", words=f"nothing is bought until a person resumes{since}"
            )
        )
        general.pop(0)
    told += [Notice(tone=Tone.WARNING, title="NO ENTRIES", words=sentence) for sentence in general]
    blocked = [each.symbol.base for each in standing.coins if each.blocked]
    cooling = [
        f"{each.symbol.base} cools down {age(each.cooldown_until_ms - cursor_ms)} more"
        for each in standing.coins
        if each.cooldown_until_ms is not None
    ]
    if blocked or cooling:
        said = "; ".join([*([f"{', '.join(blocked)} blocked"] if blocked else []), *cooling])
        told.append(Notice(tone=Tone.NOTE, title="COINS", words=said))
    return tuple(told)


def _kept_out(standing: Protection) -> dict[Symbol, str]:
    """Coins that are not bought whatever the strategies say, with the reason in a word or two."""
    return {
        each.symbol: "is blocked" if each.blocked else "cools down"
        for each in standing.coins
        if each.blocked or each.cooldown_until_ms is not None
    }


def _since(time_ms: int) -> str:
    return f", since {from_ms(time_ms):%Y-%m-%d %H:%M} UTC"


def _off(standing: StrategyStanding, cursor_ms: int) -> str:
    """Why a strategy opens nothing; empty where it may."""
    causes = [cause.replace("_", " ") for cause in standing.off_by]
    if standing.rests_until_ms is not None:
        causes.append(f"losses, {age(standing.rests_until_ms - cursor_ms)}")
    return ", ".join(causes)


def _newest_first(position: PositionRecord) -> tuple[float, Symbol]:
    return (-position.trade.entry_time.timestamp(), position.trade.symbol)


def _position(position: PositionRecord, orders: list[OrderRecord], cursor_ms: int) -> PositionFacts:
    trade = position.trade
    filled = sum(order.status in {"filled", "partially_filled"} for order in orders)
    fills = max(filled, 1)  # what is held was bought, also where the rest of its order was cancelled
    return PositionFacts(
        coin=trade.symbol.base,
        strategy=trade.strategy,
        fills=fills,
        levels=max(len(orders), fills),
        entry_price=float(trade.entry_price),
        price=position.mark_price,
        stop_price=position.stop_price,
        target_price=position.target_price,
        pnl_quote=float(trade.pnl_quote),
        return_net=trade.return_net,
        age_ms=cursor_ms - to_ms(trade.entry_time),
    )


def _trade(trade: Trade) -> TradeFacts:
    exit_ms = to_ms(trade.exit_time or trade.entry_time)
    return TradeFacts(
        time_ms=exit_ms,
        coin=trade.symbol.base,
        strategy=trade.strategy,
        exit_reason=trade.exit_reason.code,
        pnl_quote=float(trade.pnl_quote),
        return_net=trade.return_net,
        age_ms=exit_ms - to_ms(trade.entry_time),
    )
