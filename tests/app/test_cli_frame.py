"""The frame of the command line: exit codes, where output goes, options, times and spans."""

import json
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import typer

from crypto_tracker import __version__
from crypto_tracker.app.cli.common import (
    emit_json,
    failures_as_exit_codes,
    parse_pairs,
    parse_time,
    parse_timerange,
)
from crypto_tracker.app.cli.main import build, global_options_first, main
from crypto_tracker.core.errors import (
    CheckFailed,
    ConfigError,
    CryptoTrackerError,
    DataError,
    SimulationError,
    StoreError,
    UsageError,
)


class Run:
    """The command line, run in this process."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        with pytest.raises(SystemExit) as ended:
            main(["--home", str(self.home), *arguments])
        captured = self._capsys.readouterr()
        code = ended.value.code
        return (0 if code is None else int(code)), captured.out, captured.err


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(tmp_path / "home", capsys)


# ------------------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (ConfigError("x"), 2),
        (CheckFailed("x"), 3),
        (DataError("x"), 1),
        (StoreError("x"), 1),
        (SimulationError("x"), 1),
        (CryptoTrackerError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_class_of_failure_has_its_exit_code(error: BaseException, code: int):
    with pytest.raises(SystemExit) as ended, failures_as_exit_codes():
        raise error
    assert ended.value.code == code


def test_a_failure_is_one_sentence_on_standard_error_and_shows_no_traceback(
    capsys: pytest.CaptureFixture[str],
):
    long = "the file [bold]bars.csv[/bold] ends in the middle of a line: " + "x" * 200
    with pytest.raises(SystemExit), failures_as_exit_codes():
        raise DataError(long)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == long + "\n"


def test_a_mistake_of_ours_is_not_hidden():
    with pytest.raises(ZeroDivisionError), failures_as_exit_codes():
        raise ZeroDivisionError


def test_ctrl_c_ends_a_command_with_130_and_no_traceback(capsys: pytest.CaptureFixture[str]):
    from crypto_tracker.app.cli.common import command

    app = build()

    def interrupted() -> None:
        raise KeyboardInterrupt

    command(app, "interrupted")(interrupted)
    with pytest.raises(SystemExit) as ended:
        app(["interrupted"])
    assert ended.value.code == 130
    assert capsys.readouterr().err == "\nInterrupted.\n"


def test_an_unknown_command_or_option_is_wrong_use(run: Run):
    assert run("bactest")[0] == 2
    code, out, err = run("show-config", "--jsn")
    assert (code, out) == (2, "")
    assert "--jsn" in err


# ------------------------------------------------------------------------------------------ the frame itself


def test_help_lists_every_command_and_the_exit_codes(run: Run):
    code, out, _ = run("--help")
    assert code == 0
    for word in ("new-config", "show-config", "--home", "--config", "--set", "Exit codes"):
        assert word in out


def test_every_command_has_a_help_that_teaches(run: Run):
    app = typer.main.get_command(build())
    for name, command in app.commands.items():
        assert command.help, f"{name} explains nothing"
        code, out, _ = run(name, "--help")
        assert code == 0
        assert "Usage" in out


def test_the_list_of_commands_says_of_each_the_whole_of_its_first_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    text = " ".join(run("--help")[1].partition("Commands:")[2].split())
    assert "..." not in text
    for command in typer.main.get_command(build()).commands.values():
        assert command.help.partition("\n")[0] in text


def test_examples_fit_a_terminal_and_are_commands_that_exist(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    commands = typer.main.get_command(build()).commands
    for name in ("import-data", "backtest", "explain"):
        lines = run(name, "--help")[1].splitlines()
        assert all(len(line) <= 80 for line in lines)
        examples = [line.split() for line in lines[lines.index("  Examples:") + 1 :]]
        assert examples
        options = {option for parameter in commands[name].params for option in parameter.opts} | {"--set"}
        for program, named, *arguments in examples:
            assert (program, named) == ("crypto-tracker", name)
            assert {word for word in arguments if word.startswith("-")} <= options


def test_every_command_can_speak_json_but_services_without_an_end_and_what_is_json_anyway():
    app = typer.main.get_command(build())
    without = [
        name
        for group, command_or_group in app.commands.items()
        for name, command in getattr(command_or_group, "commands", {group: command_or_group}).items()
        if "--json" not in {o for p in command.params for o in p.opts}
    ]
    assert sorted(without) == ["collect", "openapi", "up", "web"]


def test_the_version_is_that_of_the_package(run: Run):
    assert run("--version") == (0, f"crypto-tracker {__version__}\n", "")


def test_the_module_can_be_run_and_help_imports_nothing_heavy():
    script = (
        "import sys, runpy\n"
        "sys.argv = ['crypto-tracker', '--help']\n"
        "try:\n    runpy.run_module('crypto_tracker', run_name='__main__')\n"
        "except SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "heavy = {'numpy', 'numba', 'polars', 'pyarrow', 'sqlalchemy', 'talib', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'--help imports {sorted(heavy)}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "show-config" in done.stdout


def test_global_options_may_stand_behind_the_command():
    assert global_options_first(["backtest", "--home", "a", "-c", "b", "--json", "--set=x.y=1"]) == [
        *("--home", "a", "-c", "b", "--set=x.y=1"),
        *("backtest", "--json"),
    ]
    assert global_options_first(["x", "--", "--home", "a"]) == ["x", "--", "--home", "a"]


def test_the_home_is_the_option_then_the_variable_then_user_data(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert run("new-config")[0] == 0
    assert (run.home / "config.toml").is_file()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYPTO_TRACKER_HOME", "named")
    for folder in ("named", "user_data"):
        with pytest.raises(SystemExit):
            main(["new-config"])
        assert (tmp_path / folder / "config.toml").is_file()
        monkeypatch.delenv("CRYPTO_TRACKER_HOME", raising=False)


def test_a_home_that_is_a_file_is_not_taken_for_an_empty_one(run: Run):
    run.home.write_text("something else")
    code, out, err = run("list-data", "--json")
    assert (code, out) == (2, "")
    assert err == f"the home {run.home} is a file: name a folder with --home\n"


def test_a_span_of_no_length_is_called_empty():
    with pytest.raises(UsageError, match="is empty: the end is exclusive and must be later"):
        parse_timerange("20250801-20250801")


# ------------------------------------------------------------------------------------------- configuration


def test_the_configuration_that_new_config_writes_is_the_default(run: Run):
    before = json.loads(run("show-config", "--json")[1])
    code, out, _ = run("new-config")
    assert code == 0
    assert "config.toml" in out
    after = json.loads(run("show-config", "--json")[1])
    assert before["version"] == after["version"]
    assert {key: entry["value"] for key, entry in before["values"].items()} == {
        key: entry["value"] for key, entry in after["values"].items()
    }
    entry = after["values"]["trading.capital_quote"]
    assert (entry["origin"], entry["value"]) == ("file", 10_000.0)
    written = (run.home / "config.toml").read_text().splitlines()
    assert written[entry["line"] - 1].startswith("capital_quote")


def test_changed_are_values_that_differ_from_the_default_and_not_those_that_a_file_repeats(run: Run):
    assert run("new-config")[0] == 0
    target = run.home / "config.toml"
    whole = target.read_text()
    assert json.loads(run("show-config", "--changed", "--json")[1])["values"] == {}
    target.write_text(whole.replace("max_open = 150", "max_open = 7"))
    changed = json.loads(run("show-config", "--changed", "--json", "--set", "costs.taker_fee=0.003")[1])
    assert {key: entry["value"] for key, entry in changed["values"].items()} == {"limits.max_open": 7}


def test_new_config_does_not_overwrite_unless_told_to(run: Run):
    run("new-config")
    target = run.home / "config.toml"
    target.write_text("[limits]\nmax_open = 7\n")
    code, _, err = run("new-config")
    assert code == 2
    assert "--force" in err
    assert target.read_text() == "[limits]\nmax_open = 7\n"
    assert run("new-config", "--force")[0] == 0
    assert "max_open = 150" in target.read_text()


def test_the_command_line_is_stronger_than_the_environment_and_that_than_the_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "mine.toml"
    file.write_text("[limits]\nmax_open = 7\nmax_open_per_strategy = 6\nreserve = 0.5\n")
    monkeypatch.setenv("CRYPTO_TRACKER__LIMITS__MAX_OPEN", "8")
    monkeypatch.setenv("CRYPTO_TRACKER__LIMITS__MAX_OPEN_PER_STRATEGY", "5")
    code, out, _ = run("-c", str(file), "--set", "limits.max_open=9", "show-config", "--json", "--changed")
    assert code == 0
    values = json.loads(out)["values"]
    assert {key: (entry["value"], entry["origin"]) for key, entry in values.items()} == {
        "limits.max_open": (9, "command line"),
        "limits.max_open_per_strategy": (5, "environment"),
        "limits.reserve": (0.5, "file"),
    }
    assert values["limits.reserve"]["source"] == str(file)
    assert values["limits.reserve"]["line"] == 4


def test_an_unknown_key_ends_with_2_and_the_key_that_was_meant(run: Run):
    code, out, err = run("--set", "limits.max_opn=3", "show-config", "--json")
    assert (code, out) == (2, "")
    assert err == "unknown key limits.max_opn (--set limits.max_opn): did you mean limits.max_open?\n"


def test_a_configuration_that_is_named_must_exist(run: Run, tmp_path: Path):
    code, _, err = run("--config", str(tmp_path / "none.toml"), "show-config")
    assert code == 2
    assert err == f"there is no configuration {tmp_path / 'none.toml'}: new-config writes one\n"


def test_show_config_writes_toml_that_says_where_values_come_from(run: Run):
    code, out, _ = run("--set", "limits.max_open=9", "show-config")
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("max_open ="))
    assert line.split() == ["max_open", "=", "9", "#", "--set", "limits.max_open"]
    assert tomllib.loads(out)["limits"]["max_open"] == 9
    assert (
        f"# configuration version {json.loads(run('--set', 'limits.max_open=9', 'show-config', '--json')[1])['version']}"
        in out
    )


def test_the_schema_is_a_json_document(run: Run):
    code, out, err = run("show-config", "--schema")
    assert (code, err) == (0, "")
    schema = json.loads(out)
    assert schema["properties"]["limits"]["properties"]["max_open"]["default"] == 150


def test_what_new_config_writes_is_toml_with_a_comment_for_every_section(run: Run):
    run("new-config")
    text = (run.home / "config.toml").read_text()
    assert set(tomllib.loads(text)) >= {"trading", "universe", "limits", "protection", "costs", "fills"}
    assert text.count("#") > 60


# ------------------------------------------------------------------------------------- results and arguments


@pytest.mark.parametrize(
    "asked",
    [
        ("backtest",),
        ("backtest", "--timerange", "2025-08-01"),
        ("backtest", "--rerun", "none.json"),
        ("compare", "a", "b"),
        ("scorecard", "--bundle", "none.json"),
        ("explain", "BTC/USD"),
        ("optimize", "--timeframe", "7m"),
        ("show-config", "--set", "limits.max_opn=3"),
        ("import-data", "none.parquet"),
        ("status",),
        ("trades",),
    ],
)
def test_a_command_that_fails_writes_its_sentence_and_no_document(run: Run, asked: tuple[str, ...]):
    code, out, err = run(*asked, "--json")
    assert code in {1, 2}
    assert out == ""
    assert err.strip()
    assert "Traceback" not in err


def test_json_has_null_where_a_number_does_not_exist(capsys: pytest.CaptureFixture[str]):
    emit_json(
        {
            "nan": float("nan"),
            "array": np.array([1.5, np.inf]),
            "count": np.int64(3),
            "yes": np.bool_(True),
            "when": datetime(2025, 8, 1, tzinfo=UTC),
            "path": Path("a"),
            "pair": ("x", 1),
        }
    )
    assert json.loads(capsys.readouterr().out) == {
        "nan": None,
        "array": [1.5, None],
        "count": 3,
        "yes": True,
        "when": "2025-08-01T00:00:00Z",
        "path": "a",
        "pair": ["x", 1],
    }


def test_a_span_ends_before_its_end():
    span = parse_timerange("20250801-20250901")
    assert span.start_ms == 1_754_006_400_000
    assert span.end_ms == 1_756_684_800_000
    assert (span.end_ms - span.start_ms) == 31 * 86_400_000


def test_a_span_may_be_open_on_either_side_and_exact_to_the_minute():
    assert parse_timerange("20250801-").end is None
    assert parse_timerange("-20250801").start is None
    assert parse_timerange("20250801T1230-20250801T1231").end == datetime(2025, 8, 1, 12, 31, tzinfo=UTC)
    assert parse_timerange(None).start_ms is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "20250801",
        "20250901-20250801",
        "20250801-20250801",
        "20251301-",
        "2025-08-01",
        "x-y",
        "202508-",
    ],
)
def test_what_is_no_span_is_refused(text: str):
    with pytest.raises(UsageError, match="--timerange"):
        parse_timerange(text)


def test_a_time_without_a_zone_is_utc():
    noon = datetime(2025, 8, 1, 12, tzinfo=UTC)
    for text in ("2025-08-01T12:00", "2025-08-01 12:00Z", "2025-08-01T14:00+02:00"):
        assert parse_time(text) == noon
    with pytest.raises(UsageError, match="no time"):
        parse_time("noon")


def test_pairs_keep_their_order_and_are_named_once():
    assert parse_pairs("ETH/USDT, BTC/USDT,ETH/USDT") == ("ETH/USDT", "BTC/USDT")
    assert parse_pairs(None) == ()
    with pytest.raises(UsageError):
        parse_pairs(" , ")
