"""The compiled step: the only code that opens, fills and closes anything.

The rules are those of docs/simulator.md and carry its numbers R1 to R15. Three parts: `decide` (setups to
orders), `match` (orders and positions against a bar), `apply_fill` (fills to state); `step` calls them for one bar
and `run` calls `step` for many. An adapter for real orders takes the place of `match` alone.

All compiled functions stand in this one file on purpose: Numba's cache looks only at the file of the function
that is called from outside, so a callee in another file could change without the cache noticing.
"""

import math

import numpy as np
from numba import njit

from crypto_tracker.core.decisions import Reason, Regime
from crypto_tracker.core.orders import ExitReason, FillKind
from crypto_tracker.simulation.records import CommandKind, Outcome
from crypto_tracker.simulation.state import ADAPTIVE, EMPTY, HELD, OPTIMISTIC, PENDING
from crypto_tracker.strategies.base import EVENT_RESET

QUOTE = 1e8
MAX_EXACT_LOTS = 2.0**53

# Enum members as plain integers, which is what compiled code can hold.
_ENTRY, _RUNG, _EXIT = int(FillKind.ENTRY), int(FillKind.RUNG), int(FillKind.EXIT)
_NONE = int(ExitReason.NONE)
_TAKE_PROFIT, _STOP_LOSS = int(ExitReason.TAKE_PROFIT), int(ExitReason.STOP_LOSS)
_TRAILING, _TIME = int(ExitReason.TRAILING_STOP), int(ExitReason.TIME_EXIT)
_DATA_LOST, _END_OF_DATA = int(ExitReason.DATA_LOST), int(ExitReason.END_OF_DATA)
_PANIC = int(Regime.PANIC)
_ACCEPTED, _EXPIRED, _CANCELLED = int(Reason.ACCEPTED), int(Reason.EXPIRED), int(Reason.CANCELLED)
_GAP, _REGIME_PANIC, _PAUSED = int(Reason.SLIPPAGE_TOO_HIGH), int(Reason.REGIME_PANIC), int(Reason.PAUSED)
_SIDE, _BLOCKED, _OFF = int(Reason.UNSUPPORTED_SIDE), int(Reason.BLOCKED), int(Reason.STRATEGY_OFF)
_VOLATILE, _DAY_LOSS, _STREAK = int(Reason.VOLATILITY_HIGH), int(Reason.DAY_LOSS), int(Reason.LOSING_STREAK)
_COOLDOWN, _STALE, _SYMBOL = int(Reason.COOLDOWN), int(Reason.DATA_STALE), int(Reason.SYMBOL_LIMIT)
_EPISODE, _CONFIDENCE, _TIGHT = int(Reason.SAME_EPISODE), int(Reason.CONFIDENCE_LOW), int(Reason.TRAILING_TOO_TIGHT)
_OUTRANKED, _SMALL = int(Reason.OUTRANKED), int(Reason.SIZE_TOO_SMALL)
_STRATEGY_LIMIT, _PORTFOLIO_LIMIT = int(Reason.STRATEGY_LIMIT), int(Reason.PORTFOLIO_LIMIT)
_EXPOSURE, _CONCENTRATION = int(Reason.STRATEGY_EXPOSURE), int(Reason.CONCENTRATION)
_SHARE, _NO_CASH = int(Reason.SHARE_USED), int(Reason.NO_CASH)
_C_PAUSE, _C_RESUME, _C_CLOSE = int(CommandKind.PAUSE), int(CommandKind.RESUME), int(CommandKind.CLOSE)
_C_COOLDOWN, _C_STREAK = int(CommandKind.CLEAR_COOLDOWN), int(CommandKind.CLEAR_STREAK)
_C_OFF, _C_ON = int(CommandKind.STRATEGY_OFF), int(CommandKind.STRATEGY_ON)
_C_BLOCK, _C_UNBLOCK = int(CommandKind.BLOCK), int(CommandKind.UNBLOCK)
_UNFINISHED, _NEVER_FILLED, _WIN = int(Outcome.UNFINISHED), int(Outcome.EXPIRED), int(Outcome.WIN)
_LOSS, _BREAKEVEN, _TIMEOUT = int(Outcome.LOSS), int(Outcome.BREAKEVEN), int(Outcome.TIMEOUT)


# --- Numbers (section 1) ---------------------------------------------------------------------------


@njit(cache=True)
def on_grid(count, grid):
    """`count` steps of `grid` as the nearest short decimal; `count` itself where the grid is 0."""
    if grid <= 0.0:
        return count
    if grid < 1.0:
        inverse = np.rint(1.0 / grid)
        if abs(inverse * grid - 1.0) < 1e-9:
            return count / inverse
    return count * grid


@njit(cache=True)
def floor_tick(price, tick):
    """The price rounded down to the tick."""
    if tick <= 0.0:
        return price
    return on_grid(math.floor(price / tick + 1e-6), tick)


@njit(cache=True)
def ceil_tick(price, tick):
    """The price rounded up to the tick."""
    if tick <= 0.0:
        return price
    return on_grid(math.ceil(price / tick - 1e-6), tick)


@njit(cache=True)
def falls_through(low, limit, tick):
    """R4: a buy limit is met when the price passes it by a tick, or strictly where the tick is unknown."""
    if tick <= 0.0:
        return low < limit
    return low / tick <= limit / tick - 1.0 + 1e-6


@njit(cache=True)
def rises_through(high, limit, tick):
    """R4 for a sell limit."""
    if tick <= 0.0:
        return high > limit
    return high / tick >= limit / tick + 1.0 - 1e-6


@njit(cache=True)
def whole_lots(coins, lot):
    """R11: coins as lots, floored; coins themselves where quantities are continuous."""
    if lot <= 0.0:
        return coins
    return math.floor(coins / lot + 1e-6)


@njit(cache=True)
def amount_e8(coins, price):
    """R11: an amount in 1e-8 quote, rounded once."""
    return np.int64(np.rint(coins * price * QUOTE))


# --- apply_fill: fills to state ----------------------------------------------------------------------


@njit(cache=True)
def record_fill(fills, counts, bar, time_ms, column, slot, kind, rung, price, coins, notional, fee, slip):
    """Append one row to the fills."""
    row = fills[counts[0]]
    row.bar = bar
    row.time_ms = time_ms
    row.symbol = column
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
    row.slippage_e8 = slip
    counts[0] += 1


@njit(cache=True)
def end_part(book, part):
    """A part of an entry is over: what is left of its reserve is free again."""
    if part.open:
        part.open = False
        book.reserved -= part.reserve
        book.cash += part.reserve
        part.reserve = 0
        part.quote = 0


@njit(cache=True)
def end_parts(book, parts, column, levels):
    """All parts of an entry are over."""
    for k in range(levels):
        end_part(book, parts[column, k])


@njit(cache=True)
def set_levels(slot, tick):
    """Stop and target from the average entry: stops down, targets up (R4)."""
    slot.stop = floor_tick(slot.average * (1.0 - slot.stop_fraction), tick)
    slot.target = ceil_tick(slot.average * (1.0 + slot.take_profit), tick)


@njit(cache=True)
def set_stop_fraction(slot, stop_factor, cap, prm):
    """Stop widening by volatility at first entry and the regime now, up to the tier's cap."""
    widened = slot.stop_loss * (1.0 + prm.widen_slope * slot.entry_volatility / prm.widen_unit) * stop_factor
    slot.stop_fraction = min(cap, widened)


@njit(cache=True)
def active_stop(slot):
    """The stop, or the trailing level where it is armed and higher."""
    if slot.armed and slot.trail > slot.stop:
        return slot.trail
    return slot.stop


@njit(cache=True)
def stop_label(slot):
    """R7: `trailing_stop` only if the armed level is the active stop."""
    if slot.armed and slot.trail >= slot.stop:
        return _TRAILING
    return _STOP_LOSS


@njit(cache=True)
def apply_entry(book, slot, part, coin_count, price, raw_price, fee_rate, ins, prm, kind, rung, fills, counts, bar, time_ms, column):
    """An entry fill of `coin_count` lots: money out of the part's reserve, average and levels anew, trailing disarmed."""
    coins = on_grid(coin_count, ins.lot)
    notional = amount_e8(coins, price)
    fee = np.int64(np.rint(coins * price * fee_rate * QUOTE))
    slip = amount_e8(coins, abs(price - raw_price))
    if slot.phase == PENDING:
        slot.phase = HELD
        slot.trade = book.next_trade
        book.next_trade += 1
        slot.first_fill_ms = time_ms
        slot.entry_volatility = book.volatility
        set_stop_fraction(slot, book.stop_factor, ins.stop_cap, prm)
    from_reserve = min(part.reserve, notional + fee)
    part.reserve -= from_reserve
    book.reserved -= from_reserve
    book.cash -= notional + fee - from_reserve
    part.quote -= notional
    slot.held += coin_count
    slot.bought += coin_count
    slot.cost += coins * price
    slot.invested += notional
    slot.fees += fee
    slot.slippage += slip
    slot.entry_fills += 1
    slot.entry_budget -= coin_count
    slot.average = slot.cost / on_grid(slot.bought, ins.lot)
    slot.armed = False
    slot.trail = 0.0
    slot.high_water = 0.0
    set_levels(slot, ins.tick)
    if ins.lot > 0.0 and slot.bought > MAX_EXACT_LOTS:
        book.error = column + 1
    record_fill(fills, counts, bar, time_ms, column, slot, kind, rung, price, coins, notional, fee, slip)


@njit(cache=True)
def apply_exit(
    book, slot, parts, coin, coin_count, price, raw_price, fee_rate, ins, reason, fills, trades, counts, bar, time_ms, column
):
    """An exit fill of `coin_count` lots; the first one cancels what is left of the entry, the last one closes the trade."""
    if slot.exit_fills == 0:
        slot.exit_reason = reason
        if reason == _DATA_LOST:
            slot.ambiguous = False
        end_parts(book, parts, column, slot.levels)
    coins = on_grid(coin_count, ins.lot)
    notional = amount_e8(coins, price)
    fee = np.int64(np.rint(coins * price * fee_rate * QUOTE))
    slip = amount_e8(coins, abs(raw_price - price))
    book.cash += notional - fee
    slot.held -= coin_count
    slot.sold += coin_count
    slot.proceeds += coins * price
    slot.returned += notional
    slot.fees += fee
    slot.slippage += slip
    slot.exit_fills += 1
    slot.exit_budget -= coin_count
    record_fill(fills, counts, bar, time_ms, column, slot, _EXIT, 0, price, coins, notional, fee, slip)
    if slot.held <= 0.0:
        write_trade(slot, ins, trades[counts[1]], time_ms, column, np.nan)
        coin.closed = slot.exit_reason
        coin.closed_strategy = slot.strategy
        coin.closed_pnl = trades[counts[1]].pnl_e8
        counts[1] += 1
        slot.phase = EMPTY


@njit(cache=True)
def write_trade(slot, ins, row, exit_ms, column, mark):
    """The trade of a slot: closed where nothing is held, else open and marked at `mark`."""
    row.trade = slot.trade
    row.symbol = column
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


# --- match: orders and positions against a bar --------------------------------------------------------


@njit(cache=True)
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


@njit(cache=True)
def lots_to_sell(slot, price, ins):
    """R8: what can be sold within the exit budget; all when the rest would be below the minimum."""
    if slot.exit_budget <= 0.0:
        return 0.0
    take = min(slot.held, slot.exit_budget)
    if take < slot.held and on_grid(slot.held - take, ins.lot) * price < ins.min_notional:
        take = slot.held
    return take


@njit(cache=True)
def judge(slot, level_a, level_b, high, low):
    """R13: note once whether another exit's level lay inside the bar in which the first exit triggered."""
    if not slot.judged:
        slot.judged = True
        slot.ambiguous = (low <= level_a <= high) or (low <= level_b <= high)


@njit(cache=True)
def sell_at_market(book, slot, parts, coin, raw_price, ins, fills, trades, counts, bar, time_ms, column):
    """R5: fill a triggered exit at `raw_price`, worsened, as far as the bar's volume allows."""
    price = floor_tick(raw_price * (1.0 - ins.slippage), ins.tick)
    take = lots_to_sell(slot, price, ins)
    if take > 0.0:
        apply_exit(
            book, slot, parts, coin, take, price, raw_price, ins.taker, ins, slot.trigger, fills, trades, counts, bar, time_ms, column
        )


@njit(cache=True)
def sell_at_target(book, slot, parts, coin, high, low, ins, fills, trades, counts, bar, time_ms, column):
    """R4: the target fills at its own price."""
    take = lots_to_sell(slot, slot.target, ins)
    if take > 0.0:
        stop = active_stop(slot)
        judge(slot, stop, stop, high, low)
        apply_exit(
            book,
            slot,
            parts,
            coin,
            take,
            slot.target,
            slot.target,
            ins.maker,
            ins,
            _TAKE_PROFIT,
            fills,
            trades,
            counts,
            bar,
            time_ms,
            column,
        )


@njit(cache=True)
def at_the_open(
    book, slot, parts, coin, episodes, ends, ins, prm, fills, trades, counts, bar, time_ms, row, open_, high, low
):
    """R1 OPEN: exits first, then the market part of a pending entry, with the rungs that it places."""
    if slot.phase == HELD:
        if slot.trigger != _NONE:
            sell_at_market(book, slot, parts, coin, open_, ins, fills, trades, counts, bar, time_ms, row)
        elif open_ <= active_stop(slot):
            slot.trigger = stop_label(slot)
            judge(slot, slot.target_before, slot.target_before, high, low)
            sell_at_market(book, slot, parts, coin, open_, ins, fills, trades, counts, bar, time_ms, row)
        elif rises_through(open_, slot.target, ins.tick):
            sell_at_target(book, slot, parts, coin, high, low, ins, fills, trades, counts, bar, time_ms, row)
        elif slot.request != _NONE or time_ms >= slot.first_fill_ms + slot.max_hold_ms:
            slot.trigger = slot.request if slot.request != _NONE else _TIME
            judge(slot, slot.target_before, active_stop(slot), high, low)
            sell_at_market(book, slot, parts, coin, open_, ins, fills, trades, counts, bar, time_ms, row)
        if slot.phase == EMPTY:
            return
    market = parts[row, 0]
    if slot.trigger != _NONE or not market.open:
        return
    if market.bars < 0:
        market.bars = prm.entry_bars
        if open_ > slot.decision_close * (1.0 + slot.max_entry_gap):
            end_entry(book, slot, parts, ends, row, _GAP)
            return
    price = ceil_tick(open_ * (1.0 + ins.slippage), ins.tick)
    take, wanted = lots_to_buy(slot, market.quote, price, ins)
    if take <= 0.0:
        return
    first = slot.phase == PENDING
    apply_entry(
        book, slot, market, take, price, open_, ins.taker, ins, prm, _ENTRY, 0, fills, counts, bar, time_ms, row
    )
    if take == wanted:
        end_part(book, market)
    if not first:
        return
    episodes[slot.strategy, row] = True
    for k in range(1, slot.levels):
        rung = parts[row, k]
        rung.price = floor_tick(price * (1.0 - slot.spacing * k), ins.tick)
        if falls_through(open_, rung.price, ins.tick):
            rung.bars = prm.entry_bars
            take, wanted = lots_to_buy(slot, rung.quote, open_, ins)
            if take > 0.0:
                apply_entry(
                    book, slot, rung, take, open_, open_, ins.taker, ins, prm, _RUNG, k, fills, counts, bar, time_ms, row
                )
                if take == wanted:
                    end_part(book, rung)


@njit(cache=True)
def fall(book, slot, parts, coin, ins, prm, fills, trades, counts, bar, time_ms, row, open_, high, low):
    """R1 FALL: rungs and the stop in falling price order, average and levels anew after each fill."""
    for k in range(1, slot.levels):
        parts[row, k].passed = False
    while slot.phase == HELD and slot.trigger == _NONE:
        best = 0
        level = active_stop(slot)
        for k in range(1, slot.levels):
            rung = parts[row, k]
            if rung.open and not rung.passed and rung.price > level:
                level = rung.price
                best = k
        if best == 0:
            if low > level:
                return
            slot.trigger = stop_label(slot)
            judge(slot, slot.target_before, slot.target_open, high, low)
            sell_at_market(book, slot, parts, coin, min(level, open_), ins, fills, trades, counts, bar, time_ms, row)
            return
        rung = parts[row, best]
        if not falls_through(low, rung.price, ins.tick):
            return
        if rung.bars < 0:
            rung.bars = prm.entry_bars
        take, wanted = lots_to_buy(slot, rung.quote, rung.price, ins)
        if take <= 0.0:
            rung.passed = True
            continue
        slot.entered_within = True
        apply_entry(
            book, slot, rung, take, rung.price, rung.price, ins.maker, ins, prm, _RUNG, best, fills, counts, bar, time_ms, row
        )
        if take == wanted:
            end_part(book, rung)
        else:
            rung.passed = True


@njit(cache=True)
def rise(book, slot, parts, coin, ins, fills, trades, counts, bar, time_ms, row, high, low):
    """R1 RISE: the target, unless an entry filled within this bar (R6)."""
    if slot.phase != HELD or slot.trigger != _NONE or slot.entered_within:
        return
    if rises_through(high, slot.target, ins.tick):
        sell_at_target(book, slot, parts, coin, high, low, ins, fills, trades, counts, bar, time_ms, row)


@njit(cache=True)
def end_entry(book, slot, parts, ends, row, reason):
    """The market part is over. Where nothing was filled the whole order is, and the decision says why."""
    if slot.phase == PENDING:
        end_parts(book, parts, row, slot.levels)
        ends[slot.setup].end = reason
        slot.phase = EMPTY
    else:
        end_part(book, parts[row, 0])


@njit(cache=True)
def age_parts(book, slot, parts, ends, row):
    """R8: after a bar of the symbol, parts that were met have one bar less; those with none left are over."""
    for k in range(slot.levels):
        part = parts[row, k]
        if part.open and part.bars > 0:
            part.bars -= 1
            if part.bars == 0:
                if k == 0:
                    end_entry(book, slot, parts, ends, row, _EXPIRED)
                    if slot.phase == EMPTY:
                        return
                else:
                    end_part(book, part)


@njit(cache=True)
def match(
    book, slot, parts, coin, episodes, ends, ins, prm, fills, trades, counts, bar, time_ms, row, open_, high, low, close, volume
):
    """One symbol against one bar: OPEN, FALL and RISE, in the order that R13 gives."""
    if slot.phase == PENDING and parts[row, 0].bars < 0 and time_ms - slot.decision_ms >= slot.wait_ms:
        end_entry(book, slot, parts, ends, row, _EXPIRED)
        return
    if np.isnan(close):
        return
    slot.entered_within = False
    slot.volume_unknown = np.isnan(volume)
    if slot.volume_unknown:
        slot.entry_budget = np.inf
        slot.exit_budget = np.inf
    else:
        slot.entry_budget = whole_lots(prm.entry_participation * volume, ins.lot)
        slot.exit_budget = whole_lots(prm.exit_participation * volume, ins.lot)
    slot.target_before = slot.target if slot.phase == HELD else np.nan
    at_the_open(
        book, slot, parts, coin, episodes, ends, ins, prm, fills, trades, counts, bar, time_ms, row, open_, high, low
    )
    if slot.phase == EMPTY:
        return
    slot.target_open = slot.target if slot.phase == HELD else np.nan
    rise_first = prm.mode == OPTIMISTIC or (prm.mode == ADAPTIVE and high - open_ < open_ - low)
    if rise_first:
        rise(book, slot, parts, coin, ins, fills, trades, counts, bar, time_ms, row, high, low)
    fall(book, slot, parts, coin, ins, prm, fills, trades, counts, bar, time_ms, row, open_, high, low)
    if not rise_first:
        rise(book, slot, parts, coin, ins, fills, trades, counts, bar, time_ms, row, high, low)
    if slot.phase != EMPTY:
        age_parts(book, slot, parts, ends, row)


# --- CLOSE (section 4) ---------------------------------------------------------------------------------


@njit(cache=True)
def close_out(book, slot, parts, coin, ins, reason, fills, trades, counts, bar, time_ms, row):
    """Sell everything at the last close, worsened, without a cap: data lost, or the end of the data on request."""
    slot.volume_unknown = False
    price = floor_tick(coin.last_close * (1.0 - ins.slippage), ins.tick)
    apply_exit(
        book, slot, parts, coin, slot.held, price, coin.last_close, ins.taker, ins, reason, fills, trades, counts, bar, time_ms, row
    )


@njit(cache=True)
def follow_position(slot, coin, ins, prm, stop_factor, high):
    """R7 and stop widening at CLOSE: high-water mark, arming, half target, stop and target for the next bar.

    `high` is NaN where the symbol has no bar.
    """
    if not np.isnan(high):
        slot.high_water = 0.0 if slot.entered_within else max(slot.high_water, high)
    if slot.high_water > 0.0:
        if slot.trailing > 0.0:
            floor_of_gain = slot.average * (1.0 + 2.0 * (ins.taker + ins.slippage))
            if not slot.armed and slot.high_water * (1.0 - slot.trailing) >= floor_of_gain:
                slot.armed = True
                coin.stops = 0
            if slot.armed:
                slot.trail = floor_tick(slot.high_water * (1.0 - slot.trailing), ins.tick)
        if slot.high_water >= slot.average * (1.0 + slot.take_profit / 2.0):
            coin.stops = 0
    set_stop_fraction(slot, stop_factor, ins.stop_cap, prm)
    set_levels(slot, ins.tick)


@njit(cache=True)
def count_closed_trade(coin, strategy, ins, prm, close_ms):
    """Losing streak of the strategy and stop count of the symbol after a trade that closed in this bar."""
    if coin.closed != _DATA_LOST:
        if coin.closed_pnl < 0:
            strategy.streak += 1
            if strategy.streak == prm.streak:
                strategy.blocked_ms = close_ms + prm.streak_ms
        elif coin.closed_pnl > 0:
            strategy.streak = 0
    if coin.closed == _STOP_LOSS:
        coin.stops += 1
        if coin.stops >= prm.cooldown_stops:
            coin.cooldown_ms = close_ms + ins.cooldown_ms
    elif (
        coin.closed == _TAKE_PROFIT
        or coin.closed == _TRAILING
        or (coin.closed == _TIME and coin.closed_pnl > 0)
    ):
        coin.stops = 0


# --- decide: setups to orders (section 5) ----------------------------------------------------------------


@njit(cache=True)
def gate(setup, decision, book, slots, coins, strategies, episodes, instruments, sprm, prm, regime, switched_on, close_ms):
    """The first gate that refuses a setup, with what it measured; ACCEPTED where none does."""
    coin = coins[setup.symbol]
    strategy = strategies[setup.strategy]
    decision.measured = np.nan
    decision.limit = np.nan
    if setup.side != 1:
        return _SIDE
    if book.paused:
        return _PAUSED
    if coin.blocked:
        return _BLOCKED
    if strategy.off or not sprm[setup.strategy].enabled:
        return _OFF
    if not switched_on[setup.strategy]:
        decision.measured = book.volatility
        return _VOLATILE
    if regime == _PANIC:
        return _REGIME_PANIC
    if book.day_latched:
        decision.measured = (book.day_base - book.equity) / book.day_base
        decision.limit = prm.day_loss
        return _DAY_LOSS
    if close_ms < strategy.blocked_ms:
        decision.measured = close_ms
        decision.limit = strategy.blocked_ms
        return _STREAK
    if close_ms < coin.cooldown_ms:
        decision.measured = close_ms
        decision.limit = coin.cooldown_ms
        return _COOLDOWN
    if close_ms - coin.last_close_ms >= prm.stale_ms:
        decision.measured = close_ms - coin.last_close_ms
        decision.limit = prm.stale_ms
        return _STALE
    if slots[setup.symbol].phase != EMPTY:
        return _SYMBOL
    if episodes[setup.strategy, setup.symbol]:
        return _EPISODE
    if setup.confidence < prm.min_confidence:
        decision.measured = setup.confidence
        decision.limit = prm.min_confidence
        return _CONFIDENCE
    if setup.trailing > 0.0 and setup.trailing < setup.range_median:
        decision.measured = setup.trailing
        decision.limit = setup.range_median
        return _TIGHT
    return _ACCEPTED


@njit(cache=True)
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


@njit(cache=True)
def admit(setup, index, decision, book, slot, parts, ins, prm, share, factor, count, total, exposure):
    """Test one setup against what is free now; place its order where everything fits.

    Returns the reason and what was reserved.
    """
    part_quote = np.int64(np.rint(setup.size_quote * factor * QUOTE))
    part_reserve = part_quote + np.int64(np.rint(part_quote * max(ins.taker, ins.maker)))
    committed = part_reserve * setup.levels
    equity = float(book.equity)
    if part_quote / QUOTE < ins.min_notional:
        decision.measured = part_quote / QUOTE
        decision.limit = ins.min_notional
        return _SMALL, 0
    if count >= prm.max_per_strategy:
        decision.measured = count
        decision.limit = prm.max_per_strategy
        return _STRATEGY_LIMIT, 0
    if total >= prm.max_open:
        decision.measured = total
        decision.limit = prm.max_open
        return _PORTFOLIO_LIMIT, 0
    decision.measured = (exposure + committed) / QUOTE
    if exposure + committed > prm.max_strategy * equity:
        decision.limit = prm.max_strategy * equity / QUOTE
        return _EXPOSURE, 0
    if committed > prm.max_symbol * equity:
        decision.measured = committed / QUOTE
        decision.limit = prm.max_symbol * equity / QUOTE
        return _CONCENTRATION, 0
    if exposure + committed > share * (1.0 - prm.reserve) * equity:
        decision.limit = share * (1.0 - prm.reserve) * equity / QUOTE
        return _SHARE, 0
    if book.cash - committed < prm.reserve * equity:
        decision.measured = (book.cash - committed) / QUOTE
        decision.limit = prm.reserve * equity / QUOTE
        return _NO_CASH, 0
    decision.measured = np.nan
    book.cash -= committed
    book.reserved += committed
    open_slot(slot, setup, index)
    for k in range(setup.levels):
        open_part(parts[setup.symbol, k], part_quote, part_reserve)
    return _ACCEPTED, committed


@njit(cache=True)
def open_slot(slot, setup, index):
    """A pending entry in an empty slot."""
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
    slot.held = 0.0
    slot.bought = 0.0
    slot.sold = 0.0
    slot.cost = 0.0
    slot.proceeds = 0.0
    slot.invested = 0
    slot.returned = 0
    slot.fees = 0
    slot.slippage = 0
    slot.entry_fills = 0
    slot.exit_fills = 0
    slot.first_fill_ms = 0
    slot.entry_volatility = 0.0
    slot.average = 0.0
    slot.stop_fraction = 0.0
    slot.stop = 0.0
    slot.target = 0.0
    slot.high_water = 0.0
    slot.trail = 0.0
    slot.armed = False
    slot.trigger = _NONE
    slot.request = _NONE
    slot.exit_reason = _NONE
    slot.judged = False
    slot.ambiguous = False
    slot.entered_within = False


@njit(cache=True)
def open_part(part, quote, reserve):
    """One buy of an entry, not met yet."""
    part.open = True
    part.passed = False
    part.bars = -1
    part.quote = quote
    part.reserve = reserve
    part.price = 0.0


@njit(cache=True)
def decide(
    setups,
    first,
    last,
    decisions,
    book,
    slots,
    parts,
    coins,
    strategies,
    episodes,
    instruments,
    sprm,
    prm,
    regime,
    preferred,
    size_factor,
    switched_on,
    close_ms,
):
    """Admit the setups [first, last) of one close as one batch."""
    chosen = np.empty(last - first, dtype=np.int64)
    n = 0
    for i in range(first, last):
        setup = setups[i]
        if setup.kind == EVENT_RESET:
            episodes[setup.strategy, setup.symbol] = False
    for i in range(first, last):
        setup = setups[i]
        decision = decisions[i]
        if setup.kind == EVENT_RESET:
            continue
        decision.reason = gate(
            setup, decision, book, slots, coins, strategies, episodes, instruments, sprm, prm, regime, switched_on, close_ms
        )
        if decision.reason == _ACCEPTED:
            chosen[n] = i
            n += 1
    # Within a symbol the higher confidence stays, on a tie the strategy configured first.
    kept = 0
    for a in range(n):
        mine = setups[chosen[a]]
        beaten = False
        for b in range(n):
            other = setups[chosen[b]]
            if b != a and other.symbol == mine.symbol:
                better = other.confidence > mine.confidence
                tie = other.confidence == mine.confidence and other.strategy < mine.strategy
                if better or tie:
                    beaten = True
                    decisions[chosen[a]].measured = mine.confidence
                    decisions[chosen[a]].limit = other.confidence
                    break
        if beaten:
            decisions[chosen[a]].reason = _OUTRANKED
    for a in range(n):
        if decisions[chosen[a]].reason == _ACCEPTED:
            chosen[kept] = chosen[a]
            kept += 1
    if kept == 0:
        return
    for a in range(1, kept):  # insertion sort: batches are small
        item = chosen[a]
        b = a - 1
        while b >= 0 and stands_before(setups[item], setups[chosen[b]], preferred, instruments):
            chosen[b + 1] = chosen[b]
            b -= 1
        chosen[b + 1] = item
    count = np.zeros(len(strategies), dtype=np.int64)
    exposure = np.zeros(len(strategies), dtype=np.int64)
    total = 0
    for s in range(len(slots)):
        slot = slots[s]
        if slot.phase != EMPTY:
            total += 1
            count[slot.strategy] += 1
            if slot.phase == HELD:
                exposure[slot.strategy] += amount_e8(on_grid(slot.held, instruments[s].lot), coins[s].last_close)
            for k in range(slot.levels):
                if parts[s, k].open:
                    exposure[slot.strategy] += parts[s, k].reserve
    for rank in range(kept):
        i = chosen[rank]
        setup = setups[i]
        decision = decisions[i]
        decision.rank = rank
        k = setup.strategy
        reason, committed = admit(
            setup,
            i,
            decision,
            book,
            slots[setup.symbol],
            parts,
            instruments[setup.symbol],
            prm,
            sprm[k].share,
            size_factor[k],
            count[k],
            total,
            exposure[k],
        )
        decision.reason = reason
        if reason == _ACCEPTED:
            total += 1
            count[k] += 1
            exposure[k] += committed
            decision.fallback = preferred >= 0 and k != preferred
            slots[setup.symbol].fallback = decision.fallback


# --- step and run ------------------------------------------------------------------------------------------


@njit(cache=True)
def obey(command, book, slots, parts, coins, strategies, ends):
    """Section 7: one command, before the bar's OPEN."""
    kind = command.kind
    if kind == _C_PAUSE:
        book.paused = True
    elif kind == _C_RESUME:
        book.paused = False
        book.day_latched = False
        book.day_base = book.equity
    elif kind == _C_CLOSE:
        slot = slots[command.symbol]
        if slot.phase == PENDING:
            end_entry(book, slot, parts, ends, command.symbol, _CANCELLED)
        elif slot.phase == HELD and slot.trigger == _NONE:
            slot.request = command.value
    elif kind == _C_COOLDOWN:
        coins[command.symbol].stops = 0
        coins[command.symbol].cooldown_ms = 0
    elif kind == _C_STREAK:
        strategies[command.strategy].streak = 0
        strategies[command.strategy].blocked_ms = 0
    elif kind == _C_OFF:
        strategies[command.strategy].off = True
    elif kind == _C_ON:
        strategies[command.strategy].off = False
    elif kind == _C_BLOCK:
        coins[command.symbol].blocked = True
    elif kind == _C_UNBLOCK:
        coins[command.symbol].blocked = False


@njit(cache=True)
def settle(
    book, slots, parts, coins, strategies, ends, instruments, prm, fills, trades, counts, bar, time_ms, highs, lasts, day, regime, volatility, stop_factor
):
    """CLOSE, steps 1 to 8: closes, lost data, equity, day, streaks, PANIC, positions."""
    close_ms = time_ms + prm.bar_ms
    for s in range(len(coins)):
        if not np.isnan(lasts[s]):
            coins[s].last_close = lasts[s]
            coins[s].last_close_ms = close_ms
            book.newest_ms = close_ms
    book.equity = book.cash + book.reserved
    for s in range(len(slots)):
        slot = slots[s]
        if slot.phase == HELD:
            coin = coins[s]
            if book.newest_ms - coin.last_close_ms >= prm.data_lost_ms:
                before = book.cash + book.reserved
                close_out(book, slot, parts, coin, instruments[s], _DATA_LOST, fills, trades, counts, bar, time_ms, s)
                book.equity += book.cash + book.reserved - before
            else:
                book.equity += amount_e8(on_grid(slot.held, instruments[s].lot), coin.last_close)
    book.volatility = 0.0 if np.isnan(volatility) else volatility
    book.stop_factor = stop_factor
    if book.day_base > 0 and (book.day_base - book.equity) / book.day_base >= prm.day_loss:
        book.day_latched = True
    for k in range(len(strategies)):
        if strategies[k].blocked_ms > 0 and strategies[k].blocked_ms <= close_ms:
            strategies[k].blocked_ms = 0
            strategies[k].streak = 0
    for s in range(len(coins)):
        coin = coins[s]
        if coin.cooldown_ms > 0 and coin.cooldown_ms <= close_ms:
            coin.cooldown_ms = 0
            coin.stops = 0
        if coin.closed != _NONE:
            count_closed_trade(coin, strategies[coin.closed_strategy], instruments[s], prm, close_ms)
            coin.closed = _NONE
    for s in range(len(slots)):
        slot = slots[s]
        if slot.phase == EMPTY:
            continue
        if regime == _PANIC:
            if prm.cancel_rungs_in_panic and slot.phase == HELD:
                end_parts(book, parts, s, slot.levels)
            elif parts[s, 0].open:
                end_entry(book, slot, parts, ends, s, _REGIME_PANIC)
        if slot.phase == HELD:
            follow_position(slot, coins[s], instruments[s], prm, stop_factor, highs[s])


@njit(cache=True)
def step(
    book,
    slots,
    parts,
    coins,
    strategies,
    episodes,
    instruments,
    sprm,
    prm,
    bar,
    time_ms,
    opens,
    highs,
    lows,
    closes,
    volumes,
    commands,
    first_command,
    last_command,
    setups,
    first_setup,
    last_setup,
    decisions,
    day,
    regime,
    volatility,
    preferred,
    stop_factor,
    size_factor,
    switched_on,
    fills,
    trades,
    counts,
):
    """One bar of the whole portfolio (R1): commands, OPEN, FALL and RISE by symbol, CLOSE for all."""
    for i in range(first_command, last_command):
        obey(commands[i], book, slots, parts, coins, strategies, decisions)
    if day != book.day:
        book.day = day
        book.day_base = book.equity
        book.day_latched = False
    for s in range(len(slots)):
        if slots[s].phase != EMPTY:
            match(
                book,
                slots[s],
                parts,
                coins[s],
                episodes,
                decisions,
                instruments[s],
                prm,
                fills,
                trades,
                counts,
                bar,
                time_ms,
                s,
                opens[s],
                highs[s],
                lows[s],
                closes[s],
                volumes[s],
            )
    settle(
        book,
        slots,
        parts,
        coins,
        strategies,
        decisions,
        instruments,
        prm,
        fills,
        trades,
        counts,
        bar,
        time_ms,
        highs,
        closes,
        day,
        regime,
        volatility,
        stop_factor,
    )
    if last_setup > first_setup:
        decide(
            setups,
            first_setup,
            last_setup,
            decisions,
            book,
            slots,
            parts,
            coins,
            strategies,
            episodes,
            instruments,
            sprm,
            prm,
            regime,
            preferred,
            size_factor,
            switched_on,
            time_ms + prm.bar_ms,
        )


@njit(cache=True, nogil=True)
def run(
    book,
    slots,
    parts,
    coins,
    strategies,
    episodes,
    instruments,
    sprm,
    prm,
    start,
    stop,
    open_time_ms,
    opens,
    highs,
    lows,
    closes,
    volumes,
    commands,
    setups,
    cursor,
    decisions,
    day,
    regime,
    volatility,
    preferred,
    stop_factor,
    size_factor,
    switched_on,
    fills,
    trades,
    counts,
    room,
    equity,
    cash,
    reserved,
):
    """The dense driver: every bar of [start, stop) in order. Returns the bar that it stopped before.

    It stops early when fewer than `room` rows of fills or trades are free (the caller makes room and goes on), or
    when an exact quantity is impossible (`book.error`). `cursor` holds the next command and the next setup.
    """
    for t in range(start, stop):
        if len(fills) - counts[0] < room or len(trades) - counts[1] < room:
            return t
        time_ms = open_time_ms[t]
        close_ms = time_ms + prm[0].bar_ms
        first_command = cursor[0]
        while cursor[0] < len(commands) and commands[cursor[0]].time_ms <= time_ms:
            cursor[0] += 1
        while cursor[1] < len(setups) and setups[cursor[1]].time_ms < close_ms:
            cursor[1] += 1  # before the first bar: nothing could act on it
        first_setup = cursor[1]
        while cursor[1] < len(setups) and setups[cursor[1]].time_ms == close_ms:
            cursor[1] += 1
        step(
            book[0],
            slots,
            parts,
            coins,
            strategies,
            episodes,
            instruments,
            sprm,
            prm[0],
            t,
            time_ms,
            opens[t],
            highs[t],
            lows[t],
            closes[t],
            volumes[t],
            commands,
            first_command,
            cursor[0],
            setups,
            first_setup,
            cursor[1],
            decisions,
            day[t],
            regime[t],
            volatility[t],
            preferred[t],
            stop_factor[t],
            size_factor[t],
            switched_on[t],
            fills,
            trades,
            counts,
        )
        equity[t] = book[0].equity
        cash[t] = book[0].cash
        reserved[t] = book[0].reserved
        if book[0].error != 0:
            return t + 1
    return stop


@njit(cache=True)
def end_all(book, slots, parts, coins, instruments, fills, trades, counts, decisions, bar, time_ms):
    """Section 8: close what is held at its last close, and cancel what is pending."""
    for s in range(len(slots)):
        slot = slots[s]
        if slot.phase == PENDING:
            end_entry(book[0], slot, parts, decisions, s, _CANCELLED)
        elif slot.phase == HELD:
            close_out(book[0], slot, parts, coins[s], instruments[s], _END_OF_DATA, fills, trades, counts, bar, time_ms, s)


@njit(cache=True)
def open_trades(slots, coins, instruments, rows):
    """Write the trade of every held position, marked at its last close; returns how many."""
    n = 0
    for s in range(len(slots)):
        if slots[s].phase == HELD:
            write_trade(slots[s], instruments[s], rows[n], -1, s, coins[s].last_close)
            n += 1
    return n


# --- setups alone (section 9) --------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def run_alone(
    setups,
    chosen,
    instruments,
    prm,
    open_time_ms,
    opens,
    highs,
    lows,
    closes,
    volumes,
    volatility,
    stop_factor,
    book,
    slots,
    parts,
    coins,
    strategies,
    episodes,
    ends,
    fills,
    trades,
    outcomes,
):
    """Every chosen setup by itself, from its decision to its end; the same step without limits or gates.

    `book`, `slots` (1,), `parts` (1, MAX_LEVELS), `coins` (1,), `strategies`, `episodes` (strategies, 1), `ends`,
    `fills` and `trades` are scratch.
    """
    parameters = prm[0]
    counts = np.zeros(2, dtype=np.int64)
    for n in range(len(chosen)):
        setup = setups[chosen[n]]
        ins = instruments[setup.symbol]
        slot, coin = slots[0], coins[0]
        quote = np.int64(np.rint(setup.size_quote * QUOTE))
        reserve = quote + np.int64(np.rint(quote * max(ins.taker, ins.maker)))
        open_slot(slot, setup, chosen[n])
        for k in range(setup.levels):
            open_part(parts[0, k], quote, reserve)
        ends[chosen[n]].end = _ACCEPTED
        s = setup.symbol
        bar = np.searchsorted(open_time_ms, setup.time_ms)
        if bar > 0:  # the market of the decision's close
            book[0].volatility = 0.0 if np.isnan(volatility[bar - 1]) else volatility[bar - 1]
            book[0].stop_factor = stop_factor[bar - 1]
        else:
            book[0].volatility = 0.0
            book[0].stop_factor = 1.0
        adverse, favourable = np.inf, -np.inf
        first_bar = -1
        last_bar = -1
        newest_ms = np.int64(0)
        for t in range(bar, len(open_time_ms)):
            counts[0] = 0
            counts[1] = 0
            match(
                book[0],
                slot,
                parts,
                coin,
                episodes,
                ends,
                ins,
                parameters,
                fills,
                trades,
                counts,
                t,
                open_time_ms[t],
                0,
                opens[t, s],
                highs[t, s],
                lows[t, s],
                closes[t, s],
                volumes[t, s],
            )
            if slot.entry_fills > 0 and not np.isnan(closes[t, s]):
                if first_bar < 0:
                    first_bar = t
                adverse = min(adverse, lows[t, s] / slot.average - 1.0)
                favourable = max(favourable, highs[t, s] / slot.average - 1.0)
            last_bar = t
            if slot.phase == EMPTY:
                break
            close_ms = open_time_ms[t] + parameters.bar_ms
            if not np.isnan(closes[t, s]):
                coin.last_close = closes[t, s]
                coin.last_close_ms = close_ms
            if has_bar(closes, t):
                newest_ms = close_ms
            if slot.phase == HELD and newest_ms - coin.last_close_ms >= parameters.data_lost_ms:
                close_out(book[0], slot, parts, coin, ins, _DATA_LOST, fills, trades, counts, t, open_time_ms[t], 0)
                break
            book[0].volatility = 0.0 if np.isnan(volatility[t]) else volatility[t]
            book[0].stop_factor = stop_factor[t]
            if slot.phase == HELD:
                follow_position(slot, coin, ins, parameters, stop_factor[t], highs[t, s])
        write_outcome(slot, ends[chosen[n]].end, outcomes[n], chosen[n], open_time_ms, first_bar, last_bar, adverse, favourable)
        slot.phase = EMPTY


@njit(cache=True)
def has_bar(closes, t):
    """Whether any symbol has a bar in row t."""
    for s in range(closes.shape[1]):
        if not np.isnan(closes[t, s]):
            return True
    return False


@njit(cache=True)
def write_outcome(slot, end, row, index, open_time_ms, first_bar, last_bar, adverse, favourable):
    """Section 9: the outcome of a setup traded alone."""
    row.setup = index
    row.exit_reason = slot.exit_reason
    row.return_net = np.nan
    row.return_gross = np.nan
    row.adverse = np.nan
    row.favourable = np.nan
    row.bars_held = 0
    row.entry_ms = -1
    row.exit_ms = -1
    row.ambiguous = slot.ambiguous
    if slot.entry_fills == 0:
        row.outcome = _NEVER_FILLED if end != _ACCEPTED else _UNFINISHED  # the data may end before the order does
        return
    row.entry_ms = slot.first_fill_ms
    row.adverse = adverse
    row.favourable = favourable
    row.bars_held = last_bar - first_bar + 1
    if slot.held > 0.0:
        row.outcome = _UNFINISHED
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
