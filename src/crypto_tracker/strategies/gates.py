"""Gates: the tests that a scan must pass, one after the other, and how their results are put together."""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from crypto_tracker.core.arrays import BoolArray, CodeArray, FloatArray
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.model import Frozen
from crypto_tracker.strategies.base import Detection, Explanation, Features

# A threshold is a decimal number, a measurement a binary one: 1 - 90 / 100 is 0.09999999999999998. What
# misses its threshold by less than this share of it has met it.
ROUNDING = 1e-9

ParametersT = TypeVar("ParametersT", bound=Frozen)


def at_least(measured: FloatArray, required: float | FloatArray) -> BoolArray:
    """Whether a measurement reaches a threshold, rounding forgiven; false where it is NaN.

    >>> at_least(np.array([1 - 90 / 100, 0.0999]), 0.1).tolist()
    [True, False]
    """
    return np.asarray(measured >= required - ROUNDING * np.abs(required))


def at_most(measured: FloatArray, required: float | FloatArray) -> BoolArray:
    """Whether a measurement stays within a threshold, rounding forgiven; false where it is NaN."""
    return np.asarray(measured <= required + ROUNDING * np.abs(required))


_DIGITS_MOST = 9  # decimals of a number that lies close to its threshold
_CUT_NOISE = 1e-4  # of the last digit that is shown: what records of measurements, in float32, are off

Gate = tuple[Reason, BoolArray]  # what is said of the scans that fail it, and where it is passed


def first_failure(features: Features, gates: Sequence[Gate]) -> CodeArray:
    """The reason of every scan, int8 (bars, symbols): the first gate that it fails, or ACCEPTED.

    Before the gates come NO_BAR, where no bar exists, and NOT_READY, where the warm-up does not.
    """
    reason = np.full(features.ready.shape, Reason.ACCEPTED, dtype=np.int8, order="F")
    for code, passed in reversed(gates):
        reason[~passed] = code
    reason[~features.ready] = Reason.NOT_READY
    reason[~features.panel.present] = Reason.NO_BAR
    return reason


def where_scanned(features: Features, values: FloatArray) -> FloatArray:
    """`values` where a scan took place, NaN where the bar or the warm-up is missing."""
    scanned = features.ready & features.panel.present
    return np.asfortranarray(np.where(scanned, values, np.nan))


def expect(parameters: Frozen, model: type[ParametersT], strategy: str) -> ParametersT:
    """`parameters` as the strategy's own model; raises UsageError for another strategy's."""
    if not isinstance(parameters, model):
        raise UsageError(f"{strategy} takes {model.__name__}, but was given {type(parameters).__name__}")
    return parameters


def data_explanations(detection: Detection, features: Features, row: int, column: int) -> list[Explanation]:
    """The gates before every strategy's own: the bar must exist and the warm-up must be complete."""
    symbol = detection.panel.symbols[column]
    timeframe = detection.panel.timeframe
    present = bool(detection.panel.present[row, column])
    bar = Explanation(
        gate=Reason.NO_BAR.code,
        passed=present,
        measured=float(present),
        required=1.0,
        sentence=f"the {timeframe} bar of {symbol} "
        + ("exists" if present else "does not exist: nothing is scanned until the next one closes"),
    )
    ready = bool(features.ready[row, column])
    history = features.values["history"][row, column]
    if ready:
        seen = "the warm-up is complete"
    elif history < 1.0:
        share = percent(history, beside=1.0)
        seen = f"{share} of the bars that the warm-up needs exist; a scan needs all of them"
    else:
        seen = "a measurement is missing: bars or volumes are lacking among the last ones"
    warmup = Explanation(
        gate=Reason.NOT_READY.code, passed=ready, measured=float(history), required=1.0, sentence=seen
    )
    return [bar] if not present else [bar, warmup]


def volume_explanation(ratio: float, required: float, *, window: int, passed: bool) -> Explanation:
    """What the volume gate saw: the bar's volume over the mean of `window` bars, and what was needed."""
    return Explanation(
        gate=Reason.VOLUME_LOW.code,
        passed=passed,
        measured=ratio,
        required=required,
        sentence=f"the volume is {number(ratio, 2, beside=required)} x its {window}-bar mean; "
        f"a setup needs {required:g} x",
    )


def cut(value: float, digits: int) -> float:
    """A measurement as it is shown, cut off downwards behind so many decimals and never rounded up.

    So it meets every threshold of so many decimals that the measurement itself meets, and no other: what one
    reads is true. What lies within the rounding of binary numbers below a shown number is that number.

    >>> cut(0.9984, 2), cut(-0.00141, 4), cut(0.1 + 0.2, 1)
    (0.99, -0.0015, 0.3)
    """
    if not math.isfinite(value):
        return value
    unit = 10.0**digits
    near = round(value * unit)
    return (near if abs(value * unit - near) < _CUT_NOISE else math.floor(value * unit)) / unit


def number(value: float, digits: int, *, beside: float) -> str:
    """A measurement with so many decimals (see `cut`), and more where it would not read as it was judged.

    >>> number(0.9984, 2, beside=1.0), number(0.4, 2, beside=1.0), number(1.0049, 2, beside=1.004)
    ('0.99', '0.40', '1.004')
    """
    seen, digits = _seen(value, beside, float(f"{beside:g}"), digits)
    return f"{seen:.{digits}f}"


def percent(fraction: float, *, beside: float | None = None) -> str:
    """A fraction as people read it; a measurement `beside` its threshold is cut off as `number` does it.

    >>> percent(0.0251), percent(-0.3), percent(0.00004), percent(0.024997, beside=0.025)
    ('2.51 %', '-30 %', '0.004 %', '2.49 %')
    """
    shown, digits = round(100.0 * fraction, _percent_digits(fraction)), _percent_digits(fraction)
    if beside is not None:
        other = 100.0 * beside
        shown, digits = _seen(100.0 * fraction, other, round(other, _percent_digits(beside)), digits)
    return f"{shown:.{6 if digits <= 4 else 12}g} %"


def share_of_height(place: float, *, beside: float) -> str:
    """A place in a channel in whole percent of its height; `beside` is the most that it may be.

    What must be low enough is cut off upwards, and what lies below the line downwards.

    >>> share_of_height(0.2507, beside=0.25), share_of_height(0.25, beside=0.25)
    ('26 %', '25 %')
    >>> share_of_height(0.253, beside=0.255), share_of_height(-0.831, beside=0.25)
    ('25 %', '84 %')
    """
    if place < 0.0:
        return f"{-cut(100.0 * place, 0):.0f} %"
    shown, digits = _seen(-100.0 * place, -100.0 * beside, -round(100.0 * beside, 2), 0)
    return f"{abs(shown):.{digits}f} %"


def _percent_digits(fraction: float) -> int:
    return 2 if abs(fraction) >= 0.001 else 4


def _seen(value: float, other: float, other_shown: float, digits: int) -> tuple[float, int]:
    """A measurement as it is shown beside a threshold, and with how many decimals: cut off.

    A threshold that is itself rounded may read as met where it is not, or the other way round: then the
    nearest number is tried, and more decimals.
    """
    met = value >= other - ROUNDING * abs(other)
    for decimals in range(digits, _DIGITS_MOST):
        for seen in (cut(value, decimals), round(value, decimals)):
            if (seen >= other_shown) == met:
                return seen, decimals
    return value, _DIGITS_MOST


def price(value: float) -> str:
    """A price as people read it, six figures or all of the whole ones.

    >>> price(101.23456), price(0.0000123456789), price(1234567.8)
    ('101.235', '0.0000123457', '1,234,568')
    """
    if not np.isfinite(value) or value == 0.0:
        return f"{value:g}"
    decimals = max(0, 5 - int(np.floor(np.log10(abs(value)))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
