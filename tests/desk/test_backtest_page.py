"""The page of a backtest holds the whole result, stands alone, and draws in a real Chromium."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.desk.reports.backtest_page import page
from crypto_tracker.desk.reports.candles import candles
from crypto_tracker.simulation.backtest import simulate_portfolio
from crypto_tracker.simulation.bands import bands
from crypto_tracker.simulation.records import Scenario, no_commands
from crypto_tracker.simulation.report import About, Report, report
from tests.simulation.generator import generate

NOTE = "a note with </script><b>marks</b> and %%DATA%%"


def busy_run() -> tuple[Scenario, Report, Any]:
    """The generated market with the most trades among a few."""
    runs = []
    for seed in range(12):
        scenario = replace(generate(seed), commands=no_commands())
        runs.append((scenario, simulate_portfolio(scenario)))
    scenario, result = max(runs, key=lambda run: len(run[1].trades))
    panel = scenario.panel
    about = About(
        run_id=7,
        start=from_ms(int(panel.open_time_ms[0])),
        end=from_ms(int(panel.close_time_ms[-1])),
        base=str(panel.timeframe),
        symbols=tuple(str(symbol) for symbol in panel.symbols),
        providers={},
        reference=None,
        strategies=scenario.strategies,
        intrabar="pessimistic",
        close_at_end=False,
        bars=int(panel.present.sum()),
        synthetic=True,
        configuration_version="0123456789ab",
        code_version="0",
        data_hash="abcdef",
        seed=3,
        notes=(NOTE,),
        scans={name: {"accepted": 1, "volume_low": 5} for name in scenario.strategies},
        near_misses=0,
        seconds={},
    )
    return scenario, report(scenario, result, about), result


@pytest.fixture(scope="module")
def run() -> tuple[Scenario, Report, Any]:
    return busy_run()


@pytest.fixture(scope="module")
def written(run: tuple[Scenario, Report, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    scenario, found, result = run
    path = tmp_path_factory.mktemp("page") / "result.html"
    path.write_text(page(found, bands(scenario, result), scenario.panel, quote="USD", chosen=None))
    return path


def island(text: str) -> dict[str, Any]:
    """The data of a page, as a browser reads it."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


def test_the_page_holds_every_figure_and_every_trade(run, written):
    scenario, found, _ = run
    data = island(written.read_text())
    assert data["marked"]["return_net"] == found.marked.return_net
    assert data["trades_closed"]["n_trades"] == len(found.trades) == len(data["trades"]) > 10
    assert [trade["pnl_quote"] for trade in data["trades"]] == [
        float(trade.pnl_quote) for trade in found.trades
    ]
    assert {trade["symbol"] for trade in data["trades"]} <= {str(symbol) for symbol in scenario.panel.symbols}
    assert len(data["curve"]["time_ms"]) == len(found.curve.time_ms)
    assert data["about"]["notes"] == [NOTE]
    assert {band["kind"] for band in data["bands"]}


def test_the_page_loads_nothing_from_anywhere(written):
    text = written.read_text()
    own = text[: text.index('<script id="data"')] + text[text.rindex("<script>") :]
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", own)
    assert "default-src 'none'" in text


def test_a_symbol_that_was_not_traded_is_refused_by_name(run):
    scenario, found, result = run
    with pytest.raises(UsageError, match="XYZ/USD was not traded in this run"):
        page(found, bands(scenario, result), scenario.panel, quote="USD", chosen=Symbol.parse("XYZ/USD"))


def test_the_chosen_symbol_comes_first(run):
    scenario, found, result = run
    chosen = scenario.panel.symbols[-1]
    data = island(page(found, [], scenario.panel, quote="USD", chosen=chosen))
    assert data["candles"][0]["symbol"] == str(chosen)
    assert len({each["symbol"] for each in data["candles"]}) == len(data["candles"])
    assert result is not None


def test_candles_get_coarser_until_they_are_few_enough_and_keep_the_extremes(run):
    panel = run[0].panel
    symbol = panel.symbols[0]
    fine, coarse = candles(panel, symbol, 10**6), candles(panel, symbol, 12)
    assert fine.timeframe == str(panel.timeframe)
    assert len(coarse.time_ms) <= 13 < len(fine.time_ms)
    inside = [time for time in fine.time_ms if time >= coarse.time_ms[0]]
    assert max(coarse.high) <= max(fine.high)
    assert min(coarse.low) >= min(fine.low)
    assert len(inside) > 0
    assert np.all(np.array(fine.high) >= np.array(fine.low))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_chromium_draws_the_page_without_errors_and_without_sideways_scrolling(
    chromium, written, width, scheme
):
    browser_page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    browser_page.on("console", lambda message: said.append(message.text))
    browser_page.on("pageerror", lambda error: said.append(str(error)))
    browser_page.on("request", lambda request: asked.append(request.url))
    browser_page.goto(written.as_uri())
    browser_page.wait_for_selector("html[data-drawn=yes]", state="attached", timeout=60_000)
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= width
    assert browser_page.locator(".js-plotly-plot").count() >= 5
    assert browser_page.locator(".note").first.inner_text() == NOTE
    browser_page.close()


def test_a_click_on_a_title_sorts_and_the_search_finds_trades(chromium, run, written):
    found = run[1]
    browser_page = chromium.new_page(viewport={"width": 1280, "height": 900})
    browser_page.goto(written.as_uri())
    browser_page.wait_for_selector("html[data-drawn=yes]", state="attached", timeout=60_000)
    section = browser_page.locator("section", has=browser_page.locator("input[type=search]"))
    section.get_by_role("button", name="P&L").click()
    first = section.locator("tbody tr").first.locator("td").nth(7).inner_text()
    highest = max(float(trade.pnl_quote) for trade in found.trades)
    assert float(first.replace("−", "-").replace("+", "").replace(",", "")) == pytest.approx(
        highest, abs=0.005
    )
    name = str(found.trades[0].symbol)
    section.locator("input[type=search]").fill(name)
    symbols = section.locator("tbody tr td:first-child").all_inner_texts()
    assert set(symbols) == {name}
    assert len(symbols) == min(200, sum(str(trade.symbol) == name for trade in found.trades))
    browser_page.close()


def opened(chromium: Any, path: Path, width: int = 1280) -> Any:
    browser_page = chromium.new_page(viewport={"width": width, "height": 900})
    browser_page.goto(path.as_uri())
    browser_page.wait_for_selector("html[data-drawn=yes]", state="attached", timeout=60_000)
    return browser_page


def test_numbers_are_rounded_as_the_terminal_rounds_them(chromium, run, tmp_path):
    scenario, found, _ = run
    odd = {
        "win_rate": 21 / 32,  # 65.625 %, exactly between two
        "profit_factor": 2.675,  # a little less than that, as a double
        "payoff_ratio": 0.125,
        "expectancy_ratio": 0.375,
        "gain_mean_quote": 1_234_567.125,
        "loss_mean_quote": -1.005,
    }
    path = tmp_path / "odd.html"
    changed = replace(found, trades_closed=replace(found.trades_closed, **odd))
    path.write_text(page(changed, [], scenario.panel, quote="USD", chosen=None))
    browser_page = opened(chromium, path)
    rows = browser_page.locator("section", has=browser_page.locator("h2", has_text=re.compile("^Trades$")))
    shown = {
        row.locator("th").inner_text(): row.locator("td").first.inner_text()
        for row in rows.locator("tbody tr").all()
    }
    browser_page.close()
    assert shown["Win rate"] == "65.62 %" == f"{100.0 * 21 / 32:.2f} %"
    assert shown["Profit factor"] == "2.67" == f"{2.675:.2f}"
    assert shown["Payoff ratio"] == "0.12" == f"{0.125:.2f}"
    assert shown["Expectancy ratio"] == "0.38" == f"{0.375:.2f}"
    assert shown["Mean gain"] == "+1,234,567.12" == f"{1_234_567.125:+,.2f}"
    assert shown["Mean loss"] == "−1.00" == f"{-1.005:.2f}".replace("-", "−")


def drawn_curves(browser_page: Any) -> dict[str, str]:
    """The axis of each curve of the first chart; a curve that is hidden has none."""
    return browser_page.evaluate(
        "Object.fromEntries(document.querySelector('.js-plotly-plot').data"
        ".filter(t => t.visible !== 'legendonly' && t.visible !== false)"
        ".filter(t => ['strategy, marked', 'buy and hold', 'strategy'].includes(t.name))"
        ".map(t => [t.name, t.yaxis || 'y']))"
    )


def test_holding_is_drawn_at_once_on_one_axis_with_the_strategy_and_can_be_put_away(chromium, run, tmp_path):
    scenario, found, _ = run
    capital = found.marked.equity_final - found.marked.pnl_quote
    reach = float(np.nanmax(np.abs(np.array(found.curve.marked) / capital - 1.0)))
    assert reach > 0.0
    for times, axes in (
        (2.0, {"buy and hold": "y", "strategy, marked": "y"}),
        (50.0, {"buy and hold": "y5", "strategy": "y5", "strategy, marked": "y"}),
    ):
        held = np.linspace(capital, capital * (1.0 + times * reach), len(found.curve.time_ms))
        changed = replace(found, curve=replace(found.curve, buy_and_hold=held))
        path = tmp_path / f"{times}.html"
        path.write_text(page(changed, [], scenario.panel, quote="USD", chosen=None))
        browser_page = opened(chromium, path)
        said = browser_page.locator("section").first.inner_text()
        assert drawn_curves(browser_page) == axes
        assert (f"went {times:.0f} times as far" in said) is (times > 3.0)
        browser_page.get_by_label("buy and hold beside it").uncheck()
        assert drawn_curves(browser_page) == {"strategy, marked": "y"}
        browser_page.close()


def test_on_a_telephone_figures_fit_and_what_is_wider_says_so(chromium, written):
    browser_page = opened(chromium, written, width=390)
    widths = browser_page.evaluate(
        "[...document.querySelectorAll('.figures')].map(f => [f.scrollWidth, f.clientWidth])"
    )
    assert len(widths) == 3
    assert all(needed <= there for needed, there in widths)
    assert browser_page.locator(".frame.wider").count() >= 3
    group = browser_page.locator(".frame.wider").first
    assert group.locator(".hint").inner_text() == "more to the right →"
    group.locator(".scroll").evaluate("each => { each.scrollLeft = each.scrollWidth }")
    browser_page.wait_for_selector(".frame.wider.ended", timeout=10_000)
    assert not group.locator(".hint").is_visible()
    browser_page.close()
    wide = opened(chromium, written)
    figures = wide.locator(".frame", has=wide.locator("caption", has_text="By strategy"))
    assert not figures.locator(".hint").is_visible()
    wide.close()


def test_only_months_that_exist_are_shown_each_with_its_change(chromium, run, written):
    found = run[1]
    browser_page = opened(chromium, written, width=390)
    months = browser_page.locator(".month b").all_inner_texts()
    assert len(months) == len(found.breakdown["month"])
    assert [float(text.replace("−", "-").removesuffix(" %")) for text in months] == [
        pytest.approx(100.0 * month.return_marked, abs=0.00501) for month in found.breakdown["month"]
    ]
    browser_page.close()
