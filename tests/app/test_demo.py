"""The demonstration: what the view draws, that it tells the truth, and how the command ends."""

import io
import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text

from crypto_tracker.app.cli.main import build as build_command_line
from crypto_tracker.app.cli.main import main
from crypto_tracker.app.demo.observer import SYNTHETIC, Observer
from crypto_tracker.app.demo.run import leap, outcome, play
from crypto_tracker.app.demo.summary import summary
from crypto_tracker.app.demo.world import START_MS, World, build, synthetic_market
from crypto_tracker.app.screen import charts, words
from crypto_tracker.app.screen.snapshot import (
    DecisionFacts,
    Heading,
    Kind,
    MarketFacts,
    Notice,
    PositionFacts,
    ReadinessFacts,
    Snapshot,
    StrategyFacts,
    Tone,
    TradeFacts,
)
from crypto_tracker.app.screen.view import render
from crypto_tracker.config.entries import configured_strategies
from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.decisions import Condition, Reason, Regime
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from crypto_tracker.simulation.backtest import Simulator, simulate_portfolio
from crypto_tracker.store.runs import RunStore
from crypto_tracker.strategies.registry import builtin

Command = Callable[..., tuple[int, str, str]]


def position(coin: str = "SOL", **changes: object) -> PositionFacts:
    held = PositionFacts(
        coin=coin,
        strategy="DCA",
        fills=2,
        levels=5,
        entry_price=142.31,
        price=145.2,
        stop_price=131.2,
        target_price=152.3,
        pnl_quote=6.2,
        return_net=0.031,
        age_ms=125 * MINUTE_MS,
    )
    return replace(held, **changes)  # type: ignore[arg-type]  # the fields are checked when the facts are built


def snapshot(**changes: object) -> Snapshot:
    curve = np.concatenate([10_000 + 3.0 * np.arange(300), np.full(180, np.nan)])
    nearest = tuple(
        ReadinessFacts(coin=coin, readiness=readiness, words="volume")
        for coin, readiness in (("BTC", 95.0), ("XRP", 64.0), ("ETH", 31.0), ("ADA", 4.0))
    )
    shown = Snapshot(
        heading=Heading(
            program="crypto-tracker demo",
            badge=Notice(tone=Tone.WARNING, title=SYNTHETIC),
            note="made-up prices, seed 7",
            hint="Ctrl-C: summary",
        ),
        quote="USD",
        time_ms=START_MS + 6 * DAY_MS + 14 * HOUR_MS + 35 * MINUTE_MS,
        start_ms=START_MS,
        end_ms=START_MS + 10 * DAY_MS,
        speed=19_200.0,
        equity_start=10_000.0,
        equity=10_897.0,
        cash=5_123.1,
        reserved=800.0,
        drawdown=0.021,
        equity_curve=curve,
        curve_base=10_000.0,
        market=MarketFacts(
            regime=Regime.CAUTION,
            condition=Condition.SIDEWAYS,
            favoured="CHANNEL",
            volatility=0.0423,
            reference="BTC",
            reference_price=64_210.5,
            reference_change=-0.012,
            rising=7,
            symbols=20,
        ),
        positions=(position(), position("BTC", price=140.0, pnl_quote=-2.1, return_net=-0.0105)),
        strategies=tuple(
            StrategyFacts(name=name, off="volatility" if name == "CHANNEL" else "", nearest=nearest)
            for name in ("DCA", "SWING", "CHANNEL")
        ),
        decisions=(
            DecisionFacts(
                time_ms=START_MS, kind=Kind.TAKEN, coin="SOL", strategy="DCA", words="fell 3.40 % in 4 h"
            ),
            DecisionFacts(
                time_ms=START_MS, kind=Kind.MARKET, coin="", strategy="", words="PANIC: no entries"
            ),
        ),
        trades=(
            TradeFacts(
                time_ms=START_MS,
                coin="WIF",
                strategy="SWING",
                exit_reason="stop_loss",
                pnl_quote=-24.1,
                return_net=-0.12,
                age_ms=HOUR_MS,
            ),
        ),
        n_trades=31,
        n_wins=17,
        fees_quote=81.2,
        slippage_quote=44.4,
    )
    return replace(shown, **changes)  # type: ignore[arg-type]  # the fields are checked when the facts are built


def drawn(renderable: object, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, record=True)
    console.print(renderable)
    text = console.export_text()
    assert text.endswith("\n")
    return text[:-1].split("\n")


# ------------------------------------------------------------------------------------------ the view


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (100, 30), (110, 34), (120, 40), (140, 36), (210, 60)])
def test_the_view_fills_its_terminal_exactly_and_always_says_that_the_market_is_synthetic(size):
    width, height = size
    held = tuple(position(f"C{n}") for n in range(30))
    for shown in (snapshot(), snapshot(positions=held), snapshot(positions=(), decisions=(), trades=())):
        lines = drawn(render(shown, width=width, height=height), width, height)
        assert len(lines) == height
        assert max(len(line) for line in lines) <= width
        assert "SYNTHETIC MARKET" in lines[0]


def test_at_80_by_24_everything_that_matters_is_there():
    text = "\n".join(drawn(render(snapshot(), width=80, height=24), 80, 24))
    for expected in (
        "2025-03-07 14:35 UTC",
        "day 7 of 10",
        "x19,200",
        "10,897.00 USD",
        "+897.00 (+8.97 %)",
        "CAUTION",
        "vol 4.23 %",
        "BTC 64,210.5 -1.20 %",
        "7/20 up",
        "145.20",  # now
        "131.20",  # stop
        "152.30",  # target
        "+6.20",
        "2h05",
        "95 READY",
        "64 CLOSE",
        "31 NEUTRAL",
        "BUY",
        "fell 3.40 % in 4 h",
        "31, 17 won, 14 lost",
        "stop loss",
    ):
        assert expected in text, expected


def test_at_120_by_40_it_also_tells_entries_cash_and_what_each_symbol_lacks():
    text = "\n".join(drawn(render(snapshot(), width=120, height=40), 120, 40))
    for expected in ("142.31", "2/5", "5,123.10", "invested", "4 WAITING", "volume", "off: volatility"):
        assert expected in text, expected


def test_positions_that_do_not_fit_are_counted_and_added_up():
    held = tuple(position(f"C{n}", pnl_quote=1.5) for n in range(30))
    lines = drawn(render(snapshot(positions=held), width=80, height=24), 80, 24)
    shown = sum(line.startswith("C") and " DCA " in line for line in lines)
    rest = 30 - shown
    assert any(line.startswith(f"and {rest} more, +{1.5 * rest:.2f} together") for line in lines)


def test_a_terminal_that_is_too_small_says_how_large_it_must_be():
    text = " ".join(" ".join(drawn(render(snapshot(), width=40, height=10), 40, 10)).split())
    assert "SYNTHETIC" in text
    assert "at least 60 x 16" in text


@pytest.mark.parametrize(
    ("readiness", "word", "style"),
    [(100, "READY", "green"), (80, "READY", "green"), (79.9, "CLOSE", "yellow"), (60, "CLOSE", "yellow"),
     (59.9, "NEUTRAL", "blue"), (30, "NEUTRAL", "blue"), (29.9, "WAITING", "bright_black")],
)  # fmt: skip
def test_readiness_has_the_words_and_colours_of_the_dashboard(readiness, word, style):
    assert charts.readiness_style(readiness) == (word, style)


# ------------------------------------------------------------------------------------------ drawings


def plain(lines: list[Text]) -> list[str]:
    return [line.plain for line in lines]


def test_a_curve_rises_green_above_its_base_and_hangs_red_below_it():
    # Base 100, two lines above and two below, one line for each 10: 120 fills both, 115 one and a half,
    # 90 one below, 80 two. What has not happened yet is dotted on the base.
    values = np.array([120.0, 115.0, 100.0, 90.0, 80.0, np.nan])
    lines = charts.area_chart(values, width=6, height=4, base=100.0)
    assert plain(lines) == [
        "█▄    ",
        "██▁  ┈",
        "   ██ ",
        "    █ ",
    ]
    assert lines[0].spans[0].style == "green"
    assert {span.style for span in lines[3].spans} >= {"red"}


def test_a_flat_curve_does_not_look_like_a_drama():
    lines = charts.area_chart(np.array([10_000.0, 10_000.4]), width=2, height=2, base=10_000.0)
    assert plain(lines) == ["  ", "▁▁"]


def test_a_curve_that_only_fell_hangs_from_the_top():
    lines = charts.area_chart(np.array([100.0, 80.0]), width=2, height=3, base=100.0)
    assert plain(lines)[0] == "▁ "
    assert plain(lines)[1:] == [" █", " █"]


def test_the_gauge_runs_from_stop_to_target():
    # Stop 90, target 110 on eleven places: entry 100 stands in the middle, 106 on the ninth.
    gauge = charts.stop_to_target(stop=90.0, entry=100.0, price=106.0, target=110.0, width=11)
    assert gauge.plain == "─────┿━━●──"
    fallen = charts.stop_to_target(stop=90.0, entry=100.0, price=80.0, target=110.0, width=11)
    assert fallen.plain == "●━━━━┿─────"
    assert any(span.style == "bold red" for span in fallen.spans)


def test_bars_and_lines_fill_in_proportion():
    assert charts.level_bar(0.75, width=4, style="green").plain == "━━━─"
    assert charts.level_bar(0.625, width=4, style="green").plain == "━━╸─"
    assert charts.level_bar(2.0, width=4, style="green").plain == "━━━━"
    assert charts.progress_bar(0.5, width=4, style="cyan").plain == "━━──"


# ------------------------------------------------------------------------------------------ words


def test_every_reason_of_the_portfolio_has_words_of_its_own():
    told = {
        reason: words.refusal(reason, "DCA", 0.12, 0.1, START_MS)
        for reason in Reason
        if reason >= Reason.UNSUPPORTED_SIDE
    }
    assert len(set(told.values())) == len(told)
    assert all(reason.code.replace("_", " ") != text for reason, text in told.items())


def test_refusals_carry_the_numbers_that_decided():
    assert (
        words.refusal(Reason.SHARE_USED, "DCA", 3561.2, 3233.8, 0)
        == "its share is used: 3,561 would exceed 3,234"
    )
    assert words.refusal(Reason.CONFIDENCE_LOW, "DCA", 0.41, 0.45, 0) == "confidence 0.41, needs 0.45"
    wait = words.refusal(Reason.COOLDOWN, "DCA", START_MS, START_MS + 5 * HOUR_MS, START_MS)
    assert wait.endswith("cools down 5h00 more")


def test_entries_say_what_each_strategy_saw():
    assert (
        words.entry("DCA", {"drop": 0.034, "volume_ratio": 1.84}, 0.7)
        == "fell 3.40 % in 4 h, volume 1.8x, conf 0.70"
    )
    swing = words.entry("SWING", {"breakout": 1.012, "volume_ratio": 2.0}, 0.5)
    assert swing == "1.20 % above resistance, volume 2.0x, conf 0.50"
    channel = words.entry("CHANNEL", {"place": 0.08, "strength": 0.81}, 0.5)
    assert channel == "at 8 % of a channel of strength 0.81, conf 0.50"
    assert words.entry("MINE", {}, 0.5) == "MINE setup, conf 0.50"


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


def looked(world: World, simulator: Simulator, step: int) -> list[Snapshot]:
    shown: list[Snapshot] = []
    leap(
        simulator,
        Observer(world, simulator, 80.0),
        rows_per_step=step,
        show=shown.append,
        stop_wanted=lambda: False,
    )
    return shown


def test_watching_changes_nothing(world: World, simulator: Simulator):
    looked(world, simulator, 37)
    watched, unwatched = simulator.result(), simulate_portfolio(world.scenario)
    for name in ("fills", "trades", "open_trades", "decisions"):
        one, other = getattr(watched, name), getattr(unwatched, name)
        for field in one.dtype.names:
            assert one[field].tobytes() == other[field].tobytes(), f"{name}.{field}"
    for name in ("equity_e8", "cash_e8", "reserved_e8"):
        assert np.array_equal(getattr(watched, name), getattr(unwatched, name)), name


def test_every_frame_adds_up_and_shows_nothing_that_has_not_happened(world: World, simulator: Simulator):
    frames = looked(world, simulator, 45)
    assert len(frames) == 64  # 2,880 minutes
    assert frames[-1].n_trades > 0
    assert any(frame.positions for frame in frames)
    marked = sum(
        float(trade["open_quantity"] * simulator.state.coins["last_close"][trade["symbol"]])
        for trade in simulator.positions()
    )
    assert frames[-1].cash + frames[-1].reserved + marked == pytest.approx(frames[-1].equity, abs=0.01)
    for frame in frames:
        assert all(line.time_ms <= frame.time_ms for line in frame.decisions)
        assert all(trade.time_ms < frame.time_ms for trade in frame.trades)
        assert all(held.age_ms > 0 for held in frame.positions)
        reached = round(480 * frame.progress)
        assert np.isnan(frame.equity_curve[reached:]).all()
        times = [line.time_ms for line in frame.decisions]
        assert times == sorted(times, reverse=True)


def test_a_coin_that_is_not_listed_yet_does_not_appear(world: World, simulator: Simulator):
    early = looked(world, simulator, 60)[0]
    assert early.market.symbols == 19
    assert all(each.coin != "IMX" for strategy in early.strategies for each in strategy.nearest)


def test_the_crash_is_told(world: World, simulator: Simulator):
    frames = looked(world, simulator, 60)
    told = [line.words for frame in frames for line in frame.decisions if line.kind is Kind.MARKET]
    assert any(text.startswith("PANIC") for text in told)
    assert Regime.PANIC in {frame.market.regime for frame in frames}


def test_a_run_that_is_stopped_is_measured_up_to_there(world: World, simulator: Simulator):
    shown: list[Snapshot] = []
    play(
        simulator,
        Observer(world, simulator, 80.0),
        hours_per_second=100.0,
        show=shown.append,
        stop_wanted=lambda: len(shown) >= 3,
    )
    so_far = outcome(world, simulator)
    assert len(shown) == 3
    assert so_far.interrupted
    assert 0 < len(so_far.scenario.panel) < len(world.scenario.panel)
    assert so_far.figures.equity_final == pytest.approx(shown[-1].equity)
    assert (so_far.scenario.setups["time_ms"] <= so_far.end_ms).all()
    assert so_far.figures.setups < int((world.scenario.setups["kind"] == 1).sum())
    text = "\n".join(drawn(summary(so_far, home=None, width=80, drawn=True), 80, 24))
    assert "Stopped after" in text
    assert "SYNTHETIC MARKET" in text


def test_the_summary_names_only_commands_that_exist(world: World, simulator: Simulator):
    simulator.run_until(len(world.scenario.panel))
    lines = drawn(summary(outcome(world, simulator), home=Path("here"), width=80, drawn=False), 80, 24)
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
    code, out, err = run("--days", "2", "--no-record")
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


def test_a_speed_that_never_ends_is_refused(run: Command):
    code, _, err = run("--speed", "0")
    assert code == 2
    assert "would never end" in err


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent as a POSIX signal")
def test_ctrl_c_ends_with_the_summary_so_far_and_a_whole_record(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "crypto_tracker",
        "--home",
        str(tmp_path),
        "demo",
        "--days",
        "9",
        "--speed",
        "3",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "market opens" in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Stopped after 0." in out
    assert "What to type next" in out
    assert "Traceback" not in err
    store = RunStore.open_to_read(tmp_path / "demo" / "seed-3-9d")
    assert store is not None
    assert store.counts(1)["setups"] >= 0
    store.close()


def test_numbers_that_are_not_known_yet_are_dashes():
    early = snapshot(
        speed=math.nan,
        market=replace(
            snapshot().market, volatility=math.nan, reference_price=math.nan, reference_change=math.nan
        ),
    )
    text = "\n".join(drawn(render(early, width=80, height=24), 80, 24))
    assert "vol -" in text
    assert "nan" not in text
