"""The log is read back page by page to its beginning: every page as if the log had been read whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.app.serving import log_view
from crypto_tracker.app.serving.account_book import AccountBook
from crypto_tracker.app.serving.log_pages import Entry, Lines, Unread, log_page, merged
from crypto_tracker.app.serving.log_view import AccountLog, HalfDays
from crypto_tracker.app.serving.recent import Recent
from crypto_tracker.app.serving.setup_columns import SetupColumns
from crypto_tracker.app.serving.trade_columns import TradeColumns
from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.orders import ExitReason, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, from_ms
from crypto_tracker.desk.source import EVERY_LINE, LogFilter, NotThere
from crypto_tracker.desk.views.decisions import Log, LogKind, LogLine
from crypto_tracker.simulation.ledger import trade_group_id
from crypto_tracker.store.column_rows import SetupRows, TradeRows
from crypto_tracker.store.trading_records import CommandResult, Halt, SetupRecord
from crypto_tracker.store.trading_views import Answered, Halted

KINDS: tuple[LogKind, ...] = ("buy", "skip", "close")
START_MS = 20_000 * DAY_MS
COINS = tuple(Symbol.parse(f"{name}/USD") for name in ("AAA", "BBB", "CCC"))
STRATEGIES = ("DCA", "SWING")
BEGINNING = 20_000


def page_after_page(page: Callable[[str | None], Log], limit: int) -> list[LogLine]:
    """All lines, by walking from the newest page to the oldest."""
    found: list[LogLine] = []
    cursor: str | None = None
    for _ in range(BEGINNING):
        read = page(cursor)
        assert len(read.items) <= limit
        found += read.items
        cursor = read.next
        if cursor is None:
            return found
    raise AssertionError("the log has no end")


# --- pages -----------------------------------------------------------------------------------------


def line(time_ms: int, number: int, kind: LogKind) -> LogLine:
    return LogLine(time_ms=time_ms, kind=kind, symbol=None, who="", strategy=None, words=f"line {number}")


@given(
    times=st.lists(st.integers(0, 60), max_size=60),
    unread=st.integers(0, 60),
    limit=st.integers(1, 9),
    kinds=st.sets(st.sampled_from(KINDS)),
)
def test_pages_tell_every_line_once_and_in_order(
    times: list[int], unread: int, limit: int, kinds: set[LogKind]
) -> None:
    """Of two sources, of which one ends now and then before its beginning."""
    held = [line(time, number, KINDS[number % 3]) for number, time in enumerate(times)]

    def source(lines: Sequence[LogLine], before_ms: int, last_ms: int) -> Lines[LogLine]:
        entries = [Entry(each.time_ms, each.kind, each.who, each.words, each) for each in lines]
        for entry in sorted(entries, key=lambda entry: entry.order):
            if entry.time_ms < last_ms:
                yield Unread(entry.time_ms)
                return
            if entry.time_ms < before_ms:
                yield entry

    def look(before_ms: int) -> Lines[LogLine]:
        # Each look gets on, if only by the time that it begins with.
        newest = max((each.time_ms for each in held[::2] if each.time_ms < before_ms), default=0)
        return merged(
            [
                source(held[::2], before_ms, min(before_ms - unread, newest)),
                source(held[1::2], before_ms, 0),
            ]
        )

    where = LogFilter(kinds=tuple(sorted(kinds)))
    found = page_after_page(
        lambda cursor: log_page("august", look, list, where, limit=limit, cursor=cursor, until_ms=100),
        limit,
    )
    expected = sorted(
        (each for each in held if not kinds or each.kind in kinds),
        key=lambda each: (-each.time_ms, each.kind, each.who, each.words),
    )
    assert found == expected


# --- an account ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class History:
    """What an account may have decided, and what happened to it; it answers as its records would."""

    rows: tuple[SetupRecord, ...]
    ended: dict[str, tuple[int, Reason]]
    trades: tuple[Trade, ...]
    answered: tuple[Answered, ...]
    halted: tuple[Halted, ...]
    regimes: tuple[tuple[int, int, int], ...]
    kept: HalfDays = field(default_factory=lambda: Recent(64))

    def setups_keyed(self, keys: Sequence[tuple[int, str, str]]) -> list[SetupRecord]:
        known = {(row.time_ms, str(row.symbol), row.strategy): row for row in self.rows}
        return [known[key] for key in keys]

    def near_misses(
        self, start_ms: int, end_ms: int, symbols: Sequence[Symbol] = ()
    ) -> list[tuple[int, str, str, float]]:
        return [
            (row.time_ms, str(row.symbol), row.strategy, row.readiness)
            for row in self.rows
            if row.verdict is Verdict.NEAR_MISS
            and start_ms <= row.time_ms < end_ms
            and (not symbols or row.symbol in symbols)
        ]

    def ended_entries(
        self, trade_group_ids: Sequence[str], reasons: Sequence[Reason]
    ) -> dict[str, tuple[int, Reason]]:
        return {
            group: self.ended[group]
            for group in trade_group_ids
            if group in self.ended and self.ended[group][1] in reasons
        }

    def trades_numbered(self, numbers: Sequence[int]) -> list[tuple[Trade, str]]:
        return [(self.trades[number], "") for number in numbers]

    def answers(self, *, limit: int | None = None, before_ms: int | None = None) -> list[Answered]:
        newest = sorted(self.answered, key=lambda each: -each.time_ms)
        return [each for each in newest if before_ms is None or each.time_ms < before_ms][:limit]

    def halts(self, *, limit: int | None = None, before_ms: int | None = None) -> list[Halted]:
        newest = sorted(self.halted, key=lambda each: -each.time_ms)
        return [each for each in newest if before_ms is None or each.time_ms < before_ms][:limit]

    def encoded_blocks(self, strategy: str, times_ms: Sequence[int]) -> list[tuple[int, bytes]]:
        del strategy, times_ms  # no scan was kept
        return []

    @property
    def until_ms(self) -> int:
        return START_MS + 3 * DAY_MS

    def log(self, where: LogFilter, kept: HalfDays) -> AccountLog:
        """The log of the account under a filter."""
        kinds = [(str(row.symbol), row.strategy, row.verdict.value, row.reason.code) for row in self.rows]
        return AccountLog(
            records=self,
            setups=SetupColumns().extended(
                SetupRows(
                    time_ms=np.array([row.time_ms for row in self.rows], dtype=np.int64),
                    kind=np.arange(len(kinds)),
                    kinds=kinds,
                )
            ),
            trades=TradeColumns().extended(trade_rows(self.trades)),
            regimes=self.regimes,
            tiers={},
            until_ms=self.until_ms,
            where=where,
            kept=kept,
        )

    def page(self, where: LogFilter, limit: int, cursor: str | None) -> Log:
        log = self.log(where, self.kept)
        until_ms = self.until_ms + MINUTE_MS
        return log_page("a", log.lines, log.words, where, limit=limit, cursor=cursor, until_ms=until_ms)

    def whole(self, where: LogFilter = EVERY_LINE) -> list[LogLine]:
        """One big page, whatever had to be looked through for it."""
        log = self.log(where, Recent(1))
        entries = list(log.lines(self.until_ms + MINUTE_MS))
        assert not any(isinstance(entry, Unread) for entry in entries)
        return log.words(
            [
                entry.what
                for entry in entries
                if isinstance(entry, Entry)
                and (not where.kinds or entry.kind in where.kinds)
                and (where.start_ms is None or entry.time_ms >= where.start_ms)
                and (where.end_ms is None or entry.time_ms < where.end_ms)
            ]
        )


def trade_rows(trades: Sequence[Trade]) -> TradeRows:
    exits = np.array([to_exit(each) for each in trades], dtype=np.int64)
    none = np.zeros(len(trades), dtype=np.int64)
    return TradeRows(
        number=np.arange(len(trades)),
        symbol=[str(each.symbol) for each in trades],
        strategy=[each.strategy for each in trades],
        exit_reason=[each.exit_reason.code for each in trades],
        entry_ms=exits,
        exit_ms=exits,
        pnl_e8=none,
        invested_e8=none,
        fee_e8=none,
        slippage_e8=none,
        return_net=none.astype(np.float64),
        entry_price=none.astype(np.float64),
        exit_price=none.astype(np.float64),
    )


def to_exit(each: Trade) -> int:
    assert each.exit_time is not None
    return round(each.exit_time.timestamp() * 1e3)


def row_of(
    time_ms: int, symbol: Symbol, strategy: str, verdict: Verdict, reason: Reason, *, readiness: float = 90.0
) -> SetupRecord:
    near = verdict is Verdict.NEAR_MISS
    return SetupRecord(
        setup_number=None if near else 0,
        time_ms=time_ms,
        symbol=symbol,
        strategy=strategy,
        verdict=verdict,
        reason=reason,
        readiness=readiness,
        confidence=0.5,
        rank=None,
        fallback=False,
        measured=None,
        limit=None,
        version="v",
    )


def trade_of(number: int, symbol: Symbol, exit_ms: int) -> Trade:
    zero = Decimal(0)
    return Trade(
        trade_group_id=f"trade {number}",
        symbol=symbol,
        strategy="DCA",
        decision_time=from_ms(exit_ms),
        entry_time=from_ms(exit_ms),
        entry_price=Decimal(1),
        exit_time=from_ms(exit_ms),
        exit_price=Decimal(1),
        exit_reason=ExitReason.TAKE_PROFIT,
        quantity=Decimal(1),
        invested_quote=Decimal(1),
        pnl_quote=Decimal(number),
        return_net=0.01,
        fee_quote=zero,
        slippage_quote=zero,
        entry_fills=1,
        ambiguous=False,
        fallback=False,
    )


ANSWERS = (
    (Verdict.TAKE, Reason.ACCEPTED),
    (Verdict.SKIP, Reason.SYMBOL_LIMIT),
    (Verdict.SKIP, Reason.SHARE_USED),
    (Verdict.SKIP, Reason.PAUSED),
    (Verdict.NEAR_MISS, Reason.VOLUME_LOW),
    (Verdict.NEAR_MISS, Reason.DROP_TOO_SMALL),
)
MINUTES = st.integers(1, 3 * 24 * 4).map(lambda quarters: START_MS + quarters * 15 * MINUTE_MS)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Three days; scans now and then that go on for hours, so that much is refused again and again."""
    found: dict[tuple[int, str, str], SetupRecord] = {}
    stretch = st.tuples(
        MINUTES,
        st.integers(1, 60),
        st.sampled_from((15, 60, 195, 240)),
        st.sampled_from(COINS),
        st.sampled_from(STRATEGIES),
        st.sampled_from(ANSWERS),
        st.floats(70, 99),
    )
    for first, count, every, symbol, strategy, (verdict, reason), readiness in draw(
        st.lists(stretch, max_size=9)
    ):
        for number in range(count):
            time_ms = first + number * every * MINUTE_MS
            if time_ms <= START_MS + 3 * DAY_MS:
                row = row_of(time_ms, symbol, strategy, verdict, reason, readiness=readiness)
                found[time_ms, str(symbol), strategy] = row
    rows = tuple(found[key] for key in sorted(found))
    taken = [row for row in rows if row.verdict is Verdict.TAKE]
    ended = {}
    for row in taken:
        minutes = draw(st.none() | st.integers(1, 200))
        if minutes is not None:
            group = trade_group_id(row.symbol, row.strategy, from_ms(row.time_ms))
            ended[group] = (row.time_ms + minutes * MINUTE_MS, draw(st.sampled_from(ENDS)))
    exits = sorted(draw(st.lists(st.tuples(MINUTES, st.sampled_from(COINS)), max_size=6)))
    spans = sorted(draw(st.sets(st.integers(1, 4_000), max_size=10)))
    return History(
        rows=rows,
        ended=ended,
        trades=tuple(trade_of(number, symbol, time) for number, (time, symbol) in enumerate(exits)),
        answered=tuple(
            Answered(
                result=CommandResult(
                    command_id=str(number), kind="pause", status="applied", sentence=f"answer {number}"
                ),
                time_ms=time_ms,
                recorded_at_ms=0,
            )
            for number, time_ms in enumerate(draw(st.lists(MINUTES, max_size=6)))
        ),
        halted=tuple(
            Halted(halt=Halt(cause="scan_failed", sentence=f"halt {number}", strategy=None), time_ms=time_ms)
            for number, time_ms in enumerate(draw(st.lists(MINUTES, max_size=3)))
        ),
        regimes=tuple(
            (START_MS + start * MINUTE_MS, START_MS + end * MINUTE_MS, int(Regime.PANIC))
            for start, end in zip(spans[::2], spans[1::2], strict=False)
        ),
    )


ENDS = (Reason.EXPIRED, Reason.CANCELLED, Reason.SLIPPAGE_TOO_HIGH)
FILTERS = st.builds(
    LogFilter,
    symbols=st.sampled_from(((), COINS[:1], COINS[1:])),
    kinds=st.sampled_from(((), ("skip",), ("near",), ("buy", "skip"), ("market", "told"), ("close", "near"))),
    start_ms=st.none() | MINUTES,
    end_ms=st.none() | MINUTES,
)


@settings(max_examples=150, deadline=None)
@given(history=histories(), where=FILTERS, limit=st.integers(1, 40), looked=st.sampled_from((0, 25, 30_000)))
def test_pages_of_any_size_together_equal_one_big_page(
    history: History, where: LogFilter, limit: int, looked: int
) -> None:
    expected = history.whole(where)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_view, "LOOKED_MAX", looked)
        found = page_after_page(lambda cursor: history.page(where, limit, cursor), limit)
    assert found == expected


@settings(max_examples=80, deadline=None)
@given(history=histories(), before_ms=MINUTES)
def test_a_page_from_any_moment_has_the_lines_of_the_whole_log(history: History, before_ms: int) -> None:
    expected = [each for each in history.whole() if each.time_ms < before_ms]
    assert history.page(LogFilter(end_ms=before_ms), 500, None).items == expected[:500]


@settings(max_examples=80, deadline=None)
@given(history=histories())
def test_a_refusal_is_told_unless_it_goes_on_and_those_of_three_hours_share_a_line(history: History) -> None:
    """The rule once more, row by row and without any half days."""
    expected: dict[tuple[str, Reason, int], tuple[int, set[str]]] = {}

    def tell(time_ms: int, row: SetupRecord, reason: Reason) -> None:
        key = row.strategy, reason, -(-time_ms // (3 * HOUR_MS))
        newest, coins = expected.get(key, (0, set()))
        expected[key] = max(newest, time_ms), coins | {row.symbol.base}

    decided = [row for row in history.rows if row.verdict is not Verdict.NEAR_MISS]
    for number, row in enumerate(decided):
        if row.verdict is Verdict.TAKE:
            group = trade_group_id(row.symbol, row.strategy, from_ms(row.time_ms))
            if group in history.ended and history.ended[group][0] <= history.until_ms:
                tell(history.ended[group][0], row, history.ended[group][1])
            continue
        before = [
            each for each in decided[:number] if (each.symbol, each.strategy) == (row.symbol, row.strategy)
        ]
        age_ms = row.time_ms - before[-1].time_ms if before else 10 * DAY_MS
        goes_on = age_ms <= 3 * HOUR_MS and before[-1].reason is row.reason
        held = row.reason is Reason.SYMBOL_LIMIT and age_ms <= DAY_MS
        ours = held and before[-1].reason in (Reason.ACCEPTED, Reason.SYMBOL_LIMIT)
        if not goes_on and not ours:
            tell(row.time_ms, row, row.reason)
    found = history.whole(LogFilter(kinds=("skip",)))
    assert sorted((each.time_ms, each.strategy or "", each.who) for each in found) == sorted(
        (newest, strategy, coins.pop() if len(coins) == 1 else f"{len(coins)} coins")
        for (strategy, _, _), (newest, coins) in expected.items()
    )


def test_every_decision_of_one_close_is_told_however_many_there_are() -> None:
    """Twelve hundred buys at one close, in pages of five hundred."""
    coins = [Symbol.parse(f"C{number:04d}/USD") for number in range(1_200)]
    rows = tuple(row_of(START_MS, each, "DCA", Verdict.TAKE, Reason.ACCEPTED) for each in coins)
    history = History(rows=rows, ended={}, trades=(), answered=(), halted=(), regimes=())
    found = page_after_page(lambda cursor: history.page(EVERY_LINE, 500, cursor), 500)
    assert [each.who for each in found] == [each.base for each in coins]


def test_a_refusal_that_goes_on_for_days_is_told_once_also_far_back() -> None:
    rows = tuple(
        row_of(START_MS + number * 15 * MINUTE_MS, COINS[0], "DCA", Verdict.SKIP, Reason.SHARE_USED)
        for number in range(1, 3 * 24 * 4)
    )
    history = History(rows=rows, ended={}, trades=(), answered=(), halted=(), regimes=())
    assert [each.time_ms for each in history.whole()] == [rows[0].time_ms]
    for each in rows[1::7]:
        page = history.page(LogFilter(start_ms=rows[1].time_ms, end_ms=each.time_ms), 50, None)
        assert page.items == []


def test_minutes_with_more_answers_than_are_read_at_once_are_told_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_view, "_ROWS_AT_ONCE", 2)
    history = History((), {}, (), (), (), ())
    times = [START_MS + minute * MINUTE_MS for minute in (1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 9)]
    answered = tuple(
        Answered(
            result=CommandResult(command_id=str(n), kind="pause", status="applied", sentence=f"{n:02d}"),
            time_ms=time_ms,
            recorded_at_ms=0,
        )
        for n, time_ms in enumerate(times)
    )
    history = replace(history, answered=answered)
    for limit in (1, 2, 5, 50):
        found = page_after_page(
            lambda cursor, limit=limit: history.page(LogFilter(kinds=("told",)), limit, cursor), limit
        )
        assert [each.time_ms for each in found] == times[::-1]
        assert len({each.words for each in found}) == len(times)


# --- books -----------------------------------------------------------------------------------------


def whole(book: AccountBook, where: LogFilter = EVERY_LINE, limit: int = 7) -> list[LogLine]:
    return page_after_page(lambda cursor: book.log(limit, where, cursor), limit)


def times(lines: Sequence[LogLine]) -> list[int]:
    return [each.time_ms for each in lines]


def test_the_log_of_an_account_goes_back_to_its_beginning(traded_book: AccountBook) -> None:
    told = whole(traded_book)
    assert times(told) == sorted(times(told), reverse=True)
    assert told == whole(traded_book, limit=500)
    assert told[:60] == traded_book.log(60).items
    sold = [each for each in told if each.kind == "close"]
    assert len(sold) == traded_book.status().closed.trades
    assert len([each for each in told if each.kind == "told"]) == len(
        [each for each in traded_book.commands(limit=500, cursor=None).items if each.status != "waiting"]
    )


def test_the_log_is_narrowed_by_kind_symbol_and_span(traded_book: AccountBook) -> None:
    everything = whole(traded_book)
    for kind in ("buy", "skip", "near", "market", "told", "close"):
        of_kind = [each for each in everything if each.kind == kind]
        assert whole(traded_book, LogFilter(kinds=(kind,)), limit=2) == of_kind
        assert of_kind or kind == "market"
    sold = [each for each in everything if each.kind == "close"]
    symbol = str(sold[0].symbol)
    of_one = whole(traded_book, LogFilter(symbols=(Symbol.parse(symbol.lower()),)))
    assert {each.symbol for each in of_one} == {symbol}
    middle = sold[len(sold) // 2].time_ms
    span = LogFilter(kinds=("close",), start_ms=middle, end_ms=middle + HOUR_MS)
    assert whole(traded_book, span) == [each for each in sold if middle <= each.time_ms < middle + HOUR_MS]


def test_a_cursor_of_the_log_belongs_to_its_filter(traded_book: AccountBook) -> None:
    cursor = traded_book.log(2).next
    assert cursor is not None
    for other in (LogFilter(kinds=("buy",)), LogFilter(symbols=(Symbol.parse("ETH/USD"),))):
        with pytest.raises(UsageError, match="is no cursor of this list"):
            traded_book.log(2, other, cursor)
    with pytest.raises(NotThere, match="has no symbol QQQ/USD"):
        traded_book.log(2, LogFilter(symbols=(Symbol.parse("QQQ/USD"),)))
