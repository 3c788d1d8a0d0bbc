"""Leases: what only one process may hold at a time, such as the stream of a provider.

A lease lasts for some seconds and is renewed while it is held. Another process takes it over once it has
expired, or at once where the holder certainly is gone: it ran on this machine, since this start of it, its
number meant the same process as here (a container has numbers of its own), and that process has ended. Every
holder gets a larger token than the one before, so that who was asleep for too long finds out that the lease
is another's: a write that carries its fence is refused from then on.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.dialects.sqlite import insert

from crypto_tracker.core.errors import StoreError
from crypto_tracker.store import tables
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.reader import DATABASE_NAME

_PROCESS = uuid4().hex[:12]  # a process id is given again after a while; this is not
_SECOND_MS = 1_000
_PROCESSES = Path("/proc")
_BOOT = _PROCESSES / "sys/kernel/random/boot_id"
_SPACES = ("pid", "time")  # what decides which process a number means, and from when its start is counted
_STARTED = 22 - 3  # words after the name of the program


class LeaseLost(StoreError):
    """What was to be written under a lease came too late: somebody else holds it by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The right to write as the holder of a lease; it ends the moment another one takes the lease.

    Attributes
    ----------
    lease : the name of the lease
    token : that of the holder
    """

    lease: str
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lease, and until when if nothing more is heard of it.

    Attributes
    ----------
    host : the name of its machine, for people
    machine : where its process number means the same as here, if it equals ours
    pid, started : the number of its process, and what tells it from a later one with this number, if known
    """

    name: str
    holder: str
    host: str
    machine: str
    pid: int
    started: int | None
    token: int
    acquired_at_ms: int
    renewed_at_ms: int
    expires_at_ms: int


class Lease:
    """One lease by its name, held or not; for one thread at a time."""

    def __init__(
        self, engine: Engine, name: str, *, seconds: float, now_ms: Callable[[], int], holder: str = ""
    ) -> None:
        self._engine = engine
        self._name = name
        self._length_ms = max(int(seconds * _SECOND_MS), 1)
        self._now_ms = now_ms
        self._holder = f"{holder or name}#{_PROCESS}.{uuid4().hex[:6]}"
        self._host = socket.gethostname()
        self._machine = _machine()
        self._pid = os.getpid()
        self._token: int | None = None

    @classmethod
    @contextmanager
    def open(
        cls, home: Path, name: str, *, seconds: float, now_ms: Callable[[], int], holder: str = ""
    ) -> Iterator["Lease"]:
        """The lease `name` of a home whose market database is there; released at the end, where it is held.

        Parameters
        ----------
        seconds : it expires this long after it was acquired or last renewed
        holder : who asks, as others are told
        """
        engine = open_engine(home / DATABASE_NAME)
        try:
            lease = cls(engine, name, seconds=seconds, now_ms=now_ms, holder=holder)
            try:
                yield lease
            finally:
                lease.release()
        finally:
            engine.dispose()

    @property
    def token(self) -> int:
        """Larger than that of every holder before; raises StoreError where the lease is not held."""
        if self._token is None:
            raise StoreError(f"the lease {self._name} is not held: acquire it first")
        return self._token

    @property
    def fence(self) -> Fence:
        """What a write under this lease carries; raises StoreError where the lease is not held."""
        return Fence(lease=self._name, token=self.token)

    @property
    def is_held(self) -> bool:
        """Whether it was ours when we last asked."""
        return self._token is not None

    def acquire(self) -> Holder | None:
        """Take the lease: None where it is ours now, else who holds it."""
        with self._engine.begin() as connection:
            now_ms = self._now_ms()
            current = _read(connection, self._name)
            if current is not None and self._is_ours(current):
                self._renew(connection, now_ms)
                return None
            if current is not None and not self._is_free(current, now_ms):
                return current
            token = 1 if current is None else current.token + 1
            row = {
                "holder": self._holder,
                "host": self._host,
                "machine": self._machine,
                "pid": self._pid,
                "started": _started(self._pid),
                "token": token,
                "acquired_at_ms": now_ms,
                "renewed_at_ms": now_ms,
                "expires_at_ms": now_ms + self._length_ms,
            }
            connection.execute(
                insert(tables.leases)
                .values(name=self._name, **row)
                .on_conflict_do_update(index_elements=["name"], set_=row)
            )
        self._token = token
        return None

    def renew(self) -> bool:
        """Hold the lease for longer; False where it has become another's, and then it stays so.

        One that has expired and that nobody took is ours still.
        """
        if self._token is None:
            return False
        with self._engine.begin() as connection:
            current = _read(connection, self._name)
            ours = current is not None and self._is_ours(current)
            if ours:
                self._renew(connection, self._now_ms())
        if not ours:
            self._token = None
        return ours

    def release(self) -> None:
        """Let others have it; does nothing where it is not held."""
        if self._token is None:
            return
        with self._engine.begin() as connection:
            current = _read(connection, self._name)
            if current is not None and self._is_ours(current):
                now_ms = self._now_ms()
                connection.execute(
                    update(tables.leases)
                    .where(tables.leases.c.name == self._name)
                    .values(renewed_at_ms=now_ms, expires_at_ms=now_ms)
                )
        self._token = None

    def _renew(self, connection: Connection, now_ms: int) -> None:
        connection.execute(
            update(tables.leases)
            .where(tables.leases.c.name == self._name)
            .values(renewed_at_ms=now_ms, expires_at_ms=now_ms + self._length_ms)
        )

    def _is_ours(self, current: Holder) -> bool:
        return self._token is not None and current.token == self._token and current.holder == self._holder

    def _is_free(self, current: Holder, now_ms: int) -> bool:
        """Whether the holder let go, was silent for too long, or is gone."""
        return current.expires_at_ms <= now_ms or self._is_gone(current)

    def _is_gone(self, current: Holder) -> bool:
        """Whether the holder certainly runs no more; what cannot be seen from here may still run."""
        return _is_gone(current, self._machine)


def holder_of(engine: Engine, name: str) -> Holder | None:
    """Who holds or last held a lease; None where nobody ever did."""
    with engine.connect() as connection:
        return _read(connection, name)


def is_gone(holder: Holder) -> bool:
    """Whether the process of a holder certainly runs no more; what cannot be seen from here may still run."""
    return _is_gone(holder, _machine())


def _is_gone(current: Holder, machine: str) -> bool:
    if current.machine != machine:
        return False
    if current.pid == os.getpid():  # our own number, which an earlier process had
        return f"#{_PROCESS}." not in current.holder
    try:
        os.kill(current.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it is another user's, and there
    started = _started(current.pid)
    return None not in {started, current.started} and started != current.started


def check_fence(connection: Connection, fence: Fence | None) -> None:
    """Raise LeaseLost where another one has taken the lease, for a write inside the same transaction.

    A lease that has expired and that nobody took is the holder's still. None is no lease, and always good.
    """
    if fence is None:
        return
    current = _read(connection, fence.lease)
    if current is None or current.token != fence.token:
        taken = "nobody holds it" if current is None else f"{current.holder} on {current.host} has it by now"
        raise LeaseLost(f"nothing was written: the lease {fence.lease} was lost, {taken}")


def _read(connection: Connection, name: str) -> Holder | None:
    row = connection.execute(select(tables.leases).where(tables.leases.c.name == name)).mappings().first()
    return None if row is None else Holder(**row)


def _machine() -> str:
    """Tells apart whose process numbers mean different processes: machines, their starts, and containers.

    Machines may share a name, and the containers of one machine too. Where the system does not say more, the
    name has to do.
    """
    try:
        words = [f"boot {_BOOT.read_text().strip()}"]
        for kind in _SPACES:
            space = _PROCESSES / "self/ns" / kind
            if kind == "pid" or space.exists():  # old systems have one clock for all
                words.append(f"{kind} {space.stat().st_ino}")
    except OSError:
        return f"host {socket.gethostname()}"
    return " ".join(words)


def _started(pid: int) -> int | None:
    """When a process started, in ticks since the machine did; None where that cannot be read."""
    try:
        if (_PROCESSES / "self").readlink() != Path(str(os.getpid())):
            return None  # the numbers that are shown there are those of another container
        line = (_PROCESSES / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name of the program stands in brackets and may hold anything; the time is the 22nd word of all.
    return int(line.rpartition(")")[2].split()[_STARTED])
