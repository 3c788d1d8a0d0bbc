"""The bundle of a backtest: what it holds, and that it comes out again, or says what does not."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe
from crypto_tracker.research.bundle import differences
from crypto_tracker.research.bundle_contents import sealed
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.runs import FILE_NAME
from tests.app.books import Document
from tests.app.conftest import LIVELY, MARCH_MS, backtest, copied, default_market_data, run_command

SPAN = ("--timerange", "20250308-20250310", "--pairs", "ETH/USD,PEPE/USD")


@pytest.fixture(scope="module")
def exported(market_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Document]:
    """A home, the bundle of a run in it, and what the run printed."""
    folder = tmp_path_factory.mktemp("bundle")
    home = copied(market_home, folder / "home")
    return home, folder / "run.json", backtest(home, *SPAN, *LIVELY, "--export", str(folder / "run.json"))


def read(path: Path) -> Document:
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    return document


def rerun(home: Path, bundle: Path) -> tuple[int, Document]:
    code, out, err = run_command(home, "backtest", "--rerun", str(bundle), "--json")
    assert err == ""
    document: Document = json.loads(out)
    return code, document


def changed(bundle: Path, to: Path, change: Callable[[Document], object], *, seal: bool = False) -> Path:
    """A changed copy; with `seal` its digests are those of what it holds now, as if it had been written so."""
    document = read(bundle)
    change(document)
    to.write_text(json.dumps(sealed(document) if seal else document), encoding="utf-8")
    return to


def candles_of(page: Path) -> dict[str, Document]:
    """The candles of a page by symbol, in the order in which it shows them."""
    found = re.search(
        r'<script id="data" type="application/json">(.*?)</script>', page.read_text(encoding="utf-8"), re.S
    )
    assert found
    return {each["symbol"]: each for each in json.loads(found[1])["candles"]}


# ----------------------------------------------------------------------------------------- what it holds


def test_a_bundle_names_everything_that_the_result_depends_on(exported: tuple[Path, Path, Document]):
    _, path, printed = exported
    bundle = read(path)
    assert bundle["configuration_version"] == printed["configuration_version"]
    assert bundle["configuration"]["strategies"]["SWING"]["breakout"] == 1.001
    assert bundle["data"]["hash"] == printed["data_hash"]
    assert bundle["data"]["symbols"].keys() == {"BTC/USD", "ETH/USD", "PEPE/USD"}  # the reference is read too
    assert bundle["choice"] == {
        "symbols": ["ETH/USD", "PEPE/USD"],
        "providers": dict.fromkeys(["ETH/USD", "PEPE/USD", "BTC/USD"], "synthetic"),
        "base": "1m",
        "start_ms": MARCH_MS + 7 * DAY_MS,
        "end_ms": MARCH_MS + 9 * DAY_MS,
        "reference": "BTC/USD",
    }
    assert bundle["options"] == {"strategies": [], "close_at_end": False}
    assert (bundle["code"]["version"], bundle["seed"]) == (printed["code_version"], None)
    assert bundle["trades"] == printed["trades"]
    assert len(printed["trades"]) > 5
    assert bundle["open_trades"] == printed["open_trades"]
    assert bundle["records"]["trades"]["count"] == printed["n_trades"]
    for name in ("marked", "breakdown", "by_tier", "costs", "rejected", "max_drawdown"):
        assert bundle["figures"][name] == printed[name]


def test_two_equal_runs_write_equal_files(exported: tuple[Path, Path, Document], tmp_path: Path):
    home, path, _ = exported
    backtest(home, *SPAN, *LIVELY, "--export", str(tmp_path / "again.json"))
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_an_export_replaces_a_file_whole_and_leaves_nothing_beside_it(home: Path, tmp_path: Path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "run.json").write_text("what was there", encoding="utf-8")
    backtest(home, *SPAN, "--export", str(folder / "run.json"))
    assert read(folder / "run.json")["format"] == "crypto-tracker backtest"
    assert [path.name for path in folder.iterdir()] == ["run.json"]


def test_a_page_is_written_beside_it_on_request(home: Path, tmp_path: Path):
    document = backtest(home, *SPAN, "--html", str(tmp_path / "run.html"))
    text = (tmp_path / "run.html").read_text(encoding="utf-8")
    assert text.lower().startswith("<!doctype html>")
    assert document["data_hash"] in text
    assert [path.name for path in tmp_path.glob("*run*")] == ["run.html"]


# -------------------------------------------------------------------------------------- it comes out again


def test_a_bundle_comes_out_again_and_nothing_is_recorded(exported: tuple[Path, Path, Document], home: Path):
    _, path, printed = exported
    code, out, err = run_command(home, "backtest", "--rerun", str(path))
    assert (code, err) == (0, "")
    assert out.startswith(f"Identical: {printed['n_trades']} closed and {printed['n_open']} open trades")
    assert not (home / FILE_NAME).exists()
    assert not (home / "research.db").exists()


def test_a_bundle_does_not_read_the_configuration_of_the_home(
    exported: tuple[Path, Path, Document], home: Path, monkeypatch: pytest.MonkeyPatch
):
    _, path, printed = exported
    (home / "config.toml").write_text("[limits]\nmax_open = 1\n", encoding="utf-8")
    monkeypatch.setenv("CRYPTO_TRACKER__COSTS__TAKER_FEE", "0.02")
    other = backtest(home, *SPAN, *LIVELY)
    assert other["fees_quote"] != printed["fees_quote"]
    assert rerun(home, path) == (0, {"identical": True, "differences": [], "other_code": None})


def test_a_strategy_that_came_later_does_not_matter(exported: tuple[Path, Path, Document], home: Path):
    _, path, _ = exported
    code, _, err = run_command(home, "new-strategy", "LATER")
    assert code == 0, err
    assert "LATER" in run_command(home, "list-strategies")[1]
    assert rerun(home, path) == (0, {"identical": True, "differences": [], "other_code": None})


def test_a_strategy_of_ones_own_belongs_to_the_code(home: Path, tmp_path: Path):
    """Its rules are no part of the configuration; a change of its file is told."""
    run_command(home, "new-strategy", "MINE")
    path = tmp_path / "run.json"
    backtest(home, *SPAN, "--strategy", "MINE", "--export", str(path))
    assert rerun(home, path) == (0, {"identical": True, "differences": [], "other_code": None})
    (module,) = [each for each in (home / "strategies").rglob("*.py") if "class Mine" in each.read_text()]
    with module.open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    code, told = rerun(home, path)
    assert (code, told["identical"]) == (0, True)
    assert told["other_code"] is not None


def test_the_options_of_a_run_belong_to_its_bundle(home: Path, tmp_path: Path):
    path = tmp_path / "run.json"
    off = ("--set", 'trading.switched_off=["DCA"]', "--strategy", "dca", "--close-at-end")
    span = ("--timerange", "20250308-20250309T0600")
    printed = backtest(home, *span, *off, "--export", str(path))
    assert printed["n_trades"] > 0
    assert "end_of_data" in printed["exits"]
    assert rerun(home, path)[0] == 0


def test_whose_bars_stood_in_belongs_to_the_bundle(home: Path, tmp_path: Path):
    clock = ManualClock(datetime(2025, 5, 1, tzinfo=UTC))
    eth = Symbol("ETH", "USD")
    first_ms, last_ms = MARCH_MS + 8 * DAY_MS, MARCH_MS + 9 * DAY_MS
    with BarReader.open(home) as reader:
        panel = reader.panel([eth], Timeframe.M1, first_ms, last_ms, provider="synthetic")
    with BarStore.open(home, market_data=default_market_data(), clock=clock) as store:
        store.write("kraken", eth, Timeframe.M1, BarBatch.of_column(panel, eth), [(first_ms, last_ms)])
    path = tmp_path / "run.json"
    whose = ("--set", "market_data.provider=kraken", "--set", "market_data.history=synthetic")
    printed = backtest(home, "--timerange", "20250308-20250310", *whose, *LIVELY, "--export", str(path))
    assert printed["symbols"] == ["ETH/USD"]
    assert printed["start"] == "2025-03-08T00:00:00Z"  # a day before Kraken has anything
    assert read(path)["choice"]["history"] == "synthetic"
    assert rerun(home, path) == (0, {"identical": True, "differences": [], "other_code": None})


def test_a_run_in_months_is_the_run_at_once(home: Path, tmp_path: Path):
    span = ("--timerange", "20250225-20250306", "--pairs", "ETH/USD,PEPE/USD", *LIVELY)
    at_once, in_months = tmp_path / "at_once.json", tmp_path / "in_months.json"
    backtest(home, *span, "--export", str(at_once))
    page = tmp_path / "page.html"
    document = backtest(home, *span, "--in-months", "--export", str(in_months), "--html", str(page))
    assert document["n_trades"] > 5
    assert in_months.read_bytes() == at_once.read_bytes()
    drawn = candles_of(page)
    assert sorted(drawn) == ["ETH/USD", "PEPE/USD"]
    assert all(each["low"] != each["close"] for each in drawn.values())
    page_at_once = tmp_path / "page_at_once.html"
    backtest(home, *span, "--html", str(page_at_once))
    assert candles_of(page_at_once) == drawn
    assert run_command(home, "backtest", "--rerun", str(at_once), "--in-months")[0] == 0
    assert run_command(home, "backtest", "--rerun", str(in_months))[0] == 0


@pytest.mark.parametrize("more", [(), ("--in-months",)])
def test_the_candles_of_the_page_begin_with_those_that_are_asked_for(
    home: Path, tmp_path: Path, more: tuple[str, ...]
):
    page = tmp_path / "page.html"
    backtest(home, *SPAN, "--html", str(page), "--chart", "PEPE/USD", *more)
    assert list(candles_of(page)) == ["PEPE/USD", "ETH/USD"]
    backtest(home, *SPAN, "--html", str(page), "--chart", "ETH/USD", *more)
    assert list(candles_of(page)) == ["ETH/USD", "PEPE/USD"]


def test_a_coarse_base_belongs_to_the_choice(home: Path, tmp_path: Path):
    path = tmp_path / "run.json"
    assert backtest(home, *SPAN, "-i", "1h", "--export", str(path))["base"] == "1h"
    assert rerun(home, path)[0] == 0


# ------------------------------------------------------------------------------------- what is different


def test_other_bars_are_named_by_their_symbols(exported: tuple[Path, Path, Document], home: Path):
    _, path, _ = exported
    eth, at_ms = Symbol("ETH", "USD"), MARCH_MS + 7 * DAY_MS + 600 * MINUTE_MS
    with BarReader.open(home) as reader:
        bar = reader.panel([eth], Timeframe.M1, at_ms, at_ms + MINUTE_MS, provider="synthetic")
    batch = BarBatch(
        open_time_ms=np.array([at_ms]),
        open=bar.open[:, 0], high=bar.high[:, 0] * 1.0005, low=bar.low[:, 0], close=bar.close[:, 0],
        volume=bar.volume[:, 0],
    )  # fmt: skip
    clock = ManualClock(datetime(2025, 6, 1, tzinfo=UTC))
    with BarStore.open(home, market_data=default_market_data(), clock=clock) as store:
        store.write("synthetic", eth, Timeframe.M1, batch)
    code, told = rerun(home, path)
    assert code == 3
    assert told["identical"] is False
    assert told["differences"][0] == "the bars of ETH/USD are not those that were read then"


def test_the_first_trade_that_differs_is_named_with_its_field(
    exported: tuple[Path, Path, Document], tmp_path: Path
):
    home, path, printed = exported

    def meddle(document: Document) -> None:
        document["trades"][3]["exit_price"] = 1.5
        document["trades"][5]["pnl_quote"] = 0.0

    code, out, _ = run_command(home, "backtest", "--rerun", str(changed(path, tmp_path / "b.json", meddle)))
    assert code == 3
    told = " ".join(out.split())
    third = printed["trades"][3]
    assert "does not come out again:" in told
    assert f"number 4 ({third['trade_group_id']}) is the first to differ: exit_price was 1.5, now" in told
    assert out.count("first to differ") == 1


def test_another_figure_is_named(exported: tuple[Path, Path, Document], tmp_path: Path):
    home, path, printed = exported

    def meddle(document: Document) -> None:
        document["figures"]["sharpe"] = 7.0

    found = f"figures: 7.0 then and {printed['sharpe']} now for sharpe"
    assert rerun(home, changed(path, tmp_path / "a.json", meddle, seal=True))[1]["differences"] == [found]
    code, told = rerun(home, changed(path, tmp_path / "b.json", meddle))
    assert code == 3
    assert told["differences"] == ["the file has been changed since it was written: figures", found]


def test_other_code_that_does_the_same_is_told_and_is_no_difference(
    exported: tuple[Path, Path, Document], tmp_path: Path
):
    home, path, _ = exported

    def meddle(document: Document) -> None:
        document["code"] = {"version": "0.0.9", "digest": "0" * 16}

    bundle = changed(path, tmp_path / "b.json", meddle, seal=True)
    code, told = rerun(home, bundle)
    assert (code, told["identical"]) == (0, True)
    assert told["other_code"].startswith("the code was 0.0.9 (0000000000000000), it is 0.1.0 (")
    assert "The code was 0.0.9" in run_command(home, "backtest", "--rerun", str(bundle))[1]


OTHER_CODE = "are not those that were read then, unless other code reads other bars of the same market"


def plain(**changes: Any) -> Document:
    """A bundle as small as one can be."""
    trade = {"trade_group_id": "BTC-1", "pnl_quote": 1.0}
    return {
        "code": {"version": "1", "digest": "c"},
        "data": {"symbols": {"BTC/USD": "a", "ETH/USD": "b"}},
        "configuration_version": "v",
        "records": {"fills": {"count": 2, "digest": "f"}, "trades": {"count": 1, "digest": "t"}},
        "figures": {"sharpe": 1.0, "n_trades": 1},
        "trades": [trade],
        "open_trades": [],
        **changes,
    }


@pytest.mark.parametrize(
    ("after", "sentences"),
    [
        (plain(), []),
        (
            plain(data={"symbols": {"BTC/USD": "a", "ETH/USD": "c", "SOL/USD": "d"}}),
            ["the bars of ETH/USD, SOL/USD are not those that were read then"],
        ),
        (
            plain(trades=[plain()["trades"][0], {"trade_group_id": "BTC-2", "pnl_quote": 2.0}]),
            ["trades: 1 then, 2 now; BTC-2 is the first that only one has"],
        ),
        (plain(trades=[]), ["trades: 1 then, 0 now; BTC-1 is the first that only one has"]),
        (
            plain(records={"fills": {"count": 2, "digest": "g"}, "trades": {"count": 1, "digest": "t"}}),
            ["fills: as many as then, but not the same (f, now g)"],
        ),
        (
            plain(records={"fills": {"count": 3, "digest": "g"}, "trades": {"count": 1, "digest": "t"}}),
            ["fills: 2 then, 3 now"],
        ),
        (
            plain(figures={"sharpe": 2.0, "n_trades": 2}),
            ["figures: 1.0 then and 2.0 now for sharpe, and 1 more differ"],
        ),
        (
            plain(
                data={"symbols": {"BTC/USD": "x", "ETH/USD": "b"}},
                code={"version": "1", "digest": "d"},
                figures={"sharpe": 1.0, "n_trades": 1, "data_hash": "other"},
            ),
            [f"the bars of BTC/USD {OTHER_CODE}"],
        ),
        (
            plain(configuration_version="w"),
            ["this version completes the configuration to w, it was v"],
        ),
    ],
)
def test_differences_are_told_in_sentences(after: Document, sentences: list[str]):
    assert differences(plain(), after) == sentences


# --------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, 1, "there is no bundle"),
        ("nonsense", 1, "cannot be read"),
        ("[1, 2]", 1, "is no bundle of a backtest"),
        ('{"format": "crypto-tracker backtest", "format_version": 99}', 1, "has format 99"),
        ('{"format": "crypto-tracker backtest", "format_version": [1]}', 1, "has format [1]"),
        ('{"format": "crypto-tracker backtest", "format_version": 2}', 1, "is damaged: code is missing"),
        ('{"format": NaN}', 1, "NaN is no number of JSON"),
        ("9" * 5000, 1, "cannot be read"),
        ("[" * 100_000, 1, "nested too deep"),
    ],
)
def test_what_is_no_bundle_is_refused(home: Path, tmp_path: Path, content: str | None, code: int, words: str):
    path = tmp_path / "b.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    ended, out, err = run_command(home, "backtest", "--rerun", str(path))
    assert (ended, out) == (code, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_part_that_is_missing_is_damage(exported: tuple[Path, Path, Document], tmp_path: Path):
    home, path, _ = exported
    bundle = changed(path, tmp_path / "b.json", lambda document: document.pop("records"))
    code, _, err = run_command(home, "backtest", "--rerun", str(bundle))
    assert code == 1
    assert "b.json is damaged: records is missing; export the run again" in err


def test_a_strategy_that_is_not_installed_is_named(exported: tuple[Path, Path, Document], tmp_path: Path):
    home, path, _ = exported

    def meddle(document: Document) -> None:
        document["configuration"]["strategies"]["MINE"] = {}

    other = changed(path, tmp_path / "b.json", meddle, seal=True)
    code, _, err = run_command(home, "backtest", "--rerun", str(other))
    assert code == 2
    assert "made with MINE, which is not installed" in err


def test_a_key_that_this_version_does_not_know_is_named(
    exported: tuple[Path, Path, Document], tmp_path: Path
):
    home, path, _ = exported

    def meddle(document: Document) -> None:
        document["configuration"]["limits"]["max_luck"] = 7

    other = changed(path, tmp_path / "b.json", meddle, seal=True)
    code, _, err = run_command(home, "backtest", "--rerun", str(other))
    assert code == 2
    assert "limits.max_luck is no setting of this version; export the run again" in " ".join(err.split())

    def meddle_more(document: Document) -> None:
        meddle(document)
        document["code"]["version"] = "0.0.9"

    other = changed(path, tmp_path / "c.json", meddle_more, seal=True)
    _, _, err = run_command(home, "backtest", "--rerun", str(other))
    assert "limits.max_luck is no setting of this version; run it with code 0.0.9" in " ".join(err.split())


@pytest.mark.parametrize(
    "others",
    [
        ("--timerange", "20250308-20250309"),
        ("--close-at-end",),
        ("--set", "limits.max_open=3"),
        ("-p", "ETH/USD"),
    ],
)
def test_nothing_may_stand_beside_a_bundle(exported: tuple[Path, Path, Document], others: tuple[str, ...]):
    home, path, _ = exported
    code, out, err = run_command(home, "backtest", "--rerun", str(path), *others)
    assert (code, out) == (2, "")
    assert "--rerun takes everything from the bundle" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--export", "{}/missing/run.json"), "there is no folder"),
        (("--export", "{}"), "is a folder"),
        (("--html", "{}/missing/run.html"), "there is no folder"),
        (("--breakdown", "year"), "choose of day, week, month"),
        (("--breakdown", ","), "choose of day, week, month"),
        (("--breakdown", "day", "fortnight"), "--breakdown day fortnight: choose of day, week, month"),
        (("--stress", "--in-months"), "which --in-months does not keep"),
        (("--chart", "ETH/USD"), "--chart chooses the candles of a page: add --html FILE"),
        (("--chart", "SOL/USD", "--html", "{}/page.html"), "--chart SOL/USD: the run does not trade it"),
        (("--chart", "ETH", "--html", "{}/page.html"), "'ETH' is not a symbol"),
        (("august",), "backtest takes no argument, but august was given"),
    ],
)
def test_a_wrong_place_or_period_is_said_before_the_work(
    home: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
):
    asked = [argument.format(tmp_path) for argument in arguments]
    code, out, err = run_command(home, "backtest", *SPAN, *asked)
    assert (code, out) == (2, "")
    assert words in err
    assert not (home / FILE_NAME).exists()


# ------------------------------------------------------------------------------------------ real minutes


@pytest.mark.market_data
def test_the_august_of_the_readme_is_what_it_shows_and_comes_out_again(
    market_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home, path = tmp_path / "home", tmp_path / "august.json"
    for coin in ("BTCUSDT", "ETHUSDT"):
        code, _, err = run_command(home, "import-data", str(market_data / "bars" / "1m" / f"{coin}.parquet"))
        assert code == 0, err
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").splitlines()
    (asked,) = [
        place for place, line in enumerate(readme) if line.startswith("    $ crypto-tracker backtest")
    ]
    shown = readme[asked + 1 : readme.index("", asked)]
    assert len(shown) > 10
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run_command(home, *readme[asked].split()[2:], "--export", str(path))
    assert code == 0, err
    printed = {" ".join(line.split()) for line in out.splitlines()}
    assert [line for line in shown if " ".join(line.split()) not in printed] == []
    assert rerun(home, path) == (0, {"identical": True, "differences": [], "other_code": None})
