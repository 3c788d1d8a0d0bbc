"""Rules and instruments for tests: the numbers of the specification, each of which a test may change by name."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from crypto_tracker.core.decisions import Tier
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.tiers import ByTier
from crypto_tracker.simulation.parameters import Rules

SPEC_SLIPPAGE = {Tier.LARGE_CAP: 0.0015, Tier.MID_CAP: 0.0025, Tier.SMALL_CAP: 0.0050, Tier.MEMECOIN: 0.0050}


def _spec_tree() -> dict[str, Any]:
    """The defaults of SPEC §7, §8 and §9, as a nested dictionary of `Rules`."""
    return {
        "capital_quote": 10_000.0,
        "timezone": "UTC",
        "limits": {
            "max_open_per_strategy": 50,
            "max_open": 150,
            "max_symbol_exposure": 0.20,
            "max_strategy_exposure": 0.60,
            "reserve": 0.20,
            "shares": {"DCA": 0.40, "SWING": 0.30, "CHANNEL": 0.30},
            "min_confidence": 0.45,
            "correlation_limit": False,
            "max_correlation": 0.7,
            "correlation_hours_min": 84,
        },
        "sizing": {
            "mode": "fixed",
            "fraction": 0.02,
            "kelly": 0.25,
            "fraction_max": 0.10,
            "confidence_low": 0.7,
            "confidence_high": 1.3,
            "volatility_target": 0.04,
            "volatility_factor_min": 0.5,
            "volatility_factor_max": 2.0,
            "trend_factors": {"bull": 0.7, "neutral": 1.0, "bear": 1.3, "crash": 0.7},
        },
        "protection": {
            "day_loss_max": 0.10,
            "drawdown_max": 0.25,
            "losing_streak": 5,
            "losing_streak_hours": 12.0,
            "cooldown_stops": 3,
            "cooldown_hours": {"large_cap": 4.0, "mid_cap": 6.0, "small_cap": 12.0, "memecoin": 24.0},
            "cancel_rungs_in_panic": True,
            "close_on_transition": False,
            "stale_minutes": 10.0,
            "fast_regime": {
                "panic_1h": -0.05,
                "panic_4h": -0.10,
                "caution_1h": -0.03,
                "caution_24h": -0.03,
                "caution_48h": -0.05,
                "euphoria_1h": 0.05,
                "max_age_minutes": 5.0,
                "size_factors": {"normal": 1.0, "caution": 0.5, "euphoria": 0.7, "panic": 1.0},
            },
            "slow_regime": {
                "crash_return_7d": -0.20,
                "crash_below_high_30d": 0.30,
                "crash_bars": 30,
                "trend_bars": 200,
                "sma_fast": 50,
                "sma_slow": 200,
            },
            "condition": {
                "move_24h": 0.02,
                "sideways_volatility": 0.04,
                "sideways": "CHANNEL",
                "falling": "DCA",
                "rising": "SWING",
            },
            "volatility": {
                "samples": 6,
                "switches": {"CHANNEL": {"off": 0.08, "on": 0.06}},
                "sizes": {"SWING": {"threshold": 0.08, "factor": 0.5}},
            },
            "stop_widening": {
                "slope": 0.3,
                "unit": 0.10,
                "regime_factors": {"normal": 1.0, "caution": 1.3, "euphoria": 1.2, "panic": 1.5},
                "caps": {"large_cap": 0.10, "mid_cap": 0.12, "small_cap": 0.15, "memecoin": 0.15},
            },
        },
        "fills": {
            "source": "table",
            "book_max_age_seconds": 10.0,
            "intrabar": "pessimistic",
            "entry_participation": 0.05,
            "exit_participation": 0.25,
            "entry_bars": 5,
            "data_lost_hours": 24.0,
            "trailing_range_days": 30,
            "ambiguous_warning": 0.05,
        },
    }


def _places(tree: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Every dictionary of the tree that holds `name`; strategies' names inside are not searched."""
    found = [tree] if name in tree else []
    for key, value in tree.items():
        if isinstance(value, dict) and key not in {"shares", "switches", "sizes"}:
            found += _places(value, name)
    return found


def spec_rules(**overrides: Any) -> Rules:
    """`Rules` with the numbers of the specification, some of them changed.

    A keyword is the name of a value or section where that name is unique (`max_open=3`, `panic_1h=-0.02`,
    `shares={"DCA": 0.8}`, `cooldown_hours=same_for_all_tiers(1.0)`), else its path joined by two underscores
    (`stop_widening__regime_factors__panic=2.0`). Raises KeyError for a name that is not there or not unique.
    """
    tree = _spec_tree()
    for keyword, given in overrides.items():
        *path, name = keyword.split("__")
        node = tree
        for step in path:
            (holder,) = _places(node, step) or [{}]
            if step not in holder:
                raise KeyError(f"the rules have no section {step!r} (from {keyword!r})")
            node = holder[step]
        places = _places(node, name)
        if len(places) != 1:
            raise KeyError(
                f"the rules have {len(places)} values named {keyword!r}: write its path, as in a__b__{name}"
            )
        places[0][name] = given.model_dump() if isinstance(given, ByTier) else given
    return Rules.model_validate(tree)


def same_for_all_tiers(value: float) -> ByTier:
    """One number for all four tiers."""
    return ByTier(large_cap=value, mid_cap=value, small_cap=value, memecoin=value)


def _column(value: float | Sequence[float], length: int) -> np.ndarray:
    return np.array(np.broadcast_to(np.asarray(value, dtype=np.float64), (length,)))


def instruments(
    symbols: Sequence[Symbol | str],
    tier: Tier | Sequence[Tier] = Tier.LARGE_CAP,
    tick: float | Sequence[float] = 0.0,
    lot: float | Sequence[float] = 0.0,
    min_notional: float | Sequence[float] = 0.0,
    taker_fee: float | Sequence[float] = 0.003,
    maker_fee: float | Sequence[float] = 0.003,
    slippage: float | Sequence[float] | None = None,
) -> Instruments:
    """Facts per symbol; each argument is one value for all symbols or one per symbol.

    Tick and lot default to 0 (unknown grid), fees to those of the specification, and the slippage, where it
    is not given, to that of the tier.
    """
    parsed = tuple(symbol if isinstance(symbol, Symbol) else Symbol.parse(symbol) for symbol in symbols)
    count = len(parsed)
    tiers = [tier] * count if isinstance(tier, Tier) else list(tier)
    return Instruments(
        symbols=parsed,
        tier=np.array([int(t) for t in tiers], dtype=np.int8),
        tick=_column(tick, count),
        lot=_column(lot, count),
        min_notional=_column(min_notional, count),
        taker_fee=_column(taker_fee, count),
        maker_fee=_column(maker_fee, count),
        slippage=_column([SPEC_SLIPPAGE[Tier(t)] for t in tiers] if slippage is None else slippage, count),
    )
