"""A home for tests of the market, research and system pages: much of what they can show has happened in it.

The account `trader` of tests/trading/worlds.py stands in the middle of a crash, and people have paused it,
switched a strategy off, blocked a symbol. One backtest was recorded, and a collector that is gone left its word.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe

from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.store.collectors import CollectorRecords, Standing
from tests.app.conftest import run_command
from tests.desk.trading_page import Looked, plain, quiet_home, until
from tests.trading import worlds

CRASH_MINUTE = 610  # the fast regime is PANIC, and one symbol was stopped out
COLLECTED_MS = worlds.START_MS + CRASH_MINUTE * MINUTE_MS
WISHES = (
    worlds.Wished(None, "block", {"symbol": "SOL/USD"}),
    worlds.Wished(400, "strategy_off", {"strategy": "CHANNEL"}),
    worlds.Wished(590, "pause", {}),
)
_KEPT: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


@cache
def _made_home() -> Path:
    folder = tempfile.TemporaryDirectory()
    _KEPT.append(folder)
    home = quiet_home(Path(folder.name) / "home")
    worlds.tell(worlds.account_folder(home), WISHES)
    stop_ms = worlds.START_MS + CRASH_MINUTE * MINUTE_MS
    worlds.trade(home, enough=lambda step: step.time_ms >= stop_ms)
    span = worlds.timerange(worlds.START_MS, worlds.START_MS + 300 * MINUTE_MS)
    config = str(home / "config.toml")
    code, _, err = run_command(
        home, "-c", config, "backtest", "--timerange", span, "-i", "1m", "--record-scans"
    )
    assert code == 0, err
    with CollectorRecords.open(home) as records:
        figures = {"symbols": 6, "symbols_live": 5, "bars": 1_234, "reconnects": 2, "backlog_chunks": 0}
        records.tell(worlds.PROVIDER, Standing.LIVE, "", figures, now_ms=COLLECTED_MS)
    return home


def stormy_home(to: Path) -> Path:
    """The home, for one module of tests."""
    return Path(shutil.copytree(_made_home(), to, ignore=shutil.ignore_patterns("*.lock", "*-wal", "*-shm")))


SIZES = {
    "desk": {"width": 1440, "height": 900},
    "phone": {"width": 390, "height": 844},
    "cinema": {"width": 3840, "height": 2160},
}


@contextmanager
def looked_at(
    browser: Any, address: str, path: str, *, size: str = "desk", scheme: str = "dark"
) -> Iterator[Looked]:
    """A page of the site; whatever the browser complains of fails the test."""
    looked = Looked(browser, address, viewport=SIZES[size], color_scheme=scheme)
    try:
        looked.open(path)
        yield looked
    finally:
        looked.context.close()
    assert looked.complaints == [], f"the browser complains: {looked.complaints}"


def settled(look: Looked, text: str) -> None:
    """Wait until some words stand on the page, and nothing loads any more."""
    look.page.get_by_text(text).first.wait_for()
    until(lambda: look.page.locator(".skeleton, [aria-busy=true]").count() == 0)


def fits_and_serves_everybody(look: Looked) -> None:
    """Nothing is wider than the screen, and axe finds nothing."""
    assert look.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = Axe().run(look.page).response["violations"]
    told = [(one["id"], node["target"], node["failureSummary"]) for one in found for node in one["nodes"]]
    assert told == [], f"axe finds {told}"


def words(look: Looked, selector: str) -> list[str]:
    """The words of each match."""
    return [plain(text) for text in look.page.locator(selector).all_inner_texts()]
