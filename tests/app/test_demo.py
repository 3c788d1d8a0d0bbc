"""The demonstration: that it tells the truth, with its page and without, and how the command ends."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from crypto_tracker.app.cli.main import build as build_command_line
from crypto_tracker.app.cli.main import main
from crypto_tracker.app.demo.run import leap, outcome
from crypto_tracker.app.demo.summary import summary
from crypto_tracker.app.demo.world import World, build, synthetic_market
from crypto_tracker.config.entries import configured_strategies
from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.decisions import Regime
from crypto_tracker.simulation.backtest import Simulator, simulate_portfolio
from crypto_tracker.store.runs import RunStore
from crypto_tracker.strategies.registry import builtin

ROOT = Path(__file__).parents[2]
Command = Callable[..., tuple[int, str, str]]


# ------------------------------------------------------------------------------------------ the truth


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two days: enough for trades, and for the crash of the second day."""
    strategies = builtin()
    configuration = load_configuration(
        {name: strategy.parameters_model for name, strategy in strategies.items()},
        file=None,
        environment={},
        assignments=(),
    ).tree
    entries = configured_strategies(strategies, configuration, None)
    return build(
        configuration,
        entries,
        made=synthetic_market(3, 2, "USD"),
        home=tmp_path_factory.mktemp("demo"),
        days=2,
        clock=ManualClock(datetime(2026, 1, 1, tzinfo=UTC)),
        version="v",
        keep_blocks=False,
        tell=lambda _: None,
    )


@pytest.fixture
def simulator(world: World) -> Simulator:
    return Simulator(world.scenario)


def test_playing_it_in_steps_is_one_backtest(world: World, simulator: Simulator):
    rows: list[int] = []
    leap(simulator, rows_per_step=37, show=lambda each: rows.append(each.row), stop_wanted=lambda: False)
    assert rows == [*range(37, 2_880, 37), 2_880]
    stepped, whole = simulator.result(), simulate_portfolio(world.scenario)
    for name in ("fills", "trades", "open_trades", "decisions"):
        one, other = getattr(stepped, name), getattr(whole, name)
        for field in one.dtype.names:
            assert one[field].tobytes() == other[field].tobytes(), f"{name}.{field}"
    for name in ("equity_e8", "cash_e8", "reserved_e8"):
        assert np.array_equal(getattr(stepped, name), getattr(whole, name)), name


def test_the_market_crashes_and_a_coin_is_listed_late(world: World, simulator: Simulator):
    simulator.run_until(len(world.scenario.panel))
    assert Regime.PANIC in set(map(Regime, np.unique(simulator.market.regime)))
    late = [str(symbol) for symbol in world.scenario.panel.symbols].index("IMX/USD")
    assert np.isnan(world.scenario.panel.close[: 14 * 60, late]).all()
    assert not np.isnan(world.scenario.panel.close[16 * 60 :, late]).all()


def test_a_run_that_is_stopped_is_measured_up_to_there(world: World, simulator: Simulator):
    shown: list[int] = []
    leap(
        simulator,
        rows_per_step=300,
        show=lambda each: shown.append(each.row),
        stop_wanted=lambda: len(shown) >= 3,
    )
    so_far = outcome(world, simulator)
    assert shown == [300, 600, 900]
    assert so_far.interrupted
    assert len(so_far.scenario.panel) == 900
    assert so_far.figures.equity_final == pytest.approx(float(simulator.result().equity_e8[-1]) / 1e8)
    assert (so_far.scenario.setups["time_ms"] <= so_far.end_ms).all()
    assert so_far.figures.setups < int((world.scenario.setups["kind"] == 1).sum())
    console = Console(file=io.StringIO(), width=80, height=24)
    console.print(summary(so_far, home=None, width=80, drawn=True))
    text = console.file.getvalue()
    assert "Stopped after 0.6 of 2 days" in text
    assert "SYNTHETIC MARKET" in text


def test_the_summary_names_only_commands_that_exist(world: World, simulator: Simulator):
    simulator.run_until(len(world.scenario.panel))
    console = Console(file=io.StringIO(), width=80, height=24)
    console.print(summary(outcome(world, simulator), home=Path("here"), width=80, drawn=False))
    lines = console.file.getvalue().splitlines()
    named = {line.split()[1] for line in lines if line.startswith("  crypto-tracker ")}
    existing = {command.name for command in build_command_line().registered_commands}
    assert named
    assert named <= existing, f"these do not exist: {named - existing}"
    assert max(map(len, lines)) <= 80


# ------------------------------------------------------------------------------------------ the command


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["--home", str(tmp_path / "home"), "demo", *arguments])
        captured = capsys.readouterr()
        code = ended.value.code
        return (0 if code is None else int(code)), captured.out, captured.err

    return command


def test_with_json_there_is_one_document_and_it_says_synthetic(run: Command, tmp_path: Path):
    code, out, err = run("--days", "2", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["synthetic"] is True
    assert "SYNTHETIC" in document["note"]
    assert document["n_trades"] == len(document["trades"]) > 0
    assert document["equity_final"] == pytest.approx(10_000 * (1 + document["return_net"]))
    closed = sum(trade["pnl_quote"] for trade in document["trades"])
    left = sum(trade["pnl_quote"] for trade in document["open_trades"])
    # Marked equity counts open positions at their last close, and so does their P&L.
    assert 10_000 + closed + left == pytest.approx(document["equity_final"], abs=0.01)
    assert {"trade_group_id", "symbol", "strategy", "entry_time", "exit_reason", "fee_quote"} <= set(
        document["trades"][0]
    )
    assert document["best_trade"]["pnl_quote"] == max(trade["pnl_quote"] for trade in document["trades"])
    assert "SYNTHETIC market opens" in err
    store = RunStore.open_to_read(tmp_path / "home" / "demo" / "seed-3-2d")
    assert store is not None
    counts = store.counts(document["run_id"])
    store.close()
    assert counts["trades"] == document["n_trades"] + document["n_open"]
    assert counts["setups"] > 0


def test_every_command_works_on_the_market_of_the_demonstration(
    run: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Its bars are in a store of their own: a backtest of them is the demonstration again, to the cent."""
    shown = json.loads(run("--days", "2", "--json")[1])
    home = tmp_path / "home" / "demo" / "seed-3-2d"

    def also(*arguments: str) -> object:
        with pytest.raises(SystemExit):
            main(["--home", str(home), *arguments, "--json"])
        return json.loads(capsys.readouterr().out)

    again = also("backtest", "--timerange", "20250301-")
    assert isinstance(again, dict)
    assert again["trades"] == shown["trades"]
    assert again["equity_final"] == shown["equity_final"]
    assert any("SYNTHETIC" in note for note in again["notes"])
    trade = shown["trades"][0]
    told = also("explain", trade["symbol"], "--at", trade["decision_time"])
    assert isinstance(told, dict)
    (bought,) = [item for item in told["strategies"] if item["name"] == trade["strategy"]]
    assert bought["verdict"] == "TAKE"
    assert bought["portfolio"]["verdict"] == "TAKE"
    series = also("list-data")
    assert isinstance(series, list)
    assert {row["provider"] for row in series} == {"synthetic"}
    assert not (tmp_path / "home" / "market.db").exists()


def test_the_demonstration_keeps_to_a_persons_own_configuration(run: Command, tmp_path: Path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text(
        '[trading]\ncapital_quote = 5000.0\n[instruments."BTC/USD"]\ntick = 10.0\n', encoding="utf-8"
    )
    document = json.loads(run("--days", "1", "--json")[1])
    assert document["equity_start"] == 5000.0
    written = (tmp_path / "home" / "demo" / "seed-3-1d" / "config.toml").read_text(encoding="utf-8")
    assert written.count('[instruments."BTC/USD"]') == 1
    assert '[instruments."ETH/USD"]' in written


def test_the_same_seed_tells_the_same_story_and_leaves_nothing_behind_when_asked(
    run: Command, tmp_path: Path
):
    first = json.loads(run("--days", "1", "--seed", "5", "--json", "--no-record")[1])
    again = json.loads(run("--days", "1", "--seed", "5", "--json", "--no-record")[1])
    for document in (first, again):
        del document["seconds"]
    assert first == again
    assert first["seed"] == 5
    assert not (tmp_path / "home").exists()


def test_without_a_terminal_there_are_plain_lines_and_the_summary(run: Command):
    code, out, err = run("--no-page", "--days", "2", "--no-record")
    assert code == 0
    assert out.isascii()
    assert "\x1b" not in out
    assert "SYNTHETIC MARKET" in out
    for expected in (
        "Result",
        "fees",
        "slippage",
        "Best",
        "Worst",
        "Refused",
        "Why DCA bought",
        "What to type next",
    ):
        assert expected in out, expected
    assert "SYNTHETIC day  1 of 2" in err
    assert "SYNTHETIC day  2 of 2" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--speed", "0"), "would never end"), (("--no-page", "--speed", "5"), "is the pace of the page")],
)
def test_a_speed_that_means_nothing_is_refused(run: Command, arguments: tuple[str, ...], words: str):
    code, _, err = run(*arguments)
    assert code == 2
    assert words in err


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent as a POSIX signal")
def test_ctrl_c_ends_with_the_summary_so_far_and_a_whole_record(tmp_path: Path):
    command = [
        *(sys.executable, "-m", "tests.app.interrupting", "day  7 of 30"),
        *("--home", str(tmp_path), "demo", "--no-page", "--days", "30"),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 130, ended.stderr
    assert "Stopped after 7.0 of 30 days" in ended.stdout
    assert "What to type next" in ended.stdout
    assert "Traceback" not in ended.stderr
    store = RunStore.open_to_read(tmp_path / "demo" / "seed-3-30d")
    assert store is not None
    # All trades that it told of with the seventh day are in the record.
    still, closed = map(int, re.findall(r"day  7 of 30 .* (\d+) open, (\d+) closed", ended.stderr)[-1])
    assert store.counts(1)["trades"] == still + closed > 20
    assert store.counts(1)["positions"] == still
    store.close()
