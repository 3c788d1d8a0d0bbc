"""When protections stood in a finished run: spans to be drawn over its equity.

They follow from the records (docs/simulator.md, sections 4 and 6), so nothing has to be kept for them.
Cooldowns of single symbols are left out: they are more than a picture can hold.
"""

from dataclasses import dataclass

import numpy as np

from crypto_tracker.core.arrays import BoolArray, IntArray, RecordArray
from crypto_tracker.core.decisions import Regime
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.simulation.backtest import scenario_market
from crypto_tracker.simulation.driver import trading_days
from crypto_tracker.simulation.kernel import QUOTE
from crypto_tracker.simulation.records import Scenario, SimulationResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A protection that stood over [start_ms, end_ms).

    Attributes
    ----------
    kind : `panic`, `caution` or `euphoria` (fast regime), `day_loss`, `drawdown`, `losing_streak`,
        `volatility_high`
    strategy : the one concerned; None where all are
    """

    kind: str
    strategy: str | None
    start_ms: int
    end_ms: int


def bands(scenario: Scenario, result: SimulationResult) -> list[Band]:
    """Every protection that stood in a run to which no person gave commands, in order of time."""
    rows = len(result.equity_e8)
    if not rows:
        return []
    closes = scenario.panel.close_time_ms[:rows]
    step = scenario.panel.timeframe.ms
    found: list[Band] = []
    for regime in (Regime.PANIC, Regime.CAUTION, Regime.EUPHORIA):
        found += _spans(regime.name.lower(), None, result.regime == regime, closes, step)
    found += _spans("day_loss", None, _day_losses(scenario, result), closes, step)
    found += _spans("drawdown", None, _halted(scenario, result), closes, step)
    switched_on = scenario_market(scenario, scenario.commands).switched_on
    for index, name in enumerate(scenario.strategies):
        found += _spans("volatility_high", name, ~switched_on[:rows, index], closes, step)
        found += _streaks(
            name, result.trades[result.trades["strategy"] == index], scenario, int(closes[-1]) + step
        )
    return sorted(found, key=lambda band: (band.start_ms, band.kind, band.strategy or ""))


def _spans(kind: str, strategy: str | None, on: BoolArray, closes: IntArray, step_ms: int) -> list[Band]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], on, [False]]).astype(np.int8)))
    return [
        Band(
            kind=kind, strategy=strategy, start_ms=int(closes[first]), end_ms=int(closes[stop - 1]) + step_ms
        )
        for first, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    ]


def _day_losses(scenario: Scenario, result: SimulationResult) -> BoolArray:
    """Closes at which the day's latch was shut: from the first loss that is large enough to the day's end."""
    equity = result.equity_e8.astype(np.float64)
    days = trading_days(scenario.panel.open_time_ms[: len(equity)], scenario.rules.timezone)
    starts = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    before = np.concatenate([[scenario.rules.capital_quote * QUOTE], equity])[starts]
    base = np.repeat(before, np.diff(np.append(starts, len(equity))))
    hit = (base - equity) / base >= scenario.rules.protection.day_loss_max
    return np.concatenate([np.logical_or.accumulate(part) for part in np.split(hit, starts[1:])])


def _halted(scenario: Scenario, result: SimulationResult) -> BoolArray:
    """Closes after the fall from the peak that halts entries for good."""
    equity = result.equity_e8.astype(np.float64)
    peak = np.maximum.accumulate(np.maximum(equity, scenario.rules.capital_quote * QUOTE))
    halted: BoolArray = np.logical_or.accumulate(
        (peak - equity) / peak >= scenario.rules.protection.drawdown_max
    )
    return halted


def _streaks(name: str, trades: RecordArray, scenario: Scenario, end_ms: int) -> list[Band]:
    """The pauses of one strategy after losing trades in a row; `trades` in the order in which they closed."""
    rules = scenario.rules.protection
    pause_ms = round(rules.losing_streak_hours * HOUR_MS)
    found: list[Band] = []
    lost, until_ms = 0, 0
    for trade in trades:
        close_ms = int(trade["exit_ms"]) + scenario.panel.timeframe.ms
        if 0 < until_ms <= close_ms:
            lost, until_ms = 0, 0
        if trade["exit_reason"] in (ExitReason.DATA_LOST, ExitReason.END_OF_DATA):
            continue
        if trade["pnl_e8"] < 0:
            lost += 1
            if lost == rules.losing_streak:
                until_ms = close_ms + pause_ms
                found.append(
                    Band(
                        kind="losing_streak",
                        strategy=name,
                        start_ms=close_ms,
                        end_ms=min(until_ms, end_ms),
                    )
                )
        elif trade["pnl_e8"] > 0:
            lost = 0
    return found
