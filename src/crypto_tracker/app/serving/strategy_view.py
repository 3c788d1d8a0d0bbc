"""The strategies of a book: what each does, under which numbers, and whether it may."""

import inspect
from collections.abc import Mapping
from typing import Any

from crypto_tracker.app.accounts import read_account
from crypto_tracker.app.serving.recent import Recent
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.app.standing import CONFIGURATION, NO_SHARE, StrategyStanding
from crypto_tracker.config.entries import configured_strategies
from crypto_tracker.config.instruments import instruments
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.desk.source import NotThere
from crypto_tracker.desk.views import strategies as views
from crypto_tracker.store.trading_views import TradingViews
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.strategies.exits import Exits
from crypto_tracker.strategies.needs import scan_timeframe
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.trading.setting import stored_configuration

_NO_THRESHOLDS = {"exits", "confidence", "readiness"}  # shown apart, or no part of the rule

_CONFIGURATIONS_KEPT = 16
_FACTS_KEPT = 2_048


class _Configurations(Recent[Configuration]):
    """Those under which the book once scanned."""

    def __init__(self) -> None:
        super().__init__(_CONFIGURATIONS_KEPT)


class _Facts(Recent[Instruments]):
    """What is known of single symbols."""

    def __init__(self) -> None:
        super().__init__(_FACTS_KEPT)


def strategy_of(scope: Scope, name: str) -> Strategy:
    """One strategy of the book; raises NotThere where it has none of the name, or it is not installed."""
    if name not in scope.strategies:
        raise NotThere(f"{scope.account} has no strategy {name}: it has {', '.join(scope.strategies)}")
    found = scope.installed.get(name)
    if found is None:
        raise NotThere(
            f"the strategy {name} is not installed any more, so nothing can be said of its scans: bring it "
            f"back (installed are {', '.join(scope.installed)})"
        )
    return found


def strategies_of(scope: Scope, names: tuple[str, ...]) -> tuple[Strategy, ...]:
    """The strategies of these names, or all that are installed where none is named, in the book's order."""
    if names:
        wanted = {strategy_of(scope, name).name for name in names}
        return tuple(scope.installed[name] for name in scope.strategies if name in wanted)
    return tuple(scope.installed[name] for name in scope.strategies if name in scope.installed)


def configuration_of(scope: Scope, version: str) -> Configuration:
    """The configuration of a version under which the book scanned; a recorded run has only one."""
    if version == scope.version or not scope.live:
        return scope.configuration

    def read() -> Configuration:
        with TradingViews.open(read_account(scope.home, scope.account).folder) as opened:
            return stored_configuration(opened.configuration(version), scope.installed)

    return scope.memory.of(_Configurations).made(version, read)


def parameters_of(configuration: Configuration, strategy: Strategy) -> Frozen:
    """The parameters that a configuration gives a strategy."""
    return configured_strategies({strategy.name: strategy}, configuration, [strategy.name])[0].parameters


def timeframe_of(scope: Scope, strategy: Strategy) -> Timeframe:
    """The bars at whose close a strategy scans here."""
    return scan_timeframe(strategy, scope.base)


def facts_of(scope: Scope, symbol: Symbol) -> Instruments:
    """What is known of one symbol, alone; raises NotThere for one that the book does not watch."""
    if symbol not in scope.symbols:
        known = ", ".join(map(str, scope.symbols[:5])) + (" ..." if len(scope.symbols) > 5 else "")
        raise NotThere(f"{scope.account} does not watch {symbol}: it has {known or 'no symbols'}")
    key = (scope.version, symbol)
    return scope.memory.of(_Facts).made(key, lambda: instruments(scope.configuration, [symbol]))


def strategy_infos(scope: Scope, standings: Mapping[str, StrategyStanding]) -> views.Strategies:
    """Every strategy of the book, in its order; a recorded run has no standings."""
    return views.Strategies(items=[_info(scope, name, standings.get(name)) for name in scope.strategies])


def _info(scope: Scope, name: str, standing: StrategyStanding | None) -> views.StrategyInfo:
    limits, strategy = scope.configuration.limits, scope.installed.get(name)
    parameters = None if strategy is None else parameters_of(scope.configuration, strategy)
    off_by = off_by_configuration(scope.configuration, name) if standing is None else standing.off_by
    exits = getattr(parameters, "exits", None)
    share = min(limits.shares.get(name, 0.0) * (1.0 - limits.reserve), limits.max_strategy_exposure)
    return views.StrategyInfo(
        name=name,
        description=_description(name, strategy),
        timeframe="" if strategy is None else str(timeframe_of(scope, strategy)),
        on=not off_by,
        off_by=list(off_by),
        losing_streak=0 if standing is None else standing.losing_streak,
        losing_streak_limit=scope.configuration.protection.losing_streak,
        rests_until_ms=None if standing is None else standing.rests_until_ms,
        open_positions=0 if standing is None else standing.open_positions,
        max_open=limits.max_open_per_strategy,
        used_quote=0.0 if standing is None else float(standing.used_quote),
        share_quote=share * scope.configuration.trading.capital_quote
        if standing is None
        else float(standing.share_quote),
        max_hold_hours=exits.max_hold_hours if isinstance(exits, Exits) else None,
        exits=_exit_rows(exits) if isinstance(exits, Exits) else [],
        thresholds={} if parameters is None else _thresholds(parameters),
        docs=f"docs/strategies/{name.lower()}.md" if name in builtin() else None,
    )


def off_by_configuration(configuration: Configuration, name: str) -> tuple[str, ...]:
    """Who keeps a strategy of a recorded run from opening anything, as far as its configuration tells."""
    found = []
    if name in configuration.trading.switched_off:
        found.append(CONFIGURATION)
    if not configuration.limits.shares.get(name):
        found.append(NO_SHARE)
    return tuple(found)


def _description(name: str, strategy: Strategy | None) -> str:
    """What the class says of itself first."""
    if strategy is None:
        return f"{name} is not installed any more."
    text = " ".join((inspect.getdoc(type(strategy)) or "").split("\n\n")[0].split())
    return text or f"{name} says nothing of its rule."


def _exit_rows(exits: Exits) -> list[views.ExitRow]:
    tiers = type(exits.take_profit).model_fields
    return [
        views.ExitRow(
            tier=tier,
            take_profit=getattr(exits.take_profit, tier),
            stop_loss=getattr(exits.stop_loss, tier),
            trailing=getattr(exits.trailing, tier),
        )
        for tier in tiers
    ]


def _thresholds(parameters: Frozen) -> dict[str, Any]:
    return parameters.model_dump(mode="json", exclude=_NO_THRESHOLDS)
