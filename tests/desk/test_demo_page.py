"""The demonstration as a person starts it: one command, a page on this machine, an account that trades."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from axe_playwright_python.sync_playwright import Axe

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")
PAGES = ("trading", "strategies", "market", "research", "system", "symbol/BTC/USD")
SIZES = {"wide": (1440, 900), "phone": (390, 844)}
SERIOUS = {"serious", "critical"}


def demo(home: Path, *arguments: str) -> list[str]:
    return [
        sys.executable, "-m", "crypto_tracker", "--home", str(home),
        "demo", "--seed", "3", "--days", "1", *arguments,
    ]  # fmt: skip


@dataclass
class Playing:
    """A demonstration that runs."""

    process: subprocess.Popen[str]
    address: str
    told: list[str]

    def until(self, words: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(line)
            if words in line:
                return
        raise AssertionError(f"{words!r} was never said: {''.join(self.told)}")

    def ask(self, path: str, **query: str) -> httpx.Response:
        return httpx.get(f"{self.address}api/v1/{path}", params=query, timeout=60.0, trust_env=False)

    def get(self, path: str, **query: str) -> Any:
        answer = self.ask(path, **query)
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.json()

    def opened(self) -> Any:
        """The status of the account; the page may answer before it is opened."""
        deadline = time.monotonic() + 240.0
        while (answer := self.ask("status", account="demo")).status_code != httpx.codes.OK:
            assert answer.status_code in {httpx.codes.NOT_FOUND, httpx.codes.SERVICE_UNAVAILABLE}, answer.text
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.05)
        return answer.json()


@contextmanager
def played(home: Path, speed: str = "24") -> Iterator[Playing]:
    """The command, until its page answers; it is ended like by Ctrl-C."""
    environment = {**os.environ, "COLUMNS": "200"}
    command = demo(home, "--speed", speed, "--no-browser")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        told: list[str] = []
        try:
            assert process.stdout is not None
            for line in process.stdout:
                told.append(line)
                found = "Look on" in line and ADDRESS.search(line)
                if found:
                    yield Playing(process, found.group(), told)
                    break
            else:
                raise AssertionError(f"the page was never opened: {''.join(told)}")
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=240)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def playing(home: Path) -> Iterator[Playing]:
    """A market that has ended: what is seen is the same at every run."""
    with played(home) as running:
        running.until("finished at")
        yield running


def test_what_the_engine_traded_is_what_the_simulator_says(playing: Playing, tmp_path: Path):
    told = subprocess.run(demo(tmp_path, "--json"), capture_output=True, text=True, check=True, timeout=600)
    simulated = json.loads(told.stdout)
    status = playing.get("status", account="demo")
    assert status["equity_quote"] == simulated["equity_final"]
    assert status["closed"]["trades"] == simulated["n_trades"] > 0
    assert status["open_positions"] == simulated["n_open"]
    assert status["synthetic"] is True
    assert playing.get("identity")["open_to_loopback"] == "control"
    traded = playing.get("trades", account="demo", limit="500")["items"]
    assert {each["trade_group_id"] for each in traded} == {
        each["trade_group_id"] for each in simulated["trades"]
    }


@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        ("wide", "dark"),
        ("phone", "light"),
        pytest.param("wide", "light", marks=pytest.mark.nightly),
        pytest.param("phone", "dark", marks=pytest.mark.nightly),
    ],
)
def test_every_page_of_it_is_whole_and_everybody_can_use_it(
    playing: Playing, chromium: Any, size: str, scheme: str
):
    width, height = SIZES[size]
    context = chromium.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, timezone_id="Europe/Berlin"
    )
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    shots = os.environ.get("CRYPTO_TRACKER_SHOTS")
    found: dict[str, list[str]] = {}
    try:
        for name in PAGES:
            page.goto(f"{playing.address}{name}")
            page.get_by_text("SYNTHETIC").first.wait_for()
            page.wait_for_load_state("networkidle")
            page.wait_for_function("document.querySelectorAll('[aria-busy=true]').length === 0")
            wider = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wider <= 0, f"{name} is {wider} pixels wider than a {size} screen"
            if shots:
                folder = Path(shots)
                folder.mkdir(parents=True, exist_ok=True)
                file = f"demo-{name.replace('/', '-')}-{size}-{scheme}.png"
                page.screenshot(path=folder / file, full_page=True)
            judged = Axe().run(page).response["violations"]
            grave = [
                f"{each['id']}: {each['nodes'][0]['html']}" for each in judged if each["impact"] in SERIOUS
            ]
            if grave:
                found[name] = grave
    finally:
        context.close()
    assert said == []
    assert found == {}


def test_a_market_that_is_shown_is_not_begun_anew_by_another_demo(playing: Playing, home: Path):
    before = playing.get("status", account="demo")
    told = subprocess.run(
        demo(home, "--no-browser"), capture_output=True, text=True, check=False, timeout=240
    )
    assert told.returncode == 2
    assert "this market is shown already" in told.stderr
    assert playing.get("status", account="demo")["closed"] == before["closed"]


def test_a_port_that_was_asked_for_and_is_taken_is_refused(playing: Playing, tmp_path: Path):
    taken = str(httpx.URL(playing.address).port)
    told = subprocess.run(
        demo(tmp_path, "--no-browser", "--port", taken),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert told.returncode == 2
    assert f"port {taken} of 127.0.0.1 is taken" in told.stderr


def test_ctrl_c_ends_all_of_it_and_the_next_time_begins_anew(playing: Playing, home: Path):
    assert playing.get("status", account="demo")["progress"] == 1.0
    _end(playing.process)
    with played(home, speed="0.1") as again:  # hours a second: it does not end before it was looked at
        began = again.opened()
        assert began["progress"] is None or began["progress"] < 1.0
        _end(again.process)


def _end(process: subprocess.Popen[str]) -> None:
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=240)
    assert process.returncode == 0
    assert psutil.wait_procs(children, timeout=120)[1] == []
