"""The simulator a second time: slow, plain, written from docs/simulator.md alone.

It is the judge of the compiled one. Nothing here is shared with it but the records' dtypes; read this file beside
the page, whose section numbers it quotes.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from crypto_tracker.core.decisions import Condition, Reason, Regime
from crypto_tracker.core.orders import ExitReason, FillKind, OrderStatus
from crypto_tracker.core.tiers import ByTier
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.portfolio.parameters import SizingMode
from crypto_tracker.simulation.books import NOT_ASKED, NOT_RECORDED
from crypto_tracker.simulation.parameters import FillSource, Intrabar
from crypto_tracker.simulation.records import (
    DECISION_DTYPE,
    FILL_DTYPE,
    HOLDING_DTYPE,
    ORDER_DTYPE,
    TRADE_DTYPE,
    CommandKind,
    Scenario,
    SimulationResult,
)
from crypto_tracker.strategies.base import EVENT_RESET, EVENT_SETUP
from tests.reference.market import MarketNow, market_before, market_track
from tests.reference.numbers import Instrument, amount_e8, instrument

HOUR_MS = 3_600_000


@dataclass
class Setup:
    """One row of the scenario's setups, as plain numbers."""

    row: int
    time_ms: int
    symbol: int
    strategy: int
    kind: int
    side: int
    confidence: float
    readiness: float
    size_quote: float
    levels: int
    spacing: float
    take_profit: float
    stop_loss: float
    trailing: float
    max_hold_ms: int
    max_entry_gap: float
    decision_close: float
    wait_ms: int
    range_median: float
    withheld: int = 0


@dataclass
class Part:
    """The market part of an entry order (rung 0) or one of its rungs."""

    rung: int
    quote: int
    quote_left: int
    reserve: int
    live: bool = True
    limit_price: float = math.nan  # of a rung, once the first fill has placed it
    bars_met: int = 0  # bars of the symbol since the part could first trade, that bar included


@dataclass
class Position:
    """What is held in a symbol, and all that its trade's record needs."""

    trade: int
    first_bar_open_ms: int
    first_row: int
    volatility: float  # of the last CLOSE before the first fill, 0 where unknown
    lots: float = 0.0
    lots_bought: float = 0.0
    lots_sold: float = 0.0
    entry_value: float = 0.0  # sum of coins * price
    exit_value: float = 0.0
    invested: int = 0
    returned: int = 0
    fees: int = 0
    slippage: int = 0
    entry_fills: int = 0
    exit_fills: int = 0
    average: float = math.nan
    stop: float = math.nan
    target: float = math.nan
    high_water: float = 0.0
    trailing_level: float = math.nan  # NaN while not armed
    triggered: ExitReason = ExitReason.NONE  # of the market exit that is under way
    exit_reason: ExitReason = ExitReason.NONE  # of the first exit fill
    judged: bool = False
    ambiguous: bool = False
    last_exit_row: int = -1
    walked: set[int] = field(default_factory=set)  # times of the books that its exits took from

    @property
    def armed(self) -> bool:
        return not math.isnan(self.trailing_level)

    @property
    def active_stop(self) -> float:
        return max(self.stop, self.trailing_level) if self.armed else self.stop

    @property
    def stop_reason(self) -> ExitReason:
        if self.armed and self.trailing_level >= self.stop:
            return ExitReason.TRAILING_STOP
        return ExitReason.STOP_LOSS


@dataclass
class Slot:
    """A pending entry or a position, with its order."""

    setup: Setup
    fallback: bool
    market: Part
    rungs: list[Part]
    position: Position | None = None
    requested: ExitReason = ExitReason.NONE

    @property
    def parts(self) -> list[Part]:
        return [self.market, *self.rungs]

    @property
    def reserve(self) -> int:
        return sum(part.reserve for part in self.parts)


@dataclass
class Bar:
    """One symbol's bar, and what is left of its budgets while it is stepped."""

    row: int
    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume_unknown: bool
    entry_budget: float
    exit_budget: float
    entered_after_open: bool = False
    targets: list[float] = field(default_factory=list)  # at the start, and after the fills at the open


@dataclass(frozen=True)
class Shot:
    """One recorded order book: (price, size) by side, the best first."""

    time_ms: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


def plain_shots(scenario: Scenario) -> list[list[Shot]]:
    """The recorded books of each symbol as objects."""
    books = scenario.books
    if books is None:
        return [[] for _ in scenario.panel.symbols]
    levels = books.levels.tolist()
    shots = [
        Shot(time_ms, levels[bids:asks], levels[asks:end])
        for time_ms, bids, asks, end in books.snapshots.tolist()
    ]
    ends = books.first.tolist()
    return [shots[begin:end] for begin, end in pairwise(ends)]


@dataclass
class StrategyState:
    """What is remembered of a strategy."""

    off: bool = False  # by a person
    streak: int = 0
    blocked_until: int | None = None


@dataclass
class SymbolState:
    """What is remembered of a symbol besides its slot."""

    blocked: bool = False
    stops: int = 0
    cooldown_until: int | None = None
    last_close: float = math.nan
    last_close_ms: int | None = None
    closes_by_hour: dict[int, float] = field(default_factory=dict)  # only hours with a bar in them


def by_tier(values: ByTier, tier: int) -> float:
    """The value of a tier."""
    return float([values.large_cap, values.mid_cap, values.small_cap, values.memecoin][tier])


def in_order(values: Iterable[float]) -> float:
    """The sum of the values, added one after the other (`sum` compensates in newer Pythons)."""
    total = 0.0
    for value in values:
        total += value
    return total


def hours_ms(hours: float) -> int:
    """Hours in milliseconds."""
    return round(hours * HOUR_MS)


def plain_setups(scenario: Scenario) -> list[Setup]:
    """The setups as objects with Python numbers."""
    names = scenario.setups.dtype.names or ()
    return [
        Setup(row=row, **dict(zip(names, record.item(), strict=True)))
        for row, record in enumerate(scenario.setups)
    ]


class ReferenceSimulator:
    """All that docs/simulator.md section 2 remembers, and the steps that change it."""

    def __init__(self, scenario: Scenario, track: list[MarketNow] | None = None) -> None:
        self.scenario = scenario
        self.rules = scenario.rules
        self.panel = scenario.panel
        self.base_ms = scenario.panel.timeframe.ms
        self.open_times: list[int] = scenario.panel.open_time_ms.tolist()
        count = len(scenario.panel.symbols)
        self.instruments: list[Instrument] = [instrument(scenario.instruments, c) for c in range(count)]
        self.setups = plain_setups(scenario)
        self.shots = plain_shots(scenario)
        self.track = market_track(scenario) if track is None else track
        self.bars_of = {
            name: getattr(scenario.panel, name).T.tolist()
            for name in ("open", "high", "low", "close", "volume")
        }

        self.capital = amount_e8(scenario.rules.capital_quote)
        self.cash = self.capital
        self.slots: list[Slot | None] = [None] * count
        self.symbols = [SymbolState() for _ in range(count)]
        self.strategies = [StrategyState() for _ in scenario.strategies]
        self.closed_latches: set[tuple[int, int]] = set()  # (strategy, symbol)
        self.newest_close_ms: int | None = None
        self.equity = self.capital  # at the last CLOSE
        self.day: date | None = None
        self.day_base = self.capital
        self.day_latch = False
        self.peak = self.capital
        self.drawdown_latch = False
        self.favoured_last: int | None = None
        self.paused = False
        self.market = market_before(scenario.rules, scenario.strategies)
        self.command_next = 0
        self.setup_next = 0

        self.fills: list[dict[str, Any]] = []
        self.trades: list[dict[str, Any]] = []
        self.orders: list[dict[str, Any]] = []
        self.now = 0  # close of the bar that is stepped
        self.trades_opened = 0
        self.decisions = np.zeros(len(self.setups), dtype=DECISION_DTYPE)
        self.decisions["rank"] = -1
        self.decisions["measured"] = math.nan
        self.decisions["limit"] = math.nan
        self.equities: list[int] = []
        self.cashes: list[int] = []
        self.reserves: list[int] = []
        self.regimes: list[int] = []

    # ------------------------------------------------------------------------------------ driving

    def run(self) -> SimulationResult:
        """Step every bar and hand back the records."""
        for row in range(len(self.open_times)):
            self.step(row)
        if self.scenario.close_at_end and self.open_times:
            self.close_at_end(len(self.open_times) - 1)
        return self.result()

    def step(self, row: int) -> None:
        """One bar (section 3)."""
        self.now = self.open_times[row] + self.base_ms
        self.apply_commands(self.open_times[row])
        self.closed_now: list[tuple[int, Slot]] = []
        self.entered_after_open: set[int] = set()
        for column in range(len(self.slots)):
            self.step_symbol(column, row)
        self.close(row)

    @property
    def reserved(self) -> int:
        return sum(slot.reserve for slot in self.slots if slot is not None)

    # ----------------------------------------------------------------------------------- commands

    def apply_commands(self, open_ms: int) -> None:
        """Section 7. Forced regimes are part of the market's track."""
        commands = self.scenario.commands
        while self.command_next < len(commands) and commands[self.command_next]["time_ms"] <= open_ms:
            command = commands[self.command_next]
            self.command_next += 1
            kind = CommandKind(int(command["kind"]))
            column, strategy = int(command["symbol"]), int(command["strategy"])
            if kind is CommandKind.PAUSE:
                self.paused = True
            elif kind is CommandKind.RESUME:
                self.paused = False
                self.day_base = self.peak = self.equity
                self.day_latch = self.drawdown_latch = False
            elif kind is CommandKind.CLOSE:
                slot = self.slots[column]
                if slot is not None and slot.position is None:
                    self.end_pending(column, slot, Reason.CANCELLED)
                elif slot is not None:
                    slot.requested = ExitReason(int(command["value"]))
            elif kind is CommandKind.CLEAR_COOLDOWN:
                self.symbols[column].stops = 0
                self.symbols[column].cooldown_until = None
            elif kind is CommandKind.CLEAR_STREAK:
                self.strategies[strategy].streak = 0
                self.strategies[strategy].blocked_until = None
            elif kind in {CommandKind.STRATEGY_OFF, CommandKind.STRATEGY_ON}:
                self.strategies[strategy].off = kind is CommandKind.STRATEGY_OFF
            elif kind in {CommandKind.BLOCK, CommandKind.UNBLOCK}:
                self.symbols[column].blocked = kind is CommandKind.BLOCK

    # ------------------------------------------------------------------------- a bar of one symbol

    def bar_of(self, column: int, row: int) -> Bar | None:
        """The symbol's bar, None where it is missing."""
        open_, high, low, close, volume = (
            self.bars_of[name][column][row] for name in ("open", "high", "low", "close", "volume")
        )
        if math.isnan(close):
            return None
        facts = self.instruments[column]
        unknown = math.isnan(volume)
        fills = self.rules.fills
        return Bar(
            row=row,
            open_ms=self.open_times[row],
            open=open_,
            high=high,
            low=low,
            close=close,
            volume_unknown=unknown,
            entry_budget=math.inf if unknown else facts.lots(fills.entry_participation * volume),
            exit_budget=math.inf if unknown else facts.lots(fills.exit_participation * volume),
        )

    def step_symbol(self, column: int, row: int) -> None:
        """OPEN, FALL and RISE of one symbol (section 3)."""
        slot = self.slots[column]
        if slot is None:
            return
        waited = self.open_times[row] - slot.setup.time_ms
        if slot.position is None and slot.market.bars_met == 0 and waited >= slot.setup.wait_ms:
            self.end_pending(column, slot, Reason.EXPIRED)
            return
        bar = self.bar_of(column, row)
        if bar is None:
            return
        if slot.position is not None:
            bar.targets.append(slot.position.target)
            self.exits_at_open(column, slot, slot.position, bar)
        if self.slots[column] is slot:
            self.entry_at_open(column, slot, bar)
        if self.slots[column] is slot and slot.position is not None:
            bar.targets.append(slot.position.target)
            phases = [self.fall, self.rise]
            if self.rises_first(bar):
                phases.reverse()
            for phase in phases:
                if self.slots[column] is slot and slot.position.triggered is ExitReason.NONE:
                    phase(column, slot, slot.position, bar)
        if self.slots[column] is slot:
            self.end_of_waiting(column, slot)
        if bar.entered_after_open:
            self.entered_after_open.add(column)

    def rises_first(self, bar: Bar) -> bool:
        """R13."""
        mode = self.rules.fills.intrabar
        if mode is Intrabar.ADAPTIVE:
            return bar.high - bar.open < bar.open - bar.low
        return mode is Intrabar.OPTIMISTIC

    def exits_at_open(self, column: int, slot: Slot, position: Position, bar: Bar) -> None:
        """OPEN, point 2."""
        facts = self.instruments[column]
        due = bar.open_ms >= position.first_bar_open_ms + slot.setup.max_hold_ms
        if position.triggered is not ExitReason.NONE:
            self.market_exit(column, slot, position, bar, bar.open)
        elif bar.open <= position.active_stop:
            self.trigger(position, position.stop_reason, bar)
            self.market_exit(column, slot, position, bar, bar.open)
        elif facts.rises_through(bar.open, position.target):
            self.target_fill(column, slot, position, bar)
        elif slot.requested is not ExitReason.NONE or due:
            reason = slot.requested if slot.requested is not ExitReason.NONE else ExitReason.TIME_EXIT
            self.trigger(position, reason, bar)
            self.market_exit(column, slot, position, bar, bar.open)

    def entry_at_open(self, column: int, slot: Slot, bar: Bar) -> None:
        """OPEN, point 3."""
        if not slot.market.live:
            return
        slot.market.bars_met += 1
        if slot.position is not None and slot.position.triggered is not ExitReason.NONE:
            return
        setup = slot.setup
        if slot.market.bars_met == 1 and bar.open > setup.decision_close * (1.0 + setup.max_entry_gap):
            self.end_pending(column, slot, Reason.SLIPPAGE_TOO_HIGH)
            return
        facts = self.instruments[column]
        first = slot.position is None
        price = self.market_entry(column, slot, bar)
        if price == 0.0 or not first:
            return
        for rung in slot.rungs:
            rung.limit_price = facts.floor_tick(price * (1.0 - setup.spacing * rung.rung))
        for rung in slot.rungs:
            if facts.falls_through(bar.open, rung.limit_price):
                rung.bars_met = 1
                self.buy(column, slot, rung, bar, bar.open, bar.open, facts.taker_fee)

    def fall(self, column: int, slot: Slot, position: Position, bar: Bar) -> None:
        """FALL: rungs and stop in falling order of price."""
        facts = self.instruments[column]
        passed_over: list[Part] = []
        while True:
            rungs = [rung for rung in slot.rungs if rung.live and rung not in passed_over]
            best = max(rungs, key=lambda rung: (rung.limit_price, -rung.rung), default=None)
            if best is None or position.active_stop >= best.limit_price:
                if bar.low <= position.active_stop:
                    level = min(position.active_stop, bar.open)
                    self.trigger(position, position.stop_reason, bar)
                    self.market_exit(column, slot, position, bar, level, within=True)
                return
            if not facts.falls_through(bar.low, best.limit_price):
                return
            best.bars_met = max(best.bars_met, 1)
            if self.buy(column, slot, best, bar, best.limit_price, best.limit_price, facts.maker_fee):
                bar.entered_after_open = True
            if best.live:
                passed_over.append(best)

    def rise(self, column: int, slot: Slot, position: Position, bar: Bar) -> None:
        """RISE: the target, unless an entry filled after the open (R6)."""
        if bar.entered_after_open:
            return
        if self.instruments[column].rises_through(bar.high, position.target):
            self.target_fill(column, slot, position, bar)

    def end_of_waiting(self, column: int, slot: Slot) -> None:
        """Cancel the market part and met rungs whose bars are over (R8)."""
        entry_bars = self.rules.fills.entry_bars
        if slot.market.live and slot.market.bars_met >= entry_bars:
            if slot.position is None:
                self.end_pending(column, slot, Reason.EXPIRED)
                return
            self.end_part(slot, slot.market, OrderStatus.EXPIRED, Reason.EXPIRED)
        for rung in slot.rungs:
            if rung.live and rung.bars_met >= entry_bars:
                self.end_part(slot, rung, OrderStatus.EXPIRED, Reason.EXPIRED)
            elif rung.live and rung.bars_met:
                rung.bars_met += 1

    # ------------------------------------------------------------------------------- orders and fills

    def end_part(self, slot: Slot, part: Part, status: OrderStatus, reason: Reason = Reason.ACCEPTED) -> None:
        """A part is filled or cancelled: the rest of its reserve is cash again."""
        self.orders.append(self.order_record(slot, part, status) | {"reason": reason, "ended_ms": self.now})
        self.cash += part.reserve
        part.reserve = 0
        part.live = False

    def order_record(self, slot: Slot, part: Part, status: OrderStatus) -> dict[str, Any]:
        """One buy of an order; a rung has its price from the first fill on."""
        return {
            "setup": slot.setup.row,
            "symbol": slot.setup.symbol,
            "strategy": slot.setup.strategy,
            "rung": part.rung,
            "status": status,
            "reason": Reason.ACCEPTED,
            "decision_ms": slot.setup.time_ms,
            "ended_ms": -1,
            "quote_e8": part.quote,
            "limit_price": part.limit_price if part.rung and slot.position is not None else math.nan,
        }

    def cancel_parts(self, slot: Slot, reason: Reason = Reason.ACCEPTED) -> None:
        """Cancel whatever still waits."""
        status = OrderStatus.EXPIRED if reason is Reason.EXPIRED else OrderStatus.CANCELLED
        for part in slot.parts:
            if part.live:
                self.end_part(slot, part, status, reason)

    def end_pending(self, column: int, slot: Slot, reason: Reason) -> None:
        """An order ends without a fill."""
        self.cancel_parts(slot, reason)
        self.decisions[slot.setup.row]["end"] = reason
        self.slots[column] = None

    def buy(
        self,
        column: int,
        slot: Slot,
        part: Part,
        bar: Bar,
        price: float,
        unworsened: float,
        fee_rate: float,
        book_ms: int = NOT_ASKED,
    ) -> bool:
        """Fill an entry part as far as the bar's budget goes; whether anything was bought."""
        facts = self.instruments[column]
        wanted = facts.checked(facts.lots(part.quote_left / 1e8 / price))
        if wanted <= 0.0 or bar.entry_budget <= 0.0:
            return False
        lots = min(wanted, bar.entry_budget)
        if (part.quote_left - amount_e8(facts.coins(lots) * price)) / 1e8 < facts.min_notional:
            lots = wanted
        self.take_entry(
            column, slot, part, bar, lots, price, unworsened, fee_rate, book_ms, whole=lots == wanted
        )
        return True

    def take_entry(
        self,
        column: int,
        slot: Slot,
        part: Part,
        bar: Bar,
        lots: float,
        price: float,
        unworsened: float,
        fee_rate: float,
        book_ms: int,
        *,
        whole: bool,
    ) -> None:
        """One entry fill, and the end of its part where that is bought whole."""
        facts = self.instruments[column]
        bar.entry_budget = max(0.0, bar.entry_budget - lots)

        if slot.position is None:
            slot.position = self.open_position(slot, bar)
        position = slot.position
        coins = facts.coins(lots)
        notional = amount_e8(coins * price)
        fee = round(coins * price * fee_rate * 1e8)
        slippage = round(coins * abs(price - unworsened) * 1e8)
        part.quote_left -= notional
        from_reserve = min(part.reserve, notional + fee)
        part.reserve -= from_reserve
        self.cash -= notional + fee - from_reserve
        if whole:
            self.end_part(slot, part, OrderStatus.FILLED)

        position.lots = facts.checked(position.lots + lots)
        position.lots_bought += lots
        position.entry_value += coins * price
        position.invested += notional
        position.fees += fee
        position.slippage += slippage
        position.entry_fills += 1
        position.average = position.entry_value / facts.coins(position.lots_bought)
        position.high_water = 0.0
        position.trailing_level = math.nan
        self.set_levels(column, slot, position)
        kind = FillKind.RUNG if part.rung else FillKind.ENTRY
        self.record_fill(
            column, slot, position, bar, kind, part.rung, price, coins, notional, fee, slippage, book_ms
        )

    def market_entry(self, column: int, slot: Slot, bar: Bar) -> float:
        """The market part at the open; the price that it paid, 0 where it bought nothing."""
        facts, part, book_ms = self.instruments[column], slot.market, NOT_ASKED
        if self.rules.fills.source is FillSource.BOOK:
            shot = self.book_at(column, bar.open_ms)
            if shot is not None:
                return self.entry_from_book(column, slot, bar, shot)
            book_ms = NOT_RECORDED
        price = facts.market_buy_price(bar.open)
        bought = self.buy(column, slot, part, bar, price, bar.open, facts.taker_fee, book_ms)
        return price if bought else 0.0

    def entry_from_book(self, column: int, slot: Slot, bar: Bar, shot: "Shot") -> float:
        """Section 10, buying."""
        facts, part = self.instruments[column], slot.market
        asks = [(max(price, bar.open), size) for price, size in shot.asks]
        left, coins, enough = part.quote_left / 1e8, 0.0, False
        for price, size in asks:
            if left / price <= size:
                coins, enough = coins + left / price, True
                break
            coins, left = coins + size, left - size * price
        most = facts.lots(coins)
        lots = min(most, bar.entry_budget)
        if lots <= 0.0:
            return 0.0
        paid = facts.ceil_tick(facts.walked(asks, facts.coins(lots)))
        remainder = (part.quote_left - amount_e8(facts.coins(lots) * paid)) / 1e8
        if lots < most and remainder < facts.min_notional:
            lots = most
            paid = facts.ceil_tick(facts.walked(asks, facts.coins(lots)))
        fits = facts.lots(part.quote_left / 1e8 / paid)
        if min(lots, fits) <= 0.0:
            return 0.0
        whole = enough and min(lots, fits) == min(most, fits)
        self.take_entry(
            column,
            slot,
            part,
            bar,
            min(lots, fits),
            paid,
            bar.open,
            facts.taker_fee,
            shot.time_ms,
            whole=whole,
        )
        return paid

    def book_at(self, column: int, time_ms: int) -> "Shot | None":
        """The newest recorded book at a moment, if it is not too old."""
        known = [shot for shot in self.shots[column] if shot.time_ms <= time_ms]
        oldest = time_ms - round(self.rules.fills.book_max_age_seconds * 1000)
        return known[-1] if known and known[-1].time_ms >= oldest else None

    def book_down_to(self, column: int, bar: Bar, level: float) -> "Shot | None":
        """The first recorded book within a bar whose bids have come down to a level."""
        for shot in self.shots[column]:
            if bar.open_ms <= shot.time_ms < bar.open_ms + self.base_ms and shot.bids[0][0] <= level:
                return shot
        return None

    def open_position(self, slot: Slot, bar: Bar) -> Position:
        """The position that the first entry fill opens."""
        self.closed_latches.add((slot.setup.strategy, slot.setup.symbol))
        self.trades_opened += 1
        return Position(
            trade=self.trades_opened - 1,
            first_bar_open_ms=bar.open_ms,
            first_row=bar.row,
            volatility=0.0 if math.isnan(self.market.volatility) else self.market.volatility,
        )

    def set_levels(self, column: int, slot: Slot, position: Position) -> None:
        """Stop and target from the average entry and the market of the last CLOSE (section 4, point 8)."""
        facts = self.instruments[column]
        widening = self.rules.protection.stop_widening
        widened = slot.setup.stop_loss * (1.0 + widening.slope * position.volatility / widening.unit)
        fraction = min(by_tier(widening.caps, facts.tier), widened * self.market.stop_factor)
        position.stop = facts.floor_tick(position.average * (1.0 - fraction))
        position.target = facts.ceil_tick(position.average * (1.0 + slot.setup.take_profit))

    def trigger(self, position: Position, reason: ExitReason, bar: Bar) -> None:
        """A market exit begins; other exits that the same bar could have met make it ambiguous."""
        target_in_bar = any(bar.low <= target <= bar.high for target in bar.targets)
        stop_in_bar = bar.low <= position.active_stop <= bar.high
        by_stop = reason in {ExitReason.STOP_LOSS, ExitReason.TRAILING_STOP}
        self.judge(position, ambiguous=target_in_bar or (stop_in_bar and not by_stop))
        position.triggered = reason

    def judge(self, position: Position, *, ambiguous: bool) -> None:
        """R13, once for each trade, at its first trigger."""
        if not position.judged:
            position.judged = True
            position.ambiguous = ambiguous

    def market_exit(
        self, column: int, slot: Slot, position: Position, bar: Bar, price: float, *, within: bool = False
    ) -> None:
        """Sell at a worsened price, as far as the bar's budget goes; `within` the bar or at its open."""
        facts, book_ms = self.instruments[column], NOT_ASKED
        if self.rules.fills.source is FillSource.BOOK:
            shot = self.book_down_to(column, bar, price) if within else self.book_at(column, bar.open_ms)
            if shot is not None:
                self.exit_to_book(column, slot, position, bar, price, shot)
                return
            book_ms = NOT_RECORDED
        lots = self.exit_lots(column, position, bar, facts.market_sell_price(price))
        if lots > 0.0:
            worsened = facts.market_sell_price(price)
            reason = position.triggered
            self.sell(column, slot, position, bar, lots, worsened, price, facts.taker_fee, reason, book_ms)

    def exit_to_book(
        self, column: int, slot: Slot, position: Position, bar: Bar, price: float, shot: "Shot"
    ) -> None:
        """Section 10, selling."""
        facts = self.instruments[column]
        if shot.time_ms in position.walked:
            return
        bids = [(min(bid, price), size) for bid, size in shot.bids]
        shown = 0.0
        for _, size in bids:
            shown += size
            if shown >= facts.coins(position.lots):
                break
        most = min(position.lots, facts.lots(shown))
        lots = min(most, bar.exit_budget)
        if lots <= 0.0:
            return
        brought = facts.floor_tick(facts.walked(bids, facts.coins(lots)))
        if lots < most and facts.coins(position.lots - lots) * brought < facts.min_notional:
            lots = most
            brought = facts.floor_tick(facts.walked(bids, facts.coins(lots)))
        bar.exit_budget = max(0.0, bar.exit_budget - lots)
        position.walked.add(shot.time_ms)
        reason = position.triggered
        self.sell(column, slot, position, bar, lots, brought, price, facts.taker_fee, reason, shot.time_ms)

    def target_fill(self, column: int, slot: Slot, position: Position, bar: Bar) -> None:
        """Sell at the target, as far as the bar's budget goes; the rest keeps resting."""
        facts = self.instruments[column]
        price = position.target
        lots = self.exit_lots(column, position, bar, price)
        if lots > 0.0:
            self.judge(position, ambiguous=bar.low <= position.active_stop <= bar.high)
            self.sell(
                column, slot, position, bar, lots, price, price, facts.maker_fee, ExitReason.TAKE_PROFIT
            )

    def exit_lots(self, column: int, position: Position, bar: Bar, price: float) -> float:
        """How much of a position this bar can take (R8)."""
        if bar.exit_budget <= 0.0:
            return 0.0
        facts = self.instruments[column]
        lots = min(position.lots, bar.exit_budget)
        if facts.coins(position.lots - lots) * price < facts.min_notional:
            lots = position.lots
        bar.exit_budget = max(0.0, bar.exit_budget - lots)
        return lots

    def sell(
        self,
        column: int,
        slot: Slot,
        position: Position,
        bar: Bar,
        lots: float,
        price: float,
        unworsened: float,
        fee_rate: float,
        reason: ExitReason,
        book_ms: int = NOT_ASKED,
    ) -> None:
        """One exit fill; the first cancels what still waits, the last closes the trade."""
        facts = self.instruments[column]
        coins = facts.coins(lots)
        notional = amount_e8(coins * price)
        fee = round(coins * price * fee_rate * 1e8)
        slippage = round(coins * abs(price - unworsened) * 1e8)
        self.cancel_parts(slot)
        self.cash += notional - fee
        if position.exit_reason is ExitReason.NONE:
            position.exit_reason = reason
        position.lots -= lots
        position.lots_sold += lots
        position.exit_value += coins * price
        position.returned += notional
        position.fees += fee
        position.slippage += slippage
        position.exit_fills += 1
        position.last_exit_row = bar.row
        self.record_fill(
            column, slot, position, bar, FillKind.EXIT, 0, price, coins, notional, fee, slippage, book_ms
        )
        if position.lots == 0.0:
            self.slots[column] = None
            self.closed_now.append((column, slot))
            self.trades.append(self.trade_record(column, slot, position))

    def record_fill(
        self,
        column: int,
        slot: Slot,
        position: Position,
        bar: Bar,
        kind: FillKind,
        rung: int,
        price: float,
        coins: float,
        notional: int,
        fee: int,
        slippage: int,
        book_ms: int,
    ) -> None:
        self.fills.append(
            {
                "bar": bar.row,
                "time_ms": bar.open_ms,
                "symbol": column,
                "strategy": slot.setup.strategy,
                "kind": kind,
                "rung": rung,
                "exit_reason": position.exit_reason if kind is FillKind.EXIT else ExitReason.NONE,
                "volume_unknown": bar.volume_unknown,
                "trade": position.trade,
                "price": price,
                "quantity": coins,
                "notional_e8": notional,
                "fee_e8": fee,
                "slippage_e8": slippage,
                "book_ms": book_ms,
            }
        )

    def trade_record(self, column: int, slot: Slot, position: Position) -> dict[str, Any]:
        """A trade as it stands."""
        facts = self.instruments[column]
        mark = amount_e8(facts.coins(position.lots) * self.symbols[column].last_close) if position.lots else 0
        sold = facts.coins(position.lots_sold)
        return {
            "trade": position.trade,
            "symbol": column,
            "strategy": slot.setup.strategy,
            "setup": slot.setup.row,
            "decision_ms": slot.setup.time_ms,
            "entry_ms": position.first_bar_open_ms,
            "exit_ms": -1 if position.lots else self.open_times[position.last_exit_row],
            "entry_price": position.average,
            "exit_price": position.exit_value / sold if sold else math.nan,
            "quantity": facts.coins(position.lots_bought),
            "open_quantity": facts.coins(position.lots),
            "invested_e8": position.invested,
            "returned_e8": position.returned,
            "fee_e8": position.fees,
            "slippage_e8": position.slippage,
            "pnl_e8": position.returned + mark - position.invested - position.fees,
            "exit_reason": position.exit_reason,
            "entry_fills": position.entry_fills,
            "exit_fills": position.exit_fills,
            "ambiguous": position.ambiguous,
            "fallback": slot.fallback,
            "stop_price": position.active_stop,
            "target_price": position.target,
        }

    # ---------------------------------------------------------------------------------------- CLOSE

    def close(self, row: int) -> None:
        """Section 4, in its order."""
        open_ms = self.open_times[row]
        now = open_ms + self.base_ms
        self.take_last_closes(row, now)
        self.close_lost(row)
        self.equity = self.cash + self.reserved + sum(self.mark(c) for c in range(len(self.slots)))
        self.market = self.track[row]
        self.judge_day(open_ms)
        self.count_streaks(now)
        if self.market.regime is Regime.PANIC:
            self.cancel_in_panic()
        self.turn()
        for column, slot in enumerate(self.slots):
            if slot is not None and slot.position is not None:
                self.raise_trailing(column, row, slot, slot.position)
                self.set_levels(column, slot, slot.position)
        self.remember_hour(now)
        batch = self.batch_at(now)
        for setup in batch:
            if setup.kind == EVENT_RESET:
                self.closed_latches.discard((setup.strategy, setup.symbol))
        self.admit([setup for setup in batch if setup.kind == EVENT_SETUP], now)
        self.equities.append(self.equity)
        self.cashes.append(self.cash)
        self.reserves.append(self.reserved)
        self.regimes.append(int(self.market.regime))

    def take_last_closes(self, row: int, now: int) -> None:
        """Point 1."""
        for column, symbol in enumerate(self.symbols):
            close = self.bars_of["close"][column][row]
            if not math.isnan(close):
                symbol.last_close = close
                symbol.last_close_ms = now
                self.newest_close_ms = now

    def close_lost(self, row: int) -> None:
        """Point 2 (R9)."""
        for column, slot in enumerate(self.slots):
            last_ms = self.symbols[column].last_close_ms
            if slot is None or slot.position is None or last_ms is None or self.newest_close_ms is None:
                continue
            if self.newest_close_ms - last_ms >= hours_ms(self.rules.fills.data_lost_hours):
                self.close_whole(column, slot, slot.position, row, ExitReason.DATA_LOST)

    def close_whole(self, column: int, slot: Slot, position: Position, row: int, reason: ExitReason) -> None:
        """Sell all at the last close, worsened, without a cap."""
        facts = self.instruments[column]
        last = self.symbols[column].last_close
        bar = Bar(
            row=row,
            open_ms=self.open_times[row],
            open=last,
            high=last,
            low=last,
            close=last,
            volume_unknown=False,
            entry_budget=0.0,
            exit_budget=math.inf,
        )
        if position.exit_reason is ExitReason.NONE and reason is ExitReason.DATA_LOST:
            position.ambiguous = False
        price = facts.market_sell_price(last)
        self.sell(column, slot, position, bar, position.lots, price, last, facts.taker_fee, reason)

    def mark(self, column: int) -> int:
        """Worth of a position at its last close (R10)."""
        slot = self.slots[column]
        if slot is None or slot.position is None:
            return 0
        return amount_e8(self.instruments[column].coins(slot.position.lots) * self.symbols[column].last_close)

    def judge_day(self, open_ms: int) -> None:
        """Point 5. The equity at the CLOSE before is the last recorded one; before the first bar, the capital."""
        day = from_ms(open_ms).astimezone(ZoneInfo(self.rules.timezone)).date()
        if day != self.day:
            self.day = day
            self.day_base = self.equities[-1] if self.equities else self.capital
            self.day_latch = False
        if (self.day_base - self.equity) / self.day_base >= self.rules.protection.day_loss_max:
            self.day_latch = True
        self.peak = max(self.peak, self.equity)
        if (self.peak - self.equity) / self.peak >= self.rules.protection.drawdown_max:
            self.drawdown_latch = True

    def count_streaks(self, now: int) -> None:
        """Point 6."""
        protection = self.rules.protection
        for strategy in self.strategies:
            if strategy.blocked_until is not None and strategy.blocked_until <= now:
                strategy.blocked_until = None
                strategy.streak = 0
        for symbol in self.symbols:
            if symbol.cooldown_until is not None and symbol.cooldown_until <= now:
                symbol.cooldown_until = None
                symbol.stops = 0
        for column, slot in sorted(self.closed_now, key=lambda closed: closed[0]):
            position = slot.position
            assert position is not None
            reason = position.exit_reason
            net = position.returned - position.invested - position.fees
            strategy = self.strategies[slot.setup.strategy]
            if reason is not ExitReason.DATA_LOST and net < 0:
                strategy.streak += 1
                if strategy.streak == protection.losing_streak:
                    strategy.blocked_until = now + hours_ms(protection.losing_streak_hours)
            elif reason is not ExitReason.DATA_LOST and net > 0:
                strategy.streak = 0
            symbol = self.symbols[column]
            if reason is ExitReason.STOP_LOSS:
                symbol.stops += 1
                if symbol.stops >= protection.cooldown_stops:
                    hours = by_tier(protection.cooldown_hours, self.instruments[column].tier)
                    symbol.cooldown_until = now + hours_ms(hours)
            elif reason in {ExitReason.TAKE_PROFIT, ExitReason.TRAILING_STOP} or (
                reason is ExitReason.TIME_EXIT and net > 0
            ):
                symbol.stops = 0

    def cancel_in_panic(self) -> None:
        """Point 7."""
        for column, slot in enumerate(self.slots):
            if slot is None:
                continue
            if slot.position is None:
                self.end_pending(column, slot, Reason.REGIME_PANIC)
            elif self.rules.protection.cancel_rungs_in_panic:
                self.cancel_parts(slot, Reason.REGIME_PANIC)
            elif slot.market.live:
                self.end_part(slot, slot.market, OrderStatus.CANCELLED, Reason.REGIME_PANIC)

    def turn(self) -> None:
        """Point 7, the transition."""
        favoured, before = self.preferred_strategy(), self.favoured_last
        if favoured is None:
            return
        self.favoured_last = favoured
        if before in {None, favoured} or not self.rules.protection.close_on_transition:
            return
        for column, slot in enumerate(self.slots):
            if slot is None or slot.setup.strategy != before:
                continue
            if slot.position is None:
                self.end_pending(column, slot, Reason.CANCELLED)
            elif slot.requested is ExitReason.NONE:
                slot.requested = ExitReason.MARKET_TRANSITION

    def raise_trailing(self, column: int, row: int, slot: Slot, position: Position) -> None:
        """Point 8, the trailing stop (R7)."""
        facts = self.instruments[column]
        setup = slot.setup
        high = self.bars_of["high"][column][row]
        if column in self.entered_after_open:
            position.high_water = 0.0
        elif not math.isnan(self.bars_of["close"][column][row]):
            position.high_water = max(position.high_water, high)
        trailed = position.high_water * (1.0 - setup.trailing)
        if setup.trailing > 0.0 and trailed >= position.average * (1.0 + facts.round_trip_cost):
            position.trailing_level = facts.floor_tick(trailed)
            self.symbols[column].stops = 0
        if position.high_water >= position.average * (1.0 + setup.take_profit / 2.0):
            self.symbols[column].stops = 0

    def remember_hour(self, now: int) -> None:
        """Point 9, the closes of full hours."""
        if now % HOUR_MS == 0:
            for symbol in self.symbols:
                if symbol.last_close_ms is not None and now - symbol.last_close_ms < HOUR_MS:
                    symbol.closes_by_hour[now] = symbol.last_close

    def batch_at(self, now: int) -> list[Setup]:
        """The events that become known at this close."""
        batch = []
        while self.setup_next < len(self.setups) and self.setups[self.setup_next].time_ms <= now:
            setup = self.setups[self.setup_next]
            self.setup_next += 1
            if setup.time_ms == now:
                batch.append(setup)
        return batch

    # ------------------------------------------------------------------------------------ admission

    def gate(self, setup: Setup, now: int) -> Reason:
        """The first gate that a setup does not pass (section 5), ACCEPTED where it passes all."""
        strategy = self.strategies[setup.strategy]
        symbol = self.symbols[setup.symbol]
        stale_ms = self.rules.protection.stale_minutes * 60_000.0
        gates = [
            (Reason(setup.withheld), setup.withheld != 0),
            (Reason.UNSUPPORTED_SIDE, setup.side != 1),
            (Reason.PAUSED, self.paused),
            (Reason.BLOCKED, symbol.blocked),
            (Reason.STRATEGY_OFF, strategy.off or not self.scenario.enabled[setup.strategy]),
            (Reason.VOLATILITY_HIGH, self.market.switched_off[setup.strategy]),
            (Reason.REGIME_PANIC, self.market.regime is Regime.PANIC),
            (Reason.DAY_LOSS, self.day_latch),
            (Reason.DRAWDOWN, self.drawdown_latch),
            (Reason.LOSING_STREAK, strategy.blocked_until is not None),
            (Reason.COOLDOWN, symbol.cooldown_until is not None),
            (Reason.DATA_STALE, symbol.last_close_ms is None or now - symbol.last_close_ms >= stale_ms),
            (Reason.SYMBOL_LIMIT, self.slots[setup.symbol] is not None),
            (Reason.SAME_EPISODE, (setup.strategy, setup.symbol) in self.closed_latches),
            (Reason.CONFIDENCE_LOW, setup.confidence < self.rules.limits.min_confidence),
            (Reason.TRAILING_TOO_TIGHT, 0.0 < setup.trailing < setup.range_median),
        ]
        for reason, stopped in gates:
            if stopped:
                return reason
        return Reason.ACCEPTED

    def preferred_strategy(self) -> int | None:
        """The strategy that the market's condition favours, where it is among the configured ones."""
        condition = self.rules.protection.condition
        names = {
            Condition.NONE: None,
            Condition.SIDEWAYS: condition.sideways,
            Condition.FALLING: condition.falling,
            Condition.RISING: condition.rising,
        }
        name = names[self.market.condition]
        return self.scenario.strategies.index(name) if name in self.scenario.strategies else None

    def admit(self, setups: list[Setup], now: int) -> None:
        """One batch (section 5)."""
        passed = []
        for setup in setups:
            reason = self.gate(setup, now)
            self.decisions[setup.row]["reason"] = reason
            if reason is Reason.ACCEPTED:
                passed.append(setup)

        best: dict[int, Setup] = {}
        for setup in sorted(passed, key=lambda s: (-s.confidence, s.strategy)):
            if setup.symbol in best:
                self.decisions[setup.row]["reason"] = Reason.OUTRANKED
            else:
                best[setup.symbol] = setup

        preferred = self.preferred_strategy()
        ranked = sorted(
            best.values(),
            key=lambda s: (
                s.strategy != preferred,
                -s.confidence,
                -s.readiness,
                str(self.panel.symbols[s.symbol]),
            ),
        )
        for rank, setup in enumerate(ranked):
            slot = self.new_slot(setup)
            reason = self.limit(slot)
            decision = self.decisions[setup.row]
            if reason is Reason.ACCEPTED and self.rules.limits.correlation_limit:
                alike = self.correlation_with_held(setup.symbol, now)
                if alike is not None and alike > self.rules.limits.max_correlation:
                    reason = Reason.CORRELATION
                    decision["measured"] = alike
                    decision["limit"] = self.rules.limits.max_correlation
            decision["rank"] = rank
            decision["reason"] = reason
            if reason is Reason.ACCEPTED:
                slot.fallback = preferred is not None and setup.strategy != preferred
                decision["fallback"] = slot.fallback
                self.cash -= slot.reserve
                self.slots[setup.symbol] = slot

    def new_slot(self, setup: Setup, size_factor: float | None = None) -> Slot:
        """The order of a setup as it is sized now (or its own size times the factor given)."""
        facts = self.instruments[setup.symbol]
        if size_factor is not None:
            quote = amount_e8(setup.size_quote * size_factor)
        else:
            quote = self.quote_of_a_part(setup, facts, self.market.size_factors[setup.strategy])
        reserve = quote + round(quote * max(facts.taker_fee, facts.maker_fee))
        parts = [
            Part(rung=rung, quote=quote, quote_left=quote, reserve=reserve) for rung in range(setup.levels)
        ]
        return Slot(setup=setup, fallback=False, market=parts[0], rungs=parts[1:])

    def quote_of_a_part(self, setup: Setup, facts: Instrument, factor: float) -> int:
        """The sizing (section 5)."""
        sizing = self.rules.sizing
        if sizing.mode is SizingMode.FIXED:
            return amount_e8(setup.size_quote * factor)
        if sizing.mode is SizingMode.FIXED_FRACTION:
            return round(self.equity * sizing.fraction * factor / setup.levels)
        p, lowest = setup.confidence, self.rules.limits.min_confidence
        win, loss = self.win_and_loss(setup, facts)
        f = max(p - (1.0 - p) * loss / win, 0.0) if p > self.break_even(setup, facts) else 0.0
        climbed = 1.0 if lowest == 1.0 else (p - lowest) / (1.0 - lowest)
        by_confidence = sizing.confidence_low + climbed * (sizing.confidence_high - sizing.confidence_low)
        asked = self.equity * sizing.kelly * f * by_confidence * factor
        return round(min(asked, self.equity * sizing.fraction_max) / setup.levels)

    def win_and_loss(self, setup: Setup, facts: Instrument) -> tuple[float, float]:
        """What the target brings and the stop costs, as fractions, after the costs of a round trip."""
        return setup.take_profit - facts.round_trip_cost, setup.stop_loss + facts.round_trip_cost

    def break_even(self, setup: Setup, facts: Instrument) -> float:
        """The share of wins at which the exits of a setup bring nothing."""
        win, loss = self.win_and_loss(setup, facts)
        return loss / (win + loss) if win > 0.0 else 1.0

    def limit(self, slot: Slot) -> Reason:
        """The first limit that an order would break against what is free now (section 5)."""
        limits = self.rules.limits
        setup = slot.setup
        name = self.scenario.strategies[setup.strategy]
        committed = slot.reserve
        held = [other for other in self.slots if other is not None]
        of_strategy = [other for other in held if other.setup.strategy == setup.strategy]
        exposure = sum(other.reserve + self.mark(other.setup.symbol) for other in of_strategy)
        share = limits.shares.get(name, 0.0)
        tests = [
            (
                Reason.NO_EDGE,
                self.rules.sizing.mode is SizingMode.ADAPTIVE
                and setup.confidence <= self.break_even(setup, self.instruments[setup.symbol]),
            ),
            (
                Reason.SIZE_TOO_SMALL,
                slot.market.quote_left < self.instruments[setup.symbol].min_notional * 1e8,
            ),
            (Reason.STRATEGY_LIMIT, len(of_strategy) >= limits.max_open_per_strategy),
            (Reason.PORTFOLIO_LIMIT, len(held) >= limits.max_open),
            (Reason.STRATEGY_EXPOSURE, exposure + committed > limits.max_strategy_exposure * self.equity),
            (Reason.CONCENTRATION, committed > limits.max_symbol_exposure * self.equity),
            (Reason.SHARE_USED, exposure + committed > share * (1.0 - limits.reserve) * self.equity),
            (Reason.NO_CASH, self.cash - committed < limits.reserve * self.equity),
        ]
        for reason, broken in tests:
            if broken:
                return reason
        return Reason.ACCEPTED

    def correlation_with_held(self, column: int, now: int) -> float | None:
        """The mean of the known correlations with whatever has a position or an order."""
        found = [
            self.correlation(self.symbols[column], self.symbols[other], now)
            for other, slot in enumerate(self.slots)
            if slot is not None
        ]
        known = [value for value in found if value is not None]
        return in_order(known) / len(known) if known else None

    def correlation(self, one: SymbolState, other: SymbolState, now: int) -> float | None:
        """Pearson's correlation of two symbols' hourly returns of 7 d; None where it is not known."""
        last = now - now % HOUR_MS
        pairs = []
        for hour in range(last - 167 * HOUR_MS, last + HOUR_MS, HOUR_MS):
            gains = [
                closes[hour] / closes[hour - HOUR_MS] - 1.0
                for closes in (one.closes_by_hour, other.closes_by_hour)
                if hour in closes and hour - HOUR_MS in closes
            ]
            if len(gains) == 2:
                pairs.append((gains[0], gains[1]))
        if len(pairs) < self.rules.limits.correlation_hours_min:
            return None
        mean_x = in_order(x for x, _ in pairs) / len(pairs)
        mean_y = in_order(y for _, y in pairs) / len(pairs)
        xx = in_order((x - mean_x) * (x - mean_x) for x, _ in pairs)
        yy = in_order((y - mean_y) * (y - mean_y) for _, y in pairs)
        xy = in_order((x - mean_x) * (y - mean_y) for x, y in pairs)
        if xx == 0.0 or yy == 0.0:
            return None
        return min(max(xy / (math.sqrt(xx) * math.sqrt(yy)), -1.0), 1.0)

    # ---------------------------------------------------------------------------------- the end

    def close_at_end(self, row: int) -> None:
        """Section 8, on request; the last bar's amounts are then those after it."""
        self.closed_now = []
        for column, slot in enumerate(self.slots):
            if slot is not None and slot.position is None:
                self.end_pending(column, slot, Reason.CANCELLED)
            elif slot is not None and slot.position is not None:
                self.close_whole(column, slot, slot.position, row, ExitReason.END_OF_DATA)
        self.equities[-1], self.cashes[-1], self.reserves[-1] = self.cash, self.cash, 0

    def open_trades(self) -> list[dict[str, Any]]:
        """Positions still held, by symbol."""
        return [
            self.trade_record(column, slot, slot.position)
            for column, slot in enumerate(self.slots)
            if slot is not None and slot.position is not None
        ]

    def holdings(self) -> list[dict[str, Any]]:
        """How they stand besides their trades."""
        return [
            {
                "mark_price": self.symbols[column].last_close,
                "trailing_armed": slot.position.armed,
                "due_ms": slot.position.first_bar_open_ms + slot.setup.max_hold_ms,
                "exit_pending": slot.position.triggered or slot.requested,
            }
            for column, slot in enumerate(self.slots)
            if slot is not None and slot.position is not None
        ]

    def waiting(self) -> list[dict[str, Any]]:
        """The buys that are not over, by symbol and rung."""
        return [
            self.order_record(
                slot,
                part,
                OrderStatus.PARTIALLY_FILLED if part.quote_left < part.quote else OrderStatus.OPEN,
            )
            for slot in self.slots
            if slot is not None
            for part in slot.parts
            if part.live
        ]

    def result(self) -> SimulationResult:
        """The records so far."""
        return SimulationResult(
            fills=as_records(self.fills, FILL_DTYPE),
            trades=as_records(self.trades, TRADE_DTYPE),
            open_trades=as_records(self.open_trades(), TRADE_DTYPE),
            holdings=as_records(self.holdings(), HOLDING_DTYPE),
            orders=as_records([*self.orders, *self.waiting()], ORDER_DTYPE),
            decisions=self.decisions,
            equity_e8=np.array(self.equities, dtype=np.int64),
            cash_e8=np.array(self.cashes, dtype=np.int64),
            reserved_e8=np.array(self.reserves, dtype=np.int64),
            regime=np.array(self.regimes, dtype=np.int8),
        )


def as_records(rows: list[dict[str, Any]], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Dictionaries as a structured array."""
    names = dtype.names or ()
    return np.array([tuple(row[name] for name in names) for row in rows], dtype=dtype)


def simulate(scenario: Scenario) -> SimulationResult:
    """The records of a scenario, slowly."""
    return ReferenceSimulator(scenario).run()
