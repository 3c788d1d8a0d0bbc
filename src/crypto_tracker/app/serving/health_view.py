"""How every part is, the worst first: traders, collectors, bars, files, this server and the machine.

Each part says in a sentence how it is, and where something is wrong what helps. What cannot be read is a part
that fails, never an error of the whole.
"""

import os
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from crypto_tracker.app.accounts import ACCOUNTS_FOLDER, account_place
from crypto_tracker.app.serving.bars_part import bar_parts, collector_part
from crypto_tracker.app.serving.collectors_view import collectors_view
from crypto_tracker.app.serving.data_view import Newest, newest_bars
from crypto_tracker.app.serving.files_part import file_parts, files_of, written_bytes
from crypto_tracker.app.serving.kept import Kept
from crypto_tracker.app.serving.trader_part import duration, trader_parts
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.errors import ConfigError, CryptoTrackerError, StoreError
from crypto_tracker.core.timeframes import Timeframe, from_ms
from crypto_tracker.desk.views.system import Collectors, FileItem, Health, Machine, Part, ProcessItem, State
from crypto_tracker.desk.web.problems import without_paths
from crypto_tracker.store.reader import DATABASE_NAME
from crypto_tracker.store.trading_journal import FILE_NAME
from crypto_tracker.store.trading_views import TradingViews
from crypto_tracker.strategies.base import Strategy

HEALTH_SECONDS = 5.0
"""All parts are looked at at most so often."""
PATIENCE_SECONDS = 0.5
"""Who asks waits so long for a newer answer; parts that take longer to look at are served as they were."""
FILES_SECONDS = 120.0
"""Folders are measured at most so often: there may be many thousand files."""

_BAD_FIRST: tuple[State, ...] = ("failing", "degraded", "ok", "off")
_MEMORY_FULL = 0.95  # of the machine
_SERVER_BYTES = 1_500_000_000  # a server that needs more than this is told of

Load = Callable[[], tuple[Configuration, Mapping[str, Strategy]]]


class KeptHealth:
    """The health of a home, as it was some seconds ago.

    Parameters
    ----------
    load : reads the configuration of the home and finds the strategies that are installed
    started_at_ms, code_version : of this server
    """

    def __init__(
        self, home: Path, load: Load, now_ms: Callable[[], int], *, started_at_ms: int, code_version: str
    ) -> None:
        self._home = home
        self._load = load
        self._now_ms = now_ms
        self._started_at_ms = started_at_ms
        self._code_version = code_version
        self._files = Kept(lambda: files_of(home), seconds=FILES_SECONDS)
        self._health = Kept(self._make, seconds=HEALTH_SECONDS)
        self._collectors = Kept(self._look_at_collectors, seconds=HEALTH_SECONDS)
        self._processor = _Processor()

    def view(self) -> Health:
        """How every part is."""
        return self._health.get(patience=PATIENCE_SECONDS)

    def collectors(self) -> Collectors:
        """Who keeps bars up to date."""
        return self._collectors.get(patience=PATIENCE_SECONDS)

    def _look_at_collectors(self) -> Collectors:
        seconds = self._load()[0].market_data.collector.lease_seconds
        return collectors_view(self._home, seconds, self._now_ms())

    def _make(self) -> Health:
        return health_view(
            self._home,
            self._load,
            self._files.get(),
            now_ms=self._now_ms(),
            started_at_ms=self._started_at_ms,
            code_version=self._code_version,
            busy=self._processor.busy(),
        )


class _Processor:
    """How busy the machine is, from one look to the next."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def busy(self) -> float | None:
        """Share of the time since the last look in which it worked; None where no time has passed."""
        now, before = psutil.cpu_times(), self._before
        self._before = now
        whole = sum(now) - sum(before)
        idle = now.idle - before.idle + getattr(now, "iowait", 0.0) - getattr(before, "iowait", 0.0)
        return min(max(1.0 - idle / whole, 0.0), 1.0) if whole > 0.0 else None


def health_view(
    home: Path,
    load: Load,
    files: list[FileItem],
    *,
    now_ms: int,
    started_at_ms: int,
    code_version: str,
    busy: float | None = None,
) -> Health:
    """How every part is now.

    Parameters
    ----------
    files : those of the home, as they were measured
    busy : share of the time in which the processors worked
    """
    machine = _machine(home, busy)
    found = _Found()
    found.processes.append(_this_process(started_at_ms, code_version))
    try:
        configuration, strategies = load()
    except ConfigError as error:
        found.fails(
            "configuration",
            f"{without_paths(str(error))}.",
            "Mend the file; what runs goes on as it was started",
        )
        for name in _account_names(home):
            _look_whether_readable(found, home, name)
    else:
        for name in _account_names(home):
            _look_at_account(found, home, name, strategies, now_ms)
        _look_at_bars(found, home, configuration, now_ms)
    parts = [
        *found.parts,
        *file_parts(home, files, free_bytes=machine.disk_free_bytes, used=machine.disk),
        *_server_and_machine(machine, now_ms - started_at_ms, started_at_ms),
    ]
    parts.sort(key=lambda part: _BAD_FIRST.index(part.state))
    return Health(
        state=parts[0].state,
        now_ms=now_ms,
        code_version=code_version,
        started_at_ms=started_at_ms,
        parts=parts,
        machine=machine,
        processes=found.processes,
        files=files,
        clients=0,
    )


@dataclass(slots=True)
class _Found:
    """What was found so far.

    `live` are the timeframes of running paper accounts by provider, `kinds` those of all accounts.
    """

    parts: list[Part] = field(default_factory=list)
    processes: list[ProcessItem] = field(default_factory=list)
    live: dict[str, set[Timeframe]] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)

    def fails(self, name: str, sentence: str, advice: str | None) -> None:
        """Note a part that fails."""
        self.parts.append(Part(name=name, state="failing", sentence=sentence, advice=advice, since_ms=None))

    def unreadable(self, name: str, error: CryptoTrackerError) -> None:
        """Note an account that the list of accounts leaves out."""
        self.fails(
            f"trader {name}",
            f"It cannot be read: {without_paths(str(error))}.",
            f"Put back a copy of the folder {ACCOUNTS_FOLDER}/{name}, or take the folder away",
        )


def _account_names(home: Path) -> list[str]:
    """Every account that was opened, also where it cannot be read."""
    return sorted(path.parent.name for path in (home / ACCOUNTS_FOLDER).glob(f"*/{FILE_NAME}"))


def _look_whether_readable(found: _Found, home: Path, name: str) -> None:
    """Of an account of which no more can be said while the configuration is wrong."""
    try:
        with TradingViews.open(account_place(home, name).folder) as views:
            views.account()
    except CryptoTrackerError as error:
        found.unreadable(name, error)


def _look_at_account(
    found: _Found, home: Path, name: str, strategies: Mapping[str, Strategy], now_ms: int
) -> None:
    try:
        place = account_place(home, name)
        with TradingViews.open(place.folder) as views:
            account, sessions = views.account(), views.sessions(limit=1)
        found.parts += trader_parts(home, name, strategies, now_ms)
    except CryptoTrackerError as error:
        found.unreadable(name, error)
        return
    found.processes += [
        ProcessItem(
            name=f"trader {name}",
            pid=session.pid,
            host=session.host,
            running=place.running,
            started_at_ms=session.started_at_ms,
            ended_at_ms=session.ended_at_ms,
            code_version=session.code_version,
        )
        for session in sessions
    ]
    found.kinds.add("replay" if account.end_ms is not None else "paper")
    if place.running and account.end_ms is None:
        scanned = {strategies[each].timeframe for each in account.strategies if each in strategies}
        for provider in set(account.providers.values()):
            found.live.setdefault(provider, set()).update(scanned)


def _look_at_bars(found: _Found, home: Path, configuration: Configuration, now_ms: int) -> None:
    """Every collector, and how old the bars are that somebody collects or trades on."""
    if not (home / DATABASE_NAME).is_file():
        return
    try:
        told = collectors_view(home, configuration.market_data.collector.lease_seconds, now_ms).items
        newest = newest_bars(home)
    except StoreError as error:
        found.fails("bars", f"They cannot be read: {without_paths(str(error))}.", None)
        return
    for collector in told:
        found.parts.append(collector_part(collector))
        if collector.state != "stopped":
            found.live.setdefault(collector.provider, set())
    for provider in sorted(found.live.keys() - {collector.provider for collector in told}):
        found.fails(
            f"collector {provider}",
            f"An account trades on bars of {provider}, and nobody collects them.",
            "Start one: `crypto-tracker collect`",
        )
    for provider, timeframes in sorted(found.live.items()):
        found.parts += bar_parts(newest, [provider], {Timeframe.M1, *timeframes}, now_ms)
    if not found.live and any(newest.values()):
        found.parts.append(_kept_bars(newest, found.kinds, now_ms))


def _kept_bars(newest: Newest, kinds: Collection[str], now_ms: int) -> Part:
    """Bars that nobody keeps up to date: how old they are matters only where somebody trades on real time."""
    newest_ms = max(max(ends.values()) for ends in newest.values() if ends)
    if set(kinds) == {"replay"}:
        until = f"{from_ms(newest_ms):%Y-%m-%d %H:%M} UTC"
        sentence, advice = f"They are stored until {until}; replays need no newer ones.", None
    else:
        age = duration(max(now_ms - newest_ms, 0))
        sentence = f"Nobody keeps bars up to date; the newest closed {age} ago."
        advice = "To trade on paper, start `crypto-tracker up`"
    return Part(name="bars", state="off", sentence=sentence, advice=advice, since_ms=newest_ms)


def _server_and_machine(machine: Machine, runs_ms: int, started_at_ms: int) -> list[Part]:
    large = machine.process_memory_bytes > _SERVER_BYTES
    full = machine.memory is not None and machine.memory > _MEMORY_FULL
    used = "" if machine.memory is None else f"{100 * machine.memory:.0f} % of its memory is used"
    busy = "" if machine.cpu is None else f", its {machine.cores} cores are {100 * machine.cpu:.0f} % busy"
    return [
        Part(
            name="web server",
            state="degraded" if large else "ok",
            sentence=f"It has answered for {duration(max(runs_ms, 0))}, with "
            f"{written_bytes(machine.process_memory_bytes)} of memory.",
            advice="Start it again, and tell what was open in it" if large else None,
            since_ms=started_at_ms,
        ),
        Part(
            name="machine",
            state="degraded" if full else "ok",
            sentence=f"{used}{busy}.",
            advice="End what needs much memory: processes may be killed for it" if full else None,
            since_ms=None,
        ),
    ]


def _machine(home: Path, busy: float | None) -> Machine:
    memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(home))
    return Machine(
        cpu=busy,
        cores=psutil.cpu_count() or 1,
        memory=memory.percent / 100.0,
        memory_bytes=memory.total,
        disk=disk.percent / 100.0,
        disk_free_bytes=disk.free,
        process_memory_bytes=psutil.Process().memory_info().rss,
    )


def _this_process(started_at_ms: int, code_version: str) -> ProcessItem:
    return ProcessItem(
        name="web server",
        pid=os.getpid(),
        host=socket.gethostname(),
        running=True,
        started_at_ms=started_at_ms,
        ended_at_ms=None,
        code_version=code_version,
    )
