"""What the frame of the page costs, obeys and offers: bytes of the first view, the content policy, accessibility."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.desk.shell_desk import PHONE, STATIC, needs_node, seen, shown

FIRST_VIEW_MAX_BYTES = 300_000
PAGES = ("trading", "strategies", "market", "research", "system", "symbol/ETH/USDT")
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    needs_node()
    with shown() as address:
        yield address


@pytest.mark.parametrize("path", PAGES)
def test_the_first_view_of_every_page_is_small_and_keeps_to_the_policy(chromium, address, path):
    with seen(chromium, address) as looking:
        page = looking.page
        page.add_init_script(
            "window.violations = [];"
            "addEventListener('securitypolicyviolation',"
            " event => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`))"
        )
        session = looking.context.new_cdp_session(page)
        session.send("Network.enable")
        transferred: list[int] = []
        session.on("Network.loadingFinished", lambda event: transferred.append(event["encodedDataLength"]))
        looking.open(f"/{path}")
        page.get_by_text("10,055.09").first.wait_for()
        page.wait_for_load_state("networkidle")
        assert sum(transferred) < FIRST_VIEW_MAX_BYTES
        page.keyboard.press("/")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Settings").click()
        assert page.evaluate("window.violations") == []


def test_what_is_served_is_what_was_built_packed(address):
    page = STATIC.joinpath("index.html").read_text()
    script = re.search(r'src="(/assets/index-[^"]+\.js)"', page)
    assert script is not None
    answer = httpx.get(address + script[1], headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.content == (STATIC / script[1].lstrip("/")).read_bytes()


def test_the_built_page_holds_no_inline_script_or_style_and_nothing_from_elsewhere():
    needs_node()
    page = STATIC.joinpath("index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<style|\bstyle=|\bon\w+=", page) == []
    assert re.findall(r"(?:src|href)=\"(?!/)[^\"]*\"", page) == []
    for sheet in STATIC.glob("assets/*.css"):
        assert re.findall(r"url\((?!['\"]?data:)|@import", sheet.read_text()) == [], sheet


def findings(page: Any) -> list[str]:
    """What axe finds serious, each with the place."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{one['impact']} {one['id']}: {[node['target'] for node in one['nodes']][:3]}"
        for one in found
        if one["impact"] in SERIOUS
    ]


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_everybody_can_use_the_frame(chromium, address, scheme):
    with seen(chromium, address, color_scheme=scheme, bypass_csp=True) as looking:
        page = looking.open("/nowhere")
        page.get_by_text("10,055.09").wait_for()
        assert findings(page) == []
        page.get_by_role("button", name=re.compile("^Account")).click()
        assert findings(page) == []
        page.get_by_role("button", name="Settings").click()
        assert findings(page) == []
        page.keyboard.press("Escape")
        page.get_by_role("button", name=re.compile("^Engine")).click()
        assert findings(page) == []
        page.keyboard.press("Escape")
        page.keyboard.press("/")
        page.get_by_role("option").first.wait_for()
        assert findings(page) == []
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        page.get_by_role("dialog", name="Help").wait_for()
        assert findings(page) == []
        page.goto(address + "/sign-in")
        page.get_by_role("heading", name="Sign in").wait_for()
        assert findings(page) == []


def test_everybody_can_use_the_frame_on_a_phone(chromium, address):
    with seen(chromium, address, viewport=PHONE, bypass_csp=True) as looking:
        page = looking.open("/nowhere")
        page.get_by_text("10,055.09").wait_for()
        assert findings(page) == []


def test_motion_is_left_out_where_it_is_not_wanted(chromium, address):
    with seen(chromium, address, reduced_motion="reduce") as looking:
        page = looking.open("/nowhere")
        slowest = page.evaluate(
            """() => Math.max(...[...document.querySelectorAll('*')].map((element) => {
              const style = getComputedStyle(element);
              const seconds = (text) => Math.max(...text.split(',').map(parseFloat));
              return Math.max(seconds(style.transitionDuration), seconds(style.animationDuration));
            }))"""
        )
        assert slowest < 0.001


def test_the_manifest_of_packages_names_no_registry_and_pins_every_version():
    root = STATIC.parents[4]
    lock = json.loads((root / "web" / "package-lock.json").read_text())
    installed = {name: entry for name, entry in lock["packages"].items() if name}
    assert len(installed) > 50
    assert all("resolved" not in entry for entry in installed.values())
    assert all(entry.get("integrity", "").startswith("sha512-") for entry in installed.values())
    manifest = json.loads((root / "web" / "package.json").read_text())
    for version in (manifest["dependencies"] | manifest["devDependencies"]).values():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
