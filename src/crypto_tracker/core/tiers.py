"""A value for each tier."""

import numpy as np

from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.model import Frozen


class ByTier(Frozen):
    """One number for each tier, in whatever unit the owner states."""

    large_cap: float
    mid_cap: float
    small_cap: float
    memecoin: float

    def array(self) -> FloatArray:
        """The four numbers indexed by `Tier`."""
        return np.array([self.large_cap, self.mid_cap, self.small_cap, self.memecoin])
