"""Names held as small numbers: a column of codes, and the names that they stand for."""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from crypto_tracker.core.arrays import BoolArray


def coded(known: tuple[str, ...], names: Sequence[str]) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """All names there are, new ones behind those that were known, and the place of each of `names`.

    >>> all_names, codes = coded(("a",), ["b", "a", "b"])
    >>> all_names, codes.tolist()
    (('a', 'b'), [1, 0, 1])
    """
    both = tuple(dict.fromkeys((*known, *dict.fromkeys(names))))
    codes = {name: code for code, name in enumerate(both)}
    return both, np.fromiter(map(codes.__getitem__, names), dtype=np.int32, count=len(names))


def wanted(names: Sequence[str], these: Collection[str]) -> BoolArray:
    """For each of the names whether it is one of these, to be looked up by code."""
    return np.array([name in these for name in names], dtype=np.bool_)
