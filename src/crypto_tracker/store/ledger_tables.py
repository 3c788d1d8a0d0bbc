"""Whether the tables of an account's ledger agree with one another.

Whole tables are compared inside the database, which returns nothing but rows that do not fit. Where floats
stand on one side, the other side may differ by what their rounding explains and no more.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, Row, text

from crypto_tracker.config.versions import VERSION_LENGTH
from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.money import QUOTE_SCALE, to_decimal, to_e8
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, from_ms
from crypto_tracker.simulation.state import PortfolioState
from crypto_tracker.store.trading_records import Account

SLACK = 1e-12  # relative; what adding floats in another order can change
_CONFIGURE = "configure"


class Numbers(NamedTuple):
    """How many rows the trader remembers to have numbered; None of a table that it does not count."""

    setups: int | None = None
    fills: int | None = None
    trades: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What all checks look at."""

    connection: Connection
    account: Account
    portfolio: PortfolioState
    cursor_ms: int
    version: str
    numbers: Numbers

    @property
    def minutes(self) -> int:
        """How many minutes were stepped."""
        return (self.cursor_ms - self.account.start_ms) // MINUTE_MS

    def all(self, query: str, **values: object) -> Sequence[Row[Any]]:
        """All rows of a query that finds few."""
        return self.connection.execute(text(query), values).all()

    def one(self, query: str, **values: object) -> Row[Any]:
        """The one row of a query that adds up."""
        return self.connection.execute(text(query), values).one()

    def first(self, query: str, **values: object) -> Row[Any] | None:
        """The first row that a query for rows which do not fit finds."""
        return self.connection.execute(text(query + " LIMIT 1"), values).first()

    def integers(self, query: str, columns: int) -> IntArray:
        """All rows of a query for whole numbers, (rows, columns), past the objects that SQLAlchemy makes."""
        cursor: Any = self.connection.connection.cursor()
        try:
            cursor.execute(query)
            return np.fromiter(chain.from_iterable(cursor), np.int64).reshape(-1, columns)
        finally:
            cursor.close()


def table_complaints(books: Books) -> Iterator[str]:
    """What does not fit in the tables but trades, in an order in which the later may rely on the earlier."""
    yield from _opening(books)
    yield from _configurations(books)
    yield from _checkpoints(books)
    yield from _numbering(books)
    yield from _single_fills(books)
    yield from _minutes(books)
    yield from _versions(books)
    yield from _setups(books)
    yield from _orders(books)
    yield from _commands(books)


# --- account, trader, configurations ----------------------------------------------------------------


def _opening(books: Books) -> Iterator[str]:
    account, portfolio = books.account, books.portfolio
    rows = books.all(
        "SELECT kind, symbols, reference, providers, strategies, capital_quote, start_ms, end_ms FROM account"
    )
    if len(rows) != 1:
        yield f"`account` has {len(rows)} rows, an account has 1"
        return
    row = rows[0]
    providers = {str(symbol): provider for symbol, provider in account.providers.items()}
    yield from differences(
        "the row of `account`",
        "the account that was opened has",
        [
            ("kind", row.kind, account.kind),
            ("symbols", json.loads(row.symbols), [str(symbol) for symbol in account.symbols]),
            ("reference", row.reference, None if account.reference is None else str(account.reference)),
            ("providers", json.loads(row.providers), providers),
            ("strategies", json.loads(row.strategies), list(account.strategies)),
            ("capital_quote", to_decimal(row.capital_quote), account.capital_quote),
            ("start_ms", row.start_ms, account.start_ms),
            ("end_ms", row.end_ms, account.end_ms),
        ],
    )
    yield from differences(
        "the row of `account`",
        "the trader's state has",
        [
            ("the number of symbols", len(account.symbols), len(portfolio.slots)),
            ("the number of strategies", len(account.strategies), len(portfolio.strategies)),
        ],
    )
    rows = books.all("SELECT cursor_ms, version FROM trader")
    if len(rows) != 1:
        yield f"`trader` has {len(rows)} rows, an account has 1"
        return
    yield from differences(
        "the row of `trader`",
        "the trader's state says",
        [
            ("cursor_ms", rows[0].cursor_ms, books.cursor_ms),
            ("version", rows[0].version, books.version),
        ],
    )
    if books.cursor_ms < account.start_ms or (books.cursor_ms - account.start_ms) % MINUTE_MS:
        yield (
            f"the row of `trader` says cursor_ms {books.cursor_ms}, no whole number of minutes after "
            f"start_ms {account.start_ms} in `account`"
        )


def _configurations(books: Books) -> Iterator[str]:
    for row in books.all("SELECT version, canonical, document FROM configurations"):
        name = f"configuration {row.version} in `configurations`"
        digest = hashlib.sha256(row.canonical.encode()).hexdigest()[:VERSION_LENGTH]
        if digest != row.version:
            yield f"{name} says version {row.version}, its canonical values hash to {digest}"
            return
        canonical, document = _parsed(row.canonical), _parsed(row.document)
        place = "the whole" if canonical is None or document is None else _missing(canonical, document)
        if place is not None:
            yield f"{name} has another document than its canonical values: they differ in {place}"


def _parsed(document: str) -> Any | None:
    try:
        return json.loads(document)
    except json.JSONDecodeError:
        return None


def _missing(part: Any, whole: Any, place: str = "") -> str | None:
    """Where `whole` lacks what `part` holds, None where it holds it all."""
    if isinstance(part, dict) and isinstance(whole, dict):
        for key, value in part.items():
            inner = f"{place}.{key}" if place else str(key)
            missing = _missing(value, whole[key], inner) if key in whole else inner
            if missing is not None:
                return missing
        return None
    return None if part == whole else place or "the whole"


def _checkpoints(books: Books) -> Iterator[str]:
    start_ms = books.account.start_ms
    first_day_ms = start_ms - start_ms % DAY_MS + DAY_MS
    due = [start_ms, *range(first_day_ms, books.cursor_ms, DAY_MS)] if books.minutes else []
    there = {
        row.time_ms: row.length
        for row in books.all("SELECT time_ms, LENGTH(state) AS length FROM checkpoints")
    }
    # An opening may write the first one before the first minute is stepped.
    for time_ms in sorted(set(due) ^ (there.keys() - ({start_ms} if not books.minutes else set()))):
        has = "no row for" if time_ms in due else "a row for"
        rule = "is due one" if time_ms in due else "is due none"
        yield f"`checkpoints` has {has} {moment(time_ms)}, which {rule}"
    for time_ms, length in there.items():
        if not length:
            yield f"checkpoint {moment(time_ms)} in `checkpoints` has 0 bytes of state, a state has more"


# --- numbers, fills, minutes ------------------------------------------------------------------------


def _numbering(books: Books) -> Iterator[str]:
    """Setups, fills and trades are counted from 0 without a gap, setups and trades in the order of time."""
    for table, row_name, number, time, known in (
        ("setups", "setup", "setup_number", "time_ms", books.numbers.setups),
        ("fills", "fill", "sequence", "bar_open_ms", books.numbers.fills),
        ("trades", "trade", "trade_number", "exit_ms", books.numbers.trades),
    ):
        # Numbers are unique: as many as the highest says, from 0 on, have no gap.
        span = f"COALESCE(MIN({number}), 0) AS lowest, COALESCE(MAX({number}), -1) AS highest"
        there = books.one(f"SELECT COUNT({number}) AS rows, {span} FROM {table}")  # noqa: S608 - from above
        ordered = f"FROM {table} WHERE {number} IS NOT NULL ORDER BY {number}"
        if there.lowest != 0 or there.highest != there.rows - 1:
            numbers = books.integers(f"SELECT {number} {ordered}", 1)[:, 0]
            gap = int(np.flatnonzero(numbers != np.arange(len(numbers)))[0])
            yield f"{row_name} {numbers[gap]} in `{table}` stands where {number} {gap} belongs"
        if known is not None and there.rows != known:
            yield f"`{table}` has numbered rows up to {there.highest}, the trader's state up to {known - 1}"
        if table != "fills":  # whose times are read with their money, in `_minutes`
            times = books.integers(f"SELECT {time} {ordered}", 1)[:, 0]
            yield from _not_in_order(f"{row_name} {{}} in `{table}` says {time}", times)


def _not_in_order(row: str, times: IntArray) -> Iterator[str]:
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        at = int(back[0])
        yield f"{row.format(at + 1)} {times[at + 1]}, the one before it {times[at]}"


_FILL_WRONG = """
    SELECT sequence, trade_group_id, symbol, strategy, kind, rung, bar_open_ms, price, quantity, exit_reason,
           notional_quote, fee_quote, slippage_quote
    FROM fills
    WHERE ABS(CAST(quantity AS DOUBLE PRECISION) * CAST(price AS DOUBLE PRECISION) * 1e8 - notional_quote)
            > 0.5 + notional_quote * 1e-15
       OR NOT (CAST(quantity AS DOUBLE PRECISION) > 0.0) OR NOT (CAST(price AS DOUBLE PRECISION) >= 0.0)
       OR fee_quote < 0 OR slippage_quote < 0
       OR (kind = 'exit') = (exit_reason = 'none')
       OR (kind = 'rung') <> (rung > 0)
       OR bar_open_ms < :start_ms OR bar_open_ms >= :cursor_ms
       OR SUBSTR(trade_group_id, 1, LENGTH(symbol) + LENGTH(strategy) + 2) <> symbol || '-' || strategy || '-'
"""


def _single_fills(books: Books) -> Iterator[str]:
    """R11: every fill by itself. The half unit is what rounding once allows."""
    start_ms, cursor_ms = books.account.start_ms, books.cursor_ms
    row = books.first(_FILL_WRONG, start_ms=start_ms, cursor_ms=cursor_ms)
    if row is None:
        return
    name = f"fill {row.sequence} in `fills`"
    amount = float_of(row.quantity) * float_of(row.price) * QUOTE_SCALE
    if not abs(amount - row.notional_quote) <= 0.5 + row.notional_quote * 1e-15:
        yield (
            f"{name} says notional_quote {in_quote(row.notional_quote)}, "
            f"its price {row.price} x quantity {row.quantity} is {amount / QUOTE_SCALE:.8f}"
        )
    elif not start_ms <= row.bar_open_ms < cursor_ms:
        yield (
            f"{name} says {moment(row.bar_open_ms)}, the account was stepped from {moment(start_ms)} "
            f"to {moment(cursor_ms)}"
        )
    elif not row.trade_group_id.startswith(f"{row.symbol}-{row.strategy}-"):
        yield (
            f"{name} says symbol {row.symbol} and strategy {row.strategy}, "
            f"its trade_group_id is {row.trade_group_id}"
        )
    else:
        yield (
            f"{name} contradicts itself: kind {row.kind}, rung {row.rung}, exit_reason {row.exit_reason}, "
            f"quantity {row.quantity}, fee_quote {in_quote(row.fee_quote)}, "
            f"slippage_quote {in_quote(row.slippage_quote)}"
        )


FLOW = "CASE kind WHEN 'exit' THEN notional_quote - fee_quote ELSE -notional_quote - fee_quote END"


def _minutes(books: Books) -> Iterator[str]:
    """No minute is missing, and cash and reserves of each are the capital and what fills did to it."""
    start_ms = books.account.start_ms
    due = start_ms + MINUTE_MS * np.arange(books.minutes, dtype=np.int64)
    there = books.one(
        "SELECT COUNT(*) AS rows, COALESCE(MIN(time_ms), :start_ms) AS first_ms, MAX(time_ms) AS last_ms, "
        "COUNT(CASE WHEN (time_ms - :start_ms) % :minute_ms <> 0 THEN 1 END) AS odd FROM minutes",
        start_ms=start_ms,
        minute_ms=MINUTE_MS,
    )
    last_ms = books.cursor_ms - MINUTE_MS if len(due) else None
    if (there.rows, there.first_ms, there.last_ms, there.odd) != (len(due), start_ms, last_ms, 0):
        yield _hole(books, due)
        return
    said = books.integers("SELECT cash_quote + reserved_quote FROM minutes ORDER BY time_ms", 1)[:, 0]
    fills = books.integers(f"SELECT bar_open_ms, {FLOW} FROM fills ORDER BY sequence", 2)  # noqa: S608 - a constant
    yield from _not_in_order("fill {} in `fills` says bar_open_ms", fills[:, 0])
    through = np.searchsorted(fills[:, 0], due, side="right")
    money = to_e8(books.account.capital_quote) + np.concatenate([[0], np.cumsum(fills[:, 1])])[through]
    wrong = np.flatnonzero(said != money)
    if len(wrong):
        at = wrong[0]
        yield (
            f"minute {moment(due[at])} in `minutes` says cash_quote and reserved_quote are together "
            f"{in_quote(said[at])}, capital and `fills` add up to {in_quote(money[at])}"
        )
    row = books.first(
        "SELECT time_ms, equity_quote, cash_quote, reserved_quote FROM minutes "
        "WHERE equity_quote < cash_quote + reserved_quote OR reserved_quote < 0 ORDER BY time_ms"
    )
    if row is not None:
        yield (
            f"minute {moment(row.time_ms)} in `minutes` says equity_quote {in_quote(row.equity_quote)}, "
            f"cash_quote {in_quote(row.cash_quote)} and reserved_quote {in_quote(row.reserved_quote)}: "
            "positions and reserves can not be worth less than nothing"
        )


def _hole(books: Books, due: IntArray) -> str:
    """Where the minutes are not one after the other from the start to the cursor."""
    times = books.integers("SELECT time_ms FROM minutes ORDER BY time_ms", 1)[:, 0]
    both = min(len(times), len(due))
    holes = np.flatnonzero(times[:both] != due[:both])
    if len(holes):
        found, expected = int(times[holes[0]]), int(due[holes[0]])
        return (
            f"minute {moment(found)} in `minutes` (time_ms {found}) stands where {moment(expected)} belongs"
        )
    last = moment(times[-1]) if len(times) else "none"
    return (
        f"the last minute in `minutes` is {last} of {len(times)}, the cursor in `trader` is "
        f"{moment(books.cursor_ms)} and asks for {len(due)}"
    )


def _versions(books: Books) -> Iterator[str]:
    """Every row carries the configuration that was in force: from the start, or from a `configure` on."""
    start_ms, cursor_ms = books.account.start_ms, books.cursor_ms
    first_ms = {
        row.version: row.first_ms for row in books.all("SELECT version, first_ms FROM configurations")
    }
    switches = {
        row.time_ms: row.value
        for row in books.all(
            "SELECT time_ms, value FROM commands_applied WHERE kind = :kind ORDER BY time_ms, sequence",
            kind=_CONFIGURE,
        )
    }
    # A configuration that took the place of the first before the first minute has its first minute as well.
    changed_at_once = switches.get(start_ms)
    opened_with = [
        name for name, time_ms in first_ms.items() if time_ms == start_ms and name != changed_at_once
    ]
    if len(opened_with) != 1:
        yield (
            f"`configurations` has {len(opened_with)} rows with first_ms {start_ms}, the account's start: "
            "it was opened with 1"
        )
        return
    switches.setdefault(start_ms, opened_with[0])
    times = sorted(switches)
    firsts: dict[str, int] = {opened_with[0]: start_ms}
    for time_ms, end_ms in zip(times, [*times[1:], cursor_ms], strict=True):
        version = switches[time_ms]
        firsts.setdefault(version, time_ms)
        span = {"start_ms": time_ms, "end_ms": end_ms, "version": version}
        for table, condition in (
            ("minutes", "time_ms >= :start_ms AND time_ms < :end_ms"),
            ("setups", "time_ms > :start_ms AND time_ms <= :end_ms"),
        ):
            row = books.first(
                f"SELECT * FROM {table} WHERE {condition} AND version <> :version ORDER BY time_ms",  # noqa: S608 - from above
                **span,
            )
            if row is not None:
                name = f"minute {moment(row.time_ms)}" if table == "minutes" else setup_name(row)
                yield (
                    f"{name} in `{table}` says version {row.version}, "
                    f"{version} was in force by `commands_applied`"
                )
    yield from differences(
        "the row of `trader`", "the last change was to", [("version", books.version, switches[times[-1]])]
    )
    for version in sorted(firsts.keys() | first_ms.keys()):
        yield from differences(
            f"configuration {version} in `configurations`",
            "`commands_applied` says",
            [("first_ms", first_ms.get(version), firsts.get(version))],
        )


# --- setups, orders, commands -----------------------------------------------------------------------


def _setups(books: Books) -> Iterator[str]:
    row = books.first(
        "SELECT * FROM setups WHERE (verdict = 'NEAR_MISS') <> (setup_number IS NULL) "
        "OR (verdict = 'TAKE') <> (reason = 'accepted') OR time_ms <= :start_ms OR time_ms > :cursor_ms",
        start_ms=books.account.start_ms,
        cursor_ms=books.cursor_ms,
    )
    if row is not None:
        yield (
            f"{setup_name(row)} in `setups` contradicts itself: verdict {row.verdict}, reason {row.reason}, "
            f"setup_number {row.setup_number}, decided {moment(row.time_ms)}"
        )
    row = books.first(
        "SELECT time_ms, symbol, strategy FROM setups WHERE verdict = 'TAKE' "
        "EXCEPT SELECT placed_ms, symbol, strategy FROM orders WHERE rung = 0"
    )
    if row is not None:
        yield f"{setup_name(row)} in `setups` says verdict TAKE, `orders` has 0 orders of it"


_LADDER = """
    SELECT o.*, s.verdict AS setup_verdict, s.version AS setup_version
    FROM orders AS o LEFT JOIN setups AS s
      ON s.time_ms = o.placed_ms AND s.symbol = o.symbol AND s.strategy = o.strategy
    WHERE o.rung = 0 AND (
        s.verdict IS NULL OR s.verdict <> 'TAKE' OR s.version <> o.version
        OR o.order_id <> o.trade_group_id || '/0'
        OR SUBSTR(o.trade_group_id, 1, LENGTH(o.symbol) + LENGTH(o.strategy) + 2)
            <> o.symbol || '-' || o.strategy || '-')
"""
_LADDERS = """
    SELECT trade_group_id FROM orders GROUP BY trade_group_id
    HAVING COUNT(*) <> MAX(rung) + 1 OR MIN(rung) <> 0 OR MIN(quote) <> MAX(quote)
        OR MIN(placed_ms) <> MAX(placed_ms) OR MIN(version) <> MAX(version)
        OR MIN(symbol) <> MAX(symbol) OR MIN(strategy) <> MAX(strategy)
"""
_ENDED = """
    SELECT * FROM orders
    WHERE order_id <> trade_group_id || '/' || CAST(rung AS VARCHAR)
       OR (status = 'filled' AND reason IS NOT NULL)
       OR (status = 'expired' AND reason IS NULL)
       OR (status = 'cancelled' AND reason IS NULL AND NOT EXISTS (
            SELECT 1 FROM fills WHERE fills.trade_group_id = orders.trade_group_id AND fills.kind = 'exit'
            AND fills.bar_open_ms = ended_ms - :minute_ms))
       OR ended_ms > :cursor_ms OR ended_ms < placed_ms
       OR (status = 'filled' AND NOT EXISTS (
            SELECT 1 FROM fills WHERE fills.trade_group_id = orders.trade_group_id
            AND fills.rung = orders.rung AND fills.kind <> 'exit'
            AND fills.bar_open_ms = ended_ms - :minute_ms))
"""


def _orders(books: Books) -> Iterator[str]:
    row = books.first(_LADDER)
    if row is not None:
        name = f"order {row.order_id} in `orders`"
        if row.setup_verdict is None:
            yield (
                f"{name} says placed_ms {row.placed_ms} for {row.symbol} and {row.strategy}, "
                "`setups` has 0 setups of it"
            )
        elif row.setup_verdict != "TAKE":
            yield f"{name} was placed, its row in `setups` says verdict {row.setup_verdict}"
        elif row.setup_version != row.version:
            yield f"{name} says version {row.version}, its row in `setups` {row.setup_version}"
        else:
            yield f"{name} says trade {row.trade_group_id}, symbol {row.symbol}, strategy {row.strategy}"
    row = books.first(_LADDERS)
    if row is not None:
        yield from _ladder(books, row.trade_group_id)
    row = books.first(_ENDED, minute_ms=MINUTE_MS, cursor_ms=books.cursor_ms)
    if row is not None:
        fills = books.one(
            "SELECT COUNT(*) AS rows, MAX(bar_open_ms) AS last_ms FROM fills "
            "WHERE trade_group_id = :group AND rung = :rung AND kind <> 'exit'",
            group=row.trade_group_id,
            rung=row.rung,
        )
        yield (
            f"order {row.order_id} in `orders` says rung {row.rung} of {row.trade_group_id}, {row.status}, "
            f"reason {word(row.reason)}, ended_ms {word(row.ended_ms)}: `fills` has {fills.rows} of it, "
            f"the last in the minute {word(fills.last_ms)}"
        )


def _ladder(books: Books, group: str) -> Iterator[str]:
    rows = books.all(
        "SELECT * FROM orders WHERE trade_group_id = :group ORDER BY rung, order_id", group=group
    )
    for number, row in enumerate(rows):
        if row.rung != number:
            yield f"order {row.order_id} in `orders` says rung {row.rung}, the next of {group} is {number}"
    for above, row in pairwise(rows):
        yield from differences(
            f"order {row.order_id} in `orders`",
            f"{above.order_id} says",
            [
                (column, getattr(row, column), getattr(above, column))
                for column in ("quote", "placed_ms", "version", "symbol", "strategy")
            ],
        )


def _commands(books: Books) -> Iterator[str]:
    row = books.first(
        "SELECT a.*, r.status, r.time_ms AS answered_ms FROM commands_applied AS a "
        "LEFT JOIN command_results AS r ON r.command_id = a.command_id WHERE a.command_id IS NOT NULL AND "
        "(r.status IS NULL OR r.status <> 'applied' OR r.time_ms <> a.time_ms)"
    )
    if row is not None:
        says = "no answer" if row.status is None else f"{row.status} before {moment(row.answered_ms)}"
        yield (
            f"command {row.command_id} in `commands_applied` acted before {moment(row.time_ms)}, "
            f"`command_results` has {says}"
        )
    row = books.first(
        "SELECT * FROM command_results AS r WHERE r.status = 'applied' AND NOT EXISTS "
        "(SELECT 1 FROM commands_applied AS a WHERE a.command_id = r.command_id)"
    )
    if row is not None:
        yield f"command {row.command_id} in `command_results` was applied, `commands_applied` has none of it"
    row = books.first(
        "SELECT time_ms, COUNT(*) AS rows_there, MAX(sequence) + 1 AS rows_counted FROM commands_applied "
        "GROUP BY time_ms HAVING COUNT(*) <> MAX(sequence) + 1 OR MIN(sequence) <> 0 "
        "OR time_ms < :start_ms OR time_ms >= :cursor_ms",
        start_ms=books.account.start_ms,
        cursor_ms=books.cursor_ms,
    )
    if row is not None:
        yield (
            f"minute {moment(row.time_ms)} in `commands_applied` has {row.rows_there} commands, "
            f"their numbers count {row.rows_counted} and the account was stepped from "
            f"{moment(books.account.start_ms)} to {moment(books.cursor_ms)}"
        )


# --- trades -----------------------------------------------------------------------------------------

# Fills of a group are bought before they are sold. What the trade says in floats is held against amounts that
# were rounded once for each fill, hence the numbers of fills as tolerance.
_GROUPS = """
    WITH sums AS (
        SELECT trade_group_id,
               SUM(CASE kind WHEN 'exit' THEN 0 ELSE notional_quote END) AS invested,
               SUM(CASE kind WHEN 'exit' THEN notional_quote ELSE 0 END) AS returned,
               SUM(fee_quote) AS fees,
               SUM(slippage_quote) AS slippage,
               SUM(CASE kind WHEN 'exit' THEN 0.0 ELSE CAST(quantity AS DOUBLE PRECISION) END) AS bought,
               SUM(CASE kind WHEN 'exit' THEN CAST(quantity AS DOUBLE PRECISION) ELSE 0.0 END) AS sold,
               SUM(CASE kind WHEN 'exit' THEN 0 ELSE 1 END) AS entry_fills,
               COUNT(*) AS fills,
               MIN(bar_open_ms) AS first_ms,
               MAX(bar_open_ms) AS last_ms,
               MIN(NULLIF(exit_reason, 'none')) AS reason,
               MAX(NULLIF(exit_reason, 'none')) AS any_exit_reason
        FROM fills GROUP BY trade_group_id)
    SELECT sums.*, t.trade_number, t.entry_ms, t.exit_ms, t.entry_price, t.exit_price, t.quantity,
           t.invested_quote, t.fee_quote, t.slippage_quote, t.pnl_quote, t.return_net, t.exit_reason,
           t.entry_fills AS entry_fills_said
    FROM sums LEFT JOIN trades AS t ON t.trade_group_id = sums.trade_group_id
    WHERE t.trade_number IS NULL
       OR t.invested_quote <> invested OR t.fee_quote <> fees OR t.slippage_quote <> slippage
       OR t.pnl_quote <> returned - invested - fees
       OR t.entry_fills <> sums.entry_fills OR t.entry_ms <> first_ms OR t.exit_ms <> last_ms
       OR reason IS NULL OR t.exit_reason <> reason OR t.exit_reason <> any_exit_reason
       OR ABS(bought - sold) > bought * 1e-12
       OR ABS(CAST(t.quantity AS DOUBLE PRECISION) - bought) > bought * 1e-12
       OR NOT (ABS(CAST(t.entry_price AS DOUBLE PRECISION) * bought * 1e8 - invested) <= fills)
       OR NOT (ABS(CAST(t.exit_price AS DOUBLE PRECISION) * bought * 1e8 - returned) <= fills)
       OR NOT (ABS(t.return_net - CAST(t.pnl_quote AS DOUBLE PRECISION) / invested) <= 1e-12)
"""
_TRADE_ORDER = """
    SELECT t.*, o.placed_ms, o.version AS order_version, s.fallback AS setup_fallback
    FROM trades AS t
    LEFT JOIN orders AS o ON o.order_id = t.trade_group_id || '/0'
    LEFT JOIN setups AS s ON s.time_ms = o.placed_ms AND s.symbol = o.symbol AND s.strategy = o.strategy
    WHERE o.order_id IS NULL OR s.symbol IS NULL OR o.placed_ms <> t.decision_ms OR o.version <> t.version
       OR o.symbol <> t.symbol OR o.strategy <> t.strategy OR s.fallback <> t.fallback
"""


def closed_trades(books: Books, groups: dict[str, Row[Any]]) -> Iterator[str]:
    """Every closed trade is the sum of its fills; groups of fills that are not closed go into `groups`."""
    room = len(books.portfolio.slots) + 1  # there can be no more open groups than symbols
    for row in books.connection.execute(text(_GROUPS + " LIMIT :room"), {"room": room}):
        if row.trade_number is None:
            groups[row.trade_group_id] = row
        else:
            yield from _trade(row)
    row_without = books.first(
        "SELECT * FROM trades WHERE NOT EXISTS "
        "(SELECT 1 FROM fills WHERE fills.trade_group_id = trades.trade_group_id)"
    )
    if row_without is not None:
        yield (
            f"trade {row_without.trade_group_id} in `trades` says invested_quote "
            f"{in_quote(row_without.invested_quote)}, `fills` has 0 fills of it"
        )
    row_order = books.first(_TRADE_ORDER)
    if row_order is not None:
        name = f"trade {row_order.trade_group_id} in `trades`"
        if row_order.placed_ms is None:
            yield f"{name} was decided {moment(row_order.decision_ms)}, `orders` has 0 orders of it"
        yield from differences(
            name,
            "`orders` and `setups` say",
            [
                ("decision_ms", row_order.decision_ms, row_order.placed_ms),
                ("version", row_order.version, row_order.order_version),
                ("fallback", row_order.fallback, row_order.setup_fallback),
            ],
        )
        yield f"{name} says symbol {row_order.symbol} and strategy {row_order.strategy}, `orders` says others"


def _trade(row: Row[Any]) -> Iterator[str]:
    name = f"trade {row.trade_group_id} in `trades`"
    yield from differences(
        name,
        "its `fills` add up to",
        [
            ("invested_quote", in_quote(row.invested_quote), in_quote(row.invested)),
            ("fee_quote", in_quote(row.fee_quote), in_quote(row.fees)),
            ("slippage_quote", in_quote(row.slippage_quote), in_quote(row.slippage)),
            ("pnl_quote", in_quote(row.pnl_quote), in_quote(row.returned - row.invested - row.fees)),
        ],
    )
    yield from differences(
        name,
        "its `fills` say",
        [
            ("entry_fills", row.entry_fills_said, row.entry_fills),
            ("entry_ms", row.entry_ms, row.first_ms),
            ("exit_ms", row.exit_ms, row.last_ms),
            ("exit_reason", row.exit_reason, row.reason),
        ],
    )
    if row.reason != row.any_exit_reason:
        yield f"{name} says {row.exit_reason}, its `fills` say {row.reason} and {row.any_exit_reason}"
    if abs(row.bought - row.sold) > row.bought * SLACK:
        yield f"{name} is closed, its `fills` bought {row.bought!r} and sold {row.sold!r}"
    if not abs(float_of(row.quantity) - row.bought) <= row.bought * SLACK:
        yield f"{name} says quantity {row.quantity}, its `fills` add up to {row.bought!r}"
    average, exit_average = (value / QUOTE_SCALE / row.bought for value in (row.invested, row.returned))
    for column, price, mean in (
        ("entry_price", row.entry_price, average),
        ("exit_price", row.exit_price, exit_average),
    ):
        if not abs(float_of(price) - mean) * row.bought * QUOTE_SCALE <= row.fills:
            yield f"{name} says {column} {price}, the average of its `fills` is {mean!r}"
    yield f"{name} says return_net {row.return_net}, its `fills` come to {row.pnl_quote / row.invested!r}"


# --- words ------------------------------------------------------------------------------------------


def differences(row: str, source: str, columns: Sequence[tuple[str, object, object]]) -> Iterator[str]:
    """A sentence for each column whose two values differ; all of it is about one row."""
    for column, said, is_so in columns:
        if said != is_so:
            yield f"{row} says {column} {word(said)}, {source} {word(is_so)}"


def word(value: object) -> str:
    """A value in a sentence."""
    return "none" if value is None else str(value)


def float_of(decimal: str) -> float:
    """A stored decimal as the float that the simulator had, NaN where it is none."""
    try:
        return float(decimal)
    except ValueError:
        return math.nan


def in_quote(value_e8: int | np.integer[Any]) -> str:
    """An amount as people write it, with all digits that it has and at least two."""
    whole, _, fraction = format(to_decimal(int(value_e8)), "f").partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def setup_name(row: Row[Any]) -> str:
    """How a sentence calls a row of `setups`."""
    return f"setup {row.symbol} {row.strategy} {moment(row.time_ms)}"


def moment(time_ms: int | np.integer[Any]) -> str:
    """A market time in a sentence."""
    return f"{from_ms(int(time_ms)):%Y-%m-%d %H:%M} UTC"
