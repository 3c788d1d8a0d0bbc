"""The research page: targets with their evidence, runs that open, and honest words for what does not exist yet."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.desk.stormy_home import fits_and_serves_everybody, looked_at, settled, stormy_home, words
from tests.desk.trading_page import Api, Looked, money, percent, plain, served, until


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(stormy_home(tmp_path_factory.mktemp("research-page") / "home")) as address:
        yield address


@pytest.fixture(scope="module")
def api(site: str) -> Api:
    return Api(site)


@pytest.fixture(scope="module")
def look(chromium: Any, site: str) -> Iterator[Looked]:
    with looked_at(chromium, site, "/research") as looked:
        looked.page.locator("[data-target]").first.wait_for()
        settled(looked, "Suggestions")
        yield looked


def scorecard(api: Api, **query: Any) -> Any:
    """The first scorecard that was made."""
    return until(lambda: (found := api.get("scorecard", **query))["made_at_ms"] is not None and found)


def figure(row: Any, value: float | None) -> str:
    """A figure of a target as the page writes it."""
    if row["kind"] == "share":
        return percent(value, digits=1)
    if row["kind"] == "money":
        return f"{money(value, signed=True).rsplit('.', 1)[0]} USD" if value else "0 USD"
    return money(value, signed=row["key"] != "profit_factor")


def test_every_target_stands_with_its_value_its_sample_and_its_state(look: Looked, api: Api) -> None:
    card = scorecard(api)
    rows = {
        target: plain(look.page.locator(f"[data-target='{target}']").inner_text())
        for target in look.page.locator("[data-target]").evaluate_all(
            "all => all.map(one => one.dataset.target)"
        )
    }
    assert list(rows) == [row["key"] for row in card["rows"]]
    assert any(row["value"] is not None for row in card["rows"])
    for row in card["rows"]:
        shown = rows[row["key"]]
        assert shown.startswith(row["name"])
        if row["kind"] != "money":
            assert figure(row, row["value"]) in shown
        assert f"{row['n']:,}" in shown
        if row["state"] == "not_known":
            assert ("too few yet" if row["thin"] else "not known") in shown
        if row["why"] and not row["thin"]:
            assert row["why"] in shown


def test_an_interval_reaches_from_its_low_to_its_high_end(look: Looked, api: Api) -> None:
    (row,) = [row for row in scorecard(api)["rows"] if row["key"] == "win_rate"]
    assert None not in {row["value"], row["low"], row["high"]}
    track = look.page.locator("[data-target='win_rate'] .track")
    places = track.evaluate(
        """track => {
            const whole = track.getBoundingClientRect();
            const at = (one, side) => (one.getBoundingClientRect()[side] - whole.left) / whole.width;
            const interval = track.querySelector(".interval");
            const middle = (one) => (at(one, "left") + at(one, "right")) / 2;
            return [
                at(interval, "left"), at(interval, "right"),
                middle(track.querySelector(".dot")), middle(track.querySelector(".target")),
            ];
        }"""
    )
    expected = [row["low"], row["high"], row["value"], row["target"]]
    assert places == pytest.approx(expected, abs=0.01), "a share stands on an axis from 0 to 1"


def test_the_verdict_is_a_sentence_and_a_word(look: Looked, api: Api) -> None:
    card = scorecard(api)
    shown = look.text("[data-verdict]")
    assert look.page.locator("[data-verdict]").get_attribute("data-verdict") == card["verdict"]
    assert f"{card['met']} of {len(card['rows'])} targets are met" in shown
    assert f"{card['met']} met {card['not_met']} missed {card['not_known']} not known" in plain(
        look.page.locator(".counts").inner_text()
    )


def test_trials_learning_and_agreement_are_those_of_the_api(look: Looked, api: Api) -> None:
    research = api.get("research")
    assert research["trials"]["count"] == 1, "one backtest was held against bars"
    page = plain(look.page.locator("main").inner_text())
    assert re.sub(r"-(?=\d)", "\u2212", research["trials"]["sentence"].replace("`", "")) in page
    for each in research["progress"]:
        assert f"{each['strategy']} {each['outcomes']:,} / {each['needed']:,}" in page
    assert sum(each["outcomes"] for each in research["progress"]) > 0
    for each in research["agreement"]:
        assert each["scans"] > 0
        assert f"{each['first']} and {each['second']} {percent(each['share'], digits=1)}" in page


def test_what_does_not_exist_yet_says_what_it_will_be_and_shows_nothing_made_up(
    look: Looked, api: Api
) -> None:
    research = api.get("research")
    for name in ("models", "shadow", "suggestions"):
        assert research[name] == []
    assert look.page.locator("[data-coming]").evaluate_all("all => all.map(one => one.dataset.coming)") == [
        "models",
        "predictions",
        "shadow",
        "suggestions",
    ]
    for name, sentence in research["missing"].items():
        assert plain(look.page.locator(f"[data-coming={name}] .words").inner_text()) == sentence


def test_a_recorded_run_opens_in_the_pages_of_accounts(chromium: Any, site: str, api: Api) -> None:
    (run,) = api.get("runs", limit=50)["items"]
    with looked_at(chromium, site, "/research") as look:
        row = look.page.locator("tr[data-row]")
        row.wait_for()
        shown = plain(row.inner_text())
        assert shown.startswith(f"#{run['run_id']} backtest")
        assert f" {run['trades']} " in shown
        assert money(run["pnl_quote"], signed=True) in shown
        assert run["configuration_version"] in shown
        row.get_by_role("link").click()
        look.page.wait_for_url("**/trading?account=run:1")
        look.page.go_back()
        row.focus()
        look.page.keyboard.press("Enter")
        look.page.wait_for_url("**/trading?account=run:1")


def test_a_run_has_a_scorecard_of_its_own_and_is_marked_as_open(chromium: Any, site: str, api: Api) -> None:
    card = scorecard(api, account="run:1")
    with looked_at(chromium, site, "/research?account=run:1") as look:
        look.page.locator("[data-target]").first.wait_for()
        assert f"{card['met']} of {len(card['rows'])} targets" in look.text("[data-verdict]")
        assert "a backtest keeps no time" in look.text("[data-target=uptime]")
        assert words(look, "tr[data-row] .badge")[0] == "open"
        look.shoot("research-run")


@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        ("desk", "dark"),
        ("desk", "light"),
        ("phone", "dark"),
        pytest.param("cinema", "dark", marks=pytest.mark.nightly),
    ],
)
def test_it_fits_every_screen_and_serves_everybody(
    chromium: Any, site: str, api: Api, size: str, scheme: str
) -> None:
    scorecard(api)
    with looked_at(chromium, site, "/research", size=size, scheme=scheme) as look:
        look.page.locator("[data-target]").first.wait_for()
        settled(look, "Suggestions")
        fits_and_serves_everybody(look)
        look.shoot(f"research-{size}-{scheme}")
