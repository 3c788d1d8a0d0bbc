"""Which strategies there are: the built-in ones and those that plug-ins bring.

A plug-in is a package that is installed and names its class under the entry point group below, or a file
that the caller has loaded (see app/plugins.py). This module only judges and collects; it reads no folder.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from crypto_tracker.core.errors import ConfigError
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.strategies.channel import Channel
from crypto_tracker.strategies.dca import Dca
from crypto_tracker.strategies.swing import Swing

ENTRY_POINT_GROUP = "crypto_tracker.strategies"


def builtin() -> dict[str, Strategy]:
    """The strategies that come with the package, by name, in their order."""
    return {strategy.name: strategy for strategy in (Dca(), Swing(), Channel())}


def installed() -> dict[str, Strategy]:
    """The built-in strategies and those of every installed package, by name.

    Raises ConfigError for a plug-in that cannot be loaded, is no strategy, or takes a name that is taken.
    """
    return with_plugins(builtin(), from_entry_points(entry_points(group=ENTRY_POINT_GROUP)))


def with_plugins(known: Mapping[str, Strategy], plugins: Iterable[tuple[str, object]]) -> dict[str, Strategy]:
    """`known` and the plug-ins, each given as (where it comes from, class or object), in the order given.

    A class that is there already, because its package is installed and lies in the folder as well, counts
    once. Raises ConfigError for what is no strategy, and for a name that is taken.
    """
    strategies = dict(known)
    for origin, candidate in plugins:
        if candidate in [type(strategy) for strategy in strategies.values()]:
            continue
        strategy = as_strategy(candidate, origin)
        if strategy.name in strategies:
            raise ConfigError(
                f"{origin}: a strategy named {strategy.name} exists already: give this one another name"
            )
        strategies[strategy.name] = strategy
    return strategies


def from_entry_points(points: Iterable[EntryPoint]) -> list[tuple[str, object]]:
    """Origin and class of every entry point, sorted by name: the order is the same on every machine."""
    loaded = []
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        origin = f"entry point {point.name} ({point.value})"
        try:
            loaded.append((origin, point.load()))
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"{origin} cannot be loaded: {error}; mend or uninstall that package"
            ) from error
    return loaded


def strategy_classes(module: ModuleType) -> list[type]:
    """The strategies that a module itself defines: classes with `features` and `detect`, in order."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and callable(getattr(value, "features", None))
        and callable(getattr(value, "detect", None))
    ]


def as_strategy(candidate: object, origin: str) -> Strategy:
    """The candidate, a class or an object, as a strategy; raises ConfigError that says what is wrong."""
    if isinstance(candidate, type):
        try:
            made: object = candidate()
        except TypeError as error:
            raise ConfigError(
                f"{origin}: {candidate.__name__}() takes no arguments as a strategy: {error}"
            ) from error
    else:
        made = candidate
    complaints = _complaints(made)
    if complaints or not isinstance(made, Strategy):
        kind = type(made).__name__
        raise ConfigError(f"{origin}: {kind} is no strategy: {'; '.join(complaints)}")
    return made


def _complaints(made: object) -> list[str]:
    """What keeps an object from being a strategy, in words."""
    found = []
    members = (
        "name",
        "timeframe",
        "warmup",
        "reference_warmup",
        "parameters_model",
        "features",
        "detect",
        "explain",
    )
    missing = [member for member in members if not hasattr(made, member)]
    if missing:
        found.append(f"it lacks {', '.join(missing)}")
    name = getattr(made, "name", "X")
    if not (isinstance(name, str) and name.isidentifier() and name.isupper()):
        found.append(
            f"name is {name!r}, expected upper-case letters, digits and underscores such as MEAN_CROSS"
        )
    if "timeframe" not in missing and not isinstance(getattr(made, "timeframe", None), Timeframe):
        found.append("timeframe is no Timeframe")
    found.extend(
        f"{member} does not map Timeframe to a number of bars"
        for member in ("warmup", "reference_warmup")
        if member not in missing and not _counts_bars(getattr(made, member, None))
    )
    if not found and getattr(made, "timeframe", None) not in getattr(made, "warmup", {}):
        found.append("warmup says nothing of the strategy's own timeframe")
    model = getattr(made, "parameters_model", None)
    if "parameters_model" not in missing and not (isinstance(model, type) and issubclass(model, Frozen)):
        found.append("parameters_model is no subclass of crypto_tracker.core.model.Frozen")
    found.extend(
        f"{method} is no method"
        for method in ("features", "detect", "explain")
        if method not in missing and not callable(getattr(made, method, None))
    )
    return found


def _counts_bars(warmup: object) -> bool:
    return isinstance(warmup, Mapping) and all(
        isinstance(timeframe, Timeframe) and isinstance(bars, int) and bars >= 0
        for timeframe, bars in warmup.items()
    )
