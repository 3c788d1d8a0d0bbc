"""The bars that a re-run reads: as the account saw them, from its journal; or as the store has them now."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from crypto_tracker.core.arrays import BoolArray, CodeArray, FloatArray, IntArray, RecordArray
from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.resample import resample
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.simulation.kernel_ranges import range_medians
from crypto_tracker.store.feed import UNKNOWN, MinuteFeed, RevisionArray
from crypto_tracker.store.sources import BarSource
from crypto_tracker.store.trading_journal import TradingJournal
from crypto_tracker.store.trading_records import REFERENCE, TRADED, Account, Minutes, SeenBlock
from crypto_tracker.strategies.needs import REFERENCE_LEAD_DAYS
from crypto_tracker.trading.parity_report import Difference, Kind
from crypto_tracker.trading.seen import (
    SeenCells,
    SeenRows,
    bars_digest,
    decode_cells,
    decode_revisions,
    decode_rows,
)

_SEARCHED = 64  # minutes whose bars are gone, each of which is found; beyond them whole stretches are named

Note = Callable[[Difference], None]


class PieceBars(Protocol):
    """Bars over one piece of the span and what lies before it."""

    def go_to(self, starts: Mapping[str, Mapping[Timeframe, int]], start_ms: int, end_ms: int) -> None:
        """Make ready for the piece [start_ms, end_ms); pieces come in order of time.

        `starts` holds the open time of the first bar that strategies and the slow regime read in it.
        """
        ...

    def panel(self, part: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
        """The bars of a part that open at or after `start_ms` and close by `end_ms`."""
        ...

    def medians(self, setups: RecordArray, days: int) -> FloatArray:
        """For each setup the median bar range of the `days` before its day (R7), NaN where it is unknown."""
        ...


def part_symbols(account: Account) -> dict[str, tuple[Symbol, ...]]:
    """The columns of each part."""
    symbols = {TRADED: account.symbols}
    if account.reference is not None:
        symbols[REFERENCE] = (account.reference,)
    return symbols


class CompleteBars:
    """The bars as the store has them now."""

    def __init__(self, account: Account, source: BarSource) -> None:
        self._symbols = part_symbols(account)
        self._source = source

    def go_to(self, starts: Mapping[str, Mapping[Timeframe, int]], start_ms: int, end_ms: int) -> None:
        """Nothing has to be made ready: the store answers for any span."""

    def panel(self, part: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
        """The bars of a part that open at or after `start_ms` and close by `end_ms`."""
        return self._source.panel(self._symbols[part], timeframe, start_ms, timeframe.floor(end_ms))

    def medians(self, setups: RecordArray, days: int) -> FloatArray:
        """The medians of the minutes that are stored now, read symbol by symbol."""
        result = np.full(len(setups), np.nan)
        if not len(setups):
            return result
        first_ms = (int(setups["time_ms"].min()) // DAY_MS - days) * DAY_MS
        last_ms = int(setups["time_ms"].max()) // DAY_MS * DAY_MS
        for column in np.unique(setups["symbol"]).tolist():
            symbol = self._symbols[TRADED][column]
            rows = np.flatnonzero(setups["symbol"] == column)
            alone = setups[rows].copy()
            alone["symbol"] = 0
            panel = self._source.panel([symbol], Timeframe.M1, first_ms, last_ms)
            result[rows] = range_medians(panel, alone, days)
        return result


@dataclass(slots=True, kw_only=True)
class Arrived:
    """Minutes of single symbols of which the store says something else now than was seen."""

    late: int = 0  # unknown then, known now
    revised: int = 0  # known then, another bar or none now
    missing: int = 0  # unknown then and now


class SeenBars:
    """The bars as they were seen: history, seen rows and healed cells by value, minutes by their revisions.

    What can not be had any more stays unknown, and is noted as a difference.

    Parameters
    ----------
    minutes : of the whole span, whose bars are held against their digests
    altered : minutes whose records were altered, for which no digest has to be explained
    note : is given every difference between what was seen and what can be had
    """

    def __init__(
        self,
        account: Account,
        journal: TradingJournal,
        feed: MinuteFeed,
        *,
        start_ms: int,
        altered: set[int],
        starts: Mapping[str, Mapping[Timeframe, int]],
        note: Note,
    ) -> None:
        self._account = account
        self._journal = journal
        self._feed = feed
        self._altered = altered
        self._note = note
        self._symbols = part_symbols(account)
        self._columns = {
            part: np.array([account.watched.index(symbol) for symbol in symbols], dtype=np.int64)
            for part, symbols in self._symbols.items()
        }
        self._begin_ms = start_ms
        self._healed_ms = account.start_ms
        self._medians: dict[tuple[Symbol, int], float] = {}
        self._gone: set[int] = set()
        history = self._history()
        self._minutes = self._first_minutes(history, starts)
        self._coarse: dict[tuple[str, Timeframe], _Grid] = {
            (part, timeframe): self._first_rows(part, timeframe, opened_ms, history.get((part, timeframe)))
            for part, opened in starts.items()
            for timeframe, opened_ms in opened.items()
            if timeframe is not Timeframe.M1
        }

    def go_to(self, starts: Mapping[str, Mapping[Timeframe, int]], start_ms: int, end_ms: int) -> None:
        """Take in what was healed by `start_ms`, and what was seen in [start_ms, end_ms)."""
        self._drop_before(starts, start_ms)
        for block in self._journal.healed(self._healed_ms, start_ms + 1):
            self._heal(block)
        self._healed_ms = start_ms + 1
        minutes = self._journal.minutes(start_ms, end_ms)
        bad = self._see(minutes, start_ms, end_ms)
        apart = []
        for (part, timeframe), grid in self._coarse.items():
            first_ms = grid.end_ms
            self._read_rows(grid, part, timeframe, end_ms)
            apart += self._not_made_of_minutes(part, timeframe, grid, first_ms)
        self._say(bad, apart)
        day_ms = start_ms - start_ms % DAY_MS
        self._medians.update(
            {
                (symbol, day): np.nan if median is None else median
                for symbol, day, median in self._journal.medians(day_ms, end_ms + DAY_MS)
            }
        )

    def panel(self, part: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
        """The bars of a part that open at or after `start_ms` and close by `end_ms`, as they were seen."""
        if timeframe is Timeframe.M1:
            return self._minutes.panel(self._symbols[part], self._columns[part], start_ms, end_ms)
        grid = self._coarse[part, timeframe]
        columns = np.arange(len(self._symbols[part]))
        return grid.panel(self._symbols[part], columns, start_ms, timeframe.floor(end_ms))

    def medians(self, setups: RecordArray, days: int) -> FloatArray:  # noqa: ARG002 - as journaled
        """The medians as the journal has them."""
        symbols = self._symbols[TRADED]
        return np.array(
            [
                self._medians.get((symbols[each["symbol"]], int(each["time_ms"]) // DAY_MS * DAY_MS), np.nan)
                for each in setups
            ],
            dtype=np.float64,
        )

    def watched(self, start_ms: int, end_ms: int) -> Panel:
        """The minutes of all watched symbols."""
        columns = np.arange(len(self._account.watched))
        return self._minutes.panel(self._account.watched, columns, start_ms, end_ms)

    # --- beginning -----------------------------------------------------------------------------

    def _history(self) -> dict[tuple[str, Timeframe], SeenRows]:
        return {(block.part, block.timeframe): decode_rows(block.block) for block in self._journal.history()}

    def _minutes_from(self, starts: Mapping[str, Mapping[Timeframe, int]], moment_ms: int) -> int:
        """The first minute that strategies, coarser bars and the market look at from `moment_ms` on."""
        first_ms = min(
            [moment_ms - moment_ms % DAY_MS]
            + [each[Timeframe.M1] for each in starts.values() if Timeframe.M1 in each]
        )
        return min(first_ms, moment_ms - REFERENCE_LEAD_DAYS * DAY_MS) if REFERENCE in starts else first_ms

    def _first_minutes(
        self, history: Mapping[tuple[str, Timeframe], SeenRows], starts: Mapping[str, Mapping[Timeframe, int]]
    ) -> "_Grid":
        """The minutes before the span: of the long time of which only the reference matters, only its own."""
        first_ms = self._minutes_from(starts, self._begin_ms)
        grid = _Grid(Timeframe.M1, len(self._account.watched), first_ms)
        grid.grow(self._begin_ms)
        for part, columns in self._columns.items():
            if (part, Timeframe.M1) in history:
                grid.put(history[part, Timeframe.M1], columns)
        first_ms = max(first_ms, self._account.start_ms)
        if first_ms >= self._begin_ms:
            return grid
        minutes = self._journal.minutes(first_ms, self._begin_ms)
        revisions = self._revisions(minutes, first_ms, self._begin_ms)
        if REFERENCE in self._columns:
            traded_from = self._minutes_from({TRADED: starts[TRADED]}, self._begin_ms)
            early = first_ms + np.arange(len(revisions)) * MINUTE_MS < traded_from
            others = np.setdiff1d(np.arange(revisions.shape[1]), self._columns[REFERENCE])
            revisions[np.ix_(early, others)] = UNKNOWN
        grid.put(SeenRows.of_panel(self._as_seen(first_ms, revisions)))
        return grid

    def _first_rows(
        self, part: str, timeframe: Timeframe, opened_ms: int, history: SeenRows | None
    ) -> "_Grid":
        if timeframe is Timeframe.D1 and history is not None:
            opened_ms = min(opened_ms, history.start_ms)  # days are few, and how many are read may change
        grid = _Grid(timeframe, len(self._symbols[part]), opened_ms)
        start_ms = timeframe.floor(self._account.start_ms)
        grid.grow(max(min(start_ms, timeframe.floor(self._begin_ms)), opened_ms))
        if history is not None:
            grid.put(history)
        self._read_rows(grid, part, timeframe, self._begin_ms)
        return grid

    def _drop_before(self, starts: Mapping[str, Mapping[Timeframe, int]], moment_ms: int) -> None:
        """Forget the rows that no later piece reads."""
        for (part, timeframe), grid in self._coarse.items():
            if timeframe is not Timeframe.D1:
                grid.drop_before(starts[part][timeframe])
        self._minutes.drop_before(self._minutes_from(starts, moment_ms))

    # --- growing -------------------------------------------------------------------------------

    def _read_rows(self, grid: "_Grid", part: str, timeframe: Timeframe, end_ms: int) -> None:
        """Append the journaled rows that close by `end_ms`."""
        first_ms, last_ms = grid.end_ms, timeframe.floor(end_ms)
        if last_ms <= first_ms:
            return
        grid.grow(last_ms)
        expected = set(range(first_ms, last_ms, timeframe.ms))
        for block in self._journal.seen_rows(part, timeframe, first_ms, last_ms):
            try:
                rows = decode_rows(block.block)
            except StoreError as error:
                self._note(_lost_row(part, timeframe, block.time_ms, f"cannot be read: {error}"))
            else:
                grid.put(rows)
            expected.discard(block.time_ms)
        for open_ms in sorted(expected):
            self._note(_lost_row(part, timeframe, open_ms, "is not in the journal"))

    def _heal(self, block: SeenBlock) -> None:
        try:
            cells = decode_cells(block.block)
        except StoreError as error:
            says = f"the {block.timeframe} bars that came in later cannot be read: {error}"
            self._note(Difference(minute_ms=block.time_ms, kind=Kind.BARS, says=says))
            return
        grid = self._coarse.get((block.part, block.timeframe))
        if grid is not None:
            grid.set_cells(cells)

    def _see(self, minutes: Minutes, start_ms: int, end_ms: int) -> list[int]:
        """Append the minutes of a piece; returns those whose values are not what was seen."""
        revisions = self._revisions(minutes, start_ms, end_ms)
        rows = SeenRows.of_panel(self._as_seen(start_ms, revisions))
        self._minutes.grow(end_ms)
        self._minutes.put(rows)
        bad = []
        for time_ms, digest in zip(minutes.time_ms.tolist(), minutes.bars_digest, strict=True):
            row = (time_ms - start_ms) // MINUTE_MS
            if time_ms not in self._gone and bars_digest(rows.values[:, row]) != digest:
                bad.append(time_ms)
        return bad

    def _revisions(self, minutes: Minutes, start_ms: int, end_ms: int) -> RevisionArray:
        """The revisions of every minute of the span; a minute that is not recorded is unknown."""
        count = (end_ms - start_ms) // MINUTE_MS
        revisions: RevisionArray = np.full((count, len(self._account.watched)), UNKNOWN, dtype=np.int32)
        for time_ms, seen in zip(minutes.time_ms.tolist(), minutes.seen, strict=True):
            row = decode_revisions(seen)
            if len(row) != revisions.shape[1]:
                raise StoreError(
                    f"the minute {_clock(time_ms)} UTC has seen {len(row)} symbols and the account watches "
                    f"{revisions.shape[1]}: restore its trading.db from a copy"
                )
            revisions[(time_ms - start_ms) // MINUTE_MS] = row
        if len(minutes) < count:
            there = set(minutes.time_ms.tolist())
            lost = [each for each in range(start_ms, end_ms, MINUTE_MS) if each not in there]
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            says = f"the minute {_clock(lost[0])}{more} is not in the journal"
            self._note(Difference(minute_ms=lost[0], kind=Kind.BARS, says=says))
        return revisions

    def _as_seen(self, start_ms: int, revisions: RevisionArray) -> Panel:
        """The minutes of these revisions; those that the store has lost are noted and left unknown."""
        try:
            return self._feed.as_seen(start_ms, revisions)
        except StoreError:
            held = revisions.copy()
            self._find_lost(start_ms, held)
            return self._feed.as_seen(start_ms, held)

    def _find_lost(self, start_ms: int, revisions: RevisionArray) -> None:
        """Set the revisions that the store does not have to UNKNOWN, in place, and note them."""
        for column, symbol in enumerate(self._account.watched):
            self._find_lost_of(symbol, column, start_ms, revisions)

    def _find_lost_of(self, symbol: Symbol, column: int, start_ms: int, revisions: RevisionArray) -> None:
        alone = np.full_like(revisions, UNKNOWN)
        alone[:, column] = revisions[:, column]
        try:
            self._feed.as_seen(start_ms, alone)
        except StoreError:
            if len(revisions) > 1 and len(self._gone) < _SEARCHED:
                half = len(revisions) // 2
                self._find_lost_of(symbol, column, start_ms, revisions[:half])
                self._find_lost_of(symbol, column, start_ms + half * MINUTE_MS, revisions[half:])
                return
        else:
            return
        revisions[:, column] = UNKNOWN
        end_ms = start_ms + len(revisions) * MINUTE_MS
        self._gone.update(range(start_ms, end_ms, MINUTE_MS))
        when = f"at {_clock(start_ms)}"
        if len(revisions) > 1:
            when = f"from {_clock(start_ms)} to {_clock(end_ms)}"
        self._note(
            Difference(
                minute_ms=start_ms,
                kind=Kind.BARS,
                says=f"the bars of {symbol} {when} are no longer what was seen: some are lost",
                symbols=(symbol,),
            )
        )

    # --- what does not fit ---------------------------------------------------------------------

    def _not_made_of_minutes(
        self, part: str, timeframe: Timeframe, grid: "_Grid", first_ms: int
    ) -> list[tuple[str, Timeframe, int, Symbol]]:
        """Seen coarser bars from `first_ms` on that are not what their minutes, all of them known, make."""
        if grid.end_ms <= first_ms or first_ms < self._minutes.start_ms:
            first_ms = max(first_ms, -(-self._minutes.start_ms // timeframe.ms) * timeframe.ms)
            if grid.end_ms <= first_ms:
                return []
        symbols = self._symbols[part]
        made = resample(self._minutes.panel(symbols, self._columns[part], first_ms, grid.end_ms), timeframe)
        seen = grid.panel(symbols, np.arange(len(symbols)), first_ms, grid.end_ms)
        differs: BoolArray = np.zeros(made.covered.shape, dtype=np.bool_)
        for name in BAR_FIELDS:
            old, new = getattr(seen, name), getattr(made, name)
            differs |= ~((old == new) | (np.isnan(old) & np.isnan(new)))
        rows, columns = np.nonzero(differs & made.covered)
        return [
            (part, timeframe, int(seen.open_time_ms[row]), symbols[column])
            for row, column in zip(rows, columns, strict=True)
        ]

    def _say(self, bad: Sequence[int], apart: Sequence[tuple[str, Timeframe, int, Symbol]]) -> None:
        """Note minutes that changed, with the symbols that coarser bars betray, and altered rows."""
        lost = sorted({*bad, *self._gone})
        for time_ms in bad:
            symbols = _betrayed(time_ms, apart)
            if symbols:
                listed = ", ".join(map(str, symbols))
                says = f"the bars of {listed} at {_clock(time_ms)} are no longer what was seen"
            elif time_ms in self._altered:
                continue
            else:
                says = f"some bars at {_clock(time_ms)} are no longer what was seen"
            self._note(Difference(minute_ms=time_ms, kind=Kind.BARS, says=says, symbols=symbols))
        for _, timeframe, open_ms, symbol in apart:
            close_ms = open_ms + timeframe.ms
            if np.searchsorted(lost, open_ms) < np.searchsorted(lost, close_ms):
                continue
            self._note(
                Difference(
                    minute_ms=close_ms - MINUTE_MS,
                    kind=Kind.BARS,
                    says=(
                        f"the {timeframe} bar of {symbol} at {_clock(open_ms)} in the journal is not what "
                        "its minutes make"
                    ),
                    symbols=(symbol,),
                )
            )


class _Grid:
    """Bars on the full time grid of one timeframe that grow at the end and are dropped at the front."""

    def __init__(self, timeframe: Timeframe, symbols: int, start_ms: int) -> None:
        self.timeframe = timeframe
        self.start_ms = start_ms
        self._values: FloatArray = np.empty((len(BAR_FIELDS), 0, symbols))
        self._covered: BoolArray = np.empty((0, symbols), dtype=np.bool_)

    @property
    def end_ms(self) -> int:
        """Close time of the last row."""
        return self.start_ms + len(self._covered) * self.timeframe.ms

    def grow(self, end_ms: int) -> None:
        """Add unknown rows up to `end_ms`."""
        count = max((end_ms - self.end_ms) // self.timeframe.ms, 0)
        fields, _, symbols = self._values.shape
        self._values = np.concatenate([self._values, np.full((fields, count, symbols), np.nan)], axis=1)
        self._covered = np.concatenate([self._covered, np.zeros((count, symbols), dtype=np.bool_)])

    def drop_before(self, time_ms: int) -> None:
        """Forget the rows that open before `time_ms`."""
        count = min(max((time_ms - self.start_ms) // self.timeframe.ms, 0), len(self._covered))
        if count:
            self._values, self._covered = self._values[:, count:].copy(), self._covered[count:].copy()
            self.start_ms += count * self.timeframe.ms

    def put(self, rows: SeenRows, columns: IntArray | None = None) -> None:
        """Set whole rows, of all columns or of some; those outside are passed over."""
        step, width = self.timeframe.ms, self._covered.shape[1] if columns is None else len(columns)
        if rows.step_ms != step or rows.values.shape[2] != width:
            raise StoreError(
                f"the seen {self.timeframe} bars do not have the shape of this account: "
                "restore its trading.db from a copy"
            )
        offset = (rows.start_ms - self.start_ms) // step
        first, stop = max(offset, 0), min(offset + rows.values.shape[1], len(self._covered))
        if stop <= first:
            return
        place = slice(first, stop)
        source = slice(first - offset, stop - offset)
        if columns is None:
            self._values[:, place] = rows.values[:, source]
            self._covered[place] = rows.covered[source]
        else:
            self._values[:, place, columns] = rows.values[:, source]
            self._covered[place, columns] = rows.covered[source]

    def set_cells(self, cells: SeenCells) -> None:
        """Set single cells; those outside are passed over."""
        rows = (cells.open_time_ms - self.start_ms) // self.timeframe.ms
        inside = (rows >= 0) & (rows < len(self._covered))
        self._values[:, rows[inside], cells.column[inside]] = cells.values[:, inside]
        self._covered[rows[inside], cells.column[inside]] = cells.covered[inside]

    def panel(self, symbols: tuple[Symbol, ...], columns: IntArray, start_ms: int, end_ms: int) -> Panel:
        """The rows that open in [start_ms, end_ms); what is not held is unknown."""
        step = self.timeframe.ms
        times = np.arange(start_ms, end_ms, step, dtype=np.int64)
        values = np.full((len(BAR_FIELDS), len(times), len(columns)), np.nan)
        covered = np.zeros((len(times), len(columns)), dtype=np.bool_)
        first, last = max(start_ms, self.start_ms), min(end_ms, self.end_ms)
        if first < last:
            held = slice((first - self.start_ms) // step, (last - self.start_ms) // step)
            place = slice((first - start_ms) // step, (last - start_ms) // step)
            values[:, place] = self._values[:, held][:, :, columns]
            covered[place] = self._covered[held][:, columns]
        return Panel(
            timeframe=self.timeframe,
            symbols=symbols,
            open_time_ms=times,
            covered=covered,
            **dict(zip(BAR_FIELDS, values, strict=True)),
        )


def arrivals(seen: Panel, now: Panel, arrived: Arrived) -> None:
    """Count what the store says otherwise now than was seen."""
    was, known = seen.covered | seen.present, now.covered | now.present
    arrived.late += int((~was & known).sum())
    arrived.missing += int((~was & ~known).sum())
    differs: CodeArray = np.zeros(was.shape, dtype=np.bool_)
    for name in BAR_FIELDS:
        old, new = getattr(seen, name), getattr(now, name)
        differs |= ~((old == new) | (np.isnan(old) & np.isnan(new)))
    arrived.revised += int((was & differs).sum())


def _betrayed(time_ms: int, apart: Sequence[tuple[str, Timeframe, int, Symbol]]) -> tuple[Symbol, ...]:
    """The symbols whose coarser bar over the minute does not fit, by the finest timeframe that has any."""
    over = [
        (timeframe.ms, symbol)
        for _, timeframe, open_ms, symbol in apart
        if open_ms <= time_ms < open_ms + timeframe.ms
    ]
    finest = min((length for length, _ in over), default=0)
    return tuple(dict.fromkeys(symbol for length, symbol in over if length == finest))


def _lost_row(part: str, timeframe: Timeframe, open_ms: int, what: str) -> Difference:
    return Difference(
        minute_ms=open_ms + timeframe.ms - MINUTE_MS,
        kind=Kind.BARS,
        says=f"the {timeframe} row of the {part} symbols at {_clock(open_ms)} {what}",
    )


def _clock(time_ms: int) -> str:
    return f"{from_ms(time_ms):%Y-%m-%d %H:%M}"
