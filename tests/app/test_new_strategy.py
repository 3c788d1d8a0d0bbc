"""`new-strategy` and `list-strategies`: a strategy of one's own, from nothing to being scanned."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crypto_tracker.app.cli.main import build

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def plug_ins_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What one test has loaded from its folder is unknown to the next, as it would be to another process."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in {"mean_cross", "my_file", "my_package", "broken_one"}:
            del sys.modules[name]


@dataclass
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def run(home: Path, *arguments: str) -> Ended:
    result = CliRunner().invoke(build(), ["--home", str(home), *arguments])
    return Ended(result.exit_code, result.stdout, result.stderr)


def listed(home: Path) -> dict[str, dict[str, Any]]:
    result = run(home, "list-strategies", "--json")
    assert result.returncode == 0, result.stderr
    return {row["name"]: row for row in json.loads(result.stdout)}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the strategy MEAN_CROSS has been made."""
    place = tmp_path_factory.mktemp("home")
    result = run(place, "new-strategy", "Mean-Cross")
    assert result.returncode == 0, result.stderr
    assert "Without a share of the capital it opens nothing" in result.stdout
    assert "MEAN_CROSS = 0.10" in result.stdout
    return place


def test_the_built_in_strategies_are_listed(tmp_path: Path):
    rows = listed(tmp_path)
    assert list(rows) == ["DCA", "SWING", "CHANNEL"]
    assert rows["SWING"]["warmup"] == {"15m": 250, "4h": 300}
    assert rows["DCA"] | {"description": ""} == {
        "name": "DCA",
        "timeframe": "5m",
        "warmup": {"5m": 48},
        "state": "on",
        "share": 0.4,
        "origin": "built in",
        "description": "",
    }
    shown = run(tmp_path, "list-strategies")
    assert "CHANNEL" in shown.stdout


def test_a_new_strategy_is_found_where_it_lies(home: Path):
    row = listed(home)["MEAN_CROSS"]
    assert (row["state"], row["share"], row["origin"]) == ("idle", None, "mean_cross:MeanCross")


def test_its_numbers_are_part_of_the_configuration(home: Path):
    result = run(home, "--set", "strategies.MEAN_CROSS.size_quote=55", "show-config", "--json")
    assert result.returncode == 0, result.stderr
    values = json.loads(result.stdout)["values"]
    assert values["strategies.MEAN_CROSS.size_quote"]["value"] == 55
    assert values["strategies.MEAN_CROSS.volume_factor"]["value"] == 1.5


def test_its_parameters_file_is_a_configuration_that_lets_it_trade(home: Path):
    file = home / "strategies" / "mean_cross" / "parameters.toml"
    result = run(home, "--config", str(file), "list-strategies", "--json")
    assert result.returncode == 0, result.stderr
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert (rows["MEAN_CROSS"]["state"], rows["MEAN_CROSS"]["share"]) == ("on", 0.1)


def test_its_own_tests_run_green(home: Path):
    project = home / "strategies" / "mean_cross"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(project)],
        capture_output=True,
        text=True,
        cwd=project,
        env=environment,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "9 passed" in result.stdout


def test_it_scans_like_any_other(home: Path):
    from crypto_tracker.app.plugins import all_strategies
    from crypto_tracker.strategies.scan import scan, setup_events
    from tests.features.drawn import utc
    from tests.strategies.test_scan import random_market

    strategy = all_strategies(home)["MEAN_CROSS"]
    assert all_strategies(home)["MEAN_CROSS"].__class__ is strategy.__class__  # loaded once
    market = random_market(strategy.timeframe, utc(2025, 6, 1), utc(2025, 7, 10))
    found = [
        d for _, d in scan(strategy, market, strategy.parameters_model(), utc(2025, 6, 20), utc(2025, 7, 10))
    ]
    assert len(setup_events(found, 3)) > 10


def test_a_project_installs_from_its_entry_point(home: Path):
    text = (home / "strategies" / "mean_cross" / "pyproject.toml").read_text()
    assert '[project.entry-points."crypto_tracker.strategies"]\nMEAN_CROSS = "mean_cross:MeanCross"' in text
    assert 'packages = ["mean_cross"]' in text


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mean_cross", "a strategy named MEAN_CROSS exists already"),
        ("dca", "a strategy named DCA exists already"),
        ("json", "Python already has a module named json"),
        ("1st", "is no name for a strategy"),
        ("../x", "is no name for a strategy"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(home: Path, name: str, sentence: str):
    result = run(home, "new-strategy", name)
    assert result.returncode == 2
    assert sentence in result.stderr


def test_another_place_is_written_but_not_read(tmp_path: Path):
    result = run(tmp_path / "home", "new-strategy", "Elsewhere", "--path", str(tmp_path / "code"), "--json")
    assert result.returncode == 0, result.stderr
    made = json.loads(result.stdout)
    assert made["name"] == "ELSEWHERE"
    assert all(Path(file).is_file() for file in made["files"])
    assert "ELSEWHERE" not in listed(tmp_path / "home")


PLAIN = "from crypto_tracker.strategies.dca import Dca\n\n\nclass Mine(Dca):\n    name = 'MINE'\n"


def test_a_single_file_and_a_package_are_found_as_well(tmp_path: Path):
    folder = tmp_path / "strategies"
    (folder / "my_package").mkdir(parents=True)
    (folder / "my_file.py").write_text(PLAIN)
    (folder / "my_package" / "__init__.py").write_text(
        "from my_package.rule import Other\n\nclass Last(Other):\n    name = 'LAST'\n"
    )
    (folder / "my_package" / "rule.py").write_text(PLAIN.replace("Mine", "Other").replace("MINE", "OTHER"))
    (folder / "_notes.py").write_text("this is no Python")
    assert list(listed(tmp_path)) == ["DCA", "SWING", "CHANNEL", "MINE", "LAST"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\n", "defines no strategy, a class with features() and detect()"),
        ("import no_such_module_anywhere\n", "cannot be loaded: No module named"),
        ("def broken(:\n", "cannot be loaded"),
        (PLAIN.replace("MINE", "DCA"), "a strategy named DCA exists already"),
        (PLAIN.replace("MINE", "mine"), "expected upper-case letters"),
    ],
)
def test_a_broken_plug_in_is_named_with_what_is_wrong(tmp_path: Path, text: str, sentence: str):
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "broken_one.py").write_text(text)
    result = run(tmp_path, "list-strategies")
    assert result.returncode == 2
    assert "broken_one.py" in result.stderr
    assert sentence in result.stderr
