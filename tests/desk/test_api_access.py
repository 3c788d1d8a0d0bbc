"""Nobody gets an answer without the scope that a route names, however it is asked."""

import asyncio
from threading import Event
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.errors import StoreError
from crypto_tracker.desk.views.controls import CommandItem, CommandWish
from crypto_tracker.desk.web import guard
from crypto_tracker.desk.web.application import THREADS, openapi_document
from crypto_tracker.desk.web.gatekeeper import WRONG_TOKENS_PER_MINUTE
from crypto_tracker.desk.web.limits import Buckets
from crypto_tracker.desk.web.origins import is_this_machine
from tests.desk.fake_desk import FakeBook, FakeDesk
from tests.desk.served import CONTROL, READ, Client, Tokens, application, settings

DOCUMENT = openapi_document("0.5.0")
TRADE = "ETH/USDT-DCA-20250822T120000Z"
WANTED = {"symbol": "BTC/USDT", "strategy": "DCA", "at_ms": 1, "start_ms": 1, "end_ms": 2}
BODIES = {
    "/commands": {"kind": "pause"},
    "/config": {"toml": ""},
    "/forceexit": {"symbol": "ETH/USDT"},
    "/withdraw": {"command_id": "3f2b8c0e9d7a4f61b5c2e8d90a1f7b34"},
}
OPEN = {"/api/v1/ping", "/api/v1/version"}


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    ]


def needs(operation: dict[str, Any]) -> str | None:
    scopes = [scope for each in operation["security"] for scope in each["token"]]
    return scopes[0] if scopes else None


def request_of(path: str, operation: dict[str, Any]) -> dict[str, Any]:
    names = [each["name"] for each in operation["parameters"] if each["required"] and each["in"] == "query"]
    options: dict[str, Any] = {"params": {name: WANTED[name] for name in names}}
    if "requestBody" in operation:
        options["json"] = next((body for part, body in BODIES.items() if part in path), {})
    return options


# --- every route


def test_only_ping_and_version_answer_everybody() -> None:
    assert {path for _, path, operation in operations() if needs(operation) is None} == OPEN


@pytest.mark.parametrize(("method", "path", "operation"), operations())
def test_no_route_answers_without_its_scope(method: str, path: str, operation: dict[str, Any]) -> None:
    app, asked = application(), path.replace("{trade_group_id}", TRADE)
    options, scope = request_of(path, operation), needs(operation)
    success = 200 if "200" in operation["responses"] else 202
    answers = {
        token: Client(app, token).request(method, asked, **options).status_code
        for token in (None, "wrong", READ, CONTROL)
    }
    expected = {
        None: {None: success, "wrong": success, READ: success, CONTROL: success},
        "read": {None: 401, "wrong": 401, READ: success, CONTROL: success},
        "control": {None: 401, "wrong": 401, READ: 403, CONTROL: success},
    }
    assert answers == expected[scope]


def test_every_route_that_changes_something_needs_the_scope_control() -> None:
    assert {needs(operation) for method, _, operation in operations() if method == "POST"} == {"control"}
    assert {method for method, _, _ in operations()} == {"GET", "POST"}


def test_the_document_itself_needs_a_token_and_there_is_no_page_of_others() -> None:
    app = application()
    assert Client(app, None).get("/api/v1/openapi.json").status_code == 401
    assert Client(app).get("/api/v1/openapi.json").json()["paths"].keys() == DOCUMENT["paths"].keys()
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert Client(app).get(path).status_code == 404


def test_nothing_of_a_request_is_read_before_its_caller_is_known() -> None:
    app = application()
    for token, status in ((None, 401), (READ, 403)):
        answer = Client(app, token).post(
            "/api/v1/commands?nonsense=1", content=b"{", headers={"Content-Type": "text/plain"}
        )
        assert answer.status_code == status


def test_the_refusals_say_what_to_do() -> None:
    app = application()
    nobody = Client(app, None).get("/api/v1/status")
    assert nobody.headers["www-authenticate"] == "Bearer"
    assert "tokens create NAME" in nobody.json()["detail"]
    assert "revoked" in Client(app, "wrong").get("/api/v1/status").json()["detail"]
    assert "--scope control" in Client(app, READ).post("/api/v1/pause", json={}).json()["detail"]


@pytest.mark.parametrize("header", ["Basic YW5uYTpzZWNyZXQ=", "Bearer", "Bearer ", READ, ""])
def test_only_a_bearer_token_counts(header: str) -> None:
    answer = Client(application(), None).get("/api/v1/status", headers={"Authorization": header})
    assert answer.status_code == 401


def test_a_token_in_the_address_is_no_token() -> None:
    app = application()
    assert Client(app, None).get(f"/api/v1/status?token={READ}").status_code == 401


def test_a_revoked_token_opens_nothing_from_the_next_request_on() -> None:
    tokens = Tokens()
    app = application(tokens=tokens)
    assert Client(app).get("/api/v1/status").status_code == 200
    del tokens.known[READ]
    assert Client(app).get("/api/v1/status").status_code == 401


def test_who_may_control_may_also_read_and_is_named_in_what_is_told() -> None:
    desk = FakeDesk()
    app = application(desk)
    identity = Client(app, CONTROL).get("/api/v1/identity").json()
    assert (identity["actor"], identity["scopes"]) == ("web:bert", ["read", "control"])
    assert Client(app, CONTROL).post("/api/v1/pause", json={}).json()["actor"] == "web:bert"
    assert [(account, wish.kind, actor) for account, wish, actor in desk.told] == [
        ("paper", "pause", "web:bert")
    ]


def test_tokens_that_cannot_be_looked_up_are_not_the_fault_of_who_sends_them() -> None:
    tokens = Tokens()
    tokens.broken = StoreError("the database /srv/anna/user_data/access.db is locked: try again")
    answer = Client(application(tokens=tokens)).get("/api/v1/status")
    assert answer.status_code == 503
    assert answer.json()["detail"] == "the database access.db is locked: try again"


# --- this machine


def local(path: str, opened: str, **headers: str) -> int:
    app = application(web=settings(open_to_loopback=opened, hosts=("trade.example.org",)))
    return Client(app, None, peer="127.0.0.1").get(path, headers=headers).status_code


def test_this_machine_is_let_in_only_as_far_as_configured() -> None:
    for opened, read, control in (("none", 401, 401), ("read", 200, 403), ("control", 200, 202)):
        app = application(web=settings(open_to_loopback=opened))
        here = Client(app, None, peer="127.0.0.1")
        assert here.get("/api/v1/status").status_code == read
        assert here.post("/api/v1/pause", json={}).status_code == control


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_every_address_of_this_machine_is_this_machine(peer: str) -> None:
    app = application(web=settings(open_to_loopback="read"))
    assert Client(app, None, peer=peer).get("/api/v1/status").status_code == 200


@pytest.mark.parametrize("peer", ["10.0.0.1", "203.0.113.7", "::ffff:10.0.0.1", "2001:db8::1", "testing", ""])
def test_no_other_machine_is_let_in_without_a_token(peer: str) -> None:
    app = application(web=settings(open_to_loopback="control"))
    claims = {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
    for headers in ({}, claims):
        assert Client(app, None, peer=peer).get("/api/v1/status", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.7"},
        {"Forwarded": "for=203.0.113.7"},
        {"Via": "1.1 proxy"},
        {"Host": "trade.example.org"},
        {"Host": "192.168.1.2:8080"},
        {"Origin": "http://elsewhere.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_what_comes_through_a_proxy_or_another_page_is_not_this_machine(headers: dict[str, str]) -> None:
    assert local("/api/v1/status", "read", **headers) == 401


def test_a_proxy_that_speaks_http_1_0_is_not_this_machine() -> None:
    headers, own = {"host": "127.0.0.1:8080"}, settings(open_to_loopback="control")
    found = [is_this_machine("127.0.0.1", headers, version, own) for version in ("1.0", "1.1")]
    assert found == [False, True]


def test_a_wrong_token_is_no_lesser_one_on_this_machine() -> None:
    app = application(web=settings(open_to_loopback="control"))
    assert Client(app, "wrong", peer="127.0.0.1").get("/api/v1/status").status_code == 401


# --- hosts and origins


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("192.168.1.2", 200),  # an address, which no other site's name can be
        ("trade.example.org", 200),
        ("trade.example.org:443", 200),
        ("elsewhere.example", 400),
        ("localhost.elsewhere.example", 400),
        ("trade.example.org.elsewhere.example", 400),
        ("", 400),
    ],
)
def test_only_names_of_ours_are_answered(host: str, status: int) -> None:
    """Another site's name that points to this machine would make its page ours (DNS rebinding)."""
    app = application(web=settings(hosts=("trade.example.org",)))
    for path in ("/api/v1/ping", "/api/v1/status"):
        assert Client(app).get(path, headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://localhost:8080", "localhost:8080", 202),
        ("https://trade.example.org", "trade.example.org", 202),
        ("https://trade.example.org", "127.0.0.1:8080", 202),  # behind a server that rewrites the Host
        ("http://localhost:3000", "localhost:8080", 403),
        ("https://elsewhere.example", "localhost:8080", 403),
        ("https://trade.example.org.elsewhere.example", "trade.example.org", 403),
        ("file://", "localhost:8080", 403),
        ("null", "localhost:8080", 403),
        ("http://[", "localhost:8080", 403),
    ],
)
def test_no_page_of_another_site_gives_commands_even_with_a_token(
    origin: str, host: str, status: int
) -> None:
    desk = FakeDesk()
    app = application(desk, web=settings(hosts=("trade.example.org",)))
    answer = Client(app, CONTROL).post("/api/v1/pause", json={}, headers={"Origin": origin, "Host": host})
    assert answer.status_code == status
    assert len(desk.told) == (status == 202)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_commands_are_json_which_no_form_of_another_site_can_send(kind: str) -> None:
    desk = FakeDesk()
    answer = Client(application(desk), CONTROL).post(
        "/api/v1/pause", content=b"{}", headers={"Content-Type": kind}
    )
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]
    assert desk.told == []


def test_no_other_site_may_read_answers() -> None:
    """No CORS: not even for a site that a request names."""
    answer = Client(application()).get("/api/v1/status", headers={"Origin": "https://elsewhere.example"})
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    preflight = Client(application(), None).request(
        "OPTIONS",
        "/api/v1/pause",
        headers={"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"},
    )
    assert preflight.status_code == 405
    assert not [name for name in preflight.headers if name.startswith("access-control-")]


# --- commands


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("commands", '{"kind": "pause", "kind": "resume"}', "kind"),
        ("commands", '{"kind": "close", "arguments": {"symbol": "A/B", "symbol": "C/D"}}', "symbol"),
        ("pause", '{"x\\u0000": 1, "x\\u0000": 1}', "x?"),
    ],
)
def test_a_field_that_stands_there_twice_is_refused_and_nothing_is_told(
    path: str, body: str, name: str
) -> None:
    desk = FakeDesk()
    answer = Client(application(desk), CONTROL).post(
        f"/api/v1/{path}", content=body, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, desk.told) == (422, [])
    assert answer.json()["detail"] == f"the field {name} stands there twice: send it once"


def test_commands_that_wait_hold_up_nobody_who_reads_and_are_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk, written = FakeDesk(), Event()
    begun: list[str] = []
    tell = FakeBook.tell

    def tell_once_it_is_written(book: FakeBook, wish: CommandWish, actor: str) -> CommandItem:
        begun.append(actor)
        assert written.wait(20.0)
        return tell(book, wish, actor)

    monkeypatch.setattr(FakeBook, "tell", tell_once_it_is_written)
    monkeypatch.setattr(guard, "TURN_SECONDS", 0.1)
    app = application(desk)
    most = guard.COMMANDS_AT_ONCE

    async def ask() -> tuple[list[httpx.Response], list[httpx.Response]]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://localhost/api/v1",
            headers={"Authorization": f"Bearer {CONTROL}"},
        ) as client:
            given = [asyncio.create_task(client.post("/pause", json={})) for _ in range(THREADS + most + 2)]
            sent_away = asyncio.as_completed(given, timeout=20.0)
            for _ in range(THREADS + 2):
                await next(sent_away)
            read = [await client.get(f"/{name}") for name in ("status", "trades", "decisions")]
            written.set()
            return read, await asyncio.gather(*given)

    read, given = asyncio.run(ask())
    assert [each.status_code for each in read] == [200] * 3
    codes = [each.status_code for each in given]
    assert (codes.count(202), codes.count(503), len(begun)) == (most, THREADS + 2, most)
    refused = next(each for each in given if each.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert "try again" in refused.json()["detail"]


# --- how often


def test_one_request_too_many_is_told_how_long_to_wait() -> None:
    app = application(web=settings(requests_per_minute=3))
    asking = Client(app)
    assert [asking.get("/api/v1/ping").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = asking.get("/api/v1/status")
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert refused.json()["status"] == 429
    # Another token, and another address without one, have their own.
    assert Client(app, CONTROL).get("/api/v1/ping").status_code == 200
    assert Client(app, None).get("/api/v1/ping").status_code == 200


def test_addresses_without_a_token_are_counted_by_themselves() -> None:
    app = application(web=settings(requests_per_minute=1))
    codes = [
        Client(app, None, peer=peer).get("/api/v1/ping").status_code
        for peer in ("203.0.113.7", "203.0.113.7", "203.0.113.8", "2001:db8::1", "2001:db8::2")
    ]
    assert codes == [200, 429, 200, 200, 429]  # one network of IPv6 is one address


def test_who_guesses_tokens_is_told_to_stop_and_shuts_out_nobody() -> None:
    app = application()
    guesses = [
        Client(app, f"guess{number}").get("/api/v1/status").status_code
        for number in range(WRONG_TOKENS_PER_MINUTE + 2)
    ]
    assert guesses == [401] * WRONG_TOKENS_PER_MINUTE + [429] * 2
    # Behind a proxy all come from one address: who knows a token is heard, at once and for the first time.
    assert Client(app, CONTROL).get("/api/v1/status").status_code == 200
    assert Client(app, "guess", peer="203.0.113.8").get("/api/v1/status").status_code == 401


def test_what_a_known_token_asks_too_often_is_not_even_looked_up() -> None:
    tokens = Tokens()
    app = application(tokens=tokens, web=settings(requests_per_minute=2))
    assert [Client(app).get("/api/v1/status").status_code for _ in range(4)] == [200, 200, 429, 429]
    assert tokens.asked == 2


def test_a_page_of_another_site_uses_up_nothing_of_this_machine() -> None:
    app = application(web=settings(open_to_loopback="read", requests_per_minute=1))
    here, origin = Client(app, None, peer="127.0.0.1"), {"Origin": "https://elsewhere.example"}
    codes = [here.get("/api/v1/ping", headers=headers).status_code for headers in (origin, origin, {}, {})]
    assert codes == [200, 429, 200, 429]


@given(
    per_minute=st.integers(1, 50),
    pauses=st.lists(st.floats(0.0, 90.0), min_size=1, max_size=120),
)
def test_no_minute_has_more_than_twice_the_limit_and_who_waits_as_told_is_let_in(
    per_minute: int, pauses: list[float]
) -> None:
    buckets, now, granted = Buckets(per_minute=per_minute), 0.0, []
    for pause in pauses:
        now += pause
        wait = buckets.take("anna", now)
        if wait:
            now += wait
            assert buckets.take("anna", now) == 0
        granted.append(now)
    for start in granted:
        assert sum(start <= moment < start + 60.0 for moment in granted) <= 2 * per_minute


def test_a_flood_of_addresses_is_forgotten_from_its_oldest_on() -> None:
    buckets = Buckets(per_minute=1, keys_max=2)
    assert [buckets.take(key, 0.0) for key in ("a", "a", "b", "c", "c", "a")] == [0, 60, 0, 0, 60, 0]
