"""The view of one symbol in a real browser: what it draws and explains is what the API, and `explain`, say."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, from_ms
from tests.app.conftest import run_command
from tests.desk.symbol_pages import PHONE, decimals, gates_shown, gates_told, is_price, traded_once
from tests.desk.trading_page import (
    Api,
    Looked,
    as_shown,
    money,
    percent,
    plain,
    served,
    traded,
    traded_home,
    until,
)
from tests.trading import worlds

SYMBOL = "ETH/USD"
QUARTER_MS = Timeframe.M15.ms


@pytest.fixture(scope="module")
def home() -> Path:
    return traded_once()


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


def view(looked: Looked, query: str = "", symbol: str = SYMBOL) -> Any:
    """Open the symbol and wait until its candles are drawn."""
    looked.page.goto(f"{looked._address}/symbol/{symbol}{query}")
    looked.page.wait_for_selector("[data-drawn=true]")
    until(lambda: bars(looked.page) > 0)
    return looked.page


def bars(page: Any) -> int:
    """How many candles the chart has."""
    return int(page.locator("[data-bars]").get_attribute("data-bars"))


def held(api: Api) -> dict[str, Any]:
    """A position of DCA, so that there are rungs."""
    items = api.get("positions")["items"]
    found: dict[str, Any] = next(item for item in items if item["trade"]["strategy"] == "DCA")
    return found


def lines(page: Any) -> dict[str, str]:
    """The lines on the chart with their prices, as they are told to those who can not see it."""
    rows = page.locator("[data-chart-summary] tr[data-line]")
    # In one look: rows come and go while levels are fetched.
    found = rows.evaluate_all(
        "all => all.map(row => [row.dataset.line, row.querySelector('td').textContent])"
    )
    return {name: plain(price) for name, price in found}


def closed(page: Any) -> str:
    """The close of the last candle, as it is told."""
    told = plain(page.locator("[data-chart-summary] p").text_content())
    return told.rpartition("closed at ")[2].rstrip(".")


def colours(page: Any) -> int:
    """How many colours the canvas of the candles has."""
    script = """() => {
        const seen = new Set();
        for (const canvas of document.querySelectorAll('[data-bars] canvas')) {
            const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            for (let at = 0; at < pixels.length; at += 4) {
                if (pixels[at + 3] > 0) seen.add((pixels[at] << 16) | (pixels[at + 1] << 8) | pixels[at + 2]);
            }
        }
        return seen.size;
    }"""
    return int(page.evaluate(script))


# ----------------------------------------------------------------------------------- what is drawn


def test_the_candles_are_those_of_the_api(look: Looked, api: Api) -> None:
    page = view(look)
    candles = api.get("pair_candles", symbol=SYMBOL, timeframe="15m", limit=600)
    assert bars(page) == len(candles["time_ms"])
    until(lambda: colours(page) > 20)
    assert is_price(closed(page), candles["close"][-1])
    assert is_price(plain(page.locator("[data-price]").inner_text()), candles["close"][-1])
    look.shoot("symbol-dark")


def test_levels_are_what_the_strategy_measured_at_the_last_candle(look: Looked, api: Api) -> None:
    page = view(look, "?strategy=DCA&strategy=SWING")
    last_ms = api.get("pair_candles", symbol=SYMBOL, timeframe="15m", limit=1)["time_ms"][0] + QUARTER_MS
    span = {"start_ms": last_ms - HOUR_MS, "end_ms": last_ms + 1}
    levels = api.get("pair_levels", symbol=SYMBOL, strategy=["DCA", "SWING"], **span)["strategies"]
    expected = {
        f"{each['strategy']} {line['name']}": line["price"][-1] for each in levels for line in each["lines"]
    }
    assert set(expected) == {"DCA 4 h high", "DCA buy below", "SWING resistance", "SWING breakout"}
    until(lambda: expected.keys() <= lines(page).keys() and lines(page)["SWING breakout"] != "–")
    for name, price in expected.items():
        assert is_price(lines(page)[name], price)
    assert not any(name.startswith("CHANNEL") for name in lines(page))


def test_without_a_position_the_strategy_whose_price_is_nearest_is_drawn(look: Looked, api: Api) -> None:
    taken = {item["trade"]["symbol"] for item in api.get("positions")["items"]}
    free = next(str(pair) for pair in worlds.PAIRS if str(pair) not in taken)
    page = view(look, symbol=free)
    page.wait_for_selector(".chip[aria-pressed=true]")
    (chosen,) = (chip.inner_text() for chip in page.locator(".chip[aria-pressed=true]").all())
    until(lambda: lines(page) != {})
    assert {name.split()[0] for name in lines(page)} == {chosen}


def test_the_position_has_its_entry_exits_and_rungs_on_the_chart(look: Looked, api: Api) -> None:
    position = held(api)
    trade = position["trade"]
    page = view(look, symbol=trade["symbol"])
    until(lambda: any(name.startswith("entry") for name in lines(page)))
    drawn = lines(page)
    stop = "trailing stop" if position["trailing_armed"] else "stop"
    entry = f"entry {percent(trade['return_net'], signed=True)}"
    target = f"target {percent(position['to_target'], signed=True, digits=1)}"
    assert is_price(drawn[entry], trade["entry_price"])
    assert is_price(drawn[target], position["target_price"])
    assert is_price(
        drawn[f"{stop} {percent(position['to_stop'], signed=True, digits=1)}"], position["stop_price"]
    )
    rungs = [order for order in position["orders"] if order["limit_price"] is not None]
    assert rungs
    for order in rungs:
        filled = order["status"] == "filled"
        name = f"✓ rung {order['rung']}" if filled else f"rung {order['rung']} for {order['quote']:,.0f}"
        assert is_price(drawn[name], order["limit_price"])
    assert page.get_by_role("button", name="DCA", exact=True).get_attribute("aria-pressed") == "true"


def test_every_fill_in_sight_is_marked_and_opens_its_trade(look: Looked, api: Api) -> None:
    trade = api.get("trades", limit=1)["items"][0]
    page = view(look, symbol=trade["symbol"])
    until_ms = api.get("status")["until_ms"]
    marks = api.get(
        "pair_levels", symbol=trade["symbol"], start_ms=until_ms - DAY_MS, end_ms=until_ms, strategy=["DCA"]
    )["marks"]
    assert marks
    shown = page.locator("[data-chart-summary] li[data-mark]")
    until(lambda: shown.count() == min(50, len(marks)))
    newest = plain(shown.first.text_content())
    assert ("sold" if marks[-1]["side"] == "sell" else "bought") in newest
    assert is_price(newest.partition(" at ")[2].split(" ")[0], marks[-1]["price"])
    page.get_by_role("region", name=f"Trades of {trade['symbol']}").locator("tr[data-row]").first.click()
    page.wait_for_url("**trade=**")
    until(lambda: trade["symbol"] in plain(page.get_by_role("dialog").locator("h2").first.inner_text()))


def test_scrolling_back_brings_earlier_candles_that_join(look: Looked) -> None:
    page = view(look, "?tf=1m")
    assert bars(page) == 600
    box = page.locator("[data-bars]").bounding_box()
    wanted = iter((601, 1601))
    for least in wanted:
        for _ in range(40):
            page.mouse.move(box["x"] + 60, box["y"] + 200)
            page.mouse.down()
            page.mouse.move(box["x"] + 700, box["y"] + 200, steps=4)
            page.mouse.up()
            if bars(page) >= least:
                break
        until(lambda least=least: bars(page) >= least)
    assert colours(page) > 20


def test_indicators_are_chosen_in_the_menu_and_have_the_values_of_the_strategies_own(
    look: Looked, api: Api
) -> None:
    page = view(look)
    page.get_by_role("button", name="Indicators").click()
    for name in ("SMA 20", "RSI", "MACD"):
        page.get_by_label(name, exact=True).check(force=True)
    page.get_by_label("Length of RSI").select_option("7")
    until(lambda: page.locator("[data-pane]").count() == 2)
    assert "sma=20&pane=rsi:7&pane=macd" in page.url
    page.keyboard.press("Escape")
    page.goto(page.url.replace("rsi:7", "rsi"))
    until(lambda: page.locator("[data-pane]").count() == 2 and "SMA 20" in lines(page))
    candles = api.get("pair_candles", symbol=SYMBOL, timeframe="15m", limit=30)
    assert is_price(lines(page)["SMA 20"], sum(candles["close"][-20:]) / 20)
    # SWING measures both at each close of 15 minutes.
    end_ms = candles["time_ms"][-1] + QUARTER_MS
    measured = api.get("scans", symbol=SYMBOL, strategy="SWING", end_ms=end_ms + 1, limit=1)["measurements"]
    assert lines(page)["RSI 14"] == f"{measured['rsi'][0]:.1f}"
    histogram = float(lines(page)["MACD 12, 26, 9 histogram"].replace("−", "-"))
    half = 0.51 * 10.0 ** -decimals(candles["close"][-1])
    assert histogram == pytest.approx(measured["macd_hist"][0], abs=half)
    assert lines(page)["RSI 14"] in plain(page.locator("[data-pane='rsi:14']").inner_text())
    page.keyboard.press("n")
    page.wait_for_url("**sma=20&pane=rsi&pane=macd")


# ----------------------------------------------------------------------------------- decisions


def test_the_panel_follows_the_bar_under_the_cursor(look: Looked, api: Api) -> None:
    page = view(look)
    walker = page.locator("input[type=range]")
    walker.focus()
    for _ in range(9):
        page.keyboard.press("ArrowLeft")
    candles = api.get("pair_candles", symbol=SYMBOL, timeframe="15m", limit=10)
    close_ms = candles["time_ms"][0] + QUARTER_MS
    for strategy in ("DCA", "SWING", "CHANNEL"):
        scans = api.get("scans", symbol=SYMBOL, strategy=strategy, end_ms=close_ms + 1, limit=1)
        panel = page.locator(f"aside [data-strategy={strategy}]")
        page.wait_for_selector(f"aside [data-strategy={strategy}][data-scan='{scans['time_ms'][0]}']")
        words = plain(panel.inner_text())
        assert as_shown(scans["sentence"][0]) in words
        value = scans["readiness"][0]
        told = panel.get_by_role("meter").get_attribute("aria-valuetext")
        assert told.startswith(f"{int(value)} of 100") if value is not None else told == "not measured"


def test_a_pinned_moment_is_explained_as_the_api_and_the_command_line_do(
    look: Looked, api: Api, home: Path
) -> None:
    decision = api.get("decisions", limit=1, verdict="NEAR_MISS")["items"][0]
    symbol, at_ms = decision["symbol"], decision["time_ms"]
    page = view(look, f"?at={at_ms}", symbol=symbol)
    shown = gates_shown(page)
    answered = api.get("explain", symbol=symbol, at_ms=at_ms)["strategies"]
    assert shown == gates_told(answered)
    at = from_ms(at_ms).strftime("%Y-%m-%dT%H:%M")
    code, told, error = run_command(
        home, "explain", symbol, "--at", at, "--account", worlds.ACCOUNT, "--json"
    )
    assert code == 0, error
    assert shown == gates_told(json.loads(told)["strategies"], "name")
    stopped = page.locator("article[data-verdict] li.stopped")
    for each in answered:
        failed = [gate["gate"] for gate in each["gates"] if not gate["passed"]]
        article = page.locator(f"article[data-strategy={each['strategy']}]")
        marked = article.locator("li.stopped")
        assert [one.get_attribute("data-gate") for one in marked.all()] == failed[:1]
    assert stopped.count() >= 1
    look.shoot("symbol-explained")


def test_what_the_portfolio_answered_stands_below_the_gates(look: Looked, api: Api) -> None:
    refused = api.get("decisions", limit=1, verdict="SKIP")["items"][0]
    page = view(look, f"?at={refused['time_ms']}", symbol=refused["symbol"])
    answer = page.locator(f"article[data-strategy={refused['strategy']}] [data-portfolio]")
    answer.wait_for()
    assert answer.get_attribute("data-portfolio") == refused["reason"]


def test_a_click_pins_and_escape_lets_go(look: Looked) -> None:
    page = view(look)
    box = page.locator("[data-bars]").bounding_box()
    page.mouse.click(box["x"] + 0.78 * box["width"], box["y"] + 200)
    page.wait_for_url("**at=*")
    page.wait_for_selector("article[data-verdict]")
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "at=" not in url)
    page.wait_for_selector("aside [data-scan]")


def test_enter_on_a_bar_pins_its_close(look: Looked, api: Api) -> None:
    page = view(look)
    page.locator("input[type=range]").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_url("**at=*")
    candles = api.get("pair_candles", symbol=SYMBOL, timeframe="15m", limit=2)
    assert f"at={candles['time_ms'][0] + QUARTER_MS}" in page.url


def test_why_not_explains_the_newest_moment(look: Looked, api: Api) -> None:
    page = view(look)
    page.get_by_role("button", name="Why not?").click()
    page.wait_for_url(f"**at={api.get('status')['until_ms']}")
    newest = api.get("explain", symbol=SYMBOL, at_ms=api.get("status")["until_ms"])["strategies"]
    assert gates_shown(page) == gates_told(newest)


def test_the_decisions_of_the_symbol_pin_their_moment(look: Looked, api: Api) -> None:
    page = view(look, "?tab=decisions")
    first = api.get("decisions", symbol=SYMBOL, limit=1)["items"][0]
    row = page.get_by_role("region", name=f"Decisions of {SYMBOL}").locator("tr[data-row]").first
    row.wait_for()
    assert first["strategy"] in plain(row.inner_text())
    assert as_shown(first["sentence"]) in plain(row.inner_text())
    row.click()
    page.wait_for_url(f"**at={first['time_ms']}")


# ----------------------------------------------------------------------------------- links and keys


def test_every_view_is_a_link(look: Looked) -> None:
    page = view(look)
    page.get_by_role("radio", name="1h").click()
    page.get_by_role("button", name="CHANNEL", exact=True).click()
    until(lambda: "tf=1h" in page.url and "strategy=" in page.url)
    page.reload()
    page.wait_for_selector("[data-drawn=true]")
    assert page.get_by_role("radio", name="1h").is_checked()
    assert page.get_by_role("button", name="CHANNEL", exact=True).get_attribute("aria-pressed") == "true"
    assert "in 1h" in plain(page.locator("[data-chart-summary] p").text_content())


@pytest.mark.parametrize("timeframe", ["1m", "1d"])
def test_every_timeframe_has_the_candles_of_the_api(look: Looked, api: Api, timeframe: str) -> None:
    page = view(look, f"?tf={timeframe}")
    candles = api.get("pair_candles", symbol=SYMBOL, timeframe=timeframe, limit=600)
    assert bars(page) == len(candles["time_ms"])


def test_n_and_p_go_to_the_next_and_the_previous_symbol(look: Looked, api: Api) -> None:
    names = [item["symbol"] for item in api.get("pairs")["items"]]
    following = names[(names.index(SYMBOL) + 1) % len(names)]
    page = view(look, "?tf=1h")
    page.wait_for_selector(".title .caption")
    page.keyboard.press("n")
    page.wait_for_url(f"**/symbol/{following}?tf=1h")
    page.keyboard.press("p")
    page.wait_for_url(f"**/symbol/{SYMBOL}?tf=1h")


def test_full_screen_stays_and_what_cannot_be_drawn_is_said(look: Looked) -> None:
    page = view(look, "?tf=5m&ema=9999&ema=20&full=true")
    assert "Not drawn: EMA 9999; lengths go from 2 to 400." in plain(page.locator(".refused").text_content())
    page.get_by_role("radio", name="1h").click()
    page.wait_for_function("() => document.querySelector('.refused') === null")
    assert "9999" not in page.url
    page.keyboard.press("n")
    page.wait_for_function("symbol => !location.pathname.endsWith(symbol)", arg=SYMBOL)
    page.wait_for_selector("[data-drawn=true]")
    assert page.get_by_role("button", name="Close full screen").count() == 1


# ----------------------------------------------------------------------------------- states


def test_the_header_says_what_the_account_has_of_the_symbol(look: Looked, api: Api) -> None:
    position = held(api)
    symbol = position["trade"]["symbol"]
    page = view(look, symbol=symbol)
    page.get_by_text("Held by DCA").wait_for()
    head = plain(page.locator("header.head").inner_text())
    pair = next(item for item in api.get("pairs")["items"] if item["symbol"] == symbol)
    assert money(position["trade"]["pnl_quote"], signed=True) in head
    assert money(pair["pnl_quote"], signed=True) in head
    assert f"{pair['trades']} trade" in head
    assert percent(pair["return_24h"], signed=True) in head
    assert pair["tier"].replace("_", " ") in head


def test_a_sale_is_asked_for_with_its_consequence(look: Looked, api: Api) -> None:
    symbol = held(api)["trade"]["symbol"]
    page = view(look, symbol=symbol)
    page.locator("[data-command=close]").click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert symbol.split("/")[0] in plain(dialog.inner_text())
    page.keyboard.press("Escape")


def test_a_recorded_run_opens_in_the_same_view(look: Looked, api: Api) -> None:
    trade = api.get("trades", account="run:1", limit=1)["items"][0]
    page = view(look, f"?account=run:1&at={trade['decision_ms']}", symbol=trade["symbol"])
    answered = api.get("explain", account="run:1", symbol=trade["symbol"], at_ms=trade["decision_ms"])
    assert gates_shown(page) == gates_told(answered["strategies"])
    assert page.locator("[data-command]").count() == 0, "what is over takes no commands"
    row = page.get_by_role("region", name=f"Trades of {trade['symbol']}").locator("tr[data-row]").first
    row.wait_for()
    assert money(trade["pnl_quote"], signed=True) in plain(row.inner_text())


def test_a_symbol_that_is_not_watched_says_so(look: Looked) -> None:
    look.page.goto(f"{look._address}/symbol/NOPE/USD")
    look.page.get_by_text("NOPE/USD is not watched here").wait_for()
    look.page.wait_for_load_state("networkidle")
    look.complaints = [
        words for words in look.complaints if "404" not in words and "does not watch NOPE/USD" not in words
    ]


def test_trouble_with_the_bars_is_told_and_tried_again(look: Looked) -> None:
    page = look.page
    problem = json.dumps(
        {"type": "about:blank", "title": "No bars", "status": 503, "detail": "the disk is full"}
    )
    page.route(
        "**/pair_candles*",
        lambda route: route.fulfill(status=503, content_type="application/problem+json", body=problem),
    )
    page.goto(f"{look._address}/symbol/{SYMBOL}")
    page.get_by_text("the disk is full").wait_for()
    page.unroute("**/pair_candles*")
    page.get_by_role("button", name="Try again").first.click()
    page.wait_for_selector("[data-drawn=true]")
    look.complaints = [words for words in look.complaints if "503" not in words]


# ----------------------------------------------------------------------------------- live


@pytest.mark.nightly
def test_new_minutes_reach_the_chart_while_the_account_trades(chromium: Any, tmp_path: Path) -> None:
    home = traded_home(tmp_path / "home", hours=1)
    with served(home) as address, traded(home, speed=1200):
        looked = Looked(chromium, address)
        page = view(looked, "?tf=1m")
        before = bars(page)
        until(lambda: bars(page) >= before + 20)
        until(lambda: page.locator("aside [data-scan]").count() == 3)
        looked.close()


Bar = dict[str, Any]


def test_thousands_of_live_bars_do_not_make_the_page_grow(chromium: Any, site: str, api: Api) -> None:
    newest = api.get("pair_candles", symbol=SYMBOL, timeframe="1m", limit=1)
    start_ms, price = newest["time_ms"][0], newest["close"][0]
    sent: list[Callable[[str], None]] = []
    looked = Looked(chromium, site)

    def through(socket: Any) -> None:
        server = socket.connect_to_server()
        socket.on_message(server.send)
        server.on_message(socket.send)
        sent.append(socket.send)

    looked.page.route_web_socket("**/api/v1/ws", through)
    page = view(looked, "?tf=1m")

    def bar(index: int) -> Bar:
        close = price * (1 + 0.01 * ((index * 7919) % 100) / 100)
        return {
            "symbol": SYMBOL,
            "timeframe": "1m",
            "time_ms": start_ms + index * MINUTE_MS,
            "open": price,
            "high": max(price, close),
            "low": min(price, close),
            "close": close,
            "volume": 1.0,
            "closed": True,
        }

    def send(first: int, last: int) -> None:
        for index in range(first, last):
            event = {"type": "bars", "account": worlds.ACCOUNT, "items": [bar(index), bar(index)]}
            sent[0](json.dumps(event))
            if index % 100 == 0:
                page.wait_for_timeout(1)
        until(lambda: is_price(closed(page), bar(last - 1)["close"]))

    session = looked.context.new_cdp_session(page)

    def heap() -> int:
        session.send("HeapProfiler.collectGarbage")
        return int(session.send("Runtime.getHeapUsage")["usedSize"])

    send(1, 200)
    before = heap()
    nodes = page.evaluate("document.querySelectorAll('*').length")
    send(200, 3_000)
    assert bars(page) == 600 + 2_999
    assert heap() - before < 12_000_000
    assert page.evaluate("document.querySelectorAll('*').length") - nodes < 100
    looked.close()


# ----------------------------------------------------------------------------------- for everybody


@pytest.mark.parametrize(("size", "scheme"), [("wide", "dark"), ("phone", "light")])
def test_nobody_is_shut_out(chromium: Any, site: str, api: Api, size: str, scheme: str) -> None:
    symbol = held(api)["trade"]["symbol"]
    at_ms = api.get("status")["until_ms"]
    looked = Looked(chromium, site, color_scheme=scheme, **(PHONE if size == "phone" else {}))
    chosen = "ema=20&sma=50&bands=20&vwap=true&pane=rsi:14&pane=macd"
    page = view(looked, f"?at={at_ms}&{chosen}", symbol=symbol)
    gates_shown(page)
    until(lambda: page.locator("[data-pane]").count() == (1 if size == "phone" else 2))
    page.get_by_role("button", name="Indicators").click()
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    looked.shoot(f"symbol-{size}-{scheme}")
    looked.close()


def test_over_the_whole_window_nothing_but_the_chart_is_within_reach(look: Looked) -> None:
    page = view(look)
    page.get_by_role("button", name="Full screen").click()
    chart = page.get_by_role("dialog", name=f"Chart of {SYMBOL}")
    chart.wait_for()
    still = "[...document.querySelectorAll('nav')].map((nav) => nav.closest('[inert]') !== null)"
    assert all(page.evaluate(still))
    inside = "document.querySelector('[role=dialog][aria-modal]').contains(document.activeElement)"
    for _ in range(25):
        page.keyboard.press("Tab")
        assert page.evaluate(f"document.activeElement === document.body || {inside}")
    page.keyboard.press("Escape")
    page.get_by_role("region", name=f"Chart of {SYMBOL}").wait_for()
    assert not any(page.evaluate(still))
    assert page.locator("[inert]").count() == 0


def test_over_the_whole_window_a_lost_connection_is_told_too(chromium: Any, site: str) -> None:
    looked = Looked(chromium, site)
    streams: list[Any] = []

    def stream(route: Any) -> None:
        if streams:
            route.close(code=1011)
        else:
            route.connect_to_server()
        streams.append(route)

    looked.page.route_web_socket("**/api/v1/ws", stream)
    page = view(looked, "?full=true")
    chart = page.get_by_role("dialog", name=f"Chart of {SYMBOL}")
    until(lambda: len(streams) == 1)
    assert chart.get_by_text("No connection since").count() == 0
    streams[0].close(code=1011)
    chart.get_by_text("No connection since").wait_for()
    box, size = chart.bounding_box(), page.viewport_size
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, size["width"], size["height"])
    looked.shoot("symbol-whole-lost")
    looked.close()


def test_the_charts_keep_the_logo_of_their_makers(look: Looked) -> None:
    page = view(look)
    logo = page.locator("#tv-attr-logo")
    assert logo.get_attribute("href").startswith("https://www.tradingview.com/")
    assert page.evaluate("getComputedStyle(document.querySelector('#tv-attr-logo')).position") == "absolute"
