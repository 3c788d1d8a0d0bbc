"""What tests of the trading page and its controls share: an account that has traded, a server over it, a page.

The account is the lively one of tests/trading/worlds.py: six coins, a crash, ladders, stops and cooldowns within
hours. What the page shows is held against what the API says, never against numbers of the page itself.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
from axe_playwright_python.sync_playwright import Axe

from crypto_tracker.core.timeframes import HOUR_MS
from tests.trading import worlds

START_SECONDS = 60.0
WAIT_SECONDS = 20.0
CONTENT = "main section.card"


def traded_home(to: Path, *, hours: int) -> Path:
    """A home whose account `trader` was traded for some hours, with nobody meddling."""
    home = quiet_home(to)
    end_ms = worlds.START_MS + hours * HOUR_MS
    worlds.trade(home, enough=lambda record: record.time_ms >= end_ms)
    return home


def quiet_home(to: Path) -> Path:
    """A home in which nobody has traded yet, whose server minds no number of requests."""
    home = worlds.new_home(to)
    with (home / "config.toml").open("a", encoding="utf-8") as file:
        file.write("web.requests_per_minute = 1000000\n")
    return home


@contextmanager
def served(home: Path, *, opened: str = "control") -> Iterator[str]:
    """The address of the server over a home, as a process of its own; loopback needs no token for `opened`."""
    command = [sys.executable, "-m", "crypto_tracker", "--home", str(home), "web"]
    process = subprocess.Popen(
        [*command, "--port", "0", "--open-to-loopback", opened],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(),
    )
    try:
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            told.append(line)
            found = re.search(r"page and API at (http://\S+)", line)
            if found is not None:
                yield found.group(1).rstrip("/")
                break
        else:
            raise AssertionError(f"the server did not start: {''.join(told)}")
    finally:
        _end(process)


@contextmanager
def traded(home: Path, *, speed: int) -> Iterator[None]:
    """The real trader over the account, paced: so many minutes of the market in one of the clock."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "crypto_tracker", "--home", str(home), "-c", str(home / "config.toml")),
            *("trade", "--replay", worlds.span(), "--account", worlds.ACCOUNT, "--speed", str(speed)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    try:
        yield
        assert process.poll() is None, f"the trader has ended: {process.stderr and process.stderr.read()}"
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(timeout=WAIT_SECONDS)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


class Api:
    """Asks the server what the page should show."""

    def __init__(self, address: str) -> None:
        self._base = f"{address}/api/v1"

    def get(self, path: str, **query: Any) -> Any:
        """The answer to one question."""
        answer = httpx.get(f"{self._base}/{path}", params=query, timeout=WAIT_SECONDS, trust_env=False)
        answer.raise_for_status()
        return answer.json()

    def all(self, path: str, *, most: int | None = None, **query: Any) -> list[Any]:
        """All items of a list, page after page, until there are enough."""
        items: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get(path, **query, **cursor, limit=500)
            items += page["items"]
            if page["next"] is None or (most is not None and len(items) >= most):
                return items
            cursor = {"cursor": page["next"]}


class Looked:
    """One browser page, what it complained of, and pictures of it where they are wanted."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self._address = address
        given = {"viewport": {"width": 1440, "height": 900}, "timezone_id": "UTC", "color_scheme": "dark"}
        self.context = browser.new_context(**(given | options))
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_SECONDS * 1000)
        self.complaints: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def open(self, path: str) -> Any:
        """Go to a page of the site and wait for its content."""
        self.page.goto(self._address + path)
        self.page.wait_for_selector(CONTENT)
        return self.page

    def text(self, selector: str) -> str:
        """The words of the first match, spaces as on the screen."""
        return plain(self.page.locator(selector).first.inner_text())

    def shoot(self, name: str) -> None:
        """Keep a picture, where CRYPTO_TRACKER_SHOTS names a folder."""
        folder = os.environ.get("CRYPTO_TRACKER_SHOTS")
        if folder:
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"))

    def serves_everybody(self) -> None:
        """Nothing is wider than the screen, and axe finds nothing to complain of."""
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        found = Axe().run(self.page).response["violations"]
        assert [(one["id"], node["target"]) for one in found for node in one["nodes"]] == []

    def close(self) -> None:
        """Close the page; whatever it complained of fails the test."""
        self.context.close()
        assert self.complaints == []


def plain(text: str) -> str:
    """Words with single spaces."""
    return " ".join(text.split())


def as_shown(sentence: str) -> str:
    """A sentence of the API as a browser in UTC shows it: signs as figures have them, moments without a zone."""
    moments = re.sub(r"(\d{4}-\d\d-\d\d \d\d:\d\d) UTC", r"\1", sentence)
    minus = re.sub(r"(^|[\s(])-(?=\d)", r"\1−", moments)
    return plain(re.sub(r"(\d) ?x(?!\w)", r"\1 ×", minus).replace("`", ""))


def rounded(value: float, digits: int) -> str:
    """A figure as browsers round it: by the digits that it is written with, halves away from zero."""
    return f"{Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):,}"


def money(value: float | None, *, signed: bool = False) -> str:
    """An amount as the page writes it: worked out here once more, with the sign of minus."""
    if value is None:
        return "–"
    words = rounded(abs(value), 2)
    if not float(words.replace(",", "")):
        return words
    return ("−" if value < 0 else "+" if signed else "") + words


def percent(value: float | None, *, signed: bool = False, digits: int = 2) -> str:
    """A fraction as the page writes it."""
    if value is None:
        return "–"
    words = rounded(abs(value) * 100, digits)
    if not float(words.replace(",", "")):
        return f"{words} %"
    return ("−" if value < 0 else "+" if signed else "") + words + " %"


def until(question: Any, seconds: float = WAIT_SECONDS) -> Any:
    """The first answer that is true, asked again and again until the deadline."""
    deadline = monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        assert monotonic() < deadline, f"still {answer!r} after {seconds:g} s"
        sleep(0.05)
