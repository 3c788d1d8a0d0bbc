"""Parity: what an account has recorded must come out again of what it saw and was told.

A span is re-run from the journal and the store alone, on the path of a backtest (`trading.parity_rerun`), and
held against the records to the last digit. Beside it stands another figure: the same commands and versions
over the bars that the store has now. What differs there is no mistake: it is what late, missing and revised
bars cost.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from crypto_tracker.core.errors import StoreError, UsageError
from crypto_tracker.core.money import to_decimal
from crypto_tracker.core.orders import Trade
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.simulation.state import PortfolioState
from crypto_tracker.store.books import BookSource
from crypto_tracker.store.feed import MinuteFeed
from crypto_tracker.store.trading_journal import TradingJournal
from crypto_tracker.store.trading_records import Account, Checkpoint
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.trading.parity_bars import Arrived, CompleteBars, SeenBars, arrivals
from crypto_tracker.trading.parity_books import HeldAgainstSeen, StoredNow
from crypto_tracker.trading.parity_report import Closes, Comparison, Difference, Held, Kind, Proof, Records
from crypto_tracker.trading.parity_rerun import Piece, Replayed, Rerun, Script, first_reads, held_in
from crypto_tracker.trading.state import TraderState

_STATE_PARTS = ("book", "slots", "parts", "coins", "strategies", "episodes", "hours_ms", "hour_closes")

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The account as it saw, against complete history.

    Attributes
    ----------
    bars : minutes of single symbols of which the store says something else now
    only_seen, only_complete : closed trades that only one side has
    other_result : closed trades whose P&L is another one, as (seen, complete)
    trades, pnl_quote, equity_quote : of closed trades, and of the account at the end, as (seen, complete)
    """

    bars: Arrived
    only_seen: list[Trade]
    only_complete: list[Trade]
    other_result: list[tuple[Trade, Trade]]
    trades: tuple[int, int]
    pnl_quote: tuple[Decimal, Decimal]
    equity_quote: tuple[Decimal, Decimal]

    @property
    def cost_quote(self) -> Decimal:
        """What the bars that were not seen in time have cost; negative where they have saved."""
        return self.equity_quote[1] - self.equity_quote[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a parity check came to."""

    proof: Proof
    cost: Cost | None


def check(
    journal: TradingJournal,
    feed: MinuteFeed,
    strategies: Mapping[str, Strategy],
    *,
    start_ms: int | None,
    end_ms: int | None,
    code_version: str,
    complete: bool,
    tell: Tell,
    books: BookSource | None = None,
) -> Outcome:
    """Re-run a span of an account and compare; with `complete`, also over the bars that the store has now.

    The span begins at the checkpoint at or before `start_ms`, and ends at the first 00:00 UTC from `end_ms`
    on or with the last minute that was stepped. `books` is needed where the account was traded under a
    configuration that lets market fills walk recorded order books. The account is only read, so it may be
    traded meanwhile.
    Raises UsageError where nothing was traded in the span.
    """
    tell("reading the journal")
    with journal.snapshot():
        account = journal.account()
        if account is None:
            raise StoreError("the account was never opened: start it with `crypto-tracker trade`")
        first_ms, last_ms = _span(account, journal.trader().cursor_ms, start_ms, end_ms)
        begin = journal.checkpoint_at_or_before(first_ms)
        if begin is None:
            raise StoreError(
                f"the account has no checkpoint at or before {_clock(first_ms)} UTC: "
                "restore its trading.db from a copy"
            )
        end = _recorded_end(journal, last_ms)
    script = Script.read(
        journal, account, strategies, start_ms=begin.time_ms, end_ms=last_ms, version=begin.version
    )
    proof, seen, arrived = _prove(
        journal, feed, books, script, begin, end, code_version, complete=complete, tell=tell
    )
    cost = None
    if complete:
        again = Rerun(
            script,
            CompleteBars(account, feed.source),
            TraderState.from_bytes(begin.state),
            keep_scans=False,
            books=None if books is None else StoredNow(account, books),
        )
        replayed = again.through(script.pieces(set()), lambda words: tell(f"with complete bars, {words}"))
        cost = _cost(seen, _Sums.of(each.records for each in replayed), arrived)
    return Outcome(proof=proof, cost=cost)


# ------------------------------------------------------------------------------- the span


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """What is recorded of the end of the span: the state, and what is held where the table says so."""

    state: TraderState | None
    positions: list[Held] | None


def _span(account: Account, cursor_ms: int, start_ms: int | None, end_ms: int | None) -> tuple[int, int]:
    first_ms = account.start_ms if start_ms is None else max(start_ms, account.start_ms)
    last_ms = cursor_ms if end_ms is None else min(-(-end_ms // DAY_MS) * DAY_MS, cursor_ms)
    if first_ms >= last_ms:
        traded = f"it was traded from {_clock(account.start_ms)} to {_clock(cursor_ms)} UTC"
        if cursor_ms == account.start_ms:
            traded = "none of its minutes was stepped yet"
        raise UsageError(f"the account has traded nothing in this span: {traded}")
    return first_ms, last_ms


def _recorded_end(journal: TradingJournal, end_ms: int) -> _End:
    trader = journal.trader()
    if trader.cursor_ms == end_ms:
        held = [
            Held(
                trade=each.trade,
                open_quantity=each.open_quantity,
                stop_price=each.stop_price,
                target_price=each.target_price,
            )
            for each in journal.positions()
        ]
        return _End(state=TraderState.from_bytes(trader.state), positions=held)
    checkpoint = journal.checkpoint_at_or_before(end_ms)
    if checkpoint is None or checkpoint.time_ms != end_ms:
        return _End(state=None, positions=None)
    return _End(state=TraderState.from_bytes(checkpoint.state), positions=None)


# ------------------------------------------------------------------------------- as seen


@dataclass(slots=True, kw_only=True)
class _Sums:
    """What a run came to, as far as the two are held against each other."""

    trades: list[Trade]
    equity_e8: int

    @classmethod
    def of(cls, pieces: Iterable[Records]) -> "_Sums":
        """The sums of all pieces, in order of time."""
        sums = cls(trades=[], equity_e8=0)
        for each in pieces:
            sums.add(each)
        return sums

    def add(self, records: Records) -> None:
        """Take in the next piece."""
        self.trades += records.trades
        self.equity_e8 = int(records.closes.equity_e8[-1])


def _prove(
    journal: TradingJournal,
    feed: MinuteFeed,
    books: BookSource | None,
    script: Script,
    begin: Checkpoint,
    end: _End,
    code_version: str,
    *,
    complete: bool,
    tell: Tell,
) -> tuple[Proof, _Sums, Arrived]:
    """Re-run the span as it was seen and compare; with `complete`, count also what has come in since."""
    account = script.account
    comparison = Comparison()
    tell("recomputing digests")
    _note_altered(journal, comparison, script)
    bars = SeenBars(
        account,
        journal,
        feed,
        start_ms=script.start_ms,
        altered=comparison.altered,
        starts=first_reads(script.settings[script.versions[0][1]], account, script.start_ms),
        note=lambda difference: comparison.note([difference]),
    )
    state = TraderState.from_bytes(begin.state)
    seen_books = None
    if books is not None:
        seen_books = HeldAgainstSeen(
            account, books, journal, lambda difference: comparison.note([difference])
        )
    rerun = Rerun(script, bars, state, keep_scans=True, books=seen_books)
    sums, arrived = _Sums(trades=[], equity_e8=0), Arrived()
    healed = {block.time_ms for block in journal.healed(script.start_ms + 1, script.end_ms)}
    for replayed in rerun.through(script.pieces(healed), lambda words: tell(f"as seen, {words}")):
        comparison.piece(_recorded(journal, replayed.piece), replayed.records, replayed.failed)
        sums.add(replayed.records)
        if complete:
            _count_arrivals(feed, bars, replayed, arrived)
    if seen_books is not None:
        seen_books.end()
    _compare_ends(comparison, script, state, end)
    proof = Proof(
        start_ms=script.start_ms,
        end_ms=script.end_ms,
        compared=comparison.compared,
        differences=comparison.finish(_programs(journal, account, code_version)),
        not_kept=comparison.not_kept,
        recorded_by=tuple(dict.fromkeys(each.code_version for each in journal.sessions())),
    )
    return proof, sums, arrived


def _note_altered(journal: TradingJournal, comparison: Comparison, script: Script) -> None:
    """Recompute the digests of all minutes; where the journal is not whole, that is a difference too."""
    next_ms = script.start_ms
    try:
        for time_ms, written, now in journal.recomputed_digests(script.start_ms, script.end_ms):
            next_ms = time_ms + MINUTE_MS
            if written != now:
                comparison.altered.add(time_ms)
    except StoreError as error:
        comparison.note([Difference(minute_ms=next_ms, kind=Kind.RECORD, says=str(error))])


def _recorded(journal: TradingJournal, piece: Piece) -> Records:
    """What the account has recorded of a piece."""
    start_ms, end_ms = piece.start_ms, piece.end_ms
    closes = start_ms + 1, end_ms + 1
    minutes = journal.minutes(start_ms, end_ms)
    rows = (minutes.time_ms - start_ms) // MINUTE_MS
    count = (end_ms - start_ms) // MINUTE_MS
    known = np.zeros(count, dtype=np.bool_)
    known[rows] = True
    amounts = {}
    for name in ("equity_e8", "cash_e8", "reserved_e8"):
        amounts[name] = np.zeros(count, dtype=np.int64)
        amounts[name][rows] = getattr(minutes, name)
    regime, volatility = np.zeros(count, dtype=np.int8), np.full(count, np.nan)
    regime[rows], volatility[rows] = minutes.regime, minutes.volatility
    return Records(
        blocks={(time_ms, strategy): block for time_ms, strategy, block in journal.blocks(*closes)},
        setups=journal.setups(*closes),
        fills=journal.fills(start_ms, end_ms),
        trades=journal.trades(start_ms, end_ms),
        closes=Closes(
            time_ms=start_ms + MINUTE_MS * np.arange(count, dtype=np.int64),
            known=known,
            regime=regime,
            volatility=volatility,
            **amounts,
        ),
    )


def _count_arrivals(feed: MinuteFeed, bars: SeenBars, replayed: Replayed, arrived: Arrived) -> None:
    span = replayed.piece.start_ms, replayed.piece.end_ms
    seen = bars.watched(*span)
    arrivals(seen, feed.source.panel(seen.symbols, Timeframe.M1, *span), arrived)


def _compare_ends(comparison: Comparison, script: Script, state: TraderState, end: _End) -> None:
    """Compare what is held at the end, and the whole state."""
    if end.state is None:
        says = f"there is no checkpoint of {_clock(script.end_ms)}"
        comparison.note([Difference(minute_ms=script.end_ms - MINUTE_MS, kind=Kind.STATE, says=says)])
        return
    recorded = end.positions
    if recorded is None:
        recorded = held_in(script, end.state.portfolio)
    comparison.positions(script.end_ms, recorded, held_in(script, state.portfolio))
    apart = [*_parts_apart(end.state.portfolio, state.portfolio), *_memory_apart(end.state, state)]
    if apart:
        says = f"the state after the last minute differs in {', '.join(apart)}"
        comparison.note([Difference(minute_ms=script.end_ms - MINUTE_MS, kind=Kind.STATE, says=says)])


def _parts_apart(then: PortfolioState, now: PortfolioState) -> Iterator[str]:
    """The fields of two portfolios that differ."""
    for part in _STATE_PARTS:
        old, new = getattr(then, part), getattr(now, part)
        if old.dtype.names is None:
            if not np.array_equal(old, new, equal_nan=old.dtype.kind == "f"):
                yield part
            continue
        for name in old.dtype.names:
            exact = old[name].dtype.kind != "f"
            if not np.array_equal(old[name], new[name], equal_nan=not exact):
                yield f"{part}.{name}"


def _memory_apart(then: TraderState, now: TraderState) -> Iterator[str]:
    for name in ("carry", "forced", "next_setup", "next_fill", "next_trade"):
        if getattr(then, name) != getattr(now, name):
            yield name
    if not np.array_equal(then.was_setup, now.was_setup):
        yield "was_setup"


def _programs(journal: TradingJournal, account: Account, code_version: str) -> Callable[[int], str | None]:
    """Says for a minute which other program has stepped it."""
    sessions = journal.sessions()

    def say(minute_ms: int) -> str | None:
        then = account.code_version
        for session in sessions:
            if session.cursor_ms <= minute_ms:
                then = session.code_version
        return None if then == code_version else f"code version {then} then, {code_version} now"

    return say


# ------------------------------------------------------------------------------- complete history


def _cost(seen: _Sums, complete: _Sums, arrived: Arrived) -> Cost:
    ours = {each.trade_group_id: each for each in seen.trades}
    theirs = {each.trade_group_id: each for each in complete.trades}
    return Cost(
        bars=arrived,
        only_seen=[each for name, each in ours.items() if name not in theirs],
        only_complete=[each for name, each in theirs.items() if name not in ours],
        other_result=[
            (each, theirs[name])
            for name, each in ours.items()
            if name in theirs and theirs[name].pnl_quote != each.pnl_quote
        ],
        trades=(len(ours), len(theirs)),
        pnl_quote=(_pnl(seen.trades), _pnl(complete.trades)),
        equity_quote=(to_decimal(seen.equity_e8), to_decimal(complete.equity_e8)),
    )


def _pnl(trades: Sequence[Trade]) -> Decimal:
    return sum((each.pnl_quote for each in trades), start=Decimal(0))


def _clock(time_ms: int) -> str:
    return f"{from_ms(time_ms):%Y-%m-%d %H:%M}"
