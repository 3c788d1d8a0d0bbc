"""Small made-up markets for experiments: a source of bars, a configuration, and what strategies find there."""

from datetime import UTC, datetime
from functools import cache

from crypto_tracker.config.tree import Configuration, load_configuration
from crypto_tracker.core.timeframes import DAY_MS, Timeframe, to_ms
from crypto_tracker.market.providers.martingale import (
    Jumps,
    MartingaleMarket,
    MartingaleSettings,
    null_coins,
)
from crypto_tracker.research.backtest import scenario
from crypto_tracker.research.detection import Detected, detect
from crypto_tracker.research.market import Market, gather
from crypto_tracker.simulation.records import Scenario
from crypto_tracker.strategies.base import StrategyEntry
from crypto_tracker.strategies.registry import builtin

MARCH_MS = to_ms(datetime(2025, 3, 1, tzinfo=UTC))
LEAD_DAYS = 52


@cache
def configuration(*assignments: str) -> Configuration:
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    return load_configuration(models, file=None, environment={}, assignments=assignments).tree


def entries(tree: Configuration, *names: str) -> tuple[StrategyEntry, ...]:
    return tuple(
        StrategyEntry(strategy=strategy, parameters=tree.parameters(name))
        for name, strategy in builtin().items()
        if not names or name in names
    )


def martingale(number: int = 0, *, days: int, jumps: Jumps = Jumps.TRADED, seed: int = 1) -> MartingaleMarket:
    """A market from 52 days before March 2025 on, with so many days from then."""
    return MartingaleMarket(
        MartingaleSettings(
            seed=seed,
            number=number,
            start_ms=MARCH_MS - LEAD_DAYS * DAY_MS,
            days=LEAD_DAYS + days,
            coins=null_coins("USD"),
            jumps=jumps,
        )
    )


@cache
def lively(
    days: int = 10, number: int = 0
) -> tuple[Configuration, tuple[StrategyEntry, ...], Market, Detected, Scenario]:
    """A market in which much is traded, and what is found there."""
    tree = configuration()
    strategies = entries(tree)
    made = martingale(number, days=days)
    market = gather(
        made,
        tree,
        strategies,
        made.symbols,
        reference_symbol=made.symbols[0],
        base=Timeframe.M1,
        start_ms=MARCH_MS,
        end_ms=MARCH_MS + days * DAY_MS,
    )
    found = detect(market, strategies, near_miss_readiness=80.0, version="")
    return tree, strategies, market, found, scenario(market, strategies, found.setups, tree)
