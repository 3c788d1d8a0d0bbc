"""Ledgers of any size, worked out from the rules of docs/simulator.md and written by plain statements.

Nothing here calls the code that checks ledgers. The market is the simplest that fills every kind of order:
a symbol takes one trade after the other, each with a market part and two rungs of `QUOTE` each.

    minute of the trade   0 decided   1 market part   3, 4 rung 1 in two parts   5 rung 2   6, 9 exits

Every second trade buys its first rung, every fourth its second, every third sells in two parts. At the end
a third of the symbols has an order that waits, a third is held with rungs that rest, and a third is half sold.
"""

import hashlib
import json
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection

from crypto_tracker.core.arrays import BoolArray, FloatArray, IntArray
from crypto_tracker.core.money import to_decimal
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from crypto_tracker.simulation.state import HELD, PENDING, PortfolioState
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.trading_records import Account
from crypto_tracker.store.trading_tables import metadata

START_MS = 1_756_764_000_000  # 2025-09-01 22:00 UTC
CAPITAL = 1_000_000_00000000
QUOTE = 100_00000000  # of each part, 1e-8 quote
FEE = 0.003
RESERVE = QUOTE + 30_000_000  # and the fee on it
LEVELS, LOTS_PER_COIN, TICKS_PER_QUOTE = 3, 1000.0, 100.0
TAKE_PROFIT, STOP_LOSS, HOLD_MS = 0.04, 0.08, 48 * HOUR_MS
CLOSED, WAITING, RESTING, HALF_SOLD = 0, 1, 2, 3
STRATEGIES = ("dca", "swing")
ENTRY_AT, RUNG_1_AT, RUNG_1_REST_AT, RUNG_2_AT, EXIT_AT, EXIT_REST_AT = 1, 3, 4, 5, 6, 9
ROOM = 12  # minutes that a trade needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """An account's records and the state that belongs to them. `rows` holds columns and rows by table."""

    account: Account
    portfolio: PortfolioState
    cursor_ms: int
    version: str
    setups: int
    fills: int
    trades: int
    rows: dict[str, tuple[list[str], list[tuple[Any, ...]]]]

    def write(self, path: Path) -> None:
        """Make the file with its tables and write everything in one transaction."""
        engine = open_engine(path)
        try:
            with engine.begin() as connection:
                metadata.create_all(connection)
                for table, (columns, rows) in self.rows.items():
                    _insert(connection, table, columns, rows)
        finally:
            engine.dispose()


def _insert(connection: Connection, table: str, columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    if rows:
        places = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)


@dataclass(slots=True, kw_only=True, eq=False)
class _Leg:
    """One fill of many trades: what every trade that has it buys or sells then."""

    kind: str
    rung: int
    there: BoolArray  # which trades have it
    minute: IntArray
    lots: IntArray
    ticks: IntArray
    slipped: bool
    coins: FloatArray = field(init=False)
    price: FloatArray = field(init=False)
    notional: IntArray = field(init=False)
    fee: IntArray = field(init=False)
    slippage: IntArray = field(init=False)

    def __post_init__(self) -> None:
        self.lots = np.where(self.there, self.lots, 0)
        self.coins = self.lots / LOTS_PER_COIN
        self.price = self.ticks / TICKS_PER_QUOTE
        self.notional = _rint(self.coins * self.price * 1e8)
        self.fee = _rint(self.coins * self.price * FEE * 1e8)
        raw = (self.ticks + (1 if self.kind == "exit" else -1)) / TICKS_PER_QUOTE
        self.slippage = _rint(self.coins * np.abs(self.price - raw) * 1e8) if self.slipped else 0 * self.lots


def _rint(values: Any) -> IntArray:
    return np.rint(values).astype(np.int64)


def make_ledger(trades: int = 12, *, symbols: int = 6, minutes: int = 360, seed: int = 1) -> Ledger:
    """A sound ledger of `trades` closed trades, a multiple of `symbols`, over `minutes` minutes."""
    rounds = trades // symbols
    length = minutes // (rounds + 1)
    if trades % symbols or length < ROOM:
        raise ValueError("the trades must fill whole rounds of at least 12 minutes")
    names = [f"C{number:03d}/USD" for number in range(symbols)]
    rng = np.random.default_rng(seed)

    # --- the trades: one row each, those of the last round stay open ----------------------------
    i = np.arange(trades + symbols)
    s, last = i % symbols, i // symbols == rounds
    mode = np.where(last, 1 + s % 3, CLOSED)
    decided = np.where(
        mode == WAITING, minutes - 1, i // symbols * length + s % 2
    )  # the minute it closes with
    strategy = (i // symbols + s) % 2
    group = _groups(names, s, strategy, decided)
    first = rng.integers(5_000, 90_000, len(i))
    up = rng.integers(-250, 650, len(i))  # of the exits, hundredths of a percent
    bought = mode != WAITING
    second = (i % 2 == 0) & bought | (mode == RESTING)
    third = (i % 4 == 0) & (mode == CLOSED)
    sold = (mode == CLOSED) | (mode == HALF_SOLD)
    twice = (i % 3 == 0) | (mode == HALF_SOLD)
    lots = [_lots(first * (100 - k) // 100) for k in range(LEVELS)]
    half = lots[1] // 2
    legs = [
        _Leg(
            kind="entry",
            rung=0,
            there=bought,
            minute=decided + ENTRY_AT,
            lots=lots[0],
            ticks=first,
            slipped=True,
        ),
        _Leg(
            kind="rung",
            rung=1,
            there=second,
            minute=decided + RUNG_1_AT,
            lots=half,
            ticks=first * 99 // 100,
            slipped=False,
        ),
        _Leg(
            kind="rung",
            rung=1,
            there=second & (mode != RESTING),
            minute=decided + RUNG_1_REST_AT,
            lots=lots[1] - half,
            ticks=first * 99 // 100,
            slipped=False,
        ),
        _Leg(
            kind="rung",
            rung=2,
            there=third,
            minute=decided + RUNG_2_AT,
            lots=lots[2],
            ticks=first * 98 // 100,
            slipped=False,
        ),
    ]
    in_all = sum(leg.lots for leg in legs)
    part = np.where(twice, in_all // 2, in_all)
    out = first * (10_000 + up) // 10_000
    legs += [
        _Leg(kind="exit", rung=0, there=sold, minute=decided + EXIT_AT, lots=part, ticks=out, slipped=True),
        _Leg(
            kind="exit",
            rung=0,
            there=twice & (mode == CLOSED),
            minute=decided + EXIT_REST_AT,
            lots=in_all - part,
            ticks=out - 3,
            slipped=True,
        ),
    ]
    held = in_all - legs[4].lots - legs[5].lots
    reason = np.where(up > 0, "take_profit", "stop_loss")
    reason = np.where(mode == HALF_SOLD, "time_exit", reason)

    totals = _Totals.of(legs)
    reserves = _reserves(legs, mode)
    cash, reserved, equity = _money(legs, mode, decided, first, reserves, minutes)

    # --- the tables -----------------------------------------------------------------------------
    times = START_MS + MINUTE_MS * np.arange(minutes)
    cursor_ms = START_MS + MINUTE_MS * minutes
    switched = minutes // 2  # the first minute under the second configuration
    configurations = [_configuration(0, START_MS), _configuration(1, START_MS + switched * MINUTE_MS)]
    versions = [row[0] for row in configurations]
    version = np.where(decided < switched, versions[0], versions[1])
    decision_ms = START_MS + (decided + 1) * MINUTE_MS
    setup_rows, numbers = _setups(names, s, strategy, decision_ms, version, cursor_ms)
    who = np.array(names)[s], np.array(STRATEGIES)[strategy]

    rows: dict[str, tuple[list[str], list[tuple[Any, ...]]]] = {}
    rows["configurations"] = ["version", "canonical", "document", "first_ms"], configurations
    rows["account"] = (
        [
            "account_id",
            "kind",
            "symbols",
            "reference",
            "providers",
            "strategies",
            "capital_quote",
            "start_ms",
            "end_ms",
            "created_at_ms",
            "code_version",
        ],
        [
            (
                1,
                "paper",
                json.dumps(names),
                names[0],
                json.dumps(dict.fromkeys(names, "binance")),
                json.dumps(STRATEGIES),
                CAPITAL,
                START_MS,
                None,
                START_MS,
                "1",
            )
        ],
    )
    rows["trader"] = ["trader_id", "cursor_ms", "version", "state"], [(1, cursor_ms, versions[1], b"state")]
    days = range(START_MS - START_MS % DAY_MS + DAY_MS, cursor_ms, DAY_MS)
    rows["checkpoints"] = (
        ["time_ms", "version", "state"],
        [(time, versions[int(time >= configurations[1][3])], b"state") for time in (START_MS, *days)],
    )
    rows["minutes"] = (
        [
            "time_ms",
            "version",
            "seen",
            "bars_digest",
            "equity_quote",
            "cash_quote",
            "reserved_quote",
            "regime",
            "volatility",
            "recorded_at_ms",
            "digest",
        ],
        [
            (
                time,
                versions[int(n >= switched)],
                b"s" * 24,
                b"d" * 8,
                e,
                c,
                r,
                "normal",
                None,
                time,
                b"x" * 16,
            )
            for n, (time, e, c, r) in enumerate(
                zip(times.tolist(), equity.tolist(), cash.tolist(), reserved.tolist(), strict=True)
            )
        ],
    )
    rows["setups"] = (
        [
            "time_ms",
            "symbol",
            "strategy",
            "setup_number",
            "verdict",
            "reason",
            "readiness",
            "confidence",
            "rank",
            "fallback",
            "version",
        ],
        setup_rows,
    )
    rows["orders"] = _orders(legs, mode, decided, group, who, version, first)
    rows["fills"] = _fills(legs, s, group, who, reason)
    closed = np.flatnonzero(mode == CLOSED)
    ended = np.where(legs[5].there, legs[5].minute, legs[4].minute)
    closed = closed[np.lexsort((s[closed], ended[closed]))]
    pnl = totals.returned - totals.invested - totals.fees
    average, exit_average = (
        totals.cost / (in_all / LOTS_PER_COIN + (in_all == 0)),
        totals.proceeds / ((in_all - held) / LOTS_PER_COIN + (in_all == held)),
    )
    rows["trades"] = (
        ["trade_number", "trade_group_id", "symbol", "strategy", "decision_ms", "entry_ms", "exit_ms", "entry_price", "exit_price", "quantity", "invested_quote", "fee_quote", "slippage_quote", "pnl_quote", "return_net", "exit_reason", "entry_fills", "ambiguous", "fallback", "version"],
        list(
            zip(
                range(len(closed)), group[closed].tolist(), who[0][closed].tolist(), who[1][closed].tolist(),
                decision_ms[closed].tolist(), (START_MS + legs[0].minute * MINUTE_MS)[closed].tolist(), (START_MS + ended * MINUTE_MS)[closed].tolist(),
                _texts(average[closed]), _texts(exit_average[closed]), _texts(in_all[closed] / LOTS_PER_COIN),
                totals.invested[closed].tolist(), totals.fees[closed].tolist(), totals.slippage[closed].tolist(), pnl[closed].tolist(),
                (pnl[closed] / totals.invested[closed]).tolist(), reason[closed].tolist(), totals.entry_fills[closed].tolist(),
                [False] * len(closed), [False] * len(closed), version[closed].tolist(),
                strict=True,
            )
        ),
    )  # fmt: skip
    portfolio = PortfolioState.fresh(symbols, len(STRATEGIES), CAPITAL)
    book = portfolio.book[0]
    book["cash"], book["reserved"], book["equity"] = cash[-1], reserved[-1], equity[-1]
    book["next_trade"] = int(bought.sum())
    trade_numbers = np.empty(len(i), dtype=np.int64)
    trade_numbers[np.lexsort((s, legs[0].minute + np.where(bought, 0, minutes)))] = i
    positions = []
    for n in np.flatnonzero(last).tolist():
        column = int(s[n])
        slot = portfolio.slots[column]
        slot["phase"] = PENDING if mode[n] == WAITING else HELD
        slot["strategy"], slot["levels"], slot["setup"], slot["quote"] = (
            strategy[n],
            LEVELS,
            numbers[n],
            QUOTE,
        )
        slot["decision_ms"], slot["trade"] = decision_ms[n], -1
        slot["take_profit"], slot["stop_loss"], slot["max_hold_ms"] = TAKE_PROFIT, STOP_LOSS, HOLD_MS
        for k in range(LEVELS):
            spent = sum(int(leg.notional[n]) for leg in legs[:4] if leg.rung == k)
            if mode[n] == WAITING or (mode[n] == RESTING and k > 0):
                cell = portfolio.parts[column, k]
                cell["open"], cell["quote"], cell["reserve"] = True, QUOTE - spent, reserves[k][n]
                cell["price"] = 0.0 if mode[n] == WAITING else first[n] * (100 - k) // 100 / TICKS_PER_QUOTE
        if mode[n] == WAITING:
            continue
        mark = float(first[n] / TICKS_PER_QUOTE)
        portfolio.coins[column]["last_close"] = mark
        slot["trade"] = trade_numbers[n]
        slot["held"], slot["bought"], slot["sold"] = held[n], in_all[n], in_all[n] - held[n]
        slot["cost"], slot["proceeds"] = totals.cost[n], totals.proceeds[n]
        slot["invested"], slot["returned"] = totals.invested[n], totals.returned[n]
        slot["fees"], slot["slippage"] = totals.fees[n], totals.slippage[n]
        slot["entry_fills"], slot["exit_fills"] = totals.entry_fills[n], int(mode[n] == HALF_SOLD)
        slot["first_fill_ms"] = START_MS + int(legs[0].minute[n]) * MINUTE_MS
        slot["average"], slot["stop"], slot["target"] = average[n], average[n] * 0.92, average[n] * 1.04
        if mode[n] == HALF_SOLD:
            slot["trigger"] = slot["exit_reason"] = ExitReason.TIME_EXIT
        else:
            slot["armed"], slot["trail"] = True, average[n] * 0.95
        marked = int(pnl[n] + _rint(held[n] / LOTS_PER_COIN * mark * 1e8))
        positions.append((
            names[column], str(group[n]), STRATEGIES[strategy[n]], int(decision_ms[n]), int(slot["first_fill_ms"]),
            _text(average[n]), _text(exit_average[n]) if mode[n] == HALF_SOLD else None,
            _text(in_all[n] / LOTS_PER_COIN), _text(held[n] / LOTS_PER_COIN),
            int(totals.invested[n]), int(totals.fees[n]), int(totals.slippage[n]), marked, marked / int(totals.invested[n]),
            "time_exit" if mode[n] == HALF_SOLD else "none", int(totals.entry_fills[n]), False, False, mark,
            float(max(slot["stop"], slot["trail"])), float(slot["target"]), bool(slot["armed"]),
            int(slot["first_fill_ms"]) + HOLD_MS, "time_exit" if mode[n] == HALF_SOLD else None, str(version[n]),
        ))  # fmt: skip
    rows["positions"] = (
        [
            "symbol",
            "trade_group_id",
            "strategy",
            "decision_ms",
            "entry_ms",
            "entry_price",
            "exit_price",
            "quantity",
            "open_quantity",
            "invested_quote",
            "fee_quote",
            "slippage_quote",
            "pnl_quote",
            "return_net",
            "exit_reason",
            "entry_fills",
            "ambiguous",
            "fallback",
            "mark_price",
            "stop_price",
            "target_price",
            "trailing_armed",
            "due_ms",
            "exit_pending",
            "version",
        ],
        positions,
    )
    switch_ms = configurations[1][3]
    rows["commands_applied"] = (
        ["time_ms", "sequence", "kind", "symbol", "strategy", "value", "command_id"],
        [
            (START_MS + MINUTE_MS, 0, "close", names[0], None, "manual", "worst"),
            (START_MS + MINUTE_MS, 1, "close", names[-1], None, "manual", "worst"),
            (START_MS + MINUTE_MS, 2, "pause", None, None, None, None),
            (switch_ms, 0, "configure", None, None, versions[1], "change"),
        ],
    )
    rows["command_results"] = (
        ["command_id", "kind", "status", "time_ms", "sentence", "recorded_at_ms"],
        [
            ("worst", "close_worst", "applied", START_MS + MINUTE_MS, "asked for two exits", START_MS),
            ("change", "configure", "applied", switch_ms, "changed", START_MS),
            ("unknown", "close", "refused", switch_ms, "nothing is held", START_MS),
        ],
    )
    parsed = tuple(Symbol.parse(name) for name in names)
    account = Account(
        kind="paper", symbols=parsed, reference=parsed[0], providers=dict.fromkeys(parsed, "binance"),
        strategies=STRATEGIES, capital_quote=to_decimal(CAPITAL), start_ms=START_MS, end_ms=None,
        created_at_ms=START_MS, code_version="1",
    )  # fmt: skip
    return Ledger(
        account=account,
        portfolio=portfolio,
        cursor_ms=cursor_ms,
        version=versions[1],
        setups=int((np.array([row[3] is not None for row in setup_rows])).sum()),
        fills=len(rows["fills"][1]),
        trades=len(closed),
        rows=rows,
    )


@dataclass(slots=True, kw_only=True, eq=False)
class _Totals:
    """Sums over the fills of each trade, floats added in the order of the fills."""

    invested: IntArray
    returned: IntArray
    fees: IntArray
    slippage: IntArray
    cost: FloatArray
    proceeds: FloatArray
    entry_fills: IntArray

    @classmethod
    def of(cls, legs: list[_Leg]) -> "_Totals":
        bought, sold = legs[:4], legs[4:]
        return cls(
            invested=sum(leg.notional for leg in bought),
            returned=sum(leg.notional for leg in sold),
            fees=sum(leg.fee for leg in legs),
            slippage=sum(leg.slippage for leg in legs),
            cost=sum(leg.coins * leg.price for leg in bought),
            proceeds=sum(leg.coins * leg.price for leg in sold),
            entry_fills=sum(leg.there.astype(np.int64) for leg in bought),
        )


def _lots(ticks: IntArray) -> IntArray:
    """What `QUOTE` buys, in lots."""
    return np.floor(QUOTE / 1e8 / (ticks / TICKS_PER_QUOTE) * LOTS_PER_COIN + 1e-6).astype(np.int64)


def _reserves(legs: list[_Leg], mode: IntArray) -> list[IntArray]:
    """What each part of each trade still reserves at the end."""
    spent = np.minimum(RESERVE, legs[1].notional + legs[1].fee)
    return [
        np.where(mode == WAITING, RESERVE, 0),
        np.where(mode == WAITING, RESERVE, np.where(mode == RESTING, RESERVE - spent, 0)),
        np.where((mode == WAITING) | (mode == RESTING), RESERVE, 0),
    ]


def _money(
    legs: list[_Leg],
    mode: IntArray,
    decided: IntArray,
    first: IntArray,
    reserves: list[IntArray],
    minutes: int,
) -> tuple[IntArray, IntArray, IntArray]:
    """Cash, reserved and equity at the close of each minute."""
    paid, reserved, marks = (np.zeros(minutes, dtype=np.int64) for _ in range(3))
    for leg in legs:
        flow = (leg.notional if leg.kind == "exit" else -leg.notional) - leg.fee
        np.add.at(paid, leg.minute[leg.there], flow[leg.there])
    np.add.at(reserved, decided, LEVELS * RESERVE)
    entry, rung, rest, deep, out = legs[:5]
    np.add.at(reserved, entry.minute[entry.there], -RESERVE)
    spent = np.minimum(RESERVE, rung.notional + rung.fee)
    np.add.at(reserved, rung.minute[rung.there], -spent[rung.there])
    np.add.at(reserved, rest.minute[rest.there], (spent - RESERVE)[rest.there])
    np.add.at(reserved, deep.minute[deep.there], -RESERVE)
    resting = RESERVE * (~rung.there & out.there) + RESERVE * (~deep.there & out.there)
    np.add.at(reserved, out.minute[out.there], -resting[out.there])
    before = np.zeros(len(mode), dtype=np.int64)
    held = np.zeros(len(mode), dtype=np.int64)
    for leg in legs:
        held += -leg.lots if leg.kind == "exit" else leg.lots
        after = _rint(held / LOTS_PER_COIN * (first / TICKS_PER_QUOTE) * 1e8)
        np.add.at(marks, leg.minute[leg.there], (after - before)[leg.there])
        before = np.where(leg.there, after, before)
    reserved_at = np.cumsum(reserved)
    if reserved_at[-1] != sum(int(each.sum()) for each in reserves):
        raise AssertionError("the maker of ledgers does not add up itself")
    cash = CAPITAL + np.cumsum(paid) - reserved_at
    return cash, reserved_at, cash + reserved_at + np.cumsum(marks)


def _groups(names: list[str], s: IntArray, strategy: IntArray, decided: IntArray) -> Any:
    stamps = np.datetime_as_string((START_MS + (decided + 1) * MINUTE_MS).astype("datetime64[ms]"), unit="s")
    compact = (stamp.replace("-", "").replace(":", "") for stamp in stamps.tolist())
    return np.array(
        [
            f"{names[column]}-{STRATEGIES[which]}-{stamp}Z"
            for column, which, stamp in zip(s.tolist(), strategy.tolist(), compact, strict=True)
        ]
    )


def _configuration(number: int, first_ms: int) -> tuple[str, str, str, int]:
    values = {"fees": {"taker": FEE}, "number": number}
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    document = json.dumps(values | {"folder": "/somewhere"}, indent=1)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12], canonical, document, first_ms


def _setups(
    names: list[str], s: IntArray, strategy: IntArray, decision_ms: IntArray, version: Any, cursor_ms: int
) -> tuple[list[tuple[Any, ...]], IntArray]:
    """The setup of every trade, some that were refused and some near misses; and the trades' setup numbers."""
    extra = [(time + 2 * MINUTE_MS, n, "SKIP") for n, time in enumerate(decision_ms.tolist()) if n % 5 == 0]
    extra += [(time + MINUTE_MS, n, "NEAR_MISS") for n, time in enumerate(decision_ms.tolist()) if n % 7 == 0]
    found = [(time, n, "TAKE") for n, time in enumerate(decision_ms.tolist())]
    found += [each for each in extra if each[0] <= cursor_ms]
    found.sort(key=lambda each: (each[0], s[each[1]]))
    numbers = np.zeros(len(s), dtype=np.int64)
    rows: list[tuple[Any, ...]] = []
    count = 0
    for time, n, verdict in found:
        number = None
        if verdict != "NEAR_MISS":
            number = count
            count += 1
        if verdict == "TAKE":
            numbers[n] = number
        reason = {"TAKE": "accepted", "SKIP": "symbol_limit", "NEAR_MISS": "drop_too_small"}[verdict]
        rows.append(
            (
                time,
                names[s[n]],
                STRATEGIES[strategy[n]],
                number,
                verdict,
                reason,
                1.0,
                0.5,
                None,
                False,
                str(version[n]),
            )
        )
    return rows, numbers


def _orders(
    legs: list[_Leg], mode: IntArray, decided: IntArray, group: Any, who: Any, version: Any, first: IntArray
) -> tuple[list[str], list[tuple[Any, ...]]]:
    columns = [
        "order_id",
        "trade_group_id",
        "symbol",
        "strategy",
        "kind",
        "rung",
        "quote",
        "limit_price",
        "status",
        "placed_ms",
        "ended_ms",
        "reason",
        "version",
    ]
    rows: list[tuple[Any, ...]] = []
    minute_close = START_MS + MINUTE_MS
    filled_at = [legs[0], legs[2], legs[3]]  # the fill that completes each part
    for n in range(len(mode)):
        for k, leg in enumerate(filled_at):
            status, ended, reason = "open", None, None
            if leg.there[n]:
                status, ended = "filled", int(leg.minute[n]) * MINUTE_MS + minute_close
            elif mode[n] in (CLOSED, HALF_SOLD):
                status, ended, reason = (
                    "cancelled",
                    int(legs[4].minute[n]) * MINUTE_MS + minute_close,
                    "cancelled",
                )
            elif k == 1 and legs[1].there[n]:
                status = "partially_filled"
            price = (
                None
                if k == 0 or mode[n] == WAITING
                else _text(int(first[n]) * (100 - k) // 100 / TICKS_PER_QUOTE)
            )
            rows.append((
                f"{group[n]}/{k}", str(group[n]), str(who[0][n]), str(who[1][n]), "market" if k == 0 else "rung", k,
                QUOTE, price, status, int(decided[n]) * MINUTE_MS + minute_close, ended, reason, str(version[n]),
            ))  # fmt: skip
    return columns, rows


def _fills(
    legs: list[_Leg], s: IntArray, group: Any, who: Any, reason: Any
) -> tuple[list[str], list[tuple[Any, ...]]]:
    columns = [
        "sequence",
        "trade_group_id",
        "symbol",
        "strategy",
        "kind",
        "rung",
        "bar_open_ms",
        "price",
        "quantity",
        "notional_quote",
        "fee_quote",
        "slippage_quote",
        "exit_reason",
        "volume_unknown",
    ]
    which = [np.flatnonzero(leg.there) for leg in legs]

    def together(values: list[Any]) -> Any:
        return np.concatenate([each[at] for each, at in zip(values, which, strict=True)])

    minute = together([leg.minute for leg in legs])
    count = len(minute)
    order = np.lexsort((together([s] * len(legs)), minute))
    kinds = np.repeat([leg.kind for leg in legs], [len(at) for at in which])
    rungs = np.repeat([leg.rung for leg in legs], [len(at) for at in which])
    why = np.where(kinds == "exit", together([reason] * len(legs)), "none")
    values = [
        together([group] * len(legs)), together([who[0]] * len(legs)), together([who[1]] * len(legs)),
        kinds, rungs, START_MS + minute * MINUTE_MS,
    ]  # fmt: skip
    exact = [together([leg.price for leg in legs]), together([leg.coins for leg in legs])]
    amounts = [together([getattr(leg, name) for leg in legs]) for name in ("notional", "fee", "slippage")]
    lists = [each[order].tolist() for each in values]
    lists += [_texts(each[order]) for each in exact]
    lists += [each[order].tolist() for each in (*amounts, why)]
    return columns, list(zip(range(count), *lists, [False] * count, strict=True))


def _text(value: float) -> str:
    return format(Decimal(repr(float(value))), "f")


def _texts(values: Any) -> list[str]:
    return [repr(value) for value in values.tolist()]
