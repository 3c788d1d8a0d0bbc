"""`select-pairs`, `test-pairs`, `list-universe`, and what backtests make of the universe of each day."""

import json
import tomllib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.app.cli.common import Session
from crypto_tracker.app.evidence import recorded_run
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, to_ms
from crypto_tracker.research.bundle_contents import sealed
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.reader import DATABASE_NAME
from crypto_tracker.store.selections import SelectedPair, record_selection, selections
from crypto_tracker.store.universes import CONFIGURED, record_universe, universes
from tests.app.books import Document
from tests.app.conftest import LIVELY, MARCH_MS, Command, backtest, copied, run_command
from tests.research.worlds import configuration
from tests.servers.exchange import Bar
from tests.servers.kraken import KrakenServer
from tests.servers.massive_rest import KEY, MassiveServer, massive_rest, status

BTC, ETH, SOL, PEPE, DOGE, LUNA = (
    Symbol(coin, "USD") for coin in ("BTC", "ETH", "SOL", "PEPE", "DOGE", "LUNA")
)
NOW = datetime(2025, 8, 20, 15, 30, tzinfo=UTC)
TODAY_MS = to_ms(NOW) // DAY_MS * DAY_MS

# ---------------------------------------------------------------------------------- asking a local Massive


def a_trade_a_day(seed: int, coins: float, *, days: int = 45, move: float = 0.04) -> BarBatch:
    """One minute a day, at noon, up to yesterday; so many coins are traded in it."""
    random = np.random.default_rng(seed)
    close = np.round(100.0 * np.cumprod(1.0 + random.normal(0.0, move, days)), 4)
    return BarBatch(
        open_time_ms=TODAY_MS - DAY_MS * np.arange(days, 0, -1) + 12 * HOUR_MS,
        open=close,
        high=close,
        low=close,
        close=close,
        volume=np.full(days, coins),
        vwap=close,
        n_trades=np.ones(days),
    )


@pytest.fixture
def massive(monkeypatch: pytest.MonkeyPatch) -> Iterator[MassiveServer]:
    """Three pairs that trade enough, one that does not, and one that is gone."""
    market = {
        BTC: a_trade_a_day(1, 2e6),
        ETH: a_trade_a_day(2, 1e6),
        SOL: a_trade_a_day(3, 1e5, days=12),
        DOGE: a_trade_a_day(4, 10.0),
        LUNA: a_trade_a_day(5, 1e6),
    }
    monkeypatch.setenv("MASSIVE_API_KEY", KEY)
    monkeypatch.delenv("POLYGON_API_KEY", raising=False)
    monkeypatch.setattr(Session, "now", lambda _self: NOW)
    with massive_rest(market, inactive=[LUNA]) as running:
        yield running


def asking(server: MassiveServer, *more: str) -> tuple[str, ...]:
    return (
        "--provider", "polygon",
        "--set", f"market_data.massive.rest_url={server.url}",
        "--set", "market_data.massive.requests_per_second=10000",
        "--set", "market_data.fetching.wait_seconds=0.01",
        *more,
    )  # fmt: skip


def selected(home: Path, server: MassiveServer, *more: str) -> Document:
    code, out, err = run_command(home, "select-pairs", *asking(server, "--json", *more))
    assert code == 0, err
    document: Document = json.loads(out)
    return document


def test_a_selection_is_recorded_with_its_inputs_and_is_the_universe_of_the_day(
    tmp_path: Path, massive: MassiveServer
):
    found = selected(tmp_path, massive)
    reasons = {pair["symbol"]: pair["reason"] for pair in found["pairs"]}
    assert {name for name, reason in reasons.items() if reason is None} == {"BTC/USD", "ETH/USD"}
    assert reasons["SOL/USD"] == "12 days with a daily bar, below 30"
    assert reasons["DOGE/USD"].endswith("traded in 24 h, below 1,000,000")
    assert reasons["LUNA/USD"] == "massive does not trade it"
    btc = next(pair for pair in found["pairs"] if pair["symbol"] == "BTC/USD")
    closes = a_trade_a_day(1, 2e6).close[-31:]
    assert btc["volatility"] == pytest.approx(np.std(closes[1:] / closes[:-1] - 1.0, ddof=1))
    assert btc["correlation"] == pytest.approx(1.0)
    assert btc["volume_quote"] == pytest.approx(2e6 * closes[-1])
    assert found["settings"]["volume_min_quote"] == 1e6

    (kept,) = selections(tmp_path)
    assert kept.selection_id == found["selection"] == 1
    assert [str(pair.symbol) for pair in kept.pairs] == [pair["symbol"] for pair in found["pairs"]]
    (universe,) = universes(tmp_path)
    assert (universe.day_ms, universe.since_ms) == (TODAY_MS, to_ms(NOW))
    assert (universe.provider, universe.symbols, universe.selection_id) == ("massive", (BTC, ETH), 1)


def test_daily_bars_are_asked_for_of_those_that_trade_enough(tmp_path: Path, massive: MassiveServer):
    selected(tmp_path, massive)
    asked = {asked.path.split("/")[4] for asked in massive.requests if "/range/" in asked.path}
    assert asked == {"X:BTCUSD", "X:ETHUSD", "X:SOLUSD"}


def test_a_pair_that_is_gone_is_marked_inactive_and_told_once(tmp_path: Path, massive: MassiveServer):
    assert selected(tmp_path, massive)["inactive"] == {}
    massive.inactive = [LUNA, ETH]
    massive.now_ms = to_ms(NOW)  # it gives the same answer at the same moment
    arguments = asking(massive)
    code, out, err = run_command(tmp_path, "select-pairs", *arguments)
    assert (code, err) == (0, "ETH/USD is inactive: massive no longer trades it\n")
    assert "ETH/USD" in out
    assert "massive does not trade it" in out
    assert run_command(tmp_path, "select-pairs", *arguments)[2] == ""
    assert [record.symbols for record in universes(tmp_path)] == [(BTC,)]


def test_trying_a_selection_records_nothing_and_names_every_filter(tmp_path: Path, massive: MassiveServer):
    code, out, err = run_command(tmp_path, "test-pairs", *asking(massive))
    assert (code, err) == (0, "")
    assert not (tmp_path / DATABASE_NAME).exists()
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "massive, 2025-08-20 15:30 UTC: 2 of 5 USD pairs, 30 days against BTC"
    assert "pair 24 h volume volatility correlation days score risk" in lines
    assert "SOL/USD 12 days with a daily bar, below 30" in lines
    assert "LUNA/USD massive does not trade it" in lines
    document = json.loads(run_command(tmp_path, "test-pairs", *asking(massive, "--json"))[1])
    assert document["selection"] is None
    assert len(document["pairs"]) == 5


def test_what_toml_writes_trades_the_selection(tmp_path: Path, massive: MassiveServer):
    selected(tmp_path, massive)
    asked = len(massive.requests)
    code, out, err = run_command(tmp_path, "select-pairs", "--show", "--toml")
    assert (code, err) == (0, "")
    assert len(massive.requests) == asked
    written = tomllib.loads(out)
    assert sorted(written["universe"]["symbols"]) == ["BTC/USD", "ETH/USD"]
    assert written["market_data"] == {"provider": "massive"}
    (tmp_path / "config.toml").write_text(out, encoding="utf-8")
    code, shown, err = run_command(tmp_path, "show-config", "--json")
    assert (code, err) == (0, "")
    assert "ETH/USD" in shown


def test_the_newest_selection_is_shown_without_asking(tmp_path: Path, massive: MassiveServer):
    first = selected(tmp_path, massive)
    code, out, _ = run_command(tmp_path, "select-pairs", "--show", "--json")
    assert code == 0
    assert json.loads(out) == first


def test_a_selection_of_nothing_leaves_the_universe_as_it_was(tmp_path: Path, massive: MassiveServer):
    record_universe(tmp_path, TODAY_MS, "massive", [DOGE], CONFIGURED)
    strict = asking(massive, "--set", "selector.volume_min_quote=1e15")
    code, out, err = run_command(tmp_path, "select-pairs", *strict)
    assert code == 1
    assert "0 of 5 USD pairs" in out
    assert "BTC/USD" in out
    assert "no pair of massive against USD passed the filters, so nothing was recorded" in err
    assert "the section [selector] of the configuration" in err
    assert [record.symbols for record in universes(tmp_path)] == [(DOGE,)]
    assert selections(tmp_path) == []
    code, out, _ = run_command(tmp_path, "select-pairs", *strict, "--json")
    assert code == 1
    assert json.loads(out)["selection"] is None
    code, out, err = run_command(tmp_path, "select-pairs", *strict, "--toml")
    assert (code, out) == (1, "")


def test_what_trades_nothing_is_never_written_as_configuration(tmp_path: Path):
    gone = SelectedPair(
        symbol=BTC, volume_quote=1.0, volatility=None, correlation=None, listed_days=None, score=None,
        risk=None, reason="1 traded in 24 h, below 1,000,000",
    )  # fmt: skip
    settings = {"quote": "USD", "days": 30, "benchmark": "BTC"}
    assert record_selection(tmp_path, TODAY_MS, "kraken", settings, [gone]) == 1
    code, out, err = run_command(tmp_path, "select-pairs", "--show", "--toml")
    assert (code, out) == (1, "")
    assert "no pair of kraken against USD passed the filters, so it changed no universe" in err


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--provider", "synthetic"), 2, "is made up"),
        (("--quote", "JPY"), 2, "massive has no pair against JPY: choose --quote of USD"),
        (("--show",), 1, "there are no bars under"),
        (("--show", "--quote", "USD"), 2, "--quote belongs to a new selection"),
        (("--toml", "--json"), 2, "ask for one of them"),
        (("--set", "selector.benchmark=XMR"), 1, "no daily bars of XMR/USD, the benchmark"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, massive: MassiveServer, arguments: Sequence[str], code: int, sentence: str
):
    ended, out, err = run_command(tmp_path, "select-pairs", *asking(massive), *arguments)
    assert ended == code
    assert out == ""
    assert sentence in err.replace("\n", " ")


def test_a_provider_that_fails_records_nothing(tmp_path: Path, massive: MassiveServer):
    massive.faults += [status(500, path="/range/")] * 50
    code, out, err = run_command(tmp_path, "select-pairs", *asking(massive))
    assert (code, out) == (1, "")
    assert "massive" in err
    assert "Traceback" not in err
    assert not (tmp_path / DATABASE_NAME).exists()


# ------------------------------------------------------------------------------------ asking a local exchange


def test_an_exchange_is_asked_like_any_other_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Session, "now", lambda _self: NOW)

    def trades(seed: int) -> list[Bar]:
        batch = a_trade_a_day(seed, 5.0)
        prices = zip(batch.open_time_ms.tolist(), batch.close.tolist(), strict=True)
        return [Bar(time_ms, price, price, price, price, 5.0) for time_ms, price in prices]

    market = {"BTC/USD": trades(1), "ETH/USD": trades(2), "ETH/EUR": trades(3)}
    with KrakenServer(market, now_ms=lambda: to_ms(NOW)).running() as server:
        settings = server.settings().replace('"', '\\"')
        (tmp_path / "config.toml").write_text(
            f'[market_data.exchanges.kraken]\nrequests_per_second = 500.0\nsettings = "{settings}"\n'
            "[selector]\nvolume_min_quote = 30000.0\n",  # the server says 200 coins at 150
            encoding="utf-8",
        )
        code, out, err = run_command(tmp_path, "select-pairs", "--json")
        assert code == 0, err
        asked = {query["pair"] for query in server.asked("OHLC")}
    found = json.loads(out)
    assert found["provider"] == "kraken"
    assert {pair["symbol"]: pair["reason"] for pair in found["pairs"]} == {"BTC/USD": None, "ETH/USD": None}
    assert len(asked) == 2
    closes = a_trade_a_day(2, 5.0).close[-31:]
    eth = next(pair for pair in found["pairs"] if pair["symbol"] == "ETH/USD")
    assert eth["volatility"] == pytest.approx(np.std(closes[1:] / closes[:-1] - 1.0, ddof=1))
    assert [record.provider for record in universes(tmp_path)] == ["kraken"]


# ------------------------------------------------------------------------------------------- what was recorded


def test_the_universes_are_listed_day_by_day(tmp_path: Path):
    record_universe(tmp_path, TODAY_MS - 2 * DAY_MS, "kraken", [BTC, ETH], CONFIGURED)
    record_universe(tmp_path, TODAY_MS, "kraken", [BTC, SOL, DOGE], CONFIGURED)
    code, out, _ = run_command(tmp_path, "list-universe")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["day", "provider", "origin", "symbols", "new", "gone"],
        ["2025-08-18", "kraken", "configured", "2", "-", "-"],
        ["2025-08-20", "kraken", "configured", "3", "2", "1"],
    ]
    _, out, _ = run_command(tmp_path, "list-universe", "--day", "20250819")
    assert out == "kraken, configured, since 2025-08-18 00:00 UTC: 2 symbols\n  BTC/USD ETH/USD\n"
    _, out, _ = run_command(tmp_path, "list-universe", "--day", "2025-08-17", "--provider", "kraken")
    assert out.startswith("No universe of kraken was recorded on 2025-08-17 or before")
    for day, sentence in (
        ("yesterday", "--day 'yesterday' is no day: write a day in UTC, such as 20250801 or 2025-08-01"),
        ("29990101", "--day '29990101' lies in the future"),
    ):
        code, out, err = run_command(tmp_path, "list-universe", "--day", day)
        assert (code, out) == (2, "")
        assert sentence in err
    _, out, _ = run_command(tmp_path, "list-universe", "--json")
    assert [(each["day"], each["symbols"]) for each in json.loads(out)["universes"]] == [
        ("2025-08-18", ["BTC/USD", "ETH/USD"]),
        ("2025-08-20", ["BTC/USD", "DOGE/USD", "SOL/USD"]),
    ]


# ------------------------------------------------------------------------------------------------ backtests

SPAN = ("--timerange", "20250303-20250312")
FROM_MS = MARCH_MS + 5 * DAY_MS  # the sixth, on which PEPE comes and ETH goes


@pytest.fixture(scope="module")
def obedient(market_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Document]:
    """A home with universes, and a run in it with its bundle."""
    home = copied(market_home, tmp_path_factory.mktemp("universe") / "home")
    record_universe(home, MARCH_MS, "synthetic", [BTC, ETH], CONFIGURED)
    record_universe(home, FROM_MS, "synthetic", [BTC, PEPE], CONFIGURED)
    return home, backtest(home, *SPAN, *LIVELY, "--export", str(home / "run.json"))


def refused(document: Document) -> int:
    return sum(reasons.get("not_in_universe", 0) for reasons in document["rejected_by_strategy"].values())


def test_a_result_shows_what_the_universe_left_out_and_how_well_it_is_known(
    obedient: tuple[Path, Document],
):
    _, found = obedient
    assert found["symbols"] == ["BTC/USD", "ETH/USD", "PEPE/USD"]  # SOL and ADA were in no universe
    assert refused(found) > 0
    assert "the universe of synthetic was recorded on 1 of 9 days" in found["notes"]
    assert any("opening nothing else: ETH/USD, PEPE/USD" in note for note in found["notes"])
    entries = {(trade["symbol"], trade["entry_time"]) for trade in [*found["trades"], *found["open_trades"]]}
    assert {symbol for symbol, time in entries if time < "2025-03-06"} <= {"BTC/USD", "ETH/USD"}
    assert {symbol for symbol, time in entries if time > "2025-03-06T00:01"} <= {"BTC/USD", "PEPE/USD"}
    assert "PEPE/USD" in {symbol for symbol, _ in entries}


def test_named_pairs_and_a_universe_that_is_switched_off_trade_on_every_day(
    obedient: tuple[Path, Document], tmp_path: Path
):
    home = copied(obedient[0], tmp_path / "home")
    named = backtest(home, *SPAN, *LIVELY, "--pairs", "BTC/USD,ETH/USD,PEPE/USD")
    assert refused(named) == 0
    assert not any("universe" in note for note in named["notes"])
    assert named["data_hash"] != obedient[1]["data_hash"]
    off = backtest(home, *SPAN, *LIVELY, "--set", "universe.by_day=false")
    assert refused(off) == 0
    assert set(off["symbols"]) > set(named["symbols"])


def test_a_bundle_holds_the_universe_and_comes_out_again_under_another(
    obedient: tuple[Path, Document], tmp_path: Path
):
    home = copied(obedient[0], tmp_path / "home")
    bundle = json.loads((home / "run.json").read_text(encoding="utf-8"))
    assert bundle["choice"]["universe"]["PEPE/USD"] == [[FROM_MS, MARCH_MS + 12 * DAY_MS]]
    assert "universe" in bundle["data"]["symbols"]
    record_universe(home, MARCH_MS, "synthetic", [SOL], CONFIGURED)
    code, out, err = run_command(home, "backtest", "--rerun", str(home / "run.json"), "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["identical"] is True
    code, out, _ = run_command(home, "backtest", "--rerun", str(home / "run.json"), "--in-months", "--json")
    assert (code, json.loads(out)["identical"]) == (0, True)


def test_a_bundle_whose_universe_was_changed_is_refused(obedient: tuple[Path, Document], tmp_path: Path):
    home, _ = obedient
    bundle = json.loads((home / "run.json").read_text(encoding="utf-8"))
    bundle["choice"]["universe"]["ETH/USD"] = [[MARCH_MS, MARCH_MS + 12 * DAY_MS]]
    (tmp_path / "changed.json").write_text(json.dumps(sealed(bundle)), encoding="utf-8")
    code, _, err = run_command(home, "backtest", "--rerun", str(tmp_path / "changed.json"))
    assert code == 1
    assert "data.symbols.universe is not the digest of choice.universe" in err.replace("\n", " ")


@pytest.mark.parametrize(
    ("universe", "sentence"),
    [
        ({"BTC/USD": []}, "choice.universe does not have the symbols of choice.symbols"),
        (
            {"BTC/USD": [[5, 9], [9, 12]], "ETH/USD": [], "PEPE/USD": []},
            "the periods of BTC/USD in choice.universe are not in order",
        ),
        ({"BTC/USD": [[5]]}, "choice.universe.BTC/USD"),
    ],
)
def test_a_bundle_with_a_damaged_universe_says_what_is_wrong(
    obedient: tuple[Path, Document], tmp_path: Path, universe: Document, sentence: str
):
    home, _ = obedient
    bundle = json.loads((home / "run.json").read_text(encoding="utf-8"))
    bundle["choice"]["universe"] = universe
    (tmp_path / "damaged.json").write_text(json.dumps(sealed(bundle)), encoding="utf-8")
    code, _, err = run_command(home, "backtest", "--rerun", str(tmp_path / "damaged.json"))
    assert code == 1
    assert sentence in err.replace("\n", " ")


def test_a_run_is_compared_with_a_configuration_under_the_same_universe(
    obedient: tuple[Path, Document], tmp_path: Path, command: Command
):
    home = copied(obedient[0], tmp_path / "home")
    backtest(home, *SPAN, *LIVELY)
    choice = recorded_run(home, 1, configuration()).choice
    assert choice.universe is not None
    assert choice.universe.document() == json.loads((home / "run.json").read_text())["choice"]["universe"]
    # The configuration of the run against the run itself: the same trades, so no difference.
    (home / "same.toml").write_text(
        "[strategies.SWING]\nbreakout = 1.001\nvolume_factor = 0.8\n"
        "[strategies.CHANNEL]\nstrength = 0.5\nbottom_share = 0.3\n",
        encoding="utf-8",
    )
    code, out, err = command(home, "compare", "1", str(home / "same.toml"), "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["same"] is True
    code, out, err = command(home, "compare", str(home / "run.json"), str(home / "same.toml"), "--json")
    assert code == 0, err
    assert json.loads(out)["same"] is True


def test_a_search_measures_under_the_universe_of_each_day(obedient: tuple[Path, Document], tmp_path: Path):
    home = copied(obedient[0], tmp_path / "home")
    space = ("--space", "limits.min_confidence=0.3,0.45", "--windows", "1", "--min-trades", "1")

    def searched(*more: str) -> Document:
        arguments = (*SPAN, *space, "--strategy", "DCA", "--workers", "1", *more, "--json")
        code, out, err = run_command(home, "optimize", *arguments)
        assert code == 0, err
        document: Document = json.loads(out)
        return document

    notes = searched()["notes"]
    assert "the universe of synthetic was recorded on 1 of 9 days" in notes
    assert not any("universe" in note for note in searched("--pairs", "BTC/USD,ETH/USD")["notes"])


def test_a_crash_is_traded_by_the_universe_of_its_days(obedient: tuple[Path, Document], tmp_path: Path):
    home = copied(obedient[0], tmp_path / "home")
    span = ("--timerange", "20250308-20250312", "--days", "2")
    arguments = ("crash-report", "--synthetic", "0", *span, *LIVELY, "--json")
    code, out, err = run_command(home, *arguments)
    assert code == 0, err
    crash = json.loads(out)["crashes"][0]
    assert crash["symbols"] == ["BTC/USD", "PEPE/USD"]  # ETH left before it
    assert any("the universe of synthetic" in note for note in crash["notes"])
