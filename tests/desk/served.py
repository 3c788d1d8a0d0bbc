"""The API over a desk of examples, and the tokens that it knows."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from crypto_tracker.config.web import Web
from crypto_tracker.desk.source import Desk
from crypto_tracker.desk.web.application import create_app
from tests.desk.fake_desk import NOW_MS, FakeDesk

READ = "token-that-reads"
CONTROL = "token-that-controls"


@dataclass(frozen=True)
class Token:
    token_id: str
    name: str
    scopes: frozenset[str]


class Tokens:
    """Known tokens, as a dictionary; `broken` is raised instead of an answer."""

    def __init__(self) -> None:
        self.known: dict[str, Token] = {
            READ: Token("00000001", "anna", frozenset({"read"})),
            CONTROL: Token("00000002", "bert", frozenset({"control"})),
        }
        self.asked = 0
        self.broken: Exception | None = None

    def check(self, token: str) -> Token | None:
        self.asked += 1
        if self.broken is not None:
            raise self.broken
        return self.known.get(token)


def settings(**changes: object) -> Web:
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": 8080,
        "hosts": (),
        "open_to_loopback": "none",
        "requests_per_minute": 100_000,
        "body_bytes_max": 1_000_000,
        "streams_max": 50,
        "beat_seconds": 5.0,
        "look_seconds": 0.02,
    }
    return Web.model_validate(values | changes)


def application(
    desk: Desk | None = None,
    tokens: Tokens | None = None,
    web: Web | None = None,
    static: Path | None = None,
) -> FastAPI:
    return create_app(
        desk or FakeDesk(),
        tokens or Tokens(),
        web or settings(),
        now_ms=lambda: NOW_MS,
        code_version="0.5.0",
        configuration_file=lambda: "[limits]\nmax_open = 20\n",
        static=static,
    )


class Client:
    """Asks an application without a socket between, as from any address."""

    def __init__(self, app: FastAPI, token: str | None = READ, peer: str = "203.0.113.7") -> None:
        self.app = app
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.peer = peer

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(self.peer, 50_000))
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost", headers=self.headers
            ) as asking:
                return await asking.request(method, path, **options)

        return asyncio.run(ask())


@contextmanager
def running(app: FastAPI, **options: object) -> Iterator[str]:
    """The application behind a real socket; its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    usual = {"ws": "websockets-sansio", "ws_per_message_deflate": False}
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, **(usual | options))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20.0
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.005)
    assert server.started
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=20.0)
        listening.close()
        assert not thread.is_alive()
