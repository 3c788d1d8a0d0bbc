"""The documents tell the truth: every document is reachable, every command in them exists as written."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from crypto_tracker.app.cli.main import build, global_options_first

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "tests/**/*.md")
    for path in ROOT.glob(pattern)
    if path.is_file()
)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
COMMAND = re.compile(r"(?:^ {4,}\$? ?|`)(?:\S*/)?crypto-tracker ([^`\n]+)", re.M)


def commands(text: str) -> list[list[str]]:
    """The arguments of every `crypto-tracker ...` in a document, without comments."""
    found = (shlex.split(match[1], comments=True) for match in COMMAND.finditer(text))
    return [words for words in found if words and words[0] not in {"COMMAND", "..."}]


def in_documents() -> Iterator[tuple[str, list[str]]]:
    for path in DOCUMENTS:
        for words in commands(path.read_text(encoding="utf-8")):
            yield str(path.relative_to(ROOT)), words


def complaint(words: list[str]) -> str | None:
    """What is wrong with a command line, None where every command and option in it exists."""
    whole = typer.main.get_command(build())
    known = {option for parameter in whole.params for option in parameter.opts}
    arguments = [word for word in global_options_first(words) if word != "..."]
    while arguments and arguments[0].startswith("-"):
        option = arguments.pop(0)
        if option.split("=")[0] not in known and option not in {"--help", "-h"}:
            return f"no global option {option}"
        if option in {"--home", "--config", "-c", "--set"}:
            arguments.pop(0)
    if not arguments:
        return None
    command = whole.commands.get(arguments[0])
    if command is None:
        return f"no command {arguments[0]}"
    if isinstance(command, typer.core.TyperGroup) and len(arguments) > 1:
        arguments = arguments[1:]
        command = command.commands.get(arguments[0])
        if command is None:
            return f"no command {arguments[0]} below another"
    options = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in arguments[1:]:
        if word.startswith("-") and word.split("=")[0] not in options | {"--help", "-h"}:
            return f"{arguments[0]} has no option {word}"
    return None


def test_every_command_in_a_document_exists_with_its_options():
    wrong = [
        f"{place}: {' '.join(words)}: {what}" for place, words in in_documents() if (what := complaint(words))
    ]
    assert wrong == []
    assert len(list(in_documents())) > 20


def test_the_readme_shows_every_command():
    shown = {word for _, words in in_documents() for word in global_options_first(words)[:3]}
    assert set(typer.main.get_command(build()).commands) - shown == set()


@pytest.mark.parametrize(
    "line",
    [
        "bakctest --timerange 20250801-",
        "backtest --time 20250801-",
        "--hom here list-data",
        "explain BTC/USDT -z",
        "quarantine forget 12",
        "quarantine drop 12 --because wrong",
    ],
)
def test_a_wrong_command_line_is_noticed(line):
    assert complaint(shlex.split(line))


def test_every_document_is_reached_from_the_readme():
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        waiting += [
            (page.parent / target).resolve() for target in LINK.findall(page.read_text(encoding="utf-8"))
        ]
    assert [str(path.relative_to(ROOT)) for path in DOCUMENTS if path not in reached] == []


def test_the_output_that_the_readme_shows_fits_80_columns():
    shown = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("    ")]
    assert [
        line for line in shown if len(line.removeprefix("    ")) > 80 and "$ crypto-tracker" not in line
    ] == []
