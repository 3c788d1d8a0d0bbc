"""Trade lists held against each other, trade by trade, and why they differ where they do.

A trade is known by its symbol and the bar of its entry. Everything is told by the bars: a difference gets the
first reason that they bear out, and one that none bears out is counted as unexplained.
"""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from peers.market import SIGNAL_MINUTES
from peers.protocol import Bars, Exits, Trades

TOLERANCE = 1e-8  # of a price, and of a cost as a fraction of what was paid


class Verdict(StrEnum):
    """How the other record of a trade relates to ours. The value is what people read."""

    SAME = "the same"
    ENTRY_PRICE = "entered at the close of the signal's bar, not at the next open"
    ENTRY_BAR = "held on through the bar of the entry, in which ours left"
    CLOSE_LEVELS = "left in the bar of the entry at a level of the close before"
    BOTH_LEVELS = "target and stop lie in one bar, and it took the other one"
    TIME_AND_LEVEL = "left at a level in the bar at whose open ours left by time"
    BELOW_STOP = "opened below the stop and left at the stop; ours at the open"
    ABOVE_TARGET = "opened above the target and left above it; ours at the target"
    TIME_PRICE = "left by time at the close before; ours at the open"
    NAME = "same bar and price, another name for the exit"
    FEES = "same exit, other fees"
    HELD = "one of the two still held the position before"
    AGAIN = "left in the bar of the entry, and entered again on the same signal"
    ONLY_OURS = "only ours has it"
    ONLY_THEIRS = "only the other has it"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class Trade:
    """One trade of a list."""

    symbol: int
    entry_row: int
    exit_row: int
    entry_price: float
    exit_price: float
    reason: str
    fees: float


def compare(bars: Bars, exits: Exits, ours: Trades, theirs: Trades) -> Counter[Verdict]:
    """Count the verdicts over all trades that had to end within the bars in both lists."""
    last = len(bars.close) - exits.bars - 2
    symbols = bars.close.shape[1]
    own, other = (_by_entry(trades, last, symbols) for trades in (ours, theirs))
    verdicts = Counter(verdict(bars, exits, own[key], other[key]) for key in own.keys() & other.keys())
    verdicts.update(_missing(own, other, Verdict.ONLY_OURS))
    verdicts.update(_missing(other, own, Verdict.ONLY_THEIRS))
    return verdicts


def verdict(bars: Bars, exits: Exits, own: Trade, other: Trade) -> Verdict:
    """Why two records of one trade differ, if they do."""
    if not _close(own.entry_price, other.entry_price):
        before = bars.close[own.entry_row - 1, own.symbol]
        return Verdict.ENTRY_PRICE if _close(other.entry_price, before) else Verdict.UNEXPLAINED
    same_row = own.exit_row == other.exit_row
    same_price = _close(own.exit_price, other.exit_price)
    if same_row and same_price:
        if own.reason != other.reason:
            return Verdict.NAME
        return Verdict.SAME if abs(own.fees - other.fees) <= TOLERANCE else Verdict.FEES
    if other.exit_row == other.entry_row and _at_level_of_the_close(bars, exits, other):
        return Verdict.CLOSE_LEVELS
    if not same_row:
        left_first = own.exit_row == own.entry_row < other.exit_row
        return Verdict.ENTRY_BAR if left_first else Verdict.UNEXPLAINED
    return _within_a_bar(bars, exits, own, other)


def _at_level_of_the_close(bars: Bars, exits: Exits, trade: Trade) -> bool:
    """Whether a trade ended at target or stop as they lie from the close that decided it."""
    before = bars.close[trade.entry_row - 1, trade.symbol]
    levels = before * (1.0 - exits.stop_loss), before * (1.0 + exits.take_profit)
    return any(_close(trade.exit_price, level) for level in levels)


def _within_a_bar(bars: Bars, exits: Exits, own: Trade, other: Trade) -> Verdict:
    """Both left in the same bar, at different prices."""
    at = own.exit_row, own.symbol
    opened, high, low = bars.open[at], bars.high[at], bars.low[at]
    stop = own.entry_price * (1.0 - exits.stop_loss)
    target = own.entry_price * (1.0 + exits.take_profit)
    pair = own.reason, other.reason
    within = {"stop_loss": low <= stop, "take_profit": high >= target}
    ours_at_open = _close(own.exit_price, opened)
    borne_out = {
        Verdict.BOTH_LEVELS: {*pair} == {*within} and all(within.values()),
        Verdict.TIME_AND_LEVEL: own.reason == "time_exit"
        and ours_at_open
        and within.get(other.reason, False),
        Verdict.BELOW_STOP: pair == ("stop_loss", "stop_loss")
        and opened <= stop
        and ours_at_open
        and _close(other.exit_price, stop),
        Verdict.ABOVE_TARGET: pair == ("take_profit", "take_profit")
        and opened >= target
        and _close(own.exit_price, target)
        and target < other.exit_price <= opened * (1.0 + TOLERANCE),
        Verdict.TIME_PRICE: pair == ("time_exit", "time_exit")
        and ours_at_open
        and _close(other.exit_price, bars.close[own.exit_row - 1, own.symbol]),
    }
    return next((name for name, holds in borne_out.items() if holds), Verdict.UNEXPLAINED)


def _missing(
    having: dict[tuple[int, int], Trade], lacking: dict[tuple[int, int], Trade], name: Verdict
) -> list[Verdict]:
    """Why trades of one list are not in the other: it still held another, or for no reason that is known."""
    around: dict[int, list[Trade]] = {}
    for trade in (*having.values(), *lacking.values()):
        around.setdefault(trade.symbol, []).append(trade)
    verdicts = []
    for symbol, row in having.keys() - lacking.keys():
        near = [each for each in around[symbol] if each.entry_row < row]
        if any(row <= each.exit_row and lacking.get((symbol, each.entry_row)) is each for each in near):
            verdicts.append(Verdict.HELD)
        elif any(row < each.entry_row + SIGNAL_MINUTES and each.exit_row == each.entry_row for each in near):
            verdicts.append(Verdict.AGAIN)
        else:
            verdicts.append(name)
    return verdicts


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= TOLERANCE * abs(b)


def _by_entry(trades: Trades, last: int, symbols: int) -> dict[tuple[int, int], Trade]:
    """Trades by symbol and bar of the entry, those that could still be open at the end left out."""
    columns = (trades.symbol, trades.entry_row, trades.exit_row, trades.entry_price, trades.exit_price)
    rows = (Trade(*row) for row in zip(*columns, trades.reason, trades.fees, strict=True))
    return {
        (row.symbol, row.entry_row): row for row in rows if row.entry_row <= last and row.symbol < symbols
    }
