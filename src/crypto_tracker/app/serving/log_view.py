"""The log of an account as pages show it: the newest lines first, what repeats told once.

Which lines there are is found from columns and the fewest rows; only those of a page are put into words.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from crypto_tracker.app.screen.account_log import (
    FLUTTER_MS,
    Decisions,
    ended_meanwhile,
    halt_lines,
    line_of,
    people_lines,
    regime_lines,
)
from crypto_tracker.app.screen.snapshot import DecisionFacts, Kind
from crypto_tracker.app.screen.told import (
    BACK_MS,
    HALF_DAY_MS,
    Decided,
    Near,
    Told,
    half_day,
    told_decisions,
    told_near_misses,
)
from crypto_tracker.app.serving.follower import RegimeSpan
from crypto_tracker.app.serving.log_pages import Entry, Lines, Unread, merged, wants
from crypto_tracker.app.serving.measured import Blocks, key_of, measured
from crypto_tracker.app.serving.recent import Recent
from crypto_tracker.app.serving.setup_columns import SetupColumns
from crypto_tracker.app.serving.trade_columns import TradeColumns
from crypto_tracker.core.decisions import Regime
from crypto_tracker.core.orders import Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.desk.source import DecisionFilter, LogFilter, TradeFilter
from crypto_tracker.desk.views import decisions as views
from crypto_tracker.store.trading_views import Answered, Halted

LOOKED_MAX = 30_000
"""Setups and near misses that one page looks through before it ends, however few lines it has."""

HALF_DAYS_MAX = 60
"""And half days in which there are any."""

_TRADES_AT_ONCE = 128
_ROWS_AT_ONCE = 20  # at first; each time four times as many
_DECIDED: tuple[views.Verdict, ...] = ("TAKE", "SKIP")
_KINDS: Mapping[Kind, views.LogKind] = {
    Kind.TAKEN: "buy",
    Kind.REFUSED: "skip",
    Kind.NEAR_MISS: "near",
    Kind.MARKET: "market",
    Kind.PERSON: "told",
    Kind.HALT: "halt",
}

What = Told | views.LogLine | int
"""What a line is made of: a decision, the line itself, or the number of a closed trade."""

HalfDays = Recent[tuple[Sequence[Told], int]]
"""What is told of half days that are over for good, and how many rows were looked through for each."""


class LogRecords(Blocks, Decisions, Protocol):
    """The records of an account, as far as its log reads them."""

    def near_misses(
        self, start_ms: int, end_ms: int, symbols: Sequence[Symbol] = ()
    ) -> list[tuple[int, str, str, float]]:
        """Time, symbol, strategy and readiness of those of [start_ms, end_ms)."""
        ...

    def trades_numbered(self, numbers: Sequence[int]) -> list[tuple[Trade, str]]:
        """The trades of these numbers, in this order."""
        ...

    def answers(self, *, limit: int | None = None, before_ms: int | None = None) -> list[Answered]:
        """What was answered to people before a moment, the last one first."""
        ...

    def halts(self, *, limit: int | None = None, before_ms: int | None = None) -> list[Halted]:
        """Critical errors before a moment, the last one first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLog:
    """The log of an account under a filter; of one symbol only what is of it is told.

    `until_ms` is the open time of the next minute to step; `kept` belongs to this account and no other.
    """

    records: LogRecords
    setups: SetupColumns
    trades: TradeColumns
    regimes: Sequence[RegimeSpan]
    tiers: Mapping[Symbol, str]
    until_ms: int
    where: LogFilter
    kept: HalfDays = field(default_factory=lambda: Recent(1))

    def lines(self, before_ms: int) -> Lines[What]:
        """Those before a moment, the newest first."""
        sources: list[Lines[What]] = []
        if wants(self.where, "buy", "skip", "near"):
            sources.append(self._decided(before_ms))
        if wants(self.where, "close"):
            sources.append(closed_lines(self.trades, self.tiers, self.where, before_ms))
        if not self.where.symbols:
            if wants(self.where, "market"):
                sources.append(_changed(self.regimes, before_ms, self.until_ms))
            if wants(self.where, "told"):
                sources.append(_noted(self._answers, before_ms))
            if wants(self.where, "halt"):
                sources.append(_noted(self._halts, before_ms))
        return merged(sources)

    def words(self, found: Sequence[What]) -> list[views.LogLine]:
        """These lines in words: each of their rows is read once."""
        places = np.array([each.place for each in found if isinstance(each, Told)], dtype=np.int64)
        rows = iter(self.records.setups_keyed(self.setups.keys(places)))
        told = [(each, next(rows)) for each in found if isinstance(each, Told)]
        seen = measured(self.records, [row for each, row in told if each.kind is not Kind.REFUSED])
        decided = iter([line_of(each, row, lambda row: seen.get(key_of(row), {})) for each, row in told])
        trades = iter(self.records.trades_numbered([each for each in found if isinstance(each, int)]))
        return [
            each
            if isinstance(each, views.LogLine)
            else sold_line(next(trades)[0])
            if isinstance(each, int)
            else _line(next(decided))
            for each in found
        ]

    # --- setups and near misses ----------------------------------------------------------------

    def _decided(self, before_ms: int) -> Lines[What]:
        """Half day after half day; those in which nothing was decided are passed over."""
        looked = half_days = 0
        verdicts: list[views.Verdict] = []
        if wants(self.where, "near"):
            verdicts.append("NEAR_MISS")
        if wants(self.where, "buy", "skip"):
            verdicts.append("TAKE")
        if wants(self.where, "skip"):
            verdicts.append("SKIP")
        while True:
            newest = self.setups.page(self._where(verdicts, end_ms=before_ms), limit=1)
            if not len(newest):
                return
            reach_ms = int(self.setups.time_ms[newest[0]])
            if wants(self.where, "skip"):  # orders end later than they were decided
                reach_ms = min(reach_ms + BACK_MS, before_ms - 1)
            if looked > LOOKED_MAX or half_days >= HALF_DAYS_MAX:
                yield Unread(reach_ms)
                return
            start_ms = half_day(reach_ms) * HALF_DAY_MS
            found, rows = self._known_half_day(start_ms, start_ms + HALF_DAY_MS)
            entries = [_entry(line) for line in found if line.time_ms < before_ms]
            yield from sorted(entries, key=lambda entry: entry.order)
            before_ms, looked, half_days = start_ms + 1, looked + rows, half_days + 1

    def _known_half_day(self, start_ms: int, end_ms: int) -> tuple[Sequence[Told], int]:
        """The same as `_half_day`, which is made once where nothing of it can change any more."""
        if end_ms + BACK_MS > self.until_ms:
            return self._half_day(start_ms, end_ms)
        key = start_ms, self.where.symbols, *(wants(self.where, kind) for kind in ("buy", "skip", "near"))
        return self.kept.made(key, lambda: self._half_day(start_ms, end_ms))

    def _half_day(self, start_ms: int, end_ms: int) -> tuple[list[Told], int]:
        """What is told of the closes in (start_ms, end_ms], and how many rows were looked through."""
        lines: list[Told] = []
        looked = 0
        if wants(self.where, "buy", "skip"):
            where = self._where(_DECIDED, start_ms=start_ms - BACK_MS + 1, end_ms=end_ms + 1)
            places = self.setups.page(where, limit=len(self.setups))[::-1]
            looked += len(places)
            rows = [
                Decided(*key, reason, verdict == "TAKE", place)
                for key, (verdict, reason), place in zip(
                    self.setups.keys(places), self.setups.answers(places), places.tolist(), strict=True
                )
            ]
            skipped = wants(self.where, "skip")
            ended = ended_meanwhile(self.records, rows, self.until_ms) if skipped else []
            lines += told_decisions(rows, ended)
        if wants(self.where, "near"):
            last_ms = min(end_ms, int(self.setups.time_ms[-1]))  # the records may have gone on
            near = self.records.near_misses(start_ms + 1, last_ms + 1, self.where.symbols)
            looked += len(near)
            for line in told_near_misses(Near(*row, place) for place, row in enumerate(near)):
                place = self.setups.place(near[line.place][:3])
                lines.append(replace(line, place=place))
        return [line for line in lines if start_ms < line.time_ms <= end_ms], looked

    def _where(
        self, verdicts: Sequence[views.Verdict], *, start_ms: int | None = None, end_ms: int
    ) -> DecisionFilter:
        return DecisionFilter(
            symbols=self.where.symbols, verdicts=tuple(verdicts), start_ms=start_ms, end_ms=end_ms
        )

    # --- people, and what stopped it -----------------------------------------------------------

    def _answers(self, limit: int, before_ms: int) -> list[views.LogLine]:
        return [*map(_line, people_lines(self.records.answers(limit=limit, before_ms=before_ms)))]

    def _halts(self, limit: int, before_ms: int) -> list[views.LogLine]:
        return [*map(_line, halt_lines(self.records.halts(limit=limit, before_ms=before_ms)))]


def closed_lines(
    trades: TradeColumns, tiers: Mapping[Symbol, str], where: LogFilter, before_ms: int
) -> Lines[int]:
    """Trades that closed before a moment, by their numbers."""
    index = trades.select(TradeFilter(symbols=where.symbols, end_ms=before_ms), tiers)
    while len(index):
        first = trades.exit_ms[index[max(len(index) - _TRADES_AT_ONCE, 0)]]
        start = int(np.searchsorted(trades.exit_ms[index], first))  # all of one minute together
        part, index = index[start:], index[:start]
        entries = [
            Entry(exit_ms, "close", symbol.base, f"{number:012d}", number)
            for exit_ms, symbol, number in zip(
                trades.exit_ms[part].tolist(),
                trades.symbols_of(part),
                trades.number[part].tolist(),
                strict=True,
            )
        ]
        yield from sorted(entries, key=lambda entry: entry.order)


def _noted(look: Callable[[int, int], list[views.LogLine]], before_ms: int) -> Lines[views.LogLine]:
    """Lines of which so many before a moment are read at once, the newest first; minutes are read whole."""
    limit = _ROWS_AT_ONCE
    while True:
        lines = look(limit, before_ms)
        whole = lines
        if len(lines) == limit:
            whole = [line for line in lines if line.time_ms > lines[-1].time_ms]
        entries = [Entry(line.time_ms, line.kind, line.who, line.words, line) for line in whole]
        yield from sorted(entries, key=lambda entry: entry.order)
        if len(lines) < limit:
            return
        if whole:
            before_ms = lines[-1].time_ms + 1
        limit *= 4


def _changed(spans: Sequence[RegimeSpan], before_ms: int, until_ms: int) -> Lines[views.LogLine]:
    """Changes of the fast regime; those that follow each other quickly are one line, at the last of them."""
    stop = bisect_left(spans, (before_ms, 0, 0))
    while 0 < stop < len(spans) and spans[stop][0] - spans[stop - 1][1] <= FLUTTER_MS:
        stop += 1  # the last of them may come behind that moment
    together: list[tuple[int, Regime]] = []
    for change in _changes(spans, stop, until_ms):
        if together and together[-1][0] - change[0] > FLUTTER_MS:
            yield from _flutter(together, before_ms)
            together = []
        together.append(change)
    if together:
        yield from _flutter(together, before_ms)


def _changes(spans: Sequence[RegimeSpan], stop: int, until_ms: int) -> Iterator[tuple[int, Regime]]:
    """The minutes whose close was of another regime than the one before, of the first spans, backwards."""
    for number in range(stop - 1, -1, -1):
        start_ms, end_ms, regime = spans[number]
        goes_on = number + 1 < len(spans) and spans[number + 1][0] == end_ms
        if not goes_on and end_ms < until_ms:
            yield end_ms, Regime.NORMAL
        yield start_ms, Regime(regime)


def _flutter(changes: Sequence[tuple[int, Regime]], before_ms: int) -> Lines[views.LogLine]:
    for facts in regime_lines(changes[::-1]):
        if facts.time_ms < before_ms:
            line = _line(facts)
            yield Entry(line.time_ms, line.kind, line.who, line.words, line)


def _entry(line: Told) -> Entry[What]:
    tie = f"{line.strategy} {line.reason} {line.place:012d}"
    return Entry(line.time_ms, _KINDS[line.kind], line.who, tie, line)


def _line(facts: DecisionFacts) -> views.LogLine:
    return views.LogLine.model_validate(
        {
            "time_ms": facts.time_ms,
            "kind": _KINDS[facts.kind],
            "symbol": None if facts.symbol is None else str(facts.symbol),
            "who": facts.coin,
            "strategy": facts.strategy or None,
            "words": facts.words,
        }
    )


def sold_line(trade: Trade) -> views.LogLine:
    """A trade that closed, at the time that lists of trades name: the open of the bar that sold it."""
    exit_ms = to_ms(trade.exit_time or trade.entry_time)
    reason = trade.exit_reason.code.replace("_", " ")
    return views.LogLine(
        time_ms=exit_ms,
        kind="close",
        symbol=str(trade.symbol),
        who=trade.symbol.base,
        strategy=trade.strategy,
        words=f"sold by {reason}: {float(trade.pnl_quote):+,.2f} ({100 * trade.return_net:+.2f} %)",
    )
