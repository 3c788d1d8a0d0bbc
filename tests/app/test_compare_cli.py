"""`compare`: sides of every kind, what they are run over, and what is refused."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from crypto_tracker.app.accounts import account_place, accounts
from crypto_tracker.app.cli.compare_view import document, show
from crypto_tracker.app.evidence import marked_equity, recorded_account, recorded_run
from crypto_tracker.config.tree import Configuration, load_configuration
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.errors import DataError
from crypto_tracker.simulation.paired import Comparing, compare
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.run_views import RunViews
from crypto_tracker.store.trials import TrialStore
from crypto_tracker.strategies.registry import builtin
from tests.app.books import Document
from tests.app.conftest import LIVELY, MARCH, Command, backtest, copied
from tests.app.kept import BTC_WON, ETH_HELD, SOL_LOST, kept_account
from tests.simulation.sides import BTC, ETH, side, traded

WEEK = ("--timerange", "20250306-20250313")


def defaults() -> Configuration:
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    return load_configuration(models, file=None, environment={}, assignments=()).tree


@pytest.fixture(scope="module")
def recorded(market_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Document]:
    """A home with a lively run (1) and its bundle, and one that is less sure of itself (2)."""
    home = copied(market_home, tmp_path_factory.mktemp("compare") / "home")
    first = backtest(home, *MARCH, *LIVELY, "--export", str(home / "march.json"))
    backtest(home, *MARCH, *LIVELY, "--set", "limits.min_confidence=0.7")
    return home, first


def compared(command: Command, home: Path, *arguments: str) -> Document:
    code, out, err = command(home, "compare", *arguments, "--json")
    assert code == 0, err
    found: Document = json.loads(out)
    return found


def test_the_equity_of_a_run_comes_out_of_its_fills_and_the_stored_closes(
    recorded: tuple[Path, Document],
):
    home, made = recorded
    evidence = recorded_run(home, 1, defaults()).evidence
    assert evidence.days is not None
    assert made["n_trades"] > 5
    days = made["breakdown"]["day"]
    assert evidence.days.equity == pytest.approx([day["equity_final"] for day in days], abs=1e-6)
    assert evidence.days.drawdown == pytest.approx([day["max_drawdown"] for day in days], abs=1e-9)
    assert evidence.max_drawdown == pytest.approx(made["max_drawdown"], abs=1e-9)
    assert len(evidence.trades) == made["n_trades"]
    assert len(evidence.open_trades) == made["n_open"]
    assert evidence.answers is not None
    assert len(evidence.answers) == made["setups"]


def test_bars_that_a_run_was_not_filled_in_give_no_equity(recorded: tuple[Path, Document]):
    home, _ = recorded
    with RunViews.open(home) as views:
        run, fills = views.run(1), views.fills(1)
    choice = recorded_run(home, 1, defaults()).choice

    class Doubled(BarReader):
        """A store in which every price is twice what it was."""

        def panel(self, *arguments, **options):
            found = reader.panel(*arguments, **options)
            prices = {name: 2.0 * getattr(found, name) for name in ("open", "high", "low", "close")}
            return type(found)(
                timeframe=found.timeframe,
                symbols=found.symbols,
                open_time_ms=found.open_time_ms,
                volume=found.volume,
                covered=found.covered,
                **prices,
            )

    with BarReader.open(home) as reader:
        doubled = object.__new__(Doubled)
        with pytest.raises(DataError, match="are not those of the run"):
            marked_equity(doubled, run, choice, fills, 10_000.0)
        assert np.isfinite(marked_equity(reader, run, choice, fills, 10_000.0)).all()


def test_a_run_its_bundle_and_its_configuration_are_the_same(
    command: Command, recorded: tuple[Path, Document]
):
    home, made = recorded
    for other in (str(home / "march.json"), made["configuration_version"]):
        found = compared(command, home, "run:1", other)
        assert found["same"], other
        assert found["finding"] == "cannot_be_told_apart"
        assert found["settings"] == []
        assert found["setups"]["only_first"] == found["setups"]["only_second"] == []
        assert len(found["setups"]["both"]) == made["n_trades"] + made["n_open"]
        difference = found["difference"]["return_per_day"]
        assert (difference["mean"], difference["low"], difference["high"]) == (0.0, 0.0, 0.0)
        for figure in ("return_marked", "max_drawdown", "sharpe", "profit_factor", "n_trades"):
            assert found["first"][figure] == pytest.approx(found["second"][figure], abs=1e-9)
    assert found["first"]["return_marked"] == pytest.approx(made["return_net"])
    assert found["first"]["costs_quote"] == pytest.approx(made["fees_quote"] + made["slippage_quote"])


def test_what_only_one_run_took_has_the_reason_of_the_other(
    command: Command, recorded: tuple[Path, Document]
):
    home, _ = recorded
    found = compared(command, home, "1", "2")
    assert found["settings"] == [{"key": "limits.min_confidence", "first": 0.45, "second": 0.7}]
    reasons = {each["why_not"] for each in found["setups"]["only_first"]}
    assert "confidence_low" in reasons
    first, both = found["first"], len(found["setups"]["both"])
    assert both + len(found["setups"]["only_first"]) == first["n_trades"] + first["n_open"]
    assert (
        both + len(found["setups"]["only_second"]) == found["second"]["n_trades"] + found["second"]["n_open"]
    )
    # Half a month is never told apart.
    assert found["finding"] == "cannot_be_told_apart"
    with RunViews.open(home) as views:
        answers = {(row.time_ms, str(row.symbol), row.strategy): row.reason for row in views.setups(2)}
    assert len(answers) == found["second"]["setups"]


def test_configurations_are_run_over_the_same_bars_and_are_remembered_as_trials(
    command: Command, recorded: tuple[Path, Document], tmp_path: Path
):
    home, _ = recorded
    careful = tmp_path / "careful.toml"
    careful.write_text("[limits]\nmin_confidence = 0.7\n", encoding="utf-8")
    found = compared(command, home, "current", str(careful), *WEEK, "-p", "BTC/USD,ETH/USD", *LIVELY)
    assert found["start"] == "2025-03-06T00:00:00Z"
    assert found["first"]["symbols"] == found["second"]["symbols"] == ["BTC/USD", "ETH/USD"]
    assert found["first"]["name"] == "the current configuration"
    assert [each["key"] for each in found["settings"]] == ["limits.min_confidence"]
    store = TrialStore.open(home)
    versions = {trial.configuration_version for trial in store.trials()}
    store.close()
    assert {found[side]["configuration_version"] for side in ("first", "second")} <= versions


def test_a_timerange_cuts_what_was_recorded_to_whole_days(command: Command, recorded: tuple[Path, Document]):
    home, made = recorded
    found = compared(command, home, "1", "2", "--timerange", "20250306T1200-20250313")
    assert (found["start"], found["end"]) == ("2025-03-07T00:00:00Z", "2025-03-13T00:00:00Z")
    assert found["first"]["days"] == 6
    days = {day["name"]: day["equity_final"] for day in made["breakdown"]["day"]}
    assert found["first"]["equity_start"] == pytest.approx(days["2025-03-06"])
    assert found["first"]["pnl_marked_quote"] == pytest.approx(days["2025-03-12"] - days["2025-03-06"])


def test_a_configuration_is_run_over_the_bars_of_the_recorded_side_and_it_fits_the_screen(
    command: Command, recorded: tuple[Path, Document]
):
    home, made = recorded
    code, out, err = command(home, "compare", "run:1", "current", *LIVELY)
    assert code == 0, err
    assert "the current configuration did the same as run 1, trade by trade (15 days)" in " ".join(
        out.split()
    )
    assert "The configurations are the same." in out
    assert f"{100 * made['return_net']:+.2f} %" in out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 100


@pytest.mark.parametrize("width", [80, 100])
def test_long_names_and_large_numbers_fit_the_screen(width: int):
    trades = [traded(BTC, "DCA", 0.5, -123_456.78, invested=1e6), traded(ETH, "CHANNEL", 0.6, 9_876.5)]
    first = side("a configuration with a rather long name.toml", trades)
    second = side("B", trades[:1], configuration={"limits": {"a_key_of_no_small_length": "x" * 40}})
    rules = Comparing(confidence=0.95, draws=100, days_min=20)
    found = compare(first, second, rules)
    written = io.StringIO()
    show(Console(file=written, width=width), found, rules)
    assert max(len(line.rstrip()) for line in written.getvalue().splitlines()) <= width
    assert written.getvalue().count("-123,456.78") == 3  # of B closed, and of both in common setups
    assert "…" not in written.getvalue()
    assert document(found, rules)["setups"]["only_first"][0]["why_not"] == "no_setup"


@pytest.mark.parametrize(
    ("sides", "complaint", "code"),
    [
        (("run:1", "nothing"), "'nothing' names no side: write run:12", 2),
        (("run:one", "1"), "'run:one' names no run", 2),
        (("1", "99"), "there is no run 99", 1),
        (("1", "missing.toml"), "there is no file missing.toml", 2),
        (("1", "0123456789ab"), "carries the configuration version 0123456789ab", 1),
        (("1", "account:nobody"), "nothing has been traded yet", 1),
        (("1", "2", "-p", "BTC/USD"), "--pairs, --timeframe and --provider choose what configurations", 2),
        (("1", "2", "--timerange", "20240101-20240201"), "has no whole trading day", 1),
    ],
)
def test_what_can_not_be_compared_is_refused_in_one_sentence(
    command: Command, recorded: tuple[Path, Document], sides: tuple[str, ...], complaint: str, code: int
):
    home, _ = recorded
    ended, out, err = command(home, "compare", *sides)
    assert (ended, out) == (code, "")
    assert complaint in " ".join(err.split())


def test_an_account_is_a_side_with_what_became_of_its_orders(command: Command, tmp_path: Path):
    kept_account(tmp_path)
    recorded, _, _ = recorded_account(account_place(tmp_path, "paper"))
    evidence = recorded.evidence
    assert evidence.trades == (BTC_WON, SOL_LOST)
    assert evidence.open_trades == (ETH_HELD,)
    assert evidence.answers is not None
    assert {
        (str(symbol), strategy): answer.reason for (symbol, strategy, _), answer in evidence.answers.items()
    } == {
        ("BTC/USD", "DCA"): Reason.COOLDOWN,  # the later one of two
        ("SOL/USD", "CHANNEL"): Reason.ACCEPTED,
        ("ETH/USD", "SWING"): Reason.ACCEPTED,
        ("BTC/USD", "SWING"): Reason.EXPIRED,
    }
    assert evidence.days is not None
    # From 10,000 it rose to 10,100, and was at 9,999 when the ten minutes were over.
    assert evidence.days.equity.tolist() == [9_999.0]
    assert evidence.max_drawdown == pytest.approx(1.0 - 9_999 / 10_100)
    found = compared(command, tmp_path, "account:paper", "account:paper")
    assert (found["same"], found["difference"]["return_per_day"]["days"]) == (True, 1)


def test_a_replay_and_its_configuration_are_the_same(
    command: Command, recorded: tuple[Path, Document], tmp_path: Path
):
    home = copied(recorded[0], tmp_path / "home")
    code, _, err = command(home, "trade", "--replay", "20250308T1800..20250309T0600", *LIVELY, "--json")
    assert code == 0, err
    (name,) = [place.name for place in accounts(home)]
    found = compared(command, home, f"account:{name}", "current", *LIVELY)
    assert found["same"]
    assert found["first"]["n_trades"] + found["first"]["n_open"] > 0
    assert found["first"]["setups"] == found["second"]["setups"]
    assert any("over the bars as they are stored now" in note for note in found["notes"])


def test_without_any_run_it_says_what_records_one(command: Command, tmp_path: Path):
    code, _, err = command(tmp_path, "compare", "1", "2")
    assert code == 1
    assert "backtest` records one" in " ".join(err.split())
