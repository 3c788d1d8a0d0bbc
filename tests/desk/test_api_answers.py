"""What the API answers: views as they are, and every refusal as a problem document of one sentence."""

import gzip
import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from crypto_tracker.core.errors import CryptoTrackerError, SimulationError
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.desk.views.controls import CommandKind, CommandWish
from crypto_tracker.desk.views.live import CLIENT_MESSAGES, SERVER_MESSAGES
from crypto_tracker.desk.views.system import Problem
from crypto_tracker.desk.web.application import openapi_document
from crypto_tracker.desk.web.gate import HEADERS
from crypto_tracker.desk.web.parameters import LATEST_MS, SPAN_DAYS_MAX, ExitCode
from crypto_tracker.desk.web.problems import without_paths
from crypto_tracker.store.control import ARGUMENTS
from tests.desk.fake_desk import NEXT, FakeDesk, broken_store
from tests.desk.served import CONTROL, Client, application, running, settings

DAY_MS = 86_400_000


def problem(answer: httpx.Response) -> str:
    """The sentence of a problem document, which is held against its view."""
    assert answer.headers["content-type"] == "application/problem+json"
    found = Problem.model_validate_json(answer.content)
    assert found.status == answer.status_code
    return found.detail


# --- what is answered


def test_a_page_of_trades_goes_on_where_its_cursor_says() -> None:
    asking = Client(application())
    first = asking.get(
        "/api/v1/trades?limit=2&strategy=DCA&symbol=ETH/USDT&symbol=BTC/USDT&outcome=win"
    ).json()
    assert (len(first["items"]), first["next"], first["total"]) == (2, NEXT, 3)
    assert asking.get(f"/api/v1/trades?cursor={first['next']}").status_code == 200


def test_a_trade_is_asked_for_by_its_name_with_its_slash() -> None:
    asking = Client(application())
    for name in ("ETH/USDT-DCA-20250822T120000Z", "ETH%2FUSDT-DCA-20250822T120000Z"):
        assert asking.get(f"/api/v1/trades/{name}").json()["trade"]["symbol"] == "BTC/USDT"
    assert problem(asking.get("/api/v1/trades/BTC/USDT-DCA-20250822T120000Z")).startswith(
        "there is no trade BTC/USDT-DCA-20250822T120000Z"
    )
    assert asking.get("/api/v1/trades/42").status_code == 422


def test_freqtrade_names_mean_what_they_say() -> None:
    desk = FakeDesk()
    asking = Client(application(desk), CONTROL)
    for name in ("pause", "stopbuy", "start"):
        assert asking.post(f"/api/v1/{name}", json={}).status_code == 202
    assert asking.post("/api/v1/forceexit?account=paper", json={"symbol": "ETH/USDT"}).status_code == 202
    assert asking.post("/api/v1/reload_config", json={}).status_code == 202
    assert [(wish.kind, wish.arguments) for _, wish, _ in desk.told] == [
        ("pause", {}),
        ("pause", {}),
        ("resume", {}),
        ("close", {"symbol": "ETH/USDT"}),
    ]
    assert desk.configured == [
        ("paper", "[limits]\nmax_open = 20\n", "web:bert", "the configuration file of the home")
    ]


@pytest.mark.parametrize("name", ["pause", "stopbuy", "start", "forceexit", "reload_config", "commands"])
def test_every_command_may_be_sent_again_under_an_id_of_ones_own(name: str) -> None:
    desk, own = FakeDesk(), "3f2b8c0e9d7a4f61b5c2e8d90a1f7b34"
    body = {"forceexit": {"symbol": "ETH/USDT"}, "commands": {"kind": "pause"}}.get(name, {})
    answer = Client(application(desk), CONTROL).post(f"/api/v1/{name}", json=body | {"command_id": own})
    assert answer.status_code == 202
    assert [wish.command_id for _, wish, _ in desk.told] + desk.configured_under == [own]


def test_a_command_is_taken_back_by_its_id_which_must_be_whole() -> None:
    desk, own = FakeDesk(), "3f2b8c0e9d7a4f61b5c2e8d90a1f7b34"
    asking = Client(application(desk), CONTROL)
    answer = asking.post("/api/v1/withdraw?account=paper", json={"command_id": own})
    assert (answer.status_code, answer.json()["status"]) == (200, "withdrawn")
    assert desk.withdrawn == [("paper", own, "web:bert")]
    for wrong in ({}, {"command_id": own[:8]}, {"command_id": own.upper()}, {"command_id": None}):
        assert asking.post("/api/v1/withdraw?account=paper", json=wrong).status_code == 422
    assert asking.post("/api/v1/withdraw?account=run:17", json={"command_id": own}).status_code == 409
    assert len(desk.withdrawn) == 1


def test_what_was_sent_as_a_configuration_says_by_which_way() -> None:
    desk = FakeDesk()
    asking = Client(application(desk), CONTROL)
    assert asking.post("/api/v1/config/apply", json={"toml": ""}).status_code == 202
    assert [source for *_, source in desk.configured] == ["the API"]


def test_every_kind_of_command_is_documented_with_its_arguments() -> None:
    document = openapi_document("0.5.0")
    assert set(get_args(CommandKind)) == set(ARGUMENTS) - {"configure"}
    kinds = document["components"]["schemas"]["CommandWish"]["properties"]["kind"]["enum"]
    assert kinds == list(get_args(CommandKind))
    guide = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    for path in ("/api/v1/commands", "/api/v1/commands/preview"):
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        assert list(body["examples"]) == kinds
        for kind, shown in body["examples"].items():
            wish = CommandWish.model_validate(shown["value"])
            assert {name: type(value) for name, value in wish.arguments.items()} == ARGUMENTS[kind]
            row = next(line for line in guide.splitlines() if line.startswith(f"| `{kind}` |"))
            assert set(re.findall(r"`(\w+)`", row.split("|")[2])) == set(ARGUMENTS[kind])


def test_a_command_without_anything_to_say_is_an_empty_object() -> None:
    desk = FakeDesk()
    answer = Client(application(desk), CONTROL).post(
        "/api/v1/pause", headers={"Content-Type": "application/json"}
    )
    assert problem(answer) == "the body is missing: send one JSON object"
    assert desk.told == []


def test_a_preview_tells_nobody_anything() -> None:
    desk = FakeDesk()
    asking = Client(application(desk), CONTROL)
    assert asking.post("/api/v1/commands/preview", json={"kind": "pause"}).status_code == 200
    assert asking.post("/api/v1/config/preview", json={"toml": ""}).status_code == 200
    assert desk.told == desk.configured == []


def test_health_counts_the_streams_of_this_server() -> None:
    assert Client(application()).get("/api/v1/health").json()["clients"] == 0


# --- what is refused


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("trades?lim=3", 422, "there is no parameter 'lim' here: did you mean limit?"),
        ("ping?x=1", 422, "there is no parameter 'x' here: this endpoint takes none"),
        ("status?accounts=a", 422, "there is no parameter 'accounts' here: did you mean account?"),
        (
            "decisions?reason=share_usd",
            422,
            "the parameter reason is no reason that there is: did you mean share_used?",
        ),
        (
            "decisions/counts?reason=share_used&reason=zzzz",
            422,
            "the parameter reason is no reason that there is: decisions/counts names those that were given",
        ),
        ("trades?limit=0", 422, "the parameter limit must be 1 or more"),
        ("trades?limit=501", 422, "the parameter limit must be 500 or less"),
        ("trades?limit=ten", 422, "the parameter limit is no whole number"),
        ("trades?limit=2&limit=3", 422, "the parameter limit stands there twice: send it once"),
        ("trades?outcome=draw", 422, "the parameter outcome must be 'win' or 'loss'"),
        ("trades?descending=2", 422, "the parameter descending is neither true nor false"),
        (f"trades?end_ms={LATEST_MS + 1}", 422, f"the parameter end_ms must be {LATEST_MS} or less"),
        ("explain?at_ms=1", 422, "the parameter symbol is missing"),
        (
            "explain?at_ms=1&symbol=BTC",
            422,
            "the parameter symbol is not spelled like one: see its examples in /api/v1/openapi.json",
        ),
        (
            "trades?symbol=BTC/USDT&symbol=x",
            422,
            (
                "the parameter symbol (number 2) is not spelled like one: see its examples in "
                "/api/v1/openapi.json"
            ),
        ),
        (
            "trades?start_ms=2&end_ms=2",
            400,
            "the span is empty: end_ms is exclusive and must be later than start_ms",
        ),
        (
            f"pair_levels?symbol=BTC/USDT&start_ms=0&end_ms={(SPAN_DAYS_MAX + 1) * DAY_MS}",
            400,
            "the span is longer than 400 days: ask for less at once",
        ),
        ("trades?cursor=zzz", 400, "'zzz' is no cursor: send `next` of the page before, as it is"),
        ("status?account=nobody", 404, "there is no account nobody: there are paper and run:17"),
        (
            "trades?symbol=XRP/USDT",
            404,
            "paper does not watch XRP/USDT: there are BTC/USDT and ETH/USDT",
        ),
        ("trades?strategy=MAGIC", 404, "paper has no strategy MAGIC: there are DCA and SWING"),
        ("locks?account=run:17", 409, "run:17 is a recorded run: only a trading account can do this"),
        (
            "nothing",
            404,
            "there is nothing under this address: /api/v1/openapi.json names every endpoint",
        ),
    ],
)
def test_a_refusal_is_one_sentence_that_helps(path: str, status: int, sentence: str) -> None:
    answer = Client(application()).get(f"/api/v1/{path}")
    assert answer.status_code == status
    assert problem(answer) == sentence


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ("{", 422, "the body is no JSON: send one JSON object"),
        ("", 422, "the body is missing: send one JSON object"),
        ("[]", 422, "the body is no JSON object"),
        ("null", 422, "the body is missing: send one JSON object"),
        ("{}", 422, "the field kind is missing"),
        ('{"kind": "pause", "arguments": 3}', 422, "the field arguments is no JSON object"),
        ('{"kind": "pause", "whom": 1}', 422, "the field whom is not known"),
        ('{"kind": "pause", "not_before_ms": "soon"}', 422, "the field not_before_ms is no whole number"),
        ('{"kind": "pause", "not_before_ms": true}', 422, "the field not_before_ms is no whole number"),
        ('{"kind": "pause", "not_before_ms": 5.0}', 202, ""),
        ('{"kind": "pause", "arguments": {"on": {}}}', 422, "the field arguments.on is no text"),
        (
            '{"kind": "dance"}',
            422,
            (
                "the field kind must be 'pause', 'resume', 'close', 'close_worst', 'regime_force', "
                "'regime_release', 'cooldown_clear', 'streak_clear', 'strategy_on', 'strategy_off', 'block' or "
                "'unblock'"
            ),
        ),
    ],
)
def test_a_body_that_is_not_understood_says_where(body: str, status: int, sentence: str) -> None:
    answer = Client(application(), CONTROL).post(
        "/api/v1/commands", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status
    assert not sentence or problem(answer) == sentence


def test_no_answer_repeats_what_could_be_a_secret() -> None:
    secret = "my-api-key-0123456789"  # noqa: S105 - no secret of anybody
    asking = Client(application(), CONTROL)
    answers = [
        asking.get(f"/api/v1/trades?limit={secret}"),
        asking.get(f"/api/v1/status?account={secret}!"),
        asking.post("/api/v1/commands", json={"kind": {"deep": secret}}),
        asking.post("/api/v1/commands", content=secret, headers={"Content-Type": "application/json"}),
        Client(application(), secret).get("/api/v1/status"),
    ]
    assert [answer.status_code for answer in answers] == [422, 422, 422, 422, 401]
    assert not [answer.text for answer in answers if secret in answer.text]


def test_records_that_cannot_be_read_are_told_without_where_they_lie() -> None:
    desk = FakeDesk()
    desk.broken = broken_store()
    answer = Client(application(desk)).get("/api/v1/status")
    assert answer.status_code == 503
    assert problem(answer) == "the database trading.db is locked: try again"


NAMES = st.text("abcdefgXYZ0123456789._-äß", min_size=3, max_size=12).filter(lambda name: name.strip("._-"))


@given(
    st.lists(NAMES, min_size=2, max_size=6, unique=True),
    st.sampled_from(["{}: try again", "{} is locked", "it is ({})"]),
)
def test_no_folder_of_a_path_is_ever_told(parts: list[str], sentence: str) -> None:
    told = without_paths(sentence.format("/" + "/".join(parts)))
    assert "/" not in told
    assert parts[-1].rstrip(".") in told
    assert not [part for part in parts[:-1] if part in told.replace(parts[-1], "") and part not in sentence]


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("user_data/anna/secret/config.toml: limits is no table", "config.toml: limits is no table"),
        ("the database user_data/market.db is locked", "the database market.db is locked"),
        ("(user_data/market.db-wal)", "(market.db-wal)"),
        ("../anna/user_data cannot be made", "user_data cannot be made"),
        ("put ~/.secret/runs.db back", "put runs.db back"),
        ("'./anna/bars.csv.zst' ends early", "'bars.csv.zst' ends early"),
        ("anna\\user_data\\market.db", "market.db"),
    ],
)
def test_a_path_that_does_not_start_at_the_root_is_told_by_its_last_part(sentence: str, told: str) -> None:
    assert without_paths(sentence) == told


@pytest.mark.parametrize(
    "sentence",
    [
        "BTC/USDT and ETH/USDT are 1/3 of it",
        "it trades ETH/USDT. There is no America/Argentina/Buenos_Aires.",
        "behind a proxy: see docs/api.md and /api/v1/openapi.json",
        "read/control, and/or 1.5/2.5 of BTC/USDT...",
        "see /api/v1/openapi.json",
        "listen on http://127.0.0.1:8080/ instead",
        "read 3/4, and 24h/7d",
    ],
)
def test_symbols_shares_and_addresses_are_no_paths(sentence: str) -> None:
    assert without_paths(sentence) == sentence


@pytest.mark.parametrize(
    "error", [RuntimeError("line 17 of /srv/anna"), SimulationError("line 17 of /srv/anna")]
)
def test_a_mistake_of_the_server_shows_its_traceback_to_the_log_alone(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    desk = FakeDesk()
    desk.broken = error
    answer = Client(application(desk)).get("/api/v1/status")
    assert answer.status_code == 500
    assert problem(answer) == "the server made a mistake, which its log tells of: try again later"
    assert "line 17 of /srv/anna" in caplog.text
    assert "Traceback" in caplog.text


def test_what_stands_in_the_way_is_told_as_it_was_written() -> None:
    desk = FakeDesk()
    desk.broken = CryptoTrackerError("the replay of paper ended before the command could act")
    answer = Client(application(desk), CONTROL).post("/api/v1/pause", json={})
    assert (answer.status_code, answer.json()["detail"]) == (409, str(desk.broken))


def test_every_error_of_the_program_has_a_status_of_its_own_or_is_a_mistake() -> None:
    def kinds(kind: type[CryptoTrackerError]) -> set[type[CryptoTrackerError]]:
        return {kind}.union(*map(kinds, kind.__subclasses__()))

    for kind in kinds(CryptoTrackerError):
        if not kind.__module__.startswith(("crypto_tracker.core", "crypto_tracker.desk")):
            continue
        desk = FakeDesk()
        desk.broken = kind("it is so")
        assert Client(application(desk)).get("/api/v1/status").status_code in {400, 404, 409, 500, 503}


# --- what stands on every answer


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/ping", 200),
        ("GET", "/api/v1/status", 200),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/trades?limit=0", 422),
        ("POST", "/api/v1/status", 405),
        ("POST", "/api/v1/pause", 403),
        ("GET", "/somewhere", 404),
        ("GET", "/api/v1/status?account=broken", 500),
    ],
)
def test_every_answer_protects_the_browser(method: str, path: str, status: int) -> None:
    desk = FakeDesk()
    if status == 500:
        desk.broken = RuntimeError("a mistake")
    answer = Client(application(desk)).request(method, path)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers


def test_no_script_or_style_may_stand_in_a_page_and_nothing_comes_from_elsewhere() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")


def test_long_answers_are_packed_and_short_ones_are_not() -> None:
    asking = Client(application())
    assert asking.get("/api/v1/status").headers["content-encoding"] == "gzip"
    assert "content-encoding" not in asking.get("/api/v1/ping").headers
    plain = asking.get("/api/v1/status", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers


# --- how much


def test_a_body_that_is_too_large_is_refused_before_it_is_read() -> None:
    app = application(web=settings(body_bytes_max=1_000))
    answer = Client(app, CONTROL).post("/api/v1/config/preview", json={"toml": "#" * 1_000})
    assert answer.status_code == 413
    assert problem(answer) == "the body is larger than 1000 bytes, which is web.body_bytes_max: send less"


def test_a_body_of_unknown_length_is_refused_once_it_is_too_large() -> None:
    """Chunk after chunk over a real socket: the answer comes long before the end, which never comes."""
    with running(application(web=settings(body_bytes_max=10_000))) as http:
        port = int(http.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10.0) as line:
            line.sendall(
                b"POST /api/v1/config/preview HTTP/1.1\r\nHost: localhost\r\n"
                b"Authorization: Bearer " + CONTROL.encode() + b"\r\n"
                b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            for _ in range(11):
                line.sendall(b"3e8\r\n" + b"#" * 1_000 + b"\r\n")
            assert line.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_a_real_server_does_not_say_what_it_is() -> None:
    with running(application()) as http:
        answer = httpx.get(f"{http}/api/v1/ping", trust_env=False)
    assert answer.json() == {"status": "pong"}
    assert "server" not in answer.headers


# --- the document


def test_every_operation_is_documented_with_a_short_name_and_problems() -> None:
    document = openapi_document("0.5.0")
    operations = [each for methods in document["paths"].values() for each in methods.values()]
    names = [each["operationId"] for each in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        assert operation["summary"]
        assert operation["tags"]
        assert max(map(len, operation["summary"].split("\n"))) <= 100
        for status, answer in operation["responses"].items():
            kinds = set(answer["content"])
            assert kinds == ({"application/json"} if status.startswith("2") else {"application/problem+json"})
        for parameter in operation["parameters"]:
            assert parameter["description"]
            assert "anyOf" not in parameter["schema"]


def test_every_answer_and_every_body_has_an_example_that_is_one() -> None:
    paths = openapi_document("0.5.0")["paths"]
    routes = {route.name: route for route in application().routes if isinstance(route, APIRoute)}
    for methods in paths.values():
        for operation in methods.values():
            answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            assert len(answers) == 1
            route = routes[operation["operationId"]]
            answer = answers[0]["content"]["application/json"]["example"]
            TypeAdapter(route.response_model).validate_json(json.dumps(answer), strict=True)
            if route.body_field is not None:
                body = operation["requestBody"]["content"]["application/json"]
                shown = body.get("examples") or {"": {"value": body["example"]}}
                for each in shown.values():
                    kind = TypeAdapter[Any](route.body_field.field_info.annotation)
                    kind.validate_json(json.dumps(each["value"]), strict=True)


def test_every_message_of_the_stream_is_in_the_document() -> None:
    schemas = openapi_document("0.5.0")["components"]["schemas"]
    assert {model.__name__ for model in (*CLIENT_MESSAGES, *SERVER_MESSAGES)} <= schemas.keys()
    assert len(schemas["StreamMessage"]["oneOf"]) == len(SERVER_MESSAGES)
    assert len(schemas["StreamWish"]["oneOf"]) == len(CLIENT_MESSAGES)


def test_the_reasons_that_can_be_asked_for_are_those_that_there_are() -> None:
    assert set(get_args(ExitCode)) == {reason.code for reason in ExitReason} - {"none"}


def test_the_document_is_written_without_a_home(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "crypto_tracker", "--home", str(tmp_path / "none"), "openapi"],
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert json.loads(done.stdout)["openapi"].startswith("3.1")
    assert not (tmp_path / "none").exists()


# --- the page


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    files = {
        "index.html": b"<!doctype html><title>crypto-tracker</title>",
        "favicon.svg": b"<svg/>",
        "assets/main-4f2a.js": b"console.log(1)" * 200,
    }
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)
    (tmp_path / "assets/main-4f2a.js.gz").write_bytes(gzip.compress(files["assets/main-4f2a.js"]))
    return tmp_path


def ask(page: Path | None, path: str, **options: Any) -> httpx.Response:
    return Client(application(static=page), None).get(path, **options)


@pytest.mark.parametrize("path", ["/", "/trading", "/symbol/BTC/USDT", "/trading?account=run:17"])
def test_every_view_of_the_page_is_an_address(page: Path, path: str) -> None:
    answer = ask(page, path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["cache-control"] == "no-cache"


def test_a_file_that_is_named_by_its_content_is_kept_for_ever_and_comes_packed(page: Path) -> None:
    answer = ask(page, "/assets/main-4f2a.js")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.text == "console.log(1)" * 200
    assert int(answer.headers["content-length"]) < 200


@pytest.mark.parametrize(
    "path", ["/assets/main-0000.js", "/assets/", "/robots.txt", "/assets/main-4f2a.js.gz"]
)
def test_a_file_that_is_gone_is_not_the_page(page: Path, path: str) -> None:
    """A tab of yesterday asks for a part of the page that the new version lacks: it must notice."""
    assert problem(ask(page, path))


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", "//etc/passwd", "/link.txt"],
)
def test_nothing_outside_the_folder_is_ever_served(page: Path, path: str) -> None:
    (page.parent / "secret.txt").write_text("a secret")
    (page / "link.txt").symlink_to(page.parent / "secret.txt")
    assert "secret" not in ask(page, path).text


def test_what_the_browser_has_already_is_not_sent_again(page: Path) -> None:
    first = ask(page, "/")
    again = ask(page, "/", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    (page / "index.html").write_bytes(b"<!doctype html><title>new</title>")
    assert ask(page, "/", headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def test_a_page_that_is_built_anew_is_served_by_the_running_server(page: Path) -> None:
    asking = Client(application(static=page), None)
    asking.get("/")
    (page / "assets/other-77.js").write_bytes(b"2")
    (page / "index.html").write_bytes(b"<!doctype html><title>new</title>")
    assert "new" in asking.get("/").text
    assert asking.get("/assets/other-77.js").status_code == 200


def test_the_api_answers_where_the_page_was_not_built() -> None:
    assert "was not built" in problem(ask(None, "/"))
    assert ask(None, "/api/v1/ping").status_code == 200


def test_the_guide_names_every_endpoint_with_its_scope() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in guide.splitlines() if line.startswith(("| `GET", "| `POST"))]
    told = {
        (name, scope.strip())
        for _, names, scope, *_ in rows
        for name in re.findall(r"`([A-Z]+ /\S+)`", names)
    }
    there = {
        (f"{method.upper()} {path.removeprefix('/api/v1')}", "".join(each.get("token", [])))
        for path, methods in openapi_document("0.5.0")["paths"].items()
        for method, operation in methods.items()
        for each in operation["security"] or [{}]
    }
    assert told == there
