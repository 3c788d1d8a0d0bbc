"""Everything the simulator remembers: flat arrays that serialise to bytes (docs/simulator.md, section 2)."""

import hashlib
import json
import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from crypto_tracker.core.arrays import BoolArray, FloatArray, IntArray, RecordArray
from crypto_tracker.core.errors import SimulationError
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS
from crypto_tracker.portfolio.parameters import CORRELATION_HOURS, SizingMode
from crypto_tracker.simulation.parameters import FillSource, Intrabar, Rules
from crypto_tracker.simulation.records import HOLDING_DTYPE, MAX_LEVELS

EMPTY, PENDING, HELD = 0, 1, 2  # phases of a slot
NO_HOUR = -1

BOOK_DTYPE = np.dtype(
    [
        ("cash", np.int64),  # free, 1e-8 quote
        ("reserved", np.int64),
        ("equity", np.int64),  # at the last CLOSE
        ("day", np.int64),
        ("day_base", np.int64),
        ("day_latched", np.bool_),
        ("peak", np.int64),  # highest equity at a CLOSE since the start or the last resume
        ("drawdown_latched", np.bool_),
        ("favoured", np.int64),  # the strategy that the market favoured last, -1 before any
        ("paused", np.bool_),
        ("newest_ms", np.int64),  # latest close time of any symbol's bar
        ("next_trade", np.int64),
        ("volatility", np.float64),  # of the last CLOSE, 0 where unknown
        ("stop_factor", np.float64),  # of the last CLOSE
        ("error", np.int32),  # column + 1 of an instrument whose quantity is not exact
    ],
    align=True,
)

SLOT_DTYPE = np.dtype(
    [
        # the setup and how it trades
        ("phase", np.int8),
        ("fallback", np.bool_),
        ("strategy", np.int16),
        ("levels", np.int16),
        ("setup", np.int64),
        ("decision_ms", np.int64),
        ("wait_ms", np.int64),
        ("decision_close", np.float64),
        ("max_entry_gap", np.float64),
        ("take_profit", np.float64),
        ("stop_loss", np.float64),
        ("trailing", np.float64),
        ("spacing", np.float64),
        ("max_hold_ms", np.int64),
        ("quote", np.int64),  # what each part was admitted for
        # the position; quantities in lots
        ("trade", np.int64),
        ("held", np.float64),
        ("bought", np.float64),
        ("sold", np.float64),
        ("cost", np.float64),  # sum of coins x price over entry fills
        ("proceeds", np.float64),  # the same over exit fills
        ("invested", np.int64),
        ("returned", np.int64),
        ("fees", np.int64),
        ("slippage", np.int64),
        ("entry_fills", np.int16),
        ("exit_fills", np.int16),
        ("first_fill_ms", np.int64),
        ("entry_volatility", np.float64),
        ("average", np.float64),
        ("stop_fraction", np.float64),
        ("stop", np.float64),
        ("target", np.float64),
        ("high_water", np.float64),
        ("trail", np.float64),
        ("armed", np.bool_),
        # exits under way
        ("trigger", np.int8),  # ExitReason of a market exit that is not complete
        ("request", np.int8),  # ExitReason that was asked for
        ("exit_reason", np.int8),  # of the first exit fill
        ("walked_ms", np.int64),  # time of the recorded book that the last exit fill took from, -1 before any
        ("judged", np.bool_),
        ("ambiguous", np.bool_),
        # within one bar
        ("entered_within", np.bool_),  # an entry filled in this bar after its open
        ("target_before", np.float64),  # target at the start of the bar
        ("target_open", np.float64),  # target after the fills at its open
        ("entry_budget", np.float64),  # lots
        ("exit_budget", np.float64),
        ("volume_unknown", np.bool_),
    ],
    align=True,
)

PART_DTYPE = np.dtype(  # part 0 is the market part of an entry, parts 1.. are its rungs
    [
        ("open", np.bool_),
        ("passed", np.bool_),  # could not trade in this bar
        ("bars", np.int16),  # bars left once met, -1 before
        ("quote", np.int64),  # not spent yet
        ("reserve", np.int64),
        ("price", np.float64),
    ],
    align=True,
)

COIN_DTYPE = np.dtype(
    [
        ("last_close", np.float64),
        ("last_close_ms", np.int64),
        ("stops", np.int32),
        ("cooldown_ms", np.int64),
        ("blocked", np.bool_),
        ("closed", np.int8),  # ExitReason of a trade closed in this bar
        ("closed_strategy", np.int16),
        ("closed_pnl", np.int64),
    ],
    align=True,
)

STRATEGY_DTYPE = np.dtype(
    [
        ("streak", np.int32),
        ("blocked_ms", np.int64),
        ("off", np.bool_),  # by a person
    ],
    align=True,
)

INSTRUMENT_DTYPE = np.dtype(
    [
        ("tick", np.float64),
        ("lot", np.float64),
        ("min_notional", np.float64),
        ("taker", np.float64),
        ("maker", np.float64),
        ("slippage", np.float64),
        ("stop_cap", np.float64),
        ("cooldown_ms", np.int64),
        ("rank", np.int32),  # place of the symbol's text
    ],
    align=True,
)

PARAMETER_DTYPE = np.dtype(
    [
        ("bar_ms", np.int64),
        ("mode", np.int8),
        ("entry_participation", np.float64),
        ("exit_participation", np.float64),
        ("entry_bars", np.int16),
        ("data_lost_ms", np.int64),
        ("book_age_ms", np.int64),  # how old a recorded book may be, -1 where fills are by the table
        ("max_per_strategy", np.int64),
        ("max_open", np.int64),
        ("max_symbol", np.float64),
        ("max_strategy", np.float64),
        ("reserve", np.float64),
        ("min_confidence", np.float64),
        ("day_loss", np.float64),
        ("drawdown", np.float64),
        ("size_mode", np.int8),
        ("fraction", np.float64),
        ("fraction_max", np.float64),
        ("kelly", np.float64),
        ("confidence_low", np.float64),
        ("confidence_high", np.float64),
        ("streak", np.int32),
        ("streak_ms", np.int64),
        ("cooldown_stops", np.int32),
        ("cancel_rungs_in_panic", np.bool_),
        ("close_on_transition", np.bool_),
        ("stale_ms", np.int64),
        ("widen_slope", np.float64),
        ("widen_unit", np.float64),
        ("max_correlation", np.float64),
        ("correlation_hours", np.int64),  # returns that two symbols must share
    ],
    align=True,
)

STRATEGY_PARAMETER_DTYPE = np.dtype([("share", np.float64), ("enabled", np.bool_)], align=True)

PESSIMISTIC, ADAPTIVE, OPTIMISTIC = 0, 1, 2
SIZE_FIXED, SIZE_FRACTION, SIZE_ADAPTIVE = 0, 1, 2
_SIZE_MODES = {
    SizingMode.FIXED: SIZE_FIXED,
    SizingMode.FIXED_FRACTION: SIZE_FRACTION,
    SizingMode.ADAPTIVE: SIZE_ADAPTIVE,
}
_MODES = {Intrabar.PESSIMISTIC: PESSIMISTIC, Intrabar.ADAPTIVE: ADAPTIVE, Intrabar.OPTIMISTIC: OPTIMISTIC}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PortfolioState:
    """Everything that one step hands to the next. The arrays are written in place by the kernel.

    The last hours are kept only where `limits.correlation_limit` asks for them; else both arrays of them have
    no hours, and the limit says nothing.
    """

    book: RecordArray  # BOOK_DTYPE (1,)
    slots: RecordArray  # SLOT_DTYPE (symbols,)
    parts: RecordArray  # PART_DTYPE (symbols, MAX_LEVELS)
    coins: RecordArray  # COIN_DTYPE (symbols,)
    strategies: RecordArray  # STRATEGY_DTYPE (strategies,)
    episodes: BoolArray  # (strategies, symbols), true from an entry until a scan is false
    hours_ms: IntArray  # (hours,), the full hour at each place of the ring, NO_HOUR where there was none yet
    hour_closes: FloatArray  # (symbols, hours), closes of these hours, NaN where an hour had no bar

    @classmethod
    def fresh(cls, symbols: int, strategies: int, capital_e8: int) -> "PortfolioState":
        """A portfolio that holds nothing but its capital."""
        book = np.zeros(1, dtype=BOOK_DTYPE)
        book["cash"] = book["equity"] = book["day_base"] = book["peak"] = capital_e8
        book["day"] = np.iinfo(np.int64).min
        book["favoured"] = -1
        book["stop_factor"] = 1.0
        coins = np.zeros(symbols, dtype=COIN_DTYPE)
        coins["last_close"] = np.nan
        coins["last_close_ms"] = np.iinfo(np.int64).min // 2
        return cls(
            book=book,
            slots=np.zeros(symbols, dtype=SLOT_DTYPE),
            parts=np.zeros((symbols, MAX_LEVELS), dtype=PART_DTYPE),
            coins=coins,
            strategies=np.zeros(strategies, dtype=STRATEGY_DTYPE),
            episodes=np.zeros((strategies, symbols), dtype=np.bool_),
            **_no_hours(symbols),
        )

    def with_hours(self, kept: bool) -> "PortfolioState":
        """The same portfolio, in the same arrays, that keeps the closes of the last hours or does not.

        One that did not keep them yet knows none.
        """
        if kept == bool(len(self.hours_ms)):
            return self
        hours = _no_hours(len(self.coins), CORRELATION_HOURS + 1 if kept else 0)
        return replace(self, **hours)

    def to_bytes(self) -> bytes:
        """The whole state; `from_bytes` gives it back bit for bit, and equal states give equal bytes."""
        kept = len(self.hours_ms)
        arrays = {name: getattr(self, name) for name in _LAYOUT if kept or name not in _HOURS}
        layout = {name: [_mark(array.dtype), array.shape] for name, array in arrays.items()}
        header = json.dumps(layout).encode()
        values = [array.astype(_packed(array.dtype)).tobytes() for array in arrays.values()]
        content = b"".join([len(header).to_bytes(4, "little"), header, *values])
        return _MAGIC + _checksum(content) + content

    @classmethod
    def from_bytes(cls, data: bytes) -> "PortfolioState":
        """Read what `to_bytes` wrote; raises SimulationError where bytes are damaged or of another layout."""
        head = len(_MAGIC) + len(_checksum(b""))
        content = data[head:]
        if data[:head] != _MAGIC + _checksum(content):
            raise SimulationError("the portfolio state is damaged, or none at all: restore it from a backup")
        place = 4 + int.from_bytes(content[:4], "little")
        header = json.loads(content[4:place])
        arrays = {}
        for name, dtype in _LAYOUT.items():
            if name in _HOURS and name not in header:
                continue
            mark, shape = header[name]
            if mark != _mark(dtype):
                raise SimulationError(
                    f"the {name} of the portfolio state are of another version: replay them from the ledger"
                )
            packed, count = _packed(dtype), math.prod(shape)
            arrays[name] = np.frombuffer(content, packed, count, place).reshape(shape).astype(dtype)
            place += count * packed.itemsize
        return cls(**(_no_hours(len(arrays["coins"])) | arrays))

    def holdings(self) -> RecordArray:
        """How every position stands besides its trade, HOLDING_DTYPE by symbol."""
        held = np.flatnonzero(self.slots["phase"] == HELD)
        slots, rows = self.slots[held], np.zeros(len(held), dtype=HOLDING_DTYPE)
        rows["mark_price"] = self.coins["last_close"][held]
        rows["trailing_armed"] = slots["armed"]
        rows["due_ms"] = slots["first_fill_ms"] + slots["max_hold_ms"]
        rows["exit_pending"] = np.where(slots["trigger"], slots["trigger"], slots["request"])
        return rows

    def restore(self, earlier: "PortfolioState") -> None:
        """Become what `earlier` is, in the same arrays: whoever holds them sees it."""
        for name in _LAYOUT:
            getattr(self, name)[...] = getattr(earlier, name)

    def copy(self) -> "PortfolioState":
        """An independent copy."""
        return PortfolioState(**{name: getattr(self, name).copy() for name in _LAYOUT})


_MAGIC = b"CTPS"
_LAYOUT = {
    "book": BOOK_DTYPE,
    "slots": SLOT_DTYPE,
    "parts": PART_DTYPE,
    "coins": COIN_DTYPE,
    "strategies": STRATEGY_DTYPE,
    "episodes": np.dtype(np.bool_),
    "hours_ms": np.dtype(np.int64),
    "hour_closes": np.dtype(np.float64),
}
_HOURS = frozenset({"hours_ms", "hour_closes"})  # not among the bytes where no hours are kept


def _no_hours(symbols: int, places: int = 0) -> dict[str, Any]:
    """A ring of the last hours in which there is none yet."""
    return {
        "hours_ms": np.full(places, NO_HOUR, dtype=np.int64),
        "hour_closes": np.full((symbols, places), np.nan),
    }


@cache
def _mark(dtype: np.dtype[Any]) -> str:
    """What tells one layout of records from another: names, types and places of their fields."""
    return hashlib.blake2b(repr(dtype.descr).encode(), digest_size=8).hexdigest()


@cache
def _packed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The same fields without the gaps between them, whose bytes mean nothing and may differ."""
    names = dtype.names
    return dtype if names is None else np.dtype([(name, dtype[name]) for name in names])


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def instrument_array(instruments: Instruments, rules: Rules) -> RecordArray:
    """The kernel's facts per symbol."""
    array = np.zeros(len(instruments.symbols), dtype=INSTRUMENT_DTYPE)
    array["tick"] = instruments.tick
    array["lot"] = instruments.lot
    array["min_notional"] = instruments.min_notional
    array["taker"] = instruments.taker_fee
    array["maker"] = instruments.maker_fee
    array["slippage"] = instruments.slippage
    array["stop_cap"] = rules.protection.stop_widening.caps.array()[instruments.tier]
    array["cooldown_ms"] = np.rint(rules.protection.cooldown_hours.array()[instruments.tier] * HOUR_MS)
    order = sorted(range(len(array)), key=lambda column: str(instruments.symbols[column]))
    array["rank"][order] = np.arange(len(array))
    return array


def parameter_array(rules: Rules, bar_ms: int) -> RecordArray:
    """The kernel's scalar numbers, (1,)."""
    array = np.zeros(1, dtype=PARAMETER_DTYPE)
    limits, protection, fills = rules.limits, rules.protection, rules.fills
    sizing = rules.sizing
    values = {
        "bar_ms": bar_ms,
        "mode": _MODES[fills.intrabar],
        "entry_participation": fills.entry_participation,
        "exit_participation": fills.exit_participation,
        "entry_bars": fills.entry_bars,
        "data_lost_ms": round(fills.data_lost_hours * HOUR_MS),
        "book_age_ms": round(fills.book_max_age_seconds * 1000) if fills.source is FillSource.BOOK else -1,
        "max_per_strategy": limits.max_open_per_strategy,
        "max_open": limits.max_open,
        "max_symbol": limits.max_symbol_exposure,
        "max_strategy": limits.max_strategy_exposure,
        "reserve": limits.reserve,
        "min_confidence": limits.min_confidence,
        "day_loss": protection.day_loss_max,
        "drawdown": protection.drawdown_max,
        "size_mode": _SIZE_MODES[sizing.mode],
        "fraction": sizing.fraction,
        "fraction_max": sizing.fraction_max,
        "kelly": sizing.kelly,
        "confidence_low": sizing.confidence_low,
        "confidence_high": sizing.confidence_high,
        "streak": protection.losing_streak,
        "streak_ms": round(protection.losing_streak_hours * HOUR_MS),
        "cooldown_stops": protection.cooldown_stops,
        "cancel_rungs_in_panic": protection.cancel_rungs_in_panic,
        "close_on_transition": protection.close_on_transition,
        "stale_ms": round(protection.stale_minutes * MINUTE_MS),
        "widen_slope": protection.stop_widening.slope,
        "widen_unit": protection.stop_widening.unit,
        "max_correlation": limits.max_correlation,
        "correlation_hours": limits.correlation_hours_min,
    }
    for name, value in values.items():
        array[name] = value
    return array


def strategy_parameter_array(
    rules: Rules, strategies: tuple[str, ...], enabled: tuple[bool, ...]
) -> RecordArray:
    """The kernel's numbers per strategy; a strategy without a share has share 0 and opens nothing."""
    array = np.zeros(len(strategies), dtype=STRATEGY_PARAMETER_DTYPE)
    for index, name in enumerate(strategies):
        array[index]["share"] = rules.limits.shares.get(name, 0.0)
        array[index]["enabled"] = enabled[index]
    return array
