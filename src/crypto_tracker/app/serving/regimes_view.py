"""Stretches of time in one fast regime as pages show them; accounts and recorded runs share it."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import TypeVar

from crypto_tracker.desk.views import accounts as views

SpanT = TypeVar("SpanT")

REGIMES_MAX = 2_000
"""Stretches in one answer, the newest."""


def regimes_view(
    spans: Sequence[SpanT],
    shown: Callable[[SpanT], views.RegimeSpan],
    *,
    begun: Callable[[SpanT], int],
    ended: Callable[[SpanT], int],
    start_ms: int | None,
    end_ms: int | None,
) -> views.Regimes:
    """Those of the stretches, in order of time, of which some part lies in [start_ms, end_ms)."""
    first = 0 if start_ms is None else bisect_right(spans, start_ms, key=ended)
    stop = len(spans) if end_ms is None else max(bisect_left(spans, end_ms, key=begun), first)
    left_out = max(stop - first - REGIMES_MAX, 0)
    return views.Regimes(
        items=[shown(span) for span in spans[first + left_out : stop]],
        note="only the newest stretches are told: ask for a shorter span" if left_out else None,
    )
