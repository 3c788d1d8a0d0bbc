"""What one configuration version means for an account: parameters, rules and facts, ready to trade with."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from crypto_tracker.config.fields import known_keys, step_into
from crypto_tracker.config.instruments import instruments
from crypto_tracker.config.tree import Configuration, configuration_model, defaults
from crypto_tracker.config.versions import canonical, version
from crypto_tracker.core.errors import ConfigError
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.timeframes import DAY_MS
from crypto_tracker.portfolio.regime import reference_lead_ms
from crypto_tracker.simulation.parameters import FillSource, Rules
from crypto_tracker.store.trading_records import Account, ConfigurationRow
from crypto_tracker.strategies.base import Strategy, StrategyEntry
from crypto_tracker.strategies.needs import REFERENCE_LEAD_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One configuration version at work."""

    row: ConfigurationRow
    configuration: Configuration
    entries: tuple[StrategyEntry, ...]  # in the order of the account's strategies
    instruments: Instruments
    rules: Rules

    @property
    def version(self) -> str:
        """The name of the configuration."""
        return self.row.version

    @property
    def enabled(self) -> tuple[bool, ...]:
        """For each strategy whether the configuration lets it trade."""
        return tuple(entry.enabled for entry in self.entries)

    @property
    def walks_books(self) -> bool:
        """Whether market fills walk recorded order books."""
        return self.rules.fills.source is FillSource.BOOK

    @property
    def book_lead_ms(self) -> int:
        """How long before the open of a bar its first order book may lie."""
        return math.ceil(self.rules.fills.book_max_age_seconds * 1000)


def configuration_row(configuration: Configuration) -> ConfigurationRow:
    """The row that keeps a configuration; `setting` reads it back."""
    return ConfigurationRow(
        version=version(configuration),
        canonical=canonical(configuration),
        document=configuration.model_dump_json(),
    )


def stored_configuration(row: ConfigurationRow, strategies: Mapping[str, Strategy]) -> Configuration:
    """The configuration that `row` keeps; what this program has learnt since has its default.

    Raises ConfigError where a value is no longer understood, or a strategy is no longer installed.
    """
    model = configuration_model({name: each.parameters_model for name, each in strategies.items()})
    table = _laid_over(model, tomllib.loads(defaults().text), json.loads(row.document))
    try:
        return model.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"the account's configuration {row.version} is not understood by this version or by the "
            f"strategies that are installed ({place}: {first['msg']}): install what it was made with"
        ) from None


def setting(row: ConfigurationRow, account: Account, strategies: Mapping[str, Strategy]) -> Setting:
    """The configuration of `row` for an account.

    Raises ConfigError where a strategy of the account is not installed, or the row can not be read.
    """
    missing = [name for name in account.strategies if name not in strategies]
    if missing:
        raise ConfigError(
            f"the account trades {', '.join(missing)}, which is not installed: "
            f"bring it back (installed are {', '.join(strategies)})"
        )
    configuration = stored_configuration(row, strategies)
    if reference_lead_ms(configuration.protection) > REFERENCE_LEAD_DAYS * DAY_MS:
        raise ConfigError(
            "protection.volatility.samples or protection.fast_regime.max_age_minutes asks for more than the "
            f"{REFERENCE_LEAD_DAYS} days of the reference that the trader keeps: choose a smaller number"
        )
    return Setting(
        row=row,
        configuration=configuration,
        entries=tuple(
            StrategyEntry(
                strategy=strategies[name],
                parameters=configuration.parameters(name),
                enabled=name not in configuration.trading.switched_off,
            )
            for name in account.strategies
        ),
        instruments=instruments(configuration, account.symbols),
        rules=configuration.rules(),
    )


def untradable(active: Setting, offered: Setting) -> str | None:
    """Why an account that trades under `active` can not go on under `offered`, None where it can.

    What it holds and what it has seen must keep their meaning.
    """
    before, after = active.instruments.lot, offered.instruments.lot
    if np.any(before != after):
        column = int(np.argmax(before != after))
        return (
            f"the lot of {active.instruments.symbols[column]} is {before[column]:g} and would be "
            f"{after[column]:g}: quantities are held in lots, open another account for that"
        )
    held = active.configuration.protection.slow_regime.trend_bars
    wanted = offered.configuration.protection.slow_regime.trend_bars
    if wanted != held:
        return (
            f"protection.slow_regime.trend_bars was {held} when the account was opened and would be "
            f"{wanted}: the days before are not kept, open another account for that"
        )
    return None


def _laid_over(place: Any, below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`, key by key; a table in which any key may stand is taken whole."""
    merged = dict(below)
    for name, given in above.items():
        held, inner = merged.get(name), step_into(place, name)
        if isinstance(held, dict) and isinstance(given, dict) and known_keys(inner) is not None:
            merged[name] = _laid_over(inner, held, given)
        else:
            merged[name] = given
    return merged
