"""What is new in a trading account: one watch for each live stream, over what all streams share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crypto_tracker.app.serving.candles import provider_of, source_of
from crypto_tracker.app.serving.decision_view import decision_views
from crypto_tracker.app.serving.equity_levels import EquityLevels
from crypto_tracker.app.serving.home_bars import BarsState
from crypto_tracker.app.serving.moments import Moment, Moments
from crypto_tracker.app.serving.present import Present
from crypto_tracker.app.serving.recent import Recent
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.app.serving.trade_view import trade_view
from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import DataError, StoreError, UsageError
from crypto_tracker.core.money import QUOTE_SCALE
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from crypto_tracker.desk.source import NotThere
from crypto_tracker.desk.views import live
from crypto_tracker.desk.views.accounts import Status
from crypto_tracker.desk.views.base import View
from crypto_tracker.desk.views.decisions import LogLine
from crypto_tracker.desk.views.system import Health
from crypto_tracker.store.trading_views import NotOpened

TOPICS = ("trades", "decisions", "positions", "equity", "regime", "health", "log")
BARS = "bars:"
AT_ONCE = 500
"""New rows of one kind that are told one by one; who missed more fetches the pages anew."""
POINTS = 240
"""Points of the equity in one message: of a longer stretch every second, third ... is told."""

LATE_MS = HOUR_MS
"""How far back bars are held against those that were told: one may come late, or be mended."""

_GONE_MS = 30_000  # for so long an account may be gone before it is told: a replay may begin anew
_OF_THE_CLOCK = {"now_ms", "lag_ms"}
_BARS_KEPT = 256


class _Bars(Recent[list[live.BarNow]]):
    """The newest bars, for all who look at the same."""

    def __init__(self) -> None:
        super().__init__(_BARS_KEPT)


@dataclass(frozen=True, slots=True)
class BarTopic:
    """One `bars:SYMBOL@TIMEFRAME`."""

    symbol: Symbol
    timeframe: Timeframe


def bar_topic(topic: str) -> BarTopic:
    """Read `bars:SYMBOL@TIMEFRAME`; raises UsageError for anything else that is no topic."""
    symbol, at, timeframe = topic.removeprefix(BARS).rpartition("@")
    if not topic.startswith(BARS) or not at:
        raise UsageError(
            f"there is no topic {topic[:60]!r}: there are {', '.join(TOPICS)} and bars:SYMBOL@TIMEFRAME"
        )
    return BarTopic(Symbol.parse(symbol), Timeframe.parse(timeframe))


@dataclass(frozen=True, slots=True)
class _ToldBars:
    """What was told of a topic: up to which close, in which state of the store, and its newest bars.

    `mended` is the number of the last note of older bars that was known then.
    """

    until_ms: int
    state: BarsState
    bars: Mapping[int, live.BarNow]
    mended: int


class AccountWatch:
    """Tells what was recorded since it was asked last; not for several threads at once."""

    def __init__(self, moments: Moments, health: Callable[[], Health]) -> None:
        self._moments = moments
        self._health = health
        self._lost = False
        self._gone_ms: int | None = None
        self._opened_ms: int | None = None
        self._trades: int | None = None
        self._decisions: int | None = None
        self._equity: EquityLevels | None = None
        self._status: Status | None = None
        self._positions: Present | None = None
        self._regime: tuple[str, bool] | None = None
        self._log: list[LogLine] | None = None
        self._told_health: Health | None = None
        self._bars: dict[str, _ToldBars] = {}

    def news(self, topics: frozenset[str]) -> Sequence[View]:
        """Events for these topics since the last call; an account that is made anew is to be fetched anew.

        Bars that there are not bring nothing: the topics are those of all streams together, and one that
        asks for nonsense shall not keep the others from theirs.
        """
        try:
            moment = self._moments.now()
        except StoreError as error:
            if self._opened_ms is None:
                raise
            self._lost = True
            if isinstance(error, NotOpened) and self._gone_for_ms() < _GONE_MS:
                return ()  # a replay begins anew: there is an account again in a moment
            raise
        self._gone_ms = None
        opened_ms = moment.followed.account.created_at_ms
        found: list[View] = []
        if self._opened_ms is not None and (self._lost or opened_ms != self._opened_ms):
            self._forget()
            found.append(self._resync())
        self._opened_ms = opened_ms
        self._leave_off(topics)
        tell: dict[str, Callable[[Moment], list[View]]] = {
            "trades": self._new_trades,
            "decisions": self._new_decisions,
            "positions": self._new_positions,
            "equity": self._new_equity,
            "regime": self._new_regime,
            "log": self._new_log,
            "health": self._new_health,
        }
        for topic in sorted(topics):
            found += tell[topic](moment) if topic in tell else self._new_bars(topic, moment)
        return found

    # --- one topic each ------------------------------------------------------------------------

    def _new_trades(self, moment: Moment) -> list[View]:
        columns, before = moment.followed.trades, self._trades
        self._trades = len(columns)
        if before is None or before == len(columns):
            return []
        if len(columns) - before > AT_ONCE:
            return [self._resync()]
        present = moment.present
        with self._moments.follower.views() as records:
            rows = records.trades_numbered(columns.number[before:].tolist())
        items = [
            trade_view(trade, tier=present.tiers[trade.symbol], version=version, until_ms=present.cursor_ms)
            for trade, version in rows
        ]
        return [live.TradesEvent(account=self._moments.name, items=items)]

    def _new_decisions(self, moment: Moment) -> list[View]:
        columns, before = moment.followed.setups, self._decisions
        self._decisions = len(columns)
        if before is None or before == len(columns):
            return []
        if len(columns) - before > AT_ONCE:
            return [self._resync()]
        keys = columns.keys(np.arange(before, len(columns)))
        with self._moments.follower.views() as records:
            items = decision_views(
                records,
                records.setups_keyed(keys),
                moment.present.tiers,
                moment.present.cursor_ms,
            )
        return [live.DecisionsEvent(account=self._moments.name, items=items)]

    def _new_positions(self, moment: Moment) -> list[View]:
        before, present = self._positions, moment.present
        if before is present:
            return []
        self._positions = present
        if before is not None:
            moved = before.cursor_ms != present.cursor_ms and bool(before.held or present.held)
            if not moved and before.held == present.held and before.orders == present.orders:
                return []
        return [live.PositionsEvent(account=self._moments.name, positions=present.positions)]

    def _new_equity(self, moment: Moment) -> list[View]:
        before, levels = self._equity, moment.followed.equity
        status = self._moments.status(moment)
        points = _points(levels, before)
        changed = self._status is None or _lasting(self._status) != _lasting(status)
        self._equity, self._status = levels, status
        if not changed and not points:
            return []
        return [live.EquityEvent(account=self._moments.name, points=points, status=status)]

    def _new_regime(self, moment: Moment) -> list[View]:
        glance = moment.present.glance
        now = glance.regime.name, glance.forced
        if now == self._regime:
            return []
        self._regime = now
        regime = live.RegimeNow(
            time_ms=moment.present.cursor_ms,
            regime=now[0],
            forced=now[1],
            volatility=None if glance.minute is None else glance.minute.volatility,
        )
        return [live.RegimeEvent(account=self._moments.name, regime=regime)]

    def _new_log(self, moment: Moment) -> list[View]:
        lines = self._moments.log(moment)
        if lines == self._log:
            return []
        self._log = lines
        return [live.LogEvent(account=self._moments.name, items=lines)]

    def _new_health(self, moment: Moment) -> list[View]:
        del moment
        health, before = self._health(), self._told_health
        self._told_health = health
        if before is None or health is before:
            return []
        return [live.HealthEvent(account=self._moments.name, health=health)]

    def _new_bars(self, topic: str, moment: Moment) -> list[View]:
        scope, before = moment.present.scope, self._bars.get(topic)
        state = scope.bars.state()
        if before is not None and (before.until_ms, before.state) == (scope.until_ms, state):
            return []
        since_ms = scope.until_ms if before is None else before.until_ms
        try:
            wanted = bar_topic(topic)
            providers = sorted({provider_of(scope, wanted.symbol), scope.history} - {""})
            missed = (scope.until_ms - since_ms) // wanted.timeframe.ms > AT_ONCE
            first_ms = wanted.timeframe.floor((scope.until_ms if missed else since_ms) - LATE_MS)
            mended = scope.bars.reader().mended_since(
                wanted.symbol, providers, 0 if before is None else before.mended
            )
            found = bars_since(scope, wanted, first_ms, state)
        except (NotThere, UsageError, DataError):
            return []
        now = {bar.time_ms: bar for bar in found}
        self._bars[topic] = _ToldBars(scope.until_ms, state, now, mended.last)
        if before is None:
            return []
        lost = not mended.known or before.state.made != state.made
        if (
            missed
            or lost
            or any(
                bar.closed
                for bar in before.bars.values()
                if bar.time_ms >= first_ms and bar.time_ms not in now
            )
        ):
            return [self._resync()]  # a bar that is no more cannot be told
        items = [bar for bar in found if before.bars.get(bar.time_ms) != bar]
        events: list[View] = []
        if mended.span is not None:
            start_ms = wanted.timeframe.floor(mended.span[0])
            end_ms = min(wanted.timeframe.floor(mended.span[1] - 1) + wanted.timeframe.ms, first_ms)
            if start_ms < end_ms:
                events.append(
                    live.MendedEvent(
                        account=self._moments.name,
                        symbol=str(wanted.symbol),
                        timeframe=str(wanted.timeframe),
                        start_ms=start_ms,
                        end_ms=end_ms,
                    )
                )
        if items:
            events.append(live.BarsEvent(account=self._moments.name, items=items))
        return events

    # --- what was told -------------------------------------------------------------------------

    def _gone_for_ms(self) -> int:
        """How long there has been no account, as far as this watch has seen."""
        now_ms = self._moments.now_ms()
        if self._gone_ms is None:
            self._gone_ms = now_ms
        return now_ms - self._gone_ms

    def _resync(self) -> View:
        return live.Resync(account=self._moments.name)

    def _forget(self) -> None:
        """Take everything for unknown, but tell no row that is there already."""
        self._lost = False
        self._trades = self._decisions = None
        self._equity = self._status = self._positions = self._regime = self._log = None
        self._bars.clear()

    def _leave_off(self, topics: frozenset[str]) -> None:
        """Forget what is not asked for any more: who asks for it again begins with what is there then."""
        if "trades" not in topics:
            self._trades = None
        if "decisions" not in topics:
            self._decisions = None
        if "positions" not in topics:
            self._positions = None
        if "equity" not in topics:
            self._equity = self._status = None
        if "regime" not in topics:
            self._regime = None
        if "log" not in topics:
            self._log = None
        if "health" not in topics:
            self._told_health = None
        self._bars = {topic: told for topic, told in self._bars.items() if topic in topics}


def bars_since(scope: Scope, wanted: BarTopic, first_ms: int, state: BarsState) -> list[live.BarNow]:
    """The bars from the one that opens at `first_ms` on: closed ones, then the one that grows."""
    key = wanted, first_ms, scope.until_ms, state
    return scope.memory.of(_Bars).made(key, lambda: _bars_since(scope, wanted, first_ms))


def _bars_since(scope: Scope, wanted: BarTopic, first_ms: int) -> list[live.BarNow]:
    symbol, timeframe, source = wanted.symbol, wanted.timeframe, source_of(scope)
    grows_ms = timeframe.floor(scope.until_ms)
    closed = source.panel([symbol], timeframe, min(first_ms, grows_ms), grows_ms)
    found = [
        _bar(wanted, int(closed.open_time_ms[row]), closed, slice(row, row + 1), closed=True)
        for row in np.flatnonzero(closed.present[:, 0]).tolist()
    ]
    if grows_ms < scope.until_ms:
        minutes = source.panel([symbol], Timeframe.M1, grows_ms, scope.until_ms)
        if minutes.present.any():
            found.append(_bar(wanted, grows_ms, minutes, slice(None), closed=False))
    return found


def _bar(wanted: BarTopic, time_ms: int, panel: Panel, rows: slice, *, closed: bool) -> live.BarNow:
    there = panel.present[rows, 0]

    def column(values: FloatArray) -> FloatArray:
        return np.asarray(values[rows, 0][there])

    volume = column(panel.volume)
    known = volume[~np.isnan(volume)]
    return live.BarNow(
        symbol=str(wanted.symbol),
        timeframe=str(wanted.timeframe),
        time_ms=time_ms,
        open=float(column(panel.open)[0]),
        high=float(column(panel.high).max()),
        low=float(column(panel.low).min()),
        close=float(column(panel.close)[-1]),
        volume=float(known.sum()) if len(known) else None,
        closed=closed,
    )


def _points(levels: EquityLevels, before: EquityLevels | None) -> list[live.EquityNow]:
    """The equity at the closes since `before`; at the last close alone where nothing was told yet."""
    first = max(len(levels) - 1, 0) if before is None else len(before)
    if first >= len(levels):
        return []
    equity = levels.equity_e8[first:]
    peak = (
        np.full(1, levels.peak_e8)
        if before is None
        else np.maximum.accumulate(np.maximum(equity, before.peak_e8))
    )
    drawdown = (peak - equity) / peak
    every = -(-len(equity) // POINTS)
    chosen = np.arange(len(equity) - 1, -1, -every)[::-1]
    closes = levels.time_ms[first:] + MINUTE_MS
    return [
        live.EquityNow(time_ms=time_ms, equity_quote=value / QUOTE_SCALE, drawdown=fall)
        for time_ms, value, fall in zip(
            closes[chosen].tolist(), equity[chosen].tolist(), drawdown[chosen].tolist(), strict=True
        )
    ]


def _lasting(status: Status) -> dict[str, object]:
    """The status without what only the clock changes."""
    return {name: value for name, value in status if name not in _OF_THE_CLOCK}
