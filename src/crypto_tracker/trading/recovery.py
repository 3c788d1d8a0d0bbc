"""Starting is recovering: the trader as the journal left it."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from sqlalchemy import Connection

from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.errors import LedgerMismatch, StoreError
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.store.books import BookSource
from crypto_tracker.store.feed import UNKNOWN, MinuteFeed
from crypto_tracker.store.reconcile import Numbers, mismatch
from crypto_tracker.store.trading_journal import TradingJournal
from crypto_tracker.store.trading_records import REFERENCE, TRADED, Account
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.trading.engine import People, Trader
from crypto_tracker.trading.medians import RangeMedians
from crypto_tracker.trading.seen import SeenRows, bars_digest, decode_cells, decode_revisions, decode_rows
from crypto_tracker.trading.setting import setting
from crypto_tracker.trading.state import TraderState
from crypto_tracker.trading.window import Needs, SeenWindow


def recover(
    journal: TradingJournal,
    feed: MinuteFeed,
    strategies: Mapping[str, Strategy],
    people: People,
    books: BookSource | None = None,
) -> Trader:
    """The trader of an account that was opened, ready for the minute at its cursor.

    Order books that were seen are not read again: what they brought is in the state, and no minute before the
    cursor is stepped once more.

    Raises StoreError where the ledger does not add up, or what was seen can not be had any more, and
    ConfigError where the account's configuration or strategies can not.
    """
    account = journal.account()
    if account is None:
        raise StoreError("the account was never opened: start it with `crypto-tracker trade`")
    row = journal.trader()
    state = TraderState.from_bytes(row.state)
    if (state.cursor_ms, state.version) != (row.cursor_ms, row.version):
        raise StoreError(
            f"the trader's state is that of {from_ms(state.cursor_ms):%Y-%m-%d %H:%M} UTC under "
            f"{state.version}, its row in `trader` says {from_ms(row.cursor_ms):%Y-%m-%d %H:%M} UTC under "
            f"{row.version}: "
            "restore the account's trading.db from a copy"
        )
    with (
        journal.reading() as connection,
        journal.reading() as beside,
        ThreadPoolExecutor(1, thread_name_prefix="ledger") as auditor,
    ):
        # SQLite goes through the ledger while the window is filled.
        audited = auditor.submit(_mismatch, connection, beside, account, state)
        try:
            active = setting(journal.configuration(row.version), account, strategies)
            needs = Needs.of(
                [entry.strategy for entry in active.entries],
                active.configuration.protection.slow_regime,
                has_reference=account.reference is not None,
            )
            window = SeenWindow(account.symbols, account.reference, needs)
            _fill(window, needs, journal, feed, account, state.cursor_ms)
        finally:
            # A ledger that does not add up is the first thing to say, whatever else is wrong then.
            wrong = audited.result()
            if wrong is not None:
                raise LedgerMismatch(wrong)
    _verify_records(journal, state.cursor_ms)
    day_ms = state.cursor_ms - state.cursor_ms % DAY_MS
    medians = {
        symbol: np.nan if median is None else median
        for symbol, _, median in journal.medians(day_ms, day_ms + DAY_MS)
    }
    return Trader(
        account=account,
        strategies=strategies,
        active=active,
        versions=journal.versions(),
        state=state,
        window=window,
        medians=RangeMedians(account.symbols, day_ms, medians),
        feed=feed,
        people=people,
        audit=ledger_audit(journal, account),
        books=books,
    )


def ledger_audit(journal: TradingJournal, account: Account) -> Callable[[TraderState], str | None]:
    """Holds what was committed against a state; gives the sentence that says what does not add up."""

    def wrong(state: TraderState) -> str | None:
        with journal.reading() as connection, journal.reading() as beside:
            return _mismatch(connection, beside, account, state)

    return wrong


def _mismatch(connection: Connection, beside: Connection, account: Account, state: TraderState) -> str | None:
    return mismatch(
        connection,
        beside=beside,
        account=account,
        portfolio=state.portfolio,
        cursor_ms=state.cursor_ms,
        version=state.version,
        numbers=Numbers(state.next_setup, state.next_fill, state.next_trade),
    )


def _verify_records(journal: TradingJournal, cursor_ms: int) -> None:
    """Raise LedgerMismatch where a row of the time since the last checkpoint is not what was written."""
    checkpoint = journal.checkpoint_at_or_before(cursor_ms - MINUTE_MS)
    if checkpoint is None:
        return
    for time_ms, stored, recomputed in journal.recomputed_digests(checkpoint.time_ms, cursor_ms):
        if stored != recomputed:
            raise LedgerMismatch(
                f"the records of the minute {from_ms(time_ms):%Y-%m-%d %H:%M} UTC are not those that were "
                f"written: their digest is {recomputed.hex()}, `minutes` says {stored.hex()}: restore the "
                "account's trading.db from a copy"
            )


def _fill(
    window: SeenWindow,
    needs: Needs,
    journal: TradingJournal,
    feed: MinuteFeed,
    account: Account,
    cursor_ms: int,
) -> None:
    """Put everything into the window that may still be looked at."""
    history = {(block.part, block.timeframe): decode_rows(block.block) for block in journal.history()}
    for part in window.parts:
        for timeframe in (Timeframe.M1, *needs.coarse(part)):
            start_ms = needs.start_ms(part, timeframe, cursor_ms)
            held = _from(history.get((part, timeframe)), start_ms)
            if held is not None:
                window.series(part, timeframe).extend(held)
        for timeframe in needs.coarse(part):
            start_ms = max(needs.start_ms(part, timeframe, cursor_ms), timeframe.floor(account.start_ms))
            blocks = journal.seen_rows(part, timeframe, start_ms, cursor_ms)
            if blocks:
                window.series(part, timeframe).extend(_together([decode_rows(each.block) for each in blocks]))
    for block in journal.healed(account.start_ms, cursor_ms):
        window.series(block.part, block.timeframe).set_cells(decode_cells(block.block))
    starts = {
        part: max(needs.start_ms(part, Timeframe.M1, cursor_ms), account.start_ms) for part in window.parts
    }
    first_ms = min(starts.values())
    if first_ms >= cursor_ms:
        return
    seen = journal.minutes(first_ms, cursor_ms)
    revisions = np.stack([decode_revisions(each) for each in seen.seen])
    if account.reference is not None:
        # Of the long time for which only the reference is looked at, only its minutes are read.
        others = np.arange(revisions.shape[1]) != account.watched.index(account.reference)
        early = seen.time_ms < starts[TRADED]
        revisions[np.ix_(early, others)] = UNKNOWN
    panel = feed.as_seen(first_ms, revisions)
    rows = SeenRows.of_panel(panel)
    _verify(rows, seen.bars_digest, seen.time_ms, starts[TRADED])
    columns = {TRADED: list(range(len(account.symbols)))}
    if account.reference is not None:
        columns[REFERENCE] = [account.watched.index(account.reference)]
    for part, start_ms in starts.items():
        cut = _from(rows, start_ms)
        if cut is not None:
            window.series(part, Timeframe.M1).extend(
                SeenRows(
                    start_ms=cut.start_ms,
                    step_ms=MINUTE_MS,
                    values=cut.values[:, :, columns[part]],
                    covered=cut.covered[:, columns[part]],
                )
            )


def _from(rows: SeenRows | None, start_ms: int) -> SeenRows | None:
    """The rows that open at or after `start_ms`, None where there are none."""
    if rows is None:
        return None
    first = max(-(-(start_ms - rows.start_ms) // rows.step_ms), 0)
    if first >= rows.values.shape[1]:
        return None
    return SeenRows(
        start_ms=rows.start_ms + first * rows.step_ms,
        step_ms=rows.step_ms,
        values=rows.values[:, first:],
        covered=rows.covered[first:],
    )


def _together(rows: list[SeenRows]) -> SeenRows:
    """Rows that follow one another as one; raises StoreError where one is missing."""
    for before, after in pairwise(rows):
        if after.start_ms != before.start_ms + before.step_ms * before.values.shape[1]:
            raise StoreError(
                f"`seen_rows` has a hole before {from_ms(after.start_ms):%Y-%m-%d %H:%M} UTC: "
                "restore the account's trading.db from a copy"
            )
    return SeenRows(
        start_ms=rows[0].start_ms,
        step_ms=rows[0].step_ms,
        values=np.concatenate([each.values for each in rows], axis=1),
        covered=np.concatenate([each.covered for each in rows]),
    )


def _verify(rows: SeenRows, digests: list[bytes], times: IntArray, from_time_ms: int) -> None:
    """Raise StoreError where the store no longer holds the values that were seen."""
    for index in np.flatnonzero(times >= from_time_ms).tolist():
        if bars_digest(rows.values[:, index]) != digests[index]:
            raise StoreError(
                f"the bars of {from_ms(times[index]):%Y-%m-%d %H:%M} UTC are no longer those that the "
                "account has traded on: restore market.db and the bars folder from a copy, or see `parity`"
            )
