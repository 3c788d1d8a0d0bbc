"""Whoever asks much at once leaves room for others; HEAD is GET without a body; an end is an answer."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from crypto_tracker.desk.web import room
from crypto_tracker.desk.web.gate import HEADERS, WithoutInternals
from crypto_tracker.desk.web.room import WithRoom
from tests.desk.served import CONTROL, READ, Client, application

OTHER = "198.51.100.7"


class Slow:
    """An application that answers once it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002 - as ASGI asks
        self.asked += 1
        await self.answer.wait()
        if scope["type"] == "http":
            await httpx_answer(send)

    async def all_asked(self, many: int) -> None:
        while self.asked < many:  # noqa: ASYNC110 - it counts
            await asyncio.sleep(0)


async def httpx_answer(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answer"})


async def ask(app: Any, peer: str) -> httpx.Response:
    transport = httpx.ASGITransport(app, client=(peer, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get("/")


def problem(answer: httpx.Response) -> tuple[int, str, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.headers["retry-after"], answer.json()["detail"].partition(":")[0]


def test_one_address_fills_half_of_the_room_and_others_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "REQUESTS_AT_ONCE", 4)
    monkeypatch.setattr(room, "REQUESTS_OF_ONE", 2)

    async def many() -> None:
        slow = Slow()
        app = WithRoom(slow, streams_max=1)
        # One network of IPv6 is one address.
        held = [asyncio.create_task(ask(app, peer)) for peer in ("2001:db8::1", "2001:db8::2", OTHER)]
        await slow.all_asked(3)
        assert problem(await ask(app, "2001:db8::3")) == (
            503,
            "2",
            "2 requests of your address are being answered",
        )
        held.append(asyncio.create_task(ask(app, "203.0.113.9")))
        await slow.all_asked(4)
        assert problem(await ask(app, "203.0.113.8")) == (503, "2", "4 requests are being answered")
        slow.answer.set()
        assert [each.status_code for each in await asyncio.gather(*held)] == [200] * 4
        assert [(await ask(app, "2001:db8::1")).text for _ in range(5)] == ["answer"] * 5
        assert slow.asked == 9

    asyncio.run(many())


def test_streams_that_have_not_signed_in_leave_room_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SIGNING_IN", 1)
    scope: dict[str, Any] = {
        "type": "websocket",
        "headers": [],
        "extensions": {"websocket.http.response": {}},
    }

    async def many() -> None:
        slow = Slow()
        app = WithRoom(slow, streams_max=2)
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        held = [asyncio.create_task(app(scope, receive, send)) for _ in range(3)]
        await slow.all_asked(3)
        await app(scope, receive, send)
        start, body = sent
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 503)
        assert (b"retry-after", b"2") in start["headers"]
        assert json.loads(body["body"])["detail"] == "3 live streams are open: close one, or try again later"
        slow.answer.set()
        await asyncio.gather(*held)
        await app(scope, receive, send)
        assert (slow.asked, len(sent)) == (4, 2)

    asyncio.run(many())


@pytest.mark.parametrize("path", ["status", "trades?limit=3", "ping", "openapi.json", "nothing", "pause"])
def test_head_is_get_without_its_body(path: str) -> None:
    asking = Client(application(), CONTROL)
    got, headed = asking.get(f"/api/v1/{path}"), asking.request("HEAD", f"/api/v1/{path}")
    assert (headed.status_code, headed.content) == (got.status_code, b"")
    assert dict(headed.headers) == dict(got.headers)
    assert {name: headed.headers[name] for name in HEADERS} == dict(HEADERS)


def test_where_get_may_be_asked_head_may_be_too() -> None:
    asking = Client(application(), READ)
    assert asking.request("DELETE", "/api/v1/status").headers["allow"] == "GET, HEAD"
    assert asking.request("HEAD", "/api/v1/pause").headers["allow"] == "POST"


def test_what_is_cut_off_by_the_end_of_the_server_is_answered_and_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def end() -> httpx.Response:
        slow = Slow()
        asked = asyncio.create_task(ask(WithoutInternals(slow), OTHER))
        await slow.all_asked(1)
        asked.cancel()
        return await asked

    answer = asyncio.run(end())
    assert (answer.status_code, answer.json()["detail"]) == (
        503,
        "the server is being ended: try again once it runs",
    )
    assert caplog.records == []
