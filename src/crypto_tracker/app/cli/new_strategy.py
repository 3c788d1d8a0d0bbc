"""`new-strategy`."""

import re
from pathlib import Path
from typing import Annotated

import typer

from crypto_tracker.app.cli.common import JsonOption, command, emit_json, session_of
from crypto_tracker.core.errors import UsageError

_TEMPLATES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "parameters.toml.txt": "parameters.toml",
    "module.py.txt": "@module@/__init__.py",
    "test_module.py.txt": "tests/test_@module@.py",
}


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "new-strategy")(new_strategy)


def new_strategy(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as MEAN_CROSS or mean-cross.")],
    path: Annotated[
        Path | None,
        typer.Option("--path", metavar="DIR", help="Where its folder is made (else HOME/strategies)."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Write a working strategy of your own: rule, parameters, tests, and how to install it.

    It runs as it is, and is meant to be changed. Lying in HOME/strategies it is found at once.
    """
    from crypto_tracker.app.plugins import FOLDER

    session = session_of(context)
    module = _module_name(name)
    upper = module.upper()
    if upper in session.strategies:
        raise UsageError(f"a strategy named {upper} exists already: choose another name")
    _refuse_taken_module(module)
    folder = (path or session.home / FOLDER) / module
    if folder.exists():
        raise UsageError(f"{folder} exists: choose another name, or another place with --path")
    files = _write(folder, module)
    if json_output:
        emit_json({"name": upper, "path": str(folder), "files": [str(file) for file in files]})
        return
    found = path is None or path.resolve() == (session.home / FOLDER).resolve()
    steps = [
        f"Wrote {upper} to {folder}.",
        "",
        "Next:",
        f"  pytest {folder}",
        *([] if found else [f"  pip install -e {folder}"]),
        "  crypto-tracker list-strategies",
        "",
        "Without a share of the capital it opens nothing. Add to your configuration, and take it",
        "from the others (all shares together are at most 1):",
        "",
        "  [limits.shares]",
        "  DCA = 0.30",
        f"  {upper} = 0.10",
        "",
        f"Then: crypto-tracker backtest --strategy {upper} --timerange 20250801-20250901",
    ]
    for step in steps:
        session.out.print(step, soft_wrap=True, markup=False)


def _module_name(name: str) -> str:
    """The name as a module: `Mean-Cross`, `MeanCross` and `MEAN_CROSS` all become `mean_cross`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    module = re.sub(r"[\s-]+", "_", spaced).lower()
    if not re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", module) or "__" in module:
        raise UsageError(
            f"{name!r} is no name for a strategy: write letters, digits and dashes, such as mean-cross"
        )
    return module


def _refuse_taken_module(module: str) -> None:
    from importlib.util import find_spec
    from keyword import iskeyword

    if iskeyword(module) or find_spec(module) is not None:
        raise UsageError(f"Python already has a module named {module}: choose another name")


def _write(folder: Path, module: str) -> list[Path]:
    from importlib.resources import files

    source = files("crypto_tracker.app").joinpath("templates", "plugin")
    words = {
        "@project@": f"crypto-tracker-{module.replace('_', '-')}",
        "@module@": module,
        "@NAME@": module.upper(),
        "@Class@": "".join(part.capitalize() for part in module.split("_")),
    }

    def filled(text: str) -> str:
        for word, meaning in words.items():
            text = text.replace(word, meaning)
        return text

    written = []
    try:
        for template, target in _TEMPLATES.items():
            file = folder / filled(target)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(filled(source.joinpath(template).read_text(encoding="utf-8")), encoding="utf-8")
            written.append(file)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error}") from error
    return written
