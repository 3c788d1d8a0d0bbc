"""What the market of a recorded run was like, from the stored bars of its reference: runs keep no regimes."""

from dataclasses import dataclass

import numpy as np

from crypto_tracker.app.serving.candles import source_of
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.core.decisions import Regime
from crypto_tracker.core.timeframes import DAY_MS
from crypto_tracker.desk.views import accounts as views
from crypto_tracker.portfolio.regime import NO_FORCE, follow_market
from crypto_tracker.strategies.needs import REFERENCE_LEAD_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMarket:
    """How the fast regime went, outside NORMAL, what it was at the end, and how far the reference moved.

    `last` and `change` are None where the bars of the reference are not there; `whole` says whether it is
    known of every one of them.
    """

    spans: tuple[views.RegimeSpan, ...]
    last: Regime | None
    change: float | None
    whole: bool


def run_market(scope: Scope) -> RunMarket:
    """Go through the span of the run by the rules of its configuration, as its backtest did."""
    nothing = RunMarket(spans=(), last=None, change=None, whole=False)
    if scope.reference is None:
        return nothing
    lead_ms = REFERENCE_LEAD_DAYS * DAY_MS
    panel = source_of(scope).panel([scope.reference], scope.base, scope.start_ms - lead_ms, scope.until_ms)
    bars = (scope.until_ms - scope.start_ms) // scope.base.ms
    close = panel.close[len(panel) - bars :, 0]
    known = np.flatnonzero(~np.isnan(close))
    if not len(known):
        return nothing
    forced = np.full(bars, NO_FORCE, dtype=np.int8)
    state, _ = follow_market(panel, scope.strategies, scope.configuration.protection, forced, None)
    times = panel.open_time_ms[len(panel) - bars :]
    starts = np.flatnonzero(np.diff(state.regime, prepend=-1))
    ends = np.append(starts[1:], bars)
    return RunMarket(
        spans=tuple(
            views.RegimeSpan(
                start_ms=int(times[start]),
                end_ms=int(times[end]) if end < bars else scope.until_ms,
                regime=Regime(int(state.regime[start])).name,
            )
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
            if state.regime[start] != Regime.NORMAL
        ),
        last=Regime(int(state.regime[-1])),
        change=float(close[known[-1]] / close[known[0]] - 1.0),
        whole=bool(panel.covered[len(panel) - bars :].all()),
    )
