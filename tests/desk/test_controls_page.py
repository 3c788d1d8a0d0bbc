"""Every command of the engine through the page: what it says before, what the real trader answers, what is kept.

The trader is a process of its own that replays the lively market of tests/trading/worlds.py, paced, so that a
minute of the market comes many times a second. Each test gives one command and reads the trader's answer in the
audit list; the module's account goes on from one test to the next, in the order of the file.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.desk.trading_page import (
    Api,
    Looked,
    as_shown,
    plain,
    quiet_home,
    served,
    traded,
    traded_home,
    until,
)
from tests.trading import worlds

HOURS = 11  # after the stops of the crash, whose cooldowns still last
STOPPED_HOURS = 8  # of an account of its own, of which something is held then, and nobody trades it
SPEED = 120  # minutes of the market in one of the clock: two a second


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An account that stands after the crash, with positions, cooldowns and losses."""
    return traded_home(tmp_path_factory.mktemp("controls-page") / "home", hours=HOURS)


@pytest.fixture(scope="module")
def site(home: Path) -> Iterator[str]:
    with served(home) as address, traded(home, speed=SPEED):
        until(lambda: Api(address).get("status")["running"])
        yield address


@pytest.fixture(scope="module")
def api(site: str) -> Api:
    return Api(site)


@pytest.fixture
def look(chromium: Any, site: str) -> Iterator[Looked]:
    looked = Looked(chromium, site)
    looked.open("/system?tab=controls")
    looked.page.get_by_role("heading", name="Entries").wait_for()
    yield looked
    looked.close()


def group(look: Looked, title: str) -> Any:
    """One group of the command centre."""
    return look.page.locator(
        "section[aria-labelledby^=control-]", has=look.page.get_by_role("heading", name=title)
    )


def give(look: Looked, button: Any, *, danger: str) -> str:
    """Press a button of the command centre and confirm; the words of the confirmation."""
    button.click()
    dialog = look.page.get_by_role("dialog")
    confirm = dialog.locator("button.confirm:not(:disabled)")
    confirm.wait_for()
    assert confirm.get_attribute("data-danger") == danger
    said = plain(dialog.inner_text())
    confirm.click()
    dialog.wait_for(state="detached")
    return said


def answered(api: Api, kind: str, **arguments: str | int) -> dict[str, Any]:
    """The newest command of a kind, once the trader has answered it."""

    def newest() -> Any:
        found = next((each for each in api.get("commands")["items"] if each["kind"] == kind), None)
        return found if found and found["status"] != "waiting" else None

    item: dict[str, Any] = until(newest)
    assert item["arguments"] == arguments
    assert item["actor"] == "web:local"
    return item


def listed(look: Looked, kind: str, item: dict[str, Any]) -> str:
    """The line of the audit list for a command, once it tells the answer."""
    line = look.page.locator(f"li[data-action={kind}]").first
    until(lambda: as_shown(item["sentence"]).casefold() in plain(line.inner_text()).casefold())
    words = plain(line.inner_text())
    assert item["status"] in words
    assert "local" in words
    return words


def applied(look: Looked, api: Api, kind: str, **arguments: str | int) -> str:
    """The line of a command that the trader has applied."""
    item = answered(api, kind, **arguments)
    assert item["status"] == "applied", item["sentence"]
    return listed(look, kind, item)


# ----------------------------------------------------------------------------------- the thirteen commands


def test_a_cooldown_is_cleared(look: Looked, api: Api) -> None:
    symbols = group(look, "Symbols")
    cooling = until(
        lambda: [
            each["symbol"]
            for each in api.get("locks")["symbols"]
            if each["stops"] or each["cooldown_until_ms"]
        ]
    )
    row = symbols.locator("li", has_text=cooling[0])
    give(look, row.get_by_role("button", name="Clear cooldown"), danger="caution")
    applied(look, api, "cooldown_clear", symbol=cooling[0])


def test_a_losing_streak_is_cleared(look: Looked, api: Api) -> None:
    losing = until(
        lambda: [each["strategy"] for each in api.get("locks")["strategies"] if each["losing_streak"]]
    )
    row = group(look, "Strategies").locator("li", has_text=losing[0])
    give(look, row.get_by_role("button", name="Clear streak"), danger="caution")
    applied(look, api, "streak_clear", strategy=losing[0])


def test_pause_says_what_goes_on_and_stops_entries(look: Looked, api: Api) -> None:
    said = give(look, group(look, "Entries").get_by_role("button", name="Pause entries"), danger="none")
    assert "until a person resumes" in said
    assert "Pause entries" in applied(look, api, "pause")
    until(lambda: api.get("status")["entries"]["paused"])
    group(look, "Entries").get_by_text("Stopped").wait_for()
    look.shoot("controls-paused")


def test_resume_lets_entries_go_on(look: Looked, api: Api) -> None:
    give(look, group(look, "Entries").get_by_role("button", name="Resume entries"), danger="caution")
    assert "Resume entries" in applied(look, api, "resume")
    until(lambda: not api.get("status")["entries"]["paused"])


def test_close_sells_the_position_that_was_chosen(look: Looked, api: Api) -> None:
    positions = group(look, "Positions")
    symbol = until(lambda: [each["trade"]["symbol"] for each in api.get("positions")["items"]])[0]
    positions.get_by_label("Position to sell").select_option(symbol)
    said = give(look, positions.get_by_role("button", name="Sell it"), danger="danger")
    assert symbol.split("/")[0] in said
    applied(look, api, "close", symbol=symbol)
    until(lambda: any(each["exit_reason"] == "manual" for each in api.get("trades", symbol=symbol)["items"]))


def test_close_worst_sells_as_many_as_were_asked_for(look: Looked, api: Api) -> None:
    positions = group(look, "Positions")
    until(lambda: api.get("positions")["items"])
    positions.get_by_label("How many of the worst positions").fill("2")
    give(look, positions.get_by_role("button", name="Sell them"), danger="danger")
    applied(look, api, "close_worst", count=2)


def test_a_confirmation_keeps_up_with_the_market_and_a_lost_answer_gives_no_second_command(
    look: Looked, api: Api
) -> None:
    button = group(look, "Positions").get_by_role("button", name="Sell them")
    dialog = look.page.get_by_role("dialog")
    button.click()
    known = dialog.locator("time").first
    before = known.get_attribute("datetime")
    until(lambda: known.get_attribute("datetime") != before)
    numbers: list[str] = []

    def lose_the_answer(route: Any) -> None:
        if route.request.method == "POST":
            numbers.append(route.request.post_data_json["command_id"])
            route.fetch()
            route.abort()
        else:
            route.continue_()

    look.page.route("**/api/v1/commands?*", lose_the_answer)
    dialog.locator("button.confirm").click()
    dialog.get_by_text("Nobody knows whether this arrived").wait_for()
    look.page.keyboard.press("Escape")
    look.page.unroute("**/api/v1/commands?*")
    assert [text for text in look.complaints if "ERR_FAILED" not in text] == []
    look.complaints.clear()  # the browser complains of the answer that was lost
    button.click()
    dialog.get_by_text("You sent the same").wait_for()
    look.page.keyboard.press("Escape")
    assert [each["kind"] for each in api.get("commands")["items"] if each["command_id"] in numbers] == [
        "close_worst"
    ]


def test_a_command_of_which_nobody_knows_survives_a_reload_and_is_sent_again_as_itself(
    look: Looked, api: Api
) -> None:
    page = look.page
    numbers: list[str] = []
    keeps = True

    def lose_the_answer(route: Any) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        numbers.append(route.request.post_data_json["command_id"])
        if keeps:
            route.fetch()
        route.abort()

    def left_behind(button: str) -> None:
        """Give a command whose answer is lost, and load the page anew."""
        group(look, "Strategies").locator("li", has_text="DCA").get_by_role("button", name=button).click()
        page.route("**/api/v1/commands?*", lose_the_answer)
        page.get_by_role("dialog").locator("button.confirm:not(:disabled)").click()
        page.get_by_text("Nobody knows whether this arrived").wait_for()
        page.unroute("**/api/v1/commands?*")
        page.reload()
        assert [text for text in look.complaints if "ERR_FAILED" not in text] == []
        look.complaints.clear()  # the browser complains of the answer that was lost

    left_behind("Switch off")
    arrived = page.get_by_text("Switch DCA off, which you sent at")
    arrived.get_by_text("arrived. It is").wait_for()
    look.shoot("doubt-arrived")
    page.get_by_role("status").get_by_role("button", name="Dismiss").click()
    arrived.wait_for(state="detached")
    answered(api, "strategy_off", strategy="DCA")

    keeps = False
    page.get_by_role("heading", name="Entries").wait_for()
    left_behind("Switch on")
    page.get_by_text("it did not arrive, or was refused").wait_for()
    look.shoot("doubt-absent")

    page.route(
        "**/api/v1/commands?*",
        lambda route: route.fulfill(
            status=500,
            content_type="application/problem+json",
            body='{"title": "It failed", "status": 500, "detail": "The commands can not be read."}',
        ),
    )
    page.reload()
    page.get_by_text("could not be looked for: The commands can not be read.").wait_for()
    assert page.get_by_role("button", name="Leave it", exact=True).count() == 1
    look.shoot("doubt-failed")
    page.unroute("**/api/v1/commands?*")
    page.get_by_role("button", name="Look again").click()
    page.get_by_text("it did not arrive, or was refused").wait_for()
    assert [text for text in look.complaints if "500" not in text] == []
    look.complaints.clear()  # the browser complains of the answer that failed
    give(look, page.get_by_role("button", name="Send again"), danger="caution")
    page.get_by_text("Switch DCA on, which you sent at").wait_for(state="detached")
    assert answered(api, "strategy_on", strategy="DCA")["command_id"] == numbers[-1]
    assert len(set(numbers)) == 2
    page.reload()
    page.get_by_role("heading", name="Entries").wait_for()
    assert page.get_by_text("which you sent at").count() == 0


def test_a_command_that_waits_is_withdrawn_with_who_and_when(look: Looked, api: Api, site: str) -> None:
    wish = {
        "kind": "block",
        "arguments": {"symbol": "SOL/USD"},
        "not_before_ms": api.get("status")["end_ms"] - 60_000,
    }
    given = httpx.post(f"{site}/api/v1/commands", json=wish, trust_env=False).raise_for_status().json()
    page = look.open("/system?tab=audit")
    line = page.locator("li[data-action=block]").first
    line.get_by_role("button", name="Withdraw: Block SOL/USD").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("what it was to do is not done").wait_for()
    assert page.evaluate("document.activeElement.textContent").strip() == "Cancel"
    look.shoot("withdraw")
    dialog.get_by_role("button", name="Withdraw it").click()
    dialog.wait_for(state="detached")
    line.get_by_text("withdrawn", exact=True).wait_for()
    until(lambda: "Taken back by web:local at" in plain(line.inner_text()))
    assert line.get_by_role("button").count() == 0
    act = page.locator("li[data-action=withdraw]").first
    assert "Withdrew: Block SOL/USD" in plain(act.inner_text())
    look.shoot("withdrawn")
    found = next(each for each in api.get("commands")["items"] if each["command_id"] == given["command_id"])
    assert (found["status"], found["time_ms"]) == ("withdrawn", None)


def test_where_nobody_trades_that_is_said_before_and_a_sale_that_waits_stands_in_its_row(
    chromium: Any, tmp_path: Path
) -> None:
    with served(traded_home(tmp_path / "home", hours=STOPPED_HOURS)) as address:
        looked, own = Looked(chromium, address), Api(address)
        held = own.get("positions")["items"][0]["trade"]["symbol"]
        page = looked.open("/trading")
        row = page.get_by_role("region", name="All open positions").locator("tr[data-row]", has_text=held[:3])
        said = give(looked, row.get_by_role("button", name=f"Sell {held}"), danger="danger")
        assert f"Nobody trades {worlds.ACCOUNT} now: it acts when the account is traded again." in said
        withdraw = page.get_by_role("button", name=f"Sale waits: withdraw the sale of {held}")
        withdraw.wait_for()
        page.reload()
        withdraw.wait_for()
        assert row.get_by_role("button", name=f"Sell {held}").count() == 0
        looked.shoot("sale-waits")
        looked.serves_everybody()
        withdraw.click()
        page.get_by_role("dialog").get_by_role("button", name="Withdraw it").click()
        row.get_by_role("button", name=f"Sell {held}").wait_for()
        assert own.get("commands")["items"][0]["status"] == "withdrawn"
        looked.close()


def test_a_regime_is_forced_and_left_to_the_market_again(look: Looked, api: Api) -> None:
    regime = group(look, "Market regime")
    give(look, regime.get_by_role("button", name="CAUTION", exact=True), danger="caution")
    applied(look, api, "regime_force", regime="caution")
    until(lambda: api.get("status")["regime_forced"])
    regime.get_by_text("forced by a person").wait_for()
    give(look, regime.get_by_role("button", name="Leave it to the market"), danger="caution")
    applied(look, api, "regime_release")
    until(lambda: not api.get("status")["regime_forced"])


def test_a_strategy_is_switched_off_and_on(look: Looked, api: Api) -> None:
    row = group(look, "Strategies").locator("li", has_text="SWING")
    give(look, row.get_by_role("button", name="Switch off"), danger="none")
    applied(look, api, "strategy_off", strategy="SWING")
    row.get_by_text("switched off by a person").wait_for()
    give(look, row.get_by_role("button", name="Switch on"), danger="caution")
    applied(look, api, "strategy_on", strategy="SWING")
    row.get_by_text("may open positions").wait_for()


def test_a_symbol_is_blocked_and_unblocked(look: Looked, api: Api) -> None:
    symbols = group(look, "Symbols")
    symbols.get_by_role("combobox", name="Symbol").fill("wif")
    give(look, symbols.get_by_role("button", name="Block", exact=True), danger="none")
    applied(look, api, "block", symbol="WIF/USD")
    row = symbols.locator("li", has_text="WIF/USD")
    row.get_by_text("blocked").first.wait_for()
    give(look, row.get_by_role("button", name="Unblock"), danger="caution")
    applied(look, api, "unblock", symbol="WIF/USD")


def test_a_configuration_is_shown_as_old_and_new_before_it_is_applied(
    look: Looked, api: Api, home: Path
) -> None:
    toml = (home / "config.toml").read_text(encoding="utf-8") + "limits.max_open = 77\n"
    configuration = group(look, "Configuration")
    configuration.get_by_label("Configuration as TOML").fill(toml)
    configuration.get_by_role("button", name="Show what it changes").click()
    row = configuration.locator("tbody tr", has_text="limits.max_open")
    row.wait_for()
    assert [plain(each) for each in row.locator("td").all_inner_texts()][-1] == "77"
    give(look, configuration.get_by_role("button", name=re.compile("^Apply")), danger="caution")
    item = answered(api, "configure", version=api.get("commands")["items"][0]["arguments"]["version"])
    assert item["status"] == "applied", item["sentence"]
    listed(look, "configure", item)
    until(lambda: api.get("status")["configuration_version"] == item["arguments"]["version"])


def test_the_audit_list_tells_who_did_what_and_what_the_trader_answered(look: Looked, api: Api) -> None:
    row = group(look, "Strategies").locator("li", has_text="CHANNEL")
    give(look, row.get_by_role("button", name="Switch off"), danger="none")
    answered(api, "strategy_off", strategy="CHANNEL")
    page = look.open("/system?tab=audit")
    acts = api.get("audit", limit=50)["items"]
    lines = page.get_by_role("list", name="What people did, the newest first").locator("> li")
    until(lambda: lines.count() == len(acts))
    assert [each.get_attribute("data-action") for each in lines.all()] == [each["action"] for each in acts]
    words = plain(lines.filter(has_text="Switch CHANNEL off").inner_text())
    assert "applied" in words
    assert "CHANNEL opens nothing from" in words
    assert "local (web)" in words
    look.shoot("audit")


# ----------------------------------------------------------------------------------- what may go wrong


def test_a_configuration_that_can_not_be_read_is_told_in_a_sentence(chromium: Any, site: str) -> None:
    looked = Looked(chromium, site)
    looked.open("/system?tab=controls")
    configuration = group(looked, "Configuration")
    configuration.get_by_label("Configuration as TOML").fill("[limits]\nmax_opne = 1\n")
    configuration.get_by_role("button", name="Show what it changes").click()
    alert = configuration.get_by_role("alert")
    alert.wait_for()
    assert "max_opne" in alert.inner_text()
    looked.complaints.clear()  # the browser itself notes the status 4xx
    looked.close()


def test_enter_does_not_confirm_what_sells(look: Looked, api: Api) -> None:
    positions = group(look, "Positions")
    until(lambda: api.get("positions")["items"])
    before = len(api.get("commands")["items"])
    positions.get_by_role("button", name="Sell them").click()
    dialog = look.page.get_by_role("dialog")
    dialog.locator("button.confirm:not(:disabled)").wait_for()
    assert look.page.evaluate("document.activeElement.textContent").strip() == "Cancel"
    look.shoot("confirm-danger")
    look.page.keyboard.press("Enter")
    dialog.wait_for(state="detached")
    assert len(api.get("commands")["items"]) == before


def test_everybody_can_read_the_controls_and_their_confirmation(look: Looked, api: Api) -> None:
    until(lambda: api.get("positions")["items"])
    look.page.emulate_media(color_scheme="light", reduced_motion="reduce")
    look.serves_everybody()
    group(look, "Positions").get_by_role("button", name="Sell them").click()
    look.page.get_by_role("dialog").locator("button.confirm:not(:disabled)").wait_for()
    look.serves_everybody()


def test_a_position_is_sold_from_its_row_after_a_confirmation(look: Looked, api: Api) -> None:
    page = look.open("/trading")
    region = page.get_by_role("region", name="All open positions")
    until(lambda: region.locator("tr[data-row]").count())
    row = region.locator("tr[data-row]").first
    symbol = plain(row.locator("td").first.inner_text())
    give(look, row.get_by_role("button", name=f"Sell {symbol}"), danger="danger")
    assert page.get_by_role("log", name="Messages").locator("p").count() >= 1
    item = answered(api, "close", symbol=symbol)
    page.get_by_role("log", name="Messages").get_by_text(as_shown(item["sentence"])).wait_for()


def test_who_may_only_read_sees_the_buttons_disabled_and_why(chromium: Any, home: Path) -> None:
    with served(home, opened="read") as address:
        looked = Looked(chromium, address)
        page = looked.open("/system?tab=controls")
        pause = group(looked, "Entries").get_by_role("button", name="Pause entries")
        pause.wait_for()
        assert pause.get_attribute("aria-disabled") == "true"
        assert "scope control" in pause.get_attribute("title")
        pause.click(force=True)
        assert page.get_by_role("dialog").count() == 0
        looked.shoot("controls-read-only")
        looked.close()


def test_a_recorded_run_and_an_ended_replay_take_no_commands(chromium: Any, tmp_path: Path) -> None:
    home = quiet_home(tmp_path / "home")
    worlds.trade(home, end_ms=worlds.START_MS + 60_000 * 30)
    with served(home) as address:
        looked = Looked(chromium, address)
        looked.open("/system?tab=controls")
        pause = group(looked, "Entries").get_by_role("button", name="Pause entries")
        pause.wait_for()
        until(lambda: "has come to its end" in pause.get_attribute("title"))
        looked.close()
