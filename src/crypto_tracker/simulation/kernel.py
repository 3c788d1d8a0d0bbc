"""The compiled step: the only code that opens, fills and closes anything.

The rules are those of docs/simulator.md and carry its numbers R1 to R15. Three parts: `decide` (setups to
orders), `match` (orders and positions against a bar), `apply_entry` and `apply_exit` (fills to state). `step`
calls them for one bar and `run` calls `step` for many. An adapter for real orders takes the place of `match`
alone.

All compiled functions stand in this one file on purpose: Numba's cache looks only at the file of the function
that is called from outside, so a callee in another file could change without the cache noticing.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy import int64

from crypto_tracker.core.arrays import BoolArray, CodeArray, FloatArray, IntArray, RecordArray
from crypto_tracker.core.decisions import Reason, Regime
from crypto_tracker.core.orders import ExitReason, FillKind, OrderStatus
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.simulation.books import NOT_ASKED, NOT_RECORDED
from crypto_tracker.simulation.records import CommandKind, Outcome
from crypto_tracker.simulation.state import (
    ADAPTIVE,
    EMPTY,
    HELD,
    OPTIMISTIC,
    PENDING,
    SIZE_ADAPTIVE,
    SIZE_FIXED,
    SIZE_FRACTION,
)
from crypto_tracker.strategies.base import EVENT_RESET

QUOTE = 1e8
MAX_EXACT_LOTS = 2.0**53

# Enum members as int64, which is what compiled code can hold. (Each plain int would be a type of its own to
# Numba, which compiles a function anew for every type that it is called with.)
_ENTRY, _RUNG, _EXIT = int64(FillKind.ENTRY), int64(FillKind.RUNG), int64(FillKind.EXIT)
_NONE = int64(ExitReason.NONE)
_TAKE_PROFIT, _STOP_LOSS = int64(ExitReason.TAKE_PROFIT), int64(ExitReason.STOP_LOSS)
_TRAILING, _TIME = int64(ExitReason.TRAILING_STOP), int64(ExitReason.TIME_EXIT)
_TRANSITION = int64(ExitReason.MARKET_TRANSITION)
_DATA_LOST, _END_OF_DATA = int64(ExitReason.DATA_LOST), int64(ExitReason.END_OF_DATA)
_PANIC = int64(Regime.PANIC)
_ACCEPTED, _EXPIRED, _CANCELLED = int64(Reason.ACCEPTED), int64(Reason.EXPIRED), int64(Reason.CANCELLED)
_GAP, _REGIME_PANIC, _PAUSED = (
    int64(Reason.SLIPPAGE_TOO_HIGH),
    int64(Reason.REGIME_PANIC),
    int64(Reason.PAUSED),
)
_SIDE, _BLOCKED, _OFF = int64(Reason.UNSUPPORTED_SIDE), int64(Reason.BLOCKED), int64(Reason.STRATEGY_OFF)
_VOLATILE, _DAY_LOSS, _STREAK = (
    int64(Reason.VOLATILITY_HIGH),
    int64(Reason.DAY_LOSS),
    int64(Reason.LOSING_STREAK),
)
_COOLDOWN, _STALE, _SYMBOL = int64(Reason.COOLDOWN), int64(Reason.DATA_STALE), int64(Reason.SYMBOL_LIMIT)
_EPISODE, _CONFIDENCE = int64(Reason.SAME_EPISODE), int64(Reason.CONFIDENCE_LOW)
_TIGHT, _OUTRANKED, _SMALL = (
    int64(Reason.TRAILING_TOO_TIGHT),
    int64(Reason.OUTRANKED),
    int64(Reason.SIZE_TOO_SMALL),
)
_STRATEGY_LIMIT, _PORTFOLIO_LIMIT = int64(Reason.STRATEGY_LIMIT), int64(Reason.PORTFOLIO_LIMIT)
_EXPOSURE, _CONCENTRATION = int64(Reason.STRATEGY_EXPOSURE), int64(Reason.CONCENTRATION)
_SHARE, _NO_CASH = int64(Reason.SHARE_USED), int64(Reason.NO_CASH)
_PART_FILLED, _WHOLE = int64(OrderStatus.PARTIALLY_FILLED), int64(OrderStatus.FILLED)
_OPEN, _STOPPED, _LATE = int64(OrderStatus.OPEN), int64(OrderStatus.CANCELLED), int64(OrderStatus.EXPIRED)
_DRAWDOWN, _NO_EDGE = int64(Reason.DRAWDOWN), int64(Reason.NO_EDGE)
_CORRELATION = int64(Reason.CORRELATION)
_HOUR_MS = int64(HOUR_MS)
_C_PAUSE, _C_RESUME, _C_CLOSE = int64(CommandKind.PAUSE), int64(CommandKind.RESUME), int64(CommandKind.CLOSE)
_C_COOLDOWN, _C_STREAK = int64(CommandKind.CLEAR_COOLDOWN), int64(CommandKind.CLEAR_STREAK)
_C_OFF, _C_ON = int64(CommandKind.STRATEGY_OFF), int64(CommandKind.STRATEGY_ON)
_C_BLOCK, _C_UNBLOCK = int64(CommandKind.BLOCK), int64(CommandKind.UNBLOCK)
_UNFINISHED, _NEVER_FILLED, _WIN = int64(Outcome.UNFINISHED), int64(Outcome.EXPIRED), int64(Outcome.WIN)
_LOSS, _BREAKEVEN, _TIMEOUT = int64(Outcome.LOSS), int64(Outcome.BREAKEVEN), int64(Outcome.TIMEOUT)
_MARKET = int64(0)  # number of the market part of an entry
_ALONE = int64(0)  # number of the slot in which setups are traded alone
_NOT_YET = int64(-1)
_NOT_ASKED, _NOT_RECORDED = int64(NOT_ASKED), int64(NOT_RECORDED)
BLOCK = int64(64)  # rows that are looked at together
NEVER = int64(2**62)
AHEAD = int64(3)  # setups between the one that is decided and the one whose row is fetched

# All arrays belong to the caller, so compiled code counts no references to them, which took nine tenths of
# the time. It can make no arrays then either. Numba's published types do not know the option.
_OPTIONS: dict[str, Any] = {"cache": True, "_nrt": False}
compiled = njit(**_OPTIONS)
compiled_into_caller = njit(**_OPTIONS, forceinline=True)  # what runs for every bar
compiled_without_gil = njit(**_OPTIONS, nogil=True)


# How many rows are written of each kind, and of which bar.
WRITTEN_DTYPE = np.dtype(
    [
        ("fills", np.int64),
        ("trades", np.int64),
        ("orders", np.int64),
        ("close_ms", np.int64),  # close of the bar that is stepped
    ]
)

# Where the event driver stands.
PLACE_DTYPE = np.dtype(
    [
        ("start", np.int64),  # first row of the run
        ("known", np.int64),  # all rows before this one were stepped whole, or are before the run
        ("row", np.int64),  # the next row
        ("first", np.int64),  # the chunk's rows
        ("end", np.int64),
        ("next", np.int64),  # the least of the slots' next rows
        ("changes", np.int64),  # how many of its rows change the market for positions
    ]
)


class Memory(NamedTuple):
    """What one step hands to the next: the arrays of a `PortfolioState`."""

    book: RecordArray  # BOOK_DTYPE (1,)
    slots: RecordArray  # SLOT_DTYPE (symbols,)
    parts: RecordArray  # PART_DTYPE (symbols, MAX_LEVELS)
    coins: RecordArray  # COIN_DTYPE (symbols,)
    strategies: RecordArray  # STRATEGY_DTYPE (strategies,)
    episodes: BoolArray  # (strategies, symbols)
    hours_ms: IntArray  # (hours,), of size 0 where the correlation limit is off
    hour_closes: FloatArray  # (symbols, hours)


class Depth(NamedTuple):
    """Recorded order books: the arrays of `OrderBooks`. They are read only where fills walk them."""

    first: IntArray  # (symbols + 1,), first snapshot of each symbol
    snapshots: RecordArray  # SNAPSHOT_DTYPE, each symbol's together, in order of time
    levels: RecordArray  # LEVEL_DTYPE


class Facts(NamedTuple):
    """What does not change during a run."""

    instruments: RecordArray  # INSTRUMENT_DTYPE (symbols,)
    strategies: RecordArray  # STRATEGY_PARAMETER_DTYPE (strategies,)
    parameters: RecordArray  # PARAMETER_DTYPE (1,)
    depth: Depth


class Bars(NamedTuple):
    """Base bars, prices and volumes (symbols, bars): one symbol has the same memory layout as many."""

    open_time_ms: IntArray  # (bars,)
    day: IntArray  # (bars,), number of the trading day
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray


class MarketArrays(NamedTuple):
    """The market at each CLOSE: the arrays of a `MarketState`."""

    regime: CodeArray
    volatility: FloatArray
    preferred: IntArray
    stop_factor: FloatArray
    size_factor: FloatArray  # (bars, strategies)
    switched_on: BoolArray  # (bars, strategies)


class Records(NamedTuple):
    """What a run writes."""

    fills: RecordArray  # FILL_DTYPE
    trades: RecordArray  # TRADE_DTYPE
    orders: RecordArray  # ORDER_DTYPE, those that are over
    written: RecordArray  # WRITTEN_DTYPE (1,)
    decisions: RecordArray  # DECISION_DTYPE, one for each setup


class Scratch(NamedTuple):
    """Room for the admission of one close."""

    batch: IntArray  # (setups,), the setups that are still in
    taken: IntArray  # (strategies,), positions and orders
    exposure: IntArray  # (strategies,), their marks and reserves in 1e-8 quote


class Curve(NamedTuple):
    """Money at each CLOSE, 1e-8 quote, (bars,)."""

    equity: IntArray
    cash: IntArray
    reserved: IntArray


@intrinsic
def fetch(_, array, place):
    """Ask the processor for the element at `place` of a flattened array, and do not wait for it.

    A visit reads few numbers from far apart, and without this it would mostly wait for memory.
    """

    def build(target, builder, signature, values):
        data = target.make_array(signature.args[0])(target, builder, values[0]).data
        element = builder.gep(data, [values[1]])
        whole = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [element.type, whole, whole, whole])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [element.type], kind)
        builder.call(prefetch, [element, whole(0), whole(3), whole(1)])  # to read, to keep, data
        return target.get_dummy_value()

    return types.void(array, place), build


class Work(NamedTuple):
    """Room for the event driver, and where it stands between two calls for the same rows."""

    place: RecordArray  # PLACE_DTYPE (1,)
    next_row: IntArray  # (symbols,), the row at which each slot must be visited next, or NEVER
    visited: IntArray  # (symbols,), the row of the bar in which it was visited last
    coins: FloatArray  # (symbols,), the coins whose worth is in `marks`
    slots: IntArray  # (symbols,), those that are visited in one row
    owner: IntArray  # (symbols,), the strategy for which each slot is counted below, -1 for none
    ordered: IntArray  # (symbols,), the reserves that are counted for it
    taken: IntArray  # (strategies,), positions and orders
    reserves: IntArray  # (strategies,), of their orders
    marks: IntArray  # (strategies, chunk), worth of their positions at each CLOSE of the chunk, 1e-8 quote
    changes: IntArray  # (chunk,), rows of the chunk at which stops are set anew or PANIC begins


class Extremes(NamedTuple):
    """Lowest low and highest high of each whole block of rows, (symbols, blocks); (0, 0) where not built."""

    low: FloatArray
    high: FloatArray


class Bar(NamedTuple):
    """One symbol's bar, and which one it is."""

    number: int
    time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


# --- Numbers (section 1) --------------------------------------------------------------------------


@compiled
def on_grid(count, grid):
    """`count` steps of `grid` as the nearest short decimal; `count` itself where the grid is 0."""
    if grid <= 0.0:
        return count
    if grid < 1.0:
        inverse = np.rint(1.0 / grid)
        if abs(inverse * grid - 1.0) < 1e-9:
            return count / inverse
    return count * grid


@compiled
def floor_tick(price, tick):
    """The price rounded down to the tick."""
    if tick <= 0.0:
        return price
    return on_grid(np.floor(price / tick + 1e-6), tick)


@compiled
def ceil_tick(price, tick):
    """The price rounded up to the tick."""
    if tick <= 0.0:
        return price
    return on_grid(np.ceil(price / tick - 1e-6), tick)


@compiled
def falls_through(low, limit, tick):
    """R4: a buy limit is met when the price passes it by a tick, or strictly where the tick is unknown."""
    if tick <= 0.0:
        return low < limit
    return low / tick <= limit / tick - 1.0 + 1e-6


@compiled
def rises_through(high, limit, tick):
    """R4 for a sell limit."""
    if tick <= 0.0:
        return high > limit
    return high / tick >= limit / tick + 1.0 - 1e-6


@compiled
def whole_lots(coins, lot):
    """R11: coins as lots, floored; coins themselves where quantities are continuous."""
    if lot <= 0.0:
        return coins
    return np.floor(coins / lot + 1e-6)


@compiled
def amount_e8(coins, price):
    """R11: an amount in 1e-8 quote, rounded once."""
    return np.int64(np.rint(coins * price * QUOTE))


@compiled
def fee_e8(coins, price, rate):
    """R12: the fee of a fill, rounded once."""
    return np.int64(np.rint(coins * price * rate * QUOTE))


# --- Levels of a position -------------------------------------------------------------------------


@compiled
def set_levels(slot, tick):
    """Stop and target from the average entry: stops down, targets up (R4)."""
    slot.stop = floor_tick(slot.average * (1.0 - slot.stop_fraction), tick)
    slot.target = ceil_tick(slot.average * (1.0 + slot.take_profit), tick)


@compiled
def set_stop_fraction(slot, stop_factor, cap, parameters):
    """Stop widening by volatility at first entry and the regime now, up to the tier's cap."""
    by_volatility = 1.0 + parameters.widen_slope * slot.entry_volatility / parameters.widen_unit
    slot.stop_fraction = min(cap, slot.stop_loss * by_volatility * stop_factor)


@compiled
def active_stop(slot):
    """The stop, or the trailing level where it is armed and higher."""
    if slot.armed and slot.trail > slot.stop:
        return slot.trail
    return slot.stop


@compiled
def stop_label(slot):
    """R7: `trailing_stop` only if the armed level is the active stop."""
    if slot.armed and slot.trail >= slot.stop:
        return _TRAILING
    return _STOP_LOSS


# --- Parts of an entry ----------------------------------------------------------------------------


@compiled
def open_part(part, quote, reserve):
    """One buy of an entry, not met yet."""
    part.open = True
    part.passed = False
    part.bars = -1
    part.quote = quote
    part.reserve = reserve
    part.price = 0.0


@compiled
def end_part(memory, records, s, k, status, reason):
    """A part of an entry is over: what is left of its reserve is free again."""
    book, part = memory.book[0], memory.parts[s, k]
    if part.open:
        row = records.orders[records.written[0].orders]
        records.written[0].orders += 1
        write_order(memory.slots[s], part, row, s, k, status)
        row.reason = reason
        row.ended_ms = records.written[0].close_ms
        part.open = False
        book.reserved -= part.reserve
        book.cash += part.reserve
        part.reserve = 0
        part.quote = 0


@compiled
def end_parts(memory, records, s, status, reason):
    """All parts of a symbol's entry are over."""
    for k in range(memory.slots[s].levels):
        end_part(memory, records, s, k, status, reason)


@compiled
def end_entry(memory, records, s, reason):
    """The market part is over. Where nothing was filled the whole order is, and the decision says why."""
    slot = memory.slots[s]
    status = _LATE if reason == _EXPIRED else _STOPPED
    if slot.phase == PENDING:
        end_parts(memory, records, s, status, reason)
        records.decisions[slot.setup].end = reason
        slot.phase = EMPTY
    else:
        end_part(memory, records, s, _MARKET, status, reason)


@compiled
def age_parts(memory, records, s):
    """R8: after a bar of the symbol, parts that were met have one bar less; those with none left are over."""
    slot = memory.slots[s]
    for k in range(slot.levels):
        part = memory.parts[s, k]
        if part.open and part.bars > 0:
            part.bars -= 1
            if part.bars == 0:
                if k > 0:
                    end_part(memory, records, s, k, _LATE, _EXPIRED)
                    continue
                end_entry(memory, records, s, _EXPIRED)
                if slot.phase == EMPTY:
                    return


# --- apply: fills to state ------------------------------------------------------------------------


@compiled
def apply_entry(memory, facts, records, bar, s, k, lots, price, raw_price, fee_rate, book_ms):
    """An entry fill of `lots` for part `k`: paid from its reserve, with average and levels anew.

    `raw_price` is the price before it was worsened, `book_ms` the time of the snapshot that was walked.
    """
    book, slot, part, ins = memory.book[0], memory.slots[s], memory.parts[s, k], facts.instruments[s]
    coins = on_grid(lots, ins.lot)
    notional = amount_e8(coins, price)
    fee = fee_e8(coins, price, fee_rate)
    slippage = amount_e8(coins, abs(price - raw_price))
    if slot.phase == PENDING:
        slot.phase = HELD
        slot.trade = book.next_trade
        book.next_trade += 1
        slot.first_fill_ms = bar.time_ms
        slot.entry_volatility = book.volatility
        set_stop_fraction(slot, book.stop_factor, ins.stop_cap, facts.parameters[0])
        memory.episodes[slot.strategy, s] = True
    from_reserve = min(part.reserve, notional + fee)
    part.reserve -= from_reserve
    book.reserved -= from_reserve
    book.cash -= notional + fee - from_reserve
    part.quote -= notional
    slot.held += lots
    slot.bought += lots
    slot.cost += coins * price
    slot.invested += notional
    slot.fees += fee
    slot.slippage += slippage
    slot.entry_fills += 1
    slot.entry_budget -= lots
    slot.average = slot.cost / on_grid(slot.bought, ins.lot)
    slot.armed = False
    slot.trail = 0.0
    slot.high_water = 0.0
    set_levels(slot, ins.tick)
    if ins.lot > 0.0 and slot.bought > MAX_EXACT_LOTS:
        book.error = s + 1
    kind = _ENTRY if k == 0 else _RUNG
    write_fill(records, bar, s, slot, kind, k, price, coins, notional, fee, slippage, book_ms)


@compiled
def apply_exit(memory, facts, records, bar, s, lots, price, raw_price, fee_rate, reason, book_ms):
    """An exit fill of `lots`; the first cancels what is left of the entry, the last closes the trade."""
    book, slot, ins = memory.book[0], memory.slots[s], facts.instruments[s]
    if slot.exit_fills == 0:
        slot.exit_reason = reason
        if reason == _DATA_LOST:
            slot.ambiguous = False
        end_parts(memory, records, s, _STOPPED, _ACCEPTED)
    coins = on_grid(lots, ins.lot)
    notional = amount_e8(coins, price)
    fee = fee_e8(coins, price, fee_rate)
    slippage = amount_e8(coins, abs(raw_price - price))
    book.cash += notional - fee
    slot.held -= lots
    slot.sold += lots
    slot.proceeds += coins * price
    slot.returned += notional
    slot.fees += fee
    slot.slippage += slippage
    slot.exit_fills += 1
    slot.exit_budget -= lots
    write_fill(records, bar, s, slot, _EXIT, _MARKET, price, coins, notional, fee, slippage, book_ms)
    if slot.held <= 0.0:
        row = records.trades[records.written[0].trades]
        records.written[0].trades += 1
        write_trade(slot, ins, row, bar.time_ms, s, np.nan)
        coin = memory.coins[s]
        coin.closed = slot.exit_reason
        coin.closed_strategy = slot.strategy
        coin.closed_pnl = row.pnl_e8
        slot.phase = EMPTY


@compiled
def write_fill(records, bar, s, slot, kind, rung, price, coins, notional, fee, slippage, book_ms):
    """Append one row to the fills."""
    row = records.fills[records.written[0].fills]
    records.written[0].fills += 1
    row.bar = bar.number
    row.time_ms = bar.time_ms
    row.symbol = s
    row.strategy = slot.strategy
    row.kind = kind
    row.rung = rung
    row.exit_reason = slot.exit_reason if kind == _EXIT else _NONE
    row.volume_unknown = slot.volume_unknown
    row.trade = slot.trade
    row.price = price
    row.quantity = coins
    row.notional_e8 = notional
    row.fee_e8 = fee
    row.slippage_e8 = slippage
    row.book_ms = book_ms


@compiled
def write_order(slot, part, row, s, k, status):
    """One part of a slot's entry as it stands; the first fill of the entry has set the price of a rung."""
    row.setup = slot.setup
    row.symbol = s
    row.strategy = slot.strategy
    row.rung = k
    row.status = status
    row.reason = _ACCEPTED
    row.decision_ms = slot.decision_ms
    row.ended_ms = _NOT_YET
    row.quote_e8 = slot.quote
    row.limit_price = part.price if k > 0 and slot.phase == HELD else np.nan


@compiled
def write_trade(slot, ins, row, exit_ms, s, mark):
    """The trade of a slot: closed where nothing is held, else open and marked at `mark`."""
    row.trade = slot.trade
    row.symbol = s
    row.strategy = slot.strategy
    row.setup = slot.setup
    row.decision_ms = slot.decision_ms
    row.entry_ms = slot.first_fill_ms
    row.exit_ms = exit_ms if slot.held <= 0.0 else -1
    row.entry_price = slot.average
    row.exit_price = slot.proceeds / on_grid(slot.sold, ins.lot) if slot.exit_fills > 0 else np.nan
    row.quantity = on_grid(slot.bought, ins.lot)
    row.open_quantity = on_grid(slot.held, ins.lot) if slot.held > 0.0 else 0.0
    row.invested_e8 = slot.invested
    row.returned_e8 = slot.returned
    row.fee_e8 = slot.fees
    row.slippage_e8 = slot.slippage
    row.pnl_e8 = slot.returned - slot.invested - slot.fees
    if slot.held > 0.0:
        row.pnl_e8 += amount_e8(row.open_quantity, mark)
    row.exit_reason = slot.exit_reason
    row.entry_fills = slot.entry_fills
    row.exit_fills = slot.exit_fills
    row.ambiguous = slot.ambiguous
    row.fallback = slot.fallback
    row.stop_price = active_stop(slot)
    row.target_price = slot.target


# --- recorded order books (section 10) ------------------------------------------------------------


@compiled
def newest_snapshot(depth, s, time_ms, age_ms):
    """The newest snapshot of a symbol at or before a moment, -1 where that is older than `age_ms`."""
    begin, end = depth.first[s], depth.first[s + 1]
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if depth.snapshots[middle].time_ms <= time_ms:
            low = middle + 1
        else:
            high = middle
    if low == begin or time_ms - depth.snapshots[low - 1].time_ms > age_ms:
        return int64(-1)
    return low - 1


@compiled
def first_bid_at(depth, s, start_ms, end_ms, price):
    """The first snapshot in [start, end) whose best bid is at or below a price, -1 where there is none."""
    row, end = newest_snapshot(depth, s, start_ms - 1, start_ms) + 1, depth.first[s + 1]
    row = max(row, depth.first[s])
    while row < end and depth.snapshots[row].time_ms < end_ms:
        if depth.levels[depth.snapshots[row].bids].price <= price:
            return row
        row += 1
    return int64(-1)


@compiled
def coins_for(levels, first, end, quote, raw_price):
    """The coins that the asks [first, end) give for `quote`, and whether they are enough for all of it."""
    coins = 0.0
    for row in range(first, end):
        price = max(levels[row].price, raw_price)
        if quote / price <= levels[row].size:
            return coins + quote / price, True
        coins += levels[row].size
        quote -= levels[row].size * price
    return coins, False


@compiled
def coins_shown(levels, first, end, most):
    """The coins that the levels [first, end) show, counted until they are `most`."""
    coins = 0.0
    for row in range(first, end):
        coins += levels[row].size
        if coins >= most:
            break
    return coins


@compiled
def walked_price(levels, first, end, coins, raw_price, buying):
    """The average price of `coins`, taken level by level, none of them better than `raw_price`."""
    value, rest, price = 0.0, coins, raw_price
    for row in range(first, end):
        price = max(levels[row].price, raw_price) if buying else min(levels[row].price, raw_price)
        take = min(rest, levels[row].size)
        value += take * price
        rest -= take
        if rest <= 0.0:
            break
    return (value + rest * price) / coins  # a rest is what counting in lots tolerates


@compiled
def buy_from_book(memory, facts, records, bar, s, row):
    """The market part takes the asks of a snapshot, within the bar's volume; returns its price or 0."""
    slot, part, ins = memory.slots[s], memory.parts[s, 0], facts.instruments[s]
    levels, shown = facts.depth.levels, facts.depth.snapshots[row]
    coins, enough = coins_for(levels, shown.asks, shown.end, part.quote / QUOTE, bar.open)
    most = whole_lots(coins, ins.lot)
    if most <= 0.0 or slot.entry_budget <= 0.0:
        return 0.0
    take = min(most, slot.entry_budget)
    coins = on_grid(take, ins.lot)
    price = ceil_tick(walked_price(levels, shown.asks, shown.end, coins, bar.open, True), ins.tick)
    if take < most and (part.quote - amount_e8(coins, price)) / QUOTE < ins.min_notional:
        take, coins = most, on_grid(most, ins.lot)
        price = ceil_tick(walked_price(levels, shown.asks, shown.end, coins, bar.open, True), ins.tick)
    fits = whole_lots(part.quote / QUOTE / price, ins.lot)  # the tick may have made it dearer than its quote
    take = min(take, fits)
    if take <= 0.0:
        return 0.0
    apply_entry(
        memory, facts, records, bar, s, _MARKET, take, price, bar.open, ins.taker, int64(shown.time_ms)
    )
    if enough and take == min(most, fits):
        end_part(memory, records, s, _MARKET, _WHOLE, _ACCEPTED)
    return price


@compiled
def sell_to_book(memory, facts, records, bar, s, row, raw_price):
    """The triggered exit takes the bids of a snapshot, within the bar's volume; none of them twice."""
    slot, ins = memory.slots[s], facts.instruments[s]
    levels, shown = facts.depth.levels, facts.depth.snapshots[row]
    if shown.time_ms == slot.walked_ms or slot.exit_budget <= 0.0:
        return
    held = on_grid(slot.held, ins.lot)
    most = min(slot.held, whole_lots(coins_shown(levels, shown.bids, shown.asks, held), ins.lot))
    take = min(most, slot.exit_budget)
    if take <= 0.0:
        return
    coins = on_grid(take, ins.lot)
    price = floor_tick(walked_price(levels, shown.bids, shown.asks, coins, raw_price, False), ins.tick)
    if take < most and on_grid(slot.held - take, ins.lot) * price < ins.min_notional:
        take, coins = most, on_grid(most, ins.lot)
        price = floor_tick(walked_price(levels, shown.bids, shown.asks, coins, raw_price, False), ins.tick)
    slot.walked_ms = shown.time_ms
    reason, time_ms = int64(slot.trigger), int64(shown.time_ms)
    apply_exit(memory, facts, records, bar, s, take, price, raw_price, ins.taker, reason, time_ms)


# --- match: orders and positions against a bar (section 3) ----------------------------------------


@compiled
def lots_to_buy(slot, quote, price, ins):
    """R8: what `quote` buys within the entry budget; the whole when the rest would be below the minimum.

    Returns the lots to fill and the lots wanted.
    """
    wanted = whole_lots(quote / QUOTE / price, ins.lot)
    if wanted <= 0.0 or slot.entry_budget <= 0.0:
        return 0.0, wanted
    take = min(wanted, slot.entry_budget)
    if take < wanted and (quote - amount_e8(on_grid(take, ins.lot), price)) / QUOTE < ins.min_notional:
        take = wanted
    return take, wanted


@compiled
def lots_to_sell(slot, price, ins):
    """R8: what can be sold within the exit budget; all when the rest would be below the minimum."""
    if slot.exit_budget <= 0.0:
        return 0.0
    take = min(slot.held, slot.exit_budget)
    if take < slot.held and on_grid(slot.held - take, ins.lot) * price < ins.min_notional:
        take = slot.held
    return take


@compiled
def buy(memory, facts, records, bar, s, k, price, raw_price, fee_rate, book_ms):
    """Fill part `k` as far as the bar's volume allows, and end it when complete; tells whether it filled."""
    part = memory.parts[s, k]
    take, wanted = lots_to_buy(memory.slots[s], part.quote, price, facts.instruments[s])
    if take <= 0.0:
        return False
    apply_entry(memory, facts, records, bar, s, k, take, price, raw_price, fee_rate, book_ms)
    if take == wanted:
        end_part(memory, records, s, k, _WHOLE, _ACCEPTED)
    return True


@compiled
def buy_at_market(memory, facts, records, bar, s):
    """R2: the market part at the open, from the recorded book or by the slippage table.

    Returns the price of the fill, 0 where nothing was filled.
    """
    ins, book_ms = facts.instruments[s], _NOT_ASKED
    if facts.parameters[0].book_age_ms >= 0:
        row = newest_snapshot(facts.depth, s, bar.time_ms, facts.parameters[0].book_age_ms)
        if row >= 0:
            return buy_from_book(memory, facts, records, bar, s, row)
        book_ms = _NOT_RECORDED
    price = ceil_tick(bar.open * (1.0 + ins.slippage), ins.tick)
    if buy(memory, facts, records, bar, s, _MARKET, price, bar.open, ins.taker, book_ms):
        return price
    return 0.0


@compiled
def judge(slot, level, other_level, bar):
    """R13: note once whether another exit's level lay inside the bar in which the first exit triggered."""
    if not slot.judged:
        slot.judged = True
        slot.ambiguous = (bar.low <= level <= bar.high) or (bar.low <= other_level <= bar.high)


@compiled
def sell_at_market(memory, facts, records, bar, s, raw_price, at_open):
    """R5: fill the triggered exit at `raw_price`, worsened, as far as the bar's volume allows.

    From the recorded book where there is one of the open, or of the moment within the bar at which the bids
    came down to `raw_price`; else by the slippage table.
    """
    slot, ins, book_ms = memory.slots[s], facts.instruments[s], _NOT_ASKED
    if facts.parameters[0].book_age_ms >= 0:
        if at_open:
            row = newest_snapshot(facts.depth, s, bar.time_ms, facts.parameters[0].book_age_ms)
        else:
            end_ms = bar.time_ms + facts.parameters[0].bar_ms
            row = first_bid_at(facts.depth, s, bar.time_ms, end_ms, raw_price)
        if row >= 0:
            sell_to_book(memory, facts, records, bar, s, row, raw_price)
            return
        book_ms = _NOT_RECORDED
    price = floor_tick(raw_price * (1.0 - ins.slippage), ins.tick)
    take = lots_to_sell(slot, price, ins)
    if take > 0.0:
        reason = int64(slot.trigger)
        apply_exit(memory, facts, records, bar, s, take, price, raw_price, ins.taker, reason, book_ms)


@compiled
def sell_at_target(memory, facts, records, bar, s):
    """R4: the target fills at its own price."""
    slot, ins = memory.slots[s], facts.instruments[s]
    take = lots_to_sell(slot, slot.target, ins)
    if take > 0.0:
        judge(slot, active_stop(slot), active_stop(slot), bar)
        price = slot.target
        apply_exit(memory, facts, records, bar, s, take, price, price, ins.maker, _TAKE_PROFIT, _NOT_ASKED)


@compiled_into_caller
def exit_at_the_open(memory, facts, records, bar, s):
    """R1 OPEN for a position: an exit under way, the stop, the target, a request, the time limit."""
    slot, ins = memory.slots[s], facts.instruments[s]
    if slot.trigger == _NONE:
        if bar.open <= active_stop(slot):
            slot.trigger = stop_label(slot)
            judge(slot, slot.target_before, slot.target_before, bar)
        elif rises_through(bar.open, slot.target, ins.tick):
            sell_at_target(memory, facts, records, bar, s)
            return
        elif slot.request != _NONE:
            slot.trigger = slot.request
            judge(slot, slot.target_before, active_stop(slot), bar)
        elif bar.time_ms >= slot.first_fill_ms + slot.max_hold_ms:
            slot.trigger = _TIME
            judge(slot, slot.target_before, active_stop(slot), bar)
        else:
            return
    sell_at_market(memory, facts, records, bar, s, bar.open, True)


@compiled
def enter_at_the_open(memory, facts, records, bar, s):
    """R2: the market part of an entry trades at the open; its first fill places the rungs (R3)."""
    slot, ins = memory.slots[s], facts.instruments[s]
    market = memory.parts[s, 0]
    if market.bars < 0:
        market.bars = facts.parameters[0].entry_bars
        if bar.open > slot.decision_close * (1.0 + slot.max_entry_gap):
            end_entry(memory, records, s, _GAP)
            return
    first = slot.phase == PENDING
    price = buy_at_market(memory, facts, records, bar, s)
    if price <= 0.0 or not first:
        return
    for k in range(1, slot.levels):
        rung = memory.parts[s, k]
        rung.price = floor_tick(price * (1.0 - slot.spacing * k), ins.tick)
        if falls_through(bar.open, rung.price, ins.tick):  # only where spacing is below slippage
            rung.bars = facts.parameters[0].entry_bars
            buy(memory, facts, records, bar, s, k, bar.open, bar.open, ins.taker, _NOT_ASKED)


@compiled_into_caller
def fall(memory, facts, records, bar, s):
    """R1 FALL: rungs and the stop in falling price order, average and levels anew after each fill."""
    slot, ins = memory.slots[s], facts.instruments[s]
    while slot.phase == HELD and slot.trigger == _NONE:
        highest = _MARKET
        level = active_stop(slot)
        for k in range(1, slot.levels):
            rung = memory.parts[s, k]
            if rung.open and not rung.passed and rung.price > level:
                level = rung.price
                highest = k
        if highest == _MARKET:
            if bar.low <= level:
                slot.trigger = stop_label(slot)
                judge(slot, slot.target_before, slot.target_open, bar)
                sell_at_market(memory, facts, records, bar, s, min(level, bar.open), False)
            return
        rung = memory.parts[s, highest]
        if not falls_through(bar.low, rung.price, ins.tick):
            return
        if rung.bars < 0:
            rung.bars = facts.parameters[0].entry_bars
        if buy(memory, facts, records, bar, s, highest, rung.price, rung.price, ins.maker, _NOT_ASKED):
            slot.entered_within = True
        rung.passed = True


@compiled_into_caller
def rise(memory, facts, records, bar, s):
    """R1 RISE: the target, unless an entry filled within this bar (R6)."""
    slot = memory.slots[s]
    if slot.phase != HELD or slot.trigger != _NONE or slot.entered_within:
        return
    if rises_through(bar.high, slot.target, facts.instruments[s].tick):
        sell_at_target(memory, facts, records, bar, s)


@compiled_into_caller
def begin_bar(memory, facts, s, volume):
    """What a slot knows of the bar that begins: no fill yet, and what the volume allows (R8)."""
    slot, parameters, lot = memory.slots[s], facts.parameters[0], facts.instruments[s].lot
    for k in range(1, slot.levels):
        memory.parts[s, k].passed = False
    slot.target_before = slot.target_open = np.nan
    slot.entered_within = False
    slot.volume_unknown = np.isnan(volume)
    slot.entry_budget = slot.exit_budget = np.inf
    if not slot.volume_unknown:
        slot.entry_budget = whole_lots(parameters.entry_participation * volume, lot)
        slot.exit_budget = whole_lots(parameters.exit_participation * volume, lot)


@compiled_into_caller
def match(memory, facts, records, bar, s):
    """One symbol against one bar: OPEN, FALL and RISE, in the order that R13 gives."""
    slot, parameters = memory.slots[s], facts.parameters[0]
    waits = slot.phase == PENDING and memory.parts[s, 0].bars < 0
    if waits and bar.time_ms - slot.decision_ms >= slot.wait_ms:
        end_entry(memory, records, s, _EXPIRED)
        return
    if np.isnan(bar.close):
        return
    begin_bar(memory, facts, s, bar.volume)
    if slot.phase == HELD:
        slot.target_before = slot.target
        exit_at_the_open(memory, facts, records, bar, s)
    if slot.phase != EMPTY and slot.trigger == _NONE and memory.parts[s, 0].open:
        enter_at_the_open(memory, facts, records, bar, s)
    if slot.phase == EMPTY:
        return
    if slot.phase == HELD:
        slot.target_open = slot.target
    rise_first = parameters.mode == OPTIMISTIC or (
        parameters.mode == ADAPTIVE and bar.high - bar.open < bar.open - bar.low
    )
    if rise_first:
        rise(memory, facts, records, bar, s)
    fall(memory, facts, records, bar, s)
    if not rise_first:
        rise(memory, facts, records, bar, s)
    if slot.phase != EMPTY:
        age_parts(memory, records, s)


# --- CLOSE (section 4) ----------------------------------------------------------------------------


@compiled
def close_out(memory, facts, records, bar, s, reason):
    """Sell everything at the last close, worsened, without a cap: data lost, or the end of the data."""
    slot, ins, last_close = memory.slots[s], facts.instruments[s], memory.coins[s].last_close
    slot.volume_unknown = False
    price = floor_tick(last_close * (1.0 - ins.slippage), ins.tick)
    apply_exit(memory, facts, records, bar, s, slot.held, price, last_close, ins.taker, reason, _NOT_ASKED)


@compiled
def arms(slot, ins, trail):
    """R7: whether a trailing level has come to pay a round trip."""
    return trail >= slot.average * (1.0 + 2.0 * (ins.taker + ins.slippage))


@compiled_into_caller
def follow_high_water(slot, coin, ins):
    """R7: the trailing level follows the high-water mark, and half the way to the target clears the stops."""
    if slot.trailing > 0.0:
        trail = slot.high_water * (1.0 - slot.trailing)
        if not slot.armed and arms(slot, ins, trail):
            slot.armed = True
            coin.stops = 0
        if slot.armed:
            slot.trail = floor_tick(trail, ins.tick)
    if slot.high_water >= slot.average * (1.0 + slot.take_profit / 2.0):
        coin.stops = 0


@compiled_into_caller
def follow_position(slot, coin, ins, parameters, stop_factor, high):
    """R7 and stop widening at CLOSE: high-water mark, arming, half target, stop and target for the next bar.

    `high` is NaN where the symbol has no bar.
    """
    if not np.isnan(high):
        slot.high_water = 0.0 if slot.entered_within else max(slot.high_water, high)
    if slot.high_water > 0.0:
        follow_high_water(slot, coin, ins)
    set_stop_fraction(slot, stop_factor, ins.stop_cap, parameters)
    set_levels(slot, ins.tick)


@compiled
def count_closed_trade(coin, strategy, ins, parameters, close_ms):
    """Losing streak of the strategy and stop count of the symbol after a trade that closed in this bar."""
    reason = coin.closed
    coin.closed = _NONE
    if reason != _DATA_LOST:
        if coin.closed_pnl < 0:
            strategy.streak += 1
            if strategy.streak == parameters.streak:
                strategy.blocked_ms = close_ms + parameters.streak_ms
        elif coin.closed_pnl > 0:
            strategy.streak = 0
    if reason == _STOP_LOSS:
        coin.stops += 1
        if coin.stops >= parameters.cooldown_stops:
            coin.cooldown_ms = close_ms + ins.cooldown_ms
    elif reason in (_TAKE_PROFIT, _TRAILING) or (reason == _TIME and coin.closed_pnl > 0):
        coin.stops = 0


@compiled_into_caller
def has_lost_data(memory, facts, s):
    """R9: whether the newest bar of any symbol is so much later than this symbol's last."""
    return memory.book[0].newest_ms - memory.coins[s].last_close_ms >= facts.parameters[0].data_lost_ms


@compiled_into_caller
def mark_equity(memory, facts, records, bar, closes):
    """Steps 1 to 3: take over the closes, close positions whose data is lost, add up the equity."""
    book = memory.book[0]
    close_ms = bar.time_ms + facts.parameters[0].bar_ms
    for s in range(len(memory.coins)):
        if not np.isnan(closes[s]):
            memory.coins[s].last_close = closes[s]
            memory.coins[s].last_close_ms = close_ms
            book.newest_ms = close_ms
    marks = 0
    for s in range(len(memory.slots)):
        slot, coin = memory.slots[s], memory.coins[s]
        if slot.phase == HELD:
            if has_lost_data(memory, facts, s):
                close_out(memory, facts, records, bar, s, _DATA_LOST)
            else:
                marks += amount_e8(on_grid(slot.held, facts.instruments[s].lot), coin.last_close)
    book.equity = book.cash + book.reserved + marks


@compiled_into_caller
def begin_day(book, day):
    """Step 5, before the bar: the first bar of a day has the equity of the CLOSE before as its base."""
    if day != book.day:
        book.day = day
        book.day_base = book.equity
        book.day_latched = False


@compiled_into_caller
def judge_equity(book, parameters):
    """Step 5: the latches of the day and of the drawdown."""
    if book.day_base > 0 and (book.day_base - book.equity) / book.day_base >= parameters.day_loss:
        book.day_latched = True
    book.peak = max(book.peak, book.equity)
    if book.peak > 0 and (book.peak - book.equity) / book.peak >= parameters.drawdown:
        book.drawdown_latched = True


@compiled_into_caller
def end_block(strategy, close_ms):
    """Step 6: a block that is over."""
    if 0 < strategy.blocked_ms <= close_ms:
        strategy.blocked_ms = 0
        strategy.streak = 0


@compiled_into_caller
def end_cooldown(coin, close_ms):
    """Step 6: a cooldown that is over."""
    if 0 < coin.cooldown_ms <= close_ms:
        coin.cooldown_ms = 0
        coin.stops = 0


@compiled_into_caller
def settle_coin(memory, facts, s, close_ms):
    """Step 6 for one symbol: its cooldown, and the trade that closed in this bar."""
    coin = memory.coins[s]
    end_cooldown(coin, close_ms)
    if coin.closed != _NONE:
        strategy = memory.strategies[coin.closed_strategy]
        count_closed_trade(coin, strategy, facts.instruments[s], facts.parameters[0], close_ms)


@compiled_into_caller
def settle_slot(memory, facts, records, s, regime, stop_factor, high):
    """Steps 7 and 8 for one symbol: what PANIC cancels, and the position's levels for the next bar."""
    slot, parameters = memory.slots[s], facts.parameters[0]
    if regime == _PANIC and slot.phase != EMPTY:
        if parameters.cancel_rungs_in_panic and slot.phase == HELD:
            end_parts(memory, records, s, _STOPPED, _REGIME_PANIC)
        elif memory.parts[s, 0].open:
            end_entry(memory, records, s, _REGIME_PANIC)
    if slot.phase == HELD:
        follow_position(slot, memory.coins[s], facts.instruments[s], parameters, stop_factor, high)


@compiled
def ask_to_close(memory, records, s, reason):
    """Section 7, `close`: an order without a fill ends, a position exits at its next open."""
    slot = memory.slots[s]
    if slot.phase == PENDING:
        end_entry(memory, records, s, _CANCELLED)
    elif slot.phase == HELD and slot.trigger == _NONE:
        slot.request = reason


@compiled
def turn(memory, records, preferred, closes):
    """The market favours another strategy than last: it is remembered, and what the other has is closed."""
    last = memory.book[0].favoured
    memory.book[0].favoured = preferred
    if not closes:
        return
    for s in range(len(memory.slots)):
        slot = memory.slots[s]
        if slot.phase != EMPTY and slot.strategy == last and slot.request == _NONE:
            ask_to_close(memory, records, s, _TRANSITION)


@compiled_into_caller
def settle(memory, facts, records, bar, highs, closes, regime, volatility, stop_factor, preferred):
    """CLOSE, steps 1 to 8: equity, day and drawdown, streaks and cooldowns, PANIC and turns, positions."""
    book, parameters = memory.book[0], facts.parameters[0]
    close_ms = bar.time_ms + parameters.bar_ms
    mark_equity(memory, facts, records, bar, closes)
    book.volatility = 0.0 if np.isnan(volatility) else volatility
    book.stop_factor = stop_factor
    judge_equity(book, parameters)
    for k in range(len(memory.strategies)):
        end_block(memory.strategies[k], close_ms)
    for s in range(len(memory.coins)):
        settle_coin(memory, facts, s, close_ms)
    for s in range(len(memory.slots)):
        settle_slot(memory, facts, records, s, regime, stop_factor, highs[s])
    if preferred >= 0 and preferred != book.favoured:
        turn(memory, records, preferred, parameters.close_on_transition)


# --- decide: setups to orders (section 5) ---------------------------------------------------------


@compiled
def gate(setup, decision, memory, facts, regime, switched_on, close_ms):
    """The first gate that refuses a setup, with what it measured; ACCEPTED where none does."""
    book, parameters = memory.book[0], facts.parameters[0]
    coin, strategy = memory.coins[setup.symbol], memory.strategies[setup.strategy]
    decision.measured = np.nan
    decision.limit = np.nan
    if setup.withheld != 0:
        return int64(setup.withheld)
    if setup.side != 1:
        return _SIDE
    if book.paused:
        return _PAUSED
    if coin.blocked:
        return _BLOCKED
    if strategy.off or not facts.strategies[setup.strategy].enabled:
        return _OFF
    if not switched_on[setup.strategy]:
        decision.measured = book.volatility
        return _VOLATILE
    if regime == _PANIC:
        return _REGIME_PANIC
    if book.day_latched:
        decision.measured = (book.day_base - book.equity) / book.day_base
        decision.limit = parameters.day_loss
        return _DAY_LOSS
    if book.drawdown_latched:
        decision.measured = (book.peak - book.equity) / book.peak
        decision.limit = parameters.drawdown
        return _DRAWDOWN
    if close_ms < strategy.blocked_ms:
        decision.measured = close_ms
        decision.limit = strategy.blocked_ms
        return _STREAK
    if close_ms < coin.cooldown_ms:
        decision.measured = close_ms
        decision.limit = coin.cooldown_ms
        return _COOLDOWN
    if close_ms - coin.last_close_ms >= parameters.stale_ms:
        if coin.last_close == coin.last_close:  # else it never had a bar, and no number says for how long
            decision.measured = close_ms - coin.last_close_ms
        decision.limit = parameters.stale_ms
        return _STALE
    if memory.slots[setup.symbol].phase != EMPTY:
        return _SYMBOL
    if memory.episodes[setup.strategy, setup.symbol]:
        return _EPISODE
    if setup.confidence < parameters.min_confidence:
        decision.measured = setup.confidence
        decision.limit = parameters.min_confidence
        return _CONFIDENCE
    if 0.0 < setup.trailing < setup.range_median:
        decision.measured = setup.trailing
        decision.limit = setup.range_median
        return _TIGHT
    return _ACCEPTED


@compiled
def stands_before(a, b, preferred, instruments):
    """The manager's ranking: preferred strategy, confidence, readiness, symbol."""
    a_first = a.strategy == preferred
    b_first = b.strategy == preferred
    if a_first != b_first:
        return a_first
    if a.confidence != b.confidence:
        return a.confidence > b.confidence
    if a.readiness != b.readiness:
        return a.readiness > b.readiness
    return instruments[a.symbol].rank < instruments[b.symbol].rank


@compiled
def one_per_symbol(setups, chosen, decisions):
    """Within a symbol the higher confidence stays, on a tie the strategy configured first.

    What stays is moved to the front of `chosen`; returns how many.
    """
    for a in chosen:
        mine = setups[a]
        for b in chosen:
            other = setups[b]
            if other.symbol != mine.symbol or a == b:
                continue
            tie = other.confidence == mine.confidence and other.strategy < mine.strategy
            if other.confidence > mine.confidence or tie:
                decisions[a].reason = _OUTRANKED
                decisions[a].measured = mine.confidence
                decisions[a].limit = other.confidence
                break
    kept = 0
    for a in chosen:
        if decisions[a].reason == _ACCEPTED:
            chosen[kept] = a
            kept += 1
    return kept


@compiled
def sort_by_rank(setups, chosen, preferred, instruments):
    """Insertion sort, best first: batches are small."""
    for a in range(1, len(chosen)):
        item = chosen[a]
        b = a - 1
        while b >= 0 and stands_before(setups[item], setups[chosen[b]], preferred, instruments):
            chosen[b + 1] = chosen[b]
            b -= 1
        chosen[b + 1] = item


@compiled
def exposures(memory, facts, count, exposure):
    """Positions and orders by strategy, and their marks plus reserves in 1e-8 quote; returns the number."""
    total = 0
    count[:] = 0
    exposure[:] = 0
    for s in range(len(memory.slots)):
        slot = memory.slots[s]
        if slot.phase == EMPTY:
            continue
        total += 1
        count[slot.strategy] += 1
        if slot.phase == HELD:
            coins = on_grid(slot.held, facts.instruments[s].lot)
            exposure[slot.strategy] += amount_e8(coins, memory.coins[s].last_close)
        for k in range(slot.levels):
            if memory.parts[s, k].open:
                exposure[slot.strategy] += memory.parts[s, k].reserve
    return total


@compiled
def remember_hour(memory, hour_ms):
    """The closes of the hour that ends at `hour_ms`, NaN for symbols without a bar in it."""
    place = hour_ms // _HOUR_MS % len(memory.hours_ms)
    memory.hours_ms[place] = hour_ms
    for s in range(len(memory.coins)):
        coin = memory.coins[s]
        fresh = hour_ms - coin.last_close_ms < _HOUR_MS
        memory.hour_closes[s, place] = coin.last_close if fresh else np.nan


@compiled
def hourly_return(memory, s, hour_ms):
    """What a symbol gained in the hour that ends at `hour_ms`, NaN where one of the two closes is missing."""
    hour = hour_ms // _HOUR_MS
    now, before = hour % len(memory.hours_ms), (hour - 1) % len(memory.hours_ms)
    if memory.hours_ms[now] != hour_ms or memory.hours_ms[before] != hour_ms - _HOUR_MS:
        return np.nan
    return memory.hour_closes[s, now] / memory.hour_closes[s, before] - 1.0


@compiled
def correlation(memory, a, b, last_hour_ms, fewest):
    """Pearson's correlation of two symbols over the hours in which both have returns.

    NaN below `fewest` of them, and where one of the two never moved.
    """
    first_hour_ms = last_hour_ms - (len(memory.hours_ms) - 2) * _HOUR_MS
    count, sum_a, sum_b = 0, 0.0, 0.0
    for hour_ms in range(first_hour_ms, last_hour_ms + 1, _HOUR_MS):
        x, y = hourly_return(memory, a, hour_ms), hourly_return(memory, b, hour_ms)
        if not np.isnan(x) and not np.isnan(y):
            count += 1
            sum_a += x
            sum_b += y
    if count < fewest:
        return np.nan
    mean_a, mean_b = sum_a / count, sum_b / count
    squares_a, squares_b, products = 0.0, 0.0, 0.0
    for hour_ms in range(first_hour_ms, last_hour_ms + 1, _HOUR_MS):
        x, y = hourly_return(memory, a, hour_ms), hourly_return(memory, b, hour_ms)
        if not np.isnan(x) and not np.isnan(y):
            squares_a += (x - mean_a) * (x - mean_a)
            squares_b += (y - mean_b) * (y - mean_b)
            products += (x - mean_a) * (y - mean_b)
    if squares_a <= 0.0 or squares_b <= 0.0:
        return np.nan
    return max(-1.0, min(1.0, products / (np.sqrt(squares_a) * np.sqrt(squares_b))))


@compiled
def mean_correlation(memory, s, close_ms, fewest):
    """Mean of the known correlations of a symbol with all that is held or ordered; NaN where none is."""
    last_hour_ms = close_ms - close_ms % _HOUR_MS
    known, total = 0, 0.0
    for other in range(len(memory.slots)):
        if memory.slots[other].phase != EMPTY:
            alike = correlation(memory, s, int64(other), last_hour_ms, fewest)
            if not np.isnan(alike):
                known += 1
                total += alike
    return total / known if known > 0 else np.nan


@compiled
def limit_broken(setup, decision, memory, facts, quote, committed, count, total, exposure, close_ms):
    """The first limit that an order of `committed` would break with what is free now, else ACCEPTED."""
    book, parameters = memory.book[0], facts.parameters[0]
    ins = facts.instruments[setup.symbol]
    equity = float(book.equity)
    if parameters.size_mode == SIZE_ADAPTIVE:
        decision.measured = setup.confidence
        decision.limit = break_even(setup, ins)
        if setup.confidence <= decision.limit:
            return _NO_EDGE
    decision.measured = quote / QUOTE
    decision.limit = ins.min_notional
    if quote / QUOTE < ins.min_notional:
        return _SMALL
    decision.measured = count
    decision.limit = parameters.max_per_strategy
    if count >= parameters.max_per_strategy:
        return _STRATEGY_LIMIT
    decision.measured = total
    decision.limit = parameters.max_open
    if total >= parameters.max_open:
        return _PORTFOLIO_LIMIT
    decision.measured = (exposure + committed) / QUOTE
    decision.limit = parameters.max_strategy * equity / QUOTE
    if exposure + committed > parameters.max_strategy * equity:
        return _EXPOSURE
    decision.measured = committed / QUOTE
    decision.limit = parameters.max_symbol * equity / QUOTE
    if committed > parameters.max_symbol * equity:
        return _CONCENTRATION
    share = facts.strategies[setup.strategy].share * (1.0 - parameters.reserve) * equity
    decision.measured = (exposure + committed) / QUOTE
    decision.limit = share / QUOTE
    if exposure + committed > share:
        return _SHARE
    decision.measured = (book.cash - committed) / QUOTE
    decision.limit = parameters.reserve * equity / QUOTE
    if book.cash - committed < parameters.reserve * equity:
        return _NO_CASH
    if len(memory.hours_ms) > 0:
        fewest = parameters.correlation_hours
        decision.measured = mean_correlation(memory, int64(setup.symbol), close_ms, fewest)
        decision.limit = parameters.max_correlation
        if decision.measured > parameters.max_correlation:
            return _CORRELATION
    decision.measured = np.nan
    decision.limit = np.nan
    return _ACCEPTED


@compiled
def fixed_quote(setup, factor):
    """R3: the quote amount of each part of an order of the strategy's own size, 1e-8 quote."""
    return np.int64(np.rint(setup.size_quote * factor * QUOTE))


@compiled
def break_even(setup, ins):
    """The share of wins at which target and stop, after the costs of a round trip, come to nothing.

    1 where a win would not even pay its costs.
    """
    costs = 2.0 * (ins.taker + ins.slippage)
    win = setup.take_profit - costs
    if win <= 0.0:
        return 1.0
    loss = setup.stop_loss + costs
    return loss / (win + loss)


@compiled
def kelly_share(setup, ins):
    """Kelly's share p - (1 - p) / b, p the confidence and b what a win brings for each unit of a loss.

    0 where a bet is not worth its risk. J. L. Kelly, "A New Interpretation of Information Rate", 1956.
    """
    if setup.confidence <= break_even(setup, ins):
        return 0.0
    costs = 2.0 * (ins.taker + ins.slippage)
    win, loss = setup.take_profit - costs, setup.stop_loss + costs
    return max(setup.confidence - (1.0 - setup.confidence) * loss / win, 0.0)


@compiled
def order_quote(setup, factor, equity, ins, parameters):
    """The quote amount of each part of an order, 1e-8 quote, as the sizing has it (section 5)."""
    if parameters.size_mode == SIZE_FIXED:
        return fixed_quote(setup, factor)
    if parameters.size_mode == SIZE_FRACTION:
        return np.int64(np.rint(equity * parameters.fraction * factor / setup.levels))
    span = 1.0 - parameters.min_confidence
    place = (setup.confidence - parameters.min_confidence) / span if span > 0.0 else 1.0
    low, high = parameters.confidence_low, parameters.confidence_high
    by_confidence = low + place * (high - low)
    wanted = equity * parameters.kelly * kelly_share(setup, ins) * by_confidence * factor
    return np.int64(np.rint(min(wanted, equity * parameters.fraction_max) / setup.levels))


@compiled
def order_reserve(quote, ins):
    """R3: what a part of an order reserves: its notional and the higher of the two fees."""
    return quote + np.int64(np.rint(quote * max(ins.taker, ins.maker)))


@compiled
def place_order(memory, s, setup, index, quote, reserve):
    """A pending entry with all its parts in an empty slot."""
    open_slot(memory.slots[s], setup, index)
    memory.slots[s].quote = quote
    for k in range(setup.levels):
        open_part(memory.parts[s, k], quote, reserve)


@compiled
def open_slot(slot, setup, index):
    """A slot that holds a setup's order and nothing else."""
    slot.phase = PENDING
    slot.fallback = False
    slot.strategy = setup.strategy
    slot.levels = setup.levels
    slot.setup = index
    slot.decision_ms = setup.time_ms
    slot.wait_ms = setup.wait_ms
    slot.decision_close = setup.decision_close
    slot.max_entry_gap = np.inf if np.isnan(setup.max_entry_gap) else setup.max_entry_gap
    slot.take_profit = setup.take_profit
    slot.stop_loss = setup.stop_loss
    slot.trailing = setup.trailing
    slot.spacing = setup.spacing
    slot.max_hold_ms = setup.max_hold_ms
    slot.trade = -1
    slot.held = slot.bought = slot.sold = 0.0
    slot.cost = slot.proceeds = 0.0
    slot.invested = slot.returned = 0
    slot.fees = slot.slippage = 0
    slot.entry_fills = slot.exit_fills = 0
    slot.first_fill_ms = 0
    slot.entry_volatility = 0.0
    slot.average = slot.stop_fraction = 0.0
    slot.stop = slot.target = 0.0
    slot.high_water = slot.trail = 0.0
    slot.armed = False
    slot.trigger = slot.request = slot.exit_reason = _NONE
    slot.judged = slot.ambiguous = False
    slot.entered_within = False
    slot.walked_ms = _NOT_ASKED


@compiled_into_caller
def choose(memory, facts, records, scratch, bars, market, t, setups, first, last):
    """Resets, then gates, then one setup per symbol; returns how many stay, at the front of the batch."""
    close_ms = bars.open_time_ms[t] + facts.parameters[0].bar_ms
    regime, switched_on = market.regime[t], market.switched_on[t]
    batch = scratch.batch
    passed = 0
    for i in range(first, last):
        if setups[i].kind == EVENT_RESET:
            memory.episodes[setups[i].strategy, setups[i].symbol] = False
    for i in range(first, last):
        decision = records.decisions[i]
        if setups[i].kind != EVENT_RESET:
            decision.reason = gate(setups[i], decision, memory, facts, regime, switched_on, close_ms)
            if decision.reason == _ACCEPTED:
                batch[passed] = i
                passed += 1
    return one_per_symbol(setups, batch[:passed], records.decisions)


@compiled
def admit(memory, facts, records, scratch, bars, market, t, setups, chosen, total):
    """Rank the chosen setups of one close; size, test and admit one after the other.

    What is taken already stands in `scratch`, and `total` is the number of all positions and orders.
    """
    close_ms = bars.open_time_ms[t] + facts.parameters[0].bar_ms
    preferred, size_factor = market.preferred[t], market.size_factor[t]
    sort_by_rank(setups, chosen, preferred, facts.instruments)
    count, exposure = scratch.taken, scratch.exposure
    for rank in range(len(chosen)):
        i = chosen[rank]
        setup, decision = setups[i], records.decisions[i]
        k, s = int64(setup.strategy), int64(setup.symbol)
        ins = facts.instruments[s]
        quote = order_quote(setup, size_factor[k], float(memory.book[0].equity), ins, facts.parameters[0])
        reserve = order_reserve(quote, ins)
        committed = reserve * setup.levels
        decision.rank = rank
        decision.reason = limit_broken(
            setup, decision, memory, facts, quote, committed, count[k], total, exposure[k], close_ms
        )
        if decision.reason != _ACCEPTED:
            continue
        memory.book[0].cash -= committed
        memory.book[0].reserved += committed
        place_order(memory, s, setup, i, quote, reserve)
        total += 1
        count[k] += 1
        exposure[k] += committed
        decision.fallback = preferred >= 0 and k != preferred
        memory.slots[s].fallback = decision.fallback


@compiled
def decide(memory, facts, records, scratch, bars, market, t, setups, first, last):
    """Admit the setups [first, last) of one close as one batch; resets come first."""
    n = choose(memory, facts, records, scratch, bars, market, t, setups, first, last)
    if n > 0:
        total = exposures(memory, facts, scratch.taken, scratch.exposure)
        admit(memory, facts, records, scratch, bars, market, t, setups, scratch.batch[:n], total)


# --- step and run ---------------------------------------------------------------------------------


@compiled
def obey(command, memory, records):
    """Section 7: one command, before the bar's OPEN."""
    book, kind = memory.book[0], command.kind
    if kind == _C_PAUSE:
        book.paused = True
    elif kind == _C_RESUME:
        book.paused = False
        book.day_latched = False
        book.day_base = book.equity
        book.drawdown_latched = False
        book.peak = book.equity
    elif kind == _C_CLOSE:
        ask_to_close(memory, records, int64(command.symbol), int64(command.value))
    elif kind == _C_COOLDOWN:
        memory.coins[command.symbol].stops = 0
        memory.coins[command.symbol].cooldown_ms = 0
    elif kind == _C_STREAK:
        memory.strategies[command.strategy].streak = 0
        memory.strategies[command.strategy].blocked_ms = 0
    elif kind == _C_OFF:
        memory.strategies[command.strategy].off = True
    elif kind == _C_ON:
        memory.strategies[command.strategy].off = False
    elif kind == _C_BLOCK:
        memory.coins[command.symbol].blocked = True
    elif kind == _C_UNBLOCK:
        memory.coins[command.symbol].blocked = False


@compiled
def bar_of(bars, t, s):
    """One symbol's bar of row t."""
    return Bar(
        t,
        bars.open_time_ms[t],
        bars.open[s, t],
        bars.high[s, t],
        bars.low[s, t],
        bars.close[s, t],
        bars.volume[s, t],
    )


@compiled_into_caller
def step(memory, facts, records, scratch, bars, market, t, commands, setups, first_setup, last_setup):
    """One bar of the whole portfolio (R1): commands, OPEN, FALL and RISE by symbol, CLOSE for all."""
    book = memory.book[0]
    close_ms = bars.open_time_ms[t] + facts.parameters[0].bar_ms
    records.written[0].close_ms = close_ms
    for i in range(len(commands)):
        obey(commands[i], memory, records)
    begin_day(book, bars.day[t])
    for s in range(len(memory.slots)):
        if memory.slots[s].phase != EMPTY:
            match(memory, facts, records, bar_of(bars, t, s), s)
    settle(
        memory,
        facts,
        records,
        bar_of(bars, t, int64(0)),
        bars.high[:, t],
        bars.close[:, t],
        market.regime[t],
        market.volatility[t],
        market.stop_factor[t],
        market.preferred[t],
    )
    if len(memory.hours_ms) > 0 and close_ms % _HOUR_MS == 0:
        remember_hour(memory, close_ms)
    if last_setup > first_setup:
        decide(memory, facts, records, scratch, bars, market, t, setups, first_setup, last_setup)


@compiled_into_caller
def is_full(records, room):
    """Whether fewer than `room` rows are free for one kind of record."""
    written = records.written[0]
    return (
        len(records.fills) - written.fills < room
        or len(records.trades) - written.trades < room
        or len(records.orders) - written.orders < room
    )


@compiled_without_gil
def run(memory, facts, records, scratch, curve, bars, market, commands, setups, cursor, start, stop, room):
    """The dense driver: every bar of [start, stop) in order. Returns the bar that it stopped before.

    It stops early when fewer than `room` rows of fills, trades or orders are free (the caller makes room and
    goes on), and after a bar in which a quantity was not exact (`book.error`). `cursor` holds the next
    command and the next setup.
    """
    book = memory.book[0]
    for t in range(start, stop):
        if is_full(records, room):
            return t
        time_ms = bars.open_time_ms[t]
        close_ms = time_ms + facts.parameters[0].bar_ms
        first_command = cursor[0]
        while cursor[0] < len(commands) and commands[cursor[0]].time_ms <= time_ms:
            cursor[0] += 1
        first_setup = cursor[1]
        while cursor[1] < len(setups) and setups[cursor[1]].time_ms == close_ms:
            cursor[1] += 1
        due = commands[first_command : cursor[0]]
        step(memory, facts, records, scratch, bars, market, t, due, setups, first_setup, cursor[1])
        curve.equity[t] = book.equity
        curve.cash[t] = book.cash
        curve.reserved[t] = book.reserved
        if book.error != 0:
            return t + 1
    return stop


# --- the event driver -----------------------------------------------------------------------------
#
# It visits only rows at which something can happen, and of these rows only the slots to which it can. Slots
# do not influence each other before CLOSE, so each is followed by itself as far as nothing happens to it, at
# most to the end of a chunk of rows. Meanwhile only its high-water mark, trailing level and stop change, and
# they do by the same functions as in `step`. What all positions are worth at the closes of the chunk is added
# up beforehand and changed at fills. All else that a step would have brought up to date is brought up to date
# when somebody reads it.


@compiled_into_caller
def row_from(bars, parameters, time_ms):
    """The first row that opens at or after a time, also where that is before or after all rows."""
    return (time_ms - bars.open_time_ms[0] + parameters.bar_ms - 1) // parameters.bar_ms


@compiled_into_caller
def see_close(coin, bars, parameters, closes, t, first):
    """Take over a symbol's last close of the rows up to `t`; what was before `first` is known."""
    for row in range(t, first - 1, -1):
        close_ms = bars.open_time_ms[row] + parameters.bar_ms
        if close_ms <= coin.last_close_ms:
            return
        if not np.isnan(closes[row]):
            coin.last_close = closes[row]
            coin.last_close_ms = close_ms
            return


@compiled
def see_newest(memory, facts, bars, t, first):
    """R9: the newest bar of any symbol in the rows up to `t`; what was before `first` is known."""
    book, bar_ms = memory.book[0], facts.parameters[0].bar_ms
    for row in range(t, first - 1, -1):
        close_ms = bars.open_time_ms[row] + bar_ms
        if close_ms <= book.newest_ms:
            return
        if has_bar(bars.close, row):
            book.newest_ms = close_ms
            return


@compiled_into_caller
def row_of_close(bars, parameters, close_ms):
    """The row that closes at a time, also where that is before all rows."""
    return (close_ms - parameters.bar_ms - bars.open_time_ms[0]) // parameters.bar_ms


@compiled
def see_bar(memory, facts, work, bars, s):
    """What `match` leaves in a position's slot after the symbol's last bar, if that was not visited."""
    slot, last = memory.slots[s], row_of_close(bars, facts.parameters[0], memory.coins[s].last_close_ms)
    if last > work.visited[s]:
        begin_bar(memory, facts, s, bars.volume[s, last])
        slot.target_before = slot.target_open = slot.target


@compiled
def catch_up(memory, facts, work, bars, market, t):
    """Bring all up to date that a step of row `t` would have left: nothing is behind any more."""
    first = work.place[0].known
    parameters = facts.parameters[0]
    close_ms = bars.open_time_ms[t] + parameters.bar_ms
    see_market(memory.book[0], market, t)
    see_newest(memory, facts, bars, t, first)
    for row in range(t, first - 1, -1):
        if market.preferred[row] >= 0:
            memory.book[0].favoured = market.preferred[row]
            break
    for k in range(len(memory.strategies)):
        end_block(memory.strategies[k], close_ms)
    for s in range(len(memory.slots)):
        see_close(memory.coins[s], bars, parameters, bars.close[s], t, first)
        end_cooldown(memory.coins[s], close_ms)
        if memory.slots[s].phase == HELD:
            see_bar(memory, facts, work, bars, s)


@compiled_into_caller
def all_present(prices):
    """Whether no price is missing."""
    missing = False
    for i in range(len(prices)):
        missing |= prices[i] != prices[i]
    return not missing


@compiled
def add_marks(marks, closes, close, coins, before):
    """Count `coins` instead of `before` in the worth at each close; `close` goes on over missing bars."""
    if not all_present(closes):
        for i in range(len(marks)):
            if not np.isnan(closes[i]):
                close = closes[i]
            marks[i] += amount_e8(coins, close) - amount_e8(before, close)
    elif before == 0.0:
        for i in range(len(marks)):
            marks[i] += amount_e8(coins, closes[i])
    elif coins == 0.0:
        for i in range(len(marks)):
            marks[i] -= amount_e8(before, closes[i])
    else:
        for i in range(len(marks)):
            marks[i] += amount_e8(coins, closes[i]) - amount_e8(before, closes[i])


@compiled_into_caller
def mark(memory, facts, work, bars, s, t):
    """What a symbol's position is worth from row `t` to the end of the chunk; its last close is known."""
    place, slot = work.place[0], memory.slots[s]
    coins = on_grid(slot.held, facts.instruments[s].lot) if slot.phase == HELD else 0.0
    if coins != work.coins[s]:
        marks = work.marks[slot.strategy, t - place.first : place.end - place.first]
        add_marks(marks, bars.close[s, t : place.end], memory.coins[s].last_close, coins, work.coins[s])
        work.coins[s] = coins


@compiled_into_caller
def recount(memory, work, s):
    """What `exposures` counts of a slot but its mark, kept up to date."""
    slot, owner = memory.slots[s], work.owner[s]
    if owner >= 0:
        work.taken[owner] -= 1
        work.reserves[owner] -= work.ordered[s]
    work.owner[s] = -1
    if slot.phase != EMPTY:
        ordered = 0
        for k in range(slot.levels):
            if memory.parts[s, k].open:
                ordered += memory.parts[s, k].reserve
        work.owner[s] = slot.strategy
        work.ordered[s] = ordered
        work.taken[slot.strategy] += 1
        work.reserves[slot.strategy] += ordered


@compiled_into_caller
def worth(marks, i):
    """What all positions are worth at one close of the chunk."""
    total = marks[0, i]
    for k in range(1, len(marks)):
        total += marks[k, i]
    return total


@compiled_into_caller
def highest_rung(slot, parts):
    """The price of the highest open rung, 0 where there is none."""
    highest = 0.0
    for k in range(1, slot.levels):
        if parts[k].open:
            highest = max(highest, parts[k].price)
    return highest


@compiled_into_caller
def is_busy(slot, parts):
    """Whether the slot's next bar matters whatever its prices are."""
    if slot.phase == PENDING or slot.trigger != _NONE or slot.request != _NONE or parts[0].open:
        return True
    for k in range(1, slot.levels):
        if parts[k].open and parts[k].bars > 0:
            return True
    return False


@compiled_into_caller
def meets(lows, highs, level, target):
    """Whether any bar comes down to a level or up to a target; missing bars do neither."""
    met = False
    for i in range(len(lows)):
        met |= (lows[i] <= level) | (highs[i] >= target)
    return met


@compiled_into_caller
def block_meets(lows, highs, level, target):
    """The same for the bars of a whole block, whose number is known beforehand."""
    met = False
    for i in range(BLOCK):
        met |= (lows[i] <= level) | (highs[i] >= target)
    return met


@compiled_into_caller
def rises_above(highs, high):
    """Whether any high is above `high`."""
    above = False
    for i in range(len(highs)):
        above |= highs[i] > high
    return above


@compiled_into_caller
def highest_of(highs):
    """The highest high, 0 where no bar exists."""
    highest = 0.0
    for i in range(len(highs)):
        if highs[i] > highest:  # noqa: PLR1730 - a missing bar is not higher
            highest = highs[i]
    return highest


@compiled
def raise_high_water(slot, coin, ins, high):
    """R7 for bars in which nothing was filled: what `follow_position` does for a high above all before."""
    slot.high_water = high
    follow_high_water(slot, coin, ins)


@compiled_into_caller
def trail_below(slot, ins, high):
    """The trailing level after a bar with this high, 0 where it would not be armed then."""
    trail = high * (1.0 - slot.trailing)
    if slot.trailing > 0.0 and (slot.armed or arms(slot, ins, trail)):
        return floor_tick(trail, ins.tick)
    return 0.0


@compiled_into_caller
def is_quiet(slot, coin, ins, lows, highs, level):
    """Whether nothing can happen in some bars; if so their highs are taken over.

    A limit can be met only where the bar reaches its price, and an open lies within its bar. The trailing
    level rises with the highs, so the one after the highest of them is the highest.
    """
    if meets(lows, highs, level, slot.target):
        return False
    if rises_above(highs, slot.high_water):
        high = highest_of(highs)
        trail = trail_below(slot, ins, high)
        if trail > 0.0 and meets(lows, highs, trail, np.inf):
            return False
        raise_high_water(slot, coin, ins, high)
    return True


@compiled_into_caller
def is_still(slot, extremes, lows, highs, s, t, level):
    """Whether no bar of the block around row `t` comes to a level, to the target or above all before."""
    block = t // BLOCK
    first, end = block * BLOCK, (block + 1) * BLOCK
    high = min(slot.target, slot.high_water)
    if end > len(lows):
        return False
    if len(extremes.low) > 0:
        return extremes.low[s, block] > level and extremes.high[s, block] < high
    return not block_meets(lows[first:end], highs[first:end], level, high)


@compiled_into_caller
def follow_bars(slot, coin, ins, lows, highs, closes, t, stop, rung, known, lost):
    """Follow a position bar by bar through [t, stop); returns the row to be visited, `stop` where none is.

    `known` is the row of the symbol's last bar, and `lost` after how many rows its data counts as lost.
    """
    level = max(active_stop(slot), rung)
    for row in range(t, stop):
        if np.isnan(closes[row]):
            if row - known >= lost:
                return row
            continue
        known = row
        if lows[row] <= level or highs[row] >= slot.target:
            return row
        if highs[row] > slot.high_water:
            raise_high_water(slot, coin, ins, highs[row])
            level = max(active_stop(slot), rung)
    return stop


@compiled_into_caller
def last_present(closes, t, known):
    """The last row up to `t` in which a symbol has a bar, `known` where none is later than that."""
    while t >= 0 and t > known and np.isnan(closes[t]):
        t -= 1
    return max(t, known)


@compiled_into_caller
def follow(memory, facts, work, extremes, bars, market, s, t):
    """Follow a slot from row `t` on as far as nothing happens to it within the chunk.

    Returns the next row at which it has to be visited, NEVER where that is not in this chunk. The symbol's
    last close before `t` must be known.
    """
    place, slot, coin, parts = work.place[0], memory.slots[s], memory.coins[s], memory.parts[s]
    ins, parameters = facts.instruments[s], facts.parameters[0]
    if slot.phase == EMPTY or t >= place.end:
        return NEVER
    if is_busy(slot, parts):
        return t
    lows, highs, closes = bars.low[s], bars.high[s], bars.close[s]
    rung = highest_rung(slot, parts)
    end = min(place.end, max(t, row_from(bars, parameters, slot.first_fill_ms + slot.max_hold_ms)))
    change = 0
    while change < place.changes and work.changes[change] < t:
        change += 1
    if rung > 0.0 and parameters.cancel_rungs_in_panic:
        if market.regime[t] == _PANIC:
            return t
        for later in range(change, place.changes):
            if market.regime[work.changes[later]] == _PANIC:
                end = min(end, work.changes[later])
                break
    known = row_of_close(bars, parameters, coin.last_close_ms)
    lost = (parameters.data_lost_ms + parameters.bar_ms - 1) // parameters.bar_ms
    while t < end:
        stop = min(end, (t // BLOCK + 1) * BLOCK)
        changes = change < place.changes and work.changes[change] < stop
        if changes:
            stop = work.changes[change] + 1
        if known + lost < stop:
            known = last_present(closes, t - 1, known)
        level = max(active_stop(slot), rung)
        quiet = known + lost >= stop
        if quiet and not is_still(slot, extremes, lows, highs, s, t, level):
            quiet = is_quiet(slot, coin, ins, lows[t:stop], highs[t:stop], level)
        if not quiet:
            row = follow_bars(slot, coin, ins, lows, highs, closes, t, stop, rung, known, lost)
            if row < stop:
                return row
        if changes:
            set_stop_fraction(slot, market.stop_factor[stop - 1], ins.stop_cap, parameters)
            set_levels(slot, ins.tick)
            change += 1
        t = stop
    return end if end < place.end else NEVER


@compiled_into_caller
def see_rows(memory, facts, work, curve, bars, start, stop):
    """The rows [start, stop) of the chunk, in which nothing but prices changes: equity, day and drawdown."""
    place = work.place[0]
    while start < stop:
        end = start + 1
        if bars.day[stop - 1] == bars.day[start]:
            end = stop
        else:
            while end < stop and bars.day[end] == bars.day[start]:
                end += 1
        begin_day(memory.book[0], bars.day[start])
        marks = work.marks[:, start - place.first : end - place.first]
        rows = Curve(curve.equity[start:end], curve.cash[start:end], curve.reserved[start:end])
        see_rows_of_day(memory.book[0], facts.parameters[0], marks, rows)
        start = end


@compiled_into_caller
def see_rows_of_day(book, parameters, marks, rows):
    """The same within one day.

    Both latches ask for a low equity, and the lowest against the highest peak is the worst that can be: only
    if that one would close a latch is each row judged.
    """
    cash, reserved, count = book.cash, book.reserved, len(rows.equity)
    rows.equity[:] = cash + reserved
    for k in range(len(marks)):
        of_strategy = marks[k]
        for i in range(count):
            rows.equity[i] += of_strategy[i]
    lowest, highest = rows.equity[0], book.peak
    for i in range(count):
        equity = rows.equity[i]
        rows.cash[i] = cash
        rows.reserved[i] = reserved
        lowest = min(lowest, equity)
        highest = max(highest, equity)
    safe = (
        (book.day_latched or lowest > book.day_base * (1.0 - 0.999 * parameters.day_loss))
        and (book.drawdown_latched or lowest > highest * (1.0 - 0.999 * parameters.drawdown))
        and lowest > 0
    )
    if safe:
        book.peak = highest
        book.equity = rows.equity[count - 1]
        return
    for i in range(count):
        book.equity = rows.equity[i]
        judge_equity(book, parameters)


@compiled_into_caller
def begin_chunk(memory, facts, work, bars, market, commands, cursor, t, stop):
    """Begin a chunk: from row `t` to the next that must be stepped whole, which may be `t` itself.

    Commands are obeyed in whole steps, and so are turns of the market where they close positions. Returns the
    number of slots that have to be followed; their numbers stand in `work.slots`.
    """
    place, parameters = work.place[0], facts.parameters[0]
    place.first, place.changes = t, 0
    length = work.marks.shape[1]
    place.end = min(stop, t - t % length + length)
    if cursor[0] < len(commands):
        place.end = min(place.end, max(t, row_from(bars, parameters, commands[cursor[0]].time_ms)))
    closes = parameters.close_on_transition
    for row in range(t, place.end):
        preferred = market.preferred[row]
        if closes and preferred >= 0 and preferred != memory.book[0].favoured:
            place.end = row
            break
        panic = market.regime[row] == _PANIC and market.regime[row - 1] != _PANIC
        if panic or market.stop_factor[row] != market.stop_factor[row - 1]:
            work.changes[place.changes] = row
            place.changes += 1
    work.next_row[:] = NEVER
    place.next = NEVER
    work.coins[:] = 0.0
    work.marks[:, : place.end - t] = 0
    work.owner[:] = -1
    work.taken[:] = 0
    work.reserves[:] = 0
    count = 0
    if t < place.end:
        for s in range(len(memory.slots)):
            if memory.slots[s].phase != EMPTY:
                see_close(memory.coins[s], bars, facts.parameters[0], bars.close[s], t - 1, place.known)
                mark(memory, facts, work, bars, s, t)
                recount(memory, work, s)
                work.slots[count] = s
                count += 1
    return count


@compiled_into_caller
def fetch_row(bars, market, t):
    """What a visit of row `t` reads whatever is visited."""
    fetch(bars.open_time_ms, t)
    fetch(bars.day, t)
    fetch(market.volatility, t)


@compiled_into_caller
def fetch_setup(facts, bars, market, setups, i):
    """What the decision of a setup reads of its row."""
    if i < len(setups):
        t = row_of_close(bars, facts.parameters[0], setups[i].time_ms)
        fetch_row(bars, market, t)
        fetch(market.preferred, t)
        fetch(market.size_factor, t * market.size_factor.shape[1])
        fetch(market.switched_on, t * market.switched_on.shape[1])
        fetch(bars.close, setups[i].symbol * len(bars.open_time_ms) + t)


@compiled_into_caller
def least(rows):
    """The least of some rows."""
    row = NEVER
    for i in range(len(rows)):
        row = min(row, rows[i])
    return row


@compiled_into_caller
def next_visit(memory, facts, work, bars, market, setups, cursor, t):
    """The first row from `t` on at which a slot must be visited, a setup is decided or an hour is over.

    Resets before it are obeyed: an episode matters only to what happens in it.
    """
    row = min(work.place[0].end, work.place[0].next)
    if len(memory.hours_ms) > 0:
        hour_ms = bars.open_time_ms[t] + facts.parameters[0].bar_ms
        row = min(row, row_of_close(bars, facts.parameters[0], hour_ms + -hour_ms % _HOUR_MS))
    while cursor[1] < len(setups):
        setup = setups[cursor[1]]
        decided = row_of_close(bars, facts.parameters[0], setup.time_ms)
        if decided < t or decided >= row:
            break
        if setup.kind != EVENT_RESET:
            return decided
        memory.episodes[setup.strategy, setup.symbol] = False
        cursor[1] += 1
        fetch_setup(facts, bars, market, setups, cursor[1] + AHEAD)
    return row


@compiled_into_caller
def visit(memory, facts, records, scratch, work, curve, bars, market, setups, cursor, t):
    """One bar of the slots to which something can happen in it; all others would stay as they are.

    Returns the number of slots that have to be followed; their numbers stand in `work.slots`.
    """
    book, parameters, place = memory.book[0], facts.parameters[0], work.place[0]
    close_ms = bars.open_time_ms[t] + parameters.bar_ms
    records.written[0].close_ms = close_ms
    begin_day(book, bars.day[t])
    see_market(book, market, t - 1)
    count = 0
    for s in range(len(work.next_row) if place.next == t else 0):
        if work.next_row[s] == t:
            work.slots[count] = s
            count += 1
            if not np.isnan(bars.close[s, t]):
                work.visited[s] = t
            match(memory, facts, records, bar_of(bars, t, s), s)
    slots = work.slots[:count]
    for s in slots:
        coin = memory.coins[s]
        see_close(coin, bars, parameters, bars.close[s], t, place.known)
        if memory.slots[s].phase == HELD and close_ms - coin.last_close_ms >= parameters.data_lost_ms:
            see_newest(memory, facts, bars, t, place.known)
            if has_lost_data(memory, facts, s):
                see_bar(memory, facts, work, bars, s)
                close_out(memory, facts, records, bar_of(bars, t, s), s, _DATA_LOST)
        mark(memory, facts, work, bars, s, t)
    see_market(book, market, t)
    book.equity = book.cash + book.reserved + worth(work.marks, t - place.first)
    judge_equity(book, parameters)
    for k in range(len(memory.strategies)):
        end_block(memory.strategies[k], close_ms)
    for s in slots:
        settle_coin(memory, facts, s, close_ms)
    for s in slots:
        settle_slot(memory, facts, records, s, market.regime[t], market.stop_factor[t], bars.high[s, t])
        recount(memory, work, s)
    if len(memory.hours_ms) > 0 and close_ms % _HOUR_MS == 0:
        for s in range(len(memory.coins)):
            see_close(memory.coins[s], bars, parameters, bars.close[s], t, place.known)
        remember_hour(memory, close_ms)
    first = cursor[1]
    while cursor[1] < len(setups) and setups[cursor[1]].time_ms == close_ms:
        s = int64(setups[cursor[1]].symbol)
        see_close(memory.coins[s], bars, parameters, bars.close[s], t, place.known)
        cursor[1] += 1
        fetch_setup(facts, bars, market, setups, cursor[1] + AHEAD)
    if cursor[1] > first:
        chosen = choose(memory, facts, records, scratch, bars, market, t, setups, first, cursor[1])
        if chosen > 0:
            total = 0
            for k in range(len(work.taken)):
                total += work.taken[k]
                scratch.taken[k] = work.taken[k]
                scratch.exposure[k] = work.reserves[k] + work.marks[k, t - place.first]
            admit(memory, facts, records, scratch, bars, market, t, setups, scratch.batch[:chosen], total)
        for i in scratch.batch[:chosen]:
            s = int64(setups[i].symbol)
            if memory.slots[s].phase == PENDING:
                place.next = work.next_row[s] = t + 1
                recount(memory, work, s)
    curve.equity[t] = book.equity
    curve.cash[t] = book.cash
    curve.reserved[t] = book.reserved
    return count


@compiled_without_gil
def run_events(
    memory,
    facts,
    records,
    scratch,
    work,
    extremes,
    curve,
    bars,
    market,
    commands,
    setups,
    cursor,
    stop,
    room,
):
    """The event driver: the records and the state of `run`, from visits to few rows and slots.

    `work.place` says from where. It returns where it stands, and is called again until that is `stop`: it
    stops early when fewer than `room` rows of records are free, and after an error like `run`. What is called
    from here is put in here, since it takes most of the arrays: handing them on would cost more than most
    visits.
    """
    book, place = memory.book[0], work.place[0]
    while place.row < stop:
        t = place.row
        if is_full(records, room):
            return t
        count = 0
        if t < place.end:
            row = next_visit(memory, facts, work, bars, market, setups, cursor, t)
            see_rows(memory, facts, work, curve, bars, t, row)
            place.row = row
            if row < place.end:
                count = visit(memory, facts, records, scratch, work, curve, bars, market, setups, cursor, row)
                place.row = row + 1
        elif t > place.start:
            count = begin_chunk(memory, facts, work, bars, market, commands, cursor, t, stop)
        if place.row >= place.end and t == place.row:
            if t > place.start:
                catch_up(memory, facts, work, bars, market, t - 1)
            run(
                memory, facts, records, scratch, curve, bars, market, commands, setups, cursor, t, t + 1, room
            )
            work.visited[:] = t
            place.row = place.end = place.known = t + 1
        if book.error != 0:
            return place.row
        for i in range(count):
            s = work.slots[i]
            row = follow(memory, facts, work, extremes, bars, market, s, place.row)
            work.next_row[s] = row
            if row != NEVER:
                fetch_row(bars, market, row)
                fetch(bars.open, s * len(bars.open_time_ms) + row)
                fetch(bars.volume, s * len(bars.open_time_ms) + row)
        if count > 0:
            place.next = least(work.next_row)
    catch_up(memory, facts, work, bars, market, stop - 1)
    return stop


@compiled_without_gil
def find_extremes(bars, extremes):
    """The lowest low and the highest high of each whole block of rows, inf and 0 where it has no bar."""
    for s in range(len(bars.low)):
        for block in range(extremes.low.shape[1]):
            low, high = np.inf, 0.0
            for row in range(block * BLOCK, (block + 1) * BLOCK):
                if bars.low[s, row] < low:  # noqa: PLR1730 - a missing bar is not lower
                    low = bars.low[s, row]
                if bars.high[s, row] > high:  # noqa: PLR1730
                    high = bars.high[s, row]
            extremes.low[s, block] = low
            extremes.high[s, block] = high


@compiled_without_gil
def are_bars(bars):
    """Whether every open and close lies within its bar, and bars are missing whole."""
    wrong = False
    for s in range(len(bars.low)):
        opens, highs, lows, closes = bars.open[s], bars.high[s], bars.low[s], bars.close[s]
        for t in range(len(lows)):
            missing = np.isnan(opens[t]) & np.isnan(highs[t]) & np.isnan(lows[t]) & np.isnan(closes[t])
            whole = (lows[t] <= opens[t]) & (opens[t] <= highs[t]) & (closes[t] == closes[t])
            wrong |= not (missing | whole)
    return not wrong


@compiled
def end_all(memory, facts, records, bars):
    """Section 8: close what is held at its last close, and cancel what is pending."""
    last = len(bars.open_time_ms) - 1
    records.written[0].close_ms = bars.open_time_ms[last] + facts.parameters[0].bar_ms
    for s in range(len(memory.slots)):
        if memory.slots[s].phase == PENDING:
            end_entry(memory, records, s, _CANCELLED)
        elif memory.slots[s].phase == HELD:
            close_out(memory, facts, records, bar_of(bars, last, s), s, _END_OF_DATA)


@compiled
def open_trades(memory, facts, rows):
    """Write the trade of every held position, marked at its last close; returns how many."""
    n = 0
    for s in range(len(memory.slots)):
        if memory.slots[s].phase == HELD:
            write_trade(
                memory.slots[s], facts.instruments[s], rows[n], _NOT_YET, s, memory.coins[s].last_close
            )
            n += 1
    return n


@compiled
def open_orders(memory, rows):
    """Write every part of an entry that waits, by symbol and rung; returns how many."""
    n = 0
    for s in range(len(memory.slots)):
        slot = memory.slots[s]
        for k in range(slot.levels if slot.phase != EMPTY else 0):
            part = memory.parts[s, k]
            if part.open:
                write_order(slot, part, rows[n], s, k, _PART_FILLED if part.quote < slot.quote else _OPEN)
                n += 1
    return n


# --- setups alone (section 9) ---------------------------------------------------------------------


@compiled_without_gil
def run_alone(memory, facts, records, bars, market, setups, chosen, outcomes):
    """Every chosen setup by itself, from its decision to its end; the same step without limits or gates.

    `memory` has one slot; it and `records` are scratch.
    """
    for n in range(len(chosen)):
        setup = setups[chosen[n]]
        s = int64(setup.symbol)
        depth = Depth(facts.depth.first[s : s + 2], facts.depth.snapshots, facts.depth.levels)
        own = Facts(facts.instruments[s : s + 1], facts.strategies, facts.parameters, depth)
        quote = fixed_quote(setup, 1.0)
        place_order(memory, _ALONE, setup, chosen[n], quote, order_reserve(quote, own.instruments[0]))
        trade_alone(memory, own, records, bars, market, s, setup.time_ms, outcomes[n])
        outcomes[n].setup = chosen[n]
        memory.slots[0].phase = EMPTY


@compiled
def trade_alone(memory, facts, records, bars, market, s, decision_ms, outcome):
    """Run the one order of slot 0 on the bars of column `s` until it is closed or the data ends."""
    book, slot, coin, parameters = memory.book[0], memory.slots[0], memory.coins[0], facts.parameters[0]
    decision, written = records.decisions[slot.setup], records.written[0]
    decision.end = _ACCEPTED
    first = np.searchsorted(bars.open_time_ms, decision_ms)
    book.volatility = 0.0
    book.stop_factor = 1.0
    if first > 0:
        see_market(book, market, first - 1)
    adverse, favourable = np.inf, -np.inf
    first_bar, last_bar = -1, -1
    newest_ms = np.int64(0)
    for t in range(first, len(bars.open_time_ms)):
        written.fills = written.trades = written.orders = 0
        bar = bar_of(bars, t, s)
        written.close_ms = bar.time_ms + parameters.bar_ms
        last_bar = t
        match(memory, facts, records, bar, _ALONE)
        if slot.entry_fills > 0 and not np.isnan(bar.close):
            if first_bar < 0:
                first_bar = t
            adverse = min(adverse, bar.low / slot.average - 1.0)
            favourable = max(favourable, bar.high / slot.average - 1.0)
        if slot.phase == EMPTY:
            break
        if not np.isnan(bar.close):
            coin.last_close = bar.close
            coin.last_close_ms = bar.time_ms + parameters.bar_ms
        if has_bar(bars.close, t):
            newest_ms = bar.time_ms + parameters.bar_ms
        see_market(book, market, t)
        if slot.phase == HELD:
            if newest_ms - coin.last_close_ms >= parameters.data_lost_ms:
                close_out(memory, facts, records, bar, _ALONE, _DATA_LOST)
                break
            follow_position(slot, coin, facts.instruments[0], parameters, book.stop_factor, bar.high)
    write_outcome(slot, decision.end, outcome, bars.open_time_ms, first_bar, last_bar, adverse, favourable)


@compiled
def see_market(book, market, t):
    """What the next entry fill has to know of the market of row t."""
    book.volatility = 0.0 if np.isnan(market.volatility[t]) else market.volatility[t]
    book.stop_factor = market.stop_factor[t]


@compiled
def has_bar(closes, t):
    """Whether any symbol has a bar in row t."""
    for s in range(len(closes)):
        if not np.isnan(closes[s, t]):
            return True
    return False


@compiled
def write_outcome(slot, end, row, open_time_ms, first_bar, last_bar, adverse, favourable):
    """Section 9: the outcome of a setup traded alone."""
    row.exit_reason = slot.exit_reason
    row.invested_e8 = 0
    row.return_net = row.return_gross = np.nan
    row.adverse = row.favourable = np.nan
    row.bars_held = 0
    row.entry_ms = row.exit_ms = -1
    row.ambiguous = slot.ambiguous
    row.outcome = _UNFINISHED
    if slot.entry_fills == 0:
        if end != _ACCEPTED:  # else the data ended before the order did
            row.outcome = _NEVER_FILLED
        return
    row.entry_ms = slot.first_fill_ms
    row.invested_e8 = slot.invested
    row.adverse = adverse
    row.favourable = favourable
    row.bars_held = last_bar - first_bar + 1
    if slot.held > 0.0:
        return
    row.exit_ms = open_time_ms[last_bar]
    net = slot.returned - slot.invested - slot.fees
    gross = net + slot.fees + slot.slippage
    row.return_net = net / slot.invested
    row.return_gross = gross / slot.invested
    if slot.exit_reason == _TIME:
        row.outcome = _TIMEOUT
    elif net > 0:
        row.outcome = _WIN
    elif gross < 0:
        row.outcome = _LOSS
    else:
        row.outcome = _BREAKEVEN
