"""The configuration of an account as pages show it, and what another one would change."""

from collections.abc import Mapping, Sequence
from typing import Any

from crypto_tracker.app.commanding import Change, NothingChanges, Standing, offered, to_be_replaced
from crypto_tracker.config.keys import Key, dotted
from crypto_tracker.config.layers import TextFile
from crypto_tracker.config.load import Loaded, values
from crypto_tracker.config.tree import Configuration, load_configuration
from crypto_tracker.core.errors import CryptoTrackerError
from crypto_tracker.desk.views import controls as views
from crypto_tracker.store.trading_records import ConfigurationRow
from crypto_tracker.strategies.base import Strategy


def configuration_view(
    configuration: Configuration,
    version: str,
    versions: Sequence[tuple[str, int]],
    strategies: Mapping[str, Strategy],
) -> views.ShowConfiguration:
    """Every value beside its default, and every version so far."""
    models = {name: each.parameters_model for name, each in strategies.items()}
    usual = values(load_configuration(models, file=None, environment={}, assignments=()))
    here = values(Loaded(configuration, {}))
    return views.ShowConfiguration(
        version=version,
        values=[
            views.ConfigurationValue(
                key=dotted(key),
                value=here.get(key),
                default=usual.get(key),
                changed=here.get(key) != usual.get(key),
            )
            for key in _keys(here, usual)
        ],
        versions=[views.VersionItem(version=name, first_ms=first_ms) for name, first_ms in versions],
    )


def _keys(here: Mapping[Key, Any], usual: Mapping[Key, Any]) -> list[Key]:
    """Every key of either; a table that is empty as it comes is told by what is in it."""
    filled = {key[:length] for key in here for length in range(1, len(key))}
    return [key for key in dict.fromkeys([*here, *usual]) if key not in filled]


def wished(toml: str, strategies: Mapping[str, Strategy]) -> Configuration:
    """The configuration of a text: what it leaves out has its default.

    Raises ConfigError with a sentence for each value that is wrong.
    """
    models = {name: each.parameters_model for name, each in strategies.items()}
    return load_configuration(
        models, file=TextFile("the configuration", toml), environment={}, assignments=()
    ).tree


def preview_view(
    where: Standing, configuration: Configuration, strategies: Mapping[str, Strategy], held: int
) -> tuple[views.ConfigurationPreview, ConfigurationRow]:
    """What an account would trade under, and what that changes; `held` counts its open positions.

    Raises ConfigError where it can not take the configuration, CryptoTrackerError where nothing would change.
    """
    try:
        row, changes = offered(where, configuration, strategies)
    except NothingChanges as error:
        raise CryptoTrackerError(str(error)) from error  # right in itself, and not as the account stands
    replaced = to_be_replaced(where).version
    return (
        views.ConfigurationPreview(
            version=row.version,
            replaces=replaced,
            changes=[views.ConfigurationChange(key=each.key, old=each.old, new=each.new) for each in changes],
            consequences=_consequences(changes, row.version, replaced, where, held),
        ),
        row,
    )


def _consequences(
    changes: Sequence[Change], version: str, replaced: str, where: Standing, held: int
) -> list[str]:
    several = "values change" if len(changes) != 1 else "value changes"
    first = f"{len(changes)} {several}: {version} takes the place of {replaced} before the next minute."
    told = [first, "What the text leaves out has its default."]
    if replaced != where.configuration.version:
        told.append(f"{replaced} was offered before and waits to act; this one follows it.")
    if held:
        whose = (
            "The open position keeps its exits" if held == 1 else f"{held} open positions keep their exits"
        )
        told.append(f"{whose}: those of the configuration under which it was decided.")
    off = _newly_off(changes)
    if off:
        told.append(f"{', '.join(off)} will open nothing: switched off by the configuration.")
    return told


def _newly_off(changes: Sequence[Change]) -> list[str]:
    for each in changes:
        if each.key == "trading.switched_off":
            before = each.old if isinstance(each.old, list | tuple) else ()
            after = each.new if isinstance(each.new, list | tuple) else ()
            return [str(name) for name in after if name not in before]
    return []
