"""Strategies of the user: found in HOME/strategies and in installed packages."""

import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType

from crypto_tracker.core.errors import ConfigError
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.strategies.registry import ENTRY_POINT_GROUP, installed, strategy_classes, with_plugins

FOLDER = "strategies"


def all_strategies(home: Path) -> dict[str, Strategy]:
    """Every strategy there is, by name: built in, installed, then HOME/strategies in order of file name.

    Raises ConfigError for a plug-in that cannot be loaded, is no strategy, or takes a name that is taken.
    """
    return with_plugins(installed(), strategies_in(home / FOLDER))


def strategies_in(folder: Path) -> list[tuple[str, object]]:
    """Origin and class of every strategy in a folder; nothing where there is no such folder.

    Read are files `NAME.py`, packages (folders with `__init__.py`) and projects (folders whose
    `pyproject.toml` names entry points, as `new-strategy` writes them). Names that begin with `.` or `_`
    are passed over.
    """
    if not folder.is_dir():
        return []
    found: list[tuple[str, object]] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        if path.suffix == ".py" and path.is_file():
            found += _defined_in(_module(path.stem, path), path)
        elif (path / "pyproject.toml").is_file():
            found += _named_by(path / "pyproject.toml")
        elif (path / "__init__.py").is_file():
            found += _defined_in(_module(path.name, path / "__init__.py"), path)
    return found


def _defined_in(module: ModuleType, path: Path) -> list[tuple[str, object]]:
    classes = strategy_classes(module)
    if not classes:
        raise ConfigError(
            f"{path} defines no strategy, a class with features() and detect(): add one or move it away"
        )
    return [(str(path), cls) for cls in classes]


def _named_by(project: Path) -> list[tuple[str, object]]:
    """The classes that a project names under our entry point group."""
    try:
        document = tomllib.loads(project.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{project} cannot be read: {error}") from error
    points = document.get("project", {}).get("entry-points", {}).get(ENTRY_POINT_GROUP, {})
    if not points:
        raise ConfigError(f'{project} names no strategy under [project.entry-points."{ENTRY_POINT_GROUP}"]')
    found: list[tuple[str, object]] = []
    for value in points.values():
        module_name, _, class_name = value.partition(":")
        top = module_name.partition(".")[0]
        places = [
            place / tail
            for place in (project.parent, project.parent / "src")
            for tail in (f"{top}/__init__.py", f"{top}.py")
        ]
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            raise ConfigError(f"{project} names {value}, but there is no module {top} beside it or in src")
        module = _module(top, file)
        if module_name != top:
            module = importlib.import_module(module_name)
        cls = getattr(module, class_name, None)
        if cls is None:
            raise ConfigError(f"{project} names {value}, but {file} has no {class_name or 'class'}")
        found.append((str(project), cls))
    return found


def _module(name: str, file: Path) -> ModuleType:
    """The module in `file`, loaded once under its own name, so that its parts can import each other."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        source = getattr(loaded, "__file__", None)
        if source is not None and Path(source).resolve() == file.resolve():
            return loaded
        raise ConfigError(
            f"{file}: a module named {name} exists already ({source or 'built in'}): "
            "give the plug-in another name"
        )
    if not name.isidentifier():
        raise ConfigError(f"{file}: {name!r} is no name for a module: use letters, digits and underscores")
    if importlib.util.find_spec(name) is not None and not _is_at(name, file):
        raise ConfigError(
            f"{file}: a module named {name} is installed already: give the plug-in another name"
        )
    places = [str(file.parent)] if file.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=places)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError, NameError, AttributeError, TypeError, ValueError) as error:
        del sys.modules[name]
        raise ConfigError(f"the strategy plug-in {file} cannot be loaded: {error}") from error
    return module


def _is_at(name: str, file: Path) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == file.resolve()
