"""Seeded markets that are as nasty as the rules allow: every rule of the simulator happens in some of them."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Regime, SlowRegime, Tier
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, Timeframe, to_ms
from crypto_tracker.simulation.books import OrderBooks, Snapshot, order_books
from crypto_tracker.simulation.parameters import FillSource, Rules
from crypto_tracker.simulation.records import COMMAND_DTYPE, CommandKind, Scenario
from crypto_tracker.strategies.base import EVENT_RESET, EVENT_SETUP, SETUP_DTYPE, WITHHELD_FOR
from tests.simulation.rules import instruments, same_for_all_tiers, spec_rules

Random = np.random.Generator
Floats = np.ndarray[Any, np.dtype[np.float64]]

# Column order is not text order, so that ties in rank do not fall in line by chance.
SYMBOLS = ("SOL/USD", "BTC/USD", "PEPE/USD", "ETH/USD", "ADA/USD", "1INCH/USD")
STRATEGIES = ("DCA", "SWING", "CHANNEL", "GRID")
ZONES = ("UTC", "UTC", "Asia/Tokyo", "America/New_York", "Asia/Kolkata")
MIDNIGHTS = (
    datetime(2025, 8, 1, tzinfo=UTC),
    datetime(2025, 11, 2, tzinfo=UTC),
    datetime(2025, 3, 9, tzinfo=UTC),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The span of a market, and how far its prices move."""

    timeframe: Timeframe
    start_ms: int
    rows: int
    symbols: tuple[str, ...]
    move: float  # typical move of a bar
    round_numbers: bool  # prices, levels and costs in whole hundredths, so that prices meet levels exactly
    strategies: tuple[str, ...]
    turning: bool  # the market favours one strategy after the other, and what they hold is closed for it
    crowded: bool  # little capital, wide exits and rising prices: cash becomes scarce before shares do


def one_of(random: Random, *choices: Any, weights: tuple[float, ...] | None = None) -> Any:
    """One of the choices, as it is."""
    if weights is None:
        return choices[int(random.integers(len(choices)))]
    drawn = random.random() * sum(weights)
    for choice, weight in zip(choices, weights, strict=True):
        drawn -= weight
        if drawn < 0.0:
            return choice
    return choices[-1]


def a_frame(random: Random) -> Frame:
    """Span, symbols and strategies."""
    timeframe = one_of(random, Timeframe.M1, Timeframe.M15, Timeframe.H1, weights=(0.74, 0.16, 0.10))
    rows = int(random.integers(30, one_of(random, 90, 160, 401, weights=(0.5, 0.35, 0.15))))
    midnight = to_ms(one_of(random, *MIDNIGHTS)) + HOUR_MS * one_of(random, 0, 0, 4, 5, 15, 18)
    before = timeframe.ms * int(random.integers(0, rows))
    order = random.permutation(len(STRATEGIES))[: int(random.integers(1, 5))]
    crowded = bool(random.random() < 0.06)
    turning = bool(random.random() < 0.06) and not crowded
    timeframe = Timeframe.H1 if turning else timeframe
    return Frame(
        timeframe=timeframe,
        start_ms=timeframe.floor(midnight - before),
        rows=rows,
        symbols=SYMBOLS if crowded else SYMBOLS[: int(random.integers(1, 7))],
        move=0.03
        if crowded
        else 0.003
        if turning
        else one_of(random, 0.0005, 0.003, 0.01, 0.03, weights=(0.15, 0.35, 0.35, 0.15)),
        round_numbers=bool(random.random() < 0.25) and not crowded,
        strategies=STRATEGIES[:2] if crowded else tuple(STRATEGIES[place] for place in order),
        turning=turning,
        crowded=crowded,
    )


def some_lots(random: Random, price: Floats) -> list[float]:
    """Lots worth about 0.3 to 30 quote, so that some orders buy no lot at all; 0 for continuous quantities."""
    lots = []
    for start in price:
        worth = one_of(random, 0.3, 3.0, 30.0)
        power = 10.0 ** round(np.log10(worth / start))
        lots.append(0.0 if random.random() < 0.4 else power * one_of(random, 1, 2))
    return lots


def some_instruments(random: Random, frame: Frame) -> tuple[Instruments, Floats]:
    """Facts of the symbols, and the prices at which they begin."""
    count = len(frame.symbols)
    if frame.round_numbers:
        tick: Any = [one_of(random, 0.0, 0.5, 1.0) for _ in range(count)]
        price = np.full(count, 100.0)
        slippage: Any = [one_of(random, 0.0, 0.01) for _ in range(count)]
    else:
        tick = [one_of(random, 0.0, 0.01, 1e-5, 0.25, 0.03, 2.0) for _ in range(count)]
        price = np.array(
            [step * random.integers(300, 20_000) if step else 10 ** random.uniform(-4, 4) for step in tick]
        )
        slippage = one_of(random, None, [random.choice([0.0, 0.001, 0.02]) for _ in range(count)])
    if frame.round_numbers:
        lot: list[float] = [one_of(random, 0.0, 0.1, 0.01) for _ in range(count)]
    else:
        lot = some_lots(random, price)
    fees = one_of(random, (0.003, 0.003), (0.0, 0.0), (0.001, 0.004), (0.01, 0.0))
    facts = instruments(
        frame.symbols,
        tier=[Tier(int(random.integers(0, 4))) for _ in range(count)],
        tick=tick,
        lot=lot,
        min_notional=[one_of(random, 0.0, 0.0, 5.0, 40.0, weights=(2, 2, 2, 0.5)) for _ in range(count)],
        taker_fee=fees[0],
        maker_fee=fees[1],
        slippage=slippage,
    )
    return facts, price


def a_walk(
    random: Random, frame: Frame, rows: int, start: float, tick: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Open, high, low and close of a wild symbol, above zero and on the tick grid where there is one."""
    move = frame.move
    steps = random.normal(0.0, move, rows) + np.where(
        random.random(rows) < 0.04, random.normal(0, 6 * move, rows), 0.0
    )
    gaps = np.where(random.random(rows) < 0.12, random.normal(0, 4 * move, rows), 0.0)
    pull = 0.8 if frame.crowded else one_of(random, 0.0, 0.02, -0.3)  # drift, in moves of a bar
    close = start * np.exp(np.clip(np.cumsum(steps + gaps + pull * move), -2.5, 2.5))
    open_ = np.r_[start, close[:-1]] * np.exp(np.clip(gaps, -0.5, 0.5))
    wild = np.where(random.random(rows) < 0.15, 6.0, 1.0)
    up = np.abs(random.normal(0, move, rows)) * wild
    down = np.abs(random.normal(0, move, rows)) * wild
    if random.random() < 0.3:  # both sides alike: the tie of the adaptive mode
        down = up
    high = np.maximum(open_, close) * np.exp(np.minimum(up, 1.0))
    low = np.minimum(open_, close) * np.exp(-np.minimum(down, 1.0))
    if tick > 0 and random.random() < 0.85:
        open_, high, low, close = (
            np.maximum(np.round(np.round(side / tick) * tick, 10), tick) for side in (open_, high, low, close)
        )
    return open_, np.maximum.reduce([open_, high, close]), np.minimum.reduce([open_, low, close]), close


def missing_rows(random: Random, rows: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which bars of a symbol do not exist: single ones, runs, and the ends."""
    missing = random.random(rows) < one_of(random, 0.0, 0.03, 0.2)
    for _ in range(int(random.integers(1, 4)) if random.random() < 0.4 else 0):
        first = int(random.integers(0, rows))
        missing[first : first + int(random.integers(2, max(3, rows // 2)))] = True
    return missing


def volumes(random: Random, rows: int, price: float) -> Floats:
    """Volumes from plentiful to far too small for an order, with zeros and unknown ones."""
    coins = one_of(random, 1e7, 30_000.0, 3_000.0, 600.0, weights=(0.3, 0.2, 0.3, 0.2)) / price
    volume = coins * np.exp(random.normal(0.0, 1.0, rows))
    volume[random.random(rows) < one_of(random, 0.0, 0.05, 0.3)] = 0.0
    if random.random() < 0.2:
        first = int(random.integers(0, rows))
        volume[first : first + 8] = 0.0
    volume[random.random(rows) < one_of(random, 0.0, 0.02)] = np.nan
    return volume


def a_panel(random: Random, frame: Frame, facts: Instruments, price: Floats) -> Panel:
    """Bars of the traded symbols."""
    columns = []
    for column in range(len(frame.symbols)):
        tick = float(facts.tick[column])
        if frame.round_numbers:
            tick = tick or 1.0
        sides = [*a_walk(random, frame, frame.rows, float(price[column]), tick)]
        sides.append(volumes(random, frame.rows, float(price[column])))
        gone = missing_rows(random, frame.rows)
        for side in sides:
            side[gone] = np.nan
        columns.append(sides)
    fields = np.array(columns)
    return Panel(
        timeframe=frame.timeframe,
        symbols=facts.symbols,
        open_time_ms=frame.start_ms + frame.timeframe.ms * np.arange(frame.rows),
        covered=np.ones((frame.rows, len(frame.symbols)), dtype=np.bool_),
        **{name: fields[:, side].T for side, name in enumerate(("open", "high", "low", "close", "volume"))},
    )


def a_reference(random: Random, frame: Frame, traded: Panel) -> Panel | None:
    """The reference coin: absent, one of the symbols, or its own walk with crashes and leaps and holes."""
    fate = random.random()
    if (fate < 0.08 or frame.crowded) and not frame.turning:
        return None
    if fate < 0.15 and not frame.turning:
        return traded.select([traded.symbols[0]])
    if frame.timeframe is Timeframe.M1:
        earlier = one_of(random, 0, 0, 70, 300, 1_800, weights=(2, 2, 2, 2, 1))
    else:
        earlier = one_of(random, 0, 30, 100, 300)
    earlier = 40 if frame.turning else earlier
    rows = earlier + frame.rows
    calm = Frame(
        timeframe=frame.timeframe,
        start_ms=0,
        rows=rows,
        symbols=("BTC/USD",),
        move=0.0001 if frame.turning else one_of(random, 0.0001, 0.001, 0.004),
        round_numbers=False,
        strategies=(),
        turning=frame.turning,
        crowded=False,
    )
    sides = np.array(a_walk(random, calm, rows, 100.0, 0.0))
    for _ in range(int(random.integers(0, 4))):  # a crash or a leap, inside the traded span or shortly before
        row = int(random.integers(max(0, earlier - 60), rows))
        sides[:, row:] *= one_of(random, 0.94, 0.965, 0.88, 1.06, 1.03, 0.99)
    if frame.turning:  # up and down by turns that are no whole share of a day
        sides *= np.where(np.arange(rows) // one_of(random, 5, 7, 9, 17) % 2, 1.008, 0.992)
    gone = missing_rows(random, rows)
    sides[:, gone] = np.nan
    first = frame.start_ms - earlier * frame.timeframe.ms
    open_, high, low, close = (side[:, None] for side in sides)
    return Panel(
        timeframe=frame.timeframe,
        symbols=(Symbol("BTC", "USD"),),
        open_time_ms=first + frame.timeframe.ms * np.arange(rows),
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=np.where(gone[:, None], np.nan, 1.0),
        covered=np.ones((rows, 1), dtype=np.bool_),
    )


def some_rules(random: Random, frame: Frame) -> Rules:
    """Rules with everything tight somewhere: hours that end within the span, limits that bind."""
    bar_hours = frame.timeframe.ms / HOUR_MS

    def bars(low: int, high: int) -> float:
        return float(int(random.integers(low, high)) * bar_hours)

    changed: dict[str, Any] = {
        "capital_quote": one_of(random, 10_000.0, 1_000.0, 300.0, weights=(0.6, 0.3, 0.1)),
        "timezone": one_of(random, *ZONES),
        "intrabar": one_of(random, "pessimistic", "adaptive", "optimistic"),
        "cancel_rungs_in_panic": bool(random.random() < 0.6),
        "shares": dict.fromkeys(frame.strategies, 1.0 / len(frame.strategies)),
        "data_lost_hours": one_of(random, 24.0, bars(2, 15)),
        "losing_streak": int(random.integers(1, 6)),
        "losing_streak_hours": bars(1, 60),
        "cooldown_stops": int(random.integers(1, 4)),
        "cooldown_hours": same_for_all_tiers(bars(1, 60)),
        "entry_bars": int(random.integers(1, 7)),
        "stale_minutes": one_of(random, 10.0, 1.0, 3.0, 90.0),
    }
    if random.random() < 0.5:
        changed |= {
            "max_open": int(random.integers(1, 6)),
            "max_open_per_strategy": int(random.integers(1, 4)),
        }
    if random.random() < 0.6:
        changed |= {
            "reserve": one_of(random, 0.0, 0.2, 0.6),
            "max_symbol_exposure": one_of(random, 0.05, 0.2, 1.0),
            "max_strategy_exposure": one_of(random, 0.1, 0.6, 1.0),
        }
    if random.random() < 0.3:
        changed["shares"] = {name: one_of(random, 0.05, 0.2) for name in frame.strategies[:3]}
    if random.random() < 0.4:
        changed["day_loss_max"] = one_of(random, 0.0, 0.0005, 0.002, 0.01, 0.03)
    if random.random() < 0.35:
        changed |= {
            "sizing__mode": one_of(random, "fixed_fraction", "adaptive", "adaptive"),
            "fraction": one_of(random, 0.003, 0.01, 0.05, 0.3),
            "fraction_max": one_of(random, 0.003, 0.02, 0.1, 0.5),
            "kelly": one_of(random, 0.05, 0.25, 1.0),
            "volatility_target": one_of(random, 0.005, 0.02, 0.04),
            "volatility_factor_min": one_of(random, 0.2, 0.9),
        }
    if random.random() < 0.05:
        changed |= {"min_confidence": 1.0} if random.random() < 0.1 else {"min_confidence": 0.0}
    if random.random() < 0.3:
        changed["drawdown_max"] = one_of(random, 0.0005, 0.002, 0.01, 0.03, 1.0)
    if random.random() < 0.5:
        changed |= {
            "panic_1h": -0.02,
            "caution_1h": -0.005,
            "caution_24h": -0.01,
            "euphoria_1h": 0.005,
            "max_age_minutes": one_of(random, 0.5, 5.0),
        }
    if random.random() < 0.5:
        level = one_of(random, 0.02, 0.05)
        changed |= {
            "samples": int(random.integers(1, 4)),
            "switches": {name: {"off": level, "on": 0.8 * level} for name in frame.strategies[:1]},
            "sizes": {name: {"threshold": 0.9 * level, "factor": 0.5} for name in frame.strategies[-1:]},
            "sideways_volatility": 1.0,
            "move_24h": one_of(random, 0.02, 0.001),
        }
    if frame.turning or random.random() < 0.2:
        changed |= {
            "close_on_transition": True,
            "sideways_volatility": 1.0,
            "move_24h": one_of(random, 0.008, 0.004, 0.002),
            "sideways": frame.strategies[0],
            "falling": frame.strategies[-1],
            "rising": one_of(random, *frame.strategies, "OTHER"),
        }
    if random.random() < 0.3:
        changed |= {
            "entry_participation": one_of(random, 0.01, 1.0),
            "exit_participation": one_of(random, 0.02, 1.0),
        }
    if frame.turning:
        changed |= {
            "day_loss_max": 1.0,
            "drawdown_max": 1.0,
            "losing_streak": 99,
            "cooldown_stops": 99,
            "caution_24h": -0.03,
            "panic_1h": -0.05,
            "sizing__mode": "fixed",
        }
    if frame.crowded:
        changed |= {
            "capital_quote": 220.0,
            "shares": dict.fromkeys(frame.strategies, 1.0 / len(frame.strategies)),
            "max_open": 99,
            "max_open_per_strategy": 99,
            "max_symbol_exposure": 1.0,
            "max_strategy_exposure": 1.0,
            "reserve": one_of(random, 0.0, 0.15, 0.3),
            "day_loss_max": 1.0,
            "drawdown_max": 1.0,
            "sizing__mode": "fixed",
            "min_confidence": 0.45,
            "losing_streak": 99,
            "cooldown_stops": 99,
        }
    return spec_rules(**changed)


def with_correlation_limit(random: Random, frame: Frame, rules: Rules) -> Rules:
    """The same rules, in some markets of many hours with a limit on what moves like what is held."""
    drawn = {
        "correlation_limit": bool(random.random() < 0.5),
        "max_correlation": one_of(random, -0.3, 0.0, 0.2),
        "correlation_hours_min": one_of(random, 2, 3, 12, 84, weights=(3, 3, 1, 0.3)),
    }
    if frame.crowded or frame.turning or frame.timeframe is Timeframe.M1:
        return rules
    return rules.model_copy(update={"limits": rules.limits.model_copy(update=drawn)})


def a_plan(random: Random, frame: Frame) -> dict[str, Any]:
    """How the setups of one strategy are traded."""
    if frame.round_numbers:
        distance = one_of(random, 0.01, 0.05)
        return {
            "size_quote": one_of(random, 100.0, 50.0, 30.0, 70.0),
            "levels": int(random.integers(1, 6)),
            "spacing": one_of(random, 0.01, 0.02),
            "take_profit": distance,
            "stop_loss": one_of(random, 0.002, 0.01, 0.05, 0.1),
            "trailing": one_of(random, 0.0, 0.01),
        }
    move = frame.move
    if frame.turning:
        return {
            "size_quote": one_of(random, 100.0, 33.33),
            "levels": one_of(random, 1, 3),
            "spacing": 0.01,
            "take_profit": one_of(random, 0.05, 0.5),
            "stop_loss": one_of(random, 0.05, 0.5),
            "trailing": 0.0,
        }
    if frame.crowded:
        return {
            "size_quote": one_of(random, 50.0, 79.0),
            "levels": 1,
            "spacing": 0.0,
            "take_profit": 2.0,
            "stop_loss": 0.15,
            "trailing": 0.0,
        }
    return {
        "size_quote": one_of(random, 100.0, 200.0, 33.33, 4.0, weights=(3, 3, 3, 0.5)),
        "levels": one_of(random, 1, int(random.integers(1, 9)), int(random.integers(2, 9))),
        "spacing": one_of(random, 0.0005, move, 2 * move, 0.01),
        "take_profit": one_of(random, 2 * move, 6 * move, 0.05),
        "stop_loss": one_of(random, 2 * move, 6 * move, 0.05),
        "trailing": one_of(random, 0.0, 0.0, move, 2 * move),
    }


def some_setups(random: Random, frame: Frame, panel: Panel) -> np.ndarray[Any, Any]:
    """Scans of every strategy on every symbol: a rule that is true for a while, then false."""
    rows: list[dict[str, Any]] = []
    base = frame.timeframe.ms
    busy = one_of(random, 0.03, 0.1, 0.4)  # how often a rule becomes true
    for strategy in range(len(frame.strategies)):
        bar_ms = base * one_of(random, 1, 1, 5, 4)
        usual = a_plan(random, frame)
        hold = base * (1_000 if frame.crowded else one_of(random, 3, 12, 60, 1_000))
        gap = one_of(random, np.nan, np.nan, 0.0, frame.move)
        for column in range(len(frame.symbols)):
            true = False
            first = frame.start_ms - frame.start_ms % bar_ms + bar_ms
            if frame.crowded and strategy:  # the second comes when the positions of the first have grown
                first += (frame.rows // 2) * base // bar_ms * bar_ms
            for time_ms in range(first, frame.start_ms + frame.rows * base + 1, bar_ms):
                was, true = true, bool(random.random() < (0.7 if true else busy))
                row = (time_ms - frame.start_ms) // base - 1
                close = panel.close[row, column]
                if not true and not was:
                    continue
                rows.append(
                    (usual if random.random() < 0.8 else a_plan(random, frame))
                    | {
                        "time_ms": time_ms,
                        "symbol": column,
                        "strategy": strategy,
                        "kind": EVENT_SETUP if true else EVENT_RESET,
                        "side": one_of(random, 1, -1, weights=(0.98, 0.02)),
                        "confidence": one_of(
                            random, 0.3, 0.45, 0.6, 0.6, 0.9, 1.0, weights=(0.5, 1, 1, 1, 1, 0.1)
                        ),
                        "readiness": one_of(random, 80.0, 100.0),
                        "max_hold_ms": hold,
                        "withheld": 0,
                        "max_entry_gap": gap,
                        "decision_close": 100.0 if np.isnan(close) else float(close),
                        "wait_ms": bar_ms,
                        "range_median": one_of(
                            random, np.nan, np.nan, 0.5 * frame.move, frame.move, 1.5 * frame.move
                        ),
                    }
                )
    rows.sort(key=lambda row: (row["time_ms"], row["symbol"], row["strategy"]))
    names = SETUP_DTYPE.names or ()
    return np.array([tuple(row[name] for name in names) for row in rows], dtype=SETUP_DTYPE)


def withholding(random: Random, scenario: Scenario) -> Scenario:
    """The same market, in which some setups must not be acted on; resets may say so too, and go on opening."""
    setups = scenario.setups.copy()
    chosen = random.random(len(setups)) < 0.1
    setups["withheld"][chosen] = random.choice(WITHHELD_FOR, int(chosen.sum()))
    return replace(scenario, setups=setups)


def slow_regimes(random: Random, frame: Frame) -> np.ndarray[Any, np.dtype[np.int8]] | None:
    """A slow regime that changes once in a while, or none at all."""
    if random.random() < 0.2:
        return None
    changes = np.cumsum(random.random(frame.rows) < 0.1)
    return random.integers(0, len(SlowRegime), frame.rows + 1)[changes].astype(np.int8)


def some_commands(random: Random, frame: Frame) -> np.ndarray[Any, Any]:
    """What people do; often nothing."""
    count = int(random.integers(0, 14)) if random.random() < 0.5 and not frame.crowded else 0
    array = np.zeros(count, dtype=COMMAND_DTYPE)
    for index in range(count):
        kind = CommandKind(int(random.integers(0, len(CommandKind))))
        if random.random() < 0.5:
            kind = CommandKind.CLOSE
        value = 0
        if kind is CommandKind.FORCE_REGIME:
            value = int(random.integers(0, len(Regime)))
        elif kind is CommandKind.CLOSE:
            value = one_of(random, ExitReason.MANUAL, ExitReason.MARKET_TRANSITION)
        # Also before the first bar, between two opens, and after the last.
        time_ms = frame.start_ms + int(random.integers(-5, frame.rows + 3)) * frame.timeframe.ms
        time_ms += one_of(random, 0, 0, 1, frame.timeframe.ms // 2)
        symbol = int(random.integers(0, len(frame.symbols)))
        strategy = int(random.integers(0, len(frame.strategies)))
        array[index] = (time_ms, kind, symbol, strategy, value)
    return array[np.argsort(array["time_ms"], kind="stable")]


def a_side(random: Random, best: float, away: float, step: float, worth: float) -> list[tuple[float, float]]:
    """One side of a book from its best price on: levels of the size of orders, now and then crumbs."""
    side = []
    price = best
    for _ in range(int(random.integers(1, 6))):
        size = worth / price * float(np.exp(random.normal(-0.5, 1.5)))
        side.append((price, round(size, 6) or 1e-6))
        price = max(price + away * step * int(random.integers(1, 5)), price * 0.5)
    return side


def some_books(random: Random, panel: Panel) -> OrderBooks:
    """Recorded books about the opens and within the bars: fresh, old or missing, deep or thin, before and
    behind the bar's prices. Some lie on round numbers, some stand exactly at an open or a close.
    """
    symbols: list[list[Snapshot]] = []
    recorded = one_of(random, 0.95, 0.5)  # how many opens have a book
    for column in range(len(panel.symbols)):
        start = float(np.nanmax(np.r_[panel.open[:, column], 0.0]))
        step = max(round(start * 0.0005, 8), 1e-8)
        worth = one_of(random, 10.0, 60.0, 400.0)
        shots: dict[int, Snapshot] = {}
        for row in range(len(panel)):
            open_ms = int(panel.open_time_ms[row])
            opened, low = float(panel.open[row, column]), float(panel.low[row, column])
            if np.isnan(opened):
                continue
            moments: list[tuple[int, float]] = []
            if random.random() < recorded:
                age = one_of(random, 0, 1, 800, 9_999, 10_000, 10_001, 30_000, weights=(3, 1, 3, 1, 1, 1, 1))
                moments.append((open_ms - age, opened))
            if random.random() < 0.5:
                path = opened + (low - opened) * np.sort(random.random(int(random.integers(1, 6))))
                path[-1] = one_of(random, low, path[-1])
                offsets = np.sort(random.integers(0, panel.timeframe.ms, len(path)))
                offsets[0] = one_of(random, offsets[0], 0)
                offsets[-1] = one_of(random, offsets[-1], panel.timeframe.ms - 1)
                moments += [(open_ms + int(o), float(p)) for o, p in zip(offsets, path, strict=True)]
            elif random.random() < 0.3:  # the last moment of the bar, which the next open may still see
                moments.append((open_ms + panel.timeframe.ms - 1, low))
            for time_ms, price in moments:
                bid = max(price + step * one_of(random, 0.0, -0.5, -3.0, 6.0), 0.2 * price)
                ask = bid + step * one_of(random, 0.5, 1.0, 4.0)
                shots[time_ms] = (
                    time_ms,
                    a_side(random, bid, -1.0, step, worth),
                    a_side(random, ask, 1.0, step, worth),
                )
        symbols.append([shots[time_ms] for time_ms in sorted(shots)])
    return order_books(symbols)


def walking_books(random: Random, scenario: Scenario) -> Scenario:
    """The same market with recorded books, which market fills walk."""
    rules = scenario.rules
    fills = rules.fills.model_copy(update={"source": FillSource.BOOK})
    return replace(
        scenario,
        rules=rules.model_copy(update={"fills": fills}),
        books=some_books(random, scenario.panel),
    )


def walking(scenario: Scenario, seed: int) -> Scenario:
    """The market with recorded books: its own, or such as are drawn by a seed."""
    if scenario.books is not None:
        return scenario
    return walking_books(np.random.default_rng(seed), scenario)


def generate(seed: int) -> Scenario:
    """The market of a seed."""
    random = np.random.default_rng(seed)
    frame = a_frame(random)
    facts, price = some_instruments(random, frame)
    panel = a_panel(random, frame, facts, price)
    scenario = Scenario(
        panel=panel,
        reference=a_reference(random, frame, panel),
        instruments=facts,
        strategies=frame.strategies,
        enabled=tuple(frame.crowded or bool(random.random() < 0.93) for _ in frame.strategies),
        setups=some_setups(random, frame, panel),
        commands=some_commands(random, frame),
        rules=some_rules(random, frame),
        close_at_end=bool(random.random() < 0.4),
        slow_regime=slow_regimes(random, frame),
    )
    scenario = replace(scenario, rules=with_correlation_limit(random, frame, scenario.rules))
    scenario = walking_books(random, scenario) if random.random() < 0.15 else scenario
    return withholding(random, scenario) if random.random() < 0.2 else scenario
