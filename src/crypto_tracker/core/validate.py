"""What a bar must be before it is stored, and which moves are doubted."""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from crypto_tracker.core.arrays import BoolArray, CodeArray, FloatArray, IntArray
from crypto_tracker.core.timeframes import Timeframe

MISSING_TIME_MS = int(np.iinfo(np.int64).min)
"""Stands for an open time that the source did not give or that could not be read."""


class BarRule(IntEnum):
    """The rules of validation in the order in which they are judged; the first one broken is named."""

    VALID = 0
    MISSING_FIELD = 1
    NOT_FINITE = 2
    NOT_POSITIVE = 3
    HIGH_TOO_LOW = 4
    LOW_TOO_HIGH = 5
    VOLUME_NOT_FINITE = 6
    VOLUME_NEGATIVE = 7
    OFF_GRID = 8
    IN_FUTURE = 9

    @property
    def label(self) -> str:
        """The name under which the rule is stored and shown, such as `high_too_low`."""
        return self.name.lower()


def broken_rules(
    timeframe: Timeframe,
    open_time_ms: IntArray,
    prices: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    volume: FloatArray,
    *,
    now_ms: int,
) -> CodeArray:
    """The rule that each bar breaks, `BarRule.VALID` (0) where it breaks none.

    Parameters
    ----------
    timeframe : the grid on which the open times must lie
    open_time_ms : int64 (bars,), MISSING_TIME_MS where unknown
    prices : open, high, low and close, each (bars,); NaN is a missing field
    volume : (bars,); NaN means that the source does not know it, which is allowed
    now_ms : a bar that closes after this moment is not known yet: it may still change

    Returns
    -------
    int8 (bars,) of BarRule codes.

    >>> one = (np.array([10.0]), np.array([9.0]), np.array([8.0]), np.array([9.0]))
    >>> BarRule(broken_rules(Timeframe.M1, np.array([0]), one, np.array([1.0]), now_ms=60_000)[0]).label
    'high_too_low'
    """
    open_, high, low, close = prices
    stacked = np.stack(prices)
    # A comparison with NaN is false, so no rule fires on a field that is missing: MISSING_FIELD speaks first.
    broken = (
        (BarRule.MISSING_FIELD, np.isnan(stacked).any(axis=0) | (open_time_ms == MISSING_TIME_MS)),
        (BarRule.NOT_FINITE, np.isinf(stacked).any(axis=0)),
        (BarRule.NOT_POSITIVE, (stacked <= 0).any(axis=0)),
        (BarRule.HIGH_TOO_LOW, high < np.maximum(open_, close)),
        (BarRule.LOW_TOO_HIGH, low > np.minimum(open_, close)),
        (BarRule.VOLUME_NOT_FINITE, np.isinf(volume)),
        (BarRule.VOLUME_NEGATIVE, volume < 0),
        (BarRule.OFF_GRID, open_time_ms % timeframe.ms != 0),
        (BarRule.IN_FUTURE, open_time_ms > now_ms - timeframe.ms),
    )
    codes = np.zeros(len(open_time_ms), dtype=np.int8)
    for rule, mask in reversed(broken):
        codes[mask] = rule
    return codes


class Suspects(NamedTuple):
    """Which bars of a series are suspect, and when each became known."""

    suspect: BoolArray
    """(bars,), true where the close jumped."""
    confirmed_by: IntArray
    """(bars,), the index of the bar whose close confirms a suspect bar; -1 where none does."""


def suspect_bars(
    close: FloatArray, follows_unknown: BoolArray, *, move_max: float, confirm_bars: int
) -> Suspects:
    """Minute bars whose close jumped by more than `move_max`, and what became of them.

    A bar is suspect when its close differs from the close of the present bar before it by more than
    `move_max` of the latter, unless it undoes a jump: the bar before jumped too, and this close is back
    within `move_max` of the close before that jump. So of a single wrong print only the print is suspect,
    and after a true change of level only its first bar.

    A suspect bar is confirmed when the closes of the next `confirm_bars` present bars all lie within
    `move_max` of its own, and nearer to it than to the close before the jump: else the way back from a
    doubling, which is just half of it, would confirm it. It is known from the close of the last of them on.
    It counts as missing before that, and nobody acts on it later either: it enters the record as a revision.

    Whether a bar is suspect depends on the two closes before it, its confirmation on the `confirm_bars`
    closes after it. Nothing further away matters.

    Parameters
    ----------
    close : (bars,), the present bars of one symbol on 1m, in order of time, none missing
    follows_unknown : (bars,), true where unknown minutes lie between the bar before and this one; a price
        from before an outage judges nobody. The first bar counts as such.
    move_max : fraction, such as 0.50
    confirm_bars : how many bars must confirm, such as 2

    >>> close = np.array([100.0, 30.0, 101.0, 102.0])
    >>> suspect_bars(close, np.zeros(4, dtype=bool), move_max=0.5, confirm_bars=2).suspect.tolist()
    [False, True, False, False]
    """
    n = len(close)
    comparable = ~follows_unknown[1:]
    jump = np.zeros(n, dtype=np.bool_)
    jump[1:] = comparable & (np.abs(close[1:] - close[:-1]) > move_max * close[:-1])
    undoes = np.zeros(n, dtype=np.bool_)
    undoes[2:] = jump[2:] & jump[1:-1] & (np.abs(close[2:] - close[:-2]) <= move_max * close[:-2])
    suspect = jump & ~undoes

    confirmed = suspect.copy()
    before = np.concatenate([close[:1], close[:-1]])
    for distance in range(1, confirm_bars + 1):
        confirmed[max(n - distance, 0) :] = False
        if n > distance:
            move = np.abs(close[distance:] - close[:-distance])
            near = (move <= move_max * close[:-distance]) & (
                move < np.abs(close[distance:] - before[:-distance])
            )
            confirmed[:-distance] &= near & comparable[distance - 1 :]
    by = np.arange(n, dtype=np.int64) + confirm_bars
    return Suspects(suspect, np.where(confirmed, by, -1))
