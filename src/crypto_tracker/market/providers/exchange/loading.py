"""Loading what one exchange needs of ccxt: all of ccxt at once takes seconds, of which it needs a fifth."""

import difflib
import importlib
import pkgutil
import sys
import threading
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from crypto_tracker.core.errors import UsageError

_CCXT, _ASKING, _STREAMING = "ccxt", "ccxt.async_support", "ccxt.pro"
_MISSING = (
    'exchanges are reached through ccxt, which is not installed: pip install "crypto-tracker[exchange]"'
)
_LOADING = threading.Lock()


class _Package(ModuleType):
    """A package of ccxt that runs its own beginning, which imports every exchange, only when it has to.

    Whoever asks for a name that is not there yet gets it as ever: by loading everything.
    """

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        if name.startswith("__") or spec is None or spec.loader is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__class__ = ModuleType  # type: ignore[assignment]  # it is whole from now on
        spec.loader.exec_module(self)
        return getattr(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # A module of an exchange is set here when it is imported; the whole package has its class there.
        if isinstance(value, ModuleType) and isinstance(made := value.__dict__.get(name), type):
            value = made
        super().__setattr__(name, value)


def exchange_class(name: str, *, streaming: bool) -> Any:
    """The class that ccxt has for an exchange; None where it has none that streams.

    Raises UsageError without ccxt, and for a name that ccxt does not know.
    """
    check_name(name)
    with _LOADING:
        asking = _asking(name)
        if not streaming:
            return asking
        return _class(_STREAMING, name) if name in _names(_STREAMING) else None


def _asking(name: str) -> Any:
    whole = _package(_CCXT)
    if isinstance(whole, _Package):
        # What the modules of single exchanges take from the package itself.
        for known, value in vars(importlib.import_module("ccxt.base.errors")).items():
            if isinstance(value, type):
                setattr(whole, known, value)
        whole.Exchange = importlib.import_module("ccxt.base.exchange").Exchange
    return _class(_ASKING, name)


def check_name(name: str) -> None:
    """Raise UsageError where ccxt is not there, and where it knows no exchange of this name."""
    known = exchange_names()
    if not known:
        raise UsageError(_MISSING)
    if name not in known:
        raise UsageError(f"ccxt knows no exchange {name!r}: {near(name, known)}")


def near(name: str, known: tuple[str, ...]) -> str:
    """What may have been meant by a name that nobody has."""
    found = difflib.get_close_matches(name, known, 3)
    return f"did you mean {' or '.join(found)}?" if found else "write its name as ccxt does, such as kraken"


def exchange_names() -> tuple[str, ...]:
    """Every exchange of ccxt, in order, without loading any; none where ccxt is not installed."""
    return () if find_spec(_CCXT) is None else _names(_ASKING)


@cache
def _names(package: str) -> tuple[str, ...]:
    spec = find_spec(_CCXT)
    where = [] if spec is None else spec.submodule_search_locations or []
    folders = [str(Path(folder, *package.split(".")[1:])) for folder in where]
    return tuple(sorted(found.name for found in pkgutil.iter_modules(folders) if not found.ispkg))


def _class(package: str, name: str) -> Any:
    _package(package)
    return getattr(importlib.import_module(f"{package}.{name}"), name)


def _package(name: str) -> ModuleType:
    """A package of ccxt as it is, and where nobody has imported it yet, without its beginning."""
    if name in sys.modules:
        return sys.modules[name]
    spec: ModuleSpec | None = find_spec(name)
    if spec is None:
        raise UsageError(_MISSING)
    package = module_from_spec(spec)
    package.__class__ = _Package
    sys.modules[name] = package
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, package)
    return package
