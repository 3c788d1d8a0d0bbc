"""Rows of a trading account as the database keeps them: made of records, read back, and their digest."""

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

from sqlalchemy import Boolean, Column, Float, Integer, LargeBinary, Row, Table

from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.money import to_e8
from crypto_tracker.core.orders import ExitReason, Fill, FillKind, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe, from_ms, to_ms
from crypto_tracker.store import trading_tables as tables
from crypto_tracker.store.trading_records import (
    Account,
    AppliedCommand,
    CommandResult,
    ConfigurationRow,
    Halt,
    OrderRecord,
    PositionRecord,
    SeenBlock,
    Session,
    SetupRecord,
    StepRecord,
)
from crypto_tracker.store.types import ExactDecimal, Money

Value = int | float | str | bytes | None
PlainRow = tuple[Value, ...]
"""The values of one row in the order of the table's columns, as SQLite itself keeps them."""

DIGESTED: Mapping[str, Table] = {
    table.name: table
    for table in (
        tables.configurations,
        tables.checkpoints,
        tables.minutes,
        tables.seen_rows,
        tables.healed,
        tables.decision_blocks,
        tables.setups,
        tables.fills,
        tables.trades,
        tables.commands_applied,
        tables.command_results,
        tables.range_medians,
        tables.doubts,
        tables.halts,
    )
}
"""The tables whose rows a step writes and nobody ever changes, in the order in which they are written."""

_DIGEST_BYTES = 16
# The digest itself, and clock times: a run that was killed and went on has the digests of an undisturbed one.
_NOT_DIGESTED = frozenset({"digest", "recorded_at_ms"})


def step_digest(rows: Mapping[str, Iterable[PlainRow]]) -> bytes:
    """The digest of everything that one step wrote to the tables of `DIGESTED`.

    `rows` are whole rows by table; their order, and tables without rows, make no difference. Floats count by
    their bytes, decimals by their text, and a missing value is like no other.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for name in sorted(rows):
        places = _digested_places(name)
        encoded = sorted(b"".join([_encoded(row[place]) for place in places]) for row in rows[name])
        if encoded:
            digest.update(_encoded(name) + struct.pack("<I", len(encoded)))
            for row in encoded:
                digest.update(struct.pack("<I", len(row)) + row)
    return digest.digest()


@cache
def _digested_places(name: str) -> tuple[int, ...]:
    columns = DIGESTED[name].columns
    return tuple(place for place, column in enumerate(columns) if column.name not in _NOT_DIGESTED)


def _encoded(value: Value) -> bytes:
    if value is None:
        return b"n"
    if isinstance(value, float):
        return b"f" + struct.pack("<d", value)
    if isinstance(value, int):
        return b"i" + struct.pack("<q", value)
    if isinstance(value, str):
        text = value.encode()
        return b"s" + struct.pack("<I", len(text)) + text
    return b"b" + struct.pack("<I", len(value)) + value


# --- from records to rows ------------------------------------------------------------------------------


def plain(table: Table, values: Mapping[str, Any]) -> PlainRow:
    """The row of `table` with these values; raises KeyError where one is missing."""
    return tuple([convert(values[name]) for name, convert in _converters(table)])


@cache
def _converters(table: Table) -> tuple[tuple[str, Callable[[Any], Value]], ...]:
    return tuple((column.name, _converter(column)) for column in table.columns)


def _converter(column: Column[Any]) -> Callable[[Any], Value]:
    kind = column.type
    if isinstance(kind, Money):
        return _money
    if isinstance(kind, ExactDecimal):
        return _decimal
    if isinstance(kind, Float):
        return _number
    if isinstance(kind, (Boolean, Integer)):
        return _whole
    return _bytes if isinstance(kind, LargeBinary) else _text


def _money(value: Decimal | None) -> int | None:
    return None if value is None else to_e8(value)


def _decimal(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")


def _number(value: float | None) -> float | None:
    # SQLite has neither NaN nor a negative zero: it would make NULL and 0 of them behind our back.
    return None if value is None or value != value else float(value) + 0.0  # noqa: PLR0124 - NaN


def _whole(value: int | None) -> int | None:
    return None if value is None else int(value)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _bytes(value: bytes | None) -> bytes | None:
    return None if value is None else bytes(value)


def step_rows(
    step: StepRecord,
    *,
    recorded_at_ms: int,
    first_fill: int,
    first_trade: int,
    version_before: str,
    opened_ms: int,
) -> dict[str, list[PlainRow]]:
    """The rows that a step writes to the tables of `DIGESTED`, with its digest in the row of the minute.

    `first_fill` and `first_trade` are the numbers of its first fill and trade, `version_before` is the
    configuration of the state before it. The opening has written the checkpoint of the minute `opened_ms`.
    """
    time_ms = step.time_ms
    minute = {
        "time_ms": time_ms,
        "version": step.version,
        "seen": step.seen,
        "bars_digest": step.bars_digest,
        "equity_quote": step.equity_quote,
        "cash_quote": step.cash_quote,
        "reserved_quote": step.reserved_quote,
        "regime": step.regime.name.lower(),
        "volatility": step.volatility,
        "recorded_at_ms": recorded_at_ms,
        "digest": b"",
    }
    values: dict[str, list[dict[str, Any]]] = {
        "configurations": [
            configuration_values(row, time_ms) for row in (step.configuration,) if row is not None
        ],
        "checkpoints": [
            {"time_ms": time_ms, "version": version_before, "state": state}
            for state in (step.state_before,)
            if state is not None and time_ms != opened_ms
        ],
        "minutes": [minute],
        "seen_rows": [block_values(block) for block in step.rows],
        "healed": [block_values(block) for block in step.healed],
        "decision_blocks": [
            {"time_ms": close_ms, "strategy": strategy, "block": block}
            for close_ms, strategy, block in step.blocks
        ],
        "setups": [_setup_values(row) for row in step.setups],
        "fills": [_fill_values(first_fill + n, fill) for n, fill in enumerate(step.fills)],
        "trades": [
            {"trade_number": first_trade + n, "version": version} | _trade_values(trade)
            for n, (trade, version) in enumerate(zip(step.trades, step.trade_versions, strict=True))
        ],
        "commands_applied": [
            _command_values(time_ms, sequence, command) for sequence, command in enumerate(step.commands)
        ],
        "command_results": [_result_values(time_ms, row, recorded_at_ms) for row in step.results],
        "range_medians": [
            {"day_ms": day_ms, "symbol": symbol, "median": median, "time_ms": time_ms}
            for symbol, day_ms, median in step.medians
        ],
        "doubts": [
            {"time_ms": time_ms, "symbol": each.symbol, "score": each.score, "score_min": each.score_min}
            for each in step.doubts
        ],
        "halts": [
            _halt_values(time_ms, sequence, halt, recorded_at_ms) for sequence, halt in enumerate(step.halts)
        ],
    }
    rows = {
        name: [plain(DIGESTED[name], each) for each in listed] for name, listed in values.items() if listed
    }
    rows["minutes"] = [plain(tables.minutes, minute | {"digest": step_digest(rows)})]
    return rows


def account_values(account: Account) -> dict[str, Any]:
    """The row of the account."""
    providers = {str(symbol): provider for symbol, provider in account.providers.items()}
    return {
        "account_id": 1,
        "kind": account.kind,
        "symbols": json.dumps([str(symbol) for symbol in account.symbols]),
        "reference": account.reference,
        "providers": json.dumps(providers, sort_keys=True),
        "strategies": json.dumps(list(account.strategies)),
        "capital_quote": account.capital_quote,
        "start_ms": account.start_ms,
        "end_ms": account.end_ms,
        "created_at_ms": account.created_at_ms,
        "code_version": account.code_version,
    }


def configuration_values(row: ConfigurationRow, first_ms: int) -> dict[str, Any]:
    """The row of a configuration that is traded under from `first_ms` on."""
    return {
        "version": row.version,
        "canonical": row.canonical,
        "document": row.document,
        "first_ms": first_ms,
    }


def block_values(block: SeenBlock) -> dict[str, Any]:
    """The row of bars as they were seen."""
    return {
        "part": block.part,
        "timeframe": block.timeframe,
        "time_ms": block.time_ms,
        "block": block.block,
    }


def order_values(row: OrderRecord) -> dict[str, Any]:
    """The row of an order as it stands."""
    return {
        "order_id": row.order_id,
        "trade_group_id": row.trade_group_id,
        "symbol": row.symbol,
        "strategy": row.strategy,
        "kind": row.kind,
        "rung": row.rung,
        "quote": row.quote,
        "limit_price": row.limit_price,
        "status": row.status,
        "placed_ms": row.placed_ms,
        "ended_ms": row.ended_ms,
        "reason": None if row.reason is None else row.reason.code,
        "version": row.version,
    }


def position_values(row: PositionRecord) -> dict[str, Any]:
    """The row of a position as it stands."""
    return _trade_values(row.trade) | {
        "open_quantity": row.open_quantity,
        "mark_price": row.mark_price,
        "stop_price": row.stop_price,
        "target_price": row.target_price,
        "trailing_armed": row.trailing_armed,
        "due_ms": row.due_ms,
        "exit_pending": None if row.exit_pending is None else row.exit_pending.code,
        "version": row.version,
    }


def _setup_values(row: SetupRecord) -> dict[str, Any]:
    return {
        "time_ms": row.time_ms,
        "symbol": row.symbol,
        "strategy": row.strategy,
        "setup_number": row.setup_number,
        "verdict": row.verdict.value,
        "reason": row.reason.code,
        "readiness": row.readiness,
        "confidence": row.confidence,
        "rank": row.rank,
        "fallback": row.fallback,
        "measured": row.measured,
        "limit_value": row.limit,
        "version": row.version,
    }


def _fill_values(sequence: int, fill: Fill) -> dict[str, Any]:
    return {
        "sequence": sequence,
        "trade_group_id": fill.trade_group_id,
        "symbol": fill.symbol,
        "strategy": fill.strategy,
        "kind": fill.kind.code,
        "rung": fill.rung,
        "bar_open_ms": to_ms(fill.bar_open_time),
        "price": fill.price,
        "quantity": fill.quantity,
        "notional_quote": fill.notional_quote,
        "fee_quote": fill.fee_quote,
        "slippage_quote": fill.slippage_quote,
        "exit_reason": fill.exit_reason.code,
        "volume_unknown": fill.volume_unknown,
    }


def _trade_values(trade: Trade) -> dict[str, Any]:
    return {
        "trade_group_id": trade.trade_group_id,
        "symbol": trade.symbol,
        "strategy": trade.strategy,
        "decision_ms": to_ms(trade.decision_time),
        "entry_ms": to_ms(trade.entry_time),
        "exit_ms": None if trade.exit_time is None else to_ms(trade.exit_time),
        "entry_price": trade.entry_price,
        "exit_price": trade.exit_price,
        "quantity": trade.quantity,
        "invested_quote": trade.invested_quote,
        "fee_quote": trade.fee_quote,
        "slippage_quote": trade.slippage_quote,
        "pnl_quote": trade.pnl_quote,
        "return_net": trade.return_net,
        "exit_reason": trade.exit_reason.code,
        "entry_fills": trade.entry_fills,
        "ambiguous": trade.ambiguous,
        "fallback": trade.fallback,
    }


def _command_values(time_ms: int, sequence: int, command: AppliedCommand) -> dict[str, Any]:
    return {
        "time_ms": time_ms,
        "sequence": sequence,
        "kind": command.kind,
        "symbol": command.symbol,
        "strategy": command.strategy,
        "value": command.value,
        "command_id": command.command_id,
    }


def _result_values(time_ms: int, row: CommandResult, recorded_at_ms: int) -> dict[str, Any]:
    return {
        "command_id": row.command_id,
        "kind": row.kind,
        "status": row.status,
        "time_ms": time_ms,
        "sentence": row.sentence,
        "recorded_at_ms": recorded_at_ms,
    }


def _halt_values(time_ms: int, sequence: int, halt: Halt, recorded_at_ms: int) -> dict[str, Any]:
    return {
        "time_ms": time_ms,
        "sequence": sequence,
        "cause": halt.cause,
        "sentence": halt.sentence,
        "strategy": halt.strategy,
        "recorded_at_ms": recorded_at_ms,
    }


# --- which step a row belongs to -----------------------------------------------------------------------


def time_column(table: Table) -> tuple[str, int]:
    """The column that says which step wrote a row, and how far it lies behind the minute's open time.

    Not for `seen_rows`, where that depends on the timeframe (`seen_offset`).
    """
    return _TIME_COLUMNS.get(table.name, ("time_ms", 0))


_TIME_COLUMNS = {
    "configurations": ("first_ms", 0),
    "decision_blocks": ("time_ms", MINUTE_MS),  # decided at the close
    "setups": ("time_ms", MINUTE_MS),
    "fills": ("bar_open_ms", 0),
    "trades": ("exit_ms", 0),
}


def seen_offset(timeframe: Timeframe) -> int:
    """How far the open time of a coarser bar lies behind the open time of its last minute: never above 0."""
    return MINUTE_MS - timeframe.ms


# --- from rows to records ------------------------------------------------------------------------------


def account_of(row: Row[Any]) -> Account:
    """The record of the row of `account`."""
    return Account(
        kind=row.kind,
        symbols=tuple(map(Symbol.parse, json.loads(row.symbols))),
        reference=None if row.reference is None else Symbol.parse(row.reference),
        providers={Symbol.parse(name): provider for name, provider in json.loads(row.providers).items()},
        strategies=tuple(json.loads(row.strategies)),
        capital_quote=row.capital_quote,
        start_ms=row.start_ms,
        end_ms=row.end_ms,
        created_at_ms=row.created_at_ms,
        code_version=row.code_version,
    )


def setup_of(row: Row[Any]) -> SetupRecord:
    """The record of a row of `setups`."""
    return SetupRecord(
        setup_number=row.setup_number,
        time_ms=row.time_ms,
        symbol=Symbol.parse(row.symbol),
        strategy=row.strategy,
        verdict=Verdict(row.verdict),
        reason=Reason[row.reason.upper()],
        readiness=row.readiness,
        confidence=row.confidence,
        rank=row.rank,
        fallback=row.fallback,
        measured=row.measured,
        limit=row.limit_value,
        version=row.version,
    )


def order_of(row: Row[Any]) -> OrderRecord:
    """The record of a row of `orders`."""
    return OrderRecord(
        order_id=row.order_id,
        trade_group_id=row.trade_group_id,
        symbol=Symbol.parse(row.symbol),
        strategy=row.strategy,
        kind=row.kind,
        rung=row.rung,
        quote=row.quote,
        limit_price=row.limit_price,
        status=row.status,
        placed_ms=row.placed_ms,
        ended_ms=row.ended_ms,
        reason=None if row.reason is None else Reason[row.reason.upper()],
        version=row.version,
    )


def fill_of(row: Row[Any]) -> Fill:
    """The fill of a row of `fills`."""
    return Fill(
        trade_group_id=row.trade_group_id,
        symbol=Symbol.parse(row.symbol),
        strategy=row.strategy,
        kind=FillKind[row.kind.upper()],
        rung=row.rung,
        bar_open_time=from_ms(row.bar_open_ms),
        price=row.price,
        quantity=row.quantity,
        notional_quote=row.notional_quote,
        fee_quote=row.fee_quote,
        slippage_quote=row.slippage_quote,
        exit_reason=ExitReason[row.exit_reason.upper()],
        volume_unknown=row.volume_unknown,
    )


def trade_of(row: Row[Any], *, exit_ms: int | None) -> Trade:
    """The trade of a row of `trades` or `positions`."""
    return Trade(
        trade_group_id=row.trade_group_id,
        symbol=Symbol.parse(row.symbol),
        strategy=row.strategy,
        decision_time=from_ms(row.decision_ms),
        entry_time=from_ms(row.entry_ms),
        exit_time=None if exit_ms is None else from_ms(exit_ms),
        entry_price=row.entry_price,
        exit_price=row.exit_price,
        quantity=row.quantity,
        invested_quote=row.invested_quote,
        fee_quote=row.fee_quote,
        slippage_quote=row.slippage_quote,
        pnl_quote=row.pnl_quote,
        return_net=row.return_net,
        exit_reason=ExitReason[row.exit_reason.upper()],
        entry_fills=row.entry_fills,
        ambiguous=row.ambiguous,
        fallback=row.fallback,
    )


def position_of(row: Row[Any]) -> PositionRecord:
    """The record of a row of `positions`."""
    return PositionRecord(
        trade=trade_of(row, exit_ms=None),
        open_quantity=row.open_quantity,
        mark_price=row.mark_price,
        stop_price=row.stop_price,
        target_price=row.target_price,
        trailing_armed=row.trailing_armed,
        due_ms=row.due_ms,
        exit_pending=None if row.exit_pending is None else ExitReason[row.exit_pending.upper()],
        version=row.version,
    )


def command_of(row: Row[Any]) -> AppliedCommand:
    """The record of a row of `commands_applied`."""
    return AppliedCommand(
        kind=row.kind,
        symbol=None if row.symbol is None else Symbol.parse(row.symbol),
        strategy=row.strategy,
        value=row.value,
        command_id=row.command_id,
    )


def result_of(row: Row[Any]) -> CommandResult:
    """The record of a row of `command_results`."""
    return CommandResult(command_id=row.command_id, kind=row.kind, status=row.status, sentence=row.sentence)


def block_of(row: Row[Any]) -> SeenBlock:
    """The record of a row of `history`, `seen_rows` or `healed`."""
    return SeenBlock(
        part=row.part, timeframe=Timeframe.parse(row.timeframe), time_ms=row.time_ms, block=row.block
    )


def session_of(row: Row[Any]) -> Session:
    """The record of a row of `sessions`."""
    return Session(
        session_id=row.session_id,
        started_at_ms=row.started_at_ms,
        ended_at_ms=row.ended_at_ms,
        pid=row.pid,
        host=row.host,
        code_version=row.code_version,
        cursor_ms=row.cursor_ms,
    )
