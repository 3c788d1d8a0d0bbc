"""From measurements to a confidence between 0 and 1: the one scale that all strategies share.

A setup that meets every threshold exactly has confidence 0.5, and one that is strong in everything
approaches 1. It is no probability: it ranks setups, and refuses those that only just scrape past
(`limits.min_confidence`).
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from crypto_tracker.core.arrays import BoolArray, FloatArray

Weight = Annotated[float, Field(ge=0.0)]
Multiple = Annotated[float, Field(gt=1.0)]  # of a threshold
Bonus = Annotated[float, Field(ge=0.0, lt=1.0)]

AT_THRESHOLD = 0.5


def graded(measured: FloatArray, *, threshold: float | FloatArray, strong: float | FloatArray) -> FloatArray:
    """Grade of a measurement: 0 up to 0, 0.5 at its threshold, 1 from `strong` on; linear between.

    >>> graded(np.array([-1.0, 0.01, 0.02, 0.03, 0.04, 9.0]), threshold=0.02, strong=0.04).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    below = AT_THRESHOLD * measured / threshold
    above = AT_THRESHOLD + (1.0 - AT_THRESHOLD) * (measured - threshold) / (strong - threshold)
    return np.asarray(np.clip(np.where(measured < threshold, below, above), 0.0, 1.0))


def weighted_mean(graded_and_weights: Sequence[tuple[FloatArray, float]]) -> FloatArray:
    """Mean of grades by weight; the weights need not add up to 1, but one of them must be above 0."""
    total = sum(weight for _, weight in graded_and_weights)
    mean = sum(grade * (weight / total) for grade, weight in graded_and_weights)
    return np.asarray(mean)


def raised(confidence: FloatArray, signs: Sequence[tuple[BoolArray, float]]) -> FloatArray:
    """Confidence raised by each sign that is present: a bonus takes away that share of what is missing to 1.

    >>> raised(np.array([0.5]), [(np.array([True]), 0.1), (np.array([True]), 0.2)]).round(3).tolist()
    [0.64]
    """
    doubt = 1.0 - confidence
    for present, bonus in signs:
        doubt = np.where(present, doubt * (1.0 - bonus), doubt)
    return np.asarray(1.0 - doubt)


def some_weight(*weights: float) -> None:
    """Refuse weights that are all 0."""
    if not sum(weights) > 0.0:
        raise ValueError("the weights of the confidence are all 0: one of them must be above 0")
