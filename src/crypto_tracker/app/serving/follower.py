"""Follows one trading account: what grows with its age is read once, and later only what came since."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from sqlalchemy import Engine
from sqlalchemy.pool import PoolProxiedConnection

from crypto_tracker.app.serving.equity_levels import EquityLevels
from crypto_tracker.app.serving.setup_columns import SetupColumns
from crypto_tracker.app.serving.trade_columns import TradeColumns
from crypto_tracker.core.decisions import Regime
from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.money import to_e8
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS
from crypto_tracker.store.column_rows import MinuteRows
from crypto_tracker.store.control import FILE_NAME as CONTROL_FILE_NAME
from crypto_tracker.store.control import Command, ControlViews
from crypto_tracker.store.database import current_revision, open_engine, sqlite_module
from crypto_tracker.store.trading_journal import FILE_NAME
from crypto_tracker.store.trading_records import Account
from crypto_tracker.store.trading_views import NotOpened, TradingViews
from crypto_tracker.strategies.decisions import ScanBlock

RegimeSpan = tuple[int, int, int]
"""Start, end and code of a stretch of time in one fast regime."""

_ROWS_AT_ONCE = 200_000
_FIRST_LOOK_MS = 8 * DAY_MS  # how far back a first look for the last scan of a strategy goes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Followed:
    """One state of an account: everything in it was committed together.

    Attributes
    ----------
    generation : counts the states that were seen of this account and of those before it in the same place
    beginning : counts those accounts
    regimes : stretches of time outside NORMAL, in order
    newest_blocks : the last scan of every strategy that has one
    waiting : commands of people that have no answer yet and stand, in the order in which they were given
    last_command : the number of the newest command, 0 where there is none
    """

    generation: int
    beginning: int
    account: Account
    cursor_ms: int
    trades: TradeColumns
    equity: EquityLevels
    setups: SetupColumns
    regimes: tuple[RegimeSpan, ...]
    newest_blocks: Mapping[str, ScanBlock]
    waiting: tuple[Command, ...]
    last_command: int


class AccountFollower:
    """One account of a folder, whoever trades it and however often it is made anew. Threads share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reading = Lock()  # held by the one who brings it up to date
        self._records = _Place(folder / FILE_NAME)
        self._control = _Place(folder / CONTROL_FILE_NAME)
        self._seen: _Seen | None = None  # what `_now` was read from
        self._now: Followed | None = None
        self._generation = 0
        self._beginning = 0

    def refresh(self, *, wait: bool = False) -> int:
        """Take in what was committed since, and return the generation; microseconds where nothing was.

        Where another thread is just doing that, the state before stays and nobody waits; with `wait`,
        everything is taken in that was committed before this call. Raises StoreError where there is no
        account, or it was not opened to its end.
        """
        if not self._reading.acquire(blocking=wait or self._now is None):
            return self._generation
        try:
            records, control = self._account_file(), self._control.file()
            seen = _Seen(
                records=records,
                control=control,
                versions=(records.version(), None if control is None else control.version()),
            )
            if seen != self._seen:
                self._read(seen)
                self._seen = seen
        finally:
            self._reading.release()
        return self._generation

    @property
    def now(self) -> Followed:
        """The state of the last refresh; raises NotOpened where there was none, or it was forgotten since."""
        now = self._now
        if now is None:
            raise NotOpened(f"the account in {self.folder} was not read yet: refresh it first")
        return now

    @property
    def setups(self) -> SetupColumns:
        """All setups and near misses."""
        return self.now.setups

    @contextmanager
    def views(self) -> Iterator[TradingViews]:
        """The account as it stands now, one state while the block runs; it may be newer than `now`."""
        with self._account_file().engine.connect() as connection:
            yield TradingViews(connection, self.folder)

    @contextmanager
    def control(self) -> Iterator[ControlViews | None]:
        """What people told the account, one state while the block runs; None where nobody ever did."""
        file = self._control.file()
        if file is None or current_revision(file.engine) is None:
            yield None
            return
        with file.engine.connect() as connection:
            yield ControlViews(connection)

    def forget(self) -> None:
        """Let go of the files and of what was read: there is no account any more, or not for a moment."""
        with self._reading:
            self._seen = self._now = None
            self._records.let_go()
            self._control.let_go()

    def close(self) -> None:
        """Let go of the files for good."""
        self._records.close()
        self._control.close()

    def _account_file(self) -> "_File":
        file = self._records.file()
        if file is None:
            raise NotOpened(f"there is no account in {self.folder}: start it with `crypto-tracker trade`")
        return file

    def _read(self, seen: "_Seen") -> None:
        if current_revision(seen.records.engine) is None:
            raise NotOpened(
                f"the account in {self.folder} was not opened to its end: look again in a moment, and "
                "start it again if nothing has changed by then"
            )
        before = self._now if self._seen is not None and self._seen.records is seen.records else None
        known = before if self._seen is not None and self._seen.control is seen.control else None
        # A command is there before its answer is, so commands are read first.
        told = [] if known is None else list(known.waiting)
        last_command = 0 if known is None else known.last_command
        with self.control() as control:
            for number, command in [] if control is None else control.commands_since(last_command):
                told.append(command)
                last_command = number
            withdrawn = {} if control is None else control.withdrawals([each.command_id for each in told])
        with seen.records.engine.connect() as connection:
            views = TradingViews(connection, self.folder)
            account, cursor_ms = views.account(), views.cursor_ms()
            if before is None or before.account != account or before.cursor_ms > cursor_ms:
                self._beginning += 1
                before = _unread(account, self._beginning)
            now = _read_on(before, views, cursor_ms)
            answered = views.answered_among([each.command_id for each in told])
        self._generation += 1
        self._now = replace(
            now,
            generation=self._generation,
            waiting=tuple(each for each in told if each.command_id not in answered | withdrawn.keys()),
            last_command=last_command,
        )


class _Place:
    """Where a file stands, or will; it may be deleted and made anew at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._file: _File | None = None
        self._closed = False

    def file(self) -> "_File | None":
        """The file that stands there now, opened anew where it is another than before."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self.let_go()
            return None
        identity = status.st_dev, status.st_ino
        with self._lock:
            if self._closed:
                raise StoreError(f"{self._path} was let go of: this process is about to end")
            if self._file is None or self._file.identity != identity:
                before, self._file = self._file, _File(self._path, identity)
                if before is not None:
                    before.close()
            return self._file

    def let_go(self) -> None:
        """Let go of the file; who asks again opens what stands there then."""
        with self._lock:
            file, self._file = self._file, None
        if file is not None:
            file.close()

    def close(self) -> None:
        """Let go of the file for good."""
        with self._lock:
            self._closed = True
        self.let_go()


class _File:
    """An open file, with a connection that only watches: SQLite tells it whenever anybody has written."""

    def __init__(self, path: Path, identity: tuple[int, int]) -> None:
        self.identity = identity
        self.engine: Engine = open_engine(path, read_only=True)
        self._lock = Lock()
        self._watch: PoolProxiedConnection | None = self.engine.raw_connection()

    def version(self) -> Any:
        """Another value than before where somebody has written since; None once it was closed."""
        with self._lock:
            if self._watch is None:
                return None
            cursor = self._watch.cursor()
            try:
                cursor.execute("PRAGMA data_version")
                return cursor.fetchone()
            except sqlite_module().Error:
                current_revision(self.engine)  # the engine has the words for what is wrong with the file
                raise
            finally:
                cursor.close()

    def close(self) -> None:
        """Let go of it; who reads it at this moment reads on."""
        with self._lock:
            watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
        self.engine.dispose()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What a state was read from: the very files, and how often they had been written."""

    records: _File
    control: _File | None
    versions: tuple[Any, Any]


def _unread(account: Account, beginning: int) -> Followed:
    return Followed(
        generation=0,
        beginning=beginning,
        account=account,
        cursor_ms=account.start_ms,
        trades=TradeColumns(),
        equity=EquityLevels.fresh(to_e8(account.capital_quote)),
        setups=SetupColumns(),
        regimes=(),
        newest_blocks={},
        waiting=(),
        last_command=0,
    )


def _read_on(before: Followed, views: TradingViews, cursor_ms: int) -> Followed:
    """The state of the account that `views` see, by what they have more than the one before."""
    trades, equity, setups, regimes = before.trades, before.equity, before.setups, before.regimes
    while True:
        rows = views.trades_since(int(trades.number[-1]) if len(trades) else None, limit=_ROWS_AT_ONCE)
        trades = trades.extended(rows)
        if len(rows) < _ROWS_AT_ONCE:
            break
    while True:
        minutes = views.minutes_since(int(equity.time_ms[-1]) if len(equity) else None, limit=_ROWS_AT_ONCE)
        equity, regimes = equity.extended(minutes), _with_regimes(regimes, minutes)
        if len(minutes) < _ROWS_AT_ONCE:
            break
    setups = setups.extended(views.setups_since(int(setups.time_ms[-1]) if len(setups) else None))
    return replace(
        before,
        cursor_ms=cursor_ms,
        trades=trades,
        equity=equity,
        setups=setups,
        regimes=regimes,
        newest_blocks=_newest_blocks(before, views, cursor_ms),
    )


def _newest_blocks(before: Followed, views: TradingViews, cursor_ms: int) -> Mapping[str, ScanBlock]:
    found = dict(before.newest_blocks)
    for strategy in before.account.strategies:
        known = found.get(strategy)
        since_ms = cursor_ms - _FIRST_LOOK_MS if known is None else known.time_ms + 1
        block = views.newest_block(strategy, since_ms=since_ms)
        if block is not None:
            found[strategy] = block
    return found


def _with_regimes(known: tuple[RegimeSpan, ...], minutes: MinuteRows) -> tuple[RegimeSpan, ...]:
    """The stretches outside NORMAL with those of the minutes that follow them."""
    if not len(minutes):
        return known
    breaks = (np.diff(minutes.regime, prepend=-1) != 0) | (
        np.diff(minutes.time_ms, prepend=minutes.time_ms[0] - MINUTE_MS) != MINUTE_MS
    )
    starts = np.flatnonzero(breaks)
    stops = np.append(starts[1:], len(minutes.time_ms)) - 1
    found = [
        (int(minutes.time_ms[start]), int(minutes.time_ms[stop]) + MINUTE_MS, int(minutes.regime[start]))
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
        if minutes.regime[start] != Regime.NORMAL
    ]
    if known and found and known[-1][1:] == (found[0][0], found[0][2]):
        found[0] = (known[-1][0], found[0][1], found[0][2])
        known = known[:-1]
    return (*known, *found) if found else known
