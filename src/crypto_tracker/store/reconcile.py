"""Whether the ledger of an account adds up: everything that can be recomputed from its fills is.

One row that was lost, added or altered in any of the tables that hold money makes two of them disagree, or a
table and the trader's state. The trader asks before it goes on, and does not where the answer names a row. A
year of minutes with a hundred thousand trades takes about two seconds of one core.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row

from crypto_tracker.core.errors import LedgerMismatch
from crypto_tracker.core.money import QUOTE_SCALE, to_e8
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.simulation.ledger import trade_group_id
from crypto_tracker.simulation.state import EMPTY, HELD, PortfolioState
from crypto_tracker.store.ledger_tables import (
    FLOW,
    SLACK,
    Books,
    Numbers,
    closed_trades,
    differences,
    float_of,
    in_quote,
    moment,
    table_complaints,
)
from crypto_tracker.store.trading_records import Account

__all__ = ["Numbers", "mismatch", "reconcile"]


def reconcile(
    connection: Connection,
    *,
    account: Account,
    portfolio: PortfolioState,
    cursor_ms: int,
    version: str,
    numbers: Numbers | None = None,
) -> None:
    """Recompute the ledger of `trading.db` from its fills and hold it against the trader's state.

    `cursor_ms` and `version` are those of the state, like `numbers`: the next minute to step, the
    configuration that it is stepped under, and how many setups, fills and trades there are. Reads in the
    connection's transaction and writes nothing.

    Raises
    ------
    LedgerMismatch
        for the first thing that does not fit: a sentence with table, row and both values
    """
    wrong = mismatch(
        connection,
        account=account,
        portfolio=portfolio,
        cursor_ms=cursor_ms,
        version=version,
        numbers=numbers,
    )
    if wrong is not None:
        raise LedgerMismatch(wrong)


def mismatch(
    connection: Connection,
    *,
    account: Account,
    portfolio: PortfolioState,
    cursor_ms: int,
    version: str,
    numbers: Numbers | None = None,
    beside: Connection | None = None,
) -> str | None:
    """The sentence that `reconcile` would raise, None where everything adds up.

    `beside` is a second connection to the same state: tables are then compared with one another through it
    while the rest is compared through the first, on two cores in little more than half the time.
    """
    books = Books(
        connection=connection,
        account=account,
        portfolio=portfolio,
        cursor_ms=cursor_ms,
        version=version,
        numbers=Numbers() if numbers is None else numbers,
    )
    if beside is None or beside is connection:
        complaint = next(_complaints(books), None)
    else:
        with ThreadPoolExecutor(1, thread_name_prefix="ledger") as other:
            later = other.submit(next, _state_complaints(books), None)
            # What is wrong with the state, or can not even be read, is asked only where the tables are sound.
            complaint = next(table_complaints(replace(books, connection=beside)), None) or later.result()
    if complaint is None:
        return None
    file = connection.exec_driver_sql("PRAGMA database_list").first()
    where = "the account's database" if file is None else str(file[2])
    return f"the ledger does not add up: {complaint}: restore {where} from a copy"


def _complaints(books: Books) -> Iterator[str]:
    """Everything that does not fit, in an order in which the later may rely on the earlier."""
    yield from table_complaints(books)
    yield from _state_complaints(books)


def _state_complaints(books: Books) -> Iterator[str]:
    """What does not fit of fills, trades and the trader's state, where the tables fit together."""
    groups: dict[str, Row[Any]] = {}
    yield from closed_trades(books, groups)
    slots: list[_Slot] = []
    yield from _slots(books, slots)
    yield from _positions(books, groups, slots)
    yield from _open_orders(books, slots)
    yield from _money(books)


# --- the state --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    """A slot of the state that is taken, with what it says about itself."""

    column: int
    symbol: str
    strategy: str
    group: str
    version: str
    values: np.void

    @property
    def held(self) -> bool:
        return int(self.values["phase"]) == HELD


def _slots(books: Books, slots: list[_Slot]) -> Iterator[str]:
    """Every slot that is taken goes into `slots`, with the setup that it says it comes from."""
    portfolio, account = books.portfolio, books.account
    taken = np.flatnonzero(portfolio.slots["phase"] != EMPTY).tolist()
    setups: dict[int, Row[Any]] = {
        row.setup_number: row
        for number in (int(portfolio.slots[column]["setup"]) for column in taken)
        for row in books.all("SELECT * FROM setups WHERE setup_number = :number", number=number)
    }
    for column in taken:
        values = portfolio.slots[column]
        symbol, number = str(account.symbols[column]), int(values["setup"])
        strategy = account.strategies[int(values["strategy"])]
        setup = setups.get(number)
        if setup is None:
            yield f"the trader's state says that {symbol} trades setup {number}, `setups` has no such row"
            return
        yield from differences(
            f"setup {number} in `setups`",
            f"the trader's state says for {symbol}",
            [
                ("time_ms", setup.time_ms, int(values["decision_ms"])),
                ("symbol", setup.symbol, symbol),
                ("strategy", setup.strategy, strategy),
                ("verdict", setup.verdict, "TAKE"),
                ("fallback", bool(setup.fallback), bool(values["fallback"])),
            ],
        )
        group = trade_group_id(account.symbols[column], strategy, from_ms(int(values["decision_ms"])))
        slots.append(
            _Slot(
                column=column,
                symbol=symbol,
                strategy=strategy,
                group=group,
                version=setup.version,
                values=values,
            )
        )


def _positions(books: Books, groups: dict[str, Row[Any]], slots: Sequence[_Slot]) -> Iterator[str]:
    """What is held according to the fills, the state and `positions` is the same."""
    held = {slot.group: slot for slot in slots if slot.held}
    for group, sums in groups.items():
        if group not in held:
            yield (
                f"trade {group} in `fills` has {sums.fills} fills, it is neither in `trades` nor held by the "
                "trader's state"
            )
            return
    rows = {row.symbol: row for row in books.all("SELECT * FROM positions")}
    for slot in held.values():
        if slot.group not in groups:
            closed = books.first("SELECT * FROM trades WHERE trade_group_id = :group", group=slot.group)
            where = "`fills` has 0 fills of it" if closed is None else "`trades` says that it was closed"
            yield f"the trader's state holds {slot.group}, {where}"
            return
        yield from _held_fills(slot, groups[slot.group])
        row = rows.pop(slot.symbol, None)
        if row is None:
            yield f"the trader's state holds {slot.group}, `positions` has no row of {slot.symbol}"
            return
        yield from _position(books, slot, row)
    for symbol, row in rows.items():
        yield (
            f"position {symbol} in `positions` says open_quantity {row.open_quantity}, "
            "the trader's state holds 0"
        )
    next_trade = int(books.portfolio.book["next_trade"][0])
    there = books.one("SELECT COUNT(*) AS rows FROM trades").rows + len(groups)
    if there != next_trade:
        yield f"`trades` and `positions` have {there} trades, the trader's state has begun {next_trade}"


def _coins(slot: _Slot) -> tuple[float, float, float]:
    """Coins bought, sold and still held: lots as coins, by what was paid at the average price."""
    values = slot.values
    bought = float(values["cost"]) / float(values["average"])
    coins_per_lot = bought / float(values["bought"])
    return bought, float(values["sold"]) * coins_per_lot, float(values["held"]) * coins_per_lot


def _held_fills(slot: _Slot, sums: Row[Any]) -> Iterator[str]:
    values = slot.values
    name = f"trade {slot.group} in `fills`"
    says = "the trader's state says"
    yield from differences(
        name,
        says,
        [
            ("invested", in_quote(sums.invested), in_quote(values["invested"])),
            ("returned", in_quote(sums.returned), in_quote(values["returned"])),
            ("fees", in_quote(sums.fees), in_quote(values["fees"])),
            ("slippage", in_quote(sums.slippage), in_quote(values["slippage"])),
            ("entry fills", sums.entry_fills, int(values["entry_fills"])),
            ("exit fills", sums.fills - sums.entry_fills, int(values["exit_fills"])),
            ("first fill", sums.first_ms, int(values["first_fill_ms"])),
            ("exit_reason", sums.reason, _reason(values["exit_reason"])),
            ("exit_reason", sums.any_exit_reason, _reason(values["exit_reason"])),
        ],
    )
    if not (values["average"] > 0.0 and values["bought"] > 0.0):
        yield f"{name} has bought {sums.bought!r}, {says} {values['bought']} lots at {values['average']}"
        return
    bought, sold, _ = _coins(slot)
    for what, of_fills, of_state in (
        ("bought", sums.bought, bought),
        ("sold", sums.sold, sold),
    ):
        if abs(of_fills - of_state) > bought * SLACK:
            yield f"{name} has {what} {of_fills!r}, {says} {of_state!r}"


def _position(books: Books, slot: _Slot, row: Row[Any]) -> Iterator[str]:
    values = slot.values
    mark = float(books.portfolio.coins[slot.column]["last_close"])
    bought, sold, held = _coins(slot)
    name, says = f"position {slot.symbol} in `positions`", "the trader's state says"
    for column, said, is_so in (
        ("quantity", row.quantity, bought),
        ("open_quantity", row.open_quantity, held),
    ):
        if not abs(float_of(said) - is_so) <= bought * SLACK:
            yield f"{name} says {column} {said}, {says} {is_so!r}"
    pnl = int(values["returned"] - values["invested"] - values["fees"]) + _worth(row.open_quantity, mark)
    stop = float(values["stop"])
    if values["armed"]:
        stop = max(stop, float(values["trail"]))
    under_way = values["trigger"] if values["trigger"] != ExitReason.NONE else values["request"]
    yield from differences(
        name,
        says,
        [
            ("trade_group_id", row.trade_group_id, slot.group),
            ("strategy", row.strategy, slot.strategy),
            ("decision_ms", row.decision_ms, int(values["decision_ms"])),
            ("entry_ms", row.entry_ms, int(values["first_fill_ms"])),
            ("entry_price", float_of(row.entry_price), float(values["average"])),
            ("invested_quote", in_quote(row.invested_quote), in_quote(values["invested"])),
            ("fee_quote", in_quote(row.fee_quote), in_quote(values["fees"])),
            ("slippage_quote", in_quote(row.slippage_quote), in_quote(values["slippage"])),
            ("pnl_quote", in_quote(row.pnl_quote), in_quote(pnl)),
            ("return_net", row.return_net, pnl / int(values["invested"])),
            ("entry_fills", row.entry_fills, int(values["entry_fills"])),
            ("exit_reason", row.exit_reason, _code(values["exit_reason"])),
            ("ambiguous", bool(row.ambiguous), bool(values["ambiguous"])),
            ("fallback", bool(row.fallback), bool(values["fallback"])),
            ("mark_price", row.mark_price, mark),
            ("stop_price", row.stop_price, stop),
            ("target_price", row.target_price, float(values["target"])),
            ("trailing_armed", bool(row.trailing_armed), bool(values["armed"])),
            ("due_ms", row.due_ms, int(values["first_fill_ms"] + values["max_hold_ms"])),
            ("exit_pending", row.exit_pending, _reason(under_way)),
            ("version", row.version, slot.version),
        ],
    )
    if (row.exit_price is None) != (values["exit_fills"] == 0):
        yield f"{name} says exit_price {row.exit_price}, {says} {int(values['exit_fills'])} exit fills"
    elif row.exit_price is not None:
        average = float(values["proceeds"]) / sold
        if not abs(float_of(row.exit_price) - average) <= average * SLACK:
            yield f"{name} says exit_price {row.exit_price}, {says} {average!r}"


def _open_orders(books: Books, slots: Sequence[_Slot]) -> Iterator[str]:
    """Open orders are the open parts of the state, to the last amount."""
    rows = {
        row.order_id: row
        for row in books.all(
            "SELECT orders.*, (SELECT COALESCE(SUM(notional_quote), 0) FROM fills "
            "WHERE fills.trade_group_id = orders.trade_group_id AND fills.rung = orders.rung "
            "AND fills.kind <> 'exit') AS spent FROM orders WHERE status IN ('open', 'partially_filled')"
        )
    }
    for slot in slots:
        for k in np.flatnonzero(books.portfolio.parts[slot.column]["open"]).tolist():
            part = books.portfolio.parts[slot.column, k]
            order_id = f"{slot.group}/{k}"
            row = rows.pop(order_id, None)
            if row is None:
                status = books.first(
                    "SELECT status FROM orders WHERE order_id = :order_id", order_id=order_id
                )
                says = "has no such row" if status is None else f"says {status.status}"
                yield f"order {order_id} in `orders` {says}, the trader's state has it open"
                return
            price = float(part["price"])
            limit = None if row.limit_price is None else float_of(row.limit_price)
            yield from differences(
                f"order {order_id} in `orders`",
                "the trader's state says",
                [
                    ("quote", in_quote(row.quote), in_quote(slot.values["quote"])),
                    ("what is left to buy", in_quote(row.quote - row.spent), in_quote(part["quote"])),
                    ("limit_price", limit, price if k > 0 and slot.held else None),
                    ("version", row.version, slot.version),
                ],
            )
    for order_id, row in rows.items():
        yield f"order {order_id} in `orders` says {row.status}, the trader's state has no such order open"


def _money(books: Books) -> Iterator[str]:
    """Cash, reserves and equity of the state are those of the last minute and of everything before it."""
    portfolio = books.portfolio
    book, parts = portfolio.book[0], portfolio.parts
    cash, reserved, equity = int(book["cash"]), int(book["reserved"]), int(book["equity"])
    in_parts = int(parts["reserve"][parts["open"]].sum())
    if in_parts != reserved:
        yield (
            f"the parts of orders in the trader's state reserve {in_quote(in_parts)}, "
            f"its book says {in_quote(reserved)}"
        )
    idle = np.flatnonzero((portfolio.slots["phase"] == EMPTY) & parts["open"].any(axis=1))
    if len(idle):
        yield (
            f"the trader's state has no order for {books.account.symbols[idle[0]]}, "
            f"{int(parts['open'][idle[0]].sum())} parts of one are open"
        )
    flow = books.one(f"SELECT COALESCE(SUM({FLOW}), 0) AS total FROM fills")  # noqa: S608 - a constant
    money = to_e8(books.account.capital_quote) + int(flow.total) - reserved
    if cash != money:
        yield (
            f"the trader's state says cash {in_quote(cash)}, capital and `fills` without what is reserved "
            f"add up to {in_quote(money)}"
        )
    row = books.first(
        "SELECT time_ms, cash_quote, reserved_quote, equity_quote FROM minutes ORDER BY time_ms DESC"
    )
    if row is not None:
        yield from differences(
            f"minute {moment(row.time_ms)} in `minutes`",
            "the trader's state says",
            [
                ("cash_quote", in_quote(row.cash_quote), in_quote(cash)),
                ("reserved_quote", in_quote(row.reserved_quote), in_quote(reserved)),
                ("equity_quote", in_quote(row.equity_quote), in_quote(equity)),
            ],
        )
    marks = sum(
        _worth(row.open_quantity, row.mark_price)
        for row in books.all("SELECT open_quantity, mark_price FROM positions")
    )
    if equity != cash + reserved + marks:
        yield (
            f"the trader's state says equity {in_quote(equity)}, its cash and reserves and the marks "
            f"of `positions` add up to {in_quote(cash + reserved + marks)}"
        )


# --- words ---


def _worth(quantity: Any, price: float) -> int:
    """R11: coins at a price in 1e-8 quote, rounded once."""
    return int(np.rint(float(quantity) * price * QUOTE_SCALE))


def _reason(number: Any) -> str | None:
    return None if number == ExitReason.NONE else _code(number)


def _code(number: Any) -> str:
    return ExitReason(int(number)).code
