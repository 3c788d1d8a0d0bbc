"""Connections that only stand there, or take nothing of what they asked for, keep nobody out."""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from crypto_tracker.app import connections
from crypto_tracker.app.connections import WAITING_MAX, WAITING_OF_ONE, Connection, Stream, longest_waiting
from crypto_tracker.desk.web.gate import HEADERS
from tests.desk.served import READ, application, running, settings

SECONDS = 20.0
ALLOWED = {"Authorization": f"Bearer {READ}"}


@dataclass
class Place:
    address: str
    waits_since: float | None


def at(app: Any, ask: Callable[[int, ServerState], Coroutine[Any, Any, None]]) -> None:
    """Serve in this very loop, and ask by the number of the port; what the server knows can be looked at."""

    async def both() -> None:
        config = uvicorn.Config(app, log_config=None, ws=Stream, access_log=False)
        config.load()
        state = ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(config, state, {}), "127.0.0.1", 0, backlog=512
        )
        async with server, asyncio.timeout(SECONDS):
            await ask(server.sockets[0].getsockname()[1], state)
            for each in list(state.connections):
                each.transport.abort()

    asyncio.run(both())


async def until(what: Callable[[], bool]) -> None:
    while not what():  # noqa: ASYNC110 - what is waited for is the server's, and tells nobody
        await asyncio.sleep(0.005)


# --- places


def test_many_connections_that_say_nothing_keep_nobody_out() -> None:
    async def ask(port: int, state: ServerState) -> None:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
        await until(lambda: len(state.connections) == WAITING_OF_ONE)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False) as client:
            assert (await client.get("/status", headers=ALLOWED)).status_code == 200
        gone = [reader.at_eof() or await reader.read() == b"" for reader, _ in opened[:-WAITING_OF_ONE]]
        assert all(gone)  # those that waited longest
        _, newest = opened[-1]
        newest.write(b"GET /api/v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await opened[-1][0].readline()).startswith(b"HTTP/1.1 200")
        for _, writer in opened:
            writer.close()

    at(application(), ask)


def test_a_connection_whose_request_is_being_answered_is_none_that_waits() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - what ASGI asks for
        asked.set()
        await answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def ask(port: int, state: ServerState) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asked.wait()
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(WAITING_OF_ONE + 5)]
        await until(lambda: len(state.connections) == WAITING_OF_ONE + 1)
        answer.set()
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        # From now on it waits too, for the next request, and who has waited longest goes.
        await until(lambda: len(state.connections) == WAITING_OF_ONE)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        for _, each in [*idle, (reader, writer)]:
            each.close()

    at(slow, ask)


def test_whoever_has_most_places_gives_one_up_and_others_keep_theirs() -> None:
    greedy = [Place(f"10.0.0.{number}", float(number)) for number in (1, 2, 3, 4) for _ in range(50)]
    assert longest_waiting(greedy, "10.0.0.4") is None
    more = [Place("10.0.0.2", 0.5), *greedy, Place("192.168.0.9", 9.0)]
    assert longest_waiting(more, "192.168.0.9") is more[0]
    one = [Place("10.0.0.9", None), *(Place("10.0.0.9", 5.0 - number) for number in range(WAITING_OF_ONE))]
    assert longest_waiting(one, "10.0.0.9") is None
    assert longest_waiting([*one, Place("10.0.0.9", 9.0)], "10.0.0.9") is one[-1]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=600))
def test_there_are_never_more_that_wait_than_places(comers: list[tuple[int, bool]]) -> None:
    held: list[Place] = []
    for moment, (who, answered) in enumerate(comers):
        held.append(Place(f"10.0.0.{who}", None if answered else float(moment)))
        gone = longest_waiting(held, held[-1].address)
        if gone is not None:
            held.remove(gone)
            assert not answered or gone is not held[-1]
    waiting = [each for each in held if each.waits_since is not None]
    assert len(waiting) <= WAITING_MAX
    assert all(sum(each.address == one.address for each in waiting) <= WAITING_OF_ONE for one in waiting)


def test_who_takes_nothing_of_a_long_answer_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "TAKE_SECONDS", 0.2)
    (tmp_path / "index.html").write_bytes(b"<p>page</p>")
    (tmp_path / "long.js").write_bytes(b"x" * 32_000_000)

    async def ask(port: int, state: ServerState) -> None:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(slow, ("127.0.0.1", port))
        await asyncio.get_running_loop().sock_sendall(
            slow, b"GET /long.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        await until(lambda: len(state.tasks) == 1)
        await until(lambda: not state.connections and not state.tasks)
        slow.close()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert len((await client.get("/long.js")).content) == 32_000_000  # who takes it has it all

    at(application(static=tmp_path), ask)


# --- what is no request


def test_what_is_no_http_is_refused_as_everything_is_and_told_of_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_noted", connections.Strangers())
    with running(application(), http=Connection, ws=Stream) as address:
        port = int(address.rpartition(":")[2])
        for sent in (b"nonsense\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n") * 3:
            with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
                client.sendall(sent)
                answer = b"".join(iter(lambda c=client: c.recv(4_096), b"")).decode()
            head, _, body = answer.partition("\r\n\r\n")
            assert head.startswith("HTTP/1.1 400 ")
            assert "application/problem+json" in head
            assert all(f"{name}: {value}".lower() in head.lower() for name, value in HEADERS.items())
            assert "no request of HTTP/1.1" in body
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == [
        "one request was no HTTP and came from 127.0.0.1: this is told once a minute at most"
    ]


def test_how_many_were_no_http_is_told_again_after_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    strangers = connections.Strangers()
    for moment in (0.0, 1.0, 59.0, 61.0, 62.0):
        strangers.note(f"10.0.0.{moment:g}", moment)
    assert [each.getMessage().partition(":")[0] for each in caplog.records] == [
        "one request was no HTTP and came from 10.0.0.0",
        "3 requests were no HTTP, and the last of them came from 10.0.0.61",
    ]


def test_no_stranger_writes_into_the_log_by_a_handshake(caplog: pytest.LogCaptureFixture) -> None:
    with running(application(web=settings(open_to_loopback="read")), http=Connection, ws=Stream) as address:
        refused = httpx.get(
            f"{address}/api/v1/ws",
            headers={
                "Origin": "https://elsewhere.example",
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            },
            trust_env=False,
        )
        assert (refused.status_code, refused.json()["status"]) == (403, 403)
        for half in ({}, {"Connection": "Upgrade", "Upgrade": "websocket"}, {"Upgrade": "h2c"}):
            answer = httpx.get(f"{address}/api/v1/ws", headers=half, trust_env=False)
            assert answer.status_code == 426
            assert "open it as a websocket" in answer.json()["detail"]
            assert answer.headers["upgrade"] == "websocket"
        for each in (refused, answer):
            assert {name: each.headers[name] for name in HEADERS} == dict(HEADERS)
        with connect(f"{address.replace('http', 'ws')}/api/v1/ws") as stream:
            stream.recv(SECONDS)
            stream.send(b"\xff\xfe", text=True)
            with pytest.raises(ConnectionClosedError) as closed:
                all(iter(lambda: stream.recv(SECONDS), None))
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []
