"""The trading page in a real browser: what it shows is what the API says, and every view of it is a link."""

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from benchmarks.large_account import make_large_home
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS
from crypto_tracker.store.database import open_engine
from tests.app.conftest import run_command
from tests.desk.trading_page import (
    Api,
    Looked,
    as_shown,
    money,
    percent,
    plain,
    quiet_home,
    served,
    traded_home,
    until,
)
from tests.trading import worlds

HOURS = 13
MANY = 100_000
ROWS_DRAWN_MAX = 120
HEAP_BYTES_MAX = 120_000_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An account that traded for HOURS through a crash, and a recorded backtest of the same market."""
    folder = tmp_path_factory.mktemp("trading-page")
    home = traded_home(folder / "home", hours=HOURS)
    span = worlds.timerange(worlds.START_MS, worlds.START_MS + HOURS * HOUR_MS)
    code, _, error = run_command(home, "-c", str(home / "config.toml"), "backtest", "--timerange", span)
    assert code == 0, error
    return home


@pytest.fixture(scope="module")
def site(home: Path) -> Iterator[str]:
    with served(home) as address:
        yield address


@pytest.fixture(scope="module")
def api(site: str) -> Api:
    return Api(site)


@pytest.fixture
def look(chromium: Any, site: str) -> Iterator[Looked]:
    looked = Looked(chromium, site)
    yield looked
    looked.close()


def rows(page: Any, label: str) -> list[list[str]]:
    """The words of every cell of a table that is drawn whole."""
    found = page.get_by_role("region", name=label).locator("tr[data-row]")
    # In one look: rows may come and go meanwhile.
    told = found.evaluate_all(
        "all => all.map(row => [...row.querySelectorAll('td')].map(cell => cell.innerText))"
    )
    return [[plain(cell) for cell in row] for row in told]


def stat(page: Any, label: str) -> str:
    """The value under a name among the figures."""
    found = page.locator(".stat", has=page.get_by_text(label, exact=True)).locator(".value")
    return plain(found.first.inner_text())


def sums_of(look: Looked) -> dict[str, str]:
    """The figures at the head of the closed trades, once it is there, read in one moment."""
    pairs = look.page.locator("[data-sums]").evaluate(
        "head => [...head.children].map(each => ['dt', 'dd'].map(name => each.querySelector(name).innerText))"
    )
    return {plain(name): plain(value) for name, value in pairs}


def arrowed(value: float) -> str:
    """A change as it is written, with its arrow."""
    return ("▲" if value > 0 else "▼" if value < 0 else "") + money(value, signed=True)


# ----------------------------------------------------------------------------------- figures and curve


def test_the_figures_are_those_of_the_account(look: Looked, api: Api) -> None:
    page = look.open("/trading")
    status = api.get("status")
    assert look.text("[data-figure=equity]") == money(status["equity_quote"])
    assert stat(page, "Day P&L") == money(status["day_pnl_quote"], signed=True)
    assert stat(page, "Realised") == money(status["realised_quote"], signed=True)
    assert stat(page, "Unrealised") == money(status["unrealised_quote"], signed=True)
    assert stat(page, "Invested") == money(status["invested_quote"])
    assert stat(page, "Win rate") == percent(status["closed"]["win_rate"], digits=1)
    assert stat(page, "Drawdown") == percent(-status["drawdown"])
    assert stat(page, "Fees, all fills") == money(status["fee_quote"])
    shown = plain(page.locator(".tiles").inner_text())
    for words in (
        f"{percent(status['realised_fraction'], signed=True)} of size",
        f"{percent(status['unrealised_fraction'], signed=True)} of size",
        f"worth {money(status['exposure_quote'])}",
        f"slippage {money(status['slippage_quote'])}",
        f"worst {percent(-status['max_drawdown'])}",
    ):
        assert words in shown
    look.shoot("trading-dark")


def test_every_strategy_has_its_counter(look: Looked, api: Api) -> None:
    look.open("/trading")
    status = api.get("status")
    for each in status["counters"]:
        shown = look.text(f"[data-counter={each['strategy']}]")
        assert f"{each['open']} / {each['max_open']}" in shown
        assert f"{each['used_quote']:,.0f} of {each['share_quote']:,.0f}" in shown
    assert f"{status['open_positions']} / {status['max_open_positions']}" in look.text("[data-counter=All]")


def test_the_curve_has_the_points_of_the_api_and_its_range_is_in_the_address(look: Looked, api: Api) -> None:
    page = look.open("/trading")
    chart = page.get_by_role("figure", name="Equity")
    points = len(api.get("equity", points=500)["time_ms"])
    assert chart.locator("[data-points]").get_attribute("data-points") == str(points)
    page.get_by_role("radio", name="1W").click()
    page.wait_for_url("**/trading?range=1w")
    page.reload()
    page.wait_for_selector("div.page")
    assert page.get_by_role("radio", name="1W").is_checked()


# ----------------------------------------------------------------------------------- positions


def test_open_positions_are_those_of_the_api(look: Looked, api: Api) -> None:
    page = look.open("/trading")
    held = api.get("positions")["items"]
    assert held
    page.get_by_role("region", name="All open positions").wait_for()
    shown = {row[0]: row for row in rows(page, "All open positions")}
    assert set(shown) == {each["trade"]["symbol"] for each in held}
    for each in held:
        row = shown[each["trade"]["symbol"]]
        filled = sum(order["status"] == "filled" for order in each["orders"])
        assert row[1] == each["trade"]["strategy"]
        assert row[5] == money(each["trade"]["invested_quote"])
        assert row[6] == arrowed(each["trade"]["pnl_quote"])
        assert row[7] == percent(each["trade"]["return_net"], signed=True)
        assert f"{filled} / {len(each['orders'])}" in row[9]


def test_a_position_opens_with_its_ladder_its_executions_and_its_reason(look: Looked, api: Api) -> None:
    page = look.open("/trading")
    held = max(api.get("positions")["items"], key=lambda each: len(each["orders"]))
    group = held["trade"]["trade_group_id"]
    detail = api.get(f"trades/{group}")
    region = page.get_by_role("region", name="All open positions")
    region.locator("tr[data-row]", has_text=held["trade"]["symbol"]).locator("td").nth(5).click()
    story = page.locator(f'[data-trade="{group}"]')
    story.wait_for()
    assert "trade=" in page.url
    ladder = story.locator("section", has=page.get_by_role("heading", name="Ladder"))
    assert ladder.locator("tbody tr").count() == len(detail["orders"])
    fills = story.locator("section", has=page.get_by_role("heading", name="Executions"))
    assert fills.locator("tbody tr").count() == len(detail["fills"])
    assert as_shown(detail["decision"]["sentence"]) in plain(story.inner_text())
    assert story.get_by_role("button", name=re.compile("^Sell")).is_visible()
    look.shoot("position-dark")
    page.keyboard.press("Escape")
    story.wait_for(state="detached")
    assert "trade=" not in page.url


# ----------------------------------------------------------------------------------- closed trades


def test_closed_trades_are_those_of_the_api_newest_first(look: Looked, api: Api) -> None:
    page = look.open("/trading")
    closed = api.all("trades")
    assert len(closed) >= 10
    region = page.get_by_role("region", name="All closed trades")
    region.wait_for()
    assert region.locator("table").get_attribute("aria-rowcount") == str(len(closed) + 1)
    for row, trade in zip(rows(page, "All closed trades"), closed, strict=True):
        assert row[1:3] == [trade["symbol"].split("/")[0], trade["strategy"]]
        assert row[3] == trade["exit_reason"].replace("_", " ")
        assert row[7] == money(trade["invested_quote"])
        assert row[8:] == [arrowed(trade["pnl_quote"]), percent(trade["return_net"], signed=True)]


def test_the_sums_follow_the_filter_and_the_filter_is_a_link(look: Looked, api: Api) -> None:
    page = look.open("/trading")
    page.get_by_role("region", name="All closed trades").wait_for()
    filters = page.get_by_role("group", name="Filter of the closed trades")
    filters.get_by_role("button", name=re.compile("^Outcome")).click()
    page.get_by_label("lost").check()
    page.wait_for_url("**outcome=loss**")
    answer = api.get("trades", outcome="loss", limit=500)
    until(lambda: sums_of(look)["Trades"] == str(answer["sums"]["trades"]))
    assert sums_of(look)["P&L"] == arrowed(answer["sums"]["pnl_quote"])
    assert sums_of(look)["Win rate"] == "0.0 %"
    assert {row[8][0] for row in rows(page, "All closed trades")} == {"▼"}
    page.reload()
    page.get_by_role("region", name="All closed trades").wait_for()
    assert sums_of(look)["Trades"] == str(answer["sums"]["trades"])
    page.get_by_role("button", name="Clear").click()
    until(lambda: sums_of(look)["Trades"] == str(api.get("profit")["trades"]))
    assert "outcome" not in page.url


@pytest.mark.parametrize("part", ["symbol", "strategy", "tier", "reason"])
def test_each_part_of_the_filter_narrows_to_what_the_api_says(look: Looked, api: Api, part: str) -> None:
    first = api.get("trades", limit=1)["items"][0]
    value = first["exit_reason"] if part == "reason" else first[part]
    page = look.open(f"/trading?{part}={value}")
    answer = api.get("trades", **{part: value}, limit=500)
    page.get_by_role("region", name="All closed trades").wait_for()
    assert sums_of(look)["Trades"] == str(answer["sums"]["trades"])
    assert len(rows(page, "All closed trades")) == len(answer["items"])


def test_a_filter_that_nothing_fits_says_so_and_can_be_cleared(look: Looked, api: Api) -> None:
    page = look.open(f"/trading?span={worlds.START_MS - DAY_MS}-{worlds.START_MS - DAY_MS + 1}")
    page.get_by_text("No trade is like this").wait_for()
    look.shoot("no-trade-dark")
    page.get_by_role("button", name="Clear the filter").click()
    until(lambda: sums_of(look)["Trades"] == str(api.get("profit")["trades"]))


def test_the_order_is_the_servers_and_stands_in_the_address(look: Looked, api: Api) -> None:
    page = look.open("/trading")
    region = page.get_by_role("region", name="All closed trades")
    region.wait_for()
    region.get_by_role("button", name="P&L").click()
    page.wait_for_url("**sort=pnl_quote**")
    expected = [arrowed(each["pnl_quote"]) for each in api.all("trades", order="pnl_quote")]
    until(lambda: [row[8] for row in rows(page, "All closed trades")] == expected)
    region.get_by_role("button", name="P&L").click()
    page.wait_for_url("**sort=-pnl_quote**")
    until(lambda: [row[8] for row in rows(page, "All closed trades")] == expected[::-1])


@pytest.mark.parametrize(
    ("head", "order"),
    [("Symbol", "symbol"), ("Exit", "exit_reason"), ("Entry", "entry_price"), ("Exit at", "exit_price")],
)
def test_every_column_of_the_closed_trades_puts_them_in_order(
    look: Looked, api: Api, head: str, order: str
) -> None:
    descending = order.endswith("price")  # what is greatest, and what comes first in the alphabet
    page = look.open("/trading")
    region = page.get_by_role("region", name="All closed trades")
    region.wait_for()
    region.get_by_role("button", name=head, exact=True).click()
    page.wait_for_url(f"**sort={'' if descending else '-'}{order}**")
    expected = api.all("trades", order=order, descending=descending)
    until(
        lambda: (
            [row[8] for row in rows(page, "All closed trades")]
            == [arrowed(each["pnl_quote"]) for each in expected]
        )
    )
    values = [each[order] for each in expected]
    assert values == sorted(values, reverse=descending)


def test_a_link_opens_a_closed_trade_with_what_led_to_it_and_its_costs(look: Looked, api: Api) -> None:
    trade = api.get("trades", limit=1)["items"][0]
    group = trade["trade_group_id"]
    detail = api.get(f"trades/{group}")
    page = look.open(f"/trading?trade={group}")
    story = page.locator(f'[data-trade="{group}"]')
    story.wait_for()
    shown = plain(story.inner_text())
    assert arrowed(trade["pnl_quote"]) in shown
    assert trade["exit_reason"].replace("_", " ") in shown
    assert as_shown(detail["decision"]["sentence"]) in shown
    story.locator("[data-gate]").first.wait_for()
    for fill in detail["fills"]:
        assert money(fill["fee_quote"]) in shown
    chart = story.get_by_role("link", name="The chart of")
    base, quote = trade["symbol"].split("/")
    assert f"/symbol/{base}/{quote}?" in chart.get_attribute("href")
    assert str(trade["decision_ms"]) in chart.get_attribute("href")
    look.shoot("trade-dark")


def test_a_trade_that_does_not_exist_is_told_in_a_sentence(chromium: Any, site: str) -> None:
    looked = Looked(chromium, site)
    page = looked.open("/trading?trade=NOPE/USD-DCA-20250302T120000Z")
    alert = page.get_by_role("dialog").get_by_role("alert")
    alert.wait_for()
    assert "NOPE/USD-DCA-20250302T120000Z" in alert.inner_text()
    assert all("404" in each for each in looked.complaints)  # the browser itself notes the status
    looked.complaints.clear()
    looked.close()


# ----------------------------------------------------------------------------------- performance and log


def test_performance_by_property_narrows_the_trades_when_it_is_clicked(look: Looked, api: Api) -> None:
    page = look.open("/trading?by=symbol")
    groups = api.get("performance", by="symbol")["items"]
    cards = page.locator("button[aria-pressed]", has=page.locator(".key"))
    cards.first.wait_for()
    assert [plain(each) for each in cards.locator(".key").all_inner_texts()] == [
        each["key"] for each in groups
    ]
    assert arrowed(groups[0]["sums"]["pnl_quote"]) in plain(cards.first.inner_text())
    cards.first.click()
    until(lambda: sums_of(look)["Trades"] == str(groups[0]["sums"]["trades"]))
    assert f"symbol={groups[0]['key']}" in page.url


def test_each_day_has_a_column_that_narrows_to_it(look: Looked, api: Api) -> None:
    page = look.open("/trading")
    days = api.get("daily")["items"]
    columns = page.get_by_role("group", name="P&L by period").get_by_role("button")
    columns.first.wait_for()
    names = [each.get_attribute("aria-label") for each in columns.all()]
    assert [name.split(":")[0] for name in names] == [each["label"] for each in days[::-1]]
    columns.last.click()
    until(lambda: sums_of(look)["Trades"] == str(days[0]["sums"]["trades"]))
    assert columns.last.get_attribute("aria-pressed") == "true"
    assert len(columns.all()) == len(days)  # the others stay to be compared
    assert f"Closed {days[0]['label']} UTC" in chips(page)


def test_days_are_those_of_the_account_wherever_one_looks_from(chromium: Any, site: str, api: Api) -> None:
    looked = Looked(chromium, site, timezone_id="America/New_York")
    page = looked.open("/trading?account=run:1")
    first, last = (
        f"{epoch(api.get('status', account='run:1')[name]):%Y-%m-%d}" for name in ("start_ms", "end_ms")
    )
    line = page.locator("p", has_text="Recorded backtest 1")
    line.wait_for()
    assert f"Recorded backtest 1: {first} to {last}," in plain(line.inner_text())
    page = looked.open("/trading")
    closed = api.all("trades")
    day = f"{epoch(closed[0]['exit_ms']):%Y-%m-%d}"
    page.get_by_role("group", name="Filter of the closed trades").get_by_role("button", name="Closed").click()
    page.get_by_label("From").fill(day)
    page.get_by_label("to", exact=True).fill(day)
    page.get_by_role("button", name="Show this span").click()
    within = [each for each in closed if f"{epoch(each['exit_ms']):%Y-%m-%d}" == day]
    until(lambda: sums_of(looked)["Trades"] == str(len(within)))
    assert f"Closed {day} UTC" in chips(page)
    start_ms = int(datetime.fromisoformat(f"{day}T00:00Z").timestamp()) * 1_000
    assert f"span={start_ms}-{start_ms + DAY_MS}" in page.url
    assert page.get_by_role("group", name="P&L by period").locator("[aria-pressed=true]").count() == 1
    looked.close()


def chips(page: Any) -> list[str]:
    """The words of the parts of the filter."""
    buttons = page.get_by_role("group", name="Filter of the closed trades").get_by_role("button")
    return [plain(each) for each in buttons.all_inner_texts()]


def epoch(ms: int) -> datetime:
    """A moment, in UTC."""
    return datetime.fromtimestamp(ms / 1_000, tz=UTC)


def test_the_log_is_that_of_the_api(look: Looked, api: Api) -> None:
    page = look.open("/trading")
    lines = api.get("logs", limit=50)["items"]
    shown = page.get_by_role("list", name="Log, the newest first").locator("li")
    shown.first.wait_for()
    assert shown.count() == len(lines)
    assert as_shown(lines[0]["words"]) in plain(shown.first.inner_text())


# ----------------------------------------------------------------------------------- a recorded run


def test_a_recorded_run_opens_in_the_same_page_and_says_what_it_is(look: Looked, api: Api) -> None:
    page = look.open("/trading?account=run:1")
    status = api.get("status", account="run:1")
    assert look.text("[data-figure=equity]") == money(status["equity_quote"])
    assert "Recorded backtest 1" in plain(page.locator("div.page").inner_text())
    assert status["configuration_version"] in plain(page.locator("div.page").inner_text())
    region = page.get_by_role("region", name="All closed trades")
    region.wait_for()
    assert sums_of(look)["Trades"] == str(api.get("profit", account="run:1")["trades"])
    assert page.get_by_text("What happened").count() == 0
    assert page.get_by_text("Day P&L").count() == 0
    look.shoot("run-dark")
    region.locator("tr[data-row]").first.locator("td").nth(6).click()
    page.locator("[data-trade]").wait_for()
    assert "account=run:1" in page.url


# ----------------------------------------------------------------------------------- other states


def test_an_account_without_trades_says_what_the_strategies_wait_for(chromium: Any, tmp_path: Path) -> None:
    home = quiet_home(tmp_path / "home")
    worlds.trade(home, enough=lambda _: True)
    with served(home) as address:
        looked = Looked(chromium, address)
        page = looked.open("/trading")
        page.get_by_text("Nothing is held").wait_for()
        page.get_by_text("No trade has closed yet").wait_for()
        assert page.get_by_role("link", name="What they wait for").get_attribute("href") == "/strategies"
        looked.shoot("empty-dark")
        looked.close()


def test_what_can_not_be_fetched_is_told_and_comes_with_another_try(chromium: Any, site: str) -> None:
    looked = Looked(chromium, site)
    refused = {"type": "about:blank", "title": "Records", "status": 500, "detail": "the records are damaged"}
    answer = {"status": 500, "content_type": "application/problem+json", "body": json.dumps(refused)}
    looked.page.route("**/api/v1/trades?*", lambda route: route.fulfill(**answer))
    page = looked.open("/trading")
    alert = page.get_by_role("alert").filter(has_text="the records are damaged")
    alert.wait_for()
    looked.shoot("trouble-dark")
    page.unroute("**/api/v1/trades?*")
    alert.get_by_role("button", name="Try again").click()
    page.get_by_role("region", name="All closed trades").wait_for()
    assert all("500" in each for each in looked.complaints)
    looked.complaints.clear()
    looked.close()


def test_on_a_phone_nothing_hangs_over_the_edge_and_a_trade_fills_the_screen(
    chromium: Any, site: str
) -> None:
    looked = Looked(chromium, site, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = looked.open("/trading")
    region = page.get_by_role("region", name="All closed trades")
    region.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("[data-points]").nth(1).wait_for()
    hanging = """() => [...document.querySelectorAll('figure')].filter((figure) => {
        const card = figure.closest('section').getBoundingClientRect();
        return figure.getBoundingClientRect().bottom > card.bottom;
    }).map((figure) => figure.getAttribute('aria-label'))"""
    assert page.evaluate(hanging) == []
    looked.shoot("trading-phone")
    region.locator("tr[data-row]").first.locator("td").nth(2).tap()
    drawer = page.get_by_role("dialog")
    drawer.wait_for()
    page.locator("[data-trade]").wait_for()
    assert page.evaluate("document.querySelector('dialog .content').scrollWidth") <= 390
    looked.shoot("trade-phone")
    looked.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1440)])
def test_everybody_can_read_the_page_and_a_trade(
    chromium: Any, site: str, api: Api, scheme: str, width: int
) -> None:
    group = api.get("positions")["items"][0]["trade"]["trade_group_id"]
    looked = Looked(chromium, site, color_scheme=scheme, viewport={"width": width, "height": 900})
    page = looked.open("/trading")
    page.get_by_role("region", name="All closed trades").wait_for()
    looked.serves_everybody()
    page = looked.open(f"/trading?trade={group}")
    page.locator("[data-gate]").first.wait_for()
    until(lambda: page.get_by_role("dialog").evaluate("each => each.getAnimations().length") == 0)
    looked.serves_everybody()
    looked.shoot(f"position-{scheme}-{width}")
    looked.close()


# ----------------------------------------------------------------------------------- live


def test_opening_the_page_asks_for_each_thing_once(chromium: Any, site: str) -> None:
    looked = Looked(chromium, site)
    asked: list[str] = []
    looked.page.on("request", lambda request: asked.append(request.url.removeprefix(f"{site}/api/v1/")))
    page = looked.open("/trading")
    page.get_by_role("region", name="All closed trades").wait_for()
    page.get_by_role("region", name="All open positions").wait_for()
    page.get_by_role("group", name="P&L by period").wait_for()
    page.wait_for_load_state("networkidle")
    asked = [each for each in asked if "://" not in each and "/" not in each.split("?")[0]]
    assert {"trades", "equity", "performance", "regimes"} <= {each.split("?")[0] for each in asked}
    assert len(asked) == len(set(asked)), sorted(asked)
    assert sum(each.startswith("performance") for each in asked) == 1
    looked.close()


def test_what_is_traded_appears_by_itself_and_never_moves_what_one_reads(
    chromium: Any, home: Path, tmp_path: Path
) -> None:
    mine = Path(shutil.copytree(home, tmp_path / "home", ignore=shutil.ignore_patterns("*.lock")))
    with served(mine) as address:
        api, looked = Api(address), Looked(chromium, address, viewport={"width": 1440, "height": 320})
        page = looked.open("/trading")
        region = page.get_by_role("region", name="All closed trades")
        region.wait_for()
        before = api.get("profit")["trades"]
        equity = looked.text("[data-figure=equity]")
        region.evaluate("each => each.scrollTo({ top: 60 })")
        first = rows(page, "All closed trades")[0]
        decided = looked.context.new_page()
        decided.goto(f"{address}/strategies?tab=decisions")
        decided.get_by_role("region", name="Decisions, newest first").hover()
        decided.mouse.wheel(0, 600)
        until(lambda: decided.evaluate(SCROLLED) == 600)
        read = seen_first(decided)
        worlds.trade(mine, enough=lambda step: step.time_ms % HOUR_MS == 0 and api_trades(mine) >= before + 2)
        new = api_trades(mine) - before
        page.get_by_role("button", name=f"{new} new").wait_for()
        assert rows(page, "All closed trades")[0] == first
        until(lambda: sums_of(looked)["Trades"] == str(before + new))
        until(lambda: looked.text("[data-figure=equity]") != equity)
        assert looked.text("[data-figure=equity]") == money(api.get("status")["equity_quote"])
        page.get_by_role("button", name=f"{new} new").click()
        newest = api.get("trades", limit=1)["items"][0]
        until(lambda: len(rows(page, "All closed trades")) == before + new)
        assert rows(page, "All closed trades")[0][1] == newest["symbol"].split("/")[0]
        assert seen_first(decided) == read
        decided.get_by_role("button", name=re.compile(r"\d new")).click()
        until(lambda: seen_first(decided) != read)
        assert decided.evaluate(SCROLLED) == 0
        held = {each["trade"]["symbol"] for each in api.get("positions")["items"]}
        until(lambda: {row[0] for row in rows(page, "All open positions")} == held)
        looked.close()


SCROLLED = "document.querySelector('[role=region]').scrollTop"


def seen_first(page: Any) -> tuple[str, float]:
    """The words of the first row that is seen of a table that is drawn in part, and where it stands."""
    words, top = page.get_by_role("region", name="Decisions, newest first").evaluate(
        """table => {
            const head = table.querySelector("thead").getBoundingClientRect().bottom;
            const row = [...table.querySelectorAll("tr[data-row]")].find(
                each => each.getBoundingClientRect().top >= head
            );
            return [row.innerText, row.getBoundingClientRect().top];
        }"""
    )
    return words, top


def api_trades(home: Path) -> int:
    """How many trades the records hold."""
    engine = open_engine(worlds.account_folder(home) / "trading.db", read_only=True)
    try:
        with engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM trades")).scalar_one())
    finally:
        engine.dispose()


# ----------------------------------------------------------------------------------- a large account


def test_a_hundred_thousand_trades_are_scrolled_without_growing(chromium: Any, tmp_path: Path) -> None:
    made = make_large_home(tmp_path / "home", trades=MANY, minutes=20_000, blocks=300)
    with served(tmp_path / "home") as address:
        api, looked = Api(address), Looked(chromium, address)
        assert api.get("profit")["trades"] == made.trades  # the first answer reads the whole history
        page = looked.open("/trading")
        region = page.get_by_role("region", name="All closed trades")
        region.locator("tr[data-row]").first.wait_for()
        assert sums_of(looked)["Trades"] == f"{made.trades:,}"
        for loaded in range(600, 5_101, 500):
            region.evaluate("each => each.scrollTo({ top: each.scrollHeight })")
            until(lambda count=loaded: rows_loaded(region) >= count)
            assert region.locator("tr[data-row]").count() < ROWS_DRAWN_MAX
        expected = [each["symbol"].split("/")[0] for each in api.all("trades", most=5_000)]
        last = region.locator('tr[data-row="4999"]')
        region.evaluate(
            "each => each.scrollTo({ top: 5000 * each.querySelector('tr[data-row]').offsetHeight - 300 })"
        )
        last.wait_for()
        assert plain(last.locator("td").nth(1).inner_text()) == expected[4_999]
        heap = page.evaluate("performance.memory.usedJSHeapSize")
        assert heap < HEAP_BYTES_MAX
        region.evaluate("each => each.scrollTo({ top: 0 })")
        region.get_by_role("button", name="P&L").click()
        best = api.get("trades", order="pnl_quote", limit=1)["items"][0]
        until(lambda: rows(page, "All closed trades")[0][8] == arrowed(best["pnl_quote"]))
        looked.shoot("large-dark")
        looked.close()


def rows_loaded(region: Any) -> int:
    """How many rows the table knows, drawn or not."""
    return int(region.locator("table").get_attribute("aria-rowcount")) - 1
