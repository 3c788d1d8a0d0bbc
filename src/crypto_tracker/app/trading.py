"""Joins the parts of paper trading: account, store, people and clock, and the loop that steps and commits."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Protocol

from crypto_tracker import __version__
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, from_ms, to_ms
from crypto_tracker.store.books import BookStore, KeptBooks
from crypto_tracker.store.choice import Choice
from crypto_tracker.store.control import FILE_NAME as CONTROL_FILE
from crypto_tracker.store.control import LOCK_NAME as CONTROL_LOCK
from crypto_tracker.store.control import PATIENT_MS, Command, ControlStore
from crypto_tracker.store.database import writer_lock
from crypto_tracker.store.feed import MinuteFeed
from crypto_tracker.store.trading import LOCK_NAME, TradingStore
from crypto_tracker.store.trading_journal import FILE_NAME as TRADING_FILE
from crypto_tracker.store.trading_journal import TradingJournal
from crypto_tracker.store.trading_records import Account, ConfigurationRow, StepRecord
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.trading.commands import is_due
from crypto_tracker.trading.engine import Trader
from crypto_tracker.trading.opening import capital_of, opening
from crypto_tracker.trading.pace import AT_ONCE, Pace, Patience
from crypto_tracker.trading.recovery import recover
from crypto_tracker.trading.setting import configuration_row, setting, stored_configuration
from crypto_tracker.trading.window import Needs

PAPER, REPLAY = "paper", "replay"
_NEVER_LATE = 2**62  # the clock of a replay at full speed: every minute has closed long ago
_LOOK_SECONDS = 0.2  # between two looks at the store while nothing is due
_PARITY_AFTER_MS = 5 * MINUTE_MS  # after the end of a UTC day
_FOUND = 3  # exit code of a check that found something


class Stop:
    """Says whether the loop should end after the minute that it is in."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self) -> None:
        """End after this minute."""
        self.asked = True


class Clock(Protocol):
    """The clock that paces the trader: milliseconds of market time."""

    def now_ms(self) -> int:
        """How late it is on the market."""
        ...


class WallClock:
    """Real time."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    def now_ms(self) -> int:
        """The present moment."""
        return to_ms(self._now())


class ReplayClock:
    """Market time that runs `speed` times as fast as real time, from the minute at which a replay goes on."""

    def __init__(self, start_ms: int, speed: float) -> None:
        self._start_ms = start_ms
        self._speed = speed
        self._began = monotonic()

    def now_ms(self) -> int:
        """The moment that the replay has come to."""
        return self._start_ms + int((monotonic() - self._began) * 1_000 * self._speed)


class FullSpeed:
    """A clock for replays that wait for nothing but bars."""

    def now_ms(self) -> int:
        """Later than any bar."""
        return _NEVER_LATE


class Alarmed(Protocol):
    """Is told what a person should know."""

    def alarm(self, sentence: str) -> None:
        """Something that a person should know."""
        ...


class Watcher(Alarmed, Protocol):
    """Is told what the loop does."""

    def stepped(self, record: StepRecord, seconds: float) -> None:
        """A minute was stepped and committed, in so many seconds."""
        ...

    def waiting(self, minute_ms: int, now_ms: int) -> None:
        """Nothing is due: the minute `minute_ms` is waited for."""
        ...


class Orders:
    """What people have told an account through its control schema, as the trader asks for it."""

    def __init__(self, control: ControlStore, answered: set[str]) -> None:
        self._control = control
        self._answered = answered
        self._open: list[Command] | None = None
        self._due: Sequence[Command] = ()

    @contextmanager
    def minute(self, minute_ms: int) -> Iterator[None]:
        """Step and commit a minute in the block: what is due there is answered, and withdrawn no more.

        Where nothing is due, nothing is held. What is told meanwhile waits for the next minute.
        """
        with ExitStack() as held:
            self._due = self._due_at(minute_ms)
            if self._due:
                held.enter_context(self._control.settling(wait_ms=PATIENT_MS))
                self._due = self._due_at(minute_ms)  # one may have been withdrawn until now
            yield

    def _due_at(self, minute_ms: int) -> Sequence[Command]:
        if self._open is None or self._control.changed():
            told = self._control.standing()
            self._open = [each for each in told if each.command_id not in self._answered]
        return [each for each in self._open if is_due(each, minute_ms)]

    def commands(self) -> Sequence[Command]:
        """Commands without an answer that are due at the minute, in their order."""
        return self._due

    def configuration(self, version: str) -> ConfigurationRow | None:
        """A configuration that was offered."""
        return self._control.configuration(version)

    def answer(self, record: StepRecord) -> None:
        """Take note of the answers that a committed step gave."""
        if record.results:
            self._answered.update(result.command_id for result in record.results)
            self._open = [each for each in self._open or () if each.command_id not in self._answered]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an account is to be, if it has to be opened first.

    `start_ms` and `end_ms` span a replay; paper trading begins at the present minute and has no end.
    """

    kind: str
    choice: Choice
    start_ms: int
    end_ms: int | None


@dataclass(slots=True, kw_only=True)
class Session:
    """One process that trades an account."""

    account: Account
    trader: Trader
    store: TradingStore
    feed: MinuteFeed
    orders: Orders
    opened: bool  # whether this session opened the account
    stop: Stop = field(default_factory=Stop)

    def run(self, clock: Clock, patience: Patience, watcher: Watcher, *, now: Callable[[], datetime]) -> None:
        """Step every minute that is due, until the end of a replay or until asked to stop.

        A minute that was stepped is committed before the next one begins.
        """
        pace = Pace(self.feed, patience)
        end_ms = self.account.end_ms
        while not self.stop.asked and (end_ms is None or self.trader.state.cursor_ms < end_ms):
            minute_ms, now_ms = self.trader.state.cursor_ms, clock.now_ms()
            if not pace.is_due(minute_ms, now_ms):
                watcher.waiting(minute_ms, now_ms)
                sleep(_LOOK_SECONDS)
                continue
            began = monotonic()
            with self.orders.minute(minute_ms):
                record = self.trader.step()
                self.store.commit(record, recorded_at_ms=to_ms(now()))
            self.orders.answer(record)
            watcher.stepped(record, monotonic() - began)


@contextmanager
def trading_session(
    home: Path,
    folder: Path,
    strategies: Mapping[str, Strategy],
    configuration: Configuration,
    wish: Callable[[], Wish],
    *,
    now: Callable[[], datetime],
    wait_ms: int,
    durable: bool,
) -> Iterator[Session]:
    """Hold an account, open it where there is none, recover its trader, and close all of it at the end.

    `wish` is asked only where the account must be opened; `durable` says whether a minute is on the disk
    before the next one begins, which replays do without. Raises StoreError where another process trades the
    account or where its ledger does not add up.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as closing:
        if made:
            closing.callback(_leave_nothing_of_what_was_not_opened, folder)
        store = closing.enter_context(TradingStore.open(folder, wait_ms=wait_ms, durable=durable))
        account = store.journal.account()
        fresh = account is None
        if account is None:
            account = _open(home, store, strategies, configuration, wish(), now_ms=to_ms(now()))
        history = history_of(store.journal, strategies)
        feed = closing.enter_context(MinuteFeed.open(home, _watched(account), history=history))
        control = closing.enter_context(ControlStore.open(folder, busy_timeout_ms=PATIENT_MS))
        orders = Orders(control, store.journal.answered_commands())
        books = KeptBooks(BookStore(home), _watched(account))
        trader = recover(store.journal, feed, strategies, orders, books)
        number = store.begin_session(
            started_at_ms=to_ms(now()), pid=os.getpid(), host=socket.gethostname(), code_version=__version__
        )
        closing.callback(lambda: store.end_session(number, to_ms(now())))
        yield Session(account=account, trader=trader, store=store, feed=feed, orders=orders, opened=fresh)


def history_of(journal: TradingJournal, strategies: Mapping[str, Strategy]) -> str:
    """Whose bars stand in for those that an account's providers have not fetched; "" for nobody's."""
    row = journal.configuration(journal.trader().version)
    return stored_configuration(row, strategies).market_data.history


def forget_replay(folder: Path) -> None:
    """Delete the records of a replay that nobody trades now.

    Raises UsageError for any other account, and StoreError where somebody trades it.
    """
    account = _account_in(folder)
    if account is None:
        return
    if account.kind != REPLAY:
        raise UsageError(
            f"the account {folder.name} is one for {account.kind}, whose records are not forgotten: "
            "choose another --account, or move its folder away by hand"
        )
    with TradingStore.open(folder, wait_ms=1_000):
        pass  # else it says who trades it
    with writer_lock(folder / LOCK_NAME, what=f"the account {folder.name}", wait_ms=1_000):
        _delete_records(folder)


def _account_in(folder: Path) -> Account | None:
    """The account of a folder, None where none was opened there."""
    if not (folder / TRADING_FILE).is_file():
        return None
    with TradingJournal.open(folder) as journal:
        return journal.account()


def _delete_records(folder: Path) -> None:
    for name in (TRADING_FILE, CONTROL_FILE):
        for suffix in ("", "-wal", "-shm"):
            (folder / f"{name}{suffix}").unlink(missing_ok=True)
    (folder / CONTROL_LOCK).unlink(missing_ok=True)


def _leave_nothing_of_what_was_not_opened(folder: Path) -> None:
    """Remove a folder that was made for an account which could not be opened."""
    if _account_in(folder) is None:
        _delete_records(folder)
        (folder / LOCK_NAME).unlink(missing_ok=True)
        folder.rmdir()
        if not any(folder.parent.iterdir()):
            folder.parent.rmdir()


def patience_of(account: Account, configuration: Configuration) -> Patience:
    """How long bars are waited for: as configured on real time, not at all in a replay."""
    if account.kind == REPLAY:
        return AT_ONCE
    engine = configuration.engine
    return Patience(
        grace_ms=round(engine.grace_seconds * 1_000), outage_ms=round(engine.outage_seconds * 1_000)
    )


class DailyParity:
    """Starts `parity` for every UTC day that is over, in a process of its own, and tells what it found.

    The check keeps its outcome itself; the trader neither waits for it nor shares anything with it.
    """

    def __init__(self, home: Path, name: str, account: Account) -> None:
        self._home = home
        self._name = name
        self._day_ms = account.start_ms - account.start_ms % DAY_MS  # the next day to check
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def checking(self) -> bool:
        """Whether a check runs, or has ended and was not looked at."""
        return self._process is not None

    def begin_at(self, cursor_ms: int) -> None:
        """Leave out the days that were over when this process began: they were checked, or are long past."""
        self._day_ms = max(self._day_ms, cursor_ms - cursor_ms % DAY_MS)

    def look(self, cursor_ms: int, watcher: "Alarmed") -> None:
        """Start or end a check; `cursor_ms` is the minute that the account has come to."""
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._process = None
            if code:
                told = "found differences" if code == _FOUND else f"failed (exit code {code})"
                day_ms = self._day_ms - DAY_MS
                watcher.alarm(
                    f"parity of {from_ms(day_ms):%Y-%m-%d} {told}: run `crypto-tracker parity "
                    f"--account {self._name} --timerange {_day_span(day_ms)}`"
                )
        if cursor_ms >= self._day_ms + DAY_MS + _PARITY_AFTER_MS:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                [
                    sys.executable, "-P", "-m", "crypto_tracker", "--home", str(self._home),
                    "parity", "--account", self._name, "--timerange", _day_span(self._day_ms), "--json",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            self._day_ms += DAY_MS

    def close(self) -> None:
        """End a check that still runs."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def _day_span(day_ms: int) -> str:
    return f"{from_ms(day_ms):%Y%m%d}-{from_ms(day_ms + DAY_MS):%Y%m%d}"


def _open(
    home: Path,
    store: TradingStore,
    strategies: Mapping[str, Strategy],
    configuration: Configuration,
    wish: Wish,
    *,
    now_ms: int,
) -> Account:
    names = configuration.trading.strategies
    if not names:
        raise UsageError("trading.strategies is empty: name at least one strategy")
    account = Account(
        kind=wish.kind,
        symbols=tuple(sorted(wish.choice.symbols)),
        reference=wish.choice.reference_symbol,
        providers=dict(wish.choice.provider_of),
        strategies=tuple(names),
        capital_quote=capital_of(configuration.trading.capital_quote),
        start_ms=wish.start_ms,
        end_ms=wish.end_ms,
        created_at_ms=now_ms,
        code_version=__version__,
    )
    row = configuration_row(configuration)
    active = setting(row, account, strategies)
    if active.walks_books and account.end_ms is not None:
        _refuse_without_books(home, account, active.book_lead_ms)
    needs = Needs.of(
        [entry.strategy for entry in active.entries],
        configuration.protection.slow_regime,
        has_reference=account.reference is not None,
    )
    with MinuteFeed.open(home, _watched(account), history=configuration.market_data.history) as feed:
        store.create(
            opening(account, row, needs=needs, protection=active.rules.protection, source=feed.source)
        )
    return account


def _refuse_without_books(home: Path, account: Account, lead_ms: int) -> None:
    """Raise DataError where no order book of a replay's symbols lies in its span, as a backtest does."""
    wanted = {(account.providers[symbol], symbol) for symbol in account.symbols}
    first_ms = account.start_ms - lead_ms
    if not any(
        (each.provider, each.symbol) in wanted
        and each.last_ms >= first_ms
        and (account.end_ms is None or each.first_ms < account.end_ms)
        for each in BookStore(home).series()
    ):
        raise DataError(
            "fills.source is book, and no order book of these symbols and their providers is recorded in "
            "the span: bring some with import-books, or set fills.source to table"
        )


def _watched(account: Account) -> dict[Symbol, str]:
    return {symbol: account.providers[symbol] for symbol in account.watched}
