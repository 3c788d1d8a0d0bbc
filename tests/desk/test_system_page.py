"""The system page: every part with its light and its advice, and a tab for each thing that is asked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crypto_tracker.store.database import open_engine
from tests.desk.stormy_home import fits_and_serves_everybody, looked_at, settled, stormy_home, words
from tests.desk.trading_page import Api, Looked, as_shown, percent, plain, served, until
from tests.trading import worlds

SHAPES = {"ok": "●", "degraded": "▲", "failing": "■", "off": "○"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An account that traded on real time and was killed: its process never said that it ended."""
    home = stormy_home(tmp_path_factory.mktemp("system-page") / "home")
    engine = open_engine(worlds.account_folder(home) / "trading.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE account SET kind = 'paper', end_ms = NULL")
        connection.exec_driver_sql("UPDATE sessions SET ended_at_ms = NULL")
    engine.dispose()
    return home


@pytest.fixture(scope="module")
def site(home: Path) -> Iterator[str]:
    with served(home) as address:
        yield address


@pytest.fixture(scope="module")
def api(site: str) -> Api:
    return Api(site)


@pytest.fixture(scope="module")
def look(chromium: Any, site: str) -> Iterator[Looked]:
    with looked_at(chromium, site, "/system") as looked:
        looked.page.locator("[data-part]").first.wait_for()
        settled(looked, "Processes and versions")
        yield looked


def test_every_part_has_its_light_its_sentence_and_its_advice_the_worst_first(look: Looked, api: Api) -> None:
    health = api.get("health")
    assert health["state"] == "failing", "the trader was killed"
    assert look.page.locator("[data-state]").first.get_attribute("data-state") == health["state"]
    names = look.page.locator("[data-part]").evaluate_all("all => all.map(one => one.dataset.part)")
    assert sorted(names) == sorted(part["name"] for part in health["parts"])
    assert names[0] == "trader trader"
    for part in health["parts"]:
        row = look.page.locator(f"[data-part='{part['name']}']")
        assert row.get_attribute("data-state") == part["state"]
        shown = plain(row.inner_text())
        assert shown.startswith(SHAPES[part["state"]])
        if part["name"] not in {"web server", "machine", "disk"}:  # those change from one look to the next
            assert as_shown(part["sentence"]) in shown
        if part["advice"] is not None:
            assert as_shown(part["advice"]) in shown
    killed = plain(look.page.locator("[data-part='trader trader']").inner_text())
    assert "ended without a word" in killed
    assert "crypto-tracker trade --account trader" in killed


def test_a_collector_that_is_gone_says_so(look: Looked, api: Api) -> None:
    (collector,) = api.get("collectors")["items"]
    assert collector["gone"]
    shown = plain(look.page.locator("[data-collector]").inner_text())
    assert shown.startswith(f"{collector['provider']} gone")
    assert as_shown(collector["words"]) in shown
    assert "5 / 6" in shown
    assert "1,234" in shown


def test_machine_files_processes_and_versions_are_told(look: Looked, api: Api) -> None:
    health = api.get("health")
    shown = plain(look.page.locator("main").inner_text())
    assert percent(health["machine"]["disk"], digits=0) in shown
    assert f"{health['machine']['cores']} core" in shown
    for each in health["files"][:3]:
        assert each["name"] in shown
    for each in health["processes"]:
        assert each["name"] in shown
        assert f"process {each['pid']} on {each['host']}" in shown
    assert f"version {health['code_version']}" in shown


def test_tabs_are_part_of_the_address_and_arrows_move_between_them(chromium: Any, site: str) -> None:
    with looked_at(chromium, site, "/system") as look:
        tabs = look.page.get_by_role("tablist", name="Parts of the system")
        tabs.get_by_role("tab", name="Health").focus()
        for name in ("data", "configuration", "controls", "audit"):
            look.page.keyboard.press("ArrowRight")
            look.page.wait_for_url(f"**/system?tab={name}")
            assert tabs.get_by_role("tab", selected=True).inner_text() == name.capitalize()
            look.page.get_by_role("tabpanel", name=name.capitalize()).wait_for()
        look.page.go_back()
        look.page.wait_for_url("**/system?tab=controls")
        look.page.get_by_role("heading", name="Entries").wait_for()


def test_data_quality_can_be_searched_and_narrowed_by_address(chromium: Any, site: str, api: Api) -> None:
    data = api.get("data")
    assert [row["symbol"] for row in data["items"]] != []
    with looked_at(chromium, site, "/system?tab=data") as look:
        rows = look.page.locator("tr[data-row]")
        rows.first.wait_for()
        shown = words(look, "tr[data-row]")
        assert [row.split(" ")[0] for row in shown] == [row["symbol"] for row in data["items"]]
        assert all(row["age_ms"] is not None for row in data["items"])
        look.page.get_by_label("Find a symbol").fill("eth")
        look.page.wait_for_url("**find=eth**")
        until(lambda: look.page.locator("tr[data-row]").count() == 1)
        assert words(look, "tr[data-row]")[0].startswith("ETH/USD")
    with looked_at(chromium, site, "/system?tab=data&find=nothing-of-that-name") as look:
        look.page.get_by_text("No symbol of that name").wait_for()


def test_the_configuration_shows_changed_values_first_and_finds_the_rest(
    chromium: Any, site: str, api: Api
) -> None:
    shown = api.get("show_config")
    changed = {each["key"]: each for each in shown["values"] if each["changed"]}
    assert "strategies.SWING.breakout" in changed
    with looked_at(chromium, site, "/system?tab=configuration") as look:
        section = look.page.locator("details[data-section='strategies.SWING']")
        section.wait_for()
        assert section.get_attribute("open") is not None, "sections with changed values stand open"
        first = section.locator("[data-key]").first.get_attribute("data-key")
        assert first in changed
        value = plain(look.page.locator("[data-key='strategies.SWING.breakout']").inner_text())
        assert value == "breakout 1.001 default 1.01"
        closed = look.page.locator("details[data-section='compare']")
        assert closed.get_attribute("open") is None
        look.page.get_by_label("Find a value").fill("day_loss")
        look.page.wait_for_url("**find=day_loss**")
        look.page.locator("[data-key='protection.day_loss_max']").wait_for()
        assert look.page.locator("[data-key]").count() == sum(
            "day_loss" in each["key"] for each in shown["values"]
        )
        assert shown["version"] in plain(look.page.locator(".versions").inner_text())
    with looked_at(chromium, site, "/system?tab=configuration&changed=true") as look:
        look.page.locator("[data-key]").first.wait_for()
        keys = look.page.locator("[data-key]").evaluate_all("all => all.map(one => one.dataset.key)")
        assert sorted(keys) == sorted(changed)


def test_controls_and_audit_are_tabs_of_their_own(chromium: Any, site: str, api: Api) -> None:
    acts = api.get("audit", limit=50)["items"]
    assert len(acts) > 0
    with looked_at(chromium, site, "/system?tab=audit") as look:
        look.page.get_by_text("Pause entries").first.wait_for()
        look.page.get_by_text("Block SOL/USD").first.wait_for()
    with looked_at(chromium, site, "/system?tab=controls") as look:
        look.page.locator("[data-command=resume]").first.wait_for()


@pytest.mark.parametrize(
    ("tab", "sentence"),
    [
        ("controls", "A recorded run takes no commands"),
        ("audit", "Nobody commands a recorded run"),
    ],
)
def test_a_recorded_run_has_a_line_for_what_it_has_not(
    chromium: Any, site: str, tab: str, sentence: str
) -> None:
    with looked_at(chromium, site, f"/system?tab={tab}&account=run:1") as look:
        look.page.get_by_text(sentence).wait_for()
        assert look.page.locator("main [data-command]").count() == 0


@pytest.mark.parametrize("tab", ["data", "configuration"])
def test_a_recorded_run_has_data_and_a_configuration(chromium: Any, site: str, tab: str) -> None:
    with looked_at(chromium, site, f"/system?tab={tab}&account=run:1") as look:
        look.page.locator("tr[data-row], [data-key]").first.wait_for(state="attached")


@pytest.mark.parametrize(
    ("size", "scheme", "tab"),
    [
        ("desk", "dark", "health"),
        ("desk", "light", "health"),
        ("phone", "dark", "health"),
        ("phone", "dark", "data"),
        ("phone", "light", "configuration"),
        pytest.param("desk", "dark", "data", marks=pytest.mark.nightly),
        pytest.param("desk", "dark", "configuration", marks=pytest.mark.nightly),
        pytest.param("cinema", "dark", "health", marks=pytest.mark.nightly),
    ],
)
def test_it_fits_every_screen_and_serves_everybody(
    chromium: Any, site: str, size: str, scheme: str, tab: str
) -> None:
    with looked_at(chromium, site, f"/system?tab={tab}", size=size, scheme=scheme) as look:
        look.page.locator("[data-part], tr[data-row], details").first.wait_for()
        settled(look, {"health": "Processes and versions", "data": "Data quality"}.get(tab, "Versions"))
        fits_and_serves_everybody(look)
        look.shoot(f"system-{tab}-{size}-{scheme}")
