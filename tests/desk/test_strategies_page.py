"""The strategies page in a real browser: how near everything is, what would trigger it, and every decision."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from crypto_tracker.core.timeframes import HOUR_MS
from tests.desk.symbol_pages import PHONE, gates_shown, gates_told, is_price, traded_once
from tests.desk.trading_page import Api, Looked, as_shown, percent, plain, served, until

WORDS = {"ready": "READY", "close": "CLOSE", "neutral": "NEUTRAL", "waiting": "WAITING"}


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with served(traded_once()) as address:
        yield address


@pytest.fixture(scope="module")
def api(site: str) -> Api:
    return Api(site)


@pytest.fixture
def look(chromium: Any, site: str) -> Iterator[Looked]:
    looked = Looked(chromium, site)
    yield looked
    looked.close()


def board(looked: Looked, query: str = "") -> Any:
    """Open the readiness of all symbols."""
    looked.page.goto(f"{looked._address}/strategies{query}")
    looked.page.wait_for_selector("section[data-strategy]")
    return looked.page


def stream(looked: Looked, query: str = "") -> Any:
    """Open the decisions."""
    looked.page.goto(f"{looked._address}/strategies?tab=decisions{query}")
    looked.page.wait_for_selector("tr[data-row]")
    return looked.page


def whole(readiness: float | None) -> str:
    """A readiness as it is written: never rounded up into the next band."""
    return "–" if readiness is None else str(int(readiness))


def symbols_shown(page: Any) -> list[str]:
    """The symbols of the table of all, in its order."""
    return list(page.locator("tr[data-symbol]").evaluate_all("all => all.map(row => row.dataset.symbol)"))


# ----------------------------------------------------------------------------------- readiness


def test_every_strategy_says_how_many_symbols_are_how_near(look: Looked, api: Api) -> None:
    page = board(look)
    for each in api.get("readiness")["items"]:
        card = page.locator(f"section[data-strategy={each['strategy']}]")
        for band, words in WORDS.items():
            setups = sum(row["reason"] == "accepted" for row in each["rows"]) if band == "ready" else 0
            more = f" ◆ {setups} setup{'' if setups == 1 else 's'}" if setups else ""
            assert plain(card.locator(f"[data-band={band}]").inner_text()) == f"{each[band]} {words}{more}"
    look.shoot("strategies-dark")


def test_the_best_five_say_what_would_trigger_them(look: Looked, api: Api) -> None:
    page = board(look)
    for each in api.get("readiness")["items"]:
        known = [row for row in each["rows"] if row["readiness"] is not None]
        shown = page.locator(f"section[data-strategy={each['strategy']}] li[data-symbol]")
        assert shown.count() == min(5, len(known))
        levels = []
        for item in shown.all():
            row = next(row for row in known if row["symbol"] == item.get_attribute("data-symbol"))
            levels.append(row["readiness"])
            words = plain(item.inner_text())
            told = item.get_by_role("meter").get_attribute("aria-valuetext")
            stopped = f", lacks {row['lacks']}" if row["readiness"] >= 100 else ""
            more = ", setup" if row["reason"] == "accepted" else stopped
            assert told == f"{whole(row['readiness'])} of 100, {WORDS[row['band']]}{more}"
            assert is_price(item.locator(".price").inner_text(), row["price"])
            if row["reason"] != "accepted":
                assert as_shown(row["sentence"]) in words
                assert row["trigger"] is None or as_shown(row["trigger"]) in words
            if row["reason"] in {"drop_too_small", "breakout_too_small"}:
                away = row["trigger_price"] / row["price"] - 1
                assert f"{percent(away, signed=True, digits=1)} to the trigger" in words
        assert levels == sorted(levels, reverse=True)


def test_a_strategy_says_what_it_may_and_under_which_numbers(look: Looked, api: Api) -> None:
    page = board(look)
    for info in api.get("strategies")["items"]:
        card = page.locator(f"section[data-strategy={info['name']}]")
        words = plain(card.inner_text())
        assert f"{info['open_positions']} / {info['max_open']}" in words
        assert f"{info['used_quote']:,.0f} / {info['share_quote']:,.0f}" in words
        assert ("on" if info["on"] else "off") in words
        assert plain(info["description"]) in words
        card.locator("summary").click()
        opened = plain(card.locator("details").inner_text())
        for row in info["exits"]:
            assert f"{row['tier'].replace('_', ' ')} +{percent(row['take_profit'], digits=1)}" in opened
            assert f"−{percent(row['stop_loss'], digits=1)}" in opened
    page.locator("section[data-strategy=DCA]").get_by_text("fall below the 4 h high").wait_for()
    look.shoot("strategies-numbers")


def test_the_table_has_every_symbol_under_every_strategy(look: Looked, api: Api) -> None:
    page = board(look)
    items = api.get("readiness")["items"]
    assert sorted(symbols_shown(page)) == sorted(row["symbol"] for row in items[0]["rows"])
    for each in items:
        for row in each["rows"]:
            name = f"{row['symbol']} {each['strategy']} {whole(row['readiness'])}, {WORDS[row['band']]}"
            setup = ", a setup" if row["reason"] == "accepted" else ""
            cell = page.get_by_role("link", name=name + setup, exact=True)
            assert cell.get_attribute("data-band") == row["band"]


def test_filters_and_the_order_of_the_table_are_in_the_address(look: Looked, api: Api) -> None:
    rows = {row["symbol"]: row for row in api.get("readiness")["items"][0]["rows"]}
    page = board(look)
    page.get_by_role("searchbox", name="Only symbols with these letters").fill("e")
    until(lambda: set(symbols_shown(page)) == {name for name in rows if "e" in name.lower()})
    assert "q=e" in page.url
    page.get_by_role("button", name="Symbol", exact=True).click()
    until(lambda: "sort=symbol" in page.url)
    assert symbols_shown(page) == sorted(name for name in rows if "e" in name.lower())
    page = board(look, "?tier=memecoin&sort=-DCA")
    memes = sorted(
        (row for row in rows.values() if row["tier"] == "memecoin"), key=lambda row: -(row["readiness"] or -1)
    )
    assert symbols_shown(page) == [row["symbol"] for row in memes]
    page = board(look, "?q=nothing-has-this-name")
    page.get_by_role("button", name="Clear the filter").click()
    until(lambda: len(symbols_shown(page)) == len(rows))


def test_a_cell_opens_the_chart_with_that_strategy(look: Looked) -> None:
    page = board(look)
    page.locator("tr[data-symbol='ETH/USD'] a.heat").nth(1).click()
    page.wait_for_url("**/symbol/ETH/USD?strategy=SWING")
    page.wait_for_selector("[data-drawn=true]")
    assert page.get_by_role("button", name="SWING", exact=True).get_attribute("aria-pressed") == "true"


def test_why_not_opens_the_explanation_as_the_api_tells_it(look: Looked, api: Api) -> None:
    page = board(look)
    card = page.locator("section[data-strategy=SWING]")
    symbol = card.locator("li[data-symbol]").first.get_attribute("data-symbol")
    card.get_by_role("button", name=f"Why not {symbol}?").click()
    page.wait_for_url("**why=**")
    scanned = next(item for item in api.get("readiness")["items"] if item["strategy"] == "SWING")[
        "scanned_ms"
    ]
    told = api.get("explain", symbol=symbol, at_ms=scanned, strategy="SWING")["strategies"]
    assert gates_shown(page) == gates_told(told)
    look.shoot("strategies-why")
    page.reload()
    assert gates_shown(page) == gates_told(told)
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "why=" not in url)


def test_switching_off_is_asked_for_with_its_consequence(look: Looked) -> None:
    page = board(look)
    page.locator("section[data-strategy=DCA] [data-command=strategy_off]").click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert "DCA" in plain(dialog.inner_text())
    page.keyboard.press("Escape")


def test_a_recorded_run_says_once_that_it_kept_no_scans_and_takes_no_commands(look: Looked, api: Api) -> None:
    page = board(look, "?account=run:1")
    assert all(each["scanned_ms"] is None for each in api.get("readiness", account="run:1")["items"])
    note = page.locator("[data-unkept]")
    assert note.count() == 1
    assert "--record-scans" in note.inner_text()
    assert page.locator("[data-band]").count() == 0, "nothing is counted that was not kept"
    assert page.locator("[data-command]").count() == 0
    note.get_by_role("link", name="decision").click()
    page.get_by_role("region", name="Decisions, newest first").wait_for()


def test_three_hundred_symbols_are_sorted_and_searched_at_once(look: Looked, api: Api) -> None:
    answer = api.get("readiness")
    for each in answer["items"]:
        row = each["rows"][0]
        each["rows"] = [
            {**row, "symbol": f"C{index:03d}/USD", "readiness": (index * 37) % 100} for index in range(300)
        ]
    look.page.route("**/api/v1/readiness*", lambda route: route.fulfill(json=answer))
    page = board(look)
    assert len(symbols_shown(page)) == 300
    script = """async (act) => {
        const start = performance.now();
        const field = document.querySelector('input[type=search]');
        if (act === 'sort') document.querySelector('thead button').click();
        else { field.value = 'C29'; field.dispatchEvent(new Event('input', { bubbles: true })); }
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        return performance.now() - start;
    }"""
    assert page.evaluate(script, "sort") < 1_000
    assert page.evaluate(script, "search") < 1_000
    assert len(symbols_shown(page)) == 10


# ----------------------------------------------------------------------------------- decisions


def test_decisions_are_those_of_the_api_and_open_their_explanation(look: Looked, api: Api) -> None:
    page = stream(look)
    items = api.get("decisions", limit=5)["items"]
    for shown, item in zip(page.locator("tr[data-row]").all()[:5], items, strict=True):
        words = plain(shown.inner_text())
        assert item["symbol"] in words
        assert item["strategy"] in words
        assert as_shown(item["sentence"]) in words
    page.locator("tr[data-row] .why").first.click()
    page.wait_for_url("**why=**")
    first = items[0]
    told = api.get("explain", symbol=first["symbol"], at_ms=first["time_ms"], strategy=first["strategy"])
    assert gates_shown(page) == gates_told(told["strategies"])


def test_decisions_are_filtered_by_the_address(look: Looked, api: Api) -> None:
    refused = api.get("decisions", limit=500, verdict="SKIP")["items"]
    reason = refused[0]["reason"]
    fitting = [item for item in refused if item["reason"] == reason]
    page = stream(look, f"&verdict=SKIP&reason={reason}")
    region = page.get_by_role("region", name="Decisions, newest first")
    total = int(region.locator("table").get_attribute("aria-rowcount")) - 1
    assert total == min(100, len(fitting))
    for badge in page.locator("tr[data-row] .badge").all():
        assert plain(badge.inner_text()) == "skipped"
    page.get_by_role("button", name="Clear", exact=True).click()
    page.wait_for_url(lambda url: "reason=" not in url)


def folded(rows: list[dict[str, Any]]) -> int:
    """How many rows are left where the same near miss of a symbol and strategy within an hour is one."""
    last: dict[tuple[str, str], tuple[str, str, int]] = {}
    runs = 0
    for row in rows:
        name, now = (row["symbol"], row["strategy"]), (row["verdict"], row["reason"], row["time_ms"])
        before = last.get(name)
        same = before is not None and before[:2] == now[:2] and before[2] - now[2] <= HOUR_MS
        runs += not (same and now[0] == "NEAR_MISS")
        last[name] = now
    return runs


def test_further_decisions_come_as_one_scrolls(look: Looked, api: Api) -> None:
    rows = api.all("decisions")
    assert len(rows) > 200
    page = stream(look)
    region = page.get_by_role("region", name="Decisions, newest first")

    def loaded() -> int:
        return int(region.locator("table").get_attribute("aria-rowcount")) - 1

    def at_the_end() -> bool:
        region.evaluate("(scroller) => scroller.scrollTo(0, scroller.scrollHeight)")
        return loaded() == folded(rows)

    assert loaded() == folded(rows[:100])
    until(at_the_end)


def test_an_empty_answer_is_designed(look: Looked) -> None:
    empty = json.dumps({"items": [], "next": None, "total": 0})
    look.page.route(
        "**/api/v1/decisions?*", lambda route: route.fulfill(content_type="application/json", body=empty)
    )
    look.page.goto(f"{look._address}/strategies?tab=decisions")
    look.page.get_by_text("Nothing came near a setup so far.").wait_for()


# ----------------------------------------------------------------------------------- for everybody


@pytest.mark.parametrize(("size", "scheme"), [("wide", "light"), ("phone", "dark")])
def test_nobody_is_shut_out(chromium: Any, site: str, size: str, scheme: str) -> None:
    looked = Looked(chromium, site, color_scheme=scheme, **(PHONE if size == "phone" else {}))
    for name, opened in (("strategies", board), ("decisions", stream)):
        page = opened(looked)
        found = Axe().run(page).response["violations"]
        assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        looked.shoot(f"{name}-{size}-{scheme}")
    looked.close()
