"""docs/evidence.md and the commands agree: the tables of stress and of crashes, row by row."""

import json
import re
from pathlib import Path

import pytest

from tests.app.books import Document
from tests.app.conftest import backtest, run_command

pytestmark = pytest.mark.market_data

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "evidence.md").read_text(encoding="utf-8")
YEAR = ("--timerange", "20250101-", "-p", "BTC/USDT,ETH/USDT,SUI/USDT")


def table_after(words: str) -> list[str]:
    """The rows of the first table after some words of the page."""
    lines = iter(PAGE[PAGE.index(words) :].splitlines())
    for line in lines:
        if line.startswith("|---"):
            break
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(line)
    return rows


def row(*cells: str) -> str:
    return re.sub(" +", " ", f"| {' | '.join(cells)} |")


def percent(value: float, digits: int = 2) -> str:
    return f"{100.0 * value:.{digits}f} %"


def points(value: float) -> str:
    return f"{100.0 * value:+.2f}"


def stress_rows(document: Document) -> list[str]:
    base, *others = document["stress"]["runs"]
    rows = []
    for run in (base, *others):
        survives = "-" if run["survives"] is None else percent(run["survives"], 0)
        rows.append(
            row(
                run["name"],
                f"{points(run['return_net'])} %",
                f"{points(run['return_closed'])} %",
                "" if run is base else points(run["return_net"] - base["return_net"]),
                "" if run is base else survives,
                f"{run['trades']}",
                percent(run["win_rate"], 1),
                f"{run['profit_factor']:.2f}",
                percent(run["max_drawdown"]),
            )
        )
    return rows


def files_of_the_page() -> list[str]:
    return re.findall(r"^    crypto-tracker import-data (\S+)$", PAGE, re.M)


def imported(home: Path, market_data: Path, files: list[str]) -> Path:
    for name in files:
        code, _, err = run_command(home, "import-data", str(market_data / name), "--json")
        assert code == 0, err
    return home


def test_the_stressed_year_on_the_page_is_what_the_command_says(market_data: Path, tmp_path: Path):
    first = files_of_the_page()[:1]
    assert first == ["bars/1m"]
    document = backtest(imported(tmp_path / "home", market_data, first), *YEAR, "--stress")
    assert stress_rows(document) == table_after("BTC, ETH and SUI, the minutes of 2025")
    assert f"configuration {document['configuration_version']} (the defaults)" in PAGE
    # Another page shows the same run.
    shown = (DOCS / "compare-and-scorecard.md").read_text(encoding="utf-8")
    for name, value in (
        ("Return, marked", f"{points(document['return_net'])} %"),
        ("Maximum drawdown", percent(document["max_drawdown"])),
        ("Closed trades", f"{document['n_trades']}"),
    ):
        assert re.search(rf"^ +{name} +{re.escape(value)} ", shown, re.M), name


@pytest.fixture(scope="module")
def whole(market_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the page: all files that it names."""
    return imported(tmp_path_factory.mktemp("evidence") / "home", market_data, files_of_the_page())


@pytest.mark.nightly
def test_the_stressed_tables_on_the_page_come_out_of_its_home(whole: Path):
    fortnight = backtest(whole, "--timerange", "20210425-20210510", "--stress")
    assert stress_rows(fortnight) == table_after("A fortnight that gained")
    year = backtest(whole, "--timerange", "20250101-", "--stress")
    assert stress_rows(year) == table_after("BTC, ETH and SUI, the minutes of 2025")


@pytest.mark.nightly
def test_the_crashes_on_the_page_are_those_of_the_command(whole: Path):
    code, out, err = run_command(whole, "crash-report", "--synthetic", "5", "--json")
    assert code == 0, err
    document = json.loads(out)
    crashes = [crash for crash in document["crashes"] if crash["source"] == "stored"]
    flashes = [crash for crash in crashes if crash["class"] == "FLASH_CRASH"]
    great = [crash for crash in crashes if crash["depth"] >= 0.09 or crash in flashes]
    returns = [crash["runs"][0]["return_net"] for crash in crashes]
    losses = sum(value < 0.0 for value in returns)
    back = sum((crash["regained_24h"] or 0.0) >= 1.0 for crash in crashes)
    words = " ".join(PAGE.split())
    ends = f"from {points(min(returns))} % to {points(max(returns))} %"
    assert f"{len(crashes)} falls of 0.05 or more in 24 h" in words
    assert f"{losses} of the {len(crashes)} windows ended with a loss, {ends}" in words
    assert f"{back} falls came back within a day" in words
    assert table_after("Those of 9 % or more") == [crash_row(crash) for crash in great]
    verdicts = document["protections"]
    assert table_after("Over all 69:") == [verdict_row(verdict) for verdict in verdicts["stored"]]
    assert table_after("And in the nine flash crashes") == flash_rows(flashes)
    synthetic = {verdict["name"]: points(verdict["gain"]) for verdict in verdicts["synthetic"]}
    for name in ("fast_regime", "panic", "stop_loss", "trailing"):
        assert f"{synthetic[name]} for `{name}`" in PAGE


def crash_row(crash: Document) -> str:
    run = crash["runs"][0]
    return row(
        crash["peak"][:16].replace("T", " "),
        crash["class"].split("_")[0].lower(),
        percent(crash["depth"], 1),
        f"{crash['hours']:.1f}",
        percent(crash["fastest_4h"], 1),
        percent(crash["regained_24h"], 0),
        f"{len(crash['symbols'])}",
        f"{points(run['return_net'])} %",
        f"{run['trades']}",
        f"{run['stops']}",
        f"{run['trailing_stops']}",
        percent(run["max_drawdown"]),
        f"{run['refused']}",
    )


def verdict_row(verdict: Document) -> str:
    gains = [points(verdict[name]) for name in ("gain", "gain_best", "gain_worst")]
    return row(
        f"`{verdict['name']}`",
        *(f"{verdict[name]}" for name in ("acted", "helped", "hurt")),
        "-" if verdict["refused"] is None else f"{verdict['refused']:,}",
        *(gains if verdict["acted"] else ["-"] * len(gains)),
        percent(verdict["drawdown_with"]),
        percent(verdict["drawdown_without"]),
    )


def flash_rows(flashes: list[Document]) -> list[str]:
    """One row for each protection that acted in any of them, the gain in each."""
    rows = []
    for place, run in enumerate(flashes[0]["runs"]):
        runs = [crash["runs"][place] for crash in flashes]
        if place and any(each["acted"] for each in runs):
            gains = (points(each["gain_of_protection"]) if each["acted"] else "-" for each in runs)
            rows.append(row(f"`{run['without']}`", *gains))
    return rows
