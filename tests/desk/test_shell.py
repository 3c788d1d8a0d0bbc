"""The frame of the page in a real browser: where one is, who asks, which account, and what can be opened."""

import re
from collections.abc import Iterator

import pytest

from tests.desk.served import CONTROL, READ, Tokens
from tests.desk.shell_desk import PHONE, ShellDesk, needs_node, seen, shown, texts

PAGES = ("Trading", "Strategies", "Market", "Research", "System")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    needs_node()
    with shown() as address:
        yield address


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    needs_node()
    with shown(opened="none") as address:
        yield address


def until_titled(page, words: str) -> None:
    page.wait_for_function("words => document.title.startsWith(words)", arg=words)


# --- where one is


def test_the_root_is_the_trading_page_and_every_page_has_its_address_and_title(chromium, address):
    with seen(chromium, address) as looking:
        page = looking.open("/")
        assert texts(page.locator("nav[aria-label=Pages] li a").all()) == list(PAGES)
        for name in PAGES:
            page.locator("nav[aria-label=Pages]").get_by_role("link", name=name, exact=True).click()
            until_titled(page, f"{name} · paper · crypto-tracker")
            assert page.url == f"{address}/{name.lower()}"
            assert page.locator("nav [aria-current=page]").inner_text() == name
            assert page.locator("h1").first.inner_text() == name


def test_back_and_forward_lead_through_the_pages(chromium, address):
    with seen(chromium, address) as looking:
        page = looking.open("/trading")
        page.get_by_role("link", name="System", exact=True).click()
        page.get_by_role("link", name="Market", exact=True).click()
        page.go_back()
        until_titled(page, "System")
        page.go_forward()
        until_titled(page, "Market")


def test_a_deep_link_opens_the_symbol_of_a_recorded_run(chromium, address):
    with seen(chromium, address) as looking:
        page = looking.open("/symbol/ETH/USDT?account=run:17")
        until_titled(page, "ETH/USDT · Run 17")
        assert page.locator("header button.account").inner_text().split()[1:3] == ["Run", "17,"]
        page.get_by_role("link", name="Strategies", exact=True).click()
        page.wait_for_url(f"{address}/strategies?account=run:17")


def test_an_address_that_is_no_page_says_so(chromium, address):
    with seen(chromium, address) as looking:
        page = looking.open("/nowhere/at/all")
        page.locator("main").get_by_text("There is no such page").wait_for()
        page.get_by_role("link", name="To the trading page", exact=True).click()
        page.wait_for_url(f"{address}/trading")


def test_a_page_that_fails_shows_trouble_and_the_others_live_on(chromium, address):
    with seen(chromium, address) as looking:
        page = looking.page
        # A page whose answer is no answer: what it computes from it cannot go well.
        page.route("**/api/v1/positions*", lambda route: route.fulfill(json={"items": [None]}))
        looking.open("/trading")
        page.get_by_text("This page failed").wait_for()
        page.get_by_role("link", name="System", exact=True).click()
        page.wait_for_url(f"{address}/system")
        page.get_by_text("This page failed").wait_for(state="detached")
        assert looking.complaints != []
        looking.complaints.clear()


# --- keys


def test_keys_lead_to_pages_and_leave_fields_alone(chromium, address):
    with seen(chromium, address) as looking:
        page = looking.open("/trading")
        for key, name in (
            ("s", "strategies"),
            ("m", "market"),
            ("r", "research"),
            ("y", "system"),
            ("t", "trading"),
        ):
            page.keyboard.press("g")
            page.keyboard.press(key)
            page.wait_for_url(f"{address}/{name}")
        page.keyboard.press("/")
        page.keyboard.type("gs?")
        assert page.get_by_role("combobox").input_value() == "gs?"
        assert page.url == f"{address}/trading"
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        assert page.get_by_role("dialog", name="Help").is_visible()
        page.keyboard.press("Escape")
        page.get_by_role("dialog", name="Help").wait_for(state="hidden")


def test_the_search_finds_symbols_pages_and_accounts(chromium, address):
    with seen(chromium, address) as looking:
        page = looking.open("/trading")
        page.keyboard.press("/")
        page.keyboard.type("eth")
        option = page.get_by_role("option", name=re.compile("^ETH.USDT")).first
        assert re.match(r"ETH/USDT held .*%$", " ".join(option.inner_text().split()))
        assert option.get_attribute("aria-selected") == "true"
        page.keyboard.press("Enter")
        page.wait_for_url(f"{address}/symbol/ETH/USDT")
        page.keyboard.press("/")
        page.keyboard.type("strateg")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{address}/strategies")
        page.keyboard.press("/")
        page.keyboard.type("run 16")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{address}/trading?account=run:16")
        page.keyboard.press("/")
        page.keyboard.type("nothing of that name")
        assert page.get_by_text("Nothing has that name.").is_visible()


def test_the_first_stop_of_the_keyboard_skips_to_the_content(chromium, address):
    with seen(chromium, address) as looking:
        page = looking.open("/system")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"
        assert page.url.startswith(f"{address}/system")


# --- the account


def test_the_bar_tells_what_the_account_is_worth_and_why_its_light_is_not_green(chromium, address):
    with seen(chromium, address) as looking:
        page = looking.open("/system")
        bar = page.locator("header.bar")
        bar.get_by_text("10,055.09").wait_for()
        words = " ".join(bar.inner_text().split())
        assert "Equity 10,055.09 USDT" in words
        assert "New York day ▼−48.20 −0.48 %" in words
        assert "Regime CAUTION" in words
        assert "SYNTHETIC" not in words
        bar.get_by_role("button", name="Engine: Attention").click()
        panel = page.get_by_role("group", name="The engine")
        assert "The market is in CAUTION, which halves what it buys" in panel.inner_text()
        assert "ETH/USDT cools down for 3 h" in panel.inner_text()


def test_another_account_is_chosen_and_what_was_filtered_stays_behind(chromium, address):
    with seen(chromium, address) as looking:
        page = looking.open("/trading?strategy=DCA&strategy=SWING")
        page.get_by_role("button", name="Account: paper").click()
        panel = page.get_by_role("group", name="Accounts and recorded runs")
        names = texts(panel.locator(".name").all())
        assert names == [
            "paper",
            "august",
            "Run 17, ten days of a made-up market SYNTHETIC",
            "Run 16, BTC ETH SUI",
        ]
        panel.get_by_role("button", name=re.compile("Run 17")).click()
        page.wait_for_url(f"{address}/trading?account=run:17")
        bar = page.locator("header.bar")
        bar.get_by_text("12,604.17").wait_for()
        words = " ".join(bar.inner_text().split())
        assert "SYNTHETIC" in words
        assert "Return ▲+26.04 %" in words
        assert "day ▼" not in words
        assert bar.get_by_role("button", name="Engine: Recorded").is_visible()


# --- who asks


def test_without_a_token_the_page_explains_how_to_make_one_and_comes_back_to_where_it_was(chromium, guarded):
    with seen(chromium, guarded) as looking:
        page = looking.open("/market?account=run:17")
        assert page.locator("h1").inner_text() == "Sign in"
        assert "crypto-tracker tokens create" in page.locator("main").inner_text()
        page.get_by_label("Token").fill("a-token-that-nobody-made")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("alert").wait_for()
        assert "does not know this token" in page.get_by_role("alert").inner_text()
        page.get_by_label("Token").fill(f"  {READ} ")
        page.get_by_role("button", name="Sign in").click()
        until_titled(page, "Market")
        assert page.url == f"{guarded}/market?account=run:17"
        assert READ not in page.url
        # The browser tells of each refusal itself.
        assert all("401" in complaint for complaint in looking.complaints)
        looking.complaints.clear()


def test_a_token_lives_as_long_as_the_tab_unless_it_is_to_be_kept(chromium, guarded):
    stored = "[sessionStorage.getItem('token'), localStorage.getItem('token')]"
    with seen(chromium, guarded) as looking:
        page = looking.open("/sign-in")
        page.get_by_label("Token").fill(READ)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{guarded}/trading")
        assert page.evaluate(stored) == [READ, None]
        page.get_by_role("button", name="Settings").click()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Token").fill(CONTROL)
        page.get_by_label("Keep me signed in on this browser").check()
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Settings").wait_for()
        assert page.evaluate(stored) == [None, CONTROL]
        looking.complaints = [complaint for complaint in looking.complaints if "401" not in complaint]


def test_a_revoked_token_leads_back_to_the_sign_in(chromium):
    needs_node()
    tokens = Tokens()
    with shown(ShellDesk(), tokens, opened="none") as address, seen(chromium, address) as looking:
        page = looking.open("/sign-in")
        page.get_by_label("Token").fill(READ)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{address}/trading")
        page.wait_for_load_state("networkidle")
        tokens.known.clear()
        page.get_by_role("link", name="System", exact=True).click()
        page.get_by_role("heading", name="Sign in").wait_for()
        assert page.url == f"{address}/system"
        looking.complaints.clear()


def test_the_page_says_that_this_machine_is_let_in_without_a_token(chromium, address):
    with seen(chromium, address) as looking:
        page = looking.open("/trading")
        assert page.get_by_text("No token needed").is_visible()
        page.get_by_role("button", name="Settings").click()
        panel = page.get_by_role("group", name="Settings").inner_text()
        assert "Open to this machine without a token" in panel
        assert "may also tell the engine what to do" in panel
        assert "control" in panel


# --- how it looks


def test_theme_and_palette_follow_the_system_until_a_person_chooses_and_then_stay(chromium, address):
    ground = "getComputedStyle(document.body).backgroundColor"
    up = "getComputedStyle(document.documentElement).getPropertyValue('--up')"
    with seen(chromium, address, color_scheme="light") as looking:
        page = looking.open("/trading")
        light, safe = page.evaluate(ground), page.evaluate(up)
        page.emulate_media(color_scheme="dark")
        dark = page.evaluate(ground)
        assert light != dark
        page.get_by_role("button", name="Settings").click()
        page.get_by_role("radio", name="Light").click()
        page.get_by_role("radio", name="Green and red").click()
        classic = page.evaluate(up)
        assert classic != safe
        assert page.evaluate(ground) == light
        page.reload()
        page.wait_for_selector("header.bar")
        assert page.evaluate(ground) == light
        assert page.evaluate(up) == classic
        page.get_by_role("button", name="Settings").click()
        page.get_by_role("radio", name="System").click()
        assert page.evaluate(ground) == dark


def test_nothing_is_wider_than_a_phone_and_pages_stand_at_its_foot(chromium, address):
    with seen(chromium, address, viewport=PHONE, has_touch=True) as looking:
        page = looking.open("/trading")
        pages = page.locator("nav[aria-label=Pages] li a")
        for name in PAGES:
            pages.get_by_text(name).tap()
            until_titled(page, name)
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
        foot = page.locator("nav[aria-label=Pages]").bounding_box()
        assert foot["y"] + foot["height"] == pytest.approx(PHONE["height"], abs=1)
        for link in pages.all():
            box = link.bounding_box()
            assert min(box["width"], box["height"]) >= 44
        header = page.locator("header.bar")
        height = header.bounding_box()["height"]
        looking.open("/trading?account=run:17")  # a long name, and the badge of a made-up market
        header.get_by_text("SYNTHETIC").wait_for()
        assert header.bounding_box()["height"] == height
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_home_without_an_account_says_how_to_begin_and_takes_up_the_first_one(chromium):
    needs_node()
    desk = ShellDesk()
    desk.empty = True
    with shown(desk) as address, seen(chromium, address) as looking:
        page = looking.open("/trading")
        page.get_by_text("Nothing was traded here yet").wait_for()
        assert page.get_by_text("crypto-tracker demo", exact=True).is_visible()
        desk.empty = False
        page.locator("header.bar").get_by_text("10,055.09").wait_for()
        page.get_by_text("Nothing was traded here yet").wait_for(state="detached")
