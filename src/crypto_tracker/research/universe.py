"""Setups of symbols that did not belong to the universe of their day are withheld."""

from collections.abc import Mapping, Sequence

import numpy as np

from crypto_tracker.core.arrays import RecordArray
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.research.data_hash import DIGITS
from crypto_tracker.store.membership import Membership

NAME = "universe"  # beside the bars, in the names of what a run reads


def withhold(setups: RecordArray, symbols: Sequence[Symbol], universe: Membership | None) -> None:
    """Mark the setups, in place, that were decided while their symbol did not belong to the universe.

    What a setup is withheld for already stays; `symbols` are the columns that setups name.
    """
    if universe is None:
        return
    for column, symbol in enumerate(symbols):
        rows = np.flatnonzero(setups["symbol"] == column)
        # Starts and ends take turns: a moment lies inside where an odd number of them is not after it.
        turns = np.array(universe.periods[symbol], dtype=np.int64).ravel()
        outside = np.searchsorted(turns, setups["time_ms"][rows], side="right") % 2 == 0
        chosen = rows[outside & (setups["withheld"][rows] == 0)]
        setups["withheld"][chosen] = Reason.NOT_IN_UNIVERSE


def named(names: Mapping[str, str], universe: Membership | None) -> Mapping[str, str]:
    """The names of what a run reads beside its bars, and of the universe where it withholds any."""
    return names if universe is None else {**names, NAME: universe.digest()[:DIGITS]}
