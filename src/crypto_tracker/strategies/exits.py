"""How a setup is to be closed again, by tier, and the plan that carries it."""

import numpy as np
from pydantic import model_validator

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.model import Frozen, Hours
from crypto_tracker.core.tiers import ByTier
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.strategies.base import Plan


class Exits(Frozen):
    """Distances from the average entry as fractions, by tier, and the longest holding time."""

    take_profit: ByTier
    stop_loss: ByTier
    trailing: ByTier  # 0 for no trailing stop
    max_hold_hours: Hours

    @model_validator(mode="after")
    def _distances_make_sense(self) -> "Exits":
        if np.any(self.take_profit.array() <= 0.0):
            raise ValueError("take_profit must be above 0 for every tier")
        for name in ("stop_loss", "trailing"):
            distances = getattr(self, name).array()
            if np.any(distances < 0.0) or np.any(distances >= 1.0):
                raise ValueError(f"{name} must be at least 0 and below 1 for every tier")
        if np.any(self.stop_loss.array() == 0.0):
            raise ValueError("stop_loss must be above 0 for every tier")
        return self


def by_tier(values: ByTier, instruments: Instruments) -> FloatArray:
    """The number of each symbol's tier, (1, symbols), to be broadcast over bars."""
    return values.array()[instruments.tier][np.newaxis, :]


def make_plan(
    instruments: Instruments,
    exits: Exits,
    *,
    size_quote: float,
    levels: int = 1,
    spacing: float = 0.0,
    max_entry_gap: float = np.nan,
    take_profit: FloatArray | None = None,
) -> Plan:
    """The plan of a strategy whose numbers depend on the tier alone; arrays are (1, symbols).

    `take_profit` replaces the table's target where a strategy sets its own, (bars, symbols).
    """
    row = (1, len(instruments.symbols))
    return Plan(
        size_quote=np.full(row, size_quote),
        levels=np.full(row, levels, dtype=np.int64),
        spacing=np.full(row, spacing),
        take_profit=by_tier(exits.take_profit, instruments) if take_profit is None else take_profit,
        stop_loss=by_tier(exits.stop_loss, instruments),
        trailing=by_tier(exits.trailing, instruments),
        max_hold_ms=np.full(row, round(exits.max_hold_hours * HOUR_MS), dtype=np.int64),
        max_entry_gap=np.full(row, max_entry_gap),
    )
