"""The strategies of a configuration, with the parameters that it gives them."""

from collections.abc import Sequence

from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.errors import ConfigError
from crypto_tracker.strategies.base import Strategy, StrategyEntry


def configured_strategies(
    installed: dict[str, Strategy], configuration: Configuration, only: Sequence[str] | None
) -> tuple[StrategyEntry, ...]:
    """The strategies to scan, in the configured order; `only` names some of the installed ones.

    A strategy asked for by name takes part even when the configuration switches it off.
    """
    names = list(configuration.trading.strategies)
    if only:
        wanted = [name.upper() for name in only]
        unknown = [name for name in wanted if name not in installed]
        if unknown:
            raise ConfigError(
                f"no strategy is named {', '.join(unknown)}: installed are {', '.join(installed)}"
            )
        names = [name for name in names if name in wanted] + [name for name in wanted if name not in names]
    return tuple(
        StrategyEntry(
            strategy=installed[name],
            parameters=configuration.parameters(name),
            enabled=bool(only) or name not in configuration.trading.switched_off,
        )
        for name in dict.fromkeys(names)
    )
