"""The frame of the page over a long day: live figures, a lost connection that heals, and a tab that does not grow."""

import threading
import time
from collections.abc import Iterator

import pytest

from tests.desk.shell_desk import EQUITY, ShellDesk, needs_node, seen, shown

UPDATES = 3_000
AT_ONCE = 50
GROWTH_MAX_BYTES = 4_000_000


@pytest.fixture(scope="module")
def desk() -> ShellDesk:
    return ShellDesk()


@pytest.fixture(scope="module")
def address(desk: ShellDesk) -> Iterator[str]:
    needs_node()
    with shown(desk) as address:
        yield address


@pytest.fixture(autouse=True)
def as_before(desk: ShellDesk) -> None:
    desk.worth = EQUITY


def equity(page) -> str:
    return " ".join(page.locator("header.bar dl div", has_text="Equity").inner_text().split())


def until_equity_is(page, words: str) -> None:
    page.wait_for_function(
        "words => document.querySelector('header.bar dl').innerText.includes(words)", arg=words
    )


def test_the_equity_moves_by_itself(chromium, desk, address):
    with seen(chromium, address) as looking:
        page = looking.open("/system")
        page.get_by_text("Live: what is new comes by itself").wait_for(state="attached")
        until_equity_is(page, "10,055.09")
        desk.equity_is(10_123.45)
        until_equity_is(page, "10,123.45")
        assert equity(page) == "Equity 10,123.45 USDT"


def test_a_lost_connection_is_said_at_once_and_heals_by_itself(chromium, desk, address):
    with seen(chromium, address) as looking:
        page = looking.page
        streams = []
        refusing = threading.Event()

        def stream(route) -> None:
            if refusing.is_set():
                route.close(code=1011)
                return
            streams.append(route)
            route.connect_to_server()

        page.route_web_socket("**/api/v1/ws", stream)
        looking.open("/system")
        page.get_by_text("Live: what is new comes by itself").wait_for(state="attached")
        page.wait_for_load_state("networkidle")
        page.get_by_role("button", name="Engine: Attention").click()
        switch = page.locator("button[data-command]").first
        switch.wait_for()
        assert switch.get_attribute("aria-disabled") == "false"

        refusing.set()
        streams[-1].close(code=1011)
        banner = page.get_by_text("No connection since")
        banner.wait_for(timeout=2_000)
        assert page.locator("main.stale").count() == 1
        assert page.get_by_text("Live: what is new comes by itself").count() == 0
        assert switch.get_attribute("aria-disabled") == "true"
        assert "No connection" in switch.get_attribute("title")

        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        refusing.clear()
        banner.wait_for(state="detached")
        assert page.locator("main.stale").count() == 0
        assert switch.get_attribute("aria-disabled") == "false"
        # What was missed meanwhile is fetched.
        deadline = time.monotonic() + 10.0
        while not any("/api/v1/status" in url for url in asked) and time.monotonic() < deadline:
            page.wait_for_timeout(50)
        assert any("/api/v1/status" in url for url in asked)
        assert any("/api/v1/health" in url for url in asked)
        desk.equity_is(9_876.54)
        until_equity_is(page, "9,876.54")


def test_a_stream_that_falls_silent_is_taken_for_lost(chromium, address):
    with seen(chromium, address) as looking:
        page = looking.page
        silent = threading.Event()

        def stream(route) -> None:
            server = route.connect_to_server()
            server.on_message(lambda message: None if silent.is_set() else route.send(message))

        page.route_web_socket("**/api/v1/ws", stream)
        looking.open("/system")
        page.get_by_text("Live: what is new comes by itself").wait_for(state="attached")
        page.wait_for_timeout(1_000)  # until it has heard how often the server gives a sign of life
        silent.set()
        page.get_by_text("No connection since").wait_for(timeout=8_000)
        silent.clear()
        page.get_by_text("No connection since").wait_for(state="detached")


def test_a_server_that_is_not_there_yet_is_waited_for(chromium, address):
    with seen(chromium, address) as looking:
        page = looking.page
        page.route("**/api/v1/identity", lambda route: route.abort())
        looking.open("/system")
        page.get_by_text("No connection", exact=True).wait_for()
        page.unroute("**/api/v1/identity")
        page.get_by_text("10,055.09").wait_for()
        assert all("ERR_FAILED" in complaint for complaint in looking.complaints)
        looking.complaints.clear()


def test_a_tab_that_hears_thousands_of_updates_does_not_grow(chromium):
    needs_node()
    desk = ShellDesk()
    with shown(desk) as address, seen(chromium, address) as looking:
        page = looking.open("/trading")
        page.get_by_text("Live: what is new comes by itself").wait_for(state="attached")
        page.wait_for_load_state("networkidle")
        session = looking.context.new_cdp_session(page)

        def used() -> tuple[int, int, int]:
            session.send("HeapProfiler.collectGarbage")
            page.wait_for_timeout(50)
            session.send("HeapProfiler.collectGarbage")
            counters = session.send("Memory.getDOMCounters")
            heap = session.send("Runtime.getHeapUsage")["usedSize"]
            return heap, counters["nodes"], counters["jsEventListeners"]

        def hear(updates: int, begin: float) -> None:
            for number in range(updates):
                desk.equity_is(begin + number)
                if number % AT_ONCE == 0 or number == updates - 1:
                    until_equity_is(page, f"{begin + number:,.2f}")

        hear(UPDATES // 3, 20_000.0)
        before = used()
        hear(UPDATES, 50_000.0)
        after = used()
        assert after[0] - before[0] < GROWTH_MAX_BYTES, (before, after)
        assert after[1] <= before[1] * 1.1 + 50, (before, after)
        assert after[2] <= before[2] * 1.1 + 20, (before, after)


def test_pages_opened_again_and_again_leave_nothing_behind(chromium, address):
    with seen(chromium, address) as looking:
        page = looking.open("/system")
        session = looking.context.new_cdp_session(page)

        def tour() -> None:
            for name in ("Strategies", "Market", "Research", "System"):
                page.locator("nav[aria-label=Pages] li a").get_by_text(name).click()
                page.wait_for_function("name => document.title.startsWith(name)", arg=name)
                page.wait_for_load_state("networkidle")

        def counted() -> tuple[int, int]:
            last = (-1, -1)
            for _ in range(40):  # until nothing is drawn, or let go of, any more
                session.send("HeapProfiler.collectGarbage")
                page.wait_for_timeout(100)
                session.send("HeapProfiler.collectGarbage")
                counters = session.send("Memory.getDOMCounters")
                found = counters["nodes"], counters["jsEventListeners"]
                if found == last:
                    break
                last = found
            return last

        tour()
        tour()
        before = counted()
        for _ in range(3):
            tour()
        nodes, listeners = counted()
        assert nodes <= before[0] * 1.1 + 50, (before, nodes)
        assert listeners <= before[1] * 1.1 + 20, (before, listeners)
