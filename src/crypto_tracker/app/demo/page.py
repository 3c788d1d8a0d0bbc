"""The demonstration with its page: a replay of the market at a pace, and the server that shows it."""

import asyncio
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx

from crypto_tracker.app.accounts import account_place
from crypto_tracker.app.demo.world import START_MS
from crypto_tracker.app.supervising import Patience, Service, Tell, own_command, supervise
from crypto_tracker.app.trading import forget_replay
from crypto_tracker.core.errors import StoreError, UsageError
from crypto_tracker.core.timeframes import DAY_MS, from_ms
from crypto_tracker.store.database import writer_lock

ACCOUNT = "demo"
LOOPBACK = "127.0.0.1"
_LOCK = "demo.lock"
_LOOK_SECONDS = 0.2
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is played, and where it is shown.

    Attributes
    ----------
    home : the demonstration's own home, with its bars and its configuration
    arguments : the global options of every process
    speed : times real time; None for as fast as the machine steps
    port : of the page, on this machine only
    """

    home: Path
    arguments: tuple[str, ...]
    days: int
    speed: float | None
    port: int

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self.port}/"


def free_port(wanted: int, *, insist: bool) -> int:
    """The wanted port of this machine; any free one where that is taken, unless somebody insists on it."""
    for port in (wanted,) if insist else (wanted, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((LOOPBACK, port))
                return int(probe.getsockname()[1])
    if insist:
        raise UsageError(f"port {wanted} of {LOOPBACK} is taken: choose another --port, or leave it out")
    raise UsageError(f"no port of {LOOPBACK} is free for the page: use demo --no-page")


def take_stage(home: Path, closing: ExitStack) -> None:
    """Hold a demonstration's home until `closing`; raises UsageError where another `demo` shows it."""
    try:
        closing.enter_context(writer_lock(home / _LOCK, what="the demonstration", wait_ms=0))
    except StoreError as error:
        raise UsageError(
            "this market is shown already: look at the page of the other `demo`, end that one with Ctrl-C, "
            "or choose another --seed"
        ) from error


async def show(
    stage: Stage,
    environment: Mapping[str, str],
    tell: Tell,
    *,
    opened: Callable[[str], None],
    browse: bool,
    patience: Patience,
) -> None:
    """Play the market and serve its page, until Ctrl-C; what was played before is forgotten.

    `opened` is told the page's address once it answers, and `browse` opens it where this machine has a
    display. The market ends by itself, and the page stays. Raises ServiceEnded where one of the two cannot
    go on.
    """
    forget_replay(account_place(stage.home, ACCOUNT).folder)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with asyncio.TaskGroup() as tasks:
            announcing = tasks.create_task(_announce(stage, environment, opened, browse=browse))
            try:
                await supervise(_services(stage), environment, tell, stop, patience)
            finally:
                announcing.cancel()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _services(stage: Stage) -> tuple[Service, ...]:
    span = f"{from_ms(START_MS):%Y%m%d}..{from_ms(START_MS + stage.days * DAY_MS):%Y%m%d}"
    pace = "max" if stage.speed is None else f"{stage.speed:.6f}"
    return (
        Service(
            name="web",
            arguments=own_command(
                *stage.arguments,
                *("web", "--host", LOOPBACK, "--port", str(stage.port), "--open-to-loopback", "control"),
            ),
        ),
        Service(
            name="trade",
            arguments=own_command(
                *stage.arguments, "trade", "--replay", span, "--account", ACCOUNT, "--speed", pace
            ),
            once=True,
        ),
    )


async def _announce(
    stage: Stage, environment: Mapping[str, str], opened: Callable[[str], None], *, browse: bool
) -> None:
    """Tell the address once the page answers."""
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            with suppress(httpx.HTTPError):
                answer = await client.get(f"{stage.address}api/v1/ping")
                if answer.status_code == HTTPStatus.OK:
                    break
            await asyncio.sleep(_LOOK_SECONDS)
    opened(stage.address)
    if browse and (sys.platform in {"darwin", "win32"} or any(map(environment.get, _DISPLAYS))):
        await asyncio.to_thread(webbrowser.open, stage.address)
