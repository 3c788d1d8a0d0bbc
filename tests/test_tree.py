"""The tree itself: nothing in it names a registry or a machine, and every room says what it is for."""

import ast
import re
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "crypto_tracker"

# Put together here, so that this file does not hold what it looks for.
REGISTRY = re.compile(
    "|".join(
        [
            r"(?:test\.)?py" + r"pi\.org",
            r"files\.python" + r"hosted\.org",
            r"registry\.npm" + r"js\.org",
            r"registry\.yarn" + r"pkg\.com",
            r"con" + r"da\.anaconda\.org",
            r"artifact" + r"ory",
            r"(?:https?|file)://[^\s\"'`]*/sim" + r"ple\b",
            r"--(?:extra-)?index" + r"-url[ =]\S",
            r"--find" + r"-links[ =]\S",
        ]
    )
)
MACHINE = re.compile(r"(?<![\w.])/(?:home|root|Users)/[\w.-]+/")


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: there is no list of files")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = listed.stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def readable(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def places(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in tracked_files():
        for number, line in enumerate((readable(path) or "").splitlines(), start=1):
            if match := pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match[0]}")
    return found


def test_no_file_names_a_package_registry():
    assert places(REGISTRY) == []


def test_the_search_for_registries_finds_one():
    assert REGISTRY.search("https://py" + "pi.org/project/numpy")
    assert REGISTRY.search("http://mirror.example:3141/root/sim" + "ple/")
    assert REGISTRY.search("pip install --index" + "-url https://x")
    assert not REGISTRY.search("a simple thing, and its index")


def test_no_file_names_a_folder_of_somebodys_machine():
    assert places(MACHINE) == []


def test_no_file_is_generated_or_huge():
    for path in tracked_files():
        assert path.suffix not in {".pyc", ".nbi", ".nbc", ".so", ".db", ".whl"}, path
        assert path.name not in {"uv.lock", "pylock.toml", ".env"}, path
        assert path.stat().st_size < 1_000_000, path


def test_every_package_pins_what_it_installs_with_hashes_and_without_addresses():
    lock = (ROOT / "requirements.lock").read_text()
    entries = re.findall(
        r"^[a-z0-9-]+==\S+(?:[^\n]*\\\n(?:\s+--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", lock, re.M
    )
    assert len(entries) == len(re.findall(r"^[a-z0-9-]", lock, re.M)) > 40
    assert "://" not in lock
    assert not re.search(r"^-", lock, re.M)


def test_every_dependency_is_in_the_lock():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(text for texts in extras.values() for text in texts)]
    names = {re.match(r"[A-Za-z0-9-]+", text)[0].lower() for text in wanted} - {project["name"]}
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
    assert names - pinned == set()


def test_every_room_says_in_one_line_what_it_is_for():
    for room in sorted(path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"):
        docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
        assert docstring, room
        assert len(docstring.splitlines()) == 1, room


def test_the_order_of_the_rooms_is_complete():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = contracts[0]["layers"]
    ordered = [name.strip(" ()") for layer in layers for name in layer.split("|")]
    assert ordered == [
        *("app", "desk", "trading", "research", "market", "store", "net", "config"),
        *("simulation", "portfolio", "strategies", "features", "core"),
    ]
    assert contracts[0]["exhaustive"] is True
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= set(ordered)


def test_nothing_is_left_to_be_done_later():
    words = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
    assert [place for place in places(words) if not place.startswith("requirements.lock")] == []


def test_modules_have_nouns_that_mean_something():
    empty_words = {"utils", "util", "helpers", "misc", "common_utils", "stuff"}
    names = {path.stem for path in PACKAGE.rglob("*.py")} | {
        path.name for path in PACKAGE.rglob("*") if path.is_dir()
    }
    assert names & empty_words == set()


def test_every_document_that_a_document_links_to_exists():
    link = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in tracked_files()
        if path.suffix == ".md"
        for target in link.findall(path.read_text(encoding="utf-8"))
        if not (path.parent / target).exists()
    ]
    assert broken == []


def test_the_continuous_check_can_be_executed():
    assert (ROOT / ".ci" / "run").stat().st_mode & stat.S_IXUSR
