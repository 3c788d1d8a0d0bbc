"""Crashes of the reference coin, and what each protection did in them.

Every crash is traded again, flat at its start, with all protections and then with each of them off in turn.
What comes out is stated as it is, also where a protection made it worse; nothing is tuned on it, since a few
crashes would be learned by heart. docs/evidence.md says how a crash is searched for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.errors import UsageError
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS
from crypto_tracker.portfolio.parameters import Protection
from crypto_tracker.research.backtest import scenario
from crypto_tracker.research.detection import detect
from crypto_tracker.research.market import Market
from crypto_tracker.simulation.backtest import simulate_portfolio
from crypto_tracker.simulation.kernel import QUOTE
from crypto_tracker.simulation.metrics import max_drawdown
from crypto_tracker.simulation.records import Scenario, SimulationResult
from crypto_tracker.strategies.base import StrategyEntry

FLASH_FALL = 0.10  # more than this within less than FLASH_HOURS is a flash crash
FLASH_HOURS = 4
SHARP_FALL = 0.05  # at least this is a sharp correction, also where it is deeper but not as fast
MODERATE_FALL = 0.03
FALL_HOURS = 24  # from peak to trough at most
QUIET_HOURS = 24  # before the peak and after the trough nothing belongs to another crash
NEVER = 1_000_000  # a count that nobody reaches
ALL = "all"


class CrashClass(StrEnum):
    """How a fall is called."""

    FLASH_CRASH = "FLASH_CRASH"
    SHARP_CORRECTION = "SHARP_CORRECTION"
    MODERATE_CORRECTION = "MODERATE_CORRECTION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """One fall of the reference coin, from close to close.

    Attributes
    ----------
    peak_ms, trough_ms : close times of the highest close before and of the lowest one
    depth : 1 - trough / peak
    fastest : the deepest fall inside it within less than four hours
    regained : share of the fall that came back within 24 h, at most; None where no bar follows
    """

    kind: CrashClass
    peak_ms: int
    trough_ms: int
    peak_price: float
    trough_price: float
    fastest: float
    regained: float | None

    @property
    def depth(self) -> float:
        """1 - trough / peak."""
        return 1.0 - self.trough_price / self.peak_price

    @property
    def hours(self) -> float:
        """From peak to trough."""
        return (self.trough_ms - self.peak_ms) / HOUR_MS

    @property
    def v_recovery(self) -> bool:
        """Whether a fall of more than 0.05 came back whole within 24 h."""
        return self.depth > SHARP_FALL and self.regained is not None and self.regained >= 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Safeguard:
    """One protection.

    Attributes
    ----------
    words : what it does, for people
    reasons : under which it refuses entries; empty where it refuses none
    off : the same scenario without it
    """

    name: str
    words: str
    reasons: tuple[Reason, ...]
    off: Callable[[Scenario], Scenario]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectedRun:
    """One run around a crash. Returns and drawdown are fractions of the capital at the start.

    Attributes
    ----------
    without : the protection that was off; ALL for the run with every one of them
    stops, trailing_stops : exits of closed trades
    refused : entries that this protection refused in the run with all; of ALL, those that any of them did;
        None where it refuses none
    acted : whether anything at all differs from the run with all
    """

    without: str
    return_net: float
    trades: int
    left_open: int
    stops: int
    trailing_stops: int
    max_drawdown: float
    refused: int | None
    acted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashRun:
    """A crash and its runs: with all protections first, then without each."""

    crash: Crash
    start_ms: int
    end_ms: int
    runs: tuple[ProtectedRun, ...]

    @property
    def protected(self) -> ProtectedRun:
        """The run with all protections."""
        return self.runs[0]

    def gain_of(self, run: ProtectedRun) -> float:
        """What the protection added to the return; below 0 where it made it worse."""
        return self.protected.return_net - run.return_net


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One protection over all crashes.

    Attributes
    ----------
    acted, helped, hurt : crashes in which it changed anything, the result for the better, for the worse
    gain : sum of what it added to the returns
    gain_best, gain_worst : in one crash
    drawdown_without, drawdown_with : the worst of any crash
    """

    name: str
    crashes: int
    acted: int
    helped: int
    hurt: int
    refused: int | None
    gain: float
    gain_best: float
    gain_worst: float
    drawdown_without: float
    drawdown_with: float


def find_crashes(panel: Panel, *, depth_min: float = SHARP_FALL) -> list[Crash]:
    """Every fall of the one symbol of `panel` by at least `depth_min` within 24 h, in order of time.

    The fall of a close is measured from the highest close of the 24 h before it. The deepest fall is taken
    first, with the last of its highest closes as the peak. The bars from 24 h before that peak to 24 h after
    its trough are laid aside, and what is left is searched in the same way.
    """
    if len(panel.symbols) != 1:
        raise UsageError(f"crashes are sought in one symbol, not in {len(panel.symbols)}")
    close = np.asarray(panel.close[:, 0])
    bar = panel.timeframe.ms
    window, quiet = FALL_HOURS * HOUR_MS // bar, QUIET_HOURS * HOUR_MS // bar
    left = close.copy()
    fall = falls(left, window)
    found = []
    while len(fall) and fall.max() >= depth_min:
        trough = int(fall.argmax())
        before = left[max(0, trough - window) : trough + 1]
        peak = trough - int(np.flatnonzero(before[::-1] == np.nanmax(before))[0])
        found.append(_crash(panel, peak, trough, quiet))
        aside = slice(max(0, peak - quiet), trough + quiet + 1)
        left[aside] = np.nan
        fall[aside] = 0.0
        # Only the bars that looked back at what is now aside have another fall.
        after = left[aside.stop - 1 : aside.stop + window]
        fall[aside.stop - 1 : aside.stop + window] = falls(after, window)
    return sorted(found, key=lambda crash: crash.trough_ms)


def falls(close: FloatArray, window: int) -> FloatArray:
    """Fall of each close from the highest of the `window` bars before it and itself; 0 where there is none.

    >>> falls(np.array([100.0, 75.0, np.nan, 75.0]), 2).tolist()
    [0.0, 0.25, 0.0, 0.0]
    """
    return np.where(np.isnan(close), 0.0, np.maximum(1.0 - close / rolling_max(close, window + 1), 0.0))


def rolling_max(values: FloatArray, window: int) -> FloatArray:
    """Highest of each value and the window - 1 before it, past NaN; NaN where there is none.

    Source: M. van Herk, "A fast algorithm for local minimum and maximum filters", 1992.

    >>> rolling_max(np.array([3.0, np.nan, 1.0, 2.0]), 2).tolist()
    [3.0, 3.0, 1.0, 2.0]
    """
    rows = len(values)
    low = np.where(np.isnan(values), -np.inf, values)
    padded = np.concatenate([np.full(window - 1, -np.inf), low])
    padded = np.concatenate([padded, np.full(-len(padded) % window, -np.inf)]).reshape(-1, window)
    upwards = np.maximum.accumulate(padded, axis=1).ravel()
    downwards = np.maximum.accumulate(padded[:, ::-1], axis=1)[:, ::-1].ravel()
    highest = np.maximum(downwards[:rows], upwards[window - 1 : window - 1 + rows])
    return np.where(np.isneginf(highest), np.nan, highest)


def run_crash(
    market: Market,
    entries: Sequence[StrategyEntry],
    configuration: Configuration,
    crash: Crash,
    *,
    progress: Callable[[str], None],
) -> CrashRun:
    """Trade the market around a crash with all protections, and without each; `progress` is told which."""
    base = _scenario(market, entries, configuration)
    progress(ALL)
    result = simulate_portfolio(base)
    refused = _refusals(result)
    runs = [_measured(ALL, base, result, result, sum(refused.values()))]
    for safeguard in safeguards():
        progress(safeguard.name)
        other = safeguard.off(base)
        count = sum(refused.get(reason, 0) for reason in safeguard.reasons) if safeguard.reasons else None
        runs.append(_measured(safeguard.name, other, simulate_portfolio(other), result, count))
    progress(SLOW_REGIME)
    blind = replace(
        market, views={key: replace(view, slow_regime=None) for key, view in market.views.items()}
    )
    other = _scenario(blind, entries, configuration)
    runs.append(_measured(SLOW_REGIME, other, simulate_portfolio(other), result, None))
    return CrashRun(crash=crash, start_ms=market.start_ms, end_ms=market.end_ms, runs=tuple(runs))


def verdicts(crashes: Sequence[CrashRun]) -> list[Verdict]:
    """Every protection over all crashes, in the order in which they were switched off."""
    if not crashes:
        return []
    found = []
    for place in range(1, len(crashes[0].runs)):
        pairs = [(crash, crash.runs[place]) for crash in crashes]
        gains = [crash.gain_of(run) for crash, run in pairs]
        counts = [run.refused for _, run in pairs if run.refused is not None]
        found.append(
            Verdict(
                name=pairs[0][1].without,
                crashes=len(pairs),
                acted=sum(run.acted for _, run in pairs),
                helped=sum(gain > 0.0 for gain in gains),
                hurt=sum(gain < 0.0 for gain in gains),
                refused=sum(counts) if counts else None,
                gain=float(sum(gains)),
                gain_best=max(gains),
                gain_worst=min(gains),
                drawdown_without=max(run.max_drawdown for _, run in pairs),
                drawdown_with=max(crash.protected.max_drawdown for crash in crashes),
            )
        )
    return found


SLOW_REGIME = "slow_regime"


def safeguards() -> tuple[Safeguard, ...]:
    """The protections that a simulation can be run without; the slow regime, which strategies see, is not."""
    return (
        Safeguard(
            name="panic",
            words="no entries in PANIC, which also ends resting rungs",
            reasons=(Reason.REGIME_PANIC,),
            off=lambda base: _protected(base, fast_regime={"panic_1h": -np.inf, "panic_4h": -np.inf}),
        ),
        Safeguard(
            name="fast_regime",
            words="PANIC, and smaller sizes and wider stops in CAUTION and EUPHORIA",
            reasons=(Reason.REGIME_PANIC,),
            off=lambda base: _protected(
                base,
                fast_regime={
                    **dict.fromkeys(
                        ("panic_1h", "panic_4h", "caution_1h", "caution_24h", "caution_48h"), -np.inf
                    ),
                    "euphoria_1h": np.inf,
                },
            ),
        ),
        Safeguard(
            name="cancelled_rungs",
            words="resting rungs of a ladder end when PANIC begins",
            reasons=(),
            off=lambda base: _protected(base, cancel_rungs_in_panic=False),
        ),
        Safeguard(
            name="day_loss",
            words="no entries for the rest of a day that lost too much",
            reasons=(Reason.DAY_LOSS,),
            off=lambda base: _protected(base, day_loss_max=np.inf),
        ),
        Safeguard(
            name="drawdown",
            words="no entries once equity is too far below its peak",
            reasons=(Reason.DRAWDOWN,),
            off=lambda base: _protected(base, drawdown_max=np.inf),
        ),
        Safeguard(
            name="losing_streak",
            words="a strategy pauses after losing trades in a row",
            reasons=(Reason.LOSING_STREAK,),
            off=lambda base: _protected(base, losing_streak=NEVER),
        ),
        Safeguard(
            name="cooldown",
            words="a symbol pauses after stop losses in a row",
            reasons=(Reason.COOLDOWN,),
            off=lambda base: _protected(base, cooldown_stops=NEVER),
        ),
        Safeguard(
            name="volatility",
            words="strategies that are switched off, or made smaller, in volatile markets",
            reasons=(Reason.VOLATILITY_HIGH,),
            off=lambda base: _protected(base, volatility={"switches": {}, "sizes": {}}),
        ),
        Safeguard(
            name="stop_widening",
            words="stops that are wider in volatile markets and regimes",
            reasons=(),
            off=lambda base: _protected(base, stop_widening=_unwidened(base.rules.protection)),
        ),
        Safeguard(
            name="stop_loss",
            words="the stop below the average entry; the trailing stop stays",
            reasons=(),
            off=_without_stop,
        ),
        Safeguard(
            name="trailing",
            words="the stop that follows the highest high",
            reasons=(Reason.TRAILING_TOO_TIGHT,),
            off=lambda base: _with_setups(base, trailing=0.0),
        ),
    )


def _kind(depth: float, fastest: float) -> CrashClass:
    if fastest > FLASH_FALL:
        return CrashClass.FLASH_CRASH
    return CrashClass.SHARP_CORRECTION if depth >= SHARP_FALL else CrashClass.MODERATE_CORRECTION


def _crash(panel: Panel, peak: int, trough: int, quiet: int) -> Crash:
    close = np.asarray(panel.close[:, 0])
    inside, after = close[peak : trough + 1], close[trough + 1 : trough + quiet + 1]
    fastest = float(falls(inside, FLASH_HOURS * HOUR_MS // panel.timeframe.ms - 1).max())
    regained = None
    if not np.isnan(after).all():
        regained = max(float((np.nanmax(after) - close[trough]) / (close[peak] - close[trough])), 0.0)
    return Crash(
        kind=_kind(float(1.0 - close[trough] / close[peak]), fastest),
        peak_ms=int(panel.close_time_ms[peak]),
        trough_ms=int(panel.close_time_ms[trough]),
        peak_price=float(close[peak]),
        trough_price=float(close[trough]),
        fastest=fastest,
        regained=regained,
    )


def _scenario(market: Market, entries: Sequence[StrategyEntry], configuration: Configuration) -> Scenario:
    near = configuration.decisions.near_miss_readiness
    setups = detect(market, entries, near_miss_readiness=near, version="").setups
    return scenario(market, entries, setups, configuration)


def _protected(base: Scenario, **changes: object) -> Scenario:
    """The scenario with other protection; a mapping changes the fields of that part."""
    protection = base.rules.protection
    update = {
        name: getattr(protection, name).model_copy(update=change) if isinstance(change, dict) else change
        for name, change in changes.items()
    }
    return replace(
        base, rules=base.rules.model_copy(update={"protection": protection.model_copy(update=update)})
    )


def _with_setups(base: Scenario, **fields: float) -> Scenario:
    setups = base.setups.copy()
    for name, value in fields.items():
        setups[name] = value
    return replace(base, setups=setups)


def _unwidened(protection: Protection) -> dict[str, object]:
    factors = protection.stop_widening.regime_factors
    return {
        "slope": 0.0,
        "regime_factors": factors.model_copy(update=dict.fromkeys(type(factors).model_fields, 1.0)),
    }


def _without_stop(base: Scenario) -> Scenario:
    """Stops at a price of 0, which no bar reaches."""
    caps = base.rules.protection.stop_widening.caps
    whole = {
        **_unwidened(base.rules.protection),
        "caps": caps.model_copy(update=dict.fromkeys(type(caps).model_fields, 1.0)),
    }
    return _with_setups(_protected(base, stop_widening=whole), stop_loss=1.0)


def _refusals(result: SimulationResult) -> dict[Reason, int]:
    """How many setups each protection refused, or ended before they were filled."""
    watched = {reason for safeguard in safeguards() for reason in safeguard.reasons}
    decisions = result.decisions
    counts: dict[Reason, int] = {}
    for reason in watched:
        hit = (decisions["reason"] == reason) | (
            (decisions["reason"] == Reason.ACCEPTED) & (decisions["end"] == reason)
        )
        counts[reason] = int(hit.sum())
    return counts


def _measured(
    name: str, inputs: Scenario, result: SimulationResult, base: SimulationResult, refused: int | None
) -> ProtectedRun:
    start = inputs.rules.capital_quote
    equity = result.equity_e8 / QUOTE
    reasons = result.trades["exit_reason"]
    acted = not np.array_equal(result.equity_e8, base.equity_e8) or not np.array_equal(
        result.fills, base.fills
    )
    return ProtectedRun(
        without=name,
        return_net=float(equity[-1]) / start - 1.0,
        trades=len(result.trades),
        left_open=len(result.open_trades),
        stops=int((reasons == ExitReason.STOP_LOSS).sum()),
        trailing_stops=int((reasons == ExitReason.TRAILING_STOP).sum()),
        max_drawdown=max_drawdown(equity, start),
        refused=refused,
        acted=acted,
    )


def window_of(crash: Crash, *, days_before: float, days_after: float) -> tuple[int, int]:
    """The span [start, end) that is traded around a crash."""
    return crash.peak_ms - int(days_before * DAY_MS), crash.trough_ms + int(days_after * DAY_MS)
