"""`web`, `tokens` and `openapi` as a person runs them."""

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from websockets.sync.client import connect

from crypto_tracker.app import connections
from crypto_tracker.app.cli.common import Session
from crypto_tracker.app.cli.web import _from_the_root
from crypto_tracker.app.supervising import PARENT_VARIABLE
from crypto_tracker.app.web import Configured
from crypto_tracker.config.tree import Configuration, load_configuration
from crypto_tracker.desk.web import gate
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.strategies.registry import builtin
from tests.app.conftest import run_command
from tests.desk.served import application, running, settings

SECONDS = 240.0
EVERYWHERE = "0.0.0.0"  # noqa: S104 - a test of just this


class Ran(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(home: Path, *arguments: str) -> Ran:
    return Ran(*run_command(home, *arguments))


def environment(**named: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_TRACKER_")}
    return kept | named


class Server:
    def __init__(self, process: subprocess.Popen[str], address: str, said: list[str]) -> None:
        self.process = process
        self.address = address
        self.said = said

    def get(self, path: str, token: str | None = None, **headers: str) -> httpx.Response:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return httpx.get(f"{self.address}{path}", headers=headers, trust_env=False, timeout=SECONDS)


@contextmanager
def serving(home: Path, *arguments: str, **named: str) -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, "-m", "crypto_tracker", "--home", str(home), "web", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(**named),
    )
    assert process.stdout is not None
    try:
        said = []
        while not (found := re.search(r" at (http://\S+/)", "".join(said))):
            line = process.stdout.readline()
            assert line, "".join(said)
            said.append(line)
        server = Server(process, found[1], said)
        until(lambda: server.get("api/v1/ping").status_code == 200)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(SECONDS)
        process.stdout.close()


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def rest(server: Server) -> str:
    assert server.process.stdout is not None
    return "".join(server.said) + server.process.stdout.read()


# --- tokens


def test_a_token_is_shown_once_listed_without_its_text_and_revoked(tmp_path: Path) -> None:
    made = run(tmp_path, "tokens", "create", "anna", "--scope", "control")
    token = made.stdout.strip()
    assert re.fullmatch(r"ct_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", token)
    assert "not shown again" in made.stderr
    listed = run(tmp_path, "tokens", "list")
    assert re.search(rf"{token[3:11]}  anna  read, control  \d{{4}}-\d\d-\d\d \d\d:\d\d  -", listed.stdout)
    assert max(map(len, listed.stdout.splitlines())) <= 80
    assert token[12:] not in listed.stdout
    assert run(tmp_path, "tokens", "revoke", "anna").stdout == f"anna ({token[3:11]}) is revoked\n"
    assert "There is no token" in run(tmp_path, "tokens", "list").stderr
    assert token[3:11] in run(tmp_path, "tokens", "list", "--all").stdout


def test_tokens_speak_json(tmp_path: Path) -> None:
    made = json.loads(run(tmp_path, "tokens", "create", "bot", "--json").stdout)
    assert (made["name"], made["scopes"], made["token"][3:11]) == ("bot", ["read"], made["token_id"])
    (listed,) = json.loads(run(tmp_path, "tokens", "list", "--json").stdout)["tokens"]
    assert listed == {name: value for name, value in made.items() if name != "token"}


def test_only_a_digest_is_in_the_file_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    token = run(tmp_path, "tokens", "create", "anna").stdout.strip()
    files = list(tmp_path.glob("access.db*"))
    assert files
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert token[12:].encode() not in file.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "anna"), "there is a token anna already"),
        (("create", "../x"), "is no name of a token"),
        (("revoke", "bert"), "there is no token 'bert'"),
    ],
)
def test_a_token_that_cannot_be_made_or_revoked_is_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    run(tmp_path, "tokens", "create", "anna")
    refused = run(tmp_path, "tokens", *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert words in refused.stderr


def test_to_list_tokens_makes_no_file(tmp_path: Path) -> None:
    assert run(tmp_path, "tokens", "list").returncode == 0
    assert list(tmp_path.iterdir()) == []


# --- web


def test_it_says_where_it_listens_answers_a_token_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert server.get("api/v1/accounts").status_code == 401
        token = run(tmp_path, "tokens", "create", "anna").stdout.strip()
        answer = server.get("api/v1/identity", token)
        assert (answer.status_code, answer.json()["actor"]) == (200, "web:anna")
        assert server.get("api/v1/accounts", token).json() == {"items": []}
        assert "server" not in answer.headers
        run(tmp_path, "tokens", "revoke", "anna")
        assert server.get("api/v1/identity", token).status_code == 401
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(SECONDS) == 130
        said = rest(server)
    assert "nobody is let in without a token" in said
    assert "there is no token yet: `crypto-tracker tokens create NAME --scope control` makes one" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_open_streams_do_not_hold_it_up(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, "--open-to-loopback", "control") as server:
        assert server.get("api/v1/identity").json()["scopes"] == ["read", "control"]
        with connect(f"{server.address.replace('http', 'ws')}api/v1/ws") as client:
            assert json.loads(client.recv(SECONDS))["type"] == "hello"
            server.process.send_signal(number)
            assert server.process.wait(SECONDS) == 130  # although the client has not left
        assert "Traceback" not in rest(server)


def test_a_request_that_was_not_sent_whole_does_not_hold_it_up(tmp_path: Path) -> None:
    head = b"POST /api/v1/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with serving(tmp_path, "--open-to-loopback", "control") as server:
        port = int(server.address.rstrip("/").rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port), SECONDS) as half,
            socket.create_connection(("127.0.0.1", port), SECONDS) as silent,
        ):
            half.sendall(head + b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n")
            assert half.recv(4_096).startswith(b"HTTP/1.1 100 ")  # it is read from now on
            half.sendall(b"{")
            server.process.send_signal(signal.SIGTERM)
            answer = b"".join(iter(lambda: half.recv(4_096), b""))
            # It is answered, which it would not be once it is cut off.
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"the server is being ended" in answer
            assert silent.recv(4_096) == b""
        assert server.process.wait(SECONDS) == 130
        said = rest(server)
    assert not [words for words in ("Traceback", "ERROR", "WARNING") if words in said]


def test_it_ends_where_the_supervisor_that_started_it_is_gone(tmp_path: Path) -> None:
    gone = {PARENT_VARIABLE: str(os.getpid() + 1)}  # some process, but not its parent
    done = subprocess.run(
        [sys.executable, "-m", "crypto_tracker", "--home", str(tmp_path), "web", "--port", "0"],
        capture_output=True,
        timeout=SECONDS,
        check=False,
        env=environment(**gone),
    )
    assert done.returncode in {130, -signal.SIGTERM}  # the latter where it did not listen yet


def test_a_port_that_is_taken_is_one_sentence_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = run(tmp_path, "web", "--port", port)
    assert refused.returncode == 1
    assert refused.stderr.strip() == (
        f"port {port} of 127.0.0.1 is taken: end what listens there, or choose another with --port or web.port "
        "(--port 0 takes any that is free)"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--host", "203.0.113.7"), 1, "203.0.113.7 is no address of this machine"),
        (("--host", "no such host"), 1, "is no address of a machine"),
        (("--open-to-loopback", "everything"), 2, "everything"),
        (
            ("--open-to-loopback", "read", "--set", 'web.hosts=["x.org"]'),
            2,
            "set web.open_to_loopback to none",
        ),
        (("--set", "web.requests_per_minute=0"), 2, "web.requests_per_minute"),
    ],
)
def test_what_cannot_be_served_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    refused = run(tmp_path, "web", *arguments)
    assert refused.returncode == code
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr


def test_it_warns_where_other_machines_reach_it_without_tls(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", EVERYWHERE, "--open-to-loopback", "read") as server:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(SECONDS)
        said = rest(server)
    assert server.address.startswith("http://127.0.0.1:")
    assert "set web.open_to_loopback to none" in said
    assert len([line for line in said.splitlines() if line.startswith("warning: ") and "no TLS" in line]) == 1


def test_what_does_not_become_a_request_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.2)
    app = application(web=settings(open_to_loopback="control", beat_seconds=0.4))
    with running(app, http=connections.Connection, ws=connections.Stream) as address:
        port = int(address.rpartition(":")[2])

        def answer(sent: bytes) -> bytes:
            with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
                with contextlib.suppress(ConnectionError):  # it was given up before all of it was sent
                    client.sendall(sent)
                    return b"".join(iter(lambda: client.recv(4_096), b""))  # until the server closes it
                return b""

        assert answer(b"") == answer(b"GET /api/v1/ping HTTP/1.1\r\nHost: localhost\r\n") == b""
        monkeypatch.setattr(connections, "HEAD_SECONDS", SECONDS)
        head = b"POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        assert answer(head + b"Content-Length: 2\r\n\r\n{").startswith(b"HTTP/1.1 408 ")
        with connect(f"ws://127.0.0.1:{port}/api/v1/ws") as stream:
            kinds = [json.loads(stream.recv(SECONDS))["type"] for _ in range(2)]
        assert kinds == ["hello", "beat"]


def test_the_files_of_a_server_are_named_from_the_root_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for own, expected in ((Path("own.toml"), tmp_path / "own.toml"), (None, None)):
        named = _from_the_root(
            Session(home=Path("anna"), config_path=own, assignments=("limits.max_open = 7",), environment={})
        )
        assert (named.home, named.config_path) == (tmp_path / "anna", expected)
        assert named.assignments == ("limits.max_open = 7",)


def test_the_configuration_is_read_again_once_its_file_has_changed(tmp_path: Path) -> None:
    path, loads = tmp_path / "config.toml", []

    def load() -> tuple[Configuration, Mapping[str, Strategy]]:
        loads.append(path.is_file())
        models = {name: strategy.parameters_model for name, strategy in builtin().items()}
        return load_configuration(models, file=None, environment={}, assignments=()).tree, builtin()

    configured = Configured(path, load)
    assert configured()[0] is configured()[0]
    assert configured.text() == ""
    path.write_text("[limits]\nmax_open = 20\n", encoding="utf-8")
    configured()
    configured()
    assert configured.text() == "[limits]\nmax_open = 20\n"
    assert loads == [False, True]
