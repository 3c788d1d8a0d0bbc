"""The market page: its figures are those of the API, its controls are in place, and it fits every screen."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.desk.stormy_home import fits_and_serves_everybody, looked_at, settled, stormy_home, words
from tests.desk.trading_page import Api, Looked, as_shown, money, percent, plain, served


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(stormy_home(tmp_path_factory.mktemp("market-page") / "home")) as address:
        yield address


@pytest.fixture(scope="module")
def api(site: str) -> Api:
    return Api(site)


@pytest.fixture(scope="module")
def look(chromium: Any, site: str) -> Iterator[Looked]:
    """The page as it stands in the crash; no test of it changes anything."""
    with looked_at(chromium, site, "/market") as looked:
        settled(looked, "History of the regime")
        looked.page.locator("[data-regime]").wait_for()
        looked.page.locator("[data-symbol]").first.wait_for()
        yield looked


def card(look: Looked, title: str) -> Any:
    """The box under a heading."""
    return look.page.locator("section.card", has=look.page.get_by_role("heading", name=title, exact=True))


def said(look: Looked, title: str) -> str:
    """All words of a box."""
    return plain(card(look, title).inner_text())


def test_the_regime_and_the_distance_of_each_return_from_its_limits_are_those_of_the_api(
    look: Looked, api: Api
) -> None:
    market = api.get("market")
    assert market["regime"] == "PANIC", "the account stands in the middle of the crash"
    assert look.text("[data-regime]") == market["regime"]
    rows = words(look, ".scale .span")
    assert [row.split(" h ")[0] for row in rows] == ["1", "4", "24", "48"]
    for row in rows:
        hours = int(row.split(" h ")[0])
        rules = [rule for rule in market["thresholds"] if rule["hours"] == hours]
        assert percent(rules[0]["now"], signed=True) in row
        met = [rule["regime"] for rule in rules if rule["met"]]
        if met:
            assert row.endswith(f"meets {met[0]}")
        else:
            nearest = min(rules, key=lambda rule: abs(rule["limit"] - rule["now"]))
            away = percent(abs(nearest["limit"] - nearest["now"])).replace("%", "points")
            assert row.endswith(f"{away} from {nearest['regime']}")


def test_trend_condition_volatility_and_breadth_are_those_of_the_api(look: Looked, api: Api) -> None:
    market, shown = api.get("market"), said(look, "Condition of the market")
    for figure in (
        f"{market['reference_price']:,.2f}",
        percent(market["returns"]["24h"], signed=True),
        market["slow_regime"],
        market["condition"],
        f"{market['favoured']} comes first where room is short",
        percent(market["volatility"]),
        f"{market['rising']} of {market['breadth_symbols']}",
    ):
        assert figure in shown
    assert "Nothing is bought." in shown
    for note in market["notes"]:
        assert note[1:] in shown


def test_what_stands_against_buying_is_told_with_the_numbers_of_both_latches(look: Looked, api: Api) -> None:
    entries, shown = api.get("locks")["entries"], said(look, "Entries")
    assert "Entries are blocked" in shown
    assert len(entries["why_not"]) == 2, "a person paused it, and it is PANIC"
    for why in entries["why_not"]:
        assert as_shown(why)[1:] in shown
    assert (
        f"{percent(max(0.0, entries['day_loss']))} of {percent(entries['day_loss_max'], digits=0)}" in shown
    )
    assert f"{percent(entries['drawdown'])} of {percent(entries['drawdown_max'], digits=0)}" in shown
    assert f"{money(entries['day_pnl_quote'], signed=True)} USD today" in shown
    assert f"peak of {money(entries['peak_quote'])}" in shown


def test_each_strategy_has_its_state_its_share_and_its_losses(look: Looked, api: Api) -> None:
    for each in api.get("locks")["strategies"]:
        shown = plain(look.page.locator(f"[data-strategy={each['strategy']}]").inner_text())
        assert f"{each['used_quote']:,.0f} / {each['share_quote']:,.0f}" in shown
        assert f"{each['losing_streak']} / 5" in shown
        if each["strategy"] == "CHANNEL":
            assert set(each["off_by"]) == {"person", "volatility"}
            assert "switched off by a person, off while volatility is high" in shown
        else:
            assert each["off_by"] == []


def test_symbols_that_open_nothing_stand_with_their_reason(look: Looked, api: Api) -> None:
    symbols = api.get("locks")["symbols"]
    assert [each["symbol"] for each in symbols if each["blocked"]] == ["SOL/USD"]
    assert sorted(
        look.page.locator("[data-symbol]").evaluate_all("all => all.map(one => one.dataset.symbol)")
    ) == (sorted(each["symbol"] for each in symbols))
    blocked = plain(look.page.locator("[data-symbol='SOL/USD']").inner_text())
    assert "blocked by a person" in blocked
    assert "Unblock" in blocked


def test_a_cooldown_tells_the_time_left_in_the_present_of_the_account(look: Looked, api: Api) -> None:
    (cooling,) = [each for each in api.get("locks")["symbols"] if each["cooldown_until_ms"] is not None]
    minutes = cooling["left_ms"] // 60_000
    row = look.page.locator(f"[data-symbol='{cooling['symbol']}']")
    shown = plain(row.inner_text())
    assert f"cools down {minutes // 60} h {minutes % 60:02d} min left" in shown
    assert row.locator("[data-command=cooldown_clear]").count() == 1


def test_volatility_stands_beside_the_marks_of_each_switch(look: Looked, api: Api) -> None:
    market, shown = api.get("market"), said(look, "Volatility switches")
    for each in market["switches"]:
        away = percent(abs((each["off_at"] if each["on"] else each["on_below"]) - market["volatility"]))
        away = away.replace("%", "points")
        assert (f"{away} below its switch-off" if each["on"] else f"on again {away} lower") in shown
        assert f"off {percent(each['off_at'], digits=0)}" in shown


def test_movers_and_all_symbols_are_those_of_the_api(look: Looked, api: Api) -> None:
    items = api.get("pairs")["items"]
    falling = sorted((each for each in items if each["return_24h"] < 0), key=lambda each: each["return_24h"])
    rows = words(look, "section.card:has(h2:text-is('Falling most')) li")
    assert [row.split("/")[0] for row in rows] == [each["symbol"].split("/")[0] for each in falling[:5]]
    for row, each in zip(rows, falling, strict=False):
        assert percent(each["return_24h"], signed=True) in row
    tiles = words(look, "section.card:has(h2:text-is('All symbols')) li")
    by_return = sorted(items, key=lambda each: (-each["return_24h"], each["symbol"]))
    assert tiles == [
        f"{each['symbol'].split('/')[0]} {percent(each['return_24h'], signed=True)}" for each in by_return
    ]


def test_the_history_tells_the_share_of_each_regime(look: Looked, api: Api) -> None:
    status, spans = api.get("status"), api.get("regimes")["items"]
    whole = status["until_ms"] - status["start_ms"]
    lasted: dict[str, int] = {}
    for span in spans:
        lasted[span["regime"]] = lasted.get(span["regime"], 0) + span["end_ms"] - span["start_ms"]
    lasted["NORMAL"] = whole - sum(lasted.values())
    shown = said(look, "History of the regime")
    for regime, ms in lasted.items():
        if ms > 0:
            assert f"{regime} {percent(ms / whole, digits=1)}" in shown


@pytest.mark.parametrize(
    ("kind", "button", "consequence"),
    [
        ("resume", "Resume entries", "resume"),
        ("strategy_on", "Switch on", "CHANNEL"),
        ("unblock", "Unblock", "SOL"),
    ],
)
def test_each_lock_has_its_control_which_says_what_it_would_do_first(
    chromium: Any, site: str, api: Api, kind: str, button: str, consequence: str
) -> None:
    before = api.get("commands", limit=500)["items"]
    with looked_at(chromium, site, "/market") as look:
        # The banner above the page has one of its own for what holds back everything.
        control = look.page.locator(f"[data-command={kind}]", has_text=button).first
        control.wait_for()
        control.click()
        dialog = look.page.get_by_role("dialog")
        dialog.get_by_text(re.compile(consequence, re.IGNORECASE)).first.wait_for()
        look.page.keyboard.press("Escape")
        dialog.wait_for(state="detached")
    assert api.get("commands", limit=500)["items"] == before, "nothing is sent before it is confirmed"


def test_the_order_of_the_symbols_is_part_of_the_address(chromium: Any, site: str, api: Api) -> None:
    with looked_at(chromium, site, "/market?heat=name") as look:
        settled(look, "All symbols")
        tiles = "section.card:has(h2:text-is('All symbols')) li .coin"
        look.page.locator(tiles).first.wait_for()
        names = sorted(each["symbol"].split("/")[0] for each in api.get("pairs")["items"])
        assert words(look, tiles) == names
        look.page.get_by_role("radio", name="Volume").click()
        look.page.wait_for_url("**/market?heat=volume")
        volumes = sorted(api.get("pairs")["items"], key=lambda each: -each["volume_24h_quote"])
        assert words(look, tiles) == [each["symbol"].split("/")[0] for each in volumes]


def test_a_recorded_run_says_in_one_line_what_it_has_not_and_asks_for_nothing_else(
    chromium: Any, site: str, api: Api
) -> None:
    with looked_at(chromium, site, "/market?account=run:1") as look:
        settled(look, "History of the regime")
        look.page.locator("section.card:has(h2:text-is('All symbols')) li").first.wait_for()
        assert look.text("[role=note]").startswith("A recorded run is over: nothing keeps it from buying")
        assert look.page.locator("[data-command]").count() == 0
        shown = words(look, "section.card:has(h2:text-is('All symbols')) li")
        assert len(shown) == len(api.get("pairs", account="run:1")["items"])
        look.shoot("market-run")


@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        ("desk", "dark"),
        ("desk", "light"),
        ("phone", "dark"),
        pytest.param("cinema", "dark", marks=pytest.mark.nightly),
    ],
)
def test_it_fits_every_screen_and_serves_everybody(chromium: Any, site: str, size: str, scheme: str) -> None:
    with looked_at(chromium, site, "/market", size=size, scheme=scheme) as look:
        settled(look, "History of the regime")
        look.page.locator("[data-symbol]").first.wait_for()
        look.page.locator("section.card:has(h2:text-is('All symbols')) li").first.wait_for()
        fits_and_serves_everybody(look)
        look.shoot(f"market-{size}-{scheme}")
