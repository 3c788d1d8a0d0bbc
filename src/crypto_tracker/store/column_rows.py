"""Records by columns, for readers that hold a whole account: plain numbers, amounts in 1e-8 quote."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import ColumnElement
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from crypto_tracker.core.arrays import CodeArray, FloatArray, IntArray

_AT_ONCE = 500  # values in one `IN`
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TradeRows:
    """Closed trades in the order in which they closed; all columns have one length.

    Prices are near enough to be put in order, and no more: they are stored exactly elsewhere.
    """

    number: IntArray
    symbol: list[str]
    strategy: list[str]
    exit_reason: list[str]
    entry_ms: IntArray
    exit_ms: IntArray
    pnl_e8: IntArray
    invested_e8: IntArray
    fee_e8: IntArray
    slippage_e8: IntArray
    return_net: FloatArray
    entry_price: FloatArray
    exit_price: FloatArray

    def __len__(self) -> int:
        return len(self.number)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MinuteRows:
    """The account at the close of each minute, in order of time. `regime` holds codes of `Regime`."""

    time_ms: IntArray  # open times
    equity_e8: IntArray
    regime: CodeArray

    def __len__(self) -> int:
        return len(self.time_ms)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SetupRows:
    """What became of setups, and near misses, by time, symbol and strategy.

    `kind` says for each row which of `kinds` it is: its symbol, strategy, verdict and reason. There are far
    fewer of them than rows.
    """

    time_ms: IntArray  # of the deciding close
    kind: IntArray
    kinds: list[tuple[str, str, str, str]]

    def __len__(self) -> int:
        return len(self.time_ms)


SETUP_KIND = "symbol || char(31) || strategy || char(31) || verdict || char(31) || reason"
"""The kind of a setup as one text, in SQL: to read one is half the work of reading four."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EquityRows:
    """Stretches of an equity curve in order of time: at the end of each, and how far it went."""

    time_ms: IntArray  # open time of the last minute, or bar, of each
    equity_e8: IntArray
    low_e8: IntArray
    high_e8: IntArray

    def __len__(self) -> int:
        return len(self.time_ms)


def trade_rows(columns: Sequence[Sequence[Any]]) -> TradeRows:
    """The rows of these columns, in the order of the fields of `TradeRows`."""
    number, symbol, strategy, exit_reason, entry, exit_, pnl, invested, fee, slippage, *others = columns
    return_net, entry_price, exit_price = (np.array(each, dtype=np.float64) for each in others)
    return TradeRows(
        number=_whole(number),
        symbol=list(symbol),
        strategy=list(strategy),
        exit_reason=list(exit_reason),
        entry_ms=_whole(entry),
        exit_ms=_whole(exit_),
        pnl_e8=_whole(pnl),
        invested_e8=_whole(invested),
        fee_e8=_whole(fee),
        slippage_e8=_whole(slippage),
        return_net=return_net,
        entry_price=entry_price,
        exit_price=exit_price,
    )


def setup_rows_of(columns: Sequence[Sequence[Any]]) -> SetupRows:
    """The rows of time and kind."""
    time_ms, kinds = columns
    names = {name: code for code, name in enumerate(dict.fromkeys(kinds))}
    found = [tuple(name.split(chr(31))) for name in names]
    return SetupRows(
        time_ms=_whole(time_ms),
        kind=np.fromiter(map(names.__getitem__, kinds), dtype=np.int64, count=len(kinds)),
        kinds=[(symbol, strategy, verdict, reason) for symbol, strategy, verdict, reason in found],
    )


def _whole(values: Sequence[int]) -> IntArray:
    return np.array(values, dtype=np.int64)


def parts(values: Sequence[ValueT]) -> Iterator[Sequence[ValueT]]:
    """Values in parts that one `IN` can take."""
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def scans_of(column: ColumnElement[str], strategies: Sequence[str]) -> ColumnElement[bool]:
    """The condition that a block is one of these strategies.

    The blocks of one strategy have an index. For several the database would take it too, and then put all
    of their blocks in order of time before it gives the first: the sign keeps it with the order of the key.
    """
    if len(strategies) == 1:
        return column == strategies[0]
    return UnaryExpression(column, operator=custom_op("+")).in_(strategies)
