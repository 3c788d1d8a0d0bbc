"""`lookahead-analysis` and `recursive-analysis`: everything is listed, cheats are caught, plug-ins too."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from crypto_tracker.app.cli.main import main
from crypto_tracker.app.grounds import END_MS, START_MS, synthetic_ground
from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.timeframes import DAY_MS, Timeframe, from_ms
from crypto_tracker.features.standard import STANDARD
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.strategies.registry import builtin

BUILT_IN = ["DCA", "SWING", "CHANNEL"]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["--home", str(home), *arguments])
        captured = capsys.readouterr()
        code = ended.value.code
        return (0 if code is None else int(code)), captured.out, captured.err

    return command


# A plug-in as a user writes it. Its rule stands in SIGNAL, computed from `close`, `high` and `hours`.
PLUGIN = '''
from typing import ClassVar

import numpy as np

from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.features import indicators
from crypto_tracker.features.align import align, known_rows
from crypto_tracker.strategies.base import Detection, Features, Plan


class Nothing(Frozen):
    """No parameters."""


class Plugin:
    name: ClassVar = "PLUGIN_NAME"
    timeframe: ClassVar = Timeframe.M15
    warmup: ClassVar = {Timeframe.M15: BARS_NEEDED, Timeframe.H1: 10}
    reference_warmup: ClassVar = {}
    parameters_model: ClassVar = Nothing

    def features(self, market):
        panel, hours = market.panels[Timeframe.M15], market.panels[Timeframe.H1]
        close, high = panel.close, panel.high
        SIGNAL
        ready = np.asfortranarray(np.isfinite(signal))
        return Features(panel=panel, instruments=market.instruments, values={"signal": signal}, ready=ready)

    def detect(self, features, parameters):
        signal = features.values["signal"]
        setup = features.ready & (signal > 0)
        reason = np.where(setup, Reason.ACCEPTED, Reason.RULE_NOT_MET).astype(np.int8)
        reason[~features.ready] = Reason.NOT_READY
        readiness = np.where(features.ready, 100.0 * setup, np.nan)
        one = np.ones((1, 1))
        plan = Plan(
            size_quote=100.0 * one, levels=np.ones((1, 1), dtype=np.int64), spacing=0.0 * one,
            take_profit=0.05 * one, stop_loss=0.05 * one, trailing=0.0 * one,
            max_hold_ms=np.full((1, 1), 3_600_000), max_entry_gap=np.nan * one,
        )
        return Detection(
            strategy=self.name, panel=features.panel, setup=setup, reason=reason, readiness=readiness,
            confidence=readiness / 100.0, measurements={"signal": signal}, plan=plan,
        )

    def explain(self, detection, features, parameters, row, column):
        return []
'''

HONEST = "signal = indicators.change(close, indicators.rolling_mean(close, window=20))"
CHEATS = {
    "ONE_BAR_EARLY": "signal = np.vstack([close[1:] / close[:-1] - 1, np.full((1, close.shape[1]), np.nan)])",
    "UNCONFIRMED_PIVOT": (
        "signal = np.zeros(close.shape); "
        "signal[2:-2] = (high[2:-2] > np.maximum(high[:-4], high[1:-3])) "
        "& (high[2:-2] > np.maximum(high[3:-1], high[4:]))"
    ),
    "WHOLE_COLUMN_MEAN": "signal = close - np.nansum(close, axis=0) / len(close)",
    "WHOLE_COLUMN_MAX": "signal = close / np.fmax.reduce(close, axis=0) - 0.5",
    "OPEN_TIME_JOIN": (
        "signal = close - hours.close[np.maximum(known_rows(hours.open_time_ms, panel.open_time_ms), 0)]"
    ),
}


@pytest.fixture
def plugin(home: Path) -> Callable[..., str]:
    """Write a plug-in into HOME/strategies; a module keeps its name, so every test needs one of its own."""

    def write(name: str, signal: str, *, warmup: int = 200) -> str:
        folder = home / "strategies"
        folder.mkdir(parents=True, exist_ok=True)
        text = (
            PLUGIN.replace("PLUGIN_NAME", name).replace("BARS_NEEDED", str(warmup)).replace("SIGNAL", signal)
        )
        (folder / f"analysed_{name.lower()}.py").write_text(text, encoding="utf-8")
        return name

    return write


# ------------------------------------------------------------------------------ what is listed


@pytest.mark.parametrize("command", [["lookahead-analysis", "--cuts", "2"], ["recursive-analysis"]])
def test_all_29_features_and_all_strategies_are_listed_by_name_and_found_clean(run, command):
    code, out, _ = run(*command, "--json")
    rows = json.loads(out)
    assert code == 0
    assert [row["name"] for row in rows] == [*STANDARD.names, *BUILT_IN]
    assert [row["kind"] for row in rows] == ["feature"] * 29 + ["strategy"] * 3
    assert all(row["ok"] is True and row["found"] == [] for row in rows)
    assert rows[0]["timeframes"] == ["5m", "15m", "1h"]
    assert {row["name"]: row["timeframes"] for row in rows[29:]} == {
        "DCA": ["5m"],
        "SWING": ["15m"],
        "CHANNEL": ["15m"],
    }


def test_one_strategy_can_be_asked_about_alone(run):
    code, out, _ = run("lookahead-analysis", "--strategy", "channel", "--cuts", "1")
    assert code == 0
    assert re.search(r"CHANNEL +strategy +15m +ok", out)
    assert "DCA" not in out
    assert "rsi_14" not in out
    assert "a synthetic market of 6 coins (seed 1)" in out


def test_a_strategy_that_nobody_knows_is_wrong_usage(run):
    code, out, err = run("lookahead-analysis", "--strategy", "SWINGG")
    assert code == 2
    assert out == ""
    assert "no strategy is named SWINGG: there are DCA, SWING, CHANNEL" in err


# ----------------------------------------------------------------------------------- plug-ins


def test_an_honest_plug_in_of_the_user_is_proven_like_the_others(run, plugin):
    name = plugin("HONEST_MEAN", HONEST)
    for command in ("lookahead-analysis", "recursive-analysis"):
        code, out, _ = run(command, "--strategy", name, "--json")
        assert code == 0
        assert [(row["name"], row["ok"]) for row in json.loads(out)] == [(name, True)]


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheating_plug_in_ends_with_exit_code_3_and_is_named_with_both_values(run, plugin, cheat):
    name = plugin(cheat, CHEATS[cheat])
    code, out, err = run("lookahead-analysis", "--strategy", name, "--cuts", "4", "--json")
    (row,) = json.loads(out)
    assert code == 3
    assert f"1 of 1 checked looks ahead: {name}" in err
    assert row["ok"] is False
    found = {each["value"]: each for each in row["found"]}
    signal = found["feature signal"]
    assert signal["question"] in {"cut", "disturbed"}
    assert signal["less"] != signal["more"]
    assert signal["time"] <= signal["moment"]
    assert signal["sentence"].startswith("on 15m, feature signal of ")
    assert "measurement signal" in found


def test_a_cheat_is_shown_beside_the_honest_ones(run, plugin):
    cheat = plugin("SHOWN_CHEAT", CHEATS["ONE_BAR_EARLY"])
    honest = plugin("SHOWN_HONEST", HONEST)
    code, out, err = run("lookahead-analysis", "--strategy", cheat, "--strategy", honest, "--cuts", "2")
    assert code == 3
    assert re.search(rf"{cheat} +strategy +15m +FOUND +on 15m, ", out)
    assert re.search(rf"{honest} +strategy +15m +ok", out)
    assert f"1 of 2 checked looks ahead: {cheat}" in err


def test_a_plug_in_that_declares_too_short_a_warm_up_is_found(run, plugin):
    slow_mean = "signal = indicators.change(close, indicators.ema(close, window=100))"
    short = plugin("SHORT_WARMUP", slow_mean, warmup=120)
    code, out, err = run("recursive-analysis", "--strategy", short, "--json")
    assert code == 3, err
    (row,) = json.loads(out)
    assert code == 3
    assert f"1 of 1 checked needs more history or depends on the span: {short}" in err
    assert {each["question"] for each in row["found"]} == {"warmup"}
    assert "with the declared warm-up before" in row["found"][0]["sentence"]

    enough = plugin("LONG_WARMUP", slow_mean, warmup=700)
    assert run("recursive-analysis", "--strategy", enough)[0] == 0


def test_a_difference_within_the_tolerance_is_allowed(run, plugin):
    slow_mean = "signal = indicators.change(close, indicators.ema(close, window=100))"
    name = plugin("TOLERATED", slow_mean, warmup=400)
    assert run("recursive-analysis", "--strategy", name, "--tolerance", "0.05")[0] == 0
    assert run("recursive-analysis", "--strategy", name, "--tolerance", "0")[0] == 3


# --------------------------------------------------------------------------------- stored bars


@pytest.fixture
def stored(home: Path) -> None:
    """Minutes of three coins in the store under HOME."""
    configuration = load_configuration(
        {name: strategy.parameters_model for name, strategy in builtin().items()},
        file=None,
        environment={},
        assignments=[],
    ).tree
    ground = synthetic_ground(5, gaps=False, quote="USD", reference="BTC")
    symbols, start_ms = ground.symbols[:3], START_MS - 65 * DAY_MS
    minutes = ground.source.panel(symbols, Timeframe.M1, start_ms, END_MS)
    clock = ManualClock(from_ms(END_MS))
    with BarStore.open(home, market_data=configuration.market_data, clock=clock) as store:
        for symbol in symbols:
            batch = BarBatch.of_column(minutes, symbol)
            store.write("synthetic", symbol, Timeframe.M1, batch, [(start_ms, END_MS)])


@pytest.mark.usefixtures("stored")
def test_stored_bars_are_used_where_the_options_speak_of_them(run):
    code, out, _ = run(
        "lookahead-analysis", "--pairs", "ETH/USD", "--timerange", "20250303-20250306", "--cuts", "1"
    )
    assert code == 0
    assert "stored bars of 1 symbols, base 1m, 2025-03-03 00:00 to 2025-03-06 00:00 UTC" in " ".join(
        out.split()
    )
    code, out, _ = run("recursive-analysis", "--strategy", "CHANNEL", "--pairs", "ETH/USD,SOL/USD")
    assert code == 0
    assert "stored bars of 2 symbols, base 1m, 2025-02-26 00:00 to 2025-03-07 00:00 UTC" in " ".join(
        out.split()
    )


@pytest.mark.usefixtures("stored")
def test_too_little_stored_history_is_said_and_not_passed_over(run):
    code, _, err = run("recursive-analysis", "--strategy", "SWING", "--pairs", "ETH/USD")
    assert code == 1
    assert "no symbol has bars without a gap over twice the declared warm-up" in " ".join(err.split())


def test_without_stored_bars_the_options_that_speak_of_them_fail(run):
    code, _, err = run("lookahead-analysis", "--pairs", "BTC/USD")
    assert code == 1
    assert "there are no bars" in err


def test_the_configuration_decides_what_is_proven(run, home):
    home.mkdir()
    (home / "config.toml").write_text("[strategies.DCA]\nlevels = 0\n", encoding="utf-8")
    assert run("lookahead-analysis", "--strategy", "DCA", "--cuts", "1")[0] == 2
