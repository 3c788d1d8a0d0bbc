"""The records of one stepped minute: setups with their answers, orders that changed, positions that are held.

Everything here is worked out from the portfolio's state before and after the minute and from what the step
brought; nothing is remembered beside them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from crypto_tracker.core.arrays import RecordArray
from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.money import decimal_of, to_decimal
from crypto_tracker.core.orders import ExitReason, FillKind
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.simulation import kernel, ledger
from crypto_tracker.simulation.live import Stepped
from crypto_tracker.simulation.state import EMPTY, PENDING, PortfolioState
from crypto_tracker.store.trading_records import OrderRecord, PositionRecord, SetupRecord
from crypto_tracker.strategies.base import EVENT_SETUP

OPEN, PARTIALLY_FILLED, FILLED = "open", "partially_filled", "filled"
CANCELLED, EXPIRED = "cancelled", "expired"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SteppedMinute:
    """One minute as it was stepped.

    Attributes
    ----------
    close_ms : its close, which is when its setups are decided
    regime : at its close
    instruments, entry_bars : that it was stepped under
    strategies : names in the configured order
    before, after : the portfolio's state; `before` is a copy
    setups : SETUP_DTYPE, those of this close
    first_setup_number : of the first row of `setups` that is a setup
    version : of the configuration that it was stepped under
    versions : of the configuration of each setup whose order or position was there before
    """

    close_ms: int
    regime: Regime
    instruments: Instruments
    entry_bars: int
    strategies: tuple[str, ...]
    before: PortfolioState
    after: PortfolioState
    setups: RecordArray
    first_setup_number: int
    stepped: Stepped
    version: str
    versions: Mapping[int, str]

    def version_of(self, setup_number: int) -> str:
        """The configuration version of a setup of this minute, or of one that was traded before it."""
        return self.version if setup_number >= self.first_setup_number else self.versions[setup_number]

    def versions_after(self) -> dict[int, str]:
        """The configuration version of the setup of every order and position that is there now."""
        slots = self.after.slots
        numbers = slots["setup"][slots["phase"] != EMPTY]
        return {int(number): self.version_of(int(number)) for number in numbers}

    def trade_versions(self) -> list[str]:
        """The configuration version of the setup of every trade that closed."""
        return [self.version_of(int(number)) for number in self.stepped.trades["setup"]]


def setup_records(minute: SteppedMinute) -> list[SetupRecord]:
    """Every setup of the minute's close with the portfolio's answer, in the order of the setups."""
    symbols, records = minute.instruments.symbols, []
    rows = np.flatnonzero(minute.setups["kind"] == EVENT_SETUP)
    for number, row in enumerate(rows, start=minute.first_setup_number):
        setup, decision = minute.setups[row], minute.stepped.decisions[row]
        reason = Reason(decision["reason"])
        records.append(
            SetupRecord(
                setup_number=number,
                time_ms=int(setup["time_ms"]),
                symbol=symbols[setup["symbol"]],
                strategy=minute.strategies[setup["strategy"]],
                verdict=Verdict.TAKE if reason is Reason.ACCEPTED else Verdict.SKIP,
                reason=reason,
                readiness=float(setup["readiness"]),
                confidence=float(setup["confidence"]),
                rank=int(decision["rank"]) if decision["rank"] >= 0 else None,
                fallback=bool(decision["fallback"]),
                measured=_number(decision["measured"]),
                limit=_number(decision["limit"]),
                version=minute.version,
            )
        )
    return records


def order_records(minute: SteppedMinute) -> list[OrderRecord]:
    """Every buy that was admitted in the minute, or is not what it was before it, by symbol and rung.

    At any moment the orders that are `open` or `partially_filled` are the open parts of the state.
    """
    return [
        record
        for column in _touched(minute)
        for records in (_changed_orders(minute, column), _new_orders(minute, column))
        for record in records
    ]


def position_records(minute: SteppedMinute, positions: RecordArray) -> list[PositionRecord]:
    """Every held position; `positions` are the stepper's TRADE_DTYPE rows after the minute."""
    trades = ledger.trades(positions, minute.instruments.symbols, minute.strategies)
    records = []
    for row, trade in zip(positions, trades, strict=True):
        slot, coin = minute.after.slots[row["symbol"]], minute.after.coins[row["symbol"]]
        under_way = ExitReason(slot["trigger"]) or ExitReason(slot["request"])
        records.append(
            PositionRecord(
                trade=trade,
                open_quantity=decimal_of(row["open_quantity"]),
                mark_price=float(coin["last_close"]),
                stop_price=float(row["stop_price"]),
                target_price=float(row["target_price"]),
                trailing_armed=bool(slot["armed"]),
                due_ms=int(slot["first_fill_ms"] + slot["max_hold_ms"]),
                exit_pending=under_way or None,
                version=minute.version_of(int(row["setup"])),
            )
        )
    return records


# --- orders ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Standing:
    """How a buy stands."""

    status: str
    reason: Reason | None = None
    limit_price: float | None = None

    @property
    def over(self) -> bool:
        return self.status not in (OPEN, PARTIALLY_FILLED)


def _touched(minute: SteppedMinute) -> list[int]:
    """The columns where an order may have changed."""
    before, after = minute.before, minute.after
    touched = (before.parts["open"] != after.parts["open"]).any(axis=1)
    for field in ("phase", "setup"):
        touched |= before.slots[field] != after.slots[field]
    touched[minute.stepped.fills["symbol"]] = True
    return [int(column) for column in np.flatnonzero(touched)]


def _new_orders(minute: SteppedMinute, column: int) -> Iterator[OrderRecord]:
    """The parts of an order that was admitted at the minute's close; none of them has met a bar."""
    slot = minute.after.slots[column]
    if slot["phase"] == PENDING and slot["setup"] >= minute.first_setup_number:
        for part in range(slot["levels"]):
            yield _record(minute, column, slot, part, _Standing(OPEN))


def _changed_orders(minute: SteppedMinute, column: int) -> Iterator[OrderRecord]:
    """The parts of the order that was there before the minute and that changed in it."""
    slot = minute.before.slots[column]
    if slot["phase"] == EMPTY:
        return
    for part in range(slot["levels"]):
        if minute.before.parts[column, part]["open"]:
            standing = _standing_after(minute, column, part)
            if standing != _standing_before(minute, column, part):
                yield _record(minute, column, slot, part, standing)


def _standing_before(minute: SteppedMinute, column: int, k: int) -> _Standing:
    """How an open part stood before the minute."""
    slot, part = minute.before.slots[column], minute.before.parts[column, k]
    placed = k > 0 and slot["phase"] != PENDING
    return _Standing(
        PARTIALLY_FILLED if part["quote"] < slot["quote"] else OPEN,
        limit_price=float(part["price"]) if placed else None,
    )


def _standing_after(minute: SteppedMinute, column: int, k: int) -> _Standing:
    """How a part that was open before the minute stands after it."""
    slot, before = minute.before.slots[column], minute.before.parts[column, k]
    mine = minute.stepped.fills["symbol"] == column
    fills = minute.stepped.fills[mine]
    price = _limit_price(minute, column, k, fills)
    bought = fills[(fills["kind"] != FillKind.EXIT) & (fills["rung"] == k)]
    same_order = minute.after.slots[column]["phase"] != EMPTY and (
        minute.after.slots[column]["setup"] == slot["setup"]
    )
    if same_order and minute.after.parts[column, k]["open"]:
        some = len(bought) or before["quote"] < slot["quote"]
        return _Standing(PARTIALLY_FILLED if some else OPEN, limit_price=price)
    if len(bought) and _completed(int(before["quote"]), bought, float(minute.instruments.lot[column])):
        return _Standing(FILLED, limit_price=price)
    unfilled = [order.reason for order in minute.stepped.ended if order.symbol_column == column]
    if unfilled:
        return _Standing(EXPIRED if unfilled[0] is Reason.EXPIRED else CANCELLED, unfilled[0])
    if (fills["kind"] == FillKind.EXIT).any():  # the first exit ends what was left of the entry
        return _Standing(CANCELLED, limit_price=price)
    if minute.regime is Regime.PANIC and not _ran_out_of_bars(minute, column, k, met=bool(len(bought))):
        return _Standing(CANCELLED, Reason.REGIME_PANIC, price)
    return _Standing(EXPIRED, Reason.EXPIRED, price)


def _limit_price(minute: SteppedMinute, column: int, k: int, fills: RecordArray) -> float | None:
    """The price of a rung, which the order's first fill sets (R3); None before it, and of market entries."""
    slot = minute.before.slots[column]
    if k == 0:
        return None
    if slot["phase"] != PENDING:
        return float(minute.before.parts[column, k]["price"])
    if not len(fills):
        return None
    # The slot may hold another order by now, so the price is worked out again.
    first_price, spacing = float(fills["price"][0]), float(slot["spacing"])
    return float(kernel.floor_tick(first_price * (1.0 - spacing * k), float(minute.instruments.tick[column])))


def _completed(quote_e8: int, bought: RecordArray, lot: float) -> bool:
    """Whether the last of these fills took all that was left of a part's quote (R8)."""
    left = quote_e8 - int(bought["notional_e8"][:-1].sum())
    wanted = kernel.whole_lots(left / kernel.QUOTE / float(bought["price"][-1]), lot)
    return bool(kernel.on_grid(wanted, lot) == bought["quantity"][-1])


def _ran_out_of_bars(minute: SteppedMinute, column: int, k: int, *, met: bool) -> bool:
    """Whether the minute was the last in which a part could trade (R8). `met`: it has a fill in it."""
    if minute.after.coins[column]["last_close_ms"] != minute.close_ms:
        return False  # the symbol had no bar
    left = int(minute.before.parts[column, k]["bars"])
    if left < 0:
        met = met or bool(minute.after.parts[column, k]["passed"])
        return met and minute.entry_bars == 1
    return left == 1


def _record(minute: SteppedMinute, column: int, slot: np.void, k: int, standing: _Standing) -> OrderRecord:
    symbol, strategy = minute.instruments.symbols[column], minute.strategies[slot["strategy"]]
    decision_ms = int(slot["decision_ms"])
    group = ledger.trade_group_id(symbol, strategy, from_ms(decision_ms))
    price = standing.limit_price
    return OrderRecord(
        order_id=f"{group}/{k}",
        trade_group_id=group,
        symbol=symbol,
        strategy=strategy,
        kind="rung" if k else "market",
        rung=k,
        quote=to_decimal(slot["quote"]),
        limit_price=None if price is None else decimal_of(price),
        status=standing.status,
        placed_ms=decision_ms,
        ended_ms=minute.close_ms if standing.over else None,
        reason=standing.reason,
        version=minute.version_of(int(slot["setup"])),
    )


def _number(value: np.floating) -> float | None:
    return None if np.isnan(value) else float(value)
