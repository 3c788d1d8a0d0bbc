"""What tests of the symbol and the strategies page share: an account of five hours, made once, and how prices read."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from crypto_tracker.core.timeframes import HOUR_MS
from tests.app.conftest import run_command
from tests.desk.trading_page import as_shown, plain, traded_home
from tests.trading import worlds

HOURS = 5
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}

_KEPT: list[tempfile.TemporaryDirectory[str]] = []  # until the session ends


@cache
def traded_once() -> Path:
    """A home whose account traded for HOURS, with a recorded backtest of the same: nobody may change it."""
    _KEPT.append(tempfile.TemporaryDirectory(prefix="symbol-pages-"))
    home = traded_home(Path(_KEPT[-1].name) / "home", hours=HOURS)
    span = worlds.timerange(worlds.START_MS, worlds.START_MS + HOURS * HOUR_MS)
    code, _, error = run_command(home, "-c", str(home / "config.toml"), "backtest", "--timerange", span)
    assert code == 0, error
    return home


def decimals(price: float) -> int:
    """With how many decimals a price is written: five significant digits, two decimals at least."""
    return min(12, max(2, 4 - int(f"{price:e}".split("e")[1])))


def is_price(words: str | None, price: float) -> bool:
    """Whether these words are that price, up to how its last digit is rounded."""
    if words is None:
        return False
    return abs(float(words.replace(",", "")) - price) <= 0.51 * 10.0 ** -decimals(price)


def gates_shown(page: Any) -> dict[str, list[tuple[str, bool, str]]]:
    """The gates of every strategy that the page explains: which, whether passed, and the sentence."""
    page.wait_for_selector("article[data-verdict] [data-gate]")
    script = """() => Object.fromEntries([...document.querySelectorAll('article[data-verdict]')].map((scan) => [
        scan.dataset.strategy,
        [...scan.querySelectorAll('[data-gate]')].map((gate) => [
            gate.dataset.gate, gate.dataset.passed === 'true', gate.querySelector('.sentence').textContent,
        ]),
    ]))"""
    found = page.evaluate(script)
    return {
        name: [(gate, passed, plain(words)) for gate, passed, words in gates] for name, gates in found.items()
    }


def gates_told(
    strategies: list[dict[str, Any]], name: str = "strategy"
) -> dict[str, list[tuple[str, bool, str]]]:
    """The same, from an answer whose strategies are named under `name`."""
    return {
        each[name]: [(gate["gate"], gate["passed"], as_shown(gate["sentence"])) for gate in each["gates"]]
        for each in strategies
    }
