"""The web server as a process: its tokens, its configuration as it stands, where it listens, how it ends."""

import asyncio
import errno
import gc
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from crypto_tracker.app.connections import Connection, Stream
from crypto_tracker.config.tree import Configuration
from crypto_tracker.config.web import Web
from crypto_tracker.core.errors import ConfigError, CryptoTrackerError
from crypto_tracker.desk import web as web_package
from crypto_tracker.desk.web.origins import is_loopback
from crypto_tracker.store.access import AccessStore, TokenRow
from crypto_tracker.strategies.base import Strategy

_BACKLOG = 512
_END_SECONDS = 2
_FRAME_BYTES_MAX = 65_536
_PING_SECONDS = 20.0


class CannotListen(CryptoTrackerError):
    """The address is taken, or is not ours."""


class HomeAccess:
    """The tokens of a home, by the clock of the machine."""

    def __init__(self, store: AccessStore, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms

    def check(self, token: str) -> TokenRow | None:
        """Whose token this is."""
        return self._store.check(token, self._now_ms())

    def anybody(self) -> bool:
        """Whether there is a token that is good."""
        return any(row.revoked_at_ms is None for row in self._store.tokens())


class Configured:
    """The configuration of a home and its strategies, read again when the file has changed."""

    def __init__(self, path: Path, load: Callable[[], tuple[Configuration, Mapping[str, Strategy]]]) -> None:
        self._path = path
        self._load = load
        self._stamp: tuple[int, int] | None = None
        self._loaded: tuple[Configuration, Mapping[str, Strategy]] | None = None

    def __call__(self) -> tuple[Configuration, Mapping[str, Strategy]]:
        """The configuration as it is in the file now."""
        stamp = self._look()
        if self._loaded is None or stamp != self._stamp:
            self._loaded, self._stamp = self._load(), stamp
        return self._loaded

    def text(self) -> str:
        """What stands in the file; nothing where there is none, which means the defaults."""
        try:
            return self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the configuration {self._path} cannot be read: {error}") from error

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size


def page_folder() -> Path | None:
    """Where the built page is; None where it was not built."""
    folder = Path(web_package.__path__[0]) / "static"
    return folder if (folder / "index.html").is_file() else None


def checked(settings: Web) -> Web:
    """The settings, where they do not contradict each other."""
    if settings.open_to_loopback != "none" and settings.hosts:
        raise ConfigError(
            f"web.hosts names {settings.hosts[0]}, so another server stands in front of this one, and all "
            "who come through it seem to be this machine: set web.open_to_loopback to none, and make tokens"
        )
    return settings


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 means any that is free. Raises CannotListen with what helps."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise CannotListen(
            f"{host!r} is no address of a machine: set web.host, such as 127.0.0.1 for this machine alone"
        ) from error
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise CannotListen(_why_not(host, port, error)) from error
    return made


def address_of(listening: socket.socket, host: str) -> str:
    """What to type into a browser of this machine."""
    port = listening.getsockname()[1]
    name = "127.0.0.1" if host in {"0.0.0.0", ""} else "localhost" if host == "::" else host  # noqa: S104
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


def reaches_further(listening: socket.socket) -> bool:
    """Whether other machines can reach it."""
    return not is_loopback(str(listening.getsockname()[0]))


async def serve(app: FastAPI, listening: socket.socket) -> None:
    """Serve until a signal asks to end: streams are closed within two seconds, or at once if asked again."""
    server = _Server(
        uvicorn.Config(
            app,
            http=Connection,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            ws=Stream,
            ws_per_message_deflate=False,  # each client would cost as much again as all of them together
            ws_max_size=_FRAME_BYTES_MAX,
            ws_ping_interval=_PING_SECONDS,
            ws_ping_timeout=_PING_SECONDS,
            timeout_graceful_shutdown=_END_SECONDS,
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.ask_to_end)
    # What is loaded stays: to look through all of it again and again would stop everything for 0.1 s each.
    gc.collect()
    gc.freeze()
    try:
        await server.serve([listening])
    finally:
        gc.unfreeze()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class _Server(uvicorn.Server):
    """Ends as the other services do: with an exit code, and not by the signal itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to who serves."""
        yield

    def ask_to_end(self) -> None:
        """End, or end at once where it was asked before."""
        self.force_exit = self.should_exit
        self.should_exit = True


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is taken: end what listens there, or choose another with --port or "
            "web.port (--port 0 takes any that is free)"
        )
    if error.errno == errno.EACCES:
        return f"port {port} is for the system alone: choose one from 1024 on with --port or web.port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine: set web.host, such as 127.0.0.1"
    return f"cannot listen on port {port} of {host}: {os.strerror(error.errno or 0)}"
