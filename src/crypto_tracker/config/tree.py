"""The configuration as one frozen tree; each room owns the model of its own slice."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, create_model, field_validator

from crypto_tracker.config.decisions import DecisionLog
from crypto_tracker.config.engine import Engine
from crypto_tracker.config.fields import NoTrade
from crypto_tracker.config.keys import Key, dotted
from crypto_tracker.config.layers import TextFile
from crypto_tracker.config.load import Loaded, load
from crypto_tracker.config.market_data import MarketData
from crypto_tracker.config.research import Optimize, Research
from crypto_tracker.config.universe import InstrumentOverride, Selector, Universe, check_symbol
from crypto_tracker.config.web import Web
from crypto_tracker.core.errors import ConfigError
from crypto_tracker.core.model import Frozen
from crypto_tracker.portfolio.parameters import Limits, Protection, Sizing
from crypto_tracker.simulation.paired import Comparing
from crypto_tracker.simulation.parameters import Costs, FillRules, InstrumentDefaults, Rules
from crypto_tracker.simulation.scorecard import Targets


class Trading(Frozen):
    """What is traded, with how much, on whose day."""

    capital_quote: Annotated[float, Field(gt=0.0)]
    quote: str
    timezone: str
    reference: str  # base of the coin that stands for the market
    strategies: tuple[str, ...]  # those that scan, in the order that decides ties
    switched_off: tuple[str, ...]  # of these, those that are watched and explained but open nothing

    @field_validator("timezone")
    @classmethod
    def _is_known_to_the_time_zone_database(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError("expected a time zone such as UTC or Europe/Berlin") from None
        return name


class Parameters(Frozen):
    """The parameters of every strategy that is installed, one field each, in the strategy's own model."""

    def of(self, name: str) -> Frozen:
        """The parameters of one strategy; raises ConfigError where there are none."""
        parameters = getattr(self, name, None) if name in type(self).model_fields else None
        if not isinstance(parameters, Frozen):
            raise ConfigError(f"the strategy {name} has no parameters: write a section [strategies.{name}]")
        return parameters


class Configuration(Frozen):
    """Everything that can be configured. Defaults stand in `defaults.toml`, and only there."""

    trading: Trading
    universe: Universe
    selector: Annotated[Selector, NoTrade("the universe that it chooses is recorded day by day")]
    market_data: MarketData
    strategies: Parameters
    decisions: DecisionLog
    engine: Annotated[Engine, NoTrade("what was seen in time is in the journal of the account")]
    limits: Limits
    sizing: Sizing
    protection: Protection
    costs: Costs
    fills: FillRules
    instrument_defaults: InstrumentDefaults
    instruments: dict[str, InstrumentOverride]
    web: Annotated[Web, NoTrade("who may look on does not change what is seen")]
    research: Annotated[Research, NoTrade("where experiments run does not change what they find")]
    optimize: Annotated[
        Optimize, NoTrade("it says how parameters are searched and judged, not what they are")
    ]
    compare: Annotated[Comparing, NoTrade("it says when two results are told apart, not what they are")]
    scorecard: Annotated[Targets, NoTrade("what is asked of a result does not change it")]

    @field_validator("instruments")
    @classmethod
    def _are_named_by_symbols(
        cls, instruments: dict[str, InstrumentOverride]
    ) -> dict[str, InstrumentOverride]:
        for name in instruments:
            check_symbol(name)
        return instruments

    def rules(self) -> Rules:
        """What the simulator needs to know besides bars, setups and commands."""
        return Rules(
            capital_quote=self.trading.capital_quote,
            timezone=self.trading.timezone,
            limits=self.limits,
            sizing=self.sizing,
            protection=self.protection,
            fills=self.fills,
        )

    def parameters(self, strategy: str) -> Frozen:
        """The parameters of one strategy; raises ConfigError where there are none."""
        return self.strategies.of(strategy)


@cache
def defaults() -> TextFile:
    """The text of `defaults.toml`: every default of the specification, once, with its comment."""
    text = resources.files(__package__).joinpath("defaults.toml").read_text(encoding="utf-8")
    return TextFile("defaults.toml", text)


def configuration_model(strategies: Mapping[str, type[Frozen]]) -> type[Configuration]:
    """The tree for the strategies that are installed: name to model of parameters."""
    sections: dict[str, Any] = {name: _section(model) for name, model in strategies.items()}
    parameters = create_model("Parameters", __base__=Parameters, __doc__=Parameters.__doc__, **sections)
    return create_model(
        "Configuration",
        __base__=Configuration,
        __doc__=Configuration.__doc__,
        strategies=(parameters, Field(default_factory=parameters)),
    )


def load_configuration(
    strategies: Mapping[str, type[Frozen]],
    *,
    file: TextFile | None,
    environment: Mapping[str, str],
    assignments: Sequence[str],
) -> Loaded[Configuration]:
    """The configuration: defaults < file < environment < command line.

    Parameters
    ----------
    strategies : name to model of parameters, of everything that is installed
    file : what a person wrote, None where there is none
    environment : all variables of the process
    assignments : `section.key=value`, from the command line

    Raises
    ------
    ConfigError
        For unknown keys, wrong values, and names that no strategy has.
    """
    loaded = load(
        configuration_model(strategies),
        defaults=defaults(),
        file=file,
        environment=environment,
        assignments=assignments,
    )
    for key, name in _strategy_names(loaded.tree):
        if name not in strategies:
            near = difflib.get_close_matches(name.upper(), strategies, n=1)
            advice = (
                f"did you mean {near[0]}?" if near else f"installed are {', '.join(strategies) or 'none'}"
            )
            raise ConfigError(f"{dotted(key)} ({loaded.origin(key)}): no strategy is named {name}: {advice}")
    for name in loaded.tree.trading.strategies:
        loaded.tree.parameters(name)
    return loaded


def _strategy_names(tree: Configuration) -> Iterator[tuple[Key, str]]:
    """Every place that names a strategy."""
    for name in tree.trading.strategies:
        yield ("trading", "strategies"), name
    for name in tree.trading.switched_off:
        yield ("trading", "switched_off"), name
    for name in tree.limits.shares:
        yield ("limits", "shares", name), name
    for name in tree.protection.volatility.switches:
        yield ("protection", "volatility", "switches", name), name
    for name in tree.protection.volatility.sizes:
        yield ("protection", "volatility", "sizes", name), name
    for name in tree.scorecard.strategy_win_rate_min:
        yield ("scorecard", "strategy_win_rate_min", name), name
    condition = tree.protection.condition
    for market, name in (
        ("sideways", condition.sideways),
        ("falling", condition.falling),
        ("rising", condition.rising),
    ):
        yield ("protection", "condition", market), name


def _section(model: type[Frozen]) -> tuple[Any, Any]:
    """The field for one strategy: what its section may leave out, and whether it may be missing."""
    try:
        model()
    except ValidationError:
        return (model | None, None)  # needed only where the strategy trades; `load_configuration` sees to it
    return (model, Field(default_factory=model))
