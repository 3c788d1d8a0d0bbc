"""Where two lists of records first differ, in words."""

from typing import Any

import numpy as np

from crypto_tracker.core.decisions import Reason
from crypto_tracker.simulation.records import SimulationResult

Records = np.ndarray[Any, Any]

# What a gate measured is for people; the reference says it only of the correlation, which is hard to compute.
UNCOMPARED = {"measured", "limit"}


def same_bits(left: Any, right: Any) -> bool:
    """Equality to the last bit, with NaN equal to NaN."""
    return bool(left == right) or (left != left and right != right)  # noqa: PLR0124


def first_difference(name: str, compiled: Records, reference: Records) -> str | None:
    """The first differing record of two arrays; None where all agree in every field."""
    fields = [field for field in reference.dtype.names or () if field not in UNCOMPARED]
    for row in range(min(len(compiled), len(reference))):
        left, right = compiled[row], reference[row]
        if fields:
            said = UNCOMPARED if name == "decisions" and right["reason"] == Reason.CORRELATION else set()
            wrong = [field for field in [*fields, *sorted(said)] if not same_bits(left[field], right[field])]
        else:
            wrong = [] if same_bits(left, right) else [name]
        if wrong:
            return (
                f"{name}[{row}] differs in {', '.join(wrong)}\n"
                f"  fields    {reference.dtype.names or name}\n  compiled  {left}\n  reference {right}"
            )
    if len(compiled) != len(reference):
        longer, side = (compiled, "compiled") if len(compiled) > len(reference) else (reference, "reference")
        row = min(len(compiled), len(reference))
        return f"{name}[{row}] exists only in the {side}\n  fields    {longer.dtype.names or name}\n  {side} {longer[row]}"
    return None


RECORDS = (
    "decisions",
    "fills",
    "trades",
    "open_trades",
    "holdings",
    "orders",
    "regime",
    "reserved_e8",
    "cash_e8",
    "equity_e8",
)


def differences(compiled: SimulationResult, reference: SimulationResult) -> list[str]:
    """The first difference of each kind of record, earliest kinds first; empty where the two agree."""
    found = [first_difference(name, getattr(compiled, name), getattr(reference, name)) for name in RECORDS]
    return [difference for difference in found if difference is not None]
