"""Keeps services running as processes of their own: starts them again when they end, ends them together."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import sleep

from crypto_tracker.core.errors import CryptoTrackerError

PARENT_VARIABLE = "CRYPTO_TRACKER_PARENT"
"""Tells a service whose child it is; without that parent it ends."""

ENDED_FOR_GOOD = 70
"""How a service ends whose task cannot be done, whenever it is started again; the supervisor fails with 1."""

_FOR_A_PERSON = {2: "its configuration is wrong", 3: "its records do not add up"}
_PARENT_LOOK_SECONDS = 0.5
_LINE_BYTES = 2**20

Tell = Callable[[str, str], None]
"""Is told what a service, by its name, says, or what is said of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process to keep running.

    Attributes
    ----------
    arguments : the command line, its program first
    waits_for : why it may not start yet, None once it may; asked again and again before its first start
    once : whether it is done when it ends with exit code 0, rather than started again
    """

    name: str
    arguments: tuple[str, ...]
    waits_for: Callable[[], str | None] = lambda: None
    once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the supervisor waits, in seconds.

    Attributes
    ----------
    backoff, backoff_max : before the first restart; doubles with each one, up to the maximum
    stable : a service that ran for longer starts again after the first wait
    look : between two looks whether a service may start
    end : for a service that was asked to end, before it is killed
    """

    backoff: float = 1.0
    backoff_max: float = 60.0
    stable: float = 60.0
    look: float = 0.5
    end: float = 30.0


class ServiceEnded(CryptoTrackerError):
    """A service ended for a reason that only a person can mend; `code` is its exit code."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


async def supervise(
    services: Sequence[Service],
    environment: Mapping[str, str],
    tell: Tell,
    stop: asyncio.Event,
    patience: Patience,
) -> None:
    """Keep all services running until `stop` is set, then end them.

    A service that ends by itself is started again, after waits that grow, unless it is done. Raises
    ServiceEnded where one ends with an exit code that says that starting again is of no use; the others are
    ended first.
    """
    inherited = {**environment, PARENT_VARIABLE: str(os.getpid())}
    ended: list[ServiceEnded] = []

    async def keep(service: Service) -> None:
        try:
            await _keep(service, inherited, tell, stop, patience)
        except ServiceEnded as error:
            ended.append(error)
            stop.set()

    async with asyncio.TaskGroup() as tasks:
        for service in services:
            tasks.create_task(keep(service))
    if ended:
        raise ended[0]


def end_with_parent(environment: Mapping[str, str]) -> None:
    """Ask this process to end once the supervisor that started it is gone, however it went."""
    parent = environment.get(PARENT_VARIABLE)
    if parent is None or not parent.isdigit():
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            sleep(_PARENT_LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def is_supervised(environment: Mapping[str, str]) -> bool:
    """Whether this process is a service of a supervisor."""
    return environment.get(PARENT_VARIABLE, "").isdigit()


def own_command(*arguments: str) -> tuple[str, ...]:
    """A command line of this program, run by this interpreter, whatever modules lie in the current folder."""
    return (sys.executable, "-P", "-m", "crypto_tracker", *arguments)


async def _keep(
    service: Service, environment: Mapping[str, str], tell: Tell, stop: asyncio.Event, patience: Patience
) -> None:
    loop = asyncio.get_running_loop()
    await _until_it_may(service, tell, stop, patience)
    wait = patience.backoff
    while not stop.is_set():
        began = loop.time()
        code = await _run(service, environment, tell, stop, patience)
        if stop.is_set() or (service.once and code == 0):
            return
        if code in _FOR_A_PERSON:
            raise ServiceEnded(
                f"{service.name} has ended, as {_FOR_A_PERSON[code]}: see its last words", code
            )
        if code == ENDED_FOR_GOOD:
            raise ServiceEnded(f"{service.name} cannot do what it was asked: see its last words", 1)
        if loop.time() - began > patience.stable:
            wait = patience.backoff
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        tell(service.name, f"{how}; starts again in {wait:g} s")
        await _sleep(wait, stop)
        wait = min(2.0 * wait, patience.backoff_max)


async def _until_it_may(service: Service, tell: Tell, stop: asyncio.Event, patience: Patience) -> None:
    said = None
    while not stop.is_set():
        why = await asyncio.to_thread(service.waits_for)
        if why is None:
            return
        if why != said:
            tell(service.name, why)
            said = why
        await _sleep(patience.look, stop)


async def _run(
    service: Service, environment: Mapping[str, str], tell: Tell, stop: asyncio.Event, patience: Patience
) -> int:
    """Run the process to its end, or until `stop` is set; its exit code, negative for a signal."""
    process = await asyncio.create_subprocess_exec(
        *service.arguments,
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=_LINE_BYTES,
        start_new_session=True,  # Ctrl-C is for the supervisor, which ends its services in order
    )
    relaying = asyncio.create_task(_relay(service.name, process, tell))
    stopping = asyncio.create_task(stop.wait())
    ending = asyncio.create_task(process.wait())
    try:
        await asyncio.wait({stopping, ending}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        await _end(process, patience)
        await relaying
    return await ending


async def _end(process: asyncio.subprocess.Process, patience: Patience) -> None:
    """Ask the process to end; kill it where it does not."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(patience.end):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _relay(name: str, process: asyncio.subprocess.Process, tell: Tell) -> None:
    """Pass on what the process says, line by line."""
    stream = process.stdout
    while stream is not None:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # a line longer than the limit: what was read of it is dropped
        if not line:
            return
        tell(name, line.decode(errors="replace").rstrip())


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
